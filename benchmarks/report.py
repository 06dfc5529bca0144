"""The figures as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from .apps import python_version
from .databases import TITLES, describe_server
from .round_trips import RoundTrips, Run, Slope
from .timing import Timing

PACKAGES = ("alembic", "sqlalchemy", "flask", "flask-sqlalchemy", "flask-migrate", "psycopg", "pymysql")


@dataclass(frozen=True)
class Figures:
    """Everything that one call measured."""

    versions: Mapping[str, str]
    times: tuple[Timing, ...]
    round_trips: tuple[RoundTrips, ...]


def read_versions(engines: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python, the packages and the servers."""
    packages = {name: version(name) for name in PACKAGES}
    servers = {TITLES[engine]: describe_server(engine) for engine in engines}
    return {"python": python_version(), **packages, **servers}


# -- text ----------------------------------------------------------------------------------------------


def describe_timing(timing: Timing) -> str:
    """Return one line: the medians and the ratio, below 1 where we are faster."""
    return (
        f"{TITLES[timing.engine]:15} {timing.job:14} N={timing.revisions:<5} ours {timing.ours_s:7.3f} s   "
        f"Flask-Migrate {timing.theirs_s:7.3f} s   ratio {timing.ratio:.2f} (processor {timing.cpu_ratio:.2f}, "
        f"{len(timing.pairs)} rounds)"
    )


def describe_round_trips(found: RoundTrips, *, trace: bool = False) -> Iterator[str]:
    """Yield the lines of one engine: ours, Flask-Migrate's, the difference."""
    title = f"{TITLES[found.engine]}, round trips"
    idle = found.nothing_to_do
    yield _line(title, "nothing to do", idle["ours"].total, idle["theirs"].total)
    slopes = found.upgrade
    yield _line(title, "per step", slopes["ours"].per_step, slopes["theirs"].per_step)
    yield _line(title, "fixed, from empty", slopes["ours"].fixed, slopes["theirs"].fixed)
    for phase, slope in found.phases.items():
        yield _line(title, f"per step, {phase}", slope.per_step, slopes["theirs"].per_step)
    if trace:
        for tool, run in idle.items():
            yield from _trace(f"{title}: nothing to do, {tool}", run)
        for tool, slope in slopes.items():
            yield from _trace(f"{title}: from empty, {tool}", slope.few)
        for phase, slope in found.phases.items():
            yield from _trace(f"{title}: {phase}", slope.few)


def _line(title: str, what: str, ours: float, theirs: float) -> str:
    return f"{title:25} {what:24} ours {ours:6.2f}   Flask-Migrate {theirs:6.2f}   difference {ours - theirs:+.2f}"


def _trace(title: str, run: Run) -> Iterator[str]:
    yield f"-- {title}"
    for number, requests in enumerate(run.connections, 1):
        yield f"   connection {number}: {len(requests)}"
        for request in requests:
            yield f"      {request[:150]}"


# -- JSON ----------------------------------------------------------------------------------------------


def as_json(figures: Figures) -> dict[str, Any]:
    """Return the figures as JSON values: every round's times, every count."""
    return {
        "schema": 1,
        "versions": dict(figures.versions),
        "times": [_timing_as_json(timing) for timing in figures.times],
        "round_trips": [_round_trips_as_json(found) for found in figures.round_trips],
    }


def _timing_as_json(timing: Timing) -> dict[str, Any]:
    medians = {"ours_s": timing.ours_s, "theirs_s": timing.theirs_s}
    return {**asdict(timing), **medians, "ratio": timing.ratio, "cpu_ratio": timing.cpu_ratio}


def _round_trips_as_json(found: RoundTrips) -> dict[str, Any]:
    return {
        "engine": found.engine,
        "nothing_to_do": {
            **{tool: run.total for tool, run in found.nothing_to_do.items()},
            "difference": found.added_with_nothing_to_do,
        },
        "per_step": {
            **{tool: slope.per_step for tool, slope in found.upgrade.items()},
            "difference": found.added_per_step,
        },
        "fixed": {tool: slope.fixed for tool, slope in found.upgrade.items()},
        "connections": {tool: len(slope.few.connections) for tool, slope in found.upgrade.items()},
        "phases": {phase: _slope_as_json(slope) for phase, slope in found.phases.items()},
    }


def _slope_as_json(slope: Slope) -> dict[str, float]:
    return {"per_step": slope.per_step, "fixed": slope.fixed}
