"""``flask db lint`` as a user runs it: which revisions, whose version, what is assured, the formats; and its speed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op
from linting import EARLY, LATE, look, report, revision
from support import Site, connect, query

from flask_phased_migrate import assured
from flask_phased_migrate.assurances import Assurance, written_assurances
from flask_phased_migrate.errors import ConfigurationError
from flask_phased_migrate.extension.linting import configured_target, configured_versions
from flask_phased_migrate.facts import read_facts, read_target
from flask_phased_migrate.rules import RULES
from flask_phased_migrate.rules.situation import Target

NewSite = Callable[..., Site]
NOWHERE = "postgresql+psycopg://postgres@127.0.0.1:1/nowhere"

TABLE = """
    def upgrade():
        op.create_table(
            "orders",
            sa.Column("id", sa.BigInteger(), primary_key=True),
            sa.Column("email", sa.String(50), nullable=False),
        )

    def downgrade():
        op.drop_table("orders")
"""
INDEX = """
    @phased("before-deploy")
    def upgrade():
        op.create_index("ix_email", "orders", ["email"])

    @phased("before-deploy")
    def downgrade():
        op.drop_index("ix_email", "orders")
"""
ASSURED = """
    from flask_phased_migrate import assured

    @phased("after-deploy")
    def upgrade():
        with assured("create-index", reason="orders has 200 rows"):
            op.create_index("ix_email", "orders", ["email"])

    @phased("after-deploy")
    def downgrade():
        op.drop_index("ix_email", "orders")
