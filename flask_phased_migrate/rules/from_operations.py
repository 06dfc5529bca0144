"""One Alembic operation to the changes that it makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.schema import SchemaItem

from ..inspection.observation import Seen
from ..operations import ExecuteScriptOp, with_plain_colons
from .changes import (
    NO_DEFAULT,
    NOWHERE,
    AddColumn,
    AddConstraint,
    Change,
    ChangeType,
    Column,
    CopyTable,
    CreateIndex,
    CreateTable,
    Default,
    DropColumn,
    DropConstraint,
    DropIndex,
    DropNotNull,
    DropTable,
    Name,
    Opaque,
    ReadsDatabase,
    RenameColumn,
    RenameTable,
    RunProgram,
    SetDefault,
    SetNotNull,
    Statement,
    TakeLock,
    WriteRows,
    names_of,
)


def read_seen(seen: Seen, dialect: Any) -> tuple[Statement, ...]:
    """Return what one thing that a body did comes to: several statements for raw SQL that has several."""
    if seen.kind == "table":
        return (Statement((*_create_table(seen.what, dialect),)),)
    if seen.kind == "copy":
        return (Statement((CopyTable(Name(*seen.what)),)),)
    if seen.kind == "read":
        return (Statement((ReadsDatabase(NOWHERE),)),)
    if seen.kind == "error":
        return (Statement((Opaque(NOWHERE, seen.what),)),)
    return _read_operation(seen.what, dialect)


def _read_operation(operation: Any, dialect: Any) -> tuple[Statement, ...]:
    if isinstance(operation, ops.ExecuteSQLOp):
        from .from_sql import read_sql

        return read_sql(operation.sqltext, dialect)
    for type_, read in _READERS.items():
        if isinstance(operation, type_):
            conditional = getattr(operation, "if_exists", None) or getattr(operation, "if_not_exists", None)
            return (Statement(tuple(read(operation, dialect)), is_conditional=bool(conditional)),)
    return (Statement((Opaque(NOWHERE, f"an operation of a kind that is not known: {type(operation).__name__}"),)),)


def _name(operation: Any) -> Name:
    return Name(operation.table_name, operation.schema)


# -- columns ------------------------------------------------------------------------------------------


def type_name(type_: Any, dialect: Any) -> str:
    """Return the engine's name of a type, "" where it has none."""
    if type_ is None:
        return ""
    try:
        return str(sa.types.to_instance(type_).compile(dialect=dialect))
    except sa.exc.SQLAlchemyError:
        return ""


def column_facts(column: sa.Column[Any], dialect: Any) -> Column:
    """Return what is known of a column that is made."""
    computed = column.computed
    numbers_itself = _numbers_itself(column, dialect)
    return Column(
        name=str(column.name),
        type_=type_name(column.type, dialect),
        nullable=bool(column.nullable) and not column.primary_key,
        default=NO_DEFAULT if computed is not None else read_default(column.server_default, dialect),
        numbers_itself=column.identity is not None or numbers_itself,
        generated="" if computed is None else _generated(computed, dialect),
        has_python_default=column.default is not None,
        is_key=bool(column.primary_key),
        is_serial=numbers_itself and column.identity is None,
    )


def _numbers_itself(column: sa.Column[Any], dialect: Any) -> bool:
    if column.autoincrement is True:
        return True
    is_whole = isinstance(column.type, sa.Integer)
    return dialect.name == "postgresql" and bool(column.primary_key) and is_whole and not column.foreign_keys


def _generated(computed: sa.Computed, dialect: Any) -> Any:
    if computed.persisted is None:
        # What each engine makes of it where nothing is said; PostgreSQL below 18 has only the one kind.
        return "stored" if dialect.name == "postgresql" else "virtual"
    return "stored" if computed.persisted else "virtual"


