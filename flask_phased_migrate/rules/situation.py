"""Where a change stands: phase, transaction, engine and version, what is known. And the values that rules give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..phases import Phases
from .changes import Change, Clauses, Name
from .schema import Schema

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")

# What is taken for the server's version where nobody says: the oldest that are still looked after, with care.
_ASSUMED = {"postgresql": (13, 0), "mysql": (8, 0, 36), "mariadb": (10, 6), "sqlite": (3, 35)}


@dataclass(frozen=True)
class Target:
    """The engine that the SQL is for. ``dialect`` is postgresql, mysql, mariadb, sqlite or another's name; without
    a ``version`` the oldest is assumed that is still looked after. ``source`` says who told the version, ``driver`` by
    which the application speaks to it, "" where that is not known."""

    dialect: str
    version: tuple[int, ...] | None = None
    source: str = ""
    driver: str = ""

    def at_least(self, *version: int) -> bool:
        """Return whether the server is of this version or later."""
        return (self.version or _ASSUMED.get(self.dialect, (0,))) >= version

    @property
    def is_mysql(self) -> bool:
        """Whether it is MySQL or MariaDB."""
        return self.dialect in ("mysql", "mariadb")

    def __str__(self) -> str:
        number = ".".join(map(str, self.version or ()))
        return f"{self.dialect} {number} ({self.source})" if number else f"{self.dialect}, version not known"


@dataclass(frozen=True)
class Act:
    """One change as it runs: its line, the transaction of its step, and what the statement asks of the server."""

    change: Change
    line: int | None = None
    transaction: int = 1
    autocommit: bool = False
    in_batch: bool = False
    clauses: Clauses = field(default_factory=Clauses)
    is_conditional: bool = False


@dataclass(frozen=True)
class Problem:
    """What a rule found about a change: how bad, in words, and the code that does it safely."""

    level: Level
    message: str
    rewrite: str | None = None


@dataclass(frozen=True)
class Rule:
    """One rule of the catalogue: its id, and what it is about in a line."""

    id: str
    title: str


Looks = Callable[[Any, "Situation"], Iterable[Problem]]


@dataclass(frozen=True)
class Check:
    """How one rule looks at changes of some kinds.

    ``exempt`` says of which tables it has nothing to say: ``new`` are those that the same plan makes, ``idle`` those
    and small ones.
    """

    rule: str
    kinds: tuple[type[Change], ...]
    look: Looks
    exempt: Literal["", "new", "idle"] = ""


@dataclass(frozen=True)
class Situation:
    """Where a change stands.

    ``acts`` is all that its step does, and ``place`` where in it the change is. ``models`` are the columns by table
    that the new code has, in lower case, None where they are not known. ``is_undo`` where it is part of a downgrade;
    ``given_up`` are then the tables, by key, that nobody uses any more.
    """

    target: Target
    phases: Phases
    phase: str
    schema: Schema
    acts: Sequence[Act]
    place: int
    is_phased: bool = True
    models: Mapping[str, frozenset[str]] | None = None
    small_rows: int = 0
    is_undo: bool = False
    given_up: frozenset[str] = frozenset()

    @property
    def act(self) -> Act:
        """The change as it runs."""
        return self.acts[self.place]

    @property
    def is_early(self) -> bool:
        """Whether the old code still serves while the phase runs, and after it."""
        return self.phase in self.phases.names and not self.phases.moves_pointer(self.phase)

    @property
    def early(self) -> str:
        """The last phase that runs before the deploy."""
        return self.phases.boundary

    @property
    def late(self) -> str:
        """The first phase that runs after the deploy."""
        return self.phases.after(self.phases.boundary)[0]

    @property
    def before(self) -> Iterator[Act]:
        """What the same transaction has done by then."""
        return (act for act in self.acts[: self.place] if act.transaction == self.act.transaction)

    @property
    def after(self) -> Iterator[Act]:
        """What the same transaction does afterwards."""
        return (act for act in self.acts[self.place + 1 :] if act.transaction == self.act.transaction)

    def is_new(self, table: Name) -> bool:
        """Return whether the same plan makes the table: nobody uses it."""
        return table.key in self.given_up or self.schema.is_new_table(table)

    def is_idle(self, table: Name) -> bool:
        """Return whether a lock on the table is of no account: it is new, or has few rows."""
        rows = self.schema.facts.rows.get(table.key)
        return self.is_new(table) or (rows is not None and 0 < self.small_rows >= rows)

    def has_model(self, table: Name, column: str | None = None) -> bool | None:
        """Return whether the new code has the table, or the column of it; None where that is not known."""
        if self.models is None:
            return None
        columns = self.models.get(table.key)
        return columns is not None and (column is None or column.casefold() in columns)

    def rows_of(self, table: Name) -> str:
        """Return how many rows the table has, in words that follow its name; "" where that is not known."""
        rows = self.schema.facts.rows.get(table.key)
        return "" if rows is None else f" (about {rows:,} rows)"
