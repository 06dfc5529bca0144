"""What an application holds of us from its start on: nothing else is loaded before a command or a page asks for it.

A dataclass costs the start as much as a small module does, so there is none here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import current_app

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from . import Migrate


class MigrateSettings:
    """What ``app.extensions["migrate"]`` holds; env.py files of every Flask-Migrate generation read it."""

    def __init__(self, migrate: Migrate, db: Any, directory: str, options: Mapping[str, Any]) -> None:
        self.migrate = migrate
        self.db = db
        self.directory = directory
        self._options = dict(options)

    @property
    def configure_args(self) -> dict[str, Any]:
        """A fresh copy of what the application gave: env.py files write into it."""
        return dict(self._options)

    @property
    def metadata(self) -> Any:
        """The metadata of the database object."""
        return self.db.metadata


def current_settings() -> MigrateSettings:
    """Return the current application's settings.

    :raises ConfigurationError: if it has no migrations.
    """
    try:
        settings: MigrateSettings = current_app.extensions["migrate"]
    except KeyError:
        raise ConfigurationError(
            f"The application {current_app.name} has no migrations: call Migrate(app, db) or migrate.init_app(app, db)."
        ) from None
    return settings


def engines_of(db: Any) -> Mapping[str | None, Any]:
    """Return the engines of a database object by bind; the unnamed one's key is None."""
    engines: Mapping[str | None, Any] | None = getattr(db, "engines", None)
    return engines if engines is not None else {None: db.engine}
