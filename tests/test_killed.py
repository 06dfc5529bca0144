"""A runner killed anywhere: the next run goes on to the state of a run never killed, or asks a person.

Each history is run once in peace. Then it is run again and again from the empty database, killed each time one
event later (see :mod:`killing`), and the killed command is typed again. Where that ends with 4, each form of
``flask db resolve`` is tried, after the work by hand that the message asks for. What the next run does depends on
what the killed one left in the database, so it is run once for each different thing left.
"""

from __future__ import annotations

import itertools
import os
import re
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from killing import Killer, Ran, killer
from support import Site, fresh_database, make_site

FORMS = ("resume", "restart", "mark-done")
KILLED = -9


# -- what a revision does, and the same by hand -------------------------------------------------------


class Hand:
    """A person at the database: looks, does and undoes by hand. ``op`` are Alembic's operations, committed at once."""

    def __init__(self, connection: sa.Connection, runs: Path) -> None:
        self.connection = connection
        self.op: Any = Operations(MigrationContext.configure(connection))
        self.runs = runs

    def value(self, statement: str) -> Any:
        """Return the first value of the first row."""
        return self.connection.execute(sa.text(statement)).scalar()

    @property
    def look(self) -> sa.Inspector:
        """What the schema is now."""
        return sa.inspect(self.connection)


@dataclass(frozen=True)
class Statement:
    """One statement of a body: a word of it, whether it is done, and how a person does and undoes it."""

    word: str
    seen: Callable[[Hand], bool]
    do: Callable[[Hand], object]
    undo: Callable[[Hand], object]


@dataclass(frozen=True)
class Operation:
    """Lines of a body and the statements that they send, in order."""

    lines: str
    statements: tuple[Statement, ...]


def creates_table(name: str, *, indexed: bool = False) -> Operation:
    """A table of ``id`` and ``name``; with an index it is two statements."""

    def columns(*, index: bool = False) -> list[Any]:
        return [sa.Column("id", sa.Integer), sa.Column("name", sa.String(40), index=index)]

    made = Statement(
        f"CREATE TABLE {name}",
        lambda at: at.look.has_table(name),
        lambda at: at.op.create_table(name, *columns()),
        lambda at: at.op.drop_table(name),
    )
    line = f'op.create_table("{name}", sa.Column("id", sa.Integer), sa.Column("name", sa.String(40), index={indexed}))'
    return Operation(line, (made, index_of(f"ix_{name}_name", name)) if indexed else (made,))


def index_of(index: str, table: str) -> Statement:
    """An index on ``name``."""

    def seen(at: Hand) -> bool:
        return at.look.has_table(table) and index in {found["name"] for found in at.look.get_indexes(table)}

    return Statement(
        index,
        seen,
        lambda at: at.op.create_index(index, table, ["name"]),
        lambda at: at.op.drop_index(index, table),
    )


def creates_index(table: str, number: int) -> Operation:
    """An index as raw SQL."""
    index = f"ix_raw_{number}"
    return Operation(f'op.execute("CREATE INDEX {index} ON {table} (name)")', (index_of(index, table),))


def adds_column(table: str, column: str) -> Operation:
    """A column."""

    def seen(at: Hand) -> bool:
        return column in {found["name"] for found in at.look.get_columns(table)}

    added = Statement(
        f"ADD COLUMN {column}",
        seen,
        lambda at: at.op.add_column(table, sa.Column(column, sa.Integer)),
        lambda at: at.op.drop_column(table, column),
    )
    return Operation(f'op.add_column("{table}", sa.Column("{column}", sa.Integer))', (added,))


def widens(table: str) -> Operation:
    """A longer type for ``name``, in a batch block: SQLite copies the table for it."""

    def resize(at: Hand, old: int, new: int) -> None:
        with at.op.batch_alter_table(table) as batch:
            batch.alter_column("name", existing_type=sa.String(old), type_=sa.String(new))

    def seen(at: Hand) -> bool:
        (found,) = (column["type"] for column in at.look.get_columns(table) if column["name"] == "name")
        return bool(found.length == 80)

    lines = (
        f'with op.batch_alter_table("{table}") as batch:\n'
        '    batch.alter_column("name", existing_type=sa.String(40), type_=sa.String(80))'
    )
    return Operation(
        lines, (Statement("VARCHAR(80)", seen, lambda at: resize(at, 40, 80), lambda at: resize(at, 80, 40)),)
    )


