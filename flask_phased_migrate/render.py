"""A graph of revisions as text: Graphviz dot, Mermaid, SVG, a drawing in characters, JSON.

Everything is listed newest first, with arrows from child to parent. The SVG and the drawing in characters are laid
out in :mod:`~flask_phased_migrate.lanes`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import PurePath
from typing import Any, NamedTuple

from .errors import UsageError
from .graph import Graph, Revision
from .lanes import EdgeKind, Line, Row, edges_of, lay_out

FORMATS = ("dot", "mermaid", "svg", "text", "json")
FORMAT_BY_SUFFIX = {
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".svg": "svg",
    ".txt": "text",
    ".json": "json",
}

LabelCallback = Callable[[Revision], str | None]


def format_of(path: str, default: str = "dot") -> str:
    """Return the format that a file's ending stands for; ``default`` where it has no ending.

    :raises UsageError: for an ending that stands for no format.
    """
    suffix = PurePath(path).suffix
    if suffix in ("", "."):
        return default
    try:
        return FORMAT_BY_SUFFIX[suffix.lower()]
    except KeyError:
        raise UsageError(
            f"No graph format has the ending '{suffix}' ({path}). The endings are: "
            f"{' '.join(FORMAT_BY_SUFFIX)}. Rename the file, or give --format."
        ) from None


def render_graph(
    graph: Graph,
    format: str,  # noqa: A002 - the name of the command's option
    states: Mapping[str, str] | None = None,
    current: Collection[str] = (),
    label: LabelCallback | None = None,
    *,
    assured: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the graph in one of ``FORMATS``, ending with one line break.

    :param states: id -> ``applied``, ``in-flight``, ``pending`` or ``missing``; None where no database was
        asked: nothing is marked then. Missing ids without a file are drawn first, on their own.
    :param current: the rows of Alembic's version table, marked as such.
    :param label: the text for a revision in place of its id and message; where it returns None, those.
        JSON has no use for it.
    :param assured: id -> the linter's rules that the revision answers for, marked as such.
    :raises UsageError: if there is no such format.
    """
    if format == "json":
        return json.dumps(graph_data(graph, states, assured), indent=2) + "\n"
    renderers = {"dot": _render_dot, "mermaid": _render_mermaid, "svg": _render_svg, "text": _render_text}
    if format not in renderers:
        raise UsageError(f"There is no graph format '{format}'. The formats are: {', '.join(FORMATS)}.")
    nodes = _read_nodes(graph, states, frozenset(current), label, assured or {})
    return "\n".join(renderers[format](nodes)) + "\n"


def graph_data(
    graph: Graph, states: Mapping[str, str] | None, assured: Mapping[str, Sequence[str]] | None = None
) -> dict[str, Any]:
    """Return ``{"schema": 1, "nodes": [...], "edges": [...]}``, newest first; ``from`` is the child.

    A node has ``revision``, ``message``, ``branch_labels`` and ``state`` (None where no database was asked),
    an edge ``from``, ``to`` and ``kind`` (``down`` or ``depends``). A node in ``assured`` has the rules of that too.
    """
    revisions = _listed(graph, states)
    return {
        "schema": 1,
        "nodes": [
            {
                "revision": revision.id,
                "message": revision.message,
                "branch_labels": list(revision.labels),
                "state": (states or {}).get(revision.id),
                **({"assured": list((assured or {})[revision.id])} if revision.id in (assured or {}) else {}),
            }
            for revision in revisions
        ],
        "edges": [
            {"from": revision.id, "to": parent, "kind": kind}
            for revision in revisions
            for parent, kind in edges_of(revision)
        ],
    }


# -- what every format shows ------------------------------------------------------------------------


# The known states, and their nodes in the drawing made of characters.
_NODE_SIGNS = {"applied": "*", "in-flight": "@", "pending": "o", "missing": "x"}


