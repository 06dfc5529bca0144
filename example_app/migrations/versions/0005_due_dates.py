"""invoices are due

One generator: what is above the first yield runs before the deploy, what is below the second in the final
phase. The downgrade goes through the phases backwards.

Revision ID: 0005
Revises: 0004
Create Date: 2026-01-05 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import assured, phased


# revision identifiers, used by Alembic.
revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


@phased
def upgrade():
    op.add_column("invoice", sa.Column("due_on", sa.Date(), nullable=True))
    yield
    with assured("unbatched-write", reason="a shop has a few thousand invoices"):
        op.execute("UPDATE invoice SET due_on = issued_on WHERE due_on IS NULL")
    yield
    with op.get_context().autocommit_block():
        op.create_index("ix_invoice_due_on", "invoice", ["due_on"], postgresql_concurrently=True)


@phased
def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("ix_invoice_due_on", "invoice", postgresql_concurrently=True)
    yield
    op.execute("UPDATE invoice SET due_on = NULL")
    yield
    op.drop_column("invoice", "due_on")
