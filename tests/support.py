"""What tests share: throw-away databases, and small Flask projects with a migrations folder of ours."""

from __future__ import annotations

import configparser
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flask
import pytest
import sqlalchemy as sa

if TYPE_CHECKING:
    from hypothesis import settings

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "flask_phased_migrate" / "templates" / "flask"
SERVERS = ("postgresql", "mysql")

APPLICATION = """\
import os
import shutil
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
import sqlalchemy as sa
from flask_phased_migrate import Migrate

app = Flask(__name__)
app.config.update({config!r})
db = SQLAlchemy(app)
{models}
migrate = Migrate(app, db, directory={directory!r})
{more}
"""

HEADER = '''\
"""{message}"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import execute_script, phased

revision = {revision!r}
down_revision = {down!r}
branch_labels = {labels!r}
depends_on = {depends_on!r}

'''


# -- databases ----------------------------------------------------------------------------------------


@cache
def server_url(kind: str) -> sa.URL:
    """Return the URL of a server's maintenance database; skip, or fail under REQUIRE_SERVERS=1, if it is down."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    url = sa.make_url(os.environ.get(f"TEST_{kind.upper()}_URL") or parser["db"][kind])
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect():
            pass
    except sa.exc.DBAPIError as error:
        if os.environ.get("REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(f"no {kind} server at {url}: {error.orig}")
    return url


@contextmanager
def fresh_database(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database of ``kind`` (sqlite, postgresql, mysql); nothing of it is left afterwards."""
    name = f"fpm_{uuid.uuid4().hex[:20]}"
    if kind == "sqlite":
        yield f"sqlite:///{folder / name}.sqlite3"
        return
    server = server_url(kind)
    if kind == "postgresql":
        with _emptied_database(server, name) as url:
            yield url
        return
    _run_on_server(server, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        _run_on_server(server, f"DROP DATABASE {name}")


# PostgreSQL takes longer to make a database than most tests take in it.
_SPARE: list[str] = []


@contextmanager
def _emptied_database(server: sa.URL, new_name: str) -> Iterator[str]:
    """Give the URL of a database that an earlier test has left, or of a new one; empty it for the next."""
    if _SPARE:
        name = _SPARE.pop()
    else:
        name = new_name
        _run_on_server(server, f"CREATE DATABASE {name}")
    url = server.set(database=name)
    try:
        yield url.render_as_string(hide_password=False)
    finally:
        try:
            _empty(url)
            _SPARE.append(name)
        except sa.exc.DBAPIError:
            _run_on_server(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _empty(url: sa.URL) -> None:
    """End the sessions in a PostgreSQL database and drop everything in it."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        connection.exec_driver_sql(f"ALTER DATABASE {url.database} RESET ALL")
        empty_schemas(connection)


def empty_schemas(connection: sa.Connection) -> None:
    """Drop every schema of a PostgreSQL database that tests own, and make its first one anew."""
    for name in sa.inspect(connection).get_schema_names():
        if name != "information_schema":
            connection.exec_driver_sql(f'DROP SCHEMA "{name}" CASCADE')
    connection.exec_driver_sql("CREATE SCHEMA public")


def drop_spare_databases() -> None:
    """Drop the databases that were kept for the next test."""
    while _SPARE:
        _run_on_server(server_url("postgresql"), f"DROP DATABASE IF EXISTS {_SPARE.pop()} WITH (FORCE)")


@contextmanager
def database_of_many_runs(kind: str) -> Iterator[str]:
    """Give the URL of a :func:`fresh_database` that the examples of a law empty and fill again and again."""
    # SQLite waits for the disk at every commit; a file system in memory does not make it.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, fresh_database(kind, Path(folder)) as url:
        yield url


def _run_on_server(url: sa.URL, statement: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


@contextmanager
def connect(url: str) -> Iterator[sa.Connection]:
    """Give a connection in a transaction that is committed at the end; nothing of it stays open."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        yield connection


def query(url: str, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, as plain tuples; [] for one that gives none."""
    with connect(url) as connection:
        result = connection.execute(sa.text(statement), parameters)
        return [tuple(row) for row in result] if result.returns_rows else []


def table_names(url: str) -> set[str]:
    """Return the names of all tables."""
    with connect(url) as connection:
        return set(sa.inspect(connection).get_table_names())


def drop_tables(url: str) -> None:
    """Drop every table and every view of a database that tests own."""
    with connect(url) as connection:
        names = sa.inspect(connection).get_table_names()
        quote = connection.dialect.identifier_preparer.quote
        if connection.dialect.name == "mysql":
            connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
        for name in names:
            cascade = " CASCADE" if connection.dialect.name == "postgresql" else ""
            connection.exec_driver_sql(f"DROP TABLE {quote(name)}{cascade}")


# -- laws ---------------------------------------------------------------------------------------------


def repeatable(examples: int) -> settings:
    """Return the settings of a law that draws the same ``examples`` in every run, however long each takes."""
    from hypothesis import HealthCheck, settings

    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# -- projects -----------------------------------------------------------------------------------------


@dataclass
class Site:
    """A Flask application in ``folder`` with a migrations folder that ``flask db init`` could have written."""

    folder: Path
    url: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def migrations(self) -> Path:
        """The migrations folder."""
        return self.folder / "migrations"

    @property
    def versions(self) -> Path:
        """The folder of the revision files."""
        return self.migrations / "versions"

    def revision(
        self,
        revision: str,
        down: str | tuple[str, ...] | None,
        text: str,
        *,
        depends_on: str | tuple[str, ...] | None = None,
        labels: str | tuple[str, ...] | None = None,
        message: str = "",
    ) -> Path:
        """Write a revision file: the usual head and then ``text``, dedented. Return its path."""
        head = HEADER.format(
            message=message or f"revision {revision}",
            revision=revision,
            down=down,
            labels=labels,
            depends_on=depends_on,
        )
        return self.write(f"migrations/versions/{revision}.py", head + textwrap.dedent(text))

    def write(self, path: str, text: str, *, executable: bool = False) -> Path:
        """Write a file, relative to the project's folder, dedented; return its path."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        if executable:
            file.chmod(0o755)
        return file

    def flask(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ``flask ARGUMENTS`` in the project's folder; ``flask("db", "upgrade")``. Output is text."""
        return subprocess.run(
            [sys.executable, "-m", "flask", *arguments],
            cwd=options.pop("cwd", self.folder),
            env=self._environment(options.pop("env", {})),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=options.pop("timeout", 120),
            check=False,
            **options,
        )

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start ``flask ARGUMENTS`` without waiting for it; output goes to pipes."""
        return subprocess.Popen(
            [sys.executable, "-m", "flask", *arguments],
            cwd=self.folder,
            env=self._environment(options.pop("env", {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            **options,
        )

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
        application = {"FLASK_APP": str(self.folder / "app.py"), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**kept, **application, **self.environment, **extra}

    @contextmanager
    def app(self) -> Iterator[flask.Flask]:
        """Load the application in this process, under a module name of its own, and push its context."""
        name = f"site_{uuid.uuid4().hex}"
        spec = importlib.util.spec_from_file_location(name, self.folder / "app.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
            with module.app.app_context():
                try:
                    yield module.app
                finally:
                    module.db.session.remove()
                    for engine in module.db.engines.values():
                        engine.dispose()
        finally:
            del sys.modules[name]


def make_site(
    folder: Path,
    url: str,
    *,
    binds: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    models: str = "",
    more: str = "",
    ini: Mapping[str, str] | None = None,
) -> Site:
    """Write a project into ``folder`` and return it.

    :param binds: further databases by bind name; ``binds = all`` is set in alembic.ini then.
    :param config: further settings of the application; values that ``repr()`` can write.
    :param models: Python text after ``db = SQLAlchemy(app)``.
    :param more: Python text at the end of the application's file.
    :param ini: replacements in the template's alembic.ini, old text to new text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"SQLALCHEMY_DATABASE_URI": url, **(config or {})}
    changes = dict(ini or {})
    if binds is not None:
        settings["SQLALCHEMY_BINDS"] = dict(binds)
        changes.setdefault("binds = default", "binds = all")
    migrations = folder / "migrations"
    (migrations / "versions").mkdir(parents=True, exist_ok=True)
    for name in ("env.py", "script.py.mako"):
        (migrations / name).write_text((TEMPLATE / name).read_text())
    text = (TEMPLATE / "alembic.ini.mako").read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    (migrations / "alembic.ini").write_text(text)
    application = APPLICATION.format(
        config=settings, models=textwrap.dedent(models), more=textwrap.dedent(more), directory=str(migrations)
    )
    (folder / "app.py").write_text(application)
    return Site(folder, url)


# -- command-line clients -----------------------------------------------------------------------------


def run_client(url: str, text: str) -> subprocess.CompletedProcess[str]:
    """Run SQL text by the engine's own command-line client, in one session, stopping at the first error.

    Where the client is not installed, the statements go through the driver; 1 is the status of a failure.
    """
    parsed = sa.make_url(url)
    kind = parsed.get_backend_name()
    command, environment = _client_command(kind, parsed)
    if shutil.which(command[0]) is None:
        return _run_by_driver(url, text)
    return subprocess.run(
        command,
        input=text,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def _client_command(kind: str, url: sa.URL) -> tuple[list[str], dict[str, str]]:
    """Return the client's command line and what it needs in its environment."""
    database = url.database or ""
    if kind == "sqlite":
        return ["sqlite3", "-bail", database], {}
    login = ["-h", url.host or "127.0.0.1"]
    password = str(url.password or "")
    if kind == "postgresql":
        port = ["-p", str(url.port or 5432)]
        options = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", url.username or "postgres", "-d", database]
        return ["psql", *login, *port, *options, "-f", "-"], {"PGPASSWORD": password}
    port = ["-P", str(url.port or 3306), "-u", url.username or "root"]
    program = "mariadb" if shutil.which("mariadb") else "mysql"
    return [program, *login, *port, "--default-character-set=utf8mb4", database], {"MYSQL_PWD": password}


def _run_by_driver(url: str, text: str) -> subprocess.CompletedProcess[str]:
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in text.split(";\n\n"):
                lines = [line for line in statement.split("\n") if not line.startswith("-- ")]
                if "\n".join(lines).strip():
                    connection.exec_driver_sql("\n".join(lines).strip().replace("%", "%%"))
    except sa.exc.DBAPIError as error:
        return subprocess.CompletedProcess([], 1, "", str(error))
    return subprocess.CompletedProcess([], 0, "", "")


@contextmanager
def migrating(site: Site) -> Iterator[Any]:
    """Give the site's ``Migrate``, in an application context."""
    with site.app() as app:
        yield app.extensions["migrate"].migrate


def export(site: Site, revision: str = "heads", **options: Any) -> str:
    """Return the SQL of the only bind."""
    from flask_phased_migrate.offline.text import render_sql

    with migrating(site) as migrate:
        (statements,) = migrate.export(None, revision, **options).values()
    return render_sql(statements)
