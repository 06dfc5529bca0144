"""Raw SQL to the changes that it makes, from the tokens and syntax trees of a real SQL parser (sqlglot).

Definitions are read token by token: the parser keeps much of what engines know beside the standard as mere words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

from ..inspection.functions import BUILT_IN
from ..inspection.statements import parse_statement, statements_of, word_of
from .changes import (
    NO_DEFAULT,
    NOWHERE,
    AddColumn,
    AddConstraint,
    AddEnumValue,
    AttachPartition,
    Change,
    ChangeOfColumn,
    ChangeType,
    Clauses,
    Column,
    ConstrainDomain,
    CreateIndex,
    CreateTable,
    CreateView,
    Default,
    DetachPartition,
    DropColumn,
    DropConstraint,
    DropContainer,
    DropIndex,
    DropNotNull,
    DropTable,
    Maintain,
    Name,
    Opaque,
    RenameColumn,
    RenameEnumValue,
    RenameTable,
    SetDefault,
    SetNotNull,
    SetSetting,
    Statement,
    TableOption,
    Truncate,
    ValidateConstraint,
    WriteRows,
)

_STABLE = frozenset(
    {
        *("NOW", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "LOCALTIME", "LOCALTIMESTAMP"),
        *("TRANSACTION_TIMESTAMP", "STATEMENT_TIMESTAMP", "CURRENT_USER", "SESSION_USER", "USER", "CURRENT_SCHEMA"),
    }
)
"""What a server works out once for a statement."""
_VOLATILE = frozenset(
    {
        *("CLOCK_TIMESTAMP", "GEN_RANDOM_UUID", "UUID_GENERATE_V1", "UUID_GENERATE_V4", "UUIDV4", "UUIDV7", "UUID"),
        *("RANDOM", "RAND", "NEXTVAL", "TIMEOFDAY", "SYSDATE", "UUID_SHORT", "RANDOMBLOB", "SYS_GUID"),
    }
)
_HARMLESS = BUILT_IN | {"setval", "nextval", "currval", "set_config", "pg_sleep", "pg_advisory_xact_lock"}
_OPENING = {TokenType.L_PAREN: 1, TokenType.R_PAREN: -1}


def read_sql(construct: Any, dialect: Any) -> tuple[Statement, ...]:
    """Return what each statement comes to of SQL that is given as text or as a SQLAlchemy construct."""
    try:
        text = _compiled(construct, dialect)
        return tuple(_read(piece, tokens, dialect.name) for piece, tokens in statements_of(text, dialect.name))
    except (SqlglotError, RecursionError, sa.exc.SQLAlchemyError) as error:
        first = " ".join(str(error).split())[:80]
        return (Statement((Opaque(NOWHERE, f"SQL that cannot be read ({first})"),)),)


def _compiled(construct: Any, dialect: Any) -> str:
    if isinstance(construct, str):
        return construct
    try:
        return str(construct.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    except (sa.exc.CompileError, TypeError):
        return str(construct.compile(dialect=dialect))


def read_default_text(text: str, dialect_name: str) -> Default:
    """Return what a default is that is more than a literal."""
    try:
        found = parse_statement(f"SELECT {text}", dialect_name)
    except (SqlglotError, RecursionError):
        return Default("unknown", text)
    names = {name for node in found.find_all(exp.Func) for name in _function_names(node)}
    names |= {node.name.upper() for node in found.find_all(exp.Column) if not node.table}
    if names & _VOLATILE:
        return Default("volatile", text)
    anonymous = {node.name.upper() for node in found.find_all(exp.Anonymous)}
    if {name for name in anonymous if name.casefold() not in BUILT_IN} - _STABLE:
        return Default("unknown", text)
    return Default("stable" if names & _STABLE else "constant", text)


def _function_names(node: exp.Func) -> Iterator[str]:
    if isinstance(node, exp.Anonymous):
        yield node.name.upper()
    else:
        yield from (name.upper() for name in type(node).sql_names())


# -- a cursor over tokens -------------------------------------------------------------------------------


class _Words:
    """The tokens of a statement, and how far they are read."""

    def __init__(self, tokens: Sequence[Token], text: str, dialect_name: str) -> None:
        self.tokens = tokens
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

    def inside(self) -> _Words:
        """Return what the parentheses hold that come next, and go on behind them."""
        begin = self.at + 1
        self.skip_item()
        return _Words(self.tokens[begin : self.at - 1], self.text, self.dialect_name)

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
        return _joined(self.tokens[begin : self.at])

    def parts(self) -> Iterator[_Words]:
        """Yield what commas outside of parentheses separate."""
        begin = self.at
        while not self.is_over:
            if self.tokens[self.at].token_type is TokenType.COMMA:
                yield _Words(self.tokens[begin : self.at], self.text, self.dialect_name)
                self.at += 1
                begin = self.at
            else:
                self.skip_item()
        if begin < self.at:
            yield _Words(self.tokens[begin : self.at], self.text, self.dialect_name)


def _joined(tokens: Sequence[Token]) -> str:
    text = ""
    for token in tokens:
        is_string = token.token_type in (TokenType.STRING, TokenType.NATIONAL_STRING)
        word = "'" + token.text.replace("'", "''") + "'" if is_string else token.text
        tight = not text or word in "(),." or text[-1] in "(."
        text += word if tight else f" {word}"
    return text.replace(",", ", ").replace(",  ", ", ")


# -- statements -----------------------------------------------------------------------------------------


def _read(text: str, tokens: Sequence[Token], dialect_name: str) -> Statement:
    words = _Words([word for token in tokens for word in _split(token)], text, dialect_name)
    for start, read in _STATEMENTS.items():
        if words.take(*start):
            found = read(words)
            return found if isinstance(found, Statement) else Statement(tuple(found))
    return Statement((_unknown(words),))


def _split(token: Token) -> Iterator[Token]:
    """Yield the two words of PRIMARY KEY and FOREIGN KEY, which the tokenizer takes for one."""
    words = token.text.split() if word_of(token) in ("PRIMARY KEY", "FOREIGN KEY") else ()
    yield from (Token(TokenType.VAR, word) for word in words)
    if not words:
        yield token


def _unknown(words: _Words) -> Opaque:
    line = " ".join(words.text.split())
    return Opaque(NOWHERE, f"SQL that the linter does not know: {line if len(line) < 61 else f'{line[:57]}...'}")


def _skip_conditions(words: _Words) -> bool:
    """Go on behind IF [NOT] EXISTS and ONLY; return whether there was an IF."""
    conditional = words.take("IF", "NOT", "EXISTS") or words.take("IF", "EXISTS")
    words.take("ONLY")
    return conditional


def _create_table(words: _Words) -> Iterator[Change]:
    conditional = _skip_conditions(words)
    name = words.dotted()
    if not words.is_open():
        is_partition = words.take("PARTITION", "OF")
        yield CreateTable(name, is_conditional=conditional)
        if is_partition:
            yield AttachPartition(words.dotted(), name)
        return
    columns: list[Column] = []
    keys: list[AddConstraint] = []
    for part in words.inside().parts():
        if _constraint_follows(part):
            found = _read_constraint(part, name)
            keys += [found] if isinstance(found, AddConstraint) else []
        elif part.word() not in ("INDEX", "KEY", "FULLTEXT", "SPATIAL", "LIKE", "PERIOD"):
            column, own = _column(part, name)
            columns.append(column)
            keys += own
    yield CreateTable(name, tuple(columns), tuple(keys), is_conditional=conditional)


def _create_index(words: _Words, *, unique: bool = False, kind: str = "") -> Iterator[Change] | Statement:
    concurrently = words.take("CONCURRENTLY")
    conditional = _skip_conditions(words)
    name = "" if words.word() == "ON" else words.dotted().table
    words.until("ON")
    if not words.take("ON"):
        return Statement((_unknown(words),))
    words.take("ONLY")
    table = words.dotted()
    if words.take("USING"):
        words.name()
    columns = tuple(_index_column(part) for part in words.inside().parts()) if words.is_open() else ()
    words.until("WHERE", "ALGORITHM", "LOCK")
    where = words.until("ALGORITHM", "LOCK") if words.take("WHERE") else ""
    change = CreateIndex(table, name, tuple(filter(None, columns)), unique, concurrently, conditional, kind, where)
    return Statement((change,), _clauses(words))


def _index_column(part: _Words) -> str:
    is_name = len(part.tokens) == 1 or part.word(1) in ("ASC", "DESC", "COLLATE", "NULLS")
    return part.name() if is_name and not part.is_open() else ""


def _clauses(words: _Words) -> Clauses:
    """Return the clauses ALGORITHM and LOCK of what is left."""
    found = {}
    while not words.is_over:
        word = words.word()
        words.skip_item()
        if word in ("ALGORITHM", "LOCK"):
            words.take("=")
            found[word] = words.word()
    return Clauses(found.get("ALGORITHM", ""), found.get("LOCK", ""))


def _unique_index(words: _Words) -> Any:
    return _create_index(words, unique=True)


def _fulltext_index(words: _Words) -> Any:
    return _create_index(words, kind="FULLTEXT")


def _spatial_index(words: _Words) -> Any:
    return _create_index(words, kind="SPATIAL")


def _drop_table(words: _Words) -> Iterator[Change]:
    _skip_conditions(words)
    for part in words.parts():
        yield DropTable(part.dotted())


def _drop_index(words: _Words) -> Iterator[Change]:
    concurrently = words.take("CONCURRENTLY")
    _skip_conditions(words)
    for part in words.parts():
        name = part.dotted()
        table = part.dotted() if part.take("ON") else Name("", name.schema)
        yield DropIndex(table, name.table, concurrently)


def _create_view(words: _Words) -> Iterator[Change]:
    words.until("VIEW")
    words.take("VIEW")
    _skip_conditions(words)
    yield CreateView(words.dotted())


def _nothing(_words: _Words) -> Iterator[Change]:
    """Nothing that a rule is about."""
    return iter(())


def _container(words: _Words) -> Iterator[Change]:
    _skip_conditions(words)
    yield DropContainer(words.dotted(), " ".join(words.text.split()))


def _alter_schema(words: _Words) -> Iterator[Change]:
    name = words.dotted()
    if words.word() == "RENAME":
        yield DropContainer(name, " ".join(words.text.split()))


def _rename_table(words: _Words) -> Iterator[Change]:
    _skip_conditions(words)
    for part in words.parts():
        old = part.dotted()
        part.take("TO")
        yield RenameTable(old, part.dotted())


def _alter_type(words: _Words) -> Iterator[Change]:
    name = words.dotted()
    if words.take("ADD", "VALUE"):
        _skip_conditions(words)
        yield AddEnumValue(name, words.name(), words.word() in ("BEFORE", "AFTER"))
    elif words.take("RENAME", "VALUE"):
        old = words.name()
        words.take("TO")
        yield RenameEnumValue(name, old, words.name())


def _alter_domain(words: _Words) -> Iterator[Change]:
    name = words.dotted()
    if words.take("ADD") or words.take("SET", "NOT", "NULL"):
        yield ConstrainDomain(name, words.rest().upper().endswith("NOT VALID"))


def _truncate(words: _Words) -> Iterator[Change]:
    words.take("TABLE")
    words.take("ONLY")
    cascade = any(word_of(token) == "CASCADE" for token in words.tokens)
    for part in words.parts():
        yield Truncate(part.dotted(), cascade)


def _vacuum(words: _Words) -> Iterator[Change]:
    text = {word_of(token) for token in words.tokens}
    if "FULL" in text:
        yield Maintain(Name(words.tokens[-1].text), "VACUUM FULL")


def _cluster(words: _Words) -> Iterator[Change]:
    if not words.is_over:
        yield Maintain(words.dotted(), "CLUSTER")


def _reindex(words: _Words) -> Iterator[Change]:
    if words.is_open():
        words.skip_item()
    kind = words.name()
    concurrently = words.take("CONCURRENTLY")
    yield Maintain(words.dotted(), f"REINDEX {kind.upper()}", concurrently)


def _set(words: _Words) -> Iterator[Change]:
    if words.take("STATEMENT"):
        words.until("FOR")
        words.take("FOR")
        yield from _read(words.text, words.tokens[words.at :], words.dialect_name).changes
        return
    before = words.until("=", "TO")
    words.name()
    # SET LOCAL x, SET @@session.x: the last word is the name.
    name = before.replace(".", " ").split()[-1:] or [""]
    yield SetSetting(Name(name[0].strip("@").casefold()), words.rest())


# -- ALTER TABLE ----------------------------------------------------------------------------------------


def _alter_table(words: _Words) -> Statement:
    words.take("ONLINE")
    words.take("IGNORE")
    words.take("TABLE")
    _skip_conditions(words)
    table = words.dotted()
    changes: list[Change] = []
    clauses: dict[str, str] = {}
    for part in words.parts():
        if part.word() in ("ALGORITHM", "LOCK"):
            word = part.name().upper()
            part.take("=")
            clauses[word] = part.word()
        else:
            changes += _action(part, table)
    return Statement(tuple(changes), Clauses(clauses.get("ALGORITHM", ""), clauses.get("LOCK", "")))


def _action(part: _Words, table: Name) -> Sequence[Change]:
    """Return what one action of an ALTER TABLE does."""
    for start, read in _ACTIONS.items():
        if part.take(*start):
            return list(read(part, table))
    return _other_action(part, table)


def _other_action(part: _Words, table: Name) -> Sequence[Change]:
    words = _joined(part.tokens)
    upper = words.upper()
    if upper.startswith("CONVERT TO CHARACTER SET"):
        return [TableOption(table, words, "charset")]
    if part.word() in ("ENGINE", "ROW_FORMAT", "KEY_BLOCK_SIZE", "FORCE"):
        return [TableOption(table, words, "engine")]
    if "PARTITION" in upper.split()[:2] or part.word() in ("PARTITION", "COALESCE", "REORGANIZE", "REMOVE"):
        return [TableOption(table, words, "partition")]
    if upper.startswith("SET TABLESPACE"):
        return [TableOption(table, words, "tablespace")]
    harmless = ("ENABLE", "DISABLE", "OWNER", "REPLICA", "COMMENT", "AUTO_INCREMENT", "SET", "RESET", "CLUSTER", "NO")
    return [] if part.word() in harmless else [Opaque(table, f"a change that the linter does not know: {words}")]


def _add(part: _Words, table: Name) -> Iterator[Change]:
    if _constraint_follows(part):
        yield _read_constraint(part, table)
        return
    if part.word() in ("INDEX", "KEY", "FULLTEXT", "SPATIAL"):
        yield from _add_index(part, table)
        return
    part.take("COLUMN")
    _skip_conditions(part)
    if part.is_open():
        for inner in part.inside().parts():
            yield from _added_column(inner, table)
        return
    yield from _added_column(part, table)


def _added_column(part: _Words, table: Name) -> Iterator[Change]:
    column, keys = _column(part, table)
    place = next((word_of(token) for token in part.tokens if word_of(token) in ("FIRST", "AFTER")), "")
    yield AddColumn(table, column, place)
    # In one statement with the column, PostgreSQL looks for no parent of rows of which it knows that they are NULL.
    is_checked = column.default is not None and column.default.fills
    for key in keys:
        yield replace(key, of_new_column=True, inline=True, not_valid=key.kind == "foreign key" and not is_checked)


def _add_index(part: _Words, table: Name) -> Iterator[Change]:
    kind = part.name().upper() if part.word() in ("FULLTEXT", "SPATIAL") else ""
    if part.word() in ("INDEX", "KEY"):
        part.name()
    conditional = _skip_conditions(part)
    name = "" if part.is_open() else part.name()
    part.until("(")
    while not part.is_over and not part.is_open():
        part.at += 1
    columns = tuple(filter(None, map(_index_column, part.inside().parts()))) if part.is_open() else ()
    yield CreateIndex(table, name, columns, if_not_exists=conditional, kind=kind)


def _drop(part: _Words, table: Name) -> Iterator[Change]:
    if part.take("PRIMARY", "KEY"):
        yield DropConstraint(table, "PRIMARY", "primary key")
    elif part.take("FOREIGN", "KEY"):
        _skip_conditions(part)
        yield DropConstraint(table, part.name(), "foreign key")
    elif part.take("CONSTRAINT") or part.take("CHECK"):
        _skip_conditions(part)
        yield DropConstraint(table, part.name())
    elif part.take("INDEX") or part.take("KEY"):
        _skip_conditions(part)
        yield DropIndex(table, part.name())
    elif part.word() == "PARTITION":
        yield TableOption(table, _joined(part.tokens), "partition")
    else:
        part.take("COLUMN")
        _skip_conditions(part)
        yield DropColumn(table, part.name())


def _alter_column(part: _Words, table: Name) -> Iterator[Change]:
    part.take("COLUMN")
    name = part.name()
    if part.take("SET", "NOT", "NULL"):
        yield SetNotNull(table, name)
    elif part.take("DROP", "NOT", "NULL"):
        yield DropNotNull(table, name)
    elif part.take("SET", "DEFAULT"):
        yield SetDefault(table, name, _judged(part.until(), part.dialect_name))
    elif part.take("DROP", "DEFAULT"):
        yield SetDefault(table, name, NO_DEFAULT)
    elif part.take("SET", "DATA", "TYPE") or part.take("TYPE"):
        new = part.until("USING", "COLLATE")
        part.until("USING")
        yield ChangeType(table, name, "", new.upper(), part.until() if part.take("USING") else "")


def _rename(part: _Words, table: Name) -> Iterator[Change]:
    if part.take("TO") or part.take("AS"):
        yield RenameTable(table, part.dotted())
    elif part.word() in ("CONSTRAINT", "INDEX", "KEY"):
        return
    else:
        part.take("COLUMN")
        old = part.name()
        part.take("TO")
        yield RenameColumn(table, old, part.name())


def _modify(part: _Words, table: Name) -> Iterator[Change]:
    part.take("COLUMN")
    _skip_conditions(part)
    column, _ = _column(part, table)
    yield ChangeOfColumn(table, column.name, column)


def _change(part: _Words, table: Name) -> Iterator[Change]:
    part.take("COLUMN")
    _skip_conditions(part)
    old = part.name()
    column, _ = _column(part, table)
    yield ChangeOfColumn(table, old, column)
    if column.name.casefold() != old.casefold():
        yield RenameColumn(table, old, column.name)


def _validate(part: _Words, table: Name) -> Iterator[Change]:
    part.take("CONSTRAINT")
    yield ValidateConstraint(table, part.name())


def _attach(part: _Words, table: Name) -> Iterator[Change]:
    yield AttachPartition(table, part.dotted())


def _detach(part: _Words, table: Name) -> Iterator[Change]:
    yield DetachPartition(table, part.dotted(), part.word() == "CONCURRENTLY")


_ACTIONS: Mapping[tuple[str, ...], Callable[[_Words, Name], Iterator[Change]]] = {
    ("ADD", "PARTITION"): lambda part, table: iter([TableOption(table, _joined(part.tokens), "partition")]),
    ("ADD",): _add,
    ("DROP",): _drop,
    ("ALTER",): _alter_column,
    ("RENAME",): _rename,
    ("MODIFY",): _modify,
    ("CHANGE",): _change,
    ("VALIDATE",): _validate,
    ("ATTACH", "PARTITION"): _attach,
    ("DETACH", "PARTITION"): _detach,
}


# -- columns and constraints ----------------------------------------------------------------------------

_AFTER_TYPE = (
    *("NOT", "NULL", "DEFAULT", "PRIMARY", "UNIQUE", "REFERENCES", "CHECK", "GENERATED", "CONSTRAINT", "COLLATE"),
    *("AUTO_INCREMENT", "AUTOINCREMENT", "COMMENT", "FIRST", "AFTER", "AS", "ON", "USING"),
)
_SERIAL = {"SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL4", "SERIAL8", "SERIAL2"}


def _column(part: _Words, table: Name) -> tuple[Column, list[AddConstraint]]:
    """Return the column that a definition makes, and its constraints."""
    name = part.name()
    type_ = part.until(*_AFTER_TYPE).upper()
    column = Column(name, type_, numbers_itself=type_ in _SERIAL)
    keys: list[AddConstraint] = []
    while not part.is_over:
        column = _column_option(part, column, table, keys)
    return column, keys


def _column_option(part: _Words, column: Column, table: Name, keys: list[AddConstraint]) -> Column:
    """Return the column with the option that comes next; a constraint is put among ``keys``."""
    if part.take("NOT", "NULL"):
        return replace(column, nullable=False)
    if part.take("DEFAULT"):
        return replace(column, default=_judged(part.until(*_AFTER_TYPE), part.dialect_name))
    if part.take("PRIMARY", "KEY"):
        keys.append(AddConstraint(table, "primary key", "", (column.name,)))
        return replace(column, nullable=False, is_key=True)
    if part.take("UNIQUE"):
        keys.append(AddConstraint(table, "unique", "", (column.name,)))
    elif part.take("REFERENCES"):
        referent = part.dotted()
        columns = tuple(item.name() for item in part.inside().parts()) if part.is_open() else ()
        keys.append(AddConstraint(table, "foreign key", "", (column.name,), referent, columns))
    elif part.take("CHECK"):
        keys.append(AddConstraint(table, "check", "", text=_joined(part.inside().tokens)))
    elif part.take("AUTO_INCREMENT") or part.take("AUTOINCREMENT"):
        return replace(column, numbers_itself=True)
    elif part.take("GENERATED") or part.word() == "AS":
        return _generated(part, column)
    else:
        part.skip_item()
    return column


def _generated(part: _Words, column: Column) -> Column:
    part.until("AS")
    part.take("AS")
    if part.take("IDENTITY"):
        return replace(column, numbers_itself=True, nullable=False)
    if part.is_open():
        part.skip_item()
    is_virtual = part.take("VIRTUAL")
    is_stored = part.take("STORED") or part.take("PERSISTENT")
    stored_by_default = part.dialect_name == "postgresql"
    return replace(column, generated="stored" if is_stored or (stored_by_default and not is_virtual) else "virtual")


def _judged(text: str, dialect_name: str) -> Default:
    from .from_operations import judge_default

    return judge_default(text, dialect_name)


def _constraint_follows(part: _Words) -> bool:
    word = part.word()
    if word in ("PRIMARY", "FOREIGN"):
        return part.word(1) == "KEY"
    return word in ("CONSTRAINT", "UNIQUE", "CHECK", "EXCLUDE")


def _read_constraint(part: _Words, table: Name) -> Change:
    name = ""
    if part.take("CONSTRAINT"):
        _skip_conditions(part)
        name = "" if _constraint_follows(part) else part.name()
    if part.take("FOREIGN", "KEY"):
        return _read_foreign_key(part, table, name)
    if part.take("CHECK"):
        text = _joined(part.inside().tokens)
        return AddConstraint(table, "check", name, text=text, not_valid="NOT VALID" in part.rest().upper())
    if part.take("EXCLUDE"):
        return AddConstraint(table, "exclude", name)
    kind: Any = "primary key" if part.take("PRIMARY", "KEY") else "unique" if part.take("UNIQUE") else "unknown"
    if part.take("USING", "INDEX"):
        return AddConstraint(table, kind, name, using_index=part.name())
    while not part.is_over and not part.is_open():
        name = name or ("" if part.word() in ("INDEX", "KEY", "NULLS") else part.tokens[part.at].text)
        part.at += 1
    columns = tuple(filter(None, map(_index_column, part.inside().parts()))) if part.is_open() else ()
    return AddConstraint(table, kind, name, columns)


def _read_foreign_key(part: _Words, table: Name, name: str) -> AddConstraint:
    while not part.is_over and not part.is_open():
        name = name or part.tokens[part.at].text
        part.at += 1
    columns = tuple(item.name() for item in part.inside().parts()) if part.is_open() else ()
    part.until("REFERENCES")
    part.take("REFERENCES")
    referent = part.dotted()
    others = tuple(item.name() for item in part.inside().parts()) if part.is_open() else ()
    not_valid = "NOT VALID" in part.rest().upper()
    return AddConstraint(table, "foreign key", name, columns, referent, others, not_valid)


# -- rows -----------------------------------------------------------------------------------------------


def _rows(words: _Words) -> Iterator[Change]:
    """Return what a statement writes: an UPDATE or DELETE is bounded where it names its rows by value."""
    # MySQL's REPLACE is an INSERT to us, which the parser knows.
    is_replace = word_of(words.tokens[0]) == "REPLACE"
    text = f"INSERT{words.text[len('REPLACE') :]}" if is_replace else words.text
    try:
        tree = parse_statement(text, words.dialect_name)
    except (SqlglotError, RecursionError):
        yield _unknown(words)
        return
    found = list(tree.find_all(exp.Update, exp.Delete, exp.Insert, exp.Merge))
    values = tuple(item.this for item in tree.find_all(exp.Literal) if item.is_string)
    for item in found:
        table = item.this.this if isinstance(item.this, exp.Schema) else item.this
        if isinstance(table, exp.Table):
            kind: Any = type(item).__name__.casefold()
            yield WriteRows(Name(table.name, table.db or None), kind, _is_bounded(item), values)
    if not found and (not isinstance(tree, exp.Query) or _calls_unknown(tree)):
        yield _unknown(words)


def _calls_unknown(tree: exp.Expr) -> bool:
    """Return whether a query calls a function of which it is not known that it changes nothing."""
    return any(node.name.casefold() not in _HARMLESS for node in tree.find_all(exp.Anonymous))


def _is_bounded(item: exp.Expr) -> bool:
    if isinstance(item, exp.Insert):
        return isinstance(item.expression, exp.Values) or item.expression is None or _has_limit(item)
    if isinstance(item, exp.Merge):
        return False
    where = item.args.get("where")
    return _has_limit(item) or (where is not None and _names_rows(where.this))


def _has_limit(item: exp.Expr) -> bool:
    return item.find(exp.Limit) is not None or item.find(exp.Fetch) is not None


def _names_rows(condition: Any) -> bool:
    """Return whether a condition holds for few rows: a key that has given values, or a range with two ends."""
    if isinstance(condition, exp.Paren):
        return _names_rows(condition.this)
    if isinstance(condition, exp.And):
        return any(_names_rows(item) for item in (condition.left, condition.right)) or _is_range(condition)
    if isinstance(condition, exp.Between):
        return _is_key(condition.this)
    if isinstance(condition, exp.In):
        return _is_key(condition.this) and bool(condition.expressions)
    return isinstance(condition, exp.EQ) and _is_key(condition.this) and _is_value(condition.expression)


def _is_range(condition: exp.And) -> bool:
    ends = [node for node in condition.flatten() if isinstance(node, (exp.GT, exp.GTE, exp.LT, exp.LTE))]
    has_begin = any(isinstance(node, (exp.GT, exp.GTE)) and _is_key(node.this) for node in ends)
    return has_begin and any(isinstance(node, (exp.LT, exp.LTE)) and _is_key(node.this) for node in ends)


def _is_key(node: Any) -> bool:
    """Return whether a column looks like one that names rows."""
    name = node.name.casefold() if isinstance(node, exp.Column) else ""
    return name in ("id", "uuid", "key", "code", "slug") or name.endswith(("_id", "_uuid", "_key"))


def _is_value(node: Any) -> bool:
    if isinstance(node, (exp.Cast, exp.Paren)):
        return _is_value(node.this)
    return isinstance(node, (exp.Literal, exp.Placeholder, exp.Parameter, exp.Neg, exp.Null))


_STATEMENTS: Mapping[tuple[str, ...], Callable[[_Words], Any]] = {
    **{("CREATE", *word, "TABLE"): _create_table for word in ((), ("UNLOGGED",), ("FOREIGN",))},
    **{("CREATE", *word, "TABLE"): _nothing for word in (("TEMP",), ("TEMPORARY",))},
    ("CREATE", "UNIQUE", "INDEX"): _unique_index,
    ("CREATE", "FULLTEXT", "INDEX"): _fulltext_index,
    ("CREATE", "SPATIAL", "INDEX"): _spatial_index,
    ("CREATE", "INDEX"): _create_index,
    **{("CREATE", word): _nothing for word in ("TYPE", "SEQUENCE", "SCHEMA", "EXTENSION", "DOMAIN", "ROLE", "USER")},
    **{
        ("CREATE", *more, word): _nothing
        for more in ((), ("OR", "REPLACE"))
        for word in ("FUNCTION", "PROCEDURE", "TRIGGER")
    },
    ("CREATE", "VIEW"): lambda words: _create_view(_behind(words, -1)),
    ("CREATE", "OR", "REPLACE", "VIEW"): lambda words: _create_view(_behind(words, -1)),
    ("CREATE", "MATERIALIZED", "VIEW"): _nothing,
    ("DROP", "TABLE"): _drop_table,
    ("DROP", "INDEX"): _drop_index,
    ("DROP", "SCHEMA"): _container,
    ("DROP", "DATABASE"): _container,
    **{("DROP", word): _nothing for word in ("TYPE", "SEQUENCE", "VIEW", "FUNCTION", "TRIGGER", "PROCEDURE", "DOMAIN")},
    ("ALTER", "TABLE"): _alter_table,
    ("ALTER", "ONLINE"): _alter_table,
    ("ALTER", "IGNORE"): _alter_table,
    ("ALTER", "TYPE"): _alter_type,
    ("ALTER", "DOMAIN"): _alter_domain,
    ("ALTER", "SCHEMA"): _alter_schema,
    **{("ALTER", word): _nothing for word in ("SEQUENCE", "INDEX", "ROLE", "USER", "EXTENSION", "DEFAULT")},
    ("RENAME", "TABLE"): _rename_table,
    ("TRUNCATE",): _truncate,
    ("VACUUM",): _vacuum,
    ("CLUSTER",): _cluster,
    ("REINDEX",): _reindex,
    ("SET",): _set,
    **{(word,): _nothing for word in ("RESET", "PRAGMA", "USE", "SHOW", "COMMENT", "GRANT", "REVOKE", "ANALYZE")},
    **{(word,): _nothing for word in ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "UNLOCK")},
    **{(word,): _rows for word in ("SELECT", "UPDATE", "DELETE", "INSERT", "MERGE", "WITH", "REPLACE")},
}


def _behind(words: _Words, places: int) -> _Words:
    words.at += places
    return words
