"""How commands change the world of the model: a generator each, which yields after each step.

Where it yields, a command that was killed may have ended for good. The last world is that of a
command that was not. Whoever kills a container on the way adds :func:`deaths`.
"""

from __future__ import annotations

from tests.reliability.model_world import (
    KILLED,
    Container,
    From,
    Image,
    Mount,
    Program,
    Refused,
    Source,
    Volume,
    World,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def create(
    world: World,
    name: str,
    tag: str,
    program: Program,
    sources: list[Source],
    froms: list[From],
    auto_remove: bool,
) -> Iterator[None]:
    """Volumes are made; the container is recorded; volumes get their first content; it is there."""
    if name in world.containers:
        raise Refused(125)
    image = world.tagged(tag, 125)
    wanted = _wanted(world, image, sources, froms)
    made = Container(name, image, program, auto_remove, {})
    anonymous = []
    for folder, source in sorted(wanted.items()):
        mount = source if isinstance(source, Mount) else _claim(world, source)
        made.mounts[folder] = mount
        if isinstance(source, Source) and not source.name:
            anonymous.append(mount.volume)
            mount.volume.files = {}  # a creation that is killed leaves it empty, or not at all
        yield
    world.volumes = [one for one in world.volumes if one not in anonymous]
    yield  # the next command takes the container that was being made away, and what is only its own
    for folder, source in sorted(wanted.items()):
        if isinstance(source, Source) and source.copy:
            _populate(world, made, folder)
            yield
    world.volumes += anonymous
    world.containers[name] = made
    yield


def _wanted(
    world: World, image: Image, sources: list[Source], froms: list[From]
) -> dict[str, Source | Mount]:
    """Who wins a folder: a named volume, --volumes-from, -v without a name, the image."""
    wanted: dict[str, Source | Mount] = {folder: Source(folder) for folder in image.volumes}
    wanted |= {one.folder: one for one in sources if not one.name}
    for one in froms:
        if one.container not in world.containers:
            raise Refused(125)
        for folder, mount in world.containers[one.container].mounts.items():
            wanted[folder] = Mount(mount.volume, mount.readonly or one.readonly)
    return wanted | {one.folder: one for one in sources if one.name}


def _claim(world: World, source: Source) -> Mount:
    volume = world.volume(source.name) if source.name else None
    if volume is None:
        volume = Volume(source.name, not source.name)
        world.volumes.append(volume)
    return Mount(volume, source.readonly)


def _populate(world: World, made: Container, folder: str) -> None:
    """A volume that is empty, and in no running container, starts with the image's content."""
    volume = made.mounts[folder].volume
    if volume.files or any(one.status == "running" for one in world.users(volume)):
        return
    volume.files = {path.partition("/")[2]: text for path, text in made.image.files.items()
                    if path.startswith(f"{folder}/")}  # fmt: skip


def start(world: World, one: Container) -> Iterator[None]:
    """The program runs: what sleeps goes on, everything else ends at once."""
    if one.status == "running":
        return
    program, before, code = one.program, (one.status, one.code), 0
    one.code = None
    yield  # it could not be started
    if program.kind == "sleep":
        one.status, one.code = "running", 0
        yield
        return
    for _ in _doing(one, program):
        for status in (before[0], "exited"):  # its start was on record or not
            one.status = status
            yield
    if program.kind == "append":
        code = program.code if one.is_writable(program.path) else 1
    elif not one.listing():
        code = 1  # grep found nothing
    one.status, one.code = "exited", code
    yield
    if one.auto_remove:
        yield from erase(world, one, free=True)


def _doing(one: Container, program: Program) -> Iterator[None]:
    yield
    if program.kind == "append" and one.is_writable(program.path):
        yield from one.appending(program)


def end(world: World, one: Container) -> Iterator[None]:
    """It is killed, or its monitor is, and the kernel kills it."""
    if one.status != "running":
        return
    one.status, one.code = "exited", KILLED
    yield
    if one.auto_remove:
        yield from erase(world, one, free=True)


def erase(world: World, one: Container, *, free: bool) -> Iterator[None]:
    """The container goes, then each anonymous volume that nobody has any more."""
    mine = {mount.volume: None for _, mount in sorted(one.mounts.items())}
    del world.containers[one.name]
    yield
    for volume in mine:
        if volume.anonymous and not world.users(volume):
            world.volumes.remove(volume)
            if not free:
                world.trash.append(volume)
            yield


def remove(world: World, name: str, *, force: bool, volumes: bool) -> Iterator[None]:
    """`rm`."""
    if force and name not in world.containers:
        return
    one = world.container(name)
    if one.status == "running":
        if not force:
            raise Refused
        yield from end(world, one)
    if name in world.containers:
        yield from erase(world, one, free=volumes or one.auto_remove)


def restart(world: World, one: Container) -> Iterator[None]:
    """`restart`: what goes with its end cannot be started again."""
    yield from end(world, one)
    if one.name in world.containers:
        yield from start(world, one)
    else:
        world.code = 1


def rename(world: World, name: str, new: str) -> Iterator[None]:
    one = world.container(name)
    if new == name:
        return
    if new in world.containers:
        raise Refused
    del world.containers[name]
    one.name = new
    world.containers[new] = one
    yield


def commit(world: World, name: str, tag: str) -> Iterator[None]:
    """The layer's files and none of a volume's; the tag moves."""
    one = world.container(name)
    files = {p: text for p, text in (one.image.files | one.layer).items() if text is not None}
    _untag(world, tag)
    world.images.append(Image("", files, one.image.volumes, {tag}))
    yield


def tag_image(world: World, tag: str, new: str) -> Iterator[None]:
    image = world.tagged(tag)
    _untag(world, new)
    image.tags.add(new)
    yield


def _untag(world: World, tag: str) -> None:
    for image in world.images:
        image.tags.discard(tag)


def untag(world: World, tag: str) -> Iterator[None]:
    """`rmi`: the image goes with its last tag, unless a container has it."""
    image = world.tagged(tag)
    if image.tags == {tag}:
        if any(one.image is image for one in world.containers.values()):
            raise Refused
        world.images.remove(image)
    image.tags.discard(tag)
    yield


def create_volume(world: World, name: str) -> Iterator[None]:
    if world.volume(name) is None:
        world.volumes.append(Volume(name, anonymous=False))
    yield


def remove_volume(world: World, name: str) -> Iterator[None]:
    volume = world.volume(name)
    if volume is None or world.users(volume):
        raise Refused
    world.volumes.remove(volume)
    yield


def restore(world: World, name: str) -> Iterator[None]:
    volume = next((one for one in world.trash if one.name == name), None)
    if volume is None:
        raise Refused
    world.trash.remove(volume)
    world.volumes.append(volume)
    yield


def prune(world: World, trash: list[str], *, named: bool) -> Iterator[None]:
    """`volume prune`: by name, then the trash, in the order of its folder."""
    for volume in sorted(world.unused(named=named), key=lambda one: one.name):
        world.volumes.remove(volume)
        yield
    for name in trash:
        world.trash = [one for one in world.trash if one.name != name]
        yield


def prune_images(world: World) -> Iterator[None]:
    """`image prune`: those that have no tag and no container."""
    used = [one.image for one in world.containers.values()]
    world.images = [one for one in world.images if one.tags or one in used]
    yield
