"""Control groups: which hierarchies there are, and the files that both versions share.

Controllers are found in the mount table, never by folder name (a host may leave plain folders
where hierarchies used to be). Three layouts exist and all are supported: pure v2, pure v1, and
the hybrid one, where a v2 tree holds few or no controllers beside the v1 hierarchies. A control
group is made by :func:`of`, which answers with :class:`runtime.cgroups_v1.Cgroup` or
:class:`runtime.cgroups_v2.Cgroup`; both have the same methods.

Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import errno
import os
import time

from kernel import signals, trace
from kernel.record import Record
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Cgroup(Protocol):
        """One container's place in all hierarchies.

        Its processes are born in ``unified``, the folder of version 2 ("" if there is none), and
        :func:`enter` the others.
        """

        folders: tuple[str, ...]
        unified: str

        def create(self, resources: dict[str, Any]) -> None: ...
        def writes(self, resources: dict[str, Any]) -> list[tuple[str, str]]: ...
        def check_memory(self, limit: int) -> None: ...
        def lacking(self, resources: dict[str, Any]) -> dict[str, str]: ...
        def available(self) -> tuple[str, str]: ...
        def usage(self) -> Usage: ...
        def pids(self) -> list[int]: ...
        def oom_kills(self) -> int: ...
        def freeze(self, frozen: bool) -> None: ...
        def kill(self) -> None: ...
        def remove(self) -> None: ...


_made = trace.point("runtime.cgroups.made")
_removed = trace.point("runtime.cgroups.removed")

_REMOVE_PATIENCE = 5.0  # seconds that a killed process may take to leave its cgroup

# What to do about a refusal: (errno, a word of the file's name, hint).
_HINTS = (
    (errno.ENOENT, "", "this kernel lacks the controller or the option; leave the limit out"),
    (errno.EBUSY, "memory", "more than that is in use; end something in the container first"),
    (errno.EOPNOTSUPP, "weight", "the device's scheduler knows no weights: write bfq to"
     " queue/scheduler of the device in /sys/block"),
    (errno.EINVAL, "cpu.", "a parent control group allows less, see its cpu.max or cpu.cfs_*"),
)  # fmt: skip


class Hierarchies(Record):
    """Where the hierarchies are mounted: controller to folder for v1, one folder for v2.

    A named v1 hierarchy stands as ``name=...``. ``v2_controllers`` are those of the v2 root.
    """

    v1: dict[str, str]
    v2: str = ""
    v2_controllers: tuple[str, ...] = ()

    @property
    def pure_v2(self) -> bool:
        """Whether v2 rules alone."""
        return bool(self.v2) and not any(not name.startswith("name=") for name in self.v1)


class Usage(Record):
    """What a control group has used: ``cpu`` in nanoseconds; the others in bytes, and processes.

    ``memory`` leaves out files that were read once and can be dropped at once (inactive_file), as
    Docker does; ``memory_limit`` is 0 where there is none. ``read`` and ``written`` are of block
    devices.
    """

    cpu: int = 0
    memory: int = 0
    memory_limit: int = 0
    pids: int = 0
    read: int = 0
    written: int = 0


_here: Hierarchies | None = None


def hierarchies() -> Hierarchies:
    """Those of the mount table of this process (proc_pid_mountinfo(5)), which is read once.

    A hierarchy stays as long as there is a group in it.
    """
    global _here
    if _here is None:
        with open("/proc/self/mountinfo") as table:
            _here = parse_mountinfo(table.read())
    return _here


def parse_mountinfo(text: str) -> Hierarchies:
    """The hierarchies that a mountinfo table lists; the first mount of each counts."""
    v1: dict[str, str] = {}
    v2 = ""
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, rest = right.partition(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        folder = unescape(left.split()[4])
        if kind == "cgroup2":
            v2 = v2 or folder
            continue
        for option in rest.split()[-1].split(","):
            if option not in ("rw", "ro", "xattr", "noprefix", "clone_children"):
                v1.setdefault(option, folder)
    return Hierarchies(v1, v2, tuple(_words(f"{v2}/cgroup.controllers")) if v2 else ())


def unescape(path: str) -> str:
    """Undoes the octal escapes of mountinfo."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, char)
    return path


def of(path: str, found: Hierarchies | None = None) -> Cgroup:
    """The control group at ``path`` (absolute, from each hierarchy's mount point)."""
    found = found or hierarchies()
    if found.pure_v2:
        from runtime import cgroups_v2

        return cgroups_v2.Cgroup(path, found)
    if not found.v1:
        raise RuntimeFailure(
            "no control groups are mounted",
            "neither cgroup nor cgroup2 stands in /proc/self/mountinfo",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        )
    from runtime import cgroups_v1

    return cgroups_v1.Cgroup(path, found)


