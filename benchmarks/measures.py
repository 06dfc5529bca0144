"""What a process takes: instructions, processor time, wall time, memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

Measure = Literal["instructions", "cpu", "wall", "memory"]
UNITS: Mapping[Measure, str] = MappingProxyType({"instructions": "Mi", "cpu": "s", "wall": "s", "memory": "MiB"})
TIMEOUT_S = 3600
# Started by an interpreter that is small itself: Linux hands the peak of a process on to those that it starts.
LAUNCHER = """
import os, sys
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""


class MeasuringFailed(RuntimeError):
    """A command that must succeed did not, or a program is missing; the message says what to do."""


def run(command: Sequence[str], environment: Mapping[str, str], home: Path) -> str:
    """Run a command and return its standard output.

    :raises MeasuringFailed: if its exit status is not 0.
    """
    ended = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    if ended.returncode:
        raise MeasuringFailed(f"{' '.join(command)[:300]} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
    return ended.stdout


def cpu_s(command: Sequence[str], environment: Mapping[str, str], home: Path) -> float:
    """Return the processor seconds of a command, user and system."""
    before = os.times()
    run(command, environment, home)
    now = os.times()
    return now.children_user + now.children_system - before.children_user - before.children_system


def wall_s(command: Sequence[str], environment: Mapping[str, str], home: Path) -> float:
    """Return the seconds that a command takes."""
    began = time.perf_counter()
    run(command, environment, home)
    return time.perf_counter() - began


def peak_mib(command: Sequence[str], environment: Mapping[str, str], home: Path) -> float:
    """Return the most memory that a command has at a time (resident, as the operating system counts), in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "peak")
        run((command[0], "-I", "-S", "-c", LAUNCHER, str(file), *command), environment, home)
        return int(file.read_text()) / 1024


def instructions(command: Sequence[str], environment: Mapping[str, str], home: Path) -> float:
    """Return the millions of instructions of a command.

    :raises MeasuringFailed: if valgrind is not there.
    """
    if shutil.which("valgrind") is None:
        raise MeasuringFailed("Instructions are counted by valgrind, which is missing. Type: apt-get install valgrind")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "counts")
        options = ("--tool=cachegrind", "--cache-sim=no", "--branch-sim=no", f"--cachegrind-out-file={file}")
        run(("valgrind", "-q", *options, *command), environment, home)
        found = re.search(r"^summary: (\d+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise MeasuringFailed("cachegrind has counted nothing.")
    return int(found[1]) / 1e6


READERS: Mapping[Measure, Callable[[Sequence[str], Mapping[str, str], Path], float]] = MappingProxyType(
    {"instructions": instructions, "cpu": cpu_s, "wall": wall_s, "memory": peak_mib}
)
REPEATABLE: frozenset[Measure] = frozenset({"instructions", "memory"})
"""What comes out the same each time, so that one pair will do."""
