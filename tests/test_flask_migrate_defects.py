"""What is wrong in Flask-Migrate 4.1, one test each: it is not so here."""

from __future__ import annotations

import sqlite3
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask_migrate_folder import (
    BINDS,
    FIRST_TABLES,
    Folder,
    Made,
    copy_layout,
    describe_database,
    write_project,
)
from flask_process import Ended, FlaskProcesses, flask_processes
from support import connect, query, table_names


@pytest.fixture(scope="module")
def processes() -> Iterator[FlaskProcesses]:
    with flask_processes() as found:
        yield found


@pytest.fixture(scope="module")
def made(processes: FlaskProcesses, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(processes, tmp_path_factory.mktemp("made"))


@pytest.fixture
def folder(made: Made, tmp_path: Path) -> Iterator[Folder]:
    """Flask-Migrate's folder at revision a2 of two, on SQLite, with the import changed."""
    with ExitStack() as stack:
        found = copy_layout(stack, made, "sqlite", tmp_path / "project")
        found.change_import()
        yield found


@pytest.fixture
def binds(made: Made, tmp_path: Path) -> Iterator[Folder]:
    """The same with a bind besides."""
    with ExitStack() as stack:
        found = copy_layout(stack, made, "sqlite binds", tmp_path / "project")
        found.change_import()
        yield found


@pytest.fixture
def new(processes: FlaskProcesses, tmp_path: Path) -> Callable[..., Folder]:
    """A factory of projects that begin with this package: ``new(urls, tables, settings=...)``."""

    def make(urls: dict[str, str], tables: str, settings: str | None = None) -> Folder:
        found = write_project(tmp_path / "new", urls, processes, tables, settings=settings)
        found.change_import()
        return found

    return make


def run(folder: Folder, code: str) -> Ended:
    """Return how code ended that runs in one process, inside an application context."""
    text = "from app import app\nimport flask_phased_migrate as package\nwith app.app_context():\n"
    ended = folder.processes.python(folder.path, text + textwrap.indent(textwrap.dedent(code), "    "))
    assert ended.status == 0, ended
    return ended


def version(url: str) -> list[str]:
    """Return the rows of the version table."""
    return [name for (name,) in query(url, "SELECT version_num FROM alembic_version ORDER BY 1")]


def sqlite(path: Path, name: str) -> str:
    """Return the URL of a SQLite database."""
    return f"sqlite:///{path}/{name}.sqlite3"


# -- the command line --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["downgrade -1", "downgrade -2", "downgrade --tag x -1", "downgrade -1 --tag x"])
def test_downgrade_takes_a_relative_revision_as_it_is_typed(folder: Folder, command: str) -> None:
    folder.must(command)

    assert version(folder.urls["default"]) == ([] if "-2" in command else ["a1"])


@pytest.mark.parametrize("option", ["--check-heads", "-c"])
def test_current_can_check_that_the_database_is_at_the_heads(folder: Folder, option: str) -> None:
    at_head = folder.flask(f"current {option}")
    folder.must("downgrade")
    behind = folder.flask(f"current {option}")

    assert (at_head.status, at_head.stdout) == (0, "a2 (head)\n")
    assert behind.status == 1
    assert behind.stderr.startswith("Error: ")


def test_revision_takes_what_it_depends_on(folder: Folder) -> None:
    folder.must("revision -m other --head base --splice --rev-id z1")

    folder.must("revision -m one --head a2 --depends-on z1 --rev-id a3")
    folder.must("revision -m two --head a3 --depends-on z1 --depends-on a1 --rev-id a4")

    files = folder.files()
    assert "depends_on = 'z1'" in files["migrations/versions/a3_one.py"]
    assert "depends_on = ['z1', 'a1']" in files["migrations/versions/a4_two.py"]


def test_stamp_takes_several_revisions(folder: Folder) -> None:
    folder.must("revision -m side --head a1 --splice --rev-id b2")

    folder.must("stamp a2 b2")
    both = version(folder.urls["default"])
    folder.must("stamp --purge a1")

    assert (both, version(folder.urls["default"])) == (["a2", "b2"], ["a1"])


def test_merge_without_arguments_joins_all_heads(folder: Folder) -> None:
    folder.must("revision -m side --head a1 --splice --rev-id b2")

    folder.must("merge -m join --rev-id c1")

    assert "down_revision = ('a2', 'b2')" in folder.files()["migrations/versions/c1_join.py"]


@pytest.mark.parametrize("command", ["merge", "merge -m join", "merge heads", "merge a2"])
def test_merge_of_a_single_head_writes_nothing(folder: Folder, command: str) -> None:
    before = folder.files()

    folder.flask(command)

    assert folder.files() == before


def test_settings_of_alembic_in_pyproject_toml_are_used(folder: Folder) -> None:
    (folder.path / "pyproject.toml").write_text('[tool.alembic]\nfile_template = "from_pyproject_%%(rev)s"\n')

    folder.must("revision --rev-id a3")

    assert "migrations/versions/from_pyproject_a3.py" in folder.files()


def test_ini_wins_over_pyproject_toml(folder: Folder) -> None:
    (folder.path / "pyproject.toml").write_text('[tool.alembic]\nfile_template = "from_pyproject_%%(rev)s"\n')
    ini = folder.path / "migrations" / "alembic.ini"
    ini.write_text(ini.read_text().replace("[alembic]\n", "[alembic]\nfile_template = from_ini_%%(rev)s\n"))

    folder.must("revision --rev-id a3")

    assert "migrations/versions/from_ini_a3.py" in folder.files()


def test_unexpected_error_is_a_message_and_with_raiseerr_a_traceback(folder: Folder) -> None:
    file = folder.path / "migrations" / "versions" / "a2_stage_2.py"
    file.write_text(file.read_text().replace("def downgrade():", "def downgrade():\n    raise ValueError('broken')"))

    short = folder.flask("downgrade")
    long = folder.flask("downgrade --raiseerr")

    assert short.status == 1
    assert "a2 before-deploy failed: ValueError: broken" in short.stderr
    assert "Traceback" not in short.stderr
    assert "Traceback" in long.stderr
    assert "raise ValueError('broken')" in long.stderr


# -- in one process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("heads", "a2 (head)\n"),
        ("history", "a1 -> a2 (head), stage 2\n<base> -> a1, stage 1\n"),
        ("current", "a2 (head)\n"),
        ("check", "No new upgrade operations detected.\n"),
        ("branches", ""),
    ],
)
def test_cli_runner_of_the_application_captures_what_a_command_prints(
    folder: Folder, command: str, expected: str
) -> None:
    code = f"""
    result = app.test_cli_runner().invoke(args=["db", "{command}"])
    assert (result.exit_code, result.stdout) == (0, {expected!r}), result.output
    """

    ended = run(folder, code)

    assert ended.stdout == ""


