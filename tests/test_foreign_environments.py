"""env.py files that we did not write: older generations of Flask-Migrate's, and what projects made of them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask_migrate_folder import Folder, Made, Twins, commands, copy_layout, make_twins
from flask_process import FlaskProcesses, flask_processes
from support import connect, fresh_database, query, table_names

HEAD = """\
from logging.config import fileConfig

from alembic import context
from flask import current_app
from sqlalchemy import create_engine, engine_from_config, pool, text

config = context.config
fileConfig(config.config_file_name)
settings = current_app.extensions["migrate"]
"""
ENVIRONMENT = (
    HEAD
    + """\
{address}
target_metadata = settings.db.metadata


def offline():
    context.configure(url=config.get_main_option("sqlalchemy.url"), target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations({arguments})


def online():
    def process_revision_directives(context, revision, directives):
        if getattr(config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
            directives[:] = []

    {engine}
    connection = engine.connect(){execution_options}
    {before}
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        process_revision_directives=process_revision_directives,
        {options}
        **settings.configure_args
    )
    try:
        with context.begin_transaction():
            context.run_migrations({arguments})
    finally:
        connection.close()


if context.is_offline_mode():
    offline()
else:
    online()
"""
)
URI = 'config.set_main_option("sqlalchemy.url", current_app.config["SQLALCHEMY_DATABASE_URI"].replace("%", "%%"))'
OWN_ENGINE = """engine = engine_from_config(
        config.get_section(config.config_ini_section), prefix="sqlalchemy.", poolclass=pool.NullPool
    )"""
GENERATIONS = {
    "2.5.2": {"address": URI, "engine": OWN_ENGINE},
    "2.6": {
        "address": 'config.set_main_option("sqlalchemy.url", str(settings.db.engine.url).replace("%", "%%"))',
        "engine": OWN_ENGINE,
    },
    "3.1": {
        "address": 'config.set_main_option("sqlalchemy.url", str(settings.db.get_engine().url).replace("%", "%%"))',
        "engine": "engine = settings.db.get_engine()",
    },
}
CUSTOM = {
    "transaction_per_migration": {"options": "transaction_per_migration=True,"},
    "autocommit": {"execution_options": '.execution_options(isolation_level="AUTOCOMMIT")'},
    "own version table": {"options": 'version_table="schema_version",'},
    "include_object": {"options": 'include_object=lambda item, name, kind, reflected, other: name != "note",'},
    "reflected alone": {"options": 'include_name=lambda name, kind, parents: name != "legacy",'},
    "render_item": {"options": "render_item=lambda kind, item, context: False,"},
    "template_args": {"options": 'template_args={"project": "x"}, sqlalchemy_module_prefix="sa.",'},
    "on_version_apply": {"options": "on_version_apply=lambda **facts: None,"},
}
SEQUENCE = """\
heads|history -v -i|current -v|check|upgrade|downgrade|current|check|migrate -m no|upgrade --sql|upgrade|downgrade base
upgrade --tag t|models|check|migrate -m third --rev-id a3|upgrade|check|downgrade a1
stamp base|stamp a1|upgrade|current"""
SHORT = "check|current|upgrade|downgrade|upgrade --sql|models|migrate -m third --rev-id a3|upgrade|check|downgrade base"
SECTIONS = {"arguments": "", "execution_options": "", "before": "pass", "options": ""}


def environment(**sections: str) -> str:
    """Return an env.py of the first generation with some sections changed."""
    return ENVIRONMENT.format(**{**SECTIONS, **GENERATIONS["2.5.2"], **sections})


@pytest.fixture(scope="module")
def processes() -> Iterator[FlaskProcesses]:
    with flask_processes() as found:
        yield found


@pytest.fixture(scope="module")
def made(processes: FlaskProcesses, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(processes, tmp_path_factory.mktemp("made"))


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def twins(request: pytest.FixtureRequest, made: Made, tmp_path: Path) -> Iterator[Twins]:
    with ExitStack() as stack:
        yield make_twins(stack, made, request.param, tmp_path)


@pytest.fixture
def sqlite_twins(made: Made, tmp_path: Path) -> Iterator[Twins]:
    with ExitStack() as stack:
        yield make_twins(stack, made, "sqlite", tmp_path)


@pytest.fixture
def ours(made: Made, tmp_path: Path) -> Iterator[Callable[[str], Folder]]:
    """A factory of projects of an engine that have just changed the import."""
    with ExitStack() as stack:

        def make(layout: str) -> Folder:
            folder = copy_layout(stack, made, layout, tmp_path / "ours")
            folder.change_import()
            return folder

        yield make


def write(folder: Folder, name: str, text: str) -> None:
    """Write a file of the migrations folder, dedented."""
    file = folder.path / "migrations" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))


def revision(name: str, down: str | None, body: str, parameters: str = "") -> str:
    """Return the text of a revision file whose ``upgrade()`` has one line; its ``downgrade()`` does nothing."""
    return (
        "from alembic import op\nimport sqlalchemy as sa\n\n"
        f"revision = {name!r}\ndown_revision = {down!r}\nbranch_labels = None\ndepends_on = None\n\n\n"
        f"def upgrade({parameters}):\n    {body}\n\n\ndef downgrade({parameters}):\n    pass\n"
    )


def phased(name: str, down: str | None, bodies: dict[str, str], parameters: str = "") -> str:
    """Return the text of a phased revision file, a line for each phase."""
    (first, body), *rest = bodies.items()
    text = (
        "from alembic import op\nimport sqlalchemy as sa\nfrom flask_phased_migrate import phased\n\n"
        f"revision = {name!r}\ndown_revision = {down!r}\nbranch_labels = None\ndepends_on = None\n\n\n"
        f'@phased("{first}")\ndef upgrade({parameters}):\n    {body}\n'
    )
    for number, (phase, line) in enumerate(rest):
        text += f'\n\n@upgrade.phase("{phase}")\ndef upgrade_{number}({parameters}):\n    {line}\n'
    return text


def version(url: str, table: str = "alembic_version") -> list[str]:
    """Return the rows of a version table."""
    return [name for (name,) in query(url, f"SELECT version_num FROM {table} ORDER BY 1")]


def assert_in_step(twins: Twins, sequence: str) -> None:
    """Run commands in both twins and compare everything after each."""
    for command in commands(sequence):
        if command == "models":
            twins.models()
            continue
        theirs, ours = ({**item, "stdout": _sql(command, item["stdout"])} for item in twins.outcomes(command))
        assert ours == theirs, command


def _sql(command: str, lines: object) -> object:
    if "--sql" not in command:
        return lines
    assert isinstance(lines, list)
    kept = [line.split(" RETURNING ")[0].removesuffix(";") for line in lines]
    return [line.replace("\t", "    ") for line in kept]


# -- generations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", GENERATIONS)
def test_env_py_of_an_older_flask_migrate_goes_on_as_it_was(twins: Twins, generation: str) -> None:
    for folder in (twins.theirs, twins.ours):
        write(folder, "env.py", environment(**GENERATIONS[generation]))

    assert_in_step(twins, SEQUENCE if twins.ours.urls["default"].startswith("sqlite") else SHORT)


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mysql"])
def test_phases_run_in_an_env_py_of_an_older_flask_migrate(
    ours: Callable[[str], Folder], generation: str, engine: str
) -> None:
    folder = ours(engine)
    write(folder, "env.py", environment(**GENERATIONS[generation]))
    lines = {
        "before-deploy": 'op.create_table("one", sa.Column("id", sa.Integer))',
        "final": 'op.create_table("two", sa.Column("id", sa.Integer))',
    }
    write(folder, "versions/p1.py", phased("p1", "a2", lines))
    url = folder.urls["default"]

    folder.must("upgrade --phase before-deploy")
    between = {"one", "two"} & table_names(url), version(url)
    folder.must("upgrade --phase final")

    assert between == ({"one"}, ["a2"])
    assert ({"one", "two"} & table_names(url), version(url)) == ({"one", "two"}, ["p1"])


# -- what projects made of them ---------------------------------------------------------------------------


@pytest.mark.parametrize("change", CUSTOM)
def test_changed_env_py_goes_on_as_it_was(sqlite_twins: Twins, change: str) -> None:
    for folder in (sqlite_twins.theirs, sqlite_twins.ours):
        write(folder, "env.py", environment(**CUSTOM[change]))
        folder.must("stamp a2")

    assert_in_step(sqlite_twins, SHORT)


@pytest.mark.parametrize("change", ["transaction_per_migration", "autocommit"])
def test_changed_env_py_goes_on_as_it_was_on_postgresql(made: Made, tmp_path: Path, change: str) -> None:
    with ExitStack() as stack:
        twins = make_twins(stack, made, "postgresql", tmp_path)
        for folder in (twins.theirs, twins.ours):
            write(folder, "env.py", environment(**CUSTOM[change]))

        assert_in_step(twins, SHORT)


@pytest.mark.parametrize("before", ['connection.execute(text("SELECT 1"))', "connection.begin()"])
@pytest.mark.parametrize("engine", ["sqlite", "postgresql", "mysql"])
def test_transaction_that_env_py_left_open_loses_nothing(
    ours: Callable[[str], Folder], engine: str, before: str
) -> None:
    folder = ours(engine)
    write(folder, "env.py", environment(before=before))
    write(folder, "versions/b1.py", revision("b1", "a2", 'op.create_table("one", sa.Column("id", sa.Integer))'))

    folder.must("upgrade")

    url = folder.urls["default"]
    assert ("one" in table_names(url), version(url)) == (True, ["b1"])


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_step_that_fails_under_autocommit_goes_on_where_it_stopped(ours: Callable[[str], Folder], engine: str) -> None:
    folder = ours(engine)
    write(folder, "env.py", environment(**CUSTOM["autocommit"]))
    body = 'op.create_table("one", sa.Column("id", sa.Integer)); op.execute("SELECT id FROM nowhere")'
    write(folder, "versions/b1.py", revision("b1", "a2", body))
    url = folder.urls["default"]

    failed = folder.flask("upgrade")
    left = "one" in table_names(url)
    query(url, "CREATE TABLE nowhere (id INTEGER)")
    again = folder.flask("upgrade")

    assert failed.status == 1
    assert ("Nothing of this step is left" in failed.stderr) is not left
    assert (again.status, version(url)) == (0, ["b1"]), again


STEPS = {
    "before-deploy": 'op.add_column("note", sa.Column("one", sa.Integer))',
    "final": 'op.add_column("note", sa.Column("two", sa.Integer))',
}
ARGUMENTS = 'op=context.get_context().config.attributes.get("helper", "helper"), tables=["one", "two"]'


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_arguments_of_run_migrations_reach_the_bodies(ours: Callable[[str], Folder], engine: str) -> None:
    folder = ours(engine)
    write(folder, "env.py", environment(arguments=ARGUMENTS))
    for file in (folder.path / "migrations" / "versions").glob("a*.py"):
        text = file.read_text().replace(
            "def upgrade():", "def upgrade(op=None, tables=None):\n    from alembic import op"
        )
        file.write_text(
            text.replace("def downgrade():", "def downgrade(op=None, tables=None):\n    from alembic import op")
        )
    make = "from alembic import op as own; "
    make += '[own.create_table(f"{op}_%s_{name}", sa.Column("id", sa.Integer)) for name in tables]'
    write(folder, "versions/b1.py", revision("b1", "a2", make % "b", "op, tables"))
    bodies = {"before-deploy": make % "p", "final": make % "f"}
    write(folder, "versions/p1.py", phased("p1", "b1", bodies, "op, tables"))
    expected = {f"helper_{part}_{name}" for part in "bpf" for name in ("one", "two")}

    exported = folder.must("upgrade --sql a2:head")
    phase = folder.must("sql --phase final a2:head")
    folder.must("upgrade")

    assert {name for name in table_names(folder.urls["default"]) if name.startswith("helper")} == expected
    assert {name for name in expected if f"CREATE TABLE {name}" in exported.stdout} == expected
    assert {name for name in expected if f"CREATE TABLE {name}" in phase.stdout} == {"helper_f_one", "helper_f_two"}


OWN_DIRECTIVES = """
def rename(context, revision, directives):
    directives[0].message = "renamed by the application"

migrate = Migrate(app, db, process_revision_directives=rename, include_object=lambda o, name, *rest: name != "note")
"""


def test_own_process_revision_directives_and_include_object_of_the_application_stay(sqlite_twins: Twins) -> None:
    for folder in (sqlite_twins.theirs, sqlite_twins.ours):
        with (folder.path / "app.py").open("a") as file:
            file.write(OWN_DIRECTIVES)

    assert_in_step(
        sqlite_twins, "check|models|check|migrate -m third --rev-id a3|upgrade|migrate --rev-id a4|upgrade|history"
    )


def test_version_table_in_a_schema_of_its_own_with_its_ledger_beside_it(ours: Callable[[str], Folder]) -> None:
    folder = ours("postgresql")
    url = folder.urls["default"]
    query(url, "CREATE SCHEMA book")
    write(folder, "env.py", environment(options='version_table_schema="book", include_schemas=True,'))
    write(folder, "versions/p1.py", phased("p1", "a2", STEPS))
    folder.must("stamp a2")

    folder.must("upgrade --phase before-deploy")

    with connect(url) as connection:
        names = sa.inspect(connection).get_table_names(schema="book")
    assert sorted(names) == ["alembic_version", "alembic_version_journal", "alembic_version_phase"]
    assert (version(url, "book.alembic_version"), version(url)) == (["a2"], ["a2"])
    folder.must("upgrade --phase final")
    assert version(url, "book.alembic_version") == ["p1"]
    query(url, "ALTER TABLE note DROP COLUMN one, DROP COLUMN two")
    query(url, "DROP TABLE alembic_version")
    assert folder.flask("check").stdout == "No new upgrade operations detected.\n"


@pytest.mark.parametrize("commit", ["connection.commit()", "pass"])
def test_search_path_that_env_py_sets_holds_for_tables_and_bookkeeping(
    ours: Callable[[str], Folder], commit: str
) -> None:
    folder = ours("postgresql")
    url = folder.urls["default"]
    query(url, "CREATE SCHEMA tenant")
    before = f"connection.execute(text('SET search_path TO tenant'))\n    {commit}"
    before += '\n    connection.dialect.default_schema_name = "tenant"'
    write(folder, "env.py", environment(before=before))
    write(folder, "versions/p1.py", phased("p1", "a2", STEPS))

    folder.must("upgrade --phase before-deploy a2")
    folder.must("upgrade a2")
    folder.must("upgrade --phase before-deploy")

    with connect(url) as connection:
        names = sa.inspect(connection).get_table_names(schema="tenant")
    assert sorted(names) == ["account", "alembic_version", "alembic_version_journal", "alembic_version_phase", "note"]
    assert version(url, "tenant.alembic_version") == ["a2"]
    assert query(url, "SELECT revision, phase FROM tenant.alembic_version_phase") == [("p1", "before-deploy")]
    assert "alembic_version_phase" not in table_names(url)


TENANTS = """
with settings.db.engine.connect() as connection:
    for tenant in ("one", "two"):
        connection.execute(text(f"SET search_path TO {tenant}"))
        connection.commit()
        connection.dialect.default_schema_name = tenant
        context.configure(connection=connection, target_metadata=settings.db.metadata)
        with context.begin_transaction():
            context.run_migrations()
"""


def test_env_py_that_loops_over_schemas_migrates_each_of_them(ours: Callable[[str], Folder]) -> None:
    folder = ours("postgresql")
    url = folder.urls["default"]
    query(url, "CREATE SCHEMA one")
    query(url, "CREATE SCHEMA two")
    write(folder, "env.py", HEAD + TENANTS)
    undo = '@phased("before-deploy")\ndef downgrade():\n    pass\n'
    write(folder, "versions/p1.py", phased("p1", "a2", STEPS) + "\n\n" + undo)

    folder.must("upgrade a2 --lock-wait 5")
    folder.must("upgrade --phase before-deploy")
    folder.must("upgrade --phase after-deploy")
    folder.must("upgrade --phase final")

    for tenant in ("one", "two"):
        with connect(url) as connection:
            names = set(sa.inspect(connection).get_table_names(schema=tenant))
        assert {"account", "note"} <= names
        assert version(url, f"{tenant}.alembic_version") == ["p1"]
        assert query(url, f"SELECT count(*) FROM {tenant}.alembic_version_phase") == [(0,)]
    folder.must("downgrade base")
    assert version(url, "one.alembic_version") == version(url, "two.alembic_version") == []


FILES = """
import os
for name in sorted(os.environ["TENANT_URLS"].split("|")):
    engine = create_engine(name)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=settings.db.metadata)
        with context.begin_transaction():
            context.run_migrations()
