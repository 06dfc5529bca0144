"""What the next deploy of a phase would run on a bind, and what keeps it from running."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..errors import MigrateError
from ..plan import Action, Blocked, History, Plan
from .executions import Redact
from .files import Files
from .listing import NoSuchPage
from .overview import bind_option
from .paging import Paged, count_pages
from .state import BindState

Planner = Callable[[Files, History, str], Plan]


@dataclass(frozen=True)
class Tab:
    """A phase to choose, with how many of its steps are pending; None: unknown."""

    phase: str
    pending: int | None


@dataclass(frozen=True)
class Planned:
    """One action of the plan, counted from 1: a step, or a move of the version table where it has none."""

    number: int
    action: Action
    message: str

    def as_json(self) -> dict[str, Any]:
        """Return the action as JSON values."""
        step = self.action.step
        return {
            "number": self.number,
            "bind": self.action.bind,
            "revision": None if step is None else step.revision,
            "phase": None if step is None else step.phase,
            "message": self.message,
            "completes": list(self.action.passes),
        }


@dataclass(frozen=True)
class PlanPage(Paged):
    """One page of the plan of a phase. ``plan`` is None where the database does not answer, or ``problem`` says why.

    ``command`` runs it.
    """

    bind: str
    phase: str
    tabs: tuple[Tab, ...]
    plan: Plan | None
    items: tuple[Planned, ...]
    blocked: tuple[Blocked, ...]
    command: str
    problem: str | None
    number: int
    size: int
    total: int

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin, without the addresses: keys as ``--plan --json`` has them."""
        return {
            "bind": self.bind,
            "direction": "upgrade",
            "phase": self.phase,
            "available": self.plan is not None,
            "problem": self.problem,
            "fingerprint": None if self.plan is None else self.plan.fingerprint,
            "command": self.command,
            "items": [item.as_json() for item in self.items],
            "blocked": [
                {
                    "bind": block.step.bind,
                    "revision": block.step.revision,
                    "phase": block.step.phase,
                    "because": block.because,
                    "command": block.command,
                    "otherwise": list(block.otherwise),
                }
                for block in self.blocked
            ],
            "warnings": [] if self.plan is None else [str(warning) for warning in self.plan.warnings],
            "page": {"number": self.number, "pages": self.pages, "size": self.size, "total": self.total},
        }


def next_phase(state: BindState) -> str:
    """Return the first phase with something pending; the first of all where nothing is."""
    names = state.files.phases.names
    if state.status is None:
        return names[0]
    return next((name for name in names if state.status.pending((name,))), names[0])


def show_plan(state: BindState, phase: str, planner: Planner, redact: Redact, *, number: int, size: int) -> PlanPage:
    """Return page ``number`` of the plan of ``phase``.

    :raises NoSuchPage: if there are fewer pages.
    """
    plan, problem = _plan(state, phase, planner, redact)
    actions = () if plan is None else plan.actions
    pages = count_pages(len(actions), size)
    if not 1 <= number <= pages:
        raise NoSuchPage(number, pages)
    start = (number - 1) * size
    shown = enumerate(actions[start : start + size], start=start + 1)
    status = state.status
    return PlanPage(
        bind=state.bind,
        phase=phase,
        tabs=tuple(
            Tab(name, None if status is None else len(status.pending((name,)))) for name in state.files.phases.names
        ),
        plan=plan,
        items=tuple(Planned(place, action, _message(state, action)) for place, action in shown),
        blocked=() if plan is None else plan.blocked,
        command=f"flask db upgrade --phase {phase}{bind_option(state.files, state.bind)}",
        problem=problem,
        number=number,
        size=size,
        total=len(actions),
    )


def _plan(state: BindState, phase: str, planner: Planner, redact: Redact) -> tuple[Plan | None, str | None]:
    if state.history is None:
        return None, None
    try:
        plan = planner(state.files, state.history, phase)
    except MigrateError as error:
        return None, redact(str(error))
    blocked = tuple(replace(block, because=redact(block.because)) for block in plan.blocked)
    warnings = tuple(replace(warning, because=redact(warning.because)) for warning in plan.warnings)
    return replace(plan, blocked=blocked, warnings=warnings), None


def _message(state: BindState, action: Action) -> str:
    return "" if action.step is None else state.files.graph[action.step.revision].message
