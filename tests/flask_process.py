"""Real ``flask`` processes, quickly: one server imports the libraries and forks for each command.

Each command is a process of its own, with its own file descriptors, working directory and environment, as
when it is typed; only the import of SQLAlchemy, Alembic and Flask is shared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status and what it wrote."""

    status: int
    stdout: str
    stderr: str


class FlaskProcesses:
    """Runs ``flask`` commands, or Python code, in a folder with an ``app.py``."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self.server = server

    def flask(self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        """Return how ``flask ARGUMENTS`` ended in ``folder``."""
        return self._ask(folder, env, {"arguments": ["flask", *arguments]})

    def python(self, folder: Path, code: str, env: Mapping[str, str] | None = None) -> Ended:
        """Return how Python code ended in ``folder``, which is on ``sys.path``."""
        return self._ask(folder, env, {"code": code})

    def together(self, folder: Path, *commands: Sequence[str]) -> list[Ended]:
        """Return how several ``flask`` commands ended that ran at the same time."""
        request = {"together": [["flask", *command] for command in commands]}
        return [_ended(item) for item in self._send(folder, None, request)]

    def _ask(self, folder: Path, env: Mapping[str, str] | None, request: dict[str, Any]) -> Ended:
        (answer,) = self._send(folder, env, request)
        return _ended(answer)

    def _send(self, folder: Path, env: Mapping[str, str] | None, request: dict[str, Any]) -> list[dict[str, Any]]:
        assert self.server.stdin is not None and self.server.stdout is not None
        message = json.dumps({**request, "cwd": str(folder), "env": dict(env or {})})
        self.server.stdin.write(f"{message}\n")
        self.server.stdin.flush()
        return list(json.loads(self.server.stdout.readline()))


def _ended(answer: Mapping[str, Any]) -> Ended:
    return Ended(answer["status"], answer["stdout"], answer["stderr"])


@contextmanager
def flask_processes() -> Iterator[FlaskProcesses]:
    """Serve commands for the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "ALEMBIC"))}
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    with server:
        yield FlaskProcesses(server)
        assert server.stdin is not None
        server.stdin.close()


# -- the server ---------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests on standard input until it ends."""
    import alembic.autogenerate
    import alembic.command
    import flask.cli
    import flask_sqlalchemy
    import sqlalchemy.dialects.mysql
    import sqlalchemy.dialects.postgresql
    import sqlalchemy.dialects.sqlite

    del alembic, flask, flask_sqlalchemy, sqlalchemy
    for line in sys.stdin:
        request = json.loads(line)
        requests = [{**request, "arguments": item} for item in request.get("together", ())] or [request]
        with tempfile.TemporaryDirectory() as scratch:
            begun = [_fork(item, Path(scratch, str(number))) for number, item in enumerate(requests)]
            answers = [_wait(child, Path(scratch, str(number))) for number, child in enumerate(begun)]
        sys.stdout.write(f"{json.dumps(answers)}\n")
        sys.stdout.flush()


def _fork(request: Mapping[str, Any], scratch: Path) -> int:
    scratch.mkdir()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = _run(request, scratch)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child


def _run(request: Mapping[str, Any], scratch: Path) -> int:
    for number, name in ((0, os.devnull), (1, str(scratch / "stdout")), (2, str(scratch / "stderr"))):
        file = os.open(name, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    sys.path[0] = ""
    try:
        if "code" in request:
            sys.argv = ["-c"]
            sys.path[0] = request["cwd"]
            exec(compile(request["code"], "<code>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = list(request["arguments"])
            from flask.cli import main

            main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _wait(child: int, scratch: Path) -> dict[str, Any]:
    _, raw = os.waitpid(child, 0)
    texts = {name: (scratch / name).read_text() for name in ("stdout", "stderr")}
    return {"status": os.waitstatus_to_exitcode(raw), **texts}


if __name__ == "__main__":
    serve()
