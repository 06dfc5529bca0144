"""The garbage collector of a command's process: it need not look again and again at what stays until the end.

A command loads the application, Alembic and every revision file, and then ends. With 1,000 revisions the collector
took a fifth of its time, most of it for taking apart at the exit what the operating system takes back anyway.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_YOUNG = 10_000
"""New objects after which the collector looks at them; Python's own default is 700."""


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Keep the collector from what is loaded already, and let it look at new objects less often."""
    first, *others = gc.get_threshold()
    if first == 0 or gc.get_freeze_count():
        # The application has arrangements of its own.
        yield
        return
    gc.freeze()
    gc.set_threshold(max(first, _YOUNG), *others)
    try:
        yield
    finally:
        gc.set_threshold(first, *others)
        gc.unfreeze()


def leave_quickly() -> None:
    """Let the process end without taking apart what it has loaded, unless something may want to be written first."""
    atexit.unregister(_keep_what_is_loaded)
    atexit.register(_keep_what_is_loaded)


def _keep_what_is_loaded() -> None:
    # A file that nobody closed is written to its end when the collector finds it.
    if not _has_other_files() or not any(map(_is_open_for_writing, _files())):
        gc.freeze()


def _has_other_files() -> bool:
    """Return whether the process has a file or pipe open besides the standard ones; True where it cannot be told."""
    try:
        modes = [_mode(int(name)) for name in os.listdir("/dev/fd") if int(name) not in _STANDARD]
    except (OSError, ValueError):
        return True
    return any(stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) for mode in modes)


def _mode(number: int) -> int:
    try:
        return os.fstat(number).st_mode
    except OSError:
        # It was the one with which the folder was read.
        return 0


def _files() -> list[Any]:
    # What every kind of file is made of; the same question about io.IOBase takes ten times as long.
    kind = io.IOBase.__base__ or io.IOBase
    return [item for item in gc.get_objects() if isinstance(item, kind)]


def _is_open_for_writing(file: Any) -> bool:
    with suppress(OSError, ValueError):
        return not file.closed and file.writable() and file.fileno() not in _STANDARD
    return not file.closed


_STANDARD = (0, 1, 2)
