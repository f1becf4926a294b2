"""Archives that we write: headers as tarfile makes them, and tar reads them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from overlay import packing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = st.one_of(
    st.text("ab/.", min_size=1, max_size=8),
    st.text("a/", min_size=95, max_size=105),
    st.text(min_size=1, max_size=20).filter(lambda name: "\0" not in name),
)


@given(
    name=NAMES,
    linkname=st.one_of(st.just(""), NAMES),
    kind=st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6"]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 1 << 32),
    size=st.one_of(st.integers(0, 1 << 40), st.just(8**11), st.just(8**11 - 1)),
    mtime=st.integers(-5, 1 << 40),
    attributes=st.dictionaries(st.just("SCHILY.xattr.user.x"), st.text("abc", max_size=3)),
)
def test_headers_are_what_tarfile_makes_of_an_entry(
    name: str, linkname: str, kind: bytes, mode: int, uid: int, size: int, mtime: int,
    attributes: dict[str, str],
) -> None:  # fmt: skip
    if not _encodable(name + linkname):
        return
    entry = tarfile.TarInfo(name)
    entry.linkname, entry.type, entry.mode, entry.uid, entry.gid = linkname, kind, mode, uid, 7
    entry.size, entry.mtime, entry.pax_headers = size, mtime, attributes
    own, theirs = packing.header(entry), entry.tobuf(tarfile.PAX_FORMAT, "utf-8")
    assert own == theirs or _read(own) == _read(theirs)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(block: bytes) -> Any:
    with tarfile.open(fileobj=io.BytesIO(block + bytes(1024))) as archive:
        entry = archive.next()
    assert entry is not None
    return entry.get_info()


def test_tar_unpacks_what_we_pack(tmp_path: Any) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "folder" / ("long" * 40)).mkdir(parents=True)
    target.mkdir()
    for name, size in (("empty", 0), ("small", 5), ("block", 512), ("large", (1 << 18) + 1)):
        (source / "folder" / name).write_bytes(os.urandom(size))
    os.link(source / "folder/small", source / "folder/hard")
    os.symlink("x" * 150, source / "folder/link")
    os.mkfifo(source / "ü-pipe")
    os.mknod(source / "device", 0o20644, os.makedev(1, 3))
    os.chmod(source / "folder/small", 0o4711)
    os.chown(source / "folder/block", 3_000_000, 5)
    out = io.BytesIO()
    fd = os.open(source, os.O_RDONLY)
    packing.pack(fd, out)
    os.close(fd)
    assert len(out.getvalue()) % 10240 == 0
    subprocess.run(
        ["tar", "-xpf", "-", "--same-owner", "--numeric-owner", "-C", target],
        input=out.getvalue(), check=True, timeout=60,
    )  # fmt: skip
    shown = [
        subprocess.run(
            ["find", ".", "-printf", "%P %y %m %U:%G %n %s %l %T@\n"],
            cwd=folder, capture_output=True, text=True, check=True, timeout=60,
        ).stdout.splitlines()[1:]
        for folder in (source, target)
    ]  # fmt: skip
    assert len(shown[0]) == 10
    assert sorted(map(_without_fractions, shown[0])) == sorted(map(_without_fractions, shown[1]))
    ran = subprocess.run(["cmp", source / "folder/large", target / "folder/large"], timeout=60)
    assert ran.returncode == 0


def _without_fractions(line: str) -> str:
    """Folders' sizes are those of file systems, and tar's times have whole seconds."""
    return line.rpartition(".")[0] if " d " not in line else line.rpartition(" d ")[0]


def test_a_file_that_shrinks_is_filled_with_zeroes(tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    entry = tarfile.TarInfo("file")
    entry.size = 1 << 19
    out = io.BytesIO()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    packer = packing.Packer(out)
    packer.add(entry, fd)
    packer.close()
    os.close(fd)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        content = archive.extractfile("file")
        assert content is not None
        assert content.read() == b"abc" + bytes((1 << 19) - 3)
