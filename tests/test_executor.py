"""What runs, and what is left behind when it stops half-way, on every engine."""

from __future__ import annotations

import contextlib
import os
import signal
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support import Site, connect, fresh_database, query, table_names

from flask_phased_migrate.errors import LockHeld, Refused, ScriptFailed, StepFailed, StepInterrupted
from flask_phased_migrate.graph import Graph

BOOKKEEPING = {"alembic_version", "alembic_version_phase", "alembic_version_journal"}

CREATE = 'op.create_table("{}", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))'


class Runs:
    """One project's migrations, run in this process; ``events`` are what the last run reported."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.events: list[Any] = []

    @contextmanager
    def migrate(self) -> Iterator[Any]:
        with self.site.app() as app:
            yield app.extensions["migrate"].migrate

    def upgrade(self, *arguments: Any, **options: Any) -> Any:
        self.events = []
        with self.migrate() as migrate:
            return migrate.upgrade(None, *(arguments or ("heads",)), report=self.events.append, **options)

    def downgrade(self, *arguments: Any, **options: Any) -> Any:
        with self.migrate() as migrate:
            return migrate.downgrade(None, *arguments, **options)

    def resolve(self, revision: str, phase: str, action: str) -> None:
        with self.migrate() as migrate:
            migrate.resolve(None, revision, phase, action=action, reason="looked at it")

    def states(self) -> dict[str, dict[str, str]]:
        """Return the state of every phase that is not empty, by revision."""
        with self.migrate() as migrate:
            (bind,) = migrate.status(None)
        return {
            row.id: {phase: state for phase, state in row.phases.items() if state != "empty"} for row in bind.revisions
        }

    def journal(self) -> list[tuple[Any, ...]]:
        return query(
            self.site.url, "SELECT revision, phase, operation, status FROM alembic_version_journal ORDER BY id"
        )

    def errors(self) -> list[tuple[str, str]]:
        return query(
            self.site.url, "SELECT error, traceback FROM alembic_version_journal WHERE error IS NOT NULL ORDER BY id"
        )

    def ledger(self) -> list[tuple[Any, ...]]:
        return query(
            self.site.url, "SELECT revision, phase, status, statement FROM alembic_version_phase ORDER BY 1, 2"
        )

    def version(self) -> list[str]:
        return sorted(row[0] for row in query(self.site.url, "SELECT version_num FROM alembic_version"))

    def tables(self) -> set[str]:
        return table_names(self.site.url) - BOOKKEEPING


@pytest.fixture
def runs(project: Callable[..., Site], database_url: str) -> Runs:
    """A project on each engine in turn."""
    return Runs(project(database_url))


@pytest.fixture
def on_sqlite(project: Callable[..., Site], sqlite_url: str) -> Runs:
    return Runs(project(sqlite_url))


@pytest.fixture
def on_postgresql(project: Callable[..., Site], postgresql_url: str) -> Runs:
    return Runs(project(postgresql_url))


@pytest.fixture
def on_mysql(project: Callable[..., Site], mysql_url: str) -> Runs:
    return Runs(project(mysql_url))


@pytest.fixture(params=["psycopg", "psycopg2"])
def on_both_psycopgs(request: pytest.FixtureRequest, project: Callable[..., Site], postgresql_url: str) -> Runs:
    pytest.importorskip(request.param)
    return Runs(project(postgresql_url.replace("+psycopg:", f"+{request.param}:")))


@pytest.fixture(params=["sqlite", "postgresql"])
def transactional(request: pytest.FixtureRequest, project: Callable[..., Site], tmp_path: Path) -> Iterator[Runs]:
    """A project on each engine that rolls DDL back, in turn."""
    with fresh_database(request.param, tmp_path) as url:
        yield Runs(project(url))


def body(*lines: str, phase: str = "before-deploy") -> str:
    """Return an ``upgrade`` of one phase with these lines."""
    block = textwrap.indent("\n".join(lines), "    ")
    return f'@phased("{phase}")\ndef upgrade():\n{block}\n'


def mend(path: Path, old: str, new: str) -> None:
    """Replace text in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new) + "# mended\n")


# -- one transaction a step ---------------------------------------------------------------------------


def test_a_failing_step_leaves_what_was_before_it_and_nothing_of_itself(transactional: Runs) -> None:
    site = transactional.site
    site.revision("1", None, body(CREATE.format("a"), 'op.execute("INSERT INTO a VALUES (1)")'))
    broken = site.revision("2", "1", body(CREATE.format("b"), 'op.execute("INSERT INTO nowhere VALUES (1)")'))
    with pytest.raises(StepFailed) as caught:
        transactional.upgrade()
    assert "Nothing of this step is left in the database." in str(caught.value)
    assert transactional.tables() == {"a"}
    assert transactional.version() == ["1"]
    assert transactional.ledger() == []
    assert transactional.states()["2"] == {"before-deploy": "failed"}
    assert transactional.journal() == [
        ("1", "before-deploy", "upgrade", "done"),
        ("2", "before-deploy", "upgrade", "failed"),
    ]
    mend(broken, "INSERT INTO nowhere", "INSERT INTO b")
    transactional.upgrade()
    assert (transactional.tables(), transactional.version()) == ({"a", "b"}, ["2"])


def test_a_failure_is_journalled_with_its_error_and_traceback(runs: Runs) -> None:
    path = runs.site.revision("1", None, body('raise RuntimeError("no good")'))
    with pytest.raises(StepFailed):
        runs.upgrade()
    ((error, traceback),) = runs.errors()
    assert error == "no good"
    assert f'File "{path}", line' in traceback
    assert traceback.endswith("builtins.RuntimeError: no good")


@pytest.mark.parametrize("text", ['it\'s "quoted" `text`', "naïve 😀 𠜎", "100% %s %(x)s {y} \\ :z", "two\nlines\ttab"])
def test_the_error_text_is_stored_exactly(runs: Runs, text: str) -> None:
    runs.site.revision("1", None, body(f"raise RuntimeError({text!r})"))
    with pytest.raises(StepFailed):
        runs.upgrade()
    ((error, traceback),) = runs.errors()
    assert error == text
    assert traceback.endswith(f"builtins.RuntimeError: {text}")


@pytest.mark.parametrize(
    ("text", "stored"), [("a\x00b", "a\\x00b"), ("a\udc80b", "a\\udc80b")], ids=["NUL", "surrogate"]
)
def test_characters_that_no_database_takes_are_spelled_out(runs: Runs, text: str, stored: str) -> None:
    runs.site.revision("1", None, body(f"raise RuntimeError({text!r})"))
    with pytest.raises(StepFailed):
        runs.upgrade()
    assert runs.errors()[0][0] == stored
    assert runs.journal() == [("1", "before-deploy", "upgrade", "failed")]


def test_sys_exit_in_a_revision_is_a_failure(runs: Runs) -> None:
    runs.site.revision("1", None, "import sys\n" + body('sys.exit("leaving")'))
    with pytest.raises(StepFailed, match="SystemExit leaving"):
        runs.upgrade()
    assert runs.journal() == [("1", "before-deploy", "upgrade", "failed")]


def test_a_keyboard_interrupt_is_recorded_and_raised_again(runs: Runs) -> None:
    runs.site.revision("1", None, body("raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        runs.upgrade()
    assert runs.journal() == [("1", "before-deploy", "upgrade", "interrupted")]
    assert runs.states()["1"] == {"before-deploy": "interrupted"}


def test_an_interrupt_in_the_middle_of_a_statement_is_recorded(runs: Runs) -> None:
    # psycopg2 and mysqlclient look at a signal only when the server has answered: hence seconds, not minutes.
    kind = sa.make_url(runs.site.url).get_backend_name()
    sleep = {
        "sqlite": "time.sleep(30)",
        "postgresql": 'op.execute("SELECT pg_sleep(6)")',
        "mysql": 'op.execute("SELECT SLEEP(6)")',
    }[kind]
    started = runs.site.folder / "started"
    runs.site.revision(
        "1", None, "import pathlib, time\n" + body(CREATE.format("a"), f"pathlib.Path({str(started)!r}).touch()", sleep)
    )
    process = runs.site.start("db", "upgrade")
    wait_for(started.exists)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=20)
    assert process.returncode == 130, output
    assert "Traceback" not in output[1]
    assert runs.journal() == [("1", "before-deploy", "upgrade", "interrupted")]
    assert runs.ledger() == ([("1", "before-deploy", "failed", 1)] if kind == "mysql" else [])


def test_a_failure_of_the_connection_itself_is_journalled(on_postgresql: Runs) -> None:
    on_postgresql.site.revision(
        "1", None, body(CREATE.format("a"), 'op.execute("SELECT pg_terminate_backend(pg_backend_pid())")')
    )
    with pytest.raises(StepFailed):
        on_postgresql.upgrade()
    assert on_postgresql.journal() == [("1", "before-deploy", "upgrade", "failed")]
    assert on_postgresql.tables() == set()


def test_a_connection_that_mysql_kills_is_journalled(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(CREATE.format("a"), "op.execute(f\"KILL {op.get_bind().scalar(sa.text('SELECT CONNECTION_ID()'))}\")"),
    )
    with pytest.raises(StepFailed):
        on_mysql.upgrade()
    assert on_mysql.journal() == [("1", "before-deploy", "upgrade", "failed")]
    # The server did not answer, so what became of the second operation is not known.
    assert on_mysql.ledger() == [("1", "before-deploy", "running", 1)]


def test_the_events_of_a_run_count_its_steps(runs: Runs) -> None:
    runs.site.revision("1", None, body(CREATE.format("a")))
    runs.site.revision("2", "1", body(CREATE.format("b"), phase="final"))
    runs.upgrade()
    assert [(item.kind, item.step.revision, item.number, item.total) for item in runs.events] == [
        ("began", "1", 1, 2),
        ("done", "1", 1, 2),
        ("began", "2", 2, 2),
        ("done", "2", 2, 2),
    ]


@pytest.mark.parametrize("error", [ValueError("a listener"), KeyboardInterrupt()])
def test_an_error_after_the_last_commit_of_a_step_leaves_no_trace_of_the_next(
    on_postgresql: Runs, error: BaseException
) -> None:
    on_postgresql.site.revision("1", None, body(CREATE.format("a")))
    on_postgresql.site.revision("2", "1", body(CREATE.format("b")))
    looking = raised = False

    def listen(_connection: sa.Connection) -> None:
        nonlocal looking, raised
        if raised or looking:
            return
        looking = True
        raised = "a" in on_postgresql.tables()
        looking = False
        if raised:
            raise error

    with on_postgresql.migrate() as migrate:
        sa.event.listen(sa.Engine, "commit", listen)
        try:
            with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else StepFailed):
                migrate.upgrade(None, "heads")
        finally:
            sa.event.remove(sa.Engine, "commit", listen)
    assert on_postgresql.journal() == [
        ("1", "before-deploy", "upgrade", "done"),
        ("2", "before-deploy", "upgrade", "interrupted"),
    ]
    assert (on_postgresql.version(), on_postgresql.tables()) == (["1"], {"a"})
    on_postgresql.upgrade()
    assert on_postgresql.states() == {"2": {"before-deploy": "done"}, "1": {"before-deploy": "done"}}


