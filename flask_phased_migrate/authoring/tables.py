"""Tables that are made, dropped and renamed."""

from __future__ import annotations

import copy
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops

from .indexes import pair_indexes, rename_constraints
from .script import After, Before, table_of
from .statements import Remark, Sql
from .types import native_enum, plain_enum
from .values import Name, Question, dotted
from .work import Work, choose


def create_table(work: Work, operation: ops.CreateTableOp) -> None:
    """Make a table before the deploy, and after it the foreign keys to tables that come later."""
    made = copy.copy(operation)
    columns: list[Any] = list(operation.columns)
    if work.engine.name != "sqlite":
        # SQLite takes a foreign key to a table that is not there yet.
        late = [item for item in columns if _comes_later(work, operation, item)]
        columns = [item for item in columns if not any(item is key for key in late)]
        for key in late:
            _add_key(work, table_of(operation), key)
    made.columns = [_with_plain_enum(item) for item in columns] if work.engine.name == "postgresql" else columns
    work.pieces.add(Before.TABLES, [made], [operation.reverse()])


def _comes_later(work: Work, operation: ops.CreateTableOp, item: Any) -> bool:
    """Return whether an item of a new table is a foreign key to a table that is made after it."""
    if not isinstance(item, sa.ForeignKeyConstraint):
        return False
    made = list(work.new_tables)
    table = table_of(operation)
    later = {dotted(other) for other in made[made.index(table) + 1 :]} if table in work.new_tables else set()
    return bool(item.use_alter) or any(key.target_fullname.rpartition(".")[0] in later for key in item.elements)


def _add_key(work: Work, table: Name, key: sa.ForeignKeyConstraint) -> None:
    create: Any = ops.CreateForeignKeyOp.from_constraint(key)
    create.kw.pop("use_alter", None)
    create.constraint_name = create.constraint_name or work.engine.constraint_name(create)
    drop = ops.DropConstraintOp(create.constraint_name, table[1], "foreignkey", schema=table[0])
    work.pieces.add(Before.TABLE_KEYS, [create], work.engine.drop_constraint(drop))


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
    """Return whether two tables have columns of the same names and types."""
    old, new = dropped.to_table().columns, made.to_table().columns
    return (
        table_of(dropped)[0] == table_of(made)[0]
        and set(old.keys()) == set(new.keys())
        and not any(work.facts.differs(column, new[column.key]) for column in old)
    )


def _rename_table(work: Work, old: Name, new: Name) -> None:
    """Rename a table before the deploy, and leave a view for the old code."""
    dropped, made = work.lost_tables.pop(old), work.new_tables.pop(new)
    work.done |= {id(dropped), id(made)}
    pair_indexes(work, old, new, made.to_table())
    if work.engine.name == "postgresql":
        rename_constraints(work, dropped.to_table(), made.to_table())
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
