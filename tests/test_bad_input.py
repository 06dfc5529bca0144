"""What goes wrong from outside: one message that says what, where and what to type; nothing executed."""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from shell import (
    PLAIN,
    Outcome,
    flask_db,
    rows,
    snapshot,
    two_revisions,
    working_directory,
)
from support import Site, server_url

MakeSite = Callable[..., Site]


@pytest.fixture
def site(project: MakeSite, sqlite_url: str) -> Site:
    """Revision 1 makes a table, revision 2 on it has three phases; revision 1 is applied."""
    site = two_revisions(project(sqlite_url))
    assert flask_db(site, "upgrade", "1").status == 0
    return site


def refused(site: Site, *words: str, status: int, says: list[str]) -> Outcome:
    """Run a command that must end with ``status``, one message, and everything as it was."""
    before = snapshot(site)
    outcome = flask_db(site, *words)
    check_message(outcome, status, says)
    assert snapshot(site) == before
    return outcome


def check_message(outcome: Outcome, status: int, says: list[str]) -> None:
    assert outcome.status == status, outcome
    assert outcome.stdout == ""
    assert len(re.findall(r"(?m)^Error: ", outcome.stderr)) == 1, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert "Warning" not in outcome.stderr
    for words in says:
        assert words in outcome.stderr, outcome.stderr


# -- names that do not exist -------------------------------------------------------------------------

PHASE_SAYS = ["There is no phase 'nope'", "before-deploy, after-deploy, final", "MIGRATE_PHASES"]


@pytest.mark.parametrize(
    "words",
    [
        "upgrade --phase nope",
        "upgrade --phase nope --plan",
        "upgrade --phase nope --through",
        "upgrade --phase nope --sql",
        "downgrade --phase nope base",
        "downgrade --phase nope --plan base",
        "sql --phase nope",
        "sql --phase nope --split out",
        "ready --phase nope",
        "resolve 2 nope --restart --reason x",
    ],
)
def test_an_unknown_phase_exits_2_and_lists_those_there_are(site: Site, words: str):
    refused(site, *words.split(), status=2, says=PHASE_SAYS)


@pytest.mark.parametrize(
    "words",
    [
        "upgrade --bind nope",
        "upgrade --bind nope --plan",
        "upgrade --bind nope --sql",
        "downgrade --bind nope base",
        "sql --bind nope",
        "sql --bind nope --split out",
        "sql --bind nope --format json",
        "status --bind nope",
        "ready --bind nope",
        "journal --bind nope",
        "trace 1 --bind nope",
        "resolve 2 final --restart --reason x --bind nope",
        "graph --status --bind nope",
        "stamp --bind nope",
    ],
)
def test_an_unknown_bind_exits_2_and_lists_those_there_are(site: Site, words: str):
    refused(site, *words.split(), status=2, says=["There is no bind 'nope'", "The binds are: default"])


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("upgrade nope", 1),
        ("upgrade nope --plan", 1),
        ("upgrade nope --phase final", 1),
        ("upgrade --sql nope", 1),
        ("downgrade nope", 1),
        ("stamp nope", 1),
        ("stamp 1 nope", 1),
        ("stamp --sql nope", 1),
        ("show nope", 1),
        ("edit nope", 1),
        ("merge 1 nope", 1),
        ("history -r nope:head", 1),
        ("revision --head nope -m x", 1),
        ("revision --depends-on nope -m x", 1),
        ("sql nope", 2),
        ("sql nope:head", 2),
        ("sql --format json nope", 2),
        ("resolve nope final --restart --reason x", 2),
    ],
)
def test_an_unknown_revision_says_where_to_look(site: Site, words: str, status: int):
    refused(
        site,
        *words.split(),
        status=status,
        says=["Can't locate revision identified by 'nope'", "flask db history", "flask db status"],
    )


def test_an_ambiguous_revision_is_refused(site: Site):
    site.revision("abcd1", "2", PLAIN)
    site.revision("abcd2", "abcd1", PLAIN)
    refused(site, "upgrade", "abcd", status=1, says=["'abcd'", "'abcd1', 'abcd2'", "flask db history"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sql --format nope", ["'nope'", "sql", "json"]),
        ("graph --format nope", ["'nope'", "dot", "mermaid", "svg", "text", "json"]),
        ("graph -o x.png", [".png", ".dot .gv .mmd .svg .txt .json", "--format"]),
        ("sql --dialect nope", ["'nope'", "postgresql, mysql, mariadb, sqlite, mssql, oracle"]),
        ("trace 99", ["no execution 99", "flask db journal"]),
        ("journal --limit 0", ["--limit"]),
        ("upgrade --lock-wait soon", ["--lock-wait"]),
        ("upgrade --nope", ["--nope"]),
        ("nope", ["nope"]),
    ],
)
def test_an_unknown_word_exits_2(site: Site, words: str, says: list[str]):
    refused(site, *words.split(), status=2, says=says)


