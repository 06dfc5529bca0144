"""Who may see the admin pages: nobody, until the application says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import current_app
from werkzeug.wrappers import Response

from ..errors import ConfigurationError

PUBLIC_READ = "public-read"

#: ``MIGRATE_ADMIN_ACCESS``: nothing, the string ``"public-read"``, or a callable without arguments that
#: returns False or None, True or ``"read"``, ``"write"``, or a response.
Access = Callable[[], Any] | str | None


def check_access(access: Access) -> None:
    """Check that the setting can be used.

    :raises ConfigurationError: if it is neither None, ``"public-read"`` nor callable.
    """
    if access is not None and access != PUBLIC_READ and not callable(access):
        raise ConfigurationError(
            f"MIGRATE_ADMIN_ACCESS is {access!r}. It must be a callable that returns False, 'read', 'write' "
            f"or a response, or the string '{PUBLIC_READ}'."
        )


def ask_access(access: Access) -> bool | Response:
    """Return whether the current request may see the pages, or the response to give instead.

    Whatever is not a clear yes is a no: an error in the callable, or a value that is not one of those it may
    return, is logged.
    """
    if access is None or isinstance(access, str):
        return access == PUBLIC_READ
    try:
        answer = current_app.ensure_sync(access)()
    except Exception:
        current_app.logger.exception("MIGRATE_ADMIN_ACCESS raised; the admin pages stay closed.")
        return False
    if isinstance(answer, Response):
        return answer
    if answer is None or answer is False:
        return False
    if answer is True or (isinstance(answer, str) and answer in ("read", "write")):
        return True
    current_app.logger.error(
        "MIGRATE_ADMIN_ACCESS returned a %s, not False, 'read', 'write' or a response; the admin pages stay closed.",
        type(answer).__name__,
    )
    return False
