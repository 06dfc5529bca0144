"""The folders, applications and environments that the table of speed is measured with.

Each side has an environment of its own, installed by pip: in ours is this checkout, in the peers' nothing of it.
"""

from __future__ import annotations

import os
import shutil
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from .databases import ROOT, fresh_database
from .histories import write_history
from .measures import run
from .rows import DATA, Start

PEERS = ("flask-migrate", "flask-alembic", "alembic-offline")
COMMON = ("flask-sqlalchemy", "psycopg[binary]", "pymysql")
URL_VARIABLE, MODELS_VARIABLE = "BENCHMARK_DATABASE_URL", "BENCHMARK_MODELS"

APPLICATION = """\
import os

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
{imports}

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["BENCHMARK_DATABASE_URL"]
app.config["ALEMBIC"] = {{"script_location": "{home}/plain/versions"}}
db = SQLAlchemy(app)
if "BENCHMARK_MODELS" in os.environ:
    with open("models.py") as file:
        exec(file.read())
{wiring}
"""
WIRING: Mapping[str, tuple[str, str]] = {
    "ours": ("from flask_phased_migrate import Migrate", 'Migrate(app, db, directory="{home}/{env}")'),
    "flask-migrate": ("from flask_migrate import Migrate", 'Migrate(app, db, directory="{home}/foreign")'),
    "flask-alembic": ("from flask_alembic import Alembic", "Alembic(app)"),
    "bare": ("", ""),
}
TOOLS = ("ours_own", "ours_foreign", "flask_migrate", "flask_alembic", "bare")
DATA_OURS = """
from app_{tool} import app
from flask_phased_migrate import get_migrations_data
with app.app_context():
    print(len(get_migrations_data(app.extensions["migrate"].migrate.get_config())))
"""
DATA_THEIRS = """
from alembic.config import Config
from alembic_offline import get_migrations_data
print(len(get_migrations_data(Config("{home}/plain.ini"))))
"""


