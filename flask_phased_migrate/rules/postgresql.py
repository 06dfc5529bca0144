"""Rules of PostgreSQL: locks and rewrites, as measured on PostgreSQL 15 and told by its documentation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from . import recipes
from .changes import (
    AddColumn,
    AddConstraint,
    AddEnumValue,
    AttachPartition,
    Change,
    ChangeType,
    ConstrainDomain,
    CopyTable,
    CreateIndex,
    CreateTable,
    DetachPartition,
    DropColumn,
    DropConstraint,
    DropIndex,
    DropNotNull,
    DropTable,
    Maintain,
    Name,
    RefreshView,
    RenameColumn,
    RenameTable,
    SetDefault,
    SetNotNull,
    SetSetting,
    TableOption,
    TakeLock,
    Truncate,
    Vacuum,
    ValidateConstraint,
    WriteRows,
)
from .situation import Check, Level, Looks, Problem, Situation
from .types import cost_on_postgresql, is_same_type, split_type

Problems = Iterator[Problem]

_ALL = "ACCESS EXCLUSIVE, which keeps everybody from reading and writing it"
_STRONG: dict[type[Change], str] = {
    **dict.fromkeys(
        (
            *(AddColumn, DropColumn, RenameColumn, RenameTable, ChangeType, SetNotNull, DropNotNull, SetDefault),
            *(AddConstraint, DropConstraint, DropIndex, TableOption, Maintain, DropTable, Truncate),
        ),
        "ACCESS EXCLUSIVE",
    ),
    CreateIndex: "SHARE",
    DetachPartition: "ACCESS EXCLUSIVE",
}
_LOCKS = ("ACCESS EXCLUSIVE", "EXCLUSIVE", "SHARE ROW EXCLUSIVE", "SHARE")
"""Those that keep others from writing, the strongest first."""


def lock_of(change: Change) -> str | None:
    """Return the lock that a change keeps on its table until the transaction ends, None for one nobody waits for."""
    if isinstance(change, AddConstraint) and change.kind == "foreign key":
        return "SHARE ROW EXCLUSIVE"
    if isinstance(change, (CreateIndex, DropIndex, Maintain, DetachPartition)) and change.concurrently:
        return None
    if isinstance(change, TakeLock):
        return change.lock if change.lock in _LOCKS else None
    return _STRONG.get(type(change))


def locks_of(change: Change) -> Iterator[tuple[str, str]]:
    """Yield (key of a table, lock) for each table on which a change keeps a lock for which others wait."""
    own = lock_of(change)
    if own is not None:
        yield change.table.key, own
    if isinstance(change, AddConstraint) and change.referent is not None:
        yield change.referent.key, "SHARE ROW EXCLUSIVE"
    elif isinstance(change, CreateTable):
        yield from ((key.referent.key, "SHARE ROW EXCLUSIVE") for key in change.keys if key.referent is not None)
    elif isinstance(change, AttachPartition):
        yield (change.table if change.is_new else change.partition).key, "ACCESS EXCLUSIVE"


# -- columns ------------------------------------------------------------------------------------------


def _add_column_default(change: AddColumn, at: Situation) -> Problems:
    column, name = change.column, f"{change.table}.{change.column.name}"
    kind = column.default.kind if column.default is not None else "none"
    old_server = not at.target.at_least(11) and kind in ("constant", "stable")
    if kind not in ("volatile", "unknown") and not old_server:
        return
    if kind == "volatile":
        why = f"the default {column.default.text if column.default else ''} is worked out for each row, so "
    elif kind == "unknown":
        why = "the default may be worked out for each row; then "
    else:
        why = "below PostgreSQL 11, "
    yield Problem(
        "warning" if kind == "unknown" else "error",
        f"ADD COLUMN {name}: {why}the whole table{at.rows_of(change.table)} and its indexes are written anew under "
        f"{_ALL}. Add the column without the default, set the default, fill the rows in batches.",
        _fill_later(change, at),
    )


def _fill_later(change: AddColumn, at: Situation) -> str:
    column, table = change.column, recipes.quoted(change.table.table)
    schema = recipes.schema_of(change.table)
    made = f"sa.Column({recipes.quoted(column.name)}, {recipes.type_code(column.type_, at)})"
    text = column.default.text if column.default is not None and column.default.fills else "..."
    default = recipes.alter(change.table, column.name, f"server_default={recipes.sql_text(text)}")
    return recipes.in_phase(at, at.early, [f"op.add_column({table}, {made}{schema})", default])


def _numbers_itself(change: AddColumn, at: Situation) -> Problems:
    if change.column.numbers_itself:
        sequence = recipes.table_sql(at, Name(f"{change.table.table}_{change.column.name}_seq", change.table.schema))
        table = recipes.table_sql(at, change.table)
        column = recipes.identifier(at, change.column.name)
        add = f"op.add_column({recipes.quoted(change.table.table)}, sa.Column({recipes.quoted(change.column.name)}, "
        lines = [
            f"{add}sa.BigInteger()){recipes.schema_of(change.table)})",
            recipes.execute(f"CREATE SEQUENCE {sequence} OWNED BY {table}.{column}"),
            recipes.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT nextval('{sequence}')"),
        ]
        yield Problem(
            "error",
            f"ADD COLUMN {change.table}.{change.column.name}: to number the rows, the whole table is written anew "
            f"under {_ALL}{at.rows_of(change.table)}. Add a plain column with a sequence of its own, then number the "
            "rows in batches.",
            recipes.in_phase(at, at.early, lines),
        )


def _stored(change: AddColumn, at: Situation) -> Problems:
    if change.column.generated == "stored":
        name = f"{change.table}.{change.column.name}"
        virtual = " PostgreSQL 18 has VIRTUAL columns, which cost nothing." if at.target.at_least(18) else ""
        made = f"sa.Column({recipes.quoted(change.column.name)}, {recipes.type_code(change.column.type_, at)})"
        add = f"op.add_column({recipes.quoted(change.table.table)}, {made}{recipes.schema_of(change.table)})"
        yield Problem(
            "error",
            f"ADD COLUMN {name} GENERATED STORED: the whole table is written anew under {_ALL}"
            f"{at.rows_of(change.table)}.{virtual} Add a plain column that the code or a trigger fills.",
            recipes.in_phase(at, at.early, [add]),
        )


def _json(change: AddColumn | CreateTable, _at: Situation) -> Problems:
    columns = change.columns if isinstance(change, CreateTable) else (change.column,)
    for column in columns:
        if split_type(column.type_)[0] == "JSON":
            yield Problem(
                "warning",
                f"{change.table}.{column.name} is json, which has no '=': SELECT DISTINCT and GROUP BY fail on it, and "
                "no index can be made of it.",
                f"sa.Column({recipes.quoted(column.name)}, postgresql.JSONB())"
                "   # from sqlalchemy.dialects import postgresql",
            )


def not_null_lines(change: SetNotNull, at: Situation) -> list[str]:
    """Return the operations that set NOT NULL without a scan under a strong lock."""
    table, column = change.table, change.column
    name = f"{table.table}_{column}_not_null"
    lines = [
        recipes.check(table, name, f"{recipes.identifier(at, column)} IS NOT NULL", not_valid=True),
        *recipes.by_itself(recipes.validate(at, table, name)),
    ]
    if at.target.at_least(12):
        schema = recipes.schema_of(table)
        lines.append(recipes.alter(table, column, "nullable=False"))
        constraint = f"{recipes.quoted(name)}, {recipes.quoted(table.table)}"
        lines.append(f'op.drop_constraint({constraint}, type_="check"{schema})')
    return lines


def _set_not_null(change: SetNotNull, at: Situation) -> Problems:
    proved = at.schema.is_never_null(change.table, change.column)
    if proved and at.target.at_least(12):
        return
    keep = "" if at.target.at_least(12) else " Below PostgreSQL 12 the constraint stays in the place of NOT NULL."
    yield Problem(
        "error",
        f"SET NOT NULL on {change.table}.{change.column} reads the whole table{at.rows_of(change.table)} under {_ALL}. "
        f"Let a CHECK that is validated by itself prove it first: then nothing is read.{keep}",
        recipes.in_phase(at, at.late, not_null_lines(change, at)),
    )


def _change_type(change: ChangeType, at: Situation) -> Problems:
    known = at.schema.column(change.table, change.column)
    old = change.old or (known.type_ if known is not None else "")
    cost = cost_on_postgresql(old, change.new)
    name = f"{change.table}.{change.column}"
    if cost == "none":
        return
    if cost == "time zone":
        yield Problem(
            "warning",
            f"{name}: {old} to {change.new} costs nothing only where the session's time zone is UTC; elsewhere the "
            f"whole table is written anew under {_ALL}.",
            recipes.execute("SET LOCAL timezone = 'UTC'"),
        )
        return
    why = f"from {old} to {change.new}" if old else f"to {change.new}, from a type that the revision does not say"
    sure = "the whole table is" if cost == "rewrite" else "the whole table may be"
    yield Problem(
        "error" if cost == "rewrite" else "warning",
        f"{name} {why}: {sure} written anew{at.rows_of(change.table)} under {_ALL}, and so is every table that a "
        "foreign key ties to the column. Add a new column, keep it in step, fill it in batches, and drop the old one "
        "in a later phase.",
        _new_column(change, at) if old else f"existing_type={recipes.type_code('', at)}",
    )


def _new_column(change: ChangeType, at: Situation) -> str:
    name = f"{change.column}_new"
    made = f"sa.Column({recipes.quoted(name)}, {recipes.type_code(change.new, at)})"
    schema = recipes.schema_of(change.table)
    table = recipes.quoted(change.table.table)
    return recipes.joined(
        recipes.in_phase(at, at.early, [f"op.add_column({table}, {made}{schema})"])
        + f"\n    # the code writes both from now on; fill {name} in batches",
        recipes.in_phase(
            at, at.phases.names[-1], [f"op.drop_column({table}, {recipes.quoted(change.column)}{schema})"]
        ),
    )


# -- indexes and constraints ----------------------------------------------------------------------------


def _named(words: str, name: str) -> str:
    return f"{words} {name}".strip()


def _create_index(change: CreateIndex, at: Situation) -> Problems:
    if not change.concurrently:
        yield Problem(
            "error",
            f"{_named('CREATE INDEX', change.name)} keeps everybody from writing to "
            f"{change.table}{at.rows_of(change.table)} "
            "(lock SHARE) until it is built. Build it concurrently, by itself.",
            _index_lines(change, at),
        )


def _index_lines(change: CreateIndex, at: Situation) -> str:
    lines = recipes.by_itself(recipes.create_index(change, concurrently=True))
    code = _behind_column(change, at, *lines)
    # One line is enough where nothing else changes.
    return code if "op.add_column" in code else "\n".join(lines)


def _concurrently(change: CreateIndex | DropIndex | Maintain | DetachPartition, at: Situation) -> Problems:
    if change.concurrently and not at.act.autocommit:
        line = "..."
        if isinstance(change, CreateIndex):
            line = recipes.create_index(change, concurrently=True)
        elif isinstance(change, DropIndex):
            line = _drop_index_line(change)
        yield Problem(
            "error",
            "What runs CONCURRENTLY cannot be inside a transaction, which each step is: the server refuses it. Put it "
            "into an autocommit block.",
            "\n".join(recipes.by_itself(line)),
        )


def _kept_invalid(change: CreateIndex, _at: Situation) -> Problems:
    if change.concurrently and change.if_not_exists:
        drop = DropIndex(change.table, change.name, concurrently=True)
        line = f"{_drop_index_line(drop)[:-1]}, if_exists=True)"
        yield Problem(
            "warning",
            f"If an earlier try to build {change.name} failed, it left an INVALID index of that name, and IF NOT "
            "EXISTS keeps it without a word: nothing uses it. Drop what is there first.",
            "\n".join(recipes.by_itself(line, recipes.create_index(change, concurrently=True))),
        )


def _corrupting(change: CreateIndex | Maintain, at: Situation) -> Problems:
    version = at.target.version
    if change.concurrently and version is not None and (14, 0) <= version < (14, 4):
        yield Problem(
            "error",
            "PostgreSQL 14.0 to 14.3 may leave rows out of an index that is built CONCURRENTLY. Update the server to "
            "14.4 first.",
            'MIGRATE_TARGET_VERSION = "14.4"   # when the server is updated',
        )


def _drop_index_line(change: DropIndex) -> str:
    table = f", table_name={recipes.quoted(change.table.table)}" if change.table.table else ""
    schema = recipes.schema_of(change.table)
    return f"op.drop_index({recipes.quoted(change.name)}{table}, postgresql_concurrently=True{schema})"


def _drop_index(change: DropIndex, at: Situation) -> Problems:
    known = at.schema.index(change)
    if change.concurrently or (known is not None and _is_free(at, known[0])):
        return
    yield Problem(
        "warning",
        f"DROP INDEX {change.name} takes ACCESS EXCLUSIVE on the table too: for a moment, once it got the lock, but "
        "everybody queues behind it while it waits. Drop it concurrently, by itself.",
        "\n".join(recipes.by_itself(_drop_index_line(change))),
    )


def _of_kind(kind: str, look: Looks) -> Looks:
    """Return a check of constraints of one kind."""

    def look_at(change: AddConstraint, at: Situation) -> Iterable[Problem]:
        return look(change, at) if change.kind == kind else ()

    return look_at


def _loose(change: AddConstraint, columns: Iterable[str], at: Situation) -> list[str]:
    """Return the columns of a primary key that may be NULL, or of which that is not known."""
    known = [(name, at.schema.column(change.table, name)) for name in columns]
    return [
        name
        for name, column in known
        if (column is None or column.nullable is not False) and not at.schema.is_never_null(change.table, name)
    ]


def _key_of_index(change: AddConstraint, at: Situation) -> Problems:
    """Look at a primary key that is made of an index: NULL in a column of it is looked for in all rows."""
    index = at.schema.indexes.get((change.table.key, change.using_index.casefold()), ())
    loose = [name for name in _loose(change, index, at) if at.schema.column(change.table, name) is not None]
    if loose:
        lines = [line for name in loose for line in not_null_lines(SetNotNull(change.table, name), at)]
        yield Problem(
            "error",
            f"ADD PRIMARY KEY USING INDEX reads all of {change.table}{at.rows_of(change.table)} under {_ALL} to set "
            f"{', '.join(loose)} NOT NULL. Set that first.",
            recipes.in_phase(at, at.late, lines),
        )


def _unique(change: AddConstraint, at: Situation) -> Problems:
    if change.using_index:
        if change.kind == "primary key":
            yield from _key_of_index(change, at)
        return
    word = "UNIQUE" if change.kind == "unique" else "PRIMARY KEY"
    yield Problem(
        "error",
        f"ADD {word} on {change.table}{at.rows_of(change.table)} builds its index under {_ALL}. Build the index "
        "concurrently first, then make the constraint of it.",
        _behind_column(change, at, *_unique_lines(change, at)),
    )


def safe_lines(change: AddConstraint | CreateIndex, at: Situation) -> list[str]:
    """Return the operations that add an index or a constraint and keep nobody from writing for long."""
    if isinstance(change, CreateIndex):
        return recipes.by_itself(recipes.create_index(change, concurrently=True))
    if change.using_index:
        return ["..."]
    lines = {"foreign key": _foreign_key_lines, "check": _check_lines}
    return lines.get(change.kind, _unique_lines)(change, at) if change.kind not in ("exclude", "unknown") else ["..."]


def _unique_lines(change: AddConstraint, at: Situation) -> list[str]:
    word = "UNIQUE" if change.kind == "unique" else "PRIMARY KEY"
    name = change.name or f"{change.table.table}_{'_'.join(change.columns)}_{'key' if word == 'UNIQUE' else 'pkey'}"
    index = CreateIndex(change.table, name, change.columns, unique=True)
    sql = f"ALTER TABLE {recipes.table_sql(at, change.table)} ADD CONSTRAINT {recipes.identifier(at, name)} {word} "
    sql += f"USING INDEX {recipes.identifier(at, name)}"
    lines = [*recipes.by_itself(recipes.create_index(index, concurrently=True))]
    if word == "PRIMARY KEY":
        # Made of an index, it sets NOT NULL on the columns, which would read the table.
        for column in _loose(change, change.columns, at):
            lines += not_null_lines(SetNotNull(change.table, column), at)
    return [*lines, recipes.execute(sql + _when_checked(change))]


def _behind_column(change: AddConstraint | CreateIndex, at: Situation, *lines: str) -> str:
    """Return lines for after the deploy; where one operation makes a column as well, with that for before it."""
    made = next(
        (
            act.change.column
            for act in at.acts[: at.place]
            if isinstance(act.change, AddColumn)
            and act.change.table == change.table
            and act.line == at.act.line
            and (act.change.column.name,) == change.columns
        ),
        None,
    )
    later = recipes.in_phase(at, at.late, lines)
    if made is None:
        return later
    return recipes.joined(recipes.in_phase(at, at.early, [recipes.add_column(change.table, made, at)]), later)


def _when_checked(change: AddConstraint) -> str:
    options = dict(change.options)
    deferred = " INITIALLY DEFERRED" if options.get("initially", "").strip("'\"").upper() == "DEFERRED" else ""
    return (" DEFERRABLE" if options.get("deferrable") == "True" or deferred else "") + deferred


def _foreign_key(change: AddConstraint, at: Situation) -> Problems:
    if change.kind != "foreign key":
        return
    if not change.not_valid:
        yield Problem(
            "error",
            f"{_named('ADD FOREIGN KEY', change.name)} reads all of {change.table}{at.rows_of(change.table)} while "
            f"nobody can write to it or to {change.referent} (lock SHARE ROW EXCLUSIVE on both). Add it NOT VALID, and "
            "validate it by itself.",
            _behind_column(change, at, *_foreign_key_lines(change, at)),
        )


def _foreign_key_lines(change: AddConstraint, at: Situation) -> list[str]:
    name = _key_name(change)
    return [
        recipes.foreign_key(replace(change, name=name), not_valid=True),
        *recipes.by_itself(recipes.validate(at, change.table, name)),
    ]


def _several_keys(change: AddConstraint, at: Situation) -> Problems:
    if change.kind != "foreign key" or at.act.autocommit:
        return
    others = [act.change for act in at.before if isinstance(act.change, AddConstraint)]
    held = {str(other.referent) for other in others if other.kind == "foreign key" and not at.is_idle(other.table)}
    if held and held != {str(change.referent)}:
        yield Problem(
            "warning",
            f"This transaction has locked {', '.join(sorted(held))} for another foreign key, and keeps that until it "
            f"ends, while it waits for {change.referent}. Give each foreign key a transaction of its own.",
            "\n".join(recipes.by_itself(recipes.foreign_key(replace(change, name=_key_name(change)), not_valid=True))),
        )


def _key_name(change: AddConstraint) -> str:
    return change.name or f"{change.table.table}_{'_'.join(change.columns)}_fkey"


def _drop_table(change: DropTable, at: Situation) -> Problems:
    """Look for the tables that are locked with the one that is dropped, since its foreign keys refer to them."""
    gone = {act.change.table.key for act in at.after if isinstance(act.change, DropTable)}
    others = {
        key: name
        for key, name in at.schema.referents(change.table).items()
        if key not in gone and not _is_free(at, key)
    }
    if not others:
        return
    schema, table = recipes.schema_of(change.table), recipes.quoted(change.table.table)
    drops = [
        f'op.drop_constraint({recipes.quoted(name)}, {table}, type_="foreignkey"{schema})' for name in others.values()
    ]
    names = ", ".join(sorted(others))
    yield Problem(
        "warning" if len(others) > 1 else "info",
        f"DROP TABLE {change.table} takes ACCESS EXCLUSIVE on {names} too, to which its foreign keys refer"
        f"{', on all of them at once' if len(others) > 1 else ''}. Drop those first, each by itself.",
        "\n".join([*recipes.by_itself(*drops), f"op.drop_table({table}{schema})"]),
    )


def _drop_key(change: DropConstraint, at: Situation) -> Problems:
    # By its name alone SQL drops any constraint.
    if change.kind == "foreign key" or (change.table.key, change.name.casefold()) in at.schema.foreign_keys:
        schema = recipes.schema_of(change.table)
        words = f"{recipes.quoted(change.name)}, {recipes.quoted(change.table.table)}"
        yield Problem(
            "info",
            f"DROP CONSTRAINT {change.name} takes ACCESS EXCLUSIVE on {change.table} and on the table that it refers "
            "to, for a moment. By itself it keeps neither while something else runs.",
            "\n".join(recipes.by_itself(f'op.drop_constraint({words}, type_="foreignkey"{schema})')),
        )


def _check(change: AddConstraint, at: Situation) -> Problems:
    if change.kind == "check" and not change.not_valid:
        yield Problem(
            "error",
            f"{_named('ADD CHECK', change.name)} reads all of {change.table}{at.rows_of(change.table)} under {_ALL}. "
            "Add it NOT VALID, and validate it by itself.",
            recipes.in_phase(at, at.late, _check_lines(change, at)),
        )


def _check_lines(change: AddConstraint, at: Situation) -> list[str]:
    name = change.name or f"{change.table.table}_check"
    return [
        recipes.check(change.table, name, change.text or "...", not_valid=True),
        *recipes.by_itself(recipes.validate(at, change.table, name)),
    ]


def _exclude(change: AddConstraint, at: Situation) -> Problems:
    if change.kind in ("exclude", "unknown"):
        what = "An EXCLUDE constraint" if change.kind == "exclude" else "A constraint of a kind that is not known"
        yield Problem(
            "error" if change.kind == "exclude" else "warning",
            f"{what} on {change.table}{at.rows_of(change.table)} builds its index under {_ALL}, and can neither be "
            "NOT VALID nor be made of an index. Make it with a new table, or at a time when nobody works.",
            'with assured("exclude-constraint", reason="the table is small because ..."):\n    ...',
        )


def _scan_under_lock(change: ValidateConstraint, at: Situation) -> Problems:
    held = _held(at, change.table)
    if held is not None:
        yield Problem(
            held[0],
            f"VALIDATE CONSTRAINT {change.name} reads all of {change.table}{at.rows_of(change.table)} while its "
            f"transaction keeps {held[1]} from an operation before. Validate in a transaction of its own.",
            "\n".join(recipes.by_itself(recipes.validate(at, change.table, change.name))),
        )


def _held(at: Situation, *tables: Name) -> tuple[Level, str] | None:
    """Return how bad the lock is that the transaction keeps, and its words; None for none that others notice.

    One on the table itself is sure to be waited for as long as the statement takes; of another table, less is known.
    """
    own = {table.key for table in tables}
    found = [(key, lock) for act in at.before for key, lock in locks_of(act.change) if not _is_free(at, key)]
    for is_own in (True, False):
        for lock in _LOCKS if is_own else _LOCKS[:1]:
            keys = sorted({key for key, held in found if held == lock and (key in own) is is_own})
            if keys:
                return "error" if is_own else "warning", f"{lock} on {', '.join(keys)}"
    return None


def _is_free(at: Situation, key: str) -> bool:
    schema, _, table = key.rpartition(".")
    return at.is_idle(Name(table, schema or None))


def _write_under_lock(change: WriteRows, at: Situation) -> Problems:
    # Of what is new, or small, little is gone through.
    tables = [table for table in (change.table, *change.reads) if not at.is_idle(table)]
    held = _held(at, *tables) if tables and not change.is_bounded else None
    if held is not None:
        yield Problem(
            held[0],
            f"{change.kind.upper()} of {change.table}{at.rows_of(change.table)} goes through its rows while its "
            f"transaction keeps {held[1]} from an operation before. Change the rows in a later phase, in batches.",
            batches(change, at) if change.kind != "insert" else None,
        )


def _take_lock(change: TakeLock, at: Situation) -> Problems:
    if change.is_asked and change.lock in _LOCKS:
        table = recipes.table_sql(at, change.table)
        yield Problem(
            "warning",
            f"LOCK TABLE {change.table}{at.rows_of(change.table)} IN {change.lock} MODE keeps others out until the "
            "step ends. Leave it out; or do no more than a moment's work behind it.",
            recipes.assured(
                "lock-table",
                "the step takes a moment",
                recipes.execute(f"LOCK TABLE {table} IN {change.lock} MODE"),
            ),
        )


def _refresh(change: RefreshView, at: Situation) -> Problems:
    if not change.concurrently:
        view = recipes.table_sql(at, change.table)
        yield Problem(
            "warning",
            f"REFRESH MATERIALIZED VIEW {change.table} works it out anew under {_ALL}. CONCURRENTLY lets others read; "
            "it needs a unique index of plain columns.",
            recipes.execute(f"REFRESH MATERIALIZED VIEW CONCURRENTLY {view}"),
        )


def _vacuum(_change: Vacuum, at: Situation) -> Problems:
    if not at.act.autocommit:
        yield Problem(
            "error",
            "VACUUM cannot be inside a transaction, which each step is: the server refuses it. Autovacuum does it by "
            "itself; or put it into an autocommit block.",
            "\n".join(recipes.by_itself("...")),
        )


# -- plans that are kept ----------------------------------------------------------------------------------

_KEEP_PLANS = {
    "psycopg": 'create_engine(..., connect_args={"prepare_threshold": None})',
    "psycopg_async": 'create_async_engine(..., connect_args={"prepare_threshold": None})',
    "asyncpg": 'create_async_engine("...?prepared_statement_cache_size=0")',
}
_DOES_NOT = ("psycopg2", "psycopg2cffi")


def _cached_plan(change: ChangeType, at: Situation) -> Problems:
    """Look for statements that drivers keep prepared: they fail once a column in their result has another type."""
    known = at.schema.column(change.table, change.column)
    old = change.old or (known.type_ if known is not None else "")
    if not at.schema.is_new_column(change.table, change.column):
        yield from _other_type(change.table, change.column, old, change.new, at)


def _swapped(change: RenameColumn, at: Situation) -> Problems:
    """Look at a column that takes the name of one that had it in the same transaction, with another type."""
    for act in at.before:
        other = act.change
        if isinstance(other, RenameColumn) and other.table.key == change.table.key and other.column == change.new:
            old, new = at.schema.column(change.table, other.new), at.schema.column(change.table, change.column)
            if old is not None and new is not None and old.type_ and new.type_:
                yield from _other_type(change.table, change.new, old.type_, new.type_, at)


def _other_type(table: Name, column: str, old: str, new: str, at: Situation) -> Problems:
    if at.target.driver in _DOES_NOT or (old and is_same_type(old, new)):
        return
    keeps = at.target.driver in _KEEP_PLANS
    who = f"{at.target.driver} keeps" if keeps else "psycopg 3 and asyncpg keep"
    yield Problem(
        "warning" if keeps and old else "info",
        f"{who} statements prepared: those that read {table}.{column} fail with 'cached plan must not "
        "change result type' until their connection is opened anew. Restart the processes right after, or keep none "
        "prepared.",
        f"# in the configuration of the application:\n{_KEEP_PLANS.get(at.target.driver, _KEEP_PLANS['psycopg'])}",
    )


def batches(change: WriteRows, at: Situation) -> str:
    """Return the loop that changes rows in batches, each committed by itself."""
    table = recipes.table_sql(at, change.table)
    key = _row_key(change, at)
    some = f"WHERE {key} IN (SELECT {key} FROM {table} WHERE ... LIMIT 1000)"
    if at.target.is_mysql:
        # MySQL has no LIMIT in a subquery, and one in UPDATE and DELETE.
        some = "WHERE ... LIMIT 1000"
    verb = f"UPDATE {table} SET ..." if change.kind != "delete" else f"DELETE FROM {table}"
    block = recipes.by_itself(
        f"batch = {recipes.sql_text(f'{verb} {some}')}",
        "while op.get_bind().execute(batch).rowcount:",
        "    pass",
    )
    return recipes.assured("opaque", "batches of 1000 rows, each committed by itself", *block)


def _row_key(change: WriteRows, at: Situation) -> str:
    """Return what names a row: the key of the table, as far as it is known; else the engine's own."""
    key = at.schema.primary_keys.get(change.table.key, ())
    if len(key) == 1:
        return recipes.identifier(at, key[0])
    is_known = any(table == change.table.key for table, _ in at.schema.columns)
    if not is_known or at.schema.column(change.table, "id") is not None:
        return "id"
    return "ctid" if at.target.dialect == "postgresql" else "rowid"


