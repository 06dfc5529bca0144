"""Recording a step without running it, and running what is left of a revision that failed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from shell import Outcome, flask_db, invoke, two_revisions, working_directory
from support import Site, connect, query, table_names

from flask_phased_migrate.errors import NothingPending, UsageError

MakeSite = Callable[..., Site]

# Revision 2 fails in its second phase for as long as the table ``nowhere`` is missing.
FAILING = """
@phased("before-deploy")
def upgrade():
    op.create_table("b", sa.Column("id", sa.Integer, primary_key=True))

@upgrade.phase("after-deploy")
def upgrade_after():
    op.create_table("c", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("INSERT INTO nowhere VALUES (1)")
    op.create_table("d", sa.Column("id", sa.Integer, primary_key=True))

@upgrade.phase("final")
def upgrade_final():
    op.create_table("e", sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture
def site(project: MakeSite, database_url: str) -> Site:
    """Revision 1 makes a table and is applied; revision 2 on it has three phases."""
    site = two_revisions(project(database_url))
    ok(site, "upgrade", "1")
    return site


@pytest.fixture
def failing(project: MakeSite, database_url: str) -> Site:
    """Revision 1, and revision 2, whose second phase has failed."""
    site = two_revisions(project(database_url))
    site.revision("2", "1", FAILING)
    site.revision("3", "2", "def upgrade():\n    op.execute('SELECT 1')\n")
    assert flask_db(site, "upgrade").status == 1
    return site


def ok(site: Site, *words: str) -> Outcome:
    """Return the outcome of a command that must succeed."""
    outcome = flask_db(site, *words)
    assert outcome.status == 0, outcome
    return outcome


def version(site: Site) -> list[str]:
    return sorted(row[0] for row in query(site.url, "SELECT version_num FROM alembic_version"))


def ledger(site: Site) -> list[tuple[str, ...]]:
    return query(site.url, "SELECT revision, phase, status, statement FROM alembic_version_phase ORDER BY 1, 2")


def journal(site: Site) -> list[tuple[str, ...]]:
    return query(site.url, "SELECT revision, phase, operation, status, error FROM alembic_version_journal ORDER BY id")


def records(site: Site) -> tuple[object, ...]:
    """Return all that the bookkeeping tables say of what is done."""
    return version(site), ledger(site), journal(site)


def columns(site: Site, table: str) -> list[str]:
    """Return the names of a table's columns."""
    import sqlalchemy as sa

    with connect(site.url) as connection:
        return [column["name"] for column in sa.inspect(connection).get_columns(table)]


def again(site: Site) -> str:
    """Return what the journal calls a second run of a step: the engine may have kept a part of the first."""
    return "resume" if site.url.startswith("mysql") else "upgrade"


def mend(site: Site) -> None:
    query(site.url, "CREATE TABLE nowhere (id integer)")


# -- skip -------------------------------------------------------------------------------------------


def test_skip_records_the_next_step_and_runs_nothing(site: Site) -> None:
    outcome = ok(site, "skip", "--reason", "it was there already")
    assert outcome == Outcome(
        0, "", "default: 2 before-deploy is recorded as done; nothing was run.\nNext: flask db upgrade\n"
    )
    assert (version(site), ledger(site)) == (["1"], [("2", "before-deploy", "done", 0)])
    assert journal(site)[-1] == ("2", "before-deploy", "skip", "done", "it was there already")
    assert columns(site, "account") == ["id"]


def test_skipping_every_step_leaves_the_records_of_an_upgrade(site: Site) -> None:
    said = [ok(site, "skip").stderr for _ in range(3)]
    assert said[2] == (
        "default: 2 final is recorded as done; nothing was run.\n"
        "The version table has passed: 2\n"
        "Next: flask db status\n"
    )
    assert (version(site), ledger(site), columns(site, "account")) == (["2"], [], ["id"])
    assert [row[2:] for row in journal(site)[-3:]] == [("skip", "done", None)] * 3


def test_skip_of_a_phase_takes_the_next_of_that_phase(site: Site) -> None:
    site.revision("3", "2", '@phased("before-deploy")\ndef upgrade():\n    op.execute("SELECT 1")\n')
    first = ok(site, "skip", "--phase", "before-deploy").stderr
    second = ok(site, "skip", "--phase", "before-deploy").stderr
    assert first == (
        "default: 2 before-deploy is recorded as done; nothing was run.\nNext: flask db upgrade --phase before-deploy\n"
    )
    assert second == (
        "default: 3 before-deploy is recorded as done; nothing was run.\nNext: flask db upgrade --phase after-deploy\n"
    )
    assert [row[:3] for row in ledger(site)] == [("2", "before-deploy", "done"), ("3", "before-deploy", "done")]
    assert version(site) == ["1"]


def test_skip_of_a_phase_moves_the_version_table_as_a_run_of_it_would(site: Site) -> None:
    site.revision("3", "2", '@phased("before-deploy")\ndef upgrade():\n    op.execute("SELECT 1")\n')
    for phase in ("before-deploy", "after-deploy"):
        ok(site, "upgrade", "--phase", phase)
    outcome = ok(site, "skip", "--phase", "final")
    assert "The version table has passed: 2\n" in outcome.stderr
    assert (version(site), ledger(site)) == (["2"], [("3", "before-deploy", "done", 0)])
    ok(site, "upgrade")
    assert (version(site), ledger(site)) == (["3"], [])


def test_skip_is_refused_while_an_earlier_phase_is_missing(site: Site) -> None:
    before = records(site)
    outcome = flask_db(site, "skip", "--phase", "final")
    assert (outcome.status, outcome.stdout) == (3, "")
    assert "before-deploy, after-deploy of 2 has not run" in outcome.stderr
    assert "Next: flask db upgrade --phase before-deploy 2\n" in outcome.stderr
    assert records(site) == before


def test_skip_is_refused_where_a_file_makes_a_mistake(site: Site) -> None:
    site.revision("2", "1", "def upgrade():\n    yield\n")
    before = records(site)
    outcome = flask_db(site, "skip")
    assert (outcome.status, "2.py" in outcome.stderr) == (3, True)
    assert records(site) == before


def test_skip_behind_an_interrupted_step_exits_4(site: Site) -> None:
    ok(site, "upgrade", "--phase", "before-deploy")
    query(
        site.url,
        "INSERT INTO alembic_version_phase (revision, phase, status, statement) "
        "VALUES ('2', 'after-deploy', 'running', 0)",
    )
    before = records(site)
    for options in ([], ["--phase", "after-deploy"]):
        outcome = flask_db(site, "skip", *options)
        assert outcome.status == 4
        assert "flask db resolve 2 after-deploy --mark-done --reason TEXT" in outcome.stderr
    assert records(site) == before


def test_a_step_that_failed_half_way_is_not_skipped(project: MakeSite, mysql_url: str) -> None:
    site = two_revisions(project(mysql_url))
    site.revision("2", "1", FAILING)
    assert flask_db(site, "upgrade").status == 1
    before = records(site)
    outcome = flask_db(site, "skip")
    assert outcome.status == 4
    assert "2 after-deploy failed half-way: of its body, 1 operation committed" in outcome.stderr
    assert "flask db rebuild 2" in outcome.stderr
    assert "flask db resolve 2 after-deploy --mark-done --reason TEXT" in outcome.stderr
    assert records(site) == before


def test_a_step_that_failed_and_left_nothing_is_skipped(project: MakeSite, postgresql_url: str) -> None:
    site = two_revisions(project(postgresql_url))
    site.revision("2", "1", FAILING)
    assert flask_db(site, "upgrade").status == 1
    ok(site, "skip")
    assert ledger(site) == [("2", "after-deploy", "done", 0), ("2", "before-deploy", "done", 0)]


@pytest.mark.parametrize(
    ("options", "of"), [([], ""), (["--phase", "final"], " of phase final")], ids=["all", "one phase"]
)
def test_skip_of_nothing_exits_1_with_one_line(site: Site, options: list[str], of: str) -> None:
    ok(site, "upgrade")
    before = records(site)
    outcome = flask_db(site, "skip", *options)
    message = f"Error: Nothing{of} is pending: there is no step to skip. Look at: flask db status\n"
    assert outcome == Outcome(1, "", message)
    assert records(site) == before


def test_skip_passes_revisions_without_code_on_its_way(site: Site) -> None:
    ok(site, "upgrade")
    site.revision("3", "2", "def upgrade():\n    pass\n")
    site.revision("4", "3", "def upgrade():\n    op.execute('SELECT 1')\n")
    ok(site, "skip")
    assert (version(site), journal(site)[-1][:3]) == (["4"], ("4", "before-deploy", "skip"))


def test_skip_where_only_revisions_without_code_are_pending(site: Site) -> None:
    ok(site, "upgrade")
    site.revision("3", "2", "def upgrade():\n    pass\n")
    outcome = ok(site, "skip", "--reason", "x")
    assert outcome.stderr == "The version table has passed: 3\nNext: flask db status\n"
    assert (version(site), journal(site)[-1]) == (["3"], ("3", None, "skip", "done", "x"))


def test_skip_on_an_empty_database_makes_the_tables_and_no_other(project: MakeSite, database_url: str) -> None:
    site = two_revisions(project(database_url))
    ok(site, "skip")
    assert version(site) == ["1"]
    assert table_names(site.url) == {"alembic_version", "alembic_version_phase", "alembic_version_journal"}


def test_skip_says_which_programs_it_did_not_run(project: MakeSite, sqlite_url: str) -> None:
    site = project(sqlite_url)
    site.write("migrations/scripts/fix.py", "open('ran', 'w')")
    site.revision(
        "1", None, "NAME = 'x'\ndef upgrade():\n    op.execute_script('scripts/fix.py')\n    execute_script(NAME)\n"
    )
    outcome = ok(site, "skip")
    assert "The file runs programs (scripts/fix.py, NAME): those of this phase were not run either.\n" in outcome.stderr
    assert not list(site.folder.rglob("ran"))


def test_skip_records_who_did_it(site: Site) -> None:
    ok(site, "skip", "--operator", "grace")
    rows = json.loads(ok(site, "journal", "--json").stdout)["executions"]
    assert (rows[0]["operation"], rows[0]["operator"]) == ("skip", "grace")


@pytest.fixture
def bound(project: MakeSite, sqlite_url: str, tmp_path: Path) -> Site:
    """A site with a second bind ``reports``, and a revision with a part for each."""
    site = project(sqlite_url, binds={"reports": f"sqlite:///{tmp_path}/reports.sqlite3"})
    site.revision(
        "1",
        None,
        """
        @phased("before-deploy")
        def upgrade():
            op.execute("INSERT INTO nowhere VALUES (1)")

        @upgrade.phase("before-deploy", bind="reports")
        def upgrade_reports():
            op.create_table("report", sa.Column("id", sa.Integer, primary_key=True))
        """,
    )
    return site


def test_skip_on_several_binds_has_to_say_which(bound: Site) -> None:
    outcome = flask_db(bound, "skip")
    assert outcome == Outcome(2, "", "Error: There is a step to skip on default, reports. Say which: --bind NAME\n")
    assert table_names(bound.url) == set()


def test_skip_takes_the_only_bind_that_has_something_pending(bound: Site) -> None:
    ok(bound, "upgrade", "--bind", "reports")
    outcome = ok(bound, "skip")
    assert outcome.stderr.startswith("default: 1 before-deploy is recorded as done")
    assert outcome.stderr.endswith("Next: flask db status --bind default\n")


def test_skip_on_the_bind_that_is_named(bound: Site) -> None:
    ok(bound, "skip", "--bind", "default")
    assert (version(bound), flask_db(bound, "status", "--check", "--bind", "reports").status) == (["1"], 1)
    assert flask_db(bound, "skip", "--bind", "nope").status == 2


def test_skip_does_not_record_what_another_runner_has_run_meanwhile(project: MakeSite, sqlite_url: str) -> None:
    site = two_revisions(project(sqlite_url))
    site.revision("1", None, "import time\ndef upgrade():\n    time.sleep(2)\n    op.execute('SELECT 1')\n")
    site.revision("2", "1", "def upgrade():\n    op.execute('SELECT 1')\n")
    runner = site.start("db", "upgrade", "1")
    try:
        _wait_until(lambda: "alembic_version_journal" in table_names(site.url) and bool(journal(site)))
        outcome = flask_db(site, "skip")
    finally:
        runner.communicate(timeout=60)
    assert outcome.status == 3
    assert "Nothing was recorded: another runner was at work" in outcome.stderr
    assert [row[2] for row in journal(site)] == ["upgrade"]


def _wait_until(true: Callable[[], bool]) -> None:
    for _ in range(300):
        if true():
            return
        threading.Event().wait(0.1)
    raise AssertionError("it did not happen within 30 s")


def test_skip_in_process_raises_and_returns_what_it_recorded(project: MakeSite, sqlite_url: str) -> None:
    site = two_revisions(project(sqlite_url))
    with site.app() as app:
        migrate = app.extensions["migrate"].migrate
        found = [migrate.skip() for _ in range(4)]
        with pytest.raises(NothingPending):
            migrate.skip()
    assert [(str(item.step), item.completed) for item in found] == [
        ("default: 1 before-deploy", ("1",)),
        ("default: 2 before-deploy", ()),
        ("default: 2 after-deploy", ()),
        ("default: 2 final", ("2",)),
    ]


def test_what_a_skip_recorded_plain_alembic_does_not_run(project: MakeSite, sqlite_url: str) -> None:
    site = two_revisions(project(sqlite_url))
    ok(site, "upgrade", "1")
    ok(site, "skip")
    query(site.url, "ALTER TABLE account ADD COLUMN email varchar(20)")
    with working_directory(site.folder), site.app():
        import alembic.command
        from flask import current_app

        migrate = current_app.extensions["migrate"].migrate
        alembic.command.upgrade(migrate.get_config(), "head")
    assert version(site) == ["2"]


# -- rebuild ----------------------------------------------------------------------------------------


def test_rebuild_runs_what_is_left_of_the_revision_and_nothing_else(failing: Site) -> None:
    mend(failing)
    outcome = ok(failing, "rebuild", "2")
    assert [line.split(" ...")[0] for line in outcome.stderr.splitlines()[:2]] == [
        "[1/2] default: 2 after-deploy",
        "[2/2] default: 2 final",
    ]
    assert (version(failing), ledger(failing)) == (["2"], [])
    assert {"b", "c", "d", "e"} <= table_names(failing.url)
    assert [row[:4] for row in journal(failing)] == [
        ("1", "before-deploy", "upgrade", "done"),
        ("2", "before-deploy", "upgrade", "done"),
        ("2", "after-deploy", "upgrade", "failed"),
        ("2", "after-deploy", again(failing), "done"),
        ("2", "final", "upgrade", "done"),
    ]


def test_rebuild_up_to_a_phase(failing: Site) -> None:
    mend(failing)
    ok(failing, "rebuild", "2", "--phase", "after-deploy")
    assert [row[1:3] for row in ledger(failing)] == [("after-deploy", "done"), ("before-deploy", "done")]
    assert version(failing) == ["1"]


def test_rebuild_that_fails_again_says_how_to_go_on(failing: Site) -> None:
    outcome = flask_db(failing, "rebuild", "2", "--phase", "final")
    assert outcome.status == 1
    assert "type again: flask db rebuild --phase final 2\n" in outcome.stderr
    assert journal(failing)[-1][:4] == ("2", "after-deploy", again(failing), "failed")


def test_rebuild_reruns_a_step_whose_runner_was_killed_and_left_nothing(site: Site) -> None:
    ok(site, "upgrade", "--phase", "before-deploy")
    query(
        site.url,
        "INSERT INTO alembic_version_journal (revision, phase, operation, status) "
        "VALUES ('2', 'after-deploy', 'upgrade', 'running')",
    )
    ok(site, "rebuild", "2")
    assert (version(site), ledger(site)) == (["2"], [])


def test_rebuild_leaves_another_branch_alone(failing: Site) -> None:
    failing.revision("side", "1", "def upgrade():\n    op.execute('SELECT 1')\n")
    mend(failing)
    ok(failing, "rebuild", "2")
    assert version(failing) == ["2"]
    ok(failing, "upgrade", "heads")
    assert version(failing) == ["3", "side"]


def test_skip_goes_through_branches_and_their_merge(site: Site) -> None:
    ok(site, "upgrade")
    site.revision("a", "2", "def upgrade():\n    op.execute('SELECT 1')\n")
    site.revision("b", "2", "def upgrade():\n    op.execute('SELECT 1')\n")
    site.revision("m", ("a", "b"), "def upgrade():\n    op.execute('SELECT 1')\n")
    at = []
    for _ in range(3):
        ok(site, "skip")
        at.append(version(site))
    assert sorted(at[0] + at[1]) in (["a", "a", "b"], ["a", "b", "b"])
    assert (at[2], [row[0] for row in journal(site)[-1:]]) == (["m"], ["m"])


def test_rebuild_takes_part_of_an_id_or_a_symbol(failing: Site) -> None:
    mend(failing)
    ok(failing, "rebuild", "3-1")
    assert version(failing) == ["2"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["1"], "nothing of 1 failed, and nothing of it is left to run. Look at: flask db status"),
        (["3"], "so there is nothing to resume. To run it, type: flask db upgrade --phase before-deploy 3"),
        (["2", "--phase", "before-deploy"], "Type: flask db rebuild --phase after-deploy 2"),
        (["nope"], "nope"),
        (["2", "--phase", "nope"], "There is no phase 'nope'"),
        (["2", "--bind", "nope"], "There is no bind 'nope'"),
        ([" "], "The revision is empty"),
    ],
)
def test_rebuild_of_what_did_not_fail_is_usage_and_records_nothing(failing: Site, words: list[str], says: str) -> None:
    before = records(failing)
    outcome = flask_db(failing, "rebuild", *words)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert says in outcome.stderr
    assert records(failing) == before


