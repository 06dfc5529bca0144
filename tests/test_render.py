"""Graphs as dot, Mermaid, SVG, text and JSON."""

from __future__ import annotations

import json
import re
import time
from xml.etree import ElementTree

import pytest
from graphs import graph_of, graphs
from hypothesis import given, settings

from flask_phased_migrate.errors import UsageError
from flask_phased_migrate.graph import Graph, Revision
from flask_phased_migrate.lanes import lanes
from flask_phased_migrate.render import FORMATS, format_of, graph_data, render_graph

SVG = "{http://www.w3.org/2000/svg}"


def lines_of(text: str) -> list[str]:
    assert text.endswith("\n") and not text.endswith("\n\n")
    return text[:-1].split("\n")


linear = graph_of(
    Revision("1", message="create account"),
    Revision("2", ("1",), message="add email\n\nMore words."),
    Revision("3", ("2",)),
)
diamond = graph_of(
    Revision("1", message="base"),
    Revision("2a", ("1",), message="left"),
    Revision("2b", ("1",), labels=("reports",), message="right"),
    Revision("3", ("2a", "2b"), message="merge"),
)
three_way = graph_of(
    Revision("1"),
    Revision("2a", ("1",)),
    Revision("2b", ("1",)),
    Revision("2c", ("1",)),
    Revision("3", ("2a", "2b", "2c")),
)
two_bases = graph_of(Revision("1"), Revision("2", ("1",)), Revision("x1", labels=("audit",)), Revision("x2", ("x1",)))
depending = graph_of(
    Revision("1"),
    Revision("2", ("1",)),
    Revision("x1", labels=("audit",)),
    Revision("x2", ("x1",), depends_on=("1",), message="needs the base"),
)
ALL = {
    "linear": linear,
    "diamond": diamond,
    "three-way": three_way,
    "two bases": two_bases,
    "depending": depending,
}

NASTY = {
    "quotes": "say \"yes\" or 'no'",
    "backslash at the end": "a path C:\\",
    "backslash and quote": 'odd \\" end',
    "dot escapes": "\\N \\G \\l {a|b}",
    "markup": "<b>bold</b> & &lt; ]]> <!-- x -->",
    "mermaid": '"] # ; `x` }} end --> y | z %% c $$$x$$ #quot; ',
    "list": "1. first",
    "non-ASCII": "größe ändern 日本語 🎉",
    "control": "bell\x07 nul\x00 escape\x1b[31m next\x85",
    "direction": "abc\u202edef\u2066",
    "surrogate": "half \ud83d end",
    "not XML": "\ufffe\uffff",
    "tab": "a\tb",
}


# -- formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "format_"),
    [
        ("g.dot", "dot"),
        ("g.gv", "dot"),
        ("dir.x/g.mmd", "mermaid"),
        ("/tmp/g.SVG", "svg"),
        ("g.txt", "text"),
        ("g.v2.json", "json"),
        ("graph", "dot"),
        ("graph.", "dot"),
        ("-", "dot"),
    ],
)
def test_the_ending_names_the_format(path, format_):
    assert format_of(path) == format_


def test_a_path_without_ending_gets_the_default():
    assert format_of("dir.svg/graph", default="text") == "text"


def test_an_unknown_ending_is_a_usage_error_that_names_the_endings():
    with pytest.raises(UsageError) as caught:
        format_of("out.png")
    assert str(caught.value) == (
        "No graph format has the ending '.png' (out.png). The endings are: .dot .gv .mmd .svg .txt .json. "
        "Rename the file, or give --format."
    )


def test_an_unknown_format_is_a_usage_error_that_names_the_formats():
    with pytest.raises(UsageError) as caught:
        render_graph(linear, "png")
    assert str(caught.value) == ("There is no graph format 'png'. The formats are: dot, mermaid, svg, text, json.")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("format_", FORMATS)
def test_output_is_the_same_each_time_and_ends_with_one_line_break(format_, name):
    first, second = (render_graph(Graph(dict(ALL[name].revisions)), format_) for _ in range(2))
    assert first == second
    assert first.endswith("\n") and not first.endswith("\n\n")


# -- dot ------------------------------------------------------------------------------------------