@pytest.mark.parametrize("words", ["sql -o nowhere/x.sql", "graph -o nowhere/x.dot", "sql -o migrations"])
def test_a_file_that_cannot_be_written_exits_2(site: Site, words: str):
    refused(site, *words.split(), status=2, says=["cannot be written", words.split()[-1]])


def test_a_split_into_a_file_exits_2(site: Site):
    refused(site, "sql", "--split", "app.py", status=2, says=["app.py", "cannot be made"])


# -- targets that lead nowhere -----------------------------------------------------------------------


@pytest.mark.parametrize("words", ["upgrade 1:2", "upgrade 1:2 --plan", "downgrade 2:1", "upgrade --phase final 1:2"])
def test_a_range_where_none_is_allowed(site: Site, words: str):
    refused(site, *words.split(), status=1, says=["Range revision not allowed", "--sql"])


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("upgrade +99", 1, ["+99", "flask db history"]),
        ("upgrade +99 --plan", 1, ["+99", "flask db history"]),
        ("downgrade -99", 1, ["-99", "flask db history"]),
        ("downgrade +1", 1, ["+1"]),
        ("sql 1:2:3", 2, ["'1:2:3' is not a range", "START:END"]),
        ("sql :", 2, ["START:END"]),
        ("sql 2:1", 2, ["'2:1' goes back", "flask db sql 1:2", "flask db sql --downgrade 2:1"]),
        ("sql --downgrade 1:2", 2, ["flask db history"]),
        ("sql --downgrade 1", 2, ["--downgrade needs a range", "flask db sql --downgrade head:-1"]),
        ("downgrade --sql 1", 1, ["flask db downgrade --sql head:-1"]),
        ("stamp --purge --sql 1", 1, ["--purge"]),
        ("history -r 1", 1, ["flask db history -r base:head"]),
        ("merge 1", 2, ["two revisions"]),
        ("downgrade 2", 1, ["2"]),
    ],
)
def test_a_target_that_leads_nowhere(site: Site, words: str, status: int, says: list[str]):
    refused(site, *words.split(), status=status, says=says)


@pytest.mark.parametrize("words", [["upgrade", ""], ["downgrade", " "], ["upgrade", "--plan", ""], ["sql", ""]])
def test_an_empty_target_is_usage(site: Site, words: list[str]):
    refused(site, *words, status=2, says=["is empty"])


@pytest.mark.parametrize("words", ["upgrade", "upgrade --plan", "upgrade --phase before-deploy", "upgrade --sql"])
def test_head_of_two_heads_is_ambiguous(site: Site, words: str):
    site.revision("3", "1", PLAIN)
    refused(site, *words.split(), status=1, says=["Multiple head revisions", "'heads'", "flask db merge heads"])


def test_the_sql_of_two_heads_is_ambiguous(site: Site):
    site.revision("3", "1", PLAIN)
    refused(site, "sql", status=2, says=["Multiple head revisions", "'heads'", "flask db merge heads"])


def test_an_upgrade_to_where_the_database_has_been_does_nothing(site: Site):
    before = snapshot(site)
    assert flask_db(site, "upgrade", "1") == Outcome(0, "", "Nothing to do.\n")
    assert flask_db(site, "upgrade", "base") == Outcome(0, "", "Nothing to do.\n")
    assert snapshot(site) == before


def test_a_downgrade_to_another_branch_is_refused(site: Site):
    site.revision("3", "1", PLAIN)
    assert flask_db(site, "stamp", "2").status == 0
    refused(site, "downgrade", "3", status=1, says=["Destination 3 is not a valid downgrade target"])


def test_a_relative_downgrade_in_flight_could_mean_two_things(site: Site):
    assert flask_db(site, "upgrade", "--phase", "before-deploy").status == 0
    refused(site, "downgrade", "-1", status=3, says=["2 is in flight on default", "flask db downgrade 1"])


# -- folders ------------------------------------------------------------------------------------------------

ON_FOLDERS = ["upgrade", "upgrade --plan", "downgrade", "stamp 1", "current", "check", "heads", "history"]
OWN_ON_FOLDERS = ["status", "ready", "journal", "sql", "sql --format json", "graph", "graph --status"]


