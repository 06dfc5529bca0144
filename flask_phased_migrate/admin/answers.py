"""Values to answers: a page and its JSON twin from the same value, in the application's layout or in ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response, current_app, jsonify, make_response, render_template, request, url_for

from ..errors import MigrateError
from .parameters import PageError
from .state import as_text
from .texts import text
from .translation import Language, current_language

TEMPLATES = "flask_phased_migrate/admin"
CANDIDATES_SHOWN = 50
KEPT = (
    *("state", "phase", "status", "branch", "has", "q", "size", "page"),
    *("operation", "revision", "run", "before", "after", "direction", "dialect"),
)
"""What of a request's parameters stays in the addresses of other places of the same page."""


def wants_json() -> bool:
    """Return whether the request is for a JSON twin."""
    return request.path.endswith(".json")


@dataclass(frozen=True)
class Layout:
    """What every page's template needs besides the page itself. ``bind`` is the chosen one.

    ``refresh`` says that something runs, so that the page is worth another look. ``root`` is what our endpoints begin
    with: a point inside the blueprint, its name outside.
    """

    base_template: str
    title: str
    language: Language
    binds: tuple[str, ...] = ()
    bind: str | None = None
    generated_at: datetime | None = None
    refresh: bool = False
    root: str = "."

    @property
    def words(self) -> Mapping[str, str]:
        """The words of the badges."""
        return self.language.words

    @property
    def owns_base(self) -> bool:
        """Whether the page around ours is ours too, so that it has no other main part."""
        return self.base_template == f"{TEMPLATES}/base.html"

    @property
    def endpoint(self) -> str:
        """The name of the page's endpoint, without that of the blueprint and that of the twin."""
        return (request.endpoint or "").rpartition(".")[2].removesuffix("_json")

    @property
    def twin(self) -> str:
        """The endpoint of the page's JSON."""
        return f"{self.endpoint}_json"

    def url(self, endpoint: str, **values: Any) -> str:
        """Return the address of one of our endpoints, for the chosen bind."""
        if self.binds and self.bind != self.binds[0]:
            values.setdefault("bind", self.bind)
        return url_for(f"{self.root}{endpoint}", **values)

    def here(self, endpoint: str | None = None, **values: Any) -> str:
        """Return the address of this page with other ``values``: what else the request asked for stays."""
        given: dict[str, Any] = {name: request.args[name] for name in KEPT if request.args.get(name)}
        given.update(request.view_args or {})
        given.update(values)
        return self.url(endpoint or self.endpoint, **given)


@dataclass(frozen=True)
class Answers:
    """Writes pages: ``base_template`` is the layout around them, ``title`` the name in the header."""

    base_template: str
    title: str
    clock: Callable[[], datetime]

    def layout(
        self, binds: tuple[str, ...] = (), bind: str | None = None, *, refresh: bool = False, read: bool = True
    ) -> Layout:
        """Return the layout of a page about a bind."""
        now = self.clock() if read else None
        return Layout(self.base_template, self.title, current_language(), binds, bind, now, refresh)

    def page(
        self,
        name: str,
        layout: Layout,
        page: object,
        twin: Mapping[str, Any],
        *,
        unreachable: tuple[str, ...] = (),
        **more: object,
    ) -> Response:
        """Return a page, or its twin: 503 where the state of binds that it shows is unknown."""
        status = 503 if unreachable else 200
        if wants_json():
            read_at = None if layout.generated_at is None else as_text(layout.generated_at)
            return make_response(jsonify(schema=1, generated_at=read_at, **twin), status)
        html = self.render(name, layout, page=page, unreachable=unreachable, **more)
        return make_response(html, status)

    def render(self, name: str, layout: Layout, **values: object) -> str:
        """Return the text of one of our templates."""
        language = layout.language
        return render_template(
            f"{TEMPLATES}/{name}.html", admin=layout, phrase=language.phrase, phrases=language.phrases, **values
        )

    def error(self, error: PageError) -> Response:
        """Return what the request got wrong."""
        shown, left = error.choices[:CANDIDATES_SHOWN], len(error.choices[CANDIDATES_SHOWN:])
        if wants_json():
            body = {"status": error.status, "message": str(error), "choices": list(error.choices)}
            return make_response(jsonify(schema=1, error=body), error.status)
        html = self.render("error", self.layout(read=False), error=error, shown=shown, left=left)
        return make_response(html, error.status)

    def failure(self, error: MigrateError) -> Response:
        """Return 500. The error's text goes to the log only: it may hold paths and addresses."""
        current_app.logger.error("The migration pages cannot be shown.", exc_info=error)
        message = text("The revisions cannot be read. The application's log says why.")
        return self.error(PageError(500, message))

    def forbidden(self, hint: str | None) -> Response:
        """Return 403; ``hint`` says to developers why."""
        if wants_json():
            return make_response(
                jsonify(schema=1, error={"status": 403, "message": hint or "You may not see this."}), 403
            )
        return make_response(self.render("forbidden", self.layout(read=False), hint=hint), 403)
