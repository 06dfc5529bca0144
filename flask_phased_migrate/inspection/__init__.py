"""What a step touches, found by running its body on paper: nothing is sent anywhere.

The body meets recording operations and a database that is an error to ask. A body that asks one, or that fails
on paper, is opaque; that is never an error here.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import Parameter
from pathlib import Path
from typing import Any, Literal

import alembic.context
import alembic.op
import sqlalchemy as sa
from alembic.config import Config
from alembic.operations import BatchOperations, MigrateOperation, Operations
from alembic.operations.ops import AddColumnOp, CreateIndexOp, CreateTableOp, DropIndexOp, ExecuteSQLOp
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import load_python_file
from sqlalchemy.orm import Session

from ..assurances import current_assurances
from ..errors import MigrateError
from ..footprint import NOTHING, Footprint, opaque, union, whole
from ..graph import Graph, Revision
from ..listeners import ENGINE_USE, POOL_CHECKOUT, SESSION_ATTACH, SESSION_BEGIN, SESSION_FLUSH
from ..operations import BodyRunner, ExecuteScriptOp, resolve_script, running_line
from ..phases import DEFAULT_BIND, Body, Phases, accepted_arguments, base_bind, read_bodies
from ..plan import Step
from ..splitting import split_sql
from .observation import Observation, Seen
from .reading import read_construct, read_new_table, read_operation

_WORKS_ITSELF = "it works with the database itself"
_IN_PLACE = (AddColumnOp, CreateIndexOp, DropIndexOp)
"""Operations for which SQLite mostly does not copy the table."""


class DatabaseWanted(MigrateError):
    """A body that is looked at on paper asked a database."""


class Inspector:
    """Tells what steps touch; each is looked at once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Step, str, bool], tuple[Footprint, Observation]] = {}

    def footprint(
        self,
        step: Step,
        graph: Graph,
        phases: Phases,
        dialect_name: str,
        *,
        environment: tuple[Config, ScriptDirectory] | None = None,
    ) -> Footprint:
        """Return what the upgrade of a step touches.

        :param dialect_name: SQLAlchemy's name of the bind's engine; its driver need not be installed.
        :param environment: what ``alembic.context`` has for the body; without, the body cannot use it.
        """
        return self._look(step, graph, phases, dialect_name, environment)[0]

    def observe(
        self,
        step: Step,
        graph: Graph,
        phases: Phases,
        dialect_name: str,
        *,
        environment: tuple[Config, ScriptDirectory] | None = None,
        undo: bool = False,
    ) -> Observation:
        """Return what a step does, operation by operation; parameters as :meth:`footprint`.

        :param undo: look at what the downgrade does instead.
        """
        return self._look(step, graph, phases, dialect_name, environment, undo)[1]

    def _look(
        self,
        step: Step,
        graph: Graph,
        phases: Phases,
        dialect_name: str,
        environment: tuple[Config, ScriptDirectory] | None,
        undo: bool = False,
    ) -> tuple[Footprint, Observation]:
        key = (step, dialect_name, undo)
        if key not in self._known:
            notes = _Notes(graph[step.revision].path)
            with _noted(notes), _on_paper(notes):
                body = _body_of(step, graph[step.revision], phases, undo=undo)
                _run(body, step.bind, _paper_context(dialect_name, environment), notes, environment)
            self._known[key] = (notes.footprint, Observation(tuple(notes.seen)))
        return self._known[key]


def _run(
    body: Body,
    bind: str,
    context: MigrationContext,
    notes: _Notes,
    environment: tuple[Config, ScriptDirectory] | None,
) -> None:
    """Go through a body; env.py does not run, so of its arguments there is the one that can be known.

    Where the body does without it, it is gone through once with it and once without: env.py may give it or not.
    """
    function = getattr(body.function, "function", body.function)
    name = base_bind(bind)
    offered = accepted_arguments(function, {"engine_name": "" if name == DEFAULT_BIND else name})
    is_optional = any(inspect.signature(function).parameters[key].default is not Parameter.empty for key in offered)
    paper = _PaperContext(context, notes)
    with _proxies(context, paper, environment) as operations, _caught(context, notes):
        for given in (offered, {}) if is_optional else (offered,):
            with _noted(notes):
                _Recorder(operations, paper, notes).run(body, given)
            notes.is_repeated = True


@contextmanager
def _noted(notes: _Notes) -> Iterator[None]:
    """Note what ends the block before its time."""
    try:
        yield
    except (Exception, SystemExit) as error:
        notes.add_error(error)


