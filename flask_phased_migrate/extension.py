"""The extension: Flask's configuration becomes values once, and each use of the tool is one method.

Importing this module imports Flask only; Alembic and SQLAlchemy are loaded by the first method that needs
them, so that an application's start pays nothing for its migrations.
"""

from __future__ import annotations

import argparse
import getpass
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app, g

from .errors import (
    ConfigurationError,
    DatabaseAhead,
    DatabaseUnreachable,
    LockHeld,
    NotReady,
    Refused,
    RevisionRefused,
    StepInterrupted,
    UsageError,
)
from .phases import DEFAULT_BIND, Phases, configure_phases, split_names

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from .environment import Visit
    from .executor import Event
    from .graph import Graph, Revision
    from .offline import MigrationData, Statement
    from .plan import BindStatus, Direction, History, Plan, Step
    from .recorder import Execution

LOCK_WAIT_S = 60.0
READY_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Setting:
    """A setting's value and where it came from, for ``flask db environ``."""

    name: str
    value: Any
    source: str


@dataclass(frozen=True)
class PlainDatabase:
    """Stands for Flask-SQLAlchemy where an application gives ``metadata`` and ``engine`` itself."""

    metadata: Any
    engine: Any
    metadatas: Mapping[str | None, Any]
    engines: Mapping[str | None, Any]


class _MigrateConfig:
    """What ``app.extensions["migrate"]`` holds; env.py files of every Flask-Migrate generation read it."""

    def __init__(self, migrate: Migrate, db: Any, directory: str, options: Mapping[str, Any]) -> None:
        self.migrate = migrate
        self.db = db
        self.directory = directory
        self._options = dict(options)

    @property
    def configure_args(self) -> dict[str, Any]:
        """A fresh copy of what the application gave: env.py files write into it."""
        return dict(self._options)

    @property
    def metadata(self) -> Any:
        """The metadata of the database object."""
        return self.db.metadata


