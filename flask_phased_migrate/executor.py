"""Runs a plan: one transaction a step, recorded before and after, reported as events.

The executor never plans. It runs the actions of one bind on the connection that env.py configured; the
caller holds the run lock.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationInfo
from sqlalchemy.engine import Connection

from .dialects import Adapter, adapter_for, first_word
from .environment import Visit
from .errors import MigrateError, Refused, ScriptFailed, StepFailed, StepInterrupted
from .graph import Graph
from .operations import RUNNER_KEY, BodyRunner, ExecuteScriptOp, MutedRead, muted_read, resolve_script
from .phases import Body, PhasedFunction, body_checksum
from .plan import Action, Direction, History, Step, pointer_after, pointer_before, resolve_choices
from .recorder import Recorder, Runner, describe_error, now

Operation = Literal["upgrade", "downgrade"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a step, for whoever shows progress.

    ``number`` of ``total`` counts the steps of the call; ``seconds`` is the time taken so far.
    """

    kind: Literal["began", "done", "failed", "passed", "reopened", "output", "warning"]
    bind: str
    step: Step | None = None
    number: int = 0
    total: int = 0
    seconds: float = 0.0
    detail: str = ""


Report = Callable[[Event], None]


@dataclass(frozen=True)
class Effects:
    """What the executor needs from outside, so that tests need no patching."""

    report: Report
    runner: Runner
    command: str = "flask db upgrade"
    clock: Callable[[], float] = time.monotonic


