"""The heads of the files and the rows of the version table, and how far they are apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..plan import complete_revisions
from .overview import bind_option
from .state import BindState


@dataclass(frozen=True)
class Head:
    """A revision that nothing revises. ``behind`` is how many revisions the database lacks of its line; None: unknown.

    ``size`` is how many there are in its line.
    """

    revision: str
    message: str
    labels: tuple[str, ...]
    size: int
    behind: int | None


@dataclass(frozen=True)
class Current:
    """A row of the version table. ``has_file`` is False where the database is ahead of the code.

    ``behind`` is how many revisions of the files come after it.
    """

    revision: str
    message: str
    has_file: bool
    is_head: bool
    behind: int | None


@dataclass(frozen=True)
class HeadsPage:
    """Heads and current revisions of a bind; ``current`` is None where the database does not answer."""

    bind: str
    heads: tuple[Head, ...]
    current: tuple[Current, ...] | None
    commands: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin."""
        current = None if self.current is None else [asdict(item) for item in self.current]
        items = [{**asdict(head), "labels": list(head.labels)} for head in self.heads]
        return {"bind": self.bind, "items": items, "current": current, "commands": list(self.commands)}


def show_heads(state: BindState) -> HeadsPage:
    """Return the heads of the files and where the bind's database is."""
    graph, history = state.files.graph, state.history
    complete = None if history is None else complete_revisions(graph, history)
    heads = []
    for name in graph.heads:
        line = graph.closure([name])
        behind = None if complete is None else len(line - complete)
        heads.append(Head(name, graph[name].message, graph[name].labels, len(line), behind))
    current = None if history is None else tuple(_current(state, name) for name in sorted(history.heads))
    return HeadsPage(state.bind, tuple(heads), current, tuple(_commands(state, heads)))


def _current(state: BindState, name: str) -> Current:
    graph = state.files.graph
    if name not in graph:
        return Current(name, "", False, False, None)
    behind = sum(graph.is_ancestor(name, other) for other in graph.revisions)
    return Current(name, graph[name].message, True, name in graph.heads, behind)


def _commands(state: BindState, heads: list[Head]) -> list[str]:
    found = []
    if len(heads) > 1:
        found.append('flask db merge heads -m "merge the heads"')
    if any(head.behind for head in heads):
        phase = state.files.phases.names[0]
        target = " heads" if len(heads) > 1 else ""
        found.append(f"flask db upgrade --phase {phase}{bind_option(state.files, state.bind)}{target}")
    return found
