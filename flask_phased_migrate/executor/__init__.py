"""Runs a plan: one transaction a step, recorded with what it did, reported as events.

The executor never plans. It runs the actions of one bind on the connection that env.py configured; the
caller holds the run lock.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import sqlalchemy as sa
from alembic.runtime.migration import MigrationInfo
from sqlalchemy.engine import Connection

from ..dialects import POLL_INTERVAL_S, Blocker, LockName, LockSession, adapter_for, check_nothing, is_autocommit
from ..environment import Visit
from ..errors import LockHeld, MigrateError, Refused, StepFailed, StepInterrupted
from ..graph import Graph
from ..operations import BodyRunner, MutedRead
from ..phases import Body, body_checksum, body_mentions
from ..plan import (
    Action,
    Direction,
    History,
    Step,
    counted,
    is_complete,
    pointer_after,
    pointer_before,
    resolve_choices,
)
from ..recorder import Execution, Operation, Recorder, Runner, describe_error, now, read_journal
from .operations import Listeners, SessionTimeouts, StepOperations
from .progress import Progress
from .retries import Budget, Timeouts, Watch

_T = TypeVar("_T")


@dataclass(frozen=True)
class Event:
    """Something that happened to a step, for whoever shows progress.

    ``number`` of ``total`` counts the steps of the call; ``seconds`` is the time taken so far, of ``retried`` the pause
    before the next attempt; ``detail`` says why.
    """

    kind: Literal["began", "done", "failed", "retried", "passed", "reopened", "output", "warning"]
    bind: str
    step: Step | None = None
    number: int = 0
    total: int = 0
    seconds: float = 0.0
    detail: str = ""


Report = Callable[[Event], None]

NOTHING_TO_UNDO = "nothing to undo"
"""Detail of the event of a downgrade's step for which the revision has no code."""


@dataclass(frozen=True)
class Effects:
    """What the executor needs from outside, so that tests need no patching.

    ``patience_s`` is how long to wait for what a killed runner left at the server.
    """

    report: Report
    runner: Runner
    command: str = "flask db upgrade"
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    timeouts: Timeouts = field(default_factory=Timeouts)
    patience_s: float = 60.0


@dataclass
class _Execution:
    """One execution of a step: its row in the journal, and what is known of it.

    ``id`` is 0 until the server has told it. ``following`` is what its last transaction writes down as begun.
    """

    id: int
    action: Action
    step: Step
    progress: Progress
    number: int = 0
    total: int = 0
    began_s: float = 0.0
    following: _Execution | None = None


