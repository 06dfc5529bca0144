"""What autogenerate has found, as values for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """One thing that the models and the database do not agree on.

    ``change`` is Alembic's word for what would be done (``add_column``), ``name`` that of the column, index or
    constraint; ``text`` is for people.
    """

    change: str
    table: str | None
    name: str | None
    text: str


def read_differences(diffs: Iterable[Any]) -> tuple[Difference, ...]:
    """Return Alembic's differences, those of one column one by one."""
    return tuple(_difference(item) for item in _flat(diffs))


def _flat(diffs: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for item in diffs:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield item


def _difference(diff: tuple[Any, ...]) -> Difference:
    change, *words = map(str, diff)
    table, name = _place(diff)
    if change in _OF_COLUMN:
        # schema, table, column, what else is known of it, then the old and the new.
        words = [f"{table}.{name}: {diff[-2]} to {diff[-1]}"]
    elif table is not None:
        words = [table if name is None else f"{table}.{name}"]
    return Difference(change, table, name, " ".join([change, *words]))


_OF_COLUMN = frozenset({"modify_type", "modify_nullable", "modify_default", "modify_comment"})


def _place(diff: tuple[Any, ...]) -> tuple[str | None, str | None]:
    """Return the table and the name of what differs, as far as it has them."""
    change, *rest = diff
    if change in _OF_COLUMN:
        return _dotted(rest[0], rest[1]), str(rest[2])
    if change in ("add_column", "remove_column"):
        return _dotted(rest[0], rest[1]), str(rest[2].name)
    found: Any = rest[0] if rest else None
    if change in ("add_table", "remove_table") or change.endswith("_table_comment"):
        return _dotted(found.schema, found.name), None
    table = getattr(found, "table", None)
    if table is None:
        return None, str(found)
    name = getattr(found, "name", None)
    return _dotted(table.schema, table.name), None if name is None else str(name)


def _dotted(schema: str | None, table: str) -> str:
    return str(table) if schema is None else f"{schema}.{table}"


__all__ = ["Difference", "read_differences"]
