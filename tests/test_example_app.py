"""The example's history, phase by phase and plainly, on every engine; its pages; the rename under load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from support import ROOT, connect, fresh_database, query, table_names

sys.path.insert(0, str(ROOT))

from example_app import create_app
from example_app.models import Account, db

PHASES = ("before-deploy", "after-deploy", "final")


@dataclass
class Shop:
    """The example on two databases of its own."""

    app: Flask
    url: str
    reports_url: str

    def flask(self, *arguments: str, status: int = 0) -> str:
        """Run a command in this process; return what it printed on standard output."""
        result = self.app.test_cli_runner().invoke(args=arguments)
        assert result.exit_code == status, result.output
        return str(result.stdout)

    def upgrade_by_phases(self, revision: str = "head") -> None:
        """Run every phase up to a revision."""
        for phase in PHASES:
            self.flask("db", "upgrade", "--phase", phase, revision)


NewShop = Callable[[], Shop]


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def new_shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewShop]:
    """A factory of shops on empty databases, on each engine in turn."""
    with ExitStack() as stack:

        def create() -> Shop:
            url, reports_url = (stack.enter_context(fresh_database(request.param, tmp_path)) for _ in range(2))
            app = create_app({"SQLALCHEMY_DATABASE_URI": url, "SQLALCHEMY_BINDS": {"reports": reports_url}})
            stack.callback(dispose, app)
            return Shop(app, url, reports_url)

        yield create


@pytest.fixture
def shop(new_shop: NewShop) -> Shop:
    """One shop on empty databases."""
    return new_shop()


def dispose(app: Flask) -> None:
    """Close all connections of an application."""
    with app.app_context():
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


def schema_of(url: str) -> dict[str, Any]:
    """Return columns, keys and indexes by table, triggers left out."""
    with connect(url) as connection:
        found = sa.inspect(connection)
        return {
            name: {
                "columns": [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in found.get_columns(name)],
                "primary key": found.get_pk_constraint(name)["constrained_columns"],
                "foreign keys": [(k["name"], k["referred_table"]) for k in found.get_foreign_keys(name)],
                "unique": sorted((u["name"], u["column_names"]) for u in found.get_unique_constraints(name)),
                "indexes": sorted((i["name"], i["column_names"], i["unique"]) for i in found.get_indexes(name)),
            }
            for name in sorted(found.get_table_names())
            if name not in ("alembic_version_phase", "alembic_version_journal")
        }


def test_phase_by_phase_and_plain_upgrade_give_the_same_databases(new_shop: NewShop) -> None:
    phased, plain = new_shop(), new_shop()
    phased.upgrade_by_phases()
    plain.flask("db", "upgrade")
    for left, right in ((phased.url, plain.url), (phased.reports_url, plain.reports_url)):
        assert schema_of(left) == schema_of(right)
        assert query(left, "SELECT version_num FROM alembic_version") == [("0015",)]
        assert query(left, "SELECT * FROM alembic_version_phase") == []
    coupons = [query(each.url, "SELECT code, percent FROM coupon ORDER BY code") for each in (phased, plain)]
    assert coupons == [[("SPRING", 5), ("WELCOME", 10)]] * 2


@pytest.mark.parametrize("by_phases", [True, False])
def test_the_migrated_databases_are_what_the_models_say(shop: Shop, by_phases: bool) -> None:
    if by_phases:
        shop.upgrade_by_phases()
    else:
        shop.flask("db", "upgrade")
    assert "No new upgrade operations detected." in shop.flask("db", "check")


def test_release_by_release_ends_where_the_whole_history_ends(new_shop: NewShop) -> None:
    released, plain = new_shop(), new_shop()
    for revision in ("0003", "0007", "0008", "0012", "0015"):
        released.upgrade_by_phases(revision)
    plain.flask("db", "upgrade")
    assert schema_of(released.url) == schema_of(plain.url)
    assert schema_of(released.reports_url) == schema_of(plain.reports_url)


def test_everything_can_be_undone_and_done_again(shop: Shop) -> None:
    shop.flask("db", "upgrade")
    shop.flask("seed")
    before = schema_of(shop.url)
    shop.flask("db", "downgrade", "base")
    left = {"alembic_version", "alembic_version_phase", "alembic_version_journal"}
    assert (table_names(shop.url), table_names(shop.reports_url)) == (left, left)
    shop.flask("db", "upgrade")
    assert schema_of(shop.url) == before


def test_phases_can_be_undone_one_by_one(shop: Shop) -> None:
    shop.flask("db", "upgrade", "0014")
    before = schema_of(shop.url)
    shop.upgrade_by_phases("0015")
    for phase in reversed(PHASES):
        shop.flask("db", "downgrade", "--phase", phase, "0014")
    assert schema_of(shop.url) == before


def test_only_the_reports_have_the_tables_of_the_reports(shop: Shop) -> None:
    shop.flask("db", "upgrade")
    own = {"alembic_version", "alembic_version_journal", "alembic_version_phase"}
    assert table_names(shop.reports_url) - own == {"daily_revenue", "account_revenue"}
    assert table_names(shop.url) - own == {
        "account",
        "coupon",
        "invoice",
        "job_run",
        "order_line",
        "orders",
        "product",
    }


def test_the_rename_keeps_every_name_whichever_code_wrote_it(shop: Shop) -> None:
    shop.upgrade_by_phases("0007")
    insert = "INSERT INTO account (email, {}, created_at) VALUES (:email, :name, '2026-01-01 00:00:00')"
    query(shop.url, insert.format("fullname"), email="untouched", name="Untouched")
    query(shop.url, insert.format("fullname"), email="changed", name="Old")
    shop.flask("db", "upgrade", "--phase", "before-deploy", "0008")
    query(shop.url, insert.format("fullname"), email="by old code", name="By old code")
    query(shop.url, insert.format("name"), email="by new code", name="By new code")
    query(shop.url, "UPDATE account SET fullname = 'Changed' WHERE email = 'changed'")
    query(shop.url, "UPDATE account SET name = 'By new code, twice' WHERE email = 'by new code'")
    both = query(shop.url, "SELECT fullname, name FROM account ORDER BY id")
    assert both == [
        ("Untouched", None),
        ("Changed", "Changed"),
        ("By old code", "By old code"),
        ("By new code, twice", "By new code, twice"),
    ]
    shop.flask("db", "upgrade", "--phase", "after-deploy", "0008")
    shop.flask("db", "upgrade", "--phase", "final", "0008")
    names = query(shop.url, "SELECT name FROM account ORDER BY id")
    assert names == [("Untouched",), ("Changed",), ("By old code",), ("By new code, twice",)]
    shop.flask("db", "downgrade", "0007")
    assert query(shop.url, "SELECT fullname FROM account ORDER BY id") == names


def test_the_script_gives_every_order_a_reference(shop: Shop) -> None:
    shop.upgrade_by_phases("0009")
    query(shop.url, "INSERT INTO account (id, email, created_at) VALUES (1, 'a', '2026-01-01 00:00:00')")
    order = "INSERT INTO orders (account_id, placed_at, total_cents) VALUES (1, '2026-01-01 00:00:00', 5)"
    for _ in range(3):
        query(shop.url, order)
    shop.flask("db", "upgrade", "--phase", "before-deploy", "0010")
    assert "3 references filled in." in shop.flask("db", "upgrade", "--phase", "after-deploy", "0010")
    shop.flask("db", "upgrade", "--phase", "final", "0010")
    references = {reference for (reference,) in query(shop.url, "SELECT reference FROM orders")}
    assert len(references) == 3
    assert all(reference.startswith("R-") for reference in references)


def test_pages_show_what_is_in_both_databases(shop: Shop) -> None:
    shop.flask("db", "upgrade")
    shop.flask("seed")
    client = shop.app.test_client()
    pages = {path: client.get(path) for path in ("/", "/invoices/2026-001", "/reports")}
    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(pages, 200)
    assert "Alan &lt;Turing&gt;" in pages["/"].text
    assert 'href="/invoices/2026-001"' in pages["/"].text
    assert "Teapot &lt;large&gt;" in pages["/invoices/2026-001"].text
    assert "38.00" in pages["/invoices/2026-001"].text
    assert "42.50 EUR" in pages["/reports"].text
    assert client.get("/invoices/none").status_code == 404


def test_accounts_without_a_name_go_by_their_address() -> None:
    assert Account(email="ada@example.org").title == "ada@example.org"


def test_the_admin_pages_show_the_history_before_and_after(shop: Shop) -> None:
    client = shop.app.test_client()
    before = client.get("/migrations/")
    assert (before.status_code, "0015" in before.text) == (200, True)
    assert client.get("/migrations/health.json").status_code == 503
    shop.flask("db", "upgrade")
    assert client.get("/migrations/").status_code == 200
    assert client.get("/migrations/health.json").status_code == 200


@pytest.mark.parametrize("new_shop", ["sqlite"], indirect=True)
def test_the_whole_history_exports_on_every_dialect(shop: Shop) -> None:
    for dialect in ("sqlite", "postgresql", "mysql"):
        for bind in ("default", "reports"):
            text = shop.flask("db", "sql", "--dialect", dialect, "--bind", bind)
            assert text.count("-- PHASE::") == {"default": 19, "reports": 3}[bind]
            assert ("-- SCRIPT::scripts/fill_references.py::;" in text) is (bind == "default")


def run_client(url: str, file: Path) -> None:
    """Run a file with the program that a database administrator would use."""
    parts = sa.make_url(url)
    commands = {
        "sqlite": ["sqlite3", "-bail", str(parts.database)],
        "postgresql": [
            "psql",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            parts.set(drivername="postgresql").render_as_string(False),
        ],
        "mysql": ["mysql", f"-h{parts.host}", f"-P{parts.port or 3306}", f"-u{parts.username}", str(parts.database)],
    }
    command = commands[parts.get_backend_name()]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no program {command[0]}")
    environment = {**os.environ, "MYSQL_PWD": parts.password or ""}
    with file.open() as text:
        subprocess.run(command, stdin=text, env=environment, check=True, capture_output=True)


def test_the_exported_phases_make_the_same_databases(new_shop: NewShop, tmp_path: Path) -> None:
    online, offline = new_shop(), new_shop()
    online.flask("db", "upgrade")
    online.flask("db", "sql", "--split", str(tmp_path / "sql"))
    for bind, url in (("default", offline.url), ("reports", offline.reports_url)):
        for number, phase in enumerate(PHASES, start=1):
            run_client(url, tmp_path / "sql" / f"{number:02d}-{phase}.{bind}.sql")
    assert schema_of(offline.url) == schema_of(online.url)
    assert schema_of(offline.reports_url) == schema_of(online.reports_url)
    assert "[ ]" not in offline.flask("db", "status", "--check")


@pytest.mark.parametrize("new_shop", ["sqlite"], indirect=True)
def test_plain_alembic_gives_each_database_its_own_tables(new_shop: NewShop, tmp_path: Path) -> None:
    ours, plain = new_shop(), new_shop()
    ours.flask("db", "upgrade")
    ini = (ROOT / "example_app" / "migrations" / "alembic.ini").read_text()
    location = f"[alembic]\nscript_location = {ROOT / 'example_app' / 'migrations'}"
    (tmp_path / "alembic.ini").write_text(ini.replace("[alembic]", location, 1))
    (tmp_path / "wsgi.py").write_text("from example_app import create_app\n\napp = create_app()\n")
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"DATABASE_URL": plain.url, "REPORTS_DATABASE_URL": plain.reports_url}
    result = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert schema_of(plain.url) == schema_of(ours.url)
    assert schema_of(plain.reports_url) == schema_of(ours.reports_url)


def test_the_flask_command_finds_the_application(tmp_path: Path) -> None:
    environment = {"PATH": "", "FLASK_APP": "example_app", "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("DATABASE_URL", "REPORTS_DATABASE_URL"):
        environment[name] = f"sqlite:///{tmp_path / name}.db"
    result = subprocess.run(
        [sys.executable, "-m", "flask", "db", "heads"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stdout[:5]) == (0, "0015 "), result.stderr


NOWHERE = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:1/nowhere",
    "mysql": "mysql+pymysql://root@127.0.0.1:1/nowhere",
    "sqlite": "sqlite:////nowhere/shop.db",
}


def errors_and_warnings(app: Flask, *arguments: str) -> list[tuple[str, str, str]]:
    """Return (revision, rule, message) of what the linter finds, notes left out."""
    result = app.test_cli_runner().invoke(args=["db", "lint", "--format", "json", *arguments])
    found = json.loads(result.stdout)["findings"]
    return [(item["revision"], item["rule"], item["message"]) for item in found if item["level"] != "info"]


@pytest.mark.parametrize("dialect", NOWHERE)
def test_the_linter_has_nothing_to_say_of_the_history(dialect: str) -> None:
    url = NOWHERE[dialect]
    app = create_app({"SQLALCHEMY_DATABASE_URI": url, "SQLALCHEMY_BINDS": {"reports": url}})
    assert errors_and_warnings(app) == []


def test_the_linter_has_nothing_to_say_of_databases_that_are_there(shop: Shop) -> None:
    assert errors_and_warnings(shop.app) == []
    shop.upgrade_by_phases()
    assert errors_and_warnings(shop.app, "--all") == []
