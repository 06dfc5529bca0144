"""The tables as they are at one place of an export, for operations that copy a table (SQLite's batch operations).

An export has no database to read a table's structure from, so the statements of the revisions before are run
on empty tables. What cannot be known is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import sqlalchemy as sa
from alembic.operations import Operations
from sqlalchemy.util import OrderedSet

from ..errors import Refused
from ..graph import Graph
from ..listeners import TABLE_ATTACHED
from ..operations import BodyRunner, running_line
from ..phases import Phases
from ..plan import (
    Direction,
    History,
    Step,
    coded_phases,
    complete_revisions,
    in_flight,
    plan_downgrade,
    plan_upgrade,
    simulate,
)

if TYPE_CHECKING:
    from ..environment import Visit
    from . import Exporter

Done = tuple[Step, Direction]
"""A step that has run, and which way."""


@dataclass(frozen=True)
class Outcome:
    """What one statement did to the empty tables: the tables that it made and renamed (old, new), or why it failed.

    ``text`` is the statement.
    """

    text: str
    made: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    error: str | None = None


_MISSING = tuple(f"no such {kind}: " for kind in ("table", "index", "view", "trigger"))


class Tables(Protocol):
    """Empty tables that SQL is run on, and read from as online."""

    @property
    def connection(self) -> Any:
        """The SQLAlchemy connection to read structures with."""

    def run(self, text: str) -> Iterator[Outcome]:
        """Carry out the statements in ``text`` that are about structure."""

    def columns(self, table: str, schema: str | None) -> tuple[str, ...]:
        """Return the names of a table's columns, none if there is no such table."""

    def close(self) -> None:
        """Forget the tables."""


class Structure:
    """Knows the tables after the statements that it was told of. Nothing is worked out before it is asked for.

    ``replaying`` tells whether it is being told of what was done before the export began.

    :param begin: makes the empty tables.
    :param replay: tells the structure it is given of all that was done before the export began.
    """

    def __init__(self, begin: Callable[[], Tables], replay: Callable[[Structure], None]) -> None:
        self._begin = begin
        self._replay = replay
        self._tables: Tables | None = None
        self._noted: list[tuple[str, str, int | None]] = []
        self._lost: str | None = None
        self._reasons: dict[str, str | None] = {}
        self.replaying = False

    def note(self, text: str, path: str) -> None:
        """Take a statement for done that the file at ``path`` writes now."""
        self._noted.append((text, path, running_line(path)))

    def lose(self, reason: str) -> None:
        """Take every table that there is now for unknown."""
        self._catch_up()
        self._lost = reason
        self._reasons.clear()

    def tables_with(self, table: str, schema: str | None, revision: str) -> Tables:
        """Return the tables, of which ``table`` is known for certain.

        :param revision: the one that copies the table, for the message.
        :raises Refused: if it is not, with the reason.
        """
        tables = self._begun()
        self._catch_up()
        reason = self._reasons.get(table.casefold(), self._lost)
        if reason is None and not tables.columns(table, schema):
            reason = "no revision before makes it"
        if reason is not None:
            raise Refused(
                f"revision {revision} cannot be exported as SQL: the batch operation copies table {table}, and its "
                f"structure cannot be known without a database: {reason}. Nothing was written. Give "
                "batch_alter_table() the table as it is then: copy_from=sa.Table(...)."
            )
        return tables

    def close(self) -> None:
        """Forget everything."""
        if self._tables is not None:
            self._tables.close()

    def _begun(self) -> Tables:
        if self._tables is None:
            self._tables = self._begin()
            later, self._noted = self._noted, []
            self.replaying = True
            self._replay(self)
            self.replaying = False
            self._noted += later
        return self._tables

    def _catch_up(self) -> None:
        tables = self._begun()
        noted, self._noted = self._noted, []
        for text, path, line in noted:
            for outcome in tables.run(text):
                self._learn(outcome, f"line {line} of {path}" if line else path)

    def _learn(self, outcome: Outcome, place: str) -> None:
        for name in outcome.made:
            self._reasons[name.casefold()] = None
        for old, new in outcome.renamed:
            self._reasons[new.casefold()] = self._reasons.get(old.casefold(), self._lost)
        if outcome.error is not None and not _is_about_data(outcome.text):
            self._learn_failure(outcome, f"{place} runs what cannot be followed: {_first_words(outcome)}")

    def _learn_failure(self, outcome: Outcome, reason: str) -> None:
        from ..inspection.statements import read_sql

        if str(outcome.error).startswith(_MISSING):
            # Whatever it does to a thing that no revision made, it does to no other.
            return
        touched = read_sql(outcome.text, "sqlite")
        if touched.opaque:
            self._lost = reason
            self._reasons.clear()
        for item in touched.tables:
            self._reasons[item.table.casefold()] = reason


