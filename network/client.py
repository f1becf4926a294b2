"""How a command or a monitor asks the network agent; lean, because every start does.

One connection for one request: a line of JSON goes out, a line of JSON comes back, with a
descriptor where the answer is a namespace::

    {"do": "attach", "container": ID}            make a network namespace with everything that the
                                                 database says of the container's endpoints
    {"do": "publish", "container": ID}           its published ports are other ones, or none any
                                                 more: the rules follow
    {"do": "connect", "container": ID,           a running container gets one of its endpoints;
     "network": ID, "pid": P, "start_time": T}   the process is known by pid and start time
    {"do": "disconnect", ...}                    the same, and loses it
    {"do": "vacate"}                             a container wants port 53 of the host's addresses:
                                                 the server of names goes to another one
    {"do": "refresh"}                            networks have changed: bridges and rules follow
    {"do": "leave"}                              the agent ends, and takes away what nobody uses

The answer is ``{"warnings": [...]}`` or ``{"error": {"what", "why", "hint", "path", "errno"}}``.
The agent works one request off after the other; who has asked may do something else meanwhile, and
reads the answer when it needs it.

    <run>/network.sock    where it listens: mode 0600, and only uid 0 is served
    <run>/network.lock    held by whoever starts it, and by it while it leaves
"""

from __future__ import annotations

import os

from kernel import quickjson, sockets, trace
from kernel.locks import Lock
from network.errors import NetworkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

_listening = trace.point("network.client.listening")

_LARGEST = 1 << 20  # bytes of an answer


def socket_path(run: str) -> str:
    """Where the agent of a run folder listens."""
    return f"{run}/network.sock"


def mark(run: str) -> str:
    """The alias of every bridge of a run folder: who finds one knows whose it is."""
    return f"pyctr {run}"


def lock(run: str) -> Lock:
    """Held while an agent is started, and by the agent while it leaves."""
    return Lock(f"{run}/network.lock")


class Request:
    """A request that is under way; :meth:`answer` waits for what came of it.

    ``start`` is given a listening socket and makes an agent that serves it; it is called if none
    runs. OSError if no agent can be had.
    """

    def __init__(self, run: str, start: Callable[[socket], None], **words: Any) -> None:
        self._run = run
        self._start = start
        self._line = f"{quickjson.dumps(words)}\n".encode()
        self._connection = self._sent()

    def _sent(self) -> socket:
        connection = connect(self._run, self._start)
        try:
            connection.sendall(self._line)
        except ConnectionError:  # it was killed: its answer will not come either
            pass
        return connection

    def answer(self) -> tuple[dict[str, Any], int]:
        """(what the agent says, a descriptor that came along or -1). NetworkError.

        If the agent was killed meanwhile, another one is asked, once.
        """
        try:
            return self._answer()
        except ConnectionError:
            self._connection.close()
            self._connection = self._sent()
        try:
            return self._answer()
        except ConnectionError as error:
            raise NetworkError(
                "the network agent died", str(error.strerror or error),
                "what it says is in network.log in the run folder", path=self._run,
            ) from None  # fmt: skip

    def _answer(self) -> tuple[dict[str, Any], int]:
        content, fd = sockets.receive_with_fd(self._connection, _LARGEST)
        try:
            while not content.endswith(b"\n"):
                more = self._connection.recv(_LARGEST)
                if not more:
                    raise ConnectionResetError(104, "it ended before it had answered")
                content += more
            said = quickjson.loads(content)
            if "error" in said:
                error = said["error"]
                raise NetworkError(**error)
        except BaseException:
            if fd >= 0:
                os.close(fd)
            raise
        self._connection.close()
        return said, fd

    def abandon(self) -> None:
        """Nobody needs the answer any more; a namespace that was made goes with it."""
        self._connection.close()


def ask(run: str, start: Callable[[socket], None], **words: Any) -> dict[str, Any]:
    """A request whose answer is no descriptor."""
    said, fd = Request(run, start, **words).answer()
    if fd >= 0:
        os.close(fd)
    return said


def is_there(run: str) -> bool:
    """Whether an agent listens."""
    try:
        sockets.connect(socket_path(run)).close()
    except OSError:
        return False
    return True


def connect(run: str, start: Callable[[socket], None]) -> socket:
    """A connection to the agent, which is started if there is none."""
    path = socket_path(run)
    try:
        return sockets.connect(path)
    except OSError:
        os.makedirs(run, mode=0o711, exist_ok=True)
    with lock(run):
        try:
            return sockets.connect(path)  # another command was faster
        except OSError:
            pass
        if os.path.lexists(path):
            os.unlink(path)
        listener = sockets.listen(path)
        _listening()
        try:
            connection = sockets.connect(path)  # waits in the queue until the agent is there
            start(listener)
        finally:
            listener.close()
        return connection
