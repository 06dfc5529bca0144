"""Round trips: what downgrades leave, and what an upgrade after them makes of it, on random graphs.

A graph is driven into a random state by upgrades and downgrades, plain and by phase. From there, plain
``downgrade base`` and a downgrade phase by phase each leave nothing; the same commands again lead back; and any
way up from any state ends where plain ``upgrade`` does. Each revision works on tables of its own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic.util import CommandError
from hypothesis import given
from hypothesis import strategies as st
from support import HEADER, TEMPLATE, database_of_many_runs, drop_tables, make_site, repeatable
from test_law import snapshot

from flask_phased_migrate.errors import Refused

EXAMPLES = {"sqlite": 24, "postgresql": 8, "mysql": 8}
PHASES = ("before-deploy", "after-deploy", "final")
FORMS = ("functions", "functions", "generator", "bare generator", "unphased")


@dataclass(frozen=True)
class Change:
    """One line of an upgrade, and the line that undoes it."""

    up: str
    down: str


@dataclass(frozen=True)
class Drawn:
    """A revision as it is drawn. ``undivided``: its downgrade has no phases though its upgrade has them."""

    id: str
    down: tuple[str, ...]
    depends_on: tuple[str, ...]
    form: str
    undoing: str
    parts: dict[str, tuple[Change, ...]]

    @property
    def undivided(self) -> bool:
        """Whether the downgrade is one function for several phases."""
        return self.undoing == "undivided"

    def text(self) -> str:
        """Return the revision's file."""
        down = self.down if len(self.down) > 1 else self.down[0] if self.down else None
        head = HEADER.format(
            message=self.id, revision=self.id, down=down, labels=None, depends_on=self.depends_on or None
        )
        ups = {phase: [change.up for change in part] for phase, part in self.parts.items()}
        downs = {phase: [change.down for change in reversed(part)] for phase, part in reversed(self.parts.items())}
        own = f'phase = "{next(iter(ups))}"\n' if self.form == "unphased" else ""
        return head + own + write("upgrade", self.form, ups) + "\n" + write("downgrade", self.undoing, downs)


def write(name: str, form: str, lines: dict[str, list[str]]) -> str:
    """Return an ``upgrade`` or ``downgrade`` with these lines for each phase, in the order of the mapping."""
    if form in ("unphased", "undivided"):
        return f"def {name}():\n" + _block([line for found in lines.values() for line in found])
    if form == "functions":
        # Without a part for a phase there is nothing to undo in it.
        kept = {phase: found for phase, found in lines.items() if found or name == "upgrade"}
        if not kept:
            return f'@phased("{PHASES[0]}")\ndef {name}():\n    pass\n'
        return "\n".join(
            (f'@{name}.phase("{phase}")' if number else f'@phased("{phase}")')
            + f"\ndef {name}{number or ''}():\n"
            + _block(found)
            for number, (phase, found) in enumerate(kept.items())
        )
    if form == "bare generator":
        order = PHASES if name == "upgrade" else tuple(reversed(PHASES))
        return f"@phased\ndef {name}():\n" + "    yield\n".join(_block(lines[phase]) for phase in order)
    names = ", ".join(f'"{phase}"' for phase in lines)
    return f"@phased({names})\ndef {name}():\n" + "    yield\n".join(_block(found) for found in lines.values())


def _block(lines: list[str]) -> str:
    return textwrap.indent("\n".join(lines) or "pass", "    ") + "\n"


@dataclass(frozen=True)
class Command:
    """An upgrade or a downgrade: plain, or of one phase."""

    name: str
    target: str
    phase: str | None = None


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Drawn], list[Command]]:
    """Draw one to five revisions, and the commands that drive a database into some state between."""
    ids = draw(st.permutations(["f0", "b1", "g2", "a3", "d4"]))[: draw(st.sampled_from([3, 2, 4, 5, 1]))]
    drawn: list[Drawn] = []
    heads: list[str] = []
    above: dict[str, set[str]] = {}
    for id_ in ids:
        down = _draw_down(draw, heads, list(above))
        covered = set(down).union(*(above[name] for name in down))
        others = sorted(set(above) - covered)
        depends_on = tuple(draw(st.lists(st.sampled_from(others), max_size=1))) if others else ()
        above[id_] = covered.union(depends_on, *(above[name] for name in depends_on))
        heads = [*(name for name in heads if name not in down), id_]
        drawn.append(_draw_revision(draw, id_, down, depends_on))
    return drawn, [command for _ in range(draw(st.sampled_from([2, 3, 4]))) for command in _draw_drive(draw, ids)]