def test_dot_has_arrows_from_child_to_parent_newest_first():
    assert lines_of(render_graph(linear, "dot")) == [
        "digraph revisions {",
        "    graph [rankdir=TB];",
        '    node [shape=box, style="rounded"];',
        '    "3" [label="3\\n(head)", peripheries=2];',
        '    "2" [label="2\\nadd email"];',
        '    "1" [label="1\\ncreate account"];',
        '    "3" -> "2";',
        '    "2" -> "1";',
        "}",
    ]


def test_dot_marks_merges_branch_points_labels_and_states_by_shape_and_word():
    states = {"1": "applied", "2a": "in-flight", "2b": "pending", "3": "pending", "gone": "missing"}
    output = render_graph(diamond, "dot", states, current=["1", "gone"])
    assert [line for line in lines_of(output) if "label=" in line] == [
        '    "gone" [label="gone\\n(current) [missing]", style="dotted"];',
        '    "3" [label="3\\nmerge\\n(head) (merge) [pending]", shape=hexagon, peripheries=2];',
        '    "2a" [label="2a\\nleft\\n[in-flight]", style="rounded,dashed,bold"];',
        '    "2b" [label="2b\\nright\\n(label: reports) [pending]"];',
        '    "1" [label="1\\nbase\\n(branch point) (current) [applied]", shape=octagon, '
        'style="rounded,filled", fillcolor="#d3d3d3", fontcolor="#000000"];',
    ]


def test_dot_draws_depends_on_dashed():
    edges = [line.strip() for line in lines_of(render_graph(depending, "dot")) if "->" in line]
    assert edges == [
        '"2" -> "1";',
        '"x2" -> "x1";',
        '"x2" -> "1" [style=dashed, label="depends on"];',
    ]


def test_a_parent_that_is_also_named_in_depends_on_is_one_edge():
    graph = graph_of(Revision("1"), Revision("2", ("1",), depends_on=("1",)))
    assert graph_data(graph, None)["edges"] == [{"from": "2", "to": "1", "kind": "down"}]


def test_a_label_callback_replaces_the_label_and_none_keeps_the_default():
    output = render_graph(linear, "dot", label=lambda revision: None if revision.id == "2" else f"r\n{revision.id}")
    assert lines_of(output)[3:6] == [
        '    "3" [label="r\\n3", xlabel="(head)", peripheries=2];',
        '    "2" [label="2\\nadd email"];',
        '    "1" [label="r\\n1"];',
    ]


DOT_STRING = r'"(?:[^"\\]|\\.)*"'


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_dot_quotes_whatever_an_id_label_or_message_contains(text):
    graph = graph_of(Revision("1", message=text), Revision(text, ("1",), labels=(text,), message=text))
    for line in lines_of(render_graph(graph, "dot", {"1": "applied"}))[3:-1]:
        rest = re.sub(DOT_STRING, "S", line)
        assert re.fullmatch(r"    S( -> S)?( \[[a-z]+=[\w]+(, [a-z]+=\w+)*\])?;", rest), line


def test_dot_keeps_quotes_backslashes_and_references_as_text():
    graph = graph_of(Revision("a\\", message='a "b" &lt; \\N\\'))
    assert lines_of(render_graph(graph, "dot", label=None))[3] == (
        '    "a\\\\" [label="a\\\\\\na \\"b\\" &amp;lt; \\\\N\\\\\\n(head)", peripheries=2];'
    )


# -- mermaid --------------------------------------------------------------------------------------


def test_mermaid_is_a_flowchart_from_child_to_parent():
    assert lines_of(render_graph(diamond, "mermaid")) == [
        "flowchart TB",
        '    r_3{{"3<br/>merge<br/>(head) (merge)"}}',
        '    r_2a["2a<br/>left"]',
        '    r_2b["2b<br/>right<br/>(label: reports)"]',
        '    r_1["1<br/>base<br/>(branch point)"]',
        "    r_3 --> r_2a",
        "    r_3 --> r_2b",
        "    r_2a --> r_1",
        "    r_2b --> r_1",
    ]


