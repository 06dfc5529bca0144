"""A step does not run before a later phase of an ancestor if both touch the same: plans, refusals, warnings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import Site, query

from flask_phased_migrate.footprint import NOTHING, Footprint, Touched, opaque, part, whole
from flask_phased_migrate.graph import Graph, Revision, build_graph
from flask_phased_migrate.overtaking import OVERLAPS_NAMED, UNKNOWN_NAMED
from flask_phased_migrate.phases import Bodies, Body, PhasedPart, Phases
from flask_phased_migrate.plan import (
    Blocked,
    History,
    Plan,
    PlanWarning,
    Record,
    Step,
    join_plans,
    plan_upgrade,
)

B, A, F = "before-deploy", "after-deploy", "final"
PHASES = Phases()
Touching = Mapping[tuple[str, str], Footprint]


def code() -> None:
    """Stands for what a revision does."""


def revision(id_: str, down: str | tuple[str, ...] | None, *phases: str, **more: Any) -> Revision:
    """Return a revision with code in ``phases``."""
    bodies = Bodies(tuple(Body(phase, PhasedPart(code), "default") for phase in phases), phased=True, named=phases)
    parents = (down,) if isinstance(down, str) else down or ()
    return Revision(id_, down=parents, path=f"versions/{id_}.py", upgrade=bodies, downgrade=bodies, **more)


def graph(*revisions: Revision) -> Graph:
    return Graph({one.id: one for one in revisions})


LINE = graph(revision("1", None, B, F), revision("2", "1", B))


def plan(
    graph_: Graph, touching: Touching, history: History | None = None, phase: str = B, **more: Any
) -> tuple[Plan, list[Step]]:
    """Return the plan of an upgrade by phase, and the steps whose footprints were asked for."""
    asked: list[Step] = []

    def footprint_of(step: Step) -> Footprint:
        asked.append(step)
        return touching.get((step.revision, step.phase), NOTHING)

    found = plan_upgrade(
        graph_, history or History("default"), PHASES, graph_.revisions, phase=phase, footprint_of=footprint_of, **more
    )
    return found, asked


def pairs(found: Plan) -> list[tuple[Step, Step | None]]:
    return [(block.step, block.overtaken) for block in found.blocked]


def refused(graph_: Graph, touching: Touching, history: History | None = None, phase: str = B) -> list[tuple[str, str]]:
    """Return (revision, overtaken revision) of each pair for which the plan is blocked."""
    return [(step.revision, over.revision) for step, over in pairs(plan(graph_, touching, history, phase)[0]) if over]


# -- plans ------------------------------------------------------------------------------------------


def test_a_step_may_not_overtake_one_that_touches_the_same_column() -> None:
    found, _ = plan(LINE, {("1", F): part("a", ["x", "y"]), ("2", B): part("a", ["y", "z"])})
    expected = Blocked(
        Step("default", "2", B),
        because="before-deploy of 2 would run before final of 1, and both touch column y of table a",
        command="flask db upgrade --phase final --through 1",
        otherwise=(
            "Or release in two steps: 1 with all its phases, and 2 with the next release.",
            'Or, if either order gives the same result, write into versions/2.py: independent_of = ("1",)',
        ),
        overtaken=Step("default", "1", F),
    )
    assert found == Plan("upgrade", B, blocked=(expected,))


@pytest.mark.parametrize(
    ("pending", "running", "blocked"),
    [
        (part("a", ["x"]), part("a", ["y"]), False),
        (part("a", ["x"]), part("b", ["x"]), False),
        (part("a", ["x"]), whole("a"), True),
        (whole("a"), part("A", ["y"]), True),
        (whole("a"), NOTHING, False),
        (NOTHING, whole("a"), False),
    ],
)
def test_what_does_not_overlap_may_be_overtaken(pending: Footprint, running: Footprint, blocked: bool) -> None:
    found, _ = plan(LINE, {("1", F): pending, ("2", B): running})
    assert (bool(found.blocked), found.warnings) == (blocked, ())


def test_only_pending_later_phases_of_ancestors_count() -> None:
    same = whole("a")
    touching = {(name, phase): same for name in "1234" for phase in (B, A, F)}
    branches = graph(revision("1", None, B), revision("2", "1", B, F), revision("3", "1", B), revision("4", "1", B))
    assert refused(branches, touching) == []
    merged = graph(*branches.revisions.values(), revision("5", ("3", "4"), B, depends_on=("2",)))
    assert refused(merged, {**touching, ("5", B): same}) == [("5", "2")]
    complete = History("default", heads=frozenset({"2"}))
    assert refused(merged, {**touching, ("5", B): same}, complete) == []


def test_a_step_that_is_done_is_not_overtaken_and_overtakes_nothing() -> None:
    touching = {("1", F): whole("a"), ("2", B): whole("a")}
    done = {("1", B): Record("1", B), ("1", F): Record("1", F)}
    assert refused(LINE, touching, History("default", records=done)) == []
    later = {("1", B): Record("1", B), ("2", B): Record("2", B)}
    assert refused(LINE, touching, History("default", records=later)) == []


def test_a_plain_upgrade_overtakes_nothing() -> None:
    found, asked = plan(LINE, {("1", F): whole("a"), ("2", B): whole("a")}, phase=None)  # type: ignore[arg-type]
    assert (found.blocked, asked) == ((), [])


def test_footprints_are_asked_only_where_something_is_overtaken() -> None:
    line = graph(
        revision("1", None, B), revision("2", "1", B, F), revision("3", "2", F), revision("4", "3", B),
        revision("5", "4", A, F),
    )  # fmt: skip
    _, asked = plan(line, {})
    assert sorted(asked) == [Step("default", "2", F), Step("default", "3", F), Step("default", "4", B)]


def test_phases_of_one_call_are_checked_one_after_the_other() -> None:
    line = graph(revision("1", None, B, F), revision("2", "1", B, A))
    found, _ = plan(line, {("1", F): whole("a"), ("2", A): whole("a")}, phase=F, through=True)
    assert [step.phase for step in found.steps] == [B, B]
    assert pairs(found) == [(Step("default", "2", A), Step("default", "1", F))]
    assert found.blocked[0].command == "flask db upgrade --phase final --through 1"


RUN = {("1", B): Record("1", B, run_id="one")}


@pytest.mark.parametrize(
    ("records", "phase", "owed"),
    [
        (RUN, B, True),
        ({("1", B): Record("1", B)}, B, True),
        ({}, B, False),
        ({**RUN, ("2", B): Record("2", B, run_id="one")}, A, False),
        ({**RUN, ("2", B): Record("2", B, run_id="two")}, A, True),
        ({("1", B): Record("1", B), ("2", B): Record("2", B)}, A, False),
    ],
)
def test_what_an_earlier_run_has_begun_the_previous_release_owes(
    records: dict[tuple[str, str], Record], phase: str, owed: bool
) -> None:
    line = graph(revision("1", None, B, F), revision("2", "1", B, A))
    touching = {("1", F): whole("a"), ("2", phase): whole("a")}
    found, _ = plan(line, touching, History("default", records=records), phase)
    sentence = ". 1 was begun by an earlier run: the previous release still owes its final"
    assert found.blocked[0].because == (
        f"{phase} of 2 would run before final of 1, and both touch the whole table a{sentence if owed else ''}"
    )
    assert found.blocked[0].command == f"flask db upgrade --phase final{'' if records else ' --through'} 1"


def test_the_command_keeps_the_bind_that_was_typed() -> None:
    touching = {("1", F): whole("a"), ("2", B): whole("a")}
    history = History("default", records=RUN)
    for target in ("--bind default", "--bind default 2"):
        found, _ = plan(LINE, touching, history, target=target)
        assert found.blocked[0].command == "flask db upgrade --phase final --bind default 1"
    found, _ = plan(LINE, touching, history, target="2")
    assert found.blocked[0].command == "flask db upgrade --phase final 1"


def test_an_independent_revision_overtakes() -> None:
    independent = graph(LINE["1"], replace(LINE["2"], independent_of=("1",)), revision("3", "2", B))
    touching = {("1", F): whole("a"), ("2", B): whole("a"), ("3", B): whole("a")}
    assert refused(independent, touching) == [("3", "1")]
    found, _ = plan(independent, {("1", F): opaque("why"), ("2", B): whole("a")})
    assert (found.blocked, found.warnings) == ((), ())


def test_what_cannot_be_known_is_a_warning() -> None:
    why = "versions/1.py, line 9: it works with the database itself"
    found, _ = plan(LINE, {("1", F): opaque(why), ("2", B): whole("a")})
    expected = PlanWarning(
        Step("default", "2", B),
        Step("default", "1", F),
        f"before-deploy of 2 runs before final of 1, and whether both touch the same cannot be told: {why}. If either "
        'order gives the same result, write into versions/2.py: independent_of = ("1",)',
    )
    assert (found.blocked, found.warnings, len(found.steps)) == ((), (expected,), 2)
    assert str(expected) == f"default: {expected.because}"
    without = plan_upgrade(LINE, History("default"), PHASES, LINE.revisions, phase=B)
    assert found.fingerprint == without.fingerprint
    assert join_plans([without, found], direction="upgrade", phase=B).of_bind("default").warnings == (expected,)
    assert found.of_bind("other").warnings == ()


def test_both_reasons_are_told_once_and_what_is_known_still_counts() -> None:
    both = {("1", F): opaque("one"), ("2", B): opaque("two")}
    assert "cannot be told: two; one. If" in plan(LINE, both)[0].warnings[0].because
    many = {("1", F): Footprint(opaque=("one", "two", "three")), ("2", B): opaque("four")}
    assert "cannot be told: four; one; and 2 reasons more. If" in plan(LINE, many)[0].warnings[0].because
    overlapping = {("1", F): whole("a"), ("2", B): Footprint((Touched("a"),), ("two",))}
    found, _ = plan(LINE, overlapping)
    assert (len(found.blocked), found.warnings) == (1, ())
    assert plan(LINE, {("1", F): opaque("one"), ("2", B): NOTHING})[0].warnings == ()


def test_of_many_overlaps_the_first_are_told() -> None:
    names = [f"{number:03d}" for number in range(100)]
    line = graph(*(revision(name, before, B, F) for before, name in zip([None, *names], names, strict=False)))
    everything = {(name, phase): whole("a") for name in names for phase in (B, F)}
    found, _ = plan(line, everything)
    assert len(found.blocked) == OVERLAPS_NAMED
    assert found.blocked[-1].because.endswith("the whole table a. There may be more")
    unknown, _ = plan(line, dict.fromkeys(everything, opaque("why")))
    assert (unknown.blocked, len(unknown.warnings)) == ((), UNKNOWN_NAMED)
    assert unknown.warnings[-1].because.endswith("There may be more such pairs")


def test_thousands_of_revisions_are_planned_in_little_time() -> None:
    names = [f"{number:05d}" for number in range(3000)]
    line = graph(*(revision(name, before, B, F) for before, name in zip([None, *names], names, strict=False)))
    touching = {(name, phase): part("a", [f"{phase}{name}"]) for name in names for phase in (B, F)}
    began = time.monotonic()
    found, asked = plan(line, touching)
    # All pairs would be millions of comparisons.
    assert time.monotonic() - began < 20
    assert (len(found.steps), found.blocked, len(asked)) == (3000, (), 2 * 2999)


# -- independent_of ---------------------------------------------------------------------------------


class Script:
    """What Alembic gives for a revision file, as far as a graph needs it."""

    longdoc = doc = ""
    dependencies = None

    def __init__(self, revision: str, down: str | None, written: Any) -> None:
        self.revision, self.down_revision, self.path = revision, down, f"versions/{revision}.py"
        self.module = type("Module", (), {"independent_of": written, "upgrade": code, "downgrade": code})


def independence(written: Any) -> tuple[tuple[str, ...], str | None]:
    """Return what a revision's ``independent_of`` is read as, and what is wrong with it."""
    scripts = [Script("aa11", None, None), Script("aa22", "aa11", None), Script("bb", "aa22", written)]
    found = build_graph(scripts, PHASES, lambda name: name)["bb"]
    return found.independent_of, found.independence_problem


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (None, ()),
        ("aa11", ("aa11",)),
        ("aa1", ("aa11",)),
        (("aa22", "aa1", "aa22"), ("aa22", "aa11")),
        (["b"], ("bb",)),
    ],
)
def test_independent_of_names_revisions_by_id_or_the_beginning_of_one(written: Any, expected: tuple[str, ...]) -> None:
    assert independence(written) == (expected, None)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("cc", "its attribute 'independent_of' names 'cc', which no revision file has."),
        ("aa", "its attribute 'independent_of' names 'aa', which begins several: aa11, aa22."),
        (7, "its attribute 'independent_of' is 7. Write the ids of revisions, as in independent_of = (\"REVISION\",)"),
        (("",), "its attribute 'independent_of' is ('',). Write the ids of revisions, as in "
                "independent_of = (\"REVISION\",)"),
    ],
)  # fmt: skip
def test_a_wrong_independent_of_blocks_the_plan_and_names_the_file(written: Any, problem: str) -> None:
    scripts = [Script("aa11", None, None), Script("aa22", "aa11", None), Script("bb", "aa22", written)]
    found = build_graph(scripts, PHASES, lambda name: name)
    blocked = plan_upgrade(found, History("default"), PHASES, found.revisions, phase=B).blocked
    assert [(block.because, block.path) for block in blocked] == [(f"versions/bb.py: {problem}", "versions/bb.py")]
    complete = History("default", heads=frozenset({"bb"}))
    assert plan_upgrade(found, complete, PHASES, found.revisions, phase=B).blocked == ()


