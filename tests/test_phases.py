"""The phase settings, @phased, and what is read from an upgrade or a downgrade."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flask_phased_migrate.errors import ConfigurationError, UsageError
from flask_phased_migrate.phases import (
    DEFAULT_PHASES,
    Bodies,
    Body,
    PhasedFunction,
    PhasedPart,
    Phases,
    configure_phases,
    count_segments,
    has_no_code,
    phased,
    read_bodies,
    split_names,
)

PHASES = Phases()
TWO = Phases(("before-deploy", "final"), "before-deploy", "before-deploy")


class Op:
    """Stands for ``alembic.op`` in bodies that are read and never run."""

    def __getattr__(self, name: str) -> Any:
        def operation(*_arguments: Any, **_options: Any) -> Any:
            return contextlib.nullcontext()

        return operation


op = Op()


def work() -> None:
    op.execute("SELECT 1")


def sections(bodies: Bodies) -> list[tuple[str, str | None, int | None, int | None]]:
    return [(part.phase, part.bind, part.segment, part.segments) for part in bodies.parts]


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["a b c", "a,b,c", "a, b, c", "a\nb\nc", "\n  a\n  b\n  c\n", "a,b,c,", "a,\nb,\nc,\n", ["a", "b", "c"]],
)
def test_phases_are_separated_by_commas_blanks_or_lines_or_are_a_list(value: Any) -> None:
    assert configure_phases(value) == Phases(("a", "b", "c"), "a", "a")


def test_without_settings_the_phases_are_the_usual_three() -> None:
    assert configure_phases(None) == Phases(
        ("before-deploy", "after-deploy", "final"), default="before-deploy", boundary="before-deploy"
    )


def test_default_and_boundary_are_taken_from_the_settings() -> None:
    assert configure_phases("a b c", "b", "b") == Phases(("a", "b", "c"), "b", "b")


@pytest.mark.parametrize("value", ["", " \n", [], ()])
def test_no_phases_at_all_are_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="MIGRATE_PHASES is empty"):
        configure_phases(value)


@pytest.mark.parametrize(
    "value",
    [",", "a,,b", ",a,b", ["a", ""], ["a", " b"], ["a b"], ["a\nb"], ["a::b", "c"], "a::b c", ["a", 3], ["a", None]],
)
def test_an_unusable_name_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="MIGRATE_PHASES has the name"):
        configure_phases(value)


@pytest.mark.parametrize("value", [3, True, 1.5])
def test_something_that_is_no_list_of_names_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"MIGRATE_PHASES is {value}. It is a list of names"):
        configure_phases(value)


def test_a_repeated_name_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        configure_phases("a b a")
    assert str(caught.value) == "MIGRATE_PHASES names 'a' more than once."


@pytest.mark.parametrize(
    ("default", "boundary", "setting"),
    [("x", None, "MIGRATE_DEFAULT_PHASE"), (None, "x", "MIGRATE_BOUNDARY"), ("", None, "MIGRATE_DEFAULT_PHASE")],
)
def test_a_default_or_boundary_that_is_no_phase_is_refused(
    default: str | None, boundary: str | None, setting: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"{setting} is '.*', which is not one of the phases: a, b"):
        configure_phases("a b", default, boundary)


@pytest.mark.parametrize(("names", "boundary"), [("a b", "b"), ("only", None)])
def test_a_boundary_with_no_phase_after_it_is_refused(names: str, boundary: str | None) -> None:
    with pytest.raises(ConfigurationError, match="No phase comes after the boundary"):
        configure_phases(names, None, boundary)


def test_a_configuration_error_exits_2() -> None:
    assert ConfigurationError("x").exit_code == 2


def test_a_trailing_comma_adds_no_name() -> None:
    assert split_names("a, b,\n") == ("a", "b")


def test_phases_before_and_after_one_are_in_order() -> None:
    assert (PHASES.before("after-deploy"), PHASES.after("after-deploy")) == (("before-deploy",), ("final",))


def test_only_phases_after_the_boundary_move_the_pointer() -> None:
    phases = Phases(("a", "b", "c", "d"), "a", "b")
    assert [phases.moves_pointer(name) for name in phases.names] == [False, False, True, True]


def test_an_unknown_phase_is_a_usage_error_that_lists_the_phases() -> None:
    with pytest.raises(UsageError) as caught:
        PHASES.index("fnial")
    assert str(caught.value) == (
        "There is no phase 'fnial'. The phases are: before-deploy, after-deploy, final (MIGRATE_PHASES)."
    )


# -- has_no_code ----------------------------------------------------------------------------------

EMPTY = {
    "pass": "    pass",
    "docstring": "    '''Merge.'''",
    "docstring_and_pass": "    '''Merge.'''\n    pass",
    "ellipsis": "    ...",
    "return": "    return",
    "return_none": "    return None",
    "several": "    '''Merge.'''\n    pass\n    ...\n    return",
}
CODED = {
    "call": "    op.execute('x')",
    "return_value": "    return 1",
    "return_list": "    return [1, 2]",
    "raise": "    raise NotImplementedError",
    "generator": "    yield",
    "call_after_docstring": "    '''Text.'''\n    op.execute('x')",
    "assignment": "    x = 1",
    "import": "    import os",
    "branch": "    if op: pass",
    "global": "    op",
    "loop": "    for x in (): pass",
}


def made(body: str) -> Any:
    space: dict[str, Any] = {"op": op}
    exec(f"def upgrade():\n{body}\n", space)
    return space["upgrade"]


@pytest.mark.parametrize("name", EMPTY)
def test_pass_docstring_and_ellipsis_are_no_code(name: str) -> None:
    assert has_no_code(made(EMPTY[name]))


@pytest.mark.parametrize("name", CODED)
def test_anything_else_is_code(name: str) -> None:
    assert not has_no_code(made(CODED[name]))


def test_a_function_with_parameters_can_have_no_code() -> None:
    def upgrade(engine_name: str, *names: str, limit: int = 3, **rest: str) -> None:
        """Nothing to do."""

    assert has_no_code(upgrade)


def test_something_without_code_of_its_own_counts_as_code() -> None:
    assert not has_no_code(functools.partial(made("    pass")))


def test_code_that_is_traced_is_still_told_from_none() -> None:
    empty, coded = made("    pass"), made("    op.execute('x')")
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        empty()
        coded()
        found = has_no_code(empty), has_no_code(coded)
    finally:
        sys.settrace(before)
    assert found == (True, False)


def pythons() -> list[str]:
    """Return this Python and those of the other supported versions that are on the path and start."""
    found = [shutil.which(f"python3.{minor}") for minor in (11, 12, 13) if minor != sys.version_info.minor]
    return [sys.executable, *(path for path in found if path and starts(path))]


def starts(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("python", pythons())
def test_no_code_is_told_alike_by_every_python_at_hand(python: str) -> None:
    program = (
        "import json, sys, types\n"
        # The module alone: another Python at hand need not have Flask.
        "package = sys.modules['flask_phased_migrate'] = types.ModuleType('flask_phased_migrate')\n"
        "package.__path__ = ['flask_phased_migrate']\n"
        "from flask_phased_migrate.phases import has_no_code\n"
        "answers = {}\n"
        "for name, body in json.loads(sys.argv[1]).items():\n"
        "    space = {'op': None}\n"
        "    exec(f'def upgrade(engine_name=None):\\n{body}\\n', space)\n"
        "    answers[name] = has_no_code(space['upgrade'])\n"
        "    try: [space['upgrade']() for _ in range(50)]\n"
        "    except Exception: pass\n"
        "    assert answers[name] == has_no_code(space['upgrade']), name\n"
        "print(json.dumps(answers))\n"
    )
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [python, "-B", "-c", program, json.dumps({**EMPTY, **CODED})],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {**dict.fromkeys(EMPTY, True), **dict.fromkeys(CODED, False)}


# -- unphased -------------------------------------------------------------------------------------


def test_an_unphased_upgrade_belongs_to_the_default_phase_on_every_bind() -> None:
    bodies = read_bodies(work, "upgrade", Phases(("a", "b"), default="b", boundary="a"))
    assert bodies == Bodies(parts=(Body("b", work),), named=("b",))


def test_the_attribute_phase_says_where_an_unphased_upgrade_belongs() -> None:
    assert read_bodies(work, "upgrade", PHASES, "final") == Bodies(parts=(Body("final", work),), named=("final",))


def test_an_unphased_upgrade_without_code_has_no_parts() -> None:
    assert read_bodies(made("    pass"), "upgrade", PHASES) == Bodies(named=("before-deploy",))


def test_no_function_is_missing() -> None:
    assert read_bodies(None, "downgrade", PHASES) == Bodies(missing=True)


@pytest.mark.parametrize("own_phase", ["", 3, ["final"], ("a", "b")])
def test_an_attribute_phase_that_is_no_name_is_a_problem(own_phase: Any) -> None:
    problem = read_bodies(work, "upgrade", PHASES, own_phase).problem
    assert problem == f"its attribute 'phase' is {own_phase!r}. Write the name of one phase"


def test_an_upgrade_that_is_no_function_is_a_problem() -> None:
    assert read_bodies("SELECT 1", "upgrade", PHASES).problem == "'upgrade' is not a function"


def test_an_undecorated_generator_is_a_problem() -> None:
    assert read_bodies(made("    yield"), "upgrade", PHASES).problem == (
        "upgrade() is a generator without @phased: plain Alembic would call it and run nothing. Write @phased above it"
    )


@pytest.mark.parametrize("body", ["    op.x()", "    yield"])
def test_an_async_upgrade_is_a_problem(body: str) -> None:
    space: dict[str, Any] = {"op": op}
    exec(f"async def upgrade():\n{body}\n", space)
    assert read_bodies(space["upgrade"], "upgrade", PHASES).problem == (
        "upgrade() is 'async': it would be called and never run. Remove the 'async'"
    )


# -- one function a phase -------------------------------------------------------------------------


def test_a_function_a_phase_gives_a_body_a_phase() -> None:
    @phased("before-deploy")
    def upgrade() -> None:
        op.add_column()

    @upgrade.phase("final")
    def upgrade_final() -> None:
        op.alter_column()

    assert read_bodies(upgrade, "upgrade", PHASES) == Bodies(
        parts=(
            Body("before-deploy", PhasedPart(upgrade.function), "default"),
            Body("final", PhasedPart(upgrade_final), "default"),
        ),
        phased=True,
        named=("before-deploy", "final"),
    )


def test_the_functions_stay_directly_callable() -> None:
    @phased("before-deploy")
    def upgrade() -> str:
        """Add the column."""
        return "first"

    @upgrade.phase("final")
    def upgrade_final() -> str:
        return "last"

    assert (upgrade.function(), upgrade_final()) == ("first", "last")
    assert (upgrade.__name__, upgrade.__doc__) == ("upgrade", "Add the column.")


def test_a_part_without_code_is_an_empty_step_whose_phase_is_still_named() -> None:
    @phased("before-deploy")
    def upgrade() -> None:
        """Nothing."""

    @upgrade.phase("final")
    def upgrade_final() -> None:
        op.drop_column()

    bodies = read_bodies(upgrade, "upgrade", PHASES)
    assert (bodies.phases("default"), bodies.named) == (("final",), ("before-deploy", "final"))


def test_a_phase_can_have_another_function_for_another_bind() -> None:
    @phased("before-deploy")
    def upgrade() -> None:
        op.add_column()

    @upgrade.phase("before-deploy", bind="reports")
    def upgrade_reports() -> None:
        op.add_column()

    bodies = read_bodies(upgrade, "upgrade", PHASES)
    assert sections(bodies) == [("before-deploy", "default", None, None), ("before-deploy", "reports", None, None)]
    assert bodies.body("reports", "before-deploy").function == PhasedPart(upgrade_reports)
    assert bodies.phases("third") == ()


def test_a_function_that_takes_arguments_serves_every_bind_and_one_for_a_bind_wins() -> None:
    @phased("final")
    def upgrade(engine_name: str) -> None:
        op.execute(engine_name)

    @upgrade.phase("final", bind="reports")
    def upgrade_reports() -> None:
        op.add_column()

    bodies = read_bodies(upgrade, "upgrade", PHASES)
    assert sections(bodies) == [("final", None, None, None), ("final", "reports", None, None)]
    assert bodies.body("default", "final").function == PhasedPart(upgrade.function)
    assert bodies.body("reports", "final").function == PhasedPart(upgrade_reports)


def test_the_whole_upgrade_can_be_for_another_bind() -> None:
    @phased("final", bind="reports")
    def upgrade() -> None:
        op.add_column()

    assert sections(read_bodies(upgrade, "upgrade", PHASES)) == [("final", "reports", None, None)]


def test_the_body_of_an_empty_step_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Bodies().body("default", "final")


def test_a_phased_function_gets_the_arguments_it_names_and_a_plain_one_all() -> None:
    def named(engine_name: str) -> None:
        op.execute(engine_name)

    offered = {"engine_name": "reports", "other": 1}
    assert Body("final", PhasedPart(named)).arguments(offered) == {"engine_name": "reports"}
    assert Body("final", PhasedPart(work)).arguments(offered) == {}
    assert Body("final", work).arguments(offered) == offered


def test_a_phased_function_with_keywords_gets_every_argument() -> None:
    def every(**options: str) -> None:
        op.execute(options)

    assert Body("final", PhasedPart(every)).arguments({"a": 1, "b": 2}) == {"a": 1, "b": 2}


def test_the_phase_attribute_does_not_concern_a_phased_upgrade() -> None:
    @phased("final")
    def upgrade() -> None:
        op.add_column()

    assert read_bodies(upgrade, "upgrade", PHASES, "before-deploy").phases("default") == ("final",)


def functions_problem(*registered: tuple[Any, Any, Any], names: tuple[Any, ...] = ("before-deploy",)) -> str | None:
    """Return the problem of an upgrade with ``registered`` functions: (phase, bind, function)."""
    upgrade = PhasedFunction(work, names, None)
    for name, bind, function in registered:
        upgrade.phase(name, bind=bind)(function)
    return read_bodies(upgrade, "upgrade", PHASES).problem


def test_two_functions_for_one_phase_are_a_problem() -> None:
    problem = functions_problem(("before-deploy", None, made("    op.x()")))
    assert problem == "upgrade has two functions for phase 'before-deploy'. Put their code into one"


def test_the_unnamed_bind_and_the_bind_default_are_the_same() -> None:
    problem = functions_problem(("before-deploy", "default", made("    op.x()")))
    assert problem == "upgrade has two functions for phase 'before-deploy'. Put their code into one"


def test_two_functions_for_one_phase_of_a_bind_are_a_problem_that_names_the_bind() -> None:
    function = made("    op.x()")
    problem = functions_problem(("final", "reports", function), ("final", "reports", function))
    assert problem == "upgrade has two functions for phase 'final' on bind 'reports'. Put their code into one"


def test_a_generator_as_the_function_of_one_phase_is_a_problem() -> None:
    def upgrade_final() -> Any:
        yield

    problem = functions_problem(("final", None, upgrade_final))
    assert problem == ("upgrade_final() is a generator, but it is the function of one phase, 'final'. Remove its yield")


def test_a_wrapped_generator_as_the_function_of_one_phase_is_a_problem() -> None:
    problem = functions_problem(("final", None, functools.partial(made("    yield"))))
    assert problem is not None
    assert problem.endswith("is a generator, but it is the function of one phase, 'final'. Remove its yield")


def test_an_async_function_of_a_phase_is_a_problem() -> None:
    async def upgrade_final() -> None:
        op.execute("x")

    assert functions_problem(("final", None, upgrade_final)) == (
        "upgrade_final() is 'async': it would be called and never run. Remove the 'async'"
    )


@pytest.mark.parametrize(
    ("names", "shown"), [((["a", "b"],), "['a', 'b']"), ((("a", "b"),), "('a', 'b')"), ((3,), "3")]
)
def test_a_phase_that_is_no_name_is_a_problem(names: Any, shown: str) -> None:
    assert functions_problem(names=names) == (
        f'upgrade() has {shown} where a phase is named. Write the name of one phase, as in "PHASE"'
    )


def test_a_bind_that_is_no_name_is_a_problem() -> None:
    assert functions_problem(("final", ["reports"], work)) == (
        "upgrade() has ['reports'] where a bind is named. Write bind=\"NAME\""
    )


def test_phase_without_a_name_is_a_problem_and_not_a_lost_function() -> None:
    @phased("before-deploy")
    def upgrade() -> None:
        op.add_column()

    @upgrade.phase
    def upgrade_final() -> None:
        op.drop_column()

    assert read_bodies(upgrade, "upgrade", PHASES).problem == (
        'upgrade_final() is under @upgrade.phase without a name. Write @upgrade.phase("PHASE")'
    )


def test_a_part_called_upgrade_too_is_a_problem_and_does_not_hide_the_others() -> None:
    @phased("before-deploy")
    def upgrade() -> None:
        op.add_column()

    @upgrade.phase("after-deploy")
    def upgrade() -> None:
        op.execute("x")

    assert read_bodies(upgrade, "upgrade", PHASES).problem == (
        'upgrade() is the function under @upgrade.phase("after-deploy"), and hides every other. Give it a name of '
        "its own, such as upgrade_after_deploy"
    )


def test_phased_twice_is_a_problem() -> None:
    @phased("before-deploy")
    @phased("final")
    def upgrade() -> None:
        op.add_column()

    assert read_bodies(upgrade, "upgrade", PHASES).problem == (
        "upgrade() is under @phased and named for phase 'before-deploy' too. Keep one of the decorators"
    )


def test_bare_phased_on_a_plain_function_is_a_problem() -> None:
    @phased
    def upgrade() -> Any:
        return [1, 2]

    assert read_bodies(upgrade, "upgrade", PHASES).problem == (
        'upgrade() is not a generator, and its @phased names no phase. Write @phased("PHASE") above it and one '
        'function under @upgrade.phase("PHASE") for each other phase'
    )


def test_several_names_on_a_plain_function_are_a_problem() -> None:
    assert functions_problem(names=("before-deploy", "final")) == (
        'upgrade() is not a generator, and its @phased names several phases. Write @phased("PHASE") above it and one '
        'function under @upgrade.phase("PHASE") for each other phase'
    )


def test_empty_parentheses_on_a_plain_function_are_a_problem() -> None:
    @phased()
    def upgrade() -> None:
        op.add_column()

    problem = read_bodies(upgrade, "upgrade", PHASES).problem
    assert problem is not None
    assert problem.startswith("upgrade() is not a generator, and its @phased names no phase.")


# -- one generator --------------------------------------------------------------------------------


def test_a_bare_generator_has_the_configured_phases_in_order() -> None:
    @phased
    def upgrade() -> Any:
        op.add_column()
        yield
        op.execute("x")
        yield
        op.alter_column()

    part = PhasedPart(upgrade.function)
    assert read_bodies(upgrade, "upgrade", PHASES) == Bodies(
        parts=tuple(Body(name, part, "default", number, 3) for number, name in enumerate(DEFAULT_PHASES)),
        phased=True,
        named=DEFAULT_PHASES,
    )


def test_a_generator_can_name_its_segments() -> None:
    @phased("before-deploy", "final")
    def upgrade() -> Any:
        op.add_column()
        yield
        op.alter_column()

    bodies = read_bodies(upgrade, "upgrade", PHASES)
    assert sections(bodies) == [("before-deploy", "default", 0, 2), ("final", "default", 1, 2)]


def test_segments_of_a_generator_are_never_empty() -> None:
    @phased
    def upgrade() -> Any:
        yield
        yield

    assert read_bodies(upgrade, "upgrade", PHASES).phases("default") == DEFAULT_PHASES


@pytest.mark.parametrize("names", [(), ("before-deploy", "after-deploy", "final")])
def test_a_generator_downgrade_comes_last_phase_first(names: tuple[str, ...]) -> None:
    def downgrade() -> Any:
        yield
        yield

    bodies = read_bodies(PhasedFunction(downgrade, names, None), "downgrade", PHASES)
    assert sections(bodies) == [
        ("final", "default", 0, 3),
        ("after-deploy", "default", 1, 3),
        ("before-deploy", "default", 2, 3),
    ]


def test_a_generator_downgrade_may_name_its_segments_as_they_come() -> None:
    def downgrade() -> Any:
        yield

    bodies = read_bodies(PhasedFunction(downgrade, ("final", "before-deploy"), None), "downgrade", PHASES)
    assert [part.phase for part in bodies.parts] == ["final", "before-deploy"]


def test_a_generator_that_takes_arguments_serves_every_bind() -> None:
    @phased
    def upgrade(engine_name: str) -> Any:
        op.execute(engine_name)
        yield

    assert [part.bind for part in read_bodies(upgrade, "upgrade", TWO).parts] == [None, None]


def test_a_generator_can_be_for_one_bind() -> None:
    @phased("before-deploy", "final", bind="reports")
    def upgrade() -> Any:
        yield

    assert [part.bind for part in read_bodies(upgrade, "upgrade", TWO).parts] == ["reports", "reports"]


def test_too_few_segments_are_a_problem() -> None:
    @phased
    def upgrade() -> Any:
        yield

    assert read_bodies(upgrade, "upgrade", PHASES).problem == (
        "upgrade() has 2 segments (1 yield), but there are 3 phases: before-deploy, after-deploy, final. "
        "Put one yield between two phases"
    )


def test_too_many_segments_are_a_problem() -> None:
    @phased("final")
    def upgrade() -> Any:
        yield
        yield

    assert read_bodies(upgrade, "upgrade", PHASES).problem == (
        "upgrade() has 3 segments (2 yields), but there is 1 phase: final. Put one yield between two phases"
    )


def test_a_generator_with_functions_for_phases_is_a_problem() -> None:
    @phased
    def upgrade() -> Any:
        yield

    @upgrade.phase("final")
    def upgrade_final() -> None:
        op.add_column()

    assert read_bodies(upgrade, "upgrade", PHASES).problem == (
        "upgrade() is a generator and has functions for phases too. Use one of the two forms"
    )


def test_a_generator_that_names_a_phase_twice_is_a_problem() -> None:
    @phased("final", "final")
    def upgrade() -> Any:
        yield

    assert read_bodies(upgrade, "upgrade", PHASES).problem == "upgrade() names the phase 'final' more than once"


def test_segments_out_of_order_are_a_problem() -> None:
    @phased("final", "before-deploy")
    def upgrade() -> Any:
        yield

    assert read_bodies(upgrade, "upgrade", PHASES).problem == (
        "upgrade() names its segments out of order: final, before-deploy. The phases run in the order "
        "before-deploy, after-deploy, final, and so must the segments"
    )


def test_an_unknown_phase_is_not_a_problem_of_the_file() -> None:
    @phased("pre", "post")
    def upgrade() -> Any:
        yield

    assert read_bodies(upgrade, "upgrade", PHASES).problem is None


def batch() -> Any:
    with op.batch_alter_table("account") as batch_op:
        batch_op.add_column()
        yield
        batch_op.drop_column()


def autocommit() -> Any:
    with op.get_context().autocommit_block():
        if op:
            yield


def batch_among_others() -> Any:
    with contextlib.nullcontext(), op.batch_alter_table("account"), contextlib.nullcontext():
        yield


@pytest.mark.parametrize(
    ("function", "block"),
    [(batch, "batch_alter_table"), (autocommit, "autocommit_block"), (batch_among_others, "batch_alter_table")],
)
def test_a_yield_inside_a_batch_or_autocommit_block_is_a_problem(function: Any, block: str) -> None:
    assert read_bodies(phased(function), "upgrade", TWO).problem == (
        f"{function.__name__}() has a yield inside 'with {block}': its operations would run in the next phase. "
        "Close the block before the yield"
    )


def raw_cursor() -> Any:
    op.get_bind().connection.cursor().execute("UPDATE account SET n = n + 1")
    yield
    op.drop_column()


def through_the_session() -> Any:
    db.session.execute("UPDATE account SET n = n + 1")  # noqa: F821
    yield


@pytest.mark.parametrize(
    ("function", "used"), [(raw_cursor, "op.get_bind().connection"), (through_the_session, "db.session")]
)
def test_a_way_past_op_before_a_yield_is_a_problem(function: Any, used: str) -> None:
    assert read_bodies(phased(function), "upgrade", TWO).problem == (
        f"{function.__name__}() uses '{used}' before a yield: that would be done again for each later phase, since "
        "only what goes through op can be passed over. Write one function a phase (@upgrade.phase(...))"
    )


def asks_for_the_dialect() -> Any:
    if op.get_bind().engine.name == "sqlite":
        op.add_column(account.c.connection)  # noqa: F821
    yield
    op.get_bind().connection.cursor()


def test_to_ask_for_the_dialect_before_a_yield_is_none() -> None:
    assert read_bodies(phased(asks_for_the_dialect), "upgrade", TWO).problem is None


# -- counting segments ----------------------------------------------------------------------------


def between_batches() -> Any:
    with op.batch_alter_table("account"):
        op.add_column()
    yield
    with op.batch_alter_table("account"):
        op.drop_column()


def in_other_block() -> Any:
    with contextlib.nullcontext():
        yield


def in_both_branches() -> Any:
    if op.dialect == "sqlite":
        yield
    else:
        op.execute("x")
        yield


def in_finally() -> Any:
    try:
        yield
    finally:
        yield


def assigned() -> Any:
    nothing = yield
    other: Any = yield
    return nothing, other


def before_return() -> Any:
    yield
    return
    yield


def no_yield_reached() -> Any:
    return
    yield


def with_nested_generator() -> Any:
    def rows() -> Any:
        yield 1
        return

    op.bulk_insert(rows())
    yield


def with_inner_lambda() -> Any:
    rows = lambda: (yield)  # noqa: E731
    op.execute(rows)
    yield


@pytest.mark.parametrize(
    ("function", "segments"),
    [
        (between_batches, 2),
        (in_other_block, 2),
        (in_both_branches, 2),
        (in_finally, 3),
        (assigned, 3),
        (before_return, 2),
        (no_yield_reached, 1),
        (with_nested_generator, 2),
        (with_inner_lambda, 2),
    ],
)
def test_segments_are_counted_where_every_run_has_the_same(function: Any, segments: int) -> None:
    assert count_segments(function) == (None, segments)


def in_loop() -> Any:
    for _ in range(2):
        yield


def in_while() -> Any:
    while op:
        yield


def in_one_branch() -> Any:
    if op:
        yield


def in_branches_of_different_length() -> Any:
    if op:
        yield
    else:
        yield
        yield


def in_try_with_handler() -> Any:
    try:
        yield
    except ValueError:
        op.execute("x")


def in_handler() -> Any:
    try:
        op.execute("x")
    except ValueError:
        yield


def delegated() -> Any:
    yield from ()


def in_argument() -> Any:
    op.execute((yield))


def in_yield() -> Any:
    yield (yield)


def in_test() -> Any:
    if (yield):
        op.execute("x")


def in_with_item() -> Any:
    with contextlib.nullcontext((yield)):
        op.execute("x")


def in_match() -> Any:
    match op.dialect:
        case "sqlite":
            yield
        case _:
            yield


def returned_early() -> Any:
    if op.dialect == "sqlite":
        return
    yield


def returned_early_in_a_loop() -> Any:
    for _ in range(2):
        if op:
            return
    yield


def returned_early_in_a_block() -> Any:
    with contextlib.nullcontext():
        if op:
            return
    yield


def returned_yield() -> Any:
    return (yield)


@pytest.mark.parametrize(
    "function",
    [
        in_loop,
        in_while,
        in_one_branch,
        in_branches_of_different_length,
        in_try_with_handler,
        in_handler,
        delegated,
        in_argument,
        in_yield,
        in_test,
        in_with_item,
        in_match,
        returned_early,
        returned_early_in_a_loop,
        returned_early_in_a_block,
        returned_yield,
    ],
    ids=lambda function: str(function.__name__),
)
def test_segments_that_depend_on_the_run_are_a_problem(function: Any) -> None:
    bodies = read_bodies(phased(function), "upgrade", TWO)
    assert count_segments(function) == (None, None)
    assert bodies.problem is not None
    assert bodies.problem.startswith("upgrade() has a yield in a loop or a branch")


def test_a_generator_without_source_cannot_be_counted() -> None:
    assert count_segments(made("    yield")) == (None, None)
