"""The migration data: alembic-offline's shape on any graph, for programs that run it piece by piece."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from support import Site, fresh_database, query, run_client, table_names

from flask_phased_migrate import generate_migration_graph, get_migration_data, get_migrations_data
from flask_phased_migrate.errors import Refused, UsageError

PHASES = ("before-deploy", "after-deploy", "final")
NOWHERE = "sqlite:////nowhere/x.sqlite3"
NOTHING = "def upgrade():\n    pass\n"


@contextmanager
def migrating(site: Site) -> Iterator[Any]:
    with site.app() as app:
        yield app.extensions["migrate"].migrate


def data_of(site: Site, **options: Any) -> list[dict[str, Any]]:
    with migrating(site) as migrate:
        return get_migrations_data(migrate.get_config(), **options)


def run(url: str, steps: list[dict[str, str]]) -> None:
    """Run the SQL of a phase by the engine's client, each entry in a session of its own."""
    for step in steps:
        done = run_client(url, step["script"])
        assert done.returncode == 0, done.stderr


def run_by_revision(url: str, data: list[dict[str, Any]]) -> None:
    for item in data:
        for phase in item["phases"].values():
            run(url, phase["steps"])


def run_by_phase(url: str, data: list[dict[str, Any]]) -> None:
    for name in PHASES:
        for item in data:
            run(url, item["phases"].get(name, {"steps": []})["steps"])


def state(url: str) -> tuple[set[str], dict[str, list[Any]]]:
    """Return the columns of all tables but ours, and all their rows."""
    names = sorted(name for name in table_names(url) if not name.endswith(("_phase", "_journal")))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        found = sa.inspect(connection)
        columns = {
            f"{name}.{column['name']} {column['nullable']}" for name in names for column in found.get_columns(name)
        }
    return columns, {name: sorted(query(url, f"SELECT * FROM {name}"), key=str) for name in names}


# -- any graph, in either order -------------------------------------------------------------------------

PHASED = """
    @phased("before-deploy")
    def upgrade():
        op.create_table("t{0}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.String(80)))

    @upgrade.phase("after-deploy")
    def upgrade_after_deploy():
        op.execute("INSERT INTO t{0} (id, x) VALUES (1, '{0}; -- PHASE::final::;')")

    @upgrade.phase("final")
    def upgrade_final():
        op.create_index("ix_{0}", "t{0}", ["x"])
"""
ONLY_LAST = """
    @phased("final")
    def upgrade():
        op.create_table("u{0}", sa.Column("id", sa.Integer, primary_key=True))
"""
UNPHASED = """
    def upgrade():
        op.create_table("v{0}", sa.Column("id", sa.Integer, primary_key=True))
        op.bulk_insert(sa.table("v{0}", sa.column("id", sa.Integer)), [{{"id": 5}}])
"""
GENERATOR = """
    @phased
    def upgrade():
        op.create_table("w{0}", sa.Column("id", sa.Integer, primary_key=True))
        yield
        op.execute("INSERT INTO w{0} (id) VALUES (7)")
        yield
        op.add_column("w{0}", sa.Column("y", sa.Integer))
"""
# (id, parents, body, depends on): two bases, branches and merges, dependencies, of all forms of body.
GRAPHS: dict[str, list[tuple[str, Any, str, Any]]] = {
    "line": [
        ("1", None, ONLY_LAST, None),
        ("2", "1", UNPHASED, None),
        ("3", "2", PHASED, None),
        ("4", "3", NOTHING, None),
        ("5", "4", GENERATOR, None),
        ("6", "5", UNPHASED, None),
    ],
    "branches": [
        ("1", None, PHASED, None),
        ("2a", "1", PHASED, None),
        ("2b", "1", UNPHASED, None),
        ("3", ("2a", "2b"), NOTHING, None),
        ("4a", "3", UNPHASED, None),
        ("4b", "3", ONLY_LAST, "4a"),
        ("5", ("4a", "4b"), GENERATOR, None),
    ],
    "bases": [
        ("1", None, ONLY_LAST, None),
        ("a", None, UNPHASED, None),
        ("b", "a", UNPHASED, "1"),
        ("2", "1", GENERATOR, "a"),
        ("c", "b", UNPHASED, None),
        ("x", None, UNPHASED, None),
        ("m", ("c", "2"), NOTHING, None),
    ],
}


