"""What the commands write and print beyond one method of the extension: export files, the plan's SQL, settings."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alembic.util import CommandError
from flask import current_app, g
from sqlalchemy.engine import URL

from .errors import ConfigurationError, Refused, UsageError
from .extension import Migrate
from .extension.project import Project, Request, split_range
from .extension.settings import Setting, engines_of, migration_connections
from .offline.text import Statement, render_sql
from .phases import DEFAULT_BIND, split_names
from .plan import Direction, Plan, Step

DIALECTS = ("postgresql", "mysql", "mariadb", "sqlite", "mssql", "oracle")


@dataclass(frozen=True)
class ExportRequest:
    """What is to be exported: a range as typed, and of what. ``heads``: where it starts if a version file says so."""

    range: str
    direction: Direction = "upgrade"
    phase: str | None = None
    bind: str | None = None
    dialect: str | None = None
    heads: frozenset[str] | None = None


def export_text(
    migrate: Migrate, directory: str | None, request: ExportRequest, format_: str, *, x_arg: Any
) -> tuple[str, tuple[str, ...]]:
    """Return an export as SQL or as JSON, and the scripts in it that an SQL client passes over.

    :raises UsageError: if there are several binds and none is chosen, the dialect is unknown, or the range
        leads nowhere.
    """
    check_request(request)
    if format_ == "json":
        if request.phase is not None or request.direction == "downgrade":
            raise UsageError("--format json has all the phases of an upgrade: leave out --phase and --downgrade.")
        return _json_text(migrate, directory, request, x_arg), ()
    exported = migrate.export(
        directory,
        request.range,
        phase=request.phase,
        bind=request.bind,
        direction=request.direction,
        dialect=request.dialect,
        x_arg=x_arg,
        heads=request.heads,
    )
    _check_one_bind(tuple(exported), "or write a file each: --split DIR")
    if request.direction == "upgrade" and not any(item.revision for found in exported.values() for item in found):
        check_order(migrate.open_project(directory), request.range)
    scripts = tuple(item.path for found in exported.values() for item in found if item.path is not None)
    return "".join(render_sql(statements) for statements in exported.values()), scripts


def check_request(request: ExportRequest) -> None:
    """Refuse what can be seen to lead nowhere.

    :raises UsageError: naming what to type.
    """
    if request.dialect is not None and request.dialect not in DIALECTS:
        raise UsageError(f"There is no dialect '{request.dialect}'. The dialects are: {', '.join(DIALECTS)}.")
    if not request.range.strip(": "):
        raise UsageError("The range is empty. Write START:END, for example base:head.")
    if request.direction == "downgrade" and ":" not in request.range and request.heads is None:
        raise UsageError(
            "--downgrade needs a range, the newer end first. For example: flask db sql --downgrade head:-1"
        )


def _check_one_bind(names: Sequence[str], otherwise: str) -> None:
    if len(names) > 1:
        raise UsageError(f"There are several binds: {', '.join(names)}. Choose one with --bind NAME, {otherwise}")


def check_order(project: Project, revision: str) -> None:
    """Refuse a range that has nothing in it because its ends are the wrong way round.

    :raises UsageError: naming the one that goes the other way.
    """
    from .environment import resolve_revisions

    start, end = split_range(revision)
    if start in (None, "base", "current") or end == "base":
        return
    starts, ends = (resolve_revisions(project.script, str(name)) for name in (start, end))
    if set(starts) != set(ends) and project.graph.closure(ends) <= project.graph.closure(starts):
        raise UsageError(
            f"'{revision}' goes back, so there is nothing to upgrade. Type: flask db sql {end}:{start}, or, to undo "
            f"it: flask db sql --downgrade {revision}"
        )


def _json_text(migrate: Migrate, directory: str | None, request: ExportRequest, x_arg: Any) -> str:
    from .environment import resolve_revisions
    from .extension.exporting import Export

    project = migrate.open_project(config=migrate.get_config(directory, x_arg=x_arg))
    start, end = split_range(request.range)
    kept = project.graph.closure(resolve_revisions(project.script, end))
    if start == "current":
        raise UsageError("--format json reads no database: write a revision in place of 'current'.")
    if request.heads is not None:
        kept -= project.graph.closure(request.heads)
    elif start not in (None, "base"):
        kept -= project.graph.closure(resolve_revisions(project.script, str(start)))
    if request.bind is None:
        _check_one_bind(tuple(Export(project).version_table()), "for --format json")
    setting = migrate.setting("MIGRATE_SCRIPT_ATTRIBUTES", "script-attributes", (), project.config)
    names = split_names(setting.value)
    data = Export(project, request.bind, request.dialect).data(
        lambda item: {name: item.attributes.get(name) for name in names}
    )
    migrations = [item.as_dict() for item in data if item.revision.id in kept]
    return json.dumps({"schema": 1, "migrations": migrations}, indent=2, default=str) + "\n"


# -- the version file ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class VersionFile:
    """A file that says where a database is that nobody can ask: a revision id a line, none for base."""

    path: str
    heads: frozenset[str]


def read_version_file(migrate: Migrate, directory: str | None, path: str, range_: str) -> VersionFile:
    """Return what a version file says; base where there is none yet.

    :raises UsageError: if it cannot be used, or the range has a START besides.
    """
    from .environment import resolve_revisions

    if ":" in range_:
        raise UsageError(
            f"The version file {path} says where to start: write the END alone, {range_.rpartition(':')[2] or 'head'}, "
            "or leave out --version-file."
        )
    file = Path(path)
    try:
        names = file.read_bytes().decode("utf-8-sig").split() if file.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"The version file {path} cannot be read: {reason}.") from error
    if not os.access(file.resolve().parent, os.W_OK):
        raise UsageError(f"The version file {path} cannot be written: its folder is missing, or not ours to write in.")
    script = migrate.open_project(directory).script
    heads: set[str] = set()
    for name in names:
        try:
            heads.update(resolve_revisions(script, name) if name != "base" else ())
        except CommandError as error:
            raise UsageError(
                f"The version file {path} says {name}, and no revision file has it: {error}. Write the id of the "
                "revision that the database is at."
            ) from error
    return VersionFile(path, frozenset(heads))


def write_version_file(
    migrate: Migrate, directory: str | None, found: VersionFile, request: ExportRequest
) -> tuple[str, ...] | None:
    """Write where the database is when the export has been run, and return it.

    None where nothing was written: the export is one of a phase after which the version table is where it was.
    """
    project = migrate.open_project(directory)
    last = project.phases.names[-1] if request.direction == "upgrade" else project.phases.names[0]
    if request.phase not in (None, last):
        return None
    heads = tuple(sorted(heads_after(project, found.heads, request.range, request.direction)))
    write_whole(found.path, "".join(f"{name}\n" for name in heads))
    return heads


def heads_after(project: Project, heads: frozenset[str], end: str, direction: Direction) -> frozenset[str]:
    """Return the version table's rows after a run from ``heads`` to ``end`` (as typed)."""
    from .environment import revisions_down_to, revisions_up_to
    from .plan import pointer_after, pointer_before

    upward = direction == "upgrade"
    covered = project.graph.order(
        (revisions_up_to if upward else revisions_down_to)(project.script, end, sorted(heads))
    )
    for name in covered if upward else covered[::-1]:
        heads = (pointer_after if upward else pointer_before)(project.graph, heads, name)
    return heads


