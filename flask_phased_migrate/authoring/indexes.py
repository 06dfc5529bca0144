"""Indexes that are built, replaced, renamed and dropped."""

from __future__ import annotations

import copy
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops

from .engine import column_names
from .script import After, Before, table_of
from .statements import Sql
from .values import Name
from .work import Work, uniques_of


def pair_indexes(work: Work, old: Name, new: Name, made: sa.Table) -> None:
    """Rename the indexes of a renamed table; nothing else of theirs changes.

    MariaDB and MySQL report a unique constraint as an index.
    """
    constraints = {column_names(list(item.columns)): item for item in uniques_of(made)}
    before = [item for item in work.operations if isinstance(item, ops.DropIndexOp) and table_of(item) == old]
    after = [item for item in work.operations if isinstance(item, ops.CreateIndexOp) and table_of(item) == new]
    for item in before:
        back: Any = item.reverse()
        same = [
            other
            for other in after
            if column_names(other.columns) == column_names(back.columns) and id(other) not in work.done
        ]
        wanted = constraints.get(column_names(back.columns))
        if same:
            work.done |= {id(item), id(same[0])}
            _rename_index(work, new, back, same[0])
        elif wanted is not None:
            work.done.add(id(item))
            if wanted.name:
                named = ops.CreateIndexOp(str(wanted.name), new[1], back.columns, schema=new[0])
                _rename_index(work, new, back, named)
        else:
            item.table_name = new[1]


def rename_constraints(work: Work, old: sa.Table, new: sa.Table) -> None:
    """Give the unique constraints of a renamed table of PostgreSQL the names that the models have."""
    names = {column_names(list(item.columns)): item.name for item in uniques_of(old)}
    target = work.engine.quote(new.schema, new.name)
    for item in uniques_of(new):
        was = names.get(column_names(list(item.columns)))
        if was and item.name and str(was) != str(item.name):
            first, second = work.engine.quote(str(was)), work.engine.quote(str(item.name))
            forth = Sql(f"ALTER TABLE {target} RENAME CONSTRAINT {first} TO {second}")
            back = Sql(f"ALTER TABLE {target} RENAME CONSTRAINT {second} TO {first}")
            work.pieces.add(After.RENAME_INDEXES, [forth], [back])


def _rename_index(work: Work, table: Name, old: Any, new: Any) -> None:
    if old.index_name == new.index_name:
        return
    if work.engine.name == "sqlite":
        change = [ops.DropIndexOp(old.index_name, table[1], schema=table[0]), new]
        moved = ops.CreateIndexOp(old.index_name, table[1], old.columns, schema=table[0], unique=old.unique)
        undo: list[Any] = [ops.DropIndexOp(new.index_name, table[1], schema=table[0]), moved]
    else:
        change = [_index_rename(work, table, old.index_name, new.index_name)]
        undo = [_index_rename(work, table, new.index_name, old.index_name)]
    work.pieces.add(After.RENAME_INDEXES, change, undo)


def _index_rename(work: Work, table: Name, old: str, new: str) -> Sql:
    quote = work.engine.quote
    if work.engine.name == "postgresql":
        return Sql(f"ALTER INDEX {quote(table[0], old)} RENAME TO {quote(new)}")
    return Sql(f"ALTER TABLE {quote(*table)} RENAME INDEX {quote(old)} TO {quote(new)}")


def replace_indexes(work: Work) -> None:
    """Build the new form of an index that keeps its name beside the old one."""
    made = {(table_of(item), item.index_name): item for item in work.operations if isinstance(item, ops.CreateIndexOp)}
    for dropped in [item for item in work.operations if isinstance(item, ops.DropIndexOp)]:
        created = made.get((table_of(dropped), dropped.index_name))
        if created is None or table_of(dropped) in work.lost_tables:
            continue
        work.done |= {id(dropped), id(created)}
        back: Any = dropped.reverse()
        up = [*work.engine.drop_index(dropped), *work.engine.create_index(created)]
        down = [*work.engine.drop_index(dropped), *work.engine.create_index(back)]
        if created.unique or back.unique or work.engine.name == "sqlite":
            work.pieces.add(After.DROP_REPLACED, up, down)
        else:
            _swap_index(work, table_of(dropped), dropped, created, back)


def _swap_index(work: Work, table: Name, dropped: Any, created: Any, back: Any) -> None:
    beside = copy.copy(created)
    beside.index_name = f"{created.index_name}_new"
    was = copy.copy(back)
    was.index_name = beside.index_name
    drop_beside = copy.copy(dropped)
    drop_beside.index_name = beside.index_name
    rename = _index_rename(work, table, beside.index_name, created.index_name)
    away = _index_rename(work, table, created.index_name, beside.index_name)
    work.pieces.add(Before.INDEXES, work.engine.create_index(beside), work.engine.drop_index(drop_beside))
    work.pieces.add(
        After.DROP_INDEXES,
        [*work.engine.drop_index(dropped), rename],
        [away, *work.engine.create_index(back)],
    )


def create_index(work: Work, operation: ops.CreateIndexOp) -> None:
    """Build an index; a unique one when nobody is left who does not know of it."""
    if table_of(operation) in work.new_tables:
        # The table takes its indexes along when it is dropped.
        work.pieces.add(Before.TABLE_INDEXES, [operation])
        return
    rank = After.UNIQUE if operation.unique else Before.INDEXES
    drop: Any = operation.reverse()
    work.pieces.add(rank, work.engine.create_index(operation), work.engine.drop_index(drop))


def drop_index(work: Work, operation: ops.DropIndexOp) -> None:
    """Drop an index when nobody is left who needs it; a unique one before the new code writes what it refuses."""
    back: Any = operation.reverse()
    if table_of(operation) in work.lost_tables:
        work.pieces.add(After.DROPPED_TABLE_INDEXES, (), [back])
    elif back.unique:
        # What it refused, the new code may write.
        work.pieces.add(Before.DROP_CONSTRAINTS, work.engine.drop_index(operation), work.engine.create_index(back))
    else:
        work.pieces.add(After.DROP_INDEXES, work.engine.drop_index(operation), work.engine.create_index(back))
