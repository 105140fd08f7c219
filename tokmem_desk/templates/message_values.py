"""Values that a message holds, and the ways in which an answer may write them.

A *spelling* writes a stretch of the message's words: as it stands, in small letters, as a slug, …. Other ways look for
numbers, months, weekdays and times of day and write them in a form of their own. All of them are what people do with
values by hand. Months, number words and times are English ones here; ``programs`` reads and writes values in any
language, and computes with them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import takewhile

from tokmem_desk.templates.languages import Vocabulary, vocabulary
from tokmem_desk.templates.tokens import TOKEN, tokens_of

_TIME = re.compile(r"\b(\d{1,2})(?:[:.h](\d{2}))?\s*([ap])\.?m\b", re.IGNORECASE)
_NOON = re.compile(r"noon|midnight", re.IGNORECASE)
_MOST_STRETCHED = 4000
"""Tokens of a message times tokens of a stretch: an expression of more takes too long to build at every value."""


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _first_down(text: str) -> str:
    return text[:1].lower() + text[1:]


def without_accents(text: str) -> str:
    """Letters without their accents; those that are letters of their own are written with others."""
    import anyascii

    return "".join(anyascii.anyascii(letter) if letter.isalpha() else letter for letter in text)


def _with_e(text: str) -> str:
    """The same, but two dots become an e: Müller, mueller."""
    parts = unicodedata.normalize("NFD", text)
    return without_accents(unicodedata.normalize("NFC", parts.replace("\u0308", "e")))


SPELLINGS: dict[str, tuple[Callable[[str], str], str | None]] = {
    "as it is": (str, None),
    "small": (str.lower, None),
    "capital": (str.upper, None),
    "first capital": (_first_up, None),
    "first small": (_first_down, None),
    "title": (str.title, None),
    "slug": (str.lower, "-"),
    "snake": (str.lower, "_"),
    "slug, without accents": (lambda text: without_accents(text).lower(), "-"),
    "slug, ae for ä": (lambda text: _with_e(text).lower(), "-"),
    "any capitals": (str.lower, None),
}
"""What is done to a stretch, and what joins its words and numbers (None: what stood between them)."""

ANY_CAPITALS = "any capitals"
"""The spelling that also leaves every word its choice of capitals: ``celsius`` or ``Celsius``."""


_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$#&~/\-])")


def escape(text: str) -> str:
    """A regular expression that matches this text alone."""
    return _SPECIAL.sub(r"\\\1", text).replace("\n", "\\n").replace("\t", "\\t")


def spelled_at(message: str, value: str, way: str) -> Iterator[tuple[int, ...]]:
    """Which tokens of the message, by place, a value is in that spelling: once for each stretch that it can be."""
    change, joint = SPELLINGS[way]
    if not value or value != value.strip():
        return
    spelling = change(value) if way == ANY_CAPITALS else value
    pieces = _pieces(message, joint)
    for start, (_, first) in enumerate(pieces):
        if first.isspace() or not spelling.startswith(change(first)):
            continue
        text = ""
        for end in range(start, len(pieces)):
            text += (joint if joint is not None and text else "") + pieces[end][1]
            changed = change(text)
            if changed == spelling:
                yield tuple(place for place, _ in pieces[start : end + 1])
            if len(changed) >= len(spelling):
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


def stretch(message: str, way: str, first: int, last: int) -> str:
    """The regular expression of one stretch of the message in that spelling.

    Args:
        first, last: places of its tokens.
    """
    change, joint = SPELLINGS[way]
    pieces = [piece for place, piece in _pieces(message, joint) if first <= place <= last]
    if way == ANY_CAPITALS:
        pattern = waiting = ""
        for piece in pieces:
            # A space belongs to the word behind it, as in ``spans``.
            pattern += "" if piece.isspace() else _in_any_capitals(waiting + piece)
            waiting = waiting + piece if piece.isspace() else ""
        return pattern
    return escape(change((joint or "").join(pieces)))


def _in_any_capitals(piece: str) -> str:
    """The expression of a piece of a stretch: as it is, in small letters, or with a capital in front."""
    word = piece.lstrip()
    ways = sorted({word, word.lower(), _first_up(word.lower()), _first_up(word), _first_down(word)})
    return escape(piece[: len(piece) - len(word)]) + (
        f"(?:{'|'.join(map(escape, ways))})" if len(ways) > 1 else escape(word)
    )


@lru_cache(maxsize=4096)
def written(message: str, way: str) -> tuple[tuple[int, str], ...]:
    """What numbers, months and times of the message are in that way of writing, and the place of each one's token."""
    starts = {match.start(): place for place, match in enumerate(TOKEN.finditer(message))}
    return tuple((starts[start], value) for start, value in _WAYS[way](message) if start in starts)


_Found = list[tuple[int, str]]
"""Where something begins in the message, in characters, and what it is."""


def _runs(message: str) -> _Found:
    return [(found.start(), found[0]) for found in re.finditer(r"\d+", message)]


def _words(message: str) -> _Found:
    return [(found.start(), found[0]) for found in re.finditer(r"[^\W\d_]{3,}", message)]


def _english() -> Vocabulary:
    words = vocabulary("en")
    assert words is not None
    return words


def _month_name(number: int) -> str:
    return _english().month_names[0][number - 1]


def _months(message: str) -> list[tuple[int, int]]:
    names = [name.lower() for name in _english().month_names[0]]
    named = [
        (start, n)
        for start, word in _words(message)
        for n, month in enumerate(names, 1)
        if month.startswith(word.lower())
    ]
    numbers = [(start, int(run)) for start, run in _runs(message) if len(run) <= 2]
    return named + [(start, n) for start, n in numbers if 1 <= n <= len(names)]


def _small_numbers(message: str) -> list[tuple[int, int]]:
    numbers = _english().numbers
    found = re.finditer(r"[^\W\d_]+", message)
    return [(one.start(), numbers[one[0].lower()]) for one in found if numbers.get(one[0].lower(), 13) <= 12]


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
    "month, ABC": lambda m: [(at, _month_name(n)[:3].upper()) for at, n in _months(m)],
    "month, Abc": lambda m: [(at, _month_name(n)[:3]) for at, n in _months(m)],
    "month, abc": lambda m: [(at, _month_name(n)[:3].lower()) for at, n in _months(m)],
    "month": lambda m: [(at, _month_name(n)) for at, n in _months(m)],
    "abc of a word": lambda m: [(at, word[:3].lower()) for at, word in _words(m)],
    "Abc of a word": lambda m: [(at, word[:3].title()) for at, word in _words(m)],
    "ABC of a word": lambda m: [(at, word[:3].upper()) for at, word in _words(m)],
    "hour, two digits": lambda m: [(at, f"{hour:02d}") for at, hour in _hours(m)],
    "hour": lambda m: [(at, str(hour)) for at, hour in _hours(m)],
}
WAYS = tuple(_WAYS)
"""The ways of ``written``."""
