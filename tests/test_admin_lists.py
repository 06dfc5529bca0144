"""Filters, paging and drawing on the admin pages, and what they cost with many revisions; over plain values."""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace
from datetime import datetime

import pytest
from admin_pages import (
    DOWN,
    EVIL,
    FakeSource,
    execution,
    get_json,
    get_page,
    graph_of,
    long_source,
    make_client,
    revision,
    small_source,
    two_binds,
)
from graphs import graphs
from hypothesis import given, settings

from flask_phased_migrate.admin.drawing import PITCH, ROW_HEIGHT, draw_cell, draw_rows
from flask_phased_migrate.admin.files import Files
from flask_phased_migrate.admin.graph_page import show_graph
from flask_phased_migrate.admin.state import BindState
from flask_phased_migrate.graph import Graph, Revision
from flask_phased_migrate.plan import History, Record

REVISIONS = "/migrations/revisions.json"


def ids(source: FakeSource, path: str, status: int = 200) -> list[str]:
    answer = get_json(make_client(source), path, status)
    return [item["revision"] for item in answer["items"]]


# -- filters ----------------------------------------------------------------------------------------


def branched() -> FakeSource:
    """A base, two branches of which one has a label, a merge, and a head that depends on another."""
    graph = graph_of(
        revision("1a", message="Create the account table"),
        revision("2a", "1a", message="100% of a_b", labels=("shop",)),
        revision("2b", "1a", message="other side", phases=("after-deploy",)),
        revision("3m", "2a", "2b", message="merge"),
        revision("4x", "3m", message="last", depends_on=("2a",)),
    )
    history = History(
        "default",
        frozenset({"1a"}),
        {
            ("2a", "before-deploy"): Record("2a", "before-deploy"),
            ("2b", "after-deploy"): Record("2b", "after-deploy", "failed"),
        },
        dialect="sqlite",
    )
    return FakeSource(graph, (history,))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["4x", "3m", "2b", "2a", "1a"]),
        ("state=applied", ["1a"]),
        ("state=in-flight", ["2b", "2a"]),
        ("phase=after-deploy", ["2b"]),
        ("phase=before-deploy&status=done", ["2a", "1a"]),
        ("status=failed", ["2b"]),
        ("status=empty&phase=final", ["2b"]),
        ("branch=shop", ["4x", "3m", "2a"]),
        ("has=error", ["2b"]),
        ("has=head", ["4x"]),
        ("has=merge", ["3m"]),
        ("has=branch-point", ["1a"]),
        ("has=depends-on", ["4x"]),
        ("q=2", ["2b", "2a"]),
        ("q=ACCOUNT", ["1a"]),
        ("q=%25", ["2a"]),
        ("q=a_b", ["2a"]),
        ("q=a%25b", []),
        ("q=+", ["4x", "3m", "2b", "2a", "1a"]),
        ("q=2&state=in-flight&has=error", ["2b"]),
        ("branch=shop&state=applied", []),
        ("state=&phase=&status=&branch=&has=&q=", ["4x", "3m", "2b", "2a", "1a"]),
    ],
)
def test_filters_leave_the_revisions_that_have_all_that_is_asked(query: str, found: list[str]) -> None:
    assert ids(branched(), f"{REVISIONS}?{query}") == found


def test_the_form_shows_what_was_asked_and_the_json_too() -> None:
    client = make_client(branched())
    query = "q=2&phase=before-deploy&status=done&branch=shop&size=50"

    page = get_page(client, f"/migrations/revisions?{query}")

    assert page.all("input", name="q") == [
        {"id": "filter-q", "type": "search", "name": "q", "value": "2", "maxlength": "200"}
    ]
    chosen = [option["value"] for option in page.all("option") if "selected" in option]
    assert chosen == ["before-deploy", "done", "shop", "50"]
    assert get_json(client, f"{REVISIONS}?{query}")["filters"] == {
        "phase": "before-deploy",
        "status": "done",
        "branch": "shop",
        "q": "2",
    }


