"""SQL text to what it touches, by a real SQL parser (sqlglot). Loaded when the first raw SQL is met.

A statement that the parser does not know, or that runs code of its own, is opaque.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

from ..footprint import NOTHING, Footprint, opaque, part, union, whole

_DIALECTS = {
    "postgresql": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlite": "sqlite",
    "mssql": "tsql",
    "oracle": "oracle",
}
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
_NOT_OF_DATA = (exp.Set, exp.Pragma, exp.Use, exp.Transaction, exp.Commit, exp.Rollback, exp.EndStatement)


def read_sql(text: str, dialect_name: str) -> Footprint:
    """Return what the statements in ``text`` touch.

    :param dialect_name: SQLAlchemy's name of the engine.
    """
    dialect = _DIALECTS.get(dialect_name)
    try:
        with _quiet():
            return union(_read_piece(piece, dialect) for piece in _pieces(text, dialect))
    except (SqlglotError, RecursionError):
        return _unknown(text)


def read_condition(text: str, table: str, schema: str | None, dialect_name: str) -> Footprint:
    """Return what a condition on one table touches, such as that of a CHECK constraint; else the whole table."""
    try:
        with _quiet():
            found = sqlglot.parse_one(f"SELECT 1 WHERE {text}", read=_DIALECTS.get(dialect_name))
    except (SqlglotError, RecursionError):
        return whole(table, schema)
    if found.find(exp.Star) or any(query is not found for query in found.find_all(exp.Query)):
        return whole(table, schema)
    return part(table, (column.name for column in found.find_all(exp.Column)), schema)


def _unknown(text: str) -> Footprint:
    return opaque(f"it cannot be told what this touches: {_shortened(text)}")


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep sqlglot from logging what it cannot parse: that is told in our own words."""
    logger = logging.getLogger("sqlglot")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


# -- pieces of text -----------------------------------------------------------------------------------


def _pieces(text: str, dialect: str | None) -> Iterator[tuple[str, Sequence[Token]]]:
    """Yield the statements of a text with their tokens; the body of a trigger or function stays in its statement."""
    piece: list[Token] = []
    depth = 0
    for token in sqlglot.tokenize(text, read=dialect):
        if token.token_type is TokenType.SEMICOLON and (depth <= 0 or _routine(piece) is None):
            yield from _piece(text, piece)
            piece, depth = [], 0
            continue
        depth += _deeper(piece[-1] if piece else None, token)
        piece.append(token)
    yield from _piece(text, piece)


def _piece(text: str, tokens: Sequence[Token]) -> Iterator[tuple[str, Sequence[Token]]]:
    if tokens:
        yield text[tokens[0].start : tokens[-1].end + 1], tokens


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


def _read_piece(piece: tuple[str, Sequence[Token]], dialect: str | None) -> Footprint:
    text, tokens = piece
    word, kind = _word(tokens[0]), _kind(tokens)
    if word in ("CREATE", "DROP", "ALTER") and kind in _ON_A_TABLE:
        return _read_on_table(text, tokens)
    if _routine(tokens) is not None:
        code = opaque(f"it creates code that may touch anything: {_shortened(text)}")
        return union([_read_object(tokens, kind), code])
    if word == "REPLACE":
        return _read_piece(_reworded(text, tokens[0], "INSERT", dialect), dialect)
    if word == "UPDATE" and len(tokens) > 3 and _word(tokens[1]) == "OR":
        # SQLite's UPDATE OR IGNORE, which the parser does not know.
        return _read_piece(_without(text, tokens[1], tokens[2], dialect), dialect)
    if word == "SET" and len(tokens) > 1 and _word(tokens[1]) == "STATEMENT":
        return _read_after_for(text, dialect)
    if word in _UPKEEP:
        return _read_names(text, tokens[0], dialect)
    if word in _SESSION:
        return NOTHING
    statement: Any = sqlglot.parse_one(text, read=dialect)
    if dialect == "sqlite" and _is_index_on_expression(statement):
        # Lost when a batch copies the table: SQLAlchemy cannot read it back.
        return _all_whole(statement)
    return _read_parsed(statement, text, tokens)


