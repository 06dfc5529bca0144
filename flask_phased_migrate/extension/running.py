"""Runs that write: survey the binds, plan, take the locks, survey and plan again, execute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Engine

from ..dialects import Adapter, LockName, LockSession, adapter_for, run_lock
from ..environment import BINDS_KEY, Visit, run_environment, stdout_to_stderr
from ..errors import LockHeld, Refused, UsageError
from ..executor import Effects, Event, Executor, end_reading
from ..executor.retries import Timeouts
from ..graph import assign_unnamed
from ..plan import UNDOING, History, Plan, Step, simulate, stamped_heads
from ..recorder import Execution, Operation, Recorder, Runner, read_history, read_journal
from ..remedies import next_command
from ..tables import Tables
from .project import (
    Project,
    Request,
    check_bind,
    choose_histories,
    one_revision,
    one_skip,
    plan_request,
    plan_skips,
    refuse_ahead,
    refuse_blocked,
    refuse_past_boundary,
    refuse_unfailed,
    refuse_unguarded,
    refuse_without_phase,
    script_arguments,
    stamp_targets,
)


@dataclass(frozen=True)
class SurveyedBind:
    """What one bind's tables say, and what a runner has to lock."""

    history: History
    tables: Tables
    engine: Engine
    adapter: Adapter
    lock_name: LockName


@dataclass(frozen=True)
class Survey:
    """All binds in env.py's order, and the project with what only env.py can tell of its graph."""

    binds: tuple[SurveyedBind, ...]
    project: Project

    @property
    def histories(self) -> tuple[History, ...]:
        """The histories of all binds."""
        return tuple(bind.history for bind in self.binds)


def survey(project: Project, **options: Any) -> Survey:
    """Return what each bind's tables say. Writes nothing and takes no lock."""
    binds: list[SurveyedBind] = []
    known: set[str] = set()

    def visit(found: Visit) -> None:
        known.update(found.options.get(BINDS_KEY, ()))
        history = read_history(found.connection, found.bind, found.tables)
        engine, tables = found.connection.engine, found.tables
        adapter = adapter_for(engine.dialect.name)
        name = adapter.lock_name(engine, tables.version.name, tables.version.schema)
        binds.append(SurveyedBind(history, tables, engine, adapter, name))
        end_reading(found.connection)

    with stdout_to_stderr():
        run_environment(project.config, project.script, visit, **options)
    return Survey(tuple(binds), replace(project, graph=assign_unnamed(project.graph, known)))


def read_executions(
    project: Project, bind: str | None, *, limit: int | None = None, **choice: Any
) -> tuple[tuple[str, Execution], ...]:
    """Return (bind, execution) pairs, newest first, at most ``limit`` of them.

    :param choice: the other options of :func:`.recorder.read_journal`.
    :raises UsageError: if there is no such bind.
    """
    found: list[tuple[str, Execution]] = []
    names: list[str] = []

    def visit(at: Visit) -> None:
        names.append(at.bind)
        if bind in (None, at.bind):
            found.extend((at.bind, row) for row in read_journal(at.connection, at.tables, limit=limit, **choice))
        end_reading(at.connection)

    with stdout_to_stderr():
        run_environment(project.config, project.script, visit)
    check_bind(bind, names)
    found.sort(key=lambda pair: (pair[1].started_at or datetime.min, pair[1].id or 0), reverse=True)
    return tuple(found[:limit])


Locks = Mapping[str, LockSession]


class _Changed(Exception):
    """Another runner was faster to the lock: the plan was made of what is not true any more."""


def _differs(now: History, planned: History) -> bool:
    return (now.heads, now.records, now.has_version_table, now.has_bookkeeping) != (
        planned.heads,
        planned.records,
        planned.has_version_table,
        planned.has_bookkeeping,
    )


@dataclass(frozen=True)
class Resolution:
    """What was settled about an interrupted step: whose it is, and the command that goes on."""

    revision: str
    command: str


