"""Parsing without a word: sqlglot logs what it keeps as it is, and that is no news to whoever runs migrations."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_parser() -> Iterator[None]:
    """Keep sqlglot from logging what it cannot parse: that is told in our own words."""
    logger = logging.getLogger("sqlglot")

    def drop(_record: logging.LogRecord) -> bool:
        return False

    # A filter of one's own, and not the logger's switch: two threads would put back each other's.
    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)
