"""What an operation or a statement does to a database, in the words that the rules speak: one value for each change.

Operations and raw SQL come to the same values, so that a rule is written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

DefaultKind = Literal["none", "null", "constant", "stable", "volatile", "unknown"]
ConstraintKind = Literal["unique", "primary key", "foreign key", "check", "exclude", "unknown"]


_BY_DEFAULT = ("", "public", "main", "dbo")
"""No schema, and those that engines take where none is named."""

Options = tuple[tuple[str, str], ...]
"""Arguments of an operation, by name, as Python has them."""


@dataclass(frozen=True)
class Name:
    """A table's name, as written."""

    table: str
    schema: str | None = None

    @property
    def key(self) -> str:
        """What tables are told apart by: schema and name; a schema that engines have by default is none."""
        schema = (self.schema or "").casefold()
        return self.table.casefold() if schema in _BY_DEFAULT else f"{schema}.{self.table.casefold()}"

    def __str__(self) -> str:
        return self.table if self.schema is None else f"{self.schema}.{self.table}"


@dataclass(frozen=True)
class Default:
    """A server default: its text, and whether the server works it out once or for each row."""

    kind: DefaultKind = "none"
    text: str = ""

    @property
    def fills(self) -> bool:
        """Whether rows that do not name the column get a value."""
        return self.kind not in ("none", "null")


NO_DEFAULT = Default()


@dataclass(frozen=True)
class Column:
    """What is known of a column; ``type_`` is the engine's name of its type, "" where it is not known.

    ``nullable`` and ``default`` are None where nobody said.
    """

    name: str
    type_: str = ""
    nullable: bool | None = True
    default: Default | None = NO_DEFAULT
    numbers_itself: bool = False
    generated: Literal["", "stored", "virtual"] = ""
    has_python_default: bool = False
    is_key: bool = False
    is_serial: bool = False

    @property
    def must_be_given(self) -> bool:
        """Whether an INSERT that does not name the column fails; False where that is not known."""
        filled = self.default is None or self.default.fills or self.numbers_itself or bool(self.generated)
        return self.nullable is False and not filled


@dataclass(frozen=True)
class Change:
    """One change to ``table``."""

    table: Name


@dataclass(frozen=True)
class CreateTable(Change):
    """A new table; one that ``is_private`` is a session's own, or a copy that no code knows."""

    columns: tuple[Column, ...] = ()
    keys: tuple[AddConstraint, ...] = ()
    is_conditional: bool = False
    is_private: bool = False


@dataclass(frozen=True)
class DropTable(Change):
    """A table dropped."""


@dataclass(frozen=True)
class RenameTable(Change):
    """A table renamed."""

    new: Name


@dataclass(frozen=True)
class CreateView(Change):
    """A view made, of the name ``table``."""

    is_materialized: bool = False


@dataclass(frozen=True)
class DropView(Change):
    """A view dropped, of the name ``table``."""


@dataclass(frozen=True)
class RefreshView(Change):
    """A materialized view worked out anew."""

    concurrently: bool = False


@dataclass(frozen=True)
class TakeLock(Change):
    """A lock of PostgreSQL on a table, kept until the transaction ends: ``is_asked`` by LOCK TABLE, or part of
    something that no rule is about."""

    lock: str
    is_asked: bool = False


@dataclass(frozen=True)
class AddColumn(Change):
    """A new column; ``position`` where it is not the last one."""

    column: Column
    position: str = ""


@dataclass(frozen=True)
class DropColumn(Change):
    """A column dropped."""

    column: str


@dataclass(frozen=True)
class RenameColumn(Change):
    """A column renamed."""

    column: str
    new: str


@dataclass(frozen=True)
class ChangeType(Change):
    """Another type; ``old`` is "" where it is not known."""

    column: str
    old: str
    new: str
    using: str = ""


@dataclass(frozen=True)
class SetNotNull(Change):
    """NOT NULL on a column that there is."""

    column: str
    type_: str = ""


@dataclass(frozen=True)
class DropNotNull(Change):
    """A column that may be NULL from now on."""

    column: str
    type_: str = ""


@dataclass(frozen=True)
class SetDefault(Change):
    """Another server default, or none; ``old`` is what it was, None where nobody said."""

    column: str
    default: Default
    nullable: bool | None = None
    old: Default | None = None


@dataclass(frozen=True)
class ChangeOfColumn(Change):
    """A column written anew as a whole (``MODIFY``, ``CHANGE``): what of it is new, the statement does not say."""

    column: str
    to: Column


@dataclass(frozen=True)
class CreateIndex(Change):
    """An index built: on ``columns``, as far as they are plain ones, and ``elements``, all that it has, as SQL."""

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    concurrently: bool = False
    if_not_exists: bool = False
    kind: str = ""
    where: str = ""
    elements: tuple[str, ...] = ()
    options: Options = ()


