"""The operations that a written revision has besides Alembic's own, and how they are rendered."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.render import render_op
from alembic.operations import MigrateOperation, Operations
from alembic.runtime.migration import MigrationContext

from ..operations import escape_colons

WIDTH = 100


class Written(MigrateOperation):
    """An operation that is only ever rendered into a file."""

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``flask db check`` shows."""
        return (type(self).__name__, *map(str, vars(self).values()))

    def reverse(self) -> MigrateOperation:
        """Return nothing to do: the splitting gives each operation its undo itself."""
        return Remark("")


class Remark(Written):
    """A comment in the file."""

    def __init__(self, text: str) -> None:
        self.text = text


class Sql(Written):
    """A statement as text: ``op.execute("...")``."""

    def __init__(self, text: str, table: Any = None) -> None:
        self.text = text
        self.table = table


class Autocommit(Written):
    """Operations that are each committed by themselves."""

    def __init__(self, operations: Sequence[MigrateOperation]) -> None:
        self.operations = list(operations)


class Assured(Written):
    """Operations that a rule of the linter would report, with the reason why they do no harm here."""

    def __init__(self, rule: str, reason: str, operations: Sequence[MigrateOperation]) -> None:
        self.rule = rule
        self.reason = reason
        self.operations = list(operations)


class Batch(Written):
    """Operations on one table that SQLite can only do by copying it.

    ``conventions`` gives names to constraints that have none in the database.
    """

    def __init__(
        self,
        table_name: str,
        schema: str | None,
        operations: Sequence[MigrateOperation],
        conventions: dict[str, str] | None = None,
    ) -> None:
        self.table_name = table_name
        self.schema = schema
        self.operations = list(operations)
        self.conventions = dict(conventions or {})


@renderers.dispatch_for(Remark)
def _render_remark(_context: Any, operation: Remark) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(operation.text, WIDTH)]


@renderers.dispatch_for(Sql)
def _render_sql(_context: Any, operation: Sql) -> list[str]:
    text = escape_colons(" ".join(operation.text.split("\n")))
    if len(text) <= WIDTH:
        return [f"op.execute({quoted(text)})"]
    pieces = textwrap.wrap(text, WIDTH, drop_whitespace=False, break_long_words=False, break_on_hyphens=False)
    return ["op.execute(", *(f"    {quoted(piece)}" for piece in pieces), ")"]


def quoted(text: str) -> str:
    """Return a Python literal, in double quotes where the text has none."""
    if '"' in text or not text.isprintable():
        return repr(text)
    return '"' + text.replace("\\", "\\\\") + '"'


@renderers.dispatch_for(Autocommit)
def _render_autocommit(context: Any, operation: Autocommit) -> list[str]:
    return ["with op.get_context().autocommit_block():", *render_lines(context, operation.operations), ""]


@renderers.dispatch_for(Assured)
def _render_assured(context: Any, operation: Assured) -> list[str]:
    context.imports.add("from flask_phased_migrate import assured")
    inside = render_lines(context, operation.operations)
    return [f"with assured({quoted(operation.rule)}, reason={quoted(operation.reason)}):", *inside, ""]


@renderers.dispatch_for(Batch)
def _render_batch(context: Any, operation: Batch) -> list[str]:
    schema = "" if operation.schema is None else f", schema={operation.schema!r}"
    names = f", naming_convention={operation.conventions!r}" if operation.conventions else ""
    with context._within_batch():
        inside = render_lines(context, operation.operations)
    return [f"with op.batch_alter_table({operation.table_name!r}{schema}{names}) as batch_op:", *inside, ""]


def render_lines(context: Any, operations: Iterable[MigrateOperation]) -> list[str]:
    """Return the lines of several operations."""
    return [line for operation in operations for text in render_op(context, operation) for line in text.split("\n")]


def compile_operation(operation: MigrateOperation, dialect: Any) -> str:
    """Return the one statement that an operation of Alembic comes to, without its semicolon."""
    buffer = io.StringIO()
    context = MigrationContext.configure(dialect=dialect, opts={"as_sql": True, "output_buffer": buffer})
    Operations(context).invoke(operation)
    return single_percent(buffer.getvalue().strip().removesuffix(";"), dialect)


def quote_names(dialect: Any, *names: str | None) -> str:
    """Return names as SQL, with dots between those that are not None."""
    quote = dialect.identifier_preparer.quote
    return single_percent(".".join(quote(name) for name in names if name is not None), dialect)


def single_percent(text: str, dialect: Any) -> str:
    """Return SQL as it is meant: compilers double percent signs for drivers that format, and op.execute does again."""
    return text.replace("%%", "%") if dialect.paramstyle in ("format", "pyformat") else text


def text_literal(value: str) -> str:
    """Return a text as SQL."""
    return "'" + value.replace("'", "''") + "'"
