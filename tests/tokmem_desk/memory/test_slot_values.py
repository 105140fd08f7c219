"""Slot values: one value a slot, values of the declared kind, and values that must be there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tokmem_desk.memory.test_spans import marked
from tokmem_desk.memory.slot_values import Slot, number_of, read_values

HOUR = {"numbers": [0]}


def whole_number(name: str, value: Any) -> bool:
    """What ``{"type": "integer"}`` allows."""
    del name
    return isinstance(value, int) and not isinstance(value, bool)


def test_a_slot_of_single_values_never_becomes_a_list() -> None:
    message = marked("at 9:30 pm", ["at", " 9", ":", "30", " pm"], {(1, 1): 0.0, (3, 1): -0.5}, **HOUR)
    assert read_values(message, [Slot("hour", "number")]) == {"hour": [9, 30]}
    assert read_values(message, [Slot("hour", "number", single=True)]) == {"hour": 9}
    assert read_values(message, [Slot("hour", "number")], fits=whole_number) == {"hour": 9}
    assert read_values(message, [Slot("hour", "number", True, True)]) == {"hour": [9]}


def test_a_required_value_that_was_not_marked_is_found() -> None:
    message = marked("call Zoe at 9", ["call", " Zoe", " at", " 9"], {(0, 3): 0.0, (1, 4): 0.0, (3, 1): -2.0}, slots=2)
    slots = [Slot("hour", "number"), Slot("task")]
    assert read_values(message, slots) == {"task": "call Zoe"}
    assert read_values(message, slots, ["hour"], lambda name, value: name == "task" or whole_number(name, value)) == {
        "task": "call Zoe",
        "hour": 9,
    }


def test_a_required_value_takes_words_of_no_other_slot_where_it_can() -> None:
    message = marked("5 of 6", ["5", " of", " 6"], {(0, 3): 0.0, (0, 1): -1.5, (2, 1): -2.0}, slots=2)
    slots = [Slot("a", "number"), Slot("b", "number")]
    assert read_values(message, slots, ["a", "b"], whole_number) == {"b": 5, "a": 6}
    alone = marked("5", ["5"], {(0, 3): 0.0, (0, 1): -1.5}, slots=2)
    assert read_values(alone, slots, ["a", "b"], whole_number) == {"b": 5, "a": 5}


def test_marked_words_that_do_not_fit_give_way_to_words_around_them() -> None:
    message = marked("due at 9 sharp", ["due", " at", " 9", " sharp"], {(1, 1): 0.0, (2, 2): 0.0, (3, 2): -0.5})
    assert read_values(message, [Slot("hour")]) == {"hour": "at 9 sharp"}
    assert read_values(message, [Slot("hour")], fits=whole_number) == {"hour": 9}
    words = marked("due at noon", ["due", " at", " noon"], {(2, 1): 0.0})
    assert read_values(words, [Slot("hour")], fits=whole_number) == {}


@pytest.mark.parametrize(
    ("text", "allowed", "value"),
    [
        ("High", ["high", "low"], "high"),
        ("low", ["LOW"], "LOW"),
        ("HIGH", ["High"], "High"),
        ("007", [7], 7),
        ("1,200", [1200], 1200),
        ("1 200 000", [1_200_000], 1_200_000),
        ("2,5", [2.5], 2.5),
        ("3.0", [3], 3),
        ("12", ["12"], "12"),
        ("tea", [["tea"]], ["tea"]),
    ],
)
def test_words_mean_what_the_schema_allows(text: str, allowed: list[Any], value: Any) -> None:
    message = marked(text, [text], {(0, 1): 0.0})
    read = read_values(message, [Slot("a")], ["a"], lambda name, given: given in allowed)
    assert read == {"a": value} and type(read["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "value"), [("12", 12), ("1.5", 1.5), ("true", "true"), ("NaN", "NaN"), ("1e999", "1e999"), ("[1]", "[1]")]
)
def test_only_a_finite_number_is_one(text: str, value: Any) -> None:
    assert number_of(text) == value and type(number_of(text)) is type(value)
