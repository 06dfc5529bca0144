"""Words of errors without what nobody is to read: the journal's rows may be from another version, or another tool."""

from __future__ import annotations

import re

_PARAMETERS = re.compile(r"\[parameters: [^\n]*")
_NAMED = re.compile(
    r"""\b([\w-]*(?:secret|token|passw(?:or)?d|pwd|api[_-]?key)[\w-]*['"]?\s*[=:]\s*|\bkey=)"""
    r"""('[^'\n]*'?|"[^"\n]*"?|[^\s&'",;)\]]+)""",
    re.IGNORECASE,
)


def without_values(text: str) -> str:
    """Return ``text`` without the bound parameters that SQLAlchemy lists, and the values of what is called a secret."""
    return _NAMED.sub(r"\1***", _PARAMETERS.sub("[parameters: ***]", text))
