"""The conditions under which the SQL of a phase may run, asked by the database itself.

The SQL of a phase is run from its top, and the first error ends it. So what the whole of it needs is asked once, before
the first change, with lists as long as the history; each step then asks only for what the steps before it left, by
its own revision and its neighbours. The text grows with the number of revisions, and not with its square.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from ..graph import Graph
from ..phases import Phases
from ..plan import Action, Plan, Step, coded_phases
from ..tables import Tables

Condition = sa.ColumnElement[bool]

_IN_LIMIT = 1000
"""Values in a list of Oracle's IN (ORA-01795)."""


class Conditions:
    """What must hold for the actions of one plan of one phase.

    ``heads`` are the version table's rows when the phase begins, as far as they are known.
    """

    def __init__(
        self, plan: Plan, heads: frozenset[str], *, graph: Graph, phases: Phases, bind: str, tables: Tables
    ) -> None:
        self.plan = plan
        self.graph = graph
        self.phases = phases
        self.bind = bind
        self.tables = tables
        self._assumed = graph.closure(name for name in heads if name in graph)
        self._steps = {step.revision for step in plan.steps}
        self._passes = {name for action in plan.actions for name in action.passes}
        self._passed: set[str] = set()

    # -- of the whole text ------------------------------------------------------------------------

    def of_plan(self) -> list[Condition]:
        """Return what must hold before anything: the version table is where it is expected to be."""
        return self._of_upgrade() if self.plan.direction == "upgrade" else self._of_downgrade()

    def _of_upgrade(self) -> list[Condition]:
        above = self._with_descendants(self._steps | self._passes)
        conditions = [self._only_rows([name for name in self.graph.revisions if name not in above])]
        phase = self.plan.phase
        if phase is not None:
            conditions += self._parents_done(phase)
        outside = {parent for name in self._passes for parent in self.graph[name].parents if parent not in self._passes}
        return conditions + [self._complete(name) for name in self._in_order(outside)]

    def _of_downgrade(self) -> list[Condition]:
        flying = {action.step.revision for action in self.plan.actions if action.step and action.reopens is None}
        above = self._with_descendants(flying)
        conditions = [self._only_rows([name for name in self.graph.revisions if name not in above])]
        others = self._in_order(self._with_descendants(self._steps) - self._steps)
        phase = self.plan.phase
        if others and phase is not None:
            conditions.append(self._none_recorded(others, (phase, *self.phases.after(phase))))
        return conditions

    def _parents_done(self, phase: str) -> list[Condition]:
        """Return that the phase is done below the steps of the plan, where no step of the plan does it."""
        needed: dict[str, Condition] = {}
        seen: set[str] = set()
        waiting = [parent for name in self._in_order(self._steps) for parent in self.graph[name].parents]
        while waiting:
            name = waiting.pop()
            if name in seen or name in self._steps:
                continue
            seen.add(name)
            if phase in self._coded(name):
                needed[name] = self._done(name, phase)
            elif name in self._assumed:
                needed[name] = self._at(name, phase)
            else:
                waiting += self.graph[name].parents
        return [needed[name] for name in self._in_order(needed)]

    def _at(self, name: str, phase: str) -> Condition:
        """Return that a database is where a range begins, at a revision that has nothing to do in the phase."""
        below: set[str] = set()
        seen: set[str] = set()
        waiting = list(self.graph[name].parents)
        while waiting:
            other = waiting.pop()
            if other not in seen:
                seen.add(other)
                if phase in self._coded(other):
                    below.add(other)
                else:
                    waiting += self.graph[other].parents
        if below:
            return sa.or_(self._complete(name), sa.and_(*(self._done(other, phase) for other in self._in_order(below))))
        return sa.or_(self._complete(name), ~self._none_recorded(self._in_order({name, *seen}), None))

    # -- of one action ----------------------------------------------------------------------------

    def of_step(self, action: Action, step: Step, heads: frozenset[str], removed: Collection[str]) -> list[Condition]:
        """Return what must hold for a step: its earlier phases are done, and its parents' same phase.

        :param heads: the version table's rows now; ``removed``, those that are gone once the step's revision is passed.
        """
        name, phase = step.revision, step.phase
        earlier = [q for q in self.phases.before(phase) if q in self._coded(name)]
        conditions = [self._not_here(name)]
        if earlier:
            conditions.append(self._recorded(name, earlier, len(earlier)))
        for parent in self.graph[name].parents:
            if parent in self._passed:
                conditions.append(self._present([self._row_of(parent, heads)]))
            elif parent in self._steps:
                conditions.append(self._recorded(parent, [phase], 1))
        if name in action.passes:
            conditions += self.of_pass(name, heads, removed, running=phase)
        return conditions

    def of_pass(
        self, name: str, heads: frozenset[str], removed: Collection[str], *, running: str | None
    ) -> list[Condition]:
        """Return what must hold to pass a revision: all its phases but ``running`` are done, its parents passed."""
        coded = [phase for phase in self._coded(name) if phase != running]
        conditions = [self._not_here(name)]
        rows = {self._row_of(parent, heads) for parent in self.graph[name].parents if parent in self._passed}
        rows.update(removed)
        if rows:
            conditions.append(self._present(sorted(rows)))
        if coded:
            conditions.append(self._recorded(name, coded, len(coded)))
        return conditions

    def passed(self, name: str) -> None:
        """Note that the text so far has moved the version table past a revision."""
        self._passed.add(name)

    def of_undo(self, step: Step) -> list[Condition]:
        """Return what must hold to undo a step in flight: it is done, and nothing later is, nor above it."""
        name, phase = step.revision, step.phase
        later = self.phases.after(phase)
        conditions = [self._not_here(name), self._recorded(name, [phase], 1)]
        if later:
            conditions.append(self._recorded(name, later, 0))
        if self._followers[name]:
            conditions.append(self._none_recorded(self._followers[name], (phase, *later)))
        return conditions

    def of_reopening(self, name: str, removed: Collection[str]) -> list[Condition]:
        """Return what must hold to take a revision out of the version table: it is there, and nowhere else."""
        return [self._present(sorted(removed)), self._none_recorded([name], None, status=None)]

    def of_rest(self, step: Step, status: str, statement: int) -> list[Condition]:
        """Return that a step stopped after so many operations, and has not gone on."""
        ledger = self.tables.ledger.alias("begun")
        found: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(ledger)
        own = sa.and_(ledger.c.revision == step.revision, ledger.c.phase == step.phase)
        return [sa.exists(found).where(own, ledger.c.status == status, ledger.c.statement == statement)]

    # -- words ------------------------------------------------------------------------------------

    def _coded(self, name: str) -> tuple[str, ...]:
        return coded_phases(self.graph[name], self.bind, self.phases)

    @cached_property
    def _followers(self) -> dict[str, list[str]]:
        """For each id those that need it directly."""
        found: dict[str, list[str]] = {name: [] for name in self.graph.revisions}
        for revision in self.graph.revisions.values():
            for parent in dict.fromkeys(revision.parents):
                found[parent].append(revision.id)
        return found

    def _with_descendants(self, names: Iterable[str]) -> set[str]:
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._followers[name]
        return found

    def _in_order(self, names: Collection[str]) -> list[str]:
        """Return ids in the order of the files, which is the same in every run."""
        return [name for name in self.graph.revisions if name in names]

    def _row_of(self, name: str, heads: frozenset[str]) -> str:
        """Return the row of the version table that says that a revision is complete."""
        if name in heads:
            return name
        return next(head for head in sorted(heads) if head in self.graph and self.graph.is_ancestor(name, head))

    def _rows(self) -> sa.Select[Any]:
        return sa.select(sa.literal_column("1")).select_from(self.tables.version)

    def _only_rows(self, names: Sequence[str]) -> Condition:
        """Return whether the version table has no rows but some of these."""
        version = self.tables.version
        others = [version.c.version_num.not_in(part) for part in _parts(names)]
        return ~sa.exists(self._rows()).where(*others) if others else ~sa.exists(self._rows())

    def _some_row(self, names: Sequence[str]) -> Condition:
        version = self.tables.version
        found = sa.or_(*(version.c.version_num.in_(part) for part in _parts(names)))
        return sa.exists(self._rows()).where(found)

    def _complete(self, name: str) -> Condition:
        """Return whether the version table has passed a revision: it, or one that stands on it, is a row."""
        return self._some_row(self._in_order(self._with_descendants([name])))

    def _not_here(self, name: str) -> Condition:
        """Return whether the version table is neither at a revision nor at one that follows it directly."""
        return ~self._some_row([name, *self._followers[name]])

    def _present(self, rows: Collection[str]) -> Condition:
        version = self.tables.version
        return sa.and_(*(sa.exists(self._rows()).where(version.c.version_num == row) for row in rows))

    def _done(self, name: str, phase: str) -> Condition:
        return sa.or_(self._complete(name), self._recorded(name, [phase], 1))

    def _recorded(self, name: str, phases: Collection[str], count: int) -> Condition:
        """Return whether the ledger has ``count`` of these phases as done."""
        done = self.tables.ledger.alias("done")
        rows = (
            sa.select(sa.func.count())
            .select_from(done)
            .where(done.c.revision == name, done.c.phase.in_(phases), done.c.status == "done")
        )
        return rows.scalar_subquery() == sa.literal_column(str(count))

    def _none_recorded(
        self, names: Sequence[str], phases: Collection[str] | None, *, status: str | None = "done"
    ) -> Condition:
        """Return whether the ledger knows nothing of these revisions, or has none of these phases of them as done."""
        known = self.tables.ledger.alias("known")
        one: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(known)
        conditions = [sa.or_(*(known.c.revision.in_(part) for part in _parts(names)))]
        if phases is not None:
            conditions.append(known.c.phase.in_(phases))
        if status is not None:
            conditions.append(known.c.status == status)
        return ~sa.exists(one).where(*conditions)


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    return [names[start : start + _IN_LIMIT] for start in range(0, len(names), _IN_LIMIT)]