def test_rebuild_in_process_raises_usage(project: MakeSite, sqlite_url: str) -> None:
    site = two_revisions(project(sqlite_url))
    with site.app() as app, pytest.raises(UsageError, match="flask db upgrade --phase before-deploy 2"):
        app.extensions["migrate"].migrate.rebuild(None, "2")
    assert table_names(site.url) == set()


def test_rebuild_of_a_step_whose_place_is_not_known_exits_4(site: Site) -> None:
    ok(site, "upgrade", "--phase", "before-deploy")
    query(
        site.url,
        "INSERT INTO alembic_version_phase (revision, phase, status, statement) "
        "VALUES ('2', 'after-deploy', 'running', 1)",
    )
    before = records(site)
    outcome = flask_db(site, "rebuild", "2")
    assert outcome.status == 4
    assert "flask db resolve 2 after-deploy --resume --after N --reason TEXT" in outcome.stderr
    assert records(site) == before


def test_rebuild_of_a_file_that_makes_a_mistake_is_refused(failing: Site) -> None:
    failing.revision("2", "1", "def upgrade():\n    yield\n")
    outcome = flask_db(failing, "rebuild", "2")
    assert (outcome.status, "2.py" in outcome.stderr) == (3, True)


@pytest.fixture
def rollout(project: MakeSite, database_url: str) -> Site:
    """Revision 2 and revision 3 have three phases; 3 failed in before-deploy, and is mended."""
    site = two_revisions(project(database_url))
    text = FAILING.replace("INSERT INTO nowhere VALUES (1)", "SELECT 1")
    site.revision(
        "3", "2", text.replace("upgrade():\n", 'upgrade():\n    op.execute("INSERT INTO nowhere VALUES (1)")\n', 1)
    )
    ok(site, "upgrade", "1")
    assert flask_db(site, "upgrade", "--phase", "before-deploy").status == 1
    mend(site)
    return site


