"""What the commands print: text for people, JSON for machines; progress on standard error."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from flask import g

from ..errors import NotReady

if TYPE_CHECKING:
    from ..assurances import Assurance
    from ..executor import Event
    from ..extension.running import Skipped
    from ..index import Part
    from ..listing import Listing
    from ..plan import BindStatus, Direction, Plan
    from ..plan.status import RevisionStatus


def current_extension() -> Any:
    """Return the application's ``Migrate`` object."""
    from ..extension import current_migrate

    return current_migrate()


def say(text: str) -> None:
    if not g.get("migrate_quiet"):
        click.echo(text, err=True)


def print_json(value: Mapping[str, Any]) -> None:
    click.echo(json.dumps({"schema": 1, **value}, indent=2))


def write_text(text: str, output: str | None) -> None:
    if output is None:
        try:
            sys.stdout.write(text)
        except UnicodeEncodeError:
            # A terminal of another encoding: UTF-8, as in a file. Nothing was written yet.
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode())
        return
    from ..export import write_whole

    write_whole(output, text)
    say(f"Wrote {output}")


def print_listing(directory: str | None, wanted: Part, render: Callable[[Listing], str | None]) -> bool:
    """Print a list of the revisions from the index alone, if it can be; return whether it could."""
    from ..extension.listing import read_listing

    found = read_listing(directory, wanted)
    text = None if found is None else render(found)
    if text is not None:
        _write_replacing(text)
    return text is not None


def print_current(directory: str | None, *, check_heads: bool) -> bool:
    """Print what the database is at, if one look shows it; return whether it did."""
    from ..extension.glance import read_glance

    found = read_glance(directory, wanted="links")
    if found is None or (check_heads and not found.is_at_head):
        return False
    text = found.listing.current(found.rows or ())
    if text is not None:
        _write_replacing(text)
    return text is not None


def _write_replacing(text: str) -> None:
    # What the terminal does not have is a question mark, as in Alembic's output.
    encoding = sys.stdout.encoding or "ascii"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))


def show_export(
    directory: str | None,
    range_: str,
    options: Mapping[str, Any],
    x_arg: Any,
    format_: str,
    output: str | None,
    split: str | None,
    version_file: str | None,
) -> None:
    """Print or write an export, then where it ends into the version file."""
    from ..export import ExportRequest, export_text, read_version_file, write_version_file

    migrate = current_extension()
    request = ExportRequest(range_, **options)
    version = None
    if version_file is not None:
        version = read_version_file(migrate, directory, version_file, range_)
        request = replace(request, heads=version.heads)
    if split is not None:
        scripts = _write_split(migrate, directory, split, request, x_arg)
    else:
        text, scripts = export_text(migrate, directory, request, format_, x_arg=x_arg)
        write_text(text, output)
        for script in dict.fromkeys(scripts):
            say(
                f"An SQL client passes over {script}: run it by hand where its SCRIPT line stands, before what follows."
            )
    if version is not None:
        sys.stdout.flush()
        heads = write_version_file(migrate, directory, version, request)
        if heads is None:
            say(f"{version.path} is as it was: the version table moves with the last phase.")
        else:
            say(f"{version.path} says now: {', '.join(heads) or 'base'}")


def _write_split(migrate: Any, directory: str | None, folder: str, request: Any, x_arg: Any) -> tuple[str, ...]:
    from ..bundle import write_bundle

    bundle = write_bundle(migrate, directory, folder, request, x_arg=x_arg)
    for name in bundle.files:
        say(f"Wrote {os.path.join(folder, name)}")
    for script in dict.fromkeys(bundle.scripts):
        say(f"{script} runs between the files of {os.path.join(folder, 'parts')}: manifest.json has the order.")
    if bundle.no_rollback is not None:
        say(f"There is no rollback SQL: {bundle.no_rollback}")
    return bundle.scripts


def show_verified(directory: str | None, folder: str, x_arg: Any) -> None:
    """Print what differs between a bundle and the revision files.

    :raises NotReady: if anything does.
    """
    from ..bundle import verify_bundle

    found = verify_bundle(current_extension(), directory, folder, x_arg=x_arg)
    for line in found:
        click.echo(line)
    if found:
        many = f"{len(found)} difference{'s' if len(found) > 1 else ''}"
        raise NotReady(
            f"The bundle in {folder} does not hold any more: {many}. Write it again: flask db sql --split {folder} "
            "START:END"
        )
    say(f"The bundle in {folder} holds.")


