"""SQL without a database: bodies to statements, statements to text, and the migration data.

A statement is caught where Alembic compiles it, never cut out of text. The bookkeeping in a phase's SQL is
made from the same plan and the same statements as an online run, so that both leave the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy.schema import CreateTable

from ..errors import MigrateError, Refused
from ..footprint import Footprint
from ..graph import Graph, Revision
from ..operations import (
    PHASE_MARKER,
    RUNNER_KEY,
    SCRIPT_MARKER,
    ExecuteScriptOp,
)
from ..phases import Phases, body_checksum
from ..plan import (
    Action,
    Direction,
    History,
    Plan,
    Step,
    plan_downgrade,
    plan_upgrade,
    pointer_after,
    pointer_before,
    simulate,
)
from ..tables import ledger_forget, utc_now
from .endings import ended
from .guard import Condition, Conditions
from .isolation import DatabaseRead, no_database
from .literals import literals_written_out
from .pointer import PointerMoves
from .structure import OfflineRunner, Structure, copy_guard
from .text import Kind, Statement

if TYPE_CHECKING:
    from ..environment import Visit

Markers = Literal["all", "phased", "none"]

_NO_PARAMETERS: Mapping[str, Any] = {}
_PASSING = "*"
"""Phase of the ledger row by which a move of the version table is guarded; it is gone in the same transaction."""
_STOPPING = {
    "postgresql": "psql -v ON_ERROR_STOP=1 -f FILE",
    "mysql": "mysql --default-character-set=utf8mb4 DATABASE < FILE",
    "mariadb": "mariadb --default-character-set=utf8mb4 DATABASE < FILE",
    "sqlite": "sqlite3 -bail DATABASE < FILE",
    # Without -x it would replace $(NAME) in values, without -I no filtered index can be touched.
    "mssql": "sqlcmd -b -x -I -f 65001 -i FILE",
    "oracle": "sqlplus -L -S LOGIN @FILE",
}
_WITH_TRANSACTIONS = frozenset({"postgresql", "sqlite", "mysql", "mariadb"})
_PREPARING = {
    # SQL*Plus: the first error ends it; & and empty lines are text; a semicolon ends nothing (Oracle ends by /).
    "oracle": "WHENEVER SQLERROR EXIT FAILURE ROLLBACK\nSET DEFINE OFF\nSET SQLBLANKLINES ON\nSET SQLTERMINATOR OFF",
}


class Exporter:
    """Writes the SQL of one bind. Bodies run with a context that has no connection."""

    def __init__(self, visit: Visit, graph: Graph, phases: Phases, structure: Structure | None = None) -> None:
        self.visit = visit
        self.structure = structure
        self.graph = graph
        self.phases = phases
        self.bind = visit.bind
        self.dialect = visit.context.dialect
        # Built anew each time they are asked for.
        self.tables = visit.tables
        self._pointer_moves = PointerMoves(self.tables, self._compile)
        self.statements: list[Statement] = []
        self._revision: str | None = None
        self._phase: str | None = None
        self._alone = False
        self._conditions: Conditions | None = None
        self._of_plan: list[Condition] = []
        self._script_frame = False
        self._runner: OfflineRunner | None = None
        self._direction: Direction = "upgrade"

    # -- layouts --------------------------------------------------------------------------------

    @no_database()
    def export_all(
        self, revisions: Iterable[str], heads: frozenset[str], direction: Direction, *, markers: Markers = "all"
    ) -> tuple[Statement, ...]:
        """Return all phases, revision by revision, in the layout of ``alembic upgrade --sql``.

        ``heads`` are the version table's rows at the start.
        """
        context = self.visit.context
        per_revision = bool(self.visit.options.get("transaction_per_migration"))
        framed = self._script_frame = context.impl.transactional_ddl
        self._prepare()
        if framed and not per_revision:
            self._begin()
        for name in revisions:
            if framed and per_revision:
                self._begin()
            if not heads and direction == "upgrade":
                self._revision = name
                self._bookkeeping(CreateTable(self.tables.version))
            heads = self._export_revision(name, heads, direction, markers)
            if framed and per_revision:
                self._commit()
        self._revision = self._phase = None
        if (framed and not per_revision) or self.dialect.name == "oracle":
            self._commit()
        return tuple(self.statements)

    def _export_revision(
        self, name: str, heads: frozenset[str], direction: Direction, markers: Markers
    ) -> frozenset[str]:
        revision = self.graph[name]
        self._revision = name
        self._phase = None
        self._add("comment", f"-- Running {running(revision, direction)}")
        bodies = revision.upgrade if direction == "upgrade" else revision.downgrade
        for phase in self._phases_of(revision, direction):
            self._phase = phase
            if markers == "all" or (markers == "phased" and bodies.phased):
                self._add("marker", PHASE_MARKER.format(phase))
            self._run_body(revision, phase, direction)
        if markers == "all":
            self._phase = self._last_phase(revision, direction)
        after = pointer_after if direction == "upgrade" else pointer_before
        moved = after(self.graph, heads, name)
        self._move_pointer(heads, moved)
        return moved

    def _phases_of(self, revision: Revision, direction: Direction) -> tuple[str, ...]:
        bodies = revision.upgrade if direction == "upgrade" else revision.downgrade
        names = bodies.phases(self.bind)
        known = [name for name in self.phases.names if name in names]
        known += [name for name in names if name not in self.phases.names]
        return tuple(known) if direction == "upgrade" else tuple(reversed(known))

    def _last_phase(self, revision: Revision, direction: Direction) -> str:
        phases = self._phases_of(revision, direction)
        if not phases:
            return self.phases.default
        bodies = revision.upgrade if direction == "upgrade" else revision.downgrade
        return self.phases.names[-1] if bodies.phased and direction == "upgrade" else phases[-1]

    @no_database()
    def export_step(self, step: Step, direction: Direction, *, skip: int = 0) -> tuple[Statement, ...]:
        """Return the statements of one step alone, without those of its first ``skip`` operations.

        :raises Refused: if its body cannot be exported.
        """
        self._revision, self._phase, self._alone = step.revision, step.phase, True
        self._run_body(self.graph[step.revision], step.phase, direction, skip=skip)
        return tuple(self.statements)

    def export_stamp(self, heads: frozenset[str], after: frozenset[str]) -> tuple[Statement, ...]:
        """Return the SQL that turns the version table's rows from ``heads`` into ``after``."""
        framed = self.visit.context.impl.transactional_ddl
        if framed:
            self._begin()
        if heads != after:
            if not heads:
                self._bookkeeping(CreateTable(self.tables.version))
            self._add("comment", f"-- Running stamp_revision {', '.join(sorted(heads))} -> {', '.join(sorted(after))}")
            self._move_pointer(heads, after)
        if framed:
            self._commit()
        return tuple(self.statements)

    def export_version_table(self) -> tuple[Statement, ...]:
        """Return the SQL that creates the version table."""
        self._bookkeeping(CreateTable(self.tables.version))
        return tuple(self.statements)

    @no_database()
    def export_phase(self, plan: Plan, heads: frozenset[str]) -> tuple[Statement, ...]:
        """Return the SQL of a plan of one phase: a guarded transaction a step, with its bookkeeping.

        ``heads`` are the version table's rows when the phase begins.
        """
        self._prepare()
        if self.dialect.name in _STOPPING:
            self._add("comment", f"-- To be run so that the first error ends it: {_STOPPING[self.dialect.name]}")
        for warning in plan.warnings:
            self._add("comment", f"-- Warning: {' '.join(str(warning).split())}")
        tables = self.tables
        for table in (tables.version, tables.ledger, tables.journal):
            self._create_missing(table)
        self._script_frame, self._direction = True, plan.direction
        self._conditions = Conditions(
            plan, heads, graph=self.graph, phases=self.phases, bind=self.bind, tables=self.tables
        )
        self._of_plan = self._conditions.of_plan()
        for action in plan.actions:
            self._revision, self._phase = (
                (action.step.revision, action.step.phase) if action.step else (None, plan.phase)
            )
            heads = self._export_action(action, heads, plan.direction)
        self._revision = self._phase = None
        return tuple(self.statements)

    def _create_missing(self, table: sa.Table) -> None:
        """Create a table unless it is there, in the engine's own words."""
        if self.dialect.name == "mssql":
            name = self.dialect.identifier_preparer.format_table(table)
            create = str(CreateTable(table).compile(dialect=self.dialect)).strip()
            self._add("bookkeeping", self._terminated(f"IF OBJECT_ID(N'{name}', N'U') IS NULL\n{create}"))
        elif self.dialect.name == "oracle":
            preparer = self.dialect.identifier_preparer
            # A reserved word (SQL Language Reference, appendix E) that SQLAlchemy does not quote.
            preparer.reserved_words = {*preparer.reserved_words, "session"}
            create = str(CreateTable(table).compile(dialect=self.dialect)).strip().replace("'", "''")
            # ORA-00955: the name is used already. CREATE TABLE IF NOT EXISTS is new in Oracle 23.
            block = f"BEGIN\n  EXECUTE IMMEDIATE '{create}';\nEXCEPTION\n  WHEN OTHERS THEN\n"
            block += "    IF SQLCODE <> -955 THEN RAISE; END IF;\nEND;"
            self._add("bookkeeping", self._terminated(block))
        else:
            self._bookkeeping(CreateTable(table, if_not_exists=True))

    def _export_action(self, action: Action, heads: frozenset[str], direction: Direction) -> frozenset[str]:
        step = action.step
        if step is None:
            names = ", ".join((*action.passes, *filter(None, [action.reopens])))
            self._add("comment", f"-- The version table moves: {names}")
        else:
            self._add("marker", PHASE_MARKER.format(step.phase))
            self._add("comment", f"-- Running {running(self.graph[step.revision], direction)}")
        conditions = self._conditions
        assert conditions is not None
        self._begin()
        self._add("comment", "-- The next statement fails unless this may run now. See: flask db status")
        if direction == "downgrade":
            heads = self._begin_undo(action, heads)
        if step is not None:
            if direction == "upgrade":
                removed = heads - pointer_after(self.graph, heads, step.revision)
                self._begin_step(action, step, conditions.of_step(action, step, heads, removed))
            self._run_body(self.graph[step.revision], step.phase, direction, skip=action.skip)
            self._end_step(action, step, direction)
        for name in action.passes:
            heads = self._pass(name, heads, own=step is not None and step.revision == name)
        self._commit()
        return heads

    def _pass(self, name: str, heads: frozenset[str], *, own: bool) -> frozenset[str]:
        """Move the version table past a revision; ``own`` where the guard of its step has checked that it may."""
        assert self._conditions is not None
        moved = pointer_after(self.graph, heads, name)
        if not own:
            self._guard(name, _PASSING, self._conditions.of_pass(name, heads, heads - moved, running=None))
        self._move_pointer(heads, moved)
        self._bookkeeping(ledger_forget(self.tables, name))
        self._conditions.passed(name)
        return moved

    def _begin_step(self, action: Action, step: Step, conditions: Sequence[Condition]) -> None:
        """Guard a step of an upgrade and record that it began; one that was stopped at a script goes on."""
        if action.doubtful or action.part:
            raise Refused(
                f"{step} began, and how far it came is not recorded, so its SQL would run part of it again. Nothing "
                f"was written. Type: flask db upgrade --phase {step.phase}"
            )
        if action.skip:
            self._go_on(step, action.skip, conditions)
        else:
            self._guard(step.revision, step.phase, conditions)

    def _begin_undo(self, action: Action, heads: frozenset[str]) -> frozenset[str]:
        """Guard an undo, take its revision out of the version table if it is complete, and record that it began."""
        assert self._conditions is not None
        step, name = action.step, action.reopens
        if action.skip or action.doubtful or action.part:
            raise Refused(
                f"The downgrade of {step} began and did not end, and SQL cannot go on with it. Nothing was written. "
                f"Type: flask db downgrade --phase {step.phase if step else ''}"
            )
        if name is None:
            assert step is not None
            self._guard(step.revision, _PASSING, self._conditions.of_undo(step))
            self._bookkeeping(ledger_forget(self.tables, step.revision, _PASSING))
            self._set_status(step, "running")
            return heads
        moved = pointer_before(self.graph, heads, name)
        self._guard(name, step.phase if step else _PASSING, self._conditions.of_reopening(name, heads - moved))
        self._move_pointer(heads, moved)
        if step is None:
            self._bookkeeping(ledger_forget(self.tables, name, _PASSING))
        ledger = self.tables.ledger
        for phase in action.remains:
            self._bookkeeping(
                sa.insert(ledger).values(revision=name, phase=phase, status="done", statement=0, finished_at=utc_now())
            )
        return moved

    def _set_status(self, step: Step, status: str, **more: Any) -> None:
        ledger = self.tables.ledger
        self._bookkeeping(
            sa.update(ledger)
            .values(status=status, finished_at=utc_now() if status == "done" else sa.null(), **more)
            .where(ledger.c.revision == step.revision, ledger.c.phase == step.phase)
        )

    def _end_step(self, action: Action, step: Step, direction: Direction) -> None:
        journal = self.tables.journal
        if direction == "downgrade":
            divided = self.graph[step.revision].downgrade.phased
            self._bookkeeping(ledger_forget(self.tables, step.revision, step.phase if divided else None))
        elif step.revision not in action.passes:
            self._set_status(step, "done")
        self._bookkeeping(
            sa.insert(journal).values(
                revision=step.revision,
                phase=step.phase,
                operation=direction,
                status="done",
                started_at=utc_now(),
                finished_at=utc_now(),
            )
        )

    # -- guards -----------------------------------------------------------------------------------

    def _guard(self, revision: str, phase: str, conditions: Sequence[Condition]) -> None:
        """Write an INSERT into the ledger that fails unless all ``conditions`` hold, before anything is changed.

        Its status is then one that the column refuses; a second run while in flight meets the primary key. The first
        one asks for what the whole text needs too.
        """
        conditions, self._of_plan = [*self._of_plan, *conditions], []
        ledger = self.tables.ledger
        values = sa.select(
            sa.literal(revision),
            sa.literal(phase),
            sa.case((sa.and_(*conditions), sa.literal("running")), else_=self._refusal()),
            sa.literal_column("0"),
            utc_now(),
        )
        names = ["revision", "phase", "status", "statement", "started_at"]
        self._bookkeeping(sa.insert(ledger).from_select(names, values))

    def _refusal(self) -> sa.ColumnElement[Any]:
        """Return what fails when it becomes the status of a ledger row.

        MySQL and MariaDB without strict mode turn a NULL into an empty string, so there it is a subquery with
        two rows, which is an error in every mode.
        """
        if self.dialect.name in ("mysql", "mariadb"):
            return sa.literal_column("(SELECT 'refused' UNION ALL SELECT 'refused')")
        return sa.null()

    # -- running bodies ---------------------------------------------------------------------------

    def _run_body(self, revision: Revision, phase: str, direction: Direction, *, skip: int = 0) -> None:
        bodies = revision.upgrade if direction == "upgrade" else revision.downgrade
        try:
            body = bodies.body(self.bind, phase)
        except KeyError:
            return
        operations = self.visit.operations
        self._runner = OfflineRunner(operations, self, skip=skip)
        with self._catching(), _export_errors(revision):
            self._runner.run(body, self.visit.arguments)

    @contextmanager
    def _catching(self) -> Iterator[None]:
        """Catch what the context writes, at the one place where Alembic compiles a statement."""
        context = self.visit.context
        impl = context.impl
        own: dict[str, Any] = {
            "_exec": self._execute,
            "static_output": lambda text: self._add("raw", text),
            "emit_begin": self._begin,
            "emit_commit": self._commit,
        }
        if self._conditions is not None:
            # Every step is framed here, also where Alembic frames nothing: an autocommit block must end its frame.
            own["transactional_ddl"] = True
        before = {name: vars(impl)[name] for name in own if name in vars(impl)}
        vars(impl).update(own)
        context.opts[RUNNER_KEY] = self
        try:
            yield
        finally:
            for name in own:
                vars(impl).pop(name, None)
            vars(impl).update(before)
            context.opts.pop(RUNNER_KEY, None)

    def note_script(self, path: str, operation: ExecuteScriptOp) -> None:
        """Note a script operation; ``path`` is relative to the migrations folder.

        Where there are transactions the work before it is committed first, so that the program can see it. In a phase's
        own SQL the ledger then says how far the step is, as after a script that failed: whoever stops here can go on
        with the text behind the marker, or online.
        """
        step = Step(self.bind, self._revision or "", self._phase or "")
        guarded, operations = self._conditions is not None, self._runner.finished if self._runner else 0
        if guarded:
            self._rest(step, operations)
        if self._script_frame:
            self._commit()
        text, args, timeout_s = SCRIPT_MARKER.format(path), operation.args, operation.timeout
        self.statements.append(Statement("script", text, self._revision, self._phase, path, args, timeout_s))
        if self._script_frame:
            self._begin()
        if guarded:
            self._go_on(step, operations, ())

    def _rest(self, step: Step, operations: int) -> None:
        bodies = (
            self.graph[step.revision].upgrade if self._direction == "upgrade" else self.graph[step.revision].downgrade
        )
        checksum = body_checksum(bodies.body(self.bind, step.phase))
        self._set_status(step, self._resting, statement=operations, checksum=checksum)

    def _go_on(self, step: Step, operations: int, conditions: Sequence[Condition]) -> None:
        assert self._conditions is not None
        rest = self._conditions.of_rest(step, self._resting, operations)
        self._guard(step.revision, _PASSING, [*conditions, *rest])
        self._bookkeeping(ledger_forget(self.tables, step.revision, _PASSING))
        self._set_status(
            step, "running" if self._direction == "upgrade" else "undoing", statement=0, checksum=sa.null()
        )

    @property
    def _resting(self) -> str:
        return "failed" if self._direction == "upgrade" else "half-undone"

    @property
    def running_revision(self) -> str | None:
        """The revision whose body is running."""
        return self._revision

    def note_copy(self, table: str, schema: str | None, columns: Iterable[str]) -> None:
        """Write what fails, before a batch operation copies a table, where that would lose a column or rows.

        Nothing for the SQL of a step alone, which shows what an online run does.
        """
        if self._alone:
            return
        self._add(
            "comment",
            f"-- The next statement fails if table {' '.join(table.split())} has a column that no revision made, or if "
            "foreign keys are on and refer to it",
        )
        self._add("sql", copy_guard(table, schema, columns))

    def _execute(
        self,
        construct: Any,
        execution_options: Any = None,
        multiparams: Sequence[Mapping[str, Any]] | None = None,
        params: Mapping[str, Any] = _NO_PARAMETERS,
    ) -> None:
        del execution_options
        if multiparams or params:
            raise TypeError("SQL parameters not allowed with as_sql")
        self._add("sql", self._compile(construct))

    def _compile(self, construct: Any) -> str:
        """Return a construct's text, exactly, with its terminator."""
        if isinstance(construct, str):
            construct = sa.text(construct)
        if isinstance(construct, sa.Insert) and not construct._returning:
            # Without this the insert asks for the new key back (RETURNING), which nobody reads.
            construct = construct.inline()
        options = {} if isinstance(construct, sa.schema.ExecutableDDLElement) else {"literal_binds": True}
        with literals_written_out(self.dialect):
            text = str(construct.compile(dialect=self.dialect, compile_kwargs=options)).strip()
        return self._terminated(text)

    def _terminated(self, text: str) -> str:
        impl = self.visit.context.impl
        return ended(text, self.dialect.name, impl.command_terminator, getattr(impl, "batch_separator", ""))

    # -- writing ------------------------------------------------------------------------------------

    def _move_pointer(self, before: frozenset[str], after: frozenset[str]) -> None:
        for text in self._pointer_moves.texts(before, after):
            self._add("bookkeeping", text)

    def _bookkeeping(self, construct: Any) -> None:
        self._add("bookkeeping", self._compile(construct))

    def _begin(self) -> None:
        if self.dialect.name == "mssql":
            # A batch of its own: a view or a trigger must be alone in the next one.
            self._add("begin", self._terminated("BEGIN TRANSACTION;"))
        elif self.dialect.name in _WITH_TRANSACTIONS:
            self._add("begin", "BEGIN;")

    def _commit(self) -> None:
        if self.dialect.name == "mssql":
            self._add("commit", self._terminated("COMMIT;"))
        elif self.dialect.name in _WITH_TRANSACTIONS:
            self._add("commit", "COMMIT;")
        elif self.dialect.name == "oracle":
            self._add("commit", self._terminated("COMMIT"))

    def _prepare(self) -> None:
        """Write what the client has to be told before the first statement."""
        if self.dialect.name in _PREPARING:
            self._add("comment", _PREPARING[self.dialect.name])

    def _add(self, kind: Kind, text: str) -> None:
        self.statements.append(Statement(kind, text, self._revision, self._phase))
        if self.structure is not None and self._revision is not None and kind in ("sql", "raw"):
            self.structure.note(text, self.graph[self._revision].path)


