"""Whether the databases are fit for the code that is deployed: what a monitor asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .files import Files
from .state import UNKNOWN, BindState


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


def measure_health(files: Files, states: Iterable[BindState]) -> Health:
    """Return how fit every bind is."""
    return Health(files.phases.boundary, tuple(_bind_health(state) for state in states))


def _bind_health(state: BindState) -> BindHealth:
    if state.status is None:
        return BindHealth(state.bind)
    found = [own for row in state.rows for own in row.phases.values()]
    phases = state.files.phases
    due = (*phases.before(phases.boundary), phases.boundary)
    return BindHealth(state.bind, found.count("failed"), found.count("interrupted"), len(state.status.pending(due)))
