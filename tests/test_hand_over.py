"""SQL that somebody else runs with the engine's own client: values, procedures, scripts, and what the guard refuses."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlglot
from support import Site, connect, fresh_database, query, run_client, table_names

from flask_phased_migrate.offline.endings import ended
from flask_phased_migrate.offline.text import render_sql

NOWHERE = "sqlite:////nowhere/x.sqlite3"
PHASES = ("before-deploy", "after-deploy", "final")


@pytest.fixture
def other_url(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a second empty database of the same engine."""
    (tmp_path / "other").mkdir()
    with fresh_database(sa.make_url(database_url).get_backend_name(), tmp_path / "other") as url:
        yield url


def export(site: Site, revision: str = "heads", **options: Any) -> str:
    with site.app() as app:
        (statements,) = app.extensions["migrate"].migrate.export(None, revision, **options).values()
    return render_sql(statements)


def upgrade(site: Site, revision: str = "heads", **options: Any) -> None:
    with site.app() as app:
        app.extensions["migrate"].migrate.upgrade(None, revision, **options)


def run(url: str, text: str) -> None:
    done = run_client(url, text)
    assert done.returncode == 0, f"{done.stderr}\n{text}"


def rows(url: str, table: str) -> list[tuple[Any, ...]]:
    return query(url, f"SELECT * FROM {table} ORDER BY id")


def records(url: str) -> dict[str, list[tuple[Any, ...]]]:
    return {
        "version": query(url, "SELECT version_num FROM alembic_version ORDER BY 1"),
        "ledger": query(url, "SELECT revision, phase, status, statement FROM alembic_version_phase ORDER BY 1, 2"),
    }


# -- values -------------------------------------------------------------------------------------------

