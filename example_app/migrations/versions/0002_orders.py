"""orders

Revision ID: 0002
Revises: 0001
Create Date: 2026-01-02 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased


# revision identifiers, used by Alembic.
revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


@phased("before-deploy")
def upgrade():
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.Integer(), nullable=False),
        sa.Column("placed_at", sa.DateTime(), nullable=False),
        sa.Column("total_cents", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_orders_account"),
    )


@phased("before-deploy")
def downgrade():
    op.drop_table("orders")