class _Node(NamedTuple):
    """One revision with what is to be said of it; ``label`` is the caller's own text."""

    revision: Revision
    state: str | None
    marks: tuple[str, ...]
    label: str | None

    @property
    def title(self) -> tuple[str, ...]:
        """The lines that name it: the caller's, else the id and the first line of the message."""
        if self.label is not None:
            return tuple(_visible(line) for line in self.label.splitlines()) or ("",)
        name, message = _visible(self.revision.id), _first_line(self.revision.message)
        return (name, message) if message else (name,)

    @property
    def notes(self) -> tuple[str, ...]:
        """The marks and the branch labels, as words."""
        if not self.marks and not self.revision.labels:
            return ()
        labels = (f"(label: {_visible(name)})" for name in self.revision.labels)
        return (*(f"({mark})" for mark in self.marks), *labels)

    @property
    def words(self) -> tuple[str, ...]:
        """The notes and the state."""
        return self.notes if self.state is None else (*self.notes, f"[{_visible(self.state)}]")

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """The one line that says it all, as (what, text): the name first, what it depends on last."""
        name, *message = self.title if self.label is None else (" ".join(self.title),)
        depends = [_visible(parent) for parent, kind in edges_of(self.revision) if kind == "depends"]
        return (
            ("name", name),
            *(("note", word) for word in self.notes),
            *(("message", line) for line in message),
            *(("state", word) for word in self.words[len(self.notes) :]),
            *([("depends", f"depends on: {', '.join(depends)}")] if depends else []),
        )

    @property
    def sentence(self) -> str:
        """The parts as plain text."""
        return " ".join(text for _, text in self.parts)


# What most nodes of a graph without states have after their revision: no state, no mark, no text of the caller's.
_PLAIN = (None, (), None)


def _read_nodes(
    graph: Graph,
    states: Mapping[str, str] | None,
    current: frozenset[str],
    label: LabelCallback | None,
    assured: Mapping[str, Sequence[str]],
) -> tuple[_Node, ...]:
    known = states or {}
    found = []
    for revision in _listed(graph, states):
        marks = _marks(graph, revision, current)
        if revision.id in assured:
            marks = (*marks, *[f"assured: {name}" for name in assured[revision.id]])
        own = label(revision) if label is not None and revision.id in graph else None
        found.append(_Node(revision, known.get(revision.id), marks, own))
    return tuple(found)


def _listed(graph: Graph, states: Mapping[str, str] | None) -> tuple[Revision, ...]:
    """Return the revisions newest first; before them those that only the database knows."""
    unknown = sorted(name for name in states or () if name not in graph)
    known = graph.newest_first(graph.revisions)
    return (*(Revision(name) for name in unknown), *[graph.revisions[name] for name in known])


def _marks(graph: Graph, revision: Revision, current: frozenset[str]) -> tuple[str, ...]:
    children = graph.children.get(revision.id)
    if children is not None and len(children) == 1 and len(revision.down) < 2 and revision.id not in current:
        return ()
    holds = {
        "head": children == (),
        "merge": revision.is_merge,
        "branch point": children is not None and len(children) > 1,
        "current": revision.id in current,
    }
    return tuple(mark for mark, held in holds.items() if held)


# Control characters, line and paragraph separators, marks that turn the direction of writing, halves of
# surrogate pairs, and what XML 1.0 forbids besides.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


def _visible(text: str) -> str:
    """Return the text in one line: a tab as a space, other invisible characters as in a Python string."""
    if text.isascii() and text.isprintable():
        return text
    return _INVISIBLE.sub(lambda found: ascii(found[0])[1:-1], text.replace("\t", " "))


def _first_line(message: str) -> str:
    if message.isascii() and message.isprintable():
        return message.strip()
    lines = message.strip().splitlines()
    return _visible(lines[0].rstrip()) if lines else ""


# -- dot ------------------------------------------------------------------------------------------

_DOT_STYLES = {
    "applied": 'style="rounded,filled", fillcolor="#d3d3d3", fontcolor="#000000"',
    "in-flight": 'style="rounded,dashed,bold"',
    "missing": 'style="dotted"',
}


def _render_dot(nodes: Sequence[_Node]) -> Iterator[str]:
    yield "digraph revisions {"
    yield "    graph [rankdir=TB];"
    yield '    node [shape=box, style="rounded"];'
    names = {node.revision.id: _dot_name(node.revision.id) for node in nodes}
    for node in nodes:
        plain = node[1:] == _PLAIN and not node.revision.labels
        attributes = f"label={_dot_text(node.title)}" if plain else ", ".join(_dot_attributes(node))
        yield f"    {names[node.revision.id]} [{attributes}];"
    for node in nodes:
        name = names[node.revision.id]
        for parent, kind in edges_of(node.revision):
            dashed = ' [style=dashed, label="depends on"]' if kind == "depends" else ""
            yield f"    {name} -> {names[parent]}{dashed};"
    yield "}"


