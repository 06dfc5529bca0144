"""What is done, what is pending, in which order, and what blocks it: values and pure functions.

The rules are those of the project's design, sections S1 to S4, S7, S9 and S12, each per bind:

- a step is done when Alembic's version table has passed its revision, or the ledger says so;
- a phase runs only when every earlier phase of the revisions it covers is done or empty;
- a step does not run before a later phase of an ancestor if both touch the same;
- phases up to the boundary never move the version table; later ones move it past every revision that
  is finished, in topological order;
- a plain upgrade goes revision by revision; a downgrade undoes phases backwards.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from ..footprint import Footprint
from ..graph import Graph, Revision
from ..overtaking import OVERLAPS_NAMED, UNKNOWN_NAMED, Overtaking, find_overtakings
from ..phases import Phases, base_bind, body_checksum

Direction = Literal["upgrade", "downgrade"]


@dataclass(frozen=True, order=True)
class Step:
    """One phase of one revision on one bind: the unit that is planned, run and recorded."""

    bind: str
    revision: str
    phase: str

    def __str__(self) -> str:
        return f"{self.bind}: {self.revision} {self.phase}"


@dataclass(frozen=True)
class Record:
    """One row of the ledger: a step of a revision in flight.

    ``status`` is ``done``; ``running`` (began, its end is not recorded) or ``failed`` (stopped after ``statement``
    operations); ``undoing`` and ``half-undone``, the same of a downgrade; ``interrupted`` where the place is not known.
    ``statement`` is the number of the last finished operation of a step that is not one transaction.
    """

    revision: str
    phase: str
    status: str = "done"
    statement: int = 0
    statements: int | None = None
    checksum: str | None = None
    run_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True)
class History:
    """What one bind's tables say.

    ``heads`` are the rows of Alembic's version table, ``records`` the ledger by (revision, phase),
    ``last`` the newest journal status by (revision, phase), ``locked`` whether a runner is at work.
    """

    bind: str
    heads: frozenset[str] = frozenset()
    records: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    last: Mapping[tuple[str, str], str] = field(default_factory=dict)
    locked: bool = False
    dialect: str = ""
    has_version_table: bool = True
    has_bookkeeping: bool = False

    def is_recorded(self, revision: str, phase: str) -> bool:
        """Return whether the ledger has the step as done."""
        record = self.records.get((revision, phase))
        return record is not None and record.status == "done"


@dataclass(frozen=True)
class Action:
    """One transaction of a run.

    ``step`` is what runs, None where only the version table moves. ``passes`` are the revisions whose
    version row is written after it, in order. In a downgrade ``reopens`` is the revision that is taken out
    of the version table first, and ``remains`` its phases that are then recorded as still done. ``skip`` is
    how many operations of the body an earlier run has committed; ``doubtful``, that it ended without a word while it
    may have been at work on the one after these.
    """

    bind: str
    step: Step | None = None
    passes: tuple[str, ...] = ()
    reopens: str | None = None
    remains: tuple[str, ...] = ()
    skip: int = 0
    doubtful: bool = False


@dataclass(frozen=True)
class Blocked:
    """A step that may not run, why, and the command that leads on.

    ``otherwise`` are other ways on, as sentences. ``overtaken`` is the step that has to run first, or may not be
    run before.
    """

    step: Step
    because: str
    command: str | None = None
    missing: tuple[Step, ...] = ()
    interrupted: bool = False
    path: str | None = None
    otherwise: tuple[str, ...] = ()
    overtaken: Step | None = None


@dataclass(frozen=True)
class PlanWarning:
    """Something about a step that runs that a person should look at: it runs before ``overtaken``."""

    step: Step
    overtaken: Step
    because: str

    def __str__(self) -> str:
        return f"{self.step.bind}: {self.because}"


@dataclass(frozen=True)
class Plan:
    """The pending actions in order, what blocks the rest, and what to look at before it is run."""

    direction: Direction
    phase: str | None = None
    actions: tuple[Action, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    warnings: tuple[PlanWarning, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the actions, in order."""
        return tuple(action.step for action in self.actions if action.step is not None)

    @property
    def fingerprint(self) -> str:
        """A name of the plan that several machines agree on: SHA-256 of its steps and moves."""
        words = [self.direction, self.phase, [_as_words(action) for action in self.actions]]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()

    def of_bind(self, bind: str) -> Plan:
        """Return the part of the plan that concerns ``bind``."""
        return replace(
            self,
            actions=tuple(action for action in self.actions if action.bind == bind),
            blocked=tuple(block for block in self.blocked if block.step.bind == bind),
            warnings=tuple(warning for warning in self.warnings if warning.step.bind == bind),
        )


