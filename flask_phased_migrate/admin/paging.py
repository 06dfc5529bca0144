"""What a list that is shown page by page knows of its other pages."""

from __future__ import annotations

from typing import Any


def count_pages(total: int, size: int) -> int:
    """Return how many pages of ``size`` rows ``total`` rows take, at least 1."""
    return max(1, -(-total // size))


class Paged:
    """One page of a list: the ``number``-th, from 1, of ``size`` rows of ``total``."""

    number: int
    size: int
    total: int

    @property
    def pages(self) -> int:
        """The number of pages, at least 1."""
        return count_pages(self.total, self.size)

    @property
    def next(self) -> int | None:
        """The number of the next page."""
        return self.number + 1 if self.number < self.pages else None

    @property
    def previous(self) -> int | None:
        """The number of the page before."""
        return self.number - 1 if self.number > 1 else None


class PagedRows(Paged):
    """A page that knows where its rows stand among all."""

    rows: tuple[Any, ...]

    @property
    def first(self) -> int:
        """The position of the first row among all, from 1; 0 if there is none."""
        return (self.number - 1) * self.size + 1 if self.rows else 0

    @property
    def last(self) -> int:
        """The position of the last row among all; 0 if there is none."""
        return (self.number - 1) * self.size + len(self.rows)
