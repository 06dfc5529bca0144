"""Waiting for locks: how long, how often again, and who is in the way."""

from __future__ import annotations

import random
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass

import sqlalchemy as sa

from ..dialects import Blocker

BASE_S, CAP_S = 0.5, 10.0


@dataclass(frozen=True)
class Timeouts:
    """How long a statement may wait and take, and how long a step may be retried, in seconds; 0 for no limit.

    ``budget_s`` counts from the first time that a lock was not to be had; with 0 nothing is retried.
    """

    lock_s: float = 2.0
    statement_s: float = 0.0
    budget_s: float = 60.0


def backoff(attempt: int, base_s: float = BASE_S, cap_s: float = CAP_S, chance: float | None = None) -> float:
    """Return seconds to wait before retry ``attempt`` (the first retry is 1).

    Full jitter over ``base_s * 2 ** (attempt - 1)``, at most ``cap_s``.

    :param chance: a number from 0 to 1 in place of a random one.
    :raises ValueError: if ``attempt`` is below 1.
    """
    if attempt < 1:
        raise ValueError("the first retry is 1")
    most = min(cap_s, base_s * float(2 ** min(attempt - 1, 32)))
    return most * (random.random() if chance is None else chance)


class Budget:
    """The retries of one step."""

    def __init__(self, timeouts: Timeouts, clock: Callable[[], float]) -> None:
        self.timeouts = timeouts
        self.clock = clock
        self.attempts = 0
        self._deadline: float | None = None

    def next_pause(self) -> float | None:
        """Return the seconds to wait before the next attempt; None where that could not end within the budget."""
        moment = self.clock()
        if self._deadline is None:
            self._deadline = moment + self.timeouts.budget_s
        self.attempts += 1
        pause = backoff(self.attempts)
        left = self._deadline - moment - self.timeouts.lock_s
        if left <= 0:
            return None
        return min(pause, left)


Ask = Callable[[int], tuple[Blocker, ...]]


class Watch:
    """Looks after the statement that is at the server, from a thread.

    From time to time, who keeps it waiting: asked on a session of its own, since the migration's is waiting, and
    afterwards nobody can tell any more. And whether a signal asks to stop, while the driver does not come back to
    Python, where the signal's handler would run: then ``interrupt`` is called.
    """

    def __init__(
        self, ask: Callable[[], AbstractContextManager[Ask]], interrupt: Callable[[], None], interval_s: float
    ) -> None:
        self._ask = ask
        self._interrupt = interrupt
        self._interval_s = interval_s
        self._since: float | None = None
        self.session: int | None = None
        self.blockers: tuple[Blocker, ...] = ()

    def sent(self, session: int | None) -> None:
        """Note that a statement is at the server."""
        self.session, self._since = session, time.monotonic()

    def answered(self) -> None:
        """Note that the server has answered."""
        self._since = None

    @contextmanager
    def running(self) -> Iterator[Watch]:
        """Watch for the block."""
        inside, outside = socket.socketpair()
        thread = threading.Thread(target=self._look, args=(inside,), name="statement-watch", daemon=True)
        with inside, outside, _woken_by_signals(outside):
            thread.start()
            try:
                yield self
            finally:
                outside.send(_STOP)
                thread.join(5)

    def _look(self, inside: socket.socket) -> None:
        signalled_s: float | None = None
        with ExitStack() as opened:
            ask: Ask | None = None
            while True:
                if select.select([inside], [], [], self._interval_s)[0]:
                    if _STOP in inside.recv(64):
                        return
                    signalled_s = time.monotonic()
                since = self._since
                if since is None:
                    continue
                if signalled_s is not None and time.monotonic() - signalled_s > _GRACE_S:
                    signalled_s = None
                    with suppress(Exception):
                        self._interrupt()
                elif self.session is not None and time.monotonic() - since >= self._interval_s:
                    with suppress(sa.exc.SQLAlchemyError):
                        ask = ask or opened.enter_context(self._ask())
                        self.blockers = ask(self.session) or self.blockers


# A driver that looks at signals itself is back in Python by then.
_GRACE_S = 0.5
# No signal has this number.
_STOP = b"\0"


@contextmanager
def _woken_by_signals(outside: socket.socket) -> Iterator[None]:
    """Have the numbers of the signals that this process gets written to a socket, as far as that is possible."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outside.setblocking(False)
    before = signal.set_wakeup_fd(outside.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
