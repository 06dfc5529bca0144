"""How a statement ends in a file, so that the engine's own client sends all of it, alone, and once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..inspection.quiet import quiet_parser

if TYPE_CHECKING:
    from sqlglot import Token

_TOKENIZERS = {"mysql": "mysql", "mariadb": "mysql", "oracle": "oracle"}
_DELIMITERS = ("//", "$$", "||", "@@", "%%", "//END//")
_PL_SQL = frozenset({"PROCEDURE", "FUNCTION", "TRIGGER", "PACKAGE"})
_CREATE_FILLERS = frozenset({"CREATE", "OR", "REPLACE", "EDITIONABLE", "NONEDITIONABLE"})


def ended(text: str, dialect_name: str, terminator: str, separator: str) -> str:
    """Return a statement with what ends it for the client: its terminator, DELIMITER lines, or a separator's line.

    :param terminator: Alembic's, ``;`` or nothing; ``separator``, its line between batches (``GO``, ``/``) or nothing.
    """
    if dialect_name in ("mysql", "mariadb") and (body := _divided(text)) is not None:
        return _delimited(body)
    if dialect_name == "oracle":
        text = _oracle_ended(text)
    in_comment = ends_in_comment(text, backslashes=dialect_name in ("mysql", "mariadb"))
    if terminator and (in_comment or not text.endswith(terminator)):
        # A comment on the last line would swallow the terminator.
        text += ("\n" if in_comment else "") + terminator
    return f"{text}\n\n{separator}" if separator else text


def _tokens(text: str, dialect_name: str) -> Sequence[Token] | None:
    """Return the tokens of a text, None where there is no telling."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        with quiet_parser():
            return sqlglot.tokenize(text, read=_TOKENIZERS[dialect_name])
    except SqlglotError:
        return None


def _is_semicolon(token: Any) -> bool:
    return bool(token.text == ";" and token.token_type.name == "SEMICOLON")


def _divided(text: str) -> str | None:
    """Return a text without its last semicolon if another one divides it, outside of strings and comments."""
    if ";" not in text.rstrip("; \t\n"):
        return None
    tokens = _tokens(text, "mysql")
    if tokens is None:
        return text
    found = list(tokens)
    last = None
    while found and _is_semicolon(found[-1]):
        last = found.pop()
    if not any(map(_is_semicolon, found)):
        return None
    return text if last is None or text[last.start + 1 :].strip() else text[: last.start].rstrip()


def _delimited(body: str) -> str:
    # The client looks for a delimiter also where the server would see a name or an operator.
    mark = next((mark for mark in _DELIMITERS if mark not in body), None)
    number = 0
    while mark is None or mark in body:
        mark, number = f"//END{number}//", number + 1
    between = "\n" if ends_in_comment(body, backslashes=True) else ""
    return f"DELIMITER {mark}\n{body}{between}{mark}\nDELIMITER ;"


def _oracle_ended(text: str) -> str:
    """Return a text as SQL*Plus takes it before a ``/``: PL/SQL with its last semicolon, and SQL without.

    SQL*Plus executes at a semicolon, and again at the ``/``.
    """
    tokens = _tokens(text, "oracle")
    if not tokens:
        return text
    last = tokens[-1]
    if _is_pl_sql(tokens):
        if _is_semicolon(last):
            return text
        return text + ("\n;" if ends_in_comment(text, backslashes=False) else ";")
    if _is_semicolon(last):
        return (text[: last.start] + text[last.start + 1 :]).rstrip()
    return text


def _is_pl_sql(tokens: Sequence[Token]) -> bool:
    words = [token.text.upper() for token in tokens[:8]]
    if words[0] in ("BEGIN", "DECLARE"):
        return True
    named = next((word for word in words if word not in _CREATE_FILLERS), "")
    if words[0] == "CREATE" and named == "TYPE":
        return "BODY" in words
    return words[0] == "CREATE" and named in _PL_SQL


def ends_in_comment(text: str, *, backslashes: bool) -> bool:
    """Return whether more text on the last line of an SQL statement would be part of a comment.

    :param backslashes: as in MySQL: a backslash escapes inside quotes, and ``#`` begins a comment.
    """
    last = text.rpartition("\n")[2]
    if "--" not in last and not (backslashes and "#" in last):
        return False
    end, quote, position = len(text), "", 0
    while position < end:
        rest = text[position : position + 2]
        if quote:
            position += 1 if backslashes and rest[0] == "\\" else 0
            quote = "" if rest[0] == quote else quote
        elif rest == "--" or (backslashes and rest[0] == "#"):
            position = text.find("\n", position)
            if position < 0:
                return True
        elif rest == "/*":
            position = max(text.find("*/", position), position) + 1
        elif rest[0] in "'\"`":
            quote = rest[0]
        position += 1
    # An open quote: what we take for a string is not one, and a line break does no harm.
    return bool(quote)
