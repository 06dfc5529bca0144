"""``flask db``: what each command prints where, and the status that it ends with."""

from __future__ import annotations

import contextlib
import inspect
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from shell import (
    PHASED,
    PLAIN,
    Outcome,
    flask_db,
    invoke,
    rows,
    snapshot,
    sqlite_path,
    tables,
    two_revisions,
    working_directory,
)
from support import Site

from flask_phased_migrate import __version__
from flask_phased_migrate.cli import db as group

BOOKKEEPING = ["alembic_version", "alembic_version_journal", "alembic_version_phase"]

# The commands that exist.
COMMANDS = {
    *("branches", "check", "current", "downgrade", "edit", "ensure-version", "environ", "graph", "heads", "history"),
    *("init", "journal", "list-templates", "merge", "migrate", "rebuild", "ready", "resolve", "revision"),
    *("show", "skip", "sql", "stamp", "status", "trace", "upgrade"),
}


@pytest.fixture
def site(project: Callable[..., Site], sqlite_url: str) -> Site:
    """Revision 1 makes a table, revision 2 on it has three phases; the database is empty."""
    return two_revisions(project(sqlite_url))


@pytest.fixture
def bound(project: Callable[..., Site], sqlite_url: str, tmp_path: Path) -> Site:
    """The same, and a second bind ``reports`` that gets a table of its own in revision 1."""
    site = two_revisions(project(sqlite_url, binds={"reports": f"sqlite:///{tmp_path}/reports.sqlite3"}))
    site.revision(
        "1",
        None,
        """
        @phased("before-deploy")
        def upgrade():
            op.create_table("account", sa.Column("id", sa.Integer, primary_key=True))

        @upgrade.phase("before-deploy", bind="reports")
        def upgrade_reports():
            op.create_table("report", sa.Column("id", sa.Integer, primary_key=True))
        """,
    )
    return site


def ok(outcome: Outcome) -> Outcome:
    """Return the outcome of a command that must succeed."""
    assert outcome.status == 0, outcome
    return outcome


def run(site: Site, *arguments: str) -> Outcome:
    """Return the outcome of a command that must succeed."""
    return ok(flask_db(site, *arguments))


# -- all commands ----------------------------------------------------------------------------------


def test_every_command_of_the_design_is_there():
    assert sorted(COMMANDS - set(group.commands)) == []


@pytest.mark.parametrize("name", sorted(group.commands))
def test_help_of_every_command_says_what_it_does_and_shows_an_example(site: Site, name: str):
    outcome = run(site, name, "--help")
    assert outcome.stderr == ""
    assert f"Example: flask db {name}" in outcome.stdout
    for option in ("--raiseerr", "--quiet", "--name", "--config"):
        assert option in outcome.stdout


@pytest.mark.parametrize("name", sorted(group.commands))
def test_every_option_of_every_command_is_explained(name: str):
    unexplained = [
        parameter.opts
        for parameter in group.commands[name].params
        if isinstance(parameter, click.Option) and not parameter.help
    ]
    assert unexplained == []


def test_the_group_without_a_command_prints_the_help(site: Site):
    outcome = run(site)
    assert "flask db upgrade --phase before-deploy" in outcome.stdout
    assert "upgrade" in outcome.stdout


def test_version_names_what_the_tool_stands_on(site: Site):
    lines = run(site, "--version").stdout.splitlines()
    assert lines[0] == f"flask_phased_migrate {__version__}"
    assert [line.split()[0] for line in lines] == ["flask_phased_migrate", "Alembic", "SQLAlchemy", "Flask"]


def test_version_needs_no_folder_and_no_database(project: Callable[..., Site], tmp_path: Path):
    site = project(f"sqlite:///{tmp_path}/nowhere/x.db")
    (site.migrations / "env.py").unlink()
    assert run(site, "--version").stdout.startswith("flask_phased_migrate ")


# -- real processes --------------------------------------------------------------------------------


def test_a_release_in_real_processes(site: Site):
    first = site.flask("db", "upgrade", "--phase", "before-deploy")
    assert (first.returncode, first.stdout) == (0, "")
    assert first.stderr.splitlines()[0].startswith("[1/2] default: 1 before-deploy ... ")
    refused = site.flask("db", "upgrade", "--phase", "final")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "Traceback" not in refused.stderr
    status = site.flask("db", "status", "--json")
    assert json.loads(status.stdout)["binds"][0]["revisions"][0]["state"] == "in-flight"
    assert status.stderr == ""


def test_an_interrupt_in_a_step_exits_130_and_is_recorded(site: Site):
    site.revision("3", "2", "def upgrade():\n    import os, signal\n    os.kill(os.getpid(), signal.SIGINT)\n")
    outcome = site.flask("db", "upgrade")
    assert (outcome.returncode, outcome.stdout) == (130, "")
    assert outcome.stderr.endswith("Interrupted.\n")
    assert "Traceback" not in outcome.stderr
    assert rows(site, "SELECT status FROM alembic_version_journal ORDER BY id DESC LIMIT 1") == [("interrupted",)]


