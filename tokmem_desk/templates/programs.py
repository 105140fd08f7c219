"""Programs that compute a value of an answer from values of a message, by names that people can read.

A program is written ``WRITER of OPERAND (LANGUAGE)`` or ``WRITER of OPERAND OPERATION OPERAND (LANGUAGE)``, such as
``month, two digits of first date (de)``, ``number of number after hive (en)`` or ``hour of first time plus first
duration (de)``. An operand is a kind of reading and which one of them; ``any`` leaves it open. A year behind the
language is that of dates that name none. The names stand in files, so none of them changes its meaning.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tokmem_desk.templates.languages import LANGUAGE, Vocabulary, vocabulary
from tokmem_desk.templates.message_values import without_accents
from tokmem_desk.templates.readings import KINDS, Reading, Value, knows_weekday, readings

ORDINALS: Mapping[str, int] = {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1}
OPERATIONS = ("plus", "minus", "times")
_MOST_VALUES = 40
_LARGEST = 10**12
_PLACES = 12
"""Decimal places of a duration."""


@dataclass(frozen=True, slots=True)
class Operand:
    """Which readings of a message: all of a kind, one by its place among them, or those beside a word.

    Attributes:
        which: ``any``, one of ``ORDINALS``, ``after``, ``before``, or ``constant``.
        word: the word beside it, or the constant's digits.
    """

    kind: str
    which: str = "any"
    word: str = ""

    def __str__(self) -> str:
        if self.which == "constant":
            return self.word
        return f"{self.kind} {self.which} {self.word}" if self.word else f"{self.which} {self.kind}"

    def values(self, found: Mapping[str, Sequence[Reading]]) -> list[Value]:
        """Its values among the readings of a message."""
        if self.which == "constant":
            return [Decimal(self.word)]
        some = found.get(self.kind, ())
        if self.which == "any":
            return [one.value for one in some]
        if self.which == "after":
            some = [one for one in some if one.before == self.word][:1]
        elif self.which == "before":
            some = [one for one in some if one.after == self.word][:1]
        else:
            place = ORDINALS[self.which]
            some = some[place:][:1] if place < 0 or place < len(some) else ()
        return [one.value for one in some]


@dataclass(frozen=True, slots=True)
class Program:
    """How to compute a value; ``str`` gives its name."""

    writer: str
    operand: Operand
    language: str
    operation: str = ""
    other: Operand | None = None
    year: int | None = None

    def __str__(self) -> str:
        rest = f" {self.operation} {self.other}" if self.other is not None else ""
        year = f", {self.year}" if self.year is not None else ""
        return f"{self.writer} of {self.operand}{rest} ({self.language}{year})"

    def values(self, message: str) -> list[Value]:
        """What its operands give in a message, before it is written."""
        found = readings(message, self.language, self.year)
        values = self.operand.values(found)
        if self.other is None or not values:
            return values
        others = self.other.values(found)
        if self.operand.kind in ("date", "start") and self.other.kind == "duration":
            others = [one / 1440 for one in others if isinstance(one, Decimal)]
        results = (_operate(self.operation, left, right) for left in values for right in others)
        return [one for one in results if one is not None]

    @property
    def leaves_open(self) -> bool:
        """Whether it leaves open which value of a message is meant."""
        return self.operand.which == "any" and self.other is None

    def placed(self, message: str) -> list[tuple[int, int, str]]:
        """What it makes of each value of a message, with the [start, end) of the value in characters."""
        found = readings(message, self.language, self.year).get(self.operand.kind, ())
        return [
            (one.start, one.end, text)
            for one in found
            if one.end > one.start
            for text in write_all(self.writer, [one.value], self.language)
        ]

    def results(self, message: str) -> tuple[str, ...]:
        """What it makes of a message, each once; none where the message has no such value."""
        return write_all(self.writer, self.values(message), self.language)


def write_all(writer: str, values: Sequence[Value], language: str) -> tuple[str, ...]:
    """Values as a writer writes them, each text once; values that it cannot write are left out."""
    words = vocabulary(language) if values else None
    if words is None:
        return ()
    write = WRITERS[writer]
    texts: dict[str, None] = {}
    for value in values[:_MOST_VALUES]:
        # A file may name any writer for any kind of value: one that cannot write it writes nothing.
        try:
            text = write(value, words)
        except (TypeError, ValueError, ArithmeticError, AttributeError, IndexError):
            continue
        if text:
            texts[text] = None
    return tuple(texts)


def writes_letters(writer: str) -> bool:
    """Whether what it writes is letters, not digits."""
    return writer.startswith(("month", "weekday", "text", "initial", "first word", "last word")) and writer not in (
        "month and day",
    )


_OPERAND = r"(?:any|first|second|third|fourth|last) (?:{kinds})|(?:{kinds}) (?:after|before) [^\W\d_]+"
_NAME = re.compile(
    r"(?P<writer>[^()]+?) of (?P<operand>{operand})(?: (?P<operation>plus|minus|times) (?P<other>{operand}|\d+))?"
    r" \((?P<language>{language})(?:, (?P<year>\d{{4}}))?\)".format(
        operand=_OPERAND.format(kinds="|".join(KINDS)), language=LANGUAGE.pattern
    )
)


@lru_cache(maxsize=1024)
def program_named(name: str) -> Program | None:
    """The program of that name; None where it is the name of none."""
    found = _NAME.fullmatch(name)
    if found is None or found["writer"] not in WRITERS:
        return None
    other = None if found["other"] is None else _operand(found["other"])
    year = None if found["year"] is None else int(found["year"])
    return Program(
        found["writer"], _operand(found["operand"]), found["language"], found["operation"] or "", other, year
    )


def _operand(text: str) -> Operand:
    if text.isdecimal():
        return Operand("number", "constant", text)
    first, second, *word = text.split(" ")
    return Operand(first, second, word[0]) if word else Operand(second, first)


def _operate(operation: str, left: Value, right: Value) -> Value | None:
    """The result; None where such values have none together."""
    if isinstance(left, str) or isinstance(right, str):
        return None
    if isinstance(left, datetime.date) or isinstance(right, datetime.date):
        if not isinstance(left, datetime.date) or isinstance(right, datetime.date):
            return None
        days = int(right) if abs(Decimal(right)) < _LARGEST else 0
        try:
            return left + datetime.timedelta(days if operation == "plus" else -days)
        except OverflowError:
            return None
    left, right = Decimal(left), Decimal(right)
    if max(abs(left), abs(right)) > _LARGEST:
        return None
    return {"plus": left + right, "minus": left - right, "times": left * right}[operation]


_Write = Callable[[Any, Vocabulary], str | None]


def _whole(width: int) -> _Write:
    def write(value: Any, words: Vocabulary) -> str | None:
        del words
        return f"{int(value):0{width}d}" if isinstance(value, Decimal | int) and 0 <= value < _LARGEST else None

    return write


def _fraction(value: Any, words: Vocabulary) -> str | None:
    """What stands behind a number's point."""
    del words
    if not isinstance(value, Decimal) or value == int(value):
        return None
    return str(value.normalize()).partition(".")[2]


