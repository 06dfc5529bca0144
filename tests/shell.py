"""A command line inside the test: runs ``flask db`` on a project and keeps what it wrote, and where."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import Site


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output as JSON: nothing else may be on it."""
        return json.loads(self.stdout)


@contextmanager
def working_directory(folder: Path) -> Iterator[None]:
    """Be in ``folder`` for the block: pyproject.toml is looked up there."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def flask_db(site: Site, *arguments: str, **options: Any) -> Outcome:
    """Run ``flask db ARGUMENTS`` in this process, on an application that is loaded for it."""
    with working_directory(site.folder), site.app() as app:
        return invoke(app, *arguments, **options)


def run_indexed(site: Site, *command: str, index: bool = True, change: Callable[[Any], Any] = id) -> Outcome:
    """Run ``flask db COMMAND`` with or without the index; ``change`` gets the application before."""
    with working_directory(site.folder), site.app() as app:
        app.config["MIGRATE_INDEX"] = index
        change(app)
        return invoke(app, *command)


def invoke(app: Any, *arguments: str, **options: Any) -> Outcome:
    """Run ``flask db ARGUMENTS`` on an application; an exception that gets out fails the test."""
    result = app.test_cli_runner().invoke(args=["db", *arguments], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def sqlite_path(site: Site) -> Path:
    """Return the file of the project's SQLite database."""
    return Path(site.url.removeprefix("sqlite:///"))


@dataclass(frozen=True)
class Snapshot:
    """A folder's files with their content and the time they were last written."""

    files: tuple[tuple[str, str, int], ...]


def snapshot(site: Site) -> Snapshot:
    """Return the state of the database files and of the migrations folder, byte-code left out."""
    found = []
    for folder in {sqlite_path(site).parent, site.folder}:
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                digest = hashlib.sha256(path.read_bytes()).hexdigest() if os.access(path, os.R_OK) else ""
                found.append((str(path), digest, path.stat().st_mtime_ns))
    return Snapshot(tuple(sorted(set(found))))


def rows(site: Site, statement: str) -> list[tuple[Any, ...]]:
    """Return what an SQL statement gives on the project's SQLite database; commit what it changes."""
    connection = sqlite3.connect(sqlite_path(site))
    try:
        found = connection.execute(statement).fetchall()
        connection.commit()
    finally:
        connection.close()
    return found


def tables(site: Site) -> list[str]:
    """Return the names of the tables of the project's SQLite database; [] where there is no file."""
    if not sqlite_path(site).exists():
        return []
    return [name for (name,) in rows(site, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]


PHASED = """
@phased("before-deploy")
def upgrade():
    op.add_column("account", sa.Column("email", sa.String(20)))

@upgrade.phase("after-deploy")
def upgrade_after():
    op.execute("UPDATE account SET email = 'x'")

@upgrade.phase("final")
def upgrade_final():
    op.create_index("ix_email", "account", ["email"])

@phased("before-deploy")
def downgrade():
    op.drop_column("account", "email")

@downgrade.phase("after-deploy")
def downgrade_after():
    op.execute("UPDATE account SET email = NULL")

@downgrade.phase("final")
def downgrade_final():
    op.drop_index("ix_email", "account")
"""

PLAIN = """
def upgrade():
    op.create_table("account", sa.Column("id", sa.Integer, primary_key=True))

def downgrade():
    op.drop_table("account")
"""


def two_revisions(site: Site) -> Site:
    """Write a plain revision ``1`` that makes a table and a phased ``2`` on it, in three phases."""
    site.revision("1", None, PLAIN, message="create account")
    site.revision("2", "1", PHASED, message="add email")
    return site
