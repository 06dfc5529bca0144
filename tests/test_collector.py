"""What the command line does with the collector: faster, and nothing that waits to be written is lost."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from flask_phased_migrate.cli.collector import collecting_rarely

PROGRAM = """
import gc, sys
from flask_phased_migrate.cli.collector import leave_quickly

class Holder:
    def __init__(self, file):
        self.file, self.itself = file, self
    def __del__(self):
        print("taken apart")

holder = Holder({file})
leave_quickly()
{after}
"""


def ended(**parts: str) -> str:
    program = PROGRAM.format(**{"file": "None", "after": "", **parts})
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


def test_a_process_ends_without_taking_apart_what_it_has_loaded() -> None:
    assert ended() == ""


def test_a_file_that_nobody_closed_is_written_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    assert ended(file=f"open({str(path)!r}, 'w')", after="holder.file.write('1;2;3')") == "taken apart\n"
    assert path.read_text() == "1;2;3"


def test_a_compressed_file_that_nobody_closed_is_written_to_its_end(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "export.gz"
    ended(file=f"__import__('gzip').open({str(path)!r}, 'wb')", after="holder.file.write(b'1;2;3')")
    assert gzip.decompress(path.read_bytes()) == b"1;2;3"


def test_a_file_that_is_only_read_is_no_reason_to_wait(tmp_path: Path) -> None:
    path = tmp_path / "import.csv"
    path.touch()
    assert ended(file=f"open({str(path)!r})") == ""


def test_the_collector_is_as_before_after_a_command() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with collecting_rarely():
        assert gc.get_threshold()[0] == 10_000
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


@pytest.mark.parametrize("threshold", [(0, 10, 10), (50_000, 10, 10)])
def test_what_the_application_arranged_is_left_alone(threshold: tuple[int, int, int]) -> None:
    before = gc.get_threshold()
    gc.set_threshold(*threshold)
    try:
        with collecting_rarely():
            assert gc.get_threshold() == threshold
    finally:
        gc.set_threshold(*before)
