"""How Sphinx builds these pages."""

from __future__ import annotations

import sys
from importlib.metadata import version as package_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "flask_phased_migrate"
author = "the authors of flask_phased_migrate"
version = release = package_version("flask-phased-migrate")

extensions = ["sphinx.ext.autodoc", "sphinx_click", "shop"]
html_theme = "alabaster"
html_theme_options = {"description": "Database migrations in deploy phases", "page_width": "60rem"}
exclude_patterns = ["_build"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_type_aliases = {"Names": "str or list of str"}
