"""What a step touches: tables, columns of tables, and what cannot be known; and what two steps share.

Names are compared without regard to case, and a name without a schema is taken for the same name in any: an
overlap that is none is said too often rather than too seldom.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
SCHEMA = "schema"


@dataclass(frozen=True)
class Touched:
    """What is touched of one table, or of another thing that has a table's name, such as a view.

    ``columns`` are the columns touched, None where it is the table as a whole: its rows, its name, or what
    cannot be told apart. ``kind`` is the word for the thing; one of kind :data:`SCHEMA` is all that is in it.
    """

    table: str
    schema: str | None = None
    columns: frozenset[str] | None = None
    kind: str = "table"

    @property
    def is_whole(self) -> bool:
        """Whether the table is touched as a whole."""
        return self.columns is None

    def is_of(self, other: Touched) -> bool:
        """Return whether both are, or may be, about the same table."""
        if SCHEMA in (self.kind, other.kind):
            return bool(_schemas(self) & _schemas(other))
        schemas = {item.schema.casefold() for item in (self, other) if item.schema is not None}
        return self.table.casefold() == other.table.casefold() and len(schemas) < 2

    def __str__(self) -> str:
        name = self.table if self.schema is None else f"{self.schema}.{self.table}"
        if self.columns is None:
            return f"the whole {self.kind} {name}"
        if not self.columns:
            return f"no column of {self.kind} {name}"
        word = "column" if len(self.columns) == 1 else "columns"
        return f"{word} {', '.join(sorted(self.columns))} of {self.kind} {name}"


def _schemas(item: Touched) -> set[str]:
    """Return the schema that a thing is or is in; what names none is in one that is never made nor dropped."""
    name = item.table if item.kind == SCHEMA else item.schema
    return {name.casefold()} if name is not None else set()


@dataclass(frozen=True)
class Footprint:
    """What one step touches: one :class:`Touched` for each table, sorted; ``opaque`` are the reasons why there may
    be more, with file and line where known."""

    tables: tuple[Touched, ...] = ()
    opaque: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the step is known to touch nothing."""
        return not self.tables and not self.opaque


NOTHING = Footprint()


def whole(table: str, schema: str | None = None, kind: str = "table") -> Footprint:
    """Return the footprint of something that touches a table, or another kind of thing, as a whole."""
    return Footprint((Touched(table, schema, None, kind),))


def part(table: str, columns: Iterable[str], schema: str | None = None) -> Footprint:
    """Return the footprint of something that touches these columns of a table, and nothing else of it."""
    return Footprint((Touched(table, schema, frozenset(columns)),))


def opaque(reason: str) -> Footprint:
    """Return the footprint of something of which it cannot be known what it touches."""
    return Footprint(opaque=(reason,))


def union(footprints: Iterable[Footprint]) -> Footprint:
    """Return the footprint of several things together."""
    found: dict[tuple[str, str, bool], Touched] = {}
    reasons: dict[str, None] = {}
    for footprint in footprints:
        reasons.update(dict.fromkeys(footprint.opaque))
        for item in footprint.tables:
            key = (item.table.casefold(), (item.schema or "").casefold(), item.kind == SCHEMA)
            found[key] = _joined(found[key], item) if key in found else item
    return Footprint(tuple(found[key] for key in sorted(found)), tuple(reasons))


def _joined(one: Touched, other: Touched) -> Touched:
    if one.columns is None or other.columns is None:
        return replace(one, columns=None)
    spelled = {name.casefold(): name for name in (*sorted(other.columns), *sorted(one.columns))}
    return replace(one, columns=frozenset(spelled.values()))


def shared(one: Footprint, other: Footprint) -> tuple[Touched, ...]:
    """Return what both are known to touch, spelled as in ``one``; () where they do not overlap.

    Of a table that one of them touches as a whole, all.
    """
    return tuple(
        found for item in one.tables for against in other.tables if (found := _overlap(item, against)) is not None
    )


def _overlap(one: Touched, other: Touched) -> Touched | None:
    if not one.is_of(other):
        return None
    if SCHEMA in (one.kind, other.kind):
        return one if one.kind == SCHEMA else other
    schema = one.schema or other.schema
    if one.columns is None or other.columns is None:
        return replace(one, schema=schema, columns=None)
    folded = {name.casefold() for name in other.columns}
    common = frozenset(name for name in one.columns if name.casefold() in folded)
    return replace(one, schema=schema, columns=common) if common else None


@dataclass
class TouchIndex(Generic[_K]):
    """Footprints by what they touch, so that what overlaps is found without looking at all the others."""

    _keys: list[tuple[_K, Footprint]] = field(default_factory=list)
    _by_table: dict[str, list[int]] = field(default_factory=dict)
    _whole: dict[str, list[int]] = field(default_factory=dict)
    _by_column: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    _inside: dict[str, list[int]] = field(default_factory=dict)
    _schemas: dict[str, list[int]] = field(default_factory=dict)

    def add(self, key: _K, footprint: Footprint) -> None:
        """Add a footprint under a key."""
        number = len(self._keys)
        self._keys.append((key, footprint))
        for item in footprint.tables:
            for schema in _schemas(item):
                self._inside.setdefault(schema, []).append(number)
            table = item.table.casefold()
            if item.kind == SCHEMA:
                self._schemas.setdefault(table, []).append(number)
                continue
            self._by_table.setdefault(table, []).append(number)
            if item.columns is None:
                self._whole.setdefault(table, []).append(number)
            for name in item.columns or ():
                self._by_column.setdefault((table, name.casefold()), []).append(number)

    def overlapping(self, footprint: Footprint) -> Iterator[tuple[_K, tuple[Touched, ...]]]:
        """Yield, in the order in which they were added, each key that overlaps, and what both touch.

        What is yielded is spelled as in ``footprint``. Lazy: who needs only the first pays only for it.
        """
        last = -1
        for number in heapq.merge(*self._candidates(footprint)):
            if number != last:
                last = number
                key, other = self._keys[number]
                found = shared(footprint, other)
                if found:
                    yield key, found

    def _candidates(self, footprint: Footprint) -> Iterator[list[int]]:
        for item in footprint.tables:
            table = item.table.casefold()
            if item.kind == SCHEMA:
                yield self._inside.get(table, [])
                continue
            for schema in _schemas(item):
                yield self._schemas.get(schema, [])
            if item.columns is None:
                yield self._by_table.get(table, [])
                continue
            yield self._whole.get(table, [])
            for name in item.columns:
                yield self._by_column.get((table, name.casefold()), [])
