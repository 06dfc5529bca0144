"""The layout of a drawn graph: which line runs down which lane, row by row, newest revision first.

Every line from a revision to a parent keeps to one lane, and lines to the same parent share theirs. A row is drawn
without the rows around it, so a window of a drawing is a slice of its rows.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from .graph import Graph, Revision

EdgeKind = Literal["down", "depends"]


def edges_of(revision: Revision) -> Iterator[tuple[str, EdgeKind]]:
    """Yield each parent of a revision, and how it is one."""
    if not revision.depends_on:
        for parent in revision.down:
            yield parent, "down"
        return
    for parent in revision.parents:
        yield parent, "down" if parent in revision.down else "depends"


@dataclass(frozen=True, order=True)
class Line:
    """A line down a lane, to the revision ``parent``; ``depends`` lines are drawn dashed."""

    lane: int
    parent: str
    kind: EdgeKind


@dataclass(frozen=True)
class Row:
    """What one revision's row of the drawing shows; enough to draw it without the rows around it.

    ``lane`` is where the node is. ``through`` are the lines that pass it by, ``arrivals`` those that come
    from above and end in the node: at most one of each kind. ``edges`` are the lines that leave it, with the
    lane on which they leave the row at the bottom; where that lane is one of ``through``, the edge joins it.
    All but the edges go from left to right; the edges are in the order of the file, ``depends`` last.
    """

    revision: str
    lane: int
    through: tuple[Line, ...] = ()
    arrivals: tuple[Line, ...] = ()
    edges: tuple[Line, ...] = ()

    @property
    def width(self) -> int:
        """How many lanes the row needs."""
        lines = (*self.through, *self.arrivals, *self.edges)
        return max([self.lane, *(line.lane for line in lines)]) + 1


def lanes(graph: Graph) -> tuple[Row, ...]:
    """Return one :class:`Row` a revision, newest first, every child above its parents.

    A revision takes the lane on which a line arrives, else the leftmost free one. Its first parent goes on
    in that lane unless a line to it is already under way, which is joined instead.
    """
    return lay_out(graph[name] for name in graph.newest_first(graph.revisions))


@dataclass
class _Lanes:
    """Which lines are under way, and which lanes are free."""

    lines: dict[tuple[str, EdgeKind], Line] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)
    count: int = 0

    def take(self) -> int:
        if self.free:
            return heapq.heappop(self.free)
        self.count += 1
        return self.count - 1

    def release(self, lane: int) -> None:
        heapq.heappush(self.free, lane)

    def arrive(self, revision: str) -> tuple[Line, ...]:
        kinds: tuple[EdgeKind, ...] = ("down", "depends")
        found = (self.lines.pop((revision, kind), None) for kind in kinds)
        return tuple(line for line in found if line is not None)

    def leave(self, revision: Revision, lane: int) -> Iterator[Line]:
        """Yield the lines from a node to its parents; the node's lane is free if none goes on in it."""
        used = False
        for parent, kind in edges_of(revision):
            if (parent, kind) not in self.lines:
                self.lines[parent, kind] = Line(self.take() if used else lane, parent, kind)
                used = True
            yield self.lines[parent, kind]
        if not used:
            self.release(lane)


def lay_out(revisions: Iterable[Revision]) -> tuple[Row, ...]:
    """Return one :class:`Row` for each of ``revisions``, of which children come before their parents."""
    state = _Lanes()
    rows = []
    for revision in revisions:
        arrivals = state.arrive(revision.id)
        through = tuple(sorted(state.lines.values()))
        lane = arrivals[0].lane if arrivals else state.take()
        for line in arrivals[1:]:
            state.release(line.lane)
        edges = tuple(state.leave(revision, lane))
        rows.append(Row(revision.id, lane, through, tuple(sorted(arrivals)), edges))
    return tuple(rows)
