"""The journal, a page at a time, and one execution of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .source import Choice, Reader
from .state import as_text

if TYPE_CHECKING:
    from ..recorder import Execution

STATUSES = ("running", "done", "failed", "interrupted")
OPERATIONS = ("upgrade", "downgrade", "resume", "skip", "stamp", "script", "backfill")
ERROR_SHOWN = 300
OF_REVISION = 50
OF_RUN = 200

Redact = Callable[[str], str]


def execution_json(execution: Execution) -> dict[str, Any]:
    """Return the journal's columns of an execution: times as ISO 8601 with Z."""
    assert is_dataclass(execution)
    values = {field.name: getattr(execution, field.name) for field in fields(execution)}
    return {name: as_text(value) if isinstance(value, datetime) else value for name, value in values.items()}


def redacted(execution: Execution, redact: Redact, limit: int | None = None) -> Execution:
    """Return an execution whose error has no secrets; of more than ``limit`` characters the beginning alone.

    With a limit there is no traceback.
    """
    error = None if execution.error is None else redact(execution.error)
    if limit is not None and error is not None and len(error) > limit:
        error = f"{error[:limit]}…"
    traceback = None if limit is not None or execution.traceback is None else redact(execution.traceback)
    return replace(execution, error=error, traceback=traceback)


@dataclass(frozen=True)
class JournalPage:
    """Some executions of a bind, newest first. ``older`` and ``newer`` are ids to go on from, None at an end.

    ``filters`` is what was asked for; ``known`` whether the database answered.
    """

    bind: str
    filters: Mapping[str, str]
    items: tuple[Execution, ...]
    size: int
    older: int | None = None
    newer: int | None = None
    known: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin, without the addresses."""
        items = [execution_json(item) for item in self.items]
        page = {"size": self.size, "total": None}
        return {"bind": self.bind, "filters": dict(self.filters), "items": items, "page": page}


def list_executions(reader: Reader | None, bind: str, wanted: Choice, filters: Mapping[str, str]) -> JournalPage:
    """Return the page of the journal that ``wanted`` names; ``limit`` is its size."""
    size = wanted.limit
    if reader is None:
        return JournalPage(bind, filters, (), size, known=False)
    found = reader.read_executions(replace(wanted, limit=size + 1))
    more = len(found) > size
    if wanted.after is not None:
        items = found[-size:]
        newer, older = more, True
    else:
        items = found[:size]
        newer, older = wanted.before is not None, more
    return JournalPage(
        bind,
        filters,
        items,
        size,
        items[-1].id if items and older else None,
        items[0].id if items and newer else None,
    )


@dataclass(frozen=True)
class ExecutionPage:
    """One execution, and the others of its run, oldest first."""

    bind: str
    execution: Execution
    run: tuple[Execution, ...]
    commands: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin."""
        return {
            "bind": self.bind,
            "execution": execution_json(self.execution),
            "items": [execution_json(item) for item in self.run],
            "commands": list(self.commands),
        }


def show_execution(reader: Reader, bind: str, id_: int, option: str) -> ExecutionPage | None:
    """Return one execution; None if the journal has none of that id.

    :param option: what a command needs to be about the bind.
    """
    found = reader.read_executions(Choice(1, id_=id_))
    if not found:
        return None
    execution = found[0]
    run = reader.read_executions(Choice(OF_RUN, run_id=execution.run_id)) if execution.run_id else found
    return ExecutionPage(bind, execution, tuple(reversed(run)), tuple(_commands(execution, option)))


def _commands(execution: Execution, option: str) -> list[str]:
    """Return the commands that lead on from an execution."""
    step = f"{execution.revision} {execution.phase}"
    if execution.status == "failed":
        again = [f"flask db upgrade --phase {execution.phase}{option}"] if execution.operation == "upgrade" else []
        return [f"flask db trace {execution.id}{option}", *again]
    if execution.status == "interrupted":
        return [f"flask db resolve {step} --resume | --restart | --mark-done --reason TEXT{option}"]
    if execution.status == "running":
        return [f"flask db status{option}"]
    return []
