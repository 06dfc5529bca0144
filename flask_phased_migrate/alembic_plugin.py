"""The ``alembic.plugins`` entry point: makes plain Alembic respect phases.

Alembic loads entry points in the middle of ``import alembic``, before its ``EnvironmentContext`` exists, so
this module imports nothing of Alembic when it is loaded and hooks the class when it appears. What the hook
does is in :mod:`flask_phased_migrate.plain_alembic`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class PluginModule(ModuleType):
    """A plugin for every supported Alembic: up to 1.20.0 it iterates over what the entry point names."""

    def __iter__(self) -> Iterator[ModuleType]:
        yield self

    @staticmethod
    def setup(_plugin: Any) -> None:
        """Install the hook; Alembic calls this when it is imported."""
        activate()


plugin = PluginModule("flask_phased_migrate")


def activate() -> None:
    """Install the hook into ``EnvironmentContext.configure``, now or when the class is made."""
    from alembic import util

    module = sys.modules.get("alembic.runtime.environment")
    if hasattr(module, "EnvironmentContext"):
        _hook(module.EnvironmentContext)  # type: ignore[union-attr]
    elif "__init_subclass__" not in vars(util.ModuleClsProxy):
        proxy: Any = util.ModuleClsProxy
        on_subclass: Any = _on_subclass
        proxy.__init_subclass__ = classmethod(on_subclass)


def _on_subclass(cls: Any, **_options: Any) -> None:
    if cls.__name__ == "EnvironmentContext":
        _hook(cls)


def _hook(cls: Any) -> None:
    original = cls.configure
    if getattr(original, "phased", False):
        return

    def configure(self: Any, *positional: Any, **options: Any) -> None:
        from .plain_alembic import before_configure

        before_configure(self, options)
        original(self, *positional, **options)

    configure.phased = True  # type: ignore[attr-defined]
    configure.__doc__ = original.__doc__
    cls.configure = configure


def is_active() -> bool:
    """Return whether plain Alembic on this machine loads the hook: the entry point is installed."""
    from importlib.metadata import entry_points

    return any(found.name == "flask_phased_migrate" for found in entry_points(group="alembic.plugins"))
