"""The rules of MariaDB and MySQL, and those of SQLite, in pairs of what is unsafe and what is safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op
from linting import LATE, assert_safe, assert_unsafe, known, look
from sqlalchemy.dialects import mysql

from flask_phased_migrate.rules.changes import Column, Default

A = sa.Column
BOTH = pytest.mark.parametrize("dialect", ["mariadb", "mysql"])


def sql(*texts: str) -> Callable[[], None]:
    def work() -> None:
        for text in texts:
            op.execute(text)

    return work


# -- MariaDB and MySQL ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "work",
    [
        lambda: op.add_column("orders", A("n", sa.Integer(), server_default="0")),
        lambda: op.add_column("orders", A("seen", sa.DateTime(), server_default=sa.func.now())),
        lambda: op.create_index("ix", "orders", ["email"]),
        lambda: op.drop_index("ix", "orders"),
        sql("ALTER TABLE orders ADD COLUMN n int AFTER id, ADD INDEX x (n)"),
        sql("ALTER TABLE orders ADD COLUMN n int AS (a * 2) VIRTUAL"),
        sql("ALTER TABLE orders ALTER COLUMN n SET DEFAULT 5"),
        sql("CREATE INDEX ix ON orders (email) ALGORITHM=INPLACE LOCK=NONE"),
        sql("SET SESSION lock_wait_timeout = 2"),
    ],
)
def test_what_is_done_at_once_or_while_others_write(work: Callable[[], None], dialect: str) -> None:
    version = (8, 0, 36) if dialect == "mysql" else (10, 11, 6)
    assert_safe(work, dialect=dialect, version=version)


@pytest.mark.parametrize(
    ("dialect", "version", "text", "is_rebuilt"),
    [
        ("mariadb", (10, 2, 44), "ADD COLUMN n int", True),
        ("mariadb", (10, 3, 2), "ADD COLUMN n int", False),
        ("mariadb", (10, 3, 2), "ADD COLUMN n int FIRST", True),
        ("mariadb", (10, 4), "ADD COLUMN n int FIRST", False),
        ("mysql", (5, 7, 44), "ADD COLUMN n int", True),
        ("mysql", (8, 0, 12), "ADD COLUMN n int", False),
        ("mysql", (8, 0, 28), "ADD COLUMN n int AFTER a", True),
        ("mysql", (8, 0, 29), "ADD COLUMN n int AFTER a", False),
        ("mysql", (8, 0, 28), "DROP COLUMN n", True),
        ("mysql", (8, 0, 29), "DROP COLUMN n", False),
        ("mariadb", (10, 4), "DROP COLUMN n", False),
    ],
)
def test_older_servers_write_the_table_anew_for_a_column(
    dialect: str, version: tuple[int, ...], text: str, is_rebuilt: bool
) -> None:
    found = look(sql(f"ALTER TABLE orders {text}"), dialect, LATE, version=version, models={"orders": frozenset("a")})
    assert [(item.rule, item.level) for item in found] == ([("table-rebuild", "warning")] if is_rebuilt else [])


@BOTH
@pytest.mark.parametrize(
    ("rule", "work"),
    [
        ("volatile-default", sql("ALTER TABLE orders ADD COLUMN u char(36) DEFAULT (uuid())")),
        ("self-numbering-column", sql("ALTER TABLE orders ADD COLUMN n int AUTO_INCREMENT UNIQUE")),
        ("stored-column", sql("ALTER TABLE orders ADD COLUMN n int AS (a * 2) STORED")),
        ("stored-column", lambda: op.add_column("orders", A("n", sa.Integer(), sa.Computed("a", persisted=True)))),
        ("foreign-key", lambda: op.create_foreign_key("f", "orders", "customer", ["a"], ["id"])),
        ("foreign-key", sql("ALTER TABLE orders ADD FOREIGN KEY (a) REFERENCES customer (id)")),
        ("check-constraint", lambda: op.create_check_constraint("c", "orders", "a > 0")),
        ("create-index", lambda: op.create_index("f", "orders", ["note"], mysql_prefix="FULLTEXT")),
        ("create-index", sql("CREATE FULLTEXT INDEX f ON orders (note)")),
        ("table-option", sql("ALTER TABLE orders CONVERT TO CHARACTER SET utf8mb4")),
        ("table-option", sql("ALTER TABLE orders PARTITION BY HASH (id) PARTITIONS 4")),
    ],
)
def test_what_keeps_others_from_writing(rule: str, work: Callable[[], None], dialect: str) -> None:
    assert_unsafe(work, rule, dialect=dialect)


TYPES = [
    (sa.String(20), sa.String(50), False, False),
    (sa.String(20), sa.String(300), False, True),
    (sa.String(100), sa.String(300), False, False),
    (mysql.ENUM("a", "b"), mysql.ENUM("a", "b", "c"), False, False),
    (mysql.ENUM("a", "b"), mysql.ENUM("b", "a"), True, True),
    (sa.Integer(), sa.BigInteger(), True, True),
    (sa.String(50), sa.String(20), True, True),
    (sa.String(50), sa.Text(), True, True),
]


@pytest.mark.parametrize(("old", "new", "on_mariadb", "on_mysql"), TYPES)
def test_a_type_that_copies_the_table(old: Any, new: Any, on_mariadb: bool, on_mysql: bool) -> None:
    work = lambda: op.alter_column("orders", "n", existing_type=old, type_=new)  # noqa: E731
    for dialect, copies in (("mariadb", on_mariadb), ("mysql", on_mysql)):
        found = [(item.rule, item.level) for item in look(work, dialect)]
        assert found == ([("change-type", "error")] if copies else []), dialect


def test_modify_is_compared_with_what_the_column_was() -> None:
    work = sql("ALTER TABLE orders MODIFY n bigint NOT NULL")
    narrow, same = Column("n", "INT(11)", nullable=False), Column("n", "BIGINT", nullable=False)
    assert_unsafe(work, "change-type", dialect="mariadb", facts=known(orders=[narrow]))
    assert_safe(work, dialect="mariadb", facts=known(orders=[same]))
    assert_unsafe(work, "change-type", "perhaps", level="warning", dialect="mariadb")


def test_a_column_written_anew_without_its_default_loses_it() -> None:
    facts = known(orders=[Column("state", "VARCHAR(9)", nullable=False, default=Default("constant", "'new'"))])
    lost = assert_unsafe(
        sql("ALTER TABLE orders MODIFY state varchar(9) NOT NULL"), "change-default", "without one its INSERTs fail",
        facts=facts, dialect="mariadb",
    )  # fmt: skip
    assert "server_default=None" in str(lost.rewrite)
    rules = {
        text: [(item.rule, item.level) for item in look(sql(f"ALTER TABLE orders {text}"), "mariadb", facts=facts)
               if item.rule == "change-default"]
        for text in ("MODIFY state varchar(9) NOT NULL DEFAULT 'new'", "CHANGE state state varchar(9) DEFAULT 'old'")
    }  # fmt: skip
    assert list(rules.values()) == [[], [("change-default", "info")]]


def test_a_column_renamed_by_change_is_a_rename() -> None:
    assert_unsafe(sql("ALTER TABLE orders CHANGE mail email varchar(50)"), "rename-column", dialect="mariadb")
    assert_safe(sql("ALTER TABLE orders CHANGE mail mail varchar(50)"), "rename-column", dialect="mariadb")


@BOTH
def test_not_null_writes_the_table_anew_while_others_go_on(dialect: str) -> None:
    work = lambda: op.alter_column("orders", "n", existing_type=sa.Integer(), nullable=False)  # noqa: E731
    assert_unsafe(work, "table-rebuild", "orders.n", dialect=dialect, level="warning", phase=LATE)
    guarded = sql("ALTER TABLE orders MODIFY n INTEGER NOT NULL, ALGORITHM=INPLACE, LOCK=NONE")
    assert_safe(guarded, dialect=dialect, phase=LATE)


@BOTH
def test_a_statement_that_the_server_would_refuse_rather_than_block_is_safe(dialect: str) -> None:
    assert_safe(sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (a > 0), LOCK=NONE"), dialect=dialect, phase=LATE)
    assert_unsafe(
        sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (a > 0), LOCK=SHARED"),
        "check-constraint", dialect=dialect, phase=LATE,
    )  # fmt: skip


@BOTH
def test_a_foreign_key_that_is_not_checked_is_added_at_once(dialect: str) -> None:
    add = "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES customer (id)"
    off, on = "SET foreign_key_checks = 0", "SET @@SESSION.foreign_key_checks = 1"
    assert_unsafe(sql(off, add, on), "foreign-key", level="info", dialect=dialect, phase=LATE)
    assert_unsafe(sql(off, on, add), "foreign-key", dialect=dialect, phase=LATE)


def test_a_primary_key_writes_the_table_anew() -> None:
    work = lambda: op.create_primary_key("p", "orders", ["id"])  # noqa: E731
    assert_unsafe(work, "primary-key", dialect="mariadb", level="warning")


def test_several_tables_renamed_at_once() -> None:
    found = look(sql("RENAME TABLE a TO b, c TO d"), "mysql")
    assert [item.rule for item in found] == ["rename-table", "rename-table"]


# -- SQLite -------------------------------------------------------------------------------------------


def test_sqlite_cannot_alter_a_column_outside_of_a_batch() -> None:
    work = lambda: op.alter_column("orders", "n", existing_type=sa.Integer(), nullable=True)  # noqa: E731
    assert_unsafe(work, "cannot-alter", "orders", dialect="sqlite")

    def batch() -> None:
        with op.batch_alter_table("orders") as batch_op:
            batch_op.alter_column("n", existing_type=sa.Integer(), nullable=True)

    assert_unsafe(batch, "table-copy", "orders", dialect="sqlite", level="warning")
    assert "cannot-alter" not in {item.rule for item in look(batch, "sqlite")}


def test_a_batch_that_only_adds_does_not_copy() -> None:
    def batch() -> None:
        with op.batch_alter_table("orders") as batch_op:
            batch_op.add_column(A("n", sa.Integer()))
            batch_op.create_index("ix", ["n"])

    assert_safe(batch, dialect="sqlite")


def test_a_batch_of_a_new_table_copies_nothing_that_counts() -> None:
    def work() -> None:
        op.create_table("orders", A("id", sa.Integer(), primary_key=True), A("n", sa.Integer()))
        with op.batch_alter_table("orders") as batch_op:
            batch_op.alter_column("n", existing_type=sa.Integer(), nullable=False)

    assert_safe(work, dialect="sqlite")


def test_sqlite_refuses_some_columns() -> None:
    now = lambda: op.add_column("orders", A("seen", sa.DateTime(), server_default=sa.func.now()))  # noqa: E731
    stored = sql("ALTER TABLE orders ADD COLUMN n int GENERATED ALWAYS AS (a) STORED")
    assert_unsafe(now, "cannot-add", "orders.seen", dialect="sqlite")
    assert_unsafe(stored, "cannot-add", dialect="sqlite")
    assert_safe(lambda: op.add_column("orders", A("n", sa.Integer(), server_default="0")), dialect="sqlite")


def test_the_copy_says_how_many_rows_there_are() -> None:
    from flask_phased_migrate.rules.schema import Facts

    def batch() -> None:
        with op.batch_alter_table("orders") as batch_op:
            batch_op.drop_column("n")

    found = assert_unsafe(
        batch, "table-copy", "about 2,000,000 rows", dialect="sqlite", level="warning", phase=LATE,
        facts=Facts(rows={"orders": 2_000_000}),
    )  # fmt: skip
    assert "stop the application" in str(found.rewrite)


@pytest.mark.parametrize("dialect", ["postgresql", "mariadb", "sqlite"])
@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (a, b) REFERENCES shop.customer (c, d) NOT VALID",
        "ALTER TABLE orders ADD COLUMN n numeric(8, 2) DEFAULT 'x' NOT NULL REFERENCES p (id), ALGORITHM=INSTANT",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS ix ON ONLY orders USING btree (a DESC, lower(b)) WHERE c > 0",
        "CREATE TABLE t (id bigserial PRIMARY KEY, a int CHECK (a > 0), CONSTRAINT k FOREIGN KEY (a) REFERENCES z(id))",
        "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'calm' BEFORE 'ok'",
        "WITH x AS (SELECT 1) UPDATE t SET a = 1 WHERE id IN (SELECT id FROM x LIMIT 5)",
        "ALTER TABLE orders CHANGE COLUMN a b varchar(20) NOT NULL AFTER c, ADD FULLTEXT INDEX f (b)",
        "RENAME TABLE a TO b, c TO d",
    ],
)
def test_a_statement_that_breaks_off_is_no_error_of_the_linter(text: str, dialect: str) -> None:
    words = text.split()
    for end in range(1, len(words)):
        look(lambda end=end: op.execute(" ".join(words[:end])), dialect)  # type: ignore[misc]