# -- engines that commit every DDL statement ----------------------------------------------------------


def test_mysql_goes_on_after_the_operations_that_are_committed(on_mysql: Runs) -> None:
    broken = on_mysql.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            'op.execute("INSERT INTO a VALUES (1)")',
            CREATE.format("b"),
            'op.execute("INSERT INTO a VALUES (2)")',
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match="Its first 3 operations are committed"):
        on_mysql.upgrade()
    assert on_mysql.ledger() == [("1", "before-deploy", "failed", 3)]
    assert on_mysql.states() == {"1": {"before-deploy": "failed"}}
    query(on_mysql.site.url, "CREATE TABLE nowhere (id integer)")
    on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT id FROM a ORDER BY id") == [(1,), (2,)]
    assert (on_mysql.version(), on_mysql.ledger()) == (["1"], [])
    assert broken.exists()


def test_mysql_counts_an_operation_of_several_statements_as_one(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(
            'op.create_table("a", sa.Column("id", sa.Integer, primary_key=True),'
            ' sa.Column("x", sa.Integer, index=True),'
            ' sa.Column("y", sa.Integer, index=True))',
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match="Its first operation is committed"):
        on_mysql.upgrade()
    assert on_mysql.ledger() == [("1", "before-deploy", "failed", 1)]


def test_mysql_leaves_nothing_when_the_first_statement_fails(on_mysql: Runs) -> None:
    broken = on_mysql.site.revision(
        "1", None, body('op.execute("ALTER TABLE nowhere ADD x integer")', CREATE.format("a"))
    )
    with pytest.raises(StepFailed, match="Nothing of this step is left"):
        on_mysql.upgrade()
    assert (on_mysql.ledger(), on_mysql.tables()) == ([], set())
    mend(broken, "ALTER TABLE nowhere ADD x integer", "SELECT 1")
    on_mysql.upgrade()
    assert (on_mysql.version(), on_mysql.tables()) == (["1"], {"a"})


def test_mysql_rolls_back_the_data_changes_after_the_last_commit(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"), 'op.execute("INSERT INTO a VALUES (1)")', 'op.execute("INSERT INTO nowhere VALUES (1)")'
        ),
    )
    with pytest.raises(StepFailed):
        on_mysql.upgrade()
    assert on_mysql.ledger() == [("1", "before-deploy", "failed", 1)]
    assert query(on_mysql.site.url, "SELECT * FROM a") == []


def test_mysql_goes_on_in_the_middle_of_an_operation(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            'op.create_table("b", sa.Column("x", sa.Integer), sa.Column("y", sa.Integer),'
            ' sa.Index("twice", "x"), sa.Index("twice", "y"))',
        ),
    )
    for _ in range(2):
        with pytest.raises(StepFailed, match="Of the operation after that 2 statements took effect"):
            on_mysql.upgrade()
        assert on_mysql.ledger() == [("1", "before-deploy", "failed", 1)]
    query(on_mysql.site.url, "ALTER TABLE b DROP INDEX twice")
    on_mysql.upgrade()
    assert on_mysql.version() == ["1"]


def test_mysql_does_not_go_on_after_a_statement_that_the_body_sent_by_itself(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            'op.get_bind().execute(sa.text("INSERT INTO a VALUES (1)"))',
            CREATE.format("b"),
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match="Part of it is in the database"):
        on_mysql.upgrade()
    with pytest.raises(StepInterrupted):
        on_mysql.upgrade()


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("resume", ({"a", "b"}, ["1"])),
        ("mark-done", ({"a"}, ["1"])),
    ],
)
def test_an_edited_step_waits_for_resolve(on_mysql: Runs, action: str, expected: tuple[set[str], list[str]]) -> None:
    broken = on_mysql.site.revision("1", None, body(CREATE.format("a"), 'op.execute("INSERT INTO nowhere VALUES (1)")'))
    with pytest.raises(StepFailed):
        on_mysql.upgrade()
    mend(broken, 'op.execute("INSERT INTO nowhere VALUES (1)")', CREATE.format("b"))
    with pytest.raises(StepInterrupted, match="flask db resolve 1 before-deploy --resume"):
        on_mysql.upgrade()
    on_mysql.resolve("1", "before-deploy", action)
    on_mysql.upgrade()
    assert (on_mysql.tables(), on_mysql.version()) == expected


def test_resolve_can_restart_an_edited_step(on_mysql: Runs) -> None:
    broken = on_mysql.site.revision("1", None, body(CREATE.format("a"), 'op.execute("INSERT INTO nowhere VALUES (1)")'))
    with pytest.raises(StepFailed):
        on_mysql.upgrade()
    mend(broken, "INSERT INTO nowhere VALUES (1)", "SELECT 1")
    query(on_mysql.site.url, "DROP TABLE a")
    on_mysql.resolve("1", "before-deploy", "restart")
    on_mysql.upgrade()
    assert (on_mysql.tables(), on_mysql.version(), on_mysql.ledger()) == ({"a"}, ["1"], [])


def test_a_step_that_is_resumed_and_fails_again_keeps_its_place(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(CREATE.format("a"), CREATE.format("b"), 'op.execute("INSERT INTO nowhere VALUES (1)")'),
    )
    for _ in range(2):
        with pytest.raises(StepFailed, match="Its first 2 operations are committed"):
            on_mysql.upgrade()
    assert on_mysql.ledger() == [("1", "before-deploy", "failed", 2)]


def test_a_custom_operation_that_invokes_others_is_passed_over_as_one(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        "from alembic.operations import MigrateOperation, Operations\n"
        + textwrap.dedent("""
            if not hasattr(Operations, "create_pair"):
                @Operations.register_operation("create_pair")
                class CreatePair(MigrateOperation):
                    @classmethod
                    def create_pair(cls, operations):
                        return operations.invoke(cls())

                @Operations.implementation_for(CreatePair)
                def create_pair(operations, operation):
                    operations.execute("CREATE TABLE first (id integer)")
                    operations.execute("CREATE TABLE second (id integer)")

        """)
        + body("op.create_pair()", CREATE.format("third"), 'op.execute("INSERT INTO nowhere VALUES (1)")'),
    )
    with pytest.raises(StepFailed, match="Its first 2 operations are committed"):
        on_mysql.upgrade()
    query(on_mysql.site.url, "CREATE TABLE nowhere (id integer)")
    on_mysql.upgrade()
    assert on_mysql.tables() == {"first", "second", "third", "nowhere"}
    assert query(on_mysql.site.url, "SELECT * FROM nowhere") == [(1,)]


def test_a_session_setting_is_repeated_when_a_step_is_resumed(on_mysql: Runs) -> None:
    on_mysql.site.revision("1", None, body(
        CREATE.format("parent"),
        'op.create_table("child", sa.Column("id", sa.Integer, primary_key=True),'
        ' sa.Column("p", sa.Integer, sa.ForeignKey("parent.id")))',
    ))  # fmt: skip
    on_mysql.site.revision("2", "1", body(
        'op.execute("SET FOREIGN_KEY_CHECKS=0")',
        'op.add_column("child", sa.Column("x", sa.Integer))',
        'op.execute("INSERT INTO nowhere VALUES (1)")',
        'op.execute("INSERT INTO child (id, p) VALUES (1, 99)")',
    ))  # fmt: skip
    with pytest.raises(StepFailed, match="Its first 2 operations are committed"):
        on_mysql.upgrade()
    query(on_mysql.site.url, "CREATE TABLE nowhere (id integer)")
    on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT id, p FROM child") == [(1, 99)]


