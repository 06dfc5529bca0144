"""SQL without a database: its exact bytes, its guard, and the migration data."""

from __future__ import annotations

import itertools
import json
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from support import Site, export, migrating, query, run_client, table_names

from flask_phased_migrate import get_migration_data, get_migrations_data
from flask_phased_migrate.errors import Refused
from flask_phased_migrate.offline.endings import ends_in_comment
from flask_phased_migrate.offline.literals import literals_written_out
from flask_phased_migrate.offline.pointer import PointerMoves
from flask_phased_migrate.tables import build_tables, pointer_changes, pointer_statement

NOWHERE = {
    "sqlite": "sqlite:////nowhere/x.sqlite3",
    "postgresql": "postgresql+psycopg://nobody@127.0.0.1:1/nowhere",
    "mysql": "mysql+pymysql://nobody@127.0.0.1:1/nowhere",
}

FIRST = """
    @phased("before-deploy")
    def upgrade():
        op.create_table("account", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40)))
        op.execute("INSERT INTO account (id, name) VALUES (1, '100%\\ta -- b')")

    @upgrade.phase("final")
    def upgrade_final():
        account = sa.table("account", sa.column("id", sa.Integer), sa.column("name", sa.String))
        op.bulk_insert(account, [{"id": 2, "name": "it's 50% :x\\ty"}])
"""
SECOND = """
    def upgrade():
        op.add_column("account", sa.Column("mail", sa.String(40)))
"""
THIRD = """
    @phased
    def upgrade():
        op.execute("UPDATE account SET mail = name -- a note")
        yield
        op.execute_script("scripts/fix.py")
        yield
        op.create_index("ix_mail", "account", ["mail"])
"""

IDS = {"sqlite": "INTEGER NOT NULL", "postgresql": "SERIAL NOT NULL", "mysql": "INTEGER NOT NULL AUTO_INCREMENT"}


@pytest.fixture
def history(project: Callable[..., Site]) -> Callable[[str], Site]:
    """A factory: ``history(url)`` is a project with three revisions in all forms."""

    def create(url: str) -> Site:
        site = project(url)
        site.write("migrations/scripts/fix.py", "print('fixed')\n")
        site.revision("1", None, FIRST)
        site.revision("2", "1", SECOND)
        site.revision("3", "2", THIRD)
        return site

    return create


def run(url: str, text: str) -> None:
    done = run_client(url, text)
    assert done.returncode == 0, done.stderr


