"""What our env.py and our revision template call."""

from __future__ import annotations

import json
import logging
import logging.config
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import has_app_context

from ..environment import BINDS_KEY, COMPARISON_KEY
from ..errors import ConfigurationError
from ..phases import DEFAULT_BIND, configure_phases
from .settings import MigrateSettings, current_settings, engines_of

CLASSIC_KEY = "phased_classic"
"""Attribute of a configuration: whether autogenerate writes the form that Flask-Migrate writes."""


@dataclass(frozen=True)
class ConfiguredBind:
    """A bind that env.py has just configured. ``arguments`` are for ``context.run_migrations()``."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class TemplateBind:
    """A bind as the revision template needs it: ``suffix`` makes function names, ``keyword`` the decorator's."""

    name: str
    suffix: str
    keyword: str
    upgrade_token: str
    downgrade_token: str


def each_bind(context: Any, options: Callable[[str], Mapping[str, Any]] | None = None) -> Iterator[ConfiguredBind]:
    """Configure ``context`` for each bind in turn; what the env.py of ``flask db init`` loops over.

    :param options: gives further options of ``context.configure()`` for a bind; they win.
    """
    with ExitStack() as stack:
        if not has_app_context():
            from flask.cli import ScriptInfo

            named = os.environ.get("FLASK_APP")
            stack.enter_context(ScriptInfo(app_import_path=named).load_app().app_context())
        settings = current_settings()
        config = context.config
        if config.config_file_name is not None and config.file_config.has_section("loggers"):
            logging.config.fileConfig(config.config_file_name, disable_existing_loggers=False)
        names = chosen_binds(settings, config)
        for name in names:
            given = _configure_options(settings, name, names, config)
            given.update(options(name or DEFAULT_BIND) if options is not None else {})
            engine = engines_of(settings.db)[name]
            if context.is_offline_mode():
                context.configure(url=engine.url, literal_binds=True, **given)
                yield ConfiguredBind(name or DEFAULT_BIND, {})
            else:
                with engine.connect() as connection:
                    context.configure(connection=connection, **given)
                    yield ConfiguredBind(name or DEFAULT_BIND, {})


def chosen_binds(settings: MigrateSettings, config: Any) -> tuple[str | None, ...]:
    """Return the binds to migrate: the unnamed one, or all where alembic.ini says ``binds = all``.

    :raises ConfigurationError: if the unnamed one is wanted and the application has none.
    """
    engines = engines_of(settings.db)
    if migrates_all(config):
        return tuple(sorted(engines, key=lambda name: name is not None))
    if None not in engines:
        raise ConfigurationError(
            f"The application has no unnamed database, only the binds {', '.join(map(str, engines))}. Write 'binds = "
            f"all' under [alembic] in {config.config_file_name}, or begin with: flask db init --multidb"
        )
    return (None,)


def migrates_all(config: Any) -> bool:
    """Return whether the folder's env.py migrates every bind, as far as can be told without running it."""
    option = config.get_alembic_option("binds")
    if option is not None:
        return bool(option == "all")
    # Flask-Migrate's folders have no such option; its multi-bind env.py names the engine of each call.
    env_file = Path(config.get_main_option("script_location") or "", "env.py")
    return env_file.is_file() and "engine_name=" in env_file.read_text(encoding="utf-8", errors="replace")


def _configure_options(
    settings: MigrateSettings, name: str | None, names: Sequence[str | None], config: Any
) -> dict[str, Any]:
    from alembic import __version__ as alembic_version

    metadatas = getattr(settings.db, "metadatas", None) or {None: settings.db.metadata}
    prefix = "" if name is None else f"{name}_"
    given = settings.configure_args
    from .authoring import register_comparison

    given.setdefault("compare_server_default", True)
    plugins = ["alembic.autogenerate.*", register_comparison()]
    if tuple(map(int, alembic_version.split(".")[:3])) >= (1, 19, 2):
        plugins.append("alembic.ext.checkconstraint_byname")
    given.setdefault("autogenerate_plugins", plugins)
    own = given.get("process_revision_directives")
    last = name == names[-1]

    def process_revision_directives(context: Any, revision: Any, directives: list[Any]) -> None:
        if own is not None:
            own(context, revision, directives)
        wanted = last and getattr(config.cmd_opts, "autogenerate", False) and directives
        if wanted and all(operations.is_empty() for operations in directives[0].upgrade_ops_list):
            directives.clear()
            logging.getLogger("alembic.env").info("No changes in schema detected.")

    given["process_revision_directives"] = process_revision_directives
    metadata = metadatas.get(name)
    given[BINDS_KEY] = tuple(item or DEFAULT_BIND for item in names)
    return dict(
        given, target_metadata=metadata, upgrade_token=f"{prefix}upgrades", downgrade_token=f"{prefix}downgrades"
    )


