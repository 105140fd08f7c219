"""Where the values stand in an answer."""

from __future__ import annotations

import itertools

import pytest

from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.answer_values import value_places
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.template import AnswerTemplate, Part

FORM = AnswerTemplate(
    (
        Part("choice", ("home", "work")),
        Part("text", (" · ",)),
        Part("taken", ways=("as it is",), tokens=4),
        Part("text", (" ×",)),
        Part("run", ("[0-9]",), least=1, most=3),
    )
)


def said(form: AnswerTemplate | None, message: str, answer: str) -> list[str]:
    places = value_places(form, message, answer)
    assert all(answer[: place.start] + answer[place.start :] == answer for place in places)
    return [answer[place.start : place.end] for place in places]


def test_the_parts_of_a_form_that_are_not_fixed_are_values() -> None:
    assert said(FORM, "two green candles for home, 12", "home · green candles ×12") == ["home", "green candles", "12"]


def test_letters_of_several_bytes_do_not_move_the_places() -> None:
    assert said(FORM, "für zu Hause: 3 grüne Äpfel", "home · grüne Äpfel ×3") == ["home", "grüne Äpfel", "3"]


def test_every_line_of_a_repeated_form_has_its_values() -> None:
    lines = AnswerTemplate((Part("text", ("- ",)), Part("taken", ways=("as it is",), tokens=1)), repeated=True)
    assert said(lines, "milk and soap", "- milk\n- soap") == ["milk", "soap"]


def test_alternatives_are_read_as_the_one_that_stands_there() -> None:
    either = Part(
        "forms", forms=((Part("text", ("at ",)), Part("run", ("[0-9]",), least=1)), (Part("text", ("later",)),))
    )
    form = AnswerTemplate((Part("choice", ("a", "b")), Part("text", (", ",)), either))
    assert said(form, "m", "a, at 12") == ["a", "12"]
    assert said(form, "m", "b, later") == ["b"]


def test_an_answer_that_left_its_form_is_read_by_lines() -> None:
    assert said(FORM, "m", "something else\n\n  of two lines") == ["something else", "of two lines"]


def test_a_json_object_has_a_value_for_each_key() -> None:
    answer = '{"text": "a, \\"b\\" }", "due": [9, 30], "open": true}'
    places = value_places(None, "m", answer)
    assert [(place.name, answer[place.start : place.end]) for place in places] == [
        ("text", '"a, \\"b\\" }"'),
        ("due", "[9, 30]"),
        ("open", "true"),
    ]
    assert value_places(None, "m", "{}") == []


@pytest.mark.parametrize("answer", ['{"a": 1', '{"a": }', '{"a": 1} and more', "[1, 2]", "plain words"])
def test_what_is_no_object_is_read_by_lines(answer: str) -> None:
    assert said(None, "m", answer) == [answer]


def test_forms_of_real_pairs_are_read() -> None:
    """Of every pair that an induced form accepts, the values are found, and they do not overlap."""
    messages = [
        (f"sowed {n} radishes in bed {b} on april {d}", n, b, d) for n, b, d in [(24, 3, 9), (6, 1, 17), (40, 2, 30)]
    ]
    pairs = [ExamplePair(text, f"b{b} · {d}.iv · SOW radish ×{n}") for text, n, b, d in messages * 4]
    form = induce_form(pairs)
    assert form is not None
    for pair in pairs:
        places = value_places(form, pair.input, pair.response)
        assert len(places) >= 2
        assert all(one.end <= other.start for one, other in itertools.pairwise(places))
