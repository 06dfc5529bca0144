"""The table of speed: this checkout against Flask-Migrate, Alembic, Flask-Alembic and alembic-offline, row by row.

A row is measured in pairs: instructions by cachegrind, which repeat to a tenth of a percent, processor or wall seconds,
or memory. The ratio is theirs / ours: above 1 is faster than the peer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from .histories import name_of
from .measures import READERS, REPEATABLE, UNITS, Measure, MeasuringFailed, run
from .projects import Workshop
from .rows import ROWS, Row


@dataclass(frozen=True)
class Figure:
    """What a row came to: medians of each side in the unit of its measure, and the median of theirs / ours.

    ``theirs`` and ``ratio`` are None where the peer was not measured.
    """

    job: str
    peer: str
    shape: str
    revisions: int
    measure: Measure
    ours: float
    theirs: float | None
    ratio: float | None
    asked: float | None
    limit: float | None

    @property
    def title(self) -> str:
        """The row in words."""
        shape = "" if self.shape == "linear" else f", {self.shape}"
        return f"{self.job}{shape}, N = {self.revisions:,}, against {self.peer}"

    @property
    def is_met(self) -> bool | None:
        """Whether what was asked for was reached, to two digits behind the point; None where nothing was."""
        if self.limit is not None:
            return round(self.ours, 2) <= self.limit
        return None if self.asked is None or self.ratio is None else round(self.ratio, 2) >= round(self.asked, 2)

    @property
    def line(self) -> str:
        """One line of the table."""
        unit, shape = UNITS[self.measure], "" if self.shape == "linear" else f", {self.shape}"
        theirs = "-" if self.theirs is None else f"{self.theirs:.2f} {unit}"
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        asked = (
            f"at most {self.limit:g} {unit}" if self.limit is not None else f"{self.asked:.2f}" if self.asked else "-"
        )
        met = {None: "", True: "  met", False: "  MISSED"}[self.is_met]
        return (
            f"{self.job + shape:46} N={self.revisions:<6} {self.measure:12} ours {self.ours:9.2f} {unit:3} "
            f"{self.peer:15} {theirs:>12}  ratio {ratio:>7}  asked {asked}{met}"
        )


@dataclass(frozen=True)
class Bench:
    """Measures rows, ``rounds`` pairs each where figures scatter; the side that begins alternates.

    ``counting``: count instructions; else the rows that ask for that are measured in processor seconds.
    """

    workshop: Workshop
    rounds: int
    counting: bool = True

    def measure(self, row: Row, revisions: int) -> Figure:
        """Return the figure of a row.

        :raises MeasuringFailed: if a command fails, or cachegrind is not there.
        """
        if row.measure == "instructions" and not self.counting:
            row = replace(row, measure="cpu")
        sides = ("ours", "theirs") if revisions <= row.peer_up_to else ("ours",)
        for side in sides:
            self._warm_up(row, revisions, side)
        rounds: list[dict[str, float]] = []
        for number in range(1 if row.measure in REPEATABLE else self.rounds):
            order = sides if number % 2 == 0 else sides[::-1]
            rounds.append({side: self._read(row, revisions, side) for side in order})
        alone = len(sides) == 1
        return Figure(
            row.job,
            row.peer,
            row.shape,
            revisions,
            row.measure,
            median(pair["ours"] for pair in rounds),
            None if alone else median(pair["theirs"] for pair in rounds),
            None if alone else median(pair["theirs"] / pair["ours"] for pair in rounds),
            row.asked.get(revisions),
            row.limit.get(revisions),
        )

    def _warm_up(self, row: Row, revisions: int, side: str) -> None:
        """Let a side compile and cache what the measured runs find.

        :raises MeasuringFailed: if it does not tell of the head where it has to.
        """
        home, tool = self.workshop.project(row.shape, revisions), _tool(row, side)
        with self.workshop.database(home, tool, "none" if row.start == "empty" else row.start) as url:
            if row.models:
                self.workshop.write_models(home, url)
            if row.start == "empty":
                words: tuple[tuple[str, ...], ...] = (("db", "heads"), ("db", "current"))
            else:
                words = (row.ours if side == "ours" else row.theirs,)
            for item in words:
                call = self.workshop.call(home, tool, item, url, models=row.models)
                told = run(call.command, call.environment, home)
        if row.tells_head and name_of(revisions) not in told:
            raise MeasuringFailed(f"{' '.join(call.command)} does not tell of the head {name_of(revisions)}:\n{told}")

    def _read(self, row: Row, revisions: int, side: str) -> float:
        home, tool = self.workshop.project(row.shape, revisions), _tool(row, side)
        words = row.ours if side == "ours" else row.theirs
        with self.workshop.database(home, tool, row.start, row.engine) as url:
            call = self.workshop.call(home, tool, words, url, models=row.models)
            return READERS[row.measure](call.command, call.environment, home)


def _tool(row: Row, side: str) -> str:
    if side == "ours":
        return f"ours_{row.env}"
    return "bare" if row.peer == "no extension" else row.peer.replace("-", "_")


def measure_speed(bench: Bench, sizes: Sequence[int], wanted: str, say: Callable[[str], None]) -> tuple[Figure, ...]:
    """Return the figures of the rows whose job has ``wanted`` in it, saying each as it comes."""
    figures = []
    for revisions in sizes:
        for row in ROWS:
            if wanted in row.job:
                figures.append(bench.measure(row, revisions))
                say(figures[-1].line)
    return tuple(figures)