# -- the command line -------------------------------------------------------------------------------

NewSite = Callable[..., Site]

ACCOUNT = """
    @phased("before-deploy")
    def upgrade():
        op.create_table("account", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40)))
    """
EMAIL = """
    @phased("before-deploy")
    def upgrade():
        op.add_column("account", sa.Column("email", sa.String(40)))

    @upgrade.phase("final")
    def upgrade_final():
        {final}
    """
NEXT = """
    @phased("before-deploy")
    def upgrade():
        {before}
    """


def shop(
    project: NewSite, url: str, before: str, final: str = 'op.drop_column("account", "name")', more: str = ""
) -> Site:
    """Return a site at revision 1, with 2 waiting for its final phase, and 3, whose first phase is ``before``."""
    site = project(url)
    site.revision("1", None, ACCOUNT)
    site.revision("2", "1", EMAIL.format(final=final))
    assert site.flask("db", "upgrade", "1").returncode == 0
    assert site.flask("db", "upgrade", "--phase", B).returncode == 0
    site.revision("3", "2", more + NEXT.format(before=before))
    return site


def test_an_overlap_is_refused_with_three_ways_on_and_nothing_is_written(project: NewSite, database_url: str) -> None:
    site = shop(project, database_url, """op.execute("UPDATE account SET name = 'x' WHERE id = 1")""")
    path = site.versions / "3.py"
    ledger = query(database_url, "SELECT revision, phase, status FROM alembic_version_phase")
    journal = query(database_url, "SELECT count(*) FROM alembic_version_journal")
    done = site.flask("db", "upgrade", "--phase", B, "--bind", "default")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "Error: Nothing was executed: phase before-deploy may not run.\n"
        "  default: before-deploy of 3 would run before final of 2, and both touch column name of table account. 2 was "
        "begun by an earlier run: the previous release still owes its final\n"
        "Next: flask db upgrade --phase final --bind default 2\n"
        "Or release in two steps: 2 with all its phases, and 3 with the next release.\n"
        f'Or, if either order gives the same result, write into {path}: independent_of = ("2",)\n'
    )
    assert query(database_url, "SELECT revision, phase, status FROM alembic_version_phase") == ledger
    assert query(database_url, "SELECT count(*) FROM alembic_version_journal") == journal
    assert site.flask("db", "upgrade", "--phase", "final", "--bind", "default", "2").returncode == 0