# -- the rest -------------------------------------------------------------------------------------------


def _enum(change: AddEnumValue, at: Situation) -> Problems:
    sql = f"ALTER TYPE {recipes.table_sql(at, change.table)} ADD VALUE IF NOT EXISTS {recipes.literal(change.value)}"
    rewrite = "\n".join(recipes.by_itself(recipes.execute(sql)))
    if at.act.autocommit:
        return
    if not at.target.at_least(12):
        yield Problem("error", "Below PostgreSQL 12, ALTER TYPE ADD VALUE is refused inside a transaction.", rewrite)
    elif any(_uses(act.change, change.value) for act in at.after):
        yield Problem(
            "error",
            f"'{change.value}' is used in the transaction that adds it to {change.table}: the server refuses that "
            "until it is committed.",
            rewrite,
        )


def _uses(change: Change, value: str) -> bool:
    """Return whether a change has a value of an enum type in it, which the server then looks up."""
    if isinstance(change, WriteRows):
        return value in change.values
    text = ""
    if isinstance(change, SetDefault):
        text = change.default.text
    elif isinstance(change, AddColumn) and change.column.default is not None:
        text = change.column.default.text
    elif isinstance(change, AddConstraint):
        text = change.text
    elif isinstance(change, CreateIndex):
        text = change.where
    return f"'{value}'" in text or text == value


