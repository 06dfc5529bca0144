"""The options of ``flask db migrate`` that choose how the revision is written, and who asks the questions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UsageError

if TYPE_CHECKING:
    from ..authoring import Answers, Question

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--no-phases", is_flag=True, help="Write one upgrade() and one downgrade(), as Flask-Migrate does."),
    click.option("--no-input", is_flag=True, help="Ask nothing: refuse what only a person can say."),
    click.option(
        "--rename",
        multiple=True,
        metavar="TABLE.OLD=NEW",
        help="A column or table has a new name; nothing behind the sign: it has not. Repeatable.",
    ),
    click.option(
        "--fill",
        multiple=True,
        metavar="TABLE.COLUMN=SQL",
        help="What fills a column that becomes NOT NULL, or converts it; nothing: nothing. Repeatable.",
    ),
)


def authoring_options(command: _F) -> _F:
    """Add the options that choose how what autogenerate finds is written."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_authoring(*, no_phases: bool, no_input: bool, rename: Sequence[str], fill: Sequence[str]) -> dict[str, Any]:
    """Return the options as the arguments ``phases`` and ``answers`` of :func:`.commands.migrate`.

    :raises UsageError: if they contradict each other, or one is no ``NAME=ANSWER``.
    """
    if no_phases and (rename or fill):
        raise UsageError("--no-phases asks no questions, so --rename and --fill answer none. Leave one of them out.")
    return {"phases": not no_phases, "answers": _answers(rename, fill, no_input=no_input)}


def _answers(rename: Sequence[str], fill: Sequence[str], *, no_input: bool) -> Answers:
    from ..authoring import Answers

    may_ask = not no_input and sys.stdin.isatty() and sys.stderr.isatty()
    return Answers(_pairs("--rename", rename), _pairs("--fill", fill), ask if may_ask else None)


def _pairs(option: str, given: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for text in given:
        subject, sign, answer = text.partition("=")
        if not sign or not subject.strip():
            raise UsageError(f"{option} {text}: write it as {_EXAMPLES[option]}")
        found[subject.strip()] = answer.strip()
    return found


_EXAMPLES = {"--rename": "--rename account.email=address", "--fill": '--fill account.email="lower(login)"'}


def ask(question: Question) -> str:
    """Ask on the terminal and return the answer as the option would have it."""
    click.echo(f"\n{question.text}", err=True)
    if question.kind == "fill":
        return str(click.prompt(f"{question.subject} =", default="", show_default=False, err=True)).strip()
    for number, (_, meaning) in enumerate(question.choices, 1):
        click.echo(f"  {number}  {meaning}", err=True)
    chosen = click.prompt("Which", type=click.IntRange(1, len(question.choices)), err=True)
    return question.choices[chosen - 1][0]
