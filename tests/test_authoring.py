"""What ``flask db migrate`` writes, and that it runs while the old code and the new are at work."""

from __future__ import annotations

import enum
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from authoring_scenarios import Change, Project, describe, dispose_engines, engine_of, migrated, run_through
from support import fresh_database

from flask_phased_migrate import commands
from flask_phased_migrate.authoring import Answers, Question
from flask_phased_migrate.cli.authoring import ask

Column, Integer, String = sa.Column, sa.Integer, sa.String


@pytest.fixture(autouse=True)
def engines() -> Iterator[None]:
    """Close what the test has opened, before its database goes."""
    yield
    dispose_engines()


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
        options=["--rename", "account.Order By=Group's"],
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
]


@pytest.mark.parametrize(
    ("change", "kind"), [(change, kind) for change in CHANGES for kind in change.engines], ids=lambda item: str(item)
)
def test_both_codes_work_and_every_phase_can_be_undone(change: Change, kind: str, tmp_path: Path) -> None:
    with fresh_database(kind, tmp_path) as url:
        try:
            run_through(change, tmp_path, url)
        finally:
            dispose_engines()


# -- what the file says ------------------------------------------------------------------------------------


def write(old: Any, new: Any, folder: Path, url: str, *options: str, **settings: Any) -> Project:
    """Return the project after ``flask db migrate``, with a database made from the old models."""
    with migrated(Change("", old, new, options=options), folder, url, **settings) as project:
        return project


def test_required_column_is_filled_twice_and_proved_before_it_is_required(postgresql_url: str, tmp_path: Path) -> None:
    new = tables(LOGIN, Column("email", String(80), nullable=False))

    project = write(tables(LOGIN), new, tmp_path, postgresql_url, "--fill", "account.email=lower(login)")

    assert project.bodies() == {
        "upgrade": """\
op.add_column('account', sa.Column('email', sa.String(length=80), nullable=True))
with op.get_context().autocommit_block():
    # 5000 rows at a time, each batch committed.
    op.execute(
        "DO $$ BEGIN LOOP UPDATE account SET email = lower(login) WHERE ctid = ANY (ARRAY(SELECT ctid FROM "
        "account WHERE email IS NULL AND (lower(login)) IS NOT NULL LIMIT 5000)); EXIT WHEN NOT FOUND; "
        "COMMIT; END LOOP; END $$"
    )""",
        "upgrade_after_deploy": """\
with op.get_context().autocommit_block():
    # What the old code has written since:
    op.execute("UPDATE account SET email = lower(login) WHERE email IS NULL")
    op.execute("ALTER TABLE account ADD CONSTRAINT account_email_not_null CHECK (email IS NOT NULL) NOT VALID")
    op.execute("ALTER TABLE account VALIDATE CONSTRAINT account_email_not_null")

op.alter_column('account', 'email',
           existing_type=sa.String(length=80),
           nullable=False)
op.drop_constraint('account_email_not_null', 'account', type_='check')""",
        "downgrade": "op.drop_column('account', 'email')",
        "downgrade_after_deploy": """\
op.alter_column('account', 'email',
           existing_type=sa.String(length=80),
           nullable=True)""",
    }


def test_constraints_and_indexes_are_built_beside_reads_and_writes(postgresql_url: str, tmp_path: Path) -> None:
    old = tables(Column("login", String(40)), Column("team_id", Integer), Column("age", Integer), team=[LOGIN])
    new = tables(
        Column("login", String(40), unique=True),
        owner(index=True),
        Column("age", Integer),
        lambda: sa.CheckConstraint("age > 0", name="ck_age"),
        team=[LOGIN],
    )

    project = write(old, new, tmp_path, postgresql_url)

    assert project.bodies()["upgrade"] == (
        "with op.get_context().autocommit_block():\n"
        "    op.create_index(op.f('ix_account_team_id'), 'account', ['team_id'], unique=False, "
        "postgresql_concurrently=True)"
    )
    assert (
        project.bodies()["upgrade_after_deploy"]
        == """\
with op.get_context().autocommit_block():
    op.create_index('uq_account_login', 'account', ['login'], unique=True, postgresql_concurrently=True)

op.execute("ALTER TABLE account ADD CONSTRAINT uq_account_login UNIQUE USING INDEX uq_account_login")
with op.get_context().autocommit_block():
    op.execute("ALTER TABLE account ADD CONSTRAINT ck_age CHECK (age > 0) NOT VALID")
    op.execute("ALTER TABLE account VALIDATE CONSTRAINT ck_age")
    op.execute(
        "ALTER TABLE account ADD CONSTRAINT fk_account_team_id_team FOREIGN KEY(team_id) REFERENCES team (id)"
        " NOT VALID"
    )
    op.execute("ALTER TABLE account VALIDATE CONSTRAINT fk_account_team_id_team")"""
    )


