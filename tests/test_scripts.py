"""Script operations: SQL files, what is shown of a program's output, what it leaves behind, and what is recorded."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support import Site, query
from test_executor import CREATE, Runs, body, is_alive
from test_plain_alembic import alembic

from flask_phased_migrate import scripts
from flask_phased_migrate.errors import Refused, ScriptFailed, StepFailed
from flask_phased_migrate.operations import ExecuteScriptOp
from flask_phased_migrate.plan import Step
from flask_phased_migrate.scripts import run_script, script_checksum, script_environment


@pytest.fixture
def runs(project: Callable[..., Site], database_url: str) -> Runs:
    return Runs(project(database_url))


@pytest.fixture
def on_sqlite(project: Callable[..., Site], sqlite_url: str) -> Runs:
    return Runs(project(sqlite_url))


def run(folder: Path, text: str, *, name: str = "work.py", timeout: float | None = 60) -> list[str]:
    """Run a program; return the lines that it shows."""
    lines: list[str] = []
    (folder / name).write_text(text)
    run_script(folder / name, ExecuteScriptOp(name, (), timeout), os.environ, folder, lines.append)
    return lines


# -- SQL files ------------------------------------------------------------------------------------------

FILE = """\
-- Everything; in one file.
CREATE TABLE b (id integer PRIMARY KEY, name varchar(20));
INSERT INTO b VALUES (1, 'a;b 100% :c');
INSERT INTO a SELECT 5;
"""


def test_an_sql_file_goes_through_the_connection(runs: Runs) -> None:
    runs.site.write("migrations/fill.sql", FILE)
    runs.site.revision("1", None, body(CREATE.format("a"), 'op.execute_script("fill.sql")'))
    runs.upgrade()
    assert query(runs.site.url, "SELECT * FROM b") == [(1, "a;b 100% :c")]
    assert query(runs.site.url, "SELECT * FROM a") == [(5,)]
    rows = query(
        runs.site.url,
        "SELECT operation, status, script, checksum FROM alembic_version_journal WHERE script IS NOT NULL",
    )
    assert rows == [("script", "done", "fill.sql", hashlib.sha256(FILE.encode()).hexdigest())]


def test_a_failed_sql_file_is_undone_with_its_step_where_the_engine_can(
    project: Callable[..., Site], postgresql_url: str
) -> None:
    runs = Runs(project(postgresql_url))
    runs.site.write("migrations/fill.sql", FILE + "INSERT INTO nowhere VALUES (1);")
    runs.site.revision("1", None, body(CREATE.format("a"), 'op.execute_script("fill.sql")'))
    with pytest.raises(StepFailed, match="nowhere"):
        runs.upgrade()
    assert runs.tables() == set()
    assert query(runs.site.url, "SELECT script FROM alembic_version_journal") == [(None,)]


def test_a_failed_sql_file_goes_on_where_it_stopped_where_the_engine_cannot(
    project: Callable[..., Site], mysql_url: str
) -> None:
    runs = Runs(project(mysql_url))
    runs.site.write("migrations/fill.sql", "CREATE TABLE b (id integer);\nCREATE TABLE c (id integer);\nDROP TABLE d;")
    runs.site.revision("1", None, body('op.execute_script("fill.sql")'))
    with pytest.raises(StepFailed):
        runs.upgrade()
    query(runs.site.url, "CREATE TABLE d (id integer)")
    runs.upgrade()
    assert runs.tables() == {"b", "c"}


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (b"SELECT 'x", "", "what begins with"),
        (b"SELECT '\xff'", "", "it is not UTF-8"),
        (b"SELECT 1", ", args=['x']", "it takes no arguments"),
        (b"SELECT 1", ", timeout=5", "it takes no arguments"),
    ],
)
def test_an_sql_file_that_cannot_be_run_says_why(on_sqlite: Runs, content: bytes, arguments: str, words: str) -> None:
    (on_sqlite.site.migrations / "fill.sql").write_bytes(content)
    on_sqlite.site.revision("1", None, body(f'op.execute_script("fill.sql"{arguments})'))
    with pytest.raises(StepFailed, match=words):
        on_sqlite.upgrade()


def test_an_sql_file_goes_through_the_connection_under_plain_alembic(runs: Runs) -> None:
    runs.site.write("migrations/fill.sql", FILE)
    runs.site.revision("1", None, body(CREATE.format("a"), 'op.execute_script("fill.sql")'))
    alembic(runs.site, "upgrade", "head")
    assert query(runs.site.url, "SELECT * FROM b") == [(1, "a;b 100% :c")]


# -- what is recorded -----------------------------------------------------------------------------------


def test_a_program_that_succeeded_has_a_row_with_its_checksum_and_does_not_hide_a_failed_step(runs: Runs) -> None:
    file = runs.site.write("migrations/fix.sh", "true\n")
    runs.site.revision("1", None, body('op.execute_script("fix.sh")', 'op.execute("DROP TABLE nowhere")'))
    with pytest.raises(StepFailed):
        runs.upgrade()
    rows = query(runs.site.url, "SELECT operation, status, script, checksum FROM alembic_version_journal ORDER BY id")
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert rows == [("upgrade", "failed", None, None), ("script", "done", "fix.sh", checksum)]
    assert runs.states() == {"1": {"before-deploy": "failed"}}
    with runs.migrate() as migrate:
        assert [row.operation for _, row in migrate.journal(None, open_only=True)] == ["upgrade"]


@pytest.mark.parametrize("arguments", ["args='x'", "timeout=0", "timeout=-1", "timeout=True"])
def test_arguments_that_make_no_sense_are_refused(on_sqlite: Runs, arguments: str) -> None:
    on_sqlite.site.write("migrations/fix.sh", "touch ran\n")
    on_sqlite.site.revision("1", None, body(f'op.execute_script("fix.sh", {arguments})'))
    with pytest.raises(StepFailed, match=arguments.partition("=")[0]):
        on_sqlite.upgrade()
    with on_sqlite.migrate() as migrate, pytest.raises(Refused, match=arguments.partition("=")[0]):
        migrate.export(None)
    assert not (on_sqlite.site.migrations / "ran").exists()


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ScriptFailed, match=r"fix.py cannot be read: Permission denied\. Nothing of it was run"):
        script_checksum(tmp_path / "fix.py", "fix.py")


# -- output ---------------------------------------------------------------------------------------------


def test_a_program_without_output_shows_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "") == []
    with pytest.raises(ScriptFailed, match=r"ended with status 4\.$"):
        run(tmp_path, "raise SystemExit(4)")


def test_binary_output_is_spelled_out(tmp_path: Path) -> None:
    text = r"import sys; sys.stdout.buffer.write(b'a\x00\xff\x07\x9b\tb\xc3\xa9\r\n\nend')"
    assert run(tmp_path, text) == [r"a\x00\xff\x07\x9b" + "\tbé", "", "end"]


def test_output_comes_while_the_program_runs_without_flushing(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text("import time\nprint('one')\ntime.sleep(1)\nprint('two')\n")
    moments: list[float] = []
    environment = script_environment(sa.create_engine("sqlite://"), Step("default", "1", "final"), "upgrade")
    operation = ExecuteScriptOp("work.py", (), None)
    run_script(tmp_path / "work.py", operation, environment, tmp_path, lambda _: moments.append(time.monotonic()))
    assert moments[1] - moments[0] > 0.5


def test_of_long_output_the_beginning_and_the_end_are_shown(tmp_path: Path) -> None:
    lines = run(tmp_path, "for number in range(100_000): print(number, 'some words')\nprint('the end')\n")
    whole = sum(len(f"{number} some words\n") for number in range(100_000)) + len("the end\n")
    note = next(line for line in lines if line.startswith("["))
    place = lines.index(note)
    assert (lines[0], lines[-1]) == ("0 some words", "the end")
    shown = sum(len(line) + 1 for line in lines[:place] + lines[place + 1 :])
    assert note == f"[{whole - shown} bytes of output are not shown; it ends with:]"
    assert scripts.SHOWN_BYTES <= shown < scripts.SHOWN_BYTES + 2 * scripts.LAST_BYTES


def test_a_hundred_megabytes_of_output_take_no_memory(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(
        "import sys\nfor _ in range(1600): sys.stdout.buffer.write(b'x' * 65535 + b'\\n')\nprint('the end')\n"
    )
    measure = """
