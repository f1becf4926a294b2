"""What a container gets: requests, inherited volumes and the image's VOLUMEs become one list.

Pure. Who wins one destination: an explicit request (``--mount``, ``--tmpfs``, ``-v`` with a
source), then ``--volumes-from`` (a later one over an earlier one), then ``-v /path``, then VOLUME
of the image.
"""

from __future__ import annotations

from kernel.record import Record
from volumes.errors import VolumeError
from volumes.requests import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Mount(Record):
    """One mount of a container.

    ``kind`` is volume, bind or tmpfs; ``source`` a volume's name ("" before an anonymous one is
    made) or a host path; ``copy`` whether a new volume takes the image's content; ``options`` are
    words of mount(8).
    """

    kind: str
    destination: str
    source: str = ""
    readonly: bool = False
    copy: bool = True
    options: tuple[str, ...] = ()
    make_source: bool = False


def plan(
    requests: Iterable[Request],
    inherited: Iterable[tuple[tuple[Mount, ...], bool]] = (),
    image_volumes: Iterable[str] = (),
) -> tuple[Mount, ...]:
    """The mounts in the order in which they must be made: parents before what is below them.

    ``inherited`` are (mounts of a container, read-only) in the order of --volumes-from.
    VolumeError for two different explicit requests for one destination.
    """
    requests = list(requests)
    decided: dict[str, Mount] = {}
    for path in image_volumes:
        anonymous = _of_image(path)
        decided[anonymous.destination] = anonymous
    for request in requests:
        if not request.explicit:
            decided[request.destination] = _mount(request)
    for mounts, readonly in inherited:
        for mount in mounts:
            if mount.kind != "tmpfs":
                decided[mount.destination] = mount.replace(readonly=mount.readonly or readonly)
    decided |= _explicit([request for request in requests if request.explicit])
    ordered = sorted(decided.values(), key=lambda m: (m.destination.count("/"), m.destination))
    return tuple(ordered)


def _explicit(requests: list[Request]) -> dict[str, Mount]:
    taken: dict[str, Request] = {}
    for request in requests:
        other = taken.setdefault(request.destination, request)
        if other != request:
            raise VolumeError(
                f"duplicate mount point {request.destination}",
                f"{_name(other)} and {_name(request)} are both asked for there",
                "give each its own destination",
            )
    return {destination: _mount(request) for destination, request in taken.items()}


def _name(request: Request) -> str:
    return f"{request.kind} {request.source}".strip()


def _mount(request: Request) -> Mount:
    return Mount(
        request.kind,
        request.destination,
        request.source,
        request.readonly,
        request.copy,
        request.options,
        request.make_source,
    )


def _of_image(path: str) -> Mount:
    from volumes.requests import parse_volume

    if ":" in path:
        raise VolumeError(f"the image's VOLUME {path!r} is refused", "a path may not hold a colon")
    return _mount(parse_volume(path))
