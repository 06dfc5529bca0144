"""Listening to SQLAlchemy's classes in one thread while others use their databases."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_phased_migrate.inspection import _Notes, _without_databases
from flask_phased_migrate.listeners import POOL_CHECKOUT
from flask_phased_migrate.offline.isolation import DatabaseRead, no_database


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    yield sa.create_engine(f"sqlite:///{tmp_path}/x.sqlite3", poolclass=sa.NullPool)


@pytest.fixture
def nervous() -> Iterator[None]:
    """Let threads take turns so often that what can meet does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_a_function_hears_its_own_thread_while_the_block_lasts(engine: sa.Engine) -> None:
    heard: list[str] = []

    def use() -> None:
        engine.connect().close()

    with POOL_CHECKOUT.calling(lambda *_arguments: heard.append("outer")):
        with POOL_CHECKOUT.calling(lambda *_arguments: heard.append("inner")):
            use()
        use()
        other = threading.Thread(target=use)
        other.start()
        other.join()
    use()

    assert heard == ["outer", "inner", "outer"]


def test_a_database_is_refused_to_this_thread_alone(engine: sa.Engine) -> None:
    answers: list[object] = []

    def ask() -> None:
        with engine.connect() as connection:
            answers.append(connection.scalar(sa.text("SELECT 1")))

    with no_database():
        other = threading.Thread(target=ask)
        other.start()
        other.join()
        with pytest.raises(DatabaseRead):
            ask()

    assert answers == [1]


def test_looking_at_bodies_breaks_no_query_of_another_thread(engine: sa.Engine, nervous: None) -> None:
    """It did: "deque mutated during iteration", in whichever request used its engine just then."""
    errors: list[BaseException] = []
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            try:
                with engine.connect() as connection:
                    connection.exec_driver_sql("SELECT 1")
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        with no_database():
            pass
        with _without_databases(_Notes("")):
            pass
    done.set()
    for thread in threads:
        thread.join()

    assert errors == []
