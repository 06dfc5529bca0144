"""Revisions to findings: each step's operations, one after the other, before every rule of its engine."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.schema import CreateTable as CreateTableStatement

from .assurances import Assurance
from .graph import Graph, Revision
from .inspection.observation import Observation, Seen
from .operations import ExecuteScriptOp
from .phases import Body, Phases
from .plan import Step, coded_phases
from .rules import RULES, checks_of, undo_checks_of
from .rules.changes import (
    NOWHERE,
    AddColumn,
    AddConstraint,
    Change,
    CreateIndex,
    CreateTable,
    DropColumn,
    Maintain,
    Opaque,
    ReadsDatabase,
    RefreshView,
    RunProgram,
    SetSetting,
    TakeLock,
    Vacuum,
    ValidateConstraint,
    WriteRows,
)
from .rules.from_operations import read_seen
from .rules.recipes import create_index, quoted
from .rules.schema import Facts, Schema
from .rules.situation import LEVELS, Act, Check, Level, Problem, Situation, Target
from .rules.types import is_same_type


class Observe(Protocol):
    """Tells what the body of a step does; of its downgrade where ``undo``."""

    def __call__(self, step: Step, *, undo: bool = False) -> Observation: ...


@dataclass(frozen=True)
class Finding:
    """One result of one rule. ``reason`` is why it is assured that there is no harm, None where nobody did;
    ``direction`` whether it is about the upgrade or about its undo."""

    rule: str
    level: Level
    bind: str
    revision: str
    phase: str | None
    path: str
    line: int | None
    statement: str | None
    message: str
    rewrite: str | None = None
    reason: str | None = None
    direction: Literal["upgrade", "downgrade"] = "upgrade"


@dataclass(frozen=True)
class LintReport:
    """What was found: by revision, phase and place. ``assured`` is what the authors of revisions answer for."""

    findings: tuple[Finding, ...] = ()
    assured: tuple[Finding, ...] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)
    revisions: int = 0

    def count(self, level: Level) -> int:
        """Return how many findings have a level."""
        return sum(finding.level == level for finding in self.findings)


@dataclass(frozen=True)
class Subject:
    """What to look at on one bind.

    ``names`` are the revisions to go through, ``reported`` those whose findings are wanted. What ``pending`` ones make
    is new to each of them; of the others, only to the revision itself. ``done`` are (revision, phase) of the ledger.
    ``models`` are the columns by table that the new code has, ``small_rows`` how many make a table that is not small;
    ``style`` are the rules of style that are asked for.
    """

    bind: str
    target: Target
    names: tuple[str, ...]
    reported: frozenset[str]
    pending: frozenset[str] = frozenset()
    done: frozenset[tuple[str, str]] = frozenset()
    facts: Facts = field(default_factory=Facts)
    models: Mapping[str, frozenset[str]] | None = None
    small_rows: int = 0
    style: frozenset[str] = frozenset()


def lint(
    graph: Graph, phases: Phases, subjects: Iterable[Subject], observe: Callable[[Subject], Observe]
) -> LintReport:
    """Return what the rules find on all binds.

    :param observe: gives for a bind what tells of each step what its body does.
    """
    found: list[Finding] = []
    targets: dict[str, Target] = {}
    names: set[str] = set()
    for subject in subjects:
        targets[subject.bind] = subject.target
        names |= subject.reported
        found += _Linter(graph, phases, subject, observe(subject)).findings()
    findings = tuple(item for item in found if item.reason is None)
    return LintReport(findings, tuple(item for item in found if item.reason is not None), targets, len(names))


@dataclass
class _Look:
    """One step while it is looked at. ``dropped_types`` are the types, where known, of columns dropped, by place."""

    revision: Revision
    step: Step
    acts: list[Act] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    dropped_types: dict[int, str] = field(default_factory=dict)
    is_undo: bool = False
    given_up: frozenset[str] = frozenset()

    @property
    def body(self) -> Body:
        """The body that is looked at."""
        bodies = self.revision.downgrade if self.is_undo else self.revision.upgrade
        return bodies.body(self.step.bind, self.step.phase)

    @property
    def changes(self) -> Iterator[Change]:
        return (act.change for act in self.acts)


class _Linter:
    """Goes through the revisions of one bind in order, with what is known of the tables by then."""

    def __init__(self, graph: Graph, phases: Phases, subject: Subject, observe: Observe) -> None:
        self.graph = graph
        self.phases = phases
        self.subject = subject
        self.observe = observe
        self.schema = Schema(subject.facts)
        self.checks = _by_kind(checks_of(subject.target.dialect, subject.style))
        self.undo_checks = _by_kind(undo_checks_of(subject.target.dialect))
        self.compiler = Compiler(_sqlalchemy_name(subject.target.dialect))

    def findings(self) -> list[Finding]:
        """Return the findings of the reported revisions, in order."""
        found: list[Finding] = []
        before: str | None = None
        for name in self.subject.names:
            if not {before, name} <= self.subject.pending:
                self.schema.forget_new()
            before = name
            own = list(self._revision(self.graph[name]))
            if name in self.subject.reported:
                found += [
                    item
                    for item in own
                    if item.direction == "downgrade" or (item.revision, item.phase) not in self.subject.done
                ]
        return found

    def _revision(self, revision: Revision) -> Iterator[Finding]:
        if revision.upgrade.problem is not None:
            yield self._about(revision, "wrong-revision", "error", f"{revision.upgrade.problem}.", None)
            return
        looks: list[_Look] = []
        for phase in coded_phases(revision, self.subject.bind, self.phases):
            look = self._look(revision, Step(self.subject.bind, revision.id, phase))
            looks.append(look)
            yield from self._step(look)
        yield from self._missing_undo(revision, looks)
        yield from self._dropped_and_added(revision, looks)
        yield from self._keys_without_index(looks)
        yield from self._undo(revision, looks)

    def _undo(self, revision: Revision, looks: Sequence[_Look]) -> Iterator[Finding]:
        """Look at the downgrade, the last phase first, on the tables as the upgrade leaves them."""
        if revision.downgrade.problem is not None:
            return
        schema = self.schema
        self.schema = schema.copy()
        # It runs some time after the upgrade: what that made is in use by then.
        self.schema.forget_new()
        for phase in reversed(coded_phases(revision, self.subject.bind, self.phases, undo=True)):
            step = Step(self.subject.bind, revision.id, phase)
            look = self._look(revision, step, undo=True, made=_made(looks))
            # It is seldom run, and then in need: what takes a moment longer is no reason not to write it plainly.
            yield from (item for item in self._step(look) if item.level == "error")
        self.schema = schema

    def _look(self, revision: Revision, step: Step, *, undo: bool = False, made: frozenset[str] = frozenset()) -> _Look:
        """Return what a step does, change by change; of an undo, with the tables ``made`` by the upgrade.

        Before the deploy is undone when the new code is gone: nobody uses then what the upgrade made.
        """
        look = _Look(revision, step, is_undo=undo)
        if undo and not self.phases.moves_pointer(step.phase):
            look.given_up = made
        for seen in self.observe(step, undo=undo).seen:
            for statement in read_seen(seen, self.compiler.dialect):
                # What is sent to the bind has a place even where it changes nothing: a generator may not ask there.
                for change in statement.changes or ((Change(NOWHERE),) if seen.is_direct else ()):
                    place = (seen.line, seen.transaction, seen.autocommit, seen.in_batch)
                    look.acts.append(Act(change, *place, statement.clauses, statement.is_conditional))
                    look.seen.append(seen)
        return look

    # -- operations ---------------------------------------------------------------------------------

    def _step(self, look: _Look) -> Iterator[Finding]:
        yield from self._bad_assurances(look)
        early_read = self._reads_too_early(look)
        for place, act in enumerate(look.acts):
            seen = look.seen[place]
            asks = seen.kind == "read" or seen.is_direct
            if (early_read and asks) or (_is_muted_read(seen) and self._is_begun(look)):
                yield self._finding(look, place, "read-before-yield", _EARLY_READ)
                break
            if _is_muted_read(seen):
                # Found where it is: in the step of an earlier phase.
                break
            yield from self._change(look, place, act)
            if isinstance(act.change, DropColumn):
                known = self.schema.column(act.change.table, act.change.column)
                look.dropped_types[place] = known.type_ if known is not None else ""
            self.schema.apply(act.change)

    def _is_begun(self, look: _Look) -> bool:
        """Return whether an earlier phase of the revision is done, so that nothing more is said of it."""
        return not look.is_undo and any(name == look.revision.id for name, _ in self.subject.done)

    def _reads_too_early(self, look: _Look) -> bool:
        body = look.body
        return body.segment is not None and body.segment < (body.segments or 0) - 1

    def _change(self, look: _Look, place: int, act: Act) -> Iterator[Finding]:
        checks = (self.undo_checks if look.is_undo else self.checks)(type(act.change))
        if not checks:
            return
        at = Situation(
            self.subject.target, self.phases, look.step.phase, self.schema, look.acts, place,
            look.revision.upgrade.phased, self.subject.models, self.subject.small_rows, look.is_undo, look.given_up,
        )  # fmt: skip
        found: dict[str, Problem] = {}
        for check in checks:
            if not _is_exempt(check, at):
                for problem in check.look(act.change, at):
                    known = found.get(check.rule)
                    if known is None or LEVELS.index(problem.level) < LEVELS.index(known.level):
                        found[check.rule] = problem
        for rule, problem in found.items():
            yield self._finding(look, place, rule, problem)

    def _finding(self, look: _Look, place: int, rule: str, problem: Problem) -> Finding:
        seen = look.seen[place]
        return Finding(
            rule, problem.level, look.step.bind, look.step.revision, look.step.phase, look.revision.path, seen.line,
            self.compiler.statement(seen), problem.message, problem.rewrite, _reason(rule, seen.assurances),
            "downgrade" if look.is_undo else "upgrade",
        )  # fmt: skip

    def _bad_assurances(self, look: _Look) -> Iterator[Finding]:
        """Yield what is wrong with an ``assured()``, once for each."""
        known: set[Assurance] = set()
        for place, seen in enumerate(look.seen):
            for item in seen.assurances:
                if item in known:
                    continue
                known.add(item)
                unknown = [name for name in item.rules if name not in RULES]
                if unknown or not item.rules or not item.reason:
                    yield self._finding(look, place, "assurance", _bad_assurance(item, unknown))

    # -- revisions ------------------------------------------------------------------------------------

    def _about(
        self, revision: Revision, rule: str, level: Level, message: str, rewrite: str | None, reason: str | None = None,
        phase: str | None = None,
    ) -> Finding:  # fmt: skip
        bind = self.subject.bind
        return Finding(rule, level, bind, revision.id, phase, revision.path, None, None, message, rewrite, reason)

    def _missing_undo(self, revision: Revision, looks: Sequence[_Look]) -> Iterator[Finding]:
        """Look for what no downgrade undoes; rows that were changed need not be changed back."""
        doing = [look.step.phase for look in looks if any(_is_undone(item) for item in look.changes)]
        if not doing:
            return
        given = revision.attributes.get("irreversible")
        reason = str(given).strip() or None if given else None
        undo = revision.downgrade
        if undo.missing or not undo.phases(self.subject.bind):
            says = "has no downgrade()" if undo.missing else "has a downgrade() that does nothing"
            yield self._about(
                revision, "missing-undo", "warning",
                f"{revision.id} {says}: it cannot be undone.",
                'irreversible = "why it cannot be undone, and what to do instead"   # beside down_revision',
                reason,
            )  # fmt: skip
        elif undo.phased:
            for phase in doing:
                if phase not in undo.phases(self.subject.bind):
                    word = phase.replace("-", "_")
                    yield self._about(
                        revision, "missing-undo", "warning",
                        f"The downgrade of {revision.id} has nothing for {phase}: what its upgrade does there stays.",
                        f"@downgrade.phase({quoted(phase)})\ndef downgrade_{word}():\n    ...",
                        reason,
                        phase,
                    )  # fmt: skip

    def _dropped_and_added(self, revision: Revision, looks: Sequence[_Look]) -> Iterator[Finding]:
        """Look for a column dropped and another added to the same table, with nothing that carries the rows over."""
        del revision
        pairs = [(look, place) for look in looks for place in range(len(look.acts))]
        changes = [(look, place, look.acts[place].change) for look, place in pairs]
        written = {change.table.key for _, _, change in changes if isinstance(change, WriteRows)}
        dropped = [item for item in changes if isinstance(item[2], DropColumn)]
        for look, place, change in dropped:
            table = change.table.key
            added = [other for _, _, other in changes if isinstance(other, AddColumn) and other.table.key == table]
            alone = sum(item[2].table.key == table for item in dropped) == 1 and len(added) == 1
            if alone and table not in written and table not in self.schema.new_tables:
                assert isinstance(change, DropColumn)
                new, old_type = added[0].column.name, look.dropped_types.get(place, "")
                if old_type and added[0].column.type_ and not is_same_type(old_type, added[0].column.type_):
                    continue
                yield self._finding(
                    look, place, "drop-and-add",
                    Problem(
                        "warning",
                        f"{change.table}.{change.column} is dropped and {change.table}.{new} added. If that is a "
                        "rename, what is in the column is lost. Keep the name in the database, or copy the rows first.",
                        f"# in the model, instead of both operations:\n{new} = db.Column({quoted(change.column)}, ...)",
                    ),
                )  # fmt: skip

    def _keys_without_index(self, looks: Sequence[_Look]) -> Iterator[Finding]:
        """Look for foreign keys of new columns that no index of the revision serves."""
        if self.subject.target.is_mysql:
            return
        for look in looks:
            for place, change in enumerate(look.changes):
                for key in _foreign_keys(change):
                    is_new = key.columns and all(self.schema.is_new_column(key.table, name) for name in key.columns)
                    if is_new and not self.schema.is_indexed(key.table, key.columns):
                        yield self._finding(look, place, "foreign-key-without-index", _no_index(key))


# -- what rules say of whole revisions ------------------------------------------------------------------

_EARLY_READ = Problem(
    "error",
    "The database is read before a yield. Each phase runs by itself, and goes through what comes before it without "
    "doing it: the read is refused there, and the later phases can never run. Write one function a phase.",
    '@phased("before-deploy")\ndef upgrade():\n    ...\n\n\n@upgrade.phase("after-deploy")\n'
    "def upgrade_after_deploy():\n    rows = op.get_bind().execute(...)",
)


# Rows that were changed need not be changed back, and of a program nobody knows.
_NOT_UNDONE = (
    *(WriteRows, RunProgram, ReadsDatabase, Opaque, ValidateConstraint, SetSetting, TakeLock, RefreshView, Vacuum),
    Maintain,
)


def _is_undone(change: Change) -> bool:
    return type(change) is not Change and not isinstance(change, _NOT_UNDONE)


def _bad_assurance(item: Assurance, unknown: Sequence[str]) -> Problem:
    if unknown:
        says = f"no rule is called {', '.join(unknown)}"
    else:
        says = "it names no rule" if not item.rules else "it does not say why"
    names = ", ".join(quoted(name) for name in item.rules if name in RULES) or '"RULE"'
    reason = item.reason or "why there is no harm"
    return Problem(
        "error",
        f"This assured() counts for nothing: {says}.",
        f"with assured({names}, reason={quoted(reason)}):\n    ...",
    )


def _no_index(key: AddConstraint) -> Problem:
    index = CreateIndex(key.table, f"ix_{key.table.table}_{'_'.join(key.columns)}", key.columns)
    return Problem(
        "info",
        f"No index of {key.table} begins with {', '.join(key.columns)}: each DELETE in {key.referent} reads all of "
        f"{key.table}.",
        create_index(index),
    )


def _foreign_keys(change: Change) -> Iterator[AddConstraint]:
    keys = change.keys if isinstance(change, CreateTable) else (change,)
    for key in keys:
        if isinstance(key, AddConstraint) and key.kind == "foreign key":
            yield key


def _made(looks: Sequence[_Look]) -> frozenset[str]:
    """Return the keys of the tables that the upgrade makes."""
    return frozenset(item.table.key for look in looks for item in look.changes if isinstance(item, CreateTable))


def _is_muted_read(seen: Seen) -> bool:
    return seen.kind == "error" and "MutedRead" in str(seen.what)


def _is_exempt(check: Check, at: Situation) -> bool:
    table = at.act.change.table
    return (check.exempt == "new" and at.is_new(table)) or (check.exempt == "idle" and at.is_idle(table))


def _reason(rule: str, assurances: Sequence[Assurance]) -> str | None:
    """Return why it is assured that a rule's finding does no harm, None where nobody did; the innermost counts."""
    return next((item.reason for item in reversed(assurances) if rule in item.rules and item.reason), None)


