"""For any two sets of models, what ``flask db migrate`` writes between them is safe, right and can be undone."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from authoring_changes import Color, checked_color
from authoring_scenarios import Project, describe, dispose_engines, engine_of, must_lint, use
from hypothesis import given
from hypothesis import strategies as st
from support import connect, database_of_many_runs, drop_tables, empty_schemas, repeatable

from flask_phased_migrate import commands
from flask_phased_migrate.authoring import Answers, Question

Column, Integer, String = sa.Column, sa.Integer, sa.String
RED_BLUE, RED_GREEN_BLUE = (sa.Enum(*words, name="color") for words in (("red", "blue"), ("red", "green", "blue")))


def team_id(**options: Any) -> Any:
    return lambda name: Column(name, Integer, sa.ForeignKey("team.id", **options))


def column(type_: Any, **options: Any) -> Any:
    return lambda name: Column(name, type_, **options)


TEXTS = [
    None,
    column(String(20)),
    column(String(40)),
    column(String(90), index=True),
    column(sa.Text, comment="it's 100%"),
    column(String(40), nullable=False),
    column(String(40), nullable=False, default="it's 100% :x \\"),
    column(String(20), nullable=False, server_default="it's"),
    column(String(20), server_default=""),
    column(String(20), unique=True),
    column(String(20), unique=True, index=True),
]
SLOTS: Mapping[str, list[Any]] = {
    "login": TEXTS,
    "Select%": TEXTS,
    "number": [
        None,
        column(sa.SmallInteger),
        column(Integer, index=True),
        column(Integer, nullable=False, default=3),
        column(sa.BigInteger, nullable=False, server_default="5"),
        column(sa.BigInteger, nullable=False),
        column(sa.Numeric(8, 2)),
        column(sa.Numeric(12, 4), nullable=False, server_default="1.5"),
    ],
    "team_id": [None, column(Integer), team_id(), team_id(ondelete="CASCADE", name="fk_team")],
    "crew_id": [None, team_id(), team_id(name="fk_crew")],
    "color": [
        None,
        column(RED_BLUE),
        column(RED_GREEN_BLUE, default="red"),
        column(sa.Enum(Color, name="color"), default=Color.blue),
    ],
    "shade": [None, column(checked_color("red", "blue")), column(checked_color("red", "green", "blue"))],
    "on": [
        None,
        column(sa.Boolean),
        column(sa.Boolean, nullable=False, default=True),
        column(sa.Boolean, nullable=False, server_default=sa.false()),
    ],
    "at": [
        None,
        column(sa.DateTime),
        column(sa.DateTime, nullable=False),
        column(sa.DateTime, nullable=False, server_default=sa.func.now()),
    ],
    "data": [None, column(sa.JSON), column(sa.JSON, nullable=False, server_default="{}")],
    "ratio": [None, column(sa.Float), column(sa.Float, nullable=False, default=0.5)],
    "share": [None, column(sa.Float)],
}
PARTS: list[list[Any]] = [
    [
        None,
        lambda: sa.CheckConstraint("age > 0", name="ck_age"),
        lambda: sa.CheckConstraint("age > -9", name="ck_other"),
    ],
    [None, lambda: sa.UniqueConstraint("age", "size"), lambda: sa.UniqueConstraint("size", "age", name="uq_both")],
    [
        None,
        lambda: sa.Index("ix_both", "age", "size"),
        lambda: sa.Index("ix_both", "size"),
        lambda: sa.Index("ux_size", "size", unique=True),
    ],
]
TABLES: Mapping[str, list[Any]] = {
    "seat": [None, [column(String(20))], [column(String(20), index=True)]],
    "bench": [None, [column(String(20), index=True)], [team_id(), column(Integer)]],
}
VALUES: dict[type, tuple[Any, str]] = {
    sa.Enum: ("red", "'red'"),
    sa.Boolean: (True, "true"),
    sa.Float: (0.5, "0.5"),
    sa.Numeric: (1, "1"),
    sa.Integer: (1, "1"),
    sa.DateTime: (None, "CURRENT_TIMESTAMP"),
    sa.JSON: ({"a": 1}, "'{}'"),
    sa.String: ("a{n}", "'x'"),
}


def build(metadata: sa.MetaData, chosen: Mapping[str, int]) -> None:
    """Make the models that the numbers choose: one alternative of each slot."""
    sa.Table("team", metadata, Column("id", Integer, primary_key=True))
    keys = [Column("id", Integer, primary_key=True), Column("age", Integer), Column("size", Integer)]
    made = [choices[chosen[name]](name) for name, choices in SLOTS.items() if choices[chosen[name]] is not None]
    parts = [choices[chosen[f"part {number}"]] for number, choices in enumerate(PARTS)]
    sa.Table("account", metadata, *keys, *made, *(part() for part in parts if part is not None))
    for name, choices in TABLES.items():
        if choices[chosen[name]] is not None:
            columns = [item(f"c{number}") for number, item in enumerate(choices[chosen[name]])]
            sa.Table(name, metadata, Column("id", Integer, primary_key=True), *columns)


CHOICES = {
    **{name: len(choices) for name, choices in SLOTS.items()},
    **{f"part {number}": len(choices) for number, choices in enumerate(PARTS)},
    **{name: len(choices) for name, choices in TABLES.items()},
}
MODELS = st.fixed_dictionaries({name: st.integers(0, number - 1) for name, number in CHOICES.items()})


def rows_of(metadata: sa.MetaData) -> dict[str, dict[str, Any]]:
    """Return a row for each table: values for what needs one, and for some of the rest."""
    return {
        table.name: {
            item.name: _value(item)
            for item in table.columns
            if not item.primary_key and (not item.nullable or isinstance(item.type, (sa.String, sa.JSON)))
        }
        for table in metadata.sorted_tables
    }


def _value(item: sa.Column[Any]) -> Any:
    if isinstance(item.type, sa.DateTime):
        return sa.func.now()
    if isinstance(item.type, sa.Enum):
        return item.type.python_type.red if item.type.enum_class else "red"  # type: ignore[attr-defined]
    return next(value for kind, (value, _) in VALUES.items() if isinstance(item.type, kind))


def answer(data: Any, metadata: sa.MetaData, question: Question) -> str:
    """Return a drawn answer to whether something is renamed, and a value of the type for what is to be filled."""
    if question.kind == "rename":
        return str(data.draw(st.sampled_from([answer for answer, _ in question.choices])))
    table, _, name = question.subject.partition(".")
    type_ = metadata.tables[table].columns[name].type
    return next(sql for kind, (_, sql) in VALUES.items() if isinstance(type_, kind))


def without_values_of_enums(found: dict[str, Any]) -> dict[str, Any]:
    """Return a description of a database without the enums: PostgreSQL keeps values that were added."""
    columns = {
        name: {
            **table,
            "columns": {key: value for key, value in table["columns"].items() if key not in ("color", "shade")},
        }
        for name, table in found["tables"].items()
    }
    return {**found, "tables": columns, "types": set(found["types"])}


def empty(url: str) -> None:
    """Drop everything in a database."""
    dispose_engines()
    if "postgresql" in url:
        with connect(url) as connection:
            empty_schemas(connection)
    else:
        drop_tables(url)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mysql"])
def test_what_is_written_between_any_two_models_is_safe_and_can_be_undone(kind: str) -> None:
    @repeatable(examples=12)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        first, second = data.draw(MODELS, label="old"), data.draw(MODELS, label="new")
        empty(url)
        with tempfile.TemporaryDirectory() as folder:
            run_between(url, Path(folder), first, second, data)

    with database_of_many_runs(kind) as url:
        try:
            check()
        finally:
            dispose_engines()


def run_between(url: str, folder: Path, first: Mapping[str, int], second: Mapping[str, int], data: Any) -> None:
    """Write the revision between two models, lint it, and run it up and down with both codes at work."""
    old = sa.MetaData()
    build(old, first)
    old.create_all(engine_of(url))
    use(url, old, rows_of(old))
    before = describe(url)
    project = Project(folder, url, lambda metadata: build(metadata, second))
    new = project.metadata
    with project.app.app_context():
        written = commands.migrate(
            rev_id="r1", answers=Answers(questioner=lambda question: answer(data, new, question))
        )
    if not written:
        project.must("check")
        return
    compile(project.text(), "r1.py", "exec")
    must_lint(project)
    project.must("upgrade", "--phase", "before-deploy")
    for metadata in (old, new, old):
        use(url, metadata, rows_of(metadata))
    for phase in ("after-deploy", "final"):
        project.must("upgrade", "--phase", phase)
        use(url, new, rows_of(new))
    project.must("check")
    for phase in ("final", "after-deploy", "before-deploy"):
        project.must("downgrade", "--phase", phase, "base")
        if phase == "after-deploy":
            for metadata in (old, new):
                use(url, metadata, rows_of(metadata))
    use(url, old, rows_of(old))
    assert without_values_of_enums(describe(url)) == without_values_of_enums(before), project.text()
