"""Lists of values, as types of PostgreSQL and as checks: what the models have and the database has not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import renderers
from alembic.operations import MigrateOperation, ops

from ..operations import escape_colons
from .statements import Autocommit, Batch, Sql, Written, quote_names, render_lines, text_literal
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


def enum_changes(metadata: Iterable[Any], existing: Mapping[Name, tuple[str, ...]], dialect: Any) -> list[AlterEnum]:
    """Return an operation for each type of the database that lacks values of the models' type of that name."""
    found = {}
    for item in (item for one in metadata for item in model_enums(one)):
        name = enum_name(item)
        added = _added(existing.get(name, ()), item.enums)
        if name in existing and added:
            found[name] = AlterEnum(name, added, quote_names(dialect, *name))
    return list(found.values())


def model_values(metadata: Iterable[Any]) -> dict[Name, tuple[str, ...]]:
    """Return the values of each type that the models have."""
    return {enum_name(item): tuple(item.enums) for one in metadata for item in model_enums(one)}


def _added(existing: Sequence[str], wanted: Sequence[str]) -> list[tuple[str, str]]:
    added = []
    for position, value in enumerate(wanted):
        if value not in existing:
            place = f" AFTER {text_literal(wanted[position - 1])}" if position else ""
            if not position and existing:
                place = f" BEFORE {text_literal(existing[0])}"
            added.append((value, place))
    return added


def value_checks(table: Any) -> list[sa.CheckConstraint]:
    """Return the named checks of a table that are lists of values: those of ``sa.Enum(create_constraint=True)``."""
    names = {
        str(column.type.name): column
        for column in table.columns
        if isinstance(column.type, sa.Enum) and column.type.create_constraint and column.type.name
    }
    return [item for item in table.constraints if isinstance(item, sa.CheckConstraint) and str(item.name) in names]


class AddCheck(ops.CreateCheckConstraintOp):
    """A check that is added, as text in which no colon begins a parameter; Alembic 1.18 cannot render its own."""


@renderers.dispatch_for(AddCheck)
def _render_added(context: Any, operation: AddCheck) -> str:
    name, text = operation.constraint_name, str(operation.condition)
    if context._has_batch:
        return f"batch_op.create_check_constraint({name!r}, {text!r})"
    schema = "" if operation.schema is None else f", schema={operation.schema!r}"
    prefix = context.opts["alembic_module_prefix"] or ""
    return f"{prefix}create_check_constraint({name!r}, {operation.table_name!r}, {text!r}{schema})"


def value_check(check: sa.CheckConstraint, dialect: Any) -> AddCheck:
    """Return how a check of the models is added, as text: its column may be one that is not there yet."""
    table: Any = check.table
    return AddCheck(str(check.name), table.name, escape_colons(_text(check, dialect)), schema=table.schema)


def _text(check: sa.CheckConstraint, dialect: Any) -> str:
    options = {"literal_binds": True, "include_table": False}
    return str(check.sqltext.compile(dialect=dialect, compile_kwargs=options))


class AlterCheck(Written):
    """A check whose list of values is another one now."""

    def __init__(self, table: Name, name: str, old: str, new: str) -> None:
        self.schema, self.table_name = table
        self.name = name
        self.old = old
        self.new = new

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``flask db check`` shows."""
        return ("modify_check", dotted((self.schema, self.table_name), self.name), self.old, self.new)

    def operations(self) -> tuple[ops.DropConstraintOp, AddCheck]:
        """Return how the old check goes, and how the new one is added."""
        drop = ops.DropConstraintOp(self.name, self.table_name, "check", schema=self.schema)
        return drop, self.create(self.new)

    def create(self, text: str) -> AddCheck:
        """Return how a check of this name is added."""
        return AddCheck(self.name, self.table_name, escape_colons(text), schema=self.schema)


@renderers.dispatch_for(AlterCheck)
def _render_check(context: Any, operation: AlterCheck) -> list[str]:
    """Render the classic form; the other is made of other operations."""
    found: list[MigrateOperation] = list(operation.operations())
    if context.opts.get("render_as_batch"):
        found = [Batch(operation.table_name, operation.schema, found)]
    return render_lines(context, found)


def check_changes(
    metadata: Iterable[Any], existing: Mapping[Name, Mapping[str, str]], dialect: Any
) -> list[AlterCheck]:
    """Return an operation for each check of the database that lists other values than the models' of that name."""
    found = []
    for table in (table for one in metadata for table in one.tables.values()):
        for check in value_checks(table):
            name, old = str(check.name), existing.get((table.schema, table.name), {}).get(str(check.name))
            new = _text(check, dialect)
            if old is not None and _values_in(old, dialect) != _values_in(new, dialect):
                found.append(AlterCheck((table.schema, table.name), name, old, new))
    return found


def _values_in(text: str, dialect: Any) -> frozenset[str]:
    """Return the text literals of an SQL expression."""
    import sqlglot

    reads = {"postgresql": "postgres", "mariadb": "mysql"}.get(dialect.name, dialect.name)
    parsed = sqlglot.parse_one(text, read=reads)
    return frozenset(item.this for item in parsed.find_all(sqlglot.exp.Literal) if item.is_string)