def test_mermaid_marks_states_by_class_and_word_and_depends_on_dashed():
    output = lines_of(render_graph(depending, "mermaid", {"1": "applied", "2": "in-flight", "gone": "missing"}))
    assert output == [
        "flowchart TB",
        '    r_gone["gone<br/>#91;missing#93;"]',
        '    r_2(["2<br/>(head) #91;in-flight#93;"])',
        '    r_x2(["x2<br/>needs the base<br/>(head)"])',
        '    r_x1["x1<br/>(label: audit)"]',
        '    r_1["1<br/>#91;applied#93;"]',
        "    r_2 --> r_1",
        "    r_x2 --> r_x1",
        "    r_x2 -. depends on .-> r_1",
        "    classDef applied fill:#d3d3d3,stroke:#555555,color:#000000",
        "    class r_1 applied",
        "    classDef inflight stroke-width:3px,stroke-dasharray:6 3",
        "    class r_2 inflight",
        "    classDef missing stroke-dasharray:2 3",
        "    class r_gone missing",
    ]


def test_mermaid_node_names_are_plain_and_not_shared():
    graph = graph_of(*(Revision(name) for name in ("a_b", "a-b", "a b", "end", "ü")))
    names = [line.split("(")[0].strip() for line in lines_of(render_graph(graph, "mermaid"))[1:]]
    assert names == ["r_a_5f_b", "r_a_2d_b", "r_a_20_b", "r_end", "r__fc_"]


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_mermaid_escapes_whatever_an_id_label_or_message_contains(text):
    graph = graph_of(Revision("1", message=text), Revision(text, ("1",), labels=(text,), message=text))
    for line in lines_of(render_graph(graph, "mermaid"))[1:]:
        node = re.fullmatch(r'    r_\w+(?:\["|\(\[")(.*)(?:"\]|"\]\))', line)
        assert node or re.fullmatch(r"    r_\w+ --> r_1", line), line
        if node:
            bare = re.sub(r"#\d+;|<br/>", "", node[1])
            assert not re.search(r'["#;<>&`\\\[\]{}|%*$]', bare), line


def test_mermaid_keeps_dollar_signs_from_becoming_a_formula():
    graph = graph_of(Revision("1", message="$$$"))
    assert lines_of(render_graph(graph, "mermaid"))[1] == ('    r_1(["1<br/>#36;#8203;#36;#8203;#36;<br/>(head)"])')


# -- text -----------------------------------------------------------------------------------------


def test_text_of_a_line_of_revisions():
    assert lines_of(render_graph(linear, "text", {"1": "applied", "2": "in-flight", "3": "pending"}, ["1"])) == [
        "o 3 (head) [pending]",
        "@ 2 add email [in-flight]",
        "* 1 (current) create account [applied]",
    ]


def test_text_of_a_branch_and_a_merge():
    assert lines_of(render_graph(diamond, "text")) == [
        "* 3 (head) (merge) merge",
        "|\\",
        "* | 2a left",
        "| * 2b (label: reports) right",
        "|/",
        "* 1 (branch point) base",
    ]


def test_text_of_a_three_way_merge():
    assert lines_of(render_graph(three_way, "text")) == [
        "*-- 3 (head) (merge)",
        "|\\ \\",
        "* | | 2a",
        "| * | 2b",
        "|/  |",
        "| --* 2c",
        "|/",
        "* 1 (branch point)",
    ]


def test_text_of_two_bases():
    assert lines_of(render_graph(two_bases, "text")) == [
        "* 2 (head)",
        "* 1",
        "* x2 (head)",
        "* x1 (label: audit)",
    ]


def test_text_notes_what_a_revision_depends_on():
    assert lines_of(render_graph(depending, "text")) == [
        "* 2 (head)",
        "| * x2 (head) needs the base depends on: 1",
        "| |\\",
        "| * : x1 (label: audit)",
        "|  /",
        "*-- 1",
    ]


def test_text_draws_a_far_dependency_back_to_its_parent():
    graph = graph_of(
        Revision("1"),
        Revision("2", ("1",)),
        Revision("3", ("2",), depends_on=("1",)),
    )
    assert lines_of(render_graph(graph, "text")) == [
        "* 3 (head) depends on: 1",
        "|\\",
        "* : 2",
        "|/",
        "* 1",
    ]


