"""SQL text to what it touches, by a real SQL parser (sqlglot). Loaded when the first raw SQL is met.

A statement that the parser does not know, or that runs code of its own, is opaque.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

from ..footprint import NOTHING, SCHEMA, Footprint, opaque, part, union, whole
from .functions import BUILT_IN
from .quiet import quiet_parser

_DIALECTS = {
    "postgresql": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
    "mssql": "tsql",
    "oracle": "oracle",
}
_CALLS = (exp.Anonymous, exp.AnonymousAggFunc, exp.ParameterizedAgg)
_SCHEMAS = frozenset({"SCHEMA", "DATABASE"})
_TYPES = frozenset({"TYPE", "DOMAIN"})
_NAMES = frozenset({TokenType.VAR, TokenType.IDENTIFIER})
_ROUTINES = frozenset({"FUNCTION", "PROCEDURE", "TRIGGER", "EVENT"})
_ON_A_TABLE = frozenset({"TRIGGER", "POLICY"})
_FILLERS = frozenset({"OR", "REPLACE", "TEMP", "TEMPORARY", "CONSTRAINT", "AGGREGATE", "IF", "NOT", "EXISTS"})
_OBJECTS = frozenset({"TYPE", "SEQUENCE", "DOMAIN", "VIEW", "SCHEMA", "COLLATION", "FUNCTION", "PROCEDURE", "EVENT"})
# Of these every name that follows is a table, or one of the words below.
_UPKEEP = frozenset({"VACUUM", "OPTIMIZE", "REINDEX", "CLUSTER", "LOCK", "RENAME", "CHECK", "REPAIR"})
_UPKEEP_WORDS = frozenset(
    {
        *("TABLE", "TABLES", "INDEX", "TO", "ON", "OFF", "TRUE", "FALSE", "ONLY", "IF", "EXISTS", "USING", "LOCAL"),
        *("FULL", "FREEZE", "VERBOSE", "ANALYZE", "CONCURRENTLY", "EXTENDED", "QUICK", "WAIT", "NOWAIT"),
        *("IN", "MODE", "SHARE", "EXCLUSIVE", "ACCESS", "ROW", "UPDATE", "READ", "WRITE"),
    }
)
_SESSION = frozenset(
    {"SET", "RESET", "PRAGMA", "USE", "SHOW", "DISCARD", "UNLOCK", "SAVEPOINT", "RELEASE", "NOTIFY", "LISTEN", "END"}
)
# What an ALTER TABLE that the parser does not know begins with, where it is about nothing but its table.
_OF_ITS_TABLE = (
    *(("ENABLE",), ("DISABLE",), ("FORCE",), ("NO", "FORCE"), ("OWNER", "TO"), ("REPLICA",), ("CLUSTER",)),
    *(("RENAME", "CONSTRAINT"), ("RENAME", "INDEX"), ("RENAME", "KEY"), ("CONVERT", "TO"), ("AUTO_INCREMENT",)),
    *(("VALIDATE", "CONSTRAINT"), ("SET", "("), ("RESET", "("), ("SET", "LOGGED"), ("SET", "UNLOGGED")),
)
# The same behind ALTER COLUMN and the column's name.
_OF_ITS_COLUMN = frozenset(
    {
        *(("SET", "STATISTICS"), ("SET", "STORAGE"), ("SET", "COMPRESSION"), ("SET", "GENERATED"), ("SET", "(")),
        *(("ADD", "GENERATED"), ("DROP", "IDENTITY"), ("DROP", "EXPRESSION"), ("RESET", "(")),
    }
)
# On SQLite what a copy of a table keeps of a column; anything else may be lost.
_KEPT_IN_COPIES = (
    exp.NotNullColumnConstraint,
    exp.DefaultColumnConstraint,
    exp.PrimaryKeyColumnConstraint,
    exp.ComputedColumnConstraint,
    exp.Reference,
)
_SEQUENCE_READS = frozenset({"nextval", "currval"})
_NOT_OF_DATA = (exp.Set, exp.Pragma, exp.Use, exp.Transaction, exp.Commit, exp.Rollback, exp.EndStatement)


@dataclass(frozen=True)
class _Piece:
    """One statement: its text, its tokens, whose places may count from elsewhere, and sqlglot's name of its engine."""

    text: str
    tokens: Sequence[Token]
    dialect: str | None


def read_sql(text: str, dialect_name: str) -> Footprint:
    """Return what the statements in ``text`` touch.

    :param dialect_name: SQLAlchemy's name of the engine.
    """
    dialect = _DIALECTS.get(dialect_name)
    try:
        with quiet_parser():
            found = union(_read_safely(piece) for piece in _pieces(text, dialect))
    except (SqlglotError, RecursionError):
        return _unknown(text)
    if dialect == "mysql" and ("/*!" in text or "/*M!" in text):
        return union([found, opaque(f"it has a comment that is carried out: {_shortened(text)}")])
    return found


