"""Volumes: fio in a volume, in the same file system of the host, and in the union; first content.

fio runs in a container that has nothing but the host's fio and its libraries.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator

from benchmarks import peers
from benchmarks.pairing import Finding, paired, run, timed
from benchmarks.peers import Place

_WORKS = {  # fio(1)
    "sequential write": ("--rw=write", "--bs=1M", "--size=256M", "--end_fsync=1"),
    "sequential read": ("--rw=read", "--bs=1M", "--size=256M", "--invalidate=0"),
    "random read and write": ("--rw=randrw", "--bs=4k", "--size=64M"),
    "write, fsync after each": ("--rw=randwrite", "--bs=4k", "--size=4M", "--fsync=1"),
}
_FILES = 20_000


def measure(rounds: int) -> list[Finding]:
    """``rounds`` is for commands: of the content, where each is seconds, a quarter is enough."""
    with peers.place() as here:
        return [*_speed(here, rounds), *_content(here, max(3, rounds // 4))]


def _speed(here: Place, rounds: int) -> list[Finding]:
    if not shutil.which("fio"):
        print("fio is not installed: make bench-peers", file=sys.stderr)
        return []
    pyctr = here.peers[0]
    pyctr("import", _image_of_fio(here), "fio")
    run_flags = ("-d", "--network", "none", "--name", "f", "-v", "bench:/data")
    pyctr("run", *run_flags, "fio", "/usr/bin/fio", "--name=wait", "--ioengine=null",
          "--size=1G", "--rate=1k", "--thinktime=1000000")  # fmt: skip
    host = f"{here.folder}/host"
    os.mkdir(host)
    inside = [*pyctr.argv, "exec", "f"]
    places = {
        "in the volume": (inside, "/data"),
        "on the host": ([], host),
        "in the union": (inside, "/tmp"),
    }
    found = []
    for work, flags in _WORKS.items():
        measures = {
            name: lambda argv=argv, folder=folder, flags=flags: _fio(here, argv, folder, flags)
            for name, (argv, folder) in places.items()
        }
        values = paired(measures, rounds)
        limits = {"on the host": 0.97}
        found.append(Finding("volumes", work, "MB/s", values, limits, more=True))
    pyctr("rm", "-f", "f")
    return found


def _fio(here: Place, argv: list[str], folder: str, flags: tuple[str, ...]) -> float:
    """Megabytes in a second, read and written."""
    fixed = ("--name=x", "--ioengine=psync", "--thread", "--output-format=json", "--randseed=7")
    said = run([*argv, "/usr/bin/fio", *fixed, f"--directory={folder}", *flags], here.env)
    job = json.loads(said[said.index("{") :])["jobs"][0]
    seconds = job["job_runtime"] / 1000
    return float((job["read"]["io_bytes"] + job["write"]["io_bytes"]) / 1e6 / max(seconds, 1e-3))


def _image_of_fio(here: Place) -> str:
    root = f"{here.folder}/fio"
    said = run(["ldd", "/usr/bin/fio"])
    files = {word for line in said.splitlines() for word in line.split() if word.startswith("/")}
    for path in ("/usr/bin/fio", *files):
        os.makedirs(f"{root}{os.path.dirname(path)}", exist_ok=True)
        shutil.copyfile(path, f"{root}{path}")
        os.chmod(f"{root}{path}", 0o755)
    os.makedirs(f"{root}/tmp", exist_ok=True)
    run(["tar", "-C", root, "-cf", f"{root}.tar", "."])
    return f"{root}.tar"


def _content(here: Place, rounds: int) -> list[Finding]:
    """`create -v` where the image has content, beside `cp -a` of the same folder.

    pyctr says that it is done when the content is on the disk; the second cp waits for that, too.
    Nothing is removed between the rounds: ext4 passes over every inode that was freed in the last
    minute, and whoever comes after a removal pays for it.
    """
    pyctr = here.peers[0]
    found = []
    for work, make in ((f"{_FILES:,} small files", _small), ("one file of 1 GiB", _large)):
        source = f"{here.folder}/source/data"
        shutil.rmtree(source, ignore_errors=True)
        os.makedirs(source)
        make(source)
        run(["tar", "-C", os.path.dirname(source), "-cf", f"{here.folder}/content.tar", "."])
        image = work.split()[-1].lower()
        pyctr("import", f"{here.folder}/content.tar", image)
        os.sync()
        numbers = itertools.count()

        def copy(after: str, source: str = source, numbers: Iterator[int] = numbers) -> float:
            target = f"{source}-{next(numbers)}"
            return timed(["sh", "-c", f"cp -a {source} {target} {after}"])

        measures = {
            "create -v": lambda image=image: pyctr.timed("create", "-v", "/data", image, "true"),
            "cp -a": lambda copy=copy: copy(""),
            "cp -a, sync -f": lambda copy=copy: copy(f"&& sync -f {here.folder}"),
        }
        values = paired(measures, rounds)
        limits = {"cp -a": 1.1, "cp -a, sync -f": 1.1}
        found.append(Finding("volumes", f"first content, {work}", "ms", values, limits))
        shutil.rmtree(os.path.dirname(source))
    return found


def _small(folder: str) -> None:
    for number in range(_FILES):
        if number % 200 == 0:
            os.mkdir(f"{folder}/{number // 200}")
        with open(f"{folder}/{number // 200}/{number}", "wb") as file:
            file.write(b"%d\n" % number * (number % 300))


def _large(folder: str) -> None:
    with open(f"{folder}/large", "wb") as file:
        for _ in range(1024):
            file.write(os.urandom(1 << 20))