def test_text_of_revisions_without_a_file_comes_first():
    states = {"1": "applied", "zz": "missing", "aa": "missing"}
    assert lines_of(render_graph(graph_of(Revision("1")), "text", states, ["1", "zz"])) == [
        "x aa [missing]",
        "x zz (current) [missing]",
        "* 1 (head) (current) [applied]",
    ]


def test_text_of_no_revisions_says_so():
    assert render_graph(Graph(), "text") == "(no revisions)\n"


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_text_is_one_printable_line_a_revision(text):
    graph = graph_of(Revision("1", message=text, labels=(text,)))
    output = render_graph(graph, "text")
    assert output.count("\n") == 1 and len(output.splitlines()) == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", output)


def test_control_characters_are_shown_as_escapes():
    graph = graph_of(Revision("1", message="a\x1b[31m\x00\tb\u202e"))
    assert render_graph(graph, "text") == "* 1 (head) a\\x1b[31m\\x00 b\\u202e\n"


# -- json -----------------------------------------------------------------------------------------


def test_json_has_nodes_and_edges_newest_first():
    assert json.loads(render_graph(depending, "json", {"1": "applied", "x2": "pending"})) == {
        "schema": 1,
        "nodes": [
            {"revision": "2", "message": "", "branch_labels": [], "state": None},
            {"revision": "x2", "message": "needs the base", "branch_labels": [], "state": "pending"},
            {"revision": "x1", "message": "", "branch_labels": ["audit"], "state": None},
            {"revision": "1", "message": "", "branch_labels": [], "state": "applied"},
        ],
        "edges": [
            {"from": "2", "to": "1", "kind": "down"},
            {"from": "x2", "to": "x1", "kind": "down"},
            {"from": "x2", "to": "1", "kind": "depends"},
        ],
    }


def test_json_lists_revisions_without_a_file_first():
    assert graph_data(graph_of(Revision("1")), {"gone": "missing", "1": "pending"})["nodes"] == [
        {"revision": "gone", "message": "", "branch_labels": [], "state": "missing"},
        {"revision": "1", "message": "", "branch_labels": [], "state": "pending"},
    ]


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_json_keeps_messages_as_they_are(text):
    output = render_graph(graph_of(Revision("1", message=text)), "json")
    assert json.loads(output)["nodes"][0]["message"] == text
    assert output.isascii()


# -- svg ------------------------------------------------------------------------------------------


def svg_of(graph, *arguments, **options) -> ElementTree.Element:
    return ElementTree.fromstring(render_graph(graph, "svg", *arguments, **options))


