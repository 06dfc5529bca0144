"""The commands as functions, with the signatures of Flask-Migrate's and alembic-offline's.

They need an application context, print what the command prints, and raise instead of exiting.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic
import alembic.command
from alembic.util import CommandError

from . import alembic_plugin
from .authoring import Answers
from .environment import (
    COMPARISON_KEY,
    READ_ONLY_KEY,
    Config,
    alembic_call,
    already_open,
    open_script,
    revision_file_errors,
    run_environment,
)
from .errors import UsageError
from .executor import end_reading
from .extension import Migrate, current_migrate
from .extension.authoring import COMMAND_FOR_TEMPLATE, Comparison, has_phases, update_template
from .extension.env_file import CLASSIC_KEY
from .graph import Revision
from .offline.data import MigrationData
from .offline.text import render_sql, with_bind
from .phases import configure_phases
from .render import render_graph

alembic_version = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in alembic.__version__.split(".")[:3])

Names = str | Sequence[str]


@contextmanager
def _alembic(directory: str | None, **options: Any) -> Iterator[Config]:
    """Give the configuration for one of Alembic's own commands, framed like our own."""
    alembic_plugin.activate()
    config = current_migrate().get_config(directory, **options)
    script = open_script(config)
    with alembic_call(config), already_open(config, script), revision_file_errors(script):
        yield config


def list_templates() -> None:
    """Print the available templates."""
    config = Config()
    config.print_stdout("Available templates:\n")
    for folder in sorted(Path(config.get_template_directory()).iterdir()):
        if (folder / "README").is_file():
            config.print_stdout("%s - %s", folder.name, (folder / "README").read_text().splitlines()[0])


def init(
    directory: str | None = None, multidb: bool = False, template: str | None = None, package: bool = False
) -> None:
    """Create a migrations folder.

    :param multidb: migrate every bind of the application, not only the unnamed database.
    :param template: a template's name, or the path of a folder with one.
    """
    migrate = current_migrate()
    directory = str(directory or migrate.directory)
    folder = None
    if template is not None and ("/" in template or "\\" in template):
        folder, template = os.path.split(template)
    if template == "flask-multidb" and folder is None:
        template, multidb = "flask", True
    config = Config(template_directory=folder)
    config.set_main_option("script_location", directory)
    config.config_file_name = os.path.join(directory, "alembic.ini")
    config = migrate.call_configure_callbacks(config)
    with alembic_call(config):
        alembic.command.init(config, directory, template=template or "flask", package=package)
    if multidb and folder is None:
        file = Path(directory, "alembic.ini")
        file.write_text(file.read_text().replace("\nbinds = default\n", "\nbinds = all\n"))


def renew_template(directory: str | None = None) -> None:
    """Put the current revision template into a migrations folder; the one that was there is kept beside it."""
    with _alembic(directory) as config:
        template, kept = update_template(open_script(config).dir)
    before = f" The template that was there: {kept}" if kept is not None else ""
    sys.stdout.write(f"Wrote {template}.{before}\n")


def revision(
    directory: str | None = None,
    message: str | None = None,
    autogenerate: bool = False,
    sql: bool = False,
    head: str = "head",
    splice: bool = False,
    branch_label: str | None = None,
    version_path: str | None = None,
    rev_id: str | None = None,
    depends_on: Any = None,
    x_arg: Any = None,
    *,
    phases: bool = True,
    answers: Answers | None = None,
) -> Any:
    """Create a revision file; return Alembic's ``Script`` object of it.

    :param phases: with ``autogenerate``, divide what is found into phases where the folder's template can hold them.
    :param answers: those to questions that only a person can answer; without, such a question is refused.
    """
    with _alembic(directory, opts=["autogenerate"] if autogenerate else None, x_arg=x_arg) as config:
        _refuse_taken(config, None if autogenerate else rev_id)
        if autogenerate:
            _prepare_authoring(config, phases=phases, answers=answers)
        found = alembic.command.revision(
            config,
            message,
            autogenerate=autogenerate,
            sql=sql,
            head=head,
            splice=splice,
            branch_label=branch_label,
            version_path=version_path,
            rev_id=rev_id,
            depends_on=depends_on or None,
        )
        if autogenerate:
            _say_what_was_compared(config, found)
        return found


