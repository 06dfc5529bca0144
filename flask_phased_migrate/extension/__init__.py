"""The extension: Flask's configuration becomes values once, and each use of the tool is one method.

Importing this package imports Flask only; Alembic and SQLAlchemy are loaded by the first method that needs
them, so that an application's start pays nothing for its migrations.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, g

from ..errors import ConfigurationError, DatabaseAhead, DatabaseUnreachable, NotReady
from .command_group import DeferredGroup
from .state import MigrateSettings, current_settings

if TYPE_CHECKING:
    from ..environment import Config
    from ..executor import Event
    from ..graph import Graph
    from ..lint import LintReport
    from ..offline import Markers
    from ..offline.data import MigrationData
    from ..offline.text import Statement
    from ..phases import Phases
    from ..plan import BindStatus, Direction, Plan, Step
    from ..recorder import Execution
    from .project import Project, Request
    from .running import Resolution, Run, Skipped, Survey
    from .settings import Setting

LOCK_WAIT_S = 60.0
READY_INTERVAL_S = 1.0
_SECONDS = ("MIGRATE_LOCK_WAIT", "MIGRATE_LOCK_TIMEOUT", "MIGRATE_STATEMENT_TIMEOUT", "MIGRATE_RETRY_BUDGET")


class Migrate:
    """Flask extension that runs database migrations, in deploy phases where revisions have them.

    :param app: the application, or None to call :meth:`init_app` later.
    :param db: the Flask-SQLAlchemy extension.
    :param directory: the migrations folder, relative to the working directory.
    :param command: the name of the command group.
    :param compare_type: let autogenerate compare column types.
    :param render_as_batch: let autogenerate write batch operations, which SQLite needs.
    :param metadata: instead of ``db``: SQLAlchemy metadata, or a mapping of them by bind.
    :param engine: instead of ``db``: an engine, or a mapping of them by bind.
    :param kwargs: further options for ``context.configure()``.
    """

    def __init__(
        self,
        app: Flask | None = None,
        db: Any = None,
        directory: str | os.PathLike[str] = "migrations",
        command: str = "db",
        compare_type: bool = True,
        render_as_batch: bool = True,
        *,
        metadata: Any = None,
        engine: Any = None,
        **kwargs: Any,
    ) -> None:
        self.configure_callbacks: list[Callable[[Any], Any]] = []
        self.db = db if db is not None else _plain_database(metadata, engine)
        self.command = command
        self.directory = str(directory)
        self.alembic_ctx_kwargs: dict[str, Any] = dict(
            kwargs, compare_type=compare_type, render_as_batch=render_as_batch
        )
        if app is not None and self.db is not None:
            self.init_app(app, self.db, directory)

    def init_app(
        self,
        app: Flask,
        db: Any = None,
        directory: str | os.PathLike[str] | None = None,
        command: str | None = None,
        compare_type: bool | None = None,
        render_as_batch: bool | None = None,
        *,
        metadata: Any = None,
        engine: Any = None,
        **kwargs: Any,
    ) -> None:
        """Set up one application; the arguments override those of the constructor.

        :raises ConfigurationError: if there is neither ``db`` nor ``metadata`` with ``engine``.
        """
        database = db if db is not None else _plain_database(metadata, engine) or self.db
        if database is None:
            raise ConfigurationError(
                "Migrate has no database. Give it Flask-SQLAlchemy's object, Migrate(app, db), or "
                "Migrate(app, metadata=Base.metadata, engine=engine)."
            )
        self.db = database
        self.command = command or self.command
        self.directory = str(directory or self.directory)
        self.alembic_ctx_kwargs.update(kwargs)
        if compare_type is not None:
            self.alembic_ctx_kwargs["compare_type"] = compare_type
        if render_as_batch is not None:
            self.alembic_ctx_kwargs["render_as_batch"] = render_as_batch
        app.extensions["migrate"] = MigrateSettings(self, database, self.directory, self.alembic_ctx_kwargs)
        app.cli.add_command(DeferredGroup(self.command))
        if app.config.get("MIGRATE_ADMIN_ENABLED", False):
            _register_admin(app)

    # -- configuration ----------------------------------------------------------------------------

    def configure(self, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Register a function that may change the Alembic configuration; it must return it."""
        self.configure_callbacks.append(f)
        return f

    def call_configure_callbacks(self, config: Any) -> Any:
        """Return ``config`` after all registered functions have had it."""
        for function in self.configure_callbacks:
            config = function(config)
        return config

    def get_config(
        self,
        directory: str | os.PathLike[str] | None = None,
        x_arg: str | Sequence[str] | None = None,
        opts: Iterable[str] | None = None,
    ) -> Config:
        """Return the Alembic configuration of a migrations folder.

        :param x_arg: one or several arguments for env.py; those of the command line come first.
        :param opts: command options that env.py may look for, such as ``autogenerate``.
        """
        from argparse import Namespace

        from .settings import migration_connections, new_config

        directory = str(directory or g.get("directory") or self._directory())
        config = new_config(directory)
        config.set_main_option("script_location", directory.replace("%", "%%"))
        options = Namespace(**dict.fromkeys(opts or (), True))
        options.x = [*(g.get("x_arg") or ()), *([x_arg] if isinstance(x_arg, str) else x_arg or ())]
        options.quiet = bool(g.get("migrate_quiet"))
        config.cmd_opts = options
        if current_app.config.get("MIGRATE_DATABASE_URL"):
            config.attributes["phased_connections"] = migration_connections(current_settings().db)
        from .authoring import make_comparison

        if current_app.config.get("MIGRATE_INDEX", True):
            config.attributes["phased_index"] = "begin"
        config.attributes["phased_comparison"] = make_comparison(current_app.config)
        return self.call_configure_callbacks(config)  # type: ignore[no-any-return]

    def _directory(self) -> str:
        settings = current_app.extensions.get("migrate")
        return settings.directory if isinstance(settings, MigrateSettings) else self.directory

    def setting(self, name: str, option: str | None = None, default: Any = None, config: Any = None) -> Setting:
        """Return a setting: the app's config, then alembic.ini, then pyproject.toml, then ``default``.

        :param option: its name in alembic.ini and under ``[tool.alembic]``.
        """
        from .settings import find_setting

        return find_setting(config or self.get_config(), name, option, default)

    def read_phases(self, config: Any = None) -> Phases:
        """Return the configured phases.

        :raises ConfigurationError: if they cannot be used.
        """
        from ..phases import configure_phases

        config = config or self.get_config()
        names = self.setting("MIGRATE_PHASES", "phases", config=config).value
        default = self.setting("MIGRATE_DEFAULT_PHASE", "default-phase", config=config).value
        boundary = self.setting("MIGRATE_BOUNDARY", "boundary", config=config).value
        return configure_phases(names, default, boundary)

    def open_project(self, directory: str | None = None, config: Any = None) -> Project:
        """Return the folder with all its revision files loaded.

        :raises RevisionFileError: if one cannot be loaded.
        """
        from .. import alembic_plugin
        from ..environment import open_script, read_graph
        from .project import Project

        alembic_plugin.activate()
        config = config or self.get_config(directory)
        phases = self.read_phases(config)
        script = open_script(config)
        return Project(config, script, read_graph(script, phases), phases)

    # -- reading ----------------------------------------------------------------------------------

    def read_graph(self, directory: str | None = None) -> Graph:
        """Return the revision files as a graph; those that the index knows are imported when their code is asked for.

        :raises RevisionFileError: if one cannot be loaded.
        """
        from .listing import plain_folder, read_plain_graph

        folder = plain_folder(directory)
        found = None if folder is None else read_plain_graph(folder)
        return self.open_project(directory).graph if found is None else found

    def folder_stamp(self, directory: str | None = None) -> Hashable:
        """Return a value that is another one whenever a revision file has changed: to keep a graph until then.

        None where that cannot be told from the folder; a graph is to be read again each time then.
        """
        from .listing import folder_stamp

        return folder_stamp(directory)

    def survey(self, project: Project, **options: Any) -> Survey:
        """Return what each bind's tables say, in env.py's order, and the project as env.py sees it."""
        from .running import survey

        return survey(project, **options)

    def status(self, directory: str | None = None, *, bind: str | None = None) -> tuple[BindStatus, ...]:
        """Return the state of every revision on every bind."""
        from .glance import read_status

        quick = read_status(directory) if bind in (None, "default") else None
        if quick is not None:
            return quick
        from ..plan import bind_status
        from .project import choose_histories

        found = self.survey(self.open_project(directory))
        graph, phases = found.project.graph, found.project.phases
        return tuple(bind_status(graph, history, phases) for history in choose_histories(found.histories, bind))

    def journal(
        self, directory: str | None = None, *, bind: str | None = None, **choice: Any
    ) -> tuple[tuple[str, Execution], ...]:
        """Return (bind, execution) pairs, newest first.

        :param choice: ``errors``, ``open_only``, ``limit`` or ``id_``, as :func:`.recorder.read_journal` has them.
        """
        from .running import read_executions

        return read_executions(self.open_project(directory), bind, **choice)

    def plan(self, project: Project, request: Request) -> Plan:
        """Return the plan of a request on all its binds. Executes nothing; it may be blocked."""
        from .project import plan_request

        found = self.survey(project, destination_rev=request.target)
        return plan_request(found.project, found.histories, request)

    def ready(
        self,
        directory: str | None = None,
        *,
        phase: str | None = None,
        bind: str | None = None,
        wait_s: float = 0.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Return when every step up to ``phase`` (default: the boundary) is done.

        :param wait_s: how many seconds to go on asking.
        :raises NotReady: naming what is pending.
        :raises DatabaseAhead: at once, if the version table names a revision without a file.
        :raises DatabaseUnreachable: if a database does not answer in that time either.
        """
        deadline = clock() + wait_s
        while True:
            try:
                self._check_ready(directory, phase, bind)
            except (NotReady, DatabaseUnreachable):
                if clock() >= deadline:
                    raise
                sleep(min(READY_INTERVAL_S, max(deadline - clock(), 0.01)))
            else:
                return

    def _check_ready(self, directory: str | None, phase: str | None, bind: str | None) -> None:
        phases = self.read_phases(self.get_config(directory))
        last = phase or phases.boundary
        names = phases.names[: phases.index(last) + 1]
        found = self.status(directory, bind=bind)
        for item in found:
            unknown = [row.id for row in item.revisions if row.revision is None and row.id in item.current]
            if unknown:
                raise DatabaseAhead(
                    f"Not ready: the database of bind {item.name} is at {', '.join(unknown)}, which no file has. "
                    "Look at: flask db status",
                    bind=item.name,
                    revisions=unknown,
                )
        pending = [step for item in found for step in item.pending(names)]
        if pending:
            more = f" and {len(pending) - 1} more are" if len(pending) > 1 else " is"
            through = "" if pending[0].phase == last else f" --phase {last} --through"
            command = f"flask db upgrade{through or f' --phase {last}'}"
            raise NotReady(f"Not ready: {pending[0]}{more} not done. Next: {command}")

    def lint(
        self,
        directory: str | None = None,
        range_: str | None = None,
        *,
        all_revisions: bool = False,
        bind: str | None = None,
        small_rows: int | None = None,
        style: bool = False,
        x_arg: Any = None,
    ) -> LintReport:
        """Return what the rules find in the upgrades, by phase and engine. Runs nothing.

        :param range_: ``START:END``, START left out of it; None for what is not applied where a database answers,
            else for everything.
        :param small_rows: how many rows, by the database's own count, a table has at the most whose locks nobody
            minds; None for ``MIGRATE_SMALL_TABLE_ROWS``, 0 for none.
        :param style: look at style too, and not only where ``MIGRATE_LINT_STYLE`` says so.
        """
        from .linting import Lint, Wanted, configured_style, configured_versions, read_models

        project = self.open_project(config=self.get_config(directory, x_arg=x_arg))
        versions = self.setting("MIGRATE_TARGET_VERSION", "target-version", config=project.config).value
        small = self.setting("MIGRATE_SMALL_TABLE_ROWS", "small-table-rows", 0, project.config).value
        given = self.setting("MIGRATE_LINT_STYLE", "lint-style", config=project.config).value
        wanted = Wanted(range_, all_revisions, bind)
        models = read_models(current_settings().db)
        try:
            rows = int(small) if small_rows is None else small_rows
        except (TypeError, ValueError):
            raise ConfigurationError(
                f"MIGRATE_SMALL_TABLE_ROWS is {small!r}. It is a number of rows, for example 1000."
            ) from None
        rules = configured_style(True if style else given)
        return Lint(project, wanted, configured_versions(versions), models, rows, rules).run()

    # -- running ----------------------------------------------------------------------------------

    def upgrade(
        self,
        directory: str | None = None,
        revision: str = "head",
        *,
        phase: str | None = None,
        through: bool = False,
        bind: str | None = None,
        all_phases: bool = False,
        **run: Any,
    ) -> Plan:
        """Run an upgrade and return the plan that was run.

        :param all_phases: run a plain upgrade although ``MIGRATE_REQUIRE_PHASES`` is set.
        :param run: ``tag``, ``x_arg``; in place of the settings ``lock_wait_s``, ``lock_timeout_s``,
            ``statement_timeout_s`` and ``retry_budget_s``; ``report`` (called with each event) and
            ``command`` (as typed, for messages).
        :raises Refused: if the plan is blocked; nothing was executed.
        :raises StepFailed: if a step raised.
        :raises StepInterrupted: if part of a step has run, and it is not certain where to go on.
        :raises LockHeld: if another runner, or what a killed one left, was at work longer than ``lock_wait_s`` seconds,
            or the lock was lost: the step that ran is done, the next was not begun.
        """
        from .project import Request

        return self._execute(directory, Request(revision, "upgrade", phase, through, bind, all_phases), **run)

    def downgrade(
        self,
        directory: str | None = None,
        revision: str = "-1",
        *,
        phase: str | None = None,
        bind: str | None = None,
        **run: Any,
    ) -> Plan:
        """Run a downgrade and return the plan that was run; parameters and errors as :meth:`upgrade`."""
        from .project import Request

        return self._execute(directory, Request(revision, "downgrade", phase, bind=bind), **run)

    def _execute(
        self,
        directory: str | None,
        request: Request,
        *,
        tag: str | None = None,
        x_arg: Any = None,
        lock_wait_s: float | None = None,
        lock_timeout_s: float | None = None,
        statement_timeout_s: float | None = None,
        retry_budget_s: float | None = None,
        report: Callable[[Event], None] | None = None,
        command: str | None = None,
    ) -> Plan:
        from dataclasses import replace

        from ..executor.retries import Timeouts
        from ..signals import signalling

        config = self.get_config(directory, x_arg=x_arg)
        if "phased_index" in config.attributes:
            # The files that run are imported in any case: to begin an index would only take longer.
            config.attributes["phased_index"] = "use"
        project = self.open_project(config=config)
        run = self._new_run(project, lock_wait_s, destination_rev=request.target, tag=tag)
        timeouts = Timeouts(
            self._seconds("MIGRATE_LOCK_TIMEOUT", Timeouts.lock_s, lock_timeout_s, project.config),
            self._seconds("MIGRATE_STATEMENT_TIMEOUT", Timeouts.statement_s, statement_timeout_s, project.config),
            self._seconds("MIGRATE_RETRY_BUDGET", Timeouts.budget_s, retry_budget_s, project.config),
        )
        run = replace(run, timeouts=timeouts)
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        return run.execute(request, signalling(app, report or _ignore), command or f"flask db {request.direction}")

    def _new_run(self, project: Project, lock_wait_s: float | None, **options: Any) -> Run:
        from uuid import uuid4

        from ..recorder import this_runner
        from .running import Run

        wait_s = self._seconds("MIGRATE_LOCK_WAIT", LOCK_WAIT_S, lock_wait_s, project.config)
        version = current_app.config.get("MIGRATE_APP_VERSION")
        runner = this_runner(str(uuid4()), operator=_operator(), app_version=None if version is None else str(version))
        required = bool(current_app.config.get("MIGRATE_REQUIRE_PHASES", False))
        return Run(project, runner, wait_s, options, required)

    def check_run_settings(self, config: Any) -> None:
        """Refuse settings of a run that cannot be used, for one that may have nothing to do.

        :raises ConfigurationError: naming the setting.
        """
        self.read_phases(config)
        for name in _SECONDS:
            self._seconds(name, 1.0, None, config)

    def _seconds(self, name: str, default: float, given: float | None, config: Config) -> float:
        """Return a setting in seconds; ``given`` on the command line comes first.

        :raises ConfigurationError: if it is no number, or below 0.
        """
        if given is not None:
            return given
        found = self.setting(name, name.removeprefix("MIGRATE_").lower().replace("_", "-"), default, config)
        try:
            seconds = float(found.value)
        except (TypeError, ValueError, OverflowError):
            seconds = math.nan
        if not 0 <= seconds < _MOST_SECONDS:
            raise ConfigurationError(
                f"{name} is {found.value!r} ({found.source}). It is a number of seconds, for example {default:g}."
            )
        return seconds

    def resolve(
        self,
        directory: str | None,
        revision: str,
        phase: str,
        *,
        action: str,
        reason: str | None = None,
        bind: str | None = None,
        lock_wait_s: float | None = None,
        after: int | None = None,
    ) -> Resolution:
        """Say how to go on with an interrupted step: ``resume``, ``restart`` or ``mark-done``.

        :param after: with ``resume``: how many operations of the body to pass over, instead of the recorded number.
        :raises UsageError: if the step is not interrupted.
        """
        run = self._new_run(self.open_project(directory), lock_wait_s)
        return run.resolve(revision, phase, action=action, reason=reason, bind=bind, after=after)

    def skip(
        self,
        directory: str | None = None,
        *,
        phase: str | None = None,
        bind: str | None = None,
        reason: str | None = None,
        lock_wait_s: float | None = None,
    ) -> Skipped:
        """Record the next pending step as done without running it.

        :param phase: the next step of this phase; None for the next in the order of a plain upgrade.
        :param reason: why, for the journal.
        :raises NothingPending: if there is none.
        :raises Refused: if an earlier phase is missing; nothing was recorded.
        :raises StepInterrupted: if part of the step, or of one before it, has run.
        :raises UsageError: if several binds have one and none is chosen.
        """
        run = self._new_run(self.open_project(directory), lock_wait_s)
        return run.skip(phase, reason=reason, bind=bind)

    def rebuild(
        self,
        directory: str | None,
        revision: str,
        *,
        phase: str | None = None,
        bind: str | None = None,
        all_phases: bool = False,
        **run: Any,
    ) -> Plan:
        """Run what is left of a revision that failed, from its failed phase, and return the plan that was run.

        Steps of other revisions are never run. Parameters and errors as :meth:`upgrade`; besides:

        :param phase: the last phase to run.
        :raises UsageError: if nothing of the revision failed.
        """
        from .project import Request

        request = Request(revision, "upgrade", phase, bind=bind, all_phases=all_phases, resume=True)
        return self._execute(directory, request, **run)

    def stamp(
        self,
        directory: str | None = None,
        revisions: Sequence[str] = ("head",),
        *,
        purge: bool = False,
        tag: str | None = None,
        bind: str | None = None,
        lock_wait_s: float | None = None,
    ) -> tuple[Step, ...]:
        """Set the version table to ``revisions`` without running anything, and clear the ledger below them.

        Return the steps of revisions in flight whose records were cleared.
        """
        project = self.open_project(directory)
        run = self._new_run(project, lock_wait_s, destination_rev=tuple(revisions), tag=tag)
        return run.stamp(revisions, purge=purge, bind=bind)

    # -- offline ----------------------------------------------------------------------------------

    def export(
        self,
        directory: str | None = None,
        revision: str = "head",
        *,
        phase: str | None = None,
        bind: str | None = None,
        direction: Direction = "upgrade",
        dialect: str | None = None,
        markers: Markers = "all",
        tag: str | None = None,
        x_arg: Any = None,
        heads: frozenset[str] | None = None,
        delivers: bool = False,
    ) -> dict[str, tuple[Statement, ...]]:
        """Return the SQL statements of a range by bind, without a database.

        :param revision: ``END`` or ``START:END``; a START of ``current`` is read from the database.
        :param heads: the version table's rows at the start, in place of a START.
        :param delivers: leave out the binds for which env.py has an output buffer of its own, and write there.
        :raises Refused: if a body cannot be exported.
        """
        from .exporting import Export
        from .project import Request

        project = self.open_project(config=self.get_config(directory, x_arg=x_arg))
        if phase is not None:
            project.phases.index(phase)
        export = Export(project, bind, dialect, tag, heads, delivers=delivers)
        return export.range(Request(revision, direction, phase, bind=bind), markers)

    def export_stamp(
        self, directory: str | None, revisions: Sequence[str], *, tag: str | None = None, bind: str | None = None
    ) -> dict[str, tuple[Statement, ...]]:
        """Return by bind the SQL that sets the version table to ``revisions``: ``END`` or ``START:END`` each."""
        from .exporting import Export

        return Export(self.open_project(directory), bind, tag=tag, delivers=True).stamp(revisions)

    def export_version_table(self, directory: str | None) -> dict[str, tuple[Statement, ...]]:
        """Return by bind the SQL that creates the version table."""
        from .exporting import Export

        return Export(self.open_project(directory)).version_table()

    def step_sql(self, project: Project, plan: Plan) -> dict[Step, Any]:
        """Return the statements of each step of a plan; for a body that needs a database, its refusal."""
        from .exporting import Export

        return Export(project).steps(plan)

    def script_attributes(self, config: Any = None) -> tuple[str, ...]:
        """Return the names of the revisions' attributes that are part of the migration data."""
        from ..phases import split_names

        return split_names(self.setting("MIGRATE_SCRIPT_ATTRIBUTES", "script-attributes", (), config).value)

    def migration_data(
        self, project: Project, revision: str | None = None, bind: str | None = None
    ) -> tuple[MigrationData, ...]:
        """Return the migration data of all revisions, or of ``revision``, base first.

        :param bind: one of several databases; the first of env.py's without.
        """
        from .exporting import Export
        from .project import one_revision

        names = self.script_attributes(project.config)
        wanted = None if revision is None else one_revision(project, revision)
        return Export(project, bind).data(lambda item: {name: item.attributes.get(name) for name in names}, wanted)


# More than the engines take; a mistake in any case.
_MOST_SECONDS = 1_000_000


def current_migrate() -> Migrate:
    """Return the current application's extension.

    :raises ConfigurationError: if it has none.
    """
    return current_settings().migrate


def _plain_database(metadata: Any, engine: Any) -> Any:
    """Return metadata and engines as one database object, None where neither is given."""
    if metadata is None and engine is None:
        return None
    from .settings import plain_database

    return plain_database(metadata, engine)


def _ignore(_event: Event) -> None:
    """Report to nobody."""


def _operator() -> str | None:
    import getpass

    chosen = g.get("migrate_operator") or current_app.config.get("MIGRATE_OPERATOR")
    if chosen:
        return str(chosen)
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None


def _register_admin(app: Flask) -> None:
    from ..admin import create_admin_blueprint
    from .admin_source import AdminSource

    prefix = app.config.get("MIGRATE_ADMIN_URL_PREFIX", "/migrations")
    access = app.config.get("MIGRATE_ADMIN_ACCESS")
    blueprint = create_admin_blueprint(
        AdminSource(app),
        access=access,
        url_prefix=prefix,
        page_size=app.config.get("MIGRATE_ADMIN_PAGE_SIZE", 100),
        base_template=app.config.get("MIGRATE_ADMIN_BASE_TEMPLATE"),
    )
    app.register_blueprint(blueprint)
