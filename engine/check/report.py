"""Runs all probes, area by area."""

from __future__ import annotations

from engine.check import controllers, mounts, namespaces, programs, rights, storage
from engine.check.child import reason
from engine.check.probe import LIMITED, MISSING, OK, Finding, Limited, Place, Probe
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.home import Home

# heading: probes; a function where they depend on the host
AREAS: tuple[tuple[str, Callable[[Place], tuple[Probe, ...]]], ...] = (
    ("Host", programs.host),
    ("Namespaces", namespaces.probes),
    ("Mounts", mounts.probes),
    ("Storage", storage.probes),
    ("Control groups", controllers.probes),
    ("Rights", rights.probes),
    ("Programs", programs.programs),
    ("Networks", programs.networks),
)


def report(home: Home) -> list[Finding]:
    """The findings of all probes, in order. Nothing on the host is other than before."""
    place = Place(home)
    try:
        return [_found(area, probe, place) for area, probes in AREAS for probe in probes(place)]
    finally:
        place.leave()


def _found(area: str, probe: Probe, place: Place) -> Finding:
    try:
        return Finding(area, probe.name, OK, probe.run(place), "", probe.essential)
    except Limited as error:
        status, detail = LIMITED, error.what
    except (OSError, PyctrError) as error:
        status, detail = (LIMITED if probe.lesser else MISSING), reason(error)
    return Finding(area, probe.name, status, detail, probe.advice, probe.essential)
