"""`pyctr check`: what this host offers to containers, what is missing, and what to do about it.

Each line is the answer to a small probe that does the thing itself: it makes the namespace, mounts
the union, loads the filter. Versions are never compared. Probes that change the process run in a
child (:mod:`engine.check.child`); the only files are in one folder beside the root folder's own,
removed in the end, or by the next check if this one is killed.

    report        runs all probes
    probe         what a probe is, and where it may write
    kinds         namespaces  mounts  storage  controllers  rights  programs
"""

from __future__ import annotations

from engine.check.probe import LIMITED, MISSING, OK, Finding, Limited, Place, Probe
from engine.check.report import report

__all__ = ["LIMITED", "MISSING", "OK", "Finding", "Limited", "Place", "Probe", "report"]