def svg_texts(root: ElementTree.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("graph", ALL.values(), ids=ALL)
def test_svg_obeys_a_strict_content_security_policy(graph):
    root = svg_of(graph, {"1": "applied"})
    names = {element.tag for element in root.iter()}
    attributes = {name for element in root.iter() for name in element.attrib}
    assert names <= {f"{SVG}{name}" for name in ("svg", "title", "desc", "g", "path", "circle", "text", "tspan")}
    assert not [name for name in attributes if name == "style" or name.startswith("on") or "href" in name]


def test_svg_says_what_it_shows_in_words():
    root = svg_of(diamond, {"1": "applied", "2a": "in-flight", "2b": "pending", "3": "pending"}, ["1"])
    assert [element.text for element in root][:2] == [
        "Revisions, newest first",
        "4 revisions; 1 applied; 1 in-flight; 2 pending; heads: 3.",
    ]
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == " ".join(element.get("id") for element in list(root)[:2])
    assert svg_texts(root) == [
        "3 (head) (merge) merge [pending]",
        "2a left [in-flight]",
        "2b (label: reports) right [pending]",
        "1 (branch point) (current) base [applied]",
    ]


def test_svg_marks_states_by_class_and_shape():
    root = svg_of(diamond, {"1": "applied", "2a": "in-flight", "2b": "pending", "gone": "missing"})
    shapes = [
        (group.get("class"), [element.tag.removeprefix(SVG) for element in group][1:-1])
        for group in root.iter(f"{SVG}g")
        if (group.get("class") or "").startswith("revision")
    ]
    assert shapes[1:] == [
        ("revision missing", ["path"]),
        ("revision", ["circle", "circle"]),
        ("revision in-flight", ["circle", "path"]),
        ("revision pending", ["circle"]),
        ("revision applied", ["circle"]),
    ]


@pytest.mark.parametrize("graph", ALL.values(), ids=ALL)
def test_svg_has_a_line_for_every_edge_and_dashes_for_depends_on(graph):
    root = svg_of(graph)
    drawn = [path.get("class") for path in root.iter(f"{SVG}path") if path.get("class")]
    dashed = [path.get("class") for path in root.iter(f"{SVG}path") if path.get("stroke-dasharray")]
    kinds = [edge["kind"] for edge in graph_data(graph, None)["edges"]]
    assert sorted(drawn) == sorted(kinds)
    assert dashed == ["depends"] * kinds.count("depends")


def test_svg_lines_end_at_the_rim_of_the_nodes_and_turn_beside_them():
    root = svg_of(diamond)
    assert [path.get("d") for path in root.iter(f"{SVG}path")] == [
        "M16 30V45",
        "M16 30C16 36 36 30 36 36V73",
        "M36 83C36 92 16 83 16 92",
        "M16 55V101",
    ]


@pytest.mark.parametrize("graph", ALL.values(), ids=ALL)
def test_svg_stays_inside_its_view_box(graph):
    root = svg_of(graph)
    left, top, width, height = map(int, (root.get("viewBox") or "").split())
    circles = list(root.iter(f"{SVG}circle"))
    assert (left, top) == (0, 0) and (root.get("width"), root.get("height")) == (str(width), str(height))
    for circle in circles:
        x, y, r = (int(circle.get(name) or 0) for name in ("cx", "cy", "r"))
        assert r <= x <= width - r and r <= y <= height - r


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_svg_is_valid_xml_whatever_an_id_label_or_message_contains(text):
    graph = graph_of(Revision("1", message=text), Revision(text, ("1",), labels=(text,), message=text))
    output = render_graph(graph, "svg", {text: "pending", "1": "applied", f"{text}!": "missing"})
    assert len(svg_texts(ElementTree.fromstring(output.encode()))) == 3


def test_svg_shows_markup_as_text():
    assert svg_texts(svg_of(graph_of(Revision("1", message="<b>&amp;\"'")))) == ["1 (head) <b>&amp;\"'"]


def test_svg_shortens_an_endless_message_and_keeps_it_in_the_tooltip():
    root = svg_of(graph_of(Revision("1", message="x" * 5000)))
    assert svg_texts(root) == [f"1 (head) {'x' * 159}…"]
    assert [element.text for element in root.iter(f"{SVG}title")][1] == f"1 (head) {'x' * 5000}"


def test_svg_uses_the_label_of_the_caller():
    root = svg_of(linear, label=lambda revision: f"rev\n{revision.id}" if revision.id != "2" else None)
    assert svg_texts(root) == ["rev 3 (head)", "2 add email", "rev 1"]


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_svg_and_text_draw_every_graph(graph):
    root = svg_of(graph)
    drawn = [path.get("class") for path in root.iter(f"{SVG}path")]
    assert len(drawn) == len(graph_data(graph, None)["edges"])
    listed = [line for line in lines_of(render_graph(graph, "text")) if "*" in line]
    ids = [re.sub(r"^[^*]*\*[-|: ]* ", "", line).split(" ")[0] for line in listed]
    assert ids == [row.revision for row in lanes(graph)]


# -- size -----------------------------------------------------------------------------------------


def long_graph(count: int, merge_every: int = 0) -> Graph:
    revisions = [Revision("0")]
    for number in range(1, count):
        down = [str(number - 1)]
        if merge_every and number % merge_every == 0 and number > 2:
            down = [str(number - 1), str(number - 2)]
        elif merge_every and number % merge_every == merge_every - 1 and number > 2:
            down = [str(number - 2 if number > 2 else 0)]
        revisions.append(Revision(str(number), tuple(down), message=f"change {number}"))
    return graph_of(*revisions)


@pytest.mark.parametrize("merge_every", [0, 10], ids=["linear", "merges"])
@pytest.mark.parametrize("format_", FORMATS)
def test_five_thousand_revisions_take_about_a_second(format_, merge_every):
    graph = long_graph(5000, merge_every)
    began = time.process_time()
    output = render_graph(graph, format_, {"4999": "pending"})
    assert time.process_time() - began < 3
    assert len(output.splitlines()) >= 5000