def creates_counters() -> Operation:
    """The rows that :func:`counts` counts in."""
    made = Statement(
        "CREATE TABLE counter",
        lambda at: at.look.has_table("counter"),
        lambda at: at.op.create_table("counter", sa.Column("id", sa.Integer), sa.Column("n", sa.Integer)),
        lambda at: at.op.drop_table("counter"),
    )
    return Operation('op.create_table("counter", sa.Column("id", sa.Integer), sa.Column("n", sa.Integer))', (made,))


def seeds_counters() -> Operation:
    """Rows 1 to 20, all 0, by ``bulk_insert``; a second time they would be there twice."""
    table = sa.table("counter", sa.column("id", sa.Integer), sa.column("n", sa.Integer))
    rows = [{"id": number, "n": 0} for number in range(1, 21)]
    seeded = Statement(
        "INSERT INTO counter",
        lambda at: at.value("SELECT count(*) FROM counter") == 20,
        lambda at: at.op.bulk_insert(table, rows),
        lambda at: at.op.execute("DELETE FROM counter"),
    )
    described = 'sa.table("counter", sa.column("id", sa.Integer), sa.column("n", sa.Integer))'
    return Operation(f'op.bulk_insert({described}, [{{"id": number, "n": 0}} for number in range(1, 21)])', (seeded,))


def counts(row: int) -> Operation:
    """A statement that is not harmless twice: afterwards the row says how often it ran."""
    statement = f"UPDATE counter SET n = n + 1 WHERE id = {row}"
    counted = Statement(
        statement,
        lambda at: at.value(f"SELECT n FROM counter WHERE id = {row}") == 1,
        lambda at: at.op.execute(statement),
        lambda at: at.op.execute(f"UPDATE counter SET n = n - 1 WHERE id = {row}"),
    )
    return Operation(f'op.execute("{statement}")', (counted,))


def runs_script(word: str) -> Operation:
    """A program that appends a line to a file; the lines say how often it ran."""

    def lines(at: Hand) -> list[str]:
        return at.runs.read_text().splitlines() if at.runs.exists() else []

    def change(at: Hand, found: list[str]) -> None:
        at.runs.write_text("".join(f"{line}\n" for line in found))

    ran = Statement(
        "scripts/run.sh",
        lambda at: word in lines(at),
        lambda at: change(at, [*lines(at), word]),
        lambda at: change(at, [line for line in lines(at) if line != word]),
    )
    return Operation(f'op.execute_script("scripts/run.sh", args=("{word}",))', (ran,))


def in_autocommit(*operations: Operation) -> list[Operation]:
    """The operations in an autocommit block."""
    first, *rest = operations
    opened = replace(first, lines="with op.get_context().autocommit_block():\n" + _indented(first.lines))
    return [opened, *(replace(item, lines=_indented(item.lines)) for item in rest)]


def index_concurrently(kind: str, table: str) -> Operation:
    """An index, made without a lock where the engine can."""
    option = ", postgresql_concurrently=True" if kind == "postgresql" else ""
    index = f"ix_{table}_late"
    return Operation(f'op.create_index("{index}", "{table}", ["name"]{option})', (index_of(index, table),))


def _indented(lines: str) -> str:
    return textwrap.indent(lines, "    ")


# -- histories ----------------------------------------------------------------------------------------

BEFORE, AFTER, FINAL = ("before-deploy", "after-deploy", "final")
Bodies = Mapping[str, list[Operation]]


@dataclass(frozen=True)
class Revision:
    """A revision: its form and the operations of each phase."""

    form: str
    bodies: Bodies
    independent_of: str | None = None

    def text(self) -> str:
        """Return the text of the revision file after its head."""
        return f"independent_of = {self.independent_of or ()!r}\n\n" + self._functions()

    def _functions(self) -> str:
        blocks = {phase: "\n".join(_indented(item.lines) for item in body) for phase, body in self.bodies.items()}
        if self.form == "generator":
            names = ", ".join(f'"{phase}"' for phase in blocks)
            return f"@phased({names})\ndef upgrade():\n" + "\n    yield\n".join(blocks.values()) + "\n"
        if self.form == "unphased":
            ((phase, block),) = blocks.items()
            return f'phase = "{phase}"\n\ndef upgrade():\n{block}\n'
        parts = []
        for number, (phase, block) in enumerate(blocks.items()):
            parts.append(f'@upgrade.phase("{phase}")' if number else f'@phased("{phase}")')
            parts.append(f"def upgrade{number or ''}():\n{block}\n")
        return "\n".join(parts)


