"""What a database has beside tables and indexes: views, types, domains, triggers, schemas."""

from __future__ import annotations

from collections.abc import Iterator

from ..changes import (
    AddEnumValue,
    Change,
    ConstrainDomain,
    CreateView,
    DropContainer,
    DropView,
    Name,
    RefreshView,
    RenameEnumValue,
    RenameTable,
    TakeLock,
)
from .words import Words, skip_conditions


def create_view(words: Words) -> Iterator[Change]:
    """Return the view that is made."""
    skip_conditions(words)
    yield CreateView(words.dotted())


def create_materialized(words: Words) -> Iterator[Change]:
    """Return the materialized view that is made."""
    skip_conditions(words)
    yield CreateView(words.dotted(), is_materialized=True)


def drop_view(words: Words) -> Iterator[Change]:
    """Return the views that are dropped."""
    skip_conditions(words)
    for part in words.parts():
        yield DropView(part.dotted())


def refresh(words: Words) -> Iterator[Change]:
    """Return the materialized view that is worked out anew."""
    words.take("MATERIALIZED", "VIEW")
    concurrently = words.take("CONCURRENTLY")
    yield RefreshView(words.dotted(), concurrently)


def alter_view(words: Words) -> Iterator[Change]:
    """Return the new name of a view."""
    words.take("VIEW")
    skip_conditions(words)
    name = words.dotted()
    if words.take("RENAME", "TO"):
        yield RenameTable(name, Name(words.name(), name.schema))


def create_trigger(words: Words) -> Iterator[Change]:
    """Return the lock that a trigger takes; what its body does is done by whoever writes."""
    words.until("ON")
    if words.take("ON"):
        yield TakeLock(words.dotted(), "SHARE ROW EXCLUSIVE")


def drop_on_table(words: Words) -> Iterator[Change]:
    """Return the lock that something takes that is dropped from, or made for, a table."""
    words.until("ON")
    if words.take("ON"):
        yield TakeLock(words.dotted(), "ACCESS EXCLUSIVE")


def create_rule(words: Words) -> Iterator[Change]:
    """Return the lock that CREATE RULE takes."""
    words.until("TO")
    if words.take("TO"):
        yield TakeLock(words.dotted(), "ACCESS EXCLUSIVE")


def drop_container(words: Words) -> Iterator[Change]:
    """Return the schema or database that is dropped."""
    skip_conditions(words)
    yield DropContainer(words.dotted(), " ".join(words.text.split()))


def alter_schema(words: Words) -> Iterator[Change]:
    """Return the schema that gets another name."""
    name = words.dotted()
    if words.word() == "RENAME":
        yield DropContainer(name, " ".join(words.text.split()))


def alter_type(words: Words) -> Iterator[Change]:
    """Return what ALTER TYPE does to the values of an enum type."""
    name = words.dotted()
    if words.take("ADD", "VALUE"):
        conditional = skip_conditions(words)
        yield AddEnumValue(name, words.name(), words.word() in ("BEFORE", "AFTER"), conditional)
    elif words.take("RENAME", "VALUE"):
        old = words.name()
        words.take("TO")
        yield RenameEnumValue(name, old, words.name())


def alter_domain(words: Words) -> Iterator[Change]:
    """Return the constraint that a domain gets."""
    name = words.dotted()
    if words.take("ADD") or words.take("SET", "NOT", "NULL"):
        yield ConstrainDomain(name, words.rest().upper().endswith("NOT VALID"))
