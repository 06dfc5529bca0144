"""Lanes to strokes: what an SVG shows of rows of the graph. The colours and the thickness are the style sheet's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..lanes import Line, Row

PITCH = 14
ROW_HEIGHT = 28
COLOURS = 8
TEXT_WIDTH = 140


@dataclass(frozen=True)
class Stroke:
    """Lines of one colour; ``path`` is SVG's ``d``. ``depends`` lines are drawn dashed."""

    colour: int
    depends: bool
    path: str


@dataclass(frozen=True)
class Node:
    """The place of one revision in a drawing."""

    revision: str
    x: int
    y: int
    colour: int


@dataclass(frozen=True)
class Cell:
    """The drawn lanes of one row, ``width`` by 100 units, to be stretched to the row's height."""

    width: int
    strokes: tuple[Stroke, ...]
    node: Node


@dataclass(frozen=True)
class Drawing:
    """The drawn lanes of consecutive rows, ``width`` by ``height`` units; the names begin at ``text_x``.

    ``goes_on_above`` and ``goes_on_below`` say that lines lead out of it.
    """

    width: int
    height: int
    text_x: int
    strokes: tuple[Stroke, ...]
    nodes: tuple[Node, ...]
    goes_on_above: bool
    goes_on_below: bool


def draw_cell(row: Row, lanes: int) -> Cell:
    """Return the drawing of one row of a graph that is ``lanes`` wide."""
    node = Node(row.revision, _x(row.lane), 50, row.lane % COLOURS)
    return Cell(max(lanes, 1) * PITCH, _joined(_segments(row, 0, 100)), node)


def lone_cell(revision: str, lanes: int) -> Cell:
    """Return the drawing of a revision that no line leads to."""
    return Cell(max(lanes, 1) * PITCH, (), Node(revision, _x(0), 50, 0))


def draw_rows(rows: Sequence[Row]) -> Drawing:
    """Return the drawing of consecutive rows."""
    segments = (segment for place, row in enumerate(rows) for segment in _segments(row, place * ROW_HEIGHT, ROW_HEIGHT))
    nodes = tuple(
        Node(row.revision, _x(row.lane), place * ROW_HEIGHT + ROW_HEIGHT // 2, row.lane % COLOURS)
        for place, row in enumerate(rows)
    )
    text_x = max((row.width for row in rows), default=0) * PITCH + PITCH // 2
    return Drawing(
        text_x + TEXT_WIDTH,
        max(len(rows), 1) * ROW_HEIGHT,
        text_x,
        _joined(segments),
        nodes,
        bool(rows and (rows[0].through or rows[0].arrivals)),
        bool(rows and (rows[-1].through or rows[-1].edges)),
    )


def _segments(row: Row, top: int, height: int) -> Iterable[tuple[Line, str]]:
    """Yield each line of a row with its way from ``top`` on."""
    x, middle, bottom = _x(row.lane), top + height // 2, top + height
    for line in row.through:
        yield line, f"M{_x(line.lane)} {top}V{bottom}"
    for line in row.arrivals:
        yield line, _way(_x(line.lane), top, x, middle)
    for line in row.edges:
        yield line, _way(x, middle, _x(line.lane), bottom)


def _way(from_x: int, from_y: int, to_x: int, to_y: int) -> str:
    if from_x == to_x:
        return f"M{from_x} {from_y}V{to_y}"
    bend = (from_y + to_y) // 2
    return f"M{from_x} {from_y}C{from_x} {bend} {to_x} {bend} {to_x} {to_y}"


def _joined(segments: Iterable[tuple[Line, str]]) -> tuple[Stroke, ...]:
    """Return one stroke for all segments of a colour and kind."""
    paths: dict[tuple[int, bool], list[str]] = {}
    for line, path in segments:
        paths.setdefault((line.lane % COLOURS, line.kind == "depends"), []).append(path)
    return tuple(Stroke(colour, depends, "".join(parts)) for (colour, depends), parts in sorted(paths.items()))


def _x(lane: int) -> int:
    return PITCH // 2 + lane * PITCH


def cells(lanes: Mapping[str, Row], names: Iterable[str], width: int) -> Mapping[str, Cell]:
    """Return the cell of each of ``names``."""
    return {name: draw_cell(lanes[name], width) if name in lanes else lone_cell(name, width) for name in names}
