"""A small shop: accounts, orders and invoices in one database, revenue reports in another.

It shows :mod:`flask_phased_migrate` at work. ``FLASK_APP=example_app`` finds :func:`create_app`; the
databases are those of ``DATABASE_URL`` and ``REPORTS_DATABASE_URL``, by default two SQLite files in
``example_app/instance``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from flask_phased_migrate import Migrate

from .models import db

FOLDER = Path(__file__).resolve().parent

migrate = Migrate(db=db, directory=FOLDER / "migrations")


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application; ``config`` overrides its settings."""
    app = Flask(__name__, instance_path=str(FOLDER / "instance"))
    app.config.update(
        SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL") or "sqlite:///shop.db",
        SQLALCHEMY_BINDS={"reports": os.environ.get("REPORTS_DATABASE_URL") or "sqlite:///reports.db"},
        MIGRATE_ADMIN_ENABLED=True,
        # Everybody may look. A real application gives a function that looks at who is logged in.
        MIGRATE_ADMIN_ACCESS="public-read",
        MIGRATE_APP_VERSION="demo",
    )
    app.config.update(config or {})
    db.init_app(app)
    migrate.init_app(app)

    from .pages import pages
    from .seed import seed

    app.register_blueprint(pages)
    app.cli.add_command(seed)
    return app
