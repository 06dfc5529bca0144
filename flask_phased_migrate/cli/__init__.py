"""``flask db``: parse, call one function, print; errors become an exit status.

Nothing but Click and Flask is imported until a command runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from flask import g
from flask.cli import with_appcontext

from ..errors import MigrateError, NotReady, UsageError
from .authoring import Authoring, authoring_options
from .group import (
    BIND,
    BRANCH_LABEL,
    DIRECTORY,
    GLOBALS,
    JSON,
    LOCK_WAIT,
    MESSAGE,
    OPERATOR,
    PHASE,
    PLAN,
    REASON,
    REV_ID,
    SECONDS,
    SPLICE,
    SQL,
    TAG,
    VERBOSE,
    X_ARG,
    DbGroup,
    DowngradeCommand,
    forget_globals,
    global_options,
    store_globals,
    timeout_options,
)
from .linting import add_lint
from .printing import (
    bind_json,
    current_extension,
    describe_skipped,
    journal_line,
    print_current,
    print_json,
    print_listing,
    print_plan,
    print_status,
    run_and_show,
    say,
    show_export,
    show_verified,
    write_text,
)

if TYPE_CHECKING:
    from ..index import Part
    from ..plan import BindStatus


def _commands() -> Any:
    return import_module("..commands", __package__)


@click.group(cls=DbGroup, invoke_without_command=True, no_args_is_help=False)
@DIRECTORY
@X_ARG
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
    before = {key: g.get(key) for key in GLOBALS if key in g}
    forget_globals({})
    context.call_on_close(lambda: forget_globals(before))
    g.directory = directory
    g.x_arg = x_arg
    store_globals(config, name, raiseerr, quiet)
    if version:
        _print_versions()
    elif context.invoked_subcommand is None:
        click.echo(context.get_help())


for _option in reversed(global_options(short_config=True)):
    db = _option(db)


def _print_versions() -> None:
    from importlib.metadata import version

    from .. import __version__

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
@DIRECTORY
@click.option("--multidb", is_flag=True, help="Migrate every bind, not only the unnamed database.")
@click.option("-t", "--template", default=None, help='Template to use (default is "flask"), or the path of one.')
@click.option("--package", is_flag=True, help="Write empty __init__.py files into the folder and its versions.")
@click.option("--update-template", is_flag=True, help="Only renew script.py.mako of the folder that there is.")
def init(directory: str | None, multidb: bool, template: str | None, package: bool, update_template: bool) -> None:
    """Create a new migrations folder.

    Example: flask db init --multidb
    """
    if update_template:
        others = {"--multidb": multidb, "--template": template, "--package": package}
        _refuse_together("--update-template", True, others)
        _commands().renew_template(directory)
        return
    _commands().init(directory, multidb, template, package)


@db.command()
@authoring_options
@click.option("--autogenerate", is_flag=True, help="Fill in the operations that the models call for.")
def revision(directory: str | None, autogenerate: bool, authoring: Authoring, **options: Any) -> None:
    """Create a new revision file.

    Example: flask db revision -m "add email"
    """
    _refuse_together("revision without --autogenerate", not autogenerate, authoring.given)
    how = authoring.arguments() if autogenerate else {}
    _commands().revision(directory, autogenerate=autogenerate, **options, **how)


@db.command()
@authoring_options
def migrate(directory: str | None, authoring: Authoring, **options: Any) -> None:
    """Create a revision file from the models (revision --autogenerate), divided into phases.

    What the new code needs goes before the deploy, what would break the old code after it.

    Example: flask db migrate -m "add email"
    """
    _commands().migrate(directory, **options, **authoring.arguments())


@db.command()
@DIRECTORY
@click.argument("revision", default="head")
def edit(directory: str | None, revision: str) -> None:
    """Edit a revision file with $EDITOR.

    Example: flask db edit 3f2a
    """
    _commands().edit(directory, revision)


@db.command()
@DIRECTORY
@MESSAGE
@BRANCH_LABEL
@REV_ID
@SPLICE
@click.argument("revisions", nargs=-1)
def merge(directory: str | None, revisions: Sequence[str], **options: Any) -> None:
    """Join several heads with a new revision; without names, all of them.

    Example: flask db merge -m "merge teams" 3f2a 77c1
    """
    _commands().merge(directory, revisions, **options)


@db.command()
@DIRECTORY
@SQL
@TAG
@X_ARG
@PHASE
@click.option("--all-phases", is_flag=True, help="Run every phase although MIGRATE_REQUIRE_PHASES is set.")
@click.option("--through", is_flag=True, help="With --phase: run every phase up to it, one after the other.")
@PLAN
@BIND
@timeout_options
@OPERATOR
@JSON
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
    from ..extension.glance import is_at

    if options["through"] and options["phase"] is None:
        raise UsageError("--through needs --phase: it runs every phase up to that one.")
    _refuse_together("--sql", sql, {"--plan": plan, "--json": as_json, "--through": options["through"]})
    _check_target(revision, "upgrade", sql)
    if sql:
        _commands().upgrade(directory, revision, True, tag, x_arg, phase=options["phase"], bind=options["bind"])
    elif plan:
        print_plan(directory, revision, "upgrade", as_json, x_arg, options)
    elif as_json or tag or x_arg or options["phase"] or options["bind"] or not is_at(directory, revision):
        run_and_show("upgrade", directory, revision, tag, x_arg, as_json, options)
    else:
        say("Nothing to do.")


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
@DIRECTORY
@SQL
@TAG
@X_ARG
@PHASE
@PLAN
@BIND
@timeout_options
@OPERATOR
@JSON
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
    """Go back to an earlier revision (default: -1, one back); with --phase, undo one phase.

    Example: flask db downgrade -1
    """
    _refuse_together("--sql", sql, {"--plan": plan, "--json": as_json})
    _check_target(revision, "downgrade", sql)
    if sql:
        _commands().downgrade(directory, revision, True, tag, x_arg, phase=options["phase"], bind=options["bind"])
    elif plan:
        print_plan(directory, revision, "downgrade", as_json, x_arg, options)
    else:
        run_and_show("downgrade", directory, revision, tag, x_arg, as_json, options)


@db.command()
@DIRECTORY
@click.argument("revision", default="head")
def show(directory: str | None, revision: str) -> None:
    """Show the revision denoted by the given symbol.

    Example: flask db show head
    """
    if not print_listing(directory, "facts", lambda found: found.show(revision)):
        _commands().show(directory, revision)


@db.command()
@DIRECTORY
@click.option("-r", "--rev-range", default=None, help="Specify a revision range; format is [start]:[end].")
@VERBOSE
@click.option("-i", "--indicate-current", is_flag=True, help="Mark what the database is at.")
def history(directory: str | None, **options: Any) -> None:
    """List the revisions, newest first.

    Example: flask db history -r current:head
    """
    whole = options["rev_range"] is None and not options["indicate_current"]
    wanted: Part = "facts" if options["verbose"] else "links"
    if not whole or not print_listing(directory, wanted, lambda found: found.history(verbose=options["verbose"])):
        _commands().history(directory, **options)


@db.command()
@DIRECTORY
@VERBOSE
@click.option("--resolve-dependencies", is_flag=True, help="Treat dependency versions as down revisions.")
def heads(directory: str | None, **options: Any) -> None:
    """Show the revisions that nothing revises.

    Example: flask db heads
    """
    plain = not options["resolve_dependencies"]
    wanted: Part = "facts" if options["verbose"] else "head"
    if not plain or not print_listing(directory, wanted, lambda found: found.heads(verbose=options["verbose"])):
        _commands().heads(directory, **options)


@db.command()
@DIRECTORY
@VERBOSE
def branches(directory: str | None, verbose: bool) -> None:
    """Show the branch points.

    Example: flask db branches -v
    """
    wanted: Part = "facts" if verbose else "links"
    if not print_listing(directory, wanted, lambda found: found.branches(verbose=verbose)):
        _commands().branches(directory, verbose)


@db.command()
@DIRECTORY
@VERBOSE
@click.option("-c", "--check-heads", is_flag=True, help="Exit with status 1 unless the database is at all heads.")
def current(directory: str | None, verbose: bool, check_heads: bool) -> None:
    """Display the current revision of each database.

    Example: flask db current --check-heads
    """
    if verbose or not print_current(directory, check_heads=check_heads):
        _commands().current(directory, verbose, check_heads)


@db.command()
@DIRECTORY
@SQL
@TAG
@click.option("--purge", is_flag=True, help="Empty the version table before stamping.")
@BIND
@OPERATOR
@click.argument("revision", nargs=-1)
def stamp(directory: str | None, revision: Sequence[str], **options: Any) -> None:
    """Set the version table to the given revisions; run nothing.

    Example: flask db stamp head
    """
    cleared = _commands().stamp(directory, revision or ("head",), **options)
    for step in cleared:
        say(f"{step} was in flight; its record is cleared.")


@db.command()
@DIRECTORY
@JSON
def check(directory: str | None, as_json: bool) -> None:
    """Check whether the models call for operations that no revision has.

    Example: flask db check
    """
    if not as_json:
        _commands().check(directory)
        return
    differences, compared = _commands().compare(directory)
    print_json({"differences": list(map(asdict, differences)), "compared": list(map(asdict, compared))})
    if differences:
        raise NotReady("The models and the database differ. Type: flask db migrate")


@db.command("ensure-version")
@DIRECTORY
@SQL
def ensure_version(directory: str | None, sql: bool) -> None:
    """Create the version table where it is missing.

    Example: flask db ensure-version
    """
    _commands().ensure_version(directory, sql)


# -- our own ------------------------------------------------------------------------------------------


@db.command("sql")
@DIRECTORY
@X_ARG
@click.option("-o", "--output", default=None, help="Write to this file, all or nothing.")
@click.option(
    "--split", default=None, help="Write a bundle into this folder: a file for each phase and bind, rollback."
)
@click.option("--verify", default=None, help="Tell whether the bundle in this folder still holds; 1 if it does not.")
@click.option("--version-file", default=None, help="A file that says where to start; the end is written to it.")
@click.option("--format", "format_", type=click.Choice(["sql", "json"]), default="sql", help="sql or json.")
@click.option("--dialect", default=None, help="postgresql, mysql, mariadb, sqlite, mssql or oracle.")
@click.option("--downgrade", "down", is_flag=True, help="The SQL that undoes the range.")
@PHASE
@BIND
@click.argument("range_", metavar="[START:]END", required=False)
def sql_command(
    directory: str | None,
    x_arg: Any,
    output: str | None,
    split: str | None,
    verify: str | None,
    version_file: str | None,
    format_: str,
    dialect: str | None,
    down: bool,
    phase: str | None,
    bind: str | None,
    range_: str | None,
) -> None:
    """Export a range of revisions as SQL, without a database.

    With --phase, only that phase, to be run by a database administrator: each step in its own guarded
    transaction, with the records that an online run would write. START may be "current".

    \b
    Example: flask db sql 1:head > out.sql
      flask db sql --split release current:head
      flask db sql --verify release
      flask db sql --version-file at.txt -o out.sql
    """
    for name, value in {"-o": output, "--split": split, "--verify": verify, "--version-file": version_file}.items():
        if value is not None and not value.strip():
            raise UsageError(f"{name} is empty. Name a {'folder' if name in ('--split', '--verify') else 'file'}.")
    as_json = {"--format json": format_ == "json"}
    _refuse_together("--split", split is not None, {"--output": output, **as_json})
    others = {"--output": output, "--split": split, "--version-file": version_file, "--dialect": dialect, **as_json}
    others |= {"--downgrade": down, "--phase": phase, "--bind": bind, "a range": range_}
    _refuse_together("--verify", verify is not None, others)
    if verify is not None:
        show_verified(directory, verify, x_arg)
        return
    options = {"phase": phase, "bind": bind, "dialect": dialect, "direction": "downgrade" if down else "upgrade"}
    show_export(directory, "head" if range_ is None else range_, options, x_arg, format_, output, split, version_file)


@db.command()
@DIRECTORY
@click.option("-o", "--output", "--filename", default=None, help="Write to this file; its ending chooses the format.")
@click.option(
    "--format", "format_", type=click.Choice(["dot", "mermaid", "svg", "text", "json"]), default=None, help="Format."
)
@click.option("--status", "with_status", is_flag=True, help="Mark what is applied and in flight (asks the database).")
@BIND
def graph(directory: str | None, output: str | None, format_: str | None, with_status: bool, bind: str | None) -> None:
    """Draw the revisions.

    Example: flask db graph -o revisions.svg --status
    """
    from ..extension.assured import assured_rules
    from ..extension.listing import read_drawn_graph
    from ..render import format_of, render_graph

    chosen = format_ or ("dot" if output is None else format_of(output))
    if bind is not None and not with_status:
        raise UsageError("--bind says which database --status asks. Give --status too, or leave out --bind.")
    migrate = current_extension()
    states, current = _states(migrate.status(directory, bind=bind)) if with_status else (None, ())
    drawn = None if with_status else read_drawn_graph(directory)
    revisions = migrate.read_graph(directory) if drawn is None else drawn
    write_text(render_graph(revisions, chosen, states, current, assured=assured_rules(revisions)), output)


def _states(found: Sequence[BindStatus]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the states by id and the version table's rows of the one bind."""
    if len(found) > 1:
        names = ", ".join(item.name for item in found)
        raise UsageError(f"There are several binds: {names}. Say whose state to mark: --bind NAME")
    return {row.id: row.state for row in found[0].revisions}, found[0].current


