"""What tests of real ``flask db`` processes share: waiting for them, their records, and what gets in their way."""

from __future__ import annotations

import subprocess
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from support import Site, query

CREATE = 'op.create_table("{}", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))'


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, what it wrote, and the seconds that it took."""

    status: int
    stdout: str
    stderr: str
    seconds: float = 0.0


def kind_of(url: str) -> str:
    """Return sqlite, postgresql or mysql."""
    return sa.make_url(url).get_backend_name()


def run_db(site: Site, *arguments: str, **options: Any) -> Ended:
    """Return how ``flask db ARGUMENTS`` ended; nothing of it may be a traceback."""
    began = time.monotonic()
    done = site.flask("db", *arguments, **options)
    ended = Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def must_run(site: Site, *arguments: str, **options: Any) -> Ended:
    """Return how ``flask db ARGUMENTS`` ended, which has to be well."""
    ended = run_db(site, *arguments, **options)
    assert ended.status == 0, ended
    return ended


def wait_end(process: subprocess.Popen[str], seconds: float = 60) -> Ended:
    """Return how a started command ended; it is killed, and the test fails, if that takes longer than ``seconds``."""
    began = time.monotonic()
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        raise AssertionError(f"it went on for more than {seconds} s: {stdout}{stderr}") from None
    assert "Traceback" not in stderr, stderr
    return Ended(process.returncode, stdout, stderr, time.monotonic() - began)


@contextmanager
def started(site: Site, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start ``flask db ARGUMENTS``; killed at the end of the block if it still runs then."""
    process = site.start("db", *arguments, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """Return the first true value of ``condition()``; the test fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.05)
    return value


# -- revisions ----------------------------------------------------------------------------------------


def body(*lines: str, phase: str = "before-deploy", direction: str = "upgrade") -> str:
    """Return an ``upgrade`` of one phase with these lines, which may use ``pathlib``, ``sys`` and ``time``."""
    block = textwrap.indent("\n".join(lines), "    ")
    return f'import pathlib, sys, time\n\n@phased("{phase}")\ndef {direction}():\n{block}\n'


def touch(path: Path) -> str:
    """Return a line that makes a file."""
    return f"pathlib.Path({str(path)!r}).touch()"


def until(path: Path) -> str:
    """Return a line that waits in Python for a file."""
    return f"while not pathlib.Path({str(path)!r}).exists(): time.sleep(0.05)"


def unless(path: Path, line: str) -> str:
    """Return a line that does something unless there is a file: the body stays the same for a resume."""
    return f"if not pathlib.Path({str(path)!r}).exists(): {line}"


def count_in(path: Path) -> str:
    """Return a line that counts in a file how often it was reached; see ``counted``."""
    return f"with open({str(path)!r}, 'a') as counter: counter.write('.')"


def counted(path: Path) -> int:
    """Return how often a line of ``count_in`` was reached."""
    return path.stat().st_size if path.exists() else 0


# -- records ------------------------------------------------------------------------------------------


def journal(url: str) -> list[tuple[Any, ...]]:
    """Return (revision, phase, operation, status) of every execution, oldest first."""
    return query(url, "SELECT revision, phase, operation, status FROM alembic_version_journal ORDER BY id")


def reasons(url: str) -> list[tuple[str, str]]:
    """Return (status, error) of the executions that did not end well, oldest first."""
    return query(url, "SELECT status, error FROM alembic_version_journal WHERE status <> 'done' ORDER BY id")


def version(url: str) -> list[str]:
    """Return the rows of the version table."""
    return sorted(row[0] for row in query(url, "SELECT version_num FROM alembic_version"))


def ledger(url: str) -> list[tuple[Any, ...]]:
    """Return (revision, phase, status) of the ledger."""
    return query(url, "SELECT revision, phase, status FROM alembic_version_phase ORDER BY 1, 2")


def columns(url: str, table: str) -> list[str]:
    """Return the names of a table's columns."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    return [column["name"] for column in sa.inspect(engine).get_columns(table)]


# -- sessions -----------------------------------------------------------------------------------------


def sessions(url: str, text: str = "") -> list[int]:
    """Return the ids of the server's sessions on the database, other than this one, whose statement has ``text``."""
    parsed = sa.make_url(url)
    if kind_of(url) == "postgresql":
        found = query(
            url,
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' "
            "AND pid <> pg_backend_pid() AND query LIKE :text",
            text=f"%{text}%",
        )
    else:
        found = query(
            url,
            "SELECT id FROM information_schema.processlist WHERE db = :db AND id <> connection_id() "
            "AND coalesce(info, '') LIKE :text",
            db=parsed.database,
            text=f"%{text}%",
        )
    return [row[0] for row in found]


def end_session(url: str, session: int) -> None:
    """End a session of the server, as an administrator or a broken network does."""
    command = "SELECT pg_terminate_backend(:id)" if kind_of(url) == "postgresql" else "KILL :id"
    query(url, command, id=session)


@contextmanager
def holding(url: str, *statements: str) -> Iterator[sa.Connection]:
    """Run statements in a transaction that stays open for the block, or until ``rollback()``."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
            if result.returns_rows:
                result.all()
        yield connection


@contextmanager
def later(seconds: float, action: Callable[[], Any]) -> Iterator[None]:
    """Do something after ``seconds``, in a thread; the block ends after it."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


class Bystander:
    """An application that goes on reading a table: ``worst`` is the longest time that one query took, in seconds."""

    def __init__(self, url: str, statement: str) -> None:
        self.url = url
        self.statement = statement
        self.worst = 0.0
        self.errors: list[BaseException] = []
        self._session: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        if self._thread.is_alive() and self._session is not None:
            # Behind a lock that nobody gives up: what holds it ends only after us.
            end_session(self.url, self._session)
            self._thread.join()
        assert self.errors == []

    def _read(self) -> None:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                postgresql = connection.dialect.name == "postgresql"
                function = "pg_backend_pid()" if postgresql else "connection_id()"
                self._session = connection.exec_driver_sql(f"SELECT {function}").scalar()
                while not self._stop.wait(0.01):
                    began = time.monotonic()
                    connection.exec_driver_sql(self.statement).all()
                    self.worst = max(self.worst, time.monotonic() - began)
        except BaseException as error:
            self.errors.append(error)


# -- logins -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Login:
    """A role of the server that may read and write, and with ``ddl`` change tables, in one database."""

    name: str
    password: str
    url: str


@contextmanager
def logins(url: str, *names: str, ddl: Sequence[str] = ()) -> Iterator[list[Login]]:
    """Give a new role of the server for each name; ``ddl`` names those that may change tables."""
    with ExitStack() as stack:
        yield [stack.enter_context(_login(url, name, ddl=name in ddl)) for name in names]


@contextmanager
def _login(url: str, label: str, *, ddl: bool) -> Iterator[Login]:
    name, password = f"fpm_{label}_{uuid.uuid4().hex[:8]}", f"sesame{uuid.uuid4().hex[:12]}"
    parsed = sa.make_url(url)
    postgresql = kind_of(url) == "postgresql"
    if postgresql:
        # Up to PostgreSQL 14 everybody may create tables in the schema "public".
        _administer(
            url, f"CREATE ROLE {name} LOGIN PASSWORD '{password}'", "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        )
        _administer(url, f"GRANT USAGE{', CREATE' if ddl else ''} ON SCHEMA public TO {name}")
        rights = "SELECT, INSERT, UPDATE, DELETE ON TABLES"
        _administer(url, f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {rights} TO {name}")
    else:
        rights = "ALL" if ddl else "SELECT, INSERT, UPDATE, DELETE"
        _administer(url, f"CREATE USER {name}@'%' IDENTIFIED BY '{password}'")
        _administer(url, f"GRANT {rights} ON {parsed.database}.* TO {name}@'%'")
    own = parsed.set(username=name, password=password)
    try:
        yield Login(name, password, own.render_as_string(hide_password=False))
    finally:
        if postgresql:
            _administer(url, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")
        else:
            _administer(url, f"DROP USER {name}@'%'")


def _administer(url: str, *statements: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))


def nowhere(url: str, password: str) -> str:
    """Return an URL like ``url`` at which no server answers, with a password of its own."""
    parsed = sa.make_url(url)
    if kind_of(url) == "sqlite":
        return f"sqlite:////nowhere/{password}/application.sqlite3"
    return parsed.set(host="127.0.0.1", port=1, password=password).render_as_string(hide_password=False)
