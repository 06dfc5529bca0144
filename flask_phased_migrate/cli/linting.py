"""``flask db lint``: what the rules find, as text, JSON, SARIF, or GitHub's annotations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from ..errors import FindingsFound, UsageError
from .group import BIND, DIRECTORY, X_ARG, DbGroup
from .printing import current_extension, print_json, say, write_text

if TYPE_CHECKING:
    from ..lint import Finding, LintReport

FORMATS = ("text", "json", "sarif", "github")
_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def add_lint(group: DbGroup) -> None:
    """Add the command to a group."""
    group.command("lint")(lint)


@DIRECTORY
@X_ARG
@BIND
@click.option("--all", "all_revisions", is_flag=True, help="Look at every revision, applied or not.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="text", help="text, json, sarif or github.")
@click.option(
    "--small-tables",
    type=click.IntRange(min=0),
    default=None,
    metavar="ROWS",
    help="Do not report locks on tables that have at most so many rows in the database asked.",
)
@click.option("--style", is_flag=True, help="Look at style too: types, indexes, statements that cannot be repeated.")
@click.argument("range_", metavar="[START:END]", required=False)
def lint(
    directory: str | None,
    x_arg: Any,
    bind: str | None,
    all_revisions: bool,
    format_: str,
    small_tables: int | None,
    style: bool,
    range_: str | None,
) -> None:
    """Look for what breaks the old code, or traffic, in each phase. Runs nothing.

    By default what is not applied where the database answers, else every revision. START is left out.
    Exits with status 1 when a finding is an error.

    Example: flask db lint --format github
    """
    if all_revisions and range_ is not None:
        raise UsageError("--all and a range do not go together. Leave one of them out.")
    report = current_extension().lint(
        directory, range_, all_revisions=all_revisions, bind=bind, small_rows=small_tables, style=style, x_arg=x_arg
    )
    if format_ == "json":
        print_json(as_json(report))
    elif format_ == "sarif":
        print_sarif(report)
    else:
        lines = text_lines(report) if format_ == "text" else map(annotation, report.findings)
        write_text("".join(f"{line}\n" for line in lines), None)
    if format_ != "json":
        say(summary(report))
    errors = report.count("error")
    if errors:
        raise FindingsFound(
            f"{_counted(errors, 'error')}. Change the revision as proposed; or, where it does no harm, say why: "
            'with assured("RULE", reason="...")'
        )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def summary(report: LintReport) -> str:
    """Return in a line or two what was looked at and how many findings there are."""
    if not report.revisions:
        return "Nothing to look at: nothing is pending, or the range is empty. For all revisions: flask db lint --all"
    counts = ", ".join(_counted(report.count(level), word) for level, word in _WORDS.items())
    if report.assured:
        counts += f", {len(report.assured)} assured"
    targets = "; ".join(f"{bind}: {target}" for bind, target in report.targets.items())
    return f"{_counted(report.revisions, 'revision')}: {counts}. {targets}"


_WORDS: dict[Any, str] = {"error": "error", "warning": "warning", "info": "note"}


# -- text ---------------------------------------------------------------------------------------------


def text_lines(report: LintReport) -> Iterator[str]:
    """Yield the lines for a person: place, level, rule; what happens; the statement; the code to paste."""
    for finding in report.findings:
        yield from finding_lines(finding, len(report.targets) > 1)
        yield ""
    for finding in report.assured:
        yield f"{place(finding)}: assured: {finding.rule}: {finding.reason}"


def finding_lines(finding: Finding, with_bind: bool) -> Iterator[str]:
    """Yield the lines of one finding."""
    undone = "undone" if finding.direction == "downgrade" else None
    step = " ".join(filter(None, [finding.revision, finding.phase, undone]))
    bind = f", {finding.bind}" if with_bind else ""
    yield f"{place(finding)}: {finding.level}: {finding.rule}  ({step}{bind})"
    yield f"    {finding.message}"
    if finding.statement:
        shown = finding.statement.strip().splitlines()
        yield f"    SQL: {shown[0]}{' ...' if len(shown) > 1 else ''}"
    if finding.rewrite:
        yield "    Safe:"
        yield from (f"        {line}".rstrip() for line in finding.rewrite.splitlines())


def place(finding: Finding) -> str:
    """Return file and line, relative to the working directory where the file is below it."""
    path = _relative(finding.path) or finding.revision
    return path if finding.line is None else f"{path}:{finding.line}"


def _relative(path: str) -> str:
    if not path:
        return path
    found = os.path.relpath(path)
    return path if found.startswith(os.pardir) else found.replace(os.sep, "/")


# -- for machines ---------------------------------------------------------------------------------------


def as_json(report: LintReport) -> dict[str, Any]:
    """Return the report with the keys of a finding as they are agreed."""
    return {
        "findings": [_finding_json(item) for item in report.findings],
        "assured": [{**_finding_json(item), "reason": item.reason} for item in report.assured],
        "targets": {
            bind: {"dialect": item.dialect, "version": ".".join(map(str, item.version or ())) or None}
            for bind, item in report.targets.items()
        },
        "revisions": report.revisions,
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "level": finding.level,
        "bind": finding.bind,
        "revision": finding.revision,
        "phase": finding.phase,
        "direction": finding.direction,
        "path": _relative(finding.path),
        "line": finding.line,
        "statement": finding.statement,
        "message": finding.message,
        "rewrite": finding.rewrite,
    }


def annotation(finding: Finding) -> str:
    """Return a workflow command of GitHub: an annotation at the line."""
    level = {"error": "error", "warning": "warning", "info": "notice"}[finding.level]
    words = [f"file={_property(_relative(finding.path))}", f"title={_property(finding.rule)}"]
    if finding.line is not None:
        words.insert(1, f"line={finding.line}")
    text = finding.message if finding.rewrite is None else f"{finding.message}\n\n{finding.rewrite}"
    return f"::{level} {','.join(words)}::{_escaped(text)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def print_sarif(report: LintReport) -> None:
    """Print the report as SARIF 2.1.0, which code scanning takes."""
    import json

    click.echo(json.dumps(as_sarif(report), indent=2))


def as_sarif(report: LintReport) -> dict[str, Any]:
    """Return the report as SARIF 2.1.0; what is assured is a suppressed result."""
    from .. import __version__
    from ..rules import RULES

    used = sorted({item.rule for item in (*report.findings, *report.assured)})
    rules = [{"id": name, "shortDescription": {"text": RULES[name].title}} for name in used]
    driver = {"name": "flask-phased-migrate", "version": __version__, "rules": rules}
    results = list(_results((*report.findings, *report.assured)))
    return {"version": "2.1.0", "$schema": _SARIF, "runs": [{"tool": {"driver": driver}, "results": results}]}


def _results(findings: Iterable[Finding]) -> Iterator[dict[str, Any]]:
    for item in findings:
        location: dict[str, Any] = {"artifactLocation": {"uri": quote(_relative(item.path))}}
        if item.line is not None:
            location["region"] = {"startLine": item.line}
        text = item.message if item.rewrite is None else f"{item.message}\n\n{item.rewrite}"
        result: dict[str, Any] = {
            "ruleId": item.rule,
            "level": "note" if item.level == "info" else item.level,
            "message": {"text": text},
            "locations": [{"physicalLocation": location}],
            "properties": {
                "bind": item.bind,
                "revision": item.revision,
                "phase": item.phase,
                "direction": item.direction,
            },
        }
        # Of a run, either all results say whether they are suppressed, or none does (SARIF 2.1.0, 3.27.23).
        known = {"kind": "inSource", "justification": item.reason}
        result["suppressions"] = [] if item.reason is None else [known]
        yield result