def test_a_refused_plan_is_shown_and_the_same_offline(project: NewSite, sqlite_url: str) -> None:
    site = shop(project, sqlite_url, 'op.rename_table("account", "person")')
    shown = site.flask("db", "upgrade", "--phase", B, "--plan", "--json")
    because = (
        "before-deploy of 3 would run before final of 2, and both touch the whole table account. 2 was begun by an "
        "earlier run: the previous release still owes its final"
    )
    found = json.loads(shown.stdout)
    assert (shown.returncode, found["steps"], found["warnings"]) == (3, [], [])
    assert found["blocked"] == [{"bind": "default", "revision": "3", "phase": B, "because": because}]
    for target, text in (("current:head", because), ("1:head", because.partition(". ")[0])):
        offline = site.flask("db", "sql", "--phase", B, target)
        assert (offline.returncode, offline.stdout) == (3, "")
        assert offline.stderr.startswith(f"Error: {text}\nNext: flask db upgrade --phase final ")


def test_a_declared_independence_lets_it_run(project: NewSite, sqlite_url: str) -> None:
    before = "op.execute(\"UPDATE account SET name = 'x'\")"
    site = shop(project, sqlite_url, before, more='    independent_of = "2"\n')
    done = site.flask("db", "upgrade", "--phase", B)
    assert (done.returncode, "Warning" in done.stderr) == (0, False)
    site.revision("4", "3", '    independent_of = ("nothing",)\n' + NEXT.format(before="pass"))
    wrong = site.flask("db", "upgrade", "--phase", B)
    assert wrong.returncode == 3
    assert f"{site.versions / '4.py'}: its attribute 'independent_of' names 'nothing', which no" in wrong.stderr


