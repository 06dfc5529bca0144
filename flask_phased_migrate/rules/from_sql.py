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
    DropView,
    Maintain,
    Name,
    Opaque,
    Options,
    RefreshView,
    RenameColumn,
    RenameEnumValue,
    RenameTable,
    SetDefault,
    SetNotNull,
    SetSetting,
    Statement,
    TableOption,
    TakeLock,
    Truncate,
    Vacuum,
    ValidateConstraint,
    WriteRows,
)
from .types import upper_type

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
        found = [_read(piece, tokens, dialect.name) for piece, tokens in statements_of(text, dialect.name)]
        if dialect.name in ("mysql", "mariadb") and ("/*!" in text or "/*M!" in text):
            found.append(Statement((Opaque(NOWHERE, "a comment that the server carries out"),)))
        return tuple(found)
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

    def inside(self) -> _Words:
        """Return what the parentheses hold that come next, and go on behind them."""
        begin = self.at + 1
        self.skip_item()
        return _Words(self.tokens[begin : self.at - 1], self.text, self.dialect_name)

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
    if token.token_type is not TokenType.IDENTIFIER or (token.text.isidentifier() and token.text.islower()):
        return token.text
    mark = "`" if dialect_name in ("mysql", "mariadb") else '"'
    return f"{mark}{token.text.replace(mark, mark * 2)}{mark}"


# -- statements -----------------------------------------------------------------------------------------


def _read(text: str, tokens: Sequence[Token], dialect_name: str) -> Statement:
    words = _Words([word for token in tokens for word in _split(token)], text, dialect_name)
    _skip_definer(words)
    for start, read in _STATEMENTS.items():
        if words.take(*start):
            found = read(words)
            statement = found if isinstance(found, Statement) else Statement(tuple(found))
            return replace(statement, is_conditional=_is_conditional(words))
    return Statement((_unknown(words),))


_TWO_WORDS = ("PRIMARY KEY", "FOREIGN KEY", "LOCK TABLES", "UNLOCK TABLES")


def _is_conditional(words: _Words) -> bool:
    pairs = zip(words.tokens, words.tokens[1:], strict=False)
    return any(word_of(one) == "IF" and word_of(two) in ("EXISTS", "NOT") for one, two in pairs)


def _split(token: Token) -> Iterator[Token]:
    """Yield the two words of PRIMARY KEY and the like, which the tokenizer takes for one."""
    words = token.text.split() if word_of(token) in _TWO_WORDS else ()
    yield from (Token(TokenType.VAR, word) for word in words)
    if not words:
        yield token


def _skip_definer(words: _Words) -> None:
    """Take out of a CREATE what MySQL has before the kind of a view or routine: whose it is, how it works."""
    if words.word() != "CREATE":
        return
    place = 3 if words.word(1) == "OR" else 1
    begin = place
    while words.word(place) in ("DEFINER", "ALGORITHM", "SQL", "RECURSIVE"):
        place += 1
        while place < len(words.tokens) and words.word(place) not in _BEHIND_DEFINER:
            place += 1
    del words.tokens[begin:place]


