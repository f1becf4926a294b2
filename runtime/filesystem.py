"""The steps that build what the container sees as its files.

Every destination is resolved once, inside the root filesystem, to a descriptor, and used through
it (SECURITY: CVE-2021-30465, CVE-2019-19921, CVE-2024-45310). A mount gets its attributes while
it is detached and reachable by nobody, and is then placed on that descriptor.
"""

from __future__ import annotations

import errno
import os
import stat

from kernel import mounts
from kernel.paths import (
    PROC_SUPER_MAGIC,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    fs_magic,
    make_in_root,
    open_in_root,
    openat2,
)
from kernel.record import Record
from overlay import union as unions
from runtime.errors import RuntimeFailure
from runtime.steps import Site, Step, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from overlay.union import Union

# Mount options of the OCI specification that are attributes of a mount: (attribute, clears).
_ATTRIBUTES = {
    "ro": (mounts.MOUNT_ATTR_RDONLY, False),
    "rw": (mounts.MOUNT_ATTR_RDONLY, True),
    "nosuid": (mounts.MOUNT_ATTR_NOSUID, False),
    "suid": (mounts.MOUNT_ATTR_NOSUID, True),
    "nodev": (mounts.MOUNT_ATTR_NODEV, False),
    "dev": (mounts.MOUNT_ATTR_NODEV, True),
    "noexec": (mounts.MOUNT_ATTR_NOEXEC, False),
    "exec": (mounts.MOUNT_ATTR_NOEXEC, True),
    "nosymfollow": (mounts.MOUNT_ATTR_NOSYMFOLLOW, False),
    "symfollow": (mounts.MOUNT_ATTR_NOSYMFOLLOW, True),
    "nodiratime": (mounts.MOUNT_ATTR_NODIRATIME, False),
    "diratime": (mounts.MOUNT_ATTR_NODIRATIME, True),
}
_TIMES = {
    "relatime": mounts.MOUNT_ATTR_RELATIME,
    "noatime": mounts.MOUNT_ATTR_NOATIME,
    "strictatime": mounts.MOUNT_ATTR_STRICTATIME,
}
_PROPAGATIONS = {
    "private": mounts.MS_PRIVATE,
    "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED,
    "unbindable": mounts.MS_UNBINDABLE,
}


class Options(Record):
    """The options of one mount, sorted by what the kernel wants done with them.

    ``attr_set`` and ``attr_clr`` are MOUNT_ATTR_*, ``propagation`` one MS_* type, ``data`` what
    the file system itself understands, ``words`` all of them as they were given.
    """

    attr_set: int = 0
    attr_clr: int = 0
    propagation: int = mounts.MS_PRIVATE
    propagation_recursive: bool = True
    bind: bool = False
    recursive: bool = False
    recursive_readonly: bool = False
    data: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def parse_options(words: list[str] | tuple[str, ...]) -> Options:
    """Sorts OCI mount options (config.md, "Linux mount options"); later words win."""
    attr_set = attr_clr = 0
    propagation, everywhere = mounts.MS_PRIVATE, True
    data: list[str] = []
    for word in words:
        if word in _ATTRIBUTES:
            bit, clears = _ATTRIBUTES[word]
            attr_set, attr_clr = (
                (attr_set & ~bit, attr_clr | bit) if clears else (attr_set | bit, attr_clr & ~bit)
            )
        elif word in _TIMES:
            attr_clr |= mounts.MOUNT_ATTR__ATIME
            attr_set = attr_set & ~mounts.MOUNT_ATTR__ATIME | _TIMES[word]
        elif word.removeprefix("r") in _PROPAGATIONS and word not in _PROPAGATIONS:
            propagation, everywhere = _PROPAGATIONS[word[1:]], True
        elif word in _PROPAGATIONS:
            propagation, everywhere = _PROPAGATIONS[word], False
        elif word == "rro":
            attr_set |= mounts.MOUNT_ATTR_RDONLY
        elif word not in ("bind", "rbind", "defaults", "async"):
            data.append(word)
    return Options(
        attr_set,
        attr_clr,
        propagation,
        everywhere,
        "bind" in words or "rbind" in words,
        "rbind" in words,
        "rro" in words,
        tuple(data),
        tuple(words),
    )


