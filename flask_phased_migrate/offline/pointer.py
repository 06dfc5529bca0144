"""The SQL that moves the version table. An export has a statement or more of it for each revision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..tables import Tables, pointer_changes, pointer_statement

_MARKS: Mapping[str, str] = {"before": "flaskphasedmigratebefore", "after": "flaskphasedmigrateafter"}


class PointerMoves:
    """Writes the statements that move the version table.

    Each kind is compiled once: the text for other ids is the same but for them, as long as they are of plain
    letters and digits, which every engine quotes as they are.

    :param compile_: gives the text of a construct.
    """

    def __init__(self, tables: Tables, compile_: Callable[[Any], str]) -> None:
        self._tables = tables
        self._compile = compile_
        self._templates: dict[str, str | None] = {}

    def texts(self, before: frozenset[str], after: frozenset[str]) -> Iterator[str]:
        """Yield the statements that turn the version table's rows from ``before`` into ``after``."""
        for kind, row in pointer_changes(before, after):
            template = self._template(kind, row) if all(map(_is_plain, row.values())) else None
            if template is None:
                yield self._text(kind, row)
                continue
            for name, value in row.items():
                template = template.replace(_MARKS[name], value)
            yield template

    def _text(self, kind: str, row: Mapping[str, str]) -> str:
        return self._compile(pointer_statement(self._tables, kind, row))

    def _template(self, kind: str, row: Mapping[str, str]) -> str | None:
        """Return a statement's text with marks for the ids; None where a mark is not there exactly once."""
        if kind not in self._templates:
            text = self._text(kind, {name: _MARKS[name] for name in row})
            once = all(text.count(_MARKS[name]) == 1 for name in row)
            self._templates[kind] = text if once else None
        return self._templates[kind]


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isalnum()
