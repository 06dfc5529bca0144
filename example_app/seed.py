"""``flask seed``: a few rows to look at."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import click
import sqlalchemy as sa
from flask.cli import with_appcontext

from .models import Account, AccountRevenue, DailyRevenue, Invoice, Order, OrderLine, Product, db, now


@click.command()
@with_appcontext
def seed() -> None:
    """Fill the migrated, empty tables with a few customers and their orders."""
    db.session.add_all(sample_rows())
    db.session.flush()
    db.session.add_all(account_revenues(db.session.scalars(sa.select(Account)).all()))
    db.session.commit()
    click.echo("A few customers and orders are in the databases. Look at them with: flask run")


def sample_rows() -> list[object]:
    """Return accounts with orders and invoices, and the reports on them. Nothing is added to the session."""
    today = now().date()
    tea = Product(name="Tea & biscuits", price_cents=450)
    pot = Product(name="Teapot <large>", price_cents=2900)
    ada = Account(email="ada@example.org", name="Ada Lovelace")
    alan = Account(email="alan@example.org", name="Alan <Turing>")
    large = Order(account=ada, total_cents=3800, lines=[OrderLine(product=tea, quantity=2)])
    large.lines.append(OrderLine(product=pot, quantity=1))
    small = Order(account=alan, total_cents=450, lines=[OrderLine(product=tea, quantity=1)])
    invoice = Invoice(
        order=large, number="2026-001", issued_on=today, due_on=today + timedelta(days=14), total_cents=3800
    )
    return [ada, alan, small, invoice, DailyRevenue(day=today, orders=2, total_cents=4250)]


def account_revenues(accounts: Iterable[Account]) -> list[AccountRevenue]:
    """Return the revenue of each account, as the nightly job writes it."""
    return [
        AccountRevenue(
            account_id=account.id,
            orders=len(account.orders),
            total_cents=sum(order.total_cents for order in account.orders),
        )
        for account in accounts
    ]
