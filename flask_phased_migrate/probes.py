"""Tells from the database whether a statement was executed by a run that ended before it could say so.

Only what leaves a trace that can be looked up has an answer: an object that is there or gone. A statement that may be
sent twice without harm counts as not executed. For the rest there is no answer, and a person has to look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import sqlglot
from sqlalchemy.engine import Connection
from sqlglot import exp

_DIALECTS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}

# Statements that set something to a value, or build anew what is derived: twice is as good as once.
_HARMLESS = frozenset({"set", "analyze", "vacuum", "reindex", "refresh", "grant", "revoke", "comment", "optimize"})


def was_executed(connection: Connection, statement: str) -> bool | None:
    """Return whether the database shows that ``statement`` was executed; None where that cannot be told.

    Only reads. The caller knows that no session executes the statement now, and that before it was first sent it had
    not been executed: otherwise it would have failed (SQL's CREATE and DROP do).
    """
    parsed = parse(statement, connection.dialect.name)
    if len(parsed) != 1:
        return None
    tree, probe = parsed[0], _Probe(connection)
    if isinstance(tree, exp.Create):
        return probe.created(tree)
    if isinstance(tree, exp.Drop):
        return probe.dropped(tree)
    if isinstance(tree, exp.Alter):
        return probe.altered(tree, words_of(statement, connection.dialect.name))
    return probe.other(words_of(statement, connection.dialect.name))


def parse(statement: str, dialect_name: str) -> tuple[Any, ...]:
    """Return the statements of an SQL text as trees of sqlglot; an empty tuple where it cannot be parsed."""
    try:
        # Alembic's texts are as the driver takes them: percent signs doubled for those with %-placeholders.
        found = sqlglot.parse(statement.replace("%%", "%"), read=_DIALECTS.get(dialect_name))
    except sqlglot.errors.SqlglotError:
        return ()
    trees = tuple(tree for tree in found if tree is not None)
    if dialect_name == "postgresql":
        for name in (name for tree in trees for name in tree.find_all(exp.Identifier) if not name.quoted):
            name.set("this", name.name.lower())
    return trees


def words_of(statement: str, dialect_name: str) -> tuple[str, ...]:
    """Return the tokens of an SQL text, comments left out; keywords as they are written."""
    try:
        tokens = sqlglot.tokenize(statement, read=_DIALECTS.get(dialect_name))
    except sqlglot.errors.SqlglotError:
        return ()
    words = [token.text for token in tokens]
    if len(words) > 1 and words[0].lower() == "rename":
        # sqlglot keeps what follows a command that it does not know in one piece.
        words[1:2] = words_of(words[1], dialect_name)
    return tuple(words)


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
    for tree in parse(statement, "postgresql"):
        if isinstance(tree, exp.Create) and tree.args.get("concurrently") and isinstance(tree.this, exp.Index):
            table = tree.this.args.get("table")
            if tree.this.name and table is not None:
                return ConcurrentIndex(tree.this.name, table.name, table.db or None)
    return None


class _Probe:
    """Looks for what one statement makes or removes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.inspector = sa.inspect(connection)

    def created(self, tree: exp.Create) -> bool | None:
        """Return whether what a CREATE makes is there."""
        kind = str(tree.args.get("kind") or "").upper()
        if tree.args.get("exists") or (tree.args.get("replace") and kind in ("VIEW", "FUNCTION", "PROCEDURE")):
            return False
        if tree.args.get("replace"):
            return None
        if kind == "TABLE":
            return self._has_created_table(tree)
        if kind == "INDEX" and isinstance(tree.this, exp.Index):
            return self._has_created_index(tree.this)
        if kind == "VIEW":
            return _named(tree.this) in self.inspector.get_view_names(_schema(tree.this))
        if kind == "SCHEMA":
            return tree.this.db in self.inspector.get_schema_names()
        if kind == "SEQUENCE":
            return self.inspector.has_sequence(_named(tree.this), schema=_schema(tree.this))
        if kind == "TYPE" and self.connection.dialect.name == "postgresql":
            return bool(self.connection.scalar(_TYPE, {"name": _named(tree.this), "schema": _schema(tree.this)}))
        return None

    def _has_created_table(self, tree: exp.Create) -> bool | None:
        name, schema = _named(tree.this), _schema(tree.this)
        if not self.inspector.has_table(name, schema=schema):
            return False
        if tree.expression is not None or not isinstance(tree.this, exp.Schema):
            return None
        wanted = {item.name.lower() for item in tree.this.expressions if isinstance(item, exp.ColumnDef)}
        found = {str(column["name"]).lower() for column in self.inspector.get_columns(name, schema=schema)}
        return True if wanted == found else None

    def _has_created_index(self, index: exp.Index) -> bool | None:
        table = index.args.get("table")
        if table is None or not index.name:
            return None
        found = self._indexes(table.name, table.db or None)
        if index.name not in found:
            return False
        parameters = index.args.get("params")
        columns = [item.this for item in (parameters.args.get("columns") if parameters else None) or []]
        names = [column.name for column in columns if isinstance(column, exp.Column)]
        if len(names) == len(columns) and found[index.name] != names:
            return None
        return not self._is_invalid(index.name, table.name, table.db or None)

    def _indexes(self, table: str, schema: str | None) -> dict[str, list[str | None]]:
        if not self.inspector.has_table(table, schema=schema):
            return {}
        found = self.inspector.get_indexes(table, schema=schema)
        return {str(item["name"]): list(item["column_names"]) for item in found if item["name"]}

    def _is_invalid(self, name: str, table: str, schema: str | None) -> bool:
        if self.connection.dialect.name != "postgresql":
            return False
        return invalid_index(self.connection, ConcurrentIndex(name, table, schema)) is not None

    def dropped(self, tree: exp.Drop) -> bool | None:
        """Return whether what a DROP removes is gone."""
        kind = str(tree.args.get("kind") or "").upper()
        tables = tree.args.get("tables") or [tree.this]
        if tree.args.get("exists"):
            return False
        if len(tables) != 1 or tables[0] is None:
            return None
        name, schema = _named(tables[0]), _schema(tables[0])
        if kind == "TABLE":
            return not self.inspector.has_table(name, schema=schema)
        if kind == "VIEW":
            return name not in self.inspector.get_view_names(schema)
        if kind == "INDEX":
            return self._has_dropped_index(tree, name, schema)
        if kind == "TYPE" and self.connection.dialect.name == "postgresql":
            return not self.connection.scalar(_TYPE, {"name": name, "schema": schema})
        return None

    def _has_dropped_index(self, tree: exp.Drop, name: str, schema: str | None) -> bool | None:
        cluster = tree.args.get("cluster")
        if cluster is not None and isinstance(cluster.this, exp.Table):
            return name not in self._indexes(cluster.this.name, cluster.this.db or None)
        if self.connection.dialect.name != "postgresql":
            return None
        # A DROP INDEX CONCURRENTLY that was cut short leaves the index behind, invalid: it is sent again.
        return not self.connection.scalar(_RELATION, {"name": name, "schema": schema})

    def altered(self, tree: exp.Alter, words: tuple[str, ...]) -> bool | None:
        """Return whether all that an ALTER TABLE does is there; None where only part of it is."""
        if str(tree.args.get("kind") or "").upper() != "TABLE" or not isinstance(tree.this, exp.Table):
            return None
        table, schema = tree.this.name, tree.this.db or None
        actions = tree.args.get("actions") or []
        answers = [self._has_done(action, table, schema, words) for action in actions]
        return _all_or_none(answers)

    def _has_done(self, action: Any, table: str, schema: str | None, words: tuple[str, ...]) -> bool | str | None:
        """Return whether one action of an ALTER TABLE was done; ``harmless`` where twice is as good as once."""
        if isinstance(action, exp.AlterRename):
            renames_table = "to" in [word.lower() for word in words[3:5]]
            return self._is_renamed(table, action.this.name, schema) if renames_table else None
        if not self.inspector.has_table(table, schema=schema):
            return None
        if isinstance(action, exp.ColumnDef):
            return "harmless" if action.args.get("exists") else action.name.lower() in self._columns(table, schema)
        if isinstance(action, exp.Drop):
            return self._has_dropped_part(action, table, schema)
        if isinstance(action, exp.RenameColumn):
            return self._moved(self._columns(table, schema), action.this.name, action.args["to"].name)
        if isinstance(action, exp.ModifyColumn):
            before = action.args.get("rename_from")
            after = action.this.name
            if before is None or before.name.lower() == after.lower():
                return "harmless"
            return self._moved(self._columns(table, schema), before.name, after)
        if isinstance(action, exp.AlterColumn):
            return "harmless"
        if isinstance(action, exp.AddConstraint):
            return _all_or_none([self._has_constraint(item, table, schema) for item in action.expressions])
        return None

    def _is_renamed(self, before: str, after: str, schema: str | None) -> bool | None:
        found = (self.inspector.has_table(before, schema=schema), self.inspector.has_table(after, schema=schema))
        return {(True, False): False, (False, True): True}.get(found)

    @staticmethod
    def _moved(names: frozenset[str], before: str, after: str) -> bool | None:
        found = (before.lower() in names, after.lower() in names)
        return {(True, False): False, (False, True): True}.get(found)

    def _columns(self, table: str, schema: str | None) -> frozenset[str]:
        return frozenset(str(column["name"]).lower() for column in self.inspector.get_columns(table, schema=schema))

    def _has_dropped_part(self, action: exp.Drop, table: str, schema: str | None) -> bool | str | None:
        kind = str(action.args.get("kind") or "").upper()
        parts = action.args.get("tables") or [action.this]
        if action.args.get("exists"):
            return "harmless"
        if len(parts) != 1 or parts[0] is None:
            return None
        name = parts[0].name
        if kind == "COLUMN":
            return name.lower() not in self._columns(table, schema)
        if kind in ("INDEX", "CONSTRAINT", "FOREIGN KEY"):
            return name not in self._constraints(table, schema)
        return None

    def _has_constraint(self, item: Any, table: str, schema: str | None) -> bool | None:
        name = item.name
        if isinstance(item, exp.UniqueColumnConstraint) and isinstance(item.this, exp.Schema):
            name = item.this.this.name if item.this.this is not None else ""
        return name in self._constraints(table, schema) if name else None

    def _constraints(self, table: str, schema: str | None) -> frozenset[str]:
        inspector = self.inspector
        found: list[Any] = [*inspector.get_indexes(table, schema=schema)]
        found += inspector.get_unique_constraints(table, schema=schema)
        found += inspector.get_foreign_keys(table, schema=schema)
        found += inspector.get_check_constraints(table, schema=schema)
        found.append(inspector.get_pk_constraint(table, schema=schema))
        return frozenset(str(item["name"]) for item in found if item.get("name"))

    def other(self, words: tuple[str, ...]) -> bool | None:
        """Return the answer for a statement that sqlglot leaves as it is."""
        lower = [word.lower() for word in words]
        if lower[:1] and lower[0] in _HARMLESS:
            return None if lower[:2] == ["set", "statement"] else False
        if lower[:2] == ["alter", "table"] and lower[3:5] == ["validate", "constraint"]:
            return False
        if lower[:2] == ["alter", "type"] and "add" in lower and "value" in lower:
            return self._has_enum_value(words, lower)
        if lower[:2] == ["rename", "table"] and len(lower) == 5 and lower[3] == "to":
            return self._is_renamed(words[2], words[4], None)
        return None

    def _has_enum_value(self, words: tuple[str, ...], lower: list[str]) -> bool | None:
        at = lower.index("value") + 1
        if lower[at : at + 3] == ["if", "not", "exists"]:
            return False
        type_name = words[lower.index("add") - 1]
        if at >= len(words):
            return None
        return bool(self.connection.scalar(_ENUM_VALUE, {"name": type_name, "value": words[at]}))


def _all_or_none(answers: Iterable[bool | str | None]) -> bool | None:
    """Return the one answer of several parts of a statement that the engine does as a whole."""
    told = {answer for answer in answers if answer != "harmless"}
    if not told:
        return False
    answer = told.pop()
    return answer if not told and isinstance(answer, bool) else None


def _named(node: Any) -> str:
    return str(node.this.name if isinstance(node, exp.Schema) else node.name)


def _schema(node: Any) -> str | None:
    table = node.this if isinstance(node, exp.Schema) else node
    return table.db or None if isinstance(table, exp.Table) else None


_TYPE = sa.text(
    "SELECT count(*) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
    "WHERE t.typname = :name AND CASE WHEN cast(:schema AS text) IS NULL THEN pg_catalog.pg_type_is_visible(t.oid) "
    "ELSE n.nspname = :schema END"
)
_RELATION = sa.text(
    "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relname = :name AND CASE WHEN cast(:schema AS text) IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) "
    "ELSE n.nspname = :schema END"
)
_ENUM_VALUE = sa.text(
    "SELECT count(*) FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid "
    "WHERE t.typname = :name AND e.enumlabel = :value"
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
