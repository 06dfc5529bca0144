"""Projects made by the real Flask-Migrate, to be taken over by the change of one import."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from flask_process import Ended, FlaskProcesses
from support import connect, fresh_database

APPLICATION = """\
import json
from pathlib import Path

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_migrate import Migrate

urls = json.loads(Path(__file__).with_name("urls.json").read_text())
app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = urls.pop("default")
{settings}
db = SQLAlchemy(app)
exec(Path(__file__).with_name("tables.py").read_text())
migrate = Migrate(app, db)
"""

FIRST_TABLES = """\
class Account(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    login = db.Column(db.String(40), nullable=False)
"""
SECOND_TABLES = (
    FIRST_TABLES
    + """\
    email = db.Column(db.String(120))

class Note(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    text = db.Column(db.String(200), index=True)
"""
)
FIRST_BIND = """
class Visit(db.Model):
    __bind_key__ = "reports"
    id = db.Column(db.Integer, primary_key=True)
    page = db.Column(db.String(80))
"""
SECOND_BIND = FIRST_BIND + "    seconds = db.Column(db.Integer)\n"
SINGLE = (FIRST_TABLES, SECOND_TABLES)
BINDS = (FIRST_TABLES + FIRST_BIND, SECOND_TABLES + SECOND_BIND)
THIRD_TABLES = (
    SECOND_TABLES.replace("db.String(120)", "db.String(150)") + "    pages = db.Column(db.Integer, nullable=True)\n"
)
LAYOUTS = {
    "sqlite": ("sqlite", ("default",)),
    "postgresql": ("postgresql", ("default",)),
    "mysql": ("mysql", ("default",)),
    "sqlite binds": ("sqlite", ("default", "reports")),
}


@dataclass(frozen=True)
class Folder:
    """A project's folder and the databases that it uses, by bind."""

    path: Path
    urls: Mapping[str, str]
    processes: FlaskProcesses

    def flask(self, command: str | Sequence[str], env: Mapping[str, str] | None = None) -> Ended:
        """Return how ``flask db COMMAND`` ended."""
        words = command.split() if isinstance(command, str) else command
        return self.processes.flask(self.path, "db", *words, env=env)

    def must(self, command: str | Sequence[str], env: Mapping[str, str] | None = None) -> Ended:
        """Return how a command ended that has to succeed."""
        ended = self.flask(command, env)
        assert ended.status == 0, f"{command}: {ended}"
        return ended

    def change_import(self) -> None:
        """Do what the manual says: change the one import."""
        application = self.path / "app.py"
        text = application.read_text()
        assert text.count("from flask_migrate import") == 1
        application.write_text(text.replace("from flask_migrate import", "from flask_phased_migrate import"))

    def files(self) -> dict[str, str]:
        """The text of every file of the migrations folder, and the name of every other one of the project."""
        found = {}
        for file in sorted(self.path.rglob("*")):
            name = file.relative_to(self.path).as_posix()
            if file.is_file() and "__pycache__" not in name and not name.endswith((".sqlite3", ".json")):
                found[name] = file.read_text()
        return found

    def describe(self) -> dict[str, object]:
        """What is in each database: columns of each table and the version table's rows. Our own tables are left out."""
        return {bind: describe_database(url) for bind, url in self.urls.items()}

    def words(self, text: str) -> str:
        """Return a command's output without what differs between two copies of one project."""
        for bind, url in self.urls.items():
            shown = sa.make_url(url)
            for spelled in (url, str(shown), shown.render_as_string(hide_password=False), str(shown.database)):
                text = text.replace(spelled, f"<{bind}>")
        text = text.replace(str(self.path), "<folder>")
        return re.sub(r"Create Date: .*", "Create Date: <date>", text)

    def tables(self, text: str) -> None:
        """Change the models."""
        (self.path / "tables.py").write_text(text)


def describe_database(url: str) -> dict[str, object]:
    """Return the columns of each table, but of a version table its rows."""
    with connect(url) as connection:
        inspector = sa.inspect(connection)
        names = [
            name for name in inspector.get_table_names() if not name.endswith(("version_phase", "version_journal"))
        ]
        found: dict[str, object] = {
            name: [
                *((column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)),
                *sorted(str(index["name"]) for index in inspector.get_indexes(name)),
            ]
            for name in sorted(names)
        }
        for name in {"alembic_version", "schema_version"} & set(names):
            found[name] = sorted(connection.execute(sa.text(f"SELECT version_num FROM {name}")).scalars())
    return found


def write_project(
    path: Path, urls: Mapping[str, str], processes: FlaskProcesses, tables: str, *, settings: str | None = None
) -> Folder:
    """Write an application that uses Flask-Migrate; without migrations folder."""
    path.mkdir(parents=True)
    if settings is None:
        settings = 'app.config["SQLALCHEMY_BINDS"] = urls' if len(urls) > 1 else ""
    (path / "app.py").write_text(APPLICATION.format(settings=settings))
    (path / "urls.json").write_text(json.dumps(dict(urls)))
    folder = Folder(path, dict(urls), processes)
    folder.tables(tables)
    return folder


def make_history(folder: Folder, stages: Sequence[str], init: str = "init") -> None:
    """Let Flask-Migrate make the migrations folder and a revision for each stage of the models, and upgrade."""
    folder.must(init)
    for number, tables in enumerate(stages, start=1):
        folder.tables(tables)
        folder.must(["migrate", "-m", f"stage {number}", "--rev-id", f"a{number}"])
        folder.must("upgrade")


def copy_project(folder: Folder, path: Path, urls: Mapping[str, str]) -> Folder:
    """Return a copy of a project with databases of its own, which Flask-Migrate brings to the head."""
    shutil.copytree(folder.path, path, ignore=shutil.ignore_patterns("*.sqlite3", "__pycache__"))
    (path / "urls.json").write_text(json.dumps(dict(urls)))
    copied = Folder(path, dict(urls), folder.processes)
    copied.must("upgrade")
    return copied


@dataclass(frozen=True)
class Twins:
    """One project twice: ``theirs`` imports flask_migrate, ``ours`` flask_phased_migrate."""

    theirs: Folder
    ours: Folder

    def run(self, command: str) -> tuple[Ended, Ended]:
        """Run a command in both."""
        environment = {"EDITOR": "true"}
        return self.theirs.flask(command, environment), self.ours.flask(command, environment)

    def models(self) -> None:
        """Change the models of both."""
        for folder in (self.theirs, self.ours):
            folder.tables(THIRD_TABLES + (SECOND_BIND if "reports" in folder.urls else ""))

    def outcomes(self, command: str) -> tuple[object, object]:
        """Run a command in both and return all that can be compared."""
        theirs, ours = self.run(command)
        return _outcome(self.theirs, command, theirs), _outcome(self.ours, command, ours)


def _outcome(folder: Folder, command: str, ended: Ended) -> dict[str, object]:
    lines = folder.words(ended.stdout).splitlines()
    return {
        "status": ended.status,
        # Alembic prints several current heads in the order of their addresses in memory.
        "stdout": sorted(lines) if command.startswith("current") else lines,
        "files": {name: folder.words(text) for name, text in folder.files().items() if name != "app.py"},
        "databases": folder.describe(),
    }


class Made:
    """What Flask-Migrate made, once for each number of binds: projects to copy."""

    def __init__(self, processes: FlaskProcesses, path: Path) -> None:
        self.processes = processes
        self.path = path
        self._made: dict[int, Folder] = {}

    def project(self, binds: int = 1) -> Folder:
        """Return the project with one database, or with a bind besides, at revision a2."""
        if binds not in self._made:
            path = self.path / str(binds)
            urls = {name: f"sqlite:///{path}/{name}.sqlite3" for name in ("default", "reports")[:binds]}
            folder = write_project(path, urls, self.processes, "")
            make_history(folder, SINGLE if binds == 1 else BINDS, "init" if binds == 1 else "init --multidb")
            self._made[binds] = folder
        return self._made[binds]


def copy_layout(stack: ExitStack, made: Made, layout: str, path: Path) -> Folder:
    """Return a copy of what Flask-Migrate made, on fresh databases of the layout's engine at revision a2."""
    kind, binds = LAYOUTS[layout]
    path.parent.mkdir(parents=True, exist_ok=True)
    urls = {bind: stack.enter_context(fresh_database(kind, path.parent)) for bind in binds}
    return copy_project(made.project(len(binds)), path, urls)


def make_twins(stack: ExitStack, made: Made, layout: str, path: Path) -> Twins:
    """Return two copies of a layout, of which one has changed the import."""
    twins = Twins(copy_layout(stack, made, layout, path / "theirs"), copy_layout(stack, made, layout, path / "ours"))
    twins.ours.change_import()
    return twins


def commands(text: str) -> list[str]:
    """Return the commands of a text that has them between bars and line ends."""
    return [command for line in text.splitlines() for command in line.split("|")]
