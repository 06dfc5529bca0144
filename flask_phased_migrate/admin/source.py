"""What the admin pages need from the rest of the package."""

from __future__ import annotations

from typing import Protocol

from ..graph import Graph, Revision
from ..phases import Phases
from ..plan import BindStatus


class Source(Protocol):
    """The revision files and the state of the databases, read only. The extension is one."""

    @property
    def phases(self) -> Phases:
        """The configured phases."""

    def read_graph(self) -> Graph:
        """Return the revision files. Touches no database.

        :raises flask_phased_migrate.errors.RevisionFileError: if a file cannot be loaded.
        """

    def read_statuses(self) -> tuple[BindStatus, ...]:
        """Return the state of every bind.

        :raises flask_phased_migrate.errors.DatabaseUnreachable: if a database does not answer.
        """

    def bind_names(self) -> tuple[str, ...]:
        """Return the names of the binds, at least one, the main one first. Touches no database."""

    def path_of(self, revision: Revision) -> str:
        """Return the path of the revision's file, relative to the migrations folder."""
