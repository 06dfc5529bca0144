"""Plans smaller than an upgrade: the one step that a skip records, and what is left of a revision that failed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from .graph import Graph
from .phases import Phases
from .plan import (
    Action,
    Blocked,
    History,
    Plan,
    Step,
    bind_status,
    complete_revisions,
    counted,
    pending_phases,
    plan_upgrade,
)

# -- skip -------------------------------------------------------------------------------------------


def plan_skip(
    graph: Graph, history: History, phases: Phases, *, phase: str | None = None, binds: Collection[str] = ()
) -> Plan:
    """Return the plan of the next pending step of one bind alone, with the moves of the version table around it.

    Where only moves are pending (revisions without code), these. It is blocked where an upgrade by that phase, or
    a plain one, up to the step's revision would be, and where part of the step has run.

    :param phase: the phase of which to take the next step; None for the next in the reference order.
    """
    complete = complete_revisions(graph, history)
    todo = graph.order({name for name in graph.revisions if name not in complete})
    name = next((name for name in todo if _owes(graph, history, phases, name, phase)), None)
    if name is None and phase is not None:
        return Plan("upgrade", phase)
    covered = todo if name is None else graph.closure([name])
    target = "head" if name is None else name
    plan = plan_upgrade(graph, history, phases, covered, phase=phase, target=target, binds=binds)
    if plan.blocked:
        return plan
    actions = _through_first_step(plan.actions)
    blocked = tuple(block for action in actions for block in _half_done(history, action.step))
    return replace(plan, actions=() if blocked else actions, blocked=blocked)


def _owes(graph: Graph, history: History, phases: Phases, name: str, phase: str | None) -> bool:
    """Return whether a step of ``phase``, or of any, is pending; a file that makes a mistake owes them all."""
    bodies = graph[name].upgrade
    if bodies.problem is not None or bodies.missing:
        return True
    pending = pending_phases(graph, history, phases, name, ())
    return bool(pending) if phase is None else phase in pending


def _through_first_step(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    for position, action in enumerate(actions):
        if action.step is not None:
            return actions[: position + 1]
    return actions


def _half_done(history: History, step: Step | None) -> list[Blocked]:
    """Return a block for a step of which an earlier run has committed a part: done it is not."""
    record = None if step is None else history.records.get((step.revision, step.phase))
    if step is None or record is None:
        return []
    resolve = f"flask db resolve {step.revision} {step.phase} --mark-done --reason TEXT"
    return [
        Blocked(
            step,
            because=f"{step.revision} {step.phase} failed half-way: of its body, "
            f"{counted(record.statement, 'operation')} committed",
            command=f"flask db rebuild {step.revision}\n"
            f"Or, once the rest of it was done by hand, look at the database and type: {resolve}",
            interrupted=True,
        )
    ]


def next_command(graph: Graph, history: History, phases: Phases, *, by_phase: bool) -> str:
    """Return the command that goes on from ``history``, without its bind."""
    found = bind_status(graph, history, phases)
    pending = {step.phase for step in found.pending(phases.names)}
    if found.is_complete():
        return "flask db status"
    first = next((name for name in phases.names if name in pending), None)
    return f"flask db upgrade --phase {first}" if by_phase and first is not None else "flask db upgrade"


# -- rebuild ----------------------------------------------------------------------------------------


def failed_phases(graph: Graph, history: History, phases: Phases, name: str) -> tuple[str, ...]:
    """Return the pending phases of a revision that began, and failed or never ended."""
    pending = pending_phases(graph, history, phases, name, complete_revisions(graph, history))
    return tuple(
        phase
        for phase in pending
        if (name, phase) in history.records or history.last.get((name, phase), "done") != "done"
    )


def plan_rebuild(
    graph: Graph,
    history: History,
    phases: Phases,
    name: str,
    *,
    phase: str | None = None,
    target: str = "",
    binds: Collection[str] = (),
) -> Plan:
    """Return the plan of what is left of one revision on one bind, from the phase that failed; empty if none did.

    Steps of other revisions are never in it: where one has to run first, the plan is blocked.

    :param phase: the last phase to run; None for all that are left.
    :param target: the revision as a proposed command has to name it, with its bind.
    """
    target = target or name
    covered = graph.closure([name])
    whole = plan_upgrade(graph, history, phases, covered, target=target, binds=binds)
    if whole.blocked:
        return replace(whole, phase=phase)
    last = phase or phases.names[-1]
    own = [step.phase for step in whole.steps if step.revision == name and _is_up_to(phases, step.phase, last)]
    failed = failed_phases(graph, history, phases, name)
    if not failed or failed[0] not in own:
        return Plan("upgrade", phase)
    foreign: tuple[Step, ...] = ()
    # Up to the last phase asked for the version table moves as well; for the steps themselves less may do.
    for through in dict.fromkeys((last, own[-1])):
        plan = plan_upgrade(graph, history, phases, covered, phase=through, through=True, target=target, binds=binds)
        foreign = tuple(step for step in plan.steps if step.revision != name)
        if plan.blocked:
            return plan
        if not foreign:
            return _joined(plan, name, phase)
    return Plan("upgrade", own[-1], blocked=_others_first(phases, history.bind, name, own, foreign, target))


def _is_up_to(phases: Phases, phase: str, last: str) -> bool:
    return phases.index(phase) <= phases.index(last)


def _joined(plan: Plan, name: str, phase: str | None) -> Plan:
    """Return the plan with moves that follow the last step in that step's own transaction."""
    actions = list(plan.actions)
    while len(actions) > 1 and actions[-1].step is None:
        moved = actions.pop().passes
        actions[-1] = replace(actions[-1], passes=(*actions[-1].passes, *moved))
    whole = any(name in action.passes for action in actions)
    return replace(plan, phase=phase if whole else plan.phase, actions=tuple(actions))


def _others_first(
    phases: Phases, bind: str, name: str, own: list[str], foreign: tuple[Step, ...], target: str
) -> tuple[Blocked, ...]:
    """Return a block for each other revision whose steps come first, and the command that leads on."""
    first = min((step.phase for step in foreign), key=phases.index)
    before = [phase for phase in own if phases.index(phase) < phases.index(first)]
    words, last = ("rebuild", before[-1]) if before else ("upgrade", first)
    command = f"flask db {words} --phase {last} {target}"
    return tuple(
        Blocked(
            Step(bind, name, own[-1]),
            because=f"{', '.join(step.phase for step in foreign if step.revision == other)} of {other} has not run",
            command=command,
            missing=tuple(step for step in foreign if step.revision == other),
        )
        for other in dict.fromkeys(step.revision for step in foreign)
    )
