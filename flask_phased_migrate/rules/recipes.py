"""Code to paste: operations as they are written in a revision, in the phase where they belong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from ..operations import escape_colons
from .changes import AddConstraint, Column, CreateIndex, Name
from .situation import Situation
from .types import split_type


def quoted(value: str) -> str:
    """Return a string as Python has it, in double quotes where that is possible."""
    return f'"{value}"' if '"' not in value and "\\" not in value else repr(value)


def listed(values: Sequence[str]) -> str:
    """Return a list of strings as Python has it."""
    return f"[{', '.join(map(quoted, values))}]"


def in_phase(at: Situation, phase: str, lines: Sequence[str], *, alone: bool = False) -> str:
    """Return the part of an upgrade that belongs to a phase; ``alone`` where it is all of a revision's that has no
    phases yet."""
    function = "downgrade" if at.is_undo else "upgrade"
    # What is undone is undone in the phase in which it was done.
    phase = at.phase if at.is_undo else phase
    if phase == at.phases.names[0] or (alone and not at.is_phased):
        head = [f"@phased({quoted(phase)})", f"def {function}():"]
    else:
        word = re.sub(r"[^0-9A-Za-z]+", "_", phase)
        head = [f"@{function}.phase({quoted(phase)})", f"def {function}_{word}():"]
    return "\n".join([*head, *(f"    {line}" if line else "" for line in lines)])


def joined(*parts: str) -> str:
    """Return several parts of an upgrade, one under the other."""
    return "\n\n\n".join(part for part in parts if part)


def by_itself(*lines: str) -> list[str]:
    """Return lines of code inside an autocommit block: each statement is committed at once."""
    return ["with op.get_context().autocommit_block():", *(f"    {line}" for line in lines)]


def assured(rule: str, reason: str, *lines: str) -> str:
    """Return lines of code inside an ``assured()``."""
    return "\n".join([f"with assured({quoted(rule)}, reason={quoted(reason)}):", *(f"    {line}" for line in lines)])


def schema_of(table: Name, word: str = "schema") -> str:
    """Return the argument that names the schema, "" for none."""
    return "" if table.schema is None else f", {word}={quoted(table.schema)}"


def execute(sql: str) -> str:
    """Return an operation that executes SQL."""
    return f"op.execute({quoted(escape_colons(sql))})"


def sql_text(sql: str) -> str:
    """Return SQL that is an argument of an operation."""
    return f"sa.text({quoted(escape_colons(sql))})"


def identifier(at: Situation, name: str) -> str:
    """Return a name as SQL has it."""
    return quote_name(name, at.target.dialect)


def quote_name(name: str, dialect_name: str) -> str:
    """Return a name as SQL has it, in quotes where it needs them."""
    return str(_preparer("mysql" if dialect_name == "mariadb" else dialect_name).quote(name))


@cache
def _preparer(dialect_name: str) -> Any:
    # By name: no percent sign is doubled for a driver.
    return _DIALECTS.get(dialect_name, postgresql.dialect)(paramstyle="named").identifier_preparer


_DIALECTS: Mapping[str, Any] = {"mysql": mysql.dialect, "sqlite": sqlite.dialect}


def table_sql(at: Situation, table: Name) -> str:
    """Return a table's name as SQL has it."""
    names = [table.table] if table.schema is None else [table.schema, table.table]
    return ".".join(identifier(at, name) for name in names)


