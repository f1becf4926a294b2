"""What is not as it should be: rooms find it in what they keep, `pyctr system check` tells it.

A room's ``check`` module yields findings while it looks, and changes nothing. A finding knows how
it is mended; who mends calls :meth:`Finding.repair` before it asks for the next one, so that what
is looked at later is seen as it is by then.
"""

from __future__ import annotations

import os
import stat

from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Finding(Record):
    """``about`` an object ("volume data"), ``what`` is wrong with it, and where (``path``).

    ``remedy`` says what :meth:`repair` does, or, where ``mend`` is None, what a person has to do.
    """

    about: str
    what: str
    path: str
    remedy: str
    mend: Callable[[], object] | None = None

    @property
    def is_mendable(self) -> bool:
        """Whether :meth:`repair` does what ``remedy`` says."""
        return self.mend is not None

    def repair(self) -> None:
        """Mends it. OSError or PyctrError if that fails."""
        if self.mend is not None:
            self.mend()


def wrong_mode(about: str, path: str, mode: int) -> Iterator[Finding]:
    """A folder that lets others do more than ``mode`` does, or belongs to somebody else.

    What is not there has no mode. Why it matters: CVE-2021-41091.
    """
    try:
        info = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    found = stat.S_IMODE(info.st_mode)
    if not found & ~mode and not info.st_uid:
        return

    def mend() -> None:
        os.chown(path, 0, 0, follow_symlinks=False)
        os.chmod(path, mode)

    what = f"its mode is {found:04o} and its owner {info.st_uid}"
    yield Finding(about, what, path, f"make them {mode:04o} and 0", mend)