def test_cli_runner_captures_show_and_sql(folder: Folder) -> None:
    code = """
    runner = app.test_cli_runner()
    shown = runner.invoke(args=["db", "show", "a1"])
    assert shown.stdout.startswith("Rev: a1\\nParent: <base>"), shown.output
    sql = runner.invoke(args=["db", "upgrade", "--sql", "a1:a2"])
    assert sql.stdout.startswith("-- Running upgrade a1 -> a2"), sql.output
    written = runner.invoke(args=["db", "revision", "-m", "new", "--rev-id", "a3"])
    assert written.stdout.startswith("Generating "), written.output
    """

    assert run(folder, code).stdout == ""


@pytest.mark.parametrize(
    "call",
    [
        "upgrade(revision='zzz')",
        "upgrade(revision='a1:a2')",
        "upgrade(revision='zzz', sql=True)",
        "downgrade(revision='zzz')",
        "downgrade(revision='a1', sql=True)",
        "show(revision='zzz')",
        "stamp(revision='zzz')",
        "stamp(purge=True, sql=True)",
        "edit(revision='zzz')",
        "merge(revisions=['zzz', 'a1'])",
        "revision(head='zzz')",
        "history(rev_range='zzz:')",
        "heads(directory='nowhere')",
        "current(directory='nowhere')",
        "branches(directory='nowhere')",
        "check(directory='nowhere')",
        "init(directory='migrations')",
    ],
)
def test_function_raises_an_exception_with_the_message_instead_of_exiting(folder: Folder, call: str) -> None:
    code = f"""
    try:
        package.{call}
    except Exception as error:
        assert str(error), repr(error)
    else:
        raise AssertionError("no exception")
    """

    assert run(folder, code).stdout == ""


