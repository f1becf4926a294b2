"""Creating a container: everything is checked, then recorded in one transaction, then filled.

1. The image is found, requests become mounts, settings take over what the image says.
2. The container's folder is made and its lock taken, until the end: who wants to start or remove
   the container waits for its completion.
3. Folders of new volumes are made, and all volumes are held by a shared lock.
4. One transaction records the container ("creating"), its new volumes and its mounts. From here
   on no volume of it can be removed.
5. The writable layer is made; each new, empty volume gets the image's content.
6. The status becomes "created".

A crash leaves a folder, and after 4 a row, whose lock nobody holds; whoever meets them removes
them (reconcile).
"""

from __future__ import annotations

import os
import time

from engine import (
    containers,
    environment,
    events,
    health,
    limits,
    locks,
    names,
    network,
    publishing,
    reconcile,
    refusals,
    registries,
    skeleton,
    views,
)
from engine.containers import Container
from engine.erase import erase
from engine.errors import EngineError
from engine.settings import Settings
from kernel import process, trace
from kernel.errors import PyctrError
from kernel.record import Record
from overlay import view
from volumes import plan as volume_plan
from volumes.claim import Claim
from volumes.errors import VolumeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.home import Home
    from images.pull import Told
    from images.store import Image
    from network.requests import Attachment
    from network.store import Endpoint
    from volumes.plan import Mount
    from volumes.requests import From, Request
    from volumes.store import Volume

_planned = trace.point("engine.create.planned")
_folders_made = trace.point("engine.create.volume_folders_made")
_recorded = trace.point("engine.create.recorded")
_layer_made = trace.point("engine.create.layer_made")
_populated = trace.point("engine.create.populated")
_completed = trace.point("engine.create.completed")

_A_MOMENT = 5.0  # seconds
_FORBIDDEN = ("/proc", "/sys", "/dev")


class CreateRequest(Record):
    """What a person asked for; ``settings.args`` holds only the command given.

    ``entrypoint`` is None where the image's own counts, () where it was cleared. ``pull`` is
    always, missing or never (then ``base`` is not made either); ``platform`` is "" or what the
    image must be for (:mod:`images.platforms`). ``networks`` are all that it is to be in;
    ``settings.network`` is the first of them.
    """

    image: str
    settings: Settings
    name: str = ""
    entrypoint: tuple[str, ...] | None = None
    volumes: tuple[Request, ...] = ()
    volumes_from: tuple[From, ...] = ()
    pull: str = "missing"
    platform: str = ""
    networks: tuple[Attachment, ...] = ()


def create(
    home: Home,
    request: CreateRequest,
    warn: Callable[[str], None],
    tell: Callable[[str], None] | None = None,
    told: Told | None = None,
) -> Container:
    """Makes a container; ``warn`` gets sentences for the person. Nothing is left of a failure.

    ``tell`` is told what takes a while, such as an image that has to be made first; ``told`` what
    happens to the layers of an image that is pulled (:mod:`images.pull`).
    """
    if request.name and not containers.is_name(request.name):
        raise EngineError(
            f"invalid container name {request.name!r}",
            "it is made of a-z A-Z 0-9 _ . - and begins with a letter or digit",
        )
    if request.name:
        _make_way(home, request.name)
    image = _image(home, request, tell, told)
    settings = limits.checked(views.resolved(home, complete(request, image)), warn)
    settings = publishing.checked(settings, request.image, image.config.exposed_ports, warn)
    refusals.check(home, settings, warn)
    sources = [_source(home, one.container) for one in request.volumes_from]
    mounts = volume_plan.plan(
        request.volumes, _inherited(home, request, sources), image.config.volumes
    )
    _check(mounts)
    _planned()
    identity = os.urandom(32).hex()
    made = Container(
        identity, request.name or names.generate(), image.id, request.image, time.time(),
        settings, "creating", os.getpid(), process.start_time(os.getpid()),
    )  # fmt: skip
    endpoints = network.endpoints(home, identity, request.networks)
    if endpoints:
        settings = settings.replace(network=endpoints[0].network.name)
        made = made.replace(settings=settings)
    with locks.new_folder(home, identity):
        try:
            with Claim(home.volumes) as claim:
                mounts = claim.take(mounts)
                for source in sources:  # their volumes are held now, and were theirs until now
                    containers.require(home, source)
                _folders_made()
                made = _record(
                    home, made, mounts, claim.volumes, endpoints, named=bool(request.name)
                )
            _recorded()
            _make_folders(home, made, image)
            _layer_made()
            _populate(home, made, image, mounts, warn)
            _populated()
            containers.update(home, identity, status="created", pid=0, start_time=0)
            _completed()
        except BaseException:
            _undo(home, made)
            raise
    made = made.replace(status="created", pid=0, start_time=0)
    events.of_container(home, made, "create")
    return made


def _undo(home: Home, made: Container) -> None:
    """Removes what there is of a container. What went wrong is told, not what goes wrong here: the
    disk may be full. The next command does it then.
    """
    try:
        erase(home, made, volumes="free")
    except (OSError, PyctrError, home.db.Error):
        return


def _image(
    home: Home,
    request: CreateRequest,
    tell: Callable[[str], None] | None,
    told: Told | None,
) -> Image:
    image = registries.image_for(home, request.image, request.pull, request.platform, tell, told)
    if request.platform:
        from images import platforms

        own, wanted = platforms.of(image.config), platforms.parse(request.platform)
        if own != wanted:
            raise EngineError(
                f"cannot use image {request.image}", f"it is for {own}, not for {wanted}"
            )
    return image


