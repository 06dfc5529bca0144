"""coupons

Revision ID: 0013
Revises: 0012
Create Date: 2026-01-13 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased


# revision identifiers, used by Alembic.
revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None


COUPON = sa.table("coupon", sa.column("code", sa.String), sa.column("percent", sa.Integer))


@phased("before-deploy")
def upgrade():
    op.create_table(
        "coupon",
        sa.Column("code", sa.String(20), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("code"),
    )


@upgrade.phase("after-deploy")
def upgrade_after_deploy():
    op.bulk_insert(COUPON, [{"code": "WELCOME", "percent": 10}, {"code": "SPRING", "percent": 5}])


@phased("before-deploy")
def downgrade():
    op.drop_table("coupon")


@downgrade.phase("after-deploy")
def downgrade_after_deploy():
    op.execute("DELETE FROM coupon WHERE code IN ('WELCOME', 'SPRING')")
