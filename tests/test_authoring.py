"""What ``flask db migrate`` writes, and that it runs while the old code and the new are at work."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from authoring_scenarios import Change, Project, describe, migrated, run_through
from support import fresh_database

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
]


@pytest.mark.parametrize(
    ("change", "kind"), [(change, kind) for change in CHANGES for kind in change.engines], ids=lambda item: str(item)
)
def test_both_codes_work_and_every_phase_can_be_undone(change: Change, kind: str, tmp_path: Path) -> None:
    with fresh_database(kind, tmp_path) as url:
        run_through(change, tmp_path, url)