def complete(request: CreateRequest, image: Image) -> Settings:
    """The settings with what the image says where the person said nothing."""
    own, config = request.settings, image.config
    if request.entrypoint is None:
        entrypoint, command = config.entrypoint, own.args or config.cmd
    else:  # an entrypoint of one's own clears the image's command
        entrypoint, command = request.entrypoint, own.args
    if not (*entrypoint, *command):
        raise EngineError(
            "no command was given",
            f"and image {request.image} names none",
            f"pyctr run {request.image} COMMAND",
        )
    env = environment.merged(config.env, own.env)
    return own.replace(
        args=(*entrypoint, *command),
        path_length=len(entrypoint),
        env=env,
        working_dir=own.working_dir or config.working_dir or "/",
        user=own.user or config.user,
        labels={**config.labels, **own.labels},
        stop_signal=own.stop_signal or config.stop_signal,
        health=health.merged(own.health, config.healthcheck),
        shell=config.shell,
    )


def _source(home: Home, text: str) -> Container:
    """A container of --volumes-from; its volumes have their first content."""
    found = reconcile.find(home, text)
    return locks.wait(home, found) if found.status == "creating" else found


def _inherited(
    home: Home, request: CreateRequest, sources: list[Container]
) -> list[tuple[tuple[Mount, ...], bool]]:
    wanted = zip(request.volumes_from, sources, strict=True)
    return [(home.volumes.mounts(source.id), one.readonly) for one, source in wanted]


def _check(mounts: tuple[Mount, ...]) -> None:
    """Refuses what would hide the kernel's files, and --mount of a host folder that is missing."""
    for mount in mounts:
        if mount.destination in _FORBIDDEN or mount.destination.startswith("/proc/"):
            raise VolumeError(
                f"invalid mount on {mount.destination}",
                "it would hide the container's own /proc, /sys or /dev",
                "choose another destination; below /dev and /sys is fine",
            )
        if mount.kind == "bind" and not mount.make_source and not os.path.exists(mount.source):
            raise VolumeError(
                f"invalid mount on {mount.destination}",
                f"bind source path does not exist: {mount.source}",
                "make it first, or use --volume, which makes a missing folder",
                mount.source,
            )


def _record(
    home: Home,
    made: Container,
    mounts: tuple[Mount, ...],
    volumes: list[Volume],
    endpoints: list[Endpoint],
    *,
    named: bool,
) -> Container:
    while True:
        try:
            with home.db:
                home.db.execute("BEGIN IMMEDIATE")
                containers.insert(home, made)
                home.volumes.insert(volumes)
                home.volumes.attach(made.id, mounts)
                home.networks.attach(endpoints)
                publishing.record(home, made)
            return made
        except home.db.IntegrityError as error:
            if "containers.name" not in str(error):
                there = home.images.lookup(made.image_id)
                gone = "one of its networks" if there else f"image {made.image}"
                raise EngineError(
                    f"cannot create container {made.name}", f"{gone} was removed just now"
                ) from None
        if not named:
            made = made.replace(name=names.with_number(names.generate()))
            continue
        other = containers.named(home, made.name)
        if other is not None and not _leaves(home, other):
            raise _taken(other)


def _make_way(home: Home, name: str) -> None:
    """Finishes a removal of a container of that name; EngineError if there is one to stay.

    That can wait for volumes, so it comes before we hold any.
    """
    other = containers.named(home, name)
    if other is not None and reconcile.mend(home, other):
        other = containers.named(home, name)
    if other is not None:
        raise _taken(other)


def _leaves(home: Home, other: Container) -> bool:
    """Whether a container that has just taken a name is gone within a moment.

    Its removal may wait for the volumes that we hold, but its row goes before.
    """
    deadline = time.monotonic() + _A_MOMENT
    while time.monotonic() < deadline:
        fresh = containers.get(home, other.id)
        if fresh is None:
            return True
        if not reconcile.is_leaving(fresh):
            return False
        time.sleep(0.005)
    return False


def _taken(other: Container) -> EngineError:
    return EngineError(
        f"the container name {other.name} is already in use",
        f"by container {other.short_id}",
        f"remove it (pyctr rm {other.name}), or choose another name",
    )


def _make_folders(home: Home, made: Container, image: Image) -> None:
    """The writable layer. Its attributes are what overlayfs shows as the root's: the image's."""
    folder = home.folder(made.id)
    for name in ("upper", "work", "rootfs"):
        os.mkdir(f"{folder}/{name}", 0o755)
    view.like_root_of(skeleton.lower(home, image)[0], f"{folder}/upper")


def _populate(
    home: Home,
    made: Container,
    image: Image,
    mounts: tuple[Mount, ...],
    warn: Callable[[str], None],
) -> None:
    wanted = [m for m in mounts if m.kind == "volume" and m.copy]
    if not wanted:
        return
    from volumes import populate

    root = view.opened(home.images.lower(image.config), f"{home.folder(made.id)}/rootfs")
    try:
        for mount in wanted:

            def busy(name: str = mount.source) -> str:
                return _running_user(home, name)

            said = populate.populate(
                home.volumes.folder(mount.source), root, mount.destination, busy
            )
            if said:
                warn(said)
    finally:
        os.close(root)


def _running_user(home: Home, volume: str) -> str:
    """The name of a running container that has the volume, "" if none."""
    for container_id in home.volumes.users(volume):
        container = containers.get(home, container_id)
        if container is not None and containers.is_running(container):
            return container.name
    return ""