def _body_of(step: Step, revision: Revision, phases: Phases, *, undo: bool = False) -> Body:
    """Return the body of a step from a copy of its module, so that the run itself finds the module untouched."""
    path = Path(revision.path)
    bodies = revision.downgrade if undo else revision.upgrade
    name: Literal["upgrade", "downgrade"] = "downgrade" if undo else "upgrade"
    if path.suffix == ".py" and path.is_file():
        module = load_python_file(str(path.parent), path.name)
        bodies = read_bodies(getattr(module, name, None), name, phases, getattr(module, "phase", None))
    return bodies.body(step.bind, step.phase)


class _Notes:
    """What a body was seen to touch and to do.

    ``path`` is the revision file, for the places; what is seen while the body ``is_repeated`` was seen before.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen: list[Seen] = []
        self.is_repeated = False
        self._found: list[Footprint] = []
        self._transaction = 1
        self._in_autocommit = False
        self._in_batch = False

    @property
    def footprint(self) -> Footprint:
        """What was noted so far, joined."""
        return union(self._found)

    def add(self, footprint: Footprint) -> None:
        """Note a footprint; where it is opaque, with the line of the file that is running."""
        if footprint.opaque:
            where = self._where(running_line(self.path))
            footprint = Footprint(footprint.tables, tuple(f"{where}{reason}" for reason in footprint.opaque))
        self._found.append(footprint)

    def add_error(self, error: BaseException) -> None:
        """Note why a body could not be gone through to its end."""
        if isinstance(error, DatabaseWanted):
            return
        line = next((at.lineno for at in reversed(traceback.extract_tb(error.__traceback__)) if self._is_in(at)), None)
        reason = f"on paper it ends with {type(error).__name__}: {' '.join(str(error).split())}"
        self._found.append(opaque(f"{self._where(line)}{reason}"))
        if not self.is_repeated:
            self.seen.append(Seen("error", reason, line, self._transaction, self._in_autocommit))

    def see(
        self, kind: Literal["operation", "table", "copy", "read"], what: Any = None, *, is_direct: bool = False
    ) -> None:
        """Note something that the body does."""
        if self.is_repeated:
            return
        if self._in_autocommit:
            self._transaction += 1
        line = running_line(self.path) if self.path else None
        place = (line, self._transaction, self._in_autocommit, self._in_batch)
        self.seen.append(Seen(kind, what, *place, current_assurances(), is_direct))

    @contextmanager
    def autocommit(self) -> Iterator[None]:
        """Note that what the block does is committed one by one; what came before it, with its beginning."""
        before, self._in_autocommit = self._in_autocommit, True
        try:
            yield
        finally:
            self._in_autocommit = before
            self._transaction += 1

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Note that what the block does is one batch."""
        before, self._in_batch = self._in_batch, True
        try:
            yield
        finally:
            self._in_batch = before

    def read(self) -> None:
        """Note that the body asks a database."""
        self.add(opaque(_WORKS_ITSELF))
        self.see("read")

    def wanted(self, *_arguments: Any, **_options: Any) -> Any:
        """Note that the body asks a database.

        :raises DatabaseWanted: always.
        """
        self.read()
        raise DatabaseWanted("A body that is looked at on paper has no database.")

    def _is_in(self, at: traceback.FrameSummary) -> bool:
        return at.filename == self.path

    def _where(self, line: int | None) -> str:
        return "" if not self.path else f"{self.path}: " if line is None else f"{self.path}, line {line}: "


# -- the paper ----------------------------------------------------------------------------------------


@contextmanager
def _on_paper(notes: _Notes) -> Iterator[None]:
    """Let nothing out of the block: what is printed is thrown away, and no SQLAlchemy engine can be used."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), _without_databases(notes):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _without_databases(notes: _Notes) -> Iterator[None]:
    """Make every engine of the process an error to use in this thread: a body may have the application's session."""

    def refuse(*_arguments: Any) -> None:
        notes.wanted()

    def note(*_arguments: Any) -> None:
        # Refusing here would close the connection, and with it a database in memory.
        notes.read()

    with contextlib.ExitStack() as stack:
        for listener in ENGINE_USE:
            stack.enter_context(listener.calling(refuse))
        # Before a flush begins, so that the session is as usable afterwards as before.
        stack.enter_context(SESSION_FLUSH.calling(refuse))
        stack.enter_context(POOL_CHECKOUT.calling(note))
        stack.enter_context(_sessions_restored())
        yield


