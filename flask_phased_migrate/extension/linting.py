"""Runs of the linter: which revisions, for which engines and versions, with what the databases say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from ..environment import BINDS_KEY, Visit, alembic_call, resolve_revisions, revisions_up_to
from ..errors import ConfigurationError, DatabaseUnreachable, DriverMissing
from ..facts import read_facts, read_target
from ..graph import assign_unnamed
from ..inspection.observation import Observation
from ..lint import LintReport, Observe, Subject, lint
from ..offline.text import Statement
from ..phases import DEFAULT_BIND, base_bind, split_names
from ..plan import History, Step, complete_revisions
from ..rules import STYLE
from ..rules.changes import Name
from ..rules.schema import Facts
from ..rules.situation import Target
from .exporting import Export
from .project import Project, check_bind, split_range
from .running import SurveyedBind, survey

Models = Mapping[str, Mapping[str, frozenset[str]]]


@dataclass(frozen=True)
class Wanted:
    """What was asked for: a range as typed, or everything; of one bind, or of all."""

    range_: str | None = None
    is_all: bool = False
    bind: str | None = None


@dataclass(frozen=True)
class Lint:
    """One run of the linter.

    ``versions`` are those that the configuration names, by bind; ``models`` the columns by table and bind that the
    application has; ``small_rows`` how many rows make a table of which the database knows that it is small. ``style``
    are the rules of style that are asked for.
    """

    project: Project
    wanted: Wanted
    versions: Mapping[str, str] = field(default_factory=dict)
    models: Models = field(default_factory=dict)
    small_rows: int = 0
    style: frozenset[str] = frozenset()

    def run(self) -> LintReport:
        """Return what the rules find. Where no database answers, all revisions are looked at."""
        try:
            found = survey(self.project)
        except (DatabaseUnreachable, DriverMissing):
            project, targets = _targets_on_paper(self.project)
            check_bind(self.wanted.bind, tuple(targets))
            subjects = [
                self._unasked(project, bind, target) for bind, target in targets.items() if self._is_wanted(bind)
            ]
        else:
            project = found.project
            check_bind(self.wanted.bind, [item.bind for item in found.histories])
            subjects = [self._asked(project, item) for item in found.binds if self._is_wanted(item.history.bind)]
        return lint(project.graph, project.phases, subjects, lambda subject: _observer(project, subject))

    def _is_wanted(self, bind: str) -> bool:
        return self.wanted.bind in (None, bind)

    def _unasked(self, project: Project, bind: str, target: Target) -> Subject:
        """Return what to look at of a bind whose database does not answer."""
        names, reported = self._revisions(project, None)
        return Subject(bind, self._target(bind, target), names, reported, models=self._models(bind), style=self.style)

    def _asked(self, project: Project, item: SurveyedBind) -> Subject:
        """Return what to look at of a bind whose database answers: by default what it lacks."""
        history = item.history
        with item.engine.connect() as connection:
            target, facts = read_target(connection), read_facts(connection)
        pending = frozenset(project.graph.revisions) - complete_revisions(project.graph, history)
        names, reported = self._revisions(project, history)
        is_default = self.wanted.range_ is None and not self.wanted.is_all
        if not is_default:
            # What applied revisions make is in the database already: they are gone through to know it.
            facts = Facts({}, facts.rows, frozenset())
        return Subject(
            history.bind, self._target(history.bind, target), names, reported, pending,
            frozenset(_done(history)) if is_default else frozenset(),
            facts, self._models(history.bind), self.small_rows, self.style,
        )  # fmt: skip

    def _revisions(self, project: Project, history: History | None) -> tuple[tuple[str, ...], frozenset[str]]:
        """Return the revisions to go through, in order, and those to report."""
        graph = project.graph
        if self.wanted.range_ is not None:
            start, end = split_range(self.wanted.range_)
            covered = revisions_up_to(project.script, "heads" if end == "head" and len(graph.heads) > 1 else end, ())
            before = graph.closure(_start(project, start, history))
            return graph.order(covered), frozenset(covered) - before
        chosen = set(graph.revisions)
        if history is not None and not self.wanted.is_all:
            chosen -= complete_revisions(graph, history)
        return graph.order(chosen), frozenset(chosen)

    def _target(self, bind: str, found: Target) -> Target:
        """Return the target with the version that the configuration names, if it names one."""
        given = self.versions.get(base_bind(bind)) or self.versions.get("")
        return found if given is None else configured_target(found, given)

    def _models(self, bind: str) -> Mapping[str, frozenset[str]] | None:
        return self.models.get(base_bind(bind)) or None


def _done(history: History) -> list[tuple[str, str]]:
    return [key for key, record in history.records.items() if record.status == "done"]


def _start(project: Project, start: str | None, history: History | None) -> tuple[str, ...]:
    """Return the ids that a START stands for; those of the database for ``current``.

    :raises DatabaseUnreachable: if that is wanted and it does not answer.
    """
    if start in (None, "base"):
        return ()
    if start != "current":
        return resolve_revisions(project.script, str(start))
    if history is None:
        raise DatabaseUnreachable("'current' is asked of the database, which does not answer. Name a revision.")
    return tuple(head for head in history.heads if head in project.graph)


def configured_target(found: Target, given: str) -> Target:
    """Return the target of ``MIGRATE_TARGET_VERSION``: a number, perhaps with the name of the engine.

    MariaDB is told from MySQL by its name, or by a number from 10 on, which MySQL does not have.

    :raises ConfigurationError: if it has no number.
    """
    numbers = re.search(r"\d+(\.\d+)*", given)
    if numbers is None:
        raise ConfigurationError(f'MIGRATE_TARGET_VERSION is {given!r}. It is a version such as "15.4" or "10.11".')
    version = tuple(map(int, numbers.group().split(".")))
    dialect = found.dialect
    if found.is_mysql:
        dialect = "mariadb" if "maria" in given.casefold() or version[0] >= 10 else "mysql"
    return Target(dialect, version, "MIGRATE_TARGET_VERSION", found.driver)


def configured_versions(value: Any) -> dict[str, str]:
    """Return the versions of ``MIGRATE_TARGET_VERSION`` by bind; one for all has the bind "".

    :raises ConfigurationError: if it is neither text nor a mapping of text.
    """
    if value is None or value == "":
        return {}
    found = dict(value) if isinstance(value, Mapping) else {"": value}
    found = {DEFAULT_BIND if name is None else str(name): version for name, version in found.items()}
    if not all(isinstance(version, (str, int, float)) and not isinstance(version, bool) for version in found.values()):
        raise ConfigurationError(
            f'MIGRATE_TARGET_VERSION is {value!r}. It is a version such as "15.4", or a mapping of them by bind.'
        )
    return {name: str(version) for name, version in found.items()}


def configured_style(value: Any) -> frozenset[str]:
    """Return the rules of ``MIGRATE_LINT_STYLE``: all for True or "all", else those named.

    :raises ConfigurationError: if no rule of style has a name.
    """
    if value is None or isinstance(value, bool) or value == "all":
        return frozenset(STYLE if value else ())
    names = frozenset(split_names(value))
    unknown = sorted(names - set(STYLE))
    if unknown:
        raise ConfigurationError(
            f'MIGRATE_LINT_STYLE names {", ".join(unknown)}. The rules of style are {", ".join(STYLE)}; or "all".'
        )
    return names


def read_models(db: Any) -> dict[str, dict[str, frozenset[str]]]:
    """Return the columns of the application's models by bind and table, in lower case."""
    by_bind = getattr(db, "metadatas", None) or {None: db.metadata}
    return {
        name or DEFAULT_BIND: {
            Name(table.name, table.schema).key: frozenset(column.name.casefold() for column in table.columns)
            for table in metadata.tables.values()
        }
        for name, metadata in by_bind.items()
    }