@dataclass(frozen=True)
class Project:
    """A migrations folder as one call sees it."""

    config: Config
    script: ScriptDirectory
    graph: Graph
    phases: Phases


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
        """Set up one application; the arguments override those of the constructor for it.

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
        options = dict(self.alembic_ctx_kwargs, **kwargs)
        if compare_type is not None:
            options["compare_type"] = compare_type
        if render_as_batch is not None:
            options["render_as_batch"] = render_as_batch
        self.alembic_ctx_kwargs = dict(options)
        app.extensions["migrate"] = _MigrateConfig(self, database, self.directory, options)
        from .cli import db as group

        app.cli.add_command(group, name=self.command)
        if app.config.get("MIGRATE_ADMIN_ENABLED", False):
            self._register_admin(app)

    def _register_admin(self, app: Flask) -> None:
        from .admin import create_admin_blueprint

        prefix = app.config.get("MIGRATE_ADMIN_URL_PREFIX", "/migrations")
        access = app.config.get("MIGRATE_ADMIN_ACCESS")
        if access is None:
            app.logger.warning(
                "The migrations page at %s answers 403: set MIGRATE_ADMIN_ACCESS to a function or 'public-read'.",
                prefix,
            )
        blueprint = create_admin_blueprint(
            AdminSource(app),
            access=access,
            url_prefix=prefix,
            page_size=app.config.get("MIGRATE_ADMIN_PAGE_SIZE", 100),
            base_template=app.config.get("MIGRATE_ADMIN_BASE_TEMPLATE"),
        )
        app.register_blueprint(blueprint)

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
        directory = str(directory or g.get("directory") or _settings().directory)
        config = _new_config(directory)
        config.set_main_option("script_location", directory)
        options = argparse.Namespace(**dict.fromkeys(opts or (), True))
        options.x = [*(g.get("x_arg") or ()), *([x_arg] if isinstance(x_arg, str) else x_arg or ())]
        options.quiet = bool(g.get("migrate_quiet"))
        config.cmd_opts = options
        return self.call_configure_callbacks(config)  # type: ignore[no-any-return]

    def setting(self, name: str, option: str | None = None, default: Any = None, config: Any = None) -> Setting:
        """Return a setting: the app's config, then alembic.ini, then pyproject.toml, then the default.

        :param option: its name in alembic.ini and under ``[tool.alembic]``.
        """
        if name in current_app.config and current_app.config[name] is not None:
            return Setting(name, current_app.config[name], "application")
        if option is not None:
            config = config or self.get_config()
            for spelling in (option, option.replace("-", "_")):
                if config.file_config.has_option(config.config_ini_section, spelling):
                    return Setting(name, config.file_config.get(config.config_ini_section, spelling), "alembic.ini")
            for spelling in (option, option.replace("-", "_")):
                if spelling in config.toml_alembic_config:
                    return Setting(name, config.toml_alembic_config[spelling], "pyproject.toml")
        return Setting(name, default, "default")

    def read_phases(self, config: Any = None) -> Phases:
        """Return the configured phases.

        :raises ConfigurationError: if they cannot be used.
        """
        config = config or self.get_config()
        names = self.setting("MIGRATE_PHASES", "phases", config=config).value
        default = self.setting("MIGRATE_DEFAULT_PHASE", "default-phase", config=config).value
        boundary = self.setting("MIGRATE_BOUNDARY", "boundary", config=config).value
        return configure_phases(names, default, boundary)

    def open_project(self, directory: str | None = None, config: Any = None) -> Project:
        """Return the folder with all its revision files loaded.

        :raises RevisionFileError: if one cannot be loaded.
        """
        from . import alembic_plugin
        from .environment import open_script, read_graph

        alembic_plugin.activate()
        config = config or self.get_config(directory)
        phases = self.read_phases(config)
        script = open_script(config)
        return Project(config, script, read_graph(script, phases), phases)

    # -- reading ----------------------------------------------------------------------------------

    def read_histories(self, project: Project, **options: Any) -> tuple[History, ...]:
        """Return what each bind's tables say, in env.py's order. Writes nothing."""
        from .environment import run_environment, stdout_to_stderr
        from .executor import end_reading
        from .recorder import read_history

        histories: list[History] = []

        def visit(found: Visit) -> None:
            histories.append(read_history(found.connection, found.bind, found.tables))
            end_reading(found.connection)

        with stdout_to_stderr():
            run_environment(project.config, project.script, visit, **options)
        return tuple(histories)

    def status(self, directory: str | None = None, *, bind: str | None = None) -> tuple[BindStatus, ...]:
        """Return the state of every revision on every bind."""
        from .plan import bind_status

        project = self.open_project(directory)
        histories = _choose(self.read_histories(project), bind)
        return tuple(bind_status(project.graph, history, project.phases) for history in histories)

    def journal(
        self,
        directory: str | None = None,
        *,
        bind: str | None = None,
        errors: bool = False,
        open_only: bool = False,
        limit: int | None = None,
        id_: int | None = None,
    ) -> tuple[tuple[str, Execution], ...]:
        """Return (bind, execution) pairs, newest first within each bind."""
        from .environment import run_environment, stdout_to_stderr
        from .executor import end_reading
        from .recorder import read_journal

        project = self.open_project(directory)
        found: list[tuple[str, Execution]] = []
        names: list[str] = []

        def visit(at: Visit) -> None:
            names.append(at.bind)
            if bind is None or at.bind == bind:
                rows = read_journal(at.connection, at.tables, errors=errors, open_only=open_only, limit=limit, id_=id_)
                found.extend((at.bind, row) for row in rows)
            end_reading(at.connection)

        with stdout_to_stderr():
            run_environment(project.config, project.script, visit)
        _check_bind(bind, names)
        return tuple(found)

    # -- planning ---------------------------------------------------------------------------------

    def plan(
        self,
        project: Project,
        histories: Sequence[History],
        target: str,
        *,
        direction: Direction = "upgrade",
        phase: str | None = None,
        through: bool = False,
    ) -> Plan:
        """Return the plan of all the binds. Executes nothing.

        :raises DatabaseAhead: if a version table names a revision without a file.
        :raises UsageError: if there is no such phase.
        """
        from .plan import join_plans

        if phase is not None:
            project.phases.index(phase)
        binds = frozenset(history.bind for history in histories)
        plans = []
        for history in histories:
            _refuse_ahead(project, history)
            plan_bind = _plan_upgrade if direction == "upgrade" else _plan_downgrade
            plans.append(plan_bind(project, history, target, phase, through, binds))
        return join_plans(plans, direction=direction, phase=phase)

    def upgrade(
        self,
        directory: str | None = None,
        revision: str = "head",
        *,
        phase: str | None = None,
        through: bool = False,
        bind: str | None = None,
        tag: str | None = None,
        x_arg: Any = None,
        lock_wait_s: float | None = None,
        report: Callable[[Event], None] | None = None,
        command: str | None = None,
    ) -> Plan:
        """Run an upgrade and return the plan that was run.

        :raises Refused: if the plan is blocked; nothing was executed.
        :raises StepFailed: if a step raised.
        """
        return self._run(
            "upgrade", directory, revision, phase=phase, through=through, bind=bind, tag=tag, x_arg=x_arg,
            lock_wait_s=lock_wait_s, report=report, command=command or "flask db upgrade",
        )  # fmt: skip

    def downgrade(
        self,
        directory: str | None = None,
        revision: str = "-1",
        *,
        phase: str | None = None,
        bind: str | None = None,
        tag: str | None = None,
        x_arg: Any = None,
        lock_wait_s: float | None = None,
        report: Callable[[Event], None] | None = None,
        command: str | None = None,
    ) -> Plan:
        """Run a downgrade and return the plan that was run; errors as :meth:`upgrade`."""
        return self._run(
            "downgrade", directory, revision, phase=phase, through=False, bind=bind, tag=tag, x_arg=x_arg,
            lock_wait_s=lock_wait_s, report=report, command=command or "flask db downgrade",
        )  # fmt: skip

    def _run(
        self,
        direction: Direction,
        directory: str | None,
        target: str,
        *,
        phase: str | None,
        through: bool,
        bind: str | None,
        tag: str | None,
        x_arg: Any,
        lock_wait_s: float | None,
        report: Callable[[Event], None] | None,
        command: str,
    ) -> Plan:
        from .executor import Effects
        from .recorder import this_runner

        project = self.open_project(config=self.get_config(directory, x_arg=x_arg))
        options = {"destination_rev": target, "tag": tag}

        def read_plan() -> tuple[tuple[History, ...], Plan]:
            every = self.read_histories(project, **options)
            histories = _choose(every, bind)
            plan = self.plan(project, histories, target, direction=direction, phase=phase, through=through)
            return histories, plan

        histories, plan = read_plan()
        refuse_blocked(plan)
        fresh = direction == "upgrade" and phase is None and any(not item.has_version_table for item in histories)
        if not plan.actions and not fresh:
            return plan
        runner = this_runner(str(uuid.uuid4()), operator=self._operator(), app_version=self._app_version())
        effects = Effects(report=report or (lambda _event: None), runner=runner, command=command)
        with self._locked(project, [item.bind for item in histories], lock_wait_s, options):
            histories, plan = read_plan()
            refuse_blocked(plan)
            self._execute(project, plan, histories, effects, options)
        return plan

    def _execute(
        self, project: Project, plan: Plan, histories: Sequence[History], effects: Any, options: Mapping[str, Any]
    ) -> None:
        from .environment import run_environment
        from .executor import Executor, end_reading

        known = {history.bind: history for history in histories}
        total, first = len(plan.steps), 1

        def visit(found: Visit) -> None:
            nonlocal first
            if found.bind not in known:
                return
            actions = plan.of_bind(found.bind).actions
            executor = Executor(found, project.graph, known[found.bind], plan.direction, effects)
            if actions:
                first += executor.run(actions, first=first, total=total)
            elif plan.direction == "upgrade" and plan.phase is None:
                end_reading(found.connection)
                executor.recorder.ensure_tables(bookkeeping=False)

        run_environment(project.config, project.script, visit, **options)

    @contextmanager
    def _locked(
        self, project: Project, binds: Sequence[str], wait_s: float | None, options: Mapping[str, Any]
    ) -> Iterator[None]:
        """Hold the run lock of each bind, on connections of their own.

        :raises LockHeld: if another runner keeps one longer than ``wait_s`` seconds.
        """
        from .dialects import adapter_for, run_lock
        from .environment import run_environment
        from .executor import end_reading
        from .recorder import read_journal

        wanted: list[tuple[str, Any, Any, Any]] = []
        holders: dict[str, str] = {}

        def visit(found: Visit) -> None:
            if found.bind in binds:
                engine = found.connection.engine
                adapter = adapter_for(engine.dialect.name)
                name = adapter.lock_name(engine, found.context.version_table, found.context.version_table_schema)
                wanted.append((found.bind, adapter, engine, name))
                end_reading(found.connection)

        def find_holder(found: Visit) -> None:
            rows = read_journal(found.connection, found.tables, limit=1)
            if rows and rows[0].status == "running":
                holders[found.bind] = f" It runs on {rows[0].host} as process {rows[0].pid}."
            end_reading(found.connection)

        run_environment(project.config, project.script, visit, **options)
        limit = self.setting("MIGRATE_LOCK_WAIT", default=LOCK_WAIT_S).value if wait_s is None else wait_s
        with ExitStack() as stack:
            for bind, adapter, engine, name in wanted:
                if not stack.enter_context(run_lock(adapter, engine, name, wait_s=float(limit))):
                    run_environment(project.config, project.script, find_holder, **options)
                    raise LockHeld(
                        f"Another runner is at work on {bind} and did not finish within {limit:g} s."
                        f"{holders.get(bind, '')} Nothing was executed. Type the same command again, or give it "
                        "longer: --lock-wait SECONDS"
                    )
            yield

    def _operator(self) -> str | None:
        chosen = g.get("migrate_operator") or current_app.config.get("MIGRATE_OPERATOR")
        if chosen:
            return str(chosen)
        try:
            return getpass.getuser()
        except (OSError, KeyError):
            return None

    def _app_version(self) -> str | None:
        version = current_app.config.get("MIGRATE_APP_VERSION")
        return None if version is None else str(version)

    # -- changing the records ---------------------------------------------------------------------

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
    ) -> str:
        """Say how to go on with an interrupted step: ``resume``, ``restart`` or ``mark-done``.

        Return the id of the revision.

        :raises UsageError: if the step is not interrupted.
        """
        project = self.open_project(directory)
        (name,) = _one_revision(project, revision)
        project.phases.index(phase)
        histories = _choose(self.read_histories(project), bind)
        wanted = [item.bind for item in histories if _is_interrupted(item, name, phase)]
        if not wanted:
            raise UsageError(
                f"{name} {phase} is not interrupted, so there is nothing to resolve. Look at: flask db status"
            )
        if len(wanted) > 1:
            raise UsageError(f"{name} {phase} is interrupted on {', '.join(wanted)}. Say which: --bind NAME")

        def change(_found: Visit, recorder: Any) -> None:
            from .plan import Step

            record = next(item for item in histories if item.bind == wanted[0]).records[(name, phase)]
            with recorder.connection.begin():
                step = Step(wanted[0], name, phase)
                if action == "restart":
                    recorder.forget(name, phase)
                elif action == "mark-done":
                    recorder.record_status(step, "done")
                else:
                    recorder.record_status(step, "failed", statement=record.statement)
                recorder.insert_execution("skip" if action == "mark-done" else "resume", name, phase, "done", reason)

        self._change(project, wanted, change, lock_wait_s)
        return name

    def stamp(
        self,
        directory: str | None = None,
        revisions: Sequence[str] = ("head",),
        *,
        purge: bool = False,
        tag: str | None = None,
        bind: str | None = None,
        lock_wait_s: float | None = None,
    ) -> None:
        """Set the version table to ``revisions`` without running anything, and clear the ledger below them."""
        from .plan import stamped_heads

        project = self.open_project(directory)
        targets = _stamp_targets(project, revisions)

        def change(found: Visit, recorder: Any) -> None:
            recorder.ensure_tables()
            from .recorder import read_history

            heads = read_history(found.connection, found.bind, found.tables).heads
            recorder.connection.commit()
            with recorder.connection.begin():
                if purge:
                    recorder.move_pointer(heads, frozenset())
                    heads = frozenset()
                after = stamped_heads(project.graph, heads, targets)
                recorder.move_pointer(heads, after)
                for covered in sorted(project.graph.closure(name for name in after if name in project.graph)):
                    recorder.forget(covered)
                named: list[str | None] = [*sorted(after - heads)]
                for name in named or [None]:
                    recorder.insert_execution("stamp", name, None, "done")

        self._change(project, None, change, lock_wait_s, bind=bind, tag=tag, destination_rev=tuple(revisions))

    def _change(
        self,
        project: Project,
        binds: Sequence[str] | None,
        change: Callable[[Visit, Any], None],
        lock_wait_s: float | None,
        *,
        bind: str | None = None,
        **options: Any,
    ) -> None:
        """Call ``change`` with each wanted bind's recorder, holding the run locks."""
        from .environment import run_environment
        from .executor import end_reading
        from .recorder import Recorder, this_runner

        if binds is None:
            binds = [item.bind for item in _choose(self.read_histories(project, **options), bind)]
        runner = this_runner(str(uuid.uuid4()), operator=self._operator(), app_version=self._app_version())

        def visit(found: Visit) -> None:
            if found.bind in binds:
                end_reading(found.connection)
                change(found, Recorder(found.connection, found.tables, runner))

        with self._locked(project, binds, lock_wait_s, options):
            run_environment(project.config, project.script, visit, **options)

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
        markers: str = "all",
        tag: str | None = None,
        x_arg: Any = None,
    ) -> dict[str, tuple[Statement, ...]]:
        """Return the SQL statements of a range by bind, without a database.

        :param revision: ``END`` or ``START:END``; a START of ``current`` is read from the database.
        :raises Refused: if a body cannot be exported.
        """
        project = self.open_project(config=self.get_config(directory, x_arg=x_arg))
        start, end = split_range(revision)
        found: dict[str, tuple[Statement, ...]] = {}
        currents = self._current_heads(project) if start == "current" else {}
        options = {"starting_rev": None if start == "current" else start, "destination_rev": end, "tag": tag}

        def export_bind(at: Visit, binds: frozenset[str]) -> tuple[Statement, ...]:
            heads = currents[at.bind] if start == "current" else _start_heads(project, start)
            return _export_bind(project, at, heads, end, direction, phase, markers, binds)

        self._visit_offline(project, export_bind, found, bind, dialect, options)
        return found

    def export_stamp(
        self, directory: str | None, revisions: Sequence[str], *, tag: str | None = None, bind: str | None = None
    ) -> dict[str, tuple[Statement, ...]]:
        """Return by bind the SQL that sets the version table to ``revisions``.

        Each is ``END`` or ``START:END``; the START, the same in all, is where the table is now.
        """
        from .offline import Exporter
        from .plan import stamped_heads

        project = self.open_project(directory)
        ranges = [split_range(name) for name in revisions]
        starts = {start for start, _ in ranges if start is not None}
        if len(starts) > 1:
            raise UsageError("Stamp operation with --sql only supports a single starting revision at a time")
        heads = _start_heads(project, next(iter(starts), None))
        after = stamped_heads(project.graph, heads, _stamp_targets(project, [end for _, end in ranges]))
        found: dict[str, tuple[Statement, ...]] = {}

        def export_bind(at: Visit, _binds: frozenset[str]) -> tuple[Statement, ...]:
            return Exporter(at, project.graph, project.phases).export_pointer(heads, after)

        ends = tuple(end for _, end in ranges)
        self._visit_offline(project, export_bind, found, bind, None, {"destination_rev": ends, "tag": tag})
        return found

    def export_version_table(self, directory: str | None) -> dict[str, tuple[Statement, ...]]:
        """Return by bind the SQL that creates the version table."""
        from .offline import Exporter

        project = self.open_project(directory)
        found: dict[str, tuple[Statement, ...]] = {}

        def export_bind(at: Visit, _binds: frozenset[str]) -> tuple[Statement, ...]:
            return Exporter(at, project.graph, project.phases).export_pointer(frozenset(), frozenset())

        self._visit_offline(project, export_bind, found, None, None, {})
        return found

    def _current_heads(self, project: Project) -> dict[str, frozenset[str]]:
        histories = self.read_histories(project)
        for history in histories:
            _refuse_ahead(project, history)
        return {history.bind: history.heads for history in histories}

    def _visit_offline(
        self,
        project: Project,
        export_bind: Callable[[Visit, frozenset[str]], tuple[Statement, ...]],
        found: dict[str, tuple[Statement, ...]],
        bind: str | None,
        dialect: str | None,
        options: Mapping[str, Any],
    ) -> None:
        """Fill ``found`` with what ``export_bind`` gives for each bind.

        env.py runs twice: first to learn the binds. Files that its offline part opens (Flask-Migrate's multi-bind
        template writes ``.sql`` and ``NAME.sql``) land in a scratch folder.
        """
        from .environment import run_environment, scratch_directory, stdout_to_stderr
        from .offline import offline_options

        sink = Discarded()

        def configure(given: dict[str, Any]) -> dict[str, Any]:
            return offline_options(given, dialect, sink)

        names: list[str] = []
        contained = replace(project, config=absolute_config(project.config))
        script = _absolute_script(project.script)
        with stdout_to_stderr(), scratch_directory():
            run_environment(
                contained.config, script, lambda at: names.append(at.bind), as_sql=True, configure=configure, **options
            )
        _check_bind(bind, names)

        def visit(at: Visit) -> None:
            if bind is None or at.bind == bind:
                found[at.bind] = export_bind(at, frozenset(names))

        with stdout_to_stderr(), scratch_directory() as leave:
            run_environment(
                contained.config,
                script,
                lambda at: leave(lambda: visit(at)),
                as_sql=True,
                configure=configure,
                **options,
            )

    def step_sql(self, project: Project, plan: Plan) -> dict[Step, tuple[Statement, ...] | Refused]:
        """Return the SQL of each step of a plan; for a body that needs a database, its refusal."""
        from .offline import Exporter

        found: dict[Step, tuple[Statement, ...] | Refused] = {}

        def export_bind(at: Visit, _binds: frozenset[str]) -> tuple[Statement, ...]:
            for step in plan.of_bind(at.bind).steps:
                exporter = Exporter(at, project.graph, project.phases)
                try:
                    found[step] = exporter.export_step(step, plan.direction)
                except Refused as refusal:
                    found[step] = refusal
            return ()

        self._visit_offline(project, export_bind, {}, None, None, {"destination_rev": "heads"})
        return found

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
        """
        deadline = clock() + wait_s
        while True:
            phases = self.read_phases()
            last = phase or phases.boundary
            names = phases.names[: phases.index(last) + 1]
            try:
                pending = [step for item in self.status(directory, bind=bind) for step in item.pending(names)]
                problem = _not_ready(pending, last)
            except DatabaseUnreachable as error:
                problem = NotReady(str(error))
            if problem is None:
                return
            if clock() >= deadline:
                raise problem
            sleep(min(READY_INTERVAL_S, max(deadline - clock(), 0.01)))


class Discarded:
    """Takes text that no statement accounts for and throws it away."""

    def write(self, text: str) -> int:
        """Take ``text``."""
        return len(text)

    def flush(self) -> None:
        """Do nothing."""


class AdminSource:
    """What the admin pages read: revision files and tables, through engines, never through env.py."""

    def __init__(self, app: Flask) -> None:
        self._settings: _MigrateConfig = app.extensions["migrate"]
        self._app = app

    @property
    def phases(self) -> Phases:
        """The configured phases."""
        return self._settings.migrate.read_phases(self._config())

    def _config(self) -> Config:
        return self._settings.migrate.get_config(self._settings.directory)

    def read_graph(self) -> Graph:
        """Return the revision files as a graph."""
        return self._settings.migrate.open_project(config=self._config()).graph

    def bind_names(self) -> tuple[str, ...]:
        """Return the names of the configured binds."""
        return tuple(name or DEFAULT_BIND for name in _engines(self._settings.db))

    def path_of(self, revision: Revision) -> str:
        """Return the file of a revision, relative to the migrations folder."""
        folder = Path(self._settings.directory).absolute()
        path = Path(revision.path)
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name

    def read_statuses(self) -> tuple[BindStatus, ...]:
        """Return the state of each bind.

        :raises DatabaseUnreachable: if one does not answer.
        """
        from .environment import connection_errors
        from .plan import bind_status
        from .recorder import build_tables, read_history

        graph, phases = self.read_graph(), self.phases
        options = self._settings.configure_args
        tables = build_tables(options.get("version_table") or "alembic_version", options.get("version_table_schema"))
        statuses = []
        for name, engine in _engines(self._settings.db).items():
            with connection_errors(), engine.connect() as connection:
                history = read_history(connection, name or DEFAULT_BIND, tables)
            statuses.append(bind_status(graph, history, phases))
        return tuple(statuses)


def _not_ready(pending: Sequence[Step], phase: str) -> NotReady | None:
    if not pending:
        return None
    first = pending[0]
    more = f" and {len(pending) - 1} more" if len(pending) > 1 else ""
    return NotReady(
        f"Not ready: {first}{more} is not done. Type: flask db upgrade --phase {first.phase}"
        + ("" if first.phase == phase else f", then up to {phase}")
    )


# -- pieces -----------------------------------------------------------------------------------------


def _settings() -> _MigrateConfig:
    try:
        settings: _MigrateConfig = current_app.extensions["migrate"]
    except KeyError:
        raise ConfigurationError(
            f"The application {current_app.name} has no migrations: call Migrate(app, db) or migrate.init_app(app, db)."
        ) from None
    return settings


def current_migrate() -> Migrate:
    """Return the current application's extension.

    :raises ConfigurationError: if it has none.
    """
    return _settings().migrate


def _plain_database(metadata: Any, engine: Any) -> PlainDatabase | None:
    if metadata is None and engine is None:
        return None
    if metadata is None or engine is None:
        raise ConfigurationError("Give Migrate both metadata= and engine=, or Flask-SQLAlchemy's object as db.")
    metadatas = _by_bind(metadata)
    engines = _by_bind(engine)
    if set(metadatas) != set(engines):
        raise ConfigurationError("metadata= and engine= must be mappings with the same binds as keys.")
    first = next(iter(engines))
    return PlainDatabase(metadatas.get(None, metadatas[first]), engines.get(None, engines[first]), metadatas, engines)


def _by_bind(value: Any) -> dict[str | None, Any]:
    if not isinstance(value, Mapping):
        return {None: value}
    return {None if name in (None, DEFAULT_BIND) else str(name): item for name, item in value.items()}


def _engines(db: Any) -> Mapping[str | None, Any]:
    engines: Mapping[str | None, Any] | None = getattr(db, "engines", None)
    return engines if engines is not None else {None: db.engine}


def _new_config(directory: str) -> Config:
    """Return our Alembic configuration class with the files that the command line or the folder names."""
    from .environment import Config

    files = [str(name) for name in g.get("migrate_config") or ()]
    ini = next((name for name in files if not name.endswith(".toml")), os.path.join(directory, "alembic.ini"))
    toml = next((name for name in files if name.endswith(".toml")), "pyproject.toml")
    for name in files:
        if not os.path.exists(name):
            raise UsageError(f"There is no configuration file {name}.")
    return Config(ini, toml_file=toml, ini_section=g.get("migrate_name") or "alembic")


def _choose(histories: Sequence[History], bind: str | None) -> tuple[History, ...]:
    _check_bind(bind, [history.bind for history in histories])
    return tuple(history for history in histories if bind in (None, history.bind))


def _check_bind(bind: str | None, names: Sequence[str]) -> None:
    if bind is not None and bind not in names:
        raise UsageError(f"There is no bind '{bind}'. The binds are: {', '.join(names)}.")


def _refuse_ahead(project: Project, history: History) -> None:
    unknown = tuple(sorted(head for head in history.heads if head not in project.graph))
    if unknown:
        raise DatabaseAhead(
            f"Can't locate revision identified by '{unknown[0]}': the database of bind {history.bind} is at "
            f"{', '.join(unknown)}, and no file in {project.script.dir} has it. Deploy the code that has the file, or, "
            "if the revision is gone for good: flask db stamp --purge REVISION. Nothing was executed.",
            bind=history.bind,
            revisions=unknown,
        )


def _plan_upgrade(
    project: Project, history: History, target: str, phase: str | None, through: bool, binds: frozenset[str]
) -> Plan:
    from .environment import revisions_up_to
    from .plan import plan_upgrade

    covered = revisions_up_to(project.script, target, sorted(history.heads))
    return plan_upgrade(
        project.graph, history, project.phases, covered, phase=phase, through=through, target=target, binds=binds
    )


def _plan_downgrade(
    project: Project, history: History, target: str, phase: str | None, _through: bool, binds: frozenset[str]
) -> Plan:
    from .environment import revisions_down_to
    from .plan import in_flight, plan_downgrade

    flying = in_flight(project.graph, history)
    if flying and target.startswith("-"):
        at = ", ".join(sorted(history.heads)) or "base"
        raise Refused(
            f"{', '.join(flying)} is in flight on {history.bind}, so '{target}' could mean two things. Undo what is in "
            f"flight: flask db downgrade {at}. Or name the revision to go back to."
        )
    covered = set(revisions_down_to(project.script, target, sorted(history.heads)))
    covered |= _flying_after(project, flying, target)
    return plan_downgrade(project.graph, history, project.phases, covered, phase=phase, target=target, binds=binds)


def _flying_after(project: Project, flying: Sequence[str], target: str) -> set[str]:
    """Return the revisions in flight that a downgrade to ``target`` undoes: all that it does not keep."""
    from .environment import resolve_revisions

    kept = project.graph.closure(resolve_revisions(project.script, target)) if target != "base" else frozenset()
    return {name for name in flying if name not in kept}


def refuse_blocked(plan: Plan) -> None:
    """Raise what a blocked plan stands for.

    :raises StepInterrupted: if a step's end is not known.
    :raises RevisionRefused: if a revision's file makes a mistake.
    :raises Refused: if earlier phases are missing.
    """
    if not plan.blocked:
        return
    first = plan.blocked[0]
    text = describe_blocked(plan)
    if first.interrupted:
        raise StepInterrupted(text, step=first.step)
    if first.path is not None:
        raise RevisionRefused(text, path=first.path, plan=plan)
    raise Refused(text, plan=plan)


def describe_blocked(plan: Plan) -> str:
    """Return the message of a refusal: every missing step, and the commands that lead on."""
    lines = [f"Nothing was executed: {len(plan.blocked)} step{'s' if len(plan.blocked) > 1 else ''} may not run."]
    if plan.phase is not None:
        lines[0] = f"Nothing was executed: phase {plan.phase} may not run."
    for block in plan.blocked:
        where = f"{block.step.bind}: " if block.path is None else ""
        lines.append(f"  {where}{block.because}")
    commands = dict.fromkeys(block.command for block in plan.blocked if block.command)
    lines += [f"Next: {command}" for command in commands]
    return "\n".join(lines)


def _is_interrupted(history: History, name: str, phase: str) -> bool:
    record = history.records.get((name, phase))
    return record is not None and record.status != "done"


def _one_revision(project: Project, name: str) -> tuple[str]:
    from .environment import resolve_revisions

    found = resolve_revisions(project.script, name)
    if len(found) != 1:
        raise UsageError(f"'{name}' stands for {len(found)} revisions. Name one.")
    return (found[0],)


def _stamp_targets(project: Project, revisions: Sequence[str]) -> tuple[str, ...]:
    from .environment import resolve_revisions

    found: list[str] = []
    for name in revisions:
        if name != "base":
            found += resolve_revisions(project.script, name)
    return tuple(dict.fromkeys(found))


def split_range(text: str) -> tuple[str | None, str]:
    """Return (start, end) of ``START:END`` or ``END``.

    :raises UsageError: if there is more than one colon.
    """
    start, colon, end = text.rpartition(":")
    if not colon:
        return None, text
    if ":" in start:
        raise UsageError(f"'{text}' is not a range. Write START:END, for example base:head.")
    return start or None, end or "head"


def _start_heads(project: Project, start: str | None) -> frozenset[str]:
    from .environment import resolve_revisions

    if start in (None, "base"):
        return frozenset()
    return frozenset(resolve_revisions(project.script, str(start)))


def _export_bind(
    project: Project,
    visit: Visit,
    heads: frozenset[str],
    end: str,
    direction: Direction,
    phase: str | None,
    markers: Any,
    binds: frozenset[str],
) -> tuple[Statement, ...]:
    from .environment import revisions_down_to, revisions_up_to
    from .offline import Exporter, plan_export

    graph = project.graph
    find = revisions_up_to if direction == "upgrade" else revisions_down_to
    covered = find(project.script, end, sorted(heads))
    plan, before = plan_export(
        graph, project.phases, visit.bind, heads, covered, direction=direction, phase=phase, binds=binds
    )
    exporter = Exporter(visit, graph, project.phases)
    if phase is not None:
        return exporter.export_phase(plan, before)
    order = graph.order(covered) if direction == "upgrade" else tuple(reversed(graph.order(covered)))
    return exporter.export_all(order, heads, direction, markers=markers)


def absolute_config(config: Config) -> Config:
    """Return ``config`` with absolute paths, for a run of env.py in another working directory."""
    config.file_config  # noqa: B018  (read now: %(here)s is the folder of the file)
    if config.config_file_name is not None:
        config.config_file_name = os.path.abspath(config.config_file_name)
    location = config.get_main_option("script_location")
    if location and ":" not in location:
        config.set_main_option("script_location", os.path.abspath(location).replace("%", "%%"))
    return config


def _absolute_script(script: ScriptDirectory) -> ScriptDirectory:
    script.dir = os.path.abspath(script.dir)
    return script


def read_migration_data(migrate: Migrate, project: Project, revision: str | None = None) -> tuple[MigrationData, ...]:
    """Return the migration data of all revisions, or of ``revision``, base first."""
    from .offline import Exporter, migration_data

    found: dict[str, tuple[Statement, ...]] = {}
    dialects: dict[str, str] = {}
    wanted = _one_revision(project, revision)[0] if revision is not None else None

    def export_bind(at: Visit, _binds: frozenset[str]) -> tuple[Statement, ...]:
        dialects[at.bind] = at.context.dialect.name
        order = project.graph.order(project.graph.revisions)
        return Exporter(at, project.graph, project.phases).export_all(order, frozenset(), "upgrade")

    options = {"starting_rev": None, "destination_rev": "heads"}
    migrate._visit_offline(project, export_bind, found, None, None, options)
    bind = next(iter(found))
    names = split_names(migrate.setting("MIGRATE_SCRIPT_ATTRIBUTES", "script-attributes", (), project.config).value)
    data = migration_data(
        found[bind],
        project.graph,
        project.phases,
        bind,
        dialect_name=dialects[bind],
        folder=Path(project.script.dir).absolute(),
        attributes=lambda item: {name: item.attributes.get(name) for name in names},
    )
    return tuple(item for item in data if wanted in (None, item.revision.id))


# -- env.py and templates -----------------------------------------------------------------------------


@dataclass(frozen=True)
class ConfiguredBind:
    """A bind that env.py has just configured. ``arguments`` are for ``context.run_migrations()``."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class TemplateBind:
    """A bind as the revision template needs it: ``suffix`` makes function names, ``keyword`` the decorator's."""

    name: str
    suffix: str
    keyword: str
    upgrade_token: str
    downgrade_token: str