def test_every_field_of_a_form_has_a_label_and_every_form_a_button() -> None:
    client = make_client(two_binds())
    for path in ("revisions", "journal", "revisions/1b/sql"):
        page = get_page(client, f"/migrations/{path}")
        fields = [a["id"] for name, a in page.tags if name in ("input", "select") and a.get("type") != "hidden"]
        assert [label["for"] for label in page.all("label")] == fields
        assert len(page.all("button", type="submit")) == len(page.all("form"))


@pytest.mark.parametrize("ending", ["", ".json"])
@pytest.mark.parametrize(
    ("query", "choices"),
    [
        ("state=gone", ["applied", "in-flight", "pending", "missing", "unknown"]),
        ("phase=later", ["before-deploy", "after-deploy", "final"]),
        ("status=gone", ["done", "pending", "empty", "running", "failed", "interrupted", "unknown"]),
        ("branch=x", ["shop"]),
        ("has=luck", ["error", "head", "merge", "branch-point", "depends-on"]),
    ],
)
def test_a_value_that_a_filter_does_not_have_is_a_bad_request_that_lists_those_it_has(
    ending: str, query: str, choices: list[str]
) -> None:
    client = make_client(branched())
    if ending:
        assert get_json(client, f"/migrations/revisions{ending}?{query}", 400)["error"]["choices"] == choices
    else:
        page = get_page(client, f"/migrations/revisions?{query}", 400)
        assert " ".join(choices) in page.text


@pytest.mark.parametrize("query", ["size=0", "size=x", "page=x", "before=0", f"q={'x' * 201}", "before=1&after=1"])
def test_a_number_or_a_search_that_cannot_be_is_a_bad_request(query: str) -> None:
    client = make_client()
    path = "journal" if "before" in query else "revisions"

    assert client.get(f"/migrations/{path}?{query}").status_code == 400
    assert client.get(f"/migrations/{path}.json?{query}").status_code == 400


@pytest.mark.parametrize(("query", "size"), [("", 100), ("size=50", 50), ("size=100000", 200), ("size=7", 7)])
def test_the_size_of_a_page_can_be_chosen_up_to_200(query: str, size: int) -> None:
    answer = get_json(make_client(long_source(300)), f"{REVISIONS}?{query}")

    assert (len(answer["items"]), answer["page"]["size"]) == (size, size)


def test_filters_and_size_survive_paging() -> None:
    client = make_client(long_source(60))
    page = get_page(client, "/migrations/revisions?q=message&size=10&state=pending")
    twin = get_json(client, f"{REVISIONS}?q=message&size=10&state=pending")

    (link,) = page.all("a", rel="next")
    assert link["href"] == "/migrations/revisions?state=pending&q=message&size=10&page=2"
    assert twin["page"]["next"] == "/migrations/revisions.json?state=pending&q=message&size=10&page=2"


def test_the_filters_of_a_page_and_of_its_twin_leave_the_same() -> None:
    client = make_client(branched())
    for query in ("", "has=error", "q=2", "branch=shop"):
        page = get_page(client, f"/migrations/revisions?{query}")
        assert len(page.all("tr")) - 1 == len(get_json(client, f"{REVISIONS}?{query}")["items"])


def test_nothing_left_by_the_filters_says_so_and_leads_back() -> None:
    page = get_page(make_client(), "/migrations/revisions?q=nothing+like+it")

    assert "No revision passes the filters." in page.text
    assert {"href": "/migrations/revisions"} in page.all("a")


# -- around -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["0000", "0017", "001d"])
def test_around_gives_the_page_that_has_the_revision(name: str) -> None:
    client = make_client(long_source(30), page_size=7)

    answer = get_json(client, f"{REVISIONS}?around={name}")
    page = get_page(client, f"/migrations/revisions?around={name}")
    graph = get_json(client, f"/migrations/graph.json?around={name}")

    assert name in [item["revision"] for item in answer["items"]]
    assert [row["class"] for row in page.all("tr", id="around")] == ["around"]
    assert name in [node["revision"] for node in graph["nodes"]]


@pytest.mark.parametrize(("query", "status"), [("around=ffff", 404), ("around=0", 404), ("around=0001&q=0002", 404)])
def test_around_what_is_not_listed_is_not_found(query: str, status: int) -> None:
    assert make_client(long_source(30)).get(f"/migrations/revisions?{query}").status_code == status


