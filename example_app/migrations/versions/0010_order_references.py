"""orders have a reference

The references are random, which SQL cannot do alike on every engine: a program fills them in after the deploy.

Revision ID: 0010
Revises: 0009
Create Date: 2026-01-10 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased


# revision identifiers, used by Alembic.
revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


# What the final phase finds. SQLite has to copy the table for a change of a column, and with the table written
# down here that needs no look into the database: the SQL can be exported.
ORDERS = sa.Table(
    "orders",
    sa.MetaData(),
    sa.Column("id", sa.Integer(), nullable=False),
    sa.Column("account_id", sa.Integer(), nullable=False),
    sa.Column("placed_at", sa.DateTime(), nullable=False),
    sa.Column("total_cents", sa.Integer(), nullable=False),
    sa.Column("reference", sa.String(20), nullable=True),
    sa.PrimaryKeyConstraint("id"),
    sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_orders_account"),
)
ORDERS_AFTER = ORDERS.to_metadata(sa.MetaData())
ORDERS_AFTER.c.reference.nullable = False
ORDERS_AFTER.append_constraint(sa.UniqueConstraint("reference", name="uq_orders_reference"))


@phased("before-deploy")
def upgrade():
    op.add_column("orders", sa.Column("reference", sa.String(20), nullable=True))


@upgrade.phase("after-deploy")
def upgrade_after_deploy():
    op.execute_script("scripts/fill_references.py", args=("--batch", "500"), timeout=600)


@upgrade.phase("final")
def upgrade_final():
    with op.batch_alter_table("orders", copy_from=ORDERS) as batch:
        batch.alter_column("reference", existing_type=sa.String(20), nullable=False)
        batch.create_unique_constraint("uq_orders_reference", ["reference"])


@phased("before-deploy")
def downgrade():
    op.drop_column("orders", "reference")


@downgrade.phase("final")
def downgrade_final():
    with op.batch_alter_table("orders", copy_from=ORDERS_AFTER) as batch:
        batch.drop_constraint("uq_orders_reference", type_="unique")
        batch.alter_column("reference", existing_type=sa.String(20), nullable=True)
