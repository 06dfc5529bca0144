"""Tables that are made, dropped and renamed."""

from __future__ import annotations

import copy
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops

from .indexes import pair_indexes
from .script import After, Before, table_of
from .statements import Remark, Sql
from .types import native_enum, plain_enum, shape_of
from .values import Name, Question, dotted
from .work import Work, choose


def create_table(work: Work, operation: ops.CreateTableOp) -> None:
    """Make a table before the deploy."""
    made: Any = operation
    if work.engine.name == "postgresql" and any(
        native_enum(getattr(item, "type", None)) is not None for item in operation.columns
    ):
        made = copy.copy(operation)
        made.columns = [_with_plain_enum(item) for item in operation.columns]
    work.pieces.add(Before.TABLES, [made], [operation.reverse()])


def _with_plain_enum(item: Any) -> Any:
    if not isinstance(item, sa.Column) or native_enum(item.type) is None:
        return item
    found = item._copy()
    found.type = plain_enum(item.type)
    return found


def drop_table(work: Work, operation: ops.DropTableOp) -> None:
    """Drop a table after the deploy, and its foreign keys before it."""
    table = table_of(operation)
    found = operation.to_table()
    back: Any = operation.reverse()
    constraints = [item for item in back.columns if isinstance(item, sa.ForeignKeyConstraint)]
    if work.engine.name != "sqlite":
        for constraint in constraints:
            others = {key.target_fullname.rpartition(".")[0] for key in constraint.elements}
            if constraint.name and others != {found.fullname}:
                _free(work, table, constraint)
                back = copy.copy(back)
                back.columns = [item for item in back.columns if item is not constraint]
    work.pieces.add(After.DROP_TABLES, [operation], [_without_types(work, back)])


def _without_types(work: Work, operation: Any) -> Any:
    if work.engine.name == "postgresql":
        operation = copy.copy(operation)
        operation.columns = [_with_plain_enum(item) for item in operation.columns]
    return operation


def _free(work: Work, table: Name, constraint: sa.ForeignKeyConstraint) -> None:
    """Drop a foreign key of a table that goes: the new code deletes the rows that it points to."""
    back = ops.CreateForeignKeyOp.from_constraint(constraint)
    drop = ops.DropConstraintOp(str(constraint.name), table[1], "foreignkey", schema=table[0])
    work.pieces.add(Before.DROP_FOREIGN_KEYS, work.engine.drop_constraint(drop), work.engine.create_constraint(back))


def rename_tables(work: Work) -> None:
    """Ask of each table that is gone whether one of the new ones is it."""
    for old, dropped in list(work.lost_tables.items()):
        alike = [new for new, made in work.new_tables.items() if _alike(work, dropped, made)]
        if not alike:
            continue
        choices = [(dotted(new), f"it is {dotted(new)} now") for new in alike]
        question = Question(
            "rename",
            dotted(old),
            f"The table {dotted(old)} is gone, and there is {' and '.join(name for name, _ in choices)} with the "
            f"same columns. Is it renamed? (Or leave the database alone: __tablename__ = {old[1]!r}.)",
            (*choices, ("", f"no: {dotted(old)} and its rows are dropped")),
        )
        chosen = choose(work, question)
        if chosen:
            _rename_table(work, old, next(new for new in alike if dotted(new) == chosen))


def _alike(work: Work, dropped: Any, made: Any) -> bool:
    def shape(operation: Any) -> set[tuple[str, tuple[Any, ...]]]:
        columns = operation.to_table().columns
        return {(column.name, shape_of(column.type, work.facts)) for column in columns}

    return table_of(dropped)[0] == table_of(made)[0] and shape(dropped.reverse()) == shape(made)


def _rename_table(work: Work, old: Name, new: Name) -> None:
    """Rename a table before the deploy, and leave a view for the old code."""
    work.done |= {id(work.lost_tables.pop(old)), id(work.new_tables.pop(new))}
    pair_indexes(work, old, new)
    quote = work.engine.quote
    # MySQL would put a new name without a schema into the database of the session.
    forth = Sql(f"ALTER TABLE {quote(*old)} RENAME TO {quote(new[1])}")
    back = Sql(f"ALTER TABLE {quote(*new)} RENAME TO {quote(old[1])}")
    if work.engine.name == "mysql":
        forth = Sql(f"ALTER TABLE {quote(*old)} RENAME TO {quote(*new)}")
        back = Sql(f"ALTER TABLE {quote(*new)} RENAME TO {quote(*old)}")
    if work.engine.name == "sqlite":
        work.pieces.note(
            f"{dotted(old)} is renamed before the deploy, and SQLite has no views that can be written: the old "
            "code does not find its table from then on."
        )
        work.pieces.add(Before.DROP_CONSTRAINTS, [forth], [back])
        return
    view = Sql(f"CREATE VIEW {work.engine.quote(*old)} AS SELECT * FROM {work.engine.quote(*new)}")
    drop = Sql(f"DROP VIEW {work.engine.quote(*old)}")
    remark = Remark(f"The old code goes on with {old[1]} through a view.")
    work.pieces.add(Before.DROP_CONSTRAINTS, [forth, remark, view], [drop, back])
    work.pieces.add(After.DROP_REPLACED, [drop], [view])