TYPES = """
import datetime as dt
import decimal
import enum
import ipaddress
import uuid
from sqlalchemy.dialects import mysql, postgresql


class Colour(enum.Enum):
    red = "r"
    its = "it's"


class Doubled(sa.TypeDecorator):
    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else value * 2


class Turned(sa.TypeDecorator):
    impl = sa.LargeBinary
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else value.encode()[::-1]


TEXT = "it's 100% :x %(y)s \\\\ \\"q\\" -- ; \\n/\\nGO\\n\\t\\u00e9\\U0001f600 $$ $(z) &a"
JSON = {"a": [1, None, TEXT], "b": 1.5, "c": True, "d": {}}
VALUES = [
    (sa.LargeBinary, b"\\x00\\xff'\\\\a%s:x\\n"),
    (sa.LargeBinary, b""),
    (sa.JSON, JSON),
    (sa.JSON, []),
    (sa.JSON, TEXT),
    (sa.JSON, sa.JSON.NULL),
    (sa.JSON, sa.null()),
    (sa.JSON(none_as_null=True), None),
    (sa.Numeric(30, 6), decimal.Decimal("12345678901234.123456")),
    (sa.Numeric(20, 10), decimal.Decimal("1E-7")),
    (sa.Double, 0.1),
    (sa.BigInteger, 2**62),
    (sa.Boolean, True),
    (sa.Date, dt.date(2024, 2, 29)),
    (sa.Time, dt.time(1, 2, 3)),
    (sa.DateTime, dt.datetime(2024, 2, 29, 1, 2, 3)),
    (sa.DateTime(timezone=True), dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=3)))),
    (sa.Interval, dt.timedelta(days=3, seconds=5)),
    (sa.Enum("a", "it's", name="letter"), "it's"),
    (sa.Enum(Colour, name="colour"), Colour.its),
    (sa.Uuid(native_uuid=False), uuid.UUID(int=7)),
    (sa.Text, TEXT),
    (sa.Unicode(40), ""),
    (sa.PickleType, {"a": 1}),
    (Doubled, 4),
    (Turned, "secret"),
]
OWN = {
    "postgresql": [
        (sa.Uuid, uuid.UUID(int=7)),
        (sa.Uuid(as_uuid=False), str(uuid.UUID(int=7))),
        (sa.Time, dt.time(1, 2, 3, 45)),
        (sa.Float, float("-inf")),
        (sa.Numeric, decimal.Decimal("Infinity")),
        (sa.Interval, -dt.timedelta(days=3, seconds=5, microseconds=7)),
        (postgresql.JSONB, JSON),
        (postgresql.BYTEA, b"\\x00'"),
        (sa.ARRAY(sa.Integer), [1, None, 3]),
        (sa.ARRAY(sa.Text), [TEXT, None, "{x}", ""]),
        (sa.ARRAY(sa.Text), []),
        (sa.ARRAY(sa.Integer, dimensions=2), [[1, 2], [3, 4]]),
        (sa.ARRAY(sa.Uuid), [uuid.UUID(int=7)]),
        (sa.ARRAY(sa.Date), [dt.date(2024, 2, 29)]),
        (sa.ARRAY(sa.LargeBinary), [b"\\x00'"]),
        (postgresql.ARRAY(postgresql.JSONB), [JSON]),
        (postgresql.ARRAY(sa.Enum("a", "b", name="listed")), ["b"]),
        (postgresql.INET, "10.0.0.1"),
        (postgresql.BIT(3), "101"),
        (postgresql.TSVECTOR, "'a':1 'b':2"),
        (postgresql.INT4RANGE, postgresql.Range(1, 5)),
        (postgresql.TSTZRANGE, postgresql.Range(dt.datetime(2024, 2, 29, tzinfo=dt.timezone.utc), None)),
    ],
    "mysql": [
        (mysql.VARBINARY(20), b"\\x00a\\xff"),
        (mysql.JSON, JSON),
        (mysql.BIT(3), 5),
        (mysql.SET("b", "a"), {"a", "b"}),
        (mysql.DATETIME(fsp=6), dt.datetime(2024, 2, 29, 1, 2, 3, 45)),
        (mysql.TIME(fsp=6), -dt.timedelta(hours=30, microseconds=7)),
        (mysql.YEAR, 2024),
    ],
    "sqlite": [
        (sa.Time, dt.time(1, 2, 3, 45)),
        (sa.Float, float("inf")),
        (sa.Interval, -dt.timedelta(days=3, seconds=5, microseconds=7)),
    ],
}
PLAIN = [7, 1.5, True, "it's", b"\\x00'", dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 1, 2, 3)]


def upgrade():
    pairs = {f"v{number}": pair for number, pair in enumerate(VALUES + OWN[op.get_context().dialect.name])}
    table = op.create_table(
        "t",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, kind, nullable=True) for name, (kind, value) in pairs.items()),
    )
    values = {name: value for name, (kind, value) in pairs.items()}
    op.bulk_insert(table, [{"id": 1, **values}, {"id": 2, **dict.fromkeys(values)}])
    op.execute(table.insert().values(id=3, **values))
    op.execute(sa.insert(table).values([{"id": 4, **values}, {"id": 5, **dict.fromkeys(values)}]))
    op.execute(table.update().where(table.c.id == 2).values(**values))
    plain = {f"p{number}": value for number, value in enumerate(PLAIN)}
    kinds = [sa.Text() if isinstance(value, str) else sa.literal(value).type for value in PLAIN]
    op.create_table(
        "u",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, kind) for name, kind in zip(plain, kinds)),
    )
    untyped = sa.table("u", sa.column("id"), *map(sa.column, plain))
    op.bulk_insert(untyped, [{"id": 1, **plain}, {"id": 2, **dict.fromkeys(plain)}])
    op.execute(untyped.insert().values(id=3, **plain))
    op.execute(untyped.update().where(untyped.c.id == 2).values(**plain))
"""


def test_a_client_stores_the_same_values_as_a_driver(
    project: Callable[..., Site], database_url: str, other_url: str
) -> None:
    site = project(database_url)
    site.revision("1", None, TYPES)
    text = export(site)
    upgrade(site)
    run(other_url, text)
    for table in ("t", "u"):
        assert _told(rows(other_url, table)) == _told(rows(database_url, table))
    assert len(rows(database_url, "t")) == 5


def _told(found: list[tuple[Any, ...]]) -> list[list[str]]:
    """Return rows by their words: 1 is not 1.0."""
    return [[repr(value) for value in row] for row in found]


