<%
from flask_phased_migrate.extension.env_file import template_binds, template_phases

binds = template_binds(config)
phases = template_phases(config)
first_phase, _ = phases[0]
first_bind = binds[0]


def operations(token):
    # Flask-Migrate's multi-bind env.py writes the unnamed database's token with an underscore before it.
    return context.get(token) or context.get("_" + token) or "pass"
%>"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import phased
${imports if imports else ""}

# revision identifiers, used by Alembic.
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


@phased("${first_phase}"${first_bind.keyword})
def upgrade():
    ${operations(first_bind.upgrade_token)}
% for bind in binds[1:]:


@upgrade.phase("${first_phase}"${bind.keyword})
def upgrade_${phases[0][1]}${bind.suffix}():
    ${operations(bind.upgrade_token)}
% endfor
% for phase, word in phases[1:]:
% for bind in binds:


@upgrade.phase("${phase}"${bind.keyword})
def upgrade_${word}${bind.suffix}():
    pass
% endfor
% endfor


# Each phase with code needs its undo: @downgrade.phase("PHASE") for the other phases.
@phased("${first_phase}"${first_bind.keyword})
def downgrade():
    ${operations(first_bind.downgrade_token)}
% for bind in binds[1:]:


@downgrade.phase("${first_phase}"${bind.keyword})
def downgrade_${phases[0][1]}${bind.suffix}():
    ${operations(bind.downgrade_token)}
% endfor
