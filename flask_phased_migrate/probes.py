"""Tells from the database whether a statement was executed by a run that ended before it could say so.

Only what leaves a trace that can be looked up has an answer: an object that is there or gone. A statement that may be
sent twice without harm counts as not executed. For the rest there is no answer, and a person has to look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import sqlglot
from sqlalchemy.engine import Connection, Dialect
from sqlglot import Token, TokenType, exp

from .inspection.quiet import quiet_parser

_DIALECTS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}

# Statements that set something to a value, or build anew what is derived: twice is as good as once.
_HARMLESS = frozenset({"set", "analyze", "vacuum", "reindex", "refresh", "grant", "revoke", "comment", "optimize"})

# MariaDB's ANALYZE of a statement executes it; these begin an ANALYZE of tables.
_ANALYZES_TABLES = frozenset({"table", "tables", "local", "no_write_to_binlog"})

# Options of an ALTER TABLE of MySQL that set something to a value.
_TABLE_OPTIONS = (("comment",), ("engine",), ("auto_increment",), ("charset",), ("character", "set"), ("collate",))

# PostgreSQL's pg_class.relkind.
_TABLES, _VIEWS, _MATERIALIZED_VIEWS, _SEQUENCES, _INDEXES = "rpf", "v", "m", "S", "iI"

# Constraints as sqlglot has them, by PostgreSQL's pg_constraint.contype.
_KINDS = {
    exp.ForeignKey: "f",
    exp.CheckColumnConstraint: "c",
    exp.UniqueColumnConstraint: "u",
    exp.PrimaryKey: "p",
    exp.ExcludeColumnConstraint: "x",
    exp.IndexColumnConstraint: "index",
}


def was_executed(connection: Connection, statement: str) -> bool | None:
    """Return whether the database shows that ``statement`` was executed; None where that cannot be told.

    Only reads. The caller knows that no session executes the statement now, and that before it was first sent it had
    not been executed: otherwise it would have failed (SQL's CREATE and DROP do).

    :param statement: as the driver takes it, with percent signs doubled if the driver's placeholders have them.
    """
    text = _as_the_server_has_it(statement, connection.dialect)
    parsed = parse(text, connection.dialect.name)
    if len(parsed) != 1:
        return None
    tree, probe = parsed[0], _Probe(connection)
    if isinstance(tree, exp.Create):
        return probe.created(tree)
    if isinstance(tree, exp.Drop):
        return probe.dropped(tree)
    if isinstance(tree, exp.Alter):
        return probe.altered(tree, _tokens(text, connection.dialect.name))
    return probe.other(_tokens(text, connection.dialect.name))


def _as_the_server_has_it(statement: str, dialect: Dialect) -> str:
    return statement.replace("%%", "%") if dialect.paramstyle in ("format", "pyformat") else statement


def parse(statement: str, dialect_name: str) -> tuple[Any, ...]:
    """Return the statements of an SQL text as trees of sqlglot; an empty tuple where it cannot be parsed.

    Names are as the engine has them: those without quotes are folded where it folds them.
    """
    try:
        with quiet_parser():
            found = sqlglot.parse(statement, read=_DIALECTS.get(dialect_name))
    except (sqlglot.errors.SqlglotError, RecursionError):
        return ()
    trees = tuple(tree for tree in found if tree is not None)
    if dialect_name == "postgresql":
        for name in (name for tree in trees for name in tree.find_all(exp.Identifier)):
            name.set("this", _as_postgresql_has_it(name.name, is_quoted=bool(name.quoted)))
    return trees


def _as_postgresql_has_it(name: str, *, is_quoted: bool) -> str:
    """Return a name in lower case unless it stands in quotes, and cut to the 63 bytes that PostgreSQL keeps."""
    return (name if is_quoted else name.lower()).encode()[:63].decode(errors="ignore")


def words_of(statement: str, dialect_name: str) -> tuple[str, ...]:
    """Return the tokens of an SQL text, comments left out; keywords and names as they are written."""
    return tuple(token.text for token in _tokens(statement, dialect_name))


def _tokens(statement: str, dialect_name: str) -> tuple[Token, ...]:
    try:
        with quiet_parser():
            tokens = sqlglot.tokenize(statement, read=_DIALECTS.get(dialect_name))
    except sqlglot.errors.SqlglotError:
        return ()
    if len(tokens) > 1 and tokens[0].text.lower() == "rename":
        # sqlglot keeps what follows a command that it does not know in one piece.
        tokens[1:2] = _tokens(tokens[1].text, dialect_name)
    return tuple(tokens)


def _lower(tokens: Iterable[Token]) -> tuple[str, ...]:
    """Return keywords in lower case; what stands in quotes is none, and is empty."""
    quoted = (TokenType.IDENTIFIER, TokenType.STRING)
    return tuple("" if token.token_type in quoted else token.text.lower() for token in tokens)


@dataclass(frozen=True)
class ConcurrentIndex:
    """What a CREATE INDEX CONCURRENTLY names."""

    name: str
    table: str
    schema: str | None


def concurrent_index(statement: str) -> ConcurrentIndex | None:
    """Return what a CREATE INDEX CONCURRENTLY of PostgreSQL builds; None for another statement."""
    words = [word.lower() for word in words_of(statement, "postgresql")]
    if "concurrently" not in words or "create" not in words[:1]:
        return None
    for tree in parse(statement.replace("%%", "%"), "postgresql"):
        if isinstance(tree, exp.Create) and tree.args.get("concurrently") and isinstance(tree.this, exp.Index):
            table = tree.this.args.get("table")
            if tree.this.name and table is not None:
                return ConcurrentIndex(tree.this.name, table.name, table.db or None)
    return None


@dataclass(frozen=True)
class _Place:
    """A name, and the schema to look for it; None for the whole search path."""

    name: str
    schema: str | None


class _Probe:
    """Looks for what one statement makes or removes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.inspector = sa.inspect(connection)
        self.is_postgresql = connection.dialect.name == "postgresql"
        self.is_mysql = connection.dialect.name in ("mysql", "mariadb")

    # -- names --------------------------------------------------------------------------------------

    def _existing(self, node: Any) -> _Place:
        """Return where that is which a statement names and does not make."""
        return self._at(_named(node), _schema(node))

    def _at(self, name: str, schema: str | None) -> _Place:
        # SQLAlchemy takes the database of the first connection, whichever is in use now.
        return _Place(name, schema or (self.connection.scalar(sa.text("SELECT database()")) if self.is_mysql else None))

    def _made(self, node: Any) -> _Place:
        """Return where a CREATE makes what it names: without a schema it is not just any of the search path."""
        place = self._existing(node)
        return _Place(place.name, place.schema or self._current_schema()) if self.is_postgresql else place

    def _current_schema(self) -> str | None:
        found = self.connection.scalar(sa.text("SELECT current_schema()"))
        return None if found is None else str(found)

    def _folded(self, name: object) -> str:
        """Return a name to be compared; those of PostgreSQL are folded by then, unless they stand in quotes."""
        return str(name) if self.is_postgresql else str(name).lower()

    def _relation(self, place: _Place, kinds: str) -> str | None:
        """Return the schema of a relation of PostgreSQL, None where there is no such relation."""
        parameters = {"name": place.name, "schema": place.schema, "kinds": kinds}
        found = self.connection.scalar(_RELATION, parameters)
        return None if found is None else str(found)

    def _type(self, place: _Place) -> str | None:
        found = self.connection.scalar(_TYPE, {"name": place.name, "schema": place.schema})
        return None if found is None else str(found)

    def _is_there(self, place: _Place, kinds: str) -> bool:
        if self.is_postgresql:
            return self._relation(place, kinds) is not None
        return self.inspector.has_table(place.name, schema=place.schema)

    def _is_gone(self, place: _Place, found: str | None) -> bool | None:
        """Return whether what a DROP of PostgreSQL removes is gone.

        :param found: the schema in which there is one of this name.
        """
        if found is None:
            return True
        # Further down the search path may be another one, that comes to light when the first is dropped.
        return False if place.schema is not None or found == self._current_schema() else None

    # -- CREATE -------------------------------------------------------------------------------------

    def created(self, tree: exp.Create) -> bool | None:
        """Return whether what a CREATE makes is there."""
        kind = str(tree.args.get("kind") or "").upper()
        if _is_temporary(tree):
            # It went with the session, and what else was to be done with it is not known.
            return None
        if tree.args.get("exists") or (tree.args.get("replace") and kind in ("VIEW", "FUNCTION", "PROCEDURE")):
            return False
        if tree.args.get("replace"):
            return None
        return self._has_created(tree, kind)

    def _has_created(self, tree: exp.Create, kind: str) -> bool | None:
        if kind == "TABLE":
            return self._has_created_table(tree)
        if kind == "INDEX" and isinstance(tree.this, exp.Index):
            return self._has_created_index(tree.this, unique=bool(tree.args.get("unique")))
        if kind == "VIEW":
            return self._is_there(self._made(tree.this), _VIEWS + _MATERIALIZED_VIEWS)
        if kind == "SCHEMA":
            return tree.this.db in self.inspector.get_schema_names()
        if kind == "SEQUENCE" and self.is_postgresql:
            return self._is_there(self._made(tree.this), _SEQUENCES)
        if kind == "SEQUENCE":
            place = self._made(tree.this)
            return self.inspector.has_sequence(place.name, schema=place.schema)
        if kind == "TYPE" and self.is_postgresql:
            return self._type(self._made(tree.this)) is not None
        return None

    def _has_created_table(self, tree: exp.Create) -> bool | None:
        place = self._made(tree.this)
        if not self._is_there(place, _TABLES):
            return False
        if tree.expression is not None or not isinstance(tree.this, exp.Schema) or tree.find(exp.LikeProperty):
            return None
        wanted = {self._folded(item.name) for item in tree.this.expressions if isinstance(item, exp.ColumnDef)}
        return True if wanted == self._columns(place) else None

    def _has_created_index(self, index: exp.Index, *, unique: bool) -> bool | None:
        table = index.args.get("table")
        if table is None or not index.name:
            return None
        place, parameters = self._existing(table), index.args.get("params")
        columns = [item.this for item in (parameters.args.get("columns") if parameters else None) or []]
        found = self._has_index(place, index.name, columns, unique=unique)
        # A build that was cut short has left it behind, invalid: it is made anew.
        return found and not self._is_invalid(index.name, place)

    def _has_index(self, table: _Place, name: str, columns: Sequence[Any], *, unique: bool) -> bool | None:
        """Return whether a table has an index; None where it has another one of the same name."""
        found = self._indexes(table).get(self._folded(name))
        if found is None:
            return False
        if bool(found["unique"]) is not unique:
            return None
        names = [self._folded(item.name) for item in columns if isinstance(item, (exp.Column, exp.Identifier))]
        if len(names) == len(columns) and [self._folded(column) for column in found["column_names"]] != names:
            return None
        return True

    def _indexes(self, table: _Place) -> dict[str, Any]:
        if not self.inspector.has_table(table.name, schema=table.schema):
            return {}
        found = self.inspector.get_indexes(table.name, schema=table.schema)
        return {self._folded(item["name"]): item for item in found if item["name"]}

    def _is_invalid(self, name: str, table: _Place) -> bool:
        if not self.is_postgresql:
            return False
        return invalid_index(self.connection, ConcurrentIndex(name, table.name, table.schema)) is not None

    # -- DROP ---------------------------------------------------------------------------------------

    def dropped(self, tree: exp.Drop) -> bool | None:
        """Return whether what a DROP removes is gone."""
        tables = tree.args.get("tables") or [tree.this]
        if tree.args.get("temporary"):
            return None
        if tree.args.get("exists"):
            return False
        if len(tables) != 1 or tables[0] is None:
            return None
        place, kind = self._existing(tables[0]), str(tree.args.get("kind") or "").upper()
        if kind in ("TABLE", "VIEW"):
            return self._has_dropped_relation(tree, place, kind)
        if kind == "INDEX":
            return self._has_dropped_index(tree, place)
        if kind == "TYPE" and self.is_postgresql:
            return self._is_gone(place, self._type(place))
        return None

    def _has_dropped_relation(self, tree: exp.Drop, place: _Place, kind: str) -> bool | None:
        if not self.is_postgresql:
            return not self._is_there(place, "")
        views = _MATERIALIZED_VIEWS if tree.args.get("materialized") else _VIEWS
        return self._is_gone(place, self._relation(place, _TABLES if kind == "TABLE" else views))

    def _has_dropped_index(self, tree: exp.Drop, place: _Place) -> bool | None:
        cluster = tree.args.get("cluster")
        if cluster is not None and isinstance(cluster.this, exp.Table):
            return self._has_dropped_index_of(self._existing(cluster.this), place.name)
        if not self.is_postgresql:
            return None
        # A DROP INDEX CONCURRENTLY that was cut short leaves the index behind, invalid: it is sent again.
        return self._is_gone(place, self._relation(place, _INDEXES))

    def _has_dropped_index_of(self, table: _Place, name: str) -> bool | None:
        # The primary key's index is not among the others.
        return None if name.lower() == "primary" else self._folded(name) not in self._indexes(table)

    # -- ALTER TABLE --------------------------------------------------------------------------------

    def altered(self, tree: exp.Alter, tokens: Sequence[Token]) -> bool | None:
        """Return whether all that an ALTER TABLE does is there; None where only part of it is."""
        if str(tree.args.get("kind") or "").upper() != "TABLE" or not isinstance(tree.this, exp.Table):
            return None
        rest = _after_table(tokens)
        actions = tree.args.get("actions") or []
        if not actions:
            return False if self.is_mysql and _sets_options(rest) else None
        if isinstance(actions[0], exp.AlterRename):
            return self._has_renamed_table(tree.this, actions, rest)
        table = self._existing(tree.this)
        if not self.inspector.has_table(table.name, schema=table.schema):
            return None
        return _all_or_none([self._has_done(action, table) for action in actions])

    def _has_renamed_table(self, table: exp.Table, actions: Sequence[Any], rest: Sequence[Token]) -> bool | None:
        # RENAME a TO b, of a column, looks the same to sqlglot.
        if len(actions) != 1 or _lower(rest[:2]) != ("rename", "to"):
            return None
        after = actions[0].this
        if self.is_mysql and bool(table.db) is not bool(after.db):
            return None
        return self._is_renamed(self._existing(table), self._at(after.name, after.db or table.db or None))

    def _has_done(self, action: Any, table: _Place) -> bool | str | None:
        """Return whether one action of an ALTER TABLE was done; ``harmless`` where twice is as good as once."""
        if isinstance(action, exp.ColumnDef):
            return "harmless" if action.args.get("exists") else self._folded(action.name) in self._columns(table)
        if isinstance(action, exp.Drop):
            return self._has_dropped_part(action, table)
        if isinstance(action, exp.RenameColumn):
            return self._moved(table, action.this.name, action.args["to"].name)
        if isinstance(action, exp.ModifyColumn):
            before, after = action.args.get("rename_from"), action.this.name
            if before is None or before.name.lower() == after.lower():
                return "harmless"
            return self._moved(table, before.name, after)
        if isinstance(action, exp.AlterColumn):
            # USING computes the values from those that are there.
            return None if action.args.get("using") else "harmless"
        if isinstance(action, exp.AddConstraint):
            return _all_or_none([self._has_constraint(item, table) for item in action.expressions])
        return None

    def _is_renamed(self, before: _Place, after: _Place) -> bool | None:
        has_table = self.inspector.has_table
        found = (has_table(before.name, schema=before.schema), has_table(after.name, schema=after.schema))
        return {(True, False): False, (False, True): True}.get(found)

    def _moved(self, table: _Place, before: str, after: str) -> bool | None:
        columns = self._columns(table)
        found = (self._folded(before) in columns, self._folded(after) in columns)
        return {(True, False): False, (False, True): True}.get(found)

    def _columns(self, table: _Place) -> frozenset[str]:
        found = self.inspector.get_columns(table.name, schema=table.schema)
        return frozenset(self._folded(column["name"]) for column in found)

    def _has_dropped_part(self, action: exp.Drop, table: _Place) -> bool | str | None:
        kind = str(action.args.get("kind") or "").upper()
        parts = action.args.get("tables") or [action.this]
        if action.args.get("exists"):
            return "harmless"
        if len(parts) != 1 or parts[0] is None:
            return None
        name = parts[0].name
        if kind == "COLUMN":
            return self._folded(name) not in self._columns(table)
        if kind in ("INDEX", "KEY"):
            return self._has_dropped_index_of(table, name)
        if kind == "CONSTRAINT":
            return self._has_dropped_constraint(table, name)
        if kind in ("FOREIGN KEY", "CHECK"):
            return self._folded(name) not in self._names(table, "f" if kind == "FOREIGN KEY" else "c")
        return None

    # -- constraints --------------------------------------------------------------------------------

    def _has_constraint(self, item: Any, table: _Place) -> bool | None:
        """Return whether a table has what ADD adds; None for what has no name."""
        made = item.expressions[0] if isinstance(item, exp.Constraint) and len(item.expressions) == 1 else item
        symbol = item.name if isinstance(item, exp.Constraint) else ""
        kind = _KINDS.get(type(made))
        if kind == "p":
            return self._has_primary_key(made, table, symbol)
        if self.is_postgresql:
            return self._has_constraint_of(table, symbol, kind) if symbol and kind else None
        if kind in ("f", "c"):
            return self._folded(symbol) in self._names(table, kind) if symbol else None
        return self._has_added_index(made, table, symbol) if kind in ("u", "index") else None

    def _has_constraint_of(self, table: _Place, name: str, kind: str) -> bool | None:
        found = self._constraint_kind(table, name)
        if found is None:
            return False
        return True if found == kind else None

    def _has_primary_key(self, made: exp.PrimaryKey, table: _Place, symbol: str) -> bool | None:
        found = self.inspector.get_pk_constraint(table.name, schema=table.schema)
        columns = [self._folded(column) for column in found["constrained_columns"]]
        if not columns:
            return False
        if self.is_postgresql and symbol and found["name"] != symbol:
            return None
        return True if columns == [self._folded(item.name) for item in made.expressions] else None

    def _has_added_index(self, made: Any, table: _Place, symbol: str) -> bool | None:
        """Return whether a table of MySQL has an index, which is what a UNIQUE is there, too."""
        unique = isinstance(made, exp.UniqueColumnConstraint)
        index = made.this if unique else made
        if not isinstance(index, (exp.Schema, exp.IndexColumnConstraint)):
            return None
        own = index.this.name if index.this is not None else ""
        if symbol and own and symbol != own:
            return None
        name = symbol or own
        return self._has_index(table, name, index.expressions, unique=unique) if name else None

    def _has_dropped_constraint(self, table: _Place, name: str) -> bool | None:
        if self.is_postgresql:
            return self._constraint_kind(table, name) is None
        if name.lower() == "primary":
            return None
        if self._folded(name) in self._names(table, "f") | self._names(table, "c"):
            return False
        index = self._indexes(table).get(self._folded(name))
        # A foreign key leaves its index behind. A UNIQUE of the name may be meant, or have been beside what was.
        return True if index is None or not index["unique"] else None

    def _constraint_kind(self, table: _Place, name: str) -> str | None:
        parameters = {"name": name, "table": table.name, "schema": table.schema}
        found = self.connection.scalar(_CONSTRAINT, parameters)
        return None if found is None else str(found)

    def _names(self, table: _Place, kind: str) -> frozenset[str]:
        """Return the names of a table's foreign keys (``f``) or checks (``c``)."""
        read: Any = self.inspector.get_foreign_keys if kind == "f" else self.inspector.get_check_constraints
        return frozenset(self._folded(item["name"]) for item in read(table.name, schema=table.schema) if item["name"])

    # -- what sqlglot leaves as it is ---------------------------------------------------------------

    def other(self, tokens: Sequence[Token]) -> bool | None:
        """Return the answer for a statement that sqlglot leaves as it is."""
        words = _lower(tokens)
        if words[:1] and words[0] in _HARMLESS:
            return False if self._is_harmless(words) else None
        if words[:2] == ("alter", "table"):
            rest = _lower(_after_table(tokens))
            return False if rest[:2] == ("validate", "constraint") and len(rest) == 3 else None
        if words[:2] == ("alter", "type") and self.is_postgresql:
            return self._has_enum_value(tokens[2:])
        if words[:2] == ("rename", "table"):
            return self._has_renamed(tokens[2:])
        return None

    def _is_harmless(self, words: Sequence[str]) -> bool:
        if words[0] == "analyze" and self.is_mysql:
            return words[1:2] != () and words[1] in _ANALYZES_TABLES
        return tuple(words[:2]) != ("set", "statement")

    def _has_renamed(self, tokens: Sequence[Token]) -> bool | None:
        before, rest = self._name(tokens)
        if before is None or _lower(rest[:1]) != ("to",):
            return None
        after, rest = self._name(rest[1:])
        if after is None or rest:
            return None
        return self._is_renamed(self._at(before.name, before.schema), self._at(after.name, after.schema))

    def _has_enum_value(self, tokens: Sequence[Token]) -> bool | None:
        """Return whether a type has the value that ``name ADD VALUE 'value'`` adds."""
        place, rest = self._name(tokens)
        if place is None or _lower(rest[:2]) != ("add", "value"):
            return None
        if _lower(rest[2:5]) == ("if", "not", "exists"):
            return False
        if len(rest) < 3 or rest[2].token_type is not TokenType.STRING or self._type(place) is None:
            return None
        parameters = {"name": place.name, "schema": place.schema, "value": rest[2].text}
        return bool(self.connection.scalar(_ENUM_VALUE, parameters))

    def _name(self, tokens: Sequence[Token]) -> tuple[_Place | None, Sequence[Token]]:
        """Return the name with which the tokens begin, and those that follow it."""
        parts, rest = _dotted(tokens)
        if not 1 <= len(parts) <= 2:
            return None, rest
        names = [self._spelled(part) for part in parts]
        return _Place(names[-1], names[0] if len(names) == 2 else None), rest

    def _spelled(self, token: Token) -> str:
        if not self.is_postgresql:
            return token.text
        return _as_postgresql_has_it(token.text, is_quoted=token.token_type is TokenType.IDENTIFIER)


def _dotted(tokens: Sequence[Token]) -> tuple[Sequence[Token], Sequence[Token]]:
    """Return the parts of the dotted name with which the tokens begin, and the tokens that follow it."""
    end = 1
    while len(tokens) > end + 1 and tokens[end].token_type is TokenType.DOT:
        end += 2
    return tokens[:end:2], tokens[end:]


def _after_table(tokens: Sequence[Token]) -> Sequence[Token]:
    """Return what follows the name of the table in an ALTER TABLE."""
    rest = tokens[2:]
    for skipped in (("if", "exists"), ("only",)):
        if _lower(rest[: len(skipped)]) == skipped:
            rest = rest[len(skipped) :]
    return _dotted(rest)[1]


def _sets_options(tokens: Sequence[Token]) -> bool:
    """Return whether the tokens are options of a table alone, each set to a value: ``[DEFAULT] option [=] value``."""
    words = list(_lower(tokens))
    if not words:
        return False
    while words:
        if words[0] == ",":
            del words[0]
        if words[:1] == ["default"]:
            del words[0]
        option = next((option for option in _TABLE_OPTIONS if tuple(words[: len(option)]) == option), None)
        if option is None:
            return False
        del words[: len(option)]
        if words[:1] == ["="]:
            del words[0]
        if not words:
            return False
        del words[0]
    return True


def _all_or_none(answers: Iterable[bool | str | None]) -> bool | None:
    """Return the one answer of several parts of a statement that the engine does as a whole."""
    every = list(answers)
    told = {answer for answer in every if answer != "harmless"}
    if not told:
        return False if every else None
    answer = told.pop()
    return answer if not told and isinstance(answer, bool) else None


def _named(node: Any) -> str:
    return str(node.this.name if isinstance(node, exp.Schema) else node.name)


def _schema(node: Any) -> str | None:
    table = node.this if isinstance(node, exp.Schema) else node
    return table.db or None if isinstance(table, exp.Table) else None


def _is_temporary(tree: exp.Create) -> bool:
    properties = tree.args.get("properties")
    named = any(isinstance(item, exp.TemporaryProperty) for item in (properties.expressions if properties else []))
    return named or (_schema(tree.this) or "").lower() in ("temp", "pg_temp")


_TYPE = sa.text(
    "SELECT n.nspname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
    "WHERE t.typname = :name AND CASE WHEN cast(:schema AS text) IS NULL THEN pg_catalog.pg_type_is_visible(t.oid) "
    "ELSE n.nspname = :schema END"
)
_RELATION = sa.text(
    "SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relname = :name AND strpos(cast(:kinds AS text), cast(c.relkind AS text)) > 0 "
    "AND CASE WHEN cast(:schema AS text) IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) "
    "ELSE n.nspname = :schema END"
)
_CONSTRAINT = sa.text(
    "SELECT cast(k.contype AS text) FROM pg_catalog.pg_constraint k "
    "JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE k.conname = :name AND c.relname = :table "
    "AND CASE WHEN cast(:schema AS text) IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) "
    "ELSE n.nspname = :schema END"
)
_ENUM_VALUE = sa.text(
    "SELECT count(*) FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typname = :name AND e.enumlabel = :value "
    "AND CASE WHEN cast(:schema AS text) IS NULL THEN pg_catalog.pg_type_is_visible(t.oid) "
    "ELSE n.nspname = :schema END"
)
# PostgreSQL documentation, CREATE INDEX, "Building Indexes Concurrently": a build that fails leaves an invalid index.
# One that is being built now is invalid too; pg_stat_progress_create_index has it.
_INVALID = sa.text(
    "SELECT n.nspname, c.relname FROM pg_catalog.pg_index i "
    "JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace "
    "WHERE NOT i.indisvalid AND c.relname = :name AND t.relname = :table "
    "AND CASE WHEN cast(:schema AS text) IS NULL THEN pg_catalog.pg_table_is_visible(t.oid) "
    "ELSE tn.nspname = :schema END "
    "AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)"
)


def invalid_index(connection: Connection, index: ConcurrentIndex) -> str | None:
    """Return the quoted name of an index that a failed concurrent build left invalid; None where there is none."""
    row = connection.execute(_INVALID, {"name": index.name, "table": index.table, "schema": index.schema}).one_or_none()
    if row is None:
        return None
    quote = connection.dialect.identifier_preparer.quote_identifier
    return f"{quote(row[0])}.{quote(row[1])}"
