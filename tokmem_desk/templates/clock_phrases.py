"""How people say times of day and lengths of time in words: "halb sieben", "quarter past six", "hora y media".

Unicode's CLDR and its rules for numbers know the numbers in them, not the phrases, and no library that is kept up reads
them in more than a few languages. So here is a table, for the languages whose phrases were at hand; others have none.

A phrase is words with ``H`` for an hour, ``M`` for minutes and ``N`` for hours, all as numbers in words or digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from tokmem_desk.templates.tokens import tokens_of


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase and what it means.

    Attributes:
        words: in small letters; ``H``, ``M`` and ``N`` stand for numbers.
        minutes: added to the hour, or the length of time.
        sign: of the minutes that ``M`` stands for.
    """

    words: tuple[str, ...]
    minutes: int
    sign: int = 0

    @property
    def is_sure(self) -> bool:
        """Whether it cannot be a length of time as well, as "zwei uhr" could."""
        return self.words[0] not in ("H", "M") or (self.minutes == 0 and self.sign == 0)


_CLOCK: Mapping[str, Mapping[str, str]] = {
    "en": {"half past H": "30", "half H": "30", "quarter past H": "15", "quarter after H": "15", "quarter to H": "-15",
           "M past H": "+M", "M minutes past H": "+M", "M minutes to H": "-M", "H M pm": "+M",
           "H M am": "+M", "at H M": "+M"},
    "de": {"halb H": "-30", "viertel nach H": "15", "viertel vor H": "-15", "dreiviertel H": "-15", "M nach H": "+M",
           "drei viertel H": "-15", "M vor H": "-M", "M nach halb H": "-30+M", "M vor halb H": "-30-M",
           "M minuten nach H": "+M", "M minuten vor H": "-M", "H uhr M": "+M"},
    "nl": {"half H": "-30", "kwart over H": "15", "kwart voor H": "-15", "M over H": "+M", "M voor H": "-M",
           "M over half H": "-30+M", "M voor half H": "-30-M", "H uur M": "+M", "om H uur": "0", "rond H uur": "0",
           "tegen H uur": "0", "vanaf H uur": "0", "tot H uur": "0", "H uur 's": "0"},
    "fr": {"H heures et quart": "15", "H heures et demie": "30", "H heures moins le quart": "-15",
           "H heures moins M": "-M", "H heure et quart": "15", "H heure et demie": "30", "H h moins M": "-M",
           "H h moins le quart": "-15", "à H heures M": "+M", "vers H heures M": "+M", "midi et demi": "750",
           "midi et quart": "735", "midi moins le quart": "705", "à H heures": "0", "vers H heures": "0",
           "dès H heures": "0", "H heures du": "0"},
    "es": {"H y cuarto": "15", "H y media": "30", "H menos cuarto": "-15", "H menos M": "-M", "H y M": "+M",
           "las H": "0", "la una": "60", "la una y M": "60+M", "la una y media": "90", "la una y cuarto": "75",
           "la una menos cuarto": "45", "la una menos M": "60-M"},
    "it": {"H e un quarto": "15", "H e mezza": "30", "H e mezzo": "30", "H meno un quarto": "-15", "H meno M": "-M",
           "H e M": "+M", "alle H": "0", "dalle H": "0", "le H": "0", "ore H": "0", "all ' una": "60",
           "all ' una e mezza": "90", "all ' una e un quarto": "75", "all ' una meno un quarto": "45",
           "all ' una e M": "60+M"},
    "pt": {"H e meia": "30", "H e quarto": "15", "H e um quarto": "15", "quarto para as H": "-15",
           "M para as H": "-M", "H e M": "+M", "H menos um quarto": "-15", "H menos M": "-M", "às H": "0",
           "pelas H": "0", "à uma": "60", "à uma e meia": "90", "à uma e M": "60+M"},
    "sv": {"halv H": "-30", "kvart över H": "15", "kvart i H": "-15", "M över H": "+M", "M i H": "-M",
           "M i halv H": "-30-M", "M över halv H": "-30+M", "klockan H": "0", "klockan H och M": "+M"},
    "da": {"halv H": "-30", "kvart over H": "15", "kvart i H": "-15", "M over H": "+M", "M i H": "-M",
           "M i halv H": "-30-M", "M over halv H": "-30+M", "M minutter over H": "+M", "M minutter i H": "-M",
           "M minutter over halv H": "-30+M", "M minutter i halv H": "-30-M", "klokken H": "0"},
    "nb": {"halv H": "-30", "kvart over H": "15", "kvart på H": "-15", "M over H": "+M", "M på H": "-M",
           "M på halv H": "-30-M", "M over halv H": "-30+M", "klokken H": "0"},
    "pl": {"wpół do H": "-30", "kwadrans po H": "15", "za kwadrans H": "-15", "M po H": "+M", "za M H": "-M",
           "o H": "0", "od H": "0", "do H": "0", "około H": "0", "o H M": "+M", "H M rano": "+M", "H rano": "0",
           "H wieczorem": "0", "H po południu": "0"},
    "ru": {"половина H": "-30", "половине H": "-30", "пол H": "-30", "без четверти H": "-15", "четверть H": "-45",
           "без M H": "-M", "без M минут H": "-M", "M минут H": "-60+M", "в H": "0", "в H M": "+M", "к H": "0",
           "с H": "0", "до H": "0", "H утра": "0", "H дня": "0", "H вечера": "0", "H часов утра": "0",
           "H часа дня": "0", "H часов дня": "0", "H часов вечера": "0", "в H часов": "0", "в H часа": "0"},
    "uk": {"пів на H": "-30", "за чверть H": "-15", "чверть на H": "-45", "чверть по H": "15", "о H": "0"},
    "cs": {"půl H": "-30", "čtvrt na H": "-45", "tři čtvrtě na H": "-15", "v H": "0", "ve H": "0", "v H M": "+M"},
    "tr": {"H buçukta": "30", "H buçuk": "30", "saat H": "0"},
    "fi": {"puoli H": "-30", "varttia vaille H": "-15", "varttia yli H": "15"},
}  # fmt: skip

