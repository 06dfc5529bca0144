"""DDL that meets a lock: it waits briefly, tries again within its budget, and then says who blocks it."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from deploys import (
    CREATE,
    Bystander,
    Ended,
    body,
    columns,
    count_in,
    counted,
    holding,
    journal,
    kind_of,
    later,
    ledger,
    logins,
    must_run,
    reasons,
    run_db,
    started,
    version,
    wait_end,
    wait_for,
)
from support import Site, fresh_database, query

TABLE = "CREATE TABLE a (id integer, n integer)"
READ = "SELECT count(*) FROM a"
ALTER = "ALTER TABLE a ADD COLUMN x integer"
SERVERS = pytest.mark.parametrize("kind", ["postgresql", "mysql"])
# MariaDB's lock_wait_timeout counts whole seconds.
LOCK_TIMEOUT = {"postgresql": "0.1", "mysql": "1", "sqlite": "0.1"}
READER_S = {"postgresql": 2.0, "mysql": 4.0}
WORST_S = {"postgresql": 1.0, "mysql": 2.7}


class Busy:
    """A project whose database has a table ``a`` with the row (1, 0), which others read."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.url = site.url
        self.kind = kind_of(site.url)
        query(self.url, TABLE)
        query(self.url, "INSERT INTO a VALUES (1, 0)")

    def step(self, *lines: str) -> None:
        """Write the only revision, with one step."""
        self.site.revision("1", None, body(*lines))

    def past_a_reader(self, *command: str) -> Ended:
        """Return how a command ended that met a reader who left after a while; nobody else had to wait long."""
        with (
            holding(self.url, READ) as reader,
            Bystander(self.url, READ) as bystander,
            started(self.site, *command, "--lock-timeout", LOCK_TIMEOUT[self.kind]) as run,
        ):
            wait_for(lambda: blocked(self.url) or run.poll() is not None, "the DDL to wait for the reader")
            time.sleep(READER_S[self.kind])
            assert run.poll() is None, run.communicate()
            reader.rollback()
            ended = wait_end(run)
        assert bystander.worst < WORST_S[self.kind]
        return ended


def blocked(url: str) -> bool:
    """Return whether a session waits for a table's lock at this moment."""
    if kind_of(url) == "postgresql":
        where = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    else:
        where = "information_schema.processlist WHERE db = database() AND state LIKE 'Waiting for table%'"
    return query(url, f"SELECT count(*) FROM {where}") != [(0,)]


@pytest.fixture
def busy(project: Callable[..., Site]) -> Callable[..., Busy]:
    """A factory: ``busy(url, config={...})``."""
    return lambda url, **options: Busy(project(url, **options))


def assert_retried(ended: Ended, times: int = 1) -> None:
    """Fail unless the command ended well after retries, and told of each in a line of its own."""
    assert ended.status == 0, ended
    lines = [line for line in ended.stderr.splitlines() if "retried" in line]
    assert len(lines) >= times, ended
    assert ended.stdout == ""


# -- the queue behind the DDL -------------------------------------------------------------------------

WAYS = {
    "op.execute": (f'op.execute("{ALTER}")',),
    "an operation": ('op.add_column("a", sa.Column("x", sa.Integer))',),
    "a batch": ('with op.batch_alter_table("a") as batch:', '    batch.add_column(sa.Column("x", sa.Integer))'),
    "the connection": (f'op.get_bind().execute(sa.text("{ALTER}"))',),
    "the driver": (f'op.get_bind().exec_driver_sql("/* a comment */ {ALTER}")',),
    "an autocommit block": ("with op.get_context().autocommit_block():", f'    op.execute("{ALTER}")'),
    "a DO block": (f'op.execute("DO $$ BEGIN {ALTER}; END $$")',),
}


@pytest.mark.parametrize(
    ("kind", "way"),
    [*[("postgresql", way) for way in WAYS], ("mysql", "op.execute"), ("mysql", "an operation")],
)
def test_nobody_waits_behind_ddl_for_longer_than_the_lock_timeout(
    busy: Callable[..., Busy], tmp_path: Path, kind: str, way: str
) -> None:
    with fresh_database(kind, tmp_path) as url:
        at = busy(url)
        at.step(*WAYS[way])
        assert_retried(at.past_a_reader("upgrade"))
        assert columns(url, "a") == ["id", "n", "x"]
        assert journal(url) == [("1", "before-deploy", "upgrade", "done")]
        assert (version(url), ledger(url)) == (["1"], [])


