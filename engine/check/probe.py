"""What a probe is, what it finds, and the one place where it may write."""

from __future__ import annotations

import os

from kernel import tree
from kernel.errors import PyctrError
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.home import Home

OK = "OK"
LIMITED = "limited"
MISSING = "missing"


class Limited(PyctrError):
    """Raised by a probe where the thing is there, but less of it than elsewhere."""


class Probe(Record):
    """One question to the host.

    ``run`` returns what it found ("" if there is nothing to add), or raises OSError or a
    PyctrError: then it is missing, or only limited if the probe is ``lesser`` (pyctr has another
    way). ``advice`` says what does not work then, and what to do. Without an ``essential`` one no
    container starts.
    """

    name: str
    run: Callable[[Place], str]
    advice: str
    essential: bool = False
    lesser: bool = False


class Finding(Record):
    """The answer to one probe; ``advice`` is empty where all is well."""

    area: str
    name: str
    status: str
    detail: str
    advice: str
    essential: bool


class Place:
    """The host as probes see it: the folders of ``home``, and a folder for what they try.

    The folder stands where the root folder is or will be, because file systems differ; it is made
    when a probe first wants it, and removed by :meth:`leave`. Its name begins like those of
    skeletons that are being made, so that what a crash leaves is swept with them.
    """

    def __init__(self, home: Home) -> None:
        self.home = home
        base = f"{home.root}/skeletons"
        while not os.path.isdir(base):
            base = os.path.dirname(base)
        self.base = base
        self._scratch = f"{base}/.new-check-{os.getpid()}"

    def folder(self, name: str) -> str:
        """A new folder of that name for one probe."""
        if not os.path.isdir(self._scratch):
            self._sweep()
            os.mkdir(self._scratch, 0o700)
        made = f"{self._scratch}/{name}"
        os.mkdir(made)
        return made

    def leave(self) -> None:
        """Removes what probes have made."""
        _remove(self._scratch)

    def _sweep(self) -> None:
        for name in os.listdir(self.base):
            maker = name.removeprefix(".new-check-")
            if maker != name and not os.path.isdir(f"/proc/{maker}"):
                _remove(f"{self.base}/{name}")


def _remove(folder: str) -> None:
    """Removes a folder that nobody else can enter, also on a kernel without openat2(2)."""
    try:
        tree.remove_tree(folder)
    except OSError:
        import shutil

        shutil.rmtree(folder)
