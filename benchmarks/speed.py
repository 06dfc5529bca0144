"""The table of speed: this checkout against Flask-Migrate, Alembic, Flask-Alembic and alembic-offline, row by row.

Each side has an environment of its own, installed by pip. A row is measured in pairs: instructions by cachegrind, which
repeat to a tenth of a percent, or processor seconds. The ratio is theirs / ours: above 1 is faster than the peer.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from .databases import ROOT
from .histories import write_history

Peer = Literal["flask-migrate", "alembic", "flask-alembic", "alembic-offline", "no extension"]
Measure = Literal["instructions", "cpu"]
PEERS = ("flask-migrate", "flask-alembic", "alembic-offline")
TIMEOUT_S = 3600

APPLICATION = """\
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
{imports}

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///{home}/{name}.sqlite3"
app.config["ALEMBIC"] = {{"script_location": "{home}/plain/versions"}}
db = SQLAlchemy(app)
{wiring}
"""
WIRING: Mapping[str, tuple[str, str]] = {
    "ours": ("from flask_phased_migrate import Migrate", 'Migrate(app, db, directory="{home}/{env}")'),
    "flask-migrate": ("from flask_migrate import Migrate", 'Migrate(app, db, directory="{home}/foreign")'),
    "flask-alembic": ("from flask_alembic import Alembic", "Alembic(app)"),
    "bare": ("", ""),
}
DATA_OURS = """
from {module} import app
from flask_phased_migrate import get_migrations_data
with app.app_context():
    print(len(get_migrations_data(app.extensions["migrate"].migrate.get_config())))