def _draw_drive(draw: st.DrawFn, ids: Sequence[str]) -> list[Command]:
    """Draw commands as they follow each other in a deploy: up to a target, the first phases or all at once.

    Now and then it is the way back, last phase first. What is out of order with what went before is refused.
    """
    number = draw(st.sampled_from([1, 2, 1, 2, 3]))
    kind = draw(st.sampled_from(["phases", "phases", "phases", "plain", "back"]))
    if kind == "back":
        target = draw(st.sampled_from(["base", *ids]))
        return [Command("downgrade", target, phase) for phase in tuple(reversed(PHASES))[:number]]
    target = draw(st.sampled_from(["heads", *ids]))
    if kind == "plain":
        return [Command("upgrade", target)]
    return [Command("upgrade", target, phase) for phase in PHASES[:number]]


def _draw_down(draw: st.DrawFn, heads: list[str], earlier: list[str]) -> tuple[str, ...]:
    if not earlier:
        return ()
    shape = draw(st.sampled_from(["line", "line", "branch", "merge", "base"]))
    if shape == "merge":
        return tuple(heads)
    return {"line": (earlier[-1],), "branch": (draw(st.sampled_from(earlier)),), "base": ()}[shape]


def _draw_revision(draw: st.DrawFn, id_: str, down: tuple[str, ...], depends_on: tuple[str, ...]) -> Drawn:
    form = draw(st.sampled_from(FORMS))
    if form == "bare generator":
        chosen = PHASES
    elif form == "unphased":
        chosen = (draw(st.sampled_from(PHASES)),)
    else:
        found = draw(st.sets(st.sampled_from(PHASES), min_size=1))
        chosen = tuple(phase for phase in PHASES if phase in found)
        form = "functions" if len(chosen) == 1 else form
    undoing = form if form == "unphased" else draw(st.sampled_from([form, form, form, "functions", "undivided"]))
    numbers = iter(range(99))
    return Drawn(
        id_, down, depends_on, form, undoing, {phase: _draw_part(draw, f"t_{id_}", numbers) for phase in chosen}
    )


def _draw_part(draw: st.DrawFn, table: str, numbers: Any) -> tuple[Change, ...]:
    changes = []
    for _ in range(draw(st.sampled_from([1, 2, 0]))):
        number = next(numbers)
        kind = draw(st.sampled_from(["column", "batch column", "index", "row", "table"])) if number else "first table"
        changes.append(_change(kind, table, number))
    return tuple(changes)


def _change(kind: str, table: str, number: int) -> Change:
    if kind in ("table", "first table"):
        name = table if kind == "first table" else f"{table}_{number}"
        columns = 'sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("name", sa.String(40))'
        return Change(f'op.create_table("{name}", {columns})', f'op.drop_table("{name}")')
    if kind == "row":
        return Change(
            f'op.execute("INSERT INTO {table} (id) VALUES ({number})")',
            f'op.execute("DELETE FROM {table} WHERE id = {number}")',
        )
    if kind == "index":
        return Change(
            f'op.create_index("ix_{table}_{number}", "{table}", ["name"])',
            f'op.drop_index("ix_{table}_{number}", "{table}")',
        )
    column = f'sa.Column("c{number}", sa.Integer)'
    if kind == "column":
        return Change(f'op.add_column("{table}", {column})', f'op.drop_column("{table}", "c{number}")')
    batch = f'with op.batch_alter_table("{table}") as batch:\n    batch.'
    return Change(f"{batch}add_column({column})", f'{batch}drop_column("c{number}")')


