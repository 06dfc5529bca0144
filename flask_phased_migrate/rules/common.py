"""Rules of every engine that are not about phases: what cannot be looked at, long writes, keys, names."""

from __future__ import annotations

from collections.abc import Iterator

from . import recipes
from .changes import (
    AddColumn,
    AddConstraint,
    CreateIndex,
    CreateTable,
    DropContainer,
    Opaque,
    ReadsDatabase,
    RunProgram,
    WriteRows,
)
from .postgresql import batches
from .situation import Check, Problem, Situation
from .types import split_type

Problems = Iterator[Problem]

_LONGEST = {"postgresql": 63, "mysql": 64, "mariadb": 64}
_SMALL_KEYS = frozenset({"INTEGER", "SMALLINT", "TINYINT", "MEDIUMINT"})


def _opaque(change: Opaque | ReadsDatabase | RunProgram, _at: Situation) -> Problems:
    if isinstance(change, RunProgram):
        what = f"The program {change.table} is not looked at."
        code = f"execute_script({recipes.quoted(change.table.table)})"
    elif isinstance(change, ReadsDatabase):
        what = "The body asks the database here: what it does from here on is not looked at."
        code = "..."
    else:
        what = f"This is not looked at: {change.reason}."
        code = "..."
    yield Problem(
        "warning",
        f"{what} Say what it does and why that is safe.",
        f'with assured("opaque", reason="..."):\n    {code}',
    )


def _unbatched(change: WriteRows, at: Situation) -> Problems:
    if change.is_bounded or change.kind == "insert":
        return
    yield Problem(
        "warning",
        f"{change.kind.upper()} of {change.table}{at.rows_of(change.table)} in one statement keeps every row that it "
        "changes locked until the step ends. Change them in batches, each committed by itself.",
        batches(change, at),
    )


def _container(change: DropContainer, _at: Situation) -> Problems:
    yield Problem(
        "error",
        f"{change.words}: everything in {change.table} is lost, or has another name for whoever uses it.",
        f'with assured("drop-schema", reason="nothing uses {change.table} since ..."):\n'
        f"    {recipes.execute(change.words)}",
    )


def _small_key(change: CreateTable, at: Situation) -> Problems:
    if at.target.dialect == "sqlite":
        return
    for column in change.columns:
        is_alone = sum(other.is_key for other in change.columns) == 1
        points = any(key.kind == "foreign key" and column.name in key.columns for key in change.keys)
        if column.is_key and is_alone and not points and split_type(column.type_)[0] in _SMALL_KEYS:
            yield Problem(
                "info",
                f"The key {change.table}.{column.name} is {column.type_}: full after 2,147,483,647 rows at the most, "
                "and a change of its type writes the table anew.",
                f"sa.Column({recipes.quoted(column.name)}, sa.BigInteger(), primary_key=True)",
            )


def _key_type(change: AddConstraint, at: Situation) -> Problems:
    if change.kind != "foreign key" or change.referent is None:
        return
    for name, other in zip(change.columns, change.referent_columns, strict=False):
        one, two = at.schema.column(change.table, name), at.schema.column(change.referent, other)
        if one is None or two is None or not one.type_ or not two.type_:
            continue
        types = [split_type(item.type_)[0].replace("SERIAL", "INTEGER") for item in (one, two)]
        if types[0] != types[1] and set(types) <= _SMALL_KEYS | {"BIGINT"}:
            yield Problem(
                "warning",
                f"{change.table}.{name} is {one.type_}, and {change.referent}.{other}, which it refers to, is "
                f"{two.type_}: it cannot hold every key, or no plain comparison uses its index.",
                f"sa.Column({recipes.quoted(name)}, {recipes.type_code(two.type_, at)})",
            )


def _table_keys(change: CreateTable, at: Situation) -> Problems:
    columns = {column.name.casefold(): column for column in change.columns}
    for key in change.keys:
        if key.kind == "foreign key" and key.referent is not None:
            known = [columns.get(name.casefold()) for name in key.columns]
            others = [at.schema.column(key.referent, name) for name in key.referent_columns]
            for one, two in zip(known, others, strict=False):
                if one and two and {split_type(one.type_)[0], split_type(two.type_)[0]} == {"INTEGER", "BIGINT"}:
                    yield Problem(
                        "warning",
                        f"{change.table}.{one.name} is {one.type_}, and {key.referent}.{two.name}, which it refers to, "
                        f"is {two.type_}: it cannot hold every key.",
                        f"sa.Column({recipes.quoted(one.name)}, {recipes.type_code(two.type_, at)})",
                    )


def _long_name(change: CreateIndex | AddConstraint | AddColumn | CreateTable, at: Situation) -> Problems:
    longest = _LONGEST.get(at.target.dialect)
    name = change.column.name if isinstance(change, AddColumn) else getattr(change, "name", change.table.table)
    if longest is not None and len(name.encode()) > longest:
        does = "cuts it off without an error" if at.target.dialect == "postgresql" else "refuses it"
        yield Problem(
            "warning",
            f"The name {name} is longer than {longest} bytes: the server {does}.",
            recipes.quoted(name[: longest - 3]),
        )


CHECKS = (
    Check("opaque", (Opaque, ReadsDatabase, RunProgram), _opaque),
    Check("unbatched-write", (WriteRows,), _unbatched, "idle"),
    Check("drop-schema", (DropContainer,), _container),
    Check("small-key", (CreateTable,), _small_key),
    Check("foreign-key-type", (AddConstraint,), _key_type),
    Check("foreign-key-type", (CreateTable,), _table_keys),
    Check("long-name", (CreateIndex, AddConstraint, AddColumn, CreateTable), _long_name),
)