@contextmanager
def _export_errors(revision: Revision) -> Iterator[None]:
    """Name the revision and line of a body that cannot be exported.

    :raises Refused: for a body that reads the database; for a broken one too: nothing was executed.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        line = _line_in(revision.path, error)
        where = f"{revision.path}, line {line}" if line else revision.path
        if isinstance(error, MigrateError) and not isinstance(error, DatabaseRead):
            raise Refused(f"{where}: {error}") from error
        reason = " ".join(str(error).split())
        if _is_read(error, reason):
            reason = "it reads the database, and an export has none. Guard that part with context.is_offline_mode()"
        elif isinstance(error, CommandError) and "live database connection" in reason:
            reason = "a batch operation has to read the table's structure. Give batch_alter_table() a copy_from table"
        else:
            reason = f"{type(error).__name__}: {reason}"
        raise Refused(f"{where}: revision {revision.id} cannot be exported as SQL: {reason}.") from error


def _is_read(error: BaseException, reason: str) -> bool:
    """Return whether a body failed for want of a database: it asked for one, or for the bind, which is None."""
    if isinstance(error, (DatabaseRead, sa.exc.UnboundExecutionError)):
        return True
    # Of Alembic's stand-in for a connection, or of the None that its execute() gives; what sa.inspect() says of both.
    wanting = isinstance(error, (AttributeError, sa.exc.NoInspectionAvailable))
    wanting = wanting or any(words in reason for words in ("context manager", "not iterable", "not subscriptable"))
    return wanting and ("'NoneType'" in reason or "MockConnection" in reason)


def _line_in(path: str, error: BaseException) -> int:
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def running(revision: Revision, direction: Direction) -> str:
    """Return the words of Alembic's comment for a revision: ``upgrade 1 -> 2``."""
    down = ", ".join(revision.down)
    return f"upgrade {down} -> {revision.id}" if direction == "upgrade" else f"downgrade {revision.id} -> {down}"


