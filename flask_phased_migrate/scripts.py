"""Script operations: a program in its own process group, its output line by line, at most so long."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from .errors import ScriptFailed
from .operations import ExecuteScriptOp
from .plan import Direction, Step

_INTERPRETERS = {".py": [sys.executable], ".sh": ["sh"]}


def script_environment(engine: sa.Engine, step: Step, direction: Direction) -> dict[str, str]:
    """Return the environment of a script operation: this process's, and where and what it is part of."""
    return {
        **os.environ,
        "MIGRATE_DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "MIGRATE_BIND": step.bind,
        "MIGRATE_REVISION": step.revision,
        "MIGRATE_PHASE": step.phase,
        "MIGRATE_DIRECTION": direction,
    }


def run_script(
    path: Path,
    operation: ExecuteScriptOp,
    environment: Mapping[str, str],
    directory: Path,
    output: Callable[[str], None],
) -> None:
    """Run a program in its own process group, its output line by line to ``output``.

    :raises ScriptFailed: if it cannot be started, ends with another status than 0, or takes longer than
        the operation's ``timeout`` seconds; the whole group is killed then.
    """
    command = [*_INTERPRETERS.get(path.suffix, []), str(path), *operation.args]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory.absolute(),
            start_new_session=True,
        )
    except OSError as error:
        raise ScriptFailed(
            f"The script {operation.path} cannot be started: {error.strerror}. Give it an ending that names its "
            "interpreter (.py, .sh), or a #! line and the exec bit.",
            path=operation.path,
            returncode=None,
        ) from error
    last = _stream(process, operation, output)
    if process.returncode:
        said = f" Its last words: {last}" if last else ""
        raise ScriptFailed(
            f"The script {operation.path} ended with status {process.returncode}.{said}",
            path=operation.path,
            returncode=process.returncode,
        )


def _stream(process: subprocess.Popen[bytes], operation: ExecuteScriptOp, output: Callable[[str], None]) -> str:
    """Pass the program's output on until it ends; return its last line.

    A thread reads: a program that leaves the process group with the pipe in its hand would keep us past the
    timeout.
    """
    deadline = None if operation.timeout is None else time.monotonic() + operation.timeout
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(process.stdout, lines), daemon=True).start()
    last = ""
    try:
        while (line := lines.get(timeout=_left(deadline))) is not None:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            last = text.strip() or last
            output(text)
        process.wait(_left(deadline))
    except (queue.Empty, subprocess.TimeoutExpired):
        _kill_group(process)
        raise ScriptFailed(
            f"The script {operation.path} took longer than its timeout of {operation.timeout} s and was killed.",
            path=operation.path,
            returncode=process.wait(),
        ) from None
    except BaseException:
        _kill_group(process)
        process.wait()
        raise
    return last


def _read_lines(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _left(deadline: float | None) -> float | None:
    """Return the seconds until a deadline, at least 0; None where there is none."""
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # pragma: no cover  (Windows)
            process.kill()
