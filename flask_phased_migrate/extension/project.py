"""One migrations folder as one call sees it, what was typed about it, and the plan of all its binds."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from ..environment import Config, alembic_call, resolve_revisions, revisions_down_to, revisions_up_to
from ..errors import DatabaseAhead, NothingPending, Refused, RevisionRefused, StepInterrupted, UsageError
from ..footprint import Footprint
from ..graph import Graph
from ..operations import resolve_script
from ..phases import Phases
from ..plan import (
    Direction,
    History,
    Plan,
    Step,
    complete_revisions,
    counted,
    in_flight,
    join_plans,
    pending_phases,
    plan_downgrade,
    plan_upgrade,
)
from ..remedies import failed_phases, plan_rebuild, plan_skip

if TYPE_CHECKING:
    from ..inspection import Inspector


@dataclass(frozen=True)
class Project:
    """A configuration, its script directory, and the revision files as a graph."""

    config: Config
    script: ScriptDirectory
    graph: Graph
    phases: Phases
    _inspectors: list[Inspector] = field(default_factory=list, compare=False, repr=False)

    @property
    def folder(self) -> Path:
        """The migrations folder, absolute."""
        return Path(self.script.dir).absolute()

    @property
    def inspector(self) -> Inspector:
        """What remembers what steps touch, from one plan of a call to the next; most plans do without."""
        if not self._inspectors:
            from ..inspection import Inspector

            self._inspectors.append(Inspector())
        return self._inspectors[0]

    def footprints(self, dialect_name: str) -> Callable[[Step], Footprint]:
        """Return what tells of each step of an upgrade what it touches, on an engine of that name."""

        def footprint_of(step: Step) -> Footprint:
            # Alembic's op and context, which the body uses, are of the whole process.
            with alembic_call(self.config):
                return self.inspector.footprint(
                    step, self.graph, self.phases, dialect_name, environment=(self.config, self.script)
                )

        return footprint_of


@dataclass(frozen=True)
class Request:
    """What was asked for: a target as typed, in which direction, and which phase of it.

    ``resume``: only what is left of the target itself, which failed.
    """

    target: str
    direction: Direction = "upgrade"
    phase: str | None = None
    through: bool = False
    bind: str | None = None
    all_phases: bool = False
    resume: bool = False


# -- what was typed ---------------------------------------------------------------------------------


def split_range(text: str) -> tuple[str | None, str]:
    """Return (start, end) of ``START:END`` or ``END``.

    :raises UsageError: if there is more than one colon.
    """
    start, colon, end = text.rpartition(":")
    if not colon:
        return None, text
    if ":" in start:
        raise UsageError(f"'{text}' is not a range. Write START:END, for example base:head.")
    return start or None, end or "head"


def one_revision(project: Project, name: str) -> str:
    """Return the id of the one revision that ``name`` stands for.

    :raises UsageError: if it stands for none or several.
    """
    found = resolve_revisions(project.script, name)
    if len(found) != 1:
        raise UsageError(f"'{name}' stands for {len(found)} revisions. Name one.")
    return found[0]


def stamp_targets(project: Project, names: Sequence[str]) -> tuple[str, ...]:
    """Return the ids that a stamp's names stand for; none for ``base``."""
    found: list[str] = []
    for name in names:
        if name != "base":
            found += resolve_revisions(project.script, name)
    return tuple(dict.fromkeys(found))


def start_heads(project: Project, start: str | None) -> frozenset[str]:
    """Return the version table's rows at the start of a range."""
    if start in (None, "base"):
        return frozenset()
    return frozenset(resolve_revisions(project.script, str(start)))


def check_bind(bind: str | None, names: Sequence[str]) -> None:
    """Refuse a bind that does not exist.

    :raises UsageError: naming those that do.
    """
    if bind is not None and bind not in names:
        raise UsageError(f"There is no bind '{bind}'. The binds are: {', '.join(names)}.")


def choose_histories(histories: Sequence[History], bind: str | None) -> tuple[History, ...]:
    """Return the histories of one bind, or of all.

    :raises UsageError: if there is no such bind.
    """
    check_bind(bind, [history.bind for history in histories])
    return tuple(history for history in histories if bind in (None, history.bind))


# -- planning ---------------------------------------------------------------------------------------


