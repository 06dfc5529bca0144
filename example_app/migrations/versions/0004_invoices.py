"""invoices

Revision ID: 0004
Revises: 0003
Create Date: 2026-01-04 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased


# revision identifiers, used by Alembic.
revision = '0004'
down_revision = '0003'
branch_labels = ('billing',)
depends_on = None


@phased("before-deploy")
def upgrade():
    op.create_table(
        "invoice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("total_cents", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_invoice_order"),
        sa.UniqueConstraint("number", name="uq_invoice_number"),
    )


@phased("before-deploy")
def downgrade():
    op.drop_table("invoice")
