"""Database migrations in deploy phases for Flask applications that may not stop.

Each name is loaded when it is first used: ``from flask_phased_migrate import Migrate`` imports Flask, and
neither Alembic nor SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assurances import assured
    from .commands import (
        branches,
        check,
        current,
        downgrade,
        edit,
        generate_migration_graph,
        get_migration_data,
        get_migrations_data,
        heads,
        history,
        init,
        list_templates,
        merge,
        migrate,
        revision,
        show,
        stamp,
        upgrade,
    )
    from .environment import Config
    from .extension import Migrate
    from .extension.env_file import each_bind
    from .operations import execute_script
    from .phases import phased
    from .signals import step_failed, step_finished, step_retried, step_started

__version__ = "0.1.0"

__all__ = [
    "Config",
    "Migrate",
    "assured",
    "branches",
    "check",
    "current",
    "downgrade",
    "each_bind",
    "edit",
    "execute_script",
    "generate_migration_graph",
    "get_migration_data",
    "get_migrations_data",
    "heads",
    "history",
    "init",
    "list_templates",
    "merge",
    "migrate",
    "phased",
    "revision",
    "show",
    "stamp",
    "step_failed",
    "step_finished",
    "step_retried",
    "step_started",
    "upgrade",
]

_HOMES = {
    **dict.fromkeys(__all__, "commands"),
    "Config": "environment",
    "Migrate": "extension",
    "alembic_version": "commands",
    "assured": "assurances",
    "each_bind": "extension.env_file",
    "execute_script": "operations",
    "phased": "phases",
    **dict.fromkeys(("step_failed", "step_finished", "step_retried", "step_started"), "signals"),
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'flask_phased_migrate' has no attribute {name!r}")
    if name in ("phased", "execute_script"):
        # A revision file asks for these: whatever runs it must know our operations.
        import_module(".alembic_plugin", __name__).activate()
    return getattr(import_module(f".{home}", __name__), name)
