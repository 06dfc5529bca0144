"""How far a step has come in the database itself."""

from __future__ import annotations

from typing import Literal

from ..dialects import Adapter


class Progress:
    """How far a step has come in the database itself, in operations of its body.

    ``place`` is the number of operations that are committed; None where something is committed that no
    such number describes: part of an operation, or, then ``astray``, a statement that the body sent by itself.
    ``recorded``: the ledger has the step as begun, and ``stored`` as its number. ``ending``: the step's last COMMIT is
    sent; ``complete``: it is known to have been done. ``in_flight``: a statement is at the server; ``sent``: one of
    which the server keeps what it does even if nobody waits for the answer. ``part`` is the number of statements of
    the operation that goes on that are kept; ``suspect``: the statement at the server was in doubt.
    """

    def __init__(self, adapter: Adapter, *, transactional: bool, autocommit: bool = False) -> None:
        self.adapter = adapter
        self.transactional = transactional
        self._always_autocommit = autocommit
        self.recorded = False
        self.ending = False
        self.complete = False
        self.in_flight = False
        self.sent = False
        self.stored = 0
        self.part = 0
        self._first = (0, 0)
        # Statements of the operation that goes on that a commit now would keep.
        self._pending = 0
        self.suspect = False
        self.autocommit = autocommit
        self.place: int | None = 0
        self.astray = False
        # Not committed: statements that the body sent by itself, and those of the operation that is going on.
        self._stray = False
        self._written = False
        self._lost = False
        # Committed: part of the operation that is going on.
        self._part = False

    def begin_at(self, operations: int, part: int = 0) -> None:
        """Note how many operations an earlier run has committed, and how many statements of the next."""
        self.place = self.stored = operations
        self.part = part
        self._first = (operations, part)

    def keep_pending(self) -> None:
        """Count as kept what the operation that goes on has sent: it is committed next."""
        self.part, self._pending = self.part + self._pending, 0

    def begin_counting(self) -> None:
        """Begin to count the statements of another operation."""
        self.part = self._pending = 0

    def kept_part(self, operations: int) -> int:
        """Return how many statements are kept of the operation after so many, also of one that was not reached yet."""
        first, part = self._first
        return max(self.part, part) if operations == first else self.part

    def begin_again(self) -> None:
        """Note that what was not committed is rolled back, and that the body is run again from its place."""
        self._stray = self._written = self._lost = self._part = False
        self._pending = 0
        self.ending = self.in_flight = self.sent = self.suspect = False
        self.autocommit = self._always_autocommit

    @property
    def has_lost_its_place(self) -> bool:
        """Whether a commit now would keep something that no number of operations describes."""
        return self._stray or self._lost or self.astray

    def ends_transaction(self, statement: str) -> bool:
        """Return whether the engine commits before it looks at ``statement``."""
        return not self.transactional and (self.autocommit or self.adapter.commits_implicitly(statement))

    def keeps(self, statement: str) -> bool:
        """Return whether the database keeps what ``statement`` does, whatever becomes of the step's transaction."""
        return self.autocommit or self.ends_transaction(statement)

    def committing(self, operations: int) -> None:
        """Note that everything so far is committed now, while ``operations`` have ended."""
        self.keep_pending()
        if self._stray or self._lost:
            self.go_astray()
        elif self.place is not None and not self._part:
            self.place = operations
        self._part = self._part or self._written
        self._stray = self._written = False

    def statement_ended(self, *, in_operation: bool, committed: bool) -> None:
        """Note that the server has executed a statement that writes."""
        if not in_operation:
            self._stray = self._stray or not committed
            if committed:
                self.go_astray()
        elif committed:
            self._part = True
        else:
            self._written = True
            self._pending += 1

    def operation_ended(self, operations: int) -> Literal["open", "kept", "half"]:
        """Note that an operation has ended, and return what became of what it did.

        ``open``: it will be committed with the transaction; ``kept``: it is committed; ``half``: part of it is, so that
        the rest must be.
        """
        part, written = self._part or self.autocommit, self._written
        self._part = self._written = False
        self.part = self._pending = 0
        if part and self.place is not None:
            self.place = operations
            if self._lost:
                self.go_astray()
        return ("half" if written else "kept") if part else "open"

    def go_astray(self) -> None:
        """Note that something is committed that no number of operations describes."""
        self.place = None
        self.astray = True

    def lost(self) -> None:
        """Note that the body went on after an operation that failed: a commit from now on has no known place."""
        self._lost = True

    def failed(self) -> None:
        """Note the failure: part of an operation may be committed."""
        if self._part:
            self.place = None
