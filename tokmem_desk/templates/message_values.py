"""Values that a message holds, and the ways in which an answer may write them.

A *spelling* writes a stretch of the message's words: as it stands, in small letters, as a slug, …. Other ways look for
numbers, months, weekdays and times of day and write them in a form of their own. All of them are what people do with
values by hand; months and number words are English ones, and a message in another language simply has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import takewhile

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
_NOON = re.compile(r"noon|midnight", re.IGNORECASE)
_MOST_STRETCHED = 4000
"""Tokens of a message times tokens of a stretch: an expression of more takes too long to build at every value."""


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
    "any capitals": (str.lower, None),
}
"""What is done to a stretch, and what joins its words and numbers (None: what stood between them)."""

ANY_CAPITALS = "any capitals"
"""The spelling that also leaves every word its choice of capitals: ``celsius`` or ``Celsius``."""


_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$#&~/\-])")


def escape(text: str) -> str:
    """A regular expression that matches this text alone."""
    return _SPECIAL.sub(r"\\\1", text).replace("\n", "\\n").replace("\t", "\\t")


def tokens_of(text: str) -> list[str]:
    return TOKEN.findall(text)


def spelled_at(message: str, value: str, way: str) -> Iterator[tuple[int, ...]]:
    """Which tokens of the message, by place, a value is in that spelling: once for each stretch that it can be."""
    change, joint = SPELLINGS[way]
    if not value or value != value.strip():
        return
    wanted = change(value) if way == ANY_CAPITALS else value
    pieces = _pieces(message, joint)
    for start, (_, first) in enumerate(pieces):
        if first.isspace() or not wanted.startswith(change(first)):
            continue
        text = ""
        for end in range(start, len(pieces)):
            text += (joint if joint is not None and text else "") + pieces[end][1]
            changed = change(text)
            if changed == wanted:
                yield tuple(place for place, _ in pieces[start : end + 1])
            if len(changed) >= len(wanted):
                break


def _pieces(message: str, joint: str | None) -> list[tuple[int, str]]:
    """Tokens of the message with their places; words and numbers alone where something joins them."""
    pieces = list(enumerate(tokens_of(message)))
    return pieces if joint is None else [one for one in pieces if one[1].isalnum()]


def too_long(message: str, longest: int) -> bool:
    """Whether the stretches of at most ``longest`` tokens are too many to say in one expression."""
    return len(message) * longest > _MOST_STRETCHED and len(tokens_of(message)) * longest > _MOST_STRETCHED


def spans(message: str, way: str, longest: int, used: frozenset[int] = frozenset()) -> Iterator[tuple[int, str]]:
    """Regular expressions of the stretches of at most ``longest`` tokens in that spelling, one for each beginning.

    With a longest of one, words and numbers alone.

    Args:
        used: places of tokens that no stretch may hold.

    Returns:
        The place of the first token, and the expression.
    """
    change, joint = SPELLINGS[way]
    pieces = _pieces(message, joint)
    for start, (place, first) in enumerate(pieces):
        if place in used or first.isspace() or (longest == 1 and not first.isalnum()):
            continue
        stretch = [piece for _, piece in takewhile(lambda one: one[0] not in used, pieces[start : start + longest])]
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
            added = _in_any_capitals(more) if way == ANY_CAPITALS else escape(change(text)[len(before) :])
            pattern += f"(?:{added}" if before else added
            closing += bool(before)
        yield place, pattern + ")?" * closing


def _in_any_capitals(piece: str) -> str:
    """The expression of a piece of a stretch: as it is, in small letters, or with a capital in front."""
    word = piece.lstrip()
    ways = sorted({word, word.lower(), _first_up(word.lower()), _first_up(word), _first_down(word)})
    return escape(piece[: len(piece) - len(word)]) + (
        f"(?:{'|'.join(map(escape, ways))})" if len(ways) > 1 else escape(word)
    )


def written(message: str, way: str) -> list[tuple[int, str]]:
    """What numbers, months and times of the message are in that way of writing, and the place of each one's token."""
    starts = {match.start(): place for place, match in enumerate(TOKEN.finditer(message))}
    return [(starts[start], value) for start, value in _WAYS[way](message) if start in starts]


_Found = list[tuple[int, str]]
"""Where something begins in the message, in characters, and what it is."""


def _runs(message: str) -> _Found:
    return [(found.start(), found[0]) for found in re.finditer(r"\d+", message)]


def _words(message: str) -> _Found:
    return [(found.start(), found[0]) for found in re.finditer(r"[^\W\d_]{3,}", message)]


def _months(message: str) -> list[tuple[int, int]]:
    named = [
        (start, n)
        for start, word in _words(message)
        for n, month in enumerate(_MONTHS, 1)
        if month.startswith(word.lower())
    ]
    numbers = [(start, int(run)) for start, run in _runs(message) if len(run) <= 2]
    return named + [(start, n) for start, n in numbers if 1 <= n <= len(_MONTHS)]


def _small_numbers(message: str) -> list[tuple[int, int]]:
    found = re.finditer(r"[^\W\d_]+", message)
    return [(one.start(), _NUMBERS[one[0].lower()]) for one in found if one[0].lower() in _NUMBERS]


def _hours(message: str) -> list[tuple[int, int]]:
    found = [(one.start(), int(one[1]) % 12 + (12 if one[3].lower() == "p" else 0)) for one in _TIME.finditer(message)]
    return found + [(one.start(), 12 * (one[0].lower() == "noon")) for one in _NOON.finditer(message)]


_WAYS: dict[str, Callable[[str], _Found]] = {
    "number": _runs,
    "two digits": lambda m: [(at, f"{int(run):02d}") for at, run in _runs(m) if len(run) <= 2],
    "without zeros": lambda m: [(at, str(int(run))) for at, run in _runs(m) if len(run) <= 15],
    "last two digits": lambda m: [(at, run[-2:]) for at, run in _runs(m) if len(run) == 4],
    "number of a word": lambda m: [(at, str(number)) for at, number in _small_numbers(m)],
    "two digits of a word": lambda m: [(at, f"{number:02d}") for at, number in _small_numbers(m)],
    "month, two digits": lambda m: [(at, f"{n:02d}") for at, n in _months(m)],
    "month, number": lambda m: [(at, str(n)) for at, n in _months(m)],
    "month, ABC": lambda m: [(at, _MONTHS[n - 1][:3].upper()) for at, n in _months(m)],
    "month, Abc": lambda m: [(at, _MONTHS[n - 1][:3].title()) for at, n in _months(m)],
    "month, abc": lambda m: [(at, _MONTHS[n - 1][:3]) for at, n in _months(m)],
    "month": lambda m: [(at, _MONTHS[n - 1].title()) for at, n in _months(m)],
    "abc of a word": lambda m: [(at, word[:3].lower()) for at, word in _words(m)],
    "Abc of a word": lambda m: [(at, word[:3].title()) for at, word in _words(m)],
    "ABC of a word": lambda m: [(at, word[:3].upper()) for at, word in _words(m)],
    "hour, two digits": lambda m: [(at, f"{hour:02d}") for at, hour in _hours(m)],
    "hour": lambda m: [(at, str(hour)) for at, hour in _hours(m)],
}
WAYS = tuple(_WAYS)
"""The ways of ``written``."""
