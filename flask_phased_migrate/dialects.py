"""What differs between database engines: transactions, the run lock, the clock, the kinds of error.

One adapter per engine; the base class holds the careful defaults for an engine nobody has measured.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

POLL_INTERVAL_S = 0.2


@dataclass(frozen=True)
class LockName:
    """What one run lock protects: a version table in a database."""

    database: str
    schema: str
    version_table: str

    @property
    def digest(self) -> str:
        """40 hexadecimal digits."""
        text = "\0".join((self.database, self.schema, self.version_table))
        return hashlib.sha256(text.encode()).hexdigest()[:40]

    @property
    def number(self) -> int:
        """The digest as a signed 64-bit number."""
        return int.from_bytes(bytes.fromhex(self.digest[:16]), "big", signed=True)


class Adapter:
    """An engine of which nothing is known: no transactional DDL, no run lock."""

    def transactional(self, connection: Connection) -> bool:
        """Return whether a transaction on ``connection`` undoes DDL when it is rolled back."""
        return False

    def begin(self, connection: Connection) -> None:
        """Make the driver really open the transaction that SQLAlchemy has just begun."""

    def commits_implicitly(self, statement: str) -> bool:
        """Return whether the engine commits before ``statement``, by its first word."""
        return True

    def has_committed(self, connection: Connection, statement: str) -> bool:
        """Return whether ``statement``, which ``connection`` has just executed, is committed already."""
        return self.commits_implicitly(statement)

    def outlives_connection(self, connection: Connection) -> bool:
        """Return whether the database is still there when ``connection`` is closed."""
        return True

    def lock_name(self, engine: Engine, version_table: str, schema: str | None) -> LockName:
        """Return what a runner on this engine and version table has to lock."""
        return LockName(engine.url.database or "", schema or "", version_table)

    @contextmanager
    def try_lock(self, engine: Engine, name: LockName) -> Iterator[Callable[[], bool]]:
        """Give a function that tries once to take the lock; what it took is released at the end."""
        yield lambda: True

    def is_locked(self, connection: Connection, name: LockName) -> bool:
        """Return whether any runner holds the lock. Takes nothing."""
        return False


class PostgreSQL(Adapter):
    """Transactional DDL; session advisory locks, which belong to one database.

    Polled, never waited for: a session that waits inside ``pg_advisory_lock()`` holds a snapshot, and
    CREATE INDEX CONCURRENTLY elsewhere would wait for it for ever (measured on PostgreSQL 15).
    """

    def transactional(self, connection: Connection) -> bool:
        return not is_autocommit(connection)

    def commits_implicitly(self, statement: str) -> bool:
        return False

    def has_committed(self, connection: Connection, statement: str) -> bool:
        # psycopg 2 and 3 know it without asking the server. Status 0 is "idle".
        info = getattr(connection.connection.driver_connection, "info", None)
        return getattr(info, "transaction_status", None) == 0

    @contextmanager
    def try_lock(self, engine: Engine, name: LockName) -> Iterator[Callable[[], bool]]:
        with _side_connection(engine) as connection:
            taken = False

            def attempt() -> bool:
                nonlocal taken
                taken = bool(connection.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": name.number}))
                return taken

            try:
                yield attempt
            finally:
                if taken:
                    with suppress(sa.exc.DBAPIError):
                        connection.scalar(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": name.number})

    def is_locked(self, connection: Connection, name: LockName) -> bool:
        # pg_locks shows a 64-bit key as two unsigned halves (PostgreSQL documentation, view pg_locks).
        high, low = (name.number >> 32) & 0xFFFFFFFF, name.number & 0xFFFFFFFF
        return bool(
            connection.scalar(
                sa.text(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
                    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                    "AND classid::bigint = :high AND objid::bigint = :low"
                ),
                {"high": high, "low": low},
            )
        )


class MySQL(Adapter):
    """DDL commits implicitly; GET_LOCK locks, which are server-wide and survive commits."""

    # Statements that do not end the transaction (MariaDB and MySQL manuals, implicit commit).
    _STAYS = frozenset(
        {"select", "insert", "update", "delete", "replace", "with", "set", "show", "values"}
        | {"use", "explain", "describe", "desc", "savepoint", "release", "rollback"}
    )

    def commits_implicitly(self, statement: str) -> bool:
        word = first_word(statement)
        if word == "set":
            # SET STATEMENT ... FOR runs another statement, SET autocommit ends the transaction.
            rest = statement.lower()
            return "statement" in rest or "autocommit" in rest
        return word not in self._STAYS

    @contextmanager
    def try_lock(self, engine: Engine, name: LockName) -> Iterator[Callable[[], bool]]:
        with _side_connection(engine) as connection:
            taken = False

            def attempt() -> bool:
                nonlocal taken
                answer = connection.scalar(sa.text("SELECT GET_LOCK(:name, 0)"), {"name": name.digest})
                taken = bool(answer == 1)
                return taken

            try:
                yield attempt
            finally:
                if taken:
                    with suppress(sa.exc.DBAPIError):
                        connection.scalar(sa.text("SELECT RELEASE_LOCK(:name)"), {"name": name.digest})

    def is_locked(self, connection: Connection, name: LockName) -> bool:
        holder = connection.scalar(sa.text("SELECT IS_USED_LOCK(:name)"), {"name": name.digest})
        return bool(holder is not None)


class SQLite(Adapter):
    """Transactional DDL once BEGIN is really sent; a lock file beside the database.

    Python's driver opens a transaction only before INSERT, UPDATE and DELETE, so DDL would run outside.
    The lock is ``BEGIN EXCLUSIVE`` on a side file: the operating system ends it with its process.
    """

    def transactional(self, connection: Connection) -> bool:
        return not is_autocommit(connection)

    def begin(self, connection: Connection) -> None:
        if not getattr(connection.connection.driver_connection, "in_transaction", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def commits_implicitly(self, statement: str) -> bool:
        return False

    def has_committed(self, connection: Connection, statement: str) -> bool:
        return not getattr(connection.connection.driver_connection, "in_transaction", True)

    def outlives_connection(self, connection: Connection) -> bool:
        return _lock_path(connection.engine) is not None

    @contextmanager
    def try_lock(self, engine: Engine, name: LockName) -> Iterator[Callable[[], bool]]:
        path = _lock_path(engine)
        if path is None:
            yield lambda: True
            return
        side = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            yield lambda: _begin_exclusive(side)
        finally:
            side.close()

    def is_locked(self, connection: Connection, name: LockName) -> bool:
        path = _lock_path(connection.engine)
        if path is None or not path.exists():
            return False
        side = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0, isolation_level=None)
        try:
            side.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            return True
        finally:
            side.close()
        return False


@contextmanager
def _side_connection(engine: Engine) -> Iterator[Connection]:
    """Give an autocommit connection of its own: the application's pool may have no more than one."""
    side = Engine(engine.pool.recreate(), engine.dialect, engine.url)
    try:
        with side.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
    finally:
        side.dispose()


