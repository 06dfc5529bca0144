"""What revision files say, read without running them, and remembered from one process to the next.

A file whose names are literals, bound once at its top level, is read from its syntax tree; of any other nothing is
said, and who asks has to import it. What was read is kept in a file beside Python's own compiled ones, and believed
only where size, times and inode of a revision file are the same, or else its content. No error of that file is ever
anybody's problem: without it the revision files are read again.
"""

from __future__ import annotations

import ast
import marshal
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from importlib.util import cache_from_source
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias
from zlib import crc32

FORMAT = 3
"""Changes with what the cache file holds, and with how revision files are read."""


class Files(NamedTuple):
    """The revision files, in Alembic's order.

    ``stats`` has four numbers for each of ``paths``: its size, the times of the last change of content and of anything
    (nanoseconds), its inode. They are not in a tuple for each file, since thousands of those take their time.
    """

    paths: tuple[str, ...]
    stats: tuple[int, ...]


Outline: TypeAlias = tuple[Any, ...]
"""What a file has for one direction:

``("missing",)``; ``("plain", has code, takes arguments)``; ``("functions", ((phase, bind it serves, has code), ...))``;
``("generator", phases it names, segments, bind it serves)``.
"""

MISSING: Outline = ("missing",)

ILLEGAL_IN_IDS = frozenset("@-+:")
"""Alembic refuses these in the id of a revision."""

# How long, at most, the clock of a file system stands still (FAT: two seconds).
_TICK_NS = 2_000_000_000


class FileFacts(NamedTuple):
    """What a revision file says. ``down`` and ``depends_on`` are as written; ``doc`` is the whole docstring."""

    revision: str
    down: tuple[str, ...]
    depends_on: tuple[str, ...]
    labels: tuple[str, ...]
    message: str
    doc: str
    phase: str | None
    independent_of: str | tuple[str, ...] | None
    upgrade: Outline
    downgrade: Outline
    mentions_assured: bool


Links: TypeAlias = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...], str]
"""The first five of a file's facts: what lists and graphs need. They are kept apart, so that reading them is quick."""


Part: TypeAlias = Literal["head", "links", "facts"]
"""How much of an index is wanted; each has those before it."""


class Index:
    """What is known of the revision files, in Alembic's order.

    ``links`` has None for a file of which only an import tells; ``facts`` likewise. ``head`` is the one head of a
    plain history (see :func:`.plain_order`), None of another; ``is_line`` tells whether it is one line
    without a dependency.
    """

    def __init__(self, paths: tuple[str, ...], known: _Known) -> None:
        self.paths = paths
        self.head, self.is_line = known.head, known.is_line
        self._links, self._more = known.links, known.more

    @cached_property
    def _ordered_links(self) -> tuple[tuple[int, ...] | None, tuple[Links | None, ...]]:
        return marshal.loads(self._links)  # type: ignore[no-any-return]

    @property
    def links(self) -> tuple[Links | None, ...]:
        """Links of each file."""
        return self._ordered_links[1]

    @cached_property
    def newest_first(self) -> tuple[Links, ...]:
        """Links of a plain history, in the order of a listing; none of another."""
        order, links = self._ordered_links
        return tuple([links[position] for position in order or ()])  # type: ignore[misc]

    @cached_property
    def facts(self) -> tuple[FileFacts | None, ...]:
        """All that is known of each file."""
        more = marshal.loads(self._more)
        return tuple(
            None if links is None else FileFacts(*links, *rest[1:])
            for links, rest in zip(self.links, more, strict=True)
        )


# -- reading one file ---------------------------------------------------------------------------------

_NAMES = frozenset(
    {
        *("revision", "down_revision", "branch_labels", "depends_on", "phase", "independent_of"),
        *("upgrade", "downgrade", "phased"),
        *("__doc__", "__getattr__", "_alembic_source_encoding"),
    }
)
_DIRECTIONS = frozenset({"upgrade", "downgrade"})
# What Python may warn of when it compiles a file, so that its import does.
_WARNED_OF = rb"\\[^\r\n\\'\"abfnrtv0-7xNuU]"
# Ways to bind a name that no syntax tree shows.
_HIDDEN = rb"\b(?:exec|eval|globals|locals|vars|setattr|delattr)\s*\(|\bglobal\b|__dict__|\bmodules\b"


