"""pyctr build: real builds of real images, which are then run."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.conftest import PROJECT
from tests.interleave import Held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.conftest import Pyctr
    from tests.registries import Served


class Builder:
    """A context of one's own, and `pyctr build` of it."""

    def __init__(self, pyctr: Pyctr) -> None:
        self.pyctr = pyctr
        self.folder = f"{pyctr.root}/context"
        os.mkdir(self.folder)

    def file(self, name: str, content: str, mode: int = 0o644) -> None:
        path = f"{self.folder}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(content)
        os.chmod(path, mode)

    def __call__(
        self, dockerfile: str, *flags: str, code: int = 0, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        self.file("Dockerfile", dockerfile)
        return self.pyctr("build", *flags, self.folder, code=code, stdin=stdin)

    def image(self, dockerfile: str, *flags: str) -> str:
        """The id of what is built."""
        return self(dockerfile, "-q", *flags).stdout.strip()

    def said(self, dockerfile: str, *flags: str) -> list[str]:
        """What the steps wrote, without what pyctr says itself."""
        told = self(dockerfile, *flags).stderr.splitlines()
        lines = [line.partition(" ")[2] for line in told if line.startswith("#")]
        own = ("[", "DONE ", "CACHED", "ERROR")
        return [line for line in lines if not line.startswith(own)]

    def run(self, image: str, *command: str) -> str:
        return self.pyctr.out("run", "--rm", image, *command)

    def config(self, image: str) -> dict[str, Any]:
        found = self.pyctr.out("image", "inspect", "--format", "{{json .Config}}", image)
        made: dict[str, Any] = json.loads(found)
        return made

    def layers(self, image: str) -> list[str]:
        found = self.pyctr.out("image", "inspect", "--format", "{{json .RootFS.Layers}}", image)
        made: list[str] = json.loads(found)
        return made


@pytest.fixture
def build(pyctr: Pyctr) -> Builder:
    return Builder(pyctr)


def steps(ran: subprocess.CompletedProcess[str]) -> list[str]:
    """Each step with its end: ``CACHED RUN true``."""
    titles: dict[str, str] = {}
    ends = []
    for line in ran.stderr.splitlines():
        number, _, rest = line.partition(" ")
        if number.startswith("#") and rest.startswith("["):
            titles[number] = rest.partition("] ")[2]
        elif number.startswith("#") and rest.split(" ")[0] in ("CACHED", "DONE", "ERROR"):
            ends.append(f"{rest.split(' ')[0]} {titles[number]}")
    return ends


# -- one stage -----------------------------------------------------------------------------


def test_an_image_is_built_and_runs(build: Builder) -> None:
    ran = build(
        "FROM base\nENV WHO=world\nRUN echo hello $WHO > /greeting\nCMD cat /greeting\n",
        "-t", "one", "-t", "localhost:5000/team/two:1.0",
    )  # fmt: skip
    assert ran.stdout == "" and "named localhost:5000/team/two:1.0" in ran.stderr
    assert build.run("one") == "hello world"
    assert build.run("localhost:5000/team/two:1.0") == "hello world"


def test_the_configuration_is_what_the_instructions_say(build: Builder) -> None:
    image = build.image(
        "# escape=`\n"
        "FROM base\n"
        "MAINTAINER ann\n"
        "LABEL a=1 `\n  b=\"two words\"\n"
        "ENV X=x OLD=${X:-none}\n"
        "ENV LEGACY the rest of it\n"
        "EXPOSE 80 53/udp 8000-8002\n"
        "STOPSIGNAL SIGINT\n"
        "USER 1000:1000\n"
        "WORKDIR /srv\nWORKDIR $X/y\n"
        "VOLUME /v1 /v2\nVOLUME [\"/v three\"]\n"
        "SHELL [\"/bin/sh\", \"-ec\"]\n"
        "HEALTHCHECK --interval=5s --retries=2 CMD echo hi\n"
        "ONBUILD RUN true\n"
        "ENTRYPOINT [\"echo\"]\nCMD echo $X\n",
        "--label", "c=3",
    )  # fmt: skip
    found = build.config(image)
    assert found["Labels"] == {"a": "1", "b": "two words", "c": "3"}
    assert found["Env"][-3:] == ["X=x", "OLD=none", "LEGACY=the rest of it"]
    ports = {"80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"}
    assert set(found["ExposedPorts"]) == ports
    assert (found["StopSignal"], found["User"], found["WorkingDir"]) == (
        "SIGINT", "1000:1000", "/srv/x/y",
    )  # fmt: skip
    assert set(found["Volumes"]) == {"/v1", "/v2", "/v three"}
    assert found["Entrypoint"] == ["echo"]
    assert found["Cmd"] == ["/bin/sh", "-ec", "echo $X"]
    assert found["OnBuild"] == ["RUN true"]
    inspected = build.pyctr.out("image", "inspect", image)
    assert '"Author": "ann"' in inspected
    assert found["Healthcheck"]["Test"] == ["CMD-SHELL", "echo hi"]
    assert found["Healthcheck"]["Interval"] == 5_000_000_000
    assert "STOPSIGNAL SIGINT" in build.pyctr.out("history", image)


def test_an_entrypoint_clears_the_command_of_the_base_but_not_its_own(build: Builder) -> None:
    build.image('FROM base\nCMD ["old"]\n', "-t", "parent")
    assert not build.config(build.image('FROM parent\nENTRYPOINT ["echo"]\n'))["Cmd"]
    own = build.image('FROM parent\nCMD ["own"]\nENTRYPOINT ["echo"]\n')
    assert build.run(own) == "own"


def test_arguments_have_their_scopes(build: Builder) -> None:
    dockerfile = (
        "ARG GLOBAL=outer\nARG BASE=base\n"
        "FROM ${BASE} AS first\n"
        "RUN echo 1 [$GLOBAL] [$A]\n"
        "ARG A=default\nARG GLOBAL\nARG B=$A-b UNSET\n"
        "RUN echo 2 [$GLOBAL] [$A] [$B] [${UNSET-unset}]\n"
        "ENV A=env\nRUN echo 3 [$A]\n"
        "FROM first\nRUN echo 4 [$B]\n"
        "FROM base\nARG TARGETARCH\nRUN echo 5 [$B] [$TARGETARCH] [$TARGETOS]\n"
    )
    assert "5 [] [amd64] []" in build.said(dockerfile) or os.uname().machine != "x86_64"
    found = build.said(dockerfile, "--target", "1", "--build-arg", "A=given", "--no-cache")
    assert found == ["1 [] []", "2 [outer] [given] [given-b] [unset]", "3 [env]", "4 [given-b]"]
    unused = build("FROM base\n", "--build-arg", "NOBODY=1")
    assert "no ARG asks for: NOBODY" in unused.stderr


def test_a_proxy_needs_no_arg_and_is_in_no_key_and_no_image(build: Builder) -> None:
    dockerfile = "FROM base\nRUN echo proxy $HTTP_PROXY\n"
    assert build.said(dockerfile, "--build-arg", "HTTP_PROXY=http://p:1") == ["proxy http://p:1"]
    again = build(dockerfile, "--build-arg", "HTTP_PROXY=http://other:1", "-t", "x")
    assert "CACHED RUN echo proxy $HTTP_PROXY" in steps(again)
    assert "http://" not in build.pyctr.out("image", "inspect", "x")


def test_run_has_its_forms(build: Builder) -> None:
    found = build.said(
        "FROM base\n"
        'RUN ["echo", "exec $HOME"]\n'
        "RUN echo shell $HOME\n"
        "RUN <<EOT\necho here $0\necho twice\nEOT\n"
        "RUN <<-'EOT'\n\techo tabs\n\tEOT\n"
        "RUN cat <<A - <<B\nof a $HOME\nA\nof b\nB\n"
        "RUN <<EOT\n#!/bin/busybox sh\necho I am $0\nEOT\n"
        'SHELL ["/bin/sh", "-xc"]\nRUN true\n'
    )
    assert found == [
        "exec $HOME", "shell /root", "here /bin/sh", "twice", "tabs", "of b",
        "I am /dev/pipes/EOT", "+ true",
    ]  # fmt: skip


def test_run_is_confined_like_any_container(build: Builder) -> None:
    found = build.said(
        "FROM base\nUSER 1000\nWORKDIR /work\n"
        "RUN id -u; pwd; touch mine; echo $$; hostname\n"
        "USER root\nRUN grep CapBnd /proc/self/status; grep Seccomp: /proc/self/status\n"
    )
    assert found[:4] == ["1000", "/work", "1", "build"]
    assert found[4].split() == ["CapBnd:", "00000000a80425fb"]
    assert found[5].split() == ["Seccomp:", "2"]


def test_the_network_can_be_that_of_the_host_or_none(build: Builder) -> None:
    ours = sorted(os.listdir("/sys/class/net"))
    script = "ls /sys/class/net | sort | tr '\\n' ' '; echo"
    dockerfile = f"FROM base\nRUN {script}\nRUN --network=none {script}\n"
    assert build.said(dockerfile, "--network", "host") == [f"{' '.join(ours)} ", "lo "]
    assert build.said(dockerfile, "--network", "none", "--no-cache") == ["lo ", "lo "]
    for word in ("container:one", "name=mine,ip=10.0.0.2"):
        refused = build(dockerfile, "--network", word, code=125)
        assert "default, host, none or the name of a network" in refused.stderr
    unknown = build(dockerfile, "--network", "mine", "--no-cache", code=1)
    assert "network mine not found" in unknown.stderr


def test_what_is_mounted_for_run_leaves_no_trace_in_the_image(build: Builder) -> None:
    build.file("a.txt", "a")
    dockerfile = (
        "FROM scratch AS files\nCOPY a.txt /deep/a.txt\n"
        "FROM base\n"
        "RUN --mount=type=bind,target=/ctx --mount=type=tmpfs,target=/t,size=1m"
        " --mount=type=bind,from=files,source=deep,target=/deep,rw"
        " --mount=type=cache,target=/c,mode=0750,uid=5,id=mine"
        " cat /ctx/a.txt; echo; echo x > /t/x; echo new > /deep/new; ls /deep;"
        " touch /ctx/y 2>/dev/null || echo read-only; stat -c '%a %u' /c; echo kept >> /c/f;"
        " ls -R / > /c/list\n"
        "RUN --mount=type=cache,target=/c,id=mine,ro cat /c/f; touch /c/x 2>/dev/null || echo no\n"
        "RUN ls -d /ctx /t /deep /c 2>/dev/null; touch /done\n"
    )
    found = build.said(dockerfile, "-t", "x")
    assert found == ["a", "a.txt", "new", "read-only", "750 5", "kept", "no"]
    assert sorted(os.listdir(build.folder)) == ["Dockerfile", "a.txt"]
    assert len(build.layers("x")) == 2, "only the last RUN changed a file"
    found = build.said(dockerfile, "--no-cache")
    assert "kept" in found and found.count("kept") == 2, "a cache mount outlives --no-cache"


def test_cache_mounts_are_shared_locked_or_private(build: Builder) -> None:
    def stage(name: str, sharing: str) -> str:
        mount = f"--mount=type=cache,target=/c,id={sharing},sharing={sharing}"
        script = (
            "echo x >> /c/in; n=0; while [ $n -lt 40 ] && [ $(wc -l < /c/in) -lt 2 ];"
            " do sleep 0.05; n=$((n+1)); done; wc -l < /c/in; echo > /c/out; : > /c/in"
        )
        return f"FROM base AS {name}\nRUN {mount} {script}\n"

    last = "FROM base\nRUN --mount=from=a,target=/a --mount=from=b,target=/b true\n"
    both = build.said(stage("a", "shared") + stage("b", "shared") + last)
    assert "2" in both, "both were in it at once"
    for sharing in ("locked", "private"):
        alone = build.said(stage("a", sharing) + stage("b", sharing) + last)
        assert alone == ["1", "1"], sharing


def test_a_secret_is_seen_by_its_command_only(
    build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.file("../hush", "hush-hush-1")
    monkeypatch.setenv("WORD", "hush-hush-2")
    mounts = "--mount=type=secret,id=a,mode=0440,gid=7 --mount=type=secret,id=b,env=B"
    dockerfile = (
        f"FROM base\nRUN {mounts} cat /run/secrets/a; echo; stat -c '%a %g' /run/secrets/a;"
        " echo $B\n"
        "RUN ls /run; echo none$B\n"
    )
    flags = ("--secret", f"id=a,src={build.folder}/../hush", "--secret", "id=b,env=WORD")
    found = build.said(dockerfile, *flags, "-t", "x")
    assert found == ["hush-hush-1", "440 7", "hush-hush-2", "none"]
    build.file("../hush", "changed")
    again = build(dockerfile, *flags)
    assert [one for one in steps(again) if "RUN" in one and "CACHED" not in one] == []
    kept = subprocess.run(
        ["grep", "-rlE", "hush-hush-[12]", build.pyctr.root, "--exclude-dir=context",
         "--exclude=hush"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert kept.stdout == "", "it is nowhere on the disk"
    missing = build("FROM base\nRUN --mount=type=secret,id=no,required true\n", code=1)
    assert "Dockerfile:2: RUN" in missing.stderr and "--secret id=no" in missing.stderr
    build("FROM base\nRUN --mount=type=secret,id=no test ! -e /run/secrets/no\n")


# -- files ---------------------------------------------------------------------------------


def test_files_are_copied_by_the_rules(build: Builder) -> None:
    build.file("a.txt", "a")
    build.file("b.txt", "b")
    build.file("sub/c.txt", "c")
    build.file("left.key", "k")
    build.file(".dockerignore", "*.key\n")
    with tarfile.open(f"{build.folder}/arc.tgz", "w:gz") as archive:
        archive.add(f"{build.folder}/a.txt", "in/a.txt")
    image = build.image(
        "FROM base\nRUN echo ann:x:77:77::/: >> /etc/passwd\nWORKDIR /w\nENV D=dest NAME=here\n"
        "COPY --chown=ann --chmod=640 *.txt $D/\n"
        "COPY sub .\n"
        'COPY ["a.txt", "/with space/"]\n'
        "ADD arc.tgz /unpacked\n"
        "ADD --unpack=false arc.tgz /packed/\n"
        "COPY <<ONE <<'TWO' /docs/\n$NAME\nONE\n$NAME\nTWO\n"
        "COPY --link --chown=3:4 b.txt /linked/\n"
        "COPY --exclude=b* *.txt /some/\n"
        "COPY --parents sub/c.txt /p/\n"
    )
    listed = build.run(image, "sh", "-c", "cd /; find w docs packed unpacked linked some p"
                       " 'with space' -type f | sort")  # fmt: skip
    assert listed.split("\n") == [
        "docs/ONE", "docs/TWO", "linked/b.txt", "p/sub/c.txt", "packed/arc.tgz", "some/a.txt",
        "unpacked/in/a.txt", "w/c.txt", "w/dest/a.txt", "w/dest/b.txt", "with space/a.txt",
    ]  # fmt: skip
    told = build.run(image, "sh", "-c", "stat -c '%a %u %g' dest/a.txt /linked/b.txt; cat /docs/*")
    assert told.split("\n") == ["640 77 77", "644 3 4", "here", "$NAME"]
    ignored = build("FROM base\nCOPY left.key /\n", code=1)
    assert ".dockerignore" in ignored.stderr


def test_a_base_is_pulled_where_it_is_missing_or_asked_for(
    build: Builder, serve: Callable[..., Served]
) -> None:
    name = f"{serve().host}/team/parent:1"
    build.image("FROM base\nRUN echo one > /n\nONBUILD RUN cat /n\n", "-t", name)
    build.pyctr("push", "-q", name)
    build.image("FROM base\nRUN echo two > /n\n", "-t", name)
    assert build.run(build.image(f"FROM {name}\n"), "cat", "/n") == "two", "the one that is here"
    assert build.said(f"FROM {name}\n", "--pull") == ["one"]
    build.pyctr("rmi", name)
    copied = build.image(f"FROM base\nCOPY --from={name} /n /m\n")
    assert build.run(copied, "cat", "/m") == "one"
    other = "linux/arm64" if os.uname().machine == "x86_64" else "linux/amd64"
    refused = build(f"FROM {name}\n", "--platform", other, code=1)
    assert "Dockerfile:1: FROM" in refused.stderr and f"not for {other}" in refused.stderr


def test_an_image_can_begin_with_nothing(build: Builder) -> None:
    image = build.image(
        "FROM base AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /bin/sh\n"
        'RUN ["/bin/sh", "-c", "echo made > /made"]\nRUN echo more >> /made\n'
        "WORKDIR /here\nCMD cat /made\n"
    )
    assert build.config(image)["WorkingDir"] == "/here"
    assert build.run(image, "/bin/sh", "-c", "read a < /made; echo $a; pwd") == "made\n/here"
    empty = build.image("FROM scratch\nLABEL a=b\n")
    assert build.layers(empty) == []


def test_files_come_from_stages_and_images(build: Builder) -> None:
    build.image("FROM scratch\nCOPY <<EOF /from-image\nimage\nEOF\n", "-t", "other")
    image = build.image(
        "FROM base AS one\nRUN mkdir /d && echo one > /d/one && chown 5 /d/one\n"
        "FROM base\nCOPY --from=0 /d /by-number\nCOPY --from=one /d/o* /by-name/\n"
        "COPY --from=other /from-image /\n"
    )
    told = build.run(image, "sh", "-c", "cat /by-*/one /from-image; stat -c %u /by-name/one")
    assert told.split("\n") == ["one", "one", "image", "5"]


def test_a_url_is_added(build: Builder) -> None:
    class Page(BaseHTTPRequestHandler):
        content = b"from afar"

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.content)

        def log_message(self, *_words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    dockerfile = f"FROM base\nADD --chmod=644 http://127.0.0.1:{server.server_port}/f.txt /a/\n"
    try:
        image = build.image(dockerfile)
        assert build.run(image, "cat", "/a/f.txt") == "from afar"
        assert build.image(dockerfile) == image
        Page.content = b"changed"
        assert build.run(build.image(dockerfile), "cat", "/a/f.txt") == "changed"
    finally:
        server.shutdown()
        server.server_close()


def test_a_context_can_come_from_standard_input(build: Builder) -> None:
    said = build.pyctr("build", "-q", "-t", "x", "-", stdin="FROM base\nRUN echo text > /f\n")
    assert said.stdout.startswith("sha256:") and build.run("x", "cat", "/f") == "text"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in (("own/Docker", "FROM base\nCOPY . /c/\n"), ("f", "in the archive")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    build.pyctr("build", "-q", "-t", "x", "-f", "own/Docker", "-", stdin=out.getvalue())
    assert build.run("x", "cat", "/c/f") == "in the archive"
    build.file("g", "in the folder")
    build.pyctr("build", "-q", "-t", "x", "-f", "-", build.folder, stdin="FROM base\nCOPY g /g\n")
    assert build.run("x", "cat", "/g") == "in the folder"
    refused = build.pyctr("build", "https://example.com/repo.git", code=1)
    assert "git repositories and URLs are not supported" in refused.stderr


# -- stages and the cache ------------------------------------------------------------------


def test_only_stages_on_the_way_to_the_target_are_built(build: Builder) -> None:
    dockerfile = (
        "FROM base AS one\nRUN echo one\nFROM base AS broken\nRUN false\n"
        "FROM one AS last\nRUN echo last\n"
    )
    assert sorted(build.said(dockerfile)) == ["last", "one"]
    assert build.said(dockerfile, "--target", "one", "--no-cache") == ["one"]
    assert build(dockerfile, "--target", "broken", code=1).stderr.count("RUN false") >= 1
    unknown = build(dockerfile, "--target", "none", code=1)
    assert "no stage 'none'" in unknown.stderr and "one, broken, last" in unknown.stderr


def test_independent_stages_are_built_at_once(build: Builder) -> None:
    """Each waits for the other, through a cache mount that they share."""

    def stage(own: str, other: str) -> str:
        script = f"touch /c/{own}; n=0; until [ -e /c/{other} ]; do sleep 0.05; n=$((n+1));"
        return (
            f"FROM base AS {own}\n"
            f"RUN --mount=type=cache,target=/c {script} [ $n -lt 1000 ] || exit 1; done;"
            f" echo {own} > /{own}\n"
        )

    image = build.image(
        stage("a", "b") + stage("b", "a") + "FROM base\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
    )
    assert build.run(image, "cat", "/a", "/b") == "a\nb"


def test_when_a_stage_fails_the_others_end(build: Builder) -> None:
    dockerfile = (
        "FROM base AS slow\nRUN --mount=type=cache,target=/c touch /c/slow; sleep 1000\n"
        "FROM base AS fails\n"
        "RUN --mount=type=cache,target=/c until [ -e /c/slow ]; do sleep 0.05; done; echo bad;"
        " false\n"
        "FROM slow\nCOPY --from=fails / /\n"
    )
    failed = build(dockerfile, code=1)
    assert "Dockerfile:4: RUN" in failed.stderr and "\nbad\n" in failed.stderr
    assert os.listdir(f"{build.pyctr.root}/containers") == []


def test_a_step_is_done_again_only_when_something_has_changed(build: Builder) -> None:
    build.file("a.txt", "a")
    dockerfile = 'FROM base\nLABEL v=1\nRUN echo first\nCOPY a.txt /\nRUN echo last\nCMD ["x"]\n'

    def done(text: str, *flags: str) -> list[str]:
        return [one for one in steps(build(text, *flags)) if "FROM" not in one]

    first = ["DONE RUN echo first", "DONE COPY a.txt /", "DONE RUN echo last"]
    cached = [one.replace("DONE", "CACHED") for one in first]
    assert done(dockerfile) == first
    image = build.image(dockerfile)
    assert done(dockerfile) == cached and build.image(dockerfile) == image
    os.utime(f"{build.folder}/a.txt", (0, 0))
    assert done(dockerfile) == cached, "times do not count"
    assert done(dockerfile.replace("v=1", "v=2").replace('"x"', '"y"')) == cached
    assert done(dockerfile, "--no-cache") == first
    build.file("a.txt", "b")
    assert done(dockerfile) == [cached[0], *first[1:]]
    build.file("a.txt", "b", 0o755)
    assert done(dockerfile) == [cached[0], *first[1:]]
    changed = dockerfile.replace("LABEL v=1", "ENV E=1")
    assert done(changed)[0] == first[0], "the environment of RUN is another"


def test_files_of_a_stage_count_by_their_content(build: Builder) -> None:
    dockerfile = (
        "FROM base AS one\nARG N\nRUN echo $N > /other; mkdir /d; echo same > /d/f\n"
        "FROM base\nCOPY --from=one /d /d\nRUN echo after\n"
    )
    build(dockerfile, "--build-arg", "N=1")
    again = steps(build(dockerfile, "--build-arg", "N=2"))
    assert "CACHED COPY --from=one /d /d" in again and "CACHED RUN echo after" in again


def test_what_is_cached_needs_no_mount_and_no_process(
    build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.file("a", "a")
    dockerfile = (
        "FROM base AS one\nRUN echo x > /x\nFROM base\nCOPY --from=one /x /\nCOPY a /\nWORKDIR /w\n"
        "RUN --mount=type=bind,target=/b ls /b\n"
    )
    image = build.image(dockerfile)
    monkeypatch.setenv("PYCTR_TRACE", "fail:engine.build.workspace_made")
    assert build.image(dockerfile) == image


def test_files_that_change_while_they_are_copied_are_not_taken_for_others(build: Builder) -> None:
    build.file("a", "old")
    build.file("Dockerfile", "FROM base\nCOPY a /a\nRUN --mount=target=/c cat /c/a > /b\n")
    build.pyctr("create", "base")
    args = ("build", "-q", "-t", "x", build.folder)
    with Held(build.pyctr, "images.build.stage.performed", *args) as held:
        build.file("a", "new")
        held.go()
        held.done()
    assert build.run("x", "cat", "/a") == "old"
    build.file("a", "old")
    build.file("c", "another file, so that RUN sees other files")
    with Held(build.pyctr, "images.build.stage.performed@2", *args) as held:
        build.file("a", "new")
        held.go()
        held.done()
    assert build.run("x", "cat", "/b") == "old"
    for text in ("new", "old"):
        build.file("a", text)
        build.pyctr(*args)
        assert build.run("x", "cat", "/a", "/b") == text * 2


def test_what_a_build_uses_is_not_pruned(build: Builder) -> None:
    build.file("a", "a")
    mount = "RUN --mount=type=cache,target=/c"
    first = "FROM base\nRUN echo x > /x\n"
    build.pyctr("rmi", build.image(first))  # only the cache has its layer now
    build.file("Dockerfile", f"{first}{mount} echo kept >> /c/f\nCOPY a /\n")
    build.pyctr("create", "--name", "c", "base")
    args = ("build", "-q", "-t", "x", build.folder)
    with Held(build.pyctr, "engine.build_run.started", *args) as held:
        assert "cachemount" in build.pyctr.out("system", "df", "-v")
        build.pyctr("system", "prune", "-a", "-f")
        assert len(os.listdir(f"{build.pyctr.root}/build-mounts")) == 2, "a folder and its lock"
        held.go()
        held.done()
    assert build.run("x", "cat", "/x", "/a") == "x\na"
    build.pyctr("builder", "prune", "-a", "-f")
    assert os.listdir(f"{build.pyctr.root}/build-mounts") == []


def test_two_builds_at_once_are_both_right(build: Builder) -> None:
    build.file("Dockerfile", "FROM base\nARG N\nRUN echo same > /same\nRUN echo $N > /n\n")
    build.pyctr("create", "--name", "x", "base")
    running = {
        n: subprocess.Popen(
            build.pyctr.argv("build", "-q", "--build-arg", f"N={n}", "-t", f"i{n}", build.folder),
            stdout=subprocess.PIPE,
        )
        for n in range(5)
    }
    for one in running.values():
        assert one.wait(timeout=110) == 0
    assert [build.run(f"i{n}", "cat", "/n") for n in running] == [str(n) for n in running]


# -- volumes -------------------------------------------------------------------------------


def test_a_volume_of_the_image_is_one_of_every_container(build: Builder) -> None:
    build.image("FROM base\nRUN mkdir /data && echo first > /data/f\nVOLUME /data\n", "-t", "x")
    build.pyctr("run", "--name", "c", "x", "sh", "-c", "echo more >> /data/f")
    _, source = build.pyctr.volume_of("c", "/data")
    with open(f"{source}/f") as file:
        assert file.read() == "first\nmore\n"


def test_a_change_below_a_declared_volume_is_kept_and_told(build: Builder) -> None:
    dockerfile = "FROM base\nVOLUME /data\nRUN mkdir /data && echo late > /data/f\n"
    told = build(dockerfile, "-t", "x")
    assert "warning: Dockerfile:3: RUN changes files below the volume /data" in told.stderr
    assert build.run("x", "cat", "/data/f") == "late"
    assert "below the volume" in build(dockerfile).stderr, "from the cache as well"
    assert "below the volume" not in build("FROM base\nVOLUME /data\nWORKDIR /data\n").stderr


def test_inherited_volumes_can_be_dropped(build: Builder) -> None:
    build.image("FROM base\nVOLUME /a /b\n", "-t", "parent")
    assert not build.config(build.image("FROM parent\nVOLUME --reset\n"))["Volumes"]
    own = build.config(build.image("FROM parent\nVOLUME --reset /c\n"))
    assert set(own["Volumes"]) == {"/c"}


# -- triggers, results, errors -------------------------------------------------------------


def test_triggers_run_in_the_build_of_the_child(build: Builder) -> None:
    build.file("a.txt", "a")
    build.image(
        "FROM base\nONBUILD COPY a.txt /t/\nONBUILD RUN <<EOT\necho ran > /t/ran\nEOT\n"
        "ONBUILD ENV T=$X\nENV X=x\n",
        "-t", "parent",
    )  # fmt: skip
    child = build.image("FROM parent\nRUN ls /t > /list\n", "-t", "child")
    assert build.run(child, "cat", "/list", "/t/ran") == "a.txt\nran\nran"
    assert "T=x" in build.config(child)["Env"] and not build.config(child)["OnBuild"]
    grandchild = build.image("FROM child\n")
    assert build.layers(grandchild) == build.layers(child)
    stages = build("FROM base AS one\nONBUILD RUN echo triggered\nFROM one\n")
    assert "triggered" in stages.stderr
    chain = "FROM base AS one\nONBUILD RUN echo once\nFROM one AS two\nFROM two\n"
    assert build.said(chain) == ["once"], "a trigger is not inherited twice"


def test_the_id_is_written_and_quiet_prints_nothing_else(build: Builder) -> None:
    path = f"{build.folder}/id"
    for flag in ("-q", "--progress=quiet"):
        ran = build("FROM base\nRUN echo loud\n", flag, "--iidfile", path, "--no-cache")
        assert ran.stderr == ""
        with open(path) as file:
            assert file.read() == ran.stdout.strip()
        assert ran.stdout.startswith("sha256:")
    build("FROM base\nRUN false\n", "--iidfile", path, code=1)
    assert not os.path.exists(path), "an old id is not taken for a new one"


def test_an_error_names_file_line_and_instruction_and_shows_the_output(build: Builder) -> None:
    failed = build("FROM base\n\nRUN echo some output; \\\n  exit 3\n", "-q", code=1)
    assert failed.stdout == ""
    assert "\nsome output\n" in failed.stderr
    assert "Dockerfile:3: RUN echo some output;" in failed.stderr
    assert "exit code: 3" in failed.stderr
    for dockerfile, words in {
        "RUN true\n": "Dockerfile:1: RUN stands before the first FROM",
        "FROM base\nRNU x\n": "Dockerfile:2: unknown instruction RNU",
        "FROM base\nCOPY none /\n": "Dockerfile:2: COPY none /: cannot copy none",
        'FROM base\nRUN ["/none"]\n': "Dockerfile:2: RUN",
        "FROM base\nUSER nobody-here\nRUN id\n": "Dockerfile:3: RUN id: unable to find user",
        "FROM base\nEXPOSE 99999\n": "Dockerfile:2: EXPOSE 99999: cannot expose",
        "FROM base\nSTOPSIGNAL SIGNO\n": "Dockerfile:2: STOPSIGNAL",
        "FROM base\nVOLUME data\n": "its path must begin with /",
        'FROM base\nENV A="${B:?is missing}"\n': "B: is missing",
        "FROM base\nRUN --mount=type=ssh true\n": "type=ssh is not supported",
        "FROM base\nRUN --mount=type=bind,from=$X,target=/x true\n": "holds a variable",
        "FROM base AS a\nCOPY --from=b / /x\nFROM base AS b\nFROM a\n": "b comes later",
        "FROM nowhere/none:1\n": "Dockerfile:1: FROM nowhere/none:1",
        "FROM --platform=what base\n": "Dockerfile:1: FROM: 'what' is neither",
        "FROM ${A:?nothing}\n": "Dockerfile:1: FROM: cannot read",
        "ARG A=${B:?nothing}\nFROM base\n": "Dockerfile:1: cannot read",
        "FROM base\nCOPY <<E /x\n${B:?nothing}\nE\n": "Dockerfile:2: COPY <<E /x: cannot read",
        "FROM base\nADD --chmod=9 <<E /x\nE\n": "cannot read --chmod=9",
        "FROM base\nCOPY --chown=nobody-here <<E /x\nE\n": "unable to find user nobody-here",
        "FROM base\nCOPY <<E /etc/passwd/x\nE\n": "Dockerfile:2: COPY <<E /etc/passwd/x",
        "FROM base\nRUN --security=insecure true\n": "unknown flag --security",
    }.items():
        assert words in build(dockerfile, code=1).stderr, dockerfile
    none = build.pyctr("build", f"{build.pyctr.root}/nowhere", code=1)
    assert "cannot read" in none.stderr
    argv = build.pyctr.argv("build", "--build-arg", b"A=\xff", build.folder)  # type: ignore[arg-type]
    bad = subprocess.run(argv, capture_output=True, timeout=60)
    assert bad.returncode == 125 and b"is UTF-8" in bad.stderr
    refused = build.pyctr("build", "--ssh", "default", build.folder, code=125)
    assert "--ssh is not supported: use a secret" in refused.stderr


def test_two_builds_with_an_epoch_give_one_image(
    build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.file("sub/f", "f")
    dockerfile = (
        "FROM base\nRUN mkdir /d; echo x > /d/x; ln -s x /d/y\nCOPY sub /sub\nWORKDIR /new/one\n"
        "ARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH > /epoch\n"
    )
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    first = build.image(dockerfile)
    time.sleep(1.1)  # times of files and images are whole seconds
    assert build.image(dockerfile, "--no-cache") == first
    stat = "find / -xdev -newer /epoch -not -path '/etc*' -not -path '/dev*'; stat -c %Y /d /sub/f"
    found = build.run(first, "sh", "-c", f"cat /epoch; {stat}").split("\n")
    assert found[0] == "1000000000" and found[-2:] == ["1000000000", "1000000000"]
    created = build.pyctr.out("image", "inspect", "--format", "{{.Created}}", first)
    assert created == "2001-09-09T01:46:40Z"
    other = build.image(dockerfile, "--build-arg", "SOURCE_DATE_EPOCH=1000000001")
    assert other != first


def test_on_a_terminal_the_steps_change_and_leave_their_ends(build: Builder) -> None:
    build.file("Dockerfile", "FROM base\nRUN echo output; sleep 0.3; echo more\n")
    master, slave = pty.openpty()
    running = subprocess.Popen(
        build.pyctr.argv("build", build.folder), stderr=slave, stdin=subprocess.DEVNULL
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # EIO: nobody has the other end any more
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    assert running.wait(timeout=60) == 0
    assert b"DONE 0." in seen and b"RUN echo output" in seen and b"\x1b[" in seen
    assert b"           more" in seen or b"           output" in seen


def test_a_layer_on_disk_and_its_archive_are_the_same(
    build: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upperdir becomes the layer as it is; who loads the image has it from the archive."""
    build.image(
        "FROM base\n"
        "RUN mkdir -p /a/b /gone /again; echo 1 > /a/one; ln /a/one /a/b/hard; ln -s one /a/soft;"
        " mkfifo -m 640 /a/pipe; chown 7:8 /a/b; chmod 4755 /a/one; touch /gone/x /again/old\n"
        "RUN rm -r /gone /a/b/hard; rm -r /again; mkdir -m 1777 /again; touch /again/new;"
        f" touch /{'n' * 200}\n"
        "RUN chmod 700 /a; echo more >> /a/one; mv /a/soft /a/moved\n",
        "-t", "x",
    )  # fmt: skip
    script = (
        "find / -xdev -not -path '/dev*' -not -path '/etc/*' -not -path '/proc*' -not -path '/sys*'"
        " | sort | while read f; do stat -c '%n %A %u %g %h %s' \"$f\"; done;"
        " cat /a/one; readlink /a/moved; cat /etc/passwd"
    )
    here = build.run("x", "sh", "-c", script)
    assert "/gone" not in here and "/again/old" not in here and "/again/new" in here
    build.pyctr("save", "-o", f"{build.folder}/saved.tar", "x")
    other = f"{build.pyctr.root}/other"
    monkeypatch.setenv("PYCTR_ROOT", other)
    monkeypatch.setenv("PYCTR_RUN", f"{os.environ['PYCTR_RUN']}/other")
    build.pyctr("load", "-i", f"{build.folder}/saved.tar")
    assert build.run("x", "sh", "-c", script) == here


# -- what is kept --------------------------------------------------------------------------


def test_what_builds_keep_is_counted_and_removed(build: Builder) -> None:
    dockerfile = "FROM base\nRUN head -c 5000 /dev/zero > /five\n"
    mount = "RUN --mount=type=cache,target=/c head -c 700 /dev/zero > /c/f\n"
    build.image(dockerfile + mount, "-t", "x")

    def cache() -> list[str]:
        rows = build.pyctr.out("system", "df", "--format", "{{json .}}").split("\n")
        (found,) = [json.loads(row) for row in rows if "Build Cache" in row]
        return [found["TotalCount"], found["Active"], found["Size"]]

    assert cache() == ["3", "1", "700B"], "the layer is the image's"
    verbose = build.pyctr.out("system", "df", "-v")
    assert "exec.cachemount" in verbose and "Build cache usage: 700B" in verbose
    build.pyctr("rmi", "x")
    assert cache() == ["3", "0", "5.7kB"]
    assert steps(build(dockerfile, "-t", "x"))[1].startswith("CACHED"), "rmi keeps what is cached"
    pruned = build.pyctr.out("builder", "prune", "-f")
    assert pruned.endswith("Total reclaimed space: 700B") and cache()[0] == "1"
    assert build.pyctr.out("builder", "prune", "-f", "--filter", "until=24h", "-a").endswith("0B")
    build.pyctr("builder", "prune", "-a", "-f")
    assert cache()[0] == "0"
    assert build.run("x", "wc", "-c", "/five") == "5000 /five", "the image has its layer"
    assert steps(build(dockerfile))[1].startswith("DONE")
    build.pyctr("system", "prune", "-a", "-f")
    assert cache()[0] == "0"
    assert os.listdir(f"{build.pyctr.root}/layers") == []
    assert os.listdir(f"{build.pyctr.root}/build-mounts") == []


def test_a_store_from_before_there_were_builds_is_upgraded(build: Builder) -> None:
    import sqlite3

    build.pyctr("create", "--name", "c", "base")
    db = sqlite3.connect(f"{build.pyctr.root}/state.db")
    db.executescript(
        "DROP TABLE build_cache; DROP INDEX volumes_leaving;"
        " ALTER TABLE volumes DROP COLUMN leaving; PRAGMA user_version = 3;"
    )
    db.close()
    assert build.run(build.image("FROM base\nRUN echo x > /x\n"), "cat", "/x") == "x"
    assert build.pyctr.out("ps", "-a", "--format", "{{.Names}}") == "c"


# -- crashes -------------------------------------------------------------------------------

POINTS = (
    "engine.build.workspace_made", "engine.build.workspace_made@2", "engine.build_run.assembled",
    "engine.build_run.started", "runtime.step.JoinCgroup.after", "images.build.stage.performed",
    "runtime.step.Execute.before",
    "images.build.site.changed", "images.build.site.changed@2", "images.build.site.adopted",
    "images.build.cache.recorded", "images.unpacking.written@2", "images.unpacking.renamed@2",
    "images.adding.content_kept", "images.adding.recorded", "engine.erase.files_moved",
)  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_at_any_point_the_same_build_works_and_nothing_is_left(
    build: Builder, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.file("a", "a")
    dockerfile = "FROM base\nRUN echo x > /x; echo y > /y\nCOPY a /\nRUN cat /x /a > /both\n"
    build.pyctr("create", "--name", "c", "base")
    monkeypatch.setenv("PYCTR_TRACE", f"kill:{point}")
    build.file("Dockerfile", dockerfile)
    killed = build.pyctr("build", "-t", "x", build.folder, code=None)
    monkeypatch.delenv("PYCTR_TRACE")
    assert killed.returncode not in (0, 125), f"the point was passed: {killed.stderr}"
    left = set(os.listdir(f"{build.pyctr.root}/containers"))
    own = build.pyctr.out("ps", "-aq", "--no-trunc")
    assert os.listdir(f"{build.pyctr.root}/containers") == [own]
    build.pyctr("build", "-t", "x", build.folder)
    assert build.run("x", "cat", "/both", "/y") == "x\nay"
    for identity in left - {own}:
        for hierarchy in os.listdir("/sys/fs/cgroup"):
            assert not os.path.isdir(f"/sys/fs/cgroup/{hierarchy}/pyctr/{identity}")


@pytest.mark.parametrize(
    "point",
    ["images.build.site.changed", "images.build.site.adopted", "images.build.cache.recorded",
     "images.unpacking.written", "images.unpacking.renamed", "engine.build.workspace_made@2"],
)  # fmt: skip
def test_a_failure_at_any_point_is_told_and_leaves_nothing(
    build: Builder, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.file("a", "a")
    dockerfile = "FROM base\nRUN echo x > /x\nCOPY a /\n"
    build.pyctr("create", "--name", "c", "base")
    monkeypatch.setenv("PYCTR_TRACE", f"fail:{point}")
    failed = build(dockerfile, code=1)
    assert "Dockerfile:" in failed.stderr and "failed on purpose" in failed.stderr
    monkeypatch.delenv("PYCTR_TRACE")
    assert len(os.listdir(f"{build.pyctr.root}/containers")) == 1, "that of c"
    assert build.run(build.image(dockerfile), "cat", "/x") == "x"


@pytest.mark.parametrize("point", ["images.build.site.adopted", "engine.build_run.started"])
def test_a_worker_that_is_killed_ends_the_build_and_nothing_is_left(
    build: Builder, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dockerfile = (
        "FROM base AS a\nRUN echo a > /a\nFROM base AS b\nRUN echo b > /b\n"
        "FROM base\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
    )
    build.pyctr("create", "--name", "c", "base")
    monkeypatch.setenv("PYCTR_TRACE", f"kill:{point}")
    assert "was killed" in build(dockerfile, code=1).stderr
    monkeypatch.delenv("PYCTR_TRACE")
    own = build.pyctr.out("ps", "-aq", "--no-trunc")
    assert os.listdir(f"{build.pyctr.root}/containers") == [own]
    assert build.run(build.image(dockerfile), "cat", "/a", "/b") == "a\nb"


def test_when_the_build_is_killed_its_workers_and_their_commands_end(build: Builder) -> None:
    script = "RUN echo begins; sleep 1000\n"
    build.file(
        "Dockerfile",
        f"FROM base AS a\n{script}FROM base AS b\n{script}FROM a\nCOPY --from=b / /b\n",
    )
    running = subprocess.Popen(
        build.pyctr.argv("build", build.folder), stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    begun = 0
    while begun < 2:
        begun += running.stderr.readline().rstrip().endswith(" begins")
        assert running.poll() is None
    running.kill()
    running.stderr.read()  # until nobody has it any more
    build.pyctr("ps", "-a")
    assert os.listdir(f"{build.pyctr.root}/containers") == []


def test_an_interrupted_build_ends_its_command_and_leaves_nothing(build: Builder) -> None:
    build.file("Dockerfile", "FROM base\nRUN echo begins; sleep 1000\n")
    for number in (signal.SIGINT, signal.SIGTERM):
        running = subprocess.Popen(
            build.pyctr.argv("build", build.folder), stderr=subprocess.PIPE, text=True
        )
        assert running.stderr is not None
        while "begins" not in running.stderr.readline().partition(" ")[2][:6]:
            assert running.poll() is None
        running.send_signal(number)
        running.stderr.read()  # until nobody has it any more: the command has ended
        assert running.wait(timeout=60) in (130, -signal.SIGTERM)
        build.pyctr("ps", "-a")
        assert os.listdir(f"{build.pyctr.root}/containers") == []


def test_ctrl_c_ends_all_stages_which_clean_up(build: Builder) -> None:
    """The terminal signals the whole process group, and the build its workers once more."""
    script = "RUN echo begins; sleep 1000\n"
    build.file(
        "Dockerfile",
        f"FROM base AS a\n{script}FROM base AS b\n{script}FROM a\nCOPY --from=b / /b\n",
    )
    running = subprocess.Popen(
        build.pyctr.argv("build", build.folder),
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert running.stderr is not None
    begun = 0
    while begun < 2:
        begun += running.stderr.readline().rstrip().endswith(" begins")
        assert running.poll() is None
    os.killpg(running.pid, signal.SIGINT)
    running.stderr.read()
    assert running.wait(timeout=60) == 130
    assert os.listdir(f"{build.pyctr.root}/containers") == []


# -- the example ---------------------------------------------------------------------------


def test_the_example_builds_on_any_base_that_has_what_it_installs(build: Builder) -> None:
    """The same Dockerfile, with a base whose apt-get does what is asked of it here."""
    build.image(
        "FROM base\n"
        "COPY --chmod=755 <<'EOF' /usr/bin/apt-get\n#!/bin/sh\necho apt-get $*\n"
        "[ $1 = update ] || touch /usr/bin/python3\nEOF\n",
        "-t", "debian",
    )  # fmt: skip
    ran = build.pyctr("build", "-t", "training/webapp", f"{PROJECT}/examples/webapp")
    assert "apt-get install -y --no-install-recommends python3" in ran.stderr
    found = build.config("training/webapp")
    assert set(found["Volumes"]) == {"/webapp"} and set(found["ExposedPorts"]) == {"5000/tcp"}
    assert build.run("training/webapp", "ls") == "app.py"


def test_the_example_builds_on_debian_and_counts_its_visits(build: Builder) -> None:
    """apt-get reaches Debian's packages through the default network, in a build as in a container;
    the count outlives the container's restart.
    """
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed: apt-get install mmdebstrap")
    root = f"{build.pyctr.root}/debian.tar"
    made = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=apt", "bookworm", root],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"Debian's packages cannot be reached: {made.stderr[-300:]}")
    build.pyctr("import", "-c", "CMD bash", root, "debian")
    os.unlink(root)
    bridge = ("--network", "bridge")
    updated = build.pyctr.out("run", "--rm", *bridge, "debian", "apt-get", "update")
    assert "Reading package lists..." in updated and "Err:" not in updated
    argv = build.pyctr.argv("build", *bridge, "-t", "training/webapp", f"{PROJECT}/examples/webapp")
    ran = subprocess.run(argv, timeout=300, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    flags = ("-d", "-P", *bridge, "--name", "web", "-v", "/webapp")
    build.pyctr("run", *flags, "training/webapp", "python", "app.py")
    assert visited(published(build)) == "Hello! You are visitor 1.\n"
    assert visited(published(build)) == "Hello! You are visitor 2.\n"
    build.pyctr("restart", "-t", "0", "web")
    assert visited(published(build)) == "Hello! You are visitor 3.\n"


def published(build: Builder) -> int:
    """The port of the host that leads to the application: another one after each start."""
    first = build.pyctr.out("port", "web", "5000/tcp").splitlines()[0]
    return int(first.rpartition(":")[2])


def visited(port: int) -> str:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline, "nobody answers"
            time.sleep(0.05)