@dataclass(frozen=True)
class Call:
    """A command and the environment it is run in; ``folder`` is where."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


@dataclass(frozen=True)
class Workshop:
    """A folder in which environments and projects are made the first time that they are asked for."""

    folder: Path

    def call(self, home: Path, tool: str, words: tuple[str, ...], url: str, *, models: bool = False) -> Call:
        """Return how ``tool`` runs ``words``: one of ``TOOLS``, ``alembic`` or ``alembic_offline``."""
        ours = tool.startswith("ours") or tool == "bare"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "PYTHON"))},
            "FLASK_APP": str(home / f"app_{tool}.py"),
            "PYTHONHASHSEED": "0",
            URL_VARIABLE: url,
            **({MODELS_VARIABLE: "yes"} if models else {}),
        }
        start: tuple[str, ...] = ("-m", "flask")
        if words == DATA:
            text = DATA_THEIRS.format(home=home) if tool == "alembic_offline" else DATA_OURS.format(tool=tool)
            start, words = ("-c", text), ()
        elif tool == "alembic":
            start = ("-m", "alembic.config", "-c", str(home / "plain.ini"))
        return Call((str(self.environment("ours" if ours else "peers")), *start, *words), environment, home)

    @contextmanager
    def database(self, home: Path, tool: str, start: Start, engine: str = "sqlite") -> Iterator[str]:
        """Give the URL of a database as a run of ``tool`` is to find it."""
        if start == "empty":
            with fresh_database(engine, home) as url:
                yield url.render_as_string(hide_password=False)
            return
        kept = home / f"{tool}_{start}.sqlite3"
        if start in ("head", "stamped") and not kept.exists():
            words = ("db", "upgrade") if start == "head" else ("db", "stamp", "head")
            call = self.call(home, tool, words, f"sqlite:///{kept}")
            run(call.command, call.environment, home)
        if start != "stamped":
            yield f"sqlite:///{kept}"
            return
        copy = home / "copy.sqlite3"
        shutil.copyfile(kept, copy)
        try:
            yield f"sqlite:///{copy}"
        finally:
            copy.unlink()

    def environment(self, side: str) -> Path:
        """Return the interpreter of a side's environment.

        :raises MeasuringFailed: if pip fails.
        """
        folder = self.folder / f"environment_{side}"
        python = folder / "bin" / "python"
        if not python.exists():
            venv.EnvBuilder(with_pip=True).create(folder)
            packages = [str(self._copy_checkout())] if side == "ours" else list(PEERS)
            run((str(python), "-m", "pip", "install", "-q", *COMMON, *packages), dict(os.environ), folder)
        return python

    def _copy_checkout(self) -> Path:
        """Return a copy of this checkout to build from: a build leaves its own files behind."""
        copy = self.folder / "checkout"
        copy.mkdir()
        for name in ("pyproject.toml", "README.rst", "LICENSE"):
            shutil.copyfile(ROOT / name, copy / name)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "flask_phased_migrate", copy / "flask_phased_migrate", ignore=ignored)
        return copy

    def project(self, shape: str, revisions: int, body: str = "mixed") -> Path:
        """Return the folder of a history with the applications."""
        home = self.folder / f"{shape}_{body}_{revisions}"
        if home.exists():
            return home
        versions = home / "versions"
        versions.mkdir(parents=True)
        write_history(versions, revisions, shape=shape, body=body)
        self._write_folders(home, versions)
        for tool in TOOLS:
            imports, wiring = WIRING["ours" if tool.startswith("ours") else tool.replace("_", "-")]
            wiring = wiring.format(home=home, env=tool.removeprefix("ours_"))
            text = APPLICATION.format(imports=imports, wiring=wiring, home=home)
            (home / f"app_{tool}.py").write_text(text, encoding="utf-8")
        return home

    def _write_folders(self, home: Path, versions: Path) -> None:
        """Write a migrations folder of our own, one of Flask-Migrate's, and one of Alembic's."""
        inside = "import flask_migrate, alembic; print(flask_migrate.__path__[0]); print(alembic.__path__[0])"
        found = run((str(self.environment("peers")), "-c", inside), dict(os.environ), home).split()
        templates = {
            "own": ROOT / "flask_phased_migrate" / "templates" / "flask",
            "foreign": Path(found[0]) / "templates" / "flask",
            "plain": Path(found[1]) / "templates" / "generic",
        }
        for name, template in templates.items():
            (home / name).mkdir()
            for file in ("env.py", "script.py.mako"):
                shutil.copyfile(template / file, home / name / file)
            shutil.copytree(versions, home / name / "versions")
            ini = (template / "alembic.ini.mako").read_text(encoding="utf-8")
            if name == "plain":
                words = f"[alembic]\nscript_location = {home}/plain\nsqlalchemy.url = sqlite:///{home}/plain.sqlite3\n"
                words += "phases = before-deploy after-deploy final\ndefault-phase = after-deploy\n"
                logging = ini[ini.index("[loggers]") :] if "[loggers]" in ini else ""
                (home / "plain.ini").write_text(words + logging, encoding="utf-8")
            else:
                (home / name / "alembic.ini").write_text(ini, encoding="utf-8")
        shutil.rmtree(versions)

    def write_models(self, home: Path, url: str) -> None:
        """Write tables that match the database at ``url``, for applications that are run with models."""
        file = home / "models.py"
        if file.exists():
            return
        metadata = sa.MetaData()
        with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
            metadata.reflect(connection)
        tables = [table for name, table in metadata.tables.items() if not name.startswith("alembic_version")]
        file.write_text("import sqlalchemy as sa\n\n" + "".join(map(_model, tables)), encoding="utf-8")


def _model(table: sa.Table) -> str:
    columns = [
        f"sa.Column({column.name!r}, sa.{column.type!r}, primary_key={column.primary_key}, nullable={column.nullable})"
        for column in table.columns
    ]
    indexes = [f"sa.Index({index.name!r}, {', '.join(repr(c.name) for c in index.columns)})" for index in table.indexes]
    inside = "".join(f"    {item},\n" for item in (*columns, *sorted(indexes)))
    return f"sa.Table(\n    {table.name!r},\n    db.metadata,\n{inside})\n"
