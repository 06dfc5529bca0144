"""Steps, what the tables say of them, and plans: the values that planning takes and gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

Direction = Literal["upgrade", "downgrade"]


@dataclass(frozen=True, order=True)
class Step:
    """One phase of one revision on one bind: the unit that is planned, run and recorded."""

    bind: str
    revision: str
    phase: str

    def __str__(self) -> str:
        return f"{self.bind}: {self.revision} {self.phase}"


@dataclass(frozen=True)
class Record:
    """One row of the ledger: a step of a revision in flight.

    ``status`` is ``done``; ``running`` (began, its end is not recorded) or ``failed`` (stopped after ``statement``
    operations); ``undoing`` and ``half-undone``, the same of a downgrade; ``interrupted`` where the place is not known.
    ``statement`` is the number of the last finished operation of a step that is not one transaction, ``statements``
    how many statements of the next one are committed.
    """

    revision: str
    phase: str
    status: str = "done"
    statement: int = 0
    statements: int | None = None
    checksum: str | None = None
    run_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


UNDOING = ("undoing", "half-undone")
"""The statuses of a record that a downgrade left."""


@dataclass(frozen=True)
class History:
    """What one bind's tables say.

    ``heads`` are the rows of Alembic's version table, ``records`` the ledger by (revision, phase),
    ``last`` the newest journal status by (revision, phase), ``locked`` whether a runner is at work.
    """

    bind: str
    heads: frozenset[str] = frozenset()
    records: Mapping[tuple[str, str], Record] = field(default_factory=dict)
    last: Mapping[tuple[str, str], str] = field(default_factory=dict)
    locked: bool = False
    dialect: str = ""
    has_version_table: bool = True
    has_bookkeeping: bool = False

    @cached_property
    def ledger(self) -> Mapping[str, Mapping[str, Record]]:
        """The records by revision, then by phase."""
        found: dict[str, dict[str, Record]] = {}
        for (name, phase), record in self.records.items():
            found.setdefault(name, {})[phase] = record
        return found

    def is_recorded(self, revision: str, phase: str) -> bool:
        """Return whether the ledger has the step as done."""
        record = self.records.get((revision, phase))
        return record is not None and record.status == "done"


@dataclass(frozen=True)
class Action:
    """One transaction of a run.

    ``step`` is what runs, None where only the version table moves. ``passes`` are the revisions whose
    version row is written after it, in order. In a downgrade ``reopens`` is the revision that is taken out
    of the version table first, and ``remains`` its phases that are then recorded as still done. ``skip`` is
    how many operations of the body an earlier run has committed, and ``part`` how many statements of the one after
    these; ``doubtful``, that it ended without a word while it may have been at work on the next.
    """

    bind: str
    step: Step | None = None
    passes: tuple[str, ...] = ()
    reopens: str | None = None
    remains: tuple[str, ...] = ()
    skip: int = 0
    part: int = 0
    doubtful: bool = False


@dataclass(frozen=True)
class Blocked:
    """A step that may not run, why, and the command that leads on.

    ``otherwise`` are other ways on, as sentences. ``overtaken`` is the step that has to run first, or may not be
    run before.
    """

    step: Step
    because: str
    command: str | None = None
    missing: tuple[Step, ...] = ()
    interrupted: bool = False
    path: str | None = None
    otherwise: tuple[str, ...] = ()
    overtaken: Step | None = None


@dataclass(frozen=True)
class PlanWarning:
    """Something about a step that runs that a person should look at: it runs before ``overtaken``."""

    step: Step
    overtaken: Step
    because: str

    def __str__(self) -> str:
        return f"{self.step.bind}: {self.because}"


@dataclass(frozen=True)
class Plan:
    """The pending actions in order, what blocks the rest, and what to look at before it is run."""

    direction: Direction
    phase: str | None = None
    actions: tuple[Action, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    warnings: tuple[PlanWarning, ...] = ()

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the actions, in order."""
        return tuple(action.step for action in self.actions if action.step is not None)

    @property
    def fingerprint(self) -> str:
        """A name of the plan that several machines agree on: SHA-256 of its steps and moves."""
        words = [self.direction, self.phase, [_as_words(action) for action in self.actions]]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()

    def of_bind(self, bind: str) -> Plan:
        """Return the part of the plan that concerns ``bind``."""
        return replace(
            self,
            actions=tuple(action for action in self.actions if action.bind == bind),
            blocked=tuple(block for block in self.blocked if block.step.bind == bind),
            warnings=tuple(warning for warning in self.warnings if warning.step.bind == bind),
        )


def _as_words(action: Action) -> list[Any]:
    step = action.step
    return [
        action.bind,
        [step.revision, step.phase] if step else None,
        list(action.passes),
        action.reopens,
        list(action.remains),
    ]


def join_plans(plans: Iterable[Plan], *, direction: Direction, phase: str | None) -> Plan:
    """Return one plan of several: their actions, blocks and warnings one after the other."""
    parts = tuple(plans)
    return Plan(
        direction,
        phase,
        tuple(action for part in parts for action in part.actions),
        tuple(block for part in parts for block in part.blocked),
        tuple(warning for part in parts for warning in part.warnings),
    )
