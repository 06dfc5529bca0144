"""The catalogue proved: what the rules say of a statement is what a server does with it.

On PostgreSQL each statement runs in a transaction, and pg_locks and the table's file node are read before it ends. On
MariaDB it runs with the clauses ALGORITHM and LOCK that make the server refuse what it cannot do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import op
from linting import LATE, assert_unsafe, known, look
from support import fresh_database

from flask_phased_migrate.facts import read_facts
from flask_phased_migrate.rules import mysql as mysql_rules
from flask_phased_migrate.rules import postgresql as postgresql_rules
from flask_phased_migrate.rules.changes import Change, Column
from flask_phased_migrate.rules.from_sql import read_sql
from flask_phased_migrate.rules.postgresql import lock_of
from flask_phased_migrate.rules.postgresql import locks_of as rules_locks_of
from flask_phased_migrate.rules.schema import Facts, ForeignKey
from flask_phased_migrate.rules.types import cost_on_mysql, cost_on_postgresql

WEAK = {None, "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock"}
ORDER = [
    *("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock"),
    *("ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"),
]
NAMES = {
    "ACCESS EXCLUSIVE": "AccessExclusiveLock",
    "SHARE ROW EXCLUSIVE": "ShareRowExclusiveLock",
    "SHARE": "ShareLock",
}
SHOP = [
    "CREATE TABLE customer (id int PRIMARY KEY)",
    "CREATE TABLE orders (id int, customer_id int, n int, m int NOT NULL, email varchar(20), price numeric(8, 2), "
    "CONSTRAINT fine CHECK (n > 0) NOT VALID)",
    "CREATE INDEX ix_old ON orders (n)",
    "CREATE UNIQUE INDEX uq ON orders (m)",
    "ALTER TABLE orders ADD CONSTRAINT fk_old FOREIGN KEY (n) REFERENCES customer (id)",
    "INSERT INTO customer VALUES (1)",
    "INSERT INTO orders VALUES (1, 1, 1, 1, 'a', 1)",
    "CREATE TABLE parts (id int) PARTITION BY RANGE (id)",
    "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9)",
    "CREATE TABLE loose (id int)",
    "CREATE TABLE kin (id int)",
    "CREATE TABLE firm (id int PRIMARY KEY)",
    "CREATE TABLE town (id int PRIMARY KEY)",
    "CREATE TABLE sale (a int REFERENCES firm, b int REFERENCES town)",
    "CREATE MATERIALIZED VIEW totals AS SELECT id FROM orders",
    "CREATE UNIQUE INDEX u_totals ON totals (id)",
    "CREATE DOMAIN price AS int",
    "CREATE TABLE priced (id int, price price)",
    "CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """An engine on a PostgreSQL database with two tables; what a test does is rolled back."""
    with fresh_database("postgresql", tmp_path_factory.mktemp("shop")) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            for text in SHOP:
                connection.exec_driver_sql(text)
        yield engine


def locks_of(engine: sa.Engine, text: str) -> tuple[str | None, str | None, bool]:
    """Return the strongest lock on orders, that on customer, and whether orders was written anew."""
    with engine.connect() as connection, connection.begin() as transaction:
        before = _file(connection)
        connection.exec_driver_sql(text)
        rows = connection.exec_driver_sql(
            "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
            "WHERE l.pid = pg_backend_pid() AND c.relname IN ('orders', 'customer')"
        ).all()
        written = _file(connection) != before
        transaction.rollback()
    found = {name: max((mode for at, mode in rows if at == name), key=ORDER.index, default=None) for name, _ in rows}
    return found.get("orders"), found.get("customer"), written


def _file(connection: sa.Connection) -> object:
    return connection.exec_driver_sql("SELECT pg_relation_filenode('orders')").scalar()


# rule or None where nothing is found; statement; lock on orders; lock on customer; whether it is written anew
MEASURED = [
    (None, "ALTER TABLE orders ADD COLUMN c text", "AccessExclusiveLock", None, False),
    (None, "ALTER TABLE orders ADD COLUMN c timestamptz DEFAULT now()", "AccessExclusiveLock", None, False),
    ("volatile-default", "ALTER TABLE orders ADD COLUMN c uuid DEFAULT gen_random_uuid()", "AccessExclusiveLock", None,
     True),
    ("self-numbering-column", "ALTER TABLE orders ADD COLUMN c serial", "AccessExclusiveLock", None, True),
    ("stored-column", "ALTER TABLE orders ADD COLUMN c int GENERATED ALWAYS AS (n) STORED", "AccessExclusiveLock", None,
     True),
    (None, "ALTER TABLE orders ADD COLUMN c int REFERENCES customer (id)", "AccessExclusiveLock",
     "ShareRowExclusiveLock", False),
    (None, "ALTER TABLE orders DROP COLUMN email", "AccessExclusiveLock", None, False),
    ("set-not-null", "ALTER TABLE orders ALTER email SET NOT NULL", "AccessExclusiveLock", None, False),
    ("change-type", "ALTER TABLE orders ALTER m TYPE bigint", "AccessExclusiveLock", None, True),
    ("create-index", "CREATE INDEX ix ON orders (email)", "ShareLock", None, False),
    ("drop-index", "DROP INDEX ix_old", "AccessExclusiveLock", None, False),
    ("unique-constraint", "ALTER TABLE orders ADD CONSTRAINT u UNIQUE (id)", "AccessExclusiveLock", None, False),
    (None, "ALTER TABLE orders ADD CONSTRAINT uq UNIQUE USING INDEX uq", "AccessExclusiveLock", None, False),
    ("primary-key", "ALTER TABLE orders ADD PRIMARY KEY (m)", "AccessExclusiveLock", None, False),
    ("check-constraint", "ALTER TABLE orders ADD CONSTRAINT c CHECK (m > 0)", "AccessExclusiveLock", None, False),
    (None, "ALTER TABLE orders VALIDATE CONSTRAINT fine", "ShareUpdateExclusiveLock", None, False),
    ("foreign-key", "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (customer_id) REFERENCES customer (id)",
     "ShareRowExclusiveLock", "ShareRowExclusiveLock", False),
    ("drop-foreign-key", "ALTER TABLE orders DROP CONSTRAINT fk_old", "AccessExclusiveLock", "AccessExclusiveLock",
     False),
    ("exclude-constraint", "ALTER TABLE orders ADD CONSTRAINT x EXCLUDE USING btree (m WITH =)", "AccessExclusiveLock",
     None, False),
    ("maintenance", "CLUSTER orders USING ix_old", "AccessExclusiveLock", None, True),
    ("maintenance", "REINDEX TABLE orders", "ShareLock", None, False),
    ("unbatched-write", "UPDATE orders SET m = 2", "RowExclusiveLock", "RowShareLock", False),
    ("truncate", "TRUNCATE orders", "AccessExclusiveLock", None, True),
    (None, "COMMENT ON TABLE orders IS 'all'", "ShareUpdateExclusiveLock", None, False),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "text", "own", "other", "is_written"), MEASURED, ids=[row[1] for row in MEASURED])
def test_postgresql_takes_the_lock_that_the_catalogue_says(
    shop: sa.Engine, rule: str | None, text: str, own: str, other: str | None, is_written: bool
) -> None:
    locked, others, written = locks_of(shop, text)
    assert (locked, written) == (own, is_written)
    assert others == other or rule == "unbatched-write"
    found = {item.rule for item in look(lambda: op.execute(text), phase=LATE, models={"orders": frozenset()})}
    # The name of a constraint does not tell its kind: only the operation says that it is a foreign key.
    assert (rule in found) or rule in (None, "drop-foreign-key")
    if rule is None:
        assert found <= {"foreign-key-without-index"}


@pytest.mark.parametrize("text", [row[1] for row in MEASURED if row[1].startswith(("ALTER", "CREATE", "DROP"))])
def test_the_lock_that_a_transaction_keeps_is_the_one_that_the_rules_expect(shop: sa.Engine, text: str) -> None:
    from sqlalchemy.dialects import postgresql

    change: Change = read_sql(text, postgresql.dialect())[0].changes[0]
    expected = lock_of(change)
    locked = locks_of(shop, text)[0]
    assert locked in WEAK if expected is None else locked == NAMES[expected]


# rule or None where nothing is found; statement; the strongest lock on each table that it locks
ELSEWHERE = [
    ("table-option", "ALTER TABLE loose SET UNLOGGED", {"loose": "AccessExclusiveLock"}),
    ("table-option", "ALTER TABLE loose SET TABLESPACE pg_default", {"loose": "AccessExclusiveLock"}),
    ("lock-table", "LOCK TABLE loose IN SHARE ROW EXCLUSIVE MODE", {"loose": "ShareRowExclusiveLock"}),
    (None, "LOCK TABLE loose IN ROW EXCLUSIVE MODE", {"loose": "RowExclusiveLock"}),
    ("refresh-view", "REFRESH MATERIALIZED VIEW totals", {"totals": "AccessExclusiveLock"}),
    (None, "REFRESH MATERIALIZED VIEW CONCURRENTLY totals", {"totals": "ExclusiveLock"}),
    ("attach-partition", "ALTER TABLE parts ATTACH PARTITION loose FOR VALUES FROM (10) TO (19)",
     {"parts": "ShareUpdateExclusiveLock", "loose": "AccessExclusiveLock"}),
    (None, "ALTER TABLE loose INHERIT kin", {"kin": "ShareUpdateExclusiveLock", "loose": "AccessExclusiveLock"}),
    ("detach-partition", "ALTER TABLE parts DETACH PARTITION part",
     {"parts": "AccessExclusiveLock", "part": "AccessExclusiveLock"}),
    ("constrain-domain", "ALTER DOMAIN price ADD CONSTRAINT c CHECK (VALUE > 0)", {"priced": "ShareLock"}),
    (None, "ALTER DOMAIN price ADD CONSTRAINT c CHECK (VALUE > 0) NOT VALID", {}),
    (None, "CREATE TRIGGER t BEFORE INSERT ON loose FOR EACH ROW EXECUTE FUNCTION noop()",
     {"loose": "ShareRowExclusiveLock"}),
    (None, "ALTER TABLE loose ENABLE ROW LEVEL SECURITY", {"loose": "AccessExclusiveLock"}),
    (None, "ALTER TABLE loose DISABLE TRIGGER ALL", {"loose": "ShareRowExclusiveLock"}),
    (None, "ALTER TABLE loose ALTER id SET STATISTICS 5", {"loose": "ShareUpdateExclusiveLock"}),
    (None, "ALTER TABLE loose SET (fillfactor = 70)", {"loose": "ShareUpdateExclusiveLock"}),
    (None, "CREATE POLICY p ON loose USING (true)", {"loose": "AccessExclusiveLock"}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "text", "locks"), ELSEWHERE, ids=[row[1] for row in ELSEWHERE])
def test_postgresql_locks_other_things_as_the_catalogue_says(
    shop: sa.Engine, rule: str | None, text: str, locks: dict[str, str]
) -> None:
    assert _all_locks(shop, text, locks) == locks
    found = {item.rule for item in look(lambda: op.execute(text), phase=LATE)}
    assert found == ({rule} if rule else set())


def test_a_table_that_is_made_as_a_partition_locks_the_one_that_it_is_a_part_of(shop: sa.Engine) -> None:
    text = "CREATE TABLE more PARTITION OF parts FOR VALUES FROM (10) TO (19)"
    assert _all_locks(shop, text, ["parts"]) == {"parts": "AccessExclusiveLock"}
    found = assert_unsafe(lambda: op.execute(text), "attach-partition", "ACCESS EXCLUSIVE on parts", level="warning")
    assert str(found.rewrite).splitlines() == [
        'op.execute("CREATE TABLE more (LIKE parts INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")',
        'op.execute("ALTER TABLE parts ATTACH PARTITION more FOR VALUES FROM(10) TO(19)")',
    ]
    weaker = [line.removeprefix('op.execute("').removesuffix('")') for line in str(found.rewrite).splitlines()]
    assert _all_locks(shop, "; ".join(weaker), ["parts"]) == {"parts": "ShareUpdateExclusiveLock"}


def test_a_table_that_is_dropped_locks_those_to_which_its_foreign_keys_refer(shop: sa.Engine) -> None:
    with shop.connect() as connection:
        facts = Facts(foreign_keys=read_facts(connection).foreign_keys)
    assert facts.foreign_keys["sale", "sale_a_fkey"] == ForeignKey("firm", ("a",))
    work = lambda: op.execute("DROP TABLE sale")  # noqa: E731
    assert_unsafe(work, "drop-table", "on firm, town too", level="warning", phase=LATE, facts=facts)
    assert _all_locks(shop, "DROP TABLE sale", ["firm", "town"]) == dict.fromkeys(
        ("firm", "town"), "AccessExclusiveLock"
    )


def _all_locks(engine: sa.Engine, text: str, names: Iterable[str]) -> dict[str, str]:
    with engine.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql(text)
        rows = connection.exec_driver_sql(
            "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
            "WHERE l.pid = pg_backend_pid() AND c.relkind IN ('r', 'p', 'm')"
        ).all()
        transaction.rollback()
    return {name: max((mode for at, mode in rows if at == name), key=ORDER.index) for name in names}


@pytest.mark.parametrize("text", [row[1] for row in ELSEWHERE])
def test_the_locks_that_a_transaction_keeps_elsewhere_are_those_that_the_rules_expect(
    shop: sa.Engine, text: str
) -> None:
    from sqlalchemy.dialects import postgresql

    expected = dict(locks_kept(read_sql(text, postgresql.dialect())[0].changes))
    locked = _all_locks(shop, text, expected)
    assert locked == {table: NAMES[lock] for table, lock in expected.items()}


def locks_kept(changes: Iterable[Change]) -> Iterator[tuple[str, str]]:
    for change in changes:
        yield from rules_locks_of(change)


def test_a_lock_on_one_table_is_kept_while_another_is_gone_through(shop: sa.Engine) -> None:
    text = "ALTER TABLE loose ADD COLUMN c int; UPDATE orders SET m = 2"
    assert _all_locks(shop, text, ["loose", "orders"]) == {
        "loose": "AccessExclusiveLock",
        "orders": "RowExclusiveLock",
    }
    found = {item.rule: item.level for item in look(lambda: op.execute(text))}
    assert found["scan-under-lock"] == "warning"


def test_validation_behind_another_operation_keeps_its_lock(shop: sa.Engine) -> None:
    text = "ALTER TABLE orders ADD COLUMN c int; ALTER TABLE orders VALIDATE CONSTRAINT fine"
    assert _all_locks(shop, text, ["orders"]) == {"orders": "AccessExclusiveLock"}
    assert "scan-under-lock" in {item.rule for item in look(lambda: op.execute(text))}


def test_several_foreign_keys_lock_all_their_tables(shop: sa.Engine) -> None:
    with shop.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE parent (id int PRIMARY KEY)")
    text = (
        "ALTER TABLE orders ADD CONSTRAINT a FOREIGN KEY (customer_id) REFERENCES customer (id) NOT VALID;"
        "ALTER TABLE loose ADD CONSTRAINT b FOREIGN KEY (id) REFERENCES parent (id) NOT VALID"
    )
    names = ["orders", "customer", "loose", "parent"]
    assert _all_locks(shop, text, names) == dict.fromkeys(names, "ShareRowExclusiveLock")
    assert "several-foreign-keys" in {item.rule for item in look(lambda: op.execute(text), phase=LATE)}


def test_vacuum_is_refused_inside_a_transaction(shop: sa.Engine) -> None:
    with shop.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="cannot run inside a transaction block"):
        connection.exec_driver_sql("VACUUM orders")


def test_an_index_that_failed_to_build_is_kept_by_if_not_exists(shop: sa.Engine) -> None:
    engine = shop.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE twice (a int)")
        connection.exec_driver_sql("INSERT INTO twice VALUES (1), (1)")
        with pytest.raises(sa.exc.IntegrityError):
            connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY broken ON twice (a)")
        connection.exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS broken ON twice (a)")
        state = connection.exec_driver_sql(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'broken'::regclass"
        ).scalar()
    assert state is False


@pytest.mark.parametrize(
    ("alter", "breaks"),
    [
        ("ALTER c TYPE varchar(50)", True),
        ("ALTER c TYPE text", True),
        ("ALTER c TYPE varchar(20)", False),
        ("ADD d int", False),
        ("ALTER c SET NOT NULL", False),
        ("ALTER c SET DEFAULT 'x'", False),
    ],
)
def test_a_statement_that_is_prepared_breaks_when_the_type_of_a_column_changes(
    shop: sa.Engine, alter: str, breaks: bool
) -> None:
    facts = Facts({("kept", "c"): Column("c", "VARCHAR(20)")})
    with shop.begin() as other:
        other.exec_driver_sql("DROP TABLE IF EXISTS kept")
        other.exec_driver_sql("CREATE TABLE kept (id int, c varchar(20))")
    with shop.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("PREPARE kept AS SELECT kept.id, kept.c FROM kept")
        connection.exec_driver_sql("EXECUTE kept")
        with shop.begin() as other:
            other.exec_driver_sql(f"ALTER TABLE kept {alter}")
        failed = False
        try:
            connection.exec_driver_sql("EXECUTE kept")
        except sa.exc.DBAPIError as error:
            failed = "cached plan must not change result type" in str(error)
    assert failed is breaks
    found = {item.rule for item in look(lambda: op.execute(f"ALTER TABLE kept {alter}"), phase=LATE, facts=facts)}
    assert ("cached-plan" in found) is breaks


# Rules that are about more than one statement, or about no lock.
NOT_MEASURED = {
    "json-column": "no lock: json has no '='",
    "corrupting-index-build": "a defect of servers that are not there to try",
    "no-lock-timeout": "a setting: what waits, waits",
    "table-copy": "Alembic's batch, not a statement",
}


def test_every_rule_of_postgresql_is_measured() -> None:
    measured = {row[0] for row in (*MEASURED, *ELSEWHERE)}
    beside = {
        "scan-under-lock", "several-foreign-keys", "cached-plan", "invalid-index-kept", "enum-value",
        "concurrently-in-transaction", "drop-table",
    }  # fmt: skip
    rules = {check.rule for check in postgresql_rules.CHECKS}
    assert rules - measured - beside == set(NOT_MEASURED)


TYPES = [
    ("VARCHAR(20)", "VARCHAR(50)"),
    ("VARCHAR(20)", "TEXT"),
    ("VARCHAR(20)", "VARCHAR(10)"),
    ("TEXT", "VARCHAR"),
    ("TEXT", "VARCHAR(10)"),
    ("NUMERIC(8, 2)", "NUMERIC(10, 2)"),
    ("NUMERIC(8, 2)", "NUMERIC"),
    ("NUMERIC(8, 2)", "NUMERIC(10, 3)"),
    ("INTEGER", "BIGINT"),
    ("SMALLINT", "INTEGER"),
    ("TIMESTAMP(0)", "TIMESTAMP(3)"),
    ("TIMESTAMP(3)", "TIMESTAMP(0)"),
    ("TIMESTAMP", "DATE"),
    ("CIDR", "INET"),
    ("BIT VARYING(4)", "BIT VARYING(9)"),
    ("CHAR(4)", "CHAR(9)"),
    ("BOOLEAN", "TEXT"),
    ("INTERVAL(0)", "INTERVAL(3)"),
]


@pytest.mark.parametrize(("old", "new"), TYPES)
def test_postgresql_writes_the_table_anew_for_the_types_that_the_rules_say(shop: sa.Engine, old: str, new: str) -> None:
    with shop.connect() as connection, connection.begin() as transaction:
        connection.exec_driver_sql(f"ALTER TABLE orders ADD COLUMN c {old}")
        before = _file(connection)
        connection.exec_driver_sql(f"ALTER TABLE orders ALTER c TYPE {new}")
        written = _file(connection) != before
        transaction.rollback()
    assert cost_on_postgresql(old, new) == ("rewrite" if written else "none")


def test_a_validated_check_spares_the_scan_of_set_not_null(shop: sa.Engine) -> None:
    """The server says at level DEBUG1 whether it has to look."""
    heard: list[str] = []
    with shop.connect() as connection, connection.begin() as transaction:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.add_notice_handler(lambda notice: heard.append(str(notice.message_primary)))
        connection.exec_driver_sql("ALTER TABLE orders ADD CONSTRAINT e CHECK (email IS NOT NULL)")
        connection.exec_driver_sql("SET LOCAL client_min_messages = debug1")
        connection.exec_driver_sql("ALTER TABLE orders ALTER email SET NOT NULL")
        connection.exec_driver_sql("SET LOCAL client_min_messages = notice")
        transaction.rollback()
    assert any("existing constraints on column" in text and "are sufficient" in text for text in heard), heard


@pytest.mark.parametrize("text", ["CREATE INDEX CONCURRENTLY i ON orders (n)", "DROP INDEX CONCURRENTLY ix_old"])
def test_postgresql_refuses_concurrently_inside_a_transaction(shop: sa.Engine, text: str) -> None:
    with shop.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="cannot run inside a transaction block"):
        connection.exec_driver_sql(text)


def test_postgresql_refuses_a_new_enum_value_until_it_is_committed(shop: sa.Engine) -> None:
    with shop.begin() as connection:
        connection.exec_driver_sql("CREATE TYPE mood AS ENUM ('ok')")
    with shop.connect() as connection, pytest.raises(sa.exc.DBAPIError, match="unsafe use of new value"):
        connection.exec_driver_sql("ALTER TYPE mood ADD VALUE 'calm'")
        connection.exec_driver_sql("SELECT 'calm'::mood")


# -- MariaDB --------------------------------------------------------------------------------------------

ONLINE = ("INSTANT", "NOCOPY, LOCK=NONE")
CLAUSES = (*ONLINE, "INPLACE, LOCK=NONE", "INPLACE, LOCK=SHARED", "COPY, LOCK=SHARED", "")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """An engine on a MariaDB database in which each test makes its tables."""
    folder: Path = tmp_path_factory.mktemp("store")
    with fresh_database("mysql", folder) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            if not connection.dialect.is_mariadb:  # type: ignore[attr-defined]
                pytest.skip("the algorithms were measured on MariaDB")
        yield engine


def cheapest(engine: sa.Engine, action: str) -> str:
    """Return the cheapest clauses with which the server does what is asked of orders."""
    with engine.connect() as connection:
        for text in (
            "DROP TABLE IF EXISTS orders",
            "DROP TABLE IF EXISTS customer",
            "CREATE TABLE customer (id int PRIMARY KEY)",
            "INSERT INTO customer VALUES (1)",
            "CREATE TABLE orders (id int PRIMARY KEY, a int, m int NOT NULL, email varchar(20), note text, "
            "kind enum('a', 'b'), KEY ix (m)) CHARACTER SET utf8mb4",
            "INSERT INTO orders VALUES (1, 1, 1, 'a', 'b', 'a')",
        ):
            connection.exec_driver_sql(text)
        connection.commit()
        for clauses in CLAUSES:
            try:
                asked = f", ALGORITHM={clauses}" if clauses else ""
                connection.exec_driver_sql(f"ALTER TABLE orders {action}{asked}")
            except sa.exc.DBAPIError:
                connection.rollback()
            else:
                return clauses
    raise AssertionError(f"refused in every way: {action}")


ALGORITHMS = [
    ("", "ADD COLUMN c int", "INSTANT"),
    ("", "ADD COLUMN c int NOT NULL DEFAULT 0 AFTER id", "INSTANT"),
    ("", "ADD COLUMN c datetime DEFAULT CURRENT_TIMESTAMP", "INSTANT"),
    ("", "ADD COLUMN c int AS (a) VIRTUAL", "INSTANT"),
    ("", "DROP COLUMN note", "INSTANT"),
    ("", "ADD INDEX x (a)", "NOCOPY, LOCK=NONE"),
    ("", "DROP INDEX ix", "NOCOPY, LOCK=NONE"),
    ("", "ADD COLUMN c int CHECK (c > 0)", "INSTANT"),
    ("table-rebuild", "MODIFY a int NOT NULL", "INPLACE, LOCK=NONE"),
    ("table-rebuild", "MODIFY m int NULL", "INPLACE, LOCK=NONE"),
    ("primary-key", "DROP PRIMARY KEY, ADD PRIMARY KEY (m)", "INPLACE, LOCK=NONE"),
    ("table-option", "ENGINE=InnoDB", "INPLACE, LOCK=NONE"),
    ("self-numbering-column", "ADD COLUMN c int AUTO_INCREMENT UNIQUE", "INPLACE, LOCK=SHARED"),
    ("create-index", "ADD FULLTEXT INDEX f (note)", "INPLACE, LOCK=SHARED"),
    ("change-type", "MODIFY m bigint NOT NULL", "COPY, LOCK=SHARED"),
    ("volatile-default", "ADD COLUMN c char(36) DEFAULT (uuid())", "COPY, LOCK=SHARED"),
    ("stored-column", "ADD COLUMN c int AS (a) PERSISTENT", "COPY, LOCK=SHARED"),
    ("check-constraint", "ADD CONSTRAINT c CHECK (a > 0)", "COPY, LOCK=SHARED"),
    ("foreign-key", "ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES customer (id)", "COPY, LOCK=SHARED"),
    ("table-option", "CONVERT TO CHARACTER SET latin1", "COPY, LOCK=SHARED"),
    ("", "DEFAULT CHARACTER SET latin1", "INSTANT"),
    ("", "ALTER INDEX ix IGNORED", "INSTANT"),
    ("", "ALTER a SET DEFAULT 5", "INSTANT"),
    ("", "COMMENT 'all'", "INSTANT"),
    ("", "ADD UNIQUE u (a)", "NOCOPY, LOCK=NONE"),
    ("table-option", "FORCE", "INPLACE, LOCK=NONE"),
    ("table-option", "ROW_FORMAT=COMPRESSED", "INPLACE, LOCK=NONE"),
    ("primary-key", "DROP PRIMARY KEY", "COPY, LOCK=SHARED"),
    ("table-option", "ADD SYSTEM VERSIONING", "COPY, LOCK=SHARED"),
    # No clause is taken at all: the server copies.
    ("table-option", "ORDER BY a", ""),
    ("table-option", "PARTITION BY HASH (id) PARTITIONS 2", ""),
]
LEVELS = {"": "error", "INPLACE, LOCK=NONE": "warning", "INPLACE, LOCK=SHARED": "error", "COPY, LOCK=SHARED": "error"}


@pytest.mark.parametrize(("rule", "action", "clauses"), ALGORITHMS, ids=[row[1] for row in ALGORITHMS])
def test_mariadb_takes_the_algorithm_that_the_catalogue_says(
    store: sa.Engine, rule: str, action: str, clauses: str
) -> None:
    assert cheapest(store, action) == clauses
    facts = known(orders=[Column("a", "INT"), Column("m", "INT", nullable=False)])
    work = lambda: op.execute(f"ALTER TABLE orders {action}")  # noqa: E731
    found = {item.rule: item.level for item in look(work, "mariadb", LATE, facts=facts, models={"orders": frozenset()})}
    assert found == ({rule: LEVELS[clauses]} if rule else {})


def test_another_engine_is_copied_whatever_the_clause_says(store: sa.Engine) -> None:
    """The server takes ALGORITHM=INSTANT for it, and makes the table anew: it gets another id."""
    cheapest(store, "COMMENT 'fresh'")
    with store.connect() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS moved")
        connection.exec_driver_sql("CREATE TABLE moved (id int PRIMARY KEY) ENGINE=InnoDB")
        connection.exec_driver_sql("ALTER TABLE moved ENGINE=Aria, ALGORITHM=INSTANT")
        engine = connection.exec_driver_sql(
            "SELECT engine FROM information_schema.tables WHERE table_schema = database() AND table_name = 'moved'"
        ).scalar()
    assert engine == "Aria"
    work = lambda: op.execute("ALTER TABLE moved ENGINE=Aria, ALGORITHM=INSTANT")  # noqa: E731
    assert [item.level for item in look(work, "mariadb", LATE) if item.rule == "table-option"] == ["error"]


def test_lock_tables_keeps_others_out(store: sa.Engine) -> None:
    cheapest(store, "COMMENT 'fresh'")
    with store.connect() as holder, store.connect() as other:
        holder.exec_driver_sql("LOCK TABLES orders WRITE")
        with pytest.raises(sa.exc.DBAPIError):
            other.exec_driver_sql("SET STATEMENT lock_wait_timeout=0 FOR SELECT * FROM orders")
        holder.exec_driver_sql("UNLOCK TABLES")


def test_every_rule_of_mysql_is_measured() -> None:
    measured = {row[0] for row in ALGORITHMS} | {"lock-table"}
    rules = {check.rule for check in mysql_rules.CHECKS}
    assert rules - measured == {"no-lock-timeout", "table-copy"}


MARIADB_TYPES = [
    ("VARCHAR(20)", "VARCHAR(50)"),
    ("VARCHAR(20)", "VARCHAR(63)"),
    ("VARCHAR(20)", "VARCHAR(300)"),
    ("VARCHAR(20)", "VARCHAR(10)"),
    ("VARCHAR(20)", "TEXT"),
    ("INT", "BIGINT"),
    ("ENUM('a', 'b')", "ENUM('a', 'b', 'c')"),
    ("ENUM('a', 'b')", "ENUM('b', 'a')"),
]


@pytest.mark.parametrize(("old", "new"), MARIADB_TYPES)
def test_mariadb_copies_the_table_for_the_types_that_the_rules_say(store: sa.Engine, old: str, new: str) -> None:
    with store.connect() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS typed")
        connection.exec_driver_sql(f"CREATE TABLE typed (id int PRIMARY KEY, c {old}) CHARACTER SET utf8mb4")
        connection.exec_driver_sql("INSERT INTO typed VALUES (1, NULL)")
        connection.commit()
        try:
            connection.exec_driver_sql(f"ALTER TABLE typed MODIFY c {new}, ALGORITHM=INPLACE, LOCK=NONE")
            copied = False
        except sa.exc.DBAPIError:
            copied = True
    assert cost_on_mysql(old, new, is_mariadb=True) == ("rewrite" if copied else "none")


def test_a_foreign_key_without_a_check_is_added_at_once(store: sa.Engine) -> None:
    add = "ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES customer (id)"
    cheapest(store, "ADD COLUMN other int")
    with store.connect() as connection:
        connection.exec_driver_sql("SET foreign_key_checks = 0")
        connection.exec_driver_sql(f"ALTER TABLE orders {add}, ALGORITHM=INPLACE, LOCK=NONE")