def test_a_closed_pipe_is_no_traceback(site: Site):
    outcome = subprocess.run(
        f"'{sys.executable}' -m flask --app app db sql | head -c 1",
        shell=True,
        cwd=site.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in outcome.stderr


def test_the_order_does_not_depend_on_the_hash_seed(site: Site):
    for number in range(8):
        site.revision(f"b{number}", "2", PHASED.replace("email", f"email{number}"), labels=(f"x{number}", "y" * number))
    outputs = {
        tuple(
            site.flask("db", *command, env={"PYTHONHASHSEED": seed}).stdout
            for command in (
                ("sql", "heads"),
                ("status",),
                ("graph", "--format", "text"),
                ("upgrade", "--plan", "heads"),
            )
        )
        for seed in ("0", "1", "31337")
    }
    assert len(outputs) == 1
    assert all(outputs.pop())


# -- upgrade ---------------------------------------------------------------------------------------


def test_upgrade_runs_revision_by_revision_and_reports_on_standard_error(site: Site):
    outcome = run(site, "upgrade")
    words = [line.rsplit(" ... ", 1)[0] for line in outcome.stderr.splitlines()]
    assert outcome.stdout == ""
    assert words[:4] == [
        "[1/4] default: 1 before-deploy",
        "[2/4] default: 2 before-deploy",
        "[3/4] default: 2 after-deploy",
        "[4/4] default: 2 final",
    ]
    assert words[4].startswith("4 steps in ")
    assert rows(site, "SELECT version_num FROM alembic_version") == [("2",)]


def test_upgrade_with_nothing_to_do_says_so_and_succeeds(site: Site):
    run(site, "upgrade")
    outcome = run(site, "upgrade")
    assert (outcome.stdout, outcome.stderr) == ("", "Nothing to do.\n")


def test_a_phase_runs_alone_and_leaves_the_version_table_until_the_boundary_is_passed(site: Site):
    run(site, "upgrade", "--phase", "before-deploy")
    assert rows(site, "SELECT version_num FROM alembic_version") == []
    outcome = run(site, "upgrade", "--phase", "after-deploy")
    assert outcome.stderr.splitlines()[0] == "default: 1 complete"
    assert rows(site, "SELECT version_num FROM alembic_version") == [("1",)]


def test_through_runs_every_phase_up_to_the_one_named(site: Site):
    outcome = run(site, "upgrade", "--phase", "after-deploy", "--through", "--json")
    assert [(step["revision"], step["phase"]) for step in outcome.json["steps"]] == [
        ("1", "before-deploy"),
        ("2", "before-deploy"),
        ("2", "after-deploy"),
    ]


def test_a_phase_out_of_turn_is_refused_with_the_command_that_leads_on(site: Site):
    outcome = flask_db(site, "upgrade", "--phase", "final")
    assert outcome == Outcome(
        3,
        "",
        "Error: Nothing was executed: phase final may not run.\n"
        "  default: before-deploy of 1 has not run\n"
        "  default: before-deploy, after-deploy of 2 has not run\n"
        "Next: flask db upgrade --phase before-deploy\n",
    )
    assert tables(site) == []


PLAN_KEYS = {"schema", "direction", "phase", "fingerprint", "steps", "blocked", "warnings"}


def test_upgrade_json_is_the_plan_that_was_run_and_nothing_else(site: Site):
    outcome = run(site, "upgrade", "--phase", "before-deploy", "--json")
    assert set(outcome.json) == PLAN_KEYS
    assert (outcome.json["schema"], outcome.json["direction"], outcome.json["phase"]) == (
        1,
        "upgrade",
        "before-deploy",
    )
    assert [set(step) for step in outcome.json["steps"]] == [{"bind", "revision", "phase", "statements"}] * 2
    assert outcome.json["blocked"] == []
    assert "2 steps in" in outcome.stderr


def test_what_a_revision_prints_does_not_get_into_the_json_of_a_run(site: Site):
    site.revision("3", "2", "def upgrade():\n    print('hello from 3')\n")
    outcome = run(site, "upgrade", "--json")
    assert len(outcome.json["steps"]) == 5


def test_what_a_script_prints_does_not_get_into_the_json_of_a_run(site: Site):
    site.write("migrations/scripts/talk.py", "print('hello from a script')\n")
    site.revision("3", "2", "def upgrade():\n    execute_script('scripts/talk.py')\n")
    outcome = run(site, "upgrade", "--json")
    assert len(outcome.json["steps"]) == 5
    assert "hello from a script" in outcome.stderr


def test_bind_upgrades_only_that_database(bound: Site):
    outcome = run(bound, "upgrade", "--bind", "reports", "--json")
    assert [(step["bind"], step["revision"]) for step in outcome.json["steps"]] == [("reports", "1")]
    assert tables(bound) == []


def test_a_failing_step_exits_1_and_says_what_is_left_and_what_to_type(site: Site):
    path = site.revision("3", "2", "def upgrade():\n    op.execute('nonsense')\n")
    outcome = flask_db(site, "upgrade")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert 'Error: default: 3 before-deploy failed: near "nonsense": syntax error\n' in outcome.stderr
    assert "Nothing of this step is left in the database.\n" in outcome.stderr
    assert f"File: {path}\n" in outcome.stderr
    assert "flask db upgrade\n" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_the_command_to_repeat_has_the_options_that_were_given(bound: Site):
    bound.revision("3", "2", '@phased("before-deploy", bind="reports")\ndef upgrade():\n    op.execute("nonsense")\n')
    outcome = flask_db(bound, "upgrade", "--phase", "before-deploy", "--bind", "reports", "3")
    assert "flask db upgrade --phase before-deploy --bind reports 3\n" in outcome.stderr


@contextlib.contextmanager
def lock_held(site: Site) -> Iterator[None]:
    """Hold the run lock of the SQLite database as another process would."""
    other = sqlite3.connect(f"{sqlite_path(site)}.phase-lock", isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        other.close()


def test_a_lock_that_another_runner_keeps_exits_75_after_the_wait(site: Site):
    with lock_held(site):
        outcome = flask_db(site, "upgrade", "--lock-wait", "0")
    assert (outcome.status, outcome.stdout) == (75, "")
    assert outcome.stderr.startswith("Error: Another runner is at work on default and did not finish within 0 s.")
    assert "--lock-wait" in outcome.stderr
    assert tables(site) == []


@pytest.mark.parametrize("command", [["status"], ["ready"], ["journal"], ["current"], ["upgrade", "--plan"]])
def test_reading_commands_take_no_lock(site: Site, command: list[str]):
    with lock_held(site):
        assert flask_db(site, *command).status in (0, 1)


# -- plan ------------------------------------------------------------------------------------------


def test_plan_prints_each_step_and_its_sql(site: Site):
    outcome = run(site, "upgrade", "--plan", "--phase", "before-deploy")
    assert outcome.stdout == (
        "-- [1/2] default: 1 before-deploy\n"
        "CREATE TABLE account (\n\tid INTEGER NOT NULL, \n\tPRIMARY KEY (id)\n);\n"
        "-- [2/2] default: 2 before-deploy\n"
        "ALTER TABLE account ADD COLUMN email VARCHAR(20);\n"
    )
    assert outcome.stderr == ""


def test_plan_json_has_the_statements(site: Site):
    run(site, "upgrade", "1")
    plan = run(site, "upgrade", "--plan", "--json").json
    assert set(plan) == PLAN_KEYS
    assert plan["steps"][0] == {
        "bind": "default",
        "revision": "2",
        "phase": "before-deploy",
        "statements": ["ALTER TABLE account ADD COLUMN email VARCHAR(20);"],
    }


def test_the_plan_has_the_fingerprint_of_the_run(site: Site):
    planned = run(site, "upgrade", "--plan", "--json").json["fingerprint"]
    assert run(site, "upgrade", "--json").json["fingerprint"] == planned


@pytest.mark.parametrize("options", [["--phase", "before-deploy"], [], ["--phase", "final", "--through"]])
def test_plan_makes_no_table_on_an_empty_database(site: Site, options: list[str]):
    sqlite3.connect(sqlite_path(site)).close()
    run(site, "upgrade", "--plan", *options)
    assert tables(site) == []


def test_plan_leaves_the_database_file_as_it_is(site: Site):
    run(site, "upgrade", "--phase", "before-deploy")
    before = snapshot(site)
    run(site, "upgrade", "--plan", "--phase", "after-deploy")
    run(site, "upgrade", "--plan", "--json")
    run(site, "downgrade", "--plan", "base")
    assert snapshot(site) == before


def test_the_plan_of_a_refused_run_is_printed_and_exits_3(site: Site):
    outcome = flask_db(site, "upgrade", "--plan", "--phase", "final")
    assert outcome.status == 3
    assert outcome.stdout == (
        "-- blocked: default: 1 final: before-deploy of 1 has not run\n"
        "-- blocked: default: 2 final: before-deploy, after-deploy of 2 has not run\n"
    )
    assert "Next: flask db upgrade --phase before-deploy\n" in outcome.stderr


def test_the_json_plan_of_a_refused_run_names_what_blocks_it(site: Site):
    outcome = flask_db(site, "upgrade", "--plan", "--phase", "final", "--json")
    assert outcome.status == 3
    assert outcome.json["steps"] == []
    assert outcome.json["blocked"][0] == {
        "bind": "default",
        "revision": "1",
        "phase": "final",
        "because": "before-deploy of 1 has not run",
    }


def test_a_plan_of_nothing_says_so(site: Site):
    run(site, "upgrade")
    assert run(site, "upgrade", "--plan").stdout == "Nothing to do.\n"


def test_a_body_that_reads_the_database_has_a_comment_in_the_plan(site: Site):
    site.revision("3", "2", "def upgrade():\n    op.get_bind().execute(sa.text('SELECT 1')).all()\n")
    outcome = run(site, "upgrade", "--plan")
    assert "-- [5/5] default: 3 before-deploy\n-- " in outcome.stdout
    assert tables(site) == []


# -- downgrade -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["-1"], ["--", "-1"], []])
def test_downgrade_takes_a_relative_revision_with_and_without_dashes(site: Site, words: list[str]):
    run(site, "upgrade")
    run(site, "downgrade", *words)
    assert rows(site, "SELECT version_num FROM alembic_version") == [("1",)]


def test_downgrade_with_options_around_a_relative_revision(site: Site):
    run(site, "upgrade")
    plan = run(site, "downgrade", "-2", "--plan", "--json").json
    assert [(step["revision"], step["phase"]) for step in plan["steps"]] == [
        ("2", "final"),
        ("2", "after-deploy"),
        ("2", "before-deploy"),
        ("1", "before-deploy"),
    ]


def test_downgrade_of_a_phase_undoes_only_it(site: Site):
    run(site, "upgrade")
    outcome = run(site, "downgrade", "--phase", "final", "--json")
    assert [(step["revision"], step["phase"]) for step in outcome.json["steps"]] == [("2", "final")]
    assert outcome.json["direction"] == "downgrade"


def test_downgrade_of_an_earlier_phase_is_refused_while_later_ones_are_done(site: Site):
    run(site, "upgrade")
    before = snapshot(site)
    outcome = flask_db(site, "downgrade", "--phase", "before-deploy", "1")
    assert (outcome.status, outcome.stdout) == (3, "")
    assert "Next: flask db downgrade --phase final 1\n" in outcome.stderr
    assert snapshot(site) == before


# -- status, ready ---------------------------------------------------------------------------------


def test_status_json_of_a_revision_in_flight(site: Site):
    run(site, "upgrade", "--phase", "before-deploy")
    outcome = run(site, "status", "--json")
    assert outcome.stderr == ""
    assert outcome.json == {
        "schema": 1,
        "binds": [
            {
                "name": "default",
                "dialect": "sqlite",
                "current": [],
                "heads": ["2"],
                "revisions": [
                    {
                        "revision": "2",
                        "down_revision": ["1"],
                        "depends_on": [],
                        "branch_labels": [],
                        "message": "add email",
                        "state": "in-flight",
                        "phases": {"before-deploy": "done", "after-deploy": "pending", "final": "pending"},
                    },
                    {
                        "revision": "1",
                        "down_revision": [],
                        "depends_on": [],
                        "branch_labels": [],
                        "message": "create account",
                        "state": "in-flight",
                        "phases": {"before-deploy": "done", "after-deploy": "empty", "final": "empty"},
                    },
                ],
            }
        ],
    }


def test_status_as_text(site: Site):
    run(site, "upgrade", "1")
    run(site, "upgrade", "--phase", "before-deploy")
    assert run(site, "status").stdout == (
        "default (sqlite) at 1\n"
        "  [~] 2  in-flight  add email\n"
        "         before-deploy done  after-deploy pending  final pending\n"
        "  [X] 1  applied    create account\n"
    )


def test_status_of_every_bind_or_of_one(bound: Site):
    assert {item["name"] for item in run(bound, "status", "--json").json["binds"]} == {"default", "reports"}
    assert [item["name"] for item in run(bound, "status", "--json", "--bind", "reports").json["binds"]] == ["reports"]


def test_the_unnamed_bind_comes_first(bound: Site):
    assert [item["name"] for item in run(bound, "status", "--json").json["binds"]] == ["default", "reports"]


def test_status_check_exits_1_while_anything_is_pending(site: Site):
    run(site, "upgrade", "--phase", "before-deploy")
    outcome = flask_db(site, "status", "--check", "--json")
    assert outcome.status == 1
    assert outcome.json["binds"][0]["current"] == []
    run(site, "upgrade")
    assert flask_db(site, "status", "--check").status == 0


def test_status_reports_a_revision_without_a_file(site: Site):
    run(site, "upgrade")
    rows(site, "UPDATE alembic_version SET version_num = 'zz'")
    found = run(site, "status", "--json").json["binds"][0]
    assert found["current"] == ["zz"]
    assert found["revisions"][0] == {
        "revision": "zz",
        "down_revision": [],
        "depends_on": [],
        "branch_labels": [],
        "message": "",
        "state": "missing",
        "phases": {},
    }


def test_ready_is_about_the_phases_up_to_the_boundary(site: Site):
    assert flask_db(site, "ready").status == 1
    run(site, "upgrade", "--phase", "before-deploy")
    assert flask_db(site, "ready") == Outcome(0, "", "Ready.\n")


def test_ready_for_a_later_phase(site: Site):
    run(site, "upgrade", "--phase", "before-deploy")
    outcome = flask_db(site, "ready", "--phase", "final")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("Error: Not ready: default: 2 after-deploy")
    assert "flask db upgrade --phase final --through" in outcome.stderr


def test_ready_waits_as_long_as_it_is_told(site: Site):
    assert flask_db(site, "ready", "--wait", "0.02").status == 1


def test_ready_notices_what_another_process_does_while_it_waits(site: Site):
    waiting = site.start("db", "ready", "--wait", "60")
    try:
        run(site, "upgrade")
        _, stderr = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert (waiting.returncode, stderr) == (0, "Ready.\n")


# -- journal, trace, resolve -----------------------------------------------------------------------

EXECUTION_KEYS = {
    "id",
    "script",
    "checksum",
    "run_id",
    "revision",
    "phase",
    "operation",
    "status",
    "started_at",
    "finished_at",
    "duration_ms",
    "host",
    "pid",
    "session",
    "operator",
    "app_version",
    "error",
    "traceback",
    "bind",
}


@pytest.fixture
def failed(site: Site) -> Site:
    """Revisions 1 and 2 are applied; 3 failed once, was mended and applied; 4 failed."""
    site.revision("3", "2", "def upgrade():\n    op.execute('nonsense')\n")
    assert flask_db(site, "upgrade").status == 1
    site.revision("3", "2", "def upgrade():\n    op.execute('SELECT 1')\n")
    run(site, "upgrade")
    site.revision("4", "3", "def upgrade():\n    raise ValueError('no luck')\n")
    assert flask_db(site, "upgrade").status == 1
    return site


def test_journal_json_is_newest_first_and_has_every_column(failed: Site):
    outcome = run(failed, "journal", "--json")
    assert (outcome.json["schema"], outcome.stderr) == (1, "")
    executions = outcome.json["executions"]
    assert [set(item) for item in executions] == [EXECUTION_KEYS] * len(executions)
    assert [(item["revision"], item["status"]) for item in executions] == [
        ("4", "failed"),
        ("3", "done"),
        ("3", "failed"),
        ("2", "done"),
        ("2", "done"),
        ("2", "done"),
        ("1", "done"),
    ]
    assert executions[0]["error"] == "no luck"
    assert executions[0]["started_at"].endswith("Z")


def test_journal_errors_open_and_limit(failed: Site):
    def found(*options: str) -> list[str]:
        return [item["revision"] for item in run(failed, "journal", "--json", *options).json["executions"]]

    assert found("--errors") == ["4", "3"]
    assert found("--errors", "--open") == ["4"]
    assert found("--open") == ["4"]
    assert found("--limit", "2") == ["4", "3"]
    assert found("--errors", "--limit", "1") == ["4"]


def test_journal_as_text_has_the_first_line_of_the_error(failed: Site):
    lines = run(failed, "journal", "--limit", "1").stdout.splitlines()
    assert "upgrade 4 before-deploy  failed" in lines[0]
    assert lines[1] == "    no luck"


def test_journal_of_a_database_that_was_never_touched_is_empty(site: Site):
    assert run(site, "journal") == Outcome(0, "", "")
    assert run(site, "journal", "--json").json == {"schema": 1, "executions": []}
    assert tables(site) == []


def test_the_operator_is_recorded(site: Site):
    run(site, "upgrade", "--operator", "grace")
    assert {item["operator"] for item in run(site, "journal", "--json").json["executions"]} == {"grace"}


def test_trace_prints_the_stored_traceback_exactly(failed: Site):
    (number, stored) = rows(
        failed, "SELECT id, traceback FROM alembic_version_journal WHERE revision = '4' AND status = 'failed'"
    )[0]
    assert run(failed, "trace", str(number)).stdout == f"{stored}\n"
    assert "raise ValueError('no luck')" in stored


def test_trace_of_an_execution_that_went_well(failed: Site):
    assert run(failed, "trace", "1").stdout == "Execution 1 has no traceback: it is done.\n"


@pytest.fixture
def interrupted(site: Site) -> Site:
    """2 after-deploy began and its end was never recorded."""
    run(site, "upgrade", "--phase", "before-deploy")
    rows(
        site,
        "INSERT INTO alembic_version_phase (revision, phase, status, statement, started_at) "
        "VALUES ('2', 'after-deploy', 'running', 0, '2026-01-02 03:04:05')",
    )
    return site


def test_an_interrupted_step_exits_4_and_names_resolve(interrupted: Site):
    before = snapshot(interrupted)
    outcome = flask_db(interrupted, "upgrade", "--phase", "after-deploy")
    assert (outcome.status, outcome.stdout) == (4, "")
    assert "2 after-deploy began at 2026-01-02 03:04:05Z and never ended" in outcome.stderr
    assert "flask db resolve 2 after-deploy --mark-done --reason TEXT" in outcome.stderr
    assert snapshot(interrupted) == before


def test_the_plan_of_an_interrupted_step_exits_4(interrupted: Site):
    outcome = flask_db(interrupted, "upgrade", "--plan", "--json")
    assert outcome.status == 4
    assert [item["phase"] for item in outcome.json["blocked"]] == ["after-deploy"]


@pytest.mark.parametrize(
    ("action", "status"), [("--mark-done", "done"), ("--restart", "pending"), ("--resume", "failed")]
)
def test_resolve_settles_an_interrupted_step(interrupted: Site, action: str, status: str):
    outcome = run(interrupted, "resolve", "2", "after-deploy", action, "--reason", "looked at it")
    assert outcome.stdout == ""
    assert "flask db upgrade --phase after-deploy" in outcome.stderr
    phases = run(interrupted, "status", "--json").json["binds"][0]["revisions"][0]["phases"]
    assert phases["after-deploy"] == status
    execution = run(interrupted, "journal", "--json", "--limit", "1").json["executions"][0]
    assert (execution["revision"], execution["phase"], execution["error"]) == ("2", "after-deploy", "looked at it")
    run(interrupted, "upgrade")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--reason", "x"], "Say how to go on: --resume, --restart or --mark-done."),
        (["--restart"], "Say why, for the journal: --reason TEXT."),
    ],
)
def test_resolve_wants_to_know_how_and_why(interrupted: Site, options: list[str], message: str):
    before = snapshot(interrupted)
    outcome = flask_db(interrupted, "resolve", "2", "after-deploy", *options)
    assert outcome == Outcome(2, "", f"Error: {message}\n")
    assert snapshot(interrupted) == before