@pytest.mark.parametrize(
    ("before", "final"),
    [
        ("op.execute('INSERT INTO name (v) SELECT a.id FROM account a JOIN other b USING (name)')", None),
        ("op.add_column('account', sa.Column('slug', sa.String(40), sa.Computed('lower(name)')))", None),
        ("op.execute('CREATE TRIGGER t AFTER INSERT ON new BEGIN DELETE FROM account; END')", None),
        ("op.execute('CREATE VIEW v AS SELECT id FROM account')", None),
        ("op.create_index('i', 'other', ['x'])", "op.drop_index('i', 'account')"),
    ],
)
def test_what_is_named_in_passing_is_touched_too(
    before: str, final: str | None, project: NewSite, sqlite_url: str
) -> None:
    site = shop(project, sqlite_url, before, final or 'op.drop_column("account", "name")')
    done = site.flask("db", "upgrade", "--phase", B)
    assert (done.returncode, "and both touch" in done.stderr) == (3, True)


def test_a_schema_is_touched_by_what_is_in_it(project: NewSite, postgresql_url: str) -> None:
    before = 'op.create_table("old", sa.Column("id", sa.Integer), schema="archive")'
    site = shop(project, postgresql_url, before, 'op.execute("CREATE SCHEMA archive")')
    done = site.flask("db", "upgrade", "--phase", B)
    assert done.returncode == 3
    assert "before-deploy of 3 would run before final of 2, and both touch the whole schema archive." in done.stderr


