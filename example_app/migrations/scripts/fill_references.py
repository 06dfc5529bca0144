"""Give every order without a reference a random one, some hundred orders a transaction."""

import argparse
import os
from secrets import token_hex

import sqlalchemy as sa

ORDERS = sa.table("orders", sa.column("id"), sa.column("reference"))


def fill(engine: sa.Engine, batch: int) -> int:
    """Fill the references in; return how many. Orders that have one are left alone, so it may run again."""
    missing = sa.select(ORDERS.c.id).where(ORDERS.c.reference.is_(None)).order_by(ORDERS.c.id).limit(batch)
    filled = 0
    while True:
        with engine.begin() as connection:
            ids = connection.scalars(missing).all()
            for number in ids:
                reference = f"R-{token_hex(6)}"
                connection.execute(sa.update(ORDERS).where(ORDERS.c.id == number).values(reference=reference))
        if not ids:
            return filled
        filled += len(ids)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=500)
    engine = sa.create_engine(os.environ["MIGRATE_DATABASE_URL"])
    print(f"{fill(engine, parser.parse_args().batch)} references filled in.")  # noqa: T201
    engine.dispose()
