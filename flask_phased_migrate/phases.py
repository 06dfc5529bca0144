"""The configured phases, the ``@phased`` decorator, and the bodies of a revision module.

A revision module has an ``upgrade`` and perhaps a ``downgrade``. Each is a plain function (it belongs to
one phase), a :class:`PhasedFunction` with one function a phase, or one generator whose ``yield``
statements separate the phases. ``read_bodies`` turns all three into :class:`Bodies`; mistakes
become its ``problem``, which planning refuses for revisions that are still pending.
"""

from __future__ import annotations

import ast
import dis
import hashlib
import inspect
import linecache
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from .errors import ConfigurationError, UsageError

DEFAULT_PHASES = ("before-deploy", "after-deploy", "final")
DEFAULT_BIND = "default"

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Phases:
    """The configured phases, in order.

    ``default`` is the phase of an unphased revision; ``boundary`` the last phase that runs while the old
    code still serves.
    """

    names: tuple[str, ...] = DEFAULT_PHASES
    default: str = DEFAULT_PHASES[0]
    boundary: str = DEFAULT_PHASES[0]

    def index(self, name: str) -> int:
        """Return the position of ``name``.

        :raises UsageError: if no phase has that name.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise UsageError(
                f"There is no phase '{name}'. The phases are: {', '.join(self.names)} (MIGRATE_PHASES)."
            ) from None

    def before(self, name: str) -> tuple[str, ...]:
        """Return the phases that come before ``name``."""
        return self.names[: self.index(name)]

    def after(self, name: str) -> tuple[str, ...]:
        """Return the phases that come after ``name``."""
        return self.names[self.index(name) + 1 :]

    def moves_pointer(self, name: str) -> bool:
        """Return whether a run of ``name`` may move the version table: it comes after the boundary."""
        return self.index(name) > self.index(self.boundary)


def split_names(value: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names in a setting: a list, or a string with commas, spaces or line breaks between.

    Nothing between two commas is an empty name; a comma at the end is not.
    """
    if not isinstance(value, str):
        return tuple(value)
    pieces = value.split(",")
    if not pieces[-1].strip():
        pieces.pop()
    return tuple(name for piece in pieces for name in piece.split() or [""])


def configure_phases(
    names: str | Iterable[str] | None, default: str | None = None, boundary: str | None = None
) -> Phases:
    """Return the :class:`Phases` of the settings ``MIGRATE_PHASES``, ``_DEFAULT_PHASE``, ``_BOUNDARY``.

    :raises ConfigurationError: for an empty, repeated or unusable name, a default or boundary that is no
        phase, or a boundary with no phase after it.
    """
    chosen = DEFAULT_PHASES if names is None else _checked_names(names)
    for setting, value in (("MIGRATE_DEFAULT_PHASE", default), ("MIGRATE_BOUNDARY", boundary)):
        if value is not None and value not in chosen:
            raise ConfigurationError(f"{setting} is '{value}', which is not one of the phases: {', '.join(chosen)}.")
    phases = Phases(names=chosen, default=default or chosen[0], boundary=boundary or chosen[0])
    if not phases.after(phases.boundary):
        raise ConfigurationError(
            f"No phase comes after the boundary '{phases.boundary}', so no revision could ever be completed by "
            f"phases. Add a phase after it to MIGRATE_PHASES ({', '.join(chosen)}), or set MIGRATE_BOUNDARY to an "
            "earlier one."
        )
    return phases


def _checked_names(value: str | Iterable[str]) -> tuple[str, ...]:
    if not isinstance(value, Iterable):
        raise ConfigurationError(f"MIGRATE_PHASES is {value!r}. It is a list of names, or a string of them.")
    chosen = split_names(value)
    if not chosen:
        raise ConfigurationError("MIGRATE_PHASES is empty. Name at least two phases, in the order of a deploy.")
    for name in chosen:
        if not isinstance(name, str) or not name or "::" in name or any(part.isspace() for part in name):
            raise ConfigurationError(
                f"MIGRATE_PHASES has the name {name!r}. A phase is a word without white space, line breaks or '::'."
            )
        if chosen.count(name) > 1:
            raise ConfigurationError(f"MIGRATE_PHASES names '{name}' more than once.")
    return chosen


