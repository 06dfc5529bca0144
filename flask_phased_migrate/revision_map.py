"""Alembic's revision map with walks that are linear, and whose order does not depend on the hash seed.

Alembic's commands and env.py files ask ``ScriptDirectory.revision_map``; with this one in its place they get the
same answers. Where Alembic's own methods are not those that this was written for, its own map stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from itertools import chain
from types import CodeType, MappingProxyType
from typing import Any
from zlib import crc32

from alembic import util
from alembic.script import ScriptDirectory
from alembic.script.revision import DependencyCycleDetected, Revision, RevisionMap

from .ancestry import Ancestry, without_inherited


class LinearRevisionMap(RevisionMap):
    """Alembic's map; what it overrides gives what Alembic's own gives, in linear time.

    Where that would depend on the hash seed, the order is that of the files and of what is written in them.
    """

    def __init__(self, generator: Callable[[], Iterable[Revision]]) -> None:
        super().__init__(generator)
        self._ancestries: dict[bool, Ancestry] = {}
        self._places: dict[str, int] = {}

    @util.memoized_property
    def _revision_map(self) -> Any:
        revisions = list(self._generator())
        known = {item.revision: item for item in revisions}
        if not _is_whole(revisions, known):
            return self._by_alembic(revisions)
        labelled = [item for item in revisions if item.branch_labels]
        named: dict[Any, Any] = dict(known)
        self._map_branch_labels(labelled, named)
        self._add_depends_on(revisions, named)
        _add_following(known)
        self._normalize_depends_on(revisions, named)
        ancestry = _ancestry_of(known, dependencies=True)
        if ancestry.circular:
            self._by_alembic(revisions)
            # It does not see a circle that both a base and a head lead to, and would walk in it forever.
            raise DependencyCycleDetected(ancestry.circular)
        self._ancestries[True] = ancestry
        named[None] = named[()] = None
        self.heads = tuple(name for name, item in known.items() if item.is_head)
        self._real_heads = tuple(name for name, item in known.items() if item._is_real_head)
        self.bases = tuple(name for name, item in known.items() if item.is_base)
        self._real_bases = tuple(name for name, item in known.items() if item._is_real_base)
        self._add_branches(labelled, named)
        return named

    def _by_alembic(self, revisions: list[Revision]) -> Any:
        """Return the map that Alembic makes, which warns or refuses in its own words."""
        generator = self._generator
        self._generator = lambda: revisions
        try:
            return vars(RevisionMap)["_revision_map"].fget(self)
        finally:
            self._generator = generator

    def _normalize_depends_on(self, revisions: Collection[Revision], map_: Any) -> None:
        known = {name: item for name, item in map_.items() if item is not None and item.revision == name}
        down = {name: item._versioned_down_revisions for name, item in known.items()}
        if len(revisions) < len(known) or not all(other in down for ids in down.values() for other in ids):
            super()._normalize_depends_on(revisions, map_)
            return
        needs = {item.revision: item._resolved_dependencies for item in revisions if item._resolved_dependencies}
        needed = without_inherited(down, needs)
        for item in revisions:
            item._normalized_resolved_dependencies = tuple(dict.fromkeys(needed.get(item.revision, ())))

    def add_revision(self, revision: Revision, _replace: bool = False) -> None:
        """Add a revision, as Alembic does; what was known of the others is forgotten."""
        super().add_revision(revision, _replace)
        self._ancestries.clear()
        self._places.clear()

    def get_revisions(self, id_: Any) -> tuple[Any, ...]:
        """Return the revisions of one identifier or of several."""
        if isinstance(id_, (list, tuple, set, frozenset)):
            return tuple(chain.from_iterable(self.get_revisions(one) for one in id_))
        return super().get_revisions(id_)

    def _filter_into_branch_heads(self, targets: Iterable[Any]) -> set[Any]:
        chosen = set(targets)
        parents = (parent for item in chosen for parent in item._versioned_down_revisions)
        needed = self._ancestry(dependencies=False).closure(parents)
        return {item for item in chosen if item.revision not in needed}

    def _shares_lineage(self, target: Any, test_against_revs: Any, include_dependencies: bool = False) -> bool:
        if not test_against_revs:
            return True
        own = self._found(target)
        assert isinstance(own, Revision)
        others = [self._found(item) for item in util.to_tuple(test_against_revs, default=())]
        needs = self._ancestry(dependencies=include_dependencies).is_ancestor
        return any(
            other is own or needs(other.revision, own.revision) or needs(own.revision, other.revision)
            for other in others
            if isinstance(other, Revision)
        )

    def _found(self, item: Any) -> Any:
        return item if isinstance(item, Revision) else self._revision_for_ident(item)

    def _topological_sort(self, revisions: Collection[Revision], heads: Any) -> list[str]:
        todo = {item.revision for item in revisions}
        if not self._places:
            self._places = {name: place for place, name in enumerate(self._revision_map)}
        tips = sorted({item.revision for item in heads} & todo, key=self._places.__getitem__)
        found = self._ancestry(dependencies=True).walk(tips, todo)
        assert len(found) == len(todo)
        return list(found)

    def _ancestry(self, *, dependencies: bool) -> Ancestry:
        """Return who needs whom, through the dependencies as well or through ``down_revision`` alone."""
        map_ = self._revision_map
        if dependencies not in self._ancestries:
            known = {name: item for name, item in map_.items() if item is not None and item.revision == name}
            self._ancestries[dependencies] = _ancestry_of(known, dependencies=dependencies)
        return self._ancestries[dependencies]


def _ancestry_of(known: Mapping[str, Revision], *, dependencies: bool) -> Ancestry:
    if dependencies:
        return Ancestry({name: item._normalized_down_revisions for name, item in known.items()})
    return Ancestry({name: item._versioned_down_revisions for name, item in known.items()})


def _is_whole(revisions: Collection[Revision], known: Mapping[str, Revision]) -> bool:
    """Return whether no id is there twice, and everything that a revision names is there."""
    named = known.keys() | {label for item in revisions for label in item._orig_branch_labels}
    return len(known) == len(revisions) and all(
        known.keys() >= {*item._versioned_down_revisions} and named >= {*util.to_tuple(item.dependencies, default=())}
        for item in revisions
    )


def _add_following(known: Mapping[str, Revision]) -> None:
    """Tell each revision which others revise it, and which depend on it besides."""
    nearest: dict[str, list[str]] = {name: [] for name in known}
    following: dict[str, list[str]] = {name: [] for name in known}
    for name, item in known.items():
        for parent in item._versioned_down_revisions:
            nearest[parent].append(name)
        for parent in item._all_down_revisions:
            following[parent].append(name)
    for name, item in known.items():
        item.nextrev = item.nextrev.union(nearest[name])
        item._all_nextrev = item._all_nextrev.union(following[name])


# -- instead of Alembic's own ----------------------------------------------------------------------------


def use_linear_map(script: ScriptDirectory) -> None:
    """Put a :class:`LinearRevisionMap` into a script directory, unless its map, or Alembic's, is another's."""
    found = script.revision_map
    if type(found) is RevisionMap and "_revision_map" not in vars(found) and is_known_alembic():
        script.revision_map = LinearRevisionMap(found._generator)


@cache
def is_known_alembic() -> bool:
    """Return whether Alembic's methods are those that :class:`LinearRevisionMap` does the same as, or calls."""
    return all(fingerprint(name) == KNOWN[name] for name in KNOWN)