def _dot_attributes(node: _Node) -> Iterator[str]:
    words = " ".join(node.words)
    if node.label is None:
        yield f"label={_dot_text((*node.title, *([words] if words else [])))}"
    else:
        yield f"label={_dot_text(node.title)}"
        if words:
            # Beside the node, so that the label stays what the caller said.
            yield f"xlabel={_dot_text([words])}"
    if "merge" in node.marks:
        yield "shape=hexagon"
    elif "branch point" in node.marks:
        yield "shape=octagon"
    if "head" in node.marks:
        yield "peripheries=2"
    if node.state in _DOT_STYLES:
        yield _DOT_STYLES[node.state]


def _dot_name(name: str) -> str:
    return '"{}"'.format(_visible(name).replace("\\", "\\\\").replace('"', '\\"'))


def _dot_text(lines: Iterable[str]) -> str:
    # Graphviz reads character references in labels: an ampersand has to be one.
    text = "\n".join(lines).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"{}"'.format(text.replace("\n", "\\n"))


# -- mermaid --------------------------------------------------------------------------------------

_MERMAID_CLASSES = {
    "applied": ("applied", "fill:#d3d3d3,stroke:#555555,color:#000000"),
    "in-flight": ("inflight", "stroke-width:3px,stroke-dasharray:6 3"),
    "missing": ("missing", "stroke-dasharray:2 3"),
}
# What Mermaid could read as its own syntax, as HTML, or as the start of a Markdown list.
_MERMAID_SPECIAL = re.compile(r'["#;<>&`\\\[\]{}|%*~$\u200b]|^[-+]|(?<=\d)[.)](?=\s|$)')


def _render_mermaid(nodes: Sequence[_Node]) -> Iterator[str]:
    yield "flowchart TB"
    for node in nodes:
        opening, closing = _mermaid_brackets(node)
        text = "<br/>".join(_mermaid_text(line) for line in _mermaid_lines(node))
        yield f'    {_mermaid_name(node.revision.id)}{opening}"{text}"{closing}'
    for node in nodes:
        for parent, kind in edges_of(node.revision):
            arrow = "-->" if kind == "down" else "-. depends on .->"
            yield f"    {_mermaid_name(node.revision.id)} {arrow} {_mermaid_name(parent)}"
    yield from _mermaid_states(nodes)


def _mermaid_brackets(node: _Node) -> tuple[str, str]:
    if "merge" in node.marks:
        return "{{", "}}"
    return ("([", "])") if "head" in node.marks else ("[", "]")


def _mermaid_lines(node: _Node) -> Iterator[str]:
    yield from node.title
    if node.words:
        yield " ".join(node.words)


def _mermaid_states(nodes: Iterable[_Node]) -> Iterator[str]:
    marked = [(node.revision.id, node.state) for node in nodes if node.state in _MERMAID_CLASSES]
    for state, (name, style) in _MERMAID_CLASSES.items():
        members = [_mermaid_name(revision) for revision, own in marked if own == state]
        if members:
            yield f"    classDef {name} {style}"
            yield from (f"    class {member} {name}" for member in members)


def _mermaid_name(name: str) -> str:
    """Return a node name that is no keyword and no two ids share."""
    return "r_" + re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):x}_", name)


def _mermaid_text(line: str) -> str:
    # Two dollar signs begin a formula however they are written; a zero-width space keeps them apart.
    apart = line.replace("$$", "$\u200b$").replace("$$", "$\u200b$")
    return _MERMAID_SPECIAL.sub(lambda found: f"#{ord(found[0])};", apart)


# -- svg ------------------------------------------------------------------------------------------

