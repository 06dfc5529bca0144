"""What Alembic's documentation says of offline mode: env.py files that send the SQL somewhere or know the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from shell import flask_db, two_revisions
from support import Site
from test_plain_alembic import alembic

SEVERAL_FILES = """
from alembic import context

for name in ("one", "two"):
    with open({path!r} % name, "w") as file:
        context.configure(
            dialect_name="postgresql", upgrade_token=f"{{name}}_upgrades", output_buffer=file, literal_binds=True
        )
        with context.begin_transaction():
            context.run_migrations(engine_name=name)
"""
VERSION_FILE = """
from pathlib import Path
from alembic import context

file = Path({folder!r}, "version.txt")
start = file.read_text() if file.exists() else None
context.configure(dialect_name="postgresql", starting_rev=start{more})
with context.begin_transaction():
    context.run_migrations()
end = context.get_revision_argument()
if end and end != start:
    file.write_text(end)
"""
PLAIN = """
def upgrade(engine_name=""):
    op.execute("CREATE TABLE t{0} (id integer)")
    op.execute(sa.table("t{0}", sa.column("id", sa.Integer)).insert().values(id=7))

def downgrade(engine_name=""):
    op.execute("DROP TABLE t{0}")
"""


@pytest.fixture
def site(project: Callable[..., Site], sqlite_url: str) -> Site:
    """Two plain revisions, ``1`` and ``2``."""
    site = project(sqlite_url)
    site.revision("1", None, PLAIN.format(1))
    site.revision("2", "1", PLAIN.format(2))
    return site


def env(site: Site, text: str) -> None:
    (site.migrations / "env.py").write_text(text)


def read(site: Site, *names: str) -> list[str]:
    """Return the text of output files, and remove them."""
    texts = [(site.folder / name).read_text() for name in names]
    for name in names:
        (site.folder / name).unlink()
    return texts


def without_defects(texts: list[str]) -> list[str]:
    """Return exports without the RETURNING of Alembic's version rows, and with tabs as it writes them."""
    return [text.replace(" RETURNING alembic_version.version_num", "").replace("\t", "    ") for text in texts]


@pytest.mark.parametrize(
    "words", ["upgrade --sql head", "upgrade --sql 1:2", "downgrade --sql 2:base", "stamp --sql 2"]
)
@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_env_py_sends_each_database_to_its_file_as_under_alembic(site: Site, words: str, absolute: bool) -> None:
    env(site, SEVERAL_FILES.format(path=str(site.folder / "%s.sql") if absolute else "%s.sql"))
    alembic(site, *words.split())
    expected = without_defects(read(site, "one.sql", "two.sql"))
    outcome = flask_db(site, *words.split())
    assert (outcome.status, outcome.stdout) == (0, "")
    assert without_defects(read(site, "one.sql", "two.sql")) == expected


def test_an_export_that_fails_leaves_the_files_of_env_py(site: Site) -> None:
    env(site, SEVERAL_FILES.format(path="%s.sql"))
    site.write("one.sql", "old")
    site.revision("3", "2", "def upgrade(engine_name=''):\n    raise ValueError('no')\n")
    assert flask_db(site, "upgrade", "--sql").status == 3
    assert (site.folder / "one.sql").read_text() == "old"
    assert not (site.folder / "two.sql").exists()


@pytest.mark.parametrize("words", [["--bind", "one"], ["--bind", "one", "--phase", "before-deploy"]])
def test_sql_prints_although_env_py_has_files_of_its_own(site: Site, words: list[str]) -> None:
    env(site, SEVERAL_FILES.format(path=str(site.folder / "%s.sql")))
    outcome = flask_db(site, "sql", *words)
    assert outcome.status == 0, outcome
    assert outcome.stdout == (site.folder / "one.sql").read_text()
    assert "INSERT INTO t1 (id) VALUES (7);" in outcome.stdout


def test_sql_leaves_no_files_of_env_py_in_the_working_directory(site: Site) -> None:
    env(site, SEVERAL_FILES.format(path="%s.sql"))
    assert flask_db(site, "sql", "--split", "out").status == 0
    assert not (site.folder / "one.sql").exists()
    assert (site.folder / "out/01-before-deploy.one.sql").exists()


def test_env_py_may_name_standard_output_itself(site: Site) -> None:
    env(site, VERSION_FILE.format(folder=str(site.folder), more=", output_buffer=context.config.output_buffer"))
    assert "CREATE TABLE t2" in flask_db(site, "upgrade", "--sql").stdout


def test_env_py_reads_the_start_from_a_file_and_writes_the_end(site: Site) -> None:
    env(site, VERSION_FILE.format(folder=str(site.folder), more=""))
    first = flask_db(site, "upgrade", "--sql", "1")
    assert (site.folder / "version.txt").read_text() == "1"
    second = flask_db(site, "sql", "2")
    assert (site.folder / "version.txt").read_text() == "2"
    assert ("CREATE TABLE t1" in first.stdout, "CREATE TABLE t2" in first.stdout) == (True, False)
    assert ("CREATE TABLE t1" in second.stdout, "CREATE TABLE t2" in second.stdout) == (False, True)


def test_a_bundle_starts_where_env_py_says(site: Site) -> None:
    env(site, VERSION_FILE.format(folder=str(site.folder), more=""))
    site.write("version.txt", "1")
    assert flask_db(site, "sql", "--split", "out", "2").status == 0
    text = (site.folder / "out/01-before-deploy.default.sql").read_text()
    assert ("CREATE TABLE t1" in text, "CREATE TABLE t2" in text) == (False, True)


def test_a_transaction_for_each_migration_is_one_offline(site: Site) -> None:
    env(site, VERSION_FILE.format(folder=str(site.folder), more=", transaction_per_migration=True"))
    words = [
        line for line in flask_db(site, "sql").stdout.splitlines() if line.startswith(("BEGIN", "COMMIT", "CREATE"))
    ]
    assert words == [
        *("BEGIN;", "CREATE TABLE alembic_version (", "CREATE TABLE t1 (id integer);", "COMMIT;"),
        *("BEGIN;", "CREATE TABLE t2 (id integer);", "COMMIT;"),
    ]


def test_the_help_has_an_example_of_every_way_to_hand_over(project: Callable[..., Site], sqlite_url: str) -> None:
    site = two_revisions(project(sqlite_url))
    text = flask_db(site, "sql", "--help").stdout
    for words in ("sql 1:head > out.sql", "--split release current:head", "--verify release", "--version-file at.txt"):
        assert words in text
    assert Path(site.folder).exists()