def statements_of(text: str, dialect_name: str) -> Iterator[tuple[str, Sequence[Token]]]:
    """Yield each statement of a text with its tokens; of a word whose rest the tokenizer keeps whole, those too.

    :raises SqlglotError: if the text cannot be taken apart.
    """
    dialect = _DIALECTS.get(dialect_name)
    with quiet_parser():
        for piece in _pieces(text, dialect):
            first, rest = piece.tokens[0], piece.tokens[1:]
            inner = piece.text[first.end - first.start + 1 :]
            is_kept = len(rest) == 1 and rest[0].token_type is TokenType.STRING and inner.lstrip()[:1] not in "'\""
            if is_kept:
                yield piece.text, [first, *sqlglot.tokenize(inner, read=dialect)]
            else:
                yield piece.text, piece.tokens


def parse_statement(text: str, dialect_name: str) -> exp.Expr:
    """Return the syntax tree of one statement.

    :raises SqlglotError: if it cannot be parsed.
    """
    with quiet_parser():
        return sqlglot.parse_one(text, read=_DIALECTS.get(dialect_name))


def column_that_is_not_null(text: str, dialect_name: str) -> str | None:
    """Return in lower case the column of which a condition says no more than that it is not NULL, None for others."""
    try:
        tree = parse_statement(f"SELECT {text}", dialect_name)
    except (SqlglotError, RecursionError):
        return None
    found = tree.expressions[0] if isinstance(tree, exp.Select) and len(tree.expressions) == 1 else None
    is_negated = False
    while isinstance(found, (exp.Paren, exp.Not)):
        is_negated ^= isinstance(found, exp.Not)
        found = found.this
    if not isinstance(found, exp.Is) or not isinstance(found.expression, exp.Null):
        return None
    # Of some engines the parser has NOT around IS, of others as a mark on it.
    is_negated ^= bool(found.args.get("negate"))
    column = found.this.unnest()
    return str(column.name).casefold() if is_negated and isinstance(column, exp.Column) else None


def columns_in(text: str, dialect_name: str) -> frozenset[str]:
    """Return the columns that a condition names, in lower case; none of one that cannot be parsed."""
    try:
        tree = parse_statement(f"SELECT {text}", dialect_name)
    except (SqlglotError, RecursionError):
        return frozenset()
    return frozenset(column.name.casefold() for column in tree.find_all(exp.Column))


def word_of(token: Token) -> str:
    """Return a token as a keyword in capitals; "" for a quoted name or a string."""
    return _word(token)


def _read_safely(piece: _Piece) -> Footprint:
    try:
        return _read_piece(piece)
    except (SqlglotError, RecursionError):
        return _unknown(piece.text)


def read_type(text: str, dialect_name: str) -> Footprint:
    """Return the named types that a column's type is made of, as things of their names."""
    try:
        with quiet_parser():
            found = sqlglot.parse_one(f"SELECT CAST(NULL AS {text})", read=_DIALECTS.get(dialect_name))
    except (SqlglotError, RecursionError):
        return _unknown(text)
    return _types(found)


def read_condition(text: str, table: str, schema: str | None, dialect_name: str) -> Footprint:
    """Return what a condition on one table touches, such as that of a CHECK constraint; else the whole table."""
    try:
        with quiet_parser():
            found = sqlglot.parse_one(f"SELECT 1 WHERE {text}", read=_DIALECTS.get(dialect_name))
    except (SqlglotError, RecursionError):
        return whole(table, schema)
    if found.find(exp.Star) or any(query is not found for query in found.find_all(exp.Query)):
        return whole(table, schema)
    own = part(table, (column.name for column in found.find_all(exp.Column)), schema)
    return union([own, _beside_tables(found, text)])


def _unknown(text: str) -> Footprint:
    return opaque(f"it cannot be told what this touches: {_shortened(text)}")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


# -- pieces of text -----------------------------------------------------------------------------------


def _pieces(text: str, dialect: str | None) -> Iterator[_Piece]:
    """Yield the statements of a text with their tokens; the body of a trigger or function stays in its statement."""
    piece: list[Token] = []
    depth = 0
    for token in sqlglot.tokenize(text, read=dialect):
        if token.token_type is TokenType.SEMICOLON and (depth <= 0 or _routine(piece) is None):
            yield from _piece(text, piece, dialect)
            piece, depth = [], 0
            continue
        depth += _deeper(piece[-1] if piece else None, token)
        piece.append(token)
    yield from _piece(text, piece, dialect)


def _piece(text: str, tokens: Sequence[Token], dialect: str | None) -> Iterator[_Piece]:
    if tokens:
        yield _Piece(text[tokens[0].start : tokens[-1].end + 1], tokens, dialect)


