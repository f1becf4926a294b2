"""What must be true of a root folder when nobody is at work on it, whatever was killed before.

:func:`wrong` reads the disk, the database, the control groups and the process table itself, and
asks no command of pyctr: what a command believes is what is in question. It looks only at what
belongs to one root folder, so that others may be at work on the same machine.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import sys

from kernel import process, quickjson
from tests.interleave import environments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMESPACES = ("mnt", "net", "pid", "uts", "ipc", "user", "cgroup", "time")
_AGENT = ("network.sock", "network.lock", "network.log")


class House:
    """One root folder and its run folder."""

    def __init__(self, root: str, run: str) -> None:
        self.root = root
        self.run = run
        self.restored: set[str] = set()  # volumes that a person took out of the trash
        self._seen: set[str] = set()  # ids of containers and of builds' workspaces

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """The answer of the database; nothing if it is not there yet."""
        if not os.path.exists(f"{self.root}/state.db"):
            return []
        db = sqlite3.connect(f"{self.root}/state.db", timeout=30)
        try:
            return db.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
        finally:
            db.close()

    def column(self, query: str, *values: object) -> set[str]:
        return {str(row[0]) for row in self.rows(query, *values)}

    def names(self, folder: str) -> set[str]:
        """What is in a folder of the root folder."""
        path = f"{self.root}/{folder}"
        return set(os.listdir(path)) if os.path.isdir(path) else set()

    def up(self) -> set[str]:
        """The containers that have a monitor."""
        query = "SELECT id FROM containers WHERE status IN ('running', 'paused', 'restarting')"
        return self.column(query)

    def remember(self) -> None:
        """Notes whose control groups may be there: a later command may take their folders away."""
        for name in self.names("containers"):
            self._seen.add(name.removeprefix(".gone-").partition("-")[0])
        self._seen |= self.column("SELECT id FROM containers")

    def workers(self) -> list[int]:
        """Our own processes: commands, monitors, the agent, and what they forked."""
        mark = f"PYCTR_ROOT={self.root}".encode()
        return [pid for pid, words in environments() if mark in words and _program(pid) == _PYTHON]

    def standing(self) -> set[int]:
        """Those that are to be there: the monitors of what is up, and an agent that listens."""
        query = "SELECT monitor_pid FROM containers WHERE id = ?"
        monitors = {int(pid) for one in self.up() for pid in self.column(query, one)}
        return monitors | {pid for pid in self.workers() if process_name(pid) == "pyctr:network"}

    def is_quiet(self) -> bool:
        """Whether nobody is at work: only what is to stand is there."""
        return set(self.workers()) <= self.standing()

    @property
    def seen(self) -> set[str]:
        return self._seen


def wrong(house: House) -> list[str]:
    """All that is not as it must be, as sentences; nothing if all is well."""
    return [
        *_mounts(house), *_cgroups(house), *_processes(house), *_run_folder(house),
        *_containers(house), *_volumes(house), *_images(house), *_networks(house),
        *_staging(house), *_database(house),
    ]  # fmt: skip


def _mounts(house: House) -> Iterator[str]:
    with open("/proc/self/mountinfo") as table:
        for line in table:
            if house.root in line or house.run in line:
                yield f"the host has a mount: {line.strip()}"


def _cgroups(house: House) -> Iterator[str]:
    up = house.column("SELECT id FROM containers WHERE status IN ('running', 'paused')")
    for folder in cgroup_folders():
        for name in house.seen - up:
            if os.path.isdir(f"{folder}/pyctr/{name}"):
                yield f"a control group has no container: {folder}/pyctr/{name}"


def cgroup_folders() -> list[str]:
    """Where hierarchies of control groups are mounted."""
    with open("/proc/self/mountinfo") as table:
        lines = [line.split(" - ") for line in table]
    return [left.split()[4] for left, right in lines if right.startswith("cgroup")]


def _processes(house: House) -> Iterator[str]:
    standing = house.standing()
    for pid in house.workers():
        if pid not in standing:
            yield f"process {pid} ({process_name(pid)}) works for nobody"
            continue
        held = {one for one in _targets(pid) if one.partition(":[")[0] in _NAMESPACES}
        held -= _namespaces(pid)
        if held:
            yield f"process {pid} ({process_name(pid)}) keeps namespaces: {held}"
    query = "SELECT name, status, monitor_pid, monitor_start, pid, start_time FROM containers"
    for own, status, *numbers in house.rows(query):
        monitor, monitor_start, first, start = (int(str(one)) for one in numbers)
        if status in ("running", "paused", "restarting"):
            if not process.is_alive(monitor, monitor_start):
                yield f"container {own} is {status} without a monitor"
            if status != "restarting" and not process.is_alive(first, start):
                yield f"container {own} is {status} without a process"


def _run_folder(house: House) -> Iterator[str]:
    there = set(os.listdir(house.run)) if os.path.isdir(house.run) else set()
    up = house.column(
        "SELECT id FROM containers WHERE status IN ('running', 'paused', 'restarting')"
    )
    for name in there - up - set(_AGENT):
        yield f"{house.run}/{name} belongs to nothing that runs"
    for name in up:
        for own in (*_listing(f"{house.run}/{name}"),):
            if own != "attach.sock":
                yield f"{house.run}/{name}/{own} is left"


def _containers(house: House) -> Iterator[str]:
    known = house.column("SELECT id FROM containers")
    for name in house.names("containers") - known:
        yield f"containers/{name} has no row"
    for name in known - house.names("containers"):
        yield f"container {name} has no folder"
    for own, status in house.rows("SELECT name, status FROM containers"):
        if status in ("creating", "removing"):
            yield f"container {own} is {status}, and nobody is at work"
    for identity in known:
        lacking = {"upper", "work", "rootfs"} - house.names(f"containers/{identity}")
        if lacking:
            yield f"container {identity} lacks {lacking}"
    for own, settings in house.rows(
        "SELECT name, settings FROM containers WHERE status = 'exited'"
    ):
        if quickjson.loads(str(settings)).get("auto_remove"):
            yield f"container {own} of --rm has ended and is there"


def _volumes(house: House) -> Iterator[str]:
    known = house.column("SELECT name FROM volumes")
    there = house.names("volumes") - {".trash"}
    for name in there - known:
        yield f"volumes/{name} has no row"
    for name in known - there:
        yield f"volume {name} has no folder"
    for name in known & there:
        odd = house.names(f"volumes/{name}") ^ {"_data", "volume.json"}
        if odd - {"lock"}:
            yield f"volume {name} has or lacks {odd - {'lock'}}"
    for name in house.names("volumes/.trash"):
        if name.startswith("."):
            yield f"volumes/.trash/{name} is left"
    unused = (
        "SELECT name FROM volumes WHERE anonymous AND name NOT IN"
        " (SELECT volume FROM mounts WHERE volume IS NOT NULL)"
    )
    for name in house.column(unused) - house.restored:
        yield f"anonymous volume {name} has no container"


def _images(house: House) -> Iterator[str]:
    """Content without a row waits a day for another attempt; here the day is over at once."""
    from images.store import Store

    db = sqlite3.connect(f"{house.root}/state.db", isolation_level=None, timeout=30)
    try:
        Store(house.root, db).sweep(older_than=-1)
    finally:
        db.close()
    layers = house.column(
        "SELECT diff_id FROM image_layers UNION SELECT diff_id FROM build_cache WHERE diff_id <> ''"
    )
    digests = house.column(
        "SELECT id FROM images UNION SELECT digest FROM image_layers UNION SELECT digest FROM"
        " image_digests UNION SELECT digest FROM build_cache WHERE digest <> ''"
    )
    for kind, named in (("layers", layers), ("blobs/sha256", digests)):
        there = house.names(kind)
        for name in there - named - {"empty"}:
            yield f"{kind}/{name} has no row, and is not swept"
        for name in named - there:
            yield f"{kind}/{name} is gone, and a row names it"
    for name in house.names("blobs/sha256") & digests:
        with open(f"{house.root}/blobs/sha256/{name}", "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != name:
                yield f"blobs/sha256/{name} is not what its name says"
    for name in house.names("skeletons") - house.column("SELECT id FROM images"):
        yield f"skeletons/{name} has no image"


def _networks(house: House) -> Iterator[str]:
    up = house.up()
    for name in house.column("SELECT container_id FROM endpoints WHERE mac IS NOT NULL") - up:
        yield f"container {name} has addresses and does not run"
    for name in house.column("SELECT container_id FROM published WHERE held <> 0") - up:
        yield f"container {name} has ports and does not run"
    missing = "SELECT container_id FROM endpoints JOIN containers ON containers.id = container_id"
    for name in house.column(f"{missing} WHERE mac IS NULL AND status IN ('running', 'paused')"):
        yield f"container {name} runs and lacks an address"


def _staging(house: House) -> Iterator[str]:
    """What is written under another name first, anywhere but in files of containers and images."""
    foreign = ("_data", "upper", "work", "layers", "blobs")
    for at, folders, files in os.walk(house.root):
        folders[:] = [name for name in folders if name not in foreign]
        for name in (*folders, *files):
            if name.startswith((".new-", ".gone-", ".part-", ".moved-")):
                yield f"{at}/{name} is left"
            if name.endswith((".tmp", ".new", ".part")):
                yield f"{at}/{name} is left"


def _database(house: House) -> Iterator[str]:
    for row in house.rows("PRAGMA integrity_check"):
        if row != ("ok",):
            yield f"the database is damaged: {row}"
    for row in house.rows("PRAGMA foreign_key_check"):
        yield f"a row names what is not there: {row}"


# -- what is read --------------------------------------------------------------------------

_PYTHON = os.path.realpath(sys.executable)


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def process_name(pid: int) -> str:
    """proc_pid_comm(5); "" if it is gone."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def _targets(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    try:
        return [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
    except OSError:  # it has just ended
        return []


def _namespaces(pid: int) -> set[str]:
    folder = f"/proc/{pid}/ns"
    try:
        return {os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}
    except OSError:
        return set()


def _listing(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def checksum(folder: str) -> str:
    """A digest of a tree: names, modes, owners, contents. "" if it is not there."""
    if not os.path.isdir(folder):
        return ""
    seen = hashlib.sha256()
    for at, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted([*folders, *files]):
            path = f"{at}/{name}"
            info = os.lstat(path)
            words = [path[len(folder) :], info.st_mode, info.st_uid, info.st_gid]
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    words.append(hashlib.file_digest(file, "sha256").hexdigest())
            seen.update(quickjson.dumps(words).encode())
    return seen.hexdigest()
