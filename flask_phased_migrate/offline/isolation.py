"""No database while a body is only written out: a session that it opens by itself would run for real."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from ..errors import MigrateError


class DatabaseRead(MigrateError):
    """A body asked for a database connection while there is none to be had."""


@contextmanager
def no_database() -> Iterator[None]:
    """Refuse every connection of SQLAlchemy's that this thread asks for in the block, to whichever database.

    :raises DatabaseRead: where one is asked for.
    """
    thread = threading.get_ident()

    def refuse(*_arguments: Any) -> None:
        if threading.get_ident() == thread:
            raise DatabaseRead("it opens a connection to a database")

    # Of the class, so of every pool there is. An event of engines would stay switched on for all of them.
    sa.event.listen(sa.pool.Pool, "checkout", refuse)
    try:
        yield
    finally:
        sa.event.remove(sa.pool.Pool, "checkout", refuse)