def _lock_path(engine: Engine) -> Path | None:
    database = engine.url.database
    if not database or database == ":memory:" or database.startswith("file:"):
        return None
    # Resolved: a link to the database file is the same database.
    return Path(f"{Path(database).resolve()}.phase-lock")


def _begin_exclusive(side: sqlite3.Connection) -> bool:
    try:
        side.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True


_ADAPTERS: dict[str, Adapter] = {
    "postgresql": PostgreSQL(),
    "mysql": MySQL(),
    "mariadb": MySQL(),
    "sqlite": SQLite(),
}


def adapter_for(dialect_name: str) -> Adapter:
    """Return the adapter of a SQLAlchemy dialect name."""
    return _ADAPTERS.get(dialect_name, Adapter())


def is_autocommit(connection: Connection) -> bool:
    """Return whether every statement on ``connection`` is committed at once."""
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return True
    # psycopg 2 and 3; pysqlite's attribute of Python 3.12 is -1 in the legacy mode.
    return getattr(connection.connection.driver_connection, "autocommit", False) is True


def first_word(statement: str) -> str:
    """Return the first word of an SQL text in lower case, comments before it left out."""
    text = statement.lstrip(" \t\r\n(;")
    while text.startswith(("--", "/*", "#")):
        end = text.find("*/") + 2 if text.startswith("/*") else text.find("\n") + 1
        if end <= 1:
            return ""
        text = text[end:].lstrip(" \t\r\n(;")
    letters = 0
    while letters < len(text) and text[letters].isalpha():
        letters += 1
    return text[:letters].lower()


@contextmanager
def run_lock(
    adapter: Adapter,
    engine: Engine,
    name: LockName,
    *,
    wait_s: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[bool]:
    """Hold the run lock for the block; gives False where another runner kept it for ``wait_s`` seconds."""
    deadline = clock() + wait_s
    with adapter.try_lock(engine, name) as attempt:
        taken = attempt()
        while not taken and clock() < deadline:
            sleep(min(POLL_INTERVAL_S, max(deadline - clock(), 0.01)))
            taken = attempt()
        yield taken