def test_the_pager_leads_to_first_last_and_near_pages() -> None:
    page = get_page(make_client(long_source(200), page_size=10), "/migrations/revisions?page=10")

    numbers = re.search(r"page 10 of 20 (.*?) Older", page.text)
    assert numbers is not None
    assert numbers[1] == "1 … 8 9 10 11 12 … 20"
    assert [link["aria-current"] for link in page.all("a", href="/migrations/revisions?page=10")] == ["page"]


# -- 5,000 revisions --------------------------------------------------------------------------------


def large_graph(count: int) -> Graph:
    chance, found, heads = random.Random(5), [], []
    for _ in range(count):
        name = f"{chance.getrandbits(48):012x}"
        down = tuple(chance.sample(heads, 2)) if len(heads) > 1 and chance.random() < 0.02 else tuple(heads[-1:])
        if len(heads) > 7 or chance.random() > 0.02:
            heads = [head for head in heads if head not in down]
        heads.append(name)
        found.append(revision(name, *down, message="add the column currency to the table invoice"))
    return graph_of(*found)


@pytest.fixture(scope="module")
def large() -> FakeSource:
    graph = large_graph(5000)
    history = History("default", frozenset(graph.heads[:1]), dialect="sqlite")
    times = {(name, phase): datetime(2026, 1, 1) for name in graph.revisions for phase in ("before-deploy", "final")}
    return FakeSource(graph, (history,), finished=times)


@pytest.mark.parametrize(
    "path", ["revisions", "revisions?page=25", "revisions?q=invoice", "graph", "graph?page=25", "plan"]
)
def test_a_page_of_100_among_5000_is_quick_and_light(large: FakeSource, path: str) -> None:
    client = make_client(large)
    client.get(f"/migrations/{path}")

    taken = []
    for _ in range(3):
        begun = time.process_time()
        response = client.get(f"/migrations/{path}")
        taken.append(time.process_time() - begun)

    assert response.status_code == 200
    assert len(response.data) < 150 * 1024
    assert min(taken) < 0.15


def test_walking_5000_revisions_visits_each_once_in_order(large: FakeSource) -> None:
    client, path, seen = make_client(large), f"{REVISIONS}?size=200", []
    while path:
        answer = get_json(client, path)
        seen += [item["revision"] for item in answer["items"]]
        path = answer["page"]["next"]

    assert seen == list(large.read_files().order)
    assert len(set(seen)) == 5000