def test_values_are_written_in_the_words_of_sql_server_and_oracle(project: Callable[..., Site]) -> None:
    site = project(NOWHERE)
    site.revision("1", None, """
        import datetime as dt
        def upgrade():
            t = sa.table("t", sa.column("b", sa.LargeBinary), sa.column("d", sa.DateTime), sa.column("s", sa.Text))
            values = {"b": b"\\x00'", "d": dt.datetime(2024, 2, 29, 1, 2, 3, 45), "s": "\\u00e9\\nGO\\n"}
            op.bulk_insert(t, [values])
    """)  # fmt: skip
    found = {
        dialect: export(site, dialect=dialect).partition("INSERT INTO t ")[2].partition("\n\n")[0]
        for dialect in ("mssql", "oracle")
    }
    assert found == {
        "mssql": "(b, d, s) VALUES (0x0027, CAST('2024-02-29 01:02:03.000045' AS DATETIME2), "
        "N'é' + CHAR(10) + N'GO' + CHAR(10) + N'');",
        "oracle": "(b, d, s) VALUES (HEXTORAW('0027'), "
        "TO_TIMESTAMP('2024-02-29 01:02:03.000045', 'YYYY-MM-DD HH24:MI:SS.FF'), "
        "'é' || CHR(10) || 'GO' || CHR(10) || '')",
    }


def test_a_value_that_has_no_words_is_refused_with_its_line(project: Callable[..., Site]) -> None:
    site = project(NOWHERE)
    path = site.revision("1", None, """
        def upgrade():
            op.execute(sa.table("t", sa.column("x")).insert().values(x=object()))
    """)  # fmt: skip
    done = site.flask("db", "sql", "-o", "out.sql")
    assert (done.returncode, done.stdout, (site.folder / "out.sql").exists()) == (3, "", False)
    line = len(path.read_text().splitlines())
    assert f"{path}, line {line}: revision 1 cannot be exported as SQL: CompileError" in done.stderr


# -- statements that a client would cut up -------------------------------------------------------------

DIVIDED = {
    "mysql": [
        """CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW
           BEGIN
             -- it's; a comment
             SET NEW.v = concat(NEW.v, '; // $$');
             SET NEW.v = upper(NEW.v); # note;
           END""",
        "CREATE PROCEDURE p(IN x INT) BEGIN INSERT INTO t VALUES (x, 'a;b'); INSERT INTO t VALUES (x + 1, 'c'); END;",
        "CALL p(1)",
        "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM t WHERE id = 99; DELETE FROM t; END -- x",
    ],
    "postgresql": [
        """CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS $body$
           BEGIN
             NEW.v := NEW.v || '; -- x'; -- note;
             RETURN NEW;
           END $body$""",
        "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tf()",
        "CREATE FUNCTION g(int) RETURNS int LANGUAGE SQL BEGIN ATOMIC SELECT 1; SELECT $1 + 1; END",
        "DO $$ BEGIN INSERT INTO t VALUES (g(1), 'do'); END $$",
        "INSERT INTO t VALUES (7, E'a\\'b;' || $q$ it's; $q$)",
    ],
    "sqlite": [
        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN UPDATE t SET v = v || ';'; UPDATE t SET v = upper(v); END",
        "INSERT INTO t VALUES (2, 'a\n/\ngo\n.quit\n')",
    ],
}
EVERYWHERE = [
    "INSERT INTO t VALUES (50, 'semi; colon'); -- note",
    "INSERT INTO t VALUES (51, 'x') /* ; */ -- note;",
    "INSERT INTO t VALUES (52, 'x');",
]
BY_ITSELF = {
    "mysql": ("OPTIMIZE TABLE t",),
    "postgresql": ("ALTER TYPE mood ADD VALUE 'fair'", "CREATE INDEX CONCURRENTLY ix ON t (v)", "VACUUM t"),
    "sqlite": ("VACUUM",),
}


@pytest.mark.parametrize("phases", [PHASES, (None,)], ids=["by phase", "everything"])
def test_procedures_triggers_and_autocommit_blocks_reach_the_client_whole(
    project: Callable[..., Site], database_url: str, other_url: str, phases: tuple[str | None, ...]
) -> None:
    kind = sa.make_url(database_url).get_backend_name()
    site = project(database_url)
    site.revision("1", None, textwrap.dedent(f"""
        @phased("before-deploy")
        def upgrade():
            mood = sa.Column("m", sa.Enum("good", "bad", name="mood", create_constraint=False))
            op.create_table("other", sa.Column("id", sa.Integer), mood)
            op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.Text))
            for statement in {DIVIDED[kind] + EVERYWHERE!r}:
                op.get_context().execute(sa.text(statement.replace(":", "\\\\:")))

        @upgrade.phase("final")
        def upgrade_final():
            op.execute("INSERT INTO t VALUES (60, 'x')")
            with op.get_context().autocommit_block():
                for statement in {BY_ITSELF[kind]!r}:
                    op.execute(statement)
            op.execute("INSERT INTO t VALUES (61, 'x')")
    """).replace("VACUUM t", "ANALYZE t" if kind == "mysql" else "VACUUM t"))  # fmt: skip
    texts = [export(site, phase=phase) for phase in phases]
    upgrade(site)
    for text in texts:
        run(other_url, text)
    assert rows(other_url, "t") == rows(database_url, "t")
    assert phases == (None,) or records(other_url) == records(database_url)


