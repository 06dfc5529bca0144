"""SQLite's batch operations without a database: the SQL leaves what the online upgrade leaves."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.operations.batch import BatchOperationsImpl
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from support import Site, export, migrating, run_client

from flask_phased_migrate import get_migration_data, get_migrations_data
from flask_phased_migrate.errors import Refused
from flask_phased_migrate.replica import Replica, statements_in

FIRST = """
    def upgrade():
        op.create_table("team", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40)))
        op.create_table(
            "account",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.String(40), server_default="it's", nullable=False),
            sa.Column("made", sa.DateTime, server_default=sa.func.current_timestamp()),
            sa.Column("size", sa.Integer, server_default=sa.text("40 + 2")),
            sa.Column("team_id", sa.Integer),
            sa.Column("parent_id", sa.Integer),
            sa.CheckConstraint("size > 0", name="ck_size"),
            sa.UniqueConstraint("name", "team_id", name="uq_name"),
            sa.UniqueConstraint("made", "id"),
            sa.ForeignKeyConstraint(["team_id"], ["team.id"], name="fk_team", ondelete="CASCADE"),
            sa.ForeignKeyConstraint(["parent_id"], ["account.id"]),
        )
        op.create_index("ix_size", "account", ["size"])
        op.create_index("ix_name", "account", ["name"], unique=True, sqlite_where=sa.text("size > 10"))
        op.execute("INSERT INTO team VALUES (1, 'blue')")
        op.execute("INSERT INTO account (id, name, made, size, team_id) VALUES (1, 'Ann', '2024-01-01', 12, 1)")
        op.execute("INSERT INTO account (id, name, made, size, team_id) VALUES (2, 'Bob; -- x', '2024-01-02', 13, 1)")

    def downgrade():
        op.drop_table("account")
        op.drop_table("team")
"""
SECOND = """
    @phased("before-deploy")
    def upgrade():
        op.add_column("account", sa.Column("mail", sa.String(40)))

    @upgrade.phase("after-deploy")
    def upgrade_after_deploy():
        op.execute("UPDATE account SET mail = lower(name)")

    @upgrade.phase("final")
    def upgrade_final():
        with op.batch_alter_table("account") as batch:
            batch.alter_column("mail", nullable=False, new_column_name="address")
            batch.drop_column("made")

    @phased("before-deploy")
    def downgrade():
        op.drop_column("account", "mail")

    @downgrade.phase("final")
    def downgrade_final():
        with op.batch_alter_table("account") as batch:
            batch.add_column(sa.Column("made", sa.DateTime))
            batch.alter_column("address", nullable=True, new_column_name="mail")
"""
THIRD = """
    def upgrade():
        op.rename_table("team", "squad")
        with op.batch_alter_table("account") as batch:
            batch.create_check_constraint("ck_name", "length(name) < 30")
            batch.drop_constraint("uq_name", type_="unique")
            batch.alter_column("size", type_=sa.String(10), server_default="7")
        with op.batch_alter_table("account", recreate="always") as batch:
            batch.add_column(sa.Column("nick", sa.String(10)), insert_after="name")
        with op.batch_alter_table("squad") as batch:
            batch.alter_column("name", nullable=False)

    def downgrade():
        with op.batch_alter_table("account") as batch:
            batch.drop_column("nick")
            batch.alter_column("size", type_=sa.Integer, server_default=None)
            batch.create_unique_constraint("uq_name", ["name", "team_id"])
            batch.drop_constraint("ck_name", type_="check")
        with op.batch_alter_table("squad") as batch:
            batch.alter_column("name", nullable=True)
        op.rename_table("squad", "team")
