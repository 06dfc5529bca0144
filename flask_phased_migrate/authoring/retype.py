"""Columns that get another type."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops

from .engine import short
from .script import After, Before, table_of
from .statements import Remark, Sql
from .sync import follow, let_go
from .types import change_of, compiled
from .values import Name, Question, dotted
from .work import (
    Work,
    column_added,
    column_before,
    column_finished,
    column_like,
    default_of,
    model_column,
    rewrite_remark,
    uniques_of,
)


def change_type(work: Work, table: Name, before: sa.Column[Any], operation: Any) -> sa.Column[Any]:
    """Change a type, before the deploy if it takes more; return the column as later changes find it."""
    new = operation.modify_type
    change = change_of(before.type, new)
    after: sa.Column[Any] = column_like(before, type=new)
    shown = f"{compiled(before.type, work.facts)} to {compiled(new, work.facts)}"
    subject = dotted(table, before.name)
    if change == "wider, rewritten" and _can_swap(work, table, operation):
        _swap_column(work, table, before, after)
        return after
    if not change.startswith("wider"):
        # By then the other changes of the column are done.
        before, after = column_finished(before, operation), column_finished(after, operation)
    forth = _retype(work, table, before, new, change)
    back = _retype(work, table, after, before.type, "narrower")
    if change == "other":
        forth = _convert(work, table, before, new, shown)
    rank: Before | After = Before.ALTER if change.startswith("wider") else After.ALTER
    if change == "narrower":
        work.pieces.note(f"{subject} goes from {shown}: a value that does not fit stops after-deploy.")
    work.pieces.add(rank, forth, back)
    return after if rank is Before.ALTER else column_before(operation)


def _can_swap(work: Work, table: Name, operation: Any) -> bool:
    """Return whether nothing but the column itself would have to be made anew for a column of another type."""
    model = model_column(work, table, operation.column_name)
    if work.engine.name != "postgresql" or model is None or model.primary_key or model.foreign_keys:
        return False
    name = operation.column_name
    kept = (*model.table.indexes, *uniques_of(model.table))
    used = any(column.name == name for item in kept for column in item.columns)
    checks = (item for item in model.table.constraints if isinstance(item, sa.CheckConstraint))
    pointed = any(
        key.column is model
        for one in work.facts.metadata
        for other in one.tables.values()
        for key in other.foreign_keys
    )
    dropped = any(
        isinstance(item, (ops.DropIndexOp, ops.DropConstraintOp)) and table_of(item) == table
        for item in work.operations
    )
    changed = operation.modify_server_default is not False or operation.modify_nullable is True
    serial = "nextval" in str(getattr(default_of(operation.existing_server_default), "text", ""))
    return not (used or any(checks) or pointed or dropped or changed or serial)


def _swap_column(work: Work, table: Name, before: sa.Column[Any], after: sa.Column[Any]) -> None:
    """Fill a column of the wider type beside the old one, and let them change places in a moment."""
    engine, name = work.engine, before.name
    quote, target = engine.quote, engine.quote(*table)
    new, old = short(f"{name}_new"), short(f"{name}_old")
    bare = column_like(after, nullable=True, server_default=None)
    bare.name = new
    undo = Sql(f"ALTER TABLE {target} DROP COLUMN IF EXISTS {quote(new)}")
    work.pieces.add(Before.COLUMNS, column_added(work, table, bare), [undo])
    work.pieces.add(Before.SYNC, follow(engine, table, name, new))
    work.pieces.add(Before.FILL, engine.fill(table, new, quote(name), f"{quote(new)} IS DISTINCT FROM {quote(name)}"))
    check = short(f"{table[1]}_{new}_not_null")
    required: list[MigrateOperation] = []
    if not before.nullable:
        work.pieces.add(Before.PROVE, engine.checked(table, check, f"CHECK ({quote(new)} IS NOT NULL)"))
        required = [
            *engine.alter_column(table, name, column_like(after, nullable=True), modify_nullable=False),
            ops.DropConstraintOp(check, table[1], "check", schema=table[0]),
            Sql(f"ALTER TABLE {target} ALTER COLUMN {quote(old)} DROP NOT NULL"),
        ]
    default = before.server_default
    if default is not None:
        plain = column_like(after, server_default=None)
        required += engine.alter_column(table, name, plain, modify_server_default=default)
    swap = [
        Remark(f"Both codes work with the wider {name}; {old} goes after the deploy."),
        *let_go(engine, table, name, new),
        Sql(f"ALTER TABLE {target} RENAME COLUMN {quote(name)} TO {quote(old)}"),
        Sql(f"ALTER TABLE {target} RENAME COLUMN {quote(new)} TO {quote(name)}"),
        *required,
    ]
    back = [
        Sql(f"ALTER TABLE {target} DROP COLUMN IF EXISTS {quote(old)}"),
        *_retype(work, table, after, before.type, "narrower"),
    ]
    work.pieces.add(Before.SWAP, swap, back)
    gone = ops.DropColumnOp(table[1], old, schema=table[0])
    work.pieces.add(After.DROP_COLUMNS, engine.alter(gone))


def _retype(work: Work, table: Name, before: sa.Column[Any], new: Any, change: str) -> list[MigrateOperation]:
    longer = change == "wider" and isinstance(new, sa.String) and not isinstance(new, sa.Text)
    cost: Any = "online" if longer else "copy"
    options = {}
    remark = []
    if work.engine.name == "postgresql" and change != "wider":
        if change == "narrower" or change == "other":
            options["postgresql_using"] = f"{work.engine.quote(before.name)}::{compiled(new, work.facts)}"
        remark = [rewrite_remark(table)]
    changed = work.engine.alter_column(table, before.name, before, cost, modify_type=new, **options)
    return [*remark, *changed]


def _convert(work: Work, table: Name, before: sa.Column[Any], new: Any, shown: str) -> list[MigrateOperation]:
    subject = dotted(table, before.name)
    question = Question(
        "fill",
        subject,
        f"{subject} goes from {shown}, and no type serves the old code and the new: better add a column. To "
        "convert it after the deploy: which SQL gives the new value? (Nothing, for what a cast gives.)",
    )
    value = work.answers.answer(question)
    remark = Remark(f"From {shown}: the new code has to do with the old type until this has run.")
    plain = _retype(work, table, before, new, "other")
    if not value:
        return [remark, *plain]
    if work.engine.name != "postgresql":
        name = work.engine.quote(before.name)
        return [remark, *work.engine.fill(table, before.name, value, f"{name} IS NOT NULL"), *plain]
    changed = work.engine.alter_column(table, before.name, before, "copy", modify_type=new, postgresql_using=value)
    return [remark, *plain[:-1], *changed]
