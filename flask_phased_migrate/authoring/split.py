"""The rules: which operation runs before the deploy, which after it, and as which statements.

After the phases up to the boundary the schema works with the old code and with the new; the phase behind it may assume
the new code only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import MigrateOperation, ops

from ..errors import UsageError
from .engine import Engine, column_names, is_constant, is_stable, short
from .enums import AlterEnum, text_literal
from .script import After, Before, Pieces, flatten, table_of
from .statements import Autocommit, Batch, Remark, Sql
from .sync import follow, keep_in_step, let_go
from .types import (
    change_of,
    compiled,
    default_literal,
    enum_name,
    model_enums,
    native_enum,
    neutral_literal,
    plain_enum,
    shape_of,
)
from .values import Answers, Facts, Name, Question, dotted


def split(operations: Sequence[MigrateOperation], facts: Facts, answers: Answers) -> Pieces:
    """Return the pieces that a revision's operations come to, with the questions asked that they raise.

    :raises UsageError: if an answer cannot be used.
    """
    splitter = _Splitter(list(flatten(operations)), facts, answers)
    splitter.run()
    return splitter.pieces


class _Splitter:
    """One pass over the operations that autogenerate has found on one bind."""

    def __init__(self, operations: list[Any], facts: Facts, answers: Answers) -> None:
        self.operations = operations
        self.facts = facts
        self.answers = answers
        self.engine = Engine(facts)
        self.pieces = Pieces()
        self.new_tables = {table_of(item): item for item in operations if isinstance(item, ops.CreateTableOp)}
        self.lost_tables = {table_of(item): item for item in operations if isinstance(item, ops.DropTableOp)}
        self.renamed_tables: dict[Name, Name] = {}
        self.done: set[int] = set()

    def run(self) -> None:
        """Turn every operation into pieces."""
        if self.engine.name == "postgresql":
            self._types()
        self._rename_tables()
        self._rename_columns()
        self._replace_indexes()
        rules: dict[type, Callable[[Any], None]] = {
            ops.CreateTableOp: self._create_table,
            ops.DropTableOp: self._drop_table,
            ops.AddColumnOp: self._add_column,
            ops.DropColumnOp: self._drop_column,
            ops.AlterColumnOp: self._alter_column,
            ops.CreateIndexOp: self._create_index,
            ops.DropIndexOp: self._drop_index,
            ops.CreateUniqueConstraintOp: self._create_unique,
            ops.CreateForeignKeyOp: self._create_foreign_key,
            ops.CreateCheckConstraintOp: self._create_check,
            ops.DropConstraintOp: self._drop_constraint,
            AlterEnum: self._alter_enum,
        }
        for operation in self.operations:
            if id(operation) not in self.done:
                rule = next((rules[kind] for kind in type(operation).__mro__ if kind in rules), self._other)
                rule(operation)

    # -- tables ------------------------------------------------------------------------------------

    def _create_table(self, operation: ops.CreateTableOp) -> None:
        made: Any = operation
        if self.engine.name == "postgresql" and any(
            native_enum(getattr(item, "type", None)) is not None for item in operation.columns
        ):
            made = copy.copy(operation)
            made.columns = [self._with_plain_enum(item) for item in operation.columns]
        self.pieces.add(Before.TABLES, [made], [operation.reverse()])

    def _with_plain_enum(self, item: Any) -> Any:
        if not isinstance(item, sa.Column) or native_enum(item.type) is None:
            return item
        found = item._copy()
        found.type = plain_enum(item.type)
        return found

    def _drop_table(self, operation: ops.DropTableOp) -> None:
        table = table_of(operation)
        found = operation.to_table()
        back: Any = operation.reverse()
        constraints = [item for item in back.columns if isinstance(item, sa.ForeignKeyConstraint)]
        if self.engine.name != "sqlite":
            for constraint in constraints:
                others = {key.target_fullname.rpartition(".")[0] for key in constraint.elements}
                if constraint.name and others != {found.fullname}:
                    self._free(table, constraint)
                    back = copy.copy(back)
                    back.columns = [item for item in back.columns if item is not constraint]
        self.pieces.add(After.DROP_TABLES, [operation], [self._without_types(back)])

    def _without_types(self, operation: Any) -> Any:
        if self.engine.name == "postgresql":
            operation = copy.copy(operation)
            operation.columns = [self._with_plain_enum(item) for item in operation.columns]
        return operation

    def _free(self, table: Name, constraint: sa.ForeignKeyConstraint) -> None:
        """Drop a foreign key of a table that goes: the new code deletes the rows that it points to."""
        back = ops.CreateForeignKeyOp.from_constraint(constraint)
        drop = ops.DropConstraintOp(str(constraint.name), table[1], "foreignkey", schema=table[0])
        self.pieces.add(
            Before.DROP_FOREIGN_KEYS, self.engine.drop_constraint(drop), self.engine.create_constraint(back)
        )

    def _rename_tables(self) -> None:
        for old, dropped in list(self.lost_tables.items()):
            alike = [new for new, made in self.new_tables.items() if self._alike(dropped, made)]
            if not alike:
                continue
            choices = [(dotted(new), f"it is {dotted(new)} now") for new in alike]
            question = Question(
                "rename",
                dotted(old),
                f"The table {dotted(old)} is gone, and there is {' and '.join(name for name, _ in choices)} with the "
                f"same columns. Is it renamed? (Or leave the database alone: __tablename__ = {old[1]!r}.)",
                (*choices, ("", f"no: {dotted(old)} and its rows are dropped")),
            )
            chosen = self._choice(question)
            if chosen:
                self._rename_table(old, next(new for new in alike if dotted(new) == chosen))

    def _alike(self, dropped: Any, made: Any) -> bool:
        def shape(operation: Any) -> set[tuple[str, tuple[Any, ...]]]:
            columns = operation.to_table().columns
            return {(column.name, shape_of(column.type, self.facts)) for column in columns}

        return table_of(dropped)[0] == table_of(made)[0] and shape(dropped.reverse()) == shape(made)

    def _choice(self, question: Question) -> str | None:
        """Return the chosen name, None for no rename.

        :raises UsageError: if the answer is none of the choices.
        """
        answer = self.answers.answer(question)
        if answer is not None and answer not in dict(question.choices):
            known = " or ".join(name for name, _ in question.choices if name)
            raise UsageError(
                f"--rename {question.subject}={answer}: what it can be is {known}, or nothing behind the sign if it is "
                "not renamed. Nothing was written."
            )
        return answer or None

    def _rename_table(self, old: Name, new: Name) -> None:
        """Rename a table before the deploy, and leave a view for the old code."""
        self.done |= {id(self.lost_tables.pop(old)), id(self.new_tables.pop(new))}
        self._pair_indexes(old, new)
        quote = self.engine.quote
        # MySQL would put a new name without a schema into the database of the session.
        forth = Sql(f"ALTER TABLE {quote(*old)} RENAME TO {quote(new[1])}")
        back = Sql(f"ALTER TABLE {quote(*new)} RENAME TO {quote(old[1])}")
        if self.engine.name == "mysql":
            forth = Sql(f"ALTER TABLE {quote(*old)} RENAME TO {quote(*new)}")
            back = Sql(f"ALTER TABLE {quote(*new)} RENAME TO {quote(*old)}")
        if self.engine.name == "sqlite":
            self.pieces.note(
                f"{dotted(old)} is renamed before the deploy, and SQLite has no views that can be written: the old "
                "code does not find its table from then on."
            )
            self.pieces.add(Before.DROP_CONSTRAINTS, [forth], [back])
            return
        view = Sql(f"CREATE VIEW {self.engine.quote(*old)} AS SELECT * FROM {self.engine.quote(*new)}")
        drop = Sql(f"DROP VIEW {self.engine.quote(*old)}")
        remark = Remark(f"The old code goes on with {old[1]} through a view.")
        self.pieces.add(Before.DROP_CONSTRAINTS, [forth, remark, view], [drop, back])
        self.pieces.add(After.DROP_REPLACED, [drop], [view])

    def _pair_indexes(self, old: Name, new: Name) -> None:
        """Rename the indexes of a renamed table; nothing else of theirs changes."""
        before = [item for item in self.operations if isinstance(item, ops.DropIndexOp) and table_of(item) == old]
        after = [item for item in self.operations if isinstance(item, ops.CreateIndexOp) and table_of(item) == new]
        for item in before:
            back: Any = item.reverse()
            same = [
                other
                for other in after
                if column_names(other.columns) == column_names(back.columns) and id(other) not in self.done
            ]
            if same:
                self.done |= {id(item), id(same[0])}
                self._rename_index(new, back, same[0])

    def _rename_index(self, table: Name, old: Any, new: Any) -> None:
        if old.index_name == new.index_name:
            return
        if self.engine.name == "sqlite":
            change = [ops.DropIndexOp(old.index_name, table[1], schema=table[0]), new]
            moved = ops.CreateIndexOp(old.index_name, table[1], old.columns, schema=table[0], unique=old.unique)
            undo: list[Any] = [ops.DropIndexOp(new.index_name, table[1], schema=table[0]), moved]
        else:
            change = [self._index_rename(table, old.index_name, new.index_name)]
            undo = [self._index_rename(table, new.index_name, old.index_name)]
        self.pieces.add(After.RENAME_INDEXES, change, undo)

    def _index_rename(self, table: Name, old: str, new: str) -> Sql:
        quote = self.engine.quote
        if self.engine.name == "postgresql":
            return Sql(f"ALTER INDEX {quote(table[0], old)} RENAME TO {quote(new)}")
        return Sql(f"ALTER TABLE {quote(*table)} RENAME INDEX {quote(old)} TO {quote(new)}")

    # -- columns -----------------------------------------------------------------------------------

    def _add_column(self, operation: ops.AddColumnOp) -> None:
        table, column = table_of(operation), operation.column
        back = self.engine.alter(ops.DropColumnOp(table[1], column.name, schema=table[0]))
        plain = column.nullable or column.server_default is not None or column.primary_key
        default = column.server_default
        if (
            isinstance(default, sa.DefaultClause)
            and self.engine.name in ("postgresql", "mysql")
            and not is_constant(default)
            and not is_stable(default)
        ):
            self._add_computed(table, column, back)
        elif plain:
            stored = column.identity is not None or (column.computed is not None and column.computed.persisted)
            warning = [_rewrite_remark(table)] if stored and self.engine.name == "postgresql" else []
            self.pieces.add(Before.COLUMNS, [*warning, *self._added(table, column)], back)
        else:
            value = default_literal(column, self.facts)
            if value is not None and not self._forbids_default(column):
                self._add_with_default(table, column, value, back)
            else:
                self._add_and_fill(table, column, value, back)

    def _add_computed(self, table: Name, column: sa.Column[Any], back: Sequence[Any]) -> None:
        """Add a column whose default differs from row to row: with it at once the server would write every row."""
        bare = _like(column, nullable=True, server_default=None)
        remark = Remark("The default comes after the column: with it, the server would write the table anew at once.")
        given = self.engine.alter_column(table, column.name, bare, modify_server_default=column.server_default)
        self.pieces.add(
            Before.COLUMNS, [*self._added(table, column, nullable=True, server_default=None), remark, *given], back
        )
        value = str(column.server_default.arg.compile(dialect=self.facts.dialect))  # type: ignore[union-attr]
        if column.nullable:
            self.pieces.add(Before.FILL, self.engine.fill(table, column.name, value))
        else:
            self._make_filled(table, column, value)

    def _forbids_default(self, column: Any) -> bool:
        """Return whether the engine has no defaults for columns of that type: MySQL's texts."""
        unable = isinstance(column.type, (sa.Text, sa.LargeBinary, sa.JSON))
        return self.engine.name == "mysql" and unable and not getattr(self.facts.dialect, "is_mariadb", False)

    def _added(self, table: Name, column: sa.Column[Any], **change: Any) -> list[MigrateOperation]:
        """Return the operations that add a column, as it is or with a change of its properties."""
        found = _bare(column, **change)
        if self.engine.name == "postgresql" and native_enum(column.type) is not None:
            found.type = plain_enum(column.type)
        return self.engine.add_column(ops.AddColumnOp(table[1], found, schema=table[0]))

    def _add_with_default(self, table: Name, column: sa.Column[Any], value: str, back: Sequence[Any]) -> None:
        text = value.startswith("'") and value.endswith("'")
        default = sa.DefaultClause(value[1:-1].replace("''", "'") if text else sa.text(value))
        with_default = _like(column, server_default=default, nullable=False)
        remark = Remark(f"The old code does not know {column.name}: until it is gone, the database gives the default.")
        self.pieces.add(Before.COLUMNS, [remark, *self._added(table, column, server_default=default)], back)
        drop = self.engine.alter_column(table, column.name, with_default, modify_server_default=None)
        again = self.engine.alter_column(table, column.name, column, modify_server_default=default)
        self.pieces.add(After.ALTER, drop, again)

    def _add_and_fill(self, table: Name, column: sa.Column[Any], value: str | None, back: Sequence[Any]) -> None:
        self.pieces.add(Before.COLUMNS, self._added(table, column, nullable=True), back)
        self._make_filled(table, column, value)

    def _make_filled(self, table: Name, column: sa.Column[Any], value: str | None) -> None:
        """Fill a column that may be empty as yet, and make it NOT NULL when the old code is gone."""
        subject = dotted(table, column.name)
        if value is None:
            question = Question(
                "fill",
                subject,
                f"{subject} becomes NOT NULL, and the models give no default. Which SQL gives the value of rows that "
                "have none? (Nothing, if there are no such rows.)",
            )
            value = self.answers.answer(question)
        if value:
            fill = self.engine.fill(table, column.name, value)
            self.pieces.add(Before.FILL, fill)
            remark = Remark("What the old code has written since:")
            self.pieces.add(After.FILL, [_with_remark(self.engine.fill_rest(table, column.name, value), remark)])
        self.pieces.add(
            After.NOT_NULL, self.engine.set_not_null(table, column), self.engine.drop_not_null(table, column)
        )

    def _drop_column(self, operation: ops.DropColumnOp) -> None:
        table, column = table_of(operation), self._column_before(operation)
        optional = column.nullable or column.server_default is not None or column.primary_key
        if not optional:
            self._make_optional(table, column)
        back = self._added(table, column, nullable=True) if not optional else self._added(table, column)
        self.pieces.add(After.DROP_COLUMNS, self.engine.alter(operation), back)

    def _column_before(self, operation: ops.DropColumnOp) -> sa.Column[Any]:
        reverse: Any = operation.reverse()
        column: sa.Column[Any] = reverse.column
        return column

    def _make_optional(self, table: Name, column: sa.Column[Any]) -> None:
        """Let the new code, which does not know a column, insert rows; the undo fills what it left empty."""
        remark = Remark(f"The new code does not know {column.name}, and the old one still writes it.")
        up = [remark, *self.engine.drop_not_null(table, column)]
        value = None if column.foreign_keys else neutral_literal(column.type, self.facts)
        if value is None:
            text = f"{column.name} stays without NOT NULL: its values are gone, and nothing can stand for them."
            self.pieces.add(Before.ALTER, up, [Remark(text)])
            return
        lost = Remark(f"The values of {column.name} went with the column: {value} stands for them.")
        fill = _with_remark(self.engine.fill(table, column.name, value), lost)
        self.pieces.add(Before.ALTER, up, [fill, *self.engine.set_not_null(table, column)])

    def _rename_columns(self) -> None:
        added = [item for item in self.operations if isinstance(item, ops.AddColumnOp)]
        for dropped in [item for item in self.operations if isinstance(item, ops.DropColumnOp)]:
            old = self._column_before(dropped)
            alike = [
                item
                for item in added
                if table_of(item) == table_of(dropped)
                and id(item) not in self.done
                and shape_of(item.column.type, self.facts) == shape_of(old.type, self.facts)
            ]
            if alike and not old.primary_key and self.engine.name in ("postgresql", "mysql", "sqlite"):
                self._ask_rename(dropped, old, alike)

    def _ask_rename(self, dropped: Any, old: sa.Column[Any], alike: Sequence[Any]) -> None:
        table = table_of(dropped)
        names = [item.column.name for item in alike]
        question = Question(
            "rename",
            dotted(table, old.name),
            f"{dotted(table, old.name)} is gone, and {' and '.join(names)} of the same type is new. Is it renamed? (Or "
            f"leave the database alone: {names[0]} = db.Column({old.name!r}, ...).)",
            (*((name, f"it is {name} now") for name in names), ("", f"no: {old.name} and its values are dropped")),
        )
        chosen = self._choice(question)
        if question in self.answers.unanswered:
            # What fills a new column is to be asked only if it is no renamed one.
            self.done |= {id(dropped), *map(id, alike)}
        if chosen:
            added = next(item for item in alike if item.column.name == chosen)
            self.done |= {id(dropped), id(added)}
            self._rename_column(dropped, old, added.column)

    def _rename_column(self, dropped: Any, old: sa.Column[Any], new: sa.Column[Any]) -> None:
        """Add the new column, keep both in step while old and new code write, drop the old one."""
        table, engine = table_of(dropped), self.engine
        quote = engine.quote
        distinct = {"postgresql": "{} IS DISTINCT FROM {}", "mysql": "NOT ({} <=> {})", "sqlite": "{} IS NOT {}"}
        differ = distinct[engine.name].format(quote(new.name), quote(old.name))
        bare, start = {"nullable": True, "server_default": None}, keep_in_step(engine, table, old.name, new.name)
        stop = let_go(engine, table, old.name, new.name)
        drop_new = engine.alter(ops.DropColumnOp(table[1], new.name, schema=table[0]))
        self.pieces.add(Before.COLUMNS, self._added(table, new, **bare), drop_new)
        if not old.nullable:
            self.pieces.add(Before.ALTER, engine.drop_not_null(table, old), engine.set_not_null(table, old))
        self.pieces.add(Before.SYNC, start, stop)
        self.pieces.add(Before.FILL, engine.fill(table, new.name, quote(old.name), differ))
        copy_back = engine.fill(table, old.name, quote(new.name), differ)
        self.pieces.add(After.UNSYNC, stop, [*start, *copy_back])
        if not new.nullable:
            self.pieces.add(After.NOT_NULL, engine.set_not_null(table, new), engine.drop_not_null(table, new))
        if new.server_default is not None:
            bare_new = _like(new, server_default=None)
            given = engine.alter_column(table, new.name, bare_new, modify_server_default=new.server_default)
            taken = engine.alter_column(table, new.name, new, modify_server_default=None)
            self.pieces.add(After.ALTER, given, taken)
        back = self._added(table, old, nullable=True)
        self.pieces.add(After.DROP_COLUMNS, engine.alter(dropped), back)

    # -- changes of a column -----------------------------------------------------------------------

    def _alter_column(self, operation: ops.AlterColumnOp) -> None:
        table = table_of(operation)
        before = _before(operation)
        if operation.modify_type is not None:
            before = self._change_type(table, before, operation)
        if operation.modify_server_default is not False:
            before = self._change_default(table, before, operation)
        if operation.modify_nullable is True:
            self.pieces.add(Before.ALTER, self.engine.drop_not_null(table, before), self._refill(table, before))
        if operation.modify_nullable is False:
            self._make_filled(table, before, self._known_value(table, before))
        if operation.modify_comment is not False:
            now, was = operation.modify_comment, operation.existing_comment
            forth: dict[str, Any] = {"modify_comment": now, "existing_comment": was}
            back: dict[str, Any] = {"modify_comment": was, "existing_comment": now}
            self.pieces.add(
                Before.ALTER,
                self.engine.alter_column(table, before.name, before, **forth),
                self.engine.alter_column(table, before.name, before, **back),
            )

    def _refill(self, table: Name, before: sa.Column[Any]) -> list[MigrateOperation]:
        """Return how a column gets its NOT NULL back: rows that the new code left empty have no value to give."""
        value = neutral_literal(before.type, self.facts) if not before.foreign_keys else None
        if value is None:
            return [
                Remark("A row without a value refuses this: fill it first."),
                *self.engine.set_not_null(table, before),
            ]
        remark = Remark(f"{value} stands for what the new code left empty.")
        fill = _with_remark(self.engine.fill(table, before.name, value), remark)
        return [fill, *self.engine.set_not_null(table, before)]

    def _known_value(self, table: Name, before: sa.Column[Any]) -> str | None:
        """Return what fills a column that becomes NOT NULL, from the models: an answer goes before it."""
        if dotted(table, before.name) in self.answers.fills:
            return None
        model = self._model_column(table, before.name)
        default = None if model is None else model.server_default
        if isinstance(default, sa.DefaultClause):
            given = default.arg
            literal = f"'{given}'".replace("''", "'") if isinstance(given, str) else str(given)
            return literal.replace("%%", "%")
        return None if model is None else default_literal(model, self.facts)

    def _model_column(self, table: Name, name: str) -> Any | None:
        for metadata in self.facts.metadata:
            found = metadata.tables.get(dotted(table))
            if found is not None and name in found.columns:
                return found.columns[name]
        return None

    def _change_default(self, table: Name, before: sa.Column[Any], operation: Any) -> sa.Column[Any]:
        """Set a default before the deploy, drop one after it; return the column as later changes find it."""
        existing = operation.existing_server_default
        before = _like(before, server_default=existing or None)
        forth = self.engine.alter_column(
            table, before.name, before, modify_server_default=operation.modify_server_default
        )
        after: sa.Column[Any] = _like(before, server_default=operation.modify_server_default)
        back = self.engine.alter_column(table, before.name, after, modify_server_default=existing or None)
        dropped = operation.modify_server_default is None
        self.pieces.add(After.ALTER if dropped else Before.ALTER, forth, back)
        return before if dropped else after

    def _change_type(self, table: Name, before: sa.Column[Any], operation: Any) -> sa.Column[Any]:
        """Change a type, before the deploy if it takes more; return the column as later changes find it."""
        new = operation.modify_type
        change = change_of(before.type, new)
        after: sa.Column[Any] = _like(before, type=new)
        shown = f"{compiled(before.type, self.facts)} to {compiled(new, self.facts)}"
        subject = dotted(table, before.name)
        if change == "wider, rewritten" and self._can_swap(table, operation):
            self._swap_column(table, before, after)
            return after
        if not change.startswith("wider"):
            # By then the other changes of the column are done.
            before, after = _finished(before, operation), _finished(after, operation)
        forth = self._retype(table, before, new, change)
        back = self._retype(table, after, before.type, "narrower")
        if change == "other":
            forth = self._convert(table, before, new, shown)
        rank: Before | After = Before.ALTER if change.startswith("wider") else After.ALTER
        if change == "narrower":
            self.pieces.note(f"{subject} goes from {shown}: a value that does not fit stops after-deploy.")
        self.pieces.add(rank, forth, back)
        return after if rank is Before.ALTER else _before(operation)

    def _can_swap(self, table: Name, operation: Any) -> bool:
        """Return whether nothing but the column itself would have to be made anew for a column of another type."""
        model = self._model_column(table, operation.column_name)
        if self.engine.name != "postgresql" or model is None or model.primary_key or model.foreign_keys:
            return False
        name = operation.column_name
        kept = (*model.table.indexes, *_uniques(model.table))
        used = any(column.name == name for item in kept for column in item.columns)
        checks = (item for item in model.table.constraints if isinstance(item, sa.CheckConstraint))
        pointed = any(
            key.column is model
            for one in self.facts.metadata
            for other in one.tables.values()
            for key in other.foreign_keys
        )
        dropped = any(
            isinstance(item, (ops.DropIndexOp, ops.DropConstraintOp)) and table_of(item) == table
            for item in self.operations
        )
        changed = operation.modify_server_default is not False or operation.modify_nullable is True
        serial = "nextval" in str(getattr(_default(operation.existing_server_default), "text", ""))
        return not (used or any(checks) or pointed or dropped or changed or serial)

    def _swap_column(self, table: Name, before: sa.Column[Any], after: sa.Column[Any]) -> None:
        """Fill a column of the wider type beside the old one, and let them change places in a moment."""
        engine, name = self.engine, before.name
        quote, target = engine.quote, engine.quote(*table)
        new, old = short(f"{name}_new"), short(f"{name}_old")
        bare = _like(after, nullable=True, server_default=None)
        bare.name = new
        undo = Sql(f"ALTER TABLE {target} DROP COLUMN IF EXISTS {quote(new)}")
        self.pieces.add(Before.COLUMNS, self._added(table, bare), [undo])
        self.pieces.add(Before.SYNC, follow(engine, table, name, new))
        self.pieces.add(
            Before.FILL, engine.fill(table, new, quote(name), f"{quote(new)} IS DISTINCT FROM {quote(name)}")
        )
        check = short(f"{table[1]}_{new}_not_null")
        required: list[MigrateOperation] = []
        if not before.nullable:
            self.pieces.add(Before.PROVE, engine.checked(table, check, f"CHECK ({quote(new)} IS NOT NULL)"))
            required = [
                *engine.alter_column(table, name, _like(after, nullable=True), modify_nullable=False),
                ops.DropConstraintOp(check, table[1], "check", schema=table[0]),
                Sql(f"ALTER TABLE {target} ALTER COLUMN {quote(old)} DROP NOT NULL"),
            ]
        default = before.server_default
        if default is not None:
            plain = _like(after, server_default=None)
            required += engine.alter_column(table, name, plain, modify_server_default=default)
        swap = [
            Remark(f"Both codes work with the wider {name}; {old} goes after the deploy."),
            *let_go(engine, table, name, new),
            Sql(f"ALTER TABLE {target} RENAME COLUMN {quote(name)} TO {quote(old)}"),
            Sql(f"ALTER TABLE {target} RENAME COLUMN {quote(new)} TO {quote(name)}"),
            *required,
        ]
        back = [
            Sql(f"ALTER TABLE {target} DROP COLUMN IF EXISTS {quote(old)}"),
            *self._retype(table, after, before.type, "narrower"),
        ]
        self.pieces.add(Before.SWAP, swap, back)
        gone = ops.DropColumnOp(table[1], old, schema=table[0])
        self.pieces.add(After.DROP_COLUMNS, engine.alter(gone))

    def _retype(self, table: Name, before: sa.Column[Any], new: Any, change: str) -> list[MigrateOperation]:
        longer = change == "wider" and isinstance(new, sa.String) and not isinstance(new, sa.Text)
        cost: Any = "online" if longer else "copy"
        options = {}
        remark = []
        if self.engine.name == "postgresql" and change != "wider":
            if change == "narrower" or change == "other":
                options["postgresql_using"] = f"{self.engine.quote(before.name)}::{compiled(new, self.facts)}"
            remark = [_rewrite_remark(table)]
        changed = self.engine.alter_column(table, before.name, before, cost, modify_type=new, **options)
        return [*remark, *changed]

    def _convert(self, table: Name, before: sa.Column[Any], new: Any, shown: str) -> list[MigrateOperation]:
        subject = dotted(table, before.name)
        question = Question(
            "fill",
            subject,
            f"{subject} goes from {shown}, and no type serves the old code and the new: better add a column. To "
            "convert it after the deploy: which SQL gives the new value? (Nothing, for what a cast gives.)",
        )
        value = self.answers.answer(question)
        remark = Remark(f"From {shown}: the new code has to do with the old type until this has run.")
        plain = self._retype(table, before, new, "other")
        if not value:
            return [remark, *plain]
        if self.engine.name != "postgresql":
            name = self.engine.quote(before.name)
            return [remark, *self.engine.fill(table, before.name, value, f"{name} IS NOT NULL"), *plain]
        changed = self.engine.alter_column(table, before.name, before, "copy", modify_type=new, postgresql_using=value)
        return [remark, *plain[:-1], *changed]

    # -- indexes and constraints -------------------------------------------------------------------

    def _replace_indexes(self) -> None:
        """Build the new form of an index that keeps its name beside the old one."""
        made = {
            (table_of(item), item.index_name): item for item in self.operations if isinstance(item, ops.CreateIndexOp)
        }
        for dropped in [item for item in self.operations if isinstance(item, ops.DropIndexOp)]:
            created = made.get((table_of(dropped), dropped.index_name))
            if created is None or table_of(dropped) in self.lost_tables:
                continue
            self.done |= {id(dropped), id(created)}
            back: Any = dropped.reverse()
            up = [*self.engine.drop_index(dropped), *self.engine.create_index(created)]
            down = [*self.engine.drop_index(dropped), *self.engine.create_index(back)]
            if created.unique or back.unique or self.engine.name == "sqlite":
                self.pieces.add(After.DROP_REPLACED, up, down)
            else:
                self._swap_index(table_of(dropped), dropped, created, back)

    def _swap_index(self, table: Name, dropped: Any, created: Any, back: Any) -> None:
        beside = copy.copy(created)
        beside.index_name = f"{created.index_name}_new"
        was = copy.copy(back)
        was.index_name = beside.index_name
        drop_beside = copy.copy(dropped)
        drop_beside.index_name = beside.index_name
        rename = self._index_rename(table, beside.index_name, created.index_name)
        away = self._index_rename(table, created.index_name, beside.index_name)
        self.pieces.add(Before.INDEXES, self.engine.create_index(beside), self.engine.drop_index(drop_beside))
        self.pieces.add(
            After.DROP_INDEXES,
            [*self.engine.drop_index(dropped), rename],
            [away, *self.engine.create_index(back)],
        )

    def _create_index(self, operation: ops.CreateIndexOp) -> None:
        if table_of(operation) in self.new_tables:
            # The table takes its indexes along when it is dropped.
            self.pieces.add(Before.TABLE_INDEXES, [operation])
            return
        rank = After.UNIQUE if operation.unique else Before.INDEXES
        drop: Any = operation.reverse()
        self.pieces.add(rank, self.engine.create_index(operation), self.engine.drop_index(drop))

    def _drop_index(self, operation: ops.DropIndexOp) -> None:
        back: Any = operation.reverse()
        if table_of(operation) in self.lost_tables:
            self.pieces.add(After.DROPPED_TABLE_INDEXES, (), [back])
        elif back.unique:
            # What it refused, the new code may write.
            self.pieces.add(Before.DROP_CONSTRAINTS, self.engine.drop_index(operation), self.engine.create_index(back))
        else:
            self.pieces.add(After.DROP_INDEXES, self.engine.drop_index(operation), self.engine.create_index(back))

    def _create_unique(self, operation: ops.CreateUniqueConstraintOp) -> None:
        self._constrain(After.UNIQUE, operation, "unique")

    def _create_foreign_key(self, operation: ops.CreateForeignKeyOp) -> None:
        self._constrain(After.FOREIGN_KEYS, operation, "foreignkey")

    def _create_check(self, operation: ops.CreateCheckConstraintOp) -> None:
        self._constrain(After.CHECKS, operation, "check")

    def _constrain(self, rank: After, operation: Any, kind: str) -> None:
        """Add a constraint when nobody is left who does not know of it."""
        up = self.engine.create_constraint(operation)
        table = table_of(operation)
        drop = ops.DropConstraintOp(operation.constraint_name, table[1], kind, schema=table[0])
        down = self.engine.drop_constraint(drop)
        if kind == "foreignkey" and self.engine.name == "mysql" and not self._indexed(table, operation.local_cols):
            down = [*down, *self._drop_index_of_key(table, str(operation.constraint_name))]
        self.pieces.add(rank, up, down)

    def _drop_constraint(self, operation: ops.DropConstraintOp) -> None:
        table, foreign = table_of(operation), operation.constraint_type == "foreignkey"
        back: Any = operation.reverse()
        up = self.engine.drop_constraint(operation)
        if foreign:
            for name in self._unwanted_indexes(table, tuple(back.local_cols)):
                up = [*up, *self._drop_index_of_key(table, name)]
        rank = Before.DROP_FOREIGN_KEYS if foreign else Before.DROP_CONSTRAINTS
        self.pieces.add(rank, up, self.engine.create_constraint(back))

    def _indexed(self, table: Name, columns: Sequence[str]) -> bool:
        """Return whether an index begins with these columns, or this revision makes one."""
        made = [
            column_names(item.columns)
            for item in self.operations
            if isinstance(item, ops.CreateIndexOp) and table_of(item) == table
        ]
        existing = [*self.facts.indexes.get(table, {}).values(), *made]
        return any(found[: len(columns)] == tuple(columns) for found in existing)

    def _unwanted_indexes(self, table: Name, columns: tuple[str, ...]) -> list[str]:
        """Return the indexes that MariaDB and MySQL have made for a foreign key, and keep without it."""
        model = next((item.tables[dotted(table)] for item in self.facts.metadata if dotted(table) in item.tables), None)
        wanted = {str(index.name) for index in model.indexes} if model is not None else set()
        dropped = {str(item.index_name) for item in self.operations if isinstance(item, ops.DropIndexOp)}
        uniques = {tuple(column.name for column in item.columns) for item in _uniques(model)}
        return [
            name
            for name, found in self.facts.indexes.get(table, {}).items()
            if found == columns and name != "PRIMARY" and name not in wanted | dropped and columns not in uniques
        ]

    def _drop_index_of_key(self, table: Name, name: str) -> list[MigrateOperation]:
        remark = Remark("The server made this index for the foreign key, and keeps it.")
        return [remark, *self.engine.drop_index(ops.DropIndexOp(name, table[1], schema=table[0]))]

    # -- types of PostgreSQL -----------------------------------------------------------------------

    def _types(self) -> None:
        wanted = {enum_name(item): item for metadata in self.facts.metadata for item in model_enums(metadata)}
        for name, item in wanted.items():
            if name not in self.facts.enums:
                self.pieces.add(Before.TYPES, [self._create_type(name, item.enums)], [self._drop_type(name)])
        for name in self._types_left(set(wanted)):
            self.pieces.add(
                After.DROP_TYPES, [self._drop_type(name)], [self._create_type(name, self.facts.enums[name])]
            )

    def _types_left(self, wanted: set[Name]) -> list[Name]:
        """Return the types whose last column this revision drops."""
        lost: dict[Name, int] = {}
        for operation in self.operations:
            columns: Sequence[Any] = ()
            if isinstance(operation, ops.DropColumnOp):
                columns = [self._column_before(operation)]
            elif isinstance(operation, ops.DropTableOp):
                columns = list(operation.to_table().columns)
            for column in columns:
                if native_enum(column.type) is not None:
                    lost[enum_name(column.type)] = lost.get(enum_name(column.type), 0) + 1
        return [
            name
            for name, count in lost.items()
            if name not in wanted and name in self.facts.enums and count >= self.facts.enum_users.get(name, 0)
        ]

    def _create_type(self, name: Name, values: Sequence[str]) -> Sql:
        return Sql(f"CREATE TYPE {self.engine.quote(*name)} AS ENUM ({', '.join(map(text_literal, values))})")

    def _drop_type(self, name: Name) -> Sql:
        return Sql(f"DROP TYPE {self.engine.quote(*name)}")

    def _alter_enum(self, operation: AlterEnum) -> None:
        remark = Remark(f"PostgreSQL cannot take a value from a type: {operation.name[1]} keeps what was added.")
        self.pieces.add(Before.TYPES, [Autocommit(operation.statements())], [remark])

    # -- the rest ----------------------------------------------------------------------------------

    def _other(self, operation: Any) -> None:
        """Place an operation that the rules do not know by its name: what takes away goes last."""
        name = type(operation).__name__
        takes = name.startswith(("Drop", "Remove", "Delete")) and not name.startswith("DropTableComment")
        if not isinstance(operation, (ops.CreateTableCommentOp, ops.DropTableCommentOp)):
            self.pieces.note(f"{name} is not an operation that is known here; look at where it stands in the file.")
        try:
            back: list[Any] = [operation.reverse()]
        except NotImplementedError:
            back = []
        self.pieces.add(After.DROP_TABLES if takes else Before.ALTER, [operation], back)


