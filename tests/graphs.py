"""Small graphs of revisions for tests, written and drawn."""

from __future__ import annotations

from hypothesis import strategies as st

from flask_phased_migrate.graph import Graph, Revision


def graph_of(*revisions: Revision) -> Graph:
    """Return a graph of the revisions, in that order."""
    return Graph({revision.id: revision for revision in revisions})


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw a graph of up to 14 revisions with branches, merges and dependencies."""
    revisions = []
    for number in range(draw(st.integers(0, 14))):
        older = st.sampled_from([str(i) for i in range(number)]) if number else st.nothing()
        down = draw(st.lists(older, max_size=3, unique=True)) if number else []
        needs = draw(st.lists(older, max_size=2, unique=True)) if number else []
        revisions.append(Revision(str(number), tuple(down), tuple(needs)))
    return graph_of(*draw(st.permutations(revisions)))
