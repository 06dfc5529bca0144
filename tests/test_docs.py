"""The README's five-minute example is executed from its own code blocks; its promises are checked against the files."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import ROOT

README = (ROOT / "README.rst").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"^\.\. code-block:: (?P<language>\w+)\n(?P<options>(?:   :.*\n)*)\n(?P<text>(?:(?:   .*)?\n)+)", re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A code block: ``options`` by name, ``text`` without the indentation."""

    language: str
    options: dict[str, str]
    text: str


def five_minutes() -> list[Block]:
    """Return the code blocks of the section, in order."""
    section = README.partition(".. begin-five-minutes")[2].partition(".. end-five-minutes")[0]
    return [
        Block(
            found["language"],
            dict(re.findall(r":(\w+): (.*)\n", found["options"])),
            re.sub(r"(?m)^   ", "", found["text"]).strip("\n") + "\n",
        )
        for found in BLOCK.finditer(section)
    ]


def write_file(folder: Path, block: Block) -> None:
    """Do what a caption says: write a file, add to its end, or replace its functions."""
    name, _, where = block.options["caption"].partition(", ")
    file = folder / name
    before = file.read_text() if where else ""
    if where == "the functions":
        before = before[: before.index("@phased")]
    file.write_text(before + block.text)


def dialogue(text: str) -> list[tuple[str, str]]:
    """Return (command, output shown below it) pairs."""
    pairs: list[tuple[str, str]] = []
    for line in text.splitlines(keepends=True):
        if line.startswith("$ "):
            pairs.append((line[2:].strip(), ""))
        else:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] + line)
    return pairs


def run(folder: Path, command: str) -> str:
    """Run a ``flask`` command as the reader would; return both outputs together."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLASK_", "DATABASE_"))}
    program, *arguments = shlex.split(command)
    assert program == "flask"
    return subprocess.run(
        [sys.executable, "-m", "flask", *arguments],
        cwd=folder,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    ).stdout


def without_durations(text: str) -> str:
    """Return ``text`` with every duration as 0.00, and without white space at the end of lines."""
    return re.sub(r"[ \t]+$", "", re.sub(r"\d+\.\d\d ?s\b", "0.00s", text), flags=re.MULTILINE).strip()


def test_the_five_minute_example_does_what_the_readme_shows(tmp_path: Path) -> None:
    blocks = [block for block in five_minutes() if "name" not in block.options]
    assert [block.language for block in blocks].count("console") == 6
    for block in blocks:
        if block.language == "python":
            write_file(tmp_path, block)
            continue
        for command, shown in dialogue(block.text):
            output = run(tmp_path, command)
            if shown:
                assert without_durations(output) == without_durations(shown), command
            else:
                assert "Error" not in output, command


@pytest.mark.parametrize("path", sorted(set(re.findall(r"<((?:docs/)?\w+\.rst)>`_", README))))
def test_what_the_readme_links_to_exists(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)$", README, re.MULTILINE))
def test_make_has_the_targets_that_the_readme_names(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_configuration_page_has_every_setting() -> None:
    sources = (ROOT / "flask_phased_migrate").rglob("*.py")
    read = {name for path in sources for name in re.findall(r'"(MIGRATE_[A-Z_]+)"', path.read_text())}
    given_to_scripts = {f"MIGRATE_{word}" for word in ("DATABASE_URL", "BIND", "REVISION", "PHASE", "DIRECTION")}
    page = (ROOT / "docs" / "configuration.rst").read_text()
    assert {name for name in read - given_to_scripts if f"``{name}``" not in page} == set()
