"""The door to a project's env.py: it runs there unmodified, and every bind comes out as a :class:`Visit`.

env.py configures a context for each bind and calls ``context.run_migrations()``. We take both calls over
on the ``EnvironmentContext`` instance: the options stay what env.py says, and where Alembic would run
revisions, our function gets the configured context. Nothing is patched in the user's files.
"""

from __future__ import annotations

import contextlib
import logging
import logging.config
import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import alembic.command
import sqlalchemy as sa
from alembic.config import Config as AlembicConfig
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script import revision as alembic_revision
from alembic.util import CommandError
from sqlalchemy.engine import Connection

from .errors import ConfigurationError, DatabaseUnreachable, DriverMissing, LockHeld, MigrateError, RevisionFileError
from .graph import Graph, build_graph
from .index import file_order
from .loader import Indexing, load_module, load_scripts
from .phases import DEFAULT_BIND, Phases, base_bind
from .revision_map import use_linear_map
from .tables import Tables, build_tables

# Alembic's ``op`` and ``context`` are process-global: two threads in env.py would share them.
_ONE_AT_A_TIME = threading.RLock()
HOOKED_KEY = "phased_hooked"
READ_ONLY_KEY = "phased_read_only"
CONNECTIONS_KEY = "phased_connections"
"""Attribute of a configuration: the :class:`Connections` of the tool, where they are not env.py's own."""
COMPARISON_KEY = "phased_comparison"
"""Attribute of a configuration: called with what env.py gives to ``context.configure()``, which it may change."""
INDEX_KEY = "phased_index"
"""Attribute of a configuration: ``begin`` to use the index of revision files, ``use`` only if there is one, ``read``
also where it cannot be kept."""
BINDS_KEY = "phased_binds"
"""Option of a context: all the binds that our own env.py migrates."""


@dataclass(frozen=True)
class Visit:
    """One bind as env.py configured it, inside its ``context.run_migrations()`` call.

    ``arguments`` are the keyword arguments that env.py gives to the revisions; ``options`` what it gave to
    ``context.configure()``.
    """

    bind: str
    context: MigrationContext
    operations: Operations
    arguments: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def tables(self) -> Tables:
        """The bind's version table, ledger and journal."""
        return build_tables(
            self.context.version_table,
            self.context.version_table_schema,
            primary_key=self.context.opts.get("version_table_pk", True),
            dialect=self.context.dialect.name,
        )

    @property
    def connection(self) -> Connection:
        """The bind's connection."""
        connection = self.context.connection
        assert connection is not None
        return connection


class Config(AlembicConfig):
    """Alembic's configuration, printing to standard output as it is at the time of the call."""

    def __init__(self, *arguments: Any, template_directory: str | None = None, **options: Any) -> None:
        options.setdefault("stdout", sys.stdout)
        super().__init__(*arguments, **options)
        self.template_directory = template_directory

    def get_template_directory(self) -> str:
        """Return the folder of the templates that ``flask db init`` copies."""
        return self.template_directory or str(Path(__file__).absolute().parent / "templates")


# -- revision files ---------------------------------------------------------------------------------


def open_script(config: AlembicConfig) -> ScriptDirectory:
    """Return the script directory of a configuration.

    Looked up in ``alembic.command`` at each call: applications replace the class there to add folders.

    :raises CommandError: if the folder does not exist.
    """
    directory = config.get_main_option("script_location")
    folder = Path(directory) if directory else None
    if folder is not None and folder.exists() and not _is_migrations_folder(folder):
        raise CommandError(
            f"{directory} is not a migrations folder: it has no env.py. Name another with --directory, or type: "
            "flask db init"
        )
    found: ScriptDirectory = vars(alembic.command)["ScriptDirectory"].from_config(config)
    use_linear_map(found)
    _check_when_read(found, config.attributes.get(INDEX_KEY))
    return found


def _is_migrations_folder(folder: Path) -> bool:
    return (folder / "env.py").exists() or (folder / "versions").is_dir()


def _check_when_read(script: ScriptDirectory, index: str | None) -> None:
    """Let whoever asks Alembic for a revision have our errors: they name the file.

    Alembic's revision map calls its ``_generator`` once, when it is first asked for something.

    :param index: how the index is used, as ``INDEX_KEY`` says.
    """
    load = script.revision_map._generator
    indexing = None
    if index is not None:
        begins = index in ("begin", "read")
        indexing = Indexing(lambda path: import_revision(path, script), begins, keeps=index != "read")

    def read() -> Iterator[Any]:
        found = _load_scripts(script, lambda: load_scripts(script, load, indexing))
        _check_names(found)
        return iter(found)

    script.revision_map._generator = read


