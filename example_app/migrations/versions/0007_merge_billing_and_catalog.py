"""merge billing and catalog

Revision ID: 0007
Revises: 0005, 0006
Create Date: 2026-01-07 09:00:00

"""

# revision identifiers, used by Alembic.
revision = '0007'
down_revision = ('0005', '0006')
branch_labels = None
depends_on = None


def upgrade():
    pass


def downgrade():
    pass
