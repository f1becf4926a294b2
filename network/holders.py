"""Who has a port of the host: asked of /proc when a port cannot be had, and only then.

Source: proc_pid_net(5), proc_pid_fd(5).
"""

from __future__ import annotations

import os

from network import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def program(address: str, port: int, protocol: str) -> tuple[int, str]:
    """(pid, name) of a process of this network namespace that has a port; (0, "") if none is found.

    A socket that is bound and does not listen is in no table, and a process in another pid
    namespace is not seen.
    """
    inodes = {
        inode
        for table in (protocol, f"{protocol}6")
        for inode in _inodes(f"/proc/self/net/{table}", address, port)
    }
    if not inodes:
        return 0, ""
    names = {f"socket:[{inode}]" for inode in inodes}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if any(target in names for target in _targets(pid)):
            return pid, _name(pid)
    return 0, ""


def _inodes(path: str, address: str, port: int) -> Iterator[str]:
    """Of a table of /proc the sockets whose own end is in the way of an address and a port."""
    try:
        with open(path) as table:
            lines = table.read().splitlines()[1:]
    except OSError:  # without IPv6
        return
    wanted = _number(address)
    for line in lines:
        words = line.split()
        word, _, own = words[1].partition(":")
        if int(own, 16) == port and words[9] != "0":  # one in TIME-WAIT is nobody's
            there = _read(word)
            if there == wanted or 0 in (there, wanted):
                yield words[9]


def _number(address: str) -> int:
    """An address as :func:`_read` has it, so that IPv4 and what IPv6 says for it are the same."""
    number = subnets.number(address)
    return number & 0xFFFFFFFF if number >> 32 == 0xFFFF else number


def _read(word: str) -> int:
    """An address of a table: words of 32 bits, each in the order of bytes of the machine."""
    raw = bytes.fromhex(word)
    number = int.from_bytes(b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4)))
    return number & 0xFFFFFFFF if number >> 32 == 0xFFFF else number


def _targets(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:  # it has ended
        return
    for name in names:
        try:
            yield os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""
