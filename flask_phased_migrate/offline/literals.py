"""Values written out in SQL, as the engine's own client reads them.

SQLAlchemy's own literals cover numbers, plain text, dates and times. What it has no words for, or words that only
some servers take, is written here from the value that an online run would hand to the driver.
"""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

ORACLE_TEXT_LIMIT, ORACLE_RAW_LIMIT = 1000, 2000
"""Characters of a text, of four bytes each, and bytes of a RAW, that one literal may have (SQL Language Reference)."""

_MYSQL = ("mysql", "mariadb")


@contextmanager
def literals_written_out(dialect: sa.Dialect) -> Iterator[None]:
    """Let ``dialect`` compile values to the literals of this module for the block."""
    before: Any = dialect.statement_compiler
    dialect.statement_compiler = _compiler_for(before)
    try:
        yield
    finally:
        dialect.statement_compiler = before


@functools.cache
def _compiler_for(compiler: Any) -> Any:
    def render_literal_value(self: Any, value: Any, type_: Any) -> str:
        try:
            text = _Literals(self).render(value, type_)
        except (ValueError, TypeError, AttributeError, decimal.DecimalException) as error:
            raise sa.exc.CompileError(f"{value!r} cannot be written in SQL as a {type_!r}: {error}") from error
        return str(compiler.render_literal_value(self, value, type_)) if text is None else text

    def render_literal_bindparam(self: Any, bindparam: Any, *arguments: Any, **options: Any) -> str:
        # JSON tells a null of its own from NULL, and SQLAlchemy makes NULL of both.
        if (
            not arguments
            and "render_literal_value" not in options
            and bindparam.value is None
            and bindparam.callable is None
            and bindparam.type.should_evaluate_none
        ):
            return render_literal_value(self, None, bindparam.type)
        return str(compiler.render_literal_bindparam(self, bindparam, *arguments, **options))

    own = {"render_literal_value": render_literal_value, "render_literal_bindparam": render_literal_bindparam}
    return type(f"Literal{compiler.__name__}", (compiler,), own)


