"""The blueprint: routes, the guard before them, the headers after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Blueprint, Flask, current_app, request
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Response as BaseResponse

from ..errors import ConfigurationError, MigrateError
from .access import Access, ask_access, check_access
from .answers import TEMPLATES, Answers
from .parameters import LARGEST_PAGE, PageError
from .source import Source
from .views import Views

NAME = "migrate_admin"

#: Set on every answer of the blueprint unless the application has set the header itself.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-store",
    "X-Robots-Tag": "noindex",
}

#: The pages that have a twin, by endpoint.
PAGES: Mapping[str, str] = {
    "revisions": "/revisions",
    "revision": "/revisions/<revision>",
    "sql": "/revisions/<revision>/sql",
    "plan": "/plan",
    "graph": "/graph",
    "journal": "/journal",
    "execution": "/journal/<int:number>",
    "heads": "/heads",
}


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def create_admin_blueprint(
    source: Source,
    *,
    access: Access,
    url_prefix: str = "/migrations",
    page_size: int = 100,
    base_template: str | None = None,
    title: str = "Migrations",
    clock: Callable[[], datetime] = utc_now,
) -> Blueprint:
    """Return the blueprint ``migrate_admin``, ready to be registered.

    :param access: who may see it; None closes every route (see :data:`~.access.Access`).
    :param url_prefix: where it is mounted: a path that begins with ``/`` and is longer than that.
    :param page_size: how many revisions a list page has; more than 200 count as 200.
    :param base_template: the application's own layout; it needs the blocks ``title``, ``head``, ``content``.
    :param title: the name in the header and in the pages' titles.
    :raises ConfigurationError: if one of them cannot be used.
    """
    check_access(access)
    blueprint = Blueprint(
        NAME,
        __name__,
        template_folder="templates",
        static_folder="static",
        url_prefix=_check_prefix(url_prefix),
    )
    answers = Answers(base_template or f"{TEMPLATES}/base.html", title, clock)
    guard = Guard(access, answers)
    pages = AdminPages(guard, Views(source, answers, _check_size(page_size)))
    blueprint.record_once(pages.register)
    blueprint.before_request(guard.refuse)
    blueprint.before_app_request(guard.refuse_other_method)
    blueprint.after_request(_add_headers)
    blueprint.register_error_handler(PageError, answers.error)
    blueprint.register_error_handler(MigrateError, answers.failure)
    _add_routes(blueprint, pages.views)
    return blueprint


def _add_routes(blueprint: Blueprint, views: Views) -> None:
    blueprint.add_url_rule("/", "index", views.index)
    blueprint.add_url_rule("/index.json", "index_json", views.index)
    for endpoint, rule in PAGES.items():
        view = getattr(views, endpoint)
        blueprint.add_url_rule(rule, endpoint, view)
        blueprint.add_url_rule(f"{rule}.json", f"{endpoint}_json", view)
    blueprint.add_url_rule("/health.json", "health_json", views.health)
    blueprint.add_url_rule("/graph.dot", "graph_dot", views.graph_text, defaults={"ending": "dot"})
    blueprint.add_url_rule("/graph.mmd", "graph_mmd", views.graph_text, defaults={"ending": "mmd"})
    blueprint.add_url_rule("/revisions/<revision>/step.sql", "sql_file", views.sql_file)


def _check_prefix(prefix: str) -> str:
    # Without a prefix the blueprint's static files would be shadowed by the application's.
    stripped = prefix.rstrip("/")
    if not stripped.startswith("/"):
        raise ConfigurationError(
            f"MIGRATE_ADMIN_URL_PREFIX is {prefix!r}. It must begin with '/' and name a path: '/migrations'."
        )
    return stripped


def _check_size(size: int) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigurationError(f"MIGRATE_ADMIN_PAGE_SIZE is {size!r}. It must be a number from 1 to {LARGEST_PAGE}.")
    return min(size, LARGEST_PAGE)


@dataclass(frozen=True)
class Guard:
    """Answers 403 on every route of the blueprint, static files too, unless the application allows it."""

    access: Access
    answers: Answers

    def is_open(self) -> bool:
        """Return whether the current request may see the pages: what a link to them in a menu asks."""
        return ask_access(self.access) is True

    def refuse(self) -> BaseResponse | None:
        """Return the answer to a request that may not pass, None for one that may."""
        answer = ask_access(self.access)
        if isinstance(answer, BaseResponse):
            return answer
        return None if answer else self._forbidden()

    def refuse_other_method(self) -> BaseResponse | None:
        """Do as :meth:`refuse` where the path is ours and the method is not.

        Flask knows no blueprint for such a request, and would answer 405 to those who may not know.
        """
        if not isinstance(request.routing_exception, MethodNotAllowed) or not _is_ours(current_app):
            return None
        answer = self.refuse()
        return None if answer is None else _add_headers(answer)

    def _forbidden(self) -> BaseResponse:
        hint = None
        if self.access is None and current_app.debug:
            hint = "MIGRATE_ADMIN_ACCESS is not set, so these pages are closed to everybody."
        return self.answers.forbidden(hint)


@dataclass(frozen=True)
class AdminPages:
    """What an application's ``extensions["migrate_admin"]`` is, for others that show the pages or lead to them."""

    guard: Guard
    views: Views

    def register(self, state: BlueprintSetupState) -> None:
        """Take the place in the application, and log that the pages are closed where nothing can open them."""
        state.app.extensions[NAME] = self
        if self.guard.access is None:
            state.app.logger.warning(
                "The migration pages at %s are closed: MIGRATE_ADMIN_ACCESS is not set.", state.url_prefix
            )


def _is_ours(app: Flask) -> bool:
    adapter = app.create_url_adapter(request)
    if adapter is None:
        return False
    try:
        endpoint, _ = adapter.match(method="GET")
    except HTTPException:
        return False
    return NAME in endpoint.split(".")[:-1]


def _add_headers(response: BaseResponse) -> BaseResponse:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
