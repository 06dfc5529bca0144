"""Databases of the benchmark's own, made empty and dropped afterwards."""

from __future__ import annotations

import configparser
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

ENGINES = ("sqlite", "postgresql", "mysql")
TITLES = {"sqlite": "SQLite on disk", "postgresql": "PostgreSQL", "mysql": "MariaDB"}
ROOT = Path(__file__).parent.parent


def server_url(engine: str) -> sa.URL:
    """Return the URL of a server: TEST_POSTGRESQL_URL or TEST_MYSQL_URL, else what setup.cfg says."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return sa.make_url(os.environ.get(f"TEST_{engine.upper()}_URL") or parser["db"][engine])


def describe_server(engine: str) -> str:
    """Return the version of an engine.

    :raises sqlalchemy.exc.OperationalError: if the server does not answer.
    """
    url = sa.make_url("sqlite://") if engine == "sqlite" else server_url(engine)
    statement = "SELECT sqlite_version()" if engine == "sqlite" else "SELECT version()"
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        return str(connection.exec_driver_sql(statement).scalar_one())


@contextmanager
def fresh_database(engine: str, folder: Path) -> Iterator[sa.URL]:
    """Give the URL of a new empty database; it is dropped afterwards. SQLite's is a file in ``folder``."""
    name = f"fpm_benchmark_{uuid.uuid4().hex[:12]}"
    if engine == "sqlite":
        try:
            yield sa.URL.create("sqlite", database=str(folder / f"{name}.sqlite3"))
        finally:
            for file in folder.glob(f"{name}.sqlite3*"):
                file.unlink()
        return
    server = server_url(engine)
    _execute(server, f"CREATE DATABASE {name}")
    try:
        yield server.set(database=name)
    finally:
        _execute(server, f"DROP DATABASE {name}" + (" WITH (FORCE)" if engine == "postgresql" else ""))


def _execute(url: sa.URL, statement: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
