"""Bundles: what ``flask db sql --split`` writes, what a client makes of it, and what ``--verify`` finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from shell import PHASED, PLAIN, flask_db, two_revisions
from support import Site, connect, query, run_client

from flask_phased_migrate import bundle, export
from flask_phased_migrate.errors import UsageError

FIX = """
import os
import sqlalchemy as sa

engine = sa.create_engine(os.environ["MIGRATE_DATABASE_URL"])
with engine.begin() as connection:
    connection.exec_driver_sql("INSERT INTO account (id) VALUES (" + os.sys.argv[1] + ")")
engine.dispose()
"""
WITH_SCRIPTS = """
@phased("before-deploy")
def upgrade():
    op.execute("CREATE TABLE one (id integer PRIMARY KEY)")
    op.execute_script("scripts/fix.py", args=(7,), timeout=60)
    op.execute("CREATE TABLE two (id integer PRIMARY KEY)")
    op.execute_script("scripts/more.sql")
    op.execute("CREATE TABLE three (id integer PRIMARY KEY)")

@upgrade.phase("final")
def upgrade_final():
    op.execute("INSERT INTO three VALUES (1)")

@phased("before-deploy")
def downgrade():
    for name in ("one", "two", "three"):
        op.drop_table(name)
    op.execute("DELETE FROM account")

@downgrade.phase("final")
def downgrade_final():
    op.execute("DELETE FROM three")
"""


def with_scripts(site: Site) -> Site:
    """Write three revisions, of which the third runs a program and an SQL file."""
    two_revisions(site)
    site.write("migrations/scripts/fix.py", FIX)
    site.write("migrations/scripts/more.sql", "-- one; two\nINSERT INTO account (id) VALUES (8);\n")
    site.revision("3", "2", WITH_SCRIPTS)
    return site


@pytest.fixture
def site(project: Callable[..., Site], sqlite_url: str) -> Site:
    return with_scripts(project(sqlite_url))


def ok(site: Site, *arguments: str) -> str:
    """Run a command that must succeed; return what it said on standard error."""
    outcome = flask_db(site, *arguments)
    assert outcome.status == 0, outcome
    return outcome.stderr


def manifest(site: Site, folder: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site.folder / folder / "manifest.json").read_text())
    return found


def files(folder: Path) -> dict[str, str]:
    """Return the files below a folder with their content."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def run_in_order(url: str, folder: Path, entries: list[dict[str, Any]]) -> None:
    """Do what a database administrator does with the manifest in hand."""
    for entry in entries:
        file = folder / entry["file"]
        if entry["kind"] == "sql":
            done = run_client(url, file.read_text())
            assert done.returncode == 0, (entry, done.stderr)
        else:
            assert entry["interpreter"] == "python"
            environment = {**os.environ, "MIGRATE_DATABASE_URL": url}
            command = [sys.executable, str(file), *entry["args"]]
            subprocess.run(command, env=environment, check=True, timeout=entry["timeout_s"])


def state(url: str) -> dict[str, Any]:
    """Return the columns and rows of every table but the journal."""
    with connect(url) as connection:
        inspector = sa.inspect(connection)
        found: dict[str, Any] = {}
        for name in sorted(set(inspector.get_table_names()) - {"alembic_version_journal"}):
            columns = sorted(column["name"] for column in inspector.get_columns(name))
            if name == "alembic_version_phase":
                columns = ["revision", "phase", "status", "statement"]
            rows = connection.exec_driver_sql(f"SELECT {', '.join(columns)} FROM {name}")
            found[name] = (columns, sorted(map(str, rows)), [index["name"] for index in inspector.get_indexes(name)])
        return found


# -- run by the clients ---------------------------------------------------------------------------------