def test_a_killed_runner_has_written_down_how_far_the_step_is(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        "import os, signal\n"
        + body(
            CREATE.format("a"),
            'op.execute("INSERT INTO a VALUES (1)")',
            CREATE.format("b"),
            'os.environ.get("KILL") and os.kill(os.getpid(), signal.SIGKILL)',
            'op.execute("INSERT INTO a VALUES (2)")',
        ),
    )
    assert on_mysql.site.flask("db", "upgrade", env={"KILL": "1"}).returncode == -signal.SIGKILL
    assert on_mysql.ledger() == [("1", "before-deploy", "running", 2)]
    assert on_mysql.states()["1"] == {"before-deploy": "interrupted"}
    on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT id FROM a ORDER BY id") == [(1,), (2,)]


def test_a_runner_killed_in_a_transaction_leaves_a_simple_rerun(transactional: Runs) -> None:
    broken = transactional.site.revision(
        "1", None, "import os, signal\n" + body(CREATE.format("a"), "os.kill(os.getpid(), signal.SIGKILL)")
    )
    assert transactional.site.flask("db", "upgrade").returncode == -signal.SIGKILL
    assert (transactional.tables(), transactional.ledger()) == (set(), [])
    assert transactional.states()["1"] == {"before-deploy": "interrupted"}
    mend(broken, "os.kill(os.getpid(), signal.SIGKILL)", "pass")
    transactional.upgrade()
    assert (transactional.tables(), transactional.version()) == ({"a"}, ["1"])


def test_a_half_undone_step_goes_on_as_a_downgrade_alone(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(CREATE.format("a"), CREATE.format("b"))
        + "@phased('before-deploy')\ndef downgrade():\n    op.drop_table('b')\n    op.execute('DROP TABLE nowhere')\n",
    )
    on_mysql.upgrade()
    with pytest.raises(StepFailed, match="Its first operation is committed; the next run goes on after that"):
        on_mysql.downgrade("base")
    assert on_mysql.ledger() == [("1", "before-deploy", "half-undone", 1)]
    with pytest.raises(StepInterrupted):
        on_mysql.upgrade()
    query(on_mysql.site.url, "CREATE TABLE nowhere (id integer)")
    on_mysql.downgrade("base")
    assert (on_mysql.ledger(), on_mysql.version()) == ([], [])


def test_a_step_whose_undoing_failed_at_once_is_still_done(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(CREATE.format("a")) + "@phased('before-deploy')\ndef downgrade():\n    op.execute('DROP TABLE b')\n",
    )
    on_mysql.upgrade()
    with pytest.raises(StepFailed, match="Nothing of this step"):
        on_mysql.downgrade("base")
    assert (on_mysql.version(), on_mysql.ledger()) == ([], [("1", "before-deploy", "done", 0)])
    on_mysql.upgrade()
    assert on_mysql.version() == ["1"]


def test_a_generator_is_resumed_inside_its_segment(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        """
        @phased("before-deploy", "final")
        def upgrade():
            first = op.create_table("a", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))
            op.bulk_insert(first, [{"id": 1}])
            yield
            second = op.create_table("b", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))
            op.bulk_insert(second, [{"id": 1}])
            op.execute("INSERT INTO nowhere VALUES (1)")
            op.bulk_insert(first, [{"id": 2}])
        """,
    )
    with pytest.raises(StepFailed, match="Its first operation is committed"):
        on_mysql.upgrade()
    assert on_mysql.ledger() == [("1", "before-deploy", "done", 0), ("1", "final", "failed", 1)]
    query(on_mysql.site.url, "CREATE TABLE nowhere (id integer)")
    on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT id FROM a ORDER BY id") == [(1,), (2,)]
    assert query(on_mysql.site.url, "SELECT id FROM b") == [(1,)]


def test_a_batch_block_is_one_operation_with_what_is_inside_it(on_mysql: Runs) -> None:
    on_mysql.site.revision("1", None, body(CREATE.format("a")))
    on_mysql.site.revision(
        "2",
        "1",
        body(
            'with op.batch_alter_table("a") as batch:',
            '    op.execute("INSERT INTO a VALUES (1)")',
            '    batch.add_column(sa.Column("x", sa.Integer))',
            '    batch.add_column(sa.Column("y", sa.Integer))',
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match="Its first operation is committed"):
        on_mysql.upgrade()
    query(on_mysql.site.url, "CREATE TABLE nowhere (id integer)")
    on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT id, x, y FROM a") == [(1, None, None)]
    assert query(on_mysql.site.url, "SELECT * FROM nowhere") == [(1,)]


def test_an_operation_after_its_ddl_is_committed_with_it(on_mysql: Runs) -> None:
    on_mysql.site.revision("1", None, body(
        "from alembic.operations import Operations",
        CREATE.format("a"),
        'with op.batch_alter_table("a") as batch:',
        '    op.execute("ALTER TABLE a ADD x integer")',
        '    op.execute("INSERT INTO a VALUES (1, 2)")',
        'op.execute("INSERT INTO nowhere VALUES (1)")',
    ))  # fmt: skip
    with pytest.raises(StepFailed, match="Its first 2 operations are committed"):
        on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT * FROM a") == [(1, 2)]


def test_an_application_in_autocommit_mode_is_resumed_too(project: Callable[..., Site], postgresql_url: str) -> None:
    runs = Runs(project(postgresql_url, config={"SQLALCHEMY_ENGINE_OPTIONS": {"isolation_level": "AUTOCOMMIT"}}))
    runs.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"), 'op.execute("INSERT INTO a VALUES (1)")', 'op.execute("INSERT INTO nowhere VALUES (1)")'
        ),
    )
    with pytest.raises(StepFailed, match="Its first 2 operations are committed"):
        runs.upgrade()
    query(postgresql_url, "CREATE TABLE nowhere (id integer)")
    runs.upgrade()
    assert query(postgresql_url, "SELECT * FROM a") == [(1,)]
    assert (runs.version(), runs.ledger()) == (["1"], [])


def test_sqlite_in_autocommit_mode_still_has_a_transaction_a_step(
    project: Callable[..., Site], sqlite_url: str
) -> None:
    runs = Runs(project(sqlite_url, config={"SQLALCHEMY_ENGINE_OPTIONS": {"isolation_level": "AUTOCOMMIT"}}))
    runs.site.revision("1", None, body(CREATE.format("a"), 'op.execute("INSERT INTO nowhere VALUES (1)")'))
    with pytest.raises(StepFailed, match="Nothing of this step is left"):
        runs.upgrade()
    assert (runs.tables(), runs.ledger()) == (set(), [])


def test_a_database_in_memory_survives_a_failed_step(project: Callable[..., Site]) -> None:
    site = project("sqlite://")
    site.revision("1", None, body(CREATE.format("a")))
    broken = site.revision("2", "1", body('raise RuntimeError("stop")'))
    with site.app() as app:
        migrate, engine = app.extensions["migrate"].migrate, app.extensions["migrate"].db.engine
        with pytest.raises(StepFailed):
            migrate.upgrade(None)
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).all() == [("1",)]
        mend(broken, 'raise RuntimeError("stop")', CREATE.format("b"))
        migrate.upgrade(None)
        assert "b" in sa.inspect(engine).get_table_names()


def test_a_bind_that_fails_leaves_the_binds_before_it_done(
    project: Callable[..., Site], sqlite_url: str, tmp_path: Path
) -> None:
    with fresh_database("sqlite", tmp_path) as other:
        runs = Runs(project(sqlite_url, binds={"other": other}))
        broken = runs.site.revision("1", None, """
            @phased("before-deploy", bind="default")
            def upgrade():
                op.create_table("a", sa.Column("id", sa.Integer))
            @upgrade.phase("before-deploy", bind="other")
            def upgrade_other():
                op.create_table("b", sa.Column("id", sa.Integer))
                op.execute("INSERT INTO nowhere VALUES (1)")
        """)  # fmt: skip
        with pytest.raises(StepFailed, match="other: 1 before-deploy failed"):
            runs.upgrade()
        assert (runs.tables(), runs.version()) == ({"a"}, ["1"])
        assert table_names(other) - BOOKKEEPING == set()
        mend(broken, "INSERT INTO nowhere VALUES (1)", "INSERT INTO b VALUES (1)")
        runs.upgrade()
        assert query(other, "SELECT version_num FROM alembic_version") == [("1",)]


def test_a_long_error_is_cut_in_the_middle(on_sqlite: Runs) -> None:
    on_sqlite.site.revision("1", None, body('raise RuntimeError("a" * 50_000 + "b" * 50_000)'))
    with pytest.raises(StepFailed):
        on_sqlite.upgrade()
    assert on_sqlite.errors()[0][0] == "a" * 30_000 + "\n[... 40000 characters cut ...]\n" + "b" * 30_000


def test_a_lost_move_of_the_version_table_is_made_up_by_the_next_run(runs: Runs) -> None:
    runs.site.revision("1", None, body(CREATE.format("a")))
    runs.upgrade(phase="before-deploy")
    assert (runs.version(), runs.ledger()) == ([], [("1", "before-deploy", "done", 0)])
    runs.upgrade()
    assert (runs.version(), runs.ledger()) == (["1"], [])
    assert runs.journal() == [("1", "before-deploy", "upgrade", "done")]


def test_the_ledger_says_when_the_step_began_and_ended(runs: Runs) -> None:
    runs.site.revision("1", None, "import time\n" + body(CREATE.format("a"), "time.sleep(0.3)"))
    runs.upgrade(phase="before-deploy")
    with connect(runs.site.url) as connection:
        columns = sa.column("started_at", sa.DateTime), sa.column("finished_at", sa.DateTime)
        ((began, ended),) = connection.execute(sa.select(*columns).select_from(sa.table("alembic_version_phase")))
    assert 0.3 <= (ended - began).total_seconds() < 30


