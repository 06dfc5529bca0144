"""``flask db``: parse, call one function, print; errors become an exit status.

Nothing but Click and Flask is imported until a command runs.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click
from flask import g
from flask.cli import with_appcontext

from .errors import DatabaseUnreachable, MigrateError, NotReady, UsageError

if TYPE_CHECKING:
    from .executor import Event
    from .plan import BindStatus, Direction, Plan

_F = TypeVar("_F", bound=Callable[..., Any])


def _commands() -> Any:
    return import_module(".commands", __package__)


def _migrate() -> Any:
    from .extension import current_migrate

    return current_migrate()


# -- errors ---------------------------------------------------------------------------------------


class ErrorsAsStatus:
    """Runs a callback and turns what it raises into one message and DESIGN's exit status."""

    def __init__(self, callback: Callable[..., Any]) -> None:
        self.callback = callback
        functools.update_wrapper(self, callback)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        try:
            return self.callback(*arguments, **options)
        except (click.exceptions.ClickException, click.exceptions.Exit, click.exceptions.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            status = 130
        except (Exception, SystemExit) as error:
            if g.get("migrate_raiseerr"):
                raise
            status, message = explain(error, own=click.get_current_context().command.name in _OWN)
            if message:
                click.echo(f"Error: {message}", err=True)
        click.get_current_context().exit(status)
        return None


# The commands that Flask-Migrate does not have: there, a name that does not exist is a mistake of usage.
_OWN = frozenset({"sql", "graph", "status", "ready", "journal", "trace", "resolve", "environ"})


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

    from .recorder import describe_error

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


# -- options that every command takes --------------------------------------------------------------


def _remember(key: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def store(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        if value:
            setattr(g, key, value)
        return value

    return store


def _global_options(*, short_config: bool) -> list[Callable[[_F], _F]]:
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


_DIRECTORY = click.option(
    "-d", "--directory", default=None, help='Migration script directory (default is "migrations").'
)
_X_ARG = click.option("-x", "--x-arg", multiple=True, help="Additional arguments consumed by custom env.py scripts.")
_MESSAGE = click.option("-m", "--message", default=None, help="Revision message.")
_BRANCH_LABEL = click.option("--branch-label", default=None, help="A branch label for the new revision.")
_REV_ID = click.option("--rev-id", default=None, help="A revision id to use instead of generating one.")
_VERSION_PATH = click.option("--version-path", default=None, help="Folder for the file, of those that are configured.")
_HEAD = click.option("--head", default="head", help="Head revision or <branchname>@head to base the revision on.")
_SPLICE = click.option("--splice", is_flag=True, help='Allow a non-head revision as the "head" to splice onto.')
_DEPENDS_ON = click.option("--depends-on", multiple=True, help="A revision that the new one needs besides; repeatable.")
_SQL = click.option("--sql", is_flag=True, help="Print the SQL instead of running it.")
_TAG = click.option("--tag", default=None, help='Arbitrary "tag" name - can be used by custom env.py scripts.')
_VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Use more verbose output.")
_BIND = click.option("--bind", default=None, help="Only this bind; the unnamed database is 'default'.")
_PHASE = click.option("--phase", default=None, help="Only this phase.")
_PLAN = click.option("--plan", is_flag=True, help="Print the steps and their SQL; change nothing.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_LOCK_WAIT = click.option(
    "--lock-wait", type=click.FloatRange(min=0), default=None, help="Seconds to wait for another runner (default: 60)."
)
_OPERATOR = click.option("--operator", default=None, help="Who runs this, for the journal (default: the login name).")


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
        _store_globals(config, name, raiseerr, quiet)
        if "directory" in options:
            options["directory"] = options["directory"] or g.get("directory")
        if "x_arg" in options:
            options["x_arg"] = options["x_arg"] or None
        if options.get("operator"):
            g.migrate_operator = options.pop("operator")
        else:
            options.pop("operator", None)
        return ErrorsAsStatus(callback)(*arguments, **options)

    for option in reversed(_global_options(short_config=short)):
        run = option(run)
    return run


_GLOBALS = (
    "directory",
    "x_arg",
    "migrate_config",
    "migrate_name",
    "migrate_raiseerr",
    "migrate_quiet",
    "migrate_operator",
)


def _forget_globals(before: Mapping[str, Any]) -> None:
    """Put the application context back as it was: it may outlive the command, in tests above all."""
    for key in _GLOBALS:
        g.pop(key, None)
    for key, value in before.items():
        setattr(g, key, value)


def _store_globals(config: Sequence[str], name: str | None, raiseerr: bool, quiet: bool) -> None:
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


@click.group(cls=DbGroup, invoke_without_command=True, no_args_is_help=False)
@_DIRECTORY
@_X_ARG
@click.option("--version", is_flag=True, help="Print the versions of this tool and of what it stands on.")
@with_appcontext
@click.pass_context
def db(
    context: click.Context,
    directory: str | None,
    x_arg: Sequence[str],
    version: bool,
    config: Sequence[str],
    name: str | None,
    raiseerr: bool,
    quiet: bool,
) -> None:
    """Perform database migrations, in deploy phases where revisions have them.

    \b
    A release:
      flask db upgrade --phase before-deploy
      (deploy the new code)
      flask db upgrade --phase after-deploy
      flask db upgrade --phase final
    """
    before = {key: g.get(key) for key in _GLOBALS if key in g}
    _forget_globals({})
    context.call_on_close(lambda: _forget_globals(before))
    g.directory = directory
    g.x_arg = x_arg
    _store_globals(config, name, raiseerr, quiet)
    if version:
        _print_versions()
    elif context.invoked_subcommand is None:
        click.echo(context.get_help())


for _option in reversed(_global_options(short_config=True)):
    db = _option(db)


def _print_versions() -> None:
    from importlib.metadata import version

    from . import __version__

    click.echo(f"flask_phased_migrate {__version__}")
    for label, package in (("Alembic", "alembic"), ("SQLAlchemy", "sqlalchemy"), ("Flask", "flask")):
        click.echo(f"{label} {version(package)}")


# -- Flask-Migrate's commands ------------------------------------------------------------------------


@db.command("list-templates")
def list_templates() -> None:
    """List available templates.

    Example: flask db list-templates
    """
    _commands().list_templates()


@db.command()
@_DIRECTORY
@click.option("--multidb", is_flag=True, help="Migrate every bind, not only the unnamed database.")
@click.option("-t", "--template", default=None, help='Template to use (default is "flask"), or the path of one.')
@click.option("--package", is_flag=True, help="Write empty __init__.py files into the folder and its versions.")
def init(directory: str | None, multidb: bool, template: str | None, package: bool) -> None:
    """Create a new migrations folder.

    Example: flask db init --multidb
    """
    _commands().init(directory, multidb, template, package)


@db.command()
@_DIRECTORY
@_MESSAGE
@click.option("--autogenerate", is_flag=True, help="Fill in the operations that the models call for.")
@_SQL
@_HEAD
@_SPLICE
@_BRANCH_LABEL
@_VERSION_PATH
@_REV_ID
@_DEPENDS_ON
def revision(directory: str | None, **options: Any) -> None:
    """Create a new revision file.

    Example: flask db revision -m "add email"
    """
    _commands().revision(directory, **options)


@db.command()
@_DIRECTORY
@_MESSAGE
@_SQL
@_HEAD
@_SPLICE
@_BRANCH_LABEL
@_VERSION_PATH
@_REV_ID
@_DEPENDS_ON
@_X_ARG
def migrate(directory: str | None, **options: Any) -> None:
    """Create a revision file from the models (revision --autogenerate).

    Example: flask db migrate -m "add email"
    """
    _commands().migrate(directory, **options)


@db.command()
@_DIRECTORY
@click.argument("revision", default="head")
def edit(directory: str | None, revision: str) -> None:
    """Edit a revision file with $EDITOR.

    Example: flask db edit 3f2a
    """
    _commands().edit(directory, revision)


@db.command()
@_DIRECTORY
@_MESSAGE
@_BRANCH_LABEL
@_REV_ID
@_SPLICE
@click.argument("revisions", nargs=-1)
def merge(directory: str | None, revisions: Sequence[str], **options: Any) -> None:
    """Join several heads with a new revision; without names, all of them.

    Example: flask db merge -m "merge teams" 3f2a 77c1
    """
    _commands().merge(directory, revisions, **options)


@db.command()
@_DIRECTORY
@_SQL
@_TAG
@_X_ARG
@_PHASE
@click.option("--all-phases", is_flag=True, help="Run every phase although MIGRATE_REQUIRE_PHASES is set.")
@click.option("--through", is_flag=True, help="With --phase: run every phase up to it, one after the other.")
@_PLAN
@_BIND
@_LOCK_WAIT
@_OPERATOR
@_JSON
@click.argument("revision", default="head")
def upgrade(
    directory: str | None,
    sql: bool,
    tag: str | None,
    x_arg: Any,
    revision: str,
    plan: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Upgrade to a later revision; with --phase, one phase of every pending revision.

    Example: flask db upgrade --phase after-deploy
    """
    if options["through"] and options["phase"] is None:
        raise UsageError("--through needs --phase: it runs every phase up to that one.")
    _refuse_together("--sql", sql, {"--plan": plan, "--json": as_json, "--through": options["through"]})
    _check_target(revision, "upgrade", sql)
    if sql:
        _commands().upgrade(directory, revision, True, tag, x_arg, phase=options["phase"], bind=options["bind"])
    elif plan:
        _print_plan(directory, revision, "upgrade", as_json, x_arg, options)
    else:
        _run("upgrade", directory, revision, tag, x_arg, as_json, options)


def _refuse_together(option: str, given: bool, others: Mapping[str, Any]) -> None:
    """Refuse options that would be ignored beside ``option``."""
    wrong = [name for name, value in others.items() if value]
    if given and wrong:
        raise UsageError(f"{option} and {wrong[0]} do not go together. Leave one of them out.")


def _check_target(revision: str, direction: str, sql: bool) -> None:
    if not revision.strip():
        raise UsageError(f"The revision is empty. Name one, for example: flask db {direction} head")
    if ":" in revision and not sql:
        raise MigrateError(
            f"Range revision not allowed: '{revision}'. Name where to go, without a colon; for the SQL of a range: "
            f"flask db {direction} --sql {revision}"
        )


@db.command(cls=DowngradeCommand)
@_DIRECTORY
@_SQL
@_TAG
@_X_ARG
@_PHASE
@_PLAN
@_BIND
@_LOCK_WAIT
@_OPERATOR
@_JSON
@click.argument("revision", default="-1")
def downgrade(
    directory: str | None,
    sql: bool,
    tag: str | None,
    x_arg: Any,
    revision: str,
    plan: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Go back to an earlier revision; with --phase, undo one phase.

    Example: flask db downgrade -1
    """
    _refuse_together("--sql", sql, {"--plan": plan, "--json": as_json})
    _check_target(revision, "downgrade", sql)
    if sql:
        _commands().downgrade(directory, revision, True, tag, x_arg, phase=options["phase"], bind=options["bind"])
    elif plan:
        _print_plan(directory, revision, "downgrade", as_json, x_arg, options)
    else:
        _run("downgrade", directory, revision, tag, x_arg, as_json, options)


@db.command()
@_DIRECTORY
@click.argument("revision", default="head")
def show(directory: str | None, revision: str) -> None:
    """Show the revision denoted by the given symbol.

    Example: flask db show head
    """
    _commands().show(directory, revision)


@db.command()
@_DIRECTORY
@click.option("-r", "--rev-range", default=None, help="Specify a revision range; format is [start]:[end].")
@_VERBOSE
@click.option("-i", "--indicate-current", is_flag=True, help="Mark what the database is at.")
def history(directory: str | None, **options: Any) -> None:
    """List the revisions, newest first.

    Example: flask db history -r current:head
    """
    _commands().history(directory, **options)


@db.command()
@_DIRECTORY
@_VERBOSE
@click.option("--resolve-dependencies", is_flag=True, help="Treat dependency versions as down revisions.")
def heads(directory: str | None, **options: Any) -> None:
    """Show the revisions that nothing revises.

    Example: flask db heads
    """
    _commands().heads(directory, **options)


@db.command()
@_DIRECTORY
@_VERBOSE
def branches(directory: str | None, verbose: bool) -> None:
    """Show the branch points.

    Example: flask db branches -v
    """
    _commands().branches(directory, verbose)


@db.command()
@_DIRECTORY
@_VERBOSE
@click.option("-c", "--check-heads", is_flag=True, help="Exit with status 1 unless the database is at all heads.")
def current(directory: str | None, verbose: bool, check_heads: bool) -> None:
    """Display the current revision of each database.

    Example: flask db current --check-heads
    """
    _commands().current(directory, verbose, check_heads)


@db.command()
@_DIRECTORY
@_SQL
@_TAG
@click.option("--purge", is_flag=True, help="Empty the version table before stamping.")
@_BIND
@click.argument("revision", nargs=-1)
def stamp(directory: str | None, revision: Sequence[str], **options: Any) -> None:
    """Set the version table to the given revisions; run nothing.

    Example: flask db stamp head
    """
    _commands().stamp(directory, revision or ("head",), **options)


@db.command()
@_DIRECTORY
def check(directory: str | None) -> None:
    """Check whether the models call for operations that no revision has.

    Example: flask db check
    """
    _commands().check(directory)


@db.command("ensure-version")
@_DIRECTORY
@_SQL
def ensure_version(directory: str | None, sql: bool) -> None:
    """Create the version table where it is missing.

    Example: flask db ensure-version
    """
    _commands().ensure_version(directory, sql)


# -- our own ------------------------------------------------------------------------------------------


@db.command("sql")
@_DIRECTORY
@_X_ARG
@click.option("-o", "--output", default=None, help="Write to this file, all or nothing.")
@click.option("--split", default=None, help="Write a file for each bind (and phase) into this folder.")
@click.option("--format", "format_", type=click.Choice(["sql", "json"]), default="sql", help="sql or json.")
@click.option("--dialect", default=None, help="postgresql, mysql, mariadb, sqlite, mssql or oracle.")
@click.option("--downgrade", "down", is_flag=True, help="The SQL that undoes the range.")
@_PHASE
@_BIND
@click.argument("range_", metavar="[START:]END", default="head")
def sql_command(
    directory: str | None,
    x_arg: Any,
    output: str | None,
    split: str | None,
    format_: str,
    dialect: str | None,
    down: bool,
    phase: str | None,
    bind: str | None,
    range_: str,
) -> None:
    """Export a range of revisions as SQL, without a database.

    With --phase, only that phase, to be run by a database administrator: each step in its own guarded
    transaction, with the records that an online run would write. START may be "current".

    Example: flask db sql 1:head > out.sql
    """
    from .export import export_files, export_text

    _refuse_together("--split", split is not None, {"--output": output, "--format json": format_ == "json"})
    direction = "downgrade" if down else "upgrade"
    request = {"phase": phase, "bind": bind, "direction": direction, "dialect": dialect, "x_arg": x_arg}
    if split is not None:
        for path in export_files(_migrate(), directory, range_, split, **request):
            _say(f"Wrote {path}")
        return
    text = export_text(_migrate(), directory, range_, format_, **request)
    _write(text, output)


@db.command()
@_DIRECTORY
@click.option("-o", "--output", "--filename", default=None, help="Write to this file; its ending chooses the format.")
@click.option(
    "--format", "format_", type=click.Choice(["dot", "mermaid", "svg", "text", "json"]), default=None, help="Format."
)
@click.option("--status", "with_status", is_flag=True, help="Mark what is applied and in flight (asks the database).")
@_BIND
def graph(directory: str | None, output: str | None, format_: str | None, with_status: bool, bind: str | None) -> None:
    """Draw the revisions.

    Example: flask db graph -o revisions.svg --status
    """
    from .render import format_of, render_graph

    chosen = format_ or ("dot" if output is None else format_of(output))
    if bind is not None and not with_status:
        raise UsageError("--bind says which database --status asks. Give --status too, or leave out --bind.")
    migrate = _migrate()
    states, current = _states(migrate.status(directory, bind=bind)) if with_status else (None, ())
    _write(render_graph(migrate.open_project(directory).graph, chosen, states, current), output)


def _states(found: Sequence[BindStatus]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the states by id and the version table's rows of the one bind."""
    if len(found) > 1:
        names = ", ".join(item.name for item in found)
        raise UsageError(f"There are several binds: {names}. Say whose state to mark: --bind NAME")
    return {row.id: row.state for row in found[0].revisions}, found[0].current


@db.command()
@_DIRECTORY
@_BIND
@_JSON
@click.option("--check", "check_", is_flag=True, help="Exit with status 1 when anything is pending.")
def status(directory: str | None, bind: str | None, as_json: bool, check_: bool) -> None:
    """Show every revision's phases: done, pending, empty, running, failed or interrupted.

    Example: flask db status --check
    """
    found = _migrate().status(directory, bind=bind)
    if as_json:
        _print_json({"binds": [_bind_json(item) for item in found]})
    else:
        for item in found:
            _print_status(item)
    if check_ and not all(item.is_complete() for item in found):
        raise NotReady("Something is pending. Type: flask db status")


@db.command()
@_DIRECTORY
@_PHASE
@_BIND
@click.option("--wait", type=click.FloatRange(min=0), default=0, help="Seconds to wait for it.")
def ready(directory: str | None, phase: str | None, bind: str | None, wait: float) -> None:
    """Exit with status 0 when every step up to a phase (default: the boundary) is done.

    Example: flask db ready --wait 120
    """
    _migrate().ready(directory, phase=phase, bind=bind, wait_s=wait)
    _say("Ready.")


@db.command()
@_DIRECTORY
@_BIND
@click.option("--errors", is_flag=True, help="Only failed and interrupted executions.")
@click.option("--open", "open_only", is_flag=True, help="Only those that no later success has answered.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many.")
@_JSON
def journal(
    directory: str | None, bind: str | None, errors: bool, open_only: bool, limit: int | None, as_json: bool
) -> None:
    """List executions, newest first.

    Example: flask db journal --errors --open
    """
    from .recorder import columns_of

    rows = _migrate().journal(directory, bind=bind, errors=errors, open_only=open_only, limit=limit)
    if as_json:
        columns = columns_of(row for _, row in rows)
        _print_json({"executions": [{"bind": name, **row} for (name, _), row in zip(rows, columns, strict=True)]})
        return
    for name, row in rows:
        click.echo(_journal_line(name, row))


@db.command()
@_DIRECTORY
@_BIND
@click.argument("id", type=int)
def trace(directory: str | None, bind: str | None, id: int) -> None:  # noqa: A002
    """Print the stored traceback of an execution of the journal.

    Example: flask db trace 17
    """
    rows = _migrate().journal(directory, bind=bind, id_=id)
    if not rows:
        raise UsageError(f"The journal has no execution {id}. Look at: flask db journal")
    for _, row in rows:
        click.echo(row.traceback or f"Execution {id} has no traceback: it is {row.status}.")


@db.command()
@_DIRECTORY
@_BIND
@_LOCK_WAIT
@_OPERATOR
@click.option("--resume", "action", flag_value="resume", help="Go on after what the ledger says is committed.")
@click.option("--restart", "action", flag_value="restart", help="Run the whole step again; its traces are undone.")
@click.option("--mark-done", "action", flag_value="mark-done", help="Record the step as done; run nothing.")
@click.option("--reason", default=None, help="Why, for the journal.")
@click.argument("revision")
@click.argument("phase")
def resolve(
    directory: str | None,
    bind: str | None,
    lock_wait: float | None,
    action: str | None,
    reason: str | None,
    revision: str,
    phase: str,
) -> None:
    """Say how to go on with a step that began and whose end is not known.

    Example: flask db resolve 3f2a final --mark-done --reason "finished by hand"
    """
    if action is None:
        raise UsageError("Say how to go on: --resume, --restart or --mark-done.")
    if not reason:
        raise UsageError("Say why, for the journal: --reason TEXT.")
    name = _migrate().resolve(
        directory, revision, phase, action=action, reason=reason, bind=bind, lock_wait_s=lock_wait
    )
    _say(f"{name} {phase}: {action}. Go on with: flask db upgrade --phase {phase}")


@db.command()
@_DIRECTORY
def environ(directory: str | None) -> None:
    """Print the settings and where each comes from; secrets are masked.

    Example: flask db environ
    """
    from .export import describe_environment

    for item in describe_environment(_migrate(), directory):
        click.echo(f"{item.name} = {item.value}  ({item.source})")


# -- printing -------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    if not g.get("migrate_quiet"):
        click.echo(text, err=True)


def _print_json(value: Mapping[str, Any]) -> None:
    click.echo(json.dumps({"schema": 1, **value}, indent=2))


def _write(text: str, output: str | None) -> None:
    if output is None:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:
            # A terminal of another encoding: UTF-8, as in a file. Nothing was written yet.
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode())
        return
    from .export import write_whole

    write_whole(output, text)
    _say(f"Wrote {output}")


def _run(
    direction: str, directory: str | None, revision: str, tag: Any, x_arg: Any, as_json: bool, options: dict[str, Any]
) -> None:
    progress = Progress(quiet=bool(g.get("migrate_quiet")), output_to_stderr=as_json)
    lock_wait_s = options.pop("lock_wait")
    command = _command_line(direction, revision, options)
    function = getattr(_migrate(), direction)
    # With --json, what revisions print must not get into the JSON.
    aside = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    with progress, aside:
        plan = function(
            directory, revision, tag=tag, x_arg=x_arg, lock_wait_s=lock_wait_s, report=progress.report, command=command,
            **options,
        )  # fmt: skip
    if as_json:
        _print_json(_plan_json(plan, {}))
    elif not plan.actions:
        _say("Nothing to do.")


def _command_line(direction: str, revision: str, options: Mapping[str, Any]) -> str:
    words = ["flask", "db", direction]
    if options.get("phase"):
        words += ["--phase", options["phase"]]
    if options.get("through"):
        words += ["--through"]
    if options.get("bind"):
        words += ["--bind", options["bind"]]
    return " ".join([*words, *([] if revision in ("head", "-1") else [revision])])


class Progress:
    """Shows a run: a live line on a terminal, otherwise one plain line a step; all on standard error."""

    def __init__(self, *, quiet: bool, output_to_stderr: bool) -> None:
        self.quiet = quiet
        self.output_to_stderr = output_to_stderr
        self.live: Any = None
        self.steps = 0
        self.seconds = 0.0

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr.isatty():
            from rich.console import Console

            self.live = Console(stderr=True).status("Reading the databases ...")
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()
        if self.steps:
            self._line(f"{self.steps} step{'s' if self.steps > 1 else ''} in {self.seconds:.2f} s.")

    def report(self, event: Event) -> None:
        """Show an event of the executor."""
        if event.kind == "output":
            click.echo(event.detail, err=self.output_to_stderr)
        elif event.step is not None:
            self._step(event)

    def _step(self, event: Event) -> None:
        step = event.step
        assert step is not None
        what = f"[{event.number}/{event.total}] {step.bind}: {step.revision} {step.phase}"
        if event.kind == "began" and self.live is not None:
            from rich.markup import escape

            self.live.update(escape(f"{what} ..."))
        elif event.kind == "done":
            self.steps += 1
            self.seconds += event.seconds
            self._line(f"{what} ... {event.seconds:.2f}s")
        elif event.kind == "failed":
            self._line(f"{what} ... failed after {event.seconds:.2f}s")
        elif event.kind == "passed":
            self._line(f"{step.bind}: {step.revision} complete")

    def _line(self, text: str) -> None:
        if not self.quiet:
            click.echo(text, err=True)


def _print_plan(
    directory: str | None, revision: str, direction: Direction, as_json: bool, x_arg: Any, options: Mapping[str, Any]
) -> None:
    from .export import planned_sql
    from .extension.project import refuse_blocked

    plan, statements = planned_sql(
        _migrate(), directory, revision, direction=direction, phase=options["phase"],
        through=options.get("through", False), bind=options["bind"], x_arg=x_arg,
    )  # fmt: skip
    if as_json:
        _print_json(_plan_json(plan, statements))
    else:
        _print_plan_text(plan, statements)
    refuse_blocked(plan)


def _plan_json(plan: Plan, statements: Mapping[Any, Sequence[str]]) -> dict[str, Any]:
    return {
        "direction": plan.direction,
        "phase": plan.phase,
        "fingerprint": plan.fingerprint,
        "steps": [
            {
                "bind": step.bind,
                "revision": step.revision,
                "phase": step.phase,
                "statements": list(statements.get(step, ())),
            }
            for step in plan.steps
        ],
        "blocked": [
            {
                "bind": block.step.bind,
                "revision": block.step.revision,
                "phase": block.step.phase,
                "because": block.because,
            }
            for block in plan.blocked
        ],
    }


def _print_plan_text(plan: Plan, statements: Mapping[Any, Sequence[str]]) -> None:
    if not plan.actions and not plan.blocked:
        click.echo("Nothing to do.")
    number = 0
    for action in plan.actions:
        if action.step is None:
            names = ", ".join((*action.passes, *filter(None, [action.reopens])))
            click.echo(f"-- {action.bind}: the version table moves: {names}")
            continue
        number += 1
        step = action.step
        click.echo(f"-- [{number}/{len(plan.steps)}] {step.bind}: {step.revision} {step.phase}")
        for text in statements.get(step, ()):
            click.echo(text)
    for block in plan.blocked:
        click.echo(f"-- blocked: {block.step}: {block.because}")


def _bind_json(found: BindStatus) -> dict[str, Any]:
    return {
        "name": found.name,
        "dialect": found.dialect,
        "current": list(found.current),
        "heads": list(found.heads),
        "revisions": [
            {
                "revision": row.id,
                "down_revision": list(row.revision.down) if row.revision else [],
                "depends_on": list(row.revision.depends_on) if row.revision else [],
                "branch_labels": list(row.revision.labels) if row.revision else [],
                "message": row.revision.message if row.revision else "",
                "state": row.state,
                "phases": dict(row.phases),
            }
            for row in found.revisions
        ],
    }


_SIGNS = {"applied": "[X]", "in-flight": "[~]", "pending": "[ ]", "missing": "[?]"}


def _print_status(found: BindStatus) -> None:
    at = ", ".join(found.current) or "base"
    click.echo(f"{found.name} ({found.dialect}) at {at}")
    if not found.revisions:
        click.echo("  There are no revisions. Type: flask db migrate -m MESSAGE")
    width = max((len(row.id) for row in found.revisions), default=0)
    for row in found.revisions:
        phases = "  ".join(f"{name} {state}" for name, state in row.phases.items() if state != "empty")
        message = row.revision.message.splitlines()[0] if row.revision and row.revision.message else ""
        if row.state in ("applied", "pending") and set(row.phases.values()) <= {"done", "pending", "empty"}:
            phases = ""
        text = f"  {_SIGNS[row.state]} {row.id:<{width}}  {row.state:<9}  {message}"
        click.echo(text.rstrip())
        if row.state == "missing":
            phases = f"no file has this revision  {phases}".rstrip()
        if phases:
            click.echo(f"      {'':<{width}}  {phases}")


def _journal_line(bind: str, row: Any) -> str:
    began = f"{row.started_at:%Y-%m-%d %H:%M:%SZ}" if row.started_at else "-"
    took = "" if row.duration_ms is None else f" {row.duration_ms} ms"
    who = " ".join(filter(None, [row.operator, f"on {row.host}" if row.host else None]))
    text = (
        f"{row.id}  {began}  {bind}  {row.operation} {row.revision or ''} {row.phase or ''}  {row.status}{took}  {who}"
    )
    error = _first_line(row.error)
    return text.rstrip() + (f"\n    {error}" if error else "")


def _first_line(text: str | None) -> str:
    lines: Iterable[str] = (text or "").splitlines()
    return next(iter(lines), "")