"""
PHASES = ("before-deploy", "after-deploy", "final")


def online(site: Site, revision: str = "heads", *, direction: str = "upgrade", **options: Any) -> None:
    with migrating(site) as migrate:
        getattr(migrate, direction)(None, revision, **options)


def run(url: str, text: str) -> None:
    done = run_client(url, text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def state(url: str) -> tuple[list[Any], dict[str, list[Any]]]:
    """Return what SQLite itself has of the schema, and all rows but those of our own tables.

    Of a CREATE TABLE the lines are sorted: Alembic copies constraints in any order.
    """
    with closing(sqlite3.connect(str(sa.make_url(url).database))) as connection:
        schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        names = [row[1] for row in schema if row[0] == "table" and not row[1].endswith(("_phase", "_journal"))]
        rows = {name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall() for name in names}
    kept = [row for row in schema if not row[2].endswith(("_phase", "_journal"))]
    return [(*row[:3], sorted(line.strip(" \t,") for line in str(row[3]).splitlines())) for row in kept], rows


@pytest.fixture
def sites(project: Callable[..., Site], tmp_path: Path) -> Callable[..., tuple[Site, Site]]:
    """A factory: two projects with the same revisions, one to upgrade online and one for the client."""

    def create(*bodies: str) -> tuple[Site, Site]:
        made = []
        for name in ("online", "client"):
            site = project(f"sqlite:///{tmp_path / name}.sqlite3")
            for number, body in enumerate(bodies, start=1):
                site.revision(str(number), str(number - 1) if number > 1 else None, body)
            made.append(site)
        return made[0], made[1]

    return create


def test_everything_from_the_base_up_and_down(sites: Callable[..., tuple[Site, Site]]) -> None:
    first, second = sites(FIRST, SECOND, THIRD)
    online(first)
    run(second.url, export(second))
    assert state(second.url)[0] == state(first.url)[0]
    online(first, "base", direction="downgrade")
    run(second.url, export(second, "head:base", direction="downgrade"))
    assert state(second.url) == state(first.url)


@pytest.mark.parametrize("start", ["1", "2"])
def test_a_range_starts_with_the_tables_of_its_start(sites: Callable[..., tuple[Site, Site]], start: str) -> None:
    first, second = sites(FIRST, SECOND, THIRD)
    online(first)
    online(second, start)
    run(second.url, export(second, f"{start}:head"))
    assert state(second.url) == state(first.url)
    online(first, start, direction="downgrade")
    run(second.url, export(second, f"head:{start}", direction="downgrade"))
    assert state(second.url) == state(first.url)


# The third revision waits with its parts, so that every phase has an operation that copies a table.
LATER = """
    @phased("before-deploy")
    def upgrade():
        with op.batch_alter_table("team") as batch:
            batch.alter_column("name", nullable=False, server_default="red")

    @upgrade.phase("final")
    def upgrade_final():
        with op.batch_alter_table("team") as batch:
            batch.alter_column("name", new_column_name="title")

    @phased("before-deploy")
    def downgrade():
        with op.batch_alter_table("team") as batch:
            batch.alter_column("name", nullable=True, server_default=None)

    @downgrade.phase("final")
    def downgrade_final():
        with op.batch_alter_table("team") as batch:
            batch.alter_column("title", new_column_name="name")
