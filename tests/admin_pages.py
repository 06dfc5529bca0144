"""The admin pages over plain values: a source without a migrations folder and without a database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from flask_phased_migrate import admin, errors
from flask_phased_migrate.admin.files import Files
from flask_phased_migrate.admin.source import Choice, Examination, Preview, Wanted
from flask_phased_migrate.graph import Graph, Revision
from flask_phased_migrate.phases import Bodies, Body, Phases
from flask_phased_migrate.plan import History, Plan, Record, plan_upgrade
from flask_phased_migrate.recorder import Execution

NOON = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
DOWN = errors.DatabaseUnreachable("default: no answer from postgresql://user:s3cret@db/shop")
EVIL = '<img src=x onerror="alert(1)">'


def bodies(*names: str) -> Bodies:
    return Bodies(tuple(Body(name, lambda: None) for name in names), phased=True)


def revision(name: str, *down: str, phases: tuple[str, ...] = ("before-deploy", "final"), **more: Any) -> Revision:
    more.setdefault("message", f"message of {name}")
    return Revision(name, down, path=f"/srv/shop/migrations/versions/{name}.py", upgrade=bodies(*phases), **more)


def graph_of(*revisions: Revision) -> Graph:
    return Graph({item.id: item for item in revisions})


@dataclass
class FakeReader:
    """A reader of plain values."""

    source: FakeSource
    bind: str

    def read_history(self) -> History:
        found = self.source.histories
        if isinstance(found, Exception):
            raise found
        known = [history for history in found if history.bind == self.bind]
        if not known:
            raise DOWN
        return known[0]

    def read_finished(self, revisions: Collection[str]) -> Mapping[tuple[str, str], datetime]:
        return {key: moment for key, moment in self.source.finished.items() if key[0] in revisions}

    def read_executions(self, choice: Choice) -> tuple[Execution, ...]:
        if isinstance(self.source.histories, Exception):
            raise self.source.histories
        wanted = {"id": choice.id_, "run_id": choice.run_id, "status": choice.status, "phase": choice.phase}
        wanted |= {"operation": choice.operation, "revision": choice.revision}
        found = [row for row in self.source.executions if all(v in (None, getattr(row, k)) for k, v in wanted.items())]
        found.sort(key=lambda row: -(row.id or 0))
        if choice.after is not None:
            return tuple(row for row in found if (row.id or 0) > choice.after)[-choice.limit :]
        return tuple(row for row in found if choice.before is None or (row.id or 0) < choice.before)[: choice.limit]


@dataclass
class FakeSource:
    """A :class:`admin.Source` of plain values; a history that is an error is raised."""

    graph: Graph = field(default_factory=Graph)
    histories: tuple[History, ...] | Exception = (History("default", dialect="sqlite"),)
    binds: tuple[str, ...] = ("default",)
    phases: Phases = field(default_factory=Phases)
    problem: Exception | None = None
    executions: tuple[Execution, ...] = ()
    finished: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    examination: Examination = field(default_factory=Examination)
    sql: Preview = field(default_factory=lambda: Preview("sqlite"))
    files: Files | None = None

    def read_files(self) -> Files:
        if self.problem is not None:
            raise self.problem
        if self.files is None:
            self.files = Files(self.graph, self.phases, self.binds, "/srv/shop/migrations")
        return self.files

    @contextmanager
    def open(self, bind: str) -> Iterator[FakeReader]:
        yield FakeReader(self, bind)

    def plan(self, files: Files, history: History, phase: str) -> Plan:
        return plan_upgrade(files.graph, history, files.phases, files.graph.revisions, phase=phase)

    def preview(self, files: Files, wanted: Wanted) -> Preview:
        return self.sql

    def examine(self, files: Files, bind: str, revision: str) -> Examination:
        return self.examination

    def mask(self, text: str) -> str:
        return text.replace("s3cret", "***")

    def redact(self, text: str) -> str:
        return self.mask(text)


def small_source(**changes: Any) -> FakeSource:
    """Three revisions in a line: 1a applied, 1b in flight, 2c pending."""
    graph = graph_of(revision("1a"), revision("1b", "1a"), revision("2c", "1b", phases=("after-deploy",)))
    history = History(
        "default",
        frozenset({"1a"}),
        {("1b", "before-deploy"): Record("1b", "before-deploy")},
        dialect="sqlite",
    )
    return replace(FakeSource(graph, (history,), executions=(execution(1),)), **changes)


def execution(number: int, status: str = "done", **more: Any) -> Execution:
    """Return an execution of ``1b before-deploy`` that took 1.5 seconds."""
    values: dict[str, Any] = {
        "run_id": f"run-{number}",
        "revision": "1b",
        "phase": "before-deploy",
        "operation": "upgrade",
        "started_at": datetime(2026, 3, 1, 11, 0, 0),
        "finished_at": datetime(2026, 3, 1, 11, 0, 1, 500000),
        "duration_ms": 1500,
        "host": "web-1",
        "pid": 4711,
        "operator": "ann",
    }
    return Execution(number, status=status, **{**values, **more})


def two_binds() -> FakeSource:
    source = small_source()
    assert isinstance(source.histories, tuple)
    reports = History("reports", frozenset({"1b"}), dialect="postgresql")
    return replace(source, histories=(*source.histories, reports), binds=("default", "reports"))


def long_source(count: int) -> FakeSource:
    names = [f"{number:04x}" for number in range(count)]
    line = [revision(name, *names[max(position - 1, 0) : position]) for position, name in enumerate(names)]
    return FakeSource(graph_of(*line))


def make_app(source: FakeSource | None = None, **settings: Any) -> Flask:
    settings.setdefault("access", admin.access.PUBLIC_READ)
    app = Flask("shop", template_folder=None)
    app.register_blueprint(admin.create_admin_blueprint(source or small_source(), clock=lambda: NOON, **settings))
    return app


def make_client(source: FakeSource | None = None, **settings: Any) -> FlaskClient:
    return make_app(source, **settings).test_client()


class Page(HTMLParser):
    """What a test looks at in a page: the tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("dt", "dd"):
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag and all(found.get(k) == v for k, v in wanted.items())]


def get_page(client: FlaskClient, path: str, status: int = 200) -> Page:
    response = client.get(path)
    assert response.status_code == status
    assert response.content_type == "text/html; charset=utf-8"
    return Page(response.text)


def get_json(client: FlaskClient, path: str, status: int = 200) -> Any:
    response = client.get(path)
    assert response.status_code == status
    assert response.content_type == "application/json"
    return response.json
