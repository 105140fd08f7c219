"""From marked spans of a message to the values of a JSON object, held to what a declared schema allows.

The schema is asked through a function, so that this module knows no schema language.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tokmem_desk.memory.spans import MarkedMessage, Span

Fits = Callable[[str, Any], bool]
"""Whether a value may stand under a name."""

_OTHERS = 64
"""How many spans are tried for a value that must be there."""

_GROUPS = re.compile(r"[+-]?\d{1,3}([ ,.\u00a0\u202f'])\d{3}(?:\1\d{3})*")
"""A whole number with its thousands set apart."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One key of the object.

    Attributes:
        kind: ``text`` or ``number``; numbers stand in the message as they are written in JSON.
        always_list: the value is a list even when there is one; otherwise only several values make a list.
        single: no pair has more than one value there: of several that are marked the most probable one counts.
        inner: pairs have values there that begin or end within a word.
    """

    name: str
    kind: str = "text"
    always_list: bool = False
    single: bool = False
    inner: bool = True


def read_values(
    marked: MarkedMessage, slots: Sequence[Slot], required: Collection[str] = (), fits: Fits | None = None
) -> dict[str, Any]:
    """The values that stand in a message, by the names of their slots, in the order of the message.

    See ``read_spans``.
    """
    return read_spans(marked, slots, required, fits)[0]


def read_spans(
    marked: MarkedMessage, slots: Sequence[Slot], required: Collection[str] = (), fits: Fits | None = None
) -> tuple[dict[str, Any], list[Span]]:
    """The same values, and the words that they were read from.

    A slot whose marked words make no value that fits takes other words around them; one that is required takes the
    most probable words that fit, wherever they stand. What fits nowhere is left out.

    Args:
        required: names that must be there.
        fits: what the declared schema allows; None allows everything.
    """
    spans: dict[int, list[Span]] = {}
    for span in marked.best():
        if marked.text(span):
            spans.setdefault(span.slot, []).append(span)
    values: dict[str, Any] = {}
    taken: list[Span] = []
    missing: list[int] = []
    for index, found in spans.items():
        options = _readings(slots[index], found)
        if fits is not None:
            options = [*options, *_around(marked, index, found)]
        if not _take(marked, slots[index], options, fits, values, taken):
            missing.append(index)
    if fits is None:
        return values, taken
    missing += [index for index in range(len(slots)) if index not in spans]
    for index in missing:
        if slots[index].name in required:
            others = marked.others(index)
            free = [span for span in others if not any(span.overlaps(one) for one in taken)]
            options = [[span] for span in [*free[:_OTHERS], *others[:_OTHERS]]]
            _take(marked, slots[index], options, fits, values, taken)
    return values, taken


def _readings(slot: Slot, spans: list[Span]) -> list[list[Span]]:
    """What marked spans may mean: all of them, or one of them, the most probable first."""
    ranked = sorted(spans, key=lambda span: -span.score / (span.after - span.first))
    alone = [[span] for span in ranked]
    return alone if slot.single or len(spans) == 1 else [spans, *alone]


def _around(marked: MarkedMessage, index: int, spans: list[Span]) -> list[list[Span]]:
    """Spans that share a token with the marked ones, the most probable first."""
    others = (span for span in marked.others(index) if any(span.overlaps(one) for one in spans))
    return [[span] for span, _ in zip(others, range(_OTHERS), strict=False)]


def _take(
    marked: MarkedMessage,
    slot: Slot,
    options: list[list[Span]],
    fits: Fits | None,
    values: dict[str, Any],
    taken: list[Span],
) -> bool:
    """Give a slot the first of the options that makes a value that fits; False when none does."""
    for spans in options:
        for value in _meanings(slot, [marked.text(span) for span in spans]):
            if fits is None or fits(slot.name, value):
                values[slot.name] = value
                taken += spans
                return True
    return False


def _meanings(slot: Slot, texts: list[str]) -> Iterator[Any]:
    """The values that words may stand for, the plainest first."""
    read = [number_of(text) if slot.kind == "number" else text for text in texts]
    as_list = slot.always_list or len(read) > 1
    yield read if as_list else read[0]
    if len(read) == 1:
        yield read[0] if as_list else read
        for other in _other_meanings(texts[0]):
            yield other
            yield [other]


def _other_meanings(text: str) -> Iterator[Any]:
    """A number that is written for people, the text itself, or the text in small letters."""
    if _GROUPS.fullmatch(text):
        yield int(re.sub(r"[^\d+-]", "", text))
    elif re.fullmatch(r"[+-]?\d+", text):
        yield int(text)
    elif re.fullmatch(r"[+-]?\d+[.,]\d+", text):
        number = float(text.replace(",", "."))
        yield int(number) if number.is_integer() else number
    yield text
    yield text.lower()
    yield text.upper()
    yield text.capitalize()


def number_of(text: str) -> Any:
    """The number that a text is in JSON; the text itself where it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # NaN and Infinity are read, and 1e999 is infinite, but none of them is JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text
    return value if isinstance(value, int) or math.isfinite(value) else text
