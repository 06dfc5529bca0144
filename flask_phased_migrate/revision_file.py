"""Revision files that the index knows: as a :class:`.Revision` at once, as a module when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import ModuleType
from typing import Any, Literal, TypeAlias

from .errors import RevisionFileError
from .graph import Revision
from .index import FileFacts, Outline
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
        facts = self.facts
        upgrade = self._bodies("upgrade", facts.upgrade, phases)
        downgrade = self._bodies("downgrade", facts.downgrade, phases)
        if upgrade is None or downgrade is None:
            return None
        return Revision(
            id=facts.revision,
            down=facts.down,
            labels=tuple(sorted(facts.labels)),
            message=facts.message,
            doc=facts.doc,
            path=self.path,
            upgrade=upgrade,
            downgrade=downgrade,
            attributes=UnloadedAttributes(self),
        )

    def _bodies(self, direction: Direction, outline: Outline, phases: Phases) -> Bodies | None:
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
        ordered = segment_order(names or phases.names, direction, phases)
        if ordered is None or len(ordered) != segments:
            return None
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


def _said_names(value: Any) -> Any:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _became_another(path: str) -> RevisionFileError:
    return RevisionFileError(
        f"{path}: the file has become another while it was being read, or says something else each time. Nothing was "
        "executed. Type the same command again; to read without the index: MIGRATE_INDEX = False",
        path=path,
    )