# -- the drawing ------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_a_drawn_window_is_a_slice_of_the_whole_drawing(graph: Graph) -> None:
    rows = Files(graph).lanes
    whole = draw_rows(rows)
    for place, row in enumerate(rows):
        alone = draw_rows([row])
        assert (alone.nodes[0].x, alone.nodes[0].y + place * ROW_HEIGHT) == (whole.nodes[place].x, whole.nodes[place].y)
        assert draw_cell(row, row.width).width == row.width * PITCH


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_windows_of_the_graph_page_show_each_revision_once(graph: Graph) -> None:
    state = BindState(Files(graph), "default")
    pages = [show_graph(state, number=number, size=4) for number in range(1, max(1, -(-len(graph) // 4)) + 1)]

    assert [row.id for page in pages for row in page.rows] == list(state.files.order)
    assert [lane for page in pages for lane in page.lanes] == list(state.files.lanes)
    assert [page.drawing.goes_on_below for page in pages[:-1]] == [page.drawing.goes_on_above for page in pages[1:]]


def test_a_cell_has_the_lines_that_pass_arrive_and_leave() -> None:
    graph = graph_of(revision("1"), revision("2a", "1"), revision("2b", "1", depends_on=("2a",)))
    drawn = {row.revision: draw_cell(row, 2) for row in Files(graph).lanes}

    assert [(stroke.colour, stroke.depends, stroke.path) for stroke in drawn["2b"].strokes] == [
        (0, False, "M7 50V100"),
        (1, True, "M7 50C7 75 21 75 21 100"),
    ]
    assert [(stroke.colour, stroke.depends, stroke.path) for stroke in drawn["2a"].strokes] == [
        (0, False, "M7 0V100M21 50C21 75 7 75 7 100"),
        (1, True, "M21 0V50"),
    ]
    assert (drawn["2a"].width, drawn["2a"].node.x) == (28, 21)


def test_the_list_has_a_drawn_cell_for_each_row_unless_it_is_filtered() -> None:
    client = make_client(branched())

    assert len(get_page(client, "/migrations/revisions").all("svg")) == 6
    assert get_page(client, "/migrations/revisions?has=error").all("svg") == []


def test_the_graph_page_is_an_image_with_a_name_and_a_list_that_says_the_same() -> None:
    page = get_page(make_client(branched()), "/migrations/graph")

    (svg,) = page.all("svg")
    assert (svg["role"], svg["aria-labelledby"]) == ("img", "graph-title graph-description")
    assert "Revisions 1 to 5 of 5" in page.text
    assert "1 head, 3 lanes." in page.text
    links = [link["href"] for link in page.all("a")]
    assert {f"/migrations/revisions/{name}" for name in ("4x", "3m", "2b", "2a", "1a")} <= set(links)
    assert "3m merge merge pending Parents: 2a 2b Children: 4x" in page.text


def test_graph_json_has_nodes_edges_and_their_place() -> None:
    answer = get_json(make_client(branched()), "/migrations/graph.json?size=2&page=1")

    assert [(node["revision"], node["row"], node["state"]) for node in answer["nodes"]] == [
        ("4x", 0, "pending"),
        ("3m", 1, "pending"),
    ]
    assert answer["edges"] == [
        {"from": "4x", "to": "3m", "kind": "down"},
        {"from": "4x", "to": "2a", "kind": "depends"},
        {"from": "3m", "to": "2a", "kind": "down"},
        {"from": "3m", "to": "2b", "kind": "down"},
    ]
    assert answer["page"] == {
        "number": 1,
        "pages": 3,
        "size": 2,
        "total": 5,
        "next": "/migrations/graph.json?size=2&page=2",
        "prev": None,
    }


@pytest.mark.parametrize(("path", "beginning"), [("graph.dot", "digraph "), ("graph.mmd", "flowchart ")])
def test_the_graph_is_given_as_text_for_other_programs(path: str, beginning: str) -> None:
    response = make_client(branched()).get(f"/migrations/{path}")

    assert (response.status_code, response.content_type) == (200, "text/plain; charset=utf-8")
    assert response.text.startswith(beginning)
    assert make_client(small_source(histories=DOWN)).get(f"/migrations/{path}").status_code == 503


def test_revisions_without_a_file_are_named_beside_the_drawing() -> None:
    source = small_source(histories=(History("default", frozenset({"ffff"})),))

    assert (
        "Revisions without a file, which stand in no line: ffff"
        in get_page(make_client(source), "/migrations/graph").text
    )
    assert get_json(make_client(source), "/migrations/graph.json")["missing"] == ["ffff"]


# -- heads ------------------------------------------------------------------------------------------


def test_heads_are_compared_with_where_the_database_is() -> None:
    graph = graph_of(revision("1a"), revision("2a", "1a", labels=("shop",)), revision("2b", "1a"))
    source = FakeSource(graph, (History("default", frozenset({"1a", "ffff"}), dialect="sqlite"),))

    answer = get_json(make_client(source), "/migrations/heads.json")
    page = get_page(make_client(source), "/migrations/heads")

    assert [(item["revision"], item["size"], item["behind"]) for item in answer["items"]] == [
        ("2a", 2, 1),
        ("2b", 2, 1),
    ]
    assert [(row["revision"], row["has_file"], row["is_head"], row["behind"]) for row in answer["current"]] == [
        ("1a", True, False, 2),
        ("ffff", False, False, None),
    ]
    assert answer["commands"] == [
        'flask db merge heads -m "merge the heads"',
        "flask db upgrade --phase before-deploy heads",
    ]
    assert "There are several heads. That is no error" in page.text
    assert "The database is ahead of this code." in page.text


# -- journal ----------------------------------------------------------------------------------------


def test_the_journal_leads_on_by_id_and_back() -> None:
    source = small_source(executions=tuple(execution(number) for number in range(1, 26)))
    client = make_client(source, page_size=10)

    first = get_json(client, "/migrations/journal.json?status=done")
    second = get_json(client, first["page"]["next"])

    assert first["page"] == {
        "size": 10,
        "total": None,
        "next": "/migrations/journal.json?status=done&before=16",
        "prev": None,
    }
    assert [item["id"] for item in second["items"]] == list(range(15, 5, -1))
    assert second["page"]["prev"] == "/migrations/journal.json?status=done&after=15"
    page = get_page(client, "/migrations/journal?before=16")
    assert [link["href"] for link in page.all("a", rel="next")] == ["/migrations/journal?before=6"]


def test_an_execution_shows_its_error_open_and_the_rest_of_its_run() -> None:
    failed = execution(2, "failed", run_id="run", error=f"boom {EVIL}", traceback="Traceback (most recent call last):")
    source = small_source(executions=(execution(1, run_id="run"), failed, execution(3)))
    client = make_client(source)

    page = get_page(client, "/migrations/journal/2")
    answer = get_json(client, "/migrations/journal/2.json")

    assert f"boom {EVIL}" in page.text
    assert EVIL not in client.get("/migrations/journal/2").text
    assert page.all("details") == [{"open": None}]
    assert [item["id"] for item in answer["items"]] == [1, 2]
    assert answer["commands"] == ["flask db trace 2", "flask db upgrade --phase before-deploy"]
    assert (answer["execution"]["started_at"], answer["execution"]["duration_ms"]) == ("2026-03-01T11:00:00Z", 1500)


@pytest.mark.parametrize(
    ("status", "commands"),
    [
        ("done", []),
        ("running", ["flask db status"]),
        ("interrupted", ["flask db resolve 1b before-deploy --resume | --restart | --mark-done --reason TEXT"]),
    ],
)
def test_an_execution_has_the_command_that_leads_on(status: str, commands: list[str]) -> None:
    client = make_client(small_source(executions=(execution(1, status),)))

    assert get_json(client, "/migrations/journal/1.json")["commands"] == commands


def test_an_execution_that_the_journal_has_not_is_not_found() -> None:
    client = make_client()

    assert "The journal of default has no execution 99." in get_page(client, "/migrations/journal/99", 404).text
    assert get_json(client, "/migrations/journal/99.json", 404)["error"]["status"] == 404


# -- what runs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "revisions", "revisions/1b", "journal", "journal/1"])
def test_a_page_asks_for_another_look_only_while_a_step_runs(path: str) -> None:
    records = {("1b", "final"): Record("1b", "final", "running")}
    history = History("default", frozenset({"1a"}), records, locked=True)
    running = small_source(histories=(history,), executions=(execution(1, "running", phase="final"),))

    seen = [
        (any("data-refresh" in found for found in page.all("div")), "A step is running." in page.text)
        for page in (get_page(make_client(source), f"/migrations/{path}") for source in (running, small_source()))
    ]

    assert [all(seen[0]), any(seen[1])] == [True, False]


def test_who_holds_the_run_lock_is_said_first() -> None:
    records = {("1b", "final"): Record("1b", "final", "running")}
    history = History("default", frozenset({"1a"}), records, locked=True)
    source = small_source(histories=(history,), executions=(execution(1, "running"),))

    check = get_json(make_client(source), "/migrations/index.json")["checks"][0]

    assert check == {
        "name": "runner",
        "level": "running",
        "text": "Process 4711 on web-1 holds the run lock since 2026-03-01T11:00:00Z.",
        "command": "flask db journal --open",
        "revisions": [],
    }


# -- twins ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["revisions", "journal", "plan"])
def test_a_page_and_its_twin_have_the_same_number_of_items(path: str) -> None:
    source = replace(two_binds(), executions=tuple(execution(number) for number in range(1, 4)))
    client = make_client(source)
    phase = "?phase=after-deploy" if path == "plan" else ""

    page, twin = get_page(client, f"/migrations/{path}{phase}"), get_json(client, f"/migrations/{path}.json{phase}")

    assert len(page.all("tr")) - 1 == len(twin["items"]) > 0


def test_a_revision_says_what_is_particular_about_its_place() -> None:
    graph = graph_of(Revision("1", labels=("shop",), message="x"))

    (item,) = get_json(make_client(FakeSource(graph)), REVISIONS)["items"]

    assert (item["flags"], item["branch_labels"]) == (["head", "base"], ["shop"])
