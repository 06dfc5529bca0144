"""The ratios of the table of speed as an SVG: a bar for each row, a stroke where a ratio was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Protocol
from xml.sax.saxutils import escape

_HEIGHT, _LEFT, _WIDE, _RIGHT = 22, 480, 330, 70
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.met{fill:#4a7fb5}.missed{fill:#b5704a}.asked{stroke:#222;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.asked{stroke:#ddd}}"
)


class Ratio(Protocol):
    """What a bar shows: theirs / ours, 1 where both are the same; and what was asked for."""

    @property
    def title(self) -> str:
        """The row in words."""

    @property
    def ratio(self) -> float | None:
        """Theirs / ours; None where the peer was not measured."""

    @property
    def asked(self) -> float | None:
        """The least ratio that was asked for, if any."""


def draw_ratios(figures: Sequence[Ratio]) -> str:
    """Return the SVG of the figures that have a ratio, on a logarithmic scale that begins at 1."""
    drawn = [(item, item.ratio) for item in figures if item.ratio is not None]
    most = max([2.0, *(max(ratio, item.asked or 1) for item, ratio in drawn)])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDE + _RIGHT} {_HEIGHT * (len(drawn) + 1)}" '
        f'role="img"><title>Peer / ours: longer is faster</title><style>{_STYLE}</style>'
    ]
    for place, (item, ratio) in enumerate(drawn):
        lines += _bar(place * _HEIGHT + 4, item, ratio, _WIDE / log(most))
    return "\n".join([*lines, "</svg>\n"])


def _bar(top: int, item: Ratio, ratio: float, scale: float) -> list[str]:
    width = max(1.0, log(max(ratio, 1.0)) * scale)
    asked = "" if item.asked is None else f", asked {item.asked:.3g}"
    kind = "missed" if item.asked is not None and round(ratio, 2) < round(item.asked, 2) else "met"
    lines = [
        f'<text x="{_LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(item.title)}</text>',
        f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{width:.1f}" height="16">'
        f"<title>{escape(item.title)}: {ratio:.2f}{asked}</title></rect>",
        f'<text x="{_LEFT + width + 6:.1f}" y="{top + 13}">{ratio:.2f}</text>',
    ]
    if item.asked is not None:
        at = _LEFT + log(max(item.asked, 1.0)) * scale
        lines.append(f'<path class="asked" d="M{at:.1f} {top - 2}v20"/>')
    return lines
