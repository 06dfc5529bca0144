"""Plain Alembic on a folder that was run by phases: nothing twice, nothing left in the ledger."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Site, query, table_names

PHASED = """
@phased("before-deploy")
def upgrade():
    op.create_table("thing", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))

@upgrade.phase("after-deploy")
def upgrade_after_deploy():
    op.execute("INSERT INTO thing (id, n) VALUES (1, 1)")

@upgrade.phase("final")
def upgrade_final():
    op.execute("UPDATE thing SET n = n + 10")

@phased("before-deploy")
def downgrade():
    op.drop_table("thing")
"""

UNPHASED = """
def upgrade():
    op.execute("INSERT INTO thing (id, n) VALUES (2, 2)")

def downgrade():
    op.execute("DELETE FROM thing WHERE id = 2")
"""

SEGMENTS = """
@phased
def upgrade():
    table = op.create_table("other", sa.Column("id", sa.Integer, primary_key=True))
    yield
    op.bulk_insert(table, [{"id": 7}])
    yield
    op.execute("UPDATE other SET id = id + 1")
"""


def alembic(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the ``alembic`` command on the site's folder."""
    environment = {**os.environ, "FLASK_APP": str(site.folder / "app.py")}
    return subprocess.run(
        [sys.executable, "-m", "alembic.config", "-c", str(site.migrations / "alembic.ini"), *arguments],
        cwd=site.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def site(project: Callable[..., Site], database_url: str) -> Site:
    made = project(database_url)
    made.revision("1", None, PHASED)
    made.revision("2", "1", 'independent_of = ("1",)\n\n' + textwrap.dedent(UNPHASED))
    made.revision("3", "2", 'independent_of = ("1", "2")\n\n' + textwrap.dedent(SEGMENTS))
    return made


def state(site: Site) -> dict[str, object]:
    """Return everything an upgrade leaves, the journal aside."""
    return {
        "thing": sorted(query(site.url, "SELECT id, n FROM thing")),
        "other": query(site.url, "SELECT id FROM other"),
        "version": query(site.url, "SELECT version_num FROM alembic_version"),
        "ledger": query(site.url, "SELECT revision, phase FROM alembic_version_phase")
        if "alembic_version_phase" in table_names(site.url)
        else [],
    }


COMPLETE = {"thing": [(1, 11), (2, 2)], "other": [(8,)], "version": [("3",)], "ledger": []}


def test_alembic_upgrade_runs_every_phase_of_a_new_database(site: Site) -> None:
    result = alembic(site, "upgrade", "head")
    assert result.returncode == 0, result.stderr
    assert state(site) == COMPLETE


def test_alembic_upgrade_completes_what_is_in_flight_and_runs_no_step_twice(site: Site) -> None:
    with site.app() as app:
        app.extensions["migrate"].migrate.upgrade(phase="before-deploy")
    result = alembic(site, "upgrade", "head")
    assert result.returncode == 0, result.stderr
    # Revision 2 ran in before-deploy, so 1's final phase found its row.
    assert state(site) == {**COMPLETE, "thing": [(1, 11), (2, 12)]}


def test_alembic_upgrade_after_two_phases_runs_only_the_third(site: Site) -> None:
    with site.app() as app:
        migrate = app.extensions["migrate"].migrate
        migrate.upgrade(phase="before-deploy")
        migrate.upgrade(phase="after-deploy")
    result = alembic(site, "upgrade", "head")
    assert result.returncode == 0, result.stderr
    assert state(site)["version"] == [("3",)]
    assert state(site)["ledger"] == []
    assert state(site)["other"] == [(8,)]


def test_an_interrupted_step_stops_alembic(site: Site) -> None:
    with site.app() as app:
        app.extensions["migrate"].migrate.upgrade(phase="before-deploy")
    query(site.url, "UPDATE alembic_version_phase SET status = 'running' WHERE revision = '2'")
    result = alembic(site, "upgrade", "head")
    assert result.returncode != 0
    assert "flask db resolve 2 before-deploy" in result.stderr


def test_alembic_does_not_undo_what_a_revision_in_flight_stands_on(site: Site) -> None:
    with site.app() as app:
        migrate = app.extensions["migrate"].migrate
        migrate.upgrade(revision="1")
        migrate.upgrade(phase="before-deploy")
    result = alembic(site, "downgrade", "base")
    assert result.returncode != 0
    assert "Revision 2 is in flight (before-deploy) and stands on 1" in result.stderr
    assert query(site.url, "SELECT version_num FROM alembic_version") == [("1",)]
    assert "thing" in table_names(site.url)


def test_alembic_autogenerate_does_not_see_the_bookkeeping_tables(site: Site) -> None:
    with site.app() as app:
        app.extensions["migrate"].migrate.upgrade()
    result = alembic(site, "revision", "--autogenerate", "-m", "look", "--rev-id", "9")
    assert result.returncode == 0, result.stderr
    text = (site.versions / "9_look.py").read_text()
    assert "op.drop_table('thing')" in text
    assert "alembic_version" not in text


def test_a_script_operation_under_alembic_knows_its_step(project: Callable[..., Site], sqlite_url: str) -> None:
    site = project(sqlite_url)
    scripts = site.migrations / "scripts"
    scripts.mkdir()
    (scripts / "say.py").write_text(
        "import os\nprint(*(os.environ['MIGRATE_' + name] for name in ('BIND', 'REVISION', 'PHASE', 'DIRECTION')))\n"
    )
    site.revision("1", None, '@phased("final")\ndef upgrade():\n    op.execute_script("scripts/say.py")\n')
    site.revision("2", "1", 'def upgrade():\n    op.execute_script("scripts/say.py")\n')
    result = alembic(site, "upgrade", "head")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[:2] == ["default 1 final upgrade", "default 2 before-deploy upgrade"]


WITH_SCRIPT = """
@phased("before-deploy")
def upgrade():
    op.create_table("thing", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))

@upgrade.phase("after-deploy")
def upgrade_after_deploy():
    op.execute("INSERT INTO thing (id, n) VALUES (1, 1)")
    op.execute_script("scripts/see.py", timeout=30)
    op.execute("UPDATE thing SET n = n + 1")
"""
SEE = """
import os, sqlalchemy as sa
engine = sa.create_engine(os.environ["MIGRATE_DATABASE_URL"])
with engine.begin() as connection:
    connection.execute(sa.text("UPDATE thing SET n = n + 10"))
if not os.path.exists("ready"):
    raise SystemExit("not ready")
"""


def test_a_script_under_alembic_sees_what_came_before_it_and_a_failed_one_is_run_again_alone(
    project: Callable[..., Site], database_url: str
) -> None:
    site = project(database_url)
    site.write("migrations/scripts/see.py", SEE)
    site.revision("1", None, WITH_SCRIPT)
    failed = alembic(site, "upgrade", "head")
    assert "not ready" in failed.stderr
    assert query(site.url, "SELECT n FROM thing") == [(11,)]
    site.write("migrations/ready", "")
    again = alembic(site, "upgrade", "head")
    assert again.returncode == 0, again.stderr
    assert query(site.url, "SELECT n FROM thing") == [(22,)]
    assert query(site.url, "SELECT * FROM alembic_version_phase") == []


def test_importing_alembic_with_the_entry_point_is_silent(tmp_path: Path) -> None:
    code = "import alembic, alembic.command; from alembic.runtime.environment import EnvironmentContext as E; "
    code += "print(E.configure.phased)"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("True\n", "")


def test_a_phase_refuses_an_unphased_revision_where_the_hook_is_not_installed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flask_phased_migrate import alembic_plugin
    from flask_phased_migrate.errors import RevisionRefused

    monkeypatch.setattr(alembic_plugin, "is_active", lambda: False)
    with site.app() as app, pytest.raises(RevisionRefused, match="revision 2 is not divided into phases") as refused:
        app.extensions["migrate"].migrate.upgrade(phase="before-deploy")
    assert refused.value.path.endswith("2.py") or "2" in Path(refused.value.path).name
    assert table_names(site.url) == set()
