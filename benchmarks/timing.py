"""Whole processes of both tools, run in pairs, in alternating order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import sqlalchemy as sa

from .apps import TOOLS, Duration, Site, Tool
from .databases import fresh_database

Job = Literal["from empty", "nothing to do"]
JOBS: tuple[Job, Job] = ("from empty", "nothing to do")


@dataclass(frozen=True)
class Pair:
    """One round: both tools on the same job."""

    ours: Duration
    theirs: Duration


@dataclass(frozen=True)
class Timing:
    """All rounds of one job on one engine."""

    engine: str
    job: Job
    revisions: int
    pairs: tuple[Pair, ...]

    @property
    def ours_s(self) -> float:
        """Our median wall time."""
        return median(pair.ours.wall_s for pair in self.pairs)

    @property
    def theirs_s(self) -> float:
        """Flask-Migrate's median wall time."""
        return median(pair.theirs.wall_s for pair in self.pairs)

    @property
    def ratio(self) -> float:
        """The median of ours / theirs of each round, wall time: below 1 is faster than Flask-Migrate."""
        return median(pair.ours.wall_s / pair.theirs.wall_s for pair in self.pairs)

    @property
    def cpu_ratio(self) -> float:
        """The same of the clients' processor time."""
        return median(pair.ours.cpu_s / pair.theirs.cpu_s for pair in self.pairs)


def measure_job(site: Site, engine: str, job: Job, revisions: int, rounds: int, folder: Path) -> Timing:
    """Return the timing of ``flask db upgrade``; the tool that begins alternates from round to round."""
    run = _from_empty if job == "from empty" else _nothing_to_do
    return Timing(engine, job, revisions, run(site, engine, rounds, folder))


def _from_empty(site: Site, engine: str, rounds: int, folder: Path) -> tuple[Pair, ...]:
    def upgrade(tool: Tool) -> Duration:
        with fresh_database(engine, folder) as url:
            return site.run(tool, url, "db", "upgrade")

    with fresh_database(engine, folder) as url:
        for tool in TOOLS:
            # Between them they load, and so compile, every module and every revision: no round has to.
            site.run(tool, url, "db", "current")
            site.run(tool, url, "db", "heads")
    return _alternate(upgrade, rounds)


def _nothing_to_do(site: Site, engine: str, rounds: int, folder: Path) -> tuple[Pair, ...]:
    with fresh_database(engine, folder) as ours, fresh_database(engine, folder) as theirs:
        urls: dict[Tool, sa.URL] = {"ours": ours, "theirs": theirs}
        for tool in TOOLS:
            site.run(tool, urls[tool], "db", "upgrade")
        return _alternate(lambda tool: site.run(tool, urls[tool], "db", "upgrade"), rounds)


def _alternate(run: Callable[[Tool], Duration], rounds: int) -> tuple[Pair, ...]:
    pairs = []
    for number in range(rounds):
        order: Sequence[Tool] = TOOLS if number % 2 == 0 else TOOLS[::-1]
        found = {tool: run(tool) for tool in order}
        pairs.append(Pair(found["ours"], found["theirs"]))
    return tuple(pairs)
