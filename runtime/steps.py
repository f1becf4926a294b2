"""What a start consists of: one small object for each step of the plan.

A step can be performed, described (the system call with its real arguments), explained (why, and
which manual page says more) and written as shell lines that do the same by hand. This module has
the base and the steps that concern the process; those that build its files are in
:mod:`runtime.filesystem`.
"""

from __future__ import annotations

import errno
import fcntl
import os

from kernel import mounts, namespaces, process, signals, sockets, terminals, trace
from kernel.clone import clone3
from kernel.paths import close_range, open_in_root
from kernel.record import Record
from runtime import capabilities, cgroups, programs, users
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any, ClassVar

    from runtime.peers import Peer

_NAMESPACES = {
    "mount": (namespaces.CLONE_NEWNS, "CLONE_NEWNS", "--mount"),
    "uts": (namespaces.CLONE_NEWUTS, "CLONE_NEWUTS", "--uts"),
    "ipc": (namespaces.CLONE_NEWIPC, "CLONE_NEWIPC", "--ipc"),
    "network": (namespaces.CLONE_NEWNET, "CLONE_NEWNET", "--net"),
    "pid": (namespaces.CLONE_NEWPID, "CLONE_NEWPID", "--pid"),
    "cgroup": (namespaces.CLONE_NEWCGROUP, "CLONE_NEWCGROUP", "--cgroup"),
}


class Site:
    """What the steps of one start share: the only thing here that changes.

    ``root`` is where the root filesystem is placed in the private mount namespace, ``root_fd``
    its descriptor once it is mounted, ``cgroup`` the container's, ``report`` the socket to the
    monitor, ``child`` what clone3(2) returned, ``pidfds`` those of the containers from which
    something is taken.
    """

    def __init__(self, root: str, report: socket | None = None) -> None:
        self.root = root
        self.cgroup: cgroups.Cgroup | None = None
        self.child = -1
        self.root_fd = -1
        self.report = report
        self.user: users.User | None = None
        self.pidfds: dict[Peer, int] = {}


