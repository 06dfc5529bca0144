"""Round trips to the database: of a run with nothing to do, and of each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from .apps import TOOLS, Site, Tool, make_site
from .databases import fresh_database
from .histories import PHASES
from .proxy import running_proxy

ENGINES = ("postgresql", "mysql")
PORTS = {"postgresql": 5432, "mysql": 3306}
FEW, MANY = 10, 60


@dataclass(frozen=True)
class Run:
    """The round trips of one process: the requests of each of its connections, logins left out."""

    connections: tuple[tuple[str, ...], ...]

    @property
    def total(self) -> int:
        """The round trips of all connections."""
        return sum(len(requests) for requests in self.connections)


@dataclass(frozen=True)
class Slope:
    """What a step costs: two upgrades from empty, of ``few`` and of ``many`` one-statement revisions."""

    few: Run
    many: Run

    @property
    def per_step(self) -> float:
        """The round trips of one more step."""
        return (self.many.total - self.few.total) / (MANY - FEW)

    @property
    def fixed(self) -> float:
        """The round trips of a run that no step accounts for."""
        return self.few.total - FEW * self.per_step


@dataclass(frozen=True)
class RoundTrips:
    """The counts on one engine. ``phases``: our slope of each phase of three-phase revisions."""

    engine: str
    nothing_to_do: Mapping[Tool, Run]
    upgrade: Mapping[Tool, Slope]
    phases: Mapping[str, Slope]

    @property
    def added_with_nothing_to_do(self) -> int:
        """How many more round trips than Flask-Migrate a run with nothing to do takes."""
        return self.nothing_to_do["ours"].total - self.nothing_to_do["theirs"].total

    @property
    def added_per_step(self) -> float:
        """How many more round trips than Flask-Migrate a step takes."""
        return self.upgrade["ours"].per_step - self.upgrade["theirs"].per_step


def measure_round_trips(engine: str, folder: Path, *, phases: bool = True) -> RoundTrips:
    """Return the counts of both tools on an engine. Exact figures: one run each.

    :param phases: whether to count the steps of three-phase revisions as well.
    """
    few, many = (make_site(folder, number) for number in (FEW, MANY))
    idle: dict[Tool, Run] = {}
    slopes: dict[Tool, Slope] = {}
    for tool in TOOLS:
        with fresh_database(engine, folder) as url:
            first = count_run(few, tool, engine, url, "db", "upgrade")
            idle[tool] = count_run(few, tool, engine, url, "db", "upgrade")
        with fresh_database(engine, folder) as url:
            slopes[tool] = Slope(first, count_run(many, tool, engine, url, "db", "upgrade"))
    return RoundTrips(engine, idle, slopes, _measure_phases(engine, folder) if phases else {})


def _measure_phases(engine: str, folder: Path) -> dict[str, Slope]:
    runs: dict[str, list[Run]] = {phase: [] for phase in PHASES}
    for number in (FEW, MANY):
        site = make_site(folder, number, body="phased")
        with fresh_database(engine, folder) as url:
            for phase in PHASES:
                runs[phase].append(count_run(site, "ours", engine, url, "db", "upgrade", "--phase", phase))
    return {phase: Slope(*pair) for phase, pair in runs.items()}


def count_run(site: Site, tool: Tool, engine: str, url: sa.URL, *arguments: str) -> Run:
    """Run a ``flask`` command through a proxy and return its round trips."""
    with running_proxy(engine, url.host or "127.0.0.1", url.port or PORTS[engine]) as proxy:
        site.run(tool, url.set(host="127.0.0.1", port=proxy.port), *arguments)
    return Run(tuple(tuple(trips.requests) for trips in proxy.connections))
