"""``flask db graph``: every format through the command line, with names that look like syntax."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from shell import PHASED, PLAIN, Outcome, flask_db, snapshot, tables
from support import Site

HEADLINE = 'say "hi" & <b>bye</b> #1; [x] {y} | z'
MESSAGE = f"{HEADLINE}\\n\\nA second paragraph with a \\\\backslash\\nand a line -->|break|"
IDS = ["5", "4", "3", "2", "1"]
EDGES = [("5", "4", "down"), ("4", "3", "down"), ("4", "2", "down"), ("3", "1", "down"), ("2", "1", "down")]


@pytest.fixture
def site(project: Callable[..., Site], sqlite_url: str) -> Site:
    """1 is a branch point, 4 a merge, 5 the head; 7 is a line of its own that depends on 3."""
    site = project(sqlite_url)
    site.revision("1", None, PLAIN, message="create account")
    site.revision("2", "1", PHASED, message=MESSAGE, labels=("left<&>",))
    site.revision("3", "1", "def upgrade():\n    pass\n", labels=("right", 'quoted"label'))
    site.revision("4", ("3", "2"), "def upgrade():\n    pass\n", message="merge left and right")
    site.revision("5", "4", "def upgrade():\n    pass\n", message="")
    site.revision("7", None, "def upgrade():\n    op.execute('SELECT 7')\n", depends_on="right", message="other line")
    return site


def graph(site: Site, *options: str) -> str:
    """Return what ``flask db graph`` prints."""
    outcome = flask_db(site, "graph", *options)
    assert (outcome.status, outcome.stderr) == (0, "")
    return outcome.stdout


def edges_of(found: dict[str, list[dict[str, str]]]) -> set[tuple[str, str, str]]:
    return {(edge["from"], edge["to"], edge["kind"]) for edge in found["edges"]}


def test_json_has_every_revision_and_both_kinds_of_edge_from_child_to_parent(site: Site):
    found = json.loads(graph(site, "--format", "json"))
    assert (set(found), found["schema"]) == ({"schema", "nodes", "edges"}, 1)
    assert [set(node) for node in found["nodes"]] == [{"revision", "message", "branch_labels", "state"}] * 6
    assert [set(edge) for edge in found["edges"]] == [{"from", "to", "kind"}] * 6
    assert edges_of(found) == {*EDGES, ("7", "3", "depends")}
    assert {node["revision"]: node["branch_labels"] for node in found["nodes"]} == {
        "1": [],
        "2": ["left<&>"],
        "3": ['quoted"label', "right"],
        "4": [],
        "5": [],
        "7": [],
    }
    assert {node["state"] for node in found["nodes"]} == {None}


def test_json_lists_children_before_their_parents(site: Site):
    found = json.loads(graph(site, "--format", "json"))
    position = {node["revision"]: number for number, node in enumerate(found["nodes"])}
    assert all(position[edge["from"]] < position[edge["to"]] for edge in found["edges"])


def test_json_has_messages_as_they_were_written(site: Site):
    messages = {node["revision"]: node["message"] for node in json.loads(graph(site, "--format", "json"))["nodes"]}
    assert messages["2"].startswith(HEADLINE)
    assert messages["4"] == "merge left and right"


# -- dot ---------------------------------------------------------------------------------------------

QUOTED = r'"(?:[^"\\]|\\.)*"'


def statements(text: str) -> list[str]:
    """Return dot's lines without the braces, each of them well-formed with balanced quotes."""
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == ("digraph revisions {", "}")
    for line in lines[1:-1]:
        rest = re.sub(QUOTED, "Q", line)
        assert re.fullmatch(r"    (\w+|Q)( -> Q)?( \[[\w=,# Q]*\])?;", rest), line
    return [line.strip() for line in lines[1:-1]]


def test_dot_is_what_is_printed_without_options(site: Site):
    assert graph(site) == graph(site, "--format", "dot")


def test_dot_has_one_statement_a_node_and_an_edge(site: Site):
    found = statements(graph(site))
    arrows = [line for line in found if "->" in line]
    assert sorted(arrows) == [
        '"2" -> "1";',
        '"3" -> "1";',
        '"4" -> "2";',
        '"4" -> "3";',
        '"5" -> "4";',
        '"7" -> "3" [style=dashed, label="depends on"];',
    ]
    assert sorted(line[:3] for line in found if line.startswith('"') and "->" not in line) == [
        f'"{name}"' for name in "123457"
    ]


