"""Advice on example pairs before training: what would teach the wrong thing or nothing. Changes and refuses nothing."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.json_schema import read_schema

FindingKind = Literal["duplicate", "contradiction", "too_long", "empty", "whitespace", "few", "schema"]

FEW_PAIRS = 8
"""Below this many different pairs a procedure seldom learns more than its examples."""

LONG_CHARACTERS = 6_000
"""Input and response together; about 1,500 tokens of English, most of a small model's context."""

_RUN = re.compile(r"\s+")
# Spaces that look like one and are another, zero-width characters, and controls other than tab and line ends. Many
# have a place where they belong: see ``_belongs``.
_INVISIBLE = re.compile(
    "[\u00a0\u00ad\u2007\u200b-\u200f\u202a-\u202f\u2060\u2066-\u2069\ufeff\x01-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of advice."""

    kind: FindingKind
    pairs: tuple[int, ...]
    """Places of the pairs concerned, from 0; empty when it is about all of them."""
    text: str


def lint_pairs(
    pairs: Sequence[ExamplePair], *, long_characters: int = LONG_CHARACTERS, output_schema: str | None = None
) -> list[Finding]:
    """Look for pairs that are empty, double, contradictory, too long or oddly spaced, and for too few of them.

    Args:
        pairs: the train pairs of one procedure.
        long_characters: input and response together longer than this are too long.
        output_schema: what responses must fit, as it is stored.

    Returns:
        The gravest kind first; within a kind in the order of the pairs.
    """
    findings = [
        *_empty(pairs),
        *_misfits(pairs, output_schema),
        *_contradictions(pairs),
        *_duplicates(pairs),
        *_long(pairs, long_characters),
    ]
    findings += _whitespace(pairs)
    different = len({(_plain(pair.input), _plain(pair.response)) for pair in pairs})
    if different < FEW_PAIRS:
        count = "1 pair" if different == 1 else f"{different} different pairs"
        findings.append(Finding("few", (), f"Only {count}: with {FEW_PAIRS} or more it works better, best with 20."))
    return findings


def _empty(pairs: Sequence[ExamplePair]) -> Iterator[Finding]:
    for place, pair in enumerate(pairs):
        missing = [what for what, text in (("input", pair.input), ("response", pair.response)) if not text.strip()]
        if missing:
            yield Finding("empty", (place,), f"Pair {place + 1} has no {' and no '.join(missing)}.")


def _misfits(pairs: Sequence[ExamplePair], output_schema: str | None) -> Iterator[Finding]:
    if output_schema is None:
        return
    schema = read_schema(output_schema)
    for place, pair in enumerate(pairs):
        if not pair.response.strip():
            continue
        reason = schema.fault(pair.response)
        if reason is not None:
            yield Finding("schema", (place,), f"The response of pair {place + 1} does not fit the schema: {reason}.")
        elif (reason := schema.order_fault(pair.response)) is not None:
            yield Finding("schema", (place,), f"The response of pair {place + 1} cannot be given like that: {reason}.")


def _contradictions(pairs: Sequence[ExamplePair]) -> Iterator[Finding]:
    for places in _grouped([_plain(pair.input) for pair in pairs]):
        answers = {_plain(pairs[place].response) for place in places}
        # Answers that each pair accepts anyway do not contradict.
        allowed = [{_plain(text) for text in pairs[place].accepted} for place in places]
        if len(answers) > 1 and not all(answers <= accepted for accepted in allowed):
            yield Finding("contradiction", places, f"Pairs {_listed(places)} give different responses to one input.")


def _duplicates(pairs: Sequence[ExamplePair]) -> Iterator[Finding]:
    for places in _grouped([f"{_plain(pair.input)}\0{_plain(pair.response)}" for pair in pairs]):
        yield Finding("duplicate", places, f"Pairs {_listed(places)} are the same.")


def _long(pairs: Sequence[ExamplePair], long_characters: int) -> Iterator[Finding]:
    for place, pair in enumerate(pairs):
        length = len(pair.input) + len(pair.response)
        if length > long_characters:
            yield Finding(
                "too_long",
                (place,),
                f"Pair {place + 1} has {length:,} characters; beyond {long_characters:,} it may not fit the model.",
            )


def _whitespace(pairs: Sequence[ExamplePair]) -> Iterator[Finding]:
    for place, pair in enumerate(pairs):
        texts = [(what, text) for what, text in (("input", pair.input), ("response", pair.response)) if text.strip()]
        for what, text in texts:
            if text != text.strip():
                yield Finding("whitespace", (place,), f"The {what} of pair {place + 1} begins or ends with a space.")
            elif any(not _belongs(text, match.start()) for match in _INVISIBLE.finditer(text)):
                yield Finding("whitespace", (place,), f"The {what} of pair {place + 1} has invisible characters.")


_NO_BREAK = "\u00a0\u2007\u202f"
_DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_BREAKLESS_SCRIPTS = ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "JAVANESE", "BALINESE")
_WESTERN_SCRIPTS = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN")


def _belongs(text: str, place: int) -> bool:
    """Whether an invisible character stands where its script or sequence needs it."""
    character = text[place]
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if character in _NO_BREAK:  # before a mark, between a number and its unit, after an initial
        return any(one and not unicodedata.category(one).startswith(("L", "M", "Z")) for one in (before, after))
    if character in "\u200c\u200d":
        joins_emoji = character == "\u200d" and _is_symbol(before) and _is_symbol(after)
        return joins_emoji or (_script(before) not in ("", *_WESTERN_SCRIPTS))
    if character in _DIRECTIONS:
        return any(unicodedata.bidirectional(one) in ("R", "AL", "AN") for one in text)
    if character == "\u200b":
        return _script(before) in _BREAKLESS_SCRIPTS or _script(after) in _BREAKLESS_SCRIPTS
    return False


def _script(character: str) -> str:
    """The script of a letter or its mark, as its name begins; empty for anything else."""
    if not character or unicodedata.category(character)[0] not in "LM":
        return ""
    return unicodedata.name(character, "").partition(" ")[0]


def _is_symbol(character: str) -> bool:
    """Whether a character can be part of a joined emoji: a symbol, a skin tone, or the mark of an emoji's colour."""
    return bool(character) and (unicodedata.category(character) in ("So", "Sk") or character == "\ufe0f")


def repeated_sentence(pairs: Iterable[ExamplePair], present: Iterable[ExamplePair]) -> str:
    """A sentence on how many of ``pairs`` are among the ``present`` ones already; empty if none is."""
    there = {(pair.input, pair.response) for pair in present}
    count = sum((pair.input, pair.response) in there for pair in pairs)
    if not count:
        return ""
    return "1 of them was there already." if count == 1 else f"{count:,} of them were there already."


def _grouped(keys: Sequence[str]) -> list[tuple[int, ...]]:
    """Places that share a key, for each key that occurs more than once and is not blank."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        if key.strip("\0"):
            groups[key].append(place)
    return [tuple(places) for places in groups.values() if len(places) > 1]


def _plain(text: str) -> str:
    """Text with runs of white space as one space; letter case counts, since it may be what is taught."""
    return _RUN.sub(" ", text).strip()


def _listed(places: tuple[int, ...]) -> str:
    shown = [str(place + 1) for place in places[:6]]
    more = len(places) - len(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if not more else f"{', '.join(shown)} and {more} more"
