"""The rules about code: up to the boundary the schema works with the old code and the new, then with the new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op
from linting import (
    DEFAULTED,
    EARLY,
    FINAL,
    LATE,
    OPTIONAL,
    REQUIRED,
    assert_safe,
    assert_unsafe,
    bodies,
    known,
    look,
    report,
    revision,
)

from flask_phased_migrate.graph import Revision
from flask_phased_migrate.phases import Bodies, Body, Phases, phased, read_bodies

A = sa.Column
MODELS = {"orders": frozenset({"id", "email"})}
ENGINES = ("postgresql", "mariadb", "sqlite")


def sql(text: str) -> Callable[[], None]:
    return lambda: op.execute(text)


def drop_column() -> None:
    op.drop_column("orders", "email")


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize("work", [drop_column, sql("ALTER TABLE orders DROP COLUMN email")])
def test_a_column_is_dropped_after_the_deploy(work: Callable[[], None], dialect: str) -> None:
    found = assert_unsafe(work, "drop-column", "orders.email", dialect=dialect)
    assert found.rewrite == (
        '@upgrade.phase("after-deploy")\ndef upgrade_after_deploy():\n    op.drop_column("orders", "email")'
    )
    assert_safe(work, dialect=dialect, phase=LATE)
    assert_safe(work, dialect=dialect, phase=FINAL)


def test_the_new_code_must_be_able_to_insert_before_a_column_is_dropped() -> None:
    found = assert_unsafe(drop_column, "drop-column", "NOT NULL", phase=LATE, facts=known(orders=[REQUIRED]))
    assert "nullable=True" in str(found.rewrite)
    assert_safe(drop_column, phase=LATE, facts=known(orders=[OPTIONAL]))
    assert_safe(drop_column, phase=LATE, facts=known(orders=[DEFAULTED]))


def test_a_column_relaxed_before_the_deploy_is_dropped_safely() -> None:
    def relax() -> None:
        op.alter_column("orders", "email", existing_type=sa.String(9), nullable=True)

    found = report([revision("1", {EARLY: relax, LATE: drop_column})], facts=known(orders=[REQUIRED]))
    assert [item.level for item in found.findings] == ["info"]


def test_a_column_that_the_history_made_required_is_known_without_a_database() -> None:
    made = revision("1", {EARLY: lambda: op.create_table("orders", A("email", sa.String(9), nullable=False))})
    dropped = revision("2", {LATE: drop_column}, "1")
    assert [item.rule for item in report([made, dropped]).findings] == ["drop-column"]


def test_a_table_is_dropped_after_the_deploy() -> None:
    assert_unsafe(lambda: op.drop_table("orders"), "drop-table", "orders")
    assert_unsafe(sql("DROP TABLE IF EXISTS orders, lines"), "drop-table", "orders")
    assert_safe(lambda: op.drop_table("orders"), phase=LATE)


@pytest.mark.parametrize("phase", [EARLY, LATE])
@pytest.mark.parametrize(
    "work",
    [
        lambda: op.alter_column("orders", "mail", new_column_name="email"),
        sql("ALTER TABLE orders RENAME COLUMN mail TO email"),
    ],
)
def test_no_moment_is_right_to_rename_a_column(work: Callable[[], None], phase: str) -> None:
    found = assert_unsafe(work, "rename-column", "orders.mail", "email", phase=phase)
    assert 'email = db.Column("mail", ...)' in str(found.rewrite)


def test_a_column_made_in_the_same_plan_may_be_renamed_and_dropped() -> None:
    def work() -> None:
        op.add_column("orders", A("mail", sa.String(9)))
        op.alter_column("orders", "mail", new_column_name="email")
        op.drop_column("orders", "email")

    assert_safe(work, "rename-column", "drop-column")


def test_a_table_is_renamed_behind_a_view_of_its_name() -> None:
    def viewed() -> None:
        op.rename_table("orders", "purchases")
        op.execute("CREATE VIEW orders AS SELECT * FROM purchases")

    plain = lambda: op.rename_table("orders", "purchases")  # noqa: E731
    assert_unsafe(plain, "rename-table", "orders", "purchases")
    assert_safe(viewed)
    assert_unsafe(plain, "rename-table", phase=LATE, models={"purchases": frozenset({"id"})})
    assert_unsafe(plain, "rename-table", phase=LATE, level="warning")


def test_a_table_without_a_model_may_be_put_aside_after_the_deploy() -> None:
    assert_safe(lambda: op.rename_table("gone", "trash_gone"), phase=LATE, models=MODELS)


def test_a_required_column_has_a_server_default() -> None:
    bare = lambda: op.add_column("orders", A("n", sa.Integer(), nullable=False, default=0))  # noqa: E731
    assert_unsafe(bare, "not-null-without-default", "orders.n", "default=")
    assert_unsafe(bare, "not-null-without-default", phase=LATE)
    assert_unsafe(bare, "not-null-without-default", "''", phase=LATE, dialect="mariadb", level="warning")
    assert_unsafe(sql("ALTER TABLE orders ADD COLUMN n int NOT NULL"), "not-null-without-default")
    assert_safe(lambda: op.add_column("orders", A("n", sa.Integer(), nullable=False, server_default="0")))
    assert_safe(lambda: op.add_column("orders", A("n", sa.Integer())))
    assert_safe(sql("ALTER TABLE orders ADD COLUMN n int DEFAULT 5 NOT NULL"))


def test_not_null_waits_for_the_new_code() -> None:
    work = lambda: op.alter_column("orders", "email", existing_type=sa.String(9), nullable=False)  # noqa: E731
    found = assert_unsafe(work, "set-not-null", "old code", dialect="sqlite")
    assert str(found.rewrite).startswith('@upgrade.phase("after-deploy")')
    assert_unsafe(work, "set-not-null", level="warning", dialect="mariadb", facts=known(orders=[DEFAULTED]))

    def filled() -> None:
        op.add_column("orders", A("n", sa.Integer(), server_default="0"))
        op.execute("ALTER TABLE orders MODIFY n int NOT NULL DEFAULT 0, ALGORITHM=INPLACE, LOCK=NONE")

    assert_safe(filled, dialect="mariadb")


def test_a_default_is_dropped_after_the_deploy() -> None:
    work = lambda: op.alter_column("orders", "email", server_default=None)  # noqa: E731
    assert_unsafe(work, "change-default", "orders.email", facts=known(orders=[DEFAULTED]))
    assert_unsafe(work, "change-default", level="warning")
    assert_safe(work, facts=known(orders=[OPTIONAL]))
    assert_safe(work, phase=LATE)
    assert_safe(lambda: op.alter_column("orders", "email", server_default="x"))


@pytest.mark.parametrize(
    "work",
    [
        lambda: op.create_unique_constraint("u", "orders", ["email"]),
        lambda: op.create_index("u", "orders", ["email"], unique=True),
        lambda: op.create_foreign_key("f", "orders", "customer", ["customer_id"], ["id"]),
        sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (n > 0)"),
    ],
)
def test_what_binds_the_old_code_waits(work: Callable[[], None]) -> None:
    assert_unsafe(work, "too-early", "orders", level="warning", dialect="mariadb")
    assert "too-early" not in {item.rule for item in look(work, "mariadb", LATE)}


def test_a_constraint_on_a_new_column_binds_nobody() -> None:
    def work() -> None:
        op.add_column("orders", A("customer_id", sa.Integer()))
        op.create_foreign_key("f", "orders", "customer", ["customer_id"], ["id"], postgresql_not_valid=True)

    assert_safe(work)


def test_rows_that_the_old_code_may_need_are_deleted_later() -> None:
    assert_unsafe(sql("DELETE FROM orders WHERE paid"), "too-early", "orders", level="warning")
    assert "too-early" not in {item.rule for item in look(sql("DELETE FROM orders WHERE paid"), phase=LATE)}


def test_what_the_new_code_maps_is_made_before_the_deploy() -> None:
    column = lambda: op.add_column("orders", A("email", sa.String(9)))  # noqa: E731
    table = lambda: op.create_table("orders", A("id", sa.BigInteger(), primary_key=True))  # noqa: E731
    assert_unsafe(column, "too-late", "orders.email", phase=LATE, models=MODELS)
    assert_unsafe(table, "too-late", "orders", phase=FINAL, models=MODELS)
    assert_unsafe(column, "too-late", phase=LATE, level="warning")
    assert_safe(column, phase=LATE, models={"orders": frozenset({"id"})})
    assert_safe(table, phase=LATE, models={"other": frozenset({"id"})})
    assert_safe(column, models=MODELS)


def test_a_new_enum_value_comes_before_the_deploy() -> None:
    assert_unsafe(sql("ALTER TYPE mood ADD VALUE 'calm'"), "too-late", "calm", phase=LATE, level="warning")


def test_the_boundary_may_be_a_later_phase() -> None:
    from flask_phased_migrate.phases import configure_phases
    from flask_phased_migrate.rules.schema import Schema
    from flask_phased_migrate.rules.situation import Act, Situation, Target

    phases = configure_phases(["a", "b", "c"], boundary="b")
    acts: list[Act] = []
    at = [Situation(Target("sqlite"), phases, name, Schema(), acts, 0) for name in phases.names]
    assert [(item.is_early, item.early, item.late) for item in at] == [
        (True, "b", "c"),
        (True, "b", "c"),
        (False, "b", "c"),
    ]


# -- whole revisions ----------------------------------------------------------------------------------


def test_an_unphased_revision_is_told_in_which_phase_it_runs() -> None:
    early = read_bodies(drop_column, "upgrade", Phases())
    found = report([Revision("1", upgrade=early, downgrade=early)]).findings
    assert [(item.rule, item.phase) for item in found] == [("drop-column", EARLY)]
    assert "has no phases, so that all of it runs in before-deploy" in found[0].message
    assert found[0].rewrite == '@phased("after-deploy")\ndef upgrade():\n    op.drop_column("orders", "email")'
    late = read_bodies(drop_column, "upgrade", Phases(), LATE)
    assert report([Revision("1", upgrade=late, downgrade=early)]).findings == ()


def test_an_unphased_addition_in_a_late_default_phase_is_too_late() -> None:
    def work() -> None:
        op.add_column("orders", A("email", sa.String(9)))

    phases = Phases(default=LATE)
    both = read_bodies(work, "upgrade", phases)
    found = report([Revision("1", upgrade=both, downgrade=both)], models=MODELS).findings
    assert [(item.rule, item.level, item.phase) for item in found] == [("too-late", "error", LATE)]


def test_what_nothing_undoes_is_told() -> None:
    def work() -> None:
        op.add_column("orders", A("n", sa.Integer()))

    up = Bodies((Body(EARLY, work),), phased=True)
    missing = report([Revision("1", upgrade=up, downgrade=Bodies(missing=True))]).findings
    assert [(item.rule, item.level, item.phase) for item in missing] == [("missing-undo", "warning", None)]
    partly = report([Revision("1", upgrade=up, downgrade=Bodies((Body(LATE, work),), phased=True))]).findings
    assert [(item.rule, item.phase) for item in partly] == [("missing-undo", EARLY)]
    assert report([Revision("1", upgrade=up, downgrade=up)]).findings == ()
    assert report([Revision("1", downgrade=Bodies(missing=True))]).findings == ()


def test_a_revision_says_itself_that_it_is_irreversible() -> None:
    up = Bodies((Body(LATE, drop_column),), phased=True)
    found = report([Revision("1", upgrade=up, attributes={"irreversible": "the data is gone"})])
    assert (found.findings, [item.reason for item in found.assured]) == ((), ["the data is gone"])
    empty = report([Revision("1", upgrade=up, attributes={"irreversible": "  "})])
    assert [item.rule for item in empty.findings] == ["missing-undo"]


def test_changed_rows_need_no_undo() -> None:
    up = Bodies((Body(LATE, sql("UPDATE orders SET n = 1 WHERE id = 1")),), phased=True)
    assert report([Revision("1", upgrade=up, downgrade=Bodies(missing=True))]).findings == ()


def generator(function: Any) -> Revision:
    undo = bodies(dict.fromkeys(Phases().names, lambda: None))
    return Revision("1", upgrade=read_bodies(phased(function), "upgrade", Phases()), downgrade=undo)


def test_a_read_before_a_yield_is_told_once_where_it_is() -> None:
    def upgrade() -> Any:
        op.get_bind().execute(sa.text("SELECT 1"))
        yield
        op.execute("UPDATE orders SET n = 1 WHERE id = 1")
        yield

    found = report([generator(upgrade)]).findings
    assert [(item.rule, item.level, item.phase) for item in found] == [("read-before-yield", "error", EARLY)]


def test_a_read_behind_the_last_yield_is_only_opaque() -> None:
    def upgrade() -> Any:
        op.add_column("orders", A("n", sa.Integer()))
        yield
        yield
        op.get_bind().execute(sa.text("SELECT 1")).scalar()

    found = report([generator(upgrade)]).findings
    assert [(item.rule, item.level, item.phase) for item in found] == [("opaque", "warning", FINAL)]


def test_a_file_that_planning_refuses_is_an_error() -> None:
    found = report([Revision("1", upgrade=Bodies(problem="it has three yields"), path="r.py")]).findings
    assert [(item.rule, item.level, item.message) for item in found] == [
        ("wrong-revision", "error", "it has three yields.")
    ]


def test_a_column_dropped_and_another_added_may_be_a_rename() -> None:
    def swap() -> None:
        op.add_column("orders", A("mail", sa.String(9)))

    found = report([revision("1", {EARLY: swap, LATE: drop_column})]).findings
    assert [(item.rule, item.level) for item in found] == [("drop-and-add", "warning")]

    def fill() -> None:
        op.execute("UPDATE orders SET mail = email WHERE id BETWEEN 1 AND 9")

    assert report([revision("1", {EARLY: swap, LATE: fill, FINAL: drop_column})]).findings == ()


def test_a_foreign_key_of_a_new_table_wants_an_index() -> None:
    def bare() -> None:
        op.create_table("lines", A("order_id", sa.BigInteger(), sa.ForeignKey("orders.id")))

    def indexed() -> None:
        bare()
        op.create_index("ix", "lines", ["order_id", "n"])

    assert_unsafe(bare, "foreign-key-without-index", "lines", "orders", level="info")
    assert look(indexed) == ()
    assert look(bare, "mariadb") == ()


def test_a_foreign_key_has_the_type_of_its_key() -> None:
    def work(type_: Any) -> Callable[[], None]:
        def body() -> None:
            op.create_table("orders", A("id", sa.BigInteger(), primary_key=True))
            op.create_table("lines", A("order_id", type_, sa.ForeignKey("orders.id")))

        return body

    assert_unsafe(work(sa.Integer()), "foreign-key-type", "lines.order_id", "orders.id", level="warning")
    assert_safe(work(sa.BigInteger()))


def test_a_key_that_runs_out_of_numbers_is_worth_a_word() -> None:
    small = lambda: op.create_table("orders", A("id", sa.Integer(), primary_key=True))  # noqa: E731
    assert_unsafe(small, "small-key", "orders.id", level="info")
    assert look(small, "sqlite") == ()


def test_a_name_longer_than_the_engine_has_room_for() -> None:
    work = lambda: op.create_table("t" * 64, A("id", sa.BigInteger(), primary_key=True))  # noqa: E731
    assert_unsafe(work, "long-name", "63 bytes", level="warning")
    assert_safe(work, dialect="mariadb")
