"""One Alembic operation, or one SQLAlchemy construct, to what it touches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops
from alembic.runtime.migration import MigrationContext

from ..footprint import Footprint, opaque, part, union, whole
from ..operations import ExecuteScriptOp


def read_operation(operation: MigrateOperation, context: MigrationContext) -> Footprint | None:
    """Return what an operation touches, None for a kind that we do not know."""
    for type_, read in _READERS.items():
        if isinstance(operation, type_):
            return read(operation, context)
    return None


def read_construct(construct: Any, dialect: Any) -> Footprint:
    """Return what SQL touches that is given as text or as a SQLAlchemy construct.

    :param dialect: for which it is compiled.
    """
    from .statements import read_sql

    try:
        return read_sql(_compiled(construct, dialect), dialect.name)
    except sa.exc.SQLAlchemyError as error:
        return opaque(f"a statement cannot be compiled for {dialect.name}: {' '.join(str(error).split())}")


def _compiled(construct: Any, dialect: Any) -> str:
    if isinstance(construct, str):
        construct = sa.text(construct)
    if isinstance(construct, sa.schema.ExecutableDDLElement):
        return str(construct.compile(dialect=dialect))
    try:
        return str(construct.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    except sa.exc.CompileError:
        # A value that cannot be written out: its parameter's name does as well.
        return str(construct.compile(dialect=dialect))


# -- operations ---------------------------------------------------------------------------------------


def _read_create_table(operation: ops.CreateTableOp, context: MigrationContext) -> Footprint:
    table = operation.to_table(context)
    return union(
        [whole(operation.table_name, operation.schema), *_about_columns(table.columns, context), *_keys(table)]
    )


def _keys(table: sa.Table) -> Iterable[Footprint]:
    return (_target(key) for key in table.foreign_keys)


def _about_columns(columns: Iterable[sa.Column[Any]], context: MigrationContext) -> Iterable[Footprint]:
    """Yield what columns touch beside their table: the named types of PostgreSQL, as things of that name."""
    for column in columns:
        name = getattr(column.type, "name", None)
        if context.dialect.name == "postgresql" and isinstance(column.type, sa.Enum) and name:
            yield part(name, (), column.type.schema)


def _target(key: sa.ForeignKey) -> Footprint:
    """Return what a foreign key touches of the table that it points to."""
    names = key.target_fullname.split(".")
    if len(names) < 2:
        return whole(names[0])
    return part(names[-2], [names[-1]], ".".join(names[:-2]) or None)


def _read_add_column(operation: ops.AddColumnOp, context: MigrationContext) -> Footprint:
    column = operation.column
    own = part(operation.table_name, [column.name], operation.schema)
    if _is_lost_in_copies(context) and any(isinstance(item, sa.CheckConstraint) for item in column.constraints):
        own = whole(operation.table_name, operation.schema)
    return union([own, *_about_columns([column], context), *(_target(key) for key in column.foreign_keys)])


def _is_lost_in_copies(context: MigrationContext) -> bool:
    """Return whether a batch copies tables, and so loses what SQLAlchemy cannot read back: CHECK constraints,
    indexes on expressions."""
    return context.dialect.name == "sqlite"


def _read_drop_column(operation: ops.DropColumnOp, _context: MigrationContext) -> Footprint:
    return part(operation.table_name, [operation.column_name], operation.schema)


def _read_alter_column(operation: ops.AlterColumnOp, context: MigrationContext) -> Footprint:
    names = [operation.column_name, *filter(None, [operation.modify_name])]
    changed = operation.modify_type
    column: list[sa.Column[Any]] = [sa.Column(names[0], changed)] if changed is not None else []
    return union([part(operation.table_name, names, operation.schema), *_about_columns(column, context)])


def _read_create_index(operation: ops.CreateIndexOp, context: MigrationContext) -> Footprint:
    table, schema = operation.table_name, operation.schema
    if _is_lost_in_copies(context) and not all(isinstance(item, (str, sa.Column)) for item in operation.columns):
        return whole(table, schema)
    found = [_read_expression(item, table, schema, context) for item in operation.columns]
    for name, value in operation.kw.items():
        if name.endswith("_where"):
            found.append(_read_expression(value, table, schema, context, is_text=True))
        elif name.endswith("_include"):
            found.append(part(table, [getattr(item, "name", item) for item in value or ()], schema))
    return union(found)


def _read_expression(
    item: Any, table: str, schema: str | None, context: MigrationContext, *, is_text: bool = False
) -> Footprint:
    """Return what a column of an index, or a condition, touches; a string is a column's name unless ``is_text``."""
    from .statements import read_condition

    if item is None:
        return part(table, (), schema)
    if isinstance(item, str) and not is_text:
        return part(table, [item], schema)
    if isinstance(item, sa.schema.ColumnCollectionConstraint):
        return whole(table, schema)
    return read_condition(_compiled(item, context.dialect), table, schema, context.dialect.name)


