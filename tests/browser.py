"""Looking at pages with Debian's Chromium: serving them, and noting what a browser complains of."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import flask
import pytest
from support import ROOT
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

NONCE = "5f1c9f2e"

#: What applications put in place of our Content-Security-Policy; ours is None.
POLICIES: Mapping[str, str | None] = {
    "ours": None,
    "self": "default-src 'self'",
    "nonce": f"default-src 'self'; script-src 'nonce-{NONCE}'; style-src 'nonce-{NONCE}'",
}

#: How people look at a page: what a browser context is made with.
MODES: Mapping[str, Mapping[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced-colours": {"forced_colors": "active"},
    "narrow": {"viewport": {"width": 320, "height": 640}},
    "narrow dark": {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"},
}

NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
"""


# -- what has to be there ------------------------------------------------------------------------------


def lacking(reason: str) -> NoReturn:
    """Skip the test, or fail it under REQUIRE_BROWSER=1."""
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"REQUIRE_BROWSER=1, and {reason}", pytrace=False)
    pytest.skip(reason)


@contextmanager
def launched() -> Iterator[Browser]:
    """Give a running Chromium; without one the test is skipped."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        lacking("there is no Chromium: apt install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("there is no Playwright: pip install 'flask-phased-migrate[browser]'")
    with sync_playwright() as playwright:
        # As root, which continuous integration is, Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def axe_source() -> str:
    """Return the program of axe-core, which is a package of the tests only."""
    try:
        return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    except ModuleNotFoundError:
        lacking("there is no axe-core: pip install 'flask-phased-migrate[browser]'")


def find_validator() -> Path:
    """Return the path of the Nu HTML checker, ``vnu.jar``: $VNU_JAR, or what ``npm install vnu-jar`` has left."""
    named = os.environ.get("VNU_JAR")
    found = [Path(named)] if named else sorted((ROOT / "node_modules" / "vnu-jar").rglob("vnu.jar"))
    if not found or not found[0].is_file():
        lacking("there is no HTML validator: npm install --no-save vnu-jar")
    if shutil.which("java") is None:
        lacking("there is no Java for the HTML validator: apt install default-jre-headless")
    return found[0]


# -- serving ------------------------------------------------------------------------------------------


@dataclass
class Served:
    """An application behind ``url``, below which the pages are. ``policy`` is one of :data:`POLICIES`."""

    app: flask.Flask
    url: str
    policy: str = "ours"
    before_answer: Callable[[], None] | None = None

    def change(self, response: flask.Response) -> flask.Response:
        """Put the chosen policy in the place of ours."""
        policy = POLICIES[self.policy]
        if policy is not None:
            response.headers["Content-Security-Policy"] = policy
        return response


class Quiet(WSGIRequestHandler):
    """Logs no request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing."""


@contextmanager
def served(app: flask.Flask, prefix: str = "/migrations") -> Iterator[Served]:
    """Serve an application from threads of this process."""
    found = Served(app, "")
    app.jinja_env.globals["csp_nonce"] = lambda: NONCE
    app.after_request(found.change)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    found.url = f"http://127.0.0.1:{server.server_port}{prefix}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# -- looking ------------------------------------------------------------------------------------------


@dataclass
class Complaints:
    """What a browser noted while it showed pages of ``origin``."""

    origin: str
    console: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note the page's errors, requests to other hosts, and dialogs."""
        page.on("console", lambda message: self.console.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self._request(request.url))

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _request(self, url: str) -> None:
        if not url.startswith(self.origin):
            self.foreign.append(url)


@dataclass(frozen=True)
class Looking:
    """A page of a browser, with the complaints about what it has shown."""

    page: Page
    complaints: Complaints
    url: str

    def go(self, path: str) -> Page:
        """Show the page at a path below the prefix."""
        self.page.goto(self.url + path)
        return self.page

    def violations(self) -> list[str]:
        """Return the directives of the Content-Security-Policy that the shown page has broken."""
        found: list[str] = self.page.evaluate("window.violations")
        return found


@contextmanager
def looking(browser: Browser, site: Served, mode: str = "light", **options: Any) -> Iterator[Looking]:
    """Give a page of a new browser context; ``options`` are Playwright's, over those of the mode."""
    context: BrowserContext = browser.new_context(**{**MODES[mode], **options})
    context.set_default_timeout(15_000)
    context.add_init_script(NOTE_VIOLATIONS)
    page = context.new_page()
    parts = urlsplit(site.url)
    complaints = Complaints(f"{parts.scheme}://{parts.netloc}/")
    complaints.watch(page)
    try:
        yield Looking(page, complaints, site.url)
    finally:
        context.close()


def make_smaller(folder: Path) -> None:
    """Give the pictures in a folder a palette, which their few colours fit in, where there is the program for it."""
    pictures = sorted(map(str, folder.glob("*.png")))
    if shutil.which("pngquant") is not None:
        subprocess.run(["pngquant", "--force", "--ext", ".png", "128", *pictures], timeout=120, check=True)


AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def run_axe(page: Page, source: str) -> tuple[str, ...]:
    """Return what axe-core finds wrong, or cannot decide, one line each.

    Of text in a drawing it can never decide the contrast. Our policy lets nobody add a script by a tag.
    """
    page.evaluate(source)
    result = page.evaluate("(tags) => axe.run(document, {runOnly: tags})", list(AXE_TAGS))
    return tuple(
        f"{kind} {rule['id']}: {node['html'][:160]} {node.get('failureSummary', '')}"
        for kind in ("violations", "incomplete")
        for rule in result[kind]
        for node in rule["nodes"]
        if not (kind == "incomplete" and rule["id"] == "color-contrast" and node["html"].startswith("<tspan"))
    )


def validate_html(pages: Mapping[str, str], folder: Path) -> tuple[str, ...]:
    """Return what the Nu HTML checker says of the pages, one line each. One process: its start takes seconds."""
    jar = find_validator()
    names = {}
    for number, (path, html) in enumerate(pages.items()):
        (folder / f"{number}.html").write_text(html, encoding="utf-8")
        names[f"{number}.html"] = path
    command = ["java", "-jar", str(jar), "--format", "json", "--exit-zero-always", *names]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True
    )
    return tuple(
        f"{names[item['url'].rpartition('/')[2]]}: {item['message']} {item.get('extract', '')}"
        for item in json.loads(done.stderr)["messages"]
    )


# -- measuring ----------------------------------------------------------------------------------------

#: Every element that a click or the keyboard is for, with its size; those inside a sentence may be as high as its line.
SMALL_TARGETS = """
() => [...document.querySelectorAll("a, button, input, select, summary")]
  .filter((element) => element.checkVisibility() && !element.closest(".skip, p:not(.ids, .next)"))
  .map((element) => [element, element.getBoundingClientRect()])
  .filter(([element, box]) => box.width < 24 || box.height < 24)
  .map(([element, box]) => `${element.outerHTML.slice(0, 120)} ${box.width}x${box.height}`)
"""

#: What has the focus: what it is, whether all of it can be seen, and whether it is marked.
FOCUSED = """
() => {
  const element = document.activeElement, box = element.getBoundingClientRect(), style = getComputedStyle(element);
  const middle = [box.left + Math.min(box.width, innerWidth) / 2, box.top + Math.min(box.height / 2, 20)];
  const top = document.elementFromPoint(...middle);
  return {
    name: element.localName,
    text: (element.textContent || element.getAttribute("name") || "").trim().slice(0, 60),
    href: element.getAttribute("href"),
    inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    uncovered: Boolean(top) && (element.contains(top) || top.contains(element)),
    outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  };
}
"""
