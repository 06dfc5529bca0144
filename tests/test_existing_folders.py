"""Folders that the real Flask-Migrate 4.1 made: after the change of one import every command does what it did.

Two copies of one project are kept in step: one stays with Flask-Migrate, one changes the import. Every command
is run in both, and exit status, standard output, files and databases are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask_migrate_folder import LAYOUTS, Folder, Made, Twins, commands, copy_layout, copy_project, make_twins
from flask_process import FlaskProcesses, flask_processes
from support import connect, fresh_database, query, table_names

READ_COMMANDS = """\
heads|heads -v|heads --resolve-dependencies|heads -d migrations|-d migrations heads|-d nowhere heads|heads -d nowhere
history|history -v|history -i|history -v -i|history -r a1:head|history -r :a1|history -r base:a2|history -r current:
history -r -1:current|history -r zzz:|history --rev-range a1: --verbose --indicate-current
current|current -v|current --verbose|current -d nowhere
show|show a1|show heads|show base|show zzz|show current|show a1 a2
branches|branches -v|check|check -d nowhere
upgrade|upgrade head|upgrade heads|upgrade a2|upgrade a1|upgrade zzz|upgrade a1:a2|upgrade +1|upgrade a1 a2
upgrade -d nowhere|upgrade --tag t -x a=b -x c=d|-x a=b upgrade
downgrade zzz|downgrade a2|downgrade +1|downgrade a1:a2|downgrade -- -9|downgrade --nope
merge zzz|edit zzz|edit base|stamp zzz
migrate|migrate -m nochange|migrate --sql|revision --sql|revision --autogenerate
revision --head zzz|revision --head a1|revision --version-path nowhere
init|nope|heads --nope"""
SQL_COMMANDS = """\
upgrade --sql|upgrade --sql a1|upgrade --sql a1:head|upgrade --sql a1:a2|upgrade --sql head:a1|upgrade --sql zzz
upgrade --sql +1|upgrade --sql a1:+1|upgrade --sql base:+1|upgrade --sql heads|upgrade --sql --tag t -x a=b
downgrade --sql|downgrade --sql a2:a1|downgrade --sql a2:base|downgrade --sql head:base|downgrade --sql head:-2
downgrade --sql heads:base|downgrade --sql a1|downgrade --sql a1:a2|downgrade --sql a1:base
stamp --sql|stamp --sql a1|stamp --sql a1:a2|stamp --sql a2:a1|stamp --sql base|stamp --sql a2:base
stamp --sql --purge|stamp --sql --purge zzz|stamp --sql zzz"""
SEQUENCES = {
    "down and up again": """\
downgrade|current -v|history -i|upgrade|downgrade -- -2|current|upgrade +1|current|check|upgrade +1|downgrade base
current|upgrade a1|upgrade a2|downgrade a1|downgrade a1|upgrade heads|downgrade a2-1|upgrade a1+1|upgrade --tag t -x a=b
downgrade --tag t -x a=b|upgrade -d migrations|downgrade -d migrations a1""",
    "stamps": """\
stamp a1|current|stamp base|current|stamp|current -v|stamp --tag t a1|stamp heads|stamp --purge a1|current|stamp --purge
stamp -d migrations a2|current|upgrade|downgrade""",
    "branches and merges": """\
revision -m side --head a1 --splice --rev-id b2 --branch-label side|heads -v|branches -v|history -v|upgrade
upgrade heads|current|migrate -m no|revision -m no|show side@head|upgrade side@head|downgrade side@-1|current
upgrade side@+1|merge -m join --rev-id c1 --branch-label joined a2 b2|heads|history|upgrade|current|downgrade a2
current|upgrade
show head|stamp base|stamp heads|branches|edit|edit a1""",
    "new revisions": """\
