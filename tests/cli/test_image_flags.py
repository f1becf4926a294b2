"""Every flag of the image commands, and what a careful person gets wrong."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile

import pytest

from cli import filters
from cli.errors import UsageError
from tests.cli.test_images import root_archive
from tests.images.test_registry import another

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Pyctr
    from tests.registries import Served


def image(pyctr: Pyctr, created: str, *names: str, **labels: str) -> str:
    """An empty image that was made then; returns its id (hex digits)."""
    config = {
        "architecture": "amd64", "os": "linux", "created": created,
        "config": {"Labels": labels or None}, "rootfs": {"type": "layers", "diff_ids": []},
    }  # fmt: skip
    manifest = [{"Config": "c.json", "RepoTags": list(names) or None, "Layers": []}]
    content = {
        "c.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    pyctr("load", "-q", stdin=packed(content))
    return hashlib.sha256(content["c.json"]).hexdigest()


def packed(content: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, own in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(own)
            made.addfile(entry, io.BytesIO(own))
    return out.getvalue()


def listed(pyctr: Pyctr, *words: str) -> list[str]:
    template = "{{.Repository}}:{{.Tag}}"
    return pyctr.out("images", "--format", template, *words).splitlines()


@pytest.fixture
def three(pyctr: Pyctr) -> dict[str, str]:
    """Three images by the year in which they were made."""
    return {
        "2001": image(pyctr, "2001-01-01T00:00:00Z", "team/old:1.0", "team/old:latest", kind="x"),
        "2002": image(pyctr, "2002-01-01T00:00:00Z"),
        "2003": image(pyctr, "2003-01-01T00:00:00Z", "new:1.5", kind="y", more=""),
    }


def test_images_without_a_name_are_shown_when_they_are_asked_for(
    pyctr: Pyctr, three: dict[str, str]
) -> None:
    assert listed(pyctr) == ["new:1.5", "team/old:1.0", "team/old:latest"]
    all_ = ["new:1.5", "<none>:<none>", "team/old:1.0", "team/old:latest"]
    assert listed(pyctr, "-a") == listed(pyctr, "--all") == all_
    dangling = pyctr.out("images", "-q", "--no-trunc", "--filter", "dangling=true")
    assert dangling == f"sha256:{three['2002']}"
    assert pyctr.out("images", "-qa").splitlines() == [i[:12] for i in reversed(three.values())]


@pytest.mark.parametrize(
    ("filtered", "expected"),
    [
        (("before=new:1.5",), ["team/old:1.0", "team/old:latest"]),
        (("before=team/old:1.0",), []),
        (("since=team/old:1.0",), ["new:1.5"]),
        (("until=2002-06-01T00:00:00Z",), ["team/old:1.0", "team/old:latest"]),
        (("label=kind",), ["new:1.5", "team/old:1.0", "team/old:latest"]),
        (("label=kind", "label=more"), ["new:1.5"]),
        (("label=kind=x",), ["team/old:1.0", "team/old:latest"]),
        (("dangling=false",), ["new:1.5", "team/old:1.0", "team/old:latest"]),
        (("reference=new",), ["new:1.5"]),
        (("reference=*:1.?",), ["new:1.5"]),
        (("reference=*/*:1.[0-4]", "reference=new:[^1]*"), ["team/old:1.0"]),
        (("reference=team/*:latest", "since=team/old:1.0"), []),
    ],
)
def test_filters(
    pyctr: Pyctr, three: dict[str, str], filtered: tuple[str, ...], expected: list[str]
) -> None:
    flags = [word for one in filtered for word in ("--filter", one)]
    assert listed(pyctr, *flags) == expected


def test_a_filter_that_means_nothing_is_an_error(pyctr: Pyctr, three: dict[str, str]) -> None:
    for wrong, why in (("before=nobody", "no such image: nobody"), ("until=soon", "until=soon"),
                       ("dangling=x", "true or false"), ("reference=[a", "bracket"),
                       ("size=3", "before, dangling, label, reference, since, until")):  # fmt: skip
        failed = pyctr("images", "-f", wrong, code=None)
        assert failed.returncode and why in failed.stderr and not failed.stdout
    assert "one platform" in pyctr("images", "--tree", code=125).stderr
    assert listed(pyctr, "team/old") == ["team/old:1.0", "team/old:latest"]
    assert listed(pyctr, "team/old:latest") == ["team/old:latest"]
    assert listed(pyctr, "old") == []


@pytest.mark.parametrize(
    ("pattern", "fits", "not_"),
    [
        ("a*", "abc", "a/b"), ("a?c", "abc", "a/c"), ("a[b-d]", "ac", "ae"), ("[^a]b", "xb", "ab"),
        ("a\\*", "a*", "ab"), ("a.b", "a.b", "axb"), ("[^a]b", "cb", "/b"),
    ],
)  # fmt: skip
def test_patterns_of_references(pattern: str, fits: str, not_: str) -> None:
    wanted = filters.path_pattern("reference", pattern)
    assert wanted(fits) and not wanted(not_)


@pytest.mark.parametrize("pattern", ["[", "[]", "[^]", "[b-a]"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(UsageError):
        filters.path_pattern("reference", pattern)


def test_inspect_has_dockers_fields(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base")
    pyctr("commit", "-m", "said", "-a", "me", "c", "mine:1")
    (shown,) = json.loads(pyctr.out("image", "inspect", "mine:1"))
    assert list(shown) == [
        "Id", "RepoTags", "RepoDigests", "Comment", "Created", "Author", "Architecture", "Os",
        "Size", "Config", "RootFS", "GraphDriver",
    ]  # fmt: skip
    assert (shown["Comment"], shown["Author"]) == ("said", "me")
    template = "{{.Config.Labels}} {{.Config.User}}{{range .Config.Env}}{{.}}{{end}}"
    assert "PATH=" in pyctr.out("image", "inspect", "-f", template, "base")
    assert len(shown["RootFS"]["Layers"]) == 2
    assert "no such image: nobody" in pyctr("image", "inspect", "nobody", code=1).stderr


def test_an_image_is_of_one_platform(pyctr: Pyctr, home_dir: str) -> None:
    pyctr("import", "--platform", "linux/arm/v6", "-", "other", stdin=root_archive())
    template = "{{.Os}}/{{.Architecture}}/{{.Variant}}"
    assert pyctr.out("image", "inspect", "-f", template, "other") == "linux/arm/v6"
    saved = f"{home_dir}/saved.tar"
    for words in (("history",), ("image", "inspect"), ("save", "-o", saved), ("rmi",)):
        failed = pyctr(*words, "--platform", "linux/amd64", "other", code=1).stderr
        assert "the image has nothing for linux/amd64" in failed and "linux/arm/v6" in failed
        assert not os.path.exists(saved)
    pyctr("save", "--platform", "linux/arm/v6", "-o", saved, "other")
    assert "Untagged" in pyctr.out("rmi", "--platform", "linux/arm/v6", "--no-prune", "other")
    failed = pyctr("load", "--platform", "linux/amd64", "-i", saved, code=1).stderr
    assert "linux/arm/v6" in failed and pyctr.out("images", "-qa") == ""
    assert pyctr.out("load", "--platform", "linux/arm/v6", "-i", saved).startswith("Loaded image")
    failed = pyctr("create", "--platform", "linux/amd64", "--pull=never", "other", code=125).stderr
    assert "arm" in failed
    failed = pyctr("push", "--platform", "linux/amd64", "other", code=1).stderr
    assert "nothing for linux/amd64" in failed


def test_import_reads_files_and_pipes_and_no_addresses(pyctr: Pyctr, home_dir: str) -> None:
    path = f"{home_dir}/root.tar"
    with open(path, "wb") as file:
        file.write(root_archive())
    flags = ("--change", "ENV A=1", "-c", "LABEL b=2", "--message", "said")
    identity = pyctr.out("import", *flags, path)
    (shown,) = json.loads(pyctr.out("image", "inspect", identity))
    assert shown["Config"]["Env"] == ["A=1"] and shown["Config"]["Labels"] == {"b": "2"}
    assert shown["Comment"] == "said" and shown["RepoTags"] == []
    failed = pyctr("import", "http://localhost/root.tar", code=1).stderr
    assert "curl -L http://localhost/root.tar | pyctr import -" in failed


def test_images_are_saved_by_name_id_and_repository(
    pyctr: Pyctr, three: dict[str, str], home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{home_dir}/saved.tar"
    pyctr("save", "--output", path, "team/old", three["2003"])
    assert os.stat(path).st_mode & 0o777 == 0o600
    another(pyctr, monkeypatch, "second")
    said = pyctr.out("load", "--input", path).splitlines()
    assert said == [
        "Loaded image: team/old:1.0",
        "Loaded image: team/old:latest",
        f"Loaded image ID: sha256:{three['2003']}",
    ]
    with open(path, "rb") as file:
        before = file.read()
    assert "no such image" in pyctr("save", "-o", path, "nobody", code=1).stderr
    with open(path, "rb") as file:
        assert file.read() == before
    failed = pyctr("save", "-o", f"{home_dir}/no/such", "new:1.5", code=1).stderr
    assert "no such image" in failed or "cannot write" in failed
    assert "cannot read" in pyctr("load", "-i", f"{home_dir}/nothing", code=1).stderr


def test_save_goes_through_a_pipe(pyctr: Pyctr, three: dict[str, str]) -> None:
    saving = subprocess.Popen(pyctr.argv("save", "new:1.5"), stdout=subprocess.PIPE)
    loading = subprocess.run(
        pyctr.argv("load", "-q"), stdin=saving.stdout, capture_output=True, text=True, timeout=120
    )
    assert saving.wait() == 0 and loading.stdout == "Loaded image: new:1.5\n"


def test_removal_by_id_by_force_and_of_what_is_in_use(pyctr: Pyctr, three: dict[str, str]) -> None:
    failed = pyctr("rmi", three["2001"][:8], code=1).stderr
    assert "several names" in failed and "-f" in failed
    assert pyctr.out("rmi", "--force", three["2001"][:8]).splitlines() == [
        "Untagged: team/old:1.0", "Untagged: team/old:latest", f"Deleted: sha256:{three['2001']}",
    ]  # fmt: skip
    mixed = pyctr("rmi", "nobody", "new:1.5", code=1)
    assert "no such image: nobody" in mixed.stderr and "Untagged: new:1.5" in mixed.stdout
    pyctr("create", "--name", "c", "base")
    assert "container c uses it" in pyctr("rmi", "base", code=1).stderr
    assert pyctr.out("rmi", "-f", "base") == "Untagged: base:latest"
    pyctr("start", "c")
    identity = pyctr.out("inspect", "-f", "{{.Image}}", "c")
    assert "container c uses it" in pyctr("rmi", "-f", identity, code=1).stderr
    pyctr("rm", "-f", "c")
    assert pyctr.out("rmi", identity) == f"Deleted: {identity}"


def test_prune_goes_by_names_filters_and_containers(pyctr: Pyctr, three: dict[str, str]) -> None:
    pyctr("create", "--name", "c", "base")
    said = pyctr("image", "prune", stdin="n\n")
    assert "dangling images" in said.stdout and "Deleted" not in said.stdout
    said = pyctr("image", "prune", "--all", "-f", "--filter", "until=2001-06-01T00:00:00Z",
                 "--filter", "label!=kind=x")  # fmt: skip
    assert "Total reclaimed space: 0B" in said.stdout
    assert f"deleted: sha256:{three['2002']}" in pyctr.out("image", "prune", "--force")
    said = pyctr("image", "prune", "-a", "-f", "--filter", "label=kind=x")
    assert "untagged: team/old:1.0" in said.stdout
    assert listed(pyctr, "-a") == ["new:1.5", "base:latest"]
    pyctr("image", "prune", "-af")
    assert listed(pyctr, "-a") == ["base:latest"]


def test_history_in_all_its_forms(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base", "sh", "-c", "x" * 100)
    pyctr("commit", "c", "mine:1")
    identity = pyctr.out("image", "inspect", "-f", "{{.Id}}", "mine:1")
    assert pyctr.out("history", "--no-trunc", "-q", "mine:1").splitlines() == [
        identity, "<missing>",
    ]  # fmt: skip
    by = pyctr.out("history", "--no-trunc", "--format", "{{.CreatedBy}}", "mine:1").splitlines()
    assert by[0] == f"sh -c {'x' * 100}"
    short = pyctr.out("history", "--format", "{{.CreatedBy}}", "mine:1").splitlines()[0]
    assert short.endswith("…") and len(short) == 45
    plain = pyctr.out("history", "-H=false", "--format", "{{.CreatedSince}} {{.Size}}", "mine:1")
    assert plain.splitlines()[1].startswith("1970-01-01T00:00:00Z ")
    assert " ago " in pyctr.out("history", "--human", "mine:1")
    line = json.loads(pyctr.out("history", "--format", "json", "mine:1").splitlines()[0])
    assert line["ID"] == identity.removeprefix("sha256:")[:12]


def test_all_tags_are_pushed(
    pyctr: Pyctr, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = serve().host
    pyctr("create", "base")
    for tag in ("1", "2"):
        pyctr("tag", "base", f"{host}/team/app:{tag}")
    said = pyctr.out("push", "--all-tags", f"{host}/team/app")
    assert "\n1: digest: sha256:" in said and "\n2: digest: sha256:" in said
    assert pyctr.out("push", "-aq", f"{host}/team/app").splitlines() == [
        f"{host}/team/app:1", f"{host}/team/app:2",
    ]  # fmt: skip
    for verb in ("push", "pull"):
        assert "tag can't be used" in pyctr(verb, "-a", f"{host}/team/app:1", code=1).stderr
        trust = pyctr(verb, "--disable-content-trust", f"{host}/team/app:1", code=125).stderr
        assert "nothing is ever signed" in trust
    assert "no such image" in pyctr("push", "-a", f"{host}/nobody", code=1).stderr
    another(pyctr, monkeypatch, "second")
    pyctr("pull", "-a", "-q", f"{host}/team/app")
    assert len(listed(pyctr)) == 2


def test_an_image_that_was_pulled_by_its_digest_has_a_repository_and_no_tag(
    pyctr: Pyctr, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = serve().host
    pyctr("create", "base")
    pyctr("tag", "base", f"{host}/app:1")
    digest = pyctr.out("push", f"{host}/app:1").rpartition("digest: ")[2].split()[0]
    another(pyctr, monkeypatch, "second")
    assert pyctr.out("pull", "-q", f"{host}/app@{digest}") == f"{host}/app@{digest}"
    template = "{{.Repository}} {{.Tag}} {{.Digest}}"
    assert pyctr.out("images", "--format", template) == f"{host}/app <none> {digest}"
    assert pyctr.out("run", "--rm", f"{host}/app@{digest}", "echo", "1") == "1"
    assert f"Untagged: {host}/app@{digest}" in pyctr.out("rmi", f"{host}/app@{digest}")
    assert pyctr.out("images", "-qa") == ""


def test_what_docker_has_and_we_do_not_is_refused_by_name(pyctr: Pyctr) -> None:
    failed = pyctr("search", "debian", code=125).stderr
    assert "the command search is not supported" in failed and "Docker Hub" in failed