def test_rebuild_never_runs_an_ancestors_step_and_says_how_far_it_can_go(rollout: Site) -> None:
    before = records(rollout)
    outcome = flask_db(rollout, "rebuild", "3")
    assert outcome.status == 3
    assert "after-deploy, final of 2 has not run\n" in outcome.stderr
    assert "Next: flask db rebuild --phase before-deploy 3\n" in outcome.stderr
    assert records(rollout) == before


def test_rebuild_up_to_the_boundary_leaves_the_version_table(rollout: Site) -> None:
    ok(rollout, "rebuild", "3", "--phase", "before-deploy")
    assert (version(rollout), [row[:3] for row in ledger(rollout)]) == (
        ["1"],
        [("2", "before-deploy", "done"), ("3", "before-deploy", "done")],
    )


def test_rebuild_of_a_later_phase_waits_for_the_ancestors_too(rollout: Site) -> None:
    ok(rollout, "rebuild", "3", "--phase", "before-deploy")
    rollout.revision("3", "2", FAILING.replace("INSERT INTO nowhere", "INSERT INTO nobody"))
    ok(rollout, "upgrade", "--phase", "after-deploy", "2")
    assert flask_db(rollout, "upgrade", "--phase", "after-deploy").status == 1
    query(rollout.url, "CREATE TABLE nobody (id integer)")
    outcome = flask_db(rollout, "rebuild", "3")
    assert outcome.status == 3
    assert "Next: flask db rebuild --phase after-deploy 3\n" in outcome.stderr
    ok(rollout, "rebuild", "3", "--phase", "after-deploy")
    assert version(rollout) == ["1"]