models|check|migrate -m third --rev-id a3|migrate -m fourth --rev-id a4|check|upgrade|check
migrate -m fourth --rev-id a4|revision -m empty --rev-id a5|upgrade|edit|edit a1
revision --autogenerate -m none --rev-id a6|revision -m labelled --rev-id a7 --branch-label trunk
upgrade trunk@head|show trunk|downgrade a3|downgrade base|upgrade|migrate -m same --rev-id a5 -x a=b|history
revision -m beside --head base --rev-id z1 --version-path migrations/versions|upgrade heads|current -v""",
}


@pytest.fixture(scope="module")
def processes() -> Iterator[FlaskProcesses]:
    with flask_processes() as found:
        yield found


@pytest.fixture(scope="module")
def made(processes: FlaskProcesses, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(processes, tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module", params=["sqlite", "sqlite binds"])
def reading(request: pytest.FixtureRequest, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """Twins for commands that change nothing, shared by all of them."""
    with ExitStack() as stack:
        yield make_twins(stack, made, request.param, tmp_path_factory.mktemp("reading"))


@pytest.fixture(scope="module", params=LAYOUTS)
def exporting(request: pytest.FixtureRequest, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    """Twins for commands that need no database, shared by all of them."""
    with ExitStack() as stack:
        yield make_twins(stack, made, request.param, tmp_path_factory.mktemp("exporting"))


@pytest.fixture(params=LAYOUTS)
def twins(request: pytest.FixtureRequest, made: Made, tmp_path: Path) -> Iterator[Twins]:
    with ExitStack() as stack:
        yield make_twins(stack, made, request.param, tmp_path)


@pytest.fixture
def ours(made: Made, tmp_path: Path) -> Callable[[str], Folder]:
    """A factory of projects of a layout that have just changed the import."""
    with ExitStack() as stack:

        def make(layout: str) -> Folder:
            folder = copy_layout(stack, made, layout, tmp_path / "ours")
            folder.change_import()
            return folder

        yield make


# -- every command ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", commands(READ_COMMANDS))
def test_command_that_has_nothing_to_do_says_what_flask_migrate_says_and_changes_nothing(
    reading: Twins, command: str
) -> None:
    before = reading.ours.files()

    theirs, ours = reading.outcomes(command)

    assert ours == theirs
    assert reading.ours.files() == before


@pytest.mark.parametrize("command", commands(SQL_COMMANDS))
def test_offline_sql_is_flask_migrates_without_its_defects(exporting: Twins, command: str) -> None:
    before = exporting.ours.files()

    theirs, ours = exporting.run(command)

    if "requires a live database connection" in theirs.stderr:
        _take_output_files(exporting.theirs)
        assert ours.status == 0, ours.stderr
        assert "CREATE TABLE _alembic_tmp_account" in "".join([ours.stdout, *_take_output_files(exporting.ours)])
    else:
        expected = _without_returning([theirs.stdout, *_take_output_files(exporting.theirs)])
        found = [ours.stdout, *_take_output_files(exporting.ours)]
        assert (ours.status, [text.replace("\t", "    ") for text in found]) == (
            theirs.status,
            expected if theirs.status == 0 else [""],
        )
    assert exporting.ours.files() == before


def _take_output_files(folder: Folder) -> list[str]:
    """Return what env.py, for several binds, wrote into files in the working directory; remove them."""
    found = [file for file in (folder.path / ".sql", folder.path / "reports.sql") if file.exists()]
    texts = [file.read_text() for file in found]
    for file in found:
        file.unlink()
    return texts


def _without_returning(texts: list[str]) -> list[str]:
    """Return what Flask-Migrate exports, its versions inserted as ours are."""
    ends = (" RETURNING version_num", " RETURNING alembic_version.version_num")
    return [text.replace(ends[0], "").replace(ends[1], "") for text in texts]


@pytest.mark.parametrize("name", SEQUENCES)
def test_commands_in_sequence_leave_the_same_output_files_and_databases(twins: Twins, name: str) -> None:
    for command in commands(SEQUENCES[name]):
        if command == "models":
            twins.models()
            continue
        theirs, ours = twins.outcomes(command)
        assert ours == theirs, command


def test_downgrade_takes_a_relative_revision_without_dashes_before_it(twins: Twins) -> None:
    twins.theirs.must("downgrade -- -1")

    ended = twins.ours.flask("downgrade -1")

    assert (ended.status, ended.stdout) == (0, "")
    assert twins.ours.describe() == twins.theirs.describe()


def test_stamp_takes_several_revisions(ours: Callable[[str], Folder]) -> None:
    folder = ours("sqlite")
    folder.must("revision -m side --head a1 --splice --rev-id b2")

    ended = folder.flask("stamp a2 b2")

    assert (ended.status, ended.stdout) == (0, "")
    assert query(folder.urls["default"], "SELECT version_num FROM alembic_version ORDER BY 1") == [("a2",), ("b2",)]


def test_revision_of_another_checkout_in_the_database_is_reported_and_purged_like_there(twins: Twins) -> None:
    for folder in (twins.theirs, twins.ours):
        for url in folder.urls.values():
            query(url, "UPDATE alembic_version SET version_num = 'gone'")

    for command in ("current", "upgrade", "downgrade base", "check", "stamp a1", "stamp --purge a1", "current"):
        theirs, ours = twins.outcomes(command)
        assert ours == theirs, command


def test_init_makes_another_folder_and_leaves_the_first(ours: Callable[[str], Folder]) -> None:
    folder = ours("sqlite")
    before = folder.files()

    ended = folder.flask("init -d other --package")

    assert ended.status == 0
    after = folder.files()
    assert {name for name in after if name not in before} == {
        "other/README",
        "other/__init__.py",
        "other/alembic.ini",
        "other/env.py",
        "other/script.py.mako",
        "other/versions/__init__.py",
    }
    assert {name: after[name] for name in before} == before
    assert (folder.flask("-d other heads").status, folder.flask("-d other heads").stdout) == (0, "")


def test_list_templates_names_at_least_the_default_one(reading: Twins) -> None:
    theirs, ours = reading.run("list-templates")

    assert ours.status == theirs.status == 0
    assert ours.stdout.splitlines()[:2] == theirs.stdout.splitlines()[:2] == ["Available templates:", ""]
    assert any(line.startswith("flask - ") for line in ours.stdout.splitlines())


def test_database_that_we_upgraded_is_one_that_flask_migrate_goes_on_with(ours: Callable[[str], Folder]) -> None:
    folder = ours("sqlite binds")
    folder.must("downgrade base")
    folder.must("upgrade")
    application = folder.path / "app.py"
    application.write_text(application.read_text().replace("flask_phased_migrate", "flask_migrate"))

    ended = folder.flask("check")
    down = folder.flask("downgrade base")

    assert (ended.status, ended.stdout) == (0, "No new upgrade operations detected.\n")
    assert down.status == 0


# -- phases on the same folder -----------------------------------------------------------------------------

PHASED = """\
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased

