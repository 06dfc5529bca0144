"""Empty tables in memory that the SQL of an export is run on, so that a batch operation reads a table as online.

SQLite itself understands the statements, and SQLAlchemy reads the tables back as it does from a real database:
what a batch operation keeps of a table, and what it loses, is then the same in both.

SQLite reads its whole schema anew at each ``ALTER TABLE``, so that a history would take time by the square of its
length. So only the tables in use are in it, and of the others their own statements are kept.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator

import sqlalchemy as sa

from .offline.isolation import allow_connections
from .offline.structure import Outcome

_MAKES = {sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_TEMP_TABLE, sqlite3.SQLITE_CREATE_VTABLE}
_DROPS = {sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_DROP_TEMP_TABLE, sqlite3.SQLITE_DROP_VTABLE}
_CHANGES = {
    *(*_MAKES, *_DROPS, sqlite3.SQLITE_ALTER_TABLE),
    *(sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_CREATE_TEMP_INDEX),
    *(sqlite3.SQLITE_DROP_INDEX, sqlite3.SQLITE_DROP_TEMP_INDEX, sqlite3.SQLITE_CREATE_VIEW),
    *(sqlite3.SQLITE_CREATE_TEMP_VIEW, sqlite3.SQLITE_DROP_VIEW, sqlite3.SQLITE_DROP_TEMP_VIEW),
    *(sqlite3.SQLITE_CREATE_TRIGGER, sqlite3.SQLITE_CREATE_TEMP_TRIGGER),
    *(sqlite3.SQLITE_DROP_TRIGGER, sqlite3.SQLITE_DROP_TEMP_TRIGGER),
}
_DATA = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_SELECT}
_SESSION = {
    *(sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH),
    *(sqlite3.SQLITE_ANALYZE, sqlite3.SQLITE_REINDEX),
}
_KEPT_PRAGMAS = {"legacy_alter_table", "foreign_keys", "writable_schema", "schema_version"}
"""Settings that change what a later statement does to structure."""

_ROOM = 40
"""How many tables are in SQLite at the most before those not in use are set aside."""
_EVERYTHING = {"sqlite_master", "sqlite_schema", "pragma", "trigger", "view", "virtual", "temp", "temporary"}
"""Words of statements whose effect may depend on tables that they do not name."""
_OWN_COPY = "_alembic_tmp_"


class Replica:
    """An SQLite database in memory with the structure of the application's, and no rows.

    :param first: a statement that makes a table which is there from the start.
    """

    def __init__(self, first: str) -> None:
        self._engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        allow_connections(self._engine)
        self.connection = self._engine.connect()
        driver = self.connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self._sqlite = driver
        # An application may have set this for every engine of the process; sqlite3, the client, begins without.
        driver.isolation_level = None
        driver.execute("PRAGMA foreign_keys = OFF")
        self._there: set[str] = set()
        self._aside = _Aside(driver)
        self._run_one(first)

    def close(self) -> None:
        """Forget the tables."""
        self.connection.close()
        self._engine.dispose()

    def columns(self, table: str, schema: str | None = None) -> tuple[str, ...]:
        """Return the names of a table's columns, none if there is no such table."""
        self._aside.bring_back_to_read(table)
        where = (table, schema) if schema is not None else (table,)
        marks = ", ".join("?" for _ in where)
        found = self._sqlite.execute(f"SELECT name FROM pragma_table_info({marks})", where)
        return tuple(name for (name,) in found)

    def run(self, text: str) -> Iterator[Outcome]:
        """Carry out the statements in ``text`` that are about structure; those about rows are passed over."""
        for statement in statements_in(text):
            yield self._run_one(statement)

    def _run_one(self, text: str) -> Outcome:
        self._aside.make_room(text)
        for _attempt in range(8):
            watch = _Watch()
            before = self._names() if "RENAME" in text.upper() else set()
            self._sqlite.set_authorizer(watch)
            try:
                self._sqlite.execute(text)
            except (sqlite3.Error, sqlite3.Warning) as error:
                self._sqlite.set_authorizer(None)
                if watch.passed_over:
                    return Outcome(text)
                if not self._supply(str(error)):
                    return Outcome(text, error=str(error))
            else:
                self._sqlite.set_authorizer(None)
                return self._done(text, watch, self._renamed(before))
        return Outcome(text, error="it names too much that is not there")

    def _done(self, text: str, watch: _Watch, renamed: tuple[tuple[str, str], ...]) -> Outcome:
        # CREATE TABLE IF NOT EXISTS may have made nothing.
        made = tuple(name for name in watch.made if name.casefold() not in self._there)
        self._there -= {name.casefold() for name in (*watch.dropped, *(old for old, _ in renamed))}
        self._there |= {name.casefold() for name in (*made, *(new for _, new in renamed))}
        return Outcome(text, made=made, renamed=renamed)

    def _names(self) -> set[str]:
        return {name for (name,) in self._sqlite.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def _renamed(self, before: set[str]) -> tuple[tuple[str, str], ...]:
        if not before:
            return ()
        after = self._names()
        return tuple(zip(sorted(before - after), sorted(after - before), strict=False))

    def _supply(self, error: str) -> bool:
        """Give the database what the application's connections have and this one lacks; return whether it could."""
        supplies: dict[str, Callable[[str], object]] = {
            "no such collation sequence: ": lambda name: self._sqlite.create_collation(name, _compare),
            "no such function: ": lambda name: self._sqlite.create_function(name, -1, _nothing, deterministic=True),
            "unknown database ": lambda name: self._sqlite.execute("ATTACH DATABASE ':memory:' AS ?", (name,)),
        }
        for begin, supply in supplies.items():
            if error.startswith(begin):
                try:
                    supply(error.removeprefix(begin).strip('"'))
                except sqlite3.Error:
                    return False
                return True
        return False


class _Aside:
    """The tables that are not in use, by the statements that make them: SQLite's own text of each.

    A table comes back as soon as a statement has its name, or that of one of its indexes, for a word, whatever the word
    is there for. Where a statement may reach tables that it does not name, all are brought back.
    """

    def __init__(self, sqlite: sqlite3.Connection) -> None:
        self._sqlite = sqlite
        self._made: dict[str, tuple[tuple[str, str], ...]] = {}
        self._table_of: dict[str, str] = {}
        self._ended = False
        self._count = 0

    def make_room(self, text: str) -> None:
        """Get ready for a statement: with all that it names, and without much else."""
        if self._ended:
            return
        words = _words(text)
        if not words.isdisjoint(_EVERYTHING):
            self._bring_back(tuple(self._made))
            self._ended = True
            return
        if "rename" in words and not any(word.startswith(_OWN_COPY) for word in words):
            # References to what is renamed follow it, wherever they are.
            self._bring_back(tuple(self._made))
            return
        self._count += "create" in words
        if self._count > _ROOM:
            self._set_aside(words)
        self._bring_back(tuple(self._table_of[word] for word in words if word in self._table_of))

    def bring_back_to_read(self, table: str) -> None:
        """Bring back a table with those that it refers to."""
        name = table.casefold()
        self._bring_back((name,))
        found = self._sqlite.execute("SELECT sql FROM sqlite_master WHERE lower(tbl_name) = ?", (name,)).fetchall()
        words = {word for (text,) in found for word in _words(text or "")}
        self._bring_back(tuple(self._table_of[word] for word in words if word in self._table_of))

    def _set_aside(self, words: set[str]) -> None:
        """Take the tables out that none of ``words`` is about."""
        rows = "SELECT tbl_name, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type = 'index', rowid"
        found: dict[str, list[tuple[str, str]]] = {}
        for table, name, text in self._sqlite.execute(rows).fetchall():
            found.setdefault(table, []).append((name, text))
        for table, parts in found.items():
            if table.startswith("sqlite_") or not all(_WORD.fullmatch(name) for name, _ in parts):
                continue
            names = [name.casefold() for name, _ in parts]
            if words.isdisjoint(names):
                self._made[table.casefold()] = tuple(zip(names, (text for _, text in parts), strict=True))
                self._table_of.update(dict.fromkeys(names, table.casefold()))
                self._sqlite.execute(f'DROP TABLE main."{table}"')
        self._count = 0

    def _bring_back(self, tables: Iterable[str]) -> None:
        for table in dict.fromkeys(tables):
            parts = self._made.pop(table, ())
            for name, statement in parts:
                del self._table_of[name]
                self._sqlite.execute(statement)
            self._count += bool(parts)


# SQLite takes letters beyond ASCII for different ones in upper and lower case; tables with such names stay.
_WORD = re.compile(r"\w+", re.ASCII)


def _words(text: str) -> set[str]:
    """Return everything in a text that could be a name without odd characters, and more."""
    return set(_WORD.findall(text.casefold()))


class _Watch:
    """Sees what a statement does before it is done, and forbids what is not about structure.

    It is SQLite's authorizer (sqlite.org/c3ref/set_authorizer.html), called as a statement is compiled.
    """

    def __init__(self) -> None:
        self.made: list[str] = []
        self.dropped: list[str] = []
        self.passed_over = False
        self._changes = False

    def __call__(self, action: int, first: str | None, *_place: object) -> int:
        if action in _CHANGES:
            self._changes = True
            if first is not None and action in _MAKES:
                self.made.append(first)
            elif first is not None and action in _DROPS:
                self.dropped.append(first)
        elif not self._changes and self._is_passed_over(action, first or ""):
            self.passed_over = True
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    def _is_passed_over(self, action: int, first: str) -> bool:
        if action == sqlite3.SQLITE_PRAGMA:
            return first.casefold() not in _KEPT_PRAGMAS
        # A statement that changes structure begins with a write into SQLite's own table of it.
        return action in _SESSION or (action in _DATA and not first.startswith("sqlite_"))


def statements_in(text: str) -> Iterator[str]:
    """Yield the statements of a text as SQLite divides it: a trigger's body stays in its statement."""
    start = 0
    for position in _semicolons(text):
        if sqlite3.complete_statement(text[start : position + 1]):
            yield text[start : position + 1].strip()
            start = position + 1
    if text[start:].strip():
        yield text[start:].strip()


_CLOSING = {"'": "'", '"': '"', "`": "`", "[": "]", "--": "\n", "/*": "*/"}


def _semicolons(text: str) -> Iterator[int]:
    """Yield where the semicolons are that are in no string, name or comment."""
    position = 0
    while position < len(text):
        begin = next((word for word in (text[position], text[position : position + 2]) if word in _CLOSING), None)
        if begin is not None:
            end = text.find(_CLOSING[begin], position + len(begin))
            position = len(text) if end < 0 else end + len(_CLOSING[begin])
            continue
        if text[position] == ";":
            yield position
        position += 1


def _compare(first: str, second: str) -> int:
    return (first > second) - (first < second)


def _nothing(*_arguments: object) -> None:
    """Stand for a function of the application."""