def test_resolve_of_a_step_that_is_not_interrupted(site: Site):
    run(site, "upgrade")
    outcome = flask_db(site, "resolve", "2", "final", "--restart", "--reason", "x")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: 2 final is not interrupted")


# -- sql -------------------------------------------------------------------------------------------


def test_sql_is_all_there_is_on_standard_output(site: Site):
    site.revision("3", "2", "def upgrade():\n    print('hello from 3')\n    op.execute('SELECT 3')\n")
    outcome = run(site, "sql", "2:head")
    assert outcome.stdout == (
        "-- Running upgrade 2 -> 3\n\n-- PHASE::before-deploy::;\n\nSELECT 3;\n\n"
        "UPDATE alembic_version SET version_num='3' WHERE alembic_version.version_num = '2';\n\n"
    )
    assert outcome.stderr == "hello from 3\n"


def test_sql_is_the_same_from_run_to_run_and_touches_no_database(site: Site):
    before = snapshot(site)
    first = [run(site, "sql", *options).stdout for options in ([], ["--phase", "final"], ["--format", "json"])]
    second = [run(site, "sql", *options).stdout for options in ([], ["--phase", "final"], ["--format", "json"])]
    assert first == second
    assert snapshot(site) == before
    assert not sqlite_path(site).exists()


