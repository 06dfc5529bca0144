"""Server defaults that are more than a literal: whether the server works them out once or for each row."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp
from sqlglot.errors import SqlglotError

from ...inspection.functions import BUILT_IN
from ...inspection.statements import parse_statement
from ..changes import Default

_STABLE = frozenset(
    {
        *("NOW", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIME", "LOCALTIMESTAMP"),
        *("TRANSACTION_TIMESTAMP", "STATEMENT_TIMESTAMP", "CURRENT_USER", "SESSION_USER", "USER", "CURRENT_SCHEMA"),
    }
)
"""What a server works out once for a statement."""
_VOLATILE = frozenset(
    {
        *("CLOCK_TIMESTAMP", "GEN_RANDOM_UUID", "UUID_GENERATE_V1", "UUID_GENERATE_V4", "UUIDV4", "UUIDV7", "UUID"),
        *("RANDOM", "RAND", "NEXTVAL", "TIMEOFDAY", "SYSDATE", "UUID_SHORT", "RANDOMBLOB", "SYS_GUID"),
    }
)


def read_default_text(text: str, dialect_name: str) -> Default:
    """Return what a default is that is more than a literal."""
    try:
        found = parse_statement(f"SELECT {text}", dialect_name)
    except (SqlglotError, RecursionError):
        return Default("unknown", text)
    names = {name for node in found.find_all(exp.Func) for name in _function_names(node)}
    names |= {node.name.upper() for node in found.find_all(exp.Column) if not node.table}
    if names & _VOLATILE:
        return Default("volatile", text)
    anonymous = {node.name.upper() for node in found.find_all(exp.Anonymous)}
    if {name for name in anonymous if name.casefold() not in BUILT_IN} - _STABLE:
        return Default("unknown", text)
    return Default("stable" if names & _STABLE else "constant", text)


def _function_names(node: exp.Func) -> Iterator[str]:
    if isinstance(node, exp.Anonymous):
        yield node.name.upper()
    else:
        yield from (name.upper() for name in type(node).sql_names())
