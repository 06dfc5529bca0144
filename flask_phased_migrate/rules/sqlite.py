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
    DropColumn,
    DropConstraint,
    DropNotNull,
    SetDefault,
    SetNotNull,
    SetSetting,
    Vacuum,
)
from .situation import Check, Problem, Situation

Problems = Iterator[Problem]


def _cannot(change: Change, at: Situation) -> Problems:
    if at.act.in_batch or _is_part_of_column(change):
        return
    yield Problem(
        "error",
        f"SQLite cannot alter columns or constraints of {change.table}: the operation fails. In a batch, the table is "
        "copied.",
        f"with op.batch_alter_table({recipes.quoted(change.table.table)}) as batch_op:\n    ...",
    )


def _is_part_of_column(change: Change) -> bool:
    """Return whether it is what SQLite takes with a new column: a CHECK, or a foreign key."""
    return isinstance(change, AddConstraint) and change.inline and change.kind in ("check", "foreign key")


def _is_copied(change: Change, at: Situation) -> bool:
    """Return whether the batch of the change copies the table: then anything can be added."""
    copies = (act.change for act in at.acts[at.place :] if act.in_batch or isinstance(act.change, CopyTable))
    tables = [item.table.key for item in copies if isinstance(item, CopyTable)]
    return at.act.in_batch and change.table.key in tables


def _add_column(change: AddColumn, at: Situation) -> Problems:
    if _is_copied(change, at):
        return
    column, name = change.column, f"{change.table}.{change.column.name}"
    table = recipes.quoted(change.table.table)
    made = f"sa.Column({recipes.quoted(column.name)}, {recipes.type_code(column.type_, at)})"
    batch = f'with op.batch_alter_table({table}, recreate="always") as batch_op:\n    batch_op.add_column({made})'
    if column.generated == "stored":
        yield Problem("error", f"SQLite cannot add {name} as a STORED column. VIRTUAL can be added.", batch)
    elif column.default is not None and column.default.kind in ("volatile", "stable"):
        yield Problem(
            "error",
            f"SQLite refuses to add {name} with a default that is not constant ({column.default.text}), once the table "
            "has rows. Add it without, and fill the rows.",
            f"op.add_column({table}, {made})",
        )
    elif column.is_key:
        yield Problem("error", f"SQLite cannot add {name} as a primary key.", batch)


def _drop_column(change: DropColumn, at: Situation) -> Problems:
    """Look for what DROP COLUMN does not do: on older versions nothing, and never a column that an index has."""
    if at.act.in_batch:
        return
    table = recipes.quoted(change.table.table)
    used = [
        name
        for (key, name), columns in at.schema.indexes.items()
        if key == change.table.key and change.column.casefold() in {column.casefold() for column in columns}
    ]
    if not at.target.at_least(3, 35):
        why = "SQLite cannot drop a column below 3.35"
    elif used:
        why = f"SQLite does not drop a column that an index has: {', '.join(used)}. Drop that first"
    else:
        return
    yield Problem(
        "error",
        f"{change.table}.{change.column}: {why}; or in a batch, which copies the table.",
        f"with op.batch_alter_table({table}) as batch_op:\n    batch_op.drop_column({recipes.quoted(change.column)})",
    )


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


def _no_timeout(change: SetSetting, _at: Situation) -> Problems:
    if change.table.table == "busy_timeout" and change.value.strip() == "0":
        yield Problem(
            "warning",
            "Without a busy timeout, the step fails at once where another connection writes. Leave what is set.",
            recipes.execute("PRAGMA busy_timeout = 5000"),
        )


def _vacuum(_change: Vacuum, at: Situation) -> Problems:
    if not at.act.autocommit:
        yield Problem(
            "error",
            "VACUUM cannot be inside a transaction, which each step is: SQLite refuses it. Put it into an autocommit "
            "block.",
            "\n".join(recipes.by_itself(recipes.execute("VACUUM"))),
        )


CHECKS = (
    Check("cannot-alter", (AddConstraint, DropConstraint, ChangeType, SetNotNull, DropNotNull, SetDefault), _cannot),
    Check("cannot-add", (AddColumn,), _add_column, "new"),
    Check("cannot-alter", (DropColumn,), _drop_column),
    Check("no-lock-timeout", (SetSetting,), _no_timeout),
    Check("concurrently-in-transaction", (Vacuum,), _vacuum),
    Check("table-copy", (CopyTable,), _copy, "idle"),
)