def with_graph(site: Site, name: str) -> Site:
    for revision, down, body, depends_on in GRAPHS[name]:
        site.revision(revision, down, body.format(revision), depends_on=depends_on)
    return site


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_data_gives_the_state_of_upgrade_in_either_order(
    project: Callable[..., Site], request: pytest.FixtureRequest, tmp_path: Path, database_url: str, graph: str
) -> None:
    kind = request.node.callspec.params["database_url"]
    site = with_graph(project(database_url), graph)
    data = data_of(site)
    with migrating(site) as migrate:
        migrate.upgrade(None, "heads")
    expected = state(database_url)
    for replay in (run_by_revision, run_by_phase):
        (tmp_path / replay.__name__).mkdir()
        with fresh_database(kind, tmp_path / replay.__name__) as url:
            replay(url, data)
            assert state(url) == expected


def test_the_version_table_moves_past_a_revision_after_its_parents(project: Callable[..., Site]) -> None:
    data = data_of(with_graph(project(NOWHERE), "line"))
    moves = [
        [name for name, phase in item["phases"].items() if "alembic_version (version_num)" in str(phase)
         or "UPDATE alembic_version" in str(phase)]
        for item in data
    ]  # fmt: skip
    assert moves == [["final"]] * 6
    assert [list(item["phases"]) for item in data] == [
        ["final"],
        ["before-deploy", "final"],
        ["before-deploy", "after-deploy", "final"],
        ["final"],
        ["before-deploy", "after-deploy", "final"],
        ["before-deploy", "final"],
    ]


def test_a_history_without_phases_has_the_default_phase_alone(project: Callable[..., Site]) -> None:
    site = project(NOWHERE, config={"MIGRATE_DEFAULT_PHASE": "after-deploy"})
    site.revision("1", None, UNPHASED.format("1"))
    site.revision("2", "1", 'some_attribute = "some-value"\ndef upgrade():\n    op.execute("SELECT 2")\n')
    _, second = data_of(site)
    assert second["phases"] == {
        "after-deploy": {
            "name": "after-deploy",
            "steps": [
                {
                    "type": "sqlite",
                    "script": "-- Running upgrade 1 -> 2\n\nSELECT 2;\n\n"
                    "UPDATE alembic_version SET version_num='2' WHERE alembic_version.version_num = '1';",
                }
            ],
        }
    }


def test_no_entry_is_comments_alone(project: Callable[..., Site]) -> None:
    site = project(NOWHERE)
    site.write("migrations/a.sh", "true\n")
    site.revision("1", None, PHASED.format("1"))
    site.revision("2", "1", 'def upgrade():\n    op.execute_script("a.sh")\n')
    _, second = data_of(site)
    assert second["phases"] == {
        "before-deploy": {"name": "before-deploy", "steps": [{"type": "sh", "script": "true\n", "path": "a.sh"}]},
        "final": {
            "name": "final",
            "steps": [
                {
                    "type": "sqlite",
                    "script": "-- Running upgrade 1 -> 2\n\n"
                    "UPDATE alembic_version SET version_num='2' WHERE alembic_version.version_num = '1';",
                }
            ],
        },
    }


# -- text that looks like a marker ------------------------------------------------------------------------


