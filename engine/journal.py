"""The log driver journald: what a container says goes to systemd's journal.

One datagram for each line, with the fields that Docker's driver has; reading them back is the
business of :mod:`engine.journalread`. The journal decides how long entries are kept and who may
see them.

A journal that is restarted or stands still must not stop a container: each datagram goes to whoever
has the socket's path at that moment; a receiver that is crowded is waited for, but only once, and
what it does not take then is lost. As soon as it takes entries again, one of ours says how many.

Source: systemd, "Native Journal Protocol"; systemd.journal-fields(7); Docker's documentation,
"Journald logging driver".
"""

from __future__ import annotations

import errno
import os

from engine import logopts
from engine.loglines import Log
from kernel import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container

OWN_FIELDS = (
    "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "CONTAINER_ID", "CONTAINER_ID_FULL",
    "CONTAINER_NAME", "CONTAINER_TAG", "CONTAINER_PARTIAL_MESSAGE", "IMAGE_NAME",
)  # fmt: skip
_PATIENCE = 1.0  # seconds
_NAME_MAX = 64
_PRIORITIES = {"stdout": b"6", "stderr": b"3"}
_WARNING = b"4"


class Writer(Log):
    """Sends what a container says to the journal that listens at ``path``."""

    def __init__(self, container: Container, path: str = logopts.JOURNAL) -> None:
        super().__init__()
        attributes = logopts.attributes(container)
        tag = attributes.pop("tag", "") or container.short_id
        about = {
            "CONTAINER_ID": container.short_id,
            "CONTAINER_NAME": container.name,
            "IMAGE_NAME": container.image,
        }
        own = {"CONTAINER_ID_FULL": container.id, "CONTAINER_TAG": tag, "SYSLOG_IDENTIFIER": tag}
        more = {name: value for key, value in attributes.items() if (name := _field_name(key))}
        self._fields = _fields(more | about | own)
        self._about = _fields({**about, "SYSLOG_IDENTIFIER": "pyctr"})
        self._name = container.name
        self._path = path
        self._socket = sockets.datagrams(_PATIENCE)
        self._is_patient = True
        self._lost = 0

    def close(self) -> None:
        """No more is sent."""
        self._tell_losses()
        self._socket.close()

    def record(self, stream: str, lines: list[bytes]) -> None:
        """Sends lines, each as one entry."""
        for line in lines:
            partial = b"" if line.endswith(b"\n") else _field("CONTAINER_PARTIAL_MESSAGE", b"true")
            message = _field("MESSAGE", line.removesuffix(b"\n"))
            priority = _field("PRIORITY", _PRIORITIES[stream])
            self._tell_losses()
            self._lost += not self._send(message + priority + partial + self._fields)

    def _tell_losses(self) -> None:
        if not self._lost:
            return
        lines = "1 line" if self._lost == 1 else f"{self._lost} lines"
        said = f"{lines} of container {self._name} could not be sent to the journal"
        message = _field("MESSAGE", said.encode()) + _field("PRIORITY", _WARNING)
        if self._send(message + self._about):
            self._lost = 0

    def _send(self, entry: bytes) -> bool:
        """Whether the journal took an entry."""
        try:
            try:
                sockets.send_to(self._path, self._socket, entry, wait=self._is_patient)
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                self._send_file(entry)
        except OSError as error:
            self._is_patient = not isinstance(error, BlockingIOError)
            return False
        self._is_patient = True
        return True

    def _send_file(self, entry: bytes) -> None:
        """An entry that is too long for a datagram, as a sealed file without a name."""
        import fcntl

        fd = os.memfd_create("pyctr-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(fd, entry)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            sockets.send_to(self._path, self._socket, b"", fd, wait=self._is_patient)
        finally:
            os.close(fd)


def _fields(values: dict[str, str]) -> bytes:
    return b"".join(
        _field(name, value.encode("utf-8", "surrogateescape")) for name, value in values.items()
    )


def _field(name: str, value: bytes) -> bytes:
    """A field in the form that takes any value: name, length, value."""
    return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


def _field_name(word: str) -> str:
    """A label's or variable's name as the journal takes it: capitals, digits and underscores,
    beginning with a capital. "" if nothing of it is left, or it would be one of our own.
    """
    name = "".join(char if char.isascii() and char.isalnum() else "_" for char in word.upper())
    name = name.lstrip("_0123456789")[:_NAME_MAX]
    return "" if name in OWN_FIELDS else name