def test_rebuild_names_the_upgrade_that_comes_first(rollout: Site) -> None:
    query(rollout.url, "DELETE FROM alembic_version_phase WHERE revision = '2'")
    outcome = flask_db(rollout, "rebuild", "3", "--phase", "before-deploy")
    assert outcome.status == 3
    assert "before-deploy of 2 has not run\n" in outcome.stderr
    assert "Next: flask db upgrade --phase before-deploy 3\n" in outcome.stderr


def test_the_version_table_stays_while_an_ancestor_is_not_complete(project: MakeSite, database_url: str) -> None:
    site = two_revisions(project(database_url))
    site.revision(
        "3", "2", '@phased("before-deploy")\ndef upgrade():\n    op.execute("INSERT INTO nowhere VALUES (1)")\n'
    )
    ok(site, "upgrade", "1")
    assert flask_db(site, "upgrade", "--phase", "before-deploy").status == 1
    mend(site)
    ok(site, "rebuild", "3")
    assert (version(site), [row[:3] for row in ledger(site)]) == (
        ["1"],
        [("2", "before-deploy", "done"), ("3", "before-deploy", "done")],
    )


def test_a_rebuilt_revision_of_one_phase_is_complete(project: MakeSite, database_url: str) -> None:
    site = two_revisions(project(database_url))
    site.revision(
        "2", "1", '@phased("before-deploy")\ndef upgrade():\n    op.execute("INSERT INTO nowhere VALUES (1)")\n'
    )
    assert flask_db(site, "upgrade", "--phase", "before-deploy").status == 1
    mend(site)
    ok(site, "rebuild", "2")
    assert (version(site), ledger(site)) == (["2"], [])


