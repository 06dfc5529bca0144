"""What a request asks for in its address, checked: a value that cannot be is answered by those that can."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flask import request

from .listing import Filter
from .texts import Text, text, texts

LARGEST_PAGE = 200
SIZES = (50, 100, 200)
LARGEST_NUMBER = 2**31 - 1
LONGEST_SEARCH = 200


class PageError(Exception):
    """The request names something that does not exist; ``choices`` is what it may name."""

    def __init__(
        self, status: int, message: Text, *, choices: Collection[str] = (), are_revisions: bool = False
    ) -> None:
        super().__init__(str(message))
        self.status = status
        self.message = message
        self.choices = tuple(choices)
        self.are_revisions = are_revisions


def read_choice(name: str, choices: Collection[str], default: str | None = None) -> str | None:
    """Return a parameter that is one of ``choices``; ``default`` where it is not given or empty.

    :raises PageError: 400, for another value.
    """
    value = request.args.get(name) or None
    if value is None:
        return default
    if value not in choices:
        message = text("'%(value)s' is no value of '%(name)s'. The values are:", value=value, name=name)
        raise PageError(400, message, choices=choices)
    return value


def read_text(name: str) -> str | None:
    """Return a parameter as the journal would have it: NUL, which no column can hold, is spelled out there too."""
    return request.args.get(name, "").replace("\0", "\\x00") or None


def read_bind(binds: tuple[str, ...]) -> str:
    """Return the chosen bind, the main one without a choice.

    :raises PageError: 400, if there is no such bind.
    """
    bind = request.args.get("bind", binds[0])
    if bind not in binds:
        raise PageError(400, text("There is no bind '%(bind)s'. The binds are:", bind=bind), choices=binds)
    return bind


def read_number(name: str, default: int | None = None) -> int | None:
    """Return a parameter that counts from 1.

    :raises PageError: 400, for another value.
    """
    value = request.args.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 11 and 0 < int(value) <= LARGEST_NUMBER):
        raise PageError(400, text("'%(value)s' is not a number for '%(name)s'.", value=value, name=name))
    return int(value)


def read_page() -> int:
    """Return the number of the page.

    :raises PageError: 400, if it is no number.
    """
    number = read_number("page", 1)
    assert number is not None
    return number


def read_size(default: int) -> int:
    """Return how many rows a page has, at most :data:`LARGEST_PAGE`.

    :raises PageError: 400, if it is no number.
    """
    return min(read_number("size", default) or default, LARGEST_PAGE)


def read_filter(choices: Mapping[str, tuple[str, ...]]) -> Filter:
    """Return what the list of revisions is asked for.

    :raises PageError: 400, for a value that a filter does not have.
    """
    search = request.args.get("q", "").strip() or None
    if search is not None and len(search) > LONGEST_SEARCH:
        message = texts(
            "The search has more than %(number)s character.",
            "The search has more than %(number)s characters.",
            LONGEST_SEARCH,
        )
        raise PageError(400, message)
    return Filter(q=search, **{name: read_choice(name, values) for name, values in choices.items()})