def _prepare_authoring(config: Config, *, phases: bool, answers: Answers | None) -> None:
    """Have autogenerate divide what it finds, if the folder's template has a place for each phase."""
    comparison: Comparison = config.attributes[COMPARISON_KEY]
    folder = open_script(config).dir
    if phases and has_phases(folder):
        comparison.phases = current_migrate().read_phases(config)
        comparison.answers = answers or Answers()
    elif phases and answers is not None and (answers.renames or answers.fills):
        raise UsageError(
            f"{folder}/script.py.mako has no place for phases, so --rename and --fill have no effect. Nothing was "
            f"written. Type: {COMMAND_FOR_TEMPLATE}"
        )
    elif phases:
        comparison.notes.append(
            f"Written in one piece, as Flask-Migrate does: {folder}/script.py.mako has no place for phases. To have "
            f"revisions that are safe while the application runs: {COMMAND_FOR_TEMPLATE} (this form, without this "
            "message: --no-phases)"
        )
    config.attributes[CLASSIC_KEY] = comparison.answers is None


def _say_what_was_compared(config: Config, found: Any) -> None:
    """Tell on standard error what the person should know of the file, or why there is none."""
    comparison: Comparison = config.attributes[COMPARISON_KEY]
    if found:
        notes = comparison.notes
    else:
        compared = "; ".join(map(str, comparison.compared))
        notes = [f"Nothing was written: the models say what the database has. Compared were {compared}."]
        if comparison.compared and not any(item.tables for item in comparison.compared):
            notes.append("The models have no table: is the module imported that defines them?")
    _say_views(comparison)
    for note in notes:
        sys.stderr.write(f"{note}\n")


def _say_views(comparison: Comparison) -> None:
    if comparison.views:
        sys.stderr.write(f"Views are not compared: {', '.join(sorted(comparison.views))}.\n")


def _refuse_taken(config: Config, rev_id: str | None) -> None:
    """Refuse an id that a file has: Alembic would write a second, and then no command works any more."""
    for item in open_script(config).walk_revisions() if rev_id is not None else ():
        if item.revision == rev_id:
            raise CommandError(f"Revision '{rev_id}' is there already: {item.path}. Choose another --rev-id.")


def migrate(
    directory: str | None = None,
    message: str | None = None,
    sql: bool = False,
    head: str = "head",
    splice: bool = False,
    branch_label: str | None = None,
    version_path: str | None = None,
    rev_id: str | None = None,
    x_arg: Any = None,
    depends_on: Any = None,
    **authoring: Any,
) -> Any:
    """Create a revision file with the operations that turn the database into what the models say.

    :param authoring: ``phases`` and ``answers`` of :func:`revision`.
    """
    return revision(
        directory, message, True, sql, head, splice, branch_label, version_path, rev_id, depends_on, x_arg, **authoring
    )


def edit(directory: str | None = None, revision: str = "current") -> None:
    """Open a revision file in $EDITOR."""
    with _alembic(directory) as config:
        alembic.command.edit(config, revision)


def merge(
    directory: str | None = None,
    revisions: Names = "",
    message: str | None = None,
    branch_label: str | None = None,
    rev_id: str | None = None,
    splice: bool = False,
) -> Any:
    """Create a revision that joins several; without names, all heads. Return its ``Script``, None for one head.

    :raises UsageError: if a single revision is named.
    """
    names = (revisions,) if isinstance(revisions, str) and revisions else tuple(revisions) or ("heads",)
    with _alembic(directory) as config:
        found = {item.revision for name in names for item in open_script(config).get_revisions(name) if item}
        if len(found) < 2 and names != ("heads",):
            raise UsageError(f"A merge needs two revisions or more; {' '.join(names)} stands for {len(found)}.")
        if len(found) < 2:
            config.print_stdout("There is %s head: nothing to merge.", len(found) or "no")
            return None
        # ``splice`` came with Alembic 1.18.5.
        options = {"splice": True} if splice else {}
        return alembic.command.merge(
            config, names, message=message, branch_label=branch_label, rev_id=rev_id, **options
        )


def upgrade(
    directory: str | None = None,
    revision: str = "head",
    sql: bool = False,
    tag: str | None = None,
    x_arg: Any = None,
    **options: Any,
) -> Any:
    """Upgrade the databases, or with ``sql`` print what would do it.

    ``options`` are those of :meth:`.Migrate.upgrade`: ``phase``, ``through``, ``bind``, ``lock_wait_s``.
    """
    extension = current_migrate()
    if sql:
        return _print_sql(extension, "upgrade", directory, revision, tag, x_arg, options)
    _refuse_range(revision)
    return extension.upgrade(directory, revision, tag=tag, x_arg=x_arg, **options)