def _by_kind(checks: Sequence[Check]) -> Callable[[type[Change]], tuple[Check, ...]]:
    known: dict[type[Change], tuple[Check, ...]] = {}

    def of_kind(kind: type[Change]) -> tuple[Check, ...]:
        if kind not in known:
            known[kind] = tuple(check for check in checks if issubclass(kind, check.kinds))
        return known[kind]

    return of_kind


def _sqlalchemy_name(dialect: str) -> str:
    return "mysql" if dialect == "mariadb" else dialect


class Compiler:
    """Writes down what was seen as SQL, without a connection."""

    def __init__(self, dialect_name: str) -> None:
        self._text = io.StringIO()
        self._context = MigrationContext.configure(
            dialect_name=dialect_name,
            dialect_opts={"paramstyle": "named"},
            opts={"as_sql": True, "literal_binds": True, "output_buffer": self._text},
        )
        self.dialect: Any = self._context.dialect

    def statement(self, seen: Seen) -> str | None:
        """Return the SQL of an operation, its name where it has none by itself; None where no operation is meant."""
        if seen.kind in ("read", "error"):
            return None
        if seen.kind == "copy":
            return f"batch_alter_table({quoted(seen.what[0])})"
        if isinstance(seen.what, ExecuteScriptOp):
            return f"execute_script({quoted(seen.what.path)})"
        try:
            return self._sql(seen)
        except Exception:
            return self._without_values(seen)

    def _without_values(self, seen: Seen) -> str:
        """Return SQL with the names of its values where they cannot be written out, else the operation's name."""
        try:
            return str(seen.what.sqltext.compile(dialect=self.dialect))
        except Exception:
            # What a batch on SQLite does has no SQL of its own, nor has a value that cannot be written out; and an
            # operation of the project's own may raise anything.
            return type(seen.what).__name__

    def _sql(self, seen: Seen) -> str:
        if seen.kind == "table":
            return str(CreateTableStatement(seen.what).compile(dialect=self.dialect)).strip()
        self._text.seek(0)
        self._text.truncate()
        Operations(self._context).invoke(seen.what)
        return self._text.getvalue().strip().removesuffix(";").replace(";\n\n", ";\n")
