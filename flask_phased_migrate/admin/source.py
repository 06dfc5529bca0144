"""What the admin pages need from the rest of the package, and the values that they get."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

from ..plan import Direction, History, Plan
from .files import Files

if TYPE_CHECKING:
    from ..lint import Finding
    from ..recorder import Execution


@dataclass(frozen=True)
class Choice:
    """Which executions of the journal: at most ``limit``, newest first, those that have all that is given.

    ``before`` and ``after`` are ids: of those after one, the oldest are taken.
    """

    limit: int
    before: int | None = None
    after: int | None = None
    id_: int | None = None
    status: str | None = None
    operation: str | None = None
    revision: str | None = None
    phase: str | None = None
    run_id: str | None = None


class Reader(Protocol):
    """One bind's tables, read on one connection. Every method raises ``DatabaseUnreachable`` where they cannot be."""

    def read_history(self) -> History:
        """Return what the version table, the ledger and the journal say of the steps."""

    def read_finished(self, revisions: Collection[str]) -> Mapping[tuple[str, str], datetime]:
        """Return when the steps of ``revisions`` were last done, by revision and phase, in UTC without a zone."""

    def read_executions(self, choice: Choice) -> tuple[Execution, ...]:
        """Return rows of the journal, newest first."""


@dataclass(frozen=True)
class Piece:
    """One piece of SQL text; ``kind`` is one of :data:`flask_phased_migrate.offline.text.Kind`."""

    kind: str
    text: str


@dataclass(frozen=True)
class Preview:
    """The SQL of one step, written without a database; ``reason`` says why there is none, else it is None."""

    dialect: str
    pieces: tuple[Piece, ...] = ()
    reason: str | None = None

    @property
    def sql(self) -> str:
        """The whole text."""
        return "".join(f"{piece.text}\n\n" for piece in self.pieces)


@dataclass(frozen=True)
class Operation:
    """One thing that the body of a step does, as SQL or by its name; ``line`` is of the revision file.

    ``kind`` is ``operation``, ``copy``, ``read`` or ``error``; ``transaction`` counts from 1, and in an
    ``autocommit`` block each operation is one of its own.
    """

    phase: str
    kind: Literal["operation", "copy", "read", "error"]
    text: str
    line: int | None = None
    transaction: int = 1
    autocommit: bool = False


@dataclass(frozen=True)
class Examination:
    """What a revision does and what the linter says of it; ``reason`` says why it is not known, else it is None.

    ``assured`` are the findings that the author answers for; ``before`` is how many older revisions were gone through
    to know the tables, ``left_out`` how many were not.
    """

    target: str = ""
    operations: tuple[Operation, ...] = ()
    findings: tuple[Finding, ...] = ()
    assured: tuple[Finding, ...] = ()
    before: int = 0
    left_out: int = 0
    reason: str | None = None


@dataclass(frozen=True)
class Wanted:
    """Which SQL: of which step, in which direction, for which engine (None: the bind's own)."""

    bind: str
    revision: str
    phase: str
    direction: Direction = "upgrade"
    dialect: str | None = None


class Source(Protocol):
    """The revision files and the databases, read only. The extension is one. It never runs env.py."""

    def read_files(self) -> Files:
        """Return the revision files as they are now. Touches no database.

        :raises flask_phased_migrate.errors.RevisionFileError: if a file cannot be loaded.
        """

    def open(self, bind: str) -> AbstractContextManager[Reader]:
        """Give a reader of the bind's tables.

        :raises flask_phased_migrate.errors.DatabaseUnreachable: if the database does not answer.
        """

    def plan(self, files: Files, history: History, phase: str) -> Plan:
        """Return what an upgrade of ``phase`` would do on the bind of ``history``; it may be blocked."""

    def preview(self, files: Files, wanted: Wanted) -> Preview:
        """Return the SQL of a step. Never connects."""

    def examine(self, files: Files, bind: str, revision: str) -> Examination:
        """Return what a revision does and what the linter says of it. Never connects."""

    def mask(self, text: str) -> str:
        """Return code without the databases' passwords and the path of the migrations folder."""

    def redact(self, text: str) -> str:
        """Return an error's words without these, and without bound parameters and whatever is called a secret."""