def place(root_fd: int, destination: str, *, directory: bool) -> int:
    """An O_PATH descriptor of a mount's destination, made where missing, of the right kind."""
    fd = make_in_root(root_fd, destination, directory=directory)
    is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
    if is_folder == directory:
        return fd
    os.close(fd)
    has, wants = ("a folder", "a file") if is_folder else ("a file", "a folder")
    raise RuntimeFailure(
        f"cannot mount on {destination}",
        f"it is {has} in the container and {wants} outside",
        path=destination,
    )


def bind_onto(root_fd: int, detached: int, destination: str, *, directory: bool) -> None:
    """Places a detached mount inside the root and closes it."""
    target = place(root_fd, destination, directory=directory)
    try:
        mounts.move_mount(detached, target, destination)
    finally:
        os.close(target)
        os.close(detached)


class IsolateMounts(Step):
    """No mount of the container reaches the host."""

    why = "unmounts of the host still arrive here, so that the container keeps no device busy"
    man = "mount_namespaces(7)"

    @property
    def title(self) -> str:
        return "make all mounts slaves"

    def call(self) -> str:
        return 'mount(NULL, "/", NULL, MS_REC|MS_SLAVE)'

    def perform(self, site: Site) -> None:
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SLAVE)

    def shell(self) -> list[str]:
        return ["mount --make-rslave /"]


class MountRoot(Step):
    """The root filesystem: an overlayfs union, or a folder as it is."""

    union: Union
    why = "image layers stay untouched below; what the container writes lands in its own folder"
    man = "Documentation/filesystems/overlayfs.rst, fsopen(2)"

    @property
    def title(self) -> str:
        return "mount the root filesystem"

    def call(self) -> str:
        return unions.describe(self.union)

    def perform(self, site: Site) -> None:
        unions.attach(self.union, site.root)
        site.root_fd = os.open(site.root, os.O_PATH | os.O_DIRECTORY)
        mounts.mount_setattr(site.root_fd, propagation=mounts.MS_PRIVATE)

    def shell(self) -> list[str]:
        return [unions.shell(self.union, "$ROOT").replace("'$ROOT'", '"$ROOT"')]


class MountFilesystem(Step):
    """A new instance of a kernel file system: proc, tmpfs, devpts, mqueue, sysfs, cgroup."""

    fstype: str
    source: str
    destination: str
    options: Options
    man = "fsopen(2), fsmount(2), move_mount(2)"
    _whys: ClassVar[dict[str, str]] = {
        "proc": "the processes of its pid namespace, and only those",
        "tmpfs": "memory of the container's own; it ends with its last process",
        "devpts": "pseudo terminals that no other container can see",
        "mqueue": "POSIX message queues of its IPC namespace",
        "sysfs": "the devices of its network namespace",
        "cgroup2": "limits can be read; they can be changed only where it is not mounted read-only",
    }

    @property
    def why(self) -> str:  # type: ignore[override]
        return self._whys.get(self.fstype, "asked for by the specification")

    @property
    def title(self) -> str:
        return f"mount {self.fstype} on {self.destination}"

    def call(self) -> str:
        options = ",".join(self.options.words)
        return f'fsopen("{self.fstype}"), fsmount({options}), move_mount("{self.destination}")'

    def perform(self, site: Site) -> None:
        detached = new_filesystem(self.fstype, self.source, self.options)
        if self.fstype in ("proc", "sysfs"):
            # A link in the image must not move these elsewhere (CVE-2019-19921).
            os.close(make_in_root(site.root_fd, self.destination))
            resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
            flags = os.O_PATH | os.O_DIRECTORY
            target = openat2(site.root_fd, self.destination, flags, 0, resolve)
            mounts.move_mount(detached, target, self.destination)
            os.close(target)
            os.close(detached)
            return
        bind_onto(site.root_fd, detached, self.destination, directory=True)

    def shell(self) -> list[str]:
        target = f'"$ROOT"{quote(self.destination)}'
        words = [word for word in self.options.words if word not in _PROPAGATIONS]
        options = f" -o {quote(','.join(words))}" if words else ""
        return [
            f"mkdir -p {target}",
            f"mount -t {self.fstype}{options} {quote(self.source)} {target}",
        ]