@dataclass(frozen=True)
class History:
    """Revisions, oldest first, named ``1``, ``2``, ...; and the commands that run them."""

    revisions: tuple[Revision, ...]
    commands: tuple[tuple[str, ...], ...] = (("upgrade",),)

    def operations(self, revision: str, phase: str) -> list[Operation]:
        """Return a step's operations."""
        return self.revisions[int(revision) - 1].bodies[phase]

    def statements(self, revision: str, phase: str, *, operations: int | None = None) -> list[Statement]:
        """Return a step's statements, or those of its first operations."""
        return [item for operation in self.operations(revision, phase)[:operations] for item in operation.statements]


def one_step(*operations: Operation) -> Revision:
    """A revision of one step."""
    return Revision("unphased", {BEFORE: list(operations)})


def histories(kind: str) -> dict[str, History]:
    """Return the histories by name."""
    start = (creates_counters(), seeds_counters())
    in_phases = (
        Revision("functions", {BEFORE: [*start], AFTER: [counts(1), creates_table("b")], FINAL: [counts(2)]}),
        Revision(
            "generator",
            {BEFORE: [creates_table("c")], AFTER: [counts(3)], FINAL: [creates_index("c", 1), counts(4)]},
            independent_of="1",
        ),
    )
    autocommit = (
        counts(1),
        *in_autocommit(index_concurrently(kind, "b"), counts(2)),
        counts(3),
        adds_column("b", "x"),
        *in_autocommit(adds_column("b", "y"), counts(4)),
        counts(5),
    )
    schema = (creates_table("a", indexed=True), adds_column("a", "x"), widens("a"), creates_index("a", 1))
    data = (*start, counts(1), creates_table("b"), counts(2), counts(3), creates_index("b", 1), counts(4))
    scripts = (*start, counts(1), runs_script("one"), runs_script("two"), counts(2))
    return {
        "schema": History((one_step(*schema),)),
        "data": History((one_step(*data),)),
        "autocommit": History((one_step(*start, creates_table("b"), *autocommit),)),
        "scripts": History((one_step(*scripts), one_step(*in_autocommit(counts(3)), runs_script("three")))),
        "plain": History(in_phases),
        "phases": History(in_phases, (("upgrade", "--phase", BEFORE), ("upgrade", "--phase", FINAL, "--through"))),
    }


# -- what is left -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Left:
    """Everything that a run leaves: compared whole. ``journal``: (id, revision, phase, operation, status)."""

    tables: Mapping[str, Any]
    ledger: tuple[tuple[Any, ...], ...]
    journal: tuple[tuple[Any, ...], ...]
    scripts: tuple[str, ...]


def describe_table(connection: sa.Connection, inspector: sa.Inspector, name: str) -> tuple[Any, ...]:
    """Return a table's columns, indexes and rows."""
    columns = [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)]
    indexes = sorted((index["name"], index["column_names"]) for index in inspector.get_indexes(name))
    rows = connection.execute(sa.text(f"SELECT * FROM {name} ORDER BY 1"))
    return columns, indexes, [tuple(row) for row in rows]


