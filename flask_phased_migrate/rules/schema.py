"""What is known of the tables at one place of a history: from the statements before it, and from the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass, field, replace

from .changes import (
    AddColumn,
    AddConstraint,
    Change,
    ChangeOfColumn,
    ChangeType,
    Column,
    CreateIndex,
    CreateTable,
    CreateView,
    DropColumn,
    DropConstraint,
    DropIndex,
    DropNotNull,
    DropTable,
    DropView,
    Name,
    RenameColumn,
    RenameTable,
    SetDefault,
    SetNotNull,
    ValidateConstraint,
)

ColumnKey = tuple[str, str]


@dataclass(frozen=True)
class ForeignKey:
    """The table to which a foreign key refers, by its key, and its own columns."""

    referent: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What a database says: its columns by (table, column), how many rows its tables have, which columns a validated
    CHECK keeps from being NULL, the columns of its indexes by (table, index), and its foreign keys by (table, name).
    All names in lower case; a table's is the key of its :class:`.changes.Name`."""

    columns: Mapping[ColumnKey, Column] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    never_null: frozenset[ColumnKey] = frozenset()
    indexes: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    foreign_keys: Mapping[tuple[str, str], ForeignKey] = field(default_factory=dict)


class Schema:
    """The tables as far as they are known. Changes are applied one after the other."""

    def __init__(self, facts: Facts | None = None) -> None:
        self.facts = facts or Facts()
        self.columns: dict[ColumnKey, Column] = dict(self.facts.columns)
        self.never_null: set[ColumnKey] = set(self.facts.never_null)
        self.indexes: dict[tuple[str, str], tuple[str, ...]] = dict(self.facts.indexes)
        self.foreign_keys: dict[tuple[str, str], ForeignKey] = dict(self.facts.foreign_keys)
        self.primary_keys: dict[str, tuple[str, ...]] = {}
        self.new_tables: set[str] = set()
        self.new_columns: set[ColumnKey] = set()
        self.relaxed: set[ColumnKey] = set()
        self._checks: dict[tuple[str, str], ColumnKey] = {}

    def copy(self) -> Schema:
        """Return the same, to be changed by itself."""
        other = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (dict, set)):
                setattr(other, name, copy(value))
        return other

    def forget_new(self) -> None:
        """Take everything for old from now on: what comes next is run at another time."""
        self.new_tables.clear()
        self.new_columns.clear()

    def column(self, table: Name, column: str) -> Column | None:
        """Return what is known of a column, None if nothing is."""
        return self.columns.get((table.key, column.casefold()))

    def is_new_table(self, table: Name) -> bool:
        """Return whether the table is made in the same plan."""
        return table.key in self.new_tables

    def is_new_column(self, table: Name, column: str) -> bool:
        """Return whether the column is made in the same plan."""
        return self.is_new_table(table) or (table.key, column.casefold()) in self.new_columns

    def is_never_null(self, table: Name, column: str) -> bool:
        """Return whether a validated CHECK keeps the column from being NULL."""
        return (table.key, column.casefold()) in self.never_null

    def is_indexed(self, table: Name, columns: Collection[str]) -> bool:
        """Return whether an index is known that begins with these columns, in any order."""
        wanted = {name.casefold() for name in columns}
        found = [names for (key, _), names in self.indexes.items() if key == table.key]
        found += [names for key, names in self.primary_keys.items() if key == table.key]
        return any({name.casefold() for name in names[: len(wanted)]} == wanted for names in found)

    def index(self, change: DropIndex) -> tuple[str, tuple[str, ...]] | None:
        """Return the table, by its key, and the columns of an index that is dropped, None where it is not known."""
        name = change.name.casefold()
        if change.table.table:
            own = self.indexes.get((change.table.key, name))
            return None if own is None else (change.table.key, own)
        schema = change.table.key.rpartition(".")[0]
        for (table, other), columns in self.indexes.items():
            if other == name and table.rpartition(".")[0] == schema:
                return table, columns
        return None

    def serves(self, table: str, columns: Collection[str], *, besides: str) -> bool:
        """Return whether another index than ``besides`` begins with these columns, in this order."""
        wanted = tuple(name.casefold() for name in columns)
        found = [names for (key, name), names in self.indexes.items() if key == table and name != besides.casefold()]
        found += [names for key, names in self.primary_keys.items() if key == table]
        return any(tuple(name.casefold() for name in names[: len(wanted)]) == wanted for names in found)

    def referents(self, table: Name) -> dict[str, str]:
        """Return the other tables to which foreign keys of a table refer, by their keys, and one such key of each."""
        return {
            key.referent: name
            for (owner, name), key in sorted(self.foreign_keys.items(), reverse=True)
            if owner == table.key != key.referent
        }

    def apply(self, change: Change) -> None:
        """Take over what a change does."""
        table = change.table.key
        if isinstance(change, CreateTable):
            self._create(change)
        elif isinstance(change, DropTable):
            self._forget_table(table)
        elif isinstance(change, RenameTable):
            self._rename_table(table, change.new.key)
        elif isinstance(change, AddColumn):
            self.columns[(table, change.column.name.casefold())] = change.column
            self.new_columns.add((table, change.column.name.casefold()))
        elif isinstance(change, DropColumn):
            self._forget_column((table, change.column.casefold()))
        elif isinstance(change, RenameColumn):
            self._rename_column(table, change)
        elif isinstance(change, CreateView):
            self.new_tables.add(table)
        elif isinstance(change, DropView):
            self.new_tables.discard(table)
        elif isinstance(change, CreateIndex):
            self.indexes[(table, change.name.casefold() or ",".join(change.columns))] = change.columns
        elif isinstance(change, DropIndex):
            known = self.index(change)
            self.indexes.pop((known[0] if known is not None else table, change.name.casefold()), None)
        elif isinstance(change, (SetNotNull, DropNotNull, SetDefault, ChangeType, ChangeOfColumn)):
            self._alter(change)
        elif isinstance(change, (AddConstraint, ValidateConstraint, DropConstraint)):
            self._constrain(change)

    def _create(self, change: CreateTable) -> None:
        if change.is_conditional and any(key[0] == change.table.key for key in self.facts.columns):
            return
        self._forget_table(change.table.key)
        self.new_tables.add(change.table.key)
        for column in change.columns:
            self.columns[(change.table.key, column.name.casefold())] = column
        keys = tuple(column.name for column in change.columns if column.is_key)
        if keys:
            self.primary_keys[change.table.key] = keys
        for key in change.keys:
            self._constrain(key)

    def _forget_table(self, table: str) -> None:
        self.new_tables.discard(table)
        self.primary_keys.pop(table, None)
        for key in [key for key in self.columns if key[0] == table]:
            self._forget_column(key)
        self.indexes = {key: columns for key, columns in self.indexes.items() if key[0] != table}
        self.foreign_keys = {
            key: item for key, item in self.foreign_keys.items() if table not in (key[0], item.referent)
        }

    def _forget_column(self, key: ColumnKey) -> None:
        self.columns.pop(key, None)
        gone = [
            name for name, item in self.foreign_keys.items() if name[0] == key[0] and key[1] in _lower(item.columns)
        ]
        for name in gone:
            self.foreign_keys.pop(name)
        for known in (self.new_columns, self.never_null, self.relaxed):
            known.discard(key)

    def _rename_table(self, old: str, new: str) -> None:
        for key in [key for key in self.columns if key[0] == old]:
            self.columns[(new, key[1])] = self.columns.pop(key)
        for known in (self.new_columns, self.never_null, self.relaxed):
            for key in [key for key in known if key[0] == old]:
                known.discard(key)
                known.add((new, key[1]))
        self.indexes = {
            (new if table == old else table, name): columns for (table, name), columns in self.indexes.items()
        }
        self.foreign_keys = {
            (new if table == old else table, name): replace(key, referent=new) if key.referent == old else key
            for (table, name), key in self.foreign_keys.items()
        }
        if old in self.primary_keys:
            self.primary_keys[new] = self.primary_keys.pop(old)
        if old in self.new_tables:
            self.new_tables.discard(old)
            self.new_tables.add(new)

    def _rename_column(self, table: str, change: RenameColumn) -> None:
        old, new = (table, change.column.casefold()), (table, change.new.casefold())
        if old in self.columns:
            self.columns[new] = replace(self.columns.pop(old), name=change.new)
        for name, key in self.foreign_keys.items():
            if name[0] == table and old[1] in _lower(key.columns):
                columns = tuple(change.new if column.casefold() == old[1] else column for column in key.columns)
                self.foreign_keys[name] = replace(key, columns=columns)
        for known in (self.new_columns, self.never_null, self.relaxed):
            if old in known:
                known.discard(old)
                known.add(new)

    def _alter(self, change: SetNotNull | DropNotNull | SetDefault | ChangeType | ChangeOfColumn) -> None:
        key = (change.table.key, change.column.casefold())
        known = self.columns.get(key) or Column(change.column, nullable=None, default=None)
        if isinstance(change, SetNotNull):
            known = replace(known, nullable=False)
        elif isinstance(change, DropNotNull):
            known = replace(known, nullable=True)
            self.relaxed.add(key)
        elif isinstance(change, SetDefault):
            known = replace(known, default=change.default)
            if change.default.fills:
                self.relaxed.add(key)
        elif isinstance(change, ChangeType):
            known = replace(known, type_=change.new)
        else:
            known = replace(change.to, name=change.column)
        self.columns[key] = known

    def _constrain(self, change: AddConstraint | ValidateConstraint | DropConstraint) -> None:
        table = change.table.key
        if isinstance(change, AddConstraint):
            if change.kind == "unique":
                self.indexes[(table, change.name.casefold() or ",".join(change.columns))] = change.columns
            elif change.kind == "primary key" and change.columns:
                self.primary_keys[table] = change.columns
            elif change.kind == "foreign key" and change.referent is not None:
                # Without a name it has the one that PostgreSQL gives it.
                name = change.name or "_".join((change.table.table, *change.columns, "fkey"))
                self.foreign_keys[(table, name.casefold())] = ForeignKey(change.referent.key, change.columns)
            column = never_null_column(change.text) if change.kind == "check" else None
            if column is not None:
                self._checks[(table, change.name.casefold())] = (table, column)
                if not change.not_valid:
                    self.never_null.add((table, column))
        elif isinstance(change, ValidateConstraint):
            known = self._checks.get((table, change.name.casefold()))
            if known is not None:
                self.never_null.add(known)
        else:
            self.indexes.pop((table, change.name.casefold()), None)
            self.foreign_keys.pop((table, change.name.casefold()), None)
            dropped = self._checks.pop((table, change.name.casefold()), None)
            if dropped is not None:
                self.never_null.discard(dropped)


def _lower(names: Collection[str]) -> set[str]:
    return {name.casefold() for name in names}


def never_null_column(text: str) -> str | None:
    """Return in lower case the column of which a condition says no more than that it is not NULL."""
    if text.rstrip(") \n")[-4:].casefold() != "null":
        # Not worth loading the parser.
        return None
    from ..inspection.statements import column_that_is_not_null

    return column_that_is_not_null(text, "mysql" if "`" in text else "postgresql")
