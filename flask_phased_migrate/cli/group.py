"""The group, the options that its commands share, and what surrounds each command."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from flask import g
from flask.cli import with_appcontext

from .collector import collecting_rarely, leave_quickly
from .failures import ErrorsAsStatus

_F = TypeVar("_F", bound=Callable[..., Any])


def global_options(*, short_config: bool) -> list[Callable[[_F], _F]]:
    config_names = ["-c", "--config"] if short_config else ["--config"]
    return [
        click.option(
            *config_names,
            multiple=True,
            help="Alembic configuration file, instead of the folder's alembic.ini; once more for a pyproject.toml.",
        ),
        click.option("-n", "--name", help="Section of the configuration file to use (default: alembic)."),
        click.option("--raiseerr", is_flag=True, help="Show the traceback of an error."),
        click.option("-q", "--quiet", is_flag=True, help="Print no progress."),
    ]


DIRECTORY = click.option(
    "-d", "--directory", default=None, help='Migration script directory (default is "migrations").'
)
X_ARG = click.option("-x", "--x-arg", multiple=True, help="Additional arguments consumed by custom env.py scripts.")
MESSAGE = click.option("-m", "--message", default=None, help="Revision message.")
BRANCH_LABEL = click.option("--branch-label", default=None, help="A branch label for the new revision.")
REV_ID = click.option("--rev-id", default=None, help="A revision id to use instead of generating one.")
VERSION_PATH = click.option("--version-path", default=None, help="Folder for the file, of those that are configured.")
HEAD = click.option("--head", default="head", help="Head revision or <branchname>@head to base the revision on.")
SPLICE = click.option("--splice", is_flag=True, help='Allow a non-head revision as the "head" to splice onto.')
DEPENDS_ON = click.option("--depends-on", multiple=True, help="A revision that the new one needs besides; repeatable.")
SQL = click.option("--sql", is_flag=True, help="Print the SQL instead of running it.")
TAG = click.option("--tag", default=None, help='Arbitrary "tag" name - can be used by custom env.py scripts.')
VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Use more verbose output.")
BIND = click.option("--bind", default=None, help="Only this bind; the unnamed database is 'default'.")
PHASE = click.option("--phase", default=None, help="Only this phase.")
PLAN = click.option("--plan", is_flag=True, help="Print the steps and their SQL; change nothing.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Seconds(click.FloatRange):
    """A number of seconds, 0 or more, and not without an end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; refuse what is none."""
        number = super().convert(value, param, ctx)
        if not number < MOST_SECONDS:
            self.fail(f"{value} is not a number of seconds below {MOST_SECONDS}.", param, ctx)
        return number


MOST_SECONDS = 1_000_000
SECONDS = Seconds(min=0)

LOCK_WAIT = click.option(
    "--lock-wait", type=SECONDS, default=None, help="Seconds to wait for another runner (default: 60)."
)
_LOCK_TIMEOUT = click.option(
    "--lock-timeout",
    type=SECONDS,
    default=None,
    help="Seconds that a statement may wait for a lock, while others queue behind it (default: 2).",
)
_STATEMENT_TIMEOUT = click.option(
    "--statement-timeout",
    type=SECONDS,
    default=None,
    help="Seconds that a change of a definition may take; what scans or builds is exempt (default: no limit).",
)
_RETRY_BUDGET = click.option(
    "--retry-budget",
    type=SECONDS,
    default=None,
    help="Seconds to go on trying a step that others keep from a lock (default: 60).",
)


def timeout_options(function: _F) -> _F:
    """Add the options of commands that run steps: how long to wait, and to try again."""
    for option in (LOCK_WAIT, _RETRY_BUDGET, _STATEMENT_TIMEOUT, _LOCK_TIMEOUT):
        function = option(function)
    return function


REASON = click.option("--reason", default=None, help="Why, for the journal.")
OPERATOR = click.option("--operator", default=None, help="Who runs this, for the journal (default: the login name).")


def new_revision_options(command: _F) -> _F:
    """Add the options that say where a new revision goes."""
    for option in (DEPENDS_ON, REV_ID, VERSION_PATH, BRANCH_LABEL, SPLICE, HEAD, SQL):
        command = option(command)
    return command


class DbGroup(click.Group):
    """A group whose commands share their global options and how errors end them."""

    def command(self, *names: Any, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:  # type: ignore[override]
        """Register a command; its callback gets an application context and our handling of errors."""
        make: Any = super().command(*names, **settings)

        def decorate(callback: Callable[..., Any]) -> click.Command:
            command: click.Command = make(with_appcontext(_taking_globals(callback)))
            return command

        return decorate


def _taking_globals(callback: Callable[..., Any]) -> Callable[..., Any]:
    short = callback.__name__ != "current"

    @functools.wraps(callback)
    def run(
        *arguments: Any, config: Sequence[str], name: str | None, raiseerr: bool, quiet: bool, **options: Any
    ) -> Any:
        store_globals(config, name, raiseerr, quiet)
        if "directory" in options:
            options["directory"] = options["directory"] or g.get("directory")
        if "x_arg" in options:
            options["x_arg"] = options["x_arg"] or None
        if options.get("operator"):
            g.migrate_operator = options.pop("operator")
        else:
            options.pop("operator", None)
        leave_quickly()
        with collecting_rarely():
            return ErrorsAsStatus(callback)(*arguments, **options)

    for option in reversed(global_options(short_config=short)):
        run = option(run)
    return run


GLOBALS = (
    "directory",
    "x_arg",
    "migrate_config",
    "migrate_name",
    "migrate_raiseerr",
    "migrate_quiet",
    "migrate_operator",
)


def forget_globals(before: Mapping[str, Any]) -> None:
    """Put the application context back as it was: it may outlive the command, in tests above all."""
    for key in GLOBALS:
        g.pop(key, None)
    for key, value in before.items():
        setattr(g, key, value)


def store_globals(config: Sequence[str], name: str | None, raiseerr: bool, quiet: bool) -> None:
    for key, value in (("config", config), ("name", name), ("raiseerr", raiseerr), ("quiet", quiet)):
        if value:
            setattr(g, f"migrate_{key}", value)


class DowngradeCommand(click.Command):
    """Takes ``-1`` as a revision, not as an option: no ``--`` is needed before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move a relative revision behind ``--``."""
        takes_value = {
            name for parameter in self.params if isinstance(parameter, click.Option) and not parameter.is_flag
            for name in parameter.opts
        }  # fmt: skip
        if "--" not in args:
            for position, word in enumerate(args):
                if _is_relative(word) and (position == 0 or args[position - 1] not in takes_value):
                    args = [*args[:position], *args[position + 1 :], "--", word]
                    break
        return super().parse_args(ctx, args)


def _is_relative(word: str) -> bool:
    return word.startswith("-") and word[1:].isdigit()
