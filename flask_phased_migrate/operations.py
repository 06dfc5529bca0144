"""Our operations as Alembic operations, and how the body of one phase is run.

``op.execute_script`` writes a marker offline and, online, calls the runner that the executor put into the
context's options under :data:`RUNNER_KEY`. ``op.run_phased`` is what a phased ``upgrade()`` does when
Alembic itself calls it. Loading this module registers both.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import sqlalchemy as sa
from alembic.operations import BatchOperations, MigrateOperation, Operations
from alembic.operations.ops import CreateTableOp, ExecuteSQLOp

from .errors import MigrateError, Refused
from .phases import Body, PhasedFunction, segment_problem

RUNNER_KEY = "phased_runner"
PHASE_MARKER = "-- PHASE::{}::;"
SCRIPT_MARKER = "-- SCRIPT::{}::;"


def escape_colons(text: str) -> str:
    """Return SQL in which no colon begins a bound parameter of SQLAlchemy's ``text()``, which ``op.execute`` makes."""
    return re.sub(r"(?<![:\w$\\]):(?=[\w$]+(?![:\w$]))", r"\\:", text)


def with_plain_colons(given: Any) -> Any:
    """Return SQL as it is sent: where a text has escaped colons, the ``text()`` that Alembic makes of it."""
    return sa.text(given) if isinstance(given, str) and "\\:" in given else given


class MutedRead(MigrateError):
    """A part of a body that only catches up with what is done already read the database."""


class OperationRunner(Protocol):
    """What runs our operations online: an attribute of the migration context's options."""

    def run_script(self, operations: Operations, operation: ExecuteScriptOp) -> None:
        """Run a script operation."""

    def run_phased(self, operations: Operations, function: PhasedFunction, arguments: Mapping[str, Any]) -> None:
        """Run what is not done of a phased function that Alembic called."""


@Operations.register_operation("execute_script")
class ExecuteScriptOp(MigrateOperation):
    """A program as an operation. ``path`` is relative to the migrations folder."""

    def __init__(self, path: str, args: tuple[str, ...], timeout: float | None) -> None:
        self.path = path
        self.args = args
        self.timeout = timeout

    @classmethod
    def execute_script(
        cls, operations: Any, path: str, args: tuple[str, ...] = (), timeout: float | None = None
    ) -> None:
        """Run the program at ``path``, at most ``timeout`` seconds; offline, write its marker.

        :raises ValueError: if ``args`` is one text, or ``timeout`` is no number above 0.
        """
        if isinstance(args, (str, bytes)):
            raise ValueError(f"execute_script({path!r}): args is {args!r}. Write a list of texts: args=[{args!r}]")
        if timeout is not None and (isinstance(timeout, bool) or not timeout > 0):
            raise ValueError(f"execute_script({path!r}): timeout is {timeout!r}. Write a number of seconds above 0.")
        operations.invoke(cls(str(path), tuple(str(argument) for argument in args), timeout))


@Operations.register_operation("run_phased")
class RunPhasedOp(MigrateOperation):
    """What a phased ``upgrade()`` does when Alembic calls it."""

    def __init__(self, function: PhasedFunction, arguments: Mapping[str, Any]) -> None:
        self.function = function
        self.arguments = arguments

    @classmethod
    def run_phased(cls, operations: Any, function: Any, arguments: Any) -> None:
        """Run the steps of a phased function that are not done."""
        operations.invoke(cls(function, arguments))


@Operations.implementation_for(ExecuteScriptOp)
def _execute_script(operations: Operations, operation: ExecuteScriptOp) -> None:
    context = operations.migration_context
    path = marked_path(_script_directory(operations), operation.path)
    if context.as_sql:
        note = getattr(context.opts.get(RUNNER_KEY), "note_script", None)
        if note is not None:
            note(path, operation)
        else:
            context.impl.static_output(SCRIPT_MARKER.format(path))
    else:
        _runner(operations).run_script(operations, operation)


@Operations.implementation_for(RunPhasedOp)
def _run_phased(operations: Operations, operation: RunPhasedOp) -> None:
    _runner(operations).run_phased(operations, operation.function, operation.arguments)


def _runner(operations: Operations) -> OperationRunner:
    runner: OperationRunner | None = operations.migration_context.opts.get(RUNNER_KEY)
    if runner is None:
        raise MigrateError(
            "This revision has phases, and nothing here can run them: flask_phased_migrate is not installed where "
            "Alembic runs. Type: pip install flask-phased-migrate"
        )
    return runner


def _script_directory(operations: Operations) -> Path:
    script = operations.migration_context.script
    assert script is not None
    return Path(script.dir).absolute()


def execute_script(path: str, args: tuple[str, ...] = (), timeout: float | None = None) -> None:
    """Run a program as an operation: the same as ``op.execute_script``."""
    from alembic import op

    op.execute_script(path, args=args, timeout=timeout)  # type: ignore[attr-defined]


