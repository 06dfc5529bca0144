"""The list of revisions: which of them the filters leave, and one page of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from ..lanes import Row as Lane
from ..plan import PhaseState, RevisionState
from .paging import PagedRows, count_pages
from .state import UNKNOWN, BindState, Row

STATES: tuple[str, ...] = (*get_args(RevisionState), UNKNOWN)
STATUSES: tuple[str, ...] = (*get_args(PhaseState), UNKNOWN)

#: What ``has`` may ask for.
FEATURES: Mapping[str, Callable[[Row], bool]] = {
    "error": lambda row: row.has_error,
    "head": lambda row: "head" in row.flags,
    "merge": lambda row: "merge" in row.flags,
    "branch-point": lambda row: "branch point" in row.flags,
    "depends-on": lambda row: "depends on" in row.flags,
}


@dataclass(frozen=True)
class Filter:
    """What the list is asked for; what is None asks for nothing. A row has to pass all of it.

    ``status`` is of ``phase``, or of any phase without one; ``phase`` alone asks for code in it. ``q`` is the beginning
    of an id or part of a message, in whatever case.
    """

    state: str | None = None
    phase: str | None = None
    status: str | None = None
    branch: str | None = None
    has: str | None = None
    q: str | None = None

    @property
    def given(self) -> Mapping[str, str]:
        """What is asked for, by the name of the parameter."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value}

    def passes(self, row: Row, line: frozenset[str]) -> bool:
        """Return whether a row is asked for. ``line`` are the ids of the branch."""
        return (
            self.state in (None, row.state)
            and self._passes_phase(row)
            and (self.branch is None or row.id in line)
            and (self.has is None or FEATURES[self.has](row))
            and self._passes_search(row)
        )

    def _passes_phase(self, row: Row) -> bool:
        if self.phase is None:
            return self.status is None or self.status in row.phases.values()
        state = row.phases.get(self.phase)
        return state not in (None, "empty") if self.status is None else state == self.status

    def _passes_search(self, row: Row) -> bool:
        if self.q is None:
            return True
        wanted = self.q.casefold()
        return row.id.casefold().startswith(wanted) or wanted in row.message.casefold()


def choices(state: BindState) -> Mapping[str, tuple[str, ...]]:
    """Return by parameter the values that a filter may have."""
    return {
        "state": STATES,
        "phase": state.columns,
        "status": STATUSES,
        "branch": tuple(state.files.branches),
        "has": tuple(FEATURES),
    }


class NoSuchPage(LookupError):
    """The listing has only ``pages`` pages."""

    def __init__(self, number: int, pages: int) -> None:
        super().__init__(f"There is no page {number}. The pages are 1 to {pages}.")
        self.number = number
        self.pages = pages


class NotListed(LookupError):
    """The filters leave out the revision that was asked for."""


@dataclass(frozen=True)
class Listing(PagedRows):
    """One page of the revisions of a bind, newest first. ``number`` counts from 1 to ``pages``.

    ``lanes`` has the drawn row of each revision that has one, none where the filters leave gaps; ``width`` is how many
    lanes there are. ``around`` is the revision that was asked for by its id.
    """

    bind: str
    filter: Filter
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    number: int
    size: int
    total: int
    all: int
    lanes: Mapping[str, Lane]
    width: int
    around: str | None = None

    @property
    def numbers(self) -> tuple[int | None, ...]:
        """The pages to lead to: the first, the last, those around this one; None where some are left out."""
        near = range(self.number - 2, self.number + 3)
        shown = sorted({1, self.pages, *(number for number in near if 1 <= number <= self.pages)})
        found: list[int | None] = []
        for before, number in zip([0, *shown], shown, strict=False):
            found += [number] if number == before + 1 else [None, number]
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin, without the addresses."""
        items = [row.as_json() for row in self.rows]
        for item in items:
            lane = self.lanes.get(item["revision"])
            item["lane"] = None if lane is None else lane.lane
        page = {"number": self.number, "pages": self.pages, "size": self.size, "total": self.total}
        return {"bind": self.bind, "filters": dict(self.filter.given), "items": items, "page": page}


def list_revisions(
    state: BindState, wanted: Filter, *, number: int = 1, size: int, around: str | None = None
) -> Listing:
    """Return page ``number`` of the revisions that the filter leaves, or the page that has ``around``.

    :raises NoSuchPage: if there are fewer pages.
    :raises NotListed: if the filter leaves out ``around``.
    """
    rows = state.rows
    if wanted.given:
        line = state.files.branches.get(wanted.branch or "", frozenset())
        rows = tuple(row for row in rows if wanted.passes(row, line))
    if around is not None:
        number = _place_of(around, rows) // size + 1
    pages = count_pages(len(rows), size)
    if not 1 <= number <= pages:
        raise NoSuchPage(number, pages)
    shown = rows[(number - 1) * size : number * size]
    lanes = {} if wanted.given else lanes_of(state, shown)
    return Listing(
        state.bind, wanted, state.columns, shown, number, size, len(rows), len(state.rows),
        lanes, state.files.width, around,
    )  # fmt: skip


def _place_of(name: str, rows: tuple[Row, ...]) -> int:
    place = next((place for place, row in enumerate(rows) if row.id == name), None)
    if place is None:
        raise NotListed(f"The filters leave out the revision '{name}'.")
    return place


def lanes_of(state: BindState, rows: tuple[Row, ...]) -> dict[str, Lane]:
    """Return the drawn row of each of ``rows`` that has a file."""
    files = state.files
    return {row.id: files.lanes[files.position[row.id]] for row in rows if row.id in files.position}
