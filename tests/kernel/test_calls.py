from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kernel import mounts, namespaces, paths, process, trace, tree
from kernel.clone import clone3
from kernel.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def in_child(action: Callable[[], object]) -> int:
    """Runs ``action()`` in a forked child and returns its exit code, 99 after an exception."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            action()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_path_inside_a_root_cannot_leave_it_through_links(home_dir: str) -> None:
    os.makedirs(f"{home_dir}/root/etc")
    with open(f"{home_dir}/secret", "w") as file:
        file.write("host")
    os.symlink(f"{home_dir}/secret", f"{home_dir}/root/absolute")
    os.symlink("../../../secret", f"{home_dir}/root/etc/relative")
    root = os.open(f"{home_dir}/root", os.O_PATH)
    for name in ("absolute", "etc/relative", "../secret"):
        with pytest.raises(FileNotFoundError):
            paths.open_in_root(root, name, os.O_RDONLY)
    os.close(root)


def test_missing_mount_points_are_made_inside_the_root_only(home_dir: str) -> None:
    os.makedirs(f"{home_dir}/root/real")
    os.symlink("/real", f"{home_dir}/root/link")
    os.symlink(f"{home_dir}/outside", f"{home_dir}/root/dangling")
    root = os.open(f"{home_dir}/root", os.O_PATH)
    os.close(paths.make_in_root(root, "/link/a/b"))
    assert os.path.isdir(f"{home_dir}/root/real/a/b")
    os.close(paths.make_in_root(root, "/link/file", 0o644, directory=False))
    assert stat.S_ISREG(os.stat(f"{home_dir}/root/real/file").st_mode)
    with pytest.raises(FileExistsError):
        paths.make_in_root(root, "/dangling/x")
    assert not os.path.exists(f"{home_dir}/outside")
    os.close(root)


def test_a_detached_mount_is_placed_by_descriptor_and_seen_by_nobody_else(home_dir: str) -> None:
    os.mkdir(f"{home_dir}/target")

    def child() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        context = mounts.fsopen("tmpfs")
        mounts.fsconfig_string(context, "mode", "0700")
        mounts.fsconfig_create(context)
        fd = mounts.fsmount(context, mounts.MOUNT_ATTR_NOSUID)
        mounts.mount_setattr(fd, attr_set=mounts.MOUNT_ATTR_RDONLY)
        place = os.open(f"{home_dir}/target", os.O_PATH)
        mounts.move_mount(fd, place, f"{home_dir}/target")
        assert stat.S_IMODE(os.stat(f"{home_dir}/target").st_mode) == 0o700
        with pytest.raises(OSError) as caught:
            os.mkdir(f"{home_dir}/target/x")
        assert caught.value.errno == errno.EROFS

    assert in_child(child) == 0
    with open("/proc/self/mountinfo") as table:
        assert home_dir not in table.read()


def test_a_refused_mount_tells_the_kernels_reason() -> None:
    context = mounts.fsopen("overlay")
    with pytest.raises(OSError, match=r"lowerdir|upperdir|Invalid"):
        mounts.fsconfig_create(context)
    os.close(context)


def test_capabilities_are_read_as_the_kernel_shows_them() -> None:
    with open("/proc/self/status") as status:
        shown = dict(line.rstrip().split(":\t") for line in status if line.startswith("Cap"))
    effective, permitted, inheritable = process.capget()
    assert f"{effective:016x}" == shown["CapEff"]
    assert f"{permitted:016x}" == shown["CapPrm"]
    assert f"{inheritable:016x}" == shown["CapInh"]


def test_dropped_capabilities_are_gone() -> None:
    def child() -> None:
        process.bounding_drop(21)
        with open("/proc/self/status") as status:
            (shown,) = (line.split()[1] for line in status if line.startswith("CapBnd"))
        assert not int(shown, 16) >> 21 & 1
        process.capset(0, 0, 0)
        assert process.capget() == (0, 0, 0)
        with pytest.raises(PermissionError):
            namespaces.unshare(namespaces.CLONE_NEWNS)

    assert in_child(child) == 0


def test_a_pid_is_alive_only_with_its_start_time() -> None:
    started = process.start_time(os.getpid())
    assert process.is_alive(os.getpid(), started)
    assert not process.is_alive(os.getpid(), started + 1)
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.is_alive(child.pid, process.start_time(child.pid)), "a zombie is dead"
    child.wait()
    with pytest.raises(ProcessLookupError):
        process.start_time(child.pid)


def test_a_clone_goes_on_as_a_fork_does_in_the_namespace_that_was_asked_for() -> None:
    pid = clone3(namespaces.CLONE_NEWPID)
    if pid == 0:
        code = 1
        try:
            import colorsys  # the interpreter is whole: it imports, forks and waits

            code = in_child(lambda: colorsys.rgb_to_hls(0, 0, 0)) or int(os.getpid() != 1)
        finally:
            os._exit(code)
    assert os.getpid() != pid > 1
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_clone_that_the_kernel_refuses_says_why(home_dir: str) -> None:
    with pytest.raises(OSError, match="clone3") as refused:
        clone3(0, home_dir)  # a folder, but no control group
    assert (refused.value.errno, refused.value.filename) == (errno.EBADF, home_dir)
    assert in_child(lambda: __import__("colorsys")) == 0, "the lock of imports is free again"


def test_removing_a_tree_never_follows_a_link_or_enters_a_mount(home_dir: str) -> None:
    os.makedirs(f"{home_dir}/host")
    with open(f"{home_dir}/host/precious", "w"):
        pass
    os.makedirs(f"{home_dir}/tree/deep/deeper")
    os.symlink(f"{home_dir}/host", f"{home_dir}/tree/link")
    os.mkdir(f"{home_dir}/tree/mounted")

    def child() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        mounts.mount(f"{home_dir}/host", f"{home_dir}/tree/mounted", None, mounts.MS_BIND)
        with pytest.raises(OSError) as caught:
            tree.remove_tree(f"{home_dir}/tree")
        assert caught.value.errno == errno.EXDEV

    assert in_child(child) == 0
    assert os.listdir(f"{home_dir}/host") == ["precious"]
    tree.remove_tree(f"{home_dir}/tree")
    assert os.listdir(f"{home_dir}/host") == ["precious"]
    assert not os.path.lexists(f"{home_dir}/tree")
    tree.remove_tree(f"{home_dir}/tree")


def test_a_lock_excludes_others_and_ends_with_its_holder(home_dir: str) -> None:
    path = f"{home_dir}/lock"
    with Lock(path):

        def child() -> None:
            with pytest.raises(BlockingIOError), Lock(path, blocking=False):
                pass

        assert in_child(child) == 0
    assert in_child(lambda: Lock(path).__enter__()) == 0
    with Lock(path, blocking=False):
        os.unlink(path)
        with Lock(path, blocking=False):
            pass


def test_a_file_is_replaced_whole_or_not_at_all(home_dir: str) -> None:
    path = f"{home_dir}/file"
    tree.write_atomically(path, b"old")
    tree.write_atomically(path, b"new" * 1000)
    with open(path, "rb") as file:
        assert file.read() == b"new" * 1000
    assert os.listdir(home_dir) == ["file"]


def test_an_armed_trace_point_kills_at_the_chosen_passage_and_others_do_nothing() -> None:
    point = trace.point("tests.kernel.example")
    assert "tests.kernel.example" in trace.names()

    def child() -> None:
        trace.arm("kill", "tests.kernel.example", 2)
        point()
        os.write(1, b"")
        point()

    assert in_child(child) == -9
    trace.arm("fail", "tests.kernel.example")
    with pytest.raises(OSError, match=r"tests\.kernel\.example"):
        point()
    trace.arm("", "")
    point()


def test_a_list_of_passages_says_what_kill_takes(home_dir: str) -> None:
    """Also after a fork, and where all descriptors were closed."""
    path = f"{home_dir}/list"
    code = (
        "import os; from kernel import trace; from kernel.paths import keep_only\n"
        "one = trace.point('a.b'); one(); keep_only({1, 2}); os.open('/', 0); one()\n"
        "if os.fork() == 0: one(); os._exit(0)\n"
        "os.wait(); one()"
    )
    for more, status in (("", 0), ("kill:a.b@2,", -9)):
        environment = {**os.environ, "PYTHONPATH": ".", "PYCTR_TRACE": f"{more}list:{path}"}
        ran = subprocess.run([sys.executable, "-c", code], env=environment, timeout=60)
        assert ran.returncode == status
    with open(path) as file:
        assert file.read().split() == ["a.b@1", "a.b@2", "a.b@3", "a.b@3", "a.b@1", "a.b@2"]


_NAMES = st.sampled_from(["a", "b", "c"])
_TEXTS = st.tuples(
    st.sampled_from(["", "/", "./", "../"]), st.lists(st.one_of(_NAMES, st.just("..")), max_size=3)
).map(lambda words: words[0] + "/".join(words[1]))


@given(st.dictionaries(st.lists(_NAMES, min_size=1, max_size=3).map("/".join), _TEXTS), _TEXTS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_real_path_is_the_one_that_a_changed_root_gives(
    tmp_path: Path, entries: dict[str, str], wanted: str
) -> None:
    root = str(tmp_path / f"{len(os.listdir(tmp_path))}")
    os.mkdir(root)
    for name in sorted(entries, key=len):
        above = [name[:at] for at in range(len(name)) if name[at] == "/"]
        if any(os.path.islink(f"{root}/{folder}") for folder in above):
            continue  # it would lead out of here
        os.makedirs(f"{root}/{above[-1] if above else ''}", exist_ok=True)
        if not entries[name]:
            os.makedirs(f"{root}/{name}", exist_ok=True)
        elif not os.path.lexists(f"{root}/{name}"):
            os.symlink(entries[name], f"{root}/{name}")
    fd = os.open(root, os.O_RDONLY)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chroot(root)
            os.chdir("/")
            os.write(writing, os.path.realpath(wanted or ".").encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        expected = answer.read().lstrip("/")
    os.waitpid(child, 0)
    try:
        got = paths.real_in_root(fd, wanted)
    except OSError as error:
        assume(error.errno == errno.ELOOP)
        return
    finally:
        os.close(fd)
    assert got == expected
