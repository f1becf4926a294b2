"""Pull, push, login and save against a real registry and skopeo."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.conftest import Pyctr
    from tests.registries import Served

    Serve = Callable[..., Served]


def another(pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From here on commands have another root folder, below the first."""
    folder = f"{pyctr.root}/{name}"
    os.mkdir(folder, 0o711)
    monkeypatch.setenv("PYCTR_ROOT", folder)
    monkeypatch.setenv("PYCTR_RUN", f"{folder}/run")


def pushed(pyctr: Pyctr, served: Served, name: str = "team/app:1") -> str:
    """Pushes base under a name of the registry, which it returns."""
    full = f"{served.host}/{name}"
    pyctr("create", "--name", "x", "base")
    pyctr("rm", "x")
    pyctr("tag", "base", full)
    pyctr("push", full)
    return full


def manifest(served: Served, full: str, pyctr: Pyctr) -> dict[str, Any]:
    digest = pyctr.out("image", "inspect", "--format", "{{index .RepoDigests 0}}", full)
    with open(served.blob(digest.rpartition(":")[2]), "rb") as file:
        found: dict[str, Any] = json.load(file)
    return found


def test_what_was_pushed_is_pulled_back_as_it_was(
    pyctr: Pyctr, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = pushed(pyctr, serve())
    image = pyctr.out("image", "inspect", "--format", "{{.Id}}", "base")
    [digest] = json.loads(pyctr.out("image", "inspect", "--format", "{{json .RepoDigests}}", full))
    another(pyctr, monkeypatch, "second")
    said = pyctr.out("pull", full).splitlines()
    assert said[0].startswith("1: Pulling from team/app")
    assert said[-3:] == [
        f"Digest: {digest.partition('@')[2]}",
        f"Status: Downloaded newer image for {full}",
        full,
    ]
    assert pyctr.out("image", "inspect", "--format", "{{.Id}}", full) == image
    assert f"Status: Image is up to date for {full}" in pyctr.out("pull", full)
    assert pyctr.out("pull", "-q", digest) == digest
    assert digest.rpartition(":")[2] in pyctr.out("images", "--digests", "--no-trunc")
    assert pyctr.out("run", "--rm", full, "echo", "hello") == "hello"
    layers = f"{pyctr.root}/layers", f"{pyctr.root}/second/layers"
    [name] = [one for one in os.listdir(layers[1]) if len(one) == 64]
    ran = subprocess.run(
        ["diff", "-r", "--no-dereference", *(f"{folder}/{name}" for folder in layers)],
        capture_output=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout


def test_a_missing_image_is_pulled_by_run_unless_it_may_not(
    pyctr: Pyctr, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = pushed(pyctr, serve())
    another(pyctr, monkeypatch, "second")
    assert "no such image" in pyctr("run", "--rm", "--pull=never", full, "true", code=125).stderr
    assert pyctr.out("run", "--rm", full, "echo", "1") == "1"
    assert pyctr.out("run", "--rm", "--pull=always", full, "echo", "2") == "2"
    gone = pyctr("run", "--rm", f"{full}0", "true", code=125).stderr
    assert "cannot pull image" in gone and "no such image" in gone


def test_all_tags_are_pulled(pyctr: Pyctr, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    full = pushed(pyctr, serve())
    pyctr("tag", "base", f"{full}b")
    pyctr("push", "-q", f"{full}b")
    another(pyctr, monkeypatch, "second")
    pyctr("pull", "-a", full.removesuffix(":1"))
    names = pyctr.out("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert sorted(names) == [full, f"{full}b"]


def test_content_of_another_digest_is_refused_and_not_kept(
    pyctr: Pyctr, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    full = pushed(pyctr, served)
    [layer] = manifest(served, full, pyctr)["layers"]
    digest = layer["digest"].removeprefix("sha256:")
    with open(served.blob(digest), "r+b") as file:
        file.seek(100)
        byte = file.read(1)[0]
        file.seek(100)
        file.write(bytes([byte ^ 1]))
    another(pyctr, monkeypatch, "second")
    assert "content is not what was promised" in pyctr("pull", full, code=1).stderr
    assert pyctr.out("images", "-q") == ""
    assert not [n for n in os.listdir(f"{pyctr.root}/second/blobs/sha256") if digest in n]


def test_names_that_nobody_knows_and_access_that_is_denied(pyctr: Pyctr, serve: Serve) -> None:
    open_, closed = serve(), serve(auth=True)
    assert "no such image" in pyctr("pull", f"{open_.host}/nobody/has", code=1).stderr
    denied = pyctr("pull", f"{closed.host}/nobody/has", code=1).stderr
    assert "denied" in denied and f"pyctr login {closed.host}" in denied
    assert "no such image" in pyctr("push", f"{open_.host}/not/here", code=1).stderr


def test_login_is_checked_before_it_is_kept(
    pyctr: Pyctr, serve: Serve, home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(auth=True)
    kept = f"{home_dir}/docker-config/config.json"
    os.mkdir(os.path.dirname(kept))
    with open(kept, "w") as file:
        json.dump({"proxies": {"default": {}}, "auths": {"other": {"auth": "eDp5"}}}, file)
    login = ("login", "-u", "ann", "--password-stdin", served.host)
    bad = pyctr(*login, stdin="wrong\n", code=1)
    assert "login" in bad.stderr and served.host not in open(kept).read()
    good = pyctr(*login, stdin="secret\n")
    assert "Login Succeeded" in good.stdout and "unencrypted" in good.stderr
    settings = json.load(open(kept))
    assert settings["proxies"] == {"default": {}} and settings["auths"]["other"]["auth"] == "eDp5"
    own = settings["auths"][served.host]["auth"]
    assert base64.b64decode(own) == b"ann:secret"
    assert os.stat(kept).st_mode & 0o777 == 0o600
    full = pushed(pyctr, served)
    another(pyctr, monkeypatch, "second")
    pyctr("pull", full)
    pyctr("logout", served.host)
    assert served.host not in open(kept).read() and "proxies" in open(kept).read()
    assert "denied" in pyctr("pull", full, code=1).stderr
    assert "Not logged in" in pyctr.out("logout", served.host)


_HELPER = """#!/bin/sh
case $1 in
    store) cat > "$HELD" ;;
    get) [ -f "$HELD" ] || { echo 'credentials not found in native keychain'; exit 1; }
        cat "$HELD" ;;
    erase) rm -f "$HELD" ;;
esac
"""


def test_a_credential_helper_keeps_the_password(
    pyctr: Pyctr, serve: Serve, home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(auth=True)
    programs, kept = f"{home_dir}/programs", f"{home_dir}/docker-config/config.json"
    os.mkdir(programs)
    os.mkdir(os.path.dirname(kept))
    with open(f"{programs}/docker-credential-test", "w") as file:
        file.write(_HELPER)
    os.chmod(f"{programs}/docker-credential-test", 0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HELD", f"{home_dir}/held")
    with open(kept, "w") as file:
        json.dump({"credsStore": "test"}, file)
    pyctr("login", "-u", "ann", "--password-stdin", served.host, stdin="secret")
    assert json.load(open(f"{home_dir}/held"))["Secret"] == "secret"
    assert base64.b64encode(b"ann:secret").decode() not in open(kept).read()
    pushed(pyctr, served)
    pyctr("logout", served.host)
    assert not os.path.exists(f"{home_dir}/held")


def test_a_killed_pull_goes_on(pyctr: Pyctr, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()
    full = pushed(pyctr, served)
    another(pyctr, monkeypatch, "second")
    monkeypatch.setenv("PYCTR_TRACE", "kill:images.blobs.part_written@2")  # 1 is the configuration
    assert pyctr("pull", full, code=None).returncode == -9
    monkeypatch.delenv("PYCTR_TRACE")
    folder = f"{pyctr.root}/second/blobs/sha256"
    [part] = [name for name in os.listdir(folder) if name.startswith(".part-")]
    assert pyctr.out("images", "-q") == ""
    os.truncate(f"{folder}/{part}", os.path.getsize(f"{folder}/{part}") // 2)
    pyctr("pull", full)
    assert not [name for name in os.listdir(folder) if name.startswith(".")]
    assert pyctr.out("run", "--rm", full, "echo", "whole") == "whole"


def test_a_layer_is_mounted_from_another_repository(pyctr: Pyctr, serve: Serve) -> None:
    served = serve()
    full = pushed(pyctr, served)
    other = f"{served.host}/other/app:2"
    pyctr("tag", "base", other)
    assert "Mounted from team/app" in pyctr.out("push", other)
    assert "Layer already exists" in pyctr.out("push", full)


def test_save_gives_the_same_bytes_and_comes_back(
    pyctr: Pyctr, home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyctr("create", "base")
    pyctr("tag", "base", "mine:1")
    pyctr("save", "-o", f"{home_dir}/one.tar", "base", "mine:1")
    second = subprocess.run(
        pyctr.argv("save", "base", "mine:1"), capture_output=True, check=True, timeout=120
    ).stdout
    with open(f"{home_dir}/one.tar", "rb") as file:
        assert hashlib.sha256(file.read()).digest() == hashlib.sha256(second).digest()
    image = pyctr.out("image", "inspect", "--format", "{{.Id}}", "base")
    another(pyctr, monkeypatch, "second")
    pyctr("load", "-i", f"{home_dir}/one.tar")
    assert pyctr.out("image", "inspect", "--format", "{{.Id}}", "mine:1") == image
    assert pyctr("save", "-o", f"{home_dir}/two.tar", "nothing", code=1).stdout == ""
    assert not os.path.exists(f"{home_dir}/two.tar")


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_what_we_write_and_we_what_it_writes(
    pyctr: Pyctr, serve: Serve, home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = pushed(pyctr, serve())
    pyctr("save", "-o", f"{home_dir}/ours.tar", "base")
    image = pyctr.out("image", "inspect", "--format", "{{.Id}}", "base")
    copy = ("skopeo", "copy", "--insecure-policy", "--src-tls-verify=false")
    for source, target in (
        (f"docker://{full}", f"oci-archive:{home_dir}/theirs.tar:team/app:1"),
        (f"docker-archive:{home_dir}/ours.tar", f"dir:{home_dir}/docker"),
        (f"oci-archive:{home_dir}/ours.tar", f"dir:{home_dir}/oci"),
    ):
        ran = subprocess.run([*copy, source, target], capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stderr
    another(pyctr, monkeypatch, "second")
    said = pyctr.out("load", "-i", f"{home_dir}/theirs.tar")
    assert "Loaded image" in said
    assert pyctr.out("images", "-q", "--no-trunc") == image


def test_history_shows_the_newest_step_first(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "x", "base")
    pyctr("commit", "-m", "second step", "x", "mine:1")
    lines = pyctr.out("history", "mine:1").splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert "second step" in lines[1] and lines[2].startswith("<missing>")
    assert pyctr.out("history", "-q", "mine:1").splitlines()[1:] == ["<missing>"]
    sizes = pyctr.out("history", "--human=false", "--format", "{{.Size}}", "mine:1").splitlines()
    assert int(sizes[1]) > 100_000
