"""The options of ``flask db migrate`` that choose how the revision is written, and who asks the questions."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

import click

from ..errors import UsageError
from .group import DIRECTORY, MESSAGE, X_ARG, new_revision_options

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


@dataclass(frozen=True)
class Authoring:
    """How what autogenerate finds is written, as it was typed."""

    no_phases: bool = False
    no_input: bool = False
    rename: tuple[str, ...] = ()
    fill: tuple[str, ...] = ()

    @property
    def given(self) -> dict[str, Any]:
        """What was typed, by the option's name."""
        return {f"--{name.replace('_', '-')}": value for name, value in vars(self).items()}

    def arguments(self) -> dict[str, Any]:
        """Return the arguments ``phases`` and ``answers`` of :func:`.commands.revision`.

        :raises UsageError: if the options contradict each other, or one is no ``NAME=ANSWER``.
        """
        if self.no_phases and (self.rename or self.fill):
            raise UsageError(
                "--no-phases asks no questions, so --rename and --fill answer none. Leave one of them out."
            )
        return {"phases": not self.no_phases, "answers": self._answers()}

    def _answers(self) -> Answers:
        from ..authoring import Answers

        may_ask = not self.no_input and _is_terminal(sys.stdin) and _is_terminal(sys.stderr)
        return Answers(_pairs("--rename", self.rename), _pairs("--fill", self.fill), ask if may_ask else None)


def _is_terminal(stream: IO[str] | None) -> bool:
    # None where the process was started without one.
    return stream is not None and not stream.closed and stream.isatty()


def authoring_options(command: _F) -> _F:
    """Add the options of a new revision that is to be filled: where it goes, and how what is found is written.

    The command gets the latter as ``authoring``, an :class:`Authoring`.
    """

    @functools.wraps(command)
    def run(
        *arguments: Any, no_phases: bool, no_input: bool, rename: Sequence[str], fill: Sequence[str], **options: Any
    ) -> Any:
        authoring = Authoring(no_phases, no_input, tuple(rename), tuple(fill))
        return command(*arguments, authoring=authoring, **options)

    for option in reversed(_OPTIONS):
        run = option(run)
    run = new_revision_options(X_ARG(run))
    for option in (MESSAGE, DIRECTORY):
        run = option(run)
    return cast(_F, run)


def _pairs(option: str, given: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for text in given:
        subject, sign, answer = text.partition("=")
        if not sign or not subject.strip():
            raise UsageError(f"{option} {text}: write it as {_EXAMPLES[option]}")
        found[subject.strip()] = answer.strip()
    return found


_EXAMPLES = {"--rename": "--rename account.email=address", "--fill": '--fill account.email="lower(login)"'}


def ask(question: Question) -> str | None:
    """Ask on the terminal and return the answer as the option would have it; None where the input is at its end.

    :raises KeyboardInterrupt: as it came: click makes the same of it and of the end of the input.
    """
    try:
        return _asked(question)
    except click.Abort as abort:
        # The cursor stands behind the question.
        click.echo(err=True)
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise abort.__context__ from None
        return None


def _asked(question: Question) -> str:
    click.echo(f"\n{question.text}", err=True)
    if question.kind == "fill":
        return str(click.prompt(f"{question.subject} =", default="", show_default=False, err=True)).strip()
    for number, (_, meaning) in enumerate(question.choices, 1):
        click.echo(f"  {number}  {meaning}", err=True)
    chosen = click.prompt("Which", type=click.IntRange(1, len(question.choices)), err=True)
    return question.choices[chosen - 1][0]