"""


def run(site: Site, *arguments: str) -> Any:
    """Return the result of ``flask db lint`` in this process."""
    with site.app() as app:
        return app.test_cli_runner().invoke(args=["db", "lint", *arguments])


def found(site: Site, *arguments: str) -> list[tuple[str, str, str]]:
    """Return (revision, level, rule) of the findings."""
    result = run(site, "--format", "json", *arguments)
    assert result.exit_code in (0, 1), result.output
    return [(item["revision"], item["level"], item["rule"]) for item in json.loads(result.stdout)["findings"]]


@pytest.fixture
def shop(project: NewSite) -> Site:
    """A project whose database does not answer, with an unsafe second revision."""
    site = project(NOWHERE)
    site.revision("1", None, TABLE)
    site.revision("2", "1", INDEX)
    return site


# -- which revisions ----------------------------------------------------------------------------------


def test_without_a_database_every_revision_is_looked_at(shop: Site) -> None:
    assert found(shop) == [("2", "error", "create-index")]


@pytest.mark.parametrize(
    ("range_", "revisions"), [("1", []), ("1:2", ["2"]), ("base:head", ["2"]), ("2:2", []), (":head", ["2"])]
)
def test_the_start_of_a_range_is_left_out(shop: Site, range_: str, revisions: list[str]) -> None:
    assert [name for name, _, _ in found(shop, range_)] == revisions


def test_what_is_applied_is_passed_over_where_a_database_answers(project: NewSite, postgresql_url: str) -> None:
    site = project(postgresql_url)
    site.revision("1", None, TABLE)
    site.revision("2", "1", INDEX)
    assert found(site) == []
    with site.app() as app:
        assert app.test_cli_runner().invoke(args=["db", "upgrade", "1"]).exit_code == 0
    assert found(site) == [("2", "error", "create-index")]
    assert found(site, "--small-tables", "10") == []
    assert query(postgresql_url, "SELECT count(*) FROM alembic_version") == [(1,)]
    with site.app() as app:
        assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    assert found(site) == []
    assert found(site, "--all") == [("2", "error", "create-index")]
    assert found(site, "1:2") == [("2", "error", "create-index")]
    assert found(site, "current:head") == []


def test_steps_that_the_ledger_has_are_passed_over(project: NewSite, sqlite_url: str) -> None:
    site = project(sqlite_url)
    site.revision(
        "1",
        None,
        """
        @phased("before-deploy")
        def upgrade():
            op.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, a INT, b INT)")
            op.drop_table("orders")
            op.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, a INT, b INT)")
            op.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")

        @upgrade.phase("after-deploy")
        def later():
            op.execute("DELETE FROM elsewhere")

        def downgrade():
            pass
        """,
    )
    assert [(level, rule) for _, level, rule in found(site)] == [
        ("warning", "unbatched-write"), ("warning", "missing-undo"),
    ]  # fmt: skip
    with site.app() as app:
        assert app.test_cli_runner().invoke(args=["db", "upgrade", "--phase", EARLY]).exit_code == 0
    assert ("1", "warning", "unbatched-write") in found(site)


def test_a_range_and_all_do_not_go_together(shop: Site) -> None:
    result = run(shop, "--all", "1:2")
    assert (result.exit_code, result.stdout) == (2, "")


def test_an_unknown_bind_is_a_usage_error(shop: Site) -> None:
    assert run(shop, "--bind", "reports").exit_code == 2


def test_nothing_pending_says_how_to_see_all(project: NewSite, sqlite_url: str) -> None:
    result = run(project(sqlite_url))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "flask db lint --all" in result.stderr


def test_each_bind_has_the_rules_of_its_engine(project: NewSite) -> None:
    site = project(NOWHERE, binds={"reports": "sqlite://"})
    site.revision("1", None, TABLE)
    site.revision(
        "2",
        "1",
        """
        @phased("after-deploy", bind="reports")
        def upgrade():
            op.create_index("a", "orders", ["email"])

        @upgrade.phase("after-deploy", bind="default")
        def upgrade_default():
            op.create_index("b", "orders", ["email"])

        @phased("after-deploy")
        def downgrade():
            op.drop_index("a" if op.get_bind().dialect.name == "sqlite" else "b", "orders")
        """,
    )
    result = json.loads(run(site, "--format", "json", "--all").stdout)
    errors = [(item["bind"], item["rule"]) for item in result["findings"] if item["level"] == "error"]
    assert errors == [("default", "create-index")]
    assert {bind: item["dialect"] for bind, item in result["targets"].items()} == {
        "default": "postgresql",
        "reports": "sqlite",
    }


# -- versions and facts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "given", "target"),
    [
        ("postgresql", "15.4", ("postgresql", (15, 4))),
        ("postgresql", "10", ("postgresql", (10,))),
        ("mysql", "8.0.36", ("mysql", (8, 0, 36))),
        ("mysql", "10.11", ("mariadb", (10, 11))),
        ("mysql", "10.6.12-MariaDB-log", ("mariadb", (10, 6, 12))),
        ("mysql", "mariadb 5.5", ("mariadb", (5, 5))),
        ("mariadb", "8.4", ("mysql", (8, 4))),
    ],
)
def test_the_version_of_the_configuration(dialect: str, given: str, target: tuple[str, tuple[int, ...]]) -> None:
    assert configured_target(Target(dialect), given) == Target(*target, "MIGRATE_TARGET_VERSION")


def test_versions_by_bind() -> None:
    assert configured_versions({"default": "15", None: 16}) == {"default": "16"}
    assert configured_versions(None) == {}
    assert configured_versions("15.4") == {"": "15.4"}


@pytest.mark.parametrize("value", [["15"], True, {"default": None}])
def test_a_version_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="MIGRATE_TARGET_VERSION"):
        configured_versions(value)


def test_a_version_without_a_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="latest"):
        configured_target(Target("postgresql"), "latest")


def test_the_configured_version_decides(project: NewSite) -> None:
    site = project(NOWHERE, config={"MIGRATE_TARGET_VERSION": "10.4"})
    site.revision("1", None, TABLE)
    column = 'sa.Column("n", sa.Integer(), server_default="0")'
    text = f"    def upgrade():\n        op.add_column('orders', {column})\n\n    def downgrade():\n"
    site.revision("2", "1", f"{text}        op.drop_column('orders', 'n')\n")
    assert found(site) == [("2", "error", "volatile-default")]


@pytest.mark.parametrize("fixture", ["sqlite_url", "postgresql_url", "mysql_url"])
def test_what_a_database_says_of_its_tables(fixture: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(fixture)
    with connect(url) as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, email VARCHAR(50) NOT NULL, n INT)")
        connection.exec_driver_sql("INSERT INTO orders VALUES (1, 'a', 1)")
        connection.exec_driver_sql("CREATE TABLE empty (Id INTEGER PRIMARY KEY, kind VARCHAR(9) DEFAULT 'a' NOT NULL)")
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ALTER TABLE orders ADD CONSTRAINT c CHECK (n IS NOT NULL)")
            connection.exec_driver_sql("ALTER TABLE orders ADD CONSTRAINT d CHECK (email IS NOT NULL) NOT VALID")
        if connection.dialect.name != "sqlite":
            connection.exec_driver_sql("ANALYZE TABLE orders" if fixture == "mysql_url" else "ANALYZE orders")
        facts, target = read_facts(connection), read_target(connection)
    email, kind = facts.columns[("orders", "email")], facts.columns[("empty", "kind")]
    assert (email.must_be_given, kind.must_be_given, facts.columns[("orders", "n")].nullable) == (True, False, True)
    assert facts.rows == {"orders": 1, "empty": 0}
    assert facts.never_null == ({("orders", "n")} if fixture == "postgresql_url" else frozenset())
    assert target.dialect in ("sqlite", "postgresql", "mariadb", "mysql")
    assert target.version is not None


def test_the_models_say_what_the_new_code_needs(project: NewSite) -> None:
    models = (
        "class Orders(db.Model):\n    id = db.Column(db.Integer, primary_key=True)\n    n = db.Column(db.Integer)\n"
    )
    site = project(NOWHERE, models=models)
    site.revision("1", None, TABLE)
    for name, column in (("2", "n"), ("3", "helper")):
        text = f"    @phased('after-deploy')\n    def upgrade():\n        op.add_column('orders', sa.Column('{column}'"
        site.revision(name, str(int(name) - 1), f"{text}, sa.Integer()))\n\n    downgrade = upgrade\n")
    assert found(site) == [("2", "error", "too-late")]


# -- assured ------------------------------------------------------------------------------------------


def test_what_is_assured_is_listed_apart_and_ends_well(project: NewSite) -> None:
    site = project(NOWHERE)
    site.revision("1", None, TABLE)
    site.revision("2", "1", ASSURED)
    result = run(site)
    assert result.exit_code == 0, result.output
    path = f"{site.versions}/2.py"
    assert f"{path}:17: assured: create-index: orders has 200 rows\n" in result.stdout
    data = json.loads(run(site, "--format", "json").stdout)
    assert data["findings"] == []
    assert [(item["rule"], item["reason"]) for item in data["assured"]] == [("create-index", "orders has 200 rows")]


def test_status_and_graph_show_what_is_assured(project: NewSite, sqlite_url: str) -> None:
    site = project(sqlite_url)
    site.revision("1", None, TABLE)
    site.revision("2", "1", ASSURED)
    with site.app() as app:
        runner = app.test_cli_runner()
        text = runner.invoke(args=["db", "status"]).stdout
        rows = json.loads(runner.invoke(args=["db", "status", "--json"]).stdout)["binds"][0]["revisions"]
        graph = runner.invoke(args=["db", "graph", "--format", "text"]).stdout
        nodes = json.loads(runner.invoke(args=["db", "graph", "--format", "json"]).stdout)["nodes"]
    assert "assured: create-index: orders has 200 rows\n" in text
    assert [row.get("assured") for row in rows] == [
        [{"rules": ["create-index"], "reason": "orders has 200 rows", "line": 16}],
        None,
    ]
    assert "(assured: create-index)" in graph
    assert [node.get("assured") for node in nodes] == [["create-index"], None]


@pytest.mark.parametrize(
    ("rules", "reason", "words"),
    [
        (("create-index",), "  ", "does not say why"),
        (("create_index",), "small", "no rule is called create_index"),
        ((), "small", "names no rule"),
    ],
)
def test_an_assurance_that_says_too_little_counts_for_nothing(rules: tuple[str, ...], reason: str, words: str) -> None:
    def work() -> None:
        with assured(*rules, reason=reason):
            op.create_index("ix", "orders", ["a"])

    rows = look(work)
    assert [(item.rule, item.level) for item in rows] == [("assurance", "error"), ("create-index", "error")]
    assert words in rows[0].message


def test_an_assurance_is_for_its_rules_and_its_block_only() -> None:
    def work() -> None:
        with assured("drop-table", reason="nobody uses either"):
            op.drop_table("a")
            op.drop_column("b", "c")
        op.drop_table("d")

    rows = report([revision("1", {EARLY: work})])
    assert [(item.rule, item.statement) for item in rows.findings] == [
        ("drop-column", "ALTER TABLE b DROP COLUMN c"),
        ("drop-table", "DROP TABLE d"),
    ]
    assert [item.reason for item in rows.assured] == ["nobody uses either"]


def test_a_file_is_read_for_what_it_assures() -> None:
    source = b"with assured('a', NAME, reason='why'):\n    x\nwith module.assured('b'): y\n"
    assert written_assurances(source) == (Assurance(("a", "NAME"), "why", 1), Assurance(("b",), "", 3))
    assert written_assurances(b"assured(") == ()


def test_a_run_does_the_same_with_and_without_an_assurance(project: NewSite, sqlite_url: str) -> None:
    site = project(sqlite_url)
    site.revision("1", None, TABLE)
    site.revision("2", "1", ASSURED)
    with site.app() as app:
        assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    assert query(sqlite_url, "SELECT name FROM sqlite_master WHERE name = 'ix_email'") == [("ix_email",)]


# -- formats ------------------------------------------------------------------------------------------


def test_text_names_place_rule_statement_and_code(shop: Site) -> None:
    result = run(shop)
    assert result.exit_code == 1
    assert result.stdout == (
        f"{shop.versions}/2.py:14: error: create-index  (2 before-deploy)\n"
        "    CREATE INDEX ix_email keeps everybody from writing to orders (lock SHARE) until it is built. Build it "
        "concurrently, by itself.\n"
        "    SQL: CREATE INDEX ix_email ON orders (email)\n"
        "    Safe:\n"
        "        with op.get_context().autocommit_block():\n"
        '            op.create_index("ix_email", "orders", ["email"], postgresql_concurrently=True)\n'
        "\n"
    )
    assert "2 revisions: 1 error, 0 warnings, 0 notes. default: postgresql, version not known" in result.stderr


def test_json_has_the_keys_that_are_agreed(shop: Site) -> None:
    data = json.loads(run(shop, "--format", "json").stdout)
    assert data["schema"] == 1
    assert data["findings"] == [
        {
            "rule": "create-index",
            "level": "error",
            "bind": "default",
            "revision": "2",
            "phase": "before-deploy",
            "direction": "upgrade",
            "path": f"{shop.versions}/2.py",
            "line": 14,
            "statement": "CREATE INDEX ix_email ON orders (email)",
            "message": "CREATE INDEX ix_email keeps everybody from writing to orders (lock SHARE) until it is built. "
            "Build it concurrently, by itself.",
            "rewrite": "with op.get_context().autocommit_block():\n"
            '    op.create_index("ix_email", "orders", ["email"], postgresql_concurrently=True)',
        }
    ]


def test_sarif_has_rules_places_and_what_is_suppressed(shop: Site) -> None:
    shop.revision("3", "2", ASSURED.replace("ix_email", "ix_other"))
    data = json.loads(run(shop, "--format", "sarif").stdout)
    one = data["runs"][0]
    assert [rule["id"] for rule in one["tool"]["driver"]["rules"]] == ["create-index"]
    assert [item["level"] for item in one["results"]] == ["error", "error"]
    assert [item["locations"][0]["physicalLocation"]["region"] for item in one["results"]] == [
        {"startLine": 14},
        {"startLine": 17},
    ]
    assert [item.get("suppressions") for item in one["results"]] == [
        [],
        [{"kind": "inSource", "justification": "orders has 200 rows"}],
    ]


def test_github_gets_annotations_of_one_line(shop: Site) -> None:
    lines = run(shop, "--format", "github").stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"::error file={shop.versions}/2.py,line=14,title=create-index::CREATE INDEX ix_email ")
    assert "%0A    op.create_index(" in lines[0]


# -- laws ---------------------------------------------------------------------------------------------

UNSAFE: dict[str, Callable[[], None]] = {
    "create-index": lambda: op.create_index("ix", "orders", ["email"]),
    "foreign-key": lambda: op.create_foreign_key("fk", "orders", "customer", ["customer_id"], ["id"]),
    "check-constraint": lambda: op.create_check_constraint("ck", "orders", "n > 0"),
    "unique-constraint": lambda: op.create_unique_constraint("uq", "orders", ["email"]),
    "set-not-null": lambda: op.alter_column("orders", "email", existing_type=sa.String(9), nullable=False),
    "volatile-default": lambda: op.add_column(
        "orders", sa.Column("u", sa.Uuid(), server_default=sa.text("gen_random_uuid()"))
    ),
    "self-numbering-column": lambda: op.add_column("orders", sa.Column("n", sa.BigInteger(), sa.Identity())),
    "drop-column": lambda: op.drop_column("orders", "email"),
    "drop-table": lambda: op.drop_table("orders"),
    "drop-index": lambda: op.drop_index("ix", "orders"),
    "scan-under-lock": lambda: op.execute("ALTER TABLE a ADD b int; UPDATE a SET b = 1"),
}


@pytest.mark.parametrize("rule", UNSAFE)
def test_the_code_that_a_finding_proposes_is_safe(rule: str, project: NewSite) -> None:
    phase = EARLY if rule.startswith(("drop-c", "drop-t", "vol", "self")) else LATE
    finding = next(item for item in look(UNSAFE[rule], phase=phase) if item.rule == rule)
    code = str(finding.rewrite).replace("...", "b = 1")
    if "def " not in code:
        body = "\n".join(f"    {line}" for line in code.splitlines())
        code = f'@phased("after-deploy")\ndef upgrade():\n{body}'
    elif "@phased" not in code:
        code = f'@phased("before-deploy")\ndef upgrade():\n    pass\n\n\n{code}'
    site = project(NOWHERE)
    head = "from flask_phased_migrate import assured\n\n\n"
    site.revision("1", None, f'{head}{code}\n\n\nirreversible = "a test"\n\n\ndef downgrade():\n    pass\n')
    result = run(site, "--format", "json")
    rows = json.loads(result.stdout)["findings"]
    assert [(item["rule"], item["message"]) for item in rows if item["level"] == "error"] == []


def test_every_rule_is_in_the_manual() -> None:
    text = (Path(__file__).parent.parent / "docs" / "lint.rst").read_text(encoding="utf-8")
    assert [name for name in RULES if f"``{name}``" not in text] == []


def test_the_parser_is_not_loaded_for_plain_operations() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import sqlalchemy as sa\nfrom alembic import op\nfrom linting import look\n"
        "look(lambda: op.add_column('a', sa.Column('b', sa.Integer(), server_default='0')))\n"
        "print('sqlglot' in sys.modules)"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=root
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("arguments", [["--help"], ["upgrade"], ["status"]])
def test_other_commands_do_not_load_the_rules(arguments: list[str], project: NewSite, sqlite_url: str) -> None:
    site = project(sqlite_url)
    site.revision("1", None, TABLE)
    site.write(
        "run.py",
        """
        import sys
        from app import app
        result = app.test_cli_runner().invoke(args=["db", *sys.argv[1:]])
        assert result.exit_code == 0, result.output
        print([name for name in ("sqlglot", "flask_phased_migrate.rules") if name in sys.modules])
        """,
    )
    done = subprocess.run(
        [sys.executable, "run.py", *arguments], capture_output=True, text=True, timeout=60, check=True, cwd=site.folder
    )
    assert done.stdout == "[]\n"


def test_a_range_of_an_unknown_revision_is_a_usage_error(shop: Site) -> None:
    result = run(shop, "nope:head")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'nope'" in result.stderr


def test_style_is_asked_for_by_an_option_or_in_the_configuration(project: NewSite) -> None:
    text = """
        @phased("before-deploy")
        def upgrade():
            op.add_column("orders", sa.Column("a", sa.String(20)))

        @phased("before-deploy")
        def downgrade():
            op.drop_column("orders", "a")
    """
    site = project(NOWHERE)
    site.revision("1", None, text)
    assert found(site) == []
    assert found(site, "--style") == [("1", "warning", "varchar-length")]
    for given, expected in (("all", 1), ("varchar-length", 1), ("wide-index, char-type", 0), (False, 0)):
        other = project(NOWHERE, config={"MIGRATE_LINT_STYLE": given})
        other.revision("1", None, text)
        assert len(found(other)) == expected
    wrong = run(project(NOWHERE, config={"MIGRATE_LINT_STYLE": "wide_index"}))
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "MIGRATE_LINT_STYLE names wide_index" in wrong.stderr


def test_environ_has_the_settings_of_the_linter_and_of_the_comparison(project: NewSite) -> None:
    settings: dict[str, Any] = {
        "MIGRATE_TARGET_VERSION": {"default": "15.4", "reports": "10.11"},
        "MIGRATE_SMALL_TABLE_ROWS": 1000,
        "MIGRATE_INCLUDE_TABLES": ["shop_*", "orders"],
        "MIGRATE_SCHEMAS": "archive",
    }
    site = project(NOWHERE, config=settings)
    with site.app() as app:
        lines = app.test_cli_runner().invoke(args=["db", "environ"]).stdout.splitlines()
    shown = dict(line.split(" = ", 1) for line in lines if line.startswith("MIGRATE_"))
    names = ("TARGET_VERSION", "SMALL_TABLE_ROWS", "INCLUDE_TABLES", "EXCLUDE_TABLES", "SCHEMAS", "LINT_STYLE")
    assert [shown[f"MIGRATE_{name}"].rpartition("  (")[0] for name in names] == [
        "default: 15.4, reports: 10.11",
        "1000",
        "shop_*, orders",
        "",
        "archive",
        "False",
    ]


def test_an_sql_file_is_looked_at_statement_by_statement(project: NewSite) -> None:
    site = project(NOWHERE)
    text = """
        @phased("before-deploy")
        def upgrade():
            op.execute_script("scripts/{name}")

        @phased("before-deploy")
        def downgrade():
            op.execute("SELECT 1")
    """
    site.write("migrations/scripts/index.sql", "-- first\nSELECT 1;\nCREATE INDEX ix ON orders (a);\n")
    site.write("migrations/scripts/fine.SQL", "UPDATE orders SET a = 1 WHERE id = 1;")
    site.write("migrations/scripts/program.py", "print(1)")
    site.revision("1", None, text.format(name="index.sql"))
    site.revision("2", "1", text.format(name="fine.SQL"))
    site.revision("3", "2", text.format(name="program.py"))
    site.revision("4", "3", text.format(name="missing.sql"))
    assert found(site) == [("1", "error", "create-index"), ("3", "warning", "opaque"), ("4", "warning", "opaque")]


def test_a_path_with_blanks_is_a_uri_in_sarif(monkeypatch: pytest.MonkeyPatch) -> None:
    from flask_phased_migrate.cli.linting import as_sarif
    from flask_phased_migrate.lint import Finding, LintReport

    monkeypatch.chdir(Path(__file__).parent)
    path = str(Path.cwd() / "my app" / "1.py")
    finding = Finding("create-index", "info", "default", "1", None, path, None, None, "why")
    data = as_sarif(LintReport((finding,)))
    assert data["runs"][0]["results"] == [
        {
            "ruleId": "create-index",
            "level": "note",
            "message": {"text": "why"},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": "my%20app/1.py"}}}],
            "properties": {"bind": "default", "revision": "1", "phase": None, "direction": "upgrade"},
            "suppressions": [],
        }
    ]
    assert (data["version"], sorted(data)) == ("2.1.0", ["$schema", "runs", "version"])
    driver = data["runs"][0]["tool"]["driver"]
    assert (driver["name"], [sorted(rule) for rule in driver["rules"]]) == (
        "flask-phased-migrate",
        [["id", "shortDescription"]],
    )


def test_several_heads_are_looked_at_together_and_one_by_one(project: NewSite) -> None:
    site = project(NOWHERE)
    site.revision("1", None, TABLE)
    site.revision("2", "1", INDEX, labels="left")
    site.revision("3", "1", INDEX.replace("ix_email", "ix_other"))
    both = {("2", "error", "create-index"), ("3", "error", "create-index")}
    for range_ in ("1:head", "1:heads", "base:heads", ":"):
        assert set(found(site, range_)) == both
    assert found(site, "1:left@head") == [("2", "error", "create-index")]
    assert found(site, "2:3") == [("3", "error", "create-index")]
    assert found(site, "2:1") == []


def test_a_column_that_becomes_an_identity_loses_no_default() -> None:
    work = lambda: op.alter_column("orders", "id", server_default=sa.Identity())  # noqa: E731
    assert look(work) == ()
    assert [item.rule for item in look(lambda: op.alter_column("orders", "id", server_default=None))] == [
        "change-default"
    ]