def test_a_function_of_ones_own_is_warned_of(project: NewSite, sqlite_url: str) -> None:
    site = shop(project, sqlite_url, """op.execute("UPDATE other SET x = slug(y)")""")
    shown = site.flask("db", "upgrade", "--phase", B, "--plan")
    assert (shown.returncode, shown.stderr.count("Warning:")) == (0, 1)
    assert "it calls a function that may touch anything: UPDATE other SET x = slug(y)" in shown.stderr


OPAQUE = 'op.get_bind().execute(sa.text("UPDATE account SET name = email"))'


def test_opaque_python_is_warned_of_once_a_pair_and_runs(project: NewSite, sqlite_url: str) -> None:
    site = shop(project, sqlite_url, 'op.add_column("account", sa.Column("age", sa.Integer))', final=OPAQUE)
    because = (
        "before-deploy of 3 runs before final of 2, and whether both touch the same cannot be told: "
        f"{site.versions / '2.py'}, line 18: it works with the database itself. If either order gives the same "
        f'result, write into {site.versions / "3.py"}: independent_of = ("2",)'
    )
    shown = site.flask("db", "upgrade", "--phase", B, "--plan")
    assert (shown.returncode, shown.stderr) == (0, f"Warning: default: {because}\n")
    found = json.loads(site.flask("db", "upgrade", "--phase", B, "--plan", "--json").stdout)
    overtaken = {"revision": "2", "phase": "final"}
    assert found["warnings"] == [
        {"bind": "default", "revision": "3", "phase": B, "overtakes": overtaken, "because": because}
    ]
    exported = site.flask("db", "sql", "--phase", B, "current:head")
    assert f"-- Warning: default: {because}\n" in exported.stdout
    done = site.flask("db", "upgrade", "--phase", B)
    assert (done.returncode, done.stderr.count("Warning:")) == (0, 1)
    assert site.flask("db", "upgrade", "--phase", B).stderr == "Nothing to do.\n"


