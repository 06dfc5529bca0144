"""Signals of a run, for chats, dashboards and metrics: the sender is the Flask application, ``event`` what happened.

They are sent in the process that runs the migration, between its statements: a receiver holds the run up for as
long as it takes. One that raises is logged on ``app.logger``, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from blinker import Namespace

if TYPE_CHECKING:
    from flask import Flask

    from .executor import Event

_signals = Namespace()

#: A step begins.
step_started = _signals.signal("step-started")
#: A step is done, and recorded as done.
step_finished = _signals.signal("step-finished")
#: A step failed; what is known about it is recorded.
step_failed = _signals.signal("step-failed")
#: A step, or a statement of one, is tried again after a pause.
step_retried = _signals.signal("step-retried")

_BY_KIND = {"began": step_started, "done": step_finished, "failed": step_failed, "retried": step_retried}


def send_event(app: Flask, event: Event) -> None:
    """Send the signal of an event, if it has one, to every receiver; errors of receivers are logged."""
    signal = _BY_KIND.get(event.kind)
    for receiver in () if signal is None or not signal.receivers else signal.receivers_for(app):
        try:
            _call(app, receiver, event)
        except (Exception, SystemExit):
            app.logger.exception("A receiver of the signal %s failed; the migration goes on.", _name_of(signal))


def _call(app: Flask, receiver: Callable[..., Any], event: Event) -> None:
    (app.ensure_sync(receiver) if iscoroutinefunction(receiver) else receiver)(app, event=event)


def _name_of(signal: Any) -> str:
    return str(signal.name).replace("-", "_")


def signalling(app: Flask, report: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return ``report``, followed by the event's signal."""

    def report_and_send(event: Event) -> None:
        report(event)
        send_event(app, event)

    return report_and_send
