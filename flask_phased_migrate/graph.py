"""The revision files as one immutable value: who comes from whom, in which order.

Everything here is about ids. Which of them are applied is :mod:`flask_phased_migrate.plan`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .ancestry import Ancestry, without_inherited
from .errors import RevisionFileError
from .phases import DEFAULT_BIND, Bodies, Phases, read_bodies


@dataclass(frozen=True)
class Revision:
    """One revision file.

    ``down`` are the ids it revises, ``depends_on`` the ids it needs besides; ``labels`` the branch labels
    written in the file itself. ``independent_of`` are the ids whose later phases its steps may overtake, and
    ``independence_problem`` what is wrong with how they are written. ``mentions_assured`` is False where the file is
    known to have no ``assured(...)``.
    """

    id: str
    down: tuple[str, ...] = ()
    depends_on: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    message: str = ""
    doc: str = ""
    path: str = ""
    upgrade: Bodies = field(default_factory=Bodies)
    downgrade: Bodies = field(default_factory=Bodies)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    independent_of: tuple[str, ...] = ()
    independence_problem: str | None = None
    mentions_assured: bool = True

    @cached_property
    def parents(self) -> tuple[str, ...]:
        """The ids that must be applied first: ``down``, then ``depends_on``."""
        return tuple(dict.fromkeys(self.down + self.depends_on)) if self.depends_on else self.down

    def imported(self) -> Revision:
        """Return the revision, its file imported if it was not yet.

        :raises RevisionFileError: if it cannot be.
        """
        len(self.attributes)
        return self

    @property
    def is_merge(self) -> bool:
        """Whether the revision joins several lines."""
        return len(self.down) > 1


@dataclass(frozen=True)
class Graph:
    """All revisions by id, in the order in which they were read (by file name)."""

    revisions: Mapping[str, Revision] = field(default_factory=dict)

    def __contains__(self, revision: object) -> bool:
        return revision in self.revisions

    def __getitem__(self, revision: str) -> Revision:
        return self.revisions[revision]

    def __len__(self) -> int:
        return len(self.revisions)

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        """For each id the ids that revise it (``depends_on`` left out)."""
        found: dict[str, list[str]] = {name: [] for name in self.revisions}
        for revision in self.revisions.values():
            for parent in revision.down:
                found[parent].append(revision.id)
        return {name: tuple(ids) for name, ids in found.items()}

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The ids that nothing revises."""
        return tuple(name for name, ids in self.children.items() if not ids)

    @cached_property
    def bases(self) -> tuple[str, ...]:
        """The ids that revise nothing."""
        return tuple(revision.id for revision in self.revisions.values() if not revision.down)

    @cached_property
    def _ancestry(self) -> Ancestry:
        """Who needs whom through ``down`` and ``depends_on``.

        Without a dependency that a revision's own line has already: as Alembic walks.
        """
        down = {name: revision.down for name, revision in self.revisions.items()}
        needs = {name: revision.depends_on for name, revision in self.revisions.items() if revision.depends_on}
        needed = without_inherited(down, needs)
        return Ancestry({name: tuple(dict.fromkeys((*ids, *needed.get(name, ())))) for name, ids in down.items()})

    def is_acyclic(self) -> bool:
        """Return whether no revisions need each other."""
        return not Ancestry({name: item.parents for name, item in self.revisions.items()}).circular

    def ancestors(self, *ids: str) -> frozenset[str]:
        """Return every id that one of ``ids`` needs, through ``down`` and ``depends_on``; not ``ids``."""
        return frozenset(self._ancestry.ancestors(ids).difference(ids))

    def closure(self, ids: Iterable[str]) -> frozenset[str]:
        """Return ``ids`` and all their ancestors."""
        return frozenset(self._ancestry.closure(ids))

    def descendants(self, ids: Iterable[str]) -> frozenset[str]:
        """Return every id that needs one of ``ids``, which may be another of them."""
        return frozenset(self._ancestry.descendants(ids))

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Return whether ``newer`` needs ``older``."""
        return self._ancestry.is_ancestor(older, newer)

    def tips(self, ids: Collection[str]) -> tuple[str, ...]:
        """Return those of ``ids`` that no other of them needs, in the order of the files."""
        needed = self._ancestry.ancestors(ids)
        chosen = frozenset(ids).difference(needed)
        return tuple(name for name in self.revisions if name in chosen)

    def order(self, ids: Collection[str]) -> tuple[str, ...]:
        """Return ``ids`` with every revision after what it needs: the order of an upgrade.

        Lines are followed as far as they go before another begins, as Alembic does, and ties go by the
        order of the files. It never depends on the hash seed.
        """
        return tuple(reversed(self.newest_first(ids)))

    def newest_first(self, ids: Collection[str]) -> tuple[str, ...]:
        """Return ``ids`` with every revision before what it needs: the order of a listing."""
        chosen = frozenset(ids)
        if len(chosen) == len(self.revisions):
            return self._all_newest_first
        walked = self._ancestry.walk(self.tips(chosen), chosen)
        if len(walked) == len(chosen):
            return walked
        # The selection has gaps, so the walk cannot reach all of it: take it out of the whole order.
        return tuple(name for name in self._all_newest_first if name in chosen)

    @cached_property
    def _all_newest_first(self) -> tuple[str, ...]:
        return self._ancestry.walk(self.tips(self.revisions.keys()), self.revisions.keys())


def ordered_graph(revisions: Mapping[str, Revision], newest_first: tuple[str, ...]) -> Graph:
    """Return the graph of revisions whose order is known already."""
    graph = Graph(revisions)
    vars(graph)["_all_newest_first"] = newest_first
    return graph


def build_graph(scripts: Iterable[Any], phases: Phases, resolve: Callable[[str], str]) -> Graph:
    """Return the :class:`Graph` of Alembic ``Script`` objects, in their order.

    A script with a method ``read_revision`` gives its :class:`Revision` itself, and is imported where that is None.

    :param resolve: turns what a ``depends_on`` names (an id, part of one, a branch label) into an id.
    :raises RevisionFileError: if a file's dependency cannot be found.
    """
    revisions = {}
    for script in scripts:
        indexed = getattr(script, "read_revision", None)
        found = None if indexed is None else indexed(phases)
        found = _imported(script, phases) if found is None else found
        depends_on = _resolved(script, resolve)
        revisions[found.id] = replace(found, depends_on=depends_on) if depends_on else found
    _check_links(revisions)
    return Graph({name: _with_independence(revision, revisions) for name, revision in revisions.items()})


def _imported(script: Any, phases: Phases) -> Revision:
    module = script.module
    own_phase = getattr(module, "phase", None)
    return Revision(
        id=script.revision,
        down=_as_tuple(script.down_revision),
        labels=tuple(sorted(_as_tuple(getattr(module, "branch_labels", None)))),
        message=script.doc or "",
        doc=script.longdoc or "",
        path=script.path,
        upgrade=read_bodies(getattr(module, "upgrade", None), "upgrade", phases, own_phase),
        downgrade=read_bodies(getattr(module, "downgrade", None), "downgrade", phases, own_phase),
        attributes={name: value for name, value in vars(module).items() if not name.startswith("_")},
    )


def _with_independence(revision: Revision, known: Collection[str]) -> Revision:
    """Return the revision with its attribute ``independent_of`` as ids."""
    written = revision.attributes.get("independent_of")
    if written is None:
        return revision
    names = (written,) if isinstance(written, str) else written
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) and name for name in names):
        problem = (
            f"its attribute 'independent_of' is {written!r}. Write the ids of revisions, as in "
            'independent_of = ("REVISION",)'
        )
        return replace(revision, independence_problem=problem)
    found: dict[str, None] = {}
    for name in names:
        ids = [name] if name in known else [other for other in known if other.startswith(name)]
        if len(ids) != 1:
            what = f"which begins several: {', '.join(ids)}" if ids else "which no revision file has"
            return replace(revision, independence_problem=f"its attribute 'independent_of' names '{name}', {what}.")
        found[ids[0]] = None
    return replace(revision, independent_of=tuple(found))


def _resolved(script: Any, resolve: Callable[[str], str]) -> tuple[str, ...]:
    found = []
    for name in _as_tuple(script.dependencies):
        try:
            found.append(resolve(name))
        except Exception as error:
            raise RevisionFileError(
                f"{script.path}: depends_on names '{name}', which no revision file has.", path=script.path
            ) from error
    return tuple(dict.fromkeys(found))


def _check_links(revisions: Mapping[str, Revision]) -> None:
    """Raise RevisionFileError for a parent without a file, or revisions that need each other."""
    for revision in revisions.values():
        for parent in revision.parents:
            if parent not in revisions:
                word = "down_revision" if parent in revision.down else "depends_on"
                raise RevisionFileError(
                    f"{revision.path}: {word} names '{parent}', which no revision file has.", path=revision.path
                )
    circle = Ancestry({name: item.parents for name, item in revisions.items()}).circular
    if circle:
        path = revisions[circle[0]].path
        raise RevisionFileError(f"{path}: these revisions need each other: {', '.join(circle)}.", path=path)


def assign_unnamed(graph: Graph, binds: Collection[str]) -> Graph:
    """Return the graph with unphased functions that take no argument given to the unnamed bind.

    Where one env.py migrates several databases, a function that cannot ask which one it is called for
    would otherwise run on each.
    """
    if len(binds) < 2:
        return graph
    return Graph(
        {
            name: replace(revision, upgrade=_unnamed(revision.upgrade), downgrade=_unnamed(revision.downgrade))
            for name, revision in graph.revisions.items()
        }
    )


def _unnamed(bodies: Bodies) -> Bodies:
    if bodies.phased:
        return bodies
    parts = tuple(body if body.takes_arguments else body.on(DEFAULT_BIND) for body in bodies.parts)
    return replace(bodies, parts=parts)


def _as_tuple(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    return tuple(value)
