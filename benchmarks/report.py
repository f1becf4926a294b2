"""What was found: as a table, as JSON, as a chart (SVG), and in README and docs.

benchmarks/results/latest.json   all values of all rounds
benchmarks/results/latest.md     the table
benchmarks/results/chart.svg     ratios to the peers
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
from typing import Any

from benchmarks.pairing import Finding

RESULTS = f"{os.path.dirname(os.path.abspath(__file__))}/results"
_BAR, _LEFT, _WIDTH, _ROW = 420, 250, 860, 22  # of the chart, pixels
_MOST = 2.0  # the ratio where a bar ends
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .small { font-size: 11px; fill: #57606a; }
  .docker { fill: #2f81f7; } .podman { fill: #8957e5; } .runc, .crun { fill: #bf8700; }
  .buildah { fill: #1a7f37; } .line { stroke: #57606a; stroke-dasharray: 3 3; }
  .limit { stroke: #cf222e; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .small { fill: #9da7b3; } .line { stroke: #9da7b3; }
  }
"""
_PEERS = ("docker", "podman", "buildah", "runc", "crun")


def machine() -> str:
    """What ran them, in one line."""
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) / (1 << 20)
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return (f"{os.cpu_count()} processors, {memory:.0f} GiB, Linux {kernel},"
            f" Python {platform.python_version()}")  # fmt: skip


def keep(findings: list[Finding]) -> None:
    """Writes all files; kinds that were not measured now stay as they were."""
    os.makedirs(RESULTS, exist_ok=True)
    path = f"{RESULTS}/latest.json"
    kept: dict[str, Any] = {"kinds": {}}
    if os.path.exists(path):
        with open(path) as file:
            kept = json.load(file)
    when = datetime.date.today().isoformat()
    for kind in dict.fromkeys(one.kind for one in findings):
        own = [dataclasses.asdict(one) for one in findings if one.kind == kind]
        kept["kinds"][kind] = {"date": when, "machine": machine(), "findings": own}
    with open(path, "w") as file:
        json.dump(kept, file, indent=1)
        file.write("\n")
    write()


def write() -> None:
    """Table and chart of what is kept."""
    with open(f"{RESULTS}/latest.json") as file:
        kept = json.load(file)["kinds"]
    with open(f"{RESULTS}/latest.md", "w") as out:
        for kind, said in kept.items():
            found = [Finding(**one) for one in said["findings"]]
            out.write(f"## {kind}\n\n{said['date']}; {said['machine']}\n\n{table(found)}\n")
    with open(f"{RESULTS}/chart.svg", "w") as out:
        out.write(chart(kept))


def table(findings: list[Finding]) -> str:
    """One row for each work and peer: medians, the ratio, its quartiles, the target."""
    rows = [
        "| work | | median | best | ours / it | quartiles | target |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for one in findings:
        for name in one.values:
            cells = [one.work if name == one.own else "", name]
            cells += [f"{one.median(name):.1f} {one.unit}", f"{one.best(name):.1f}"]
            if name == one.own:
                cells += ["", "", ""]
            else:
                low, high = _spread(one, name)
                cells += [f"{one.ratio(name):.2f}", f"{low:.2f} to {high:.2f}", _target(one, name)]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _spread(one: Finding, name: str) -> tuple[float, float]:
    if len(one.values[name]) != len(one.values[one.own]):
        return one.ratio(name), one.ratio(name)
    return one.spread(name)


def _target(one: Finding, name: str) -> str:
    holds = one.holds(name)
    if holds is None:
        return ""
    sign = "≥" if one.more else "≤"
    return f"{sign} {one.limits[name]:g}: {'yes' if holds else '**no**'}"


def chart(kept: dict[str, Any]) -> str:
    """Bars of ours / theirs; left of the line at 1 is less time, or less memory, than they need."""
    bars: list[tuple[str, str, float, float | None]] = []
    dates = set()
    for said in kept.values():
        for finding in said["findings"]:
            one = Finding(**finding)
            for name in one.values:
                if name in _PEERS and one.own == "pyctr":
                    ratio = 1 / one.ratio(name) if one.more else one.ratio(name)
                    limit = one.limits.get(name)
                    at = 1 / limit if limit and one.more else limit
                    bars.append((one.work, name, ratio, at))
                    dates.add(said["date"])
    height = 70 + _ROW * len(bars) + 24
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>pyctr beside its peers</title><style>{_STYLE}</style>",
        '<text x="8" y="20" font-weight="bold">pyctr / peer: shorter is better,'
        " 1 is as fast as the peer</text>",
        f'<text x="8" y="38" class="small">{", ".join(sorted(dates))}; {machine()};'
        " medians of paired rounds; rates are inverted; a red mark is the target</text>",
    ]
    for part in (0.5, 1.0, 1.5, 2.0):
        x = _LEFT + part / _MOST * _BAR
        lines.append(f'<text x="{x:.0f}" y="58" class="small" text-anchor="middle">{part:g}</text>')
        lines.append(f'<line x1="{x:.0f}" x2="{x:.0f}" y1="62" y2="{height - 20}" class="line"/>')
    last = ""
    for number, (work, name, ratio, limit) in enumerate(bars):
        y = 70 + _ROW * number
        if work != last:
            lines.append(f'<text x="8" y="{y + 13}">{work}</text>')
        last = work
        width = min(ratio, _MOST) / _MOST * _BAR
        lines.append(
            f'<rect x="{_LEFT}" y="{y + 2}" width="{width:.1f}" height="14" class="{name}"/>'
        )
        lines.append(f'<text x="{_LEFT + _BAR + 12}" y="{y + 13}">{ratio:.2f} of {name}</text>')
        if limit is not None:
            x = _LEFT + min(limit, _MOST) / _MOST * _BAR
            lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 18}" class="limit"/>')
    return "\n".join([*lines, "</svg>"]) + "\n"