def each_bind(context: Any, options: Callable[[str], Mapping[str, Any]] | None = None) -> Iterator[ConfiguredBind]:
    """Configure ``context`` for each bind in turn; what the env.py of ``flask db init`` loops over.

    :param options: gives further options of ``context.configure()`` for a bind; they win.
    """
    with ExitStack() as stack:
        if not _has_app():
            from flask.cli import ScriptInfo

            stack.enter_context(ScriptInfo().load_app().app_context())
        settings = _settings()
        config = context.config
        if config.config_file_name is not None and config.file_config.has_section("loggers"):
            import logging.config

            logging.config.fileConfig(config.config_file_name, disable_existing_loggers=False)
        names = chosen_binds(settings, config)
        for name in names:
            given = _configure_options(settings, name, names, config)
            given.update(options(name or DEFAULT_BIND) if options is not None else {})
            engine = _engines(settings.db)[name]
            if context.is_offline_mode():
                context.configure(url=engine.url, literal_binds=True, **given)
                yield ConfiguredBind(name or DEFAULT_BIND, {})
            else:
                with engine.connect() as connection:
                    context.configure(connection=connection, **given)
                    yield ConfiguredBind(name or DEFAULT_BIND, {})


def _has_app() -> bool:
    from flask import has_app_context

    return has_app_context()


