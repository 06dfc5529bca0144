"""An SQL file as the statements that a client would send, each with its exact text."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator


def split_sql(text: str, dialect_name: str) -> tuple[str, ...]:
    """Return the statements of a file, without their terminators; what has only comments is none.

    As the engine's own client does it: ``DELIMITER`` lines on MySQL; on PostgreSQL dollar quotes, and bodies between
    ``BEGIN ATOMIC`` and ``END``; on SQLite the bodies of triggers.

    :raises ValueError: if a quote or comment is not closed, or a line is a command of ``psql`` itself.
    """
    return tuple(_Splitter(text, dialect_name).statements())


class _Splitter:
    """Walks through a text once. ``start`` is where the statement began, ``at`` where the walk is."""

    def __init__(self, text: str, dialect_name: str) -> None:
        self.text = text
        self.kind = {"mariadb": "mysql"}.get(dialect_name, dialect_name)
        self.at = self.start = 0
        self.delimiter = ";"
        self._begin(0)

    def _begin(self, at: int) -> None:
        self.start = self.at = at
        self.seen = False
        self.brackets = self.depth = 0
        self.words: list[str] = []

    def statements(self) -> Iterator[str]:
        """Give the statements in order."""
        while self.at < len(self.text):
            if self._is_client_command():
                continue
            if self.text.startswith(self.delimiter, self.at) and self._is_whole():
                if self.seen:
                    yield self.text[self.start : self.at].strip()
                self._begin(self.at + len(self.delimiter))
            else:
                self._step()
        if self.seen:
            yield self.text[self.start :].strip()

    def _is_whole(self) -> bool:
        if self.kind == "sqlite":
            return not self.seen or sqlite3.complete_statement(self.text[self.start : self.at] + ";")
        return not self.brackets and not self.depth

    def _is_client_command(self) -> bool:
        """Return whether a line for the client itself was passed over."""
        if self.seen:
            return False
        line = self.text[self.at :].split("\n", 1)[0]
        if self.kind == "postgresql" and line.startswith("\\"):
            raise ValueError(f"'{line.strip()}' is a command of psql itself, which no server knows")
        words = line.split()
        if self.kind != "mysql" or len(words) != 2 or words[0].lower() != "delimiter":
            return False
        self.delimiter = words[1]
        self._begin(min(self.at + len(line) + 1, len(self.text)))
        return True

    def _step(self) -> None:
        """Pass over a comment, a quoted text, a word, or one character."""
        one, two = self.text[self.at], self.text[self.at : self.at + 2]
        if self._begins_line_comment(two):
            self.at = self._after("\n", self.at, required=False)
        elif two == "/*":
            self._pass_comment()
        elif one in "'\"`":
            self._pass_quoted(one)
        elif one == "$" and self.kind == "postgresql" and (tag := self._dollar_tag()):
            self.seen = True
            self.at = self._after(tag, self.at + len(tag))
        elif one.isalpha() or one == "_":
            self._pass_word()
        else:
            self.seen |= not one.isspace()
            self.brackets = max(self.brackets + (one == "(") - (one == ")"), 0)
            self.at += 1

    def _begins_line_comment(self, two: str) -> bool:
        if self.kind != "mysql":
            return two == "--"
        # MySQL documentation, "Comments": the second dash is followed by white space or a control character.
        after = self.text[self.at + 2 : self.at + 3]
        return two[0] == "#" or (two == "--" and (not after or after <= " "))

    def _pass_comment(self) -> None:
        # MySQL executes what stands in /*! ... */.
        self.seen |= self.kind == "mysql" and self.text.startswith(("/*!", "/*M!"), self.at)
        end = self._after("*/", self.at + 2)
        if self.kind == "postgresql":
            # They nest (PostgreSQL documentation, "Comments").
            inner = self.text.find("/*", self.at + 2)
            while 0 <= inner < end - 2:
                end = self._after("*/", end)
                inner = self.text.find("/*", inner + 2)
        self.at = end

    def _pass_quoted(self, quote: str) -> None:
        self.seen = True
        escapes = quote in "'\"" if self.kind == "mysql" else quote == "'" and self._is_escape_string()
        at = self.at + 1
        while True:
            end = self._after(quote, at)
            backslash = self.text.find("\\", at, end - 1) if escapes else -1
            if backslash < 0:
                self.at = end
                return
            at = backslash + 2

    def _is_escape_string(self) -> bool:
        before = self.text[max(self.at - 2, 0) : self.at]
        return self.kind == "postgresql" and before[-1:] in ("e", "E") and not _is_part_of_word(before[:-1])

    def _dollar_tag(self) -> str | None:
        if _is_part_of_word(self.text[self.at - 1 : self.at]):
            return None
        end = self.text.find("$", self.at + 1)
        name = self.text[self.at + 1 : end]
        if end < 0 or (name and not name.isidentifier()):
            return None
        return self.text[self.at : end + 1]

    def _pass_word(self) -> None:
        end = self.at
        while end < len(self.text) and _is_part_of_word(self.text[end]):
            end += 1
        word = self.text[self.at : end].lower()
        self.seen, self.at = True, end
        if self.kind != "postgresql":
            return
        # What psql does since SQL-standard bodies exist (PostgreSQL documentation, "CREATE FUNCTION").
        if len(self.words) < 4:
            self.words.append(word)
        if self.words[:1] == ["create"] and {"function", "procedure"}.intersection(self.words):
            if word == "begin" or (self.depth and word == "case"):
                self.depth += 1
            elif self.depth and word == "end":
                self.depth -= 1

    def _after(self, mark: str, at: int, *, required: bool = True) -> int:
        """Return the place behind the next ``mark``, the end of the text where it may be missing."""
        found = self.text.find(mark, at)
        if found >= 0:
            return found + len(mark)
        if required:
            line = self.text.count("\n", 0, self.at) + 1
            raise ValueError(f"what begins with {self.text[self.at : self.at + 2]!r} in line {line} is not closed")
        return len(self.text)


def _is_part_of_word(text: str) -> bool:
    return bool(text) and (text[-1].isalnum() or text[-1] in "_$")
