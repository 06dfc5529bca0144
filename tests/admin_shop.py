"""A shop for looking at the admin pages: two databases, branches, a failed step, a step that waits, a missing file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support import Site, connect, make_site

from flask_phased_migrate.errors import StepFailed

EVIL = '<img src=x onerror="alert(1)"> & </code><script>alert(2)</script>'
LONG = "Keep_" + "a_very_long_name_without_a_single_place_to_break_it_" * 3 + "end"
INSTALLED = re.compile(r"/[^\"]*/(?=site-packages/|flask_phased_migrate/)")
MONDAY = datetime(2026, 3, 2, 9, 14, 2)

ADMIN = {
    "MIGRATE_ADMIN_ENABLED": True,
    "MIGRATE_ADMIN_ACCESS": "public-read",
    "MIGRATE_OPERATOR": "deploy",
    "MIGRATE_APP_VERSION": "2026.9.1",
}

CREATE = """
@phased("before-deploy")
def upgrade():
    op.create_table("{0}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(80)))

@phased("before-deploy")
def downgrade():
    op.drop_table("{0}")
"""
THREE = """
@phased("before-deploy")
def upgrade():
    op.add_column("{0}", sa.Column("{1}", sa.String(120)))

@upgrade.phase("after-deploy")
def upgrade_after_deploy():
    op.execute("UPDATE {0} SET {1} = lower(name) WHERE {1} IS NULL")

@upgrade.phase("final")
def upgrade_final():
    op.execute("CREATE UNIQUE INDEX {0}_{1} ON {0} ({1})")

@phased("before-deploy")
def downgrade():
    op.drop_column("{0}", "{1}")
"""
FAILS = """
@phased("before-deploy")
def upgrade():
    op.add_column("orders", sa.Column("customer_email", sa.String(120)))

@upgrade.phase("after-deploy")
def upgrade_after_deploy():
    op.execute("UPDATE orders SET customer_email = (SELECT mail FROM customers WHERE id = orders.customer_id)")

@upgrade.phase("final")
def upgrade_final():
    op.alter_column("orders", "customer_email", nullable=False)
"""
BOTH = """
@phased("before-deploy")
def upgrade():
    op.create_table("invoices", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(80)))

@upgrade.phase("before-deploy", bind="reports")
def upgrade_reports():
    op.create_table("monthly_totals", sa.Column("month", sa.Date))
"""
WAITS = """
import pathlib, time

@phased("before-deploy")
def upgrade():
    op.execute("SELECT 1")
    gate = pathlib.Path({gate!r})
    while not gate.exists():
        time.sleep(0.05)
"""

SHOP_LINE = (
    ("3f1a07c2", None, "Create customers", CREATE.format("customers")),
    ("58d0e91b", "3f1a07c2", "Create orders", CREATE.format("orders")),
    ("a2c4471f", "58d0e91b", "Give customers a login in lower case", THREE.format("customers", "login")),
    ("b90d1e36", "a2c4471f", "Invoices, and their totals in the reports", BOTH),
)


@dataclass(frozen=True)
class Shop:
    """The site, its second database, and the file that lets a waiting step go on."""

    site: Site
    reports: str
    gate: Path


def make_shop(folder: Path, *, config: Mapping[str, Any] | None = None) -> Shop:
    """Write the shop's project with four revisions in a line, which nothing has run."""
    reports = f"sqlite:///{folder / 'reports.sqlite3'}"
    folder.mkdir(parents=True, exist_ok=True)
    site = make_site(
        folder / "shop",
        f"sqlite:///{folder / 'shop.sqlite3'}",
        binds={"reports": reports},
        config={**ADMIN, **(config or {})},
    )
    for revision, down, message, text in SHOP_LINE:
        site.revision(revision, down, text, message=message)
    return Shop(site, reports, folder / "gate")


def fill_shop(shop: Shop, *, hostile: bool = False) -> None:
    """Run what the pages shall show: four revisions applied, one failed in its second phase, five pending.

    :param hostile: add texts that nobody should write: markup, and a name too long for any line.
    """
    site = shop.site
    with site.app() as app:
        app.extensions["migrate"].migrate.upgrade()
    site.revision(
        "c7715ab0", "b90d1e36", THREE.format("invoices", "reference"), message="Invoices get a reference that is unique"
    )
    site.revision(
        "d418f2e9", "b90d1e36", CREATE.format("search_words"), message="Words to search by", labels=("search",)
    )
    site.revision("e05b93d4", "c7715ab0", FAILS, message="Copy the customer's address to the order")
    with site.app() as app:
        migrate = app.extensions["migrate"].migrate
        migrate.upgrade(revision="e05b93d4", phase="before-deploy")
        fail(migrate, "e05b93d4", "after-deploy")
    site.revision(
        "f6a2d870",
        ("e05b93d4", "d418f2e9"),
        THREE.format("invoices", "number"),
        message="Bring search and orders together",
    )
    site.revision("0b8c55e1", "f6a2d870", CREATE.format("vouchers"), message="Create vouchers")
    site.revision(
        "19e7ac42", "f6a2d870", CREATE.format("stock"), message="Create stock", depends_on="0b8c55e1", labels=("stock",)
    )
    if hostile:
        site.revision("2d3b90f5", "0b8c55e1", CREATE.format("evil"), message=f"Escape {EVIL}")
        site.revision("2e66c1a8", "2d3b90f5", CREATE.format("long"), message=LONG)
    with connect(shop.reports) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'c0ffee42'"))
    date_journals(shop)


def fail(migrate: Any, revision: str, phase: str) -> None:
    """Run a phase that has to fail."""
    with pytest.raises(StepFailed):
        migrate.upgrade(revision=revision, phase=phase)


def date_journals(shop: Shop) -> None:
    """Give the journals a host, paths, durations and times that are the same in every run."""
    for url in (shop.site.url, shop.reports):
        with connect(url) as connection:
            for number, traceback in connection.execute(
                sa.text("SELECT id, traceback FROM alembic_version_journal")
            ).all():
                began, took = MONDAY + timedelta(minutes=7 * number), 40 + number * 173 % 1900
                connection.execute(
                    sa.text(
                        "UPDATE alembic_version_journal SET started_at = :began, finished_at = :ended, "
                        "duration_ms = :took, host = 'deploy-7', pid = 4711, traceback = :traceback "
                        "WHERE id = :number"
                    ).bindparams(
                        sa.bindparam("began", type_=sa.DateTime()), sa.bindparam("ended", type_=sa.DateTime())
                    ),
                    {
                        "began": began,
                        "ended": began + timedelta(milliseconds=took),
                        "took": took,
                        "number": number,
                        "traceback": traceback and INSTALLED.sub("/srv/shop/", traceback),
                    },
                )


def let_wait(shop: Shop) -> None:
    """Apply the four revisions and add one whose step waits for the shop's gate."""
    with shop.site.app() as app:
        app.extensions["migrate"].migrate.upgrade()
    shop.site.revision("ca11ab1e", "b90d1e36", WAITS.format(gate=str(shop.gate)), message="Wait for the gate")
