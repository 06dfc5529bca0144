"""Columns that are added, dropped and changed, all but their type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops

from .constraints import create_check
from .engine import Cost, is_constant, is_stable
from .enums import value_check, value_checks
from .retype import change_type
from .script import After, Before, table_of
from .statements import Remark
from .types import compiled, default_literal, literal, neutral_literal, text_of
from .values import Name, Question, dotted
from .work import (
    Work,
    column_added,
    column_before,
    column_like,
    dropped_column,
    model_column,
    rewriting,
    with_remark,
)


def add_column(work: Work, operation: ops.AddColumnOp) -> None:
    """Add a column before the deploy, in a form that the old code can do without."""
    table, column = table_of(operation), operation.column
    _add_check(work, table, column)
    back = work.engine.alter(ops.DropColumnOp(table[1], column.name, schema=table[0]))
    plain = column.nullable or column.server_default is not None or column.primary_key
    default = column.server_default
    if (
        isinstance(default, sa.DefaultClause)
        and work.engine.name in ("postgresql", "mysql")
        and not is_constant(default)
        and not is_stable(default)
    ):
        _add_computed(work, table, column, back)
    elif plain:
        work.pieces.add(Before.COLUMNS, _filled_at_once(work, table, column, column_added(work, table, column)), back)
    else:
        value = default_literal(column, work.facts)
        if value is not None and not _forbids_default(work, column):
            _add_with_default(work, table, column, value, back)
        else:
            _add_and_fill(work, table, column, value, back)


def _filled_at_once(
    work: Work, table: Name, column: sa.Column[Any], added: list[MigrateOperation]
) -> list[MigrateOperation]:
    """Return how a column is added, with what it means if the server fills it for all rows at once."""
    if work.engine.name != "postgresql":
        return added
    if column.identity is not None:
        return [rewriting(table, "self-numbering-column", added)]
    stored = column.computed is not None and column.computed.persisted
    return [rewriting(table, "stored-column", added)] if stored else added


def _add_check(work: Work, table: Name, column: sa.Column[Any]) -> None:
    """Add the check of a column that is a list of values, where Alembic, below 1.19, has found none."""
    model = model_column(work, table, column.name) if getattr(column.type, "create_constraint", False) else None
    for check in [] if model is None else value_checks(model.table):
        known = (item for item in work.operations if isinstance(item, ops.CreateCheckConstraintOp))
        is_known = any(table_of(item) == table and str(item.constraint_name) == str(check.name) for item in known)
        if str(check.name) == str(getattr(column.type, "name", None)) and not is_known:
            create_check(work, value_check(check, work.facts.dialect))


def _add_computed(work: Work, table: Name, column: sa.Column[Any], back: Sequence[Any]) -> None:
    """Add a column whose default differs from row to row: with it at once the server would write every row."""
    bare = column_like(column, nullable=True, server_default=None)
    remark = Remark("The default comes after the column: with it, the server would write the table anew at once.")
    given = work.engine.alter_column(table, column.name, bare, modify_server_default=column.server_default)
    work.pieces.add(
        Before.COLUMNS, [*column_added(work, table, column, nullable=True, server_default=None), remark, *given], back
    )
    value = str(column.server_default.arg.compile(dialect=work.facts.dialect))  # type: ignore[union-attr]
    if column.nullable:
        work.pieces.add(Before.FILL, work.engine.fill(table, column.name, value))
    else:
        _make_filled(work, table, column, value)


def _forbids_default(work: Work, column: Any) -> bool:
    """Return whether the engine has no defaults for columns of that type: MySQL's texts."""
    unable = isinstance(column.type, (sa.Text, sa.LargeBinary, sa.JSON))
    return work.engine.name == "mysql" and unable and not getattr(work.facts.dialect, "is_mariadb", False)


def _add_with_default(work: Work, table: Name, column: sa.Column[Any], value: str, back: Sequence[Any]) -> None:
    text = text_of(value, work.facts)
    default = sa.DefaultClause(sa.text(value) if text is None else text)
    with_default = column_like(column, server_default=default, nullable=False)
    remark = Remark(f"The old code does not know {column.name}: until it is gone, the database gives the default.")
    work.pieces.add(Before.COLUMNS, [remark, *column_added(work, table, column, server_default=default)], back)
    drop = work.engine.alter_column(table, column.name, with_default, modify_server_default=None)
    again = work.engine.alter_column(table, column.name, column, modify_server_default=default)
    work.pieces.add(After.ALTER, drop, again)


def _add_and_fill(work: Work, table: Name, column: sa.Column[Any], value: str | None, back: Sequence[Any]) -> None:
    work.pieces.add(Before.COLUMNS, column_added(work, table, column, nullable=True), back)
    _make_filled(work, table, column, value)


def _make_filled(work: Work, table: Name, column: sa.Column[Any], value: str | None) -> None:
    """Fill a column that may be empty as yet, and make it NOT NULL when the old code is gone."""
    if value is None:
        value = ask_fill(work, table, column)
    if value:
        fill = work.engine.fill(table, column.name, value)
        work.pieces.add(Before.FILL, fill)
        remark = Remark("What the old code has written since:")
        work.pieces.add(After.FILL, [with_remark(work.engine.fill_rest(table, column.name, value), remark)])
    work.pieces.add(After.NOT_NULL, work.engine.set_not_null(table, column), work.engine.drop_not_null(table, column))