def _as_words(action: Action) -> list[Any]:
    step = action.step
    return [
        action.bind,
        [step.revision, step.phase] if step else None,
        list(action.passes),
        action.reopens,
        list(action.remains),
    ]


def join_plans(plans: Iterable[Plan], *, direction: Direction, phase: str | None) -> Plan:
    """Return one plan of several: their actions, blocks and warnings one after the other."""
    parts = tuple(plans)
    return Plan(
        direction,
        phase,
        tuple(action for part in parts for action in part.actions),
        tuple(block for part in parts for block in part.blocked),
        tuple(warning for part in parts for warning in part.warnings),
    )


# -- what is done ---------------------------------------------------------------------------------


def complete_revisions(graph: Graph, history: History) -> frozenset[str]:
    """Return the revisions that Alembic's version table has passed."""
    return graph.closure(head for head in history.heads if head in graph)


def coded_phases(revision: Revision, bind: str, phases: Phases) -> tuple[str, ...]:
    """Return the phases of the upgrade that have code for ``bind``, in configured order.

    Phases that are no longer configured come last, in the order of the file.
    """
    names = revision.upgrade.phases(bind)
    known = [name for name in phases.names if name in names]
    return tuple(known + [name for name in names if name not in phases.names])


def pending_phases(
    graph: Graph, history: History, phases: Phases, revision: str, complete: Collection[str]
) -> tuple[str, ...]:
    """Return the phases of ``revision`` that have code and are not done."""
    if revision in complete:
        return ()
    return tuple(
        name for name in coded_phases(graph[revision], history.bind, phases) if not history.is_recorded(revision, name)
    )


def in_flight(graph: Graph, history: History) -> tuple[str, ...]:
    """Return the revisions that the ledger knows and the version table has not passed, in order."""
    complete = complete_revisions(graph, history)
    return graph.order({name for name, _ in history.records if name in graph and name not in complete})


def strangers(graph: Graph, history: History) -> tuple[str, ...]:
    """Return the ids in the bind's tables that no revision file has."""
    named = set(history.heads) | {name for name, _ in history.records}
    return tuple(sorted(name for name in named if name not in graph))


def pointer_after(graph: Graph, heads: frozenset[str], revision: str) -> frozenset[str]:
    """Return the version table's rows once it has passed ``revision``."""
    kept = {head for head in heads if head not in graph or not graph.is_ancestor(head, revision)}
    return frozenset(kept | {revision})


def pointer_before(graph: Graph, heads: frozenset[str], revision: str) -> frozenset[str]:
    """Return the version table's rows once ``revision`` has been taken out of it."""
    others = heads - {revision}
    restored: set[str] = set()
    for parent in graph[revision].parents:
        rest = others | (set(graph[revision].parents) - {parent})
        if not any(other in graph and (other == parent or graph.is_ancestor(parent, other)) for other in rest):
            restored.add(parent)
    return frozenset(others | restored)


def stamped_heads(graph: Graph, heads: frozenset[str], targets: Collection[str]) -> frozenset[str]:
    """Return the version table's rows once it is stamped with ``targets``; none of them means base.

    Rows of other lines stay, as Alembic's ``stamp`` leaves them.
    """
    if not targets:
        return frozenset()
    kept = {
        head
        for head in heads
        if not any(
            head not in graph or head == target or graph.is_ancestor(head, target) or graph.is_ancestor(target, head)
            for target in targets
        )
    }
    rows = kept | set(targets)
    return frozenset(row for row in rows if not any(graph.is_ancestor(row, other) for other in rows))


# -- status ---------------------------------------------------------------------------------------

RevisionState = Literal["applied", "in-flight", "pending", "missing"]
PhaseState = Literal["done", "pending", "empty", "running", "failed", "interrupted"]


@dataclass(frozen=True)
class RevisionStatus:
    """The state of one revision on one bind. ``revision`` is None where no file has the id."""

    id: str
    state: RevisionState
    phases: Mapping[str, PhaseState]
    revision: Revision | None = None


@dataclass(frozen=True)
class BindStatus:
    """The state of one bind: its version table's rows, the files' heads, the revisions newest first."""

    name: str
    dialect: str
    current: tuple[str, ...]
    heads: tuple[str, ...]
    revisions: tuple[RevisionStatus, ...]

    def pending(self, phases: Collection[str]) -> tuple[Step, ...]:
        """Return the steps of ``phases`` that are neither done nor empty, oldest revision first."""
        return tuple(
            Step(self.name, row.id, phase)
            for row in reversed(self.revisions)
            if row.revision is not None
            for phase, state in row.phases.items()
            if phase in phases and state not in ("done", "empty")
        )

    def is_complete(self) -> bool:
        """Return whether every revision with a file is applied."""
        return all(row.state in ("applied", "missing") for row in self.revisions)


