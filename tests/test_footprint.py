"""Footprints: what two steps share, and what operations, constructs and raw SQL touch, without a database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_phased_migrate import execute_script
from flask_phased_migrate.footprint import (
    NOTHING,
    Footprint,
    Touched,
    TouchIndex,
    opaque,
    part,
    shared,
    union,
    whole,
)
from flask_phased_migrate.graph import Graph, Revision
from flask_phased_migrate.inspection import Inspector
from flask_phased_migrate.phases import Bodies, Body, PhasedPart, Phases
from flask_phased_migrate.plan import Step

PHASE = "before-deploy"
ENGINES = ("sqlite", "postgresql", "mysql")


def look(function: Callable[[], Any], dialect: str = "postgresql") -> Footprint:
    """Return what a body touches."""
    bodies = Bodies((Body(PHASE, PhasedPart(function), "default"),), phased=True, named=(PHASE,))
    graph = Graph({"r": Revision("r", upgrade=bodies)})
    return Inspector().footprint(Step("default", "r", PHASE), graph, Phases(), dialect)


def read(sql: str, dialect: str = "postgresql") -> Footprint:
    """Return what a raw statement touches."""
    return look(lambda: op.execute(sql), dialect)


def index(name: str, schema: str | None = None) -> Footprint:
    """Return the footprint of an index as a thing of its name."""
    return whole(name, schema, "index")


def calls(sql: str) -> Footprint:
    """Return the footprint of a statement that calls what we do not know."""
    return opaque(f"it calls a function that may touch anything: {sql}")


def unknown(sql: str) -> Footprint:
    """Return the footprint of a statement that cannot be read."""
    return opaque(f"it cannot be told what this touches: {sql}")


# -- two footprints ---------------------------------------------------------------------------------

SHARED = [
    (whole("a"), whole("b"), ()),
    (whole("a"), whole("a"), (Touched("a"),)),
    (whole("a"), part("a", ["x"]), (Touched("a"),)),
    (part("a", ["x", "y"]), part("a", ["y", "z"]), (Touched("a", None, frozenset("y")),)),
    (part("a", ["x"]), part("a", ["y"]), ()),
    (part("a", []), part("a", ["x"]), ()),
    (part("a", []), whole("a"), (Touched("a"),)),
    (part("Account", ["Email"]), part("account", ["email"]), (Touched("Account", None, frozenset({"Email"})),)),
    (whole("a", "one"), whole("a", "two"), ()),
    (whole("a", "one"), whole("A", "ONE"), (Touched("a", "one"),)),
    (whole("a", "one"), whole("a"), (Touched("a", "one"),)),
    (part("a", ["x"]), part("a", ["x"], "one"), (Touched("a", "one", frozenset("x")),)),
    (union([part("a", ["x"]), whole("b")]), union([part("a", ["y"]), part("b", ["y"])]), (Touched("b"),)),
    (whole("s", None, "schema"), part("a", ["x"], "S"), (Touched("s", None, None, "schema"),)),
    (part("a", ["x"], "s"), whole("s", None, "schema"), (Touched("s", None, None, "schema"),)),
    (whole("s", None, "schema"), whole("s", None, "schema"), (Touched("s", None, None, "schema"),)),
    (whole("s", None, "schema"), whole("s"), ()),
    (index("i"), index("i"), (Touched("i", None, None, "index"),)),
    (opaque("why"), whole("a"), ()),
    (NOTHING, whole("a"), ()),
]


@pytest.mark.parametrize(("one", "other", "expected"), SHARED)
def test_two_steps_share_a_table_unless_both_touch_other_columns_of_it(
    one: Footprint, other: Footprint, expected: tuple[Touched, ...]
) -> None:
    assert shared(one, other) == expected


@pytest.mark.parametrize(("one", "other", "expected"), SHARED)
def test_an_index_finds_what_a_comparison_finds(
    one: Footprint, other: Footprint, expected: tuple[Touched, ...]
) -> None:
    touches: TouchIndex[str] = TouchIndex()
    touches.add("elsewhere", whole("elsewhere"))
    touches.add("other", other)
    assert list(touches.overlapping(one)) == ([("other", expected)] if expected else [])


def test_a_union_joins_the_columns_of_a_table_and_the_whole_of_it_wins() -> None:
    joined = union([part("b", ["x"]), part("a", ["x"]), part("B", ["X", "y"]), opaque("why"), opaque("why")])
    assert joined == Footprint(
        (Touched("a", None, frozenset("x")), Touched("b", None, frozenset({"x", "y"}))), ("why",)
    )
    assert union([part("a", ["x"]), whole("a")]) == whole("a")


@pytest.mark.parametrize(
    ("touched", "text"),
    [
        (Touched("a"), "the whole table a"),
        (Touched("a", "s", frozenset("x")), "column x of table s.a"),
        (Touched("a", None, frozenset("yx")), "columns x, y of table a"),
        (Touched("a", None, frozenset()), "no column of table a"),
        (Touched("i", "s", None, "index"), "the whole index s.i"),
    ],
)
def test_what_is_touched_is_said_in_words(touched: Touched, text: str) -> None:
    assert str(touched) == text


# -- operations -------------------------------------------------------------------------------------

A = sa.table("a", sa.column("id", sa.Integer), sa.column("x", sa.String))


KIND = sa.Enum("one", name="kind")


class Decorated(sa.types.TypeDecorator[str]):
    """A named type below another."""

    impl = KIND
    cache_ok = True


class OwnType(sa.types.UserDefinedType[str]):
    """A type that only the database knows."""

    cache_ok = True

    def get_col_spec(self) -> str:
        return "own"


def batch(change: Callable[[Any], Any], **options: Any) -> Callable[[], None]:
    """Return a body that makes a change of table ``a`` in a batch."""

    def body() -> None:
        with op.batch_alter_table("a", **options) as block:
            change(block)

    return body


def two_batches() -> None:
    with op.batch_alter_table("a") as block:
        block.add_column(sa.Column("x", sa.Integer))
        block.f("name")
    with op.batch_alter_table("b", schema="s") as block:
        block.drop_column("y")


OPERATIONS: dict[str, tuple[Callable[[], Any], Footprint]] = {
    "create table": (lambda: op.create_table("a", sa.Column("id", sa.Integer)), whole("a")),
    "create table with keys": (
        lambda: op.create_table(
            "a",
            sa.Column("b_id", sa.Integer, sa.ForeignKey("b.id")),
            sa.Column("c_id", sa.Integer),
            sa.ForeignKeyConstraint(["c_id"], ["s.c.id"]),
            schema="t",
        ),
        union([whole("a", "t"), part("b", ["id"]), part("c", ["id"], "s")]),
    ),
    "drop table": (lambda: op.drop_table("a", schema="s"), whole("a", "s")),
    "rename table": (lambda: op.rename_table("a", "b"), union([whole("a"), whole("b")])),
    "table comment": (lambda: op.create_table_comment("a", "words"), whole("a")),
    "no table comment": (lambda: op.drop_table_comment("a"), whole("a")),
    "add column": (lambda: op.add_column("a", sa.Column("x", sa.Integer)), part("a", ["x"])),
    "add column with key": (
        lambda: op.add_column("a", sa.Column("x", sa.Integer, sa.ForeignKey("b.id")), schema="s"),
        union([part("a", ["x"], "s"), part("b", ["id"])]),
    ),
    "drop column": (lambda: op.drop_column("a", "x"), part("a", ["x"])),
    "alter column": (lambda: op.alter_column("a", "x", nullable=False), part("a", ["x"])),
    "rename column": (lambda: op.alter_column("a", "x", new_column_name="y"), part("a", ["x", "y"])),
    "index": (lambda: op.create_index("i", "a", ["x", "y"]), union([part("a", ["x", "y"]), index("i")])),
    "partial index": (
        lambda: op.create_index(
            "i", "a", ["x"], postgresql_where=sa.text("y > 3"), postgresql_include=["z"], postgresql_using="btree"
        ),
        union([part("a", ["x", "y", "z"]), index("i")]),
    ),
    "index on expression": (
        lambda: op.create_index("i", "a", [sa.text("lower(x)"), "y"]),
        union([part("a", ["x", "y"]), index("i")]),
    ),
    "drop index": (lambda: op.drop_index("i", "a"), union([whole("a"), index("i")])),
    "drop index without table": (
        lambda: op.drop_index("i"),
        union([index("i"), opaque("drop_index('i') does not name its table")]),
    ),
    "unique": (
        lambda: op.create_unique_constraint("u", "a", ["x", "y"]),
        union([part("a", ["x", "y"]), index("u")]),
    ),
    "primary key": (
        lambda: op.create_primary_key("p", "a", ["x"], schema="s"),
        union([part("a", ["x"], "s"), index("p", "s")]),
    ),
    "table with named keys": (
        lambda: op.create_table(
            "a", sa.Column("x", sa.Integer), sa.UniqueConstraint("x", name="u"), sa.Index("i", "x"), schema="s"
        ),
        union([whole("a", "s"), index("u", "s"), index("i", "s")]),
    ),
    "table with defaults": (
        lambda: op.create_table(
            "a",
            sa.Column("x", KIND, server_default=sa.text("nextval('s')")),
            sa.CheckConstraint("f(x)"),
        ),
        union([whole("a"), part("kind", ()), part("s", ()), part("f", ()), calls("f(x)")]),
    ),
    "computed": (lambda: op.add_column("a", sa.Column("x", sa.Text, sa.Computed("lower(y)"))), part("a", ["x", "y"])),
    "check of column": (
        lambda: op.add_column("a", sa.Column("x", sa.Integer, sa.CheckConstraint("x > y"))),
        part("a", ["x", "y"]),
    ),
    "default of sequence": (
        lambda: op.add_column("a", sa.Column("x", sa.Integer, server_default=sa.text("nextval('t.s'::regclass)"))),
        union([part("a", ["x"]), part("s", (), "t")]),
    ),
    "default of function": (
        lambda: op.add_column("a", sa.Column("x", sa.Integer, server_default=sa.func.f())),
        union([part("a", ["x"]), part("f", ()), calls("f()")]),
    ),
    "changed default": (
        lambda: op.alter_column("a", "x", server_default=sa.text("nextval('s')")),
        union([part("a", ["x"]), part("s", ())]),
    ),
    "changed type": (
        lambda: op.alter_column("a", "x", type_=sa.Text, existing_type=KIND, postgresql_using="y::other"),
        union([part("a", ["x", "y"]), part("kind", ()), part("other", ())]),
    ),
    "array of named type": (
        lambda: op.add_column("a", sa.Column("x", sa.ARRAY(KIND))),
        union([part("a", ["x"]), part("kind", ())]),
    ),
    "type of a decorator": (
        lambda: op.add_column("a", sa.Column("x", Decorated)),
        union([part("a", ["x"]), part("kind", ())]),
    ),
    "domain": (
        lambda: op.add_column("a", sa.Column("x", postgresql.DOMAIN("d", sa.Text, schema="s"))),
        union([part("a", ["x"]), part("d", (), "s")]),
    ),
    "own type": (lambda: op.add_column("a", sa.Column("x", OwnType)), union([part("a", ["x"]), part("own", ())])),
    "bulk insert of expression": (
        lambda: op.bulk_insert(A, [{"id": sa.func.nextval("s"), "x": "one"}]),
        union([whole("a"), part("s", ())]),
    ),
    "check": (lambda: op.create_check_constraint("c", "a", "x > y AND z IS NULL"), part("a", ["x", "y", "z"])),
    "check of construct": (lambda: op.create_check_constraint("c", "a", sa.column("x") > 3), part("a", ["x"])),
    "foreign key": (
        lambda: op.create_foreign_key("f", "a", "b", ["x"], ["id"], referent_schema="s"),
        union([part("a", ["x"]), part("b", ["id"], "s")]),
    ),
    "drop constraint": (lambda: op.drop_constraint("c", "a"), union([whole("a"), index("c")])),
    "drop check": (lambda: op.drop_constraint("c", "a", type_="check"), whole("a")),
    "bulk insert": (lambda: op.bulk_insert(A, [{"id": 1, "x": "one"}]), whole("a")),
    "update": (lambda: op.execute(sa.update(A).values(x="1").where(A.c.id == 5)), part("a", ["id", "x"])),
    "update in": (lambda: op.execute(sa.update(A).values(x="%").where(A.c.id.in_([1, 2]))), part("a", ["id", "x"])),
    "delete": (lambda: op.execute(sa.delete(A)), whole("a")),
    "insert from": (
        lambda: op.execute(sa.insert(A).from_select(["x"], sa.select(sa.table("b", sa.column("y")).c.y))),
        union([whole("a"), part("b", ["y"])]),
    ),
    "text with parameter": (
        lambda: op.execute(sa.text("UPDATE a SET x = :x WHERE y = '10:30%'").bindparams(x=object)),
        part("a", ["x", "y"]),
    ),
    "ddl": (lambda: op.execute(sa.schema.DDL("ALTER TABLE a ADD COLUMN x int")), part("a", ["x"])),
    "create": (
        lambda: op.execute(sa.schema.CreateTable(sa.Table("a", sa.MetaData(), sa.Column("x", sa.Integer)))),
        whole("a"),
    ),
    "past op": (lambda: op.get_context().execute("UPDATE a SET x = 1"), part("a", ["x"])),
    "past op again": (lambda: op.get_context().impl.execute("UPDATE a SET x = 1"), part("a", ["x"])),
    "batches": (two_batches, union([part("a", ["x"]), part("b", ["y"], "s")])),
    "autocommit": (lambda: op.get_context().autocommit_block().__enter__(), NOTHING),
    "asks the dialect": (
        lambda: op.add_column("a", sa.Column(op.get_bind().dialect.name[:0] + "x", sa.Integer)),
        part("a", ["x"]),
    ),
    "nothing": (lambda: None, NOTHING),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_touches(name: str) -> None:
    body, expected = OPERATIONS[name]
    assert look(body) == expected


TABLE = sa.Table("a", sa.MetaData(), sa.Column("id", sa.Integer), sa.Column("x", sa.Integer))
BATCHES: dict[str, tuple[Callable[[], Any], Footprint, Footprint]] = {
    # what                                              touches on SQLite, elsewhere
    "add behind": (
        batch(lambda block: block.add_column(sa.Column("x", sa.Integer), insert_after="y")),
        part("a", ["x", "y"]),
        part("a", ["x", "y"]),
    ),
    "collation": (
        batch(lambda block: block.add_column(sa.Column("x", sa.String(9, collation="c")))),
        whole("a"),
        part("a", ["x"]),
    ),
    "add": (batch(lambda block: block.add_column(sa.Column("x", sa.Integer))), part("a", ["x"]), part("a", ["x"])),
    "drop": (batch(lambda block: block.drop_column("x")), part("a", ["x"]), part("a", ["x"])),
    "drop, copy given": (
        batch(lambda block: block.drop_column("x"), copy_from=TABLE),
        whole("a"),
        part("a", ["x"]),
    ),
    "add, copy given": (
        batch(lambda block: block.add_column(sa.Column("y", sa.Integer)), copy_from=TABLE),
        part("a", ["y"]),
        part("a", ["y"]),
    ),
    "always copied, copy given": (
        batch(lambda block: block.add_column(sa.Column("y", sa.Integer)), copy_from=TABLE, recreate="always"),
        whole("a"),
        whole("a"),
    ),
    "check": (
        batch(lambda block: block.create_check_constraint("c", sa.text("x > 3"))),
        whole("a"),
        part("a", ["x"]),
    ),
    "foreign key": (
        batch(lambda block: block.create_foreign_key(None, "b", ["x"], ["id"])),
        union([part("a", ["x"]), part("b", ["id"])]),
        union([part("a", ["x"]), part("b", ["id"])]),
    ),
    "constraint": (batch(lambda block: block.drop_constraint("c", type_="check")), whole("a"), whole("a")),
    "sql": (batch(lambda block: block.execute("UPDATE b SET y = 1")), part("b", ["y"]), part("b", ["y"])),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_touches(name: str) -> None:
    body, on_sqlite, elsewhere = BATCHES[name]
    assert [look(body, dialect) for dialect in ENGINES] == [on_sqlite, elsewhere, elsewhere]


def test_a_named_type_is_shared_with_who_changes_it_and_not_with_who_uses_it() -> None:
    kind = sa.Enum("one", name="kind")
    user = look(lambda: op.add_column("a", sa.Column("x", kind)))
    other = look(lambda: op.add_column("b", sa.Column("x", kind)))
    assert shared(user, other) == ()
    assert shared(user, read("DROP TYPE kind")) == (Touched("kind"),)


# -- raw SQL ----------------------------------------------------------------------------------------

X, XY = part("a", ["x"]), part("a", ["x", "y"])
EVERYWHERE: dict[str, Footprint] = {
    "UPDATE a SET x = 1 WHERE y IS NULL": XY,
    "UPDATE a SET x = 'naïve 😀 100%; -- no' ; UPDATE b SET y = 2;": union([X, part("b", ["y"])]),
    "-- a comment\nUPDATE a SET x = 1 -- and another": X,
    "-- only a comment": NOTHING,
    "UPDATE s.a SET x = 1": part("a", ["x"], "s"),
    "UPDATE a SET x = (SELECT max(b.y) FROM b WHERE b.id = a.id)": union(
        [part("a", ["id", "x"]), part("b", ["id", "y"])]
    ),
    "UPDATE a SET x = (SELECT max(y) FROM b)": union([whole("a"), whole("b")]),
    "UPDATE a SET x = (SELECT max(a2.y) FROM a AS a2)": XY,
    "INSERT INTO a (x) VALUES (1)": whole("a"),
    "INSERT INTO a (x) SELECT y FROM b": union([whole("a"), part("b", ["y"])]),
    "INSERT INTO a SELECT * FROM b": union([whole("a"), whole("b")]),
    "DELETE FROM a WHERE x = 1": whole("a"),
    "SELECT x FROM a": X,
    "SELECT * FROM a": whole("a"),
    "SELECT count(*) FROM a WHERE x = 1": X,
    "SELECT count(*) FROM a": part("a", []),
    "SELECT q.z FROM a AS q (y, z)": whole("a"),
    "SELECT x FROM a WHERE x IN (WITH a AS (SELECT 1 AS y) SELECT y FROM a)": XY,
    "UPDATE a SET x = (SELECT max(b.y) FROM b WHERE b.id = a.id) WHERE x IS NULL": union(
        [part("a", ["id", "x"]), part("b", ["id", "y"])]
    ),
    "SELECT q.x FROM (SELECT x FROM a) AS q": X,
    "WITH q AS (SELECT x FROM a) SELECT q.x FROM q": X,
    "CREATE TABLE a (id INTEGER, b_id INTEGER REFERENCES b (id))": union([whole("a"), part("b", ["id"])]),
    "UPDATE a SET x = 1; this is no SQL": union([X, unknown("this is no SQL")]),
    "CREATE TABLE event (id INTEGER)": whole("event"),
    "DROP TABLE a": whole("a"),
    "DROP TABLE IF EXISTS s.a": whole("a", "s"),
    "ALTER TABLE a ADD COLUMN x INTEGER DEFAULT 3": X,
    "ALTER TABLE a ADD COLUMN x INTEGER REFERENCES b (id)": union([X, part("b", ["id"])]),
    "ALTER TABLE a DROP COLUMN x": X,
    "ALTER TABLE a RENAME COLUMN x TO y": XY,
    "ALTER TABLE a RENAME TO b": union([whole("a"), whole("b")]),
    "CREATE TABLE a AS SELECT y FROM b": union([whole("a"), part("b", ["y"])]),
    "INSERT INTO a (x) SELECT b.y FROM b JOIN c USING (id)": union(
        [whole("a"), part("b", ["id", "y"]), part("c", ["id"])]
    ),
    "SELECT a.x FROM a NATURAL JOIN b": union([whole("a"), whole("b")]),
    "WITH a AS (SELECT x FROM a) SELECT a.y FROM a": XY,
    "WITH q AS (SELECT x FROM r), r AS (SELECT y FROM a) SELECT r.y FROM q, r": union(
        [part("a", ["y"]), part("r", ["x", "y"])]
    ),
    "WITH RECURSIVE q AS (SELECT 1 AS n UNION ALL SELECT n FROM q) SELECT n FROM q": NOTHING,
    "UPDATE a SET x = f(y)": union([XY, part("f", ()), calls("UPDATE a SET x = f(y)")]),
    "INSERT INTO a VALUES (s.f())": union([whole("a"), part("f", (), "s"), calls("INSERT INTO a VALUES (s.f())")]),
    "DELETE FROM a WHERE f(x)": union([whole("a"), part("f", ()), calls("DELETE FROM a WHERE f(x)")]),
    "ALTER TABLE a ADD COLUMN x INTEGER DEFAULT (f())": union(
        [X, part("f", ()), calls("ALTER TABLE a ADD COLUMN x INTEGER DEFAULT (f())")]
    ),
    "UPDATE a SET x = lower(y), y = coalesce(x, y) WHERE length(x) > 3": XY,
    "DROP VIEW v": whole("v"),
    "BEGIN": NOTHING,
    "COMMIT": NOTHING,
}


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize("sql", EVERYWHERE)
def test_raw_sql_touches(sql: str, dialect: str) -> None:
    assert read(sql, dialect) == EVERYWHERE[sql]


BY_ENGINE: dict[str, dict[str, Footprint]] = {
    "postgresql": {
        "SELECT (q).x FROM (SELECT a FROM a) AS s (q)": whole("a"),
        "INSERT INTO b SELECT length(a::text) FROM a": union([whole("a"), whole("b")]),
        "CREATE INDEX i ON a (x, y)": union([XY, index("i")]),
        "CREATE UNIQUE INDEX i ON s.a (x)": union([part("a", ["x"], "s"), index("i", "s")]),
        "CREATE INDEX ON a (x)": X,
        "CREATE INDEX i ON a (f(x))": union([X, index("i"), part("f", ()), calls("CREATE INDEX i ON a (f(x))")]),
        "CREATE VIEW v AS SELECT x FROM a": union([X, whole("v")]),
        "UPDATE a AS q SET x = to_jsonb(q)": whole("a"),
        "UPDATE a SET x = row_to_json(a)": whole("a"),
        "SELECT (a).x FROM a": whole("a"),
        "UPDATE a SET a = 1": part("a", ["a"]),
        "UPDATE a SET x = jsonb_set(y, '{a}', '1'), z = now()": part("a", ["x", "y", "z"]),
        "UPDATE a SET x = y::kind": union([XY, part("kind", ())]),
        "INSERT INTO a VALUES (nextval('s'))": union([whole("a"), part("s", ())]),
        "SELECT setval('t.s', 1)": whole("s", "t"),
        "WITH d AS (DELETE FROM a WHERE a.x = 1 RETURNING a.id) UPDATE b SET y = 1 FROM d WHERE b.id = d.id": union(
            [whole("a"), part("b", ["id", "y"])]
        ),
        "WITH d AS (INSERT INTO a (x) VALUES (1) RETURNING id) SELECT d.id FROM d": whole("a"),
        "INSERT INTO a (x) SELECT y FROM b RETURNING id": union([whole("a"), part("b", ["y"])]),
        "SELECT a.x INTO b FROM a": union([X, whole("b")]),
        "CREATE TABLE b (LIKE a INCLUDING ALL)": union([whole("a"), whole("b")]),
        "CREATE TABLE b (y int) INHERITS (a)": union([whole("a"), whole("b")]),
        "CREATE TABLE b PARTITION OF a FOR VALUES IN (1)": union([whole("a"), whole("b")]),
        "CREATE TABLE b AS TABLE a": union([whole("a"), whole("b")]),
        "CREATE TABLE a (x kind DEFAULT 'one'::kind, y int DEFAULT nextval('s'))": union(
            [whole("a"), part("kind", ()), part("s", ())]
        ),
        "SET t.x = (SELECT max(x) FROM a)": union([whole("a"), unknown("SET t.x = (SELECT max(x) FROM a)")]),
        "ALTER TABLE a ADD COLUMN x s.kind[]": union([X, part("kind", (), "s")]),
        "ALTER TABLE a ADD COLUMN x text GENERATED ALWAYS AS (lower(y)) STORED": XY,
        "ALTER TABLE a ALTER COLUMN x TYPE kind USING y::kind": union([XY, part("kind", ())]),
        "ALTER TABLE a ALTER COLUMN x SET STATISTICS 500": whole("a"),
        "ALTER TABLE s.a OWNER TO joe": whole("a", "s"),
        "ALTER TABLE a ADD CONSTRAINT u UNIQUE USING INDEX i": union([whole("a"), whole("u"), whole("i")]),
        "ALTER TABLE a ATTACH PARTITION b FOR VALUES IN (1)": union(
            [
                *(whole("a"), whole("b")),
                unknown("ALTER TABLE a ATTACH PARTITION b FOR VALUES IN (1)"),
            ]
        ),
        "ALTER TABLE s.a SET SCHEMA t": union(
            [whole("a"), whole("a", "s"), whole("t"), unknown("ALTER TABLE s.a SET SCHEMA t")]
        ),
        "CREATE TYPE pair AS (x int, y int)": whole("pair"),
        "CREATE DOMAIN d AS text": whole("d"),
        "DROP TYPE kind": union(
            [whole("kind"), opaque("only the database knows which columns are of this type: DROP TYPE kind")]
        ),
        "ALTER SEQUENCE s RENAME TO t": union([whole("s"), whole("t")]),
        "CREATE SCHEMA IF NOT EXISTS s": whole("s", None, "schema"),
        "GRANT USAGE ON SCHEMA s TO joe": whole("s", None, "schema"),
        "ALTER SCHEMA s RENAME TO t": union([whole("s", None, "schema"), whole("t", None, "schema")]),
        "DROP SCHEMA s CASCADE": union([whole("s", None, "schema"), unknown("DROP SCHEMA s CASCADE")]),
        "DROP TABLE a CASCADE": union([whole("a"), unknown("DROP TABLE a CASCADE")]),
        "TRUNCATE a CASCADE": union([whole("a"), unknown("TRUNCATE a CASCADE")]),
        "DROP EXTENSION citext": unknown("DROP EXTENSION citext"),
        "GRANT SELECT ON a TO joe": whole("a"),
        "GRANT one TO joe": unknown("GRANT one TO joe"),
        "DROP INDEX i": union([index("i"), opaque("it does not name its table: DROP INDEX i")]),
        "ALTER INDEX i RENAME TO j": union(
            [index("i"), index("j"), opaque("it does not name its table: ALTER INDEX i RENAME TO j")]
        ),
        "UPDATE a SET x = b.y FROM b WHERE a.id = b.id": union([part("a", ["id", "x"]), part("b", ["id", "y"])]),
        "UPDATE ONLY a SET (x, y) = (1, 2)": XY,
        'UPDATE "A" SET "X" = 1': part("A", ["X"]),
        "DELETE FROM a USING b WHERE a.id = b.id": union([whole("a"), part("b", ["id"])]),
        "INSERT INTO a (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET x = excluded.x": whole("a"),
        "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET x = b.y": union([whole("a"), whole("b")]),
        "MERGE INTO a USING b ON a.id = b.id WHEN NOT MATCHED THEN INSERT (id) VALUES (b.id)": union(
            [whole("a"), whole("b")]
        ),
        "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE": union([whole("a"), part("b", ["id"])]),
        "TRUNCATE a, s.b": union([whole("a"), whole("b", "s")]),
        "COPY a FROM '/dev/null'": whole("a"),
        "ALTER TABLE a ALTER COLUMN x SET NOT NULL, DROP COLUMN y": XY,
        "ALTER TABLE a ALTER COLUMN x TYPE bigint USING y::bigint": XY,
        "ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (x) REFERENCES b (id) NOT VALID": union([X, part("b", ["id"])]),
        "ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (x) REFERENCES b": union([X, whole("b")]),
        "ALTER TABLE a ADD CONSTRAINT u UNIQUE (x, y)": union([XY, index("u")]),
        "ALTER TABLE a ADD CONSTRAINT c CHECK (x > 0)": X,
        "ALTER TABLE a VALIDATE CONSTRAINT f": whole("a"),
        "ALTER TABLE a DROP CONSTRAINT f": whole("a"),
        "ALTER TABLE ONLY s.a ENABLE ROW LEVEL SECURITY": whole("a", "s"),
        "CREATE INDEX CONCURRENTLY i ON a USING gin (lower(x)) INCLUDE (y) WHERE z > 0": union(
            [part("a", ["x", "y", "z"]), index("i")]
        ),
        "COMMENT ON TABLE a IS 'words'": whole("a"),
        "COMMENT ON COLUMN a.x IS 'words'": X,
        "CREATE TYPE kind AS ENUM ('one')": whole("kind"),
        "ALTER TYPE kind ADD VALUE 'two'": union(
            [
                whole("kind"),
                opaque("only the database knows which columns are of this type: ALTER TYPE kind ADD VALUE 'two'"),
            ]
        ),
        "CREATE SEQUENCE s": whole("s"),
        "ALTER SEQUENCE s RESTART": whole("s"),
        "DROP FUNCTION f()": whole("f"),
        "CREATE EXTENSION IF NOT EXISTS citext": unknown("CREATE EXTENSION IF NOT EXISTS citext"),
        "SET LOCAL lock_timeout = '2s'": NOTHING,
        "LOCK TABLE a IN SHARE MODE": whole("a"),
        "VACUUM FULL a": whole("a"),
        "CREATE TRIGGER t BEFORE UPDATE OF x ON s.a FOR EACH ROW EXECUTE FUNCTION f()": union(
            [
                whole("a", "s"),
                opaque(
                    "it creates code that may touch anything: CREATE TRIGGER t BEFORE UPDATE OF x ON "
                    "s.a FOR EACH ROW E..."
                ),
            ]
        ),
        "DROP TRIGGER t ON a": whole("a"),
        "CREATE POLICY p ON a USING (x = 1)": whole("a"),
        "CREATE POLICY p ON a USING (x IN (SELECT y FROM b))": union(
            [whole("a"), unknown("CREATE POLICY p ON a USING (x IN (SELECT y FROM b))")]
        ),
    },
    "mysql": {
        "CREATE INDEX i ON a (x, y)": XY,
        "CREATE INDEX i ON a (x(10), y)": XY,
        "ALTER TABLE a ADD INDEX i (x(10))": X,
        "ALTER TABLE a ADD COLUMN x INT AFTER y": XY,
        "CREATE VIEW v AS SELECT x FROM a": union([X, whole("v")]),
        "DELETE FROM a, b USING a JOIN b ON a.id = b.id": union([whole("a"), whole("b")]),
        "DELETE a, b FROM a JOIN b ON a.id = b.id": union([whole("a"), whole("b")]),
        "DELETE q FROM a JOIN b AS q ON a.id = q.id": union([part("a", ["id"]), whole("b"), whole("q")]),
        "CREATE TABLE b LIKE a": union([whole("a"), whole("b")]),
        "SET @x = (SELECT max(x) FROM a)": union([X, unknown("SET @x = (SELECT max(x) FROM a)")]),
        "SET @x = 1": NOTHING,
        "/*!40101 UPDATE a SET x = 1 */": opaque(
            "it has a comment that is carried out: /*!40101 UPDATE a SET x = 1 */"
        ),
        "ALTER TABLE a EXCHANGE PARTITION p WITH TABLE b": union(
            [
                *(whole("a"), whole("b"), whole("p")),
                unknown("ALTER TABLE a EXCHANGE PARTITION p WITH TABLE b"),
            ]
        ),
        "ALTER TABLE a CONVERT TO CHARACTER SET utf8mb4": whole("a"),
        "ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (x) REFERENCES b (id)": union(
            [X, part("b", ["id"]), whole("f", None, "foreign key")]
        ),
        "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW INSERT INTO b VALUES (NEW.x)": union([whole("a"), whole("b")]),
        "UPDATE a SET x = substring_index(y, ',', 1), y = uuid()": XY,
        "UPDATE a JOIN b ON a.id = b.id SET a.x = b.y": union([part("a", ["id", "x"]), part("b", ["id", "y"])]),
        "UPDATE a JOIN b ON a.id = b.id SET x = b.y": union([whole("a"), whole("b")]),
        "UPDATE `a` SET `x` = 1": X,
        "REPLACE INTO a (x) VALUES (1)": whole("a"),
        "DELETE a FROM a JOIN b ON a.id = b.id": union([whole("a"), part("b", ["id"])]),
        "ALTER TABLE a MODIFY COLUMN x BIGINT NOT NULL, ALGORITHM=INPLACE": X,
        "ALTER TABLE a CHANGE COLUMN x y INT": XY,
        "ALTER TABLE a ADD INDEX i (x)": X,
        "ALTER TABLE a DROP FOREIGN KEY f": whole("a"),
        "ALTER TABLE a ENGINE=InnoDB": whole("a"),
        "DROP INDEX i ON a": whole("a"),
        "RENAME TABLE a TO b": union([whole("a"), whole("b")]),
        "SET FOREIGN_KEY_CHECKS = 0": NOTHING,
        "SET STATEMENT max_statement_time = 5 FOR UPDATE a SET x = 1": X,
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.x = 1; UPDATE b SET y = 1": union(
            [whole("a"), part("b", ["y"])]
        ),
        "CREATE DEFINER=root@localhost TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN "
        "IF NEW.x THEN SET NEW.x = CASE WHEN 1 THEN 2 END; END IF; SET NEW.y = 1; END; UPDATE b SET y = 1": union(
            [
                whole("a"),
                part("b", ["y"]),
                opaque(
                    "it creates code that may touch anything: CREATE DEFINER=root@localhost TRIGGER "
                    "t BEFORE INSERT ON ..."
                ),
            ]
        ),
        "OPTIMIZE TABLE a": whole("a"),
    },
    "sqlite": {
        "PRAGMA foreign_keys = OFF": NOTHING,
        "UPDATE OR IGNORE a SET x = 1": X,
        "INSERT OR REPLACE INTO a (x) VALUES (1)": whole("a"),
        "CREATE INDEX i ON a (x, y)": union([XY, index("i")]),
        "CREATE INDEX i ON a (lower(x))": union([whole("a"), index("i")]),
        "CREATE INDEX i ON a (x DESC)": union([whole("a"), index("i")]),
        "CREATE INDEX i ON a (x COLLATE NOCASE)": union([whole("a"), index("i")]),
        "ALTER TABLE a ADD COLUMN x INTEGER CHECK (x > 0)": whole("a"),
        "ALTER TABLE a ADD COLUMN x TEXT COLLATE NOCASE": whole("a"),
        "ALTER TABLE a ADD COLUMN x INTEGER NOT NULL DEFAULT 3": X,
        "CREATE VIEW v AS SELECT x FROM a": union([whole("a"), whole("v")]),
        "UPDATE a SET a = 1 WHERE a IS NULL": part("a", ["a"]),
        "UPDATE a SET x = datetime('now'), y = printf('%d', x)": XY,
        "CREATE TRIGGER t AFTER UPDATE OF x ON a BEGIN UPDATE b SET y = NEW.x; END; UPDATE c SET z = 1": union(
            [whole("a"), part("b", ["y"]), part("c", ["z"])]
        ),
        "VACUUM": NOTHING,
    },
}


@pytest.mark.parametrize(("dialect", "sql"), [(dialect, sql) for dialect, found in BY_ENGINE.items() for sql in found])
def test_raw_sql_of_an_engine_touches(dialect: str, sql: str) -> None:
    assert read(sql, dialect) == BY_ENGINE[dialect][sql]


OPAQUE = {
    "DO $$ BEGIN NULL; END $$": "it cannot be told what this touches: DO $$ BEGIN NULL; END $$",
    "CALL p()": "it cannot be told what this touches: CALL p()",
    "REFRESH MATERIALIZED VIEW v": "it cannot be told what this touches: REFRESH MATERIALIZED VIEW v",
    "CREATE EXTENSION citext": "it cannot be told what this touches: CREATE EXTENSION citext",
    "DROP TRIGGER t": "it does not name its table: DROP TRIGGER t",
    "this is no SQL at all": "it cannot be told what this touches: this is no SQL at all",
    "UPDATE a SET x = (((": "it cannot be told what this touches: UPDATE a SET x = (((",
}


@pytest.mark.parametrize("sql", OPAQUE)
def test_what_cannot_be_told_is_opaque(sql: str) -> None:
    assert read(sql) == opaque(OPAQUE[sql])


def test_a_function_is_a_thing_of_its_name_and_its_code_is_opaque() -> None:
    found = read("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$")
    assert found.tables == whole("f").tables
    assert found.opaque == (
        "it creates code that may touch anything: CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $...",
    )


ORDINARY: list[Callable[[], Any]] = [
    lambda: op.create_table(
        "a",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("x", sa.String(40), server_default="f()", index=True),
        sa.Column("y", sa.DateTime, server_default=sa.func.now()),
        sa.Column("z", sa.Boolean, server_default=sa.false()),
        sa.CheckConstraint("length(x) > 3"),
    ),
    lambda: op.add_column("a", sa.Column("x", sa.Text, server_default=sa.text("CURRENT_TIMESTAMP"))),
    lambda: op.add_column("a", sa.Column("x", sa.Integer, sa.Identity())),
    lambda: op.alter_column("a", "x", server_default=None, existing_type=sa.Integer),
    lambda: op.create_index("i", "a", ["x", sa.text("lower(y)")]),
    lambda: op.bulk_insert(A, [{"id": 1, "x": "f()"}]),
    lambda: op.execute(sa.insert(A).values(id=1, x=sa.func.lower("X"))),
    lambda: op.execute("UPDATE a SET x = lower(y), y = coalesce(x, 'f()') WHERE replace(x, 'a', 'b') <> trim(y)"),
    lambda: op.execute("UPDATE a SET x = (SELECT count(*) FROM b WHERE b.a_id = a.id), y = CURRENT_TIMESTAMP"),
    lambda: op.execute("ALTER TABLE a ADD COLUMN x INTEGER DEFAULT 3"),
]


@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize("body", ORDINARY)
def test_what_is_ordinary_is_known(body: Callable[[], Any], dialect: str) -> None:
    found = look(body, dialect)
    assert (found.opaque, {item.table for item in found.tables} <= {"a", "b", "i", "ix_a_x"}) == ((), True)


def test_other_engines_are_read_too() -> None:
    assert read("UPDATE [a] SET [x] = 1", "mssql") == X
    assert read("UPDATE a SET x = 1", "oracle") == X
    assert read("UPDATE a SET x = 1", "mariadb") == X


# -- bodies -----------------------------------------------------------------------------------------

ASKING: dict[str, Callable[[], Any]] = {
    "execute": lambda: op.get_bind().execute(sa.text("SELECT 1")),
    "context": lambda: op.get_context().connection.execute(sa.text("SELECT 1")),
    "heads": lambda: op.get_context().get_current_heads(),
    "create all": lambda: sa.MetaData().create_all(op.get_bind()),
    "engine": lambda: sa.create_engine("sqlite://").connect(),
}


@pytest.mark.parametrize("name", ASKING)
def test_a_body_that_works_with_the_database_is_opaque(name: str) -> None:
    assert look(ASKING[name]) == opaque("it works with the database itself")


def test_a_body_cannot_reach_the_database_through_a_connection_that_is_open() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE a (x INTEGER)"))

        def body() -> None:
            try:
                connection.execute(sa.text("INSERT INTO a VALUES (1)"))
            except Exception:
                op.execute("UPDATE a SET x = 1")

        assert look(body) == union([X, opaque("it works with the database itself")])
        assert connection.scalar(sa.text("SELECT count(*) FROM a")) == 0
    engine.dispose()


def test_a_raw_connection_of_a_warm_pool_is_opaque() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    engine.connect().close()
    assert look(lambda: engine.raw_connection().close()) == opaque("it works with the database itself")
    engine.dispose()


class Model(DeclarativeBase):
    """The application's models."""


