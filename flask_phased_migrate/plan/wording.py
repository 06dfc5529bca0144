"""What the messages of several modules say in the same words."""

from __future__ import annotations

from .values import Direction


def resolve_choices(revision: str, phase: str, statement: int = 0, *, direction: Direction = "upgrade") -> str:
    """Return the ways on with a step whose end is not known, as the text after ``Next:``.

    :param statement: how many operations of its body are known to be committed.
    :param direction: what did not end.
    """
    command = f"flask db resolve {revision} {phase}"
    if direction == "downgrade":
        return (
            "look at the database, then one of\n"
            f"  {command} --resume --reason TEXT      passes over the first {counted(statement, 'operation')} of the "
            "downgrade\n"
            f"  {command} --restart --reason TEXT     counts it as done: restore it by hand first, then undo it\n"
            f"  {command} --mark-done --reason TEXT   counts it as undone: finish that by hand first"
        )
    return (
        "look at the database, then one of\n"
        f"  {command} --resume --reason TEXT      passes over the first {counted(statement, 'operation')} of the body\n"
        f"  {command} --resume --after N --reason TEXT   passes over the first N: those you found done\n"
        f"  {command} --restart --reason TEXT     runs all of it again: undo its traces yourself first\n"
        f"  {command} --mark-done --reason TEXT   runs nothing: finish it by hand first"
    )


def counted(number: int, noun: str) -> str:
    """Return a number and a noun in the plural where it takes one: ``2 steps``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
