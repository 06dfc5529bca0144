"""What the admin pages are given: the real extension, read without env.py and without a write."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flask
import pytest
import sqlalchemy as sa
from support import Site, connect, query, table_names

from flask_phased_migrate import errors
from flask_phased_migrate.admin.redaction import without_values
from flask_phased_migrate.extension import admin_source, examining

ADMIN = {"MIGRATE_ADMIN_ENABLED": True, "MIGRATE_ADMIN_ACCESS": "public-read"}
BODY = '@phased("before-deploy")\ndef upgrade():\n    op.create_table("t", sa.Column("id", sa.Integer))\n'
NOTHING = "def upgrade():\n    pass\n"
PAGES = ("", "revisions", "revisions/1", "revisions/1/sql", "plan", "graph", "journal", "heads", "health.json")


@dataclass
class Spy:
    """What an application's engine was asked while the spy listened."""

    statements: list[str] = field(default_factory=list)
    connections: int = 0


@contextmanager
def listening(app: flask.Flask) -> Iterator[Spy]:
    """Give a spy on the engine of the unnamed bind."""
    spy = Spy()
    engine = app.extensions["sqlalchemy"].engine

    def note_statement(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        spy.statements.append(statement)

    def note_connection(*_arguments: object) -> None:
        spy.connections += 1

    sa.event.listen(engine, "before_cursor_execute", note_statement)
    sa.event.listen(engine.pool, "checkout", note_connection)
    try:
        yield spy
    finally:
        sa.event.remove(engine, "before_cursor_execute", note_statement)
        sa.event.remove(engine.pool, "checkout", note_connection)


def get(app: flask.Flask, path: str, status: int = 200) -> Any:
    """Return what a GET below the prefix answers: JSON as values, else the text."""
    response = app.test_client().get(f"/migrations/{path}")
    assert response.status_code == status, response.text
    return response.json if path.partition("?")[0].endswith(".json") else response.text


def migrate_of(app: flask.Flask) -> Any:
    return app.extensions["migrate"].migrate


# -- what is never done -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_pages_never_write_and_never_run_env_py(project: Callable[..., Site], database_url: str, path: str) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    (site.migrations / "env.py").write_text("raise AssertionError('env.py ran')\n")
    with site.app() as app, listening(app) as spy:
        get(app, path, 503 if path == "health.json" else 200)
    words = {text.split()[0].upper() for text in spy.statements}
    assert words <= {"SELECT", "PRAGMA", "SHOW", "DESCRIBE"}
    assert table_names(site.url) == set()


def test_sql_and_findings_never_connect(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    with site.app() as app:
        get(app, "heads")
        source = admin_source.AdminSource(app)
        files = source.read_files()
        with listening(app) as spy:
            get(app, "revisions/1/sql")
            source.examine(files, "default", "1")
    assert (spy.statements, spy.connections) == ([], 0)


def test_a_page_loads_no_revision_file_again(
    project: Callable[..., Site], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = project(sqlite_url, config={**ADMIN, "MIGRATE_INDEX": False})
    site.revision("1", None, "import os\nos.environ['LOADED'] = os.environ.get('LOADED', '') + '1'\n" + NOTHING)
    monkeypatch.setenv("LOADED", "")
    with site.app() as app:
        for path in ("", "revisions", "graph", "plan", "journal", "heads", "revisions.json"):
            get(app, path)
    assert os.environ["LOADED"] == "1"


def test_a_list_imports_no_revision_file_at_all(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, "import a_module_that_nobody_has\n\n" + BODY)
    with site.app() as app:
        for path in ("", "revisions", "graph", "journal", "heads", "plan"):
            get(app, path)
        get(app, "health.json", 503)
        answer = get(app, "revisions/1/sql.json")
    assert answer["available"] is False
    assert "No module named 'a_module_that_nobody_has'" in answer["reason"]


# -- the files --------------------------------------------------------------------------------------


def test_a_new_revision_appears_without_a_restart_and_not_before_a_second_is_over(
    project: Callable[..., Site], sqlite_url: str
) -> None:
    now = [100.0]
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, BODY)
    with site.app() as app:
        source = admin_source.AdminSource(app, clock=lambda: now[0])
        seen = [source.read_files()]
        site.revision("2", "1", NOTHING)
        for seconds in (0.5, 0.6, 1.1):
            now[0] += seconds
            seen.append(source.read_files())
    assert [files.order for files in seen] == [("1",), ("1",), ("2", "1"), ("2", "1")]
    assert seen[2] is seen[3]


@pytest.mark.parametrize("change", ["edited", "gone", "settings"])
def test_a_change_of_the_files_is_seen(project: Callable[..., Site], sqlite_url: str, change: str) -> None:
    now = [0.0]
    site = project(sqlite_url, config=ADMIN)
    path = site.revision("1", None, BODY)
    with site.app() as app:
        source = admin_source.AdminSource(app, clock=lambda: now[0])
        before = source.read_files()
        if change == "edited":
            site.revision("1", None, BODY, message="another message")
        elif change == "gone":
            path.unlink()
        else:
            ini = site.migrations / "alembic.ini"
            ini.write_text(ini.read_text().replace("[alembic]", "[alembic]\nphases = early late"))
        now[0] += 2
        after = source.read_files()
    facts = [
        (files.order, files.phases.names, files.graph["1"].message if files.order else "") for files in (before, after)
    ]
    phases = ("before-deploy", "after-deploy", "final")
    assert facts[0] == (("1",), phases, "revision 1")
    assert (
        facts[1]
        == {
            "edited": (("1",), phases, "another message"),
            "gone": ((), phases, ""),
            "settings": (("1",), ("early", "late"), "revision 1"),
        }[change]
    )


def test_requests_of_many_threads_load_the_files_once(
    project: Callable[..., Site], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = project(sqlite_url, config={**ADMIN, "MIGRATE_INDEX": False})
    site.revision("1", None, "import os\nos.environ['LOADED'] = os.environ.get('LOADED', '') + '1'\n" + NOTHING)
    monkeypatch.setenv("LOADED", "")
    codes: list[int] = []
    with site.app() as app:
        threads = [
            threading.Thread(target=lambda: codes.append(app.test_client().get("/migrations/revisions").status_code))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (codes, os.environ["LOADED"]) == ([200] * 8, "1")


# -- the tables -------------------------------------------------------------------------------------


def test_the_list_shows_what_a_phase_has_done(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    site.revision("2", "1", '@phased("final")\ndef upgrade():\n    op.execute("DELETE FROM t")\n')
    with site.app() as app:
        migrate_of(app).upgrade(phase="before-deploy")
        items = get(app, "revisions.json")["items"]
        get(app, "health.json")
    assert [(item["revision"], item["state"]) for item in items] == [("2", "pending"), ("1", "in-flight")]
    assert items[0]["phases"] == {"before-deploy": "empty", "after-deploy": "empty", "final": "pending"}
    assert (items[0]["finished_at"], list(items[1]["finished_at"])) == ({}, ["before-deploy"])


def test_the_journal_has_what_ran_and_its_error(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    site.revision("2", "1", 'def upgrade():\n    op.execute("SELECT nothing FROM nowhere")\n')
    with site.app() as app:
        with pytest.raises(errors.StepFailed):
            migrate_of(app).upgrade()
        listed = get(app, "journal.json")
        newest = listed["items"][0]
        one = get(app, f"journal/{newest['id']}.json")
        page = get(app, f"journal/{newest['id']}")
        checks = get(app, "index.json")["checks"]
    assert [(item["revision"], item["status"], item["traceback"]) for item in listed["items"]] == [
        ("2", "failed", None),
        ("1", "done", None),
    ]
    assert "nowhere" in one["execution"]["error"]
    assert one["execution"]["traceback"].startswith("Traceback")
    assert [item["revision"] for item in one["items"]] == ["1", "2"]
    assert one["commands"] == [f"flask db trace {newest['id']}", "flask db upgrade --phase before-deploy"]
    assert "<details open>" in page
    assert [check["name"] for check in checks if check["level"] == "failed"] == ["2 before-deploy"]


def rows_of_journal(site: Site, app: flask.Flask, count: int) -> None:
    """Run something, and then copy its row of the journal until there are ``count``."""
    migrate_of(app).upgrade()
    with connect(site.url) as connection:
        columns = "run_id, revision, phase, operation, status, started_at, finished_at, duration_ms, host, pid"
        (known,) = connection.execute(sa.text("SELECT count(*) FROM alembic_version_journal")).one()
        known_row = f"SELECT {columns} FROM alembic_version_journal WHERE id = 1"
        copy = f"INSERT INTO alembic_version_journal ({columns}) {known_row}"
        for _ in range(count - known):
            connection.execute(sa.text(copy))


def test_walking_the_journal_visits_every_execution_once_in_both_directions(
    project: Callable[..., Site], database_url: str
) -> None:
    site = project(database_url, config={**ADMIN, "MIGRATE_ADMIN_PAGE_SIZE": 10})
    site.revision("1", None, BODY)
    seen: dict[str, list[list[int]]] = {"next": [], "prev": []}
    with site.app() as app:
        rows_of_journal(site, app, 35)
        client, path = app.test_client(), "/migrations/journal.json"
        for way in ("next", "prev"):
            while path:
                answer = client.get(path).json
                seen[way].append([item["id"] for item in answer["items"]])
                last, path = path, answer["page"][way]
            path = last
    walked = [number for page in seen["next"] for number in page]
    assert walked == sorted(walked, reverse=True)
    assert len(walked) == len(set(walked)) == 35
    assert [len(page) for page in seen["next"]] == [10, 10, 10, 5]
    assert sorted(number for page in seen["prev"] for number in page) == sorted(walked)


@pytest.mark.parametrize(
    ("filters", "count"),
    [("status=done", 2), ("status=failed", 1), ("revision=2", 2), ("revision=2&status=done", 1), ("phase=final", 0)],
)
def test_the_journal_is_filtered(project: Callable[..., Site], sqlite_url: str, filters: str, count: int) -> None:
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, BODY)
    path = site.revision("2", "1", 'def upgrade():\n    op.execute("SELECT nothing FROM nowhere")\n')
    with site.app() as app:
        with pytest.raises(errors.StepFailed):
            migrate_of(app).upgrade()
        path.write_text(path.read_text().replace("SELECT nothing FROM nowhere", "SELECT 1"))
        migrate_of(app).upgrade()
        items = get(app, f"journal.json?{filters}")["items"]
    assert len(items) == count


def test_pages_work_while_a_migration_runs(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    site.revision(
        "2",
        "1",
        'import time\n\n\ndef upgrade():\n    op.execute("INSERT INTO t (id) VALUES (1)")\n    time.sleep(6)\n',
    )
    with site.app() as app:
        migrate_of(app).upgrade(revision="1")
        runner = site.start("db", "upgrade")
        try:
            deadline = time.monotonic() + 30
            while get(app, "revisions.json")["items"][0]["phases"]["before-deploy"] != "running":
                assert time.monotonic() < deadline
                time.sleep(0.1)
            answers = {path: app.test_client().get(f"/migrations/{path}").status_code for path in PAGES}
            overview, page = get(app, "index.json"), get(app, "")
        finally:
            runner.communicate(timeout=60)
        after = get(app, "revisions.json")["items"][0]["phases"]["before-deploy"]
    assert answers == {**dict.fromkeys(PAGES, 200), "health.json": 503}
    running = [check["name"] for check in overview["checks"] if check["level"] == "running"]
    assert running[-1] == "2 before-deploy"
    assert " data-refresh>" in page
    assert (runner.returncode, after) == (0, "done")


# -- what does not answer ---------------------------------------------------------------------------


def test_a_database_that_is_down_is_a_503_with_the_revisions(project: Callable[..., Site], tmp_path: Path) -> None:
    site = project(f"sqlite:///{tmp_path}/no/such/folder/x.sqlite3", config=ADMIN)
    site.revision("1", None, BODY)
    with site.app() as app:
        page = get(app, "revisions", 503)
        answers = {path: app.test_client().get(f"/migrations/{path}").status_code for path in PAGES}
    assert "unknown" in page
    assert 'href="/migrations/revisions/1' in page
    assert answers == {**dict.fromkeys(PAGES, 503), "revisions/1/sql": 200}


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://nobody:s3cret@127.0.0.1:1/x", "mysql+pymysql://nobody:s3cret@127.0.0.1:1/x"]
)
def test_a_server_that_is_down_shows_no_password(
    project: Callable[..., Site], url: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = project(url, config=ADMIN)
    site.revision("1", None, BODY)
    with site.app() as app:
        texts = [app.test_client().get(f"/migrations/{path}").text for path in PAGES]
    assert [text for text in (*texts, caplog.text) if "s3cret" in text] == []


def test_tables_that_may_not_be_read_are_unknown(project: Callable[..., Site], postgresql_url: str) -> None:
    site = project(postgresql_url, config=ADMIN)
    site.revision("1", None, BODY)
    with site.app() as app:
        query(site.url, "CREATE TABLE alembic_version (something_else integer)")
        page = get(app, "revisions", 503)
    assert "No answer from the database" in page


def test_a_database_ahead_of_the_code_is_shown_as_that(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    later = site.revision("2", "1", NOTHING)
    with site.app() as app:
        migrate_of(app).upgrade()
        later.unlink()
    with site.app() as app:
        levels = {check["name"]: check["level"] for check in get(app, "index.json")["checks"]}
        item = get(app, "revisions.json")["items"][0]
        current = get(app, "heads.json")["current"]
        plan, sql = get(app, "plan.json"), get(app, "revisions/2/sql", 404)
        assert "File missing." in get(app, "revisions/2")
    assert (levels["database"], levels["files"]) == ("missing", "missing")
    assert (item["revision"], item["state"], item["flags"]) == ("2", "missing", ["file missing"])
    assert [(row["revision"], row["has_file"]) for row in current] == [("2", False)]
    assert (plan["available"], plan["items"]) == (False, [])
    assert "Can't locate revision identified by '2'" in plan["problem"]
    assert str(site.folder) not in plan["problem"]
    assert "There is no revision" in sql


# -- several binds ----------------------------------------------------------------------------------


def test_only_the_migrated_binds_are_shown(project: Callable[..., Site], tmp_path: Path) -> None:
    url, other = f"sqlite:///{tmp_path}/a.sqlite3", f"sqlite:///{tmp_path}/b.sqlite3"
    single = project(url, config={**ADMIN, "SQLALCHEMY_BINDS": {"reports": other}})
    every = project(url, config=ADMIN, binds={"reports": other})
    shown = []
    for site in (single, every):
        site.revision("1", None, BODY)
        with site.app() as app:
            shown.append([item["name"] for item in get(app, "health.json", 503)["binds"]])
    assert shown == [["default"], ["default", "reports"]]


def test_one_bind_may_answer_while_another_is_down(project: Callable[..., Site], tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/no/such/folder/b.sqlite3"
    site = project(f"sqlite:///{tmp_path}/a.sqlite3", config=ADMIN, binds={"reports": other})
    site.revision("1", None, BODY)
    with site.app() as app:
        codes = {
            path: app.test_client().get(f"/migrations/{path}").status_code
            for path in ("", "?bind=reports", "journal?bind=reports", "revisions/1")
        }
        binds = get(app, "health.json", 503)["binds"]
    assert codes == {"": 200, "?bind=reports": 503, "journal?bind=reports": 503, "revisions/1": 503}
    assert [(bind["name"], bind["status"]) for bind in binds] == [("default", "unfit"), ("reports", "unknown")]


# -- SQL --------------------------------------------------------------------------------------------

PHASED = """\
@phased("before-deploy")
def upgrade():
    op.add_column("t", sa.Column("email", sa.String(20)))


@upgrade.phase("final")
def upgrade_final():
    op.execute("DELETE FROM t WHERE id < 0")


@phased("final")
def downgrade():
    op.execute("SELECT 1")


@downgrade.phase("before-deploy")
def downgrade_before_deploy():
    op.drop_column("t", "email")
"""


def sql_of(app: flask.Flask, query_string: str, revision: str = "2") -> Mapping[str, Any]:
    found: Mapping[str, Any] = get(app, f"revisions/{revision}/sql.json?{query_string}")
    return found


def test_sql_is_shown_by_phase_direction_and_engine(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, BODY)
    site.revision("2", "1", PHASED)
    with site.app() as app:
        shown = {
            text: (sql_of(app, text)["sql"] or "").strip()
            for text in ("", "phase=final", "direction=downgrade&phase=before-deploy", "dialect=mssql")
        }
        answer = sql_of(app, "phase=final")
        file = app.test_client().get("/migrations/revisions/2/step.sql?phase=final")
    assert shown == {
        "": "ALTER TABLE t ADD COLUMN email VARCHAR(20);",
        "phase=final": "DELETE FROM t WHERE id < 0;",
        "direction=downgrade&phase=before-deploy": "ALTER TABLE t DROP COLUMN email;",
        "dialect=mssql": "ALTER TABLE t ADD email VARCHAR(20) NULL;\n\nGO",
    }
    assert (answer["phases"], answer["dialect"], answer["available"]) == (["before-deploy", "final"], "sqlite", True)
    assert answer["command"] == "flask db sql 1:2 --phase final"
    assert (file.text, file.headers["Content-Disposition"]) == (
        "DELETE FROM t WHERE id < 0;\n\n",
        "attachment; filename=2_final.sql",
    )


def test_a_body_that_needs_a_connection_says_why_there_is_no_sql(
    project: Callable[..., Site], database_url: str
) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, 'def upgrade():\n    op.get_bind().execute(sa.text("SELECT 1")).scalar()\n')
    with site.app() as app:
        answer, page = sql_of(app, "", "1"), get(app, "revisions/1/sql")
    assert (answer["available"], answer["sql"], answer["items"]) == (False, None, [])
    assert answer["reason"].startswith("versions/1.py, line ")
    assert "it reads the database, and an export has none" in answer["reason"]
    assert "There is no SQL of this step." in page


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def upgrade():\n    raise RuntimeError('<b>no</b>')\n", "RuntimeError: <b>no</b>"),
        ("import sys\ndef upgrade():\n    sys.exit(3)\n", "SystemExit: 3"),
        ("def upgrade():\n    raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("@phased\ndef upgrade():\n    pass\n", "upgrade"),
    ],
)
def test_a_body_that_cannot_be_written_out_is_no_failure_of_the_page(
    project: Callable[..., Site], sqlite_url: str, body: str, reason: str
) -> None:
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, body)
    with site.app() as app:
        answer, page = sql_of(app, "", "1"), get(app, "revisions/1/sql")
    assert answer["available"] is False
    assert reason in answer["reason"]
    assert "<b>" not in page


def test_a_batch_operation_on_sqlite_has_sql(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, BODY)
    site.revision(
        "2",
        "1",
        'def upgrade():\n    with op.batch_alter_table("t") as t:\n        t.alter_column("id", nullable=False)\n',
    )
    with site.app() as app:
        answer = sql_of(app, "")
    assert answer["reason"] is None
    assert "CREATE TABLE _alembic_tmp_t" in answer["sql"]


def test_names_follow_the_naming_convention_of_the_models(project: Callable[..., Site], sqlite_url: str) -> None:
    models = 'db.metadata.naming_convention = {"uq": "uq_%(table_name)s_own"}'
    site = project(sqlite_url, config=ADMIN, models=models)
    site.revision(
        "1", None, 'def upgrade():\n    op.create_table("t", sa.Column("id", sa.Integer), sa.UniqueConstraint("id"))\n'
    )
    with site.app() as app:
        answer = sql_of(app, "", "1")
    assert "CONSTRAINT uq_t_own UNIQUE (id)" in answer["sql"]


def test_code_that_does_not_end_is_left_to_itself(project: Callable[..., Site], sqlite_url: str) -> None:
    ended = threading.Event()
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, BODY)
    with site.app():
        with pytest.raises(errors.LockHeld) as caught:
            examining.within(lambda: ended.wait(20), limit_s=0.1, wait_s=0.1)
        with pytest.raises(errors.LockHeld) as busy:
            examining.within(lambda: None, limit_s=1, wait_s=0.1)
        ended.set()
        assert examining.within(lambda: "free", wait_s=5) == "free"
    assert str(caught.value) == "The revision's code did not end within 0.1 s. It is looked at on paper only."
    assert "Another thread of this process was at work" in str(busy.value)


# -- operations and findings ------------------------------------------------------------------------


def test_a_revision_shows_its_operations_findings_and_assurances(
    project: Callable[..., Site], postgresql_url: str
) -> None:
    site = project(postgresql_url, config=ADMIN)
    site.revision("1", None, BODY)
    site.revision(
        "2",
        "1",
        "from flask_phased_migrate import assured\n\n\n"
        'def upgrade():\n    op.create_index("ix_t", "t", ["id"])\n'
        '    with assured("create-index", reason="the table is empty"):\n'
        '        op.create_index("ix_u", "t", ["id"])\n',
    )
    with site.app() as app:
        answer, page = get(app, "revisions/2.json"), get(app, "revisions/2")
    assert [(item["phase"], item["kind"], item["text"]) for item in answer["operations"]] == [
        ("before-deploy", "operation", "CREATE INDEX ix_t ON t (id)"),
        ("before-deploy", "operation", "CREATE INDEX ix_u ON t (id)"),
    ]
    findings = [(item["rule"], item["path"]) for item in answer["findings"]]
    assert ("create-index", "versions/2.py") in findings
    assert [(item["rule"], item["reason"]) for item in answer["assured"]] == [("create-index", "the table is empty")]
    assert answer["examined"]["before"] == 1
    assert "the table is empty" in page


def test_a_program_is_neither_run_nor_hidden(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url, config=ADMIN)
    site.write("migrations/scripts/x.py", "open('ran', 'w').close()\n")
    site.revision("1", None, 'def upgrade():\n    op.execute_script("scripts/x.py")\n')
    with site.app() as app:
        operations = get(app, "revisions/1.json")["operations"]
        pieces = sql_of(app, "", "1")["items"]
    assert [item["text"] for item in operations] == ['execute_script("scripts/x.py")']
    assert "-- SCRIPT::scripts/x.py::;" in [piece["text"] for piece in pieces]
    assert not Path("ran").exists()


# -- plan -------------------------------------------------------------------------------------------


def test_the_plan_of_a_phase_is_that_of_the_command(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, BODY)
    site.revision("2", "1", PHASED)
    with site.app() as app:
        first, final = get(app, "plan.json"), get(app, "plan.json?phase=final")
        migrate_of(app).upgrade(phase="before-deploy")
        next_ = get(app, "plan.json")
    steps = [(item["revision"], item["phase"], item["completes"]) for item in first["items"]]
    assert (first["phase"], steps) == ("before-deploy", [("1", "before-deploy", []), ("2", "before-deploy", [])])
    assert first["command"] == "flask db upgrade --phase before-deploy"
    assert [(block["revision"], block["phase"], block["command"]) for block in final["blocked"]] == [
        (name, "final", "flask db upgrade --phase before-deploy") for name in ("1", "2")
    ]
    moves = [(item["revision"], item["completes"]) for item in next_["items"]]
    assert (next_["phase"], moves) == ("final", [(None, ["1"]), ("2", ["2"])])


# -- secrets ----------------------------------------------------------------------------------------


def test_no_page_shows_a_secret_or_a_bound_parameter(project: Callable[..., Site], sqlite_url: str) -> None:
    url = f"{sqlite_url}?password=hunter2"
    error = (
        "boom postgresql://ann:hunter2@db/x?password=hunter2 token=hunter2 api_key: 'hunter2' "
        "(UniqueViolation)\n[SQL: INSERT INTO t VALUES (:x)]\n[parameters: {'x': 'hunter2', 'y': [1]}]\n(Background)"
    )
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, BODY + f'    op.execute("SELECT 1 /* {url} */")\n')
    with site.app() as app:
        migrate_of(app).upgrade()
        with connect(site.url) as connection:
            connection.execute(
                sa.text("UPDATE alembic_version_journal SET status = 'failed', error = :error, traceback = :error"),
                {"error": error},
            )
        paths = ("", "index.json", "journal", "journal.json", "journal/1", "journal/1.json", "revisions/1",
                 "revisions/1.json", "revisions/1/sql", "revisions/1/sql.json", "revisions/1/step.sql")  # fmt: skip
        shown = {path: app.test_client().get(f"/migrations/{path}").text for path in paths}
    assert [path for path, text in shown.items() if "hunter2" in text] == []
    assert "boom" in shown["journal/1"]
    assert "[parameters: ***]" in shown["journal/1"]


def test_an_error_of_another_version_shows_no_row_and_no_place_on_the_machine(
    project: Callable[..., Site], sqlite_url: str
) -> None:
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, BODY)
    error = "DETAIL:  Key (email)=(ann) already exists.\nDETAIL:  Failing row contains (1, ann)."
    files = (
        "/home/ann/.venv/lib/site-packages/sqlalchemy/engine.py",
        "C:\\ann\\shop\\app.py",
        f"{site.migrations}/env.py",
    )
    frames = "\n".join(f'  File "{file}", line 3' for file in files)
    with site.app() as app:
        migrate_of(app).upgrade()
        with connect(site.url) as connection:
            connection.execute(
                sa.text("UPDATE alembic_version_journal SET status = 'failed', error = :error, traceback = :frames"),
                {"error": error, "frames": frames},
            )
        answer = get(app, "journal/1.json")["execution"]
    assert answer["error"] == "DETAIL:  Key (email)=(***) already exists.\nDETAIL:  Failing row contains (***)."
    shown = ("sqlalchemy/engine.py", "shop\\app.py", "env.py")
    assert answer["traceback"] == "\n".join(f'  File "{file}", line 3' for file in shown)


def test_a_bound_parameter_of_several_lines_is_hidden_whole() -> None:
    rest = "\n(Background on this error)"
    texts = ["[parameters: ('a\nb', [1])]" + rest, "[parameters: ('a',)]" + rest, "[parameters: ('a\nb"]

    assert [without_values(text) for text in texts] == [
        "[parameters: ***]" + rest,
        "[parameters: ***]" + rest,
        "[parameters: ***]",
    ]


# -- what cannot be read ----------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["", "env.py"])
def test_a_folder_that_is_gone_is_an_error_of_ours(project: Callable[..., Site], sqlite_url: str, lost: str) -> None:
    site = project(sqlite_url, config=ADMIN)
    (site.migrations).rename(site.migrations.with_name("elsewhere"))
    if lost:
        site.migrations.mkdir()
    with site.app() as app:
        answer, health = get(app, "index.json", 500), get(app, "health.json", 503)
    assert answer["error"]["message"] == "The revisions cannot be read. The application's log says why."
    assert health["status"] == "unknown"


@pytest.mark.parametrize(
    ("statement", "paths"),
    [
        ("UPDATE alembic_version_journal SET started_at = 'rubbish'", ("index.json", "journal.json", "journal/1.json")),
        ("UPDATE alembic_version SET version_num = ''", ("index.json", "revisions.json", "graph.json", "heads.json")),
    ],
)
def test_a_value_that_no_table_of_ours_has_is_unknown_and_no_failure(
    project: Callable[..., Site], sqlite_url: str, statement: str, paths: tuple[str, ...]
) -> None:
    site = project(sqlite_url, config=ADMIN)
    site.revision("1", None, BODY)
    with site.app() as app:
        migrate_of(app).upgrade()
        with connect(site.url) as connection:
            connection.execute(sa.text(statement))
        assert [app.test_client().get(f"/migrations/{path}").status_code for path in paths] == [503] * len(paths)


@pytest.mark.parametrize("number", [2**31, 2**63, 10**20])
def test_a_number_that_no_journal_reaches_is_not_found(
    project: Callable[..., Site], database_url: str, number: int
) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    with site.app() as app:
        migrate_of(app).upgrade()
        answer = get(app, f"journal/{number}.json", 404)
    assert answer["error"]["message"] == f"The journal of default has no execution {number}."


@pytest.mark.parametrize("name", ["phase", "revision", "run"])
def test_a_name_that_no_column_can_hold_finds_nothing(
    project: Callable[..., Site], database_url: str, name: str
) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    with site.app() as app:
        migrate_of(app).upgrade()
        answer = get(app, f"journal.json?{name}=a%00")
    assert answer["items"] == []


# -- queries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["", "revisions", "revisions.json", "graph", "plan", "journal", "heads", "health.json"]
)
def test_the_number_of_questions_does_not_grow_with_the_revisions(
    project: Callable[..., Site], postgresql_url: str, path: str
) -> None:
    asked = []
    for count in (3, 60):
        site = project(postgresql_url, config=ADMIN)
        for number in range(count):
            site.revision(str(1000 + number), str(999 + number) if number else None, NOTHING)
        with site.app() as app:
            migrate_of(app).upgrade()
            get(app, path)
            with listening(app) as spy:
                get(app, path)
            asked.append(len(spy.statements))
    assert asked[0] == asked[1] <= 10


# -- off and closed ---------------------------------------------------------------------------------


def test_the_page_is_off_by_default_and_closed_without_a_rule(project: Callable[..., Site], sqlite_url: str) -> None:
    off = project(sqlite_url)
    closed = project(sqlite_url, config={"MIGRATE_ADMIN_ENABLED": True, "TESTING": True, "DEBUG": True})
    with off.app() as app:
        assert app.test_client().get("/migrations/").status_code == 404
        assert [rule for rule in app.url_map.iter_rules() if "migrate_admin" in rule.endpoint] == []
    with closed.app() as app:
        assert app.test_client().get("/migrations/").status_code == 403
