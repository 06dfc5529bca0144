"""The law: however a revision graph reaches a database, it leaves the same schema, data and records.

A random graph of revisions is run by plain ``upgrade``; by ``upgrade --phase`` for each phase in turn; by the
SQL of each phase in turn, and by the SQL of everything, both executed by the engine's own client; and by some phases
online and the others by SQL, up to a revision in the middle or to the end. SQL that was run already is refused.

Where revisions get into each other's way, a phase is refused instead, and a plain ``upgrade`` goes on from there
to the same end.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import event, example, given
from hypothesis import strategies as st
from support import HEADER, TEMPLATE, connect, database_of_many_runs, drop_tables, make_site, repeatable, run_client

from flask_phased_migrate.errors import Refused
from flask_phased_migrate.offline.text import render_sql

EXAMPLES = {"sqlite": 40, "postgresql": 16, "mysql": 16}
CROWDED_EXAMPLES = {"sqlite": 100, "postgresql": 40, "mysql": 40}
PHASES = (
    ("before-deploy after-deploy final", "before-deploy"),
    ("one two three four", "two"),
)
TEXTS = (
    "plain",
    "it's 100%; -- no comment",
    "a\ttab and a\nline",
    "-- PHASE::final::;",
    ":name %(x)s %s {y}",
    "back\\slash",
    "naïve 😀",
    "",
)
SQL_TEXTS = ("100%", "a\ttab", "semi; colon", "-- SCRIPT::x::;")
FORMS = ("functions", "functions", "generator", "bare generator", "unphased")


@dataclass
class Written:
    """A revision as it is drawn: its place in the graph and the lines of each phase."""

    id: str
    down: tuple[str, ...]
    depends_on: tuple[str, ...]
    form: str
    own_phase: str | None
    lines: Mapping[str, list[str]]

    def text(self, phases: tuple[str, ...]) -> str:
        """Return the revision's file."""
        down = self.down if len(self.down) > 1 else self.down[0] if self.down else None
        head = HEADER.format(
            message=self.id, revision=self.id, down=down, labels=None, depends_on=self.depends_on or None
        )
        return head + getattr(self, f"_{self.form.replace(' ', '_')}")(phases)

    def _functions(self, _phases: tuple[str, ...]) -> str:
        parts = []
        for number, (phase, lines) in enumerate(self.lines.items()):
            decorator = f'@phased("{phase}")' if number == 0 else f'@upgrade.phase("{phase}")'
            name = "upgrade" if number == 0 else f"upgrade_{number}"
            parts.append(f"{decorator}\ndef {name}():\n" + _block(lines))
        return "\n".join(parts)

    def _generator(self, _phases: tuple[str, ...]) -> str:
        names = ", ".join(f'"{phase}"' for phase in self.lines)
        return f"@phased({names})\ndef upgrade():\n" + "    yield\n".join(
            _block(lines) for lines in self.lines.values()
        )

    def _bare_generator(self, phases: tuple[str, ...]) -> str:
        return "@phased\ndef upgrade():\n" + "    yield\n".join(_block(self.lines.get(phase, [])) for phase in phases)

    def _unphased(self, _phases: tuple[str, ...]) -> str:
        own = f'phase = "{self.own_phase}"\n' if self.own_phase else ""
        return own + "def upgrade():\n" + _block([line for lines in self.lines.values() for line in lines])


def _block(lines: list[str]) -> str:
    return textwrap.indent("\n".join(lines) or "pass", "    ") + "\n"


@dataclass
class Known:
    """What the drawing must remember so that no step gets into the way of another, and nothing is ever refused.

    ``tables`` are the phases at which each table was last touched: a step may touch a table only where
    nothing pending of an earlier revision still has to (the rule of overtaking).
    """

    tables: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    columns: int = 0


@st.composite
def histories(draw: st.DrawFn) -> tuple[tuple[str, str], list[Written]]:
    """Draw the configured phases (names, boundary) and a graph of one to seven revisions."""
    configured = draw(st.sampled_from(PHASES))
    phases = tuple(configured[0].split())
    count = draw(st.integers(1, 7))
    ids = draw(st.permutations([f"{letter}{number}" for number, letter in enumerate("fbgadce")]))[:count]
    known, above, drawn, heads = Known(), {}, [], []
    for id_ in ids:
        down, depends_on = _draw_parents(draw, list(above), heads, above)
        above[id_] = set(down + depends_on).union(*(above[name] for name in down + depends_on))
        heads = [name for name in heads if name not in down] + [id_]
        drawn.append(_draw_revision(draw, id_, down, depends_on, above[id_], phases, known))
    return configured, drawn


