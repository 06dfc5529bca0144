"""Columns and constraints, as CREATE TABLE and ALTER TABLE define them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlglot import TokenType

from ..changes import AddConstraint, Change, Column, Default, Name, Options
from ..types import upper_type
from .words import Words, skip_conditions

_AFTER_TYPE = (
    *("NOT", "NULL", "DEFAULT", "PRIMARY", "UNIQUE", "REFERENCES", "CHECK", "GENERATED", "CONSTRAINT", "COLLATE"),
    *("AUTO_INCREMENT", "AUTOINCREMENT", "COMMENT", "FIRST", "AFTER", "AS", "ON", "USING"),
)
_SERIAL = {"SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL4", "SERIAL8", "SERIAL2"}


def read_column(part: Words, table: Name) -> tuple[Column, list[AddConstraint]]:
    """Return the column that a definition makes, and its constraints."""
    name = part.name()
    type_ = upper_type(part.until(*_AFTER_TYPE))
    column = Column(name, type_, numbers_itself=type_ in _SERIAL, is_serial=type_ in _SERIAL)
    keys: list[AddConstraint] = []
    while not part.is_over:
        column = _column_option(part, column, table, keys)
    return column, keys


def _column_option(part: Words, column: Column, table: Name, keys: list[AddConstraint]) -> Column:
    """Return the column with the option that comes next; a constraint is put among ``keys``."""
    if part.take("NOT", "NULL"):
        return replace(column, nullable=False)
    if part.take("DEFAULT"):
        return replace(column, default=judged(part.until(*_AFTER_TYPE), part.dialect_name))
    if part.take("PRIMARY", "KEY"):
        keys.append(AddConstraint(table, "primary key", "", (column.name,)))
        return replace(column, nullable=False, is_key=True)
    if part.take("UNIQUE"):
        keys.append(AddConstraint(table, "unique", "", (column.name,)))
    elif part.take("REFERENCES"):
        referent = part.dotted()
        columns = tuple(item.name() for item in part.inside().parts()) if part.is_open() else ()
        keys.append(AddConstraint(table, "foreign key", "", (column.name,), referent, columns))
    elif part.take("CHECK"):
        keys.append(AddConstraint(table, "check", "", text=part.inside().all()))
    elif part.take("AUTO_INCREMENT") or part.take("AUTOINCREMENT"):
        return replace(column, numbers_itself=True)
    elif part.take("GENERATED") or part.word() == "AS":
        return _generated(part, column)
    else:
        part.skip_item()
    return column


def _generated(part: Words, column: Column) -> Column:
    part.until("AS")
    part.take("AS")
    if part.take("IDENTITY"):
        return replace(column, numbers_itself=True, nullable=False)
    if part.is_open():
        part.skip_item()
    is_virtual = part.take("VIRTUAL")
    is_stored = part.take("STORED") or part.take("PERSISTENT")
    stored_by_default = part.dialect_name == "postgresql"
    return replace(column, generated="stored" if is_stored or (stored_by_default and not is_virtual) else "virtual")


def judged(text: str, dialect_name: str) -> Default:
    """Return what the text of a default is."""
    from ..from_operations import judge_default

    return judge_default(text, dialect_name)


def constraint_follows(part: Words) -> bool:
    """Return whether a constraint comes next, and no column."""
    word = part.word()
    if word in ("PRIMARY", "FOREIGN"):
        return part.word(1) == "KEY"
    if word == "NOT":
        return part.word(1) == "NULL"
    return word in ("CONSTRAINT", "UNIQUE", "CHECK", "EXCLUDE")


def read_constraint(part: Words, table: Name) -> Change:
    """Return the constraint that comes next."""
    name = ""
    if part.take("CONSTRAINT"):
        skip_conditions(part)
        name = "" if constraint_follows(part) else part.name()
    if part.take("FOREIGN", "KEY"):
        return _read_foreign_key(part, table, name)
    if part.take("NOT", "NULL"):
        # PostgreSQL 18 has NOT NULL as a constraint, which is checked like any other.
        text = f"{part.name()} IS NOT NULL"
        return AddConstraint(table, "check", name, text=text, not_valid="NOT VALID" in part.rest().upper())
    if part.take("CHECK"):
        text = part.inside().all()
        return AddConstraint(table, "check", name, text=text, not_valid="NOT VALID" in part.rest().upper())
    if part.take("EXCLUDE"):
        return AddConstraint(table, "exclude", name)
    kind: Any = "primary key" if part.take("PRIMARY", "KEY") else "unique" if part.take("UNIQUE") else "unknown"
    if part.take("USING", "INDEX"):
        return AddConstraint(table, kind, name, using_index=part.name())
    while not part.is_over and not part.is_open():
        name = name or ("" if part.word() in _BEFORE_COLUMNS else part.tokens[part.at].text)
        part.at += 1
    columns = tuple(filter(None, map(index_column, part.inside().parts()))) if part.is_open() else ()
    return AddConstraint(table, kind, name, columns)


_BEFORE_COLUMNS = ("INDEX", "KEY", "NULLS", "NOT", "DISTINCT", "IF", "EXISTS", "USING", "BTREE", "HASH")


def _read_foreign_key(part: Words, table: Name, name: str) -> AddConstraint:
    while not part.is_over and not part.is_open():
        name = name or part.tokens[part.at].text
        part.at += 1
    columns = tuple(item.name() for item in part.inside().parts()) if part.is_open() else ()
    part.until("REFERENCES")
    part.take("REFERENCES")
    referent = part.dotted()
    others = tuple(item.name() for item in part.inside().parts()) if part.is_open() else ()
    rest = part.rest().upper()
    options = _key_options(rest)
    return AddConstraint(table, "foreign key", name, columns, referent, others, "NOT VALID" in rest, options=options)


_KEY_ACTIONS = ("CASCADE", "RESTRICT", "SET NULL", "SET DEFAULT", "NO ACTION")


def _key_options(text: str) -> Options:
    """Return what a foreign key has behind its columns, as arguments of an operation."""
    found = {
        name: repr(action)
        for name, word in (("ondelete", "ON DELETE"), ("onupdate", "ON UPDATE"))
        for action in _KEY_ACTIONS
        if f"{word} {action}" in text
    }
    if "DEFERRABLE" in text and "NOT DEFERRABLE" not in text:
        found["deferrable"] = "True"
    if "INITIALLY DEFERRED" in text:
        found["initially"] = repr("DEFERRED")
    return tuple(found.items())


def index_column(part: Words) -> str:
    """Return the column that an element of an index is about, "" for an expression; MySQL may have a length."""
    is_name = len(part.tokens) == 1 or part.word(1) in ("ASC", "DESC", "COLLATE", "NULLS")
    has_length = len(part.tokens) == 4 and part.tokens[2].token_type is TokenType.NUMBER
    has_class = len(part.tokens) == 2 and part.dialect_name == "postgresql"
    return part.name() if (is_name or has_length or has_class) and not part.is_open() else ""