def _domain(change: ConstrainDomain, at: Situation) -> Problems:
    if not change.not_valid:
        sql = f"ALTER DOMAIN {recipes.table_sql(at, change.table)} ADD CONSTRAINT NAME CHECK (...) NOT VALID"
        yield Problem(
            "error",
            f"A constraint on the domain {change.table} reads every table that has a column of it, and keeps others "
            "from writing to them all. Give the columns CHECK constraints, or add it NOT VALID.",
            recipes.execute(sql),
        )


def _maintain(change: Maintain, at: Situation) -> Problems:
    if change.concurrently:
        return
    table = recipes.table_sql(at, change.table)
    is_reindex = change.word.startswith("REINDEX")
    kind = change.word.removeprefix("REINDEX ")
    rewrite = (
        "\n".join(recipes.by_itself(recipes.execute(f"REINDEX {kind} CONCURRENTLY {table}")))
        if is_reindex and at.target.at_least(12)
        else f"# by hand, at a time when nobody works, or with pg_repack:\n# {change.word} {table}"
    )
    what = "keeps others from writing, and from reading by the index" if is_reindex else f"is done under {_ALL}"
    yield Problem("error", f"{change.word} of {change.table}{at.rows_of(change.table)} {what}.", rewrite)


def _option(change: TableOption, at: Situation) -> Problems:
    if change.kind == "tablespace":
        yield Problem(
            "error",
            f"SET TABLESPACE copies all of {change.table}{at.rows_of(change.table)} under {_ALL}.",
            "# by hand, at a time when nobody works, or with pg_repack --tablespace",
        )
    elif change.kind == "rewrite":
        yield Problem(
            "error",
            f"{change.words} writes all of {change.table}{at.rows_of(change.table)} anew under {_ALL}.",
            "# with a new table, or at a time when nobody works",
        )