def test_dot_marks_merges_branch_points_and_heads(site: Site):
    lines = {line[1]: line for line in statements(graph(site)) if line.startswith('"') and "->" not in line}
    assert "shape=hexagon" in lines["4"]
    assert "shape=octagon" in lines["1"]
    assert {name for name, line in lines.items() if "peripheries=2" in line} == {"5", "7"}


def test_dot_keeps_names_that_look_like_syntax(site: Site):
    (line,) = [line for line in statements(graph(site)) if line.startswith('"2" [')]
    assert 'say \\"hi\\" &amp; <b>bye</b> #1; [x] {y} | z' in line
    assert "(label: left<&amp;>)" in line
    assert "second paragraph" not in line


@pytest.fixture
def strange(project: Callable[..., Site], sqlite_url: str) -> Site:
    """Three revisions whose messages are other languages' syntax."""
    site = project(sqlite_url)
    plain = "def upgrade():\n    pass\n"
    site.revision("a1", None, plain, message='</text><script>alert(1)</script>"; } digraph x {')
    site.revision("b2", "a1", plain, message="end --> start; %%{init}%% `x` ~~~ subgraph")
    site.revision("c3", "b2", plain, message="tab\\there, nul\\x00, bell\\x07, \u202eright to left\u202c")
    return site