revision = "p1"
down_revision = "a2"
branch_labels = None
depends_on = None


@phased("before-deploy")
def upgrade():
    op.add_column("note", sa.Column("title", sa.String(50)))


@upgrade.phase("after-deploy")
def upgrade_after_deploy():
    op.execute("UPDATE note SET title = 'none'")


@upgrade.phase("final")
def upgrade_final():
    op.create_index("ix_note_title", "note", ["title"])


@phased("before-deploy")
def downgrade():
    with op.batch_alter_table("note") as batch:
        batch.drop_column("title")


@downgrade.phase("final")
def downgrade_final():
    op.drop_index("ix_note_title", "note")
"""
PLAIN = """\
from alembic import op
import sqlalchemy as sa

revision = "p2"
down_revision = "p1"
branch_labels = None
depends_on = None


def upgrade({parameter}):
    {condition}op.create_table("tag", sa.Column("id", sa.Integer, primary_key=True))


def downgrade({parameter}):
    {condition}op.drop_table("tag")
"""


def _add_phased(folder: Folder) -> None:
    versions = folder.path / "migrations" / "versions"
    several = len(folder.urls) > 1
    plain = PLAIN.format(
        parameter="engine_name" if several else "", condition='if engine_name == "":\n        ' if several else ""
    )
    (versions / "p1_phased.py").write_text(PHASED)
    (versions / "p2_plain.py").write_text(plain)


def _columns(url: str, table: str) -> list[str]:
    with connect(url) as connection:
        return [column["name"] for column in sa.inspect(connection).get_columns(table)]


def _indexes(url: str, table: str) -> set[str]:
    with connect(url) as connection:
        return {str(index["name"]) for index in sa.inspect(connection).get_indexes(table)}


def _version(url: str) -> list[str]:
    return [name for (name,) in query(url, "SELECT version_num FROM alembic_version ORDER BY 1")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_phases_run_one_by_one_on_the_folder_of_flask_migrate(ours: Callable[[str], Folder], layout: str) -> None:
    folder = ours(layout)
    _add_phased(folder)
    url = folder.urls["default"]
    query(url, "INSERT INTO note (id, text) VALUES (1, 'x')")
    environment = (folder.path / "migrations" / "env.py").read_text()

    folder.must("upgrade --phase before-deploy")
    after_first = _columns(url, "note"), _version(url), "tag" in table_names(url)
    folder.must("upgrade --phase after-deploy")
    after_second = query(url, "SELECT title FROM note"), _version(url)
    folder.must("upgrade --phase final")

    assert after_first == (["id", "text", "title"], ["a2"], True)
    assert after_second == ([("none",)], ["a2"])
    assert "ix_note_title" in _indexes(url, "note")
    assert {bind: _version(at) for bind, at in folder.urls.items()} == {bind: ["p2"] for bind in folder.urls}
    assert (folder.path / "migrations" / "env.py").read_text() == environment


@pytest.mark.parametrize("layout", LAYOUTS)
def test_phases_are_undone_backwards_on_the_folder_of_flask_migrate(ours: Callable[[str], Folder], layout: str) -> None:
    folder = ours(layout)
    before = folder.describe()
    _add_phased(folder)
    url = folder.urls["default"]
    folder.must("upgrade")

    folder.must("downgrade --phase final a2")
    after_first = _version(url), "ix_note_title" in _indexes(url, "note"), "title" in _columns(url, "note")
    folder.must("downgrade --phase after-deploy a2")
    folder.must("downgrade --phase before-deploy a2")

    assert after_first == (["a2"], False, True)
    assert folder.describe() == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_plain_upgrade_and_downgrade_treat_phased_and_unphased_alike(
    ours: Callable[[str], Folder], layout: str
) -> None:
    folder = ours(layout)
    before = folder.describe()
    _add_phased(folder)

    folder.must("upgrade")
    at_head = {bind: _version(url) for bind, url in folder.urls.items()}
    current = folder.must("current")
    folder.must("downgrade -2")

    assert at_head == {bind: ["p2"] for bind in folder.urls}
    assert current.stdout.count("p2 (head)") == len(folder.urls)
    assert folder.describe() == before


def test_downgrade_of_one_revision_by_default_with_phased_ones(ours: Callable[[str], Folder]) -> None:
    folder = ours("sqlite")
    _add_phased(folder)
    folder.must("upgrade")

    folder.must("downgrade")

    assert (_version(folder.urls["default"]), "tag" in table_names(folder.urls["default"])) == (["p1"], False)


# -- one transaction a step, in an env.py that begins one on every bind ------------------------------------

FAILING = """\
from alembic import op
import sqlalchemy as sa