@pytest.fixture
def phased_only(project: MakeSite, sqlite_url: str) -> Site:
    """An application that requires phases, whose revision 2 failed before the boundary."""
    site = two_revisions(project(sqlite_url, config={"MIGRATE_REQUIRE_PHASES": True}))
    ok(site, "upgrade", "1")
    before, broken = (
        'upgrade():\n    op.create_table("b"',
        'upgrade():\n    op.execute("SELECT * FROM nowhere")\n    op.create_table("b"',
    )
    site.revision("2", "1", FAILING.replace(before, broken))
    assert flask_db(site, "upgrade", "--phase", "before-deploy").status == 1
    mend(site)
    return site


def test_where_phases_are_required_rebuild_stops_at_the_boundary(phased_only: Site) -> None:
    before = records(phased_only)
    outcome = flask_db(phased_only, "rebuild", "2")
    assert outcome.status == 3
    assert "Next: flask db rebuild --phase before-deploy 2\n" in outcome.stderr
    assert "flask db rebuild --all-phases 2\n" in outcome.stderr
    assert records(phased_only) == before


@pytest.mark.parametrize(
    ("options", "at"), [(["--phase", "before-deploy"], ["1"]), (["--all-phases"], ["2"])], ids=["phase", "all"]
)
def test_where_phases_are_required_rebuild_goes_as_far_as_it_is_told(
    phased_only: Site, options: list[str], at: list[str]
) -> None:
    ok(phased_only, "rebuild", "2", *options)
    assert version(phased_only) == at


