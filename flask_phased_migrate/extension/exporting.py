"""Runs that only write text: env.py in offline mode, once to learn the binds and once to export."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.schema import CreateTable

from ..environment import (
    BINDS_KEY,
    Config,
    Visit,
    revisions_down_to,
    revisions_up_to,
    run_environment,
    scratch_directory,
    stdout_to_stderr,
)
from ..errors import Refused, UsageError
from ..graph import Graph, Revision, assign_unnamed
from ..offline import Exporter, Markers, offline_options, plan_export
from ..offline.data import MigrationData, migration_data
from ..offline.structure import Done, Structure, done_before, replay
from ..offline.text import Statement, render_sql
from ..plan import Direction, History, Plan, Step, coded_phases, in_flight, pointer_after, stamped_heads
from ..replica import Replica
from .project import Project, Request, check_bind, refuse_ahead, split_range, stamp_targets, start_heads, typed
from .running import survey

ExportBind = Callable[[Visit, Project, frozenset[str]], tuple[Statement, ...]]


class Discarded:
    """Takes text that no statement accounts for and throws it away."""

    def write(self, text: str) -> int:
        """Take ``text``."""
        return len(text)

    def flush(self) -> None:
        """Do nothing."""


def _pass_over(_at: Visit) -> None:
    """Look at nothing."""


class _Starts:
    """What a range starts from, by bind: what is known of each, else the rows of ``heads``, else a START as typed.

    A ``starting_rev`` that env.py gives to ``context.configure()`` comes before the START, as under Alembic. It is
    noted when env.py runs for the first time: one that reads it from a file may then have written the end there.
    """

    def __init__(
        self,
        project: Project,
        typed: str | None = None,
        *,
        heads: frozenset[str] | None = None,
        known: Mapping[str, History] | None = None,
    ) -> None:
        self.project = project
        self.typed = next(iter(heads)) if heads is not None and len(heads) == 1 else typed
        self.heads = heads
        self.known = known
        self.noted: dict[str, tuple[Any, str]] = {}

    def note(self, at: Visit) -> None:
        """Note what env.py says of a bind."""
        self.noted[at.bind] = (at.options.get("starting_rev"), at.context.dialect.name)

    def __getitem__(self, bind: str) -> History:
        own, dialect = self.noted[bind]
        if self.known is not None:
            return self.known[bind]
        if self.heads is not None:
            return History(bind, self.heads, dialect=dialect)
        names = [self.typed] if not own else [own] if isinstance(own, str) else list(own)
        found = [start_heads(self.project, name) for name in names]
        return History(bind, frozenset().union(*found), dialect=dialect)


@dataclass(frozen=True)
class Export:
    """One offline call: of a project, perhaps for another dialect than the application's, perhaps of one bind.

    In place of a range's START: ``heads`` are the version table's rows on every bind, ``histories`` what is known of
    each.
    ``delivers``: the SQL of a bind for which env.py has an output buffer of its own goes there, and nowhere else.
    """

    project: Project
    bind: str | None = None
    dialect: str | None = None
    tag: str | None = None
    heads: frozenset[str] | None = None
    histories: Mapping[str, History] | None = None
    delivers: bool = False

    def range(self, request: Request, markers: Markers = "all") -> dict[str, tuple[Statement, ...]]:
        """Return by bind the SQL of ``START:END``; a START of ``current`` is read from the database.

        :raises Refused: if a body cannot be exported, or a revision's file makes a mistake.
        """
        start, end = split_range(request.target)
        starts = self._starts(start, request.phase)

        def export_bind(at: Visit, project: Project, binds: frozenset[str]) -> tuple[Statement, ...]:
            return _export_range(at, project, starts[at.bind], end, request, markers, binds)

        return self._visit(export_bind, starts.note, starting_rev=starts.typed, destination_rev=end)

    def starts(self, target: str, phase: str) -> dict[str, History]:
        """Return by bind what a range that is to be exported phase by phase starts from."""
        start, end = split_range(target)
        starts = self._starts(start, phase)
        self._visit(lambda *_: (), starts.note, starting_rev=starts.typed, destination_rev=end)
        return {bind: starts[bind] for bind in starts.noted if self.bind in (None, bind)}

    def _starts(self, start: str | None, phase: str | None) -> _Starts:
        if self.histories is not None:
            return _Starts(self.project, known=self.histories)
        if self.heads is not None:
            return _Starts(self.project, heads=self.heads)
        if start == "current":
            return _Starts(self.project, known=self._currents(phase))
        return _Starts(self.project, start)

    def _currents(self, phase: str | None) -> dict[str, History]:
        histories = survey(self.project).histories
        for history in histories:
            refuse_ahead(self.project, history)
            flying = in_flight(self.project.graph, history)
            if flying and phase is None and self.bind in (None, history.bind):
                raise Refused(
                    f"{', '.join(flying)} is in flight on {history.bind}: the SQL of all phases would run again what "
                    "is done. Nothing was written. Type: flask db sql --phase PHASE current:head"
                )
        return {history.bind: history for history in histories}

    def stamp(self, names: Sequence[str]) -> dict[str, tuple[Statement, ...]]:
        """Return by bind the SQL that sets the version table to ``names``.

        Each is ``END`` or ``START:END``; the START, the same in all, is where the table is now.
        """
        ranges = [split_range(name) for name in names]
        starts = {start for start, _ in ranges if start is not None}
        if len(starts) > 1:
            raise UsageError("Stamp operation with --sql only supports a single starting revision at a time")
        ends = tuple(end for _, end in ranges)
        heads = start_heads(self.project, next(iter(starts), None))
        after = stamped_heads(self.project.graph, heads, stamp_targets(self.project, ends))

        def export_bind(at: Visit, project: Project, _binds: frozenset[str]) -> tuple[Statement, ...]:
            return Exporter(at, project.graph, project.phases).export_stamp(heads, after)

        return self._visit(export_bind, destination_rev=ends)

    def version_table(self) -> dict[str, tuple[Statement, ...]]:
        """Return by bind the SQL that creates the version table."""

        def export_bind(at: Visit, project: Project, _binds: frozenset[str]) -> tuple[Statement, ...]:
            return Exporter(at, project.graph, project.phases).export_version_table()

        return self._visit(export_bind)

    def steps(self, plan: Plan) -> dict[Step, tuple[Statement, ...] | Refused]:
        """Return the SQL of each step of a plan; for a body that needs a database, its refusal."""
        found = self._steps(plan, {})
        if not any(isinstance(statements, Refused) for statements in found.values()):
            return found
        # An operation that copies a table has to know what was done before.
        return self._steps(plan, {history.bind: history for history in survey(self.project).histories})

    def _steps(self, plan: Plan, histories: Mapping[str, History]) -> dict[Step, tuple[Statement, ...] | Refused]:
        found: dict[Step, tuple[Statement, ...] | Refused] = {}

        def export_bind(at: Visit, project: Project, _binds: frozenset[str]) -> tuple[Statement, ...]:
            def before_it() -> Iterable[Done]:
                history = histories[at.bind]
                return done_before(project.graph, project.phases, history, (), plan.direction, None)

            with open_exporter(at, project, before_it if histories else None) as exporter:
                for action in plan.of_bind(at.bind).actions:
                    if action.step is not None:
                        found[action.step] = _export_step(exporter, action.step, plan.direction, action.skip)
            return ()

        self._visit(export_bind, destination_rev="heads")
        return found

    def data(
        self, attributes: Callable[[Revision], Mapping[str, Any]], wanted: str | None = None
    ) -> tuple[MigrationData, ...]:
        """Return the migration data of all revisions, or of the id ``wanted``, base first, of the first bind."""
        dialects: dict[str, str] = {}
        graphs: list[Graph] = []
        phases = self.project.phases

        def export_bind(at: Visit, project: Project, _binds: frozenset[str]) -> tuple[Statement, ...]:
            if dialects:
                return ()
            dialects[at.bind] = at.context.dialect.name
            graphs.append(project.graph)
            return _export_data(at, project, wanted)

        exported = self._visit(export_bind, destination_rev="heads")
        (bind, dialect_name), (graph,) = *dialects.items(), graphs
        return migration_data(
            exported[bind],
            graph,
            phases,
            bind,
            dialect_name=dialect_name,
            folder=self.project.folder,
            attributes=attributes,
        )

    def _visit(
        self, export_bind: ExportBind, look: Callable[[Visit], None] = _pass_over, **options: Any
    ) -> dict[str, tuple[Statement, ...]]:
        """Return what ``export_bind`` gives for each bind, called with the names of all binds.

        Files that env.py's offline part opens in the working directory land in a scratch folder, unless this call
        delivers. ``look`` sees each bind before the first of them is exported.
        """
        sink = Discarded()
        config = _absolute(self.project.config)
        self.project.script.dir = os.path.abspath(self.project.script.dir)
        options["tag"] = self.tag

        def configure(given: dict[str, Any]) -> dict[str, Any]:
            return offline_options(given, self.dialect, sink)

        def run(visit: Callable[[Visit], None]) -> None:
            run_environment(config, self.project.script, visit, as_sql=True, configure=configure, **options)

        names: list[str] = []
        known: set[str] = set()
        found: dict[str, tuple[Statement, ...]] = {}

        own_buffers: set[str] = set()

        def note(at: Visit) -> None:
            look(at)
            if self._own_buffer(at) is not None:
                own_buffers.add(at.bind)
            names.append(at.bind)
            known.update(at.options.get(BINDS_KEY, ()))

        with stdout_to_stderr(), scratch_directory() as outside:
            run(note)
            check_bind(self.bind, names)
            project = replace(self.project, graph=assign_unnamed(self.project.graph, known))

            def visit(at: Visit) -> None:
                if self.bind in (None, at.bind):
                    found[at.bind] = export_bind(at, project, frozenset(names))

            run(lambda at: outside(lambda: visit(at)))
            if own_buffers and not self.delivers:
                # Opening a file has emptied it, where its path is absolute.
                run(lambda at: self._deliver(at, found))
        if self.delivers and self.bind is None and own_buffers:
            with stdout_to_stderr():
                run(lambda at: self._deliver(at, found))
            return {bind: statements for bind, statements in found.items() if bind not in own_buffers}
        return found

    def _own_buffer(self, at: Visit) -> Any:
        """Return where env.py itself sends the SQL of a bind; None for standard output."""
        buffer = at.options.get("output_buffer")
        usual = (self.project.config.output_buffer, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        return None if any(buffer is item for item in usual) else buffer

    def _deliver(self, at: Visit, found: Mapping[str, tuple[Statement, ...]]) -> None:
        buffer = self._own_buffer(at)
        if buffer is not None and at.bind in found:
            buffer.write(render_sql(found[at.bind]))
            if hasattr(buffer, "flush"):
                buffer.flush()


def _export_range(
    at: Visit,
    project: Project,
    history: History,
    end: str,
    request: Request,
    markers: Markers,
    binds: frozenset[str],
) -> tuple[Statement, ...]:
    graph, direction = project.graph, request.direction
    find = revisions_up_to if direction == "upgrade" else revisions_down_to
    heads = history.heads
    covered = find(project.script, end, sorted(heads))
    plan, before = plan_export(
        graph,
        project.phases,
        history,
        covered,
        direction=direction,
        phase=request.phase,
        binds=binds,
        target=typed(request, end),
        footprint_of=project.footprints(at.context.dialect.name),
    )

    def before_it() -> Iterable[Done]:
        return done_before(graph, project.phases, history, covered, direction, request.phase)

    with open_exporter(at, project, before_it) as exporter:
        if request.phase is not None:
            return exporter.export_phase(plan, before)
        order = graph.order(covered)
        return exporter.export_all(order if direction == "upgrade" else order[::-1], heads, direction, markers=markers)


def _export_step(exporter: Exporter, step: Step, direction: Direction, skip: int) -> tuple[Statement, ...] | Refused:
    try:
        return exporter.export_step(step, direction, skip=skip)
    except Refused as refusal:
        if exporter.structure is not None:
            exporter.structure.lose(str(refusal).removesuffix("."))
        return refusal
    finally:
        exporter.statements.clear()


def _export_data(at: Visit, project: Project, wanted: str | None) -> tuple[Statement, ...]:
    """Return all phases of all revisions, or of ``wanted`` alone as they are among those of all."""
    graph = project.graph
    order = graph.order(graph.revisions)
    before = order[: order.index(wanted)] if wanted is not None else ()
    heads: frozenset[str] = frozenset()
    for name in before:
        heads = pointer_after(graph, heads, name)

    def before_it() -> Iterable[Done]:
        for name in before:
            for phase in coded_phases(graph[name], at.bind, project.phases):
                yield Step(at.bind, name, phase), "upgrade"

    with open_exporter(at, project, before_it) as exporter:
        return exporter.export_all(order if wanted is None else (wanted,), heads, "upgrade")


@contextmanager
def open_exporter(at: Visit, project: Project, done: Callable[[], Iterable[Done]] | None) -> Iterator[Exporter]:
    """Give an exporter of a bind; on SQLite one that knows the tables as they are after ``done`` and its own text."""
    if at.context.dialect.name != "sqlite" or done is None:
        yield Exporter(at, project.graph, project.phases)
        return

    def replay_done(into: Structure) -> None:
        replay(Exporter(at, project.graph, project.phases, into), into, done())

    # A revision may widen the version table, which no revision makes.
    version = str(CreateTable(at.tables.version).compile(dialect=at.context.dialect))
    structure = Structure(lambda: Replica(version), replay_done)
    try:
        yield Exporter(at, project.graph, project.phases, structure)
    finally:
        structure.close()


def _absolute(config: Config) -> Config:
    """Return ``config`` with absolute paths, for a run of env.py in another working directory."""
    config.file_config  # noqa: B018  (read now: %(here)s is the folder of the file)
    if config.config_file_name is not None:
        config.config_file_name = os.path.abspath(config.config_file_name)
    location = config.get_main_option("script_location")
    if location and ":" not in location:
        config.set_main_option("script_location", os.path.abspath(location).replace("%", "%%"))
    return config
