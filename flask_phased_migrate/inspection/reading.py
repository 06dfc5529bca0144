"""One Alembic operation, or one SQLAlchemy construct, to what it touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops
from alembic.runtime.migration import MigrationContext

from ..footprint import NOTHING, Footprint, opaque, part, union, whole
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
    return read_new_table(operation.to_table(context), context)


def read_new_table(table: sa.Table, context: MigrationContext) -> Footprint:
    """Return what the creation of a table touches. Its operation can make it only once, where it has indexes."""
    name, schema = table.name, table.schema
    conditions = [item for item in table.constraints if isinstance(item, sa.CheckConstraint)]
    return union(
        [
            whole(name, schema),
            *(_target(key) for key in table.foreign_keys),
            *(_about_type(column.type, context) for column in table.columns),
            *(_about_value(column.server_default, name, schema, context) for column in table.columns),
            *(_read_expression(item.sqltext, name, schema, context, is_text=True) for item in conditions),
            *(_index_name(item.name, schema, context) for item in _with_index(table, context)),
        ]
    )


def _with_index(table: sa.Table, context: MigrationContext) -> list[Any]:
    """Return the indexes of a table, and on PostgreSQL the constraints that have an index of their name."""
    keys = (sa.UniqueConstraint, sa.PrimaryKeyConstraint) if context.dialect.name == "postgresql" else ()
    return [*table.indexes, *(item for item in table.constraints if isinstance(item, keys))]


def _index_name(name: Any, schema: str | None, context: MigrationContext) -> Footprint:
    """Return an index as a thing of its name, for engines on which all tables of a schema share these names."""
    shares = context.dialect.name in ("postgresql", "sqlite")
    return whole(name, schema, "index") if shares and isinstance(name, str) else NOTHING


def _about_type(type_: Any, context: MigrationContext) -> Footprint:
    """Return the named types of PostgreSQL that a type is made of, as things of that name."""
    type_ = sa.types.to_instance(type_)
    if context.dialect.name != "postgresql":
        return NOTHING
    if isinstance(type_, sa.types.UserDefinedType):
        from .statements import read_type

        return read_type(type_.compile(dialect=context.dialect), context.dialect.name)
    actual = type_.dialect_impl(context.dialect)
    while isinstance(actual, sa.types.TypeDecorator):
        actual = actual.load_dialect_impl(context.dialect)
    items = getattr(actual, "item_type", None)
    if items is not None:
        return _about_type(items, context)
    name = getattr(actual, "name", None)
    # DOMAIN is a type of PostgreSQL's alone, whose dialect the others do not load.
    is_named = (isinstance(actual, sa.Enum) or actual.__visit_name__ == "DOMAIN") and isinstance(name, str)
    return part(str(name), (), getattr(actual, "schema", None)) if is_named else NOTHING


def _about_value(value: Any, table: str, schema: str | None, context: MigrationContext) -> Footprint:
    """Return what a column's default or generated value touches; a string is a literal."""
    if isinstance(value, sa.Computed):
        return _read_expression(value.sqltext, table, schema, context, is_text=True)
    written = getattr(value, "arg", value)
    if not isinstance(written, sa.sql.ClauseElement) or isinstance(value, sa.Identity):
        return NOTHING
    if isinstance(written, sa.TextClause) and "(" not in written.text and "::" not in written.text:
        # A literal or a keyword: not worth loading the parser.
        return NOTHING
    return _read_expression(written, table, schema, context)


def _target(key: sa.ForeignKey) -> Footprint:
    """Return what a foreign key touches of the table that it points to."""
    names = key.target_fullname.split(".")
    if len(names) < 2:
        return whole(names[0])
    return part(names[-2], [names[-1]], ".".join(names[:-2]) or None)


def _read_add_column(operation: ops.AddColumnOp, context: MigrationContext) -> Footprint:
    column = operation.column
    table, schema = operation.table_name, operation.schema
    conditions = [item for item in column.constraints if isinstance(item, sa.CheckConstraint)]
    lost = conditions or getattr(column.type, "collation", None) or getattr(column.type, "create_constraint", False)
    if _is_lost_in_copies(context) and lost:
        own = whole(table, schema)
    else:
        own = part(table, [column.name, *_neighbours(operation)], schema)
    return union(
        [
            own,
            _about_type(column.type, context),
            _about_value(column.server_default, table, schema, context),
            *(_read_expression(item.sqltext, table, schema, context, is_text=True) for item in conditions),
            *(_target(key) for key in column.foreign_keys),
        ]
    )


