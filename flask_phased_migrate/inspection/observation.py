"""What a body was seen to do, in order: the operations themselves, with where and how they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..assurances import Assurance


@dataclass(frozen=True)
class Seen:
    """One thing that a body did.

    ``kind`` is ``operation``; ``table``, where ``what`` is a table that is made; ``copy``, where a batch copies the
    table that ``what`` names as (name, schema); ``read``, where the body asks the database; ``error``, where it could
    not be gone through to its end, which ``what`` says why. What ``is_direct`` was sent to the bind, past the
    operations. ``line`` is of the revision file. ``transaction`` counts
    from 1 the transactions of the step; in an ``autocommit`` block each statement is one of its own.
    """

    kind: Literal["operation", "table", "copy", "read", "error"]
    what: Any = None
    line: int | None = None
    transaction: int = 1
    autocommit: bool = False
    in_batch: bool = False
    assurances: tuple[Assurance, ...] = ()
    is_direct: bool = False


@dataclass(frozen=True)
class Observation:
    """All that one body did."""

    seen: tuple[Seen, ...] = ()
