"""Unique constraints, checks and foreign keys that are added and dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops

from ..operations import escape_colons
from .engine import column_names
from .enums import AddCheck, AlterCheck
from .script import After, Before, table_of
from .statements import Remark
from .values import Name, dotted
from .work import Work, uniques_of


def create_unique(work: Work, operation: ops.CreateUniqueConstraintOp) -> None:
    """Add a unique constraint after the deploy."""
    _constrain(work, After.UNIQUE, operation, "unique")


def create_foreign_key(work: Work, operation: ops.CreateForeignKeyOp) -> None:
    """Add a foreign key after the deploy."""
    _constrain(work, After.FOREIGN_KEYS, operation, "foreignkey")


def create_check(work: Work, operation: ops.CreateCheckConstraintOp) -> None:
    """Add a check after the deploy."""
    _constrain(work, After.CHECKS, operation, "check")


def _constrain(work: Work, rank: After, operation: Any, kind: str) -> None:
    """Add a constraint when nobody is left who does not know of it."""
    up = work.engine.create_constraint(operation)
    table = table_of(operation)
    drop = ops.DropConstraintOp(operation.constraint_name, table[1], kind, schema=table[0])
    down = work.engine.drop_constraint(drop)
    if kind == "foreignkey" and work.engine.name == "mysql" and not _indexed(work, table, operation.local_cols):
        down = [*down, *_drop_index_of_key(work, table, str(operation.constraint_name))]
    work.pieces.add(rank, up, down)


def drop_constraint(work: Work, operation: ops.DropConstraintOp) -> None:
    """Drop a constraint before the new code writes what it refuses."""
    table, foreign = table_of(operation), operation.constraint_type == "foreignkey"
    back: Any = operation.reverse()
    if operation.constraint_type == "check" and work.engine.name == "sqlite":
        # Elsewhere it is written as SQL.
        text = escape_colons(str(back.condition))
        back = AddCheck(back.constraint_name, back.table_name, text, schema=back.schema)
    up, down = work.engine.drop_constraint(operation), work.engine.create_constraint(back)
    if foreign and not _made_again(work, table, back):
        for name in _unwanted_indexes(work, table, tuple(back.local_cols)):
            up = [*up, *_drop_index_of_key(work, table, name)]
            again = ops.CreateIndexOp(name, table[1], list(back.local_cols), schema=table[0])
            down = [*work.engine.create_index(again), *down]
    work.pieces.add(Before.DROP_FOREIGN_KEYS if foreign else Before.DROP_CONSTRAINTS, up, down)


def add_drops_of_checks(
    operations: Iterable[Any], existing: Callable[[Name], Iterable[tuple[str, str]]], dialect: str
) -> None:
    """Add to the operations on tables the drops of checks that name a column that is dropped, where they lack them.

    Alembic below 1.19 finds no check; SQLite refuses to copy a table with one whose column is gone, and others drop it
    in silence, so that no downgrade would bring it back.

    :param existing: the checks of a table, by name and condition.
    """
    from ..inspection.statements import columns_in

    for found in [item for item in operations if isinstance(item, ops.ModifyTableOps)]:
        gone = {item.column_name.casefold() for item in found.ops if isinstance(item, ops.DropColumnOp)}
        known = {str(item.constraint_name) for item in found.ops if isinstance(item, ops.DropConstraintOp)}
        for name, text in existing((found.schema, found.table_name)) if gone else ():
            # MariaDB's JSON is a text with a check of the column's name, which is part of the column.
            is_type = name.casefold() in gone and text.casefold().startswith("json_valid(")
            if name not in known and not is_type and columns_in(text, dialect) & gone:
                table = sa.Table(found.table_name, sa.MetaData(), schema=found.schema)
                check = sa.CheckConstraint(sa.text(escape_colons(text)), name=name)
                table.append_constraint(check)
                found.ops.insert(0, ops.DropConstraintOp.from_constraint(check))


def alter_check(work: Work, operation: AlterCheck) -> None:
    """Drop a check before the new code writes what it refuses; add the new one when the old code is gone."""
    engine, (drop, new) = work.engine, operation.operations()
    old = operation.create(operation.old)
    work.pieces.add(Before.DROP_CONSTRAINTS, engine.drop_constraint(drop), engine.create_constraint(old))
    work.pieces.add(After.CHECKS, engine.create_constraint(new), engine.drop_constraint(drop))


def _made_again(work: Work, table: Name, dropped: Any) -> bool:
    """Return whether a foreign key of the same columns is made, which goes on with the index."""
    made = [item for item in work.operations if isinstance(item, ops.CreateForeignKeyOp)]
    return any(table_of(item) == table and list(item.local_cols) == list(dropped.local_cols) for item in made)


def _indexed(work: Work, table: Name, columns: Sequence[str]) -> bool:
    """Return whether an index begins with these columns, or this revision makes one."""
    made = [
        column_names(item.columns)
        for item in work.operations
        if isinstance(item, (ops.CreateIndexOp, ops.CreateUniqueConstraintOp)) and table_of(item) == table
    ]
    existing = [*work.facts.indexes.get(table, {}).values(), *made]
    return any(found[: len(columns)] == tuple(columns) for found in existing)


def _unwanted_indexes(work: Work, table: Name, columns: tuple[str, ...]) -> list[str]:
    """Return the indexes that MariaDB and MySQL have made for a foreign key, and keep without it."""
    model = next((item.tables[dotted(table)] for item in work.facts.metadata if dotted(table) in item.tables), None)
    wanted = {str(index.name) for index in model.indexes} if model is not None else set()
    dropped = {str(item.index_name) for item in work.operations if isinstance(item, ops.DropIndexOp)}
    uniques = {tuple(column.name for column in item.columns) for item in uniques_of(model)}
    return [
        name
        for name, found in work.facts.indexes.get(table, {}).items()
        if found == columns and name != "PRIMARY" and name not in wanted | dropped and columns not in uniques
    ]


def _drop_index_of_key(work: Work, table: Name, name: str) -> list[MigrateOperation]:
    remark = Remark("The server made this index for the foreign key, and keeps it.")
    return [remark, *work.engine.drop_index(ops.DropIndexOp(name, table[1], schema=table[0]))]
