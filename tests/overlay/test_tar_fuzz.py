"""Archives of every make, whole and damaged: what comes out is what other readers see, or it is
refused; nothing is written outside, and no error is one of Python's own.

Oracles: tarfile for what is read, whole or damaged; GNU tar for what is written; and a tree on disk
for what GNU tar and bsdtar pack.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.tree import remove_tree
from overlay import layers, tar, unpacking
from overlay.errors import OverlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Tree = dict[str, tuple[Any, ...]]

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
KINDS = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.LNKTYPE: tar.HARD_LINK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.BLKTYPE: stat.S_IFBLK,
}
BSDTAR = shutil.which("bsdtar")


@pytest.fixture
def folder() -> Iterator[str]:
    path = tempfile.mkdtemp(prefix="pyctr-test-")
    yield path
    remove_tree(path)


names = st.lists(
    st.sampled_from(["a", "b", "c", "ä€", "x" * 60, "y" * 101, "with space", "new\nline"]),
    min_size=1,
    max_size=4,
).map("/".join)
members = st.fixed_dictionaries(
    {
        "name": names,
        "type": st.sampled_from(sorted(KINDS)),
        "mode": st.integers(0, 0o7777),
        "uid": st.sampled_from([0, 1, 1000, 0o7777777]),
        "gid": st.sampled_from([0, 5, 0o7777777]),
        "mtime": st.integers(0, 0o77777777777),
        "linkname": names,
    }
)


def archive(entries: list[dict[str, Any]], kind: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[kind]) as made:
        for number, fields in enumerate(entries):
            info = tarfile.TarInfo()
            for key, value in fields.items():
                setattr(info, key, value)
            if info.type not in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = ""
            if info.type == tarfile.BLKTYPE:
                info.devmajor, info.devminor = 7, number
            content = bytes([number + 1]) * (number * 300) if info.isreg() else b""
            info.size = len(content)
            try:
                made.addfile(info, io.BytesIO(content))
            except ValueError:  # ustar has no room for that name
                continue
    return out.getvalue()


def seen_by_us(content: bytes) -> list[tuple[Any, ...]]:
    reader = tar.Reader(io.BytesIO(content))
    return [
        (
            one.name.rstrip("/"),
            one.kind,
            one.mode,
            one.uid,
            one.gid,
            one.mtime // 10**9,
            one.link,
            one.device,
            one.size,
            b"".join(reader.content()),
        )
        for one in reader
    ]


def seen_by_tarfile(content: bytes) -> list[tuple[Any, ...]]:
    seen = []
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as made:
        for one in made:
            source = made.extractfile(one) if one.isreg() else None
            kind = KINDS.get(one.type, stat.S_IFCHR if one.ischr() else stat.S_IFREG)
            link = one.linkname if kind in (stat.S_IFLNK, tar.HARD_LINK) else ""
            device = (
                (one.devmajor, one.devminor) if kind in (stat.S_IFBLK, stat.S_IFCHR) else (0, 0)
            )
            size = one.size if one.isreg() else 0
            data = source.read() if source else b""
            seen.append((one.name, kind, one.mode & 0o7777, one.uid, one.gid, int(one.mtime // 1),
                         link, device, size, data))  # fmt: skip
    return seen


@given(st.lists(members, max_size=6), st.sampled_from(sorted(FORMATS)))
def test_we_see_what_tarfile_sees(entries: list[dict[str, Any]], kind: str) -> None:
    content = archive(entries, kind)
    assert seen_by_us(content) == seen_by_tarfile(content)


@settings(max_examples=400)
@given(st.lists(members, min_size=1, max_size=4), st.sampled_from(sorted(FORMATS)), st.data())
def test_a_damaged_archive_is_refused_or_read_as_others_read_it(
    entries: list[dict[str, Any]], kind: str, data: st.DataObject
) -> None:
    content = bytearray(archive(entries, kind))
    whole = len(content)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(whole, 4096) - 1))
        content[at] = data.draw(st.sampled_from([0, 32, 48, 49, 55, 127, 128, 255]))
        if data.draw(st.booleans()):
            _mend(content, at // 512 * 512)
    del content[data.draw(st.sampled_from([whole, whole - 700, 512, 100])) :]
    try:
        ours = seen_by_us(bytes(content))
    except OverlayError:
        return
    try:
        theirs = seen_by_tarfile(bytes(content))
    except (tarfile.TarError, ValueError, OverflowError):
        return  # tarfile is stricter, or fails at it
    for one, other in zip(ours, theirs, strict=False):
        assert one[1] == other[1] and one[9] == other[9], "the same kind, the same data"


def _mend(content: bytearray, start: int) -> None:
    """Makes the checksum of a header right again, so that what was changed counts."""
    block = content[start : start + 512]
    if len(block) == 512 and any(block):
        total = sum(block) - sum(block[148:156]) + 8 * 32
        content[start + 148 : start + 156] = b"%06o\0 " % (total & 0o777777)


@settings(max_examples=200)
@given(st.lists(members, min_size=1, max_size=6), st.sampled_from(sorted(FORMATS)), st.data())
def test_whatever_an_archive_says_nothing_is_written_outside(
    entries: list[dict[str, Any]], kind: str, data: st.DataObject
) -> None:
    hostile = st.sampled_from(["..", "../../up", "/", "/etc/passwd", ".", "a/..", "a/../../b", "a"])
    for fields in entries:
        if data.draw(st.booleans()):
            fields["linkname"] = data.draw(hostile)
        if data.draw(st.integers(0, 4)) == 0:
            fields["name"] += "/" + data.draw(hostile)
    around = tempfile.mkdtemp(prefix="pyctr-test-")
    try:
        os.mkdir(f"{around}/layer")
        with open(f"{around}/sentinel", "w") as file:
            file.write("as it was")
        before = os.stat(f"{around}/sentinel")
        try:
            layers.unpack(io.BytesIO(archive(entries, kind)), f"{around}/layer")
        except OverlayError:
            pass
        assert sorted(os.listdir(around)) == ["layer", "sentinel"]
        assert os.stat(f"{around}/sentinel") == before
    finally:
        remove_tree(around)


def tree_of(top: str) -> Tree:
    """What is below a folder, as far as an archive can say it."""
    found: Tree = {}
    inodes: dict[int, str] = {}
    for where, folders, files in os.walk(top):
        folders.sort()  # and walked in that order
        for name in sorted(folders + files):
            path = os.path.join(where, name)
            info = os.lstat(path)
            own = os.path.relpath(path, top)
            link = os.readlink(path) if stat.S_ISLNK(info.st_mode) else ""
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
            }
            content = b""
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            first = inodes.setdefault(info.st_ino, own) if not stat.S_ISDIR(info.st_mode) else own
            found[own] = (info.st_mode, info.st_uid, info.st_gid, int(info.st_mtime), info.st_rdev,
                          link, content, xattrs, first)  # fmt: skip
    return found


@pytest.fixture
def odd(folder: str) -> str:
    """A tree with everything that a layer may hold."""
    top = f"{folder}/odd"
    os.makedirs(f"{top}/{'d' * 80}/{'e' * 90}/{'f' * 100}")
    os.makedirs(f"{top}/sticky")
    os.chmod(f"{top}/sticky", 0o1777)
    with open(f"{top}/{'d' * 80}/{'e' * 90}/{'f' * 100}/{'g' * 200}", "w") as file:
        file.write("a long way down")
    with open(f"{top}/sticky/setuid", "w") as file:
        file.write("x" * 100_000)
    os.chown(f"{top}/sticky/setuid", 3_000_000, 4_000_000)
    os.chmod(f"{top}/sticky/setuid", 0o6755)
    os.setxattr(f"{top}/sticky/setuid", "user.note", b"\xff\0=\n")
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
    os.setxattr(f"{top}/sticky/setuid", "security.capability", capability)
    os.link(f"{top}/sticky/setuid", f"{top}/another")
    os.symlink("l" * 180, f"{top}/long-link")
    os.symlink("/etc/passwd", f"{top}/link")
    os.mkfifo(f"{top}/pipe")
    os.mknod(f"{top}/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with open(f"{top}/ünï\udcff", "w") as file:
        file.write("a name that is not UTF-8")
    with open(f"{top}/holes", "wb") as sparse:
        for at in range(0, 40 << 20, 1 << 20):  # more pieces than one header holds
            sparse.seek(at)
            sparse.write(b"data" * 1024)
        sparse.truncate(50 << 20)
    for where, folders, files in os.walk(top):
        for name in folders + files:
            os.utime(os.path.join(where, name), (1e9, 1e9), follow_symlinks=False)
    return top


GNU = ["tar", "--numeric-owner", "-C"]
PAX = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--format=pax", "-C"]
MAKERS = {
    "gnu": [*GNU, "{from}", "--format=gnu", "-cf", "{to}", "."],
    "gnu sparse": [*GNU, "{from}", "--format=gnu", "-S", "-cf", "{to}", "."],
    "pax": [*PAX, "{from}", "-cf", "{to}", "."],
    "pax 0.0": [*PAX, "{from}", "-S", "--sparse-version=0.0", "-cf", "{to}", "."],
    "pax 0.1": [*PAX, "{from}", "-S", "--sparse-version=0.1", "-cf", "{to}", "."],
    "pax 1.0": [*PAX, "{from}", "-S", "--sparse-version=1.0", "-cf", "{to}", "."],
    "bsdtar pax": ["bsdtar", "--format=pax", "-C", "{from}", "-cf", "{to}", "."],
    "bsdtar gnutar": ["bsdtar", "--format=gnutar", "-C", "{from}", "-cf", "{to}", "."],
}


@pytest.mark.parametrize("maker", MAKERS)
def test_what_other_programs_pack_comes_out_as_it_was(folder: str, odd: str, maker: str) -> None:
    if maker.startswith("bsdtar") and not BSDTAR:
        pytest.skip("bsdtar (Debian's libarchive-tools) is not here: its archives are not tried")
    made = f"{folder}/made.tar"
    words = {"from": odd, "to": made}
    subprocess.run([word.format(**words) for word in MAKERS[maker]], check=True, timeout=60)
    os.mkdir(f"{folder}/out")
    with open(made, "rb") as stream:
        layers.unpack(stream, f"{folder}/out")
    expected, found = tree_of(odd), tree_of(f"{folder}/out")
    if maker in ("gnu", "gnu sparse", "bsdtar gnutar"):  # these have no extended attributes
        expected = {name: (*one[:7], {}, one[8]) for name, one in expected.items()}
    assert found.keys() == expected.keys()
    for name, one in expected.items():
        assert found[name] == one, name
    assert os.stat(f"{folder}/out/holes").st_blocks * 512 < 45 << 20, "holes stay holes"


@settings(max_examples=60)
@given(st.lists(members, min_size=1, max_size=6), st.sampled_from(sorted(FORMATS)))
def test_what_we_unpack_is_what_tar_unpacks(entries: list[dict[str, Any]], kind: str) -> None:
    """In a folder of its own, and only archives that tar takes without a word."""
    content = archive(entries, kind)
    around = tempfile.mkdtemp(prefix="pyctr-test-")
    try:
        os.mkdir(f"{around}/ours")
        os.mkdir(f"{around}/theirs")
        try:
            layers.unpack(io.BytesIO(content), f"{around}/ours")
        except OverlayError:
            return
        options = ["--numeric-owner", "-p", "--same-owner"]
        argv = ["tar", "-x", "-f", "-", "-C", f"{around}/theirs", *options]
        ran = subprocess.run(argv, input=content, capture_output=True, timeout=60)
        if ran.returncode or ran.stderr or _crosses_links(content):
            return
        ours, theirs = tree_of(f"{around}/ours"), tree_of(f"{around}/theirs")
        assert ours.keys() == theirs.keys()
        names = [one[0] for one in seen_by_us(content)]
        for name in names:  # folders that no entry names are made just now
            # tar gives a folder its time when the next entry lies outside, and not again when a
            # later one lies inside.
            timeless = any(later.startswith(f"{name}/") for later in names)
            assert _without_time(ours[name], timeless) == _without_time(theirs[name], timeless)
    finally:
        remove_tree(around)


def _without_time(one: tuple[Any, ...], timeless: bool) -> tuple[Any, ...]:
    return (*one[:3], *one[4:]) if timeless else one


def _crosses_links(content: bytes) -> bool:
    """Whether an entry lies below a link or takes another's place: tar has its own rules there."""
    names: set[str] = set()
    taken: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(content)) as made:
        for one in made:
            parents = [one.name[:at] for at, char in enumerate(one.name) if char == "/"]
            if one.name in names or any(parent in taken for parent in parents):
                return True
            names |= {one.name, *parents}
            if not one.isdir():
                taken.add(one.name)
    return False


@given(st.binary(max_size=2000))
def test_anything_else_is_refused_or_empty(content: bytes) -> None:
    try:
        assert seen_by_us(content) == []
    except OverlayError:
        pass


@given(st.text(alphabet="a./\0b", max_size=12))
def test_a_name_of_a_pax_header_is_cleaned_as_every_other(name: str) -> None:
    info = tarfile.TarInfo("harmless")
    info.pax_headers = {"path": name or "x"}
    try:
        (entry,) = tar.Reader(io.BytesIO(info.tobuf(tarfile.PAX_FORMAT)))
        cleaned = unpacking.clean_name(entry.name)
    except (OverlayError, ValueError):
        return
    assert ".." not in cleaned.split("/") and not cleaned.startswith("/")
