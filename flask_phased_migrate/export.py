"""What the commands write and print beyond one method of the extension: export files, the plan's SQL, settings."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import current_app, g
from sqlalchemy.engine import URL

from .errors import ConfigurationError, Refused, UsageError
from .extension import Migrate
from .extension.project import Request, split_range
from .extension.settings import Setting, engines_of, migration_connections
from .offline.text import Statement, render_sql
from .phases import split_names
from .plan import Direction, Plan, Step

DIALECTS = ("postgresql", "mysql", "mariadb", "sqlite", "mssql", "oracle")


def export_text(
    migrate: Migrate,
    directory: str | None,
    revision: str,
    format_: str,
    *,
    phase: str | None,
    bind: str | None,
    direction: Direction,
    dialect: str | None,
    x_arg: Any,
) -> tuple[str, tuple[str, ...]]:
    """Return an export as SQL or as JSON, and the scripts in it that an SQL client passes over.

    :raises UsageError: if there are several binds and none is chosen, the dialect is unknown, or the range
        leads nowhere.
    """
    _check_dialect(dialect)
    _check_range(revision, direction)
    if format_ == "json":
        if phase is not None or direction == "downgrade":
            raise UsageError("--format json has all the phases of an upgrade: leave out --phase and --downgrade.")
        return _json_text(migrate, directory, revision, bind, dialect, x_arg), ()
    exported = migrate.export(
        directory, revision, phase=phase, bind=bind, direction=direction, dialect=dialect, x_arg=x_arg
    )
    _check_one_bind(tuple(exported), "or write a file each: --split DIR")
    if direction == "upgrade" and not any(exported.values()):
        _check_order(migrate, directory, revision)
    return "".join(render_sql(statements) for statements in exported.values()), _scripts_in(exported.values())


def _scripts_in(exported: Iterable[Sequence[Statement]]) -> tuple[str, ...]:
    return tuple(item.path for statements in exported for item in statements if item.path is not None)


def _check_dialect(dialect: str | None) -> None:
    if dialect is not None and dialect not in DIALECTS:
        raise UsageError(f"There is no dialect '{dialect}'. The dialects are: {', '.join(DIALECTS)}.")


def _check_range(revision: str, direction: Direction) -> None:
    if not revision.strip(": "):
        raise UsageError("The range is empty. Write START:END, for example base:head.")
    if direction == "downgrade" and ":" not in revision:
        raise UsageError(
            "--downgrade needs a range, the newer end first. For example: flask db sql --downgrade head:-1"
        )


def _check_one_bind(names: Sequence[str], otherwise: str) -> None:
    if len(names) > 1:
        raise UsageError(f"There are several binds: {', '.join(names)}. Choose one with --bind NAME, {otherwise}")


def _check_order(migrate: Migrate, directory: str | None, revision: str) -> None:
    """Refuse a range that has nothing in it because its ends are the wrong way round."""
    from .environment import resolve_revisions

    start, end = split_range(revision)
    if start in (None, "base", "current") or end == "base":
        return
    project = migrate.open_project(directory)
    starts, ends = (resolve_revisions(project.script, str(name)) for name in (start, end))
    if set(starts) != set(ends) and project.graph.closure(ends) <= project.graph.closure(starts):
        raise UsageError(
            f"'{revision}' goes back, so there is nothing to upgrade. Type: flask db sql {end}:{start}, or, to undo "
            f"it: flask db sql --downgrade {revision}"
        )


def _json_text(
    migrate: Migrate, directory: str | None, revision: str, bind: str | None, dialect: str | None, x_arg: Any
) -> str:
    from .environment import resolve_revisions
    from .extension.exporting import Export

    project = migrate.open_project(config=migrate.get_config(directory, x_arg=x_arg))
    start, end = split_range(revision)
    kept = project.graph.closure(resolve_revisions(project.script, end))
    if start == "current":
        raise UsageError("--format json reads no database: write a revision in place of 'current'.")
    if start not in (None, "base"):
        kept -= project.graph.closure(resolve_revisions(project.script, str(start)))
    if bind is None:
        _check_one_bind(tuple(Export(project).version_table()), "for --format json")
    setting = migrate.setting("MIGRATE_SCRIPT_ATTRIBUTES", "script-attributes", (), project.config)
    names = split_names(setting.value)
    data = Export(project, bind, dialect).data(lambda item: {name: item.attributes.get(name) for name in names})
    migrations = [item.as_dict() for item in data if item.revision.id in kept]
    return json.dumps({"schema": 1, "migrations": migrations}, indent=2, default=str) + "\n"


def export_files(
    migrate: Migrate,
    directory: str | None,
    revision: str,
    folder: str,
    *,
    phase: str | None,
    bind: str | None,
    direction: Direction,
    dialect: str | None,
    x_arg: Any,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write a file for each bind and phase into ``folder``; return their paths, and the scripts in them.

    Everything is generated before the first file is written.

    :raises UsageError: if the folder cannot be written to, and as :func:`export_text`.
    """
    _check_dialect(dialect)
    _check_range(revision, direction)
    phases = migrate.read_phases(migrate.get_config(directory)).names
    if direction == "downgrade":
        phases = tuple(reversed(phases))
    chosen = phases if phase is None else (phase,)
    files: dict[str, str] = {}
    scripts: tuple[str, ...] = ()
    for number, name in enumerate(chosen, start=1):
        exported = migrate.export(
            directory, revision, phase=name, bind=bind, direction=direction, dialect=dialect, x_arg=x_arg
        )
        scripts += _scripts_in(exported.values())
        for bind_name, statements in exported.items():
            files[f"{number:02d}-{name}.{bind_name}.sql"] = render_sql(statements)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    for file_name, text in files.items():
        write_whole(os.path.join(folder, file_name), text)
    return tuple(os.path.join(folder, file_name) for file_name in files), scripts