"""


@pytest.mark.parametrize("start", ["base", "1"])
def test_the_sql_of_each_phase_knows_the_phases_before(sites: Callable[..., tuple[Site, Site]], start: str) -> None:
    first, second = sites(FIRST, SECOND, LATER)
    if start != "base":
        online(first, start)
        online(second, start)
    texts = {phase: export(second, f"{start}:head", phase=phase) for phase in PHASES}
    for phase in PHASES:
        online(first, phase=phase)
        run(second.url, texts[phase])
        assert state(second.url) == state(first.url)
    texts = {phase: export(second, f"head:{start}", phase=phase, direction="downgrade") for phase in PHASES}
    for phase in reversed(PHASES):
        online(first, start, direction="downgrade", phase=phase)
        run(second.url, texts[phase])
        assert state(second.url) == state(first.url)


def test_a_range_from_the_database_knows_what_is_in_flight(sites: Callable[..., tuple[Site, Site]]) -> None:
    first, second = sites(FIRST, SECOND, LATER)
    for site in (first, second):
        online(site, "1")
        online(site, phase="before-deploy")
        online(site, phase="after-deploy")
    online(first, phase="final")
    run(second.url, export(second, "current:head", phase="final"))
    assert state(second.url) == state(first.url)


def test_a_merge_knows_the_tables_of_all_its_branches(project: Callable[..., Site], tmp_path: Path) -> None:
    alter = 'with op.batch_alter_table("{}") as batch:\n        batch.alter_column("x", new_column_name="y")\n'
    make = 'op.create_table("{}", sa.Column("x", sa.Integer))\n'
    urls = []
    for name in ("online", "client"):
        site = project(f"sqlite:///{tmp_path / name}.sqlite3")
        site.revision("a1", None, "def upgrade():\n    " + make.format("a"))
        site.revision("b1", None, "def upgrade():\n    " + make.format("b"), depends_on="a1")
        site.revision("b2", "b1", "def upgrade():\n    " + alter.format("a"))
        site.revision("c", ("a1", "b2"), "def upgrade():\n    " + alter.format("b"))
        if name == "online":
            online(site)
        else:
            online(site, "b2")
            run(site.url, export(site, "b2:c"))
        urls.append(site.url)
    assert state(urls[0]) == state(urls[1])


RAW = """
    def upgrade():
        op.execute("CREATE TABLE \\"odd name\\" (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, "
                   "b TEXT DEFAULT (upper('x')), CHECK (length(a) < 9), UNIQUE (a, b)) -- a; note")
        op.execute("CREATE INDEX ix_own ON \\"odd name\\" (id) WHERE b = 'x;y'")
        op.execute("CREATE TRIGGER after_it AFTER INSERT ON \\"odd name\\" BEGIN UPDATE \\"odd name\\" SET b = 1; END")
        op.execute("INSERT INTO \\"odd name\\" (a) VALUES ('one'), ('two; x')")
        op.execute("CREATE TABLE log AS SELECT id AS n, a AS word FROM \\"odd name\\"")
        op.execute("ALTER TABLE log RENAME COLUMN word TO text")
        op.execute("ALTER TABLE log RENAME TO events")
        op.execute("ALTER TABLE events ADD COLUMN more VARCHAR(7) DEFAULT 'a' NOT NULL")
        op.execute("PRAGMA user_version = 7")
        op.execute("DROP TRIGGER after_it")