# -- the property -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Database:
    """A database and the revisions that are run on it, in this process."""

    migrate: Any
    directory: str
    url: str
    drawn: Sequence[Drawn]

    def run(self, command: Command) -> None:
        """Run a command."""
        getattr(self.migrate, command.name)(self.directory, command.target, phase=command.phase)

    def run_or_refuse(self, command: Command) -> bool:
        """Return whether a command ran; one that is refused, by us or by Alembic, changes nothing."""
        before = self.state()
        try:
            self.run(command)
        except (Refused, CommandError):
            assert self.state() == before, command
            return False
        return True

    def state(self) -> dict[str, Any]:
        """Return the tables with their rows, the version table's and the ledger's rows."""
        found = snapshot(self.url)
        found["ledger"] = [row[:3] for row in found["ledger"]]
        return found

    def is_empty(self) -> bool:
        """Return whether nothing of any revision is left: no table, no row of the version table or the ledger."""
        return self.state() == {"version": [], "ledger": []}

    def in_flight(self) -> set[str]:
        """Return the revisions in the ledger."""
        return {row[0] for row in self.state()["ledger"]}

    def undivided(self) -> set[str]:
        """Return the revisions of several phases with a downgrade of none."""
        return {revision.id for revision in self.drawn if revision.undivided}


def assert_round_trips(database: Database, commands: Sequence[Command], depth: int) -> None:
    """Drive the database by ``commands`` and compare what each way down and up leaves.

    :param depth: how many phases of the complete database to undo and run again.
    """
    up, base = Command("upgrade", "heads"), Command("downgrade", "base")
    database.run(up)
    top = database.state()
    database.run(base)
    assert database.is_empty(), "plain downgrade of a complete database"
    done = [command for command in commands if database.run_or_refuse(command)]
    state = database.state()

    refused = bool(database.in_flight() & database.undivided())
    assert database.run_or_refuse(base) is not refused, "plain downgrade"
    if not refused:
        assert database.is_empty(), "plain downgrade"
        go_back(database, done, state)

    if not database.undivided():
        for phase in reversed(PHASES):
            database.run(Command("downgrade", "base", phase))
        assert database.is_empty(), "downgrade by phase"
        go_back(database, done, state)

    database.run(up)
    assert database.state() == top, "upgrade from the state between"
    if not database.undivided():
        for phase in reversed(PHASES[-depth:]):
            database.run(Command("downgrade", "base", phase))
        for phase in PHASES[-depth:]:
            database.run(Command("upgrade", "heads", phase))
        assert database.state() == top, "the last phases down and up"
    database.run(base)
    assert database.is_empty(), "plain downgrade at the end"


def go_back(database: Database, done: Sequence[Command], state: dict[str, Any]) -> None:
    """Run the same commands again: they lead to the same state."""
    for command in done:
        database.run(command)
    assert database.state() == state, "the same commands again"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_what_goes_up_comes_down_and_up_again(kind: str, tmp_path: Path) -> None:
    runs = 0

    with (
        database_of_many_runs(kind) as url,
        make_site(tmp_path / "site", url, config={"MIGRATE_PHASES": " ".join(PHASES)}).app() as app,
    ):

        @repeatable(EXAMPLES[kind])
        @given(graphs(), st.integers(1, len(PHASES)))
        def round_trips(found: tuple[list[Drawn], list[Command]], depth: int) -> None:
            nonlocal runs
            runs += 1
            drawn, commands = found
            directory = write_folder(tmp_path / f"run{runs}", drawn)
            drop_tables(url)
            assert_round_trips(Database(app.extensions["migrate"].migrate, directory, url, drawn), commands, depth)

        round_trips()
    assert runs >= EXAMPLES[kind]


def write_folder(folder: Path, drawn: Sequence[Drawn]) -> str:
    """Write a migrations folder with these revisions; return its path."""
    (folder / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        (folder / name).write_text((TEMPLATE / name).read_text())
    (folder / "alembic.ini").write_text((TEMPLATE / "alembic.ini.mako").read_text())
    for revision in drawn:
        (folder / "versions" / f"{revision.id}.py").write_text(revision.text(), encoding="utf-8")
    return str(folder)