def read_facts(source: bytes) -> FileFacts | None:
    """Return what the source of a revision file says, None where it does not say so for certain."""
    if sys.flags.optimize > 1 or re.search(_HIDDEN, source) or re.search(_WARNED_OF, source):
        return None
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError, Warning, _Unsure):
        return _facts_of(ast.parse(source), b"assured" in source)
    return None


class _Unsure(Exception):
    """Only an import tells."""


def _facts_of(tree: ast.Module, mentions_assured: bool) -> FileFacts:
    bound = _bound_names(tree)
    if "revision" not in bound or "down_revision" not in bound or "__getattr__" in bound:
        raise _Unsure
    revision, down, labels, depends_on = (
        _literal(bound.get(name)) for name in ("revision", "down_revision", "branch_labels", "depends_on")
    )
    phase, independent_of = _literal(bound.get("phase")), _literal(bound.get("independent_of"))
    if not (isinstance(revision, str) and revision) or not (phase is None or (isinstance(phase, str) and phase)):
        raise _Unsure
    doc = _docstring(tree).strip()
    return FileFacts(
        revision=revision,
        down=_as_names(down),
        depends_on=_as_names(depends_on),
        labels=_as_names(labels),
        message=doc.partition("\n\n")[0],
        doc=doc,
        phase=phase,
        independent_of=independent_of,
        upgrade=_outline(tree, bound, "upgrade"),
        downgrade=_outline(tree, bound, "downgrade"),
        mentions_assured=mentions_assured,
    )


def _bound_names(tree: ast.Module) -> dict[str, ast.stmt]:
    """Return the statement that binds each of the names that matter.

    :raises _Unsure: if one is bound twice, or in any but a plain way.
    """
    found: dict[str, ast.stmt] = {}
    for statement in tree.body:
        for name in _plainly_bound(statement):
            if name in found or name in ("__doc__", "_alembic_source_encoding"):
                raise _Unsure
            if name in _NAMES:
                found[name] = statement
    return found


