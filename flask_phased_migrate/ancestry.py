"""Who needs whom, among ids that have parents: the walks of revision graphs, none of which is worse than linear.

Whether one id needs another is answered from lines: runs of ids, each the only child of the one before, which is its
only parent. All ids of a line have the same ancestors outside of it, so one bit mask for a line does for all its
ids. A history without branches is a single line; L lines take L * L / 16 bytes, once somebody asks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

Parents = Mapping[str, Sequence[str]]


class Ancestry:
    """The relations of ids; ``parents`` has the parents of each, which are ids themselves."""

    def __init__(self, parents: Parents) -> None:
        self.parents = parents

    @cached_property
    def children(self) -> Mapping[str, Sequence[str]]:
        """For each id those that it is a parent of, in the order of the ids."""
        found: dict[str, list[str]] = {name: [] for name in self.parents}
        for name, parents in self.parents.items():
            for parent in parents:
                found[parent].append(name)
        return found

    @cached_property
    def parents_first(self) -> tuple[str, ...]:
        """The ids, each after its parents; those that need each other, and what needs these, are left out."""
        children = self.children
        waiting = {name: len(parents) for name, parents in self.parents.items()}
        ready = [name for name, count in waiting.items() if not count]
        order = []
        while ready:
            name = ready.pop()
            order.append(name)
            for child in children[name]:
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
        return tuple(order)

    @cached_property
    def circular(self) -> tuple[str, ...]:
        """The ids that need each other, and those between two such circles."""
        left = self.parents.keys() - set(self.parents_first)
        # What waits for a circle is left as well; what nothing left needs is not part of one.
        needing = {name: [child for child in self.children[name] if child in left] for name in left}
        outside = set(Ancestry(needing).parents_first)
        return tuple(name for name in self.parents if name in left and name not in outside)

    def closure(self, ids: Iterable[str]) -> set[str]:
        """Return ``ids`` and all that they need."""
        return _reached(ids, self.parents)

    def ancestors(self, ids: Iterable[str]) -> set[str]:
        """Return all that one of ``ids`` needs, which may be another of them."""
        return self.closure(parent for name in ids for parent in self.parents[name])

    def descendants(self, ids: Iterable[str]) -> set[str]:
        """Return all that need one of ``ids``, which may be another of them."""
        return _reached((child for name in ids for child in self.children[name]), self.children)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Return whether ``newer`` needs ``older``."""
        line_of, place_of, below = self._lines
        line, other = line_of[newer], line_of[older]
        if line == other:
            return place_of[older] < place_of[newer]
        return bool(below[line] >> other & 1)

    @cached_property
    def _lines(self) -> tuple[Mapping[str, int], Mapping[str, int], Sequence[int]]:
        """The number of each id's line, its place in there, and for each line the bits of those that it stands on."""
        line_of: dict[str, int] = {}
        place_of: dict[str, int] = {}
        below: list[int] = []
        for name in self.parents_first:
            parents = self.parents[name]
            if len(parents) == 1 and len(self.children[parents[0]]) == 1:
                line_of[name] = line_of[parents[0]]
                place_of[name] = place_of[parents[0]] + 1
                continue
            mask = 0
            for parent in parents:
                mask |= below[line_of[parent]] | 1 << line_of[parent]
            line_of[name], place_of[name] = len(below), 0
            below.append(mask)
        return line_of, place_of, below

    def walk(self, tips: Iterable[str], todo: Collection[str]) -> tuple[str, ...]:
        """Return those of ``todo`` that can be reached from ``tips`` through others of them, each before its parents.

        A line is followed down as far as it goes; where that ends, or something above is still to come, the line of
        the tip beside it is. That is the order of Alembic's ``RevisionMap``.

        :param tips: members of ``todo``, in the order in which they are begun with.
        """
        walk = _Walk(self, tips, todo)
        while walk.tips:
            walk.advance()
        return tuple(walk.output)


def _reached(ids: Iterable[str], following: Parents) -> set[str]:
    found = set(ids)
    waiting = list(found)
    while waiting:
        for name in following[waiting.pop()]:
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


class _Walk:
    """Where a walk stands: ``tips`` are the next of each line, ``left`` what is not in ``output`` yet."""

    def __init__(self, ancestry: Ancestry, tips: Iterable[str], todo: Collection[str]) -> None:
        self.ancestry = ancestry
        self.todo = frozenset(todo)
        self.left = set(todo)
        self.tips = list(dict.fromkeys(tips))
        self.output: list[str] = []
        self._position = 0
        self._known = set(self.tips)
        self._above = self._count_above()

    def _count_above(self) -> dict[str, int]:
        """Return for each id how many of its children are to be walked, or lead to one that is."""
        counts: dict[str, int] = {}
        for name in reversed(self.ancestry.parents_first):
            if name in self.todo or counts.get(name):
                for parent in self.ancestry.parents[name]:
                    counts[parent] = counts.get(parent, 0) + 1
        return counts

    def advance(self) -> None:
        """Emit the tip where the walk stands, or go to one that has to come before."""
        candidate = self.tips[self._position]
        if self._above.get(candidate):
            blocker = self._first_above(candidate)
            if blocker is not None:
                self._position = blocker
                return
        self.output.append(candidate)
        self.left.discard(candidate)
        self._release(candidate)
        self._follow(candidate)

    def _first_above(self, candidate: str) -> int | None:
        """Return the position of the first tip that needs ``candidate``."""
        needs = self.ancestry.is_ancestor
        return next((position for position, tip in enumerate(self.tips) if needs(candidate, tip)), None)

    def _release(self, name: str) -> None:
        """Count a walked id off its parents, and off theirs where they are not to be walked."""
        waiting = [name]
        while waiting:
            for parent in self.ancestry.parents[waiting.pop()]:
                self._above[parent] -= 1
                if not self._above[parent] and parent not in self.todo:
                    waiting.append(parent)

    def _follow(self, candidate: str) -> None:
        """Put the parents of a walked id in its place, if they are to be walked and are not tips already."""
        self._known.discard(candidate)
        parents = self.ancestry.parents[candidate]
        following = [parent for parent in parents if parent in self.left and parent not in self._known]
        self._known.update(following)
        if following:
            self.tips[self._position] = following[0]
            self.tips.extend(following[1:])
        else:
            del self.tips[self._position]
            self._position = max(self._position - 1, 0)


def without_inherited(down: Parents, needs: Parents) -> dict[str, tuple[str, ...]]:
    """Return for each id of ``needs`` what it needs, without what an id below it on its own line needs as well.

    :param down: for each id those right below it on its line.
    :param needs: the ids that have dependencies, and these; all of them are in ``down``.
    """
    if not needs:
        return {}
    bits: dict[str, int] = {}
    for names in needs.values():
        for name in names:
            bits.setdefault(name, 1 << len(bits))
    inherited: dict[str, int] = {}
    for name in Ancestry(down).parents_first:
        parents = down[name]
        if len(parents) == 1 and parents[0] not in needs:
            inherited[name] = inherited[parents[0]]  # the same number, not a copy of it
            continue
        mask = 0
        for parent in parents:
            mask |= inherited[parent]
            for other in needs.get(parent, ()):
                mask |= bits[other]
        inherited[name] = mask
    return {
        name: tuple(other for other in names if not inherited.get(name, 0) & bits[other])
        for name, names in needs.items()
    }
