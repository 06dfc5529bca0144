"""Fixtures for every test: fresh databases on the three engines, and a factory of small Flask projects."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import Site, drop_spare_databases, fresh_database, make_site

# Tests rewrite revision files within a second, and Python takes a cached module of the same second and size for fresh.
sys.dont_write_bytecode = True


def pytest_sessionfinish() -> None:
    """Leave no database behind."""
    drop_spare_databases()


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, on each engine in turn; dropped afterwards."""
    with fresh_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty SQLite database."""
    with fresh_database("sqlite", tmp_path) as url:
        yield url


@pytest.fixture
def postgresql_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty PostgreSQL database; dropped afterwards."""
    with fresh_database("postgresql", tmp_path) as url:
        yield url


@pytest.fixture
def mysql_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty MariaDB or MySQL database; dropped afterwards."""
    with fresh_database("mysql", tmp_path) as url:
        yield url


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Site]:
    """A factory: ``project(url, config={...}, models="...")`` writes a Flask project, see ``make_site``."""
    made: list[Site] = []

    def create(url: str, **options: object) -> Site:
        site = make_site(tmp_path / f"site{len(made) + 1}", url, **options)  # type: ignore[arg-type]
        made.append(site)
        return site

    return create
