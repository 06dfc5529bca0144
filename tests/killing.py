"""Runs ``flask db`` commands that kill themselves at a chosen place: a server that forks for each request.

The server imports the libraries and the application once; each request is a process of its own. What the
commands do to the database is counted by listeners on all engines: each statement that writes, before it is sent,
and each commit, before it is made. After one is before the next: what a database keeps changes at these alone. At
the number asked for, the process sends itself SIGKILL.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READS = frozenset({"select", "show", "describe", "pragma", "begin", "set"})


@dataclass(frozen=True)
class Ran:
    """How a process ended: its status (-9: killed), what it printed, and the events of its last command."""

    status: int
    output: str
    events: tuple[str, ...]


class Killer:
    """Runs commands of the application in a folder."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self.server = server

    def run(self, folder: Path, commands: Sequence[Sequence[str]], *, kill_at: int | None = None) -> Ran:
        """Run ``flask COMMAND`` for each command until one fails; kill the last one at its event ``kill_at``.

        Events are counted from 0, and from the first statement that writes.
        """
        assert self.server.stdin is not None and self.server.stdout is not None
        request = {"folder": str(folder), "commands": [list(command) for command in commands], "kill_at": kill_at}
        self.server.stdin.write(f"{json.dumps(request)}\n")
        self.server.stdin.flush()
        answer = json.loads(self.server.stdout.readline())
        return Ran(answer["status"], answer["output"], tuple(answer["events"]))


@contextmanager
def killer() -> Iterator[Killer]:
    """Serve requests for the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "ALEMBIC"))}
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    with server:
        yield Killer(server)
        assert server.stdin is not None
        server.stdin.close()


# -- the server ---------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests on standard input until it ends."""
    sys.dont_write_bytecode = True
    for name in ("alembic.command", "flask.testing", "flask_sqlalchemy", "psycopg", "pymysql", "rich.console"):
        importlib.import_module(name)
    package = importlib.import_module("flask_phased_migrate")
    for module in pkgutil.walk_packages(package.__path__, "flask_phased_migrate."):
        if not module.name.startswith("flask_phased_migrate.templates"):
            importlib.import_module(module.name)
    # A collection in a child would touch, and so copy, every page that it shares with this process.
    gc.freeze()
    applications: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        folder = request["folder"]
        if folder not in applications:
            applications[folder] = _load(Path(folder), f"application{len(applications)}")
        with tempfile.TemporaryDirectory() as scratch:
            answer = _fork(applications[folder], request, Path(scratch))
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


def _load(folder: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, folder / "app.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def _fork(application: Any, request: dict[str, Any], scratch: Path) -> dict[str, Any]:
    output, events = scratch / "output", scratch / "events"
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = _run(application, request, output, events)
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, raw = os.waitpid(child, 0)
    return {
        "status": os.waitstatus_to_exitcode(raw),
        "output": output.read_text() if output.exists() else "",
        "events": events.read_text().splitlines() if events.exists() else [],
    }


def _run(application: Any, request: dict[str, Any], output: Path, events: Path) -> int:
    os.chdir(request["folder"])
    *before, last = request["commands"]
    for command in before:
        result = application.test_cli_runner().invoke(args=command)
        if result.exit_code:
            output.write_text(result.output)
            return int(result.exit_code)
    with events.open("w", encoding="utf-8", buffering=1) as file:
        _listen(file, request["kill_at"])
        result = application.test_cli_runner().invoke(args=last)
    output.write_text(result.output)
    return int(result.exit_code)


def _listen(file: Any, kill_at: int | None) -> None:
    """Write each event into ``file`` from the first statement that writes; kill the process at ``kill_at``."""
    import sqlalchemy as sa

    number = -1

    def count(what: str) -> None:
        nonlocal number
        number += 1
        file.write(f"{' '.join(what.split())[:100]}\n")
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.split(None, 1)[0].lower() not in READS:
            count(statement)

    def commit(_connection: Any) -> None:
        if number >= 0:
            count("COMMIT")

    sa.event.listen(sa.Engine, "before_cursor_execute", before)
    sa.event.listen(sa.Engine, "commit", commit)


if __name__ == "__main__":
    serve()