def test_sql_runs_as_it_is_printed(site: Site):
    script = run(site, "sql").stdout
    connection = sqlite3.connect(sqlite_path(site))
    connection.executescript(script)
    connection.close()
    assert run(site, "status", "--json").json["binds"][0]["current"] == ["2"]
    assert flask_db(site, "status", "--check").status == 0


def test_sql_of_each_phase_in_turn_leaves_what_upgrade_leaves(site: Site):
    connection = sqlite3.connect(sqlite_path(site))
    for phase in ("before-deploy", "after-deploy", "final"):
        connection.executescript(run(site, "sql", "--phase", phase).stdout)
    connection.close()
    assert flask_db(site, "status", "--check").status == 0
    assert rows(site, "SELECT * FROM alembic_version_phase") == []


def test_sql_downgrade(site: Site):
    assert run(site, "sql", "--downgrade", "2:1").stdout.splitlines()[::2] == [
        "-- Running downgrade 2 -> 1",
        "-- PHASE::final::;",
        "DROP INDEX ix_email;",
        "-- PHASE::after-deploy::;",
        "UPDATE account SET email = NULL;",
        "-- PHASE::before-deploy::;",
        "ALTER TABLE account DROP COLUMN email;",
        "UPDATE alembic_version SET version_num='1' WHERE alembic_version.version_num = '2';",
    ]