_ROW = 28
_LANE = 20
_RADIUS = 5
_RING = 8
_MARGIN = 16
_FONT = 13
_MESSAGE_LIMIT = 160
# Each has a contrast of at least 3:1 with white and with black.
_LANE_COLOURS = ("#3b82c4", "#c2571a", "#2e8b57", "#a855c7", "#b7791f", "#d14d72", "#5b7fa6", "#7a8b1f")
_TEXT_COLOUR = "#767676"
_SVG_FONTS = {
    "name": ' font-weight="bold"',
    "note": ' font-style="italic"',
    "message": "",
    "state": ' font-style="italic"',
    "depends": ' font-style="italic"',
}


def _render_svg(nodes: Sequence[_Node]) -> Iterator[str]:
    rows = lay_out(node.revision for node in nodes)
    text_x = 2 * _MARGIN + (max((row.width for row in rows), default=1) - 1) * _LANE
    texts = [_svg_text(node) for node in nodes]
    longest = max((_columns(text) for text in texts), default=0)
    width, height = text_x + round(longest * _FONT * 0.62) + _MARGIN, max(len(rows), 1) * _ROW + _MARGIN
    # The grey reads on white and on black; a page that draws the picture inline overrides it with ``color``.
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="revision-graph" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" '
        'aria-labelledby="revision-graph-title revision-graph-desc" '
        f'color="{_TEXT_COLOUR}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="{_FONT}">'
    )
    yield '<title id="revision-graph-title">Revisions, newest first</title>'
    yield f'<desc id="revision-graph-desc">{escape(_svg_summary(nodes))}</desc>'
    yield '<g class="lines" fill="none" stroke-width="2">'
    yield from _svg_lines(nodes, rows)
    yield "</g>"
    yield '<g class="revisions" fill="currentColor">'
    for position, (node, row, text) in enumerate(zip(nodes, rows, texts, strict=True)):
        yield from _svg_revision(node, row, _middle(position), text_x, text)
    yield "</g>"
    yield "</svg>"


def _svg_summary(nodes: Sequence[_Node]) -> str:
    counts = Counter(node.state for node in nodes if node.state is not None)
    heads = [_visible(node.revision.id) for node in nodes if "head" in node.marks]
    parts = [f"{len(nodes)} revision{'' if len(nodes) == 1 else 's'}"]
    parts += [f"{count} {_visible(state)}" for state, count in sorted(counts.items())]
    parts += [f"heads: {', '.join(heads)}"] if heads else []
    return "; ".join(parts) + "."