def plan_request(project: Project, histories: Sequence[History], request: Request) -> Plan:
    """Return the plan of all the chosen binds. Executes nothing.

    :raises DatabaseAhead: if a version table names a revision without a file.
    :raises RevisionFileError: if the file of a revision that it has to do with cannot be imported.
    :raises UsageError: if there is no such phase or bind.
    """
    if request.phase is not None:
        project.phases.index(request.phase)
    binds = frozenset(history.bind for history in histories)
    plans = []
    for history in choose_histories(histories, request.bind):
        refuse_ahead(project, history)
        plan_bind = _plan_upgrade if request.direction == "upgrade" else _plan_downgrade
        plans.append(plan_bind(project, history, request, binds))
    plan = join_plans(plans, direction=request.direction, phase=request.phase)
    if not plan.blocked:
        _import_files(project, plan)
        refuse_scripts(project, plan)
    return plan


def _import_files(project: Project, plan: Plan) -> None:
    """Import every file that the plan runs or passes: one that is broken is known before anything runs.

    :raises RevisionFileError: naming the file.
    """
    for action in plan.actions:
        named = (*action.passes, action.reopens, action.step.revision if action.step is not None else None)
        for name in named:
            if name is not None and name in project.graph:
                project.graph[name].imported()


def _plan_upgrade(project: Project, history: History, request: Request, binds: Collection[str]) -> Plan:
    if request.resume:
        return _plan_rebuild(project, history, request, binds)
    covered = revisions_up_to(project.script, request.target, sorted(history.heads))
    return plan_upgrade(
        project.graph,
        history,
        project.phases,
        covered,
        phase=request.phase,
        through=request.through,
        target=typed(request, "" if request.target == "head" else request.target) or "head",
        binds=binds,
        footprint_of=project.footprints(history.dialect),
    )


def typed(request: Request, target: str) -> str:
    """Return what a proposed command needs besides its phase: the bind and the target."""
    return " ".join(filter(None, [f"--bind {request.bind}" if request.bind else "", target]))


def _plan_downgrade(project: Project, history: History, request: Request, binds: Collection[str]) -> Plan:
    flying = in_flight(project.graph, history)
    if flying and request.target.startswith("-"):
        phase = "" if request.phase is None else f" --phase {request.phase}"
        at = sorted(history.heads) or ["base"]
        command = f"flask db downgrade{phase} {typed(request, at[0])}   (undoes what is in flight)"
        raise Refused(
            f"Nothing was executed: {', '.join(flying)} is in flight on {history.bind}, so it is not clear where one "
            f"revision back ('{request.target}') is. Name the revision to go back to."
            + (f"\nNext: {command}" if len(at) == 1 else "")
        )
    complete = _complete_after(project, history, flying, request.target)
    covered = {*complete, *_flying_after(project, flying, request.target, complete)}
    return plan_downgrade(
        project.graph,
        history,
        project.phases,
        covered,
        phase=request.phase,
        target=typed(request, _landing(project, history, request.target, complete)),
        binds=binds,
    )


def _complete_after(project: Project, history: History, flying: Sequence[str], target: str) -> tuple[str, ...]:
    """Return the complete revisions that a downgrade to ``target`` undoes: none where that is itself in flight."""
    if target in flying or (flying and _names_one_of(project, target, flying)):
        return ()
    return revisions_down_to(project.script, target, sorted(history.heads))


def _names_one_of(project: Project, target: str, names: Sequence[str]) -> bool:
    try:
        found = resolve_revisions(project.script, target)
    except (CommandError, RevisionError):
        return False
    return len(found) == 1 and found[0] in names


def _landing(project: Project, history: History, target: str, undone: Collection[str]) -> str:
    """Return a relative target as the id it stands for, where that is one: it means the same when typed later."""
    if not target.startswith("-"):
        return target
    kept = project.graph.closure(head for head in history.heads if head in project.graph) - set(undone)
    heads = project.graph.tips(kept)
    return heads[0] if len(heads) == 1 else target if heads else "base"


def _flying_after(project: Project, flying: Sequence[str], target: str, complete: Collection[str]) -> set[str]:
    """Return the revisions in flight that a downgrade to ``target`` undoes: those that stand on it, or on what
    it undoes; for ``LABEL@base`` those of that line; for ``base`` all."""
    if not flying:
        return set()
    if target == "base":
        return set(flying)
    graph = project.graph
    below = {*complete, *resolve_revisions(project.script, target)}
    label, at, start = target.partition("@")
    if at and start == "base":
        labelled = {name for name, revision in graph.revisions.items() if label in revision.labels}
        return {*graph.descendants(below | labelled), *labelled}.intersection(flying)
    return set(graph.descendants(below).intersection(flying))


