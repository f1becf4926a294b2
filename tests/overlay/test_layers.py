"""Layer archives: what comes out is what went in, and nothing leaves the layer."""

from __future__ import annotations

import io
import os
import stat
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.tree import remove_tree
from overlay import layers, unpacking, view
from overlay.changes import Change, changes
from overlay.errors import OverlayError
from overlay.union import Union, attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@pytest.fixture
def folder(home_dir: str) -> str:
    path = f"{home_dir}/layer"
    os.mkdir(path)
    return path


def archive(*entries: tuple[str, bytes, Mapping[str, Any]]) -> io.BytesIO:
    """A tar stream of (name, type, fields); ``data`` among the fields is the content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, kind, fields in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o644
            data: bytes = fields.get("data", b"")
            for key, value in fields.items():
                if key != "data":
                    setattr(info, key, value)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


REG, DIR, SYM, LNK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_owner_mode_links_times_and_attributes_arrive(folder: str) -> None:
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
    pax = {"SCHILY.xattr.security.capability": capability.decode("utf-8", "surrogateescape")}
    layers.unpack(
        archive(
            ("./d", DIR, {"mode": 0o2750, "uid": 7, "gid": 8, "mtime": 1000}),
            ("./d/f", REG, {"data": b"hello", "mode": 0o4755, "uid": 9, "pax_headers": pax}),
            ("./d/hard", LNK, {"linkname": "d/f"}),
            ("./d/soft", SYM, {"linkname": "/etc/passwd"}),
        ),
        folder,
    )
    info = os.stat(f"{folder}/d")
    assert (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid) == (0o2750, 7, 8)
    assert info.st_mtime == 1000
    file = os.stat(f"{folder}/d/f")
    assert stat.S_IMODE(file.st_mode) == 0o4755 and file.st_uid == 9 and file.st_nlink == 2
    assert os.getxattr(f"{folder}/d/f", "security.capability") == capability
    assert os.readlink(f"{folder}/d/soft") == "/etc/passwd"


def test_overlay_attributes_of_an_archive_are_ignored(folder: str) -> None:
    pax = {"SCHILY.xattr.trusted.overlay.redirect": "/etc"}
    layers.unpack(archive(("d", DIR, {"pax_headers": pax})), folder)
    assert os.listxattr(f"{folder}/d") == []


@pytest.mark.parametrize(
    "name",
    ["../out", "a/../../out", "/../../out", "d/../../out"],
    ids=lambda n: n.replace("/", "_"),
)
def test_an_entry_cannot_leave_the_layer_by_its_name(folder: str, name: str) -> None:
    with pytest.raises(OverlayError, match="leaves the layer"):
        layers.unpack(archive((name, REG, {"data": b"x"})), folder)
    assert not os.path.exists(f"{folder}/../out")


def test_an_entry_cannot_leave_the_layer_through_a_link(folder: str) -> None:
    outside = f"{os.path.dirname(folder)}/outside"
    os.mkdir(outside)
    link = ("up", SYM, {"linkname": f"../../../../../..{outside}"})
    through = ("up/file", REG, {"data": b"x"})
    with pytest.raises(OverlayError, match="link to nowhere"):
        layers.unpack(archive(link, through), folder)
    os.unlink(f"{folder}/up")
    inside = (outside[1:], DIR, {"mode": 0o755})
    replacing = ("up", REG, {"data": b"replaced, not followed"})
    layers.unpack(archive(inside, link, through, replacing), folder)
    assert os.listdir(outside) == []
    assert os.path.isfile(f"{folder}{outside}/file"), "where a process of the container is led"
    assert not os.path.islink(f"{folder}/up")


def test_a_hard_link_cannot_reach_a_file_of_the_host(folder: str) -> None:
    for target in ("../../etc/passwd", "/etc/passwd"):
        with pytest.raises(OverlayError):
            layers.unpack(archive(("l", LNK, {"linkname": target})), folder)
    layers.unpack(archive(("s", SYM, {"linkname": "/etc"})), folder)
    with pytest.raises(OverlayError, match="hard link"):
        layers.unpack(archive(("l", LNK, {"linkname": "s/passwd"})), folder)


def test_a_bomb_is_refused(folder: str) -> None:
    entries = [(f"f{n}", REG, {"data": b"12345"}) for n in range(3)]
    with pytest.raises(OverlayError, match="entries or"):
        layers.unpack(archive(*entries), folder, unpacking.Limits(entries=2))
    remove_tree(folder)
    os.mkdir(folder)
    entries = [(f"f{n}", REG, {"data": b"12345"}) for n in range(3)]
    with pytest.raises(OverlayError, match="entries or"):
        layers.unpack(archive(*entries), folder, unpacking.Limits(size=14))


def test_a_huge_extended_header_is_refused(folder: str) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    with pytest.raises(OverlayError, match="extended header"):
        layers.unpack(io.BytesIO(info.tobuf(tarfile.USTAR_FORMAT)), folder)


def test_a_cut_off_archive_is_damaged(folder: str) -> None:
    whole = archive(("f", REG, {"data": bytes(range(256)) * 100})).getvalue()
    with pytest.raises(OverlayError, match="damaged"):
        layers.unpack(io.BytesIO(whole[:5000]), folder)


def test_whiteouts_hide_what_is_below_and_nothing_of_their_own_layer(home_dir: str) -> None:
    below, above = f"{home_dir}/below", f"{home_dir}/above"
    os.mkdir(f"{home_dir}/scratch")
    os.mkdir(below)
    os.mkdir(above)
    files = [(name, REG, {"data": b"old"}) for name in ("gone", "same", "d/a", "o/a", "r/a")]
    layers.unpack(archive(*files), below)
    layers.unpack(
        archive(
            (".wh.gone", REG, {}),
            ("same", REG, {"data": b"new"}),
            (".wh.same", REG, {}),
            ("d", DIR, {"mode": 0o755}),
            ("d/.wh.a", REG, {}),
            ("o/b", REG, {"data": b"new"}),
            ("o/.wh..wh..opq", REG, {}),
            (".wh.r", REG, {}),
            ("r", DIR, {"mode": 0o755}),
            ("r/b", REG, {"data": b"new"}),
        ),
        above,
    )
    fd = view.opened((above, below), f"{home_dir}/scratch")
    try:
        seen = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        shown = {name: sorted(_names(seen, name)) for name in ("d", "o", "r")}
        top = sorted(os.listdir(seen))
        os.close(seen)
    finally:
        os.close(fd)
    assert top == ["d", "o", "r", "same"]
    assert shown == {"d": [], "o": ["b"], "r": ["b"]}


def _names(root: int, name: str) -> list[str]:
    fd = os.open(name, os.O_RDONLY, dir_fd=root)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def test_the_changes_of_a_union_become_a_layer_that_does_the_same(home_dir: str) -> None:
    for name in ("below", "upper", "work", "at", "again"):
        os.mkdir(f"{home_dir}/{name}")
    files = [(name, REG, {"data": b"old"}) for name in ("gone", "changed", "d/a", "r/a")]
    layers.unpack(archive(*files), f"{home_dir}/below")
    pid = os.fork()
    if pid == 0:  # the union is mounted in a namespace of the child alone
        from kernel import mounts, namespaces

        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        union = Union((f"{home_dir}/below",), f"{home_dir}/upper", f"{home_dir}/work")
        attach(union, f"{home_dir}/at")
        os.chdir(f"{home_dir}/at")
        os.unlink("gone")
        remove_tree("r")
        os.mkdir("r")
        open("r/new", "w").close()
        open("changed", "w").close()
        os.link("changed", "d/hard")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    upper = os.open(f"{home_dir}/upper", os.O_RDONLY)
    below = os.open(f"{home_dir}/below", os.O_RDONLY)
    assert list(changes(upper, below)) == [
        Change("C", "/changed"),
        Change("C", "/d"),
        Change("A", "/d/hard"),
        Change("D", "/gone"),
        Change("C", "/r"),
        Change("D", "/r/a"),
        Change("A", "/r/new"),
    ]
    out = io.BytesIO()
    layers.pack(upper, out)
    os.close(upper)
    os.close(below)
    out.seek(0)
    layers.unpack(out, f"{home_dir}/again")
    again = os.open(f"{home_dir}/again", os.O_RDONLY)
    twice = io.BytesIO()
    layers.pack(again, twice)
    os.close(again)
    assert twice.getvalue() == out.getvalue(), "an archive is the same, byte for byte"


def test_holes_stay_holes(folder: str) -> None:
    layers.unpack(archive(("f", REG, {"data": bytes(1 << 20) + b"end"})), folder)
    assert os.stat(f"{folder}/f").st_size == (1 << 20) + 3
    assert os.stat(f"{folder}/f").st_blocks * 512 < 1 << 17


@given(st.text(alphabet="a./\0b", max_size=12))
def test_a_cleaned_name_never_leaves(name: str) -> None:
    try:
        cleaned = unpacking.clean_name(name)
    except ValueError:
        return
    assert not cleaned.startswith("/")
    assert ".." not in cleaned.split("/")
    assert os.path.normpath(f"/layer/{cleaned}").startswith("/layer")
