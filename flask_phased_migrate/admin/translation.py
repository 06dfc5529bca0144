"""The pages in the reader's language, where the application has Flask-Babel; else in English."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from flask import current_app

from .texts import WORDS, Text

DOMAIN = "flask_phased_migrate"
FOLDER = Path(__file__).parent / "translations"


@dataclass(frozen=True)
class Language:
    """What a page is written in: ``tag`` for ``lang``, ``direction`` for ``dir``."""

    tag: str = "en"
    direction: str = "ltr"
    domain: Any = None

    def phrase(self, message: str | Text, **facts: object) -> str:
        """Return a sentence of ours; templates call it by this name, which is how its messages are collected."""
        if isinstance(message, Text):
            return self._of_text(message)
        translated = message if self.domain is None else str(self.domain.gettext(message))
        return translated % facts if facts else translated

    def phrases(self, one: str, many: str, number: int, **facts: object) -> str:
        """Return a sentence about ``number`` things."""
        return self._of_text(Text(one, many, number, {"number": f"{number:,}", **facts}))

    @cached_property
    def words(self) -> Mapping[str, str]:
        """The words of the badges."""
        return {name: self.phrase(word) for name, word in WORDS.items()}

    def _of_text(self, text: Text) -> str:
        if self.domain is None:
            return str(text)
        if text.many is None:
            translated = str(self.domain.gettext(text.one))
        else:
            # The number is put in below, with the other facts.
            translated = str(self.domain.get_translations().ungettext(text.one, text.many, text.number))
        return translated % text.facts if text.facts else translated


def current_language() -> Language:
    """Return the language of the current request."""
    if "babel" not in current_app.extensions:
        return Language()
    from flask_babel import Domain, get_locale

    locale = get_locale()
    if locale is None:
        return Language()
    domain = Domain(translation_directories=[str(FOLDER)], domain=DOMAIN)
    if not _is_ours(locale):
        return Language()
    return Language(str(locale).replace("_", "-"), locale.text_direction, domain)


def _is_ours(locale: Any) -> bool:
    """Return whether there is a catalogue: a page in English is not to call itself Chinese."""
    return any((FOLDER / name / "LC_MESSAGES" / f"{DOMAIN}.mo").is_file() for name in (str(locale), locale.language))
