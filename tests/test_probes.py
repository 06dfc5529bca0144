"""What the database tells of a statement that may have been executed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

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
    ),
    "mysql": (
        "ALTER TABLE account MODIFY login VARCHAR(60)",
        "ALTER TABLE account ADD COLUMN IF NOT EXISTS login VARCHAR(50)",
        "ALTER TABLE account ALTER COLUMN login SET DEFAULT 'x'",
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
    ),
    "postgresql": (
        "TRUNCATE account",
        "DO $$ BEGIN NULL; END $$",
        "CALL work()",
        "ALTER TABLE nowhere ADD COLUMN a INTEGER",
    ),
    "mysql": ("TRUNCATE TABLE account", "SET STATEMENT max_statement_time=1 FOR DELETE FROM account", "KILL 1"),
    "sqlite": (),
}


def cases(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Return (engine, statement) pairs."""
    return [(kind, text) for kind in ("sqlite", "postgresql", "mysql") for text in (*table["all"], *table[kind])]


@pytest.fixture
def connection(kind: str, request: pytest.FixtureRequest) -> Iterator[sa.Connection]:
    """A connection to a database that has the tables of BEFORE; every statement is committed at once."""
    engine = sa.create_engine(
        request.getfixturevalue(f"{kind}_url"), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as made:
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