def test_by_default_nobody_waits_for_longer_than_two_seconds(busy: Callable[..., Busy], postgresql_url: str) -> None:
    at = busy(postgresql_url)
    at.step(f'op.execute("{ALTER}")')
    with holding(at.url, READ) as reader, Bystander(at.url, READ) as bystander, started(at.site, "upgrade") as run:
        wait_for(lambda: blocked(at.url), "the DDL to wait for the reader")
        time.sleep(4)
        reader.rollback()
        assert_retried(wait_end(run))
    assert 1 < bystander.worst < 3.5


@SERVERS
def test_a_downgrade_tries_again_too(busy: Callable[..., Busy], tmp_path: Path, kind: str) -> None:
    with fresh_database(kind, tmp_path) as url:
        at = busy(url)
        down = body('op.drop_column("a", "x")', direction="downgrade")
        at.site.revision("1", None, body(f'op.execute("{ALTER}")') + "\n\n" + down)
        must_run(at.site, "upgrade")
        assert_retried(at.past_a_reader("downgrade"))
        assert columns(url, "a") == ["id", "n"]
        assert version(url) == []


def test_a_writer_that_holds_the_database_of_sqlite_is_waited_for(busy: Callable[..., Busy], sqlite_url: str) -> None:
    at = busy(sqlite_url)
    at.step(f'op.execute("{ALTER}")')
    # Longer than the five seconds that Python's driver waits by itself.
    with holding(sqlite_url, "BEGIN IMMEDIATE") as writer, later(7, writer.connection.driver_connection.rollback):
        ended = run_db(at.site, "upgrade", "--lock-timeout", "0.1")
    assert ended.status == 0, ended
    assert columns(sqlite_url, "a") == ["id", "n", "x"]
    assert journal(sqlite_url) == [("1", "before-deploy", "upgrade", "done")]


# -- what is tried again ------------------------------------------------------------------------------


def test_the_whole_step_is_tried_again_where_it_is_one_transaction(
    busy: Callable[..., Busy], postgresql_url: str
) -> None:
    at = busy(postgresql_url)
    counter = at.site.folder / "attempts"
    at.step(count_in(counter), 'op.execute("UPDATE a SET n = n + 1")', CREATE.format("b"), f'op.execute("{ALTER}")')
    assert_retried(at.past_a_reader("upgrade"))
    assert counted(counter) >= 2
    assert query(postgresql_url, "SELECT n, x FROM a") == [(1, None)]


def test_the_statement_is_tried_again_where_each_is_committed(busy: Callable[..., Busy], mysql_url: str) -> None:
    at = busy(mysql_url)
    counter = at.site.folder / "attempts"
    at.step(
        count_in(counter),
        CREATE.format("b"),
        'op.execute("INSERT INTO b VALUES (1)")',
        f'op.execute("{ALTER}")',
        'op.execute("INSERT INTO b VALUES (2)")',
    )
    assert_retried(at.past_a_reader("upgrade"))
    assert counted(counter) == 1
    assert query(mysql_url, "SELECT id FROM b ORDER BY id") == [(1,), (2,)]
    assert columns(mysql_url, "a") == ["id", "n", "x"]


def test_what_an_autocommit_block_has_committed_is_not_repeated(busy: Callable[..., Busy], postgresql_url: str) -> None:
    at = busy(postgresql_url)
    query(postgresql_url, "CREATE TABLE log (id serial)")
    at.step(
        'op.execute("INSERT INTO log DEFAULT VALUES")',
        "with op.get_context().autocommit_block():",
        '    op.execute("INSERT INTO log DEFAULT VALUES")',
        f'    op.execute("{ALTER}")',
        '    op.execute("INSERT INTO log DEFAULT VALUES")',
        'op.execute("INSERT INTO log DEFAULT VALUES")',
    )
    assert_retried(at.past_a_reader("upgrade"))
    assert query(postgresql_url, "SELECT count(*) FROM log") == [(4,)]
    assert columns(postgresql_url, "a") == ["id", "n", "x"]