# -- the exact text -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_everything_has_the_layout_of_alembic_offline(history: Callable[[str], Site], kind: str) -> None:
    # A client runs the text up to the script in a session of its own, so that must be committed.
    begin, commit = ("BEGIN;\n\n", "COMMIT;\n\n") if kind == "postgresql" else ("", "")
    done = history(NOWHERE[kind]).flask("db", "sql", "head")
    assert (done.returncode, "An SQL client passes over scripts/fix.py" in done.stderr) == (0, True)
    assert done.stdout == (
        f"{begin}CREATE TABLE alembic_version (\n"
        "\tversion_num VARCHAR(32) NOT NULL, \n"
        "\tCONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n"
        ");\n\n"
        "-- Running upgrade  -> 1\n\n"
        "-- PHASE::before-deploy::;\n\n"
        "CREATE TABLE account (\n"
        f"\tid {IDS[kind]}, \n"
        "\tname VARCHAR(40), \n"
        "\tPRIMARY KEY (id)\n"
        ");\n\n"
        "INSERT INTO account (id, name) VALUES (1, '100%\ta -- b');\n\n"
        "-- PHASE::final::;\n\n"
        "INSERT INTO account (id, name) VALUES (2, 'it''s 50% :x\ty');\n\n"
        "INSERT INTO alembic_version (version_num) VALUES ('1');\n\n"
        "-- Running upgrade 1 -> 2\n\n"
        "-- PHASE::before-deploy::;\n\n"
        "ALTER TABLE account ADD COLUMN mail VARCHAR(40);\n\n"
        "UPDATE alembic_version SET version_num='2' WHERE alembic_version.version_num = '1';\n\n"
        "-- Running upgrade 2 -> 3\n\n"
        "-- PHASE::before-deploy::;\n\n"
        "UPDATE account SET mail = name -- a note\n;\n\n"
        "-- PHASE::after-deploy::;\n\n"
        f"{commit}"
        "-- SCRIPT::scripts/fix.py::;\n\n"
        f"{begin}"
        "-- PHASE::final::;\n\n"
        "CREATE INDEX ix_mail ON account (mail);\n\n"
        "UPDATE alembic_version SET version_num='3' WHERE alembic_version.version_num = '2';\n\n"
        f"{commit}"
    )


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle"])
@pytest.mark.parametrize("phase", [None, "after-deploy"])
def test_markers_are_lines_of_their_own_on_every_dialect(
    history: Callable[[str], Site], dialect: str, phase: str | None
) -> None:
    lines = export(history(NOWHERE["sqlite"]), "head", dialect=dialect, phase=phase).split("\n")
    markers = [number for number, line in enumerate(lines) if line.startswith(("-- PHASE", "-- SCRIPT"))]
    expected = ["-- PHASE::after-deploy::;", "-- SCRIPT::scripts/fix.py::;"]
    found = [lines[number] for number in markers]
    assert found[-3:-1] == expected if phase is None else found == expected
    for number in markers:
        assert lines[number + 1] == ""
        assert lines[number + 2] not in ("GO", "/", ";", "")


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql", "mssql", "oracle"])
def test_no_statement_asks_for_rows_back(history: Callable[[str], Site], dialect: str) -> None:
    site = history(NOWHERE["sqlite"])
    text = export(site, dialect=dialect) + export(site, dialect=dialect, phase="final")
    assert [word for word in ("RETURNING", "OUTPUT", ":ret_0", "%%") if word in text] == []


def test_tables_that_may_exist_are_created_in_the_words_of_each_engine(history: Callable[[str], Site]) -> None:
    site = history(NOWHERE["sqlite"])
    first = {
        dialect: export(site, "1", dialect=dialect, phase="before-deploy").rpartition("FILE\n\n")[2].partition("(")[0]
        for dialect in ("sqlite", "postgresql", "mysql", "oracle")
    }
    assert first == {
        "sqlite": "CREATE TABLE IF NOT EXISTS alembic_version ",
        "postgresql": "CREATE TABLE IF NOT EXISTS alembic_version ",
        "mysql": "CREATE TABLE IF NOT EXISTS alembic_version ",
        "oracle": "BEGIN\n  EXECUTE IMMEDIATE 'CREATE TABLE alembic_version ",
    }
    assert export(site, "1", dialect="mssql", phase="before-deploy").startswith(
        "-- To be run so that the first error ends it: sqlcmd -b -x -I -f 65001 -i FILE\n\n"
        "IF OBJECT_ID(N'alembic_version', N'U') IS NULL\nCREATE TABLE alembic_version (\n"
    )


@pytest.mark.parametrize(
    ("text", "backslashes", "expected"),
    [
        ("SELECT 1", False, False),
        ("SELECT 1 -- note", False, True),
        ("SELECT 1 -- note;", False, True),
        ("SELECT '-- no note'", False, False),
        ('SELECT "a--b"', False, False),
        ("SELECT 1 -- note\n+ 2", False, False),
        ("SELECT 1 -- it's\n+ '--'", False, False),
        ("SELECT 1 /* -- */", False, False),
        ("SELECT 'it''s -- x'", False, False),
        ("SELECT 'it\\'s -- x'", True, False),
        ("SELECT '\\\\' -- x'", True, True),
        ("SELECT 1 # note", True, True),
        ("SELECT 1 # note", False, False),
        ("SELECT '#'", True, False),
    ],
)
def test_a_comment_at_the_end_is_told_from_a_string(text: str, backslashes: bool, expected: bool) -> None:
    assert ends_in_comment(text, backslashes=backslashes) is expected


