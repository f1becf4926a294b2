"""unshare(2), setns(2) and the names that a UTS namespace holds.

Python has os.unshare and os.setns since 3.12 only; 3.11 is supported.
"""

from __future__ import annotations

from kernel.libc import call

CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


def unshare(flags: int) -> None:
    """unshare(2). CLONE_NEWPID concerns the children that are forked afterwards."""
    call("unshare", flags)


def setns(fd: int, flags: int) -> None:
    """setns(2). ``fd`` is a namespace file, or a pidfd (since 5.8) with several CLONE_NEW*."""
    call("setns", fd, flags)


def sethostname(name: str) -> None:
    """sethostname(2), at most 64 bytes."""
    encoded = name.encode()
    call("sethostname", encoded, len(encoded), path=name)


def setdomainname(name: str) -> None:
    """setdomainname(2), at most 64 bytes."""
    encoded = name.encode()
    call("setdomainname", encoded, len(encoded), path=name)
