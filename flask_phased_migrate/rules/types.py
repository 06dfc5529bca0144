"""What another type costs: whether an engine has to write every row anew for it."""

from __future__ import annotations

from typing import Literal

Cost = Literal["none", "rewrite", "time zone", "unknown"]

_ALIASES = {
    **dict.fromkeys(("INT", "INT4", "SERIAL"), "INTEGER"),
    **dict.fromkeys(("INT8", "BIGSERIAL"), "BIGINT"),
    **dict.fromkeys(("INT2", "SMALLSERIAL"), "SMALLINT"),
    **dict.fromkeys(("CHARACTER VARYING", "NVARCHAR"), "VARCHAR"),
    **dict.fromkeys(("CHARACTER", "BPCHAR"), "CHAR"),
    **dict.fromkeys(("DECIMAL", "DEC"), "NUMERIC"),
    **dict.fromkeys(("FLOAT", "FLOAT8", "DOUBLE"), "DOUBLE PRECISION"),
    **dict.fromkeys(("TIMESTAMP WITH TIME ZONE",), "TIMESTAMPTZ"),
    **dict.fromkeys(("TIMESTAMP WITHOUT TIME ZONE",), "TIMESTAMP"),
    **dict.fromkeys(("TIME WITHOUT TIME ZONE",), "TIME"),
    **dict.fromkeys(("BOOL",), "BOOLEAN"),
    **dict.fromkeys(("BIT VARYING",), "VARBIT"),
}
_WHOLE = frozenset({"INTEGER", "INT", "BIGINT", "SMALLINT", "MEDIUMINT", "TINYINT"})
_GROWING = frozenset({"VARCHAR", "VARBIT", "TIMESTAMP", "TIMESTAMPTZ", "TIME", "INTERVAL"})


def split_type(text: str) -> tuple[str, tuple[str, ...]]:
    """Return (name, arguments) of a type: ``NUMERIC(8, 2)`` is ("NUMERIC", ("8", "2"))."""
    head, bracket, tail = text.strip().partition("(")
    inside, _, behind = tail.rpartition(")")
    name = " ".join(f"{head} {behind}".split()).upper()
    arguments = tuple(part.strip() for part in inside.split(",")) if bracket else ()
    whole = name.removesuffix(" UNSIGNED")
    name = _ALIASES.get(whole, whole) + name[len(whole) :]
    # The width that MySQL shows a number with is no part of it.
    return name, () if name.removesuffix(" UNSIGNED") in _WHOLE else arguments


def upper_type(text: str) -> str:
    """Return a type in capitals, the values of an ENUM as they are."""
    parts = text.split("'")
    return "'".join(part.upper() if number % 2 == 0 else part for number, part in enumerate(parts))


def is_same_type(old: str, new: str) -> bool:
    """Return whether two names stand for one type."""
    return split_type(old) == split_type(new)


def cost_on_postgresql(old: str, new: str) -> Cost:
    """Return what ``ALTER COLUMN TYPE`` costs on PostgreSQL: measured on 15, for types that share their bytes."""
    if not old or not new:
        return "unknown"
    (old_name, before), (new_name, after) = split_type(old), split_type(new)
    if old_name == new_name:
        return _cost_of_arguments(old_name, before, after)
    if old_name in ("VARCHAR", "CITEXT") and new_name == "TEXT":
        return "none"
    if old_name in ("TEXT", "CITEXT") and new_name == "VARCHAR" and not after:
        return "none"
    if (old_name, new_name) == ("CIDR", "INET"):
        return "none"
    if {old_name, new_name} == {"TIMESTAMP", "TIMESTAMPTZ"} and before == after:
        return "time zone"
    return "rewrite"


def _cost_of_arguments(name: str, before: tuple[str, ...], after: tuple[str, ...]) -> Cost:
    if before == after:
        return "none"
    if name in _GROWING:
        grows = not after or (bool(before) and int(after[0]) >= int(before[0]))
        return "none" if grows else "rewrite"
    if name == "NUMERIC":
        same_scale = len(before) > 0 and (before[1:] or ("0",)) == (after[1:] or ("0",))
        grows = not after or (same_scale and int(after[0]) >= int(before[0]))
        return "none" if grows else "rewrite"
    return "rewrite"


def _on_mysql(text: str, is_mariadb: bool) -> tuple[str, tuple[str, ...]]:
    """Return a type as MySQL keeps it: BOOL is a TINYINT; on MariaDB, JSON is a LONGTEXT; FLOAT has four bytes."""
    name, arguments = split_type(text)
    if text.upper().startswith("FLOAT"):
        return "FLOAT", arguments
    return {"BOOLEAN": ("TINYINT", ()), "JSON": ("LONGTEXT", ()) if is_mariadb else (name, arguments)}.get(
        name, (name, arguments)
    )


def cost_on_mysql(old: str, new: str, *, is_mariadb: bool) -> Cost:
    """Return what ``MODIFY COLUMN`` costs on MariaDB and MySQL.

    A longer VARCHAR is free on MariaDB 10.4.3; on MySQL only while its length takes as many bytes as before: 255
    bytes are 63 characters of utf8mb4. A value added at the end of an ENUM is free.
    """
    if not old or not new:
        return "unknown"
    (old_name, before), (new_name, after) = _on_mysql(old, is_mariadb), _on_mysql(new, is_mariadb)
    if old_name != new_name:
        # A character set or collation that only one of them names may be the one that the table has.
        return (
            "unknown" if old_name.split(" ")[0] == new_name.split(" ")[0] and "UNSIGNED" not in old + new else "rewrite"
        )
    if before == after:
        return "none"
    if old_name == "ENUM":
        return "none" if after[: len(before)] == before and (len(before) > 255) == (len(after) > 255) else "rewrite"
    if old_name != "VARCHAR" or not before or not after or int(after[0]) < int(before[0]):
        return "rewrite"
    crosses = int(before[0]) * 4 <= 255 < int(after[0]) * 4
    return "rewrite" if crosses and not is_mariadb else "none"