@pytest.mark.parametrize(
    ("dialect", "text", "expected"),
    [
        ("mysql", "SELECT 1", "SELECT 1;"),
        ("mysql", "SELECT ';';", "SELECT ';';"),
        ("mysql", "SELECT 1 -- a; b", "SELECT 1 -- a; b\n;"),
        ("mysql", "SELECT 1 # a; b", "SELECT 1 # a; b\n;"),
        ("mysql", "BEGIN NOT ATOMIC SELECT 1; END", "DELIMITER //\nBEGIN NOT ATOMIC SELECT 1; END//\nDELIMITER ;"),
        ("mariadb", "A; B;", "DELIMITER //\nA; B//\nDELIMITER ;"),
        ("mysql", "A; SELECT '//$$'", "DELIMITER ||\nA; SELECT '//$$'||\nDELIMITER ;"),
        ("mysql", "A; B -- x", "DELIMITER //\nA; B -- x\n//\nDELIMITER ;"),
        ("postgresql", "A; B", "A; B;"),
        ("oracle", "SELECT 1 FROM dual;", "SELECT 1 FROM dual"),
        ("oracle", "SELECT ';' FROM dual; -- x", "SELECT ';' FROM dual -- x"),
        ("oracle", "BEGIN NULL; END", "BEGIN NULL; END;"),
        ("oracle", "DECLARE x INT; BEGIN NULL; END;", "DECLARE x INT; BEGIN NULL; END;"),
        ("oracle", "CREATE OR REPLACE TRIGGER t BEFORE INSERT ON a BEGIN NULL; END", None),
        ("oracle", "CREATE TABLE trigger_log (id INT);", "CREATE TABLE trigger_log (id INT)"),
    ],
)
def test_a_statement_ends_as_its_client_reads_it(dialect: str, text: str, expected: str | None) -> None:
    terminator = "" if dialect == "oracle" else ";"
    assert ended(text, dialect, terminator, "") == (f"{text};" if expected is None else expected)


def test_a_separator_is_a_line_of_its_own() -> None:
    assert ended("SELECT 1", "mssql", ";", "GO") == "SELECT 1;\n\nGO"
    assert ended("BEGIN NULL; END", "oracle", "", "/") == "BEGIN NULL; END;\n\n/"


# -- SQL Server and Oracle -----------------------------------------------------------------------------

VIEWS = """
    @phased("before-deploy")
    def upgrade():
        op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.String(9)))
        op.execute("CREATE VIEW v AS SELECT id FROM t")
        op.execute_script("fix.sh")
        op.execute("CREATE VIEW w AS SELECT id FROM t")
        with op.get_context().autocommit_block():
            op.execute("CREATE VIEW x AS SELECT id FROM t")
        op.execute("CREATE VIEW y AS SELECT id FROM t")

    @upgrade.phase("final")
    def upgrade_final():
        op.execute("UPDATE t SET v = 'a & b $(c) :d' WHERE id = 1;")
        op.drop_table("t")
"""
SEPARATORS = {"mssql": ("GO", "tsql"), "oracle": ("/", "oracle")}


