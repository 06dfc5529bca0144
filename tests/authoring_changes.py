"""Changes of models, each with a row that the old code writes and one of the new."""

from __future__ import annotations

import enum
from typing import Any

import sqlalchemy as sa
from authoring_scenarios import Change
from sqlalchemy.dialects import postgresql

Column, Integer, String = sa.Column, sa.Integer, sa.String


def tables(*columns: Any, **more: Any) -> Any:
    """Return a model with the table ``account`` of these columns besides its key."""

    def build(metadata: sa.MetaData) -> None:
        copies = [item() if callable(item) else item._copy() for item in columns]
        sa.Table("account", metadata, Column("id", Integer, primary_key=True), *copies)
        for name, parts in more.items():
            fresh = [item() if callable(item) else item._copy() for item in parts]
            sa.Table(name, metadata, Column("id", Integer, primary_key=True), *fresh)

    return build


def account(**values: Any) -> dict[str, dict[str, Any]]:
    return {"account": values}


LOGIN = Column("login", String(40))
EMAIL = Column("email", String(80))


class Color(enum.Enum):
    """The values of a column; the database stores the names."""

    red = 1
    blue = 2


def owner(**options: Any) -> Any:
    return lambda: Column("team_id", Integer, sa.ForeignKey("team.id"), **options)


def named(name: str, *columns: Any) -> Any:
    """Return a model with one table of that name."""

    def build(metadata: sa.MetaData) -> None:
        sa.Table(name, metadata, Column("id", Integer, primary_key=True), *(item._copy() for item in columns))

    return build


def keyed(*columns: Any) -> Any:
    """Return a model with the table ``seat``, which has a key of two columns."""

    def build(metadata: sa.MetaData) -> None:
        keys = Column("a", Integer, primary_key=True, autoincrement=False), Column("b", String(19), primary_key=True)
        sa.Table("seat", metadata, *keys, *(item._copy() for item in columns))

    return build


def elsewhere(*columns: Any) -> Any:
    """Return a model with the table ``account`` of the schema ``other``, and another of that name in the usual one."""

    def build(metadata: sa.MetaData) -> None:
        key = Column("id", Integer, primary_key=True)
        sa.Table("account", metadata, key, Column("a", String(9)))
        sa.Table("account", metadata, key._copy(), *(item._copy() for item in columns), schema="other")

    return build


def checked_color(*values: str) -> Any:
    """Return an enum that is a text with a check."""
    return sa.Enum(*values, name="color", native_enum=False, create_constraint=True, length=9)