def on_folders(*, own: int) -> list[tuple[str, int]]:
    """Return the commands that need a folder, each with its status where the folder is wrong."""
    return [(words, 1) for words in ON_FOLDERS] + [(words, own) for words in OWN_ON_FOLDERS]


@pytest.mark.parametrize(("words", "status"), on_folders(own=2))
def test_a_folder_that_does_not_exist(site: Site, words: str, status: int):
    shutil.rmtree(site.migrations)
    refused(site, *words.split(), status=status, says=[f"Path doesn't exist: {site.migrations}", "init"])


@pytest.mark.parametrize(("words", "status"), on_folders(own=2))
def test_a_folder_that_is_empty(site: Site, words: str, status: int):
    shutil.rmtree(site.migrations)
    site.migrations.mkdir()
    refused(
        site, *words.split(), status=status, says=[f"{site.migrations} is not a migrations folder", "flask db init"]
    )


@pytest.mark.parametrize(("words", "status"), on_folders(own=2))
def test_a_folder_that_is_not_one_of_ours(site: Site, words: str, status: int):
    shutil.rmtree(site.migrations)
    site.write("migrations/0001_initial.py", "class Migration:\n    pass\n")
    refused(
        site, *words.split(), status=status, says=[f"{site.migrations} is not a migrations folder", "flask db init"]
    )


@pytest.mark.parametrize(("words", "status"), on_folders(own=2))
def test_a_folder_that_is_a_file(site: Site, words: str, status: int):
    shutil.rmtree(site.migrations)
    site.write("migrations", "text")
    refused(site, *words.split(), status=status, says=[str(site.migrations), "flask db init"])


@pytest.mark.parametrize("words", ["upgrade", "upgrade --plan", "status", "sql", "current", "stamp 1", "ready"])
def test_a_folder_without_env_py(site: Site, words: str):
    (site.migrations / "env.py").unlink()
    outcome = flask_db(site, *words.split())
    check_message(outcome, outcome.status, [f"{site.migrations}/env.py", "flask db init"])
    assert outcome.status in (1, 2)


def test_env_py_that_runs_nothing_is_said(site: Site):
    site.write("migrations/env.py", "pass\n")
    refused(site, "upgrade", status=2, says=[f"{site.migrations}/env.py did not call context.run_migrations()"])


def test_env_py_with_a_mistake_says_where(site: Site):
    site.write("migrations/env.py", "import nothing_of_that_name\n")
    refused(site, "upgrade", status=1, says=["nothing_of_that_name", "--raiseerr"])


def test_init_into_a_folder_that_is_in_use(site: Site):
    refused(site, "init", status=1, says=[f"{site.migrations} already exists and is not empty"])


def test_init_from_a_template_that_does_not_exist(site: Site):
    refused(site, "init", "-d", "new", "-t", "nope", status=1, says=["nope"])


def test_a_folder_given_on_the_command_line(site: Site):
    refused(site, "-d", "elsewhere", "upgrade", status=1, says=["Path doesn't exist: elsewhere"])
    refused(site, "upgrade", "-d", "elsewhere", status=1, says=["Path doesn't exist: elsewhere"])


def test_without_alembic_ini_the_folder_works_as_it_is(site: Site):
    (site.migrations / "alembic.ini").unlink()
    assert flask_db(site, "upgrade").status == 0
    assert flask_db(site, "status", "--check").status == 0


@pytest.mark.parametrize("words", ["upgrade", "heads", "status", "sql"])
def test_an_alembic_ini_that_cannot_be_read(site: Site, words: str):
    site.write("migrations/alembic.ini", "garbage\n")
    refused(site, *words.split(), status=2, says=["The configuration cannot be read", "alembic.ini"])


@pytest.mark.parametrize("words", ["upgrade", "status", "sql"])
def test_a_pyproject_that_cannot_be_read(site: Site, words: str):
    site.write("pyproject.toml", "[tool.alembic\n")
    refused(site, *words.split(), status=2, says=["The configuration cannot be read"])


