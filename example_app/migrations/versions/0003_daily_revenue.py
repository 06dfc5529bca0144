"""daily revenue, in the database of the reports

Revision ID: 0003
Revises: 0002
Create Date: 2026-01-03 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased


# revision identifiers, used by Alembic.
revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


@phased("before-deploy", bind="reports")
def upgrade():
    op.create_table(
        "daily_revenue",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("total_cents", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day"),
    )


@phased("before-deploy", bind="reports")
def downgrade():
    op.drop_table("daily_revenue")
