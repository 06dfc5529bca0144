"""The admin pages beside other extensions: Flask-Admin, Flask-Talisman, Flask-WTF, Flask-Babel, Flask-Login."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from admin_pages import DOWN, FakeSource, Page, get_page, make_app, small_source, two_binds
from flask import Flask, redirect

from flask_phased_migrate import admin, errors
from flask_phased_migrate.admin.blueprint import HEADERS, PAGES
from flask_phased_migrate.contrib.flask_admin import MigrationsMenuLink, MigrationsView

HTML = ("/migrations/", *(f"/migrations{rule}" for rule in PAGES.values()))
PATHS = tuple(re.sub("<int:number>", "1", re.sub("<revision>", "1b", path)) for path in HTML)


# -- Flask-Admin ----------------------------------------------------------------------------------


def with_flask_admin(access: Any, source: FakeSource | None = None) -> Flask:
    from flask_admin import Admin
    from flask_babel import Babel

    app = make_app(source or two_binds(), access=access)
    app.secret_key = "secret"
    # Flask-Admin wants it set up where it is installed.
    Babel(app)
    site = Admin(app, name="Shop")
    site.add_view(MigrationsView())
    site.add_link(MigrationsMenuLink(name="Migration pages"))
    return app


def test_the_view_shows_the_overview_in_the_layout_of_flask_admin() -> None:
    page = get_page(with_flask_admin("public-read").test_client(), "/admin/migrations_view/")

    assert "Shop" in page.text
    assert "1 step to run." in page.text
    links = {link["href"] for link in page.all("a")}
    assert {"/migrations/", "/migrations/revisions/1b", "/migrations/journal"} <= links
    assert {"href": "/migrations/static/admin.css", "rel": "stylesheet"} in page.all("link")


def test_the_view_has_the_script_and_what_it_needs() -> None:
    page = get_page(with_flask_admin("public-read").test_client(), "/admin/migrations_view/")

    assert {"src": "/migrations/static/admin.js", "defer": None} in page.all("script")
    (ours,) = [part for part in page.all("div") if part.get("class") == "migrate-admin"]
    assert (ours["data-word-copy"], ours["data-word-copied"]) == ("Copy", "Copied")
    assert [part["data-live"] for part in page.all("div") if "data-live" in part] == ["messages", "page"]


def test_the_view_is_about_the_chosen_bind() -> None:
    page = get_page(with_flask_admin("public-read").test_client(), "/admin/migrations_view/?bind=reports")

    assert "/migrations/journal?bind=reports" in {link["href"] for link in page.all("a")}


def test_the_view_is_a_503_without_its_database() -> None:
    app = with_flask_admin("public-read", small_source(histories=DOWN))

    assert app.test_client().get("/admin/migrations_view/").status_code == 503


def test_what_the_view_is_asked_wrongly_and_cannot_read_is_said() -> None:
    asked = with_flask_admin("public-read").test_client().get("/admin/migrations_view/?bind=%3Cb%3E")
    unread = with_flask_admin("public-read", FakeSource(problem=errors.MigrateError("/srv/shop is gone")))
    failed = unread.test_client().get("/admin/migrations_view/")

    assert (asked.status_code, failed.status_code) == (400, 500)
    assert "There is no bind &#39;&lt;b&gt;&#39;." in asked.text
    assert "The application&#39;s log says why." in failed.text
    assert "/srv" not in failed.text


def menu_of(app: Flask) -> set[str | None]:
    return {link.get("href") for link in get_page(app.test_client(), "/admin/").all("a")}


def test_the_menu_has_view_and_link_for_those_who_may_see_the_pages() -> None:
    assert {"/admin/migrations_view/", "/migrations/"} <= menu_of(with_flask_admin(lambda: "read"))


@pytest.mark.parametrize("access", [None, lambda: False, lambda: redirect("/login")])
def test_the_menu_has_neither_for_others(access: Any) -> None:
    assert {"/admin/migrations_view/", "/migrations/"}.isdisjoint(menu_of(with_flask_admin(access)))


def test_the_view_answers_to_others_what_the_pages_answer() -> None:
    closed = with_flask_admin(lambda: False).test_client().get("/admin/migrations_view/")
    login = with_flask_admin(lambda: redirect("/login")).test_client().get("/admin/migrations_view/")

    assert (closed.status_code, login.status_code, login.location) == (403, 302, "/login")


def test_view_and_link_are_closed_where_the_application_has_no_pages() -> None:
    from flask_admin import Admin
    from flask_babel import Babel

    app = Flask("shop")
    app.secret_key = "secret"
    Babel(app)
    site = Admin(app)
    site.add_view(MigrationsView())
    site.add_link(MigrationsMenuLink())

    assert app.test_client().get("/admin/migrations_view/").status_code == 403
    assert "/admin/migrations_view/" not in menu_of(app)


# -- Flask-Talisman and Flask-WTF -------------------------------------------------------------------


@pytest.fixture
def nonce_app() -> Flask:
    from flask_talisman import Talisman

    app = make_app()
    policy = {"default-src": "'none'", "script-src": "", "style-src": "", "img-src": "'self'"}
    Talisman(
        app,
        force_https=False,
        content_security_policy=policy,
        content_security_policy_nonce_in=["script-src", "style-src"],
    )
    return app


@pytest.mark.parametrize("path", PATHS)
def test_every_asset_has_the_nonce_of_talisman(nonce_app: Flask, path: str) -> None:
    response = nonce_app.test_client().get(path)
    nonce = re.findall("'nonce-([^']+)'", response.headers["Content-Security-Policy"])[0]
    page = Page(response.text)
    assets = [*page.all("link", rel="stylesheet"), *page.all("script")]

    assert assets
    assert {asset.get("nonce") for asset in assets} == {nonce}


@pytest.mark.parametrize("path", PATHS)
def test_no_header_is_there_twice_under_talisman(nonce_app: Flask, path: str) -> None:
    response = nonce_app.test_client().get(path)

    assert [name for name in HEADERS if len(response.headers.getlist(name)) != 1] == []


def test_the_pages_work_beside_a_global_csrf_protection() -> None:
    from flask_wtf import CSRFProtect

    app = make_app()
    app.secret_key = "secret"
    CSRFProtect(app)

    assert {path: app.test_client().get(path).status_code for path in PATHS} == dict.fromkeys(PATHS, 200)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("access", ["read", "write"])
def test_no_form_writes_whatever_the_access(path: str, access: str) -> None:
    page = get_page(make_app(two_binds(), access=lambda: access).test_client(), path)

    assert {form.get("method") for form in page.all("form")} <= {"get"}


def test_no_rule_takes_a_method_that_writes() -> None:
    rules = [rule for rule in make_app().url_map.iter_rules() if rule.endpoint.startswith("migrate_admin.")]

    assert len(rules) > 20
    assert {method for rule in rules for method in rule.methods or ()} == {"GET", "HEAD", "OPTIONS"}


# -- Flask-Login ------------------------------------------------------------------------------------


def test_who_is_logged_in_with_the_right_role_sees_the_pages() -> None:
    from flask_login import LoginManager, UserMixin, current_user, login_user

    class User(UserMixin):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.id = name

    def access() -> Any:
        if not current_user.is_authenticated:
            return redirect("/login")
        return "read" if current_user.id == "ann" else False

    app = make_app(access=access)
    app.secret_key = "secret"
    LoginManager(app).user_loader(User)
    app.add_url_rule("/enter/<name>", "enter", lambda name: str(login_user(User(name))))
    client = app.test_client()

    answers = [client.get("/migrations/").status_code]
    for name in ("bob", "ann"):
        client.get(f"/enter/{name}")
        answers.append(client.get("/migrations/").status_code)

    assert answers == [302, 403, 200]


# -- places -----------------------------------------------------------------------------------------


def hrefs(page: Page) -> set[str]:
    found = [link.get("href") or "" for _, link in page.tags if link.get("href")]
    return {href for href in found if not href.startswith("#")}


@pytest.mark.parametrize("path", PATHS)
def test_every_address_is_below_the_script_name(path: str) -> None:
    response = make_app().test_client().get(path, environ_overrides={"SCRIPT_NAME": "/shop"})

    assert response.status_code == 200
    assert {href for href in hrefs(Page(response.text)) if not href.startswith("/shop/migrations/")} == set()


def test_the_blueprint_may_have_a_subdomain() -> None:
    app = Flask("shop", subdomain_matching=True)
    app.config["SERVER_NAME"] = "shop.test"
    blueprint = admin.create_admin_blueprint(small_source(), access="public-read")
    app.register_blueprint(blueprint, subdomain="ops")
    client = app.test_client()

    assert client.get("/migrations/", base_url="http://ops.shop.test").status_code == 200
    assert client.get("/migrations/", base_url="http://shop.test").status_code == 404


def test_two_applications_of_one_process_have_pages_of_their_own() -> None:
    first, second = make_app(small_source()), make_app(FakeSource(), access=lambda: False)

    assert first.test_client().get("/migrations/revisions/1b").status_code == 200
    assert second.test_client().get("/migrations/revisions/1b").status_code == 403


@pytest.fixture
def own_templates(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "flask_phased_migrate" / "admin"
    folder.mkdir(parents=True)
    yield folder


def own_app(tmp_path: Path) -> Flask:
    app = Flask("shop", template_folder=str(tmp_path))
    app.register_blueprint(admin.create_admin_blueprint(small_source(), access="public-read"))
    return app


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("_state.html", "/migrations/revisions"),
        ("_custom_head.html", "/migrations/heads"),
        ("_custom_revision.html", "/migrations/revisions/1b"),
        ("_custom_execution.html", "/migrations/journal/1"),
        ("_revisions_table.html", "/migrations/revisions"),
        ("_command.html", "/migrations/"),
        ("heads.html", "/migrations/heads"),
    ],
)
def test_a_template_of_the_application_takes_the_place_of_ours(
    own_templates: Path, tmp_path: Path, name: str, path: str
) -> None:
    (own_templates / name).write_text("OWN PART")

    assert "OWN PART" in own_app(tmp_path).test_client().get(path).text


def test_a_template_of_the_application_may_fill_a_block(own_templates: Path, tmp_path: Path) -> None:
    blocks = ("page_title", "head_css", "header", "nav", "content_header", "messages", "footer")
    text = '{% extends "flask_phased_migrate/admin/page.html" %}{% block page %}PAGE{% endblock %}'
    seen = {}
    for block in blocks:
        own = f"{text}{{% block {block} %}}OWN {block}{{% endblock %}}"
        (own_templates / "heads.html").write_text(own)
        seen[block] = f"OWN {block}" in own_app(tmp_path).test_client().get("/migrations/heads").text

    assert seen == dict.fromkeys(blocks, True)