def test_ddl_behind_an_autocommit_block_is_tried_again_without_the_block(
    busy: Callable[..., Busy], postgresql_url: str
) -> None:
    at = busy(postgresql_url)
    query(postgresql_url, "CREATE TABLE log (id serial)")
    at.step(
        "with op.get_context().autocommit_block():",
        '    op.execute("INSERT INTO log DEFAULT VALUES")',
        'op.execute("INSERT INTO log DEFAULT VALUES")',
        f'op.execute("{ALTER}")',
    )
    assert_retried(at.past_a_reader("upgrade"))
    assert query(postgresql_url, "SELECT count(*) FROM log") == [(2,)]
    assert columns(postgresql_url, "a") == ["id", "n", "x"]
    assert (version(postgresql_url), ledger(postgresql_url)) == (["1"], [])


@SERVERS
def test_another_error_is_not_tried_again(busy: Callable[..., Busy], tmp_path: Path, kind: str) -> None:
    with fresh_database(kind, tmp_path) as url:
        at = busy(url)
        counter = at.site.folder / "attempts"
        at.step(count_in(counter), 'op.execute("ALTER TABLE nowhere ADD x integer")')
        ended = run_db(at.site, "upgrade")
        assert ended.status == 1
        assert counted(counter) == 1
        assert "retried" not in ended.stderr


@SERVERS
def test_a_body_that_catches_the_error_of_a_lock_loses_no_statement(
    busy: Callable[..., Busy], tmp_path: Path, kind: str
) -> None:
    with fresh_database(kind, tmp_path) as url:
        at = busy(url)
        at.step("try:", f'    op.execute("{ALTER}")', "except sa.exc.DBAPIError:", "    pass", CREATE.format("b"))
        assert_retried(at.past_a_reader("upgrade"))
        assert columns(url, "a") == ["id", "n", "x"]
        assert version(url) == ["1"]


@SERVERS
def test_a_body_that_catches_the_error_of_a_lock_when_the_budget_is_spent_is_not_taken_for_done(
    busy: Callable[..., Busy], tmp_path: Path, kind: str
) -> None:
    with fresh_database(kind, tmp_path) as url:
        at = busy(url)
        at.step("try:", f'    op.execute("{ALTER}")', "except sa.exc.DBAPIError:", "    pass", CREATE.format("b"))
        with holding(url, READ):
            ended = run_db(at.site, "upgrade", "--lock-timeout", LOCK_TIMEOUT[kind], "--retry-budget", "0.5")
        assert ended.status == 1, ended
        assert version(url) == []


# -- giving up ----------------------------------------------------------------------------------------


def assert_gave_up(ended: Ended, within_s: float) -> None:
    """Fail unless the step failed after at most so many seconds, and the message says how to go on."""
    assert (ended.status, ended.stdout) == (1, ""), ended
    assert "1 before-deploy failed: " in ended.stderr
    assert "flask db upgrade" in ended.stderr
    found = re.search(r"failed after ([\d.]+)s", ended.stderr)
    assert found is not None, ended
    assert float(found[1]) < within_s


