"""Where values of an answer stand by the parts of its form, and which words of the message each can be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tokmem_desk.templates.patterns import plain_pattern
from tokmem_desk.templates.slot_places import narrowed, origins, slot_places, slots, stretches
from tokmem_desk.templates.template import AnswerTemplate, Part
from tokmem_desk.templates.tokens import tokens_of

WHO = Part("taken", ways=("capital",), tokens=1)
WHAT = Part("taken", ways=("small",), tokens=5)
FORM = AnswerTemplate((WHO, Part("text", (": ",)), WHAT, Part("forms", forms=((Part("text", (" / ",)), WHO), ()))))
MESSAGE = "Ada wants the old oak table, says Ben"


def test_what_stands_in_each_part_alternatives_included() -> None:
    found = slot_places(FORM, MESSAGE, "ADA: old oak table / BEN")
    assert [(place.path, place.text) for place in found if place.part.kind == "taken"] == [
        ((0,), "ADA"),
        ((2,), "old oak table"),
        ((3, 0, 1), "BEN"),
    ]
    assert slot_places(FORM, MESSAGE, "no such form") == []


def test_the_parts_that_are_taken_by_their_paths() -> None:
    assert list(slots(FORM)) == [(0,), (2,), (3, 0, 1)]
    assert slots(replace(FORM, repeated=True)) == {}


def test_every_stretch_that_a_part_can_be_taken_from() -> None:
    tokens = tokens_of(MESSAGE)
    assert [tokens[a] for a, b in stretches(WHO, MESSAGE) if a == b] == [t for t in tokens if t.isalnum()]
    longer = {"".join(tokens[a : b + 1]) for a, b in stretches(WHAT, MESSAGE)}
    assert {"old", "old oak", "table,", "Ada wants"} <= longer and not any(one != one.strip() for one in longer)
    assert stretches(replace(WHAT, tokens=400), "word " * 400) == []
    numbers = stretches(Part("taken", ways=("two digits",)), "from 3 to 12 May")
    assert [tokens_of("from 3 to 12 May")[a] for a, _ in numbers] == ["3", "12"]


@pytest.mark.parametrize(
    ("way", "message", "kept", "right", "wrong"),
    [
        ("capital", MESSAGE, (0, 0), "ADA", "BEN"),
        ("small", MESSAGE, (6, 10), "old oak table", "old oak"),
        ("any capitals", "the Old Oak", (2, 4), "old Oak", "the Old"),
        ("slug", "The Old, Oak", (2, 5), "old-oak", "old"),
        ("two digits", "3 or 12", (0, 0), "03", "12"),
    ],
)
def test_a_narrowed_part_is_those_words_alone(
    way: str, message: str, kept: tuple[int, int], right: str, wrong: str
) -> None:
    form = AnswerTemplate((Part("taken", ways=(way,), tokens=5),))
    assert form.accepts(message, right) and form.accepts(message, wrong)
    narrow = narrowed(form, {(0,): [kept]})
    assert narrow.accepts(message, right) and not narrow.accepts(message, wrong)
    assert narrow.as_dict() == form.as_dict(), "what holds for one message stands in no file"


def test_values_beside_the_message_stay_possible() -> None:
    form = AnswerTemplate((Part("taken", ("some",), ("small",), 1),))
    narrow = narrowed(form, {(0,): [(0, 0)]})
    assert narrow.accepts(MESSAGE, "some") and narrow.accepts(MESSAGE, "ada") and not narrow.accepts(MESSAGE, "ben")


def test_where_all_that_is_kept_is_used_other_words_are_possible() -> None:
    (part,) = narrowed(AnswerTemplate((WHO,)), {(0,): [(0, 0)]}).parts
    assert plain_pattern(part.pattern(MESSAGE)).fullmatch("ADA")
    assert plain_pattern(part.pattern(MESSAGE, frozenset({0}))).fullmatch("BEN")
    assert not plain_pattern(part.pattern(MESSAGE, frozenset({0}))).fullmatch("ADA")


def test_a_computed_part_can_be_narrowed_to_one_of_several_values() -> None:
    part = Part("computed", ways=("initials of any name (en)",))
    message = "São Paulo by night, by Rui Costa"
    assert part.results(message) == ("SP", "RC")
    assert origins(part, message, "RC") == {stretches(part, message)[1]}
    (narrow,) = narrowed(AnswerTemplate((part,)), {(0,): stretches(part, message)[1:]}).parts
    assert narrow.results(message) == ("RC",)
    assert narrow.results("Ana Lima, at noon") == ("AL",), "of another message nothing is left out"


def test_a_computed_part_that_says_which_value_is_meant_needs_no_pointer() -> None:
    assert stretches(Part("computed", ways=("number of first number (en)",)), "3 of 4") == []
