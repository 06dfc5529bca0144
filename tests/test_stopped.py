"""Runs that are stopped half-way: the reason is recorded, the lock is free, and the next run completes them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from deploys import (
    CREATE,
    Ended,
    body,
    count_in,
    counted,
    end_session,
    holding,
    journal,
    kind_of,
    ledger,
    must_run,
    reasons,
    run_db,
    sessions,
    started,
    touch,
    unless,
    until,
    version,
    wait_end,
    wait_for,
)
from support import Site, fresh_database, query, table_names

# How long a run may take to stop, on a busy machine.
SOON = 15

SLEEPS = {
    "sqlite": "time.sleep(30)",
    "postgresql": 'op.execute("SELECT pg_sleep(30)")',
    "mysql": 'op.execute("SELECT SLEEP(30)")',
}
# A statement that is busy for minutes inside SQLite itself.
COUNTING = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000000000) SELECT count(*) FROM c"


@pytest.fixture(params=["sqlite", "postgresql", "postgresql+psycopg2", "mysql"])
def any_driver_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database, by each driver in turn that waits for its server in a way of its own."""
    kind, _, driver = request.param.partition("+")
    with fresh_database(kind, tmp_path) as url:
        yield sa.make_url(url).set(drivername=request.param).render_as_string(hide_password=False) if driver else url


class Stage:
    """A project whose first revision stops in the middle, until ``go`` is there.

    Before the middle: table ``a`` with one row, whose ``n`` counts up. After it: table ``b``, and 10 more.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.url = site.url
        self.kind = kind_of(site.url)
        self.begun = site.folder / "begun"
        self.go = site.folder / "go"

    def write(self, *middle: str) -> None:
        """Write the revision with these lines in its middle."""
        self.site.revision(
            "1",
            None,
            body(
                'op.create_table("a", sa.Column("n", sa.Integer))',
                'op.execute("INSERT INTO a VALUES (0)")',
                'op.execute("UPDATE a SET n = n + 1")',
                CREATE.format("between"),
                touch(self.begun),
                *middle,
                CREATE.format("b"),
                'op.execute("UPDATE a SET n = n + 10")',
            ),
        )

    def begin(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start ``upgrade``; return it once it is in the middle of the step."""
        process = self.site.start("db", "upgrade", *arguments, **options)
        try:
            wait_for(self.begun.exists, "the middle of the step")
        except BaseException:
            process.kill()
            process.communicate()
            raise
        time.sleep(0.5)
        return process

    def assert_left(self, status: str) -> None:
        """Fail unless one execution is recorded, and the database is as before it, or as far as DDL is committed."""
        assert journal(self.url) == [("1", "before-deploy", "upgrade", status)]
        assert not self.go.exists()
        if self.kind == "mysql":
            assert table_names(self.url) >= {"a", "between"}
            assert "b" not in table_names(self.url)
            assert query(self.url, "SELECT n FROM a") == [(1,)]
            assert ledger(self.url) == [("1", "before-deploy", "failed")]
        else:
            assert not {"a", "between", "b"} & table_names(self.url)
            assert ledger(self.url) == []

    def assert_resumes(self) -> None:
        """Fail unless the next run takes the lock at once and completes the step, nothing done twice."""
        self.go.touch()
        must_run(self.site, "upgrade", "--lock-wait", "1")
        ended = [row[2] for row in journal(self.url) if row[3] == "done"]
        # A resume: where the database itself had to tell how far the step was.
        assert ended in (["upgrade"], ["resume"])
        assert query(self.url, "SELECT n FROM a") == [(11,)]
        assert {"a", "between", "b"} <= table_names(self.url)
        assert (version(self.url), ledger(self.url)) == (["1"], [])


@pytest.fixture
def stage(project: Callable[..., Site], database_url: str) -> Stage:
    """A stage on each engine in turn."""
    return Stage(project(database_url))


def assert_interrupted(ended: Ended) -> None:
    """Fail unless the command ended as an interrupt ends it."""
    assert ended.status == 130, ended
    assert ended.stdout == ""
    assert ended.stderr.rstrip().splitlines()[-1].startswith("Interrupted"), ended


