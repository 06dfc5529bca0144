"""Rows of ledger, journal and version table to values, and values to rows.

The tables are created by the first write, never by a read.
"""

from __future__ import annotations

import codecs
import os
import re
import socket
import traceback as tracebacks
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from textwrap import indent
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .dialects import adapter_for
from .plan import History, Record, Step
from .tables import Tables, pointer_changes
from .writer import Writer

Operation = Literal["upgrade", "downgrade", "resume", "skip", "stamp", "script", "backfill"]
Status = Literal["running", "done", "failed", "interrupted"]

TEXT_LIMIT = 60_000
NAME_LIMIT = 255


@dataclass(frozen=True)
class Execution:
    """One row of the journal. Times are UTC; ``session`` is the server's number of the session that executed it.

    ``script`` and ``checksum`` (SHA-256 of the file that was run) are those of a script operation, which has a row
    besides its step's.
    """

    id: int | None
    run_id: str | None
    revision: str | None
    phase: str | None
    operation: str
    status: str
    started_at: datetime | None
    finished_at: datetime | None = None
    duration_ms: int | None = None
    host: str | None = None
    pid: int | None = None
    session: int | None = None
    operator: str | None = None
    app_version: str | None = None
    error: str | None = None
    traceback: str | None = None
    script: str | None = None
    checksum: str | None = None


@dataclass(frozen=True)
class Runner:
    """Who runs: what the journal says of every step of one call."""

    run_id: str
    operator: str | None = None
    app_version: str | None = None
    host: str = ""
    pid: int = 0


def this_runner(run_id: str, *, operator: str | None, app_version: str | None) -> Runner:
    """Return the :class:`Runner` of this process."""
    return Runner(run_id, operator, app_version, socket.gethostname(), os.getpid())


def now() -> datetime:
    """Return the time in UTC without a zone, as the tables store it."""
    return datetime.now(UTC).replace(tzinfo=None)


# -- reading ----------------------------------------------------------------------------------------


def read_history(connection: Connection, bind: str, tables: Tables) -> History:
    """Return what the bind's tables say, in at most four questions. Creates nothing and takes no lock."""
    adapter = adapter_for(connection.dialect.name)
    there = _existing(connection, (tables.version, tables.ledger, tables.journal))
    heads: frozenset[str] = frozenset()
    if tables.version.name in there:
        heads = frozenset(connection.scalars(sa.select(tables.version.c.version_num)))
    records = _read_records(connection, tables.ledger) if tables.ledger.name in there else {}
    last = _read_last(connection, tables.journal) if tables.journal.name in there else {}
    locked = False
    if "running" in last.values() or any(record.status != "done" for record in records.values()):
        name = adapter.lock_name(connection.engine, tables.version.name, tables.version.schema)
        locked = adapter.is_locked(connection, name)
    return History(
        bind=bind,
        heads=heads,
        records=records,
        last=last,
        locked=locked,
        dialect=connection.dialect.name,
        has_version_table=tables.version.name in there,
        has_bookkeeping=there.issuperset({tables.ledger.name, tables.journal.name}),
    )


def _existing(connection: Connection, wanted: Sequence[sa.Table]) -> frozenset[str]:
    """Return the names of those of ``wanted`` that the database has. They are all of one schema."""
    question = _EXISTING.get(connection.dialect.name)
    schema = wanted[0].schema
    schema = (connection.get_execution_options().get("schema_translate_map") or {}).get(schema, schema)
    if question is None:
        inspector = sa.inspect(connection)
        return frozenset(table.name for table in wanted if inspector.has_table(table.name, schema=schema))
    names = [table.name for table in wanted]
    question = question.bindparams(sa.bindparam("names", expanding=True))
    parameters = {"names": names, **({"schema": schema} if "schema" in question.compile().params else {})}
    return frozenset(connection.scalars(question, parameters))


# What the inspector asks, for several tables at once. Of MySQL SQLAlchemy asks with DESCRIBE, which fails (1684) while
# another session makes the table.
_EXISTING = {
    "postgresql": sa.text(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relname IN :names AND CASE WHEN cast(:schema AS text) IS NULL "
        "THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = :schema END"
    ),
    "mysql": sa.text(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = coalesce(:schema, database()) "
        "AND table_name IN :names"
    ),
}
_EXISTING["mariadb"] = _EXISTING["mysql"]


def _has(connection: Connection, table: sa.Table) -> bool:
    return bool(_existing(connection, [table]))