def _neighbours(operation: Any) -> list[str]:
    """Return the columns before or behind which a batch puts a column."""
    options = getattr(operation, "kw", {})
    return [options[key] for key in ("insert_before", "insert_after") if options.get(key)]


def _is_lost_in_copies(context: MigrationContext) -> bool:
    """Return whether a batch copies tables, and so loses what SQLAlchemy cannot read back: CHECK constraints,
    indexes on expressions."""
    return context.dialect.name == "sqlite"


def _read_drop_column(operation: ops.DropColumnOp, _context: MigrationContext) -> Footprint:
    return part(operation.table_name, [operation.column_name], operation.schema)


def _read_alter_column(operation: ops.AlterColumnOp, context: MigrationContext) -> Footprint:
    table, schema = operation.table_name, operation.schema
    names = [operation.column_name, *filter(None, [operation.modify_name]), *_neighbours(operation)]
    types = [item for item in (operation.modify_type, operation.existing_type) if item is not None]
    using = operation.kw.get("postgresql_using")
    return union(
        [
            part(table, names, schema),
            *(_about_type(item, context) for item in types),
            _about_value(operation.modify_server_default, table, schema, context),
            _read_expression(sa.text(using), table, schema, context) if using else NOTHING,
        ]
    )


def _read_create_index(operation: ops.CreateIndexOp, context: MigrationContext) -> Footprint:
    table, schema = operation.table_name, operation.schema
    if _is_lost_in_copies(context) and not all(isinstance(item, (str, sa.Column)) for item in operation.columns):
        return whole(table, schema)
    found = [_read_expression(item, table, schema, context) for item in operation.columns]
    found.append(_index_name(operation.index_name, schema, context))
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


def _read_foreign_key(operation: ops.CreateForeignKeyOp, context: MigrationContext) -> Footprint:
    name = operation.constraint_name
    return union(
        [
            _key_name(name, operation.kw.get("source_schema"), context),
            part(operation.source_table, operation.local_cols, operation.kw.get("source_schema")),
            part(operation.referent_table, operation.remote_cols, operation.kw.get("referent_schema")),
        ]
    )


def _key_name(name: Any, schema: str | None, context: MigrationContext) -> Footprint:
    """Return a foreign key as a thing of its name, for engines on which all tables of a schema share these names."""
    shares = context.dialect.name in ("mysql", "mariadb")
    return whole(name, schema, "foreign key") if shares and isinstance(name, str) else NOTHING


def _read_columns(operation: Any, context: MigrationContext) -> Footprint:
    """Return the footprint of a UNIQUE constraint or primary key."""
    own = part(operation.table_name, map(str, operation.columns), operation.schema)
    if context.dialect.name != "postgresql":
        return own
    return union([own, _index_name(operation.constraint_name, operation.schema, context)])


def _read_drop_constraint(operation: ops.DropConstraintOp, context: MigrationContext) -> Footprint:
    found, kind = [whole(operation.table_name, operation.schema)], operation.constraint_type
    if context.dialect.name == "postgresql" and kind in (None, "unique", "primary"):
        found.append(_index_name(operation.constraint_name, operation.schema, context))
    if kind in (None, "foreignkey"):
        found.append(_key_name(operation.constraint_name, operation.schema, context))
    return union(found)


def _read_whole(operation: Any, _context: MigrationContext) -> Footprint:
    return whole(operation.table_name, operation.schema)


def _read_drop_index(operation: ops.DropIndexOp, context: MigrationContext) -> Footprint:
    name = _index_name(operation.index_name, operation.schema, context)
    if operation.table_name is None:
        return union([name, opaque(f"drop_index({operation.index_name!r}) does not name its table")])
    return union([name, whole(operation.table_name, operation.schema)])


def _read_rename(operation: ops.RenameTableOp, _context: MigrationContext) -> Footprint:
    return union([whole(operation.table_name, operation.schema), whole(operation.new_table_name, operation.schema)])


def _read_bulk_insert(operation: ops.BulkInsertOp, context: MigrationContext) -> Footprint:
    values = (value for row in operation.rows if isinstance(row, Mapping) for value in row.values())
    written = [read_construct(sa.select(value), context.dialect) for value in values if _is_expression(value)]
    return union([whole(operation.table.name, getattr(operation.table, "schema", None)), *written])


def _is_expression(value: Any) -> bool:
    return isinstance(value, sa.sql.ClauseElement) and not isinstance(value, sa.BindParameter)


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
    ops.DropConstraintOp: _read_drop_constraint,
    ops.BulkInsertOp: _read_bulk_insert,
    ops.ExecuteSQLOp: _read_execute,
    ops.OpContainer: _read_container,
    ExecuteScriptOp: _read_script,
}