def _reworded(text: str, token: Token, word: str, dialect: str | None) -> tuple[str, Sequence[Token]]:
    """Return a statement with another first word: MySQL's REPLACE is an INSERT to us."""
    changed = word + text[token.end - token.start + 1 :]
    return changed, sqlglot.tokenize(changed, read=dialect)


def _without(text: str, first: Token, last: Token, dialect: str | None) -> tuple[str, Sequence[Token]]:
    """Return a statement without the words from ``first`` to ``last``; their places count from ``text``'s own start."""
    start = sqlglot.tokenize(text, read=dialect)[0].start
    changed = text[: first.start - start] + text[last.end + 1 - start :]
    return changed, sqlglot.tokenize(changed, read=dialect)


def _read_after_for(text: str, dialect: str | None) -> Footprint:
    """Return what the statement behind MariaDB's ``SET STATEMENT ... FOR`` touches."""
    for token in sqlglot.tokenize(text, read=dialect):
        if _word(token) == "FOR":
            return union(_read_piece(piece, dialect) for piece in _pieces(text[token.end + 1 :], dialect))
    return _unknown(text)


def _read_names(text: str, first: Token, dialect: str | None) -> Footprint:
    # The tokenizer keeps what follows such a word as one piece of text.
    rest = sqlglot.tokenize(text[first.end - first.start + 1 :], read=dialect)
    starts = [
        number
        for number, token in enumerate(rest)
        if _word(token) not in _UPKEEP_WORDS and (number == 0 or rest[number - 1].token_type is not TokenType.DOT)
    ]
    return union(whole(*name) for number in starts if (name := _name_after(rest, number)) is not None)


def _read_on_table(text: str, tokens: Sequence[Token]) -> Footprint:
    """Return what a trigger or policy touches: the whole of the table that it is on."""
    for number, token in enumerate(tokens):
        if _word(token) == "ON":
            name = _name_after(tokens, number + 1)
            return whole(*name) if name is not None else _unknown(text)
    return opaque(f"it does not name its table: {_shortened(text)}")


def _read_object(tokens: Sequence[Token], kind: str) -> Footprint:
    """Return the footprint of something that is not a table, as a table of its name."""
    words = [_word(token) for token in tokens]
    position = words.index(kind) + 1
    while position < len(words) and words[position] in (*_FILLERS, "ONLY", "CONCURRENTLY"):
        position += 1
    name = _name_after(tokens, position)
    return whole(*name) if name is not None else NOTHING


# -- parsed statements --------------------------------------------------------------------------------


def _read_parsed(statement: Any, text: str, tokens: Sequence[Token]) -> Footprint:
    if isinstance(statement, _NOT_OF_DATA):
        return NOTHING
    for type_, read in _READERS.items():
        if isinstance(statement, type_):
            return read(statement, text)
    if isinstance(statement, exp.Command):
        return _read_command(text, tokens)
    return _unknown(text)


def _read_command(text: str, tokens: Sequence[Token]) -> Footprint:
    """Return what a statement touches of which the parser knows no more than the words."""
    word, kind = _word(tokens[0]), _kind(tokens)
    if kind == "MATERIALIZED":
        kind = "VIEW"
    if word == "ALTER" and (kind == "TABLE" or kind in _OBJECTS):
        return _read_object(tokens, kind)
    if word in ("CREATE", "ALTER", "DROP") and kind == "EXTENSION":
        return NOTHING
    if word == "CREATE" and kind in _OBJECTS and kind != "VIEW":
        return _read_object(tokens, kind)
    return _unknown(text)


def _name(table: exp.Table) -> tuple[str, str | None]:
    return table.name, table.db or None


def _whole(table: exp.Table) -> Footprint:
    return whole(*_name(table)) if isinstance(table.this, exp.Identifier) else NOTHING


def _all_whole(statement: exp.Expression) -> Footprint:
    return union(_whole(table) for table in statement.find_all(exp.Table))


def _read_create(statement: exp.Create, text: str) -> Footprint:
    kind = str(statement.args.get("kind") or "").upper()
    if kind == "INDEX":
        return _read_index(statement, text)
    target = statement.find(exp.Table)
    if target is None:
        return _unknown(text)
    query = statement.args.get("expression")
    reads = _read_query(query, text) if isinstance(query, exp.Query) else NOTHING
    return union([_whole(target), _references(statement), reads])


