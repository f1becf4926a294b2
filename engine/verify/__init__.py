"""`pyctr system check`: whether what pyctr keeps fits itself and the kernel.

Each room knows what is wrong with its own (``volumes.check``, ``images.check``); here are the
database, containers, networks, and the order: what the database lost comes first, because all the
others are read from it. What the host offers is another question: :mod:`engine.check`.
"""

from __future__ import annotations

import os

from engine.verify import containers, database, folders, networks
from images import check as images
from volumes import check as volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.home import Home
    from kernel.finding import Finding


def findings(home: Home, *, thorough: bool) -> Iterator[Finding]:
    """What is wrong, one after the other; nothing is made, and nothing changed.

    With ``thorough`` the content of images is read and compared with its digests. While the
    database cannot be read, that is the only finding.
    """
    yield from folders.check(home)
    for check in (database.check_file, database.check_rows):
        found = list(check(home))
        yield from found
        if found and list(check(home)):  # it was not mended
            return
        if not os.path.exists(database.path(home)):
            return
    yield from volumes.check(home.volumes)
    yield from images.check(home.images, thorough=thorough)
    yield from database.check_links(home)
    yield from containers.check(home)
    yield from networks.check(home)