@dataclass(frozen=True)
class Body:
    """The callable part of a revision that belongs to one phase.

    ``bind`` is None where the body serves whatever bind the environment asks for. ``segment`` is the
    position among a generator's segments, None for a function.
    """

    phase: str
    function: Callable[..., Any]
    bind: str | None = None
    segment: int | None = None
    segments: int | None = None

    def serves(self, bind: str) -> bool:
        """Return whether the body has code for ``bind``, or for the bind that ``bind`` is one more copy of."""
        return self.bind is None or self.bind == base_bind(bind)

    @property
    def takes_arguments(self) -> bool:
        """Whether the function takes any argument."""
        return bool(inspect.signature(self.function).parameters)

    def on(self, bind: str) -> Body:
        """Return the body as one of ``bind``."""
        return replace(self, bind=bind)

    def arguments(self, offered: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of an environment's keyword arguments that the body takes.

        A phased function takes what it names; a plain one gets everything, as under plain Alembic.
        """
        if not isinstance(self.function, PhasedPart):
            return dict(offered)
        return accepted_arguments(self.function.function, offered)


class UnloadedBody(Body):
    """A body of a file that is imported when its function is asked for.

    :param load: imports the file and returns the body.
    """

    def __init__(
        self, phase: str, load: Callable[[], Body], place: tuple[str | None, int | None, int | None], takes: bool
    ) -> None:
        bind, segment, segments = place
        vars(self).update(phase=phase, bind=bind, segment=segment, segments=segments)
        vars(self).update(_load=load, _place=place, _takes=takes)

    @property
    def function(self) -> Callable[..., Any]:
        """The function.

        :raises RevisionFileError: if the file cannot be imported, or has something else.
        """
        load: Callable[[], Body] = vars(self)["_load"]
        return load().function

    @property
    def takes_arguments(self) -> bool:
        """Whether the function takes any argument."""
        return bool(vars(self)["_takes"])

    def on(self, bind: str) -> Body:
        """Return the body as one of ``bind``."""
        mine = vars(self)
        return UnloadedBody(self.phase, mine["_load"], (bind, *mine["_place"][1:]), mine["_takes"])


def base_bind(bind: str) -> str:
    """Return the bind's name without what tells copies apart: an env.py may loop over the schemas of tenants."""
    return bind.partition("@")[0]


@dataclass(frozen=True)
class Bodies:
    """What one revision module has for one direction.

    ``parts`` are empty both when the function is missing (``missing``) and when it has no code.
    ``problem`` says what is wrong with how it is written, to be shown with the file's path.
    ``named`` are the phases that the file names, those without code too.
    """

    parts: tuple[Body, ...] = ()
    phased: bool = False
    missing: bool = False
    problem: str | None = None
    named: tuple[str, ...] = ()

    def phases(self, bind: str) -> tuple[str, ...]:
        """Return the phases that have code for ``bind``, in the order they were written."""
        return tuple(dict.fromkeys(body.phase for body in self.parts if body.serves(bind)))

    def body(self, bind: str, phase: str) -> Body:
        """Return the body of ``phase`` for ``bind``: one that names the bind wins.

        :raises KeyError: if the step is empty.
        """
        found = [body for body in self.parts if body.phase == phase and body.serves(bind)]
        if not found:
            raise KeyError((bind, phase))
        return max(found, key=lambda body: body.bind is not None)


@dataclass(frozen=True)
class PhasedPart:
    """A function that was registered for a phase; calling it calls the function."""

    function: Callable[..., Any]

    def __call__(self, **arguments: Any) -> Any:
        return self.function(**arguments)


class PhasedFunction:
    """An ``upgrade`` or ``downgrade`` made of one function a phase, or of one generator.

    Alembic may call it like any ``upgrade()``: it then runs the steps that are not done.
    """

    def __init__(self, function: Callable[..., Any], names: tuple[str, ...], bind: str | None) -> None:
        self.function = function
        self.names = names
        self.bind = bind
        self.parts: list[tuple[str, str | None, Callable[..., Any]]] = []
        self.mistakes: list[str] = []
        self.is_generator = inspect.isgeneratorfunction(function)
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function
        if not self.is_generator and len(names) == 1:
            self.parts.append((names[0], bind, function))

    def phase(self, name: str, *, bind: str | None = None) -> Callable[[_F], _F]:
        """Register the decorated function for another phase, or for another bind."""
        if callable(name):
            self.mistakes.append(
                f"{_name_of(name)}() is under @{self.__name__}.phase without a name. "
                f'Write @{self.__name__}.phase("PHASE")'
            )
            return name

        def register(function: _F) -> _F:
            self.parts.append((name, bind, function))
            # Remembered on the function: one called 'upgrade' too would take the place of all the others.
            with suppress(AttributeError):
                function.__phase_part__ = (self.__name__, name)  # type: ignore[attr-defined]
            return function

        return register

    @property
    def revision(self) -> str:
        """The ``revision`` of the module that the function was written in."""
        return str(self.function.__globals__["revision"])

    def __call__(self, **arguments: Any) -> None:
        # Only plain Alembic, or an env.py of another tool, comes here: our executor calls the bodies.
        # ``run_phased`` is registered with Alembic by the ``operations`` module.
        from alembic import op

        op.run_phased(self, arguments)  # type: ignore[attr-defined]


def phased(*names: Any, bind: str | None = None) -> Any:
    """Divide an ``upgrade`` or ``downgrade`` into phases.

    ``@phased("before-deploy")`` names the phase of the function below it; ``@upgrade.phase("final")``
    then adds a function for another phase. ``@phased`` on a generator gives its segments the configured
    phases in order; ``@phased("before-deploy", "final")`` names them.
    """
    if len(names) == 1 and callable(names[0]) and not isinstance(names[0], str):
        return PhasedFunction(names[0], (), bind)

    def decorate(function: Callable[..., Any]) -> PhasedFunction:
        return PhasedFunction(function, tuple(names), bind)

    return decorate


def body_checksum(body: Body) -> str:
    """Return the SHA-256 of a body's place and of the whole file it is in: helpers and constants count too."""
    text = _file_text(body)
    if not text:
        code = _code_of(body)
        text = repr(code.co_code if code is not None else body.function)
    return hashlib.sha256(f"{body.phase}\0{body.segment}\0{text}".encode("utf-8", "surrogateescape")).hexdigest()


def body_mentions(body: Body, word: str) -> bool:
    """Return whether the file that a body is in has ``word`` somewhere; True where the file is not known."""
    text = _file_text(body)
    return not text or word in text


def _function_of(body: Body) -> Any:
    return inspect.unwrap(getattr(body.function, "function", body.function))


def _code_of(body: Body) -> Any:
    return getattr(_function_of(body), "__code__", None)


def _file_text(body: Body) -> str:
    """Return the text of a body's file as it is now; the module's loader gives it faster than linecache."""
    function, code = _function_of(body), _code_of(body)
    if code is None:
        return ""
    loader = getattr(function, "__globals__", {}).get("__loader__")
    try:
        content: bytes = loader.get_data(code.co_filename)  # type: ignore[union-attr]
    except (AttributeError, OSError):
        linecache.checkcache(code.co_filename)
        return "".join(linecache.getlines(code.co_filename))
    return content.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")


def accepted_arguments(function: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of ``offered`` that ``function`` has parameters for."""
    if not offered:
        return {}
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return dict(offered)
    names = {parameter.name for parameter in parameters}
    return {name: value for name, value in offered.items() if name in names}


def read_bodies(
    function: Any, direction: Literal["upgrade", "downgrade"], phases: Phases, own_phase: str | None = None
) -> Bodies:
    """Return what a revision module's ``upgrade`` or ``downgrade`` attribute has for each phase.

    ``own_phase`` is the module attribute ``phase``: where an unphased revision belongs.
    """
    if function is None:
        return Bodies(missing=True)
    if isinstance(function, PhasedFunction):
        if function.is_generator:
            return _read_generator(function, direction, phases)
        return _read_functions(function, direction)
    problem = _plain_problem(function, direction, own_phase)
    if problem is not None:
        return Bodies(problem=problem)
    own = phases.default if own_phase is None else own_phase
    if has_no_code(function):
        return Bodies(named=(own,))
    return Bodies(parts=(Body(own, function),), named=(own,))


def _plain_problem(function: Any, direction: str, own_phase: object) -> str | None:
    """Return what is wrong with a function that is not phased, None if nothing is."""
    if not callable(function):
        return f"'{direction}' is not a function"
    if inspect.isgeneratorfunction(function):
        return (
            f"{direction}() is a generator without @phased: plain Alembic would call it and run nothing. "
            "Write @phased above it"
        )
    owner = getattr(function, "__phase_part__", None)
    if owner is not None:
        return (
            f'{direction}() is the function under @{owner[0]}.phase("{owner[1]}"), and hides every other. Give '
            f"it a name of its own, such as {owner[0]}_{re.sub(r'[^0-9A-Za-z]+', '_', str(owner[1]))}"
        )
    if _is_async(function):
        return f"{direction}() is 'async': it would be called and never run. Remove the 'async'"
    if own_phase is not None and (not isinstance(own_phase, str) or not own_phase):
        return f"its attribute 'phase' is {own_phase!r}. Write the name of one phase"
    return None


def _read_functions(function: PhasedFunction, direction: str) -> Bodies:
    problem = _functions_problem(function, direction)
    if problem is not None:
        return Bodies(phased=True, problem=problem)
    parts = tuple(
        Body(name, PhasedPart(part), _served_bind(part, bind))
        for name, bind, part in function.parts
        if not has_no_code(part)
    )
    return Bodies(parts=parts, phased=True, named=tuple(dict.fromkeys(name for name, _, _ in function.parts)))


def _functions_problem(function: PhasedFunction, direction: str) -> str | None:
    names = [*function.names, *(name for name, _, _ in function.parts)]
    problem = _mistake(function, direction, names)
    if problem is not None:
        return problem
    if len(function.names) != 1:
        what = "names no phase" if not function.names else "names several phases"
        return (
            f'{direction}() is not a generator, and its @phased {what}. Write @phased("PHASE") above it '
            f'and one function under @{direction}.phase("PHASE") for each other phase'
        )
    seen = set()
    for name, bind, part in function.parts:
        problem = _part_problem(part, name)
        if problem is not None:
            return problem
        served = (name, _served_bind(part, bind))
        if served in seen:
            where = "" if served[1] in (None, DEFAULT_BIND) else f" on bind '{served[1]}'"
            return f"{direction} has two functions for phase '{name}'{where}. Put their code into one"
        seen.add(served)
    return None


def _mistake(function: PhasedFunction, direction: str, names: Iterable[object]) -> str | None:
    """Return what is wrong with the decorators themselves, None if nothing is."""
    if function.mistakes:
        return function.mistakes[0]
    for name in names:
        if not isinstance(name, str) or not name:
            return f'{direction}() has {name!r} where a phase is named. Write the name of one phase, as in "PHASE"'
    for bind in (function.bind, *(bind for _, bind, _ in function.parts)):
        if bind is not None and (not isinstance(bind, str) or not bind):
            return f'{direction}() has {bind!r} where a bind is named. Write bind="NAME"'
    return None


def _part_problem(part: Callable[..., Any], name: str) -> str | None:
    if isinstance(part, PhasedFunction):
        return f"{part.__name__}() is under @phased and named for phase '{name}' too. Keep one of the decorators"
    if inspect.isgeneratorfunction(part):
        return f"{_name_of(part)}() is a generator, but it is the function of one phase, '{name}'. Remove its yield"
    if _is_async(part):
        return f"{_name_of(part)}() is 'async': it would be called and never run. Remove the 'async'"
    return None


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", function))


def _served_bind(function: Callable[..., Any], bind: str | None) -> str | None:
    # A function that takes what the environment offers serves every bind; else the unnamed one.
    if bind is None and inspect.signature(function).parameters:
        return None
    return bind or DEFAULT_BIND


def _read_generator(function: PhasedFunction, direction: str, phases: Phases) -> Bodies:
    names = function.names or phases.names
    problem = _generator_problem(function, direction, names, phases)
    if problem is not None:
        return Bodies(phased=True, problem=problem)
    names = segment_order(names, direction, phases) or names
    problem, segments = count_segments(function.function)
    if problem is None and segments is None:
        problem = (
            f"{direction}() has a yield in a loop or a branch, so its phases cannot be told without running it. Put "
            f"every yield at the top level of the function, or write one function a phase"
        )
    elif problem is None and segments != len(names):
        problem = segment_problem(direction, names, segments or 0)
    bind = _served_bind(function.function, function.bind)
    part = PhasedPart(function.function)
    bodies = tuple(Body(name, part, bind, segment, len(names)) for segment, name in enumerate(names))
    return Bodies(parts=bodies, phased=True, problem=problem, named=names)


def _generator_problem(function: PhasedFunction, direction: str, names: tuple[str, ...], phases: Phases) -> str | None:
    problem = _mistake(function, direction, names)
    if problem is not None:
        return problem
    if function.parts:
        return f"{direction}() is a generator and has functions for phases too. Use one of the two forms"
    for name in names:
        if names.count(name) > 1:
            return f"{direction}() names the phase '{name}' more than once"
    if segment_order(names, direction, phases) is None:
        return (
            f"{direction}() names its segments out of order: {', '.join(names)}. The phases run in the order "
            f"{', '.join(phases.names)}, and so must the segments"
        )
    return None


def segment_order(names: tuple[str, ...], direction: str, phases: Phases) -> tuple[str, ...] | None:
    """Return which phase each segment of a generator is, first to last; None for names in an order that may not be."""
    if len(set(names)) < len(names):
        return None
    if direction == "downgrade":
        return tuple(sorted(names, key=lambda name: _position(name, phases), reverse=True))
    known = [phases.index(name) for name in names if name in phases.names]
    return names if known == sorted(known) else None


def segment_problem(direction: str, names: tuple[str, ...], segments: int) -> str:
    """Return the sentence for a generator with the wrong number of segments."""
    yields = max(segments - 1, 0)
    return (
        f"{direction}() has {segments} segment{'s' if segments != 1 else ''} ({yields} "
        f"yield{'s' if yields != 1 else ''}), but there {'are' if len(names) != 1 else 'is'} {len(names)} "
        f"phase{'s' if len(names) != 1 else ''}: {', '.join(names)}. Put one yield between two phases"
    )


def _position(name: str, phases: Phases) -> int:
    return phases.names.index(name) if name in phases.names else len(phases.names)


# Instructions of a function that has no code but ``pass``, ``...`` or a docstring (CPython 3.11 to 3.13).
_IDLE = frozenset({"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "POP_TOP"})


def has_no_code(function: Callable[..., Any]) -> bool:
    """Return whether the function's body is only ``pass``, ``...`` or a docstring."""
    code = getattr(function, "__code__", None)
    if code is None or inspect.isgeneratorfunction(function) or code.co_names:
        # To call anything takes a name.
        return False
    return all(
        instruction.opname in _IDLE
        and (instruction.opname not in {"LOAD_CONST", "RETURN_CONST"} or instruction.argval in (None, Ellipsis))
        for instruction in dis.get_instructions(code)
    )


def count_segments(function: Callable[..., Any]) -> tuple[str | None, int | None]:
    """Return ``(problem, segments)`` of a generator function, from its source.

    ``segments`` is None where it cannot be told without running it: a ``yield`` in a loop or a branch, or
    no source at hand.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):
        return None, None
    definition = tree.body[0]
    return written_segments(definition) if isinstance(definition, ast.FunctionDef) else (None, None)


def written_segments(definition: ast.FunctionDef) -> tuple[str | None, int | None]:
    """Return what :func:`count_segments` does, of a function as it is written."""
    block = _block_with_yield(definition)
    if block is not None:
        return (
            f"{definition.name}() has a yield inside 'with {block}': its operations would run in the "
            "next phase. Close the block before the yield"
        ), None
    past = _reaches_past_alembic(definition)
    if past is not None:
        return (
            f"{definition.name}() uses '{past}' before a yield: that would be done again for each later phase, since "
            "only what goes through op can be passed over. Write one function a phase (@upgrade.phase(...))"
        ), None
    yields = _count_yields(definition.body)
    return None, None if yields is None else yields + 1


_Scope = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def _own_nodes(root: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below ``root``, without those of functions and classes defined there."""
    for child in ast.iter_child_nodes(root):
        if isinstance(child, _Scope):
            continue
        yield child
        yield from _own_nodes(child)


def _block_with_yield(definition: ast.FunctionDef) -> str | None:
    """Return the name of a batch or autocommit block that has a yield inside."""
    for node in _own_nodes(definition):
        if isinstance(node, ast.With) and any(counted_yields(statement) for statement in node.body):
            for item in node.items:
                name = _called_name(item.context_expr)
                if name in {"batch_alter_table", "autocommit_block"}:
                    return name
    return None


_FACTS = frozenset({"name", "dialect", "url", "driver"})
_PAST = frozenset({"connection", "driver_connection", "raw_connection", "engine"})


def _reaches_past_alembic(definition: ast.FunctionDef) -> str | None:
    """Return what is used before the last yield that leads to the database without ``op``: a raw connection, a session.

    To ask an engine or a connection for its dialect is no harm.
    """
    last = max((place for place, statement in enumerate(definition.body) if counted_yields(statement)), default=0)
    nodes = [node for statement in definition.body[:last] for node in (statement, *_own_nodes(statement))]
    harmless = {id(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr in _FACTS}
    for node in nodes:
        if not isinstance(node, ast.Attribute) or id(node) in harmless:
            continue
        of_columns = isinstance(node.value, ast.Attribute) and node.value.attr in ("c", "columns")
        of_db = isinstance(node.value, ast.Name) and node.value.id == "db"
        if (node.attr in _PAST and not of_columns) or (node.attr == "session" and of_db):
            return ast.unparse(node)
    return None


def _called_name(expression: ast.expr) -> str | None:
    if isinstance(expression, ast.Call):
        called = expression.func
        if isinstance(called, ast.Attribute):
            return called.attr
        if isinstance(called, ast.Name):
            return called.id
    return None


def counted_yields(node: ast.AST) -> int:
    """Return how many yields are written in ``node``, itself counted."""
    if isinstance(node, _Scope):
        return 0
    return sum(isinstance(found, (ast.Yield, ast.YieldFrom)) for found in (node, *_own_nodes(node)))


def _count_yields(statements: list[ast.stmt]) -> int | None:
    """Return how many yields the statements pass whatever happens, None if that depends."""
    total = 0
    for statement in statements:
        if isinstance(statement, ast.Return):
            return None if counted_yields(statement) else total
        if not isinstance(statement, _Scope) and any(isinstance(node, ast.Return) for node in _own_nodes(statement)):
            return None
        count = _count_in(statement) if counted_yields(statement) else 0
        if count is None:
            return None
        total += count
    return total


def _count_in(statement: ast.stmt) -> int | None:
    written = counted_yields(statement)
    if isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign)):
        return 1 if isinstance(statement.value, ast.Yield) and written == 1 else None
    if isinstance(statement, ast.With):
        return _all_of(written, statement.body)
    if isinstance(statement, ast.If):
        taken, other = _count_yields(statement.body), _count_yields(statement.orelse)
        return taken if taken is not None and taken == other and taken + taken == written else None
    if isinstance(statement, ast.Try) and not statement.handlers:
        return _all_of(written, statement.body + statement.orelse + statement.finalbody)
    return None


def _all_of(written: int, statements: list[ast.stmt]) -> int | None:
    """Return the yields that ``statements`` pass, None where that is not every one written."""
    passed = _count_yields(statements)
    return passed if passed == written else None
