"""`build`: an image from a Dockerfile."""

from __future__ import annotations

import os
import sys

from cli import steps
from cli.creation import readers
from cli.errors import UsageError
from cli.options import Command, Parsed, option, refused, several, value
from cli.shared import note
from engine import home
from images import clock, references
from network import requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from images.pull import Told
    from images.references import Reference

_EPOCH = "SOURCE_DATE_EPOCH"
_SECRET_MAX = 500 << 10  # bytes; as Docker
_ELSEWHERE = "the image is always in the store; pyctr image save writes it elsewhere"
_NO_BUILDKIT = "pyctr builds by itself, without BuildKit"


def _build(parsed: Parsed) -> int:
    from engine import build
    from images.build.errors import StepFailed
    from images.build.site import Request
    from kernel import tree

    quiet = parsed.quiet or parsed.progress == "quiet"
    shown = steps.Steps(sys.stderr, "quiet" if quiet else parsed.progress)
    arguments = _arguments(parsed)
    wanted = Request(
        tuple(parsed.tag),
        arguments,
        dict(parsed.label),
        dict(parsed.secret),
        parsed.target or "",
        parsed.platform,
        parsed.network,
        parsed.no_cache,
        clock.read(arguments[_EPOCH]) if arguments.get(_EPOCH) else clock.epoch(),
    )
    pull = "always" if parsed.pull else "missing"
    request = build.BuildRequest(parsed.words[0], sys.stdin.buffer, wanted, parsed.file or "", pull)
    if parsed.iidfile and os.path.exists(parsed.iidfile):
        os.unlink(parsed.iidfile)  # nobody takes an old id for the new one
    here = home.find()
    try:
        made = build.build(here, request, shown, note, _pulled(quiet))
    except StepFailed as error:
        shown.end()
        _tell_output(error.output)
        raise
    finally:
        shown.end()
    if parsed.iidfile:
        tree.write_atomically(parsed.iidfile, f"sha256:{made}".encode(), 0o644, sync=False)
    if quiet:
        print(f"sha256:{made}")
    else:
        names = "".join(f"\nnamed {name.familiar}" for name in wanted.names)
        print(f"built sha256:{made}{names}", file=sys.stderr)
    return 0


def _pulled(quiet: bool) -> Told:
    """Shows the layers of an image that is pulled, if one is."""
    shown: list[Told] = []

    def told(digest: str, state: str, done: int, total: int) -> None:
        if not shown:
            from cli.layers import Layers

            shown.append(Layers(sys.stderr, "pull", quiet=quiet))
        shown[0](digest, state, done, total)

    return told


def _tell_output(output: tuple[str, ...]) -> None:
    if output:
        print("------", *output, "------", sep="\n", file=sys.stderr)


def _arguments(parsed: Parsed) -> dict[str, str]:
    """--build-arg; a bare name is that of the environment, if it is there. Checks --label, too."""
    found: dict[str, str] = {}
    for word in parsed.build_arg:
        name, sign, given = word.partition("=")
        if sign:
            found[name] = given
        elif name in os.environ:
            found[name] = os.environ[name]
    for name, given in (*found.items(), *parsed.label):
        try:
            f"{name}={given}".encode()
        except UnicodeEncodeError:
            what = f"invalid argument {name}={given}"
            raise UsageError(what, "an image's configuration is UTF-8") from None
    return found


def _name(text: str) -> Reference:
    found = references.parse(text)
    if found.digest:
        raise ValueError("a name of one's own has no digest")
    return found


def _network(text: str) -> str:
    found = requests.parse(text)
    if not found.is_plain or found.network.startswith("container:"):
        raise ValueError("it is default, host, none or the name of a network")
    return requests.DEFAULT if found.network == "default" else found.network


def _progress(text: str) -> str:
    if text not in ("auto", "plain", "quiet"):
        raise ValueError("it is auto, plain or quiet")
    return text


