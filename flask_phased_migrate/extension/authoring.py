"""What autogenerate compares, and how what it finds becomes a revision: the options that go into env.py's context."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..environment import BINDS_KEY, bind_name
from ..phases import Phases, split_names

if TYPE_CHECKING:
    from ..authoring import Answers, Facts

COMMAND_FOR_TEMPLATE = "flask db init --update-template"
TEMPLATE_MARK = "revision_text("
"""What a revision template calls that has a place for each phase."""


@dataclass(frozen=True)
class Compared:
    """One metadata that was compared: with what, and how many tables it has."""

    bind: str
    database: str
    tables: int

    def __str__(self) -> str:
        number = "no table" if self.tables == 0 else f"{self.tables} table{'s' if self.tables > 1 else ''}"
        return f"{self.bind} ({self.database}): {number}"


@dataclass
class Comparison:
    """Changes what env.py gives to ``context.configure()``; called with it, once a bind.

    ``answers`` is None where nothing is to be written. ``split`` says, after the call, whether the operations were
    divided into phases.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    phases: Phases | None = None
    answers: Answers | None = None
    split: bool = False
    views: set[str] = field(default_factory=set)
    compared: list[Compared] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __call__(self, options: dict[str, Any]) -> None:
        """Add our own choices to those of env.py, which go first."""
        options["include_object"] = self._including(options.get("include_object"))
        if self.schemas:
            options["include_schemas"] = True
            options["include_name"] = self._including_schema(options.get("include_name"))
        if "user_module_prefix" not in options:
            options["render_item"] = _importing(options.get("render_item"))
        options["render_item"] = _keeping_create_type(options.get("render_item"))
        options["process_revision_directives"] = self._processing(options.get("process_revision_directives"))

    def _including(self, chosen: Callable[..., bool] | None) -> Callable[..., bool]:
        def include_object(item: Any, name: Any, type_: str, reflected: bool, compare_to: Any) -> bool:
            if type_ == "table" and getattr(item, "is_view", False):
                self.views.add(item.fullname)
                return False
            if type_ == "table" and not self.is_ours(item.schema, str(name)):
                return False
            return True if chosen is None else chosen(item, name, type_, reflected, compare_to)

        return include_object

    def is_ours(self, schema: str | None, name: str) -> bool:
        """Return whether a table is compared: it is included, where that is limited, and not excluded."""
        full = name if schema is None else f"{schema}.{name}"
        if self.include and not any(_matches(pattern, name, full) for pattern in self.include):
            return False
        return not any(_matches(pattern, name, full) for pattern in self.exclude)

    def _including_schema(self, chosen: Callable[..., bool] | None) -> Callable[..., bool]:
        def include_name(name: str | None, type_: str, parents: Any) -> bool:
            if type_ == "schema" and name is not None and name not in self.schemas:
                return False
            return True if chosen is None else chosen(name, type_, parents)

        return include_name

    def _processing(self, own: Callable[..., None] | None) -> Callable[..., None]:
        def process_revision_directives(context: Any, revision: Any, directives: list[Any]) -> None:
            metadata = _metadata_of(context)
            if context.opts.get("target_metadata") is not None and context.connection is not None:
                self.compared.append(_describe(context, metadata))
                if directives:
                    _add_enum_values(context, metadata, directives[0])
                if directives and self.answers is not None:
                    _add_unnamed(context, metadata, directives[0])
                    _add_checks(context, directives[0])
                self.notes.extend(_unwritten(context, metadata, self.is_ours))
            if own is not None:
                own(context, revision, directives)
            if directives and self.answers is not None and self.phases is not None:
                self._divide(context, metadata, directives[0])

        return process_revision_directives

    def _divide(self, context: Any, metadata: Sequence[Any], script: Any) -> None:
        from ..authoring import split_script

        assert self.answers is not None
        assert self.phases is not None
        self.split = True
        self.notes.extend(split_script(script, self.phases, read_facts(context, metadata), self.answers))
        if len(self.compared) == len(context.opts.get(BINDS_KEY, (None,))):
            self.answers.refuse_unused()


def _matches(pattern: str, name: str, full: str) -> bool:
    return fnmatchcase(full, pattern) or fnmatchcase(name, pattern)


