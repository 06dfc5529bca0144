"""The bookkeeping of a step, sent as one message where the engine takes several statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from support import fresh_database, server_url

from flask_phased_migrate.plan import Step
from flask_phased_migrate.recorder import Recorder, Runner, read_journal
from flask_phased_migrate.tables import build_tables
from flask_phased_migrate.writer import literal

TABLES = build_tables()
STEP = Step("default", "2", "final")
AWKWARD = "O'Brien \\ % %% %(name)s :x 😀 \\' ; --"


@dataclass
class Bookkeeping:
    """A recorder on a connection, and the statements that it has sent."""

    connection: sa.Connection
    recorder: Recorder
    sent: list[str]

    def end_step(self, before: set[str], after: set[str], *, commits: bool = False, going_on: bool = False) -> int:
        """Write what ends one step and begins the next; return the id of the next."""
        with self.recorder.together() as written:
            self.recorder.record_status(STEP, "done", statement=4)
            self.recorder.move_pointer(frozenset(before), frozenset(after))
            self.recorder.record_ended(1, "done", 0.5)
            self.recorder.insert_execution("upgrade", AWKWARD, "final", "running")
            if commits:
                written.commit_with_it(going_on=going_on)
        return written.inserted

    def seen_by_others(self) -> set[int]:
        """Return the ids of the journal as another session sees them."""
        with self.connection.engine.connect() as other:
            return set(other.scalars(sa.select(TABLES.journal.c.id)))

    def rows(self) -> tuple[list[str], list[tuple[str, int]], list[tuple[int | None, str | None, str, str | None]]]:
        """Return the version table, the ledger and the journal, oldest first."""
        heads = list(self.connection.scalars(sa.select(TABLES.version.c.version_num)))
        ledger = [tuple(row) for row in self.connection.execute(sa.select(TABLES.ledger.c["status", "statement"]))]
        journal = [
            (row.id, row.revision, row.status, row.operator) for row in reversed(read_journal(self.connection, TABLES))
        ]
        self.connection.rollback()
        return heads, ledger, journal  # type: ignore[return-value]


@pytest.fixture(params=["sqlite", "postgresql", "postgresql+psycopg2", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database on each engine; PostgreSQL's with each of its drivers."""
    engine, _, driver = request.param.partition("+")
    with fresh_database(engine, tmp_path) as found:
        yield found.replace("+psycopg:", f"+{driver}:") if driver else found


