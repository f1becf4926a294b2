"""Running the probes of a health check: the monitor's part, loaded only where there is one.

A probe enters the container as `exec` does. It is a child of the monitor and dies with it; it has
its own process group, which is killed as a whole when it takes too long. Nothing here waits: the
monitor's loop asks what to watch and until when, and says what is ready. While the container is
paused no probe begins, and one that is under way does not count.

A probe that was killed with its container must not be taken for a failure. The kernel kills it
before the end of the container's first process can be seen, so a result of SIGKILL is held back
for a moment.
"""

from __future__ import annotations

import os
import time

from engine import containers, events, health, logs, program, rights, views
from kernel import process, quickjson, signals, trace
from runtime import join, launch
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from runtime.launch import Started

_begun = trace.point("engine.probe.begun")
_recorded = trace.point("engine.probe.recorded")

_JOINING_MAX = 30.0  # seconds that a probe may take until its program runs
_HELD = 0.2  # seconds for a container's end to become visible
_LONGEST = 3600.0  # seconds; poll(2) counts milliseconds in 32 bits
_CHUNK = 1 << 16


class Watch:
    """The health checks of one run of a container, from its start to its end."""

    def __init__(self, home: Home, container: Container, started: Started) -> None:
        self._home = home
        self._container = container
        self._started = started
        self._began = time.monotonic()
        self._record = quickjson.loads(health.at_start(container))
        self._probe: _Probe | None = None
        self._held: dict[str, Any] | None = None
        self._is_void = False  # it was killed while the container was paused
        self._due = self._began + self._interval()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the monitor is to watch for :meth:`turn`."""
        return self._probe.descriptors if self._probe is not None else ()

    @property
    def patience(self) -> float:
        """Seconds until :meth:`turn` is due even if nothing is ready, at most an hour."""
        due = self._probe.deadline if self._probe is not None else self._due
        return min(max(0.0, due - time.monotonic()), _LONGEST)

    def turn(self, ready: set[int]) -> None:
        """Does what is ready or due."""
        if self._probe is not None:
            killed = self._probe.is_killed
            result = self._probe.turn(ready)
            if self._probe.is_killed and not killed:  # it may be thawed before it is seen to end
                self._is_void = self._is_paused()
            if result is not None:
                self._ended(self._probe, result)
        elif time.monotonic() >= self._due:
            if self._held is not None:
                self._judge(self._held)
            else:
                self._begin()
        self._home.close()

    def close(self) -> None:
        """The container has ended: a probe that is under way ends with it and does not count."""
        if self._probe is not None:
            self._probe.abandon()
            self._probe = None

    def _interval(self) -> float:
        settings = self._container.settings
        young = time.monotonic() - self._began < health.seconds(settings, "StartPeriod")
        starting = young and self._record["Status"] == health.STARTING
        return health.seconds(settings, "StartInterval" if starting else "Interval")

    def _begin(self) -> None:
        if self._is_paused():
            self._due = time.monotonic() + self._interval()
            return
        self._since = time.monotonic() - self._began
        try:
            self._probe = _Probe(self._home, self._container, self._started)
        except (OSError, RuntimeFailure) as error:
            now = logs.timestamp()
            self._judge({"Start": now, "End": now, "ExitCode": -1, "Output": str(error)})
        _begun()

    def _ended(self, probe: _Probe, result: dict[str, Any]) -> None:
        self._probe = None
        self._due = time.monotonic() + self._interval()
        if probe.is_killed and self._is_void:
            return
        if result["ExitCode"] == 128 + signals.SIGKILL:
            self._held, self._due = result, time.monotonic() + _HELD
            return
        self._judge(result)

    def _judge(self, result: dict[str, Any]) -> None:
        settings = self._container.settings
        starting = self._since < health.seconds(settings, "StartPeriod")
        before = self._record["Status"]
        self._record = health.judged(self._record, result, settings, starting=starting)
        self._held = None
        self._due = time.monotonic() + self._interval()
        columns = {"health": quickjson.dumps(self._record)}
        containers.update(self._home, self._container.id, **columns)
        _recorded()
        now = self._record["Status"]
        if now != before:
            fresh = containers.get(self._home, self._container.id) or self._container
            events.of_container(self._home, fresh, f"health_status: {now}")

    def _is_paused(self) -> bool:
        fresh = containers.get(self._home, self._container.id)
        return fresh is not None and fresh.status == "paused"


class _Probe:
    """One run of the probe's program. ``deadline`` is when it is killed (time.monotonic)."""

    def __init__(self, home: Home, container: Container, started: Started) -> None:
        settings = container.settings
        self._name = container.id
        self._limit = health.seconds(settings, "Timeout")
        self._start = logs.timestamp()
        self._output = b""
        self._is_cut = False
        self.is_killed = False
        self._spec = program.process(container) | {
            "args": list(health.command(settings)),
            "terminal": False,
        }
        bounding = self._spec["capabilities"]["bounding"]
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._pipe, write = os.pipe()
        try:
            self.pid, self._report = join.begin(
                started.pid, started.start_time, container.cgroup, self._spec,
                (null, write, write), kinds=views.kinds(settings), cache=home.filters,
                profile=rights.seccomp(settings, bounding), monitored=True,
            )  # fmt: skip
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(null)
            os.close(write)
        os.set_blocking(self._pipe, False)
        self._reports: launch.Reports | None = launch.Reports(self._report)
        self._pidfd = process.pidfd_open(self.pid)
        self.deadline = time.monotonic() + _JOINING_MAX
        self._failure = ""

    @property
    def descriptors(self) -> tuple[int, ...]:
        joining = (self._report.fileno(),) if self._reports is not None else ()
        pipe = (self._pipe,) if self._pipe >= 0 else ()
        return (self._pidfd, *joining, *pipe)

    def turn(self, ready: set[int]) -> dict[str, Any] | None:
        """Goes on with what is ready; the result once the probe has ended."""
        if self._pipe in ready:
            self._read()
        if self._reports is not None and self._report.fileno() in ready:
            self._listen(self._reports)
        if self._pidfd in ready:
            return self._ended()
        if time.monotonic() >= self.deadline and not self.is_killed:
            self._kill()
            if self._reports is not None:
                self._failure = f"timed out starting health check for container {self._name}"
            else:
                self._failure = f"Health check exceeded timeout ({health.duration(self._limit)})"
        return None

    def abandon(self) -> None:
        """Kills it and waits for its end."""
        self._kill()
        self._close(os.waitpid(self.pid, 0)[1])

    def _listen(self, reports: launch.Reports) -> None:
        try:
            if reports.read():
                return
            if not self.is_killed:
                self.deadline = time.monotonic() + self._limit
        except RuntimeFailure as error:
            self._failure = self._failure or str(error)
        self._reports = None

    def _read(self) -> bool:
        """Keeps the beginning of what the probe says; False if it says nothing more for now."""
        try:
            chunk = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            os.close(self._pipe)
            self._pipe = -1
            return False
        room = health.OUTPUT_MAX - len(self._output)
        self._output += chunk[:room]
        self._is_cut = self._is_cut or len(chunk) > room
        return True

    def _kill(self) -> None:
        """The process group as well: what the probe has started does not pile up."""
        self.is_killed = True
        self.deadline = float("inf")
        for target in (-self.pid, self.pid):
            try:
                os.kill(target, signals.SIGKILL)
            except ProcessLookupError:
                continue

    def _ended(self) -> dict[str, Any]:
        while self._reports is not None:
            self._listen(self._reports)
        for _ in range(4):  # what is left in the pipe; its other end may be open for ever
            if self._pipe < 0 or not self._read():
                break
        code = self._close(os.waitpid(self.pid, 0)[1])
        output = self._output.decode(errors="replace") + ("..." if self._is_cut else "")
        if self._failure:
            more = f": {output}" if output and self.is_killed else ""
            code, output = -1, self._failure + more
        return {
            "Start": self._start,
            "End": logs.timestamp(),
            "ExitCode": code,
            "Output": output,
        }

    def _close(self, status: int) -> int:
        self._report.close()
        for fd in (self._pidfd, self._pipe):
            if fd >= 0:
                os.close(fd)
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code