@dataclass
class Scene:
    """A database and a project in which a history is run, killed and mended."""

    kind: str
    site: Site
    history: History
    killer: Killer
    engine: sa.Engine
    seen: set[tuple[int, str]] = field(default_factory=set)

    @property
    def runs(self) -> Path:
        """The file that scripts append to."""
        return self.site.migrations / "runs.txt"

    def begin_anew(self) -> None:
        """Empty the database."""
        self.runs.unlink(missing_ok=True)
        with self.engine.begin() as connection:
            found = sa.MetaData()
            found.reflect(connection)
            found.drop_all(connection)

    def run(self, number: int, *, kill_at: int | None = None) -> Ran:
        """Run the commands up to ``number`` on an empty database; kill the last one at an event."""
        self.begin_anew()
        return self._run([*self.history.commands[: number + 1]], kill_at)

    def again(self, *command: str) -> Ran:
        """Type one command."""
        return self._run([command], None)

    def _run(self, commands: list[tuple[str, ...]], kill_at: int | None) -> Ran:
        ran = self.killer.run(self.site.folder, [("db", *command) for command in commands], kill_at=kill_at)
        self._wait_for_sessions()
        return ran

    def _wait_for_sessions(self) -> None:
        """Wait until the server has noticed that its client is gone."""
        sessions = {
            "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
            "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database() "
            "AND id <> connection_id()",
        }
        if self.kind in sessions:
            # A transaction on PostgreSQL would see the same sessions all the time.
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                deadline = time.monotonic() + 30
                while connection.scalar(sa.text(sessions[self.kind])):
                    assert time.monotonic() < deadline, "a session of a killed process did not end"
                    time.sleep(0.002)

    def left(self) -> Left:
        """Return what the database and the scripts' file hold."""
        with self.engine.begin() as connection:
            inspector = sa.inspect(connection)
            names = sorted(inspector.get_table_names())

            def rows(table: str, columns: str) -> tuple[tuple[Any, ...], ...]:
                if table not in names:
                    return ()
                found = connection.execute(sa.text(f"SELECT {columns} FROM {table} ORDER BY 1, 2"))
                return tuple(tuple(row) for row in found)

            return Left(
                {
                    name: describe_table(connection, inspector, name)
                    for name in names
                    if name not in ("alembic_version_phase", "alembic_version_journal")
                },
                rows("alembic_version_phase", "revision, phase, status, statement, statements, checksum"),
                rows("alembic_version_journal", "id, revision, phase, operation, status"),
                tuple(self.runs.read_text().splitlines()) if self.runs.exists() else (),
            )

    # -- by hand ----------------------------------------------------------------------------------

    def make(self, revision: str, phase: str, wanted: int) -> None:
        """Do and undo by hand until just the first ``wanted`` statements of a step are done."""
        statements = self.history.statements(revision, phase)
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            hand = Hand(connection, self.runs)
            done = count_done(hand, statements)
            for statement in reversed(statements[wanted:done]):
                statement.undo(hand)
            for statement in statements[done:wanted]:
                statement.do(hand)

    def doubtful(self, revision: str, phase: str) -> list[str]:
        """Return words of the statements that may be the one at which a step stopped.

        It is the last that is done or the first that is not.
        """
        statements = self.history.statements(revision, phase)
        with self.engine.begin() as connection:
            done = count_done(Hand(connection, self.runs), statements)
        return [statement.word for statement in statements[max(done - 1, 0) : done + 1]]


def count_done(hand: Hand, statements: Sequence[Statement]) -> int:
    """Return how many of the statements are done; they are done in order."""
    return sum(1 for _ in itertools.takewhile(lambda statement: statement.seen(hand), statements))


# -- the promise --------------------------------------------------------------------------------------


def differences(found: Left, expected: Left, *, by_hand: tuple[str, str] | None = None) -> list[str]:
    """Return in what ``found`` differs from a run never killed.

    The journal may tell of an interruption and of what followed it, but in the end each step is done.

    :param by_hand: the step that a person finished.
    """
    problems = [
        f"{name} is {found.tables.get(name)}, not {expected.tables.get(name)}"
        for name in sorted({*found.tables, *expected.tables})
        if found.tables.get(name) != expected.tables.get(name)
    ]
    if [row[:3] for row in found.ledger] != [row[:3] for row in expected.ledger]:
        problems.append(f"ledger is {found.ledger}, not {expected.ledger}")
    if found.scripts != expected.scripts:
        problems.append(f"scripts ran {found.scripts}, not {expected.scripts}")
    for step in sorted({row[1:3] for row in (*found.journal, *expected.journal)}):
        # A script that succeeded has a row of its own, which tells of nothing else.
        rows = [row[3:] for row in found.journal if row[1:3] == step and row[3:] != ("script", "done")]
        last = {("skip", "done")} if step == by_hand else {("upgrade", "done"), ("resume", "done")}
        before = {("upgrade", "interrupted"), ("resume", "interrupted"), ("resume", "done")}
        if not rows or rows[-1] not in last or not set(rows[:-1]) <= before:
            problems.append(f"journal of {' '.join(step)}: {rows}")
    return problems


NAMED = re.compile(r"flask db resolve (\w+) ([\w-]+)")
PASSED_OVER = re.compile(r"first (\d+) (operation|statement)")


