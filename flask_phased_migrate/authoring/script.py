"""The parts of a revision while it is put together: what each phase does, in which order, and its undo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from alembic.operations import MigrateOperation, ops

from .statements import Autocommit, Batch, Remark, Sql
from .values import Name


class Before(IntEnum):
    """The order within the last phase that the old code sees; the downgrade goes backwards.

    What is committed by itself comes last, all but values of types, which a statement can use only then.
    """

    TYPES = 5
    DROP_FOREIGN_KEYS = 10
    DROP_CONSTRAINTS = 15
    TABLES = 30
    TABLE_INDEXES = 31
    TABLE_KEYS = 32
    COLUMNS = 40
    ALTER = 50
    SYNC = 60
    FILL = 70
    PROVE = 72
    SWAP = 75
    INDEXES = 80


class After(IntEnum):
    """The order within the phase that only the new code sees."""

    UNSYNC = 10
    FILL = 20
    DROP_REPLACED = 25
    UNIQUE = 30
    CHECKS = 32
    NOT_NULL = 33
    FOREIGN_KEYS = 34
    ALTER = 40
    DROP_INDEXES = 50
    RENAME_INDEXES = 55
    DROP_COLUMNS = 60
    DROPPED_TABLE_INDEXES = 69
    DROP_TABLES = 70
    DROP_TYPES = 80


class Final(IntEnum):
    """The order within the last phase: what after-deploy has left for a way back."""

    DROP_COLUMNS = 10


Part = Before | After | Final


@dataclass(frozen=True)
class Piece:
    """Some operations that belong together, and what undoes them."""

    rank: Part
    up: tuple[MigrateOperation, ...]
    down: tuple[MigrateOperation, ...]


@dataclass
class Pieces:
    """All pieces of a revision on one bind, and what the person should be told."""

    found: list[Piece] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, rank: Part, up: Sequence[MigrateOperation] = (), down: Sequence[MigrateOperation] = ()) -> None:
        """Add a piece."""
        self.found.append(Piece(rank, tuple(up), tuple(down)))

    def note(self, text: str) -> None:
        """Tell the person something once."""
        if text not in self.notes:
            self.notes.append(text)

    def upgrade(self, part: type[Part]) -> list[MigrateOperation]:
        """Return the operations of one part, in order."""
        return _joined(operation for piece in self._sorted(part) for operation in piece.up)

    def downgrade(self, part: type[Part]) -> list[MigrateOperation]:
        """Return the operations that undo one part, in order."""
        return _joined(operation for piece in reversed(self._sorted(part)) for operation in piece.down)

    def _sorted(self, part: type[Part]) -> list[Piece]:
        return sorted((piece for piece in self.found if isinstance(piece.rank, part)), key=lambda piece: piece.rank)


def _joined(operations: Iterable[MigrateOperation]) -> list[MigrateOperation]:
    """Return the operations with neighbouring autocommit blocks, and batches of one table, made one."""
    found: list[MigrateOperation] = []
    for operation in operations:
        last = found[-1] if found else None
        if isinstance(operation, Autocommit) and isinstance(last, Autocommit):
            found[-1] = Autocommit([*last.operations, *operation.operations])
        elif isinstance(operation, Batch):
            if isinstance(last, Remark):
                found.pop()
                operation = Batch(
                    operation.table_name, operation.schema, [last, *operation.operations], operation.conventions
                )
            _join_batch(found, operation)
        elif isinstance(operation, Remark) and any(
            isinstance(item, Remark) and item.text == operation.text for item in found
        ):
            continue
        else:
            found.append(operation)
    return found


def _join_batch(found: list[MigrateOperation], batch: Batch) -> None:
    """Put a batch into the last one of its table, unless something else has to do with that table since then."""
    for position in range(len(found) - 1, -1, -1):
        item = found[position]
        if isinstance(item, Batch) and (item.schema, item.table_name) == (batch.schema, batch.table_name):
            found[position] = Batch(
                item.table_name,
                item.schema,
                [*item.operations, *batch.operations],
                {**item.conventions, **batch.conventions},
            )
            return
        if not isinstance(item, Batch):
            break
    found.append(batch)


def flatten(operations: Iterable[MigrateOperation]) -> Iterator[MigrateOperation]:
    """Yield the operations, those of a table one by one."""
    for operation in operations:
        if isinstance(operation, ops.OpContainer):
            yield from flatten(operation.ops)
        else:
            yield operation


def table_of(operation: Any) -> Name:
    """Return schema and name of the table that an operation is about."""
    name = operation.source_table if isinstance(operation, ops.CreateForeignKeyOp) else operation.table_name
    return (operation.schema if hasattr(operation, "schema") else operation.kw.get("source_schema"), str(name))


__all__ = ["After", "Before", "Final", "Part", "Piece", "Pieces", "Sql", "flatten", "table_of"]
