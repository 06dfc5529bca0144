"""What plain Alembic does with phased revisions and with revisions in flight.

The hook of :mod:`flask_phased_migrate.alembic_plugin` leads here, whatever env.py is in use. A phased
``upgrade()`` that Alembic calls runs the steps that are not done; an unphased revision that a phase ran
already is not run twice; both clear their ledger rows, since Alembic moves its version table next.
"""

from __future__ import annotations

import inspect
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic.script.revision import RevisionError

from .environment import BINDS_KEY, COMPARISON_KEY, HOOKED_KEY, READ_ONLY_KEY, bind_name
from .errors import Refused, StepInterrupted
from .operations import PHASE_MARKER, RUNNER_KEY, BodyRunner, ExecuteScriptOp, resolve_script
from .phases import DEFAULT_BIND, Body, PhasedFunction, Phases, body_checksum, configure_phases, read_bodies
from .tables import Tables, bookkeeping_names, build_tables, ledger_forget

if TYPE_CHECKING:
    # env.py runs for much that has nothing to do with steps: these are imported when a step is at hand.
    from .plan import Direction, Record, Step


def before_configure(environment: Any, options: dict[str, Any]) -> None:
    """Change what env.py gives to ``context.configure()``, and what Alembic runs.

    The bookkeeping tables are hidden from autogenerate; the steps respect the ledger, unless our own
    executor is at work; ``op.execute_script`` and phased functions find who runs them.
    """
    version_table = options.get("version_table") or "alembic_version"
    options["include_name"] = _hiding(options.get("include_name"), bookkeeping_names(version_table))
    change = environment.config.attributes.get(COMPARISON_KEY)
    if change is not None:
        change(options)
    function = environment.context_opts.get("fn")
    if function is not None and not environment.context_opts.get(HOOKED_KEY):
        environment.context_opts[HOOKED_KEY] = True
        environment.context_opts["fn"] = guarded_steps(function)
    environment.context_opts.setdefault(RUNNER_KEY, PlainRunner())
    if environment.config.attributes.get(READ_ONLY_KEY):
        # Alembic would make its version table, in commands that only read.
        environment.context_opts["dont_mutate"] = True


def _hiding(chosen: Callable[..., bool] | None, names: frozenset[str]) -> Callable[..., bool]:
    def include_name(name: str | None, type_: str, parents: Any) -> bool:
        if type_ == "table" and name in names:
            return False
        return True if chosen is None else chosen(name, type_, parents)

    return include_name


