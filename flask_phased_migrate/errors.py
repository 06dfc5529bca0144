"""The errors this package raises, and the exit status each one stands for.

::

    MigrateError                1  the command failed
      StepFailed                1  a step raised; nothing after it ran
      ScriptFailed              1  a script operation ended badly
      RevisionFileError         1  a revision file cannot be loaded
      DatabaseUnreachable       1  no connection to a bind
      DatabaseAhead             1  the database is at a revision without a file
      NotReady                  1  ``ready``, ``status --check``: something is pending
      FindingsFound             1  ``lint``: at least one finding is an error
      NothingPending            1  ``skip``: there is no step to record
      UsageError                2  a name that does not exist was typed
        ConfigurationError      2  a setting cannot be used
          DriverMissing         2  the URL's database driver is not installed
      Refused                   3  nothing was executed
        RevisionRefused         3  a revision file makes a mistake
      StepInterrupted           4  a step began and its end is not known
      LockHeld                 75  another runner holds the lock
    KeyboardInterrupt         130  Ctrl-C
      Terminated              130  another signal told the process to end

Only :mod:`flask_phased_migrate.cli` turns them into an exit status.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plan import Plan, Step


class MigrateError(Exception):
    """The command failed. The message says what, where and what to do next."""

    exit_code = 1


class StepFailed(MigrateError):
    """A step raised; what it did was rolled back where the engine can do that."""

    def __init__(self, message: str, *, step: Step) -> None:
        super().__init__(message)
        self.step = step


class ScriptFailed(MigrateError):
    """A script operation ended with another status than 0, or not in time."""

    def __init__(self, message: str, *, path: str, returncode: int | None) -> None:
        super().__init__(message)
        self.path = path
        self.returncode = returncode


class RevisionFileError(MigrateError):
    """A revision file cannot be loaded."""

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class DatabaseUnreachable(MigrateError):
    """A bind's database does not answer."""


class DatabaseAhead(MigrateError):
    """The version table names a revision that no file has."""

    def __init__(self, message: str, *, bind: str, revisions: Sequence[str]) -> None:
        super().__init__(message)
        self.bind = bind
        self.revisions = tuple(revisions)


class NotReady(MigrateError):
    """A check found something pending. The message lists it."""


class FindingsFound(MigrateError):
    """The linter has a finding that is an error."""


class NothingPending(MigrateError):
    """There is no step left to skip."""


class UsageError(MigrateError):
    """A phase, bind, format or revision was named that does not exist."""

    exit_code = 2


class ConfigurationError(UsageError):
    """A setting cannot be used as it is."""


class DriverMissing(ConfigurationError):
    """The Python package of the database driver is not installed."""


class Refused(MigrateError):
    """The plan may not run. Nothing was executed.

    ``plan`` is the refused plan where one was made.
    """

    exit_code = 3

    def __init__(self, message: str, *, plan: Plan | None = None) -> None:
        super().__init__(message)
        self.plan = plan


class RevisionRefused(Refused):
    """A revision file makes a mistake that was seen before anything ran."""

    def __init__(self, message: str, *, path: str, plan: Plan | None = None) -> None:
        super().__init__(message, plan=plan)
        self.path = path


class StepInterrupted(MigrateError):
    """A step began and nobody recorded its end; a person must look."""

    exit_code = 4

    def __init__(self, message: str, *, step: Step) -> None:
        super().__init__(message)
        self.step = step


class Terminated(KeyboardInterrupt):
    """The process was told to end: a signal other than the one of Ctrl-C."""


class LockHeld(MigrateError):
    """Another runner holds the lock of a bind; try again later."""

    exit_code = 75
