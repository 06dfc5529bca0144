"""The questions of ``flask db migrate`` at a terminal, and what becomes of them where nobody answers."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from authoring_changes import LOGIN, tables
from authoring_scenarios import Project, dispose_engines, engine_of

Column, String = sa.Column, sa.String

APP = """\
import flask
import sqlalchemy as sa
from flask_phased_migrate import Migrate

metadata = sa.MetaData()
sa.Table("account", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40)),
         sa.Column("email", sa.String(80), nullable=False))
app = flask.Flask(__name__)
Migrate(app, metadata=metadata, engine=sa.create_engine({url!r}), directory={folder!r})
"""
RENAME = "Which"
FILL = "account.email ="
REFUSED = """\
Error: Nothing was written: only a person can say
  account.email is NOT NULL without a default. What fills the rows that there are, and those that the old code \
writes? An SQL expression; nothing to leave it as it is.
    --fill account.email=SQL
Next: flask db migrate with one of these options for each, or --no-phases for the classic form
"""


@pytest.fixture
def shop(sqlite_url: str, tmp_path: Path) -> Path:
    """A folder with an application whose models have a column renamed and a required one more than the database."""
    before = sa.MetaData()
    tables(LOGIN)(before)
    before.create_all(engine_of(sqlite_url))
    project = Project(tmp_path, sqlite_url, tables(LOGIN))
    dispose_engines()
    (tmp_path / "app.py").write_text(APP.format(url=sqlite_url, folder=str(project.folder)))
    return tmp_path


class Terminal:
    """``flask db migrate`` at a terminal of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.screen, terminal = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flask", "db", "migrate", *options], cwd=folder,
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(terminal)

    def until(self, words: str) -> None:
        """Read the screen until it ends with these words."""
        while not self.text.rstrip().endswith(words):
            assert self._read(), self.text

    def type(self, keys: str) -> None:
        """Type, as a person does."""
        os.write(self.screen, keys.encode())

    def ended(self) -> tuple[int, str]:
        """Return the exit status and the screen when the process is over."""
        while self._read():
            pass
        os.close(self.screen)
        return self.process.wait(timeout=30), self.text.replace("\r\n", "\n")

    def _read(self) -> bool:
        ready, _, _ = select.select([self.screen], [], [], 30)
        try:
            found = os.read(self.screen, 4096) if ready else b""
        except OSError:
            # Linux's word for the end of a terminal.
            found = b""
        self.text += found.decode()
        return bool(found)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "migrations" / "versions").glob("*"))


def test_what_a_person_answers_is_written(shop: Path) -> None:
    terminal = Terminal(shop, "--rev-id", "r1", "-m", "x")
    terminal.until(RENAME + ":")
    terminal.type("9\n1\n")
    terminal.until(FILL + ":")
    terminal.type("lower(login)\n")
    status, screen = terminal.ended()
    assert (status, files(shop)) == (0, ["r1_x.py"])
    assert "9 is not in the range" in screen
    assert "email = lower(login)" in (shop / "migrations/versions/r1_x.py").read_text()


@pytest.mark.parametrize("answered", [0, 1])
def test_ctrl_c_at_a_question_writes_nothing_and_is_an_interruption(shop: Path, answered: int) -> None:
    terminal = Terminal(shop)
    terminal.until(RENAME + ":")
    if answered:
        terminal.type("1\n")
        terminal.until(FILL + ":")
    terminal.process.send_signal(signal.SIGINT)
    status, screen = terminal.ended()
    assert (status, files(shop)) == (130, []), screen
    assert screen.endswith("\nInterrupted.\n")
    assert "Aborted" not in screen


def test_a_signal_at_a_question_writes_nothing_and_is_an_interruption(shop: Path) -> None:
    terminal = Terminal(shop)
    terminal.until(RENAME + ":")
    terminal.process.send_signal(signal.SIGTERM)
    status, screen = terminal.ended()
    assert (status, files(shop)) == (130, []), screen
    assert screen.endswith("\nInterrupted by SIGTERM.\n")


def test_the_end_of_the_input_at_a_question_refuses_and_says_how_to_answer(shop: Path) -> None:
    terminal = Terminal(shop)
    terminal.until(RENAME + ":")
    terminal.type("1\n")
    terminal.until(FILL + ":")
    terminal.type("\x04")
    status, screen = terminal.ended()
    assert (status, files(shop)) == (3, [])
    assert "    --fill account.email=SQL\n" in screen
    assert "--rename" not in screen.partition("Nothing was written")[2]


def test_behind_the_end_of_the_input_nothing_more_is_asked(shop: Path) -> None:
    terminal = Terminal(shop)
    terminal.until(RENAME + ":")
    terminal.type("\x04")
    status, screen = terminal.ended()
    assert (status, files(shop)) == (3, [])
    assert "    --rename account.login=name\n" in screen
    assert screen.count(FILL) == 0


def ran(folder: Path, options: Sequence[str], stdin: int | None, *, closed: bool = False) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "flask", "db", "migrate", *options]
    if closed:
        command = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *command]
    done = subprocess.run(command, cwd=folder, stdin=stdin, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_without_a_terminal_it_is_as_with_no_input(shop: Path) -> None:
    expected = ran(shop, ["--no-input"], None)
    assert expected[:2] == (3, "")
    assert "--rename account.login=name" in expected[2]
    assert "--fill account.email=SQL" in expected[2]
    assert ran(shop, [], subprocess.DEVNULL) == expected
    assert ran(shop, [], None, closed=True) == expected
    assert files(shop) == []
