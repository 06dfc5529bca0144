"""What a change of a column's type means to two versions of the code, and literals of a type."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from .statements import single_percent
from .values import Facts, Name

Change = Literal["wider", "wider, rewritten", "narrower", "other"]


def compiled(type_: Any, facts: Facts) -> str:
    """Return a type as the engine spells it."""
    return str(type_.compile(dialect=facts.dialect))


def change_of(old: Any, new: Any, facts: Facts) -> Change:
    """Return whether the new type takes all that the old one takes, and whether PostgreSQL rewrites the table for it.

    The list is the one of research on PostgreSQL 15: longer or unlimited text and more digits before the point cost
    nothing; every other change writes each row anew.
    """
    old, new = _plain(old, facts), _plain(new, facts)
    if isinstance(old, sa.JSON) and isinstance(new, postgresql.JSONB):
        return "wider, rewritten"
    if isinstance(old, sa.Enum) and isinstance(new, sa.Enum):
        is_same = facts.engine != "postgresql" or enum_name(old) == enum_name(new)
        return "wider" if is_same and set(old.enums) <= set(new.enums) else "other"
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


def needs_cast(old: Any, new: Any, facts: Facts) -> bool:
    """Return whether PostgreSQL converts only what it is told to convert.

    Not told to, it refuses a text that is too long; told to, it cuts it without a word.
    """
    old, new = _plain(old, facts), _plain(new, facts)
    if isinstance(new, sa.Enum):
        return True
    families: tuple[Any, ...] = (sa.String, sa.JSON, sa.DateTime)
    numbers = all(_rank(item) or isinstance(item, sa.Numeric) for item in (old, new))
    return not (
        isinstance(new, sa.String)
        or numbers
        or any(isinstance(old, kind) and isinstance(new, kind) for kind in families)
    )


def _plain(type_: Any, facts: Facts) -> Any:
    """Return what the database has for a type of the models."""
    found = type_.dialect_impl(facts.dialect)
    found = found.impl_instance if isinstance(found, sa.TypeDecorator) else found
    if isinstance(found, sa.Enum) and (not found.native_enum or facts.engine not in ("postgresql", "mysql")):
        return sa.String(found.length)
    return found


def _rank(type_: Any) -> int:
    """Return a number for an integer type, the wider the more; 0 for another."""
    names = {"TINYINT": 1, "MEDIUMINT": 3}
    if type(type_).__name__ in names:
        return names[type(type_).__name__]
    if isinstance(type_, sa.SmallInteger):
        return 2
    if isinstance(type_, sa.BigInteger):
        return 5
    return 4 if isinstance(type_, sa.Integer) else 0


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
    return single_percent(text, facts.dialect)


def text_of(value: str, facts: Facts) -> str | None:
    """Return the text that an SQL literal stands for, None where it is no text."""
    if not (value.startswith("'") and value.endswith("'")):
        return None
    text = value[1:-1].replace("''", "'")
    escapes = literal("\\", sa.String(), facts) != "'\\'"
    return text.replace("\\\\", "\\") if escapes else text


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


def without_check(type_: Any) -> Any:
    """Return a type without its check, which has operations of its own."""
    if not getattr(type_, "create_constraint", False):
        return type_
    found = type_.copy()
    found.create_constraint = False
    return found


def native_enum(type_: Any) -> Any | None:
    """Return the type if PostgreSQL has it as a type of its own, else None."""
    return type_ if isinstance(type_, sa.Enum) and type_.native_enum and type_.name else None


def enum_name(type_: Any) -> Name:
    """Return schema and name of a native enum."""
    return (getattr(type_, "schema", None), str(type_.name))


def plain_enum(type_: Any) -> Any:
    """Return the type as a column has it whose ``CREATE TYPE`` is a statement of its own."""
    return postgresql.ENUM(*type_.enums, name=type_.name, schema=type_.schema, create_type=False)


def model_enums(metadata: Any) -> Iterator[Any]:
    """Yield the native enums of a metadata's columns."""
    for table in metadata.tables.values():
        for column in table.columns:
            if native_enum(column.type) is not None:
                yield column.type