def test_rebuild_takes_the_bind_on_which_the_revision_failed(bound: Site) -> None:
    assert flask_db(bound, "upgrade").status == 1
    mend(bound)
    ok(bound, "rebuild", "1")
    assert version(bound) == ["1"]
    assert flask_db(bound, "status", "--check", "--bind", "reports").status == 1


def test_rebuild_as_json_is_the_plan_that_was_run(failing: Site) -> None:
    mend(failing)
    outcome = ok(failing, "rebuild", "2", "--json")
    assert [(step["revision"], step["phase"]) for step in json.loads(outcome.stdout)["steps"]] == [
        ("2", "after-deploy"),
        ("2", "final"),
    ]


def test_skip_and_rebuild_do_nothing_while_another_runner_holds_the_lock(project: MakeSite, sqlite_url: str) -> None:
    site = two_revisions(project(sqlite_url))
    site.revision("1", None, "import time\ndef upgrade():\n    time.sleep(8)\n    op.execute('SELECT 1')\n")
    runner = site.start("db", "upgrade", "1")
    try:
        _wait_until(lambda: "alembic_version_journal" in table_names(site.url) and bool(journal(site)))
        with working_directory(site.folder), site.app() as app:
            outcomes = [invoke(app, *words, "--lock-wait", "0.1") for words in (["skip"], ["rebuild", "1"])]
    finally:
        runner.kill()
        runner.communicate(timeout=60)
    assert [outcome.status for outcome in outcomes] == [75, 75]


