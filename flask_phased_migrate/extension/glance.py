"""What a database says, for commands that find nothing to do: without env.py, where that is the one we wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..index import read_index
from ..listing import Listing, plain_listing
from .listing import PlainFolder, plain_folder, read_plain_graph, read_plain_phases
from .state import current_settings, engines_of

if TYPE_CHECKING:
    from ..plan import BindStatus

_OUR_ENV = Path(__file__).parent.parent / "templates" / "flask" / "env.py"


class Glance(NamedTuple):
    """The rows of the version table, None where there is no such table, and what the index says of the files.

    Only of a database whose ledger is empty: nothing is in flight.
    """

    rows: frozenset[str] | None
    listing: Listing

    @property
    def is_at_head(self) -> bool:
        """Whether the database is at the head, so that there is nothing to do."""
        return self.rows == frozenset({self.listing.head})


def read_glance(directory: str | None) -> Glance | None:
    """Return what one look shows, None where env.py has to run, or Alembic to be asked.

    :raises DatabaseUnreachable: if there is no connection.
    """
    folder = own_folder(directory)
    index = None if folder is None else read_index([folder.versions])
    listing = None if index is None else plain_listing(index)
    return None if listing is None else _look(listing)


def read_status(directory: str | None) -> tuple[BindStatus, ...] | None:
    """Return the state of the one bind, None where env.py has to run, or Alembic to be asked.

    :raises DatabaseUnreachable: if there is no connection.
    """
    folder = own_folder(directory)
    graph = None if folder is None else read_plain_graph(folder)
    if folder is None or graph is None:
        return None
    from ..phases import DEFAULT_BIND
    from ..plan import bind_status
    from ..recorder import read_history
    from ..tables import build_tables

    phases = read_plain_phases(folder)
    assert phases is not None
    with _connected() as connection:
        history = read_history(connection, DEFAULT_BIND, build_tables(*_table()))
    return (bind_status(graph, history, phases),)


def own_folder(directory: str | None) -> PlainFolder | None:
    """Return a plain folder whose env.py is as ``flask db init`` wrote it, for the unnamed database alone."""
    folder = plain_folder(directory)
    if folder is None or folder.options.get("binds", "default") != "default":
        return None
    if Path(folder.dir, "env.py").read_bytes() != _OUR_ENV.read_bytes():
        return None
    return folder if None in engines_of(current_settings().db) else None


def _table() -> tuple[str, str | None]:
    """Return the name and the schema of the version table, as our env.py gives them to Alembic."""
    options = current_settings().configure_args
    return options.get("version_table") or "alembic_version", options.get("version_table_schema")


@contextmanager
def _connected() -> Iterator[Any]:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        connection = engines_of(current_settings().db)[None].connect()
    except (SQLAlchemyError, ImportError):
        from ..environment import connection_errors

        with connection_errors():
            raise
    with connection:
        yield connection


def _look(listing: Listing) -> Glance | None:
    import sqlalchemy as sa

    name, schema = _table()
    with _connected() as connection:
        if connection.get_execution_options().get("schema_translate_map"):
            return None
        quote = connection.dialect.identifier_preparer.quote
        before = f"{quote(schema)}." if schema else ""
        try:
            inspector = sa.inspect(connection)
            ledger = f"{name}_phase"
            in_flight = f"SELECT 1 FROM {before}{quote(ledger)}"
            if inspector.has_table(ledger, schema=schema) and connection.exec_driver_sql(in_flight).first() is not None:
                return None
            if not inspector.has_table(name, schema=schema):
                return Glance(None, listing)
            rows = connection.exec_driver_sql(f"SELECT version_num FROM {before}{quote(name)}").scalars().all()
        except sa.exc.DBAPIError:
            # The whole command has the words for it, or does without.
            return None
    return Glance(frozenset(rows), listing)