class _Literals:
    """Writes values for one compiler; None for what SQLAlchemy's own literal is right for."""

    def __init__(self, compiler: Any) -> None:
        self.compiler = compiler
        self.dialect = compiler.dialect
        self.engine: str = compiler.dialect.name

    def render(self, value: Any, type_: Any) -> str | None:
        if value is None and not type_.should_evaluate_none:
            return None
        kind, value, changed = self._undecorated(value, type_)
        text = self._of_type(value, kind)
        if text is None:
            text = self._of_value(value, kind)
        if text is None and (changed or not self._has_own(kind)):
            text = self._undecorated_text(value, kind)
        return text

    def _undecorated(self, value: Any, type_: Any) -> tuple[Any, Any, bool]:
        """Return a type and value without the decorators around them, and whether there were any to be applied."""
        kind, changed = type_.dialect_impl(self.dialect), False
        while isinstance(kind, sa.TypeDecorator):
            own = type(kind)
            if own.literal_processor is not sa.TypeDecorator.literal_processor:
                break
            if own.bind_processor is not sa.TypeDecorator.bind_processor:
                # Interval and PickleType of SQLAlchemy: what their processor gives is ready for the driver.
                processor = kind.bind_processor(self.dialect)
                return sa.types.NullType(), processor(value) if processor else value, True
            if own.process_literal_param is not sa.TypeDecorator.process_literal_param:
                if not self._has_own(kind.impl_instance):
                    break
                value, changed = kind.process_literal_param(value, self.dialect), True
            elif own.process_bind_param is not sa.TypeDecorator.process_bind_param:
                value, changed = kind.process_bind_param(value, self.dialect), True
            kind = kind.impl_instance
        return kind, value, changed

    def _has_own(self, kind: Any) -> bool:
        return kind.literal_processor(self.dialect) is not None

    def _of_type(self, value: Any, kind: Any) -> str | None:
        """Return the literal of a value that its type must be known for."""
        if isinstance(kind, sa.JSON):
            return self._json(value, kind)
        if isinstance(kind, sa.ARRAY) and self.engine == "postgresql" and not isinstance(value, str):
            return f"{self._array(value, kind.item_type, kind.dimensions)}::{self._type_name(kind)}"
        if isinstance(value, (set, frozenset)) and hasattr(kind, "values"):
            return self.quote(",".join(item for item in kind.values if item in value))
        if self.engine == "postgresql" and hasattr(kind, "text_type") and isinstance(value, Mapping):
            return self._typed(str(_hstore(value)), kind)
        return None

    def _of_value(self, value: Any, kind: Any) -> str | None:
        """Return the literal of a value whose class is enough to know it by."""
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._bytes(bytes(value))
        if isinstance(value, dt.timedelta):
            return self._timedelta(value)
        if isinstance(value, (dt.datetime, dt.date, dt.time)):
            return self._moment(value, kind)
        if isinstance(value, (float, decimal.Decimal)) and isinstance(kind, (sa.Numeric, sa.Float, sa.types.NullType)):
            return self._number(value)
        if isinstance(value, str) and isinstance(kind, sa.String) and not isinstance(kind, sa.Enum):
            return self.quote(value)
        return None

    def _undecorated_text(self, value: Any, kind: Any) -> str | None:
        """Return the literal of a value of a type without literals of its own, or whose decorators are applied."""
        if value is None:
            return "NULL"
        if self._has_own(kind):
            return str(self.compiler.render_literal_value(value, kind))
        if isinstance(value, bool):
            return str(self.compiler.render_literal_value(value, sa.Boolean()))
        if isinstance(value, (int, float, decimal.Decimal)):
            return self._number(value)
        untyped = isinstance(kind, sa.types.NullType)
        if isinstance(value, (list, tuple)) and self.engine == "postgresql":
            return self._untyped_list(list(value), kind)
        if untyped and not isinstance(value, str):
            found = sa.literal(value).type
            return (
                None if isinstance(found, sa.types.NullType) else str(self.compiler.render_literal_value(value, found))
            )
        if isinstance(value, (dict, list, tuple, set, frozenset)):
            return None
        return self.quote(str(value)) if untyped else self._typed(str(value), kind)

    # -- one kind of value each -----------------------------------------------------------------------

    def quote(self, text: str) -> str:
        """Return text as a literal that ends where the client of the engine thinks that it ends."""
        quoted = text.replace("'", "''")
        if self.engine in _MYSQL and self.dialect._backslash_escapes:
            quoted = quoted.replace("\\", "\\\\")
        if self.engine == "mssql":
            return _mssql_text(quoted)
        return _oracle_text(text) if self.engine == "oracle" else f"'{quoted}'"

    def _typed(self, text: str, kind: Any) -> str:
        """Return text as a literal of a type, with its name where the engine has a cast for it."""
        quoted = self.quote(text)
        return f"{quoted}::{self._type_name(kind)}" if self.engine == "postgresql" else quoted

    def _json(self, value: Any, kind: Any) -> str:
        if isinstance(value, sa.Null) or (value is None and kind.none_as_null):
            return "NULL"
        # The application's own serializer, of its engine, is not known to a dialect without one.
        serializer = getattr(self.dialect, "_json_serializer", None) or json.dumps
        return self._typed(serializer(None if value is sa.JSON.NULL else value), kind)

    def _type_name(self, kind: Any) -> str:
        return str(self.dialect.type_compiler_instance.process(kind))

    def _bytes(self, value: bytes) -> str:
        digits = value.hex()
        if self.engine == "postgresql":
            return f"'\\x{digits}'::bytea"
        if self.engine == "mssql":
            return f"0x{digits}"
        if self.engine != "oracle":
            return f"X'{digits}'"
        if len(value) > ORACLE_RAW_LIMIT:
            raise ValueError(f"Oracle takes {ORACLE_RAW_LIMIT} bytes in a literal, and these are {len(value)}")
        return f"HEXTORAW('{digits}')"

    def _timedelta(self, value: dt.timedelta) -> str | None:
        if self.engine == "postgresql":
            seconds = decimal.Decimal(value.seconds) + decimal.Decimal(value.microseconds) / 1_000_000
            return f"'{value.days} days {seconds} seconds'::interval"
        if self.engine not in _MYSQL:
            return None
        microseconds = abs(value) // dt.timedelta(microseconds=1)
        minutes, rest = divmod(microseconds, 60_000_000)
        sign = "-" if value < dt.timedelta() else ""
        return f"'{sign}{minutes // 60:02}:{minutes % 60:02}:{rest // 1_000_000:02}.{rest % 1_000_000:06}'"

    def _moment(self, value: Any, kind: Any) -> str | None:
        aware = getattr(value, "tzinfo", None) is not None
        if self.engine == "mssql":
            # The words of DATETIME depend on the session's language, and it takes no microseconds; a cast does not.
            names = {dt.datetime: "DATETIMEOFFSET" if aware else "DATETIME2", dt.date: "DATE", dt.time: "TIME"}
            name = next(found for class_, found in names.items() if isinstance(value, class_))
            return f"CAST('{_iso(value)}' AS {name})"
        if self.engine == "oracle" and aware and isinstance(value, dt.datetime):
            return f"TO_TIMESTAMP_TZ('{value.isoformat(' ', 'microseconds')}', 'YYYY-MM-DD HH24:MI:SS.FFTZH:TZM')"
        if self.engine in _MYSQL and aware:
            # As the drivers send it: the column has no room for a time zone.
            return f"'{_iso(value.replace(tzinfo=None))}'"
        if not isinstance(kind, sa.types.NullType):
            return None
        if self.engine == "sqlite":
            # As Python's driver has it, where no type of SQLAlchemy says otherwise.
            return f"'{_iso(value)}'"
        return str(self.compiler.render_literal_value(value, sa.literal(value).type))

    def _number(self, value: Any) -> str:
        if isinstance(value, (float, decimal.Decimal)) and not math.isfinite(value):
            return self._not_finite(value)
        # MySQL reads an exponent as an inexact number.
        return format(value, "f") if isinstance(value, decimal.Decimal) else str(value)

    def _not_finite(self, value: float | decimal.Decimal) -> str:
        if self.engine == "postgresql":
            name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
            return f"'{name}'::{'float8' if isinstance(value, float) else 'numeric'}"
        if self.engine == "sqlite":
            # The driver makes NULL of NaN; a number too large is infinity (sqlite.org/floatingpoint.html).
            return "NULL" if math.isnan(value) else "9e999" if value > 0 else "-9e999"
        raise ValueError("the engine has no literal for it")

    def _array(self, value: Any, item_type: Any, dimensions: int | None) -> str:
        if value is None:
            return "NULL"
        nested = dimensions is None and bool(value) and isinstance(next(iter(value)), (list, tuple))
        if nested or (dimensions or 1) > 1:
            left = None if dimensions is None else dimensions - 1
            items = [self._array(item, item_type, left) for item in value]
        else:
            items = [str(self.compiler.render_literal_value(item, item_type)) for item in value]
        return f"ARRAY[{', '.join(items)}]"

    def _untyped_list(self, value: list[Any], kind: Any) -> str:
        if value and all(type(item).__name__ == "Range" for item in value):
            text = "{" + ",".join(str(item) for item in value) + "}"
            return self.quote(text) if isinstance(kind, sa.types.NullType) else self._typed(text, kind)
        first = next((item for item in value if item is not None), None)
        if first is None:
            return self.quote("{" + ",".join("NULL" for _ in value) + "}")
        return self._array(value, sa.literal(first).type if not isinstance(first, (list, tuple)) else sa.Text(), None)