@pytest.mark.parametrize("dialect", ["mssql", "oracle"])
@pytest.mark.parametrize("phase", [None, *PHASES])
def test_each_batch_is_one_statement_of_its_dialect(
    project: Callable[..., Site], dialect: str, phase: str | None
) -> None:
    site = project(NOWHERE)
    site.write("migrations/fix.sh", "true\n")
    site.revision("1", None, VIEWS)
    separator, read = SEPARATORS[dialect]
    text = export(site, dialect=dialect, phase=phase)
    batches = ["\n".join(line for line in batch.split("\n") if not line.startswith(("-- ", "SET ", "WHENEVER ")))
               for batch in text.split(f"\n{separator}\n")]  # fmt: skip
    assert batches.pop().strip() == ""
    own = [batch for batch in batches if "EXECUTE IMMEDIATE" not in batch and "OBJECT_ID" not in batch]
    for batch in own:
        (statement,) = [found for found in sqlglot.parse(batch, read=read) if found is not None]
        assert statement.key != "command", batch
    assert not [batch for batch in own if dialect == "oracle" and batch.rstrip().endswith(";")]
    expected = ["v", "w", "x", "y"] if phase in (None, "before-deploy") else []
    assert [batch.split()[2] for batch in own if batch.split()[:2] == ["CREATE", "VIEW"]] == expected


def test_sqlplus_is_told_to_take_the_text_as_it_is(project: Callable[..., Site]) -> None:
    site = project(NOWHERE)
    site.revision("1", None, "def upgrade():\n    op.execute(\"UPDATE t SET a = 'b & c'\")\n")
    settings = (
        "WHENEVER SQLERROR EXIT FAILURE ROLLBACK\nSET DEFINE OFF\nSET SQLBLANKLINES ON\nSET SQLTERMINATOR OFF\n\n"
    )
    for phase in (None, "before-deploy"):
        text = export(site, dialect="oracle", phase=phase)
        assert text.startswith(settings)
        assert text.endswith("\n\nCOMMIT\n\n/\n\n")


# -- scripts between the SQL ---------------------------------------------------------------------------

SCRIPTED = """
    @phased("before-deploy")
    def upgrade():
        op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("v", sa.String(9)))
        op.execute("INSERT INTO t VALUES (1, 'a')")
        op.execute_script("fix.py")
        op.execute("INSERT INTO t VALUES (3, 'c')")

    @upgrade.phase("final")
    def upgrade_final():
        op.add_column("t", sa.Column("w", sa.Integer))
"""
FIX = """
    import os
    import sqlalchemy as sa
    engine = sa.create_engine(os.environ["MIGRATE_DATABASE_URL"])
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO t SELECT 2, max(v) FROM t"))
"""
MARKER = "-- SCRIPT::fix.py::;\n\n"


@pytest.fixture
def scripted(project: Callable[..., Site], database_url: str) -> Site:
    site = project(database_url)
    site.write("migrations/fix.py", FIX)
    site.revision("1", None, SCRIPTED)
    return site


def run_by_hand(url: str) -> None:
    with connect(url) as connection:
        connection.execute(sa.text("INSERT INTO t SELECT 2, max(v) FROM t"))


def test_pieces_of_sql_around_a_script_leave_what_an_upgrade_leaves(scripted: Site, other_url: str) -> None:
    first, second = export(scripted, phase="before-deploy").split(MARKER)
    upgrade(scripted, phase="before-deploy")
    run(other_url, first)
    run_by_hand(other_url)
    run(other_url, second)
    assert rows(other_url, "t") == rows(scripted.url, "t") == [(1, "a"), (2, "a"), (3, "c")]
    assert records(other_url) == records(scripted.url)


def test_who_stops_at_a_script_can_go_on_online(scripted: Site) -> None:
    first, second = export(scripted, phase="before-deploy").split(MARKER)
    run(scripted.url, first)
    assert records(scripted.url)["ledger"] == [("1", "before-deploy", "failed", 2)]
    upgrade(scripted, phase="before-deploy")
    assert rows(scripted.url, "t") == [(1, "a"), (2, "a"), (3, "c")]
    before = records(scripted.url)
    assert run_client(scripted.url, second).returncode != 0
    assert (records(scripted.url), len(rows(scripted.url, "t"))) == (before, 3)


def test_who_stops_at_a_script_can_go_on_with_sql_from_where_the_database_is(scripted: Site) -> None:
    run(scripted.url, export(scripted, phase="before-deploy").split(MARKER)[0])
    first, second = export(scripted, "current:head", phase="before-deploy").split(MARKER)
    run(scripted.url, first)
    run_by_hand(scripted.url)
    run(scripted.url, second)
    assert rows(scripted.url, "t") == [(1, "a"), (2, "a"), (3, "c")]
    assert records(scripted.url)["ledger"] == [("1", "before-deploy", "done", 0)]


