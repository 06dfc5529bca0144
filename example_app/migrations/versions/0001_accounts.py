"""accounts

Revision ID: 0001
Revises:
Create Date: 2026-01-01 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased


# revision identifiers, used by Alembic.
revision = '0001'
down_revision = None
branch_labels = None
depends_on = None


@phased("before-deploy")
def upgrade():
    op.create_table(
        "account",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(120), nullable=False),
        sa.Column("fullname", sa.String(120), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("email", name="uq_account_email"),
    )


@phased("before-deploy")
def downgrade():
    op.drop_table("account")
