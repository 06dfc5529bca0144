"""What we rely on in Alembic beyond its documentation; run with the oldest and newest supported versions."""

from __future__ import annotations

import ast
import inspect
import io
import logging
import textwrap
from hashlib import sha256
from pathlib import Path

import alembic.context
import alembic.op
import alembic.script.revision
import sqlalchemy as sa
from alembic import util
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op_text
from alembic.config import Config
from alembic.ddl.impl import DefaultImpl
from alembic.operations import BatchOperations, Operations
from alembic.operations.ops import CreateUniqueConstraintOp, DropConstraintOp
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import Revision as AlembicRevision
from alembic.script.revision import _revision_illegal_chars

from flask_phased_migrate.index import ILLEGAL_IN_IDS
from flask_phased_migrate.loader import is_stock
from flask_phased_migrate.revision_map import KNOWN, fingerprint


def offline_context(buffer: io.StringIO, dialect_name: str = "sqlite") -> MigrationContext:
    return MigrationContext.configure(dialect_name=dialect_name, opts={"as_sql": True, "output_buffer": buffer})


def test_every_offline_statement_goes_through_the_impl_s_exec() -> None:
    buffer = io.StringIO()
    context = offline_context(buffer)
    seen: list[str] = []
    vars(context.impl)["_exec"] = lambda construct, *_rest, **_options: seen.append(type(construct).__name__)
    operations = Operations(context)
    operations.create_table("t", sa.Column("id", sa.Integer, primary_key=True))
    operations.add_column("t", sa.Column("n", sa.Integer))
    operations.create_index("i", "t", ["n"])
    operations.execute("SELECT 1")
    operations.bulk_insert(sa.table("t", sa.column("n", sa.Integer)), [{"n": 1}])
    assert len(seen) == 5
    assert buffer.getvalue() == ""


def test_exec_takes_what_our_own_takes() -> None:
    names = list(inspect.signature(DefaultImpl._exec).parameters)
    assert names == ["self", "construct", "execution_options", "multiparams", "params"]


def test_an_autocommit_block_offline_commits_and_begins_through_the_impl() -> None:
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": io.StringIO()}
    )
    seen: list[str] = []
    vars(context.impl).update(emit_begin=lambda: seen.append("begin"), emit_commit=lambda: seen.append("commit"))
    with context.autocommit_block():
        seen.append("block")
    assert seen == ["commit", "block", "begin"]


def test_a_transaction_per_migration_can_be_begun_and_is_ended_by_an_autocommit_block() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        options = {"transaction_per_migration": True, "transactional_ddl": True}
        context = MigrationContext.configure(connection, opts=options)
        with context.begin_transaction(_per_migration=True):
            assert connection.in_transaction()
            with context.autocommit_block():
                pass
            assert connection.in_transaction()
        assert not connection.in_transaction()
    engine.dispose()


def test_the_outer_transaction_of_env_py_is_nothing_with_a_transaction_per_migration() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        options = {"transaction_per_migration": True, "transactional_ddl": True}
        context = MigrationContext.configure(connection, opts=options)
        with context.begin_transaction():
            assert not connection.in_transaction()
    engine.dispose()


def test_env_py_calls_reach_methods_set_on_the_environment_instance() -> None:
    from alembic import context as proxy
    from alembic.config import Config

    environment = EnvironmentContext(Config(), None)  # type: ignore[arg-type]
    calls: list[object] = []
    vars(environment)["configure"] = lambda **options: calls.append(options)
    vars(environment)["run_migrations"] = lambda **arguments: calls.append(arguments)
    with environment:
        proxy.configure(url="sqlite://")
        proxy.run_migrations(engine_name="x")
    assert calls == [{"url": "sqlite://"}, {"engine_name": "x"}]


def test_operations_call_methods_set_on_the_instance() -> None:
    operations = Operations(offline_context(io.StringIO()))
    seen: list[str] = []
    vars(operations)["invoke"] = lambda operation: seen.append(type(operation).__name__)
    operations.drop_table("t")
    operations.execute("SELECT 1")
    assert seen == ["DropTableOp", "ExecuteSQLOp"]


def test_an_environment_keeps_the_options_that_configure_reads() -> None:
    assert "self.context_opts" in inspect.getsource(EnvironmentContext.__init__)
    assert issubclass(EnvironmentContext, util.ModuleClsProxy)


def test_migration_info_takes_what_callbacks_are_given() -> None:
    names = list(inspect.signature(MigrationInfo.__init__).parameters)
    assert names == ["self", "revision_map", "is_upgrade", "is_stamp", "up_revisions", "down_revisions"]


# A method of Alembic's map that is not as it was when revision_map.py was written: look at what has changed there.
SOURCES = {
    "RevisionMap.__init__": "e9f409fe315c",
    "RevisionMap._revision_map": "9f9cee7fae92",
    "RevisionMap._detect_cycles": "bddc22001415",
    "RevisionMap._map_branch_labels": "20493ac525af",
    "RevisionMap._add_branches": "8204e53f10a5",
    "RevisionMap._add_depends_on": "0c0ee53dcb3a",
    "RevisionMap._normalize_depends_on": "0070485f5ba7",
    "RevisionMap.add_revision": "01a88e219b28",
    "RevisionMap.get_revisions": "6e52338a3f28",
    "RevisionMap._revision_for_ident": "81687bb934a4",
    "RevisionMap._filter_into_branch_heads": "af06e193522b",
    "RevisionMap._shares_lineage": "13aeb8547d9a",
    "RevisionMap._iterate_related_revisions": "1f59e8cc7ed0",
    "RevisionMap._get_ancestor_nodes": "8d92251d7a8e",
    "RevisionMap._get_descendant_nodes": "81d1680533da",
    "RevisionMap._topological_sort": "5f8ff94c8dd9",
    "Revision.add_nextrev": "df5e61341d16",
    "Revision._all_down_revisions": "2bff7f6512b2",
    "Revision._normalized_down_revisions": "ee8c001bd876",
    "Revision._versioned_down_revisions": "80b2b2027783",
    "Revision.is_head": "62da18683605",
    "Revision._is_real_head": "7fe9af2e8d18",
    "Revision.is_base": "265659db3898",
    "Revision._is_real_base": "921f5c5b94b4",
}


