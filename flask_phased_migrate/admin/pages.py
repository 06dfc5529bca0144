"""What each admin page says, as values: no Flask, no database, no text of a page.

A :class:`Snapshot` is read once per request; :class:`Overview`, :class:`Listing`, :class:`RevisionPage` and
:class:`Health` are computed from it. ``as_json`` of each is the page's JSON twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ..errors import DatabaseUnreachable
from ..graph import Graph, Revision
from ..phases import Phases
from ..plan import BindStatus, PhaseState, RevisionState, coded_phases
from .source import Source

#: What is shown where the database was asked and did not answer.
Unknown = Literal["unknown"]
UNKNOWN: Unknown = "unknown"

Level = Literal["ok", "pending", "running", "failed", "interrupted", "missing", "unknown"]

NEWEST_SHOWN = 10
SOURCE_LIMIT = 100_000


@dataclass(frozen=True)
class Snapshot:
    """What the files and the databases said at one moment.

    ``statuses`` are by bind; a bind whose database does not answer is left out.
    """

    phases: Phases
    graph: Graph
    binds: tuple[str, ...]
    statuses: Mapping[str, BindStatus]
    read_at: datetime

    @property
    def unreachable(self) -> tuple[str, ...]:
        """The binds whose state is unknown."""
        return tuple(bind for bind in self.binds if bind not in self.statuses)

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids that a database has and no file."""
        rows = [row for status in self.statuses.values() for row in status.revisions]
        return tuple(dict.fromkeys(row.id for row in rows if row.revision is None))


def read_snapshot(source: Source, now: datetime, report: Callable[[DatabaseUnreachable], None]) -> Snapshot:
    """Return what ``source`` says now; ``report`` is told of a database that does not answer.

    :raises flask_phased_migrate.errors.MigrateError: if the files cannot be read.
    """
    graph = source.read_graph()
    statuses: tuple[BindStatus, ...] = ()
    try:
        statuses = source.read_statuses()
    except DatabaseUnreachable as error:
        report(error)
    by_name = {status.name: status for status in statuses}
    return Snapshot(source.phases, graph, source.bind_names(), by_name, now)


# -- revisions ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One revision on one bind. ``revision`` is None where no file has the id."""

    id: str
    state: RevisionState | Unknown
    phases: Mapping[str, PhaseState | Unknown]
    revision: Revision | None = None
    children: tuple[str, ...] = ()

    @property
    def is_head(self) -> bool:
        """Whether the revision has a file and no other revises it."""
        return self.revision is not None and not self.children

    def as_json(self) -> dict[str, Any]:
        """Return the revision with the keys that ``flask db status --json`` has, and its children."""
        revision = self.revision or Revision(self.id)
        return {**_describe(revision, self.children), "state": self.state, "phases": dict(self.phases)}


def _describe(revision: Revision, children: tuple[str, ...]) -> dict[str, Any]:
    return {
        "revision": revision.id,
        "down_revision": list(revision.down),
        "depends_on": list(revision.depends_on),
        "branch_labels": list(revision.labels),
        "children": list(children),
        "message": revision.message,
    }


def _all_rows(snapshot: Snapshot, bind: str) -> tuple[Row, ...]:
    """Return every revision of ``bind``, newest first; from the files alone if its state is unknown."""
    children = snapshot.graph.children
    status = snapshot.statuses.get(bind)
    if status is not None:
        return tuple(
            Row(row.id, row.state, row.phases, row.revision, children.get(row.id, ())) for row in status.revisions
        )
    ids = snapshot.graph.newest_first(snapshot.graph.revisions)
    return tuple(_unknown_row(snapshot, snapshot.graph[name], bind) for name in ids)


def _unknown_row(snapshot: Snapshot, revision: Revision, bind: str) -> Row:
    coded = coded_phases(revision, bind, snapshot.phases)
    names = dict.fromkeys((*snapshot.phases.names, *coded))
    phases: dict[str, PhaseState | Unknown] = {name: UNKNOWN if name in coded else "empty" for name in names}
    return Row(revision.id, UNKNOWN, phases, revision, snapshot.graph.children[revision.id])