@pytest.mark.parametrize("name", ["nope.ini", "nope.toml"])
def test_a_configuration_file_that_does_not_exist(site: Site, name: str):
    refused(site, "--config", name, "upgrade", status=2, says=[f"There is no configuration file {name}"])


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("upgrade", Outcome(0, "", "Nothing to do.\n")),
        ("upgrade --phase final", Outcome(0, "", "Nothing to do.\n")),
        ("upgrade --plan", Outcome(0, "Nothing to do.\n", "")),
        ("heads", Outcome(0, "", "")),
        ("sql", Outcome(0, "", "")),
        ("ready", Outcome(0, "", "Ready.\n")),
        ("journal", Outcome(0, "", "")),
        ("current", Outcome(0, "", "")),
        (
            "status --check",
            Outcome(0, "default (sqlite) at base\n  There are no revisions. Type: flask db migrate -m MESSAGE\n", ""),
        ),
        ("graph --format text", Outcome(0, "(no revisions)\n", "")),
        ("merge", Outcome(0, "There is no head: nothing to merge.\n", "")),
    ],
)
def test_a_folder_without_any_revision(project: MakeSite, sqlite_url: str, words: str, output: Outcome):
    assert flask_db(project(sqlite_url), *words.split()) == output


def test_a_downgrade_without_any_revision(project: MakeSite, sqlite_url: str):
    outcome = flask_db(project(sqlite_url), "downgrade")
    check_message(outcome, 1, ["Relative revision -1", "flask db history"])


# -- broken revision files -------------------------------------------------------------------------------

LOADING = ["upgrade", "upgrade --plan", "upgrade --phase before-deploy", "downgrade base", "stamp 1", "status", "ready"]
LOADING += ["sql", "sql --format json", "graph", "heads", "history", "show", "branches", "current", "check", "merge"]
LOADING += ["revision -m x", "migrate -m x"]

BEGINNING = "from alembic import op\nimport sqlalchemy as sa\nfrom flask_phased_migrate import phased\n"


def broken(site: Site, text: str, name: str = "3.py") -> str:
    """Write a revision file and return its path."""
    return str(site.write(f"migrations/versions/{name}", text))


def numbered(revision: str, down: str, rest: str = "") -> str:
    return f"{BEGINNING}revision = {revision!r}\ndown_revision = {down!r}\n{rest}\ndef upgrade():\n    pass\n"


@pytest.mark.parametrize("words", LOADING)
def test_a_file_with_a_syntax_error_is_named_with_its_line(site: Site, words: str):
    path = broken(site, "revision = '3'\ndown_revision = '2'\ndef upgrade(:\n")
    refused(site, *words.split(), status=1, says=[f"{path}, line 3", "SyntaxError"])


@pytest.mark.parametrize("words", LOADING)
def test_a_file_that_raises_when_it_is_loaded_is_named_with_its_line(site: Site, words: str):
    path = broken(site, numbered("3", "2", "nothing_of_that_name"))
    refused(site, *words.split(), status=1, says=[f"{path}, line 6", "nothing_of_that_name"])


@pytest.mark.parametrize("words", ["upgrade", "status", "heads"])
def test_a_file_that_imports_what_is_not_there_is_named(site: Site, words: str):
    path = broken(site, numbered("3", "2", "import nothing_of_that_name"))
    refused(site, *words.split(), status=1, says=[path, "nothing_of_that_name"])


@pytest.mark.parametrize("words", ["upgrade", "status", "heads"])
def test_a_file_that_ends_the_process_is_named(site: Site, words: str):
    path = broken(site, numbered("3", "2", "raise SystemExit(5)"))
    refused(site, *words.split(), status=1, says=[path, "SystemExit"])


@pytest.mark.parametrize("words", LOADING)
def test_a_down_revision_that_no_file_has(site: Site, words: str):
    path = broken(site, numbered("3", "7"))
    refused(site, *words.split(), status=1, says=[path, "'7'", "down_revision"])


@pytest.mark.parametrize("words", LOADING)
def test_a_depends_on_that_no_file_has(site: Site, words: str):
    path = broken(site, numbered("3", "2", "depends_on = 'nope'"))
    refused(site, *words.split(), status=1, says=[path, "'nope'", "depends_on"])


@pytest.mark.parametrize("words", LOADING)
def test_an_id_that_two_files_have(site: Site, words: str):
    path = broken(site, numbered("2", "1"))
    refused(site, *words.split(), status=1, says=[path, str(site.versions / "2.py"), "'2'"])


@pytest.mark.parametrize("words", LOADING)
def test_revisions_that_need_each_other(site: Site, words: str):
    broken(site, numbered("3", "4"))
    broken(site, numbered("4", "3"), "4.py")
    refused(site, *words.split(), status=1, says=["3, 4", "down_revision"])


@pytest.mark.parametrize("words", ["upgrade", "status", "heads", "sql"])
def test_a_revision_that_needs_itself(site: Site, words: str):
    broken(site, numbered("3", "3"))
    refused(site, *words.split(), status=1, says=["3", "down_revision"])


