"""find the job runs by time

Unphased too, but with a phase of its own choice.

Revision ID: 0014
Revises: 0013
Create Date: 2026-01-14 09:00:00

"""
from alembic import op


# revision identifiers, used by Alembic.
revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


phase = "after-deploy"


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index("ix_job_run_ran_at", "job_run", ["ran_at"], postgresql_concurrently=True)


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("ix_job_run_ran_at", "job_run", postgresql_concurrently=True)
