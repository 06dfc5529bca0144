"""What a database says, for commands that find nothing to do: without env.py where that is the one we wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..index import Part, read_index
from ..listing import Listing, plain_listing
from .listing import PlainFolder, plain_folder, read_plain_graph, read_plain_phases
from .state import current_settings, engines_of

if TYPE_CHECKING:
    from ..plan import BindStatus

_RUN_OPTIONS = (
    *("phases", "default-phase", "boundary"),
    *("lock-wait", "lock-timeout", "statement-timeout", "retry-budget"),
)
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


def read_glance(directory: str | None, *, wanted: Part, of_empty: bool = True) -> Glance | None:
    """Return what one look shows, None where there is more to ask.

    :param wanted: how much of the index will be asked for.
    :param of_empty: whether to look on where the database has no revision. An index is not begun for nothing.
    :raises DatabaseUnreachable: if there is no connection.
    """
    folder = plain_folder(directory)
    if folder is None:
        return None
    if not _is_ours(folder):
        listing = _read_listing(folder, wanted)
        rows = None if listing is None else _rows_by_env_file(directory, folder)
    else:
        rows = _read_rows()
        listing = _read_listing(folder, wanted) if rows is not None and (of_empty or rows.ids) else None
    return None if rows is None or listing is None else Glance(rows.ids, listing)


def _read_listing(folder: PlainFolder, wanted: Part) -> Listing | None:
    index = read_index([folder.versions], wanted=wanted)
    return None if index is None else plain_listing(index)


def is_at(directory: str | None, revision: str) -> bool:
    """Return whether one look shows that the database is at a target, which is the head, and nothing is in flight.

    :raises ConfigurationError: if a run with these settings would be refused.
    :raises DatabaseUnreachable: if there is no connection.
    """
    folder = plain_folder(directory) if revision in ("head", "heads") else None
    if folder is None or folder.interpolates(*_RUN_OPTIONS):
        return False
    current_settings().migrate.check_run_settings(folder)
    found = read_glance(directory, wanted="head", of_empty=False)
    return found is not None and found.is_at_head


def read_status(directory: str | None) -> tuple[BindStatus, ...] | None:
    """Return the state of the one bind, None where env.py has to run, or there is more to ask.

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
    return folder if folder is not None and _is_ours(folder) else None


def _is_ours(folder: PlainFolder) -> bool:
    if folder.options.get("binds", "default") != "default":
        return False
    same = Path(folder.dir, "env.py").read_bytes() == _OUR_ENV.read_bytes()
    return same and None in engines_of(current_settings().db)


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


class _Rows(NamedTuple):
    ids: frozenset[str] | None


def _read_rows() -> _Rows | None:
    with _connected() as connection:
        return _rows_of(connection, *_table())


def _rows_by_env_file(directory: str | None, folder: PlainFolder) -> _Rows | None:
    """Return the rows of the one database that an env.py of somebody else's leads to, None if it may lead to several.

    :raises DatabaseUnreachable: if there is no connection.
    """
    if b"engine_name" in Path(folder.dir, "env.py").read_bytes():
        return None
    from .. import alembic_plugin
    from ..environment import Visit, open_script, run_environment, stdout_to_stderr

    found: list[_Rows | None] = []

    def visit(at: Visit) -> None:
        found.append(_rows_of(at.connection, at.context.version_table, at.context.version_table_schema))
        if at.connection.in_transaction():
            at.connection.commit()

    alembic_plugin.activate()
    config = current_settings().migrate.get_config(directory)
    with stdout_to_stderr():
        run_environment(config, open_script(config), visit)
    return found[0] if len(found) == 1 else None


def _rows_of(connection: Any, name: str, schema: str | None) -> _Rows | None:
    """Return the rows of a version table; None if something is in flight, or the whole command has to tell."""
    import sqlalchemy as sa

    if connection.get_execution_options().get("schema_translate_map"):
        return None
    quote, ledger = connection.dialect.identifier_preparer.quote, f"{name}_phase"
    before = f"{quote(schema)}." if schema else ""
    try:
        inspector = sa.inspect(connection)
        in_flight = f"SELECT 1 FROM {before}{quote(ledger)}"
        if inspector.has_table(ledger, schema=schema) and connection.exec_driver_sql(in_flight).first() is not None:
            return None
        if not inspector.has_table(name, schema=schema):
            return _Rows(None)
        rows = connection.exec_driver_sql(f"SELECT version_num FROM {before}{quote(name)}")
        return _Rows(frozenset(rows.scalars()))
    except sa.exc.DBAPIError:
        # The whole command has the words for it, or does without.
        return None