def _driver(at: Visit) -> str:
    """Return the driver that the URL of a bind names, "" where none is known."""
    url = at.options.get("url")
    return sa.make_url(url).get_driver_name() if isinstance(url, (str, sa.URL)) else ""


class _Binds(Export):
    """Finds out about the binds without a database."""

    def targets(self) -> tuple[Project, dict[str, Target]]:
        """Return the project with what only env.py can tell of its graph, and the engines by bind."""
        found: dict[str, Target] = {}
        known: set[str] = set()

        def note(at: Visit, _project: Project, _binds: frozenset[str]) -> tuple[Statement, ...]:
            found[at.bind] = Target(at.context.dialect.name, driver=_driver(at))
            known.update(at.options.get(BINDS_KEY, ()))
            return ()

        self._visit(note, destination_rev="heads")
        return replace(self.project, graph=assign_unnamed(self.project.graph, known)), found


def _targets_on_paper(project: Project) -> tuple[Project, dict[str, Target]]:
    return _Binds(project).targets()


def _observer(project: Project, subject: Subject) -> Observe:
    dialect = "mysql" if subject.target.dialect == "mariadb" else subject.target.dialect

    def observe(step: Step, *, undo: bool = False) -> Observation:
        # Alembic's op and context, which the body uses, are of the whole process.
        with alembic_call(project.config):
            return project.inspector.observe(
                step, project.graph, project.phases, dialect, environment=(project.config, project.script), undo=undo
            )

    return observe
