"""Bundles: the SQL of a range as files for somebody else to run, with a manifest that says what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alembic.util import CommandError

from .environment import revisions_down_to, revisions_up_to
from .errors import MigrateError, UsageError
from .export import ExportRequest, check_order, check_request, heads_after, write_folder
from .extension import Migrate
from .extension.exporting import Export
from .extension.project import Project, Request, check_bind, split_range
from .graph import Graph
from .offline.text import Statement, render_sql
from .operations import resolve_script
from .plan import Direction, History, Record
from .scripts import INTERPRETERS, is_sql

MANIFEST = "manifest.json"
ROLLBACK = "rollback"
PARTS = "parts"
PROGRAMS = "programs"


@dataclass(frozen=True)
class Bundle:
    """The files of a bundle by name, the manifest last. ``scripts`` run between them."""

    files: Mapping[str, bytes]
    scripts: tuple[str, ...]
    no_rollback: str | None


@dataclass
class _Files:
    """Gathers the files of one direction, and in which order what is run. ``prefix`` is their folder."""

    project: Project
    prefix: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    run: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, phase: str, bind: str, statements: Sequence[Statement]) -> None:
        """Add the file of a phase and bind; where it runs programs, also the parts between them."""
        whole = f"{self.prefix}{name}.sql"
        self.content[whole] = _encoded(render_sql(statements))
        if not any(item.kind == "script" for item in statements):
            self.run.append(self._entry(whole, phase, bind, statements))
            return
        hint = [item for item in statements[:1] if item.kind == "comment"]
        for number, part in enumerate(_parts(statements)):
            if isinstance(part, Statement):
                self._add_script(part, bind)
                continue
            file = f"{self.prefix}{PARTS}/{name}.{number // 2 + 1}.sql"
            self.content[file] = _encoded(render_sql(part if number == 0 else [*hint, *part]))
            self.run.append({**self._entry(file, phase, bind, part), "of": whole})

    def _entry(self, file: str, phase: str, bind: str, statements: Iterable[Statement]) -> dict[str, Any]:
        steps: dict[tuple[str, str], list[str]] = {}
        for item in statements:
            if item.revision is not None and item.phase is not None:
                texts = steps.setdefault((item.revision, item.phase), [])
                texts += [item.text] if item.kind in ("sql", "raw") else []
        return {
            "kind": "sql",
            "file": file,
            "sha256": _checksum(self.content[file]),
            "bind": bind,
            "phase": phase,
            "steps": [{"revision": key[0], "phase": key[1], "statements": texts} for key, texts in steps.items()],
        }

    def _add_script(self, item: Statement, bind: str) -> None:
        assert item.path is not None
        content = _read_script(self.project, item.path)
        file = f"{PROGRAMS}/{item.path}"
        self.content[file] = content
        common: dict[str, Any] = {"file": file, "script": item.path, "sha256": _checksum(content), "bind": bind}
        common |= {"revision": item.revision, "phase": item.phase}
        if is_sql(item.path):
            self.run.append({"kind": "sql", **common})
            return
        interpreter: str | None = INTERPRETERS.get(Path(item.path).suffix.lower())
        said = {"interpreter": interpreter, "args": list(item.args), "timeout_s": item.timeout_s}
        self.run.append({"kind": "script", **common, **said})


def _parts(statements: Sequence[Statement]) -> Iterator[Statement | list[Statement]]:
    """Give the statements before, between and after the scripts as lists, and the scripts, in order."""
    part: list[Statement] = []
    for item in statements:
        if item.kind == "script":
            yield part
            yield item
            part = []
        else:
            part.append(item)
    yield part


def make_bundle(project: Project, request: ExportRequest, starts: Mapping[str, History] | None = None) -> Bundle:
    """Return a bundle, made as a whole in memory.

    :param starts: what is known of each bind at the start, in place of what the range says.
    :raises Refused: if a body cannot be exported.
    :raises UsageError: if there is no such phase, bind or dialect.
    """
    phases = (request.phase,) if request.phase is not None else project.phases.names
    project.phases.index(phases[0])
    if starts is None:
        check_request(request)
        export = Export(project, request.bind, request.dialect, heads=request.heads)
        starts = export.starts(request.range, phases[0])
    check_bind(request.bind, tuple(starts))
    revisions = _revisions(project, request, starts)
    if not revisions and request.direction == "upgrade":
        check_order(project, request.range)
    forward = _Files(project)
    _add_phases(forward, request, starts)
    back = _Files(project, f"{ROLLBACK}/")
    reason = _add_rollback(back, request, starts)
    content = {**forward.content, **back.content}
    manifest = {
        "schema": 1,
        "request": _request(request, starts),
        "settings": _settings(project, starts),
        "revisions": revisions,
        "known_revisions": sorted(project.graph.revisions),
        "run": forward.run,
        "rollback": {"run": back.run, "missing": reason},
        "files": {name: _checksum(content[name]) for name in sorted(content)},
    }
    content[MANIFEST] = _as_json({**manifest, "sha256": _checksum(_as_json(manifest))})
    scripts = tuple(str(entry["script"]) for entry in forward.run if "script" in entry)
    return Bundle(content, scripts, reason)


def _add_phases(files: _Files, request: ExportRequest, starts: Mapping[str, History]) -> None:
    phases = files.project.phases.names if request.phase is None else (request.phase,)
    if request.direction == "downgrade":
        phases = tuple(reversed(phases))
    export = Export(files.project, request.bind, request.dialect, histories=starts)
    names: set[str] = set()
    for number, phase in enumerate(phases, start=1):
        exported = export.range(Request(request.range, request.direction, phase, bind=request.bind))
        for bind, statements in exported.items():
            files.add(_unique(f"{number:02d}-{_plain(phase)}.{_plain(bind)}", names), phase, bind, statements)


def _plain(name: str) -> str:
    """Return a phase's or bind's name as a file may have it anywhere."""
    return "".join(one if one.isalnum() or one in "_-.@" else "_" for one in name)


def _unique(name: str, names: set[str]) -> str:
    found, number = name, 2
    while found in names:
        found = f"{name}-{number}"
        number += 1
    names.add(found)
    return found


def _add_rollback(files: _Files, request: ExportRequest, starts: Mapping[str, History]) -> str | None:
    """Add the files that lead back to where the range starts; return why there are none."""
    target = _target_back(files.project, request, starts)
    if not isinstance(target, ExportRequest):
        return target[0]
    ends = {bind: replace(starts[bind], heads=_after(files.project, request, starts[bind])) for bind in starts}
    try:
        _add_phases(files, target, ends)
    except (MigrateError, CommandError) as error:
        files.content.clear()
        files.run.clear()
        # The bundle must not depend on where the project is.
        return str(error).replace(f"{files.project.folder}{os.sep}", "")
    return None


def _target_back(project: Project, request: ExportRequest, starts: Mapping[str, History]) -> ExportRequest | tuple[str]:
    """Return the request of the way back, or why there is none."""
    heads = {history.heads for history in starts.values()}
    if any(history.records for history in starts.values()):
        return ("a revision is in flight at the start",)
    if len(heads) != 1 or len(next(iter(heads))) > 1:
        return ("the start is not one revision",)
    start = next(iter(next(iter(heads))), "base")
    direction: Direction = "downgrade" if request.direction == "upgrade" else "upgrade"
    back = replace(request, range=start, direction=direction)
    for history in starts.values():
        after = _after(project, request, history)
        if set(_covered(project, request, history.heads)) != set(_covered(project, back, after)):
            return (f"the way back to {start} undoes other revisions than those of the range",)
    return back


def _covered(project: Project, request: ExportRequest, heads: frozenset[str]) -> tuple[str, ...]:
    find = revisions_up_to if request.direction == "upgrade" else revisions_down_to
    return find(project.script, split_range(request.range)[1], sorted(heads))


def _after(project: Project, request: ExportRequest, history: History) -> frozenset[str]:
    return heads_after(project, history.heads, split_range(request.range)[1], request.direction)


# -- the manifest -------------------------------------------------------------------------------------


def _request(request: ExportRequest, starts: Mapping[str, History]) -> dict[str, Any]:
    return {
        "range": request.range,
        "direction": request.direction,
        "phase": request.phase,
        "bind": request.bind,
        "dialect": request.dialect,
        "starts": {
            bind: {
                "heads": sorted(history.heads),
                "in_flight": [[*key, record.status] for key, record in sorted(history.records.items())],
            }
            for bind, history in starts.items()
        },
    }


def _settings(project: Project, starts: Mapping[str, History]) -> dict[str, Any]:
    phases = project.phases
    return {
        "phases": list(phases.names),
        "default_phase": phases.default,
        "boundary": phases.boundary,
        "dialects": {bind: history.dialect for bind, history in starts.items()},
    }


def _revisions(project: Project, request: ExportRequest, starts: Mapping[str, History]) -> list[dict[str, Any]]:
    """Return the revisions of the range, oldest first, with the checksums of their files."""
    covered = {name for history in starts.values() for name in _covered(project, request, history.heads)}
    return [
        {
            "revision": name,
            "down_revision": list(project.graph[name].down),
            "message": project.graph[name].message,
            "file": Path(os.path.relpath(project.graph[name].path, project.folder)).as_posix(),
            "sha256": _revision_checksum(project.graph, name),
        }
        for name in project.graph.order(covered)
    ]


def _revision_checksum(graph: Graph, name: str) -> str:
    return _checksum(Path(graph[name].path).read_bytes())


def _read_script(project: Project, path: str) -> bytes:
    try:
        return resolve_script(project.folder, path).read_bytes()
    except OSError as error:
        raise UsageError(f"The script {path} cannot be read: {error.strerror}. Look at its owner and mode.") from error


def _as_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode("ascii")


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# -- on disk ------------------------------------------------------------------------------------------


def write_bundle(migrate: Migrate, directory: str | None, folder: str, request: ExportRequest, *, x_arg: Any) -> Bundle:
    """Write a bundle into ``folder``, as a whole or not at all, in the place of an earlier one; return it.

    :raises UsageError: if the folder has files that are no bundle's, or cannot be written; and as :func:`make_bundle`.
    """
    bundle = make_bundle(migrate.open_project(config=migrate.get_config(directory, x_arg=x_arg)), request)
    write_folder(folder, bundle.files, replaces=_is_bundle)
    return bundle


def _is_bundle(folder: Path) -> bool:
    """Return whether a folder has a manifest and no file that it does not name."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    files = found.get("files") if isinstance(found, dict) else None
    return isinstance(files, dict) and _files_in(folder) <= {MANIFEST, *files}