class Item(Model):
    """Something that a body adds."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.mark.parametrize("end", ["flush", "commit", "expire_all"])
def test_a_session_is_afterwards_as_before(end: str) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    Model.metadata.create_all(engine)
    with Session(engine) as session:

        def body() -> None:
            session.add(Item(id=1))
            getattr(session, end)()

        assert look(body) == (NOTHING if end == "expire_all" else opaque("it works with the database itself"))
        assert (list(session.new), session.in_transaction()) == ([], False)
        session.add(Item(id=1))
        session.commit()
        assert session.scalars(sa.select(Item.id)).all() == [1]
    engine.dispose()


def test_a_body_with_an_optional_argument_is_gone_through_with_and_without_it() -> None:
    def body(engine_name: str = "none") -> None:
        op.execute("UPDATE a SET x = 1" if engine_name == "none" else "UPDATE a SET y = 1")

    assert look(body) == XY


def test_what_a_body_did_before_it_asked_the_database_is_known() -> None:
    def body() -> None:
        op.add_column("a", sa.Column("x", sa.Integer))
        sa.inspect(op.get_bind()).get_columns("a")

    assert look(body) == union([X, opaque("it works with the database itself")])


def test_a_body_that_fails_on_paper_is_opaque(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        sys.stdout.write("working")
        sys.exit("no  more")

    assert look(body) == opaque("on paper it ends with SystemExit: no more")
    assert capsys.readouterr() == ("", "")


def test_a_program_is_opaque() -> None:
    assert look(lambda: execute_script("scripts/fix.py")) == opaque("it runs the program scripts/fix.py")


def test_nothing_of_alembic_is_left_as_it_was_not() -> None:
    before = (vars(op).get("_proxy"), vars(context).get("_proxy"))
    look(lambda: op.execute("UPDATE a SET x = 1"))
    assert (vars(op).get("_proxy"), vars(context).get("_proxy")) == before


def test_a_later_part_of_a_generator_is_looked_at_alone() -> None:
    def upgrade() -> Any:
        table = op.create_table("a", sa.Column("id", sa.Integer))
        yield
        op.bulk_insert(table, [{"id": 1}])
        op.add_column("b", sa.Column("y", sa.Integer))

    part_of = PhasedPart(upgrade)
    bodies = Bodies(tuple(Body(phase, part_of, "default", number, 2) for number, phase in enumerate("pq")), phased=True)
    graph = Graph({"r": Revision("r", upgrade=bodies)})
    found = [Inspector().footprint(Step("default", "r", phase), graph, Phases(), "sqlite") for phase in "pq"]
    assert found == [whole("a"), union([whole("a"), part("b", ["y"])])]


def test_the_help_loads_no_sql_parser() -> None:
    code = (
        "import sys\nfrom flask.cli import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('sqlglot', 'alembic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
