"""What the tests of the linter's rules share: one body, one engine, what the rules say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask_phased_migrate.graph import Graph, Revision
from flask_phased_migrate.inspection import Inspector
from flask_phased_migrate.inspection.observation import Observation
from flask_phased_migrate.lint import Finding, LintReport, Subject, lint
from flask_phased_migrate.phases import Bodies, Body, PhasedPart, Phases
from flask_phased_migrate.plan import Step
from flask_phased_migrate.rules.changes import Column, Default
from flask_phased_migrate.rules.schema import Facts
from flask_phased_migrate.rules.situation import Target

EARLY, LATE, FINAL = Phases().names
VERSIONS = {"postgresql": (15, 4), "mariadb": (10, 11, 6), "mysql": (8, 0, 36), "sqlite": (3, 40)}
NOTHING_TO_UNDO = ("missing-undo",)

Work = Callable[[], Any]


def revision(name: str, works: Mapping[str, Work], down: str | None = None, **options: Any) -> Revision:
    """Return a revision with a body for each phase, and an undo for each that does nothing."""
    undo = {phase: lambda: None for phase in works}
    return Revision(name, down=(down,) if down else (), upgrade=bodies(works), downgrade=bodies(undo), **options)


def bodies(works: Mapping[str, Work]) -> Bodies:
    """Return one direction of a revision: a body for each phase."""
    parts = tuple(Body(phase, PhasedPart(work)) for phase, work in works.items())
    return Bodies(parts, phased=True, named=tuple(works))


def report(
    revisions: Sequence[Revision],
    dialect: str = "postgresql",
    *,
    version: tuple[int, ...] | None = None,
    driver: str = "",
    pending: bool = False,
    **options: Any,
) -> LintReport:
    """Return what the rules say of revisions, in the order given; ``pending`` as if a database answered."""
    graph, phases = Graph({item.id: item for item in revisions}), Phases()
    names = tuple(item.id for item in revisions)
    subject = Subject(
        "default", Target(dialect, version or VERSIONS[dialect], driver=driver), names, frozenset(names),
        frozenset(names if pending else ()), **options,
    )  # fmt: skip
    inspector = Inspector()
    engine = "mysql" if dialect == "mariadb" else dialect

    def observe(step: Step, *, undo: bool = False) -> Observation:
        return inspector.observe(step, graph, phases, engine, undo=undo)

    return lint(graph, phases, [subject], lambda _: observe)


def look(work: Work, dialect: str = "postgresql", phase: str = EARLY, **options: Any) -> tuple[Finding, ...]:
    """Return the findings about one body."""
    return report([revision("r", {phase: work})], dialect, **options).findings


def assert_unsafe(work: Work, rule: str, *words: str, level: str = "error", **options: Any) -> Finding:
    """Assert that one rule finds something in a body at this level, with these words in its message; return it."""
    found = look(work, **options)
    matching = [item for item in found if item.rule == rule]
    assert matching, f"{rule} is not among {[(item.level, item.rule) for item in found]}"
    first = matching[0]
    assert first.level == level, first
    missing = [word for word in words if word not in first.message]
    assert not missing, f"{missing} not in: {first.message}"
    return first


def assert_safe(work: Work, *rules: str, **options: Any) -> None:
    """Assert that no rule, or none of these, has an error or a warning about a body."""
    found = [item for item in look(work, **options) if not rules or item.rule in rules]
    assert [(item.rule, item.message) for item in found if item.level != "info"] == []


def known(**tables: Sequence[Column]) -> Facts:
    """Return what a database says of its columns."""
    return Facts({(table, column.name): column for table, columns in tables.items() for column in columns})


REQUIRED = Column("email", "VARCHAR(120)", nullable=False)
OPTIONAL = Column("email", "VARCHAR(120)")
DEFAULTED = Column("email", "VARCHAR(120)", nullable=False, default=Default("constant", "''"))