def guarded_steps(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return Alembic's step function, with steps that respect the ledger."""

    def steps(heads: Any, context: Any) -> Iterator[Any]:
        for step in function(heads, context):
            if not context.as_sql and getattr(step, "revision", None) is not None:
                _guard(step, context)
            yield step

    return steps


def _guard(step: Any, context: Any) -> None:
    """Make a step of Alembic's respect the ledger, and an unphased one its bind."""
    module = step.revision.module
    phased = isinstance(getattr(module, "upgrade" if step.is_upgrade else "downgrade", None), PhasedFunction)
    if not step.is_upgrade:
        _refuse_below_flight(step.revision.revision, context)
    if phased:
        return
    original, revision = step.migration_fn, step.revision.revision
    own_phase = str(getattr(module, "phase", "") or _phases_of(context).default)

    def run_once(**arguments: Any) -> None:
        from .plan import Step

        runner = context.opts.get(RUNNER_KEY)
        if isinstance(runner, PlainRunner):
            runner.step = Step(bind_name(context.opts, arguments), revision, own_phase)
            runner.direction = "upgrade" if step.is_upgrade else "downgrade"
        tables = tables_of(context)
        records = records_of(context, tables, revision) if step.is_upgrade else {}
        _refuse_interrupted(records)
        if records:
            context.connection.execute(ledger_forget(tables, revision))
        elif not _for_another_bind(original, context, arguments):
            original(**arguments)
        if not step.is_upgrade and records_of(context, tables, revision):
            context.connection.execute(ledger_forget(tables, revision))

    run_once.__name__ = "upgrade" if step.is_upgrade else "downgrade"
    step.migration_fn = run_once


def _for_another_bind(function: Callable[..., Any], context: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether an unphased function belongs to the unnamed bind and this is another."""
    several = len(context.opts.get(BINDS_KEY, ())) > 1
    return several and not inspect.signature(function).parameters and bind_name(context.opts, arguments) != DEFAULT_BIND


def _refuse_below_flight(revision: str, context: Any) -> None:
    """Refuse to undo a revision while one that stands on it is in flight.

    :raises Refused: Alembic does not know of such a revision and would leave its steps standing on nothing.
    """
    from .recorder import read_history

    records = read_history(context.connection, DEFAULT_BIND, tables_of(context)).records
    for name in sorted({name for name, _ in records}):
        if name != revision and _stands_on(context.script, name, revision):
            done = ", ".join(phase for at, phase in records if at == name)
            raise Refused(
                f"Revision {name} is in flight ({done}) and stands on {revision}, which is to be undone. Undo "
                f"what is in flight first: flask db downgrade {revision}"
            )


def _stands_on(script: Any, newer: str, older: str) -> bool:
    try:
        return any(True for _ in script.iterate_revisions(newer, older))
    except RevisionError:
        return False


def tables_of(context: Any) -> Tables:
    """Return the bookkeeping tables that go with a migration context."""
    return build_tables(context.version_table, context.version_table_schema, dialect=context.dialect.name)


def records_of(context: Any, tables: Tables, revision: str) -> dict[str, Record]:
    """Return the ledger rows of a revision by phase, an empty mapping where there is no ledger."""
    from .recorder import read_history

    history = read_history(context.connection, DEFAULT_BIND, tables)
    return {phase: record for (name, phase), record in history.records.items() if name == revision}


def _refuse_interrupted(records: Mapping[str, Record]) -> None:
    from .plan import Step, resolve_choices

    for record in records.values():
        if record.status != "done":
            raise StepInterrupted(
                f"{record.revision} {record.phase} began earlier and its end is not known.\n"
                f"Next: {resolve_choices(record.revision, record.phase, record.statement)}",
                step=Step(DEFAULT_BIND, record.revision, record.phase),
            )


class PlainRunner:
    """Runs our operations where Alembic itself runs the revisions; ``step`` is what runs now."""

    def __init__(self) -> None:
        self._step: Step | None = None
        self.direction: Direction = "upgrade"
        self.body: BodyRunner | None = None
        self.checksum: str | None = None
        self.done: list[Step] = []
        self.recorded = False

    @property
    def step(self) -> Step:
        """The step that runs now."""
        from .plan import Step

        return self._step or Step(DEFAULT_BIND, "", "")

    @step.setter
    def step(self, step: Step) -> None:
        self._step = step

    def run_phased(self, operations: Any, function: PhasedFunction, arguments: Mapping[str, Any]) -> None:
        """Run the phases of ``function`` that the ledger does not have as done, then clear its rows."""
        from .plan import Step

        context = operations.migration_context
        self.direction = "downgrade" if function.__name__ == "downgrade" else "upgrade"
        upgrading = self.direction == "upgrade"
        phases = _phases_of(context)
        bodies = read_bodies(function, self.direction, phases)
        if bodies.problem is not None:
            raise ValueError(f"revision {function.revision}: {bodies.problem}.")
        bind = bind_name(context.opts, arguments)
        names = sorted(bodies.phases(bind), key=lambda name: _position(name, phases), reverse=not upgrading)
        tables = tables_of(context)
        records = {} if context.as_sql else records_of(context, tables, function.revision)
        found = {name: bodies.body(bind, name) for name in names}
        skips = {name: record.statement for name, record in records.items() if _goes_on(record, found.get(name))}
        _refuse_interrupted({name: record for name, record in records.items() if name not in skips})
        self.done, self.recorded = [], bool(records)
        for name in names:
            if name in skips or name not in records or not upgrading:
                self.step = Step(bind, function.revision, name)
                self._run_body(operations, found[name], arguments, skips.get(name, 0))
                self.done.append(self.step)
        if self.recorded:
            context.connection.execute(ledger_forget(tables, function.revision))

    def _run_body(self, operations: Any, body: Body, arguments: Mapping[str, Any], skip: int) -> None:
        context = operations.migration_context
        if context.as_sql:
            context.impl.static_output(PHASE_MARKER.format(body.phase))
        self.checksum = body_checksum(body)
        self.body = BodyRunner(operations, skip=skip)
        try:
            self.body.run(body, arguments)
        finally:
            self.body = None

    def run_script(self, operations: Any, operation: ExecuteScriptOp) -> None:
        """Commit the work so far, run the program outside of any transaction, and go on.

        What was committed is in the ledger first, so that the next run goes on after it.

        :raises Refused: if env.py holds a transaction of its own, which nobody else can commit.
        """
        from .scripts import is_sql, run_script, run_sql_file, script_environment

        context = operations.migration_context
        folder = Path(context.script.dir).absolute()
        path = resolve_script(folder, operation.path)
        if is_sql(operation.path):
            run_sql_file(path, operation, context.connection)
            return
        finished = self.body.finished if self.body is not None else None
        self._record(context, finished)
        with ExitStack() as block:
            try:
                block.enter_context(context.autocommit_block())
            except AssertionError as error:
                raise Refused(
                    f"{operation.path} cannot run: env.py has begun a transaction of its own, and what came before the "
                    "script must be committed first. Type: flask db upgrade"
                ) from error
            environment = script_environment(context.connection.engine, self.step, self.direction)
            run_script(path, operation, environment, folder, _print_line)
            self._record(context, None if finished is None else finished + 1)

    def _record(self, context: Any, finished: int | None) -> None:
        """Write into the ledger which phases are done, and how many operations of this one are."""
        if finished is None or self.direction == "downgrade":
            return
        from .recorder import Recorder, Runner

        tables = tables_of(context)
        tables.ledger.create(context.connection, checkfirst=True)
        recorder = Recorder(context.connection, tables, Runner(run_id=str(uuid.uuid4())))
        for step in self.done:
            recorder.record_status(step, "done")
        recorder.record_status(self.step, "failed", statement=finished, checksum=self.checksum)
        self.recorded = True


def _goes_on(record: Record, body: Body | None) -> bool:
    """Return whether a failed step can go on after what is committed: its body is unchanged."""
    whole = record.status == "failed" and not record.statements
    return whole and body is not None and record.checksum == body_checksum(body)


def _print_line(line: str) -> None:
    print(line, file=sys.stdout)  # noqa: T201  (an edge: nobody else can show it)


def _position(name: str, phases: Phases) -> int:
    return phases.names.index(name) if name in phases.names else len(phases.names)


def _phases_of(context: Any) -> Phases:
    """Return the configured phases: the application's where one is active, else the configuration file's."""
    from flask import has_app_context

    if has_app_context():
        from flask import current_app

        settings = current_app.extensions.get("migrate")
        read_phases = getattr(getattr(settings, "migrate", None), "read_phases", None)
        if read_phases is not None:
            found: Phases = read_phases()
            return found
    config = context.config
    if config is None:
        return Phases()
    return configure_phases(config.get_alembic_option("phases"), config.get_alembic_option("default-phase"))
