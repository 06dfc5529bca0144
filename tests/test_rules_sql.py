"""Raw SQL as engines know it: what a statement comes to, and what the rules say of it, in pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import sqlalchemy as sa
from alembic import op
from linting import EARLY, LATE, assert_safe, assert_unsafe, known, look, report, revision
from sqlalchemy.dialects import mysql, postgresql, sqlite

from flask_phased_migrate import assured
from flask_phased_migrate.phases import Phases, phased, read_bodies
from flask_phased_migrate.rules import RULES, STYLE
from flask_phased_migrate.rules.changes import (
    AddColumn,
    AddConstraint,
    Change,
    Column,
    CreateIndex,
    CreateTable,
    CreateView,
    DropColumn,
    DropTable,
    Name,
    Opaque,
    RenameTable,
    TakeLock,
    Truncate,
)
from flask_phased_migrate.rules.from_sql import read_sql
from flask_phased_migrate.rules.schema import Facts
from flask_phased_migrate.rules.types import cost_on_mysql

DIALECTS: dict[str, Any] = {
    "postgresql": postgresql.dialect(),
    "mariadb": mysql.dialect(),
    "sqlite": sqlite.dialect(),
}
ORDERS = Name("orders")
A = sa.Column


def sql(*texts: str) -> Callable[[], None]:
    def work() -> None:
        for text in texts:
            op.execute(text)

    return work


def changes(text: str, dialect: str = "postgresql") -> list[Change]:
    return [change for statement in read_sql(text, DIALECTS[dialect]) for change in statement.changes]


# -- statements that were taken for something else, or for nothing -------------------------------------


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        ("mariadb", "ALTER TABLE orders RENAME purchases", RenameTable(ORDERS, Name("purchases"))),
        ("postgresql", "ALTER TABLE shop.orders RENAME TO purchases",
         RenameTable(Name("orders", "shop"), Name("purchases", "shop"))),
        ("postgresql", "ALTER TABLE orders SET SCHEMA archive", RenameTable(ORDERS, Name("orders", "archive"))),
        ("postgresql", "ALTER VIEW orders RENAME TO purchases", RenameTable(ORDERS, Name("purchases"))),
        ("postgresql", "SELECT * INTO copied FROM orders", CreateTable(Name("copied"), is_private=True)),
        ("postgresql", "ALTER TABLE orders ADD UNIQUE NULLS NOT DISTINCT (a)",
         AddConstraint(ORDERS, "unique", "", ("a",))),
        ("postgresql", "ALTER TABLE orders ADD CONSTRAINT c NOT NULL a NOT VALID",
         AddConstraint(ORDERS, "check", "c", not_valid=True, text="a IS NOT NULL")),
        ("postgresql", "LOCK TABLE orders IN SHARE ROW EXCLUSIVE MODE",
         TakeLock(ORDERS, "SHARE ROW EXCLUSIVE", is_asked=True)),
        ("postgresql", "CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f()",
         TakeLock(ORDERS, "SHARE ROW EXCLUSIVE")),
        ("postgresql", 'CREATE RECURSIVE VIEW "V" AS SELECT 1', CreateView(Name("V"))),
        ("mariadb", "CREATE DEFINER=`root`@`localhost` SQL SECURITY INVOKER VIEW v AS SELECT 1", CreateView(Name("v"))),
        ("mariadb", "CREATE OR REPLACE ALGORITHM=MERGE VIEW v AS SELECT 1", CreateView(Name("v"))),
        ("mariadb", "ALTER TABLE orders WAIT 1 DROP COLUMN a", DropColumn(ORDERS, "a")),
        ("mariadb", "ALTER TABLE orders NOWAIT DROP COLUMN a", DropColumn(ORDERS, "a")),
        ("mariadb", "ALTER TABLE orders DROP PARTITION p1", Truncate(ORDERS)),
        ("mariadb", "CREATE INDEX ix ON orders (a(10))", CreateIndex(ORDERS, "ix", ("a",), elements=("a(10)",))),
        ("sqlite", "CREATE VIRTUAL TABLE words USING fts5(a)", CreateTable(Name("words"), is_private=True)),
    ],
)  # fmt: skip
def test_a_statement_comes_to_what_it_does(dialect: str, text: str, expected: Change) -> None:
    assert changes(text, dialect) == [expected]


def test_create_or_replace_table_drops_the_rows() -> None:
    kinds = [type(change) for change in changes("CREATE OR REPLACE TABLE orders (id int)", "mariadb")]
    assert kinds == [DropTable, CreateTable]


@pytest.mark.parametrize("text", ["/*!40101 ALTER TABLE orders DROP COLUMN a */", "SELECT 1 /*M!100100 , 2 */"])
def test_a_comment_that_the_server_carries_out_is_not_passed_over(text: str) -> None:
    found = changes(text, "mariadb")
    assert found[-1] == Opaque(Name(""), "a comment that the server carries out")
    assert not [change for change in changes("SELECT 1 /* a comment */", "mariadb") if isinstance(change, Opaque)]


def test_a_quoted_name_keeps_its_case_in_code_that_is_proposed() -> None:
    found = assert_unsafe(sql('CREATE INDEX "Ix" ON "Orders" ("Email", lower("Name"))'), "create-index", "Orders")
    columns = """["Email", sa.text('lower("Name")')]"""
    line = str(found.rewrite).splitlines()[1].strip()
    assert line == f'op.create_index("Ix", "Orders", {columns}, postgresql_concurrently=True)'


def test_the_values_of_an_enum_keep_their_case() -> None:
    change: Any = changes("ALTER TABLE orders MODIFY kind enum('a', 'B') NOT NULL", "mariadb")[0]
    assert change.to.type_ == "ENUM('a', 'B')"


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("postgresql", "NOTIFY changed"),
        ("postgresql", "COPY orders TO '/tmp/orders'"),
        ("postgresql", "EXPLAIN SELECT 1"),
        ("postgresql", "ALTER FUNCTION f() OWNER TO bob"),
        ("postgresql", "CREATE STATISTICS s ON a, b FROM orders"),
        ("postgresql", "REINDEX (CONCURRENTLY) TABLE orders"),
        ("mariadb", "UNLOCK TABLES"),
        ("mariadb", "ALTER TABLE orders DEFAULT CHARACTER SET utf8mb4"),
        ("mariadb", "ALTER TABLE orders EXCHANGE PARTITION p WITH TABLE q"),
        ("mariadb", "ALTER TABLE orders ADD PARTITION (PARTITION p VALUES LESS THAN (10))"),
        ("mariadb", "SET STATEMENT max_statement_time=10 FOR UPDATE orders SET a = 1 WHERE id = 1"),
        ("mariadb", "CREATE DEFINER=`root`@`localhost` TRIGGER t BEFORE INSERT ON orders FOR EACH ROW SET NEW.a = 1"),
        ("mariadb", "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM orders"),
        ("sqlite", "UPDATE OR IGNORE orders SET a = 1 WHERE id = 1"),
        ("sqlite", "END TRANSACTION"),
        ("sqlite", "ALTER TABLE orders ADD b INT REFERENCES customer (id)"),
        ("sqlite", "ALTER TABLE orders ADD b INT CHECK (b > 0)"),
    ],
)
def test_a_statement_that_harms_nobody_has_no_finding(dialect: str, text: str) -> None:
    concurrent = "CONCURRENTLY" in text

    def work() -> None:
        if concurrent:
            with op.get_context().autocommit_block():
                op.execute(text)
        else:
            op.execute(text)

    assert_safe(work, dialect=dialect)


@pytest.mark.parametrize(
    ("dialect", "rule", "level", "text"),
    [
        ("postgresql", "lock-table", "warning", "LOCK orders"),
        ("postgresql", "refresh-view", "warning", "REFRESH MATERIALIZED VIEW totals"),
        ("postgresql", "table-option", "error", "ALTER TABLE orders SET UNLOGGED"),
        ("postgresql", "table-option", "error", "ALTER INDEX ix SET TABLESPACE fast"),
        ("postgresql", "maintenance", "error", "CLUSTER"),
        ("postgresql", "truncate", "error", "TRUNCATE orders CASCADE"),
        ("postgresql", "concurrently-in-transaction", "error", "VACUUM ANALYZE orders"),
        ("postgresql", "opaque", "warning", "DO $$ BEGIN DROP TABLE orders; END $$"),
        ("postgresql", "no-lock-timeout", "warning", "SET lock_timeout = '1min'"),
        ("postgresql", "no-lock-timeout", "warning", "RESET lock_timeout"),
        ("postgresql", "check-constraint", "error", "ALTER TABLE orders ADD CONSTRAINT c NOT NULL a"),
        ("mariadb", "no-lock-timeout", "warning", "SET SESSION lock_wait_timeout = 86400"),
        ("mariadb", "lock-table", "warning", "LOCK TABLES orders WRITE"),
        ("mariadb", "table-rebuild", "warning", "ALTER TABLE orders MODIFY a int NOT NULL"),
        ("mariadb", "table-option", "warning", "OPTIMIZE TABLE orders"),
        ("mariadb", "table-option", "error", "ALTER TABLE orders ENGINE=Aria, ALGORITHM=INPLACE, LOCK=NONE"),
        ("mariadb", "table-option", "error", "ALTER TABLE orders ADD SYSTEM VERSIONING"),
        ("mariadb", "primary-key", "error", "ALTER TABLE orders DROP PRIMARY KEY"),
        ("mariadb", "drop-table", "error", "CREATE OR REPLACE TABLE orders (id int)"),
        ("sqlite", "no-lock-timeout", "warning", "PRAGMA busy_timeout = 0"),
        ("sqlite", "cannot-alter", "error", "ALTER TABLE orders ADD b INT UNIQUE"),
        ("sqlite", "concurrently-in-transaction", "error", "VACUUM"),
    ],
)
def test_a_statement_that_blocks_or_loses_is_found(dialect: str, rule: str, level: str, text: str) -> None:
    phase = EARLY if rule in ("drop-table", "truncate") else LATE
    facts = known(orders=[Column("a", "INT")])
    assert_unsafe(sql(text), rule, dialect=dialect, level=level, phase=phase, facts=facts)


@pytest.mark.parametrize(
    "text", ["SET lock_timeout = '5s'", "SET LOCAL lock_timeout TO 500", "SET statement_timeout = 0"]
)
def test_a_short_lock_timeout_is_left_alone(text: str) -> None:
    assert_safe(sql(text))


# -- what nobody uses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "made", ["CREATE TEMPORARY TABLE t (id int)", "CREATE TABLE t AS SELECT * FROM orders", "CREATE TABLE t (id int)"]
)
def test_a_table_that_the_step_makes_for_itself_is_nobodys(made: str, dialect: str) -> None:
    work = sql(
        made, "CREATE INDEX i ON t (id)", "UPDATE t SET id = 1", "ALTER TABLE t ADD c int NOT NULL", "DROP TABLE t"
    )
    assert [item for item in look(work, dialect) if item.rule != "unbatched-write"] == []


def test_a_copy_of_a_table_is_never_too_late() -> None:
    assert_safe(sql("CREATE TABLE backup AS SELECT * FROM orders"), phase=LATE)
    assert_safe(sql("CREATE TEMP TABLE t (id int)"), phase=LATE)
    assert_unsafe(sql("CREATE TABLE t (id int)"), "too-late", phase=LATE, level="warning")


def test_an_index_of_a_new_materialized_view_blocks_nobody() -> None:
    view = "CREATE MATERIALIZED VIEW totals AS SELECT 1 AS id"
    assert_safe(sql(view, "CREATE UNIQUE INDEX i ON totals (id)", "REFRESH MATERIALIZED VIEW totals"))
    assert_unsafe(sql("CREATE UNIQUE INDEX i ON totals (id)"), "create-index")


def test_tables_of_one_name_in_two_schemas_are_two() -> None:
    def work() -> None:
        op.create_table("orders", A("id", sa.BigInteger(), primary_key=True), schema="archive")
        op.create_index("ix", "orders", ["email"])

    assert_unsafe(work, "create-index", "orders")

    def same() -> None:
        op.create_table("orders", A("id", sa.BigInteger(), primary_key=True), schema="public")
        op.create_index("ix", "orders", ["id"])

    assert_safe(same)


def test_a_small_table_of_another_schema_is_no_excuse() -> None:
    facts = Facts(rows={"archive.orders": 5})
    assert_unsafe(sql("CREATE INDEX i ON orders (a)"), "create-index", facts=facts, small_rows=10)
    assert_safe(sql("CREATE INDEX i ON archive.orders (a)"), facts=facts, small_rows=10)


def test_a_view_is_dropped_when_the_old_code_is_gone() -> None:
    drop = sql("DROP VIEW totals")
    assert_unsafe(drop, "drop-table", "totals", level="warning")
    assert_safe(drop, phase=LATE)
    assert_safe(sql("DROP VIEW totals", "CREATE VIEW totals AS SELECT 1"))


# -- code to paste keeps what was written ----------------------------------------------------------------


def test_the_code_for_an_index_keeps_its_expressions_and_options() -> None:
    def work() -> None:
        op.create_index(
            "ix", "orders", [sa.text("lower(email)"), "b"], postgresql_where=sa.text("gone IS NULL"),
            postgresql_using="gin", postgresql_include=["x"], schema="shop",
        )  # fmt: skip

    expected = (
        'op.create_index("ix", "orders", [sa.text("lower(email)"), "b"], postgresql_using=\'gin\', '
        "postgresql_include=['x'], postgresql_where=sa.text(\"gone IS NULL\"), postgresql_concurrently=True, "
        'schema="shop")'
    )
    found = assert_unsafe(work, "create-index")
    assert str(found.rewrite).splitlines()[1].strip() == expected
    text = "CREATE INDEX ix ON shop.orders USING gin (lower(email), b) INCLUDE (x) WHERE gone IS NULL"
    found = assert_unsafe(sql(text), "create-index")
    assert str(found.rewrite).splitlines()[1].strip() == expected


@pytest.mark.parametrize(
    "work",
    [
        lambda: op.create_foreign_key(
            "f", "orders", "customer", ["customer_id"], ["id"], ondelete="CASCADE", deferrable=True
        ),
        sql("ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (customer_id) REFERENCES customer (id) ON DELETE CASCADE "
            "DEFERRABLE"),
    ],
)  # fmt: skip
def test_the_code_for_a_foreign_key_keeps_what_it_does(work: Callable[[], None]) -> None:
    found = assert_unsafe(work, "foreign-key", phase=LATE)
    assert "ondelete='CASCADE', deferrable=True, postgresql_not_valid=True" in str(found.rewrite)


def test_a_constraint_without_a_name_leaves_no_hole_in_the_message() -> None:
    def work() -> None:
        op.add_column("orders", A("customer_id", sa.BigInteger(), sa.ForeignKey("customer.id")))

    found = [item.message for item in look(work) if item.rule == "foreign-key"]
    assert [message.startswith("ADD FOREIGN KEY reads all of orders ") for message in found] == [True]


def test_the_statement_of_a_construct_is_shown_where_its_values_cannot_be() -> None:
    orders = sa.table("orders", sa.column("n"))
    found = look(lambda: op.execute(orders.update().values(n=object())))
    assert [item.statement for item in found] == ["UPDATE orders SET n=:n"]


# -- transactions -----------------------------------------------------------------------------------------


def test_a_table_stays_locked_while_another_is_gone_through() -> None:
    both = sql("ALTER TABLE orders ADD n int", "UPDATE customer SET n = 1")
    found = assert_unsafe(both, "scan-under-lock", "ACCESS EXCLUSIVE on orders", level="warning")
    assert "customer" in found.message
    assert_safe(sql("ALTER TABLE orders ADD n int", "UPDATE customer SET n = 1 WHERE id = 1"), "scan-under-lock")


def test_rows_copied_out_of_a_locked_table_keep_it_locked() -> None:
    work = sql("ALTER TABLE orders ADD n int", "INSERT INTO archive SELECT * FROM orders")
    assert_unsafe(work, "scan-under-lock", "INSERT of archive", "ACCESS EXCLUSIVE on orders")
    assert_safe(sql("INSERT INTO archive SELECT * FROM orders"))


def test_the_parent_of_a_new_foreign_key_is_locked_too() -> None:
    key = "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (c) REFERENCES customer (id) NOT VALID"
    work = sql(key, "UPDATE customer SET n = 1")
    assert_unsafe(work, "scan-under-lock", "SHARE ROW EXCLUSIVE on customer", phase=LATE)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE orders ALTER m SET DEFAULT 'calm'",
        "ALTER TABLE orders ADD n mood DEFAULT 'calm'",
        "ALTER TABLE orders ADD CHECK (m <> 'calm') NOT VALID",
        "INSERT INTO orders (m) VALUES ('calm')",
    ],
)
def test_a_new_enum_value_is_used_only_when_it_is_committed(text: str) -> None:
    add = "ALTER TYPE mood ADD VALUE 'calm'"
    assert_unsafe(sql(add, text), "enum-value", "calm")

    def apart() -> None:
        with op.get_context().autocommit_block():
            op.execute(add)
        op.execute(text)

    assert_safe(apart, "enum-value")


def test_a_new_table_locks_those_that_its_foreign_keys_refer_to() -> None:
    made = "CREATE TABLE lines (id bigint PRIMARY KEY, order_id bigint REFERENCES orders (id))"
    found = assert_unsafe(
        sql(made, "INSERT INTO lines SELECT id, id FROM orders"), "scan-under-lock", "SHARE ROW EXCLUSIVE on orders"
    )
    assert found.statement == "INSERT INTO lines SELECT id, id FROM orders"
    assert_safe(sql(made, "INSERT INTO lines VALUES (1, 1)"))


def test_what_was_locked_before_a_program_ran_is_free_behind_it() -> None:
    def work() -> None:
        op.add_column("orders", A("n", sa.Integer()))
        with assured("opaque", reason="a test"):
            op.execute_script("scripts/fill.py")
        op.execute("UPDATE orders SET n = 1")

    assert "scan-under-lock" not in {item.rule for item in look(work)}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_two_tables_may_change_places(dialect: str) -> None:
    swap = sql("ALTER TABLE orders RENAME TO old_orders", "ALTER TABLE new_orders RENAME TO orders")
    assert_safe(swap, dialect=dialect)
    assert_unsafe(sql("ALTER TABLE orders RENAME TO old_orders"), "rename-table", dialect=dialect)


def test_two_columns_may_change_places() -> None:
    swap = ("ALTER TABLE orders ADD new_n bigint", "ALTER TABLE orders RENAME COLUMN n TO old_n",
            "ALTER TABLE orders RENAME COLUMN new_n TO n")  # fmt: skip
    assert_safe(sql(*swap))
    assert_unsafe(sql(*swap[:2]), "rename-column", "orders.n")


def test_a_default_may_come_behind_not_null() -> None:
    required = ("ALTER TABLE orders ADD n int", "ALTER TABLE orders ALTER n SET NOT NULL")
    assert_safe(sql(*required, "ALTER TABLE orders ALTER n SET DEFAULT 5"), "set-not-null", dialect="sqlite")
    assert_unsafe(sql(*required), "set-not-null", "orders.n", dialect="sqlite")


def test_sqlite_does_not_drop_a_column_that_an_index_has() -> None:
    drop = sql("ALTER TABLE orders DROP COLUMN a")
    indexed = Facts(indexes={("orders", "ix"): ("a",)})
    options: dict[str, Any] = {"dialect": "sqlite", "phase": LATE}
    assert_unsafe(drop, "cannot-alter", "orders.a", "ix", facts=indexed, **options)
    assert_unsafe(drop, "cannot-alter", "3.35", version=(3, 34, 1), **options)
    assert_safe(drop, **options)
    assert_safe(sql("DROP INDEX ix", "ALTER TABLE orders DROP COLUMN a"), facts=indexed, **options)


def test_sqlite_itself_refuses_to_drop_a_column_that_an_index_has() -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, a INT)")
        connection.exec_driver_sql("CREATE INDEX ix ON orders (a)")
        with pytest.raises(sa.exc.OperationalError, match="error in index ix after drop column"):
            connection.exec_driver_sql("ALTER TABLE orders DROP COLUMN a")


# -- what is sent to the bind -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_sent_to_the_bind_is_looked_at_to_the_end(dialect: str) -> None:
    def work() -> None:
        bind = op.get_bind()
        bind.execute(sa.text("UPDATE orders SET n = 1 WHERE id = 1"))
        bind.exec_driver_sql("DROP TABLE gone")
        op.get_context().connection.execute(sa.text("DROP TABLE past"))

    assert [(item.rule, item.statement) for item in look(work, dialect)] == [
        ("drop-table", "DROP TABLE gone"),
        ("drop-table", "DROP TABLE past"),
    ]


def test_a_body_that_looks_at_what_a_statement_gave_is_opaque_from_there() -> None:
    def work() -> None:
        for row in op.get_bind().execute(sa.text("SELECT id FROM orders")):
            del row
        op.drop_table("never")

    assert [item.rule for item in look(work)] == ["opaque"]


def test_types_and_tables_made_through_the_bind_are_known() -> None:
    kind = sa.Enum("a", "b", name="mood")
    metadata = sa.MetaData()
    sa.Table("made", metadata, A("id", sa.BigInteger(), primary_key=True))

    def work() -> None:
        kind.create(op.get_bind(), checkfirst=True)
        metadata.create_all(op.get_bind())
        op.create_index("ix", "made", ["id"])
        op.add_column("orders", A("mood", kind))

    assert_safe(work)


def test_a_statement_sent_to_the_bind_before_a_yield_is_refused_later() -> None:
    def upgrade() -> Any:
        op.get_bind().execute(sa.text("UPDATE orders SET n = 1 WHERE id = 1"))
        yield
        yield

    bodies = read_bodies(phased(upgrade), "upgrade", Phases())
    from flask_phased_migrate.graph import Revision

    found = report([Revision("1", upgrade=bodies)]).findings
    assert [(item.rule, item.level) for item in found] == [("read-before-yield", "error")]


# -- types and defaults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "cost"),
    [
        ("ENUM('a','b')", "ENUM('a', 'b', 'C')", "none"),
        ("INT(10) UNSIGNED", "INTEGER UNSIGNED", "none"),
        ("INT UNSIGNED", "INTEGER", "rewrite"),
        ("TINYINT(1)", "BOOL", "none"),
        ("LONGTEXT", "JSON", "none"),
        ("FLOAT", "DOUBLE", "rewrite"),
        ("VARCHAR(20)", "VARCHAR(20) COLLATE utf8mb4_bin", "unknown"),
    ],
)
def test_mariadb_has_several_names_for_a_type(old: str, new: str, cost: str) -> None:
    assert cost_on_mysql(old, new, is_mariadb=True) == cost


LONGER = "ALTER TABLE orders ALTER email TYPE varchar(200)"
EMAIL = [Column("email", "VARCHAR(120)")]


@pytest.mark.parametrize(
    ("driver", "level"), [("psycopg", "warning"), ("asyncpg", "warning"), ("", "info"), ("psycopg2", None)]
)
def test_a_change_of_type_breaks_statements_that_are_kept(driver: str, level: str | None) -> None:
    found = look(sql(LONGER), facts=known(orders=EMAIL), driver=driver)
    assert [item.level for item in found if item.rule == "cached-plan"] == ([level] if level else [])


def test_two_columns_of_other_types_that_change_places_break_kept_statements() -> None:
    swap = ("ALTER TABLE orders RENAME COLUMN n TO old_n", "ALTER TABLE orders RENAME COLUMN new_n TO n")
    both = {name: Column(name, type_) for name, type_ in (("n", "INTEGER"), ("new_n", "BIGINT"))}
    options: dict[str, Any] = {"driver": "psycopg", "facts": known(orders=list(both.values()))}
    assert_unsafe(sql(*swap), "cached-plan", "orders.n", level="warning", **options)
    options["facts"] = known(orders=[both["n"], Column("new_n", "INT")])
    assert_safe(sql(*swap), **options)


def test_a_column_that_is_new_is_in_no_kept_statement() -> None:
    work = sql("ALTER TABLE orders ADD n varchar(20)", "ALTER TABLE orders ALTER n TYPE varchar(50)")
    assert [item.rule for item in look(work, driver="psycopg")] == []


def test_a_default_that_new_code_waits_for_is_set_before_the_deploy() -> None:
    work = sql("ALTER TABLE orders ALTER email SET DEFAULT 'x'")
    facts = known(orders=[Column("email", "TEXT", nullable=False)])
    assert_unsafe(work, "change-default", "orders.email", phase=LATE, facts=facts, level="warning")
    assert_safe(work, facts=facts)
    assert_safe(work, phase=LATE, facts=known(orders=[Column("email", "TEXT")]))


def test_the_default_that_a_column_had_may_be_said_by_the_operation() -> None:
    def work() -> None:
        op.alter_column("orders", "n", existing_server_default="1", server_default="2")

    assert_unsafe(work, "change-default", "orders.n", level="info")
    assert look(lambda: op.alter_column("orders", "n", server_default="2")) == ()


def test_a_value_of_an_enum_of_mysql_comes_before_the_deploy() -> None:
    work = sql("ALTER TABLE orders MODIFY kind enum('a', 'b')")
    facts = known(orders=[Column("kind", "ENUM('a')")])
    assert_unsafe(work, "too-late", "'b'", dialect="mariadb", phase=LATE, facts=facts, level="warning")
    assert_safe(work, dialect="mariadb", facts=facts)


# -- indexes and keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["postgresql", "mariadb"])
def test_an_index_is_dropped_when_another_is_in_its_place(dialect: str) -> None:
    facts = Facts(indexes={("orders", "old"): ("a",)})
    concurrently = {"postgresql_concurrently": True}

    def first() -> None:
        with op.get_context().autocommit_block():
            op.drop_index("old", "orders", **concurrently)
            op.create_index("new", "orders", ["a", "b"], **concurrently)

    def last() -> None:
        with op.get_context().autocommit_block():
            op.create_index("new", "orders", ["a", "b"], **concurrently)
            op.drop_index("old", "orders", **concurrently)

    found = assert_unsafe(first, "drop-index-first", "old", "new", level="warning", dialect=dialect, facts=facts)
    rows = [line.strip() for line in str(found.rewrite).splitlines() if "op.create" in line or "op.drop" in line]
    assert [row.split("(")[0] for row in rows] == ["op.create_index", "op.drop_index"]
    assert look(last, dialect, facts=facts) == ()


def test_indexes_of_one_name_on_two_tables_of_mysql_are_two() -> None:
    facts = Facts(indexes={("a", "ix"): ("x",), ("b", "ix"): ("y",)})
    work = sql("DROP INDEX ix ON b", "CREATE INDEX iy ON b (x)")
    assert "drop-index-first" not in {item.rule for item in look(work, "mariadb", LATE, facts=facts)}


def test_a_primary_key_of_an_index_finds_its_columns_not_null() -> None:
    with_key = sql("ALTER TABLE orders ADD PRIMARY KEY USING INDEX uq")
    loose = Facts({("orders", "a"): Column("a", "INT")}, indexes={("orders", "uq"): ("a",)})
    strict = Facts({("orders", "a"): Column("a", "INT", nullable=False)}, indexes={("orders", "uq"): ("a",)})
    assert_unsafe(with_key, "primary-key", "orders", "a", phase=LATE, facts=loose)
    assert_safe(with_key, phase=LATE, facts=strict)
    found = assert_unsafe(sql("ALTER TABLE orders ADD PRIMARY KEY (a)"), "primary-key", phase=LATE, facts=loose)
    assert str(found.rewrite).index("NOT NULL") < str(found.rewrite).index("USING INDEX")


@pytest.mark.parametrize("recreate", ["always", "auto"])
def test_a_batch_that_copies_can_add_any_column(recreate: Literal["always", "auto"]) -> None:
    def copied() -> None:
        with assured("table-copy", reason="few rows"), op.batch_alter_table("orders", recreate=recreate) as batch:
            batch.add_column(A("seen", sa.DateTime(), server_default=sa.func.now()))

    def in_place() -> None:
        with op.batch_alter_table("orders", recreate="never") as batch:
            batch.add_column(A("seen", sa.DateTime(), server_default=sa.func.now()))

    assert_safe(copied, dialect="sqlite")
    assert_unsafe(in_place, "cannot-add", "orders.seen", dialect="sqlite")


# -- downgrades -----------------------------------------------------------------------------------------


def undone(work: Callable[[], Any], phase: str = EARLY, *, up: Callable[[], Any] | None = None, **options: Any) -> Any:
    """Return (level, rule) of what is found in a downgrade."""
    from dataclasses import replace

    from linting import bodies

    one = replace(revision("1", {phase: up or (lambda: None)}), downgrade=bodies({phase: work}))
    return [(item.level, item.rule) for item in report([one], **options).findings if item.direction == "downgrade"]


def test_a_downgrade_that_blocks_or_fails_is_found() -> None:
    assert undone(sql("CREATE INDEX i ON orders (a)")) == [("error", "create-index")]
    assert undone(sql("DROP INDEX CONCURRENTLY i")) == [("error", "concurrently-in-transaction")]
    alter = lambda: op.alter_column("orders", "a", existing_type=sa.Integer(), nullable=True)  # noqa: E731
    assert undone(alter, dialect="sqlite") == [("error", "cannot-alter")]


def test_a_downgrade_that_takes_a_moment_is_left_alone() -> None:
    assert undone(sql("DROP INDEX i")) == []
    assert undone(sql("ALTER TABLE orders DROP COLUMN a")) == []
    assert undone(sql("DROP TABLE orders")) == []
    assert undone(sql("ALTER TABLE orders ADD COLUMN a text")) == []


def test_the_new_code_serves_while_what_came_after_the_deploy_is_undone() -> None:
    column = sql("ALTER TABLE orders ADD COLUMN a text NOT NULL")
    assert undone(column, LATE) == [("error", "not-null-without-default")]
    assert undone(column, EARLY) == []
    assert undone(sql("ALTER TABLE orders ADD COLUMN a text NOT NULL DEFAULT ''"), LATE) == []
    models = {"orders": frozenset({"a"})}
    assert undone(sql("ALTER TABLE orders DROP COLUMN a"), LATE, models=models) == [("error", "drop-column")]
    assert undone(sql("ALTER TABLE orders DROP COLUMN a"), EARLY, models=models) == []
    assert undone(sql("ALTER TABLE orders DROP COLUMN b"), LATE, models=models) == []


def test_what_has_no_other_way_back_is_left_alone() -> None:
    assert undone(sql("ALTER TABLE orders ALTER a TYPE varchar(10)")) == []
    assert undone(sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (a > 0)"), dialect="mariadb") == []
    assert undone(sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (a > 0)")) == [("error", "check-constraint")]


def test_nobody_uses_what_is_undone_with_the_old_code_back() -> None:
    made = sql("CREATE TABLE made (id bigint PRIMARY KEY)")
    assert undone(sql("CREATE INDEX i ON made (id)"), up=made) == []


def test_an_undo_is_assured_like_any_operation() -> None:
    def work() -> None:
        with assured("create-index", reason="few rows"):
            op.execute("CREATE INDEX i ON orders (a)")

    assert undone(work) == []


def test_adding_to_a_table_is_known_by_its_columns() -> None:
    added = changes('ALTER TABLE "Shop"."Orders" ADD COLUMN IF NOT EXISTS "N" int NOT NULL DEFAULT 0')
    assert [(str(item.table), item.column.name) for item in added if isinstance(item, AddColumn)] == [
        ("Shop.Orders", "N")
    ]


# -- style ------------------------------------------------------------------------------------------------


def styled(work: Callable[[], Any], dialect: str = "postgresql", **options: Any) -> set[str]:
    """Return the rules of style that find something, all of them asked for."""
    found = look(work, dialect, style=frozenset(STYLE), **options)
    return {item.rule for item in found} & set(STYLE)


@pytest.mark.parametrize(
    ("rule", "unsafe", "safe"),
    [
        ("wide-index", "CREATE INDEX i ON orders (a, b, c, d)", "CREATE INDEX i ON orders (a, b, c)"),
        ("wide-index", "CREATE INDEX i ON orders (a, b, c, d)", "CREATE UNIQUE INDEX i ON orders (a, b, c, d)"),
        ("varchar-length", "ALTER TABLE orders ADD a varchar(20)", "ALTER TABLE orders ADD a text"),
        ("char-type", "ALTER TABLE orders ADD a char(20)", "ALTER TABLE orders ADD a text"),
        ("timestamp-without-time-zone", "ALTER TABLE orders ADD a timestamp", "ALTER TABLE orders ADD a timestamptz"),
        ("serial-type", "CREATE TABLE t (id bigserial PRIMARY KEY)",
         "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)"),
        ("enum-order", "ALTER TYPE mood ADD VALUE 'a'", "ALTER TYPE mood ADD VALUE 'a' AFTER 'b'"),
    ],
)  # fmt: skip
def test_style_is_looked_at_where_it_is_asked_for(rule: str, unsafe: str, safe: str) -> None:
    assert rule in styled(sql(unsafe))
    assert rule not in styled(sql(safe))
    assert not {item.rule for item in look(sql(unsafe))} & set(STYLE)


def test_a_key_of_sqlalchemy_is_serial_unless_it_is_an_identity() -> None:
    serial = lambda: op.create_table("t", A("id", sa.BigInteger(), primary_key=True))  # noqa: E731
    identity = lambda: op.create_table("t", A("id", sa.BigInteger(), sa.Identity(), primary_key=True))  # noqa: E731
    assert "serial-type" in styled(serial)
    assert "serial-type" not in styled(identity)
    assert styled(serial, "sqlite") == set()


def test_a_step_in_several_transactions_can_be_repeated() -> None:
    def step(*texts: str, **options: Any) -> Callable[[], None]:
        def work() -> None:
            op.add_column("orders", A("a", sa.Text()), **options)
            with op.get_context().autocommit_block():
                for text in texts:
                    op.execute(text)

        return work

    index = "CREATE INDEX CONCURRENTLY i ON orders (a)"
    assert styled(step(index)) == {"not-repeatable"}
    assert styled(step(index, if_not_exists=True)) == set()
    assert styled(sql("ALTER TABLE orders ADD a text", "DROP INDEX i")) == set()
    both = ("CREATE TABLE t (id int)", "CREATE TABLE u (id int)")
    assert styled(sql(*both), "mariadb") == {"not-repeatable"}
    assert styled(sql(*(text.replace("TABLE", "TABLE IF NOT EXISTS") for text in both)), "mariadb") == set()


# -- the catalogue ----------------------------------------------------------------------------------------

# Row of research/zero-downtime.md 2.3 -> the rules that it has become, or why it has none.
CATALOGUE: dict[int, tuple[str, ...] | str] = {
    101: ("volatile-default", "table-rebuild"),
    102: ("not-null-without-default",),
    103: ("volatile-default", "cannot-add"),
    104: ("self-numbering-column",),
    105: ("stored-column", "cannot-add"),
    106: ("drop-not-null", "table-rebuild", "cannot-alter"),
    107: ("set-not-null", "table-rebuild", "cannot-alter"),
    108: ("change-default", "cannot-alter"),
    109: ("change-type", "cached-plan", "cannot-alter"),
    110: ("rename-column",),
    111: ("rename-table",),
    112: ("drop-column", "table-rebuild"),
    113: ("drop-table",),
    114: ("create-index",),
    115: ("drop-index", "drop-index-first"),
    116: ("unique-constraint", "too-early", "cannot-alter"),
    117: ("primary-key", "too-early", "cannot-alter"),
    118: ("foreign-key", "too-early", "cannot-alter"),
    119: ("several-foreign-keys",),
    120: ("drop-foreign-key", "cannot-alter"),
    121: ("check-constraint", "too-early", "cannot-alter"),
    122: ("exclude-constraint",),
    123: ("scan-under-lock", "lock-table"),
    124: ("unbatched-write", "scan-under-lock"),
    125: ("enum-value", "too-late", "enum-order"),
    126: ("rename-enum-value", "change-type"),
    127: ("json-column",),
    128: ("opaque", "assurance"),
    129: ("concurrently-in-transaction",),
    130: ("not-repeatable", "invalid-index-kept"),
    131: ("table-copy",),
    132: ("no-lock-timeout",),
    133: ("small-key", "foreign-key-type"),
    134: ("foreign-key-without-index",),
    135: (
        "wide-index", "long-name", "varchar-length", "char-type", "timestamp-without-time-zone", "serial-type",
    ),
    136: ("truncate", "drop-schema", "table-option", "maintenance", "refresh-view"),
    137: ("attach-partition", "detach-partition", "table-option"),
    138: ("constrain-domain",),
    139: ("drop-and-add",),
    140: "an exemption of rules, not a rule: tables of the same plan, and small ones by the database's statistics",
    141: ("missing-undo",),
    142: ("corrupting-index-build",),
    143: ("too-early", "too-late", "drop-column", "drop-table", "read-before-yield", "wrong-revision"),
}  # fmt: skip


def test_every_row_of_the_catalogue_is_a_rule_or_says_why_not() -> None:
    assert list(CATALOGUE) == list(range(101, 144))
    named = {rule for rules in CATALOGUE.values() if isinstance(rules, tuple) for rule in rules}
    assert named == set(RULES)