def _cents(value: Any, words: Vocabulary) -> str | None:
    del words
    return f"{value:.2f}"[-2:] if isinstance(value, Decimal | int) and 0 <= value < _LARGEST else None


def _plain(value: Any, words: Vocabulary) -> str | None:
    """A number as short as it can be."""
    del words
    if not isinstance(value, Decimal | int):
        return None
    return str(int(value)) if value == int(value) else str(Decimal(value).normalize())


def _in_units(minutes: Decimal | Fraction, write: _Write) -> _Write:
    """Minutes in a unit of so many minutes; fractions and rounded, since a second has no exact decimal in minutes."""

    def written(value: Any, words: Vocabulary) -> str | None:
        if not isinstance(value, Decimal | int):
            return None
        exact = round(Fraction(value) / Fraction(minutes), _PLACES)
        return write(Decimal(exact.numerator) / exact.denominator, words)

    return written


def _exact(write: _Write) -> _Write:
    """Nothing for numbers that are not whole."""
    return lambda value, words: write(value, words) if value == int(value) else None


def _of_name(names: str, wide: bool, change: Callable[[str], str], offset: int = 0) -> _Write:
    def write(value: Any, words: Vocabulary) -> str | None:
        if isinstance(value, datetime.date):
            if names == "weekday_names" and not knows_weekday(value):
                return None
            value = value.weekday() if names == "weekday_names" else value.month
        some = getattr(words, names)[0 if wide else 1]
        place = value - offset
        return change(some[place]) if isinstance(value, int) and 0 <= place < len(some) else None

    return write


def _of_date(change: Callable[[datetime.date], str]) -> _Write:
    def write(value: Any, words: Vocabulary) -> str | None:
        del words
        return change(value) if isinstance(value, datetime.date) else None

    return write


def _of_number(change: Callable[[int], str]) -> _Write:
    def write(value: Any, words: Vocabulary) -> str | None:
        del words
        return change(int(value)) if isinstance(value, int | Decimal) else None

    return write


def _of_time(change: Callable[[int], str]) -> _Write:
    return _of_number(lambda number: change(number % 1440))


def _of_text(change: Callable[[str], str]) -> _Write:
    def write(value: Any, words: Vocabulary) -> str | None:
        del words
        return change(value) if isinstance(value, str) else None

    return write


_CUTS: Mapping[str, tuple[bool, Callable[[str], str]]] = {
    "": (True, str),
    ", small": (True, str.lower),
    ", capital": (True, str.upper),
    ", title": (True, str.title),
    ", Abc": (True, lambda name: name[:3].title()),
    ", ABC": (True, lambda name: name[:3].upper()),
    ", abc": (True, lambda name: name[:3].lower()),
    ", Ab": (True, lambda name: name[:2].title()),
    ", AB": (True, lambda name: name[:2].upper()),
    ", ab": (True, lambda name: name[:2].lower()),
    ", short": (False, str),
    ", short capital": (False, str.upper),
    ", short small": (False, str.lower),
    ", short title": (False, str.title),
}