def offline_options(options: dict[str, Any], dialect_name: str | None, sink: Any) -> dict[str, Any]:
    """Return env.py's offline options with literals written out, exact text, and our sink for stray output.

    ``named`` parameters keep a percent sign single; the drivers' own styles would double it.
    """
    options = dict(options, literal_binds=True, output_buffer=sink)
    options["dialect_opts"] = dict(options.get("dialect_opts") or {}, paramstyle="named")
    if dialect_name is not None:
        options.pop("connection", None)
        options.update(url=None, dialect_name=dialect_name)
    return options


def start_history(
    graph: Graph, phases: Phases, history: History, covered: Collection[str], before: str | None
) -> History:
    """Return the history that a phase's SQL expects: every earlier phase of the range was run in turn."""
    for name in phases.before(before) if before is not None else ():
        plan = plan_upgrade(graph, history, phases, covered, phase=name)
        raise_blocked(plan)
        history = simulate(graph, history, plan.actions)
    return history


def raise_blocked(plan: Plan) -> None:
    """Refuse a plan that is blocked.

    :raises Refused: with the reasons.
    """
    if plan.blocked:
        overtaking = [block for block in plan.blocked if block.overtaken is not None]
        commands = dict.fromkeys(f"Next: {block.command}" for block in overtaking)
        otherwise = dict.fromkeys(sentence for block in overtaking for sentence in block.otherwise)
        raise Refused("\n".join([*(block.because for block in plan.blocked), *commands, *otherwise]), plan=plan)