@pytest.fixture
def bookkeeping(url: str) -> Iterator[Bookkeeping]:
    """A recorder whose version table has row 1, and whose journal has one running execution."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        recorder = Recorder(connection, TABLES, Runner("run", AWKWARD, "1.0", "host", 7), {})
        recorder.ensure_tables()
        recorder.record_began("upgrade", "1", "final")
        with connection.begin():
            recorder.move_pointer(frozenset(), frozenset({"1"}))
        sent: list[str] = []
        sa.event.listen(connection, "before_cursor_execute", lambda *given: sent.append(given[2]))
        yield Bookkeeping(connection, recorder, sent)


DONE = (["2"], [("done", 4)], [(1, "1", "done", AWKWARD), (2, AWKWARD, "running", AWKWARD)])
BEFORE = (["1"], [], [(1, "1", "running", AWKWARD)])


def test_all_is_written_and_the_id_of_the_next_execution_is_known(bookkeeping: Bookkeeping) -> None:
    with bookkeeping.connection.begin():
        assert bookkeeping.end_step({"1"}, {"2"}) == 2
    assert bookkeeping.rows() == DONE


def test_servers_that_take_several_statements_get_one_message(bookkeeping: Bookkeeping) -> None:
    with bookkeeping.connection.begin():
        bookkeeping.end_step({"1"}, {"2"})
    expected = 4 if bookkeeping.connection.dialect.name == "sqlite" else 1
    assert len(bookkeeping.sent) == expected, bookkeeping.sent


def test_a_version_row_that_somebody_else_moved_ends_the_transaction(bookkeeping: Bookkeeping) -> None:
    with pytest.raises(RuntimeError, match="changed by somebody else during this run"), bookkeeping.connection.begin():
        bookkeeping.end_step({"other"}, {"2"})
    assert bookkeeping.rows() == BEFORE


def test_a_message_that_commits_commits_nothing_of_a_version_row_that_is_gone(bookkeeping: Bookkeeping) -> None:
    with pytest.raises(RuntimeError, match="changed by somebody else during this run"), bookkeeping.connection.begin():
        bookkeeping.end_step({"other"}, {"2"}, commits=True)
    assert bookkeeping.rows() == BEFORE


def test_the_same_is_written_where_the_message_commits(bookkeeping: Bookkeeping) -> None:
    with bookkeeping.connection.begin():
        bookkeeping.end_step({"1"}, {"2"}, commits=True)
    assert bookkeeping.rows() == DONE


@pytest.mark.parametrize("going_on", [False, True])
def test_what_is_written_after_a_message_that_commits_is_committed_by_its_own_commit(
    bookkeeping: Bookkeeping, going_on: bool
) -> None:
    with bookkeeping.recorder.committing(), bookkeeping.connection.begin():
        bookkeeping.end_step({"1"}, {"2"}, commits=True, going_on=going_on)
    assert bookkeeping.seen_by_others() == {1, 2}
    with bookkeeping.connection.begin():
        bookkeeping.recorder.insert_execution("upgrade", "2", "final", "running")
    assert bookkeeping.seen_by_others() == {1, 2, 3}


@pytest.mark.parametrize("going_on", [False, True])
def test_what_is_rolled_back_after_a_message_that_commits_is_only_what_came_after(
    bookkeeping: Bookkeeping, going_on: bool
) -> None:
    with bookkeeping.recorder.committing(), bookkeeping.connection.begin():
        bookkeeping.end_step({"1"}, {"2"}, commits=True, going_on=going_on)
    with pytest.raises(ZeroDivisionError), bookkeeping.connection.begin():
        bookkeeping.recorder.insert_execution("upgrade", "2", "final", "running")
        raise ZeroDivisionError
    assert bookkeeping.rows() == DONE


def test_the_next_commit_is_one_where_a_listener_has_stopped_that_of_a_message(bookkeeping: Bookkeeping) -> None:
    def veto(_connection: sa.Connection) -> None:
        raise ZeroDivisionError

    sa.event.listen(bookkeeping.connection, "commit", veto)
    with pytest.raises(ZeroDivisionError), bookkeeping.recorder.committing(), bookkeeping.connection.begin():
        bookkeeping.end_step({"1"}, {"2"}, commits=True, going_on=True)
    sa.event.remove(bookkeeping.connection, "commit", veto)
    bookkeeping.connection.rollback()
    bookkeeping.recorder.reread()
    bookkeeping.connection.rollback()
    with bookkeeping.connection.begin():
        id_ = bookkeeping.recorder.insert_execution("upgrade", "3", "final", "running")
    assert id_ in bookkeeping.seen_by_others()


def test_several_rows_of_the_version_table_are_changed_in_one_message(bookkeeping: Bookkeeping) -> None:
    with bookkeeping.connection.begin():
        bookkeeping.recorder.move_pointer(frozenset({"1"}), frozenset({"1", "a", "b"}))
    with bookkeeping.connection.begin():
        bookkeeping.end_step({"1", "a", "b"}, {"2"})
    assert bookkeeping.rows() == DONE


def test_an_error_of_the_message_does_not_show_it(bookkeeping: Bookkeeping) -> None:
    with (
        pytest.raises(sa.exc.DBAPIError) as caught,
        bookkeeping.connection.begin(),
        bookkeeping.recorder.together(),
    ):
        bookkeeping.recorder.record_ended(1, "done", 0.5)
        bookkeeping.recorder.insert_execution("upgrade", "2", "final", None)  # type: ignore[arg-type]
    if bookkeeping.connection.dialect.name != "sqlite":
        assert caught.value.statement == "(the rows of this step in alembic_version and beside it)"
    assert bookkeeping.rows() == BEFORE


@pytest.fixture(scope="module")
def servers() -> Iterator[list[sa.Connection]]:
    """Connections on which backslashes mean something, and on which they do not."""
    with ExitStack() as stack:
        found = []
        for kind, setting in (
            ("postgresql", "SET standard_conforming_strings = on"),
            ("postgresql", "SET standard_conforming_strings = off"),
            ("mysql", "SET SESSION sql_mode = ''"),
            ("mysql", "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'"),
        ):
            engine = sa.create_engine(server_url(kind), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
            connection = stack.enter_context(engine.connect())
            connection.exec_driver_sql(setting)
            found.append(connection)
        yield found


@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30))
@settings(deadline=None, max_examples=60)
def test_a_literal_is_the_value_whatever_the_session_says_of_backslashes(
    servers: list[sa.Connection], text: str
) -> None:
    for connection in servers:
        written = literal(text, escapes=connection.dialect.name == "postgresql")
        found = connection.exec_driver_sql(f"SELECT {written}", execution_options={"no_parameters": True}).scalar()
        assert found == text