CHANGES = [
    Change(
        "new table",
        tables(LOGIN),
        tables(LOGIN, team=[LOGIN, owner_of := (lambda: Column("account_id", Integer, sa.ForeignKey("account.id")))]),
    ),
    Change("new table with an index", tables(LOGIN), tables(LOGIN, team=[Column("name", String(20), index=True)])),
    Change("nullable column", tables(LOGIN), tables(LOGIN, EMAIL), account(login="a"), account(email="b")),
    Change(
        "column with a server default",
        tables(LOGIN),
        tables(LOGIN, Column("age", Integer, nullable=False, server_default="7")),
        account(login="a"),
        account(login="b", age=8),
    ),
    Change(
        "column with a computed server default",
        tables(LOGIN),
        tables(LOGIN, Column("at", sa.DateTime, nullable=False, server_default=sa.func.current_timestamp())),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "columns with Python defaults",
        tables(LOGIN),
        tables(
            LOGIN,
            Column("note", String(20), nullable=False, default="it's 100% :x"),
            Column("on", sa.Boolean, nullable=False, default=False),
            Column("age", Integer, nullable=False, default=3),
            Column("price", sa.Numeric(8, 2), nullable=False, default=1.5),
        ),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "enum column with a default",
        tables(LOGIN),
        tables(LOGIN, Column("color", sa.Enum(Color, name="color"), nullable=False, default=Color.blue)),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "column that is filled",
        tables(LOGIN),
        tables(LOGIN, Column("email", String(80), nullable=False)),
        account(login="a"),
        account(login="b", email="c"),
        ["--fill", "account.email=lower(login)"],
    ),
    Change(
        "column with a callable default",
        tables(LOGIN),
        tables(LOGIN, Column("email", String(80), nullable=False, default=lambda: "x")),
        account(login="a"),
        account(login="b"),
        ["--fill", "account.email='a:b'"],
    ),
    Change(
        "column with a unique constraint",
        tables(LOGIN),
        tables(LOGIN, Column("email", String(80), unique=True)),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "column with an index",
        tables(LOGIN),
        tables(LOGIN, Column("email", String(80), index=True)),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "column with a foreign key",
        tables(LOGIN, team=[LOGIN]),
        tables(LOGIN, owner(), team=[LOGIN]),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "optional", tables(Column("login", String(40), nullable=False)), tables(LOGIN), account(login="a"), account()
    ),
    Change(
        "required",
        tables(LOGIN),
        tables(Column("login", String(40), nullable=False)),
        account(),
        account(login="b"),
        ["--fill", "account.login='x'"],
    ),
    Change(
        "required with a default",
        tables(LOGIN),
        tables(Column("login", String(40), nullable=False, default="x")),
        account(),
        account(),
    ),
    Change("longer text", tables(LOGIN), tables(Column("login", String(60))), account(login="a"), account(login="b")),
    Change("shorter text", tables(LOGIN), tables(Column("login", String(30))), account(login="a"), account(login="b")),
    Change(
        "bigger integer",
        tables(Column("age", Integer)),
        tables(Column("age", sa.BigInteger)),
        account(age=1),
        account(age=2),
    ),
    Change(
        "bigger required integer with a default",
        tables(Column("age", Integer, nullable=False, server_default="5")),
        tables(Column("age", sa.BigInteger, nullable=False, server_default="5")),
        account(),
        account(age=2),
    ),
    Change(
        "several changes of columns",
        tables(Column("a", String(10), nullable=False), Column("b", Integer), Column("c", String(30), comment="why")),
        tables(
            Column("a", String(20)),
            Column("b", sa.BigInteger, nullable=False, server_default="4"),
            Column("c", String(20), nullable=False, server_default="x", comment="why"),
        ),
        account(a="x"),
        account(b=2),
    ),
    Change(
        "foreign key of a renamed column",
        tables(owner(nullable=False), team=[LOGIN]),
        tables(lambda: Column("crew_id", Integer, sa.ForeignKey("team.id"), nullable=False), team=[LOGIN]),
        options=["--rename", "account.team_id=crew_id"],
    ),
    Change(
        "names that need quotes",
        tables(Column("Order By", String(20))),
        tables(Column("Group's", String(20), nullable=False)),
        options=["--rename", "account.Order By=Group's", "--fill", "account.Group's='x'"],
    ),
    Change(
        "default that differs from row to row",
        tables(LOGIN),
        tables(LOGIN, Column("number", String(36), nullable=False, server_default=sa.text("gen_random_uuid()"))),
        account(),
        account(),
        (),
        ["postgresql"],
    ),
    Change(
        "longer text that becomes required",
        tables(LOGIN),
        tables(Column("login", sa.Text, nullable=False, default="x")),
        account(),
        account(login="b"),
    ),
    Change(
        "server default set",
        tables(LOGIN),
        tables(Column("login", String(40), server_default="x")),
        account(login="a"),
        account(),
    ),
    Change(
        "server default dropped",
        tables(Column("login", String(40), server_default="x")),
        tables(LOGIN),
        account(),
        account(login="a"),
    ),
    Change("dropped column", tables(LOGIN, EMAIL), tables(LOGIN), account(email="a"), account(login="a")),
    Change(
        "dropped required columns",
        tables(LOGIN, Column("email", String(80), nullable=False), Column("on", sa.Boolean, nullable=False)),
        tables(LOGIN),
        account(email="a", on=True),
        account(login="b"),
    ),
    Change(
        "dropped column with a unique constraint",
        tables(LOGIN, Column("email", String(80), unique=True)),
        tables(LOGIN),
        account(),
        account(login="b"),
    ),
    Change(
        "dropped column with an index",
        tables(LOGIN, Column("email", String(80), index=True)),
        tables(LOGIN),
        account(email="a"),
        account(login="b"),
    ),
    Change(
        "dropped column with a foreign key",
        tables(LOGIN, owner(), team=[LOGIN]),
        tables(LOGIN, team=[LOGIN]),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "dropped tables",
        tables(LOGIN, team=[LOGIN, owner_of], seat=[owner(), Column("name", String(20), index=True)]),
        tables(LOGIN),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "new index",
        tables(LOGIN),
        tables(Column("login", String(40), index=True)),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "dropped index", tables(Column("login", String(40), index=True)), tables(LOGIN), account(login="a"), account()
    ),
    Change(
        "changed index",
        tables(LOGIN, EMAIL, lambda: sa.Index("ix_who", "login")),
        tables(LOGIN, EMAIL, lambda: sa.Index("ix_who", "login", "email")),
        account(login="a"),
        account(login="b"),
    ),
    Change("unique", tables(LOGIN), tables(Column("login", String(40), unique=True)), account(), account()),
    Change(
        "unique index",
        tables(LOGIN),
        tables(Column("login", String(40), unique=True, index=True)),
        account(),
        account(),
    ),
    Change("no more unique", tables(Column("login", String(40), unique=True)), tables(LOGIN), account(), account()),
    Change(
        "no more unique index",
        tables(Column("login", String(40), unique=True, index=True)),
        tables(LOGIN),
        account(),
        account(),
    ),
    Change(
        "foreign key",
        tables(Column("team_id", Integer), team=[LOGIN]),
        tables(owner(), team=[LOGIN]),
        account(),
        account(),
    ),
    Change(
        "no more foreign key",
        tables(owner(), team=[LOGIN]),
        tables(Column("team_id", Integer), team=[LOGIN]),
        account(),
        account(team_id=None),
    ),
    Change(
        "check",
        tables(Column("age", Integer)),
        tables(Column("age", Integer), lambda: sa.CheckConstraint("age > 0", name="ck_age")),
        account(age=5),
        account(age=6),
    ),
    Change(
        "no more check",
        tables(Column("age", Integer), lambda: sa.CheckConstraint("age > 0", name="ck_age")),
        tables(Column("age", Integer)),
        account(age=5),
        account(age=6),
    ),
    Change(
        "renamed column",
        tables(LOGIN),
        tables(Column("name", String(40))),
        account(login="a"),
        account(name="b"),
        ["--rename", "account.login=name"],
    ),
    Change(
        "renamed required column",
        tables(Column("login", String(40), nullable=False)),
        tables(Column("name", String(40), nullable=False)),
        account(login="a"),
        account(name="b"),
        ["--rename", "account.login=name"],
    ),
    Change(
        "renamed column with an index",
        tables(Column("login", String(40), index=True, nullable=False)),
        tables(Column("name", String(40), index=True, nullable=False, server_default="x")),
        account(login="a"),
        account(name="b"),
        ["--rename", "account.login=name"],
    ),
    Change(
        "not renamed column",
        tables(LOGIN),
        tables(Column("name", String(40))),
        account(login="a"),
        account(name="b"),
        ["--rename", "account.login="],
    ),
    Change(
        "renamed table",
        tables(LOGIN, team=[Column("name", String(20), index=True)]),
        tables(LOGIN, crew=[Column("name", String(20), index=True)]),
        {"team": {"name": "a"}},
        {"crew": {"name": "b"}},
        ["--rename", "team=crew"],
        ["postgresql", "mysql"],
    ),
    Change(
        "comment",
        tables(LOGIN),
        tables(Column("login", String(40), comment="who")),
        account(),
        account(),
        (),
        ["postgresql", "mysql"],
    ),
    Change(
        "text to a number",
        tables(LOGIN),
        tables(Column("login", Integer)),
        account(login=None),
        account(login=None),
        ["--fill", "account.login="],
    ),
    Change(
        "dropped enum column",
        tables(LOGIN, Column("color", sa.Enum(Color, name="color"), nullable=False)),
        tables(LOGIN),
        account(color=Color.red),
        account(),
        (),
        ["postgresql", "mysql"],
    ),
    Change(
        "enum in two new tables and a column",
        tables(LOGIN),
        tables(
            LOGIN,
            Column("color", sa.Enum(Color, name="color")),
            team=[Column("color", sa.Enum(Color, name="color"))],
            seat=[Column("color", sa.Enum(Color, name="color"))],
        ),
        account(),
        account(color=Color.red),
    ),
    Change("text without a limit", tables(LOGIN), tables(Column("login", sa.Text)), account(login="a"), account()),
    Change(
        "text with a limit", tables(Column("login", sa.Text)), tables(LOGIN), account(login="a"), account(login="b")
    ),
    Change(
        "number to text",
        tables(Column("age", Integer)),
        tables(Column("age", String(40))),
        account(age=None),
        account(),
        ["--fill", "account.age="],
    ),
    Change(
        "text of digits to a number",
        tables(Column("age", String(9))),
        tables(Column("age", Integer)),
        account(age="1"),
        account(),
        ["--fill", "account.age=CAST(age AS DECIMAL)"],
        ["mysql", "sqlite"],
    ),
    Change(
        "json to jsonb",
        tables(Column("data", postgresql.JSON)),
        tables(Column("data", postgresql.JSONB)),
        account(data={"a": 1}),
        account(data={"a": 2}),
        (),
        ["postgresql"],
    ),
    Change(
        "more digits",
        tables(Column("a", sa.Numeric(8, 2)), Column("b", sa.Numeric(8, 2))),
        tables(Column("a", sa.Numeric(12, 2)), Column("b", sa.Numeric(12, 4))),
        account(a=1.5, b=1.5),
        account(a=2.5, b=2.5),
    ),
    Change(
        "fewer digits",
        tables(Column("price", sa.Numeric(12, 4))),
        tables(Column("price", sa.Numeric(8, 2))),
        account(price=1.5),
        account(price=2.5),
    ),
    Change(
        "bigger key",
        lambda metadata: sa.Table("account", metadata, Column("id", Integer, primary_key=True), LOGIN._copy()),
        lambda metadata: sa.Table("account", metadata, Column("id", sa.BigInteger, primary_key=True), LOGIN._copy()),
        account(login="a"),
        account(login="b"),
        (),
        ["postgresql", "mysql"],
    ),
    Change(
        "bigger integer with an index",
        tables(Column("age", Integer, index=True)),
        tables(Column("age", sa.BigInteger, index=True)),
        account(age=1),
        account(age=2),
    ),
    Change(
        "more values of an enum in MariaDB",
        tables(Column("color", sa.Enum("red", "blue", name="color"))),
        tables(Column("color", sa.Enum("red", "blue", "green", name="color"))),
        account(color="red"),
        account(color="red"),
        (),
        ["mysql", "sqlite"],
    ),
    Change(
        "other values of an enum in MariaDB",
        tables(Column("color", sa.Enum("red", "blue", name="color"))),
        tables(Column("color", sa.Enum("red", "azure", name="color"))),
        account(color="red"),
        account(color="red"),
        ["--fill", "account.color='azure'"],
        ["mysql"],
    ),
    Change(
        "drop column with a check",
        tables(Column("color", checked_color("red", "blue"))),
        tables(),
        {"account": {"color": "red"}},
        {"account": {}},
    ),
    Change(
        "other values of an enum that is a check",
        tables(Column("color", checked_color("red", "blue"))),
        tables(Column("color", checked_color("red", "blue", "green"))),
        account(color="red"),
        account(color="red"),
    ),
    Change(
        "text to an enum",
        tables(Column("color", String(10))),
        tables(Column("color", sa.Enum("red", "blue", name="color"))),
        account(color="red"),
        account(color="blue"),
    ),
    Change(
        "tables that refer to each other",
        tables(LOGIN),
        tables(
            LOGIN,
            team=[lambda: Column("seat_id", Integer, sa.ForeignKey("seat.id", name="fk_team_seat", use_alter=True))],
            seat=[owner(), lambda: Column("seat_id", Integer, sa.ForeignKey("seat.id"))],
        ),
        account(login="a"),
        {"team": {}, "seat": {"seat_id": None}},
    ),
    Change(
        "dropped tables that refer to each other",
        tables(
            LOGIN,
            team=[lambda: Column("seat_id", Integer, sa.ForeignKey("seat.id", name="fk_team_seat", use_alter=True))],
            seat=[lambda: Column("team_id", Integer, sa.ForeignKey("team.id", name="fk_seat_team"))],
        ),
        tables(LOGIN),
        account(login="a"),
        account(login="b"),
        (),
        ["postgresql", "mysql"],
    ),
    Change(
        "indexes of expressions and of some rows",
        tables(LOGIN),
        tables(
            LOGIN,
            lambda: sa.Index("ix_lower", sa.text("lower(login)")),
            lambda: sa.Index("ux_some", "login", unique=True, postgresql_where=sa.text("login = 'x'")),
        ),
        account(login="a"),
        account(login="b"),
        (),
        ["postgresql"],
    ),
    Change(
        "foreign key that deletes",
        tables(owner(), team=[LOGIN]),
        tables(lambda: Column("team_id", Integer, sa.ForeignKey("team.id", ondelete="CASCADE")), team=[LOGIN]),
        account(),
        account(),
    ),
    Change(
        "computed column",
        tables(Column("age", Integer)),
        tables(Column("age", Integer), lambda: Column("next", Integer, sa.Computed("age + 1", persisted=False))),
        account(age=1),
        account(age=2),
        (),
        ["mysql", "sqlite"],
    ),
    Change(
        "computed and identity columns no more",
        tables(
            LOGIN,
            lambda: Column("low", String(40), sa.Computed("lower(login)", persisted=True)),
            lambda: Column("number", Integer, sa.Identity()),
        ),
        tables(LOGIN),
        account(login="a"),
        account(login="b"),
        (),
        ["postgresql"],
    ),
    Change(
        "comment of a table",
        tables(LOGIN),
        lambda metadata: sa.Table(
            "account", metadata, Column("id", Integer, primary_key=True), LOGIN._copy(), comment="it's 100% :x"
        ),
        account(),
        account(),
        (),
        ["postgresql", "mysql"],
    ),
    Change(
        "names with spaces, percent signs, colons and capitals",
        named("My 50% Table", LOGIN, Column("Drop%me", Integer, nullable=False)),
        named(
            "My 50% Table",
            LOGIN,
            Column("New%Col", Integer, nullable=False),
            Column("ix:col", Integer, index=True),
            Column("select", Integer, unique=True),
        ),
        {"My 50% Table": {"login": "a", "Drop%me": 1}},
        {"My 50% Table": {"login": "b", "New%Col": 2}},
        ["--rename", "My 50% Table.Drop%me=", "--fill", "My 50% Table.New%Col=1"],
    ),
    Change(
        "names of 60 letters",
        named("t" * 60, Column("a" * 60, String(9), nullable=False)),
        named("t" * 60, Column("b" * 60, String(9), nullable=False)),
        {"t" * 60: {"a" * 60: "a"}},
        {"t" * 60: {"b" * 60: "b"}},
        ["--rename", f"{'t' * 60}.{'a' * 60}={'b' * 60}"],
    ),
    Change(
        "defaults with quotes and backslashes",
        tables(LOGIN),
        tables(
            LOGIN,
            Column("a", String(40), nullable=False, server_default="a\\b'c\"d%e:f"),
            Column("b", String(40), nullable=False, default="a\\b'c\"d%e:f %(x)s"),
            Column("c", String(40), nullable=False, default="a\nb"),
        ),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "defaults that servers spell in their own way",
        tables(LOGIN, Column("nick", String(40))),
        tables(
            LOGIN,
            Column("on", sa.Boolean, nullable=False, server_default=sa.false()),
            Column("at", sa.DateTime, nullable=False, server_default=sa.func.now()),
            Column("data", sa.JSON, nullable=False, server_default="{}"),
            Column("nick", String(40), nullable=False, server_default=""),
        ),
        account(login="a"),
        account(login="b"),
    ),
    Change(
        "renamed columns of every kind",
        tables(
            Column("a", sa.Boolean, nullable=False),
            Column("b", sa.Float),
            Column("c", sa.JSON),
            Column("d", sa.Enum("red", name="color")),
            Column("order", sa.Text),
        ),
        tables(
            Column("a2", sa.Boolean, nullable=False, default=True),
            Column("b2", sa.Float),
            Column("c2", sa.JSON),
            Column("d2", sa.Enum("red", name="color")),
            Column("group", sa.Text),
        ),
        account(a=True, b=1.5, c={"x": 1}, d="red", order="x"),
        account(a2=False, b2=2.5, c2={"x": 2}, d2="red", group="y"),
        [
            *("--rename", "account.a=a2", "--rename", "account.b=b2", "--rename", "account.c=c2"),
            *("--rename", "account.d=d2", "--rename", "account.order=group"),
        ],
        ["postgresql", "mysql"],
    ),
    Change(
        "renamed unique foreign key",
        tables(owner(unique=True), team=[LOGIN]),
        tables(lambda: Column("crew_id", Integer, sa.ForeignKey("team.id"), unique=True), team=[LOGIN]),
        account(),
        account(),
        ["--rename", "account.team_id=crew_id"],
    ),
    Change(
        "renamed table with constraints",
        tables(
            LOGIN,
            team=[
                Column("name", String(20), nullable=False),
                lambda: sa.UniqueConstraint("name", name="uq_team_name"),
                lambda: Column("account_id", Integer, sa.ForeignKey("account.id")),
            ],
        ),
        tables(
            LOGIN,
            crew=[
                Column("name", String(20), nullable=False),
                lambda: sa.UniqueConstraint("name", name="uq_crew_name"),
                lambda: Column("account_id", Integer, sa.ForeignKey("account.id")),
            ],
        ),
        {"team": {"name": "a{n}"}},
        {"crew": {"name": "b{n}"}},
        ["--rename", "team=crew"],
        ["postgresql", "mysql"],
    ),
    Change(
        "dropped table that others refer to",
        tables(owner(index=True), team=[LOGIN]),
        tables(Column("team_id", Integer, index=True)),
        account(),
        account(),
    ),
    Change(
        "filled by a key of two columns",
        keyed(Column("n", Integer)),
        keyed(Column("n", Integer, nullable=False)),
        {"seat": {"a": 1, "b": "x{n}"}},
        {"seat": {"a": 1, "b": "x{n}", "n": 3}},
        ["--fill", "seat.n=a + 1"],
    ),
    Change(
        "deferrable constraints",
        tables(LOGIN, Column("team_id", Integer), team=[LOGIN]),
        tables(
            LOGIN,
            lambda: Column("team_id", Integer, sa.ForeignKey("team.id", deferrable=True, initially="DEFERRED")),
            lambda: sa.UniqueConstraint("login", name="uq_login", deferrable=True, initially="DEFERRED"),
            team=[LOGIN],
        ),
        account(login="a{n}"),
        account(login="b{n}"),
        (),
        ["postgresql"],
    ),
    Change(
        "table of another schema and one of the same name",
        elsewhere(Column("a", String(9)), Column("b", Integer), Column("d", String(9), nullable=False)),
        elsewhere(
            Column("a2", String(9)),
            Column("b", sa.BigInteger, nullable=False),
            Column("c", String(9), unique=True, index=True),
            Column("e", sa.Enum("x", name="kind", schema="other")),
        ),
        {"account": {"a": "x"}, "other.account": {"a": "x", "b": 1, "d": "e"}},
        {"account": {"a": "y"}, "other.account": {"a2": "y", "b": 1}},
        ["--rename", "other.account.a=a2", "--rename", "other.account.d=", "--fill", "other.account.b=1"],
        ["postgresql"],
    ),
]
