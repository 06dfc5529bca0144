"""Script operations: a program in its own process group, its output as it comes, at most so long; or an SQL file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from .errors import ScriptFailed
from .operations import ExecuteScriptOp
from .plan import Direction, Step

INTERPRETERS = {".py": "python", ".sh": "sh"}
"""The program that runs a file, by its ending; this Python for ``python``."""

SHOWN_BYTES = 1 << 20
"""How much of a program's output is shown as it comes. Of the rest, only the end."""

LAST_BYTES = 4096
LINE_BYTES = 1 << 16
GRACE_S = 5.0
"""How long a program that has ended may leave its output open: to a child that it has left behind, say."""

_POLL_S = 0.1
_KEPT = "\t\r\x1b"


def is_sql(path: str) -> bool:
    """Return whether a script is an SQL file, which goes through the connection."""
    return path.lower().endswith(".sql")


def script_environment(engine: sa.Engine, step: Step, direction: Direction) -> dict[str, str]:
    """Return the environment of a script operation: this process's, and where and what it is part of."""
    return {
        # Else Python keeps what it prints into a pipe until it has 8 KiB.
        "PYTHONUNBUFFERED": "1",
        **os.environ,
        "MIGRATE_DATABASE_URL": _absolute(engine.url).render_as_string(hide_password=False),
        "MIGRATE_BIND": step.bind,
        "MIGRATE_REVISION": step.revision,
        "MIGRATE_PHASE": step.phase,
        "MIGRATE_DIRECTION": direction,
    }


def _absolute(url: sa.URL) -> sa.URL:
    """Return a URL that leads to the same database from the program's working directory, which is another."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return url
    return url.set(database=os.path.abspath(name))


def script_checksum(path: Path, name: str) -> str:
    """Return the SHA-256 of a script's file, in hexadecimal.

    :raises ScriptFailed: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(name, error) from error


def read_sql_file(path: Path, name: str, dialect_name: str) -> tuple[str, ...]:
    """Return the statements of an SQL file.

    :raises ScriptFailed: if it cannot be read, is not UTF-8, or cannot be divided into statements.
    """
    from .splitting import split_sql

    try:
        return split_sql(path.read_bytes().decode("utf-8-sig"), dialect_name)
    except OSError as error:
        raise _unreadable(name, error) from error
    except ValueError as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ScriptFailed(
            f"The script {name} cannot be run: {reason}. Nothing of it was executed.", path=name, returncode=None
        ) from error


def run_sql_file(path: Path, operation: ExecuteScriptOp, connection: sa.Connection) -> None:
    """Execute the statements of an SQL file on ``connection``, each as it is written.

    :raises ScriptFailed: if it cannot be read, or has arguments, which nobody would take.
    """
    if operation.args or operation.timeout is not None:
        raise ScriptFailed(
            f"The script {operation.path} is an SQL file: it takes no arguments, and its timeout is the statements' "
            "own. Leave out args and timeout.",
            path=operation.path,
            returncode=None,
        )
    for statement in read_sql_file(path, operation.path, connection.dialect.name):
        # Without parameters the driver leaves percent signs alone.
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _unreadable(name: str, error: OSError) -> ScriptFailed:
    return ScriptFailed(
        f"The script {name} cannot be read: {error.strerror}. Nothing of it was run. Look at its owner and mode.",
        path=name,
        returncode=None,
    )


