"""The revision files as the pages see them: the graph, with what every page derives from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ..graph import Graph, Revision
from ..lanes import Row, lay_out
from ..phases import DEFAULT_BIND, Phases

SOURCE_LIMIT = 100_000


@dataclass(frozen=True)
class Files:
    """The revision files at one moment. What is derived is worked out once and kept.

    ``binds`` are the names of the binds, at least one, the main one first; ``folder`` is the migrations folder.
    ``project`` is what the source keeps with them; the pages do not look at it. ``kept`` is the last state of each bind
    on these files.
    """

    graph: Graph = field(default_factory=Graph)
    phases: Phases = field(default_factory=Phases)
    binds: tuple[str, ...] = (DEFAULT_BIND,)
    folder: str = ""
    project: Any = field(default=None, compare=False, repr=False)
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The ids, newest first."""
        return self.graph.newest_first(self.graph.revisions)

    @cached_property
    def position(self) -> Mapping[str, int]:
        """The place of each id in the order, from 0."""
        return {name: place for place, name in enumerate(self.order)}

    @cached_property
    def lanes(self) -> tuple[Row, ...]:
        """The rows of the drawn graph, in the same order."""
        return lay_out(self.graph[name] for name in self.order)

    @cached_property
    def width(self) -> int:
        """How many lanes the whole drawing has."""
        return max((row.width for row in self.lanes), default=0)

    @cached_property
    def branches(self) -> Mapping[str, frozenset[str]]:
        """For each branch label the ids of its line: what has it, what comes from that, and what leads only there."""
        found: dict[str, set[str]] = {}
        for revision in self.graph.revisions.values():
            for label in revision.labels:
                found.setdefault(label, set()).update(self._line_of(revision))
        return {label: frozenset(found[label]) for label in sorted(found)}

    def _line_of(self, revision: Revision) -> set[str]:
        children = self.graph.children
        line, waiting = {revision.id}, [revision.id]
        while waiting:
            fresh = [name for name in children[waiting.pop()] if name not in line]
            line.update(fresh)
            waiting += fresh
        below = revision
        while len(below.down) == 1 and len(children[below.down[0]]) == 1:
            below = self.graph[below.down[0]]
            line.add(below.id)
        return line

    def find(self, text: str) -> tuple[str, ...]:
        """Return the ids that ``text`` may mean: itself if there is such an id, else those that begin with it."""
        if text in self.graph:
            return (text,)
        return tuple(name for name in self.graph.revisions if name.startswith(text))

    def path_of(self, revision: Revision) -> str:
        """Return the path of the revision's file, relative to the migrations folder."""
        path = Path(revision.path)
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.name


def created_at(revision: Revision) -> datetime | None:
    """Return the ``Create Date`` in the revision's docstring, as it is written there; None without one."""
    for line in revision.doc.splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "Create Date":
            try:
                return datetime.fromisoformat(rest.strip())
            except ValueError:
                return None
    return None


def read_source(revision: Revision) -> tuple[str | None, bool]:
    """Return the text of a revision's file, None where it cannot be read, and whether it is longer than that."""
    try:
        with Path(revision.path).open(encoding="utf-8", errors="replace") as file:
            text = file.read(SOURCE_LIMIT + 1)
    except OSError:
        return None, False
    return text[:SOURCE_LIMIT], len(text) > SOURCE_LIMIT
