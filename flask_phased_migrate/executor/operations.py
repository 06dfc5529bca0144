"""What a step needs while its body runs: scripts, autocommit blocks, timeouts, and the count of what is committed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.operations.ops import BulkInsertOp, ExecuteSQLOp
from sqlalchemy.engine import Connection

from ..dialects import Adapter, first_word
from ..errors import MigrateError, StepInterrupted
from ..operations import RUNNER_KEY, BodyRunner, ExecuteScriptOp, muted_read, resolve_script
from ..phases import PhasedFunction
from ..plan import Step, counted, resolve_choices
from ..scripts import is_sql, run_script, run_sql_file, script_checksum, script_environment
from .progress import Progress
from .retries import Budget, Timeouts

if TYPE_CHECKING:
    from . import Executor


class SessionTimeouts:
    """The timeouts of the migration's session: changed only where the next statement wants others."""

    def __init__(self, connection: Connection, adapter: Adapter, timeouts: Timeouts) -> None:
        self.connection = connection
        self.adapter = adapter
        self.timeouts = timeouts
        self.own = False
        self._lock_s: float | None = None
        self._statement_s: float | None = None

    def prepare(self, statement: str, *, autocommit: bool) -> None:
        """Set what ``statement`` wants."""
        if self.own:
            return
        words: tuple[str, ...] = ()
        if autocommit or self._times():
            from ..probes import words_of

            words = words_of(statement.lower(), self.connection.dialect.name)
        unlimited = autocommit and "concurrently" in words
        takes = self.adapter.takes_lock_timeout(statement) and not unlimited
        self.set_lock_s(self.timeouts.lock_s if takes else 0.0)
        if self._times():
            wanted = self.timeouts.statement_s if _is_short(words) else 0.0
            if wanted != self._statement_s:
                self.adapter.set_statement_timeout(self.connection, wanted)
                self._statement_s = wanted

    def set_lock_s(self, wanted: float) -> None:
        """Set the lock timeout, if the session has another."""
        if wanted != self._lock_s:
            self.adapter.set_lock_timeout(self.connection, wanted)
            self._lock_s = wanted

    def _times(self) -> bool:
        return self.timeouts.statement_s > 0

    def forget(self) -> None:
        """Note that what was set may have been rolled back, or changed by the body."""
        self._lock_s = self._statement_s = None
        self.own = False


def _is_short(words: tuple[str, ...]) -> bool:
    """Return whether a statement changes a definition and neither scans a table nor builds an index."""
    if words[:1] not in (("create",), ("alter",), ("drop",), ("rename",), ("comment",), ("truncate",)):
        return False
    builds = words[:1] == ("create",) and "index" in words[:3]
    return not builds and "validate" not in words