_POINTS: Mapping[str, Mapping[str, int]] = {
    "en": {"midday": 720, "noon": 720},
    "de": {"mittags": 720, "mittag": 720, "mitternachts": 0},
    "nl": {"middaguur": 720, "tussen de middag": 720},
    "es": {"medianoche": 0, "medio día": 720},
    "pt": {"meio-dia": 720, "meia-noite": 0, "meio dia": 720, "meia noite": 0},
    "sv": {"lunchtid": 720},
    "tr": {"öğlen": 720},
}
"""Noon and midnight as people say them, where CLDR has another word or none."""

_HOURS: Mapping[str, str] = {
    "pl": "pierwszej drugiej trzeciej czwartej piątej szóstej siódmej ósmej dziewiątej dziesiątej jedenastej dwunastej"
          " trzynastej czternastej piętnastej szesnastej siedemnastej osiemnastej dziewiętnastej dwudziestej",
    "cs": "jednu druhé třetí čtvrté páté šesté sedmé osmé deváté desáté jedenácté dvanácté",
    "uk": "першу другу третю четверту п'яту шосту сьому восьму дев'яту десяту одинадцяту дванадцяту",
    "fi": "yhdeltä kahdelta kolmelta neljältä viideltä kuudelta seitsemältä kahdeksalta yhdeksältä kymmeneltä"
          " yhdeltätoista kahdeltatoista",
}  # fmt: skip
"""Hours as phrases decline them, from one on."""

_HOUR_NAMES: Mapping[str, Mapping[str, int]] = {
    "pl": {"pierwsza": 1, "druga": 2, "trzecia": 3, "czwarta": 4, "piąta": 5, "szósta": 6, "siódma": 7, "ósma": 8,
           "dziewiąta": 9, "dziesiąta": 10, "jedenasta": 11, "dwunasta": 12},
}  # fmt: skip

_PERIODS: Mapping[str, Mapping[str, bool]] = {
    "de": {"früh": False, "am morgen": False, "in der früh": False},
    "nl": {"s ochtends": False, "s morgens": False, "s middags": True, "s avonds": True, "s nachts": False},
    "nb": {"om morgenen": False, "om formiddagen": False, "om ettermiddagen": True, "om kvelden": True},
    "da": {"om morgenen": False},
    "es": {"por la mañana": False, "por la tarde": True, "por la noche": True},
    "it": {"di mattina": False, "del mattino": False},
    "pt": {"de manhã": False, "à tarde": True, "à noite": True},
}
"""Times of day as people say them, and whether they are after noon."""