# -- autocommit ---------------------------------------------------------------------------------------

CONCURRENTLY = (
    "with op.get_context().autocommit_block():",
    '    op.execute("CREATE INDEX CONCURRENTLY ix_a ON a (id)")',
)


def test_an_autocommit_block_works_in_the_middle_of_a_step(on_both_psycopgs: Runs) -> None:
    on_both_psycopgs.site.revision(
        "1", None, body(CREATE.format("a"), *CONCURRENTLY, 'op.execute("INSERT INTO a VALUES (1)")')
    )
    on_both_psycopgs.upgrade(phase="before-deploy")
    assert query(on_both_psycopgs.site.url, "SELECT * FROM a") == [(1,)]
    assert on_both_psycopgs.ledger() == [("1", "before-deploy", "done", 0)]


def test_a_failure_after_an_autocommit_block_is_resumed_after_it(on_both_psycopgs: Runs) -> None:
    on_both_psycopgs.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            *CONCURRENTLY,
            'op.execute("INSERT INTO a VALUES (1)")',
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match="Its first 2 operations are committed"):
        on_both_psycopgs.upgrade()
    assert on_both_psycopgs.ledger() == [("1", "before-deploy", "failed", 2)]
    assert query(on_both_psycopgs.site.url, "SELECT * FROM a") == []
    query(on_both_psycopgs.site.url, "CREATE TABLE nowhere (id integer)")
    on_both_psycopgs.upgrade()
    assert query(on_both_psycopgs.site.url, "SELECT * FROM a") == [(1,)]


def test_a_failure_inside_an_autocommit_block_is_resumed_at_its_statement(on_both_psycopgs: Runs) -> None:
    on_both_psycopgs.site.revision(
        "1", None, body(CREATE.format("a"), *CONCURRENTLY, '    op.execute("INSERT INTO nowhere VALUES (1)")')
    )
    with pytest.raises(StepFailed, match="Its first 2 operations are committed"):
        on_both_psycopgs.upgrade()
    query(on_both_psycopgs.site.url, "CREATE TABLE nowhere (id integer)")
    on_both_psycopgs.upgrade()
    assert query(on_both_psycopgs.site.url, "SELECT * FROM nowhere") == [(1,)]
    assert on_both_psycopgs.version() == ["1"]


def test_a_select_with_an_effect_in_an_autocommit_block_is_not_repeated(on_postgresql: Runs) -> None:
    query(on_postgresql.site.url, "CREATE SEQUENCE numbers")
    on_postgresql.site.revision(
        "1",
        None,
        body(
            "with op.get_context().autocommit_block():",
            """    op.execute("SELECT nextval('numbers')")""",
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match="Its first operation is committed"):
        on_postgresql.upgrade()
    query(on_postgresql.site.url, "CREATE TABLE nowhere (id integer)")
    on_postgresql.upgrade()
    assert query(on_postgresql.site.url, "SELECT last_value FROM numbers") == [(1,)]


def test_an_autocommit_block_that_fails_first_leaves_what_was_committed_before_it(runs: Runs) -> None:
    runs.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            "with op.get_context().autocommit_block():",
            '    op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match="Its first operation is committed"):
        runs.upgrade()
    assert (runs.tables(), runs.ledger()) == ({"a"}, [("1", "before-deploy", "failed", 1)])


def test_a_body_that_executes_commit_is_resumed_after_it(on_both_psycopgs: Runs) -> None:
    on_both_psycopgs.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            'op.execute("COMMIT")',
            CREATE.format("b"),
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match=r"Its first (operation is|\d operations are) committed"):
        on_both_psycopgs.upgrade()
    assert "a" in on_both_psycopgs.tables()
    query(on_both_psycopgs.site.url, "CREATE TABLE nowhere (id integer)")
    on_both_psycopgs.upgrade()
    assert on_both_psycopgs.tables() == {"a", "b", "nowhere"}
    assert on_both_psycopgs.version() == ["1"]


def test_what_follows_a_commit_of_the_body_is_committed_too(runs: Runs) -> None:
    runs.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"), "op.get_bind().commit()", CREATE.format("b"), 'op.execute("INSERT INTO b VALUES (1)")'
        ),
    )
    runs.upgrade()
    assert (runs.version(), runs.ledger()) == (["1"], [])
    assert query(runs.site.url, "SELECT * FROM b") == [(1,)]


def test_a_failure_after_a_commit_of_the_body_does_not_pretend_to_have_left_nothing(transactional: Runs) -> None:
    transactional.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            "op.get_bind().commit()",
            CREATE.format("b"),
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match="Its first operation is committed"):
        transactional.upgrade()
    assert (transactional.tables(), transactional.ledger()) == ({"a"}, [("1", "before-deploy", "failed", 1)])