class Listeners:
    """Hears what is sent on the migration's connection, and tells the step that runs."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.step: StepOperations | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen for the block."""
        connection, engine = self.connection, self.connection.engine
        heard: list[tuple[Any, str, Callable[..., Any]]] = [
            (connection, "before_cursor_execute", self._before),
            (connection, "after_cursor_execute", self._after),
            (connection, "commit", self._commit),
            (connection, "begin", self._begin),
            (connection, "rollback", self._rollback),
            (engine, "handle_error", self._failed),
        ]
        # These may send the statement themselves; they hear of every connection of the engine.
        for name in ("do_execute", "do_executemany", "do_execute_no_params"):
            heard.append((engine, name, functools.partial(self._send, name)))
        for target, name, function in heard:
            sa.event.listen(target, name, function)
        try:
            yield
        finally:
            for target, name, function in heard:
                sa.event.remove(target, name, function)

    def _before(self, connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if self.step is not None:
            self.step.before(connection, statement)

    def _after(self, connection: Connection, _cursor: Any, statement: str, *_rest: Any) -> None:
        if self.step is not None:
            self.step.after(connection, statement)

    def _commit(self, _connection: Connection) -> None:
        if self.step is not None:
            self.step.commit()

    def _begin(self, connection: Connection) -> None:
        if self.step is not None:
            self.step.begin(connection)

    def _rollback(self, _connection: Connection) -> None:
        if self.step is not None:
            self.step.rollback()

    def _failed(self, failure: sa.engine.ExceptionContext) -> None:
        if self.step is not None and failure.connection is self.connection:
            self.step.failed(failure.original_exception)

    def _send(self, name: str, cursor: Any, statement: str, *rest: Any) -> bool | None:
        if self.step is None or rest[-1].root_connection is not self.connection:
            return None
        return self.step.send(name, cursor, statement, *rest)


class StepOperations:
    """What a step needs while its body runs: scripts, autocommit blocks, and the count of statements.

    :param doubtful: an earlier run ended without a word, and may have been at work on the first operation that is
        not skipped.
    """

    def __init__(
        self,
        executor: Executor,
        step: Step,
        runner: BodyRunner,
        progress: Progress,
        checksum: Callable[[], str | None],
        budget: Budget,
        *,
        doubtful: bool = False,
    ) -> None:
        self.executor = executor
        self.connection = executor.connection
        self.adapter = executor.adapter
        self.step = step
        self.runner = runner
        self.progress = progress
        self.checksum = checksum
        self.budget = budget
        self.doubtful = doubtful
        self._unknown: StepInterrupted | None = None
        self.kept_out: BaseException | None = None
        self.rolled_back = False
        self._stored_astray = False
        self._silent = False
        # Whether a transaction may be open at the server: a step begins without one where DDL ends it anyway.
        self._open = progress.transactional
        # Whether the body has sent something in the transaction that is open now.
        self._begun = False
        # How many statements of the first operation that is not skipped an earlier run has left in the database.
        self._left = progress.kept_part(runner.skip)
        self._counted_for = -1

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
        self.executor.listeners.step = self
        try:
            yield
            self._look_for_commits()
            if self._unknown is not None:
                raise self._unknown
            if self.runner.finished < self.runner.skip:
                raise self._too_short()
            if self.kept_out is not None:
                # The body has caught it: what it was written to pass over was another error than this one.
                raise self.kept_out
        except BaseException as error:
            self.progress.failed()
            if isinstance(error, Exception):
                with suppress(sa.exc.SQLAlchemyError):
                    self._look_for_commits()
            if isinstance(error, KeyboardInterrupt) and self.progress.in_flight:
                self.executor.end_session()
            raise
        finally:
            self.executor.listeners.step = None
            vars(context).pop("autocommit_block", None)
            context.opts.pop(RUNNER_KEY, None)

    def before(self, connection: Connection, statement: str) -> None:
        """Do what has to be done before a statement is sent."""
        if self._silent:
            return
        if self._unknown is not None:
            raise self._unknown
        if self.runner.muted:
            raise muted_read()
        self._look_for_commits()
        writes = self._writes(statement)
        if writes:
            self._prepare(statement)
            self._begin_counting()
        if self.progress.ends_transaction(statement):
            self._before_implicit_commit(writes=writes)
        elif self.progress.autocommit:
            self._store_in_block(writes=writes)
        elif first_word(statement) in _COMMITS:
            self._commit_so_far()
        elif self._ends_for_pragma(statement):
            # Inside a transaction SQLite ignores this pragma without a word (pragma.html#pragma_foreign_keys),
            # and a batch operation that relies on it would cascade its DROP TABLE into other tables.
            self._commit_so_far()
            connection.connection.commit()
        self.progress.in_flight = True
        self.progress.sent = writes and self.progress.keeps(statement)
        self.executor.watch.sent(self.adapter.session_id(connection))

    def _look_for_commits(self) -> None:
        """Note that the body has ended the transaction through the driver, where SQLAlchemy does not see it."""
        if not self._begun or not self.progress.transactional or self.progress.autocommit:
            return
        if self.adapter.has_committed(self.connection, "select"):
            self._begun = False
            self.progress.go_astray()
            with self._silently():
                self.adapter.begin(self.connection)
            self._store(self.runner.committed, astray=True)

    def _ends_for_pragma(self, statement: str) -> bool:
        """Return whether the transaction ends for a pragma; where tables are replaced it is what it asks for."""
        return not self.executor.replacing and _is_foreign_keys_pragma(self.connection, statement)

    def _writes(self, statement: str) -> bool:
        """Return whether a statement may change something; a SELECT that an operation executes is there for that."""
        word = first_word(statement)
        if word == "select" and self.runner.in_operation and isinstance(self.runner.operation, _EXECUTES):
            return True
        return word not in _READS or self.adapter.commits_implicitly(statement)

    def _prepare(self, statement: str) -> None:
        """Set the timeouts, and remove what a failed build of the same index left."""
        with self._silently():
            self.executor.timeouts.prepare(statement, autocommit=self.progress.autocommit)
            self._remove_invalid_index(statement)

    def _remove_invalid_index(self, statement: str) -> None:
        if not self.progress.autocommit or self.connection.dialect.name != "postgresql":
            return
        from ..probes import concurrent_index, invalid_index

        index = concurrent_index(statement)
        name = invalid_index(self.connection, index) if index is not None else None
        if name is not None:
            self._output(f"The index {name} was left invalid by a build that failed: dropped, to be built anew.")
            self.connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name}")

    def _before_implicit_commit(self, *, writes: bool) -> None:
        if not self.progress.autocommit:
            self.progress.keep_pending()
            self._store_astray(writes=writes)
            if (
                self.progress.stored != self.runner.committed
                or self._has_kept_part()
                or (self.progress.has_lost_its_place and not self._stored_astray)
            ):
                self._store(self.runner.committed)
            if self._open:
                # The engine would do it anyway, and for a few statements only we do: now it is certain.
                self.connection.connection.commit()
                self._open = False
        else:
            self._store_in_block(writes=writes)
        self.progress.committing(self.runner.committed)

    def _begin_counting(self) -> None:
        """Begin to count the statements of the operation that goes on, if it is another than before."""
        if self._counted_for != self.runner.finished:
            self._counted_for = self.runner.finished
            self.progress.begin_counting()

    def _has_kept_part(self) -> bool:
        """Return whether statements of the operation that goes on are kept that the ledger does not tell of."""
        return self.runner.in_operation and self.progress.part > self._left_now()

    def _left_now(self) -> int:
        return self._left if self.runner.finished == self.runner.skip else 0

    def _store_in_block(self, *, writes: bool) -> None:
        """Write what is known before a statement that is committed by itself."""
        self._store_astray(writes=writes)
        if writes and self._has_kept_part():
            self._store(self.runner.committed)

    def _store_astray(self, *, writes: bool) -> None:
        """Write that the step's place is not known any more, before a statement that no operation sends is kept."""
        if writes and not self.runner.in_operation and not self._stored_astray:
            self._store(self.runner.committed, astray=True)

    def after(self, connection: Connection, statement: str) -> None:
        """Note what a statement that was executed has done."""
        if self._silent:
            return
        self.progress.in_flight = self.progress.sent = False
        self._open = True
        self._begun = not self.progress.autocommit and not self.adapter.has_committed(connection, "select")
        self.executor.watch.answered()
        word = first_word(statement)
        if word in _COMMITS or self._ends_for_pragma(statement):
            self._begun = False
            if not self.progress.autocommit:
                with self._silently():
                    self.adapter.begin(connection)
        elif not self._writes(statement):
            self.executor.timeouts.own |= word == "set" and "timeout" in statement.lower()
        else:
            committed = self.progress.autocommit or self.adapter.has_committed(connection, statement)
            if committed and self.runner.in_operation:
                self.progress.part += 1
            self.progress.suspect = False
            self.progress.statement_ended(in_operation=self.runner.in_operation, committed=committed)

    def failed(self, error: BaseException) -> None:
        """Note that others kept a statement from a lock, even if the body catches the error."""
        if self.adapter.is_lock_timeout(error):
            self.kept_out = error

    # -- sending ------------------------------------------------------------------------------------

    def send(self, name: str, cursor: Any, statement: str, *rest: Any) -> bool | None:
        """Send a statement in SQLAlchemy's place, where it may be done already or is the unit of retry.

        Return True where it needs no sending any more.
        """
        context = rest[-1]
        if self._silent:
            return None
        if self._is_done_already(statement):
            return True
        if self.progress.transactional and not self.progress.autocommit:
            return None
        send = getattr(context.dialect, name)
        while True:
            try:
                send(cursor, statement, *rest)
            except context.dialect.loaded_dbapi.Error as error:
                if not self.adapter.undoes_statement_only(error) or not self.executor.waits(
                    error, self.step, self.budget
                ):
                    raise
                with self._silently():
                    self._remove_invalid_index(statement)
            else:
                return True

    def _is_done_already(self, statement: str) -> bool:
        """Return whether an earlier run, which ended without a word, has executed the statement.

        :raises StepInterrupted: if the database does not tell.
        """
        if not self._is_in_doubt() or not self._writes(statement):
            return False
        if self.progress.part < self._left:
            return True
        if not self.doubtful:
            return False
        if not self.progress.keeps(statement):
            # It went with its transaction, unless what follows it in the same operation has committed it.
            if self.progress.transactional or isinstance(self.runner.operation, (ExecuteSQLOp, BulkInsertOp)):
                self.doubtful = False
                return False
            raise self._not_known(statement)
        from ..probes import was_executed

        with self._silently():
            answer = was_executed(self.connection, statement)
        if answer is None:
            raise self._not_known(statement)
        self.doubtful = False
        self.progress.suspect = not answer
        return answer

    def _is_in_doubt(self) -> bool:
        """Return whether the operation that goes on is the one that an earlier run may have begun."""
        runner = self.runner
        begun = self.doubtful or self.progress.part < self._left
        return begun and runner.in_operation and not runner.muted and runner.finished == runner.skip

    def _not_known(self, statement: str) -> StepInterrupted:
        """Return the error for a statement of which nobody knows whether it was executed; it is raised for good."""
        done, step = self.runner.skip, self.step
        command = f"flask db resolve {step.revision} {step.phase} --resume --reason TEXT --after {done + 1}"
        choices = resolve_choices(step.revision, step.phase, done, direction=self.executor.direction)
        self._unknown = StepInterrupted(
            f"An earlier run of {step} ended without a word while it may have been at work on this statement, its "
            f"operation {done + 1}, and the database does not tell whether it was executed:\n"
            f"  {' '.join(statement.split())}\nNothing was executed now.\n"
            f"Next: look at the database. If it was executed, and nothing of its operation is left to do: {command}\n"
            f"Else {choices}",
            step=step,
        )
        return self._unknown

    def _too_short(self) -> StepInterrupted:
        step, runner = self.step, self.runner
        choices = resolve_choices(step.revision, step.phase, runner.finished, direction=self.executor.direction)
        return StepInterrupted(
            f"{step}: {counted(runner.skip, 'operation')} of the body should be there already, but the body has only "
            f"{runner.finished}: it is not the one that was begun.\nNext: {choices}",
            step=step,
        )

    # -- commits ------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Note that the body itself commits."""
        if not self._silent:
            self._commit_so_far()

    def rollback(self) -> None:
        """Note that the body itself rolls back, and with what it did what we did in its transaction."""
        if not self._silent:
            self.rolled_back = True
            self._begun = False
            self.progress.lost()

    def begin(self, connection: Connection) -> None:
        """Open the transaction that follows a commit of the body."""
        if not self._silent:
            with self._silently():
                self.adapter.begin(connection)

    def _operation_ended(self, operations: int) -> None:
        """Write down how far the step is, where the database keeps what it did.

        At once where a person would have to tell; an operation of Alembic leaves what can be looked up, and is
        written down before the next one begins.
        """
        kept = self.progress.operation_ended(operations)
        if kept == "open" or not self.progress.recorded or self.progress.place is None:
            return
        told = kept == "half" or self.progress.autocommit
        if told or isinstance(self.runner.operation, _EXECUTES):
            self._store(operations)
            if not self.progress.autocommit:
                self.connection.connection.commit()

    @contextmanager
    def _autocommit_block(self, original: Callable[[], Any]) -> Iterator[None]:
        self._commit_so_far()
        block = original()
        with self._silently():
            block.__enter__()
        outer, self.progress.autocommit = self.progress.autocommit, True
        try:
            yield
        except BaseException:
            self.progress.autocommit = outer
            # The connection may be gone, and that is not the error to tell.
            with self._silently(), suppress(sa.exc.SQLAlchemyError):
                block.__exit__(None, None, None)
            raise
        self.progress.autocommit = outer
        with self._silently():
            block.__exit__(None, None, None)
            self.adapter.begin(self.connection)

    def _commit_so_far(self) -> None:
        """Note in the ledger that the step began: what it did so far is committed next."""
        self.progress.keep_pending()
        self._store(self.runner.committed)
        self.progress.committing(self.runner.committed)
        self._begun = False

    def _store(self, operations: int, *, astray: bool = False) -> None:
        """Write the step's ledger row: it began, and so many operations are committed with this row.

        :param astray: whether something is committed with it, or next, that no number of operations describes.
        """
        self._stored_astray = astray = astray or self.progress.has_lost_its_place
        with self._silently():
            self.executor.recorder.record_status(
                self.step,
                "interrupted" if astray else self.executor.begun,
                statement=operations,
                part=self.progress.kept_part(operations),
                checksum=self.checksum(),
                started_at=self.executor.step_began,
            )
        self.progress.recorded = self._open = True
        self.progress.stored = operations
        if self.runner.finished == self.runner.skip:
            self._left = max(self._left, self.progress.part)

    @contextmanager
    def _silently(self) -> Iterator[None]:
        """Execute statements of our own, which are not the body's."""
        outer, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = outer

    # -- operations of ours -------------------------------------------------------------------------

    def run_script(self, operations: Operations, operation: ExecuteScriptOp) -> None:
        """Run a script: an SQL file as part of the step's transaction, a program with the work so far committed."""
        script = operations.migration_context.script
        assert script is not None
        folder = Path(script.dir).absolute()
        path = resolve_script(folder, operation.path)
        checksum = script_checksum(path, operation.path)
        began_s = self.executor.effects.clock()
        if is_sql(operation.path):
            run_sql_file(path, operation, self.connection)
            self._journal_script(operation.path, checksum, began_s)
            return
        if self._is_in_doubt() and self.doubtful:
            raise self._not_known(f"execute_script({operation.path!r})")
        with operations.migration_context.autocommit_block():
            environment = script_environment(self.connection.engine, self.step, self.executor.direction)
            run_script(path, operation, environment, folder, self._output)
            # Recorded by itself, at once: a program that succeeded must not run again.
            self._store(self.runner.finished + 1)
            self.progress.committing(self.runner.finished + 1)
            self._journal_script(operation.path, checksum, began_s)

    def _journal_script(self, path: str, checksum: str, began_s: float) -> None:
        with self._silently():
            duration_s = self.executor.effects.clock() - began_s
            self.executor.recorder.record_script(self.step, path, checksum, duration_s)

    def run_phased(self, operations: Operations, function: PhasedFunction, arguments: Mapping[str, Any]) -> None:
        """Refuse: a body must not call another revision's ``upgrade()``."""
        del operations, arguments
        raise MigrateError(
            f"A body called {function.__name__}() of revision {function.revision}; call a helper instead."
        )

    def _output(self, line: str) -> None:
        self.executor.tell("output", self.step, detail=line)


def _is_foreign_keys_pragma(connection: Connection, statement: str) -> bool:
    if connection.dialect.name != "sqlite":
        return False
    words = statement.lower().replace("=", " ").replace("(", " ").split()
    return words[:1] == ["pragma"] and len(words) > 2 and words[1].rpartition(".")[2] == "foreign_keys"


_EXECUTES = (ExecuteSQLOp, ExecuteScriptOp)
_READS = frozenset({"select", "show", "pragma", "explain", "describe", "desc", "set", "use"})
_COMMITS = frozenset({"commit", "end"})
