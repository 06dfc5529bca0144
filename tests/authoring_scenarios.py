"""Models before and after, and a small project in which the revision between them is written and run."""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flask
import sqlalchemy as sa
from support import TEMPLATE

from flask_phased_migrate import Migrate

Model = Callable[[sa.MetaData], object]
Rows = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """One change of the models; ``old_row`` and ``new_row`` are what each code inserts, by table."""

    name: str
    old: Model
    new: Model
    old_row: Rows = field(default_factory=dict)
    new_row: Rows = field(default_factory=dict)
    options: Sequence[str] = ()
    engines: Sequence[str] = ("postgresql", "mysql", "sqlite")

    def __str__(self) -> str:
        return self.name


_ENGINES: dict[str, sa.Engine] = {}


def engine_of(url: str) -> sa.Engine:
    """Return an engine that keeps its connections: a new one to MariaDB takes longer than most statements."""
    if url not in _ENGINES:
        # A statement that PostgreSQL has prepared fails once its columns have other types.
        options = {"prepare_threshold": None} if "psycopg" in url or url.startswith("postgresql:") else {}
        _ENGINES[url] = sa.create_engine(url, connect_args=options)
    return _ENGINES[url]


def dispose_engines() -> None:
    """Close the connections of all engines."""
    while _ENGINES:
        _ENGINES.popitem()[1].dispose()


class Project:
    """An application whose models are ``metadata``, with a migrations folder of ours."""

    def __init__(self, folder: Path, url: str, model: Model, **settings: Any) -> None:
        self.folder = folder / "migrations"
        self.url = url
        if not self.folder.exists():
            (self.folder / "versions").mkdir(parents=True)
            for name in ("env.py", "script.py.mako"):
                (self.folder / name).write_text((TEMPLATE / name).read_text())
            (self.folder / "alembic.ini").write_text((TEMPLATE / "alembic.ini.mako").read_text())
        self.metadata = sa.MetaData()
        model(self.metadata)
        self.engine = engine_of(url)
        self.app = flask.Flask("shop", root_path=str(folder))
        self.app.config.update(settings)
        self.migrate = Migrate(self.app, metadata=self.metadata, engine=self.engine, directory=self.folder)

    def flask(self, *words: str) -> Any:
        """Return how ``flask db WORDS`` ended."""
        return self.app.test_cli_runner().invoke(args=["db", *words])

    def must(self, *words: str) -> str:
        """Return the output of a command that has to succeed."""
        ended = self.flask(*words)
        assert ended.exit_code == 0, f"{words}: {ended.output}\n{self.text()}"
        return str(ended.output)

    def files(self) -> list[Path]:
        """The revision files."""
        return sorted((self.folder / "versions").glob("*.py"))

    def text(self) -> str:
        """The text of the one revision file, "" for none."""
        return "\n".join(file.read_text() for file in self.files())

    def bodies(self) -> dict[str, str]:
        """The functions of the revision file by name, without Alembic's remarks."""
        found = {}
        for part in re.split(r"\n(?=@|def )", self.text()):
            match = re.search(r"^def (\w+)\(\):\n(.*)", part, re.DOTALL | re.MULTILINE)
            if match:
                lines = [line[4:] for line in match[2].splitlines() if "# ###" not in line]
                found[match[1]] = "\n".join(lines).strip()
        return found


_NUMBERS = itertools.count(1)


def use(url: str, metadata: sa.MetaData, rows: Rows) -> None:
    """Insert, update and delete rows and read every table, as code with these models does; a row of each stays.

    A text with ``{n}`` gets another number each time.
    """
    engine = engine_of(url)
    for name, values in rows.items():
        table = metadata.tables[name]
        with engine.begin() as connection:
            _insert(connection, table, values)
            given = {name: value for name, value in _numbered(values).items() if name not in table.primary_key.columns}
            _check_row(connection, table, _insert(connection, table, values), {})
            key = _insert(connection, table, values)
            if given:
                assert connection.execute(table.update().where(_is(table, key)).values(**given)).rowcount in (0, 1)
                _check_row(connection, table, key, given)
            assert connection.execute(table.delete().where(_is(table, key))).rowcount == 1
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.select(table)).all()


