"""The index of revision files: what it says is what an import says, it is never stale and never in the way."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_phased_migrate import index as index_module
from flask_phased_migrate.errors import RevisionFileError
from flask_phased_migrate.graph import Revision, build_graph
from flask_phased_migrate.index import Index, list_files, plain_order, read_facts, read_index
from flask_phased_migrate.loader import load_module
from flask_phased_migrate.phases import Bodies, PhasedPart, Phases
from flask_phased_migrate.revision_file import RevisionFile

PHASES = Phases()
HEADER = '"""first\n\nmore\n"""\nrevision = "a1"\ndown_revision = None\n'
PHASED = HEADER + "from alembic import op\nfrom flask_phased_migrate import phased\n"
WORK = "def upgrade():\n    op.execute('1')\n"

# Name -> source of files that are read without an import.
KNOWN: dict[str, str | bytes] = {
    "as Alembic writes it": HEADER + "branch_labels = None\ndepends_on = None\n" + WORK,
    "annotated": '"""m"""\nfrom typing import Union\nrevision: str = "a1"\ndown_revision: Union[str, None] = "b"\n',
    "no docstring": 'revision = "a1"\ndown_revision = "b"\n',
    "a comment and a licence first": "# Copyright\n# (c)\n\n" + HEADER,
    "future": '"""m"""\nfrom __future__ import annotations\nrevision = "a1"\ndown_revision = None\n',
    "a text that is no docstring": 'import os\n"""m"""\nrevision = "a1"\ndown_revision = None\n',
    "indented docstring": '"""\n    one\n\n      two\n    three\n"""\nrevision = "a1"\ndown_revision = None\n',
    "tuples": HEADER.replace("None", '("b", "c")') + 'branch_labels = ("x", "w")\ndepends_on = ("d",)\n',
    "lists": HEADER.replace("None", '["b", "c"]') + 'branch_labels = ["x"]\ndepends_on = []\n',
    "one name each": HEADER.replace("None", '"b"') + 'branch_labels = "x"\ndepends_on = "d"\n',
    "joined text": HEADER.replace('"a1"', '"a" "1"'),
    "CRLF": (HEADER + WORK).replace("\n", "\r\n").encode(),
    "BOM": b"\xef\xbb\xbf" + HEADER.encode(),
    "latin-1": b"# -*- coding: latin-1 -*-\n" + HEADER.replace("first", "caf\xe9").encode("latin-1"),
    "phase": HEADER + 'phase = "final"\n' + WORK,
    "independent": HEADER + 'independent_of = ("b",)\n',
    "no functions": HEADER,
    "pass": HEADER + "def upgrade():\n    pass\ndef downgrade():\n    '''nothing'''\n    ...\n",
    "arguments": HEADER + "def upgrade(engine_name):\n    globals_ = engine_name\n",
    "with": HEADER + "def upgrade():\n    with op.batch_alter_table('t') as batch:\n        pass\n",
    "try": HEADER + "def upgrade():\n    try:\n        op.x()\n    except ValueError:\n        pass\n",
    "names of others": HEADER + "import os\nhelper = os.sep\nx, y = 1, 2\nif x:\n    z = 3\n" + WORK,
    "one phase": PHASED + "@phased('final')\n" + WORK,
    "functions": PHASED
    + "@phased('before-deploy')\n"
    + WORK
    + "@upgrade.phase('final')\ndef last():\n    op.y()\n@upgrade.phase('after-deploy')\ndef middle():\n    pass\n",
    "binds": PHASED
    + "@phased('before-deploy', bind='b')\n"
    + WORK
    + "@upgrade.phase('before-deploy')\ndef other(engine_name):\n    op.y()\n"
    + "@upgrade.phase('final')\ndef last():\n    op.y()\n@phased('final')\ndef downgrade():\n    pass\n",
    "generator": PHASED + "@phased\ndef upgrade():\n    op.x()\n    yield\n    op.y()\n    yield\n",
    "named segments": PHASED
    + "@phased('after-deploy', 'final')\ndef upgrade():\n    op.x()\n    yield\n    op.y()\n"
    + "@phased('after-deploy', 'final', bind='b')\ndef downgrade():\n    op.x()\n    yield\n",
    "segments out of order": PHASED + "@phased('final', 'after-deploy')\ndef upgrade():\n    op.x()\n    yield\n",
    "too few segments": PHASED + "@phased\ndef upgrade():\n    op.x()\n    yield\n",
    "unknown phase": PHASED + "@phased('never')\n" + WORK,
    "assured": HEADER + "from flask_phased_migrate import assured\n" + WORK,
}

# Name -> source of files of which only an import tells, or whose import fails.
UNKNOWN: dict[str, str | bytes] = {
    "no revision": '"""m"""\ndown_revision = None\n',
    "no down_revision": '"""m"""\nrevision = "a1"\n',
    "computed": HEADER.replace('"a1"', '"a%d" % 1'),
    "formatted": HEADER.replace('"a1"', 'f"a{1}"'),
    "a name": "base = 'b'\n" + HEADER.replace("None", "base"),
    "a name of another": HEADER + "import os\nbranch_labels = (os.sep,)\n",
    "a set": HEADER + "branch_labels = {'x'}\n",
    "a number": HEADER.replace('"a1"', "17"),
    "empty": HEADER.replace('"a1"', '""'),
    "twice": HEADER + 'revision = "b2"\n',
    "twice in one": HEADER.replace("revision = None", "revision = other = None"),
    "added to": HEADER + 'revision += "x"\n',
    "under if": '"""m"""\nrevision = "a1"\nif True:\n    down_revision = "b"\ndown_revision = None\n',
    "under if, after the functions": HEADER + WORK + "if True:\n    revision = 'c'\n",
    "in a loop": HEADER + "for revision in 'xy':\n    pass\n",
    "unpacked": '"""m"""\nrevision, down_revision = "a1", None\n',
    "deleted": HEADER + "depends_on = 'x'\ndel depends_on\n",
    "walrus": HEADER + "x = (revision := 'b2')\n",
    "walrus of a default": HEADER + "def f(x=(revision := 'b2')):\n    pass\n",
    "star": HEADER + "from os.path import *\n",
    "imported": '"""m"""\nfrom keyword import kwlist as depends_on\n' + HEADER,
    "as": HEADER + "with open(__file__) as revision:\n    pass\n",
    "caught": HEADER + "try:\n    1 / 0\nexcept ZeroDivisionError as branch_labels:\n    pass\n",
    "a class": HEADER + "class phase:\n    pass\n",
    "global": HEADER + "def f():\n    global revision\n    revision = 'b2'\nf()\n",
    "globals": HEADER + "globals()['revision'] = 'b2'\n",
    "exec": HEADER + "exec('revision = \"b2\"')\n",
    "doc": HEADER + "__doc__ = 'other'\n",
    "getattr": HEADER + "def __getattr__(name):\n    raise AttributeError(name)\n",
    "phase that is none": HEADER + "phase = 3\n",
    "conditional function": HEADER + "if True:\n    def upgrade():\n        pass\n",
    "assigned function": HEADER + "upgrade = print\n",
    "async": HEADER + "async def upgrade():\n    pass\n",
    "undecorated generator": HEADER + "def upgrade():\n    yield\n",
    "another decorator": HEADER + "import functools\n@functools.cache\n" + WORK,
    "phased of another": PHASED.replace("phased\n", "phased as p\n") + "phased = p\n@phased('final')\n" + WORK,
    "two functions of a phase": PHASED
    + "@phased('final')\n"
    + WORK
    + "@upgrade.phase('final')\ndef again():\n    op.y()\n",
    "no phase": PHASED + "@phased\n" + WORK,
    "computed phase": PHASED + "@phased('fin' + 'al')\n" + WORK,
    "changed later": PHASED + "@phased('final')\n" + WORK + "upgrade.parts.clear()\n",
    "kept under another name": PHASED + "@phased('final')\n" + WORK + "other = upgrade\n",
    "hides the others": PHASED
    + "@phased('final')\n"
    + WORK
    + "@upgrade.phase('after-deploy')\ndef upgrade():\n    op.y()\n",
    "may do nothing": HEADER + "def upgrade():\n    if 0:\n        op.x()\n",
    "yield in a loop": PHASED + "@phased\ndef upgrade():\n    for x in 'ab':\n        yield\n",
    "escape that is none": HEADER + WORK.replace("1", r"\d"),
    "syntax error": HEADER + "def upgrade(:\n",
    "wrong indentation": HEADER + "def upgrade():\npass\n",
    "zero byte": HEADER.encode() + b"\0",
    "another encoding": b"\xff\xfe" + HEADER.encode("utf-16-le"),
    "nothing": "",
}


def write(path: Path, source: str | bytes) -> Path:
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    return path


class Imported:
    """What build_graph() asks of an Alembic script, of a file that is imported."""

    def __init__(self, path: Path) -> None:
        self.module = load_module(str(path))
        self.path = str(path)
        self.revision = self.module.revision
        self.down_revision = self.module.down_revision
        self.dependencies = getattr(self.module, "depends_on", None)
        self.longdoc = (self.module.__doc__ or "").strip()
        self.doc = self.longdoc.split("\n\n")[0]


def described(revision: Revision) -> dict[str, Any]:
    """Return all that a revision says, without its functions."""
    return {
        **{name: getattr(revision, name) for name in ("id", "down", "labels", "message", "doc", "path")},
        "independent_of": revision.attributes.get("independent_of"),
        "upgrade": described_bodies(revision.upgrade),
        "downgrade": described_bodies(revision.downgrade),
    }


def described_bodies(bodies: Bodies) -> tuple[Any, ...]:
    parts = [
        (part.phase, part.bind, part.segment, part.segments, part.takes_arguments)
        if not isinstance(part.function, PhasedPart)
        else (part.phase, part.bind, part.segment, part.segments, None)
        for part in bodies.parts
    ]
    return (parts, bodies.phased, bodies.missing, bodies.problem, bodies.named)


def revision_of(script: Any, phases: Phases) -> Revision:
    return build_graph([script, *map(_Other, "bcd")], phases, str)[script.revision]


class _Other:
    """A revision that another names."""

    def __init__(self, name: str) -> None:
        self.revision, self.path, self.doc, self.longdoc = name, name, name, name
        self.down_revision = self.dependencies = None
        self.module = object()

    def read_revision(self, _phases: Phases) -> Revision:
        return Revision(self.revision)


@pytest.mark.parametrize("name", KNOWN)
def test_what_the_index_says_is_what_an_import_says(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "1_revision.py", KNOWN[name])
    facts = read_facts(path.read_bytes())
    assert facts is not None
    imported: list[str] = []

    def load(at: str) -> Any:
        imported.append(at)
        return load_module(at)

    file = RevisionFile(str(path), facts, load)
    for phases in (PHASES, Phases(("after-deploy", "final"), "final", "after-deploy")):
        found, expected = revision_of(file, phases), revision_of(Imported(path), phases)
        assert found.upgrade.phases("default") == expected.upgrade.phases("default")
        assert found.depends_on == expected.depends_on
        assert imported in ([], [str(path)])
        assert described(found) == described(expected)
    assert facts.mentions_assured is (b"assured" in path.read_bytes())


@pytest.mark.parametrize("name", [name for name in KNOWN if "segments" not in name and name != "generator"])
def test_a_revision_is_not_imported_for_what_the_index_knows(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "1_revision.py", KNOWN[name])
    facts = read_facts(path.read_bytes())
    assert facts is not None
    found = revision_of(RevisionFile(str(path), facts, lambda at: pytest.fail(f"{at} was imported")), PHASES)
    assert (found.id, found.message, found.path) == ("a1", facts.message, str(path))
    assert isinstance(found.upgrade.phases("b") + found.downgrade.phases("b") + found.independent_of, tuple)


@pytest.mark.parametrize("name", UNKNOWN)
def test_nothing_is_guessed_of_a_file_that_only_an_import_can_read(name: str) -> None:
    source = UNKNOWN[name]
    assert read_facts(source.encode() if isinstance(source, str) else source) is None


def test_the_revisions_of_the_example_are_all_known(tmp_path: Path) -> None:
    versions = Path(__file__).parent.parent / "example_app" / "migrations" / "versions"
    paths = [path for path in sorted(versions.glob("*.py")) if not path.name.startswith("__init__")]
    for path in paths:
        facts = read_facts(path.read_bytes())
        assert facts is not None, path
        imported = Imported(path)
        assert (facts.revision, facts.doc) == (imported.revision, imported.longdoc)
    assert len(paths) > 2


# -- the files of a folder ----------------------------------------------------------------------------


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with three revision files, two of which the index can read."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    folder = tmp_path / "versions"
    folder.mkdir()
    write(folder / "1.py", HEADER)
    write(folder / "2.py", HEADER.replace("a1", "a2").replace("None", '"a1"'))
    write(folder / "3.py", HEADER.replace('"a1"', '"a%d" % 3'))
    return folder


def later(seconds: float) -> Callable[[], int]:
    """Return a clock that is so much ahead of the files' times."""
    import time

    return lambda: time.time_ns() + int(seconds * 1e9)


