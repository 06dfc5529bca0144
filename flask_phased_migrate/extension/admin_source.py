"""What the admin pages read: revision files and tables, through engines, never through env.py."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask

from ..phases import DEFAULT_BIND
from .settings import MigrateSettings, engines_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

    from ..admin.files import Files
    from ..admin.source import Choice, Examination, Preview, Reader, Wanted
    from ..plan import History, Plan
    from ..recorder import Execution
    from ..tables import Tables
    from .project import Project

CHECK_INTERVAL_S = 1.0

Stamp = tuple[tuple[str, int, int], ...]
"""Of each file its path, the time of its last change, and its size: what tells that something was changed."""


@dataclass(frozen=True)
class Loaded:
    """Revision files as they were when ``stamp`` was taken; ``checked_at`` is when it was last compared."""

    files: Files
    stamp: Stamp
    checked_at: float


class AdminSource:
    """Reads one application's migrations; needs its application context. Threads may share it.

    :param clock: seconds of a clock that never goes back.
    """

    def __init__(self, app: Flask, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings: MigrateSettings = app.extensions["migrate"]
        self._clock = clock
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None

    # -- files ------------------------------------------------------------------------------------

    def read_files(self) -> Files:
        """Return the revision files: as they were loaded, unless one is new, changed or gone.

        The folders are looked at once a second at most.
        """
        loaded = self._loaded
        if loaded is not None and self._clock() - loaded.checked_at < CHECK_INTERVAL_S:
            return loaded.files
        with self._lock:
            loaded, now = self._loaded, self._clock()
            if loaded is None or now - loaded.checked_at >= CHECK_INTERVAL_S:
                stamp = None if loaded is None else take_stamp(loaded.files.project)
                if loaded is None or stamp != loaded.stamp:
                    files = self._load_or_refuse()
                    loaded = Loaded(files, take_stamp(files.project), now)
                self._loaded = Loaded(loaded.files, loaded.stamp, now)
            assert self._loaded is not None
            return self._loaded.files

    def _load_or_refuse(self) -> Files:
        """Return the revision files.

        :raises MigrateError: for a folder that is not there, too, where Alembic has an error of its own.
        """
        from alembic.util import CommandError

        from ..errors import MigrateError

        try:
            return self._load()
        except CommandError as error:
            raise MigrateError(str(error)) from error

    def _load(self) -> Files:
        """Return the revision files as they are now. The one place where they are read."""
        from ..admin.files import Files
        from ..environment import INDEX_KEY
        from ..graph import assign_unnamed
        from .env_file import chosen_binds

        config = self._settings.migrate.get_config(self._settings.directory)
        if config.attributes.get(INDEX_KEY) is not None:
            config.attributes[INDEX_KEY] = "read"
        binds = tuple(name or DEFAULT_BIND for name in chosen_binds(self._settings, config))
        project = self._settings.migrate.open_project(config=config)
        graph = assign_unnamed(project.graph, binds) if config.get_alembic_option("binds") else project.graph
        project = replace(project, graph=graph)
        return Files(graph, project.phases, binds, str(Path(self._settings.directory).absolute()), project)

    # -- tables -----------------------------------------------------------------------------------

    @contextmanager
    def open(self, bind: str) -> Iterator[Reader]:
        """Give a reader of the bind's tables.

        :raises DatabaseUnreachable: if the database does not answer, or not what it was asked.
        """
        with reading_errors(bind), self._engine(bind).connect() as connection:
            yield TableReader(connection, bind, self._tables())

    def _engine(self, bind: str) -> Engine:
        engine: Engine = engines_of(self._settings.db)[None if bind == DEFAULT_BIND else bind]
        return engine

    def _tables(self) -> Tables:
        from ..tables import build_tables

        options = self._settings.configure_args
        return build_tables(options.get("version_table") or "alembic_version", options.get("version_table_schema"))

    # -- bodies -----------------------------------------------------------------------------------

    def plan(self, files: Files, history: History, phase: str) -> Plan:
        """Return what an upgrade of ``phase`` would do on the bind of ``history``; it may be blocked."""
        from .examining import plan_phase, within

        return within(lambda: plan_phase(files, history, phase))

    def preview(self, files: Files, wanted: Wanted) -> Preview:
        """Return the SQL of a step. Never connects."""
        from ..admin.source import Preview
        from ..errors import MigrateError
        from .examining import preview_step, within

        engine = self._engine(wanted.bind)
        try:
            return within(lambda: preview_step(files, wanted, self._settings, engine))
        except MigrateError as error:
            return Preview(wanted.dialect or engine.dialect.name, reason=str(error))

    def examine(self, files: Files, bind: str, revision: str) -> Examination:
        """Return what a revision does and what the linter says of it. Never connects."""
        from ..admin.source import Examination
        from ..errors import MigrateError
        from .examining import examine_revision, within
        from .linting import configured_versions, read_models

        migrate, project = self._settings.migrate, files.project
        try:
            named = migrate.setting("MIGRATE_TARGET_VERSION", "target-version", config=project.config).value
            versions, models = configured_versions(named), read_models(self._settings.db)
            dialect = self._engine(bind).dialect.name
            return within(lambda: examine_revision(files, bind, revision, dialect, versions, models))
        except MigrateError as error:
            return Examination(reason=str(error))

    # -- words ------------------------------------------------------------------------------------

    def mask(self, text: str) -> str:
        """Return code without the databases' passwords and the path of the migrations folder."""
        from ..recorder import hide_secrets

        folder = str(Path(self._settings.directory).absolute())
        hidden = hide_secrets(text, *self._secrets())
        return hidden.replace(folder + os.sep, "").replace(folder, os.path.basename(folder))

    def redact(self, text: str) -> str:
        """Return an error's words without these, and without bound parameters and whatever is called a secret."""
        from ..admin.redaction import without_places, without_values

        return without_places(without_values(self.mask(text)))

    def _secrets(self) -> tuple[str, ...]:
        from ..recorder import url_secrets

        urls = [engine.url for engine in engines_of(self._settings.db).values()]
        return tuple(secret for url in urls for secret in url_secrets(url))