def run_and_show(
    direction: str, directory: str | None, revision: str, tag: Any, x_arg: Any, as_json: bool, options: dict[str, Any]
) -> None:
    progress = Progress(quiet=bool(g.get("migrate_quiet")), output_to_stderr=as_json)
    waits = {f"{name}_s": options.pop(name) for name in _WAITS}
    command = command_line(direction, revision, options)
    function = getattr(current_extension(), direction)
    # With --json, what revisions print must not get into the JSON.
    aside = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    with progress, aside:
        plan = function(
            directory, revision, tag=tag, x_arg=x_arg, report=progress.report, command=command, **waits, **options,
        )  # fmt: skip
    if as_json:
        print_json(plan_json(plan, {}))
    elif not plan.actions:
        say("Nothing to do.")


_WAITS = ("lock_wait", "lock_timeout", "statement_timeout", "retry_budget")


def command_line(direction: str, revision: str, options: Mapping[str, Any]) -> str:
    words = ["flask", "db", direction]
    if options.get("phase"):
        words += ["--phase", options["phase"]]
    if options.get("through"):
        words += ["--through"]
    if options.get("all_phases"):
        words += ["--all-phases"]
    if options.get("bind"):
        words += ["--bind", options["bind"]]
    default = {"upgrade": "head", "downgrade": "-1"}.get(direction)
    return " ".join([*words, *([] if revision == default else [revision])])


class Progress:
    """Shows a run: a live line on a terminal, otherwise one plain line a step; all on standard error."""

    def __init__(self, *, quiet: bool, output_to_stderr: bool) -> None:
        self.quiet = quiet
        self.output_to_stderr = output_to_stderr
        self.live: Any = None
        self.steps = 0
        self.seconds = 0.0

    def __enter__(self) -> Progress:
        if not self.quiet and sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console

            self.live = Console(stderr=True).status("Reading the databases ...")
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()
        if self.steps:
            self._line(f"{self.steps} step{'s' if self.steps > 1 else ''} in {self.seconds:.2f} s.")

    def report(self, event: Event) -> None:
        """Show an event of the executor."""
        if event.kind == "warning":
            self._line(f"Warning: {event.detail}")
        elif event.kind == "output":
            click.echo(event.detail, err=self.output_to_stderr)
        elif event.step is not None:
            self._step(event)

    def _step(self, event: Event) -> None:
        step = event.step
        assert step is not None
        what = f"[{event.number}/{event.total}] {step.bind}: {step.revision} {step.phase}"
        if event.kind == "began" and self.live is not None:
            from rich.markup import escape

            self.live.update(escape(f"{what} ..."))
        elif event.kind == "done":
            self.steps += 1
            self.seconds += event.seconds
            detail = f"{event.detail}, " if event.detail else ""
            self._line(f"{what} ... {detail}{event.seconds:.2f}s")
        elif event.kind == "failed":
            self._line(f"{what} ... failed after {event.seconds:.2f}s")
        elif event.kind == "retried":
            self._line(f"{what} ... retried in {event.seconds:.2f}s, kept from a lock: {event.detail}")
        elif event.kind == "passed":
            self._line(f"{step.bind}: {step.revision} complete")
        elif event.kind == "reopened":
            self._line(f"{step.bind}: {step.revision} not complete any more")

    def _line(self, text: str) -> None:
        if not self.quiet and sys.stderr is not None:
            # click.echo() takes several times as long, looking for what these lines never have.
            sys.stderr.write(f"{text}\n")


def print_plan(
    directory: str | None, revision: str, direction: Direction, as_json: bool, x_arg: Any, options: Mapping[str, Any]
) -> None:
    from ..export import planned_sql
    from ..extension.project import refuse_blocked

    plan, statements = planned_sql(
        current_extension(), directory, revision, direction=direction, phase=options["phase"],
        through=options.get("through", False), bind=options["bind"], x_arg=x_arg,
    )  # fmt: skip
    for warning in plan.warnings:
        say(f"Warning: {warning}")
    if as_json:
        print_json(plan_json(plan, statements))
    else:
        print_plan_text(plan, statements)
    refuse_blocked(plan)


def plan_json(plan: Plan, statements: Mapping[Any, Sequence[str]]) -> dict[str, Any]:
    return {
        "direction": plan.direction,
        "phase": plan.phase,
        "fingerprint": plan.fingerprint,
        "steps": [
            {
                "bind": step.bind,
                "revision": step.revision,
                "phase": step.phase,
                "statements": list(statements.get(step, ())),
            }
            for step in plan.steps
        ],
        "blocked": [
            {
                "bind": block.step.bind,
                "revision": block.step.revision,
                "phase": block.step.phase,
                "because": block.because,
            }
            for block in plan.blocked
        ],
        "warnings": [
            {
                "bind": warning.step.bind,
                "revision": warning.step.revision,
                "phase": warning.step.phase,
                "overtakes": {"revision": warning.overtaken.revision, "phase": warning.overtaken.phase},
                "because": warning.because,
            }
            for warning in plan.warnings
        ],
    }


