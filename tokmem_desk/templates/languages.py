"""Words for months, weekdays, times of day, units, currencies and numbers, in the languages of Unicode's CLDR.

Babel brings CLDR's names and patterns, unicode-rbnf its rules for numbers in words. Both are imported when a language
is first asked for, and what was read of a language is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tokmem_desk.templates.clock_phrases import (
    Phrase,
    clock_phrases,
    hour_names,
    length_phrases,
    period_phrases,
    point_phrases,
    words_of_correction,
)

LANGUAGES = (
    "en", "zh", "hi", "es", "ar", "fr", "bn", "pt", "ru", "id", "de", "ja", "tr", "vi", "ko", "it", "pl", "uk", "fa",
    "nl", "th", "ro", "el", "hu", "cs", "sv", "he", "da", "fi", "nb", "sk", "hr", "bg", "lt", "sl", "lv", "et", "ca",
)  # fmt: skip
"""Languages that are looked for, by the number of their speakers."""

LANGUAGE = re.compile(r"[a-z]{2,3}(?:_[A-Za-z]{2,4})?")
"""What the code of a language looks like."""

_MOST_LANGUAGES = 2
_LEAST_SHARE = 0.2
"""Share of messages that must have a word of a language."""
_SHARED = 3
"""A word of a language is shared with so many others, or a language is so much rarer than the likeliest."""

_EVERY_WORD = 100
"""Numbers up to it in all genders and cases, further ones in the plain form only."""
_LARGEST = 1000
_MOST_ORDINAL = 31
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_NOON = 12 * 3600


_ARTICLES: Mapping[str, tuple[str, ...]] = {
    "en": ("a", "an"),
    "de": ("ne", "nen", "ner"),
    "nl": ("n",),
}
"""In most languages the article is the numeral one, which CLDR spells out; here is what people say else."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words of a language, in small letters and without full stops at their ends.

    Attributes:
        months: 1 to 12.
        weekdays: 0 (Monday) to 6.
        numbers: numbers and ordinals, their words joined by single spaces.
        units: units of time, in seconds.
        periods: times of day, and whether they are after noon.
        points: noon and midnight, in minutes.
        currencies: names, symbols and codes, and the code.
        month_names, weekday_names: as the language writes them; wide, then abbreviated.
        dates: patterns of dates in digits, with the groups ``d``, ``m`` and perhaps ``y``.
        hour_words: what stands behind an hour in digits.
        day_first: whether a day stands in front of its month.
        articles: articles that mean one in front of a unit of time, where they are no numerals.
        clock, lengths: phrases for times of day and for lengths of time.
        noons: phrases for noon and midnight, which count where no other time is said.
        hours: hours as phrases decline them.
        link: the word for "and".
        corrections: words by which people take back a value that they have just said.
    """

    months: Mapping[str, int]
    weekdays: Mapping[str, int]
    numbers: Mapping[str, int]
    units: Mapping[str, int]
    periods: Mapping[str, bool]
    points: Mapping[str, int]
    currencies: Mapping[str, str]
    month_names: tuple[tuple[str, ...], tuple[str, ...]]
    weekday_names: tuple[tuple[str, ...], tuple[str, ...]]
    dates: tuple[re.Pattern[str], ...]
    hour_words: tuple[str, ...]
    day_first: bool
    articles: tuple[str, ...] = ()
    clock: tuple[Phrase, ...] = ()
    lengths: tuple[Phrase, ...] = ()
    noons: tuple[Phrase, ...] = ()
    hours: Mapping[str, int] = field(default_factory=dict)
    link: str = ""
    corrections: frozenset[str] = frozenset()

    def month(self, word: str) -> int | None:
        """The month that a word names, also shortened or declined."""
        return _named(plain(word), self.months)

    def weekday(self, word: str) -> int | None:
        """The weekday that a word names, also declined."""
        return _named(plain(word), self.weekdays)


def plain(word: str) -> str:
    """A word as vocabularies have it."""
    found = unicodedata.normalize("NFKC", word).casefold().strip(" .\u200e\u200f").replace("\xad", "")
    # Russian is written with and without these dots.
    return found.replace("\u0451", "\u0435")


_SHORTENED = 3
_DECLINED = 5
"""Letters of a word that may be shortened, and of one that may end otherwise."""


def _named(word: str, names: Mapping[str, int]) -> int | None:
    if word in names:
        return names[word]
    if len(word) < _SHORTENED or not word.isalpha():
        return None
    begun = {number for name, number in names.items() if len(name) >= len(word) and name.startswith(word)}
    if len(begun) == 1 and all(letter.isascii() for letter in word):
        return begun.pop()
    ends = {
        number
        for name, number in names.items()
        if len(name) >= _DECLINED and word.startswith(name[:-1]) and len(word) <= len(name) + 1
    }
    return ends.pop() if len(ends) == 1 else None


@lru_cache(maxsize=64)
def vocabulary(language: str) -> Vocabulary | None:
    """The words of a language; None for one that CLDR does not have.

    The first call for a language takes some tenths of a second.
    """
    from babel import Locale, UnknownLocaleError

    try:
        locale = Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        return None
    months = _calendar(locale.months)
    weekdays = _calendar(locale.days)
    units = {
        plain(pattern.replace("{0}", "")): seconds
        for unit, seconds in _UNITS.items()
        for pattern in _unit_patterns(locale, f"duration-{unit}")
    }
    periods, points = _day_periods(locale)
    periods |= period_phrases(language)
    return Vocabulary(
        {word: int(number) for word, number in months.items()},
        {word: int(number) for word, number in weekdays.items()},
        _numbers(language),
        {word: seconds for word, seconds in units.items() if word},
        periods,
        points,
        _currencies(locale),
        (_names(locale.months, range(1, 13), "wide"), _names(locale.months, range(1, 13), "abbreviated")),
        (_names(locale.days, range(7), "wide"), _names(locale.days, range(7), "abbreviated")),
        tuple(_date_patterns(locale)),
        tuple(_hour_words(locale)),
        str(locale.datetime_skeletons.get("MMMMd", "d")).startswith("d"),
        _ARTICLES.get(language, ()),
        clock_phrases(language),
        length_phrases(language),
        point_phrases(language),
        hour_names(language),
        plain(str(locale.list_patterns["standard"]["2"]).replace("{0}", "").replace("{1}", "")),
        words_of_correction(language),
    )


def _calendar(names: Any) -> dict[str, int]:
    """Names of months or days in all widths but the narrowest, which are letters."""
    return {
        plain(name): int(number)
        for context in ("format", "stand-alone")
        for width in ("wide", "abbreviated", "short")
        for number, name in (names.get(context, {}).get(width) or {}).items()
        # One letter is a word of its own in scripts without blanks.
        if len(plain(name)) > 1 and not any(letter.isdigit() for letter in name)
    }


def _names(names: Any, numbers: Iterable[int], width: str) -> tuple[str, ...]:
    return tuple(names["format"][width][number].rstrip(".") for number in numbers)


def _unit_patterns(locale: Any, unit: str) -> Iterator[str]:
    # Babel has no public way to a unit's words without a number.
    for width in ("long", "short"):
        with suppress(KeyError, AttributeError):
            for pattern in locale._data["unit_patterns"][unit][width].values():
                if isinstance(pattern, str):
                    yield pattern


def _day_periods(locale: Any) -> tuple[dict[str, bool], dict[str, int]]:
    periods: dict[str, bool] = {}
    points: dict[str, int] = {}
    rules = (locale.day_period_rules or {}).get(None) or {}
    for context in ("format", "stand-alone"):
        for width in ("wide", "abbreviated"):
            for name, word in (locale.day_periods.get(context, {}).get(width) or {}).items():
                if name in ("noon", "midnight"):
                    points[plain(word)] = 720 * (name == "noon")
                elif name in ("am", "pm"):
                    periods[plain(word)] = name == "pm"
                    periods[plain(word.replace(".", "").replace("\xa0", ""))] = name == "pm"
                else:
                    begins = min((rule["from"] for rule in rules.get(name, ()) if "from" in rule), default=None)
                    if begins is not None:
                        periods[plain(word)] = begins >= _NOON
    return periods, points


def _currencies(locale: Any) -> dict[str, str]:
    found = {plain(symbol): code for code, symbol in locale.currency_symbols.items()}
    plural = locale._data.get("currency_names_plural", {})
    for code in ("EUR", "USD", "GBP", "CHF", "JPY", "PLN", "RUB", "CNY", "SEK", "NOK", "DKK", "CZK", "HUF", "TRY",
                 "INR", "BRL", "UAH", "RON", "BGN", "KRW", "CAD", "AUD"):  # fmt: skip
        found[code.casefold()] = code
        with suppress(KeyError):
            found[plain(locale.currencies[code])] = code
        for name in plural.get(code, {}).values():
            found[plain(name)] = code
            # Where nobody says otherwise: "pounds" for British pounds, "euros" for euros.
            found.setdefault(plain(name).split()[-1], code)
    return found


_RULES = {"nb": "no"}
"""Languages whose rules for numbers stand under another code."""


def _numbers(language: str) -> dict[str, int]:
    from unicode_rbnf import FormatPurpose, RbnfEngine
    from unicode_rbnf.engine import RbnfError

    try:
        engine = RbnfEngine.for_language(_RULES.get(language, language.split("_")[0]))
    except ValueError:
        return {}
    found: dict[str, int] = {}
    for number in range(_LARGEST + 1):
        for purpose in (FormatPurpose.CARDINAL, FormatPurpose.ORDINAL):
            if purpose is FormatPurpose.ORDINAL and not 0 < number <= _MOST_ORDINAL:
                continue
            with suppress(ValueError, KeyError, RbnfError):
                names = ["spellout-numbering"] if number > _EVERY_WORD else None
                texts = (
                    [engine.format_number(number, ruleset_names=names).text]
                    if names
                    else engine.format_number(number, purpose=purpose).text_by_ruleset.values()
                )
                for text in texts:
                    found.setdefault(_joined(text), number)
    # "hundert" beside "einhundert": what "zweihundert" has behind "zwei".
    for scale in (100, 1000):
        for two in [words for words, number in found.items() if number == 2]:
            with suppress(ValueError, KeyError, RbnfError):
                text = _joined(engine.format_number(2 * scale, ruleset_names=["spellout-numbering"]).text)
                if text.startswith(two):
                    found.setdefault(text.removeprefix(two).strip(), scale)
    return {words: number for words, number in found.items() if words and not words[0].isdigit()}


def _joined(text: str) -> str:
    return " ".join(plain(text).replace("-", " ").split())


def _date_patterns(locale: Any) -> Iterator[re.Pattern[str]]:
    """Patterns of dates that have no name of a month in them."""
    # A year in front is followed by the month in every language, whichever sign stands between.
    yield re.compile(r"(?<!\d)(?P<y>\d{4})(?P<sign>[-/])(?P<m>\d{1,2})(?P=sign)(?P<d>\d{1,2})(?!\d)")
    seen = set()
    for skeleton in ("yMd", "yMMMd", "Md", "MMMd"):
        pattern = str(locale.datetime_skeletons.get(skeleton, ""))
        # In some languages the month's name is its number.
        if not pattern or ("MMM" in pattern) or pattern in seen:
            continue
        seen.add(pattern)
        text, pattern = "", pattern.rstrip(".")
        for letters, quoted, sign in re.findall(r"([dMy]+)|'([^']*)'|(.)", pattern):
            if letters:
                text += {"d": r"(?P<d>\d{1,2})", "M": r"(?P<m>\d{1,2})", "y": r"(?P<y>\d{4}|\d{2})"}[letters[0]]
            else:
                text += re.escape(quoted or sign).replace(r"\ ", r"\s?")
        yield re.compile(rf"(?<!\d){text}(?!\d)" if text.endswith(")") else rf"(?<!\d){text}")


def _hour_words(locale: Any) -> Iterator[str]:
    for skeleton in ("H", "h"):
        pattern = str(locale.datetime_skeletons.get(skeleton, ""))
        # What is quoted is text; of the rest, ASCII letters are fields.
        for quoted, sign in re.findall(r"'([^']*)'|([^\W\d_])", pattern):
            if word := plain(quoted or ("" if sign.isascii() else sign)):
                yield word


@lru_cache(maxsize=64)
def likely_languages(messages: tuple[str, ...]) -> tuple[str, ...]:
    """The languages whose words for dates, units and numbers stand in some of the messages, the likeliest first."""
    words = [{plain(word) for word in re.findall(r"[^\W\d_]+", message)} for message in messages]
    if not words:
        return ()
    known = _words_of_languages()
    hits: dict[str, float] = {}
    for one in words:
        for word in one:
            languages = known.get(word, ())
            for language in languages:
                # A word that many languages have, such as "april", says little.
                hits[language] = hits.get(language, 0.0) + 1 / len(languages)
        for language in _by_script("".join(one)):
            hits[language] = hits.get(language, 0.0) + 1
    least = max(_LEAST_SHARE * len(words) / _SHARED, max(hits.values(), default=0.0) / _SHARED)
    likely = sorted(hits, key=lambda language: (-hits[language], language))[:_MOST_LANGUAGES]
    return tuple(language for language in likely if hits[language] >= least)


def _by_script(letters: str) -> set[str]:
    """Languages that are written without blanks, by letters that they alone have."""
    names = {unicodedata.name(letter, "").split(" ")[0] for letter in letters if not letter.isascii()}
    if names & {"HIRAGANA", "KATAKANA"}:
        return {"ja"}
    return {"zh"} if "CJK" in names else {"th"} if "THAI" in names else set()


@lru_cache(maxsize=1)
def _words_of_languages() -> dict[str, tuple[str, ...]]:
    """Words for dates, units and small numbers, and the languages that have them; takes some seconds."""
    found: dict[str, list[str]] = {}
    for language in LANGUAGES:
        for word in _date_words(language) | _small_numbers(language):
            found.setdefault(word, []).append(language)
    return {word: tuple(languages) for word, languages in found.items()}


@lru_cache(maxsize=64)
def _date_words(language: str) -> frozenset[str]:
    from babel import Locale

    locale = Locale.parse(language)
    units = (
        plain(pattern.replace("{0}", "")) for unit in _UNITS for pattern in _unit_patterns(locale, f"duration-{unit}")
    )
    found = {*_calendar(locale.months), *_calendar(locale.days), *units, *_hour_words(locale)}
    # Scripts without blanks: their words are not found as words.
    return frozenset(word for word in found if len(word) > 2)


@lru_cache(maxsize=64)
def _small_numbers(language: str) -> frozenset[str]:
    from unicode_rbnf import RbnfEngine
    from unicode_rbnf.engine import RbnfError

    found: set[str] = set()
    # A language without such rules has no words for numbers here.
    with suppress(ValueError, KeyError, RbnfError):
        engine = RbnfEngine.for_language(_RULES.get(language, language))
        for number in range(2, 21):
            found.update(map(_joined, engine.format_number(number).text_by_ruleset.values()))
    return frozenset(word for word in found if len(word) > 2)