def test_a_bundle_in_the_manifests_order_gives_the_state_of_upgrade_and_its_rollback_the_one_before(
    project: Callable[..., Site], database_url: str
) -> None:
    site = with_scripts(project(database_url))
    ok(site, "upgrade", "1")
    ok(site, "sql", "--split", "out", "current:head")
    found = manifest(site)
    before = state(site.url)
    run_in_order(site.url, site.folder / "out", found["run"])
    by_client = state(site.url)
    run_in_order(site.url, site.folder / "out", found["rollback"]["run"])
    assert state(site.url) == before
    for phase in ("before-deploy", "after-deploy", "final"):
        ok(site, "upgrade", "--phase", phase)
    assert by_client == state(site.url)
    assert query(site.url, "SELECT id FROM account ORDER BY id") == [(7,), (8,)]


def test_a_part_is_refused_before_the_one_before_it_and_a_second_time(
    project: Callable[..., Site], database_url: str
) -> None:
    site = with_scripts(project(database_url))
    ok(site, "upgrade", "2")
    ok(site, "sql", "--split", "out", "2:head")
    parts = [(site.folder / f"out/parts/01-before-deploy.default.{number}.sql").read_text() for number in (1, 2, 3)]
    assert run_client(site.url, parts[1]).returncode != 0
    assert run_client(site.url, parts[0]).returncode == 0
    assert run_client(site.url, parts[2]).returncode != 0
    assert run_client(site.url, parts[1]).returncode == 0
    after = state(site.url)
    assert run_client(site.url, parts[1]).returncode != 0
    assert state(site.url) == after
    rows = query(site.url, "SELECT revision, phase, status, statement FROM alembic_version_phase")
    assert rows == [("3", "before-deploy", "failed", 3)]


def test_a_step_of_which_the_client_ran_a_part_is_gone_on_with_online(site: Site) -> None:
    ok(site, "upgrade", "2")
    ok(site, "sql", "--split", "out", "2:head")
    assert run_client(site.url, (site.folder / "out/parts/01-before-deploy.default.1.sql").read_text()).returncode == 0
    ok(site, "upgrade")
    assert query(site.url, "SELECT id FROM account ORDER BY id") == [(7,), (8,)]


def test_a_downgrade_bundle_rolls_forward_again(project: Callable[..., Site], sqlite_url: str) -> None:
    site = two_revisions(project(sqlite_url))
    ok(site, "upgrade")
    ok(site, "sql", "--split", "out", "--downgrade", "head:1")
    before, found = state(site.url), manifest(site)
    run_in_order(site.url, site.folder / "out", found["run"])
    assert query(site.url, "SELECT version_num FROM alembic_version") == [("1",)]
    run_in_order(site.url, site.folder / "out", found["rollback"]["run"])
    assert state(site.url) == before


# -- what is written ------------------------------------------------------------------------------------


def test_the_manifest_has_revisions_statements_and_scripts_in_order(site: Site) -> None:
    ok(site, "sql", "--split", "out", "1:head")
    found = manifest(site)
    assert [item["revision"] for item in found["revisions"]] == ["2", "3"]
    assert [(entry["kind"], entry["file"]) for entry in found["run"]] == [
        ("sql", "parts/01-before-deploy.default.1.sql"),
        ("script", "programs/scripts/fix.py"),
        ("sql", "parts/01-before-deploy.default.2.sql"),
        ("sql", "programs/scripts/more.sql"),
        ("sql", "parts/01-before-deploy.default.3.sql"),
        ("sql", "02-after-deploy.default.sql"),
        ("sql", "03-final.default.sql"),
    ]
    assert found["run"][2]["steps"] == [
        {
            "revision": "3",
            "phase": "before-deploy",
            "statements": ["CREATE TABLE two (id integer PRIMARY KEY);"],
        }
    ]
    script = found["run"][1]
    assert (script["script"], script["args"], script["timeout_s"]) == ("scripts/fix.py", ["7"], 60)
    assert set(found["files"]) == set(files(site.folder / "out")) - {"manifest.json"}


def test_two_bundles_have_the_same_bytes(site: Site) -> None:
    ok(site, "sql", "--split", "out", "1:head")
    ok(site, "sql", "--split", "again", "1:head")
    assert files(site.folder / "out") == files(site.folder / "again")