def _iso(value: Any) -> str:
    return str(value.isoformat(" ") if isinstance(value, dt.datetime) else value.isoformat())


def _hstore(value: Mapping[str, str | None]) -> str:
    def words(text: str | None) -> str:
        return "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return ", ".join(f"{words(key)}=>{words(item)}" for key, item in value.items())


def _mssql_text(quoted: str) -> str:
    """Return a literal; a line that the client would take for a command of its own is not a line of it."""
    prefix = "" if quoted.isascii() else "N"
    lines = quoted.split("\n")
    if not any(line.strip().upper().split(" ")[0] == "GO" or line.lstrip().startswith((":", "!!")) for line in lines):
        return f"{prefix}'{quoted}'"
    return " + CHAR(10) + ".join(f"{prefix}'{line}'" for line in lines)


def _oracle_text(text: str) -> str:
    """Return a literal: line breaks by their number, for SQL*Plus reads text by lines; in pieces if it is long."""
    pieces = [text[start : start + ORACLE_TEXT_LIMIT] for start in range(0, len(text), ORACLE_TEXT_LIMIT)] or [""]
    long = len(pieces) > 1
    written = []
    for piece in pieces:
        words = " || CHR(10) || ".join("'" + line.replace("'", "''") + "'" for line in piece.split("\n"))
        written.append(f"TO_CLOB({words})" if long else words)
    # SQL*Plus takes no lines of more than some thousand characters.
    return " ||\n".join(written)
