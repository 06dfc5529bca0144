"""Our loader of revision files against Alembic's own: the same scripts, in the same order."""

from __future__ import annotations

import os
import random
import shutil
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError

from flask_phased_migrate.loader import Indexing, load_module, load_scripts

BODY = 'revision = "{name}"\ndown_revision = None\n\n\ndef upgrade():\n    pass\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a script location with two folders of revisions, in which nearly nothing is regular."""
    (tmp_path / "env.py").touch()
    for where, names in {
        "versions": ["b.py", "a.py", "ünï çode.py", "two.dots.py", ".#a.py", "__init__.py", "__init__more.py", "c.txt"],
        "versions/inner": ["d.py", "__pycache__/e.py"],
        "versions/aside": ["f.py"],
        "more": ["g.py", "abc123.py"],
    }.items():
        for name in names:
            path = tmp_path / where / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(BODY.format(name=path.stem))
    (tmp_path / "more" / "abc123.py").write_text("down_revision = None\n")
    (tmp_path / "more" / "link.py").symlink_to(tmp_path / "elsewhere.py")
    (tmp_path / "elsewhere.py").write_text(BODY.format(name="linked"))
    (tmp_path / "more" / "again.py").symlink_to(tmp_path / "versions" / "a.py")
    return tmp_path


def described(scripts: Iterable[Script]) -> list[tuple[object, ...]]:
    return [
        (
            script.revision,
            script.down_revision,
            str(script.path),
            script.module.__name__,
            str(script.module.__file__),
            str(script.module.__cached__),
            type(script.module.__loader__),
            script.module.__spec__ is not None and script.module.__spec__.name,
        )
        for script in scripts
    ]


def alembics(directory: ScriptDirectory) -> Iterable[Script]:
    return directory._load_revisions()


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("locations", [["versions"], ["versions", "more"], ["more", "nowhere", "versions", "more"]])
def test_the_same_scripts_as_alembic(folder: Path, locations: list[str], recursive: bool) -> None:
    directory = ScriptDirectory(
        str(folder),
        version_locations=[str(folder / name) for name in locations],
        recursive_version_locations=recursive,
    )
    with warnings.catch_warnings(record=True) as expected_warnings:
        warnings.simplefilter("always")
        expected = described(alembics(directory))
    with warnings.catch_warnings(record=True) as found_warnings:
        warnings.simplefilter("always")
        found = described(load_scripts(directory, lambda: pytest.fail("Alembic's own loader was used")))
    assert found == expected
    assert len(found) > 3
    assert [str(item.message) for item in found_warnings] == [str(item.message) for item in expected_warnings]


@pytest.mark.parametrize("recursive", [False, True])
def test_the_index_gives_the_same_scripts_as_alembic(
    folder: Path, recursive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (folder / "more" / "again.py").unlink()
    directory = ScriptDirectory(
        str(folder),
        version_locations=[str(folder / name) for name in ("more", "nowhere", "versions")],
        recursive_version_locations=recursive,
    )
    expected = list(alembics(directory))
    loaded: list[str] = []
    indexing = Indexing(lambda path: (loaded.append(path), load_module(path))[1])
    for _ in range(2):
        loaded.clear()
        found = list(load_scripts(directory, lambda: pytest.fail("Alembic's own loader was used"), indexing))
        assert [str(script) for script in found] == [str(script) for script in expected]
        assert [vars(script).get("_orig_branch_labels") for script in found] == [()] * len(expected)
        assert loaded == []
        assert described(found) == described(expected)
        assert len(loaded) == len(expected) - 1
    # Its id is in its name only.
    assert [type(script) for script in found].count(Script) == 1


def test_the_order_is_alembics_whatever_the_order_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    names = [f"{number:x}_{word}.py" for number in range(40) for word in ("Up", "down", "_x")]
    random.Random(7).shuffle(names)
    for name in names:
        (tmp_path / "versions" / name).write_text(BODY.format(name=name))
    directory = ScriptDirectory(str(tmp_path))
    found = [script.revision for script in load_scripts(directory, list)]
    assert found == [script.revision for script in alembics(directory)]
    assert len(found) == 120


def test_a_file_without_a_revision_is_an_error_with_alembics_words(tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "nothing.py").write_text("")
    directory = ScriptDirectory(str(tmp_path))
    with pytest.raises(CommandError) as expected:
        list(alembics(directory))
    with pytest.raises(CommandError) as caught:
        list(load_scripts(directory, list))
    assert str(caught.value) == str(expected.value)


def test_an_application_that_replaces_alembics_loader_keeps_its_own(folder: Path) -> None:
    class Own(ScriptDirectory):
        def _load_revisions(self) -> Iterable[Script]:
            return iter(())

    directory = Own(str(folder))
    assert list(load_scripts(directory, directory._load_revisions)) == []


def test_an_application_that_replaces_how_a_file_is_loaded_keeps_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Script, "_from_path", classmethod(lambda *_: None))
    directory = ScriptDirectory(str(folder))
    assert list(load_scripts(directory, directory._load_revisions)) == []


def test_compiled_files_are_left_to_alembic(tmp_path: Path) -> None:
    import py_compile

    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "a.py").write_text(BODY.format(name="a"))
    py_compile.compile(str(versions / "a.py"), cfile=str(versions / "a.pyc"))
    os.remove(versions / "a.py")
    shutil.rmtree(versions / "__pycache__", ignore_errors=True)
    directory = ScriptDirectory(str(tmp_path), sourceless=True)
    found = [script.revision for script in load_scripts(directory, directory._load_revisions)]
    assert found == ["a"]