def print_plan_text(plan: Plan, statements: Mapping[Any, Sequence[str]]) -> None:
    if not plan.actions and not plan.blocked:
        click.echo("Nothing to do.")
    number = 0
    for action in plan.actions:
        if action.step is None:
            names = ", ".join((*action.passes, *filter(None, [action.reopens])))
            click.echo(f"-- {action.bind}: the version table moves: {names}")
            continue
        number += 1
        step = action.step
        click.echo(f"-- [{number}/{len(plan.steps)}] {step.bind}: {step.revision} {step.phase}")
        for text in statements.get(step, ()):
            click.echo(text)
    for block in plan.blocked:
        click.echo(f"-- blocked: {block.step}: {block.because}")


def bind_json(found: BindStatus) -> dict[str, Any]:
    return {
        "name": found.name,
        "dialect": found.dialect,
        "current": list(found.current),
        "heads": list(found.heads),
        "revisions": [
            {
                "revision": row.id,
                "down_revision": list(row.revision.down) if row.revision else [],
                "depends_on": list(row.revision.depends_on) if row.revision else [],
                "branch_labels": list(row.revision.labels) if row.revision else [],
                "message": row.revision.message if row.revision else "",
                "state": row.state,
                "phases": dict(row.phases),
                **_assured_json(row),
            }
            for row in found.revisions
        ],
    }


def _assured_json(row: RevisionStatus) -> dict[str, Any]:
    found = [{"rules": list(item.rules), "reason": item.reason, "line": item.line} for item in _assured(row)]
    return {"assured": found} if found else {}


def _assured(row: RevisionStatus) -> Sequence[Assurance]:
    """Return what the author of a revision answers for."""
    from ..extension.assured import read_assurances

    return read_assurances(row.revision) if row.revision is not None and row.revision.path else ()


def describe_skipped(found: Skipped) -> str:
    """Return what a skip recorded, what it did not run, and the command that goes on."""
    lines = []
    if found.step is not None:
        lines.append(f"{found.step} is recorded as done; nothing was run.")
    if found.scripts:
        lines.append(f"The file runs programs ({', '.join(found.scripts)}): those of this phase were not run either.")
    if found.completed:
        lines.append(f"The version table has passed: {', '.join(found.completed)}")
    return "\n".join([*lines, f"Next: {found.command}"])


_SIGNS = {"applied": "[X]", "in-flight": "[~]", "pending": "[ ]", "missing": "[?]"}


def print_status(found: BindStatus) -> None:
    at = ", ".join(found.current) or "base"
    click.echo(f"{found.name} ({found.dialect}) at {at}")
    if not found.revisions:
        click.echo("  There are no revisions. Type: flask db migrate -m MESSAGE")
    width = max((len(row.id) for row in found.revisions), default=0)
    for row in found.revisions:
        phases = "  ".join(f"{name} {state}" for name, state in row.phases.items() if state != "empty")
        message = row.revision.message.splitlines()[0] if row.revision and row.revision.message else ""
        if row.state in ("applied", "pending") and set(row.phases.values()) <= {"done", "pending", "empty"}:
            phases = ""
        text = f"  {_SIGNS[row.state]} {row.id:<{width}}  {row.state:<9}  {message}"
        click.echo(text.rstrip())
        if row.state == "missing":
            phases = f"no file has this revision  {phases}".rstrip()
        if phases:
            click.echo(f"      {'':<{width}}  {phases}")
        for item in _assured(row) if row.state != "applied" else ():
            click.echo(f"      {'':<{width}}  assured: {', '.join(item.rules)}: {item.reason}")


def journal_line(bind: str, row: Any) -> str:
    began = f"{row.started_at:%Y-%m-%d %H:%M:%SZ}" if row.started_at else "-"
    took = "" if row.duration_ms is None else f" {row.duration_ms} ms"
    parts = (("", row.operator), ("on ", row.host), ("pid ", row.pid), ("version ", row.app_version))
    who = " ".join(f"{word}{value}" for word, value in parts if value)
    what = f"{row.operation} {row.revision or ''} {row.phase or ''}" + (f" {row.script}" if row.script else "")
    text = f"{row.id}  {began}  {bind}  {what}  {row.status}{took}  {who}"
    error = first_line(row.error)
    return text.rstrip() + (f"\n    {error}" if error else "")


def first_line(text: str | None) -> str:
    lines: Iterable[str] = (text or "").splitlines()
    return next(iter(lines), "")