"""


@pytest.mark.parametrize("engine", ["sqlite", "mysql"])
def test_env_py_that_loops_over_databases_migrates_each_of_them(
    ours: Callable[[str], Folder], tmp_path: Path, engine: str
) -> None:
    folder = ours(engine)
    write(folder, "env.py", HEAD + FILES)
    with fresh_database(engine, tmp_path) as first, fresh_database(engine, tmp_path) as second:
        tenants = {"TENANT_URLS": f"{first}|{second}"}
        folder.must("upgrade a1", tenants)
        one_ahead = sorted([first, second])[0]
        folder.must("upgrade --bind default", tenants)
        between = {url: version(url) for url in (first, second)}
        folder.must("upgrade", tenants)

        assert between == {url: ["a2"] if url == one_ahead else ["a1"] for url in (first, second)}
        assert version(first) == version(second) == ["a2"]


NOISY = environment(
    **{**GENERATIONS["3.1"], "before": 'print("printed by online")'},
).replace("target_metadata =", 'print("printed by env.py")\ntarget_metadata =')


@pytest.mark.parametrize(
    "command",
    ["upgrade --sql", "sql", "sql a1:head", "sql --phase before-deploy", "downgrade --sql head:a2", "stamp --sql"],
)
def test_what_env_py_and_revisions_print_or_log_never_reaches_an_export(
    ours: Callable[[str], Folder], command: str
) -> None:
    folder = ours("sqlite")
    quiet_body = 'op.execute("SELECT 1")'
    write(folder, "versions/b1.py", revision("b1", "a2", quiet_body))
    quiet = folder.must(command)
    loud = "import sys, logging; print('printed by a body'); sys.stdout.write('written'); "
    loud += f"logging.getLogger('alembic').warning('logged'); {quiet_body}"
    write(folder, "versions/b1.py", "print('printed by a file')\n" + revision("b1", "a2", loud))
    write(folder, "env.py", NOISY)

    ended = folder.must(command)

    assert ended.stdout == quiet.stdout
    assert "printed by env.py" in ended.stderr


def test_ini_without_our_logger_and_without_flask_migrates_is_enough(ours: Callable[[str], Folder]) -> None:
    folder = ours("sqlite")
    ini = folder.path / "migrations" / "alembic.ini"
    text = ini.read_text().replace("keys = root,sqlalchemy,alembic,flask_migrate", "keys = root")
    ini.write_text(text)

    ended = folder.flask("upgrade nowhere")

    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Error: Can't locate revision identified by 'nowhere'")


# -- where the revision files are --------------------------------------------------------------------------

PATCH = """
import alembic.command
import alembic.script