def test_sql_from_where_the_database_is(site: Site):
    run(site, "upgrade", "1")
    before = snapshot(site)
    assert run(site, "sql", "current:head").stdout.startswith("-- Running upgrade 1 -> 2\n")
    assert snapshot(site) == before


def test_sql_from_where_the_database_is_does_not_repeat_what_is_done_in_flight(site: Site):
    run(site, "upgrade", "--phase", "before-deploy")
    outcome = flask_db(site, "sql", "current:head")
    assert (outcome.status, outcome.stdout) == (3, "")
    assert "1, 2 is in flight on default" in outcome.stderr
    assert "flask db sql --phase PHASE current:head" in outcome.stderr
    assert "UPDATE account" in run(site, "sql", "--phase", "after-deploy", "current:head").stdout


@pytest.mark.parametrize(
    ("dialect", "words"),
    [
        ("postgresql", "id SERIAL NOT NULL"),
        ("mysql", "id INTEGER NOT NULL AUTO_INCREMENT"),
        ("mariadb", "id INTEGER NOT NULL AUTO_INCREMENT"),
        ("sqlite", "id INTEGER NOT NULL"),
        ("mssql", "id INTEGER NOT NULL IDENTITY"),
        ("oracle", "id INTEGER"),
    ],
)
def test_sql_for_another_dialect(site: Site, dialect: str, words: str):
    assert words in run(site, "sql", "--dialect", dialect).stdout


def test_sql_of_several_binds_has_to_say_which(bound: Site):
    outcome = flask_db(bound, "sql")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: There are several binds: ")
    assert outcome.stderr.endswith(". Choose one with --bind NAME, or write a file each: --split DIR\n")
    assert "CREATE TABLE report" in run(bound, "sql", "--bind", "reports").stdout
    assert "CREATE TABLE report" not in run(bound, "sql", "--bind", "default").stdout


def test_sql_as_json_of_several_binds_has_to_say_which(bound: Site):
    assert flask_db(bound, "sql", "--format", "json").status == 2
    found = run(bound, "sql", "--format", "json", "--bind", "reports", "--dialect", "postgresql").json
    assert "id SERIAL" in found["migrations"][0]["phases"]["before-deploy"]["steps"][0]["script"]