def bind_status(graph: Graph, history: History, phases: Phases) -> BindStatus:
    """Return the :class:`BindStatus` of a bind; revisions without a file come first, as ``missing``."""
    complete = complete_revisions(graph, history)
    recorded = {name for name, _ in history.records}
    missing = [RevisionStatus(name, "missing", _recorded(history, name)) for name in strangers(graph, history)]
    known = [
        _revision_status(graph[name], history, phases, complete=name in complete, recorded=name in recorded)
        for name in graph.newest_first(graph.revisions)
    ]
    return BindStatus(
        name=history.bind,
        dialect=history.dialect,
        current=tuple(sorted(history.heads)),
        heads=graph.heads,
        revisions=tuple(missing + known),
    )


def _recorded(history: History, name: str) -> Mapping[str, PhaseState]:
    return {phase: _phase_state(history, name, phase) for id_, phase in sorted(history.records) if id_ == name}


def _revision_status(
    revision: Revision, history: History, phases: Phases, *, complete: bool, recorded: bool
) -> RevisionStatus:
    # A file that makes a mistake owes all phases until it is mended: nobody may take it for empty.
    unreadable = revision.upgrade.problem is not None or revision.upgrade.missing
    coded = phases.names if unreadable else coded_phases(revision, history.bind, phases)
    states: dict[str, PhaseState] = {}
    for phase in dict.fromkeys((*phases.names, *coded)):
        if phase not in coded:
            states[phase] = "empty"
        else:
            states[phase] = "done" if complete else _phase_state(history, revision.id, phase)
    state: RevisionState = "applied" if complete else "in-flight" if recorded else "pending"
    return RevisionStatus(revision.id, state, states, revision)


def _phase_state(history: History, name: str, phase: str) -> PhaseState:
    record = history.records.get((name, phase))
    if record is not None and record.status == "done":
        return "done"
    last = record.status if record is not None else history.last.get((name, phase))
    if last in ("running", "undoing") or (record is not None and last == "interrupted" and history.locked):
        return "running" if history.locked else "interrupted"
    if last in ("failed", "half-undone"):
        return "failed"
    return "interrupted" if last == "interrupted" else "pending"


# -- upgrade --------------------------------------------------------------------------------------


def plan_upgrade(
    graph: Graph,
    history: History,
    phases: Phases,
    covered: Collection[str],
    *,
    phase: str | None = None,
    through: bool = False,
    target: str = "head",
    binds: Collection[str] = (),
    footprint_of: Callable[[Step], Footprint] | None = None,
) -> Plan:
    """Return the plan of an upgrade of one bind.

    :param covered: the revisions up to the target; those already complete are left out here.
    :param phase: the phase to run; None for all phases, revision by revision.
    :param through: run every phase up to ``phase``, one after the other.
    :param target: as typed, for the commands that messages propose.
    :param binds: the configured binds, to refuse a body for one that does not exist.
    :param footprint_of: what a step touches; asked only where a step is overtaken. None does not look.
    :raises UsageError: if no phase has that name.
    """
    complete = complete_revisions(graph, history)
    todo = graph.order({name for name in covered if name not in complete})
    blocked = _problems(graph, history, phases, todo, "upgrade", binds)
    blocked += _interrupted(graph, history, todo, "upgrade")
    blocked += _renamed(graph, history, phases, todo)
    if blocked:
        return Plan("upgrade", phase, blocked=tuple(blocked))
    if phase is None:
        return Plan("upgrade", None, tuple(_revision_by_revision(graph, history, phases, todo, complete)))
    names = phases.names[: phases.index(phase) + 1] if through else (phase,)
    actions: list[Action] = []
    warnings: list[PlanWarning] = []
    begin = history
    for name in names:
        part, missing = _one_phase(graph, history, phases, todo, name, target)
        if not missing and footprint_of is not None:
            missing, found = _overtaken(graph, history, phases, todo, name, target, footprint_of, begin)
            warnings += found
        if missing:
            return Plan("upgrade", phase, tuple(actions), tuple(missing), tuple(warnings))
        actions += part
        history = simulate(graph, history, part)
    return Plan("upgrade", phase, tuple(actions), warnings=tuple(warnings))