class Executor:
    """Runs the actions of one bind, in order, stopping at the first that fails."""

    def __init__(self, visit: Visit, graph: Graph, history: History, direction: Direction, effects: Effects) -> None:
        self.visit = visit
        self.graph = graph
        self.direction: Direction = direction
        self.effects = effects
        self.connection = visit.connection
        self.adapter = adapter_for(self.connection.dialect.name)
        self.recorder = Recorder(self.connection, visit.tables, effects.runner)
        self.heads = history.heads
        self.step_began = now()

    def run(self, actions: Iterable[Action], *, first: int = 1, total: int = 0) -> int:
        """Run the actions; return how many steps ran.

        :param first: the number of the first step among the ``total`` of the call.
        :raises StepFailed: with the error as its cause; nothing after that step ran.
        """
        end_reading(self.connection)
        self.recorder.ensure_tables()
        number = first
        for action in actions:
            if action.step is None:
                with self._transaction():
                    self._move(action)
                self._report_passes(action)
            else:
                self._run_step(action, action.step, number, total)
                number += 1
        return number - first

    def _run_step(self, action: Action, step: Step, number: int, total: int) -> None:
        report, clock = self.effects.report, self.effects.clock
        body = self._body(step)
        began = clock()
        self.step_began = now()
        report(Event("began", step.bind, step, number, total))
        execution = self.recorder.record_began(self.direction, step.revision, step.phase)
        progress = Progress(self.adapter, transactional=self.adapter.transactional(self.connection))
        try:
            self._run_body(action, step, body, progress)
            progress.complete = True
            with self.connection.begin():
                self.recorder.record_ended(execution, "done", clock() - began)
        except BaseException as error:
            self._record_failure(execution, step, error, clock() - began, progress)
            report(Event("failed", step.bind, step, number, total, clock() - began, self._describe(error)))
            if isinstance(error, KeyboardInterrupt):
                raise
            raise self._failure(step, error, progress, execution) from error
        report(Event("done", step.bind, step, number, total, clock() - began))
        self._report_passes(action)

    def _run_body(self, action: Action, step: Step, body: Body | None, progress: Progress) -> None:
        skip = action.skip
        checksum = None if body is None else body_checksum(body)
        progress.begin_at(skip)
        if not progress.transactional:
            # The engine commits each DDL statement: that the step began must be known before it does.
            with self.connection.begin():
                self._move_back(action)
                self.recorder.record_status(
                    step, "running", statement=skip, checksum=checksum, started_at=self.step_began
                )
            progress.recorded = True
        with self._transaction():
            if progress.transactional:
                self._move_back(action)
            if body is not None:
                runner = BodyRunner(self.visit.operations, skip=skip)
                with StepOperations(self, step, runner, progress, checksum).installed():
                    runner.run(body, self.visit.arguments)
            self._finish(action, step)

    def _finish(self, action: Action, step: Step) -> None:
        if self.direction == "downgrade":
            divided = self.graph[step.revision].downgrade.phased
            self.recorder.forget(step.revision, step.phase if divided else None)
        elif step.revision not in action.passes[:1]:
            self.recorder.record_status(step, "done", started_at=self.step_began)
        self._move(action)

    def _move(self, action: Action) -> None:
        if action.step is None:
            self._move_back(action)
        for revision in action.passes:
            after = pointer_after(self.graph, self.heads, revision)
            self.recorder.move_pointer(self.heads, after)
            self.recorder.forget(revision)
            self.heads = after
            self._tell_version_applied(revision)

    def _move_back(self, action: Action) -> None:
        """Take a complete revision out of the version table, before its first undone step."""
        if action.reopens is None:
            return
        after = pointer_before(self.graph, self.heads, action.reopens)
        self.recorder.move_pointer(self.heads, after)
        self.heads = after
        self.recorder.forget(action.reopens)
        own = [action.step.phase] if action.step is not None else []
        for phase in dict.fromkeys([*action.remains, *own]):
            self.recorder.record_status(Step(action.bind, action.reopens, phase), "done")
        self._tell_version_applied(action.reopens)

    def _tell_version_applied(self, revision: str) -> None:
        """Call the ``on_version_apply`` callbacks that env.py configured, as Alembic does."""
        callbacks = self.visit.context.on_version_apply_callbacks
        script = self.visit.context.script
        if not callbacks or script is None:
            return
        info = MigrationInfo(
            revision_map=script.revision_map,
            is_upgrade=self.direction == "upgrade",
            is_stamp=False,
            up_revisions=revision,
            down_revisions=self.graph[revision].parents,
        )
        for callback in callbacks:
            callback(ctx=self.visit.context, step=info, heads=set(self.heads), run_args=dict(self.visit.arguments))

    def _body(self, step: Step) -> Body | None:
        revision = self.graph[step.revision]
        bodies = revision.upgrade if self.direction == "upgrade" else revision.downgrade
        try:
            return bodies.body(step.bind, step.phase)
        except KeyError:
            if self.direction == "upgrade":
                raise
            return None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction on the bind, which ``autocommit_block()`` can end and begin again.

        A body that commits by itself goes on in a transaction that SQLAlchemy begins, and nobody else would end.
        """
        try:
            with self.visit.context.begin_transaction(_per_migration=True):
                self.adapter.begin(self.connection)
                yield
            if self.connection.in_transaction():
                self.connection.commit()
        except BaseException:
            if self.connection.in_transaction():
                self.connection.rollback()
            raise

    def _record_failure(
        self, execution: int, step: Step, error: BaseException, duration_s: float, progress: Progress
    ) -> None:
        """Write what is known after a failure. The step's transaction has been rolled back."""
        status: Literal["failed", "interrupted"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"

        def record() -> None:
            with self.connection.begin():
                if not progress.complete:
                    self._record_place(step, progress)
                self.recorder.record_ended(execution, status, duration_s, error)

        try:
            record()
        except sa.exc.SQLAlchemyError:
            # An interrupted driver may be out of step with its server; a new connection is not.
            self._discard_connection()
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                record()
        # The body may have changed the session (PRAGMA foreign_keys=OFF): nobody may get that from the pool.
        self._discard_connection()

    def _discard_connection(self) -> None:
        """Close the driver's connection; the next use takes a new one. A database in memory is kept."""
        if self.adapter.outlives_connection(self.connection):
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self.connection.invalidate()

    def _record_place(self, step: Step, progress: Progress) -> None:
        """Write where the step stopped into the ledger, if the ledger knows of it or has to."""
        if progress.boundary is None:
            if not progress.recorded:
                self.recorder.record_status(step, "running", statement=progress.stored, started_at=self.step_began)
        elif progress.recorded or progress.boundary != progress.stored:
            self._record_boundary(step, progress.boundary)

    def _record_boundary(self, step: Step, boundary: int) -> None:
        if self.direction == "downgrade":
            if boundary == 0:
                self.recorder.record_status(step, "done")
        elif boundary == 0:
            self.recorder.forget(step.revision, step.phase)
        else:
            checksum = body_checksum(self.graph[step.revision].upgrade.body(step.bind, step.phase))
            self.recorder.record_status(
                step, "failed", statement=boundary, checksum=checksum, started_at=self.step_began
            )

    def _failure(self, step: Step, error: BaseException, progress: Progress, execution: int) -> MigrateError:
        resolve = resolve_choices(step.revision, step.phase, progress.boundary or 0, direction=self.direction)
        again = f"mend the cause, then type again: {self.effects.command}"
        if progress.boundary == 0:
            left = "Nothing of this step is left in the database."
        elif progress.boundary is not None and self.direction == "upgrade":
            done = "operation is" if progress.boundary == 1 else f"{progress.boundary} operations are"
            left = f"Its first {done} committed; the next run goes on after that, if the body stays as it is."
        else:
            left = "Part of it is in the database."
            again = resolve
        file = self.graph[step.revision].path
        words = f"{step} failed: {self._describe(error)}\n{left}\nFile: {file}\n"
        words += f"Details: flask db trace {execution}\nNext: "
        if isinstance(error, MutedRead) and progress.boundary != 0:
            return StepInterrupted(words + resolve, step=step)
        if isinstance(error, Refused):
            return Refused(words + again)
        return StepFailed(words + again, step=step)

    def _describe(self, error: BaseException) -> str:
        words, name = describe_error(error, *self.recorder.secrets), type(error).__name__
        known = isinstance(error, (sa.exc.SQLAlchemyError, MigrateError)) or words.startswith(name)
        return words if known else f"{name}: {words}"

    def _report_passes(self, action: Action) -> None:
        if action.step is not None:
            return
        for revision in action.passes:
            self.effects.report(Event("passed", action.bind, Step(action.bind, revision, "")))
        if action.reopens is not None:
            self.effects.report(Event("reopened", action.bind, Step(action.bind, action.reopens, "")))


class Progress:
    """How far a step has come in the database itself, in operations of its body.

    ``boundary`` is the number of operations that are committed; None where something is committed that no
    such number describes: part of an operation, or a statement that the body sent by itself.
    ``recorded``: the ledger has the step as begun, and will have ``stored`` as its number. ``complete``: the
    step's transaction is committed.
    """

    def __init__(self, adapter: Adapter, *, transactional: bool) -> None:
        self.adapter = adapter
        self.transactional = transactional
        self.recorded = False
        self.complete = False
        self.stored = 0
        self.autocommit = False
        self.boundary: int | None = 0
        # Not committed: statements that the body sent by itself, and those of the operation that is going on.
        self._stray = False
        self._written = False
        self._lost = False
        # Committed: part of the operation that is going on.
        self._part = False

    def begin_at(self, operations: int) -> None:
        """Note how many operations an earlier run has committed."""
        self.boundary = self.stored = operations

    def ends_transaction(self, statement: str) -> bool:
        """Return whether the engine commits before it looks at ``statement``."""
        return not self.transactional and (self.autocommit or self.adapter.commits_implicitly(statement))

    def committing(self, operations: int) -> None:
        """Note that everything so far is committed now, while ``operations`` have ended."""
        if self._stray or self._lost:
            self.boundary = None
        elif self.boundary is not None and not self._part:
            self.boundary = operations
        self._part = self._part or self._written
        self._stray = self._written = False

    def statement_ended(self, *, in_operation: bool, committed: bool) -> None:
        """Note that the server has executed a statement that writes."""
        if not in_operation:
            self._stray = self._stray or not committed
            self.boundary = None if committed else self.boundary
        elif committed:
            self._part = True
        else:
            self._written = True

    def operation_ended(self, operations: int) -> bool:
        """Note that an operation has ended; return whether part of it is committed, so that the rest must be."""
        part, self._part, self._written = self._part or self.autocommit, False, False
        if part and self.boundary is not None:
            self.boundary = None if self._lost else operations
        return part

    def lost(self) -> None:
        """Note that the body went on after an operation that failed: a commit from now on has no known place."""
        self._lost = True

    def failed(self) -> None:
        """Note the failure: part of an operation may be committed."""
        if self._part:
            self.boundary = None


class StepOperations:
    """What a step needs while its body runs: scripts, autocommit blocks, and the count of statements."""

    def __init__(
        self, executor: Executor, step: Step, runner: BodyRunner, progress: Progress, checksum: str | None
    ) -> None:
        self.executor = executor
        self.step = step
        self.runner = runner
        self.progress = progress
        self.checksum = checksum
        self._silent = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Serve the context's operations for the block."""
        context = self.executor.visit.context
        original = context.autocommit_block
        context.opts[RUNNER_KEY] = self
        self.runner.ended = self._operation_ended
        self.runner.lost = self.progress.lost
        self.runner.guarded = True
        vars(context)["autocommit_block"] = lambda: self._autocommit_block(original)
        for name, function in self._listeners():
            sa.event.listen(self.executor.connection, name, function)
        try:
            yield
        except BaseException:
            self.progress.failed()
            raise
        finally:
            for name, function in self._listeners():
                sa.event.remove(self.executor.connection, name, function)
            vars(context).pop("autocommit_block", None)
            context.opts.pop(RUNNER_KEY, None)

    def _listeners(self) -> tuple[tuple[str, Callable[..., None]], ...]:
        return (
            ("before_cursor_execute", self._before),
            ("after_cursor_execute", self._after),
            ("commit", self._commit),
            ("begin", self._begin),
        )

    def _before(self, connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if self._silent:
            return
        if self.runner.muted:
            raise muted_read()
        if self.progress.ends_transaction(statement):
            if not self.progress.autocommit:
                if self.progress.stored != self.runner.committed:
                    self._store(self.runner.committed)
                # The engine would do it anyway, and for a few statements only we do: now it is certain.
                connection.connection.commit()
            self.progress.committing(self.runner.committed)
        elif first_word(statement) in _COMMITS:
            self._commit_so_far()
        elif _is_foreign_keys_pragma(connection, statement):
            # Inside a transaction SQLite ignores this pragma without a word (pragma.html#pragma_foreign_keys),
            # and a batch operation that relies on it would cascade its DROP TABLE into other tables.
            self._commit_so_far()
            connection.connection.commit()

    def _after(self, connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if self._silent:
            return
        word = first_word(statement)
        if word in _COMMITS or _is_foreign_keys_pragma(connection, statement):
            if not self.progress.autocommit:
                self.executor.adapter.begin(connection)
        elif word not in _READS or self.executor.adapter.commits_implicitly(statement):
            committed = self.executor.adapter.has_committed(connection, statement)
            self.progress.statement_ended(
                in_operation=self.runner.in_operation, committed=self.progress.autocommit or committed
            )

    def _commit(self, _connection: Connection) -> None:
        """Note that the body itself commits."""
        if not self._silent:
            self._commit_so_far()

    def _begin(self, connection: Connection) -> None:
        """Open the transaction that follows a commit of the body."""
        if not self._silent:
            with self._silently():
                self.executor.adapter.begin(connection)

    def _operation_ended(self, operations: int) -> None:
        """Write down at once how far the step is, where the database keeps what it did."""
        if self.progress.operation_ended(operations) and self.progress.recorded and self.progress.boundary is not None:
            self._store(operations)
            if not self.progress.autocommit:
                self.executor.connection.connection.commit()

    @contextmanager
    def _autocommit_block(self, original: Callable[[], Any]) -> Iterator[None]:
        self._commit_so_far()
        block = original()
        with self._silently():
            block.__enter__()
        outer, self.progress.autocommit = self.progress.autocommit, True
        try:
            yield
        finally:
            self.progress.autocommit = outer
            with self._silently():
                block.__exit__(None, None, None)
        self.executor.adapter.begin(self.executor.connection)

    def _commit_so_far(self) -> None:
        """Note in the ledger that the step began: what it did so far is committed next."""
        self._store(self.runner.committed)
        self.progress.committing(self.runner.committed)

    def _store(self, operations: int) -> None:
        """Write the step's ledger row: it began, and so many operations are committed with this row."""
        with self._silently():
            self.executor.recorder.record_status(
                self.step,
                "running",
                statement=operations,
                checksum=self.checksum,
                started_at=self.executor.step_began,
            )
        self.progress.recorded = True
        self.progress.stored = operations

    @contextmanager
    def _silently(self) -> Iterator[None]:
        """Execute statements of our own, which are not the body's."""
        outer, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = outer

    def run_script(self, operations: Operations, operation: ExecuteScriptOp) -> None:
        """Commit the work so far, run the program, and go on in a new transaction."""
        script = operations.migration_context.script
        assert script is not None
        path = resolve_script(Path(script.dir).absolute(), operation.path)
        with operations.migration_context.autocommit_block():
            run_script(
                path,
                operation,
                script_environment(self.executor.connection.engine, self.step, self.executor.direction),
                Path(script.dir),
                self._output,
            )
            # Recorded by itself, at once: a program that succeeded must not run again.
            self._store(self.runner.finished + 1)
            self.progress.committing(self.runner.finished + 1)

    def run_phased(self, operations: Operations, function: PhasedFunction, arguments: Mapping[str, Any]) -> None:
        """Refuse: a body must not call another revision's ``upgrade()``."""
        del operations, arguments
        raise MigrateError(
            f"A body called {function.__name__}() of revision {function.revision}; call a helper instead."
        )

    def _output(self, line: str) -> None:
        self.executor.effects.report(Event("output", self.step.bind, self.step, detail=line))


def script_environment(engine: sa.Engine, step: Step, direction: Direction) -> dict[str, str]:
    """Return the environment of a script operation: this process's, and where and what it is part of."""
    return {
        **os.environ,
        "MIGRATE_DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "MIGRATE_BIND": step.bind,
        "MIGRATE_REVISION": step.revision,
        "MIGRATE_PHASE": step.phase,
        "MIGRATE_DIRECTION": direction,
    }


def _is_foreign_keys_pragma(connection: Connection, statement: str) -> bool:
    if connection.dialect.name != "sqlite":
        return False
    words = statement.lower().replace("=", " ").replace("(", " ").split()
    return words[:1] == ["pragma"] and len(words) > 2 and words[1].rpartition(".")[2] == "foreign_keys"


def end_reading(connection: Connection) -> None:
    """End the transaction that reading began by itself, so that a step can begin its own."""
    if connection.in_transaction():
        connection.commit()


_READS = frozenset({"select", "show", "pragma", "explain", "describe", "desc", "set", "use"})
_COMMITS = frozenset({"commit", "end"})

_INTERPRETERS = {".py": [sys.executable], ".sh": ["sh"]}


def run_script(
    path: Path,
    operation: ExecuteScriptOp,
    environment: Mapping[str, str],
    directory: Path,
    output: Callable[[str], None],
) -> None:
    """Run a program in its own process group, its output line by line to ``output``.

    :raises ScriptFailed: if it cannot be started, ends with another status than 0, or takes longer than
        the operation's ``timeout`` seconds; the whole group is killed then.
    """
    command = [*_INTERPRETERS.get(path.suffix, []), str(path), *operation.args]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory.absolute(),
            start_new_session=True,
        )
    except OSError as error:
        raise ScriptFailed(
            f"The script {operation.path} cannot be started: {error.strerror}. Give it an ending that names its "
            "interpreter (.py, .sh), or a #! line and the exec bit.",
            path=operation.path,
            returncode=None,
        ) from error
    last = _stream(process, operation, output)
    if process.returncode:
        said = f" Its last words: {last}" if last else ""
        raise ScriptFailed(
            f"The script {operation.path} ended with status {process.returncode}.{said}",
            path=operation.path,
            returncode=process.returncode,
        )


def _stream(process: subprocess.Popen[bytes], operation: ExecuteScriptOp, output: Callable[[str], None]) -> str:
    """Pass the program's output on until it ends; return its last line.

    A thread reads: a program that leaves the process group with the pipe in its hand would keep us past the
    timeout.
    """
    deadline = None if operation.timeout is None else time.monotonic() + operation.timeout
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True).start()
    last = ""
    try:
        while (line := lines.get(timeout=_left(deadline))) is not None:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            last = text.strip() or last
            output(text)
        process.wait(_left(deadline))
    except (queue.Empty, subprocess.TimeoutExpired):
        _kill_group(process)
        raise ScriptFailed(
            f"The script {operation.path} took longer than its timeout of {operation.timeout} s and was killed.",
            path=operation.path,
            returncode=process.wait(),
        ) from None
    except BaseException:
        _kill_group(process)
        process.wait()
        raise
    return last


def _read_lines(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _left(deadline: float | None) -> float | None:
    """Return the seconds until a deadline, at least 0; None where there is none."""
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # pragma: no cover  (Windows)
            process.kill()