def test_mariadb_refuses_to_copy_the_table(mysql_url: str, tmp_path: Path) -> None:
    old = tables(LOGIN, Column("email", String(80), nullable=False))
    new = tables(Column("login", String(40), index=True), Column("age", Integer, nullable=False, default=0))

    project = write(old, new, tmp_path, mysql_url)

    assert (
        project.bodies()["upgrade"]
        == """\
# The old code does not know age: until it is gone, the database gives the default.
op.execute("ALTER TABLE account ADD COLUMN age INTEGER NOT NULL DEFAULT 0, ALGORITHM=INSTANT")
# The new code does not know email, and the old one still writes it.
op.execute("ALTER TABLE account MODIFY email VARCHAR(80) NULL, ALGORITHM=INPLACE, LOCK=NONE")
op.execute("CREATE INDEX ix_account_login ON account (login) ALGORITHM=INPLACE LOCK=NONE")"""
    )
    assert (
        project.bodies()["upgrade_after_deploy"]
        == """\
op.execute("ALTER TABLE account ALTER COLUMN age DROP DEFAULT, ALGORITHM=INSTANT")
op.execute("ALTER TABLE account DROP COLUMN email, ALGORITHM=INSTANT")"""
    )


def test_sqlite_copies_a_table_once_a_phase(sqlite_url: str, tmp_path: Path) -> None:
    old = tables(Column("login", String(40), nullable=False), Column("email", String(80), nullable=False))

    project = write(old, tables(LOGIN), tmp_path, sqlite_url)

    assert (
        project.bodies()["upgrade"]
        == """\
with op.batch_alter_table('account') as batch_op:
    batch_op.alter_column('login',
               existing_type=sa.VARCHAR(length=40),
               nullable=True)
    # The new code does not know email, and the old one still writes it.
    batch_op.alter_column('email',
               existing_type=sa.VARCHAR(length=80),
               nullable=True)"""
    )


def test_value_of_a_python_default_is_what_the_old_code_leaves(database_url: str, tmp_path: Path) -> None:
    new = tables(LOGIN, Column("note", String(20), nullable=False, default="it's 100% :x"))
    project = write(tables(LOGIN), new, tmp_path, database_url)

    project.must("upgrade", "--phase", "before-deploy")

    with project.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO account (login) VALUES ('a')"))
        assert connection.scalar(sa.text("SELECT note FROM account")) == "it's 100% :x"


def test_renamed_column_has_what_either_code_wrote(database_url: str, tmp_path: Path) -> None:
    project = write(
        tables(LOGIN), tables(Column("name", String(40))), tmp_path, database_url, "--rename", "account.login=name"
    )
    project.must("upgrade", "--phase", "before-deploy")

    with project.engine.begin() as connection:
        for statement in (
            "INSERT INTO account (id, login) VALUES (1, 'old')",
            "INSERT INTO account (id, name) VALUES (2, 'new')",
            "INSERT INTO account (id, login) VALUES (3, 'x')",
            "UPDATE account SET login = 'changed' WHERE id = 2",
            "UPDATE account SET name = 'changed' WHERE id = 1",
            "UPDATE account SET name = NULL WHERE id = 3",
        ):
            connection.execute(sa.text(statement))
        rows = connection.execute(sa.text("SELECT id, login, name FROM account ORDER BY id")).all()

    assert [tuple(row) for row in rows] == [(1, "changed", "changed"), (2, "changed", "changed"), (3, None, None)]


# -- questions ---------------------------------------------------------------------------------------------


def test_open_questions_are_refused_with_the_options_that_answer_them(sqlite_url: str, tmp_path: Path) -> None:
    tables(LOGIN)(metadata := sa.MetaData())
    metadata.create_all(engine_of(sqlite_url))
    new = tables(Column("name", String(40), nullable=False), Column("email", String(80), nullable=False))
    project = Project(tmp_path, sqlite_url, new)

    ended = project.flask("migrate", "--no-input")

    assert (ended.exit_code, project.files()) == (3, [])
    assert ended.stderr.endswith(
        """\
Error: Nothing was written: only a person can say
  account.login is gone, and name of the same type is new. Is it renamed? (Or leave the database alone: name = \
db.Column('login', ...).)
    --rename account.login=name
    --rename account.login=
  account.email becomes NOT NULL, and the models give no default. Which SQL gives the value of rows that have none? \
(Nothing, if there are no such rows.)
    --fill account.email=SQL
Next: flask db migrate with one of these options for each, or --no-phases for the classic form
"""
    )


