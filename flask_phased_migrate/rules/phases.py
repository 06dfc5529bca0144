"""Rules of every engine about code: up to the boundary the schema works with the old code and the new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from . import recipes
from .changes import (
    AddColumn,
    AddConstraint,
    AddEnumValue,
    Change,
    ChangeOfColumn,
    ChangeType,
    CreateIndex,
    CreateTable,
    CreateView,
    Default,
    DropColumn,
    DropIndex,
    DropNotNull,
    DropTable,
    DropView,
    Name,
    RenameColumn,
    RenameEnumValue,
    RenameTable,
    SetDefault,
    SetNotNull,
    Truncate,
    WriteRows,
)
from .postgresql import not_null_lines, safe_lines
from .situation import Check, Level, Problem, Situation
from .types import split_type

Problems = Iterator[Problem]


def _where(at: Situation) -> str:
    """Return what to add where the author may not know in which phase the operation runs."""
    return "" if at.is_phased else f" The revision has no phases, so that all of it runs in {at.phase}."


def _while_old(at: Situation) -> str:
    return f"{at.phase} runs while the old code serves"


def _move_late(at: Situation, *lines: str, alone: bool = True) -> str:
    return recipes.in_phase(at, at.late if at.is_early else at.phase, lines, alone=alone)


# -- what is taken away ---------------------------------------------------------------------------------


def _drop_column(change: DropColumn, at: Situation) -> Problems:
    name, column = f"{change.table}.{change.column}", recipes.quoted(change.column)
    if at.schema.is_new_column(change.table, change.column):
        return
    schema = recipes.schema_of(change.table)
    drop = f"op.drop_column({recipes.quoted(change.table.table)}, {column}{schema})"
    if at.is_early:
        yield Problem(
            "error",
            f"{_while_old(at)}, whose queries name {name}: they fail as soon as it is dropped.{_where(at)} Drop it in "
            f"{at.late}, when only code runs that does not have it.",
            _move_late(at, drop),
        )
        return
    known = at.schema.column(change.table, change.column)
    is_relaxed = (change.table.key, change.column.casefold()) in at.schema.relaxed
    if known is None or not known.must_be_given or is_relaxed or at.has_model(change.table, change.column):
        return
    option = f"nullable=True{recipes.existing_type(at, known.type_)}"
    yield Problem(
        "error",
        f"{name} is NOT NULL without a default. The new code does not give it a value, so its INSERTs fail from the "
        f"deploy until {at.phase} has run. Let it be NULL in {at.early}.",
        recipes.joined(
            recipes.in_phase(at, at.early, [recipes.alter(change.table, change.column, option)]),
            _move_late(at, drop, alone=False),
        ),
    )


def _drop_table(change: DropTable, at: Situation) -> Problems:
    if at.is_early:
        drop = f"op.drop_table({recipes.quoted(change.table.table)}{recipes.schema_of(change.table)})"
        yield Problem(
            "error",
            f"{_while_old(at)}: its queries of {change.table} fail as soon as the table is dropped.{_where(at)} Drop "
            f"it in {at.late}.",
            _move_late(at, drop),
        )


def _rename_column(change: RenameColumn, at: Situation) -> Problems:
    if at.schema.is_new_column(change.table, change.column):
        return
    others = [act.change for act in (*at.before, *at.after) if isinstance(act.change, RenameColumn)]
    own = [item for item in others if item.table.key == change.table.key]
    if any(change.column == item.new or change.new == item.column for item in own):
        # Two columns change places in one transaction: the name that code uses is there before and after.
        return
    attribute = f"{change.new} = db.Column({recipes.quoted(change.column)}, ...)"
    yield Problem(
        "error",
        f"There is no moment to rename {change.table}.{change.column} to {change.new}: {_broken(at)}."
        f"{_where(at)} Keep the name in the database and rename the attribute of the model; or add {change.new}, "
        "write both, and drop the old one in a later release.",
        f"# in the model, instead of this operation:\n{attribute}",
    )


def _broken(at: Situation) -> str:
    if at.is_early:
        return "the old code, which serves on, has queries with the old name"
    return f"from the deploy until {at.phase} has run, the new code has queries with the new name"


def _rename_table(change: RenameTable, at: Situation) -> Problems:
    if any(isinstance(act.change, CreateView) and act.change.table.key == change.table.key for act in at.after):
        return
    others = [act.change for act in (*at.before, *at.after) if isinstance(act.change, RenameTable)]
    if any(change.table.key == other.new.key or change.new.key == other.table.key for other in others):
        # Two tables change places: the name that code uses is there before and after.
        return
    is_used = at.has_model(change.new), at.has_model(change.table)
    if not at.is_early and is_used == (False, False):
        return
    level: Level = "warning" if not at.is_early and None in is_used else "error"
    view = f"CREATE VIEW {recipes.table_sql(at, change.table)} AS SELECT * FROM {recipes.table_sql(at, change.new)}"
    rename = f"op.rename_table({recipes.quoted(change.table.table)}, {recipes.quoted(change.new.table)})"
    rewrite = [f"# in the model, instead of this operation:\n__tablename__ = {recipes.quoted(change.table.table)}"]
    if at.target.dialect == "postgresql":
        drop = recipes.execute(f"DROP VIEW {recipes.table_sql(at, change.table)}")
        both = recipes.in_phase(at, at.early, [rename, recipes.execute(view)])
        rewrite.append(recipes.joined(f"# or, in one transaction, with a view of the old name:\n{both}",
                                      _move_late(at, drop)))  # fmt: skip
    yield Problem(
        level,
        f"There is no moment to rename {change.table} to {change.new}: {_broken(at)}.{_where(at)} Keep the name in "
        "the database (__tablename__), or put a view of the old name in its place.",
        "\n\n".join(rewrite),
    )


def _drop_view(change: DropView, at: Situation) -> Problems:
    is_made_anew = any(
        isinstance(act.change, CreateView) and act.change.table.key == change.table.key for act in at.after
    )
    if at.is_early and not is_made_anew:
        drop = recipes.execute(f"DROP VIEW {recipes.table_sql(at, change.table)}")
        yield Problem(
            "warning",
            f"{_while_old(at)}: its queries of the view {change.table}, if it has any, fail as soon as it is dropped."
            f"{_where(at)} Drop it in {at.late}.",
            _move_late(at, drop),
        )


def _drop_index(change: DropIndex, at: Situation) -> Problems:
    """Look for an index that queries need, and that has no other in its place yet."""
    known = at.schema.index(change)
    if known is None or not known[1] or at.schema.serves(known[0], known[1], besides=change.name):
        return
    table, columns = known
    for act in at.acts[at.place + 1 :]:
        made = act.change
        if isinstance(made, CreateIndex) and made.table.key == table and made.columns[:1] == columns[:1]:
            yield Problem(
                "warning",
                f"{change.name} is dropped before {made.name or 'the index that takes its place'} is there: until that "
                f"is built, queries by {', '.join(columns)} read all of {table}. Build the new one first.",
                "\n".join(_replaced(change, made, at)),
            )
            return
    if at.is_early and not at.is_undo:
        yield Problem(
            "info",
            f"{_while_old(at)}, whose queries by {', '.join(columns)} read all of {table} without {change.name}."
            f"{_where(at)} Drop it in {at.late}.",
            None,
        )


def _replaced(change: DropIndex, made: CreateIndex, at: Situation) -> list[str]:
    is_postgresql = at.target.dialect == "postgresql"
    option = ", postgresql_concurrently=True" if is_postgresql else ""
    drop = f"op.drop_index({recipes.quoted(change.name)}, table_name={recipes.quoted(made.table.table)}{option}"
    lines = [recipes.create_index(made, concurrently=is_postgresql), f"{drop}{recipes.schema_of(made.table)})"]
    return recipes.by_itself(*lines) if is_postgresql else lines


def _truncate(change: Truncate, at: Situation) -> Problems:
    more = " and all that refer to it" if change.cascade else ""
    level: Level = "error" if at.is_early or change.cascade else "warning"
    yield Problem(
        level,
        f"All rows of {change.table}{more} are lost for good, and for the old code too where it still serves."
        f"{_where(at)}",
        recipes.assured(
            "truncate",
            "nobody needs these rows because ...",
            recipes.execute(f"TRUNCATE TABLE {recipes.table_sql(at, change.table)}"),
        ),
    )


# -- what is asked of the code --------------------------------------------------------------------------


def _add_required(change: AddColumn, at: Situation) -> Problems:
    column = change.column
    if not column.must_be_given or column.is_key:
        return
    name = f"{change.table}.{column.name}"
    python = " A Python-side default= does not help: only the new code has it." if column.has_python_default else ""
    silently = at.target.is_mysql and not at.is_early
    if at.is_early:
        why = f"The old code does not give {name} a value, so its INSERTs fail ({_while_old(at)}); and rows that there "
        why += f"are have none either.{python}"
    elif silently:
        why = f"Rows that there are get '' or 0 as {name} without a word."
    else:
        why = f"The rows that there are have no value for {name}: the statement fails unless the table is empty."
    yield Problem(
        "warning" if silently else "error",
        f"{why}{_where(at)} Give it a server default; or add it nullable, fill it, and set NOT NULL in {at.late}.",
        _added(change, at),
    )


def _added(change: AddColumn, at: Situation) -> str:
    column = change.column
    made = f"sa.Column({recipes.quoted(column.name)}, {recipes.type_code(column.type_, at)}"
    table = recipes.quoted(change.table.table)
    schema = recipes.schema_of(change.table)
    first = f'op.add_column({table}, {made}, nullable=False, server_default="..."){schema})'
    second = f"op.add_column({table}, {made}){schema})"
    later = _not_null_lines(SetNotNull(change.table, column.name, column.type_), at)
    return (
        f"{recipes.in_phase(at, at.early, [first])}\n\n\n# or without a default:\n"
        f"{recipes.in_phase(at, at.early, [second])}\n\n\n# then fill it in batches, and:\n"
        f"{recipes.in_phase(at, at.late, later)}"
    )


def _not_null_lines(change: SetNotNull, at: Situation) -> list[str]:
    if at.target.dialect == "postgresql":
        return not_null_lines(change, at)
    option = f"nullable=False{recipes.existing_type(at, change.type_)}"
    return [recipes.alter(change.table, change.column, option)]


def _set_not_null(change: SetNotNull, at: Situation) -> Problems:
    if not at.is_early:
        return
    known = at.schema.column(change.table, change.column)
    has_default = known is not None and known.default is not None and known.default.fills
    has_default = has_default or any(_gives_default(act.change, change) for act in at.after)
    is_new = at.schema.is_new_column(change.table, change.column)
    if is_new and has_default:
        return
    may = "may still write NULL into" if not is_new else "does not give a value to"
    yield Problem(
        "warning" if has_default else "error",
        f"The old code {may} {change.table}.{change.column}, and fails once it is NOT NULL ({_while_old(at)})."
        f"{_where(at)} Set it in {at.late}, after the rows are filled.",
        recipes.in_phase(at, at.late, _not_null_lines(change, at)),
    )


def _gives_default(change: Change, to: SetNotNull) -> bool:
    """Return whether a change gives a default to the column that becomes NOT NULL."""
    if not isinstance(change, SetDefault) or change.table.key != to.table.key:
        return False
    return change.column.casefold() == to.column.casefold() and change.default.fills


def _drop_not_null(change: DropNotNull, at: Situation) -> Problems:
    if at.is_early and not at.schema.is_new_column(change.table, change.column):
        yield Problem(
            "info",
            f"From the deploy on the new code may write NULL into {change.table}.{change.column}; the old code reads "
            "it while both run.",
            None,
        )


def _change_default(change: SetDefault, at: Situation) -> Problems:
    if at.is_early:
        yield from _default_early(change, at)
    elif at.phase in at.phases.names:
        yield from _default_late(change, at)


def _default_early(change: SetDefault, at: Situation) -> Problems:
    known = at.schema.column(change.table, change.column)
    name = f"{change.table}.{change.column}"
    if change.default.fills:
        old = known.default if known is not None and known.default is not None else change.old
        if old is not None and old.fills and old != change.default:
            yield Problem(
                "info",
                f"The old code leaves {name} to the server, and gets the new default at once ({_while_old(at)}). Right "
                "only if it can work with it.",
                None,
            )
        return
    nullable = change.nullable if known is None or known.nullable is None else known.nullable
    if nullable is True:
        return
    drop = recipes.alter(change.table, change.column, "server_default=None")
    yield Problem(
        "error" if nullable is False else "warning",
        f"The old code leaves {name} to the server's default: without one its INSERTs fail where the column is NOT "
        f"NULL ({_while_old(at)}).{_where(at)} Drop the default in {at.late}.",
        _move_late(at, drop),
    )


def _default_late(change: SetDefault, at: Situation) -> Problems:
    """Look for a default that the new code waits for: SQLAlchemy leaves out of an INSERT what the server fills."""
    known = at.schema.column(change.table, change.column)
    is_mapped = at.has_model(change.table, change.column)
    if not change.default.fills or is_mapped is False or known is None or not known.must_be_given:
        return
    default = recipes.alter(change.table, change.column, f"server_default={recipes.sql_text(change.default.text)}")
    yield Problem(
        "warning",
        f"{change.table}.{change.column} is NOT NULL and gets its default in {at.phase}, after the deploy: where the "
        "new "
        f"code leaves it to the server, its INSERTs fail until then.{_where(at)} Set it in {at.early}.",
        recipes.in_phase(at, at.early, [default]),
    )


def _stricter(change: AddConstraint | CreateIndex, at: Situation) -> Problems:
    if not at.is_early or _is_about_new_columns(change, at):
        return
    if isinstance(change, CreateIndex) and not change.unique:
        return
    kind = "unique index" if isinstance(change, CreateIndex) else f"{change.kind} constraint"
    if kind.startswith("unknown"):
        return
    what = "duplicates" if "unique" in kind or "primary" in kind else "rows that it refuses"
    label = f"{kind} {change.name}".strip()
    if at.target.dialect == "postgresql":
        lines = safe_lines(change, at)
    else:
        lines = [recipes.create_index(change) if isinstance(change, CreateIndex) else recipes.constraint(change)]
    yield Problem(
        "warning",
        f"The old code may write {what}, and then fails on the {label} of {change.table} ({_while_old(at)})."
        f"{_where(at)} Add it in {at.late}, or say why the old code keeps to it.",
        recipes.assured("too-early", "the old code never writes such rows because ...", *lines),
    )


def _is_about_new_columns(change: AddConstraint | CreateIndex, at: Situation) -> bool:
    if isinstance(change, AddConstraint) and change.of_new_column:
        return True
    names: Iterable[str] = change.columns
    return bool(change.columns) and any(at.schema.is_new_column(change.table, name) for name in names)


# -- what comes too late --------------------------------------------------------------------------------


def _create_table_late(change: CreateTable, at: Situation) -> Problems:
    if not change.is_private:
        yield from _late(change.table, None, at)


def _add_column_late(change: AddColumn, at: Situation) -> Problems:
    if not change.column.must_be_given:
        yield from _late(change.table, change.column.name, at)


def _late(table: Name, column: str | None, at: Situation) -> Problems:
    if at.is_early or at.phase not in at.phases.names:
        return
    has_model = at.has_model(table, column)
    if has_model is False:
        return
    name = str(table) if column is None else f"{table}.{column}"
    does = "has it in its models and" if has_model else "may use it, and then"
    yield Problem(
        "error" if has_model else "warning",
        f"{name} is made in {at.phase}, after the deploy: the new code {does} fails on it until then.{_where(at)} "
        f"Make it in {at.early}.",
        recipes.in_phase(at, at.early, [_makes(table, column)]),
    )


def _makes(table: Name, column: str | None) -> str:
    schema = recipes.schema_of(table)
    if column is None:
        return f"op.create_table({recipes.quoted(table.table)}, ...{schema})"
    return f"op.add_column({recipes.quoted(table.table)}, sa.Column({recipes.quoted(column)}, ...){schema})"


def _enum_late(change: AddEnumValue, at: Situation) -> Problems:
    if not at.is_early and at.phase in at.phases.names:
        sql = (
            f"ALTER TYPE {recipes.table_sql(at, change.table)} ADD VALUE IF NOT EXISTS {recipes.literal(change.value)}"
        )
        yield Problem(
            "warning",
            f"'{change.value}' is added to {change.table} in {at.phase}, after the deploy: the new code may write it "
            f"before.{_where(at)} Add it in {at.early}.",
            recipes.in_phase(at, at.early, recipes.by_itself(recipes.execute(sql))),
        )


def _rename_enum(change: RenameEnumValue, at: Situation) -> Problems:
    sql = f"ALTER TYPE {recipes.table_sql(at, change.table)} ADD VALUE IF NOT EXISTS {recipes.literal(change.new)}"
    yield Problem(
        "error",
        f"There is no moment to rename '{change.value}' of {change.table}: {_broken(at)}.{_where(at)} Add "
        f"'{change.new}', let the code read both, change the rows, and leave the old value.",
        recipes.in_phase(at, at.early, recipes.by_itself(recipes.execute(sql))),
    )


def _more_values(change: ChangeType | ChangeOfColumn, at: Situation) -> Problems:
    """Look for values that an ENUM of MySQL gets after the deploy."""
    known = at.schema.column(change.table, change.column)
    old = (change.old if isinstance(change, ChangeType) else "") or (known.type_ if known is not None else "")
    new = change.new if isinstance(change, ChangeType) else change.to.type_
    (old_name, before), (new_name, after) = split_type(old), split_type(new)
    more = [value for value in after if value not in before]
    if at.is_early or at.phase not in at.phases.names or {old_name, new_name} != {"ENUM"} or not more:
        return
    option = f"type_={recipes.type_code(new, at)}, existing_type={recipes.type_code(old, at)}"
    yield Problem(
        "warning",
        f"{', '.join(more)} of {change.table}.{change.column} is added in {at.phase}, after the deploy: the new code "
        "may "
        f"write it before.{_where(at)} Add it in {at.early}.",
        recipes.in_phase(at, at.early, [recipes.alter(change.table, change.column, option)]),
    )


def _write_early(change: WriteRows, at: Situation) -> Problems:
    if at.is_early and change.kind == "delete" and not change.is_bounded:
        yield Problem(
            "warning",
            f"The old code may still need the rows of {change.table} that this deletes ({_while_old(at)})."
            f"{_where(at)} Delete them in {at.late}.",
            _move_late(at, "op.execute(...)"),
        )


def _modify(change: ChangeOfColumn, at: Situation) -> Problems:
    """Look at a column that is written anew for what of it is known to be new."""
    known = at.schema.column(change.table, change.column)
    if change.to.nullable is False and (known is None or known.nullable is not False):
        if known is None or known.nullable is None:
            # It may have been NOT NULL before: MODIFY has to say it again.
            return
        yield from _set_not_null(SetNotNull(change.table, change.column, change.to.type_), at)


def _modify_default(change: ChangeOfColumn, at: Situation) -> Problems:
    """Look for a default that a column loses since it is written anew without it, or that is another."""
    known = at.schema.column(change.table, change.column)
    if known is None or known.default is None or change.to.default is None or change.to.numbers_itself:
        return
    if known.default.fills != change.to.default.fills or _spelled(known.default) != _spelled(change.to.default):
        new = SetDefault(change.table, change.column, change.to.default, change.to.nullable, known.default)
        yield from _change_default(new, at)


def _spelled(default: Default) -> str:
    """Return a default as no engine quotes it: MySQL tells a text without its quotes."""
    return default.text.strip("()'").casefold()


# -- what is undone -------------------------------------------------------------------------------------


def _undo_required(change: AddColumn, at: Situation) -> Problems:
    if at.is_early or not change.column.must_be_given or change.column.is_key:
        return
    name = f"{change.table}.{change.column.name}"
    made = (
        f"sa.Column({recipes.quoted(change.column.name)}, {recipes.type_code(change.column.type_, at)}, nullable=True)"
    )
    add = f"op.add_column({recipes.quoted(change.table.table)}, {made}{recipes.schema_of(change.table)})"
    yield Problem(
        "error",
        f"{at.phase} is undone while the new code serves, which does not give {name} a value: its INSERTs fail, and "
        "rows that there are have none. Let it be NULL, or give it a server default.",
        recipes.in_phase(at, at.phase, [add]),
    )


def _undo_drop(change: DropTable | DropColumn, at: Situation) -> Problems:
    column = change.column if isinstance(change, DropColumn) else None
    if at.is_early or not at.has_model(change.table, column):
        return
    name = str(change.table) if column is None else f"{change.table}.{column}"
    yield Problem(
        "error",
        f"{at.phase} is undone while the new code serves, which has {name} in its models and fails without. Drop it in "
        f"{at.early}, which is undone when the old code is back.",
        f"@phased({recipes.quoted(at.early)})\ndef downgrade():\n    ...",
    )


CHECKS = (
    Check("drop-column", (DropColumn,), _drop_column, "new"),
    Check("drop-table", (DropTable,), _drop_table, "new"),
    Check("drop-table", (DropView,), _drop_view, "new"),
    Check("drop-index-first", (DropIndex,), _drop_index),
    Check("rename-column", (RenameColumn,), _rename_column, "new"),
    Check("rename-table", (RenameTable,), _rename_table, "new"),
    Check("truncate", (Truncate,), _truncate, "new"),
    Check("not-null-without-default", (AddColumn,), _add_required, "new"),
    Check("set-not-null", (SetNotNull,), _set_not_null, "new"),
    Check("set-not-null", (ChangeOfColumn,), _modify, "new"),
    Check("change-default", (ChangeOfColumn,), _modify_default, "new"),
    Check("drop-not-null", (DropNotNull,), _drop_not_null, "new"),
    Check("change-default", (SetDefault,), _change_default, "new"),
    Check("too-early", (AddConstraint, CreateIndex), _stricter, "new"),
    Check("too-early", (WriteRows,), _write_early, "new"),
    Check("too-late", (CreateTable,), _create_table_late),
    Check("too-late", (AddColumn,), _add_column_late, "new"),
    Check("too-late", (AddEnumValue,), _enum_late),
    Check("too-late", (ChangeType, ChangeOfColumn), _more_values, "new"),
    Check("rename-enum-value", (RenameEnumValue,), _rename_enum),
)

UNDO_CHECKS = (
    Check("not-null-without-default", (AddColumn,), _undo_required, "new"),
    Check("drop-table", (DropTable,), _undo_drop, "new"),
    Check("drop-column", (DropColumn,), _undo_drop, "new"),
    Check("truncate", (Truncate,), _truncate, "new"),
    Check("drop-index-first", (DropIndex,), _drop_index, "new"),
)
"""What is looked at in a downgrade. The new code serves while the phases after the deploy are undone, the old while
those before it are."""