WRITERS: dict[str, _Write] = {
    "number": _exact(_whole(1)),
    "whole": _whole(1),
    "plain": _plain,
    **{f"{words} digits": _whole(width) for width, words in ((2, "two"), (3, "three"), (4, "four"), (5, "five"))},
    "fraction": _fraction,
    "cents": _cents,
    "seconds": _in_units(Fraction(1, 60), _exact(_whole(1))),
    "minutes": _in_units(Decimal(1), _exact(_whole(1))),
    "hours": _in_units(Decimal(60), _whole(1)),
    "hours, two digits": _in_units(Decimal(60), _whole(2)),
    "hundredths of an hour": _in_units(Decimal(60), _cents),
    "minutes beyond hours": _of_number(lambda number: f"{number % 60:02d}"),
    "days": _in_units(Decimal(1440), _exact(_whole(1))),
    **{f"month{name}": _of_name("month_names", wide, change, 1) for name, (wide, change) in _CUTS.items()},
    **{f"weekday{name}": _of_name("weekday_names", wide, change) for name, (wide, change) in _CUTS.items()},
    "day of the month": _of_date(lambda date: str(date.day)),
    "day of the month, two digits": _of_date(lambda date: f"{date.day:02d}"),
    "number of the month": _of_date(lambda date: str(date.month)),
    "number of the month, two digits": _of_date(lambda date: f"{date.month:02d}"),
    "month and day": _of_date(lambda date: f"{date.month:02d}{date.day:02d}"),
    "day and month": _of_date(lambda date: f"{date.day:02d}{date.month:02d}"),
    "last two digits": _of_number(lambda number: f"{number % 100:02d}"),
    "hour": _of_time(lambda time: str(time // 60)),
    "hour, two digits": _of_time(lambda time: f"{time // 60:02d}"),
    "minute": _of_time(lambda time: f"{time % 60:02d}"),
    "hour and minute": _of_time(lambda time: f"{time // 60:02d}{time % 60:02d}"),
    "text": _of_text(str),
    "digits": _of_text(str),
    "digits without zeros in front": _of_text(lambda text: text.lstrip("0")),
    "text, small": _of_text(str.lower),
    "text, capital": _of_text(str.upper),
    "initial": _of_text(lambda text: text[0].upper()),
    "initial, small": _of_text(lambda text: text[0].lower()),
    "initials": _of_text(lambda text: "".join(word[0].upper() for word in text.split())),
    "initials, small": _of_text(lambda text: "".join(word[0].lower() for word in text.split())),
    "initials, small, without accents": _of_text(
        lambda text: "".join(without_accents(word)[0].lower() for word in text.split())
    ),
    "first word": _of_text(lambda text: text.split()[0]),
    "last word": _of_text(lambda text: text.split()[-1]),
    "last word, capital": _of_text(lambda text: text.split()[-1].upper()),
    "last word, small": _of_text(lambda text: text.split()[-1].lower()),
}

_DATE = ("month and day", "day and month", "day of the month", "day of the month, two digits", "number of the month",
         "number of the month, two digits", *(f"month{name}" for name in _CUTS),
         *(f"weekday{name}" for name in _CUTS))  # fmt: skip

WRITTEN: Mapping[str, tuple[str, ...]] = {
    "date": _DATE,
    "start": _DATE,
    "weekday": ("number", *(f"weekday{name}" for name in _CUTS)),
    "day": ("number", "two digits"),
    "month": ("number", "two digits", *(f"month{name}" for name in _CUTS)),
    "year": ("number", "last two digits"),
    "money": ("whole", "plain", "cents", "fraction"),
    "currency": ("text",),
    "duration": ("seconds", "minutes", "hours", "days", "hundredths of an hour"),
    "number": ("number", "plain", "whole", "two digits", "three digits", "four digits", "five digits", "fraction",
               "cents"),
    "time": ("hour, two digits", "hour", "minute", "hour and minute"),
    "span": ("number", "two digits"),
    "interval": ("hours", "minutes", "hundredths of an hour", "hours, two digits", "minutes beyond hours"),
    "sum": ("number", "plain", "whole", "cents"),
    "count": ("number",),
    "name": ("initials", "initials, small", "initials, small, without accents", "initial", "first word", "last word",
             "last word, capital", "last word, small", "initial, small"),
    "word": ("initial", "initial, small"),
    "digits": ("digits", "digits without zeros in front"),
}  # fmt: skip
"""How values of each kind are written, the most particular kinds first. What a program makes of two values is of the
kind ``result_kind``."""


def result_kind(operation: str, left: str, right: str) -> str | None:
    """The kind of value that an operation has; None where it is of no use."""
    if left == "date" and right in ("number", "duration") and operation in ("plus", "minus"):
        return "date"
    if left == "time" and right in ("number", "duration") and operation in ("plus", "minus"):
        return "time"
    amounts = ("number", "money", "span")
    if left in amounts and right in amounts:
        return "money" if "money" in (left, right) else "number"
    return None
