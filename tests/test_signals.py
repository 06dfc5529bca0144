"""Signals of a run: what is sent, to whom, and that a receiver cannot break a migration."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from shell import two_revisions
from support import Site, query

import flask_phased_migrate
from flask_phased_migrate.errors import StepFailed
from flask_phased_migrate.executor import Event
from flask_phased_migrate.plan import Step
from flask_phased_migrate.signals import send_event, step_failed, step_finished, step_retried, step_started

SIGNALS = {
    "step_failed": step_failed,
    "step_finished": step_finished,
    "step_retried": step_retried,
    "step_started": step_started,
}


@pytest.fixture
def site(project: Callable[..., Site], sqlite_url: str) -> Site:
    return two_revisions(project(sqlite_url))


@contextmanager
def listening(sender: Any) -> Iterator[list[tuple[str, Event]]]:
    """Give the list of (signal, event) that a sender sends in the block."""
    heard: list[tuple[str, Event]] = []
    kept: list[Any] = []
    with ExitStack() as stack:
        for name, signal in SIGNALS.items():

            def receive(_sender: Any, event: Event, name: str = name) -> None:
                heard.append((name, event))

            stack.enter_context(signal.connected_to(receive, sender=sender))
            kept.append(receive)  # A signal has only a weak reference.
        yield heard


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_a_signal_is_a_name_of_the_package(name: str) -> None:
    assert getattr(flask_phased_migrate, name) is SIGNALS[name]
    assert name in flask_phased_migrate.__all__


def test_importing_a_signal_imports_neither_alembic_nor_sqlalchemy() -> None:
    code = (
        "import sys; from flask_phased_migrate import step_failed\n"
        "print([name for name in ('alembic', 'sqlalchemy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_run_sends_the_beginning_and_the_end_of_each_step(site: Site) -> None:
    with site.app() as app, listening(app) as heard:
        app.extensions["migrate"].migrate.upgrade(None, phase="before-deploy")
    assert [(name, str(event.step), event.number, event.total) for name, event in heard] == [
        ("step_started", "default: 1 before-deploy", 1, 2),
        ("step_finished", "default: 1 before-deploy", 1, 2),
        ("step_started", "default: 2 before-deploy", 2, 2),
        ("step_finished", "default: 2 before-deploy", 2, 2),
    ]


def test_a_failure_is_sent_once_it_is_recorded_with_its_reason(site: Site) -> None:
    site.revision("1", None, "def upgrade():\n    raise ValueError('no luck')\n")
    recorded: list[Any] = []

    def receive(_sender: Any, event: Event) -> None:
        recorded.extend([event.detail, query(site.url, "SELECT status FROM alembic_version_journal")])

    with site.app() as app, step_failed.connected_to(receive, sender=app), pytest.raises(StepFailed):
        app.extensions["migrate"].migrate.upgrade(None)
    assert recorded == ["ValueError: no luck", [("failed",)]]


def test_no_secret_of_the_database_is_sent(project: Callable[..., Site], postgresql_url: str) -> None:
    site = project(postgresql_url.replace("postgres@", "postgres:s3cret@"))
    site.revision("1", None, "def upgrade():\n    raise ValueError('s3cret is wrong')\n")
    with site.app() as app, listening(app) as heard, pytest.raises(StepFailed):
        app.extensions["migrate"].migrate.upgrade(None)
    assert heard[-1][1].detail == "ValueError: *** is wrong"


def test_a_rebuild_and_a_downgrade_send_too(site: Site) -> None:
    site.revision(
        "2",
        "1",
        "def upgrade():\n    op.execute('SELECT * FROM nowhere')\ndef downgrade():\n    op.execute('SELECT 1')\n",
    )
    with site.app() as app, listening(app) as heard:
        migrate = app.extensions["migrate"].migrate
        with pytest.raises(StepFailed):
            migrate.upgrade(None)
        query(site.url, "CREATE TABLE nowhere (id integer)")
        migrate.rebuild(None, "2")
        migrate.downgrade(None, "base")
    assert [(name, event.step.revision) for name, event in heard if event.step and name != "step_started"] == [
        ("step_finished", "1"),
        ("step_failed", "2"),
        ("step_finished", "2"),
        ("step_finished", "2"),
        ("step_finished", "1"),
    ]


def test_what_a_retry_reports_is_sent(site: Site) -> None:
    event = Event("retried", "default", Step("default", "1", "final"), 1, 1, 0.5, "a lock")  # type: ignore[arg-type]
    with site.app() as app, listening(app) as heard:
        send_event(app, event)
    assert heard == [("step_retried", event)]


def test_other_events_are_no_signals(site: Site) -> None:
    with site.app() as app, listening(app) as heard:
        send_event(app, Event("output", "default", detail="a line"))
        send_event(app, Event("passed", "default", Step("default", "1", "")))
    assert heard == []


def test_another_application_hears_nothing(site: Site) -> None:
    with site.app() as other, listening(other) as heard, site.app() as app:
        app.extensions["migrate"].migrate.upgrade(None)
    assert heard == []


@pytest.mark.parametrize("error", [RuntimeError("chat is down"), SystemExit(3)], ids=["error", "exit"])
def test_a_receiver_that_raises_is_logged_and_the_run_goes_on(
    site: Site, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    def receive(_sender: Any, event: Event) -> None:
        raise error

    with site.app() as app, listening(app) as heard, step_finished.connected_to(receive, sender=app):
        app.logger.addHandler(caplog.handler)
        app.extensions["migrate"].migrate.upgrade(None, "1")
    assert query(site.url, "SELECT version_num FROM alembic_version") == [("1",)]
    assert [name for name, _ in heard] == ["step_started", "step_finished"]
    assert [(record.levelno, record.getMessage()) for record in caplog.records if "receiver" in record.msg] == [
        (logging.ERROR, "A receiver of the signal step_finished failed; the migration goes on.")
    ]


def test_an_interrupt_in_a_receiver_stops_the_run(site: Site) -> None:
    def receive(_sender: Any, event: Event) -> None:
        raise KeyboardInterrupt

    with site.app() as app, step_finished.connected_to(receive, sender=app), pytest.raises(KeyboardInterrupt):
        app.extensions["migrate"].migrate.upgrade(None)
    assert query(site.url, "SELECT version_num FROM alembic_version") == [("1",)]


def test_an_asynchronous_receiver_is_called_by_the_applications_own_means(site: Site) -> None:
    heard: list[str] = []

    async def receive(_sender: Any, event: Event) -> None:
        heard.append(event.kind)

    with site.app() as app, step_finished.connected_to(receive, sender=app):
        original, app.ensure_sync = app.ensure_sync, _run_to_its_end  # type: ignore[method-assign]
        app.extensions["migrate"].migrate.upgrade(None, "1")
        app.ensure_sync = original  # type: ignore[method-assign]
    assert heard == ["done"]


def _run_to_its_end(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stand for asgiref, which is not installed everywhere."""

    def run(*arguments: Any, **options: Any) -> None:
        with pytest.raises(StopIteration):
            function(*arguments, **options).send(None)

    return run
