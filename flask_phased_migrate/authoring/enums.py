"""PostgreSQL's types of values: what the models have and the database has not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alembic.autogenerate import renderers
from alembic.operations import MigrateOperation

from .statements import Autocommit, Sql, Written, render_lines
from .types import enum_name, model_enums
from .values import Name, dotted


class AlterEnum(Written):
    """Values that a type gets, each with its place."""

    def __init__(self, name: Name, added: Sequence[tuple[str, str]], quoted: str) -> None:
        self.name = name
        self.added = tuple(added)
        self.quoted = quoted

    def statements(self) -> list[MigrateOperation]:
        """Return a statement for each value; PostgreSQL lets none be used in the transaction that adds it."""
        return [
            Sql(f"ALTER TYPE {self.quoted} ADD VALUE IF NOT EXISTS {text_literal(value)}{place}")
            for value, place in self.added
        ]

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``flask db check`` shows."""
        return ("add_enum_value", dotted(self.name), *(value for value, _ in self.added))


@renderers.dispatch_for(AlterEnum)
def _render(context: Any, operation: AlterEnum) -> list[str]:
    return render_lines(context, [Autocommit(operation.statements())])


def text_literal(value: str) -> str:
    """Return a text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def enum_changes(metadata: Iterable[Any], existing: Mapping[Name, tuple[str, ...]], dialect: Any) -> list[AlterEnum]:
    """Return an operation for each type of the database that lacks values of the models' type of that name."""
    found = {}
    for item in (item for one in metadata for item in model_enums(one)):
        name = enum_name(item)
        added = _added(existing.get(name, ()), item.enums)
        if name in existing and added:
            quote = dialect.identifier_preparer.quote
            found[name] = AlterEnum(name, added, ".".join(quote(word) for word in name if word is not None))
    return list(found.values())


def _added(existing: Sequence[str], wanted: Sequence[str]) -> list[tuple[str, str]]:
    added = []
    for position, value in enumerate(wanted):
        if value not in existing:
            place = f" AFTER {text_literal(wanted[position - 1])}" if position else ""
            if not position and existing:
                place = f" BEFORE {text_literal(existing[0])}"
            added.append((value, place))
    return added