def _deeper(before: Token | None, token: Token) -> int:
    """Return how a token changes the depth of blocks: ``BEGIN`` and ``CASE`` begin one, ``END`` ends it."""
    word = _word(token)
    if word in ("BEGIN", "CASE") and (before is None or _word(before) != "END"):
        return 1
    if word in ("IF", "LOOP", "WHILE", "REPEAT") and before is not None and _word(before) == "END":
        return 1
    return -1 if word == "END" else 0


def _word(token: Token) -> str:
    """Return a token as a keyword; a quoted name is none."""
    return "" if token.token_type in (TokenType.IDENTIFIER, TokenType.STRING) else token.text.upper()


def _routine(tokens: Sequence[Token]) -> str | None:
    """Return which kind of routine the tokens create, None for anything else."""
    kind = _kind(tokens)
    return kind if kind in _ROUTINES and _word(tokens[0]) == "CREATE" else None


def _kind(tokens: Sequence[Token]) -> str:
    """Return the kind of thing that a CREATE, ALTER or DROP is about."""
    words = [_word(token) for token in tokens[1:16]]
    if "DEFINER" in words[:3]:
        return next((word for word in words if word in _ROUTINES), "")
    return next((word for word in words if word not in _FILLERS), "")


def _name_after(tokens: Sequence[Token], position: int) -> tuple[str, str | None] | None:
    """Return (table, schema) of the dotted name at a position, None if there is none."""
    names: list[str] = []
    expected = True
    for token in tokens[position:]:
        is_dot = token.token_type is TokenType.DOT
        if is_dot is expected:
            break
        if not is_dot:
            names.append(token.text)
        expected = not expected
    return (names[-1], names[-2] if len(names) > 1 else None) if names else None


def _read_piece(piece: _Piece) -> Footprint:
    tokens = piece.tokens
    word, kind = _word(tokens[0]), _kind(tokens)
    if word in ("CREATE", "DROP", "ALTER") and kind in _ON_A_TABLE:
        return _read_on_table(piece, kind)
    if _routine(tokens) is not None:
        return union([_read_object(piece, kind), _code(piece)])
    if word == "REPLACE":
        return _read_piece(_reworded(piece, tokens[0], "INSERT"))
    if word == "UPDATE" and len(tokens) > 3 and _word(tokens[1]) == "OR":
        # SQLite's UPDATE OR IGNORE, which the parser does not know.
        return _read_piece(_without(piece, tokens[1], tokens[2]))
    if word == "SET" and len(tokens) > 1 and _word(tokens[1]) == "STATEMENT":
        return _read_after_for(piece)
    if word in _UPKEEP:
        return _read_names(piece)
    if word in _SESSION:
        return _read_session(piece)
    return _read_parsed(sqlglot.parse_one(piece.text, read=piece.dialect), piece)


def _code(piece: _Piece) -> Footprint:
    return opaque(f"it creates code that may touch anything: {_shortened(piece.text)}")


def _read_session(piece: _Piece) -> Footprint:
    """Return what a setting of the session touches: a value that is worked out may be read from a table."""
    if _word(piece.tokens[0]) != "SET" or not _has_type(piece.tokens, TokenType.L_PAREN):
        return NOTHING
    return union([_read_query(sqlglot.parse_one(piece.text, read=piece.dialect), piece), _unknown(piece.text)])


def _has_type(tokens: Sequence[Token], type_: TokenType) -> bool:
    return any(token.token_type is type_ for token in tokens)


def _reworded(piece: _Piece, token: Token, word: str) -> _Piece:
    """Return a statement with another first word: MySQL's REPLACE is an INSERT to us."""
    changed = word + piece.text[token.end - token.start + 1 :]
    return _Piece(changed, sqlglot.tokenize(changed, read=piece.dialect), piece.dialect)


def _without(piece: _Piece, first: Token, last: Token) -> _Piece:
    """Return a statement without the words from ``first`` to ``last``."""
    start = piece.tokens[0].start
    changed = piece.text[: first.start - start] + piece.text[last.end + 1 - start :]
    return _Piece(changed, sqlglot.tokenize(changed, read=piece.dialect), piece.dialect)


def _rest(piece: _Piece, position: int) -> str:
    """Return the text of a statement from one of its tokens on."""
    return piece.text[piece.tokens[position].start - piece.tokens[0].start :]


def _read_after_for(piece: _Piece) -> Footprint:
    """Return what the statement behind MariaDB's ``SET STATEMENT ... FOR`` touches."""
    for number, token in enumerate(piece.tokens[:-1]):
        if _word(token) == "FOR":
            return union(_read_piece(item) for item in _pieces(_rest(piece, number + 1), piece.dialect))
    return _unknown(piece.text)


def _read_names(piece: _Piece) -> Footprint:
    # The tokenizer keeps what follows such a word as one piece of text.
    first = piece.tokens[0]
    rest = sqlglot.tokenize(piece.text[first.end - first.start + 1 :], read=piece.dialect)
    starts = [
        number
        for number, token in enumerate(rest)
        if _word(token) not in _UPKEEP_WORDS and (number == 0 or rest[number - 1].token_type is not TokenType.DOT)
    ]
    return union(whole(*name) for number in starts if (name := _name_after(rest, number)) is not None)