@SERVERS
def test_it_gives_up_within_its_budget_and_names_who_blocks(
    busy: Callable[..., Busy], tmp_path: Path, kind: str
) -> None:
    with fresh_database(kind, tmp_path) as url, logins(url, "reporter") as (reporter,):
        at = busy(url)
        at.step(f'op.execute("{ALTER}")')
        function = "pg_backend_pid()" if kind == "postgresql" else "connection_id()"
        with holding(reporter.url, READ) as reader:
            session = reader.exec_driver_sql(f"SELECT {function}").scalar()
            ended = run_db(at.site, "upgrade", "--lock-timeout", LOCK_TIMEOUT[kind], "--retry-budget", "1.5")
        assert_gave_up(ended, 6)
        assert "retried" in ended.stderr
        assert re.search(rf"\b{session}\b", ended.stderr), ended.stderr
        assert reporter.name in ended.stderr
        assert "idle in transaction" in ended.stderr
        assert re.search(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", ended.stderr), ended.stderr
        assert reporter.password not in ended.stderr
        ((status, error),) = reasons(url)
        assert status == "failed"
        assert "timeout" in error.lower()
        assert columns(url, "a") == ["id", "n"]
        must_run(at.site, "upgrade")
        assert columns(url, "a") == ["id", "n", "x"]


@SERVERS
def test_a_statement_that_blocks_is_named_as_active(busy: Callable[..., Busy], tmp_path: Path, kind: str) -> None:
    with fresh_database(kind, tmp_path) as url, logins(url, "reporter") as (reporter,):
        at = busy(url)
        at.step(f'op.execute("{ALTER}")')
        sleep = "pg_sleep(4)" if kind == "postgresql" else "SLEEP(4)"
        with Bystander(reporter.url, f"SELECT {sleep} FROM a"):
            ended = run_db(at.site, "upgrade", "--lock-timeout", LOCK_TIMEOUT[kind], "--retry-budget", "0.5")
        assert_gave_up(ended, 5)
        assert reporter.name in ended.stderr
        assert ("active" if kind == "postgresql" else "query") in ended.stderr.lower()


def test_a_writer_that_keeps_the_database_of_sqlite_is_given_up_on(busy: Callable[..., Busy], sqlite_url: str) -> None:
    at = busy(sqlite_url)
    at.step(f'op.execute("{ALTER}")')
    with holding(sqlite_url, "BEGIN IMMEDIATE"):
        ended = run_db(at.site, "upgrade", "--lock-timeout", "0.1", "--retry-budget", "1")
    assert (ended.status, ended.stdout) == (1, "")
    assert "locked" in ended.stderr
    assert ended.seconds < 40
    must_run(at.site, "upgrade")
    assert columns(sqlite_url, "a") == ["id", "n", "x"]


@SERVERS
def test_a_budget_of_nothing_means_one_attempt(busy: Callable[..., Busy], tmp_path: Path, kind: str) -> None:
    with fresh_database(kind, tmp_path) as url:
        at = busy(url)
        at.step(f'op.execute("{ALTER}")')
        with holding(url, READ):
            ended = run_db(at.site, "upgrade", "--lock-timeout", LOCK_TIMEOUT[kind], "--retry-budget", "0")
        assert_gave_up(ended, 4)
        assert "retried" not in ended.stderr


@SERVERS
def test_a_signal_between_two_attempts_stops_the_run(busy: Callable[..., Busy], tmp_path: Path, kind: str) -> None:
    with fresh_database(kind, tmp_path) as url:
        at = busy(url)
        at.step(f'op.execute("{ALTER}")')
        with holding(url, READ), started(at.site, "upgrade", "--lock-timeout", LOCK_TIMEOUT[kind]) as run:
            wait_for(lambda: blocked(url), "the DDL to wait for the reader")
            time.sleep(2.5)
            run.send_signal(signal.SIGTERM)
            ended = wait_end(run, 12)
        assert ended.status == 130, ended
        assert journal(url) == [("1", "before-deploy", "upgrade", "interrupted")]
        must_run(at.site, "upgrade", "--lock-wait", "1")
        assert columns(url, "a") == ["id", "n", "x"]


# -- settings -----------------------------------------------------------------------------------------


def test_the_configuration_sets_timeout_and_budget(busy: Callable[..., Busy], postgresql_url: str) -> None:
    at = busy(postgresql_url, config={"MIGRATE_LOCK_TIMEOUT": 0.1, "MIGRATE_RETRY_BUDGET": 0.5})
    at.step(f'op.execute("{ALTER}")')
    with holding(postgresql_url, READ), Bystander(postgresql_url, READ) as bystander:
        assert_gave_up(run_db(at.site, "upgrade", timeout=60), 4)
    assert bystander.worst < 1


def test_an_option_wins_over_the_configuration(busy: Callable[..., Busy], postgresql_url: str) -> None:
    at = busy(postgresql_url, config={"MIGRATE_LOCK_TIMEOUT": 30, "MIGRATE_RETRY_BUDGET": 600})
    at.step(f'op.execute("{ALTER}")')
    with holding(postgresql_url, READ), Bystander(postgresql_url, READ) as bystander:
        assert_gave_up(run_db(at.site, "upgrade", "--lock-timeout", "0.1", "--retry-budget", "0.5"), 4)
    assert bystander.worst < 1


@pytest.mark.parametrize("name", ["MIGRATE_LOCK_TIMEOUT", "MIGRATE_STATEMENT_TIMEOUT", "MIGRATE_RETRY_BUDGET"])
@pytest.mark.parametrize("value", ["soon", -1])
def test_a_setting_that_is_no_number_of_seconds_is_a_mistake(
    project: Callable[..., Site], sqlite_url: str, name: str, value: object
) -> None:
    site = project(sqlite_url, config={name: value})
    site.revision("1", None, body(CREATE.format("a")))
    ended = run_db(site, "upgrade")
    assert (ended.status, ended.stdout) == (2, "")
    assert name in ended.stderr


@pytest.mark.parametrize("command", ["upgrade", "downgrade"])
@pytest.mark.parametrize("option", ["--lock-timeout", "--statement-timeout", "--retry-budget", "--lock-wait"])
def test_an_option_below_nothing_is_a_mistake(
    project: Callable[..., Site], sqlite_url: str, command: str, option: str
) -> None:
    ended = run_db(project(sqlite_url), command, option, "-1")
    assert (ended.status, ended.stdout) == (2, "")
    assert option in ended.stderr


def test_environ_shows_the_timeouts(project: Callable[..., Site], sqlite_url: str) -> None:
    said = must_run(project(sqlite_url, config={"MIGRATE_LOCK_TIMEOUT": 0.25}), "environ").stdout
    assert re.search(r"MIGRATE_LOCK_TIMEOUT\b.*\b0\.25\b", said)
    assert re.search(r"MIGRATE_RETRY_BUDGET\b.*\b60\b", said)
    assert "MIGRATE_STATEMENT_TIMEOUT" in said


# -- the statement timeout ----------------------------------------------------------------------------

SLOW = """
CREATE FUNCTION slow(given integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE
AS 'BEGIN PERFORM pg_sleep(0.1); RETURN given; END'
"""


@pytest.fixture
def slow(busy: Callable[..., Busy], postgresql_url: str) -> Busy:
    """A table of four rows, and a function that takes 0.1 s for each."""
    at = busy(postgresql_url)
    query(postgresql_url, SLOW)
    query(postgresql_url, "INSERT INTO a SELECT i, 0 FROM generate_series(2, 4) i")
    return at


def test_ddl_that_takes_longer_than_the_statement_timeout_is_stopped(slow: Busy) -> None:
    counter = slow.site.folder / "attempts"
    slow.step(count_in(counter), 'op.execute("ALTER TABLE a ALTER COLUMN n TYPE bigint USING slow(n)")')
    ended = run_db(slow.site, "upgrade", "--statement-timeout", "0.25")
    assert (ended.status, ended.stdout) == (1, "")
    assert "statement timeout" in ended.stderr
    assert counted(counter) == 1
    assert reasons(slow.url)[0][0] == "failed"
    must_run(slow.site, "upgrade")


def test_without_a_statement_timeout_ddl_takes_its_time(slow: Busy) -> None:
    slow.step('op.execute("ALTER TABLE a ALTER COLUMN n TYPE bigint USING slow(n)")')
    must_run(slow.site, "upgrade", "--lock-timeout", "0.2")


def test_statements_that_scan_or_build_are_exempt_from_the_statement_timeout(slow: Busy) -> None:
    slow.step(
        'op.execute("UPDATE a SET n = slow(1)")',
        'op.execute("INSERT INTO a SELECT slow(id), 7 FROM a")',
        'op.execute("WITH old AS (SELECT slow(7) AS n FROM a) DELETE FROM a WHERE n IN (SELECT n FROM old)")',
        'op.execute("SELECT pg_sleep(0.4)")',
        'op.execute("ALTER TABLE a ADD CONSTRAINT positive CHECK (slow(id) > 0) NOT VALID")',
        'op.execute("ALTER TABLE a VALIDATE CONSTRAINT positive")',
        'op.create_index("ix_slow", "a", [sa.text("slow(id)")])',
        'op.execute("REINDEX INDEX ix_slow")',
        'op.execute("ANALYZE a")',
        "with op.get_context().autocommit_block():",
        '    op.execute("CREATE INDEX CONCURRENTLY ix_later ON a (slow(id))")',
    )
    must_run(slow.site, "upgrade", "--statement-timeout", "0.25")
    assert query(slow.url, "SELECT bool_and(indisvalid), count(*) FROM pg_index WHERE indrelid = 'a'::regclass") == [
        (True, 2)
    ]


def test_the_statement_timeout_stops_ddl_of_mysql(busy: Callable[..., Busy], mysql_url: str) -> None:
    at = busy(mysql_url)
    query(mysql_url, "INSERT INTO a SELECT seq, 0 FROM seq_1_to_200000")
    at.step('op.execute("ALTER TABLE a ADD x varchar(200), ALGORITHM=COPY")', 'op.execute("SELECT SLEEP(0.3)")')
    ended = run_db(at.site, "upgrade", "--statement-timeout", "0.05")
    assert (ended.status, ended.stdout) == (1, "")
    assert columns(mysql_url, "a") == ["id", "n"]
    must_run(at.site, "upgrade")
    assert columns(mysql_url, "a") == ["id", "n", "x"]


def test_the_data_changes_of_mysql_are_exempt_from_the_statement_timeout(
    busy: Callable[..., Busy], mysql_url: str
) -> None:
    at = busy(mysql_url)
    at.step(
        f'op.execute("{ALTER}")', 'op.execute("UPDATE a SET n = SLEEP(0.8) + 5")', 'op.execute("SELECT SLEEP(0.8)")'
    )
    must_run(at.site, "upgrade", "--statement-timeout", "0.5")
    assert query(mysql_url, "SELECT n FROM a") == [(5,)]


# -- concurrent builds --------------------------------------------------------------------------------

BUILDS = {
    "an operation": '    op.create_index("ix", "a", ["id"], unique=True, postgresql_concurrently=True)',
    "an operation, if not exists": (
        '    op.create_index("ix", "a", ["id"], unique=True, postgresql_concurrently=True, if_not_exists=True)'
    ),
    "text": '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY ix ON a (id)")',
    "text, if not exists": '    op.execute("create unique index concurrently if not exists \\"ix\\" on public.a (id)")',
}
BLOCK = "with op.get_context().autocommit_block():"


def indexes(url: str) -> list[tuple[str, bool]]:
    """Return (name, whether it is valid) of the indexes of ``a``."""
    return query(
        url,
        "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
        "WHERE indrelid = 'a'::regclass ORDER BY 1",
    )


@pytest.mark.parametrize("build", BUILDS)
def test_an_invalid_index_of_a_failed_build_is_rebuilt(
    busy: Callable[..., Busy], postgresql_url: str, build: str
) -> None:
    at = busy(postgresql_url)
    query(postgresql_url, "INSERT INTO a VALUES (1, 5)")
    at.step(BLOCK, BUILDS[build])
    assert run_db(at.site, "upgrade").status == 1
    query(postgresql_url, "DELETE FROM a WHERE n = 5")
    must_run(at.site, "upgrade")
    assert indexes(postgresql_url) == [("ix", True)]
    assert version(postgresql_url) == ["1"]


def test_a_valid_index_is_not_rebuilt(busy: Callable[..., Busy], postgresql_url: str) -> None:
    at = busy(postgresql_url)
    query(postgresql_url, "CREATE UNIQUE INDEX ix ON a (id)")
    ((before,),) = query(postgresql_url, "SELECT 'ix'::regclass::oid::bigint")
    at.step(BLOCK, BUILDS["an operation, if not exists"])
    must_run(at.site, "upgrade")
    assert query(postgresql_url, "SELECT 'ix'::regclass::oid::bigint") == [(before,)]


def test_an_invalid_index_of_another_table_is_left_alone(busy: Callable[..., Busy], postgresql_url: str) -> None:
    # Of the same name, in another schema.
    at = busy(postgresql_url)
    query(postgresql_url, "CREATE SCHEMA beside")
    query(postgresql_url, "CREATE TABLE beside.a (id integer)")
    query(postgresql_url, "INSERT INTO beside.a VALUES (1), (1)")
    engine = sa.create_engine(postgresql_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, pytest.raises(sa.exc.IntegrityError):
        connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY ix ON beside.a (id)")
    at.step(BLOCK, BUILDS["an operation"])
    must_run(at.site, "upgrade")
    assert indexes(postgresql_url) == [("ix", True)]
    assert query(postgresql_url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'beside.ix'::regclass") == [
        (False,)
    ]


def test_a_concurrent_build_waits_for_old_transactions_as_long_as_it_takes(
    busy: Callable[..., Busy], postgresql_url: str
) -> None:
    at = busy(postgresql_url)
    at.step(BLOCK, BUILDS["text"])
    with (
        holding(postgresql_url, "INSERT INTO a VALUES (2, 0)") as writer,
        Bystander(postgresql_url, READ) as bystander,
        started(at.site, "upgrade", "--lock-timeout", "0.1", "--statement-timeout", "0.5") as run,
    ):
        wait_for(lambda: blocked(postgresql_url) or run.poll() is not None, "the build to wait for the writer")
        time.sleep(2)
        writer.commit()
        ended = wait_end(run)
    assert ended.status == 0, ended
    assert bystander.worst < 1
    assert indexes(postgresql_url) == [("ix", True)]