def test_looking_at_a_body_reaches_no_database_and_prints_nothing(project: NewSite, sqlite_url: str) -> None:
    final = (
        "import app; print('hello'); app.db.session.execute(sa.text('DELETE FROM account')); app.db.session.commit()"
    )
    site = shop(project, sqlite_url, 'op.add_column("account", sa.Column("age", sa.Integer))', final=final)
    query(sqlite_url, "INSERT INTO account (id, name) VALUES (1, 'kept')")
    done = site.flask("db", "upgrade", "--phase", B)
    assert (done.returncode, done.stdout) == (0, "")
    assert "line 18: it works with the database itself" in done.stderr
    assert query(sqlite_url, "SELECT id, name FROM account") == [(1, "kept")]


def test_looking_at_a_body_leaves_its_module_as_it_is(project: NewSite, sqlite_url: str) -> None:
    text = 'op.execute(sa.insert(sa.Table("account", MADE, sa.Column("id", sa.Integer))).values(id=len(MADE.tables)))'
    site = shop(project, sqlite_url, text, more="    MADE = sa.MetaData()\n", final='op.create_table("other")')
    done = site.flask("db", "upgrade", "--phase", B)
    assert (done.returncode, "Warning" in done.stderr) == (0, False)
    assert query(sqlite_url, "SELECT id FROM account") == [(1,)]


def test_a_body_may_ask_alembic_s_context_on_paper(project: NewSite, sqlite_url: str) -> None:
    text = """from alembic import context
        if not context.is_offline_mode() and not op.get_context().as_sql and not context.get_x_argument():
            op.execute("UPDATE account SET name = NULL")"""
    site = shop(project, sqlite_url, text)
    assert "both touch column name of table account" in site.flask("db", "upgrade", "--phase", B).stderr


def test_each_bind_is_looked_at_by_itself(project: NewSite, sqlite_url: str, tmp_path: Path) -> None:
    site = project(sqlite_url, binds={"reports": f"sqlite:///{tmp_path / 'reports.db'}"})
    site.revision("1", None, ACCOUNT)
    site.revision("2", "1", EMAIL.format(final='op.drop_column("account", "name")'))
    site.revision(
        "3",
        "2",
        """
        @phased("before-deploy", bind="reports")
        def upgrade():
            op.create_table("account", sa.Column("name", sa.String(40)))
        """,
    )
    done = site.flask("db", "upgrade", "--phase", B)
    assert (done.returncode, "Warning" in done.stderr) == (0, False)