_LENGTHS: Mapping[str, Mapping[str, str]] = {
    "en": {"half an hour": "30", "half hour": "30", "quarter of an hour": "15", "three quarters of an hour": "45",
           "hour and a half": "90", "N and a half hours": "30", "N and a half hour": "30"},
    "de": {"halbe stunde": "30", "halben stunde": "30", "viertelstunde": "15", "dreiviertelstunde": "45",
           "anderthalb stunden": "90", "eineinhalb stunden": "90", "einer halben stunde": "30",
           "zweieinhalb stunden": "150", "dreieinhalb stunden": "210", "viereinhalb stunden": "270",
           "fünfeinhalb stunden": "330", "drei viertel stunden": "45"},
    "nl": {"half uur": "30", "halfuur": "30", "kwartier": "15", "drie kwartier": "45", "anderhalf uur": "90",
           "uur en een kwartier": "75", "N en een half uur": "30", "tweeënhalf uur": "150", "drieënhalf uur": "210",
           "vierenhalf uur": "270"},
    "fr": {"demi-heure": "30", "quart d'heure": "15", "trois quarts d'heure": "45", "heure et demie": "90",
           "heure et quart": "75", "N heures et demie": "30"},
    "es": {"media hora": "30", "cuarto de hora": "15", "hora y media": "90", "tres cuartos de hora": "45",
           "hora y cuarto": "75", "N horas y media": "30", "N horas y cuarto": "15"},
    "it": {"mezz'ora": "30", "mezzora": "30", "mezza ora": "30", "quarto d'ora": "15", "ora e mezza": "90",
           "ora e mezzo": "90", "tre quarti d'ora": "45", "ora e un quarto": "75", "N ore e mezza": "30",
           "N ore e mezzo": "30", "un'ora e mezza": "90", "un'ora e un quarto": "75", "un'ora": "60"},
    "pt": {"meia hora": "30", "quarto de hora": "15", "hora e meia": "90", "três quartos de hora": "45",
           "hora e um quarto": "75", "N horas e meia": "30"},
    "sv": {"halvtimme": "30", "kvart": "15", "halv timme": "30", "tre kvart": "45", "en och en halv timme": "90",
           "N och en halv timme": "30"},
    "da": {"halv time": "30", "kvarter": "15", "halvanden time": "90", "tre kvarter": "45", "N en halv time": "30",
           "N og en halv time": "30"},
    "nb": {"halv time": "30", "kvarter": "15", "halvannen time": "90", "tre kvarter": "45",
           "N og en halv time": "30"},
    "pl": {"pół godziny": "30", "kwadrans": "15", "półtorej godziny": "90", "trzy kwadranse": "45",
           "N i pół godziny": "30", "godzinę": "60"},
    "ru": {"полчаса": "30", "четверть часа": "15", "полтора часа": "90", "N с половиной часа": "30",
           "N с половиной часов": "30"},
    "uk": {"півгодини": "30", "чверть години": "15", "півтори години": "90"},
    "cs": {"půl hodiny": "30", "čtvrt hodiny": "15", "tři čtvrtě hodiny": "45", "hodinu a půl": "90",
           "N a půl hodiny": "30"},
    "tr": {"yarım saat": "30", "N buçuk saat": "30", "çeyrek saat": "15"},
    "fi": {"puoli tuntia": "30", "puolitoista tuntia": "90"},
}  # fmt: skip
"""``N`` is a number of hours in front of what is said."""


_TAKEN_BACK: Mapping[str, str] = {
    "en": "no sorry wait actually rather correction",
    "de": "nee nein quatsch moment sorry vielmehr korrektur",
    "nl": "nee sorry wacht correctie",
    "fr": "non pardon plutôt attends correction",
    "es": "no perdón digo mejor corrijo",
    "it": "no anzi scusa scusate correggo",
    "pt": "não aliás digo desculpa desculpe perdão",
    "sv": "nej förlåt snarare",
    "da": "nej undskyld rettelse",
    "nb": "nei unnskyld",
    "pl": "nie znaczy przepraszam raczej",
    "ru": "нет точнее вернее",
}
"""Words by which people take back the value in front of them: "at nine, no, at ten"."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(token for token in tokens_of(text) if not token.isspace())


def _phrase(text: str, meaning: str) -> Phrase:
    fixed, sign = meaning.removesuffix("M").rstrip("+-"), 0
    if meaning.endswith("M"):
        sign = 1 if meaning[-2] == "+" else -1
    return Phrase(_words(text), int(fixed or 0), sign)


@lru_cache(maxsize=64)
def clock_phrases(language: str) -> tuple[Phrase, ...]:
    """Phrases for times of day, the longest first."""
    found = (_phrase(text, meaning) for text, meaning in _CLOCK.get(language, {}).items())
    return tuple(sorted(found, key=lambda phrase: -len(phrase.words)))


@lru_cache(maxsize=64)
def point_phrases(language: str) -> tuple[Phrase, ...]:
    """Phrases for noon and midnight, the longest first."""
    found = (Phrase(_words(text), minutes) for text, minutes in _POINTS.get(language, {}).items())
    return tuple(sorted(found, key=lambda phrase: -len(phrase.words)))


@lru_cache(maxsize=64)
def length_phrases(language: str) -> tuple[Phrase, ...]:
    """Phrases for lengths of time, the longest first."""
    found = (Phrase(_words(text), int(minutes)) for text, minutes in _LENGTHS.get(language, {}).items())
    return tuple(sorted(found, key=lambda phrase: -len(phrase.words)))


@lru_cache(maxsize=64)
def hour_names(language: str) -> Mapping[str, int]:
    """Hours as phrases decline them."""
    declined = {word: hour for hour, word in enumerate(_HOURS.get(language, "").split(), 1)}
    return {**declined, **_HOUR_NAMES.get(language, {})}


def period_phrases(language: str) -> Mapping[str, bool]:
    """Times of day as people say them, and whether they are after noon."""
    return _PERIODS.get(language, {})


@lru_cache(maxsize=64)
def words_of_correction(language: str) -> frozenset[str]:
    """Words by which people take back a value that they have just said."""
    return frozenset(_TAKEN_BACK.get(language, "").split())