def refuse_ahead(project: Project, history: History) -> None:
    """Refuse a database that is at a revision without a file.

    :raises DatabaseAhead: naming it.
    """
    unknown = tuple(sorted(head for head in history.heads if head not in project.graph))
    if unknown:
        raise DatabaseAhead(
            f"Can't locate revision identified by '{unknown[0]}': the database of bind {history.bind} is at "
            f"{', '.join(unknown)}, and no file in {project.script.dir} has it. Nothing was executed. Deploy the code "
            "that has the file, or, if the revision is gone for good: flask db stamp --purge REVISION",
            bind=history.bind,
            revisions=unknown,
        )


def refuse_scripts(project: Project, plan: Plan) -> None:
    """Refuse a plan in which a script operation names a file that may not be run.

    Seen in the source, so that it is known before anything runs; a path that is computed is checked when
    it is reached.

    :raises RevisionRefused: naming the file and line.
    """
    for name in dict.fromkeys(step.revision for step in plan.steps):
        path = project.graph[name].path
        for script, line in _script_paths(path):
            try:
                resolve_script(project.folder, script)
            except Refused as error:
                raise RevisionRefused(f"{path}, line {line}: {error} Nothing was executed.", path=path) from error


def _script_paths(path: str) -> list[tuple[str, int]]:
    """Return (script path, line) of each ``execute_script("...")`` in a file."""
    found = []
    with suppress(OSError, SyntaxError, ValueError):
        with open(path, "rb") as file:
            source = file.read()
        if b"execute_script" not in source:
            # To parse a file takes long; nearly none of them has a script.
            return []
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                called = node.func
                word = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
                if word == "execute_script" and isinstance(node.args[0].value, str):
                    found.append((node.args[0].value, node.lineno))
    return found


def refuse_unguarded(project: Project, plan: Plan) -> None:
    """Refuse to run one phase of an unphased revision where plain Alembic could run it again.

    :raises RevisionRefused: if the hook into Alembic is not installed on this machine.
    """
    from ..alembic_plugin import is_active

    if plan.phase is None or plan.direction != "upgrade" or is_active():
        return
    for step in plan.steps:
        revision = project.graph[step.revision]
        if not revision.upgrade.phased:
            raise RevisionRefused(
                f"{revision.path}: revision {revision.id} is not divided into phases, and flask_phased_migrate is not "
                "installed as a package here, so 'alembic upgrade' would run it a second time. Nothing was executed. "
                "Type: pip install flask-phased-migrate",
                path=revision.path,
            )


def refuse_without_phase(request: Request, plan: Plan, histories: Sequence[History]) -> None:
    """Refuse a plain upgrade of a database in use, where the application wants phases.

    :raises Refused: with the commands to type instead.
    """
    plain = request.direction == "upgrade" and request.phase is None and not request.all_phases
    if not plain or not plan.actions or all(not item.heads and not item.records for item in histories):
        return
    names = dict.fromkeys(step.phase for step in plan.steps) or {"PHASE": None}
    raise Refused(
        f"Nothing was executed: MIGRATE_REQUIRE_PHASES is set, and {counted(len(plan.steps), 'step')} "
        f"({', '.join(names)}) would run at once.\nNext: flask db upgrade --phase {next(iter(names))}\n"
        "Or, where nothing of the application runs: flask db upgrade --all-phases",
        plan=plan,
    )


# -- skip and rebuild -------------------------------------------------------------------------------


def _plan_rebuild(project: Project, history: History, request: Request, binds: Collection[str]) -> Plan:
    name = one_revision(project, request.target)
    target = typed(request, name)
    return plan_rebuild(project.graph, history, project.phases, name, phase=request.phase, target=target, binds=binds)


def plan_skips(project: Project, histories: Sequence[History], phase: str | None, bind: str | None) -> dict[str, Plan]:
    """Return by bind the plan of its next pending step, of the chosen binds that have one.

    :raises DatabaseAhead: if a version table names a revision without a file.
    :raises UsageError: if there is no such phase or bind.
    """
    if phase is not None:
        project.phases.index(phase)
    binds = frozenset(history.bind for history in histories)
    plans = {}
    for history in choose_histories(histories, bind):
        refuse_ahead(project, history)
        plan = plan_skip(project.graph, history, project.phases, phase=phase, binds=binds)
        if plan.actions or plan.blocked:
            plans[history.bind] = plan
    return plans


def one_skip(plans: Mapping[str, Plan], phase: str | None) -> Plan:
    """Return the plan of the one bind that has something pending.

    :raises NothingPending: if none has.
    :raises UsageError: if several have.
    """
    if not plans:
        of = "" if phase is None else f" of phase {phase}"
        raise NothingPending(f"Nothing{of} is pending: there is no step to skip. Look at: flask db status")
    if len(plans) > 1:
        raise UsageError(f"There is a step to skip on {', '.join(plans)}. Say which: --bind NAME")
    return next(iter(plans.values()))