# -- signals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_during_a_long_statement(
    project: Callable[..., Site], any_driver_url: str, number: signal.Signals
) -> None:
    stage = Stage(project(any_driver_url))
    stage.write(unless(stage.go, SLEEPS[stage.kind]))
    process = stage.begin()
    process.send_signal(number)
    ended = wait_end(process, SOON)
    assert_interrupted(ended)
    ((status, error),) = reasons(stage.url)
    assert status == "interrupted"
    assert number.name in error or (number is signal.SIGINT and "KeyboardInterrupt" in error)
    if stage.kind != "sqlite":
        wait_for(lambda: not sessions(stage.url), "the end of the run's sessions", 5)
    stage.assert_left("interrupted")
    stage.assert_resumes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_during_a_statement_that_keeps_sqlite_busy(
    project: Callable[..., Site], sqlite_url: str, number: signal.Signals
) -> None:
    stage = Stage(project(sqlite_url))
    stage.write(unless(stage.go, f'op.get_bind().exec_driver_sql("{COUNTING}")'))
    process = stage.begin()
    process.send_signal(number)
    assert_interrupted(wait_end(process, SOON))
    stage.assert_left("interrupted")
    stage.assert_resumes()


def test_a_second_signal_does_not_stop_the_records(stage: Stage) -> None:
    stage.write(unless(stage.go, "time.sleep(30)"))
    process = stage.begin()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    # The second may come when everything is recorded and the handlers are as they were.
    assert wait_end(process, SOON).status in (130, -signal.SIGTERM)
    stage.assert_left("interrupted")
    stage.assert_resumes()


def test_a_body_that_catches_every_exception_is_stopped_all_the_same(stage: Stage) -> None:
    stage.write(
        "try:",
        f"    {unless(stage.go, 'time.sleep(30)')}",
        "except Exception:",
        "    pass",
    )
    process = stage.begin()
    process.terminate()
    assert_interrupted(wait_end(process, SOON))
    stage.assert_left("interrupted")
    stage.assert_resumes()


LOADED = """
import os, pathlib
pathlib.Path(__file__).with_name(f"loaded-{os.getpid()}").touch()
"""


def test_a_signal_while_waiting_for_the_lock_changes_nothing(project: Callable[..., Site], database_url: str) -> None:
    stage = Stage(project(database_url, more=LOADED))
    stage.write(until(stage.go))
    holder = stage.begin()
    with started(stage.site, "upgrade", "--lock-wait", "60") as waiter:
        wait_for((stage.site.folder / f"loaded-{waiter.pid}").exists, "the application of the one that waits")
        time.sleep(2)
        waiter.terminate()
        assert_interrupted(wait_end(waiter, SOON))
    stage.go.touch()
    assert wait_end(holder).status == 0
    assert journal(stage.url) == [("1", "before-deploy", "upgrade", "done")]


def test_a_signal_stops_a_downgrade(stage: Stage) -> None:
    down = stage.site.folder / "down"
    stage.site.revision(
        "1",
        None,
        body('op.create_table("a", sa.Column("n", sa.Integer))', 'op.execute("INSERT INTO a VALUES (1)")')
        + "\n\n"
        + body(touch(stage.begun), unless(down, "time.sleep(30)"), 'op.drop_table("a")', direction="downgrade"),
    )
    must_run(stage.site, "upgrade")
    with started(stage.site, "downgrade", "base") as process:
        wait_for(stage.begun.exists, "the step")
        time.sleep(0.3)
        process.terminate()
        assert_interrupted(wait_end(process, SOON))
    assert journal(stage.url)[1:] == [("1", "before-deploy", "downgrade", "interrupted")]
    assert query(stage.url, "SELECT n FROM a") == [(1,)]
    down.touch()
    must_run(stage.site, "downgrade", "base", "--lock-wait", "1")
    assert "a" not in table_names(stage.url)
    assert version(stage.url) == []


def test_a_signal_during_a_concurrent_build_leaves_no_invalid_index_in_the_end(
    project: Callable[..., Site], postgresql_url: str
) -> None:
    site = project(postgresql_url)
    query(postgresql_url, "CREATE TABLE a (n integer)")
    site.revision(
        "1",
        None,
        body(
            "with op.get_context().autocommit_block():",
            '    op.create_index("ix_a", "a", ["n"], postgresql_concurrently=True)',
        ),
    )
    with holding(postgresql_url, "INSERT INTO a VALUES (1)"), started(site, "upgrade") as process:
        wait_for(lambda: sessions(postgresql_url, "CREATE INDEX CONCURRENTLY"), "the build")
        time.sleep(0.5)
        process.terminate()
        assert_interrupted(wait_end(process, SOON))
        wait_for(lambda: not sessions(postgresql_url, "CREATE INDEX CONCURRENTLY"), "the end of the build", 5)
    assert journal(postgresql_url) == [("1", "before-deploy", "upgrade", "interrupted")]
    must_run(site, "upgrade", "--lock-wait", "1")
    assert query(postgresql_url, "SELECT indisvalid FROM pg_index WHERE indrelid = 'a'::regclass") == [(True,)]
    assert version(postgresql_url) == ["1"]


