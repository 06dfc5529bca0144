"""rename account.fullname to account.name

Expand, copy, contract: before the deploy the new column and triggers that keep both columns equal, after it the
copy of the rows that nobody has touched since, and in the end, when no old code is left, the old column goes.

Revision ID: 0008
Revises: 0007
Create Date: 2026-01-08 09:00:00

"""
from alembic import op
import sqlalchemy as sa
from flask_phased_migrate import assured, phased


# revision identifiers, used by Alembic.
revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


@phased("before-deploy")
def upgrade():
    op.add_column("account", sa.Column("name", sa.String(120), nullable=True))
    create_sync()


@upgrade.phase("after-deploy")
def upgrade_after_deploy():
    with assured("unbatched-write", reason="a shop has a few thousand accounts"):
        op.execute("UPDATE account SET name = fullname WHERE name IS NULL AND fullname IS NOT NULL")


@upgrade.phase("final")
def upgrade_final():
    drop_sync()
    op.drop_column("account", "fullname")


@phased("before-deploy")
def downgrade():
    drop_sync()
    op.drop_column("account", "name")


@downgrade.phase("final")
def downgrade_final():
    # Each statement by itself: the table is not locked any more while its rows are filled.
    with op.get_context().autocommit_block():
        op.add_column("account", sa.Column("fullname", sa.String(120), nullable=True))
        create_sync()
        op.execute("UPDATE account SET fullname = name WHERE fullname IS NULL")


# Old code writes fullname, new code writes name. These triggers keep the two equal while both are at work; each
# body is one statement, so that every client can read the exported SQL without a delimiter of its own.
SYNC = {
    "sqlite": (
        "CREATE TRIGGER account_sync_insert AFTER INSERT ON account BEGIN "
        "UPDATE account SET name = coalesce(NEW.name, NEW.fullname), fullname = coalesce(NEW.fullname, NEW.name) "
        "WHERE id = NEW.id; END",
        "CREATE TRIGGER account_sync_fullname AFTER UPDATE OF fullname ON account "
        "WHEN NEW.fullname IS NOT OLD.fullname BEGIN "
        "UPDATE account SET name = NEW.fullname WHERE id = NEW.id; END",
        "CREATE TRIGGER account_sync_name AFTER UPDATE OF name ON account "
        "WHEN NEW.name IS NOT OLD.name AND NEW.fullname IS NOT NEW.name BEGIN "
        "UPDATE account SET fullname = NEW.name WHERE id = NEW.id; END",
    ),
    "postgresql": (
        "CREATE FUNCTION account_sync() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF TG_OP = 'INSERT' THEN "
        "NEW.name = coalesce(NEW.name, NEW.fullname); NEW.fullname = coalesce(NEW.fullname, NEW.name); "
        "ELSIF NEW.fullname IS DISTINCT FROM OLD.fullname THEN NEW.name = NEW.fullname; "
        "ELSIF NEW.name IS DISTINCT FROM OLD.name THEN NEW.fullname = NEW.name; END IF; "
        "RETURN NEW; END $$",
        "CREATE TRIGGER account_sync BEFORE INSERT OR UPDATE ON account "
        "FOR EACH ROW EXECUTE FUNCTION account_sync()",
    ),
    "mysql": (
        "CREATE TRIGGER account_sync_insert BEFORE INSERT ON account FOR EACH ROW "
        "SET NEW.name = coalesce(NEW.name, NEW.fullname), NEW.fullname = coalesce(NEW.fullname, NEW.name)",
        "CREATE TRIGGER account_sync_update BEFORE UPDATE ON account FOR EACH ROW "
        "SET NEW.name = IF(NEW.fullname <=> OLD.fullname, NEW.name, NEW.fullname), "
        "NEW.fullname = IF(NEW.fullname <=> OLD.fullname, NEW.name, NEW.fullname)",
    ),
}
UNSYNC = {
    "sqlite": (
        "DROP TRIGGER account_sync_insert",
        "DROP TRIGGER account_sync_fullname",
        "DROP TRIGGER account_sync_name",
    ),
    "postgresql": ("DROP TRIGGER account_sync ON account", "DROP FUNCTION account_sync()"),
    "mysql": ("DROP TRIGGER account_sync_insert", "DROP TRIGGER account_sync_update"),
}


def create_sync():
    for statement in SYNC[engine_name()]:
        op.execute(statement)


def drop_sync():
    for statement in UNSYNC[engine_name()]:
        op.execute(statement)


def engine_name():
    name = op.get_context().dialect.name
    return "mysql" if name == "mariadb" else name
