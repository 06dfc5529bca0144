"""Which steps of one phase would run before steps of their ancestors that come later, and do they get in the way.

Section S7 of the project's design. A run of phase X overtakes step (a, q), pending, q after X, with every step
(r, X) of a descendant r: plain ``upgrade`` would run (a, q) first. The same result is certain only where what the
two touch does not overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .footprint import Footprint, Touched, TouchIndex
from .graph import Graph

FootprintOf = Callable[[str, str], Footprint]
"""What the step of a (revision, phase) touches."""
Found = tuple[tuple["Overtaking", ...], tuple["Overtaking", ...]]

OVERLAPS_NAMED = 20
UNKNOWN_NAMED = 50


@dataclass(frozen=True)
class Overtaking:
    """A step and the one that it would overtake, each (revision, phase).

    ``shares`` is what both are known to touch; where that is nothing, ``reasons`` say why it is not known.
    """

    step: tuple[str, str]
    overtaken: tuple[str, str]
    shares: tuple[Touched, ...] = ()
    reasons: tuple[str, ...] = ()


def find_overtakings(
    graph: Graph, todo: Sequence[str], phase: str, later: Mapping[str, Sequence[str]], footprint_of: FootprintOf
) -> Found:
    """Return the pairs of steps that overlap, and those of which it cannot be known, in order.

    The first :data:`OVERLAPS_NAMED` and :data:`UNKNOWN_NAMED` of them: one is enough to refuse, and thousands of
    revisions have millions of pairs.

    :param todo: the revisions whose step of ``phase`` runs or ran, parents first.
    :param later: by revision its pending phases: ``phase`` itself, if it is pending, and those after it.
    :param footprint_of: asked only for steps that overtake or are overtaken.
    """
    search = _Search(graph, phase, footprint_of)
    overtaken = _above(graph, todo, {name for name in todo if phase in later[name]})
    for name in todo:
        if phase in later[name] and any(parent in search.shadowed for parent in graph[name].parents):
            search.look_at(name)
        if search.is_full:
            break
        behind = [q for q in later[name] if q != phase] if name in overtaken else []
        search.remember(name, behind)
    return tuple(search.overlaps), tuple(search.unknown)


def _above(graph: Graph, todo: Sequence[str], running: set[str]) -> set[str]:
    """Return the revisions that one of ``running`` needs."""
    found: set[str] = set()
    for name in reversed(todo):
        if name in running or name in found:
            found.update(graph[name].parents)
    return found


class _Search:
    """Goes through the revisions, parents first. ``shadowed`` are those that are, or need, one with a later step."""

    def __init__(self, graph: Graph, phase: str, footprint_of: FootprintOf) -> None:
        self.graph = graph
        self.phase = phase
        self.footprint_of = footprint_of
        self.overlaps: list[Overtaking] = []
        self.unknown: list[Overtaking] = []
        self.shadowed: set[str] = set()
        self._index: TouchIndex[tuple[str, str]] = TouchIndex()
        self._behind: list[tuple[tuple[str, str], Footprint]] = []
        self._opaque: list[tuple[tuple[str, str], Footprint]] = []

    @property
    def is_full(self) -> bool:
        """Whether enough overlaps are found."""
        return len(self.overlaps) >= OVERLAPS_NAMED

    def remember(self, name: str, behind: Sequence[str]) -> None:
        """Note the later steps of a revision."""
        if behind or any(parent in self.shadowed for parent in self.graph[name].parents):
            self.shadowed.add(name)
        for q in behind:
            footprint = self.footprint_of(name, q)
            if footprint.is_empty:
                continue
            self._index.add((name, q), footprint)
            self._behind.append(((name, q), footprint))
            if footprint.opaque:
                self._opaque.append(((name, q), footprint))

    def look_at(self, name: str) -> None:
        """Note what the step of ``phase`` of a revision overtakes and should not, or perhaps should not."""
        footprint = self.footprint_of(name, self.phase)
        if footprint.is_empty:
            return
        step, overlapping = (name, self.phase), set()
        for overtaken, shares in self._index.overlapping(footprint):
            if self._counts(name, overtaken[0]):
                overlapping.add(overtaken)
                self.overlaps.append(Overtaking(step, overtaken, shares))
                if self.is_full:
                    return
        for overtaken, reasons in self._not_known(footprint):
            if len(self.unknown) >= UNKNOWN_NAMED:
                return
            if overtaken not in overlapping and self._counts(name, overtaken[0]):
                self.unknown.append(Overtaking(step, overtaken, reasons=reasons))

    def _not_known(self, footprint: Footprint) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
        for overtaken, other in self._behind if footprint.opaque else self._opaque:
            yield overtaken, tuple(dict.fromkeys(footprint.opaque + other.opaque))

    def _counts(self, name: str, ancestor: str) -> bool:
        return self.graph.is_ancestor(ancestor, name) and ancestor not in self.graph[name].independent_of