def test_the_sql_behind_a_script_is_refused_before_the_sql_in_front_of_it(scripted: Site) -> None:
    text = export(scripted, phase="before-deploy")
    run(scripted.url, text.partition("-- PHASE")[0])
    done = run_client(scripted.url, text.split(MARKER)[1])
    assert (done.returncode != 0, "t" in table_names(scripted.url)) == (True, False)
    assert records(scripted.url) == {"version": [], "ledger": []}


# -- the guard -----------------------------------------------------------------------------------------

TABLE = """
    @phased("before-deploy")
    def upgrade():
        op.create_table("t{0}", sa.Column("id", sa.Integer, primary_key=True))

    @upgrade.phase("final")
    def upgrade_final():
        op.create_table("u{0}", sa.Column("id", sa.Integer, primary_key=True))

    @phased("before-deploy")
    def downgrade():
        op.drop_table("t{0}")

    @downgrade.phase("final")
    def downgrade_final():
        op.drop_table("u{0}")
"""


@pytest.fixture
def line(project: Callable[..., Site], database_url: str) -> Site:
    site = project(database_url)
    for number in range(1, 6):
        site.revision(str(number), str(number - 1) if number > 1 else None, TABLE.format(number))
    return site


def assert_refused(url: str, text: str) -> None:
    """Run SQL that must fail before its first DDL, and change no record."""
    before = _state(url)
    done = run_client(url, text)
    assert (done.returncode != 0, bool(done.stderr)) == (True, True)
    assert _state(url) == before


def _state(url: str) -> object:
    names = table_names(url)
    found = records(url) if "alembic_version_phase" in names else {"version": [], "ledger": []}
    return {name for name in names if not name.startswith("alembic")}, found


