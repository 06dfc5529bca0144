"""Plans: what is pending, in which order, what blocks it, when the version table moves, and back again."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_phased_migrate.errors import UsageError
from flask_phased_migrate.graph import Graph, Revision
from flask_phased_migrate.phases import Bodies, Body, PhasedPart, Phases, body_checksum
from flask_phased_migrate.plan import (
    Action,
    Blocked,
    History,
    Plan,
    Record,
    Step,
    bind_status,
    complete_revisions,
    in_flight,
    is_complete,
    join_plans,
    plan_downgrade,
    plan_upgrade,
    pointer_after,
    pointer_before,
    resolve_choices,
    simulate,
    strangers,
)

B, A, F = "before-deploy", "after-deploy", "final"
PHASES = Phases()


def code() -> None:
    """Stands for what a revision does."""


def parts(*phases: str, bind: str | None = "default") -> Bodies:
    """Return the bodies of a phased function with code in ``phases``."""
    return Bodies(tuple(Body(phase, PhasedPart(code), bind) for phase in phases), phased=True, named=phases)


def plain(phase: str = B) -> Bodies:
    """Return the bodies of an unphased function."""
    return Bodies((Body(phase, code),), named=(phase,))


def revision(
    id_: str,
    *phases: str,
    down: str | tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    upgrade: Bodies | None = None,
    downgrade: Bodies | None = None,
) -> Revision:
    """Return a revision with code in ``phases``, and a downgrade of the same ones unless given."""
    return Revision(
        id_,
        down=(down,) if isinstance(down, str) else down,
        depends_on=needs,
        path=f"versions/{id_}.py",
        upgrade=parts(*phases) if upgrade is None else upgrade,
        downgrade=parts(*phases) if downgrade is None else downgrade,
    )


def graph(*revisions: Revision) -> Graph:
    return Graph({one.id: one for one in revisions})


def history(*heads: str, done: Iterable[tuple[str, str]] = (), **more: Any) -> History:
    records = {key: Record(*key) for key in done}
    for id_, phase, status in more.pop("open", ()):
        records[id_, phase] = Record(id_, phase, status)
    return History("default", frozenset(heads), records, **more)


def step(id_: str, phase: str) -> Step:
    return Step("default", id_, phase)


def run(id_: str, phase: str, *passes: str) -> Action:
    return Action("default", step(id_, phase), passes=passes)


def up(
    graph: Graph, history: History, phase: str | None = None, covered: Iterable[str] | None = None, **more: Any
) -> Plan:
    """Return the plan of an upgrade of every revision, or of those ``covered``."""
    names = set(graph.revisions) if covered is None else graph.closure(covered)
    return plan_upgrade(graph, history, more.pop("phases", PHASES), names, phase=phase, **more)


def down(
    graph: Graph, history: History, phase: str | None = None, undone: Iterable[str] | None = None, **more: Any
) -> Plan:
    """Return the plan of a downgrade to base, or of what is ``undone``."""
    names = set(graph.revisions) if undone is None else set(undone)
    more.setdefault("target", "base")
    return plan_downgrade(graph, history, more.pop("phases", PHASES), names, phase=phase, **more)


TWO = graph(revision("1", B, F), revision("2", B, A, F, down="1"))


# -- one phase ------------------------------------------------------------------------------------


def test_a_phase_runs_of_every_revision_that_is_not_complete_oldest_first() -> None:
    assert up(TWO, history(), B) == Plan("upgrade", B, (run("1", B), run("2", B)))


def test_revisions_that_are_complete_are_left_out() -> None:
    assert up(TWO, history("1"), B).steps == (step("2", B),)


def test_steps_in_the_ledger_are_not_run_again() -> None:
    assert up(TWO, history(done=[("1", B)]), B).steps == (step("2", B),)


def test_nothing_to_do_is_an_empty_plan() -> None:
    assert up(TWO, history("2"), B) == Plan("upgrade", B)


def test_a_ledger_row_of_a_complete_revision_changes_nothing() -> None:
    assert up(TWO, history("2", open=[("1", B, "running"), ("2", F, "failed")]), F) == Plan("upgrade", F)


def test_a_phase_that_no_revision_has_code_for_passes_nothing_that_still_owes() -> None:
    assert up(graph(revision("1", B, F)), history(done=[("1", B)]), A) == Plan("upgrade", A)


def test_the_target_limits_the_run() -> None:
    assert up(TWO, history(), B, covered=["1"]).steps == (step("1", B),)


def test_a_later_phase_may_run_up_to_a_target_while_the_rest_has_not_begun() -> None:
    assert up(TWO, history(done=[("1", B)]), F, covered=["1"]) == Plan("upgrade", F, (run("1", F, "1"),))


def test_an_unknown_phase_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="There is no phase 'fnial'"):
        up(TWO, history(), "fnial")


# -- refused --------------------------------------------------------------------------------------


def test_final_waits_for_its_own_earlier_phases() -> None:
    assert up(TWO, history(done=[("1", B)]), F) == Plan(
        "upgrade",
        F,
        blocked=(
            Blocked(
                step("2", F),
                because="before-deploy, after-deploy of 2 has not run",
                command="flask db upgrade --phase before-deploy",
                missing=(step("2", B), step("2", A)),
            ),
        ),
    )


def test_every_revision_that_owes_an_earlier_phase_is_listed_with_the_first_command_that_helps() -> None:
    plan = up(TWO, history(), A)
    assert [(block.step, block.missing) for block in plan.blocked] == [
        (step("1", A), (step("1", B),)),
        (step("2", A), (step("2", B),)),
    ]
    assert {block.command for block in plan.blocked} == {"flask db upgrade --phase before-deploy"}


def test_the_command_that_is_proposed_has_the_target_as_typed() -> None:
    plan = up(TWO, history(), A, covered=["1"], target="1")
    assert plan.blocked[0].command == "flask db upgrade --phase before-deploy 1"


def test_an_earlier_phase_without_code_is_not_missing() -> None:
    assert up(graph(revision("1", F)), history(), F) == Plan("upgrade", F, (run("1", F, "1"),))


def test_an_ancestor_that_owes_an_earlier_phase_blocks_too() -> None:
    plan = up(TWO, history(done=[("2", B), ("2", A)]), F, covered=["2"])
    assert [block.missing for block in plan.blocked] == [(step("1", B),)]


def test_a_refused_plan_has_no_actions() -> None:
    assert up(TWO, history(), F).actions == ()


@pytest.mark.parametrize("phase", [None, B, A, F])
def test_an_interrupted_step_blocks_every_run_that_covers_it(phase: str | None) -> None:
    plan = up(TWO, history(done=[("1", B), ("1", F)], open=[("2", B, "running")]), phase)
    assert (plan.actions, [(block.step, block.interrupted) for block in plan.blocked]) == ((), [(step("2", B), True)])


@pytest.mark.parametrize("checksum", [None, body_checksum(TWO["2"].upgrade.parts[1])])
def test_a_step_that_failed_at_a_known_place_is_planned_again(checksum: str | None) -> None:
    records = {("2", B): Record("2", B), ("2", A): Record("2", A, "failed", statement=2, checksum=checksum)}
    assert up(TWO, History("default", frozenset({"1"}), records), A) == Plan(
        "upgrade", A, (replace(run("2", A), skip=2),)
    )


def test_a_failed_step_still_holds_back_the_later_phases() -> None:
    plan = up(TWO, history("1", open=[("2", B, "failed")]), A)
    assert [(block.missing, block.interrupted) for block in plan.blocked] == [((step("2", B),), False)]


@pytest.mark.parametrize(
    "record", [Record("2", B, "failed", checksum="that of another text"), Record("2", "gone", "failed")]
)
def test_a_failed_step_whose_code_has_changed_blocks(record: Record) -> None:
    plan = up(TWO, History("default", frozenset({"1"}), {("2", record.phase): record}))
    assert (plan.actions, [(block.step, block.interrupted) for block in plan.blocked]) == (
        (),
        [(step("2", record.phase), True)],
    )


def test_an_interrupted_step_beyond_the_target_blocks_nothing() -> None:
    assert up(TWO, history(open=[("2", B, "running")]), B, covered=["1"]).steps == (step("1", B),)


def test_an_interrupted_step_is_told_with_its_begin_and_the_ways_out() -> None:
    began = datetime(2026, 5, 4, 9, 14, 2, tzinfo=UTC)
    records = {
        ("2", F): Record("2", F, "running", started_at=began),
        ("1", F): Record("1", F, "failed", statement=2, checksum="?"),
    }
    plan = up(TWO, History("default", records=records), F)
    assert plan.blocked == (
        Blocked(
            step("1", F),
            because="1 final began and failed half-way: its first 2 operations are committed, and the revision "
            "file was changed since",
            command=resolve_choices("1", "final", 2),
            interrupted=True,
            path="versions/1.py",
        ),
        Blocked(
            step("2", F),
            because="2 final began at 2026-05-04 09:14:02Z and never ended",
            command=resolve_choices("2", "final"),
            interrupted=True,
            path="versions/2.py",
        ),
    )


@pytest.mark.parametrize("phase", [None, B, F])
def test_a_mistake_in_a_pending_file_is_refused_with_its_path(phase: str | None) -> None:
    broken = graph(revision("1", B), revision("2", down="1", upgrade=Bodies(problem="it is wrong")))
    assert up(broken, history(), phase) == Plan(
        "upgrade",
        phase,
        blocked=(Blocked(step("2", B), because="versions/2.py: it is wrong.", path="versions/2.py"),),
    )


def test_a_mistake_in_an_applied_file_does_not_matter() -> None:
    broken = graph(revision("1", upgrade=Bodies(problem="it is wrong")), revision("2", B, down="1"))
    assert up(broken, history("1"), B).steps == (step("2", B),)


def test_a_mistake_beyond_the_target_does_not_matter() -> None:
    broken = graph(revision("1", B), revision("2", down="1", upgrade=Bodies(problem="it is wrong")))
    assert up(broken, history(), B, covered=["1"]).steps == (step("1", B),)


def test_a_pending_file_without_upgrade_is_refused() -> None:
    plan = up(graph(revision("1", upgrade=Bodies(missing=True))), history())
    assert [block.because for block in plan.blocked] == [
        "versions/1.py: there is no upgrade() in the file, so it cannot be upgraded."
    ]


@pytest.mark.parametrize("phase", [None, B, F])
@pytest.mark.parametrize("upgrade", [parts(B, "pre"), plain("pre"), Bodies(phased=True, named=("pre",))])
def test_an_unknown_phase_in_a_pending_file_is_refused_with_its_path(phase: str | None, upgrade: Bodies) -> None:
    plan = up(graph(revision("1", upgrade=upgrade)), history(), phase)
    because = (
        "versions/1.py: it names the phase 'pre', but the phases are: before-deploy, after-deploy, final "
        "(MIGRATE_PHASES)."
    )
    assert plan.blocked == (Blocked(step("1", B), because=because, path="versions/1.py"),)


def test_an_unknown_phase_in_an_applied_file_is_fine() -> None:
    old = graph(revision("1", "pre", "post"), revision("2", B, down="1"))
    assert up(old, history("1"), B).steps == (step("2", B),)
    assert bind_status(old, history("1"), PHASES).revisions[1].phases == {
        B: "empty",
        A: "empty",
        F: "empty",
        "pre": "done",
        "post": "done",
    }


def test_a_phase_renamed_while_its_revision_is_in_flight_is_refused_and_not_run_again() -> None:
    renamed = Phases(("pre", "post"), "pre", "pre")
    plan = up(graph(revision("1", "pre", "post")), history(done=[("1", B)]), "pre", phases=renamed)
    assert plan.actions == ()
    assert [block.because for block in plan.blocked] == [
        "versions/1.py: phase 'before-deploy' of 1 is done, but no part of the file has that phase now, so what is "
        "done cannot be told from what is not. Give the phase its old name, in the file or in MIGRATE_PHASES and "
        "MIGRATE_DEFAULT_PHASE, until the revision is complete."
    ]


@pytest.mark.parametrize("phase", [None, A])
def test_an_unphased_revision_in_flight_is_not_run_again_after_a_change_of_the_default_phase(phase: str | None) -> None:
    plan = up(graph(revision("1", upgrade=plain(A), downgrade=plain(A))), history(done=[("1", B)]), phase)
    assert (plan.actions, [block.step for block in plan.blocked]) == ((), [step("1", B)])


def test_a_part_that_was_run_and_then_deleted_from_the_file_blocks_nothing() -> None:
    plan = up(graph(revision("1", F)), history(done=[("1", B)]), F)
    assert plan == Plan("upgrade", F, (run("1", F, "1"),))


def test_phases_added_and_reordered_leave_applied_and_running_revisions_alone() -> None:
    phases = Phases(("new", F, B, A), "new", "new")
    assert up(TWO, history("1", done=[("2", B)]), A, phases=phases).blocked == (
        Blocked(
            step("2", A),
            because="final of 2 has not run",
            command="flask db upgrade --phase final",
            missing=(step("2", F),),
        ),
    )


# -- the version table ----------------------------------------------------------------------------


def test_the_boundary_never_passes_even_what_is_finished() -> None:
    assert up(graph(revision("1", B)), history(), B) == Plan("upgrade", B, (run("1", B),))


def test_no_phase_up_to_a_later_boundary_passes() -> None:
    phases = Phases((B, A, F), B, A)
    assert up(graph(revision("1", A)), history(), A, phases=phases) == Plan("upgrade", A, (run("1", A),))
    assert up(graph(revision("1", A)), history(done=[("1", A)]), F, phases=phases) == Plan(
        "upgrade", F, (Action("default", passes=("1",)),)
    )


def test_the_first_phase_after_the_boundary_passes_what_has_no_later_code() -> None:
    line = graph(revision("1", B), revision("2", A, down="1"), revision("3", B, F, down="2"), revision("4", down="3"))
    plan = up(line, history(done=[("1", B), ("3", B)]), A)
    assert plan.actions == (Action("default", passes=("1",)), run("2", A, "2"))


def test_the_step_that_completes_a_revision_passes_it_and_the_empty_ones_after_it() -> None:
    line = graph(revision("1", F), revision("2", down="1"), revision("3", B, down="2"), revision("4", F, down="3"))
    plan = up(line, history(done=[("3", B)]), F)
    assert plan.actions == (run("1", F, "1", "2", "3"), run("4", F, "4"))


def test_a_revision_is_not_passed_before_its_ancestors_even_through_depends_on() -> None:
    lines = graph(revision("a", F), revision("b", A, needs=("a",)), revision("c", A, down="b"), revision("d", A))
    assert set(up(lines, history(), A).actions) == {run("b", A), run("c", A), run("d", A, "d")}
    done = history("d", done=[("b", A), ("c", A)])
    assert up(lines, done, F).actions == (run("a", F, "a", "b", "c"),)


def test_a_merge_without_code_is_passed_with_the_last_of_its_lines() -> None:
    lines = [revision("a", A, down="0"), revision("b", A, down="0")]
    merged = graph(revision("0"), *lines, revision("m", down=("a", "b")))
    plan = up(merged, history(), A)
    assert plan.actions == (Action("default", passes=("0",)), run("b", A, "b"), run("a", A, "a", "m"))


def test_a_lost_move_is_repaired_by_the_next_run() -> None:
    plan = up(TWO, history(done=[("1", B), ("1", F), ("2", B), ("2", A)]), F)
    assert plan.actions == (Action("default", passes=("1",)), run("2", F, "2"))


def test_a_lost_move_is_repaired_where_no_step_is_pending() -> None:
    done = [("1", B), ("1", F), ("2", B), ("2", A), ("2", F)]
    assert up(TWO, history(done=done), A).actions == (Action("default", passes=("1", "2")),)
    assert up(TWO, history(done=done), B).actions == ()


def test_a_line_that_does_not_wait_is_passed_before_the_steps_of_another() -> None:
    lines = graph(revision("a", A), revision("b", B))
    assert up(lines, history(done=[("b", B)]), A).actions == (Action("default", passes=("b",)), run("a", A, "a"))


def test_a_long_history_is_planned_in_little_time() -> None:
    names = [f"{number:04}" for number in range(3000)]
    line = graph(*(revision(name, B, A, F, down=names[place - 1] if place else ()) for place, name in enumerate(names)))
    plan = up(line, history(), F, through=True)
    assert len(plan.actions) == 9000
    assert plan.actions[-1] == run("2999", F, "2999")


# -- all phases -----------------------------------------------------------------------------------


def test_a_plain_upgrade_runs_revision_by_revision_all_phases_of_each() -> None:
    assert up(TWO, history()) == Plan(
        "upgrade", None, (run("1", B), run("1", F, "1"), run("2", B), run("2", A), run("2", F, "2"))
    )


def test_a_plain_upgrade_passes_a_revision_without_code() -> None:
    assert up(graph(revision("1"), revision("2", B, down="1")), history()).actions == (
        Action("default", passes=("1",)),
        run("2", B, "2"),
    )


def test_a_plain_upgrade_completes_what_phases_have_begun() -> None:
    assert up(TWO, history(done=[("1", B), ("1", F), ("2", B)])).actions == (
        Action("default", passes=("1",)),
        run("2", A),
        run("2", F, "2"),
    )


def test_an_unphased_revision_runs_in_its_phase() -> None:
    line = graph(revision("1", upgrade=plain()), revision("2", upgrade=plain(F), down="1"))
    assert up(line, history(), B).steps == (step("1", B),)
    assert up(line, history(done=[("1", B)]), F).actions == (
        Action("default", passes=("1",)),
        run("2", F, "2"),
    )


def test_phases_run_in_configured_order_whatever_the_order_in_the_file() -> None:
    assert up(graph(revision("1", F, B, A)), history()).steps == (step("1", B), step("1", A), step("1", F))


def test_through_runs_every_phase_up_to_the_one_named() -> None:
    assert up(TWO, history(), F, through=True) == Plan(
        "upgrade", F, (run("1", B), run("2", B), run("2", A), run("1", F, "1"), run("2", F, "2"))
    )


def test_through_a_middle_phase_leaves_the_later_ones() -> None:
    assert up(TWO, history(), A, through=True).steps == (step("1", B), step("2", B), step("2", A))


def test_through_passes_once_what_an_earlier_phase_of_the_run_completed() -> None:
    line = graph(revision("1", B), revision("2", A, F, down="1"))
    assert up(line, history(), F, through=True).actions == (
        run("1", B),
        Action("default", passes=("1",)),
        run("2", A),
        run("2", F, "2"),
    )


# -- binds ----------------------------------------------------------------------------------------


def test_a_bind_runs_its_own_functions_and_the_shared_ones() -> None:
    both = Bodies((*parts(B).parts, *parts(F, bind="reports").parts, *parts(A, bind=None).parts), phased=True)
    one = graph(revision("1", upgrade=both))
    names = set(one.revisions)
    reports = plan_upgrade(one, History("reports"), PHASES, names, binds=("default", "reports"))
    assert up(one, history(), binds=("default", "reports")).steps == (step("1", B), step("1", A))
    assert reports.steps == (Step("reports", "1", A), Step("reports", "1", F))


def test_a_revision_without_code_for_a_bind_is_passed_there() -> None:
    one = graph(revision("1", upgrade=parts(F, bind="reports")))
    assert up(one, history(), A).actions == (Action("default", passes=("1",)),)


def test_a_function_for_a_bind_that_does_not_exist_is_refused() -> None:
    plan = up(graph(revision("1", upgrade=parts(F, bind="report"))), history(), binds=("reports", "default"))
    assert plan.blocked == (
        Blocked(
            step("1", B),
            because="versions/1.py: its function for phase 'final' is for the bind 'report', but the binds are: "
            'default, reports. Write bind="NAME" beside the phase.',
            path="versions/1.py",
        ),
    )


def test_plans_of_binds_are_joined_and_taken_apart_again() -> None:
    first = up(TWO, history(), B)
    second = plan_upgrade(TWO, History("reports"), PHASES, set(TWO.revisions), phase=F)
    joined = join_plans([first, second], direction="upgrade", phase=B)
    assert (joined.of_bind("default"), joined.of_bind("reports")) == (first, replace(second, phase=B))


# -- the fingerprint ------------------------------------------------------------------------------


def test_the_fingerprint_is_that_of_an_equal_plan_everywhere() -> None:
    assert up(TWO, history(), B).fingerprint == (
        up(Graph(dict(reversed(TWO.revisions.items()))), history(), B).fingerprint
    )
    assert Plan("upgrade", F, (run("1", F, "1"),)).fingerprint == (
        "b0250991b813d396460aa512f1ca74f8e2e256c5cff163d840d5bab15e7cca3a"
    )


def test_the_fingerprint_changes_with_every_part_of_the_plan() -> None:
    plan = Plan("downgrade", F, (Action("default", step("1", F), reopens="1", remains=(B,)),))
    variants = [
        plan,
        replace(plan, direction="upgrade"),
        replace(plan, phase=None),
        replace(plan, actions=()),
        replace(plan, actions=(replace(plan.actions[0], bind="reports"),)),
        replace(plan, actions=(replace(plan.actions[0], step=None),)),
        replace(plan, actions=(replace(plan.actions[0], step=step("2", F)),)),
        replace(plan, actions=(replace(plan.actions[0], reopens=None),)),
        replace(plan, actions=(replace(plan.actions[0], remains=()),)),
        replace(plan, actions=(replace(plan.actions[0], passes=("1",)),)),
    ]
    assert len({one.fingerprint for one in variants}) == len(variants)


# -- status ---------------------------------------------------------------------------------------


def test_the_status_has_every_revision_newest_first_with_its_phases() -> None:
    status = bind_status(TWO, history("1", done=[("2", B)], dialect="sqlite"), PHASES)
    assert (status.name, status.dialect, status.current, status.heads) == ("default", "sqlite", ("1",), ("2",))
    assert [(row.id, row.state, row.phases, row.revision) for row in status.revisions] == [
        ("2", "in-flight", {B: "done", A: "pending", F: "pending"}, TWO["2"]),
        ("1", "applied", {B: "done", A: "empty", F: "done"}, TWO["1"]),
    ]


@pytest.mark.parametrize(
    ("record", "last", "locked", "state", "phase"),
    [
        (None, None, False, "pending", "pending"),
        (None, None, True, "pending", "pending"),
        ("done", None, False, "in-flight", "done"),
        ("done", "running", False, "in-flight", "done"),
        ("running", "running", True, "in-flight", "running"),
        ("running", "running", False, "in-flight", "interrupted"),
        ("failed", "failed", False, "in-flight", "failed"),
        (None, "failed", False, "pending", "failed"),
        (None, "running", True, "pending", "running"),
        (None, "running", False, "pending", "interrupted"),
        (None, "interrupted", False, "pending", "interrupted"),
        (None, "done", False, "pending", "pending"),
    ],
)
def test_the_state_of_a_step_and_its_revision(
    record: str | None, last: str | None, locked: bool, state: str, phase: str
) -> None:
    found = history(open=[("1", B, record)] if record else [], last={("1", B): last} if last else {}, locked=locked)
    row = bind_status(graph(revision("1", B)), found, PHASES).revisions[0]
    assert (row.state, row.phases[B]) == (state, phase)


def test_an_applied_revision_is_done_whatever_the_journal_says() -> None:
    row = bind_status(TWO, history("2", last={("1", B): "failed"}), PHASES).revisions[1]
    assert (row.state, row.phases) == ("applied", {B: "done", A: "empty", F: "done"})


def test_strangers_come_first_and_are_missing() -> None:
    found = history("1", "new", done=[("old", B)], open=[("old", "odd", "running")])
    status = bind_status(TWO, found, PHASES)
    assert [(row.id, row.state, row.phases, row.revision is None) for row in status.revisions[:2]] == [
        ("new", "missing", {}, True),
        ("old", "missing", {B: "done", "odd": "interrupted"}, True),
    ]
    assert strangers(TWO, found) == ("new", "old")


def test_strangers_are_never_planned() -> None:
    found = history("1", "new", done=[("old", B)], open=[("old", F, "running")])
    assert up(TWO, found, B).steps == (step("2", B),)
    assert down(TWO, found) == Plan(
        "downgrade",
        None,
        (
            Action("default", step("1", F), reopens="1", remains=(B,)),
            run("1", B),
        ),
    )


def test_in_flight_are_the_known_revisions_of_the_ledger_that_are_not_complete() -> None:
    found = history("1", done=[("2", B), ("1", B), ("old", B)])
    assert (in_flight(TWO, found), complete_revisions(TWO, found)) == (("2",), {"1"})


def test_a_pending_file_with_a_mistake_is_never_shown_as_empty() -> None:
    for broken in (Bodies(problem="it is wrong"), Bodies(missing=True)):
        status = bind_status(graph(revision("1", upgrade=broken)), history(), PHASES)
        assert status.pending([B]) == (step("1", B),)


def test_pending_steps_are_those_neither_done_nor_empty_oldest_first() -> None:
    status = bind_status(TWO, history(done=[("1", B)]), PHASES)
    assert status.pending((B, A)) == (step("2", B), step("2", A))
    assert not status.is_complete()
    assert bind_status(TWO, history("2", "new"), PHASES).is_complete()


# -- downgrade ------------------------------------------------------------------------------------


def test_a_plain_downgrade_undoes_revision_by_revision_the_last_phase_first() -> None:
    assert down(TWO, history("2")) == Plan(
        "downgrade",
        None,
        (
            Action("default", step("2", F), reopens="2", remains=(B, A)),
            run("2", A),
            run("2", B),
            Action("default", step("1", F), reopens="1", remains=(B,)),
            run("1", B),
        ),
    )


def test_a_plain_downgrade_undoes_exactly_what_is_recorded() -> None:
    assert down(TWO, history("1", done=[("2", B), ("2", A)]), undone=["2"]).actions == (run("2", A), run("2", B))


def test_an_unphased_revision_is_undone_as_a_whole() -> None:
    one = graph(revision("1", upgrade=plain(), downgrade=plain()))
    assert down(one, history("1")).actions == (Action("default", step("1", B), reopens="1"),)
    assert down(one, history(done=[("1", B)])).actions == (run("1", B),)
    assert down(one, history("1"), B).actions == (Action("default", step("1", B), reopens="1"),)


def test_a_revision_without_code_only_leaves_the_version_table() -> None:
    assert down(graph(revision("1")), history("1")).actions == (Action("default", reopens="1"),)


def test_an_undivided_downgrade_undoes_a_complete_phased_revision() -> None:
    one = graph(revision("1", B, F, downgrade=plain()))
    assert down(one, history("1")).actions == (Action("default", step("1", B), reopens="1", remains=(F,)),)


def test_code_that_only_the_downgrade_has_is_run_of_a_complete_revision() -> None:
    one = graph(revision("1", B, downgrade=parts(B, F)))
    assert down(one, history("1")).actions == (
        Action("default", step("1", F), reopens="1", remains=(B,)),
        run("1", B),
    )
    assert down(one, history(done=[("1", B)])).actions == (run("1", B),)


def test_an_unphased_downgrade_of_an_upgrade_without_code_is_run() -> None:
    one = graph(revision("1", upgrade=Bodies(), downgrade=plain()))
    assert down(one, history("1")).actions == (Action("default", step("1", B), reopens="1"),)
    assert down(one, history("1"), B).actions == (Action("default", step("1", B), reopens="1"),)


def test_revisions_that_are_neither_complete_nor_in_flight_are_left_alone() -> None:
    line = graph(revision("1", B), revision("2", B, down="1", downgrade=Bodies(missing=True)))
    assert down(line, history("1"), undone=["1", "2"]).actions == (Action("default", step("1", B), reopens="1"),)


def test_one_phase_is_undone_newest_first_and_the_rest_recorded() -> None:
    assert down(TWO, history("2"), F) == Plan(
        "downgrade",
        F,
        (
            Action("default", step("2", F), reopens="2", remains=(B, A)),
            Action("default", step("1", F), reopens="1", remains=(B,)),
        ),
    )


def test_the_phases_of_revisions_in_flight_are_undone_from_the_ledger() -> None:
    found = history(done=[("1", B), ("2", B), ("2", A)])
    assert down(TWO, found, A).actions == (run("2", A),)
    assert down(TWO, history(done=[("1", B), ("2", B)]), B).actions == (run("2", B), run("1", B))


def test_what_a_phase_did_not_complete_stays_complete() -> None:
    line = graph(revision("1", B, A), revision("2", F, down="1"))
    assert down(line, history("2"), F).actions == (Action("default", step("2", F), reopens="2"),)


def test_what_needs_a_reopened_revision_is_reopened_with_all_its_steps() -> None:
    line = graph(revision("1", F), revision("2", B, A, down="1"), revision("3", down="2"))
    assert down(line, history("3"), F).actions == (
        Action("default", reopens="3"),
        Action("default", reopens="2", remains=(B, A)),
        Action("default", step("1", F), reopens="1"),
    )


def test_undoing_the_first_phase_after_the_boundary_takes_everything_out_of_the_version_table() -> None:
    line = graph(revision("1", B), revision("2", down="1"))
    assert down(line, history("2"), A).actions == (
        Action("default", reopens="2"),
        Action("default", reopens="1", remains=(B,)),
    )


def test_a_phase_waits_for_the_later_ones_to_be_undone() -> None:
    assert down(TWO, history("2"), B).blocked == (
        Blocked(
            step("2", B),
            because="after-deploy, final of 2 has not been undone",
            command="flask db downgrade --phase final base",
            missing=(step("2", A), step("2", F)),
        ),
        Blocked(
            step("1", B),
            because="final of 1 has not been undone",
            command="flask db downgrade --phase final base",
            missing=(step("1", F),),
        ),
    )


def test_later_phases_of_revisions_up_to_the_target_do_not_matter() -> None:
    assert down(TWO, history("1", done=[("2", B)]), B, undone=["2"], target="1").actions == (run("2", B),)


@pytest.mark.parametrize("phase", [None, F])
def test_a_revision_without_downgrade_is_refused_before_anything_runs(phase: str | None) -> None:
    line = graph(revision("1", B, F, downgrade=Bodies(missing=True)), revision("2", B, F, down="1"))
    plan = down(line, history("2"), phase)
    assert (plan.actions, [block.because for block in plan.blocked]) == (
        (),
        ["versions/1.py: there is no downgrade() in the file, so it cannot be downgraded."],
    )


def test_a_mistake_in_a_downgrade_is_refused_and_one_in_the_upgrade_is_not() -> None:
    broken = Bodies(problem="it is wrong")
    assert down(graph(revision("1", B, downgrade=broken)), history("1")).actions == ()
    assert down(graph(revision("1", upgrade=broken, downgrade=plain())), history("1")).actions == (
        Action("default", step("1", B), reopens="1"),
    )


def test_an_undivided_downgrade_of_a_phased_revision_is_refused_by_phase() -> None:
    plan = down(graph(revision("1", B, F, downgrade=plain())), history("1"), F)
    assert plan.blocked == (
        Blocked(
            step("1", F),
            because="versions/1.py: its downgrade() is not divided into phases, so it runs only as a whole, when the "
            "revision is complete.",
            command="flask db downgrade base",
            path="versions/1.py",
        ),
    )


@pytest.mark.parametrize("phase", [None, B])
def test_an_undivided_downgrade_of_a_revision_in_flight_is_refused(phase: str | None) -> None:
    plan = down(graph(revision("1", B, F, downgrade=plain())), history(done=[("1", B)]), phase)
    assert (plan.actions, [(block.step, block.command) for block in plan.blocked]) == (
        (),
        [(step("1", B), "flask db upgrade --phase final 1")],
    )


def test_a_phased_revision_whose_undivided_downgrade_has_no_code_is_undone_by_phase() -> None:
    one = graph(revision("1", B, F, downgrade=Bodies()))
    assert down(one, history("1"), F).actions == (Action("default", step("1", F), reopens="1", remains=(B,)),)


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_step_that_is_half_done_blocks_a_downgrade_that_covers_it(status: str) -> None:
    plan = down(TWO, history("1", open=[("2", B, status)]))
    assert (plan.actions, [(block.step, block.interrupted) for block in plan.blocked]) == ((), [(step("2", B), True)])


def test_a_stale_ledger_row_of_a_complete_revision_blocks_no_downgrade() -> None:
    plan = down(TWO, history("1", open=[("1", F, "running")]))
    assert plan.steps == (step("1", F), step("1", B))


def test_a_plain_downgrade_undoes_phases_that_are_no_longer_configured() -> None:
    old = graph(revision("1", "pre", "post"))
    assert down(old, history("1")).steps == (step("1", "pre"), step("1", "post"))
    assert down(old, history(done=[("1", "pre")])).steps == (step("1", "pre"),)


def test_a_downgrade_by_phase_refuses_phases_that_are_no_longer_configured() -> None:
    plan = down(graph(revision("1", "pre", "post")), history("1"), F)
    assert [block.because for block in plan.blocked] == [
        "versions/1.py: it names the phase 'pre', but the phases are: before-deploy, after-deploy, final "
        "(MIGRATE_PHASES)."
    ]


def test_a_recorded_step_without_code_in_the_file_is_still_taken_out_of_the_ledger() -> None:
    one = graph(revision("1", B))
    assert down(one, history(done=[("1", B), ("1", F)])).actions == (run("1", F), run("1", B))


def test_a_renamed_phase_in_flight_is_refused_in_a_downgrade() -> None:
    one = graph(revision("1", upgrade=plain("pre"), downgrade=plain("pre")))
    plan = down(one, history(done=[("1", B)]))
    assert (plan.actions, [block.step for block in plan.blocked]) == ((), [step("1", B)])


def test_a_downgrade_is_per_bind() -> None:
    one = graph(revision("1", upgrade=parts(B, bind="reports"), downgrade=parts(B, bind="reports")))
    assert down(one, history("1")).actions == (Action("default", reopens="1"),)


def test_an_unknown_phase_in_a_downgrade_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="There is no phase 'fnial'"):
        down(TWO, history("2"), "fnial")


# -- laws -----------------------------------------------------------------------------------------

Kind = Literal["phased", "plain", "empty"]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Return a random graph of phased, unphased and empty revisions with divided downgrades."""
    revisions: list[Revision] = []
    for number in range(draw(st.integers(1, 8))):
        older = [one.id for one in revisions]
        downs = draw(st.lists(st.sampled_from(older), max_size=2, unique=True)) if older else []
        rest = [name for name in older if name not in downs]
        needs = draw(st.lists(st.sampled_from(rest), max_size=2, unique=True)) if rest else []
        kind: Kind = draw(st.sampled_from(("phased", "phased", "plain", "empty")))
        own = draw(st.sampled_from(PHASES.names))
        coded = tuple(draw(st.sets(st.sampled_from(PHASES.names)))) if kind == "phased" else ()
        undone = tuple(draw(st.sets(st.sampled_from(coded)))) if coded else ()
        upgrade = {"phased": parts(*coded), "plain": plain(own), "empty": Bodies()}[kind]
        downgrade = {"phased": parts(*undone), "plain": plain(own), "empty": Bodies()}[kind]
        revisions.append(
            revision(f"r{number}", down=tuple(downs), needs=tuple(needs), upgrade=upgrade, downgrade=downgrade)
        )
    return graph(*draw(st.permutations(revisions)))


