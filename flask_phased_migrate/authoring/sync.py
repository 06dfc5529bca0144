"""Two columns of a table that are kept the same while old and new code write: triggers on three engines."""

from __future__ import annotations

from alembic.operations import MigrateOperation

from .engine import Engine, short
from .statements import Remark, Sql
from .values import Name


def keep_in_step(engine: Engine, table: Name, old: str, new: str, *, comparable: bool = True) -> list[MigrateOperation]:
    """Return the triggers that carry what is written to one column into the other.

    What is written to ``new`` wins over what is written to ``old`` by the same statement.

    :param comparable: whether PostgreSQL can compare two values of the type: ``json`` it cannot.
    """
    remark = Remark(f"The old code writes {old}, the new code {new}: each finds in its column what the other wrote.")
    if engine.name == "postgresql":
        return [remark, *map(Sql, _postgresql(engine, table, old, new, "" if comparable else "::text"))]
    make = {"mysql": _mysql, "sqlite": _sqlite}[engine.name]
    return [remark, *map(Sql, make(engine, table, old, new))]


def let_go(engine: Engine, table: Name, old: str, new: str) -> list[Sql]:
    """Return what drops these triggers."""
    schema, name = table
    if engine.name == "postgresql":
        trigger = engine.quote(_name(name, old, new, ""))
        function = engine.quote(schema, _name(name, old, new, ""))
        return [Sql(f"DROP TRIGGER {trigger} ON {engine.quote(*table)}"), Sql(f"DROP FUNCTION {function}()")]
    events = ("insert", "update") if engine.name == "mysql" else ("insert", "update_new", "update_old")
    return [Sql(f"DROP TRIGGER {engine.quote(schema, _name(name, old, new, event))}") for event in events]


def follow(engine: Engine, table: Name, old: str, new: str, value: str) -> list[Sql]:
    """Return the trigger of PostgreSQL that copies one column into another; :func:`let_go` drops it.

    :param value: what to copy, as SQL with ``NEW.`` before the column.
    """
    name = _name(table[1], old, new, "")
    function, target = engine.quote(table[0], name), engine.quote(*table)
    body = f"BEGIN NEW.{engine.quote(new)} := {value}; RETURN NEW; END"
    return [
        Sql(f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"),
        Sql(
            f"CREATE TRIGGER {engine.quote(name)} BEFORE INSERT OR UPDATE ON {target} "
            f"FOR EACH ROW EXECUTE FUNCTION {function}()"
        ),
    ]


def _name(table: str, old: str, new: str, event: str) -> str:
    # Going back, the columns change places: one name for both directions.
    return short("_".join(word for word in (table, *sorted((old, new)), "sync", event) if word))


def _postgresql(engine: Engine, table: Name, old: str, new: str, cast: str) -> list[str]:
    name = _name(table[1], old, new, "")
    function, target = engine.quote(table[0], name), engine.quote(*table)
    first, second = engine.quote(old), engine.quote(new)
    body = (
        f"BEGIN IF TG_OP = 'INSERT' THEN NEW.{second} := coalesce(NEW.{second}, NEW.{first}); "
        f"ELSIF NEW.{second}{cast} IS NOT DISTINCT FROM OLD.{second}{cast} THEN NEW.{second} := NEW.{first}; END IF; "
        f"NEW.{first} := NEW.{second}; RETURN NEW; END"
    )
    return [
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
        f"CREATE TRIGGER {engine.quote(name)} BEFORE INSERT OR UPDATE ON {target} "
        f"FOR EACH ROW EXECUTE FUNCTION {function}()",
    ]


def _mysql(engine: Engine, table: Name, old: str, new: str) -> list[str]:
    target, first, second = engine.quote(*table), engine.quote(old), engine.quote(new)
    values = {
        "insert": f"coalesce(NEW.{second}, NEW.{first})",
        "update": f"IF(NEW.{second} <=> OLD.{second}, NEW.{first}, NEW.{second})",
    }
    return [
        f"CREATE TRIGGER {engine.quote(table[0], _name(table[1], old, new, event))} BEFORE {event.upper()} ON {target} "
        f"FOR EACH ROW SET NEW.{second} = {value}, NEW.{first} = NEW.{second}"
        for event, value in values.items()
    ]


def _sqlite(engine: Engine, table: Name, old: str, new: str) -> list[str]:
    target, first, second = engine.quote(*table), engine.quote(old), engine.quote(new)
    inside = engine.quote(table[1])
    events = {
        "insert": (
            "INSERT",
            f"NEW.{first} IS NOT NEW.{second}",
            f"{first} = coalesce(NEW.{second}, NEW.{first}), {second} = coalesce(NEW.{second}, NEW.{first})",
        ),
        "update_new": (f"UPDATE OF {first}, {second}", f"NEW.{second} IS NOT OLD.{second}", f"{first} = NEW.{second}"),
        "update_old": (
            f"UPDATE OF {first}, {second}",
            f"NEW.{second} IS OLD.{second} AND NEW.{first} IS NOT OLD.{first}",
            f"{second} = NEW.{first}",
        ),
    }
    return [
        f"CREATE TRIGGER {engine.quote(table[0], _name(table[1], old, new, event))} AFTER {when} ON {target} "
        f"WHEN {which} BEGIN UPDATE {inside} SET {change} WHERE rowid = NEW.rowid; END"
        for event, (when, which, change) in events.items()
    ]