"""


def test_raw_sql_is_understood(sites: Callable[..., tuple[Site, Site]]) -> None:
    change = """
        def upgrade():
            with op.batch_alter_table("odd name", table_args=[sa.CheckConstraint("id > 0")]) as batch:
                batch.alter_column("a", new_column_name="the a", nullable=False)
            with op.batch_alter_table("events", naming_convention={"uq": "uq_%(table_name)s"}) as batch:
                batch.drop_column("n")
    """
    first, second = sites(RAW, change)
    online(first)
    run(second.url, export(second))
    assert state(second.url) == state(first.url)


def test_what_only_the_applications_connections_have_is_made_up(sites: Callable[..., tuple[Site, Site]]) -> None:
    make = """
        def upgrade():
            op.execute("CREATE TABLE word (id INTEGER, a TEXT COLLATE mine, b TEXT)")
            op.execute("CREATE INDEX ix_a ON word (a, owned(id))")
            op.execute("CREATE TABLE other.word (id INTEGER)")
    """
    change = 'def upgrade():\n    with op.batch_alter_table("word") as batch:\n        batch.drop_column("b")\n'
    _, second = sites(make, change)
    with pytest.warns(sa.exc.SAWarning, match="unsupported reflection of expression-based index ix_a"):
        text = export(second)
    assert "INSERT INTO _alembic_tmp_word (id, a) SELECT word.id, word.a" in text


def test_a_batch_on_the_version_table(sites: Callable[..., tuple[Site, Site]]) -> None:
    widen = 'def upgrade():\n    with op.batch_alter_table("alembic_version") as batch:\n'
    widen += '        batch.alter_column("version_num", type_=sa.String(255), existing_type=sa.String(32))\n'
    first, second = sites(FIRST, widen)
    online(first)
    run(second.url, export(second))
    assert state(second.url) == state(first.url)
    assert "version_num VARCHAR(255)" in export(second, "1:head")


def test_batches_with_a_naming_convention(sites: Callable[..., tuple[Site, Site]]) -> None:
    change = """
        def upgrade():
            names = {"fk": "fk_%(table_name)s_%(column_0_name)s", "uq": "uq_%(table_name)s_%(column_0_name)s"}
            with op.batch_alter_table("account", naming_convention=names) as batch:
                batch.drop_constraint("fk_account_parent_id", type_="foreignkey")
                batch.create_foreign_key("fk_own", "team", ["parent_id"], ["id"], ondelete="SET NULL")
                batch.drop_constraint("uq_account_made", type_="unique")
                batch.drop_index("ix_name")
                batch.create_index("ix_new", ["name", "size"], unique=True)
    """
    first, second = sites(FIRST, change)
    online(first)
    run(second.url, export(second))
    assert state(second.url) == state(first.url)


def test_the_text_is_the_same_each_time(sites: Callable[..., tuple[Site, Site]]) -> None:
    _, second = sites(FIRST, SECOND, THIRD)
    texts = {second.flask("db", "sql", "head", env={"PYTHONHASHSEED": seed}).stdout for seed in ("1", "2", "3")}
    assert len(texts) == 1
    assert "_alembic_tmp_account" in texts.pop()


def test_the_data_has_the_copies_too(sites: Callable[..., tuple[Site, Site]]) -> None:
    first, second = sites(FIRST, SECOND, LATER)
    online(first)
    with migrating(second) as migrate:
        data = get_migrations_data(migrate.get_config())
        alone = get_migration_data(migrate.get_config(), "3")
    assert alone == data[2]
    for item in data:
        for phase in item["phases"].values():
            for step in phase["steps"]:
                run(second.url, step["script"])
    assert state(second.url) == state(first.url)


# -- what is refused ------------------------------------------------------------------------------------

DROP = 'def upgrade():\n    with op.batch_alter_table("account") as batch:\n        batch.drop_column("made")\n'


def refusal(site: Site, revision: str = "heads") -> str:
    """Return the message of an export that is refused, with file names for paths."""
    with pytest.raises(Refused) as caught:
        export(site, revision)
    return str(caught.value).replace(f"{site.versions}/", "")


def test_a_table_that_no_revision_makes_is_refused(sites: Callable[..., tuple[Site, Site]]) -> None:
    _, second = sites("def upgrade():\n    pass\n", DROP)
    assert refusal(second) == (
        "2.py, line 12: revision 2 cannot be exported as SQL: the batch operation copies table account, and its "
        "structure cannot be known without a database: no revision before makes it. Nothing was written. Give "
        "batch_alter_table() the table as it is then: copy_from=sa.Table(...)."
    )


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("ALTER TABLE account ALTER COLUMN made DROP NOT NULL", 'near "ALTER": syntax error'),
        ("SUMMON THE account", 'near "SUMMON": syntax error'),
        ("ALTER TABLE account ADD COLUMN made", "duplicate column name: made"),
    ],
)
def test_raw_sql_that_cannot_be_followed_is_refused(
    sites: Callable[..., tuple[Site, Site]], statement: str, reason: str
) -> None:
    _, second = sites(FIRST, f'def upgrade():\n    op.get_context()\n    op.execute("{statement}")\n', DROP)
    assert refusal(second) == (
        "3.py, line 12: revision 3 cannot be exported as SQL: the batch operation copies table account, and its "
        "structure cannot be known without a database: line 13 of 2.py runs what cannot be followed: "
        f"{statement} ({reason}). Nothing was written. Give batch_alter_table() the table as it is then: "
        "copy_from=sa.Table(...)."
    )


READS = 'def upgrade():\n    op.get_bind().execute(sa.text("SELECT 1")).scalar()\n'


def test_a_revision_before_that_reads_the_database_is_named(sites: Callable[..., tuple[Site, Site]]) -> None:
    _, second = sites(FIRST, READS, DROP)
    assert "2.py, line 12: revision 2 cannot be exported as SQL: it reads the database" in refusal(second, "2:head")


def test_what_is_made_anew_afterwards_is_known(sites: Callable[..., tuple[Site, Site]]) -> None:
    again = 'def upgrade():\n    op.drop_table("account")\n    op.create_table("account", sa.Column("made", sa.Date), '
    again += 'sa.Column("id", sa.Integer))\n'
    _, second = sites(FIRST, READS, again, DROP)
    assert "SELECT account.id \nFROM account" in export(second, "3:head")


def test_no_file_is_written_where_a_table_is_not_known(sites: Callable[..., tuple[Site, Site]]) -> None:
    _, second = sites("def upgrade():\n    pass\n", DROP)
    done = second.flask("db", "sql", "head", "-o", "out.sql")
    assert (done.returncode, done.stdout) == (3, "")
    assert not (second.folder / "out.sql").exists()


def test_statements_about_rows_that_fail_change_no_structure(sites: Callable[..., tuple[Site, Site]]) -> None:
    rows = 'def upgrade():\n    op.execute("UPDATE account SET unknown = f(1)")\n    op.execute("SELECT * FROM no")\n'
    _, second = sites(FIRST, rows, DROP)
    assert "_alembic_tmp_account" in export(second)


def test_a_copy_that_would_lose_a_column_fails_before_it_changes_anything(
    sites: Callable[..., tuple[Site, Site]],
) -> None:
    _, second = sites(FIRST, DROP)
    online(second, "1")
    run(second.url, "ALTER TABLE account ADD COLUMN by_hand INTEGER;")
    before = state(second.url)
    done = run_client(second.url, export(second, "1:head"))
    assert done.returncode != 0
    assert "integer overflow" in done.stderr
    assert state(second.url) == before


@pytest.mark.parametrize("enforced", [True, False])
def test_a_copy_fails_where_its_drop_would_delete_rows_of_others(
    sites: Callable[..., tuple[Site, Site]], enforced: bool
) -> None:
    change = 'def upgrade():\n    with op.batch_alter_table("team", recreate="always") as batch:\n        pass\n'
    _, second = sites(FIRST, change)
    online(second, "1")
    before = state(second.url)
    done = run_client(second.url, f"PRAGMA foreign_keys = {enforced};\n{export(second, '1:head')}")
    assert ("integer overflow" in done.stderr, done.returncode != 0) == (enforced, enforced)
    assert state(second.url)[1]["account"] == before[1]["account"]


def test_a_table_that_the_revision_gives_is_not_looked_for(sites: Callable[..., tuple[Site, Site]]) -> None:
    given = """
        def upgrade():
            table = sa.Table("legacy", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("x", sa.Integer))
            with op.batch_alter_table("legacy", copy_from=table) as batch:
                batch.drop_column("x")
    """
    after = 'def upgrade():\n    with op.batch_alter_table("legacy") as batch:\n'
    after += '        batch.alter_column("id", nullable=False)\n'
    _, second = sites(given, after)
    run(second.url, "CREATE TABLE legacy (id INTEGER, x INTEGER);")
    run(second.url, export(second))
    assert state(second.url)[1]["legacy"] == []


def test_nothing_is_replayed_where_no_table_is_copied(
    sites: Callable[..., tuple[Site, Site]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second = sites(FIRST, 'def upgrade():\n    with op.batch_alter_table("account") as batch:\n'
                      '        batch.add_column(sa.Column("mail", sa.String(9)))\n')  # fmt: skip
    monkeypatch.setattr("flask_phased_migrate.replica.Replica.__init__", None)
    assert "ALTER TABLE account ADD COLUMN mail VARCHAR(9)" in export(second)


def test_alembic_has_what_offline_batches_are_told_through() -> None:
    context = MigrationContext.configure(dialect_name="sqlite", opts={"as_sql": True})
    batch = Operations(context).batch_alter_table("account", recreate="always")
    with pytest.raises(CommandError, match="requires a live database connection"), batch as opened:
        opened.drop_column("x")
        impl = opened.impl
    assert isinstance(impl, BatchOperationsImpl)
    assert (impl._should_recreate(), impl.copy_from, impl.table_name, impl.schema) == (True, None, "account", None)
    assert impl.operations.migration_context is context
    names = [sa.UniqueConstraint("a"), sa.CheckConstraint("b")]
    assert names[0]._creation_order < names[1]._creation_order


def test_another_dialect_than_the_applications(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project("postgresql+psycopg://nobody@127.0.0.1:1/nowhere")
    site.revision("1", None, FIRST)
    site.revision("2", "1", DROP)
    run(sqlite_url, export(site, dialect="sqlite"))
    assert [row[0] for row in state(sqlite_url)[1]["account"]] == [1, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1; SELECT 2", ["SELECT 1;", "SELECT 2"]),
        ("SELECT ';' -- a;\n; x", ["SELECT ';' -- a;\n;", "x"]),
        ("CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END; y;", None),
        ("  ", []),
    ],
)
def test_a_text_is_divided_as_sqlite_divides_it(text: str, expected: list[str] | None) -> None:
    assert list(statements_in(text)) == (expected if expected is not None else [text[:-3], "y;"])


def test_a_long_text_is_divided_in_little_time() -> None:
    text = "INSERT INTO t VALUES ('" + "a;b''c" * 200_000 + "'); SELECT 2"
    assert [len(item) for item in statements_in(text)] == [len(text) - 9, 8]


def test_things_of_tables_that_no_revision_makes_leave_the_others_known(
    sites: Callable[..., tuple[Site, Site]],
) -> None:
    strange = """
        def upgrade():
            op.drop_index("ix_legacy", "legacy")
            op.create_index("ix_other", "legacy", ["x"])
            op.add_column("legacy", sa.Column("y", sa.Integer))
            op.execute("CREATE TRIGGER it AFTER INSERT ON legacy BEGIN UPDATE account SET size = 1; END")
            op.drop_table("older")
    """
    _, second = sites(FIRST, strange, DROP, DROP.replace("account", "legacy"))
    assert "_alembic_tmp_account" in export(second, "3")
    assert "table legacy, and its structure cannot be known without a database: no revision" in refusal(second)


def test_a_copy_of_an_unknown_table_before_the_range_leaves_the_others_known(
    sites: Callable[..., tuple[Site, Site]],
) -> None:
    legacy = 'def upgrade():\n    with op.batch_alter_table("legacy") as batch:\n        batch.drop_column("x")\n'
    more = legacy + '    op.rename_table("team", "squad")\n'
    change = 'def upgrade():\n    with op.batch_alter_table("squad", recreate="always") as batch:\n        pass\n'
    _, second = sites(FIRST, more, change, legacy)
    assert "SELECT squad.id, squad.name \nFROM squad" in export(second, "2:3")
    assert "table legacy, and its structure cannot be known without a database: no revision" in refusal(second, "3:4")


def test_a_table_that_may_be_there_stays_unknown(sites: Callable[..., tuple[Site, Site]]) -> None:
    doubt = 'def upgrade():\n    op.execute("ALTER TABLE account SUMMON made")\n'
    doubt += '    op.execute("CREATE TABLE IF NOT EXISTS account (id INTEGER, made DATE)")\n'
    _, second = sites(FIRST, doubt, DROP)
    assert "ALTER TABLE account SUMMON made" in refusal(second)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_copy_of_a_given_table_is_the_same_each_time(sites: Callable[..., tuple[Site, Site]], dialect: str) -> None:
    names = ", ".join(f'sa.CheckConstraint("x > {number}", name="ck_{number}")' for number in range(9))
    given = f"""
        def upgrade():
            table = sa.Table("legacy", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("x", sa.Integer), {names})
            with op.batch_alter_table("legacy", copy_from=table, recreate="always") as batch:
                batch.drop_column("id")
    """
    _, second = sites(given)
    text = export(second, dialect=dialect)
    assert [text.index(f"ck_{number}") for number in range(9)] == sorted(text.index(f"ck_{n}") for n in range(9))


def test_a_table_in_an_attached_database(sites: Callable[..., tuple[Site, Site]]) -> None:
    make = 'def upgrade():\n    op.create_table("word", sa.Column("id", sa.Integer), sa.Column("x", sa.Integer), '
    make += 'schema="other")\n'
    change = 'def upgrade():\n    with op.batch_alter_table("word", schema="other") as batch:\n'
    change += '        batch.drop_column("x")\n'
    _, second = sites(make, change)
    text = export(second)
    assert "INSERT INTO other._alembic_tmp_word (id) SELECT other.word.id" in text
    run(second.url, f"ATTACH '{second.folder / 'other.db'}' AS other;\n{text}")


@pytest.mark.parametrize("phase", [None, "final"])
def test_the_plan_of_a_run_shows_the_copies(sites: Callable[..., tuple[Site, Site]], phase: str | None) -> None:
    first, _ = sites(FIRST, SECOND, LATER)
    online(first, "1")
    if phase is not None:
        online(first, phase="before-deploy")
        online(first, phase="after-deploy")
    options = ["--phase", phase] if phase else []
    done = first.flask("db", "upgrade", "--plan", "--json", *options)
    statements = "\n".join(text for step in json.loads(done.stdout)["steps"] for text in step["statements"])
    assert "INSERT INTO _alembic_tmp_account (id, name, size, team_id, parent_id, address)" in statements
    assert "INSERT INTO _alembic_tmp_team (id, title) SELECT team.id, team.name" in statements
    assert "pragma_table_info" not in statements


def test_a_plan_shows_no_copy_of_what_is_not_known(sites: Callable[..., tuple[Site, Site]]) -> None:
    first, _ = sites(FIRST, READS, DROP)
    done = first.flask("db", "upgrade", "--plan", "--json")
    (_, (reads,), (copies,)) = (step["statements"] for step in json.loads(done.stdout)["steps"])
    assert "revision 2 cannot be exported as SQL: it reads the database" in reads
    assert "revision 3 cannot be exported as SQL: the batch operation copies table account" in copies


def made(replica: Replica) -> dict[str, str]:
    """Return what SQLite itself has of each table and index, by name."""
    rows = replica.connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {row.name: row.sql for row in rows}


def ran(replica: Replica, *statements: str) -> list[str | None]:
    """Run the statements; return the error of each."""
    return [outcome.error for text in statements for outcome in replica.run(text)]


@pytest.fixture
def crowded() -> Any:
    """Give a replica with many tables, each with an index and a reference to the one before."""
    replica = Replica("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    for number in range(1, 301):
        create = f"CREATE TABLE T_{number} (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES T_{number - 1})"
        assert ran(replica, create, f"CREATE INDEX ix_{number} ON t_{number} (parent)") == [None, None]
    yield replica
    replica.close()


def test_only_the_tables_in_use_are_in_the_way_of_a_statement(crowded: Replica):
    assert len(made(crowded)) < 100


def test_tables_out_of_use_are_there_for_whatever_names_them(crowded: Replica):
    assert ran(
        crowded,
        "ALTER TABLE t_1 ADD COLUMN name TEXT",
        "CREATE TABLE IF NOT EXISTS t_2 (other INTEGER)",
        "CREATE TABLE t_3 (other INTEGER)",
        "DROP INDEX IX_4",
        "CREATE INDEX ix_5 ON t_300 (id)",
        'DROP TABLE "T_6"',
    ) == [None, None, "table t_3 already exists", None, "index ix_5 already exists", None]

    assert [crowded.columns(f"t_{number}") for number in (1, 2, 6)] == [("id", "parent", "name"), ("id", "parent"), ()]
    assert (crowded.columns("T_7"), "ix_4" in made(crowded)) == (("id", "parent"), False)


def test_a_table_out_of_use_is_read_with_what_it_refers_to(crowded: Replica):
    table = sa.Table("T_100", sa.MetaData(), sa.Column("id", sa.Integer))
    assert crowded.columns(table.name)
    found = sa.inspect(crowded.connection)
    assert [key["referred_columns"] for key in found.get_foreign_keys("T_100")] == [["id"]]
    assert [index["name"] for index in found.get_indexes("T_100")] == ["ix_100"]


def test_references_follow_a_table_that_is_renamed(crowded: Replica):
    assert ran(crowded, "ALTER TABLE t_8 RENAME TO renamed") == [None]
    assert "renamed" in made(crowded)["T_9"]


@pytest.mark.parametrize("text", ["CREATE VIEW v AS SELECT id FROM t_1", "CREATE TEMP TABLE t_1 (other INTEGER)"])
def test_all_tables_are_there_once_a_statement_may_reach_what_it_does_not_name(crowded: Replica, text: str):
    assert ran(crowded, text, *(f"CREATE TABLE more_{number} (id INTEGER)" for number in range(100))) == [None] * 101
    assert {f"T_{number}" for number in range(1, 301)} < set(made(crowded))


def test_tables_whose_names_differ_in_letters_beyond_ascii_are_two(crowded: Replica):
    assert (
        ran(
            crowded,
            "CREATE TABLE é (one INTEGER)",
            "CREATE TABLE É (two INTEGER)",
            *(f"CREATE TABLE more_{number} (id INTEGER)" for number in range(100)),
        )
        == [None] * 102
    )
    assert (crowded.columns("é"), crowded.columns("É")) == (("one",), ("two",))
