"""The bookkeeping tables and the statements on them, for an online run and for offline SQL alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

LEDGER_SUFFIX = "_phase"
JOURNAL_SUFFIX = "_journal"


class _OwnInMySQL(sa.TypeDecorator[Any]):
    """A type for which MySQL and MariaDB have one of their own, whose module is loaded only there."""

    impl: type[sa.types.TypeEngine[Any]] = sa.Text
    cache_ok = True
    own = ""
    options: Mapping[str, Any] = MappingProxyType({})

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return the type as the engine has it."""
        if dialect.name not in ("mysql", "mariadb"):
            return super().load_dialect_impl(dialect)
        from sqlalchemy.dialects import mysql

        return dialect.type_descriptor(getattr(mysql, self.own)(**self.options))


class _Moment(_OwnInMySQL):
    """A time to the microsecond, also where a ``DATETIME`` has only seconds."""

    impl = sa.DateTime
    cache_ok = True
    own = "DATETIME"
    options = MappingProxyType({"fsp": 6})


class _LongText(_OwnInMySQL):
    """A text of any length, also where ``TEXT`` ends at 64 KiB."""

    cache_ok = True
    own = "LONGTEXT"


@dataclass(frozen=True)
class Tables:
    """The three tables of one bind: Alembic's version table, the ledger and the journal."""

    version: sa.Table
    ledger: sa.Table
    journal: sa.Table


def build_tables(
    version_table: str = "alembic_version", schema: str | None = None, *, primary_key: bool = True, dialect: str = ""
) -> Tables:
    """Return the table definitions that go with a version table of that name in that schema.

    :param dialect: SQLAlchemy's name of the engine that they may be created on: for an option of a table, SQLAlchemy
        loads the dialect that has it, so that each has only its own.
    """
    metadata = sa.MetaData()
    options: dict[str, Any] = {}
    if dialect in ("mysql", "mariadb"):
        options = {f"{dialect}_charset": "utf8mb4", f"{dialect}_engine": "InnoDB"}
    version = sa.Table(version_table, metadata, sa.Column("version_num", sa.String(32), nullable=False), schema=schema)
    if primary_key:
        version.append_constraint(sa.PrimaryKeyConstraint("version_num", name=f"{version_table}_pkc"))
    ledger = sa.Table(
        version_table + LEDGER_SUFFIX,
        metadata,
        sa.Column("revision", sa.String(255), primary_key=True),
        sa.Column("phase", sa.String(64), primary_key=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("statement", sa.Integer, nullable=False),
        sa.Column("statements", sa.Integer),
        sa.Column("checksum", sa.String(64)),
        sa.Column("run_id", sa.String(36)),
        sa.Column("started_at", _Moment),
        sa.Column("finished_at", _Moment),
        schema=schema,
        **options,
    )
    journal = sa.Table(
        version_table + JOURNAL_SUFFIX,
        metadata,
        sa.Column("id", sa.Integer, sa.Identity(), primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String(36)),
        sa.Column("revision", sa.String(255)),
        sa.Column("phase", sa.String(64)),
        sa.Column("operation", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("started_at", _Moment),
        sa.Column("finished_at", _Moment),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("host", sa.String(255)),
        sa.Column("pid", sa.Integer),
        sa.Column("session", sa.BigInteger),
        sa.Column("operator", sa.String(255)),
        sa.Column("app_version", sa.String(255)),
        sa.Column("error", _LongText),
        sa.Column("traceback", _LongText),
        sa.Column("script", sa.String(255)),
        sa.Column("checksum", sa.String(64)),
        schema=schema,
        **options,
    )
    return Tables(version, ledger, journal)


def bookkeeping_names(version_table: str) -> frozenset[str]:
    """Return the names of the tables that autogenerate must not see."""
    return frozenset({version_table + LEDGER_SUFFIX, version_table + JOURNAL_SUFFIX})


def ledger_forget(tables: Tables, revision: str, phase: str | None = None) -> sa.Delete:
    """Return the statement that deletes a revision's ledger rows, or the one of ``phase``."""
    ledger = tables.ledger
    statement = sa.delete(ledger).where(ledger.c.revision == revision)
    return statement if phase is None else statement.where(ledger.c.phase == phase)


def pointer_changes(before: frozenset[str], after: frozenset[str]) -> list[tuple[str, dict[str, str]]]:
    """Return what turns the version table's rows from ``before`` into ``after``: (kind, the row before and after).

    An ``update version`` where a row can be kept, as Alembic does, so that two runners with the same idea collide.
    """
    removed, added = sorted(before - after), sorted(after - before)
    changes = []
    if removed and added:
        changes.append(("update version", {"after": added.pop(0), "before": removed.pop()}))
    changes = [("delete version", {"before": name}) for name in removed] + changes
    return changes + [("insert version", {"after": name}) for name in added]


def pointer_statement(tables: Tables, kind: str, row: Mapping[str, str]) -> sa.Executable:
    """Return the statement of one of :func:`pointer_changes`."""
    version = tables.version
    if kind == "insert version":
        return sa.insert(version).values(version_num=row["after"])
    found = version.c.version_num == row["before"]
    if kind == "delete version":
        return sa.delete(version).where(found)
    return sa.update(version).values(version_num=row["after"]).where(found)


# -- the clock ---------------------------------------------------------------------------------------


class utc_now(FunctionElement[Any]):  # noqa: N801  (a SQL function, written like sa.func's)
    """The server's clock in UTC, for statements that are written now and executed later."""

    type = sa.DateTime()
    inherit_cache = True


@compiles(utc_now)
def _compile_utc_now(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(utc_now, "postgresql")
def _compile_utc_now_postgresql(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "timezone('utc', clock_timestamp())"


@compiles(utc_now, "mysql")
@compiles(utc_now, "mariadb")
def _compile_utc_now_mysql(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "utc_timestamp(6)"


@compiles(utc_now, "mssql")
def _compile_utc_now_mssql(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "SYSUTCDATETIME()"


@compiles(utc_now, "oracle")
def _compile_utc_now_oracle(_element: utc_now, _compiler: Any, **_options: Any) -> str:
    return "SYS_EXTRACT_UTC(SYSTIMESTAMP)"