def test_a_resumed_body_that_reads_the_database_waits_for_resolve(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(
            'rows = op.get_bind().execute(sa.text("SELECT 1")).all()',
            CREATE.format("a"),
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed):
        on_mysql.upgrade()
    with pytest.raises(StepInterrupted, match="reads the database"):
        on_mysql.upgrade()
    assert on_mysql.ledger() == [("1", "before-deploy", "failed", 1)]


# -- SQLite -------------------------------------------------------------------------------------------

ENFORCE = """
    from sqlalchemy import event, Engine

    @event.listens_for(Engine, "connect")
    def enforce(connection, record):
        connection.execute("PRAGMA foreign_keys=ON")
"""

FAMILY = (
    CREATE.format("parent"),
    'op.create_table("child", sa.Column("id", sa.Integer, primary_key=True),'
    ' sa.Column("p", sa.Integer, sa.ForeignKey("parent.id", ondelete="CASCADE")))',
    'op.execute("INSERT INTO parent VALUES (1)")',
    'op.execute("INSERT INTO child VALUES (1, 1)")',
)

RECREATE = (
    'with op.batch_alter_table("parent", recreate="always") as batch:',
    '    batch.add_column(sa.Column("x", sa.Integer))',
)


@pytest.fixture
def enforcing(project: Callable[..., Site], sqlite_url: str) -> Iterator[Runs]:
    """A project on SQLite whose application turns foreign keys on."""
    more = """
        from sqlalchemy import event

        with app.app_context():
            @event.listens_for(db.engine, "connect")
            def enforce(connection, record):
                connection.execute("PRAGMA foreign_keys=ON")
    """
    yield Runs(project(sqlite_url, more=more))


@pytest.mark.parametrize(
    "pragma", ["PRAGMA foreign_keys=OFF", "pragma main.foreign_keys = 0", "PRAGMA foreign_keys(off)"]
)
def test_a_recreated_parent_keeps_its_children_where_the_body_turns_foreign_keys_off(
    enforcing: Runs, pragma: str
) -> None:
    enforcing.site.revision("1", None, body(*FAMILY))
    enforcing.site.revision(
        "2", "1", body(f'op.execute("{pragma}")', *RECREATE, 'op.execute("PRAGMA foreign_keys=ON")')
    )
    enforcing.upgrade()
    assert query(enforcing.site.url, "SELECT * FROM child") == [(1, 1)]
    assert query(enforcing.site.url, "SELECT id, x FROM parent") == [(1, None)]


def test_a_batch_that_failed_after_the_pragma_left_nothing_and_its_rerun_keeps_the_children(enforcing: Runs) -> None:
    enforcing.site.revision("1", None, body(*FAMILY))
    enforcing.site.revision(
        "2",
        "1",
        body('op.execute("PRAGMA foreign_keys=OFF")', *RECREATE, 'op.execute("INSERT INTO nowhere VALUES (1)")'),
    )
    with pytest.raises(StepFailed):
        enforcing.upgrade()
    assert enforcing.tables() == {"parent", "child"}
    query(enforcing.site.url, "CREATE TABLE nowhere (id integer)")
    enforcing.upgrade()
    assert query(enforcing.site.url, "SELECT * FROM child") == [(1, 1)]
    assert enforcing.version() == ["2"]


def test_a_failed_step_gives_no_session_without_foreign_keys_back_to_the_application(enforcing: Runs) -> None:
    enforcing.site.revision("1", None, body('op.execute("PRAGMA foreign_keys=OFF")', 'raise RuntimeError("stop")'))
    with enforcing.site.app() as app:
        migrate = app.extensions["migrate"]
        with pytest.raises(StepFailed):
            migrate.migrate.upgrade(None)
        with migrate.db.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


# -- the version table --------------------------------------------------------------------------------


def test_a_merge_of_heads_of_which_one_depends_on_another_can_be_run(runs: Runs) -> None:
    runs.site.revision("r0", None, body(CREATE.format("t0")))
    runs.site.revision("a", "r0", body(CREATE.format("ta")))
    runs.site.revision("b", "r0", body(CREATE.format("tb")), depends_on="a")
    runs.site.revision("c", "r0", body(CREATE.format("tc"), phase="final"))
    runs.site.revision("m", ("a", "b", "c"), body(CREATE.format("tm")))
    runs.upgrade("heads")
    assert (runs.version(), runs.tables()) == (["m"], {"t0", "ta", "tb", "tc", "tm"})


def test_empty_revisions_are_passed_by_a_later_phase_in_one_transaction(runs: Runs) -> None:
    runs.site.revision("1", None, body("pass"))
    runs.site.revision("2", "1", body("pass"))
    runs.upgrade(phase="final")
    assert runs.version() == ["2"]
    assert [(item.kind, item.step.revision) for item in runs.events] == [("passed", "1"), ("passed", "2")]


def test_the_version_callbacks_of_env_py_are_called(runs: Runs) -> None:
    env = runs.site.migrations / "env.py"
    env.write_text(
        env.read_text().replace(
            "return {}",
            "return {'on_version_apply': [note]}",
        )
        + "\n"
    )
    mend(
        env,
        "def options(bind):",
        "def note(ctx, step, heads, run_args, **others):\n"
        "    with open('CALLS', 'a') as file:\n"
        "        print(step.up_revision_id, step.is_upgrade, sorted(heads), file=file)\n\n\n"
        "def options(bind):".replace("CALLS", str(runs.site.folder / "calls")),
    )
    runs.site.revision("1", None, body(CREATE.format("a")) + "@upgrade.phase('final')\ndef last():\n    op.f('x')\n")
    runs.site.revision("2", "1", body(CREATE.format("b")))
    runs.upgrade(phase="before-deploy")
    assert not (runs.site.folder / "calls").exists()
    runs.upgrade(phase="final", through=True)
    assert (runs.site.folder / "calls").read_text() == "1 True ['1']\n2 True ['2']\n"


def test_a_version_table_that_somebody_else_moved_stops_the_step(transactional: Runs) -> None:
    transactional.site.revision("1", None, body(CREATE.format("a")))
    transactional.upgrade()
    transactional.site.revision("2", "1", body(CREATE.format("b"), 'op.execute("DELETE FROM alembic_version")'))
    with pytest.raises(StepFailed, match="changed by somebody else"):
        transactional.upgrade()
    assert (transactional.version(), transactional.tables()) == (["1"], {"a"})


def test_what_a_body_sets_for_its_transaction_is_not_set_for_the_next(on_postgresql: Runs) -> None:
    level = "op.execute(\"INSERT INTO a (name) SELECT current_setting('transaction_isolation')\")"
    on_postgresql.site.revision("1", None, body('op.execute("CREATE TABLE a (name text)")'))
    on_postgresql.site.revision("2", "1", body('op.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")', level))
    on_postgresql.site.revision("3", "2", body(level))
    on_postgresql.upgrade()
    assert query(on_postgresql.site.url, "SELECT name FROM a") == [("serializable",), ("read committed",)]


# -- downgrades -----------------------------------------------------------------------------------------

THERE_AND_BACK = """
    @phased("before-deploy")
    def upgrade():
        op.create_table("a{0}", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))

    @upgrade.phase("final")
    def upgrade_final():
        op.create_table("f{0}", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))

    @phased("before-deploy")
    def downgrade():
        op.drop_table("a{0}")

    @downgrade.phase("final")
    def downgrade_final():
        op.drop_table("f{0}")
"""


def test_a_downgrade_by_phase_takes_revisions_out_of_the_version_table_first(runs: Runs) -> None:
    runs.site.revision("1", None, THERE_AND_BACK.format(1))
    runs.site.revision("2", "1", THERE_AND_BACK.format(2))
    runs.upgrade()
    runs.downgrade("base", phase="final")
    assert (runs.tables(), runs.version()) == ({"a1", "a2"}, [])
    assert runs.ledger() == [("1", "before-deploy", "done", 0), ("2", "before-deploy", "done", 0)]
    runs.downgrade("base", phase="before-deploy")
    assert (runs.tables(), runs.version(), runs.ledger()) == (set(), [], [])
    runs.upgrade()
    assert (runs.tables(), runs.version()) == ({"a1", "f1", "a2", "f2"}, ["2"])


def test_a_downgrade_of_more_revisions_walks_the_graph_no_more_often(on_sqlite: Runs, monkeypatch) -> None:
    for number in range(1, 13):
        on_sqlite.site.revision(str(number), str(number - 1) if number > 1 else None, THERE_AND_BACK.format(number))
    on_sqlite.upgrade()
    walks: list[int] = []
    closure = Graph.closure

    def counted_closure(graph: Graph, ids: Any) -> frozenset[str]:
        walks[-1] += 1
        return closure(graph, ids)

    monkeypatch.setattr(Graph, "closure", counted_closure)
    for target in ("10", "base"):
        walks.append(0)
        on_sqlite.downgrade(target)
    assert (on_sqlite.version(), walks[0]) == ([], walks[1])


def test_a_plain_downgrade_undoes_what_is_recorded(runs: Runs) -> None:
    runs.site.revision("1", None, THERE_AND_BACK.format(1))
    runs.site.revision("2", "1", THERE_AND_BACK.format(2))
    runs.upgrade("1")
    runs.upgrade(phase="before-deploy")
    assert runs.tables() == {"a1", "f1", "a2"}
    runs.downgrade("base")
    assert (runs.tables(), runs.version(), runs.ledger()) == (set(), [], [])


def test_a_step_that_cannot_be_undone_is_as_if_nothing_had_been_tried(transactional: Runs) -> None:
    transactional.site.revision("1", None, THERE_AND_BACK.format(1))
    broken = transactional.site.revision("2", "1", THERE_AND_BACK.format(2))
    transactional.upgrade()
    mend(broken, 'op.drop_table("f2")', 'op.drop_table("f2")\n    op.drop_table("nowhere")')
    with pytest.raises(StepFailed, match="Nothing of this step is left"):
        transactional.downgrade("base")
    assert (transactional.version(), transactional.ledger()) == (["2"], [])
    assert transactional.tables() == {"a1", "f1", "a2", "f2"}
    assert transactional.journal()[-1] == ("2", "final", "downgrade", "failed")


def test_a_merge_is_undone_to_all_its_parents(runs: Runs) -> None:
    runs.site.revision("1", None, THERE_AND_BACK.format(1))
    runs.site.revision("2a", "1", THERE_AND_BACK.format("2a"))
    runs.site.revision("2b", "1", THERE_AND_BACK.format("2b"))
    runs.site.revision("3", ("2a", "2b"), THERE_AND_BACK.format(3))
    runs.upgrade("heads")
    runs.downgrade("2a")
    assert runs.version() == ["2a", "2b"]
    runs.downgrade("base")
    assert (runs.tables(), runs.version(), runs.ledger()) == (set(), [], [])


# -- scripts ------------------------------------------------------------------------------------------


def test_a_script_gets_its_arguments_folder_and_environment(runs: Runs) -> None:
    runs.site.write(
        "migrations/scripts/show.py",
        """
        import os, sys
        print(sys.argv[1:], os.getcwd())
        for name in ("BIND", "REVISION", "PHASE", "DIRECTION"):
            print(os.environ["MIGRATE_" + name])
        print(os.environ["MIGRATE_DATABASE_URL"], file=sys.stderr)
        """,
    )
    runs.site.revision("1", None, body('op.execute_script("scripts/show.py", args=("a b", 2))', phase="after-deploy"))
    runs.upgrade()
    said = {item.detail.partition("?")[0] for item in runs.events if item.kind == "output"}
    assert said == {
        f"['a b', '2'] {runs.site.migrations}",
        "default",
        "1",
        "after-deploy",
        "upgrade",
        runs.site.url,
    }


def test_output_is_reported_line_by_line_as_it_comes(on_sqlite: Runs) -> None:
    on_sqlite.site.write(
        "migrations/slow.py", "import time\nprint('one', flush=True)\ntime.sleep(1)\nprint('naïve', end='')\n"
    )
    on_sqlite.site.revision("1", None, body('execute_script("slow.py")'))
    moments: dict[str, float] = {}
    with on_sqlite.migrate() as migrate:
        migrate.upgrade(None, report=lambda event: moments.setdefault(event.detail or event.kind, time.monotonic()))
    assert list(moments) == ["began", "one", "naïve", "done"]
    assert moments["naïve"] - moments["one"] > 0.5


def test_a_failed_script_is_run_again_and_what_came_before_it_is_not(runs: Runs) -> None:
    runs.site.write(
        "migrations/fix.sh",
        "echo run >> runs.txt\ntest -f mended || { echo broken: no file >&2; exit 3; }\n",
    )
    runs.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            'op.execute("INSERT INTO a VALUES (1)")',
            'op.execute_script("fix.sh")',
            'op.execute("INSERT INTO a VALUES (2)")',
        ),
    )
    with pytest.raises(StepFailed, match=r"fix.sh ended with status 3\. Its last words: broken: no file") as caught:
        runs.upgrade()
    assert isinstance(caught.value.__cause__, ScriptFailed)
    assert caught.value.__cause__.returncode == 3
    assert "Its first 2 operations are committed" in str(caught.value)
    assert query(runs.site.url, "SELECT id FROM a") == [(1,)]
    assert runs.ledger() == [("1", "before-deploy", "failed", 2)]
    (runs.site.migrations / "mended").touch()
    runs.upgrade()
    assert query(runs.site.url, "SELECT id FROM a ORDER BY id") == [(1,), (2,)]
    assert (runs.site.migrations / "runs.txt").read_text() == "run\nrun\n"


def test_a_script_that_succeeded_is_not_run_again(runs: Runs) -> None:
    runs.site.write("migrations/fix.sh", "echo run >> runs.txt\n")
    runs.site.revision("1", None, body('op.execute_script("fix.sh")', 'op.execute("INSERT INTO nowhere VALUES (1)")'))
    with pytest.raises(StepFailed, match="Its first operation is committed"):
        runs.upgrade()
    query(runs.site.url, "CREATE TABLE nowhere (id integer)")
    runs.upgrade()
    assert (runs.site.migrations / "runs.txt").read_text() == "run\n"
    assert query(runs.site.url, "SELECT * FROM nowhere") == [(1,)]


