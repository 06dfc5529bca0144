"""Sends the changes of the bookkeeping, in as few messages to the server as the engine can take them.

They are sent for every step, so they are texts that were compiled once: SQLAlchemy's way to its cache takes longer
than the server's answer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .tables import Tables


@dataclass(frozen=True, slots=True)
class Change:
    """One change: a kind, for example ``update record``, and the values of the columns that it names.

    ``place`` is what it changes: the table and the row, or a beginning of it.
    """

    kind: str
    values: Mapping[str, Any]
    place: tuple[Any, ...]

    def overlaps(self, other: Change) -> bool:
        """Return whether both change the same row."""
        mine, theirs = self.place, other.place
        return mine[0] == theirs[0] and mine[: len(theirs)] == theirs[: len(mine)]


def change(kind: str, values: Mapping[str, Any]) -> Change:
    """Return a :class:`Change` with its place."""
    if kind in _MOVES:
        return Change(kind, values, ("version",))
    if kind.endswith("execution"):
        return Change(kind, values, ("execution", values.get("id")))
    if kind == "delete records":
        return Change(kind, values, ("record", values["revision"]))
    return Change(kind, values, ("record", values["revision"], values["phase"]))


class Writer:
    """Collects changes and sends them. ``inserted`` is the id of the journal row that was written last."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        self.connection = connection
        self.tables = tables
        self.inserted = 0
        dialect = connection.dialect
        translated = bool(connection.get_execution_options().get("schema_translate_map"))
        known = dialect.name == "postgresql" or (dialect.name in _MYSQL and getattr(dialect, "is_mariadb", False))
        fitting = dialect.driver in _SEVERAL_STATEMENTS and dialect.paramstyle == "pyformat"
        self._messages = known and fitting and not translated
        self._gathering = False
        self._waiting: list[Change] = []
        self._lazily = self._commits = self._goes_on = False
        self._made: dict[Any, Any] = {}
        self._committed: Any = None
        self._escapes = dialect.name == "postgresql"

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Send what is written in the block at its end."""
        self._gathering, self.inserted = True, 0
        try:
            yield
            self._send()
        finally:
            self._gathering = self._lazily = self._commits = self._goes_on = False
            self._waiting.clear()

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Frame a transaction whose COMMIT a message may contain: the driver's ``commit()`` sends no other then."""
        try:
            yield
        finally:
            if self._committed is not None:
                vars(self._committed).pop("commit", None)
                self._committed = None

    def forget(self) -> None:
        """Forget what was not sent."""
        self._waiting.clear()

    def commit_lazily(self) -> None:
        """Let the server answer the transaction's COMMIT before it is on the disk, where it can promise the order.

        If the server itself dies within the second, the transaction and all after it are as if they had not been
        (PostgreSQL documentation, Asynchronous Commit). A later commit that is not lazy makes it durable.
        """
        self._lazily = self._messages and self.connection.dialect.name == "postgresql"

    def commit_with_it(self, *, going_on: bool = False) -> None:
        """Commit in the message that is sent at the end of the block, within :meth:`committing`.

        :param going_on: whether to begin the next transaction in it, too.
        """
        known = self._messages and self.connection.dialect.driver in _COMMITTED_BY_MESSAGE
        self._commits = known and isinstance(getattr(self._driver, "__dict__", None), dict)
        self._goes_on = going_on and self._commits and self._begins_plainly()

    def _begins_plainly(self) -> bool:
        """Return whether the driver's next transaction would begin with a BEGIN, and nothing else in it."""
        options = [getattr(self._driver, name, "") for name in ("isolation_level", "read_only", "deferrable")]
        return options == [None, None, None]

    @property
    def _driver(self) -> Any:
        return self.connection.connection.driver_connection

    def write(self, kind: str, **values: Any) -> None:
        """Send a change, or keep it until the end of the block.

        :raises RuntimeError: if the version table does not have the row that it changes.
        """
        new = change(kind, values)
        if any(new.overlaps(other) for other in self._waiting):
            self._send()
        self._waiting.append(new)
        if not self._gathering:
            self._send()

    def _send(self) -> None:
        waiting, self._waiting = _moving_records(self._waiting), []
        if self._messages and any(item.kind in _LAST for item in waiting[1:]):
            self._send_message(waiting)
            return
        for item in waiting:
            self._send_one(item)

    def _send_one(self, item: Change) -> None:
        statement = self._once(item.kind, lambda: self._statement(item.kind, "0_"))
        result = self.connection.execute(statement, _numbered((item,)))
        if item.kind == "insert execution":
            (self.inserted,) = result.inserted_primary_key or (0,)
        elif item.kind in _CERTAIN and result.rowcount not in (1, -1) and result.dialect.supports_sane_rowcount:
            raise self._lost()

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _lost(self) -> RuntimeError:
        return RuntimeError(
            f"a row that must be in {self.tables.version.name} or beside it in {self.tables.ledger.name} or "
            f"{self.tables.journal.name} is not: it was changed by somebody else during this run"
        )

    # -- several changes at once --------------------------------------------------------------------

    def _send_message(self, changes: Sequence[Change]) -> None:
        """Send all changes as one message of several statements, whose last tells what was done."""
        last = next(item for kind in _LAST for item in reversed(changes) if item.kind == kind)
        moves = [item for item in changes if item.kind in _MOVES]
        others = [item for item in changes if item is not last and item.kind not in _MOVES]
        ordered = [*others, *moves, last]
        kinds = tuple(item.kind for item in ordered)
        commits = self._commits and last.kind == "insert execution"
        end = ("COMMIT", "BEGIN")[: commits + (commits and self._goes_on)]
        if self._escapes:
            key = (kinds, self._lazily, end)
            template = self._once(key, lambda: self._postgresql_message(kinds, len(moves), end))
        else:
            template = self._once((kinds, end), lambda: self._mariadb_message(kinds, end))
        # With parameters psycopg 3 would have the server prepare a statement, which must be one alone.
        escapes = self._escapes
        text = template % {name: literal(value, escapes=escapes) for name, value in _numbered(ordered).items()}
        try:
            row = _last_row(self.connection.exec_driver_sql(text, execution_options={"no_parameters": True}))
        except sa.exc.DBAPIError as error:
            if _is_own_refusal(error, self.tables.journal.name if moves else None):
                raise self._lost() from error
            rows = f"the rows of this step in {self.tables.version.name} and beside it"
            error.statement = f"COMMIT, with {rows}" if commits else f"({rows})"
            raise
        if row is None:
            raise self._lost()
        if last.kind == "insert execution":
            (self.inserted,) = row
        if commits:
            self._committed = self._driver
            vars(self._committed)["commit"] = _commit_nothing

    def _postgresql_message(self, kinds: tuple[str, ...], moves: int, end: tuple[str, ...]) -> str:
        """Return the text of a message: each statement gives rows, since some drivers look at the first only.

        A version table that was not changed as it must be is an error before the end: a journal row has no status.
        The product of what was moved is one row, if each was.
        """
        statements = [self._statement(kind, f"{place}_") for place, kind in enumerate(kinds)]
        plain = statements[: len(statements) - 1 - moves]
        parts: list[Any] = [item.returning(next(iter(item.table.c))) for item in plain]
        if self._lazily:
            parts.append(sa.text("SET LOCAL synchronous_commit = off"))
        last = statements[-1]
        if moves:
            moved = [
                item.returning(self.tables.version.c.version_num).cte(f"moved_{place}")
                for place, item in enumerate(statements[len(plain) : -1])
            ]
            status = self.tables.journal.c.status
            all_moved = sa.func.count() == sa.literal_column("1")
            given = sa.case((all_moved, _given(status, f"{len(statements) - 1}_")))
            last = last.values({status: sa.select(given).select_from(*moved).scalar_subquery()}).add_cte(*moved)
        parts.append(last.returning(self.tables.journal.c.id))
        return ";\n".join([*map(self._compiled, parts), *end])

    def _mariadb_message(self, kinds: tuple[str, ...], end: tuple[str, ...]) -> str:
        """Return the text of a compound statement (MariaDB documentation, "BEGIN NOT ATOMIC", "SIGNAL")."""
        statements = [self._statement(kind, f"{place}_") for place, kind in enumerate(kinds)]
        last = "SELECT LAST_INSERT_ID()"
        if kinds[-1] == "insert execution" and self.connection.dialect.insert_returning:
            last, statements[-1] = "", statements[-1].returning(self.tables.journal.c.id)
        parts = list(map(self._compiled, statements))
        check = f"IF ROW_COUNT() <> 1 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_REFUSAL}'; END IF"
        parts = [f"{part};\n{check}" if kind in _CERTAIN else part for kind, part in zip(kinds, parts, strict=True)]
        return "BEGIN NOT ATOMIC\n" + ";\n".join(filter(None, [*parts, last, *end])) + ";\nEND"

    def _compiled(self, statement: Any) -> str:
        return str(statement.compile(dialect=self.connection.dialect))

    # -- the statements -----------------------------------------------------------------------------

    def _statement(self, kind: str, prefix: str) -> Any:
        """Return the statement of one change, its parameters named after the columns with ``prefix``."""
        ledger, journal, version = self.tables.ledger, self.tables.journal, self.tables.version
        if kind in _UPDATES:
            values, where = self._update(kind, prefix)
            return sa.update(next(iter(values)).table).values(values).where(*where)
        if kind == "insert execution":
            return sa.insert(journal).values(_given_all(journal, _EXECUTION_BEGINS, prefix))
        if kind == "insert record":
            return sa.insert(ledger).values(_given_all(ledger, ("revision", "phase", *_RECORD), prefix))
        if kind == "insert version":
            return sa.insert(version).values(version_num=_given(version.c.version_num, prefix, "after"))
        if kind == "delete version":
            return sa.delete(version).where(version.c.version_num == _given(version.c.version_num, prefix, "before"))
        keys = ["revision"] if kind == "delete records" else ["revision", "phase"]
        return sa.delete(ledger).where(*(ledger.c[key] == _given(ledger.c[key], prefix) for key in keys))

    def _update(self, kind: str, prefix: str) -> tuple[dict[sa.Column[Any], Any], list[sa.ColumnElement[bool]]]:
        """Return what an update sets, and which row it is."""
        ledger, journal, number = self.tables.ledger, self.tables.journal, self.tables.version.c.version_num
        if kind == "update version":
            return {number: _given(number, prefix, "after")}, [number == _given(number, prefix, "before")]
        if kind in _EXECUTION_ENDS:
            found = journal.c.id == _given(journal.c.id, prefix)
            return _given_all(journal, _EXECUTION_ENDS[kind], prefix), [found]
        old = "old_" if kind == "move record" else ""
        row = [ledger.c[key] == _given(ledger.c[key], prefix, old + key) for key in ("revision", "phase")]
        return _given_all(ledger, (*(("revision", "phase") if old else ()), *_RECORD), prefix), row