@dataclass(frozen=True)
class DropIndex(Change):
    """An index dropped; PostgreSQL does not want its table's name, which is "" then."""

    name: str
    concurrently: bool = False


@dataclass(frozen=True)
class AddConstraint(Change):
    """A constraint; ``referent`` is the table of a foreign key, ``text`` the condition of a CHECK. One that is
    ``inline`` is part of the statement that adds its column."""

    kind: ConstraintKind
    name: str = ""
    columns: tuple[str, ...] = ()
    referent: Name | None = None
    referent_columns: tuple[str, ...] = ()
    not_valid: bool = False
    using_index: str = ""
    text: str = ""
    of_new_column: bool = False
    inline: bool = False
    options: Options = ()


@dataclass(frozen=True)
class ValidateConstraint(Change):
    """A constraint checked against the rows that there are."""

    name: str


@dataclass(frozen=True)
class DropConstraint(Change):
    """A constraint dropped."""

    name: str
    kind: ConstraintKind = "unknown"


@dataclass(frozen=True)
class CopyTable(Change):
    """The table copied into a new one that takes its name: a batch that recreates it."""


@dataclass(frozen=True)
class TableOption(Change):
    """Something of the table as a whole; ``words`` as written."""

    words: str
    kind: Literal["charset", "engine", "partition", "tablespace", "rewrite", "other"] = "other"


@dataclass(frozen=True)
class AttachPartition(Change):
    """A table made a partition; one that ``is_new`` is made as such. ``bounds`` is which rows it has, as written."""

    partition: Name
    is_new: bool = False
    bounds: str = ""


@dataclass(frozen=True)
class DetachPartition(Change):
    """A partition made a table."""

    partition: Name
    concurrently: bool = False


@dataclass(frozen=True)
class WriteRows(Change):
    """Rows changed; ``is_bounded`` where the statement says which few. ``reads`` are other tables that it reads."""

    kind: Literal["update", "delete", "insert", "merge"]
    is_bounded: bool
    values: tuple[str, ...] = ()
    reads: tuple[Name, ...] = ()


@dataclass(frozen=True)
class Truncate(Change):
    """All rows thrown away."""

    cascade: bool = False


@dataclass(frozen=True)
class Maintain(Change):
    """VACUUM FULL, CLUSTER, REINDEX: ``word`` is which."""

    word: str
    concurrently: bool = False


@dataclass(frozen=True)
class Vacuum(Change):
    """VACUUM, which no transaction can have inside."""


@dataclass(frozen=True)
class AddEnumValue(Change):
    """A value added to the enum type that ``table`` names."""

    value: str
    is_placed: bool = False
    is_conditional: bool = False


@dataclass(frozen=True)
class RenameEnumValue(Change):
    """A value renamed of the enum type that ``table`` names."""

    value: str
    new: str


@dataclass(frozen=True)
class ConstrainDomain(Change):
    """A constraint added to the domain that ``table`` names."""

    not_valid: bool = False


@dataclass(frozen=True)
class DropContainer(Change):
    """A schema or database dropped or renamed; ``table`` names it."""

    words: str


@dataclass(frozen=True)
class SetSetting(Change):
    """A setting of the session or transaction; ``table`` names it."""

    value: str


@dataclass(frozen=True)
class RunProgram(Change):
    """A program run; ``table`` is its path."""


@dataclass(frozen=True)
class Opaque(Change):
    """Something of which it cannot be told what it does; ``table`` is nothing."""

    reason: str


@dataclass(frozen=True)
class ReadsDatabase(Change):
    """The body asks the database; it was not looked at any further."""


@dataclass(frozen=True)
class Clauses:
    """What a statement of MySQL or MariaDB asks of the server: it is refused where that cannot be done."""

    algorithm: str = ""
    lock: str = ""

    @property
    def keeps_writes_going(self) -> bool:
        """Whether the server refuses the statement rather than keep others from writing."""
        return self.algorithm in ("INSTANT", "NOCOPY") or self.lock == "NONE"


@dataclass(frozen=True)
class Statement:
    """What one operation or SQL statement comes to; ``is_conditional`` where it says IF EXISTS or IF NOT EXISTS."""

    changes: tuple[Change, ...]
    clauses: Clauses = field(default_factory=Clauses)
    is_conditional: bool = False


NOWHERE = Name("")


def names_of(columns: Sequence[object]) -> tuple[str, ...]:
    """Return the names of columns that are given as names or as columns; an expression is left out."""
    found = (item if isinstance(item, str) else getattr(item, "name", None) for item in columns)
    return tuple(str(name) for name in found if isinstance(name, str))
