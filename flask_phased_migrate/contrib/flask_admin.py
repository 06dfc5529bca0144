"""The migration pages in an application's Flask-Admin: a view and a link in its menu, which obey our access rule.

Flask-Admin lets everybody see a view or a link unless it is told otherwise; these ask ``MIGRATE_ADMIN_ACCESS``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import abort, current_app, make_response, redirect, url_for
from flask_admin import BaseView, expose
from flask_admin.menu import MenuLink
from werkzeug.wrappers import Response

from ..admin.answers import TEMPLATES
from ..admin.blueprint import NAME, AdminPages
from ..admin.parameters import PageError
from ..errors import MigrateError


def _pages() -> AdminPages | None:
    found = current_app.extensions.get(NAME)
    return found if isinstance(found, AdminPages) else None


def _is_open() -> bool:
    pages = _pages()
    return pages is not None and pages.guard.is_open()


class MigrationsView(BaseView):  # type: ignore[misc]
    """A view of Flask-Admin that has the overview in Flask-Admin's own layout; what it links to are our pages.

    Who may not see our pages does not see it either, and gets the answer that they would give.

    :param name: the name in the menu; ``endpoint`` is that of the view. Others as ``BaseView`` takes them.
    """

    def __init__(self, name: str = "Migrations", endpoint: str = "migrations_view", **options: Any) -> None:
        super().__init__(name=name, endpoint=endpoint, **options)

    def is_accessible(self) -> bool:
        """Return whether the current request may see the pages."""
        return _is_open()

    def inaccessible_callback(self, name: str, **arguments: Any) -> Any:
        """Return what our pages answer to a request that may not see them: 403, or the application's own response."""
        del name, arguments
        pages = _pages()
        if pages is None:
            return Response("Forbidden", 403)
        return pages.guard.refuse() or redirect(url_for(f"{NAME}.index"))

    @expose("/")  # type: ignore[untyped-decorator]
    def index(self) -> Any:
        """Return the overview of the chosen bind."""
        pages = _pages()
        assert pages is not None
        try:
            page, layout, unreachable = pages.views.overview()
        except PageError as error:
            abort(error.status, str(error))
        except MigrateError as error:
            current_app.logger.error("The migration pages cannot be shown.", exc_info=error)
            abort(500, "The revisions cannot be read. The application's log says why.")
        layout = replace(layout, root=f"{NAME}.")
        phrases = {"phrase": layout.language.phrase, "phrases": layout.language.phrases}
        html = self.render(f"{TEMPLATES}/embedded.html", page=page, admin=layout, unreachable=unreachable, **phrases)
        response = make_response(html, 503 if unreachable else 200)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response


class MigrationsMenuLink(MenuLink):  # type: ignore[misc]
    """A link to our pages in Flask-Admin's menu, for those who may see them."""

    def __init__(self, name: str = "Migrations", endpoint: str = f"{NAME}.index", **options: Any) -> None:
        super().__init__(name, endpoint=endpoint, **options)

    def is_accessible(self) -> bool:
        """Return whether the current request may see the pages."""
        return _is_open()