@contextmanager
def _sessions_restored() -> Iterator[None]:
    """Take out of the sessions of this thread what the block puts in, and end the transactions that it begins."""
    attached: list[tuple[Session, Any]] = []
    begun: list[Session] = []

    def attach(session: Session, instance: Any) -> None:
        attached.append((session, instance))

    def begin(session: Session, transaction: Any) -> None:
        if transaction.parent is None:
            begun.append(session)

    with SESSION_ATTACH.calling(attach), SESSION_BEGIN.calling(begin):
        try:
            yield
        finally:
            for session in begun:
                session.rollback()
            for session, instance in attached:
                if instance in session:
                    session.expunge(instance)


def _paper_context(dialect_name: str, environment: tuple[Config, ScriptDirectory] | None) -> MigrationContext:
    """Return a context without a connection; ``named`` parameters keep percent signs single."""
    script = environment[1] if environment is not None else None
    return MigrationContext.configure(
        dialect_name=dialect_name,
        dialect_opts={"paramstyle": "named"},
        opts={"as_sql": True, "literal_binds": True, "output_buffer": io.StringIO(), "script": script},
    )


@contextmanager
def _proxies(
    context: MigrationContext, paper: _PaperContext, environment: tuple[Config, ScriptDirectory] | None
) -> Iterator[Operations]:
    """Let ``alembic.op`` and ``alembic.context`` be the paper's, and afterwards what they were.

    An export is inside a run of env.py when it plans.
    """
    before = [vars(module).get("_proxy") for module in (alembic.op, alembic.context)]
    try:
        with contextlib.ExitStack() as stack:
            if environment is not None:
                around = EnvironmentContext(*environment)
                around._migration_context = paper  # type: ignore[assignment]
                stack.enter_context(around)
            yield stack.enter_context(Operations.context(context))
    finally:
        for proxy in before:
            if proxy is not None:
                proxy._install_proxy()


@contextmanager
def _caught(context: MigrationContext, notes: _Notes) -> Iterator[None]:
    """Note what is executed past the operations, at the one place where Alembic compiles a statement."""

    def execute(construct: Any, *_arguments: Any, **_options: Any) -> None:
        notes.see("operation", ExecuteSQLOp(construct))
        notes.add(read_construct(construct, context.dialect))

    own: dict[str, Callable[..., None]] = {"_exec": execute, "static_output": lambda _text: None}
    vars(context.impl).update(own)
    try:
        yield
    finally:
        for name in own:
            vars(context.impl).pop(name, None)