UNREADABLE = {"null bytes": b"\xff\xfe\x00", "another encoding": b"revision = 'caf\xe9'\n", "empty": b""}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("words", ["upgrade", "upgrade --plan", "status", "heads"])
def test_a_file_that_cannot_be_read_is_named(site: Site, words: str, kind: str):
    path = site.versions / "3.py"
    path.write_bytes(UNREADABLE[kind])
    refused(site, *words.split(), status=1, says=[str(path)])


@pytest.mark.parametrize("words", ["upgrade", "status", "heads", "sql"])
def test_an_id_with_a_colon(site: Site, words: str):
    broken(site, numbered("3:4", "2"))
    refused(site, *words.split(), status=1, says=["'3:4'", "':'"])


def test_a_new_revision_with_an_id_that_a_file_has_is_refused(site: Site):
    refused(site, "revision", "-m", "x", "--rev-id", "1", status=1, says=["'1'", str(site.versions / "1.py")])


# -- databases -------------------------------------------------------------------------------------------------

ASKING = ["upgrade", "upgrade --plan", "upgrade --phase final", "downgrade base", "stamp 1", "current", "check"]
ASKING += ["ensure-version", "status", "status --json", "ready", "journal", "trace 1", "graph --status"]
ASKING += ["sql current:head", "resolve 2 final --restart --reason x"]


@pytest.mark.parametrize("words", ASKING)
@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://anna:secret@127.0.0.1:1/x", "mysql+pymysql://anna:secret@127.0.0.1:1/x"]
)
def test_a_closed_port(project: MakeSite, url: str, words: str):
    outcome = flask_db(two_revisions(project(url)), *words.split())
    check_message(outcome, 1, ["The database cannot be reached", "127.0.0.1", "refused", "flask db environ"])
    assert "secret" not in outcome.stderr


@pytest.mark.parametrize("words", ["upgrade", "upgrade --plan", "status", "ready", "current"])
def test_a_wrong_password(project: MakeSite, words: str):
    url = server_url("mysql").set(username="nobody_fpm", password="secret")
    site = two_revisions(project(url.render_as_string(hide_password=False)))
    outcome = flask_db(site, *words.split())
    check_message(outcome, 1, ["The database cannot be reached", "Access denied for user 'nobody_fpm'"])
    assert "secret" not in outcome.stderr


@pytest.mark.parametrize("words", ["upgrade", "upgrade --plan", "status", "current"])
def test_a_database_that_does_not_exist(project: MakeSite, words: str):
    url = server_url("postgresql").set(database="fpm_nowhere")
    site = two_revisions(project(url.render_as_string(hide_password=False)))
    check_message(flask_db(site, *words.split()), 1, ["The database cannot be reached", '"fpm_nowhere" does not exist'])


@pytest.mark.parametrize("words", ASKING)
def test_a_sqlite_file_in_a_directory_that_does_not_exist(project: MakeSite, tmp_path: Path, words: str):
    site = two_revisions(project(f"sqlite:///{tmp_path}/nowhere/x.db"))
    outcome = flask_db(site, *words.split())
    check_message(outcome, 1, ["The database cannot be reached", "unable to open database file", "flask db environ"])
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def read_only(project: MakeSite, tmp_path: Path) -> Site:
    """A project whose SQLite file can be read only; it is empty."""
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("CREATE TABLE other (id INTEGER)")
    connection.close()
    return two_revisions(project(f"sqlite:///file:{tmp_path}/x.db?mode=ro&uri=true"))


@pytest.mark.parametrize("words", ["upgrade", "upgrade --phase before-deploy", "stamp 1", "ensure-version"])
def test_a_read_only_database(read_only: Site, tmp_path: Path, words: str):
    before = (tmp_path / "x.db").read_bytes()
    outcome = flask_db(read_only, *words.split())
    check_message(outcome, 1, ["The database refused a statement: attempt to write a readonly database"])
    assert (tmp_path / "x.db").read_bytes() == before


@pytest.mark.parametrize(
    "words", ["status", "upgrade --plan", "journal", "current", "graph --status", "sql current:head"]
)
def test_a_read_only_database_can_be_read(read_only: Site, words: str):
    assert flask_db(read_only, *words.split()).status == 0


@pytest.mark.parametrize(
    "words", ["upgrade", "upgrade --plan", "upgrade --phase final", "downgrade base", "sql current:head"]
)
def test_a_database_at_a_revision_that_nobody_has(site: Site, words: str):
    rows(site, "UPDATE alembic_version SET version_num = 'zz'")
    says = ["the database of bind default is at zz", str(site.migrations), "flask db stamp --purge REVISION"]
    refused(site, *words.split(), status=1, says=says)