def _read_index(statement: exp.Create, text: str) -> Footprint:
    index = statement.this
    table = index.args.get("table") if isinstance(index, exp.Index) else None
    params = index.args.get("params") if isinstance(index, exp.Index) else None
    if table is None or params is None:
        return _unknown(text)
    columns = [column.name for column in statement.find_all(exp.Column)]
    columns += [item.name for item in (params.args.get("include") or ())]
    return part(table.name, columns, table.db or None)


def _is_index_on_expression(statement: Any) -> bool:
    index = statement.this if isinstance(statement, exp.Create) else None
    params = index.args.get("params") if isinstance(index, exp.Index) else None
    ordered = (params.args.get("columns") or ()) if params is not None else ()
    return any(not isinstance(item.this, (exp.Column, exp.Identifier)) for item in ordered)


def _read_drop(statement: exp.Drop, text: str) -> Footprint:
    kind = str(statement.args.get("kind") or "").upper()
    if kind != "INDEX":
        return _all_whole(statement)
    on = statement.args.get("cluster")
    if on is None:
        return opaque(f"it does not name its table: {_shortened(text)}")
    return _all_whole(on)


def _read_alter(statement: exp.Alter, text: str) -> Footprint:
    kind = str(statement.args.get("kind") or "TABLE").upper()
    if kind == "INDEX":
        return opaque(f"it does not name its table: {_shortened(text)}")
    actions = statement.args.get("actions")
    if kind != "TABLE" or not actions or not isinstance(statement.this, exp.Table):
        return _all_whole(statement)
    return union(_read_action(action, statement.this) for action in actions)


def _read_action(action: exp.Expression, table: exp.Table) -> Footprint:
    """Return what one part of an ALTER TABLE touches."""
    name, schema = _name(table)
    if isinstance(action, exp.ColumnDef):
        return union([part(name, _columns_in(action), schema), _references(action)])
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
        return _read_constraints(action, table)
    return union([_whole(table), _all_whole(action) if isinstance(action, exp.AlterRename) else NOTHING])


def _read_constraints(action: exp.AddConstraint, table: exp.Table) -> Footprint:
    references = _references(action)
    outside = {id(inner) for found in action.find_all(exp.Reference) for inner in found.walk()}
    names = {
        node.name
        for node in action.walk()
        if id(node) not in outside and isinstance(node, exp.Identifier) and not _names_constraint(node)
    }
    if not names:
        return union([_whole(table), references])
    return union([part(table.name, names, table.db or None), references])


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


def _read_rows(statement: exp.Expression, text: str) -> Footprint:
    """Return what a statement touches that adds or takes away rows: its target as a whole."""
    targets = [statement.this, *(statement.args.get("tables") or ())]
    tables = [table for target in targets if isinstance(target, exp.Expression) for table in _targets(target)]
    if not tables:
        return _unknown(text)
    return union([*(_whole(table) for table in tables), _read_query(statement, text)])


def _read_insert(statement: exp.Insert, text: str) -> Footprint:
    source = statement.args.get("expression")
    if statement.find(exp.CTE) is not None or not isinstance(source, exp.Query):
        return _read_rows(statement, text)
    return union([*(_whole(table) for table in _targets(statement.this)), _read_query(source, text)])


def _targets(target: exp.Expression) -> Iterator[exp.Table]:
    table = target.find(exp.Table)
    if table is not None:
        yield table


def _read_copy(statement: exp.Copy, text: str) -> Footprint:
    found = _all_whole(statement)
    return found if found.tables else _unknown(text)


def _read_whole(statement: exp.Expression, _text: str) -> Footprint:
    return _all_whole(statement)


def _read_comment(statement: exp.Comment, _text: str) -> Footprint:
    on = statement.this
    if isinstance(on, exp.Column):
        return part(on.table, [on.name], on.db or None) if on.table else NOTHING
    return _all_whole(statement)


# -- queries ------------------------------------------------------------------------------------------