def downgrade(
    directory: str | None = None,
    revision: str = "-1",
    sql: bool = False,
    tag: str | None = None,
    x_arg: Any = None,
    **options: Any,
) -> Any:
    """Undo revisions, or with ``sql`` print what would do it.

    ``options`` are those of :meth:`.Migrate.downgrade`: ``phase``, ``bind``, ``lock_wait_s``.
    """
    extension = current_migrate()
    if sql:
        if revision == "-1":
            revision = "head:-1"
        if ":" not in revision:
            raise CommandError("downgrade with --sql requires <fromrev>:<torev>")
        return _print_sql(extension, "downgrade", directory, revision, tag, x_arg, options)
    _refuse_range(revision)
    return extension.downgrade(directory, revision, tag=tag, x_arg=x_arg, **options)


def _refuse_range(revision: str) -> None:
    if ":" in revision:
        raise CommandError("Range revision not allowed")


def _print_sql(
    extension: Migrate,
    direction: Any,
    directory: str | None,
    revision: str,
    tag: Any,
    x_arg: Any,
    options: Mapping[str, Any],
) -> None:
    known = {name: options.get(name) for name in ("phase", "bind")}
    exported = extension.export(
        directory, revision, direction=direction, markers="phased", tag=tag, x_arg=x_arg, delivers=True, **known
    )
    for bind, statements in exported.items():
        sys.stdout.write(render_sql(statements if len(exported) == 1 else with_bind(statements, bind)))


def show(directory: str | None = None, revision: str = "head") -> None:
    """Print a revision."""
    with _alembic(directory) as config:
        alembic.command.show(config, revision)


def history(
    directory: str | None = None, rev_range: str | None = None, verbose: bool = False, indicate_current: bool = False
) -> None:
    """Print the revisions, newest first."""
    with _alembic(directory) as config:
        config.attributes[READ_ONLY_KEY] = True
        alembic.command.history(config, rev_range, verbose=verbose, indicate_current=indicate_current)


def heads(directory: str | None = None, verbose: bool = False, resolve_dependencies: bool = False) -> None:
    """Print the revisions that nothing revises."""
    with _alembic(directory) as config:
        alembic.command.heads(config, verbose=verbose, resolve_dependencies=resolve_dependencies)


def branches(directory: str | None = None, verbose: bool = False) -> None:
    """Print the branch points."""
    with _alembic(directory) as config:
        alembic.command.branches(config, verbose=verbose)


def current(directory: str | None = None, verbose: bool = False, check_heads: bool = False) -> None:
    """Print the current revision of each database, and what is in flight."""
    with _alembic(directory) as config:
        alembic.command.current(config, verbose=verbose, check_heads=check_heads)
    _print_in_flight(directory)


def _print_in_flight(directory: str | None) -> None:
    found = current_migrate().status(directory)
    for status in found:
        where = f" on {status.name}" if len(found) > 1 else ""
        for row in status.revisions:
            if row.state == "in-flight":
                done = ", ".join(name for name, state in row.phases.items() if state == "done") or "nothing"
                sys.stdout.write(f"{row.id} (in flight{where}: {done} done)\n")


def stamp(
    directory: str | None = None,
    revision: Names = "head",
    sql: bool = False,
    tag: str | None = None,
    purge: bool = False,
    bind: str | None = None,
) -> Any:
    """Set the version table without running anything; with ``sql`` print what would do it.

    Return the steps of revisions in flight whose records were cleared.
    """
    extension = current_migrate()
    names = (revision,) if isinstance(revision, str) else tuple(revision)
    if not sql:
        return extension.stamp(directory, names, purge=purge, tag=tag, bind=bind)
    if purge:
        raise CommandError("Can't use --purge with --sql mode")
    exported = extension.export_stamp(directory, names, tag=tag, bind=bind)
    for name, statements in exported.items():
        sys.stdout.write(render_sql(statements if len(exported) == 1 else with_bind(statements, name)))
    return ()


