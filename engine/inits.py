"""--init: a small program of the host as the container's first process.

It passes signals on and reaps orphans, which a program that was not written as process 1 does not.
It stands at /dev/init: the container's own /dev is a tmpfs, so that nothing of it shows in a diff
or a commit. It is bound from the host, and must therefore need nothing else: a dynamic one would
look for its libraries in the image.
"""

from __future__ import annotations

import os

from engine.errors import EngineError
from runtime import programs

PLACE = "/dev/init"
_NAMES = ("tini-static", "tini", "catatonit")


def find() -> str:
    """The path of a static init on this host's PATH; EngineError says what to install."""
    dynamic = ""
    for name in _NAMES:
        for folder in os.environ.get("PATH", os.defpath).split(":"):
            path = f"{folder}/{name}"
            if not (folder.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK)):
                continue
            if programs.is_static(path):
                return path
            dynamic = dynamic or path
    raise EngineError(
        "cannot run an init in the container",
        f"{dynamic} is not statically linked" if dynamic else "there is no tini or catatonit here",
        "apt-get install tini",
    )


def arguments(path: str, *, alone: bool) -> list[str]:
    """What stands before the program; ``alone`` if the pid namespace is the container's own.

    Otherwise somebody else is process 1 there, and orphans would be his: tini is told to adopt
    them (PR_SET_CHILD_SUBREAPER), catatonit does so anyway.
    """
    adopt = [] if alone or not os.path.basename(path).startswith("tini") else ["-s"]
    return [PLACE, *adopt, "--"]


def mount(path: str) -> dict[str, object]:
    """Its place in the container, as a mount of the specification."""
    options = ["bind", "rprivate", "ro", "nosuid", "nodev"]
    return {"destination": PLACE, "type": "bind", "source": path, "options": options}