def _read_query(statement: exp.Expr, text: str) -> Footprint:
    """Return what a statement reads and updates: the columns that it names, by table.

    With several tables a column without a table's name may be of each, so each is touched as a whole.
    """
    scope = _Scope(statement)
    found = union([*scope.footprints(), *(scope.column(column) for column in statement.find_all(exp.Column))])
    if isinstance(statement, exp.Query) and any(_calls_unknown(statement)):
        return union([found, opaque(f"it calls a function that may touch anything: {_shortened(text)}")])
    return found


def _calls_unknown(statement: exp.Expr) -> Iterator[bool]:
    """Yield for each function that is not of the SQL language: a SELECT in a migration is there for what it does."""
    for _ in statement.find_all(exp.Anonymous):
        yield True


class _Scope:
    """The tables of one statement, by the names that its columns may call them by."""

    def __init__(self, statement: exp.Expr) -> None:
        self.statement = statement
        made = {item.alias_or_name.casefold() for item in statement.find_all(exp.CTE)}
        self.tables = [
            table
            for table in statement.find_all(exp.Table)
            if isinstance(table.this, exp.Identifier) and not (table.name.casefold() in made and not table.db)
        ]
        self.distinct = list({_folded(table): table for table in self.tables}.values())
        self.called: dict[str, list[exp.Table]] = {}
        for table in self.tables:
            for name in {table.alias_or_name.casefold(), table.name.casefold()}:
                self.called.setdefault(name, []).append(table)
        derived = (exp.CTE, exp.Subquery, exp.Values, exp.Lateral, exp.Unnest)
        self.derived = {item.alias_or_name.casefold() for item in statement.find_all(*derived)}
        self.derived |= {
            table.alias_or_name.casefold()
            for table in statement.find_all(exp.Table)
            if table.name.casefold() in made or not isinstance(table.this, exp.Identifier)
        }

    def footprints(self) -> Iterable[Footprint]:
        """Return that every table is looked at, and which are read with all their columns."""
        for table in self.tables:
            yield part(table.name, (), table.db or None)
        for star in self.statement.find_all(exp.Star):
            if not isinstance(star.parent, (exp.Count, exp.Column)):
                yield self._everything()

    def column(self, column: exp.Column) -> Footprint:
        """Return what one column touches."""
        if isinstance(column.this, exp.Star):
            found = self.called.get(column.table.casefold())
            return union(_whole(table) for table in found) if found else self._everything()
        if column.table:
            return self._qualified(column)
        target = self._set_target(column)
        if target is not None:
            return part(target.name, [column.name], target.db or None)
        if len(self.distinct) == 1:
            return part(self.distinct[0].name, [column.name], self.distinct[0].db or None)
        return self._everything()

    def _qualified(self, column: exp.Column) -> Footprint:
        found = self.called.get(column.table.casefold())
        if found:
            return union(part(table.name, [column.name], table.db or None) for table in found)
        if column.table.casefold() in self.derived or column.table.casefold() == "excluded":
            return NOTHING
        return self._everything()

    def _set_target(self, column: exp.Column) -> exp.Table | None:
        """Return the table of an UPDATE of one table, if the column is one that it sets."""
        update = column.find_ancestor(exp.Update)
        if update is None or not isinstance(update.this, exp.Table) or update.this.args.get("joins"):
            return None
        for assignment in update.expressions:
            left = assignment.this if isinstance(assignment, exp.EQ) else None
            if left is column or (isinstance(left, exp.Tuple) and column in left.expressions):
                return update.this
        return None

    def _everything(self) -> Footprint:
        return union(_whole(table) for table in self.distinct)


def _folded(table: exp.Table) -> tuple[str, str]:
    return table.name.casefold(), table.db.casefold()


_READERS: Mapping[Any, Callable[[Any, str], Footprint]] = {
    exp.Create: _read_create,
    exp.Drop: _read_drop,
    exp.Alter: _read_alter,
    exp.Insert: _read_insert,
    exp.Delete: _read_rows,
    exp.Merge: _read_rows,
    exp.Update: _read_query,
    exp.Query: _read_query,
    exp.Copy: _read_copy,
    exp.TruncateTable: _read_whole,
    exp.Analyze: _read_whole,
    exp.Grant: _read_whole,
    exp.Revoke: _read_whole,
    exp.Comment: _read_comment,
}