def _load_scripts(script: ScriptDirectory, load: Callable[[], Iterable[Any]]) -> list[Any]:
    try:
        return list(load())
    except (CommandError, MigrateError):
        raise
    except (Exception, SystemExit) as error:
        raise _file_error(script, error) from error


class Place(Protocol):
    """Where revision files are: what an error may have to be looked for in. A script directory is one."""

    @property
    def dir(self) -> str:
        """The migrations folder."""

    @property
    def version_locations(self) -> Sequence[str]:
        """The folders of the revision files, those that are not where Alembic expects them."""


def import_revision(path: str, place: Place) -> ModuleType:
    """Import a file that the index knew, as it would have been in the beginning.

    :raises RevisionFileError: if it cannot be.
    """
    try:
        with stdout_to_stderr():
            return load_module(path)
    except (CommandError, MigrateError):
        raise
    except (Exception, SystemExit) as error:
        raise _file_error(place, error) from error


def _check_names(scripts: Iterable[Any]) -> None:
    """Refuse an id that two files have, and a parent that no file has."""
    files: dict[str, str] = {}
    for item in scripts:
        other = files.setdefault(item.revision, item.path)
        if other != item.path:
            raise RevisionFileError(
                f"{other} and {item.path} have the same revision '{item.revision}'. Give one of them another. Nothing "
                "was executed.",
                path=item.path,
            )
    known = files.keys() | {label for item in scripts for label in item.branch_labels}
    for item in scripts:
        for word, names in (("down_revision", item.down_revision), ("depends_on", item.dependencies)):
            for name in (names,) if isinstance(names, str) else names or ():
                if name not in known:
                    raise RevisionFileError(
                        f"{item.path}: {word} names '{name}', which no revision file has. Correct it, or deploy the "
                        "file that is missing. Nothing was executed.",
                        path=item.path,
                    )


@contextmanager
def revision_file_errors(script: ScriptDirectory) -> Iterator[None]:
    """Turn what Alembic's own commands make of a broken revision file into our error, which names the file.

    The files are read again only if something was raised.

    :raises RevisionFileError: if the files are at fault; else the error is left as it is.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Revision .* is present more than once")
        try:
            yield
        except (MigrateError, CommandError, KeyboardInterrupt):
            raise
        except BaseException:
            list(script.walk_revisions())
            raise


def read_graph(script: ScriptDirectory, phases: Phases) -> Graph:
    """Return the graph of the revision files; those that the index does not know are loaded for it.

    What they print while they are loaded goes to standard error: the caller may be writing an export.

    :raises RevisionFileError: if a file cannot be loaded or names a revision that no file has.
    """
    try:
        with stdout_to_stderr():
            scripts = list(script.walk_revisions())
    except CommandError as error:
        if isinstance(error.__cause__, alembic_revision.CycleDetected):
            raise RevisionFileError(
                f"{error}. Correct the down_revision or depends_on of one of these files in {script.dir}. Nothing was "
                "executed.",
                path=script.dir,
            ) from error
        raise
    locations = [str(Path(location).absolute()) for location in script.version_locations]
    scripts.sort(key=lambda item: file_order(locations, item.path))
    return build_graph(scripts, phases, lambda name: script.get_revision(name).revision)


def _file_error(script: Place, error: BaseException) -> RevisionFileError:
    path, line = _file_at_fault(script, error)
    where = f"{path}, line {line}" if line else path
    hint = " Correct its revision or down_revision." if isinstance(error, alembic_revision.RevisionError) else ""
    return RevisionFileError(
        f"{where}: the revision file cannot be loaded: {type(error).__name__}: {error}.{hint} Nothing was executed.",
        path=path,
    )


def _file_at_fault(script: Place, error: BaseException) -> tuple[str, int]:
    """Return path and line of the revision file that an error is from, 0 for an unknown line."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    path, line = script.dir, 0
    folders = [str(Path(at).resolve()) for at in (script.dir, *script.version_locations)]
    trace = error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if filename.startswith(tuple(folders)):
            path, line = filename, trace.tb_lineno
        trace = trace.tb_next
    if line:
        return path, line
    files = [file for at in folders for file in sorted(Path(at).rglob("*.py"))]
    return next((str(file) for file in files if _is_at_fault(file, error)), path), 0