class Executor:
    """Runs the actions of one bind, in order, stopping at the first that fails.

    :param lock: the session that holds the run lock, where there is one.
    """

    def __init__(
        self,
        visit: Visit,
        graph: Graph,
        history: History,
        direction: Direction,
        effects: Effects,
        lock: LockSession | None = None,
    ) -> None:
        self.visit = visit
        self.graph = graph
        self.history = history
        self.direction: Direction = direction
        self.effects = effects
        self.lock = lock
        self.connection = visit.connection
        self.adapter = adapter_for(self.connection.dialect.name)
        self.recorder = Recorder(self.connection, visit.tables, effects.runner, history.records)
        self.timeouts = SessionTimeouts(self.connection, self.adapter, effects.timeouts)
        interval_s = max(min(effects.timeouts.lock_s / 2, 0.5), 0.02)
        self.watch = Watch(self._watching, self._interrupt, interval_s)
        self.heads = history.heads
        self.step_began = now()
        self.listeners = Listeners(self.connection)
        self.replacing = False
        self._kept_out: BaseException | None = None
        self._current: _Execution | None = None
        self._verified_s = effects.clock()

    @property
    def begun(self) -> str:
        """The ledger's status of a step that began."""
        return "running" if self.direction == "upgrade" else "undoing"

    def run(self, actions: Sequence[Action], *, first: int = 1, total: int = 0) -> int:
        """Run the actions; return how many steps ran.

        :param first: the number of the first step among the ``total`` of the call.
        :raises StepFailed: with the error as its cause; nothing after that step ran.
        :raises StepInterrupted: if it cannot be told what an earlier run has done.
        """
        end_reading(self.connection)
        try:
            with self.watch.running(), self.listeners.installed(), self.adapter.migrating(self.connection):
                self._await_turns()
                if not (self.history.has_version_table and self.history.has_bookkeeping):
                    self._patiently(self.recorder.ensure_tables)
                self._patiently(lambda: self._settle_abandoned(actions))
                number = self._run_all(actions, first, total)
        except BaseException:
            # What was set in the session, by us or by a body, must not get into the application's pool.
            self._discard_connection()
            raise
        return number - first

    def _run_all(self, actions: Sequence[Action], number: int, total: int) -> int:
        waiting: _Execution | None = None
        try:
            for position, action in enumerate(actions):
                if action.step is None:
                    with self._transaction():
                        self._move(action)
                    self._report_passes(action)
                    continue
                self._check_lock()
                execution, waiting = waiting or self._begin_first(action, action.step), None
                execution.number, execution.total = number, total
                waiting = self._run_step(execution, _next_action(actions[position + 1 :]))
                number += 1
        except BaseException as error:
            if waiting is not None:
                self._withdraw(waiting, error)
            raise
        return number

    # -- before the first step ----------------------------------------------------------------------

    def _settle_abandoned(self, actions: Sequence[Action]) -> None:
        """Give the executions of runs that ended without a word their end, once the server has ended them too.

        :raises LockHeld: if a session of such a run is still at work.
        """
        doubtful = [action.step for action in actions if action.doubtful and action.step is not None]
        if "running" not in self.history.last.values() and not doubtful:
            return
        found = list(self.recorder.unfinished())
        for step in doubtful:
            found += read_journal(self.connection, self.visit.tables, step=(step.revision, step.phase), limit=1)
        end_reading(self.connection)
        for execution in found:
            self._await_session(execution)
        abandoned = [item.id for item in found if item.status == "running" and item.id is not None]
        with self.connection.begin():
            self.recorder.record_abandoned(abandoned)

    def _await_session(self, execution: Execution) -> None:
        if self.lock is None or execution.session is None:
            return
        deadline = self.effects.clock() + self.effects.patience_s
        while (query := self.lock.query_of(execution.session)) is not None:
            if self.effects.clock() >= deadline:
                raise LockHeld(
                    f"A runner that ended without a word (process {execution.pid} on {execution.host}) has left a "
                    f"statement at work in session {execution.session} of the server: {' '.join(query.split())}\n"
                    "Nothing was executed. Type the same command again when it has ended."
                )
            self.effects.sleep(POLL_INTERVAL_S)

    def _await_turns(self) -> None:
        """Let also the first BEGIN wait no longer than it may: on SQLite it is what waits."""
        if self.connection.dialect.name == "sqlite":
            self.timeouts.set_lock_s(self.effects.timeouts.lock_s)
            end_reading(self.connection)

    @contextmanager
    def _watching(self) -> Iterator[Callable[[int], tuple[Blocker, ...]]]:
        """Give what asks the server, on a session of its own, who keeps another session waiting."""
        with self.adapter.lock_session(self.connection.engine, LockName("", "", "")) as session:
            yield session.blockers_of

    def _interrupt(self) -> None:
        """Make the server give up the statement that is at work, from another thread."""
        if self.watch.session is not None or self.adapter.interrupts_by_itself:
            with self.adapter.lock_session(self.connection.engine, LockName("", "", "")) as session:
                self.adapter.interrupt(self.connection, session, self.watch.session)

    def _check_lock(self) -> None:
        """Make sure now and then that the run lock is still held: its session may have been ended.

        :raises LockHeld: if it is not; another runner may be at work.
        """
        moment = self.effects.clock()
        if self.lock is None or (moment - self._verified_s < _VERIFY_INTERVAL_S and not self.lock.is_disturbed()):
            return
        if not self.lock.is_held():
            raise LockHeld(
                "The session that held the run lock was ended by the server, so another runner may have begun. The "
                f"steps so far are done, the next was not begun. Type again: {self.effects.command}"
            )
        self._verified_s = self.effects.clock()

    # -- one step -----------------------------------------------------------------------------------

    def _begin_first(self, action: Action, step: Step) -> _Execution:
        """Write into the journal that a step begins, in a transaction of its own."""
        id_ = self._patiently(lambda: self.recorder.record_began(self._operation(action), step.revision, step.phase))
        return _Execution(id_, action, step, self._new_progress(action))

    def _patiently(self, write: Callable[[], _T]) -> _T:
        """Return what writing into the tables before a step gives, trying again where others keep the database.

        :raises MigrateError: if they keep it for longer than the budget.
        """
        budget = Budget(self.effects.timeouts, self.effects.clock)
        while True:
            try:
                return write()
            except sa.exc.DBAPIError as error:
                if self.connection.in_transaction():
                    self.connection.rollback()
                pause = budget.next_pause() if self.adapter.is_lock_timeout(error) else None
                if pause is None and self.adapter.is_lock_timeout(error):
                    raise MigrateError(
                        f"{self.visit.bind}: the tables of the tool cannot be written: {self._describe(error)}\n"
                        f"{self._who_blocks(error)}Nothing was executed. Next: {self.effects.command}"
                    ) from error
                if pause is None:
                    raise
            self.effects.sleep(pause)

    def _begin_next(self, action: Action | None) -> _Execution | None:
        """Write what begins next as part of the transaction of the step before: no other has to be committed."""
        if action is None or action.step is None:
            return None
        step, progress = action.step, self._new_progress(action)
        self.recorder.insert_execution(self._operation(action), step.revision, step.phase, "running")
        if not progress.transactional and action.reopens is None:
            self.recorder.record_status(
                step,
                self.begun,
                statement=action.skip,
                part=action.part,
                checksum=self._checksum(step),
                started_at=now(),
            )
            progress.recorded = True
        return _Execution(0, action, step, progress)

    def _new_progress(self, action: Action) -> Progress:
        progress = Progress(
            self.adapter,
            transactional=self.adapter.transactional(self.connection),
            autocommit=is_autocommit(self.connection),
        )
        progress.begin_at(action.skip, action.part)
        progress.recorded = action.doubtful
        return progress

    def _operation(self, action: Action) -> Operation:
        return "resume" if self.direction == "upgrade" and (action.skip or action.doubtful) else self.direction

    def _run_step(self, execution: _Execution, following: Action | None) -> _Execution | None:
        """Run one step; return the execution of the one that follows, whose rows are written already."""
        clock, step = self.effects.clock, execution.step
        self._current = execution
        self.step_began = now()
        execution.began_s = clock()
        try:
            self.tell("began", step)
            following_execution = self._run_until_free(execution, following)
            execution.progress.complete = True
        except BaseException as error:
            recorded = self._record_failure(execution, error)
            if execution.progress.complete and execution.following is not None:
                self._withdraw(execution.following, error)
            self.tell("failed", step, seconds=clock() - execution.began_s, detail=self._describe(error))
            if isinstance(error, (KeyboardInterrupt, StepInterrupted)):
                raise
            raise self._failure(execution, error, recorded=recorded) from error
        try:
            detail = NOTHING_TO_UNDO if self._body(step) is None else ""
            self.tell("done", step, seconds=clock() - execution.began_s, detail=detail)
            self._report_passes(execution.action)
        except BaseException as error:
            if following_execution is not None:
                self._withdraw(following_execution, error)
            raise
        self._current = None
        return following_execution

    def _run_until_free(self, execution: _Execution, following: Action | None) -> _Execution | None:
        """Run the step's body; again, after a pause, where others kept it from a lock."""
        budget = Budget(self.effects.timeouts, self.effects.clock)
        kept_out: BaseException | None = None
        while True:
            self._kept_out = None
            try:
                return self._run_body(execution, following, budget)
            except MutedRead as error:
                # What is committed cannot be passed over: the error that matters is that of the attempt before.
                raise kept_out or error from None
            except Exception as error:
                # Where the body has caught it, another error comes after it: the transaction is at its end.
                kept_out = self._kept_out or error
                known = execution.progress.place is not None
                if not known or not self.waits(kept_out, execution.step, budget):
                    if kept_out is error:
                        raise
                    raise kept_out from error
            self._begin_again(execution)

    def waits(self, error: BaseException, step: Step, budget: Budget) -> bool:
        """Wait before the next attempt, if others kept a statement from a lock; return whether to make one."""
        pause = budget.next_pause() if self.adapter.is_lock_timeout(error) else None
        if pause is None:
            return False
        self._look_who_blocks()
        blockers = "; ".join(map(str, self.watch.blockers))
        self.tell("retried", step, seconds=pause, detail=blockers or self._describe(error).splitlines()[0])
        self.watch.answered()
        self.effects.sleep(pause)
        return True

    def _look_who_blocks(self) -> None:
        """Ask who is in the way, where nobody has seen it while the statement waited."""
        session = self.watch.session
        if not self.watch.blockers and session is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError), self._watching() as ask:
                self.watch.blockers = ask(session)

    def _begin_again(self, execution: _Execution) -> None:
        """Take from the database what a rolled-back attempt has left."""
        execution.progress.begin_again()
        self.timeouts.forget()
        self._await_turns()
        self.recorder.reread()
        self.heads = self.recorder.read_heads()
        end_reading(self.connection)

    def _run_body(self, execution: _Execution, following: Action | None, budget: Budget) -> _Execution | None:
        action, step, progress = execution.action, execution.step, execution.progress
        body, skip = self._body(step), progress.place or 0
        checksum = functools.cache(lambda: self._checksum(step))
        if not progress.recorded and not progress.transactional:
            # The engine commits each DDL statement: that the step began must be known before it does.
            with self.connection.begin():
                self._move_back(action)
                self.recorder.record_status(
                    step,
                    self.begun,
                    statement=skip,
                    part=progress.kept_part(skip),
                    checksum=checksum(),
                    started_at=self.step_began,
                )
            progress.recorded, progress.stored = True, skip
        with self._guarded(body) as check, self.recorder.committing(), self._transaction():
            if progress.transactional:
                self._move_back(action)
            if body is not None:
                runner = BodyRunner(self.visit.operations, skip=skip)
                doubtful = action.doubtful and skip == action.skip
                operations = StepOperations(self, step, runner, progress, checksum, budget, doubtful=doubtful)
                try:
                    with operations.installed():
                        runner.run(body, self.visit.arguments)
                finally:
                    self._kept_out = operations.kept_out
                if operations.rolled_back:
                    # Also what was done before the body, in its transaction.
                    self.recorder.reread()
                    self.heads = self.recorder.read_heads()
                    self._move_back(action)
            check()
            if self.timeouts.own:
                self.timeouts.forget()
            with self.recorder.together() as written:
                self._finish(action, step)
                self.recorder.record_ended(
                    execution.id, "done", self.effects.clock() - execution.began_s, started_at=self.step_began
                )
                execution.following = upcoming = self._begin_next(following)
                if upcoming is not None and not progress.recorded:
                    # Nothing but this transaction tells of the step, and the run's last commit makes it durable.
                    written.commit_lazily()
                progress.ending = True
                if not progress.autocommit:
                    written.commit_with_it(going_on=upcoming is not None and upcoming.progress.transactional)
            if upcoming is not None:
                upcoming.id = written.inserted
        return upcoming

    def _guarded(self, body: Body | None) -> AbstractContextManager[Callable[[], None]]:
        """Frame a step whose body may replace tables by copies of them; gives the check before its COMMIT."""
        self.replacing = body is not None and self.adapter.copies_tables and body_mentions(body, "batch_alter_table")
        if not self.replacing:
            return nullcontext(check_nothing)
        return self.adapter.replacing_tables(self.connection)

    def _checksum(self, step: Step) -> str | None:
        body = self._body(step)
        return None if body is None else body_checksum(body)

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
        if action.reopens is None or not is_complete(self.graph, self.heads, action.reopens):
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

    # -- failures -----------------------------------------------------------------------------------

    def end_session(self) -> None:
        """End the migration's session, with the statement that is at work in it: nobody waits for the answer."""
        session = self.watch.session
        if session is None or self.lock is None:
            return
        with contextlib.suppress(sa.exc.SQLAlchemyError):
            self.lock.end_session(session)
        # Its answer is still under way: what is read from this connection now would be that.
        self._discard_connection()

    def _record_failure(self, execution: _Execution, error: BaseException) -> bool:
        """Write what is known after a failure; return whether it could be written.

        The step's transaction has been rolled back. Where the error came with its COMMIT, the journal says which.
        """
        attempts: tuple[Callable[[], None], ...] = (
            lambda: self._write_failure(execution, error, traceback=True),
            # An interrupted driver may be out of step with its server; a new connection is not.
            lambda: self._write_failure(execution, error, traceback=True, anew=True),
            # A disk that is full may have room for less.
            lambda: self._write_failure(execution, error, traceback=False),
        )
        recorded = False
        self._roll_back_driver(execution, error)
        for attempt in attempts:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                # A transaction of a connection that is gone is neither open nor away.
                self.connection.rollback()
                attempt()
                recorded = True
                break
        return recorded

    def _roll_back_driver(self, execution: _Execution, error: BaseException) -> None:
        """End the transaction at the server, whatever SQLAlchemy takes for open, and look at what that kept.

        A listener that raises at a COMMIT leaves SQLAlchemy without a transaction and the driver in one.
        """
        if not _is_answer(error) and self.connection.invalidated:
            self._end_lost_session()
            return
        with contextlib.suppress(sa.exc.SQLAlchemyError):
            if self.adapter.keeps_after_rollback(self.connection):
                execution.progress.go_astray()
            if not self.adapter.has_committed(self.connection, "select"):
                self.connection.connection.rollback()

    def _end_lost_session(self) -> None:
        """End the session whose connection was lost, so that what became of its transaction is settled."""
        session = self.watch.session
        if session is None or self.lock is None:
            return
        deadline = self.effects.clock() + _SETTLE_S
        with contextlib.suppress(sa.exc.SQLAlchemyError):
            self.lock.end_session(session)
            while self.lock.is_there(session) and self.effects.clock() < deadline:
                self.effects.sleep(0.05)

    def _write_failure(
        self, execution: _Execution, error: BaseException, *, traceback: bool, anew: bool = False
    ) -> None:
        if anew:
            self._discard_connection()
        progress = execution.progress
        interrupted = isinstance(error, (KeyboardInterrupt, StepInterrupted))
        self.timeouts.forget()
        with self.connection.begin():
            self.timeouts.set_lock_s(self.effects.timeouts.lock_s)
            if progress.ending and self.recorder.execution_status(execution.id) == "done":
                progress.complete = True
                return
            if not isinstance(error, StepInterrupted):
                self.recorder.reread()
                self._record_place(execution, error)
            self.recorder.record_ended(
                execution.id,
                "interrupted" if interrupted else "failed",
                self.effects.clock() - execution.began_s,
                error,
                started_at=self.step_began,
                traceback=traceback,
            )

    def _withdraw(self, execution: _Execution, error: BaseException) -> None:
        """Write that an execution, whose rows are there, was not begun."""
        with contextlib.suppress(sa.exc.SQLAlchemyError):
            self.connection.rollback()
            with self.connection.begin():
                id_ = execution.id or self.recorder.running_id(execution.step)
                if execution.progress.recorded:
                    self._record_stopped(execution.step, execution.action)
                if id_ is not None:
                    self.recorder.record_ended(id_, "interrupted", 0.0, error)

    def _discard_connection(self) -> None:
        """Close the driver's connection; the next use takes a new one. A database in memory is kept."""
        if self.adapter.outlives_connection(self.connection):
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self.connection.invalidate()

    def _record_place(self, execution: _Execution, error: BaseException) -> None:
        """Write where the step stopped into the ledger, if the ledger knows of it or has to."""
        progress, step = execution.progress, execution.step
        doubtful = progress.sent and not _is_answer(error)
        part = progress.kept_part(_done(progress))
        if progress.astray:
            self._record_begun(step, "interrupted", progress.stored)
        elif doubtful or progress.suspect:
            self._record_begun(step, self.begun, _done(progress), part)
        elif progress.place is None or progress.recorded or progress.place != progress.stored:
            # The server has answered, so what it has done is known to the statement.
            self._record_stopped(step, replace(execution.action, skip=_done(progress), part=part, doubtful=False))

    @property
    def _stopped(self) -> str:
        """The ledger's status of a step that stopped at a known place."""
        return "failed" if self.direction == "upgrade" else "half-undone"

    def _record_begun(self, step: Step, status: str, operations: int, part: int = 0) -> None:
        self.recorder.record_status(
            step, status, statement=operations, part=part, checksum=self._checksum(step), started_at=self.step_began
        )

    def _record_stopped(self, step: Step, at: Action) -> None:
        """Write that a step stopped where ``at`` would begin it; at its beginning, what it was before."""
        if at.doubtful or at.skip or at.part:
            self._record_begun(step, self.begun if at.doubtful else self._stopped, at.skip, at.part)
        elif self.direction == "downgrade":
            self.recorder.record_status(step, "done")
        else:
            self.recorder.forget(step.revision, step.phase)

    def _failure(self, execution: _Execution, error: BaseException, *, recorded: bool) -> MigrateError:
        step, progress = execution.step, execution.progress
        resolve = resolve_choices(step.revision, step.phase, _done(progress), direction=self.direction)
        again = f"mend the cause, then type again: {self.effects.command}"
        left = self._left(progress, error)
        if (progress.astray or progress.suspect) and not progress.complete:
            again = resolve
        file = self.graph[step.revision].path
        words = f"{step} failed: {self._describe(error)}\n{left}\nFile: {file}\n"
        words += self._who_blocks(error)
        words += (
            f"Details: flask db trace {execution.id}\n" if recorded else "This could not be written into the journal.\n"
        )
        words += "Next: "
        if isinstance(error, MutedRead) and progress.place != 0:
            return StepInterrupted(words + resolve, step=step)
        if isinstance(error, Refused):
            return Refused(words + again)
        return StepFailed(words + again, step=step)

    def _left(self, progress: Progress, error: BaseException) -> str:
        """Return what a failed step has left in the database, in words."""
        if progress.complete:
            return "The error came while the step was committed, and it is: it counts as done."
        if progress.astray:
            return "Part of it is in the database."
        done = _done(progress)
        committed = "operation is" if done == 1 else f"{counted(done, 'operation')} are"
        so_far = f"Its first {committed} committed. " if done else ""
        if progress.suspect:
            return f"{so_far}An earlier run may have executed this statement already."
        if progress.sent and not _is_answer(error):
            return f"{so_far}The operation after that may be there, in part or as a whole: the next run looks."
        part = counted(progress.kept_part(done), "statement")
        if progress.place is None or progress.kept_part(done):
            return (
                f"{so_far}Of the operation after that {part} took effect; the next run goes on after that, if the body "
                "stays as it is."
            )
        if done == 0:
            return "Nothing of this step is left in the database."
        return f"Its first {committed} committed; the next run goes on after that, if the body stays as it is."

    def _who_blocks(self, error: BaseException) -> str:
        if not self.adapter.is_lock_timeout(error):
            return ""
        self._look_who_blocks()
        if not self.watch.blockers:
            return "In the way: another session, which is not there any more or cannot be seen.\n"
        return "".join(f"In the way: {blocker}\n" for blocker in self.watch.blockers)

    def _describe(self, error: BaseException) -> str:
        words, name = describe_error(error, *self.recorder.secrets), type(error).__name__
        known = isinstance(error, (sa.exc.SQLAlchemyError, MigrateError)) or words.startswith(name)
        return words if known else f"{name}: {words}"

    # -- reporting ----------------------------------------------------------------------------------

    def tell(
        self,
        kind: Literal["began", "done", "failed", "retried", "output"],
        step: Step,
        *,
        seconds: float = 0.0,
        detail: str = "",
    ) -> None:
        """Report an event of the step that runs now."""
        number, total = (self._current.number, self._current.total) if self._current is not None else (0, 0)
        self.effects.report(Event(kind, step.bind, step, number, total, seconds, detail))

    def record_skipped(self, actions: Sequence[Action], reason: str | None) -> None:
        """Record the actions as an upgrade would have, without running a body; ``reason`` is for the journal."""
        end_reading(self.connection)
        self.recorder.ensure_tables()
        with self._transaction():
            for action in actions:
                if action.step is not None:
                    self.step_began = now()
                    self._finish(action, action.step)
                    self.recorder.insert_execution("skip", action.step.revision, action.step.phase, "done", reason)
                    continue
                self._move(action)
                for revision in action.passes:
                    self.recorder.insert_execution("skip", revision, None, "done", reason)

    def _report_passes(self, action: Action) -> None:
        if action.step is not None:
            return
        for revision in action.passes:
            self.effects.report(Event("passed", action.bind, Step(action.bind, revision, "")))
        if action.reopens is not None:
            self.effects.report(Event("reopened", action.bind, Step(action.bind, action.reopens, "")))


# Between steps; a session that was ended is noticed by its socket before.
_VERIFY_INTERVAL_S = 1.0
# For the server to end a session that it was told to.
_SETTLE_S = 10.0


def _next_action(actions: Sequence[Action]) -> Action | None:
    return next((action for action in actions if action.step is not None), None)


def _done(progress: Progress) -> int:
    """Return how many operations of a step are committed as a whole."""
    return progress.stored if progress.place is None else progress.place


def _is_answer(error: BaseException) -> bool:
    """Return whether an error is the server's answer to a statement, so that it is not at work on it any more."""
    return isinstance(error, sa.exc.DBAPIError) and not error.connection_invalidated


def end_reading(connection: Connection) -> None:
    """End the transaction that reading began by itself, so that a step can begin its own."""
    if connection.in_transaction():
        connection.commit()