def fingerprint(name: str) -> int:
    """Return a number for the parameters of one of Alembic's functions and for all the names that it uses.

    They are the same in every version of Python. ``RevisionMap._walk`` is a name; 0 for one that is not there.
    """
    owner, _, attribute = name.partition(".")
    found = vars({"RevisionMap": RevisionMap, "Revision": Revision}[owner]).get(attribute)
    code = getattr(getattr(found, "fget", found), "__code__", None)
    if code is None:
        return 0
    parameters = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return crc32(repr((parameters, sorted(_names(code)))).encode())


def _names(code: CodeType) -> set[str]:
    inner = [_names(item) for item in code.co_consts if isinstance(item, CodeType)]
    return set(code.co_names).union(*inner)


KNOWN: Mapping[str, int] = MappingProxyType(
    {
        "RevisionMap.__init__": 2184835704,
        "RevisionMap._revision_map": 3322465507,
        "RevisionMap._detect_cycles": 175696904,
        "RevisionMap._map_branch_labels": 584682117,
        "RevisionMap._add_branches": 1376175212,
        "RevisionMap._add_depends_on": 2287240617,
        "RevisionMap._normalize_depends_on": 2231426860,
        "RevisionMap.add_revision": 3338696571,
        "RevisionMap.get_revisions": 1579449209,
        "RevisionMap._revision_for_ident": 3303605589,
        "RevisionMap._filter_into_branch_heads": 4159600998,
        "RevisionMap._shares_lineage": 1951854613,
        "RevisionMap._iterate_related_revisions": 3560556861,
        "RevisionMap._get_ancestor_nodes": 2141687132,
        "RevisionMap._get_descendant_nodes": 2744101224,
        "RevisionMap._topological_sort": 2358175252,
        "Revision.add_nextrev": 307554302,
        "Revision._all_down_revisions": 3607451648,
        "Revision._normalized_down_revisions": 1738572462,
        "Revision._versioned_down_revisions": 3810144659,
        "Revision.is_head": 1730354881,
        "Revision._is_real_head": 1945622624,
        "Revision.is_base": 3213850113,
        "Revision._is_real_base": 1860665768,
    }
)
"""The fingerprints, the same in Alembic 1.18.0 to 1.20.1."""