def literal(text: str) -> str:
    """Return a string as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def add_column(table: Name, column: Column, at: Situation) -> str:
    """Return the operation that adds a column, without its constraints."""
    words = [quoted(column.name), type_code(column.type_, at)]
    if column.nullable is False:
        words.append("nullable=False")
    if column.default is not None and column.default.fills:
        words.append(f"server_default={sql_text(column.default.text)}")
    return f"op.add_column({quoted(table.table)}, sa.Column({', '.join(words)}){schema_of(table)})"


def create_index(change: CreateIndex, *, concurrently: bool = False, name: str = "", unique: bool | None = None) -> str:
    """Return the operation that builds an index."""
    words = [quoted(name or change.name or _index_name(change)), quoted(change.table.table), _elements(change)]
    if change.unique if unique is None else unique:
        words.append("unique=True")
    words += [f"{option}={code}" for option, code in change.options]
    if change.where:
        words.append(f"postgresql_where={sql_text(change.where)}")
    if concurrently:
        words.append("postgresql_concurrently=True")
    return f"op.create_index({', '.join(words)}{schema_of(change.table)})"


def _index_name(change: CreateIndex) -> str:
    return "_".join(["ix", change.table.table, *(change.columns or ("expression",))])


def _elements(change: CreateIndex) -> str:
    """Return the columns of an index as a list; what is more than a name, as text."""
    elements = change.elements or change.columns
    codes = [quoted(item) if _is_name(item, change) else sql_text(item) for item in elements]
    return f"[{', '.join(codes or ['...'])}]"


def _is_name(element: str, change: CreateIndex) -> bool:
    return element in change.columns or re.fullmatch(r"\w+", element) is not None


def foreign_key(change: AddConstraint, *, not_valid: bool) -> str:
    """Return the operation that adds a foreign key."""
    referent = change.referent or Name("...")
    words = [
        quoted(change.name or "fk_NAME"), quoted(change.table.table), quoted(referent.table),
        listed(change.columns), listed(change.referent_columns or ("id",)),
        *(f"{option}={code}" for option, code in change.options),
    ]  # fmt: skip
    if not_valid:
        words.append("postgresql_not_valid=True")
    schemas = schema_of(change.table, "source_schema") + schema_of(referent, "referent_schema")
    return f"op.create_foreign_key({', '.join(words)}{schemas})"


def check(table: Name, name: str, text: str, *, not_valid: bool) -> str:
    """Return the operation that adds a CHECK constraint."""
    words = [quoted(name), quoted(table.table), quoted(escape_colons(text))]
    if not_valid:
        words.append("postgresql_not_valid=True")
    return f"op.create_check_constraint({', '.join(words)}{schema_of(table)})"


def unique(change: AddConstraint) -> str:
    """Return the operation that adds a unique constraint."""
    words = f"{quoted(change.name or 'uq_NAME')}, {quoted(change.table.table)}, {listed(change.columns)}"
    return f"op.create_unique_constraint({words}{schema_of(change.table)})"


def constraint(change: AddConstraint) -> str:
    """Return the operation that adds a constraint, "..." for a kind that Alembic has none for."""
    if change.kind == "foreign key":
        return foreign_key(change, not_valid=change.not_valid)
    if change.kind == "check":
        return check(change.table, change.name or "ck_NAME", change.text, not_valid=change.not_valid)
    return unique(change) if change.kind == "unique" and change.columns else "..."


def validate(at: Situation, table: Name, name: str) -> str:
    """Return the operation that checks a constraint against the rows that there are."""
    return execute(f"ALTER TABLE {table_sql(at, table)} VALIDATE CONSTRAINT {identifier(at, name)}")


def alter(table: Name, column: str, option: str) -> str:
    """Return the operation that alters a column."""
    return f"op.alter_column({quoted(table.table)}, {quoted(column)}, {option}{schema_of(table)})"


def existing_type(at: Situation, type_: str) -> str:
    """Return the argument with the type that MySQL wants to have repeated, "" elsewhere."""
    return f", existing_type={type_code(type_, at)}" if at.target.is_mysql else ""


def type_code(type_: str, at: Situation) -> str:
    """Return a type as Python has it, for code that is pasted; "sa.String(...)" for one that is not known."""
    if not type_:
        return "sa.String(...)"
    name, arguments = split_type(type_)
    if name.endswith("[]"):
        return f"sa.ARRAY({type_code(type_[:-2], at)})"
    given = ", ".join(arguments)
    zone = "timezone=True" if name in _WITH_ZONE else ""
    word = _IN_PYTHON.get(name, name)
    if word in vars(sa):
        return f"sa.{word}({zone or given})"
    return _of_engine(word, given, at)


_WITH_ZONE = ("TIMESTAMPTZ", "TIME WITH TIME ZONE")
_IN_PYTHON = {
    "TIMESTAMPTZ": "TIMESTAMP",
    "TIME WITH TIME ZONE": "TIME",
    "DOUBLE PRECISION": "DOUBLE_PRECISION",
    "ENUM": "Enum",
    "UUID": "Uuid",
}


def _of_engine(name: str, given: str, at: Situation) -> str:
    """Return a type that only one engine has, or the database itself: a named type of PostgreSQL."""
    engine = "mysql" if at.target.is_mysql else at.target.dialect
    word, _, more = name.partition(" ")
    types = {"mysql": mysql, "postgresql": postgresql}.get(engine)
    if types is not None and word in vars(types) and more in ("", "UNSIGNED"):
        options = ", ".join(filter(None, [given, "unsigned=True" if more else ""]))
        return f"sa.dialects.{engine}.{word}({options})"
    if engine == "postgresql":
        return f"sa.dialects.postgresql.ENUM(name={quoted(name.casefold())}, create_type=False)"
    return "sa.String(...)"