def _plainly_bound(statement: ast.stmt) -> Iterable[str]:
    """Return the names that a statement of the top level binds, of one that is no block.

    :raises _Unsure: if another kind of statement has to do with one of the names that matter.
    """
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        outside = [*statement.decorator_list, *_defaults(statement)]
        if any(_has_walrus(node) for node in outside):
            raise _Unsure
        return (statement.name,)
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        names = [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
        if "*" in names:
            raise _Unsure
        return names
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        value = [] if statement.value is None else [statement.value]
        strange = _mentions(value, _DIRECTIONS) or any(map(_has_walrus, value))
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and not strange:
            return (targets[0].id,) if value else ()
    if _mentions([statement], _NAMES):
        raise _Unsure
    return ()


def _defaults(statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.AST]:
    return [*statement.bases, *statement.keywords] if isinstance(statement, ast.ClassDef) else [statement.args]


def _has_walrus(node: ast.AST) -> bool:
    return any(isinstance(child, ast.NamedExpr) for child in ast.walk(node))


def _mentions(nodes: Iterable[ast.AST], names: frozenset[str]) -> bool:
    """Return whether one of the names is written below the nodes in any place that could bind it."""
    for root in nodes:
        for node in ast.walk(root):
            words = (getattr(node, word, None) for word in ("id", "name", "asname", "rest"))
            if any(word in names or word == "*" for word in words if isinstance(word, str)):
                return True
    return False


def _literal(statement: ast.stmt | None) -> str | tuple[str, ...] | None:
    """Return the string, or the tuple of strings, that a statement binds; None for None, and for no statement.

    :raises _Unsure: for anything else.
    """
    if statement is None:
        return None
    value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
    if isinstance(value, ast.Constant) and (value.value is None or isinstance(value.value, str)):
        return value.value
    if isinstance(value, (ast.Tuple, ast.List)):
        return tuple(_string(item) for item in value.elts)
    raise _Unsure


def _string(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        return node.value
    raise _Unsure


def _as_names(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if value == "":
        raise _Unsure
    return (value,) if isinstance(value, str) else value or ()


def _docstring(tree: ast.Module) -> str:
    first = tree.body[0] if tree.body else None
    if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
        return ""
    if not isinstance(first.value.value, str):
        return ""
    if sys.version_info < (3, 13):
        return first.value.value
    # From 3.13 on the compiler takes the indentation out of it.
    space: dict[str, Any] = {}
    exec(compile(ast.Module([first], []), "docstring", "exec"), space)
    return str(space["__doc__"])


# -- the phases of one file ---------------------------------------------------------------------------


def _outline(tree: ast.Module, bound: dict[str, ast.stmt], direction: str) -> Outline:
    function = bound.get(direction)
    if function is None:
        return MISSING
    if not isinstance(function, ast.FunctionDef):
        raise _Unsure
    parts = [(item, call) for item in tree.body for call in _phase_calls(item, direction)]
    if not function.decorator_list:
        if parts or _is_generator(function):
            raise _Unsure
        return ("plain", _has_code(function), _takes_arguments(function))
    names, bind = _phased_call(function, bound.get("phased"))
    if _is_generator(function):
        if parts:
            raise _Unsure
        return ("generator", names, _segments(function), _served(function, bind))
    if len(names) != 1:
        raise _Unsure
    return ("functions", _functions([(function, names[0], bind), *((item, *_named(call)) for item, call in parts)]))


def _functions(parts: Iterable[tuple[ast.stmt, str, str | None]]) -> tuple[tuple[str, str | None, bool], ...]:
    found = []
    for function, name, bind in parts:
        if not isinstance(function, ast.FunctionDef) or len(function.decorator_list) != 1 or _is_generator(function):
            raise _Unsure
        found.append((name, _served(function, bind), _has_code(function)))
    if len({(name, bind) for name, bind, _ in found}) < len(found):
        raise _Unsure
    return tuple(found)


def _phase_calls(statement: ast.stmt, direction: str) -> Iterator[ast.Call]:
    """Yield the ``upgrade.phase(...)`` above a function; other uses of the name are nothing that we know.

    :raises _Unsure: for such a use.
    """
    for node in getattr(statement, "decorator_list", ()):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "phase":
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == direction:
                yield node
                continue
            if isinstance(owner, ast.Name) and owner.id in _DIRECTIONS:
                continue
        if _mentions([node], _DIRECTIONS):
            raise _Unsure


def _phased_call(function: ast.FunctionDef, imported: ast.stmt | None) -> tuple[tuple[str, ...], str | None]:
    """Return the phases and the bind that ``@phased`` names.

    :raises _Unsure: if the decorator is another, or not written out.
    """
    decorator = function.decorator_list[0]
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    ours = isinstance(imported, ast.ImportFrom) and imported.module == "flask_phased_migrate" and not imported.level
    named = ours and any(alias.name == "phased" and alias.asname is None for alias in imported.names)  # type: ignore[union-attr]
    if not named or not isinstance(called, ast.Name) or called.id != "phased" or len(function.decorator_list) != 1:
        raise _Unsure
    if not isinstance(decorator, ast.Call):
        return (), None
    return tuple(_string(item) for item in decorator.args), _bind_of(decorator)


def _named(call: ast.Call) -> tuple[str, str | None]:
    if len(call.args) != 1:
        raise _Unsure
    return _string(call.args[0]), _bind_of(call)


def _bind_of(call: ast.Call) -> str | None:
    if not call.keywords:
        return None
    if len(call.keywords) != 1 or call.keywords[0].arg != "bind":
        raise _Unsure
    return _string(call.keywords[0].value)


def _served(function: ast.FunctionDef, bind: str | None) -> str | None:
    from .phases import DEFAULT_BIND

    return None if bind is None and _takes_arguments(function) else bind or DEFAULT_BIND


def _takes_arguments(function: ast.FunctionDef) -> bool:
    given = function.args
    return bool(given.posonlyargs or given.args or given.kwonlyargs or given.vararg or given.kwarg)


def _is_generator(function: ast.FunctionDef) -> bool:
    from .phases import counted_yields

    return any(counted_yields(statement) for statement in function.body)


def _segments(function: ast.FunctionDef) -> int:
    from .phases import written_segments

    problem, segments = written_segments(function)
    if problem is not None or segments is None:
        raise _Unsure
    return segments


def _has_code(function: ast.FunctionDef) -> bool:
    """Return whether there is more than ``pass``, ``...`` or a docstring, as :func:`.phases.has_no_code` sees it."""
    for statement in function.body:
        if isinstance(statement, ast.Pass) or _is_constant(statement):
            continue
        if _surely_runs(statement):
            return True
        raise _Unsure
    return False


def _is_constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _surely_runs(statement: ast.stmt) -> bool:
    """Return whether the compiler makes code of a statement, whatever it optimizes."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Call)
    if isinstance(statement, (ast.If, ast.While)):
        return isinstance(statement.test, (ast.Call, ast.Attribute))
    if isinstance(statement, ast.Try):
        return _surely_runs(statement.body[0])
    return isinstance(statement, _RUNNING)


_RUNNING = (
    *(ast.With, ast.For, ast.Assign, ast.AugAssign, ast.Import, ast.ImportFrom, ast.Raise),
    *(ast.FunctionDef, ast.ClassDef),
)


# -- the history that files make -----------------------------------------------------------------------


def plain_order(links: tuple[Links | None, ...]) -> tuple[int, ...] | None:
    """Return the positions of revisions in the order of a listing.

    None where only Alembic knows what to say of the history: labels, several heads, dependencies by other names than
    ids, a mistake, a file that has to be imported.
    """
    positions = {item[0]: position for position, item in enumerate(links) if item is not None}
    known = [item for item in links if item is not None]
    if len(positions) < len(links) or ILLEGAL_IN_IDS.intersection("".join(positions)):
        return None
    parents = {name for item in known for name in item[1]}
    needed = {name for item in known for name in item[2]}
    if not positions.keys() >= parents | needed or any(item[3] for item in known):
        return None
    if len(positions) != len(parents) + 1 or any(len(set(item[1])) < len(item[1]) for item in known):
        return None
    from .graph import Graph, Revision

    graph = Graph({item[0]: Revision(item[0], item[1], item[2]) for item in known})
    return tuple([positions[name] for name in graph.newest_first(positions)]) if graph.is_acyclic() else None


# -- the files of a folder ----------------------------------------------------------------------------


def list_files(locations: Sequence[str | os.PathLike[str]], *, recursive: bool = False) -> Files | None:
    """Return the revision files of all version locations, links followed to where they lead.

    None where a file is met twice, of which Alembic warns, or one cannot be asked.
    """
    paths: list[str] = []
    stats: list[int] = []
    others: list[str] = []
    try:
        for location in locations:
            _list_folder(os.fspath(location), recursive, (paths, stats), others)
    except OSError:
        return None
    if (others or recursive or len(locations) > 1) and len({*paths, *others}) < len(paths) + len(others):
        return None
    return Files(tuple(paths), tuple(stats))


def _list_folder(location: str, recursive: bool, found: tuple[list[str], list[int]], others: list[str]) -> None:
    """Add a folder's revision files to ``found``, the paths of its other files to ``others``."""
    if not os.path.isdir(location):
        return
    paths, stats = found
    prefix = os.path.join(os.path.realpath(location), "")
    folders = []
    # Every command comes by here with every file: hence no entries of scandir(), and no call that can be spared.
    for name in sorted(os.listdir(location)):
        path = prefix + name
        now = os.lstat(path)
        kind = now.st_mode & 0o170000
        is_revision = name.endswith(".py") and not name.startswith((".#", "__init__"))
        if kind == stat.S_IFREG and is_revision:
            paths.append(path)
            stats += (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
        elif os.path.isdir(path):
            folders.append(name)
        elif kind != stat.S_IFLNK:
            others.append(path)
        elif not is_revision:
            others.append(os.path.realpath(path))
        else:
            # Met as a link and as itself it is met twice, in one folder too.
            now, path = os.stat(path), os.path.realpath(path)
            paths.append(path)
            stats += (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
            others.append(f"{path}\0")
    for name in folders if recursive else ():
        if not os.path.islink(prefix + name) and not name.endswith("__pycache__"):
            _list_folder(os.path.join(location, name), recursive, found, others)


def file_order(locations: Sequence[str], path: str) -> tuple[int, str]:
    """Return what files are sorted by: the place of their version location, then the path."""
    found = [position for position, location in enumerate(locations) if path.startswith(location)]
    return (found[0] if found else 0, path)


def read_index(
    locations: Sequence[str | os.PathLike[str]],
    *,
    recursive: bool = False,
    begins: bool = True,
    keeps: bool = True,
    wanted: Part = "facts",
    clock_ns: Callable[[], int] = time.time_ns,
) -> Index | None:
    """Return what the revision files say, in Alembic's order.

    :param begins: whether an index may be begun, in which case every file is read: that takes longer than to import
        them all.
    :param keeps: whether it is begun only where it can be kept; a process that goes on has it anyway.
    :param wanted: what will be asked for; the rest is not to be asked for then.
    :return: None where Alembic's own loader has to be asked: it would warn, or there is nothing to be had of an index.
    """
    now_ns = clock_ns()
    files = list_files(locations, recursive=recursive)
    if files is None or not files.paths:
        return None
    cache = _Cache(os.fspath(locations[0]), (*[os.fspath(location) for location in locations], recursive))
    known = cache.read(wanted)
    if known is None and not (begins and (not keeps or cache.can_be_written())):
        return None
    if known is None or not known.settled or known.files != _packed_files(files):
        known = _refreshed(files, None if known is None else cache.read("facts"), now_ns, cache)
    return Index(files.paths, known)


class _Known(NamedTuple):
    """What the cache file holds: ``settled`` if no file was changed so shortly before that its times may not tell.

    ``files``, ``links`` (with their order) and ``more``, the checksum of each file and the rest of its facts, are
    packed until they are needed; the last two are empty where they were not wanted.
    """

    written_ns: int
    settled: bool
    files: bytes
    head: str | None
    is_line: bool
    links: bytes
    more: bytes


def _packed_files(files: Files) -> bytes:
    return _packed(("\0".join(files.paths), files.stats))


def _packed(values: Any) -> bytes:
    # Version 2 writes the same bytes for equal values, wherever they are from.
    return marshal.dumps(values, 2)


def _refreshed(files: Files, known: _Known | None, now_ns: int, cache: _Cache) -> _Known:
    """Return what is known with the files as they are now, and keep it: changed ones are read, and checked at least."""
    before = {} if known is None else _unpacked(known)
    limit_ns = 0 if known is None else known.written_ns - _TICK_NS
    rows = []
    settled = True
    for path, now in zip(files.paths, _in_fours(files.stats), strict=True):
        old = before.get(path)
        if old is not None and old[0] == now and max(now[1], now[2]) < limit_ns:
            rows.append(old[1:])
        else:
            rows.append(_read_file(path, old))
        settled = settled and max(now[1], now[2]) < now_ns - _TICK_NS
    links = tuple([row[0] for row in rows])
    order = plain_order(links)
    newest = [links[position] for position in order or ()]
    found = _Known(
        now_ns,
        settled,
        _packed_files(files),
        None if not newest or newest[0] is None else newest[0][0],
        bool(newest) and not any(item is None or item[2] or len(item[1]) > 1 for item in newest),
        _packed((order, links)),
        _packed([row[1] for row in rows]),
    )
    if known is None or known[1:] != found[1:]:
        cache.write(found, files)
    return found


_Row: TypeAlias = tuple[tuple[int, ...], Links | None, tuple[Any, ...]]


def _in_fours(stats: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return zip(*[iter(stats)] * 4, strict=True)


def _unpacked(known: _Known) -> dict[str, _Row]:
    paths, stats = marshal.loads(known.files)
    rows = zip(_in_fours(stats), marshal.loads(known.links)[1], marshal.loads(known.more), strict=True)
    return dict(zip(paths.split("\0"), rows, strict=True))


def _read_file(path: str, old: _Row | None) -> tuple[Links | None, tuple[Any, ...]]:
    """Return the links of a file, and its checksum with the rest of its facts."""
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError:
        return None, (b"",)
    digest = sha256(source).digest()
    if old is not None and old[2][0] == digest:
        return old[1:]
    facts = read_facts(source)
    return (None, (digest,)) if facts is None else (facts[:5], (digest, *facts[5:]))


class _Cache:
    """The cache file of one set of version locations: where Python would keep what it makes of the files."""

    def __init__(self, location: str, places: tuple[Any, ...]) -> None:
        self.user = os.geteuid() if hasattr(os, "geteuid") else 0
        self.location = location
        self.key = (FORMAT, _tool_version(), sys.version, sys.flags.optimize, places)

    def path(self, user: int) -> str:
        """Return the path of a user's file."""
        name = cache_from_source(os.path.join(self.location, "index.py"), optimization="")
        return f"{name.removesuffix('.pyc')}.flask_phased_migrate-{user}"

    def read(self, wanted: Part) -> _Known | None:
        """Return what the user's own file has, or else the superuser's: of nobody else's may be believed a word."""
        for user in dict.fromkeys((self.user, 0)):
            with suppress(OSError, ValueError, EOFError, TypeError, NotImplementedError):
                with _open_own(self.path(user), user) as file:
                    found = self._parse(file, wanted)
                if found is not None:
                    return found
        return None

    def _parse(self, file: BinaryIO, wanted: Part) -> _Known | None:
        size, checksum = (int.from_bytes(file.read(4), "big") for _ in range(2))
        if not size or size > os.fstat(file.fileno()).st_size:
            return None
        key, values, parts = marshal.loads(_checked(file.read(size), checksum))
        if key != self.key or os.fstat(file.fileno()).st_size != 8 + size + sum([length for length, _ in parts]):
            return None
        packed = [b"", b""]
        for number, (length, checksum) in enumerate(parts[: _PARTS[wanted]]):
            packed[number] = _checked(file.read(length), checksum)
        return _Known(*values, *packed)

    def can_be_written(self) -> bool:
        """Return whether to write is allowed; it may fail all the same."""
        with suppress(NotImplementedError):
            folder = os.path.dirname(self.path(self.user))
            return not sys.dont_write_bytecode and _can_write(folder)
        return False

    def write(self, known: _Known, files: Files) -> None:
        """Put what is known in the place of what was, whole; leave it where that cannot be."""
        if not self.can_be_written():
            return
        parts = (known.links, known.more)
        head = marshal.dumps((self.key, tuple(known[:5]), [(len(part), crc32(part)) for part in parts]))
        content = b"".join((len(head).to_bytes(4, "big"), crc32(head).to_bytes(4, "big"), head, *parts))
        with suppress(OSError, ValueError):
            target = self.path(self.user)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            scratch = f"{target}.{os.getpid()}-{time.monotonic_ns()}"
            _write_new(scratch, content, _shared_mode(files))
            try:
                os.replace(scratch, target)
            except OSError:
                os.unlink(scratch)
                raise


def _tool_version() -> str:
    from . import __version__

    return __version__


def _can_write(folder: str) -> bool:
    while folder and not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        if parent == folder:
            return False
        folder = parent
    return os.access(folder or ".", os.W_OK | os.X_OK)


_PARTS: Mapping[Part, int] = {"head": 0, "links": 1, "facts": 2}


def _checked(content: bytes, checksum: int) -> bytes:
    """Return the content.

    :raises ValueError: if it is not as it was written.
    """
    if crc32(content) != checksum:
        raise ValueError(checksum)
    return content


def _open_own(path: str, user: int) -> BinaryIO:
    """Open a file that ``user`` owns and nobody else can write.

    :raises OSError: if it is another's.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        now = os.fstat(handle)
        shared = hasattr(os, "geteuid") and (now.st_uid != user or now.st_mode & 0o022)
        if shared or not stat.S_ISREG(now.st_mode):
            raise PermissionError(path)
        return open(handle, "rb")
    except OSError:
        os.close(handle)
        raise


def _write_new(path: str, content: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        with open(handle, "wb") as file:
            file.write(content)
    except OSError:
        os.unlink(path)
        raise


def _shared_mode(files: Files) -> int:
    """Return the mode of the cache file: it shows what is in the files to nobody who cannot read them all."""
    mode = 0o644
    for path in files.paths:
        mode &= os.stat(path).st_mode
    return mode | 0o600
