"""The rules: which operation runs before the deploy, which after it, and as which statements.

After the phases up to the boundary the schema works with the old code and with the new; the phase behind it may assume
the new code only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from alembic.operations import MigrateOperation, ops

from .columns import add_column, alter_column, drop_column
from .constraints import alter_check, create_check, create_foreign_key, create_unique, drop_constraint
from .engine import Engine
from .enums import AlterCheck, AlterEnum
from .indexes import create_index, drop_index, replace_indexes
from .named_types import add_types, alter_enum
from .renames import rename_columns
from .script import After, Before, Pieces, flatten
from .tables import create_table, drop_table, rename_tables
from .values import Answers, Facts
from .work import Work


def split(operations: Sequence[MigrateOperation], facts: Facts, answers: Answers) -> Pieces:
    """Return the pieces that a revision's operations come to, with the questions asked that they raise.

    :raises UsageError: if an answer cannot be used.
    """
    work = Work(list(flatten(operations)), facts, answers, Engine(facts))
    if work.engine.name == "postgresql":
        add_types(work)
    rename_tables(work)
    rename_columns(work)
    replace_indexes(work)
    for operation in work.operations:
        if id(operation) not in work.done:
            rule = next((_RULES[kind] for kind in type(operation).__mro__ if kind in _RULES), _other)
            rule(work, operation)
    return work.pieces


def _other(work: Work, operation: Any) -> None:
    """Place an operation that the rules do not know by its name: what takes away goes last."""
    name = type(operation).__name__
    takes = name.startswith(("Drop", "Remove", "Delete")) and not name.startswith("DropTableComment")
    if not isinstance(operation, (ops.CreateTableCommentOp, ops.DropTableCommentOp)):
        work.pieces.note(f"{name} is not an operation that is known here; look at where it stands in the file.")
    try:
        back: list[Any] = [operation.reverse()]
    except NotImplementedError:
        back = []
    work.pieces.add(After.DROP_TABLES if takes else Before.ALTER, [operation], back)


_RULES: dict[type, Callable[[Work, Any], None]] = {
    ops.CreateTableOp: create_table,
    ops.DropTableOp: drop_table,
    ops.AddColumnOp: add_column,
    ops.DropColumnOp: drop_column,
    ops.AlterColumnOp: alter_column,
    ops.CreateIndexOp: create_index,
    ops.DropIndexOp: drop_index,
    ops.CreateUniqueConstraintOp: create_unique,
    ops.CreateForeignKeyOp: create_foreign_key,
    ops.CreateCheckConstraintOp: create_check,
    ops.DropConstraintOp: drop_constraint,
    AlterEnum: alter_enum,
    AlterCheck: alter_check,
}
