"""Where the values of an answer stand by the parts of its form, and which words of the message each can be.

A part is named by its path (``slot_pointer.Path``). Plain data and text: no model, no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tokmem_desk.templates.message_values import SPELLINGS, WAYS, too_long, written
from tokmem_desk.templates.patterns import PatternError
from tokmem_desk.templates.slot_pointer import Path
from tokmem_desk.templates.template import AnswerTemplate, Part, parts_of
from tokmem_desk.templates.tokens import tokens_of

MOST_STRETCHES = 1500
"""Stretches of a message that are looked at; longer messages have more, and nothing is said of them."""

Stretch = tuple[int, int]
"""Places of the first and the last token in a message."""


@dataclass(frozen=True, slots=True)
class SlotPlace:
    """A part of a form and what stands there in one answer."""

    path: Path
    part: Part
    text: str


def slots(form: AnswerTemplate) -> dict[Path, Part]:
    """The parts that are taken or computed from the message, by their paths.

    None where an answer has several lines of one form: each line takes other words.
    """
    return {} if form.repeated else dict(_slots(form.parts, ()))


def _slots(parts: Sequence[Part], before: Path) -> Iterator[tuple[Path, Part]]:
    for place, part in enumerate(parts):
        if part.kind in ("taken", "computed"):
            yield (*before, place), part
        for number, form in enumerate(part.forms):
            yield from _slots(form, (*before, place, number))


def slot_places(form: AnswerTemplate, message: str, answer: str) -> list[SlotPlace]:
    """What stands in each part of an answer; empty where it has not the form."""
    try:
        return [SlotPlace(*one) for one in parts_of(form.parts, message, answer)]
    except PatternError:  # the message would make it larger than can be matched
        return []


def stretches(part: Part, message: str) -> list[Stretch]:
    """Every stretch of a message that a part can be taken or computed from; none where there are too many."""
    if part.kind == "computed":
        return list(dict.fromkeys(stretch for stretch, _ in part.placed(message)))[:MOST_STRETCHES]
    spelled = [way for way in part.ways if way in SPELLINGS]
    found: dict[Stretch, None] = {}
    if spelled:
        if too_long(message, part.tokens):
            return []
        tokens = tokens_of(message)
        joins = all(SPELLINGS[way][1] is not None for way in spelled)
        ends = [place for place, token in enumerate(tokens) if token.isalnum() or not (joins or token.isspace())]
        if part.tokens == 1:
            found |= {(place, place): None for place in ends if tokens[place].isalnum()}
        else:
            found |= {(a, b): None for a in ends for b in ends if a <= b < a + part.tokens}
    for way in part.ways:
        if way in WAYS:
            found |= {(place, place): None for place, _ in written(message, way)}
    return list(found) if len(found) <= MOST_STRETCHES else []


def origins(part: Part, message: str, value: str) -> set[Stretch]:
    """The stretches that a value of a part can have come from."""
    if part.kind == "computed":
        return {stretch for stretch, text in part.placed(message) if text == value}
    return {(places[0], places[-1]) for places in part.origins(message, value)}


def narrowed(form: AnswerTemplate, kept: Mapping[Path, Sequence[Stretch]]) -> AnswerTemplate:
    """The form in which some parts can be taken from a few stretches of one message alone."""
    return replace(form, parts=_narrowed(form.parts, kept, ()))


def _narrowed(parts: Sequence[Part], kept: Mapping[Path, Sequence[Stretch]], before: Path) -> tuple[Part, ...]:
    found = []
    for place, part in enumerate(parts):
        path = (*before, place)
        forms = tuple(_narrowed(form, kept, (*path, number)) for number, form in enumerate(part.forms))
        found.append(replace(part, forms=forms, only=tuple(kept.get(path, ()))))
    return tuple(found)
