"""The tables as the newest code sees them. How they came to be is in ``migrations/versions``."""

from __future__ import annotations

from datetime import UTC, date, datetime
from secrets import token_hex

import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """What all models share."""


db = SQLAlchemy(model_class=Base)


def now() -> datetime:
    """Return the time as the tables have it: UTC, whole seconds, without a zone."""
    return datetime.now(UTC).replace(microsecond=0, tzinfo=None)


def new_reference() -> str:
    """Return a reference for an order that nobody can guess."""
    return f"R-{token_hex(6)}"


class Account(db.Model):
    """A customer. ``name`` was ``fullname`` once: revision 0008 renames it while the shop is open."""

    __tablename__ = "account"
    __table_args__ = (sa.UniqueConstraint("email", name="uq_account_email"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(120))
    name: Mapped[str | None] = mapped_column(sa.String(120))
    created_at: Mapped[datetime] = mapped_column(default=now)

    orders: Mapped[list[Order]] = relationship(back_populates="account", order_by="Order.id")

    @property
    def title(self) -> str:
        """What to call the customer; until the rename has copied every row, some have no name."""
        return self.name or self.email


class Order(db.Model):
    """What an account bought. ``reference`` is what the customer is told."""

    __tablename__ = "orders"
    __table_args__ = (sa.UniqueConstraint("reference", name="uq_orders_reference"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(sa.ForeignKey("account.id", name="fk_orders_account"))
    placed_at: Mapped[datetime] = mapped_column(default=now)
    total_cents: Mapped[int]
    reference: Mapped[str] = mapped_column(sa.String(20), default=new_reference)

    account: Mapped[Account] = relationship(back_populates="orders")
    lines: Mapped[list[OrderLine]] = relationship(back_populates="order", order_by="OrderLine.id")
    invoice: Mapped[Invoice | None] = relationship(back_populates="order")


class Invoice(db.Model):
    """The bill for an order."""

    __tablename__ = "invoice"
    __table_args__ = (sa.UniqueConstraint("number", name="uq_invoice_number"), sa.Index("ix_invoice_due_on", "due_on"))

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(sa.ForeignKey("orders.id", name="fk_invoice_order"))
    number: Mapped[str] = mapped_column(sa.String(20))
    issued_on: Mapped[date]
    due_on: Mapped[date | None]
    total_cents: Mapped[int]

    order: Mapped[Order] = relationship(back_populates="invoice")


class Product(db.Model):
    """What the shop sells."""

    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(120))
    price_cents: Mapped[int]
    stock: Mapped[int] = mapped_column(default=0, server_default="0")


class OrderLine(db.Model):
    """One product of an order."""

    __tablename__ = "order_line"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(sa.ForeignKey("orders.id", name="fk_order_line_order"))
    product_id: Mapped[int] = mapped_column(sa.ForeignKey("product.id", name="fk_order_line_product"))
    quantity: Mapped[int]

    order: Mapped[Order] = relationship(back_populates="lines")
    product: Mapped[Product] = relationship()


class Coupon(db.Model):
    """A discount that customers can type in."""

    __tablename__ = "coupon"

    code: Mapped[str] = mapped_column(sa.String(20), primary_key=True)
    percent: Mapped[int]


class JobRun(db.Model):
    """When a nightly job ran."""

    __tablename__ = "job_run"
    __table_args__ = (sa.Index("ix_job_run_ran_at", "ran_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(40))
    ran_at: Mapped[datetime] = mapped_column(default=now)


class DailyRevenue(db.Model):
    """What was sold on a day."""

    __bind_key__ = "reports"
    __tablename__ = "daily_revenue"

    day: Mapped[date] = mapped_column(primary_key=True)
    orders: Mapped[int]
    total_cents: Mapped[int]
    currency: Mapped[str] = mapped_column(sa.String(3), default="EUR", server_default="EUR")


class AccountRevenue(db.Model):
    """What an account has spent. There is no foreign key: the account is in another database."""

    __bind_key__ = "reports"
    __tablename__ = "account_revenue"

    account_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    orders: Mapped[int]
    total_cents: Mapped[int]
