"""The admin pages: every revision, every phase, its state. They read; they never change anything.

:func:`create_admin_blueprint` makes the blueprint from a :class:`Source`, the door to everything else.
"""

from __future__ import annotations

from .access import Access
from .blueprint import create_admin_blueprint
from .source import Source

__all__ = ["Access", "Source", "create_admin_blueprint"]