# -- resolve --after --------------------------------------------------------------------------------


def test_resume_after_a_number_that_a_person_has_seen(project: MakeSite, mysql_url: str) -> None:
    site = two_revisions(project(mysql_url))
    site.revision("2", "1", FAILING)
    assert flask_db(site, "upgrade").status == 1
    outcome = ok(site, "resolve", "2", "after-deploy", "--resume", "--after", "2", "--reason", "row 1 is there")
    assert outcome.stderr == (
        "2 after-deploy: resume after operation 2. Go on with: flask db upgrade --phase after-deploy\n"
    )
    assert ledger(site)[0] == ("2", "after-deploy", "failed", 2)
    assert journal(site)[-1] == ("2", "after-deploy", "resume", "done", "--after 2: row 1 is there")
    ok(site, "rebuild", "2")
    assert (version(site), {"c", "d", "e"} <= table_names(site.url)) == (["2"], True)


@pytest.mark.parametrize("action", ["--restart", "--mark-done"])
def test_after_goes_with_resume_only(project: MakeSite, mysql_url: str, action: str) -> None:
    site = two_revisions(project(mysql_url))
    site.revision("2", "1", FAILING)
    assert flask_db(site, "upgrade").status == 1
    before = records(site)
    outcome = flask_db(site, "resolve", "2", "after-deploy", action, "--after", "2", "--reason", "x")
    message = "--after takes the number of operations to pass over, 0 or more, and needs --resume."
    assert outcome == Outcome(2, "", f"Error: {message}\n")
    assert flask_db(site, "resolve", "2", "after-deploy", "--resume", "--after", "-1", "--reason", "x").status == 2
    assert records(site) == before


def test_resolve_in_process_refuses_a_number_below_zero(site: Site) -> None:
    with site.app() as app, pytest.raises(UsageError, match="0 or more"):
        app.extensions["migrate"].migrate.resolve(None, "2", "final", action="resume", reason="x", after=-1)


# -- downgrade --------------------------------------------------------------------------------------


def test_a_phase_without_anything_to_undo_is_said(project: MakeSite, sqlite_url: str) -> None:
    site = two_revisions(project(sqlite_url))
    site.revision(
        "2",
        "1",
        FAILING.replace("nowhere", "b") + '\n@phased("before-deploy")\ndef downgrade():\n    op.drop_table("b")\n',
    )
    ok(site, "upgrade")
    lines = ok(site, "downgrade", "1").stderr.splitlines()
    assert lines[0].startswith("[1/3] default: 2 final ... nothing to undo, ")
    assert lines[1].startswith("[2/3] default: 2 after-deploy ... nothing to undo, ")
    assert lines[2].startswith("[3/3] default: 2 before-deploy ... 0")