def chosen_binds(settings: _MigrateConfig, config: Any) -> tuple[str | None, ...]:
    """Return the binds to migrate: the unnamed one, or all where alembic.ini says ``binds = all``.

    :raises ConfigurationError: if the unnamed one is wanted and the application has none.
    """
    engines = _engines(settings.db)
    if (config.get_alembic_option("binds") or "default") == "all":
        return tuple(engines)
    if None not in engines:
        raise ConfigurationError(
            f"The application has no unnamed database, only the binds {', '.join(map(str, engines))}. Write 'binds = "
            f"all' under [alembic] in {config.config_file_name}, or begin with: flask db init --multidb"
        )
    return (None,)


def _configure_options(
    settings: _MigrateConfig, name: str | None, names: Sequence[str | None], config: Any
) -> dict[str, Any]:
    from alembic import __version__ as alembic_version

    metadatas = getattr(settings.db, "metadatas", None) or {None: settings.db.metadata}
    prefix = "" if name is None else f"{name}_"
    given = settings.configure_args
    given.setdefault("compare_server_default", True)
    if tuple(map(int, alembic_version.split(".")[:3])) >= (1, 19, 2):
        given.setdefault("autogenerate_plugins", ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"])
    own = given.get("process_revision_directives")
    last = name == names[-1]

    def process_revision_directives(context: Any, revision: Any, directives: list[Any]) -> None:
        if own is not None:
            own(context, revision, directives)
        if last and getattr(config.cmd_opts, "autogenerate", False) and directives:
            import logging

            if all(operations.is_empty() for operations in directives[0].upgrade_ops_list):
                directives.clear()
                logging.getLogger("alembic.env").info("No changes in schema detected.")

    given["process_revision_directives"] = process_revision_directives
    metadata = metadatas[name] if name in metadatas else None
    return dict(
        given, target_metadata=metadata, upgrade_token=f"{prefix}upgrades", downgrade_token=f"{prefix}downgrades"
    )


def template_binds(config: Any) -> tuple[TemplateBind, ...]:
    """Return the binds that a new revision gets functions for, the unnamed one first."""
    try:
        names = chosen_binds(_settings(), config)
    except RuntimeError:  # plain Alembic, outside of an application
        names = (None,)
    return tuple(
        TemplateBind(
            name or DEFAULT_BIND,
            suffix="" if name is None else "_" + "".join(letter if letter.isalnum() else "_" for letter in name),
            keyword="" if name is None else f", bind={name!r}".replace("'", '"'),
            upgrade_token="upgrades" if name is None else f"{name}_upgrades",
            downgrade_token="downgrades" if name is None else f"{name}_downgrades",
        )
        for name in names
    )


def template_phases(config: Any) -> tuple[tuple[str, str], ...]:
    """Return (phase, its part of a function name) of each configured phase, for the revision template."""
    try:
        phases = current_migrate().read_phases(config)
    except RuntimeError:
        phases = configure_phases(config.get_alembic_option("phases"))
    return tuple((name, "".join(letter if letter.isalnum() else "_" for letter in name)) for name in phases.names)