@dataclass(frozen=True)
class Skipped:
    """What a skip recorded.

    ``step`` is None where revisions without code were all that was pending; ``completed`` are the revisions that
    the version table has passed; ``scripts`` what the step's file names in ``execute_script``; ``command`` goes on.
    """

    step: Step | None
    completed: tuple[str, ...]
    scripts: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class Run:
    """One call that writes. ``options`` are what env.py may ask for: target and tag."""

    project: Project
    runner: Runner
    lock_wait_s: float
    options: Mapping[str, Any]
    require_phases: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)

    # -- upgrade and downgrade ------------------------------------------------------------------

    def execute(self, request: Request, report: Callable[[Any], None], command: str) -> Plan:
        """Run what is pending and return the plan that was run.

        A runner that had to wait for the lock plans again and normally finds nothing to do.

        :raises Refused: if the plan is blocked; nothing was executed.
        :raises StepFailed: if a step raised.
        :raises LockHeld: if another runner kept the lock.
        """
        found, plan = self._survey(request)
        if not any(history.locked for history in found.histories):
            # Nobody is at work: what is blocked now stays blocked.
            self._refuse(request, found, plan)
            if request.resume and not plan.actions:
                refuse_unfailed(found.project, found.histories, request)
        fresh = request.direction == "upgrade" and request.phase is None and not request.resume
        unmade = any(not history.has_version_table for history in choose_histories(found.histories, request.bind))
        if not plan.actions and not plan.blocked and not (fresh and unmade):
            return plan
        refuse_unguarded(self.project, plan)
        alone = not any(history.locked for history in found.histories)
        with self._locked(found, request.bind) as locks:
            # Whoever was at work before us has changed what is pending, in one of several binds perhaps.
            if not alone or len(locks) > 1:
                found, plan = self._survey(request)
            for _ in range(len(locks)):
                with suppress(_Changed):
                    self._run_plan(request, plan, found, locks, report, command)
                    return plan
                # Binds may share their tables: what one has done changes what the next has to do.
                found, plan = self._survey(request)
            self._run_plan(request, plan, found, locks, report, command)
        return plan

    def _run_plan(
        self,
        request: Request,
        plan: Plan,
        found: Survey,
        locks: Locks,
        report: Callable[[Any], None],
        command: str,
    ) -> None:
        self._refuse(request, found, plan)
        for warning in plan.warnings:
            report(Event("warning", warning.step.bind, warning.step, detail=str(warning)))
        effects = Effects(
            report=report, runner=self.runner, command=command, timeouts=self.timeouts, patience_s=self.lock_wait_s
        )
        fresh = request.direction == "upgrade" and request.phase is None and not request.resume
        self._run_actions(plan, found, effects, locks, fresh=fresh, bind=request.bind)

    def _survey(self, request: Request) -> tuple[Survey, Plan]:
        found = survey(self.project, **self.options)
        return found, plan_request(found.project, found.histories, request)

    def _refuse(self, request: Request, found: Survey, plan: Plan) -> None:
        refuse_blocked(plan)
        chosen = choose_histories(found.histories, request.bind)
        if self.require_phases and request.resume:
            refuse_past_boundary(found.project, request, plan, chosen)
        elif self.require_phases:
            refuse_without_phase(request, plan, chosen)

    def _run_actions(
        self, plan: Plan, found: Survey, effects: Effects, locks: Locks, *, fresh: bool, bind: str | None
    ) -> None:
        known = {history.bind: history for history in choose_histories(found.histories, bind)}
        total, first = len(plan.steps), 1

        def visit(at: Visit) -> None:
            nonlocal first
            if at.bind not in known:
                return
            actions = plan.of_bind(at.bind).actions
            history = read_history(at.connection, at.bind, at.tables)
            if _differs(history, known[at.bind]):
                raise _Changed
            executor = Executor(at, found.project.graph, history, plan.direction, effects, locks.get(at.bind))
            if actions:
                first += executor.run(actions, first=first, total=total)
            elif fresh:
                end_reading(at.connection)
                executor.recorder.ensure_tables(bookkeeping=False)

        run_environment(self.project.config, self.project.script, visit, **self.options)

    # -- locks ----------------------------------------------------------------------------------

    @contextmanager
    def _locked(self, found: Survey, bind: str | None) -> Iterator[Locks]:
        """Hold the run lock of each chosen bind, on connections of their own; gives them by bind.

        Binds may share a version table: an env.py may visit one database several times.
        """
        taken: dict[tuple[Any, LockName], LockSession] = {}
        locks: dict[str, LockSession] = {}
        with ExitStack() as stack:
            for item in found.binds:
                key = (item.engine.url, item.lock_name)
                if bind not in (None, item.history.bind):
                    continue
                if key not in taken:
                    lock = run_lock(item.adapter, item.engine, item.lock_name, wait_s=self.lock_wait_s)
                    held = stack.enter_context(lock)
                    if not held.taken:
                        raise LockHeld(self._held(found, item, held.session))
                    taken[key] = held.session
                locks[item.history.bind] = taken[key]
            yield locks

    def _held(self, found: Survey, wanted: SurveyedBind, session: LockSession) -> str:
        """Return the message about a lock that somebody else keeps, who may be at work on another bind just now."""
        others = sorted(found.binds, key=lambda item: item is not wanted)
        running = next((row for row in map(_running, others) if row is not None), None)
        if running is not None:
            holder = f" It is process {running.pid} on {running.host}."
        else:
            known = session.holder()
            holder = f" It is {known}." if known else ""
        return (
            f"Another runner is at work on {wanted.history.bind} and did not finish within {self.lock_wait_s:g} s."
            f"{holder} Nothing was executed. Type the same command again, or wait longer: --lock-wait SECONDS"
        )

    # -- changing the records -------------------------------------------------------------------

    def resolve(
        self,
        revision: str,
        phase: str,
        *,
        action: str,
        reason: str | None,
        bind: str | None,
        after: int | None = None,
    ) -> Resolution:
        """Record how to go on with an interrupted step.

        :param after: to resume after so many operations, instead of those that the ledger has.
        :raises UsageError: if it is not interrupted, or on several binds and none is chosen.
        """
        if after is not None and (action != "resume" or after < 0):
            raise UsageError("--after takes the number of operations to pass over, 0 or more, and needs --resume.")
        name = one_revision(self.project, revision)
        found = survey(self.project, **self.options)
        chosen = choose_histories(found.histories, bind)
        interrupted = [item for item in chosen if _is_interrupted(item, name, phase)]
        if not interrupted:
            self.project.phases.index(phase)
            raise UsageError(f"{name} {phase} is not interrupted: nothing to resolve. Look at: flask db status")
        if len(interrupted) > 1:
            names = ", ".join(item.bind for item in interrupted)
            raise UsageError(f"{name} {phase} is interrupted on {names}. Say which: --bind NAME")
        step = Step(interrupted[0].bind, name, phase)
        direction = "upgrade"

        def change(at: Visit, recorder: Recorder) -> None:
            nonlocal direction
            history = read_history(at.connection, at.bind, at.tables)
            abandoned = [row.id for row in recorder.unfinished() if row.id is not None]
            end_reading(at.connection)
            if not _is_interrupted(history, name, phase):
                raise UsageError(f"Another runner has ended {name} {phase} by now: nothing to resolve.")
            record = history.records[(name, phase)]
            undoing = record.status in UNDOING
            direction = "downgrade" if undoing else "upgrade"
            with recorder.connection.begin():
                recorder.record_abandoned(abandoned)
                if action == "resume":
                    place = record.statement if after is None else after
                    part = (record.statements or 0) if after is None else 0
                    recorder.record_status(step, "half-undone" if undoing else "failed", statement=place, part=part)
                elif (action == "mark-done") is not undoing:
                    recorder.record_status(step, "done")
                elif undoing and not self.project.graph[name].downgrade.phased:
                    recorder.forget(name)
                else:
                    recorder.forget(name, phase)
                operation: Operation = "skip" if action == "mark-done" else "resume"
                recorder.insert_execution(operation, name, phase, "done", _with_place(reason, after))

        self._change(found, step.bind, change)
        return Resolution(name, f"flask db {direction} --phase {phase}")

    def skip(self, phase: str | None, *, reason: str | None, bind: str | None) -> Skipped:
        """Record the next pending step, of ``phase`` or of all, without running it.

        :raises NothingPending: if there is none.
        :raises Refused: if an upgrade by that phase would be, or another runner changed what is next.
        :raises UsageError: if several binds have one and none is chosen.
        """
        found = survey(self.project, **self.options)
        plan = one_skip(plan_skips(found.project, found.histories, phase, bind), phase)
        if not any(history.locked for history in found.histories):
            refuse_blocked(plan)
        refuse_unguarded(found.project, plan)
        chosen = plan.actions[0].bind if plan.actions else plan.blocked[0].step.bind
        with self._locked(found, chosen):
            found = survey(self.project, **self.options)
            again = plan_skips(found.project, found.histories, phase, chosen).get(chosen)
            if again is not None:
                refuse_blocked(again)
            if again is None or again.fingerprint != plan.fingerprint:
                raise Refused(_CHANGED, plan=again)
            self._record_skipped(plan, found, reason)
        return _skipped(found, plan, by_phase=phase is not None)

    def _record_skipped(self, plan: Plan, found: Survey, reason: str | None) -> None:
        known = {history.bind: history for history in found.histories}
        bind = plan.actions[0].bind
        effects = Effects(report=lambda _event: None, runner=self.runner)

        def visit(at: Visit) -> None:
            if at.bind == bind:
                executor = Executor(at, found.project.graph, known[bind], "upgrade", effects)
                executor.record_skipped(plan.actions, reason)

        run_environment(self.project.config, self.project.script, visit, **self.options)

    def stamp(self, names: Sequence[str], *, purge: bool, bind: str | None) -> tuple[Step, ...]:
        """Set the version table to ``names`` without running anything, and clear the ledger below them.

        Return the steps of revisions in flight whose records were cleared.
        """
        cleared: list[Step] = []
        graph = self.project.graph
        targets = stamp_targets(self.project, names)
        found = survey(self.project, **self.options)
        for history in choose_histories(found.histories, bind):
            if not purge:
                refuse_ahead(self.project, history)

        def change(at: Visit, recorder: Recorder) -> None:
            recorder.ensure_tables()
            history = read_history(at.connection, at.bind, at.tables)
            heads = history.heads
            end_reading(at.connection)
            with recorder.connection.begin():
                if purge:
                    for head in sorted(heads):
                        recorder.move_pointer(frozenset({head}), frozenset())
                    heads = frozenset()
                after = stamped_heads(graph, heads, targets)
                recorder.move_pointer(heads, after)
                # A purge begins anew: what was in flight is forgotten too. Rows of strangers are never deleted.
                covered = graph.revisions if purge else graph.closure(name for name in after if name in graph)
                cleared.extend(Step(at.bind, *key) for key in sorted(history.records) if key[0] in covered)
                for revision in dict.fromkeys(step.revision for step in cleared if step.bind == at.bind):
                    recorder.forget(revision)
                stamped: list[str | None] = [*sorted(after)]
                for name in stamped or [None]:
                    recorder.insert_execution("stamp", name, None, "done")

        self._change(found, bind, change)
        return tuple(cleared)

    def _change(self, found: Survey, bind: str | None, change: Callable[[Visit, Recorder], None]) -> None:
        """Call ``change`` with each chosen bind's recorder, holding the run locks."""
        check_bind(bind, [item.history.bind for item in found.binds])

        def visit(at: Visit) -> None:
            if bind in (None, at.bind):
                end_reading(at.connection)
                change(at, Recorder(at.connection, at.tables, self.runner))

        with self._locked(found, bind):
            run_environment(self.project.config, self.project.script, visit, **self.options)