@pytest.mark.parametrize(
    ("option", "answer", "message"),
    [
        ("--fill", "account.nick=1", "--fill account.nick=1 answers no question"),
        ("--rename", "account.login=nick", "what it can be is name, or nothing behind the sign"),
        ("--rename", "account.login", "write it as --rename account.email=address"),
    ],
)
def test_answer_that_fits_no_question_is_an_error(
    sqlite_url: str, tmp_path: Path, option: str, answer: str, message: str
) -> None:
    tables(LOGIN)(metadata := sa.MetaData())
    metadata.create_all(engine_of(sqlite_url))
    project = Project(tmp_path, sqlite_url, tables(Column("name", String(40))))

    ended = project.flask("migrate", "--rename", "account.login=name", option, answer)

    assert (ended.exit_code, project.files()) == (2, [])
    assert message in ended.stderr


def test_questioner_is_asked_once_and_its_answer_is_written(sqlite_url: str, tmp_path: Path) -> None:
    tables(LOGIN)(metadata := sa.MetaData())
    metadata.create_all(engine_of(sqlite_url))
    project = Project(tmp_path, sqlite_url, tables(LOGIN, Column("email", String(80), nullable=False)))
    asked = []

    def questioner(question: Question) -> str:
        asked.append((question.kind, question.subject))
        return "'x'"

    with project.app.app_context():
        commands.migrate(answers=Answers(questioner=questioner))

    assert asked == [("fill", "account.email")]
    assert "UPDATE account SET email = 'x' WHERE email IS NULL" in project.bodies()["upgrade"]


