"""Old code and new work beside each other for every change of the models; a plain revision breaks the old."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from authoring_changes import CHANGES
from authoring_scenarios import Change, dispose_engines, plain_verdict, run_through
from support import fresh_database


@pytest.fixture(autouse=True)
def engines() -> Iterator[None]:
    """Close what the test has opened, before its database goes."""
    yield
    dispose_engines()


PAIRS = [(change, kind) for change in CHANGES for kind in change.engines]


@pytest.mark.parametrize(("change", "kind"), PAIRS, ids=str)
def test_both_codes_work_and_every_phase_can_be_undone(change: Change, kind: str, tmp_path: Path) -> None:
    with fresh_database(kind, tmp_path) as url:
        try:
            run_through(change, tmp_path, url)
        finally:
            dispose_engines()


@pytest.mark.parametrize(("change", "kind"), PAIRS, ids=str)
def test_plain_revision_of_the_same_change(change: Change, kind: str, tmp_path: Path) -> None:
    with fresh_database(kind, tmp_path) as url:
        try:
            found = plain_verdict(change, tmp_path, url)
        finally:
            dispose_engines()

    assert found == "?"
