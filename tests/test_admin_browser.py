"""The admin pages in Debian's Chromium: what people see, reach and hear, and what a browser complains of."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from admin_shop import Shop, fill_shop, let_wait, make_shop
from browser import (
    FOCUSED,
    MODES,
    POLICIES,
    SMALL_TARGETS,
    Looking,
    Served,
    axe_source,
    launched,
    looking,
    make_smaller,
    run_axe,
    served,
    validate_html,
)
from deploys import started, wait_for
from support import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Every page, and each in the states in which it looks different.
PAGES = {
    "overview": "/",
    "overview-of-reports": "/?bind=reports",
    "revisions": "/revisions",
    "revisions-around": "/revisions?around=e05b93d4&size=2",
    "revisions-none": "/revisions?q=nothing-has-this",
    "revision": "/revisions/e05b93d4",
    "revision-missing": "/revisions/c0ffee42?bind=reports",
    "sql": "/revisions/a2c4471f/sql?phase=before-deploy",
    "plan": "/plan",
    "plan-blocked": "/plan?phase=final",
    "graph": "/graph",
    "journal": "/journal",
    "execution": "/journal/10",
    "heads": "/heads",
    "ambiguous": "/revisions/2",
}
NOT_FOUND = "Failed to load resource: the server responded with a status of 404 (NOT FOUND)"

#: The pictures of the documentation: the file's name, the page, the mode. Written where SCREENSHOTS is set.
PICTURES = (
    ("overview", "/", "light"),
    ("revisions", "/revisions", "light"),
    ("revision", "/revisions/e05b93d4", "light"),
    ("sql", "/revisions/e05b93d4/sql?phase=after-deploy", "light"),
    ("plan", "/plan", "light"),
    ("graph", "/graph", "light"),
    ("journal", "/journal", "light"),
    ("execution", "/journal/10", "light"),
    ("heads", "/heads", "light"),
    ("revisions-dark", "/revisions", "dark"),
    ("overview-narrow", "/", "narrow"),
)

each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The shop with everything in it, hostile texts too; nothing runs."""
    shop = make_shop(tmp_path_factory.mktemp("shop"))
    fill_shop(shop, hostile=True)
    with shop.site.app() as app, served(app) as found:
        yield found


@pytest.fixture
def waiting(browser: Browser, tmp_path: Path) -> Iterator[tuple[Shop, Served]]:
    """A small shop whose next step waits until it is let go."""
    shop = make_shop(tmp_path)
    let_wait(shop)
    with shop.site.app() as app, served(app) as found:
        yield shop, found


def see_all(look: Looking, act: Callable[[str, Page], Any]) -> dict[str, Any]:
    """Return what ``act`` found of each page, where it found something."""
    found = {name: act(name, look.go(path)) for name, path in PAGES.items()}
    return {name: value for name, value in found.items() if value}


# -- what a browser complains of ----------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_no_page_breaks_a_policy_or_asks_a_foreign_host(browser: Browser, site: Served, policy: str) -> None:
    site.policy = policy
    with looking(browser, site) as look:
        broken = see_all(look, lambda _name, _page: look.violations())
    site.policy = "ours"
    complaints = look.complaints
    assert (broken, complaints.foreign, complaints.dialogs) == ({}, [], [])
    assert complaints.console == [NOT_FOUND]  # the page of an ambiguous id is a 404


def test_the_probes_notice_what_is_not_allowed(browser: Browser, site: Served) -> None:
    bad = (
        '<!doctype html><style>p { color: red }</style><p style="color: red" onclick="x()">x</p>'
        '<script>alert(1)</script><script src="http://cdn.example/x.js"></script>'
    )
    with looking(browser, site) as look:
        look.page.route(
            "**/bad",
            lambda route: route.fulfill(
                body=bad, headers={"Content-Security-Policy": "default-src 'self'"}, content_type="text/html"
            ),
        )
        look.go("/bad")
        seen = set(look.violations())
        look.page.evaluate("alert('heard')")
    assert seen == {"style-src-elem", "style-src-attr", "script-src-attr", "script-src-elem"}
    assert look.complaints.dialogs == ["heard"]
    assert len(look.complaints.console) >= 5
    with looking(browser, site) as look:
        look.page.route("http://cdn.example/**", lambda route: route.fulfill(body=""))
        look.go("/")
        look.page.evaluate("void new Image().setAttribute('src', '')")
        look.page.goto("http://cdn.example/")
    assert look.complaints.foreign == ["http://cdn.example/"]


def test_texts_that_are_markup_are_shown_as_texts(browser: Browser, site: Served) -> None:
    with looking(browser, site) as look:
        shown = look.go("/revisions/2d3b90f5").inner_text("main")
    assert '<img src=x onerror="alert(1)"> & </code><script>alert(2)</script>' in shown
    assert look.complaints.dialogs == []


# -- who sees, hears and reaches ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["light", "dark", "forced-colours", "narrow"])
def test_axe_finds_nothing(browser: Browser, site: Served, mode: str) -> None:
    source = axe_source()
    with looking(browser, site, mode) as look:
        # Of what is cut by the edge of the window axe-core cannot tell the contrast.
        look.page.set_viewport_size({"width": look.page.viewport_size["width"], "height": 5000})
        assert see_all(look, lambda _name, page: run_axe(page, source)) == {}


