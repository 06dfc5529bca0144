"""Columns that get another type."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops

from .engine import Cost, short
from .script import After, Before, Final, Part, table_of
from .statements import Assured, Autocommit, Remark, Sql, text_literal
from .sync import follow, let_go
from .types import change_of, compiled, native_enum, needs_cast, without_check
from .values import Name, Question, dotted
from .work import (
    Work,
    column_added,
    column_before,
    column_finished,
    column_like,
    default_of,
    model_column,
    rewriting,
    uniques_of,
)


def change_type(work: Work, table: Name, before: sa.Column[Any], operation: Any) -> sa.Column[Any]:
    """Change a type, before the deploy if it takes more; return the column as later changes find it."""
    new = without_check(operation.modify_type)
    change = change_of(before.type, new, work.facts)
    after: sa.Column[Any] = column_like(before, type=new)
    shown = f"{compiled(before.type, work.facts)} to {compiled(new, work.facts)}"
    subject = dotted(table, before.name)
    swaps = _can_swap(work, table, operation)
    if change == "wider, rewritten" and swaps:
        _swap_before(work, table, before, after)
        return after
    if not change.startswith("wider"):
        # By then the other changes of the column are done.
        before, after = column_finished(before, operation), column_finished(after, operation)
    rank: Part = Before.ALTER if change.startswith("wider") else After.ALTER
    if change == "narrower":
        work.pieces.note(
            f"{subject} goes from {shown}: a value that does not fit stops after-deploy; digits "
            "behind the point are rounded."
            if isinstance(new, sa.Numeric)
            else f"{subject} goes from {shown}: a value that does not fit stops after-deploy."
        )
    values = isinstance(before.type, sa.Enum) and isinstance(new, sa.Enum) and work.engine.name == "mysql"
    if change == "other" and values:
        return _change_values(work, table, before, new)
    value = _ask_value(work, subject, shown) if change == "other" else None
    if swaps and change in ("narrower", "other") and not value:
        _swap_after(work, table, before, after)
        return column_before(operation)
    forth = _retype(work, table, before, new, change)
    back = _retype(work, table, after, before.type, "narrower")
    if change == "other":
        forth = _convert(work, table, before, forth, value=value, shown=shown, new=new)
    work.pieces.add(rank, forth, back)
    return after if rank is Before.ALTER else column_before(operation)


def _change_values(work: Work, table: Name, before: sa.Column[Any], new: Any) -> sa.Column[Any]:
    """Let a column of MariaDB or MySQL take the values of both codes, and those of the new one after the deploy."""
    old: Any = before.type
    both = sa.Enum(*old.enums, *(value for value in new.enums if value not in old.enums), name=new.name)
    between: sa.Column[Any] = column_like(before, type=both)
    after = column_like(before, type=new)
    gone = [value for value in old.enums if value not in new.enums]
    subject = dotted(table, before.name)
    if len(both.enums) > len(old.enums):
        work.pieces.add(
            Before.ALTER, _retype(work, table, before, both, "wider"), _retype(work, table, between, old, "")
        )
    question = Question(
        "fill",
        subject,
        f"{subject} has no {' and no '.join(map(repr, gone))} any more. Which SQL gives the new value of rows "
        "that have it? (Nothing, if there are no such rows: one that is left stops after-deploy.)",
    )
    value = work.answers.answer(question)
    if value:
        lost = f"{work.engine.quote(before.name)} IN ({', '.join(map(text_literal, gone))})"
        work.pieces.add(After.FILL, work.engine.fill(table, before.name, value, lost))
    work.pieces.add(
        After.ALTER, _retype(work, table, between, new, "narrower"), _retype(work, table, after, both, "wider")
    )
    return between


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


def _swap_before(work: Work, table: Name, before: sa.Column[Any], after: sa.Column[Any]) -> None:
    """Fill a column of the wider type beside the old one, and let them change places in a moment."""
    swap, undo = Swap(work, table, before, after), Swap(work, table, after, before)
    work.pieces.add(Before.COLUMNS, swap.add())
    work.pieces.add(Before.SYNC, swap.follow())
    work.pieces.add(Before.FILL, swap.fill())
    work.pieces.add(Before.PROVE, swap.prove())
    work.pieces.add(Before.SWAP, swap.swap(), [*swap.drop_old(), *undo.all_steps(), *undo.drop_old()])
    work.pieces.add(Final.DROP_COLUMNS, swap.drop_old(), swap.add_old())


def _swap_after(work: Work, table: Name, before: sa.Column[Any], after: sa.Column[Any]) -> None:
    """Do the same with a type that only the new code can do with."""
    swap, undo = Swap(work, table, before, after), Swap(work, table, after, before)
    work.pieces.add(After.ALTER, swap.all_steps(), [*swap.drop_old(), *undo.all_steps(), *undo.drop_old()])
    work.pieces.add(Final.DROP_COLUMNS, swap.drop_old(), swap.add_old())


class Swap:
    """A column of another type that PostgreSQL would write the table anew for, in steps that hold no lock for long."""

    def __init__(self, work: Work, table: Name, before: sa.Column[Any], after: sa.Column[Any]) -> None:
        self.work = work
        self.engine = work.engine
        self.table = table
        self.before = before
        self.after = after
        self.name = before.name
        self.new, self.old = short(f"{self.name}_new"), short(f"{self.name}_old")
        self.target = self.engine.quote(*table)
        self.check = short(f"{table[1]}_{self.new}_not_null")

    def all_steps(self) -> list[MigrateOperation]:
        """Return the whole of it, but for the old column, which stays."""
        return [*self.add(), *self.follow(), *self.fill(), *self.prove(), *self.swap()]

    def add(self) -> list[MigrateOperation]:
        """Return how the new column is added, without values."""
        bare = column_like(self.after, nullable=True, server_default=None)
        bare.name = self.new
        return column_added(self.work, self.table, bare)

    def follow(self) -> list[MigrateOperation]:
        """Return the trigger that carries what is written into the new column."""
        return [*follow(self.engine, self.table, self.name, self.new, self._cast("NEW."))]

    def fill(self) -> list[MigrateOperation]:
        """Return how the new column gets the values of the old one."""
        quote = self.engine.quote
        differ = f"{quote(self.new)} IS NULL AND {quote(self.name)} IS NOT NULL"
        return self.engine.fill(self.table, self.new, self._cast(""), differ)

    def _cast(self, row: str) -> str:
        return row + _converted(self.work, self.before, self.after.type)

    def prove(self) -> list[MigrateOperation]:
        """Return the check that spares a NOT NULL column the scan."""
        if self.after.nullable:
            return []
        reason = f"{self.name} is NOT NULL, and a trigger carries it into {self.new}"
        checks = self.engine.checked(self.table, self.check, f"CHECK ({self.engine.quote(self.new)} IS NOT NULL)")
        return [Autocommit([Assured("too-early", reason, block.operations)]) for block in checks]

    def swap(self) -> list[MigrateOperation]:
        """Return how the columns change places, all in one transaction."""
        engine, quote = self.engine, self.engine.quote
        reason = f"{self.name} and {self.new} change places in this transaction: both codes find {self.name}"
        rename = f"ALTER TABLE {self.target} RENAME COLUMN"
        found: list[MigrateOperation] = [
            *let_go(engine, self.table, self.name, self.new),
            Assured(
                "rename-column",
                reason,
                [
                    Sql(f"{rename} {quote(self.name)} TO {quote(self.old)}"),
                    Sql(f"{rename} {quote(self.new)} TO {quote(self.name)}"),
                ],
            ),
        ]
        if not self.after.nullable:
            optional = column_like(self.after, nullable=True, server_default=None)
            reason = f"{self.name} was NOT NULL before: both codes give it"
            required = engine.alter_column(self.table, self.name, optional, modify_nullable=False)
            found.append(Assured("set-not-null", reason, required))
            found.append(ops.DropConstraintOp(self.check, self.table[1], "check", schema=self.table[0]))
        if not self.before.nullable:
            found.append(Sql(f"ALTER TABLE {self.target} ALTER COLUMN {quote(self.old)} DROP NOT NULL"))
        if self.after.server_default is not None:
            plain = column_like(self.after, server_default=None)
            found += engine.alter_column(self.table, self.name, plain, modify_server_default=self.after.server_default)
        return found

    def drop_old(self) -> list[MigrateOperation]:
        """Return how the old column goes."""
        return [Sql(f"ALTER TABLE {self.target} DROP COLUMN IF EXISTS {self.engine.quote(self.old)}")]

    def add_old(self) -> list[MigrateOperation]:
        """Return how it comes back, empty: nothing reads it."""
        bare = column_like(self.before, nullable=True, server_default=None)
        bare.name = self.old
        return column_added(self.work, self.table, bare)


def _retype(work: Work, table: Name, before: sa.Column[Any], new: Any, change: str) -> list[MigrateOperation]:
    cost = _cost(work, table, before, new) if change == "wider" else "copy"
    rewrites = work.engine.name == "postgresql" and change != "wider"
    options = {}
    if rewrites and needs_cast(before.type, new, work.facts):
        options["postgresql_using"] = _converted(work, before, new)
    changed = work.engine.alter_column(table, before.name, before, cost, modify_type=new, **options)
    return [rewriting(table, "change-type", changed)] if rewrites else changed


def _converted(work: Work, before: sa.Column[Any], new: Any) -> str:
    """Return a column's value as SQL of another type."""
    name = work.engine.quote(before.name)
    if not needs_cast(before.type, new, work.facts):
        return name
    # One list of values is converted into another by way of their texts.
    texts = "::text" if native_enum(before.type) is not None and native_enum(new) is not None else ""
    return f"{name}{texts}::{compiled(new, work.facts)}"


