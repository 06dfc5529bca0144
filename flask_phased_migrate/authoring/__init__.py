"""Autogenerate split into phases: what the new code needs before the deploy, what would break the old code after it."""

from __future__ import annotations

from typing import Any

from alembic.operations import ops

from ..phases import Phases
from .engine import unnamed_uniques
from .enums import enum_changes
from .script import After, Before, Pieces
from .split import split
from .values import Answers, Facts, Name, Question, Questioner

__all__ = [
    "Answers",
    "Facts",
    "Name",
    "Question",
    "Questioner",
    "enum_changes",
    "phase_token",
    "split_script",
    "unnamed_uniques",
]


def phase_token(token: str, phases: Phases, phase: str) -> str:
    """Return the template variable of a phase's operations; ``token`` is the bind's, which its first phase has."""
    if phase == phases.names[0]:
        return token
    return f"{token}_{''.join(letter if letter.isalnum() else '_' for letter in phase)}"


def split_script(script: Any, phases: Phases, facts: Facts, answers: Answers) -> tuple[str, ...]:
    """Divide the operations that were found last, those of one bind, and return what the person should be told.

    The script gets an ``UpgradeOps`` and a ``DowngradeOps`` for each phase, with a token of its own.

    :raises Refused: if a question is open.
    :raises UsageError: if an answer cannot be used.
    """
    upgrade, downgrade = script.upgrade_ops_list[-1], script.downgrade_ops_list[-1]
    pieces = split(upgrade.ops, facts, answers)
    answers.refuse_unanswered()
    script.upgrade_ops_list[-1:] = [
        ops.UpgradeOps(found, upgrade_token=phase_token(upgrade.upgrade_token, phases, phase))
        for phase, found in _by_phase(phases, pieces, pieces.upgrade).items()
    ]
    script.downgrade_ops_list[-1:] = [
        ops.DowngradeOps(found, downgrade_token=phase_token(downgrade.downgrade_token, phases, phase))
        for phase, found in _by_phase(phases, pieces, pieces.downgrade).items()
    ]
    return tuple(pieces.notes)


def _by_phase(phases: Phases, pieces: Pieces, operations: Any) -> dict[str, list[Any]]:
    """Return the operations by phase: the last that the old code sees, and the one behind it. The others are empty."""
    del pieces
    found: dict[str, list[Any]] = {phase: [] for phase in phases.names}
    found[phases.boundary] = operations(Before)
    found[phases.after(phases.boundary)[0]] = operations(After)
    return found