revision = "{revision}"
down_revision = "{down}"
branch_labels = None
depends_on = None


def upgrade(engine_name):
    op.create_table("{revision}_table", sa.Column("id", sa.Integer, primary_key=True))
    if engine_name == "{fails_on}":
        op.execute("SELECT no_such_column FROM {revision}_table")


def downgrade(engine_name):
    op.drop_table("{revision}_table")
"""


@pytest.fixture
def two_postgresql(made: Made, tmp_path: Path) -> Iterator[Folder]:
    with ExitStack() as stack:
        urls = {bind: stack.enter_context(fresh_database("postgresql", tmp_path)) for bind in ("default", "reports")}
        folder = copy_project(made.project(2), tmp_path / "ours", urls)
        folder.change_import()
        yield folder


def test_step_that_fails_leaves_the_step_before_it_although_env_py_began_a_transaction(two_postgresql: Folder) -> None:
    folder, versions = two_postgresql, two_postgresql.path / "migrations" / "versions"
    (versions / "f1.py").write_text(FAILING.format(revision="f1", down="a2", fails_on="nowhere"))
    (versions / "f2.py").write_text(FAILING.format(revision="f2", down="f1", fails_on=""))

    ended = folder.flask("upgrade")

    assert ended.status == 1
    assert {bind: _version(url) for bind, url in folder.urls.items()} == {"default": ["f1"], "reports": ["a2"]}
    assert {"f1_table", "f2_table"} & table_names(folder.urls["default"]) == {"f1_table"}
    assert {"f1_table", "f2_table"} & table_names(folder.urls["reports"]) == set()


def test_failure_on_the_second_bind_leaves_the_first_bind_done(two_postgresql: Folder) -> None:
    folder, versions = two_postgresql, two_postgresql.path / "migrations" / "versions"
    (versions / "f1.py").write_text(FAILING.format(revision="f1", down="a2", fails_on="reports"))

    ended = folder.flask("upgrade")

    assert ended.status == 1
    assert {bind: _version(url) for bind, url in folder.urls.items()} == {"default": ["f1"], "reports": ["a2"]}
    assert "f1_table" not in table_names(folder.urls["reports"])
    (versions / "f1.py").write_text(FAILING.format(revision="f1", down="a2", fails_on="nowhere"))
    folder.must("upgrade")
    assert {bind: _version(url) for bind, url in folder.urls.items()} == {"default": ["f1"], "reports": ["f1"]}


def test_env_py_with_two_phase_transactions_goes_on_one_transaction_a_step(made: Made, tmp_path: Path) -> None:
    with ExitStack() as stack:
        urls = {bind: stack.enter_context(fresh_database("mysql", tmp_path)) for bind in ("default", "reports")}
        folder = copy_project(made.project(2), tmp_path / "ours", urls)
        folder.change_import()
        file = folder.path / "migrations" / "env.py"
        file.write_text(file.read_text().replace("USE_TWOPHASE = False", "USE_TWOPHASE = True"))
        before = folder.describe()
        _add_phased(folder)

        current = folder.must("current")
        folder.must("upgrade --phase before-deploy")
        folder.must("upgrade")
        at_head = {bind: _version(url) for bind, url in urls.items()}
        folder.must("downgrade a2")

        assert current.stdout == "a2\na2\n"
        assert at_head == {"default": ["p2"], "reports": ["p2"]}
        assert folder.describe() == before
