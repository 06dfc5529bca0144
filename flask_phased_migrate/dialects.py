"""What differs between database engines: transactions, the run lock, timeouts, sessions, the kinds of error.

One adapter per engine; the base class holds the careful defaults for an engine nobody has measured.
"""

from __future__ import annotations

import functools
import hashlib
import math
import select
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from .errors import MigrateError

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


@dataclass(frozen=True)
class Blocker:
    """A session that keeps a lock which a statement of ours waits for."""

    pid: int
    user: str
    state: str
    query_start: str

    def __str__(self) -> str:
        return f"pid {self.pid}, user {self.user}, {self.state}, query started {self.query_start}"


class LockSession(ABC):
    """Takes the run lock, on a session of its own, and looks after the runner's other sessions from there."""

    @abstractmethod
    def attempt(self) -> bool:
        """Try once to take the lock; return whether it is ours now."""

    def is_held(self) -> bool:
        """Return whether the lock that was taken is still ours: its session may have been ended."""
        return True

    def is_disturbed(self) -> bool:
        """Return whether the server has sent something unasked, as it does at the end of a session. Asks nobody."""
        return False

    def holder(self) -> str | None:
        """Return the session that keeps the lock from us, in words; None where the engine does not tell."""
        return None

    def query_of(self, session: int) -> str | None:
        """Return what another session of the server is executing; None where it is idle or gone."""
        return None

    def is_there(self, session: int) -> bool:
        """Return whether another session of the server has not ended."""
        return False

    def end_session(self, session: int) -> None:  # noqa: B027  (an engine in this process has no other sessions)
        """End another session of this runner, and with it what it is executing."""

    def blockers_of(self, session: int) -> tuple[Blocker, ...]:
        """Return the sessions for which another one waits now."""
        return ()


