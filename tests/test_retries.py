"""How long to wait for a lock, and how often again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flask_phased_migrate.dialects import Blocker
from flask_phased_migrate.executor.retries import Ask, Budget, Timeouts, Watch, backoff


@pytest.mark.parametrize(("attempt", "expected"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 10.0), (4000, 10.0)])
def test_the_pause_doubles_up_to_its_cap(attempt: int, expected: float) -> None:
    assert backoff(attempt, chance=1.0) == expected


def test_the_pause_is_random_from_nothing_to_the_whole() -> None:
    found = [backoff(3) for _ in range(200)]
    assert 0 <= min(found) < 0.5 < 1.5 < max(found) <= 2.0


def test_there_is_no_retry_zero() -> None:
    with pytest.raises(ValueError, match="the first retry is 1"):
        backoff(0)


def test_a_budget_counts_from_the_first_time() -> None:
    moments = iter([1000.0, 1005.0, 1008.5])
    budget = Budget(Timeouts(lock_s=2.0, budget_s=10.0), lambda: next(moments))
    first, second, third = budget.next_pause(), budget.next_pause(), budget.next_pause()
    assert first is not None
    assert second is not None
    assert (first <= 0.5, second <= 1.0, third) == (True, True, None)


def test_an_attempt_that_could_not_end_in_time_is_not_made() -> None:
    budget = Budget(Timeouts(lock_s=2.0, budget_s=1.5), lambda: 0.0)
    assert budget.next_pause() is None


@contextmanager
def asking() -> Iterator[Ask]:
    yield lambda session: (Blocker(session, "ann", "active", "now"),)


def nothing() -> None:
    """Interrupt nothing."""


def test_a_watch_asks_who_blocks_a_statement_that_takes_long() -> None:
    watch = Watch(asking, nothing, 0.02)
    with watch.running():
        watch.sent(7)
        wait_until(lambda: bool(watch.blockers))
    assert watch.blockers == (Blocker(7, "ann", "active", "now"),)


def test_a_watch_asks_nothing_where_the_server_answers() -> None:
    watch = Watch(asking, nothing, 0.02)
    with watch.running():
        watch.sent(7)
        watch.answered()
        time.sleep(0.2)
    assert watch.blockers == ()


def test_a_signal_interrupts_a_driver_that_does_not_come_back() -> None:
    interrupted = threading.Event()
    watch = Watch(asking, interrupted.set, 0.02)
    with pytest.raises(KeyboardInterrupt), watch.running():
        watch.sent(7)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    # Here Python came back by itself: the statement is over as far as the watch can see only when it is told so.
    assert not interrupted.is_set()


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
