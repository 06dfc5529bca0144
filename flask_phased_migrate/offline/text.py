"""One piece of exported SQL, and how pieces become a text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["sql", "script", "marker", "comment", "begin", "commit", "bookkeeping", "raw"]


@dataclass(frozen=True)
class Statement:
    """One piece of exported SQL: its text is whole, terminator included.

    ``path`` is the script of a ``script``, relative to the migrations folder; ``args`` and ``timeout_s`` are its own.
    """

    kind: Kind
    text: str
    revision: str | None = None
    phase: str | None = None
    path: str | None = None
    args: tuple[str, ...] = ()
    timeout_s: float | None = None


def render_sql(statements: Iterable[Statement]) -> str:
    """Return the text of an export: each statement and an empty line."""
    return "".join(f"{statement.text}\n\n" for statement in statements)


def with_bind(statements: Iterable[Statement], bind: str) -> tuple[Statement, ...]:
    """Return the statements with a comment before them that names their bind."""
    first = Statement("comment", f"-- Bind {bind}")
    return (first, *(replace(statement) for statement in statements))
