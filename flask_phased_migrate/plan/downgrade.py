"""The plan of a downgrade: one phase, or all that is recorded, backwards (S9)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..graph import Graph, Revision
from ..phases import Phases
from .history import complete_revisions, pending_phases
from .interrupted import going_on, interrupted_steps
from .unplannable import file_problems, renamed_phases
from .values import UNDOING, Action, Blocked, History, Plan, Step


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
    todo = graph.newest_first({name for name in undone if name in complete or name in history.ledger})
    in_flight_only = [name for name in todo if name not in complete]
    blocked = file_problems(graph, history, phases, todo, "downgrade", binds, by_phase=phase is not None)
    blocked += interrupted_steps(graph, history, in_flight_only, "downgrade")
    blocked += renamed_phases(graph, history, phases, in_flight_only)
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
            actions.append(going_on(history, Action(history.bind, begun)))
        else:
            undone_now = _undo(history.bind, name, done[name], phase, complete=name in complete)
            actions += [going_on(history, action) if action.step else action for action in undone_now]
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
        own = history.ledger.get(revision.id, {})
        names = {phase for phase, record in own.items() if record.status in ("done", *UNDOING)}
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