def _draw_parents(
    draw: st.DrawFn, earlier: list[str], heads: list[str], above: dict[str, set[str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not earlier:
        return (), ()
    shape = draw(st.sampled_from(["line", "branch", "merge", "merge", "base"]))
    if shape == "merge":
        down = tuple(heads[:3])
    else:
        down = {"line": (earlier[-1],), "branch": (draw(st.sampled_from(earlier)),), "base": ()}[shape]
    covered = set(down).union(*(above[name] for name in down)) if down else set()
    others = [name for name in earlier if name not in covered]
    depends_on = tuple(draw(st.lists(st.sampled_from(others), max_size=2, unique=True))) if others else ()
    return down, depends_on


def _draw_revision(
    draw: st.DrawFn,
    id_: str,
    down: tuple[str, ...],
    depends_on: tuple[str, ...],
    ancestors: set[str],
    phases: tuple[str, ...],
    known: Known,
) -> Written:
    form = draw(st.sampled_from(FORMS))
    if form == "bare generator":
        chosen = phases
    elif form == "unphased":
        chosen = (draw(st.sampled_from(phases)),)
    else:
        found = draw(st.sets(st.sampled_from(phases), min_size=1))
        chosen = tuple(phase for phase in phases if phase in found)
        form = "functions" if form == "generator" and len(chosen) == 1 else form
    own = chosen[0] if form == "unphased" and (chosen[0] != phases[0] or draw(st.booleans())) else None
    rows: list[tuple[str, int]] = []
    lines = {
        phase: _draw_lines(draw, id_, {f"t_{name}" for name in ancestors}, phases.index(phase), known, rows)
        for phase in chosen
    }
    return Written(id_, down, depends_on, form, own, lines)


def _draw_lines(
    draw: st.DrawFn, id_: str, inherited: set[str], phase: int, known: Known, rows: list[tuple[str, int]]
) -> list[str]:
    lines = []
    own = f"t_{id_}"
    for _ in range(draw(st.integers(0, 3))):
        usable = sorted(name for name in {own, *inherited} if known.tables.get(name, 99) <= phase)
        if own not in known.tables:
            known.tables[own] = phase
            lines.append(_create(own, indexed=draw(st.booleans())))
            continue
        table = draw(st.sampled_from(usable))
        known.tables[table] = phase
        lines.append(_draw_change(draw, table, known, [row for name, row in rows if name == table], rows))
    return lines


def _draw_change(draw: st.DrawFn, table: str, known: Known, own_rows: list[int], rows: list[tuple[str, int]]) -> str:
    kinds = ["column", "batch column", "index", "rows", "sql row"] + (["update", "delete"] if own_rows else [])
    kind = draw(st.sampled_from(kinds))
    text = draw(st.sampled_from(TEXTS))
    described = f'sa.table("{table}", sa.column("id", sa.Integer), sa.column("name", sa.String))'
    if kind in ("column", "batch column", "index"):
        known.columns += 1
        column = f'sa.Column("c{known.columns}", sa.String(40), server_default={text[:8]!r})'
        if kind == "index":
            return f'op.create_index("ix_{known.columns}", "{table}", ["name"])'
        if kind == "column":
            return f'op.add_column("{table}", {column})'
        return f'with op.batch_alter_table("{table}") as batch:\n    batch.add_column({column})'
    if kind == "update":
        return f"op.execute(sa.update({described}).where(sa.column('id') == {own_rows[-1]}).values(name={text!r}))"
    if kind == "delete":
        rows.remove((table, own_rows[-1]))
        return f'op.execute("DELETE FROM {table} WHERE id = {own_rows[-1]}")'
    known.rows += 1
    rows.append((table, known.rows))
    if kind == "rows":
        return f'op.bulk_insert({described}, [{{"id": {known.rows}, "name": {text!r}}}])'
    statement = f"INSERT INTO {table} (id, name) VALUES ({known.rows}, '{draw(st.sampled_from(SQL_TEXTS))}')"
    return f"op.execute({statement!r})"


def _create(table: str, *, indexed: bool) -> str:
    return (
        f'op.create_table("{table}", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), '
        f'sa.Column("name", sa.String(80), index={indexed}))'
    )


def written(id_: str, down: tuple[str, ...], depends_on: tuple[str, ...], **lines: list[str]) -> Written:
    """Return a revision with a function for each of the first configured phases ``a``, ``b``, ``c``."""
    names = dict(zip("abc", PHASES[0][0].split(), strict=True))
    return Written(id_, down, depends_on, "functions", None, {names[key]: found for key, found in lines.items()})


# -- histories that get into their own way -----------------------------------------------------------


@dataclass
class Drawn:
    """What the tables are once everything drawn so far has run in the reference order.

    ``tables`` has for each table its columns, beside ``id``, with the name of an index or None; ``touched`` the
    revisions that have touched it: only who needs them all may do so too, for between others there is no order.
    """

    tables: dict[str, dict[str, str | None]] = field(default_factory=dict)
    touched: dict[str, set[str]] = field(default_factory=dict)
    count: int = 0

    def new(self, prefix: str) -> str:
        """Return a name, or number, that nothing has."""
        self.count += 1
        return f"{prefix}{self.count}"


@st.composite
def crowded_histories(draw: st.DrawFn) -> tuple[tuple[str, str], list[Written]]:
    """Draw the configured phases and a graph of two to six revisions that change the same few tables and columns."""
    configured = draw(st.sampled_from(PHASES))
    phases = tuple(configured[0].split())
    ids = draw(st.permutations([f"{letter}{number}" for number, letter in enumerate("fbgadc")]))
    ids = ids[: draw(st.integers(2, 6))]
    known, above, drawn, heads = Drawn(), {}, [], []
    for id_ in ids:
        down, depends_on = _draw_parents(draw, list(above), heads, above) if draw(st.booleans()) else (tuple(heads), ())
        above[id_] = set(down + depends_on).union(*(above[name] for name in down + depends_on))
        heads = [name for name in heads if name not in down] + [id_]
        drawn.append(_draw_crowded(draw, id_, down, depends_on, above[id_], phases, known))
    return configured, drawn


def _draw_crowded(
    draw: st.DrawFn,
    id_: str,
    down: tuple[str, ...],
    depends_on: tuple[str, ...],
    ancestors: set[str],
    phases: tuple[str, ...],
    known: Drawn,
) -> Written:
    form = draw(st.sampled_from(FORMS[:3] + FORMS[4:]))
    chosen = tuple(phase for phase in phases if draw(st.integers(0, 2)))
    chosen = chosen or phases[:1]
    if not known.tables or form == "unphased":
        chosen = phases[:1] if not known.tables else chosen[:1]
    form = "functions" if form == "generator" and len(chosen) == 1 else form
    own = chosen[0] if form == "unphased" else None
    lines: dict[str, list[str]] = {}
    for phase in chosen:
        lines[phase] = []
        if not known.tables:
            lines[phase] += [line for _ in range(3) for line in _new_table(id_, known)]
        for _ in range(draw(st.integers(0, 2))):
            lines[phase] += _draw_crowded_lines(draw, id_, ancestors, known)
    return Written(id_, down, depends_on, form, own, lines)


def _new_table(id_: str, known: Drawn) -> list[str]:
    """Return the lines that make a table of four columns with three rows."""
    name = known.new("t")
    known.tables[name] = dict.fromkeys("abcd")
    known.touched[name] = {id_}
    columns = ", ".join(f'sa.Column("{column}", sa.String(80), server_default="{column}")' for column in "abcd")
    rows = ", ".join(f"({number}, '{letter}{number}')" for number, letter in enumerate("xyz", start=1))
    return [
        f'op.create_table("{name}", sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), {columns})',
        f'op.execute("INSERT INTO {name} (id, a) VALUES {rows}")',
    ]


CROWDED_KINDS = (
    *("add", "sql add", "batch add", "set", "set", "sa set", "set from", "set where", "index", "drop", "batch drop"),
    *("sql drop", "rename", "batch rename", "default", "insert", "bulk", "delete", "drop index", "copy", "lookup"),
    *("create", "rename table"),
)


def _draw_crowded_lines(draw: st.DrawFn, id_: str, ancestors: set[str], known: Drawn) -> list[str]:
    usable = sorted(name for name, by in known.touched.items() if by <= {*ancestors, id_})
    kind = draw(st.sampled_from(CROWDED_KINDS))
    if kind == "create" or not usable:
        return _new_table(id_, known)
    table, other = draw(st.sampled_from(usable)), draw(st.sampled_from(usable))
    known.touched[table].add(id_)
    columns = known.tables[table]
    if kind in ("copy", "lookup") and known.tables[other] and columns:
        known.touched[other].add(id_)
        source, column = draw(st.sampled_from(sorted(known.tables[other]))), draw(st.sampled_from(sorted(columns)))
        return [_from_other(kind, table, column, other, source, known)]
    if kind == "rename table":
        name = known.new("t")
        known.tables[name], known.touched[name] = known.tables.pop(table), known.touched.pop(table)
        return [f'op.rename_table("{table}", "{name}")']
    if kind == "delete" or not columns:
        return [f'op.execute("DELETE FROM {table} WHERE id = {draw(st.integers(1, 3))}")']
    if kind in ("add", "sql add", "batch add", "insert", "bulk"):
        return [_adding(kind, table, draw(st.sampled_from(sorted(columns))), known)]
    return [_draw_column_change(draw, kind, table, known)]


def _from_other(kind: str, table: str, column: str, other: str, source: str, known: Drawn) -> str:
    if kind == "lookup":
        return f'op.execute("UPDATE {table} SET {column} = (SELECT max({other}.{source}) FROM {other})")'
    number = known.new("1") + "000"
    return f'op.execute("INSERT INTO {table} (id, {column}) SELECT id + {number}, {source} FROM {other}")'


def _adding(kind: str, table: str, column: str, known: Drawn) -> str:
    if kind in ("insert", "bulk"):
        number = known.new("9")
        if kind == "insert":
            return f"op.execute(\"INSERT INTO {table} (id, {column}) VALUES ({number}, 'new')\")"
        described = f'sa.table("{table}", sa.column("id", sa.Integer), sa.column("{column}", sa.String))'
        return f'op.bulk_insert({described}, [{{"id": {number}, "{column}": "bulk"}}])'
    name = known.new("c")
    known.tables[table][name] = None
    if kind == "sql add":
        return f"op.execute(\"ALTER TABLE {table} ADD COLUMN {name} VARCHAR(80) DEFAULT '{name}'\")"
    added = f'sa.Column("{name}", sa.String(80), server_default="{name}")'
    if kind == "add":
        return f'op.add_column("{table}", {added})'
    return f'with op.batch_alter_table("{table}") as batch:\n    batch.add_column({added})'


def _draw_column_change(draw: st.DrawFn, kind: str, table: str, known: Drawn) -> str:
    columns = known.tables[table]
    column, other = draw(st.sampled_from(sorted(columns))), draw(st.sampled_from(sorted(columns)))
    batch = f'with op.batch_alter_table("{table}") as batch:\n    '
    name = known.new("c")
    if columns[column] is None and kind == "index":
        columns[column] = f"ix_{name}"
        return f'op.create_index("ix_{name}", "{table}", ["{column}"])'
    if columns[column] is not None and kind in ("index", "drop index"):
        index, columns[column] = columns[column], None
        return f'op.drop_index("{index}", "{table}")'
    if columns[column] is None and kind in ("drop", "sql drop", "batch drop"):
        del columns[column]
        return {
            "drop": f'op.drop_column("{table}", "{column}")',
            "sql drop": f'op.execute("ALTER TABLE {table} DROP COLUMN {column}")',
            "batch drop": f'{batch}batch.drop_column("{column}")',
        }[kind]
    if columns[column] is None and kind in ("rename", "batch rename"):
        columns[name] = columns.pop(column)
        if kind == "rename":
            return f'op.execute("ALTER TABLE {table} RENAME COLUMN {column} TO {name}")'
        return f'{batch}batch.alter_column("{column}", new_column_name="{name}", existing_type=sa.String(80))'
    if kind == "default":
        return f'{batch}batch.alter_column("{column}", server_default="{name}", existing_type=sa.String(80))'
    if kind == "sa set":
        described = f'sa.table("{table}", sa.column("{column}", sa.String))'
        return f'op.execute(sa.update({described}).values({column}="{name}"))'
    if kind == "set from":
        return f'op.execute("UPDATE {table} SET {column} = upper({other})")'
    where = f" WHERE {other} = 'x1'" if kind == "set where" else ""
    return f"op.execute(\"UPDATE {table} SET {column} = '{name}'{where}\")"


# Plain Alembic cannot run this merge: KeyError, because one of the three heads depends on another.
KNOTTED = (
    PHASES[0],
    [
        written("r", (), (), a=[_create("t_r", indexed=True)], c=['op.execute("INSERT INTO t_r (id) VALUES (1)")']),
        written("z", ("r",), (), a=[_create("t_z", indexed=False)]),
        written("b", ("r",), ("z",), b=['op.execute("INSERT INTO t_z (id) VALUES (2)")']),
        written("c", ("r",), (), a=[], c=["op.execute(\"UPDATE t_r SET name = 'c'\")"]),
        written("m", ("z", "b", "c"), (), a=[]),
        written("other", (), (), a=[_create("t_other", indexed=False)], b=[]),
        written("last", ("m",), ("other",), c=['op.execute("INSERT INTO t_other (id) VALUES (3)")']),
    ],
)


# -- what a database holds ----------------------------------------------------------------------------


def snapshot(url: str) -> dict[str, Any]:
    """Return everything that the law is about: tables with columns, indexes and rows; version table; ledger."""
    with connect(url) as connection:
        inspector = sa.inspect(connection)
        names = sorted(set(inspector.get_table_names()) - {"alembic_version_journal"})
        found: dict[str, Any] = {"ledger": [], "version": []}
        for name in names:
            if name == "alembic_version_phase":
                query = "SELECT revision, phase, status, statement FROM alembic_version_phase"
                found["ledger"] = sorted(tuple(row) for row in connection.execute(sa.text(query)))
            elif name == "alembic_version":
                found["version"] = sorted(connection.scalars(sa.text("SELECT version_num FROM alembic_version")))
            else:
                found[name] = _table(connection, inspector, name)
        return found


def _table(connection: sa.Connection, inspector: sa.Inspector, name: str) -> dict[str, Any]:
    columns = {column["name"]: column for column in inspector.get_columns(name)}
    listed = ", ".join(sorted(columns))
    return {
        "columns": {key: (str(item["type"]), item["nullable"], item["default"]) for key, item in columns.items()},
        "key": inspector.get_pk_constraint(name)["constrained_columns"],
        "indexes": sorted((index["name"], index["column_names"]) for index in inspector.get_indexes(name)),
        "rows": [tuple(row) for row in connection.execute(sa.text(f"SELECT {listed} FROM {name} ORDER BY id"))],
    }


def journalled(url: str) -> list[tuple[str, str]]:
    """Return the (revision, phase) pairs of the journal, sorted: each step exactly once."""
    with connect(url) as connection:
        rows = connection.execute(sa.text("SELECT revision, phase FROM alembic_version_journal WHERE status = 'done'"))
        return sorted(tuple(row) for row in rows)


# -- the law ------------------------------------------------------------------------------------------


def write_folder(folder: Path, phases: tuple[str, ...], revisions: list[Written]) -> Path:
    """Write a migrations folder with these revisions; return it."""
    (folder / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        (folder / name).write_text((TEMPLATE / name).read_text())
    (folder / "alembic.ini").write_text((TEMPLATE / "alembic.ini.mako").read_text())
    for revision in revisions:
        (folder / "versions" / f"{revision.id}.py").write_text(revision.text(phases), encoding="utf-8")
    return folder


def execute(url: str, text: str) -> None:
    """Run SQL text by the client; fail with its words if it fails."""
    done = run_client(url, text)
    assert done.returncode == 0, f"{done.stderr}\n{text}"


@dataclass(frozen=True)
class Mixture:
    """Which phases are run by SQL, the others online, and how many of the revisions all phases run for at first."""

    offline: tuple[bool, ...]
    first: int
    read: bool

    def of(self, number: int) -> bool:
        """Return whether the phase of a number is run by SQL."""
        return self.offline[number % len(self.offline)]


mixtures = st.builds(
    Mixture,
    st.sampled_from([(True, False), (False, True), (True, True, False), (False, True, True, False), (True,)]),
    st.integers(0, 6),
    st.booleans(),
)


def assert_law(
    app: Any, url: str, folder: Path, configured: tuple[str, str], revisions: list[Written], mixture: Mixture | None
) -> None:
    """Run the revisions in the five ways and compare what each leaves."""
    names, boundary = configured
    phases = tuple(names.split())
    app.config.update(MIGRATE_PHASES=names, MIGRATE_BOUNDARY=boundary)
    migrate = app.extensions["migrate"].migrate
    directory = str(write_folder(folder, phases, revisions))

    def text(phase: str | None, target: str = "heads") -> str:
        (statements,) = migrate.export(directory, target, phase=phase).values()
        return render_sql(statements)

    drop_tables(url)
    migrate.upgrade(directory, "heads")
    whole, steps = snapshot(url), journalled(url)

    drop_tables(url)
    by_phase = []
    for phase in phases:
        migrate.upgrade(directory, "heads", phase=phase)
        by_phase.append(snapshot(url))
    assert (by_phase[-1], journalled(url)) == (whole, steps)

    drop_tables(url)
    for phase, expected in zip(phases, by_phase, strict=True):
        execute(url, text(phase))
        assert snapshot(url) == expected
    assert journalled(url) == steps

    drop_tables(url)
    execute(url, text(None))
    assert snapshot(url) == whole

    if mixture is None:
        return
    drop_tables(url)
    targets = ["heads"]
    if 0 < mixture.first < len(revisions):
        targets.insert(0, revisions[mixture.first - 1].id)
    for target in targets:
        for number, phase in enumerate(phases):
            if not mixture.of(number):
                migrate.upgrade(directory, target, phase=phase)
                continue
            # What a database is at is known to whoever wrote the range; else it is read.
            start = "current" if mixture.read or target != targets[0] else "base"
            sql = text(phase, f"{start}:{target}")
            execute(url, sql)
            if not mixture.read and "-- The next statement fails unless" in sql:
                before = snapshot(url)
                assert run_client(url, sql).returncode != 0
                assert snapshot(url) == before
            expected = by_phase[number] if targets == ["heads"] else None
            assert expected is None or snapshot(url) == expected
    assert (snapshot(url), journalled(url)) == (whole, steps)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_every_way_to_run_a_graph_leaves_the_same_database(kind: str, tmp_path: Path) -> None:
    runs = 0

    with (
        database_of_many_runs(kind) as url,
        make_site(tmp_path / "site", url).app() as app,
    ):

        @repeatable(EXAMPLES[kind])
        @example(KNOTTED, Mixture((True, False), 3, read=True))
        @given(histories(), st.none() | mixtures)
        def law(drawn: tuple[tuple[str, str], list[Written]], mixture: Mixture | None) -> None:
            nonlocal runs
            runs += 1
            assert_law(app, url, tmp_path / f"run{runs}", *drawn, mixture)

        law()
    assert runs >= EXAMPLES[kind]


def assert_refused_or_equal(
    app: Any, url: str, folder: Path, configured: tuple[str, str], revisions: list[Written]
) -> str | None:
    """Run the revisions plainly and by phases and compare; return the phase that was refused.

    A refused phase changes nothing, is refused offline too, and plain ``upgrade`` can go on after it.
    """
    names, boundary = configured
    app.config.update(MIGRATE_PHASES=names, MIGRATE_BOUNDARY=boundary)
    migrate = app.extensions["migrate"].migrate
    directory = str(write_folder(folder, tuple(names.split()), revisions))
    drop_tables(url)
    migrate.upgrade(directory, "heads")
    whole, steps = snapshot(url), journalled(url)

    drop_tables(url)
    refused = None
    for phase in names.split():
        before = snapshot(url)
        try:
            migrate.upgrade(directory, "heads", phase=phase)
        except Refused as error:
            assert error.plan is not None
            assert {block.step.phase for block in error.plan.blocked if block.overtaken is not None} == {phase}
            assert snapshot(url) == before
            with pytest.raises(Refused, match=f"{phase} of .* would run before"):
                migrate.export(directory, "heads", phase=phase)
            refused = phase
            migrate.upgrade(directory, "heads")
            break
    assert (snapshot(url), journalled(url)) == (whole, steps)
    return refused


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_a_phase_is_refused_or_leaves_what_a_plain_upgrade_leaves(kind: str, tmp_path: Path) -> None:
    outcomes: list[str | None] = []

    with (
        database_of_many_runs(kind) as url,
        make_site(tmp_path / "site", url).app() as app,
    ):

        @repeatable(CROWDED_EXAMPLES[kind])
        @given(crowded_histories())
        def law(drawn: tuple[tuple[str, str], list[Written]]) -> None:
            run = tmp_path / f"run{len(outcomes)}"
            outcomes.append("failed")
            outcomes[-1] = assert_refused_or_equal(app, url, run, *drawn)
            event("refused" if outcomes[-1] else "run")

        law()
    run, refused = outcomes.count(None), len(outcomes) - outcomes.count(None)
    assert min(run, refused) >= len(outcomes) // 8, f"{run} were run, {refused} refused"
