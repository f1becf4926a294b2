"""Names for containers that were given none: an adjective and somebody who knew ships."""

from __future__ import annotations

import os

_ADJECTIVES = """
able amber brave brisk calm candid civil clever cosy dapper eager early even fair fond frank
gentle glad golden handy happy hardy honest humble jolly keen kind lively loyal lucid lucky mellow
merry mild modest nimble noble open patient plain polite proud quick quiet ready robust serene
sharp shiny silent smart snug solid spry steady still sturdy subtle sunny swift tidy trusty upbeat
vivid warm wise witty
""".split()

_NAMES = """
amundsen anson baret barents bering blackburn bougainville bowditch bungaree cabot cavendish cheng
cook cousteau darwin dias drake earle erikson fitzroy flinders franklin frobisher gama grace
harrison hudson humboldt ibn_battuta joyon knox laperouse lind magellan mallory maury mclean
mercator moitessier nansen nelson noonan pytheas ross shackleton slocum tabarly tasman tharp
vancouver vespucci weddell wright zheng
""".split()


def generate() -> str:
    """For example ``brisk_tasman``; not necessarily free."""
    one, two = os.urandom(2)
    return f"{_ADJECTIVES[one % len(_ADJECTIVES)]}_{_NAMES[two % len(_NAMES)]}"


def with_number(name: str) -> str:
    """The same with three digits, for a host where the plain one is taken."""
    return f"{name}_{int.from_bytes(os.urandom(2), 'big') % 900 + 100}"
