"""A person attached to a container: until it ends, or the person leaves it running."""

from __future__ import annotations

import sys

from cli import terminal
from cli.options import option
from cli.shared import warn
from engine import attach
from engine.attach import Streams
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.options import Parsed
    from engine.containers import Container
    from engine.home import Home
    from engine.start import Session

SIG_PROXY = option(
    "--sig-proxy",
    "Pass signals on to the program, unless it has a terminal; =false keeps them for this command",
    default=True,
)


def follow(
    here: Home,
    one: Container,
    session: Session,
    streams: Streams,
    parsed: Parsed,
    *,
    proxied: bool,
) -> int:
    """Relays until the container ends; the exit code, or DETACHED."""

    def send(number: int) -> bool:
        from engine import stop

        try:
            stop.kill(here, one.id, number)
        except PyctrError:  # it has just ended
            return False
        return True

    streams.tty, streams.size = one.settings.tty, terminal.size
    streams.keys = parsed.detach_keys
    streams.send_signal = send if proxied and parsed.sig_proxy else None
    sys.stdout.flush()
    try:
        code = attach.follow(session, streams)
    except BrokenPipeError:
        raise
    except ConnectionError:
        from engine import containers, reconcile

        fresh = containers.get(here, one.id)
        if fresh is not None and fresh.status == "exited":  # it had just recorded the end
            return fresh.exit_code
        if fresh is None:
            warn(f"container {one.name} is gone, and with it its exit code")
            return 137
        reconcile.mend(here, fresh)
        warn(f"the monitor of {one.name} was killed, and the container with it")
        return 137
    if code == attach.DETACHED:
        from engine import events

        events.of_container(here, one, "detach")
    return code
