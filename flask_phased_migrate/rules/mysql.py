"""Rules of MariaDB and MySQL: the cheapest algorithm that a change has, as measured on MariaDB 10.11; MySQL's from
its documentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from . import recipes
from .changes import (
    AddColumn,
    AddConstraint,
    Change,
    ChangeOfColumn,
    ChangeType,
    CopyTable,
    CreateIndex,
    DropColumn,
    DropConstraint,
    DropNotNull,
    SetNotNull,
    SetSetting,
    TableOption,
    TakeLock,
)
from .postgresql import LONGEST_WAIT_S, no_timeout, seconds_of
from .situation import Check, Looks, Problem, Situation
from .types import cost_on_mysql

Problems = Iterator[Problem]

_COPIES = "copies the whole table (ALGORITHM=COPY), and nobody can write to it meanwhile"
_REBUILDS = "writes the whole table anew (ALGORITHM=INPLACE, LOCK=NONE): others go on, replicas fall behind"


def _unless_guarded(look: Looks) -> Looks:
    """Return a check that says nothing where the statement has the server refuse rather than block."""

    def look_at(change: Change, at: Situation) -> Iterator[Problem]:
        if not at.act.clauses.keeps_writes_going:
            yield from look(change, at)

    return look_at


def _tool(change: Change, action: str) -> str:
    """Return the command of a tool that copies a table while others write."""
    name = change.table.table
    return f'# by hand, then: flask db skip\npt-online-schema-change --alter "{action}" D=DATABASE,t={name} --execute'


def _named(words: str, name: str) -> str:
    return f"{words} {name}".strip()


def _type_of(at: Situation, change: ChangeType | ChangeOfColumn) -> str:
    known = at.schema.column(change.table, change.column)
    return known.type_ if known is not None else ""


def _is_mariadb(at: Situation) -> bool:
    return at.target.dialect == "mariadb"


# -- columns ------------------------------------------------------------------------------------------


def _add_column(change: AddColumn, at: Situation) -> Problems:
    """Look at columns that are not added at once on older servers."""
    if change.column.generated == "virtual":
        return
    if _is_mariadb(at):
        instant = at.target.at_least(10, 4) or (at.target.at_least(10, 3, 2) and not change.position)
    else:
        instant = at.target.at_least(8, 0, 29) or (at.target.at_least(8, 0, 12) and not change.position)
    if not instant:
        yield Problem(
            "warning",
            f"ADD COLUMN {change.table}.{change.column.name} {_REBUILDS}{at.rows_of(change.table)}. As the last "
            "column it is instant on MySQL 8.0.12 and MariaDB 10.3.2.",
            f"op.add_column({recipes.quoted(change.table.table)}, sa.Column({recipes.quoted(change.column.name)}, "
            f"{recipes.type_code(change.column.type_, at)}))",
        )


def _default(change: AddColumn, at: Situation) -> Problems:
    default = change.column.default
    if default is None or default.kind not in ("volatile", "unknown"):
        return
    made = f"sa.Column({recipes.quoted(change.column.name)}, {recipes.type_code(change.column.type_, at)})"
    option = f"server_default={recipes.sql_text(default.text or '...')}"
    option += recipes.existing_type(at, change.column.type_)
    lines = [
        f"op.add_column({recipes.quoted(change.table.table)}, {made}{recipes.schema_of(change.table)})",
        recipes.alter(change.table, change.column.name, option),
    ]
    yield Problem(
        "error" if default.kind == "volatile" else "warning",
        f"ADD COLUMN {change.table}.{change.column.name} with a default that is worked out for each row {_COPIES}"
        f"{at.rows_of(change.table)}. Add it without the default, set the default, fill the rows in batches.",
        recipes.in_phase(at, at.early, lines),
    )


def _numbers_itself(change: AddColumn, at: Situation) -> Problems:
    if change.column.numbers_itself:
        action = f"ADD COLUMN {change.column.name} {change.column.type_ or 'BIGINT'} AUTO_INCREMENT UNIQUE"
        yield Problem(
            "error",
            f"An AUTO_INCREMENT column writes all of {change.table}{at.rows_of(change.table)} anew while nobody can "
            "write to it (ALGORITHM=INPLACE, LOCK=SHARED).",
            _tool(change, action),
        )


def _stored(change: AddColumn, at: Situation) -> Problems:
    if change.column.generated == "stored":
        made = f"sa.Column({recipes.quoted(change.column.name)}, ..., sa.Computed({recipes.quoted('...')}, "
        yield Problem(
            "error",
            f"ADD COLUMN {change.table}.{change.column.name} GENERATED STORED {_COPIES}{at.rows_of(change.table)}. A "
            "virtual one costs nothing, and may have an index.",
            f"op.add_column({recipes.quoted(change.table.table)}, {made}persisted=False)))",
        )


def _drop_column(change: DropColumn, at: Situation) -> Problems:
    instant = at.target.at_least(10, 4) if _is_mariadb(at) else at.target.at_least(8, 0, 29)
    if not instant:
        yield Problem(
            "warning",
            f"DROP COLUMN {change.table}.{change.column} {_REBUILDS}{at.rows_of(change.table)}. It is instant on MySQL "
            "8.0.29 and MariaDB 10.4.",
            recipes.execute(
                f"ALTER TABLE {recipes.table_sql(at, change.table)} DROP COLUMN "
                f"{recipes.identifier(at, change.column)}, ALGORITHM=INPLACE, LOCK=NONE"
            ),
        )


def _nullable(change: SetNotNull | DropNotNull, at: Situation) -> Problems:
    null = "NOT NULL" if isinstance(change, SetNotNull) else "NULL"
    type_ = change.type_ or (_known_type(at, change) or "TYPE")
    yield Problem(
        "warning",
        f"{change.table}.{change.column} {null} {_REBUILDS}{at.rows_of(change.table)}. Say so, and the server refuses "
        "where it could not.",
        recipes.execute(
            f"ALTER TABLE {recipes.table_sql(at, change.table)} MODIFY {recipes.identifier(at, change.column)} "
            f"{type_} {null}{_kept_default(change, at)}, ALGORITHM=INPLACE, LOCK=NONE"
        ),
    )


def _kept_default(change: SetNotNull | DropNotNull, at: Situation) -> str:
    """Return the default that MODIFY has to say again, "" for none."""
    known = at.schema.column(change.table, change.column)
    default = known.default if known is not None else None
    return f" DEFAULT {default.text}" if default is not None and default.fills else ""


def _known_type(at: Situation, change: SetNotNull | DropNotNull) -> str:
    known = at.schema.column(change.table, change.column)
    return known.type_ if known is not None else ""


def _change_type(change: ChangeType, at: Situation) -> Problems:
    yield from _retyped(change, change.old or _type_of(at, change), change.new, at)


def _modify(change: ChangeOfColumn, at: Situation) -> Problems:
    yield from _retyped(change, _type_of(at, change), change.to.type_, at)


def _modify_nullable(change: ChangeOfColumn, at: Situation) -> Problems:
    """Look at a column that is written anew with its type, and may be NULL or not as it could not before."""
    known = at.schema.column(change.table, change.column)
    if known is None or known.nullable in (None, change.to.nullable):
        return
    if not list(_retyped(change, known.type_, change.to.type_, at)):
        kind = SetNotNull if change.to.nullable is False else DropNotNull
        yield from _nullable(kind(change.table, change.column, change.to.type_), at)


def _retyped(change: ChangeType | ChangeOfColumn, old: str, new: str, at: Situation) -> Problems:
    cost = cost_on_mysql(old, new, is_mariadb=_is_mariadb(at))
    if cost == "none":
        return
    why = f"from {old} to {new}" if old else f"to {new}, from a type that the revision does not say,"
    yield Problem(
        "error" if cost == "rewrite" else "warning",
        f"{change.table}.{change.column} {why} {'' if cost == 'rewrite' else 'perhaps '}{_COPIES}"
        f"{at.rows_of(change.table)}. Add a new column, write both, fill it in batches, drop the old one in a later "
        "phase; or copy the table by a tool.",
        _tool(change, f"MODIFY {change.column} {new}"),
    )


# -- indexes and constraints ----------------------------------------------------------------------------


def _create_index(change: CreateIndex, at: Situation) -> Problems:
    if change.kind in ("FULLTEXT", "SPATIAL"):
        columns = ", ".join(change.columns) or "..."
        yield Problem(
            "error",
            f"A {change.kind} index on {change.table}{at.rows_of(change.table)} is built while nobody can write to it "
            "(ALGORITHM=INPLACE, LOCK=SHARED).",
            _tool(change, f"ADD {change.kind} INDEX {change.name} ({columns})"),
        )


def _primary_key(change: AddConstraint, at: Situation) -> Problems:
    if change.kind == "primary key":
        columns = ", ".join(recipes.identifier(at, name) for name in change.columns)
        yield Problem(
            "warning",
            f"ADD PRIMARY KEY on {change.table} {_REBUILDS}{at.rows_of(change.table)}.",
            recipes.execute(
                f"ALTER TABLE {recipes.table_sql(at, change.table)} ADD PRIMARY KEY ({columns}), ALGORITHM=INPLACE, "
                "LOCK=NONE"
            ),
        )


def _drop_key(change: DropConstraint, at: Situation) -> Problems:
    """Look at a primary key that goes without another in the same statement."""
    others = [act.change for act in at.after if act.line == at.act.line]
    is_replaced = any(isinstance(item, AddConstraint) and item.kind == "primary key" for item in others)
    if change.kind == "primary key" and not is_replaced:
        yield Problem(
            "error",
            f"DROP PRIMARY KEY of {change.table} {_COPIES}{at.rows_of(change.table)}. With the new key in the same "
            "statement, others go on.",
            recipes.execute(
                f"ALTER TABLE {recipes.table_sql(at, change.table)} DROP PRIMARY KEY, ADD PRIMARY KEY (...), "
                "ALGORITHM=INPLACE, LOCK=NONE"
            ),
        )


def _foreign_key(change: AddConstraint, at: Situation) -> Problems:
    if change.kind != "foreign key":
        return
    settings = [act.change for act in at.acts[: at.place] if isinstance(act.change, SetSetting)]
    off = [item for item in settings if item.table.table == "foreign_key_checks"]
    name = change.name or "fk_NAME"
    if off and off[-1].value.strip("'\" ").upper() in ("0", "OFF", "FALSE"):
        yield Problem(
            "info",
            f"With foreign_key_checks off, the rows of {change.table} that are there are not checked against "
            f"{change.referent}. Look for those without a parent.",
            None,
        )
        return
    yield Problem(
        "error",
        f"{_named('ADD FOREIGN KEY', change.name)} {_COPIES}{at.rows_of(change.table)}. Without a check of the rows "
        "that are "
        "there it is done at once: look for rows without a parent yourself.",
        "\n".join(
            [
                'op.execute("SET SESSION foreign_key_checks = 0")',
                recipes.foreign_key(replace(change, name=name), not_valid=False),
                'op.execute("SET SESSION foreign_key_checks = 1")',
            ]
        ),
    )


def _check(change: AddConstraint, at: Situation) -> Problems:
    if change.kind == "check" and not change.inline:
        yield Problem(
            "error",
            f"{_named('ADD CHECK', change.name)} {_COPIES}{at.rows_of(change.table)}.",
            _tool(change, f"ADD CONSTRAINT {change.name or 'NAME'} CHECK ({change.text or '...'})"),
        )


def _option(change: TableOption, at: Situation) -> Problems:
    upper = change.words.upper().replace(" ", "")
    guarded = at.act.clauses.keeps_writes_going
    if upper.startswith("ENGINE=") and upper != "ENGINE=INNODB":
        # The clauses are about the engine that the table has: the server takes them, and copies all the same.
        yield Problem(
            "error", f"{change.words}: this {_COPIES}{at.rows_of(change.table)}.", _tool(change, change.words)
        )
    elif change.kind in ("charset", "partition") and not guarded:
        yield Problem(
            "error", f"{change.words}: this {_COPIES}{at.rows_of(change.table)}.", _tool(change, change.words)
        )
    elif change.kind == "engine" and not guarded:
        action = "FORCE" if change.words == "OPTIMIZE" else change.words
        sql = f"ALTER TABLE {recipes.table_sql(at, change.table)} {action}, ALGORITHM=INPLACE, LOCK=NONE"
        yield Problem("warning", f"{change.words}: this {_REBUILDS}{at.rows_of(change.table)}.", recipes.execute(sql))


def _take_lock(change: TakeLock, at: Situation) -> Problems:
    if change.is_asked:
        yield Problem(
            "warning",
            f"LOCK TABLES {change.table}{at.rows_of(change.table)} keeps others out until UNLOCK TABLES, and commits "
            "what the step has done. Leave it out.",
            recipes.assured(
                "lock-table",
                "the step takes a moment",
                recipes.execute(f"LOCK TABLES {recipes.table_sql(at, change.table)} WRITE"),
            ),
        )


def _no_timeout(change: SetSetting, _at: Situation) -> Problems:
    if change.table.table in ("lock_wait_timeout", "innodb_lock_wait_timeout"):
        seconds = seconds_of(change.value, "s")
        if seconds is None or seconds > LONGEST_WAIT_S:
            yield no_timeout("Without a lock timeout" if seconds is None else f"With a timeout of {seconds:g} seconds")


def _copy(change: CopyTable, at: Situation) -> Problems:
    yield Problem(
        "error",
        f'recreate="always" copies {change.table}{at.rows_of(change.table)} into a new table: what others write '
        "meanwhile is lost. Leave it out.",
        f'with op.batch_alter_table({recipes.quoted(change.table.table)}, recreate="never") as batch_op:\n    ...',
    )


def _of(kind: str, look: Looks) -> Check:
    """Return a check of constraints."""
    return Check(kind, (AddConstraint,), _unless_guarded(look), "idle")


CHECKS = (
    Check("table-rebuild", (AddColumn,), _unless_guarded(_add_column), "idle"),
    Check("volatile-default", (AddColumn,), _unless_guarded(_default), "idle"),
    Check("self-numbering-column", (AddColumn,), _unless_guarded(_numbers_itself), "idle"),
    Check("stored-column", (AddColumn,), _unless_guarded(_stored), "idle"),
    Check("table-rebuild", (DropColumn,), _unless_guarded(_drop_column), "idle"),
    Check("table-rebuild", (SetNotNull, DropNotNull), _unless_guarded(_nullable), "idle"),
    Check("change-type", (ChangeType,), _unless_guarded(_change_type), "idle"),
    Check("change-type", (ChangeOfColumn,), _unless_guarded(_modify), "idle"),
    Check("table-rebuild", (ChangeOfColumn,), _unless_guarded(_modify_nullable), "idle"),
    Check("create-index", (CreateIndex,), _unless_guarded(_create_index), "idle"),
    _of("primary-key", _primary_key),
    _of("foreign-key", _foreign_key),
    _of("check-constraint", _check),
    Check("primary-key", (DropConstraint,), _unless_guarded(_drop_key), "idle"),
    Check("table-option", (TableOption,), _option, "idle"),
    Check("lock-table", (TakeLock,), _take_lock, "idle"),
    Check("no-lock-timeout", (SetSetting,), _no_timeout),
    Check("table-copy", (CopyTable,), _copy, "idle"),
)
