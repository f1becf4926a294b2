"""The state folders: nobody but root may look into them or reach files through them.

Layers and volumes may hold files that are setuid for somebody (CVE-2021-41091).
"""

from __future__ import annotations

from kernel.finding import wrong_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.home import Home
    from kernel.finding import Finding


def check(home: Home) -> Iterator[Finding]:
    """Modes and owners of the folders that are there; those of a room are its own affair."""
    yield from wrong_mode("the root folder", home.root, 0o711)
    yield from wrong_mode("the database", f"{home.root}/state.db", 0o600)
    yield from wrong_mode("the run folder", home.run, 0o755)
    yield from wrong_mode("the folder of containers", f"{home.root}/containers", 0o711)
    yield from wrong_mode("the folder of skeletons", f"{home.root}/skeletons", 0o711)
    yield from wrong_mode("the folder of lost containers", f"{home.root}/lost", 0o700)