def new_filesystem(fstype: str, source: str, options: Options) -> int:
    """A detached mount of a new file system instance."""
    context = mounts.fsopen(fstype)
    try:
        mounts.fsconfig_string(context, "source", source)
        for word in options.data:
            key, has_value, value = word.partition("=")
            if has_value:
                mounts.fsconfig_string(context, key, value)
            else:
                mounts.fsconfig_flag(context, key)
        mounts.fsconfig_create(context)
        return mounts.fsmount(context, options.attr_set)
    finally:
        os.close(context)


class MountCgroups1(Step):
    """The hierarchies of cgroup v1, each at its usual name, below a tmpfs."""

    destination: str
    controllers: tuple[tuple[str, str], ...]  # (folder name, option of the hierarchy)
    readonly: bool = True
    man = "cgroups(7), cgroup_namespaces(7)"

    @property
    def why(self) -> str:  # type: ignore[override]
        if self.readonly:
            return "programs size themselves by their own limits; read-only (CVE-2022-0492)"
        return "a privileged container may divide its own control group"

    @property
    def title(self) -> str:
        return f"mount control groups on {self.destination}"

    @property
    def _mode(self) -> str:
        return "ro" if self.readonly else "rw"

    def call(self) -> str:
        return f'fsopen("cgroup") x {len(self.controllers)}, {self._mode},nosuid,nodev,noexec'

    def perform(self, site: Site) -> None:
        attributes = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
        attributes |= mounts.MOUNT_ATTR_RDONLY if self.readonly else 0
        holder = new_filesystem("tmpfs", "tmpfs", parse_options(("mode=755",)))
        target = place(site.root_fd, self.destination, directory=True)
        mounts.move_mount(holder, target, self.destination)
        os.close(target)
        # A hierarchy cannot be moved into a tmpfs that is still detached on older kernels, so the
        # tmpfs is placed first and made read-only last.
        top = open_in_root(site.root_fd, self.destination)
        for name, option in self.controllers:
            os.mkdir(name, 0o755, dir_fd=top)
            fstype = "cgroup2" if option == "cgroup2" else "cgroup"
            words = () if option == "cgroup2" else _hierarchy_words(option)
            fd = new_filesystem(fstype, "cgroup", parse_options(words))
            mounts.mount_setattr(fd, attr_set=attributes, propagation=mounts.MS_PRIVATE)
            place_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=top)
            mounts.move_mount(fd, place_fd, f"{self.destination}/{name}")
            os.close(place_fd)
            os.close(fd)
        mounts.mount_setattr(top, attr_set=attributes)
        os.close(top)
        os.close(holder)

    def shell(self) -> list[str]:
        top = f'"$ROOT"{quote(self.destination)}'
        lines = [f"mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs {top}"]
        for name, option in self.controllers:
            kind = "cgroup2" if option == "cgroup2" else "cgroup"
            words = "" if option == "cgroup2" else "," + ",".join(_hierarchy_words(option))
            lines.append(f"mkdir {top}/{name}")
            options = f"{self._mode},nosuid,nodev,noexec{words}"
            lines.append(f"mount -t {kind} -o {options} cgroup {top}/{name}")
        return [*lines, *([f"mount -o remount,ro {top}"] if self.readonly else [])]


def _hierarchy_words(option: str) -> tuple[str, ...]:
    return ("none", option) if option.startswith("name=") else tuple(option.split(","))


