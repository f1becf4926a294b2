"""`cp`: files between a container, running or not, and the host.

Everything happens on descriptors. A path of the container is resolved once, from a descriptor of
its root, in which links and ``..`` stay (openat2, RESOLVE_IN_ROOT, no magic links); a tree is
walked and made without following a link (:mod:`kernel.walk`, :mod:`kernel.copying`), and archives
are read and written by our own code (:mod:`overlay.unpacking`, :mod:`overlay.packing`), so that a
hostile process that swaps folders for links meanwhile reaches nothing outside (CVE-2018-15664).
Nothing of the container is executed or loaded (CVE-2019-14271, CVE-2026-41567), and nothing is
frozen.

What is made belongs to root in the container and to the caller on the host, unless owners are
kept. What comes out then has no set-user-ID, set-group-ID or capabilities, and device nodes stay:
a hostile container must not hand such things to other users of the host.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat

from engine import copy_places as places
from engine import copy_rules, events
from engine.copy_rules import CopyError, Spelling
from engine.rootfs import Rootfs
from kernel.copying import FAITHFUL, Copy, Manner
from kernel.record import Record
from overlay import packing, unpacking
from overlay.errors import OverlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from engine.containers import Container
    from engine.home import Home

    Told = Callable[[int], None]

_CHUNK = 1 << 18


class Options(Record):
    """``archive`` keeps owners, ``follow`` follows a link at the end of SRC."""

    archive: bool = False
    follow: bool = False


class Copied(Record):
    """``size`` bytes of files; ``left_out`` device nodes that only come out with their owners."""

    size: int
    left_out: int = 0


def out(
    home: Home,
    container: Container,
    source: str,
    destination: str,
    options: Options,
    told: Told,
) -> Copied:
    """Copies ``source`` of a container to ``destination`` on the host.

    ``told`` gets the number of bytes after each piece. CopyError, and what :class:`Rootfs` raises.
    """
    manner = Manner(
        None if options.archive else (os.geteuid(), os.getegid()), options.archive, True
    )
    src = copy_rules.spell(source, f"{container.name}:{source}")
    dst = copy_rules.spell(destination, destination, os.getcwd())
    with Rootfs(home, container, writing=False) as rootfs:
        copied = _transfer(
            places.Inside(rootfs), src, places.Host(), dst, options.follow, manner, told
        )
    events.of_container(home, container, "copy")
    return copied


def into(
    home: Home,
    container: Container,
    source: str,
    destination: str,
    options: Options,
    told: Told,
) -> Copied:
    """Copies ``source`` of the host to ``destination`` in a container; see :func:`out`."""
    manner = Manner(None if options.archive else (0, 0), True, True)
    src = copy_rules.spell(source, source, os.getcwd())
    dst = copy_rules.spell(destination, f"{container.name}:{destination}")
    with Rootfs(home, container, writing=True) as rootfs:
        watched = _unless_ended(rootfs, told)
        copied = _transfer(
            places.Host(), src, places.Inside(rootfs), dst, options.follow, manner, watched
        )
    events.of_container(home, container, "copy")
    return copied


def out_archive(
    home: Home, container: Container, source: str, stream: IO[bytes], options: Options
) -> None:
    """Writes ``source`` of a container as a tar stream; everything is in it, owners too."""
    src = copy_rules.spell(source, f"{container.name}:{source}")
    with Rootfs(home, container, writing=False) as rootfs, _Failures(f"cannot copy {src.shown}"):
        side = places.Inside(rootfs)
        kind, fd = places.find_source(side, src, options.follow)
        try:
            how = copy_rules.decide(src, kind, copy_rules.spell("/", "-"), copy_rules.FOLDER)
            side.check_source(fd, src)
            _check_kind(fd, src, FAITHFUL)
            packing.pack_as(fd, "." if how == copy_rules.CONTENT else src.name, stream)
        finally:
            places.close(fd)
    events.of_container(home, container, "copy")


def into_archive(
    home: Home,
    container: Container,
    stream: IO[bytes],
    destination: str,
    options: Options,
    told: Told,
) -> Copied:
    """Unpacks a tar stream, compressed or not, into a folder of a container."""
    from images import compression

    dst = copy_rules.spell(destination, f"{container.name}:{destination}")
    what = f"cannot copy to {dst.shown}"
    with Rootfs(home, container, writing=True) as rootfs, _Failures(what):
        side = places.Inside(rootfs)
        with places.find_destination(side, dst) as found:
            if found.kind != copy_rules.FOLDER:
                raise CopyError(what, "it is not a folder, and an archive needs one")
            side.check_target(found, copy_rules.CONTENT, dst)
        owner = None if options.archive else (0, 0)
        watched = _unless_ended(rootfs, told)
        try:
            plain = compression.opened(_watched(stream, rootfs))
            writer = unpacking.Writer(rootfs.fd, dst.path, owner=owner, told=watched)
            size = unpacking.unpack(plain, writer)
            while plain.read(_CHUNK):  # or its writer would be told of a broken pipe
                pass
        except compression.Damaged as error:
            raise CopyError("the archive is damaged", str(error)) from None
    events.of_container(home, container, "copy")
    return Copied(size)


def _transfer(
    source_side: places.Host | places.Inside,
    source: Spelling,
    target_side: places.Host | places.Inside,
    destination: Spelling,
    follow: bool,
    manner: Manner,
    told: Told,
) -> Copied:
    with _Failures(f"cannot copy {source.shown} to {destination.shown}"):
        kind, fd = places.find_source(source_side, source, follow)
        try:
            with places.find_destination(target_side, destination) as found:
                parent = found.parent >= 0
                how = copy_rules.decide(source, kind, destination, found.kind, parent=parent)
                source_side.check_source(fd, source)
                target_side.check_target(found, how, destination)
                _check_kind(fd, source, manner)
                copy = Copy(found.parent if how == copy_rules.AS else found.fd, manner, told)
                if how == copy_rules.CONTENT:
                    _content(copy, fd)
                else:
                    copy.entry(fd, found.name if how == copy_rules.AS else source.name)
        finally:
            places.close(fd)
    return Copied(copy.size, copy.left_out)


def _check_kind(fd: int, source: Spelling, manner: Manner) -> None:
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        raise CopyError(f"cannot copy {source.shown}", "it is a socket")
    if not manner.privileges and (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
        raise CopyError(f"cannot copy {source.shown}", "it is a device node", "-a copies it")


def _content(copy: Copy, fd: int) -> None:
    readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    try:
        copy.content(readable)
    finally:
        os.close(readable)


class _Failures:
    """Says what failed when the kernel refuses something in between."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OverlayError):
            raise CopyError(error.what, error.why, error.hint, error.path) from None
        if not isinstance(error, OSError) or isinstance(error, BrokenPipeError):
            return
        why = error.strerror or str(error)
        if error.errno == errno.ELOOP:
            why = "it leads through too many links, or through one that the kernel makes up"
        path = error.filename if isinstance(error.filename, str) else ""
        raise CopyError(
            self._what, why[:1].lower() + why[1:], path=path, errno=error.errno or 0
        ) from None


def _unless_ended(rootfs: Rootfs, told: Told) -> Told:
    """Nothing is written any more once the container has ended: it may be started again."""

    def watched(size: int) -> None:
        if rootfs.has_ended():
            raise _ended(rootfs)
        told(size)

    return watched


def _ended(rootfs: Rootfs) -> CopyError:
    return CopyError("not everything was copied", f"container {rootfs.container.name} has ended")


def _watched(stream: IO[bytes], rootfs: Rootfs) -> IO[bytes]:
    """The stream, but who waits for it notices that the container ends."""
    if rootfs.pidfd < 0:
        return stream
    return io.BufferedReader(_Watched(stream.fileno(), rootfs), _CHUNK)  # type: ignore[type-var]


class _Watched(io.RawIOBase):
    def __init__(self, fd: int, rootfs: Rootfs) -> None:
        self._fd = fd
        self._rootfs = rootfs
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._poll.register(rootfs.pidfd, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if any(fd == self._rootfs.pidfd for fd, _ in self._poll.poll()):
            raise _ended(self._rootfs)
        chunk = os.read(self._fd, len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)