class _NoLock(LockSession):
    """The run lock of an engine that has none, or of a database that no other process can reach."""

    def attempt(self) -> bool:
        return True


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

    def lock_session(self, engine: Engine, name: LockName) -> AbstractContextManager[LockSession]:
        """Give a session that can take the lock; what it took is released at the end."""
        return nullcontext(_NoLock())

    def is_locked(self, connection: Connection, name: LockName) -> bool:
        """Return whether any runner holds the lock. Takes nothing."""
        return False

    def session_id(self, connection: Connection) -> int | None:
        """Return the server's number of the session behind ``connection``, without asking the server."""
        return None

    @contextmanager
    def migrating(self, connection: Connection) -> Iterator[None]:
        """Make the session one in which steps run; at the end of the block, what it was before."""
        yield

    interrupts_by_itself = False
    """Whether a statement can be interrupted without a server."""

    def interrupt(self, connection: Connection, session: LockSession, number: int | None) -> None:
        """Make the engine give up what the session of ``connection``, of that number, executes. Called by a thread."""
        if number is not None:
            session.end_session(number)

    def keeps_after_rollback(self, connection: Connection) -> bool:
        """Return whether the ROLLBACK that ``connection`` has just executed has left something behind."""
        return False

    copies_tables = False
    """Whether a table is changed by replacing it by a copy."""

    def replacing_tables(self, connection: Connection) -> AbstractContextManager[Callable[[], None]]:
        """Frame a transaction in which tables are replaced by copies of them.

        Gives what has to be called before its COMMIT, and raises MigrateError where rows refer to nothing then.
        """
        return nullcontext(check_nothing)

    def takes_lock_timeout(self, statement: str) -> bool:
        """Return whether a statement must not wait long for a lock, since others would queue behind it."""
        return True

    def set_lock_timeout(self, connection: Connection, seconds: float) -> None:
        """Let statements of this session wait at most so long for a lock; 0 for as long as it takes."""

    def set_statement_timeout(self, connection: Connection, seconds: float) -> None:
        """Let statements of this session take at most so long; 0 for as long as it takes."""

    def is_lock_timeout(self, error: BaseException) -> bool:
        """Return whether the driver's error says that other sessions were in the way, and waiting may help."""
        return False

    def undoes_statement_only(self, error: BaseException) -> bool:
        """Return whether after a lock timeout the transaction goes on, without the statement."""
        return True


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
        # Status 0 is "idle".
        return getattr(_known_of(connection), "transaction_status", None) == 0

    def lock_session(self, engine: Engine, name: LockName) -> AbstractContextManager[LockSession]:
        return _server_lock(engine, _PostgreSQLLock, name.number)

    def is_locked(self, connection: Connection, name: LockName) -> bool:
        return bool(
            connection.scalar(sa.text(f"SELECT count(*) FROM pg_locks l WHERE {_LOCK_IS}"), _halves(name.number))
        )

    def session_id(self, connection: Connection) -> int | None:
        return getattr(_known_of(connection), "backend_pid", None)

    def takes_lock_timeout(self, statement: str) -> bool:
        # A data change that waits for a row keeps nobody from the table, and may have been at work for long.
        return first_word(statement) not in _DATA

    def set_lock_timeout(self, connection: Connection, seconds: float) -> None:
        connection.exec_driver_sql(f"SET lock_timeout = {_milliseconds(seconds)}")

    @contextmanager
    def migrating(self, connection: Connection) -> Iterator[None]:
        with connection.begin():
            # With the interval (since PostgreSQL 14) a server notices that its client was killed; else it would go on
            # with the statement to its end, and keep its locks.
            before = connection.exec_driver_sql(
                "SELECT name, setting, CASE WHEN name = 'client_connection_check_interval' "
                "THEN set_config(name, '1000', false) END FROM pg_settings "
                "WHERE name IN ('lock_timeout', 'statement_timeout', 'client_connection_check_interval')"
            ).fetchall()
        driver: Any = connection.connection.driver_connection
        threshold = getattr(driver, "prepare_threshold", None)
        if threshold is not None:
            # psycopg 3 would prepare our statements, and each DDL statement would make it prepare them anew.
            driver.prepare_threshold = None
        yield
        if threshold is not None:
            driver.prepare_threshold = threshold
        with connection.begin():
            settings = ", ".join(f"set_config('{name}', '{setting}', false)" for name, setting, _ in before)
            connection.exec_driver_sql(f"SELECT {settings}")

    def set_statement_timeout(self, connection: Connection, seconds: float) -> None:
        connection.exec_driver_sql(f"SET statement_timeout = {_milliseconds(seconds)}")

    def is_lock_timeout(self, error: BaseException) -> bool:
        # lock_not_available, deadlock_detected, serialization_failure (PostgreSQL documentation, appendix A).
        return _sqlstate(error) in ("55P03", "40P01", "40001")


def _known_of(connection: Connection) -> Any:
    """Return what psycopg 3 or 2 know of their session without asking the server."""
    driver = connection.connection.driver_connection
    return getattr(driver, "pgconn", None) or getattr(driver, "info", None)


