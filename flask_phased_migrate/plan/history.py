"""What is done and what is pending, by one bind's tables, and how the version table moves (S1, S4, S12)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from ..graph import Graph, Revision
from ..phases import Phases
from .values import Action, Direction, History, Record


def complete_revisions(graph: Graph, history: History) -> frozenset[str]:
    """Return the revisions that Alembic's version table has passed."""
    return graph.closure(head for head in history.heads if head in graph)


def is_complete(graph: Graph, heads: frozenset[str], revision: str) -> bool:
    """Return whether a version table with the rows ``heads`` has passed ``revision``."""
    return any(head == revision or (head in graph and graph.is_ancestor(revision, head)) for head in heads)


def coded_phases(revision: Revision, bind: str, phases: Phases, *, undo: bool = False) -> tuple[str, ...]:
    """Return the phases of the upgrade, or of its ``undo``, that have code for ``bind``, in configured order.

    Phases that are no longer configured come last, in the order of the file.
    """
    names = (revision.downgrade if undo else revision.upgrade).phases(bind)
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
    return graph.order({name for name in history.ledger if name in graph and name not in complete})


def strangers(graph: Graph, history: History) -> tuple[str, ...]:
    """Return the ids in the bind's tables that no revision file has."""
    return tuple(sorted(name for name in history.heads | history.ledger.keys() if name not in graph))


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


def simulate(graph: Graph, history: History, actions: Iterable[Action], *, direction: Direction = "upgrade") -> History:
    """Return the history as it will be once ``actions`` have run."""
    heads = history.heads
    rows = {name: dict(own) for name, own in history.ledger.items()}
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
