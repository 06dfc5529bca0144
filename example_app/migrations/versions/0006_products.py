"""products and the lines of an order

Revision ID: 0006
Revises: 0003
Create Date: 2026-01-06 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased


# revision identifiers, used by Alembic.
revision = '0006'
down_revision = '0003'
branch_labels = ('catalog',)
depends_on = None


@phased("before-deploy")
def upgrade():
    op.create_table(
        "product",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("price_cents", sa.Integer(), nullable=False),
        sa.Column("legacy_code", sa.String(20), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "order_line",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("order_id", sa.Integer(), nullable=False),
        sa.Column("product_id", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name="fk_order_line_order"),
        sa.ForeignKeyConstraint(["product_id"], ["product.id"], name="fk_order_line_product"),
    )


@phased("before-deploy")
def downgrade():
    op.drop_table("order_line")
    op.drop_table("product")