def test_sql_split_writes_a_file_for_each_phase_and_bind(bound: Site):
    outcome = run(bound, "sql", "--split", "out/sql")
    assert outcome.stdout == ""
    assert sorted(path.name for path in (bound.folder / "out/sql").iterdir()) == [
        "01-before-deploy.default.sql",
        "01-before-deploy.reports.sql",
        "02-after-deploy.default.sql",
        "02-after-deploy.reports.sql",
        "03-final.default.sql",
        "03-final.reports.sql",
        "manifest.json",
    ]
    assert "Wrote out/sql/01-before-deploy.default.sql\n" in outcome.stderr
    assert (bound.folder / "out/sql/03-final.default.sql").read_text() == run(
        bound, "sql", "--phase", "final", "--bind", "default"
    ).stdout


def test_sql_split_of_one_phase_and_bind(bound: Site):
    run(bound, "sql", "--split", "out", "--phase", "final", "--bind", "reports")
    assert sorted(path.name for path in (bound.folder / "out").iterdir()) == [
        "01-final.reports.sql",
        "manifest.json",
    ]


def test_sql_split_writes_nothing_if_one_part_fails(site: Site):
    site.revision("3", "2", '@phased("final")\ndef upgrade():\n    op.get_bind().execute(sa.text("SELECT 1")).all()\n')
    outcome = flask_db(site, "sql", "--split", "out")
    assert (outcome.status, outcome.stdout) == (3, "")
    assert not (site.folder / "out").exists()


def test_sql_into_a_file_is_what_would_be_printed(site: Site):
    outcome = run(site, "sql", "-o", "out.sql")
    assert (outcome.stdout, outcome.stderr) == ("", "Wrote out.sql\n")
    assert (site.folder / "out.sql").read_text() == run(site, "sql").stdout


def test_a_failure_leaves_the_file_that_was_there(site: Site):
    site.write("out.sql", "old")
    site.revision("3", "2", "def upgrade():\n    raise ValueError('no')\n")
    outcome = flask_db(site, "sql", "-o", "out.sql")
    assert (outcome.status, outcome.stdout) == (3, "")
    assert (site.folder / "out.sql").read_text() == "old"
    assert [path.name for path in site.folder.iterdir() if path.name.startswith(".out")] == []


def test_a_failure_writes_no_partial_output(site: Site):
    site.revision("3", "2", "def upgrade():\n    op.execute('SELECT 3')\n    raise ValueError('no')\n")
    outcome = flask_db(site, "sql")
    assert (outcome.status, outcome.stdout) == (3, "")


def test_sql_as_json_has_the_migration_data_base_first(site: Site):
    found = run(site, "sql", "--format", "json").json
    assert set(found) == {"schema", "migrations"}
    assert [item["revision"] for item in found["migrations"]] == ["1", "2"]
    assert [set(item) for item in found["migrations"]] == [
        {"revision", "down_revision", "attributes", "phases", "depends_on", "branch_labels"}
    ] * 2
    assert found["migrations"][1]["phases"]["after-deploy"] == {
        "name": "after-deploy",
        "steps": [{"type": "sqlite", "script": "UPDATE account SET email = 'x';"}],
    }
    assert [item["revision"] for item in run(site, "sql", "--format", "json", "1:head").json["migrations"]] == ["2"]


def test_sql_as_json_takes_the_script_attributes(project: Callable[..., Site], sqlite_url: str):
    site = two_revisions(project(sqlite_url, config={"MIGRATE_SCRIPT_ATTRIBUTES": "ticket"}))
    site.revision("3", "2", "ticket = 'A-1'\ndef upgrade():\n    pass\n")
    found = run(site, "sql", "--format", "json").json["migrations"]
    assert [item["attributes"] for item in found] == [{"ticket": None}, {"ticket": None}, {"ticket": "A-1"}]


@pytest.mark.parametrize(
    "options",
    [
        ["sql", "--split", "out", "-o", "x.sql"],
        ["sql", "--split", "out", "--format", "json"],
        ["sql", "--format", "json", "--phase", "final"],
        ["sql", "--format", "json", "--downgrade", "head:base"],
        ["upgrade", "--sql", "--plan"],
        ["upgrade", "--sql", "--json"],
        ["upgrade", "--sql", "--through", "--phase", "final"],
        ["upgrade", "--through"],
        ["downgrade", "--sql", "--plan"],
        ["graph", "--bind", "default"],
    ],
)
def test_an_option_that_would_be_ignored_is_refused(site: Site, options: list[str]):
    before = snapshot(site)
    outcome = flask_db(site, *options)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: ")
    assert snapshot(site) == before


# -- Flask-Migrate's and Alembic's commands --------------------------------------------------------


def test_current_marks_what_is_in_flight(site: Site):
    run(site, "upgrade", "1")
    run(site, "upgrade", "--phase", "before-deploy")
    assert run(site, "current").stdout == "1\n2 (in flight: before-deploy done)\n"


def test_current_check_heads(site: Site):
    run(site, "upgrade", "1")
    assert flask_db(site, "current", "--check-heads").status == 1
    run(site, "upgrade")
    assert flask_db(site, "current", "-c").status == 0


def test_ensure_version_makes_the_version_table_alone(site: Site):
    assert run(site, "ensure-version") == Outcome(0, "", "")
    assert tables(site) == ["alembic_version"]
    run(site, "ensure-version")


def test_ensure_version_as_sql(site: Site):
    assert run(site, "ensure-version", "--sql").stdout.startswith("CREATE TABLE alembic_version (")
    assert tables(site) == []


def test_stamp_takes_several_revisions(site: Site):
    site.revision("3", "1", PLAIN)
    run(site, "stamp", "2", "3")
    assert rows(site, "SELECT version_num FROM alembic_version ORDER BY 1") == [("2",), ("3",)]


def test_stamp_clears_the_ledger_below(site: Site):
    run(site, "upgrade", "--phase", "before-deploy")
    run(site, "stamp", "head")
    assert rows(site, "SELECT * FROM alembic_version_phase") == []
    assert flask_db(site, "status", "--check").status == 0


