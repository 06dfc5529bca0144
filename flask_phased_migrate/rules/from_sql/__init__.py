"""Raw SQL to the changes that it makes, from the tokens and syntax trees of a real SQL parser (sqlglot).

Definitions are read token by token: the parser keeps much of what engines know beside the standard as mere words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlglot import Token
from sqlglot.errors import SqlglotError

from ...inspection.statements import statements_of
from ...operations import with_plain_colons
from ..changes import NOWHERE, Change, Opaque, Statement
from .alter_table import alter_table
from .definitions import (
    alter_domain,
    alter_schema,
    alter_type,
    alter_view,
    create_materialized,
    create_rule,
    create_trigger,
    create_view,
    drop_container,
    drop_on_table,
    drop_view,
    refresh,
)
from .indexes import alter_index, create_index, drop_index, fulltext_index, replaced_index, spatial_index, unique_index
from .rows import copy_rows, explain, load_rows, read_rows, truncate
from .tables import create_table, drop_table, own_table, rename_table, replaced_table
from .upkeep import change_setting, cluster, optimize, pragma, read_lock, reindex, reset, vacuum
from .words import Words, is_conditional, split_words, unknown


def read_sql(construct: Any, dialect: Any) -> tuple[Statement, ...]:
    """Return what each statement comes to of SQL that is given as text or as a SQLAlchemy construct."""
    try:
        text = _compiled(construct, dialect)
        found = [_read(piece, tokens, dialect.name) for piece, tokens in statements_of(text, dialect.name)]
        if dialect.name in ("mysql", "mariadb") and ("/*!" in text or "/*M!" in text):
            found.append(Statement((Opaque(NOWHERE, "a comment that the server carries out"),)))
        return tuple(found)
    except (SqlglotError, RecursionError, sa.exc.SQLAlchemyError) as error:
        first = " ".join(str(error).split())[:80]
        return (Statement((Opaque(NOWHERE, f"SQL that cannot be read ({first})"),)),)


def _compiled(construct: Any, dialect: Any) -> str:
    construct = with_plain_colons(construct)
    if isinstance(construct, str):
        return construct
    try:
        return str(construct.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    except (sa.exc.CompileError, TypeError):
        return str(construct.compile(dialect=dialect))


def _read(text: str, tokens: Sequence[Token], dialect_name: str) -> Statement:
    words = Words([word for token in tokens for word in split_words(token)], text, dialect_name)
    _skip_definer(words)
    for start, read in _STATEMENTS.items():
        if words.take(*start):
            found = read(words)
            statement = found if isinstance(found, Statement) else Statement(tuple(found))
            return replace(statement, is_conditional=is_conditional(words))
    return Statement((unknown(words),))


def _skip_definer(words: Words) -> None:
    """Take out of a CREATE what MySQL has before the kind of a view or routine: whose it is, how it works."""
    if words.word() != "CREATE":
        return
    place = 3 if words.word(1) == "OR" else 1
    begin = place
    while words.word(place) in ("DEFINER", "ALGORITHM", "SQL", "RECURSIVE"):
        place += 1
        while place < len(words.tokens) and words.word(place) not in _BEHIND_DEFINER:
            place += 1
    del words.tokens[begin:place]


_BEHIND_DEFINER = ("VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "SQL", "DEFINER", "AGGREGATE")


def _nothing(_words: Words) -> Iterator[Change]:
    """Nothing that a rule is about."""
    return iter(())


def _set(words: Words) -> Iterator[Change]:
    if not words.take("STATEMENT"):
        yield from change_setting(words)
        return
    words.until("FOR")
    words.take("FOR")
    rest = words.tokens[words.at :]
    offset = words.tokens[0].start
    yield from _read(words.text[rest[0].start - offset :] if rest else "", rest, words.dialect_name).changes


_OF_NO_TABLE = (
    *("TYPE", "SEQUENCE", "SCHEMA", "EXTENSION", "DOMAIN", "ROLE", "USER", "STATISTICS", "PUBLICATION", "AGGREGATE"),
    *("COLLATION", "CAST", "OPERATOR", "EVENT", "SERVER", "LANGUAGE", "TEXT"),
)
_STATEMENTS: Mapping[tuple[str, ...], Callable[[Words], Any]] = {
    **{("CREATE", *word, "TABLE"): create_table for word in ((), ("UNLOGGED",), ("FOREIGN",), ("VIRTUAL",))},
    **{("CREATE", *word, "TABLE"): own_table for word in (("TEMP",), ("TEMPORARY",), ("LOCAL", "TEMPORARY"))},
    ("CREATE", "OR", "REPLACE", "TEMPORARY"): own_table,
    ("CREATE", "OR", "REPLACE", "TABLE"): replaced_table,
    ("CREATE", "OR", "REPLACE", "UNIQUE"): lambda words: replaced_index(_behind(words, -1)),
    ("CREATE", "OR", "REPLACE", "INDEX"): replaced_index,
    ("CREATE", "UNIQUE", "INDEX"): unique_index,
    ("CREATE", "FULLTEXT", "INDEX"): fulltext_index,
    ("CREATE", "SPATIAL", "INDEX"): spatial_index,
    ("CREATE", "INDEX"): create_index,
    **{("CREATE", word): _nothing for word in _OF_NO_TABLE},
    **{("CREATE", *more, word): _nothing for more in ((), ("OR", "REPLACE")) for word in ("FUNCTION", "PROCEDURE")},
    **{("CREATE", *more, "TRIGGER"): create_trigger for more in ((), ("OR", "REPLACE"), ("CONSTRAINT",))},
    ("CREATE", "POLICY"): drop_on_table,
    ("CREATE", "RULE"): create_rule,
    **{
        ("CREATE", *more, *kind, "VIEW"): create_view
        for more in ((), ("OR", "REPLACE"))
        for kind in ((), ("TEMP",), ("TEMPORARY",))
    },
    ("CREATE", "MATERIALIZED", "VIEW"): create_materialized,
    ("REFRESH",): refresh,
    ("DROP", "TABLE"): drop_table,
    ("DROP", "TEMPORARY", "TABLE"): _nothing,
    ("DROP", "INDEX"): drop_index,
    ("DROP", "SCHEMA"): drop_container,
    ("DROP", "DATABASE"): drop_container,
    ("DROP", "VIEW"): drop_view,
    ("DROP", "MATERIALIZED", "VIEW"): drop_view,
    **{("DROP", word): drop_on_table for word in ("TRIGGER", "POLICY", "RULE")},
    **{("DROP", word): _nothing for word in ("TYPE", "FUNCTION", "PROCEDURE", "ROLE", "USER", "STATISTICS")},
    **{("DROP", word): _nothing for word in ("SEQUENCE", "DOMAIN", "EVENT", "AGGREGATE", "PUBLICATION")},
    ("ALTER", "TABLE"): alter_table,
    ("ALTER", "ONLINE"): alter_table,
    ("ALTER", "IGNORE"): alter_table,
    ("ALTER", "TYPE"): alter_type,
    ("ALTER", "DOMAIN"): alter_domain,
    ("ALTER", "SCHEMA"): alter_schema,
    ("ALTER", "VIEW"): alter_view,
    ("ALTER", "MATERIALIZED", "VIEW"): alter_view,
    **{("ALTER", word): _nothing for word in ("SEQUENCE", "ROLE", "USER", "EXTENSION", "DEFAULT")},
    ("ALTER", "INDEX"): alter_index,
    **{("ALTER", word): _nothing for word in ("FUNCTION", "PROCEDURE", "DATABASE", "STATISTICS", "PUBLICATION")},
    ("RENAME", "TABLE"): rename_table,
    ("TRUNCATE",): truncate,
    ("VACUUM",): vacuum,
    ("CLUSTER",): cluster,
    ("REINDEX",): reindex,
    ("OPTIMIZE",): optimize,
    ("LOCK", "TABLES"): read_lock,
    ("LOCK",): read_lock,
    ("COPY",): copy_rows,
    ("LOAD", "DATA"): load_rows,
    ("EXPLAIN",): explain,
    ("SET",): _set,
    ("RESET",): reset,
    ("PRAGMA",): pragma,
    **{(word,): _nothing for word in ("USE", "SHOW", "COMMENT", "GRANT", "REVOKE", "ANALYZE")},
    **{(word,): _nothing for word in ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "UNLOCK", "END", "START")},
    **{(word,): _nothing for word in ("NOTIFY", "LISTEN", "DISCARD", "CHECKPOINT", "VALUES", "TABLE", "SECURITY")},
    **{(word,): read_rows for word in ("SELECT", "UPDATE", "DELETE", "INSERT", "MERGE", "WITH", "REPLACE")},
}


def _behind(words: Words, places: int) -> Words:
    words.at += places
    return words
