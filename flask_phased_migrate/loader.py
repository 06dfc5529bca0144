"""Revision files to Alembic's ``Script`` objects, as Alembic's own loader makes them, in a third of its time.

Those that the index knows are not even imported, until somebody asks for their module.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import alembic.script.base as alembic_scripts
from alembic import util
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import Revision as AlembicRevision

from .graph import Revision
from .index import read_index
from .phases import Phases
from .revision_file import RevisionFile


def load_scripts(
    directory: ScriptDirectory, load: Callable[[], Iterable[Any]], indexing: Indexing | None = None
) -> Iterator[Any]:
    """Load every revision file of a script directory, in Alembic's order.

    :param load: Alembic's own loader, which is called where something of it was replaced or it has to look for
        compiled files.
    :param indexing: how to have the files that the index knows loaded later, if at all; None to load all of them now.
    """
    if directory.sourceless or not is_stock(directory):
        yield from load()
        return
    indexed = None if indexing is None else _indexed(directory, indexing)
    if indexed is not None:
        yield from indexed
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


@dataclass(frozen=True)
class Indexing:
    """How the index is used.

    :param load: imports a file, when its module is asked for; it raises errors that name the file.
    :param begins: whether an index is begun where there is none; ``keeps``: only where it can be kept.
    """

    load: Callable[[str], ModuleType]
    begins: bool = True
    keeps: bool = True


class IndexedScript(Script):
    """Alembic's ``Script`` of a file that is imported when its module is asked for."""

    def __init__(self, file: RevisionFile) -> None:
        self.file = file
        self.path = file.path
        facts = file.facts
        AlembicRevision.__init__(self, facts.revision, facts.down, facts.depends_on, facts.labels)

    @property
    def module(self) -> ModuleType:  # type: ignore[override]
        """The module."""
        return self.file.module

    @property
    def longdoc(self) -> str:
        """The docstring."""
        return self.file.facts.doc

    def read_revision(self, phases: Phases) -> Revision | None:
        """Return our own value of the revision, None where only the module tells what it is."""
        return self.file.read_revision(phases)


def _indexed(directory: ScriptDirectory, indexing: Indexing) -> list[Script] | None:
    """Return the scripts as the index has them, None where it has nothing to say."""
    parameters = AlembicRevision.__init__.__code__.co_varnames[:5]
    if parameters != ("self", "revision", "down_revision", "dependencies", "branch_labels"):
        return None
    recursive = bool(directory.recursive_version_locations)
    found = read_index(directory._version_locations, recursive=recursive, begins=indexing.begins, keeps=indexing.keeps)
    if found is None:
        return None
    scripts = [
        _load(directory, path) if facts is None else IndexedScript(RevisionFile(path, facts, indexing.load))
        for path, facts in zip(found.paths, found.facts, strict=True)
    ]
    return [script for script in scripts if script is not None]


def is_stock(directory: ScriptDirectory | type[ScriptDirectory]) -> bool:
    """Return whether Alembic's loader is the one that this one does the same as.

    :param directory: a script directory, or the class in use for them.
    """
    found = [
        getattr(directory, "_load_revisions", None),
        getattr(directory, "from_config", None),
        getattr(directory, "walk_revisions", None),
        getattr(Script, "_from_path", None),
        getattr(Script, "_list_py_dir", None),
        getattr(vars(alembic_scripts)["util"], "load_python_file", None),
    ]
    homes = [getattr(item, "__module__", None) for item in found]
    return homes == [*["alembic.script.base"] * 5, "alembic.util.pyfiles"] and hasattr(directory, "_version_locations")


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
    module = load_module(path)
    revision = getattr(module, "revision", None)
    if revision is None and not hasattr(module, "revision"):
        # The id is in the name of such a file, which Alembic has not written since 2011, or Alembic says what it lacks.
        return Script._from_path(directory, Path(path))
    return Script(module, revision, path)  # type: ignore[arg-type]


def load_module(path: str) -> ModuleType:
    """Import a revision file, under the name that Alembic gives its module."""
    spec: Any = spec_from_file_location(re.sub(r"\W", "_", os.path.basename(path)), path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
