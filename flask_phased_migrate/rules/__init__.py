"""The catalogue: what each rule is about, and the checks that an engine has.

A rule looks at one change (:mod:`.changes`) where it stands (:mod:`.situation`) and gives problems. An operation and
raw SQL come to the same changes (:mod:`.from_operations`, :mod:`.from_sql`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from . import common, mysql, phases, postgresql, sqlite, style
from .situation import Check, Rule

RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (
        # Code: what the old code and the new need.
        Rule("drop-column", "A column is dropped while code uses it, or while code cannot do without"),
        Rule("drop-table", "A table is dropped while the old code uses it"),
        Rule("rename-column", "A column is renamed: no moment is right for the old code and the new"),
        Rule("rename-table", "A table is renamed: no moment is right for the old code and the new"),
        Rule("rename-enum-value", "A value of an enum type is renamed"),
        Rule("not-null-without-default", "A NOT NULL column is added without a server default"),
        Rule("set-not-null", "NOT NULL is set on a column that there is"),
        Rule("drop-not-null", "A column may be NULL from now on"),
        Rule("change-default", "A server default is changed or dropped"),
        Rule("too-early", "What binds the old code runs before the deploy"),
        Rule("too-late", "What the new code needs runs after the deploy"),
        Rule("truncate", "All rows of a table are thrown away"),
        Rule("drop-schema", "A schema or database is dropped or renamed"),
        Rule("drop-and-add", "A column is dropped and another added: perhaps a rename that loses the data"),
        # Traffic: locks, rewrites, scans.
        Rule("volatile-default", "A column is added with a default that is worked out for each row"),
        Rule("self-numbering-column", "A serial, identity or AUTO_INCREMENT column is added"),
        Rule("stored-column", "A stored generated column is added"),
        Rule("change-type", "A column's type is changed in a way that writes the table anew"),
        Rule("create-index", "An index is built while nobody can write"),
        Rule("drop-index", "An index is dropped under a lock on its table"),
        Rule("drop-index-first", "An index is dropped before another is in its place"),
        Rule("refresh-view", "A materialized view is worked out anew while nobody can read it"),
        Rule("lock-table", "A table is locked by hand"),
        Rule("cached-plan", "Statements that drivers keep prepared fail after a change of type"),
        Rule("unique-constraint", "A unique constraint builds its index under a lock"),
        Rule("primary-key", "A primary key builds its index under a lock, or writes the table anew"),
        Rule("foreign-key", "A foreign key is checked under a lock"),
        Rule("several-foreign-keys", "One transaction locks several tables for foreign keys"),
        Rule("drop-foreign-key", "A foreign key is dropped, which locks two tables"),
        Rule("check-constraint", "A CHECK constraint is checked under a lock"),
        Rule("exclude-constraint", "An EXCLUDE constraint builds its index under a lock"),
        Rule("scan-under-lock", "A table is read through while its transaction keeps a strong lock on it"),
        Rule("unbatched-write", "Rows without number are changed in one statement"),
        Rule("table-rebuild", "The table is written anew, while others go on"),
        Rule("table-copy", "A batch copies the table"),
        Rule("table-option", "An option of the table copies it"),
        Rule("maintenance", "VACUUM FULL, CLUSTER or REINDEX under a lock"),
        Rule("attach-partition", "A table is read through to become a partition"),
        Rule("detach-partition", "A partition is detached under a lock"),
        Rule("constrain-domain", "A constraint on a domain reads all tables that use it"),
        Rule("no-lock-timeout", "The lock timeout is switched off"),
        # Failures.
        Rule("concurrently-in-transaction", "A concurrent statement inside a transaction fails"),
        Rule("invalid-index-kept", "IF NOT EXISTS keeps an index that failed to build"),
        Rule("corrupting-index-build", "PostgreSQL 14.0 to 14.3 builds corrupt indexes"),
        Rule("enum-value", "A value is added to an enum type where that is refused"),
        Rule("cannot-alter", "SQLite cannot alter columns and constraints in place"),
        Rule("cannot-add", "SQLite cannot add such a column"),
        Rule("read-before-yield", "A generator reads the database before a yield"),
        Rule("missing-undo", "A downgrade has nothing for what the upgrade does"),
        Rule("wrong-revision", "The file is written in a way that planning refuses"),
        # What cannot be told, and advice.
        Rule("opaque", "It cannot be told what an operation does"),
        Rule("assurance", "assured() without a reason, or with a name that no rule has"),
        Rule("json-column", "A json column cannot be compared"),
        Rule("small-key", "A primary key may run out of numbers"),
        Rule("foreign-key-type", "A foreign key has another type than the key that it refers to"),
        Rule("foreign-key-without-index", "No index begins with the columns of a foreign key"),
        Rule("long-name", "A name is longer than the engine allows"),
        # Style, for who wants it.
        Rule("wide-index", "An index of more than three columns"),
        Rule("varchar-length", "A VARCHAR of a given length"),
        Rule("char-type", "A CHAR, which is filled up with blanks"),
        Rule("timestamp-without-time-zone", "A timestamp without time zone"),
        Rule("serial-type", "A serial column"),
        Rule("enum-order", "A value of an enum type without a place"),
        Rule("not-repeatable", "A statement that fails the second time, in a step that is not one transaction"),
    )
}

_EVERYWHERE = (*phases.CHECKS, *common.CHECKS)
_OWN: Mapping[str, tuple[Check, ...]] = {
    "postgresql": postgresql.CHECKS,
    "mysql": mysql.CHECKS,
    "mariadb": mysql.CHECKS,
    "sqlite": sqlite.CHECKS,
}


STYLE = tuple(check.rule for check in style.CHECKS)
"""The rules that are asked for by name."""


def checks_of(dialect: str, wanted: Collection[str] = ()) -> tuple[Check, ...]:
    """Return the checks of an engine: those about code, which all have, before those about its locks.

    :param wanted: the rules of style that are asked for.
    """
    return (*_EVERYWHERE, *_OWN.get(dialect, ()), *(check for check in style.CHECKS if check.rule in wanted))


# A type that grew at no cost shrinks only at one, and what MySQL copies for, it copies for: there is no other way back.
_ONLY_COPIED = ("foreign-key", "check-constraint")
_ONLY_UP = ("change-type", "opaque", "drop-not-null", "small-key", "foreign-key-type", "long-name", "json-column")


def undo_checks_of(dialect: str) -> tuple[Check, ...]:
    """Return the checks of an engine for downgrades: its locks are the same; advice was given for the upgrade."""
    own = (*phases.UNDO_CHECKS, *common.CHECKS, *_OWN.get(dialect, ()))
    unavoidable = _ONLY_COPIED if dialect in ("mysql", "mariadb") else ()
    return tuple(check for check in own if check.rule not in (*_ONLY_UP, *unavoidable))