def test_a_runner_killed_after_a_script_has_recorded_that_it_succeeded(runs: Runs) -> None:
    runs.site.write("migrations/fix.sh", "echo run >> runs.txt\n")
    runs.site.revision(
        "1",
        None,
        "import os, signal\n" + body('op.execute_script("fix.sh")', "os.kill(os.getpid(), signal.SIGKILL)"),
    )
    assert runs.site.flask("db", "upgrade").returncode == -signal.SIGKILL
    assert runs.ledger() == [("1", "before-deploy", "running", 1)]


def test_a_script_can_write_to_the_database_itself(runs: Runs) -> None:
    runs.site.write(
        "migrations/fill.py",
        """
        import os, sqlalchemy as sa
        engine = sa.create_engine(os.environ["MIGRATE_DATABASE_URL"])
        with engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO a VALUES (7)"))
        engine.dispose()
        """,
    )
    runs.site.revision("1", None, body(CREATE.format("a"), 'op.execute_script("fill.py")'))
    runs.upgrade()
    assert query(runs.site.url, "SELECT * FROM a") == [(7,)]


def test_a_timeout_kills_the_script_and_the_children_it_left(on_sqlite: Runs) -> None:
    on_sqlite.site.write("migrations/hang.sh", "sleep 60 &\necho $! > child.pid\nsleep 60\n")
    on_sqlite.site.revision("1", None, body('op.execute_script("hang.sh", timeout=1)'))
    began = time.monotonic()
    with pytest.raises(StepFailed, match="took longer than its timeout of 1 s and was killed"):
        on_sqlite.upgrade()
    assert time.monotonic() - began < 20
    assert not is_alive(int((on_sqlite.site.migrations / "child.pid").read_text()))


def test_a_timeout_holds_for_a_script_that_ended_and_left_a_child_with_its_output(on_sqlite: Runs) -> None:
    on_sqlite.site.write("migrations/leave.sh", "sleep 60 &\necho $! > child.pid\n")
    on_sqlite.site.revision("1", None, body('op.execute_script("leave.sh", timeout=1)'))
    with pytest.raises(StepFailed, match="took longer than its timeout"):
        on_sqlite.upgrade()
    assert not is_alive(int((on_sqlite.site.migrations / "child.pid").read_text()))


def test_a_timeout_does_not_wait_for_a_child_that_left_the_process_group(on_sqlite: Runs) -> None:
    on_sqlite.site.write(
        "migrations/escape.py",
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(15)'], start_new_session=True)\n"
        "import time; time.sleep(15)\n",
    )
    on_sqlite.site.revision("1", None, body('op.execute_script("escape.py", timeout=1)'))
    began = time.monotonic()
    with pytest.raises(StepFailed, match="took longer than its timeout"):
        on_sqlite.upgrade()
    assert time.monotonic() - began < 10


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for yet does not."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../outside.sh", "must be relative to"),
        ("/bin/true", "must be relative to"),
        ("link.sh", "must be relative to"),
        ("missing.sh", "there is no file"),
        ("scripts", "there is no file"),
        ("a\nb.sh", "must be relative to"),
    ],
)
def test_a_script_outside_the_migrations_folder_is_refused(on_sqlite: Runs, path: str, words: str) -> None:
    outside = on_sqlite.site.write("outside.sh", "touch ran\n")
    (on_sqlite.site.migrations / "link.sh").symlink_to(outside)
    (on_sqlite.site.migrations / "scripts").mkdir()
    on_sqlite.site.revision("1", None, body(CREATE.format("a"), f"op.execute_script({path!r})"))
    with pytest.raises(Refused, match=words):
        on_sqlite.upgrade()
    assert on_sqlite.tables() == set()
    assert not (on_sqlite.site.folder / "ran").exists()


def test_a_script_without_an_interpreter_names_what_is_missing(on_sqlite: Runs) -> None:
    on_sqlite.site.write("migrations/tool", "#!/bin/sh\necho hello\n")
    on_sqlite.site.revision("1", None, body('op.execute_script("tool")'))
    with pytest.raises(StepFailed, match=r"cannot be started: Permission denied\. Give it an ending"):
        on_sqlite.upgrade()
    (on_sqlite.site.migrations / "tool").chmod(0o755)
    on_sqlite.upgrade()
    assert "hello" in [item.detail for item in on_sqlite.events]


def test_an_interrupt_kills_the_script(on_sqlite: Runs) -> None:
    on_sqlite.site.write("migrations/hang.sh", "echo $$ > own.pid\necho ready\nsleep 60\n")
    on_sqlite.site.revision("1", None, body('op.execute_script("hang.sh")'))

    def report(event: Any) -> None:
        if event.kind == "output":
            raise KeyboardInterrupt

    with on_sqlite.migrate() as migrate, pytest.raises(KeyboardInterrupt):
        migrate.upgrade(None, report=report)
    assert not is_alive(int((on_sqlite.site.migrations / "own.pid").read_text()))
    assert on_sqlite.states()["1"] == {"before-deploy": "interrupted"}


# -- one runner at a time -----------------------------------------------------------------------------

WAITING = "import pathlib, time\n" + body(
    CREATE.format("a"),
    "pathlib.Path('STARTED').touch()",
    "while not pathlib.Path('GO').exists():",
    "    time.sleep(0.05)",
)


def start_holder(runs: Runs) -> Any:
    """Start a runner in another process; return it once it is in the middle of its step."""
    text = WAITING.replace("STARTED", str(runs.site.folder / "started")).replace("GO", str(runs.site.folder / "go"))
    runs.site.revision("1", None, text)
    process = runs.site.start("db", "upgrade")
    wait_for(lambda: (runs.site.folder / "started").exists())
    return process


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def test_a_second_runner_waits_and_then_finds_nothing_to_do(runs: Runs) -> None:
    holder = start_holder(runs)
    second = runs.site.start("db", "upgrade", "--lock-wait", "60")
    time.sleep(2)
    assert second.poll() is None, second.communicate()
    (runs.site.folder / "go").touch()
    assert holder.wait(60) == 0, holder.communicate()
    assert second.wait(60) == 0, second.communicate()
    assert runs.journal() == [("1", "before-deploy", "upgrade", "done")]
    for process in (holder, second):
        process.communicate()


def test_past_the_wait_the_holder_is_named(runs: Runs) -> None:
    holder = start_holder(runs)
    try:
        with pytest.raises(LockHeld, match=f"process {holder.pid} on "):
            runs.upgrade(lock_wait_s=0.5)
    finally:
        (runs.site.folder / "go").touch()
        holder.communicate(timeout=60)
    assert holder.returncode == 0


def test_a_killed_holder_blocks_nobody(runs: Runs) -> None:
    holder = start_holder(runs)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate(timeout=60)
    (runs.site.folder / "go").touch()
    runs.upgrade(lock_wait_s=20)
    assert (runs.version(), runs.tables()) == (["1"], {"a"})


def test_a_pool_of_one_connection_is_enough(project: Callable[..., Site], postgresql_url: str) -> None:
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
    runs = Runs(project(postgresql_url, config={"SQLALCHEMY_ENGINE_OPTIONS": options}))
    runs.site.revision("1", None, body(CREATE.format("a")))
    runs.upgrade()
    assert runs.tables() == {"a"}


def test_two_paths_to_one_sqlite_file_share_the_lock(on_sqlite: Runs) -> None:
    holder = start_holder(on_sqlite)
    path = Path(sa.make_url(on_sqlite.site.url).database or "")
    link = path.with_name("link.sqlite3")
    link.symlink_to(path)
    try:
        application = on_sqlite.site.folder / "app.py"
        application.write_text(application.read_text().replace(str(path), str(link)))
        with pytest.raises(LockHeld):
            on_sqlite.upgrade(lock_wait_s=0.2)
    finally:
        (on_sqlite.site.folder / "go").touch()
        holder.communicate(timeout=60)


# -- secrets ------------------------------------------------------------------------------------------


def test_no_bound_parameter_reaches_the_journal(runs: Runs) -> None:
    runs.site.revision(
        "1",
        None,
        body(
            'op.create_table("a", sa.Column("mail", sa.String(40), unique=True, nullable=False))',
            "for _ in range(2):",
            '    op.get_bind().execute(sa.text("INSERT INTO a VALUES (:mail)"), {"mail": "ann@secret.example"})',
        ),
    )
    with pytest.raises(StepFailed) as caught:
        runs.upgrade()
    ((error, traceback),) = runs.errors()
    for text in (error, traceback, str(caught.value)):
        assert "INSERT INTO a VALUES" in text
        assert "secret.example" not in text


@pytest.mark.parametrize("password", ["s3cret-word", "p@ss/w0rd:x", "ünï"])
def test_no_password_of_the_database_url_reaches_the_journal(
    project: Callable[..., Site], sqlite_url: str, password: str
) -> None:
    runs = Runs(project(sqlite_url))
    url = sa.URL.create("postgresql", "ann", password, "db.example", 5432, "x")
    runs.site.revision(
        "1",
        None,
        body(
            f"raise RuntimeError({'cannot reach ' + url.render_as_string(hide_password=False)!r}"
            f" + ' or postgresql://ann:{password}@db.example/x')"
        ),
    )
    with pytest.raises(StepFailed) as caught:
        runs.upgrade()
    ((error, traceback),) = runs.errors()
    for text in (error, traceback, str(caught.value)):
        assert "cannot reach postgresql://ann:***@db.example:5432/x or postgresql://ann:***@db.example/x" in text
        assert password not in text


