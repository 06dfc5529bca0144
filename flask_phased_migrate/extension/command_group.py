"""What an application's ``flask`` command has of ours until somebody types it: a name and a line of help."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import click

# The first line of the group's own help; a test compares the two.
HELP = "Perform database migrations, in deploy phases where revisions have them."


class DeferredGroup(click.Group):
    """Stands for the command group, which is imported when it is run, completed or asked for its commands.

    Every process of an application registers the group, and hardly any runs it.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, help=HELP)

    @property
    def group(self) -> click.Group:
        """The command group itself."""
        from ..cli import db

        return db

    @property
    def commands(self) -> MutableMapping[str, click.Command]:
        """The commands by name; what is added here, every application has."""
        return self.group.commands

    @commands.setter
    def commands(self, _commands: Any) -> None:
        """Take none: Click's constructor gives an empty mapping."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of the group itself, which from there on is the one that runs."""
        return self.group.make_context(info_name, args, parent, **extra)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the options of the group itself."""
        return self.group.get_params(ctx)

    def to_info_dict(self, ctx: click.Context) -> dict[str, Any]:
        """Return what the group itself says of its options and commands."""
        return self.group.to_info_dict(ctx)
