"""Several deployers at once, as real processes: one works, the others wait for it, and nothing runs twice."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from deploys import (
    CREATE,
    Ended,
    body,
    journal,
    kind_of,
    ledger,
    logins,
    must_run,
    nowhere,
    reasons,
    run_db,
    started,
    touch,
    unless,
    until,
    version,
    wait_end,
    wait_for,
)
from support import TEMPLATE, Site, fresh_database, query, table_names

DEPLOYERS = 10

FIRST = """
@phased("before-deploy")
def upgrade():
    op.create_table("a", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("n", sa.Integer))
    op.execute("INSERT INTO a VALUES (1, 0)")

@upgrade.phase("after-deploy")
def upgrade_after():
    op.execute("UPDATE a SET n = n + 1")

@upgrade.phase("final")
def upgrade_final():
    op.execute("UPDATE a SET n = n + 10")
    op.add_column("a", sa.Column("x", sa.Integer))
"""

# Sums come to the same in any order.
SECOND = """
independent_of = ("1",)

@phased("before-deploy")
def upgrade():
    op.create_table("b", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("UPDATE a SET n = n + 100")

@upgrade.phase("final")
def upgrade_final():
    op.execute("UPDATE a SET n = n + 1000")

def downgrade():
    op.drop_table("b")
"""


@pytest.fixture
def site(project: Callable[..., Site], database_url: str) -> Site:
    """A project on each engine in turn, with five steps in two revisions; each step counts in table ``a``."""
    site = project(database_url)
    site.revision("1", None, FIRST)
    site.revision("2", "1", SECOND)
    return site


def deploy(site: Site, *arguments: str) -> list[Ended]:
    """Return how ten processes ended that were started at once."""
    processes = [site.start("db", *arguments) for _ in range(DEPLOYERS)]
    return [wait_end(process, 120) for process in processes]


def assert_one_worked(ended: Sequence[Ended]) -> None:
    """Fail unless all ended well and all but one had nothing to do."""
    assert [item.status for item in ended] == [0] * DEPLOYERS, ended
    assert sorted("Nothing to do." in item.stderr for item in ended) == [False] + [True] * (DEPLOYERS - 1), ended


# -- ten at once --------------------------------------------------------------------------------------


def test_ten_on_an_empty_database_run_each_step_once(site: Site) -> None:
    ended = deploy(site, "upgrade")
    assert_one_worked(ended)
    assert journal(site.url) == [
        ("1", "before-deploy", "upgrade", "done"),
        ("1", "after-deploy", "upgrade", "done"),
        ("1", "final", "upgrade", "done"),
        ("2", "before-deploy", "upgrade", "done"),
        ("2", "final", "upgrade", "done"),
    ]
    assert query(site.url, "SELECT n FROM a") == [(1111,)]
    assert (version(site.url), ledger(site.url)) == (["2"], [])


def test_ten_on_one_in_flight_run_each_step_that_is_left_once(site: Site) -> None:
    must_run(site, "upgrade", "--phase", "before-deploy")
    ended = deploy(site, "upgrade", "--phase", "final", "--through")
    assert_one_worked(ended)
    assert journal(site.url) == [
        ("1", "before-deploy", "upgrade", "done"),
        ("2", "before-deploy", "upgrade", "done"),
        ("1", "after-deploy", "upgrade", "done"),
        ("1", "final", "upgrade", "done"),
        ("2", "final", "upgrade", "done"),
    ]
    assert query(site.url, "SELECT n FROM a") == [(1111,)]
    assert (version(site.url), ledger(site.url)) == (["2"], [])


def test_ten_on_an_interrupted_step_go_on_with_it_once(project: Callable[..., Site], mysql_url: str) -> None:
    site = project(mysql_url)
    mended = site.folder / "mended"
    site.revision(
        "1",
        None,
        body(
            'op.create_table("a", sa.Column("n", sa.Integer))',
            'op.execute("INSERT INTO a VALUES (0)")',
            CREATE.format("b"),
            unless(mended, "raise RuntimeError('not yet')"),
            'op.execute("UPDATE a SET n = n + 1")',
        ),
    )
    assert run_db(site, "upgrade").status == 1
    mended.touch()
    ended = deploy(site, "upgrade")
    assert_one_worked(ended)
    assert [row[3] for row in journal(site.url)] == ["failed", "done"]
    assert query(site.url, "SELECT n FROM a") == [(1,)]
    assert (version(site.url), ledger(site.url)) == (["1"], [])


# -- waiting ------------------------------------------------------------------------------------------


def hold(site: Site, *after: str) -> tuple[Path, Path]:
    """Write a revision that waits in the middle; return the file that says it began, and the one that lets it go on."""
    begun, go = site.folder / "begun", site.folder / "go"
    site.revision("1", None, body(CREATE.format("a"), touch(begun), until(go), *after))
    return begun, go


def test_past_the_wait_the_holder_is_named_by_host_and_process(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url)
    begun, go = hold(site)
    with started(site, "upgrade") as holder:
        wait_for(begun.exists, "the step")
        late = run_db(site, "upgrade", "--lock-wait", "0.5")
        go.touch()
        assert wait_end(holder).status == 0
    assert (late.status, late.stdout) == (75, "")
    assert late.stderr.startswith("Error: Another runner is at work on default and did not finish within 0.5 s.")
    assert f"process {holder.pid} on {socket.gethostname()}" in late.stderr
    assert journal(site.url) == [("1", "before-deploy", "upgrade", "done")]


def test_the_holder_is_named_on_a_bind_where_it_has_not_begun(
    project: Callable[..., Site], database_url: str, tmp_path: Path
) -> None:
    # A run holds the locks of all its binds from the start.
    with fresh_database(kind_of(database_url), tmp_path) as other:
        site = project(database_url, binds={"other": other})
        begun, go = hold(site)
        site.revision("2", "1", body(CREATE.format("b")))
        with started(site, "upgrade") as holder:
            wait_for(begun.exists, "the step")
            late = run_db(site, "upgrade", "--bind", "other", "--lock-wait", "0.5")
            go.touch()
            assert wait_end(holder).status == 0
    assert late.status == 75
    assert "at work on other" in late.stderr
    assert f"process {holder.pid} on {socket.gethostname()}" in late.stderr


def test_the_wait_comes_from_the_configuration_too(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url, config={"MIGRATE_LOCK_WAIT": 0.5})
    begun, go = hold(site)
    with started(site, "upgrade") as holder:
        wait_for(begun.exists, "the step")
        late = run_db(site, "upgrade")
        go.touch()
        assert wait_end(holder).status == 0
    assert late.status == 75
    assert late.seconds < 40


def test_a_concurrent_index_is_built_at_once_while_another_deployer_waits(
    project: Callable[..., Site], postgresql_url: str
) -> None:
    site = project(postgresql_url)
    begun, go = hold(
        site,
        "with op.get_context().autocommit_block():",
        '    op.create_index("ix_a", "a", ["id"], postgresql_concurrently=True)',
    )
    with started(site, "upgrade") as holder:
        wait_for(begun.exists, "the step")
        with started(site, "upgrade", "--lock-wait", "60") as second:
            time.sleep(2)
            assert second.poll() is None
            go.touch()
            assert wait_end(holder, 10).status == 0
            assert wait_end(second, 20).status == 0
    assert query(postgresql_url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_a'::regclass") == [(True,)]
    assert journal(postgresql_url) == [("1", "before-deploy", "upgrade", "done")]


# -- a holder that is killed --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "sleep"),
    [
        ("sqlite", "time.sleep(60)"),
        ("postgresql", "time.sleep(60)"),
        ("postgresql", 'op.execute("SELECT pg_sleep(30)")'),
        ("mysql", "time.sleep(60)"),
        ("mysql", 'op.execute("SELECT SLEEP(30)")'),
    ],
)
def test_a_killed_holder_blocks_nobody(project: Callable[..., Site], tmp_path: Path, kind: str, sleep: str) -> None:
    with fresh_database(kind, tmp_path) as url:
        site = project(url)
        begun, go = site.folder / "begun", site.folder / "go"
        site.revision("1", None, body(CREATE.format("a"), touch(begun), unless(go, sleep), CREATE.format("b")))
        with started(site, "upgrade") as holder:
            wait_for(begun.exists, "the step")
            time.sleep(0.5)
            holder.kill()
            holder.wait(10)
        go.touch()
        # Ten seconds: the server may need a moment to see that its client is gone.
        following = run_db(site, "upgrade", "--lock-wait", "10")
        assert following.seconds < 25
        if following.status == 4:
            # What ran before the kill is committed, and nobody can tell whether more is.
            assert kind == "mysql"
            assert "flask db resolve 1 before-deploy --resume" in following.stderr
            must_run(site, "resolve", "1", "before-deploy", "--resume", "--reason", "looked at it")
            following = run_db(site, "upgrade", "--lock-wait", "10")
        assert following.status == 0, following
        assert {"a", "b"} <= table_names(url)
        assert (version(url), ledger(url)) == (["1"], [])


def test_a_killed_waiter_leaves_the_holder_alone(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url)
    begun, go = hold(site)
    with started(site, "upgrade") as holder:
        wait_for(begun.exists, "the step")
        with started(site, "upgrade") as waiter:
            time.sleep(3)
            waiter.kill()
            waiter.wait(10)
        go.touch()
        assert wait_end(holder).status == 0
    assert journal(database_url) == [("1", "before-deploy", "upgrade", "done")]


# -- a migration URL of its own -----------------------------------------------------------------------


def with_password(url: str, password: str) -> str:
    """Return the URL with a password that the server does not ask for; SQLite has none."""
    if kind_of(url) != "postgresql":
        return url
    return sa.make_url(url).set(password=password).render_as_string(hide_password=False)


def test_no_command_connects_to_the_application_s_url(project: Callable[..., Site], database_url: str) -> None:
    # Nothing answers there: a connection pooler that is not up yet, say.
    pooled = nowhere(database_url, "sesame-app")
    own = with_password(database_url, "sesame-own")
    site = project(pooled, config={"MIGRATE_DATABASE_URL": own})
    site.revision("1", None, FIRST)
    site.revision("2", "1", SECOND)
    said = [must_run(site, "upgrade", "--phase", "before-deploy")]
    said += [must_run(site, *command) for command in (["status"], ["ready"], ["journal"], ["current"], ["environ"])]
    said += [must_run(site, "upgrade", "--plan"), must_run(site, "upgrade"), must_run(site, "downgrade", "-1")]
    said += [must_run(site, "stamp", "2")]
    if kind_of(database_url) != "sqlite":  # there it is a file's name
        assert "sesame" not in "".join(item.stdout + item.stderr for item in said)
    assert version(database_url) == ["2"]
    assert [row[2] for row in journal(database_url)] == ["upgrade"] * 5 + ["downgrade", "stamp"]


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_the_application_s_role_needs_no_right_to_change_tables(
    project: Callable[..., Site], tmp_path: Path, kind: str
) -> None:
    with (
        fresh_database(kind, tmp_path) as url,
        logins(url, "application", "migration", ddl=["migration"]) as (application, migration),
    ):
        site = project(application.url, config={"MIGRATE_DATABASE_URL": migration.url})
        who = "current_user" if kind == "postgresql" else "substring_index(current_user(), '@', 1)"
        site.revision(
            "1",
            None,
            body(
                'op.create_table("a", sa.Column("who", sa.String(80)))',
                f'op.execute("INSERT INTO a SELECT {who}")',
            ),
        )
        site.revision("2", "1", body(CREATE.format("b"), 'op.execute("INSERT INTO nowhere VALUES (1)")'))
        said = run_db(site, "upgrade")
        assert said.status == 1
        assert reasons(url)[0][0] == "failed"
        assert query(url, "SELECT who FROM a") == [(migration.name,)]
        if kind == "postgresql":
            owners = query(url, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
            assert owners == [(migration.name,)]
        stored = str(query(url, "SELECT error, traceback FROM alembic_version_journal"))
        for secret in (application.password, migration.password):
            assert secret not in said.stdout + said.stderr + stored


def test_a_migration_url_for_each_bind(project: Callable[..., Site], database_url: str, tmp_path: Path) -> None:
    with fresh_database(kind_of(database_url), tmp_path) as other:
        site = project(
            nowhere(database_url, "sesame"),
            binds={"other": nowhere(other, "sesame")},
            config={"MIGRATE_DATABASE_URL": {"default": database_url, "other": other}},
        )
        site.revision("1", None, BOTH_BINDS)
        must_run(site, "upgrade")
        assert ({"a", "b"} & table_names(database_url), {"a", "b"} & table_names(other)) == ({"a"}, {"b"})
        assert (version(database_url), version(other)) == (["1"], ["1"])


def test_a_bind_without_a_migration_url_keeps_its_own(
    project: Callable[..., Site], database_url: str, tmp_path: Path
) -> None:
    with fresh_database(kind_of(database_url), tmp_path) as other:
        site = project(
            database_url,
            binds={"other": nowhere(other, "sesame")},
            config={"MIGRATE_DATABASE_URL": {"other": other}},
        )
        site.revision("1", None, BOTH_BINDS)
        must_run(site, "upgrade")
        assert (version(database_url), version(other)) == (["1"], ["1"])


BOTH_BINDS = """
@phased("before-deploy", bind="default")
def upgrade():
    op.create_table("a", sa.Column("id", sa.Integer, primary_key=True))

@upgrade.phase("before-deploy", bind="other")
def upgrade_other():
    op.create_table("b", sa.Column("id", sa.Integer, primary_key=True))
"""


def test_a_migration_url_for_a_bind_that_does_not_exist_is_a_mistake(
    project: Callable[..., Site], sqlite_url: str
) -> None:
    site = project(sqlite_url, config={"MIGRATE_DATABASE_URL": {"elsewhere": sqlite_url}})
    site.revision("1", None, body(CREATE.format("a")))
    ended = run_db(site, "upgrade")
    assert (ended.status, ended.stdout) == (2, "")
    assert "MIGRATE_DATABASE_URL" in ended.stderr
    assert "elsewhere" in ended.stderr


@pytest.mark.parametrize("url", ["not an url", "nosuchdatabase://user:sesame@host/name", 7])
def test_a_migration_url_that_cannot_be_read_is_a_mistake(
    project: Callable[..., Site], sqlite_url: str, url: object
) -> None:
    site = project(sqlite_url, config={"MIGRATE_DATABASE_URL": url})
    site.revision("1", None, body(CREATE.format("a")))
    ended = run_db(site, "upgrade")
    assert (ended.status, ended.stdout) == (2, "")
    assert "MIGRATE_DATABASE_URL" in ended.stderr or "nosuchdatabase" in ended.stderr
    assert "sesame" not in ended.stderr


@pytest.mark.parametrize("template", ["flask", "flask-multidb"])
def test_an_env_file_of_flask_migrate_is_led_to_the_migration_url(
    project: Callable[..., Site], database_url: str, template: str
) -> None:
    import flask_migrate

    folder = Path(flask_migrate.__file__).parent / "templates" / template
    assert folder != TEMPLATE
    site = project(nowhere(database_url, "sesame"), config={"MIGRATE_DATABASE_URL": database_url})
    (site.migrations / "env.py").write_text((folder / "env.py").read_text())
    (site.migrations / "alembic.ini").write_text((folder / "alembic.ini.mako").read_text())
    site.revision("1", None, body(CREATE.format("a")))
    must_run(site, "upgrade")
    assert version(database_url) == ["1"]


def test_a_script_operation_is_given_the_migration_url(project: Callable[..., Site], database_url: str) -> None:
    site = project(nowhere(database_url, "sesame"), config={"MIGRATE_DATABASE_URL": database_url})
    site.write(
        "migrations/tell.py",
        "import os, pathlib\npathlib.Path('told').write_text(os.environ['MIGRATE_DATABASE_URL'])\n",
    )
    site.revision("1", None, body('op.execute_script("tell.py")'))
    must_run(site, "upgrade")
    assert (site.migrations / "told").read_text() == database_url