def _revision_by_revision(
    graph: Graph, history: History, phases: Phases, todo: tuple[str, ...], complete: Collection[str]
) -> list[Action]:
    actions = []
    for name in todo:
        pending = pending_phases(graph, history, phases, name, complete)
        for position, phase in enumerate(pending):
            last = position == len(pending) - 1
            step = Step(history.bind, name, phase)
            passes = (name,) if last else ()
            actions.append(_going_on(history, Action(history.bind, step, passes=passes)))
        if not pending:
            actions.append(Action(history.bind, passes=(name,)))
    return actions


def _one_phase(
    graph: Graph, history: History, phases: Phases, todo: tuple[str, ...], phase: str, target: str
) -> tuple[list[Action], list[Blocked]]:
    complete = set(complete_revisions(graph, history))
    missing = _missing_earlier(graph, history, phases, todo, phase, target)
    if missing:
        return [], missing
    waiting = {name: set(pending_phases(graph, history, phases, name, complete)) for name in todo}
    passing = _Passing(graph, todo, waiting, complete) if phases.moves_pointer(phase) else None
    first = passing.of(todo) if passing else ()
    actions = [Action(history.bind, passes=first)] if first else []
    for name in todo:
        if phase in waiting[name]:
            waiting[name].discard(phase)
            passes = passing.of((name,)) if passing else ()
            step = Step(history.bind, name, phase)
            actions.append(_going_on(history, Action(history.bind, step, passes=passes)))
    return actions, []


def _going_on(history: History, action: Action) -> Action:
    """Return the action, passing over what an earlier run of its step has committed."""
    assert action.step is not None
    record = history.records.get((action.step.revision, action.step.phase))
    if record is None or record.status == "done":
        return action
    return replace(action, skip=record.statement, doubtful=record.status in ("running", "undoing"))


class _Passing:
    """Which revisions the version table passes as the steps of one run are done; each is told once.

    ``waiting`` are the phases that each revision still owes, ``complete`` the revisions passed: a set that
    holds the ancestors of all its members, so that parents are all one has to look at.
    """

    def __init__(
        self, graph: Graph, todo: tuple[str, ...], waiting: Mapping[str, Collection[str]], complete: set[str]
    ) -> None:
        self._graph = graph
        self._waiting = waiting
        self._complete = complete
        self._position = {name: position for position, name in enumerate(todo)}
        self._followers: dict[str, list[str]] = {name: [] for name in todo}
        for name in todo:
            for parent in graph[name].parents:
                if parent in self._followers:
                    self._followers[parent].append(name)

    def of(self, candidates: Iterable[str]) -> tuple[str, ...]:
        """Return those of ``candidates``, and of what follows them, that can be passed now, in order."""
        queue = [(self._position[name], name) for name in candidates]
        heapq.heapify(queue)
        found = []
        while queue:
            _, name = heapq.heappop(queue)
            if self._is_passable(name):
                found.append(name)
                self._complete.add(name)
                for follower in self._followers[name]:
                    heapq.heappush(queue, (self._position[follower], follower))
        return tuple(found)

    def _is_passable(self, name: str) -> bool:
        return (
            name not in self._complete
            and not self._waiting[name]
            and all(parent in self._complete for parent in self._graph[name].parents)
        )


def _missing_earlier(
    graph: Graph, history: History, phases: Phases, todo: tuple[str, ...], phase: str, target: str
) -> list[Blocked]:
    earlier = phases.before(phase)
    complete = complete_revisions(graph, history)
    owed = {name: [q for q in pending_phases(graph, history, phases, name, complete) if q in earlier] for name in todo}
    first = min((phases.index(q) for phases_owed in owed.values() for q in phases_owed), default=None)
    if first is None:
        return []
    command = f"flask db upgrade --phase {phases.names[first]}" + ("" if target == "head" else f" {target}")
    return [
        Blocked(
            Step(history.bind, name, phase),
            because=f"{', '.join(phases_owed)} of {name} has not run",
            command=command,
            missing=tuple(Step(history.bind, name, q) for q in phases_owed),
        )
        for name, phases_owed in owed.items()
        if phases_owed
    ]


def _overtaken(
    graph: Graph,
    history: History,
    phases: Phases,
    todo: tuple[str, ...],
    phase: str,
    target: str,
    footprint_of: Callable[[Step], Footprint],
    begin: History,
) -> tuple[list[Blocked], list[PlanWarning]]:
    """Return a block for each later step of an ancestor that a run of ``phase`` may not overtake, and a warning for
    each of which that is not known.

    :param begin: the history before anything of this plan.
    """
    complete = complete_revisions(graph, history)
    kept = (phase, *phases.after(phase))
    later = {name: [q for q in pending_phases(graph, history, phases, name, complete) if q in kept] for name in todo}
    overlaps, unknown = find_overtakings(
        graph, todo, phase, later, lambda name, q: footprint_of(Step(history.bind, name, q))
    )
    wording = _OvertakingWords(graph, begin, phases, target)
    return (
        [wording.blocked(item, is_last=number == OVERLAPS_NAMED) for number, item in enumerate(overlaps, start=1)],
        [wording.warning(item, is_last=number == UNKNOWN_NAMED) for number, item in enumerate(unknown, start=1)],
    )