def _read_on_table(piece: _Piece, kind: str) -> Footprint:
    """Return what a trigger or policy touches: the whole of the table that it is on, and what its code does."""
    for number, token in enumerate(piece.tokens):
        if _word(token) == "ON":
            name = _name_after(piece.tokens, number + 1)
            if name is None:
                return _unknown(piece.text)
            return union([whole(*name), _read_trigger(piece) if kind == "TRIGGER" else _read_policy(piece)])
    return opaque(f"it does not name its table: {_shortened(piece.text)}")


def _read_policy(piece: _Piece) -> Footprint:
    return _unknown(piece.text) if _has_type(piece.tokens, TokenType.SELECT) else NOTHING


def _read_trigger(piece: _Piece) -> Footprint:
    """Return what the code of a trigger touches: SQLite's is plain SQL, and so may be the one statement of MySQL's."""
    words = [_word(token) for token in piece.tokens]
    if words[0] != "CREATE":
        return NOTHING
    if piece.dialect == "sqlite" and "BEGIN" in words:
        return _read_statements(piece, words.index("BEGIN") + 1, len(words) - 1 - words[::-1].index("END"))
    if piece.dialect == "mysql" and "ROW" in words:
        begins = words.index("ROW") + 1
        if words[begins : begins + 1] in (["SET"], ["INSERT"], ["UPDATE"], ["DELETE"]):
            return _read_statements(piece, begins, len(words))
    return _code(piece)


def _read_statements(piece: _Piece, first: int, behind: int) -> Footprint:
    """Return what the statements in the code of a trigger touch."""
    start = piece.tokens[first].start
    text = _rest(piece, first)[: piece.tokens[behind - 1].end + 1 - start]
    return union(_read_safely(item) for item in _pieces(text, piece.dialect))


def _read_object(piece: _Piece, kind: str) -> Footprint:
    """Return the footprint of something that is not a table, as a table of its name, and the name that it is given."""
    tokens, words = piece.tokens, [_word(token) for token in piece.tokens]
    names = [_name_after(tokens, _position(words, kind))]
    if "RENAME" in words and "TO" in words:
        names.append(_name_after(tokens, words.index("TO") + 1))
    type_ = SCHEMA if kind in _SCHEMAS else "table"
    return union(whole(*name, type_) for name in names if name is not None)


def _position(words: Sequence[str], kind: str) -> int:
    """Return where the name is of a thing of a kind."""
    position = words.index(kind) + 1
    while position < len(words) and words[position] in (*_FILLERS, "ONLY", "CONCURRENTLY"):
        position += 1
    return position


# -- parsed statements --------------------------------------------------------------------------------


def _read_parsed(statement: Any, piece: _Piece) -> Footprint:
    if isinstance(statement, _NOT_OF_DATA):
        return NOTHING
    for type_, read in _READERS.items():
        if isinstance(statement, type_):
            return union([read(statement, piece), _beside_tables(statement, piece.text)])
    if isinstance(statement, exp.Command):
        return _read_command(piece)
    return _unknown(piece.text)


def _read_command(piece: _Piece) -> Footprint:
    """Return what a statement touches of which the parser knows no more than the words."""
    word, kind = _word(piece.tokens[0]), _kind(piece.tokens)
    if kind == "MATERIALIZED":
        kind = "VIEW"
    if word == "ALTER" and kind == "TABLE":
        return _read_table_command(piece)
    if word == "ALTER" and kind in _TYPES:
        return union([_read_object(piece, kind), _of_type(piece)])
    if (word == "ALTER" and kind in _OBJECTS) or (word == "CREATE" and kind in _OBJECTS and kind != "VIEW"):
        return _read_object(piece, kind)
    return _unknown(piece.text)


def _of_type(piece: _Piece) -> Footprint:
    return opaque(f"only the database knows which columns are of this type: {_shortened(piece.text)}")


def _read_table_command(piece: _Piece) -> Footprint:
    """Return what an ALTER TABLE touches that the parser does not know: every name in it, and perhaps more."""
    tokens, words = piece.tokens, [token.text.upper() for token in piece.tokens]
    table, at = _read_object(piece, "TABLE"), _position(words, "TABLE")
    while words[at + 1 : at + 2] == ["."]:
        at += 2
    rest = words[at:]
    # The table may be in another schema afterwards. Behind it is the word for what is done.
    items = [token for token in (tokens[at], *tokens[at + 2 :]) if token.token_type in _NAMES]
    names = [whole(token.text) for token in items if _word(token) not in _UPKEEP_WORDS]
    if _has_type(tokens, TokenType.COMMA):
        return union([table, *names, _unknown(piece.text)])
    if rest[1:3] == ["ADD", "CONSTRAINT"] and rest[-3:-1] == ["USING", "INDEX"]:
        return union([table, *names])
    if rest[1:3] == ["ALTER", "COLUMN"] and tuple(rest[4:6]) in _OF_ITS_COLUMN:
        return table
    if any(tuple(rest[1 : 1 + len(begin)]) == begin for begin in _OF_ITS_TABLE):
        return table
    return union([table, *names, _unknown(piece.text)])