def _is_at_fault(file: Path, error: BaseException) -> bool:
    """Return whether Python cannot read the file, or the error names the module that Alembic made of it."""
    try:
        compile(file.read_bytes(), str(file), "exec")
    except (OSError, SyntaxError, ValueError):
        return True
    module = re.sub(r"\W", "_", file.name)
    return f"'{module}'" in str(error)


def revisions_up_to(script: ScriptDirectory, target: str, heads: Sequence[str]) -> tuple[str, ...]:
    """Return the revisions that an upgrade from ``heads`` to ``target`` (as typed) covers.

    :raises CommandError: if the target cannot be located, is ambiguous, or is not above the heads.
    """
    with _revision_errors(target, "upgrade"):
        found = script.iterate_revisions(target, tuple(heads), implicit_base=True)
        return tuple(item.revision for item in found)


def revisions_down_to(script: ScriptDirectory, target: str, heads: Sequence[str]) -> tuple[str, ...]:
    """Return the revisions that a downgrade from ``heads`` to ``target`` (as typed) covers, newest first.

    :raises CommandError: as :func:`revisions_up_to`.
    """
    with _revision_errors(target, "downgrade"):
        found = script.iterate_revisions(tuple(heads), target, select_for_downgrade=True)
        return tuple(item.revision for item in found)


def resolve_revisions(script: ScriptDirectory, name: str) -> tuple[str, ...]:
    """Return the ids that a name as typed stands for: an id, part of one, ``head``, ``heads``, ``base``, a label.

    ``ID-2`` and ``ID+2`` count revisions from there; ``-2`` counts from the heads, ``+2`` from the base.

    :raises CommandError: if there is none, or several where one is wanted.
    """
    relative = _RELATIVE.fullmatch(name)
    if relative is None:
        return tuple(item.revision for item in script.get_revisions(name) if item is not None)
    steps = int(relative["steps"])
    found = resolve_revisions(
        script, (relative["label"] or "") + (relative["start"] or ("base" if steps > 0 else "heads"))
    )
    for _ in range(abs(steps)):
        before, found = found, _children(script, found) if steps > 0 else _parents(script, found)
        if not found and (steps > 0 or not before):
            raise CommandError(f"Relative revision {name} didn't produce {abs(steps)} migrations")
    return found


_RELATIVE = re.compile(r"(?P<label>.+@)?(?P<start>\w*)(?P<steps>[+-]\d+)", re.ASCII)