@dataclass(frozen=True)
class _OvertakingWords:
    """Says what is wrong with an overtaking step, and what to do."""

    graph: Graph
    history: History
    phases: Phases
    target: str

    def blocked(self, item: Overtaking, *, is_last: bool) -> Blocked:
        (name, phase), (ancestor, later) = item.step, item.overtaken
        both = ", ".join(map(str, item.shares))
        because = f"{phase} of {name} would run before {later} of {ancestor}, and both touch {both}"
        if self._is_owed(name, ancestor):
            because += f". {ancestor} was begun by an earlier run: the previous release still owes its {later}"
        if is_last:
            because += ". There may be more"
        return Blocked(
            Step(self.history.bind, name, phase),
            because=because,
            command=self._finish(ancestor, later),
            otherwise=(
                f"Or release in two steps: {ancestor} with all its phases, and {name} with the next release.",
                f"Or, if either order gives the same result, write into {self.graph[name].path or name}: "
                f'independent_of = ("{ancestor}",)',
            ),
            overtaken=Step(self.history.bind, ancestor, later),
        )

    def warning(self, item: Overtaking, *, is_last: bool) -> PlanWarning:
        (name, phase), (ancestor, later) = item.step, item.overtaken
        more = f"; and {counted(len(item.reasons) - 2, 'reason')} more" if len(item.reasons) > 2 else ""
        because = (
            f"{phase} of {name} runs before {later} of {ancestor}, and whether both touch the same cannot be told: "
            f"{'; '.join(item.reasons[:2])}{more}. If either order gives the same result, write into "
            f'{self.graph[name].path or name}: independent_of = ("{ancestor}",)'
        )
        if is_last:
            because += ". There may be more such pairs"
        bind = self.history.bind
        return PlanWarning(Step(bind, name, phase), Step(bind, ancestor, later), because)

    def _is_owed(self, name: str, ancestor: str) -> bool:
        """Return whether an earlier run than any of ``name`` has done phases of ``ancestor``, by the ledger."""
        begun, own = self._runs(ancestor), self._runs(name)
        return bool(begun) and (not own or (None not in begun | own and begun.isdisjoint(own)))

    def _runs(self, name: str) -> set[str | None]:
        return {
            record.run_id
            for (revision, _), record in self.history.records.items()
            if revision == name and record.status == "done"
        }

    def _finish(self, ancestor: str, later: str) -> str:
        """Return the command that runs a step and what has to run before it."""
        complete = complete_revisions(self.graph, self.history)
        covered = self.graph.closure([ancestor]) - complete
        earlier = self.phases.before(later)
        owed = any(
            q in earlier
            for name in covered
            for q in pending_phases(self.graph, self.history, self.phases, name, complete)
        )
        through = " --through" if owed else ""
        return f"flask db upgrade --phase {later}{through} {_retargeted(self.target, ancestor)}"


def _retargeted(target: str, revision: str) -> str:
    """Return what was typed behind the phase with another revision as the target: ``--bind`` stays."""
    words = target.split()
    return " ".join([*words[:2], revision]) if words[:1] == ["--bind"] else revision


def _problems(
    graph: Graph,
    history: History,
    phases: Phases,
    todo: tuple[str, ...],
    direction: Direction,
    binds: Collection[str],
    *,
    by_phase: bool = False,
) -> list[Blocked]:
    """Return a block for each revision whose file makes a mistake.

    A plain downgrade undoes phases that are no longer configured as well; by phase they have no place.
    """
    found = []
    for name in todo:
        revision = graph[name]
        problem = _problem(revision, direction, binds)
        if problem is None and (direction == "upgrade" or by_phase):
            problem = _unknown_phase(revision, phases, direction)
        if problem is not None:
            found.append(
                Blocked(
                    Step(history.bind, name, phases.default), because=f"{revision.path}: {problem}", path=revision.path
                )
            )
    return found


