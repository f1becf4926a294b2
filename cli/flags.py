"""Flags of several commands: about images, and about what runs."""

from __future__ import annotations

from cli.creation.readers import platform, seconds
from cli.options import option, value
from engine import detach
from kernel import signals

PLATFORM = value(
    "--platform", "SYSTEM/ARCHITECTURE", "An error unless the image is for this platform",
    read=platform, default="",
)  # fmt: skip

SIGNAL = value(
    "-s --signal", "SIGNAL", "Instead of the signal that it was made with", read=signals.number
)
TIMEOUT = value(
    "-t --timeout --time",
    "SECONDS",
    "Patience before it is killed; -1 waits for ever",
    read=seconds,
)

DETACH_KEYS = value(
    "--detach-keys",
    "KEYS",
    "The keys that leave a terminal and the program running, for example ctrl-x,x",
    read=detach.parse,
    default=detach.DEFAULT,
)


def _explained(text: str) -> str:
    if text not in ("steps", "sh"):
        raise ValueError("it is steps or sh")
    return text


EXPLAIN = option(
    "--explain",
    "Show every step with its system call, why it is made and the man page; =sh prints a shell"
    " script that does the same by hand",
    kind="maybe",
    metavar="sh",
    implied="steps",
    read=_explained,
)
