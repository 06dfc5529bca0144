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