def test_a_range_that_cannot_be_undone_has_no_rollback_and_says_why(site: Site) -> None:
    path = site.revision("4", "3", "def upgrade():\n    pass\ndef downgrade():\n    raise NotImplementedError('no')\n")
    said = ok(site, "sql", "--split", "out")
    assert "There is no rollback SQL: " in said
    missing = manifest(site)["rollback"]["missing"]
    assert missing.startswith("versions/4.py, line ")
    assert str(path.parent) not in missing
    assert not (site.folder / "out/rollback").exists()


def test_a_failure_leaves_the_earlier_bundle(site: Site) -> None:
    ok(site, "sql", "--split", "out")
    before = files(site.folder / "out")
    site.revision("4", "3", "def upgrade():\n    raise ValueError('no')\n")
    assert flask_db(site, "sql", "--split", "out").status == 3
    assert files(site.folder / "out") == before


def test_a_full_disk_leaves_the_earlier_bundle(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ok(site, "sql", "--split", "out")
    before = files(site.folder / "out")
    names = sorted(path.name for path in site.folder.iterdir())

    def write(path: Path, content: bytes) -> None:
        if path.name == "manifest.json":
            raise OSError(28, "No space left on device")
        with path.open("wb") as file:
            file.write(content)

    monkeypatch.setattr(Path, "write_bytes", write)
    outcome = flask_db(site, "sql", "--split", "out")
    assert (outcome.status, outcome.stderr) == (2, "Error: The folder out cannot be made: No space left on device.\n")
    assert files(site.folder / "out") == before
    assert sorted(path.name for path in site.folder.iterdir()) == names


def test_a_failure_while_the_folders_are_exchanged_puts_the_earlier_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    original = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if (path / "new").exists():
            raise OSError(5, "Input/output error")
        return original(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(UsageError, match="Input/output error"):
        export.write_folder(str(tmp_path / "out"), {"new": b""}, replaces=lambda _: True)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["out", "out/old"]


def test_an_earlier_bundle_is_replaced_as_a_whole(site: Site) -> None:
    ok(site, "sql", "--split", "out")
    (site.folder / "out/03-final.default.sql").write_text("edited")
    ok(site, "sql", "--split", "out", "--phase", "final")
    assert sorted(files(site.folder / "out")) == [
        "01-final.default.sql",
        "manifest.json",
        "rollback/01-final.default.sql",
    ]


@pytest.mark.parametrize("name", ["notes.txt", "manifest.json"])
def test_a_folder_with_other_files_is_refused_and_kept(site: Site, name: str) -> None:
    site.write(f"out/{name}", "mine")
    outcome = flask_db(site, "sql", "--split", "out")
    assert (outcome.status, files(site.folder / "out")) == (2, {name: "mine"})
    assert "has files that are no part of a bundle" in outcome.stderr


@pytest.mark.parametrize("folder", [".", "..", "app.py", "app.py/out"])
def test_a_folder_that_cannot_be_one_is_refused(site: Site, folder: str) -> None:
    before = files(site.folder)
    assert flask_db(site, "sql", "--split", folder).status == 2
    assert files(site.folder) == before


def test_names_of_phases_and_binds_make_names_of_files(
    project: Callable[..., Site], sqlite_url: str, tmp_path: Path
) -> None:
    site = project(
        sqlite_url,
        binds={"a/b": f"sqlite:///{tmp_path}/ab.db", "a:b": f"sqlite:///{tmp_path}/cd.db"},
        config={"MIGRATE_PHASES": "../x final"},
    )
    ok(site, "sql", "--split", "out", "--phase", "../x")
    names = [name for name in sorted(files(site.folder / "out")) if "/" not in name]
    assert names == ["01-.._x.a_b-2.sql", "01-.._x.a_b.sql", "01-.._x.default.sql", "manifest.json"]


# -- verify ---------------------------------------------------------------------------------------------


def verify(site: Site, status: int = 1) -> list[str]:
    """Return the lines of a verification that must end so."""
    outcome = flask_db(site, "sql", "--verify", "out")
    assert outcome.status == status, outcome
    return outcome.stdout.splitlines()


def test_a_bundle_holds_and_no_database_is_asked(site: Site) -> None:
    ok(site, "upgrade", "1")
    ok(site, "sql", "--split", "out", "current:head")
    Path(site.url.removeprefix("sqlite:///")).unlink()
    assert verify(site, 0) == []
    assert not Path(site.url.removeprefix("sqlite:///")).exists()


def edit(path: str, old: str, new: str) -> Callable[[Site], None]:
    def change(site: Site) -> None:
        file = site.folder / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return change


UNTRUE = "changed: manifest.json (what it says of itself is not true)"


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (edit("out/03-final.default.sql", "INSERT", "INSERT "), ["changed: 03-final.default.sql"]),
        (lambda site: (site.folder / "out/03-final.default.sql").unlink(), ["missing: 03-final.default.sql"]),
        (lambda site: site.write("out/new.sql", ""), ["extra: new.sql"]),
        (edit("out/manifest.json", '"7"', '"8"'), [UNTRUE]),
        (lambda site: site.write("out/manifest.json", "[]"), [UNTRUE]),
        (edit("migrations/versions/2.py", "add email", "add e-mail"), ["edited: revision 2 (versions/2.py)"]),
        (
            edit("migrations/versions/2.py", "String(20)", "String(30)"),
            [
                "edited: revision 2 (versions/2.py)",
                "differs: 01-before-deploy.default.sql (it would be written otherwise now)",
                "differs: parts/01-before-deploy.default.1.sql (it would be written otherwise now)",
            ],
        ),
        (
            edit("migrations/scripts/fix.py", "INSERT", "insert"),
            [
                "edited: script scripts/fix.py",
                "differs: programs/scripts/fix.py (it would be written otherwise now)",
            ],
        ),
        (
            lambda site: site.revision("4", "3", PLAIN.replace("account", "other")),
            ["new: revision 4 (versions/4.py) is in the range now"],
        ),
    ],
)  # fmt: skip
def test_what_changed_is_named(site: Site, change: Callable[[Site], None], lines: list[str]) -> None:
    ok(site, "sql", "--split", "out", "1:head")
    change(site)
    found = verify(site)
    assert found[: len(lines)] == lines
    assert all(line.startswith("differs: ") for line in found[len(lines) :])


