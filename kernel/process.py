"""What a process is allowed and how it is known: capabilities, prctl(2), seccomp, pidfds.

prctl(2) goes through the python-prctl package, imported when it is first needed, and through the C
library for options that want zeroes in the unused arguments.
"""

from __future__ import annotations

import os
import struct

from kernel.libc import call, number, syscall

PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38
PR_SET_PDEATHSIG = 1
SECCOMP_SET_MODE_FILTER = 1
KEYCTL_JOIN_SESSION_KEYRING = 1

_CAPABILITY_VERSION_3 = 0x20080522
_CAP_HEADER = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)  # of this process
# The lower halves of the masks (effective, permitted, inheritable), then the upper ones.
_CAP_DATA = struct.Struct("6I")


def capget() -> tuple[int, int, int]:
    """capget(2) of this process: (effective, permitted, inheritable) as 64-bit masks."""
    from kernel.foreign import buffer

    data = buffer(_CAP_DATA.size)
    call("capget", _CAP_HEADER, data)
    halves = _CAP_DATA.unpack(data)
    effective, permitted, inheritable = (
        low | high << 32 for low, high in zip(halves[:3], halves[3:], strict=True)
    )
    return effective, permitted, inheritable


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of this process; masks are 64 bits wide."""
    masks = (effective, permitted, inheritable)
    low, high = ([mask & 0xFFFFFFFF for mask in masks], [mask >> 32 for mask in masks])
    call("capset", _CAP_HEADER, _CAP_DATA.pack(*low, *high))


def _prctl(option: int, arg2: int = 0, arg3: int = 0) -> int:
    """prctl(2) with zeroes in the unused arguments, as the newer options demand."""
    return call("prctl", option, arg2, arg3, 0, 0)


def _set(option: int, value: int | str) -> None:
    """prctl(2) by python-prctl's function in C; the module around it is half of its import."""
    from _prctl import prctl

    prctl(option, value)


def bounding_drop(capability: int) -> None:
    """PR_CAPBSET_DROP; needs CAP_SETPCAP."""
    _prctl(PR_CAPBSET_DROP, capability)


def ambient_clear() -> None:
    """PR_CAP_AMBIENT_CLEAR_ALL."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)


def ambient_raise(capability: int) -> None:
    """PR_CAP_AMBIENT_RAISE; the capability must be permitted and inheritable."""
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def set_keepcaps(keep: bool) -> None:
    """PR_SET_KEEPCAPS: whether permitted capabilities survive leaving uid 0. Cleared by exec."""
    _prctl(PR_SET_KEEPCAPS, int(keep))


def set_dumpable(dumpable: bool) -> None:
    """PR_SET_DUMPABLE: whether others may ptrace this process and open its /proc files."""
    _set(PR_SET_DUMPABLE, int(dumpable))


def set_no_new_privs() -> None:
    """PR_SET_NO_NEW_PRIVS: from now on execve(2) grants nothing. It cannot be taken back."""
    _set(PR_SET_NO_NEW_PRIVS, 1)


def set_child_subreaper(reaper: bool) -> None:
    """PR_SET_CHILD_SUBREAPER: orphans below this process become its children."""
    _set(PR_SET_CHILD_SUBREAPER, int(reaper))


def set_pdeathsig(signal_number: int) -> None:
    """PR_SET_PDEATHSIG: the signal sent when the parent thread ends; 0 for none."""
    _set(PR_SET_PDEATHSIG, signal_number)


def set_name(name: str) -> None:
    """PR_SET_NAME: the thread's name in ps and top, cut at 15 bytes."""
    _set(PR_SET_NAME, name)


def seccomp_load(program: bytes, flags: int = 0) -> None:
    """seccomp(2), SECCOMP_SET_MODE_FILTER: ``program`` is an array of struct sock_filter.

    Needs CAP_SYS_ADMIN or no_new_privs.
    """
    from kernel.foreign import addressof, buffer

    held = buffer(program)
    fprog = struct.pack("HP", len(program) // 8, addressof(held))  # linux/filter.h
    syscall("seccomp", number("seccomp"), SECCOMP_SET_MODE_FILTER, flags, fprog)


def join_session_keyring(name: str) -> int:
    """keyctl_join_session_keyring(3): a session keyring of this process alone."""
    return syscall("keyctl", number("keyctl"), KEYCTL_JOIN_SESSION_KEYRING, name.encode())


def start_time(pid: int) -> int:
    """When process ``pid`` started, in clock ticks since boot (proc_pid_stat(5), field 22).

    A pid alone is no identity, a pid with its start time is one. ProcessLookupError if gone.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            line = stat.read()
    except FileNotFoundError:
        raise ProcessLookupError(3, f"no process {pid}") from None
    return int(line[line.rindex(b")") + 2 :].split()[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether ``pid`` is still the process that started at ``started``, and is no zombie."""
    return _started(str(pid)) == started


def is_anybody(pid: str) -> bool:
    """Whether a process of that number, written in digits, lives: for names of scratch files."""
    return _started(pid) >= 0


def _started(pid: str) -> int:
    """The start time of a process, -1 if there is none or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if fields[0] in (b"Z", b"X") else int(fields[19])


def open_folder(pid: int, started: int) -> int:
    """/proc/PID of the process that started at ``started``, as an O_PATH descriptor.

    What is read through it is of that process and no other, however often the pid is given away:
    once it has ended, everything below answers ESRCH. ProcessLookupError if it has ended already.
    """
    try:
        fd = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ProcessLookupError(3, f"no process {pid}") from None
    if is_alive(pid, started):  # and so it was when its folder was opened
        return fd
    os.close(fd)
    raise ProcessLookupError(3, f"process {pid} is another one by now")


def pidfd_open(pid: int) -> int:
    """pidfd_open(2), close-on-exec."""
    return os.pidfd_open(pid)
