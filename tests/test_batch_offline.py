"""SQLite's batch operations without a database: the SQL leaves what the online upgrade leaves."""

from __future__ import annotations

import sqlite3
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from support import Site, run_client

from flask_phased_migrate.errors import Refused
from flask_phased_migrate.offline.text import render_sql

FIRST = """
    def upgrade():
        op.create_table("team", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40)))
        op.create_table(
            "account",
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("name", sa.String(40), server_default="it's", nullable=False),
            sa.Column("made", sa.DateTime, server_default=sa.func.current_timestamp()),
            sa.Column("size", sa.Integer, server_default=sa.text("40 + 2")),
            sa.Column("team_id", sa.Integer),
            sa.Column("parent_id", sa.Integer),
            sa.CheckConstraint("size > 0", name="ck_size"),
            sa.UniqueConstraint("name", "team_id", name="uq_name"),
            sa.UniqueConstraint("made", "id"),
            sa.ForeignKeyConstraint(["team_id"], ["team.id"], name="fk_team", ondelete="CASCADE"),
            sa.ForeignKeyConstraint(["parent_id"], ["account.id"]),
        )
        op.create_index("ix_size", "account", ["size"])
        op.create_index("ix_name", "account", ["name"], unique=True, sqlite_where=sa.text("size > 10"))
        op.execute("INSERT INTO team VALUES (1, 'blue')")
        op.execute("INSERT INTO account (id, name, made, size, team_id) VALUES (1, 'Ann', '2024-01-01', 12, 1)")
        op.execute("INSERT INTO account (id, name, made, size, team_id) VALUES (2, 'Bob; -- x', '2024-01-02', 13, 1)")

    def downgrade():
        op.drop_table("account")
        op.drop_table("team")
"""
SECOND = """
    @phased("before-deploy")
    def upgrade():
        op.add_column("account", sa.Column("mail", sa.String(40)))

    @upgrade.phase("after-deploy")
    def upgrade_after_deploy():
        op.execute("UPDATE account SET mail = lower(name)")

    @upgrade.phase("final")
    def upgrade_final():
        with op.batch_alter_table("account") as batch:
            batch.alter_column("mail", nullable=False, new_column_name="address")
            batch.drop_column("made")

    @phased("before-deploy")
    def downgrade():
        op.drop_column("account", "mail")

    @downgrade.phase("final")
    def downgrade_final():
        with op.batch_alter_table("account") as batch:
            batch.add_column(sa.Column("made", sa.DateTime))
            batch.alter_column("address", nullable=True, new_column_name="mail")
"""
THIRD = """
    def upgrade():
        op.rename_table("team", "squad")
        with op.batch_alter_table("account") as batch:
            batch.create_check_constraint("ck_name", "length(name) < 30")
            batch.drop_constraint("uq_name", type_="unique")
            batch.alter_column("size", type_=sa.String(10), server_default="7")
        with op.batch_alter_table("account", recreate="always") as batch:
            batch.add_column(sa.Column("nick", sa.String(10)), insert_after="name")
        with op.batch_alter_table("squad") as batch:
            batch.alter_column("name", nullable=False)

    def downgrade():
        with op.batch_alter_table("account") as batch:
            batch.drop_column("nick")
            batch.alter_column("size", type_=sa.Integer, server_default=None)
            batch.create_unique_constraint("uq_name", ["name", "team_id"])
            batch.drop_constraint("ck_name", type_="check")
        with op.batch_alter_table("squad") as batch:
            batch.alter_column("name", nullable=True)
        op.rename_table("squad", "team")
"""
PHASES = ("before-deploy", "after-deploy", "final")


@contextmanager
def migrating(site: Site) -> Iterator[Any]:
    with site.app() as app:
        yield app.extensions["migrate"].migrate


def export(site: Site, revision: str = "heads", **options: Any) -> str:
    """Return the SQL of the only bind."""
    with migrating(site) as migrate:
        (statements,) = migrate.export(None, revision, **options).values()
    return render_sql(statements)


def online(site: Site, revision: str = "heads", *, direction: str = "upgrade", **options: Any) -> None:
    with migrating(site) as migrate:
        getattr(migrate, direction)(None, revision, **options)


def run(url: str, text: str) -> None:
    done = run_client(url, text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def state(url: str) -> tuple[list[Any], dict[str, list[Any]]]:
    """Return what SQLite itself has of the schema, and all rows but those of our own tables.

    Of a CREATE TABLE the lines are sorted: Alembic copies constraints in any order.
    """
    with closing(sqlite3.connect(str(sa.make_url(url).database))) as connection:
        schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        names = [row[1] for row in schema if row[0] == "table" and not row[1].endswith(("_phase", "_journal"))]
        rows = {name: connection.execute(f'SELECT * FROM "{name}" ORDER BY 1').fetchall() for name in names}
    kept = [row for row in schema if not row[2].endswith(("_phase", "_journal"))]
    return [(*row[:3], sorted(line.strip(" \t,") for line in str(row[3]).splitlines())) for row in kept], rows


@pytest.fixture
def sites(project: Callable[..., Site], tmp_path: Path) -> Callable[..., tuple[Site, Site]]:
    """A factory: two projects with the same revisions, one to upgrade online and one for the client."""

    def create(*bodies: str) -> tuple[Site, Site]:
        made = []
        for name in ("online", "client"):
            site = project(f"sqlite:///{tmp_path / name}.sqlite3")
            for number, body in enumerate(bodies, start=1):
                site.revision(str(number), str(number - 1) if number > 1 else None, body)
            made.append(site)
        return made[0], made[1]

    return create


def test_everything_from_the_base_up_and_down(sites: Callable[..., tuple[Site, Site]]) -> None:
    first, second = sites(FIRST, SECOND, THIRD)
    online(first)
    run(second.url, export(second))
    assert state(second.url)[0] == state(first.url)[0]
    online(first, "base", direction="downgrade")
    run(second.url, export(second, "head:base", direction="downgrade"))
    assert state(second.url) == state(first.url)
