"""ALTER TABLE: each of its actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ...inspection.statements import word_of
from ..changes import (
    NO_DEFAULT,
    AddColumn,
    AttachPartition,
    Change,
    ChangeOfColumn,
    ChangeType,
    Clauses,
    CreateIndex,
    DetachPartition,
    DropColumn,
    DropConstraint,
    DropIndex,
    DropNotNull,
    Name,
    Opaque,
    RenameColumn,
    RenameTable,
    SetDefault,
    SetNotNull,
    Statement,
    TableOption,
    TakeLock,
    Truncate,
    ValidateConstraint,
)
from ..types import upper_type
from .columns import constraint_follows, judged, read_column, read_constraint
from .indexes import read_elements
from .words import Words, skip_conditions


def alter_table(words: Words) -> Statement:
    """Return what the actions of an ALTER TABLE do, with the clauses that it has."""
    words.take("ONLINE")
    words.take("IGNORE")
    words.take("TABLE")
    skip_conditions(words)
    table = words.dotted()
    if words.take("WAIT"):
        words.name()
    words.take("NOWAIT")
    changes: list[Change] = []
    clauses: dict[str, str] = {}
    for part in words.parts():
        if part.word() in ("ALGORITHM", "LOCK"):
            word = part.name().upper()
            part.take("=")
            clauses[word] = part.word()
        else:
            changes += _action(part, table)
    return Statement(tuple(changes), Clauses(clauses.get("ALGORITHM", ""), clauses.get("LOCK", "")))


def _action(part: Words, table: Name) -> Sequence[Change]:
    """Return what one action of an ALTER TABLE does."""
    for start, read in _ACTIONS.items():
        if part.take(*start):
            return list(read(part, table))
    return _other_action(part, table)


def _other_action(part: Words, table: Name) -> Sequence[Change]:
    words = part.text_of()
    upper = words.upper()
    if upper.startswith(("CONVERT TO CHAR", "ADD SYSTEM VERSIONING", "DROP SYSTEM VERSIONING", "ORDER BY")):
        return [TableOption(table, words, "charset")]
    if part.word() in ("CHARACTER", "CHARSET", "COLLATE", "DEFAULT"):
        # What columns that are made later on will have.
        return []
    if part.word() in ("ENGINE", "ROW_FORMAT", "KEY_BLOCK_SIZE", "FORCE"):
        return [TableOption(table, words, "engine")]
    if upper.startswith("TRUNCATE PARTITION"):
        return [Truncate(table)]
    if upper.startswith("EXCHANGE PARTITION"):
        return []
    if "PARTITION" in upper.split()[:2] or part.word() in ("PARTITION", "COALESCE", "REORGANIZE", "REMOVE"):
        return [TableOption(table, words, "partition")]
    if upper.startswith("SET TABLESPACE"):
        return [TableOption(table, words, "tablespace")]
    if upper.startswith(("SET LOGGED", "SET UNLOGGED", "SET ACCESS METHOD")):
        return [TableOption(table, words, "rewrite")]
    if part.take("SET", "SCHEMA"):
        return [RenameTable(table, Name(table.table, part.name()))]
    if part.word() in ("ENABLE", "DISABLE", "OWNER", "REPLICA", "NO", "INHERIT"):
        is_trigger = "TRIGGER" in upper.split()[1:3]
        return [TakeLock(table, "SHARE ROW EXCLUSIVE" if is_trigger else "ACCESS EXCLUSIVE")]
    if part.word() in ("COMMENT", "AUTO_INCREMENT", "SET", "RESET", "CLUSTER"):
        return []
    return [Opaque(table, f"a change that the linter does not know: {words}")]


def _add(part: Words, table: Name) -> Iterator[Change]:
    if constraint_follows(part):
        yield read_constraint(part, table)
        return
    if part.word() in ("INDEX", "KEY", "FULLTEXT", "SPATIAL"):
        yield from _add_index(part, table)
        return
    part.take("COLUMN")
    skip_conditions(part)
    if part.is_open():
        for inner in part.inside().parts():
            yield from _added_column(inner, table)
        return
    yield from _added_column(part, table)


def _added_column(part: Words, table: Name) -> Iterator[Change]:
    column, keys = read_column(part, table)
    place = next((word_of(token) for token in part.tokens if word_of(token) in ("FIRST", "AFTER")), "")
    yield AddColumn(table, column, place)
    # In one statement with the column, PostgreSQL looks for no parent of rows of which it knows that they are NULL.
    is_checked = column.default is not None and column.default.fills
    for key in keys:
        yield replace(key, of_new_column=True, inline=True, not_valid=key.kind == "foreign key" and not is_checked)


def _add_index(part: Words, table: Name) -> Iterator[Change]:
    kind = part.name().upper() if part.word() in ("FULLTEXT", "SPATIAL") else ""
    if part.word() in ("INDEX", "KEY"):
        part.name()
    conditional = skip_conditions(part)
    name = "" if part.is_open() else part.name()
    part.until("(")
    while not part.is_over and not part.is_open():
        part.at += 1
    columns, elements = read_elements(part)
    yield CreateIndex(table, name, columns, if_not_exists=conditional, kind=kind, elements=elements)


def _drop(part: Words, table: Name) -> Iterator[Change]:
    if part.take("PRIMARY", "KEY"):
        yield DropConstraint(table, "PRIMARY", "primary key")
    elif part.take("FOREIGN", "KEY"):
        skip_conditions(part)
        yield DropConstraint(table, part.name(), "foreign key")
    elif part.take("CONSTRAINT") or part.take("CHECK"):
        skip_conditions(part)
        yield DropConstraint(table, part.name())
    elif part.take("INDEX") or part.take("KEY"):
        skip_conditions(part)
        yield DropIndex(table, part.name())
    elif part.word() == "PARTITION":
        yield Truncate(table)
    else:
        part.take("COLUMN")
        skip_conditions(part)
        yield DropColumn(table, part.name())


def _alter_column(part: Words, table: Name) -> Iterator[Change]:
    part.take("COLUMN")
    name = part.name()
    if part.take("SET", "NOT", "NULL"):
        yield SetNotNull(table, name)
    elif part.take("DROP", "NOT", "NULL"):
        yield DropNotNull(table, name)
    elif part.take("SET", "DEFAULT"):
        yield SetDefault(table, name, judged(part.until(), part.dialect_name))
    elif part.take("DROP", "DEFAULT"):
        yield SetDefault(table, name, NO_DEFAULT)
    elif part.take("SET", "DATA", "TYPE") or part.take("TYPE"):
        new = part.until("USING", "COLLATE")
        part.until("USING")
        yield ChangeType(table, name, "", upper_type(new), part.until() if part.take("USING") else "")
    else:
        is_weak = part.word() == "SET" and part.word(1) in ("STATISTICS", "")
        yield TakeLock(table, "SHARE UPDATE EXCLUSIVE" if is_weak else "ACCESS EXCLUSIVE")


def _rename(part: Words, table: Name) -> Iterator[Change]:
    if part.take("TO") or part.take("AS") or (part.at + 1 == len(part.tokens) and not part.is_over):
        new = part.dotted()
        yield RenameTable(table, Name(new.table, new.schema or table.schema))
    elif part.word() in ("CONSTRAINT", "INDEX", "KEY"):
        return
    else:
        part.take("COLUMN")
        old = part.name()
        part.take("TO")
        yield RenameColumn(table, old, part.name())


def _modify(part: Words, table: Name) -> Iterator[Change]:
    part.take("COLUMN")
    skip_conditions(part)
    column, _ = read_column(part, table)
    yield ChangeOfColumn(table, column.name, column)


def _change(part: Words, table: Name) -> Iterator[Change]:
    part.take("COLUMN")
    skip_conditions(part)
    old = part.name()
    column, _ = read_column(part, table)
    yield ChangeOfColumn(table, old, column)
    if column.name.casefold() != old.casefold():
        yield RenameColumn(table, old, column.name)


def _validate(part: Words, table: Name) -> Iterator[Change]:
    part.take("CONSTRAINT")
    yield ValidateConstraint(table, part.name())


def _attach(part: Words, table: Name) -> Iterator[Change]:
    yield AttachPartition(table, part.dotted(), bounds=part.all())


def _detach(part: Words, table: Name) -> Iterator[Change]:
    yield DetachPartition(table, part.dotted(), part.word() == "CONCURRENTLY")


def _new_partition(part: Words, table: Name) -> Change:
    """Return what ADD PARTITION does: by RANGE and LIST an empty one is made, else rows go from one to another."""
    words = part.text_of()
    return TableOption(table, words, "other" if "VALUES" in words.upper() else "partition")


_ACTIONS: Mapping[tuple[str, ...], Callable[[Words, Name], Iterator[Change]]] = {
    ("ADD", "PARTITION"): lambda part, table: iter([_new_partition(part, table)]),
    ("ADD", "SYSTEM", "VERSIONING"): lambda part, table: iter([TableOption(table, part.text_of(), "charset")]),
    ("ADD",): _add,
    ("DROP",): _drop,
    ("ALTER",): _alter_column,
    ("RENAME",): _rename,
    ("MODIFY",): _modify,
    ("CHANGE",): _change,
    ("VALIDATE",): _validate,
    ("ATTACH", "PARTITION"): _attach,
    ("DETACH", "PARTITION"): _detach,
}
