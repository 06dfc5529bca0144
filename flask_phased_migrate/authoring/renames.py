"""Columns that have a new name: both are kept in step while old and new code write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.dialects import postgresql

from .columns import ask_fill
from .script import After, Before, table_of
from .statements import Assured
from .sync import keep_in_step, let_go
from .values import Question, dotted
from .work import Work, choose, column_added, column_like, dropped_column


def rename_columns(work: Work) -> None:
    """Ask of each column that is gone whether one of the new ones is it."""
    added = [item for item in work.operations if isinstance(item, ops.AddColumnOp)]
    for dropped in [item for item in work.operations if isinstance(item, ops.DropColumnOp)]:
        old = dropped_column(dropped)
        alike = [
            item
            for item in added
            if table_of(item) == table_of(dropped)
            and id(item) not in work.done
            and not work.facts.differs(old, item.column)
        ]
        if alike and not old.primary_key and work.engine.name in ("postgresql", "mysql", "sqlite"):
            _ask_rename(work, dropped, old, alike)


def _ask_rename(work: Work, dropped: Any, old: sa.Column[Any], alike: Sequence[Any]) -> None:
    table = table_of(dropped)
    names = [item.column.name for item in alike]
    question = Question(
        "rename",
        dotted(table, old.name),
        f"{dotted(table, old.name)} is gone, and {' and '.join(names)} of the same type is new. Is it renamed? (Or "
        f"leave the database alone: {names[0]} = db.Column({old.name!r}, ...).)",
        (*((name, f"it is {name} now") for name in names), ("", f"no: {old.name} and its values are dropped")),
    )
    chosen = choose(work, question)
    if question in work.answers.unanswered:
        # What fills a new column is to be asked only if it is no renamed one.
        work.done |= {id(dropped), *map(id, alike)}
    if chosen:
        added = next(item for item in alike if item.column.name == chosen)
        work.done |= {id(dropped), id(added)}
        _rename_column(work, dropped, old, added.column)


def _rename_column(work: Work, dropped: Any, old: sa.Column[Any], new: sa.Column[Any]) -> None:
    """Add the new column, keep both in step while old and new code write, drop the old one."""
    table, engine = table_of(dropped), work.engine
    quote = engine.quote
    comparable = not isinstance(old.type, sa.JSON) or isinstance(old.type, postgresql.JSONB)
    distinct = {"postgresql": "{} IS DISTINCT FROM {}", "mysql": "NOT ({} <=> {})", "sqlite": "{} IS NOT {}"}
    if not comparable:
        distinct["postgresql"] = "{}::text IS DISTINCT FROM {}::text"
    differ = distinct[engine.name].format(quote(new.name), quote(old.name))
    bare: dict[str, Any] = {"nullable": True, "server_default": None}
    start = keep_in_step(engine, table, old.name, new.name, comparable=comparable)
    stop = let_go(engine, table, old.name, new.name)
    drop_new = engine.alter(ops.DropColumnOp(table[1], new.name, schema=table[0]))
    work.pieces.add(Before.COLUMNS, column_added(work, table, new, **bare), drop_new)
    if not old.nullable:
        work.pieces.add(Before.ALTER, engine.drop_not_null(table, old), engine.set_not_null(table, old))
    work.pieces.add(Before.SYNC, start, stop)
    work.pieces.add(Before.FILL, engine.fill(table, new.name, quote(old.name), differ))
    copy_back = engine.fill(table, old.name, quote(new.name), differ)
    work.pieces.add(After.UNSYNC, stop, [*start, *copy_back])
    if not new.nullable and old.nullable:
        value = ask_fill(work, table, new)
        if value:
            work.pieces.add(After.FILL, engine.fill(table, new.name, value))
    if not new.nullable:
        work.pieces.add(After.NOT_NULL, engine.set_not_null(table, new), engine.drop_not_null(table, new))
    if new.server_default is not None:
        bare_new = column_like(new, server_default=None)
        given = engine.alter_column(table, new.name, bare_new, modify_server_default=new.server_default)
        taken = engine.alter_column(table, new.name, new, modify_server_default=None)
        work.pieces.add(After.ALTER, given, taken)
    back = column_added(work, table, old, nullable=True)
    gone = engine.alter(dropped)
    if engine.name == "postgresql":
        reason = f"{new.name} has the values: both were kept in step since {old.name} was renamed"
        gone = [Assured("drop-and-add", reason, gone)]
    work.pieces.add(After.DROP_COLUMNS, gone, back)
