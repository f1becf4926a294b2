"""Fingerprints of our own: BLAKE2b without :mod:`hashlib`, which would load all of OpenSSL.

For names and for noticing damage, never in place of the sha256 that the specifications ask for.
"""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # not CPython
    from hashlib import blake2b


def fingerprint(content: bytes) -> bytes:
    """32 bytes."""
    return blake2b(content, digest_size=32).digest()