class Bind(Step):
    """A file or folder of the host at a place inside: a volume, or a bind mount."""

    source: str
    destination: str
    options: Options
    volume: bool = False
    man = "open_tree(2), mount_setattr(2), move_mount(2)"

    @property
    def why(self) -> str:  # type: ignore[override]
        if self.volume:
            return "past the union: what is written here goes straight to the volume's folder"
        return "the same files as on the host, at this place"

    @property
    def title(self) -> str:
        return f"{'bind the volume' if self.volume else 'bind'} on {self.destination}"

    def call(self) -> str:
        words = ",".join(self.options.words)
        return (
            f'open_tree("{self.source}", OPEN_TREE_CLONE), mount_setattr({words}), '
            f'move_mount("{self.destination}")'
        )

    def perform(self, site: Site) -> None:
        options = self.options
        flags = mounts.OPEN_TREE_CLONE | (mounts.AT_RECURSIVE if options.recursive else 0)
        try:
            detached = mounts.open_tree(mounts.AT_FDCWD, self.source, flags)
        except FileNotFoundError:
            raise RuntimeFailure(
                f"cannot bind {self.source} on {self.destination}",
                "the source does not exist on the host",
                "make it, or use --volume, which makes a missing folder",
                self.source,
                errno.ENOENT,
            ) from None
        directory = stat.S_ISDIR(os.fstat(detached).st_mode)
        set_attributes(detached, options)
        target = place(site.root_fd, self.destination, directory=directory)
        try:
            _refuse_own(site.root_fd, target, self.destination, directory=directory)
            mounts.move_mount(detached, target, self.destination)
        finally:
            os.close(target)
            os.close(detached)

    def shell(self) -> list[str]:
        target = f'"$ROOT"{quote(self.destination)}'
        make = "mkdir -p" if os.path.isdir(self.source) else "touch"
        word = "--rbind" if self.options.recursive else "--bind"
        lines = [f"{make} {target}", f"mount {word} {quote(self.source)} {target}"]
        lines.append(f"mount --make-rprivate {target}")
        words = [w for w in self.options.words if w in _ATTRIBUTES and w not in ("rw",)]
        if words:
            lines.append(f"mount -o remount,bind,{','.join(words)} {target}")
        return lines


def _refuse_own(root_fd: int, target: int, destination: str, *, directory: bool) -> None:
    """RuntimeFailure where a link of the image leads a destination to what is the runtime's own.

    A mount there would hide the root, or the container's own /proc, /sys or /dev (CVE-2019-16884).
    """
    if fs_magic(target) == PROC_SUPER_MAGIC:
        where = "in the container's /proc"
    else:
        where = _own_folder(root_fd, os.fstat(target)) if directory else ""
    if where:
        raise RuntimeFailure(
            f"cannot mount on {destination}",
            f"it lies {where}",
            "choose another destination",
            destination,
        )


def _own_folder(root_fd: int, found: os.stat_result) -> str:
    for path in ("/", "/sys", "/dev"):
        try:
            fd = open_in_root(root_fd, path)
        except FileNotFoundError:
            continue
        try:
            if os.path.samestat(os.fstat(fd), found):
                return f"on the container's {path}"
        finally:
            os.close(fd)
    return ""


def set_attributes(detached: int, options: Options) -> None:
    """Propagation and attributes of a detached mount, before anybody can reach it."""
    everywhere = mounts.AT_EMPTY_PATH | mounts.AT_RECURSIVE
    mounts.mount_setattr(
        detached,
        flags=everywhere if options.propagation_recursive else mounts.AT_EMPTY_PATH,
        propagation=options.propagation,
    )
    if options.attr_set or options.attr_clr:
        mounts.mount_setattr(
            detached,
            flags=everywhere if options.recursive_readonly else mounts.AT_EMPTY_PATH,
            attr_set=options.attr_set,
            attr_clr=options.attr_clr,
        )


