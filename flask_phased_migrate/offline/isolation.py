"""No database while a body is only written out: a session that it opens by itself would run for real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from ..errors import MigrateError
from ..listeners import POOL_CHECKOUT


class DatabaseRead(MigrateError):
    """A body asked for a database connection while there is none to be had."""


_OURS = "flask_phased_migrate"


def allow_connections(engine: sa.Engine) -> None:
    """Let an engine give connections while there is no database: one in memory, of our own."""
    sa.event.listen(engine, "connect", lambda _driver, record: record.info.update({_OURS: True}))


@contextmanager
def no_database() -> Iterator[None]:
    """Refuse every connection of SQLAlchemy's that this thread asks for in the block, to whichever database.

    :raises DatabaseRead: where one is asked for.
    """

    def refuse(_driver: Any, record: Any, *_rest: Any) -> None:
        if not record.info.get(_OURS):
            raise DatabaseRead("it opens a connection to a database")

    # Of the class, so of every pool there is. An event of engines would stay switched on for all of them.
    with POOL_CHECKOUT.calling(refuse):
        yield
