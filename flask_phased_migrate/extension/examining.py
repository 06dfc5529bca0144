"""What a body does, for a page: gone through on paper, without env.py, without a database, and not for long."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext

from ..environment import HOOKED_KEY, Visit, alembic_alone
from ..errors import LockHeld, Refused
from ..footprint import Footprint
from ..graph import Revision
from ..inspection import Inspector
from ..inspection.observation import Observation, Seen
from ..lint import Compiler, Observe, Subject, lint
from ..offline import offline_options
from ..offline.structure import Done
from ..phases import DEFAULT_BIND, accepted_arguments, base_bind
from ..plan import History, Plan, Step, coded_phases, plan_upgrade
from ..rules.situation import Target
from .exporting import Discarded, open_exporter
from .linting import Models, configured_target
from .project import refuse_ahead, refuse_scripts
from .settings import MigrateSettings

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from ..admin.files import Files
    from ..admin.source import Examination, Operation, Preview, Wanted
    from .project import Project

LIMIT_S = 10.0
"""How long a request waits for bodies to be gone through."""
WAIT_S = 5.0
"""How long it waits for another that does the same."""
MOST_BEFORE = 50
"""How many older revisions are gone through to know the tables that the linter asks about."""
MOST_REPLAYED = 200
"""How many are to know a table that a batch operation copies."""

T = TypeVar("T")


def within(function: Callable[[], T], limit_s: float = LIMIT_S, wait_s: float = WAIT_S) -> T:
    """Return what ``function`` returns, called alone with Alembic's ``op`` and ``context``.

    It runs in a thread of its own, which is left to itself when the time is up: a body may do anything.

    :raises LockHeld: if it takes longer, or others were at it.
    :raises Refused: if it raises what ends a process, such as KeyboardInterrupt.
    """
    answers: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            with alembic_alone(wait_s):
                answers.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(call,), daemon=True, name="migrate-admin")
    thread.start()
    thread.join(limit_s + wait_s)
    if errors and not isinstance(errors[0], Exception):
        # An interruption that a body raises is not one of the server that shows the page.
        raise Refused(f"The revision's code raised {type(errors[0]).__name__}.") from errors[0]
    if errors:
        raise errors[0]
    if not answers:
        raise LockHeld(f"The revision's code did not end within {limit_s:g} s. It is looked at on paper only.")
    return answers[0]


# -- plan ---------------------------------------------------------------------------------------------


def plan_phase(files: Files, history: History, phase: str) -> Plan:
    """Return the plan of one phase up to the heads.

    :raises DatabaseAhead: if the version table names a revision without a file.
    :raises RevisionRefused: if a step names a program that may not be run.
    """
    project: Project = files.project
    refuse_ahead(project, history)

    def footprint_of(step: Step) -> Footprint:
        return project.inspector.footprint(
            step, files.graph, files.phases, history.dialect, environment=(project.config, project.script)
        )

    several = len(files.graph.heads) > 1
    option = f"--bind {history.bind} " if len(files.binds) > 1 else ""
    plan = plan_upgrade(
        files.graph,
        history,
        files.phases,
        files.graph.revisions,
        phase=phase,
        target=f"{option}{'heads' if several else 'head'}",
        binds=frozenset(files.binds),
        footprint_of=footprint_of,
    )
    if not plan.blocked:
        refuse_scripts(project, plan)
    return plan


# -- operations and findings --------------------------------------------------------------------------


def examine_revision(
    files: Files, bind: str, revision: str, dialect: str, versions: Mapping[str, str], models: Models
) -> Examination:
    """Return what a revision does, and what the linter says of it as it does where no database answers.

    :param versions: those that the configuration names, by bind; ``models`` the columns that the application has.
    """
    from ..admin.source import Examination

    graph, phases = files.graph, files.phases
    target = Target(dialect)
    given = versions.get(base_bind(bind)) or versions.get("")
    if given is not None:
        target = configured_target(target, given)
    ancestors = graph.ancestors(revision)
    older = [name for name in files.order[files.position[revision] + 1 :] if name in ancestors]
    before = tuple(reversed(older[:MOST_BEFORE]))
    observe = _observer(files, dialect)
    own = models.get(base_bind(bind)) or None
    subject = Subject(bind, target, (*before, revision), frozenset({revision}), models=own)
    report = lint(graph, phases, [subject], lambda _subject: observe)
    operations = tuple(_operations(files, graph[revision], bind, dialect))
    return Examination(str(target), operations, report.findings, report.assured, len(before), len(older) - len(before))


def _observer(files: Files, dialect: str) -> Observe:
    project: Project = files.project
    inspector: Inspector = project.inspector
    name = "mysql" if dialect == "mariadb" else dialect

    def observe(step: Step, *, undo: bool = False) -> Observation:
        environment = (project.config, project.script)
        return inspector.observe(step, files.graph, files.phases, name, environment=environment, undo=undo)

    return observe


def _operations(files: Files, revision: Revision, bind: str, dialect: str) -> Iterator[Operation]:
    if revision.upgrade.problem is not None:
        return
    observe, compiler = _observer(files, dialect), Compiler("mysql" if dialect == "mariadb" else dialect)
    for phase in coded_phases(revision, bind, files.phases):
        for seen in observe(Step(bind, revision.id, phase)).seen:
            yield _operation(phase, seen, compiler)


def _operation(phase: str, seen: Seen, compiler: Compiler) -> Operation:
    from ..admin.source import Operation

    kind = "operation" if seen.kind == "table" else seen.kind
    words = compiler.statement(seen)
    if words is None:
        words = "reads the database" if seen.kind == "read" else str(seen.what)
    return Operation(phase, kind, words, seen.line, seen.transaction, seen.autocommit)


# -- SQL ----------------------------------------------------------------------------------------------


def preview_step(files: Files, wanted: Wanted, settings: MigrateSettings, engine: Engine) -> Preview:
    """Return the SQL of one step, as an online run would send it.

    :raises Refused: if the step is empty, or its body cannot be written out.
    """
    from ..admin.source import Piece, Preview

    project: Project = files.project
    revision = files.graph[wanted.revision]
    bodies = revision.upgrade if wanted.direction == "upgrade" else revision.downgrade
    if bodies.problem is not None:
        raise Refused(f"{revision.path}: {bodies.problem}.")
    try:
        body = bodies.body(wanted.bind, wanted.phase)
    except KeyError:
        raise Refused(
            f"Revision {wanted.revision} has no code for the phase {wanted.phase} in this direction."
        ) from None
    function = getattr(body.function, "function", body.function)
    name = base_bind(wanted.bind)
    arguments = accepted_arguments(function, {"engine_name": "" if name == DEFAULT_BIND else name})
    with _context(files, wanted, settings, engine) as environment:
        context = environment.get_context()
        with Operations.context(context) as operations:
            visit = Visit(wanted.bind, context, operations, arguments)
            with open_exporter(visit, project, lambda: _done_before(files, wanted)) as exporter:
                statements = exporter.export_step(Step(wanted.bind, revision.id, wanted.phase), wanted.direction)
    dialect = context.dialect.name
    return Preview(dialect, tuple(Piece(statement.kind, statement.text) for statement in statements))


@contextmanager
def _context(files: Files, wanted: Wanted, settings: MigrateSettings, engine: Engine) -> Iterator[EnvironmentContext]:
    """Give an environment without a connection, configured as ours would be for the bind."""
    project: Project = files.project
    metadatas = getattr(settings.db, "metadatas", None) or {None: settings.db.metadata}
    metadata = metadatas.get(None if wanted.bind == DEFAULT_BIND else wanted.bind)
    given = {**settings.configure_args, "target_metadata": metadata, "url": engine.url}
    environment = EnvironmentContext(project.config, project.script, as_sql=True, destination_rev=wanted.revision)
    environment.context_opts[HOOKED_KEY] = True
    with environment:
        environment.configure(**offline_options(given, wanted.dialect, Discarded()))
        yield environment


def _done_before(files: Files, wanted: Wanted) -> Iterator[Done]:
    """Yield the steps after which the wanted one runs, oldest first.

    :raises Refused: if there are too many to go through for a page.
    """
    graph, bind = files.graph, wanted.bind
    older = graph.ancestors(wanted.revision)
    if len(older) > MOST_REPLAYED:
        raise Refused(
            f"a batch operation has to know its table, and {len(older):,} revisions come before, which is too many to "
            "go through for a page"
        )
    for name in graph.order(older):
        for phase in coded_phases(graph[name], bind, files.phases):
            yield Step(bind, name, phase), "upgrade"
    own = coded_phases(graph[wanted.revision], bind, files.phases)
    place = own.index(wanted.phase) if wanted.phase in own else len(own)
    for phase in own[:place] if wanted.direction == "upgrade" else own:
        yield Step(bind, wanted.revision, phase), "upgrade"
    if wanted.direction == "downgrade":
        for phase in reversed(own[place + 1 :]):
            yield Step(bind, wanted.revision, phase), "downgrade"