class MakeDevice(Step):
    """A device node.

    Those that every container has are made on its own, empty /dev. One that was ``asked`` for may
    have any path and take the place of those; what the image has at a path is neither followed nor
    removed.
    """

    path: str
    kind: str  # "c", "b" or "p", as OCI's linux.devices has it
    major: int
    minor: int
    mode: int
    uid: int = 0
    gid: int = 0
    asked: bool = False
    man = "mknod(2)"

    @property
    def why(self) -> str:  # type: ignore[override]
        if self.asked:
            return "asked for; a link or a file of the image at this place would be refused"
        return "made on our own tmpfs: the image cannot swap the node for a link (CVE-2025-31133)"

    @property
    def title(self) -> str:
        return f"make {self.path}"

    def call(self) -> str:
        return f'mknod("{self.path}", {self.kind} {self.mode:04o}, {self.major}:{self.minor})'

    def perform(self, site: Site) -> None:
        folder, name = os.path.split(self.path)
        fd = make_in_root(site.root_fd, folder)
        before = os.umask(0)
        try:
            if self.asked and self._is_there(site, name, fd):
                return
            os.mknod(name, self._type | self.mode, self._number, dir_fd=fd)
            if self.uid or self.gid:
                os.chown(name, self.uid, self.gid, dir_fd=fd, follow_symlinks=False)
        finally:
            os.umask(before)
            os.close(fd)

    @property
    def _type(self) -> int:
        kinds = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
        return kinds[self.kind]

    @property
    def _number(self) -> int:
        return 0 if self.kind == "p" else os.makedev(self.major, self.minor)

    def _is_there(self, site: Site, name: str, folder_fd: int) -> bool:
        """Whether the very node is there since the last start; on our own /dev it makes room."""
        try:
            found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        own = open_in_root(site.root_fd, "/dev")
        try:
            if os.fstat(own).st_dev == found.st_dev and not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=folder_fd)
                return False
        finally:
            os.close(own)
        if stat.S_IFMT(found.st_mode) == self._type and found.st_rdev == self._number:
            return True
        raise RuntimeFailure(
            f"cannot make {self.path}",
            "something else is there in the container",
            "name another place: --device HOST:CONTAINER",
            self.path,
        )

    def shell(self) -> list[str]:
        target = f'"$ROOT"{quote(self.path)}'
        numbers = "" if self.kind == "p" else f" {self.major} {self.minor}"
        make = f"mknod -m {self.mode:04o} {target} {self.kind}{numbers}"
        if not self.asked:
            return [make]
        lines = [f'mkdir -p "$ROOT"{quote(os.path.dirname(self.path))}']
        lines += [f"rm -f {target}"] if self.path.startswith("/dev/") else []
        own = [f"chown {self.uid}:{self.gid} {target}"] if self.uid or self.gid else []
        return [*lines, make, *own]


class Link(Step):
    """A symbolic link on the container's own /dev."""

    path: str
    target: str
    why = "shells and programs expect it"
    man = "symlink(2)"

    @property
    def title(self) -> str:
        return f"link {self.path}"

    def call(self) -> str:
        return f'symlink("{self.target}", "{self.path}")'

    def perform(self, site: Site) -> None:
        folder, name = os.path.split(self.path)
        fd = make_in_root(site.root_fd, folder)
        try:
            os.symlink(self.target, name, dir_fd=fd)
        except FileExistsError:
            pass
        finally:
            os.close(fd)

    def shell(self) -> list[str]:
        return [f'ln -s {quote(self.target)} "$ROOT"{quote(self.path)}']


class WriteSysctl(Step):
    """A kernel parameter of the container's own namespaces."""

    name: str
    file: str  # below /proc/sys
    value: str
    why = "only parameters of its own namespaces; the file is opened in a checked procfs"
    man = "sysctl.d(5), proc_sys(5)"

    @property
    def title(self) -> str:
        return f"set {self.name}"

    def call(self) -> str:
        return f'write("/proc/sys/{self.file}", "{self.value}")'

    def perform(self, site: Site) -> None:
        proc = open_in_root(site.root_fd, "/proc")
        try:
            if fs_magic(proc) != PROC_SUPER_MAGIC:
                raise RuntimeFailure(f"cannot set {self.name}", "/proc is not a procfs")
            resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS
            fd = openat2(proc, f"sys/{self.file}", os.O_WRONLY, 0, resolve)
        finally:
            os.close(proc)
        try:
            os.write(fd, self.value.encode())
        finally:
            os.close(fd)

    def shell(self) -> list[str]:
        target = quote(f"/proc/sys/{self.file}")
        return [f'echo {quote(self.value)} > "$ROOT"{target}']