def _beside_tables(statement: exp.Expr, text: str) -> Footprint:
    """Return the types and functions that a statement names; a function that we do not know may touch anything."""
    return union([_types(statement), *(_read_call(call, text) for call in statement.find_all(*_CALLS))])


def _types(statement: exp.Expr) -> Footprint:
    kinds = [found.args.get("kind") for found in statement.find_all(exp.DataType)]
    return union(_named(kind) for kind in kinds if isinstance(kind, exp.Expression))


def _named(name: exp.Expression) -> Footprint:
    """Return the footprint of a use of a thing that is no table."""
    names = [item.name for item in name.find_all(exp.Identifier, bfs=False)]
    return part(names[-1], (), names[-2] if len(names) > 1 else None) if names else NOTHING


def _read_call(call: exp.Func, text: str) -> Footprint:
    name, given = call.name.casefold(), call.expressions
    if name in BUILT_IN or _is_column_prefix(call):
        return NOTHING
    if name in (*_SEQUENCE_READS, "setval") and given and (sequence := _sequence(given[0])) is not None:
        return whole(*sequence) if name == "setval" else part(sequence[0], (), sequence[1])
    around = call.parent
    schema = around.this.name if isinstance(around, exp.Dot) and around.expression is call else None
    why = opaque(f"it calls a function that may touch anything: {_shortened(text)}")
    return union([part(call.name, (), schema or None), why])


def _is_column_prefix(call: exp.Func) -> bool:
    """Return whether this is not a call but, in an index of MySQL, the first characters of a column."""
    ordered = call.parent
    is_indexed = isinstance(ordered, exp.Ordered) and isinstance(ordered.parent, exp.IndexParameters)
    return is_indexed and len(call.expressions) == 1 and isinstance(call.expressions[0], exp.Literal)


def _sequence(given: exp.Expression) -> tuple[str, str | None] | None:
    """Return the (name, schema) of a sequence that is given as a literal, None for anything else."""
    literal = given.this if isinstance(given, exp.Cast) else given
    if not isinstance(literal, exp.Literal) or not literal.is_string:
        return None
    return _name_after(sqlglot.tokenize(literal.name, read="postgres"), 0)


def _name(table: exp.Table) -> tuple[str, str | None]:
    return table.name, table.db or None


def _whole(table: exp.Table) -> Footprint:
    return whole(*_name(table)) if isinstance(table.this, exp.Identifier) else NOTHING


def _all_whole(statement: exp.Expression) -> Footprint:
    return union(_whole(table) for table in statement.find_all(exp.Table))


def _all_or_unknown(statement: exp.Expression, piece: _Piece) -> Footprint:
    found = _all_whole(statement)
    return found if found.tables else _unknown(piece.text)


def _kind_of(statement: exp.Expression) -> str:
    return str(statement.args.get("kind") or "").upper()


def _schemas(statement: exp.Expression) -> Footprint:
    """Return the schemas that a statement is about as a whole."""
    return union(whole(table.name or table.db, None, SCHEMA) for table in statement.find_all(exp.Table))


def _read_create(statement: exp.Create, piece: _Piece) -> Footprint:
    kind = _kind_of(statement)
    if kind == "INDEX":
        return _read_index(statement, piece)
    if kind in _SCHEMAS:
        return _schemas(statement)
    query = statement.args.get("expression")
    # Those in keys and in the query are read on their own; others are what LIKE, INHERITS, PARTITION OF name.
    apart = [query, *statement.find_all(exp.Reference)]
    inner = {id(node) for found in apart if isinstance(found, exp.Expression) for node in found.walk()}
    tables = [table for table in statement.find_all(exp.Table) if id(table) not in inner]
    if not tables or not (query is None or isinstance(query, exp.Query) or kind in _TYPES):
        return union([*map(_whole, tables), _unknown(piece.text)])
    reads = _read_query(query, piece) if isinstance(query, exp.Query) else NOTHING
    if kind == "VIEW" and piece.dialect == "sqlite" and isinstance(query, exp.Query):
        # A batch that copies a table renames it, which fails under a view.
        reads = union([reads, *map(_whole, _Scope(query, piece.dialect).tables)])
    return union([*map(_whole, tables), _references(statement), reads])


