"""The lanes that graphs are drawn on."""

from __future__ import annotations

from graphs import graph_of, graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_phased_migrate.graph import Graph, Revision
from flask_phased_migrate.lanes import Line, Row, lanes

linear = graph_of(Revision("1"), Revision("2", ("1",)), Revision("3", ("2",)))
diamond = graph_of(Revision("1"), Revision("2a", ("1",)), Revision("2b", ("1",)), Revision("3", ("2a", "2b")))
two_bases = graph_of(Revision("1"), Revision("x1"), Revision("2", ("1",)), Revision("x2", ("x1",)))


def test_a_line_of_revisions_keeps_one_lane():
    first, second = Line(0, "2", "down"), Line(0, "1", "down")
    assert lanes(linear) == (
        Row("3", 0, edges=(first,)),
        Row("2", 0, arrivals=(first,), edges=(second,)),
        Row("1", 0, arrivals=(second,)),
    )


def test_the_second_parent_of_a_merge_opens_a_lane_and_a_branch_joins_the_line_to_its_parent():
    left, right, base = Line(0, "2a", "down"), Line(1, "2b", "down"), Line(0, "1", "down")
    assert lanes(diamond) == (
        Row("3", 0, edges=(left, right)),
        Row("2a", 0, through=(right,), arrivals=(left,), edges=(base,)),
        Row("2b", 1, through=(base,), arrivals=(right,), edges=(base,)),
        Row("1", 0, arrivals=(base,)),
    )


def test_a_lane_is_free_again_after_a_base():
    assert [(row.revision, row.lane) for row in lanes(two_bases)] == [
        ("2", 0),
        ("1", 0),
        ("x2", 0),
        ("x1", 0),
    ]


def test_no_revisions_have_no_rows():
    assert lanes(Graph()) == ()


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_every_revision_has_one_row_above_its_parents(graph):
    place = {row.revision: position for position, row in enumerate(lanes(graph))}
    assert sorted(place) == sorted(graph.revisions) and len(lanes(graph)) == len(graph)
    assert all(place[name] < place[parent] for name in place for parent in graph[name].parents)


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_no_lane_holds_two_things_at_the_same_row(graph):
    for row in lanes(graph):
        passing = [line.lane for line in row.through]
        assert len({*passing, row.lane}) == len(passing) + 1
        above = [line.lane for line in (*row.through, *row.arrivals)]
        below = [line.lane for line in {*row.through, *row.edges}]
        assert len(set(above)) == len(above) and len(set(below)) == len(below)


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_lines_go_on_from_row_to_row_and_end_in_their_parent(graph):
    under_way: set[Line] = set()
    for row in lanes(graph):
        assert {*row.through, *row.arrivals} == under_way
        assert all(line.parent == row.revision for line in row.arrivals)
        assert all(line.parent != row.revision for line in row.through)
        revision = graph[row.revision]
        assert [(line.parent, line.kind) for line in row.edges] == [
            (parent, "down" if parent in revision.down else "depends") for parent in revision.parents
        ]
        under_way = {*row.through, *row.edges}
    assert under_way == set()


@settings(max_examples=200, deadline=None)
@given(graphs(), st.data())
def test_a_window_ends_with_the_lines_that_begin_the_next(graph, data):
    rows = lanes(graph)
    cut = data.draw(st.integers(0, len(rows)))
    above, below = rows[:cut], rows[cut:]

    leaving = {*above[-1].through, *above[-1].edges} if above else set()
    entering = {*below[0].through, *below[0].arrivals} if below else set()

    assert leaving == entering
