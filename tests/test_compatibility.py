"""What applications, env.py files and other packages take from Flask-Migrate by name."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import flask
import flask_migrate
import pytest
import sqlalchemy as sa
from flask_migrate.cli import db as flask_migrate_group
from flask_process import FlaskProcesses, flask_processes
from flask_sqlalchemy import SQLAlchemy
from support import fresh_database, query, table_names

import flask_phased_migrate
from flask_phased_migrate import Migrate
from flask_phased_migrate.cli import db as group
from flask_phased_migrate.errors import ConfigurationError

FUNCTIONS = [
    "branches",
    "check",
    "current",
    "downgrade",
    "edit",
    "heads",
    "history",
    "init",
    "list_templates",
    "merge",
    "migrate",
    "revision",
    "show",
    "stamp",
    "upgrade",
]


@pytest.fixture(scope="module")
def processes() -> Iterator[FlaskProcesses]:
    with flask_processes() as found:
        yield found


@pytest.fixture
def app() -> Iterator[flask.Flask]:
    """An application with an SQLite database in memory, inside its context."""
    made = flask.Flask("shop")
    made.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    SQLAlchemy(made)
    with made.app_context():
        yield made
        for engine in made.extensions["sqlalchemy"].engines.values():
            engine.dispose()


def settings(app: flask.Flask) -> Any:
    """Return what env.py files read."""
    return app.extensions["migrate"]


def ini(folder: Path, text: str = "[alembic]\n") -> Path:
    """Write an alembic.ini into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alembic.ini").write_text(text)
    return folder


# -- app.extensions["migrate"] -----------------------------------------------------------------------------


def test_extension_holds_what_env_py_files_read(app: flask.Flask) -> None:
    db = app.extensions["sqlalchemy"]
    migrate = Migrate(app, db, directory=Path("other"))

    held = settings(app)

    assert (held.migrate, held.db, held.metadata, held.directory) == (migrate, db, db.metadata, "other")
    assert (migrate.db, migrate.directory, migrate.command, migrate.configure_callbacks) == (db, "other", "db", [])
    assert migrate.alembic_ctx_kwargs == {"compare_type": True, "render_as_batch": True}


def test_configure_args_are_what_the_application_gave_and_two_defaults(app: flask.Flask) -> None:
    own = object()
    Migrate(app, app.extensions["sqlalchemy"], compare_server_default=True, include_object=own)

    assert settings(app).configure_args == {
        "compare_server_default": True,
        "include_object": own,
        "compare_type": True,
        "render_as_batch": True,
    }


def test_configure_args_of_init_app_win(app: flask.Flask) -> None:
    migrate = Migrate(compare_type=True, render_as_batch=True, include_schemas=False)
    migrate.init_app(app, app.extensions["sqlalchemy"], compare_type=False, render_as_batch=False, include_schemas=True)

    assert settings(app).configure_args == {"compare_type": False, "render_as_batch": False, "include_schemas": True}


def test_configure_args_can_be_written_into_and_are_fresh_each_time(app: flask.Flask) -> None:
    Migrate(app, app.extensions["sqlalchemy"])

    given = settings(app).configure_args
    given["process_revision_directives"] = print
    given.setdefault("include_schemas", True)

    assert dict(**given).keys() == {"compare_type", "render_as_batch", "process_revision_directives", "include_schemas"}
    assert settings(app).configure_args == {"compare_type": True, "render_as_batch": True}


def test_init_app_takes_the_directory_as_third_argument(app: flask.Flask) -> None:
    migrate = Migrate()
    migrate.init_app(app, app.extensions["sqlalchemy"], "third")

    assert settings(app).directory == "third"


@pytest.mark.parametrize("name", ["__init__", "init_app", "get_config", "configure", "call_configure_callbacks"])
def test_method_takes_the_arguments_of_flask_migrates_in_their_order(name: str) -> None:
    theirs = inspect.signature(getattr(flask_migrate.Migrate, name)).parameters
    ours = inspect.signature(getattr(Migrate, name)).parameters

    assert_arguments(theirs, ours)


def assert_arguments(theirs: Any, ours: Any) -> None:
    """Compare name, default and kind of the arguments; ours may have more after them."""
    wanted = [(item.name, item.default, item.kind) for item in theirs.values() if item.kind is not item.VAR_KEYWORD]
    found = [(item.name, item.default, item.kind) for item in ours.values()]
    assert found[: len(wanted)] == wanted
    assert all(default is not inspect.Parameter.empty for name, default, kind in found[len(wanted) :] if kind <= 1)


# -- get_config ---------------------------------------------------------------------------------------------