def read_default(value: Any, dialect: Any) -> Default:
    """Return what a server default is; a string is a literal."""
    if value is None or value is False or isinstance(value, (sa.Identity, sa.Computed)):
        return NO_DEFAULT
    written = getattr(value, "arg", value)
    if isinstance(written, str):
        # A literal, as the server has it.
        return Default("constant", "'" + written.replace("'", "''") + "'")
    if not isinstance(written, sa.sql.ClauseElement):
        return Default("unknown", str(written))
    try:
        text = str(written.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    except sa.exc.SQLAlchemyError:
        return Default("unknown")
    return judge_default(text, dialect.name)


def judge_default(text: str, dialect_name: str) -> Default:
    """Return what the text of a default is."""
    word = text.strip().strip("()").casefold()
    if word == "null":
        return Default("null", text)
    plain = word.replace(".", "").lstrip("+-").isdigit() or word in ("true", "false")
    if plain or (text[:1] == "'" and text.find("'", 1) == len(text) - 1):
        # Not worth loading the parser.
        return Default("constant", text)
    from .from_sql.defaults import read_default_text

    return read_default_text(text, dialect_name)


def _create_table(table: sa.Table, dialect: Any) -> Iterator[Change]:
    name = Name(table.name, table.schema)
    keys = tuple(_constraint(name, item, dialect) for item in table.constraints if _is_key(item))
    yield CreateTable(name, tuple(column_facts(column, dialect) for column in table.columns), keys)
    for index in table.indexes:
        columns = names_of(list(index.columns))
        yield CreateIndex(name, str(index.name or ""), columns, bool(index.unique))


def _is_key(constraint: SchemaItem) -> bool:
    return isinstance(constraint, (sa.ForeignKeyConstraint, sa.UniqueConstraint, sa.PrimaryKeyConstraint))


def _constraint(table: Name, item: Any, dialect: Any, **options: Any) -> AddConstraint:
    name = str(item.name or "") if isinstance(item.name, str) else ""
    if isinstance(item, sa.ForeignKeyConstraint):
        referent, columns = _referent(item)
        return AddConstraint(
            table, "foreign key", name, tuple(item.column_keys), referent, columns,
            not_valid=_is_not_valid(item, dialect),
            options=tuple(_key_options({name: getattr(item, name, None) for name in _KEY_OPTIONS})), **options,
        )  # fmt: skip
    if isinstance(item, sa.CheckConstraint):
        return AddConstraint(
            table, "check", name, text=_text(item.sqltext, dialect), not_valid=_is_not_valid(item, dialect), **options
        )
    columns = names_of(list(getattr(item, "columns", ()))) or tuple(getattr(item, "column_keys", ()))
    if isinstance(item, sa.PrimaryKeyConstraint):
        return AddConstraint(table, "primary key", name, columns, **options)
    if isinstance(item, sa.UniqueConstraint):
        return AddConstraint(table, "unique", name, columns, **options)
    kind: Any = "exclude" if type(item).__name__ == "ExcludeConstraint" else "unknown"
    return AddConstraint(table, kind, name, columns, **options)


def _is_not_valid(item: Any, dialect: Any) -> bool:
    return dialect.name == "postgresql" and bool(item.dialect_kwargs.get("postgresql_not_valid"))


def _referent(item: sa.ForeignKeyConstraint) -> tuple[Name, tuple[str, ...]]:
    names = [element.target_fullname.split(".") for element in item.elements]
    first = names[0] if names else [""]
    if len(first) < 2:
        return Name(first[0]), ()
    return Name(first[-2], ".".join(first[:-2]) or None), tuple(parts[-1] for parts in names)


def _text(clause: Any, dialect: Any) -> str:
    clause = with_plain_colons(clause)
    if isinstance(clause, str):
        return clause
    try:
        return str(clause.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    except sa.exc.SQLAlchemyError:
        return str(clause)


# -- operations ---------------------------------------------------------------------------------------


def _add_column(operation: ops.AddColumnOp, dialect: Any) -> Iterator[Change]:
    name, column = _name(operation), operation.column
    position = next((key for key in ("insert_before", "insert_after") if getattr(operation, "kw", {}).get(key)), "")
    yield AddColumn(name, column_facts(column, dialect), position)
    # A copy, as Alembic makes one: the constraints of the column itself come after it, one statement each.
    table = sa.Table(operation.table_name, sa.MetaData(), column._copy(), schema=operation.schema)
    for item in sorted(table.constraints, key=lambda found: type(found).__name__):
        if not isinstance(item, sa.PrimaryKeyConstraint) and not _is_inline(operation, item, dialect):
            yield _constraint(name, item, dialect, of_new_column=True)
    for index in table.indexes:
        yield CreateIndex(name, str(index.name or ""), (str(column.name),), bool(index.unique))


def _is_inline(operation: ops.AddColumnOp, item: Any, dialect: Any) -> bool:
    """Return whether a constraint is part of ADD COLUMN, and SQLite's foreign keys, which are left out."""
    if isinstance(item, sa.ForeignKeyConstraint):
        return bool(getattr(operation, "inline_references", False)) or dialect.name == "sqlite"
    return bool(getattr(item, "_type_bound", False)) and not getattr(operation.column.type, "create_constraint", False)


def _drop_column(operation: ops.DropColumnOp, _dialect: Any) -> Iterator[Change]:
    yield DropColumn(_name(operation), operation.column_name)


def _alter_column(operation: ops.AlterColumnOp, dialect: Any) -> Iterator[Change]:
    name, column = _name(operation), operation.column_name
    known = type_name(operation.modify_type or operation.existing_type, dialect)
    if isinstance(operation.modify_server_default, (sa.Identity, sa.Computed)):
        yield TakeLock(name, "ACCESS EXCLUSIVE")
    elif operation.modify_server_default is not False:
        default = read_default(operation.modify_server_default, dialect)
        existing = operation.existing_server_default
        before = None if existing is False or existing is None else read_default(existing, dialect)
        yield SetDefault(name, column, default, operation.existing_nullable, before)
    if operation.modify_type is not None:
        old, new = type_name(operation.existing_type, dialect), type_name(operation.modify_type, dialect)
        using = str(operation.kw.get("postgresql_using") or "")
        if old != new or using:
            yield ChangeType(name, column, old, new, using)
    if operation.modify_nullable is False:
        yield SetNotNull(name, column, known)
    elif operation.modify_nullable is True:
        yield DropNotNull(name, column, known)
    if operation.modify_name is not None and operation.modify_name != column:
        yield RenameColumn(name, column, operation.modify_name)


def _create_index(operation: ops.CreateIndexOp, dialect: Any) -> Iterator[Change]:
    options = operation.kw
    prefix = options.get("mysql_prefix") or options.get("mariadb_prefix") or ""
    where = options.get(f"{dialect.name}_where")
    yield CreateIndex(
        _name(operation),
        str(operation.index_name or ""),
        names_of(operation.columns),
        bool(operation.unique),
        dialect.name == "postgresql" and bool(options.get("postgresql_concurrently")),
        bool(operation.if_not_exists),
        str(prefix).upper(),
        "" if where is None else _text(where, dialect),
        tuple(_element(item, dialect) for item in operation.columns),
        tuple(_options(options, dialect)),
    )


def _element(item: Any, dialect: Any) -> str:
    return item if isinstance(item, str) else str(getattr(item, "name", None) or _text(item, dialect))


_OF_THE_RULE = ("postgresql_concurrently", "postgresql_where", "mysql_prefix", "mariadb_prefix")


def _options(options: Mapping[str, Any], dialect: Any) -> Iterator[tuple[str, str]]:
    """Yield the arguments of the engine that an index has besides those that rules are about."""
    for name, value in options.items():
        if name.startswith(f"{dialect.name}_") and name not in _OF_THE_RULE and value is not None:
            yield name, repr(value)


def _drop_index(operation: ops.DropIndexOp, dialect: Any) -> Iterator[Change]:
    concurrently = dialect.name == "postgresql" and bool(operation.kw.get("postgresql_concurrently"))
    yield DropIndex(Name(operation.table_name or "", operation.schema), str(operation.index_name), concurrently)


def _foreign_key(operation: ops.CreateForeignKeyOp, dialect: Any) -> Iterator[Change]:
    options = operation.kw
    yield AddConstraint(
        Name(operation.source_table, options.get("source_schema")),
        "foreign key",
        _given(operation.constraint_name),
        tuple(operation.local_cols),
        Name(operation.referent_table, options.get("referent_schema")),
        tuple(operation.remote_cols),
        not_valid=dialect.name == "postgresql" and bool(options.get("postgresql_not_valid")),
        options=tuple(_key_options(options)),
    )


_KEY_OPTIONS = ("ondelete", "onupdate", "deferrable", "initially", "match")


def _key_options(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the arguments of a foreign key or unique constraint that say what it does."""
    return ((name, repr(options[name])) for name in _KEY_OPTIONS if options.get(name) is not None)


def _given(name: Any) -> str:
    return name if isinstance(name, str) else ""


def _check(operation: ops.CreateCheckConstraintOp, dialect: Any) -> Iterator[Change]:
    not_valid = dialect.name == "postgresql" and bool(operation.kw.get("postgresql_not_valid"))
    text = _text(operation.condition, dialect)
    yield AddConstraint(_name(operation), "check", _given(operation.constraint_name), not_valid=not_valid, text=text)


def _unique(operation: Any, _dialect: Any) -> Iterator[Change]:
    kind: Any = "primary key" if isinstance(operation, ops.CreatePrimaryKeyOp) else "unique"
    yield AddConstraint(
        _name(operation), kind, _given(operation.constraint_name), names_of(list(operation.columns)),
        options=tuple(_key_options(getattr(operation, "kw", {}))),
    )  # fmt: skip


def _other_constraint(operation: Any, _dialect: Any) -> Iterator[Change]:
    kind: Any = "exclude" if "exclude" in type(operation).__name__.casefold() else "unknown"
    yield AddConstraint(_name(operation), kind, _given(getattr(operation, "constraint_name", None)))


_KINDS: Mapping[str | None, Any] = {
    "foreignkey": "foreign key",
    "primary": "primary key",
    "unique": "unique",
    "check": "check",
}


def _drop_constraint(operation: ops.DropConstraintOp, _dialect: Any) -> Iterator[Change]:
    kind = _KINDS.get(operation.constraint_type, "unknown")
    yield DropConstraint(_name(operation), str(operation.constraint_name), kind)


def _bulk_insert(operation: ops.BulkInsertOp, _dialect: Any) -> Iterator[Change]:
    yield WriteRows(Name(operation.table.name, getattr(operation.table, "schema", None)), "insert", is_bounded=True)


def _rename(operation: ops.RenameTableOp, _dialect: Any) -> Iterator[Change]:
    yield RenameTable(_name(operation), Name(operation.new_table_name, operation.schema))


def _drop_table(operation: ops.DropTableOp, _dialect: Any) -> Iterator[Change]:
    yield DropTable(_name(operation))


def _script(operation: ExecuteScriptOp, _dialect: Any) -> Iterator[Change]:
    yield RunProgram(Name(operation.path))


def _nothing(_operation: Any, _dialect: Any) -> Iterable[Change]:
    """A comment: no lock that others notice, and nothing that code can see."""
    return ()


def _container(operation: ops.OpContainer, dialect: Any) -> Iterator[Change]:
    for item in operation.ops:
        for statement in _read_operation(item, dialect):
            yield from statement.changes


_READERS: Mapping[type[Any], Callable[[Any, Any], Iterable[Change]]] = {
    ops.DropTableOp: _drop_table,
    ops.RenameTableOp: _rename,
    ops.CreateTableCommentOp: _nothing,
    ops.DropTableCommentOp: _nothing,
    ops.AddColumnOp: _add_column,
    ops.DropColumnOp: _drop_column,
    ops.AlterColumnOp: _alter_column,
    ops.CreateIndexOp: _create_index,
    ops.DropIndexOp: _drop_index,
    ops.CreateForeignKeyOp: _foreign_key,
    ops.CreateCheckConstraintOp: _check,
    ops.CreatePrimaryKeyOp: _unique,
    ops.CreateUniqueConstraintOp: _unique,
    ops.AddConstraintOp: _other_constraint,
    ops.DropConstraintOp: _drop_constraint,
    ops.BulkInsertOp: _bulk_insert,
    ops.OpContainer: _container,
    ExecuteScriptOp: _script,
}
