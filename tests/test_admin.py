"""The admin pages, over plain values: no migrations folder, no database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from admin_pages import (
    DOWN,
    EVIL,
    NOON,
    FakeSource,
    Page,
    execution,
    get_json,
    get_page,
    graph_of,
    long_source,
    make_app,
    make_client,
    revision,
    small_source,
    two_binds,
)
from flask import Blueprint, Flask, redirect

from flask_phased_migrate import admin, errors
from flask_phased_migrate.admin.blueprint import HEADERS
from flask_phased_migrate.admin.executions import STATUSES
from flask_phased_migrate.admin.files import SOURCE_LIMIT
from flask_phased_migrate.admin.overview import Level
from flask_phased_migrate.admin.source import Examination, Operation, Piece, Preview
from flask_phased_migrate.admin.state import UNKNOWN, Flag
from flask_phased_migrate.admin.texts import WORDS
from flask_phased_migrate.lint import Finding
from flask_phased_migrate.phases import Phases
from flask_phased_migrate.plan import History, PhaseState, Record, RevisionState
from flask_phased_migrate.rules.situation import Level as FindingLevel

TWINS = {
    "/migrations/": "/migrations/index.json",
    **{
        f"/migrations/{path}": f"/migrations/{path}.json"
        for path in ("revisions", "revisions/1b", "revisions/1b/sql", "plan", "graph", "journal", "journal/1", "heads")
    },
}
PATHS = (*TWINS, *TWINS.values(), "/migrations/health.json")
TEXTS = ("/migrations/graph.dot", "/migrations/graph.mmd", "/migrations/revisions/1b/step.sql")


def every_route(app: Flask) -> Iterator[str]:
    with app.test_request_context():
        for rule in app.url_map.iter_rules():
            if rule.endpoint.startswith("migrate_admin."):
                known = {"filename": "admin.css", "number": 1, "revision": "1b"}
                values = {name: known[name] for name in rule.arguments if name in known}
                yield app.url_for(rule.endpoint, **values)


# -- who may see it -------------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "DELETE"])
def test_every_route_is_forbidden_until_access_is_set(method: str, debug: bool) -> None:
    app = make_app(access=None)
    app.debug = app.testing = debug

    answers = {path: app.test_client().open(path, method=method).status_code for path in every_route(app)}

    assert answers == dict.fromkeys((*PATHS, *TEXTS, "/migrations/static/admin.css"), 403)


def test_an_unset_access_is_logged_once_when_the_blueprint_is_registered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_app(access=None)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "The migration pages at /migrations are closed: MIGRATE_ADMIN_ACCESS is not set.")
    ]


@pytest.mark.parametrize(("debug", "named"), [(True, True), (False, False)])
@pytest.mark.parametrize("path", ["/migrations/", "/migrations/index.json"])
def test_only_debug_mode_names_the_missing_setting(path: str, debug: bool, named: bool) -> None:
    app = make_app(access=None)
    app.debug = debug

    assert ("MIGRATE_ADMIN_ACCESS" in app.test_client().get(path).text) is named


@pytest.mark.parametrize("answer", [False, None])
@pytest.mark.parametrize("path", PATHS)
def test_a_no_is_forbidden(path: str, answer: object) -> None:
    assert make_client(access=lambda: answer).get(path).status_code == 403


@pytest.mark.parametrize("answer", [True, "read", "write"])
def test_a_yes_opens_the_pages(answer: object) -> None:
    client = make_client(access=lambda: answer)

    assert client.get("/migrations/").status_code == 200


@pytest.mark.parametrize("answer", [1, "yes", "", ("read",), object()])
def test_an_answer_that_is_neither_yes_nor_no_is_forbidden_and_logged(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    response = make_client(access=lambda: answer).get("/migrations/")

    assert response.status_code == 403
    assert [record.getMessage() for record in caplog.records] == [
        f"MIGRATE_ADMIN_ACCESS returned a {type(answer).__name__}, not False, 'read', 'write' or a response; "
        "the admin pages stay closed."
    ]


@pytest.mark.parametrize("path", PATHS)
def test_a_response_is_returned_as_it_is(path: str) -> None:
    response = make_client(access=lambda: redirect("/login")).get(path)

    assert (response.status_code, response.location) == (302, "/login")


@pytest.mark.parametrize("testing", [False, True])
def test_an_access_that_raises_is_forbidden_and_logged(testing: bool, caplog: pytest.LogCaptureFixture) -> None:
    def access() -> bool:
        raise LookupError("no user")

    app = make_app(access=access)
    app.testing = testing

    assert app.test_client().get("/migrations/").status_code == 403
    assert [(r.getMessage(), r.exc_info and str(r.exc_info[1])) for r in caplog.records] == [
        ("MIGRATE_ADMIN_ACCESS raised; the admin pages stay closed.", "no user")
    ]


def test_access_is_asked_again_for_every_request() -> None:
    answers = iter([True, False])
    client = make_client(access=lambda: next(answers))

    assert [client.get("/migrations/").status_code for _ in range(2)] == [200, 403]


def test_a_closed_door_reads_nothing() -> None:
    source = small_source(problem=AssertionError("read"))

    assert make_client(source, access=None).get("/migrations/").status_code == 403


def test_the_pages_of_another_blueprint_are_left_alone() -> None:
    app = make_app(access=None)
    app.add_url_rule("/shop", "shop", lambda: "open")

    assert app.test_client().get("/shop").text == "open"
    assert app.test_client().post("/shop").status_code == 405


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_route_takes_a_method_that_writes(method: str) -> None:
    app = make_app()

    assert {app.test_client().open(path, method=method).status_code for path in every_route(app)} == {405}


def test_routes_answer_head_and_options() -> None:
    client = make_client()

    assert (client.head("/migrations/").status_code, client.head("/migrations/").data) == (200, b"")
    assert sorted(client.options("/migrations/").allow or ()) == ["GET", "HEAD", "OPTIONS"]


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"access": "public"},
            "MIGRATE_ADMIN_ACCESS is 'public'. It must be a callable that returns False, 'read', 'write' "
            "or a response, or the string 'public-read'.",
        ),
        (
            {"url_prefix": "/"},
            "MIGRATE_ADMIN_URL_PREFIX is '/'. It must begin with '/' and name a path: '/migrations'.",
        ),
        (
            {"url_prefix": "ops"},
            "MIGRATE_ADMIN_URL_PREFIX is 'ops'. It must begin with '/' and name a path: '/migrations'.",
        ),
        ({"page_size": 0}, "MIGRATE_ADMIN_PAGE_SIZE is 0. It must be a number from 1 to 200."),
        ({"page_size": "50"}, "MIGRATE_ADMIN_PAGE_SIZE is '50'. It must be a number from 1 to 200."),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        make_app(**settings)

    assert str(caught.value) == message


def test_the_prefix_moves_every_page_and_link() -> None:
    client = make_client(url_prefix="/ops/db/")

    links = [link["href"] or "" for link in get_page(client, "/ops/db/").all("a")]

    assert client.get("/migrations/").status_code == 404
    assert all(href.startswith(("/ops/db/", "#")) for href in links)


def test_the_blueprint_and_its_endpoints_have_the_documented_names() -> None:
    app = make_app()

    assert isinstance(app.blueprints["migrate_admin"], Blueprint)
    pages = ("index", "revisions", "revision", "sql", "plan", "graph", "journal", "execution", "heads")
    others = ("health_json", "graph_dot", "graph_mmd", "sql_file", "static")
    ours = {f"migrate_admin.{name}" for name in (*pages, *(f"{page}_json" for page in pages), *others)}
    assert set(app.view_functions) == {*ours, "static"}


def test_a_layout_of_the_application_surrounds_the_pages(tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text(
        "<title>{% block title %}{% endblock %}</title>{% block head %}{% endblock %}"
        "<main>SHOP {% block content %}{% endblock %}</main>"
    )
    app = Flask("shop", template_folder=str(tmp_path))
    app.register_blueprint(
        admin.create_admin_blueprint(
            small_source(),
            access="public-read",
            base_template="own.html",
            title="Database",
            clock=lambda: NOON,
        )
    )

    page = get_page(app.test_client(), "/migrations/")

    assert page.text.startswith("Overview · Database SHOP")
    assert [link["href"] for link in page.all("link")] == ["/migrations/static/admin.css"]
    assert len(page.all("main")) == 1


# -- overview -------------------------------------------------------------------------------------


def checks_of(source: FakeSource, path: str = "/migrations/index.json") -> list[tuple[str, ...]]:
    checks = get_json(make_client(source), path)["checks"]
    return [(check["name"], check["level"], check["text"], check["command"]) for check in checks]


def test_overview_shows_what_is_pending_and_the_command_for_it() -> None:
    assert checks_of(small_source()) == [
        ("failures", "ok", "No step failed or was interrupted.", None),
        ("before-deploy", "ok", "Nothing to run.", None),
        ("after-deploy", "pending", "1 step to run.", "flask db upgrade --phase after-deploy"),
        ("final", "pending", "1 step to run.", "flask db upgrade --phase final"),
        ("heads", "ok", "The files have one head.", None),
        ("files", "ok", "Every revision that the database names has a file.", None),
    ]


def test_commands_name_the_bind_where_there_are_several() -> None:
    assert checks_of(two_binds(), "/migrations/index.json?bind=reports")[2] == (
        "after-deploy",
        "pending",
        "1 step to run.",
        "flask db upgrade --phase after-deploy --bind reports",
    )


@pytest.mark.parametrize(
    ("record", "locked", "check"),
    [
        ("failed", False, ("1b final", "failed", "This step failed.", "flask db journal --errors")),
        (
            "running",
            False,
            (
                "1b final",
                "interrupted",
                "This step began, and its end is not known.",
                "flask db resolve 1b final --resume | --restart | --mark-done --reason TEXT",
            ),
        ),
        ("running", True, ("1b final", "running", "This step is running now.", "flask db status")),
    ],
)
def test_overview_begins_with_what_went_wrong(record: str, locked: bool, check: tuple[str, ...]) -> None:
    records = {("1b", "final"): Record("1b", "final", record)}
    source = small_source(histories=(History("default", frozenset({"1a"}), records, locked=locked),))

    assert checks_of(source)[0] == check


def test_overview_tells_of_revisions_that_only_wait_for_the_version_table() -> None:
    graph = graph_of(revision("1a"), revision("1b", "1a", phases=()))
    source = FakeSource(graph, (History("default", frozenset({"1a"})),))

    assert checks_of(source)[4] == (
        "version table",
        "pending",
        "The version table has yet to pass 1 revision with nothing left to run.",
        "flask db upgrade --phase after-deploy",
    )


def test_the_version_table_is_not_said_to_wait_while_an_older_revision_is_pending() -> None:
    graph = graph_of(revision("1a"), revision("1b", "1a", phases=()))

    assert "version table" not in [check[0] for check in checks_of(FakeSource(graph))]


def test_overview_tells_of_several_heads() -> None:
    source = FakeSource(graph_of(revision("1a"), revision("1b", "1a"), revision("1c", "1a")))

    assert ("heads", "pending", "The files have 2 heads.", "flask db merge heads") in checks_of(source)


def test_overview_tells_of_a_revision_without_a_file() -> None:
    source = small_source(histories=(History("default", frozenset({"ffff"})),))

    assert checks_of(source)[-1] == (
        "files",
        "missing",
        "The database names 1 revision without a file: other code ran there.",
        "flask db status",
    )


def test_overview_tells_of_a_phase_that_is_no_longer_configured() -> None:
    source = FakeSource(graph_of(revision("1a", phases=("old",))))

    assert checks_of(source)[4] == (
        "old",
        "pending",
        "1 step of a phase that MIGRATE_PHASES does not name.",
        "flask db environ",
    )


def test_overview_json_has_the_whole_state() -> None:
    answer = get_json(make_client(), "/migrations/index.json")

    assert {key: answer[key] for key in answer if key not in ("checks", "revisions", "executions")} == {
        "schema": 1,
        "generated_at": "2026-03-01T12:00:05Z",
        "bind": "default",
        "dialect": "sqlite",
        "current": ["1a"],
        "heads": ["2c"],
        "counts": {"applied": 1, "in-flight": 1, "pending": 1},
    }
    assert [item["revision"] for item in answer["revisions"]] == ["2c", "1b", "1a"]
    assert [item["id"] for item in answer["executions"]] == [1]


def test_an_empty_folder_says_how_to_begin() -> None:
    client = make_client(FakeSource())

    for path in ("/migrations/", "/migrations/revisions"):
        assert 'flask db revision -m "create tables"' in get_page(client, path).text


# -- the list -------------------------------------------------------------------------------------


def test_list_json_has_a_row_for_each_revision_newest_first() -> None:
    done = datetime(2026, 3, 1, 11, 0, 1)
    answer = get_json(make_client(small_source(finished={("1a", "final"): done})), "/migrations/revisions.json")

    assert answer == {
        "schema": 1,
        "generated_at": "2026-03-01T12:00:05Z",
        "bind": "default",
        "filters": {},
        "items": [
            {
                "revision": "2c",
                "down_revision": ["1b"],
                "depends_on": [],
                "branch_labels": [],
                "children": [],
                "message": "message of 2c",
                "state": "pending",
                "phases": {"before-deploy": "empty", "after-deploy": "pending", "final": "empty"},
                "finished_at": {},
                "flags": ["head"],
                "created": None,
                "lane": 0,
            },
            {
                "revision": "1b",
                "down_revision": ["1a"],
                "depends_on": [],
                "branch_labels": [],
                "children": ["2c"],
                "message": "message of 1b",
                "state": "in-flight",
                "phases": {"before-deploy": "done", "after-deploy": "empty", "final": "pending"},
                "finished_at": {},
                "flags": [],
                "created": None,
                "lane": 0,
            },
            {
                "revision": "1a",
                "down_revision": [],
                "depends_on": [],
                "branch_labels": [],
                "children": ["1b"],
                "message": "message of 1a",
                "state": "applied",
                "phases": {"before-deploy": "done", "after-deploy": "empty", "final": "done"},
                "finished_at": {"final": "2026-03-01T11:00:01Z"},
                "flags": ["base"],
                "created": None,
                "lane": 0,
            },
        ],
        "page": {"number": 1, "pages": 1, "size": 100, "total": 3, "next": None, "prev": None},
    }


def test_list_page_has_a_column_for_each_phase_and_a_word_for_each_state() -> None:
    page = get_page(make_client(), "/migrations/revisions")

    assert "Revision Message State before-deploy after-deploy final" in page.text
    assert "1b message of 1b in-flight done empty pending" in page.text
    assert page.all("span", **{"class": "state state-in-flight"})


def test_list_page_marks_heads_merges_and_labels() -> None:
    merge = revision("9f", "1a", "1b", labels=("shop",))
    page = get_page(make_client(FakeSource(graph_of(revision("1a"), revision("1b"), merge))), "/migrations/revisions")

    assert "9f message of 9f head merge shop pending" in page.text


def test_a_revision_without_a_file_is_listed_as_missing() -> None:
    source = small_source(histories=(History("default", frozenset({"ffff"})),))
    client = make_client(source)

    first = get_json(client, "/migrations/revisions.json")["items"][0]

    assert (first["revision"], first["state"], first["phases"]) == ("ffff", "missing", {})
    assert "ffff No file has this revision. missing unknown" in get_page(client, "/migrations/revisions").text


def test_a_page_has_a_hundred_revisions_and_the_next_link_leads_on() -> None:
    page = get_page(make_client(long_source(250)), "/migrations/revisions")

    assert len(page.all("tr")) == 101
    assert [link["href"] for link in page.all("a", rel="next")] == ["/migrations/revisions?page=2"]
    assert page.all("a", rel="prev") == []
    assert "1 to 100 of 250, page 1 of 3" in page.text


def test_following_next_visits_every_revision_once() -> None:
    source = long_source(23)
    client = make_client(source, page_size=10)
    path, seen = "/migrations/revisions.json", []

    while path:
        answer = get_json(client, path)
        seen += [item["revision"] for item in answer["items"]]
        path = answer["page"]["next"]

    assert seen == list(reversed(source.graph.revisions))


def test_the_last_page_leads_back() -> None:
    page = get_page(make_client(long_source(15), page_size=10), "/migrations/revisions?page=2")

    assert page.all("a", rel="next") == []
    assert [link["href"] for link in page.all("a", rel="prev")] == ["/migrations/revisions?page=1"]


def test_a_page_is_never_longer_than_200_revisions() -> None:
    answer = get_json(make_client(long_source(201), page_size=5000), "/migrations/revisions.json?size=5000")

    assert (len(answer["items"]), answer["page"]["size"]) == (200, 200)


@pytest.mark.parametrize("number", ["0", "2", "-1", "one", "", "1.0", "²", "9" * 40])
@pytest.mark.parametrize("ending", ["", ".json"])
def test_an_unknown_page_is_a_bad_request(number: str, ending: str) -> None:
    assert make_client().get(f"/migrations/revisions{ending}", query_string={"page": number}).status_code == 400


def test_a_page_of_5000_revisions_is_light() -> None:
    client = make_client(long_source(5000))

    assert len(client.get("/migrations/revisions").data) < 150 * 1024


# -- one revision ---------------------------------------------------------------------------------


def test_revision_json_has_everything_about_it(tmp_path: Path) -> None:
    path = tmp_path / "1b.py"
    path.write_text('"""é"""\n', encoding="utf-8")
    middle = revision("1b", "1a", depends_on=("0d",), labels=("shop",))
    graph = graph_of(revision("0d"), revision("1a"), replace(middle, path=str(path)), revision("2c", "1b"))
    source = replace(two_binds(), graph=graph, executions=())

    assert get_json(make_client(source), "/migrations/revisions/1b.json") == {
        "schema": 1,
        "generated_at": "2026-03-01T12:00:05Z",
        "revision": "1b",
        "down_revision": ["1a"],
        "depends_on": ["0d"],
        "branch_labels": ["shop"],
        "children": ["2c"],
        "message": "message of 1b",
        "file": True,
        "path": "1b.py",
        "doc": "",
        "created": None,
        "flags": ["depends on"],
        "newer": "2c",
        "older": "1a",
        "operations": [],
        "findings": [],
        "assured": [],
        "examined": {"target": "", "before": 0, "left_out": 0, "available": True, "reason": None},
        "binds": [
            {
                "name": "default",
                "state": "in-flight",
                "phases": {"before-deploy": "done", "after-deploy": "empty", "final": "pending"},
                "finished_at": {},
                "executions": [],
            },
            {
                "name": "reports",
                "state": "applied",
                "phases": {"before-deploy": "done", "after-deploy": "empty", "final": "done"},
                "finished_at": {},
                "executions": [],
            },
        ],
        "source": '"""é"""\n',
    }


def test_revision_page_shows_its_relations_state_and_relative_path() -> None:
    page = get_page(make_client(two_binds()), "/migrations/revisions/1b")

    assert "message of 1b File versions/1b.py Parents 1a Children 2c Depends on none Labels none" in page.text
    assert "default in-flight done empty pending reports applied done empty done" in page.text
    assert "/srv/shop" not in page.text


def test_revision_page_shows_the_source_escaped_and_folded(tmp_path: Path) -> None:
    path = tmp_path / "1a.py"
    path.write_text(f"op.execute('{EVIL}')\n")
    source = FakeSource(graph_of(replace(revision("1a"), path=str(path))))

    response = make_client(source).get("/migrations/revisions/1a")

    assert f"op.execute('{EVIL}')" in Page(response.text).text
    assert EVIL not in response.text
    assert Page(response.text).all("details") == [{}]


def test_a_very_long_source_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "1a.py"
    path.write_text("#" * (SOURCE_LIMIT + 1))
    client = make_client(FakeSource(graph_of(replace(revision("1a"), path=str(path)))))

    assert "Only the beginning is shown" in get_page(client, "/migrations/revisions/1a").text
    assert len(get_json(client, "/migrations/revisions/1a.json")["source"]) == SOURCE_LIMIT


def test_a_file_that_cannot_be_read_is_said_so() -> None:
    client = make_client()

    assert "The file cannot be read." in get_page(client, "/migrations/revisions/1a").text
    assert get_json(client, "/migrations/revisions/1a.json")["source"] is None


@pytest.mark.parametrize("ending", ["", ".json"])
def test_the_beginning_of_one_id_leads_to_it(ending: str) -> None:
    response = make_client(two_binds()).get(f"/migrations/revisions/2{ending}?bind=reports&_scheme=x&_external=1")

    assert (response.status_code, response.location) == (
        302,
        f"/migrations/revisions/2c{ending}?bind=reports",
    )


def test_the_beginning_of_several_ids_lists_them() -> None:
    client = make_client()

    page = get_page(client, "/migrations/revisions/1", 404)

    assert "2 revisions begin with '1':" in page.text
    assert [link["href"] for link in page.all("a")][-2:] == [
        "/migrations/revisions/1a",
        "/migrations/revisions/1b",
    ]
    assert get_json(client, "/migrations/revisions/1.json", 404) == {
        "schema": 1,
        "error": {"status": 404, "message": "2 revisions begin with '1':", "choices": ["1a", "1b"]},
    }


def test_a_whole_id_wins_over_ids_that_begin_with_it() -> None:
    client = make_client(FakeSource(graph_of(revision("1"), revision("12", "1"))))

    assert get_json(client, "/migrations/revisions/1.json")["revision"] == "1"


def test_an_unknown_revision_is_not_found() -> None:
    client = make_client()

    assert "There is no revision '7e'." in get_page(client, "/migrations/revisions/7e", 404).text
    assert get_json(client, "/migrations/revisions/7e.json", 404) == {
        "schema": 1,
        "error": {"status": 404, "message": "There is no revision '7e'.", "choices": []},
    }


def test_a_revision_that_only_a_database_knows_has_a_page() -> None:
    source = two_binds()
    source.histories = (History("default"), History("reports", frozenset({"ffff"})))
    client = make_client(source)

    page = get_page(client, "/migrations/revisions/ffff")
    answer = get_json(client, "/migrations/revisions/ffff.json")

    assert "File missing." in page.text
    assert "default This database does not name the revision. reports missing unknown" in page.text
    assert (answer["file"], answer["path"], answer["source"]) == (False, None, None)
    assert answer["binds"] == [
        {"name": "reports", "state": "missing", "phases": {}, "finished_at": {}, "executions": []}
    ]


# -- several binds --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/migrations/", "/migrations/heads", "/migrations/revisions/1b"])
def test_a_selector_appears_only_with_several_binds(path: str) -> None:
    assert get_page(make_client(), path).all("form") == []
    assert [form["method"] for form in get_page(make_client(two_binds()), path).all("form")] == ["get"]


def test_the_chosen_bind_is_shown_and_kept_in_every_link() -> None:
    page = get_page(make_client(two_binds()), "/migrations/revisions?bind=reports")

    assert page.all("option", value="reports") == [{"value": "reports", "selected": None}]
    assert "1b message of 1b applied done empty done" in page.text
    links = [link["href"] or "" for link in page.all("a")]
    assert all("bind=reports" in href for href in links if not href.startswith("#"))


@pytest.mark.parametrize("path", [path for path in PATHS if "health" not in path])
def test_an_unknown_bind_is_a_bad_request(path: str) -> None:
    response = make_client(two_binds()).get(f"{path}?bind=nowhere")

    assert response.status_code == 400
    assert "There is no bind" in response.text
    assert "reports" in response.text


# -- what does not answer -------------------------------------------------------------------------


STATELESS = "/migrations/revisions/1b/sql"


@pytest.mark.parametrize("path", [path for path in TWINS if path != STATELESS])
def test_a_page_without_its_database_shows_the_files_and_unknown(path: str) -> None:
    client = make_client(small_source(histories=DOWN))
    response = client.get(path)

    assert (response.status_code, client.get(TWINS[path]).status_code) == (503, 503)
    assert "unknown" in response.text
    assert "s3cret" not in response.text
    lists_revisions = path.rpartition("/")[2] in ("", "revisions", "1b", "graph")
    assert ("message of 1b" in response.text) is lists_revisions


def test_sql_needs_no_database() -> None:
    client = make_client(small_source(histories=DOWN))

    assert (client.get(STATELESS).status_code, client.get(TWINS[STATELESS]).status_code) == (200, 200)


def test_list_json_without_its_database_has_the_files_and_unknown() -> None:
    answer = get_json(make_client(small_source(histories=DOWN)), "/migrations/revisions.json", 503)

    assert [(item["revision"], item["state"], item["phases"]) for item in answer["items"]] == [
        ("2c", "unknown", {"before-deploy": "empty", "after-deploy": "unknown", "final": "empty"}),
        ("1b", "unknown", {"before-deploy": "unknown", "after-deploy": "empty", "final": "unknown"}),
        ("1a", "unknown", {"before-deploy": "unknown", "after-deploy": "empty", "final": "unknown"}),
    ]


def test_overview_json_without_its_database_says_so() -> None:
    answer = get_json(make_client(small_source(histories=DOWN)), "/migrations/index.json", 503)

    assert (answer["current"], answer["dialect"], answer["counts"]) == (None, None, {"unknown": 3})
    assert answer["checks"][0] == {
        "name": "database",
        "level": "unknown",
        "text": "The database of the bind default does not answer, so the state of its revisions is unknown.",
        "command": None,
        "revisions": [],
    }


def test_an_unknown_revision_without_a_database_is_not_found_and_says_what_was_searched() -> None:
    page = get_page(make_client(small_source(histories=DOWN)), "/migrations/revisions/7e", 404)

    assert "Only the files could be searched: a database does not answer." in page.text


def test_a_bind_that_answers_is_shown_although_another_does_not() -> None:
    source = two_binds()
    assert isinstance(source.histories, tuple)
    client = make_client(replace(source, histories=source.histories[:1]))

    codes = [client.get(f"/migrations/revisions?bind={bind}").status_code for bind in source.binds]

    assert codes == [200, 503]


@pytest.mark.parametrize("testing", [False, True])
@pytest.mark.parametrize("path", [path for path in PATHS if "health" not in path])
def test_files_that_cannot_be_read_are_an_error_without_details(
    path: str, testing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(small_source(problem=errors.RevisionFileError("/srv/shop/x.py: bad", path="/srv/shop/x.py")))
    app.testing = testing

    response = app.test_client().get(path)

    assert response.status_code == 500
    assert "The revisions cannot be read." in response.text
    assert "/srv" not in response.text
    assert [record.getMessage() for record in caplog.records] == ["The migration pages cannot be shown."]


# -- health ---------------------------------------------------------------------------------------


def history(phase: str, status: str) -> History:
    records = {("1b", phase): Record("1b", phase, status)}
    return History("default", frozenset({"1a"}), {("1b", "before-deploy"): Record("1b", "before-deploy"), **records})


def test_health_is_ok_while_only_phases_after_the_boundary_are_pending() -> None:
    assert get_json(make_client(), "/migrations/health.json") == {
        "schema": 1,
        "status": "ok",
        "boundary": "before-deploy",
        "binds": [{"name": "default", "status": "ok", "failed": 0, "interrupted": 0, "pending": 0}],
    }


@pytest.mark.parametrize(
    ("source", "counts"),
    [
        (small_source(histories=(History("default", frozenset({"1a"})),)), ("unfit", 0, 0, 1)),
        (small_source(histories=(history("final", "failed"),)), ("unfit", 1, 0, 0)),
        (small_source(histories=(history("final", "running"),)), ("unfit", 0, 1, 0)),
        (small_source(phases=Phases(boundary="after-deploy")), ("unfit", 0, 0, 1)),
        (small_source(histories=DOWN), ("unknown", None, None, None)),
    ],
)
def test_health_is_not_ok(source: FakeSource, counts: tuple[str, ...]) -> None:
    answer = get_json(make_client(source), "/migrations/health.json", 503)

    (bind,) = answer["binds"]
    assert answer["status"] == "unfit"
    assert (bind["status"], bind["failed"], bind["interrupted"], bind["pending"]) == counts


def test_health_covers_every_bind() -> None:
    source = two_binds()
    source.histories = (History("default", frozenset({"2c"})), History("reports"))

    answer = get_json(make_client(source), "/migrations/health.json", 503)

    assert [(bind["name"], bind["status"]) for bind in answer["binds"]] == [
        ("default", "ok"),
        ("reports", "unfit"),
    ]


def test_health_cannot_be_told_from_files_that_cannot_be_read() -> None:
    source = small_source(problem=errors.RevisionFileError("bad", path="x"))

    assert get_json(make_client(source), "/migrations/health.json", 503) == {
        "schema": 1,
        "status": "unknown",
        "binds": [],
    }


@pytest.mark.parametrize(("direction", "shown"), [("upgrade", 0), ("downgrade", 2)])
def test_a_finding_about_the_undo_says_so(direction: Any, shown: int) -> None:
    finding = Finding("create-index", "error", "default", "1b", "before-deploy", "1b.py", 3, None, "why",
                      direction=direction)  # fmt: skip
    examination = Examination("sqlite", (), (finding,), (replace(finding, reason="small"),))
    page = get_page(make_client(small_source(examination=examination)), "/migrations/revisions/1b")
    assert page.text.count("before-deploy downgrade() line 3") == shown


# -- what every page keeps to ---------------------------------------------------------------------


AHEAD = (History("default", frozenset({"ffff"}), dialect="sqlite"),)


def full_source() -> FakeSource:
    """What :func:`small_source` has, with everything that a page may show written by somebody mean."""
    place = ("default", "1b", "before-deploy", EVIL, 3)
    finding = Finding("create-index", "error", *place, statement=EVIL, message=EVIL, rewrite=EVIL)
    examination = Examination(
        f"sqlite {EVIL}",
        (
            Operation("before-deploy", "operation", EVIL, 3, autocommit=True),
            Operation("before-deploy", "copy", EVIL),
            Operation("before-deploy", "read", EVIL),
            Operation("final", "error", EVIL),
        ),
        (finding,),
        (replace(finding, reason=EVIL),),
        50,
        2,
    )
    failed = execution(2, "failed", error=EVIL, traceback=EVIL, operator=EVIL, host=EVIL, app_version=EVIL, script=EVIL)
    sql = Preview("sqlite", (Piece("sql", EVIL), Piece("comment", f"-- {EVIL}")))
    return small_source(examination=examination, executions=(execution(1), failed), sql=sql)


def many_pages() -> Iterator[tuple[str, str]]:
    """Every kind of page, as (name, HTML)."""
    for name, client, path in (
        ("overview", make_client(two_binds()), "/migrations/"),
        ("revisions", make_client(two_binds()), "/migrations/revisions"),
        ("revision", make_client(two_binds()), "/migrations/revisions/1b"),
        ("paged", make_client(long_source(30), page_size=10), "/migrations/revisions?page=2"),
        ("down", make_client(small_source(histories=DOWN)), "/migrations/"),
        ("sql", make_client(full_source()), "/migrations/revisions/1b/sql"),
        ("no sql", make_client(small_source(sql=Preview("sqlite", reason=EVIL))), "/migrations/revisions/1b/sql"),
        ("examined", make_client(full_source()), "/migrations/revisions/1b"),
        ("missing", make_client(small_source(histories=AHEAD)), "/migrations/revisions/ffff"),
        ("plan", make_client(two_binds()), "/migrations/plan?phase=after-deploy"),
        ("blocked", make_client(small_source(histories=(History("default"),))), "/migrations/plan?phase=final"),
        ("graph", make_client(two_binds()), "/migrations/graph"),
        ("graph ahead", make_client(small_source(histories=AHEAD)), "/migrations/graph"),
        ("journal", make_client(two_binds()), "/migrations/journal"),
        ("execution", make_client(full_source()), "/migrations/journal/2"),
        ("heads", make_client(two_binds()), "/migrations/heads"),
        ("heads ahead", make_client(small_source(histories=AHEAD)), "/migrations/heads"),
        ("filtered", make_client(), "/migrations/revisions?q=nothing"),
        ("heads down", make_client(small_source(histories=DOWN)), "/migrations/heads"),
        ("execution down", make_client(small_source(histories=DOWN)), "/migrations/journal/1"),
        ("not found", make_client(), "/migrations/revisions/1"),
        ("bad request", make_client(two_binds()), "/migrations/?bind=x"),
        ("forbidden", make_client(access=None), "/migrations/"),
        ("empty", make_client(FakeSource()), "/migrations/"),
    ):
        yield name, client.get(path).text


PAGES = dict(many_pages())
ADDRESSES = ("href", "src", "action", "formaction", "xlink:href", "data")
each_page = pytest.mark.parametrize("name", PAGES)


@each_page
def test_nothing_that_somebody_wrote_becomes_part_of_the_page(name: str) -> None:
    assert {found["src"] for found in Page(PAGES[name]).all("img")} <= {"/migrations/static/favicon.svg"}


@each_page
def test_what_scrolls_can_be_focused_and_has_a_name(name: str) -> None:
    regions = [found for _, found in Page(PAGES[name]).tags if found.get("role") == "region"]

    assert all(found.get("aria-label") and found.get("tabindex") == "0" for found in regions)
    assert len({found.get("aria-label") for found in regions}) == len(regions)


@each_page
def test_headings_go_down_one_step_at_a_time(name: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(PAGES[name]).tags if re.fullmatch("h[1-6]", tag)]

    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@each_page
def test_what_is_named_by_an_id_is_there(name: str) -> None:
    page = Page(PAGES[name])
    ids = {found["id"] for _, found in page.tags if "id" in found}
    named = {word for _, found in page.tags for word in (found.get("aria-labelledby") or "").split()}

    assert named <= ids


@each_page
def test_a_page_has_nothing_that_a_strict_policy_refuses(name: str) -> None:
    page = Page(PAGES[name])
    attributes = {(key, value or "") for _, found in page.tags for key, value in found.items()}

    assert [tag for tag, found in page.tags if tag == "style" or (tag == "script" and "src" not in found)] == []
    assert [key for key, _ in attributes if key == "style" or key.startswith("on")] == []
    assert [value for key, value in attributes if key in ADDRESSES and re.match("javascript:|https?:|//", value)] == []


@each_page
def test_a_page_has_one_heading_a_language_and_a_title(name: str) -> None:
    page = Page(PAGES[name])

    titles = [found for found in page.all("title") if not found]
    assert len(page.all("h1")) == len(page.all("main")) == len(titles) == 1
    assert page.all("html")[0]["lang"] == "en"


@each_page
def test_a_page_has_each_id_once_and_its_links_have_targets(name: str) -> None:
    page = Page(PAGES[name])
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]

    assert len(ids) == len(set(ids))
    anchors = {(link["href"] or "")[1:] for link in page.all("a") if (link["href"] or "").startswith("#")}
    assert anchors <= set(ids)


def test_titles_tell_the_pages_apart() -> None:
    titles = [re.findall("<title>(.*?)</title>", PAGES[name])[0] for name in ("overview", "revisions", "revision")]

    assert titles == [
        "Overview of default · Migrations",
        "Revisions of default · Migrations",
        "Revision 1b · Migrations",
    ]


def test_the_skip_link_is_the_first_thing_to_focus() -> None:
    page = Page(PAGES["overview"])

    assert page.all("a")[0] == {"class": "skip", "href": "#migrate-admin-main"}


@pytest.mark.parametrize(("name", "current"), [("overview", "Overview"), ("revisions", "Revisions")])
def test_the_navigation_marks_the_page(name: str, current: str) -> None:
    assert re.findall(r'aria-current="page">(\w+)<', PAGES[name]) == [current]


def test_tables_are_in_a_region_that_can_be_focused_and_times_are_machine_readable() -> None:
    page = Page(PAGES["revisions"])

    assert page.all("div", role="region") == [
        {"class": "scroll", "role": "region", "aria-label": "Revisions, newest first", "tabindex": "0"}
    ]
    assert page.all("time") == [{"datetime": "2026-03-01T12:00:05Z"}]
    assert "2026-03-01 12:00:05 UTC" in page.text


@pytest.mark.parametrize("path", [*PATHS, "/migrations/revisions/7e", "/migrations/?bind=x"])
@pytest.mark.parametrize("access", ["public-read", None])
def test_every_answer_has_the_headers(path: str, access: str | None) -> None:
    response = make_client(access=access).get(path)

    assert {name: response.headers.getlist(name) for name in HEADERS} == {k: [v] for k, v in HEADERS.items()}


def test_a_refused_method_has_the_headers() -> None:
    response = make_client(access=None).post("/migrations/")

    assert {name: response.headers.get(name) for name in HEADERS} == dict(HEADERS)


def test_a_header_of_the_application_is_kept() -> None:
    answer = redirect("/login")
    answer.headers["Cache-Control"] = "no-cache"
    app = make_app(access=lambda: answer)

    assert app.test_client().get("/migrations/").headers.getlist("Cache-Control") == ["no-cache"]


def test_no_page_touches_the_session() -> None:
    app = make_app()
    app.secret_key = "secret"

    response = app.test_client().get("/migrations/")

    assert ("Set-Cookie" in response.headers, response.headers.get("Vary")) == (False, None)


def test_everything_that_others_wrote_is_escaped() -> None:
    graph = graph_of(revision("1a", message=EVIL, labels=(EVIL,), phases=(EVIL,)), revision("1b", message="x"))
    source = FakeSource(graph, (History(EVIL, frozenset({EVIL})), History("other")), binds=(EVIL, "other"))
    client = make_client(source, title=EVIL)

    for path in (
        "",
        "revisions",
        "revisions/1a",
        "revisions/1",
        f"revisions/{EVIL}",
        f"revisions/{EVIL}7",
        f"?bind={EVIL}7",
    ):
        text = client.get(f"/migrations/{path}").text
        assert "<img src=x" not in text
        assert "&lt;img" in text


STATES = {*get_args(RevisionState), *get_args(PhaseState), *get_args(Level), *STATUSES, UNKNOWN}


def test_every_word_of_a_badge_is_known() -> None:
    assert STATES | {*get_args(Flag), *get_args(FindingLevel), "assured"} == set(WORDS)


def test_every_state_has_its_own_look() -> None:
    css = (Path(admin.__file__).parent / "static" / "admin.css").read_text()
    states = STATES

    assert {state for state in states if f".state-{state}::before" not in css} == {"pending"}
    assert ".state-pending {" in css


def test_every_rule_of_the_style_sheet_stays_in_our_part_of_the_page() -> None:
    css = (Path(admin.__file__).parent / "static" / "admin.css").read_text()
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    selectors = [part.strip() for rule in re.findall(r"([^{}]+)\{", css) for part in rule.split(",\n")]

    assert [s for s in selectors if not s.startswith((".migrate-admin", "html.migrate-admin-page", "@media"))] == []


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("admin.css", "text/css; charset=utf-8"),
        ("admin.js", "text/javascript; charset=utf-8"),
        ("favicon.svg", "image/svg+xml; charset=utf-8"),
    ],
)
def test_style_sheet_script_and_icon_are_ours(file: str, kind: str) -> None:
    with make_client().get(f"/migrations/static/{file}") as response:
        text = response.text

    assert (response.status_code, response.content_type) == (200, kind)
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_a_nonce_of_the_application_is_used() -> None:
    app = make_app()
    app.jinja_env.globals["csp_nonce"] = lambda: "n0nce"

    assert get_page(app.test_client(), "/migrations/").all("link", rel="stylesheet") == [
        {"rel": "stylesheet", "href": "/migrations/static/admin.css", "nonce": "n0nce"}
    ]


def test_pages_hold_under_a_script_name_and_strict_templates() -> None:
    from jinja2 import StrictUndefined

    app = make_app(two_binds())
    app.jinja_env.undefined = StrictUndefined

    for path in (
        "/migrations/",
        "/migrations/revisions",
        "/migrations/revisions/1b",
        "/migrations/revisions/7",
    ):
        response = app.test_client().get(path, environ_overrides={"SCRIPT_NAME": "/shop"})
        links = [link["href"] or "" for link in Page(response.text).all("a")]
        assert all(href.startswith(("/shop/migrations/", "#")) for href in links)


def test_two_applications_do_not_share_anything() -> None:
    first, second = make_client(long_source(1)), make_client(two_binds(), access=None)

    assert (first.get("/migrations/").status_code, second.get("/migrations/").status_code) == (200, 403)
