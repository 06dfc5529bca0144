"""What the adapters know of each engine."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from support import connect

from flask_phased_migrate.dialects import LockName, adapter_for, first_word, is_autocommit, run_lock


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("SELECT 1", "select"),
        ("  \n\t(select 1)", "select"),
        ("-- note\nALTER TABLE a", "alter"),
        ("/* a */ -- b\n # c\nINSERT INTO a", "insert"),
        (";; commit;", "commit"),
        ("-- only a note", ""),
        ("", ""),
    ],
)
def test_the_first_word_is_found_behind_comments(statement: str, word: str) -> None:
    assert first_word(statement) == word


@pytest.mark.parametrize(
    ("statement", "commits"),
    [
        ("ALTER TABLE a ADD x integer", True),
        ("create index i on a (x)", True),
        ("TRUNCATE a", True),
        ("INSERT INTO a VALUES (1)", False),
        ("WITH x AS (SELECT 1) SELECT * FROM x", False),
        ("SET FOREIGN_KEY_CHECKS=0", False),
        ("SAVEPOINT one", False),
        ("ROLLBACK TO SAVEPOINT one", False),
    ],
)
def test_mysql_commits_before_ddl_only(statement: str, commits: bool) -> None:
    assert adapter_for("mysql").commits_implicitly(statement) is commits
    assert adapter_for("mariadb").commits_implicitly(statement) is commits


@pytest.mark.parametrize("name", ["postgresql", "sqlite"])
def test_other_engines_commit_nothing_by_themselves(name: str) -> None:
    assert adapter_for(name).commits_implicitly("ALTER TABLE a ADD x integer") is False


def test_of_an_unknown_engine_the_worst_is_assumed() -> None:
    assert adapter_for("oracle").commits_implicitly("SELECT 1") is True


def test_only_engines_that_roll_ddl_back_are_transactional(database_url: str) -> None:
    with connect(database_url) as connection:
        found = adapter_for(connection.dialect.name).transactional(connection)
    assert found is not database_url.startswith("mysql")


def test_an_autocommit_connection_is_not_transactional(postgresql_url: str) -> None:
    engine = sa.create_engine(postgresql_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        assert is_autocommit(connection) is True
        assert adapter_for("postgresql").transactional(connection) is False


def test_a_lock_is_held_by_one_and_seen_by_all(database_url: str) -> None:
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    adapter = adapter_for(engine.dialect.name)
    name = adapter.lock_name(engine, "alembic_version", None)

    def is_locked() -> bool:
        with engine.connect() as connection:
            return adapter.is_locked(connection, name)

    before = is_locked()
    with run_lock(adapter, engine, name, wait_s=0) as first, run_lock(adapter, engine, name, wait_s=0) as second:
        held = is_locked()
    assert (before, first.taken, second.taken, held, is_locked()) == (False, True, False, True, False)


def test_waiting_for_a_lock_ends_at_its_deadline(sqlite_url: str) -> None:
    engine = sa.create_engine(sqlite_url, poolclass=sa.NullPool)
    adapter = adapter_for("sqlite")
    name = adapter.lock_name(engine, "alembic_version", None)
    moments = iter([0.0, 0.1, 0.1, 0.9, 0.9, 1.0])
    naps: list[float] = []
    with run_lock(adapter, engine, name, wait_s=0), run_lock(
        adapter, engine, name, wait_s=1.0, sleep=naps.append, clock=lambda: next(moments)
    ) as taken:  # fmt: skip
        assert taken.taken is False
    assert naps == [0.2, pytest.approx(0.1)]


def test_locks_of_different_version_tables_have_different_names() -> None:
    names = [LockName("db", "", "alembic_version"), LockName("db", "s", "alembic_version"), LockName("db", "", "other")]
    assert len({name.digest for name in names}) == len({name.number for name in names}) == 3
    assert all(len(name.digest) == 40 and -(2**63) <= name.number < 2**63 for name in names)