def test_failing_body_reaches_the_caller_as_the_cause(folder: Folder) -> None:
    file = folder.path / "migrations" / "versions" / "a2_stage_2.py"
    file.write_text(file.read_text().replace("def downgrade():", "def downgrade():\n    raise ValueError('broken')"))
    code = """
    try:
        package.downgrade()
    except Exception as error:
        assert repr(error.__cause__) == "ValueError('broken')", repr(error.__cause__)
    else:
        raise AssertionError("no exception")
    """

    run(folder, code)


def test_upgrade_and_then_migrate_in_one_process_write_no_empty_revision(folder: Folder) -> None:
    folder.must("downgrade base")
    before = folder.files()

    run(folder, "package.upgrade()\npackage.migrate(message='nothing')\npackage.check()\npackage.upgrade()")

    assert folder.files() == before
    assert version(folder.urls["default"]) == ["a2"]


def test_calls_in_one_process_do_not_see_each_others_arguments(folder: Folder) -> None:
    folder.must("downgrade base")
    code = """
    migrate = app.extensions["migrate"].migrate
    package.upgrade(revision="a1", x_arg=["one=1"], tag="first")
    package.upgrade(x_arg="two=2")
    assert migrate.get_config().cmd_opts.x == []
    assert migrate.get_config(x_arg="three").cmd_opts.x == ["three"]
    assert not hasattr(migrate.get_config().cmd_opts, "autogenerate")
    """

    run(folder, code)

    assert version(folder.urls["default"]) == ["a2"]


def test_loggers_and_handlers_of_the_application_survive_an_upgrade(folder: Folder) -> None:
    code = """
    import logging
    own = logging.getLogger("shop.orders")
    own.setLevel(logging.DEBUG)
    handler = logging.FileHandler("own.log")
    own.addHandler(handler)
    app.logger.addHandler(handler)
    root = logging.getLogger()
    root.addHandler(handler)
    before = list(root.handlers), root.level, list(app.logger.handlers), app.logger.level
    for _ in range(3):
        package.downgrade()
        package.upgrade()
        package.check()
    assert (list(root.handlers), root.level, list(app.logger.handlers), app.logger.level) == before
    assert not app.logger.disabled and not own.disabled and own.level == logging.DEBUG
    root.removeHandler(handler)
    app.logger.error("from the application")
    own.debug("from a module")
    """

    run(folder, code)

    assert (folder.path / "own.log").read_text().endswith("from the application\nfrom a module\n")


# -- SQL ---------------------------------------------------------------------------------------------------


def test_sql_for_sqlite_is_nothing_but_sql_and_gives_the_schema_of_an_upgrade(folder: Folder, tmp_path: Path) -> None:
    ended = folder.must("upgrade --sql")

    with sqlite3.connect(tmp_path / "exported.sqlite3") as connection:
        connection.executescript(ended.stdout)
    connection.close()
    assert describe_database(sqlite(tmp_path, "exported")) == describe_database(folder.urls["default"])


KNOTTED = {"r0": ((), ()), "a": (("r0",), ()), "b": (("r0",), ("a",)), "c": (("r0",), ()), "m": (("a", "b", "c"), ())}
"""Down revisions and dependencies: a merge of three heads, of which one depends on another."""


