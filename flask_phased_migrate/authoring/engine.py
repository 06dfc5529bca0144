"""How one change is written for an engine, so that reads and writes go on meanwhile.

What is said of PostgreSQL was measured on 15, of MariaDB on 10.11; MySQL is from its manual (8.4, "Online DDL
Operations"). A clause that a server cannot keep to makes it refuse the statement, never copy the table.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops

from .script import table_of
from .statements import Assured, Autocommit, Batch, Remark, Sql, compile_operation, quote_names, text_literal
from .values import Facts, Name

Cost = Literal["instant", "online", "copy"]
ROWS_A_BATCH = 5000
PAGES_A_BATCH = 100
LONGEST_NAME = 60
"""Of PostgreSQL's 63 bytes and MySQL's 64 characters."""

CONVENTIONS = {
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
}
_COPYING = {
    ops.AlterColumnOp: "change-type",
    ops.CreateForeignKeyOp: "foreign-key",
    ops.CreateCheckConstraintOp: "check-constraint",
}
"""The rules of the linter that report operations for which there is no other way."""
_CLAUSES = {"instant": "ALGORITHM=INSTANT", "online": "ALGORITHM=INPLACE, LOCK=NONE"}


def short(name: str) -> str:
    """Return a name that no engine cuts."""
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}_{sum(ord(letter) * (place + 7) for place, letter in enumerate(name)):08x}"


class Engine:
    """Writes changes for one engine."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.name = facts.engine

    def quote(self, *names: str | None) -> str:
        """Return names as SQL, with dots between those that are not None."""
        return quote_names(self.facts.dialect, *names)

    # -- tables and columns -----------------------------------------------------------------------

    def alter(self, operation: Any, cost: Cost = "instant") -> list[MigrateOperation]:
        """Return an operation on a table that holds rows."""
        if self.name == "sqlite":
            return [Batch(operation.table_name, operation.schema, [operation])]
        if self.name != "mysql":
            return [operation]
        if cost == "copy":
            return self._copying(operation, [operation])
        return [Sql(f"{compile_operation(operation, self.facts.dialect)}, {_CLAUSES[cost]}")]

    def _copying(self, operation: Any, written: list[MigrateOperation]) -> list[MigrateOperation]:
        """Return what MariaDB and MySQL can only do by copying a table, with what that means."""
        text = (
            f"the server copies {table_of(operation)[1]}, and writes to it wait: on a large table use gh-ost or "
            "pt-online-schema-change"
        )
        rule = next((rule for kind, rule in _COPYING.items() if isinstance(operation, kind)), None)
        return [Remark(text), *written] if rule is None else [Assured(rule, text, written)]

    def add_column(self, operation: ops.AddColumnOp) -> list[MigrateOperation]:
        """Return how a column is added."""
        default = operation.column.server_default
        if self.name == "sqlite" and not self.needs_copy(operation.column):
            return [operation]
        constant = default is None or is_constant(default) or is_stable(default)
        return self.alter(operation, "instant" if constant else "copy")

    def needs_copy(self, column: sa.Column[Any]) -> bool:
        """Return whether SQLite cannot add a column without copying the table."""
        default = column.server_default
        return (default is not None and not is_constant(default)) or (default is None and column.nullable is False)

    def alter_column(self, table: Name, name: str, column: Any, cost: Cost = "instant", **change: Any) -> list[Any]:
        """Return a change of a column; ``column`` is what it is like before.

        :param change: ``modify_nullable``, ``modify_server_default``, ``modify_type``, ``modify_name``.
        """
        existing = {"existing_type": column.type, "existing_nullable": bool(column.nullable)}
        if column.server_default is not None:
            existing["existing_server_default"] = column.server_default
        if self.name == "mysql":
            if (table, name) in self.facts.json_columns:
                existing["existing_type"] = sa.JSON()
            # MODIFY forgets what it does not repeat.
            if column.comment and "modify_comment" not in change:
                existing["existing_comment"] = column.comment
            if column.autoincrement is True:
                existing["autoincrement"] = True
        if "modify_nullable" in change:
            existing.pop("existing_nullable")
        if "modify_server_default" in change:
            existing.pop("existing_server_default", None)
        operation = ops.AlterColumnOp(table[1], name, schema=table[0], **existing, **change)
        if "postgresql_using" in change and self.name == "postgresql":
            # Alembic renders no such option.
            return [Sql(compile_operation(operation, self.facts.dialect))]
        return self.alter(operation, cost)

    # -- rows --------------------------------------------------------------------------------------

    def fill_rest(self, table: Name, column: str, value: str) -> list[MigrateOperation]:
        """Return an update of the few rows that have come without a value since they were filled.

        One plain statement: what it touches can be told, so that later revisions may overtake it.
        """
        name = self.quote(column)
        return [Autocommit([Sql(f"UPDATE {self.quote(*table)} SET {name} = {value} WHERE {name} IS NULL")])]

    def fill(self, table: Name, column: str, value: str, where: str | None = None) -> list[MigrateOperation]:
        """Return an update of the rows without a value, in batches where the engine can commit between them.

        Each batch asks again which rows have none: what the code has written meanwhile stays.

        :param value: SQL, of columns of the same row say.
        :param where: which rows; those without a value otherwise.
        """
        target, name = self.quote(*table), self.quote(column)
        rows = where or f"{name} IS NULL"
        update = f"UPDATE {target} SET {name} = {value} WHERE"
        if self.name == "postgresql":
            return [Autocommit(self._fill_postgresql(table, update, rows))]
        if self.name == "mysql" and self.facts.keys.get(table):
            return [Autocommit(self._fill_mysql(table, update, rows))]
        return [Autocommit([Sql(f"{update} {rows}")])]

    def _fill_postgresql(self, table: Name, update: str, rows: str) -> list[MigrateOperation]:
        """Return a loop over a table's pages; over what is left of a partitioned table, which has no pages itself."""
        target = self.quote(*table)
        if table in self.facts.partitioned:
            batch = f"SELECT tableoid, ctid FROM {target} WHERE {rows} LIMIT {ROWS_A_BATCH}"
            loop = f"LOOP {update} (tableoid, ctid) IN ({batch}) AND {rows}; EXIT WHEN NOT FOUND; COMMIT; END LOOP"
            return [Remark(f"{ROWS_A_BATCH} rows at a time, each batch committed."), Sql(f"DO $$ BEGIN {loop}; END $$")]
        size = f"pg_relation_size({text_literal(target)}::regclass) / current_setting('block_size')::integer"
        first, behind = "('(' || fill_page || ',0)')::tid", f"('(' || fill_page + {PAGES_A_BATCH} || ',0)')::tid"
        return [
            Remark(f"{PAGES_A_BATCH} pages of the table at a time, each batch committed."),
            Sql(
                f"DO $$ BEGIN FOR fill_page IN 0..{size} BY {PAGES_A_BATCH} LOOP "
                f"{update} ctid >= {first} AND ctid < {behind} AND {rows}; COMMIT; END LOOP; END $$"
            ),
        ]

    def _fill_mysql(self, table: Name, update: str, rows: str) -> list[MigrateOperation]:
        """Return a loop over ranges of the primary key's first column.

        MariaDB runs it as it is; MySQL has loops in procedures only.
        """
        key, type_ = self.facts.keys[table]
        target, name = self.quote(*table), self.quote(key)
        is_mariadb = bool(getattr(self.facts.dialect, "is_mariadb", False))
        kind = f"TYPE OF {target}.{name}" if is_mariadb else type_
        batch = f"SELECT {name} FROM {target} WHERE {name} >= fill_first ORDER BY {name} LIMIT {ROWS_A_BATCH}"
        body = (
            f"DECLARE fill_first, fill_last {kind}; SELECT min({name}) INTO fill_first FROM {target}; "
            f"WHILE fill_first IS NOT NULL DO SELECT max({name}) INTO fill_last FROM ({batch}) AS batch; "
            f"{update} {name} BETWEEN fill_first AND fill_last AND ({rows}); COMMIT; "
            f"SELECT min({name}) INTO fill_first FROM {target} WHERE {name} > fill_last; END WHILE; END"
        )
        remark = Remark(f"{ROWS_A_BATCH} rows at a time, each batch committed.")
        if is_mariadb:
            return [remark, Sql(f"BEGIN NOT ATOMIC {body}")]
        procedure = self.quote(table[0], short(f"fill_{table[1]}"))
        return [
            remark,
            Sql(f"DROP PROCEDURE IF EXISTS {procedure}"),
            Sql(f"CREATE PROCEDURE {procedure}() BEGIN {body}"),
            Sql(f"CALL {procedure}()"),
            Sql(f"DROP PROCEDURE {procedure}"),
        ]

    # -- not null ----------------------------------------------------------------------------------

    def set_not_null(self, table: Name, column: sa.Column[Any]) -> list[MigrateOperation]:
        """Return how a column that is filled gets its NOT NULL.

        PostgreSQL scans the table under its strongest lock, unless a validated check says that there is no NULL.
        """
        change = self.alter_column(table, column.name, column, "online", modify_nullable=False)
        if self.name != "postgresql":
            return change
        check = short(f"{table[1]}_{column.name}_not_null")
        proof = self.checked(table, check, f"CHECK ({self.quote(column.name)} IS NOT NULL)")
        return [*proof, *change, ops.DropConstraintOp(check, table[1], "check", schema=table[0])]

    def drop_not_null(self, table: Name, column: sa.Column[Any]) -> list[MigrateOperation]:
        """Return how a column loses its NOT NULL."""
        return self.alter_column(table, column.name, column, "online", modify_nullable=True)

    def checked(self, table: Name, name: str, definition: str) -> list[Autocommit]:
        """Return a constraint of PostgreSQL that is added without a scan and then validated beside reads and writes."""
        target = self.quote(*table)
        add = f"ALTER TABLE {target} ADD CONSTRAINT {self.quote(name)} {definition} NOT VALID"
        return [Autocommit([Sql(add), Sql(f"ALTER TABLE {target} VALIDATE CONSTRAINT {self.quote(name)}")])]

    # -- indexes and constraints -------------------------------------------------------------------

    def create_index(self, operation: ops.CreateIndexOp) -> list[MigrateOperation]:
        """Return how an index is built while others write."""
        if self.name == "postgresql":
            return [Autocommit([_with_options(operation, postgresql_concurrently=True)])]
        if self.name == "mysql":
            return [Sql(f"{compile_operation(operation, self.facts.dialect)} ALGORITHM=INPLACE LOCK=NONE")]
        return [operation]

    def drop_index(self, operation: ops.DropIndexOp) -> list[MigrateOperation]:
        """Return how an index goes while others write."""
        if self.name == "postgresql":
            return [Autocommit([_with_options(operation, postgresql_concurrently=True)])]
        if self.name == "mysql":
            # MariaDB's DROP INDEX does not take both clauses.
            table, index = self.quote(*table_of(operation)), self.quote(str(operation.index_name))
            return [Sql(f"ALTER TABLE {table} DROP INDEX {index}, {_CLAUSES['online']}")]
        return [operation]

    def create_constraint(self, operation: Any) -> list[MigrateOperation]:
        """Return how a unique constraint, a check or a foreign key is added to a table that holds rows."""
        operation.constraint_name = operation.constraint_name or self.constraint_name(operation)
        if isinstance(operation, ops.CreateUniqueConstraintOp):
            return self._create_unique(operation)
        if self.name == "sqlite":
            return [Batch(table_of(operation)[1], table_of(operation)[0], [operation])]
        if self.name == "mysql":
            return self._copying(operation, [Sql(compile_operation(operation, self.facts.dialect))])
        if self.name != "postgresql":
            return [operation]
        text = compile_operation(operation, self.facts.dialect)
        target = self.quote(*table_of(operation))
        name = self.quote(str(operation.constraint_name))
        return [Autocommit([Sql(f"{text} NOT VALID"), Sql(f"ALTER TABLE {target} VALIDATE CONSTRAINT {name}")])]

    def _create_unique(self, operation: ops.CreateUniqueConstraintOp) -> list[MigrateOperation]:
        if self.name != "postgresql":
            return self.alter(operation, "online")
        table, name = table_of(operation), str(operation.constraint_name)
        options = {key: value for key, value in operation.kw.items() if key.startswith("postgresql_")}
        columns = [getattr(column, "name", column) for column in operation.columns]
        index = ops.CreateIndexOp(name, table[1], columns, schema=table[0], unique=True, **options)
        late = " DEFERRABLE" if operation.kw.get("deferrable") else ""
        late += f" INITIALLY {operation.kw['initially']}" if operation.kw.get("initially") else ""
        adopt = f"ALTER TABLE {self.quote(*table)} ADD CONSTRAINT {self.quote(name)} UNIQUE USING INDEX"
        return [*self.create_index(index), Sql(f"{adopt} {self.quote(name)}{late}")]

    def drop_constraint(self, operation: ops.DropConstraintOp) -> list[MigrateOperation]:
        """Return how a constraint is dropped, on SQLite also one that has no name."""
        if self.name != "sqlite":
            return self.alter(operation, "online" if operation.constraint_type == "unique" else "instant")
        named = copy.copy(operation)
        named.constraint_name = operation.constraint_name or self.constraint_name(operation.reverse())
        conventions = {} if operation.constraint_name else CONVENTIONS
        return [Batch(operation.table_name, operation.schema, [named], conventions)]

    def constraint_name(self, operation: Any) -> str:
        """Return a name for a constraint that the models give none: what :data:`CONVENTIONS` comes to."""
        if isinstance(operation, ops.CreateForeignKeyOp):
            columns = "_".join(operation.local_cols)
            return f"fk_{operation.source_table}_{columns}_{operation.referent_table}"
        if isinstance(operation, ops.CreateCheckConstraintOp):
            return f"ck_{operation.table_name}"
        columns = "_".join(str(getattr(column, "name", column)) for column in operation.columns)
        return f"uq_{operation.table_name}_{columns}"