def _read_records(connection: Connection, ledger: sa.Table) -> dict[tuple[str, str], Record]:
    columns = [ledger.c[field.name] for field in fields(Record)]
    records = [Record(*row) for row in connection.execute(sa.select(*columns).order_by(*ledger.primary_key))]
    return {(record.revision, record.phase): record for record in records}


def _read_last(connection: Connection, journal: sa.Table) -> dict[tuple[str, str], str]:
    newest = (
        sa.select(sa.func.max(journal.c.id))
        .where(journal.c.revision.is_not(None), journal.c.phase.is_not(None), journal.c.operation != "script")
        .group_by(journal.c.revision, journal.c.phase)
    )
    rows = connection.execute(
        sa.select(journal.c.revision, journal.c.phase, journal.c.status).where(
            journal.c.id.in_(newest), journal.c.status != "done"
        )
    )
    return {(row.revision, row.phase): row.status for row in rows}


def read_journal(
    connection: Connection,
    tables: Tables,
    *,
    errors: bool = False,
    open_only: bool = False,
    running: bool = False,
    limit: int | None = None,
    id_: int | None = None,
    step: tuple[str, str] | None = None,
    before: int | None = None,
    after: int | None = None,
    equal: Mapping[str, str] | None = None,
) -> tuple[Execution, ...]:
    """Return executions, newest first; ``open_only`` leaves out those that a later success has answered.

    :param before: only those with a smaller id; ``after``, those with a greater one, of which the limit leaves the
        oldest.
    :param equal: what columns must have, by their names.
    """
    journal = tables.journal
    if not _has(connection, journal):
        return ()
    order = journal.c.id.asc() if after is not None else journal.c.id.desc()
    query = sa.select(*[journal.c[field.name] for field in fields(Execution)]).order_by(order)
    query = query.where(*(journal.c[name] == value for name, value in (equal or {}).items()))
    if before is not None:
        query = query.where(journal.c.id < before)
    if after is not None:
        query = query.where(journal.c.id > after)
    if errors:
        query = query.where(journal.c.status.in_(["failed", "interrupted"]))
    if running:
        query = query.where(journal.c.status == "running")
    if open_only:
        later = journal.alias("later")
        answered = sa.exists().where(
            later.c.id > journal.c.id,
            later.c.revision == journal.c.revision,
            later.c.phase == journal.c.phase,
            later.c.operation != "script",
            later.c.status == "done",
        )
        query = query.where(journal.c.status != "done", ~answered)
    if step is not None:
        of_step = (journal.c.revision == step[0], journal.c.phase == step[1], journal.c.operation != "script")
        query = query.where(*of_step)
    if id_ is not None:
        query = query.where(journal.c.id == id_)
    if limit is not None:
        query = query.limit(limit)
    found = [Execution(*row) for row in connection.execute(query)]
    return tuple(reversed(found) if after is not None else found)


def read_finished(
    connection: Connection, tables: Tables, revisions: Collection[str]
) -> dict[tuple[str, str], datetime]:
    """Return when the steps of ``revisions`` were last done, by (revision, phase), in UTC without a zone."""
    journal = tables.journal
    if not revisions or not _has(connection, journal):
        return {}
    query = (
        sa.select(journal.c.revision, journal.c.phase, sa.func.max(journal.c.finished_at, type_=sa.DateTime()))
        .where(
            journal.c.revision.in_(sorted(revisions)),
            journal.c.phase.is_not(None),
            journal.c.status == "done",
            journal.c.operation.in_(["upgrade", "skip", "resume"]),
        )
        .group_by(journal.c.revision, journal.c.phase)
    )
    return {(revision, phase): moment for revision, phase, moment in connection.execute(query) if moment is not None}


# -- writing ----------------------------------------------------------------------------------------


