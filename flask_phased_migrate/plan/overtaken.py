"""Steps that would run before a later phase of an ancestor: what blocks them, in words (S7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..footprint import Footprint
from ..graph import Graph
from ..overtaking import OVERLAPS_NAMED, UNKNOWN_NAMED, Overtaking, find_overtakings
from ..phases import Phases
from .history import complete_revisions, pending_phases
from .values import Blocked, History, PlanWarning, Step
from .wording import counted


def overtaken_steps(
    graph: Graph,
    history: History,
    phases: Phases,
    todo: tuple[str, ...],
    phase: str,
    target: str,
    footprint_of: Callable[[Step], Footprint],
    begin: History,
) -> tuple[list[Blocked], list[PlanWarning]]:
    """Return a block for each later step of an ancestor that a run of ``phase`` may not overtake, and a warning for
    each of which that is not known.

    :param begin: the history before anything of this plan.
    """
    complete = complete_revisions(graph, history)
    kept = (phase, *phases.after(phase))
    later = {name: [q for q in pending_phases(graph, history, phases, name, complete) if q in kept] for name in todo}
    overlaps, unknown = find_overtakings(
        graph, todo, phase, later, lambda name, q: footprint_of(Step(history.bind, name, q))
    )
    wording = _OvertakingWords(graph, begin, phases, target)
    return (
        [wording.blocked(item, is_last=number == OVERLAPS_NAMED) for number, item in enumerate(overlaps, start=1)],
        [wording.warning(item, is_last=number == UNKNOWN_NAMED) for number, item in enumerate(unknown, start=1)],
    )


@dataclass(frozen=True)
class _OvertakingWords:
    """Says what is wrong with an overtaking step, and what to do."""

    graph: Graph
    history: History
    phases: Phases
    target: str

    def blocked(self, item: Overtaking, *, is_last: bool) -> Blocked:
        (name, phase), (ancestor, later) = item.step, item.overtaken
        both = ", ".join(map(str, item.shares))
        because = f"{phase} of {name} would run before {later} of {ancestor}, and both touch {both}"
        if self._is_owed(name, ancestor):
            because += f". {ancestor} was begun by an earlier run: the previous release still owes its {later}"
        if is_last:
            because += ". There may be more"
        return Blocked(
            Step(self.history.bind, name, phase),
            because=because,
            command=self._finish(ancestor, later),
            otherwise=(
                f"Or release in two steps: {ancestor} with all its phases, and {name} with the next release.",
                f"Or, if either order gives the same result, write into {self.graph[name].path or name}: "
                f'independent_of = ("{ancestor}",)',
            ),
            overtaken=Step(self.history.bind, ancestor, later),
        )

    def warning(self, item: Overtaking, *, is_last: bool) -> PlanWarning:
        (name, phase), (ancestor, later) = item.step, item.overtaken
        more = f"; and {counted(len(item.reasons) - 2, 'reason')} more" if len(item.reasons) > 2 else ""
        because = (
            f"{phase} of {name} runs before {later} of {ancestor}, and whether both touch the same cannot be told: "
            f"{'; '.join(item.reasons[:2])}{more}. If either order gives the same result, write into "
            f'{self.graph[name].path or name}: independent_of = ("{ancestor}",)'
        )
        if is_last:
            because += ". There may be more such pairs"
        bind = self.history.bind
        return PlanWarning(Step(bind, name, phase), Step(bind, ancestor, later), because)

    def _is_owed(self, name: str, ancestor: str) -> bool:
        """Return whether an earlier run than any of ``name`` has done phases of ``ancestor``, by the ledger."""
        begun, own = self._runs(ancestor), self._runs(name)
        return bool(begun) and (not own or (None not in begun | own and begun.isdisjoint(own)))

    def _runs(self, name: str) -> set[str | None]:
        return {record.run_id for record in self.history.ledger.get(name, {}).values() if record.status == "done"}

    def _finish(self, ancestor: str, later: str) -> str:
        """Return the command that runs a step and what has to run before it."""
        complete = complete_revisions(self.graph, self.history)
        covered = self.graph.closure([ancestor]) - complete
        earlier = self.phases.before(later)
        owed = any(
            q in earlier
            for name in covered
            for q in pending_phases(self.graph, self.history, self.phases, name, complete)
        )
        through = " --through" if owed else ""
        return f"flask db upgrade --phase {later}{through} {_retargeted(self.target, ancestor)}"


def _retargeted(target: str, revision: str) -> str:
    """Return what was typed behind the phase with another revision as the target: ``--bind`` stays."""
    words = target.split()
    return " ".join([*words[:2], revision]) if words[:1] == ["--bind"] else revision
