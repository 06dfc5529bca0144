"""revenue by account, in the database of the reports

On a line of its own, and yet after 0010: the job that fills the table reads the orders' references.

Revision ID: 0011
Revises: 0009
Create Date: 2026-01-11 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased


# revision identifiers, used by Alembic.
revision = '0011'
down_revision = '0009'
branch_labels = ('reporting',)
depends_on = '0010'


@phased("before-deploy", bind="reports")
def upgrade():
    op.create_table(
        "account_revenue",
        sa.Column("account_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("orders", sa.Integer(), nullable=False),
        sa.Column("total_cents", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
    )


@phased("before-deploy", bind="reports")
def downgrade():
    op.drop_table("account_revenue")