# pg_locks shows a 64-bit key as two unsigned halves (PostgreSQL documentation, view pg_locks).
_LOCK_IS = (
    "l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.classid::bigint = :high AND l.objid::bigint = :low "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def _halves(key: int) -> dict[str, int]:
    return {"high": (key >> 32) & 0xFFFFFFFF, "low": key & 0xFFFFFFFF}


class _ServerLock(LockSession):
    """A lock that belongs to a session of a server: statements with ``:key`` take it, give it back, and look at it."""

    _TAKE = _RELEASE = _IS_HELD = "SELECT 0"
    _STAY = ""
    """Keeps the server from ending the session for doing nothing: it does nothing for as long as a step takes."""

    def __init__(self, connection: Connection, key: int | str) -> None:
        self.connection = connection
        self.key = key
        self.taken = False

    def attempt(self) -> bool:
        self.taken = bool(self._ask(self._TAKE, key=self.key))
        if self.taken and self._STAY:
            with suppress(sa.exc.SQLAlchemyError):
                self.connection.exec_driver_sql(self._STAY)
        return self.taken

    def release(self) -> None:
        """Give the lock back, if it is ours; a session that was ended has given it back."""
        if self.taken:
            with suppress(sa.exc.SQLAlchemyError):
                self._ask(self._RELEASE, key=self.key)

    def is_held(self) -> bool:
        with suppress(sa.exc.SQLAlchemyError):
            return bool(self._ask(self._IS_HELD, key=self.key))
        return False

    def is_disturbed(self) -> bool:
        return _has_unread(self.connection)

    def _ask(self, statement: str, **parameters: object) -> Any:
        known = {name: value for name, value in parameters.items() if f":{name}" in statement}
        return self.connection.scalar(sa.text(statement), known)


@contextmanager
def _server_lock(engine: Engine, kind: type[_ServerLock], key: int | str) -> Iterator[LockSession]:
    with _side_connection(engine) as connection:
        session = kind(connection, key)
        try:
            yield session
        finally:
            session.release()


class _PostgreSQLLock(_ServerLock):
    """An advisory lock of PostgreSQL."""

    _TAKE = "SELECT pg_try_advisory_lock(:key)"
    _RELEASE = "SELECT pg_advisory_unlock(:key)"
    # It is held for as long as its session is there.
    _IS_HELD = "SELECT 1"
    # A parameter since PostgreSQL 14; an older server has none to change.
    _STAY = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"

    def holder(self) -> str | None:
        words: str | None = self._ask(
            "SELECT 'session ' || a.pid || ' from ' || coalesce(a.client_hostname, host(a.client_addr), 'a socket') "
            f"FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE {_LOCK_IS}",
            **_halves(int(self.key)),
        )
        return words

    def query_of(self, session: int) -> str | None:
        query: str | None = self._ask(
            "SELECT coalesce(query, state) FROM pg_stat_activity WHERE pid = :pid "
            "AND state NOT IN ('idle', 'idle in transaction', 'idle in transaction (aborted)')",
            pid=session,
        )
        return query

    def is_there(self, session: int) -> bool:
        return bool(self._ask("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid", pid=session))

    def end_session(self, session: int) -> None:
        self._ask("SELECT pg_terminate_backend(:pid)", pid=session)

    def blockers_of(self, session: int) -> tuple[Blocker, ...]:
        rows = self.connection.execute(
            sa.text(
                "SELECT pid, coalesce(usename, '?'), coalesce(state, '?'), "
                "coalesce(to_char(query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS\"Z\"'), '?') "
                "FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(:pid)) ORDER BY query_start"
            ),
            {"pid": session},
        )
        return tuple(Blocker(*row) for row in rows)


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

    def lock_session(self, engine: Engine, name: LockName) -> AbstractContextManager[LockSession]:
        return _server_lock(engine, _MySQLLock, name.digest)

    def is_locked(self, connection: Connection, name: LockName) -> bool:
        holder = connection.scalar(sa.text("SELECT IS_USED_LOCK(:name)"), {"name": name.digest})
        return bool(holder is not None)

    def has_committed(self, connection: Connection, statement: str) -> bool:
        if is_autocommit(connection):
            return True
        # PyMySQL keeps what the server says with each answer; 1 is SERVER_STATUS_IN_TRANS.
        status = getattr(connection.connection.driver_connection, "server_status", None)
        return self.commits_implicitly(statement) if status is None else not status & 1

    def keeps_after_rollback(self, connection: Connection) -> bool:
        # 1196: some tables are not of an engine that can roll back.
        with suppress(sa.exc.SQLAlchemyError):
            return any(row[1] == _NOT_ROLLED_BACK for row in connection.exec_driver_sql("SHOW WARNINGS"))
        return False

    def session_id(self, connection: Connection) -> int | None:
        thread_id = getattr(connection.connection.driver_connection, "thread_id", None)
        return int(thread_id()) if callable(thread_id) else None

    @contextmanager
    def migrating(self, connection: Connection) -> Iterator[None]:
        names = ["lock_wait_timeout"]
        if getattr(connection.dialect, "is_mariadb", False):
            names.append("max_statement_time")
        with connection.begin():
            before = connection.exec_driver_sql("SELECT " + ", ".join(f"@@SESSION.{name}" for name in names)).one()
        yield
        settings = ", ".join(f"SESSION {name} = {value}" for name, value in zip(names, before, strict=True))
        with connection.begin():
            connection.exec_driver_sql(f"SET {settings}")

    def set_lock_timeout(self, connection: Connection, seconds: float) -> None:
        # Whole seconds, at least 1 (MySQL manual; MariaDB takes 0 for NOWAIT); the default is a day.
        value = max(math.ceil(seconds), 1) if seconds else 86400
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {value}")

    def set_statement_timeout(self, connection: Connection, seconds: float) -> None:
        # MySQL's max_execution_time is for SELECT alone; only MariaDB can end another statement.
        if getattr(connection.dialect, "is_mariadb", False):
            connection.exec_driver_sql(f"SET SESSION max_statement_time = {seconds:g}")

    def is_lock_timeout(self, error: BaseException) -> bool:
        return _mysql_number(error) in (_LOCK_WAIT_TIMEOUT, _DEADLOCK)

    def undoes_statement_only(self, error: BaseException) -> bool:
        # A deadlock rolls the whole transaction back, a timeout only the statement (MySQL manual, InnoDB errors).
        return _mysql_number(error) == _LOCK_WAIT_TIMEOUT


_DATA = frozenset({"select", "insert", "update", "delete", "merge", "with", "copy", "values", "table"})
_LOCK_WAIT_TIMEOUT, _DEADLOCK, _NOT_ROLLED_BACK = 1205, 1213, 1196


def _mysql_number(error: BaseException) -> object:
    origin = getattr(error, "orig", None) or error
    return origin.args[0] if origin.args else None


class _MySQLLock(_ServerLock):
    """A named lock of MariaDB or MySQL."""

    _TAKE = "SELECT GET_LOCK(:key, 0) = 1"
    _RELEASE = "SELECT RELEASE_LOCK(:key)"
    _IS_HELD = "SELECT IS_USED_LOCK(:key) = CONNECTION_ID()"
    _STAY = "SET SESSION wait_timeout = 2147483"

    def holder(self) -> str | None:
        words: str | None = self._ask(
            "SELECT concat('session ', id, ' from ', host) FROM information_schema.processlist "
            "WHERE id = IS_USED_LOCK(:key)",
            key=self.key,
        )
        return words

    def query_of(self, session: int) -> str | None:
        query: str | None = self._ask(
            "SELECT coalesce(info, command) FROM information_schema.processlist WHERE id = :id AND command <> 'Sleep'",
            id=session,
        )
        return query

    def is_there(self, session: int) -> bool:
        return bool(self._ask("SELECT count(*) FROM information_schema.processlist WHERE id = :id", id=session))

    def end_session(self, session: int) -> None:
        with suppress(sa.exc.SQLAlchemyError):
            self.connection.exec_driver_sql(f"KILL {int(session)}")

    def blockers_of(self, session: int) -> tuple[Blocker, ...]:
        # Which session holds a metadata lock the server tells only with a plugin: those that have a transaction, or
        # execute something, in this database are named while ours waits.
        rows = self.connection.execute(
            sa.text(
                "SELECT p.id, p.user, if(p.command = 'Sleep', 'idle in transaction', lower(p.command)), "
                "date_format(utc_timestamp() - INTERVAL p.time SECOND, '%Y-%m-%d %H:%i:%sZ') "
                "FROM information_schema.processlist p WHERE p.db = DATABASE() AND p.id NOT IN (CONNECTION_ID(), :id) "
                "AND coalesce(p.state, '') NOT LIKE 'Waiting for %lock' AND (p.command IN ('Query', 'Execute') "
                "OR p.id IN (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx)) "
                "ORDER BY p.time DESC"
            ),
            {"id": session},
        )
        return tuple(Blocker(*row) for row in rows)


class SQLite(Adapter):
    """Transactional DDL once BEGIN is really sent; a lock file beside the database.

    Python's driver opens a transaction only before INSERT, UPDATE and DELETE, so DDL would run outside.
    The lock is ``BEGIN EXCLUSIVE`` on a side file: the operating system ends it with its process.
    """

    def transactional(self, connection: Connection) -> bool:
        return not is_autocommit(connection)

    def begin(self, connection: Connection) -> None:
        if is_autocommit(connection):
            return
        if not getattr(connection.connection.driver_connection, "in_transaction", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def commits_implicitly(self, statement: str) -> bool:
        return False

    def has_committed(self, connection: Connection, statement: str) -> bool:
        return not getattr(connection.connection.driver_connection, "in_transaction", True)

    def outlives_connection(self, connection: Connection) -> bool:
        return _lock_path(connection.engine) is not None

    interrupts_by_itself = True
    copies_tables = True

    def interrupt(self, connection: Connection, session: LockSession, number: int | None) -> None:
        driver: Any = connection.connection.driver_connection
        driver.interrupt()

    @contextmanager
    def replacing_tables(self, connection: Connection) -> Iterator[Callable[[], None]]:
        # With foreign keys on, SQLite deletes the rows of a table before it drops it, and that cascades
        # (lang_droptable.html). Its own recipe for such changes (lang_altertable.html, 7.) turns them off, which does
        # nothing inside a transaction, and checks before the commit.
        driver: Any = connection.connection.driver_connection
        if driver.in_transaction or not driver.execute("PRAGMA foreign_keys").fetchone()[0]:
            yield check_nothing
            return
        before = _dangling_rows(connection)
        driver.execute("PRAGMA foreign_keys = OFF")
        try:
            yield lambda: _refuse_more_dangling_rows(before, _dangling_rows(connection))
        finally:
            with suppress(sa.exc.SQLAlchemyError, sqlite3.Error):
                again: Any = connection.connection.driver_connection
                again.execute("PRAGMA foreign_keys = ON")

    def lock_session(self, engine: Engine, name: LockName) -> AbstractContextManager[LockSession]:
        path = _lock_path(engine)
        return nullcontext(_NoLock()) if path is None else _file_lock(path)

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
    def migrating(self, connection: Connection) -> Iterator[None]:
        driver: Any = connection.connection.driver_connection
        before = driver.execute("PRAGMA busy_timeout").fetchone()[0]
        try:
            yield
        finally:
            # A database in memory lives on in its connection.
            with suppress(sa.exc.SQLAlchemyError, sqlite3.Error):
                driver.execute(f"PRAGMA busy_timeout = {before}")

    def set_lock_timeout(self, connection: Connection, seconds: float) -> None:
        # There is no waiting without an end: a day stands for it.
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {_milliseconds(seconds) or 86_400_000}")

    def is_lock_timeout(self, error: BaseException) -> bool:
        origin = getattr(error, "orig", None) or error
        # The low byte is the primary result code, SQLITE_BUSY or SQLITE_LOCKED (sqlite.org/rescode.html).
        return (getattr(origin, "sqlite_errorcode", 0) & 0xFF) in (5, 6)


@contextmanager
def _file_lock(path: Path) -> Iterator[LockSession]:
    side = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        yield _SQLiteLock(side)
    finally:
        side.close()


def check_nothing() -> None:
    """Find nothing wrong."""


def _dangling_rows(connection: Connection) -> tuple[tuple[Any, ...], ...]:
    """Return (table, row, parent table, number of the constraint) of rows that refer to a row that is not there.

    Nothing where SQLite cannot tell: a constraint somewhere that refers to what is no key makes it refuse to look.
    """
    driver: Any = connection.connection.driver_connection
    try:
        return tuple(driver.execute("PRAGMA foreign_key_check").fetchall())
    except sqlite3.OperationalError:
        return ()


def _refuse_more_dangling_rows(before: tuple[tuple[Any, ...], ...], now: tuple[tuple[Any, ...], ...]) -> None:
    # Counted: a copy of a table gives its rows other numbers, and a renamed one another name.
    more = len(now) - len(before)
    if more <= 0:
        return
    table, row, parent, _ = min(set(now) - set(before), key=str)
    others = f", and {more - 1} more" if more > 1 else ""
    raise MigrateError(
        f"Row {row} of table {table} would refer to a row of {parent} that is gone{others}. A step with "
        "batch_alter_table runs with foreign keys off, so that no rows go with a table that is replaced: delete what "
        "refers to deleted rows in the same step, or delete them in a step of its own."
    )


class _SQLiteLock(LockSession):
    """An exclusive transaction on the lock file."""

    def __init__(self, side: sqlite3.Connection) -> None:
        self.side = side

    def attempt(self) -> bool:
        try:
            self.side.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
        return True


@contextmanager
def _side_connection(engine: Engine) -> Iterator[Connection]:
    """Give an autocommit connection of its own: the application's pool may have no more than one."""
    side = Engine(engine.pool.recreate(), engine.dialect, engine.url)
    try:
        with side.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
    finally:
        side.dispose()


def _has_unread(connection: Connection) -> bool:
    """Return whether something of the server waits to be read; False where the driver does not show its socket."""
    driver: Any = connection.connection.driver_connection
    # psycopg 2 and 3 have fileno(); PyMySQL keeps its socket to itself.
    source = driver if hasattr(driver, "fileno") else getattr(driver, "_sock", None)
    with suppress(OSError, ValueError, sa.exc.SQLAlchemyError):
        return source is not None and bool(select.select([source], [], [], 0)[0])
    return True


def _lock_path(engine: Engine) -> Path | None:
    database = engine.url.database
    if not database or database == ":memory:" or database.startswith("file:"):
        return None
    # Resolved: a link to the database file is the same database.
    return Path(f"{Path(database).resolve()}.phase-lock")


def _milliseconds(seconds: float) -> int:
    """Return whole milliseconds, at least 1 for what is more than nothing."""
    return math.ceil(seconds * 1000)


def _sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error of psycopg 3 or psycopg2, wrapped by SQLAlchemy or not."""
    origin = getattr(error, "orig", None) or error
    return getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)


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
    driver = connection.connection.driver_connection
    # PyMySQL and mysqlclient have a method, psycopg 2 and 3 an attribute; that of Python 3.12's sqlite3 is -1.
    told = getattr(driver, "get_autocommit", None)
    return bool(told()) if callable(told) else getattr(driver, "autocommit", False) is True


@functools.lru_cache(maxsize=4)
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


@dataclass(frozen=True)
class HeldLock:
    """Whether a run lock was ``taken``, and the session that asked for it."""

    session: LockSession
    taken: bool

    def __bool__(self) -> bool:
        return self.taken


@contextmanager
def run_lock(
    adapter: Adapter,
    engine: Engine,
    name: LockName,
    *,
    wait_s: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[HeldLock]:
    """Hold the run lock for the block, or tell that another runner kept it for ``wait_s`` seconds."""
    deadline = clock() + wait_s
    with adapter.lock_session(engine, name) as session:
        taken = session.attempt()
        while not taken and clock() < deadline:
            sleep(min(POLL_INTERVAL_S, max(deadline - clock(), 0.01)))
            taken = session.attempt()
        yield HeldLock(session, taken)