def resolve_script(directory: Path, path: str) -> Path:
    """Return the file of a script operation.

    :raises Refused: if the path is absolute, leaves the folder, has a line break, or is no file.
    """
    folder = directory.resolve()
    found = (folder / path).resolve()
    if Path(path).is_absolute() or not found.is_relative_to(folder) or any(part in path for part in "\r\n"):
        raise Refused(
            f"execute_script({path!r}): the path must be relative to {directory} and stay inside it. Nothing of the "
            "script was run. Move the program into the migrations folder, for example to scripts/."
        )
    if not found.is_file():
        raise Refused(f"execute_script({path!r}): there is no file {found}. Paths are relative to {directory}.")
    return found


def marked_path(directory: Path, path: str) -> str:
    """Return the path as its marker shows it: relative to the migrations folder, with slashes.

    :raises Refused: as :func:`resolve_script`.
    """
    return resolve_script(directory, path).relative_to(directory.resolve()).as_posix()


def running_line(path: str) -> int | None:
    """Return the line of the file at ``path`` that is running in this thread, None if none is."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == path:
            return frame.f_lineno
        frame = frame.f_back
    return None


class BodyRunner:
    """Runs one body with an ``Operations`` object, muting what is done already.

    Muted operations do nothing, and a muted read of the database is an error. ``finished`` counts the
    operations of the body that have ended, the skipped ones too; ``ended`` is told each time one has. What
    an operation invokes itself, and what is inside a batch block, is part of it and not counted. ``operation`` is the
    one that goes on now, None for a batch block.
    """

    def __init__(self, operations: Operations, *, skip: int = 0) -> None:
        self.operations = operations
        self.skip = skip
        self.finished = 0
        self.catching_up = False
        self.ended: Callable[[int], None] | None = None
        self.lost: Callable[[], None] | None = None
        self.guarded = False
        self.broken_by: BaseException | None = None
        self.operation: MigrateOperation | None = None
        self._depth = 0
        self._repeating = False

    @property
    def muted(self) -> bool:
        """Whether operations do nothing now."""
        return not self._repeating and (self.catching_up or self.finished < self.skip)

    @property
    def in_operation(self) -> bool:
        """Whether an operation is going on: what is sent to the database now is part of it."""
        return self._depth > 0

    @property
    def committed(self) -> int:
        """How many operations a commit now would cover: those that have ended, here or in an earlier run."""
        return max(self.finished, self.skip)

    def run(self, body: Body, offered: Mapping[str, Any]) -> None:
        """Run ``body`` with those of the environment's arguments that it takes."""
        with self._installed():
            arguments = body.arguments(offered)
            if body.segment is None:
                body.function(**arguments)
            else:
                self._run_segment(body, arguments)

    def _run_segment(self, body: Body, arguments: Mapping[str, Any]) -> None:
        generator = body.function(**arguments)
        assert body.segment is not None
        assert body.segments is not None
        try:
            self.catching_up = True
            for passed in range(body.segment):
                if next(generator, self) is self:
                    raise self._too_few(body, passed + 1)
            self.catching_up = False
            ended = next(generator, self) is self
            if ended is not (body.segment == body.segments - 1):
                found = body.segment + 1 if ended else body.segments + 1
                raise self._too_few(body, found)
        finally:
            self.catching_up = True
            generator.close()
            self.catching_up = False

    def _too_few(self, body: Body, found: int) -> Refused:
        name = getattr(body.function, "function", body.function).__name__
        names = tuple(f"phase {number + 1}" for number in range(body.segments or 0))
        return Refused(segment_problem(name, names, found) + ".")

    # What a body's calls come to when they are not muted; whoever only looks at a body does something else.

    def perform(self, operation: MigrateOperation) -> Any:
        """Invoke an operation and return what it gives."""
        return Operations.invoke(self.operations, operation)

    def open_batch(self, *arguments: Any, **options: Any) -> AbstractContextManager[Any]:
        """Return a batch, with the arguments of ``batch_alter_table``."""
        return Operations.batch_alter_table(self.operations, *arguments, **options)

    def read_bind(self) -> Any:
        """Return what ``get_bind()`` gives."""
        return Operations.get_bind(self.operations)

    def read_context(self) -> Any:
        """Return what ``get_context()`` gives."""
        return Operations.get_context(self.operations)

    @contextmanager
    def _installed(self) -> Iterator[None]:
        own: dict[str, Any] = {
            "invoke": self._invoke,
            "batch_alter_table": self._batch_alter_table,
            "get_bind": self._get_bind,
            "get_context": self._get_context,
        }
        vars(self.operations).update(own)
        try:
            yield
        finally:
            for name in own:
                vars(self.operations).pop(name, None)

    def _invoke(self, operation: MigrateOperation) -> Any:
        muted = self.muted
        if not self.in_operation:
            self.operation = operation
        with self._counted(muted=muted):
            if not muted:
                return self.perform(operation)
            if not self.catching_up and _makes_temporary(operation):
                raise MutedRead(
                    "A part of the body that ran already made a temporary table, which went with its session, so what "
                    "is left of the body cannot find it."
                )
            if not self.catching_up and _is_session_setting(operation):
                self._repeat(operation)
            # A muted create_table still gives its Table, which bodies hand on to bulk_insert.
            return (
                operation.to_table(self.operations.migration_context) if isinstance(operation, CreateTableOp) else None
            )

    def _repeat(self, operation: MigrateOperation) -> None:
        """Invoke an operation that an earlier run has done: it changed a session that is gone."""
        self._repeating = True
        try:
            self.perform(operation)
        finally:
            self._repeating = False

    @contextmanager
    def _counted(self, *, muted: bool) -> Iterator[None]:
        """Count the outermost operation that the block is, and tell ``ended`` of one that was not muted."""
        if self.broken_by is not None and self.lost is not None:
            self.lost()
        self._depth += 1
        try:
            yield
        except BaseException as error:
            # If the body goes on after this, a replay would not take the same way through it.
            self.broken_by = error
            raise
        finally:
            self._depth -= 1
        if self._depth == 0 and not self.catching_up and not self._repeating:
            self.finished += 1
            if not muted and self.ended is not None:
                self.ended(self.finished)

    @contextmanager
    def _batch_alter_table(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        muted = self.muted
        if not self.in_operation:
            self.operation = None
        with self._counted(muted=muted):
            if muted:
                yield _MutedBatch()
            else:
                with self.open_batch(*arguments, **options) as batch:
                    yield batch

    def _get_bind(self) -> Any:
        bind = self.read_bind()
        return _MutedBind(bind) if self.muted and not self.guarded else bind

    def _get_context(self) -> Any:
        context = self.read_context()
        return _MutedContext(context, self) if self.skip or self.catching_up else context


def _is_session_setting(operation: MigrateOperation) -> bool:
    """Return whether an operation sets something of the session, as ``PRAGMA foreign_keys=OFF`` does.

    MariaDB's ``SET STATEMENT ... FOR`` is not one: it runs the statement behind ``FOR``.
    """
    if not isinstance(operation, ExecuteSQLOp):
        return False
    text = str(operation.sqltext).lower()
    words = text.split(None, 2)
    if words[:1] == ["select"]:
        return "set_config(" in text
    return words[:1] in (["set"], ["reset"], ["discard"], ["pragma"], ["use"]) and words[1:2] != ["statement"]


def _makes_temporary(operation: MigrateOperation) -> bool:
    """Return whether an operation makes a temporary table, which goes with the session."""
    if isinstance(operation, ExecuteSQLOp):
        return any(word.startswith("temp") for word in str(operation.sqltext).lower().split(None, 3)[1:3])
    prefixes = operation.kw.get("prefixes", ()) if isinstance(operation, CreateTableOp) else ()
    return any(str(word).upper().startswith("TEMP") for word in prefixes)


def muted_read() -> MutedRead:
    """Return the error for a read of the database in a muted part of a body."""
    return MutedRead(
        "A part of the body that ran already reads the database, so it cannot be passed over to reach what is left. "
        'Write one function a phase (@upgrade.phase("...")) and read inside the function that needs it.'
    )


def _do_nothing(*_arguments: Any, **_options: Any) -> None:
    """Stand for an operation of a muted batch."""


class _MutedBatch:
    """Stands for a batch of which nothing is wanted."""

    def __getattr__(self, name: str) -> Any:
        if not hasattr(BatchOperations, name):
            raise AttributeError(name)
        return _do_nothing


class _MutedBind:
    """A bind that tells its dialect, and that is an error to use: the body is only catching up."""

    def __init__(self, bind: Any) -> None:
        self.dialect = bind.dialect

    def __getattr__(self, name: str) -> Any:
        raise muted_read()


class _MutedContext:
    """A migration context that gives facts, and whose connection is an error while the body is muted."""

    def __init__(self, context: Any, runner: BodyRunner) -> None:
        self._context = context
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        if self._runner.muted and not self._runner.guarded:
            if name in {"bind", "connection"}:
                return _MutedBind(self._context.bind)
            if name in {"get_current_heads", "get_current_revision"}:
                raise muted_read()
        return getattr(self._context, name)

    def autocommit_block(self) -> AbstractContextManager[None]:
        """Enter the context's autocommit block; nothing while the body is on its way to another part.

        What is passed over may be followed, in the same block, by what is not.
        """
        if self._runner.catching_up:
            return nullcontext()
        block: AbstractContextManager[None] = self._context.autocommit_block()
        return block

    def execute(self, *arguments: Any, **options: Any) -> None:
        """Execute a statement, or nothing while muted."""
        if not self._runner.muted:
            self._context.execute(*arguments, **options)