def test_marker_text_divides_nothing(project: Callable[..., Site]) -> None:
    site = project(NOWHERE)
    text = "-- PHASE::x::;\n\nhello"
    site.revision("1", None, textwrap.dedent(f"""
        @phased("before-deploy")
        def upgrade():
            op.execute({f"insert into notes values ('{text}')"!r})
            op.execute("-- PHASE::nonsense::")
            op.execute("insert into notes values ('-- SCRIPT::/etc/hostname::;\\n\\n')")

        @upgrade.phase("final")
        def upgrade_final():
            op.execute("select '-- PHASE::final::;'")
    """))  # fmt: skip
    (data,) = data_of(site)
    assert {name: len(phase["steps"]) for name, phase in data["phases"].items()} == {"before-deploy": 1, "final": 1}
    assert data["phases"]["before-deploy"]["steps"][0]["script"].endswith(
        f"insert into notes values ('{text}');\n\n-- PHASE::nonsense::\n;\n\n"
        "insert into notes values ('-- SCRIPT::/etc/hostname::;\n\n');"
    )


# -- names, attributes, binds, configuration --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"), [("head", "abc3"), ("abc3", "abc3"), ("abc", None), ("head-1", "abd2"), ("-1", "abd2"),
                           ("abd", "abd2"), ("there", "abd2"), ("base", None), ("abc1+1", "abd2")],
)  # fmt: skip
def test_names_stand_for_revisions(project: Callable[..., Site], name: str, expected: str | None) -> None:
    site = project(NOWHERE)
    site.revision("abc1", None, NOTHING)
    site.revision("abd2", "abc1", NOTHING, labels="there")
    site.revision("abc3", "abd2", NOTHING)
    with migrating(site) as migrate:
        config = migrate.get_config()
        if expected is None:
            with pytest.raises(Exception, match=r"stands for 0 revisions|Can't locate revision"):
                get_migration_data(config, name)
        else:
            assert get_migration_data(config, name)["revision"] == expected


@pytest.mark.parametrize("graph", GRAPHS)
def test_one_revision_is_the_same_as_among_all(project: Callable[..., Site], graph: str) -> None:
    site = with_graph(project(NOWHERE), graph)
    with migrating(site) as migrate:
        config = migrate.get_config()
        assert [get_migration_data(config, item[0]) for item in GRAPHS[graph]] == sorted(
            get_migrations_data(config), key=lambda data: [item[0] for item in GRAPHS[graph]].index(data["revision"])
        )


def test_one_revision_does_not_need_that_others_can_be_exported(project: Callable[..., Site]) -> None:
    site = project(NOWHERE)
    site.revision("1", None, "def upgrade():\n    op.get_bind().execute(sa.text('SELECT 1')).scalar()\n")
    site.revision("2", "1", UNPHASED.format("2"))
    with migrating(site) as migrate:
        assert get_migration_data(migrate.get_config(), "2")["down_revision"] == "1"
        with pytest.raises(Refused, match=r"1\.py, line 12: revision 1 cannot be exported"):
            get_migrations_data(migrate.get_config())


def test_each_bind_has_its_own_data(project: Callable[..., Site]) -> None:
    site = project(NOWHERE, binds={"other": "sqlite:////nowhere/y.sqlite3"})
    site.revision("1", None, """
        @phased("before-deploy")
        def upgrade():
            op.execute("SELECT 'first'")

        @upgrade.phase("final", bind="other")
        def upgrade_other():
            op.execute("SELECT 'second'")
    """)  # fmt: skip
    (first,), (other,) = data_of(site), data_of(site, bind="other")
    assert {name: "'first'" in str(phase) for name, phase in first["phases"].items()} == {
        "before-deploy": True,
        "final": False,
    }
    assert {name: "'second'" in str(phase) for name, phase in other["phases"].items()} == {"final": True}
    with pytest.raises(UsageError, match="no bind 'third'"):
        data_of(site, bind="third")