def ids(found: Index | None) -> list[str | None] | None:
    if found is None:
        return None
    assert [facts and facts[:5] for facts in found.facts] == list(found.links)
    return [links[0] if links else None for links in found.links]


def cache_file(versions: Path) -> Path:
    (found,) = (versions / "__pycache__").glob("index.*.flask_phased_migrate-*")
    return found


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the sources that are read, as they are."""
    seen: list[bytes] = []

    def read(source: bytes) -> Any:
        seen.append(source)
        return read_facts(source)

    monkeypatch.setattr(index_module, "read_facts", read)
    return seen


def test_the_second_process_reads_no_file(versions: Path, parsed: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(read_index([versions], clock_ns=later(10))) == ["a1", "a2", None]
    assert len(parsed) == 3
    monkeypatch.setattr(index_module, "_read_file", lambda *_: pytest.fail("a file was read"))
    assert ids(read_index([versions], clock_ns=later(11))) == ["a1", "a2", None]


def change_keeping_size_and_times(file: Path) -> None:
    before = file.stat()
    write(file, file.read_text().replace("a1", "b7"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_keeping_size_and_times(file: Path) -> None:
    other = write(file.with_suffix(".new"), file.read_text().replace("a1", "b7"))
    shutil.copystat(file, other)
    os.replace(other, file)


@pytest.mark.parametrize("change", [change_keeping_size_and_times, replace_keeping_size_and_times])
@pytest.mark.parametrize("ahead_s", [0, 10])
def test_a_change_that_keeps_size_and_time_is_seen(
    versions: Path, change: Callable[[Path], None], ahead_s: float
) -> None:
    read_index([versions], clock_ns=later(ahead_s))
    change(versions / "1.py")
    assert ids(read_index([versions], clock_ns=later(20))) == ["b7", "a2", None]


def test_a_change_in_the_same_tick_of_the_clock_is_seen(versions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = list_files([versions])
    monkeypatch.setattr(index_module, "list_files", lambda *_, **__: frozen)
    assert ids(read_index([versions])) == ["a1", "a2", None]
    write(versions / "1.py", HEADER.replace("a1", "b7"))
    assert ids(read_index([versions])) == ["b7", "a2", None]


def test_other_times_with_the_same_content_are_not_read_again(versions: Path, parsed: list[bytes]) -> None:
    read_index([versions], clock_ns=later(10))
    parsed.clear()
    for file in versions.glob("*.py"):
        os.utime(file, (1, 1))
    assert ids(read_index([versions], clock_ns=later(20))) == ["a1", "a2", None]
    assert parsed == []


def test_new_and_missing_files_are_seen(versions: Path) -> None:
    read_index([versions], clock_ns=later(10))
    (versions / "1.py").unlink()
    write(versions / "0.py", HEADER.replace("a1", "c3"))
    assert ids(read_index([versions], clock_ns=later(20))) == ["c3", "a2", None]


def test_an_index_is_not_begun_for_a_command_that_imports_the_files_anyway(versions: Path) -> None:
    assert read_index([versions], begins=False) is None
    assert list(versions.glob("__pycache__/index.*")) == []
    read_index([versions])
    assert ids(read_index([versions], begins=False)) == ["a1", "a2", None]


def test_python_s_switch_for_writing_compiled_files_is_respected(
    versions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert read_index([versions]) is None
    assert not (versions / "__pycache__").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(os.urandom(5000)),
        lambda file: file.write_bytes(file.read_bytes()[:-7]),
        lambda file: file.write_bytes(file.read_bytes() + b"more"),
        lambda file: file.write_bytes(file.read_bytes().replace(b"a2", b"x9")),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: (file.unlink(), file.symlink_to(__file__)),
        lambda file: (file.unlink(), os.mkfifo(file)),
        lambda file: file.chmod(0o666),
    ],
    ids=["empty", "garbage", "cut off", "longer", "changed", "a folder", "a link", "a pipe", "others may write"],
)
def test_a_cache_file_that_cannot_be_believed_is_not(
    versions: Path, spoil: Callable[[Path], Any], parsed: list[bytes]
) -> None:
    read_index([versions], clock_ns=later(10))
    parsed.clear()
    spoil(cache_file(versions))
    assert ids(read_index([versions], clock_ns=later(20))) == ["a1", "a2", None]
    assert len(parsed) == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give a file away")
def test_what_another_user_wrote_is_not_believed(versions: Path, parsed: list[bytes]) -> None:
    read_index([versions], clock_ns=later(10))
    os.chown(cache_file(versions), 12345, -1)
    parsed.clear()
    assert ids(read_index([versions], clock_ns=later(20))) == ["a1", "a2", None]
    assert len(parsed) == 3


def test_what_the_superuser_wrote_is_believed_by_all(
    versions: Path, parsed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only the superuser can write such a file")
    read_index([versions], clock_ns=later(10))
    parsed.clear()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert ids(read_index([versions], clock_ns=later(20))) == ["a1", "a2", None]
    assert parsed == []


@pytest.mark.parametrize("name", ["open", "replace", "makedirs"])
def test_an_error_while_writing_is_nobody_s_problem(versions: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise PermissionError("read-only")

    monkeypatch.setattr(os, name, fail)
    assert ids(read_index([versions])) == ["a1", "a2", None]
    monkeypatch.undo()
    assert [path.name for path in versions.glob("__pycache__/index.*")] == []


def test_a_folder_that_cannot_be_written_has_no_index(versions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert read_index([versions]) is None


def test_the_cache_file_shows_nothing_to_those_who_cannot_read_the_revisions(versions: Path) -> None:
    read_index([versions])
    assert stat.S_IMODE(cache_file(versions).stat().st_mode) == 0o644 & ~_umask()
    (versions / "2.py").chmod(0o600)
    read_index([versions], clock_ns=later(10))
    assert stat.S_IMODE(cache_file(versions).stat().st_mode) == 0o600


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_that_is_met_twice_is_left_to_alembic_which_warns(versions: Path) -> None:
    (versions / "9.py").symlink_to(versions / "1.py")
    assert read_index([versions]) is None


def test_an_index_of_other_locations_is_not_used(versions: Path, parsed: list[bytes]) -> None:
    read_index([versions], clock_ns=later(10))
    parsed.clear()
    assert ids(read_index([versions, versions.parent / "more"], clock_ns=later(20))) == ["a1", "a2", None]
    assert len(parsed) == 3


def test_a_module_that_says_something_else_than_the_index_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "1.py", HEADER + WORK)
    facts = read_facts(path.read_bytes())
    assert facts is not None
    write(path, (HEADER + WORK).replace("None", '"b"'))
    found = revision_of(RevisionFile(str(path), facts, load_module), PHASES)
    with pytest.raises(RevisionFileError, match="has become another while it was being read"):
        assert found.upgrade.body("default", "before-deploy").function


def test_a_list_of_heads_reads_no_more_than_the_head(versions: Path, parsed: list[bytes]) -> None:
    (versions / "3.py").unlink()
    read_index([versions], clock_ns=later(10))
    parsed.clear()
    file = cache_file(versions)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    found = read_index([versions], wanted="head", clock_ns=later(20))
    assert found is not None
    assert (found.head, found.is_line, parsed) == ("a2", True, [])
    # Who wants the rest does not get it from a file that is damaged there.
    assert ids(read_index([versions], clock_ns=later(20))) == ["a1", "a2"]
    assert len(parsed) == 2


@pytest.mark.parametrize("wanted", ["head", "links", "facts"])
def test_a_changed_file_changes_the_head_whatever_is_wanted(versions: Path, wanted: Any) -> None:
    (versions / "3.py").unlink()
    read_index([versions], wanted=wanted, clock_ns=later(10))
    write(versions / "4.py", HEADER.replace("a1", "a4").replace("None", '"a2"'))
    found = read_index([versions], wanted=wanted, clock_ns=later(20))
    assert found is not None
    assert found.head == "a4"
    assert [links[0] for links in found.newest_first] == ["a4", "a2", "a1"]


def row(name: str, *down: str, needs: tuple[str, ...] = (), labels: tuple[str, ...] = ()) -> Any:
    return (name, down, needs, labels, "")


@pytest.mark.parametrize(
    ("links", "order"),
    [
        ((), None),
        ((row("a"),), (0,)),
        ((row("b", "a"), row("a")), (0, 1)),
        ((row("a"), row("b", "a"), row("c", "a"), row("d", "b", "c")), (3, 1, 2, 0)),
        ((row("a"), row("b", "a"), row("c", "a")), None),
        ((row("a"), row("b", "a", labels=("x",))), None),
        ((row("a"), row("b", "a", needs=("x",))), None),
        ((row("a"), row("b", "a", needs=("a",))), (1, 0)),
        ((row("a"), row("a")), None),
        ((row("a", "b"), row("b", "a")), None),
        ((row("a"), row("b", "a", "a")), None),
        ((row("a"), row("b", "x")), None),
        ((row("a"), row("b", "a"), row("c", "d"), row("d", "c")), None),
        ((row("a"), None), None),
        ((row("a-b"),), None),
    ],
)
def test_the_order_is_known_of_plain_histories_only(links: tuple[Any, ...], order: tuple[int, ...] | None) -> None:
    assert plain_order(links) == order