def run_script(
    path: Path,
    operation: ExecuteScriptOp,
    environment: Mapping[str, str],
    directory: Path,
    output: Callable[[str], None],
) -> None:
    """Run a program in its own process group, its output line by line to ``output``; nothing of the group is left.

    :raises ScriptFailed: if it cannot be started, ends with another status than 0, or takes longer than
        the operation's ``timeout`` seconds; the whole group is killed then.
    """
    process = _start(path, operation, environment, directory)
    shown = _Shown(output)
    try:
        _stream(process, operation, shown)
    finally:
        shown.end()
    if process.returncode:
        said = f" Its last words: {shown.last}" if shown.last else ""
        status = (
            f"was ended by the signal {_signal_name(-process.returncode)}"
            if process.returncode < 0
            else f"ended with status {process.returncode}"
        )
        raise ScriptFailed(
            f"The script {operation.path} {status}.{said}", path=operation.path, returncode=process.returncode
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _start(
    path: Path, operation: ExecuteScriptOp, environment: Mapping[str, str], directory: Path
) -> subprocess.Popen[bytes]:
    interpreter = INTERPRETERS.get(path.suffix.lower())
    first = [] if interpreter is None else [sys.executable if interpreter == "python" else interpreter]
    try:
        return subprocess.Popen(
            [*first, str(path), *operation.args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=directory.absolute(),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ScriptFailed(
            f"The script {operation.path} cannot be started: {reason}. Give it an ending that names its "
            "interpreter (.py, .sh), or a #! line and the exec bit.",
            path=operation.path,
            returncode=None,
        ) from error


def _stream(process: subprocess.Popen[bytes], operation: ExecuteScriptOp, shown: _Shown) -> None:
    """Pass the program's output on until it ends; then end what it has left behind.

    A thread reads: a program that leaves the process group with the pipe in its hand would keep us past the
    timeout. It does not read ahead of what is shown by more than a few pieces.
    """
    deadline = None if operation.timeout is None else time.monotonic() + operation.timeout
    ended_s: float | None = None
    left_behind = False
    pieces: queue.Queue[bytes] = queue.Queue(16)
    stopped = threading.Event()
    threading.Thread(target=_read_pieces, args=(process.stdout, pieces, stopped), daemon=True).start()
    try:
        while True:
            with contextlib.suppress(queue.Empty):
                piece = pieces.get(timeout=_POLL_S)
                if not piece:
                    break
                shown.add(piece)
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                raise subprocess.TimeoutExpired(operation.path, operation.timeout or 0)
            if ended_s is None and _has_ended(process):
                ended_s = now
            if ended_s is not None and now >= ended_s + GRACE_S:
                if left_behind:
                    # It has left the process group too, so that it cannot be reached.
                    break
                shown.note(f"{operation.path} has left a process behind that holds its output: it was ended")
                _kill_group(process)
                left_behind, ended_s = True, now
        _await_end(process, deadline)
    except subprocess.TimeoutExpired:
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
    finally:
        stopped.set()
    _kill_group(process)
    process.wait()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a program has ended, without taking its status: until then nobody else gets its number."""
    if not hasattr(os, "waitid"):  # pragma: no cover  (Windows)
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _await_end(process: subprocess.Popen[bytes], deadline: float | None) -> None:
    """Wait for a program that has closed its output.

    :raises subprocess.TimeoutExpired: if it goes on past ``deadline``.
    """
    pause_s = 0.001
    while not _has_ended(process):
        if deadline is not None and time.monotonic() >= deadline:
            raise subprocess.TimeoutExpired("", 0)
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, _POLL_S)


def _read_pieces(stream: IO[bytes], pieces: queue.Queue[bytes], stopped: threading.Event) -> None:
    """Put what comes into the queue, an empty piece at the end, until ``stopped``."""
    with stream, contextlib.suppress(OSError):
        while piece := os.read(stream.fileno(), LINE_BYTES):
            if not _put(pieces, piece, stopped):
                return
    _put(pieces, b"", stopped)


def _put(pieces: queue.Queue[bytes], piece: bytes, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            pieces.put(piece, timeout=1)
            return True
    return False


class _Shown:
    """Shows output line by line, up to :data:`SHOWN_BYTES`; of what comes after only how much it is, and its end."""

    def __init__(self, output: Callable[[str], None]) -> None:
        self.output = output
        self.last = ""
        self._rest = b""
        self._room = SHOWN_BYTES
        self._hidden = 0
        self._end: deque[bytes] = deque()

    def add(self, piece: bytes) -> None:
        """Take what the program has written."""
        if self._room <= 0:
            self._hide(piece)
            return
        *lines, rest = (self._rest + piece).split(b"\n")
        self._rest = b""
        for number, line in enumerate(lines):
            if self._room <= 0:
                self._hide(b"\n".join([*lines[number:], rest]))
                return
            self._show(line)
        self._rest = rest
        if len(rest) >= LINE_BYTES:
            self._show(rest)
            self._rest = b""

    def _show(self, line: bytes) -> None:
        self._room -= len(line) + 1
        text = _as_text(line)
        self.last = text.rpartition("\r")[2].strip() or self.last
        self.output(text)

    def _hide(self, piece: bytes) -> None:
        self._hidden += len(piece)
        self._end.append(piece)
        while sum(map(len, self._end)) - len(self._end[0]) >= LAST_BYTES:
            self._end.popleft()

    def note(self, text: str) -> None:
        """Show words of our own."""
        self.output(f"[{text}]")

    def end(self) -> None:
        """Show what is left."""
        if self._rest:
            self._show(self._rest)
            self._rest = b""
        if not self._hidden:
            return
        lines = b"".join(self._end)[-LAST_BYTES:].split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        kept = lines[1:] or lines
        cut = max(self._hidden - sum(len(line) + 1 for line in kept), 0)
        self.note(f"{cut} bytes of output are not shown; it ends with:")
        for line in kept:
            self._show(line)


def _as_text(line: bytes) -> str:
    """Return a line of output as text: bytes that are no UTF-8 and characters that a terminal obeys are spelled out."""
    text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(f"\\x{ord(one):02x}" if _is_control(one) else one for one in text)


def _is_control(one: str) -> bool:
    return (one < " " and one not in _KEPT) or "\x7f" <= one <= "\x9f"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # pragma: no cover  (Windows)
            process.kill()
