"""The code that findings propose: pasted into a revision it runs on the engine, and passes the linter itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op
from linting import EARLY, LATE, assert_unsafe
from sqlalchemy.dialects import postgresql
from support import Site, connect

from flask_phased_migrate.facts import read_facts, read_target

A = sa.Column
SHOP = [
    "CREATE TABLE customer (id BIGINT PRIMARY KEY)",
    "CREATE TABLE orders (id BIGINT PRIMARY KEY, email VARCHAR(120), n INTEGER, m INTEGER DEFAULT 0 NOT NULL, "
    "customer_id BIGINT, paid TIMESTAMP NULL)",
    "CREATE TABLE keyless (a BIGINT, b INTEGER NOT NULL)",
    "CREATE INDEX ix_old ON orders (n)",
    "INSERT INTO customer VALUES (1)",
    "INSERT INTO orders VALUES (1, 'a', 1, 1, 1, NULL)",
    "INSERT INTO keyless VALUES (1, 1)",
]
MORE = {
    "postgresql": [
        "CREATE TYPE mood AS ENUM ('sad')",
        "ALTER TABLE orders ADD mood mood",
        "ALTER TABLE orders ADD CONSTRAINT fk_old FOREIGN KEY (customer_id) REFERENCES customer (id)",
        "ALTER TABLE orders ADD CONSTRAINT fine CHECK (n > 0) NOT VALID",
        "CREATE TABLE parts (id bigint) PARTITION BY RANGE (id)",
        "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9)",
        "CREATE MATERIALIZED VIEW totals AS SELECT m, count(*) FROM orders GROUP BY m",
        "CREATE UNIQUE INDEX u_totals ON totals (m)",
        "CREATE VIEW seen AS SELECT 1",
        'CREATE TABLE "Mixed" (a int, "B" int)',
        'CREATE TABLE "a :b" ("Order by%%" int, x text)',
        'CREATE TABLE "user" (id int, "group" int)',
        "CREATE DOMAIN price AS integer",
    ],
    "mariadb": [
        "ALTER TABLE orders ADD kind ENUM('a', 'B')",
        "ALTER TABLE orders ADD CONSTRAINT fk_old FOREIGN KEY (customer_id) REFERENCES customer (id)",
    ],
    "sqlite": [],
}


@dataclass(frozen=True)
class Case:
    """What is unsafe, and what a person writes for the dots of the code that is proposed."""

    rule: str
    work: Callable[[], Any]
    phase: str = LATE
    dots: tuple[str, ...] = ()
    level: str = "error"
    options: dict[str, Any] = field(default_factory=dict)


def sql(*texts: str) -> Callable[[], None]:
    def work() -> None:
        for text in texts:
            op.execute(text)

    return work


def column(name: str, *arguments: Any, **options: Any) -> Callable[[], None]:
    return lambda: op.add_column("orders", A(name, *arguments, **options))


def alter(name: str, **options: Any) -> Callable[[], None]:
    return lambda: op.alter_column("orders", name, **options)


POSTGRESQL = [
    Case("create-index", lambda: op.create_index("ix", "orders", [sa.text("lower(email)"), "n"])),
    Case("create-index", sql('CREATE INDEX "Ix" ON orders USING gin (to_tsvector(\'english\', email)) WHERE n > 0')),
    Case("create-index", sql("CREATE INDEX ON orders (email varchar_pattern_ops, n DESC) INCLUDE (m)")),
    Case("create-index", lambda: op.create_index(
        "ix", "orders", ["email"], postgresql_ops={"email": "text_ops"}, postgresql_with={"fillfactor": 70})),
    Case("drop-index", sql("DROP INDEX ix_old"), level="warning"),
    Case("foreign-key", lambda: op.create_foreign_key(
        "fk", "orders", "customer", ["customer_id"], ["id"], ondelete="CASCADE", deferrable=True)),
    Case("foreign-key", sql("ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customer ON DELETE SET NULL")),
    Case("foreign-key", column("other_id", sa.BigInteger(), sa.ForeignKey("customer.id")), EARLY),
    Case("check-constraint", lambda: op.create_check_constraint("ck", "orders", "n > 0 AND email LIKE '%a%'")),
    Case("check-constraint", sql("ALTER TABLE orders ADD CHECK (\"n\" >= 0 AND email <> 'it''s')")),
    Case("unique-constraint", lambda: op.create_unique_constraint("uq", "orders", ["email", "n"], deferrable=True)),
    Case("unique-constraint", sql("ALTER TABLE orders ADD UNIQUE (email)")),
    Case("primary-key", sql("ALTER TABLE keyless ADD PRIMARY KEY (a, b)")),
    Case("set-not-null", alter("email", nullable=False)),
    Case("set-not-null", alter("email", nullable=False), EARLY),
    Case("set-not-null", lambda: op.alter_column("a :b", "Order by%", nullable=False)),
    Case("set-not-null", lambda: op.alter_column("user", "group", nullable=False)),
    Case("check-constraint", lambda: op.create_check_constraint("c :d", "a :b", r"x <> 'f \:g'")),
    Case("create-index", lambda: op.create_index("ix", "a :b", [sa.text(r"(x || ' \:y')")])),
    Case("attach-partition", sql("CREATE TABLE more PARTITION OF parts FOR VALUES FROM (10) TO (19)"), EARLY,
         level="warning"),
    Case("volatile-default", column("u", sa.Uuid(), server_default=sa.text("gen_random_uuid()")), EARLY),
    Case("volatile-default", column("u", postgresql.ARRAY(sa.Text()), server_default=sa.text("ARRAY[random()::text]")),
         EARLY),
    Case("self-numbering-column", column("n2", sa.BigInteger(), sa.Identity()), EARLY),
    Case("self-numbering-column", sql('ALTER TABLE orders ADD "N 2" serial'), EARLY),
    Case("stored-column", column("g", postgresql.JSONB(), sa.Computed("to_jsonb(n)", persisted=True)), EARLY),
    Case("change-type", alter("n", type_=sa.BigInteger(), existing_type=sa.Integer()), EARLY),
    Case("change-type", alter("paid", type_=sa.TIMESTAMP(timezone=True), existing_type=sa.TIMESTAMP()),
         level="warning"),
    Case("scan-under-lock", sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (n > 0) NOT VALID",
                                "ALTER TABLE orders VALIDATE CONSTRAINT fine")),
    Case("scan-under-lock", sql("ALTER TABLE orders ADD b int", "UPDATE orders SET n = 2 WHERE n = 1"),
         dots=("n = 2", "n = 1")),
    Case("unbatched-write", sql('DELETE FROM "Mixed" WHERE "B" = 1'), dots=("true",), level="warning"),
    Case("unbatched-write", sql("UPDATE orders SET n = 2 WHERE n = 1"), dots=("n = 2", "n = 1"), level="warning"),
    Case("several-foreign-keys", sql(
        "ALTER TABLE orders ADD CONSTRAINT a FOREIGN KEY (customer_id) REFERENCES customer (id) NOT VALID",
        "ALTER TABLE keyless ADD CONSTRAINT b FOREIGN KEY (a) REFERENCES orders (id) NOT VALID"), level="warning"),
    Case("drop-foreign-key", lambda: op.drop_constraint("fk_old", "orders", type_="foreignkey"), level="info"),
    Case("concurrently-in-transaction", sql("CREATE INDEX CONCURRENTLY i ON orders (lower(email))")),
    Case("concurrently-in-transaction", sql("DROP INDEX CONCURRENTLY ix_old")),
    Case("enum-value", sql("ALTER TYPE mood ADD VALUE 'calm'", "UPDATE orders SET mood = 'calm' WHERE id = 1"), EARLY),
    Case("too-late", sql("ALTER TYPE mood ADD VALUE 'it''s'"), level="warning"),
    Case("detach-partition", sql("ALTER TABLE parts DETACH PARTITION part"), level="warning"),
    Case("refresh-view", sql("REFRESH MATERIALIZED VIEW totals"), level="warning"),
    Case("maintenance", sql("REINDEX TABLE orders")),
    Case("lock-table", sql("LOCK TABLE orders IN SHARE MODE"), level="warning"),
    Case("drop-column", lambda: op.drop_column("orders", "n"), EARLY),
    Case("drop-table", lambda: op.drop_table("keyless"), EARLY),
    Case("drop-table", sql("DROP VIEW seen"), EARLY, level="warning"),
    Case("not-null-without-default", column("k", sa.Integer(), nullable=False), EARLY, dots=("0",)),
    Case("change-default", alter("m", server_default=None), EARLY),
    Case("truncate", sql("TRUNCATE keyless"), EARLY),
    Case("too-early", lambda: op.create_unique_constraint("uq", "orders", ["email"]), EARLY, ("it is so",), "warning"),
    Case("too-late", column("k", sa.Integer()), level="warning", dots=("sa.Integer()",)),
    Case("invalid-index-kept", sql("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON orders (lower(email))"),
         level="warning"),
    Case("constrain-domain", sql("ALTER DOMAIN price ADD CONSTRAINT c CHECK (VALUE > 0)"), dots=("VALUE > 0",)),
]  # fmt: skip
MARIADB = [
    Case("foreign-key", lambda: op.create_foreign_key(
        "fk", "orders", "customer", ["customer_id"], ["id"], ondelete="CASCADE")),
    Case("volatile-default", column("u", sa.String(36), server_default=sa.text("(uuid())")), EARLY),
    Case("stored-column", column("g", sa.Integer(), sa.Computed("n * 2", persisted=True)), EARLY,
         dots=("sa.Integer()", "n * 2")),
    Case("table-rebuild", alter("n", existing_type=sa.Integer(), nullable=False), level="warning"),
    Case("table-rebuild", alter("m", existing_type=sa.Integer(), nullable=True), level="warning"),
    Case("table-option", sql("ALTER TABLE orders FORCE"), level="warning"),
    Case("table-option", sql("OPTIMIZE TABLE orders"), level="warning"),
    Case("primary-key", sql("ALTER TABLE keyless ADD PRIMARY KEY (a)"), level="warning"),
    Case("set-not-null", alter("n", existing_type=sa.Integer(), nullable=False), EARLY),
    Case("not-null-without-default", column("k", sa.Integer(), nullable=False), EARLY, dots=("0",)),
    Case("too-late", sql("ALTER TABLE orders MODIFY kind ENUM('a', 'B', 'c')"), level="warning"),
    Case("unbatched-write", sql("DELETE FROM keyless WHERE b = 1"), dots=("b = 1",), level="warning"),
    Case("drop-column", lambda: op.drop_column("orders", "n"), EARLY),
]  # fmt: skip
SQLITE = [
    Case("cannot-add", column("seen", sa.DateTime(), server_default=sa.func.now()), EARLY),
    Case("cannot-add", column("g", sa.Integer(), sa.Computed("n * 2", persisted=True)), EARLY),
    Case("not-null-without-default", column("k", sa.Integer(), nullable=False), EARLY, dots=("0",)),
    Case("unbatched-write", sql("DELETE FROM keyless WHERE b = 1"), dots=("b = 1",), level="warning"),
    Case("drop-column", lambda: op.drop_column("orders", "m"), EARLY),
    Case("drop-table", lambda: op.drop_table("keyless"), EARLY),
]  # fmt: skip
CASES = [
    pytest.param(dialect, case, id=f"{dialect}-{number}-{case.rule}")
    for dialect, cases in (("postgresql", POSTGRESQL), ("mariadb", MARIADB), ("sqlite", SQLITE))
    for number, case in enumerate(cases)
]
URLS = {"postgresql": "postgresql_url", "mariadb": "mysql_url", "sqlite": "sqlite_url"}


def variants(code: str, dots: tuple[str, ...]) -> list[str]:
    """Return the code as a person pastes it: one for each of several ways, dots filled in."""
    filled = iter(dots)
    ways = re.split(r"\n\n\n# or[^\n]*:\n", code)
    return [re.sub(r"\.\.\.", lambda _: next(filled, "..."), way) for way in ways]


def as_revision(code: str, phase: str) -> str:
    """Return a revision that has pasted code for its upgrade."""
    if "def " not in code:
        body = "\n".join(f"    {line}" for line in code.splitlines())
        code = f'@phased("{phase}")\ndef upgrade():\n{body}'
    elif "@phased" not in code:
        code = f'@phased("{EARLY}")\ndef upgrade():\n    pass\n\n\n{code}'
    head = "from flask_phased_migrate import assured\n\n\n"
    return f'{head}{code}\n\n\nirreversible = "a test"\n\n\ndef downgrade():\n    pass\n'


def run(site: Site, *arguments: str) -> Any:
    with site.app() as app:
        return app.test_cli_runner().invoke(args=["db", *arguments])


@pytest.mark.parametrize(("dialect", "case"), CASES)
def test_the_code_that_is_proposed_runs_and_passes(
    dialect: str, case: Case, project: Callable[..., Site], request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(URLS[dialect])
    with connect(url) as connection:
        for text in (*SHOP, *MORE[dialect]):
            connection.exec_driver_sql(text)
    with connect(url) as connection:
        facts, target = read_facts(connection), read_target(connection)
    if target.dialect == "mysql":
        pytest.skip("the recipes were tried on MariaDB")
    found = assert_unsafe(
        case.work, case.rule, dialect=dialect, phase=case.phase, level=case.level, facts=facts, version=target.version
    )
    for code in variants(str(found.rewrite), case.dots)[:1]:
        site = project(url)
        site.revision("1", None, as_revision(code, case.phase))
        linted = run(site, "lint", "--format", "json")
        rows = json.loads(linted.stdout)["findings"]
        assert [(row["rule"], row["message"]) for row in rows if row["level"] == "error"] == [], code
        upgraded = run(site, "upgrade")
        assert upgraded.exit_code == 0, f"{code}\n{upgraded.output}"
