"""What the commands write and print beyond one method of the extension: export files, the plan's SQL, settings."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flask import current_app

from .errors import Refused, UsageError
from .extension import Migrate
from .extension.project import Request, split_range
from .extension.settings import Setting, engines_of
from .offline import Statement, render_sql
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
) -> str:
    """Return an export as SQL or as JSON.

    :raises UsageError: if there are several binds and none is chosen, or the dialect is unknown.
    """
    _check_dialect(dialect)
    if format_ == "json":
        return _json_text(migrate, directory, revision)
    exported = migrate.export(
        directory, revision, phase=phase, bind=bind, direction=direction, dialect=dialect, x_arg=x_arg
    )
    if len(exported) > 1:
        names = ", ".join(exported)
        raise UsageError(
            f"There are several binds: {names}. Choose one with --bind NAME, or write a file each: --split DIR"
        )
    return "".join(render_sql(statements) for statements in exported.values())


def _check_dialect(dialect: str | None) -> None:
    if dialect is not None and dialect not in DIALECTS:
        raise UsageError(f"There is no dialect '{dialect}'. The dialects are: {', '.join(DIALECTS)}.")


def _json_text(migrate: Migrate, directory: str | None, revision: str) -> str:
    from .environment import resolve_revisions

    project = migrate.open_project(directory)
    start, end = split_range(revision)
    kept = project.graph.closure(resolve_revisions(project.script, end))
    if start not in (None, "base"):
        kept -= project.graph.closure(resolve_revisions(project.script, str(start)))
    data = migrate.migration_data(project)
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
) -> tuple[str, ...]:
    """Write a file for each bind and phase into ``folder``; return their paths.

    Everything is generated before the first file is written.
    """
    _check_dialect(dialect)
    phases = migrate.read_phases().names
    if direction == "downgrade":
        phases = tuple(reversed(phases))
    chosen = phases if phase is None else (phase,)
    files: dict[str, str] = {}
    for number, name in enumerate(chosen, start=1):
        exported = migrate.export(
            directory, revision, phase=name, bind=bind, direction=direction, dialect=dialect, x_arg=x_arg
        )
        for bind_name, statements in exported.items():
            files[f"{number:02d}-{name}.{bind_name}.sql"] = render_sql(statements)
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file_name, text in files.items():
        write_whole(os.path.join(folder, file_name), text)
    return tuple(os.path.join(folder, file_name) for file_name in files)


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


_SETTINGS: Mapping[str, tuple[str | None, Any]] = {
    "MIGRATE_PHASES": ("phases", "before-deploy after-deploy final"),
    "MIGRATE_DEFAULT_PHASE": ("default-phase", "the first phase"),
    "MIGRATE_BOUNDARY": ("boundary", "the first phase"),
    "MIGRATE_SCRIPT_ATTRIBUTES": ("script-attributes", ""),
    "MIGRATE_REQUIRE_PHASES": (None, False),
    "MIGRATE_LOCK_WAIT": (None, 60),
    "MIGRATE_OPERATOR": (None, "the login name"),
    "MIGRATE_APP_VERSION": (None, ""),
    "MIGRATE_ADMIN_ENABLED": (None, False),
    "MIGRATE_ADMIN_ACCESS": (None, None),
    "MIGRATE_ADMIN_URL_PREFIX": (None, "/migrations"),
    "MIGRATE_ADMIN_PAGE_SIZE": (None, 100),
    "MIGRATE_ADMIN_BASE_TEMPLATE": (None, None),
}


def describe_environment(migrate: Migrate, directory: str | None) -> tuple[Setting, ...]:
    """Return every setting with its value and source; passwords in URLs are masked."""
    config = migrate.get_config(directory)
    location = config.get_main_option("script_location")
    found = [Setting("directory", location, "command line" if directory else "application")]
    found.append(Setting("configuration file", config.config_file_name, "directory"))
    for name, (option, default) in _SETTINGS.items():
        found.append(migrate.setting(name, option, default, config))
    for bind, engine in engines_of(current_app.extensions["migrate"].db).items():
        found.append(Setting(f"database {bind or 'default'}", engine.url.render_as_string(), "application"))
    return tuple(found)