def write_whole(path: str, text: str) -> None:
    """Write a file that is either complete or not there: through a temporary one beside it.

    :raises UsageError: if it cannot be written.
    """
    target = Path(path)
    try:
        handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(scratch, 0o666 & ~mask)
        os.replace(scratch, target)
    except OSError as error:
        with suppress(OSError):
            os.unlink(scratch)
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error


def planned_sql(
    migrate: Migrate,
    directory: str | None,
    revision: str,
    *,
    direction: Direction,
    phase: str | None,
    through: bool,
    bind: str | None,
    x_arg: Any,
) -> tuple[Plan, dict[Step, tuple[str, ...]]]:
    """Return the plan of a run and the SQL of its steps. Changes nothing.

    A step whose body needs a database has a comment instead of its SQL.
    """
    config = migrate.get_config(directory, x_arg=x_arg)
    project = migrate.open_project(config=config)
    plan = migrate.plan(project, Request(revision, direction, phase, through, bind))
    statements = migrate.step_sql(project, plan)
    return plan, {step: _texts(found) for step, found in statements.items()}


def _texts(found: Sequence[Statement] | Refused) -> tuple[str, ...]:
    if isinstance(found, Refused):
        return (f"-- {found}",)
    return tuple(statement.text for statement in found)


# Name -> (its name in alembic.ini, default).
_SETTINGS: Mapping[str, tuple[str | None, Any]] = {
    "MIGRATE_PHASES": ("phases", "before-deploy, after-deploy, final"),
    "MIGRATE_DEFAULT_PHASE": ("default-phase", "the first phase"),
    "MIGRATE_BOUNDARY": ("boundary", "the first phase"),
    "MIGRATE_SCRIPT_ATTRIBUTES": ("script-attributes", ""),
    "MIGRATE_LOCK_WAIT": ("lock-wait", 60),
    "MIGRATE_LOCK_TIMEOUT": ("lock-timeout", 2),
    "MIGRATE_STATEMENT_TIMEOUT": ("statement-timeout", 0),
    "MIGRATE_RETRY_BUDGET": ("retry-budget", 60),
    "MIGRATE_REQUIRE_PHASES": (None, False),
    "MIGRATE_OPERATOR": (None, "the login name"),
    "MIGRATE_APP_VERSION": (None, ""),
    "MIGRATE_ADMIN_ENABLED": (None, False),
    "MIGRATE_ADMIN_ACCESS": (None, None),
    "MIGRATE_ADMIN_URL_PREFIX": (None, "/migrations"),
    "MIGRATE_ADMIN_PAGE_SIZE": (None, 100),
    "MIGRATE_ADMIN_BASE_TEMPLATE": (None, None),
}
_SECRET = re.compile(r"password|passwd|pwd|secret|token|odbc_connect", re.IGNORECASE)


def describe_environment(migrate: Migrate, directory: str | None) -> tuple[Setting, ...]:
    """Return every setting with its value and source; secrets in URLs are masked.

    Phases are as they are in use; as they are written where they cannot be used.
    """
    config = migrate.get_config(directory)
    location = config.get_main_option("script_location")
    in_use = _phases_in_use(migrate, config)
    found = [
        Setting("directory", location, "command line" if directory else "application"),
        Setting(
            "configuration file", config.config_file_name, "command line" if g.get("migrate_config") else "directory"
        ),
    ]
    for name, (option, default) in _SETTINGS.items():
        setting = migrate.setting(name, option, default, config)
        found.append(replace(setting, value=_words(in_use.get(name, setting.value))))
    for bind, engine in engines_of(current_app.extensions["migrate"].db).items():
        found.append(Setting(f"database {bind or 'default'}", masked_url(engine.url), "application"))
    for bind, url in migration_connections(current_app.extensions["migrate"].db).urls.items():
        found.append(Setting(f"MIGRATE_DATABASE_URL {bind}", masked_url(url), "application"))
    return tuple(found)


def _phases_in_use(migrate: Migrate, config: Any) -> dict[str, Any]:
    try:
        phases = migrate.read_phases(config)
    except ConfigurationError:
        return {}
    return {
        "MIGRATE_PHASES": phases.names,
        "MIGRATE_DEFAULT_PHASE": phases.default,
        "MIGRATE_BOUNDARY": phases.boundary,
    }


def _words(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def masked_url(url: URL) -> str:
    """Return a database URL as text, with ``***`` for its password and for secrets among its options."""
    options = {name: "***" if _SECRET.search(name) else value for name, value in url.query.items()}
    return url.set(query=options).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")