# -- files --------------------------------------------------------------------------------------------


def write_whole(path: str, text: str) -> None:
    """Write a file that is either complete or as it was before: through a temporary one beside it.

    A link is followed, and the mode of a file that was there is kept. What is no file, as ``/dev/null``, is written to.

    :raises UsageError: if it cannot be written.
    """
    target = Path(path).resolve()
    content = text.encode("utf-8", "surrogateescape")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            with open(target, "wb", buffering=0) as device:
                device.write(content)
            return
        _replace_file(target, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error


def _replace_file(target: Path, content: bytes) -> None:
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(scratch, target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask())
        os.replace(scratch, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(scratch)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_folder(folder: str, files: Mapping[str, bytes], *, replaces: Callable[[Path], bool]) -> None:
    """Write a folder that has these files and no others, or is as it was before: through a temporary one beside it.

    :param replaces: whether a folder that is there, and not empty, may go.
    :raises UsageError: if it may not, or it cannot be written.
    """
    target = Path(folder).resolve()
    scratch: Path | None = None
    try:
        if target.exists() and any(target.iterdir()) and not replaces(target):
            raise UsageError(
                f"{folder} has files that are no part of a bundle, which is written as a whole. Name another folder."
            )
        if target in (Path.cwd(), *Path.cwd().parents):
            raise UsageError(f"{folder} is the working directory or above it. Name a folder of its own.")
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        os.chmod(scratch, target.stat().st_mode & 0o7777 if target.exists() else 0o777 & ~_umask())
        for name, content in files.items():
            file = scratch / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        _replace_folder(target, scratch)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _replace_folder(target: Path, scratch: Path) -> None:
    """Put ``scratch`` in the place of ``target``, whose old content then is in ``scratch``."""
    if not target.exists():
        scratch.rename(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    old.rmdir()
    target.rename(old)
    try:
        scratch.rename(target)
    except BaseException:
        old.rename(target)
        raise
    # It goes with the rest.
    old.rename(scratch)


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
    "MIGRATE_INDEX": (None, True),
    "MIGRATE_TARGET_VERSION": ("target-version", "what the server says"),
    "MIGRATE_SMALL_TABLE_ROWS": ("small-table-rows", 0),
    "MIGRATE_LINT_STYLE": ("lint-style", False),
    "MIGRATE_INCLUDE_TABLES": (None, "all"),
    "MIGRATE_EXCLUDE_TABLES": (None, ""),
    "MIGRATE_SCHEMAS": (None, ""),
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
    if isinstance(value, Mapping):
        return ", ".join(f"{name or DEFAULT_BIND}: {item}" for name, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def masked_url(url: URL) -> str:
    """Return a database URL as text, with ``***`` for its password and for secrets among its options."""
    options = {name: "***" if _SECRET.search(name) else value for name, value in url.query.items()}
    return url.set(query=options).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")