SCRIPT = """\
import os, pathlib, subprocess, sys, time
folder = pathlib.Path(__file__).parent
if (folder / "go").exists():
    sys.exit()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(folder / "pids").write_text(f"{os.getpid()} {child.pid}")
(folder / "begun").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_the_script_and_its_children(stage: Stage, number: signal.Signals) -> None:
    stage.site.write("migrations/work.py", SCRIPT)
    stage.begun, go = stage.site.migrations / "begun", stage.site.migrations / "go"
    passed = stage.site.folder / "passed"
    stage.site.revision(
        "1",
        None,
        body(
            'op.create_table("a", sa.Column("n", sa.Integer))',
            'op.execute("INSERT INTO a VALUES (1)")',
            'op.execute_script("work.py")',
            touch(passed),
            'op.execute("UPDATE a SET n = n + 10")',
        ),
    )
    process = stage.begin()
    process.send_signal(number)
    assert_interrupted(wait_end(process, SOON))
    pids = [int(word) for word in (stage.site.migrations / "pids").read_text().split()]
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "the end of the script's processes", 5)
    assert not passed.exists()
    assert journal(stage.url) == [("1", "before-deploy", "upgrade", "interrupted")]
    go.touch()
    must_run(stage.site, "upgrade", "--lock-wait", "1")
    assert query(stage.url, "SELECT n FROM a") == [(11,)]
    assert (version(stage.url), ledger(stage.url)) == (["1"], [])


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and nobody waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_call_in_the_process_leaves_its_signal_handlers_as_they_were(
    project: Callable[..., Site], sqlite_url: str
) -> None:
    site = project(sqlite_url)
    site.revision("1", None, body(CREATE.format("a")))
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    with site.app() as app:
        app.extensions["migrate"].migrate.upgrade(None)
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_thread_that_may_not_set_signal_handlers_can_upgrade(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url)
    site.revision("1", None, body(CREATE.format("a")))
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            with site.app() as app:
                app.extensions["migrate"].migrate.upgrade(None)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=upgrade)
    thread.start()
    thread.join(60)
    assert failures == []
    assert version(sqlite_url) == ["1"]


# -- a body that leaves -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "reason"), [("", "SystemExit"), ("0", "SystemExit 0"), ("'enough'", "SystemExit enough")]
)
def test_sys_exit_in_a_revision_is_a_failure(stage: Stage, argument: str, reason: str) -> None:
    stage.write(unless(stage.go, f"sys.exit({argument})"))
    ended = run_db(stage.site, "upgrade")
    assert (ended.status, ended.stdout) == (1, "")
    assert "SystemExit" in ended.stderr
    assert reasons(stage.url) == [("failed", reason)]
    stage.assert_left("failed")
    stage.assert_resumes()


# -- lost connections ---------------------------------------------------------------------------------


@pytest.fixture(params=["postgresql", "postgresql+psycopg2", "mysql"])
def server_stage(request: pytest.FixtureRequest, project: Callable[..., Site], tmp_path: Path) -> Iterator[Stage]:
    """A stage on each engine that is a server, by each driver."""
    kind, _, driver = request.param.partition("+")
    with fresh_database(kind, tmp_path) as url:
        if driver:
            url = sa.make_url(url).set(drivername=request.param).render_as_string(hide_password=False)
        yield Stage(project(url))


def test_a_session_that_is_ended_during_a_statement_fails_the_step(server_stage: Stage) -> None:
    stage = server_stage
    stage.write(unless(stage.go, SLEEPS[stage.kind]))
    process = stage.begin()
    (session,) = wait_for(
        lambda: sessions(stage.url, "SLEEP(30)" if stage.kind == "mysql" else "pg_sleep"), "the sleep"
    )
    end_session(stage.url, session)
    ended = wait_end(process, SOON)
    assert (ended.status, ended.stdout) == (1, "")
    assert "1 before-deploy failed: " in ended.stderr
    assert "flask db upgrade" in ended.stderr
    ((status, error),) = reasons(stage.url)
    assert status == "failed"
    assert error
    stage.assert_left("failed")
    stage.assert_resumes()


def test_a_session_that_is_ended_while_the_body_computes_fails_the_step(server_stage: Stage) -> None:
    stage = server_stage
    mine = stage.site.folder / "mine"
    stage.write(record_session(stage, mine), until(stage.go))
    process = stage.begin()
    end_session(stage.url, int(mine.read_text()))
    stage.go.touch()
    ended = wait_end(process, SOON)
    assert (ended.status, ended.stdout) == (1, "")
    stage.go.unlink()
    stage.assert_left("failed")
    stage.assert_resumes()


def record_session(stage: Stage, path: Path) -> str:
    """Return a line that writes the migration's session id into a file; a resume does without it."""
    function = "pg_backend_pid()" if stage.kind == "postgresql" else "CONNECTION_ID()"
    words = f"pathlib.Path({str(path)!r}).write_text(str(op.get_bind().scalar(sa.text('SELECT {function}'))))"
    return unless(stage.go, words)


