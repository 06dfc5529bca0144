"""Lists from the index alone: the same bytes as Alembic's commands print, or none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from shell import run_indexed as run
from support import Site

from flask_phased_migrate.extension import listing as gate

COMMANDS = (
    ("heads",),
    ("heads", "-v"),
    ("history",),
    ("history", "-v"),
    ("branches",),
    ("branches", "-v"),
    ("show",),
    ("show", "b"),
)

# Name -> revision -> (down_revision, what else the file says).
PLAIN: dict[str, dict[str, tuple[Any, str]]] = {
    "one": {"a": (None, "")},
    "line": {"a": (None, ""), "b": ("a", ""), "c": ("b", "")},
    "names against the order of the files": {"z": (None, ""), "b": ("z", ""), "a": ("b", "")},
    "merged lines": {
        "a": (None, ""),
        "b": ("a", ""),
        "c": ("a", ""),
        "d": ("b", ""),
        "e": (("c", "d"), ""),
        "f": ("e", ""),
    },
    "a dependency": {"a": (None, ""), "b": ("a", ""), "c": ("a", "depends_on = 'b'"), "d": (("b", "c"), "")},
}
OTHER: dict[str, dict[str, tuple[Any, str]]] = {
    "two heads": {"a": (None, ""), "b": ("a", ""), "c": ("a", "")},
    "a label": {"a": (None, "branch_labels = ('x',)"), "b": ("a", "")},
    "a dependency by a part of the id": {
        "a": (None, ""),
        "bb": ("a", ""),
        "c": ("a", "depends_on = 'b'"),
        "d": (("bb", "c"), ""),
    },
    "a computed id": {"a": (None, ""), "b": ("a", "revision = 'b' + ''")},
    "nothing": {},
}
BROKEN: dict[str, dict[str, tuple[Any, str]]] = {
    "no parent": {"a": ("gone", "")},
    "a circle": {"a": ("c", ""), "b": ("a", ""), "c": ("b", "")},
    "a circle beside a line": {"a": (None, ""), "b": ("a", ""), "c": ("d", ""), "d": ("c", "")},
    "itself": {"a": ("a", "")},
    "a sign that may not be": {"a-1": (None, "")},
    "a mistake": {"a": (None, "def upgrade(:")},
}


@pytest.fixture
def write(project: Callable[..., Site], sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Site]:
    """Return what writes a history into a project whose index is in use."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def make(history: dict[str, tuple[Any, str]]) -> Site:
        site = project(sqlite_url)
        for name, (down, more) in history.items():
            doc = f'"""revision {name}\n\nmore of it\n   indented\n"""\n'
            (site.versions / f"{name}_file.py").write_text(
                f"{doc}revision = {name!r}\ndown_revision = {down!r}\n{more}\n"
            )
        return site

    return make


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return for each list that was wanted whether it came from the index alone."""
    found: list[bool] = []
    read = gate.read_listing

    def read_listing(directory: str | None, wanted: Any) -> Any:
        listing = read(directory, wanted)
        found.append(listing is not None)
        return listing

    monkeypatch.setattr(gate, "read_listing", read_listing)
    return found


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_list_from_the_index_is_what_alembic_prints(
    write: Callable[..., Site], listed: list[bool], name: str, command: tuple[str, ...]
) -> None:
    site = write(PLAIN[name])
    expected = run(site, *command, index=False)
    listed.clear()
    assert [run(site, *command) for _ in range(2)] == [expected] * 2
    assert listed == [True, True]


@pytest.mark.parametrize("name", [*OTHER, *BROKEN])
@pytest.mark.parametrize("command", [("heads",), ("history",), ("branches",), ("show", "a")], ids=" ".join)
def test_where_alembic_has_more_to_say_it_is_asked(
    write: Callable[..., Site], listed: list[bool], name: str, command: tuple[str, ...]
) -> None:
    site = write({**OTHER, **BROKEN}[name])
    expected = run(site, *command, index=False)
    assert [run(site, *command) for _ in range(2)] == [expected] * 2
    assert listed == [False] * 3


def ini(line: str) -> Callable[[Site, pytest.MonkeyPatch], None]:
    def change(site: Site, _patch: pytest.MonkeyPatch) -> None:
        file = site.migrations / "alembic.ini"
        file.write_text(file.read_text().replace("[alembic]\n", f"[alembic]\n{line}\n", 1))

    return change


def toml(site: Site, _patch: pytest.MonkeyPatch) -> None:
    site.write("pyproject.toml", "[tool.alembic]\nsourceless = false\n")


def replaced(_site: Site, patch: pytest.MonkeyPatch) -> None:
    import alembic.command
    from alembic.script import ScriptDirectory

    class Own(ScriptDirectory):
        @classmethod
        def from_config(cls, config: Any) -> ScriptDirectory:
            return ScriptDirectory.from_config(config)

    patch.setattr(alembic.command, "ScriptDirectory", Own)


CHANGES = {
    "version_locations": ini("version_locations = %(here)s/versions"),
    "recursive": ini("recursive_version_locations = true"),
    "sourceless": ini("sourceless = false"),
    "in two lines": ini("version_locations =\n    %(here)s/versions"),
    "pyproject.toml": toml,
    "replaced": replaced,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_configuration_with_more_than_a_folder_is_alembics_to_read(
    write: Callable[..., Site], listed: list[bool], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    site = write(PLAIN["line"])
    CHANGES[name](site, monkeypatch)
    assert run(site, "heads").stdout == "c (head)\n"
    assert listed == [False]


def test_a_function_that_changes_the_configuration_is_called(write: Callable[..., Site], listed: list[bool]) -> None:
    calls: list[Any] = []

    def configure(app: Any) -> None:
        app.extensions["migrate"].migrate.configure(lambda config: calls.append(config) or config)

    assert run(write(PLAIN["line"]), "heads", change=configure).stdout == "c (head)\n"
    assert (len(calls), listed) == (1, [False])


@pytest.mark.parametrize(
    "options", [("--config", "migrations/alembic.ini"), ("--quiet",), ("--name", "alembic")], ids=" ".join
)
def test_alembics_options_are_alembics_to_read(
    write: Callable[..., Site], listed: list[bool], options: tuple[str, ...]
) -> None:
    assert run(write(PLAIN["line"]), "heads", *options).status == 0
    assert listed == [False]


def test_a_broken_configuration_is_told_as_ever(write: Callable[..., Site]) -> None:
    site = write(PLAIN["line"])
    (site.migrations / "alembic.ini").write_text("nothing\n")
    assert run(site, "heads") == run(site, "heads", index=False)
    assert run(site, "heads").status == 2
