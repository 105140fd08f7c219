"""Values that a message holds, and the ways in which an answer may write them.

A *spelling* writes a stretch of the message's words: as it stands, in small letters, as a slug, …. Other ways look for
numbers, months, weekdays and times of day and write them in a form of their own. All of them are what people do with
values by hand; months and number words are English ones, and a message in another language simply has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

TOKEN = re.compile(r"[^\W\d_]+|\d+|\s|[^\w\s]|_")
"""A word, a run of digits, or one other character."""

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
           "november", "december")  # fmt: skip
_NUMBERS = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
} | {
    word: number
    for number, word in enumerate(
        ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"), start=1
    )
}
_TIME = re.compile(r"\b(\d{1,2})(?:[:.h](\d{2}))?\s*([ap])\.?m\b", re.IGNORECASE)
_LONGEST = 160
"""Tokens of a message in which stretches are looked for."""


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _first_down(text: str) -> str:
    return text[:1].lower() + text[1:]


SPELLINGS: dict[str, tuple[Callable[[str], str], str | None]] = {
    "as it is": (str, None),
    "small": (str.lower, None),
    "capital": (str.upper, None),
    "first capital": (_first_up, None),
    "first small": (_first_down, None),
    "title": (str.title, None),
    "slug": (str.lower, "-"),
    "snake": (str.lower, "_"),
}
"""What is done to a stretch, and what joins its words and numbers (None: what stood between them)."""


_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$#&~/\-])")


def escape(text: str) -> str:
    """A regular expression that matches this text alone."""
    return _SPECIAL.sub(r"\\\1", text).replace("\n", "\\n").replace("\t", "\\t")


def tokens_of(text: str) -> list[str]:
    return TOKEN.findall(text)


def is_spelled(message: str, value: str, way: str) -> bool:
    """Whether a value is a stretch of the message in that spelling."""
    change, joint = SPELLINGS[way]
    if not value or value != value.strip():
        return False
    pieces, wanted = tokens_of(message)[:_LONGEST], value
    if joint is not None:
        pieces = [piece for piece in pieces if piece.isalnum()]
    for start in range(len(pieces)):
        if pieces[start].isspace():
            continue
        text = ""
        for end in range(start, len(pieces)):
            text += (joint if joint is not None and text else "") + pieces[end]
            changed = change(text)
            if changed == wanted:
                return True
            if len(changed) >= len(wanted):
                break
    return False


def spans(message: str, way: str, longest: int) -> Iterator[str]:
    """Regular expressions of the stretches of at most ``longest`` tokens in that spelling, one for each beginning.

    With a longest of one, words and numbers alone.
    """
    change, joint = SPELLINGS[way]
    pieces = tokens_of(message)[:_LONGEST]
    if joint is not None:
        pieces = [piece for piece in pieces if piece.isalnum()]
    for start, first in enumerate(pieces):
        if first.isspace() or (longest == 1 and not first.isalnum()):
            continue
        stretch = pieces[start : start + longest]
        while stretch and stretch[-1].isspace():
            stretch.pop()
        text, pattern, closing = "", "", 0
        waiting = ""
        for piece in stretch:
            # A stretch ends behind a word or a sign, not behind a space, so spaces wait for what follows.
            if joint is None and piece.isspace():
                waiting += piece
                continue
            more = (joint if joint is not None and text else "") + waiting + piece
            waiting = ""
            before = change(text)
            text += more
            added = change(text)[len(before) :]
            pattern += f"(?:{escape(added)}" if before else escape(added)
            closing += bool(before)
        yield pattern + ")?" * closing


def written(message: str, way: str) -> set[str]:
    """What numbers, months and times of the message are in that way of writing."""
    return set(_WAYS[way](message))


def _runs(message: str) -> list[str]:
    return re.findall(r"\d+", message)


def _words(message: str) -> list[str]:
    return re.findall(r"[^\W\d_]{3,}", message)


def _month_numbers(message: str) -> list[int]:
    words = _words(message.lower())
    named = [n for word in words for n, month in enumerate(_MONTHS, 1) if month.startswith(word)]
    return named + [int(run) for run in _runs(message) if 1 <= int(run) <= 12]


def _small_numbers(message: str) -> list[int]:
    return [_NUMBERS[word] for word in re.findall(r"[a-z]+", message.lower()) if word in _NUMBERS]


def _hours(message: str) -> list[int]:
    found = [int(hour) % 12 + (12 if half.lower() == "p" else 0) for hour, _, half in _TIME.findall(message)]
    low = message.lower()
    return found + ([12] if "noon" in low else []) + ([0] if "midnight" in low else [])


_WAYS: dict[str, Callable[[str], list[str]]] = {
    "number": _runs,
    "two digits": lambda m: [f"{int(run):02d}" for run in _runs(m) if len(run) <= 2],
    "without zeros": lambda m: [str(int(run)) for run in _runs(m) if len(run) <= 15],
    "last two digits": lambda m: [run[-2:] for run in _runs(m) if len(run) == 4],
    "number of a word": lambda m: [str(number) for number in _small_numbers(m)],
    "two digits of a word": lambda m: [f"{number:02d}" for number in _small_numbers(m)],
    "month, two digits": lambda m: [f"{n:02d}" for n in _month_numbers(m)],
    "month, number": lambda m: [str(n) for n in _month_numbers(m)],
    "month, ABC": lambda m: [_MONTHS[n - 1][:3].upper() for n in _month_numbers(m)],
    "month, Abc": lambda m: [_MONTHS[n - 1][:3].title() for n in _month_numbers(m)],
    "month, abc": lambda m: [_MONTHS[n - 1][:3] for n in _month_numbers(m)],
    "month": lambda m: [_MONTHS[n - 1].title() for n in _month_numbers(m)],
    "abc of a word": lambda m: [word[:3].lower() for word in _words(m)],
    "Abc of a word": lambda m: [word[:3].title() for word in _words(m)],
    "ABC of a word": lambda m: [word[:3].upper() for word in _words(m)],
    "hour, two digits": lambda m: [f"{hour:02d}" for hour in _hours(m)],
    "hour": lambda m: [str(hour) for hour in _hours(m)],
}
WAYS = tuple(_WAYS)
"""The ways of ``written``."""
