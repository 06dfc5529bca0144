"""The pages of the shop."""

from __future__ import annotations

import sqlalchemy as sa
from flask import Blueprint, abort, render_template
from sqlalchemy.orm import joinedload, selectinload

from .models import Account, DailyRevenue, Invoice, Order, OrderLine, db

pages = Blueprint("pages", __name__)


@pages.app_template_filter("money")
def money(cents: int) -> str:
    """Return an amount as people read it: 1999 is 19.99."""
    return f"{cents / 100:,.2f}"


@pages.get("/")
def accounts() -> str:
    """List the accounts with their orders."""
    found = db.session.scalars(
        sa.select(Account).options(selectinload(Account.orders).joinedload(Order.invoice)).order_by(Account.id)
    ).all()
    return render_template("accounts.html", accounts=found)


@pages.get("/invoices/<number>")
def invoice(number: str) -> str:
    """Show an invoice with the lines of its order."""
    lines = joinedload(Invoice.order).selectinload(Order.lines).joinedload(OrderLine.product)
    found = db.session.scalars(sa.select(Invoice).options(lines).where(Invoice.number == number)).one_or_none()
    if found is None:
        abort(404)
    return render_template("invoice.html", invoice=found)


@pages.get("/reports")
def reports() -> str:
    """Show the revenue by day, from the other database."""
    days = db.session.scalars(sa.select(DailyRevenue).order_by(DailyRevenue.day)).all()
    return render_template("reports.html", days=days)
