"""How one bind stands: the checks, one line each with the command that leads on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..plan import BindStatus, History
from .executions import execution_json
from .files import Files
from .state import UNKNOWN, BindState, Row, as_text
from .texts import Text, text, texts

if TYPE_CHECKING:
    from ..recorder import Execution

Level = Literal["ok", "pending", "running", "failed", "interrupted", "missing", "unknown"]

NEWEST_SHOWN = 10
RUNS_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One line of the overview: what was looked at, what was found, and the command that leads on."""

    name: str
    level: Level
    text: Text
    command: str | None = None
    revisions: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the check as it stands."""
        return {
            "name": self.name,
            "level": self.level,
            "text": str(self.text),
            "command": self.command,
            "revisions": list(self.revisions),
        }


@dataclass(frozen=True)
class Overview:
    """How one bind stands: the checks, how many revisions are in each state, the newest revisions and executions.

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
    executions: tuple[Execution, ...]
    total: int

    @property
    def is_running(self) -> bool:
        """Whether a step runs now."""
        return any(check.level == "running" for check in self.checks)

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
            "executions": [execution_json(item) for item in self.executions],
        }


def show_overview(
    state: BindState, executions: tuple[Execution, ...] = (), running: tuple[Execution, ...] = ()
) -> Overview:
    """Return how a bind stands.

    :param executions: the newest of the journal; ``running`` those that have not ended.
    """
    status = state.status
    return Overview(
        state.bind,
        None if status is None else status.dialect,
        None if status is None else status.current,
        state.files.graph.heads,
        _count_states(state.rows),
        tuple(_unknown_checks(state) if status is None else _checks(state, status, running)),
        state.columns,
        state.rows[:NEWEST_SHOWN],
        executions,
        len(state.rows),
    )


def _count_states(rows: Iterable[Row]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    order = ("applied", "in-flight", "pending", "missing", UNKNOWN)
    return {state: counts[state] for state in order if state in counts}


def _unknown_checks(state: BindState) -> Iterator[Check]:
    found = text(
        "The database of the bind %(bind)s does not answer, so the state of its revisions is unknown.", bind=state.bind
    )
    yield Check("database", UNKNOWN, found)
    yield heads_check(state)


def _checks(state: BindState, status: BindStatus, running: tuple[Execution, ...]) -> Iterator[Check]:
    history, option = state.history, bind_option(state.files, state.bind)
    assert history is not None
    yield from _troubles(status, history, running, option)
    for phase in state.columns:
        yield _phase_check(state, status, phase, option)
    yield from _pointer_checks(state, status, option)
    yield heads_check(state)
    yield from _ahead_checks(state, history)
    yield _files_check(state)


def bind_option(files: Files, bind: str) -> str:
    """Return what a command needs to be about the bind, with a space before it."""
    return f" --bind {bind}" if len(files.binds) > 1 else ""


def _troubles(status: BindStatus, history: History, running: tuple[Execution, ...], option: str) -> tuple[Check, ...]:
    """Return a check for each step that is running, failed or interrupted; one in all if none is."""
    found = []
    for row in status.revisions:
        for phase, state in row.phases.items():
            name = f"{row.id} {phase}"
            if state == "failed":
                command = f"flask db journal --errors{option}"
                found.append(Check(name, state, text("This step failed."), command, (row.id,)))
            elif state == "interrupted":
                command = f"flask db resolve {name} --resume | --restart | --mark-done --reason TEXT{option}"
                message = text("This step began, and its end is not known.")
                found.append(Check(name, state, message, command, (row.id,)))
            elif state == "running":
                message = text("This step is running now.")
                found.append(Check(name, state, message, f"flask db status{option}", (row.id,)))
    if history.locked and running:
        found.insert(0, _runner_check(running[0], option))
    return tuple(found) or (Check("failures", "ok", text("No step failed or was interrupted.")),)


def _runner_check(execution: Execution, option: str) -> Check:
    since = "?" if execution.started_at is None else as_text(execution.started_at)
    message = text(
        "Process %(pid)s on %(host)s holds the run lock since %(since)s.",
        pid=execution.pid,
        host=execution.host,
        since=since,
    )
    return Check("runner", "running", message, f"flask db journal --open{option}")


def _phase_check(state: BindState, status: BindStatus, phase: str, option: str) -> Check:
    steps = status.pending((phase,))
    if not steps:
        return Check(phase, "ok", text("Nothing to run."))
    revisions = tuple(step.revision for step in steps)
    if phase not in state.files.phases.names:
        message = texts(
            "%(number)s step of a phase that MIGRATE_PHASES does not name.",
            "%(number)s steps of a phase that MIGRATE_PHASES does not name.",
            len(steps),
        )
        return Check(phase, "pending", message, "flask db environ", revisions)
    message = texts("%(number)s step to run.", "%(number)s steps to run.", len(steps))
    return Check(phase, "pending", message, f"flask db upgrade --phase {phase}{option}", revisions)


def _pointer_checks(state: BindState, status: BindStatus, option: str) -> Iterator[Check]:
    """Yield a check if the version table could pass revisions now: they and what they need have run."""
    graph, phases = state.files.graph, state.files.phases
    unpassed = [row.id for row in reversed(status.revisions) if row.state in ("pending", "in-flight")]
    unfinished = {step.revision for step in status.pending(state.columns)}
    blocked: set[str] = set()
    for name in unpassed:
        if name in unfinished or not blocked.isdisjoint(graph[name].parents):
            blocked.add(name)
    waiting = tuple(name for name in unpassed if name not in blocked)
    if waiting:
        message = texts(
            "The version table has yet to pass %(number)s revision with nothing left to run.",
            "The version table has yet to pass %(number)s revisions with nothing left to run.",
            len(waiting),
        )
        later = phases.after(phases.boundary)
        yield Check("version table", "pending", message, f"flask db upgrade --phase {later[0]}{option}", waiting)


def heads_check(state: BindState) -> Check:
    """Return the check of the files' heads."""
    heads = state.files.graph.heads
    if len(heads) > 1:
        message = texts("The files have %(number)s head.", "The files have %(number)s heads.", len(heads))
        return Check("heads", "pending", message, "flask db merge heads", heads)
    message = text("The files have one head.") if heads else text("There are no revisions yet.")
    return Check("heads", "ok", message, None if heads else 'flask db revision -m "create tables"', heads)


def _ahead_checks(state: BindState, history: History) -> Iterator[Check]:
    ahead = tuple(sorted(name for name in history.heads if name not in state.files.graph))
    if ahead:
        message = text(
            "The database is ahead of this code: it is at a revision without a file. Deploy the code that has it."
        )
        yield Check("database", "missing", message, f"flask db status{bind_option(state.files, state.bind)}", ahead)


def _files_check(state: BindState) -> Check:
    missing = state.missing
    if not missing:
        return Check("files", "ok", text("Every revision that the database names has a file."))
    message = texts(
        "The database names %(number)s revision without a file: other code ran there.",
        "The database names %(number)s revisions without a file: other code ran there.",
        len(missing),
    )
    return Check("files", "missing", message, f"flask db status{bind_option(state.files, state.bind)}", missing)