import os, resource, sys
from pathlib import Path
from flask_phased_migrate.operations import ExecuteScriptOp
from flask_phased_migrate.scripts import run_script

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before, lines = peak(), []
run_script(Path("work.py"), ExecuteScriptOp("work.py", (), None), os.environ, Path("."), lines.append)
print(peak() - before, len(lines), lines[-1])
"""
    done = subprocess.run([sys.executable, "-c", measure], cwd=tmp_path, capture_output=True, text=True, check=True)
    kilobytes, count, last = done.stdout.split(maxsplit=2)
    assert last == "the end\n"
    assert (int(kilobytes) < 30_000, int(count) < 30) == (True, True), done.stdout


def test_a_line_without_an_end_is_cut(tmp_path: Path) -> None:
    lines = run(tmp_path, "print('x' * 200_000, end='')")
    assert "".join(lines) == "x" * 200_000
    assert max(map(len, lines)) < 2 * scripts.LINE_BYTES


# -- what a program leaves behind -----------------------------------------------------------------------


def test_a_child_left_behind_with_the_output_does_not_keep_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "GRACE_S", 0.5)
    lines = run(tmp_path, "sleep 60 &\necho $! > child.pid\necho done\n", name="leave.sh", timeout=None)
    assert lines == ["done", "[leave.sh has left a process behind that holds its output: it was ended]"]
    assert not is_alive(int((tmp_path / "child.pid").read_text()))


def test_a_child_left_behind_without_the_output_is_ended_too(tmp_path: Path) -> None:
    text = "sleep 60 > /dev/null 2>&1 &\necho $! > child.pid\n"
    assert run(tmp_path, text, name="leave.sh") == []
    assert not is_alive(int((tmp_path / "child.pid").read_text()))


def test_a_child_out_of_reach_does_not_keep_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "GRACE_S", 0.3)
    text = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(8)'], start_new_session=True)\n"
    )
    began = time.monotonic()
    run(tmp_path, text, timeout=None)
    assert time.monotonic() - began < 6


def test_a_program_that_closes_its_output_and_goes_on_is_waited_for(tmp_path: Path) -> None:
    text = "import os, time, pathlib\nos.close(1); os.close(2)\ntime.sleep(0.5)\npathlib.Path('after').touch()\n"
    run(tmp_path, text)
    assert (tmp_path / "after").exists()
    began = time.monotonic()
    with pytest.raises(ScriptFailed, match="took longer than its timeout of 1 s"):
        run(tmp_path, "import os, time\nos.close(1); os.close(2)\ntime.sleep(60)\n", timeout=1)
    assert time.monotonic() - began < 10


def test_a_program_ended_by_a_signal_says_which(tmp_path: Path) -> None:
    with pytest.raises(ScriptFailed, match=r"work.sh was ended by the signal SIGKILL\."):
        run(tmp_path, "kill -9 $$\n", name="work.sh")


def test_the_url_of_a_file_is_absolute_for_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def url(text: str) -> Any:
        return script_environment(sa.create_engine(text), Step("default", "1", "final"), "upgrade")[
            "MIGRATE_DATABASE_URL"
        ]

    assert url("sqlite:///app.db") == f"sqlite:///{tmp_path}/app.db"
    assert url("sqlite://") == "sqlite://"
