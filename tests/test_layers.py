"""The layers of the package, read from its imports: words, paper, database, edges."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "flask_phased_migrate"

# A module imports from lower layers, and within its layer from the modules before it. Not every module
# listed has to exist; every module that exists has to be listed.
LAYERS = {
    "words": (
        *("errors", "assurances", "phases", "footprint", "ancestry", "graph", "lanes", "overtaking", "plan"),
        "remedies",
    ),
    "paper": (
        "listeners",
        "index",
        "revision_file",
        "listing",
        "loader",
        "splitting",
        "operations",
        "tables",
        "inspection",
        "offline",
        "rules",
        "lint",
        "render",
        "authoring",
    ),
    "database": (
        "dialects",
        "replica",
        "probes",
        "facts",
        "writer",
        "recorder",
        "revision_map",
        "environment",
        "scripts",
        "backfill",
        "executor",
    ),
    "edges": (
        "plain_alembic",
        "alembic_plugin",
        "signals",
        "extension",
        "export",
        "bundle",
        "commands",
        "cli",
        "admin",
        "contrib",
        "pytest_plugin",
    ),
}
LAYER_OF = {name: layer for layer, names in LAYERS.items() for name in names}
ORDER = {name: position for position, name in enumerate(name for names in LAYERS.values() for name in names)}

# The extension hands itself over to these in init_app(): inside that function, never at the top of a module.
REGISTERED = {("extension", "cli"), ("extension", "admin")}

# Standard modules whose use is reading, writing or talking to the outside.
INPUT_OUTPUT = {"io", "logging", "os", "pathlib", "shutil", "socket", "subprocess", "sys", "tempfile", "urllib"}

# ``commands`` are Flask-Migrate's functions, which print what their command prints; ``plain_alembic`` stands in
# for the command line where Alembic's own is at work.
PRINTERS = {"cli", "commands", "plain_alembic"}


@dataclass(frozen=True)
class Import:
    """One import: ``name`` is ``flask_phased_migrate.x`` for our own; ``deferred`` inside a function."""

    module: str
    file: str
    line: int
    name: str
    deferred: bool

    @property
    def own(self) -> str | None:
        """The first part of our own module's name, None for another package's."""
        words = self.name.split(".")
        return words[1] if words[0] == "flask_phased_migrate" and len(words) > 1 else None

    @property
    def top(self) -> str:
        """The package that it comes from."""
        return self.name.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.module} imports {self.name}"


def sources() -> Iterator[tuple[str, Path, ast.Module]]:
    """Yield (module, path, tree); files of a sub-package count as the module that it stands for."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative.parts[0] in ("templates", "__init__.py"):
            continue
        yield relative.parts[0].removesuffix(".py"), path, ast.parse(path.read_text(encoding="utf-8"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(node: ast.AST, deferred: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Yield every node that runs, with whether a function has to be called for it."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        inside = deferred or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield child, inside
        yield from statements(child, inside)


def imports() -> list[Import]:
    found = []
    for module, path, tree in sources():
        file = path.relative_to(PACKAGE.parent).as_posix()
        for node, deferred in statements(tree):
            for name in imported_names(node, path):
                found.append(Import(module, file, node.lineno, name, deferred))
    return found


def imported_names(node: ast.AST, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
        return [f"flask_phased_migrate{node.args[0].value}"] if isinstance(node.args[0], ast.Constant) else []
    if not isinstance(node, ast.ImportFrom):
        return []
    if not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    folder = path.parents[node.level - 1].relative_to(PACKAGE.parent).parts
    base = ".".join((*folder, *([node.module] if node.module else [])))
    return [f"{base}.{alias.name}" for alias in node.names]


IMPORTS = imports()
OWN = [found for found in IMPORTS if found.own is not None and found.own in LAYER_OF]


def calls(name: str | None = None) -> Iterator[tuple[str, str, ast.Call]]:
    """Yield (module, place, call) of each call; the dotted name of what is called is ``dotted(call.func)``."""
    for module, path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (name is None or dotted(node.func) == name):
                yield module, f"{path.relative_to(PACKAGE.parent).as_posix()}:{node.lineno}: {dotted(node.func)}", node


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "()"


def test_every_module_has_its_place_in_the_house():
    modules = {module for module, _, _ in sources()}
    assert sorted(modules - set(LAYER_OF)) == []


def test_the_package_is_read_at_all():
    assert {"errors", "phases", "graph", "plan", "offline", "executor", "extension", "cli"} <= {
        module for module, _, _ in sources()
    }
    assert len(OWN) > 50


@pytest.mark.parametrize("layer", LAYERS)
def test_a_module_imports_only_from_lower_layers_and_from_above_itself(layer: str):
    wrong = [
        str(found)
        for found in OWN
        if LAYER_OF[found.module] == layer
        and found.own != found.module
        and ORDER[found.own] > ORDER[found.module]
        and (found.module, found.own) not in REGISTERED
    ]
    assert wrong == []


def test_what_the_extension_registers_is_imported_when_it_does_so():
    wrong = [str(found) for found in OWN if (found.module, found.own) in REGISTERED and not found.deferred]
    assert wrong == []


def test_words_import_neither_database_nor_web_packages_at_the_top():
    wrong = [
        str(found)
        for found in IMPORTS
        if LAYER_OF[found.module] == "words"
        and not found.deferred
        and found.top in {"alembic", "sqlalchemy", "flask", "click"}
    ]
    assert wrong == []


def test_words_do_no_input_or_output():
    imported = [str(found) for found in IMPORTS if LAYER_OF[found.module] == "words" and found.top in INPUT_OUTPUT]
    opened = [place for module, place, _ in calls("open") if LAYER_OF[module] == "words"]
    assert imported + opened == []


CONNECTING = {"sqlalchemy.create_engine", "sqlalchemy.Connection", "sqlalchemy.Engine"}


def test_paper_never_has_a_connection():
    imported = [
        str(found)
        for found in IMPORTS
        if LAYER_OF[found.module] == "paper"
        and (found.name in CONNECTING or found.name.startswith("sqlalchemy.engine"))
    ]
    called = [
        place
        for module, place, call in calls()
        if LAYER_OF[module] == "paper" and dotted(call.func).rpartition(".")[2] in ("create_engine", "connect")
    ]
    assert imported + called == []


WEB = {"flask", "click", "werkzeug", "flask_admin", "flask_babel", "flask_sqlalchemy"}


def test_only_the_edges_know_flask_and_click():
    wrong = [str(found) for found in IMPORTS if found.top in WEB and LAYER_OF[found.module] != "edges"]
    assert wrong == []


def test_only_the_extension_reads_the_apps_config():
    wrong = [
        f"{path.relative_to(PACKAGE.parent).as_posix()}:{node.lineno}: {dotted(node)}"
        for module, path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and dotted(node) in ("current_app.config", "app.config", "self._app.config")
        if module != "extension"
    ]
    assert wrong == []


PRINTING: dict[str, Callable[[str], bool]] = {
    "print": lambda name: name == "print",
    "echo": lambda name: name in ("click.echo", "click.secho"),
    "stdout": lambda name: name in ("sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer.write"),
    "alembic": lambda name: name.endswith(".print_stdout"),
}


@pytest.mark.parametrize("way", PRINTING)
def test_only_the_command_line_prints(way: str):
    wrong = [place for module, place, call in calls() if PRINTING[way](dotted(call.func)) and module not in PRINTERS]
    assert wrong == []


def test_only_cli_ends_the_process():
    exits = {"exit", "_exit", "quit"}
    wrong = [
        place for module, place, call in calls() if dotted(call.func).rpartition(".")[2] in exits and module != "cli"
    ]
    raised = [
        f"{path.relative_to(PACKAGE.parent).as_posix()}:{node.lineno}: raise SystemExit"
        for _, path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and node.exc is not None and "SystemExit" in ast.dump(node.exc)
    ]
    assert wrong + raised == []


def test_no_module_asks_a_person_anything():
    """All but the one questioner of ``flask db migrate``."""
    asking = [place for _, place, call in calls() if dotted(call.func) in ("input", "click.prompt", "click.confirm")]
    assert [place for place in asking if not place.startswith("flask_phased_migrate/cli/authoring.py:")] == []


def test_importing_the_package_does_not_import_alembic_or_sqlalchemy():
    code = (
        "import sys, flask_phased_migrate; flask_phased_migrate.Migrate\n"
        "print([name for name in ('alembic', 'sqlalchemy', 'sqlglot', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_the_start_of_an_application_with_admin_pages_does_not_import_alembic_or_sqlalchemy():
    code = (
        "import sys, flask; from flask_phased_migrate import Migrate\n"
        "app = flask.Flask('x')\n"
        "app.config.update(MIGRATE_ADMIN_ENABLED=True, MIGRATE_ADMIN_ACCESS='public-read')\n"
        "Migrate(app, object())\n"
        "names = ('alembic', 'sqlalchemy', 'sqlglot', 'rich', 'flask_babel', 'flask_admin')\n"
        "print([name for name in names if name in sys.modules], 'migrate_admin' in app.blueprints)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[] True\n"