class WithPlugins(alembic.script.ScriptDirectory):
    @classmethod
    def from_config(cls, config):
        folder = Path(__file__).parent
        config.set_main_option("version_locations", f"{folder}/migrations/versions:{folder}/plugin")
        config.set_main_option("path_separator", ":")
        return super().from_config(config)

alembic.command.ScriptDirectory = WithPlugins
"""


def test_script_directory_that_the_application_replaced_is_the_one_in_use(sqlite_twins: Twins) -> None:
    for folder in (sqlite_twins.theirs, sqlite_twins.ours):
        with (folder.path / "app.py").open("a") as file:
            file.write(PATCH)
        write(folder, "../plugin/g1.py", revision("g1", None, 'op.create_table("plugin", sa.Column("id", sa.Integer))'))

    assert_in_step(
        sqlite_twins,
        "heads|history|upgrade|upgrade heads|current|branches|stamp base|stamp heads|show g1|downgrade g1-1",
    )


def test_revision_files_in_folders_below_versions(sqlite_twins: Twins) -> None:
    for folder in (sqlite_twins.theirs, sqlite_twins.ours):
        ini = folder.path / "migrations" / "alembic.ini"
        ini.write_text(
            ini.read_text().replace(
                "[alembic]\n", "[alembic]\nrecursive_version_locations = true\npath_separator = os\n"
            )
        )
        write(
            folder,
            "versions/2026/b1.py",
            revision("b1", "a2", 'op.create_table("plugin", sa.Column("id", sa.Integer))'),
        )

    assert_in_step(
        sqlite_twins, "heads|history -v|upgrade|current|downgrade -- -1|stamp head|show|upgrade --sql a2:head"
    )


@pytest.mark.parametrize("location", ["%(here)s/../revisions", "revisions", "migrations/revisions"])
def test_version_locations_of_the_ini_instead_of_a_versions_folder(sqlite_twins: Twins, location: str) -> None:
    for folder in (sqlite_twins.theirs, sqlite_twins.ours):
        migrations = folder.path / "migrations"
        target = folder.path / location.replace("%(here)s", "migrations")
        (migrations / "versions").rename(target)
        ini = migrations / "alembic.ini"
        ini.write_text(
            ini.read_text().replace("[alembic]\n", f"[alembic]\nversion_locations = {location}\npath_separator = os\n")
        )

    assert_in_step(
        sqlite_twins, "heads|history|downgrade|upgrade|upgrade --sql|models|migrate -m third --rev-id a3|upgrade|check"
    )


def test_file_template_with_folders_in_it(sqlite_twins: Twins) -> None:
    for folder in (sqlite_twins.theirs, sqlite_twins.ours):
        ini = folder.path / "migrations" / "alembic.ini"
        options = "recursive_version_locations = true\npath_separator = os\nfile_template = %%(rev)s/%%(slug)s\n"
        ini.write_text(ini.read_text().replace("[alembic]\n", f"[alembic]\n{options}"))

    assert_in_step(
        sqlite_twins, "models|migrate -m third --rev-id a3|upgrade|history|show|downgrade|revision -m x --rev-id a4"
    )


PRINTING = """import sys; print("printed by a body"); sys.stdout.write("written\\n")"""


def test_upgrade_prints_what_a_body_prints(sqlite_twins: Twins) -> None:
    for folder in (sqlite_twins.theirs, sqlite_twins.ours):
        write(folder, "versions/b1.py", revision("b1", "a2", PRINTING))

    assert_in_step(sqlite_twins, "upgrade|downgrade")


def test_upgrade_prints_once_what_env_py_prints(sqlite_twins: Twins) -> None:
    for folder in (sqlite_twins.theirs, sqlite_twins.ours):
        write(folder, "env.py", NOISY)
        write(folder, "versions/b1.py", revision("b1", "a2", PRINTING))

    assert_in_step(sqlite_twins, "current|upgrade|downgrade")