def _detach(change: DetachPartition, at: Situation) -> Problems:
    if not change.concurrently:
        table, partition = recipes.table_sql(at, change.table), recipes.table_sql(at, change.partition)
        sql = f"ALTER TABLE {table} DETACH PARTITION {partition} CONCURRENTLY"
        later = "" if at.target.at_least(14) else " (PostgreSQL 14 and later)"
        yield Problem(
            "warning",
            f"DETACH PARTITION takes ACCESS EXCLUSIVE on {change.table}: everybody queues behind it while it waits. "
            f"Detach it concurrently{later}.",
            "\n".join(recipes.by_itself(recipes.execute(sql))),
        )


def _attach(change: AttachPartition, at: Situation) -> Problems:
    if change.is_new and not at.is_idle(change.table):
        table, partition = recipes.table_sql(at, change.table), recipes.table_sql(at, change.partition)
        yield Problem(
            "warning",
            f"CREATE TABLE ... PARTITION OF takes ACCESS EXCLUSIVE on {change.table}: everybody queues behind it "
            "while it waits. Make the table by itself, then attach it: that lets them go on.",
            "\n".join(
                [
                    recipes.execute(
                        f"CREATE TABLE {partition} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
                    ),
                    recipes.execute(f"ALTER TABLE {table} ATTACH PARTITION {partition} {change.bounds}"),
                ]
            ),
        )
    elif not at.is_idle(change.partition):
        yield Problem(
            "warning",
            f"ATTACH PARTITION reads all of {change.partition} under ACCESS EXCLUSIVE on it, unless a validated CHECK "
            "says the same as its bounds.",
            "\n".join(
                [
                    recipes.check(change.partition, "NAME", "... the bounds ...", not_valid=True),
                    *recipes.by_itself(recipes.validate(at, change.partition, "NAME")),
                ]
            ),
        )