"""
DATA_THEIRS = """
from alembic.config import Config
from alembic_offline import get_migrations_data
print(len(get_migrations_data(Config("{home}/plain.ini"))))
"""


class MeasuringFailed(RuntimeError):
    """A command that must succeed did not, or a program is missing; the message says what to do."""


@dataclass(frozen=True)
class Row:
    """One row: what each side runs, how it is measured, and the ratio asked for, by number of revisions."""

    job: str
    peer: Peer
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    asked: Mapping[int, float]
    measure: Measure = "instructions"
    shape: str = "linear"
    env: Literal["own", "foreign"] = "own"
    at_head: bool = False


@dataclass(frozen=True)
class Figure:
    """What a row came to: medians of each side, in millions of instructions or seconds, and theirs / ours."""

    job: str
    peer: str
    shape: str
    revisions: int
    measure: str
    ours: float
    theirs: float
    ratio: float
    asked: float | None


def _lists() -> Iterator[Row]:
    for job, ours in (
        ("heads", ("heads",)),
        ("history", ("history",)),
        ("branches", ("branches",)),
        ("show", ("show", "head")),
    ):
        yield Row(job, "flask-migrate", ("db", *ours), ("db", *ours), {1000: 1.7, 5000: 4})
    yield Row("graph, against heads", "flask-migrate", ("db", "graph"), ("db", "heads"), {1000: 1.7, 5000: 4})
    yield Row("heads", "alembic", ("db", "heads"), ("heads",), {})
    yield Row("heads", "flask-alembic", ("db", "heads"), ("db", "heads"), {})


def _databases() -> Iterator[Row]:
    upgrade = ("db", "upgrade")
    for env, few, many, current in (("own", 1.7, 4.0, 20.0), ("foreign", 1.25, 2.5, 2.5)):
        words = f"{env} env.py"
        yield Row(
            f"current, {words}",
            "flask-migrate",
            ("db", "current"),
            ("db", "current"),
            {1000: few, 5000: current},
            env=env,  # type: ignore[arg-type]
            at_head=True,
        )
        yield Row(
            f"upgrade with nothing to do, {words}",
            "flask-migrate",
            upgrade,
            upgrade,
            {1000: few, 5000: many},
            env=env,  # type: ignore[arg-type]
            at_head=True,
        )


ROWS: tuple[Row, ...] = (
    Row("flask --help", "no extension", ("--help",), ("--help",), {1000: 1 / 1.01, 5000: 1 / 1.01}),
    *_lists(),
    *_databases(),
    Row("history", "flask-migrate", ("db", "history"), ("db", "history"), {1000: 1.2, 5000: 6}, "cpu", "branched"),
    Row(
        "sql base:head",
        "flask-migrate",
        ("db", "sql", "base:head"),
        ("db", "upgrade", "--sql", "base:head"),
        {1000: 1.2, 5000: 2},
        "cpu",
        "branched",
    ),
    Row("data of every revision", "alembic-offline", ("data",), ("data",), {1000: 300}, "cpu"),
)


@dataclass(frozen=True)
class Bench:
    """A folder with the environments and the projects, and how many pairs a row of processor time has."""

    folder: Path
    rounds: int

    def measure(self, row: Row, revisions: int) -> Figure:
        """Return the figure of a row.

        :raises MeasuringFailed: if a command fails, or cachegrind is not there.
        """
        home = self.project(row.shape, revisions)
        read = instructions if row.measure == "instructions" else cpu_s
        sides = (self._command(home, row, "ours"), self._command(home, row, "theirs"))
        for command, environment in sides:
            run(command, environment, home)  # compiles and caches what the measured runs find
            if row.at_head:
                run((*command[: -len(row.ours)], "db", "upgrade"), environment, home)
                run(command, environment, home)
        pairs = []
        for number in range(1 if row.measure == "instructions" else self.rounds):
            order = sides if number % 2 == 0 else sides[::-1]
            found = {command: read(command, environment, home) for command, environment in order}
            pairs.append(tuple(found[command] for command, _ in sides))
        return Figure(
            row.job,
            row.peer,
            row.shape,
            revisions,
            row.measure,
            median(pair[0] for pair in pairs),
            median(pair[1] for pair in pairs),
            median(pair[1] / pair[0] for pair in pairs),
            row.asked.get(revisions),
        )

    def _command(self, home: Path, row: Row, side: str) -> tuple[tuple[str, ...], dict[str, str]]:
        words = row.ours if side == "ours" else row.theirs
        tool = f"ours_{row.env}" if side == "ours" else "bare" if row.peer == "no extension" else row.peer
        python = str(self.environment("ours" if side == "ours" or tool == "bare" else "peers"))
        module = f"app_{tool}".replace("-", "_")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "PYTHON"))},
            "FLASK_APP": str(home / f"{module}.py"),
            "PYTHONHASHSEED": "0",
        }
        if words == ("data",):
            text = DATA_OURS.format(module=module) if side == "ours" else DATA_THEIRS.format(home=home)
            return (python, "-c", text), environment
        start = ("-m", "alembic.config", "-c", str(home / "plain.ini")) if tool == "alembic" else ("-m", "flask")
        return (python, *start, *words), environment

    def environment(self, side: str) -> Path:
        """Return the interpreter of a side's environment, which is installed the first time.

        :raises MeasuringFailed: if pip fails.
        """
        folder = self.folder / f"environment_{side}"
        python = folder / "bin" / "python"
        if not python.exists():
            venv.EnvBuilder(with_pip=True).create(folder)
            packages = [str(self._copy_checkout())] if side == "ours" else list(PEERS)
            run((str(python), "-m", "pip", "install", "-q", "flask-sqlalchemy", *packages), dict(os.environ), folder)
        return python

    def _copy_checkout(self) -> Path:
        """Return a copy of this checkout to build from: a build leaves its own files behind."""
        copy = self.folder / "checkout"
        copy.mkdir()
        for name in ("pyproject.toml", "README.rst", "LICENSE"):
            shutil.copyfile(ROOT / name, copy / name)
        shutil.copytree(ROOT / "flask_phased_migrate", copy / "flask_phased_migrate")
        return copy

    def project(self, shape: str, revisions: int) -> Path:
        """Return the folder of a history with the applications, which is written the first time."""
        home = self.folder / f"{shape}_{revisions}"
        if home.exists():
            return home
        versions = home / "versions"
        versions.mkdir(parents=True)
        write_history(versions, revisions, shape=shape, body="mixed")
        self._write_environments(home, versions)
        for tool in ("ours_own", "ours_foreign", "flask_migrate", "flask_alembic", "bare"):
            imports, wiring = WIRING["ours" if tool.startswith("ours") else tool.replace("_", "-")]
            wiring = wiring.format(home=home, env=tool.removeprefix("ours_"))
            text = APPLICATION.format(imports=imports, wiring=wiring, home=home, name=tool)
            (home / f"app_{tool}.py").write_text(text, encoding="utf-8")
        return home

    def _write_environments(self, home: Path, versions: Path) -> None:
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


def run(command: Sequence[str], environment: Mapping[str, str], home: Path) -> str:
    """Run a command and return its standard output.

    :raises MeasuringFailed: if its exit status is not 0.
    """
    ended = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    if ended.returncode:
        raise MeasuringFailed(f"{' '.join(command)[:300]} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return ended.stdout


def cpu_s(command: Sequence[str], environment: Mapping[str, str], home: Path) -> float:
    """Return the processor seconds of a command, user and system."""
    before = os.times()
    run(command, environment, home)
    now = os.times()
    return now.children_user + now.children_system - before.children_user - before.children_system


def instructions(command: Sequence[str], environment: Mapping[str, str], home: Path) -> float:
    """Return the millions of instructions of a command.

    :raises MeasuringFailed: if valgrind is not there.
    """
    if shutil.which("valgrind") is None:
        raise MeasuringFailed("Instructions are counted by valgrind, which is missing. Type: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "counts")
        options = ("--tool=cachegrind", "--cache-sim=no", "--branch-sim=no", f"--cachegrind-out-file={file}")
        run(("valgrind", "-q", *options, *command), environment, home)
        found = re.search(r"^summary: (\d+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise MeasuringFailed("cachegrind has counted nothing.")
    return int(found[1]) / 1e6


def measure_speed(bench: Bench, sizes: Sequence[int], wanted: str, say: Callable[[str], None]) -> tuple[Figure, ...]:
    """Return the figures of the rows whose job has ``wanted`` in it, saying each as it comes."""
    figures = []
    for revisions in sizes:
        for row in ROWS:
            if wanted not in row.job:
                continue
            figures.append(bench.measure(row, revisions))
            say(describe_figure(figures[-1]))
    return tuple(figures)


def describe_figure(figure: Figure) -> str:
    """Return one line of the table."""
    unit = "Mi" if figure.measure == "instructions" else "s"
    asked = "-" if figure.asked is None else f"{figure.asked:.2f}"
    return (
        f"{figure.job:44} {figure.shape:8} N={figure.revisions:<6} {figure.peer:15} ours {figure.ours:9.2f} {unit:2} "
        f"theirs {figure.theirs:9.2f} {unit:2} ratio {figure.ratio:7.2f} asked {asked:>6}"
    )


def draw_figures(figures: Sequence[Figure]) -> str:
    """Return the ratios as an SVG: a bar for each row on a logarithmic scale, a stroke where one was asked for."""
    height, left, wide = 22, 420, 360
    most = max([2.0, *(max(item.ratio, item.asked or 1) for item in figures)])
    scale = wide / _log(most)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 80}" height="{height * (len(figures) + 1)}" '
        'font-family="sans-serif" font-size="12">'
    ]
    for place, item in enumerate(figures):
        top = place * height + 4
        label = f"{item.job}, {item.shape}, N = {item.revisions:,}, against {item.peer}"
        width = max(1.0, _log(item.ratio) * scale)
        lines.append(f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{label}</text>')
        lines.append(f'<rect x="{left}" y="{top}" width="{width:.1f}" height="16" fill="#4a7fb5"/>')
        lines.append(f'<text x="{left + width + 6:.1f}" y="{top + 13}">{item.ratio:.2f}</text>')
        if item.asked is not None:
            at = left + max(0.0, _log(item.asked) * scale)
            lines.append(f'<path d="M{at:.1f} {top - 2}v20" stroke="#c0392b" stroke-width="2"/>')
    return "\n".join([*lines, "</svg>\n"])


def _log(ratio: float) -> float:
    from math import log

    return max(0.0, log(ratio))