class Recorder:
    """Writes one bind's bookkeeping on a connection. Each method says whose transaction it is part of.

    :param records: the ledger's rows as they are: what is known to be absent needs no DELETE.
    """

    def __init__(
        self,
        connection: Connection,
        tables: Tables,
        runner: Runner,
        records: Iterable[tuple[str, str]] | None = None,
    ) -> None:
        self.connection = connection
        self.tables = tables
        self.runner = runner
        self._known: set[tuple[str, str]] | None = None if records is None else set(records)
        self._writer = Writer(connection, tables)
        self.secrets = url_secrets(connection.engine.url)

    @cached_property
    def _codecs(self) -> tuple[str, ...]:
        return read_codecs(self.connection)

    @cached_property
    def _named(self) -> Runner:
        """The runner, its names as the database can hold them."""
        runner = self.runner
        return replace(
            runner,
            host=self._text(runner.host, NAME_LIMIT) or "",
            operator=self._text(runner.operator, NAME_LIMIT),
            app_version=self._text(runner.app_version, NAME_LIMIT),
        )

    def _text(self, text: str | None, limit: int | None = None) -> str | None:
        """Return ``text`` as a column of this database can hold it, without the URL's passwords."""
        if text is None:
            return None
        hidden = hide_secrets(text, *self.secrets)
        return shorten(hidden if hidden.isascii() else spell_out(hidden, self._codecs))[:limit]

    @contextmanager
    def together(self) -> Iterator[Writer]:
        """Send what is written in the block at its end, in as few statements as the engine needs.

        Gives the writer, which knows then the id of the journal row that was inserted.
        """
        with self._writer.gathering():
            yield self._writer

    def committing(self) -> AbstractContextManager[None]:
        """Frame a transaction that what is written :meth:`together` at its end may commit."""
        return self._writer.committing()

    def reread(self) -> None:
        """Ask again which rows the ledger has, after a transaction was rolled back."""
        self._writer.forget()
        if self._known is not None:
            ledger = self.tables.ledger
            self._known = {(row[0], row[1]) for row in self.connection.execute(sa.select(*ledger.primary_key))}

    def read_heads(self) -> frozenset[str]:
        """Return the version table's rows."""
        return frozenset(self.connection.scalars(sa.select(self.tables.version.c.version_num)))

    def ensure_tables(self, *, bookkeeping: bool = True) -> None:
        """Create the tables that are missing, in a transaction of their own."""
        wanted = [self.tables.version]
        if bookkeeping:
            wanted += [self.tables.ledger, self.tables.journal]
        with self.connection.begin():
            there = _existing(self.connection, wanted)
            for table in wanted:
                if table.name not in there:
                    table.create(self.connection, checkfirst=False)

    # -- journal ------------------------------------------------------------------------------------

    def record_began(self, operation: Operation, revision: str | None, phase: str | None) -> int:
        """Write a ``running`` row into the journal, in a transaction of its own; return its id."""
        with self.connection.begin():
            return self.insert_execution(operation, revision, phase, "running")

    def insert_execution(
        self, operation: Operation, revision: str | None, phase: str | None, status: Status, error: str | None = None
    ) -> int:
        """Write a row into the journal as part of the caller's transaction; return its id.

        Inside :meth:`together` the id is known at the end of the block only, and 0 is returned.
        """
        moment = now()
        ended = status != "running"
        self._writer.write(
            "insert execution",
            run_id=self.runner.run_id,
            revision=revision,
            phase=phase,
            operation=operation,
            status=status,
            started_at=moment,
            finished_at=moment if ended else None,
            duration_ms=0 if ended else None,
            host=self._named.host,
            pid=self.runner.pid,
            session=adapter_for(self.connection.dialect.name).session_id(self.connection),
            operator=self._named.operator,
            app_version=self._named.app_version,
            error=self._text(error),
        )
        return self._writer.inserted

    def record_script(self, step: Step, path: str, checksum: str, duration_s: float) -> None:
        """Write that a script of a step has succeeded, as part of the caller's transaction."""
        moment = now()
        values = {
            "run_id": self.runner.run_id,
            "revision": step.revision,
            "phase": step.phase,
            "operation": "script",
            "status": "done",
            "started_at": moment - timedelta(seconds=duration_s),
            "finished_at": moment,
            "duration_ms": round(duration_s * 1000),
            "host": self._named.host,
            "pid": self.runner.pid,
            "session": adapter_for(self.connection.dialect.name).session_id(self.connection),
            "operator": self._named.operator,
            "app_version": self._named.app_version,
            "script": self._text(path, NAME_LIMIT),
            "checksum": checksum,
        }
        self.connection.execute(sa.insert(self.tables.journal).values(values))

    def record_ended(
        self,
        id_: int,
        status: Status,
        duration_s: float,
        error: BaseException | None = None,
        *,
        started_at: datetime | None = None,
        traceback: bool = True,
    ) -> None:
        """Finish a journal row, as part of the caller's transaction.

        :param started_at: where the row was written before its step began.
        :param traceback: whether to store one; it needs room.
        """
        moment = now()
        dated = {} if started_at is None else {"started_at": started_at}
        self._writer.write(
            "date execution" if dated else "end execution",
            **dated,
            id=id_,
            status=status,
            finished_at=moment,
            duration_ms=round(duration_s * 1000),
            error=None if error is None else self._text(describe_error(error, *self.secrets)),
            traceback=self._text(describe_traceback(error, *self.secrets)) if error is not None and traceback else None,
        )

    def execution_status(self, id_: int) -> str | None:
        """Return the status of a journal row; None where there is none."""
        journal = self.tables.journal
        status: str | None = self.connection.scalar(sa.select(journal.c.status).where(journal.c.id == id_))
        return status

    def running_id(self, step: Step) -> int | None:
        """Return the id of the row that says ``running`` of a step of this run; None where there is none."""
        journal = self.tables.journal
        id_: int | None = self.connection.scalar(
            sa.select(sa.func.max(journal.c.id)).where(
                journal.c.run_id == self.runner.run_id,
                journal.c.revision == step.revision,
                journal.c.phase == step.phase,
                journal.c.status == "running",
            )
        )
        return id_

    def unfinished(self) -> tuple[Execution, ...]:
        """Return the journal's rows that say ``running``: of runs that ended without a word, if none is at work."""
        journal = self.tables.journal
        columns = [journal.c[field.name] for field in fields(Execution)]
        rows = self.connection.execute(sa.select(*columns).where(journal.c.status == "running").order_by(journal.c.id))
        return tuple(Execution(*row) for row in rows)

    def record_abandoned(self, ids: Sequence[int]) -> None:
        """Write that these executions ended without a word, as part of the caller's transaction."""
        if not ids:
            return
        journal = self.tables.journal
        words = "The runner ended without recording an end: it was killed, or its machine or its connection went away."
        self.connection.execute(
            sa.update(journal).where(journal.c.id.in_(ids)).values(status="interrupted", finished_at=now(), error=words)
        )

    # -- ledger and version table -------------------------------------------------------------------

    def record_status(
        self,
        step: Step,
        status: str,
        *,
        statement: int = 0,
        part: int = 0,
        checksum: str | None = None,
        started_at: datetime | None = None,
    ) -> None:
        """Write the ledger row of a step, whatever was there, as part of the caller's transaction.

        :param statement: how many operations of its body are committed; ``part``, how many statements of the next.
        """
        key = (step.revision, step.phase)
        moment = now()
        if self._known is None:
            self.forget(*key)
        there = self._known is not None and key in self._known
        self._writer.write(
            "update record" if there else "insert record",
            revision=step.revision,
            phase=step.phase,
            status=status,
            statement=statement,
            statements=part or None,
            checksum=checksum,
            run_id=self.runner.run_id,
            started_at=started_at or moment,
            finished_at=moment if status == "done" else None,
        )
        if self._known is not None:
            self._known.add(key)

    def forget(self, revision: str, phase: str | None = None) -> None:
        """Delete a revision's ledger rows, or the one of ``phase``, as part of the caller's transaction."""
        if self._known is not None:
            gone = {key for key in self._known if key[0] == revision and phase in (None, key[1])}
            if not gone:
                return
            self._known -= gone
            if len(gone) == 1:
                phase = gone.pop()[1]
        if phase is None:
            self._writer.write("delete records", revision=revision)
        else:
            self._writer.write("delete record", revision=revision, phase=phase)

    def move_pointer(self, before: frozenset[str], after: frozenset[str]) -> None:
        """Change the version table's rows, as part of the caller's transaction.

        :raises RuntimeError: if a row that must be there is not: somebody else moved it.
        """
        for kind, values in pointer_changes(before, after):
            self._writer.write(kind, **values)