# An env.py as `alembic init` writes it, without Flask.
ENVIRONMENT = """\
from alembic import context
from sqlalchemy import engine_from_config

config = context.config


def run_migrations_offline():
    context.configure(url=config.get_main_option("sqlalchemy.url"), literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


assert context.is_offline_mode()
run_migrations_offline()
"""
# The revisions of alembic-offline's own tests, as they are.
SIMPLE = '''\
"""simple"""
revision = "{0}"
down_revision = {1!r}
some_attribute = "some-value"

from alembic import op


def upgrade():
    op.execute("update account set name='{0}'")
'''
STAGED = '''\
"""phased"""
revision = "1"
down_revision = None
some_attribute = "other\\\\"

from alembic import op
from sqlalchemy import INTEGER, VARCHAR, Column
from flask_phased_migrate import execute_script, phased


@phased
def upgrade():
    op.create_table("account", Column("id", INTEGER, primary_key=True), Column("name", VARCHAR(50)))
    yield
    op.execute("update account set name='some'")
    yield
    execute_script("scripts/script.py")
'''


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration as programs make one for alembic-offline: all in memory, without a file and without Flask."""
    folder = tmp_path / "100% own"
    (folder / "versions").mkdir(parents=True)
    (folder / "scripts").mkdir()
    (folder / "env.py").write_text(ENVIRONMENT)
    (folder / "scripts/script.py").write_text("print('script is executed')\n")
    (folder / "versions/1.py").write_text(STAGED)
    (folder / "versions/2.py").write_text(SIMPLE.format("2", "1"))
    made = Config()
    made.set_main_option("script_location", str(folder).replace("%", "%%"))
    made.set_main_option("sqlalchemy.url", "sqlite://")
    made.set_main_option("phases", "before-deploy after-deploy final")
    made.set_main_option("default-phase", "after-deploy")
    made.set_main_option("script-attributes", "some_attribute")
    return made


def test_a_program_for_alembic_offline_runs_with_its_configuration(config: Config) -> None:
    first, second = get_migrations_data(config)
    assert (first["attributes"], second["attributes"]) == (
        {"some_attribute": "other\\"},
        {"some_attribute": "some-value"},
    )
    assert first["phases"] == {
        "before-deploy": {
            "name": "before-deploy",
            "steps": [
                {
                    "type": "sqlite",
                    "script": "CREATE TABLE alembic_version (\n\tversion_num VARCHAR(32) NOT NULL, \n"
                    "\tCONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)\n);\n\n"
                    "-- Running upgrade  -> 1\n\n"
                    "CREATE TABLE account (\n\tid INTEGER NOT NULL, \n\tname VARCHAR(50), \n\tPRIMARY KEY (id)\n);",
                }
            ],
        },
        "after-deploy": {
            "name": "after-deploy",
            "steps": [{"type": "sqlite", "script": "update account set name='some';"}],
        },
        "final": {
            "name": "final",
            "steps": [
                {"type": "python", "script": "print('script is executed')\n", "path": "scripts/script.py"},
                {"type": "sqlite", "script": "INSERT INTO alembic_version (version_num) VALUES ('1');"},
            ],
        },
    }
    assert (second["down_revision"], list(second["phases"])) == ("1", ["after-deploy", "final"])
    assert get_migration_data(config, "head") == second


def test_the_configuration_is_not_changed(config: Config) -> None:
    config.attributes["own"] = object()
    before = {name: value for name, value in vars(config).items() if name != "file_config"}
    options = list(config.file_config.items("alembic", raw=True))
    get_migrations_data(config)
    get_migration_data(config, "2")
    generate_migration_graph(config, lambda data: data["revision"])
    after = {name: value for name, value in vars(config).items() if name != "file_config"}
    assert (after, list(config.file_config.items("alembic", raw=True))) == (before, options)
    assert config.output_buffer is None


def test_env_py_has_the_attributes_of_the_configuration(config: Config, tmp_path: Path) -> None:
    (tmp_path / "100% own" / "env.py").write_text(
        ENVIRONMENT.replace("assert context", 'config.attributes["seen"].append(1)\nassert context')
    )
    seen: list[int] = []
    config.attributes["seen"] = seen
    get_migrations_data(config)
    assert set(seen) == {1}


def test_the_graph_shows_the_attributes_and_what_a_callback_gives(config: Config) -> None:
    usual = generate_migration_graph(config)
    assert '"1" [label="1\\n- some_attribute: other\\\\"' in usual
    assert '"2" -> "1";' in usual
    own = generate_migration_graph(config, lambda data: f"{data['revision']} {list(data['phases'])}")
    assert "\"2\" [label=\"2 ['after-deploy', 'final']\"" in own
    assert '"2" [' in generate_migration_graph(config, lambda _data: None)


def test_every_name_of_alembic_offline_is_here() -> None:
    import flask_phased_migrate

    names = ["phased", "execute_script", "get_migration_data", "get_migrations_data", "generate_migration_graph"]
    assert [name for name in names if not callable(getattr(flask_phased_migrate, name))] == []


@pytest.mark.parametrize("value", ["before-deploy, after-deploy, final", "before-deploy,after-deploy,final"])
def test_phases_may_have_commas(config: Config, value: str) -> None:
    config.set_main_option("phases", value)
    assert [list(item["phases"]) for item in get_migrations_data(config)] == [[*PHASES], ["after-deploy", "final"]]


def test_phases_that_are_no_longer_configured_come_last_and_keep_the_version_statement(config: Config) -> None:
    folder = Path(str(config.get_main_option("script_location")))
    (folder / "versions/1.py").write_text(SIMPLE.format("1", None))
    (folder / "versions/2.py").write_text(
        STAGED.replace('"1"', '"2"').replace("None", '"1"').replace("@phased\n", "@phased('expand', 'final', 'old')\n")
    )
    _, second = get_migrations_data(config)
    assert list(second["phases"]) == ["final", "expand", "old"]
    assert "UPDATE alembic_version" in second["phases"]["old"]["steps"][-1]["script"]


def test_a_history_of_copies_run_in_the_wrong_order_fails_and_loses_nothing(
    project: Callable[..., Site], sqlite_url: str
) -> None:
    site = project(sqlite_url)
    site.revision("1", None, """
        @phased("before-deploy")
        def upgrade():
            op.create_table("account", sa.Column("id", sa.Integer, primary_key=True), sa.Column("a", sa.Integer))

        @upgrade.phase("final")
        def upgrade_final():
            with op.batch_alter_table("account") as batch:
                batch.alter_column("a", nullable=False)
    """)  # fmt: skip
    site.revision("2", "1", 'def upgrade():\n    op.add_column("account", sa.Column("b", sa.Integer))\n')
    data = data_of(site)
    run(sqlite_url, data[0]["phases"]["before-deploy"]["steps"] + data[1]["phases"]["before-deploy"]["steps"])
    done = run_client(sqlite_url, data[0]["phases"]["final"]["steps"][0]["script"])
    assert (done.returncode != 0, "integer overflow" in done.stderr) == (True, True)
    assert [row[1] for row in query(sqlite_url, "PRAGMA table_info(account)")] == ["id", "a", "b"]


# -- how long it takes --------------------------------------------------------------------------------------


def test_the_calls_made_are_in_proportion_to_the_revisions(project: Callable[..., Site]) -> None:
    counts = []
    for number in (40, 80, 160):
        site = project(NOWHERE)
        for item in range(1, number + 1):
            site.revision(f"{item:04}", f"{item - 1:04}" if item > 1 else None, PHASED.format(item))
        with migrating(site) as migrate:
            config = migrate.get_config()
            get_migration_data(config, "0001")
            counts.append(calls_of(lambda config=config: get_migrations_data(config)))
    first, second, third = counts
    assert (third - second) / (second - first) < 2.3


def calls_of(function: Callable[[], Any]) -> int:
    """Return how many Python functions a call runs."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls


def test_the_command_prints_the_same(project: Callable[..., Site]) -> None:
    site = with_graph(project(NOWHERE), "branches")
    printed = json.loads(site.flask("db", "sql", "head", "--format", "json").stdout)
    assert printed["migrations"] == json.loads(json.dumps(data_of(site)))
    assert not re.search(r"RETURNING|BEGIN;|COMMIT;", json.dumps(printed))