def _read_check(operation: ops.CreateCheckConstraintOp, context: MigrationContext) -> Footprint:
    if _is_lost_in_copies(context):
        return whole(operation.table_name, operation.schema)
    return _read_expression(operation.condition, operation.table_name, operation.schema, context, is_text=True)


def _read_foreign_key(operation: ops.CreateForeignKeyOp, _context: MigrationContext) -> Footprint:
    return union(
        [
            part(operation.source_table, operation.local_cols, operation.kw.get("source_schema")),
            part(operation.referent_table, operation.remote_cols, operation.kw.get("referent_schema")),
        ]
    )


def _read_columns(operation: Any, _context: MigrationContext) -> Footprint:
    """Return the footprint of a UNIQUE constraint or primary key."""
    return part(operation.table_name, map(str, operation.columns), operation.schema)


def _read_whole(operation: Any, _context: MigrationContext) -> Footprint:
    return whole(operation.table_name, operation.schema)


def _read_drop_index(operation: ops.DropIndexOp, _context: MigrationContext) -> Footprint:
    if operation.table_name is None:
        return opaque(f"drop_index({operation.index_name!r}) does not name its table")
    return whole(operation.table_name, operation.schema)


def _read_rename(operation: ops.RenameTableOp, _context: MigrationContext) -> Footprint:
    return union([whole(operation.table_name, operation.schema), whole(operation.new_table_name, operation.schema)])


def _read_bulk_insert(operation: ops.BulkInsertOp, _context: MigrationContext) -> Footprint:
    return whole(operation.table.name, getattr(operation.table, "schema", None))


def _read_execute(operation: ops.ExecuteSQLOp, context: MigrationContext) -> Footprint:
    return read_construct(operation.sqltext, context.dialect)


def _read_script(operation: ExecuteScriptOp, _context: MigrationContext) -> Footprint:
    return opaque(f"it runs the program {operation.path}")


def _read_container(operation: ops.OpContainer, context: MigrationContext) -> Footprint:
    found = [read_operation(item, context) for item in operation.ops]
    unknown = [opaque("it has an operation of an unknown kind")] if None in found else []
    return union([*(item for item in found if item is not None), *unknown])


# The first kind that fits counts: those of AddConstraintOp that we do not know touch the whole table.
_READERS: Mapping[type[MigrateOperation], Callable[[Any, MigrationContext], Footprint]] = {
    ops.CreateTableOp: _read_create_table,
    ops.DropTableOp: _read_whole,
    ops.RenameTableOp: _read_rename,
    ops.CreateTableCommentOp: _read_whole,
    ops.DropTableCommentOp: _read_whole,
    ops.AddColumnOp: _read_add_column,
    ops.DropColumnOp: _read_drop_column,
    ops.AlterColumnOp: _read_alter_column,
    ops.CreateIndexOp: _read_create_index,
    ops.DropIndexOp: _read_drop_index,
    ops.CreateForeignKeyOp: _read_foreign_key,
    ops.CreateCheckConstraintOp: _read_check,
    ops.CreatePrimaryKeyOp: _read_columns,
    ops.CreateUniqueConstraintOp: _read_columns,
    ops.AddConstraintOp: _read_whole,
    ops.DropConstraintOp: _read_whole,
    ops.BulkInsertOp: _read_bulk_insert,
    ops.ExecuteSQLOp: _read_execute,
    ops.OpContainer: _read_container,
    ExecuteScriptOp: _read_script,
}