@pytest.mark.parametrize("words", ["stamp 1", "current"])
def test_alembics_commands_on_a_database_at_a_revision_that_nobody_has(site: Site, words: str):
    rows(site, "UPDATE alembic_version SET version_num = 'zz'")
    refused(site, *words.split(), status=1, says=["Can't locate revision identified by 'zz'"])


def test_ready_says_that_the_database_is_at_a_revision_that_nobody_has(site: Site):
    rows(site, "UPDATE alembic_version SET version_num = 'zz'")
    refused(site, "ready", status=1, says=["zz"])


OTHER_ENGINE = """
import sqlalchemy as sa
from alembic import context
with sa.create_engine({url!r}).connect() as connection:
    context.configure(connection=connection)
    context.run_migrations()
"""


@pytest.mark.parametrize("words", ["upgrade", "upgrade --plan", "status", "current"])
@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("postgresql+psycopg://anna@127.0.0.1/x", "psycopg", "'psycopg[binary]'"),
        ("postgresql+pg8000://anna@127.0.0.1/x", "pg8000", "pg8000"),
        ("mysql+mysqldb://anna@127.0.0.1/x", "MySQLdb", "mysqlclient"),
    ],
)
def test_a_driver_that_is_not_installed(
    site: Site, monkeypatch: pytest.MonkeyPatch, url: str, module: str, package: str, words: str
):
    monkeypatch.setitem(sys.modules, module, None)
    site.write("migrations/env.py", OTHER_ENGINE.format(url=url))
    refused(site, *words.split(), status=2, says=[f"'{module}' is not installed", f"pip install {package}"])


@pytest.mark.parametrize("words", ["upgrade", "upgrade --plan", "status", "current"])
@pytest.mark.parametrize("url", ["nope://anna@127.0.0.1/x", "postgresql+nope://anna@127.0.0.1/x"])
def test_an_engine_that_sqlalchemy_does_not_know(site: Site, url: str, words: str):
    site.write("migrations/env.py", OTHER_ENGINE.format(url=url))
    refused(
        site, *words.split(), status=2, says=["The database URL names an engine that SQLAlchemy does not know", "nope"]
    )


@pytest.mark.parametrize("words", ["upgrade", "status"])
def test_a_url_that_is_none(site: Site, words: str):
    site.write("migrations/env.py", OTHER_ENGINE.format(url="not a url"))
    refused(site, *words.split(), status=2, says=["URL"])


def test_a_driver_that_flask_sqlalchemy_misses_already_is_named(project: MakeSite):
    outcome = project("mysql+mysqldb://anna@127.0.0.1/x").flask("db", "upgrade")
    assert outcome.returncode != 0
    assert outcome.stdout == ""
    assert "No module named 'MySQLdb'" in outcome.stderr


# -- configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["upgrade", "upgrade --plan", "status", "ready", "sql", "graph", "downgrade base"])
@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"MIGRATE_PHASES": ""}, ["MIGRATE_PHASES is empty"]),
        ({"MIGRATE_PHASES": []}, ["MIGRATE_PHASES is empty"]),
        ({"MIGRATE_PHASES": 3}, ["MIGRATE_PHASES is 3"]),
        ({"MIGRATE_PHASES": "a, b, a"}, ["MIGRATE_PHASES names 'a' more than once"]),
        ({"MIGRATE_PHASES": "a,,b"}, ["MIGRATE_PHASES has the name ''"]),
        ({"MIGRATE_PHASES": "a::b c"}, ["MIGRATE_PHASES has the name 'a::b'"]),
        ({"MIGRATE_PHASES": ["a b", "c"]}, ["MIGRATE_PHASES has the name 'a b'"]),
        ({"MIGRATE_PHASES": ["a\nb", "c"]}, ["MIGRATE_PHASES has the name 'a\\nb'"]),
        ({"MIGRATE_PHASES": "only"}, ["No phase comes after the boundary 'only'", "MIGRATE_BOUNDARY"]),
        ({"MIGRATE_BOUNDARY": "final"}, ["No phase comes after the boundary 'final'", "MIGRATE_BOUNDARY"]),
        ({"MIGRATE_BOUNDARY": "nope"}, ["MIGRATE_BOUNDARY is 'nope'", "before-deploy, after-deploy, final"]),
        ({"MIGRATE_DEFAULT_PHASE": "nope"}, ["MIGRATE_DEFAULT_PHASE is 'nope'", "before-deploy, after-deploy, final"]),
    ],
)
def test_phases_that_cannot_be_used(
    project: MakeSite, sqlite_url: str, config: dict[str, object], says: list[str], words: str
):
    refused(two_revisions(project(sqlite_url, config=config)), *words.split(), status=2, says=says)