def _columns(snapshot: Snapshot, rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the configured phases, then those that only a revision or a database names."""
    named = (phase for row in rows for phase in row.phases)
    return tuple(dict.fromkeys((*snapshot.phases.names, *named)))


@dataclass(frozen=True)
class Listing:
    """One page of the revisions of a bind, newest first. ``number`` counts from 1 to ``pages``."""

    bind: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    number: int
    size: int
    total: int

    @property
    def pages(self) -> int:
        """The number of pages, at least 1."""
        return count_pages(self.total, self.size)

    @property
    def first(self) -> int:
        """The position of the first row among all, from 1; 0 if there is none."""
        return (self.number - 1) * self.size + 1 if self.rows else 0

    @property
    def last(self) -> int:
        """The position of the last row among all; 0 if there is none."""
        return (self.number - 1) * self.size + len(self.rows)

    @property
    def next(self) -> int | None:
        """The number of the next, older page."""
        return self.number + 1 if self.number < self.pages else None

    @property
    def previous(self) -> int | None:
        """The number of the previous, newer page."""
        return self.number - 1 if self.number > 1 else None


class NoSuchPage(LookupError):
    """The listing has only ``pages`` pages."""

    def __init__(self, number: int, pages: int) -> None:
        super().__init__(f"There is no page {number}. The pages are 1 to {pages}.")
        self.pages = pages


def count_pages(total: int, size: int) -> int:
    """Return how many pages of ``size`` rows ``total`` rows take, at least 1."""
    return max(1, -(-total // size))


def list_revisions(snapshot: Snapshot, bind: str, *, number: int, size: int) -> Listing:
    """Return page ``number`` of the revisions of ``bind``.

    :raises NoSuchPage: if there are fewer pages.
    """
    rows = _all_rows(snapshot, bind)
    pages = count_pages(len(rows), size)
    if not 1 <= number <= pages:
        raise NoSuchPage(number, pages)
    shown = rows[(number - 1) * size : number * size]
    return Listing(bind, _columns(snapshot, rows), shown, number, size, len(rows))


def find_revisions(snapshot: Snapshot, text: str) -> tuple[str, ...]:
    """Return the ids that ``text`` may mean: itself if there is such an id, else those that begin with it."""
    ids = (*snapshot.missing, *snapshot.graph.revisions)
    if text in ids:
        return (text,)
    return tuple(name for name in ids if name.startswith(text))


@dataclass(frozen=True)
class BindRow:
    """The state of a page's revision on one bind; ``row`` is None where the bind does not know the id."""

    bind: str
    row: Row | None


@dataclass(frozen=True)
class RevisionPage:
    """Everything about one revision. Without a file, ``revision``, ``path`` and ``source`` are None.

    ``source`` is also None where the file cannot be read; ``cut`` says that it is longer than shown.
    """

    id: str
    revision: Revision | None
    columns: tuple[str, ...]
    binds: tuple[BindRow, ...]
    children: tuple[str, ...] = ()
    path: str | None = None
    source: str | None = None
    cut: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin."""
        described = _describe(self.revision or Revision(self.id), self.children)
        binds = [
            {"name": known.bind, "state": known.row.state, "phases": dict(known.row.phases)}
            for known in self.binds
            if known.row is not None
        ]
        has_file = self.revision is not None
        return {**described, "file": has_file, "path": self.path, "binds": binds, "source": self.source}


def show_revision(snapshot: Snapshot, name: str, path_of: Callable[[Revision], str]) -> RevisionPage:
    """Return the page of the revision ``name``: an id of the files or of a database."""
    binds = tuple(BindRow(bind, _row_on(snapshot, bind, name)) for bind in snapshot.binds)
    columns = _columns(snapshot, [known.row for known in binds if known.row is not None])
    if name not in snapshot.graph:
        return RevisionPage(name, None, columns, binds)
    revision = snapshot.graph[name]
    source = _read_source(revision)
    return RevisionPage(
        name,
        revision,
        columns,
        binds,
        children=snapshot.graph.children[name],
        path=path_of(revision),
        source=None if source is None else source[:SOURCE_LIMIT],
        cut=source is not None and len(source) > SOURCE_LIMIT,
    )


def _row_on(snapshot: Snapshot, bind: str, name: str) -> Row | None:
    status = snapshot.statuses.get(bind)
    if status is None:
        known = snapshot.graph.revisions.get(name)
        return Row(name, UNKNOWN, {}) if known is None else _unknown_row(snapshot, known, bind)
    found = next((row for row in status.revisions if row.id == name), None)
    return None if found is None else Row(name, found.state, found.phases, found.revision)


def _read_source(revision: Revision) -> str | None:
    try:
        with Path(revision.path).open(encoding="utf-8", errors="replace") as file:
            return file.read(SOURCE_LIMIT + 1)
    except OSError:
        return None


# -- overview -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One line of the overview: what was looked at, what was found, and the command that leads on."""

    name: str
    level: Level
    text: str
    command: str | None = None
    revisions: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the check as it stands."""
        return {**asdict(self), "revisions": list(self.revisions)}


@dataclass(frozen=True)
class Overview:
    """How one bind stands: the checks, how many revisions are in each state, the newest revisions.

    ``current`` is None where the database does not answer.
    """

    bind: str
    dialect: str | None
    current: tuple[str, ...] | None
    heads: tuple[str, ...]
    counts: Mapping[str, int]
    checks: tuple[Check, ...]
    columns: tuple[str, ...]
    newest: tuple[Row, ...]
    total: int

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin."""
        return {
            "bind": self.bind,
            "dialect": self.dialect,
            "current": None if self.current is None else list(self.current),
            "heads": list(self.heads),
            "counts": dict(self.counts),
            "checks": [check.as_json() for check in self.checks],
            "revisions": [row.as_json() for row in self.newest],
        }


def show_overview(snapshot: Snapshot, bind: str) -> Overview:
    """Return how ``bind`` stands."""
    status = snapshot.statuses.get(bind)
    rows = _all_rows(snapshot, bind)
    return Overview(
        bind,
        None if status is None else status.dialect,
        None if status is None else status.current,
        snapshot.graph.heads,
        _count_states(rows),
        _unknown_checks(snapshot, bind) if status is None else _checks(snapshot, status),
        _columns(snapshot, rows),
        rows[:NEWEST_SHOWN],
        len(rows),
    )


def _count_states(rows: Iterable[Row]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    order = ("applied", "in-flight", "pending", "missing", UNKNOWN)
    return {state: counts[state] for state in order if state in counts}


def _unknown_checks(snapshot: Snapshot, bind: str) -> tuple[Check, ...]:
    text = f"The database of the bind {bind} does not answer, so the state of its revisions is unknown."
    return (Check("database", UNKNOWN, text), _heads_check(snapshot))


def _checks(snapshot: Snapshot, status: BindStatus) -> tuple[Check, ...]:
    option = f" --bind {status.name}" if len(snapshot.binds) > 1 else ""
    names = _columns(snapshot, _all_rows(snapshot, status.name))
    return (
        *_troubles(status),
        *(_phase_check(status, phase, snapshot.phases, option) for phase in names),
        *_pointer_checks(snapshot, status, names, option),
        _heads_check(snapshot),
        _files_check(status),
    )


def _phase_check(status: BindStatus, phase: str, phases: Phases, option: str) -> Check:
    steps = status.pending((phase,))
    if not steps:
        return Check(phase, "ok", "Nothing to run.")
    revisions = tuple(step.revision for step in steps)
    if phase not in phases.names:
        text = f"{_number(len(steps), 'step')} of a phase that MIGRATE_PHASES does not name."
        return Check(phase, "pending", text, revisions=revisions)
    text = f"{_number(len(steps), 'step')} to run."
    return Check(phase, "pending", text, f"flask db upgrade --phase {phase}{option}", revisions)


def _troubles(status: BindStatus) -> tuple[Check, ...]:
    """Return a check for each step that is running, failed or interrupted; one in all if none is."""
    found = []
    for row in status.revisions:
        for phase, state in row.phases.items():
            name = f"{row.id} {phase}"
            if state == "failed":
                found.append(Check(name, state, "This step failed.", "flask db journal --errors", (row.id,)))
            elif state == "interrupted":
                command = f"flask db resolve {name} --resume | --restart | --mark-done --reason TEXT"
                text = "This step began, and its end is not known."
                found.append(Check(name, state, text, command, (row.id,)))
            elif state == "running":
                found.append(Check(name, state, "This step is running now.", revisions=(row.id,)))
    return tuple(found) or (Check("failures", "ok", "No step failed or was interrupted."),)


def _pointer_checks(snapshot: Snapshot, status: BindStatus, names: tuple[str, ...], option: str) -> tuple[Check, ...]:
    """Return a check if the version table could pass revisions now: they and what they need have run."""
    unpassed = [row.id for row in reversed(status.revisions) if row.state in ("pending", "in-flight")]
    unfinished = {step.revision for step in status.pending(names)}
    waiting = tuple(
        name
        for name in unpassed
        if name in snapshot.graph
        and name not in unfinished
        and not unfinished.intersection(snapshot.graph.ancestors(name))
    )
    if not waiting:
        return ()
    text = f"The version table has yet to pass {_number(len(waiting), 'revision')} with nothing left to run."
    later = snapshot.phases.after(snapshot.phases.boundary)
    return (Check("version table", "pending", text, f"flask db upgrade --phase {later[0]}{option}", waiting),)


def _heads_check(snapshot: Snapshot) -> Check:
    heads = snapshot.graph.heads
    if len(heads) > 1:
        return Check("heads", "pending", f"The files have {len(heads)} heads.", "flask db merge heads", heads)
    text = "The files have one head." if heads else "There are no revisions yet."
    return Check("heads", "ok", text, revisions=heads)


def _files_check(status: BindStatus) -> Check:
    missing = tuple(row.id for row in status.revisions if row.state == "missing")
    if not missing:
        return Check("files", "ok", "Every revision that the database names has a file.")
    text = f"The database names {_number(len(missing), 'revision')} without a file: other code ran there."
    return Check("files", "missing", text, revisions=missing)


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


# -- health ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BindHealth:
    """How many steps of one bind failed, were interrupted, or wait up to the boundary; None: unknown."""

    name: str
    failed: int | None = None
    interrupted: int | None = None
    pending: int | None = None

    @property
    def status(self) -> Literal["ok", "unfit", "unknown"]:
        """``ok`` where all three are 0."""
        counts = (self.failed, self.interrupted, self.pending)
        if counts == (None, None, None):
            return UNKNOWN
        return "ok" if counts == (0, 0, 0) else "unfit"


@dataclass(frozen=True)
class Health:
    """Whether every bind is fit for the code that is deployed."""

    boundary: str
    binds: tuple[BindHealth, ...]

    @property
    def is_ok(self) -> bool:
        """Whether every bind is."""
        return all(bind.status == "ok" for bind in self.binds)

    def as_json(self) -> dict[str, Any]:
        """Return the whole as JSON values."""
        binds = [{"status": bind.status, **asdict(bind)} for bind in self.binds]
        return {"status": "ok" if self.is_ok else "unfit", "boundary": self.boundary, "binds": binds}


def measure_health(snapshot: Snapshot) -> Health:
    """Return how fit every bind is."""
    return Health(snapshot.phases.boundary, tuple(_bind_health(snapshot, bind) for bind in snapshot.binds))


def _bind_health(snapshot: Snapshot, bind: str) -> BindHealth:
    status = snapshot.statuses.get(bind)
    if status is None:
        return BindHealth(bind)
    states = [state for row in status.revisions for state in row.phases.values()]
    boundary = snapshot.phases.boundary
    due = (*snapshot.phases.before(boundary), boundary)
    return BindHealth(bind, states.count("failed"), states.count("interrupted"), len(status.pending(due)))