def make_comparison(config: Mapping[str, Any]) -> Comparison:
    """Return what the application's settings say of the comparison."""
    include, exclude, schemas = (
        split_names(config.get(f"MIGRATE_{name}") or ()) for name in ("INCLUDE_TABLES", "EXCLUDE_TABLES", "SCHEMAS")
    )
    return Comparison(include, exclude, schemas)


def _metadata_of(context: Any) -> tuple[Any, ...]:
    found = context.opts.get("target_metadata")
    return tuple(found) if isinstance(found, (list, tuple)) else () if found is None else (found,)


def _describe(context: Any, metadata: Sequence[Any]) -> Compared:
    url = context.connection.engine.url
    tables = sum(not getattr(table, "is_view", False) for item in metadata for table in item.tables.values())
    return Compared(bind_name(context.opts, {}), f"{url.get_backend_name()} {url.database or 'in memory'}", tables)


def _importing(own: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return Alembic's hook for rendering, which adds the import of each type that is not SQLAlchemy's."""

    def render_item(type_: str, item: Any, context: Any) -> Any:
        rendered = own(type_, item, context) if own is not None else False
        module = type(item).__module__
        if type_ == "type" and rendered is False and module.split(".")[0] not in ("sqlalchemy", "builtins"):
            context.imports.add(f"import {module}")
        return rendered

    return render_item


def _keeping_create_type(own: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return Alembic's hook for rendering, which writes ``create_type=False``: SQLAlchemy 2.0.31 leaves it out."""

    def render_item(type_: str, item: Any, context: Any) -> Any:
        rendered = own(type_, item, context) if own is not None else False
        if (
            type_ != "type"
            or rendered is not False
            or type(item).__module__ != "sqlalchemy.dialects.postgresql.named_types"
        ):
            return rendered
        text = repr(item)
        if getattr(item, "create_type", True) or "create_type=" in text:
            return False
        context.imports.add("from sqlalchemy.dialects import postgresql")
        return f"postgresql.{text.removesuffix(')')}, create_type=False)"

    return render_item


COMPARISON_PLUGIN = "flask_phased_migrate.comparison"
"""The name under which Alembic knows :func:`compare_server_default` and :func:`know_referred_tables`."""


def register_comparison() -> str:
    """Make our comparisons known to Alembic, once, and return the plugin's name."""
    from alembic.runtime.plugins import Plugin
    from alembic.util import DispatchPriority

    with suppress(ValueError):  # it is known already
        plugin, first = Plugin(COMPARISON_PLUGIN), DispatchPriority.FIRST
        plugin.add_autogenerate_comparator(compare_server_default, "column", "server_default", priority=first)
        plugin.add_autogenerate_comparator(know_referred_tables, "table", "foreignkeys", priority=first)
    return COMPARISON_PLUGIN


def know_referred_tables(
    _context: Any, _operations: Any, _schema: str | None, _name: str, found: Any, wanted: Any
) -> Any:
    """Give the reflected tables those that their foreign keys point to and that do not stay.

    Alembic 1.18.0 does not do it, and its comparison of foreign keys fails for want of them. They get no more than the
    columns that are pointed to: Alembic compares a table that is dropped from a reflection of its own, which is left as
    it is.
    """
    from alembic.util import PriorityDispatchResult

    if found is not None and wanted is not None:
        for element in [item for key in found.foreign_key_constraints for item in key.elements]:
            _add_referred(found.metadata, element)
    return PriorityDispatchResult.CONTINUE


def _add_referred(metadata: Any, element: Any) -> None:
    import sqlalchemy as sa

    table, _, column = element.target_fullname.rpartition(".")
    schema, _, name = table.rpartition(".")
    known = metadata.tables.get(table)
    if known is None:
        known = sa.Table(name, metadata, schema=schema or None, info={COMPARISON_PLUGIN: "no more than referred"})
    if COMPARISON_PLUGIN in known.info and column not in known.columns:
        known.append_column(sa.Column(column, element.parent.type))


def compare_server_default(
    context: Any, operation: Any, _schema: Any, _table: Any, _column: Any, found: Any, wanted: Any
) -> Any:
    """Tell Alembic's comparison to stop at a server default that is the same, or surely another.

    Alembic stumbles over quotes in a text and over json, and takes what a server spells in its own way for another
    default: ``now()`` of MariaDB, ``''``, ``false``.
    """
    from alembic.util import PriorityDispatchResult

    operation.existing_server_default = found.server_default
    differs = _default_differs(context.dialect, found.server_default, wanted.server_default, wanted.type)
    if differs:
        operation.modify_server_default = wanted.server_default
    return PriorityDispatchResult.CONTINUE if differs is None else PriorityDispatchResult.STOP


def _default_differs(dialect: Any, found: Any, wanted: Any, type_: Any) -> bool | None:
    """Return whether a default of the database is another than that of the models; None where that is not sure."""
    import sqlalchemy as sa

    if not isinstance(found, sa.DefaultClause) or not isinstance(wanted, sa.DefaultClause):
        return None
    now, text = str(getattr(found.arg, "text", found.arg)), wanted.arg
    if not isinstance(text, str):
        rendered = str(text.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        return False if _spelled(now) == _spelled(rendered) else None
    if now.count("'") < 2:
        return False if _is_same_number(now, text) else None
    inside = now[now.index("'") + 1 : now.rindex("'")].replace("''", "'")
    if (_without_backslashes(inside) if dialect.name in ("mysql", "mariadb") else inside) == text:
        return False
    if _is_same_number(inside, text) is not None:
        # PostgreSQL refuses to compare 1.5 with what is a whole number as yet.
        return not _is_same_number(inside, text)
    return True if {"'", "\\"} & set(text) or type(type_).__name__ == "JSON" else None


def _is_same_number(found: str, wanted: str) -> bool | None:
    """Return whether two texts are one number, None where one is none: MariaDB has 1.5000 for 1.5."""
    try:
        return Decimal(found) == Decimal(wanted)
    except InvalidOperation:
        return None


def _without_backslashes(text: str) -> str:
    letters = iter(text)
    return "".join(next(letters, "") if letter == "\\" else letter for letter in letters)


def _spelled(default: str) -> str:
    """Return a default as all engines would spell it."""
    plain = default.strip().lower()
    while plain.startswith("(") and plain.endswith(")"):
        plain = plain[1:-1].strip()
    return {
        "now()": "current_timestamp", "current_timestamp()": "current_timestamp", "true": "1", "false": "0"
    }.get(plain, plain)  # fmt: skip


# -- facts of a database --------------------------------------------------------------------------------


def read_facts(context: Any, metadata: Sequence[Any]) -> Facts:
    """Return what the rules have to know of a bind's database; reads only."""
    import sqlalchemy as sa

    from ..authoring import Facts

    inspector = sa.inspect(context.connection)
    tables = {(table.schema, table.name) for item in metadata for table in item.tables.values()}
    existing = {schema: set(inspector.get_table_names(schema=schema)) for schema in {schema for schema, _ in tables}}
    indexes = {
        (schema, name): _read_indexes(inspector, schema, name)
        for schema, name in tables
        if context.dialect.name in ("mysql", "mariadb") and name in existing[schema]
    }
    return Facts(
        dialect=context.dialect,
        metadata=tuple(metadata),
        enums=read_enums(context),
        enum_users=_read_enum_users(context),
        indexes=indexes,
        default_schema=inspector.default_schema_name,
        keys={table: _read_key(inspector, table, context.dialect) for table in indexes if indexes[table]["PRIMARY"]},
        partitioned=_read_partitioned(context),
        checks=_read_checks(inspector, metadata, existing),
        letter_bytes=_read_letter_bytes(context),
        json_columns=_read_json_columns(context),
        differs=context.impl.compare_type,
    )


def _read_key(inspector: Any, table: tuple[str | None, str], dialect: Any) -> tuple[str, str]:
    """Return the first column of a table's primary key and its type."""
    schema, name = table
    first = inspector.get_pk_constraint(name, schema)["constrained_columns"][0]
    types = {item["name"]: item["type"] for item in inspector.get_columns(name, schema)}
    return str(first), str(types[first].compile(dialect=dialect))


def _read_partitioned(context: Any) -> frozenset[tuple[str | None, str]]:
    """Return PostgreSQL's tables that have their rows in others."""
    if context.dialect.name != "postgresql":
        return frozenset()
    import sqlalchemy as sa

    usual = sa.inspect(context.connection).default_schema_name
    rows = context.connection.execute(sa.text(_PARTITIONED))
    return frozenset((None if schema == usual else schema, name) for schema, name in rows)


_PARTITIONED = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p'
"""


def _read_letter_bytes(context: Any) -> dict[tuple[str | None, str], dict[str, int]]:
    """Return how many bytes a letter takes at the most, by table and column of MariaDB and MySQL."""
    if context.dialect.name not in ("mysql", "mariadb"):
        return {}
    import sqlalchemy as sa

    usual = sa.inspect(context.connection).default_schema_name
    found: dict[tuple[str | None, str], dict[str, int]] = {}
    for schema, table, column, size in context.connection.execute(sa.text(_LETTER_BYTES)):
        found.setdefault((None if schema == usual else schema, table), {})[column] = int(size)
    return found


_LETTER_BYTES = """
SELECT table_schema, table_name, column_name, ceil(character_octet_length / character_maximum_length)
FROM information_schema.columns
WHERE character_maximum_length > 0 AND data_type IN ('char', 'varchar')
  AND table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')
"""


def _read_json_columns(context: Any) -> frozenset[Any]:
    """Return the columns of MariaDB that are long texts with a check for json: its JSON. The check has their name."""
    if not getattr(context.dialect, "is_mariadb", False):
        return frozenset()
    import sqlalchemy as sa

    usual = sa.inspect(context.connection).default_schema_name
    rows = context.connection.execute(sa.text(_JSON_COLUMNS))
    return frozenset(((None if schema == usual else schema, table), column) for schema, table, column in rows)


_JSON_COLUMNS = """
SELECT constraint_schema, table_name, constraint_name FROM information_schema.check_constraints
WHERE check_clause LIKE 'json_valid(%'
"""


def _read_checks(
    inspector: Any, metadata: Sequence[Any], existing: Mapping[str | None, set[str]]
) -> dict[tuple[str | None, str], dict[str, str]]:
    """Return the text of the checks, by table and name, where the models keep lists of values in checks."""
    from ..authoring import value_checks

    return {
        (table.schema, table.name): {
            str(item["name"]): str(item["sqltext"])
            for item in inspector.get_check_constraints(table.name, table.schema)
        }
        for one in metadata
        for table in one.tables.values()
        if table.name in existing.get(table.schema, ()) and value_checks(table)
    }


def _read_indexes(inspector: Any, schema: str | None, table: str) -> dict[str, tuple[str, ...]]:
    found = {str(item["name"]): tuple(map(str, item["column_names"])) for item in inspector.get_indexes(table, schema)}
    return {"PRIMARY": tuple(inspector.get_pk_constraint(table, schema)["constrained_columns"]), **found}


def read_enums(context: Any) -> dict[tuple[str | None, str], tuple[str, ...]]:
    """Return PostgreSQL's types of values by schema (None for the usual one) and name."""
    if context.dialect.name != "postgresql":
        return {}
    import sqlalchemy as sa

    inspector: Any = sa.inspect(context.connection)
    usual = inspector.default_schema_name
    return {
        (None if item["schema"] == usual else item["schema"], item["name"]): tuple(item["labels"])
        for item in inspector.get_enums(schema="*")
    }


_USERS = """
SELECT n.nspname, t.typname, count(*) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_class c ON c.oid = a.attrelid
WHERE t.typtype = 'e' AND c.relkind IN ('r', 'p') AND NOT a.attisdropped GROUP BY 1, 2
"""


def _read_enum_users(context: Any) -> dict[tuple[str | None, str], int]:
    if context.dialect.name != "postgresql":
        return {}
    import sqlalchemy as sa

    usual = sa.inspect(context.connection).default_schema_name
    rows = context.connection.execute(sa.text(_USERS))
    return {(None if schema == usual else schema, name): count for schema, name, count in rows}


def _add_enum_values(context: Any, metadata: Sequence[Any], script: Any) -> None:
    """Add to the operations the values that the models have and the database has not: of types, and of checks."""
    import sqlalchemy as sa

    from ..authoring import check_changes, enum_changes, value_checks

    found = script.upgrade_ops_list[-1].ops
    if context.dialect.name == "postgresql":
        found.extend(enum_changes(metadata, read_enums(context), context.dialect))
    inspector = sa.inspect(context.connection)
    schemas = {table.schema for one in metadata for table in one.tables.values() if value_checks(table)}
    existing = {schema: set(inspector.get_table_names(schema=schema)) for schema in schemas}
    found.extend(check_changes(metadata, _read_checks(inspector, metadata, existing), context.dialect))


def _add_unnamed(context: Any, metadata: Sequence[Any], script: Any) -> None:
    """Add the unique constraints without a name that SQLite has and the models have not: Alembic passes over them."""
    if context.dialect.name != "sqlite":
        return
    import sqlalchemy as sa

    from ..authoring import unnamed_uniques

    inspector = sa.inspect(context.connection)
    tables = set(inspector.get_table_names())
    existing = {
        table.name: [
            tuple(map(str, item["column_names"]))
            for item in inspector.get_unique_constraints(table.name)
            if item["name"] is None
        ]
        for one in metadata
        for table in one.tables.values()
        if table.schema is None and table.name in tables
    }
    script.upgrade_ops_list[-1].ops.extend(unnamed_uniques(metadata, existing))


def _add_checks(context: Any, script: Any) -> None:
    import sqlalchemy as sa

    from ..authoring import add_drops_of_checks

    inspector = sa.inspect(context.connection)

    def existing(table: tuple[str | None, str]) -> list[tuple[str, str]]:
        found = inspector.get_check_constraints(table[1], table[0])
        return [(str(item["name"]), str(item["sqltext"])) for item in found if item["name"] is not None]

    add_drops_of_checks(script.upgrade_ops_list[-1].ops, existing, context.dialect.name)


def _unwritten(context: Any, metadata: Sequence[Any], is_ours: Callable[[str | None, str], bool]) -> list[str]:
    """Return what differs and no operation can say: keys, and values that a type of PostgreSQL has too many."""
    import sqlalchemy as sa

    from ..authoring import model_values

    inspector = sa.inspect(context.connection)
    notes = []
    for table in (table for one in metadata for table in one.tables.values() if is_ours(table.schema, table.name)):
        if getattr(table, "is_view", False) or not inspector.has_table(table.name, schema=table.schema):
            continue
        found = set(inspector.get_pk_constraint(table.name, table.schema)["constrained_columns"])
        wanted = {column.name for column in table.primary_key.columns}
        if found != wanted:
            notes.append(
                f"Not compared: the primary key of {table.fullname} is ({', '.join(sorted(found))}) in the database "
                f"and ({', '.join(sorted(wanted))}) in the models. Write that revision by hand: flask db revision"
            )
    for name, values in read_enums(context).items():
        more = [value for value in values if value not in model_values(metadata).get(name, values)]
        if more:
            notes.append(
                f"Not compared: the type {name[1]} has {', '.join(map(repr, more))}, which the models have not. "
                "PostgreSQL cannot take a value from a type; it does no harm there."
            )
    return notes


# -- templates ------------------------------------------------------------------------------------------


def has_phases(folder: str) -> bool:
    """Return whether a folder's revision template has a place for the operations of each phase."""
    template = Path(folder, "script.py.mako")
    return template.is_file() and TEMPLATE_MARK in template.read_text(encoding="utf-8", errors="replace")


def update_template(folder: str) -> tuple[Path, Path | None]:
    """Put our revision template into a folder; return its path, and where the one that was there went."""
    from ..environment import Config

    template = Path(folder, "script.py.mako")
    kept = None
    if template.exists():
        kept = template.with_name("script.py.mako.old")
        number = 2
        while kept.exists():
            kept = template.with_name(f"script.py.mako.old{number}")
            number += 1
        template.rename(kept)
    ours = Path(Config().get_template_directory(), "flask", "script.py.mako")
    template.write_text(ours.read_text(encoding="utf-8"), encoding="utf-8")
    return template, kept
