"""The host starts and ends: which containers come back, and how all of them are ended.

There is no daemon that would do it; systemd calls two commands (see :mod:`engine.service`). What
they end is not stopped by a person, so `unless-stopped` containers come back with the host.

Source: Docker's documentation, "Start containers automatically".
"""

from __future__ import annotations

import os
import time

from engine import containers, events, pause, reconcile, restart, start, stop, views
from kernel import trace
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.containers import Container
    from engine.home import Home

_asked = trace.point("engine.boot.asked")

_LOOK = 1.0  # seconds between two looks at those that are to end


def start_all(home: Home, told: Callable[[Container, PyctrError | None], None]) -> None:
    """Starts the containers whose policy says so and that do not run.

    ``told`` hears of each, with the error if it could not be started. What runs is left alone, so
    a second call does nothing.
    """
    reconcile.mend_all(home)
    for one in _in_order(containers.listing(home)):
        if one.status not in ("created", "exited") or not restart.is_due_at_boot(one):
            continue
        try:
            start.start(home, one).connection.close()
            told(one, None)
        except PyctrError as error:
            told(one, error)


def _in_order(found: list[Container]) -> list[Container]:
    """The oldest first, but those whose namespaces others join before the others."""
    by_id = {one.id: one for one in found}
    ordered: dict[str, Container] = {}

    def place(one: Container) -> None:
        for other in views.others(one.settings):
            if other in by_id and other not in ordered:
                place(by_id[other])
        ordered[one.id] = one

    for one in reversed(found):
        place(one)
    return list(ordered.values())


def stop_all(
    home: Home, timeout: float | None, told: Callable[[Container, PyctrError | None], None]
) -> None:
    """Ends all containers at once: each is asked, and killed after its own patience.

    ``timeout`` takes the place of that patience (-1: never kill).
    """
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one descriptor for each container
    reconcile.mend_all(home)
    up = [one for one in containers.listing(home) if one.status in containers.UP]
    waiting: list[tuple[Container, int, float]] = []
    for one in up:
        containers.mark_stopped(home, one.id, containers.BY_SYSTEM)
        pidfd = stop.open_pidfd(one)
        if pidfd < 0:  # it is restarting, or has just ended
            continue
        patience = one.settings.stop_timeout if timeout is None else timeout
        pause.thaw(home, one)
        stop.signal(home, one, pidfd, stop.stop_signal(one))
        until = time.monotonic() + patience if patience >= 0 else float("inf")
        waiting.append((one, pidfd, until))
    _asked()
    for one, pidfd, until in sorted(waiting, key=lambda entry: entry[2]):
        while not stop.ended(pidfd, min(_LOOK, max(0.0, until - time.monotonic()))):
            if time.monotonic() >= until:
                stop.force(home, one, pidfd)
        os.close(pidfd)
    for one in up:
        try:
            stop.settled(home, one, containers.BY_SYSTEM)
            events.of_container(home, one, "stop")
            told(one, None)
        except PyctrError as error:
            told(one, error)
