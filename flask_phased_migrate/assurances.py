"""What the author of a revision answers for: ``assured(...)`` around operations that the linter would report."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Assurance:
    """Rules that somebody answers for, and why; ``line`` is where, if that is known."""

    rules: tuple[str, ...]
    reason: str
    line: int | None = None


_CURRENT: ContextVar[tuple[Assurance, ...]] = ContextVar("assurances", default=())


@contextmanager
def assured(*rules: str, reason: str = "") -> Iterator[None]:
    """Answer for the operations of the block: the linter lists what it finds there by these rules apart.

    A run of the revision does the same with and without it. Without a reason, or with a name that no rule has, the
    linter says so and takes nothing back.

    :param rules: ids of rules, such as ``create-index``.
    :param reason: why it is safe here, for whoever reads the revision, the status and the graph.
    """
    token = _CURRENT.set((*_CURRENT.get(), Assurance(tuple(map(str, rules)), str(reason).strip())))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_assurances() -> tuple[Assurance, ...]:
    """Return what is answered for where the program is now, outermost first."""
    return _CURRENT.get()


def written_assurances(source: bytes) -> tuple[Assurance, ...]:
    """Return every ``assured(...)`` of a file, as its source has it; () for one that is not Python."""
    if b"assured" not in source:
        # To parse a file takes long; nearly none of them has one.
        return ()
    with suppress(SyntaxError, ValueError):
        return tuple(_written(ast.parse(source)))
    return ()


def _written(tree: ast.Module) -> Iterator[Assurance]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "assured":
            reason = next((word.value for word in node.keywords if word.arg == "reason"), None)
            yield Assurance(tuple(map(_text, node.args)), "" if reason is None else _text(reason), node.lineno)


def _called(node: ast.Call) -> str | None:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)