def _read_index(statement: exp.Create, piece: _Piece) -> Footprint:
    index = statement.this
    table = index.args.get("table") if isinstance(index, exp.Index) else None
    params = index.args.get("params") if isinstance(index, exp.Index) else None
    if table is None or params is None:
        return _unknown(piece.text)
    own = whole(index.name, table.db or None, "index") if index.name and _shares_names(piece) else NOTHING
    if piece.dialect == "sqlite" and _is_lost_in_copies(params):
        return union([_all_whole(statement), own])
    columns = [column.name for column in statement.find_all(exp.Column)]
    columns += [item.name for item in (params.args.get("include") or ())]
    columns += [call.name for call in statement.find_all(exp.Anonymous) if _is_column_prefix(call)]
    return union([part(table.name, columns, table.db or None), own])


def _shares_names(piece: _Piece) -> bool:
    """Return whether all indexes of a schema have different names."""
    return piece.dialect in ("postgres", "sqlite")


def _is_lost_in_copies(params: exp.Expression) -> bool:
    """Return whether a batch that copies the table loses something of an index: SQLAlchemy reads back names alone."""
    ordered = params.args.get("columns") or ()
    return any(item.args.get("desc") or not isinstance(item.this, (exp.Column, exp.Identifier)) for item in ordered)


def _read_drop(statement: exp.Drop, piece: _Piece) -> Footprint:
    kind = _kind_of(statement)
    if kind in _SCHEMAS:
        return union([_schemas(statement), _unknown(piece.text)])
    if kind == "INDEX":
        return _read_drop_index(statement, piece)
    if kind in _TYPES:
        return union([_all_whole(statement), _of_type(piece)])
    found = _all_or_unknown(statement, piece)
    known = kind in ("TABLE", *_OBJECTS) and not statement.args.get("cascade")
    return found if known else union([found, _unknown(piece.text)])


def _read_drop_index(statement: exp.Drop, piece: _Piece) -> Footprint:
    on = statement.args.get("cluster")
    if on is not None:
        return _all_whole(on)
    names = [_name(table) for target in statement.args.get("tables") or () for table in _targets(target)]
    own = [whole(*name, "index") for name in names if _shares_names(piece)]
    return union([*own, opaque(f"it does not name its table: {_shortened(piece.text)}")])


def _read_alter(statement: exp.Alter, piece: _Piece) -> Footprint:
    kind = str(statement.args.get("kind") or "TABLE").upper()
    if kind == "INDEX":
        indexes = [whole(*_name(table), "index") for table in statement.find_all(exp.Table)]
        return union([*indexes, opaque(f"it does not name its table: {_shortened(piece.text)}")])
    actions = statement.args.get("actions")
    if kind != "TABLE" or not actions or not isinstance(statement.this, exp.Table):
        return _all_whole(statement)
    return union(_read_action(action, statement.this, piece) for action in actions)


def _read_action(action: exp.Expression, table: exp.Table, piece: _Piece) -> Footprint:
    """Return what one part of an ALTER TABLE touches."""
    name, schema = _name(table)
    if isinstance(action, exp.ColumnDef):
        kinds = [item.args.get("kind") for item in action.args.get("constraints") or ()]
        is_lost = piece.dialect == "sqlite" and not all(isinstance(kind, _KEPT_IN_COPIES) for kind in kinds)
        own = _whole(table) if is_lost else part(name, _columns_in(action), schema)
        return union([own, _references(action)])
    if isinstance(action, exp.AlterColumn):
        return part(name, {action.name, *_columns_in(action)}, schema)
    if isinstance(action, exp.ModifyColumn):
        before = action.args.get("rename_from")
        return part(name, {*_columns_in(action), *([before.name] if before is not None else [])}, schema)
    if isinstance(action, exp.RenameColumn):
        return part(name, _columns_in(action), schema)
    if isinstance(action, exp.Drop) and str(action.args.get("kind")).upper() == "COLUMN":
        return part(name, _columns_in(action), schema)
    if isinstance(action, exp.AddConstraint):
        return _read_constraints(action, table, piece)
    return union([_whole(table), _all_whole(action) if isinstance(action, exp.AlterRename) else NOTHING])


def _read_constraints(action: exp.AddConstraint, table: exp.Table, piece: _Piece) -> Footprint:
    named = [_constraint_name(item, table, piece) for item in action.find_all(exp.Constraint)]
    references = union([_references(action), *named])
    outside = {id(inner) for found in action.find_all(exp.Reference) for inner in found.walk()}
    names = {
        node.name
        for node in action.walk()
        if id(node) not in outside and isinstance(node, exp.Identifier) and not _names_constraint(node)
    }
    if not names:
        return union([_whole(table), references])
    return union([part(table.name, names, table.db or None), references])


def _constraint_name(constraint: exp.Constraint, table: exp.Table, piece: _Piece) -> Footprint:
    """Return a constraint as a thing of its name, where all tables of a schema share these names."""
    if piece.dialect == "postgres" and constraint.find(exp.UniqueColumnConstraint, exp.PrimaryKey) is not None:
        return whole(constraint.name, table.db or None, "index")
    if piece.dialect == "mysql" and constraint.find(exp.ForeignKey) is not None:
        return whole(constraint.name, table.db or None, "foreign key")
    return NOTHING