def check(directory: str | None = None) -> None:
    """Raise an error if the models and the database differ."""
    with _alembic(directory) as config:
        config.attributes[READ_ONLY_KEY] = True
        alembic.command.check(config)
        _say_views(config.attributes[COMPARISON_KEY])


def ensure_version(directory: str | None = None, sql: bool = False) -> None:
    """Create the version table where it is missing."""
    if sql:
        extension = current_migrate()
        for statements in extension.export_version_table(directory).values():
            sys.stdout.write(render_sql(statements))
        return
    project = current_migrate().open_project(directory)

    def visit(found: Any) -> None:
        end_reading(found.connection)
        with found.connection.begin():
            found.tables.version.create(found.connection, checkfirst=True)

    run_environment(project.config, project.script, visit)


# -- alembic-offline's functions ------------------------------------------------------------------------


def get_migrations_data(config: Any, bind: str | None = None) -> list[dict[str, Any]]:
    """Return the migration data of every revision, base first.

    :param config: an Alembic ``Config``, as ``Migrate.get_config()`` gives it; it is not changed.
    :param bind: the database whose part is wanted where there are several; the first of env.py's without.
    """
    extension = _extension_for(config)
    return [item.as_dict() for item in _migration_data(extension, _copy_of(config), None, bind)]


def get_migration_data(config: Any, revision: str, bind: str | None = None) -> dict[str, Any]:
    """Return the migration data of one revision: an id, part of one, or a symbolic name.

    :param bind: as for :func:`get_migrations_data`.
    """
    (found,) = _migration_data(_extension_for(config), _copy_of(config), revision, bind)
    return found.as_dict()


def _migration_data(
    extension: Migrate, config: Config, revision: str | None, bind: str | None
) -> tuple[MigrationData, ...]:
    return extension.migration_data(extension.open_project(config=config), revision, bind)


def _copy_of(config: Any) -> Config:
    """Return a configuration with the same options, whether they are from a file or were set in the program."""
    own = Config(
        config.config_file_name,
        toml_file=config.toml_file_name,
        ini_section=config.config_ini_section,
        cmd_opts=config.cmd_opts,
        attributes=dict(config.attributes),
    )
    if config.file_config.has_section(config.config_ini_section):
        for name, value in config.file_config.items(config.config_ini_section, raw=True):
            own.set_main_option(name, value)
    if not own.get_main_option("script_location"):
        own.set_main_option("script_location", (config.get_alembic_option("script_location") or "").replace("%", "%%"))
    return own


def _extension_for(config: Any) -> Migrate:
    from flask import has_app_context

    if has_app_context():
        return current_migrate()
    return _ConfigOnly(config)


class _ConfigOnly(Migrate):
    """Stands for the extension where a plain Alembic configuration is all there is."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self._config = config

    def read_phases(self, config: Any = None) -> Any:
        """Return the phases of the configuration file."""
        option: Callable[[str], Any] = (config or self._config).get_alembic_option
        return configure_phases(option("phases"), option("default-phase"), option("boundary"))

    def setting(self, name: str, option: str | None = None, default: Any = None, config: Any = None) -> Any:
        """Return a setting of the configuration file."""
        from .extension.settings import Setting

        value = (config or self._config).get_alembic_option(option) if option else None
        return Setting(name, default if value is None else value, "alembic.ini")


def generate_migration_graph(config: Any, label_callback: Callable[[dict[str, Any]], str | None] | None = None) -> str:
    """Return the graph of the revisions as DOT text.

    Without a callback, what ``script-attributes`` names is in the labels too.

    :param config: as for :func:`get_migrations_data`.
    :param label_callback: gives a node's label from its migration data; None for the usual one.
    """
    extension = _extension_for(config)
    project = extension.open_project(config=_copy_of(config))
    if label_callback is None:
        return render_graph(project.graph, "dot", label=_attribute_label(extension.script_attributes(project.config)))
    labels = {item.revision.id: label_callback(item.as_dict()) for item in extension.migration_data(project)}
    return render_graph(project.graph, "dot", label=lambda item: labels.get(item.id))


def _attribute_label(names: Sequence[str]) -> Callable[[Revision], str | None] | None:
    """Return what gives a label with these attributes, as alembic-offline's; None where there are none."""
    if not names:
        return None
    return lambda item: "\n".join([item.id, *(f"- {name}: {item.attributes.get(name)}" for name in names)])