def test_a_lock_wait_that_is_no_number(project: MakeSite, sqlite_url: str):
    site = two_revisions(project(sqlite_url, config={"MIGRATE_LOCK_WAIT": "soon"}))
    refused(site, "upgrade", status=2, says=["MIGRATE_LOCK_WAIT", "'soon'"])


# -- revisions that are written wrongly --------------------------------------------------------------------------------

WRONG = {
    "too few yields": (
        '@phased\ndef upgrade():\n    op.execute("SELECT 1")\n    yield\n    op.execute("SELECT 2")\n',
        ["upgrade() has 2 segments (1 yield), but there are 3 phases: before-deploy, after-deploy, final"],
    ),
    "too many yields": (
        '@phased\ndef upgrade():\n    yield\n    yield\n    yield\n    op.execute("SELECT 1")\n',
        ["upgrade() has 4 segments (3 yields), but there are 3 phases"],
    ),
    "too few yields for the names": (
        '@phased("before-deploy", "final")\ndef upgrade():\n    yield\n    yield\n',
        ["upgrade() has 3 segments (2 yields)"],
    ),
    "not a generator": (
        '@phased\ndef upgrade():\n    op.execute("SELECT 1")\n',
        ["upgrade() is not a generator, and its @phased names no phase", '@upgrade.phase("PHASE")'],
    ),
    "not a generator with two names": (
        '@phased("before-deploy", "final")\ndef upgrade():\n    op.execute("SELECT 1")\n',
        ["upgrade() is not a generator, and its @phased names several phases"],
    ),
    "a generator without decorator": (
        'def upgrade():\n    op.execute("SELECT 1")\n    yield\n',
        ["upgrade() is a generator without @phased", "Write @phased above it"],
    ),
    "a yield in a batch block": (
        '@phased("before-deploy", "final")\ndef upgrade():\n    with op.batch_alter_table("account") as batch:\n'
        '        yield\n        batch.drop_column("id")\n',
        ["upgrade() has a yield inside 'with batch_alter_table'", "Close the block before the yield"],
    ),
    "a yield in an autocommit block": (
        '@phased("before-deploy", "final")\ndef upgrade():\n    with op.get_context().autocommit_block():\n'
        '        yield\n        op.execute("SELECT 1")\n',
        ["upgrade() has a yield inside 'with autocommit_block'"],
    ),
    "an unknown phase": (
        '@phased("nope")\ndef upgrade():\n    op.execute("SELECT 1")\n',
        ["it names the phase 'nope', but the phases are: before-deploy, after-deploy, final"],
    ),
    "an unknown phase of a part": (
        '@phased("final")\ndef upgrade():\n    op.execute("SELECT 1")\n'
        '@upgrade.phase("nope")\ndef upgrade_nope():\n    op.execute("SELECT 1")\n',
        ["it names the phase 'nope'"],
    ),
    "an unknown phase as an attribute": (
        'phase = "nope"\ndef upgrade():\n    op.execute("SELECT 1")\n',
        ["it names the phase 'nope'"],
    ),
    "a phase attribute that is no name": (
        'phase = 3\ndef upgrade():\n    op.execute("SELECT 1")\n',
        ["its attribute 'phase' is 3"],
    ),
    "an unknown bind": (
        '@phased("final", bind="nope")\ndef upgrade():\n    op.execute("SELECT 1")\n',
        ["is for the bind 'nope', but the binds are: default"],
    ),
    "one phase twice": (
        '@phased("final")\ndef upgrade():\n    op.execute("SELECT 1")\n'
        '@upgrade.phase("final")\ndef upgrade_final():\n    op.execute("SELECT 2")\n',
        ["upgrade has two functions for phase 'final'"],
    ),
    "a part that hides the others": (
        '@phased("before-deploy")\ndef upgrade():\n    op.execute("SELECT 1")\n'
        '@upgrade.phase("final")\ndef upgrade():\n    op.execute("SELECT 2")\n',
        ["hides every other", "upgrade_final"],
    ),
    "a part that is a generator": (
        '@phased("before-deploy")\ndef upgrade():\n    op.execute("SELECT 1")\n'
        '@upgrade.phase("final")\ndef upgrade_final():\n    yield\n',
        ["upgrade_final() is a generator", "'final'"],
    ),
    "a part without a name": (
        '@phased("before-deploy")\ndef upgrade():\n    op.execute("SELECT 1")\n'
        "@upgrade.phase\ndef upgrade_final():\n    op.execute('SELECT 2')\n",
        ["upgrade_final() is under @upgrade.phase without a name"],
    ),
    "async": ('async def upgrade():\n    op.execute("SELECT 1")\n', ["upgrade() is 'async'"]),
    "no upgrade": ("x = 1\n", ["there is no upgrade() in the file"]),
    "no function": ("upgrade = 3\n", ["'upgrade' is not a function"]),
    "a script outside of the folder": (
        "def upgrade():\n    execute_script('../x.py')\n",
        ["'../x.py'", "stay inside it", "scripts/"],
    ),
    "a script that is not there": ("def upgrade():\n    execute_script('scripts/x.py')\n", ["'scripts/x.py'"]),
}


