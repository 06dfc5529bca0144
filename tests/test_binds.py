"""Several binds in one project of ours: which function runs where, and refusals before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support import Site, query, table_names
from test_plain_alembic import alembic

from flask_phased_migrate.errors import RevisionRefused, UsageError

TABLES = {"alembic_version", "alembic_version_phase", "alembic_version_journal"}


@pytest.fixture
def two(project: Callable[..., Site], tmp_path: Path) -> Site:
    """A site with the binds default and reports, and one revision of each kind."""
    site = project(f"sqlite:///{tmp_path}/main.db", binds={"reports": f"sqlite:///{tmp_path}/reports.db"})
    site.reports = f"sqlite:///{tmp_path}/reports.db"  # type: ignore[attr-defined]
    site.revision(
        "1",
        None,
        """
        @phased("before-deploy")
        def upgrade():
            op.execute("CREATE TABLE main_table (id INTEGER)")

        @upgrade.phase("before-deploy", bind="reports")
        def upgrade_reports():
            op.execute("CREATE TABLE reports_table (id INTEGER)")

        @phased("before-deploy")
        def downgrade():
            op.execute("DROP TABLE main_table")

        @downgrade.phase("before-deploy", bind="reports")
        def downgrade_reports():
            op.execute("DROP TABLE reports_table")
        """,
    )
    site.revision(
        "2",
        "1",
        """
        def upgrade():
            op.execute("CREATE TABLE unphased (id INTEGER)")

        def downgrade():
            op.execute("DROP TABLE unphased")
        """,
    )
    return site


def tables(site: Site) -> tuple[set[str], set[str]]:
    """Return the application's tables of both databases."""
    return table_names(site.url) - TABLES, table_names(site.reports) - TABLES  # type: ignore[attr-defined]


def test_an_unphased_revision_belongs_to_the_unnamed_database(two: Site) -> None:
    with two.app() as app:
        app.extensions["migrate"].migrate.upgrade()
    assert tables(two) == ({"main_table", "unphased"}, {"reports_table"})
    assert query(two.reports, "SELECT version_num FROM alembic_version") == [("2",)]  # type: ignore[attr-defined]


def test_phases_and_plain_alembic_agree_on_it(two: Site) -> None:
    with two.app() as app:
        app.extensions["migrate"].migrate.upgrade(revision="1")
    assert alembic(two, "upgrade", "head").returncode == 0
    assert tables(two) == ({"main_table", "unphased"}, {"reports_table"})
    result = alembic(two, "downgrade", "base")
    assert result.returncode == 0, result.stderr
    assert tables(two) == (set(), set())


def test_each_bind_has_its_own_records(two: Site) -> None:
    with two.app() as app:
        migrate = app.extensions["migrate"].migrate
        migrate.upgrade(phase="before-deploy", bind="reports")
        states = {item.name: [row.state for row in item.revisions] for item in migrate.status()}
    assert states == {"default": ["pending", "pending"], "reports": ["pending", "in-flight"]}
    assert tables(two) == (set(), {"reports_table"})


def test_a_function_for_an_unknown_bind_is_refused_before_anything_runs(two: Site) -> None:
    two.revision("3", "2", '@phased("final", bind="nowhere")\ndef upgrade():\n    op.execute("SELECT 1")\n')
    with two.app() as app, pytest.raises(RevisionRefused, match=r"is for the bind 'nowhere', but the binds are: "):
        app.extensions["migrate"].migrate.upgrade()
    assert tables(two) == (set(), set())


def test_an_unknown_bind_on_the_command_line_names_the_binds(two: Site) -> None:
    with two.app() as app, pytest.raises(UsageError, match=r"There is no bind 'x'\. The binds are: default, reports\."):
        app.extensions["migrate"].migrate.upgrade(bind="x")


def test_one_bind_s_mistake_stops_the_other_before_it_begins(two: Site) -> None:
    query(two.reports, "CREATE TABLE alembic_version (version_num VARCHAR(32))")  # type: ignore[attr-defined]
    query(two.reports, "INSERT INTO alembic_version VALUES ('gone')")  # type: ignore[attr-defined]
    result = two.flask("db", "upgrade")
    assert result.returncode == 1
    assert "Can't locate revision identified by 'gone': the database of bind reports is at gone" in result.stderr
    assert tables(two) == (set(), set())


def test_a_new_revision_has_a_function_for_each_bind_the_unnamed_first(two: Site) -> None:
    assert two.flask("db", "upgrade", "-q").returncode == 0
    assert two.flask("db", "revision", "-m", "more", "--rev-id", "9").returncode == 0
    text = (two.versions / "9_more.py").read_text()
    assert text.count("def upgrade") == 6
    assert '@phased("before-deploy")\ndef upgrade():' in text
    assert '@upgrade.phase("before-deploy", bind="reports")\ndef upgrade_before_deploy_reports():' in text
    compile(text, "9_more.py", "exec")