def plan_export(
    graph: Graph,
    phases: Phases,
    history: History,
    covered: Collection[str],
    *,
    direction: Direction,
    phase: str | None,
    binds: Collection[str],
    target: str = "head",
    footprint_of: Callable[[Step], Footprint] | None = None,
) -> tuple[Plan, frozenset[str]]:
    """Return the plan of an export and the version table's rows that it starts from.

    :param history: what the database says at the start of the range, as far as it is known.
    :param target: as typed, for the commands that messages propose.
    :param footprint_of: what a step of an upgrade touches, as :func:`.plan.plan_upgrade` takes it.
    :raises Refused: if a revision's file makes a mistake, or a step would overtake one that touches the same.
    """
    if direction == "upgrade":
        history = start_history(graph, phases, history, covered, phase)
        plan = plan_upgrade(
            graph, history, phases, covered, phase=phase, target=target, binds=binds, footprint_of=footprint_of
        )
    else:
        history = _downgrade_history(graph, phases, history, covered, phase)
        plan = plan_downgrade(graph, history, phases, covered, phase=phase, binds=binds)
    raise_blocked(plan)
    return plan, history.heads


def _downgrade_history(
    graph: Graph, phases: Phases, history: History, covered: Collection[str], phase: str | None
) -> History:
    for name in reversed(phases.after(phase)) if phase is not None else ():
        plan = plan_downgrade(graph, history, phases, covered, phase=name)
        raise_blocked(plan)
        history = simulate(graph, history, plan.actions, direction="downgrade")
    return history
