"""Images of other programs load and run here, and ours there."""

from __future__ import annotations

import pytest

from images.base import find_busybox
from tests.images.test_registry import another
from tests.peers import buildah as buildah
from tests.peers import docker as docker
from tests.peers import podman as podman
from tests.peers import skopeo as skopeo
from tests.scripted import layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Pyctr
    from tests.peers import Peer
    from tests.registries import Served
    from tests.scripted import Scripted

    Serve = Callable[..., Served]

# What a layer can say: files new, changed and gone, a folder replaced, hard and symbolic links,
# modes, owners and long names. The second script sees whether it all came through.
LONG = "long-" + "name" * 40
MAKE = f"""
set -e
echo new > /new; echo changed > /etc/group; rm /etc/shells
rm -r /var/log; mkdir /var/log; echo inside > /var/log/{LONG}
ln /new /hard; ln -s /new /soft; chmod 4711 /new; chown 1000:100 /etc/group
mkfifo /pipe; mkdir -m 1777 /sticky; echo ü > /ümlaut
"""
CHECK = f"""
set -e
[ "$(cat /soft)" = new ] && [ "$(cat /etc/group)" = changed ] && [ ! -e /etc/shells ]
[ "$(cat /var/log/{LONG})" = inside ] && [ "$(ls -A /var/log | wc -l)" = 1 ]
[ "$(stat -c %i /new)" = "$(stat -c %i /hard)" ] && [ "$(stat -c '%a %u' /new)" = '4711 0' ]
[ "$(stat -c %u:%g /etc/group)" = 1000:100 ] && [ -p /pipe ] && [ "$(stat -c %a /sticky)" = 1777 ]
[ "$(cat /ümlaut)" = ü ]
echo good
"""


@pytest.fixture
def ours(pyctr: Pyctr) -> str:
    """An image of ours of two layers."""
    pyctr("run", "--name", "maker", "base", "sh", "-c", MAKE)
    pyctr("commit", "-c", "ENV PEER=yes", "-c", "LABEL a.b=c", "maker", "localhost/ours:1.0")
    pyctr("rm", "maker")
    return "localhost/ours:1.0"


@pytest.fixture
def saved(pyctr: Pyctr, ours: str, home_dir: str) -> str:
    """An archive of it."""
    pyctr("save", "-o", f"{home_dir}/ours.tar", ours)
    return f"{home_dir}/ours.tar"