_CHANGED = (
    "Nothing was recorded: another runner was at work, and what is pending now is not what was pending when this "
    "command began. Look at: flask db status"
)


def _skipped(found: Survey, plan: Plan, *, by_phase: bool) -> Skipped:
    """Return what the plan of a skip has recorded, and the command that goes on."""
    graph, phases = found.project.graph, found.project.phases
    bind = plan.actions[0].bind
    history = next(item for item in found.histories if item.bind == bind)
    command = next_command(graph, simulate(graph, history, plan.actions), phases, by_phase=by_phase)
    step = next(iter(plan.steps), None)
    return Skipped(
        step=step,
        completed=tuple(name for action in plan.actions for name in action.passes),
        scripts=() if step is None else script_arguments(graph[step.revision].path),
        command=command if len(found.histories) == 1 else f"{command} --bind {bind}",
    )


def _with_place(reason: str | None, after: int | None) -> str | None:
    return reason if after is None else f"--after {after}: {reason or ''}".rstrip(": ")


def _running(item: SurveyedBind) -> Execution | None:
    """Return the newest execution of a bind that has not ended."""
    with item.engine.connect() as connection:
        rows = read_journal(connection, item.tables, running=True, limit=1)
    return rows[0] if rows else None


def _is_interrupted(history: History, name: str, phase: str) -> bool:
    record = history.records.get((name, phase))
    return record is not None and record.status != "done"
