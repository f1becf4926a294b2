"""Extended attributes of files in layers (xattr(7))."""

from __future__ import annotations


def is_kept(name: str) -> bool:
    """Whether an extended attribute travels with a file; trusted.overlay.* never does."""
    return name == "security.capability" or name.startswith("user.")