class _PaperResult:
    """What a statement gave that was executed on paper: nobody knows. A body that looks at it asks the database."""

    def __init__(self, notes: _Notes) -> None:
        self._notes = notes

    def close(self) -> None:
        """Close nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._notes.wanted()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._notes.wanted())


class _PaperBind:
    """A bind that tells its dialect, and notes what is executed; everything else of it is the signal that the body is
    opaque."""

    def __init__(self, context: MigrationContext, notes: _Notes) -> None:
        self.dialect = context.dialect
        self._notes = notes

    def execute(self, statement: Any, *_arguments: Any, **_options: Any) -> Any:
        """Note what is executed; what it gives cannot be known, so that a body ends here that wants to know it."""
        self._notes.see("operation", ExecuteSQLOp(statement), is_direct=True)
        # What is planned by it stays careful: the statement may be one of several that a result decides about.
        self._notes.add(opaque(_WORKS_ITSELF))
        return _PaperResult(self._notes)

    exec_driver_sql = execute

    def scalar(self, statement: Any, *_arguments: Any, **_options: Any) -> Any:
        """Note what is executed, and that the body wants what it gives.

        :raises DatabaseWanted: always.
        """
        return self.execute(statement).scalar()

    scalars = scalar

    def schema_for_object(self, item: Any) -> Any:
        """Return the schema of a table or type, which SQLAlchemy asks for when it makes one."""
        return item.schema

    def _run_ddl_visitor(self, visitor: Any, element: Any, **options: Any) -> None:
        """Note the DDL of ``element.create(bind)`` and the like, as if nothing of it were there.

        It is the method that SQLAlchemy calls, and what its own mock connection (``create_mock_engine``) does there.
        """
        self._notes.add(opaque(_WORKS_ITSELF))
        options["checkfirst"] = False
        visitor(dialect=self.dialect, connection=self, **options).traverse_single(element)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._notes.wanted()


class _PaperContext:
    """A migration context as online, without a connection. An export must be refused like a run of the same plan."""

    as_sql = False

    def __init__(self, context: MigrationContext, notes: _Notes) -> None:
        self._context = context
        self._notes = notes
        self.bind = self.connection = _PaperBind(context, notes)
        self.get_current_heads = self.get_current_revision = notes.wanted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def autocommit_block(self) -> AbstractContextManager[None]:
        """Enter a block whose statements are committed one by one."""
        return self._notes.autocommit()

    def begin_transaction(self, *_arguments: Any, **_options: Any) -> AbstractContextManager[None]:
        """Begin nothing."""
        return nullcontext()

    def execute(self, construct: Any, *_arguments: Any, **_options: Any) -> None:
        """Note what a statement touches."""
        self._notes.see("operation", ExecuteSQLOp(construct))
        self._notes.add(read_construct(construct, self._context.dialect))


class _Recorder(BodyRunner):
    """Goes through a body and notes what its operations touch."""

    def __init__(self, operations: Operations, paper: _PaperContext, notes: _Notes) -> None:
        super().__init__(operations)
        self._paper = paper
        self._notes = notes

    def perform(self, operation: MigrateOperation) -> Any:
        """Note an operation. One that we do not know is carried out: it is made of some that we know."""
        context = self.operations.migration_context
        if isinstance(operation, CreateTableOp):
            table = operation.to_table(context)
            self._notes.see("table", table)
            self._notes.add(read_new_table(table, context))
            return table
        found = read_operation(operation, context)
        if found is None:
            return super().perform(operation)
        statements = self._sql_file(operation)
        if isinstance(operation, ExecuteScriptOp) and not statements:
            # What the step has done so far is committed before a program runs.
            with self._notes.autocommit():
                self._notes.see("operation", operation)
        else:
            for seen in statements or (operation,):
                self._notes.see("operation", seen)
        self._notes.add(found)
        return None

    def _sql_file(self, operation: MigrateOperation) -> tuple[MigrateOperation, ...]:
        """Return the statements of a script that is an SQL file; () for a program, and for what a run refuses."""
        context = self.operations.migration_context
        if not isinstance(operation, ExecuteScriptOp) or context.script is None:
            return ()
        if not operation.path.lower().endswith(".sql"):
            return ()
        try:
            path = resolve_script(Path(context.script.dir).absolute(), operation.path)
            texts = split_sql(path.read_bytes().decode("utf-8-sig"), context.dialect.name)
        except (MigrateError, OSError, ValueError):
            return ()
        return tuple(ExecuteSQLOp(text) for text in texts)

    @contextmanager
    def open_batch(
        self,
        table_name: str,
        schema: str | None = None,
        recreate: str = "auto",
        partial_reordering: Any = None,
        copy_from: Any = None,
        table_args: Any = (),
        **_options: Any,
    ) -> Iterator[Any]:
        """Give a batch whose operations are noted like any other.

        A copy of the table made from what the file says of it, not from what the database has, changes it as a whole.
        """
        done: list[MigrateOperation] = []
        batch = BatchOperations(self.operations.migration_context, impl=_BatchTable(table_name, schema))  # type: ignore[arg-type]

        def invoke(operation: MigrateOperation) -> Any:
            done.append(operation)
            return self.perform(operation)

        vars(batch).update(invoke=invoke, get_bind=self.read_bind, get_context=self.read_context)
        with self._notes.batch():
            yield batch
        in_place = all(map(_is_in_place, done))
        copies = recreate == "always" or (recreate == "auto" and self._copies_tables and not in_place)
        if copies and (done or recreate == "always"):
            self._notes.see("copy", (table_name, schema))
        if copies and (copy_from is not None or partial_reordering or table_args):
            self._notes.add(whole(table_name, schema))

    @property
    def _copies_tables(self) -> bool:
        return self.operations.migration_context.dialect.name == "sqlite"

    def read_bind(self) -> Any:
        """Return a bind that is an error to use."""
        return self._paper.bind

    def read_context(self) -> Any:
        """Return the context on paper."""
        return self._paper


def _is_in_place(operation: MigrateOperation) -> bool:
    """Return whether SQLite does not copy the table for it, as Alembic's ``requires_recreate_in_batch`` has it."""
    default = operation.column.server_default if isinstance(operation, AddColumnOp) else None
    if isinstance(default, sa.Computed):
        return not default.persisted
    expression = isinstance(default, sa.DefaultClause) and isinstance(default.arg, sa.ClauseElement)
    return isinstance(operation, _IN_PLACE) and not expression


class _BatchTable:
    """What the operations of a batch ask of it: its table."""

    def __init__(self, table_name: str, schema: str | None) -> None:
        self.table_name = table_name
        self.schema = schema


__all__ = ["NOTHING", "DatabaseWanted", "Inspector"]
