"""The admin pages in other languages, through Flask-Babel; and the catalogues that they come from."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from admin_pages import get_json, get_page, make_app, small_source, two_binds
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from flask import Flask

from flask_phased_migrate.admin import blueprint, translation
from flask_phased_migrate.admin.blueprint import PAGES
from flask_phased_migrate.admin.texts import texts

LANGUAGES = sorted(path.name for path in translation.FOLDER.iterdir() if path.is_dir())
KEYWORDS: dict[str, Any] = {"text": (1,), "texts": (1, 2), "phrase": (1,), "phrases": (1, 2)}
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]


def catalogue(path: Path) -> Catalog:
    return read_po(io.BytesIO(path.read_bytes()))


def words(found: Catalog) -> dict[Any, Any]:
    def fixed(value: Any) -> Any:
        return tuple(value) if isinstance(value, (list, tuple)) else value

    return {fixed(message.id): fixed(message.string) for message in found if message.id}


def test_the_template_has_every_word_of_the_pages() -> None:
    folder = str(Path(blueprint.__file__).parent)
    found = {entry[2] for entry in extract_from_dir(folder, METHODS, keywords=KEYWORDS)}

    assert set(words(catalogue(translation.FOLDER / f"{translation.DOMAIN}.pot"))) == found


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_word_with_the_same_places(language: str) -> None:
    wanted = set(words(catalogue(translation.FOLDER / f"{translation.DOMAIN}.pot")))
    folder = translation.FOLDER / language / "LC_MESSAGES"
    found = words(catalogue(folder / f"{translation.DOMAIN}.po"))

    assert set(found) == wanted
    for key, value in found.items():
        keys, values = (item if isinstance(item, tuple) else (item,) for item in (key, value))
        assert all(values), key
        assert {place for text in keys for place in re.findall(r"%\(\w+\)s", text)} == {
            place for text in values for place in re.findall(r"%\(\w+\)s", text)
        }


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_catalogue_is_of_the_written_one(language: str) -> None:
    folder = translation.FOLDER / language / "LC_MESSAGES"
    compiled = read_mo(io.BytesIO((folder / f"{translation.DOMAIN}.mo").read_bytes()))

    assert words(compiled) == words(catalogue(folder / f"{translation.DOMAIN}.po"))


def app_in(language: str) -> Flask:
    from flask_babel import Babel

    app = make_app(two_binds())
    Babel(app, locale_selector=lambda: language)
    return app


def test_a_page_is_in_the_language_of_flask_babel() -> None:
    page = get_page(app_in("de").test_client(), "/migrations/")

    assert page.all("html") == [{"lang": "de", "dir": "ltr", "class": "migrate-admin-page"}]
    assert "1 Schritt auszuführen. 2c Befehl: flask db upgrade --phase after-deploy --bind default" in page.text
    assert "ausstehend" in page.text
    assert "Kein Schritt ist fehlgeschlagen oder unterbrochen." in page.text


@pytest.mark.parametrize("path", ["/", *PAGES.values()])
def test_every_page_can_be_shown_in_another_language(path: str) -> None:
    address = f"/migrations{path}".replace("<revision>", "1b").replace("<int:number>", "1")

    assert get_page(app_in("de").test_client(), address).all("html")[0]["lang"] == "de"


def test_errors_are_in_that_language_too() -> None:
    page = get_page(app_in("de").test_client(), "/migrations/?bind=x", 400)

    assert "Es gibt keinen Bind „x“. Die Binds sind:" in page.text


def test_json_is_never_translated() -> None:
    answer = get_json(app_in("de").test_client(), "/migrations/index.json")

    assert answer["checks"][0]["text"] == "No step failed or was interrupted."


@pytest.mark.parametrize("language", ["en", "fr", "zh_Hans_CN"])
def test_a_language_without_a_catalogue_is_english_and_says_so(language: str) -> None:
    page = get_page(app_in(language).test_client(), "/migrations/")

    assert page.all("html")[0]["lang"] == "en"
    assert "1 step to run." in page.text


def test_a_region_of_a_language_has_its_words() -> None:
    assert get_page(app_in("de_AT").test_client(), "/migrations/").all("html")[0]["lang"] == "de-AT"


def test_without_flask_babel_the_pages_are_english() -> None:
    assert get_page(make_app(small_source()).test_client(), "/migrations/").all("html")[0]["lang"] == "en"


@pytest.mark.parametrize(
    ("number", "english", "german"),
    [(1, "1 step to run.", "1 Schritt auszuführen."), (2000, "2,000 steps to run.", "2,000 Schritte auszuführen.")],
)
def test_a_sentence_about_a_number_has_its_plural(number: int, english: str, german: str) -> None:
    found = texts("%(number)s step to run.", "%(number)s steps to run.", number)
    with app_in("de").test_request_context():
        translated = translation.current_language().phrase(found)

    assert (str(found), translated) == (english, german)