def test_a_changed_setting_is_named(site: Site) -> None:
    ok(site, "sql", "--split", "out", "1:head")
    more = "'MIGRATE_PHASES': 'before-deploy after-deploy last final', "
    edit("app.py", "'SQLALCHEMY_DATABASE_URI'", more + "'SQLALCHEMY_DATABASE_URI'")(site)
    assert verify(site)[0] == (
        "settings: phases was before-deploy, after-deploy, final, and is before-deploy, after-deploy, last, final"
    )


def test_a_revision_that_is_gone_is_named(site: Site) -> None:
    ok(site, "sql", "--split", "out", "1:3")
    (site.versions / "3.py").unlink()
    assert verify(site)[0] == "missing: revision 3 (versions/3.py)"


def test_a_bundle_of_a_fixed_end_holds_when_revisions_are_added(site: Site) -> None:
    ok(site, "sql", "--split", "out", "1:3")
    site.revision("4", "3", PHASED.replace("account", "other"))
    assert verify(site, 0) == []


def test_a_bundle_from_a_database_in_flight_holds(site: Site) -> None:
    ok(site, "upgrade", "1")
    ok(site, "upgrade", "--phase", "before-deploy", "2")
    ok(site, "sql", "--split", "out", "--phase", "before-deploy", "current:head")
    assert manifest(site)["rollback"]["missing"] == "a revision is in flight at the start"
    assert verify(site, 0) == []


def test_a_folder_without_a_bundle_is_a_mistake(site: Site) -> None:
    outcome = flask_db(site, "sql", "--verify", "nowhere")
    assert outcome.status == 2
    assert "There is no bundle in nowhere" in outcome.stderr


@pytest.mark.parametrize(
    "words", [["head"], ["--phase", "final"], ["-o", "x"], ["--split", "x"], ["--downgrade"], ["--format", "json"]]
)
def test_verify_takes_no_other_options(site: Site, words: list[str]) -> None:
    outcome = flask_db(site, "sql", "--verify", "out", *words)
    assert outcome.status == 2
    assert "do not go together" in outcome.stderr


