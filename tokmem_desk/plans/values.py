"""Values that plans look at: found in answers and messages, read as numbers, dates, times or words."""

from __future__ import annotations

import datetime
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from tokmem_desk.templates.languages import likely_languages
from tokmem_desk.templates.readings import readings

Kind = Literal["number", "date", "time", "word"]
Comparable = Decimal | datetime.date | int | str

READ = ("number", "money", "date", "time", "duration", "name")
"""What can be read off a text: ``{message.number}``; ``{message.number.2}`` is the second."""

TODAY = "today"
_NUMBER = re.compile(r"(?<![\w.,])[-−]?\d+(?:[.,'\u00a0\u202f ]\d{3})*(?:[.,]\d+)?(?![\w])")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::[0-5]\d)?")


def shown(value: Any) -> str:
    """A value as it is put into a text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(map(shown, value))
    return json.dumps(value, ensure_ascii=False)


def value_at(response: str, arguments: Mapping[str, Any] | None, path: Sequence[str], today: str) -> Any:
    """The value at a path in an answer: keys of its object, or what is read off its text.

    Args:
        response: the whole text.
        arguments: the object that it is, where it is one.
        path: empty for the whole text.
        today: ISO date, which gives dates without a year theirs.

    Returns:
        As JSON has it; None where there is none.
    """
    if not path:
        return response
    found: Any = arguments
    if found is None:
        with suppress(ValueError):
            found = json.loads(response)
    if isinstance(found, Mapping) and path[0] in found:
        for key in path:
            if isinstance(found, list) and key.isdecimal() and 0 < int(key) <= len(found):
                found = found[int(key) - 1]
            elif isinstance(found, Mapping):
                found = found.get(key)
            else:
                return None
        return found
    if path[0] not in READ or len(path) > 2 or (len(path) == 2 and not path[1].isdecimal()):
        return None
    values = _read(response, path[0], today)
    place = int(path[1]) if len(path) == 2 else 1
    return values[place - 1] if 0 < place <= len(values) else None


def kind_of(value: Any) -> Kind:
    """How a value is compared."""
    if isinstance(value, bool):
        return "word"
    if isinstance(value, int | float):
        return "number"
    text = shown(value).strip()
    if text.casefold() == TODAY or _DATE.fullmatch(text):
        return "date"
    if _TIME.fullmatch(text):
        return "time"
    # "62" and "62 EUR" are numbers, "room 62" is a word.
    return "number" if re.match(r"\W{0,3}\d", text) and len(numbers_in(text)) == 1 else "word"


def as_kind(value: Any, kind: Kind, today: str) -> Comparable | None:
    """A value as it is compared; None where it is no such thing, or where it may be several."""
    text = shown(value).strip()
    match kind:
        case "number":
            if isinstance(value, bool):
                return None
            numbers = numbers_in(text)
            return numbers[0] if len(numbers) == 1 else None
        case "date":
            return _date(text, today)
        case "time":
            if found := _TIME.fullmatch(text):
                return int(found[1]) * 60 + int(found[2])
            times = _read(text, "time", today)
            return as_kind(times[0], "time", today) if len(times) == 1 else None
        case "word":
            return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def numbers_in(text: str) -> list[Decimal]:
    """The numbers that a text has in digits; one and a thousand may be written 1.234,50 or 1,234.50."""
    found = []
    for match in _NUMBER.finditer(text):
        with suppress(InvalidOperation):
            found.append(_number(match[0]))
    return found


def _number(text: str) -> Decimal:
    digits = re.sub(r"['\u00a0\u202f ]", "", text.replace("−", "-"))
    signs = [sign for sign in digits if sign in ".,"]
    if not signs:
        return Decimal(digits)
    last = max(digits.rfind("."), digits.rfind(","))
    # Three digits behind a lone comma, or behind several signs alike, are thousands; a lone point begins a fraction.
    alike = len(signs) > 1 and len(set(signs)) == 1
    if alike or (signs == [","] and len(digits) - last - 1 == 3):
        return Decimal(re.sub(r"[.,]", "", digits))
    return Decimal(re.sub(r"[.,]", "", digits[:last]) + "." + digits[last + 1 :])


def _date(text: str, today: str) -> datetime.date | None:
    if text.casefold() == TODAY:
        return datetime.date.fromisoformat(today)
    with suppress(ValueError):
        return datetime.date.fromisoformat(text[:10])
    dates = _read(text, "date", today)
    return datetime.date.fromisoformat(dates[0]) if len(set(dates)) == 1 else None


def _read(text: str, kind: str, today: str) -> list[Any]:
    """What a text says of one kind, in its order: numbers as numbers, dates and times as ISO has them."""
    if kind == "number":
        return [_plain(number) for number in numbers_in(text)]
    year = int(today[:4])
    best: list[Any] = []
    for language in (*likely_languages((text,)), "en"):
        found = [reading.value for reading in readings(text, language, year).get(kind, ())]
        if len(found) > len(best):
            best = found
    return [_written(kind, value) for value in best]


def _written(kind: str, value: Any) -> Any:
    if isinstance(value, datetime.date):
        return value.isoformat()
    if kind == "time":
        return f"{int(value) // 60:02d}:{int(value) % 60:02d}"
    return _plain(value) if isinstance(value, Decimal) else value


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)