# -- words ------------------------------------------------------------------------------------------


def describe_error(error: BaseException, *secrets: str) -> str:
    """Return the error's message without bound parameters, passwords of database URLs, and ``secrets``."""
    return _describe(error, secrets, bound_values(error))


def _describe(error: BaseException, secrets: Iterable[str], values: Collection[str]) -> str:
    message, statement = _message(error)
    told = f"{_without_values(message, values)}\n[SQL: {statement}]" if statement else _without_values(message, values)
    return hide_secrets(told, *secrets) or type(error).__name__


def _message(error: BaseException) -> tuple[str, str | None]:
    """Return an error's own words without the rows that a server repeats, and the statement that it is about."""
    if isinstance(error, sa.exc.StatementError):
        origin = error.orig if error.orig is not None else error
        text = _words(origin) if origin is not error else _words(error.args[0]) if error.args else ""
        return _without_rows(text, origin), error.statement
    text = _without_rows(_words(error), error)
    return text if isinstance(error, Exception) and text else f"{type(error).__name__} {text}".strip(), None


def _words(value: Any) -> str:
    """Return a value as text, also where its class cannot give one."""
    try:
        return str(value)
    except Exception as error:
        return f"({type(value).__name__} without words: its __str__ raised {type(error).__name__})"


# What "Failing row contains (...)" comes with: not-null, check, WITH CHECK OPTION (PostgreSQL, appendix A).
_ROW_STATES = frozenset({"23502", "23514", "44000"})
_DUPLICATE_ENTRY = 1062


