"""The plan of an upgrade: by one phase, through several, or revision by revision (S2 to S4)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping

from ..footprint import Footprint
from ..graph import Graph
from ..phases import Phases
from .history import complete_revisions, pending_phases, simulate
from .interrupted import going_on, interrupted_steps
from .overtaken import overtaken_steps
from .unplannable import file_problems, renamed_phases
from .values import Action, Blocked, History, Plan, PlanWarning, Step


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
    blocked = file_problems(graph, history, phases, todo, "upgrade", binds)
    blocked += interrupted_steps(graph, history, todo, "upgrade")
    blocked += renamed_phases(graph, history, phases, todo)
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
            missing, found = overtaken_steps(graph, history, phases, todo, name, target, footprint_of, begin)
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
            actions.append(going_on(history, Action(history.bind, step, passes=passes)))
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
            actions.append(going_on(history, Action(history.bind, step, passes=passes)))
    return actions, []


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
