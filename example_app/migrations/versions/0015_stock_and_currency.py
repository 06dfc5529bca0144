"""stock of a product, currency of the reports; legacy codes go

Both databases in one revision.

Revision ID: 0015
Revises: 0014
Create Date: 2026-01-15 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased


# revision identifiers, used by Alembic.
revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None


@phased("before-deploy")
def upgrade():
    op.add_column("product", sa.Column("stock", sa.Integer(), server_default="0", nullable=False))


@upgrade.phase("before-deploy", bind="reports")
def upgrade_before_deploy_reports():
    op.add_column("daily_revenue", sa.Column("currency", sa.String(3), server_default="EUR", nullable=False))


@upgrade.phase("final")
def upgrade_final():
    op.drop_column("product", "legacy_code")


@phased("before-deploy")
def downgrade():
    op.drop_column("product", "stock")


@downgrade.phase("before-deploy", bind="reports")
def downgrade_before_deploy_reports():
    op.drop_column("daily_revenue", "currency")


@downgrade.phase("final")
def downgrade_final():
    op.add_column("product", sa.Column("legacy_code", sa.String(20), nullable=True))