def test_a_run_that_lost_its_lock_does_not_begin_another_step(server_stage: Stage) -> None:
    # Another runner may have begun since.
    stage = server_stage
    mine = stage.site.folder / "mine"
    stage.write(record_session(stage, mine), until(stage.go))
    stage.site.revision("2", "1", body(CREATE.format("c")))
    process = stage.begin()
    others = [session for session in sessions(stage.url) if session != int(mine.read_text())]
    assert others
    for session in others:
        end_session(stage.url, session)
    stage.go.touch()
    ended = wait_end(process, SOON)
    assert ended.status in (1, 75), ended
    assert "lock" in ended.stderr
    assert "c" not in table_names(stage.url)
    assert {row[-1] for row in journal(stage.url) if row[0] == "2"} <= {"interrupted"}
    must_run(stage.site, "upgrade", "--lock-wait", "1")
    assert "c" in table_names(stage.url)
    assert query(stage.url, "SELECT n FROM a") == [(11,)]
    assert version(stage.url) == ["2"]


# -- a full disk --------------------------------------------------------------------------------------

LIMITED = """
import pathlib

def limit_pages(connection, _record):
    file = pathlib.Path(__file__).with_name("pages")
    if file.exists():
        connection.execute(f"PRAGMA max_page_count = {file.read_text()}")

with app.app_context():
    sa.event.listen(db.engine, "connect", limit_pages)
"""


def test_a_full_disk_in_a_step_of_sqlite(project: Callable[..., Site], sqlite_url: str) -> None:
    stage = Stage(project(sqlite_url, more=LIMITED))
    pages = stage.site.folder / "pages"
    pages.write_text("60")
    large = 'op.execute("CREATE TABLE large AS SELECT zeroblob(1000000) AS x")'
    stage.write(large)
    ended = run_db(stage.site, "upgrade")
    assert (ended.status, ended.stdout) == (1, "")
    assert "full" in ended.stderr
    assert "flask db upgrade" in ended.stderr
    ((status, error),) = reasons(stage.url)
    assert (status, "full" in error) == ("failed", True)
    stage.assert_left("failed")
    pages.unlink()
    stage.assert_resumes()


@pytest.mark.parametrize("spare", range(0, 12, 3))
def test_a_disk_too_full_for_the_records_leaves_a_step_that_can_be_run(
    project: Callable[..., Site], sqlite_url: str, spare: int
) -> None:
    stage = Stage(project(sqlite_url, more=LIMITED))
    stage.site.revision("0", None, body(CREATE.format("zero")))
    must_run(stage.site, "upgrade")
    stage.write('op.execute("CREATE TABLE large AS SELECT zeroblob(100000) AS x")')
    path = stage.site.versions / "1.py"
    path.write_text(path.read_text().replace("down_revision = None", "down_revision = '0'"))
    pages = stage.site.folder / "pages"
    pages.write_text(str(query(sqlite_url, "PRAGMA page_count")[0][0] + spare))
    ended = run_db(stage.site, "upgrade")
    assert (ended.status, ended.stdout) == (1, "")
    assert "full" in ended.stderr
    assert {"a", "b", "large"} & table_names(sqlite_url) == set()
    pages.unlink()
    must_run(stage.site, "upgrade", "--lock-wait", "1")
    assert query(sqlite_url, "SELECT n FROM a") == [(11,)]
    assert version(sqlite_url) == ["1"]


