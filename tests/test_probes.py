"""What the database tells of a statement that may have been executed."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from support import empty_schemas, fresh_database

from flask_phased_migrate.probes import ConcurrentIndex, concurrent_index, invalid_index, was_executed

BEFORE = (
    "CREATE TABLE account (id INTEGER PRIMARY KEY, login VARCHAR(50), note VARCHAR(50))",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE INDEX by_note ON account (note)",
    "CREATE TABLE gone (id INTEGER)",
    "CREATE VIEW seen AS SELECT id FROM account",
)

# Statements that leave a trace which can be looked up.
TOLD = {
    "all": (
        "CREATE TABLE fresh (id INTEGER, name VARCHAR(10))",
        "CREATE INDEX by_login ON account (login)",
        "CREATE UNIQUE INDEX by_both ON account (login, note)",
        "CREATE VIEW other AS SELECT id FROM account",
        "ALTER TABLE account ADD COLUMN email VARCHAR(50)",
        "ALTER TABLE account RENAME COLUMN login TO name",
        "ALTER TABLE gone RENAME TO moved",
        "DROP TABLE gone",
        "DROP VIEW seen",
    ),
    "postgresql": (
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "ALTER TYPE kind ADD VALUE 'third'",
        "CREATE SEQUENCE counter",
        "CREATE SCHEMA extra",
        "CREATE INDEX CONCURRENTLY By_Login ON account (login)",
        "DROP INDEX CONCURRENTLY by_note",
        "DROP TYPE kind",
        "ALTER TABLE account DROP COLUMN note",
        "ALTER TABLE account ADD CONSTRAINT positive CHECK (id > 0) NOT VALID",
        "ALTER TABLE account ADD CONSTRAINT of_parent FOREIGN KEY (id) REFERENCES parent (id)",
        "ALTER TABLE account ADD CONSTRAINT one_login UNIQUE (login)",
        "ALTER TABLE account ADD COLUMN a INTEGER, ADD COLUMN b INTEGER",
        'ALTER TABLE account ADD COLUMN "Note" INTEGER',
        "ALTER TABLE account ADD CONSTRAINT Excluded EXCLUDE USING btree (login WITH =)",
        "ALTER TABLE gone ADD CONSTRAINT gone_key PRIMARY KEY (id)",
        "ALTER TABLE account DROP CONSTRAINT account_pkey",
        "ALTER TYPE Kind ADD VALUE 'third'",
        "ALTER TYPE public.kind ADD VALUE '5%%' AFTER 'first'",
        "CREATE MATERIALIZED VIEW other AS SELECT id FROM account",
        "ALTER TABLE public.gone RENAME TO moved",
        f"CREATE INDEX {'long_name' * 8} ON account (login)",
    ),
    "mysql": (
        "ALTER TABLE account CHANGE login name VARCHAR(50)",
        "ALTER TABLE account DROP COLUMN note",
        "ALTER TABLE account ADD CONSTRAINT of_parent FOREIGN KEY (id) REFERENCES parent (id)",
        "ALTER TABLE account ADD UNIQUE INDEX one_login (login)",
        "ALTER TABLE account ADD COLUMN a INTEGER, ADD COLUMN b INTEGER",
        "DROP INDEX by_note ON account",
        "ALTER TABLE account DROP INDEX by_note",
        "RENAME TABLE gone TO moved",
        "ALTER TABLE account ADD COLUMN a INTEGER, COMMENT='x'",
        "ALTER TABLE account ADD CONSTRAINT positive CHECK (id > 0)",
        "ALTER TABLE account ADD CONSTRAINT one_login UNIQUE (login)",
        "ALTER TABLE account ADD INDEX By_Login (login)",
        "ALTER TABLE gone ADD PRIMARY KEY (id)",
        "CREATE SEQUENCE counter",
    ),
    "sqlite": (),
}

# Statements that are sent again without harm: they count as not executed, whatever the database has.
HARMLESS = {
    "all": ("CREATE TABLE IF NOT EXISTS account (id INTEGER)", "DROP TABLE IF EXISTS nowhere"),
    "postgresql": (
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_note ON account (note)",
        "ALTER TABLE account ALTER COLUMN login SET NOT NULL",
        "ALTER TABLE account ALTER COLUMN login TYPE TEXT",
        "ALTER TABLE account VALIDATE CONSTRAINT positive",
        "COMMENT ON TABLE account IS 'x'",
        "GRANT SELECT ON account TO public",
        "ANALYZE account",
        "CREATE OR REPLACE VIEW seen AS SELECT id FROM account",
        "ALTER TABLE account ALTER COLUMN login DROP NOT NULL, ALTER COLUMN login SET DEFAULT 'x'",
        "ALTER TABLE account ALTER COLUMN login DROP DEFAULT",
        "ALTER TABLE ONLY public.account VALIDATE CONSTRAINT positive",
        "ALTER TYPE kind ADD VALUE IF NOT EXISTS 'first'",
    ),
    "mysql": (
        "ALTER TABLE account MODIFY login VARCHAR(60)",
        "ALTER TABLE account ADD COLUMN IF NOT EXISTS login VARCHAR(50)",
        "ALTER TABLE account ALTER COLUMN login SET DEFAULT 'x'",
        "ALTER TABLE account COMMENT='x'",
        "ALTER TABLE account COMMENT 'x', ENGINE=InnoDB",
        "ALTER TABLE account AUTO_INCREMENT = 100",
        "ALTER TABLE account DEFAULT CHARACTER SET = utf8mb4 COLLATE utf8mb4_bin",
        "ALTER TABLE account CHARSET utf8mb4",
        "ANALYZE TABLE account",
    ),
    "sqlite": (),
}

# Statements of which nobody can tell.
UNKNOWN = {
    "all": (
        "UPDATE account SET login = login",
        "INSERT INTO parent (id) VALUES (7)",
        "DELETE FROM account",
        "not SQL at all (",
        "CREATE TABLE x (id INTEGER); CREATE TABLE y (id INTEGER)",
        "CREATE TABLE account (other INTEGER)",
        "CREATE TABLE account AS SELECT 1 AS id",
        "CREATE TEMPORARY TABLE fresh (id INTEGER)",
        "CREATE UNIQUE INDEX by_note ON account (note)",
        "SET a = 1; DELETE FROM account",
    ),
    "postgresql": (
        "TRUNCATE account",
        "DO $$ BEGIN NULL; END $$",
        "CALL work()",
        "ALTER TABLE nowhere ADD COLUMN a INTEGER",
        "ALTER TABLE account ALTER COLUMN id TYPE INTEGER USING id * 100",
        "ALTER TABLE account ALTER COLUMN login TYPE TEXT, ALTER COLUMN id TYPE INTEGER USING id * 100",
        "ALTER TABLE account ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE account ALTER COLUMN id DROP IDENTITY",
        "ALTER TABLE account ALTER COLUMN id RESTART WITH 5",
        "ALTER TABLE account ALTER COLUMN id DROP EXPRESSION",
        "ALTER TABLE account ADD UNIQUE (login)",
        "ALTER TABLE account ADD CHECK (id > 0)",
        "ALTER TABLE account ADD FOREIGN KEY (id) REFERENCES parent (id)",
        "ALTER TABLE account VALIDATE CONSTRAINT positive, ADD COLUMN a INTEGER",
        "ALTER TYPE nothing ADD VALUE 'x'",
        "ALTER TYPE kind ADD VALUE E'x'",
        "ALTER TYPE kind RENAME VALUE 'first' TO 'last'",
        "CREATE TEMP VIEW fresh AS SELECT 1",
        "CREATE TEMP SEQUENCE fresh",
        "CREATE TABLE account (LIKE parent)",
        "CREATE TABLE account PARTITION OF parent FOR VALUES FROM (1) TO (2)",
        "CREATE OR REPLACE TRIGGER t BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION f()",
    ),
    "mysql": (
        "TRUNCATE TABLE account",
        "SET STATEMENT max_statement_time=1 FOR DELETE FROM account",
        "KILL 1",
        "ANALYZE DELETE FROM account",
        "ALTER TABLE account ORDER BY login",
        "ALTER TABLE account ENGINE=InnoDB, ORDER BY login",
        "ALTER TABLE account CONVERT TO CHARACTER SET utf8mb4",
        "ALTER TABLE account DROP PRIMARY KEY",
        "ALTER TABLE account DROP INDEX `PRIMARY`",
        "ALTER TABLE account ADD UNIQUE (login)",
        "ALTER TABLE account ADD FOREIGN KEY (id) REFERENCES parent (id)",
        "ALTER TABLE account ADD CONSTRAINT one UNIQUE other (login)",
        "ALTER TABLE account ADD UNIQUE by_note (note)",
        "ALTER TABLE account ADD INDEX by_note (login)",
        "CREATE TABLE account LIKE parent",
        "DROP TEMPORARY TABLE account",
        "CREATE TRIGGER keep BEFORE INSERT ON account FOR EACH ROW SET NEW.login = 'x'",
    ),
    "sqlite": (),
}


def cases(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Return (engine, statement) pairs."""
    return [(kind, text) for kind in ("sqlite", "postgresql", "mysql") for text in (*table["all"], *table[kind])]


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL database for all tests here: making one takes longer than most of them."""
    with fresh_database("postgresql", tmp_path_factory.mktemp("probes")) as url:
        yield url


@pytest.fixture
def connection(kind: str, request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    """A connection to a database that has the tables of BEFORE; every statement is committed at once."""
    url = request.getfixturevalue("postgresql" if kind == "postgresql" else f"{kind}_url")
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as made:
        if kind == "postgresql":
            empty_schemas(made)
        for text in BEFORE:
            made.exec_driver_sql(text)
        if kind == "postgresql":
            made.exec_driver_sql("CREATE TYPE kind AS ENUM ('first', 'second')")
        yield made


@pytest.mark.parametrize(("kind", "statement"), cases(TOLD))
def test_a_statement_that_leaves_a_trace_is_told(connection: sa.Connection, statement: str) -> None:
    before = was_executed(connection, statement)
    connection.exec_driver_sql(statement)
    assert (before, was_executed(connection, statement)) == (False, True)


@pytest.mark.parametrize(("kind", "statement"), cases(HARMLESS))
def test_a_statement_that_does_no_harm_twice_is_sent_again(connection: sa.Connection, statement: str) -> None:
    assert was_executed(connection, statement) is False


@pytest.mark.parametrize(("kind", "statement"), cases(UNKNOWN))
def test_of_what_leaves_no_trace_nothing_is_told(connection: sa.Connection, statement: str) -> None:
    assert was_executed(connection, statement) is None


@pytest.mark.parametrize("kind", ["postgresql"])
def test_part_of_an_alter_is_not_the_whole(connection: sa.Connection) -> None:
    statement = "ALTER TABLE account ADD COLUMN a INTEGER, ADD COLUMN b INTEGER"
    connection.exec_driver_sql("ALTER TABLE account ADD COLUMN a INTEGER")
    assert was_executed(connection, statement) is None


@pytest.mark.parametrize("kind", ["postgresql"])
def test_an_index_of_other_columns_is_not_the_one(connection: sa.Connection) -> None:
    assert was_executed(connection, "CREATE INDEX by_note ON account (login)") is None


@pytest.mark.parametrize("kind", ["postgresql"])
def test_an_index_that_a_failed_build_left_is_not_there(connection: sa.Connection) -> None:
    connection.exec_driver_sql("INSERT INTO account VALUES (1, 'a', 'x'), (2, 'a', 'y')")
    statement = 'CREATE UNIQUE INDEX CONCURRENTLY "One login" ON account (login)'
    with pytest.raises(sa.exc.IntegrityError):
        connection.exec_driver_sql(statement)
    assert was_executed(connection, statement) is False
    assert invalid_index(connection, ConcurrentIndex("One login", "account", None)) == '"public"."One login"'


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CREATE INDEX CONCURRENTLY Ix ON Shop.T (a)", ConcurrentIndex("ix", "t", "shop")),
        (
            '/* note */ create unique index concurrently if not exists "Ix" on t (lower(a))',
            ConcurrentIndex("Ix", "t", None),
        ),
        ("CREATE INDEX ix ON t (a)", None),
        ("DROP INDEX CONCURRENTLY ix", None),
        ("SELECT 'CREATE INDEX CONCURRENTLY ix ON t (a)'", None),
    ],
)
def test_a_concurrent_build_names_its_index(statement: str, expected: ConcurrentIndex | None) -> None:
    assert concurrent_index(statement) == expected


_FOREIGN_KEY = "ALTER TABLE child ADD CONSTRAINT fk_c FOREIGN KEY (parent_id) REFERENCES parent (id)"
_CHILD = "CREATE TABLE child (id INTEGER PRIMARY KEY, parent_id INTEGER, CONSTRAINT {} FOREIGN KEY (parent_id) {})"
_WITH_KEY = _CHILD.format("fk_c", "REFERENCES parent (id)")
_TWO_SCHEMAS = ("CREATE SCHEMA tenant", "SET search_path TO tenant, public")


@pytest.mark.parametrize(
    ("kind", "prepared", "statement", "expected"),
    [
        # MariaDB leaves the index of a foreign key behind, under the same name.
        ("mysql", (_WITH_KEY,), "ALTER TABLE child DROP FOREIGN KEY fk_c", False),
        ("mysql", (_WITH_KEY,), "ALTER TABLE child DROP CONSTRAINT FK_C", False),
        ("mysql", (_WITH_KEY,), _FOREIGN_KEY, True),
        ("mysql", (_WITH_KEY, "ALTER TABLE child DROP FOREIGN KEY fk_c"), _FOREIGN_KEY, False),
        (
            "mysql",
            (_WITH_KEY, "ALTER TABLE child DROP FOREIGN KEY fk_c"),
            "ALTER TABLE child DROP FOREIGN KEY fk_c",
            True,
        ),
        (
            "mysql",
            (_WITH_KEY, "ALTER TABLE child DROP FOREIGN KEY fk_c"),
            "ALTER TABLE child DROP CONSTRAINT fk_c",
            True,
        ),
        ("mysql", ("CREATE UNIQUE INDEX one ON account (login)",), "ALTER TABLE account DROP CONSTRAINT one", None),
        (
            "mysql",
            ("ALTER TABLE account ADD CONSTRAINT low CHECK (id < 9)",),
            "ALTER TABLE account DROP CONSTRAINT low",
            False,
        ),
        ("mysql", (), "ALTER TABLE account DROP CONSTRAINT low", True),
        # A plain index is no constraint.
        ("mysql", (), "ALTER TABLE account ADD CONSTRAINT by_note CHECK (id > 0)", False),
        (
            "postgresql",
            ("CREATE UNIQUE INDEX one ON account (login)",),
            "ALTER TABLE account ADD CONSTRAINT one UNIQUE (login)",
            False,
        ),
        (
            "postgresql",
            ("ALTER TABLE account ADD CONSTRAINT one CHECK (id > 0)",),
            "ALTER TABLE account ADD CONSTRAINT one UNIQUE (login)",
            None,
        ),
        ("postgresql", (), "ALTER TABLE account DROP CONSTRAINT by_note", True),
        # A CREATE without a schema makes its object in the first one of the search path.
        ("postgresql", _TWO_SCHEMAS, "CREATE TABLE gone (id INTEGER)", False),
        ("postgresql", (*_TWO_SCHEMAS, "CREATE TABLE gone (id INTEGER)"), "CREATE TABLE gone (id INTEGER)", True),
        ("postgresql", _TWO_SCHEMAS, "CREATE TABLE public.gone (id INTEGER)", True),
        ("postgresql", _TWO_SCHEMAS, "CREATE VIEW seen AS SELECT 1", False),
        ("postgresql", _TWO_SCHEMAS, "CREATE TYPE kind AS ENUM ('first')", False),
        ("postgresql", ("CREATE SEQUENCE counter", *_TWO_SCHEMAS), "CREATE SEQUENCE counter", False),
        # Others mean what is seen of the search path; behind a dropped object may be another of its name.
        ("postgresql", _TWO_SCHEMAS, "ALTER TABLE gone ADD COLUMN id INTEGER", True),
        ("postgresql", _TWO_SCHEMAS, "DROP TABLE gone", None),
        ("postgresql", _TWO_SCHEMAS, "DROP INDEX by_note", None),
        ("postgresql", _TWO_SCHEMAS, "DROP TYPE kind", None),
        ("postgresql", _TWO_SCHEMAS, "DROP TABLE public.gone", False),
        ("postgresql", (), "DROP MATERIALIZED VIEW nowhere", True),
        ("postgresql", ("CREATE MATERIALIZED VIEW kept AS SELECT 1",), "DROP MATERIALIZED VIEW kept", False),
        # The value belongs to one type, the one that is seen.
        (
            "postgresql",
            ("CREATE SCHEMA other", "CREATE TYPE other.kind AS ENUM ('ok')"),
            "ALTER TYPE kind ADD VALUE 'ok'",
            False,
        ),
        (
            "postgresql",
            ("CREATE SCHEMA other", "CREATE TYPE other.kind AS ENUM ('ok')"),
            "ALTER TYPE Other.kind ADD VALUE 'ok'",
            True,
        ),
        ("postgresql", ("CREATE TYPE \"Kind\" AS ENUM ('ok')",), "ALTER TYPE kind ADD VALUE 'ok'", False),
        ("postgresql", ("CREATE TYPE \"Kind\" AS ENUM ('ok')",), "ALTER TYPE \"Kind\" ADD VALUE 'ok'", True),
    ],
)
def test_only_what_the_statement_means_counts(
    connection: sa.Connection, prepared: tuple[str, ...], statement: str, expected: bool | None
) -> None:
    for text in prepared:
        connection.exec_driver_sql(text)
    assert was_executed(connection, statement) is expected


@pytest.mark.parametrize("kind", ["mysql"])
def test_a_table_is_looked_for_in_the_database_in_use(connection: sa.Connection) -> None:
    other = f"{connection.scalar(sa.text('SELECT database()'))}_other"
    connection.exec_driver_sql(f"CREATE DATABASE {other}")
    try:
        connection.exec_driver_sql(f"USE {other}")
        assert was_executed(connection, "CREATE TABLE gone (id INTEGER)") is False
    finally:
        connection.exec_driver_sql(f"DROP DATABASE {other}")


@pytest.mark.parametrize("kind", ["sqlite"])
def test_percent_signs_are_taken_as_they_are_where_the_driver_does(connection: sa.Connection) -> None:
    connection.exec_driver_sql('CREATE TABLE "5%%" (id INTEGER)')
    assert was_executed(connection, 'CREATE TABLE "5%%" (id INTEGER)') is True
    assert was_executed(connection, 'CREATE TABLE "5%" (id INTEGER)') is False


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_the_parser_does_not_talk_and_is_not_silenced_for_good(
    connection: sa.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("sqlglot")
    before = (logger.disabled, logger.level, list(logger.filters))
    was_executed(connection, "CREATE TRIGGER keep BEFORE INSERT ON account FOR EACH ROW SET NEW.login = 'x'")
    assert ([record.name for record in caplog.records], (logger.disabled, logger.level, logger.filters)) == ([], before)