@pytest.mark.parametrize("name", ["site", "strange"])
def test_dot_is_what_graphviz_reads(request: pytest.FixtureRequest, name: str):
    text = graph(request.getfixturevalue(name))
    found = statements(text)
    if shutil.which("dot") is None:
        return
    done = subprocess.run(["dot", "-Tjson"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    drawn = json.loads(done.stdout)
    arrows = [line for line in found if re.match(rf"{QUOTED} -> ", line)]
    assert len(drawn["edges"]) == len(arrows)
    assert len(drawn["objects"]) == len([line for line in found if line.startswith('"')]) - len(arrows)


# -- mermaid, svg, text --------------------------------------------------------------------------------


def test_mermaid_has_a_line_for_each_node_and_edge(site: Site):
    lines = graph(site, "--format", "mermaid").splitlines()
    assert lines[0] == "flowchart TB"
    assert len([line for line in lines if " --> " in line]) == 5
    assert len([line for line in lines if "-. depends on .->" in line]) == 1


@pytest.mark.parametrize("name", ["site", "strange"])
def test_mermaid_texts_hold_nothing_that_mermaid_reads(request: pytest.FixtureRequest, name: str):
    for line in graph(request.getfixturevalue(name), "--format", "mermaid").splitlines()[1:]:
        found = re.fullmatch(r'    \w+(?:\[|\{\{|\(\[)"(.*)"(?:\]|\}\}|\]\))', line)
        if found is None:
            assert re.fullmatch(r"    [\w ,:#-]+|    \w+ (-->|-\. depends on \.->) \w+", line), line
            continue
        text = re.sub(r"#(?:\d+|\w+);|<br/>", "", found[1])
        assert not set(text) & set('"#;<>`'), line


@pytest.mark.parametrize("name", ["site", "strange"])
def test_svg_is_well_formed_and_has_no_script(request: pytest.FixtureRequest, name: str):
    root = ElementTree.fromstring(graph(request.getfixturevalue(name), "--format", "svg"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [element for element in root.iter() if element.tag.endswith("script")]


def test_svg_shows_the_messages(site: Site):
    root = ElementTree.fromstring(graph(site, "--format", "svg"))
    words = " ".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("text"))
    assert HEADLINE in words
    assert "left<&>" in words


def test_text_has_one_line_with_each_revision(site: Site):
    output = graph(site, "--format", "text")
    named = re.findall(r"(?m)^[-|/\\ ]*[*o][-|/\\ ]* (\d)\b", output)
    assert sorted(named) == ["1", "2", "3", "4", "5", "7"]
    assert f"2 (label: left<&>) {HEADLINE}" in output
    assert "depends on: 3" in output
    assert "4 (merge) merge left and right" in output
    assert "\x1b" not in output


# -- status ----------------------------------------------------------------------------------------------


@pytest.fixture
def in_flight(site: Site) -> Site:
    """1 is applied, 2 in flight, the others are pending."""
    assert flask_db(site, "upgrade", "1").status == 0
    assert flask_db(site, "upgrade", "--phase", "before-deploy", "2").status == 0
    return site


def test_without_status_no_database_is_asked(project: Callable[..., Site], tmp_path: Path):
    site = project(f"sqlite:///{tmp_path}/nowhere/x.db")
    site.revision("1", None, PLAIN, message="first")
    assert '"1" [label="1\\nfirst\\n(head)", peripheries=2];' in graph(site)


def test_status_marks_what_is_applied_and_in_flight(in_flight: Site):
    before = snapshot(in_flight)
    found = json.loads(graph(in_flight, "--format", "json", "--status"))
    assert {node["revision"]: node["state"] for node in found["nodes"]} == {
        "1": "applied",
        "2": "in-flight",
        "3": "pending",
        "4": "pending",
        "5": "pending",
        "7": "pending",
    }
    assert snapshot(in_flight) == before


@pytest.mark.parametrize("format_", ["dot", "mermaid", "svg", "text"])
def test_every_drawing_says_the_states_and_the_current_revision(in_flight: Site, format_: str):
    output = graph(in_flight, "--format", format_, "--status")
    plain = output.replace("#91;", "[").replace("#93;", "]").replace("&#91;", "[")
    for word in ("[applied]", "[in-flight]", "[pending]", "(current)"):
        assert word in plain


def test_status_draws_what_only_the_database_knows(in_flight: Site):
    from shell import rows

    rows(in_flight, "UPDATE alembic_version SET version_num = 'zz'")
    found = json.loads(graph(in_flight, "--format", "json", "--status"))
    assert found["nodes"][0] == {"revision": "zz", "message": "", "branch_labels": [], "state": "missing"}


def test_status_of_a_database_that_is_empty(site: Site):
    found = json.loads(graph(site, "--format", "json", "--status"))
    assert {node["state"] for node in found["nodes"]} == {"pending"}
    assert tables(site) == []


def test_status_of_several_binds_has_to_say_which(project: Callable[..., Site], sqlite_url: str, tmp_path: Path):
    site = project(sqlite_url, binds={"reports": f"sqlite:///{tmp_path}/reports.db"})
    site.revision("1", None, PLAIN)
    outcome = flask_db(site, "graph", "--status")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert "Say whose state to mark: --bind NAME" in outcome.stderr
    assert flask_db(site, "upgrade", "--bind", "reports").status == 0
    states = [
        json.loads(graph(site, "--status", "--format", "json", "--bind", bind))["nodes"][0]["state"]
        for bind in ("default", "reports")
    ]
    assert states == ["pending", "applied"]


# -- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("x.dot", "dot"),
        ("x.gv", "dot"),
        ("x.mmd", "mermaid"),
        ("x.svg", "svg"),
        ("x.txt", "text"),
        ("x.json", "json"),
        ("X.SVG", "svg"),
        ("folder.d/x.mmd", "mermaid"),
        ("x", "dot"),
    ],
)
def test_the_ending_of_the_file_chooses_the_format(site: Site, name: str, format_: str):
    (site.folder / "folder.d").mkdir()
    assert flask_db(site, "graph", "-o", name) == Outcome(0, "", f"Wrote {name}\n")
    assert (site.folder / name).read_text(encoding="utf-8") == graph(site, "--format", format_)


def test_the_option_wins_over_the_ending(site: Site):
    assert flask_db(site, "graph", "-o", "x.svg", "--format", "text").status == 0
    assert (site.folder / "x.svg").read_text(encoding="utf-8") == graph(site, "--format", "text")


def test_an_ending_that_stands_for_nothing_exits_2_and_writes_nothing(site: Site):
    before = snapshot(site)
    assert flask_db(site, "graph", "-o", "x.png") == Outcome(
        2,
        "",
        "Error: No graph format has the ending '.png' (x.png). The endings are: .dot .gv .mmd .svg .txt .json. "
        "Rename the file, or give --format.\n",
    )
    assert snapshot(site) == before


def test_an_unknown_format_exits_2(site: Site):
    outcome = flask_db(site, "graph", "--format", "png")
    assert (outcome.status, outcome.stdout) == (2, "")
    assert "'png' is not one of 'dot', 'mermaid', 'svg', 'text', 'json'" in outcome.stderr


@pytest.mark.parametrize("format_", ["dot", "mermaid", "svg", "text", "json"])
def test_every_format_ends_with_one_line_break_and_is_the_same_each_time(site: Site, format_: str):
    first, second = graph(site, "--format", format_), graph(site, "--format", format_)
    assert first == second
    assert re.search(r"[^\n]\n\Z", first)


def test_a_real_process_writes_utf8_whatever_the_locale(project: Callable[..., Site], sqlite_url: str):
    site = project(sqlite_url)
    site.revision("1", None, PLAIN, message="año 年")
    printed = site.flask("db", "graph", "--format", "text", env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    written = site.flask("db", "graph", "-o", "x.txt", env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert (printed.returncode, written.returncode) == (0, 0)
    assert "Traceback" not in printed.stderr + written.stderr
    assert "año 年" in (site.folder / "x.txt").read_text(encoding="utf-8")