def test_axe_finds_something_where_something_is_wrong(browser: Browser, site: Served) -> None:
    with looking(browser, site) as look:
        page = look.go("/")
        page.evaluate("document.documentElement.removeAttribute('lang'); document.querySelector('h1').remove()")
        found = run_axe(page, axe_source())
    assert {line.split()[1].rstrip(":") for line in found} >= {"html-has-lang", "page-has-heading-one"}


def test_the_html_is_valid(browser: Browser, site: Served, tmp_path: Path) -> None:
    client = site.app.test_client()
    pages = {path: client.get(f"/migrations{path}").text for path in PAGES.values()}
    pages["bad"] = "<!doctype html><title>x</title><p id=a><p id=a>"
    found = validate_html(pages, tmp_path)
    assert [line for line in found if not line.startswith("bad:")] == []
    assert any("Duplicate ID" in line for line in found)


def test_each_page_has_one_heading_a_title_of_its_own_and_a_language(browser: Browser, site: Served) -> None:
    with looking(browser, site) as look:
        found = {
            name: (page.title(), page.locator("h1").count(), page.locator("html").get_attribute("lang"))
            for name, path in PAGES.items()
            for page in [look.go(path)]
        }
    assert {(count, language) for _, count, language in found.values()} == {(1, "en")}
    titles = [title for name, (title, _, _) in found.items() if name != "revisions-none"]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("size", ["100%", "200%"])
def test_nothing_is_wider_than_a_small_screen(browser: Browser, site: Served, size: str) -> None:
    # 200 % of the text of a page that is 640 wide is as much as the text of one that is 320 wide.
    width = 320 if size == "100%" else 640
    with looking(browser, site, "narrow", viewport={"width": width, "height": 640}) as look:

        def too_wide(_name: str, page: Page) -> str | None:
            page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", size)
            found = page.evaluate("document.scrollingElement.scrollWidth")
            return f"{found} px" if found > width else None

        assert see_all(look, too_wide) == {}


@pytest.mark.parametrize("mode", ["light", "narrow"])
def test_what_one_clicks_is_large_enough(browser: Browser, site: Served, mode: str) -> None:
    with looking(browser, site, mode) as look:
        assert see_all(look, lambda _name, page: page.evaluate(SMALL_TARGETS)) == {}


@pytest.mark.parametrize("mode", ["light", "narrow"])
@pytest.mark.parametrize("name", ["overview", "revisions", "revision", "execution"])
def test_the_keyboard_reaches_everything_and_shows_where_it_is(
    browser: Browser, site: Served, name: str, mode: str
) -> None:
    with looking(browser, site, mode) as look:
        page = look.go(PAGES[name])
        wanted = page.evaluate(
            "[...document.querySelectorAll('a, button, input:not([type=hidden]), select, summary, [tabindex=\"0\"]')]"
            ".filter((e) => e.checkVisibility()).length"
        )
        walk = []
        for _ in range(wanted):
            page.keyboard.press("Tab")
            walk.append(page.evaluate(FOCUSED))
        page.keyboard.press("Tab")
        after = page.evaluate("document.activeElement.localName")
    assert (walk[0]["text"], walk[0]["href"]) == ("Skip to the content", "#migrate-admin-main")
    assert [step["text"] for step in walk[1:7]] == ["Overview", "Revisions", "Plan", "Graph", "Journal", "Heads"]
    assert [step for step in walk if not (step["inside"] and step["uncovered"] and step["outline"])] == []
    assert after == "body"


def test_the_skip_link_leads_to_the_content(browser: Browser, site: Served) -> None:
    with looking(browser, site) as look:
        page = look.go("/revisions")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "migrate-admin-main"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == "bind"


def test_the_graph_is_a_picture_with_a_name_and_a_list_of_the_same(browser: Browser, site: Served) -> None:
    with looking(browser, site) as look:
        page = look.go("/graph")
        picture = page.get_by_role("img", name=re.compile("Revisions 1 to 12 of 12"))
        drawn = picture.locator("tspan.id").all_text_contents()
        listed = page.locator("ol.nodes > li > a:first-of-type").all_inner_texts()
        inside = picture.locator("a, [tabindex]").count()
    assert drawn == listed
    assert (len(drawn), inside) == (12, 0)


@each_mode
def test_a_state_is_a_word_and_a_shape_in_every_mode(browser: Browser, site: Served, mode: str) -> None:
    with looking(browser, site, mode) as look:
        page = look.go("/revisions")
        looks = page.evaluate(
            "Object.fromEntries([...document.querySelectorAll('.state')].map((state) => {"
            "  const shape = getComputedStyle(state, '::before');"
            "  return [state.textContent, [shape.borderRadius, shape.backgroundImage, shape.height,"
            "    shape.backgroundColor !== 'rgba(0, 0, 0, 0)'].join()]; }))"
        )
    assert set(looks) == {"applied", "in-flight", "pending", "done", "failed", "empty"}
    assert looks["applied"] == looks["done"]
    assert len(set(looks.values())) == 5


