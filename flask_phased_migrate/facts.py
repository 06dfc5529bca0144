"""What a database says that the linter's rules want to know: columns, sizes, validated checks. Reads the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .rules.changes import NO_DEFAULT, Column, Default
from .rules.schema import Facts, ForeignKey, never_null_column
from .rules.situation import Target
from .rules.types import upper_type

# A table's name, with its schema where that is neither the one of the connection nor the usual one.
_POSTGRESQL_NAME = """CASE WHEN n.nspname IN (current_schema(), 'public') THEN c.relname
            ELSE n.nspname || '.' || c.relname END"""
# The connection's own schema comes last: of two tables of a name it is the one that counts.
_POSTGRESQL_ORDER = "ORDER BY n.nspname = current_schema()"
_POSTGRESQL_COLUMNS = f"""
SELECT {_POSTGRESQL_NAME}, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       pg_get_expr(d.adbin, d.adrelid), a.attidentity <> '', a.attgenerated <> ''
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
{_POSTGRESQL_ORDER}
"""
# reltuples is -1 where nobody has counted yet (PostgreSQL 14), 0 before that.
_POSTGRESQL_ROWS = f"""
SELECT {_POSTGRESQL_NAME}, greatest(c.reltuples, 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
  AND (c.reltuples > 0 OR c.relpages = 0 AND pg_relation_size(c.oid) = 0)
{_POSTGRESQL_ORDER}
"""
_POSTGRESQL_CHECKS = f"""
SELECT {_POSTGRESQL_NAME}, pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'c' AND k.convalidated
"""
# One row for each column, in order; an expression has no name.
_POSTGRESQL_INDEXES = f"""
SELECT {_POSTGRESQL_NAME}, i.relname, coalesce(a.attname, '')
FROM pg_index x
JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL unnest(x.indkey::int2[]) WITH ORDINALITY AS k (number, place)
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number AND k.number > 0
WHERE x.indisvalid AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' AND k.place <= x.indnkeyatts
ORDER BY n.nspname = current_schema(), k.place
"""
# One row for each column, in order.
_POSTGRESQL_FOREIGN_KEYS = f"""
SELECT {_POSTGRESQL_NAME}, k.conname, (
    SELECT {_POSTGRESQL_NAME}
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = k.confrelid
), a.attname
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY AS p (number, place)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.number
WHERE k.contype = 'f'
ORDER BY n.nspname = current_schema(), p.place
"""
_MYSQL_COLUMNS = """
SELECT table_name, column_name, column_type, is_nullable = 'YES', column_default, extra LIKE '%auto_increment%',
       extra LIKE '%GENERATED%'
FROM information_schema.columns WHERE table_schema = database()
"""
_MYSQL_INDEXES = """
SELECT table_name, index_name, coalesce(column_name, '') FROM information_schema.statistics
WHERE table_schema = database() ORDER BY table_name, index_name, seq_in_index
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
    return Target(name, numbers or None, "asked", dialect.driver)


def read_facts(connection: Connection) -> Facts:
    """Return what the catalogue of the database says; nothing for an engine whose catalogue is not known."""
    readers = {"postgresql": _read_postgresql, "mysql": _read_mysql, "mariadb": _read_mysql, "sqlite": _read_sqlite}
    read = readers.get(connection.dialect.name)
    return read(connection) if read is not None else Facts()


def _columns(rows: Iterable[Sequence[Any]]) -> dict[tuple[str, str], Column]:
    return {
        (table.casefold(), name.casefold()): Column(
            name,
            upper_type(str(type_)),
            bool(nullable),
            _default(default),
            bool(numbered),
            "stored" if generated else "",
        )
        for table, name, type_, nullable, default, numbered, generated in rows
    }


def _default(text: Any) -> Default:
    if text is None or str(text).upper() == "NULL":
        return NO_DEFAULT
    # What kind of default it is does not matter for a column that is there. PostgreSQL names the type of a literal.
    written, cast, _ = str(text).rpartition("'::")
    return Default("constant", f"{written}'" if cast and written[:1] == "'" else str(text))


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
        _indexes(_query(connection, _POSTGRESQL_INDEXES)),
        _foreign_keys(_query(connection, _POSTGRESQL_FOREIGN_KEYS)),
    )


def _foreign_keys(rows: Iterable[Sequence[Any]]) -> dict[tuple[str, str], ForeignKey]:
    """Return foreign keys from one row for each of their columns."""
    found: dict[tuple[str, str], ForeignKey] = {}
    for table, name, referent, column in rows:
        key = (table.casefold(), name.casefold())
        before = found[key].columns if key in found else ()
        found[key] = ForeignKey(referent.casefold(), (*before, column.casefold()))
    return found


def _indexes(rows: Iterable[Sequence[Any]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the columns of indexes from one row for each of them."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for table, name, column in rows:
        key = (table.casefold(), name.casefold())
        found[key] = (*found.get(key, ()), column.casefold())
    return found


def _read_mysql(connection: Connection) -> Facts:
    rows = _query(connection, _MYSQL_ROWS)
    return Facts(
        _columns(_query(connection, _MYSQL_COLUMNS)),
        {table.casefold(): int(number) for table, number in rows if number is not None},
        indexes=_indexes(_query(connection, _MYSQL_INDEXES)),
    )


def _read_sqlite(connection: Connection) -> Facts:
    columns: dict[tuple[str, str], Column] = {}
    sizes: dict[str, int] = {}
    indexes: list[tuple[str, str, str]] = []
    quote = connection.dialect.identifier_preparer.quote
    for table in sa.inspect(connection).get_table_names():
        rows = _query(connection, f"PRAGMA table_info({quote(table)})")
        # An INTEGER PRIMARY KEY numbers itself.
        columns |= _columns(
            (table, name, type_, not required, default, key, False) for _, name, type_, required, default, key in rows
        )
        for _, name, *_ in _query(connection, f"PRAGMA index_list({quote(table)})"):
            rows = _query(connection, f"PRAGMA index_info({quote(name)})")
            indexes += [(table, name, column or "") for _, _, column in rows]
        sizes[table.casefold()] = int(
            _query(connection, f"SELECT count(*) FROM (SELECT 1 FROM {quote(table)} LIMIT 1000000)")[0][0]
        )
    return Facts(columns, sizes, indexes=_indexes(indexes))
