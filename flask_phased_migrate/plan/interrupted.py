"""Steps that began and did not end: which can go on, from where, and which block a plan (S6)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..graph import Graph, Revision
from ..phases import body_checksum
from .values import UNDOING, Action, Blocked, Direction, History, Record, Step
from .wording import counted, resolve_choices


def interrupted_steps(graph: Graph, history: History, todo: Collection[str], direction: Direction) -> list[Blocked]:
    """Return a block for each covered step that began, did not end, and cannot go on in this direction.

    An upgrade goes on with what an upgrade began and a downgrade with what a downgrade began, if the place is known
    or can be told from the database, and the body is the same.
    """
    found = []
    covered = frozenset(todo)
    for (name, phase), record in sorted(history.records.items(), key=lambda item: item[0]):
        if name not in covered or record.status == "done":
            continue
        if not _resumable(graph[name], history.bind, record, direction):
            undoing: Direction = "downgrade" if record.status in UNDOING else "upgrade"
            found.append(
                Blocked(
                    Step(history.bind, name, phase),
                    because=_how_it_ended(record, direction),
                    command=resolve_choices(name, phase, record.statement, direction=undoing),
                    interrupted=True,
                    path=graph[name].path,
                )
            )
    return found


def _resumable(revision: Revision, bind: str, record: Record, direction: Direction) -> bool:
    """Return whether a half-done step can go on: it went this way, its place is known, its body is unchanged."""
    if (record.status in UNDOING) is not (direction == "downgrade") or record.status == "interrupted":
        return False
    bodies = revision.upgrade if direction == "upgrade" else revision.downgrade
    try:
        body = bodies.body(bind, record.phase)
    except KeyError:
        return False
    if record.checksum is None:
        return record.status in ("failed", "half-undone")
    return record.checksum == body_checksum(body)


def _how_it_ended(record: Record, direction: Direction) -> str:
    began = f" at {record.started_at:%Y-%m-%d %H:%M:%S}Z" if record.started_at else ""
    undoing = record.status in UNDOING
    words = f"{'the downgrade of ' if undoing else ''}{record.revision} {record.phase} began{began} and "
    if undoing and direction == "upgrade":
        return f"{words}never ended"
    if record.status not in ("failed", "half-undone"):
        return f"{words}never ended" + (", and part of it is in the database" if record.status == "interrupted" else "")
    committed = (
        f"its first {counted(record.statement, 'operation')} {'is' if record.statement == 1 else 'are'} committed"
    )
    changed = ", and the revision file was changed since" if undoing is (direction == "downgrade") else ""
    return f"{words}failed half-way: {committed}{changed}"


def going_on(history: History, action: Action) -> Action:
    """Return the action, passing over what an earlier run of its step has committed."""
    assert action.step is not None
    record = history.records.get((action.step.revision, action.step.phase))
    if record is None or record.status == "done":
        return action
    return replace(
        action, skip=record.statement, part=record.statements or 0, doubtful=record.status in ("running", "undoing")
    )