def _svg_lines(nodes: Sequence[_Node], rows: Sequence[Row]) -> Iterator[str]:
    """Yield one path a line: from the child that began it to the parent, and one a child that joins it."""
    begun: dict[Line, str] = {}
    for position, (node, row) in enumerate(zip(nodes, rows, strict=True)):
        x, y = _x(row.lane), _middle(position)
        reach = _reach(node)
        for line in row.arrivals:
            yield _svg_path(line, begun.pop(line) + _arrival(_x(line.lane), y - _ROW // 2, x, y - reach))
        for line in row.edges:
            start = f"M{x} {y + reach}{_bend(x, y + reach, _x(line.lane), y + _ROW // 2)}"
            if line in begun:
                yield _svg_path(line, start)
            else:
                begun[line] = start


def _svg_path(line: Line, drawn: str) -> str:
    colour = _LANE_COLOURS[line.lane % len(_LANE_COLOURS)]
    dashed = ' stroke-dasharray="4 3"' if line.kind == "depends" else ""
    return f'<path class="{line.kind}" stroke="{colour}"{dashed} d="{drawn}"/>'


def _arrival(lane_x: int, top: int, x: int, y: int) -> str:
    return f"V{y}" if lane_x == x else f"V{top}{_bend(lane_x, top, x, y)}"


def _bend(from_x: int, from_y: int, to_x: int, to_y: int) -> str:
    if from_x == to_x:
        return ""
    return f"C{from_x} {to_y} {to_x} {from_y} {to_x} {to_y}"


def _x(lane: int) -> int:
    return _MARGIN + lane * _LANE


def _middle(position: int) -> int:
    return _MARGIN // 2 + position * _ROW + _ROW // 2


def _reach(node: _Node) -> int:
    """Return how far from the middle of a node its lines end: a hollow node shows none."""
    return _RING if "head" in node.marks else _RADIUS


def _svg_revision(node: _Node, row: Row, y: int, text_x: int, text: str) -> Iterator[str]:
    name = f"revision {node.state}" if node.state in _NODE_SIGNS else "revision"
    yield f'<g class="{name}">'
    yield f"<title>{escape(node.sentence)}</title>"
    colour = _LANE_COLOURS[row.lane % len(_LANE_COLOURS)]
    yield from _svg_node(node, _x(row.lane), y, colour)
    yield f'<text x="{text_x}" y="{y + 4}">{text}</text>'
    yield "</g>"


def _svg_node(node: _Node, x: int, y: int, colour: str) -> Iterator[str]:
    # The radius to the middle of the stroke.
    stroke, r = f'stroke="{colour}" stroke-width="2"', _RADIUS - 1
    if "head" in node.marks:
        ring = f'fill="none" stroke="{colour}" stroke-width="1"'
        yield f'<circle class="head" cx="{x}" cy="{y}" r="{_RING}" {ring}/>'
    if node.state == "missing":
        cross = f"M{x - r} {y - r}l{2 * r} {2 * r}M{x + r} {y - r}l-{2 * r} {2 * r}"
        yield f'<path fill="none" {stroke} d="{cross}"/>'
        return
    hollow = node.state in {"in-flight", "pending"}
    fill = "none" if hollow else colour
    yield f'<circle cx="{x}" cy="{y}" r="{r}" fill="{fill}" {stroke}/>'
    if node.state == "in-flight":
        yield f'<path fill="{colour}" d="M{x - r} {y}a{r} {r} 0 0 0 {2 * r} 0z"/>'


def _svg_text(node: _Node) -> str:
    return " ".join(
        f'<tspan class="{what}"{_SVG_FONTS[what]}>{escape(_shortened(text))}</tspan>' for what, text in node.parts
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 1] + "…"


def _columns(markup: str) -> int:
    """Return how many columns the text of some markup takes in a monospaced font."""
    text = re.sub(r"&#?\w+;", "&", re.sub(r"<[^>]*>", "", markup))
    return len(text) if text.isascii() else sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


# -- text -----------------------------------------------------------------------------------------

_LINE_SIGNS: Mapping[EdgeKind, str] = {"down": "|", "depends": ":"}


def _render_text(nodes: Sequence[_Node]) -> Iterator[str]:
    if not nodes:
        yield "(no revisions)"
    for node, row in zip(nodes, lay_out(node.revision for node in nodes), strict=True):
        arriving = [line for line in row.arrivals if line.lane != row.lane]
        leaving = [line for line in row.edges if line.lane != row.lane]
        if arriving:
            straight = [line for line in row.arrivals if line.lane == row.lane]
            yield _text_bends(row, straight, {line.lane for line in arriving}, "\\/")
        sign = _NODE_SIGNS.get(node.state or "", "*")
        yield f"{_text_node(row, sign, arriving + leaving)} {node.sentence}".rstrip()
        if leaving:
            straight = [line for line in row.edges if line.lane == row.lane]
            yield _text_bends(row, straight, {line.lane for line in leaving}, "/\\")


def _text_cells(row: Row, lines: Iterable[Line]) -> list[str]:
    cells = [" "] * (2 * row.width)
    for line in lines:
        cells[2 * line.lane] = _LINE_SIGNS[line.kind]
    return cells


def _text_node(row: Row, sign: str, sideways: Iterable[Line]) -> str:
    """Return the node's own line: beside the node, dashes towards the lines that are further off."""
    cells = _text_cells(row, row.through)
    for line in sideways:
        near, far = sorted((2 * row.lane, 2 * line.lane))
        reach = range(near + 1, far - 1) if near == 2 * row.lane else range(near + 2, far)
        for column in reach:
            cells[column] = "-" if cells[column] == " " else cells[column]
    cells[2 * row.lane] = sign
    return "".join(cells).rstrip()


def _text_bends(row: Row, straight: Iterable[Line], bent: Iterable[int], signs: str) -> str:
    """Return the line above or below a node, on which its lines turn; ``signs``: left of it, right of it."""
    cells = _text_cells(row, (*row.through, *straight))
    for lane in bent:
        if lane < row.lane:
            cells[2 * lane + 1] = signs[0]
        else:
            cells[2 * lane - 1] = signs[1]
    return "".join(cells).rstrip()