class Step(Record):
    """One step. Subclasses add fields and say what they do."""

    why: ClassVar[str] = ""
    man: ClassVar[str] = ""
    before_point: ClassVar[Callable[[], None]]
    after_point: ClassVar[Callable[[], None]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        name = f"runtime.step.{cls.__name__}"
        cls.before_point = staticmethod(trace.point(f"{name}.before"))
        cls.after_point = staticmethod(trace.point(f"{name}.after"))

    @property
    def title(self) -> str:
        """Two or three words: "mount proc on /proc"."""
        raise NotImplementedError

    def call(self) -> str:
        """The system call with its real arguments."""
        raise NotImplementedError

    def perform(self, site: Site) -> None:
        """Does it. OSError or RuntimeFailure."""
        raise NotImplementedError

    def shell(self) -> list[str]:
        """Shell lines that do the same; the root filesystem is "$ROOT"."""
        raise NotImplementedError


def quote(word: str) -> str:
    """``word`` as one word of a shell."""
    if word and all(char.isalnum() or char in "_@%+=:,./-" for char in word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def namespace_flags(kinds: tuple[str, ...]) -> tuple[int, str, list[str]]:
    """(flags, "CLONE_A|CLONE_B", options of unshare(1)) for OCI namespace types."""
    rows = [_NAMESPACES[kind] for kind in kinds]
    return sum(row[0] for row in rows), "|".join(row[1] for row in rows), [row[2] for row in rows]


class MakeCgroup(Step):
    """The control group with its limits, in every hierarchy of the host. Done by the monitor."""

    path: str
    resources: dict[str, Any]
    why = "limits are set while nothing runs in it yet"
    man = "cgroups(7)"

    @property
    def title(self) -> str:
        return "make the control group"

    def call(self) -> str:
        made = cgroups.of(self.path)
        return f'mkdir("{made.folders[0]}") and {len(made.writes(self.resources))} limits'

    def perform(self, site: Site) -> None:
        site.cgroup = cgroups.of(self.path)
        site.cgroup.create(self.resources)

    def shell(self) -> list[str]:
        made = cgroups.of(self.path)
        lines = [f"mkdir -p {quote(folder)}" for folder in made.folders]
        cpuset = next((folder for folder in made.folders if "cpuset" in folder), "")
        if cpuset:
            lines += _fill_cpuset(cpuset.removesuffix(self.path), self.path)
        lines += [f"echo {quote(v)} > {quote(path)}" for path, v in made.writes(self.resources)]
        if self.resources.get("devices") and not any("devices." in line for line in lines):
            lines.append("# version 2 has a BPF program for devices: this container has none")
        # 0 is the process that writes; $$ would be the shell around the parentheses.
        return [*lines, *(f"echo 0 > {quote(folder)}/cgroup.procs" for folder in made.folders)]


def _fill_cpuset(top: str, path: str) -> list[str]:
    lines = []
    for part in path.strip("/").split("/"):
        above, top = top, f"{top}/{part}"
        for file in ("cpus", "mems"):
            at = quote(f"{top}/cpuset.{file}")
            lines.append(f'[ -n "$(cat {at})" ] || cat {quote(f"{above}/cpuset.{file}")} > {at}')
    return lines


class FindPeer(Step):
    """The first process of a container from which something is taken. Done by the monitor."""

    peer: Peer
    why = "before the fork: in its own pid namespace the child would find other processes there"
    man = "pidfd_open(2), proc_pid_stat(5)"

    @property
    def title(self) -> str:
        return f"find {self.peer.name}"

    def call(self) -> str:
        return f"pidfd_open({self.peer.pid}), and its start time is {self.peer.start_time}"

    def perform(self, site: Site) -> None:
        site.pidfds[self.peer] = self.peer.open()

    def shell(self) -> list[str]:
        return []  # nsenter(1) --target


class Fork(Step):
    """A child that is the first process of the container. Done by the monitor.

    It is process 1 of a new pid namespace, or one more in that at ``pid_path`` or of ``peer``, or,
    without any of these, in the monitor's own. In the control group of version 2, where there is
    one, it is from its first moment.
    """

    new_pid: bool
    pid_path: str = ""
    peer: Peer | None = None
    why = "a pid namespace holds children only; the monitor itself stays outside"
    man = "clone3(2), pid_namespaces(7)"

    @property
    def title(self) -> str:
        return "fork the first process"

    def call(self) -> str:
        if self.peer is not None:
            return f"setns(pidfd_open({self.peer.pid}), CLONE_NEWPID), clone3(CLONE_INTO_CGROUP)"
        if self.pid_path:
            return f'setns(open("{self.pid_path}"), CLONE_NEWPID), clone3(CLONE_INTO_CGROUP)'
        return f"clone3({'CLONE_NEWPID|' if self.new_pid else ''}CLONE_INTO_CGROUP)"

    def perform(self, site: Site) -> None:
        # Whoever is in that namespace already sees the child before it can say a word: it inherits
        # that nobody may look into it (proc_pid_root(5), ptrace(2), PR_SET_DUMPABLE(2const)).
        process.set_dumpable(False)
        unified = site.cgroup.unified if site.cgroup is not None else ""
        if not self.pid_path and self.peer is None:
            site.child = clone3(namespaces.CLONE_NEWPID if self.new_pid else 0, unified)
            return
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self.peer is not None:
                namespaces.setns(site.pidfds[self.peer], namespaces.CLONE_NEWPID)
            else:
                EnterNamespace("pid", self.pid_path).perform(site)
            site.child = clone3(0, unified)
            if site.child:  # later children of the monitor belong to its own namespace again
                namespaces.setns(own, namespaces.CLONE_NEWPID)
        finally:
            os.close(own)

    def shell(self) -> list[str]:
        return []  # unshare(1) --pid --fork


class JoinCgroup(Step):
    """Moves this process into its control group, where it is not there already (:class:`Fork`)."""

    path: str
    why = "limits must hold before the first instruction of the program; children inherit them"
    man = "cgroups(7)"

    @property
    def title(self) -> str:
        return "join the control group"

    def call(self) -> str:
        return f'write("{self.path}/tasks", "0") in each hierarchy of version 1'

    def perform(self, site: Site) -> None:
        if site.cgroup is not None:
            cgroups.enter(site.cgroup)

    def shell(self) -> list[str]:
        return []  # the script joined before it unshared


class Unshare(Step):
    """New namespaces of several kinds at once."""

    kinds: tuple[str, ...]
    why = "from here on the process has these views of the system for itself"
    man = "unshare(2), namespaces(7)"

    @property
    def title(self) -> str:
        return f"new {', '.join(self.kinds)} namespace{'s' if len(self.kinds) > 1 else ''}"

    def call(self) -> str:
        return f"unshare({namespace_flags(self.kinds)[1]})"

    def perform(self, site: Site) -> None:
        namespaces.unshare(namespace_flags(self.kinds)[0])

    def shell(self) -> list[str]:
        return []  # one unshare(1) command makes them all


class EnterNamespace(Step):
    """An existing namespace instead of a new one."""

    kind: str
    path: str
    why = "the specification names an existing namespace to share"
    man = "setns(2)"

    @property
    def title(self) -> str:
        return f"enter {self.kind} namespace"

    def call(self) -> str:
        return f'setns(open("{self.path}"), {_NAMESPACES[self.kind][1]})'

    def perform(self, site: Site) -> None:
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespaces.setns(fd, _NAMESPACES[self.kind][0])
        finally:
            os.close(fd)

    def shell(self) -> list[str]:
        return [f"# enter the {self.kind} namespace {self.path}: nsenter(1) around this script"]


class SetHostname(Step):
    """The name in the container's own UTS namespace."""

    name: str
    domain: bool = False
    why = "the UTS namespace is new, so this name is the container's alone"
    man = "sethostname(2), uts_namespaces(7)"

    @property
    def title(self) -> str:
        return "set the domain name" if self.domain else "set the host name"

    def call(self) -> str:
        return f'{"setdomainname" if self.domain else "sethostname"}("{self.name}")'

    def perform(self, site: Site) -> None:
        (namespaces.setdomainname if self.domain else namespaces.sethostname)(self.name)

    def shell(self) -> list[str]:
        return [f"{'domainname' if self.domain else 'hostname'} {quote(self.name)}"]


class JoinKeyring(Step):
    """A session keyring of the container's own; without it the caller's would be inherited."""

    name: str
    why = "keys of the host's session are nobody's business inside"
    man = "session-keyring(7), keyctl_join_session_keyring(3)"

    @property
    def title(self) -> str:
        return "join a session keyring"

    def call(self) -> str:
        return f'keyctl(KEYCTL_JOIN_SESSION_KEYRING, "{self.name}")'

    def perform(self, site: Site) -> None:
        try:
            process.join_session_keyring(self.name)
        except OSError as error:
            if error.errno != errno.ENOSYS:  # a kernel without keys has none to protect
                raise

    def shell(self) -> list[str]:
        return []  # keyctl(1) is rarely installed; the host's session keyring is kept here


class RaiseLoopback(Step):
    """The loopback interface of a new network namespace is down at first."""

    why = "127.0.0.1 works in every container, also without a network"
    man = "netdevice(7), network_namespaces(7)"

    @property
    def title(self) -> str:
        return "raise the loopback interface"

    def call(self) -> str:
        return 'ioctl(SIOCSIFFLAGS, "lo", IFF_UP)'

    def perform(self, site: Site) -> None:
        import _socket
        import struct

        interface = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
        try:
            fcntl.ioctl(interface.fileno(), _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
        finally:
            interface.close()

    def shell(self) -> list[str]:
        return ["ip link set lo up"]


_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


class FindUser(Step):
    """Who the program runs as, from the container's own passwd and group files."""

    wanted: str
    additional: tuple[str, ...] = ()
    why = "names mean what the image says they mean; its files are read as data, never trusted"
    man = "passwd(5), openat2(2)"

    @property
    def title(self) -> str:
        return "find the user"

    def call(self) -> str:
        return f'openat2(rootfs, "/etc/passwd", RESOLVE_IN_ROOT) for "{self.wanted or "root"}"'

    def perform(self, site: Site) -> None:
        site.user = users.lookup(site.root_fd, self.wanted, self.additional)

    def shell(self) -> list[str]:
        return []  # chroot(1) --userspec looks the user up


class SetLimit(Step):
    """One resource limit."""

    name: str
    soft: int
    hard: int
    why = "set last: an earlier limit would bind the runtime's own work"
    man = "setrlimit(2)"

    @property
    def title(self) -> str:
        return f"limit {self.name}"

    def call(self) -> str:
        return f"setrlimit({self.name}, {self.soft}, {self.hard})"

    def perform(self, site: Site) -> None:
        from runtime import limits  # loaded by the plan before any pivot_root

        limits.set_limit(self.name, self.soft, self.hard)

    def shell(self) -> list[str]:
        name = self.name.removeprefix("RLIMIT_").lower()
        return [f"prlimit --pid $$ --{name}={self.soft}:{self.hard}"]


class SetOomScore(Step):
    """How gladly the kernel kills this process when the host lacks memory."""

    adjustment: int
    why = "a host short of memory kills the highest score first"
    man = "proc_pid_oom_score_adj(5)"

    @property
    def title(self) -> str:
        return "set the OOM score"

    def call(self) -> str:
        return f'write("/proc/self/oom_score_adj", "{self.adjustment}")'

    def perform(self, site: Site) -> None:
        path = "/proc/self/oom_score_adj"
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(self.adjustment).encode())
        except PermissionError as error:
            raise RuntimeFailure(
                f"cannot set the OOM score to {self.adjustment}",
                "the kernel lets nobody lower it without CAP_SYS_RESOURCE",
                "leave it out, or choose a higher one than that of the caller",
                path,
                error.errno or 0,
            ) from None
        finally:
            os.close(fd)

    def shell(self) -> list[str]:
        return [f"echo {self.adjustment} > /proc/self/oom_score_adj"]


class DropBounding(Step):
    """Capabilities that nothing in the container can ever gain."""

    wanted: tuple[str, ...]
    why = "root inside keeps Docker's short list; what is not in the bounding set cannot come back"
    man = "capabilities(7), PR_CAPBSET_DROP(2const)"

    @property
    def title(self) -> str:
        return "drop capabilities"

    def call(self) -> str:
        return f"prctl(PR_CAPBSET_DROP, each but {len(self.wanted)})"

    def perform(self, site: Site) -> None:
        capabilities.drop_bounding({"bounding": list(self.wanted)})

    def shell(self) -> list[str]:
        return []  # setpriv(1) --bounding-set


class BecomeUser(Step):
    """Groups, gid, uid, then the other four capability sets."""

    sets: tuple[tuple[str, tuple[str, ...]], ...]
    umask: int = -1
    why = "the program runs as this user; no supplementary group and no capability is left over"
    man = "setgroups(2), setresuid(2), capset(2)"

    @property
    def title(self) -> str:
        return "become the user"

    def call(self) -> str:
        return "setgroups(), setresgid(), setresuid(), capset()"

    def perform(self, site: Site) -> None:
        user = site.user or users.User(0, 0)
        os.setgroups(user.groups)
        os.setresgid(user.gid, user.gid, user.gid)
        wanted = {name: list(names) for name, names in self.sets}
        keep = user.uid != 0 and any(wanted.get(name) for name in ("effective", "ambient"))
        if keep:
            process.set_keepcaps(True)
        os.setresuid(user.uid, user.uid, user.uid)
        capabilities.set_all(wanted)
        if self.umask >= 0:
            os.umask(self.umask)

    def shell(self) -> list[str]:
        return [f"umask {self.umask:04o}"] if self.umask >= 0 else []


class NoNewPrivileges(Step):
    """execve(2) grants nothing from now on, setuid bits or not."""

    why = "a setuid program in the image gives no rights"
    man = "PR_SET_NO_NEW_PRIVS(2const)"

    @property
    def title(self) -> str:
        return "no new privileges"

    def call(self) -> str:
        return "prctl(PR_SET_NO_NEW_PRIVS, 1)"

    def perform(self, site: Site) -> None:
        process.set_no_new_privs()

    def shell(self) -> list[str]:
        return []  # setpriv(1) --no-new-privs


class DieWithMonitor(Step):
    """The container ends when its monitor is killed."""

    why = "without its monitor nobody would keep its log or learn its exit code"
    man = "PR_SET_PDEATHSIG(2const)"

    @property
    def title(self) -> str:
        return "die with the monitor"

    def call(self) -> str:
        return "prctl(PR_SET_PDEATHSIG, SIGKILL)"

    def perform(self, site: Site) -> None:
        process.set_pdeathsig(signals.SIGKILL)

    def shell(self) -> list[str]:
        return []  # unshare(1) --kill-child


class LoadSeccomp(Step):
    """The system call filter."""

    program: bytes
    flags: int = 0
    why = "system calls that containers do not need are refused, by default with EPERM"
    man = "seccomp(2)"

    @property
    def title(self) -> str:
        return "load the seccomp filter"

    def call(self) -> str:
        flags = f"{self.flags:#x}, " if self.flags else ""
        return f"seccomp(SECCOMP_SET_MODE_FILTER, {flags}{len(self.program) // 8} instructions)"

    def perform(self, site: Site) -> None:
        process.seccomp_load(self.program, self.flags)

    def shell(self) -> list[str]:
        return ["# the seccomp filter has no command of its own: this container runs without it"]


class ChangeDirectory(Step):
    """The working folder, inside for certain."""

    path: str
    why = "made if missing; getcwd must not show a place outside (CVE-2024-21626)"
    man = "chdir(2), getcwd(3)"

    @property
    def title(self) -> str:
        return "change directory"

    def call(self) -> str:
        return f'chdir("{self.path}")'

    def perform(self, site: Site) -> None:
        try:
            os.chdir(self.path)
        except FileNotFoundError:
            os.makedirs(self.path, exist_ok=True)
            os.chdir(self.path)
        where = os.getcwd()
        if not where.startswith("/") or where.startswith("(unreachable)"):
            raise RuntimeFailure(
                f"the working folder {self.path!r} lies outside the container", path=self.path
            )

    def shell(self) -> list[str]:
        return []  # part of the last command


class SwitchRoot(Step):
    """The root filesystem becomes "/", and the host's goes away."""

    why = "after this no path, and no descriptor, leads to the host's files"
    man = "pivot_root(2)"

    @property
    def title(self) -> str:
        return "pivot into the root filesystem"

    def call(self) -> str:
        return 'fchdir(rootfs), pivot_root(".", "."), umount2(".", MNT_DETACH)'

    def perform(self, site: Site) -> None:
        import sys

        os.fchdir(site.root_fd)
        # Both places are the same folder: the old root is stacked on the new one, and then the
        # top of the stack is taken off (pivot_root(2), "pivot_root(".", ".")").
        mounts.pivot_root(".", ".")
        mounts.umount2(".", mounts.MNT_DETACH)
        os.chdir("/")
        # From here on an import would run the container's code.
        sys.path.clear()
        sys.meta_path.clear()

    def shell(self) -> list[str]:
        return [
            "# pyctr calls pivot_root(2); from a shell, moving the mount over / does the same",
            'cd "$ROOT"',
            "mount --move . /",
        ]


class Execute(Step):
    """The program itself: its pid is that of all the steps before."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    why = "the program takes the place of this process: nothing of the runtime stays inside"
    man = "execve(2)"

    @property
    def title(self) -> str:
        return f"execute {self.argv[0]}"

    def call(self) -> str:
        return f"execve({self.argv[0]!r}, {list(self.argv)}, {len(self.env)} variables)"

    def perform(self, site: Site) -> None:
        env = dict(entry.partition("=")[::2] for entry in self.env)
        if site.user is not None:
            env.setdefault("HOME", site.user.home)
        reset_signals()
        report = 2
        if site.report is not None:
            report = site.report.fileno()
            site.report.send(b"X\n")  # an end of file from here on means that it was executed
        # Everything but stdio and the report (close-on-exec itself) is shut before the program.
        close_range(3, report - 1) if report > 3 else None
        close_range(report + 1)
        raise programs.execute(self.argv[0], list(self.argv), env)

    def shell(self) -> list[str]:
        return []  # the last command of the script


class AllocateConsole(Step):
    """A pseudo terminal from the container's own devpts; its master goes to the monitor."""

    columns: int
    rows: int
    why = "a terminal that belongs to the container: the host's /dev/pts does not show in it"
    man = "pty(7), ioctl_tty(2)"

    @property
    def title(self) -> str:
        return "allocate the console"

    def call(self) -> str:
        return 'open("/dev/pts/ptmx"), ioctl(TIOCGPTPEER), move_mount(peer, "/dev/console")'

    def perform(self, site: Site) -> None:
        from runtime.filesystem import bind_onto

        flags = os.O_RDWR | os.O_NOCTTY
        master = open_in_root(site.root_fd, "/dev/pts/ptmx", flags)
        peer = open_peer(master, self.columns, self.rows)
        clone = mounts.open_tree(peer, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH)
        bind_onto(site.root_fd, clone, "/dev/console", directory=False)
        if site.report is None:
            raise RuntimeFailure("a terminal was asked for, but nobody would serve it")
        sockets.send_with_fd(site.report, b"C\n", master)
        os.close(master)
        use_terminal(peer)

    def shell(self) -> list[str]:
        return []


_TIOCSPTLCK = 0x40045431
_TIOCSCTTY = 0x540E


def open_peer(master: int, columns: int, rows: int) -> int:
    """The terminal side of a pty master, unlocked and sized; never by its path."""
    import struct

    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    peer = terminals.open_peer(master)
    if columns and rows:
        terminals.set_size(master, columns, rows)
    return peer


def use_terminal(peer: int) -> None:
    """Makes the terminal this session's own, and stdio with it."""
    fcntl.ioctl(peer, _TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(peer, fd)
    if peer > 2:
        os.close(peer)


def reset_signals() -> None:
    """Default dispositions and an empty mask, whatever we or our caller ignore (signal(7))."""
    for number in range(1, 65):
        try:
            signals.signal(number, signals.SIG_DFL)
        except OSError:  # SIGKILL, SIGSTOP, and the two that the C library keeps for itself
            continue
    signals.pthread_sigmask(signals.SIG_SETMASK, ())


def os_error(error: OSError) -> tuple[str, str, int]:
    """(why, path, errno) of an OSError as this project words it."""
    code = error.errno or errno.EIO
    return (error.strerror or os.strerror(code)), str(error.filename or ""), code


def to_sets(process_spec: dict[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """``process.capabilities`` as hashable data."""
    given = process_spec.get("capabilities") or {}
    return tuple((name, tuple(names)) for name, names in given.items())
