"""Sentences of the pages as values: English in the JSON twins, the reader's language in the pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Text:
    """A sentence with places ``%(name)s`` for ``facts``; ``many`` is its plural where it depends on ``number``."""

    one: str
    many: str | None = None
    number: int = 1
    facts: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        message = self.one if self.many is None or self.number == 1 else self.many
        return message % self.facts if self.facts else message


def text(message: str, **facts: object) -> Text:
    """Return a sentence. The messages are collected by the name of this function."""
    return Text(message, facts=facts)


def texts(one: str, many: str, number: int, **facts: object) -> Text:
    """Return a sentence about ``number`` things, which is ``%(number)s`` in it."""
    return Text(one, many, number, {"number": f"{number:,}", **facts})


#: The words of the badges: of states, of statuses, of what is particular about a revision, of the linter's levels.
WORDS: Mapping[str, Text] = {
    "applied": text("applied"),
    "in-flight": text("in-flight"),
    "pending": text("pending"),
    "missing": text("missing"),
    "unknown": text("unknown"),
    "done": text("done"),
    "empty": text("empty"),
    "running": text("running"),
    "failed": text("failed"),
    "interrupted": text("interrupted"),
    "ok": text("ok"),
    "head": text("head"),
    "base": text("base"),
    "merge": text("merge"),
    "branch point": text("branch point"),
    "depends on": text("depends on"),
    "file missing": text("file missing"),
    "error": text("error"),
    "warning": text("warning"),
    "info": text("note"),
    "assured": text("assured"),
}