# -- the version file -----------------------------------------------------------------------------------


def test_a_version_file_says_where_to_start_and_then_where_it_ended(site: Site) -> None:
    first = flask_db(site, "sql", "--version-file", "at.txt", "1")
    assert (site.folder / "at.txt").read_text() == "1\n"
    second = flask_db(site, "sql", "--version-file", "at.txt")
    assert (site.folder / "at.txt").read_text() == "3\n"
    assert first.stdout == flask_db(site, "sql", "1").stdout
    assert second.stdout == flask_db(site, "sql", "1:head").stdout
    back = flask_db(site, "sql", "--version-file", "at.txt", "--downgrade", "--", "-1")
    assert (site.folder / "at.txt").read_text() == "2\n"
    assert back.stdout == flask_db(site, "sql", "--downgrade", "3:2").stdout


def test_a_version_file_moves_with_the_last_phase_only(site: Site) -> None:
    site.write("at.txt", "1")
    said = ok(site, "sql", "--version-file", "at.txt", "--phase", "before-deploy", "-o", "out.sql")
    assert "at.txt is as it was: the version table moves with the last phase." in said
    assert (site.folder / "at.txt").read_text() == "1"
    ok(site, "sql", "--version-file", "at.txt", "--phase", "final", "-o", "out.sql")
    assert (site.folder / "at.txt").read_text() == "3\n"


def test_a_version_file_has_every_head(site: Site) -> None:
    site.revision("4", "1", PLAIN.replace("account", "other"))
    ok(site, "sql", "--version-file", "at.txt", "--split", "out", "heads")
    assert (site.folder / "at.txt").read_text() == "3\n4\n"
    site.revision("5", ("3", "4"), "def upgrade():\n    pass\n")
    assert flask_db(site, "sql", "--version-file", "at.txt").stdout.startswith("-- Running upgrade 3, 4 -> 5\n")
    assert (site.folder / "at.txt").read_text() == "5\n"


def test_a_failed_export_leaves_the_version_file(site: Site) -> None:
    site.write("at.txt", "3")
    site.revision("4", "3", "def upgrade():\n    raise ValueError('no')\n")
    assert flask_db(site, "sql", "--version-file", "at.txt").status == 3
    assert (site.folder / "at.txt").read_text() == "3"


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (b"1", ["1:head"], "write the END alone, head, or leave out"),
        (b"zzz", [], "says zzz, and no revision file has it"),
        (b"\xff\xfe", [], "cannot be read: it is not text"),
    ],
)
def test_a_version_file_that_cannot_be_used_is_refused(site: Site, content: bytes, words: list[str], said: str) -> None:
    (site.folder / "at.txt").write_bytes(content)
    outcome = flask_db(site, "sql", "--version-file", "at.txt", *words)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert said in outcome.stderr
    assert (site.folder / "at.txt").read_bytes() == content


# -- one file -------------------------------------------------------------------------------------------


def test_a_device_is_written_to_and_stays_one(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        device = tmp_path / "null"
        os.mknod(device, 0o20666, os.makedev(1, 3))
    else:
        device = Path("/dev/null")
    export.write_whole(str(device), "SELECT 1;\n")
    assert device.is_char_device()


def test_a_link_is_followed_and_the_mode_of_a_file_kept(tmp_path: Path) -> None:
    (tmp_path / "real.sql").write_text("old")
    (tmp_path / "real.sql").chmod(0o600)
    (tmp_path / "link.sql").symlink_to("real.sql")
    export.write_whole(str(tmp_path / "link.sql"), "new")
    assert (tmp_path / "link.sql").is_symlink()
    assert ((tmp_path / "real.sql").read_text(), (tmp_path / "real.sql").stat().st_mode & 0o777) == ("new", 0o600)


def test_the_names_of_the_manifest_are_those_of_the_docs() -> None:
    assert (bundle.MANIFEST, bundle.ROLLBACK, bundle.PARTS, bundle.PROGRAMS) == (
        "manifest.json",
        "rollback",
        "parts",
        "programs",
    )
