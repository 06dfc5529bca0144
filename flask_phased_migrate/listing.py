"""What ``heads``, ``history``, ``branches`` and ``show`` print, from the index alone, byte for byte as Alembic does.

Of histories in which Alembic has more to say (branch labels, several heads, dependencies by other names than ids) and
of those with a mistake, nothing is said here: Alembic's own command has the words for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property

from .index import Index, Links


class Listing:
    """The revisions of an index, as lists show them. Made by :func:`plain_listing`."""

    def __init__(self, index: Index, head: str) -> None:
        self._index = index
        self.head = head

    def heads(self, *, verbose: bool = False) -> str:
        """Return what ``heads`` prints."""
        return f"{self.entry(self.head)}\n" if verbose else f"{self.head} (head)\n"

    def current(self, rows: Collection[str]) -> str | None:
        """Return what ``current`` prints of the version table's rows; None where Alembic has to work out more."""
        if not rows:
            return ""
        if self._index.is_line and list(rows) == [self.head]:
            return f"{self.head} (head)\n"
        (name, *others) = rows
        if others or name not in self._by_id or any(links[2] for links in self._by_id.values()):
            return None
        return f"{name}{self._marks(name)}\n"

    def history(self, *, verbose: bool = False) -> str:
        """Return what ``history`` prints."""
        ordered = self._index.newest_first
        if verbose:
            return "".join([f"{self.entry(links[0])}\n" for links in ordered])
        if not self._index.is_line:
            return "".join([f"{self._arrow(links)}{self._marks(links[0])}, {links[4]}\n" for links in ordered])
        base, (name, _, _, _, message) = ordered[-1], ordered[0]
        mark = f" -> {name} (head), {message}\n"
        if base is ordered[0]:
            return f"<base>{mark}"
        lines = [f"{down[0]} -> {name}, {message}\n" for name, down, _, _, message in ordered[1:-1]]
        return "".join([f"{ordered[0][1][0]}{mark}", *lines, f"<base> -> {base[0]}, {base[4]}\n"])

    def branches(self, *, verbose: bool = False) -> str:
        """Return what ``branches`` prints."""
        if self._index.is_line:
            return ""
        return "".join([f"{text}\n" for links in self._index.newest_first for text in self._branch(links[0], verbose)])

    def show(self, name: str) -> str | None:
        """Return what ``show`` prints of an id, or of ``head``; None for any other name."""
        found = self.head if name == "head" else name
        return f"{self.entry(found)}\n" if found in self._by_id else None

    @cached_property
    def _by_id(self) -> dict[str, Links]:
        return {links[0]: links for links in self._index.links if links is not None}

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self._by_id)}

    @cached_property
    def _children(self) -> dict[str, frozenset[str]]:
        """For each id those that revise it; made as Alembic makes them, since it prints them in the set's own order."""
        found: dict[str, frozenset[str]] = {}
        for name, links in self._by_id.items():
            for parent in links[1]:
                found[parent] = found.get(parent, frozenset()).union([name])
        return found

    @cached_property
    def _needed(self) -> frozenset[str]:
        return frozenset(name for links in self._by_id.values() for name in (*links[1], *links[2]))

    def _marks(self, name: str) -> str:
        text = "" if name in self._needed else " (head)"
        if len(self._children.get(name, ())) > 1:
            text += " (branchpoint)"
        return f"{text} (mergepoint)" if len(self._by_id[name][1]) > 1 else text

    def _arrow(self, links: Links) -> str:
        name, down, depends_on, _, _ = links
        parents = ", ".join(down) or "<base>"
        return f"{parents} ({', '.join(depends_on)}) -> {name}" if depends_on else f"{parents} -> {name}"

    def _branch(self, name: str, verbose: bool) -> Iterator[str]:
        children = self._children.get(name, frozenset())
        if len(children) < 2:
            return
        yield self.entry(name) if verbose else f"{name}{self._marks(name)}"
        lines = []
        for child in children:
            words = f", {self._by_id[child][4]}" if verbose else ""
            lines.append(f"{' ' * len(name)} -> {child}{self._marks(child)}{words}")
        yield "\n".join(lines) + "\n"

    def entry(self, name: str) -> str:
        """Return the description of one revision in several lines."""
        _, down, depends_on, _, _ = self._by_id[name]
        position = self._positions[name]
        facts, children = self._index.facts[position], self._children.get(name, frozenset())
        merge = len(down) > 1
        lines = [
            f"Rev: {name}{'' if children else ' (head)'}{' (branchpoint)' if len(children) > 1 else ''}"
            f"{' (mergepoint)' if merge else ''}",
            f"{'Merges' if merge else 'Parent'}: {', '.join(down) or '<base>'}",
        ]
        if depends_on:
            lines.append(f"Also depends on: {', '.join(depends_on)}")
        if len(children) > 1:
            lines.append(f"Branches into: {', '.join(children)}")
        lines.append(f"Path: {self._index.paths[position]}")
        words = "\n".join(f"    {line}" for line in (facts.doc if facts else "").splitlines())
        return "\n".join(lines) + f"\n\n{words}\n"


def plain_listing(index: Index) -> Listing | None:
    """Return the listing of an index, None where Alembic has more to say of the history, or an error."""
    return None if index.head is None else Listing(index, index.head)
