"""One revision: where it stands, its state on every bind, what it does, and its SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..graph import Revision
from .executions import Redact, execution_json
from .files import Files, created_at, read_source
from .overview import bind_option
from .source import Examination, Preview, Wanted
from .state import BindState, Row, describe, phases_of

if TYPE_CHECKING:
    from ..lint import Finding
    from ..recorder import Execution

DIALECTS = ("postgresql", "mysql", "mariadb", "sqlite", "mssql", "oracle")


@dataclass(frozen=True)
class BindRow:
    """The state of a page's revision on one bind; ``row`` is None where the bind does not know the id."""

    bind: str
    row: Row | None
    executions: tuple[Execution, ...] = ()


@dataclass(frozen=True)
class RevisionPage:
    """Everything about one revision. Without a file, ``revision``, ``path`` and ``source`` are None.

    ``source`` is also None where the file cannot be read; ``cut`` says that it is longer than shown. ``newer`` and
    ``older`` are its neighbours in the list; ``coded`` the phases that have code on the chosen bind.
    """

    id: str
    revision: Revision | None
    columns: tuple[str, ...]
    binds: tuple[BindRow, ...]
    examination: Examination
    coded: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    newer: str | None = None
    older: str | None = None
    path: str | None = None
    source: str | None = None
    cut: bool = False

    @property
    def is_running(self) -> bool:
        """Whether a step of it runs now."""
        return any(known.row is not None and "running" in known.row.phases.values() for known in self.binds)

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin."""
        created = None if self.revision is None else created_at(self.revision)
        return {
            **describe(self.revision or Revision(self.id), self.children),
            "file": self.revision is not None,
            "path": self.path,
            "doc": None if self.revision is None else self.revision.doc,
            "created": None if created is None else created.isoformat(),
            "flags": list(self.flags),
            "newer": self.newer,
            "older": self.older,
            "binds": [_bind_json(known, known.row) for known in self.binds if known.row is not None],
            **examination_json(self.examination),
            "source": self.source,
        }


def _bind_json(known: BindRow, row: Row) -> dict[str, Any]:
    described = row.as_json()
    kept = {name: described[name] for name in ("state", "phases", "finished_at")}
    return {"name": known.bind, **kept, "executions": [execution_json(item) for item in known.executions]}


def examination_json(found: Examination) -> dict[str, Any]:
    """Return what a revision does and the linter says, as JSON values."""
    return {
        "operations": [asdict(operation) for operation in found.operations],
        "findings": [asdict(finding) for finding in found.findings],
        "assured": [asdict(finding) for finding in found.assured],
        "examined": {
            "target": found.target,
            "before": found.before,
            "left_out": found.left_out,
            "available": found.reason is None,
            "reason": found.reason,
        },
    }


def show_revision(
    files: Files, name: str, binds: Iterable[BindRow], examination: Examination, redact: Redact
) -> RevisionPage:
    """Return the page of the revision ``name``: an id of the files or of a database."""
    known = tuple(binds)
    columns = phases_of(files, [item.row for item in known if item.row is not None])
    if name not in files.graph:
        return RevisionPage(name, None, columns, known, examination, flags=("file missing",))
    revision = files.graph[name]
    source, cut = read_source(revision)
    place = files.position[name]
    row = next((item.row for item in known if item.row is not None), None)
    return RevisionPage(
        name,
        revision,
        columns,
        known,
        _redacted(examination, redact),
        coded=_coded(columns, row),
        children=files.graph.children[name],
        flags=() if row is None else row.flags,
        newer=files.order[place - 1] if place else None,
        older=files.order[place + 1] if place + 1 < len(files.order) else None,
        path=files.path_of(revision),
        source=None if source is None else redact(source),
        cut=cut,
    )


def _coded(columns: tuple[str, ...], row: Row | None) -> tuple[str, ...]:
    return () if row is None else tuple(phase for phase in columns if row.phases.get(phase, "empty") != "empty")


def _redacted(found: Examination, redact: Redact) -> Examination:
    return replace(
        found,
        operations=tuple(replace(item, text=redact(item.text)) for item in found.operations),
        findings=tuple(_redacted_finding(item, redact) for item in found.findings),
        assured=tuple(_redacted_finding(item, redact) for item in found.assured),
        reason=None if found.reason is None else redact(found.reason),
    )


def _redacted_finding(finding: Finding, redact: Redact) -> Finding:
    def clean(text: str | None) -> str | None:
        return None if text is None else redact(text)

    return replace(
        finding,
        message=redact(finding.message),
        statement=clean(finding.statement),
        rewrite=clean(finding.rewrite),
        reason=clean(finding.reason),
        path=redact(finding.path),
    )


# -- SQL --------------------------------------------------------------------------------------------


def state_row(state: BindState, name: str) -> Row | None:
    """Return the row of a revision on a bind; where the state is unknown, of any id."""
    found = state.row(name)
    if found is None and state.history is None:
        return Row(name, "unknown", {})
    return found


@dataclass(frozen=True)
class SqlPage:
    """The SQL of one step, and the phases that have some in that direction."""

    wanted: Wanted
    phases: tuple[str, ...]
    preview: Preview
    command: str

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin."""
        return {
            "bind": self.wanted.bind,
            "revision": self.wanted.revision,
            "phase": self.wanted.phase,
            "direction": self.wanted.direction,
            "dialect": self.preview.dialect,
            "phases": list(self.phases),
            "available": self.preview.reason is None,
            "reason": self.preview.reason,
            "command": self.command,
            "items": [asdict(piece) for piece in self.preview.pieces],
            "sql": self.preview.sql if self.preview.reason is None else None,
        }


def coded_in(files: Files, wanted: Wanted) -> tuple[str, ...]:
    """Return the phases that have code in a direction, in the order in which they run."""
    revision = files.graph[wanted.revision]
    bodies = revision.upgrade if wanted.direction == "upgrade" else revision.downgrade
    named = bodies.phases(wanted.bind)
    known = [name for name in files.phases.names if name in named]
    known += [name for name in named if name not in files.phases.names]
    return tuple(known if wanted.direction == "upgrade" else reversed(known))


def show_sql(files: Files, wanted: Wanted, preview: Preview, redact: Redact) -> SqlPage:
    """Return the page of the SQL of a step."""
    pieces = tuple(replace(piece, text=redact(piece.text)) for piece in preview.pieces)
    reason = None if preview.reason is None else redact(preview.reason)
    undo = " --downgrade" if wanted.direction == "downgrade" else ""
    down = files.graph[wanted.revision].down
    start = down[0] if len(down) == 1 else "base"
    ends = f"{wanted.revision}:{start}" if undo else f"{start}:{wanted.revision}"
    return SqlPage(
        wanted,
        coded_in(files, wanted),
        replace(preview, pieces=pieces, reason=reason),
        f"flask db sql {ends} --phase {wanted.phase}{undo}{bind_option(files, wanted.bind)}",
    )
