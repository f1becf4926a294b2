"""Fingerprints of our own: BLAKE2b without :mod:`hashlib`, which would load all of OpenSSL.

For names and for noticing damage, never in place of the sha256 that the specifications ask for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib

try:
    from _blake2 import blake2b
except ImportError:  # not CPython
    from hashlib import blake2b


def fingerprint(content: bytes) -> bytes:
    """32 bytes."""
    return blake2b(content, digest_size=32).digest()


def running() -> hashlib.blake2b:
    """A fingerprint that grows: ``update`` and ``hexdigest``, 64 digits."""
    return blake2b(digest_size=32)


def sha256(content: bytes) -> str:
    """The hex digits of the sha256 of something small; for much, :mod:`hashlib` is faster."""
    try:
        from _sha256 import sha256 as made
    except ImportError:
        try:
            from _sha2 import sha256 as made  # its name since Python 3.12
        except ImportError:
            from hashlib import sha256 as made
    return str(made(content).hexdigest())
