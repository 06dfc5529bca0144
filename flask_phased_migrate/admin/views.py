"""The blueprint: routes, the guard before them, the headers after them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.wrappers import Response as BaseResponse

from ..errors import ConfigurationError, DatabaseUnreachable, MigrateError
from .access import Access, ask_access, check_access
from .pages import (
    NoSuchPage,
    Snapshot,
    find_revisions,
    list_revisions,
    measure_health,
    read_snapshot,
    show_overview,
    show_revision,
)
from .source import Source

NAME = "migrate_admin"
TEMPLATES = "flask_phased_migrate/admin"
LARGEST_PAGE = 200
CANDIDATES_SHOWN = 50

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
    base = base_template or f"{TEMPLATES}/base.html"
    views = _Views(source, _check_size(page_size), base, title, clock)
    guard = _Guard(access)
    blueprint.record_once(guard.warn)
    blueprint.before_request(guard.refuse)
    blueprint.before_app_request(guard.refuse_other_method)
    blueprint.after_request(_add_headers)
    blueprint.register_error_handler(_PageError, views.show_error)
    blueprint.register_error_handler(MigrateError, views.show_failure)
    _add_routes(blueprint, views)
    return blueprint


def _add_routes(blueprint: Blueprint, views: _Views) -> None:
    for rule, twin, endpoint, view in (
        ("/", "/index.json", "index", views.index),
        ("/revisions", "/revisions.json", "revisions", views.revisions),
        ("/revisions/<revision>", "/revisions/<revision>.json", "revision", views.revision),
    ):
        blueprint.add_url_rule(rule, endpoint, view)
        blueprint.add_url_rule(twin, f"{endpoint}_json", view)
    blueprint.add_url_rule("/health.json", "health_json", views.health)


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


def _wants_json() -> bool:
    return request.path.endswith(".json")


# -- before and after -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Guard:
    """Answers 403 on every route of the blueprint, static files too, unless the application allows it."""

    access: Access

    def warn(self, state: BlueprintSetupState) -> None:
        """Log that the pages are closed, where nothing can open them."""
        if self.access is None:
            state.app.logger.warning(
                "The migration pages at %s are closed: MIGRATE_ADMIN_ACCESS is not set.", state.url_prefix
            )

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

    def _forbidden(self) -> Response:
        hint = None
        if self.access is None and current_app.debug:
            hint = "MIGRATE_ADMIN_ACCESS is not set, so these pages are closed to everybody."
        if _wants_json():
            message = hint or "You may not see this."
            return make_response(jsonify(schema=1, error={"status": 403, "message": message}), 403)
        return make_response(render_template(f"{TEMPLATES}/forbidden.html", hint=hint), 403)


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


# -- the pages ------------------------------------------------------------------------------------


class _PageError(Exception):
    """The request names something that does not exist; ``choices`` is what it may name."""

    def __init__(
        self, status: int, message: str, *, choices: tuple[str, ...] = (), are_revisions: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.choices = choices
        self.are_revisions = are_revisions


@dataclass(frozen=True)
class _Layout:
    """What every page's template needs besides the page itself. ``bind`` is the chosen one."""

    base_template: str
    title: str
    binds: tuple[str, ...] = ()
    bind: str | None = None
    generated_at: datetime | None = None

    @property
    def owns_base(self) -> bool:
        """Whether the page around ours is ours too, so that it has no other main part."""
        return self.base_template == f"{TEMPLATES}/base.html"

    def url(self, endpoint: str, **values: Any) -> str:
        """Return the address of one of our endpoints, for the chosen bind."""
        if self.binds and self.bind != self.binds[0]:
            values["bind"] = self.bind
        return url_for(f".{endpoint}", **values)


