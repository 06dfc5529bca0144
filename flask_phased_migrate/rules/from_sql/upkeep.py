"""Locks, settings, and what keeps tables in shape."""

from __future__ import annotations

from collections.abc import Iterator

from ...inspection.statements import word_of
from ..changes import NOWHERE, Change, Maintain, Name, SetSetting, TableOption, TakeLock, Vacuum
from .words import Words


def read_lock(words: Words) -> Iterator[Change]:
    """Return the locks that LOCK TABLE asks for."""
    words.take("TABLE")
    words.take("ONLY")
    is_mysql = words.dialect_name != "postgresql"
    text = " ".join(words.rest().upper().split())
    mode = text.rpartition(" IN ")[2].removesuffix(" NOWAIT").removesuffix(" MODE") if " IN " in text else ""
    for part in words.parts():
        name = part.dotted()
        default = ("SHARE" if "READ" in part.rest().upper() else "ACCESS EXCLUSIVE") if is_mysql else "ACCESS EXCLUSIVE"
        yield TakeLock(name, mode or default, is_asked=True)


def vacuum(words: Words) -> Iterator[Change]:
    """Return what VACUUM does, of all tables where it names none."""
    text = {word_of(token) for token in words.tokens}
    if words.is_open():
        words.skip_item()
    while words.word() in ("FULL", "FREEZE", "VERBOSE", "ANALYZE"):
        words.at += 1
    table = NOWHERE if words.is_over or words.word() == "INTO" else words.dotted()
    yield Vacuum(table)
    if "FULL" in text:
        yield Maintain(table, "VACUUM FULL")


def cluster(words: Words) -> Iterator[Change]:
    """Return the table that CLUSTER writes anew."""
    words.take("VERBOSE")
    yield Maintain(NOWHERE if words.is_over else words.dotted(), "CLUSTER")


def reindex(words: Words) -> Iterator[Change]:
    """Return what REINDEX builds anew."""
    if words.dialect_name != "postgresql":
        return
    concurrently = words.is_open() and any(word_of(token) == "CONCURRENTLY" for token in words.inside().tokens)
    kind = words.name()
    concurrently = words.take("CONCURRENTLY") or concurrently
    yield Maintain(NOWHERE if words.is_over else words.dotted(), f"REINDEX {kind.upper()}", concurrently)


def optimize(words: Words) -> Iterator[Change]:
    """Return the tables that OPTIMIZE TABLE writes anew."""
    for word in ("NO_WRITE_TO_BINLOG", "LOCAL", "TABLE", "TABLES"):
        words.take(word)
    for part in words.parts():
        yield TableOption(part.dotted(), "OPTIMIZE", "engine")


def pragma(words: Words) -> Iterator[Change]:
    """Return the setting of SQLite that PRAGMA changes."""
    name = words.dotted().table
    value = words.inside().rest() if words.is_open() else words.rest().lstrip("= ")
    yield SetSetting(Name(name.casefold()), value)


def reset(words: Words) -> Iterator[Change]:
    """Return the setting that RESET gives its default again."""
    yield SetSetting(Name(words.name().casefold()), "DEFAULT")


def change_setting(words: Words) -> Iterator[Change]:
    """Return the setting that SET changes."""
    before = words.until("=", "TO")
    words.name()
    # SET LOCAL x, SET @@session.x: the last word is the name.
    name = before.replace(".", " ").split()[-1:] or [""]
    yield SetSetting(Name(name[0].strip("@").casefold()), words.rest())
