"""The embedded image ``base``: a small root file system from the host's static busybox.

Made when it is first asked for, so that the first container needs no registry. Everything in it
is fixed (times are 0, names are sorted), so one busybox gives one digest, always.
"""

from __future__ import annotations

import io
import os

from images import config, references
from images.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile

    from images.store import Store

_CANDIDATES = ("/bin/busybox", "/usr/bin/busybox", "/usr/lib/busybox/busybox")
_CREATED = "1970-01-01T00:00:00Z"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_FOLDERS = {
    "bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "lib": 0o755, "mnt": 0o755,
    "opt": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "sbin": 0o755, "srv": 0o755,
    "sys": 0o555, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755,
    "var": 0o755, "var/log": 0o755, "var/tmp": 0o1777,
}  # fmt: skip

_FILES = {
    "etc/group": "root:x:0:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nstaff:x:50:\nusers:x:100:\n"
    "nogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/os-release": 'NAME="pyctr base"\nID=pyctr-base\nPRETTY_NAME="pyctr base (busybox)"\n',
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:100:user:/home:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/shells": "/bin/sh\n",
}


def add(store: Store) -> str:
    """Makes the image, names it ``base`` and returns its id."""
    busybox = find_busybox()
    with store.adding() as adding:
        (layer,) = adding.layers([(adding.put(archive(busybox)), "")])
        raw = config.new(
            [layer.diff_id],
            _CREATED,
            {"Cmd": ["sh"], "Env": [f"PATH={_PATH}"]},
            "made by pyctr from the host's busybox",
        )
        return adding.image(raw, [layer], [references.parse("base")], "import")


def find_busybox() -> str:
    """The host's statically linked busybox; ImageError names the package to install."""
    for path in _CANDIDATES:
        if os.path.isfile(path) and not _is_dynamic(path):
            return path
    raise ImageError(
        "cannot make the image base",
        "this host has no statically linked busybox",
        "apt-get install busybox-static",
    )


def _is_dynamic(path: str) -> bool:
    """Whether an ELF file names an interpreter (elf(5), PT_INTERP)."""
    with open(path, "rb") as file:
        head = file.read(4096)
    return b"/ld-linux" in head or b"/ld-musl" in head


def applets(busybox: str) -> list[str]:
    """The paths of its applets ("bin/ls"), sorted, without busybox itself."""
    import subprocess

    listed = subprocess.run([busybox, "--list-full"], capture_output=True, check=True, text=True)
    return sorted(name for name in listed.stdout.split() if name.rpartition("/")[2] != "busybox")


def archive(busybox: str) -> bytes:
    """The layer as a tar archive, the same bytes for the same busybox."""
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, mode in sorted(_FOLDERS.items()):
            made.addfile(_entry(name, tarfile.DIRTYPE, mode))
        for name, text in sorted(_FILES.items()):
            _add_file(made, name, text.encode(), 0o644)
        with open(busybox, "rb") as file:
            _add_file(made, "bin/busybox", file.read(), 0o755)
        for name in applets(busybox):
            folder = name.rpartition("/")[0]
            if folder not in _FOLDERS:
                continue
            link = _entry(name, tarfile.SYMTYPE, 0o777)
            link.linkname = "/bin/busybox"
            made.addfile(link)
    return out.getvalue()


def _add_file(made: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = _entry(name, b"0", mode)
    entry.size = len(content)
    made.addfile(entry, io.BytesIO(content))


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    import tarfile

    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry
