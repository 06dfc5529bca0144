"""What ``flask db migrate`` writes, and that it runs while the old code and the new are at work."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alembic
import flask_migrate
import pytest
import sqlalchemy as sa
from authoring_changes import EMAIL, LOGIN, checked_color, owner, tables
from authoring_scenarios import Change, Project, describe, dispose_engines, engine_of, migrated

from flask_phased_migrate import commands
from flask_phased_migrate.authoring import Answers, Question
from flask_phased_migrate.cli.authoring import ask

Column, Integer, String = sa.Column, sa.Integer, sa.String

COMPARES_CHECKS = tuple(map(int, alembic.__version__.split(".")[:3])) >= (1, 19, 2)
"""Whether Alembic has a plugin that compares checks by their names: before, it finds no new check of a known table."""


@pytest.fixture(autouse=True)
def engines() -> Iterator[None]:
    """Close what the test has opened, before its database goes."""
    yield
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
    # 100 pages of the table at a time, each batch committed.
    op.execute(
        "DO $$ BEGIN FOR fill_page IN 0..pg_relation_size('account'::regclass) / "
        "current_setting('block_size')::integer BY 100 LOOP UPDATE account SET email = lower(login) WHERE "
        "ctid >= ('(' || fill_page || ',0)')::tid AND ctid < ('(' || fill_page + 100 || ',0)')::tid AND email"
        " IS NULL; COMMIT; END LOOP; END $$"
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
    check = """\
    op.execute("ALTER TABLE account ADD CONSTRAINT ck_age CHECK (age > 0) NOT VALID")
    op.execute("ALTER TABLE account VALIDATE CONSTRAINT ck_age")
"""
    assert (
        project.bodies()["upgrade_after_deploy"]
        == f"""\
with op.get_context().autocommit_block():
    op.create_index('uq_account_login', 'account', ['login'], unique=True, postgresql_concurrently=True)

op.execute("ALTER TABLE account ADD CONSTRAINT uq_account_login UNIQUE USING INDEX uq_account_login")
with op.get_context().autocommit_block():
{check if COMPARES_CHECKS else ""}\
    op.execute(
        "ALTER TABLE account ADD CONSTRAINT fk_account_team_id_team FOREIGN KEY(team_id) REFERENCES team (id)"
        " NOT VALID"
    )
    op.execute("ALTER TABLE account VALIDATE CONSTRAINT fk_account_team_id_team")"""
    )


def test_colon_in_a_list_of_values_is_no_parameter(database_url: str, tmp_path: Path) -> None:
    old, new = (tables(Column("color", checked_color(*values))) for values in (["a", " :b"], ["a", " :b", " :c"]))
    with migrated(Change("", old, new, options=["--no-phases"]), tmp_path, database_url) as project:
        project.must("upgrade")
        with project.engine.connect() as connection:
            (check,) = sa.inspect(connection).get_check_constraints("account")

    assert "' :b'" in check["sqltext"]
    assert "' :c'" in check["sqltext"]


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


def test_every_row_of_many_batches_is_filled(database_url: str, tmp_path: Path) -> None:
    new = tables(LOGIN, Column("size", Integer, nullable=False))
    options = ["--fill", "account.size=length(login)"]
    project = write(tables(LOGIN), new, tmp_path, database_url, *options)
    with project.engine.begin() as connection:
        # Of MariaDB's batches of 5000 the keys leave out some, of PostgreSQL's 100 pages these rows fill 300.
        rows = [{"id": 3 * number + 2, "login": "x" * 40} for number in range(12_001)]
        connection.execute(sa.text("INSERT INTO account (id, login) VALUES (:id, :login)"), rows)

    project.must("upgrade", "--phase", "before-deploy")

    with project.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM account WHERE size = 40")) == 12_001


def test_values_of_a_partitioned_table_are_not_written_over(postgresql_url: str, tmp_path: Path) -> None:
    project = Project(tmp_path, postgresql_url, tables(Column("login", String(40), nullable=False)))
    with project.engine.begin() as connection:
        for statement in (
            "CREATE TABLE account (id serial PRIMARY KEY, login varchar(40)) PARTITION BY RANGE (id)",
            "CREATE TABLE account_1 PARTITION OF account FOR VALUES FROM (1) TO (3)",
            "CREATE TABLE account_2 PARTITION OF account FOR VALUES FROM (3) TO (5)",
            "INSERT INTO account (login) VALUES ('a'), (NULL), (NULL), ('d')",
        ):
            connection.execute(sa.text(statement))
    project.must("migrate", "--rev-id", "r1", "--fill", "account.login='x'")

    project.must("upgrade", "--phase", "before-deploy")

    with project.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT login FROM account ORDER BY id")).scalars().all()
    assert rows == ["a", "x", "x", "d"]


def test_text_that_is_too_long_stops_the_shorter_type_and_is_not_cut(postgresql_url: str, tmp_path: Path) -> None:
    project = write(tables(LOGIN), tables(Column("login", String(30))), tmp_path, postgresql_url)
    with project.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO account (login) VALUES (:text)"), {"text": "x" * 40})
    project.must("upgrade", "--phase", "before-deploy")

    ended = project.flask("upgrade", "--phase", "after-deploy")

    assert ended.exit_code == 1
    assert "value too long for type character varying(30)" in ended.stderr
    with project.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT login FROM account")) == "x" * 40


def test_old_column_of_another_type_goes_in_the_last_phase(postgresql_url: str, tmp_path: Path) -> None:
    old, new = tables(Column("age", Integer)), tables(Column("age", sa.BigInteger))

    project = write(old, new, tmp_path, postgresql_url)

    bodies = project.bodies()
    assert bodies["upgrade_final"] == 'op.execute("ALTER TABLE account DROP COLUMN IF EXISTS age_old")'
    assert "upgrade_after_deploy" not in bodies


def test_old_column_goes_after_the_deploy_where_that_is_the_last_phase(postgresql_url: str, tmp_path: Path) -> None:
    old, new = tables(Column("age", Integer), LOGIN), tables(Column("age", sa.BigInteger))
    settings = {"MIGRATE_PHASES": "before after"}

    project = write(old, new, tmp_path, postgresql_url, **settings)

    assert project.bodies()["upgrade_after"].splitlines() == [
        "op.drop_column('account', 'login')",
        'op.execute("ALTER TABLE account DROP COLUMN IF EXISTS age_old")',
    ]
    project.must("upgrade")
    project.must("check")


def test_key_that_differs_is_said_and_not_passed_over(database_url: str, tmp_path: Path) -> None:
    def new(metadata: sa.MetaData) -> None:
        team = Column("team", Integer, primary_key=True, autoincrement=False)
        sa.Table("account", metadata, Column("id", Integer, primary_key=True), team)

    project = Project(tmp_path, database_url, new)
    tables(Column("team", Integer, nullable=False))(old := sa.MetaData())
    old.create_all(project.engine)

    ended = project.flask("migrate")

    assert (
        "Not compared: the primary key of account is (id) in the database and (id, team) in the models. Write that "
        "revision by hand: flask db revision\n" in ended.stderr
    )


def test_values_that_a_type_has_too_many_are_said(postgresql_url: str, tmp_path: Path) -> None:
    tables(Column("color", sa.Enum("red", "blue", name="color")))(old := sa.MetaData())
    project = Project(tmp_path, postgresql_url, tables(Column("color", sa.Enum("red", name="color"))))
    old.create_all(project.engine)

    ended = project.flask("migrate")

    assert "Not compared: the type color has 'blue', which the models have not." in ended.stderr


def test_check_shows_other_values_of_a_check(database_url: str, tmp_path: Path) -> None:
    tables(Column("color", checked_color("red", "blue")))(old := sa.MetaData())
    project = Project(tmp_path, database_url, tables(Column("color", checked_color("red", "green"))))
    old.create_all(project.engine)

    ended = project.flask("check")

    assert ended.exit_code == 1
    assert "('modify_check', 'account.color', " in ended.stderr


def test_check_gives_json_for_machines(sqlite_url: str, tmp_path: Path) -> None:
    tables(LOGIN, EMAIL, team=[LOGIN])(old := sa.MetaData())
    new = tables(Column("login", String(50), nullable=False, index=True), seat=[LOGIN])
    project = Project(tmp_path, sqlite_url, new)
    old.create_all(project.engine)

    ended = project.flask("check", "--json")

    found = json.loads(ended.stdout)
    assert (ended.exit_code, found["schema"]) == (1, 1)
    assert sorted((item["change"], item["table"], item["name"]) for item in found["differences"]) == [
        ("add_index", "account", "ix_account_login"),
        ("add_table", "seat", None),
        ("modify_nullable", "account", "login"),
        ("modify_type", "account", "login"),
        ("remove_column", "account", "email"),
        ("remove_table", "team", None),
    ]
    texts = [item["text"] for item in found["differences"] if item["change"].startswith("modify")]
    assert sorted(texts) == [
        "modify_nullable account.login: True to False",
        "modify_type account.login: VARCHAR(40) to VARCHAR(50)",
    ]
    database = sa.make_url(sqlite_url).database
    assert found["compared"] == [{"bind": "default", "database": f"sqlite {database}", "tables": 2}]
    assert ended.stderr.endswith("Error: The models and the database differ. Type: flask db migrate\n")


def test_check_gives_json_where_nothing_differs(database_url: str, tmp_path: Path) -> None:
    tables(LOGIN)(old := sa.MetaData())
    project = Project(tmp_path, database_url, tables(LOGIN))
    old.create_all(project.engine)

    ended = project.flask("check", "--json")

    assert (ended.exit_code, json.loads(ended.stdout)["differences"]) == (0, [])


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