def _commit_nothing() -> None:
    """Stand in for the ``commit()`` of a driver whose transaction was committed by a message."""


def _given(column: sa.Column[Any], prefix: str, name: str | None = None) -> sa.BindParameter[Any]:
    return sa.bindparam(f"{prefix}{name or column.name}", type_=column.type)


def _given_all(table: sa.Table, names: Sequence[str], prefix: str) -> dict[sa.Column[Any], Any]:
    return {table.c[name]: _given(table.c[name], prefix) for name in names}


def _numbered(changes: Sequence[Change]) -> dict[str, Any]:
    """Return the values of several changes, named as the parameters of their statements are."""
    return {f"{place}_{name}": value for place, item in enumerate(changes) for name, value in item.values.items()}


def _last_row(result: sa.CursorResult[Any]) -> tuple[Any, ...] | None:
    """Return the row that the last statement of a message gave. psycopg 3 has those of all."""
    cursor: Any = result.cursor
    row: tuple[Any, ...] | None = cursor.fetchone()
    while result.dialect.driver == "psycopg" and cursor.nextset():
        row = cursor.fetchone() if cursor.description else row
    result.close()
    return row


# Most values are those of the step before.
@functools.lru_cache(maxsize=128, typed=True)
def literal(value: str | int | datetime | None, *, escapes: bool) -> str:
    """Return a value as the server reads it, whatever the session says about backslashes.

    :param escapes: whether ``E'...'`` has them (PostgreSQL documentation, "Lexical Structure"); else a text with one
        is written in hexadecimal (MariaDB documentation, "Hexadecimal Literals").
    """
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if "\\" not in text:
        return "'" + text.replace("'", "''") + "'"
    if escapes:
        return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    return f"_utf8mb4 X'{text.encode().hex()}'"


