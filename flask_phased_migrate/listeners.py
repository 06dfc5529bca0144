"""Listening to all of SQLAlchemy's engines, pools or sessions in one thread, while others go on with theirs.

SQLAlchemy goes through the listeners of a class while an event happens. One that is added or taken away by another
thread just then is a RuntimeError in that event ("deque mutated during iteration"), which may be a request of the
application. So each of ours is put there once and stays; it calls what the thread has given it, mostly nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session


class ThreadListener:
    """A place to listen to one event of a class, in the thread that asks for it.

    :param target: the class; ``event`` is the name of the event.
    """

    def __init__(self, target: Any, event: str) -> None:
        self._target = target
        self._event = event
        self._lock = threading.Lock()
        self._is_there = False
        self._own = threading.local()

    @contextmanager
    def calling(self, function: Callable[..., None]) -> Iterator[None]:
        """Call ``function`` at each event of this thread in the block."""
        self._settle()
        functions: list[Callable[..., None]] = self._functions()
        functions.append(function)
        try:
            yield
        finally:
            functions.remove(function)

    def _settle(self) -> None:
        with self._lock:
            if not self._is_there:
                sa.event.listen(self._target, self._event, self._hear)
                self._is_there = True

    def _functions(self) -> list[Callable[..., None]]:
        functions: list[Callable[..., None]] = self._own.__dict__.setdefault("functions", [])
        return functions

    def _hear(self, *arguments: Any) -> None:
        for function in tuple(self._functions()):
            function(*arguments)


POOL_CHECKOUT = ThreadListener(sa.pool.Pool, "checkout")
ENGINE_USE = tuple(ThreadListener(sa.Engine, event) for event in ("do_connect", "before_cursor_execute", "commit"))
SESSION_FLUSH = ThreadListener(Session, "before_flush")
SESSION_ATTACH = ThreadListener(Session, "before_attach")
SESSION_BEGIN = ThreadListener(Session, "after_transaction_create")
TABLE_ATTACHED = ThreadListener(sa.Table, "after_parent_attach")