def _cost(work: Work, table: Name, before: sa.Column[Any], new: Any) -> Cost:
    """Return what MariaDB and MySQL do for a type that takes more.

    A longer text costs nothing while its greatest length in bytes takes one byte, or has taken two before.
    """
    old: Any = before.type
    if isinstance(old, sa.Enum) and isinstance(new, sa.Enum):
        return "instant" if list(new.enums[: len(old.enums)]) == list(old.enums) else "copy"
    if isinstance(new, (sa.Text, sa.Enum)) or not isinstance(new, sa.String) or not old.length or not new.length:
        return "copy"
    size = work.facts.letter_bytes.get(table, {}).get(before.name, 4)
    return "online" if (old.length * size < 256) == (new.length * size < 256) else "copy"


def _ask_value(work: Work, subject: str, shown: str) -> str | None:
    question = Question(
        "fill",
        subject,
        f"{subject} goes from {shown}, and no type serves the old code and the new: better add a column. To "
        "convert it after the deploy: which SQL gives the new value? (Nothing, for what a cast gives.)",
    )
    return work.answers.answer(question)


def _convert(
    work: Work, table: Name, before: sa.Column[Any], plain: list[Any], *, value: str | None, shown: str, new: Any
) -> list[MigrateOperation]:
    remark = Remark(f"From {shown}: the new code has to do with the old type until this has run.")
    if not value:
        return [remark, *plain]
    if work.engine.name != "postgresql":
        name = work.engine.quote(before.name)
        return [remark, *work.engine.fill(table, before.name, value, f"{name} IS NOT NULL"), *plain]
    changed = work.engine.alter_column(table, before.name, before, "copy", modify_type=new, postgresql_using=value)
    return [remark, rewriting(table, "change-type", changed)]