def test_a_semicolon_in_a_last_comment_does_not_end_the_statement(
    project: Callable[..., Site], sqlite_url: str
) -> None:
    site = project(sqlite_url)
    site.revision(
        "1", None, 'def upgrade():\n    op.execute("CREATE TABLE a (id integer) -- done;")\n'
        '    op.execute("INSERT INTO a VALUES (1)")\n'
    )  # fmt: skip
    run(sqlite_url, export(site))
    assert query(sqlite_url, "SELECT * FROM a") == [(1,)]


@pytest.mark.parametrize("phase", [None, "final"])
def test_the_text_does_not_depend_on_the_hash_seed_or_the_working_directory(
    history: Callable[[str], Site], phase: str | None
) -> None:
    site = history(NOWHERE["postgresql"])
    site.revision("4a", "3", 'def upgrade():\n    op.execute("SELECT 1")\n')
    site.revision("4b", "3", 'def upgrade():\n    op.execute("SELECT 2")\n')
    site.revision("4c", "3", 'def upgrade():\n    op.execute("SELECT 3")\n', depends_on=("4b", "4a"))
    options = ["--phase", phase] if phase else []
    texts = set()
    for seed, folder in (("0", site.folder), ("1", site.folder.parent), ("7", site.migrations)):
        done = site.flask("db", "sql", "heads", *options, cwd=folder, env={"PYTHONHASHSEED": seed})
        assert done.returncode == 0, done.stderr
        texts.add(done.stdout)
    assert len(texts) == 1


def test_what_a_revision_prints_is_not_in_the_export(project: Callable[..., Site]) -> None:
    site = project(NOWHERE["sqlite"])
    site.revision("1", None, 'print("loading")\ndef upgrade():\n    print("running")\n    op.execute("SELECT 1")\n')
    done = site.flask("db", "sql", "head")
    assert (done.returncode, "loading" in done.stdout, "running" in done.stdout) == (0, False, False)
    assert "running" in done.stderr


# -- refusals -----------------------------------------------------------------------------------------

READING = """
    def upgrade():
        op.execute("SELECT 0")
        rows = op.get_bind().execute(sa.text("SELECT 1")).all()
"""
BATCH = """
    def upgrade():
        with op.batch_alter_table("account", recreate="always") as batch:
            batch.drop_column("name")
"""
BROKEN = """
    def upgrade():
        raise ValueError("no such thing")
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (READING, "it reads the database, and an export has none"),
        (BATCH, "its structure cannot be known without a database"),
        (BROKEN, "ValueError: no such thing"),
    ],
    ids=["reading", "batch", "broken"],
)
@pytest.mark.parametrize("options", [(), ("--phase", "before-deploy")], ids=["all", "phase"])
def test_a_body_that_cannot_be_exported_names_its_line_and_leaves_no_file(
    project: Callable[..., Site], text: str, reason: str, options: tuple[str, ...]
) -> None:
    site = project(NOWHERE["sqlite"])
    site.revision("1", None, 'def upgrade():\n    op.execute("SELECT 1")\n')
    path = site.revision("2", "1", text)
    line = len(path.read_text().splitlines())
    for output in ((), ("-o", "out.sql"), ("--split", "out")):
        done = site.flask("db", "sql", "head", *options, *output)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"{path}, line {line if text != BATCH else line - 1}: revision 2" in done.stderr
        assert reason in done.stderr
        assert "Traceback" not in done.stderr
    assert not (site.folder / "out.sql").exists()
    assert not (site.folder / "out").exists()


def test_an_existing_file_is_kept_when_the_export_fails(project: Callable[..., Site]) -> None:
    site = project(NOWHERE["sqlite"])
    site.revision("1", None, READING)
    kept = site.write("out.sql", "precious\n")
    assert site.flask("db", "sql", "head", "-o", "out.sql").returncode == 3
    assert kept.read_text() == "precious\n"


def test_a_script_outside_the_folder_is_refused_in_an_export(project: Callable[..., Site]) -> None:
    site = project(NOWHERE["sqlite"])
    path = site.revision("1", None, 'def upgrade():\n    op.execute_script("../outside.sh")\n')
    with pytest.raises(Refused, match="must be relative to") as caught:
        export(site)
    assert str(caught.value).startswith(f"{path}, line ")


def test_a_body_that_leaves_the_process_is_refused_in_an_export(project: Callable[..., Site]) -> None:
    site = project(NOWHERE["sqlite"])
    site.revision("1", None, "def upgrade():\n    raise SystemExit(0)\n")
    with pytest.raises(Refused, match="revision 1 cannot be exported as SQL: SystemExit: 0"):
        export(site)


# -- the guard ----------------------------------------------------------------------------------------

PARTS = """
    @phased("before-deploy")
    def upgrade():
        op.create_table("t{0}", sa.Column("id", sa.Integer, primary_key=True))

    @upgrade.phase("after-deploy")
    def upgrade_after_deploy():
        op.create_table("u{0}", sa.Column("id", sa.Integer, primary_key=True))

    @upgrade.phase("final")
    def upgrade_final():
        op.create_table("v{0}", sa.Column("id", sa.Integer, primary_key=True))