def outline(name: str) -> str:
    """Return a checksum of a function of Alembic's without its annotations and docstring."""
    owner, _, attribute = name.partition(".")
    found = vars(getattr(alembic.script.revision, owner))[attribute]
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(found, "fget", found))))
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if hasattr(node, field):
                setattr(node, field, None)
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant("")
        if isinstance(node, ast.FunctionDef):
            node.body = node.body[1:] if ast.get_docstring(node) else node.body
    return sha256(ast.unparse(tree).encode()).hexdigest()[:12]


def test_the_revision_map_is_the_one_that_ours_stands_in_for() -> None:
    assert {name: outline(name) for name in KNOWN} == SOURCES
    assert {name: fingerprint(name) for name in KNOWN} == dict(KNOWN)


def test_logging_keeps_a_cache_that_can_be_cleared() -> None:
    assert callable(logging.getLogger("alembic").manager._clear_cache)  # type: ignore[attr-defined]


def test_the_commands_look_the_script_directory_up_in_their_module() -> None:
    import alembic.command

    assert "ScriptDirectory" in vars(alembic.command)


def test_the_revision_map_reads_the_files_through_its_generator_once(tmp_path: Path) -> None:
    from alembic.script import ScriptDirectory

    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "1.py").write_text("revision = '1'\ndown_revision = None\n")
    script = ScriptDirectory(tmp_path)
    calls: list[str] = []
    load = script.revision_map._generator

    def read() -> object:
        calls.append("read")
        return load()

    script.revision_map._generator = read  # type: ignore[assignment]
    assert script.get_heads() == ["1"]
    assert [item.revision for item in script.walk_revisions()] == ["1"]
    assert calls == ["read"]


def test_op_and_context_can_be_given_back_to_whom_they_belonged() -> None:
    outer = Operations(offline_context(io.StringIO()))
    with Operations.context(outer.migration_context) as installed:
        assert vars(alembic.op)["_proxy"] is installed
        with Operations.context(outer.migration_context):
            pass
        assert vars(alembic.op)["_proxy"] is None
        installed._install_proxy()
        assert alembic.op.get_context() is outer.migration_context
    assert vars(alembic.op)["_proxy"] is None


def test_a_context_can_be_given_to_an_environment_without_env_py(tmp_path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    context = offline_context(io.StringIO())
    environment = EnvironmentContext(config, ScriptDirectory.from_config(config))
    environment._migration_context = context
    with environment:
        assert alembic.context.get_context() is context
        assert not alembic.context.is_offline_mode()


def test_operations_of_a_batch_ask_their_impl_for_nothing_but_the_table() -> None:
    seen: list[object] = []
    table = type("Table", (), {"table_name": "a", "schema": "s"})()
    batch = BatchOperations(offline_context(io.StringIO()), impl=table)
    vars(batch)["invoke"] = seen.append
    batch.add_column(sa.Column("x", sa.Integer))
    batch.drop_column("y")
    batch.create_index("i", ["x"])
    batch.create_foreign_key("f", "b", ["x"], ["id"])
    batch.create_check_constraint("c", "x > 0")
    batch.create_table_comment("words")
    assert [getattr(item, "table_name", None) or item.source_table for item in seen] == ["a"] * 6  # type: ignore[attr-defined]


def test_autogenerate_renders_in_batches_and_keeps_what_undoes_a_dropped_constraint() -> None:
    options = {"alembic_module_prefix": "op."}
    context = AutogenContext(offline_context(io.StringIO()), sa.MetaData(), opts=options, autogenerate=False)
    undo = CreateUniqueConstraintOp(None, "t", ["n"])
    with context._within_batch():
        rendered = render_op_text(context, DropConstraintOp("c", "t", "unique", _reverse=undo))
    assert rendered == "batch_op.drop_constraint('c', type_='unique')"
    assert DropConstraintOp(None, "t", "unique", _reverse=undo).reverse().to_diff_tuple()[0] == "add_constraint"


def test_sqlalchemy_copies_a_column_without_its_table() -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("n", sa.Integer, nullable=False, server_default="1"))
    found = table.c.n._copy()
    assert (found.name, found.table, found.nullable, found.server_default.arg) == ("n", None, False, "1")


def test_a_script_can_be_made_without_its_module() -> None:
    names = list(inspect.signature(AlembicRevision.__init__).parameters)
    assert names == ["self", "revision", "down_revision", "dependencies", "branch_labels"]
    for name in ("doc", "longdoc", "log_entry"):
        assert isinstance(vars(Script)[name], property)
    assert "module" not in vars(Script)


def test_the_signs_that_an_id_may_not_have() -> None:
    assert frozenset(_revision_illegal_chars) == ILLEGAL_IN_IDS


def test_a_script_directory_loads_its_files_where_we_look_for_it() -> None:
    assert is_stock(ScriptDirectory)