def _names_constraint(node: exp.Identifier) -> bool:
    """Return whether an identifier is the name of the constraint or index, not of a column in it."""
    named = (exp.Constraint, exp.IndexColumnConstraint, exp.UniqueColumnConstraint)
    return isinstance(node.parent, named) and node.arg_key == "this"


def _columns_in(action: exp.Expression) -> set[str]:
    """Return the columns that a part of an ALTER TABLE names, those of other tables left out."""
    outside = {id(inner) for found in action.find_all(exp.Reference) for inner in found.walk()}
    return {
        node.name
        for node in action.find_all(exp.ColumnDef, exp.Column)
        if id(node) not in outside and not isinstance(node.this, exp.Star)
    }


def _references(statement: exp.Expression) -> Footprint:
    """Return what the foreign keys in a statement touch of the tables that they point to."""
    return union(_read_reference(found) for found in statement.find_all(exp.Reference))


def _read_reference(reference: exp.Reference) -> Footprint:
    table = reference.find(exp.Table)
    if table is None:
        return NOTHING
    named = reference.this.expressions if isinstance(reference.this, exp.Schema) else []
    # Without columns it is the primary key, whichever that is.
    return part(table.name, (item.name for item in named), table.db or None) if named else _whole(table)


def _read_rows(statement: exp.Expression, piece: _Piece) -> Footprint:
    """Return what a statement touches that adds or takes away rows: its targets as a whole."""
    found = _read_query(statement, piece)
    return found if any(_row_targets(statement, _Scope(statement, piece.dialect))) else _unknown(piece.text)


def _row_targets(statement: exp.Expression, scope: _Scope) -> Iterator[exp.Table]:
    """Yield the tables to which a statement adds rows or of which it takes some away."""
    given = statement.args.get("tables") or [statement.this]
    # The INSERT in a MERGE has no table of its own.
    named = [target for target in given if isinstance(target, exp.Expression)]
    joined = [join.this for target in named for join in (target.args.get("joins") or ())]
    for target in (*named, *joined):
        for table in _targets(target):
            yield from scope.called.get(table.name.casefold(), [table])


def _read_insert(statement: exp.Insert, piece: _Piece) -> Footprint:
    source = statement.args.get("expression")
    behind = [item for key in ("conflict", "returning") if (item := statement.args.get(key)) is not None]
    has_more = statement.find(exp.CTE) is not None or any(item.find(exp.Query) is not None for item in behind)
    if has_more or not isinstance(source, exp.Query):
        return _read_rows(statement, piece)
    return union([*(_whole(table) for table in _targets(statement.this)), _read_query(source, piece)])


def _targets(target: exp.Expression) -> Iterator[exp.Table]:
    table = target.find(exp.Table)
    if table is not None:
        yield table


def _read_truncate(statement: exp.TruncateTable, piece: _Piece) -> Footprint:
    found = _all_or_unknown(statement, piece)
    return union([found, _unknown(piece.text)]) if str(statement.args.get("option")).upper() == "CASCADE" else found


def _read_whole(statement: exp.Expression, _piece: _Piece) -> Footprint:
    return _all_whole(statement)


def _read_grant(statement: exp.Expression, piece: _Piece) -> Footprint:
    return _schemas(statement) if _kind_of(statement) in _SCHEMAS else _all_or_unknown(statement, piece)


def _read_comment(statement: exp.Comment, piece: _Piece) -> Footprint:
    on = statement.this
    if isinstance(on, exp.Column):
        return part(on.table, [on.name], on.db or None) if on.table else NOTHING
    return _read_grant(statement, piece)


# -- queries ------------------------------------------------------------------------------------------


def _read_query(statement: exp.Expr, piece: _Piece) -> Footprint:
    """Return what a statement reads and updates: the columns that it names, by table.

    With several tables a column without a table's name may be of each, so each is touched as a whole. So are those
    to which it, or a part of it, adds rows.
    """
    scope = _Scope(statement, piece.dialect)
    changes = [found for kind in _ROWS for found in statement.find_all(kind)]
    rows = [_whole(table) for change in changes for table in _row_targets(change, scope)]
    made = [_whole(into.this) for into in statement.find_all(exp.Into) if isinstance(into.this, exp.Table)]
    return union([*rows, *made, *scope.footprints(), *(scope.column(item) for item in statement.find_all(exp.Column))])