def _with_remark(operations: Sequence[MigrateOperation], remark: Remark) -> Autocommit:
    (block,) = operations
    assert isinstance(block, Autocommit)
    return Autocommit([remark, *block.operations])


def _rewrite_remark(table: Name) -> Remark:
    return Remark(
        f"PostgreSQL writes all of {table[1]} anew for this, and lets nobody read meanwhile. If the table is large: "
        "add a plain column, fill it, and let a later release use it."
    )


def _uniques(table: Any) -> list[Any]:
    constraints = [] if table is None else table.constraints
    return [item for item in constraints if isinstance(item, sa.UniqueConstraint)]


def _bare(column: sa.Column[Any], **change: Any) -> Any:
    """Return a column without what operations of their own add: its index, unique constraint and foreign key."""
    if column.primary_key:
        return column._copy()
    special = [item._copy() for item in (column.computed, column.identity) if item is not None]
    default = None if special else _default(column.server_default)
    given: dict[str, Any] = {"nullable": column.nullable, "server_default": default}
    given |= {name: _default(value) for name, value in change.items()}
    return sa.Column(column.name, column.type, *special, comment=column.comment, **given)


def _like(column: sa.Column[Any], **change: Any) -> Any:
    """Return a column with the same name, type, nullability, default and comment, but for what changes."""
    given: dict[str, Any] = {
        "type": column.type,
        "nullable": column.nullable,
        "server_default": column.server_default,
        **change,
    }
    return sa.Column(
        column.name,
        given["type"],
        nullable=given["nullable"],
        server_default=_default(given["server_default"]),
        comment=column.comment,
    )


def _default(value: Any) -> Any:
    return value.arg if isinstance(value, sa.DefaultClause) else value


def _finished(column: sa.Column[Any], operation: ops.AlterColumnOp) -> Any:
    """Return a column after the changes of an operation that come before one of its type."""
    change: dict[str, Any] = {}
    if operation.modify_nullable is not None:
        change["nullable"] = operation.modify_nullable
    if operation.modify_server_default not in (False, None):
        change["server_default"] = operation.modify_server_default
    return _like(column, **change)


def _before(operation: ops.AlterColumnOp) -> sa.Column[Any]:
    """Return a column as the database has it."""
    return sa.Column(
        operation.column_name,
        operation.existing_type,
        nullable=operation.existing_nullable is not False,
        server_default=_default(operation.existing_server_default or None),
        comment=operation.existing_comment,
    )


__all__ = ["Batch", "split"]
