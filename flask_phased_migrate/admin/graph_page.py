"""A window of the graph: drawn, and as a list that says the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..lanes import Row as Lane
from ..lanes import edges_of
from .drawing import Drawing, draw_rows
from .listing import NoSuchPage
from .paging import PagedRows, count_pages
from .state import BindState, Row


@dataclass(frozen=True)
class GraphPage(PagedRows):
    """Page ``number`` of the graph, newest first: the rows, the drawn rows, and the drawing of these.

    ``missing`` are the revisions without a file; they stand in no line.
    """

    bind: str
    rows: tuple[Row, ...]
    lanes: tuple[Lane, ...]
    drawing: Drawing
    missing: tuple[Row, ...]
    heads: int
    width: int
    number: int
    size: int
    total: int
    around: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the page's own part of its JSON twin, without the addresses."""
        nodes = [
            {
                "revision": row.id,
                "message": row.message,
                "branch_labels": list(row.revision.labels) if row.revision is not None else [],
                "state": row.state,
                "row": self.first - 1 + place,
                "lane": lane.lane,
            }
            for place, (row, lane) in enumerate(zip(self.rows, self.lanes, strict=True))
        ]
        edges = [
            {"from": row.id, "to": parent, "kind": kind}
            for row in self.rows
            if row.revision is not None
            for parent, kind in edges_of(row.revision)
        ]
        page = {"number": self.number, "pages": self.pages, "size": self.size, "total": self.total}
        return {
            "bind": self.bind,
            "nodes": nodes,
            "edges": edges,
            "missing": [row.id for row in self.missing],
            "width": self.width,
            "lanes": [_lane_json(lane) for lane in self.lanes],
            "page": page,
        }


def _lane_json(lane: Lane) -> dict[str, Any]:
    parts = {"through": lane.through, "arrivals": lane.arrivals, "edges": lane.edges}
    lines = {name: [asdict(line) for line in found] for name, found in parts.items()}
    return {"revision": lane.revision, "lane": lane.lane, **lines}


def show_graph(state: BindState, *, number: int = 1, size: int, around: str | None = None) -> GraphPage:
    """Return page ``number`` of the graph, or the one that has the revision ``around``.

    :raises NoSuchPage: if there are fewer pages.
    """
    files = state.files
    if around in files.position:
        number = files.position[str(around)] // size + 1
    pages = count_pages(len(files.order), size)
    if not 1 <= number <= pages:
        raise NoSuchPage(number, pages)
    window = slice((number - 1) * size, number * size)
    lanes = files.lanes[window]
    known = tuple(row for row in state.rows if row.revision is not None)
    return GraphPage(
        state.bind, known[window], lanes, draw_rows(lanes),
        tuple(row for row in state.rows if row.revision is None),
        len(files.graph.heads), files.width, number, size, len(files.order), around,
    )  # fmt: skip
