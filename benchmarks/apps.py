"""One migrations folder, two applications that differ in one import, and an environment of its own for each.

The environments hold the same packages, but only ours holds this project: its Alembic plugin would be at work
in Flask-Migrate's processes too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from .databases import ROOT
from .histories import write_history

Tool = Literal["ours", "theirs"]
TOOLS: tuple[Tool, Tool] = ("ours", "theirs")
OURS = "flask_phased_migrate"
PACKAGES: Mapping[Tool, str] = {"ours": OURS, "theirs": "flask_migrate"}
URL_VARIABLE = "BENCHMARK_DATABASE_URL"
TIMEOUT_S = 900

APPLICATION = """\
import os

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from {package} import Migrate

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["{variable}"]
db = SQLAlchemy(app)
migrate = Migrate(app, db, directory={directory!r})
"""


@dataclass(frozen=True)
class Duration:
    """What one process took: wall time, and processor time of its own (user and system)."""

    wall_s: float
    cpu_s: float


class CommandFailed(RuntimeError):
    """A ``flask`` command that must succeed did not; the message holds its output."""


@dataclass(frozen=True)
class Site:
    """A project folder that both tools can migrate, and the interpreter of each."""

    folder: Path
    interpreters: Mapping[Tool, Path]

    def run(self, tool: Tool, url: sa.URL, *arguments: str) -> Duration:
        """Run ``python -m flask ARGUMENTS`` in a process of its own; return what it took.

        :raises CommandFailed: if its exit status is not 0.
        """
        command = [str(self.interpreters[tool]), "-m", "flask", *arguments]
        before, began = _children_cpu_s(), time.perf_counter()
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment(tool, url), capture_output=True, text=True, timeout=TIMEOUT_S
        )
        duration = Duration(time.perf_counter() - began, _children_cpu_s() - before)
        if ended.returncode:
            raise CommandFailed(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return duration

    def environment(self, tool: Tool, url: sa.URL) -> dict[str, str]:
        """Return the environment of a process: nothing that would change what Python or Flask load."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "PYTHON"))}
        return {
            **kept,
            "FLASK_APP": str(self.folder / f"app_{tool}.py"),
            "PGSSLMODE": "disable",
            "PGGSSENCMODE": "disable",
            URL_VARIABLE: url.render_as_string(hide_password=False),
        }


def make_site(folder: Path, revisions: int, *, shape: str = "linear", body: str = "plain") -> Site:
    """Write a project with a history into ``folder``, which may exist from an earlier call beside others.

    The migrations folder is the one that Flask-Migrate's ``flask db init`` writes.
    """
    interpreters = {tool: make_environment(folder / f"environment_{tool}", tool) for tool in TOOLS}
    home = folder / f"{shape}_{body}_{revisions}"
    migrations = home / "migrations"
    (migrations / "versions").mkdir(parents=True)
    template = Path(str(distribution("flask-migrate").locate_file("flask_migrate"))) / "templates" / "flask"
    for name in ("README", "env.py", "script.py.mako"):
        shutil.copyfile(template / name, migrations / name)
    shutil.copyfile(template / "alembic.ini.mako", migrations / "alembic.ini")
    write_history(migrations / "versions", revisions, shape=shape, body=body)
    for tool, package in PACKAGES.items():
        text = APPLICATION.format(package=package, variable=URL_VARIABLE, directory=str(migrations))
        (home / f"app_{tool}.py").write_text(text, encoding="utf-8")
    return Site(home, interpreters)


def make_environment(folder: Path, tool: Tool) -> Path:
    """Return the interpreter of a virtual environment with links to the packages of this one.

    Ours has this checkout; Flask-Migrate's has nothing of it.
    """
    interpreter = folder / "bin" / "python"
    if interpreter.exists():
        return interpreter
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for entry in _installed(with_ours=tool == "ours"):
        (packages / entry.name).symlink_to(entry)
    if tool == "ours":
        (packages / OURS).symlink_to(ROOT / OURS)
    return interpreter


def _installed(*, with_ours: bool) -> Iterator[Path]:
    """Yield what is in the site-packages of this interpreter, without start-up files and packages of ours."""
    folders = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
    for entry in sorted(entry for folder in folders for entry in folder.iterdir()):
        is_metadata = entry.name.startswith(OURS) and entry.suffix in (".dist-info", ".egg-info")
        skipped = entry.suffix == ".pth" or entry.name.startswith(("__editable__", "__pycache__", OURS))
        if (is_metadata and with_ours) or not skipped:
            yield entry


def _children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def python_version() -> str:
    """Return the version of the interpreter that everything runs on."""
    return sys.version.split()[0]