# -- finding one's way ---------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_one_finds_the_error_of_a_failed_step(browser: Browser, site: Served, script: bool) -> None:
    with looking(browser, site, java_script_enabled=script) as look:
        page = look.go("/")
        page.get_by_role("link", name="Revisions", exact=True).click()
        page.get_by_label("Status of a phase").select_option("failed")
        page.get_by_role("button", name="Filter").click()
        page.get_by_text("1 to 1 of 1").wait_for()
        assert page.locator("table.revisions tbody th").all_inner_texts() == ["e05b93d4"]
        page.get_by_role("link", name="e05b93d4").click()
        page.get_by_role("link", name="10", exact=True).click()
        assert "no such column: mail" in page.get_by_role("region", name="Text of the error").inner_text()
        summary = page.locator("summary")
        assert page.get_by_role("region", name="Traceback").is_visible()
        summary.click()
        assert not page.get_by_role("region", name="Traceback").is_visible()
        page.get_by_label("Database").select_option("reports")
        page.get_by_role("link", name="Overview").click()
        page.wait_for_url("**/migrations/")
        assert page.title() == "Overview of default · Migrations"
        page.get_by_label("Database").select_option("reports")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url("**/migrations/?bind=reports")
        assert page.title() == "Overview of reports · Migrations"
        assert page.locator("button.copy").count() == (page.locator("[data-copy]").count() if script else 0)


def test_a_command_is_copied_by_its_button(browser: Browser, site: Served) -> None:
    with looking(browser, site, permissions=["clipboard-read", "clipboard-write"]) as look:
        page = look.go("/")
        button = page.get_by_role("button", name="Copy flask db upgrade --phase before-deploy --bind default")
        button.click()
        page.get_by_role("status").filter(has_text="Copied").wait_for(state="attached")
        assert (
            page.evaluate("navigator.clipboard.readText()") == "flask db upgrade --phase before-deploy --bind default"
        )
        assert button.inner_text() == "Copied"


# -- something runs ------------------------------------------------------------------------------------


def test_a_page_follows_a_step_that_runs_and_stops_with_it(browser: Browser, waiting: tuple[Shop, Served]) -> None:
    shop, site = waiting
    with looking(browser, site) as look, started(shop.site, "upgrade", "--bind", "default"):
        asked: list[str] = []
        look.page.on("request", lambda request: asked.append(request.url))
        wait_for(lambda: b"data-refresh>" in site.app.test_client().get("/migrations/revisions").data, "a running step")
        page = look.go("/revisions")
        row = page.locator("tr[data-key=ca11ab1e]")
        assert row.locator(".state").nth(1).inner_text() == "running"
        page.get_by_label("Search").fill("half a wo")
        row.get_by_role("link").focus()
        page.evaluate("window.same = document.activeElement")
        shop.gate.touch()
        row.locator(".state-done").first.wait_for()
        page.get_by_text("Nothing is running any more.").wait_for(state="attached")
        kept = page.evaluate("[window.same === document.activeElement, document.querySelector('#filter-q').value]")
        assert kept == [True, "half a wo"]
        assert page.get_by_role("status").filter(has_text="A step is running").count() == 0
        count = len(asked)
        page.wait_for_timeout(4000)
        assert len(asked) == count
    assert (look.complaints.console, look.complaints.foreign) == ([], [])


def test_following_can_be_paused_and_is_not_done_without_a_runner(
    browser: Browser, waiting: tuple[Shop, Served]
) -> None:
    shop, site = waiting
    with looking(browser, site) as look, started(shop.site, "upgrade", "--bind", "default"):
        wait_for(lambda: b"data-refresh>" in site.app.test_client().get("/migrations/").data, "a running step")
        page = look.go("/")
        page.get_by_role("button", name="Pause").click()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(4000)
        assert asked == []
        shop.gate.touch()
        page.get_by_role("button", name="Go on").click()
        page.get_by_text("Nothing is running any more.").wait_for(state="attached", timeout=30_000)
        assert page.locator(".state-running").count() == 0
    assert asked != []


# -- pictures ------------------------------------------------------------------------------------------


def test_the_documentation_shows_every_page(browser: Browser, tmp_path: Path) -> None:
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path / "pictures")
    shop = make_shop(tmp_path / "shop")
    fill_shop(shop)
    with shop.site.app() as app, served(app) as site:
        for name, path, mode in PICTURES:
            size = {} if mode == "narrow" else {"viewport": {"width": 1200, "height": 400}}
            with looking(browser, site, mode, **size) as look:
                look.go(path).screenshot(path=folder / f"{name}.png", full_page=True)
    if "SCREENSHOTS" in os.environ:
        make_smaller(folder)
    shown = set(re.findall(r"images/admin/(\S+)\.png", (ROOT / "docs" / "admin.rst").read_text(encoding="utf-8")))
    assert shown == {name for name, _, _ in PICTURES} == {file.stem for file in folder.iterdir()}