def _is_about_data(text: str) -> bool:
    """Return whether a statement changes or reads rows, and no structure."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    from ..inspection.quiet import quiet_parser

    try:
        with quiet_parser():
            found = sqlglot.parse_one(text, read="sqlite")
    except (SqlglotError, RecursionError):
        return False
    return isinstance(found, (exp.Insert, exp.Update, exp.Delete, exp.Query))


def _first_words(outcome: Outcome) -> str:
    line = " ".join(outcome.text.rstrip("; \n").split())
    return f"{line if len(line) <= 60 else line[:57] + '...'} ({outcome.error})"


# -- what was done before -------------------------------------------------------------------------------


def done_before(
    graph: Graph, phases: Phases, history: History, covered: Collection[str], direction: Direction, phase: str | None
) -> Iterator[Done]:
    """Yield the steps that have run when an export begins, in the order in which they ran.

    These are the steps that ``history`` has, and for the SQL of a ``phase`` those of ``covered`` that come before.
    """
    for name in graph.order(complete_revisions(graph, history)):
        for own in coded_phases(graph[name], history.bind, phases):
            yield Step(history.bind, name, own), "upgrade"
    flying = in_flight(graph, history)
    for own in dict.fromkeys((*phases.names, *(own for _, own in history.records))):
        for name in flying:
            if history.is_recorded(name, own):
                yield Step(history.bind, name, own), "upgrade"
    plan_one = plan_upgrade if direction == "upgrade" else plan_downgrade
    earlier: Iterable[str] = ()
    if phase is not None:
        earlier = phases.before(phase) if direction == "upgrade" else reversed(phases.after(phase))
    for own in earlier:
        plan = plan_one(graph, history, phases, covered, phase=own)
        for step in plan.steps:
            yield step, direction
        history = simulate(graph, history, plan.actions, direction=direction)


def replay(exporter: Exporter, structure: Structure, done: Iterable[Done]) -> None:
    """Tell ``structure`` of the statements of ``done``, while a body of the same visit may be running.

    :param exporter: one of its own for this; its text is thrown away.
    """
    with _set_aside(exporter.visit):
        for step, direction in done:
            try:
                exporter.export_step(step, direction)
            except Refused as refusal:
                structure.lose(str(refusal).removesuffix("."))
            exporter.statements.clear()


@contextmanager
def _set_aside(visit: Visit) -> Iterator[None]:
    """Let the block run bodies, and then make the visit what it was: a body that goes on."""
    context = visit.context
    held: list[dict[str, Any]] = [vars(context.impl), vars(visit.operations), context.opts]
    kept = [dict(values) for values in held]
    try:
        yield
    finally:
        for values, before in zip(held, kept, strict=True):
            values.clear()
            values.update(before)


# -- batch operations -----------------------------------------------------------------------------------


class OfflineRunner(BodyRunner):
    """Runs a body without a database. A batch operation that copies a table is told the table's structure."""

    def __init__(self, operations: Operations, exporter: Exporter, *, skip: int = 0) -> None:
        super().__init__(operations, skip=skip)
        self._exporter = exporter

    @contextmanager
    def open_batch(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Give a batch, with the arguments of ``batch_alter_table``; it is carried out at the end of the block."""
        with ExitStack() as stack, Operations.batch_alter_table(self.operations, *arguments, **options) as batch:
            yield batch
            self._prepare(batch.impl)
            stack.enter_context(_read_in_order())

    def _prepare(self, batch: Any) -> None:
        """Let a batch that copies its table write the same text each time.

        :param batch: Alembic's ``BatchOperationsImpl``, whose attributes are private to it.
        """
        structure = self._exporter.structure
        if not batch._should_recreate():
            return
        if batch.copy_from is not None:
            _keep_order(batch.copy_from)
        elif structure is not None:
            self._reflect_from(structure, batch)

    def _reflect_from(self, structure: Structure, batch: Any) -> None:
        """Let a batch read its table as online, from what is known of it."""
        try:
            tables = structure.tables_with(batch.table_name, batch.schema, str(self._exporter.running_revision))
        except Refused:
            if not structure.replaying:
                raise
            # A table that is not known stays so, and the rest of the body may be about others.
            batch.batch.clear()
            batch.recreate = "never"
            return
        self._exporter.note_copy(batch.table_name, batch.schema, tables.columns(batch.table_name, batch.schema))
        batch.operations = _Instead(
            batch.operations,
            migration_context=_Instead(self.operations.migration_context, as_sql=False),
            get_bind=lambda: tables.connection,
        )


@contextmanager
def _read_in_order() -> Iterator[None]:
    """Let tables that are read keep the order of their constraints and indexes.

    SQLAlchemy has them in sets, so that Alembic writes a copy's in another order each time.
    """

    def keep_order(table: sa.Table, _metadata: sa.MetaData) -> None:
        _keep_order(table)

    with TABLE_ATTACHED.calling(keep_order):
        yield


def _keep_order(table: sa.Table) -> None:
    table.constraints = OrderedSet(sorted(table.constraints, key=lambda item: item._creation_order))
    table.indexes = OrderedSet(sorted(table.indexes, key=lambda item: str(item.name)))


class _Instead:
    """Stands for an object with some attributes of its own."""

    def __init__(self, actual: Any, **own: Any) -> None:
        self._actual = actual
        vars(self).update(own)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actual, name)


def copy_guard(table: str, schema: str | None, columns: Iterable[str]) -> str:
    """Return SQLite's statement that fails where the copy of a table would lose something, and else gives no row.

    That is a column that it would not take over; and where foreign keys are on, the rows that refer to the table, with
    which DROP TABLE does what a DELETE does (sqlite.org/foreignkeys.html#fk_schemacommands). ``abs()`` of the smallest
    integer is an error (sqlite.org/lang_corefunc.html#abs).
    """
    name, known = _quoted(table), ", ".join(map(_quoted, columns))
    inside = "" if schema is None else f", {_quoted(schema)}"
    owner = "" if schema is None else '"' + schema.replace('"', '""') + '".'
    return (
        "SELECT abs(-9223372036854775807 - lost) FROM (SELECT EXISTS (SELECT 1 "
        f"FROM pragma_table_info({name}{inside}) WHERE name NOT IN ({known})) "
        "OR ((SELECT foreign_keys FROM pragma_foreign_keys) AND EXISTS (SELECT 1 "
        f"FROM {owner}sqlite_master AS other, pragma_foreign_key_list(other.name{inside}) AS key "
        f"WHERE other.type = 'table' AND lower(other.name) <> lower({name}) AND lower(key.\"table\") = lower({name}))) "
        "AS lost) WHERE lost;"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
