"""CREATE, ALTER and DROP INDEX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...inspection.statements import word_of
from ..changes import Change, Clauses, CreateIndex, DropIndex, Name, Options, Statement, TableOption
from .columns import index_column
from .words import Words, skip_conditions, unknown


def replaced_index(words: Words) -> Any:
    """Return the index of CREATE OR REPLACE INDEX."""
    unique = words.take("UNIQUE")
    words.take("INDEX")
    return create_index(words, unique=unique)


def create_index(words: Words, *, unique: bool = False, kind: str = "") -> Iterator[Change] | Statement:
    """Return the index that CREATE INDEX builds, with the clauses that it has."""
    concurrently = words.take("CONCURRENTLY")
    conditional = skip_conditions(words)
    name = "" if words.word() == "ON" else words.dotted().table
    words.until("ON")
    if not words.take("ON"):
        return Statement((unknown(words),))
    words.take("ONLY")
    table = words.dotted()
    using = words.name() if words.take("USING") else ""
    columns, elements = read_elements(words)
    options = _index_options(words, using)
    words.until("WHERE", "ALGORITHM", "LOCK")
    where = words.until("ALGORITHM", "LOCK") if words.take("WHERE") else ""
    change = CreateIndex(
        table, name, columns, unique, concurrently, conditional, kind, where, elements, options
    )  # fmt: skip
    return Statement((change,), _clauses(words))


def read_elements(words: Words) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of an index that are plain ones, and all that it has, as SQL."""
    parts = list(words.inside().parts()) if words.is_open() else []
    elements = tuple(part.tokens[0].text if len(part.tokens) == 1 else part.all() for part in parts)
    return tuple(filter(None, map(index_column, parts))), elements


def _index_options(words: Words, using: str) -> Options:
    """Return what PostgreSQL has behind the columns of an index, as arguments of an operation."""
    found = {"postgresql_using": repr(using)} if using and words.dialect_name == "postgresql" else {}
    while not words.is_over and words.word() not in ("WHERE", "ALGORITHM", "LOCK"):
        if words.take("INCLUDE"):
            found["postgresql_include"] = repr([part.name() for part in words.inside().parts()])
        elif words.take("NULLS", "NOT", "DISTINCT"):
            found["postgresql_nulls_not_distinct"] = "True"
        elif words.take("TABLESPACE"):
            found["postgresql_tablespace"] = repr(words.name())
        elif words.take("WITH"):
            found["postgresql_with"] = repr(dict(_setting(part) for part in words.inside().parts()))
        else:
            words.skip_item()
    return tuple(found.items())


def _setting(part: Words) -> tuple[str, str]:
    name = part.name()
    part.take("=")
    return name, part.rest()


def _clauses(words: Words) -> Clauses:
    """Return the clauses ALGORITHM and LOCK of what is left."""
    found = {}
    while not words.is_over:
        word = words.word()
        words.skip_item()
        if word in ("ALGORITHM", "LOCK"):
            words.take("=")
            found[word] = words.word()
    return Clauses(found.get("ALGORITHM", ""), found.get("LOCK", ""))


def unique_index(words: Words) -> Any:
    """Return the index of CREATE UNIQUE INDEX."""
    return create_index(words, unique=True)


def fulltext_index(words: Words) -> Any:
    """Return the index of CREATE FULLTEXT INDEX."""
    return create_index(words, kind="FULLTEXT")


def spatial_index(words: Words) -> Any:
    """Return the index of CREATE SPATIAL INDEX."""
    return create_index(words, kind="SPATIAL")


def drop_index(words: Words) -> Iterator[Change]:
    """Return the indexes that DROP INDEX names."""
    concurrently = words.take("CONCURRENTLY")
    skip_conditions(words)
    for part in words.parts():
        name = part.dotted()
        table = part.dotted() if part.take("ON") else Name("", name.schema)
        yield DropIndex(table, name.table, concurrently)


def alter_index(words: Words) -> Iterator[Change]:
    """Return what ALTER INDEX does to a table: it may move it to another disk."""
    if any(word_of(token) == "TABLESPACE" for token in words.tokens):
        skip_conditions(words)
        yield TableOption(words.dotted(), "SET TABLESPACE", "tablespace")
