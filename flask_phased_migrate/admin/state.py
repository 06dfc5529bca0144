"""The state of one bind as a page sees it, revision by revision; from the files alone where no database answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

from ..graph import Revision
from ..plan import BindStatus, History, PhaseState, RevisionState, bind_status, coded_phases
from .files import Files, created_at

#: What is shown where the database was asked and did not answer.
Unknown = Literal["unknown"]
UNKNOWN: Unknown = "unknown"

Flag = Literal["head", "base", "merge", "branch point", "depends on", "file missing"]


@dataclass(frozen=True)
class Row:
    """One revision on one bind. ``revision`` is None where no file has the id.

    ``finished`` says of phases when they were last done, in UTC; it is filled in for the rows that a page shows.
    """

    id: str
    state: RevisionState | Unknown
    phases: Mapping[str, PhaseState | Unknown]
    revision: Revision | None = None
    children: tuple[str, ...] = ()
    finished: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What is particular about its place in the graph."""
        if self.revision is None:
            return ("file missing",)
        holds: dict[Flag, bool] = {
            "head": not self.children,
            "base": not self.revision.down,
            "merge": self.revision.is_merge,
            "branch point": len(self.children) > 1,
            "depends on": bool(self.revision.depends_on),
        }
        return tuple(flag for flag, held in holds.items() if held)

    @property
    def message(self) -> str:
        """The first line of the revision's message."""
        return self.revision.message if self.revision is not None else ""

    @property
    def created(self) -> datetime | None:
        """When the file was made, by its own account."""
        return None if self.revision is None else created_at(self.revision)

    @property
    def has_error(self) -> bool:
        """Whether a phase failed or was interrupted."""
        return not {"failed", "interrupted"}.isdisjoint(self.phases.values())

    def as_json(self) -> dict[str, Any]:
        """Return the revision with the keys that ``flask db status --json`` has, and what a page shows besides."""
        return {
            **describe(self.revision or Revision(self.id), self.children),
            "state": self.state,
            "phases": dict(self.phases),
            "finished_at": {phase: as_text(moment) for phase, moment in self.finished.items()},
            "flags": list(self.flags),
            "created": None if self.created is None else self.created.isoformat(),
        }


def describe(revision: Revision, children: tuple[str, ...]) -> dict[str, Any]:
    """Return what JSON says of a revision whatever its state."""
    return {
        "revision": revision.id,
        "down_revision": list(revision.down),
        "depends_on": list(revision.depends_on),
        "branch_labels": list(revision.labels),
        "children": list(children),
        "message": revision.message,
    }


def as_text(moment: datetime) -> str:
    """Return a time in UTC, with a zone or without, as ISO 8601 to the second with Z."""
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return utc.isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class BindState:
    """One bind at one moment; ``history`` is None where its database did not answer."""

    files: Files
    bind: str
    history: History | None = None

    @cached_property
    def status(self) -> BindStatus | None:
        """The state of each revision, newest first; None where it is unknown."""
        if self.history is None:
            return None
        return bind_status(self.files.graph, self.history, self.files.phases)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every revision, newest first; those without a file before them."""
        children = self.files.graph.children
        if self.status is not None:
            return tuple(
                Row(row.id, row.state, row.phases, row.revision, children.get(row.id, ()))
                for row in self.status.revisions
            )
        return tuple(self._unknown(self.files.graph[name]) for name in self.files.order)

    def _unknown(self, revision: Revision) -> Row:
        phases = self.files.phases
        coded = coded_phases(revision, self.bind, phases)
        names = dict.fromkeys((*phases.names, *coded))
        states: dict[str, PhaseState | Unknown] = {name: UNKNOWN if name in coded else "empty" for name in names}
        return Row(revision.id, UNKNOWN, states, revision, self.files.graph.children[revision.id])

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The configured phases, then those that only a revision or the database names."""
        return phases_of(self.files, self.rows)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """The ids that the database has and no file."""
        return tuple(row.id for row in self.rows if row.revision is None)

    def row(self, name: str) -> Row | None:
        """Return the row of one id; None where the bind does not know it."""
        return next((row for row in self.rows if row.id == name), None)

    def find(self, text: str) -> tuple[str, ...]:
        """Return the ids that ``text`` may mean, of files and of the database."""
        if text in self.missing:
            return (text,)
        found = self.files.find(text)
        if found == (text,):
            return found
        return (*(name for name in self.missing if name.startswith(text)), *found)


def state_of(files: Files, bind: str, history: History | None) -> BindState:
    """Return the state of a bind: the one that was worked out before, where its tables say the same as then."""
    known: BindState | None = files.kept.get(bind)
    if known is None or known.history != history:
        known = files.kept[bind] = BindState(files, bind, history)
    return known


def phases_of(files: Files, rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the configured phases, then those that only ``rows`` have."""
    named = (phase for row in rows for phase in row.phases)
    return tuple(dict.fromkeys((*files.phases.names, *named)))


def with_times(rows: Collection[Row], times: Mapping[tuple[str, str], datetime]) -> tuple[Row, ...]:
    """Return the rows with the times of the phases that are done."""
    return tuple(
        replace(
            row,
            finished={
                phase: times[row.id, phase]
                for phase, state in row.phases.items()
                if state == "done" and (row.id, phase) in times
            },
        )
        for row in rows
    )