def write_knotted(folder: Folder) -> None:
    """Put the revisions beside the two of the folder, each with a table of its own."""
    for name, (down, needs) in KNOTTED.items():
        lines = [
            "import sqlalchemy as sa",
            "from alembic import op",
            f"revision, down_revision, depends_on = {name!r}, {down!r}, {needs!r}",
            "branch_labels = ('knotted',)" if not down else "branch_labels = None",
            f"def upgrade():\n    op.create_table('t_{name}', sa.Column('id', sa.Integer, primary_key=True))",
            f"def downgrade():\n    op.drop_table('t_{name}')",
        ]
        (folder.path / "migrations" / "versions" / f"{name}.py").write_text("\n".join(lines) + "\n")


def test_a_merge_of_heads_that_depend_on_each_other_goes_up_and_down(folder: Folder, tmp_path: Path) -> None:
    write_knotted(folder)
    exported = folder.must("sql --dialect sqlite base:knotted@head").stdout
    folder.must("upgrade heads")

    tables = {f"t_{name}" for name in KNOTTED}
    assert version(folder.urls["default"]) == ["a2", "m"]
    assert tables <= set(table_names(folder.urls["default"]))
    with sqlite3.connect(tmp_path / "knotted.sqlite3") as connection:
        connection.executescript(exported)
    connection.close()
    assert tables == set(table_names(sqlite(tmp_path, "knotted"))) - {"alembic_version"}
    folder.must("downgrade knotted@base")
    assert version(folder.urls["default"]) == ["a2"]
    assert tables.isdisjoint(table_names(folder.urls["default"]))


def test_flask_migrate_cannot_merge_heads_that_depend_on_each_other(made: Made, tmp_path: Path) -> None:
    with ExitStack() as stack:
        found = copy_layout(stack, made, "sqlite", tmp_path / "theirs")
        write_knotted(found)
        assert "KeyError: 'a'" in found.flask("upgrade heads").stderr


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_sql_inserts_the_version_without_returning(made: Made, tmp_path: Path, kind: str) -> None:
    with ExitStack() as stack:
        folder = copy_layout(stack, made, kind, tmp_path / "project")
        folder.change_import()

        for command in ("upgrade --sql", "sql", "stamp --sql"):
            assert "RETURNING" not in folder.must(command).stdout


def test_sql_of_one_of_several_binds_is_on_standard_output_and_leaves_no_file(binds: Folder) -> None:
    before = {file.name for file in binds.path.iterdir()}

    ended = binds.must("sql --bind reports")

    assert "alembic_version" in ended.stdout
    assert {file.name for file in binds.path.iterdir()} == before


@pytest.mark.parametrize("command", ["upgrade --sql", "downgrade --sql a1:base"])
def test_sql_for_several_binds_is_in_the_files_that_env_py_names(binds: Folder, command: str) -> None:
    ended = binds.must(command)

    first, second = ((binds.path / name).read_text() for name in (".sql", "reports.sql"))
    assert ended.stdout == ""
    assert ("TABLE account" in first, "TABLE visit" in first) == (True, False)
    assert ("TABLE account" in second, "TABLE visit" in second) == (False, True)


def test_failed_export_prints_no_partial_sql(folder: Folder) -> None:
    file = folder.path / "migrations" / "versions" / "a2_stage_2.py"
    file.write_text(file.read_text().replace("def upgrade():", "def upgrade():\n    op.get_bind().execute('x').all()"))

    ended = folder.flask("upgrade --sql")

    assert ended.status != 0
    assert ended.stdout == ""


# -- binds -------------------------------------------------------------------------------------------------


def _first_two_revisions(folder: Folder, later: str) -> None:
    folder.must("init --multidb")
    folder.must("migrate -m one --rev-id a1")
    folder.must("upgrade")
    folder.tables(later)
    folder.must("migrate -m two --rev-id a2")
    folder.must("upgrade")
    assert folder.must("check").stdout == "No new upgrade operations detected.\n"