def _without_rows(text: str, origin: BaseException) -> str:
    """Return a driver's words without the values of the row in question, which may be in no parameter."""
    told = getattr(origin, "diag", None)
    detail = getattr(told, "message_detail", None)
    if isinstance(detail, str) and detail:
        opening = ")=(" if ")=(" in detail else "(" if getattr(told, "sqlstate", None) in _ROW_STATES else None
        return text if opening is None else text.replace(detail, _masked(detail, opening, ")"))
    if origin.args[:1] == (_DUPLICATE_ENTRY,):
        return (
            _masked(text, "entry '", "' for key") if "' for key" in text else _masked(text, "entry \\'", "\\' for key")
        )
    return text


def _masked(text: str, opening: str, closing: str) -> str:
    """Return ``text`` with ``***`` from the first ``opening`` to the last ``closing``, if both are there."""
    start, end = text.find(opening), text.rfind(closing)
    return text if start < 0 or end < start else f"{text[:start]}{opening}***{text[end:]}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and what it was caused by or came after, newest first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _related(error: BaseException) -> Iterator[BaseException]:
    """Give an error, its causes, and the members of groups among them with theirs."""
    for current in _chain(error):
        yield current
        if isinstance(current, BaseExceptionGroup):
            for member in current.exceptions:
                yield from _related(member)


def bound_values(error: BaseException) -> frozenset[str]:
    """Return the bound parameters of the statements that failed, as text: drivers repeat them in their words."""
    found: set[str] = set()
    waiting: list[Any] = [item.params for item in _related(error) if isinstance(item, sa.exc.StatementError)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
        elif value is not None and not isinstance(value, bool):
            found.update(_spellings(value))
    return frozenset(value for value in found if value.strip())


def _spellings(value: Any) -> set[str]:
    """Return how a driver may write a value: as it is, escaped in a ``repr()`` around it, bytes in hexadecimal."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        content = bytes(value)
        return {content.decode("utf-8", "replace"), content.hex(), repr(content)[2:-1]}
    text = _words(value)
    if text.isalnum() and text.isascii():
        return {text}
    # Python quotes with ' unless that, and no ", is in the text; the words around the value may have either.
    return {text, repr("'" + text)[2:-1] if '"' not in text else text, repr("'\"" + text)[4:-1]}


def _without_values(text: str, values: Collection[str]) -> str:
    """Return ``text`` with each value as ``***``; a short one only where it stands between quotes or brackets."""
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _LONG:
            text = _without_beginnings(text, value)
        text = text.replace(value, "***") if len(value) >= _SHORT else _without_literals(text, [value])
    return text


def _without_beginnings(text: str, value: str) -> str:
    """Return ``text`` with ``***`` for each beginning of a long value: servers cut what they repeat (at 64)."""
    start = text.find(value[:_LONG])
    while start >= 0:
        pairs = enumerate(zip(value, text[start:], strict=False))
        same = next((place for place, (ours, theirs) in pairs if ours != theirs), min(len(value), len(text) - start))
        text = f"{text[:start]}***{text[start + same :]}"
        start = text.find(value[:_LONG], start)
    return text


def _without_literals(text: str, values: Iterable[str]) -> str:
    """Return ``text`` with each value as ``***`` where it stands between quotes or brackets."""
    for value in values:
        if value in text:
            text = re.sub(rf"(?<=['\"(]){re.escape(value)}(?=['\"),])", "***", text)
    return text


_LONG = 24
_SHORT = 4


def describe_traceback(error: BaseException, *secrets: str) -> str:
    """Return the traceback as text; messages in it are stripped like :func:`describe_error`'s."""
    return _tracebacks(error, secrets, bound_values(error))


def _tracebacks(error: BaseException, secrets: Collection[str], values: Collection[str]) -> str:
    blocks = [_traceback(current, secrets, values) for current in _chain(error)]
    return "\n\nThe above was caused by, or came after:\n\n".join(reversed(blocks))


def _traceback(error: BaseException, secrets: Collection[str], values: Collection[str]) -> str:
    """Return where one error was raised, what it says, its notes, and the same of each member of a group."""
    frames = hide_secrets(_without_literals("".join(tracebacks.format_tb(error.__traceback__)), values), *secrets)
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    parts = [f"Traceback (most recent call last):\n{frames}{name}: {_describe(error, secrets, values)}"]
    parts += [hide_secrets(_without_values(_words(note), values), *secrets) for note in _notes(error)]
    for number, member in enumerate(error.exceptions if isinstance(error, BaseExceptionGroup) else (), start=1):
        parts.append(f"Member {number}:\n{indent(_tracebacks(member, secrets, values), '  ')}")
    return "\n".join(parts)


def _notes(error: BaseException) -> Sequence[Any]:
    notes = getattr(error, "__notes__", ())
    return notes if isinstance(notes, (list, tuple)) else ()


_URL_PASSWORD = re.compile(r"(://[^\s:@/'\"]*):[^\s'\"]*@")
_NAMED_PASSWORD = re.compile(r"\b(password|passwd|pwd)=[^\s&'\"]+", re.IGNORECASE)


def hide_secrets(text: str, *secrets: str) -> str:
    """Return ``text`` with the password of every URL in it, and each of ``secrets``, replaced by ``***``."""
    text = _NAMED_PASSWORD.sub(r"\1=***", _URL_PASSWORD.sub(r"\1:***@", text))
    for secret in secrets:
        for spelling in {secret, quote_plus(secret), quote(secret, safe=""), quote(secret), repr(secret)[1:-1]}:
            text = re.sub(rf"(?<!\w){re.escape(spelling)}(?!\w)", "***", text) if spelling else text
    return text


_SECRET_OPTION = re.compile(r"password|passwd|pwd|secret|token", re.IGNORECASE)


def url_secrets(url: sa.URL) -> tuple[str, ...]:
    """Return the passwords of a database URL: its own, and those among its options."""
    options = [
        (name, text) for name, value in url.query.items() for text in ([value] if isinstance(value, str) else value)
    ]
    found = [str(url.password or ""), *(text for name, text in options if _SECRET_OPTION.search(name))]
    return tuple(dict.fromkeys(text for text in found if text))


def shorten(text: str) -> str:
    """Return ``text`` as the column can hold it: its middle cut out with a note where it is too long.

    NUL and lone surrogates, which no database takes for text, are spelled out.
    """
    text = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters cut ...]\n{text[-half:]}"


