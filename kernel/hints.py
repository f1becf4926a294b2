"""What to do when something has run out, by the number of the error: the same words everywhere.

Imported when something has failed only. Source: errno(3), and the manual pages of the calls.
"""

from __future__ import annotations

import errno

MEMORY = "end something, or raise the limit of memory of the control group that pyctr runs in"
ROOM = (
    "make room on that disk: pyctr system df shows what takes it, and pyctr rm works all the same"
)
_HINTS = {
    errno.EAGAIN: "too many processes: end some, or raise the limit (ulimit -u, pids.max)",
    errno.EDQUOT: ROOM,
    errno.EIO: "see dmesg: the disk may be failing",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise fs.file-max: the whole host has too many files open",
    errno.ENOMEM: MEMORY,
    errno.ENOSPC: f"{ROOM}; df -i shows whether it lacks inodes",
    errno.EROFS: "mount that file system read-write, or choose another --root",
}


def of(number: int | None) -> str:
    """What to do about an errno; "" where that depends on what was tried."""
    return _HINTS.get(number or 0, "")
