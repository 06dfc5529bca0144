"""The migration data: the SQL of each revision by phase, for tools that run it piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..graph import Graph, Revision
from ..operations import resolve_script
from ..phases import Phases
from ..plan import coded_phases
from .text import Statement, render_sql


@dataclass(frozen=True)
class MigrationData:
    """The SQL of one revision by phase, for tools that run it piece by piece."""

    revision: Revision
    attributes: Mapping[str, Any] = field(default_factory=dict)
    phases: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return alembic-offline's shape."""
        down = self.revision.down
        return {
            "revision": self.revision.id,
            "down_revision": None if not down else down[0] if len(down) == 1 else down,
            "attributes": dict(self.attributes),
            "phases": {
                name: {"name": name, "steps": [dict(step) for step in steps]} for name, steps in self.phases.items()
            },
            "depends_on": list(self.revision.depends_on),
            "branch_labels": list(self.revision.labels),
        }


def migration_data(
    statements: Iterable[Statement],
    graph: Graph,
    phases: Phases,
    bind: str,
    *,
    dialect_name: str,
    folder: Path,
    attributes: Callable[[Revision], Mapping[str, Any]],
) -> tuple[MigrationData, ...]:
    """Return the data of each revision that ``statements`` (of :meth:`Exporter.export_all`) come from.

    It may be run revision by revision, or one phase of all revisions after the other.
    """
    by_revision: dict[str, list[Statement]] = {}
    for statement in statements:
        if statement.revision is not None and statement.kind not in ("begin", "commit", "marker"):
            by_revision.setdefault(statement.revision, []).append(statement)
    moves = version_phases(graph, phases, bind)
    # The version table has to be there before any revision writes into it.
    earliest = min(moves.values(), key=_position_in(phases), default=phases.default)
    found = []
    for name, own in by_revision.items():
        sorting = _Phases(phases, coded_phases(graph[name], bind, phases), moves[name], earliest)
        steps = sorting.steps(own, dialect_name, folder)
        found.append(MigrationData(graph[name], attributes(graph[name]), steps))
    return tuple(found)


def version_phases(graph: Graph, phases: Phases, bind: str) -> dict[str, str]:
    """Return by revision the phase in which the version table moves past it.

    It is the last one where the revision has phases, else that of its code, and never before that of a parent: a
    row has to be there when it is replaced, in whichever order the data is run.
    """
    found: dict[str, str] = {}
    for name in graph.order(graph.revisions):
        revision = graph[name]
        coded = coded_phases(revision, bind, phases) or (phases.default,)
        own = phases.names[-1] if revision.upgrade.phased and coded[-1] in phases.names else coded[-1]
        found[name] = max((own, *(found[parent] for parent in revision.parents)), key=_position_in(phases))
    return found


def _position_in(phases: Phases) -> Callable[[str], int]:
    """Return what tells a phase's place; one that is no longer configured comes last."""
    positions = {name: number for number, name in enumerate(phases.names)}
    return lambda name: positions.get(name, len(positions))


class _Phases:
    """Puts the statements of one revision into its phases.

    ``move`` is the phase in which the version table moves past it, ``earliest`` that of the first such move of all.
    """

    def __init__(self, phases: Phases, coded: Sequence[str], move: str, earliest: str) -> None:
        self._position = _position_in(phases)
        self._move = move
        self._first = coded[0] if coded else move
        self._table = min(self._first, earliest, key=self._position)

    def steps(
        self, statements: Iterable[Statement], dialect_name: str, folder: Path
    ) -> dict[str, tuple[Mapping[str, str], ...]]:
        """Return the entries of each phase that has any, in the order in which the phases run."""
        grouped: dict[str, list[Statement]] = {}
        for statement in statements:
            grouped.setdefault(self._phase_of(statement), []).append(statement)
        gathered: list[Statement] = []
        found = {
            name: tuple(_steps(grouped[name], gathered, dialect_name, folder))
            for name in sorted(grouped, key=self._position)
        }
        return {name: steps for name, steps in found.items() if steps}

    def _phase_of(self, statement: Statement) -> str:
        if statement.kind != "bookkeeping":
            return statement.phase or self._first
        return self._table if statement.phase is None else self._move


def _steps(
    statements: Iterable[Statement], gathered: list[Statement], dialect_name: str, folder: Path
) -> Iterator[Mapping[str, str]]:
    """Yield the entries of a phase: one for each run of statements between scripts.

    Comments wait in ``gathered`` for a statement: a driver refuses text in which there is none.
    """
    for statement in statements:
        if statement.kind == "script" and statement.path is not None:
            yield from _gathered_step(gathered, dialect_name)
            text = resolve_script(folder, statement.path).read_bytes().decode("utf-8", "surrogateescape")
            yield {"type": script_type(statement.path), "script": text, "path": statement.path}
        else:
            gathered.append(statement)
    yield from _gathered_step(gathered, dialect_name)


def _gathered_step(gathered: list[Statement], dialect_name: str) -> Iterator[Mapping[str, str]]:
    if any(statement.kind != "comment" for statement in gathered):
        yield {"type": dialect_name, "script": render_sql(gathered).strip()}
        gathered.clear()


_SCRIPT_TYPES = {".py": "python", ".sh": "sh", ".pl": "perl", ".sql": "sql", ".rb": "ruby", ".js": "javascript"}


def script_type(path: str) -> str:
    """Return the kind of program a path's ending names, ``unknown`` where it names none."""
    return _SCRIPT_TYPES.get(Path(path).suffix.lower(), "unknown")
