"""stats: what running containers use, drawn anew every second.

On a terminal the table stays in its place; elsewhere one table follows the other. Nothing of the
terminal is switched, so that nothing has to be switched back: each frame is one write, which
leaves the cursor below the table.

Source: console_codes(4); Docker's documentation, "docker container stats".
"""

from __future__ import annotations

import os
import sys
import time

from cli import output, terminal
from cli.options import Command, Parsed, option
from cli.shared import FORMAT
from engine import containers, home, reconcile, stats
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from engine.stats import Sample

_COLUMNS = {
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_MORE = {"Container": "CONTAINER"}
_EVERY = 1.0  # seconds between two frames
_FIRST = 0.5  # seconds between the two samples that the first frame needs

_HOME, _CLEAR, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


class _Watch:
    """The containers that are shown, and the last sample of each."""

    def __init__(self, here: Home, parsed: Parsed) -> None:
        self._here = here
        self._all = parsed.all
        self._whole = parsed.no_trunc
        self._named = {
            one.id: (word, one)
            for word, one in ((word, reconcile.find(here, word)) for word in parsed.words)
        }
        self._before: dict[str, Sample] = {}

    def _shown(self) -> list[tuple[str, Container]]:
        """(as the person called it, row as it is now); what was removed is shown as it was."""
        if not self._named:
            found = containers.listing(self._here, () if self._all else containers.ALIVE)
            return [(one.id if self._whole else one.short_id, one) for one in found]
        return [
            (word, containers.get(self._here, identity) or one.replace(status="removing"))
            for identity, (word, one) in self._named.items()
        ]

    def is_over(self) -> bool:
        """Whether all that were named have been removed."""
        return bool(self._named) and not any(
            containers.get(self._here, identity) for identity in self._named
        )

    def look(self) -> list[dict[str, Any]]:
        """One row for each container: what it uses since the last look."""
        rows: list[dict[str, Any]] = []
        now: dict[str, Sample] = {}
        for word, one in self._shown():
            found = stats.sample(one)
            if found is None and not (self._named or self._all):
                continue  # it has just ended
            if found is not None:
                now[one.id] = found
            identity = one.id if self._whole else one.short_id
            names = {"Container": word, "ID": identity, "Name": one.name}
            rows.append(names | _numbers(self._before.get(one.id), found))
        self._before = now
        return rows

    @property
    def found_any(self) -> bool:
        """Whether the last look found a running container."""
        return bool(self._before)


def _numbers(before: Sample | None, now: Sample | None) -> dict[str, str]:
    if now is None:
        dashes = dict.fromkeys(("CPUPerc", "MemPerc", "NetIO", "BlockIO", "PIDs"), "--")
        return dashes | {"MemUsage": "-- / --"}
    used, limit = units.show_binary(now.usage.memory), units.show_binary(now.memory_limit)
    return {
        "CPUPerc": f"{stats.cpu_percent(before or now, now):.2f}%",
        "MemUsage": f"{used} / {limit}",
        "MemPerc": f"{stats.memory_percent(now):.2f}%",
        "NetIO": f"{units.show_bytes(now.received)} / {units.show_bytes(now.sent)}",
        "BlockIO": f"{units.show_bytes(now.usage.read)} / {units.show_bytes(now.usage.written)}",
        "PIDs": str(now.usage.pids),
    }


def frame(lines: list[str], columns: int, rows: int) -> str:
    """Lines at the top of a terminal of that size (0: unknown), in place of what is there.

    A line that is too long is cut, and so is a table that is too high: nothing may scroll.
    """
    if rows and len(lines) >= rows:
        kept = max(rows - 2, 1)
        lines = [*lines[:kept], f"({len(lines) - kept} more; the terminal is too small)"]
    cut = [line[:columns] if columns else line for line in lines]
    return _HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in cut) + _CLEAR_BELOW


def _stats(parsed: Parsed) -> int:
    live = not parsed.no_stream and os.isatty(1)
    try:
        _show(_Watch(home.find(), parsed), parsed, live)
    except KeyboardInterrupt:
        if live:
            print()  # the terminal has shown ^C
    return 0


def _show(watch: _Watch, parsed: Parsed, live: bool) -> None:
    watch.look()
    if watch.found_any:
        time.sleep(_FIRST)
    if live:
        sys.stdout.write(_CLEAR)
    while True:
        lines = list(output.lines(_COLUMNS, watch.look(), parsed.format or "", _MORE))
        if live:
            sys.stdout.write(frame(lines, *terminal.size()))
        else:
            sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()
        if parsed.no_stream or watch.is_over():
            return
        time.sleep(_EVERY)


COMMANDS: tuple[Command, ...] = (
    Command(
        "stats",
        "[CONTAINER...]",
        "Show what running containers use, every second, until ctrl-c.",
        _stats,
        (
            option("-a --all", "Also those that do not run"),
            option("--no-stream", "Only once"),
            option("--no-trunc", "Nothing is shortened"),
            FORMAT,
        ),
        at_most=-1,
        details="Memory is without the page cache that can be dropped at once. Network traffic is"
        " that of\nthe container's own interfaces, block traffic what the kernel counts for its"
        " control group.",
        examples=("pyctr stats --no-stream", "pyctr stats --format '{{.Name}} {{.CPUPerc}}' web"),
    ),
)  # fmt: skip
