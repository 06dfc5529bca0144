"""Words of errors without what nobody is to read: the journal's rows may be from another version, or another tool."""

from __future__ import annotations

import re

# A value whose repr has several lines goes on until a line that ends the list; a list that was cut, to the end.
_PARAMETERS = re.compile(r"\[parameters: .*?(?:\][ \t]*(?=\n|\Z)|\Z)", re.DOTALL)
_NAMED = re.compile(
    r"""\b([\w-]*(?:secret|token|passw(?:or)?d|pwd|api[_-]?key)[\w-]*['"]?\s*[=:]\s*|\bkey=)"""
    r"""('[^'\n]*'?|"[^"\n]*"?|[^\s&'",;)\]]+)""",
    re.IGNORECASE,
)
_FRAME = re.compile(r'(?<=File ")(?:/|[A-Za-z]:[\\/])[^"\n]*?([^"\n/\\]+(?:[/\\][^"\n/\\]+)?)(?=")')
_LIBRARY = re.compile(r'(?<=File ")(?:/|[A-Za-z]:[\\/])[^"\n]*?(?:site|dist)-packages[/\\]')
_KEY = re.compile(r"(\bKey \([^\n]*?\)=|\bFailing row contains )\([^\n]*\)")


def without_values(text: str) -> str:
    """Return ``text`` without the bound parameters and rows in it, and the values of what is called a secret."""
    return _NAMED.sub(r"\1***", _KEY.sub(r"\1(***)", _PARAMETERS.sub("[parameters: ***]", text)))


def without_places(text: str) -> str:
    """Return ``text`` without where on the machine the files of a traceback are: of each the end of its path."""
    return _FRAME.sub(r"\1", _LIBRARY.sub("", text))
