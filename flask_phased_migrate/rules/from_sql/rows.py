"""Statements that write rows, read them, or throw them away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError

from ...inspection.functions import BUILT_IN
from ...inspection.statements import parse_statement, word_of
from ..changes import Change, CreateTable, Name, Statement, Truncate, WriteRows
from .words import Words, unknown

_HARMLESS = BUILT_IN | {"setval", "nextval", "currval", "set_config", "pg_sleep", "pg_advisory_xact_lock"}


def read_rows(words: Words) -> Iterator[Change]:
    """Return what a statement writes: an UPDATE or DELETE is bounded where it names its rows by value."""
    text = _plain_write(words)
    try:
        tree = parse_statement(text, words.dialect_name)
    except (SqlglotError, RecursionError):
        yield unknown(words)
        return
    into = tree.args.get("into")
    if into is not None and isinstance(into.this, exp.Table):
        # SELECT ... INTO: on MySQL a variable or a file, which are no tables.
        yield CreateTable(Name(into.this.name, into.this.db or None), is_private=True)
    found = list(tree.find_all(exp.Update, exp.Delete, exp.Insert, exp.Merge))
    values = tuple(item.this for item in tree.find_all(exp.Literal) if item.is_string)
    for item in found:
        table = item.this.this if isinstance(item.this, exp.Schema) else item.this
        if isinstance(table, exp.Table):
            kind: Any = type(item).__name__.casefold()
            # All tables that it names: those that it only reads too.
            read = tuple(Name(other.name, other.db or None) for other in item.find_all(exp.Table) if other is not table)
            yield WriteRows(Name(table.name, table.db or None), kind, _is_bounded(item), values, read)
    if not found and (not isinstance(tree, exp.Query) or _calls_unknown(tree)):
        yield unknown(words)


def _plain_write(words: Words) -> str:
    """Return a statement as the parser knows it: REPLACE of MySQL as INSERT, UPDATE OR ... of SQLite as UPDATE."""
    if word_of(words.tokens[0]) == "REPLACE":
        return f"INSERT{words.text[len('REPLACE') :]}"
    if word_of(words.tokens[0]) == "UPDATE" and words.word(1 - words.at) == "OR":
        return f"UPDATE {words.text[words.tokens[3].start - words.tokens[0].start :]}"
    return words.text


def _calls_unknown(tree: exp.Expr) -> bool:
    """Return whether a query calls a function of which it is not known that it changes nothing."""
    return any(node.name.casefold() not in _HARMLESS for node in tree.find_all(exp.Anonymous))


def _is_bounded(item: exp.Expr) -> bool:
    if isinstance(item, exp.Insert):
        return isinstance(item.expression, exp.Values) or item.expression is None or _has_limit(item)
    if isinstance(item, exp.Merge):
        return False
    where = item.args.get("where")
    return _has_limit(item) or (where is not None and _names_rows(where.this))


def _has_limit(item: exp.Expr) -> bool:
    return item.find(exp.Limit) is not None or item.find(exp.Fetch) is not None


def _names_rows(condition: Any) -> bool:
    """Return whether a condition holds for few rows: a key that has given values, or a range with two ends."""
    if isinstance(condition, exp.Paren):
        return _names_rows(condition.this)
    if isinstance(condition, exp.And):
        return any(_names_rows(item) for item in (condition.left, condition.right)) or _is_range(condition)
    if isinstance(condition, exp.Between):
        return _is_key(condition.this)
    if isinstance(condition, exp.In):
        return _is_key(condition.this) and bool(condition.expressions)
    return isinstance(condition, exp.EQ) and _is_key(condition.this) and _is_value(condition.expression)


def _is_range(condition: exp.And) -> bool:
    ends = [node for node in condition.flatten() if isinstance(node, (exp.GT, exp.GTE, exp.LT, exp.LTE))]
    has_begin = any(isinstance(node, (exp.GT, exp.GTE)) and _is_key(node.this) for node in ends)
    return has_begin and any(isinstance(node, (exp.LT, exp.LTE)) and _is_key(node.this) for node in ends)


def _is_key(node: Any) -> bool:
    """Return whether a column looks like one that names rows."""
    name = node.name.casefold() if isinstance(node, exp.Column) else ""
    return name in ("id", "uuid", "key", "code", "slug") or name.endswith(("_id", "_uuid", "_key"))


def _is_value(node: Any) -> bool:
    if isinstance(node, (exp.Cast, exp.Paren)):
        return _is_value(node.this)
    return isinstance(node, (exp.Literal, exp.Placeholder, exp.Parameter, exp.Neg, exp.Null))


def copy_rows(words: Words) -> Iterator[Change]:
    """Return what COPY writes."""
    if words.is_open():
        return
    name = words.dotted()
    words.until("FROM", "TO")
    if words.word() == "FROM":
        yield WriteRows(name, "insert", is_bounded=False)


def load_rows(words: Words) -> Iterator[Change]:
    """Return what LOAD DATA writes."""
    words.until("INTO")
    words.take("INTO", "TABLE")
    yield WriteRows(words.dotted(), "insert", is_bounded=False)


def truncate(words: Words) -> Iterator[Change]:
    """Return the tables that TRUNCATE empties."""
    words.take("TABLE")
    words.take("ONLY")
    cascade = any(word_of(token) == "CASCADE" for token in words.tokens)
    for part in words.parts():
        yield Truncate(part.dotted(), cascade)


def explain(words: Words) -> Any:
    """Return nothing for EXPLAIN; with ANALYZE, the statement is run."""
    return iter(()) if words.word() != "ANALYZE" and not words.is_open() else Statement((unknown(words),))
