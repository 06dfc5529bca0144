"""What an application's start loads of us, and what stands for the command group until it is run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from flask import Flask
from support import fresh_database

import flask_phased_migrate
from flask_phased_migrate import Migrate
from flask_phased_migrate.cli import db as group
from flask_phased_migrate.extension.command_group import HELP

APPLICATION = """
import flask_sqlalchemy
from flask import Flask
from flask_phased_migrate import Migrate

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
db = flask_sqlalchemy.SQLAlchemy(app)
migrate = Migrate(app, db)
"""
HEAVY = ("alembic", "mako", "sqlglot", "rich", "flask_phased_migrate.cli", "flask_phased_migrate.phases", "getpass")
LOADED = f"import sys; print([name for name in {HEAVY!r} if name in sys.modules])"


def run(folder: Path, program: str) -> str:
    (folder / "app.py").write_text(APPLICATION)
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return ended.stdout


def test_the_start_of_an_application_loads_none_of_what_commands_need(tmp_path: Path) -> None:
    assert run(tmp_path, f"import app; {LOADED}") == "[]\n"


def test_the_help_of_flask_loads_none_of_what_commands_need(tmp_path: Path) -> None:
    program = f"from flask.cli import cli; cli(['--app', 'app', '--help'], standalone_mode=False); {LOADED}"
    shown, _, loaded = run(tmp_path, program).rstrip("\n").rpartition("\n")
    assert "  db      Perform database migrations, in deploy phases where" in shown
    assert loaded == "[]"


@pytest.mark.parametrize("name", flask_phased_migrate.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(flask_phased_migrate, name) is not None


def deferred() -> click.Group:
    app = Flask("start")
    Migrate(app, object(), command="migrations")
    found = app.cli.commands["migrations"]
    assert isinstance(found, click.Group)
    return found


def test_the_line_of_help_is_the_groups_own() -> None:
    assert group.help is not None
    assert group.help.splitlines()[0] == HELP
    assert deferred().get_short_help_str() == group.get_short_help_str()


def test_the_group_can_be_asked_and_added_to_before_it_is_run() -> None:
    found, extra = deferred(), click.Command("extra")
    context = click.Context(found)
    try:
        found.add_command(extra)
        assert group.commands["extra"] is extra
    finally:
        group.commands.pop("extra", None)
    assert found.list_commands(context) == group.list_commands(click.Context(group))
    assert found.get_command(context, "upgrade") is group.commands["upgrade"]
    assert [option.name for option in found.get_params(context)] == [
        option.name for option in group.get_params(click.Context(group))
    ]
    assert found.to_info_dict(context)["commands"] == group.to_info_dict(click.Context(group))["commands"]


def test_the_group_can_be_run_itself() -> None:
    app = Flask("start")
    Migrate(app, object())
    result = app.test_cli_runner().invoke(app.cli.commands["db"], ["--help"])
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "Usage: db [OPTIONS] [COMMAND] [ARGS]...")


# Alembic itself loads that of PostgreSQL.
FOREIGN = {f"sqlalchemy.dialects.{name}" for name in ("mysql", "oracle", "mssql")}


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_an_upgrade_loads_the_dialect_of_no_other_engine(tmp_path: Path, engine: str) -> None:
    with fresh_database(engine, tmp_path) as url:
        program = APPLICATION.replace("sqlite://", url)
        (tmp_path / "app.py").write_text(program)
        invoke = "from flask.cli import cli; cli(['--app', 'app', 'db', *{}], standalone_mode=False)"
        for arguments in (["init"], ["revision", "-m", "one"]):
            subprocess.run([sys.executable, "-c", invoke.format(arguments)], cwd=tmp_path, check=True, timeout=60)
        upgrade = f"{invoke.format(['upgrade'])}\nimport sys; print({FOREIGN!r} & sys.modules.keys())"
        ended = subprocess.run(
            [sys.executable, "-c", upgrade], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
    assert ended.stdout.splitlines()[-1] == "set()"