@pytest.mark.parametrize("words", ["upgrade", "upgrade --plan", "upgrade --phase before-deploy", "sql"])
@pytest.mark.parametrize("kind", WRONG)
def test_a_revision_that_is_written_wrongly_is_refused_before_anything_runs(site: Site, kind: str, words: str):
    text, says = WRONG[kind]
    path = site.revision("3", "2", text)
    outcome = flask_db_plan(site, words)
    check_message(outcome, 3, [str(path), *says])


def flask_db_plan(site: Site, words: str) -> Outcome:
    """Run a command that must leave everything as it is; leave out what ``--plan`` prints of a refusal."""
    before = snapshot(site)
    outcome = flask_db(site, *words.split())
    assert snapshot(site) == before
    if "--plan" not in words:
        return outcome
    assert all(line.startswith("-- blocked: ") for line in outcome.stdout.splitlines()), outcome.stdout
    return Outcome(outcome.status, "", outcome.stderr)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "@phased\ndef downgrade():\n    yield\n",
            ["downgrade() has 2 segments (1 yield), but there are 3 phases: final, after-deploy, before-deploy"],
        ),
        ("def downgrade():\n    yield\n", ["downgrade() is a generator without @phased"]),
        ("", ["there is no downgrade() in the file"]),
    ],
)
def test_a_downgrade_that_is_written_wrongly_is_refused_before_anything_runs(site: Site, text: str, says: list[str]):
    path = site.revision("3", "2", '@phased("final")\ndef upgrade():\n    op.execute("SELECT 1")\n\n' + text)
    assert flask_db(site, "upgrade").status == 0
    refused(site, "downgrade", "base", status=3, says=[str(path), *says])


def test_a_wrong_revision_that_is_applied_already_does_no_harm(site: Site):
    site.revision("3", "2", "def upgrade():\n    yield\n")
    assert flask_db(site, "stamp", "3").status == 0
    assert flask_db(site, "upgrade") == Outcome(0, "", "Nothing to do.\n")
    assert flask_db(site, "status", "--check").status == 0


def test_a_body_that_ends_the_process_fails_its_step(site: Site):
    path = site.revision("3", "2", "def upgrade():\n    raise SystemExit(7)\n")
    outcome = flask_db(site, "upgrade")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "default: 3 before-deploy failed" in outcome.stderr
    assert str(path) in outcome.stderr


@pytest.mark.parametrize("words", ["sql", "sql --phase before-deploy", "upgrade --plan"])
def test_a_body_that_ends_the_process_ends_no_export(site: Site, words: str):
    path = site.revision("3", "2", "def upgrade():\n    raise SystemExit(7)\n")
    before = snapshot(site)
    outcome = flask_db(site, *words.split())
    assert outcome.status == (0 if "--plan" in words else 3)
    assert str(path) in outcome.stdout + outcome.stderr
    assert snapshot(site) == before


def test_the_type_of_an_error_without_words_is_shown(site: Site):
    site.revision("3", "2", "def upgrade():\n    {}['email']\n")
    assert "KeyError" in flask_db(site, "upgrade").stderr


def test_in_process_functions_raise_instead_of_exiting(site: Site):
    from alembic.util import CommandError

    import flask_phased_migrate
    from flask_phased_migrate.errors import Refused, UsageError

    before = snapshot(site)
    with working_directory(site.folder), site.app():
        with pytest.raises(CommandError, match="nope"):
            flask_phased_migrate.upgrade(revision="nope")
        with pytest.raises(UsageError, match="nope"):
            flask_phased_migrate.upgrade(phase="nope")
        with pytest.raises(Refused, match="before-deploy, after-deploy of 2"):
            flask_phased_migrate.upgrade(phase="final")
    assert snapshot(site) == before