@dataclass(frozen=True)
class _Views:
    source: Source
    page_size: int
    base_template: str
    title: str
    clock: Callable[[], datetime]

    def index(self) -> BaseResponse:
        """Answer with how the chosen bind stands."""
        bind = self._read_bind()
        snapshot = self._read_snapshot()
        page = show_overview(snapshot, bind)
        return self._answer("overview", snapshot, bind, page, page.as_json(), shown=(bind,))

    def revisions(self) -> BaseResponse:
        """Answer with one page of the revisions of the chosen bind."""
        bind, number = self._read_bind(), _read_page_number()
        snapshot = self._read_snapshot()
        try:
            page = list_revisions(snapshot, bind, number=number, size=self.page_size)
        except NoSuchPage as error:
            raise _PageError(400, str(error)) from error
        link = self._layout(snapshot, bind).url
        addresses = {
            name: None if target is None else link("revisions_json", page=target)
            for name, target in (("next", page.next), ("prev", page.previous))
        }
        numbers = {"number": page.number, "pages": page.pages, "size": page.size, "total": page.total}
        twin = {"bind": bind, "items": [row.as_json() for row in page.rows], "page": {**numbers, **addresses}}
        return self._answer("revisions", snapshot, bind, page, twin, shown=(bind,))

    def revision(self, revision: str) -> BaseResponse:
        """Answer with the page of a revision, or send there from the beginning of its id."""
        bind = self._read_bind()
        snapshot = self._read_snapshot()
        found = find_revisions(snapshot, revision)
        if len(found) != 1:
            raise _not_found(snapshot, revision, found)
        if found != (revision,):
            endpoint = "revision_json" if _wants_json() else "revision"
            return redirect(self._layout(snapshot, bind).url(endpoint, revision=found[0]))
        page = show_revision(snapshot, revision, self.source.path_of)
        return self._answer("revision", snapshot, bind, page, page.as_json(), shown=snapshot.binds)

    def health(self) -> BaseResponse:
        """Answer 200 if every bind is fit for the deployed code, else 503."""
        try:
            health = measure_health(self._read_snapshot())
        except MigrateError:
            current_app.logger.exception("The migration health cannot be told.")
            return make_response(jsonify(schema=1, status="unknown", binds=[]), 503)
        return make_response(jsonify(schema=1, **health.as_json()), 200 if health.is_ok else 503)

    def show_error(self, error: _PageError) -> BaseResponse:
        """Answer with what the request got wrong."""
        shown, left = error.choices[:CANDIDATES_SHOWN], len(error.choices[CANDIDATES_SHOWN:])
        if _wants_json():
            body = {"status": error.status, "message": error.message, "choices": list(error.choices)}
            return make_response(jsonify(schema=1, error=body), error.status)
        layout = _Layout(self.base_template, self.title)
        page = render_template(f"{TEMPLATES}/error.html", admin=layout, error=error, shown=shown, left=left)
        return make_response(page, error.status)

    def show_failure(self, error: MigrateError) -> BaseResponse:
        """Answer 500. The error's text goes to the log only: it may hold paths and addresses."""
        current_app.logger.error("The migration pages cannot be shown.", exc_info=error)
        message = "The revisions cannot be read. The application's log says why."
        return self.show_error(_PageError(500, message))

    def _read_snapshot(self) -> Snapshot:
        return read_snapshot(self.source, self.clock(), _log_unreachable)

    def _read_bind(self) -> str:
        names = self.source.bind_names()
        bind = request.args.get("bind", names[0])
        if bind not in names:
            raise _PageError(400, f"There is no bind '{bind}'. The binds are:", choices=names)
        return bind

    def _layout(self, snapshot: Snapshot, bind: str) -> _Layout:
        return _Layout(self.base_template, self.title, snapshot.binds, bind, snapshot.read_at)

    def _answer(
        self,
        name: str,
        snapshot: Snapshot,
        bind: str,
        page: object,
        twin: Mapping[str, Any],
        *,
        shown: tuple[str, ...],
    ) -> BaseResponse:
        """Return the page or its twin: 503 where the state of one of the binds ``shown`` is unknown."""
        unreachable = tuple(shown_bind for shown_bind in shown if shown_bind in snapshot.unreachable)
        status = 503 if unreachable else 200
        if _wants_json():
            return make_response(jsonify(schema=1, generated_at=_as_text(snapshot.read_at), **twin), status)
        layout = self._layout(snapshot, bind)
        text = render_template(f"{TEMPLATES}/{name}.html", admin=layout, page=page, unreachable=unreachable)
        return make_response(text, status)


def _read_page_number() -> int:
    text = request.args.get("page", "1")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _PageError(400, f"'{text}' is not the number of a page.")
    return int(text)


def _not_found(snapshot: Snapshot, revision: str, found: tuple[str, ...]) -> _PageError:
    if found:
        message = f"{len(found):,} revisions begin with '{revision}':"
        return _PageError(404, message, choices=found, are_revisions=True)
    message = f"There is no revision '{revision}'."
    if snapshot.unreachable:
        message += " Only the files could be searched: a database does not answer."
    return _PageError(404, message)


def _log_unreachable(error: DatabaseUnreachable) -> None:
    current_app.logger.warning("The migration pages show no state: %s", error)


def _as_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