def test_stamp_purge(site: Site):
    run(site, "upgrade")
    rows(site, "UPDATE alembic_version SET version_num = 'zz'")
    run(site, "stamp", "--purge", "1")
    assert rows(site, "SELECT version_num FROM alembic_version") == [("1",)]


def test_revision_depends_on(site: Site):
    site.revision("3", "1", PLAIN)
    run(site, "revision", "-m", "four", "--head", "3", "--rev-id", "4", "--depends-on", "2", "--depends-on", "1")
    found = run(site, "status", "--json").json["binds"][0]["revisions"]
    assert [row["depends_on"] for row in found if row["revision"] == "4"] == [["2", "1"]]


def test_revision_without_depends_on_has_none(site: Site):
    run(site, "revision", "-m", "three", "--rev-id", "3")
    assert "depends_on = None" in next(site.versions.glob("3_*.py")).read_text()


def test_merge_joins_all_heads_without_names(site: Site):
    site.revision("3", "1", PLAIN)
    run(site, "merge", "-m", "join", "--rev-id", "m")
    assert run(site, "heads").stdout == "m (head)\n"


def test_merge_splice(site: Site):
    site.revision("3", "1", PLAIN)
    site.revision("4", "3", PLAIN)
    assert flask_db(site, "merge", "3", "2", "-m", "join").status == 1
    run(site, "merge", "--splice", "3", "2", "-m", "join", "--rev-id", "m")
    found = run(site, "status", "--json").json["binds"][0]["revisions"]
    assert [row["down_revision"] for row in found if row["revision"] == "m"] == [["3", "2"]]


def test_merge_of_one_head_says_that_there_is_nothing_to_do(site: Site):
    before = snapshot(site)
    assert run(site, "merge").stdout == "There is 1 head: nothing to merge.\n"
    assert snapshot(site) == before


def test_output_of_alembics_commands_is_captured(site: Site):
    assert run(site, "heads").stdout == "2 (head)\n"
    assert run(site, "history").stdout == "1 -> 2 (head), add email\n<base> -> 1, create account\n"
    assert run(site, "show", "2").stdout.startswith("Rev: 2 (head)\n")
    assert run(site, "branches").stdout == ""
    assert run(site, "list-templates").stdout.startswith("Available templates:\n\nflask - ")


def test_upgrade_sql_marks_phased_revisions_only(site: Site):
    output = run(site, "upgrade", "--sql").stdout
    assert [line for line in output.splitlines() if "PHASE::" in line] == [
        "-- PHASE::before-deploy::;",
        "-- PHASE::after-deploy::;",
        "-- PHASE::final::;",
    ]


@pytest.mark.parametrize("where", ["group", "command"])
def test_config_and_name_are_taken_by_the_group_and_by_each_command(site: Site, where: str):
    site.write("other.ini", "[alembic]\nphases = a b\n\n[second]\nphases = one two\n")
    options = ["--config", "other.ini", "--name", "second"]
    words = [*options, "environ"] if where == "group" else ["environ", *options]
    assert "MIGRATE_PHASES = one, two  (alembic.ini)\n" in run(site, *words).stdout


def test_the_section_of_the_configuration_has_to_exist(site: Site):
    outcome = flask_db(site, "--name", "nope", "heads")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert "nope" in outcome.stderr


@pytest.mark.parametrize("words", [["--raiseerr", "upgrade", "nope"], ["upgrade", "--raiseerr", "nope"]])
def test_raiseerr_lets_the_error_out(site: Site, words: list[str]):
    from alembic.util import CommandError

    with pytest.raises(CommandError, match="nope"):
        flask_db(site, *words)


def test_raiseerr_shows_the_traceback_in_a_real_process(site: Site):
    outcome = site.flask("db", "upgrade", "--raiseerr", "nope")
    assert outcome.returncode == 1
    assert "Traceback (most recent call last)" in outcome.stderr


@pytest.mark.parametrize("words", [["--quiet", "upgrade"], ["upgrade", "-q"]])
def test_quiet_is_silent(site: Site, words: list[str]):
    assert flask_db(site, *words) == Outcome(0, "", "")
    assert flask_db(site, *words) == Outcome(0, "", "")


@pytest.mark.parametrize(
    "words", [["ready"], ["sql", "-o", "x.sql"], ["sql", "--split", "out"], ["stamp"], ["downgrade"]]
)
def test_quiet_silences_the_other_commands_too(site: Site, words: list[str]):
    run(site, "upgrade", "--quiet")
    assert flask_db(site, *words, "--quiet") == Outcome(0, "", "")


def test_quiet_keeps_errors(site: Site):
    outcome = flask_db(site, "upgrade", "--quiet", "nope")
    assert outcome.status == 1
    assert outcome.stderr.startswith("Error: Can't locate revision identified by 'nope'.")


# -- reading never writes --------------------------------------------------------------------------

READING = [
    ["status"],
    ["status", "--json"],
    ["status", "--check"],
    ["ready"],
    ["ready", "--phase", "final"],
    ["journal"],
    ["journal", "--json", "--errors", "--open"],
    ["trace", "1"],
    ["current"],
    ["current", "-v"],
    ["heads"],
    ["history", "-i"],
    ["branches"],
    ["show"],
    ["check"],
    ["graph", "--status"],
    ["environ"],
    ["sql"],
    ["sql", "current:head"],
    ["sql", "--phase", "final"],
    ["upgrade", "--sql"],
    ["upgrade", "--plan"],
    ["downgrade", "--sql"],
    ["downgrade", "--plan", "base"],
    ["stamp", "--sql", "head"],
]


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_reading_an_empty_database_makes_no_table(site: Site, words: list[str]):
    sqlite3.connect(sqlite_path(site)).close()
    before = snapshot(site)
    flask_db(site, *words)
    assert tables(site) == []
    assert snapshot(site) == before


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_reading_changes_no_byte_of_a_database_in_flight(site: Site, words: list[str]):
    run(site, "upgrade", "--phase", "before-deploy")
    before = snapshot(site)
    flask_db(site, *words)
    assert snapshot(site) == before


# -- one process, several calls --------------------------------------------------------------------


