"""CREATE, RENAME and DROP TABLE."""

from __future__ import annotations

from collections.abc import Iterator

from ..changes import AddConstraint, AttachPartition, Change, Column, CreateTable, DropTable, RenameTable
from .columns import constraint_follows, read_column, read_constraint
from .words import Words, skip_conditions


def create_table(words: Words, *, is_private: bool = False) -> Iterator[Change]:
    """Return what CREATE TABLE does."""
    conditional = skip_conditions(words)
    name = words.dotted()
    if not words.is_open():
        is_partition = words.take("PARTITION", "OF")
        # A copy of rows, or of what a table is like, is made by hand: no model has it.
        yield CreateTable(name, is_conditional=conditional, is_private=is_private or not is_partition)
        if is_partition:
            parent = words.dotted()
            words.until("FOR", "DEFAULT")
            yield AttachPartition(parent, name, is_new=True, bounds=words.until("PARTITION", "USING", "TABLESPACE"))
        return
    columns: list[Column] = []
    keys: list[AddConstraint] = []
    for part in words.inside().parts():
        if constraint_follows(part):
            found = read_constraint(part, name)
            keys += [found] if isinstance(found, AddConstraint) else []
        elif part.word() not in ("INDEX", "KEY", "FULLTEXT", "SPATIAL", "LIKE", "PERIOD"):
            column, own = read_column(part, name)
            columns.append(column)
            keys += own
    yield CreateTable(name, tuple(columns), tuple(keys), conditional, is_private)


def own_table(words: Words) -> Iterator[Change]:
    """Return the table of one session, which nobody else sees."""
    words.take("TABLE")
    return create_table(words, is_private=True)


def replaced_table(words: Words) -> Iterator[Change]:
    """Return what CREATE OR REPLACE TABLE of MariaDB does: the table that is there is dropped."""
    at = words.at
    yield DropTable(words.dotted())
    words.at = at
    yield from create_table(words)


def drop_table(words: Words) -> Iterator[Change]:
    """Return the tables that DROP TABLE names."""
    skip_conditions(words)
    for part in words.parts():
        yield DropTable(part.dotted())


def rename_table(words: Words) -> Iterator[Change]:
    """Return what RENAME TABLE of MySQL does."""
    skip_conditions(words)
    for part in words.parts():
        old = part.dotted()
        part.take("TO")
        yield RenameTable(old, part.dotted())
