"""The words that are stored, and the statements that move the version table."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from support import connect, table_names

from flask_phased_migrate.plan import History, Record, Step
from flask_phased_migrate.recorder import (
    TEXT_LIMIT,
    Recorder,
    Runner,
    describe_error,
    describe_traceback,
    hide_secrets,
    read_history,
    read_journal,
    shorten,
)
from flask_phased_migrate.tables import build_tables, pointer_changes, pointer_statement


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://ann:secret@host/db", "postgresql://ann:***@host/db"),
        ("at 'mysql+pymysql://u:p@ss/w:rd@host/db'", "at 'mysql+pymysql://u:***@host/db'"),
        ("a://u:one@h and b://u:two@h", "a://u:***@h and b://u:***@h"),
        ("host=h password=secret dbname=x", "host=h password=*** dbname=x"),
        ("(using password: YES)", "(using password: YES)"),
        ("https://example.org/page:2", "https://example.org/page:2"),
        ("postgresql://ann@host/db", "postgresql://ann@host/db"),
    ],
)
def test_passwords_are_hidden(text: str, expected: str) -> None:
    assert hide_secrets(text) == expected


def test_a_known_secret_is_hidden_as_a_whole_word_only() -> None:
    assert hide_secrets("login s3 failed for s3x, s%2F", "s3", "s/") == "login *** failed for s3x, ***"


@pytest.mark.parametrize("parameters", [{"x": "ann@example"}, ("ann@example",), [{"x": "ann@example"}]])
def test_bound_parameters_are_hidden_in_the_drivers_words(parameters: object) -> None:
    error = sa.exc.IntegrityError("INSERT INTO a", parameters, Exception("Key (mail)=(ann@example) already exists."))
    assert describe_error(error) == "Key (mail)=(***) already exists.\n[SQL: INSERT INTO a]"


def test_a_short_parameter_is_hidden_only_where_it_is_a_value() -> None:
    error = sa.exc.IntegrityError("INSERT", {"x": 1}, Exception("LINE 1: duplicate entry '1' in t1"))
    assert describe_error(error) == "LINE 1: duplicate entry '***' in t1\n[SQL: INSERT]"


def test_a_traceback_has_all_causes_oldest_first() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as cause:
            raise ValueError("second") from cause
    except ValueError as error:
        blocks = describe_traceback(error).split("\n\nThe above was caused by, or came after:\n\n")
    assert [block.splitlines()[-1] for block in blocks] == ["builtins.KeyError: 'first'", "builtins.ValueError: second"]


def test_a_text_is_shortened_to_its_ends() -> None:
    text = shorten("a" * TEXT_LIMIT + "b")
    assert text.startswith("aaa")
    assert text.endswith("\n[... 1 characters cut ...]\n" + "a" * (TEXT_LIMIT // 2 - 1) + "b")


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (set(), {"1"}, ["Insert"]),
        ({"1"}, {"2"}, ["Update"]),
        ({"1"}, {"1", "2"}, ["Insert"]),
        ({"a", "b", "c"}, {"m"}, ["Delete", "Delete", "Update"]),
        ({"m"}, {"a", "b"}, ["Update", "Insert"]),
        ({"1"}, set(), ["Delete"]),
        ({"1"}, {"1"}, []),
    ],
)
def test_the_version_table_is_moved_by_an_update_where_a_row_can_be_kept(
    before: set[str], after: set[str], kinds: list[str]
) -> None:
    changes = pointer_changes(frozenset(before), frozenset(after))
    statements = [pointer_statement(build_tables(), kind, row) for kind, row in changes]
    assert [type(statement).__name__ for statement in statements] == kinds


def test_reading_creates_nothing(database_url: str) -> None:
    with connect(database_url) as connection:
        history = read_history(connection, "default", build_tables())
        executions = read_journal(connection, build_tables())
    assert history == History("default", dialect=history.dialect, has_version_table=False)
    assert (executions, table_names(database_url)) == ((), set())


def test_rows_come_back_as_the_values_that_were_written(database_url: str) -> None:
    tables = build_tables()
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        recorder = Recorder(connection, tables, Runner("run", "ann", "1.0", "host", 7))
        recorder.ensure_tables()
        first = recorder.record_began("upgrade", "1", "final")
        second = recorder.record_began("upgrade", "2", "final")
        with connection.begin():
            recorder.record_ended(first, "failed", 0.25, ValueError("naïve 😀"))
            recorder.record_ended(second, "done", 1.0)
            recorder.record_status(Step("default", "2", "final"), "failed", statement=3, checksum="abc")
            recorder.move_pointer(frozenset(), frozenset({"1"}))
        history = read_history(connection, "default", tables)
        failed = read_journal(connection, tables, errors=True)
    record = history.records[("2", "final")]
    assert (history.heads, history.last) == (frozenset({"1"}), {("1", "final"): "failed"})
    assert record == Record("2", "final", "failed", 3, None, "abc", "run", record.started_at, None)
    assert [(row.id, row.error, row.duration_ms, row.operator, row.pid) for row in failed] == [
        (first, "naïve 😀", 250, "ann", 7)
    ]


def test_an_open_failure_is_one_that_no_success_has_answered(sqlite_url: str) -> None:
    tables = build_tables()
    engine = sa.create_engine(sqlite_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        recorder = Recorder(connection, tables, Runner("run"))
        recorder.ensure_tables()
        with connection.begin():
            for revision, status in (("1", "failed"), ("1", "done"), ("2", "done"), ("2", "failed")):
                recorder.insert_execution("upgrade", revision, "final", status)  # type: ignore[arg-type]
        rows = read_journal(connection, tables, open_only=True)
    assert [(row.revision, row.status) for row in rows] == [("2", "failed")]


def test_a_version_row_that_is_gone_is_an_error(database_url: str) -> None:
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        recorder = Recorder(connection, build_tables(), Runner("run"))
        recorder.ensure_tables()
        with connection.begin(), pytest.raises(RuntimeError, match="changed by somebody else"):
            recorder.move_pointer(frozenset({"1"}), frozenset({"2"}))
