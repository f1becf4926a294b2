"""Measuring side by side: who is compared takes turns, round after round.

A noisy machine disturbs all of them alike, so what counts is the ratio of two medians.
"""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Finding:
    """One work: the values of each round by who did it. The first name is what is judged."""

    kind: str
    work: str
    unit: str
    values: dict[str, list[float]]
    limits: dict[str, float] = dataclasses.field(default_factory=dict)
    more: bool = False  # whether more is better

    @property
    def own(self) -> str:
        return next(iter(self.values))

    def median(self, name: str) -> float:
        return statistics.median(self.values[name])

    def best(self, name: str) -> float:
        return (max if self.more else min)(self.values[name])

    def ratio(self, name: str) -> float:
        """Ours by theirs, of the medians."""
        return self.median(self.own) / self.median(name)

    def spread(self, name: str) -> tuple[float, float]:
        """The quartiles of the ratios of the single rounds."""
        pairs = zip(self.values[self.own], self.values[name], strict=True)
        ratios = [ours / theirs for ours, theirs in pairs]
        if len(ratios) < 2:
            return ratios[0], ratios[0]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return low, high

    def holds(self, name: str) -> bool | None:
        """Whether the ratio is what it is to be; None where nothing was said."""
        limit = self.limits.get(name)
        if limit is None:
            return None
        return self.ratio(name) >= limit if self.more else self.ratio(name) <= limit


def paired(
    measures: Mapping[str, Callable[[], float]], rounds: int, warm: int = 1
) -> dict[str, list[float]]:
    """The values of ``rounds`` rounds; those of the first ``warm`` do not count."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    order = list(measures)
    for number in range(rounds + warm):
        for name in order:
            value = measures[name]()
            if number >= warm:
                values[name].append(value)
        order = [*order[1:], order[0]]
    return values


def run(argv: list[str], env: Mapping[str, str] | None = None, **more: object) -> str:
    """The output of a command; RuntimeError with its errors if it fails."""
    ran = subprocess.run(  # type: ignore[call-overload]
        argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, **more
    )
    if ran.returncode:
        raise RuntimeError(f"{' '.join(argv)[:200]}: {ran.stderr.strip()[-500:]}")
    return str(ran.stdout).strip()


def timed(argv: list[str], env: Mapping[str, str] | None = None) -> float:
    """Milliseconds that a command takes, from its start to its end."""
    before = time.perf_counter()
    run(argv, env)
    return 1000 * (time.perf_counter() - before)
