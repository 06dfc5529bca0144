"""The migration data: the SQL of each revision by phase, for tools that run it piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """Return the data of each revision that ``statements`` (of :meth:`Exporter.export_all`) come from."""
    by_revision: dict[str, list[Statement]] = {}
    for statement in statements:
        if statement.revision is not None and statement.kind not in ("begin", "commit", "marker"):
            by_revision.setdefault(statement.revision, []).append(statement)
    return tuple(
        MigrationData(
            graph[name], attributes(graph[name]), _phase_steps(graph[name], found, phases, bind, dialect_name, folder)
        )
        for name, found in by_revision.items()
    )


def _phase_steps(
    revision: Revision, statements: Sequence[Statement], phases: Phases, bind: str, dialect_name: str, folder: Path
) -> dict[str, tuple[Mapping[str, str], ...]]:
    coded = coded_phases(revision, bind, phases)
    first = coded[0] if coded else phases.default
    grouped: dict[str, list[Statement]] = {name: [] for name in dict.fromkeys((*phases.names, *coded)) if name in coded}
    for statement in statements:
        grouped.setdefault(statement.phase or first, []).append(statement)
    order = {name: position for position, name in enumerate((*phases.names, *coded))}
    return {
        name: _steps(grouped[name], dialect_name, folder)
        for name in sorted(grouped, key=lambda item: order.get(item, len(order)))
        if grouped[name]
    }


def _steps(statements: Sequence[Statement], dialect_name: str, folder: Path) -> tuple[Mapping[str, str], ...]:
    steps: list[Mapping[str, str]] = []
    gathered: list[Statement] = []

    def flush() -> None:
        if gathered:
            steps.append({"type": dialect_name, "script": render_sql(gathered).strip()})
            gathered.clear()

    for statement in statements:
        if statement.kind == "script" and statement.path is not None:
            flush()
            text = resolve_script(folder, statement.path).read_bytes().decode("utf-8", "surrogateescape")
            steps.append({"type": script_type(statement.path), "script": text, "path": statement.path})
        else:
            gathered.append(statement)
    flush()
    return tuple(steps)


_SCRIPT_TYPES = {".py": "python", ".sh": "sh", ".pl": "perl", ".sql": "sql", ".rb": "ruby", ".js": "javascript"}


def script_type(path: str) -> str:
    """Return the kind of program a path's ending names, ``unknown`` where it names none."""
    return _SCRIPT_TYPES.get(Path(path).suffix.lower(), "unknown")
