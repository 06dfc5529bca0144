"""What a command's error looks like to the user: one message, and an exit status."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from flask import g

from ..errors import DatabaseUnreachable, MigrateError, Terminated


class ErrorsAsStatus:
    """Runs a callback and turns what it raises into one message and an exit status."""

    def __init__(self, callback: Callable[..., Any]) -> None:
        self.callback = callback
        functools.update_wrapper(self, callback)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        try:
            with signals_raised():
                return self.callback(*arguments, **options)
        except (click.exceptions.ClickException, click.exceptions.Exit, click.exceptions.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt as error:
            name = str(error) if isinstance(error, Terminated) else ""
            click.echo(f"Interrupted by {name}." if name else "Interrupted.", err=True)
            status = 130
        except (Exception, SystemExit) as error:
            if g.get("migrate_raiseerr"):
                raise
            status, message = explain(error, own=click.get_current_context().command.name in _OWN)
            if message:
                click.echo(f"Error: {message}", err=True)
        click.get_current_context().exit(status)
        return None


@contextmanager
def signals_raised() -> Iterator[None]:
    """Let the signals that tell a process to end raise :class:`.Terminated` in the block.

    Once: what is done then to leave everything in order must not be interrupted by the next one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: Any) -> None:
        for other in _ENDING:
            signal.signal(other, signal.SIG_IGN)
        raise Terminated(signal.Signals(number).name)

    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

# The commands that Flask-Migrate does not have: there, a name that does not exist is a mistake of usage.
_OWN = frozenset(
    {"sql", "graph", "lint", "status", "ready", "journal", "trace", "resolve", "skip", "rebuild", "environ"}
)


def explain(error: BaseException, *, own: bool = False) -> tuple[int, str]:
    """Return the exit status of an error, and the message that the user should read.

    :param own: whether the command is one that only this package has.
    """
    from configparser import Error as IniError
    from tomllib import TOMLDecodeError

    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    if isinstance(error, DatabaseUnreachable):
        return error.exit_code, f"{error} The URLs: flask db environ"
    if isinstance(error, MigrateError):
        return error.exit_code, str(error)
    if isinstance(error, (CommandError, RevisionError)):
        return 2 if own else 1, _with_hint(" ".join(map(str, error.args)))
    if isinstance(error, (IniError, TOMLDecodeError)):
        return 2, f"The configuration cannot be read: {' '.join(str(error).split())}"
    if isinstance(error, SystemExit):
        return _explain_exit(error)
    if isinstance(error, ImportError) and str(error).startswith(_NO_FILE):
        path = str(error).removeprefix(_NO_FILE).strip()
        return 1, f"There is no {path}. Name the folder with --directory, or type: flask db init"
    return 1, _unexpected(error)


_NO_FILE = "Can't find Python file"  # Alembic, where a folder has no env.py


def _explain_exit(error: SystemExit) -> tuple[int, str]:
    """Return what env.py or a revision file means that ends the process itself: 0 is its own affair."""
    if error.code in (0, None):
        return 0, ""
    return 1, (
        f"env.py or a revision file ended the command with SystemExit({error.code!r}). Raise another exception there, "
        "which says what is wrong. Where it is raised: give the command --raiseerr."
    )


def _unexpected(error: BaseException) -> str:
    from sqlalchemy.exc import DBAPIError

    from ..recorder import describe_error

    name, words = type(error).__name__, describe_error(error)
    if isinstance(error, DBAPIError):
        words = f"The database refused a statement: {words.rstrip()}"
    elif words != name:
        words = f"{name}: {words}"
    return f"{words}\nThe traceback: give the command --raiseerr."


_HINTS = {
    "Can't locate revision": "Look at: flask db history, and at what the database says: flask db status",
    "Multiple revisions start with": "Type more of it. They are all in: flask db history",
    "Multiple head": "Or join them: flask db merge heads",
    "Target database is not up to date": "Type: flask db upgrade",
    "Relative revision": "Look at: flask db history, and at what the database says: flask db status",
    "Destination": "Look at: flask db history, and at what the database says: flask db status",
    "History range": "For example: flask db history -r base:head",
    "Cycle is detected": "Correct the down_revision of one of these files.",
    "Self-loop is detected": "Give the file another revision or down_revision.",
    "Dependency": "Correct the depends_on of one of these files.",
    "downgrade with --sql requires": "For example: flask db downgrade --sql head:-1",
}


def _with_hint(message: str) -> str:
    message = message.rstrip()
    for beginning, hint in _HINTS.items():
        if message.startswith(beginning):
            return f"{message.rstrip('.')}. {hint}"
    return message
