"""What the rules share: the operations of one bind, the pieces made of them, and columns with a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops

from ..errors import UsageError
from .engine import Engine
from .script import Pieces, table_of
from .statements import Assured, Autocommit, Remark
from .types import native_enum, plain_enum, without_check
from .values import Answers, Facts, Name, Question, dotted


@dataclass
class Work:
    """One pass over the operations that autogenerate has found on one bind, and the pieces that it makes of them.

    ``done`` has the ids of operations that are part of another's pieces.
    """

    operations: list[Any]
    facts: Facts
    answers: Answers
    engine: Engine
    pieces: Pieces = field(default_factory=Pieces)
    done: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.new_tables = {table_of(item): item for item in self.operations if isinstance(item, ops.CreateTableOp)}
        self.lost_tables = {table_of(item): item for item in self.operations if isinstance(item, ops.DropTableOp)}


def choose(work: Work, question: Question) -> str | None:
    """Return the chosen name, None for no rename.

    :raises UsageError: if the answer is none of the choices.
    """
    answer = work.answers.answer(question)
    if answer is not None and answer not in dict(question.choices):
        known = " or ".join(name for name, _ in question.choices if name)
        raise UsageError(
            f"--rename {question.subject}={answer}: what it can be is {known}, or nothing behind the sign if it is "
            "not renamed. Nothing was written."
        )
    return answer or None


def column_added(work: Work, table: Name, column: sa.Column[Any], **change: Any) -> list[MigrateOperation]:
    """Return the operations that add a column, as it is or with a change of its properties."""
    found = bare_column(column, **change)
    if work.engine.name == "postgresql" and native_enum(column.type) is not None:
        found.type = plain_enum(column.type)
    return work.engine.add_column(ops.AddColumnOp(table[1], found, schema=table[0]))


def dropped_column(operation: ops.DropColumnOp) -> sa.Column[Any]:
    """Return the column as the database has it."""
    reverse: Any = operation.reverse()
    column: sa.Column[Any] = reverse.column
    return column


def model_column(work: Work, table: Name, name: str) -> Any | None:
    """Return the column that the models have, None for none."""
    for metadata in work.facts.metadata:
        found = metadata.tables.get(dotted(table))
        if found is not None and name in found.columns:
            return found.columns[name]
    return None


def with_remark(operations: Sequence[MigrateOperation], remark: Remark) -> Autocommit:
    """Return the one autocommit block with a remark at its beginning."""
    (block,) = operations
    assert isinstance(block, Autocommit)
    return Autocommit([remark, *block.operations])


def rewriting(table: Name, rule: str, operations: Sequence[MigrateOperation]) -> Assured:
    """Return what writes a table of PostgreSQL anew, with what that means; ``rule`` is the linter's that reports it."""
    reason = (
        f"PostgreSQL writes all of {table[1]} anew, and nobody reads meanwhile: in a large table add a plain column, "
        "fill it, and let a later release use it"
    )
    return Assured(rule, reason, operations)


def uniques_of(table: Any) -> list[Any]:
    """Return the unique constraints of a table, [] for no table."""
    constraints = [] if table is None else table.constraints
    return [item for item in constraints if isinstance(item, sa.UniqueConstraint)]


def bare_column(column: sa.Column[Any], **change: Any) -> Any:
    """Return a column without what operations of their own add: its index, unique constraint and foreign key."""
    if column.primary_key:
        return column._copy()
    special = [item._copy() for item in (column.computed, column.identity) if item is not None]
    default = None if special else default_of(column.server_default)
    given: dict[str, Any] = {"nullable": column.nullable, "server_default": default}
    given |= {name: default_of(value) for name, value in change.items()}
    return sa.Column(column.name, without_check(column.type), *special, comment=column.comment, **given)


def column_like(column: sa.Column[Any], **change: Any) -> Any:
    """Return a column with the same name, type, nullability, default and comment, but for what changes."""
    given: dict[str, Any] = {
        "type": column.type,
        "nullable": column.nullable,
        "server_default": column.server_default,
        "comment": column.comment,
        **change,
    }
    return sa.Column(
        column.name,
        given["type"],
        nullable=given["nullable"],
        server_default=default_of(given["server_default"]),
        comment=given["comment"],
        autoincrement=column.autoincrement,
    )


def default_of(value: Any) -> Any:
    """Return what a server default is made from."""
    return value.arg if isinstance(value, sa.DefaultClause) else value


def column_finished(column: sa.Column[Any], operation: ops.AlterColumnOp) -> Any:
    """Return a column after the changes of an operation that come before one of its type."""
    change: dict[str, Any] = {}
    if operation.modify_nullable is not None:
        change["nullable"] = operation.modify_nullable
    if operation.modify_server_default not in (False, None):
        change["server_default"] = operation.modify_server_default
    if operation.modify_comment is not False:
        change["comment"] = operation.modify_comment
    return column_like(column, **change)


def column_before(operation: ops.AlterColumnOp) -> sa.Column[Any]:
    """Return a column as the database has it."""
    return sa.Column(
        operation.column_name,
        operation.existing_type,
        nullable=operation.existing_nullable is not False,
        server_default=default_of(operation.existing_server_default or None),
        comment=operation.existing_comment,
        autoincrement=operation.kw.get("autoincrement", "auto"),
    )
