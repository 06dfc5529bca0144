"""How migrations reach the databases of the application. This file is yours to edit."""

from alembic import context
from flask_phased_migrate import each_bind


def options(bind):
    """Return further options of context.configure() for a bind; the unnamed one is "default"."""
    return {}


for bind in each_bind(context, options):
    with context.begin_transaction():
        context.run_migrations(**bind.arguments)