def _insert(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> Any:
    return connection.execute(table.insert().values(**_numbered(values))).inserted_primary_key


def _numbered(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.replace("{n}", str(next(_NUMBERS))) if isinstance(value, str) else value
        for name, value in values.items()
    }


def _is(table: sa.Table, key: Any) -> Any:
    return sa.and_(*(column == value for column, value in zip(table.primary_key.columns, key, strict=True)))


def _check_row(connection: sa.Connection, table: sa.Table, key: Any, given: Mapping[str, Any]) -> None:
    """Read a row as the code does, and find in it what was written."""
    row = connection.execute(sa.select(table).where(_is(table, key))).one()._mapping
    written = {name: value for name, value in given.items() if isinstance(value, (str, int, bool))}
    assert {name: row[table.columns[name]] for name in written} == written


def describe(url: str) -> dict[str, Any]:
    """Return what is in a database, without names that an engine makes up and without our own tables."""
    engine = engine_of(url)
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        tables = {
            name: _describe_table(inspector, name)
            for name in inspector.get_table_names()
            if not name.startswith("alembic_version")
        }
        enums = inspector.get_enums() if hasattr(inspector, "get_enums") else []  # type: ignore[attr-defined]
        triggers = connection.scalar(sa.text(_TRIGGERS[engine.dialect.name]))
        types = {item["name"]: sorted(item["labels"]) for item in enums}
        return {"tables": tables, "types": types, "triggers": triggers, "views": inspector.get_view_names()}


_TRIGGERS = {
    "postgresql": "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal",
    "mysql": "SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = database()",
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'",
}


def _describe_table(inspector: Any, name: str) -> dict[str, Any]:
    columns = {
        item["name"]: (str(item["type"]), item["nullable"], str(item["default"]))
        for item in inspector.get_columns(name)
    }
    uniques = {tuple(item["column_names"]) for item in inspector.get_unique_constraints(name)}
    indexes = {(tuple(item["column_names"]), item["unique"]) for item in inspector.get_indexes(name)}
    return {
        "columns": columns,
        "key": tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
        "foreign keys": {
            (tuple(item["constrained_columns"]), item["referred_table"]) for item in inspector.get_foreign_keys(name)
        },
        "unique": uniques | {columns for columns, unique in indexes if unique},
        "indexes": {columns for columns, unique in indexes if not unique},
        "checks": {item["name"] for item in inspector.get_check_constraints(name)},
    }


@contextmanager
def migrated(change: Change, folder: Path, url: str, **settings: Any) -> Iterator[Project]:
    """Give the project with the new models, a database made from the old ones with a row, and the file written."""
    old = make_old(change, url)
    use(url, old, change.old_row)
    if any(table.schema for table in old.tables.values()):
        settings = {"MIGRATE_SCHEMAS": "other", **settings}
    project = Project(folder, url, change.new, **settings)
    project.must("migrate", "-m", "change", "--rev-id", "r1", *change.options)
    yield project


def make_old(change: Change, url: str) -> sa.MetaData:
    """Make the tables of the old models; return these."""
    old = sa.MetaData()
    change.old(old)
    with engine_of(url).begin() as connection:
        for name in {table.schema for table in old.tables.values() if table.schema}:
            connection.execute(sa.schema.CreateSchema(name))
        old.create_all(connection)
    return old


def must_lint(project: Project) -> None:
    """Assert that the linter finds no error."""
    found = json.loads(project.flask("lint", "--format", "json").stdout)["findings"]
    errors = [item for item in found if item["level"] == "error"]
    assert errors == [], f"{errors}\n{project.text()}"


def run_through(change: Change, folder: Path, url: str) -> Project:
    """Write the revision and run it phase by phase, up and down, with both codes at work."""
    old = sa.MetaData()
    change.old(old)
    with migrated(change, folder, url) as project:
        before = describe(url)
        must_lint(project)
        for phase in ("before-deploy", "after-deploy", "final"):
            project.must("upgrade", "--phase", phase)
            if phase == "before-deploy":
                use(url, old, change.old_row)
                use(url, project.metadata, change.new_row)
                use(url, old, change.old_row)
            use(url, project.metadata, change.new_row)
        project.must("check")
        project.must("downgrade", "--phase", "final", "base")
        use(url, project.metadata, change.new_row)
        project.must("downgrade", "--phase", "after-deploy", "base")
        use(url, old, change.old_row)
        use(url, project.metadata, change.new_row)
        project.must("downgrade", "--phase", "before-deploy", "base")
        use(url, old, change.old_row)
        assert describe(url) == before, project.text()
    return project


def plain_verdict(change: Change, folder: Path, url: str) -> str:
    """Return what a plain Flask-Migrate revision of a change does: ``safe``, or who fails."""
    old = make_old(change, url)
    use(url, old, change.old_row)
    settings = {"MIGRATE_SCHEMAS": "other"} if any(table.schema for table in old.tables.values()) else {}
    project = Project(folder, url, change.new, **settings)
    with warnings.catch_warnings():
        # Alembic says of some revisions that they will fail.
        warnings.simplefilter("ignore", UserWarning)
        project.must("migrate", "--no-phases", "--rev-id", "r1")
    if project.flask("upgrade").exit_code:
        return "the revision"
    try:
        use(url, old, change.old_row)
    except (sa.exc.DBAPIError, AssertionError):
        return "the old code"
    return "safe"