"""
BOOKKEEPING = {"alembic_version", "alembic_version_phase", "alembic_version_journal"}


@pytest.fixture
def guarded(project: Callable[..., Site], database_url: str) -> Site:
    site = project(database_url)
    site.revision("1", None, PARTS.format(1))
    site.revision("2", "1", PARTS.format(2))
    return site


def user_tables(url: str) -> set[str]:
    return table_names(url) - BOOKKEEPING


def ledger(url: str) -> list[tuple[Any, ...]]:
    return query(url, "SELECT revision, phase, status FROM alembic_version_phase ORDER BY 1, 2")


def assert_refused(url: str, text: str) -> None:
    """Run SQL that must fail before its first DDL, and change no record."""
    tables = user_tables(url)
    records = ledger(url) if "alembic_version_phase" in table_names(url) else []
    done = run_client(url, text)
    assert done.returncode != 0
    assert done.stderr
    assert (user_tables(url), ledger(url)) == (tables, records)


def test_a_phase_is_refused_by_the_database_while_an_earlier_one_is_missing(guarded: Site) -> None:
    assert_refused(guarded.url, export(guarded, phase="after-deploy"))
    run(guarded.url, export(guarded, phase="before-deploy"))
    assert_refused(guarded.url, export(guarded, phase="final"))
    run(guarded.url, export(guarded, phase="after-deploy"))
    run(guarded.url, export(guarded, phase="final"))
    assert user_tables(guarded.url) == {f"{letter}{number}" for letter in "tuv" for number in (1, 2)}


@pytest.mark.parametrize("phase", ["before-deploy", "after-deploy", "final"])
def test_a_phase_is_refused_by_the_database_when_it_was_run_already(guarded: Site, phase: str) -> None:
    for name in ("before-deploy", "after-deploy", "final"):
        run(guarded.url, export(guarded, phase=name))
        if name == phase:
            assert_refused(guarded.url, export(guarded, phase=phase))
    assert ledger(guarded.url) == []
    assert_refused(guarded.url, export(guarded, phase=phase))


def test_a_phase_is_refused_when_a_newer_revision_is_complete(guarded: Site) -> None:
    with migrating(guarded) as migrate:
        migrate.upgrade(None, "heads")
    assert_refused(guarded.url, export(guarded, "1", phase="before-deploy"))


def test_an_undo_is_refused_by_the_database_while_later_phases_are_done(guarded: Site) -> None:
    undo = '@phased("before-deploy")\ndef downgrade():\n    op.drop_table("t2")\n'
    guarded.revision("2", "1", textwrap.dedent(PARTS.format(2)) + "\n" + undo)
    with migrating(guarded) as migrate:
        migrate.upgrade(None, "heads")
    text = export(guarded, "2:1", phase="before-deploy", direction="downgrade")
    before = query(guarded.url, "SELECT version_num FROM alembic_version")
    assert_refused(guarded.url, text)
    assert query(guarded.url, "SELECT version_num FROM alembic_version") == before == [("2",)]


@pytest.fixture
def short(project: Callable[..., Site], database_url: str) -> Site:
    """A revision with nothing after before-deploy: later phases only move the version table past it."""
    site = project(database_url)
    site.revision(
        "1",
        None,
        """
        @phased("before-deploy")
        def upgrade():
            op.create_table("t1", sa.Column("id", sa.Integer, primary_key=True))
        """,
    )
    return site


def test_a_move_of_the_version_table_is_refused_too_early_and_twice(short: Site) -> None:
    move = export(short, phase="after-deploy")
    assert_refused(short.url, move)
    assert query(short.url, "SELECT version_num FROM alembic_version") == []
    run(short.url, export(short, phase="before-deploy"))
    run(short.url, move)
    assert_refused(short.url, move)
    assert query(short.url, "SELECT version_num FROM alembic_version") == [("1",)]
    assert ledger(short.url) == []


def test_a_step_is_refused_while_its_parent_has_not_had_the_phase(guarded: Site) -> None:
    assert_refused(guarded.url, export(guarded, "1:2", phase="before-deploy"))


def test_the_work_before_a_script_is_committed_in_the_sql_of_a_phase(project: Callable[..., Site]) -> None:
    site = project(NOWHERE["postgresql"])
    site.write("migrations/scripts/fix.py", "")
    site.revision(
        "1",
        None,
        """
        @phased("before-deploy")
        def upgrade():
            op.execute("SELECT 1")
            op.execute_script("scripts/fix.py")
            op.execute("SELECT 2")
        """,
    )
    text = export(site, phase="before-deploy")
    before, after = text.split("-- SCRIPT::scripts/fix.py::;\n\n")
    assert before.partition("SELECT 1;\n\n")[2].startswith(
        "UPDATE alembic_version_phase SET status='failed', statement=1"
    )
    assert before.endswith(";\n\nCOMMIT;\n\n")
    assert after.startswith("BEGIN;\n\nINSERT INTO alembic_version_phase ")
    outcome = site.flask("db", "sql", "--phase", "before-deploy")
    assert "An SQL client passes over scripts/fix.py: run it by hand" in outcome.stderr


def test_the_guard_holds_without_strict_mode(project: Callable[..., Site], mysql_url: str) -> None:
    site = project(mysql_url)
    site.revision("1", None, PARTS.format(1))
    text = export(site, phase="final")
    assert_refused(mysql_url, "SET SESSION sql_mode = '';\n" + text)


def test_a_database_that_was_moved_by_sql_goes_on_online(guarded: Site) -> None:
    run(guarded.url, export(guarded, phase="before-deploy"))
    with migrating(guarded) as migrate:
        plan = migrate.upgrade(None, "heads", phase="final", through=True)
    assert [(step.revision, step.phase) for step in plan.steps] == [
        ("1", "after-deploy"),
        ("2", "after-deploy"),
        ("1", "final"),
        ("2", "final"),
    ]
    assert query(guarded.url, "SELECT version_num FROM alembic_version") == [("2",)]


# -- migration data -----------------------------------------------------------------------------------


def data_of(site: Site) -> list[dict[str, Any]]:
    with migrating(site) as migrate:
        return get_migrations_data(migrate.get_config())


def test_the_data_has_the_shape_of_alembic_offline(history: Callable[[str], Site]) -> None:
    first, second, third = data_of(history(NOWHERE["postgresql"]))
    assert first == {
        "revision": "1",
        "down_revision": None,
        "attributes": {},
        "phases": {
            "before-deploy": {
                "name": "before-deploy",
                "steps": [
                    {
                        "type": "postgresql",
                        "script": "CREATE TABLE alembic_version (\n"
                        "\tversion_num VARCHAR(32) NOT NULL, \n"
                        "\tCONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n"
                        ");\n\n"
                        "-- Running upgrade  -> 1\n\n"
                        "CREATE TABLE account (\n"
                        "\tid SERIAL NOT NULL, \n"
                        "\tname VARCHAR(40), \n"
                        "\tPRIMARY KEY (id)\n"
                        ");\n\n"
                        "INSERT INTO account (id, name) VALUES (1, '100%\ta -- b');",
                    }
                ],
            },
            "final": {
                "name": "final",
                "steps": [
                    {
                        "type": "postgresql",
                        "script": "INSERT INTO account (id, name) VALUES (2, 'it''s 50% :x\ty');\n\n"
                        "INSERT INTO alembic_version (version_num) VALUES ('1');",
                    }
                ],
            },
        },
        "depends_on": [],
        "branch_labels": [],
    }
    assert list(second["phases"]) == ["before-deploy", "final"]
    assert [step["type"] for step in second["phases"]["before-deploy"]["steps"]] == ["postgresql"]
    assert list(third["phases"]) == ["before-deploy", "after-deploy", "final"]
    assert third["phases"]["after-deploy"] == {
        "name": "after-deploy",
        "steps": [{"type": "python", "script": "print('fixed')\n", "path": "scripts/fix.py"}],
    }


def test_scripts_divide_the_statements_of_a_phase(project: Callable[..., Site]) -> None:
    site = project(NOWHERE["sqlite"])
    for name in ("a.sh", "b.pl", "c.thing", "noext"):
        site.write(f"migrations/{name}", f"text of {name}\n")
    site.revision("1", None, 'def upgrade():\n    op.execute("SELECT 1")\n    op.execute_script("a.sh")\n'
        '    op.execute("SELECT 2")\n    op.execute("SELECT 3")\n    op.execute_script("b.pl")\n'
        '    op.execute_script("c.thing")\n    op.execute_script("noext")\n')  # fmt: skip
    (data,) = data_of(site)
    steps = data["phases"]["before-deploy"]["steps"]
    assert [(step["type"], step.get("path")) for step in steps] == [
        ("sqlite", None),
        ("sh", "a.sh"),
        ("sqlite", None),
        ("perl", "b.pl"),
        ("unknown", "c.thing"),
        ("unknown", "noext"),
        ("sqlite", None),
    ]
    assert steps[2]["script"] == "SELECT 2;\n\nSELECT 3;"
    assert steps[1]["script"] == "text of a.sh\n"


def test_the_data_names_parents_dependencies_and_labels(project: Callable[..., Site]) -> None:
    site = project(NOWHERE["sqlite"])
    site.revision("1", None, "def upgrade():\n    pass\n", labels="main")
    site.revision("2a", "1", "def upgrade():\n    pass\n")
    site.revision("2b", "1", "def upgrade():\n    pass\n", depends_on="2a")
    site.revision("3", ("2a", "2b"), "def upgrade():\n    pass\n")
    assert [(item["revision"], item["down_revision"], item["depends_on"], item["branch_labels"]) for item in
            data_of(site)] == [
        ("1", None, [], ["main"]),
        ("2a", "1", [], []),
        ("2b", "1", ["2a"], []),
        ("3", ("2a", "2b"), [], []),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["2", "head", "heads", "he", "2@head"])
def test_symbolic_names_are_resolved(project: Callable[..., Site], name: str) -> None:
    site = project(NOWHERE["sqlite"])
    site.revision("1", None, "def upgrade():\n    pass\n")
    site.revision("2", "1", "def upgrade():\n    pass\n", labels="he")
    with migrating(site) as migrate:
        config = migrate.get_config()
        before = dict(config.attributes), config.cmd_opts, list(config.file_config.items(config.config_ini_section))
        found = get_migration_data(config, name)
        after = dict(config.attributes), config.cmd_opts, list(config.file_config.items(config.config_ini_section))
    assert found["revision"] == "2"
    assert after == before


def test_configured_attributes_are_in_the_data(project: Callable[..., Site]) -> None:
    site = project(NOWHERE["sqlite"], ini={"# phases =": "script-attributes = ticket, owner\n# phases ="})
    site.revision("1", None, 'ticket = "T-1"\ndef upgrade():\n    pass\n')
    (data,) = data_of(site)
    assert data["attributes"] == {"ticket": "T-1", "owner": None}


def test_marker_text_inside_data_is_data(project: Callable[..., Site]) -> None:
    site = project(NOWHERE["sqlite"])
    text = "\n-- PHASE::final::;\n\n-- SCRIPT::a.sh::;\n\n"
    site.revision("1", None, textwrap.dedent(f"""
        def upgrade():
            op.bulk_insert(sa.table("t", sa.column("x", sa.String)), [{{"x": {text!r}}}])
    """))  # fmt: skip
    (data,) = data_of(site)
    ((phase, content),) = data["phases"].items()
    assert (phase, len(content["steps"])) == ("before-deploy", 1)
    assert f"VALUES ('{text}')" in content["steps"][0]["script"]


def test_the_data_is_the_same_as_the_json_of_the_command(history: Callable[[str], Site]) -> None:
    site = history(NOWHERE["sqlite"])
    printed = json.loads(site.flask("db", "sql", "head", "--format", "json").stdout)
    assert printed == {"schema": 1, "migrations": json.loads(json.dumps(data_of(site)))}


def test_the_data_replayed_in_separate_sessions_gives_the_state_of_upgrade(
    project: Callable[..., Site], database_url: str
) -> None:
    site = project(database_url)
    site.write("migrations/fix.sh", "exit 1\n")
    site.revision("1", None, FIRST)
    site.revision("2a", "1", 'def upgrade():\n    op.add_column("account", sa.Column("a", sa.String(40)))\n')
    site.revision("2b", "1", PARTS.format("b"), depends_on="2a")
    site.revision("9", None, PARTS.format("other"))
    site.revision("3", ("2a", "2b"), "def upgrade():\n    pass\n")
    for item in data_of(site):
        for phase in item["phases"].values():
            for step in phase["steps"]:
                run(database_url, step["script"])
    assert sorted(query(database_url, "SELECT version_num FROM alembic_version")) == [("3",), ("9",)]
    assert user_tables(database_url) == {"account", "tb", "ub", "vb", "tother", "uother", "vother"}
    assert query(database_url, "SELECT id, name FROM account ORDER BY id") == [
        (1, "100%\ta -- b"),
        (2, "it's 50% :x\ty"),
    ]
    with migrating(site) as migrate:
        assert migrate.upgrade(None, "heads").actions == ()


def test_the_sql_of_a_step_with_an_autocommit_block_is_balanced(
    project: Callable[..., Site], postgresql_url: str
) -> None:
    site = project(postgresql_url)
    site.revision("1", None, """
        @phased("before-deploy")
        def upgrade():
            op.create_table("t", sa.Column("id", sa.Integer))
            with op.get_context().autocommit_block():
                op.execute("CREATE INDEX CONCURRENTLY ix ON t (id)")
            op.execute("INSERT INTO t VALUES (1)")
    """)  # fmt: skip
    text = export(site, phase="before-deploy")
    assert [line for line in text.split("\n") if line in ("BEGIN;", "COMMIT;")] == ["BEGIN;", "COMMIT;"] * 2
    run(postgresql_url, text)
    assert ledger(postgresql_url) == [("1", "before-deploy", "done")]


def test_the_sql_of_a_downgrade_by_phase_undoes_the_same(guarded: Site) -> None:
    url = guarded.url
    guarded.revision("3", "2", PARTS.format(3) + """
    @phased("before-deploy")
    def downgrade():
        op.drop_table("t3")

    @downgrade.phase("after-deploy")
    def downgrade_after_deploy():
        op.drop_table("u3")

    @downgrade.phase("final")
    def downgrade_final():
        op.drop_table("v3")
    """)  # fmt: skip
    with migrating(guarded) as migrate:
        migrate.upgrade(None, "heads")
    for phase, left in (("final", {"t3", "u3"}), ("after-deploy", {"t3"}), ("before-deploy", set())):
        run(url, export(guarded, "3:2", direction="downgrade", phase=phase))
        assert {name for name in user_tables(url) if name.endswith("3")} == left
    assert query(url, "SELECT version_num FROM alembic_version") == [("2",)]
    assert ledger(url) == []


def test_an_export_that_starts_at_the_database_reads_its_heads(guarded: Site) -> None:
    with migrating(guarded) as migrate:
        migrate.upgrade(None, "1")
    text = export(guarded, "current:head")
    assert "CREATE TABLE alembic_version" not in text
    run(guarded.url, text)
    assert query(guarded.url, "SELECT version_num FROM alembic_version") == [("2",)]


def test_names_of_other_version_tables_are_used(project: Callable[..., Site], sqlite_url: str) -> None:
    more = 'migrate.init_app(app, db, version_table="revisions")'
    site = project(sqlite_url, more=more)
    site.revision("1", None, PARTS.format(1))
    for phase in ("before-deploy", "after-deploy", "final"):
        run(sqlite_url, export(site, phase=phase))
    assert {"revisions", "revisions_phase", "revisions_journal"} <= table_names(sqlite_url)
    assert sa.make_url(sqlite_url).database
    assert query(sqlite_url, "SELECT version_num FROM revisions") == [("1",)]


@pytest.mark.parametrize("dialect_name", ["sqlite", "postgresql", "mysql", "mssql", "oracle"])
@pytest.mark.parametrize("table", ["alembic_version", "flaskphasedmigrateafter"])
def test_moves_of_the_version_table_are_written_as_if_each_was_compiled(dialect_name: str, table: str) -> None:
    dialect = sa.create_mock_engine(f"{dialect_name}://", lambda *_: None).dialect
    compiled: list[str] = []

    def compile_(construct: Any) -> str:
        with literals_written_out(dialect):
            compiled.append(str(construct.compile(dialect=dialect, compile_kwargs={"literal_binds": True})))
        return compiled[-1]

    tables = build_tables(table)
    moves = PointerMoves(tables, compile_)
    sets = [set(), {"1a"}, {"2b"}, {"GO"}, {"before"}, {"after"}, {"it's"}, {"naïve"}, {"a", "b", "c"}, {"a%b"}, set()]
    for before, after in zip(map(frozenset, sets), map(frozenset, sets[1:]), strict=False):
        alone = [compile_(pointer_statement(tables, kind, row)) for kind, row in pointer_changes(before, after)]
        assert list(moves.texts(before, after)) == alone


def test_a_move_of_the_version_table_is_compiled_once_for_all_revisions() -> None:
    compiled: list[Any] = []

    def compile_(construct: Any) -> str:
        compiled.append(construct)
        return str(construct.compile(compile_kwargs={"literal_binds": True}))

    moves = PointerMoves(build_tables(), compile_)
    rows = [frozenset({str(number)}) for number in range(10)]
    texts = [text for before, after in itertools.pairwise(rows) for text in moves.texts(before, after)]
    assert (len(texts), len(compiled)) == (9, 1)