class _Scope:
    """The tables of one statement, by the names that its columns may call them by."""

    def __init__(self, statement: exp.Expr, dialect: str | None) -> None:
        self.statement = statement
        self.has_whole_rows = dialect == "postgres"
        found = list(statement.find_all(exp.Table))
        self.tables = [table for table in found if isinstance(table.this, exp.Identifier) and not _is_made(table)]
        self.distinct = list({_folded(table): table for table in self.tables}.values())
        self.called: dict[str, list[exp.Table]] = {}
        for table in self.tables:
            for name in {table.alias_or_name.casefold(), table.name.casefold()}:
                self.called.setdefault(name, []).append(table)
        derived = (exp.CTE, exp.Subquery, exp.Values, exp.Lateral, exp.Unnest)
        self.derived = {item.alias_or_name.casefold() for item in statement.find_all(*derived)}
        self.derived |= {
            table.alias_or_name.casefold()
            for table in found
            if not isinstance(table.this, exp.Identifier) or _is_made(table)
        }

    def footprints(self) -> Iterable[Footprint]:
        """Return that every table is looked at, and which are read with all their columns."""
        for table in self.tables:
            alias = table.args.get("alias")
            has_other_names = alias is not None and alias.args.get("columns")
            yield _whole(table) if has_other_names else part(table.name, (), table.db or None)
        for star in self.statement.find_all(exp.Star):
            if not isinstance(star.parent, (exp.Count, exp.Column)):
                yield self._everything()
        for join in self.statement.find_all(exp.Join):
            if str(join.args.get("method")).upper() == "NATURAL":
                yield self._everything()
            columns = [item.name for item in join.args.get("using") or ()]
            yield from (part(table.name, columns, table.db or None) for table in self.distinct if columns)

    def column(self, column: exp.Column) -> Footprint:
        """Return what one column touches."""
        if isinstance(column.this, exp.Star):
            found = self.called.get(column.table.casefold())
            return union(_whole(table) for table in found) if found else self._everything()
        if column.table:
            return self._qualified(column)
        targets = self._set_targets(column)
        if targets:
            return union(part(table.name, [column.name], table.db or None) for table in targets)
        rows = self.called.get(column.name.casefold(), ()) if self.has_whole_rows else ()
        visible = self._visible(column)
        if len(visible) == 1:
            return union([part(visible[0].name, [column.name], visible[0].db or None), *map(_whole, rows)])
        return union(_whole(table) for table in (*visible, *rows))

    def _visible(self, column: exp.Column) -> Sequence[exp.Table]:
        """Return the tables of which a column may be that does not say of which: not those of queries further in."""
        around, place = set(), column.parent
        while place is not None:
            around.add(id(place))
            place = place.parent
        found = [table for table in self.tables if id(table.find_ancestor(*_OWNERS)) in around]
        return list({_folded(table): table for table in found}.values())

    def _qualified(self, column: exp.Column) -> Footprint:
        found = self.called.get(column.table.casefold())
        if found:
            return union(part(table.name, [column.name], table.db or None) for table in found)
        if column.table.casefold() in (*self.derived, "excluded", "new", "old"):
            return NOTHING
        return self._everything()

    def _set_targets(self, column: exp.Column) -> Sequence[exp.Table]:
        """Return the table of an UPDATE of one table, if the column is one that it sets; () otherwise."""
        update = column.find_ancestor(exp.Update)
        if update is None or not isinstance(update.this, exp.Table) or update.this.args.get("joins"):
            return ()
        for assignment in update.expressions:
            left = assignment.this if isinstance(assignment, exp.EQ) else None
            if left is column or (isinstance(left, exp.Tuple) and any(item is column for item in left.expressions)):
                return self.called.get(update.this.name.casefold(), (update.this,))
        return ()

    def _everything(self) -> Footprint:
        return union(_whole(table) for table in self.distinct)


def _is_made(table: exp.Table) -> bool:
    """Return whether a name is that of a common table expression around the place, not of a table."""
    around = table.parent
    while around is not None and not table.db:
        with_ = around.args.get("with_")
        if isinstance(with_, exp.With) and table.name.casefold() in _made_before(with_, table):
            return True
        around = around.parent
    return False


def _made_before(with_: exp.With, table: exp.Table) -> set[str]:
    """Return the names that a WITH makes for a place: in one of its own queries, those of the queries before it."""
    names: set[str] = set()
    for item in with_.expressions:
        if not with_.args.get("recursive") and any(node is table for node in item.walk()):
            return names
        names.add(item.alias_or_name.casefold())
    return names


def _folded(table: exp.Table) -> tuple[str, str]:
    return table.name.casefold(), table.db.casefold()


_OWNERS = (exp.Select, exp.Update, exp.Delete, exp.Insert, exp.Merge)
_ROWS = (exp.Insert, exp.Delete, exp.Merge)
_READERS: Mapping[Any, Callable[[Any, _Piece], Footprint]] = {
    exp.Create: _read_create,
    exp.Drop: _read_drop,
    exp.Alter: _read_alter,
    exp.Insert: _read_insert,
    exp.Delete: _read_rows,
    exp.Merge: _read_rows,
    exp.Update: _read_query,
    exp.Query: _read_query,
    exp.Copy: _all_or_unknown,
    exp.TruncateTable: _read_truncate,
    exp.Analyze: _read_whole,
    exp.Grant: _read_grant,
    exp.Revoke: _read_grant,
    exp.Comment: _read_comment,
}
