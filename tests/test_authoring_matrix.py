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


BREAKS = [
    ("columns with Python defaults", "the old code", "mysql"),
    ("columns with Python defaults", "the revision", "postgresql sqlite"),
    ("enum column with a default", "the revision", "postgresql sqlite"),
    ("column that is filled", "the old code", "mysql"),
    ("column that is filled", "the revision", "postgresql sqlite"),
    ("column with a callable default", "the old code", "mysql"),
    ("column with a callable default", "the revision", "postgresql sqlite"),
    ("column with a unique constraint", "the revision", "sqlite"),
    ("column with a foreign key", "the revision", "sqlite"),
    ("required", "the revision", "postgresql mysql sqlite"),
    ("required with a default", "the revision", "postgresql mysql sqlite"),
    ("several changes of columns", "the revision", "postgresql mysql sqlite"),
    ("foreign key of a renamed column", "the old code", "postgresql mysql"),
    ("foreign key of a renamed column", "the revision", "sqlite"),
    ("names that need quotes", "the old code", "postgresql mysql sqlite"),
    ("longer text that becomes required", "the revision", "postgresql mysql sqlite"),
    ("dropped column", "the old code", "postgresql mysql sqlite"),
    ("dropped required columns", "the old code", "postgresql mysql sqlite"),
    ("dropped column with a unique constraint", "the old code", "postgresql mysql sqlite"),
    ("dropped column with an index", "the old code", "postgresql mysql sqlite"),
    ("dropped column with a foreign key", "the old code", "postgresql mysql"),
    ("dropped column with a foreign key", "the revision", "sqlite"),
    ("dropped tables", "the old code", "postgresql mysql sqlite"),
    ("unique", "the revision", "sqlite"),
    ("foreign key", "the revision", "sqlite"),
    ("no more foreign key", "the revision", "sqlite"),
    ("renamed column", "the old code", "postgresql mysql sqlite"),
    ("renamed required column", "the old code", "mysql"),
    ("renamed required column", "the revision", "postgresql sqlite"),
    ("renamed column with an index", "the old code", "postgresql mysql sqlite"),
    ("not renamed column", "the old code", "postgresql mysql sqlite"),
    ("renamed table", "the old code", "postgresql mysql"),
    ("text to a number", "the revision", "postgresql"),
    ("dropped enum column", "the old code", "postgresql mysql"),
    ("text of digits to a number", "the old code", "mysql sqlite"),
    ("bigger key", "the revision", "postgresql"),
    ("text to an enum", "the revision", "postgresql"),
    ("dropped tables that refer to each other", "the revision", "postgresql mysql"),
    ("foreign key that deletes", "the revision", "sqlite"),
    ("computed and identity columns no more", "the old code", "postgresql"),
    ("names with spaces, percent signs, colons and capitals", "the old code", "mysql"),
    ("names with spaces, percent signs, colons and capitals", "the revision", "postgresql sqlite"),
    ("names of 60 letters", "the old code", "mysql"),
    ("names of 60 letters", "the revision", "postgresql sqlite"),
    ("defaults with quotes and backslashes", "the old code", "mysql"),
    ("defaults with quotes and backslashes", "the revision", "postgresql sqlite"),
    ("defaults that servers spell in their own way", "the revision", "postgresql mysql sqlite"),
    ("renamed columns of every kind", "the old code", "mysql"),
    ("renamed columns of every kind", "the revision", "postgresql"),
    ("renamed unique foreign key", "the old code", "postgresql"),
    ("renamed unique foreign key", "the revision", "mysql sqlite"),
    ("renamed table with constraints", "the old code", "postgresql mysql"),
    ("dropped table that others refer to", "the revision", "postgresql mysql sqlite"),
    ("filled by a key of two columns", "the revision", "postgresql mysql sqlite"),
    ("table of another schema and one of the same name", "the revision", "postgresql"),
]
"""Where a plain Flask-Migrate revision of the same change, run before the deploy, fails or makes the old code fail."""

PLAIN = [(name, verdict, kind) for name, verdict, kinds in BREAKS for kind in kinds.split()]


@pytest.mark.parametrize(("name", "verdict", "kind"), PLAIN)
def test_plain_revision_of_the_same_change_breaks(name: str, verdict: str, kind: str, tmp_path: Path) -> None:
    change = next(item for item in CHANGES if item.name == name)
    with fresh_database(kind, tmp_path) as url:
        try:
            found = plain_verdict(change, tmp_path, url)
        finally:
            dispose_engines()

    assert found == verdict