def fresh(pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    another(pyctr, monkeypatch, f"store-{number}")


def runs_here(pyctr: Pyctr, name: str) -> None:
    assert pyctr.out("run", "--rm", name, "sh", "-c", CHECK) == "good"
    assert pyctr.out("run", "--rm", name, "sh", "-c", "echo $PEER") == "yes"
    label = '{{index .Config.Labels "a.b"}}'
    assert pyctr.out("image", "inspect", "-f", label, name) == "c"


def test_archives_of_skopeo(
    pyctr: Pyctr, skopeo: Peer, saved: str, home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, kind in enumerate(("docker-archive", "oci-archive")):
        for source in ("docker-archive", "oci-archive"):
            theirs = f"{home_dir}/{source}-{kind}.tar"
            skopeo("copy", f"{source}:{saved}", f"{kind}:{theirs}:localhost/theirs:2")
            fresh(pyctr, monkeypatch, len(source) * 10 + number)
            assert pyctr.out("load", "-i", theirs) == "Loaded image: localhost/theirs:2"
            runs_here(pyctr, "localhost/theirs:2")


def test_a_registry_between_us_and_skopeo(
    pyctr: Pyctr, serve: Serve, skopeo: Peer, saved: str, ours: str, home_dir: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    host = serve().host
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo("copy", *plain, f"docker-archive:{saved}", f"docker://{host}/theirs:1")
    pyctr("tag", ours, f"{host}/mine:1")
    pyctr("push", f"{host}/mine:1")
    skopeo("copy", *plain, "--format", "v2s2", f"docker://{host}/mine:1", f"docker://{host}/old:1")
    for number, name in enumerate(("theirs", "mine", "old")):
        fresh(pyctr, monkeypatch, number)
        pyctr("pull", f"{host}/{name}:1")
        runs_here(pyctr, f"{host}/{name}:1")


def test_an_index_that_skopeo_brought(
    pyctr: Pyctr, serve: Serve, scripted: Callable[..., Scripted], skopeo: Peer
) -> None:
    source, host = scripted(), serve().host
    entries = [
        (source.image("app", arch, [layer(which=arch.encode())], architecture=arch),
         {"os": "linux", "architecture": arch})
        for arch in ("s390x", "amd64")
    ]  # fmt: skip
    source.index("app", "1", entries)
    skopeo("copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false",
           f"docker://{source.host}/app:1", f"docker://{host}/app:1")  # fmt: skip
    pyctr("pull", f"{host}/app:1")
    pyctr("pull", "--platform", "linux/s390x", f"{host}/app:1")
    architecture = pyctr.out("image", "inspect", "-f", "{{.Architecture}}", f"{host}/app:1")
    assert architecture == "s390x"


def test_podman(
    pyctr: Pyctr, serve: Serve, podman: Peer, saved: str, ours: str, home_dir: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    podman("load", "-i", saved)
    # Podman wants limits raised, which not every machine allows.
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
    alone = ("--network=none", "--rm", *limits)
    assert podman("run", *alone, ours, "sh", "-c", CHECK) == "good"
    host = serve().host
    pyctr("tag", ours, f"{host}/mine:1")
    pyctr("push", f"{host}/mine:1")
    podman("pull", "--tls-verify=false", f"{host}/mine:1")
    assert podman("run", *alone, f"{host}/mine:1", "sh", "-c", "echo $PEER") == "yes"
    podman("push", "--tls-verify=false", ours, f"{host}/theirs:1")
    for number, kind in enumerate(("docker-archive", "oci-archive")):
        theirs = f"{home_dir}/{kind}.tar"
        podman("save", "--format", kind, "-o", theirs, ours)
        fresh(pyctr, monkeypatch, number)
        assert ours in pyctr.out("load", "-i", theirs)
        runs_here(pyctr, ours)
    fresh(pyctr, monkeypatch, 2)
    pyctr("pull", f"{host}/theirs:1")
    runs_here(pyctr, f"{host}/theirs:1")


def test_several_images_in_one_archive_of_podman(
    pyctr: Pyctr, podman: Peer, saved: str, ours: str, home_dir: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    podman("load", "-i", saved)
    podman("tag", ours, "localhost/other:2")
    podman("save", "-m", "-o", f"{home_dir}/two.tar", ours, "localhost/other:2")
    fresh(pyctr, monkeypatch, 1)
    said = pyctr.out("load", "-i", f"{home_dir}/two.tar")
    assert ours in said and "localhost/other:2" in said
    runs_here(pyctr, "localhost/other:2")


def test_buildah(
    pyctr: Pyctr, buildah: Peer, saved: str, home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = buildah("from", f"docker-archive:{saved}")
    with open(f"{home_dir}/added", "w") as file:
        file.write("by buildah\n")
    buildah("copy", working, f"{home_dir}/added", "/added")
    buildah("config", "--cmd", "cat /added", working)
    buildah("commit", working, "localhost/built:1")
    for number, kind in enumerate(("docker-archive", "oci-archive")):
        theirs = f"{home_dir}/{kind}.tar"
        buildah("push", "localhost/built:1", f"{kind}:{theirs}:localhost/built:1")
        fresh(pyctr, monkeypatch, number)
        assert pyctr.out("load", "-i", theirs) == "Loaded image: localhost/built:1"
        assert pyctr.out("run", "--rm", "localhost/built:1") == "by buildah"
        runs_here(pyctr, "localhost/built:1")


def test_an_image_that_buildah_made_of_nothing(pyctr: Pyctr, serve: Serve, buildah: Peer) -> None:
    host = serve().host
    working = buildah("from", "scratch")
    buildah("copy", working, find_busybox(), "/bin/sh")
    buildah("config", "--entrypoint", '["/bin/sh", "-c", "echo $0 $1"]', "--cmd", "a b", working)
    buildah("commit", "--format", "docker", working, "localhost/tiny")
    buildah("push", "--tls-verify=false", "localhost/tiny", f"docker://{host}/tiny:1")
    assert pyctr.out("run", "--rm", f"{host}/tiny:1") == "a b"


def test_docker(
    pyctr: Pyctr, serve: Serve, docker: Peer, saved: str, ours: str, home_dir: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert docker("load", "-i", saved) == f"Loaded image: {ours}"
    alone = ("--network=none", "--rm")
    assert docker("run", *alone, ours, "sh", "-c", CHECK) == "good"
    host = serve().host
    pyctr("tag", ours, f"{host}/mine:1")
    pyctr("push", f"{host}/mine:1")
    docker("pull", f"{host}/mine:1")
    assert docker("run", *alone, f"{host}/mine:1", "sh", "-c", "echo $PEER") == "yes"
    docker("tag", ours, f"{host}/theirs:1")
    docker("push", f"{host}/theirs:1")
    docker("save", "-o", f"{home_dir}/theirs.tar", ours, f"{host}/theirs:1")
    fresh(pyctr, monkeypatch, 1)
    said = pyctr.out("load", "-i", f"{home_dir}/theirs.tar").splitlines()
    assert sorted(said) == sorted([f"Loaded image: {ours}", f"Loaded image: {host}/theirs:1"])
    runs_here(pyctr, ours)
    fresh(pyctr, monkeypatch, 2)
    pyctr("pull", f"{host}/theirs:1")
    runs_here(pyctr, f"{host}/theirs:1")


def test_docker_imports_what_we_export_and_we_what_it_exports(
    pyctr: Pyctr, docker: Peer, home_dir: str
) -> None:
    pyctr("run", "--name", "maker", "base", "sh", "-c", MAKE)
    pyctr("export", "-o", f"{home_dir}/ours.tar", "maker")
    docker("import", f"{home_dir}/ours.tar", "flat:1")
    container = docker("create", "--network=none", "flat:1", "sh", "-c", CHECK)
    assert docker("start", "-a", container) == "good"
    docker("export", "-o", f"{home_dir}/theirs.tar", container)
    docker("rm", container)
    pyctr("import", "-c", "ENV PEER=yes", "-c", "LABEL a.b=c", f"{home_dir}/theirs.tar", "flat:2")
    runs_here(pyctr, "flat:2")