def _problem(revision: Revision, direction: Direction, binds: Collection[str]) -> str | None:
    bodies = revision.upgrade if direction == "upgrade" else revision.downgrade
    if direction == "upgrade" and revision.independence_problem is not None:
        return revision.independence_problem
    if bodies.problem is not None:
        return bodies.problem + "."
    if bodies.missing:
        return f"there is no {direction}() in the file, so it cannot be {direction}d."
    for body in bodies.parts:
        if binds and body.bind is not None and body.bind not in {base_bind(name) for name in binds}:
            return (
                f"its function for phase '{body.phase}' is for the bind '{body.bind}', but the binds are: "
                f'{", ".join(sorted(binds))}. Write bind="NAME" beside the phase.'
            )
    return None


def _unknown_phase(revision: Revision, phases: Phases, direction: Direction) -> str | None:
    both = (revision.upgrade,) if direction == "upgrade" else (revision.upgrade, revision.downgrade)
    for bodies in both:
        for name in (*bodies.named, *(body.phase for body in bodies.parts)):
            if name not in phases.names:
                return f"it names the phase '{name}', but the phases are: {', '.join(phases.names)} (MIGRATE_PHASES)."
    return None


def _renamed(graph: Graph, history: History, phases: Phases, todo: Collection[str]) -> list[Blocked]:
    """Return a block for each step in the ledger that may be code of its file under another name.

    That code would run a second time in an upgrade, and never be undone in a downgrade.
    """
    found = []
    for name, phase in sorted(history.records):
        if name not in todo or not history.is_recorded(name, phase):
            continue
        revision = graph[name]
        named = {body.phase for body in (*revision.upgrade.parts, *revision.downgrade.parts)}
        if phase in named or not revision.upgrade.parts or (revision.upgrade.phased and phase in phases.names):
            continue
        found.append(
            Blocked(
                Step(history.bind, name, phase),
                because=f"{revision.path}: phase '{phase}' of {name} is done, but no part of the file has that phase "
                "now, so what is done cannot be told from what is not. Give the phase its old name, in the file or in "
                "MIGRATE_PHASES and MIGRATE_DEFAULT_PHASE, until the revision is complete.",
                path=revision.path,
            )
        )
    return found


def _how_it_ended(record: Record, direction: Direction) -> str:
    began = f" at {record.started_at:%Y-%m-%d %H:%M:%S}Z" if record.started_at else ""
    undoing = record.status in UNDOING
    words = f"{'the downgrade of ' if undoing else ''}{record.revision} {record.phase} began{began} and "
    if undoing and direction == "upgrade":
        return f"{words}never ended"
    if record.status not in ("failed", "half-undone"):
        return f"{words}never ended" + (", and part of it is in the database" if record.status == "interrupted" else "")
    committed = (
        f"its first {counted(record.statement, 'operation')} {'is' if record.statement == 1 else 'are'} committed"
    )
    changed = ", and the revision file was changed since" if undoing is (direction == "downgrade") else ""
    return f"{words}failed half-way: {committed}{changed}"


def resolve_choices(revision: str, phase: str, statement: int = 0, *, direction: Direction = "upgrade") -> str:
    """Return the ways on with a step whose end is not known, as the text after ``Next:``.

    :param statement: how many operations of its body are known to be committed.
    :param direction: what did not end.
    """
    command = f"flask db resolve {revision} {phase}"
    if direction == "downgrade":
        return (
            "look at the database, then one of\n"
            f"  {command} --resume --reason TEXT      passes over the first {counted(statement, 'operation')} of the "
            "downgrade\n"
            f"  {command} --restart --reason TEXT     counts it as done: restore it by hand first, then undo it\n"
            f"  {command} --mark-done --reason TEXT   counts it as undone: finish that by hand first"
        )
    return (
        "look at the database, then one of\n"
        f"  {command} --resume --reason TEXT      passes over the first {counted(statement, 'operation')} of the body\n"
        f"  {command} --resume --after N --reason TEXT   passes over the first N: those you found done\n"
        f"  {command} --restart --reason TEXT     runs all of it again: undo its traces yourself first\n"
        f"  {command} --mark-done --reason TEXT   runs nothing: finish it by hand first"
    )


