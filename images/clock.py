"""The time that goes into images: now, or the one that makes them reproducible.

With SOURCE_DATE_EPOCH in the environment (seconds since 1970) an image was made at that moment, and
no file in a new layer is younger: the same files give the same image, whenever it is made.

A value that is no moment is an error.

Source: reproducible-builds.org, "SOURCE_DATE_EPOCH specification".
"""

from __future__ import annotations

import os
import time

from images.errors import ImageError

_MOST = 253402300799  # the last second of the year 9999: RFC 3339 has four digits


def epoch() -> int | None:
    """SOURCE_DATE_EPOCH, None if it is not set or empty. ImageError if it is no moment."""
    return read(os.environ.get("SOURCE_DATE_EPOCH", ""))


def read(text: str) -> int | None:
    """The same of a value that comes from elsewhere."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= _MOST):
        raise ImageError(
            "SOURCE_DATE_EPOCH is wrong", f"{text!r} is not a number of seconds since 1970"
        )
    return int(text)


def now() -> str:
    """The moment at which an image is made, in the form of RFC 3339, UTC."""
    return shown(epoch())


def shown(seconds: float | None) -> str:
    """A moment in the form of RFC 3339, UTC; None is now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
