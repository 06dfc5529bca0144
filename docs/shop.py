"""The directive ``shop``: commands on the example application, with the output that they have when this is built.

Each page has databases of its own, and its directives go on where the one before has stopped. Options:
``hide`` runs the commands and shows nothing; ``lines`` shows so many lines of each command's output.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent


class Shop(SphinxDirective):
    """Runs the lines of its content, each a ``flask`` command."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"hide": directives.flag, "lines": directives.positive_int}

    def run(self) -> list[nodes.Node]:
        """Return a literal block with commands and output."""
        shown = []
        for line in self.content:
            output = self._run_command(line)
            shown.append(f"$ {line}\n{self._cut(output)}".rstrip())
        if "hide" in self.options:
            return []
        block = nodes.literal_block("\n".join(shown), "\n".join(shown))
        block["language"] = "console"
        return [block]

    def _run_command(self, line: str) -> str:
        folder = self._folder()
        program, *arguments = shlex.split(line)
        if program != "flask":
            raise self.error(f"Only flask commands can be shown, not {line!r}.")
        environment = {
            **os.environ,
            "FLASK_APP": "example_app",
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": f"sqlite:///{folder}/shop.db",
            "REPORTS_DATABASE_URL": f"sqlite:///{folder}/reports.db",
        }
        done = subprocess.run(
            [sys.executable, "-m", "flask", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if "Traceback" in done.stdout:
            raise self.error(f"{line!r} failed:\n{done.stdout}")
        status = f"(exit status {done.returncode})" if done.returncode else ""
        return (done.stdout.replace(f"{folder}/", "").replace(f"{ROOT}/", "").rstrip() + "\n" + status).strip("\n")

    def _folder(self) -> str:
        # Sphinx empties temp_data before each page.
        if "shop_folder" not in self.env.temp_data:
            self.env.temp_data["shop_folder"] = tempfile.TemporaryDirectory()
        name: str = self.env.temp_data["shop_folder"].name
        return name

    def _cut(self, output: str) -> str:
        lines = output.splitlines()
        wanted = self.options.get("lines", len(lines))
        return "\n".join([*lines[:wanted], *(["..."] if len(lines) > wanted else [])])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    directive: type[Directive] = Shop
    app.add_directive("shop", directive)
    return {"parallel_read_safe": True}
