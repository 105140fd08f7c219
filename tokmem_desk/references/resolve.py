"""Put what words refer to in their place: a message becomes one that stands for itself.

Knows no routes. Whoever answers the message decides whether it is to be read so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Literal

from tokmem_desk.background.referring import Mark, Said
from tokmem_desk.references.candidates import Candidate, whole_words
from tokmem_desk.references.dossier import Dossier
from tokmem_desk.references.enumerated import enumerated
from tokmem_desk.references.filled import FilledIn, Resolved
from tokmem_desk.references.finder import Found
from tokmem_desk.references.networks import KINDS
from tokmem_desk.templates.languages import LANGUAGES, plain, vocabulary

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.references.finder import ReferenceFinder

LEAST_SURE = 0.9
"""Least probability that words refer to something. At .75 one in a hundred messages without a reference is changed."""

LEAST_SURE_AGAIN = 0.5
"""The same of words that ask for the same again: they are to fill the message, and have to fit the one before."""

_SURE_AGAIN = 0.85
"""One stretch of them is at least that probable."""

LEAST_ALIKE = 0.15
"""Least share of their kinds that words and a value have in common."""

_NOT_MAIN = 0.4
"""Factor on a value that the message before is not about."""

_ANSWERS = 0.4
"""An answer that is one value has at least so much in common with whatever may mean it."""

_PER_EXCHANGE = 0.6
"""Factor for each exchange in between."""

_SAME_SHARE = 0.7
"""Of the letters of a message that asks for the same again, so many say so or are the new values."""

_LEAST_NEAR = 0.4
_LEAST_NEW = 0.75
"""How sure it is at least that a new value is one: in "the same goes for cats" there is none."""
_UNSURE = 0.6
"""How much less a value is replaced that is certainly none."""
_OTHER_SHAPE = 0.2
"""How much less alike values are of which only one has digits."""

_ADVERBS = tuple(tuple(map(KINDS.index, names)) for names in (("place", "address", "city"), ("date", "time")))

_LINE_MARK = re.compile(r"^\s*(?:[-*•·–+]|\(?\d{1,2}[.):]|\[[ xX]?\])\s+")
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+")
_FEWEST_ITEMS = 2
_LONGEST_ITEM = 120
_MOST_COUNTED = 31


def resolve(backbone: Backbone, finder: ReferenceFinder, said: Sequence[Said], message: str) -> Resolved | None:
    """The message with what it refers to filled in; None where it refers to nothing that was said.

    Args:
        said: before the message, oldest first.
    """
    message = message.strip()
    dossier = Dossier.of(said, message)
    if dossier.start == 0:
        return None
    marks = [found for found in finder.marks(backbone, message) if found.probability >= LEAST_SURE_AGAIN]
    if _asks_again(message, marks):
        return _again(backbone, finder, dossier, message, marks)
    pointing = [one for one in marks if one.mark.kind in ("value", "counted", "last") and one.probability >= LEAST_SURE]
    if not pointing:
        return None
    known, _ = finder.candidates(backbone, dossier, [])
    filled = []
    for one in pointing:
        meant = _best(one, known) if one.mark.kind == "value" else _counted(dossier, message, one, known)
        if meant is not None:
            filled.append((one, *meant))
    return _filled(message, filled) if filled else None


def _best(one: Found, known: Sequence[Candidate]) -> tuple[str, int] | None:
    """What words stand for, and the region that it is in; None where nothing is of their kind."""
    best, most = None, LEAST_ALIKE
    wanted = _families(one.kinds) if one.mark.adverb else one.kinds
    for candidate in known:
        alike = _alike(wanted, _families(candidate.kinds) if one.mark.adverb else candidate.kinds)
        if candidate.answers:
            alike = max(alike, _ANSWERS)
        score = alike * (_NOT_MAIN + (1 - _NOT_MAIN) * candidate.main)
        score *= _PER_EXCHANGE ** ((candidate.region - 1) // 2)
        if score > most:
            best, most = candidate, score
    if best is None:
        return None
    # What is cut short in one text of an exchange may be whole in the other.
    exchange = (best.region - 1) // 2
    longer = [
        c
        for c in known
        if (c.region - 1) // 2 == exchange and best.text in c.text and _alike(best.kinds, c.kinds) >= LEAST_ALIKE
    ]
    best = max(longer, key=lambda candidate: len(candidate.text), default=best)
    # A value with the words around it is that of a message: answers have none.
    text = best.text
    if one.mark.adverb:
        same = [c for c in known if c.text == best.text and c.phrase]
        if same:
            text = same[-1].phrase
    return text, best.region


def _families(kinds: Sequence[float]) -> list[float]:
    """Kinds that one adverb may mean as one: "there" does not say whether it is a place, an address or a city."""
    sums = list(kinds)
    for first, *others in _ADVERBS:
        for other in others:
            sums[first] += sums[other]
            sums[other] = 0.0
    return sums


def _alike(one: Sequence[float], other: Sequence[float]) -> float:
    """Share that two distributions over kinds have in common."""
    sums = sum(one) * sum(other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / sums if sums else 0.0


def _near(one: Candidate, other: Candidate) -> float:
    """How alike two values are: by their kinds, by what the backbone makes of them, and by having digits or not."""
    kinds = math.sqrt(_alike(one.kinds, one.kinds) * _alike(other.kinds, other.kinds)) or 1.0
    near = _alike(one.kinds, other.kinds) / kinds
    lengths = math.hypot(*one.vector) * math.hypot(*other.vector) if one.vector and other.vector else 0.0
    if lengths:
        near += sum(a * b for a, b in zip(one.vector, other.vector, strict=True)) / lengths
    digits = [any(map(str.isdigit, candidate.text)) for candidate in (one, other)]
    return near - _OTHER_SHAPE * (digits[0] != digits[1])


def _in_place_of(new: Candidate, old: Candidate) -> float:
    """How well a new value fits in the place of one of the message before; what is hardly a value stays."""
    return _near(new, old) - _UNSURE * (1.0 - old.sure)


def _asks_again(message: str, marks: Sequence[Found]) -> bool:
    """Whether the message says nothing but that the same is to be done with other values."""
    surest = max((found.probability for found in marks if found.mark.kind == "same"), default=0.0)
    if surest < _SURE_AGAIN or not any(found.mark.kind == "new" for found in marks):
        return False
    covered = sum(
        sum(letter.isalnum() for letter in message[found.mark.start : found.mark.end])
        for found in marks
        if found.mark.kind in ("same", "new")
    )
    return covered >= _SAME_SHARE * sum(letter.isalnum() for letter in message)


def _again(
    backbone: Backbone, finder: ReferenceFinder, dossier: Dossier, message: str, marks: Sequence[Found]
) -> Resolved | None:
    """The message before with new values in place of its own."""
    known, new = finder.candidates(backbone, dossier, _new_values(message, marks))
    region = 1
    start, end = dossier.stretch(region)
    chosen: list[tuple[Candidate, str]] = []
    for one in new:
        free = [c for c in known if c.region == region and all(c is not taken for taken, _ in chosen)]
        nearness = partial(_in_place_of, one)
        best = max(free, key=nearness, default=None)
        if one.sure < _LEAST_NEW or best is None or nearness(best) < _LEAST_NEAR:
            return None
        chosen.append((best, _without_repeat(dossier.text[start : best.start], one.text)))
    if not chosen:
        return None
    text, filled = "", list[FilledIn]()
    for candidate, value in sorted(chosen, key=lambda pair: pair[0].start):
        text += dossier.text[start : candidate.start]
        filled.append(FilledIn(candidate.text, value, "message", 0, len(text), len(text) + len(value)))
        text += value
        start = candidate.end
    return Resolved(text + dossier.text[start:end].rstrip("\n"), tuple(filled), again=True)


def _without_repeat(before: str, value: str) -> str:
    """A new value without a first word that stands in front of its place already, as "in Kiel" behind "weather in"."""
    words, first = before.split(), value.split(maxsplit=1)
    repeats = len(first) > 1 and words and words[-1].casefold() == first[0].casefold()
    return first[1] if repeats else value


def _new_values(message: str, marks: Sequence[Found]) -> list[Mark]:
    """What stands between the words that ask for the same again, each as a whole."""
    bounds = [0]
    for found in marks:
        if found.mark.kind == "same":
            bounds += [found.mark.start, found.mark.end]
    bounds.append(len(message))
    new = []
    for start, end in zip(bounds[::2], bounds[1::2], strict=True):
        while start < end and not message[start].isalnum() and message[start] not in "$€£¥#+":
            start += 1
        while end > start and message[end - 1] in " .,;:!?":
            end -= 1
        known = [found.mark.start for found in marks if found.mark.kind == "new" and start <= found.mark.start < end]
        start, end = whole_words(message, min(known, default=start), end)
        if end > start:
            new.append(Mark(start, end, "new"))
    return new


def _filled(message: str, found: Sequence[tuple[Found, str, int]]) -> Resolved:
    text, at, filled = "", 0, list[FilledIn]()
    for one, value, region in found:
        text += message[at : one.mark.start]
        source: Literal["message", "answer"] = "message" if region % 2 else "answer"
        words = message[one.mark.start : one.mark.end]
        filled.append(FilledIn(words, value, source, (region - 1) // 2, len(text), len(text) + len(value)))
        text += value
        at = one.mark.end
    return Resolved(text + message[at:], tuple(filled))


def _counted(dossier: Dossier, message: str, one: Found, known: Sequence[Candidate]) -> tuple[str, int] | None:
    """An item of the latest list and its region; None where that has not so many items.

    A list is an answer, or what the message before names in a row where its answer is none.
    """
    number = None if one.mark.kind == "last" else number_in(message[one.mark.start : one.mark.end])
    if one.mark.kind == "counted" and number is None:
        return None
    regions = {which for _, which in dossier.regions if which}
    # The latest exchange first, of each the answer first.
    for region in sorted(regions, key=lambda which: ((which - 1) // 2, which % 2)):
        begin, end = dossier.stretch(region)
        text = dossier.text[begin:end].rstrip()
        items = enumerated(text, begin, known) if region % 2 else items_of(text)
        if len(items) >= _FEWEST_ITEMS:
            place = len(items) if number is None else number
            return (items[place - 1], region) if 1 <= place <= len(items) else None
    return None


@lru_cache(maxsize=256)
def number_in(words: str) -> int | None:
    """The first number or ordinal among words, in digits or in words of any language; None where there is none."""
    digits = _NUMBER.search(words)
    if digits is not None:
        return int(digits.group()) if len(digits.group()) <= 2 else None
    for word in _WORD.findall(words):
        for language in LANGUAGES:
            known = vocabulary(language)
            number = None if known is None else known.numbers.get(plain(word))
            if number is not None and 1 <= number <= _MOST_COUNTED:
                return number
    return None


def items_of(answer: str) -> list[str]:
    """The items of an answer that is a list: a JSON array, lines, or values between semicolons or commas.

    Empty where it is no list. An answer in sentences has none.
    """
    answer = answer.strip()
    try:
        read = json.loads(answer)
    except ValueError:
        read = None
    if isinstance(read, list):
        return [one for one in read if isinstance(one, str) and one.strip()] if len(read) >= _FEWEST_ITEMS else []
    if isinstance(read, dict):
        return []
    lines = [line for line in answer.splitlines() if line.strip()]
    listed = [_LINE_MARK.sub("", line).strip() for line in lines if _LINE_MARK.match(line)]
    if len(listed) >= _FEWEST_ITEMS:
        return listed
    if len(lines) >= _FEWEST_ITEMS:
        return [line.strip() for line in lines] if all(len(line) <= _LONGEST_ITEM for line in lines) else []
    for separator in (";", ","):
        items = [item.strip() for item in answer.split(separator)]
        if len(items) >= _FEWEST_ITEMS and all(items) and all(len(item) <= _LONGEST_ITEM for item in items):
            return items
    return []