def _files_in(folder: Path) -> set[str]:
    """Return the names of what is in a folder and below, empty folders left out; a link is what it is."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def verify_bundle(migrate: Migrate, directory: str | None, folder: str, *, x_arg: Any) -> tuple[str, ...]:
    """Return what differs between a bundle and what would be written now, a line each; nothing where it still holds.

    No database is asked: where the range started is in the manifest.

    :raises UsageError: if there is no bundle in ``folder``.
    """
    home = Path(folder)
    try:
        written = (home / MANIFEST).read_bytes()
    except OSError as error:
        raise UsageError(
            f"There is no bundle in {folder}: {MANIFEST} cannot be read ({error.strerror}). Write one: flask db sql "
            f"--split {folder} START:END"
        ) from error
    manifest = _read_manifest(written)
    if manifest is None:
        return (f"changed: {MANIFEST} (what it says of itself is not true)",)
    project = migrate.open_project(config=migrate.get_config(directory, x_arg=x_arg))
    found = [*_changed_files(home, manifest["files"]), *_changed_sources(project, manifest, written)]
    return tuple(dict.fromkeys(found))


def _read_manifest(written: bytes) -> dict[str, Any] | None:
    """Return a manifest as it was written; None where its own checksum is another."""
    try:
        manifest = json.loads(written)
        checksum = manifest.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if checksum == _checksum(_as_json(manifest)) else None


def _changed_files(home: Path, files: Mapping[str, str]) -> Iterator[str]:
    there = _files_in(home)
    for name, checksum in files.items():
        if name not in there:
            yield f"missing: {name}"
        elif (home / name).is_symlink() or not (home / name).is_file():
            yield f"changed: {name} (it is no file any more)"
        elif _checksum((home / name).read_bytes()) != checksum:
            yield f"changed: {name}"
    for name in sorted(there - {MANIFEST, *files}):
        yield f"extra: {name}"


def _changed_sources(project: Project, manifest: Mapping[str, Any], written: bytes) -> Iterator[str]:
    found = [*_edited_revisions(project, manifest["revisions"]), *_edited_scripts(project, manifest)]
    phases = project.phases
    now = {"phases": list(phases.names), "default_phase": phases.default, "boundary": phases.boundary}
    for name, value in now.items():
        if manifest["settings"][name] != value:
            found.append(f"settings: {name} was {_words(manifest['settings'][name])}, and is {_words(value)}")
    yield from found
    asked = manifest["request"]
    request = ExportRequest(**{name: asked[name] for name in ("range", "direction", "phase", "bind", "dialect")})
    try:
        starts = _starts(manifest, project, request)
        told = {item["revision"] for item in manifest["revisions"]}
        new = [item for item in _revisions(project, request, starts) if item["revision"] not in told]
        yield from (f"new: revision {item['revision']} ({item['file']}) is in the range now" for item in new)
        if not new:
            bundle = make_bundle(_without_new(project, manifest["known_revisions"]), request, starts)
            yield from _differences(manifest, written, bundle, quiet=bool(found))
    except (MigrateError, CommandError) as error:
        yield f"cannot be made again: {error}"


def _without_new(project: Project, known: Sequence[str]) -> Project:
    """Return the project without the revisions that came after a bundle was made: its guards do not know them."""
    graph = project.graph
    kept = graph.closure(name for name in known if name in graph)
    return replace(project, graph=Graph({name: item for name, item in graph.revisions.items() if name in kept}))


def _starts(manifest: Mapping[str, Any], project: Project, request: ExportRequest) -> dict[str, History]:
    """Return where the bundle's range started, on today's binds and engines."""
    told = manifest["request"]["starts"]
    today = Export(project, request.bind, request.dialect, heads=frozenset()).starts(
        "base:head", project.phases.names[0]
    )
    starts = {}
    for bind, history in today.items():
        start = told.get(bind, {"heads": [], "in_flight": []})
        records = {(name, phase): Record(name, phase, status) for name, phase, status in start["in_flight"]}
        starts[bind] = replace(history, heads=frozenset(start["heads"]), records=records)
    return starts


def _edited_revisions(project: Project, revisions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for item in revisions:
        name = item["revision"]
        if name not in project.graph:
            yield f"missing: revision {name} ({item['file']})"
        elif _revision_checksum(project.graph, name) != item["sha256"]:
            yield f"edited: revision {name} ({item['file']})"


def _edited_scripts(project: Project, manifest: Mapping[str, Any]) -> Iterator[str]:
    for entry in (*manifest["run"], *manifest["rollback"]["run"]):
        if "script" not in entry:
            continue
        try:
            same = _checksum(_read_script(project, entry["script"])) == entry["sha256"]
        except MigrateError:
            yield f"missing: script {entry['script']}"
        else:
            if not same:
                yield f"edited: script {entry['script']}"


def _differences(manifest: Mapping[str, Any], written: bytes, bundle: Bundle, *, quiet: bool) -> Iterator[str]:
    """Give what would be written otherwise now.

    :param quiet: whether a cause is told already, so that the manifest's own change is no news.
    """
    now = json.loads(bundle.files[MANIFEST])
    before, after = manifest["settings"]["dialects"], now["settings"]["dialects"]
    if before != after:
        quiet = True
        yield f"settings: the binds were {_words(before)}, and are {_words(after)}"
    for name in sorted({*manifest["files"], *now["files"]}):
        if manifest["files"].get(name) != now["files"].get(name):
            quiet = True
            yield f"differs: {name} (it would be written otherwise now)"
    if not quiet and written != bundle.files[MANIFEST]:
        yield f"changed: {MANIFEST}"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({item})" for name, item in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