def leave_unit(path: str) -> None:
    """Moves this process out of the systemd unit or session that it was started in.

    systemd kills what is in the control group of a unit when that is stopped, or of a session when
    the person logs out; it looks at the v2 hierarchy and at the one named after it. Where systemd
    does not run, or forbids it, nothing is done.
    """
    if not os.path.isdir("/run/systemd/system"):
        return
    found = hierarchies()
    for folder in (found.v1.get("name=systemd"), found.v2):
        if folder:
            try:
                make(folder + path)
                write(folder + path, "cgroup.procs", str(os.getpid()))
            except (OSError, RuntimeFailure):
                continue


def enter(cgroup: Cgroup) -> None:
    """Moves this process, which has one thread, into the cgroup in each hierarchy of version 1.

    The kernel lets a thread that moves itself pass at once. Before it moves a whole process, or
    another one, it waits until no processor is in the middle of a fork (kernel/cgroup/cgroup.c,
    cgroup_procs_write_start): an RCU grace period, 5 to 15 milliseconds.
    """
    for folder in cgroup.folders:
        if folder != cgroup.unified:
            write(folder, "tasks", "0")


def make(folder: str) -> None:
    """Makes a cgroup and its parents; one that is there already is fine."""
    try:
        os.mkdir(folder)
        _made()
    except FileExistsError:
        return
    except FileNotFoundError:
        make(os.path.dirname(folder))
        make(folder)


def write(folder: str, file: str, value: str) -> None:
    """Writes one control file; the error names file, value and reason."""
    path = f"{folder}/{file}"
    try:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, (value or "\n").encode())  # an empty write(2) would not reach the kernel
        finally:
            os.close(fd)
    except OSError as error:
        code = error.errno or 0
        raise RuntimeFailure(
            f"cannot set {file} to {value.strip()!r}",
            os.strerror(code).lower(),
            next((hint for number, word, hint in _HINTS if number == code and word in file), ""),
            path,
            code,
        ) from None


def write_all(writes: list[tuple[str, str]]) -> None:
    """Writes control files, (path, value) each, in order."""
    for path, value in writes:
        folder, _, file = path.rpartition("/")
        write(folder, file, value)


def undoing(writes: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The writes that bring back what stands in these files now: the last one first."""
    before = []
    for path, value in reversed(writes):
        folder, _, file = path.rpartition("/")
        device = value.partition(" ")[0]
        lines = read(folder, file).splitlines() or [""]
        if ":" in device:  # a file with a line for each block device that has a limit
            line = next((one for one in lines if one.startswith(f"{device} ")), "")
            before.append((path, line or f"{device} {_no_limit(file)}"))
        else:
            before.append((path, lines[0]))
    return before


def _no_limit(file: str) -> str:
    """What takes the limit of one block device away."""
    if file == "io.max":
        return "rbps=max wbps=max riops=max wiops=max"
    return "default" if "weight" in file else "0"


def read(folder: str, file: str) -> str:
    """One control file, stripped; "" where it is not there."""
    try:
        with open(f"{folder}/{file}") as handle:
            return handle.read().strip()
    except (FileNotFoundError, OSError):
        return ""


def _words(path: str) -> list[str]:
    folder, _, file = path.rpartition("/")
    return read(folder, file).split()


def pids_below(folder: str) -> list[int]:
    """Processes of a cgroup and of every cgroup below it."""
    found: list[int] = []
    for at, _, _ in os.walk(folder):
        found += [int(word) for word in read(at, "cgroup.procs").split()]
    return found


def amount(text: str) -> int:
    """A number of a control file; 0 for "max", for nothing, and for v1's "no limit"."""
    number = int(text) if text.isdigit() else 0
    return number if number < _UNLIMITED else 0


_UNLIMITED = 1 << 62  # v1 says 2**63 - 1, rounded down to whole pages


def without_idle_files(used: int, idle: int) -> int:
    """Memory in use without the page cache that nothing has touched twice."""
    return used - idle if idle < used else used


def counter(text: str, key: str) -> int:
    """The number beside ``key`` in a file of ``key number`` lines; 0 if absent."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def remove_below(folder: str) -> None:
    """Removes a cgroup and those below it, waiting a little for killed processes to be gone."""
    deadline = time.monotonic() + _REMOVE_PATIENCE
    while True:
        try:
            os.rmdir(folder)
            _removed()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise
        for at, _, _ in os.walk(folder, topdown=False):
            if at != folder:
                try:
                    os.rmdir(at)
                except OSError:
                    pass
        if time.monotonic() > deadline:
            raise RuntimeFailure(
                "a control group cannot be removed",
                f"processes {pids_below(folder)} are still in it",
                path=folder,
            )
        time.sleep(0.005)


def kill_all(cgroup: Cgroup) -> None:
    """SIGKILL to every process until none is left; a frozen tree must be thawed before."""
    deadline = time.monotonic() + _REMOVE_PATIENCE
    while (left := cgroup.pids()) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signals.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.005)