@db.command()
@DIRECTORY
@BIND
@JSON
@click.option("--check", "check_", is_flag=True, help="Exit with status 1 when anything is pending.")
def status(directory: str | None, bind: str | None, as_json: bool, check_: bool) -> None:
    """Show every revision's phases: done, pending, empty, running, failed or interrupted.

    Example: flask db status --check
    """
    found = current_extension().status(directory, bind=bind)
    if as_json:
        print_json({"binds": [bind_json(item) for item in found]})
    else:
        for item in found:
            print_status(item)
    if check_ and not all(item.is_complete() for item in found):
        raise NotReady("Something is pending. Type: flask db status")


@db.command()
@DIRECTORY
@PHASE
@BIND
@click.option("--wait", type=SECONDS, default=0, help="Seconds to wait for it.")
def ready(directory: str | None, phase: str | None, bind: str | None, wait: float) -> None:
    """Exit with status 0 when every step up to a phase (default: the boundary) is done.

    Example: flask db ready --wait 120
    """
    current_extension().ready(directory, phase=phase, bind=bind, wait_s=wait)
    say("Ready.")


@db.command()
@DIRECTORY
@BIND
@click.option("--errors", is_flag=True, help="Only failed and interrupted executions.")
@click.option("--open", "open_only", is_flag=True, help="Only those that no later success has answered.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="At most so many.")
@JSON
def journal(
    directory: str | None, bind: str | None, errors: bool, open_only: bool, limit: int | None, as_json: bool
) -> None:
    """List executions, newest first.

    Example: flask db journal --errors --open
    """
    from ..recorder import columns_of

    rows = current_extension().journal(directory, bind=bind, errors=errors, open_only=open_only, limit=limit)
    if as_json:
        columns = columns_of(row for _, row in rows)
        print_json({"executions": [{"bind": name, **row} for (name, _), row in zip(rows, columns, strict=True)]})
        return
    for name, row in rows:
        write_text(f"{journal_line(name, row)}\n", None)


@db.command()
@DIRECTORY
@BIND
@click.argument("id", type=int)
def trace(directory: str | None, bind: str | None, id: int) -> None:  # noqa: A002
    """Print the stored traceback of an execution of the journal.

    Example: flask db trace 17
    """
    rows = current_extension().journal(directory, bind=bind, id_=id)
    if not rows:
        raise UsageError(f"The journal has no execution {id}. Look at: flask db journal")
    for name, row in rows:
        if len(rows) > 1:
            say(f"Execution {id} of {name}; only this one: --bind {name}")
        write_text(f"{row.traceback or f'Execution {id} has no traceback: it is {row.status}.'}\n", None)


@db.command()
@DIRECTORY
@BIND
@LOCK_WAIT
@OPERATOR
@click.option("--resume", "action", flag_value="resume", help="Go on after what the ledger says is committed.")
@click.option(
    "--restart", "action", flag_value="restart", help="Run the whole step again; undo its traces yourself first."
)
@click.option("--mark-done", "action", flag_value="mark-done", help="Record the step as done; run nothing.")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    default=None,
    metavar="N",
    help="With --resume: go on after the first N operations of the body instead.",
)
@REASON
@click.argument("revision")
@click.argument("phase")
def resolve(
    directory: str | None,
    bind: str | None,
    lock_wait: float | None,
    action: str | None,
    after: int | None,
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
    found = current_extension().resolve(
        directory, revision, phase, action=action, reason=reason, bind=bind, lock_wait_s=lock_wait, after=after
    )
    place = "" if after is None else f" after operation {after}"
    say(f"{found.revision} {phase}: {action}{place}. Go on with: {found.command}")


@db.command()
@DIRECTORY
@PHASE
@BIND
@REASON
@LOCK_WAIT
@OPERATOR
def skip(
    directory: str | None, phase: str | None, bind: str | None, reason: str | None, lock_wait: float | None
) -> None:
    """Record the next pending step as done without running it; with --phase, the next of that phase.

    Example: flask db skip --phase final --reason "done by hand"
    """
    found = current_extension().skip(directory, phase=phase, bind=bind, reason=reason, lock_wait_s=lock_wait)
    say(describe_skipped(found))


@db.command()
@DIRECTORY
@TAG
@X_ARG
@click.option("--phase", default=None, help="The last phase to run (default: all that are left).")
@click.option("--all-phases", is_flag=True, help="Go past the boundary although MIGRATE_REQUIRE_PHASES is set.")
@BIND
@timeout_options
@OPERATOR
@JSON
@click.argument("revision")
def rebuild(directory: str | None, tag: str | None, x_arg: Any, revision: str, as_json: bool, **options: Any) -> None:
    """Run what is left of a revision that failed or was interrupted, from the phase that failed.

    Example: flask db rebuild 3f2a
    """
    if not revision.strip():
        raise UsageError("The revision is empty. Name one, for example: flask db rebuild head")
    run_and_show("rebuild", directory, revision, tag, x_arg, as_json, options)


@db.command()
@DIRECTORY
def environ(directory: str | None) -> None:
    """Print the settings and where each comes from; secrets are masked.

    Example: flask db environ
    """
    from ..export import describe_environment

    for item in describe_environment(current_extension(), directory):
        click.echo(f"{item.name} = {item.value}  ({item.source})")


add_lint(db)
