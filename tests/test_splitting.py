"""SQL files as statements: where a client would end one, and where it would not."""

from __future__ import annotations

import pytest

from flask_phased_migrate.splitting import split_sql


@pytest.mark.parametrize(
    ("dialect", "text", "statements"),
    [
        ("postgresql", "", ()),
        ("postgresql", " ;; -- nothing; here\n/* ; */ ;", ()),
        ("postgresql", "A 'x;''y';\nB", ("A 'x;''y'", "B")),
        ("postgresql", 'A ";" ; B', ('A ";"', "B")),
        ("postgresql", "A -- ;\n B; C /* /* ; */ ; */ D", ("A -- ;\n B", "C /* /* ; */ ; */ D")),
        ("postgresql", "A $$ ; $$; B $x$ $$ ; $x$", ("A $$ ; $$", "B $x$ $$ ; $x$")),
        ("postgresql", "A $1; B a$b$; C", ("A $1", "B a$b$", "C")),
        ("postgresql", r"A E'\';'; B 'x\'; C", (r"A E'\';'", r"B 'x\'", "C")),
        ("postgresql", "CREATE RULE r ON DELETE TO t DO (A; B); C", ("CREATE RULE r ON DELETE TO t DO (A; B)", "C")),
        (
            "postgresql",
            "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE 1 WHEN 1 THEN 2 END; END; B",
            ("CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE 1 WHEN 1 THEN 2 END; END", "B"),
        ),
        ("postgresql", "BEGIN; A; END; B", ("BEGIN", "A", "END", "B")),
        ("mysql", r"A 'x\';'; B `;`; C # ;" + "\n; D 5--3; E", (r"A 'x\';'", "B `;`", "C # ;", "D 5--3", "E")),
        (
            "mariadb",
            "A;\nDELIMITER //\nCREATE TRIGGER t BEGIN A; B; END//\ndelimiter ;\nC;",
            ("A", "CREATE TRIGGER t BEGIN A; B; END", "C"),
        ),
        ("mysql", "/*!40101 SET NAMES utf8 */; A", ("/*!40101 SET NAMES utf8 */", "A")),
        (
            "sqlite",
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT ';'; SELECT 2; END; B [c]; D",
            ("CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT ';'; SELECT 2; END", "B [c]", "D"),
        ),
        ("sqlite", "A; -- last", ("A",)),
    ],
)  # fmt: skip
def test_a_file_is_divided_as_its_client_does_it(dialect: str, text: str, statements: tuple[str, ...]) -> None:
    assert split_sql(text, dialect) == statements


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A;\nB 'x; C", 'what begins with "\'x" in line 2 is not closed'),
        ("A $$ ; C", "what begins with '$$' in line 1 is not closed"),
        ("/* A", "what begins with '/*' in line 1 is not closed"),
        ("A;\n\\connect other\n", r"'\connect other' is a command of psql itself"),
    ],
)
def test_a_file_that_cannot_be_divided_says_where(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        split_sql(text, "postgresql")
    assert words in str(caught.value)