def test_get_config_is_alembics_configuration_of_the_folder(app: flask.Flask, tmp_path: Path) -> None:
    migrate = Migrate(app, app.extensions["sqlalchemy"], str(ini(tmp_path / "m")))

    config = migrate.get_config()

    assert isinstance(config, flask_phased_migrate.Config)
    assert config.config_file_name == str(tmp_path / "m" / "alembic.ini")
    assert config.get_main_option("script_location") == str(tmp_path / "m")
    assert vars(config.cmd_opts)["x"] == []
    assert not hasattr(config.cmd_opts, "autogenerate")


def test_get_config_has_the_options_and_arguments_asked_for(app: flask.Flask, tmp_path: Path) -> None:
    migrate = Migrate(app, app.extensions["sqlalchemy"])
    folder = ini(tmp_path / "m")

    config = migrate.get_config(folder, x_arg=["a=1", "b=2"], opts=["autogenerate"])
    single = migrate.get_config(folder, "c=3")

    assert (config.cmd_opts.x, config.cmd_opts.autogenerate) == (["a=1", "b=2"], True)
    assert single.cmd_opts.x == ["c=3"]
    assert migrate.get_config(folder, x_arg=("d=4",)).cmd_opts.x == ["d=4"]


def test_get_config_adds_the_arguments_of_the_command_line_first(app: flask.Flask, tmp_path: Path) -> None:
    migrate = Migrate(app, app.extensions["sqlalchemy"])
    flask.g.x_arg = ("first=1",)

    assert migrate.get_config(ini(tmp_path / "m"), x_arg="second=2").cmd_opts.x == ["first=1", "second=2"]


def test_get_config_has_a_percent_sign_in_the_folders_name(app: flask.Flask, tmp_path: Path) -> None:
    migrate = Migrate(app, app.extensions["sqlalchemy"])
    folder = ini(tmp_path / "50%")

    assert migrate.get_config(folder).get_main_option("script_location") == str(folder)


def test_configure_callbacks_change_the_configuration_in_order(app: flask.Flask, tmp_path: Path) -> None:
    migrate = Migrate(app, app.extensions["sqlalchemy"], str(ini(tmp_path / "m")))

    @migrate.configure
    def first(config: Any) -> Any:
        config.set_main_option("word", "first")
        return config

    @migrate.configure
    def second(config: Any) -> Any:
        config.set_main_option("word", config.get_main_option("word") + " second")
        return config

    assert migrate.configure_callbacks == [first, second]
    assert migrate.get_config().get_main_option("word") == "first second"


# -- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_takes_the_arguments_of_flask_migrates_in_their_order(name: str) -> None:
    theirs = inspect.signature(getattr(flask_migrate, name)).parameters
    ours = inspect.signature(getattr(flask_phased_migrate, name)).parameters

    assert_arguments(theirs, ours)