def take_stamp(project: Project) -> Stamp:
    """Return what tells whether the revision files, or what configures them, were changed."""
    from ..loader import revision_paths

    script, config = project.script, project.config
    settings = [str(name) for name in (config.config_file_name, config.toml_file_name) if name]
    paths = [os.path.join(script.dir, "env.py"), *settings, *revision_paths(script)]
    return tuple(_stamp_of(path) for path in paths if path.endswith((".py", *settings)))


def _stamp_of(path: str) -> tuple[str, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return path, 0, 0
    return path, status.st_mtime_ns, status.st_size


@contextmanager
def reading_errors(bind: str) -> Iterator[None]:
    """Turn whatever keeps a bind's tables from being read into one error.

    :raises DatabaseUnreachable: for a lost connection too, a locked file, or a missing right.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from ..environment import connection_errors
    from ..errors import DatabaseUnreachable, DriverMissing
    from ..recorder import describe_error

    try:
        with connection_errors():
            yield
    except DriverMissing as error:
        raise DatabaseUnreachable(str(error)) from error
    except SQLAlchemyError as error:
        raise DatabaseUnreachable(f"The tables of bind {bind} cannot be read: {describe_error(error)}") from error


class TableReader:
    """Reads one bind's tables on a connection. It never writes."""

    def __init__(self, connection: Connection, bind: str, tables: Tables) -> None:
        self._connection = connection
        self._bind = bind
        self._tables = tables

    def read_history(self) -> History:
        """Return what the version table, the ledger and the journal say of the steps."""
        from ..errors import DatabaseUnreachable
        from ..recorder import read_history

        with self._sound_values():
            history = read_history(self._connection, self._bind, self._tables)
        if not all(history.heads):
            raise DatabaseUnreachable(f"The version table of bind {self._bind} has a row without an id. Delete it.")
        return history

    def read_finished(self, revisions: Collection[str]) -> Mapping[tuple[str, str], datetime]:
        """Return when the steps of ``revisions`` were last done."""
        from ..recorder import read_finished

        with self._sound_values():
            return read_finished(self._connection, self._tables, revisions)

    def read_executions(self, choice: Choice) -> tuple[Execution, ...]:
        """Return rows of the journal, newest first."""
        from ..recorder import read_journal

        values: dict[str, Any] = asdict(choice)
        options = {name: values.pop(name) for name in ("limit", "before", "after", "id_")}
        equal = {name: value for name, value in values.items() if value is not None}
        with self._sound_values():
            return read_journal(self._connection, self._tables, equal=equal, **options)

    @contextmanager
    def _sound_values(self) -> Iterator[None]:
        """Turn a value that is not of its column's type, which SQLite lets anybody store, into the error of reading.

        :raises DatabaseUnreachable: for such a value.
        """
        from ..errors import DatabaseUnreachable

        try:
            yield
        except ValueError as error:
            raise DatabaseUnreachable(f"The tables of bind {self._bind} cannot be read: {error}") from error