def test_binds_with_the_key_none_for_the_unnamed_database(new: Callable[..., Folder], tmp_path: Path) -> None:
    urls = {"default": sqlite(tmp_path, "default"), "reports": sqlite(tmp_path, "reports")}
    settings = 'app.config["SQLALCHEMY_BINDS"] = {None: app.config.pop("SQLALCHEMY_DATABASE_URI"), **urls}'
    folder = new(urls, BINDS[0], settings)

    _first_two_revisions(folder, BINDS[1])

    assert "note" in table_names(urls["default"])
    assert "visit" in table_names(urls["reports"])
    folder.must("downgrade base")


def test_application_without_an_unnamed_database(new: Callable[..., Folder], tmp_path: Path) -> None:
    urls = {"default": "", "reports": sqlite(tmp_path, "reports"), "second": sqlite(tmp_path, "second")}
    settings = 'del app.config["SQLALCHEMY_DATABASE_URI"]\napp.config["SQLALCHEMY_BINDS"] = urls'
    only = [text[text.index("class Visit") :] for text in BINDS]
    folder = new(urls, only[0], settings)

    _first_two_revisions(folder, only[1])

    assert "visit" in table_names(urls["reports"])
    assert version(urls["reports"]) == version(urls["second"]) == ["a2"]
    folder.must("downgrade base")


@pytest.mark.parametrize("name", ["my-db", "1st", "class", "it's", "two words", "ümlaut"])
def test_bind_whose_name_is_no_identifier(new: Callable[..., Folder], tmp_path: Path, name: str) -> None:
    urls = {"default": sqlite(tmp_path, "default"), name: sqlite(tmp_path, "other")}
    folder = new(urls, BINDS[0].replace('"reports"', repr(name)))

    _first_two_revisions(folder, BINDS[1].replace('"reports"', repr(name)))

    with connect(urls[name]) as connection:
        columns = [column["name"] for column in sa.inspect(connection).get_columns("visit")]
    assert columns == ["id", "page", "seconds"]
    folder.must("downgrade -1")
    folder.must("upgrade --phase before-deploy")


def test_bind_added_later_gets_the_revisions_from_the_first_on(new: Callable[..., Folder], tmp_path: Path) -> None:
    urls = {"default": sqlite(tmp_path, "default"), "reports": sqlite(tmp_path, "reports")}
    folder = new({"default": urls["default"]}, FIRST_TABLES)
    folder.must("init --multidb")
    folder.must("migrate -m one --rev-id a1")
    folder.must("upgrade")

    application = folder.path / "app.py"
    setting = f'app.config["SQLALCHEMY_BINDS"] = {{"reports": {urls["reports"]!r}}}\n'
    application.write_text(application.read_text().replace("db = SQLAlchemy(app)", setting + "db = SQLAlchemy(app)"))
    folder.tables(BINDS[0])
    folder.must("upgrade")
    folder.must("migrate -m two --rev-id a2")
    folder.must("upgrade")

    assert version(urls["default"]) == version(urls["reports"]) == ["a2"]
    assert "visit" in table_names(urls["reports"])


# -- several at once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("round_", range(3))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_three_upgrades_at_once_all_succeed_and_run_each_revision_once(
    made: Made, tmp_path: Path, kind: str, round_: int
) -> None:
    with ExitStack() as stack:
        folder = copy_layout(stack, made, kind, tmp_path / f"project{round_}")
        url = folder.urls["default"]
        folder.must("downgrade base")
        query(url, "DROP TABLE alembic_version")
        folder.change_import()

        ended = folder.processes.together(folder.path, *[["db", "upgrade"]] * 3)

        assert [item.status for item in ended] == [0, 0, 0], ended
        assert version(url) == ["a2"]
        executions = (
            "SELECT revision, status, count(*) FROM alembic_version_journal GROUP BY revision, status ORDER BY 1"
        )
        assert query(url, executions) == [("a1", "done", 1), ("a2", "done", 1)]