def _is_own_refusal(error: sa.exc.DBAPIError, journal: str | None) -> bool:
    """Return whether a message ended because a row was not there that it changes.

    :param journal: the name of the table that has no status then.
    """
    found: Any = getattr(error.orig, "diag", None)
    at = ("23502", journal, "status")
    refused = found is not None and (found.sqlstate, found.table_name, found.column_name) == at
    return (refused and journal is not None) or _REFUSAL in str(error.orig)


def _moving_records(changes: Sequence[Change]) -> list[Change]:
    """Return changes that do the same, with the one record that goes become the one that comes."""
    gone = [item for item in changes if item.kind == "delete record"]
    come = [item for item in changes if item.kind == "insert record"]
    if len(gone) != 1 or len(come) != 1 or changes.index(gone[0]) > changes.index(come[0]):
        return list(changes)
    old = {f"old_{name}": value for name, value in gone[0].values.items()}
    moved = change("move record", {**come[0].values, **old})
    return [moved if item is come[0] else item for item in changes if item is not gone[0]]


_SEVERAL_STATEMENTS = frozenset({"psycopg", "psycopg2", "pymysql", "mysqldb"})
"""The drivers that send the text of several statements, or of a compound one, as it is."""

_COMMITTED_BY_MESSAGE = frozenset({"psycopg", "pymysql"})
"""Those of them that were seen to take a COMMIT in it: psycopg 2 loses the answers before the last statement's."""

_EXECUTION_BEGINS = (
    *("run_id", "revision", "phase", "operation", "status", "started_at", "finished_at", "duration_ms"),
    *("host", "pid", "session", "operator", "app_version", "error"),
)
_END = ("status", "finished_at", "duration_ms", "error", "traceback")
_EXECUTION_ENDS = {"end execution": _END, "date execution": ("started_at", *_END)}
_RECORD = ("status", "statement", "statements", "checksum", "run_id", "started_at", "finished_at")
_MOVES = frozenset({"update version", "delete version", "insert version"})
_UPDATES = frozenset({"update version", "update record", "move record", *_EXECUTION_ENDS})
_CERTAIN = _MOVES | {"update record", "move record"}
"""The changes of a row that must be there: without it, a step that is done would run again."""
_REFUSAL = "flask_phased_migrate: changed by somebody else"
_MYSQL = ("mysql", "mariadb")
_LAST = ("insert execution", *_EXECUTION_ENDS)
"""What a message may end with: the first of them that it has."""
