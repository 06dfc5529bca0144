"""Autogenerate split into phases: what the new code needs before the deploy, what would break the old code after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.operations import ops

from ..phases import Phases
from .constraints import add_drops_of_checks
from .differences import Difference, read_differences
from .engine import unnamed_uniques
from .enums import check_changes, enum_changes, model_values, value_checks
from .script import After, Before, Final, Part
from .split import split
from .values import Answers, Facts, Name, Question, Questioner

__all__ = [
    "Answers",
    "Difference",
    "Facts",
    "Name",
    "Question",
    "Questioner",
    "add_drops_of_checks",
    "check_changes",
    "enum_changes",
    "model_values",
    "phase_token",
    "read_differences",
    "split_script",
    "unnamed_uniques",
    "value_checks",
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
        for phase, found in _by_phase(phases, pieces.upgrade, (Before, After, Final)).items()
    ]
    script.downgrade_ops_list[-1:] = [
        ops.DowngradeOps(found, downgrade_token=phase_token(downgrade.downgrade_token, phases, phase))
        for phase, found in _by_phase(phases, pieces.downgrade, (Final, After, Before)).items()
    ]
    return tuple(pieces.notes)


def _by_phase(phases: Phases, operations: Any, parts: Sequence[type[Part]]) -> dict[str, list[Any]]:
    """Return the operations by phase: the last that the old code sees, the one behind it, the last.

    :param parts: in the order in which they run where two of them fall into one phase.
    """
    later = phases.after(phases.boundary)
    homes: dict[type[Part], str] = {Before: phases.boundary, After: later[0], Final: later[-1]}
    found: dict[str, list[Any]] = {phase: [] for phase in phases.names}
    for part in parts:
        found[homes[part]] += operations(part)
    return found