_BEHIND_DEFINER = ("VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "SQL", "DEFINER", "AGGREGATE")


def _unknown(words: _Words) -> Opaque:
    line = " ".join(words.text.split())
    return Opaque(NOWHERE, f"SQL that the linter does not know: {line if len(line) < 61 else f'{line[:57]}...'}")


def _skip_conditions(words: _Words) -> bool:
    """Go on behind IF [NOT] EXISTS and ONLY; return whether there was an IF."""
    conditional = words.take("IF", "NOT", "EXISTS") or words.take("IF", "EXISTS")
    words.take("ONLY")
    return conditional


def _create_table(words: _Words, *, is_private: bool = False) -> Iterator[Change]:
    conditional = _skip_conditions(words)
    name = words.dotted()
    if not words.is_open():
        is_partition = words.take("PARTITION", "OF")
        # A copy of rows, or of what a table is like, is made by hand: no model has it.
        yield CreateTable(name, is_conditional=conditional, is_private=is_private or not is_partition)
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
    yield CreateTable(name, tuple(columns), tuple(keys), conditional, is_private)


def _own_table(words: _Words) -> Iterator[Change]:
    """Return the table of one session, which nobody else sees."""
    words.take("TABLE")
    return _create_table(words, is_private=True)


def _replaced_table(words: _Words) -> Iterator[Change]:
    """Return what CREATE OR REPLACE TABLE of MariaDB does: the table that is there is dropped."""
    at = words.at
    yield DropTable(words.dotted())
    words.at = at
    yield from _create_table(words)


def _replaced_index(words: _Words) -> Any:
    unique = words.take("UNIQUE")
    words.take("INDEX")
    return _create_index(words, unique=unique)


def _create_index(words: _Words, *, unique: bool = False, kind: str = "") -> Iterator[Change] | Statement:
    concurrently = words.take("CONCURRENTLY")
    conditional = _skip_conditions(words)
    name = "" if words.word() == "ON" else words.dotted().table
    words.until("ON")
    if not words.take("ON"):
        return Statement((_unknown(words),))
    words.take("ONLY")
    table = words.dotted()
    using = words.name() if words.take("USING") else ""
    columns, elements = _elements(words)
    options = _index_options(words, using)
    words.until("WHERE", "ALGORITHM", "LOCK")
    where = words.until("ALGORITHM", "LOCK") if words.take("WHERE") else ""
    change = CreateIndex(
        table, name, columns, unique, concurrently, conditional, kind, where, elements, options
    )  # fmt: skip
    return Statement((change,), _clauses(words))


def _elements(words: _Words) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of an index that are plain ones, and all that it has, as SQL."""
    parts = list(words.inside().parts()) if words.is_open() else []
    elements = tuple(part.tokens[0].text if len(part.tokens) == 1 else part.all() for part in parts)
    return tuple(filter(None, map(_index_column, parts))), elements


def _index_options(words: _Words, using: str) -> Options:
    """Return what PostgreSQL has behind the columns of an index, as arguments of an operation."""
    found = {"postgresql_using": repr(using)} if using and words.dialect_name == "postgresql" else {}
    while not words.is_over and words.word() not in ("WHERE", "ALGORITHM", "LOCK"):
        if words.take("INCLUDE"):
            found["postgresql_include"] = repr([part.name() for part in words.inside().parts()])
        elif words.take("NULLS", "NOT", "DISTINCT"):
            found["postgresql_nulls_not_distinct"] = "True"
        elif words.take("TABLESPACE"):
            found["postgresql_tablespace"] = repr(words.name())
        elif words.take("WITH"):
            found["postgresql_with"] = repr(dict(_setting(part) for part in words.inside().parts()))
        else:
            words.skip_item()
    return tuple(found.items())


def _setting(part: _Words) -> tuple[str, str]:
    name = part.name()
    part.take("=")
    return name, part.rest()


def _index_column(part: _Words) -> str:
    """Return the column that an element of an index is about, "" for an expression; MySQL may have a length."""
    is_name = len(part.tokens) == 1 or part.word(1) in ("ASC", "DESC", "COLLATE", "NULLS")
    has_length = len(part.tokens) == 4 and part.tokens[2].token_type is TokenType.NUMBER
    has_class = len(part.tokens) == 2 and part.dialect_name == "postgresql"
    return part.name() if (is_name or has_length or has_class) and not part.is_open() else ""


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
    _skip_conditions(words)
    yield CreateView(words.dotted())


def _create_materialized(words: _Words) -> Iterator[Change]:
    _skip_conditions(words)
    yield CreateView(words.dotted(), is_materialized=True)


def _drop_view(words: _Words) -> Iterator[Change]:
    _skip_conditions(words)
    for part in words.parts():
        yield DropView(part.dotted())


def _refresh(words: _Words) -> Iterator[Change]:
    words.take("MATERIALIZED", "VIEW")
    concurrently = words.take("CONCURRENTLY")
    yield RefreshView(words.dotted(), concurrently)


def _alter_view(words: _Words) -> Iterator[Change]:
    words.take("VIEW")
    _skip_conditions(words)
    name = words.dotted()
    if words.take("RENAME", "TO"):
        yield RenameTable(name, Name(words.name(), name.schema))


def _trigger(words: _Words) -> Iterator[Change]:
    """Return the lock that a trigger takes; what its body does is done by whoever writes."""
    words.until("ON")
    if words.take("ON"):
        yield TakeLock(words.dotted(), "SHARE ROW EXCLUSIVE")


def _drop_on_table(words: _Words) -> Iterator[Change]:
    words.until("ON")
    if words.take("ON"):
        yield TakeLock(words.dotted(), "ACCESS EXCLUSIVE")


def _lock(words: _Words) -> Iterator[Change]:
    words.take("TABLE")
    words.take("ONLY")
    is_mysql = words.dialect_name != "postgresql"
    text = " ".join(words.rest().upper().split())
    mode = text.rpartition(" IN ")[2].removesuffix(" NOWAIT").removesuffix(" MODE") if " IN " in text else ""
    for part in words.parts():
        name = part.dotted()
        default = ("SHARE" if "READ" in part.rest().upper() else "ACCESS EXCLUSIVE") if is_mysql else "ACCESS EXCLUSIVE"
        yield TakeLock(name, mode or default, is_asked=True)


def _copy_rows(words: _Words) -> Iterator[Change]:
    if words.is_open():
        return
    name = words.dotted()
    words.until("FROM", "TO")
    if words.word() == "FROM":
        yield WriteRows(name, "insert", is_bounded=False)


def _load_rows(words: _Words) -> Iterator[Change]:
    words.until("INTO")
    words.take("INTO", "TABLE")
    yield WriteRows(words.dotted(), "insert", is_bounded=False)


def _table_upkeep(words: _Words) -> Iterator[Change]:
    for word in ("NO_WRITE_TO_BINLOG", "LOCAL", "TABLE", "TABLES"):
        words.take(word)
    for part in words.parts():
        yield TableOption(part.dotted(), "OPTIMIZE", "engine")


def _explain(words: _Words) -> Any:
    return iter(()) if words.word() != "ANALYZE" and not words.is_open() else Statement((_unknown(words),))


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
        conditional = _skip_conditions(words)
        yield AddEnumValue(name, words.name(), words.word() in ("BEFORE", "AFTER"), conditional)
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
    if words.is_open():
        words.skip_item()
    while words.word() in ("FULL", "FREEZE", "VERBOSE", "ANALYZE"):
        words.at += 1
    table = NOWHERE if words.is_over or words.word() == "INTO" else words.dotted()
    yield Vacuum(table)
    if "FULL" in text:
        yield Maintain(table, "VACUUM FULL")


def _cluster(words: _Words) -> Iterator[Change]:
    words.take("VERBOSE")
    yield Maintain(NOWHERE if words.is_over else words.dotted(), "CLUSTER")


def _reindex(words: _Words) -> Iterator[Change]:
    if words.dialect_name != "postgresql":
        return
    concurrently = words.is_open() and any(word_of(token) == "CONCURRENTLY" for token in words.inside().tokens)
    kind = words.name()
    concurrently = words.take("CONCURRENTLY") or concurrently
    yield Maintain(NOWHERE if words.is_over else words.dotted(), f"REINDEX {kind.upper()}", concurrently)


def _set(words: _Words) -> Iterator[Change]:
    if words.take("STATEMENT"):
        words.until("FOR")
        words.take("FOR")
        rest = words.tokens[words.at :]
        offset = words.tokens[0].start
        yield from _read(words.text[rest[0].start - offset :] if rest else "", rest, words.dialect_name).changes
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
    if words.take("WAIT"):
        words.name()
    words.take("NOWAIT")
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
    words = part.text_of()
    upper = words.upper()
    if upper.startswith(("CONVERT TO CHAR", "ADD SYSTEM VERSIONING", "DROP SYSTEM VERSIONING", "ORDER BY")):
        return [TableOption(table, words, "charset")]
    if part.word() in ("CHARACTER", "CHARSET", "COLLATE", "DEFAULT"):
        # What columns that are made later on will have.
        return []
    if part.word() in ("ENGINE", "ROW_FORMAT", "KEY_BLOCK_SIZE", "FORCE"):
        return [TableOption(table, words, "engine")]
    if upper.startswith("TRUNCATE PARTITION"):
        return [Truncate(table)]
    if upper.startswith("EXCHANGE PARTITION"):
        return []
    if "PARTITION" in upper.split()[:2] or part.word() in ("PARTITION", "COALESCE", "REORGANIZE", "REMOVE"):
        return [TableOption(table, words, "partition")]
    if upper.startswith("SET TABLESPACE"):
        return [TableOption(table, words, "tablespace")]
    if upper.startswith(("SET LOGGED", "SET UNLOGGED", "SET ACCESS METHOD")):
        return [TableOption(table, words, "rewrite")]
    if part.take("SET", "SCHEMA"):
        return [RenameTable(table, Name(table.table, part.name()))]
    if part.word() in ("ENABLE", "DISABLE", "OWNER", "REPLICA", "NO"):
        is_trigger = "TRIGGER" in upper.split()[1:3]
        return [TakeLock(table, "SHARE ROW EXCLUSIVE" if is_trigger else "ACCESS EXCLUSIVE")]
    if part.word() in ("COMMENT", "AUTO_INCREMENT", "SET", "RESET", "CLUSTER"):
        return []
    return [Opaque(table, f"a change that the linter does not know: {words}")]


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
    columns, elements = _elements(part)
    yield CreateIndex(table, name, columns, if_not_exists=conditional, kind=kind, elements=elements)


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
        yield Truncate(table)
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
        yield ChangeType(table, name, "", upper_type(new), part.until() if part.take("USING") else "")
    else:
        is_weak = part.word() == "SET" and part.word(1) in ("STATISTICS", "")
        yield TakeLock(table, "SHARE UPDATE EXCLUSIVE" if is_weak else "ACCESS EXCLUSIVE")


def _rename(part: _Words, table: Name) -> Iterator[Change]:
    if part.take("TO") or part.take("AS") or (part.at + 1 == len(part.tokens) and not part.is_over):
        new = part.dotted()
        yield RenameTable(table, Name(new.table, new.schema or table.schema))
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


def _new_partition(part: _Words, table: Name) -> Change:
    """Return what ADD PARTITION does: by RANGE and LIST an empty one is made, else rows go from one to another."""
    words = part.text_of()
    return TableOption(table, words, "other" if "VALUES" in words.upper() else "partition")


_ACTIONS: Mapping[tuple[str, ...], Callable[[_Words, Name], Iterator[Change]]] = {
    ("ADD", "PARTITION"): lambda part, table: iter([_new_partition(part, table)]),
    ("ADD", "SYSTEM", "VERSIONING"): lambda part, table: iter([TableOption(table, part.text_of(), "charset")]),
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
    type_ = upper_type(part.until(*_AFTER_TYPE))
    column = Column(name, type_, numbers_itself=type_ in _SERIAL, is_serial=type_ in _SERIAL)
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
        keys.append(AddConstraint(table, "check", "", text=part.inside().all()))
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
    if word == "NOT":
        return part.word(1) == "NULL"
    return word in ("CONSTRAINT", "UNIQUE", "CHECK", "EXCLUDE")


def _read_constraint(part: _Words, table: Name) -> Change:
    name = ""
    if part.take("CONSTRAINT"):
        _skip_conditions(part)
        name = "" if _constraint_follows(part) else part.name()
    if part.take("FOREIGN", "KEY"):
        return _read_foreign_key(part, table, name)
    if part.take("NOT", "NULL"):
        # PostgreSQL 18 has NOT NULL as a constraint, which is checked like any other.
        text = f"{part.name()} IS NOT NULL"
        return AddConstraint(table, "check", name, text=text, not_valid="NOT VALID" in part.rest().upper())
    if part.take("CHECK"):
        text = part.inside().all()
        return AddConstraint(table, "check", name, text=text, not_valid="NOT VALID" in part.rest().upper())
    if part.take("EXCLUDE"):
        return AddConstraint(table, "exclude", name)
    kind: Any = "primary key" if part.take("PRIMARY", "KEY") else "unique" if part.take("UNIQUE") else "unknown"
    if part.take("USING", "INDEX"):
        return AddConstraint(table, kind, name, using_index=part.name())
    while not part.is_over and not part.is_open():
        name = name or ("" if part.word() in _BEFORE_COLUMNS else part.tokens[part.at].text)
        part.at += 1
    columns = tuple(filter(None, map(_index_column, part.inside().parts()))) if part.is_open() else ()
    return AddConstraint(table, kind, name, columns)


_BEFORE_COLUMNS = ("INDEX", "KEY", "NULLS", "NOT", "DISTINCT", "IF", "EXISTS", "USING", "BTREE", "HASH")


def _read_foreign_key(part: _Words, table: Name, name: str) -> AddConstraint:
    while not part.is_over and not part.is_open():
        name = name or part.tokens[part.at].text
        part.at += 1
    columns = tuple(item.name() for item in part.inside().parts()) if part.is_open() else ()
    part.until("REFERENCES")
    part.take("REFERENCES")
    referent = part.dotted()
    others = tuple(item.name() for item in part.inside().parts()) if part.is_open() else ()
    rest = part.rest().upper()
    options = _key_options(rest)
    return AddConstraint(table, "foreign key", name, columns, referent, others, "NOT VALID" in rest, options=options)


_KEY_ACTIONS = ("CASCADE", "RESTRICT", "SET NULL", "SET DEFAULT", "NO ACTION")


def _key_options(text: str) -> Options:
    """Return what a foreign key has behind its columns, as arguments of an operation."""
    found = {
        name: repr(action)
        for name, word in (("ondelete", "ON DELETE"), ("onupdate", "ON UPDATE"))
        for action in _KEY_ACTIONS
        if f"{word} {action}" in text
    }
    if "DEFERRABLE" in text and "NOT DEFERRABLE" not in text:
        found["deferrable"] = "True"
    if "INITIALLY DEFERRED" in text:
        found["initially"] = repr("DEFERRED")
    return tuple(found.items())


# -- rows -----------------------------------------------------------------------------------------------


def _rows(words: _Words) -> Iterator[Change]:
    """Return what a statement writes: an UPDATE or DELETE is bounded where it names its rows by value."""
    text = _plain_write(words)
    try:
        tree = parse_statement(text, words.dialect_name)
    except (SqlglotError, RecursionError):
        yield _unknown(words)
        return
    into = tree.args.get("into")
    if into is not None and isinstance(into.this, exp.Table):
        # SELECT ... INTO: on MySQL a variable or a file, which are no tables.
        yield CreateTable(Name(into.this.name, into.this.db or None), is_private=True)
    found = list(tree.find_all(exp.Update, exp.Delete, exp.Insert, exp.Merge))
    values = tuple(item.this for item in tree.find_all(exp.Literal) if item.is_string)
    for item in found:
        table = item.this.this if isinstance(item.this, exp.Schema) else item.this
        if isinstance(table, exp.Table):
            kind: Any = type(item).__name__.casefold()
            # All tables that it names: those that it only reads too.
            read = tuple(Name(other.name, other.db or None) for other in item.find_all(exp.Table) if other is not table)
            yield WriteRows(Name(table.name, table.db or None), kind, _is_bounded(item), values, read)
    if not found and (not isinstance(tree, exp.Query) or _calls_unknown(tree)):
        yield _unknown(words)


def _plain_write(words: _Words) -> str:
    """Return a statement as the parser knows it: REPLACE of MySQL as INSERT, UPDATE OR ... of SQLite as UPDATE."""
    if word_of(words.tokens[0]) == "REPLACE":
        return f"INSERT{words.text[len('REPLACE') :]}"
    if word_of(words.tokens[0]) == "UPDATE" and words.word(1 - words.at) == "OR":
        return f"UPDATE {words.text[words.tokens[3].start - words.tokens[0].start :]}"
    return words.text


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


_OF_NO_TABLE = (
    *("TYPE", "SEQUENCE", "SCHEMA", "EXTENSION", "DOMAIN", "ROLE", "USER", "STATISTICS", "PUBLICATION", "AGGREGATE"),
    *("COLLATION", "CAST", "OPERATOR", "EVENT", "SERVER", "LANGUAGE", "TEXT"),
)
_STATEMENTS: Mapping[tuple[str, ...], Callable[[_Words], Any]] = {
    **{("CREATE", *word, "TABLE"): _create_table for word in ((), ("UNLOGGED",), ("FOREIGN",), ("VIRTUAL",))},
    **{("CREATE", *word, "TABLE"): _own_table for word in (("TEMP",), ("TEMPORARY",), ("LOCAL", "TEMPORARY"))},
    ("CREATE", "OR", "REPLACE", "TEMPORARY"): _own_table,
    ("CREATE", "OR", "REPLACE", "TABLE"): _replaced_table,
    ("CREATE", "OR", "REPLACE", "UNIQUE"): lambda words: _replaced_index(_behind(words, -1)),
    ("CREATE", "OR", "REPLACE", "INDEX"): _replaced_index,
    ("CREATE", "UNIQUE", "INDEX"): _unique_index,
    ("CREATE", "FULLTEXT", "INDEX"): _fulltext_index,
    ("CREATE", "SPATIAL", "INDEX"): _spatial_index,
    ("CREATE", "INDEX"): _create_index,
    **{("CREATE", word): _nothing for word in _OF_NO_TABLE},
    **{("CREATE", *more, word): _nothing for more in ((), ("OR", "REPLACE")) for word in ("FUNCTION", "PROCEDURE")},
    **{("CREATE", *more, "TRIGGER"): _trigger for more in ((), ("OR", "REPLACE"), ("CONSTRAINT",))},
    ("CREATE", "POLICY"): _drop_on_table,
    ("CREATE", "RULE"): lambda words: _rule(words),
    **{
        ("CREATE", *more, *kind, "VIEW"): _create_view
        for more in ((), ("OR", "REPLACE"))
        for kind in ((), ("TEMP",), ("TEMPORARY",))
    },
    ("CREATE", "MATERIALIZED", "VIEW"): _create_materialized,
    ("REFRESH",): _refresh,
    ("DROP", "TABLE"): _drop_table,
    ("DROP", "TEMPORARY", "TABLE"): _nothing,
    ("DROP", "INDEX"): _drop_index,
    ("DROP", "SCHEMA"): _container,
    ("DROP", "DATABASE"): _container,
    ("DROP", "VIEW"): _drop_view,
    ("DROP", "MATERIALIZED", "VIEW"): _drop_view,
    **{("DROP", word): _drop_on_table for word in ("TRIGGER", "POLICY", "RULE")},
    **{("DROP", word): _nothing for word in ("TYPE", "FUNCTION", "PROCEDURE", "ROLE", "USER", "STATISTICS")},
    **{("DROP", word): _nothing for word in ("SEQUENCE", "DOMAIN", "EVENT", "AGGREGATE", "PUBLICATION")},
    ("ALTER", "TABLE"): _alter_table,
    ("ALTER", "ONLINE"): _alter_table,
    ("ALTER", "IGNORE"): _alter_table,
    ("ALTER", "TYPE"): _alter_type,
    ("ALTER", "DOMAIN"): _alter_domain,
    ("ALTER", "SCHEMA"): _alter_schema,
    ("ALTER", "VIEW"): _alter_view,
    ("ALTER", "MATERIALIZED", "VIEW"): _alter_view,
    **{("ALTER", word): _nothing for word in ("SEQUENCE", "ROLE", "USER", "EXTENSION", "DEFAULT")},
    ("ALTER", "INDEX"): lambda words: _alter_index(words),
    **{("ALTER", word): _nothing for word in ("FUNCTION", "PROCEDURE", "DATABASE", "STATISTICS", "PUBLICATION")},
    ("RENAME", "TABLE"): _rename_table,
    ("TRUNCATE",): _truncate,
    ("VACUUM",): _vacuum,
    ("CLUSTER",): _cluster,
    ("REINDEX",): _reindex,
    ("OPTIMIZE",): _table_upkeep,
    ("LOCK", "TABLES"): _lock,
    ("LOCK",): _lock,
    ("COPY",): _copy_rows,
    ("LOAD", "DATA"): _load_rows,
    ("EXPLAIN",): _explain,
    ("SET",): _set,
    ("RESET",): lambda words: iter([SetSetting(Name(words.name().casefold()), "DEFAULT")]),
    ("PRAGMA",): lambda words: _pragma(words),
    **{(word,): _nothing for word in ("USE", "SHOW", "COMMENT", "GRANT", "REVOKE", "ANALYZE")},
    **{(word,): _nothing for word in ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "UNLOCK", "END", "START")},
    **{(word,): _nothing for word in ("NOTIFY", "LISTEN", "DISCARD", "CHECKPOINT", "VALUES", "TABLE", "SECURITY")},
    **{(word,): _rows for word in ("SELECT", "UPDATE", "DELETE", "INSERT", "MERGE", "WITH", "REPLACE")},
}


def _pragma(words: _Words) -> Iterator[Change]:
    name = words.dotted().table
    value = words.inside().rest() if words.is_open() else words.rest().lstrip("= ")
    yield SetSetting(Name(name.casefold()), value)


def _alter_index(words: _Words) -> Iterator[Change]:
    if any(word_of(token) == "TABLESPACE" for token in words.tokens):
        _skip_conditions(words)
        yield TableOption(words.dotted(), "SET TABLESPACE", "tablespace")


def _rule(words: _Words) -> Iterator[Change]:
    words.until("TO")
    if words.take("TO"):
        yield TakeLock(words.dotted(), "ACCESS EXCLUSIVE")


def _behind(words: _Words, places: int) -> _Words:
    words.at += places
    return words
