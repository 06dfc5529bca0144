"""Revision files that the index knows: as a :class:`.Revision` at once, as a module when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from operator import attrgetter
from types import MappingProxyType, ModuleType
from typing import Any, Literal, TypeAlias

from .errors import RevisionFileError
from .graph import Graph, Revision, build_graph, ordered_graph
from .index import ILLEGAL_IN_IDS, FileFacts, Index
from .phases import Bodies, Body, Phases, UnloadedBody, read_bodies, segment_order

Direction: TypeAlias = Literal["upgrade", "downgrade"]


class RevisionFile:
    """A revision file that is imported when somebody asks for its module; otherwise like Alembic's ``Script``.

    :param load: imports a file; it raises errors that name it.
    """

    def __init__(self, path: str, facts: FileFacts, load: Callable[[str], ModuleType]) -> None:
        self.path = path
        self.facts = facts
        self.revision = facts.revision
        self.down_revision = facts.down
        self.dependencies = facts.depends_on
        self.branch_labels = facts.labels
        self._load = load
        self._read: dict[tuple[Direction, Phases], Bodies] = {}

    @property
    def doc(self) -> str:
        """The first paragraph of the docstring."""
        return self.facts.message

    @property
    def longdoc(self) -> str:
        """The whole docstring."""
        return self.facts.doc

    @cached_property
    def module(self) -> ModuleType:
        """The module, imported at the first use.

        :raises RevisionFileError: if it cannot be, or says something else than the index has.
        """
        module = self._load(self.path)
        facts = self.facts
        said = [getattr(module, name, None) for name in ("down_revision", "branch_labels", "depends_on", "phase")]
        if (getattr(module, "revision", None), *map(_said_names, said)) != (
            *(facts.revision, facts.down, facts.labels, facts.depends_on),
            _said_names(facts.phase),
        ):
            raise _became_another(self.path)
        return module

    def read_revision(self, phases: Phases) -> Revision | None:
        """Return the revision, its bodies not loaded; None where only the module tells what is wrong with them."""
        if self._is_wrong("upgrade", phases) or self._is_wrong("downgrade", phases):
            return None
        facts = self.facts
        found = object.__new__(IndexedRevision)
        vars(found).update(
            id=facts.revision,
            down=facts.down,
            labels=tuple(sorted(facts.labels)),
            message=facts.message,
            doc=facts.doc,
            path=self.path,
            mentions_assured=facts.mentions_assured,
            _file=self,
            _phases=phases,
        )
        return found

    def _is_wrong(self, direction: Direction, phases: Phases) -> bool:
        outline = self.facts.upgrade if direction == "upgrade" else self.facts.downgrade
        if outline[0] != "generator":
            return False
        names = segment_order(outline[1] or phases.names, direction, phases)
        return names is None or len(names) != outline[2]

    def bodies(self, direction: Direction, phases: Phases) -> Bodies:
        """Return what the file has for a direction, to be imported when it is run."""
        outline = self.facts.upgrade if direction == "upgrade" else self.facts.downgrade
        kind = outline[0]
        if kind == "missing":
            return Bodies(missing=True)
        if kind == "plain":
            own = self.facts.phase or phases.default
            part = self._unloaded(direction, phases, own, (None, None, None), outline[2])
            return Bodies(parts=(part,) if outline[1] else (), named=(own,))
        if kind == "functions":
            parts = tuple(
                self._unloaded(direction, phases, name, (bind, None, None), bind is None)
                for name, bind, has_code in outline[1]
                if has_code
            )
            return Bodies(parts=parts, phased=True, named=tuple(dict.fromkeys(name for name, _, _ in outline[1])))
        names, segments, bind = outline[1:]
        ordered = segment_order(names or phases.names, direction, phases) or ()
        parts = tuple(
            self._unloaded(direction, phases, name, (bind, segment, segments), bind is None)
            for segment, name in enumerate(ordered)
        )
        return Bodies(parts=parts, phased=True, named=ordered)

    def _unloaded(
        self,
        direction: Direction,
        phases: Phases,
        phase: str,
        place: tuple[str | None, int | None, int | None],
        takes: bool,
    ) -> UnloadedBody:
        def load() -> Body:
            for body in self._loaded(direction, phases).parts:
                if (body.phase, body.bind, body.segment, body.segments) == (phase, *place):
                    return body
            raise _became_another(self.path)

        return UnloadedBody(phase, load, place, takes)

    def _loaded(self, direction: Direction, phases: Phases) -> Bodies:
        key = (direction, phases)
        if key not in self._read:
            function, own = getattr(self.module, direction, None), getattr(self.module, "phase", None)
            self._read[key] = read_bodies(function, direction, phases, own)
        return self._read[key]


class IndexedRevision(Revision):
    """A revision as the index has it. What is made of its code, or by importing it, is made when it is asked for.

    Made by :meth:`RevisionFile.read_revision`: the fields that it does not set have their defaults.
    """

    @cached_property
    def upgrade(self) -> Bodies:
        """What the file has for an upgrade."""
        mine = vars(self)
        file: RevisionFile = mine["_file"]
        return file.bodies("upgrade", mine["_phases"])

    @cached_property
    def downgrade(self) -> Bodies:
        """What the file has for a downgrade."""
        mine = vars(self)
        file: RevisionFile = mine["_file"]
        return file.bodies("downgrade", mine["_phases"])

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """The attributes of the module."""
        return UnloadedAttributes(vars(self)["_file"])


class UnloadedAttributes(Mapping[str, Any]):
    """The attributes of a revision's module, which is imported for any but ``independent_of``."""

    def __init__(self, file: RevisionFile) -> None:
        self._file = file

    @cached_property
    def _all(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self._file.module).items() if not name.startswith("_")}

    def __getitem__(self, name: str) -> Any:
        if name == "independent_of" and self._file.facts.independent_of is not None:
            return self._file.facts.independent_of
        return self._all[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or ``default``."""
        if name == "independent_of":
            found = self._file.facts.independent_of
            return default if found is None else found
        return self._all.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def index_graph(index: Index, phases: Phases, load: Callable[[str], ModuleType]) -> Graph | None:
    """Return the graph of an index, None where Alembic has to be asked: for a name in it, or for an error.

    :param load: imports a file when its code is asked for; it raises errors that name it.
    """
    facts = [found for found in index.facts if found is not None]
    ids, labels = {found.revision for found in facts}, [label for found in facts for label in found.labels]
    strange = ILLEGAL_IN_IDS.intersection("".join(ids)) or len(ids.union(labels)) < len(facts) + len(labels)
    if strange or len(facts) < len(index.paths):
        return None
    files = [RevisionFile(*pair, load) for pair in zip(index.paths, facts, strict=True)]
    files.sort(key=attrgetter("path"))
    try:
        return build_graph(files, phases, {name: name for name in ids}.__getitem__)
    except RevisionFileError:
        return None


class _DrawnRevision(Revision):
    """A revision for drawings. What it does not set of its own is here."""

    upgrade = downgrade = Bodies()
    attributes: Mapping[str, Any] = MappingProxyType({})
    mentions_assured = False


def drawn_graph(index: Index) -> Graph | None:
    """Return the graph of a plain history for drawings: its revisions have neither bodies nor the whole docstring.

    None for a history that is not plain; see :func:`.plain_order`.
    """
    if index.head is None:
        return None
    found: dict[str, Revision] = {}
    for links, path in zip(index.links, index.paths, strict=True):
        assert links is not None
        name, down, depends_on, _, message = links
        found[name] = revision = object.__new__(_DrawnRevision)
        # The constructor of a frozen dataclass takes several times as long.
        vars(revision).update(id=name, down=down, message=message, path=path)
        if depends_on:
            vars(revision)["depends_on"] = depends_on
    graph = ordered_graph(found, tuple([links[0] for links in index.newest_first]))
    for place in index.mentioning_assured:
        vars(graph[index.links[place][0]])["mentions_assured"] = True  # type: ignore[index]
    return graph


def _said_names(value: Any) -> Any:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _became_another(path: str) -> RevisionFileError:
    return RevisionFileError(
        f"{path}: the file has become another while it was being read, or says something else each time. Nothing was "
        "executed. Type the same command again; to read without the index: MIGRATE_INDEX = False",
        path=path,
    )
