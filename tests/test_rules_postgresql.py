"""The rules of PostgreSQL: for each what is unsafe, and beside it what does the same safely."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op
from linting import EARLY, LATE, assert_safe, assert_unsafe, known, look, report, revision
from sqlalchemy.dialects import postgresql

from flask_phased_migrate.operations import escape_colons

A = sa.Column


def autocommit() -> Any:
    return op.get_context().autocommit_block()


def add(column: sa.Column[Any], table: str = "orders") -> Callable[[], None]:
    return lambda: op.add_column(table, column)


def sql(*texts: str) -> Callable[[], None]:
    def work() -> None:
        for text in texts:
            op.execute(text)

    return work


def by_itself(*texts: str) -> Callable[[], None]:
    def work() -> None:
        with autocommit():
            for text in texts:
                op.execute(text)

    return work


# -- columns ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "work",
    [
        lambda: op.add_column("orders", A("token", sa.Uuid(), server_default=sa.text("gen_random_uuid()"))),
        lambda: op.add_column("orders", A("seen", sa.DateTime(), server_default=sa.text("clock_timestamp()"))),
        sql("ALTER TABLE orders ADD COLUMN token uuid DEFAULT gen_random_uuid()"),
        sql("ALTER TABLE orders ADD token double precision DEFAULT random() * 10"),
    ],
)
def test_a_default_worked_out_for_each_row_writes_the_table_anew(work: Callable[[], None]) -> None:
    assert_unsafe(work, "volatile-default", "orders.", "ACCESS EXCLUSIVE")


@pytest.mark.parametrize(
    "work",
    [
        lambda: op.add_column("orders", A("note", sa.String(20), server_default="none")),
        lambda: op.add_column("orders", A("seen", sa.DateTime(), server_default=sa.func.now())),
        lambda: op.add_column("orders", A("n", sa.Integer(), server_default=sa.text("0"), nullable=False)),
        sql("ALTER TABLE orders ADD COLUMN seen timestamptz DEFAULT now()"),
        sql("ALTER TABLE orders ADD COLUMN note text DEFAULT 'a' || 'b'"),
        sql("ALTER TABLE orders ADD COLUMN IF NOT EXISTS note text"),
    ],
)
def test_a_constant_default_is_free(work: Callable[[], None]) -> None:
    assert_safe(work)


def test_below_version_11_every_default_writes_the_table_anew() -> None:
    work = add(A("n", sa.Integer(), server_default="0"))
    assert_unsafe(work, "volatile-default", "below PostgreSQL 11", version=(10, 20))


def test_a_function_that_is_not_known_may_be_worked_out_for_each_row() -> None:
    work = add(A("n", sa.Integer(), server_default=sa.text("next_order()")))
    assert_unsafe(work, "volatile-default", "may be", level="warning")


@pytest.mark.parametrize(
    "work",
    [
        sql("ALTER TABLE orders ADD COLUMN n bigserial"),
        sql("ALTER TABLE orders ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY"),
        lambda: op.add_column("orders", A("n", sa.BigInteger(), sa.Identity())),
    ],
)
def test_a_column_that_numbers_rows_writes_the_table_anew(work: Callable[[], None]) -> None:
    assert_unsafe(work, "self-numbering-column", "orders.n")


def test_a_stored_column_writes_the_table_anew_and_a_virtual_one_does_not() -> None:
    assert_unsafe(add(A("n", sa.Integer(), sa.Computed("a * 2"))), "stored-column", "orders.n")
    virtual = sql("ALTER TABLE orders ADD COLUMN n int GENERATED ALWAYS AS (a * 2) VIRTUAL")
    assert_safe(virtual, version=(18, 0))


def test_json_cannot_be_compared_and_jsonb_can() -> None:
    assert_unsafe(add(A("data", sa.JSON())), "json-column", "orders.data", level="warning")
    assert_safe(add(A("data", postgresql.JSONB())))


def test_set_not_null_reads_the_table_unless_a_check_proves_it() -> None:
    def proved() -> None:
        op.create_check_constraint("c", "orders", "email IS NOT NULL", postgresql_not_valid=True)
        with autocommit():
            op.execute("ALTER TABLE orders VALIDATE CONSTRAINT c")
        op.alter_column("orders", "email", existing_type=sa.String(9), nullable=False)
        op.drop_constraint("c", "orders", type_="check")

    plain = lambda: op.alter_column("orders", "email", existing_type=sa.String(9), nullable=False)  # noqa: E731
    assert_unsafe(plain, "set-not-null", "orders.email", "reads the whole table", phase=LATE)
    assert_unsafe(sql("ALTER TABLE orders ALTER email SET NOT NULL"), "set-not-null", phase=LATE)
    assert_safe(proved, phase=LATE)
    assert_unsafe(proved, "set-not-null", phase=LATE, version=(11, 22))


@pytest.mark.parametrize("table", ["orders", "a:b", "a :b", "Order by%", "a.b"])
@pytest.mark.parametrize(
    "name", ["Order by%", "x:y", "x :y", "p.q", "r)s", "(r", "Group", "on", "is not null", "%(x)s"]
)
@pytest.mark.parametrize("by_sql", [False, True])
def test_a_check_proves_it_of_any_name(table: str, name: str, by_sql: bool) -> None:
    def proved() -> None:
        check = f'"{name}" IS NOT NULL'
        if by_sql:
            op.execute(escape_colons(f'ALTER TABLE "{table}" ADD CONSTRAINT c CHECK ({check}) NOT VALID'))
        else:
            op.create_check_constraint("c", table, escape_colons(check), postgresql_not_valid=True)
        with autocommit():
            op.execute(escape_colons(f'ALTER TABLE "{table}" VALIDATE CONSTRAINT c'))
        op.execute(escape_colons(f'ALTER TABLE "{table}" ALTER COLUMN "{name}" SET NOT NULL'))

    assert_safe(proved, phase=LATE)
    other = lambda: op.alter_column(table, "other", nullable=False)  # noqa: E731
    assert_unsafe(lambda: (proved(), other()), "set-not-null", "other", phase=LATE)


@pytest.mark.parametrize(
    "text",
    ["email IS NULL", "email IS NOT NULL OR n > 0", "NOT (email IS NOT NULL)", "lower(email) IS NOT NULL",
     "(email IS NOT NULL) IS NOT NULL"],
)  # fmt: skip
def test_a_check_that_says_something_else_proves_nothing(text: str) -> None:
    def checked() -> None:
        op.create_check_constraint("c", "orders", text, postgresql_not_valid=True)
        with autocommit():
            op.execute("ALTER TABLE orders VALIDATE CONSTRAINT c")
        op.execute("ALTER TABLE orders ALTER COLUMN email SET NOT NULL")

    assert_unsafe(checked, "set-not-null", "orders.email", phase=LATE)


def test_a_check_of_an_earlier_revision_or_of_the_database_proves_it_too() -> None:
    from dataclasses import replace

    def check() -> None:
        op.create_check_constraint("c", "orders", '"email" IS NOT NULL', postgresql_not_valid=True)

    first = revision("1", {LATE: check, "final": by_itself("ALTER TABLE orders VALIDATE CONSTRAINT c")})
    second = revision("2", {LATE: sql("ALTER TABLE orders ALTER COLUMN email SET NOT NULL")}, "1")
    assert report([first, second]).findings == ()
    facts = replace(known(), never_null=frozenset({("orders", "email")}))
    assert report([replace(second, down=())], facts=facts).findings == ()


TYPES = [
    (sa.String(20), sa.String(50), None),
    (sa.String(20), sa.Text(), None),
    (sa.Text(), sa.String(), None),
    (sa.Numeric(8, 2), sa.Numeric(10, 2), None),
    (sa.Integer(), sa.Integer(), None),
    (postgresql.CIDR(), postgresql.INET(), None),
    (sa.DateTime(), sa.DateTime(timezone=True), "warning"),
    (None, sa.BigInteger(), "warning"),
    (sa.String(20), sa.String(10), "error"),
    (sa.Text(), sa.String(10), "error"),
    (sa.Integer(), sa.BigInteger(), "error"),
    (sa.Numeric(8, 2), sa.Numeric(10, 3), "error"),
    (sa.Text(), postgresql.JSONB(), "error"),
]


@pytest.mark.parametrize(("old", "new", "level"), TYPES)
def test_a_type_that_shares_its_bytes_is_free(old: Any, new: Any, level: str | None) -> None:
    work = lambda: op.alter_column("orders", "n", existing_type=old, type_=new)  # noqa: E731
    found = [item for item in look(work) if item.rule == "change-type"]
    assert [item.level for item in found] == ([] if level is None else [level])


def test_raw_sql_changes_the_type_that_the_database_has() -> None:
    from flask_phased_migrate.rules.changes import Column

    work = sql("ALTER TABLE orders ALTER COLUMN email TYPE varchar(200)")
    assert_safe(work, facts=known(orders=[Column("email", "CHARACTER VARYING(120)")]))
    assert_unsafe(work, "change-type", facts=known(orders=[Column("email", "CHARACTER VARYING(255)")]))


# -- indexes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "work",
    [
        lambda: op.create_index("ix", "orders", ["email"]),
        lambda: op.create_index("ix", "orders", [sa.text("lower(email)")]),
        lambda: op.add_column("orders", A("n", sa.Integer(), index=True)),
        sql("CREATE INDEX ix ON orders (email)"),
        sql("CREATE INDEX IF NOT EXISTS ix ON ONLY public.orders USING gin (email)"),
    ],
)
def test_an_index_is_built_while_nobody_can_write(work: Callable[[], None]) -> None:
    assert_unsafe(work, "create-index", "orders", "SHARE")


def test_an_index_built_concurrently_by_itself_is_safe() -> None:
    def work() -> None:
        with autocommit():
            op.create_index("ix", "orders", ["email"], postgresql_concurrently=True)

    assert_safe(work)
    assert_safe(by_itself("CREATE INDEX CONCURRENTLY ix ON orders (email) WHERE paid"))


@pytest.mark.parametrize(
    "work",
    [
        lambda: op.create_index("ix", "orders", ["email"], postgresql_concurrently=True),
        lambda: op.drop_index("ix", "orders", postgresql_concurrently=True),
        sql("CREATE INDEX CONCURRENTLY ix ON orders (email)"),
        sql("DROP INDEX CONCURRENTLY ix"),
        sql("REINDEX TABLE CONCURRENTLY orders"),
        sql("ALTER TABLE orders DETACH PARTITION old CONCURRENTLY"),
    ],
)
def test_concurrently_fails_inside_the_transaction_of_a_step(work: Callable[[], None]) -> None:
    assert_unsafe(work, "concurrently-in-transaction", "autocommit")


def test_if_not_exists_keeps_an_invalid_index() -> None:
    work = by_itself("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON orders (email)")
    assert_unsafe(work, "invalid-index-kept", "INVALID", level="warning")
    assert_safe(by_itself("DROP INDEX CONCURRENTLY IF EXISTS ix", "CREATE INDEX CONCURRENTLY ix ON orders (email)"))


def test_some_versions_build_corrupt_indexes() -> None:
    work = by_itself("CREATE INDEX CONCURRENTLY ix ON orders (email)")
    assert_unsafe(work, "corrupting-index-build", "14.4", version=(14, 2))
    assert_safe(work, version=(14, 4))
    assert_safe(work, version=(13, 9))


def test_an_index_is_dropped_concurrently() -> None:
    assert_unsafe(lambda: op.drop_index("ix", "orders"), "drop-index", "ix", level="warning")
    assert_unsafe(sql("DROP INDEX ix"), "drop-index", level="warning")
    assert_safe(by_itself("DROP INDEX CONCURRENTLY ix"))


# -- constraints --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "work"),
    [
        ("unique-constraint", lambda: op.create_unique_constraint("u", "orders", ["email"])),
        ("unique-constraint", sql("ALTER TABLE orders ADD CONSTRAINT u UNIQUE (email)")),
        ("unique-constraint", lambda: op.add_column("orders", A("n", sa.Integer(), unique=True))),
        ("primary-key", lambda: op.create_primary_key("p", "orders", ["id"])),
        ("primary-key", sql("ALTER TABLE orders ADD PRIMARY KEY (id)")),
    ],
)
def test_a_key_builds_its_index_under_the_strongest_lock(rule: str, work: Callable[[], None]) -> None:
    assert_unsafe(work, rule, "orders", "ACCESS EXCLUSIVE", phase=LATE)


def test_a_key_made_of_an_index_is_safe() -> None:
    def work() -> None:
        with autocommit():
            op.create_index("u", "orders", ["email"], unique=True, postgresql_concurrently=True)
        op.execute("ALTER TABLE orders ADD CONSTRAINT u UNIQUE USING INDEX u")

    assert_safe(work, phase=LATE)


@pytest.mark.parametrize(
    "work",
    [
        lambda: op.create_foreign_key("fk", "orders", "customer", ["customer_id"], ["id"]),
        sql("ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (customer_id) REFERENCES customer (id)"),
        sql("ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customer"),
        lambda: op.add_column("orders", A("customer_id", sa.Integer(), sa.ForeignKey("customer.id"))),
    ],
)
def test_a_foreign_key_is_checked_while_nobody_can_write_to_two_tables(work: Callable[[], None]) -> None:
    assert_unsafe(work, "foreign-key", "orders", "customer", "SHARE ROW EXCLUSIVE", phase=LATE)


def test_a_foreign_key_is_validated_by_itself() -> None:
    def work() -> None:
        op.create_foreign_key("fk", "orders", "customer", ["customer_id"], ["id"], postgresql_not_valid=True)
        with autocommit():
            op.execute("ALTER TABLE orders VALIDATE CONSTRAINT fk")

    assert_safe(work, phase=LATE)
    assert_safe(sql("ALTER TABLE orders ADD COLUMN customer_id int REFERENCES customer (id)"))


def test_a_check_is_validated_by_itself() -> None:
    plain = lambda: op.create_check_constraint("c", "orders", "n > 0")  # noqa: E731
    assert_unsafe(plain, "check-constraint", "orders", phase=LATE)
    assert_unsafe(sql("ALTER TABLE orders ADD CHECK (n > 0)"), "check-constraint", phase=LATE)
    assert_unsafe(sql("ALTER TABLE orders ADD COLUMN p int CHECK (p > 0)"), "check-constraint")
    assert_safe(sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (n > 0) NOT VALID"), phase=LATE)


def test_a_constraint_is_not_validated_under_the_lock_that_added_it() -> None:
    work = sql(
        "ALTER TABLE orders ADD CONSTRAINT c CHECK (n > 0) NOT VALID", "ALTER TABLE orders VALIDATE CONSTRAINT c"
    )
    assert_unsafe(work, "scan-under-lock", "orders", "ACCESS EXCLUSIVE", phase=LATE)
    assert_safe(sql("ALTER TABLE orders VALIDATE CONSTRAINT c"), phase=LATE)


def test_rows_are_not_changed_under_a_strong_lock() -> None:
    work = sql("ALTER TABLE orders ADD COLUMN n int", "UPDATE orders SET n = 1")
    assert_unsafe(work, "scan-under-lock", "orders")
    assert_unsafe(sql("UPDATE orders SET n = 1"), "unbatched-write", "orders", level="warning")
    assert_safe(sql("ALTER TABLE orders ADD COLUMN n int", "UPDATE orders SET n = 1 WHERE id = 7"))


def test_several_foreign_keys_have_a_transaction_each() -> None:
    first = "ALTER TABLE orders ADD CONSTRAINT a FOREIGN KEY (a) REFERENCES one (id) NOT VALID"
    second = "ALTER TABLE orders ADD CONSTRAINT b FOREIGN KEY (b) REFERENCES two (id) NOT VALID"
    assert_unsafe(sql(first, second), "several-foreign-keys", "one", "two", level="warning", phase=LATE)
    assert_safe(by_itself(first, second), phase=LATE)


def test_a_dropped_foreign_key_is_worth_a_word() -> None:
    work = lambda: op.drop_constraint("fk", "orders", type_="foreignkey")  # noqa: E731
    assert_unsafe(work, "drop-foreign-key", "orders", level="info", phase=LATE)


def test_a_table_that_is_dropped_locks_those_to_which_its_foreign_keys_refer() -> None:
    def making() -> None:
        op.create_table("sale", A("id", sa.BigInteger(), primary_key=True),
                        A("order_id", sa.BigInteger(), sa.ForeignKey("orders.id")),
                        A("shop_id", sa.BigInteger(), sa.ForeignKey("shop.id", name="fk_shop")),
                        A("before_id", sa.BigInteger(), sa.ForeignKey("sale.id")))  # fmt: skip

    def one_by_one() -> None:
        with autocommit():
            op.drop_constraint("sale_order_id_fkey", "sale", type_="foreignkey")
            op.execute("ALTER TABLE sale DROP CONSTRAINT fk_shop")
        op.drop_table("sale")

    def of(work: Callable[[], None]) -> list[Any]:
        found = report([revision("1", {EARLY: making}), revision("2", {LATE: work}, "1")]).findings
        return [item for item in found if item.revision == "2"]

    (found,) = of(lambda: op.drop_table("sale"))
    assert (found.rule, found.level) == ("drop-table", "warning")
    assert "on orders, shop too" in found.message
    assert str(found.rewrite).splitlines() == [
        "with op.get_context().autocommit_block():",
        '    op.drop_constraint("sale_order_id_fkey", "sale", type_="foreignkey")',
        '    op.drop_constraint("fk_shop", "sale", type_="foreignkey")',
        'op.drop_table("sale")',
    ]
    assert {item.rule for item in of(one_by_one)} == {"drop-foreign-key"}
    assert of(lambda: op.execute("DROP TABLE sale, orders, shop")) == []
    renamed = of(sql("ALTER TABLE shop RENAME TO store", "ALTER TABLE sale DROP COLUMN order_id", "DROP TABLE sale"))
    assert [(item.level, "on store too" in item.message) for item in renamed if item.rule == "drop-table"] == [
        ("info", True)
    ]


def test_an_exclusion_has_no_safe_way() -> None:
    work = sql("ALTER TABLE rooms ADD CONSTRAINT e EXCLUDE USING gist (room WITH =, during WITH &&)")
    assert_unsafe(work, "exclude-constraint", "rooms", phase=LATE)


# -- the rest -----------------------------------------------------------------------------------------


def test_an_enum_value_is_not_used_where_it_is_added() -> None:
    adds, uses = "ALTER TYPE mood ADD VALUE 'calm'", "UPDATE person SET mood = 'calm' WHERE id = 1"
    assert_unsafe(sql(adds, uses), "enum-value", "calm")
    assert_unsafe(sql(adds), "enum-value", version=(11, 22))
    assert_safe(sql(adds))
    assert_safe(by_itself(adds, uses))


def test_an_enum_value_is_never_renamed() -> None:
    assert_unsafe(sql("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'"), "rename-enum-value", "ok", "mood")


@pytest.mark.parametrize(
    ("rule", "text", "level"),
    [
        ("maintenance", "VACUUM FULL orders", "error"),
        ("maintenance", "CLUSTER orders USING ix", "error"),
        ("maintenance", "REINDEX TABLE orders", "error"),
        ("table-option", "ALTER TABLE orders SET TABLESPACE fast", "error"),
        ("constrain-domain", "ALTER DOMAIN price ADD CHECK (VALUE > 0)", "error"),
        ("drop-schema", "DROP SCHEMA shop CASCADE", "error"),
        ("drop-schema", "ALTER SCHEMA shop RENAME TO store", "error"),
        ("truncate", "TRUNCATE orders, lines CASCADE", "error"),
        ("detach-partition", "ALTER TABLE orders DETACH PARTITION orders_2020", "warning"),
        ("attach-partition", "ALTER TABLE orders ATTACH PARTITION o FOR VALUES FROM (1) TO (2)", "warning"),
        ("no-lock-timeout", "SET LOCAL lock_timeout = '0'", "warning"),
        ("lock-table", "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", "warning"),
        ("opaque", "SELECT move_orders()", "warning"),
        ("opaque", "DO $$ BEGIN DELETE FROM orders; END $$", "warning"),
    ],
)
def test_statements_that_lock_or_lose_much(rule: str, text: str, level: str) -> None:
    assert_unsafe(sql(text), rule, level=level)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE orders SET (fillfactor = 70)",
        "ALTER DOMAIN price ADD CHECK (VALUE > 0) NOT VALID",
        "SET LOCAL lock_timeout = '3s'",
        "COMMENT ON TABLE orders IS 'all of them'",
        "CREATE TYPE mood AS ENUM ('ok')",
        "INSERT INTO kinds (id, name) VALUES (1, 'a'), (2, 'b')",
        "UPDATE orders SET n = 1 WHERE id BETWEEN 1 AND 1000",
        "DELETE FROM sessions WHERE user_id IN (1, 2)",
        "SELECT setval('s', 1)",
        "GRANT SELECT ON orders TO reader",
        "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    ],
)
def test_statements_that_nobody_notices(text: str) -> None:
    assert_safe(sql(text))


def test_a_batch_that_recreates_copies_the_table() -> None:
    def copying() -> None:
        with op.batch_alter_table("orders", recreate="always") as batch:
            batch.add_column(A("n", sa.Integer()))

    def plain() -> None:
        with op.batch_alter_table("orders") as batch:
            batch.add_column(A("n", sa.Integer()))

    assert_unsafe(copying, "table-copy", "orders")
    assert_safe(plain)


def test_a_table_of_the_same_revision_is_nobodys() -> None:
    def work() -> None:
        op.create_table("news", A("id", sa.BigInteger(), primary_key=True), A("a", sa.Integer()))
        op.create_index("ix", "news", ["a"])
        op.create_check_constraint("c", "news", "a > 0")
        op.alter_column("news", "a", existing_type=sa.Integer(), type_=sa.BigInteger(), nullable=False)
        op.execute("UPDATE news SET a = 1")
        op.drop_column("news", "a")

    assert_safe(work)


def test_a_table_dropped_and_made_again_was_somebodys() -> None:
    def work() -> None:
        op.drop_table("news")
        op.create_table("news", A("id", sa.BigInteger(), primary_key=True))

    assert_unsafe(work, "drop-table", "news")


def test_a_pending_revision_makes_tables_that_are_new_to_the_next() -> None:
    first = revision("1", {EARLY: lambda: op.create_table("news", A("a", sa.BigInteger()))})
    second = revision("2", {EARLY: lambda: op.create_index("ix", "news", ["a"])}, "1")
    assert [item.rule for item in report([first, second]).findings] == ["create-index"]
    assert report([first, second], pending=True).findings == ()


def test_locks_on_small_tables_are_not_reported() -> None:
    from flask_phased_migrate.rules.schema import Facts

    work = lambda: op.create_index("ix", "orders", ["a"])  # noqa: E731
    facts = Facts(rows={"orders": 500})
    assert_safe(work, facts=facts, small_rows=1000)
    found = assert_unsafe(work, "create-index", facts=facts, small_rows=100)
    assert "about 500 rows" in found.message
    assert_unsafe(work, "create-index", facts=Facts(rows={"orders": 0}))


def test_without_a_version_an_old_server_is_assumed() -> None:
    work = add(A("n", sa.Integer(), server_default="0"))
    assert look(work, version=(13, 0)) == look(work)


def test_what_is_executed_past_the_operations_is_looked_at_too() -> None:
    def work() -> None:
        op.get_bind().execute(sa.text("DROP TABLE orders"))

    assert [item.rule for item in look(work)] == ["drop-table"]


def test_a_construct_that_names_its_rows_is_bounded() -> None:
    orders = sa.table("orders", sa.column("id"), sa.column("n"))
    assert_safe(lambda: op.execute(orders.update().values(n=1).where(orders.c.id == 3)))
    assert_unsafe(lambda: op.execute(orders.update().values(n=1)), "unbatched-write", level="warning")