def unnamed_uniques(
    metadata: Sequence[Any], existing: Mapping[str, Sequence[tuple[str, ...]]]
) -> list[ops.DropConstraintOp]:
    """Return what drops the unique constraints without a name that the models do not have.

    :param existing: the columns of each, by table.
    """
    found = []
    for table in (table for one in metadata for table in one.tables.values() if table.schema is None):
        wanted = {
            tuple(column.name for column in item.columns)
            for item in (*table.constraints, *table.indexes)
            if isinstance(item, sa.UniqueConstraint) or getattr(item, "unique", False)
        }
        for columns in existing.get(table.name, ()):
            if columns not in wanted:
                back = ops.CreateUniqueConstraintOp(None, table.name, list(columns))
                found.append(ops.DropConstraintOp(None, table.name, "unique", _reverse=back))
    return found


def is_constant(default: Any) -> bool:
    """Return whether a server default is a literal, which costs nothing to give to the rows of a table."""
    if isinstance(default, (sa.Computed, sa.Identity)):
        return False
    value = getattr(default, "arg", default)
    if isinstance(value, str):
        return True
    text = str(getattr(value, "text", value)).strip()
    words = text.strip("()").partition("::")[0].strip()
    return words.lower() in ("true", "false", "null") or words.startswith("'") or _is_number(words)


def is_stable(default: Any) -> bool:
    """Return whether a server default is the time of the statement: the same for all rows of a table."""
    text = str(getattr(default.arg, "text", default.arg)) if isinstance(default, sa.DefaultClause) else ""
    return text.strip("() ").lower() in _STABLE


_STABLE = frozenset({"now", "current_timestamp", "current_date", "localtimestamp", "transaction_timestamp"})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_options(operation: Any, **options: Any) -> Any:
    changed = copy.copy(operation)
    changed.kw = {**operation.kw, **options}
    return changed


def column_names(columns: Sequence[Any]) -> tuple[str, ...]:
    """Return the names of an index's columns; expressions are left out."""
    return tuple(
        str(getattr(column, "name", column)) for column in columns if hasattr(column, "name") or isinstance(column, str)
    )
