"""What is done, what is pending, in which order, and what blocks it: values and pure functions.

The rules are those of the project's design, sections S1 to S4, S7, S9 and S12, each per bind:

- a step is done when Alembic's version table has passed its revision, or the ledger says so;
- a phase runs only when every earlier phase of the revisions it covers is done or empty;
- a step does not run before a later phase of an ancestor if both touch the same;
- phases up to the boundary never move the version table; later ones move it past every revision that
  is finished, in topological order;
- a plain upgrade goes revision by revision; a downgrade undoes phases backwards.
"""

from .downgrade import plan_downgrade
from .history import (
    coded_phases,
    complete_revisions,
    in_flight,
    is_complete,
    pending_phases,
    pointer_after,
    pointer_before,
    simulate,
    stamped_heads,
    strangers,
)
from .status import BindStatus, PhaseState, RevisionState, RevisionStatus, bind_status
from .upgrade import plan_upgrade
from .values import UNDOING, Action, Blocked, Direction, History, Plan, PlanWarning, Record, Step, join_plans
from .wording import counted, resolve_choices

__all__ = [
    "UNDOING",
    "Action",
    "BindStatus",
    "Blocked",
    "Direction",
    "History",
    "PhaseState",
    "Plan",
    "PlanWarning",
    "Record",
    "RevisionState",
    "RevisionStatus",
    "Step",
    "bind_status",
    "coded_phases",
    "complete_revisions",
    "counted",
    "in_flight",
    "is_complete",
    "join_plans",
    "pending_phases",
    "plan_downgrade",
    "plan_upgrade",
    "pointer_after",
    "pointer_before",
    "resolve_choices",
    "simulate",
    "stamped_heads",
    "strangers",
]
