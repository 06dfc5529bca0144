"""Advice that a project may want or not: asked for by name, or all of it."""

from __future__ import annotations

from collections.abc import Iterator

from . import recipes
from .changes import (
    AddColumn,
    AddEnumValue,
    Change,
    Column,
    CreateIndex,
    CreateTable,
    DropColumn,
    DropIndex,
    DropTable,
)
from .situation import Check, Problem, Situation
from .types import split_type

Problems = Iterator[Problem]

_WIDEST = 3


def _wide_index(change: CreateIndex, _at: Situation) -> Problems:
    elements = change.elements or change.columns
    if not change.unique and len(elements) > _WIDEST:
        yield Problem(
            "warning",
            f"The index {change.name} of {change.table} has {len(elements)} columns: more than {_WIDEST} seldom make a "
            "query faster, and each makes writing slower.",
            f"op.create_index({recipes.quoted(change.name)}, {recipes.quoted(change.table.table)}, "
            f"{recipes.listed(change.columns[:_WIDEST])}{recipes.schema_of(change.table)})",
        )


def _columns(change: AddColumn | CreateTable) -> tuple[Column, ...]:
    return change.columns if isinstance(change, CreateTable) else (change.column,)


def _varchar(change: AddColumn | CreateTable, at: Situation) -> Problems:
    for column in _columns(change) if at.target.dialect == "postgresql" else ():
        name, arguments = split_type(column.type_)
        if name == "VARCHAR" and arguments:
            yield Problem(
                "warning",
                f"{change.table}.{column.name} is {column.type_}: a longer one is a change of type. TEXT is as fast, "
                "and "
                "a CHECK can be changed without one.",
                f"sa.Column({recipes.quoted(column.name)}, sa.Text())",
            )


def _char(change: AddColumn | CreateTable, at: Situation) -> Problems:
    for column in _columns(change) if at.target.dialect == "postgresql" else ():
        if split_type(column.type_)[0] == "CHAR":
            yield Problem(
                "warning",
                f"{change.table}.{column.name} is {column.type_}, which is filled up with blanks.",
                f"sa.Column({recipes.quoted(column.name)}, sa.Text())",
            )


def _timestamp(change: AddColumn | CreateTable, at: Situation) -> Problems:
    for column in _columns(change) if at.target.dialect == "postgresql" else ():
        if split_type(column.type_)[0] == "TIMESTAMP":
            yield Problem(
                "warning",
                f"{change.table}.{column.name} is a timestamp without time zone: which moment it means, only the code "
                "knows that wrote it.",
                f"sa.Column({recipes.quoted(column.name)}, sa.DateTime(timezone=True))",
            )


def _serial(change: AddColumn | CreateTable, at: Situation) -> Problems:
    for column in _columns(change) if at.target.dialect == "postgresql" else ():
        if column.is_serial:
            yield Problem(
                "warning",
                f"{change.table}.{column.name} is serial: its sequence has rights and an owner of its own. An identity "
                "column is the standard's.",
                f"sa.Column({recipes.quoted(column.name)}, sa.BigInteger(), sa.Identity(), primary_key=True)",
            )


def _enum_order(change: AddEnumValue, at: Situation) -> Problems:
    if not change.is_placed:
        sql = f"ALTER TYPE {recipes.table_sql(at, change.table)} ADD VALUE IF NOT EXISTS "
        yield Problem(
            "warning",
            f"'{change.value}' comes behind all values of {change.table}, and is greater than they are. Say where it "
            "belongs.",
            "\n".join(recipes.by_itself(recipes.execute(f"{sql}{recipes.literal(change.value)} AFTER '...'"))),
        )


_REPEATABLE: dict[str, tuple[type[Change], ...]] = {
    "postgresql": (CreateTable, DropTable, AddColumn, DropColumn, CreateIndex, DropIndex, AddEnumValue),
    "mariadb": (CreateTable, DropTable, AddColumn, DropColumn, CreateIndex, DropIndex),
    "mysql": (CreateTable, DropTable),
}


def _not_repeatable(change: Change, at: Situation) -> Problems:
    """Look for what fails the second time where the engine has committed it by then."""
    kinds = _REPEATABLE.get(at.target.dialect, ())
    is_committed = at.target.is_mysql or any(act.autocommit for act in at.acts)
    # IF NOT EXISTS would keep an index that failed to build.
    keeps_invalid = isinstance(change, CreateIndex) and change.concurrently
    if at.act.is_conditional or not isinstance(change, kinds) or not is_committed or keeps_invalid or len(at.acts) == 1:
        return
    yield Problem(
        "warning",
        f"The step is not one transaction: run again by hand after a failure, this fails where it is done already "
        f"({change.table}). The tool itself knows where to go on.",
        "if_exists=True" if isinstance(change, (DropTable, DropColumn, DropIndex)) else "if_not_exists=True",
    )


CHECKS = (
    Check("wide-index", (CreateIndex,), _wide_index),
    Check("varchar-length", (AddColumn, CreateTable), _varchar),
    Check("char-type", (AddColumn, CreateTable), _char),
    Check("timestamp-without-time-zone", (AddColumn, CreateTable), _timestamp),
    Check("serial-type", (AddColumn, CreateTable), _serial),
    Check("enum-order", (AddEnumValue,), _enum_order),
    Check("not-repeatable", (Change,), _not_repeatable),
)