class Mask(Step):
    """Places of /proc and /sys that show nothing."""

    paths: tuple[str, ...]
    why = "these files tell of the host or steer it"
    man = "open_tree(2), tmpfs(5)"

    @property
    def title(self) -> str:
        return "mask paths"

    def call(self) -> str:
        return f"move_mount(empty, {len(self.paths)} paths)"

    def perform(self, site: Site) -> None:
        empty = -1
        for path in self.paths:
            try:
                target = open_in_root(site.root_fd, path)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    continue
                raise
            try:
                if stat.S_ISDIR(os.fstat(target).st_mode):
                    if empty < 0:
                        options = parse_options(("ro", "nosuid", "nodev", "noexec", "nr_inodes=2"))
                        empty = new_filesystem("tmpfs", "tmpfs", options)
                        over = empty
                    else:
                        over = mounts.open_tree(
                            empty, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH
                        )
                else:
                    over = self._null(site)
                mounts.move_mount(over, target, path)
                if over != empty:
                    os.close(over)
            finally:
                os.close(target)
        if empty >= 0:
            os.close(empty)

    def _null(self, site: Site) -> int:
        """The container's own /dev/null, cloned, after a look at its number (CVE-2025-31133)."""
        fd = open_in_root(site.root_fd, "/dev/null", os.O_PATH | os.O_NOFOLLOW)
        try:
            info = os.fstat(fd)
            if not stat.S_ISCHR(info.st_mode) or info.st_rdev != os.makedev(1, 3):
                raise RuntimeFailure("cannot mask paths", "/dev/null is no null device")
            return mounts.open_tree(fd, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH)
        finally:
            os.close(fd)

    def shell(self) -> list[str]:
        return [
            f"for path in {' '.join(self.paths)}; do",
            '    if [ -d "$ROOT$path" ]; then mount -t tmpfs -o ro tmpfs "$ROOT$path"',
            '    elif [ -e "$ROOT$path" ]; then mount --bind "$ROOT/dev/null" "$ROOT$path"; fi',
            "done",
        ]


class MakeReadonly(Step):
    """Places that may be read and not written."""

    paths: tuple[str, ...]
    why = "kernel parameters are shared with the host where no namespace holds them"
    man = "open_tree(2), mount_setattr(2)"

    @property
    def title(self) -> str:
        return "make paths read-only"

    def call(self) -> str:
        return f"open_tree(CLONE), mount_setattr(RDONLY), move_mount, {len(self.paths)} paths"

    def perform(self, site: Site) -> None:
        for path in self.paths:
            try:
                target = open_in_root(site.root_fd, path)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    continue
                raise
            flags = mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH | mounts.AT_RECURSIVE
            over = mounts.open_tree(target, "", flags)
            mounts.mount_setattr(over, attr_set=mounts.MOUNT_ATTR_RDONLY)
            mounts.move_mount(over, target, path)
            os.close(over)
            os.close(target)

    def shell(self) -> list[str]:
        return [
            f"for path in {' '.join(self.paths)}; do",
            '    [ -e "$ROOT$path" ] || continue',
            '    mount --bind "$ROOT$path" "$ROOT$path"',
            '    mount -o remount,bind,ro "$ROOT$path"',
            "done",
        ]


class ReadonlyRoot(Step):
    """The root filesystem can be read and not written; mounts inside keep their own mode."""

    why = "--read-only: only volumes and tmpfs mounts take changes"
    man = "mount_setattr(2)"

    @property
    def title(self) -> str:
        return "make the root read-only"

    def call(self) -> str:
        return "mount_setattr(rootfs, MOUNT_ATTR_RDONLY)"

    def perform(self, site: Site) -> None:
        mounts.mount_setattr(site.root_fd, attr_set=mounts.MOUNT_ATTR_RDONLY)

    def shell(self) -> list[str]:
        return ['mount -o remount,bind,ro "$ROOT"']
