"""What a database says that the linter's rules want to know: columns, sizes, validated checks. Reads the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .rules.changes import NO_DEFAULT, Column, Default
from .rules.schema import Facts, never_null_column
from .rules.situation import Target

_POSTGRESQL_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '', a.attgenerated <> ''
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
"""
# reltuples is -1 where nobody has counted yet (PostgreSQL 14), 0 before that.
_POSTGRESQL_ROWS = """
SELECT c.relname, greatest(c.reltuples, 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
  AND (c.reltuples > 0 OR c.relpages = 0 AND pg_relation_size(c.oid) = 0)
"""
_POSTGRESQL_CHECKS = """
SELECT c.relname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype = 'c' AND k.convalidated
"""
_MYSQL_COLUMNS = """
SELECT table_name, column_name, column_type, is_nullable = 'YES', column_default, extra LIKE '%auto_increment%',
       extra LIKE '%GENERATED%'
FROM information_schema.columns WHERE table_schema = database()
"""
_MYSQL_ROWS = "SELECT table_name, table_rows FROM information_schema.tables WHERE table_schema = database()"


def read_target(connection: Connection) -> Target:
    """Return engine and version of the server; MariaDB is told from MySQL."""
    dialect: Any = connection.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    version = dialect.server_version_info
    if dialect.name == "sqlite":
        version = tuple(int(part) for part in connection.scalar(sa.text("SELECT sqlite_version()")).split("."))
    numbers = tuple(part for part in version or () if isinstance(part, int))
    return Target(name, numbers or None, "asked")


def read_facts(connection: Connection) -> Facts:
    """Return what the catalogue of the database says; nothing for an engine whose catalogue is not known."""
    readers = {"postgresql": _read_postgresql, "mysql": _read_mysql, "mariadb": _read_mysql, "sqlite": _read_sqlite}
    read = readers.get(connection.dialect.name)
    return read(connection) if read is not None else Facts()


def _columns(rows: Iterable[Sequence[Any]]) -> dict[tuple[str, str], Column]:
    return {
        (table.casefold(), name.casefold()): Column(
            name, str(type_).upper(), bool(nullable), _default(default), bool(numbered), "stored" if generated else ""
        )
        for table, name, type_, nullable, default, numbered, generated in rows
    }


def _default(text: Any) -> Default:
    if text is None or str(text).upper() == "NULL":
        return NO_DEFAULT
    # What kind of default it is does not matter for a column that is there.
    return Default("constant", str(text))


def _query(connection: Connection, text: str) -> list[tuple[Any, ...]]:
    # Driver's text: a colon in it is no parameter, and % has to be doubled for the drivers that format.
    doubled = text.replace("%", "%%") if connection.dialect.paramstyle in ("format", "pyformat") else text
    return [tuple(row) for row in connection.exec_driver_sql(doubled)]


def _read_postgresql(connection: Connection) -> Facts:
    checks = (
        (table, never_null_column(text.removeprefix("CHECK"))) for table, text in _query(connection, _POSTGRESQL_CHECKS)
    )
    return Facts(
        _columns(_query(connection, _POSTGRESQL_COLUMNS)),
        {table.casefold(): int(rows) for table, rows in _query(connection, _POSTGRESQL_ROWS)},
        frozenset((table.casefold(), column) for table, column in checks if column is not None),
    )


def _read_mysql(connection: Connection) -> Facts:
    rows = _query(connection, _MYSQL_ROWS)
    return Facts(
        _columns(_query(connection, _MYSQL_COLUMNS)),
        {table.casefold(): int(number) for table, number in rows if number is not None},
    )


def _read_sqlite(connection: Connection) -> Facts:
    columns: dict[tuple[str, str], Column] = {}
    sizes: dict[str, int] = {}
    quote = connection.dialect.identifier_preparer.quote
    for table in sa.inspect(connection).get_table_names():
        rows = _query(connection, f"PRAGMA table_info({quote(table)})")
        # An INTEGER PRIMARY KEY numbers itself.
        columns |= _columns(
            (table, name, type_, not required, default, key, False) for _, name, type_, required, default, key in rows
        )
        sizes[table.casefold()] = int(
            _query(connection, f"SELECT count(*) FROM (SELECT 1 FROM {quote(table)} LIMIT 1000000)")[0][0]
        )
    return Facts(columns, sizes)
