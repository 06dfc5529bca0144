"""What the admin pages read: revision files and tables, through engines, never through env.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from ..phases import DEFAULT_BIND, Phases
from .settings import MigrateSettings, engines_of

if TYPE_CHECKING:
    from ..environment import Config
    from ..graph import Graph, Revision
    from ..plan import BindStatus


class AdminSource:
    """Reads one application's migrations; needs its application context."""

    def __init__(self, app: Flask) -> None:
        self._settings: MigrateSettings = app.extensions["migrate"]

    @property
    def phases(self) -> Phases:
        """The configured phases."""
        return self._settings.migrate.read_phases(self._config())

    def _config(self) -> Config:
        return self._settings.migrate.get_config(self._settings.directory)

    def read_graph(self) -> Graph:
        """Return the revision files as a graph."""
        from ..graph import assign_unnamed

        config = self._config()
        graph = self._settings.migrate.open_project(config=config).graph
        return assign_unnamed(graph, self.bind_names()) if config.get_alembic_option("binds") else graph

    def bind_names(self) -> tuple[str, ...]:
        """Return the names of the binds that are migrated, the unnamed one first."""
        return tuple(name or DEFAULT_BIND for name in self._chosen())

    def _chosen(self) -> tuple[str | None, ...]:
        """Return the keys of the binds that env.py migrates."""
        from .env_file import chosen_binds

        return chosen_binds(self._settings, self._config())

    def path_of(self, revision: Revision) -> str:
        """Return the file of a revision, relative to the migrations folder."""
        folder = Path(self._settings.directory).absolute()
        path = Path(revision.path)
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name

    def read_statuses(self) -> tuple[BindStatus, ...]:
        """Return the state of each bind.

        :raises DatabaseUnreachable: if one does not answer.
        """
        from ..environment import connection_errors
        from ..plan import bind_status
        from ..recorder import read_history
        from ..tables import build_tables

        graph, phases = self.read_graph(), self.phases
        options = self._settings.configure_args
        tables = build_tables(options.get("version_table") or "alembic_version", options.get("version_table_schema"))
        engines = engines_of(self._settings.db)
        statuses = []
        for name in self._chosen():
            with connection_errors(), engines[name].connect() as connection:
                history = read_history(connection, name or DEFAULT_BIND, tables)
            statuses.append(bind_status(graph, history, phases))
        return tuple(statuses)
