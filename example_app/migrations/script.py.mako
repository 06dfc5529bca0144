<%
from flask_phased_migrate.extension.env_file import revision_text

text = revision_text(config, lambda name: context.get(name, None))
%>"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}

"""
from alembic import op
import sqlalchemy as sa
% if text.phased:
from flask_phased_migrate import phased
% endif
${imports if imports else ""}

# revision identifiers, used by Alembic.
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}
% for function in text.upgrade:


% if function.decorator:
${function.decorator}
% endif
def ${function.name}():
    ${function.body}
% endfor
% for function in text.downgrade:


% if loop.first and text.remark:
${text.remark}
% endif
% if function.decorator:
${function.decorator}
% endif
def ${function.name}():
    ${function.body}
% endfor
