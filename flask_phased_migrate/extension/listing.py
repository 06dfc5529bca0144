"""Whether a list can be printed from the index alone: nothing is set that Alembic would have to be asked about."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Hashable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import current_app, g

from ..index import Part, list_files, read_index
from ..listing import Listing, plain_listing
from .state import MigrateSettings, current_settings

if TYPE_CHECKING:
    from ..graph import Graph
    from ..phases import Phases

# Options of alembic.ini and of [tool.alembic] with which there is more to a folder than its versions.
_MORE = frozenset({"version_locations", "recursive_version_locations", "sourceless", "revision_environment"})


class PlainFolder(NamedTuple):
    """A migrations folder all of whose revisions are the files in its ``versions``.

    It is a configuration, too, as far as settings are asked for: ``options`` are those under ``[alembic]``.
    """

    dir: str
    options: Mapping[str, str]
    version_locations: tuple[str, ...] = ()
    config_ini_section: str = "alembic"

    @property
    def versions(self) -> str:
        """The folder of the revision files."""
        return str(Path(self.dir, "versions").absolute())

    @property
    def file_config(self) -> PlainFolder:
        """Alembic's name of what has the options."""
        return self

    @property
    def toml_alembic_config(self) -> Mapping[str, Any]:
        """There is none in pyproject.toml."""
        return {}

    def has_option(self, _section: str, name: str) -> bool:
        """Return whether alembic.ini has the option."""
        return name in self.options

    def get(self, _section: str, name: str) -> str:
        """Return an option of alembic.ini."""
        return self.options[name]

    def interpolates(self, *names: str) -> bool:
        """Return whether one of the options is more than plain words."""
        return any("%" in value for name, value in self.options.items() if name.replace("_", "-") in names)

    def load(self, path: str) -> ModuleType:
        """Import one of the revision files.

        :raises RevisionFileError: if it cannot be.
        """
        from .. import alembic_plugin
        from ..environment import import_revision

        alembic_plugin.activate()
        return import_revision(path, self)


def read_listing(directory: str | None, wanted: Part) -> Listing | None:
    """Return the listing of a migrations folder, without importing Alembic; None where it has to be asked.

    :param wanted: how much of the index the list needs.
    :raises ConfigurationError: if the application has no migrations.
    """
    folder = plain_folder(directory)
    index = None if folder is None else read_index([folder.versions], wanted=wanted)
    return None if index is None else plain_listing(index)


def read_plain_graph(folder: PlainFolder) -> Graph | None:
    """Return the graph of a plain folder, without importing Alembic or a file; None where Alembic has to be asked.

    :raises ConfigurationError: if the phases cannot be used.
    """
    from ..revision_file import index_graph

    index = read_index([folder.versions])
    phases = None if index is None else read_plain_phases(folder)
    return None if index is None or phases is None else index_graph(index, phases, folder.load)


def read_plain_phases(folder: PlainFolder) -> Phases | None:
    """Return the configured phases, None where the configuration file has more than plain words for them.

    :raises ConfigurationError: if they cannot be used.
    """
    if folder.interpolates("phases", "default-phase", "boundary"):
        return None
    return current_settings().migrate.read_phases(folder)


def folder_stamp(directory: str | None = None) -> Hashable:
    """Return a value that is another one whenever a revision file has changed, come or gone.

    None where that cannot be told from the folder alone: whoever keeps a graph has to read it again then.

    :raises ConfigurationError: if the application has no migrations.
    """
    folder = plain_folder(directory)
    return None if folder is None else list_files([folder.versions])


def plain_folder(directory: str | None) -> PlainFolder | None:
    """Return the migrations folder if it is a plain one, else None.

    :raises ConfigurationError: if the application has no migrations.
    """
    settings = current_settings()
    asked = ("migrate_config", "migrate_name", "migrate_quiet")
    if not _is_plain(settings) or any(g.get(name) for name in asked) or _is_replaced():
        return None
    folder = str(directory or g.get("directory") or settings.directory)
    ini = os.path.join(folder, "alembic.ini")
    if not os.path.isfile(os.path.join(folder, "env.py")) or not os.path.isdir(os.path.join(folder, "versions")):
        return None
    options = _read_ini(ini)
    if options is None or not _MORE.isdisjoint(options) or _toml_says_anything():
        return None
    return PlainFolder(folder, options)


def _is_plain(settings: Any) -> bool:
    from . import Migrate

    if not isinstance(settings, MigrateSettings) or type(settings.migrate) is not Migrate:
        return False
    config = current_app.config
    return not (
        settings.migrate.configure_callbacks
        or not config.get("MIGRATE_INDEX", True)
        or config.get("MIGRATE_DATABASE_URL")
    )


def _read_ini(path: str) -> Mapping[str, str] | None:
    """Return the options under ``[alembic]``; None for a file that is missing, or that is not as simple as can be.

    ``configparser`` alone would be a tenth of all that a list costs.
    """
    try:
        lines = Path(path).read_bytes().decode("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found: dict[tuple[str, str], str] = {}
    section = ""
    sections = set()
    for line in lines:
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        heading = re.fullmatch(r"\[([\w.-]+)\]\s*", line)
        if heading is not None:
            section = heading[1]
            if section in sections or section == "DEFAULT":
                return None
            sections.add(section)
            continue
        name, sign, value = line.partition("=")
        key = (section, name.strip().lower())
        if not section or not sign or not re.fullmatch(r"[\w.-]+\s*", name) or key in found:
            return None
        found[key] = value.strip()
    return {name: value for (at, name), value in found.items() if at == "alembic"} if "alembic" in sections else None


def _toml_says_anything() -> bool:
    """Return whether a pyproject.toml of the working directory may have something for Alembic."""
    try:
        return b"alembic" in Path("pyproject.toml").read_bytes() and _has_tool_section()
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _has_tool_section() -> bool:
    import tomllib

    try:
        found = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    except ValueError:
        return True
    return "alembic" in found.get("tool", {})


def _is_replaced() -> bool:
    """Return whether the application has put something of its own in the place of Alembic's script directory."""
    command = sys.modules.get("alembic.command")
    if command is None:
        return False
    from ..loader import is_stock

    return not is_stock(vars(command)["ScriptDirectory"])