def _secret(text: str) -> tuple[str, bytes]:
    """``id=NAME[,src=FILE]`` or ``id=NAME,env=VARIABLE``: the id and the content."""
    fields: dict[str, str] = {}
    for word in text.split(","):
        key, sign, given = word.partition("=")
        key = {"src": "source"}.get(key, key)
        if not sign or key not in ("id", "source", "env", "type"):
            raise ValueError(f"{word!r} is none of id=, src=, env=, type=")
        fields[key] = given
    kind = fields.get("type", "env" if "env" in fields else "")
    if kind not in ("", "file", "env"):
        raise ValueError("the type is file or env")
    name = fields.get("id") or os.path.basename(fields.get("source", ""))
    if not name:
        raise ValueError("an id is missing")
    source = fields.get("source") or fields.get("env") or name
    if kind == "env" or (not kind and "source" not in fields and source in os.environ):
        if source not in os.environ:
            raise ValueError(f"there is no variable {source}")
        return name, os.environ[source].encode(errors="surrogateescape")
    try:
        with open(source, "rb") as file:
            content = file.read(_SECRET_MAX + 1)
    except OSError as error:
        raise ValueError(f"{source}: {(error.strerror or '').lower()}") from None
    if len(content) > _SECRET_MAX:
        raise ValueError(f"it is larger than {_SECRET_MAX} bytes")
    return name, content


COMMANDS: tuple[Command, ...] = (
    Command(
        "build",
        "PATH|-",
        "Build an image from a Dockerfile.",
        _build,
        (
            several("-t --tag", "NAME[:TAG]", "A name of the image", read=_name),
            value("-f --file", "FILE", "The Dockerfile, - for standard input; PATH/Dockerfile if"
                  " not given"),
            several("--build-arg", "NAME[=VALUE]", "A value for an ARG; without one, that of the"
                    " environment", read=readers.env),
            value("--target", "STAGE", "Build this stage instead of the last"),
            option("--no-cache", "Do every step again"),
            option("--pull", "Ask the registry whether a base image is newer"),
            several("--label", "KEY[=VALUE]", "A label of the image", read=readers.label),
            value("--network", "default|host|none|NETWORK", "The network of RUN: the default one,"
                  " the host's, none, or another", read=_network, default=requests.DEFAULT),
            value("--platform", "SYSTEM/ARCHITECTURE", "Images for this platform", default="",
                  read=readers.platform),
            several("--secret", "id=NAME[,src=FILE|,env=NAME]", "A secret for RUN"
                    " --mount=type=secret", read=_secret),
            value("--iidfile", "FILE", "Write the image's id into this file"),
            value("--progress", "auto|plain|quiet", "How steps are shown", read=_progress,
                  default="auto"),
            option("-q --quiet", "Only the id in the end"),
            refused("--add-host", "RUN has the host's own names"),
            refused("--allow", "nothing needs to be allowed: RUN has a container's usual rights"),
            refused("--annotation", "an image here has labels"),
            refused("--attest", "attestations are not made"),
            refused("--build-context", "COPY --from and FROM name images"),
            refused("--builder", _NO_BUILDKIT),
            refused("--cache-from", "the cache is that of this host"),
            refused("--cache-to", "the cache is that of this host"),
            refused("--call", "it only builds"),
            refused("--cgroup-parent", "RUN is not limited"),
            refused("--check", "mistakes are told when it builds"),
            refused("-D --debug", "output of failing steps is always shown"),
            refused("--load", _ELSEWHERE),
            refused("--metadata-file", "--iidfile writes the image's id"),
            refused("--no-cache-filter", "--no-cache is for all stages"),
            refused("-o --output", _ELSEWHERE),
            refused("--policy", "there are no policies"),
            refused("--provenance", "attestations are not made"),
            refused("--push", "push it afterwards: pyctr push NAME"),
            refused("--sbom", "attestations are not made"),
            refused("--shm-size", "RUN has 64 MB of shared memory"),
            refused("--ssh", "use a secret"),
            refused("--ulimit", "RUN has this process's own limits"),
        ),
        at_least=1,
        at_most=1,
        details="PATH is the folder that COPY and ADD copy from, without what its .dockerignore"
        " names; - reads\nan archive of it, or just a Dockerfile, from standard input. A step is"
        " done again only when its\ninstruction, the files that it copies, or a step before it have"
        " changed. VOLUME --reset in a\nDockerfile drops the volumes of its base.",
        examples=(
            "pyctr build -t training/webapp .",
            "pyctr build --build-arg VERSION=2 --target test -q .",
            "printf 'FROM base\\nRUN echo hello > /greeting\\n' | pyctr build -t greeting -",
        ),
    ),
)  # fmt: skip