@pytest.mark.parametrize(("typed", "expected"), [("1\n", "name"), ("7\n2\n", "")])
def test_rename_is_asked_by_number(monkeypatch: pytest.MonkeyPatch, typed: str, expected: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    question = Question("rename", "account.login", "Is it renamed?", (("name", "it is name now"), ("", "no")))

    assert ask(question) == expected


# -- the classic form --------------------------------------------------------------------------------------


def test_without_phases_the_file_is_flask_migrates(sqlite_url: str, tmp_path: Path) -> None:
    project = write(tables(LOGIN), tables(LOGIN, EMAIL), tmp_path, sqlite_url, "--no-phases")

    theirs = Path(flask_migrate.__file__).parent / "templates" / "flask" / "script.py.mako"
    ours = project.text()
    (project.folder / "script.py.mako").write_text(theirs.read_text())
    project.files()[0].unlink()
    project.must("migrate", "-m", "change", "--rev-id", "r1", "--no-phases")

    def without_date(text: str) -> str:
        return "\n".join(line for line in text.splitlines() if not line.startswith("Create Date"))

    assert without_date(ours) == without_date(project.text())


def test_template_without_phases_gives_the_classic_form_and_says_how_to_change_that(
    sqlite_url: str, tmp_path: Path
) -> None:
    tables(LOGIN)(metadata := sa.MetaData())
    metadata.create_all(engine_of(sqlite_url))
    project = Project(tmp_path, sqlite_url, tables())
    template = project.folder / "script.py.mako"
    theirs = (Path(flask_migrate.__file__).parent / "templates" / "flask" / "script.py.mako").read_text()
    template.write_text(theirs)

    classic = project.flask("migrate", "--rev-id", "r1")
    file = project.text()
    refused = project.flask("migrate", "--fill", "account.x=1")
    renewed = project.must("init", "--update-template")
    project.files()[0].unlink()
    project.must("migrate", "--rev-id", "r1")

    assert "Written in one piece, as Flask-Migrate does" in classic.stderr
    assert "flask db init --update-template" in classic.stderr
    assert "phased" not in file
    assert "batch_op.drop_column('login')" in file
    assert refused.exit_code == 2
    assert renewed.startswith(f"Wrote {template}.")
    assert template.with_name("script.py.mako.old").read_text() == theirs
    assert "batch_op.drop_column('login')" in project.bodies()["upgrade_after_deploy"]


# -- what users of Flask-Migrate suffer from ---------------------------------------------------------------


class Marked(sa.TypeDecorator[str]):
    """A type of the application."""

    impl = sa.String(10)
    cache_ok = True


@pytest.mark.parametrize("options", [(), ("--no-phases",)])
def test_types_of_others_are_imported(sqlite_url: str, tmp_path: Path, options: tuple[str, ...]) -> None:
    project = write(tables(LOGIN), tables(LOGIN, Column("mark", Marked())), tmp_path, sqlite_url, *options)

    assert f"\nimport {__name__}\n" in project.text()
    project.must("upgrade")
    project.must("check")


def test_values_of_a_type_are_added_and_checked(postgresql_url: str, tmp_path: Path) -> None:
    old = tables(Column("color", sa.Enum("red", "blue", name="color")))
    new = tables(Column("color", sa.Enum("white", "red", "green", "blue", name="color")))

    project = write(old, new, tmp_path, postgresql_url)

    assert (
        project.bodies()["upgrade"]
        == """\
with op.get_context().autocommit_block():
    op.execute("ALTER TYPE color ADD VALUE IF NOT EXISTS 'white' BEFORE 'red'")
    op.execute("ALTER TYPE color ADD VALUE IF NOT EXISTS 'green' AFTER 'red'")"""
    )
    assert project.flask("check").exit_code == 1
    project.must("upgrade")
    project.must("check")
    assert describe(postgresql_url)["types"] == {"color": ["blue", "green", "red", "white"]}


@pytest.mark.skipif(not hasattr(sa, "CreateView"), reason="SQLAlchemy 2.1 has views")
def test_views_of_the_metadata_are_left_alone_and_said_so(database_url: str, tmp_path: Path) -> None:
    def with_view(metadata: sa.MetaData) -> None:
        tables(LOGIN)(metadata)
        account_table = metadata.tables["account"]
        sa.CreateView(sa.select(account_table.c.login), "logins", metadata=metadata)

    project = write(tables(LOGIN), with_view, tmp_path, database_url)

    ended = project.flask("check")

    assert (ended.exit_code, project.files()) == (0, [])
    assert "Views are not compared: logins." in ended.stderr


@pytest.mark.parametrize(
    ("settings", "dropped"),
    [
        ({}, ["spatial_ref_sys", "team"]),
        ({"MIGRATE_EXCLUDE_TABLES": "spatial_*"}, ["team"]),
        ({"MIGRATE_INCLUDE_TABLES": ["account", "te?m"]}, ["team"]),
        ({"MIGRATE_INCLUDE_TABLES": ["account"]}, []),
    ],
)
def test_tables_of_others_are_left_alone(
    sqlite_url: str, tmp_path: Path, settings: dict[str, Any], dropped: list[str]
) -> None:
    old = tables(LOGIN, team=[EMAIL], spatial_ref_sys=[Column("x", Integer)])

    project = write(old, tables(LOGIN), tmp_path, sqlite_url, **settings)

    assert [name for name in ("spatial_ref_sys", "team") if f"drop_table('{name}')" in project.text()] == dropped


def test_schemas_that_are_named_are_compared(postgresql_url: str, tmp_path: Path) -> None:
    engine = engine_of(postgresql_url)
    with engine.begin() as connection:
        for name in ("audit", "theirs"):
            connection.execute(sa.text(f"CREATE SCHEMA {name}"))
            connection.execute(sa.text(f"CREATE TABLE {name}.event (id integer primary key)"))

    project = write(tables(LOGIN), tables(LOGIN), tmp_path, postgresql_url, MIGRATE_SCHEMAS="audit")

    assert "op.drop_table('event', schema='audit')" in project.text()
    assert "theirs" not in project.text()


def test_no_changes_names_what_was_compared(sqlite_url: str, tmp_path: Path) -> None:
    project = Project(tmp_path, sqlite_url, lambda _: None)

    ended = project.flask("migrate")

    database = sa.make_url(sqlite_url).database
    assert ended.stderr.endswith(
        f"Nothing was written: the models say what the database has. Compared were default (sqlite {database}): no "
        "table.\nThe models have no table: is the module imported that defines them?\n"
    )


# -- several databases -------------------------------------------------------------------------------------


def test_each_bind_has_a_function_for_each_phase(
    project: Any, postgresql_url: str, sqlite_url: str, tmp_path: Path
) -> None:
    old = sa.MetaData()
    tables(LOGIN)(old)
    for url in (postgresql_url, sqlite_url):
        old.create_all(engine_of(url))
    models = """
    class Account(db.Model):
        id = db.Column(db.Integer, primary_key=True)
        email = db.Column(db.String(80), index=True)

    class Other(db.Model):
        __bind_key__ = "reports"
        __tablename__ = "account"
        id = db.Column(db.Integer, primary_key=True)
        login = db.Column(db.String(40))
        age = db.Column(db.Integer, nullable=False, default=1)
    """
    site = project(postgresql_url, binds={"reports": sqlite_url}, models=models)

    written = site.flask("db", "migrate", "--rev-id", "r1")
    ran = [site.flask("db", "upgrade", "--phase", phase) for phase in ("before-deploy", "after-deploy")]
    checked = site.flask("db", "check")

    text = next(site.versions.glob("*.py")).read_text()
    assert written.returncode == 0, written.stderr
    assert [line for line in text.splitlines() if line.startswith(("@", "def "))] == [
        '@phased("before-deploy")',
        "def upgrade():",
        '@upgrade.phase("before-deploy", bind="reports")',
        "def upgrade_before_deploy_reports():",
        '@upgrade.phase("after-deploy")',
        "def upgrade_after_deploy():",
        '@upgrade.phase("after-deploy", bind="reports")',
        "def upgrade_after_deploy_reports():",
        '@phased("before-deploy")',
        "def downgrade():",
        '@downgrade.phase("before-deploy", bind="reports")',
        "def downgrade_before_deploy_reports():",
        '@downgrade.phase("after-deploy")',
        "def downgrade_after_deploy():",
        '@downgrade.phase("after-deploy", bind="reports")',
        "def downgrade_after_deploy_reports():",
    ]
    assert [ended.returncode for ended in ran] == [0, 0], [ended.stderr for ended in ran]
    assert checked.returncode == 0, checked.stderr


def test_own_hooks_of_env_py_go_on(sqlite_url: str, tmp_path: Path) -> None:
    tables(LOGIN)(metadata := sa.MetaData())
    metadata.create_all(engine_of(sqlite_url))
    project = Project(tmp_path, sqlite_url, tables())
    env = project.folder / "env.py"
    hook = (
        "def rename(context, revision, directives):\n    directives[0].message = 'from env.py'\n\n\n"
        "def options(bind):\n    return {'process_revision_directives': rename}\n\n\ndef unused(bind):\n"
    )
    env.write_text(env.read_text().replace("def options(bind):\n", hook))

    project.must("migrate", "--rev-id", "r1")

    assert project.files()[0].name == "r1_from_env_py.py"
    assert "drop_column" in project.bodies()["upgrade_after_deploy"]


def test_phases_have_the_names_that_are_configured(sqlite_url: str, tmp_path: Path) -> None:
    settings = {"MIGRATE_PHASES": "prepare expand-it contract", "MIGRATE_BOUNDARY": "expand-it"}

    project = write(tables(LOGIN), tables(EMAIL), tmp_path, sqlite_url, **settings)

    assert {name: text.count("op.") for name, text in project.bodies().items()} == {
        "upgrade": 0,
        "upgrade_expand_it": 1,
        "upgrade_contract": 2,
        "downgrade": 0,
        "downgrade_expand_it": 2,
        "downgrade_contract": 1,
    }


def test_env_py_of_flask_migrate_writes_phases_with_our_template(sqlite_url: str, tmp_path: Path) -> None:
    tables(LOGIN)(metadata := sa.MetaData())
    metadata.create_all(engine_of(sqlite_url))
    project = Project(tmp_path, sqlite_url, tables())
    theirs = Path(flask_migrate.__file__).parent / "templates" / "flask"
    (project.folder / "env.py").write_text((theirs / "env.py").read_text())
    (project.folder / "alembic.ini").write_text((theirs / "alembic.ini.mako").read_text())

    project.must("migrate", "--rev-id", "r1")
    project.must("upgrade")
    again = project.flask("migrate")

    assert "drop_column" in project.bodies()["upgrade_after_deploy"]
    assert "Nothing was written" in again.stderr


def test_next_release_overtakes_what_is_left_without_a_warning(postgresql_url: str, tmp_path: Path) -> None:
    old = tables(LOGIN, team=[LOGIN])
    new = tables(Column("name", String(40)), Column("email", String(9), nullable=False), team=[LOGIN])
    options = ["--rename", "account.login=name", "--fill", "account.email=name"]
    project = write(old, new, tmp_path, postgresql_url, *options)
    project.must("upgrade", "--phase", "before-deploy")
    more = project.text().replace("'r1'", "'r2'").replace("down_revision = None", "down_revision = 'r1'")
    (project.folder / "versions" / "r2.py").write_text(
        more[: more.index("@phased")]
        + '@phased("before-deploy")\ndef upgrade():\n    op.add_column("team", sa.Column("size", sa.Integer()))\n'
    )

    ended = project.flask("upgrade", "--phase", "before-deploy")

    assert (ended.exit_code, "Warning" in ended.output) == (0, False), ended.output
