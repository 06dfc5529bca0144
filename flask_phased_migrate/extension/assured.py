"""What the authors of revisions answer for, as their files have it, for who reads the status or the graph."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..assurances import Assurance, written_assurances
from ..graph import Graph, Revision


def read_assurances(revision: Revision) -> tuple[Assurance, ...]:
    """Return every ``assured(...)`` of a revision's file; () where it cannot be read."""
    if not revision.mentions_assured:
        return ()
    with suppress(OSError):
        return written_assurances(Path(revision.path).read_bytes())
    return ()


def assured_rules(graph: Graph) -> Mapping[str, tuple[str, ...]]:
    """Return by revision the rules that are answered for, of those that have any."""
    found = {
        name: tuple(dict.fromkeys(rule for item in read_assurances(revision) for rule in item.rules))
        for name, revision in graph.revisions.items()
        if revision.mentions_assured
    }
    return {name: rules for name, rules in found.items() if rules}
