"""Commands that find nothing to do: what they say without env.py is what they say with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from shell import run_indexed as run
from shell import two_revisions
from support import Site, query

from flask_phased_migrate.extension import glance as looks

TEMPLATE = Path(looks.__file__).parent.parent / "templates" / "flask" / "env.py"
COMMANDS = (("current",), ("current", "--check-heads"), ("status",), ("status", "--json"), ("upgrade",))


@pytest.fixture
def site(project: Callable[..., Site], database_url: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Two revisions of a folder that is ours in every way; the database is empty."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    site = two_revisions(project(database_url))
    (site.migrations / "env.py").write_bytes(TEMPLATE.read_bytes())
    return site


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a line for each time that env.py has run."""
    from alembic.script import ScriptDirectory

    seen: list[str] = []
    original = ScriptDirectory.run_env

    def run_env(self: ScriptDirectory) -> None:
        seen.append("env.py")
        original(self)

    monkeypatch.setattr(ScriptDirectory, "run_env", run_env)
    return seen


def up(site: Site, *arguments: str) -> None:
    assert run(site, "upgrade", *arguments, index=False).status == 0


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_at_the_head_needs_no_env_py(site: Site, visits: list[str], command: tuple[str, ...]) -> None:
    up(site)
    expected = run(site, *command, index=False)
    visits.clear()
    assert [run(site, *command) for _ in range(2)] == [expected] * 2
    assert (expected.status, visits) == (0, [])


@pytest.mark.parametrize("command", COMMANDS[:4], ids=" ".join)
@pytest.mark.parametrize("state", ["nothing", "behind", "in flight", "stamped with a stranger"])
def test_what_is_told_of_other_databases_is_the_same(site: Site, command: tuple[str, ...], state: str) -> None:
    if state in ("behind", "stamped with a stranger"):
        up(site, "1")
    if state == "in flight":
        up(site, "--phase", "before-deploy")
    if state == "stamped with a stranger":
        with_driver(site.url, "UPDATE alembic_version SET version_num = 'gone'")
    expected = run(site, *command, index=False)
    assert [run(site, *command) for _ in range(2)] == [expected] * 2


def with_driver(url: str, statement: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_what_is_pending_is_run(site: Site) -> None:
    up(site, "1")
    assert run(site, "upgrade").status == 0
    assert query(site.url, "SELECT version_num FROM alembic_version") == [("2",)]
    assert "Nothing to do." in run(site, "upgrade").stderr


def test_an_empty_folder_and_database_get_their_version_table(site: Site) -> None:
    for file in site.versions.glob("*.py"):
        file.unlink()
    assert run(site, "upgrade").status == 0
    assert query(site.url, "SELECT version_num FROM alembic_version") == []


@pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")
@pytest.mark.parametrize("state", ["nothing", "behind", "at the head", "in flight"])
@pytest.mark.parametrize("command", [("current",), ("current", "--check-heads"), ("upgrade",)], ids=" ".join)
def test_what_is_told_with_an_env_py_of_somebody_else_is_the_same(
    site: Site, visits: list[str], state: str, command: tuple[str, ...]
) -> None:
    theirs = Path(flask_migrate.__file__).parent / "templates" / "flask" / "env.py"
    (site.migrations / "env.py").write_bytes(theirs.read_bytes())
    done = {"behind": ["1"], "at the head": [], "in flight": ["--phase", "before-deploy"]}
    if state != "nothing":
        up(site, *done[state])
    visits.clear()
    found = run(site, *command)
    assert found.status == (1 if "--check-heads" in command and state != "at the head" else 0)
    assert len(visits) == 1 or state != "at the head"
    if command != ("upgrade",):
        assert found == run(site, *command, index=False)
    else:
        assert query(site.url, "SELECT version_num FROM alembic_version") == [("2",)]


def edited(site: Site, _app: Any) -> None:
    (site.migrations / "env.py").write_text(TEMPLATE.read_text() + "\n# ours\n")


def several_binds(site: Site, _app: Any) -> None:
    file = site.migrations / "alembic.ini"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("binds")]
    file.write_text("\n".join(lines).replace("[alembic]", "[alembic]\nbinds = all", 1) + "\n")


def another_url(site: Site, app: Any) -> None:
    app.config["MIGRATE_DATABASE_URL"] = site.url


def switched_off(_site: Site, app: Any) -> None:
    app.config["MIGRATE_INDEX"] = False


@pytest.mark.parametrize("change", [edited, several_binds, another_url, switched_off])
def test_env_py_runs_where_it_may_say_something_else(
    site: Site, visits: list[str], change: Callable[[Site, Any], None]
) -> None:
    up(site)
    visits.clear()
    found = run(site, "current", change=lambda app: change(site, app))
    assert (found.status, found.stdout) == (0, "2 (head)\n")
    assert visits != []


def test_an_own_version_table_is_asked(site: Site) -> None:
    text = (site.folder / "app.py").read_text()
    site.write("app.py", text.replace("Migrate(app, db", "Migrate(app, db, version_table='own versions'"))
    assert run(site, "upgrade").status == 0
    assert run(site, "current").stdout == "2 (head)\n"
    assert "Nothing to do." in run(site, "upgrade").stderr
    quoted = "`own versions`" if "mysql" in site.url or "mariadb" in site.url else '"own versions"'
    with_driver(site.url, f"UPDATE {quoted} SET version_num = '1'")
    assert run(site, "current").stdout == "1\n"


def test_a_database_that_does_not_answer_is_told_as_ever(site: Site) -> None:
    def away(app: Any) -> None:
        import sqlalchemy as sa

        app.extensions["sqlalchemy"].engines[None] = sa.create_engine("sqlite:////nowhere/at/all.db")

    for command in COMMANDS:
        found = run(site, *command, change=away)
        assert found == run(site, *command, change=away, index=False)
        assert (found.status, "cannot be reached" in found.stderr) == (1, True)


def test_a_pending_file_that_cannot_be_imported_fails_before_anything_runs(site: Site) -> None:
    site.revision("3", "2", "import nothing_of_this_name\n\n\ndef upgrade():\n    pass\n")
    found = [run(site, "upgrade", index=index) for index in (True, True, False)]
    assert [item.status for item in found] == [1, 1, 1]
    assert "3.py, line" in found[0].stderr
    assert found[0].stderr == found[1].stderr == found[2].stderr
    with pytest.raises(Exception, match="alembic_version"):
        query(site.url, "SELECT version_num FROM alembic_version")