def _no_timeout(change: SetSetting, _at: Situation) -> Problems:
    if change.table.table not in ("lock_timeout", "all"):
        return
    seconds = seconds_of(change.value)
    if change.table.table == "all" or seconds is None or not 0 < seconds <= LONGEST_WAIT_S:
        yield no_timeout("Without a lock timeout" if not seconds else f"With a lock timeout of {seconds:g} seconds")


LONGEST_WAIT_S = 10
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(value: str, unit: str = "ms") -> float | None:
    """Return the seconds that a setting comes to; None for one that is not a number, such as DEFAULT."""
    text = value.strip("'\" ")
    number = text.rstrip("usminhd ")
    try:
        return float(number) * _UNITS[text[len(number) :].strip() or unit]
    except (ValueError, KeyError):
        return None


def no_timeout(condition: str) -> Problem:
    """Return what is wrong with a lock timeout that is none, or too long."""
    return Problem(
        "warning",
        f"{condition}, what waits for a lock keeps everybody waiting who comes after it. The tool sets one, and tries "
        "again: leave it.",
        "MIGRATE_LOCK_TIMEOUT = 2   # seconds, in the configuration; or: flask db upgrade --lock-timeout 5",
    )


def _copy(change: CopyTable, at: Situation) -> Problems:
    yield Problem(
        "error",
        f'recreate="always" copies {change.table}{at.rows_of(change.table)} into a new table: what others write '
        "meanwhile is lost or waits. Leave it out.",
        f'with op.batch_alter_table({recipes.quoted(change.table.table)}, recreate="never") as batch_op:\n    ...',
    )


