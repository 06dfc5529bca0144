"""What a change of a column's type means to two versions of the code, and literals of a type."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, Literal

import sqlalchemy as sa

from .values import Facts, Name

Change = Literal["wider", "wider, rewritten", "narrower", "other"]
_INTEGERS = (sa.SmallInteger, sa.Integer, sa.BigInteger)


def compiled(type_: Any, facts: Facts) -> str:
    """Return a type as the engine spells it."""
    return str(type_.compile(dialect=facts.dialect))


def shape_of(type_: Any, facts: Facts) -> tuple[Any, ...]:
    """Return what two types have in common that hold the same values, one from the models, one from the database."""
    found = type_.impl_instance if isinstance(type_, sa.TypeDecorator) else type_
    if isinstance(found, sa.Boolean) and facts.engine == "mysql":
        return (sa.SmallInteger, None, None, None, ())
    try:
        generic = found.as_generic()
    except NotImplementedError:
        return (compiled(type_, facts),)
    precision = None if isinstance(generic, sa.Float) else getattr(generic, "precision", None)
    sizes = (getattr(generic, "length", None), precision, getattr(generic, "scale", None) if precision else None)
    return (type(generic), *sizes, tuple(getattr(generic, "enums", ())))


def change_of(old: Any, new: Any) -> Change:
    """Return whether the new type takes all that the old one takes, and whether PostgreSQL rewrites the table for it.

    The list is the one of research on PostgreSQL 15: longer or unlimited text and more digits before the point cost
    nothing; every other change writes each row anew.
    """
    if _rank(old) and _rank(new):
        return "wider, rewritten" if _rank(new) > _rank(old) else "narrower"
    if isinstance(old, sa.String) and isinstance(new, sa.String) and not isinstance(old, sa.Enum):
        return "narrower" if _length(new) < _length(old) or isinstance(new, sa.Enum) else "wider"
    if isinstance(old, sa.Numeric) and isinstance(new, sa.Numeric):
        return _numeric_change(old, new)
    if _rank(old) and isinstance(new, sa.Numeric):
        return "wider, rewritten"
    if isinstance(old, sa.DateTime) and isinstance(new, sa.DateTime):
        return "wider, rewritten"
    return "other"


def _rank(type_: Any) -> int:
    """Return 1 to 3 for an integer type, the wider the more; 0 for another."""
    if isinstance(type_, sa.SmallInteger):
        return 1
    if isinstance(type_, sa.BigInteger):
        return 3
    return 2 if isinstance(type_, sa.Integer) else 0


def _length(type_: Any) -> float:
    return float("inf") if type_.length is None else float(type_.length)


def _numeric_change(old: Any, new: Any) -> Change:
    if isinstance(old, sa.Float) or isinstance(new, sa.Float) or old.precision is None or new.precision is None:
        return "wider, rewritten" if new.precision is None or isinstance(new, sa.Double) else "narrower"
    digits = (new.precision - (new.scale or 0)) - (old.precision - (old.scale or 0))
    scale = (new.scale or 0) - (old.scale or 0)
    if digits < 0 or scale < 0:
        return "narrower"
    return "wider" if scale == 0 else "wider, rewritten"


def default_literal(column: sa.Column[Any], facts: Facts) -> str | None:
    """Return a column's Python-side default as SQL, None where it has none or it is computed for each row."""
    default: Any = column.default
    if default is None or not default.is_scalar:
        return None
    return literal(default.arg, column.type, facts)


def literal(value: Any, type_: Any, facts: Facts) -> str | None:
    """Return a value of a type as SQL, None where the type has no literals.

    An ``Enum`` stores the name of a member, a ``Boolean`` what the engine has for it.
    """
    # DDL knows literals alone; the compiler doubles percent signs for drivers that format.
    try:
        text = str(sa.literal(value, type_).compile(dialect=facts.dialect, compile_kwargs={"literal_binds": True}))
    except (sa.exc.CompileError, NotImplementedError, TypeError, AttributeError, LookupError, ValueError):
        return None
    return text.replace("%%", "%") if facts.dialect.paramstyle in ("format", "pyformat") else text


def neutral_literal(type_: Any, facts: Facts) -> str | None:
    """Return a value that stands for a lost one: 0, the empty text; None for types that have no such value."""
    if isinstance(type_, sa.Enum):
        return literal(type_.enums[0], sa.String(), facts) if type_.enums else None
    neutral: dict[type, Any] = {
        sa.Boolean: False,
        sa.Integer: 0,
        sa.Numeric: 0,
        sa.Float: 0,
        sa.String: "",
        sa.DateTime: datetime.datetime(1970, 1, 1),
        sa.Date: datetime.date(1970, 1, 1),
    }
    for kind, value in neutral.items():
        if isinstance(type_, kind):
            return literal(value, type_, facts)
    return None


def native_enum(type_: Any) -> Any | None:
    """Return the type if PostgreSQL has it as a type of its own, else None."""
    return type_ if isinstance(type_, sa.Enum) and type_.native_enum and type_.name else None


def enum_name(type_: Any) -> Name:
    """Return schema and name of a native enum."""
    return (getattr(type_, "schema", None), str(type_.name))


def plain_enum(type_: Any) -> Any:
    """Return the type as a column has it whose ``CREATE TYPE`` is a statement of its own."""
    from sqlalchemy.dialects import postgresql

    return postgresql.ENUM(*type_.enums, name=type_.name, schema=type_.schema, create_type=False)


def model_enums(metadata: Any) -> Iterator[Any]:
    """Yield the native enums of a metadata's columns."""
    for table in metadata.tables.values():
        for column in table.columns:
            if native_enum(column.type) is not None:
                yield column.type