def test_options_of_one_call_do_not_reach_the_next(site: Site):
    site.write("other.ini", "[second]\nphases = one two\n")
    with working_directory(site.folder), site.app() as app:
        invoke(app, "--quiet", "--raiseerr", "--config", "other.ini", "--name", "second", "-x", "a=1", "heads")
        invoke(app, "upgrade", "--quiet", "--operator", "grace", "1")
        second = invoke(app, "upgrade")
        unknown = invoke(app, "upgrade", "nope")
        environ = invoke(app, "environ")
        operators = invoke(app, "journal", "--json").json["executions"]
    assert "3 steps in" in second.stderr
    assert unknown.status == 1
    assert "MIGRATE_PHASES = before-deploy, after-deploy, final  (default)\n" in environ.stdout
    assert "grace" not in {item["operator"] for item in operators[:-1]}


def test_a_command_leaves_nothing_behind_for_functions_in_the_same_context(site: Site):
    from flask import g

    with working_directory(site.folder), site.app() as app:
        g.directory = "kept"
        invoke(app, "-d", "elsewhere", "-x", "a=1", "--quiet", "heads")
        assert (g.directory, "x_arg" in g, "migrate_quiet" in g) == ("kept", False, False)


def test_the_applications_logger_still_works_after_a_command(site: Site):
    with working_directory(site.folder), site.app() as app:
        invoke(app, "upgrade")
        assert (app.logger.disabled, app.logger.parent.name) == (False, "root")


def test_upgrade_then_migrate_in_one_process_see_the_same_models(project: Callable[..., Site], sqlite_url: str):
    site = project(
        sqlite_url,
        models="class Account(db.Model):\n    id = db.Column(db.Integer, primary_key=True)\n",
    )
    with working_directory(site.folder), site.app() as app:
        ok(invoke(app, "migrate", "-m", "one", "--rev-id", "1"))
        ok(invoke(app, "upgrade"))
        again = invoke(app, "migrate", "-m", "two")
    assert "No changes in schema detected" in again.stderr
    assert len(list(site.versions.glob("*.py"))) == 1


# -- configuration ---------------------------------------------------------------------------------


def phases_of(site: Site) -> str:
    """Return the line about the phases that ``environ`` prints."""
    return next(line for line in run(site, "environ").stdout.splitlines() if line.startswith("MIGRATE_PHASES"))


def test_phases_come_from_the_app_then_alembic_ini_then_pyproject(project: Callable[..., Site], sqlite_url: str):
    ini = {"# phases = before-deploy after-deploy final": "phases = c d"}
    toml = '[tool.alembic]\nphases = ["e", "f"]\n'
    all_three = project(sqlite_url, config={"MIGRATE_PHASES": ["a", "b"]}, ini=ini)
    two = project(sqlite_url, ini=ini)
    one = project(sqlite_url)
    none = project(sqlite_url)
    for site in (all_three, two, one):
        site.write("pyproject.toml", toml)
    assert [phases_of(site) for site in (all_three, two, one, none)] == [
        "MIGRATE_PHASES = a, b  (application)",
        "MIGRATE_PHASES = c, d  (alembic.ini)",
        "MIGRATE_PHASES = e, f  (pyproject.toml)",
        "MIGRATE_PHASES = before-deploy, after-deploy, final  (default)",
    ]


def test_environ_masks_passwords_and_other_secrets(project: Callable[..., Site], tmp_path: Path):
    site = project(
        "postgresql+psycopg://anna:secret1@127.0.0.1:1/x?sslpassword=secret2&application_name=shop",
        binds={"reports": "mysql+pymysql://anna:secret3@127.0.0.1:1/x"},
    )
    output = run(site, "environ").stdout
    assert "secret" not in output
    assert "postgresql+psycopg://anna:***@127.0.0.1:1/x?" in output
    assert "application_name=shop" in output
    assert "database reports = mysql+pymysql://anna:***@127.0.0.1:1/x" in output


def test_environ_works_where_the_phases_cannot_be_used(project: Callable[..., Site], sqlite_url: str):
    site = project(sqlite_url, config={"MIGRATE_PHASES": "a,a"})
    assert "MIGRATE_PHASES = a,a  (application)\n" in run(site, "environ").stdout


def test_a_phase_that_is_no_longer_configured_does_not_break_applied_revisions(
    project: Callable[..., Site], sqlite_url: str
):
    run(two_revisions(project(sqlite_url)), "upgrade")
    site = two_revisions(project(sqlite_url, config={"MIGRATE_PHASES": "early late"}))
    for command in (["status"], ["upgrade"], ["ready"], ["upgrade", "--phase", "late"], ["status", "--check"]):
        run(site, *command)


def test_a_pending_revision_that_names_an_unknown_phase_is_refused_with_its_file(
    project: Callable[..., Site], sqlite_url: str
):
    site = two_revisions(project(sqlite_url, config={"MIGRATE_PHASES": "early late"}))
    run(site, "upgrade", "1")
    before = snapshot(site)
    outcome = flask_db(site, "upgrade")
    assert (outcome.status, outcome.stdout) == (3, "")
    assert (
        f"{site.versions}/2.py: it names the phase 'before-deploy', but the phases are: early, late" in outcome.stderr
    )
    assert snapshot(site) == before


def test_the_group_can_have_another_name(project: Callable[..., Site], sqlite_url: str):
    site = two_revisions(project(sqlite_url, more="Migrate(app, db, directory=migrate.directory, command='schema')"))
    with working_directory(site.folder), site.app() as app:
        result = app.test_cli_runner().invoke(args=["schema", "heads"])
    assert result.stdout == "2 (head)\n"


def test_an_application_without_migrate_is_told_what_to_write(tmp_path: Path):
    from flask import Flask

    app = Flask("bare")
    app.cli.add_command(group)
    outcome = invoke(app, "heads")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: The application bare has no migrations: call Migrate(app, db)")


def test_every_declared_option_reaches_its_command():
    for command in group.commands.values():
        accepted = set(inspect.signature(inspect.unwrap(command.callback)).parameters)
        declared = {parameter.name for parameter in command.params}
        takes_rest = "options" in accepted
        globals_of_all = {"config", "name", "raiseerr", "quiet", "operator"}
        assert takes_rest or declared - accepted <= globals_of_all, command.name