def drop_column(work: Work, operation: ops.DropColumnOp) -> None:
    """Drop a column after the deploy; before it, let the new code do without."""
    table, column = table_of(operation), dropped_column(operation)
    optional = column.nullable or column.server_default is not None or column.primary_key
    if not optional:
        _make_optional(work, table, column)
    back = column_added(work, table, column, nullable=True) if not optional else column_added(work, table, column)
    work.pieces.add(After.DROP_COLUMNS, work.engine.alter(operation), _filled_at_once(work, table, column, back))


def _make_optional(work: Work, table: Name, column: sa.Column[Any]) -> None:
    """Let the new code, which does not know a column, insert rows; the undo fills what it left empty."""
    remark = Remark(f"The new code does not know {column.name}, and the old one still writes it.")
    up = [remark, *work.engine.drop_not_null(table, column)]
    value = None if column.foreign_keys else neutral_literal(column.type, work.facts)
    if value is None:
        text = f"{column.name} stays without NOT NULL: its values are gone, and nothing can stand for them."
        work.pieces.add(Before.ALTER, up, [Remark(text)])
        return
    lost = Remark(f"The values of {column.name} went with the column: {value} stands for them.")
    fill = with_remark(work.engine.fill(table, column.name, value), lost)
    work.pieces.add(Before.ALTER, up, [fill, *work.engine.set_not_null(table, column)])


def alter_column(work: Work, operation: ops.AlterColumnOp) -> None:
    """Place each change of a column by itself."""
    table = table_of(operation)
    before = column_before(operation)
    if operation.modify_type is not None:
        before = change_type(work, table, before, operation)
    if operation.modify_server_default is not False:
        before = _change_default(work, table, before, operation)
    if operation.modify_nullable is True:
        work.pieces.add(Before.ALTER, work.engine.drop_not_null(table, before), _refill(work, table, before))
    if operation.modify_nullable is False:
        _make_filled(work, table, before, _known_value(work, table, before))
    if operation.modify_comment is not False:
        now, was = operation.modify_comment, operation.existing_comment
        forth: dict[str, Any] = {"modify_comment": now, "existing_comment": was}
        back: dict[str, Any] = {"modify_comment": was, "existing_comment": now}
        work.pieces.add(
            Before.ALTER,
            work.engine.alter_column(table, before.name, before, **forth),
            work.engine.alter_column(table, before.name, before, **back),
        )


def _refill(work: Work, table: Name, before: sa.Column[Any]) -> list[MigrateOperation]:
    """Return how a column gets its NOT NULL back: rows that the new code left empty have no value to give."""
    value = neutral_literal(before.type, work.facts) if not before.foreign_keys else None
    if value is None:
        return [
            Remark("A row without a value refuses this: fill it first."),
            *work.engine.set_not_null(table, before),
        ]
    remark = Remark(f"{value} stands for what the new code left empty.")
    fill = with_remark(work.engine.fill(table, before.name, value), remark)
    return [fill, *work.engine.set_not_null(table, before)]


def ask_fill(work: Work, table: Name, column: sa.Column[Any]) -> str | None:
    """Return what fills a column: from the models, or from a person; "" for nothing, None for no answer."""
    value = _known_value(work, table, column)
    if value is not None:
        return value
    subject = dotted(table, column.name)
    question = Question(
        "fill",
        subject,
        f"{subject} becomes NOT NULL, and the models give no default. Which SQL gives the value of rows that have "
        "none? (Nothing, if there are no such rows.)",
    )
    return work.answers.answer(question)


def _known_value(work: Work, table: Name, before: sa.Column[Any]) -> str | None:
    """Return what fills a column that becomes NOT NULL, from the models: an answer goes before it."""
    if dotted(table, before.name) in work.answers.fills:
        return None
    model = model_column(work, table, before.name)
    default = None if model is None else model.server_default
    if isinstance(default, sa.DefaultClause):
        given = default.arg
        return literal(given, sa.String(), work.facts) if isinstance(given, str) else compiled(given, work.facts)
    return None if model is None else default_literal(model, work.facts)


def _leave_generated(work: Work, table: Name, before: sa.Column[Any]) -> sa.Column[Any]:
    """Leave out a change of how the database makes a column's values: a new sequence would begin at 1 again."""
    text = (
        f"{dotted(table, before.name)}: whether the database makes its values (Identity, Computed) is changed by hand, "
        "with the sequence set to go on where the rows end."
    )
    work.pieces.note(f"Not written: {text}")
    work.pieces.add(Before.ALTER, [Remark(f"To do: {text}")])
    return before


def _change_default(work: Work, table: Name, before: sa.Column[Any], operation: Any) -> sa.Column[Any]:
    """Set a default before the deploy, drop one after it; return the column as later changes find it."""
    existing = operation.existing_server_default
    wanted = operation.modify_server_default
    if isinstance(wanted, (sa.Identity, sa.Computed)) or isinstance(existing, (sa.Identity, sa.Computed)):
        return _leave_generated(work, table, before)
    before = column_like(before, server_default=existing or None)
    dropped = wanted is None
    # What runs after the deploy finds the NOT NULL gone that went before it.
    found = column_like(before, nullable=True) if dropped and operation.modify_nullable is True else before
    after: sa.Column[Any] = column_like(found, server_default=wanted)
    # A default that is an expression is no change of the table's description alone for MariaDB.
    cost: Cost = "online" if isinstance(before.type, sa.DateTime) else "instant"
    forth = work.engine.alter_column(table, before.name, found, cost, modify_server_default=wanted)
    back = work.engine.alter_column(table, before.name, after, cost, modify_server_default=existing or None)
    work.pieces.add(After.ALTER if dropped else Before.ALTER, forth, back)
    return before if dropped else after