def rows(graph: Graph, names: Iterable[str]) -> frozenset[str]:
    """Return the members of ``names`` that no other member needs: what the version table must hold."""
    chosen = set(names)
    return frozenset(name for name in chosen if not any(graph.is_ancestor(name, other) for other in chosen))


class Database:
    """Two tables in memory that refuse every move the rules do not allow."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.history = history()
        self.ran: list[tuple[str, str]] = []
        self.undone: list[tuple[str, str]] = []

    @property
    def complete(self) -> frozenset[str]:
        return complete_revisions(self.graph, self.history)

    def done(self) -> set[tuple[str, str]]:
        """Return the steps with code that are done."""
        passed = {(name, phase) for name in self.complete for phase in self.graph[name].upgrade.phases("default")}
        return passed | set(self.history.records)

    def upgrade(self, plan: Plan, actions: int | None = None, lose_last_move: bool = False) -> None:
        """Run the plan, or only the first ``actions`` of it, as after a crash."""
        assert plan.blocked == ()
        chosen = plan.actions[:actions]
        expected = simulate(self.graph, self.history, chosen)
        for number, action in enumerate(chosen):
            lost = lose_last_move and action.step is not None and number == len(chosen) - 1
            self._run(action, plan.phase)
            self._pass(() if lost else action.passes, plan.phase)
        assert lose_last_move or self.history == expected

    def _run(self, action: Action, phase: str | None) -> None:
        assert action.step is not None or action.passes
        if action.step is None:
            return
        name, own = action.step.revision, action.step.phase
        coded = self.graph[name].upgrade.phases("default")
        assert own in coded and (name, own) not in self.done()
        assert {(name, q) for q in PHASES.before(own) if q in coded} <= self.done()
        if phase is None:
            assert self.graph.ancestors(name) <= self.complete
        self.ran.append((name, own))
        self.history = replace(self.history, records={**self.history.records, (name, own): Record(name, own)})

    def _pass(self, names: tuple[str, ...], phase: str | None) -> None:
        for name in names:
            assert phase != B
            assert name not in self.complete and self.graph.ancestors(name) <= self.complete
            assert {(name, q) for q in self.graph[name].upgrade.phases("default")} <= self.done()
            applied = self.complete | {name}
            heads = pointer_after(self.graph, self.history.heads, name)
            assert heads == rows(self.graph, applied)
            kept = {key: record for key, record in self.history.records.items() if key[0] != name}
            self.history = replace(self.history, heads=heads, records=kept)

    def downgrade(self, plan: Plan) -> None:
        assert plan.blocked == ()
        expected = simulate(self.graph, self.history, plan.actions, direction="downgrade")
        for action in plan.actions:
            records = dict(self.history.records)
            heads = self.history.heads
            if action.reopens is not None:
                assert action.reopens in heads
                assert not [key for key in records if key[0] == action.reopens]
                left = self.complete - {action.reopens}
                heads = pointer_before(self.graph, heads, action.reopens)
                assert heads == rows(self.graph, left)
                coded = {(action.reopens, q) for q in self.graph[action.reopens].upgrade.phases("default")}
                gone = {(action.step.revision, action.step.phase)} if action.step else set()
                assert {(action.reopens, q) for q in action.remains} == coded - gone
                records |= {key: Record(*key) for key in coded}
            if action.step is not None:
                key = (action.step.revision, action.step.phase)
                assert key in records
                del records[key]
                self.undone.append(key)
            self.history = replace(self.history, heads=heads, records=records)
        assert self.history == expected


def steps_of(graph: Graph) -> set[tuple[str, str]]:
    return {(name, phase) for name in graph.revisions for phase in graph[name].upgrade.phases("default")}


def assert_finished(database: Database) -> None:
    graph = database.graph
    assert database.complete == set(graph.revisions)
    assert (database.history.heads, database.history.records) == (rows(graph, graph.revisions), {})
    assert sorted(database.ran) == sorted(steps_of(graph))


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_phase_by_phase_ends_where_the_plain_upgrade_ends(graph: Graph) -> None:
    plain_database, phased_database = Database(graph), Database(graph)
    plain_database.upgrade(up(graph, plain_database.history))
    for phase in PHASES.names:
        phased_database.upgrade(up(graph, phased_database.history, phase))
    assert_finished(plain_database)
    assert_finished(phased_database)


@given(graphs())
@settings(max_examples=100, deadline=None)
def test_through_the_last_phase_is_the_phases_one_after_the_other(graph: Graph) -> None:
    at_once, one_by_one = Database(graph), Database(graph)
    at_once.upgrade(up(graph, at_once.history, F, through=True))
    for phase in PHASES.names:
        one_by_one.upgrade(up(graph, one_by_one.history, phase))
    assert_finished(at_once)
    assert [phase for _, phase in at_once.ran] == [phase for _, phase in one_by_one.ran]


def wander(database: Database, chance: random.Random) -> None:
    """Run upgrades of random phases and targets, some refused, some interrupted between two transactions."""
    graph = database.graph
    names = sorted(graph.revisions)
    for _ in range(chance.randrange(6)):
        covered = chance.sample(names, chance.randint(1, len(names)))
        phase = chance.choice((None, B, B, A, A, F))
        plan = up(graph, database.history, phase, covered, through=phase is not None and chance.random() < 0.3)
        if plan.blocked:
            missing = {(one.revision, one.phase) for block in plan.blocked for one in block.missing}
            assert plan.actions == () and missing and not missing & database.done()
            continue
        database.upgrade(plan, chance.choice((None, chance.randint(0, 6))), chance.random() < 0.3)


@given(graphs(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_from_any_state_the_phases_in_turn_finish_everything(graph: Graph, chance: random.Random) -> None:
    database = Database(graph)
    wander(database, chance)
    for phase in PHASES.names:
        database.upgrade(up(graph, database.history, phase))
    assert_finished(database)
    assert all(up(graph, database.history, phase).actions == () for phase in (None, *PHASES.names))


@given(graphs(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_from_any_state_the_plain_upgrade_finishes_everything(graph: Graph, chance: random.Random) -> None:
    database = Database(graph)
    wander(database, chance)
    database.upgrade(up(graph, database.history))
    assert_finished(database)


@given(graphs(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_a_revision_is_complete_where_a_row_of_the_version_table_is_it_or_needs_it(
    graph: Graph, chance: random.Random
) -> None:
    database = Database(graph)
    wander(database, chance)
    heads = database.history.heads | {"a stranger"}
    assert {name for name in graph.revisions if is_complete(graph, heads, name)} == database.complete


def test_the_steps_of_a_plan_are_gathered_once() -> None:
    plan = Plan("upgrade", None, (Action("default", Step("default", "1", B)), Action("default", passes=("1",))))
    assert plan.steps == (Step("default", "1", B),)
    assert plan.steps is plan.steps


def assert_nothing_left(database: Database, done: set[tuple[str, str]]) -> None:
    assert (database.history.heads, database.history.records) == (frozenset(), {})
    assert sorted(database.undone) == sorted(done)


@given(graphs(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_from_any_state_a_plain_downgrade_to_base_undoes_each_done_step_once(
    graph: Graph, chance: random.Random
) -> None:
    database = Database(graph)
    wander(database, chance)
    done = database.done()
    database.downgrade(down(graph, database.history))
    assert_nothing_left(database, done)


@given(graphs(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_from_any_state_a_downgrade_phase_by_phase_undoes_each_done_step_once(
    graph: Graph, chance: random.Random
) -> None:
    database = Database(graph)
    wander(database, chance)
    done = database.done()
    for phase in reversed(PHASES.names):
        database.downgrade(down(graph, database.history, phase))
    assert_nothing_left(database, done)


@given(graphs(), st.sampled_from(PHASES.names))
@settings(max_examples=200, deadline=None)
def test_undoing_phases_gives_back_the_tables_as_they_were_before_them(graph: Graph, phase: str) -> None:
    database = Database(graph)
    for earlier in PHASES.before(phase):
        database.upgrade(up(graph, database.history, earlier))
    before = database.history
    for later in (phase, *PHASES.after(phase)):
        database.upgrade(up(graph, database.history, later))
    for later in reversed((phase, *PHASES.after(phase))):
        database.downgrade(down(graph, database.history, later))
    assert database.history == before
