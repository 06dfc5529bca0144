"""Revision files that cannot be planned: a mistake in one, or a phase that is not in it any more (S15)."""

from __future__ import annotations

from collections.abc import Collection

from ..graph import Graph, Revision
from ..phases import Phases, base_bind
from .values import Blocked, Direction, History, Step


def file_problems(
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


def renamed_phases(graph: Graph, history: History, phases: Phases, todo: Collection[str]) -> list[Blocked]:
    """Return a block for each step in the ledger that may be code of its file under another name.

    That code would run a second time in an upgrade, and never be undone in a downgrade.
    """
    found = []
    covered = frozenset(todo)
    for name, phase in sorted(history.records):
        if name not in covered or not history.is_recorded(name, phase):
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
