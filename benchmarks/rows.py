"""The rows of the table of speed: what each side runs, how it is measured, and what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .measures import Measure

Peer = Literal["flask-migrate", "alembic", "flask-alembic", "alembic-offline", "no extension"]
Env = Literal["own", "foreign"]
Start = Literal["none", "empty", "head", "stamped"]
"""The database: not looked at, made anew for each run, at head, or with nothing but the version table at head."""

DATA = ("data",)
"""Stands for a call of ``get_migrations_data``, which is no command."""
LISTED = {1000: 1.7, 5000: 4.0}
NO_SLOWER = {1000: 1.0, 5000: 1.0}


@dataclass(frozen=True)
class Row:
    """One row: what each side runs, how it is measured, and what is asked for, by number of revisions.

    ``asked`` is the least ratio theirs / ours, ``limit`` the most that ours may take. ``tells_head``: both must print
    the id of the head, or the peer does another job. ``peer_up_to``: beyond, the peer would take hours, and ours is
    measured alone.
    """

    job: str
    peer: Peer
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    asked: Mapping[int, float] = field(default_factory=dict)
    limit: Mapping[int, float] = field(default_factory=dict)
    measure: Measure = "instructions"
    shape: str = "linear"
    env: Env = "own"
    start: Start = "none"
    engine: str = "sqlite"
    models: bool = False
    tells_head: bool = False
    peer_up_to: int = 1_000_000


def _listed(job: str, words: str, *, theirs: str = "", tells_head: bool = False) -> Row:
    ours = ("db", *words.split())
    return Row(job, "flask-migrate", ours, ("db", *theirs.split()) if theirs else ours, LISTED, tells_head=tells_head)


def _at_head(words: str, env: Env, few: float, many: float, *, theirs: str = "") -> Row:
    job = f"{'upgrade with nothing to do' if words == 'upgrade' else words}, {env} env.py"
    asked = {1000: few, 5000: many}
    return Row(job, "flask-migrate", ("db", words), ("db", theirs or words), asked, env=env, start="head")


def _from_empty(engine: str, title: str, few: float, many: float) -> Row:
    job, asked, words = f"upgrade from empty, {title}", {1000: few, 5000: many}, ("db", "upgrade")
    return Row(job, "flask-migrate", words, words, asked, measure="wall", start="empty", engine=engine)


def _compared(words: str) -> Row:
    own = ("db", words)
    return Row(words, "flask-migrate", own, own, NO_SLOWER, measure="cpu", start="head", models=True)


ROWS: tuple[Row, ...] = (
    Row("flask --help", "no extension", ("--help",), ("--help",), {1000: 1 / 1.01, 5000: 1 / 1.01}),
    _listed("heads", "heads", tells_head=True),
    _listed("history", "history", tells_head=True),
    _listed("branches", "branches"),
    _listed("show", "show head", tells_head=True),
    _listed("graph, against heads", "graph", theirs="heads", tells_head=True),
    _listed("status without a database, against heads", "status", theirs="heads", tells_head=True),
    Row("heads", "alembic", ("db", "heads"), ("heads",), tells_head=True),
    Row("heads", "flask-alembic", ("db", "heads"), ("db", "heads"), tells_head=True),
    _at_head("current", "own", 1.7, 20.0),
    _at_head("status", "own", 1.7, 4.0, theirs="current"),
    _at_head("upgrade", "own", 1.7, 4.0),
    _at_head("current", "foreign", 1.25, 2.5),
    _at_head("status", "foreign", 1.25, 2.5, theirs="current"),
    _at_head("upgrade", "foreign", 1.25, 2.5),
    Row("history", "flask-migrate", ("db", "history"), ("db", "history"), {1000: 1.2, 5000: 6}, {}, "cpu", "branched"),
    Row(
        "sql base:head",
        "flask-migrate",
        ("db", "sql", "base:head"),
        ("db", "upgrade", "--sql", "base:head"),
        {1000: 1.2, 5000: 2},
        measure="cpu",
        shape="branched",
    ),
    Row(
        "data of every revision",
        "alembic-offline",
        DATA,
        DATA,
        {1000: 300},
        {5000: 2.5},  # half a millisecond a revision
        measure="cpu",
        peer_up_to=1000,
    ),
    _compared("check"),
    _compared("migrate"),
    Row(
        "peak memory of heads",
        "flask-migrate",
        ("db", "heads"),
        ("db", "heads"),
        limit={1000: 53, 5000: 57},
        measure="memory",
    ),
    _from_empty("sqlite", "SQLite on disk", 2.0, 1.5),
    _from_empty("postgresql", "PostgreSQL", 1.0, 1.0),
    _from_empty("mysql", "MariaDB", 1.0, 1.0),
)


@dataclass(frozen=True)
class Growth:
    """A command whose time is compared between two lengths of history. ``body`` is that of the revisions."""

    words: tuple[str, ...]
    start: Start = "none"
    body: str = "mixed"
    shapes: tuple[str, ...] = ("linear", "branched")

    @property
    def job(self) -> str:
        """What it is called in the table."""
        return f"growth of {' '.join(self.words)}" + (" at head" if self.start == "stamped" else "")


MOST_GROWTH = 1.1
"""The exponent that is asked for: time is proportional to this power of the number of revisions, at the most."""
_UNTOUCHED = ("heads", "history", "show head", "branches", "graph", "status", "current", "upgrade --plan")
_EXPORTED = ("sql base:head", "sql --split parts base:head", "sql --phase before-deploy base:head", "sql head:base")
_STAMPED = ("status", "current", "upgrade", "ready", "journal", "check", "lint", "stamp head", "downgrade --plan base")
GROWTHS: tuple[Growth, ...] = (
    *(Growth(tuple(words.split())) for words in (*_UNTOUCHED, *_EXPORTED)),
    Growth(DATA),
    *(Growth(tuple(words.split()), "stamped") for words in _STAMPED),
    # Every rule on every step; and steps in which the database has nothing to do: SQLite's own ALTER TABLE takes
    # time in proportion to the number of tables.
    Growth(("lint", "--all")),
    Growth(("upgrade",), "empty", "select"),
    Growth(("downgrade", "base"), "stamped", "select"),
)