def test_a_script_that_prints_the_databases_password_does_not_bring_it_into_the_journal(
    project: Callable[..., Site], postgresql_url: str
) -> None:
    url = sa.make_url(postgresql_url).set(password="s3cret-word")
    runs = Runs(project(url.render_as_string(hide_password=False)))
    runs.site.write("migrations/show.sh", "echo password is s3cret-word\nexit 1\n")
    runs.site.revision("1", None, body('op.execute_script("show.sh")'))
    with pytest.raises(StepFailed):
        runs.upgrade()
    ((error, traceback),) = runs.errors()
    assert error == "The script show.sh ended with status 1. Its last words: password is ***"
    assert "s3cret-word" not in traceback


HALF_UNDONE = body(CREATE.format("a"), CREATE.format("b")) + (
    '\n\n@phased("before-deploy")\ndef downgrade():\n    op.drop_table("b")\n    op.execute("DROP TABLE nowhere")\n'
)


@pytest.mark.parametrize(
    ("action", "ledger", "version"),
    [
        ("restart", [("1", "before-deploy", "done", 0)], []),
        ("mark-done", [], []),
        ("resume", [("1", "before-deploy", "half-undone", 1)], []),
    ],
)
def test_a_half_undone_step_is_settled_as_a_downgrade(
    on_mysql: Runs, action: str, ledger: list[tuple[object, ...]], version: list[str]
) -> None:
    on_mysql.site.revision("1", None, HALF_UNDONE)
    on_mysql.upgrade()
    with pytest.raises(StepFailed, match="Its first operation is committed"), on_mysql.site.app() as app:
        app.extensions["migrate"].migrate.downgrade(revision="base")
    on_mysql.resolve("1", "before-deploy", action)
    assert (on_mysql.ledger(), on_mysql.version()) == (ledger, version)


def test_an_operation_that_fails_and_is_caught_makes_the_place_unknown(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(
            "op.create_table('a', sa.Column('n', sa.Integer))",
            "op.execute('INSERT INTO a VALUES (0)')",
            "try:\n    op.execute('DROP TABLE nowhere')\nexcept Exception:\n    pass",
            "op.execute('UPDATE a SET n = n + 1')",
            "op.execute('ALTER TABLE nowhere ADD x INTEGER')",
        ),
    )
    with pytest.raises(StepFailed, match="Part of it is in the database"):
        on_mysql.upgrade()
    with pytest.raises(StepInterrupted):
        on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT n FROM a") == [(1,)]


def test_set_statement_of_mariadb_is_no_session_setting(on_mysql: Runs) -> None:
    on_mysql.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            "op.execute('INSERT INTO a VALUES (0)')",
            "op.execute('SET STATEMENT max_statement_time=10 FOR UPDATE a SET id = id + 1')",
            CREATE.format("b"),
            "op.execute('INSERT INTO nowhere VALUES (1)')",
        ),
    )
    for _ in range(2):
        with pytest.raises((StepFailed, StepInterrupted)):
            on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT id FROM a") == [(1,)]


def test_a_commit_inside_a_text_is_not_run_twice(project: Callable[..., Site], postgresql_url: str) -> None:
    site = project(postgresql_url)
    site.revision("1", None, body("op.execute('CREATE TABLE a (n INTEGER)')", "op.execute('INSERT INTO a VALUES (0)')"))
    site.revision("2", "1", body("op.execute('UPDATE a SET n = n + 1; COMMIT')", "op.execute('SELECT * FROM nowhere')"))
    with site.app() as app:
        migrate = app.extensions["migrate"].migrate
        for _ in range(2):
            with pytest.raises((StepFailed, StepInterrupted)):
                migrate.upgrade()
    assert query(site.url, "SELECT n FROM a") == [(1,)]


def test_an_undivided_downgrade_that_fails_can_be_completed_again(on_mysql: Runs) -> None:
    phases = body(CREATE.format("a")) + (
        '\n\n@upgrade.phase("final")\ndef upgrade_final():\n    op.execute("INSERT INTO a VALUES (1)")\n'
    )
    on_mysql.site.revision("1", None, phases + '\n\ndef downgrade():\n    op.execute("DROP TABLE nowhere")\n')
    on_mysql.upgrade()
    with pytest.raises(StepFailed), on_mysql.site.app() as app:
        app.extensions["migrate"].migrate.downgrade(revision="base")
    on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT id FROM a") == [(1,)]
    assert (on_mysql.version(), on_mysql.ledger()) == (["1"], [])


def test_a_changed_constant_of_the_file_stops_a_resume(on_mysql: Runs) -> None:
    texts = ["CREATE TABLE a (n INTEGER)", "INSERT INTO nowhere VALUES (1)"]
    loop = '@phased("before-deploy")\ndef upgrade():\n    for text in TEXTS:\n        op.execute(text)\n'
    on_mysql.site.revision("1", None, f"TEXTS = {texts!r}\n\n{loop}")
    with pytest.raises(StepFailed):
        on_mysql.upgrade()
    on_mysql.site.revision("1", None, f"TEXTS = {['CREATE TABLE b (n INTEGER)', *texts]!r}\n\n{loop}")
    with pytest.raises(StepInterrupted, match="the revision file was changed since"):
        on_mysql.upgrade()


def test_a_downgrade_undoes_only_what_stands_on_its_target(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url)
    for line in "ab":
        for number, down in ((1, None), (2, f"{line}1")):
            undo = f'@phased("before-deploy")\ndef downgrade():\n    op.execute("DROP TABLE {line}{number}")\n'
            make = body(f'op.execute("CREATE TABLE {line}{number} (id INTEGER)")')
            site.revision(f"{line}{number}", down, f"{make}\n\n{undo}", labels=f"line_{line}" if down is None else None)
    with site.app() as app:
        migrate = app.extensions["migrate"].migrate
        migrate.upgrade(revision="a2")
        migrate.upgrade(revision="b1")
        migrate.downgrade(revision="a1")
        migrate.upgrade(revision="heads", phase="before-deploy")
        migrate.downgrade(revision="a1")
        assert {"a1", "b1", "b2"} <= table_names(site.url)
        assert "a2" not in table_names(site.url)
        migrate.downgrade(revision="line_b@base")
    assert {"a1"} == table_names(site.url) - {"alembic_version", "alembic_version_phase", "alembic_version_journal"}


def test_a_caught_error_and_a_rollback_leave_nothing(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url)
    path = site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            "try:\n    op.execute('DROP TABLE nowhere')\nexcept Exception:\n    pass",
            CREATE.format("b"),
            "op.execute('INSERT INTO nowhere VALUES (1)')",
        ),
    )
    with site.app() as app:
        with pytest.raises(StepFailed, match="Nothing of this step is left"):
            app.extensions["migrate"].migrate.upgrade()
        mend(path, "INSERT INTO nowhere VALUES (1)", "INSERT INTO a VALUES (1)")
        app.extensions["migrate"].migrate.upgrade()
    assert {"a", "b"} <= table_names(site.url)


def test_a_resumed_step_that_commits_by_itself_and_fails_is_not_repeated(
    project: Callable[..., Site], postgresql_url: str
) -> None:
    site = project(postgresql_url)
    block = "with op.get_context().autocommit_block():\n    op.execute('CREATE TABLE a (n INTEGER)')\n"
    block += "    op.execute('INSERT INTO a VALUES (0)')"
    own = "if op.get_bind().execute(sa.text('SELECT count(*) FROM a')).scalar():\n"
    own += "    op.get_bind().execute(sa.text('UPDATE a SET n = n + 1; COMMIT'))"
    site.revision(
        "1", None, body(block, "op.execute('SELECT * FROM gate')", own, "op.execute('SELECT * FROM nowhere')")
    )
    with site.app() as app:
        migrate = app.extensions["migrate"].migrate
        with pytest.raises(StepFailed):
            migrate.upgrade()
        query(site.url, "CREATE TABLE gate (n INTEGER)")
        for _ in range(2):
            with pytest.raises((StepFailed, StepInterrupted)):
                migrate.upgrade()
    assert query(site.url, "SELECT n FROM a") == [(1,)]


def test_a_commit_through_the_driver_makes_the_place_unknown(transactional: Runs) -> None:
    broken = transactional.site.revision(
        "1",
        None,
        body(
            CREATE.format("a"),
            'op.execute("INSERT INTO a VALUES (1)")',
            "op.get_bind().connection.driver_connection.commit()",
            'op.execute("INSERT INTO nowhere VALUES (1)")',
        ),
    )
    with pytest.raises(StepFailed, match="Part of it is in the database"):
        transactional.upgrade()
    assert transactional.ledger() == [("1", "before-deploy", "interrupted", 2)]
    with pytest.raises(StepInterrupted):
        transactional.upgrade()
    mend(broken, "INTO nowhere VALUES (1)", "INTO a VALUES (2)")
    transactional.resolve("1", "before-deploy", "restart")
    query(transactional.site.url, "DROP TABLE a")
    transactional.upgrade()
    assert transactional.version() == ["1"]


def test_a_commit_through_the_driver_and_an_error_of_python_leave_it_unknown(transactional: Runs) -> None:
    transactional.site.revision(
        "1",
        None,
        body(CREATE.format("a"), "op.get_bind().connection.driver_connection.commit()", "raise ValueError('no')"),
    )
    with pytest.raises(StepFailed, match="Part of it is in the database"):
        transactional.upgrade()
    assert transactional.tables() == {"a"}