def template_binds(config: Any) -> tuple[TemplateBind, ...]:
    """Return the binds that a new revision gets functions for, the unnamed one first."""
    try:
        names = chosen_binds(current_settings(), config)
    except RuntimeError:  # plain Alembic, outside of an application
        names = (None,)
    return tuple(
        TemplateBind(
            name or DEFAULT_BIND,
            suffix="" if name is None else "_" + "".join(letter if letter.isalnum() else "_" for letter in name),
            keyword="" if name is None else f", bind={json.dumps(name, ensure_ascii=False)}",
            upgrade_token="upgrades" if name is None else f"{name}_upgrades",
            downgrade_token="downgrades" if name is None else f"{name}_downgrades",
        )
        for name in names
    )


@dataclass(frozen=True)
class TemplateFunction:
    """A function of a revision: its decorator ("" for none), its name, and its text."""

    decorator: str
    name: str
    body: str


@dataclass(frozen=True)
class RevisionText:
    """What a revision template writes: ``phased`` if it imports that, and a remark before the downgrades."""

    upgrade: tuple[TemplateFunction, ...]
    downgrade: tuple[TemplateFunction, ...]
    phased: bool
    remark: str = ""


def revision_text(config: Any, variable: Callable[[str], Any]) -> RevisionText:
    """Return the functions of a new revision, for the template.

    Operations that autogenerate has divided come as a function for each phase that has some; ``flask db revision``
    gets an empty one for each phase; ``--no-phases``, on a single database, what Flask-Migrate writes.

    :param variable: gives a variable of the template by its name, None for an unknown one.
    """
    binds, phases = template_binds(config), template_phases(config)
    classic = bool(config.attributes.get(CLASSIC_KEY))
    if classic and len(binds) == 1:
        return RevisionText(
            (TemplateFunction("", "upgrade", _body(variable, binds[0].upgrade_token, "") or "pass"),),
            (TemplateFunction("", "downgrade", _body(variable, binds[0].downgrade_token, "") or "pass"),),
            phased=False,
        )
    comparison = config.attributes.get(COMPARISON_KEY)
    divided = comparison is not None and comparison.split
    remark = '# Each phase with code needs its undo: @downgrade.phase("PHASE") for the other phases.'
    return RevisionText(
        _functions("upgrade", binds, phases, variable, empty=not divided),
        _functions("downgrade", binds, phases if divided else phases[:1], variable, empty=not divided),
        phased=True,
        remark="" if divided else remark,
    )


def _functions(
    direction: str,
    binds: Sequence[TemplateBind],
    phases: Sequence[tuple[str, str]],
    variable: Callable[[str], Any],
    *,
    empty: bool,
) -> tuple[TemplateFunction, ...]:
    """Return the functions of one direction: the first always, the others with code, or all with ``empty``."""
    found: list[TemplateFunction] = []
    for place, (phase, word) in enumerate(phases):
        for bind in binds:
            token = bind.upgrade_token if direction == "upgrade" else bind.downgrade_token
            body = _body(variable, token, f"_{word}" if place else "")
            if not found:
                found.append(TemplateFunction(f'@phased("{phase}"{bind.keyword})', direction, body or "pass"))
            elif body or empty:
                decorator = f'@{direction}.phase("{phase}"{bind.keyword})'
                found.append(TemplateFunction(decorator, f"{direction}_{word}{bind.suffix}", body or "pass"))
    return tuple(found)


def _body(variable: Callable[[str], Any], token: str, ending: str) -> str:
    """Return the operations of a phase, "" for none.

    Flask-Migrate's multi-bind env.py writes the unnamed database's token with an underscore before it.
    """
    text = str(variable(token + ending) or variable(f"_{token}{ending}") or "")
    lines = [line.strip() for line in text.splitlines()]
    if all(line.startswith("# ###") or line in ("", "pass") for line in lines):
        return ""
    return f"{text}\n    pass" if all(line.startswith("#") or not line for line in lines) else text


def template_phases(config: Any) -> tuple[tuple[str, str], ...]:
    """Return (phase, its part of a function name) of each configured phase, for the revision template."""
    try:
        phases = current_settings().migrate.read_phases(config)
    except RuntimeError:
        phases = configure_phases(config.get_alembic_option("phases"))
    return tuple((name, "".join(letter if letter.isalnum() else "_" for letter in name)) for name in phases.names)