def _parents(script: ScriptDirectory, names: Sequence[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for item in script.get_revisions(tuple(names)):
        down = item.down_revision
        found.update(dict.fromkeys((down,) if isinstance(down, str) else down or ()))
    return tuple(found)


def _children(script: ScriptDirectory, names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return tuple(script.get_bases())
    return tuple(sorted({name for item in script.get_revisions(tuple(names)) for name in item.nextrev}))


@contextmanager
def _revision_errors(target: str, direction: str) -> Iterator[None]:
    """Turn the graph's errors into Alembic's ``CommandError`` with the words its own commands use."""
    try:
        yield
    except alembic_revision.RangeNotAncestorError as error:
        raise CommandError(f"Destination {target} is not a valid {direction} target from current head(s)") from error
    except alembic_revision.MultipleHeads as error:
        raise CommandError(
            f"Multiple head revisions are present for given argument '{target}'; please specify a specific target "
            f"revision, '<branchname>@{target}' to narrow to a specific head, or 'heads' for all heads"
        ) from error
    except alembic_revision.ResolutionError as error:
        if str(error).startswith("Multiple revisions"):
            raise CommandError(str(error.args[0])) from error
        raise CommandError(f"Can't locate revision identified by '{error.argument}'") from error
    except alembic_revision.RevisionError as error:
        raise CommandError(str(error.args[0])) from error


# -- env.py -----------------------------------------------------------------------------------------


def run_environment(
    config: AlembicConfig,
    script: ScriptDirectory,
    visit: Callable[[Visit], None],
    *,
    as_sql: bool = False,
    configure: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    **context_options: Any,
) -> EnvironmentContext:
    """Run env.py and call ``visit`` where it would run migrations, once a bind.

    :param configure: may change what env.py gives to ``context.configure()``.
    :param context_options: ``destination_rev``, ``starting_rev`` and ``tag``, for env.py files that ask.
    :raises DatabaseUnreachable: if a bind cannot be connected to.
    """
    if not Path(script.env_py_location).exists():
        raise CommandError(
            f"There is no {script.env_py_location}. Name the folder with --directory, or type: flask db init"
        )
    environment = EnvironmentContext(config, script, as_sql=as_sql, fn=_nothing, dont_mutate=True, **context_options)
    environment.context_opts[HOOKED_KEY] = True
    with contextlib.ExitStack() as opened:
        calls = _Calls(environment, visit, configure, opened if not as_sql else None)
        vars(environment).update(configure=calls.configure, run_migrations=calls.run_migrations)
        with _ONE_AT_A_TIME, connection_errors(), logging_restored(), _connecting(config), environment:
            script.run_env()
    if not calls.names:
        raise ConfigurationError(
            f"{script.env_py_location} did not call context.run_migrations(), so no database was reached. "
            "Compare it with what 'flask db init' writes."
        )
    return environment


class Connections(Protocol):
    """Where the tool connects to, if that is not where the application does: ``urls`` by bind."""

    @property
    def urls(self) -> Mapping[str, sa.URL]:
        """The URLs by bind."""

    def installed(self) -> contextlib.AbstractContextManager[None]:
        """Let env.py find engines with these URLs for the block."""


@contextmanager
def _connecting(config: AlembicConfig) -> Iterator[None]:
    connections: Connections | None = config.attributes.get(CONNECTIONS_KEY)
    with contextlib.nullcontext() if connections is None else connections.installed():
        yield


class _Calls:
    """Takes over what env.py calls on its ``EnvironmentContext``.

    ``opened`` closes the connections that we make in place of env.py's; None in offline mode, which has none.
    """

    def __init__(
        self,
        environment: EnvironmentContext,
        visit: Callable[[Visit], None],
        change: Callable[[dict[str, Any]], dict[str, Any]] | None,
        opened: contextlib.ExitStack | None,
    ) -> None:
        self.environment = environment
        self.visit = visit
        self.change = change
        self.opened = opened
        self.names: list[str] = []
        self.configured: dict[str, Any] = {}
        self.base_options = dict(environment.context_opts)

    def configure(self, *positional: Any, **options: Any) -> None:
        """Configure the context for the next bind; the options of the one before are forgotten."""
        names_of_positional = ("connection", "url", "dialect_name", "dialect_opts")
        options.update(zip(names_of_positional, positional, strict=False))
        self.environment.context_opts = dict(self.base_options)
        self.configured = dict(options)
        if self.change is not None:
            options = self.change(dict(options))
        if self.opened is not None:
            connections: Connections | None = self.environment.config.attributes.get(CONNECTIONS_KEY)
            url = None if connections is None else connections.urls.get(bind_name(options, {}))
            options = _own_transactions(options, url, self.opened)
        EnvironmentContext.configure(self.environment, **options)

    def run_migrations(self, **arguments: Any) -> None:
        """Give the bind as it is configured now to the visitor."""
        name = self._unique_name(bind_name(self.configured, arguments))
        self.names.append(name)
        context = self.environment.get_context()
        with Operations.context(context) as operations:
            self.visit(Visit(name, context, operations, arguments, dict(self.configured)))

    def _unique_name(self, name: str) -> str:
        """Return ``name``, with a mark behind ``@`` where env.py has used it: it loops over tenants, say."""
        schema = self.configured.get("version_table_schema")
        if name in self.names and schema:
            name = f"{name}@{schema}"
        unique, number = name, 2
        while unique in self.names:
            unique = f"{base_bind(name)}@{number}"
            number += 1
        return unique


def _nothing(_heads: Any, _context: Any) -> tuple[()]:
    return ()


def bind_name(configured: Mapping[str, Any], arguments: Mapping[str, Any]) -> str:
    """Return the bind's name: what env.py calls the engine, else what its upgrade token says.

    :param configured: what env.py gave to ``context.configure()``, or a context's options.
    :param arguments: what it gives to ``context.run_migrations()``.
    """
    name = arguments.get("engine_name")
    if not isinstance(name, str):
        token = configured.get("upgrade_token") or "upgrades"
        name = token.removesuffix("upgrades").rstrip("_")
    return name or DEFAULT_BIND


def _own_transactions(options: dict[str, Any], url: sa.URL | None, opened: contextlib.ExitStack) -> dict[str, Any]:
    """Return env.py's options with a connection on which we can begin and commit steps ourselves.

    A connection made for it is closed with ``opened``; to ``url`` where there is one.
    """
    connection = options.get("connection")
    options["transaction_per_migration"] = True
    if connection is None:
        return options
    if connection.dialect.name == "sqlite":
        options.setdefault("transactional_ddl", True)
    if url is not None and url != connection.engine.url:
        options["connection"] = opened.enter_context(_connected(url, connection))
    elif isinstance(connection.get_transaction(), sa.engine.TwoPhaseTransaction):
        # Cannot be divided into steps (USE_TWOPHASE in the multi-bind template): it stays empty.
        beside = opened.enter_context(connection.engine.connect())
        options["connection"] = beside.execution_options(**connection.get_execution_options())
    elif connection.in_transaction():
        options["connection"] = _sibling(connection)
    return options


@contextmanager
def _connected(url: sa.URL, connection: Connection) -> Iterator[Connection]:
    """Give a connection to ``url`` in place of env.py's.

    :raises ConfigurationError: if what has no schema in its name is looked for in other places there.
    """
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as found:
        where = _WHERE.get(connection.dialect.name)
        if where is not None and connection.dialect.name == found.dialect.name:
            theirs, ours = connection.scalar(sa.text(where)), found.scalar(sa.text(where))
            found.rollback()
            if theirs != ours:
                raise ConfigurationError(
                    f"MIGRATE_DATABASE_URL leads elsewhere: env.py's connection is in {theirs}, that one in {ours}. It "
                    "must be the same database, and what env.py sets on its session (a search_path, say) has to be in "
                    "the URL. Nothing was executed."
                )
        yield found.execution_options(**connection.get_execution_options())


_WHERE = {
    "postgresql": "SELECT current_database() || ', schemas ' || array_to_string(current_schemas(false), ', ')",
    "mysql": "SELECT database()",
    "mariadb": "SELECT database()",
}


def _sibling(connection: Connection) -> Connection:
    """Return another SQLAlchemy connection on the same driver connection, in no transaction.

    env.py began a transaction (the multi-bind template does, on every bind) and will commit it at the
    end. What it did so far is committed, so that its session settings stay; its own commit is then empty.
    """
    driver = connection.connection
    driver.commit()
    return Connection(connection.engine, connection=driver).execution_options(**connection.get_execution_options())


@contextmanager
def alembic_call(config: AlembicConfig) -> Iterator[None]:
    """Frame a call of one of Alembic's own commands like :func:`run_environment` frames env.py."""
    with _ONE_AT_A_TIME, connection_errors(), logging_restored(), _connecting(config):
        yield


@contextmanager
def already_open(config: AlembicConfig, script: ScriptDirectory) -> Iterator[None]:
    """Let Alembic's own commands have ``script`` when they open the script directory of ``config``.

    It reads the files as ours does, and walks their graph in linear time. Inside of :func:`alembic_call`.
    """
    names = vars(alembic.command)
    stock = names["ScriptDirectory"]
    names["ScriptDirectory"] = _OpenScript(stock, config, script)
    try:
        yield
    finally:
        names["ScriptDirectory"] = stock


class _OpenScript:
    """Stands in for the class of script directories: of one configuration, it is open already."""

    def __init__(self, stock: Any, config: AlembicConfig, script: ScriptDirectory) -> None:
        self._stock = stock
        self._config = config
        self._script = script

    def from_config(self, config: AlembicConfig) -> Any:
        """Return the script directory of a configuration."""
        return self._script if config is self._config else self._stock.from_config(config)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._stock(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stock, name)


@contextmanager
def alembic_alone(wait_s: float) -> Iterator[None]:
    """Have Alembic's ``op`` and ``context``, which are of the whole process, to oneself for the block.

    Unlike :func:`alembic_call` it changes nothing else of the process: other threads serve requests.

    :raises LockHeld: if another thread has them for longer than ``wait_s`` seconds.
    """
    if not _ONE_AT_A_TIME.acquire(timeout=wait_s):
        raise LockHeld(
            f"Another thread of this process was at work with revision files for more than {wait_s:g} s. Try again."
        )
    try:
        yield
    finally:
        _ONE_AT_A_TIME.release()


@contextmanager
def scratch_directory() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Make an empty folder the working directory for the block; gives a function that calls another outside it.

    The offline part of Flask-Migrate's multi-bind env.py opens its output files in the working directory.
    """
    home = os.getcwd()

    def outside(function: Callable[[], None]) -> None:
        scratch = os.getcwd()
        os.chdir(home)
        try:
            function()
        finally:
            os.chdir(scratch)

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield outside
        finally:
            os.chdir(home)


@contextmanager
def connection_errors() -> Iterator[None]:
    """Turn a failed connection, and a driver that is not installed, into our errors.

    :raises DatabaseUnreachable: the server does not answer, or refuses the login.
    :raises DriverMissing: the URL's driver is not installed.
    """
    try:
        yield
    except sa.exc.NoSuchModuleError as error:
        raise DriverMissing(f"The database URL names an engine that SQLAlchemy does not know: {error}") from error
    except sa.exc.ArgumentError as error:
        if "URL" not in str(error):
            raise
        raise ConfigurationError(f"The database URL cannot be used: {error}. Look at it: flask db environ") from error
    except ModuleNotFoundError as error:
        if error.name not in _DRIVERS:
            raise
        raise DriverMissing(
            f"The database driver '{error.name}' is not installed. Type: pip install {_DRIVERS[error.name]}"
        ) from error
    except sa.exc.OperationalError as error:
        if error.statement is not None:
            raise
        raise DatabaseUnreachable(_unreachable(error)) from error


_DRIVERS = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "asyncpg": "asyncpg",
    "pg8000": "pg8000",
    "pymysql": "pymysql",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
    "mariadb": "mariadb",
    "pyodbc": "pyodbc",
    "oracledb": "oracledb",
    "cx_Oracle": "cx_Oracle",
}


def _unreachable(error: sa.exc.OperationalError) -> str:
    from .recorder import hide_secrets

    reason = hide_secrets(" ".join(str(error.orig).split()))
    hint = ""
    if "password" in reason.lower() or "access denied" in reason.lower():
        hint = (
            " If the password is right in the app's configuration, look in env.py: str(engine.url) masks it as ***, "
            "use engine.url.render_as_string(hide_password=False)."
        )
    return f"The database cannot be reached: {reason}. Check the database URL and that the server runs.{hint}"


# -- logging ----------------------------------------------------------------------------------------


@contextmanager
def logging_restored() -> Iterator[None]:
    """Let env.py configure logging for the block only, without disabling or closing anybody's loggers.

    Every Flask-Migrate env.py calls ``fileConfig()``, which disables all existing loggers, closes the
    application's handlers, and would keep writing to a stream that a test runner has closed.
    """
    root = logging.getLogger()
    before = {
        logger: (logger.level, list(logger.handlers), logger.propagate, logger.disabled)
        for logger in [root, *_existing_loggers()]
    }
    original, shutdown = logging.config.fileConfig, logging.shutdown

    def gentle(fname: Any, defaults: Any = None, disable_existing_loggers: bool = True, encoding: Any = None) -> None:
        del disable_existing_loggers
        logging.shutdown = _keep_handlers  # type: ignore[assignment]  # fileConfig closes every handler of the process through it
        try:
            original(fname, defaults, disable_existing_loggers=False, encoding=encoding)
        finally:
            logging.shutdown = shutdown
        for name in ("alembic.runtime.migration", "alembic.runtime.plugins"):
            logging.getLogger(name).setLevel(logging.WARNING)

    logging.config.fileConfig = gentle
    try:
        yield
    finally:
        logging.config.fileConfig = original
        for logger in [root, *_existing_loggers()]:
            if logger in before:
                logger.level, logger.handlers[:], logger.propagate, logger.disabled = before[logger]
            else:
                logger.handlers.clear()
                logger.setLevel(logging.NOTSET)
        logging.getLogger("alembic").manager._clear_cache()  # type: ignore[attr-defined]


def _keep_handlers(_handlers: Any = None) -> None:
    """Stand in for ``logging.shutdown`` while a configuration file is read."""


def _existing_loggers() -> list[logging.Logger]:
    return [item for item in logging.root.manager.loggerDict.values() if isinstance(item, logging.Logger)]


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what revisions and env.py print to standard error: standard output is an export."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