def counted(number: int, noun: str) -> str:
    """Return a number and a noun in the plural where it takes one: ``2 steps``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _interrupted(graph: Graph, history: History, todo: Collection[str], direction: Direction) -> list[Blocked]:
    """Return a block for each covered step that began, did not end, and cannot go on in this direction.

    An upgrade goes on with what an upgrade began and a downgrade with what a downgrade began, if the place is known
    or can be told from the database, and the body is the same.
    """
    found = []
    for (name, phase), record in sorted(history.records.items(), key=lambda item: item[0]):
        if name not in todo or record.status == "done":
            continue
        if not _resumable(graph[name], history.bind, record, direction):
            undoing: Direction = "downgrade" if record.status in UNDOING else "upgrade"
            found.append(
                Blocked(
                    Step(history.bind, name, phase),
                    because=_how_it_ended(record, direction),
                    command=resolve_choices(name, phase, record.statement, direction=undoing),
                    interrupted=True,
                    path=graph[name].path,
                )
            )
    return found


UNDOING = ("undoing", "half-undone")


def _resumable(revision: Revision, bind: str, record: Record, direction: Direction) -> bool:
    """Return whether a half-done step can go on: it went this way, its place is known, its body is unchanged."""
    if (record.status in UNDOING) is not (direction == "downgrade") or record.status == "interrupted":
        return False
    bodies = revision.upgrade if direction == "upgrade" else revision.downgrade
    try:
        body = bodies.body(bind, record.phase)
    except KeyError:
        return False
    if record.checksum is None:
        return record.status in ("failed", "half-undone")
    return record.checksum == body_checksum(body)


def simulate(graph: Graph, history: History, actions: Iterable[Action], *, direction: Direction = "upgrade") -> History:
    """Return the history as it will be once ``actions`` have run."""
    heads = history.heads
    rows: dict[str, dict[str, Record]] = {}
    for (name, phase), record in history.records.items():
        rows.setdefault(name, {})[phase] = record
    for action in actions:
        if action.reopens is not None:
            heads = pointer_before(graph, heads, action.reopens)
            rows[action.reopens] = {phase: Record(action.reopens, phase) for phase in action.remains}
        if action.step is not None:
            own = rows.setdefault(action.step.revision, {})
            own.pop(action.step.phase, None)
            if direction == "downgrade" and not graph[action.step.revision].downgrade.phased:
                own.clear()
            if direction == "upgrade":
                own[action.step.phase] = Record(action.step.revision, action.step.phase)
        for name in action.passes:
            heads = pointer_after(graph, heads, name)
            rows.pop(name, None)
    records = {(name, phase): record for name, own in rows.items() for phase, record in own.items()}
    return replace(history, heads=heads, records=records)


# -- downgrade ------------------------------------------------------------------------------------


def plan_downgrade(
    graph: Graph,
    history: History,
    phases: Phases,
    undone: Collection[str],
    *,
    phase: str | None = None,
    target: str = "-1",
    binds: Collection[str] = (),
) -> Plan:
    """Return the plan of a downgrade of one bind.

    :param undone: the revisions after the target, complete or in flight.
    :param phase: the phase to undo; None undoes everything that is recorded.
    :raises UsageError: if no phase has that name.
    """
    complete = complete_revisions(graph, history)
    recorded = {name for name, _ in history.records}
    todo = graph.newest_first({name for name in undone if name in complete or name in recorded})
    in_flight_only = [name for name in todo if name not in complete]
    blocked = _problems(graph, history, phases, todo, "downgrade", binds, by_phase=phase is not None)
    blocked += _interrupted(graph, history, in_flight_only, "downgrade")
    blocked += _renamed(graph, history, phases, in_flight_only)
    done = {name: _done_phases(graph[name], history, phases, complete=name in complete) for name in todo}
    if phase is not None:
        blocked += _later_done(history, phases, done, phase, target)
    blocked += _undivided(graph, history, phases, done, phase, complete, target)
    if blocked:
        return Plan("downgrade", phase, blocked=tuple(blocked))
    reopened = _reopened(graph, phases, done, phase, complete)
    actions: list[Action] = []
    for name in todo:
        if name in complete and name not in reopened:
            continue
        if phase is None and name in complete and not graph[name].downgrade.phased:
            actions.append(_undo_whole(graph[name], history.bind, tuple(done.get(name, ()))))
        elif (begun := _begun_as_a_whole(graph[name], history)) is not None:
            actions.append(_going_on(history, Action(history.bind, begun)))
        else:
            undone_now = _undo(history.bind, name, done[name], phase, complete=name in complete)
            actions += [_going_on(history, action) if action.step else action for action in undone_now]
    return Plan("downgrade", phase, tuple(actions))


def _begun_as_a_whole(revision: Revision, history: History) -> Step | None:
    """Return the step of an undivided ``downgrade()`` that began and did not end, of a revision in flight."""
    if revision.downgrade.phased:
        return None
    for phase in revision.downgrade.phases(history.bind):
        record = history.records.get((revision.id, phase))
        if record is not None and record.status in UNDOING:
            return Step(history.bind, revision.id, phase)
    return None


def _done_phases(revision: Revision, history: History, phases: Phases, *, complete: bool) -> tuple[str, ...]:
    """Return the phases of ``revision`` that a downgrade has to undo, first phase first.

    In flight, what is recorded. Of a complete revision every phase is done, so also one for which only the
    downgrade has code, unless that is undivided and the upgrade is not.
    """
    bind = history.bind
    if complete:
        names = set(revision.upgrade.phases(bind))
        if revision.downgrade.phased or not revision.upgrade.phased:
            names |= set(revision.downgrade.phases(bind))
    else:
        names = {
            phase
            for (name, phase), record in history.records.items()
            if name == revision.id and record.status in ("done", *UNDOING)
        }
    known = tuple(name for name in phases.names if name in names)
    return known + tuple(sorted(names.difference(known)))


def _later_done(
    history: History, phases: Phases, done: Mapping[str, tuple[str, ...]], phase: str, target: str
) -> list[Blocked]:
    later = phases.after(phase)
    owed = {name: [q for q in found if q in later] for name, found in done.items()}
    last = max((phases.index(q) for found in owed.values() for q in found), default=None)
    if last is None:
        return []
    command = f"flask db downgrade --phase {phases.names[last]} {target}"
    return [
        Blocked(
            Step(history.bind, name, phase),
            because=f"{', '.join(found)} of {name} has not been undone",
            command=command,
            missing=tuple(Step(history.bind, name, q) for q in found),
        )
        for name, found in owed.items()
        if found
    ]


def _undivided(
    graph: Graph,
    history: History,
    phases: Phases,
    done: Mapping[str, tuple[str, ...]],
    phase: str | None,
    complete: Collection[str],
    target: str,
) -> list[Blocked]:
    """Return a block where an undivided ``downgrade()`` of a phased revision would have to run in part."""
    found = []
    for name, done_phases in done.items():
        revision = graph[name]
        if not revision.upgrade.phased or revision.downgrade.phased or not revision.downgrade.parts:
            continue
        if not done_phases or (phase is None and name in complete) or _begun_as_a_whole(revision, history):
            continue
        if name in complete:
            command = f"flask db downgrade {target}"
        else:
            pending = pending_phases(graph, history, phases, name, complete)
            command = f"flask db upgrade --phase {(pending or phases.after(phases.boundary))[0]} {name}"
        found.append(
            Blocked(
                Step(history.bind, name, phase or done_phases[-1]),
                because=f"{revision.path}: its downgrade() is not divided into phases, so it runs only as a "
                "whole, when the revision is complete.",
                command=command,
                path=revision.path,
            )
        )
    return found


def _reopened(
    graph: Graph, phases: Phases, done: Mapping[str, tuple[str, ...]], phase: str | None, complete: Collection[str]
) -> set[str]:
    """Return the complete revisions that leave the version table.

    Those that were not in it before the upgrade by ``phase``: their own, or an ancestor's, work is undone.
    The first phase after the boundary is the first that moves the version table, so undoing it takes
    all of them out: the old code must find its revision there. ``done`` has the newest revision first,
    and with a revision everything that needs it.
    """
    if phase is None or phase not in phases.after(phases.boundary)[1:]:
        return {name for name in done if name in complete}
    reopened: set[str] = set()
    for name in reversed(tuple(done)):
        if name in complete and (phase in done[name] or not reopened.isdisjoint(graph[name].parents)):
            reopened.add(name)
    return reopened


def _undo_whole(revision: Revision, bind: str, done: tuple[str, ...]) -> Action:
    """Return the one action that undoes a complete revision with an undivided ``downgrade()``.

    Its other phases are recorded as done until it has ended: if it fails, the revision can be completed again.
    """
    phases = revision.downgrade.phases(bind)
    step = Step(bind, revision.id, phases[0]) if phases else None
    others = tuple(phase for phase in done if step is not None and phase != step.phase)
    return Action(bind, step, reopens=revision.id, remains=others)


def _undo(bind: str, name: str, done: tuple[str, ...], phase: str | None, *, complete: bool) -> list[Action]:
    """Return the actions that undo ``phase``, or all phases, of ``name``, the last phase first.

    The first of them takes a complete revision out of the version table.
    """
    left = list(done)
    actions: list[Action] = []
    for q in reversed(done):
        if phase is not None and q != phase:
            continue
        left.remove(q)
        first = complete and not actions
        actions.append(
            Action(bind, Step(bind, name, q), reopens=name if first else None, remains=tuple(left) if first else ())
        )
    if complete and not actions:
        actions.append(Action(bind, reopens=name, remains=tuple(left)))
    return actions