def continue_killed(scene: Scene, number: int, kill_at: int, expected: Left) -> Iterator[str]:
    """Type the killed command again and follow what it says; give what is wrong with where that leads."""
    command = scene.history.commands[number]
    killed = scene.left()
    if (number, repr(killed)) in scene.seen:
        return
    scene.seen.add((number, repr(killed)))
    ran = scene.again(*command)
    if ran.status == 0:
        yield from (f"again: {problem}" for problem in differences(scene.left(), expected))
        return
    named = NAMED.search(ran.output)
    if ran.status != 4 or named is None:
        yield f"again: status {ran.status}: {ran.output}"
        return
    if replace(scene.left(), journal=killed.journal) != killed:
        yield f"a refused run changed the database: {scene.left()}, before {killed}"
    step = (named[1], named[2])
    if not any(word in ran.output for word in scene.doubtful(*step)):
        yield f"none of the statements {scene.doubtful(*step)} is named: {ran.output}"
    for form in FORMS:
        if form != FORMS[0]:
            scene.run(number, kill_at=kill_at)
        yield from (f"--{form}: {problem}" for problem in resolve(scene, step, form, command, ran, expected))


def resolve(
    scene: Scene, step: tuple[str, str], form: str, command: tuple[str, ...], refused: Ran, expected: Left
) -> Iterator[str]:
    """Do by hand what the message asks for, then resolve and go on; give what is wrong with where that leads."""
    if form == "resume":
        told = PASSED_OVER.search(refused.output)
        if told is None:
            yield f"does not say what it passes over: {refused.output}"
            return
        passed = int(told[1])
        if told[2] == "operation":
            passed = len(scene.history.statements(*step, operations=passed))
        scene.make(*step, passed)
    else:
        scene.make(*step, 0 if form == "restart" else len(scene.history.statements(*step)))
    resolved = scene.again("resolve", *step, f"--{form}", "--reason", "looked at it")
    if resolved.status:
        yield f"resolve: status {resolved.status}: {resolved.output}"
        return
    ran = scene.again(*command)
    if ran.status:
        yield f"status {ran.status}: {ran.output}"
        return
    yield from differences(scene.left(), expected, by_hand=step if form == "mark-done" else None)


@pytest.fixture(scope="module")
def commands() -> Iterator[Killer]:
    with killer() as found:
        yield found


@contextmanager
def engine_of(kind: str, folder: Path) -> Iterator[sa.Engine]:
    """Give an engine on a new empty database, for the test's own use."""
    with fresh_database(kind, folder) as url:
        # Prepared statements of psycopg 3 end when a table changes.
        unprepared = {"prepare_threshold": None} if sa.make_url(url).get_driver_name() == "psycopg" else {}
        engine = sa.create_engine(url, poolclass=sa.NullPool if kind == "sqlite" else None, connect_args=unprepared)
        try:
            yield engine
        finally:
            engine.dispose()


@pytest.mark.parametrize("name", list(histories("sqlite")))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_a_run_killed_anywhere_goes_on_or_asks(kind: str, name: str, commands: Killer, tmp_path: Path) -> None:
    # SQLite waits for the disk at every commit; a file system in memory does not make it.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, engine_of(kind, Path(folder)) as engine:
        url = engine.url.render_as_string(hide_password=False)
        scene = Scene(kind, make_site(tmp_path / "site", url), histories(kind)[name], commands, engine)
        write_history(scene.site, scene.history)
        problems = []
        for number, command in enumerate(scene.history.commands):
            reference = scene.run(number)
            assert reference.status == 0, reference.output
            expected = scene.left()
            assert differences(expected, expected) == []
            for kill_at, event in enumerate(reference.events):
                ran = scene.run(number, kill_at=kill_at)
                assert (ran.status, ran.events) == (KILLED, reference.events[: kill_at + 1])
                where = f"{' '.join(command)}, killed {event} ({kill_at})"
                problems += [f"{where}: {text}" for text in continue_killed(scene, number, kill_at, expected)]
        assert not problems, "\n".join(problems)


def write_history(site: Site, history: History) -> None:
    """Write the revision files and the script."""
    site.write("migrations/scripts/run.sh", 'echo "$1" >> runs.txt\n')
    for number, revision in enumerate(history.revisions, 1):
        site.revision(str(number), str(number - 1) if number > 1 else None, revision.text())
