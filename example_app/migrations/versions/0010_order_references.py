"""orders have a reference

The references are random, which SQL cannot do alike on every engine: a program fills them in after the deploy.

Revision ID: 0010
Revises: 0009
Create Date: 2026-01-10 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import assured, phased


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
    with assured("opaque", reason="it writes references only, 500 orders at a time"):
        op.execute_script("scripts/fill_references.py", args=("--batch", "500"), timeout=600)


@upgrade.phase("final")
def upgrade_final():
    ways = {
        "sqlite": copy_orders, "postgresql": prove_references, "mysql": alter_online, "mariadb": alter_online,
    }  # fmt: skip
    ways.get(op.get_context().dialect.name, alter_orders)()


def copy_orders():
    with assured("table-copy", reason="a shop on SQLite has few orders"):
        with op.batch_alter_table("orders", copy_from=ORDERS) as batch:
            batch.alter_column("reference", existing_type=sa.String(20), nullable=False)
            batch.create_unique_constraint("uq_orders_reference", ["reference"])


def prove_references():
    # What reads the table runs by itself, under a lock that lets others read and write.
    op.create_check_constraint(
        "ck_orders_reference", "orders", "reference IS NOT NULL", postgresql_not_valid=True
    )
    with op.get_context().autocommit_block():
        op.execute("ALTER TABLE orders VALIDATE CONSTRAINT ck_orders_reference")
    op.alter_column("orders", "reference", nullable=False)
    op.drop_constraint("ck_orders_reference", "orders", type_="check")
    with op.get_context().autocommit_block():
        op.create_index(
            "uq_orders_reference", "orders", ["reference"], unique=True, postgresql_concurrently=True
        )
    op.execute("ALTER TABLE orders ADD CONSTRAINT uq_orders_reference UNIQUE USING INDEX uq_orders_reference")


def alter_online():
    # The server refuses where others could not go on writing.
    op.execute("ALTER TABLE orders MODIFY reference VARCHAR(20) NOT NULL, ALGORITHM=INPLACE, LOCK=NONE")
    op.create_unique_constraint("uq_orders_reference", "orders", ["reference"])


def alter_orders():
    op.alter_column("orders", "reference", existing_type=sa.String(20), nullable=False)
    op.create_unique_constraint("uq_orders_reference", "orders", ["reference"])


@phased("before-deploy")
def downgrade():
    op.drop_column("orders", "reference")


@downgrade.phase("final")
def downgrade_final():
    with op.batch_alter_table("orders", copy_from=ORDERS_AFTER) as batch:
        batch.drop_constraint("uq_orders_reference", type_="unique")
        batch.alter_column("reference", existing_type=sa.String(20), nullable=True)
