"""The state of each revision and of each of its phases on one bind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from ..graph import Graph, Revision
from ..phases import Phases
from .history import coded_phases, complete_revisions, strangers
from .values import History, Step

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
    missing = [RevisionStatus(name, "missing", _recorded(history, name)) for name in strangers(graph, history)]
    known = [
        _revision_status(graph[name], history, phases, complete=name in complete, recorded=name in history.ledger)
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
    return {phase: _phase_state(history, name, phase) for phase in sorted(history.ledger.get(name, {}))}


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
