"""The views: what a request asks for, the value that answers it, the page. They read; they never change anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from flask import Response, current_app, make_response, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from ..errors import DatabaseUnreachable, MigrateError
from ..plan import Direction, History
from .answers import Answers, Layout, wants_json
from .detail import DIALECTS, BindRow, coded_in, show_revision, show_sql, state_row
from .drawing import cells
from .executions import (
    ERROR_SHOWN,
    OF_REVISION,
    OPERATIONS,
    STATUSES,
    list_executions,
    redacted,
    show_execution,
)
from .files import Files
from .graph_page import show_graph
from .heads import show_heads
from .health import measure_health
from .listing import NoSuchPage, NotListed, choices, list_revisions
from .overview import RUNS_SHOWN, Overview, bind_option, show_overview
from .parameters import (
    LARGEST_NUMBER,
    SIZES,
    PageError,
    read_bind,
    read_choice,
    read_filter,
    read_number,
    read_page,
    read_size,
    read_text,
)
from .planned import next_phase, show_plan
from .source import Choice, Examination, Reader, Source, Wanted
from .state import UNKNOWN, BindState, state_of, with_times
from .texts import text, texts

T = TypeVar("T")


@dataclass(frozen=True)
class Views:
    """One method a page. ``page_size`` is how many rows a list has where the request does not say."""

    source: Source
    answers: Answers
    page_size: int

    # -- the pages --------------------------------------------------------------------------------

    def index(self) -> BaseResponse:
        """Answer with how the chosen bind stands."""
        page, layout, unreachable = self.overview()
        return self.answers.page("overview", layout, page, page.as_json(), unreachable=unreachable)

    def overview(self) -> tuple[Overview, Layout, tuple[str, ...]]:
        """Return how the chosen bind stands, the layout of a page about it, and the bind if it is not known."""
        files, bind = self._files_and_bind()

        def build(reader: Reader | None) -> Overview:
            state = self._state(files, bind, reader)
            if reader is None:
                return show_overview(state)
            newest = self._shown(reader.read_executions(Choice(RUNS_SHOWN)))
            return show_overview(state, newest, self._shown(reader.read_executions(Choice(1, status="running"))))

        page, unreachable = self._ask(bind, build)
        return page, self._layout(files, bind, refresh=page.is_running), unreachable

    def revisions(self) -> BaseResponse:
        """Answer with one page of the revisions of the chosen bind."""
        files, bind = self._files_and_bind()
        number, size = read_page(), read_size(self.page_size)

        def build(reader: Reader | None) -> Any:
            state = self._state(files, bind, reader)
            wanted = read_filter(choices(state))
            around = _one(state, request.args["around"]) if request.args.get("around") else None
            try:
                page = list_revisions(state, wanted, number=number, size=size, around=around)
            except NoSuchPage as error:
                raise _no_such_page(error) from error
            except NotListed as error:
                raise PageError(404, text("The filters leave out the revision '%(name)s'.", name=around)) from error
            if reader is None:
                return page, choices(state)
            times = reader.read_finished([row.id for row in page.rows])
            return replace(page, rows=with_times(page.rows, times)), choices(state)

        (page, values), unreachable = self._ask(bind, build)
        running = any("running" in row.phases.values() for row in page.rows)
        layout = self._layout(files, bind, refresh=running)
        twin = _with_addresses(page.as_json(), layout, next_=page.next, previous=page.previous)
        drawn = cells(page.lanes, [row.id for row in page.rows], page.width) if page.lanes else {}
        return self.answers.page(
            "revisions", layout, page, twin, unreachable=unreachable, cells=drawn, choices=values, sizes=SIZES
        )

    def revision(self, revision: str) -> BaseResponse:
        """Answer with the page of a revision, or send there from the beginning of its id."""
        files, bind = self._files_and_bind()
        looked = [self._look(files, name, revision) for name in files.binds]
        unreachable = tuple(state.bind for state, _ in looked if state.history is None)
        found = dict.fromkeys(name for state, _ in looked for name in state.find(revision))
        if revision not in found:
            if len(found) != 1:
                raise _not_found(revision, tuple(found), unreachable)
            endpoint = "revision_json" if wants_json() else "revision"
            return redirect(self._layout(files, bind).url(endpoint, revision=next(iter(found))))
        binds = sorted((known for _, known in looked), key=lambda known: known.bind != bind)
        examined = self.source.examine(files, bind, revision) if revision in files.graph else Examination()
        page = show_revision(files, revision, binds, examined, self.source.mask)
        layout = self._layout(files, bind, refresh=page.is_running)
        return self.answers.page("revision", layout, page, page.as_json(), unreachable=unreachable)

    def sql(self, revision: str) -> BaseResponse:
        """Answer with the SQL of a step."""
        files, bind = self._files_and_bind()
        found = _known(files, revision)
        if found != revision:
            return redirect(self._layout(files, bind).here("sql_json" if wants_json() else "sql", revision=found))
        page = self._sql_page(files, bind, revision)
        layout = self._layout(files, bind)
        return self.answers.page("sql", layout, page, page.as_json(), dialects=DIALECTS)

    def sql_file(self, revision: str) -> BaseResponse:
        """Answer with the SQL of a step as a text to keep."""
        files, bind = self._files_and_bind()
        name = _known(files, revision)
        page = self._sql_page(files, bind, name)
        if page.preview.reason is not None:
            raise PageError(404, text("There is no SQL of this step: %(reason)s", reason=page.preview.reason))
        response = Response(page.preview.sql, content_type="application/sql; charset=utf-8")
        filename = "".join(one if one.isascii() and one.isalnum() else "_" for one in f"{name}_{page.wanted.phase}")
        response.headers["Content-Disposition"] = f"attachment; filename={filename}.sql"
        return response

    def plan(self) -> BaseResponse:
        """Answer with what an upgrade of a phase would run."""
        files, bind = self._files_and_bind()
        number, size = read_page(), read_size(self.page_size)
        chosen = read_choice("phase", files.phases.names)
        history, unreachable = self._ask(bind, _history)
        state = state_of(files, bind, history)
        try:
            page = show_plan(
                state, chosen or next_phase(state), self.source.plan, self.source.redact, number=number, size=size
            )
        except NoSuchPage as error:
            raise _no_such_page(error) from error
        layout = self._layout(files, bind)
        twin = _with_addresses(page.as_json(), layout, next_=page.next, previous=page.previous)
        return self.answers.page("plan", layout, page, twin, unreachable=unreachable)

    def graph(self) -> BaseResponse:
        """Answer with a window of the graph."""
        files, bind = self._files_and_bind()
        number, size = read_page(), read_size(self.page_size)
        history, unreachable = self._ask(bind, _history)
        state = state_of(files, bind, history)
        around = _one(state, request.args["around"]) if request.args.get("around") else None
        try:
            page = show_graph(state, number=number, size=size, around=around)
        except NoSuchPage as error:
            raise _no_such_page(error) from error
        layout = self._layout(files, bind)
        twin = _with_addresses(page.as_json(), layout, next_=page.next, previous=page.previous)
        return self.answers.page("graph", layout, page, twin, unreachable=unreachable)

    def graph_text(self, ending: str) -> BaseResponse:
        """Answer with the whole graph as text for a program that draws: Graphviz or Mermaid."""
        from ..render import format_of, render_graph

        files, bind = self._files_and_bind()
        history, unreachable = self._ask(bind, _history)
        state = state_of(files, bind, history)
        states = None if unreachable else {row.id: row.state for row in state.rows}
        drawn = render_graph(
            files.graph, format_of(f"graph.{ending}"), states, () if history is None else history.heads
        )
        return Response(drawn, 503 if unreachable else 200, content_type="text/plain; charset=utf-8")

    def journal(self) -> BaseResponse:
        """Answer with one page of the executions of the chosen bind."""
        files, bind = self._files_and_bind()
        wanted = _read_executions_wanted(read_size(self.page_size))
        given = {
            "status": wanted.status,
            "operation": wanted.operation,
            "phase": wanted.phase,
            "revision": wanted.revision,
            "run": wanted.run_id,
        }
        shown = {name: value for name, value in given.items() if value}
        page, unreachable = self._ask(bind, lambda reader: list_executions(reader, bind, wanted, shown))
        page = replace(page, items=self._shown(page.items))
        layout = self._layout(files, bind, refresh=any(item.status == "running" for item in page.items))
        twin = page.as_json()
        twin["page"]["next"] = page.older and layout.here("journal_json", before=page.older, after=None)
        twin["page"]["prev"] = page.newer and layout.here("journal_json", after=page.newer, before=None)
        lists = {"status": STATUSES, "operation": OPERATIONS, "phase": files.phases.names}
        return self.answers.page("journal", layout, page, twin, unreachable=unreachable, choices=lists)

    def execution(self, number: int) -> BaseResponse:
        """Answer with one execution of the journal of the chosen bind."""
        files, bind = self._files_and_bind()
        option = bind_option(files, bind)
        if number > LARGEST_NUMBER:
            raise _no_execution(bind, number)
        layout = self._layout(files, bind)

        def build(reader: Reader | None) -> Any:
            return None if reader is None else show_execution(reader, bind, number, option)

        page, unreachable = self._ask(bind, build)
        if page is None and not unreachable:
            raise _no_execution(bind, number)
        if page is None:
            return self.answers.page("execution", layout, None, {"bind": bind, "execution": None, "items": []},
                                     unreachable=unreachable)  # fmt: skip
        execution = redacted(page.execution, self.source.redact)
        page = replace(page, execution=execution, run=self._shown(page.run))
        layout = replace(layout, refresh=execution.status == "running")
        return self.answers.page("execution", layout, page, page.as_json())

    def heads(self) -> BaseResponse:
        """Answer with the heads of the files and where the chosen bind is."""
        files, bind = self._files_and_bind()
        history, unreachable = self._ask(bind, _history)
        page = show_heads(state_of(files, bind, history))
        layout = self._layout(files, bind)
        return self.answers.page("heads", layout, page, page.as_json(), unreachable=unreachable)

    def health(self) -> BaseResponse:
        """Answer 200 if every bind is fit for the deployed code, else 503."""
        try:
            files = self.source.read_files()
            states = [state_of(files, bind, self._ask(bind, _history)[0]) for bind in files.binds]
        except MigrateError:
            current_app.logger.exception("The migration health cannot be told.")
            return make_response({"schema": 1, "status": UNKNOWN, "binds": []}, 503)
        health = measure_health(files, states)
        return make_response({"schema": 1, **health.as_json()}, 200 if health.is_ok else 503)

    # -- what they share --------------------------------------------------------------------------

    def _files_and_bind(self) -> tuple[Files, str]:
        files = self.source.read_files()
        return files, read_bind(files.binds)

    def _layout(self, files: Files, bind: str, *, refresh: bool = False) -> Layout:
        return self.answers.layout(files.binds, bind, refresh=refresh)

    def _state(self, files: Files, bind: str, reader: Reader | None) -> BindState:
        return state_of(files, bind, _history(reader))

    def _ask(self, bind: str, build: Callable[[Reader | None], T]) -> tuple[T, tuple[str, ...]]:
        """Return what ``build`` makes of the bind's tables, and the bind if they could not be read."""
        try:
            with self.source.open(bind) as reader:
                return build(reader), ()
        except DatabaseUnreachable as error:
            current_app.logger.warning("The migration pages show no state: %s", error)
            return build(None), (bind,)

    def _look(self, files: Files, bind: str, revision: str) -> tuple[BindState, BindRow]:
        """Return the state of a bind, and what it says of one revision."""

        def build(reader: Reader | None) -> tuple[BindState, BindRow]:
            state = self._state(files, bind, reader)
            row = state_row(state, revision)
            if reader is None or row is None:
                return state, BindRow(bind, row)
            executions = self._shown(reader.read_executions(Choice(OF_REVISION, revision=revision)))
            (row,) = with_times([row], reader.read_finished([revision]))
            return state, BindRow(bind, row, executions)

        return self._ask(bind, build)[0]

    def _shown(self, executions: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(redacted(item, self.source.redact, ERROR_SHOWN) for item in executions)

    def _sql_page(self, files: Files, bind: str, revision: str) -> Any:
        undo = read_choice("direction", ("upgrade", "downgrade")) == "downgrade"
        direction: Direction = "downgrade" if undo else "upgrade"
        wanted = Wanted(bind, revision, files.phases.default, direction, read_choice("dialect", DIALECTS))
        coded = coded_in(files, wanted)
        names = tuple(dict.fromkeys((*files.phases.names, *coded)))
        phase = read_choice("phase", names, coded[0] if coded else wanted.phase)
        wanted = replace(wanted, phase=str(phase))
        return show_sql(files, wanted, self.source.preview(files, wanted), self.source.mask)


def _read_executions_wanted(size: int) -> Choice:
    wanted = Choice(
        size,
        read_number("before"),
        read_number("after"),
        status=read_choice("status", STATUSES),
        operation=read_choice("operation", OPERATIONS),
        phase=read_text("phase"),
        revision=read_text("revision"),
        run_id=read_text("run"),
    )
    if wanted.before is not None and wanted.after is not None:
        raise PageError(400, text("Give 'before' or 'after', not both."))
    return wanted


def _history(reader: Reader | None) -> History | None:
    return None if reader is None else reader.read_history()


def _with_addresses(twin: dict[str, Any], layout: Layout, *, next_: int | None, previous: int | None) -> dict[str, Any]:
    """Return a twin whose page says where the next and the previous are."""
    for name, number in (("next", next_), ("prev", previous)):
        twin["page"][name] = None if number is None else layout.here(layout.twin, page=number)
    return twin


def _known(files: Files, revision: str) -> str:
    found = files.find(revision)
    if len(found) != 1:
        raise _not_found(revision, found, ())
    return found[0]


def _one(state: BindState, name: str) -> str:
    found = state.find(name)
    if len(found) != 1:
        raise _not_found(name, found, () if state.history is not None else (state.bind,))
    return found[0]


def _no_execution(bind: str, number: int) -> PageError:
    return PageError(404, text("The journal of %(bind)s has no execution %(number)s.", bind=bind, number=number))


def _no_such_page(error: NoSuchPage) -> PageError:
    message = text("There is no page %(number)s. The pages are 1 to %(pages)s.", number=error.number, pages=error.pages)
    return PageError(400, message)


def _not_found(revision: str, found: tuple[str, ...], unreachable: Iterable[str]) -> PageError:
    if found:
        message = texts(
            "%(number)s revision begins with '%(name)s':",
            "%(number)s revisions begin with '%(name)s':",
            len(found),
            name=revision,
        )
        return PageError(404, message, choices=found, are_revisions=True)
    if list(unreachable):
        message = text(
            "There is no revision '%(name)s'. Only the files could be searched: a database does not answer.",
            name=revision,
        )
        return PageError(404, message)
    return PageError(404, text("There is no revision '%(name)s'.", name=revision))
