"""Revision files to Alembic's ``Script`` objects, as Alembic's own loader makes them, in a third of its time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import alembic.script.base as alembic_scripts
from alembic import util
from alembic.script import Script, ScriptDirectory


def load_scripts(directory: ScriptDirectory, load: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """Load every revision file of a script directory, in Alembic's order.

    :param load: Alembic's own loader, which is called where something of it was replaced or it has to look for
        compiled files.
    """
    if directory.sourceless or not _is_stock(directory):
        yield from load()
        return
    seen: set[str] = set()
    for path in revision_paths(directory):
        if path in seen:
            util.warn(f"File {path} loaded twice! ignoring. Please ensure version_locations is unique.")
            continue
        seen.add(path)
        script = _load(directory, path)
        if script is not None:
            yield script


def _is_stock(directory: ScriptDirectory) -> bool:
    """Return whether Alembic's loader is the one that this one does the same as."""
    found = [
        getattr(directory, "_load_revisions", None),
        getattr(Script, "_from_path", None),
        getattr(Script, "_list_py_dir", None),
        getattr(vars(alembic_scripts)["util"], "load_python_file", None),
    ]
    homes = [getattr(item, "__module__", None) for item in found]
    return homes == [*["alembic.script.base"] * 3, "alembic.util.pyfiles"] and hasattr(directory, "_version_locations")


def revision_paths(directory: ScriptDirectory) -> Iterator[str]:
    """Yield the files of all version locations, links followed to where they lead."""
    for location in directory._version_locations:
        for root, folders, names in os.walk(location):
            if root.endswith("__pycache__"):
                continue
            real = os.path.realpath(root)
            for name in sorted(names):
                path = os.path.join(real, name)
                yield os.path.realpath(path) if os.path.islink(path) else path
            if not directory.recursive_version_locations:
                break
            folders.sort()


def _load(directory: ScriptDirectory, path: str) -> Script | None:
    name = os.path.basename(path)
    if not name.endswith(".py") or name.startswith((".#", "__init__")):
        return None
    module = _load_module(name, path)
    revision = getattr(module, "revision", None)
    if revision is None and not hasattr(module, "revision"):
        # The id is in the name of such a file, which Alembic has not written since 2011, or Alembic says what it lacks.
        return Script._from_path(directory, Path(path))
    return Script(module, revision, path)  # type: ignore[arg-type]


def _load_module(name: str, path: str) -> ModuleType:
    spec: Any = spec_from_file_location(re.sub(r"\W", "_", name), path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