_MYSQL_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8-bmp", "utf8": "utf-8-bmp", "latin1": "cp1252"}


def read_codecs(connection: Connection) -> tuple[str, ...]:
    """Return the Python codecs of the character sets that a text must fit to get into the journal.

    ``utf-8-bmp`` stands for MySQL's three-byte UTF-8, which has no character above U+FFFF. The connection's
    character set counts, and on PostgreSQL the database's too; the tables on MySQL are utf8mb4.
    """
    dialect = connection.dialect.name
    if dialect in ("mysql", "mariadb"):
        name = str(connection.scalar(sa.text("SELECT @@character_set_client")))
        return (_MYSQL_CODECS.get(name) or _python_codec(name),)
    if dialect == "postgresql":
        names = [str(connection.scalar(sa.text(f"SHOW {side}_encoding"))) for side in ("client", "server")]
        return tuple(_python_codec(name) for name in names)
    return ()


def _python_codec(name: str) -> str:
    """Return Python's codec of a server's character set; ``ascii``, which all have, where there is none."""
    for spelling in (name, name.lower().replace("win", "cp"), f"{name[:4]}_{name[4:]}"):
        with suppress(LookupError):
            return codecs.lookup(spelling).name
    return "ascii"


def spell_out(text: str, names: Iterable[str]) -> str:
    """Return ``text`` with what one of the codecs lacks as ``\\U0001f600``: no character may cost the row."""
    for name in names:
        if name == "utf-8-bmp":
            text = "".join(one if one <= "\uffff" else f"\\U{ord(one):08x}" for one in text)
        else:
            text = text.encode(name, "backslashreplace").decode(name)
    return text


def columns_of(executions: Iterable[Execution]) -> Sequence[dict[str, Any]]:
    """Return executions as JSON-ready mappings: times as ISO 8601 with Z."""
    return [
        {
            field.name: value.isoformat() + "Z" if isinstance(value, datetime) else value
            for field in fields(Execution)
            for value in (getattr(execution, field.name),)
        }
        for execution in executions
    ]