def refuse_unfailed(project: Project, histories: Sequence[History], request: Request) -> None:
    """Refuse to rebuild a revision of which nothing failed.

    :raises UsageError: with the command to type instead.
    """
    name = one_revision(project, request.target)
    graph, phases = project.graph, project.phases
    chosen = choose_histories(histories, request.bind)
    failed = [phase for history in chosen for phase in failed_phases(graph, history, phases, name)]
    if failed:
        raise UsageError(
            f"Nothing was executed: it is {failed[0]} of {name} that failed, which comes after {request.phase}. "
            f"Type: flask db rebuild --phase {failed[0]} {typed(request, name)}"
        )
    pending = {
        phase
        for history in chosen
        for phase in pending_phases(graph, history, phases, name, complete_revisions(graph, history))
    }
    if not pending:
        raise UsageError(
            f"Nothing was executed: nothing of {name} failed, and nothing of it is left to run. "
            "Look at: flask db status"
        )
    first = min(pending, key=phases.index)
    raise UsageError(
        f"Nothing was executed: nothing of {name} failed, so there is nothing to resume. To run it, type: "
        f"flask db upgrade --phase {first} {typed(request, name)}"
    )


def refuse_past_boundary(project: Project, request: Request, plan: Plan, histories: Sequence[History]) -> None:
    """Refuse to rebuild past the boundary in one go, where the application wants phases.

    :raises Refused: with the commands to type instead.
    """
    if (
        request.phase is not None
        or request.all_phases
        or all(not item.heads and not item.records for item in histories)
    ):
        return
    late = project.phases.after(project.phases.boundary)
    past = [step.phase for step in plan.steps if step.phase in late]
    if not past and not any(action.passes for action in plan.actions):
        return
    name, first = one_revision(project, request.target), next(iter(plan.steps)).phase
    raise Refused(
        f"Nothing was executed: MIGRATE_REQUIRE_PHASES is set, and this would go past the phase "
        f"{project.phases.boundary}, after which no old code may run.\n"
        f"Next: flask db rebuild --phase {first} {typed(request, name)}\n"
        f"Or, where nothing of the application runs: flask db rebuild --all-phases {typed(request, name)}",
        plan=plan,
    )


def script_arguments(path: str) -> tuple[str, ...]:
    """Return what each ``execute_script(...)`` in a file names, as its source has it; a plain text without quotes."""
    found = []
    with suppress(OSError, SyntaxError, ValueError):
        for node in ast.walk(ast.parse(Path(path).read_bytes())):
            if isinstance(node, ast.Call) and _called_name(node) == "execute_script":
                first = next(iter([*node.args, *(word.value for word in node.keywords if word.arg == "path")]), None)
                text = first.value if isinstance(first, ast.Constant) else None
                found.append(text if isinstance(text, str) else ast.unparse(first or node))
    return tuple(dict.fromkeys(found))


def _called_name(node: ast.Call) -> str | None:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)


# -- refusals ---------------------------------------------------------------------------------------


def refuse_blocked(plan: Plan) -> None:
    """Raise what a blocked plan stands for.

    :raises StepInterrupted: if a step's end is not known.
    :raises RevisionRefused: if a revision's file makes a mistake.
    :raises Refused: if earlier phases are missing.
    """
    if not plan.blocked:
        return
    first = plan.blocked[0]
    text = describe_blocked(plan)
    if first.interrupted:
        raise StepInterrupted(text, step=first.step)
    if first.path is not None:
        raise RevisionRefused(text, path=first.path, plan=plan)
    raise Refused(text, plan=plan)


def describe_blocked(plan: Plan) -> str:
    """Return the message of a refusal: every missing step, and the commands that lead on."""
    what = f"phase {plan.phase} may not run" if plan.phase is not None else f"the {plan.direction} may not run"
    lines = [f"Nothing was executed: {what}."]
    for block in plan.blocked:
        where = f"{block.step.bind}: " if block.path is None else ""
        lines.append(f"  {where}{block.because}")
    commands = dict.fromkeys(block.command for block in plan.blocked if block.command)
    otherwise = dict.fromkeys(sentence for block in plan.blocked for sentence in block.otherwise)
    return "\n".join([*dict.fromkeys(lines), *(f"Next: {command}" for command in commands), *otherwise])
