"""How the time of a command grows with the history: the exponent between two numbers of revisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log

from .measures import cpu_s, run
from .projects import Workshop
from .rows import GROWTHS, MOST_GROWTH, Growth

TOOL = "ours_own"


@dataclass(frozen=True)
class Grown:
    """What a command took, in processor seconds, of a history of each length.

    ``exponent``: of the numbers of revisions between the last two, which the time is proportional to.
    """

    job: str
    shape: str
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    asked: float = MOST_GROWTH

    @property
    def exponent(self) -> float:
        """The power of the number of revisions that the time is proportional to, from the last size but one."""
        (few, many), (short, long) = self.sizes[-2:], self.seconds[-2:]
        return log(long / short) / log(many / few)

    @property
    def line(self) -> str:
        """One line of the table."""
        found = "  ".join(f"{s:7.2f} s at {n:<6}" for n, s in zip(self.sizes, self.seconds, strict=True))
        return f"{self.job:46} {self.shape:8} {found}  exponent {self.exponent:5.2f} asked at most {self.asked:.2f}"


def measure_growth(
    workshop: Workshop, sizes: Sequence[int], wanted: str, say: Callable[[str], None]
) -> tuple[Grown, ...]:
    """Return the figures of the commands that have ``wanted`` in their names, saying each as it comes."""
    figures = []
    for growth in GROWTHS if len(sizes) > 1 else ():
        if wanted in growth.job:
            for figure in _grown(workshop, growth, sorted(sizes)):
                figures.append(figure)
                say(figure.line)
    return tuple(figures)


def _grown(workshop: Workshop, growth: Growth, sizes: Sequence[int]) -> Iterator[Grown]:
    for shape in growth.shapes:
        seconds = tuple(_seconds(workshop, growth, shape, size) for size in sizes)
        yield Grown(growth.job, shape, tuple(sizes), seconds)


def _seconds(workshop: Workshop, growth: Growth, shape: str, revisions: int) -> float:
    home = workshop.project(shape, revisions, growth.body)
    words = growth.words if growth.words[0] in ("data",) else ("db", *growth.words)
    with workshop.database(home, TOOL, "none") as url:
        heads = workshop.call(home, TOOL, ("db", "heads"), url)
        run(heads.command, heads.environment, home)  # writes the index
    with workshop.database(home, TOOL, growth.start) as url:
        call = workshop.call(home, TOOL, words, url)
        return cpu_s(call.command, call.environment, home)