ENFORCED = """
def turn_on(connection, _record):
    connection.execute("PRAGMA foreign_keys = ON")

with app.app_context():
    sa.event.listen(db.engine, "connect", turn_on)
"""


@pytest.fixture
def family(project: Callable[..., Site], sqlite_url: str) -> Runs:
    """A project on SQLite with foreign keys on, and a child that goes with its parent."""
    runs = Runs(project(sqlite_url, more=ENFORCED))
    query(sqlite_url, "CREATE TABLE parent (id INTEGER PRIMARY KEY, name VARCHAR(10))")
    query(
        sqlite_url,
        "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id) ON DELETE CASCADE)",
    )
    query(sqlite_url, "INSERT INTO parent VALUES (1, 'a'), (2, 'b')")
    query(sqlite_url, "INSERT INTO child VALUES (10, 1), (20, 2)")
    return runs


WIDEN = """
with op.batch_alter_table("parent") as batch:
    batch.alter_column("name", existing_type=sa.String(10), type_=sa.String(20))
"""


def test_the_rows_that_refer_to_a_replaced_table_stay(family: Runs) -> None:
    family.site.revision("1", None, body(WIDEN))
    family.upgrade()
    assert query(family.site.url, "SELECT id, parent FROM child ORDER BY id") == [(10, 1), (20, 2)]


def test_a_step_that_replaces_tables_leaves_no_row_that_refers_to_nothing(family: Runs) -> None:
    family.site.revision("1", None, body(WIDEN, 'op.execute("DELETE FROM parent WHERE id = 2")'))
    with pytest.raises(StepFailed, match="Row 20 of table child would refer to a row of parent that is gone"):
        family.upgrade()
    assert query(family.site.url, "SELECT id FROM parent ORDER BY id") == [(1,), (2,)]
    assert (family.version(), family.ledger()) == ([], [])
    assert family.journal() == [("1", "before-deploy", "upgrade", "failed")]


def test_a_step_without_replaced_tables_cascades_as_ever(family: Runs) -> None:
    family.site.revision("1", None, body('op.execute("DELETE FROM parent WHERE id = 2")'))
    family.upgrade()
    assert query(family.site.url, "SELECT id FROM child") == [(10,)]


SWAP = """
with op.batch_alter_table("a") as batch:
    batch.alter_column("x", new_column_name="tmp", existing_type=sa.Integer())
    batch.alter_column("y", new_column_name="x", existing_type=sa.Integer())
    batch.alter_column("tmp", new_column_name="y", existing_type=sa.Integer())
"""

KILLING = """
import os
KILL = {{"at": int(os.environ.get("KILL_AT", "0"))}}

def kill(_connection, _cursor, statement, *_rest):
    if statement.startswith("ALTER TABLE a"):
        KILL["at"] -= 1
        if KILL["at"] == 0:
            os._exit(9)

with app.app_context():
    sa.event.listen(db.engine, "{event}_cursor_execute", kill)
"""


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("event", ["before", "after"])
def test_an_operation_of_several_statements_is_resumed_at_its_statement(
    project: Callable[..., Site], mysql_url: str, event: str, at: int
) -> None:
    site = project(mysql_url, more=KILLING.format(event=event))
    query(mysql_url, "CREATE TABLE a (x INTEGER, y INTEGER)")
    query(mysql_url, "INSERT INTO a (x, y) VALUES (1, 2)")
    site.revision("1", None, body(SWAP))
    assert site.flask("db", "upgrade", env={"KILL_AT": str(at)}).returncode == 9
    assert site.flask("db", "upgrade").returncode == 0
    assert query(mysql_url, "SELECT x, y FROM a") == [(2, 1)]


def test_a_body_that_rolls_back_keeps_the_version_table_with_the_schema(transactional: Runs) -> None:
    transactional.site.revision(
        "1",
        None,
        body(CREATE.format("b"))
        + textwrap.dedent(
            """
            @phased("before-deploy")
            def downgrade():
                try:
                    op.get_bind().execute(sa.text("DROP TABLE nowhere"))
                except sa.exc.DBAPIError:
                    op.get_bind().rollback()
                op.drop_table("b")
            """
        ),
    )
    transactional.upgrade()
    transactional.downgrade("base")
    assert (transactional.tables(), transactional.version(), transactional.ledger()) == (set(), [], [])


def test_a_table_that_cannot_roll_back_makes_the_place_unknown(on_mysql: Runs) -> None:
    query(on_mysql.site.url, "CREATE TABLE a (n INTEGER) ENGINE=MyISAM")
    query(on_mysql.site.url, "INSERT INTO a VALUES (0)")
    on_mysql.site.revision("1", None, body('op.execute("UPDATE a SET n = n + 1")', "raise ValueError('no')"))
    with pytest.raises(StepFailed):
        on_mysql.upgrade()
    with contextlib.suppress(StepFailed, StepInterrupted):
        on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT n FROM a") == [(1,)]


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_step_on_an_autocommit_engine_is_not_repeated(
    project: Callable[..., Site], request: pytest.FixtureRequest, kind: str
) -> None:
    server_url = request.getfixturevalue(f"{kind}_url")
    options = {"isolation_level": "AUTOCOMMIT"}
    runs = Runs(project(server_url, config={"SQLALCHEMY_ENGINE_OPTIONS": options}))
    query(server_url, "CREATE TABLE a (n INTEGER)")
    query(server_url, "INSERT INTO a VALUES (0)")
    runs.site.revision(
        "1", None, body('op.execute("UPDATE a SET n = n + 1")', 'op.execute("UPDATE nowhere SET n = 1")')
    )
    for _ in range(2):
        with pytest.raises(StepFailed):
            runs.upgrade()
    assert query(server_url, "SELECT n FROM a") == [(1,)]


def test_a_place_behind_the_end_of_the_body_is_refused(on_mysql: Runs) -> None:
    on_mysql.site.revision("1", None, body(CREATE.format("a"), 'op.execute("UPDATE nowhere SET n = 1")'))
    with pytest.raises(StepFailed):
        on_mysql.upgrade()
    with on_mysql.site.app() as app:
        migrate = app.extensions["migrate"].migrate
        migrate.resolve(None, "1", "before-deploy", action="resume", reason="x", after=11)
    with pytest.raises(StepInterrupted, match="the body has only 2"):
        on_mysql.upgrade()
    assert on_mysql.version() == []


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_run_leaves_the_session_of_the_application_as_it_was(
    project: Callable[..., Site], request: pytest.FixtureRequest, kind: str
) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    asked = {
        "postgresql": "SELECT current_setting('lock_timeout'), current_setting('client_connection_check_interval')",
        "mysql": "SELECT @@lock_wait_timeout, @@innodb_lock_wait_timeout",
    }[kind]
    given = {"postgresql": "SET lock_timeout = 7000", "mysql": "SET SESSION lock_wait_timeout = 77"}[kind]
    site = project(url, more=OWN_TIMEOUT.format(given=given))
    site.revision("1", None, body(CREATE.format("a")))
    with site.app() as app:
        database = app.extensions["migrate"].db
        with database.engine.connect() as connection:
            before = connection.exec_driver_sql(asked).one()
        app.extensions["migrate"].migrate.upgrade()
        with database.engine.connect() as connection:
            assert connection.exec_driver_sql(asked).one() == before


OWN_TIMEOUT = """
def set_timeout(connection, _record):
    with connection.cursor() as cursor:
        cursor.execute("{given}")
    connection.commit()

with app.app_context():
    sa.event.listen(db.engine, "connect", set_timeout)
"""


@pytest.mark.parametrize("end", ["os._exit(9)", "raise ValueError('no')"])
def test_statements_that_are_kept_are_not_forgotten_by_a_run_that_did_not_get_there(
    project: Callable[..., Site], mysql_url: str, end: str
) -> None:
    site = project(mysql_url)
    query(mysql_url, "CREATE TABLE a (x INTEGER, y INTEGER, z INTEGER)")
    query(mysql_url, "INSERT INTO a (x, y, z) VALUES (1, 2, 3)")
    moves = SWAP.replace('new_column_name="y"', 'new_column_name="z"')
    site.revision("1", None, "import os\n" + body(f"if os.environ.get('END'):\n    {end}", moves))
    assert site.flask("db", "upgrade").returncode == 1  # there is a z already
    query(mysql_url, "ALTER TABLE a DROP COLUMN z")
    assert site.flask("db", "upgrade", env={"END": "1"}).returncode in (1, 9)
    assert site.flask("db", "upgrade").returncode == 0
    assert query(mysql_url, "SELECT x, z FROM a") == [(2, 1)]


def test_data_that_an_operation_commits_with_its_ddl_are_not_written_twice(on_mysql: Runs) -> None:
    on_mysql.site.revision("1", None, body(
        CREATE.format("a"),
        'with op.batch_alter_table("a") as batch:',
        '    op.execute("INSERT INTO a VALUES (1)")',
        '    op.execute("ALTER TABLE nowhere ADD x integer")',
    ))  # fmt: skip
    with pytest.raises(StepFailed):
        on_mysql.upgrade()
    query(on_mysql.site.url, "CREATE TABLE nowhere (id integer)")
    on_mysql.upgrade()
    assert query(on_mysql.site.url, "SELECT id FROM a") == [(1,)]
