"""Images and registries: pulling and pushing with this person's credentials and this host's rules.

Plain HTTP is for loopback addresses and for the registries that the configuration calls insecure;
TLS that nobody vouches for only for the latter (:mod:`images.trust`).
"""

from __future__ import annotations

from engine import config
from engine.errors import EngineError
from images import references
from images.errors import ImageError, ImageNotFound
from overlay.errors import OverlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.home import Home
    from images.credentials import Credentials
    from images.pull import Pulled, Told
    from images.push import Pushed
    from images.references import Reference
    from images.registry import Registry
    from images.store import Image


def registry(host: str, credentials: Credentials | None = None) -> Registry:
    """A registry, as whoever is logged in there, or with the given credentials."""
    from images import credentials as known
    from images.registry import Registry

    insecure = host in config.current().insecure_registries
    return Registry(host, credentials or known.find(host), insecure=insecure)


def pull(home: Home, reference: Reference, platform: str, told: Told) -> Pulled:
    """Brings an image in; ``platform`` is "" for that of this machine."""
    from images import platforms
    from images import pull as pulling

    wanted = platforms.parse(platform) if platform else None
    return pulling.pull(
        home.images, registry(reference.domain), reference, platform=wanted, told=told
    )


def push(home: Home, reference: Reference, told: Told) -> Pushed:
    """Sends an image away."""
    from images import push as pushing

    return pushing.push(home.images, registry(reference.domain), reference, told=told)


def image_for(
    home: Home,
    name: str,
    policy: str,
    platform: str,
    tell: Callable[[str], None] | None,
    told: Told | None,
) -> Image:
    """The image that a container is made of; ``policy`` is missing, always or never.

    ``tell`` gets sentences about what takes a while, ``told`` what happens to layers.
    """
    if policy != "always":
        try:
            return home.images.resolve(name, make=policy != "never", tell=tell)
        except ImageNotFound:
            if policy == "never" or not _is_name(name):
                raise
    reference = references.parse(name)
    if tell is not None and policy == "missing":
        tell(f"image {reference.familiar} is not here: pulling it")
    try:
        pulled = pull(home, reference, platform, told or (lambda *_what: None))
    except (ImageError, OverlayError) as error:
        raise EngineError(
            f"cannot pull image {reference.familiar}",
            str(error),
            error.hint or "without a registry: pyctr image load, or pyctr image import",
        ) from None
    return home.images.get(pulled.image_id)


def _is_name(text: str) -> bool:
    try:
        references.parse(text)
    except ImageError:
        return False
    return True
