"""PostgreSQL's types of values: made before what uses them, dropped after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.operations import ops

from .enums import AlterEnum
from .script import After, Before
from .statements import Autocommit, Remark, Sql, text_literal
from .types import enum_name, model_enums, native_enum
from .values import Name
from .work import Work, dropped_column


def add_types(work: Work) -> None:
    """Make the types that the models have and drop those whose last column goes."""
    wanted = {enum_name(item): item for metadata in work.facts.metadata for item in model_enums(metadata)}
    for name, item in wanted.items():
        if name not in work.facts.enums:
            work.pieces.add(Before.TYPES, [_create_type(work, name, item.enums)], [_drop_type(work, name)])
    for name in _types_left(work, set(wanted)):
        work.pieces.add(After.DROP_TYPES, [_drop_type(work, name)], [_create_type(work, name, work.facts.enums[name])])


def _types_left(work: Work, wanted: set[Name]) -> list[Name]:
    """Return the types whose last column this revision drops."""
    lost: dict[Name, int] = {}
    for operation in work.operations:
        columns: Sequence[Any] = ()
        if isinstance(operation, ops.DropColumnOp):
            columns = [dropped_column(operation)]
        elif isinstance(operation, ops.DropTableOp):
            columns = list(operation.to_table().columns)
        for column in columns:
            if native_enum(column.type) is not None:
                lost[enum_name(column.type)] = lost.get(enum_name(column.type), 0) + 1
    return [
        name
        for name, count in lost.items()
        if name not in wanted and name in work.facts.enums and count >= work.facts.enum_users.get(name, 0)
    ]


def _create_type(work: Work, name: Name, values: Sequence[str]) -> Sql:
    return Sql(f"CREATE TYPE {work.engine.quote(*name)} AS ENUM ({', '.join(map(text_literal, values))})")


def _drop_type(work: Work, name: Name) -> Sql:
    return Sql(f"DROP TYPE {work.engine.quote(*name)}")


def alter_enum(work: Work, operation: AlterEnum) -> None:
    """Add values to a type."""
    remark = Remark(f"PostgreSQL cannot take a value from a type: {operation.name[1]} keeps what was added.")
    work.pieces.add(Before.TYPES, [Autocommit(operation.statements())], [remark])