def test_package_has_every_public_name_of_flask_migrate() -> None:
    names = {"Config", "Migrate", "alembic_version", *FUNCTIONS}

    assert {name for name in names if not hasattr(flask_phased_migrate, name)} == set()
    assert flask_phased_migrate.alembic_version == flask_migrate.alembic_version
    assert set(flask_phased_migrate.__all__) <= set(dir(flask_phased_migrate)) | set(flask_phased_migrate.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'flask_phased_migrate' has no attribute 'nothing'$"):
        _ = flask_phased_migrate.nothing  # type: ignore[attr-defined]


def test_config_has_a_template_directory(tmp_path: Path) -> None:
    config = flask_phased_migrate.Config(template_directory=str(tmp_path))

    assert config.get_template_directory() == str(tmp_path)
    assert Path(flask_phased_migrate.Config().get_template_directory(), "flask", "env.py").is_file()


def test_group_has_every_command_of_flask_migrate() -> None:
    assert set(flask_migrate_group.commands) - set(group.commands) == set()
    assert isinstance(group, click.Group)


@pytest.mark.parametrize("name", sorted(flask_migrate_group.commands))
def test_command_has_every_option_and_argument_of_flask_migrates(name: str) -> None:
    assert _words(flask_migrate_group, name) - _words(group, name) == set()


def _words(commands: click.Group, name: str) -> set[tuple[str, bool]]:
    """Return (option or argument, whether it is a flag) of a command and of its group."""
    parameters = [*commands.commands[name].params, *commands.params]
    return {(word, getattr(item, "is_flag", False)) for item in parameters for word in item.opts}


def test_group_can_be_added_to_an_applications_own_command_line(app: flask.Flask, tmp_path: Path) -> None:
    Migrate(app, app.extensions["sqlalchemy"], str(ini(tmp_path / "m")))

    @click.group()
    def own() -> None:
        pass

    own.add_command(group, "migrations")
    result = app.test_cli_runner().invoke(own, ["migrations", "heads", "--help"])

    assert result.exit_code == 0
    assert "--resolve-dependencies" in result.stdout


def test_callback_of_a_command_can_be_replaced(app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    Migrate(app, app.extensions["sqlalchemy"])
    command = group.commands["heads"]
    seen: list[str] = []
    original = command.callback

    def wrapped(*arguments: Any, **options: Any) -> Any:
        seen.append("heads")
        assert original is not None
        return original(*arguments, **options)

    monkeypatch.setattr(command, "callback", wrapped)
    result = app.test_cli_runner().invoke(args=["db", "heads", "-d", "nowhere"])

    assert (seen, result.exit_code) == (["heads"], 1)


def test_directory_and_arguments_of_the_group_are_on_g(app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    Migrate(app, app.extensions["sqlalchemy"])
    seen: list[Any] = []

    def look(*_arguments: Any, **_options: Any) -> None:
        seen.extend([flask.g.directory, flask.g.x_arg])

    monkeypatch.setattr(group.commands["check"], "callback", look)
    app.test_cli_runner().invoke(args=["db", "-d", "other", "-x", "a=1", "-x", "b=2", "check"])
    app.test_cli_runner().invoke(args=["db", "check"])

    assert seen == ["other", ("a=1", "b=2"), None, ()]


def test_group_has_the_name_that_the_application_gives_it(app: flask.Flask) -> None:
    Migrate(app, app.extensions["sqlalchemy"], command="database")

    assert set(app.cli.commands) >= {"database"}
    assert "db" not in app.cli.commands


# -- projects -------------------------------------------------------------------------------------------------

FACTORY = """\
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_phased_migrate import Migrate

db = SQLAlchemy()
migrate = Migrate(directory="changes", compare_type=False)


class Account(db.Model):
    id = db.Column(db.Integer, primary_key=True)


def create_app(url=None):
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url or {url!r}
    db.init_app(app)
    migrate.init_app(app, db)
    return app
"""
PLAIN = """\
import sqlalchemy as sa
from flask import Flask
from flask_phased_migrate import Migrate

first, second = sa.MetaData(), sa.MetaData()
sa.Table("account", first, sa.Column("id", sa.Integer, primary_key=True))
sa.Table("visit", second, sa.Column("id", sa.Integer, primary_key=True))
engine, other = sa.create_engine({first!r}), sa.create_engine({second!r})
app = Flask(__name__)
Migrate(app, metadata={metadata}, engine={engine})
"""


def must(processes: FlaskProcesses, folder: Path, *commands: str, env: dict[str, str] | None = None) -> str:
    """Run ``flask db`` commands that have to succeed; return what the last one printed."""
    printed = ""
    for command in commands:
        ended = processes.flask(folder, "db", *command.split(), env=env)
        assert ended.status == 0, f"{command}: {ended}"
        printed = ended.stdout
    return printed


def test_application_factory(processes: FlaskProcesses, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/one.sqlite3"
    (tmp_path / "app.py").write_text(FACTORY.replace("{url!r}", repr(url)))

    printed = must(processes, tmp_path, "init", "migrate -m one --rev-id a1", "upgrade", "check", "current")

    assert printed == "a1 (head)\n"
    assert (tmp_path / "changes" / "versions" / "a1_one.py").is_file()
    assert "account" in table_names(url)


def test_options_from_environment_variables(processes: FlaskProcesses, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/one.sqlite3"
    (tmp_path / "app.py").write_text(FACTORY.replace("{url!r}", repr(url)))
    directory = {"FLASK_DB_DIRECTORY": "elsewhere"}

    must(processes, tmp_path, "init", "migrate -m one --rev-id a1", env=directory)
    printed = must(processes, tmp_path, "upgrade", env={**directory, "FLASK_DB_UPGRADE_SQL": "1"})

    assert "CREATE TABLE account" in printed
    assert (tmp_path / "elsewhere" / "versions" / "a1_one.py").is_file()
    assert not (tmp_path / "changes").exists()


def test_several_applications_in_one_process_keep_apart(processes: FlaskProcesses, tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.sqlite3" for name in ("one", "two")]
    (tmp_path / "app.py").write_text(FACTORY.replace("{url!r}", repr(urls[0])))
    must(processes, tmp_path, "init", "migrate -m one --rev-id a1")
    code = f"""
    from app import create_app
    from flask_phased_migrate import downgrade, upgrade
    first, second = [create_app(url) for url in {urls!r}]
    with first.app_context():
        upgrade()
        with second.app_context():
            upgrade()
        downgrade()
    result = second.test_cli_runner().invoke(args=["db", "current"])
    assert result.stdout == "a1 (head)\\n", result.output
    result = first.test_cli_runner().invoke(args=["db", "current"])
    assert result.stdout == "", result.output
    """

    ended = processes.python(tmp_path, textwrap.dedent(code))

    assert (ended.status, ended.stdout) == (0, ""), ended
    assert ["account" in table_names(url) for url in urls] == [False, True]


def test_one_extension_keeps_each_applications_folder_and_options(tmp_path: Path) -> None:
    first, second = flask.Flask("first"), flask.Flask("second")
    db = object()
    migrate = Migrate()

    migrate.init_app(first, db, str(ini(tmp_path / "one")), include_schemas=True)
    migrate.init_app(second, db, str(ini(tmp_path / "two")), include_schemas=False)

    assert settings(first).configure_args["include_schemas"] is True
    assert settings(second).configure_args["include_schemas"] is False
    with first.app_context():
        assert migrate.get_config().get_main_option("script_location") == str(tmp_path / "one")
    with second.app_context():
        assert migrate.get_config().get_main_option("script_location") == str(tmp_path / "two")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_plain_sqlalchemy_needs_no_flask_sqlalchemy(processes: FlaskProcesses, tmp_path: Path, kind: str) -> None:
    with fresh_database(kind, tmp_path) as url:
        text = PLAIN.format(first=url, second="sqlite://", metadata="first", engine="engine")
        (tmp_path / "app.py").write_text(text)

        must(processes, tmp_path, "init", "migrate -m one --rev-id a1", "upgrade --phase before-deploy")
        must(processes, tmp_path, "upgrade --phase after-deploy", "upgrade --phase final", "check", "current -c")

        assert "account" in table_names(url)
        assert query(url, "SELECT version_num FROM alembic_version") == [("a1",)]
        must(processes, tmp_path, "downgrade", "upgrade --sql")
        assert "account" not in table_names(url)


@pytest.mark.parametrize("default", ["None", '"default"'])
def test_plain_sqlalchemy_with_several_databases(processes: FlaskProcesses, tmp_path: Path, default: str) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.sqlite3" for name in ("one", "two")]
    text = PLAIN.format(
        first=urls[0],
        second=urls[1],
        metadata=f'{{{default}: first, "reports": second}}',
        engine=f'{{{default}: engine, "reports": other}}',
    )
    (tmp_path / "app.py").write_text(text)

    must(processes, tmp_path, "init --multidb", "migrate -m one --rev-id a1", "upgrade", "check")
    status = json.loads(must(processes, tmp_path, "status --json"))

    assert [item["name"] for item in status["binds"]] == ["default", "reports"]
    assert ["account" in table_names(urls[0]), "visit" in table_names(urls[0])] == [True, False]
    assert ["account" in table_names(urls[1]), "visit" in table_names(urls[1])] == [False, True]


def test_plain_sqlalchemy_works_with_the_env_py_of_flask_migrate(processes: FlaskProcesses, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/one.sqlite3"
    text = PLAIN.format(first=url, second="sqlite://", metadata="first", engine="engine")
    (tmp_path / "app.py").write_text(text)
    template = Path(flask_migrate.__file__).parent / "templates" / "flask"

    must(processes, tmp_path, f"init -t {template}", "migrate -m one --rev-id a1", "upgrade", "check", "downgrade -1")

    assert "account" not in table_names(url)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"metadata": sa.MetaData()}, "both metadata= and engine="),
        ({"engine": sa.create_engine("sqlite://")}, "both metadata= and engine="),
        ({"metadata": {"a": sa.MetaData()}, "engine": {"b": sa.create_engine("sqlite://")}}, "the same binds as keys"),
    ],
)
def test_half_of_a_plain_database_is_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Migrate(flask.Flask("shop"), **arguments)


def test_init_app_without_a_database_says_what_to_give() -> None:
    with pytest.raises(ConfigurationError, match="Migrate has no database"):
        Migrate().init_app(flask.Flask("shop"))


def test_command_in_an_application_without_the_extension_says_so(app: flask.Flask) -> None:
    app.cli.add_command(group, "db")

    result = app.test_cli_runner().invoke(args=["db", "heads"])

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: The application shop has no migrations")


# -- imports --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "from flask_phased_migrate import Migrate",
        "from flask_phased_migrate import Migrate; import flask; Migrate(flask.Flask('shop'), object())",
        "import flask_phased_migrate.cli",
    ],
)
def test_import_loads_neither_alembic_nor_sqlalchemy(code: str) -> None:
    looked_for = ("alembic", "sqlalchemy", "flask_sqlalchemy", "mako", "rich", "sqlglot")
    program = f"{code}\nimport sys\nprint([name for name in {looked_for!r} if name in sys.modules])"

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert printed == "[]\n"
