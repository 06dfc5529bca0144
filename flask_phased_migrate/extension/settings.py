"""The application's settings for migrations: where each value comes from, and what env.py files may read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import current_app, g

from ..errors import ConfigurationError, UsageError
from ..phases import DEFAULT_BIND
from .state import MigrateSettings, current_settings, engines_of

if TYPE_CHECKING:
    from sqlalchemy import URL

    from ..environment import Config

__all__ = [
    "MigrateSettings",
    "MigrationConnections",
    "PlainDatabase",
    "Setting",
    "current_settings",
    "engines_of",
    "find_setting",
    "migration_connections",
    "new_config",
    "plain_database",
]


@dataclass(frozen=True)
class Setting:
    """A setting's value and where it came from, for ``flask db environ``."""

    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class PlainDatabase:
    """Stands for Flask-SQLAlchemy where an application gives ``metadata`` and ``engine`` itself."""

    metadata: Any
    metadatas: Mapping[str | None, Any]
    engines: dict[str | None, Any]

    @property
    def engine(self) -> Any:
        """The engine of the unnamed bind, or of the first."""
        return self.engines.get(None, next(iter(self.engines.values())))


def plain_database(metadata: Any, engine: Any) -> PlainDatabase | None:
    """Return metadata and engines as one database object, None where neither is given.

    :raises ConfigurationError: if only one is given, or their binds differ.
    """
    if metadata is None and engine is None:
        return None
    if metadata is None or engine is None:
        raise ConfigurationError("Give Migrate both metadata= and engine=, or Flask-SQLAlchemy's object as db.")
    metadatas = _by_bind(metadata)
    engines = _by_bind(engine)
    if set(metadatas) != set(engines):
        raise ConfigurationError("metadata= and engine= must be mappings with the same binds as keys.")
    first = next(iter(engines))
    return PlainDatabase(metadatas.get(None, metadatas[first]), metadatas, engines)


def _by_bind(value: Any) -> dict[str | None, Any]:
    if not isinstance(value, Mapping):
        return {None: value}
    return {None if name in (None, DEFAULT_BIND) else str(name): item for name, item in value.items()}


@dataclass(frozen=True)
class MigrationConnections:
    """``MIGRATE_DATABASE_URL``: where the tool connects to, by bind, in place of where the application does."""

    db: Any
    urls: Mapping[str, URL]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let ``db.engine`` and ``db.engines`` be engines with these URLs for the block."""
        from sqlalchemy import NullPool, create_engine

        engines: Any = engines_of(self.db)
        before = dict(engines)
        try:
            for name, url in self.urls.items():
                key = None if name == DEFAULT_BIND else name
                if key in engines and isinstance(engines, MutableMapping):
                    engines[key] = create_engine(url, poolclass=NullPool)
            yield
        finally:
            if isinstance(engines, MutableMapping):
                engines.update(before)


def migration_connections(db: Any) -> MigrationConnections:
    """Return where the tool connects to.

    :raises ConfigurationError: if a URL is none, or one is for a bind that the application does not have.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    given = current_app.config.get("MIGRATE_DATABASE_URL") or {}
    by_bind = given if isinstance(given, Mapping) else {DEFAULT_BIND: given}
    binds = [name or DEFAULT_BIND for name in engines_of(db)] if by_bind else []
    found = {}
    for name, value in ((name or DEFAULT_BIND, value) for name, value in by_bind.items()):
        if name not in binds:
            raise ConfigurationError(
                f"MIGRATE_DATABASE_URL has a URL for the bind '{name}', but the binds are: {', '.join(binds)}."
            )
        try:
            found[name] = make_url(value)
        except ArgumentError:
            raise ConfigurationError(
                f"MIGRATE_DATABASE_URL of bind {name} is no database URL. It looks like "
                "postgresql+psycopg://user:password@host/database; a mapping has one for each bind."
            ) from None
    return MigrationConnections(db, found)


def new_config(directory: str) -> Config:
    """Return an Alembic configuration of the files that the command line or the folder names.

    :raises UsageError: if one of the command line's does not exist.
    """
    from ..environment import Config

    files: Sequence[str] = [str(name) for name in g.get("migrate_config") or ()]
    ini = next((name for name in files if not name.endswith(".toml")), os.path.join(directory, "alembic.ini"))
    toml = next((name for name in files if name.endswith(".toml")), "pyproject.toml")
    for name in files:
        if not os.path.exists(name):
            raise UsageError(f"There is no configuration file {name}.")
    config = Config(ini, toml_file=toml, ini_section=g.get("migrate_name") or "alembic")
    if g.get("migrate_name") and not config.file_config.has_section(config.config_ini_section):
        raise UsageError(f"There is no section [{config.config_ini_section}] in {ini}. Write it, or leave out --name.")
    return config


def find_setting(config: Config, name: str, option: str | None, default: Any) -> Setting:
    """Return a setting: the app's config, then alembic.ini, then pyproject.toml, then the default.

    :param option: its name in alembic.ini and under ``[tool.alembic]``; underscores do for hyphens.
    """
    if current_app.config.get(name) is not None:
        return Setting(name, current_app.config[name], "application")
    spellings = (option, option.replace("-", "_")) if option is not None else ()
    for spelling in spellings:
        if config.file_config.has_option(config.config_ini_section, spelling):
            return Setting(name, config.file_config.get(config.config_ini_section, spelling), "alembic.ini")
    for spelling in spellings:
        if spelling in config.toml_alembic_config:
            return Setting(name, config.toml_alembic_config[spelling], "pyproject.toml")
    return Setting(name, default, "default")
