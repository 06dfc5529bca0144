"""What the admin pages are given: the real extension, read without env.py and without a write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import flask
import pytest
import sqlalchemy as sa
from support import Site, table_names

ADMIN = {"MIGRATE_ADMIN_ENABLED": True, "MIGRATE_ADMIN_ACCESS": "public-read"}
BODY = '@phased("before-deploy")\ndef upgrade():\n    op.create_table("t", sa.Column("id", sa.Integer))\n'
PAGES = ("/migrations/", "/migrations/revisions", "/migrations/revisions/1", "/migrations/health.json")


def statements(site: Site, app: flask.Flask, path: str) -> tuple[int, list[str]]:
    """Return the status of a GET and the SQL that it sent."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    engine = app.extensions["sqlalchemy"].engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        return app.test_client().get(path).status_code, seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("path", PAGES)
def test_pages_never_write_and_never_run_env_py(project: Callable[..., Site], database_url: str, path: str) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    (site.migrations / "env.py").write_text("raise AssertionError('env.py ran')\n")
    with site.app() as app:
        status, sent = statements(site, app, path)
    assert status == (503 if path.endswith("health.json") else 200)
    words = {text.split()[0].upper() for text in sent}
    assert words <= {"SELECT", "PRAGMA", "SHOW", "DESCRIBE"}
    assert table_names(site.url) == set()


def test_the_list_shows_what_a_phase_has_done(project: Callable[..., Site], database_url: str) -> None:
    site = project(database_url, config=ADMIN)
    site.revision("1", None, BODY)
    site.revision("2", "1", '@phased("final")\ndef upgrade():\n    op.execute("DELETE FROM t")\n')
    with site.app() as app:
        app.extensions["migrate"].migrate.upgrade(phase="before-deploy")
        items = app.test_client().get("/migrations/revisions.json").get_json()["items"]
        health = app.test_client().get("/migrations/health.json").status_code
    assert [(item["revision"], item["state"]) for item in items] == [("2", "pending"), ("1", "in-flight")]
    assert items[0]["phases"] == {"before-deploy": "empty", "after-deploy": "empty", "final": "pending"}
    assert health == 200


def test_a_database_that_is_down_is_a_503_with_the_revisions(project: Callable[..., Site], tmp_path: Path) -> None:
    site = project(f"sqlite:///{tmp_path}/no/such/folder/x.sqlite3", config=ADMIN)
    site.revision("1", None, BODY)
    with site.app() as app:
        response = app.test_client().get("/migrations/revisions")
    assert response.status_code == 503
    assert "unknown" in response.text
    assert 'href="/migrations/revisions/1' in response.text


def test_only_the_migrated_binds_are_shown(project: Callable[..., Site], tmp_path: Path) -> None:
    url, other = f"sqlite:///{tmp_path}/a.sqlite3", f"sqlite:///{tmp_path}/b.sqlite3"
    single = project(url, config={**ADMIN, "SQLALCHEMY_BINDS": {"reports": other}})
    every = project(url, config=ADMIN, binds={"reports": other})
    shown = []
    for site in (single, every):
        site.revision("1", None, BODY)
        with site.app() as app:
            shown.append(
                [item["name"] for item in app.test_client().get("/migrations/health.json").get_json()["binds"]]
            )
    assert shown == [["default"], ["default", "reports"]]


def test_the_page_is_off_by_default_and_closed_without_a_rule(project: Callable[..., Site], sqlite_url: str) -> None:
    off = project(sqlite_url)
    closed = project(sqlite_url, config={"MIGRATE_ADMIN_ENABLED": True, "TESTING": True, "DEBUG": True})
    with off.app() as app:
        assert app.test_client().get("/migrations/").status_code == 404
    with closed.app() as app:
        assert app.test_client().get("/migrations/").status_code == 403