def test_a_database_of_another_history_is_refused(line: Site) -> None:
    query(line.url, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    query(line.url, "INSERT INTO alembic_version VALUES ('9f8e7d')")
    for phase in ("before-deploy", "final"):
        done = run_client(line.url, export(line, phase=phase))
        assert done.returncode != 0
        assert not {name for name in table_names(line.url) if not name.startswith("alembic")}


@pytest.mark.parametrize("phase", ["before-deploy", "final"])
def test_a_database_that_is_not_where_the_range_begins_is_refused(line: Site, phase: str) -> None:
    upgrade(line, "2")
    assert_refused(line.url, export(line, "3:5", phase=phase))
    assert_refused(line.url, export(line, "base:5", phase="before-deploy"))
    assert_refused(line.url, export(line, "1:5", phase="before-deploy"))
    run(line.url, export(line, "2:5", phase="before-deploy"))


def test_a_range_may_begin_where_the_phase_was_run_but_not_the_rest(line: Site) -> None:
    run(line.url, export(line, "3", phase="before-deploy"))
    run(line.url, export(line, "3:5", phase="before-deploy"))
    assert_refused(line.url, export(line, "3:5", phase="final"))
    run(
        line.url,
        export(
            line,
            "5",
            phase="final",
        ),
    )
    assert records(line.url) == {"version": [("5",)], "ledger": []}


def test_the_end_of_a_text_is_refused_by_itself(line: Site) -> None:
    text = export(line, phase="before-deploy")
    begin, third = text.partition("-- PHASE")[0], text.index("-- Running upgrade 2 -> 3")
    assert_refused(line.url, begin + text[third:])
    upgrade(line)
    assert_refused(line.url, begin + text[third:])


def test_phases_of_a_downgrade_are_refused_out_of_order(line: Site) -> None:
    upgrade(line)
    first = {phase: export(line, "5:3", direction="downgrade", phase=phase) for phase in PHASES}
    assert_refused(line.url, first["before-deploy"])
    run(line.url, first["final"])
    assert_refused(line.url, first["final"])
    upgrade(line, "5", phase="final")
    assert_refused(line.url, first["before-deploy"])
    run(line.url, first["final"])
    run(line.url, first["after-deploy"])
    run(line.url, first["before-deploy"])
    assert records(line.url) == {"version": [("3",)], "ledger": []}
    assert {"t3", "u3", "t4", "u4"} & table_names(line.url) == {"t3", "u3"}


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
@pytest.mark.parametrize("phase", ["before-deploy", "final"])
def test_the_text_grows_with_the_revisions_and_not_with_their_square(
    project: Callable[..., Site], phase: str, direction: Any
) -> None:
    site = project(NOWHERE)
    ids = [f"{number:03}" for number in range(1, 81)]
    for name, down in zip(ids, [None, *ids], strict=False):
        site.revision(name, down, TABLE.format(name))
    targets = ("020", "080") if direction == "upgrade" else ("020:base", "080:base")
    short, long = (len(export(site, target, phase=phase, direction=direction)) for target in targets)
    assert long < 4.2 * short


# -- names and places ----------------------------------------------------------------------------------


def test_a_schema_of_its_own_holds_the_records(project: Callable[..., Site], postgresql_url: str) -> None:
    site = project(
        postgresql_url,
        more='migrate.init_app(app, db, version_table="at", version_table_schema="records")',
    )
    site.revision("1", None, TABLE.format(1))
    site.revision("2", "1", TABLE.format(2))
    query(postgresql_url, "CREATE SCHEMA records")
    texts = [export(site, phase=phase) for phase in PHASES]
    run(postgresql_url, texts[0])
    upgrade(site, phase="after-deploy")
    run(postgresql_url, texts[2])
    assert query(postgresql_url, "SELECT version_num FROM records.at") == [("2",)]
    assert query(postgresql_url, "SELECT count(*) FROM records.at_phase") == [(0,)]
    assert run_client(postgresql_url, texts[0]).returncode != 0


def test_the_bytes_do_not_depend_on_the_machine(project: Callable[..., Site]) -> None:
    site = project(NOWHERE)
    site.write("migrations/fix.sh", "true\n")
    site.revision("1", None, """
        from sqlalchemy.dialects import mysql
        def upgrade():
            kind = mysql.SET("a", "b", "c", "d")
            op.execute(sa.table("t", sa.column("x", kind)).insert().values(x={"d", "c", "b", "a"}))
            op.execute(sa.table("t", sa.column("x", sa.JSON)).insert().values(x={"\\u00e9": [1.5, None]}))
            op.execute(sa.table("t", sa.column("x", sa.Text)).insert().values(x="\\u00e9\\U0001f600"))
            op.execute_script("fix.sh")
    """)  # fmt: skip
    for number in range(2, 9):
        site.revision(str(number), "1", TABLE.format(number))
    environments = [
        {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
        {"PYTHONHASHSEED": "4", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"},
    ]
    places = (site.folder, site.folder.parent)
    for options in ([], ["--phase", "before-deploy"]):
        texts = set()
        for place, environment in zip(places, environments, strict=True):
            output = str(site.folder / "out.sql")
            done = site.flask(
                "db", "sql", "--dialect", "mysql", "-o", output, *options, "heads", cwd=place, env=environment
            )
            assert done.returncode == 0, done.stderr
            texts.add((site.folder / "out.sql").read_bytes())
        assert len(texts) == 1


# -- what cannot be exported ---------------------------------------------------------------------------

READS = {
    "the bind": "op.get_bind().execute(sa.text('SELECT 1')).all()",
    "an inspector": "sa.inspect(op.get_bind()).get_table_names()",
    "a block": "with op.get_bind() as connection: pass",
    "a session": "from sqlalchemy.orm import Session; Session(op.get_bind()).execute(sa.text('SELECT 1'))",
    "the application": "from flask import current_app as a; a.extensions['sqlalchemy'].engine.connect()",
    "an engine": "sa.create_engine('sqlite://').connect()",
    "each row": "list(op.get_bind().execute(sa.text('SELECT 1')))",
    "a row by its place": "op.get_bind().execute(sa.text('SELECT 1'))[0]",
    "the heads": "assert op.get_context().connection.scalar(sa.text('SELECT 1'))",
}


@pytest.mark.parametrize("reading", READS.values(), ids=READS)
def test_whatever_way_a_body_reads_the_database_it_is_refused(project: Callable[..., Site], reading: str) -> None:
    site = project("sqlite://")
    path = site.revision("1", None, f"def upgrade():\n    op.execute('SELECT 0')\n    {reading}\n")
    line = len(path.read_text().splitlines())
    with site.app() as app:
        migrate = app.extensions["migrate"].migrate
        for phase in (None, "before-deploy"):
            with pytest.raises(Exception, match="it reads the database, and an export has none") as caught:
                migrate.export(None, "heads", phase=phase)
            assert type(caught.value).__name__ == "Refused"
            assert str(caught.value).startswith(f"{path}, line {line}: revision 1 cannot be exported as SQL")
