"""Rules of SQLite: what it cannot alter, and what a batch costs that copies a table."""

from __future__ import annotations

from collections.abc import Iterator

from . import recipes
from .changes import (
    AddColumn,
    AddConstraint,
    Change,
    ChangeType,
    CopyTable,
    DropConstraint,
    DropNotNull,
    SetDefault,
    SetNotNull,
)
from .situation import Check, Problem, Situation

Problems = Iterator[Problem]


def _cannot(change: Change, at: Situation) -> Problems:
    if at.act.in_batch:
        return
    yield Problem(
        "error",
        f"SQLite cannot alter columns or constraints of {change.table}: the operation fails. In a batch, the table is "
        "copied.",
        f"with op.batch_alter_table({recipes.quoted(change.table.table)}) as batch_op:\n    ...",
    )


def _add_column(change: AddColumn, at: Situation) -> Problems:
    column, name = change.column, f"{change.table}.{change.column.name}"
    table = recipes.quoted(change.table.table)
    made = f"sa.Column({recipes.quoted(column.name)}, sa.{recipes.sa_type(column.type_)})"
    batch = f'with op.batch_alter_table({table}, recreate="always") as batch_op:\n    batch_op.add_column({made})'
    if column.generated == "stored":
        yield Problem("error", f"SQLite cannot add {name} as a STORED column. VIRTUAL can be added.", batch)
    elif column.default is not None and column.default.kind in ("volatile", "stable") and not at.act.in_batch:
        yield Problem(
            "error",
            f"SQLite refuses to add {name} with a default that is not constant ({column.default.text}), once the table "
            "has rows. Add it without, and fill the rows.",
            f"op.add_column({table}, {made})",
        )
    elif column.is_key:
        yield Problem("error", f"SQLite cannot add {name} as a primary key.", batch)


def _copy(change: CopyTable, at: Situation) -> Problems:
    rows = at.schema.facts.rows.get(change.table.key)
    yield Problem(
        "warning",
        f"The batch copies {change.table}{at.rows_of(change.table)} into a new table of its name: nobody can write to "
        "the database meanwhile, and triggers are lost.",
        f'with assured("table-copy", reason="{change.table} is small"):\n'
        f"    with op.batch_alter_table({recipes.quoted(change.table.table)}) as batch_op:\n        ..."
        if rows is None or rows < 100_000
        else "# stop the application first, or copy by hand into a new table in batches",
    )


CHECKS = (
    Check("cannot-alter", (AddConstraint, DropConstraint, ChangeType, SetNotNull, DropNotNull, SetDefault), _cannot),
    Check("cannot-add", (AddColumn,), _add_column, "new"),
    Check("table-copy", (CopyTable,), _copy, "idle"),
)