def test_a_full_disk_of_a_server(project: Callable[..., Site], tmp_path: Path) -> None:
    for kind, statement in (
        ("postgresql", "DO $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$"),
        ("mysql", "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1021, MESSAGE_TEXT = 'No space left on device'"),
    ):
        with fresh_database(kind, tmp_path) as url:
            stage = Stage(project(url))
            stage.write(unless(stage.go, f'op.execute("{statement}")'))
            ended = run_db(stage.site, "upgrade")
            assert (ended.status, ended.stdout) == (1, "")
            assert "No space left on device" in ended.stderr
            assert "No space left on device" in reasons(url)[0][1]
            stage.assert_left("failed")
            stage.assert_resumes()


# -- SQLite: a step is one transaction ----------------------------------------------------------------

BATCH = (
    'with op.batch_alter_table("parent", recreate="always") as batch:',
    '    batch.add_column(sa.Column("x", sa.Integer))',
    '    batch.alter_column("name", nullable=False)',
    "op.execute(\"INSERT INTO parent VALUES (3, 'three', 3)\")",
)
FAMILY = """
@phased("before-deploy")
def upgrade():
    op.create_table("parent", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
    op.create_table("child", sa.Column("id", sa.Integer, primary_key=True),
                    sa.Column("parent_id", sa.Integer, sa.ForeignKey("parent.id", ondelete="CASCADE")))
    op.execute("INSERT INTO parent VALUES (1, 'one'), (2, 'two')")
    op.execute("INSERT INTO child VALUES (10, 1), (20, 2)")
"""


def dump(url: str) -> list[tuple[object, ...]]:
    """Return the schema and the rows of what the application owns."""
    schema = query(url, "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%' ORDER BY name")
    schema = [row for row in schema if not row[0].startswith("sqlite_autoindex_alembic")]
    return [*schema, *query(url, "SELECT * FROM parent ORDER BY 1"), *query(url, "SELECT * FROM child ORDER BY 1")]


ENDINGS = {
    "an error": "raise RuntimeError('not yet')",
    "sys.exit": "sys.exit(3)",
    "SIGTERM": "import os, signal; os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)",
    "SIGKILL": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_batch_operation_is_undone_with_its_step(project: Callable[..., Site], sqlite_url: str, ending: str) -> None:
    site = project(sqlite_url)
    go = site.folder / "go"
    site.revision("1", None, FAMILY)
    must_run(site, "upgrade")
    before = dump(sqlite_url)
    site.revision("2", "1", body(*BATCH, unless(go, ENDINGS[ending]), 'op.execute("UPDATE parent SET x = 7")'))
    ended = run_db(site, "upgrade")
    assert ended.status == {"SIGTERM": 130, "SIGKILL": -signal.SIGKILL}.get(ending, 1)
    assert dump(sqlite_url) == before
    assert ledger(sqlite_url) == []
    go.touch()
    must_run(site, "upgrade", "--lock-wait", "1")
    assert query(sqlite_url, "SELECT * FROM parent ORDER BY 1") == [(1, "one", 7), (2, "two", 7), (3, "three", 7)]
    assert query(sqlite_url, "SELECT * FROM child ORDER BY 1") == [(10, 1), (20, 2)]
    assert version(sqlite_url) == ["2"]


def test_a_signal_in_the_middle_of_a_batch_operation_undoes_it(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url)
    begun, go, attempts = site.folder / "begun", site.folder / "go", site.folder / "attempts"
    site.revision("1", None, FAMILY)
    must_run(site, "upgrade")
    before = dump(sqlite_url)
    site.revision(
        "2",
        "1",
        body(
            count_in(attempts),
            'with op.batch_alter_table("parent", recreate="always") as batch:',
            '    batch.add_column(sa.Column("x", sa.Integer))',
            f"    {touch(begun)}",
            f"    {unless(go, 'time.sleep(30)')}",
        ),
    )
    with started(site, "upgrade") as process:
        wait_for(begun.exists, "the step")
        process.terminate()
        assert_interrupted(wait_end(process, SOON))
    assert dump(sqlite_url) == before
    go.touch()
    must_run(site, "upgrade", "--lock-wait", "1")
    assert counted(attempts) == 2
    assert query(sqlite_url, "SELECT * FROM parent ORDER BY 1") == [(1, "one", None), (2, "two", None)]
