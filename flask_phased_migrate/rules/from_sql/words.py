"""A cursor over the tokens of one statement, and what statements of every kind have in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import Token, TokenType

from ...inspection.statements import word_of
from ..changes import NOWHERE, Name, Opaque
from ..recipes import quote_name

_OPENING = {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}


class Words:
    """The tokens of a statement, and how far they are read."""

    def __init__(self, tokens: Sequence[Token], text: str, dialect_name: str) -> None:
        self.tokens = list(tokens)
        self.text = text
        self.dialect_name = dialect_name
        self.at = 0

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.tokens)

    def word(self, ahead: int = 0) -> str:
        """Return the keyword that comes ``ahead``, "" behind the end."""
        place = self.at + ahead
        return word_of(self.tokens[place]) if place < len(self.tokens) else ""

    def take(self, *words: str) -> bool:
        """Go on behind ``words`` if they come next; return whether they did."""
        if tuple(self.word(number) for number in range(len(words))) == words:
            self.at += len(words)
            return True
        return False

    def name(self) -> str:
        """Return the name that comes next, "" behind the end."""
        if self.is_over:
            return ""
        self.at += 1
        return self.tokens[self.at - 1].text

    def dotted(self) -> Name:
        """Return the table's name that comes next."""
        names = [self.name()]
        while not self.is_over and self.tokens[self.at].token_type is TokenType.DOT:
            self.at += 1
            names.append(self.name())
        return Name(names[-1], names[-2] if len(names) > 1 else None)

    def rest(self) -> str:
        """Return the text of what is left."""
        return " ".join(token.text for token in self.tokens[self.at :])

    def all(self) -> str:
        """Return the text of what is left, as SQL."""
        return _joined(self.tokens[self.at :], self.dialect_name)

    def inside(self) -> Words:
        """Return what the parentheses hold that come next, and go on behind them."""
        begin = self.at + 1
        self.skip_item()
        return Words(self.tokens[begin : self.at - 1], self.text, self.dialect_name)

    def text_of(self) -> str:
        """Return the text of all, as SQL."""
        return _joined(self.tokens, self.dialect_name)

    def is_open(self) -> bool:
        """Return whether a parenthesis opens next."""
        return not self.is_over and self.tokens[self.at].token_type is TokenType.L_PAREN

    def skip_item(self) -> None:
        """Go on behind one token, or behind what a parenthesis opens."""
        depth = 0
        while not self.is_over:
            depth += _OPENING.get(self.tokens[self.at].token_type, 0)
            self.at += 1
            if depth <= 0:
                return

    def until(self, *words: str) -> str:
        """Return the text up to one of ``words`` outside of parentheses, and go on there."""
        begin = self.at
        while not self.is_over and self.word() not in words:
            self.skip_item()
        return _joined(self.tokens[begin : self.at], self.dialect_name)

    def parts(self) -> Iterator[Words]:
        """Yield what commas outside of parentheses separate."""
        begin = self.at
        while not self.is_over:
            if self.tokens[self.at].token_type is TokenType.COMMA:
                yield Words(self.tokens[begin : self.at], self.text, self.dialect_name)
                self.at += 1
                begin = self.at
            else:
                self.skip_item()
        if begin < self.at:
            yield Words(self.tokens[begin : self.at], self.text, self.dialect_name)


def _joined(tokens: Sequence[Token], dialect_name: str) -> str:
    """Return tokens as text; a name in quotes keeps them where it needs them, and words that are known, capitals."""
    text = ""
    for token in tokens:
        word = _written(token, dialect_name)
        tight = not text or word in "(),." or text[-1] in "(."
        text += f"{word} " if word == "," else word if tight or text[-1] == " " else f" {word}"
    return text


def _written(token: Token, dialect_name: str) -> str:
    if token.token_type in (TokenType.STRING, TokenType.NATIONAL_STRING):
        return "'" + token.text.replace("'", "''") + "'"
    if token.token_type is not TokenType.IDENTIFIER:
        return token.text
    return quote_name(token.text, dialect_name)


_TWO_WORDS = ("PRIMARY KEY", "FOREIGN KEY", "LOCK TABLES", "UNLOCK TABLES")


def split_words(token: Token) -> Iterator[Token]:
    """Yield the two words of PRIMARY KEY and the like, which the tokenizer takes for one."""
    words = token.text.split() if word_of(token) in _TWO_WORDS else ()
    yield from (Token(TokenType.VAR, word) for word in words)
    if not words:
        yield token


def is_conditional(words: Words) -> bool:
    """Return whether a statement has IF EXISTS or IF NOT EXISTS."""
    pairs = zip(words.tokens, words.tokens[1:], strict=False)
    return any(word_of(one) == "IF" and word_of(two) in ("EXISTS", "NOT") for one, two in pairs)


def skip_conditions(words: Words) -> bool:
    """Go on behind IF [NOT] EXISTS and ONLY; return whether there was an IF."""
    conditional = words.take("IF", "NOT", "EXISTS") or words.take("IF", "EXISTS")
    words.take("ONLY")
    return conditional


def unknown(words: Words) -> Opaque:
    """Return a statement of which it cannot be told what it does."""
    line = " ".join(words.text.split())
    return Opaque(NOWHERE, f"SQL that the linter does not know: {line if len(line) < 61 else f'{line[:57]}...'}")