CHECKS = (
    Check("volatile-default", (AddColumn,), _add_column_default, "idle"),
    Check("self-numbering-column", (AddColumn,), _numbers_itself, "idle"),
    Check("stored-column", (AddColumn,), _stored, "idle"),
    Check("json-column", (AddColumn, CreateTable), _json),
    Check("set-not-null", (SetNotNull,), _set_not_null, "idle"),
    Check("change-type", (ChangeType,), _change_type, "idle"),
    Check("cached-plan", (ChangeType,), _cached_plan, "new"),
    Check("cached-plan", (RenameColumn,), _swapped, "new"),
    Check("concurrently-in-transaction", (Vacuum,), _vacuum),
    Check("lock-table", (TakeLock,), _take_lock, "idle"),
    Check("refresh-view", (RefreshView,), _refresh, "new"),
    Check("concurrently-in-transaction", (CreateIndex, DropIndex, Maintain, DetachPartition), _concurrently),
    Check("corrupting-index-build", (CreateIndex, Maintain), _corrupting, "new"),
    Check("create-index", (CreateIndex,), _create_index, "idle"),
    Check("invalid-index-kept", (CreateIndex,), _kept_invalid, "new"),
    Check("drop-index", (DropIndex,), _drop_index, "idle"),
    Check("unique-constraint", (AddConstraint,), _of_kind("unique", _unique), "idle"),
    Check("primary-key", (AddConstraint,), _of_kind("primary key", _unique), "idle"),
    Check("foreign-key", (AddConstraint,), _foreign_key, "idle"),
    Check("several-foreign-keys", (AddConstraint,), _several_keys, "idle"),
    Check("drop-foreign-key", (DropConstraint,), _drop_key, "idle"),
    Check("drop-table", (DropTable,), _drop_table, "new"),
    Check("check-constraint", (AddConstraint,), _check, "idle"),
    Check("exclude-constraint", (AddConstraint,), _exclude, "idle"),
    Check("scan-under-lock", (ValidateConstraint,), _scan_under_lock, "idle"),
    Check("scan-under-lock", (WriteRows,), _write_under_lock),
    Check("enum-value", (AddEnumValue,), _enum),
    Check("constrain-domain", (ConstrainDomain,), _domain),
    Check("maintenance", (Maintain,), _maintain, "idle"),
    Check("table-option", (TableOption,), _option, "idle"),
    Check("detach-partition", (DetachPartition,), _detach, "idle"),
    Check("attach-partition", (AttachPartition,), _attach),
    Check("no-lock-timeout", (SetSetting,), _no_timeout),
    Check("table-copy", (CopyTable,), _copy, "idle"),
)
