"""Fields and types are learned from responses that are objects of one shape, and from no others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.learned_schema import LEAST_PAIRS, field_words, learned_schema


def pairs(*values: Any) -> list[ExamplePair]:
    return [
        ExamplePair(f"message {place}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for place, value in enumerate(values)
    ]


ORDERS = [
    {"item": "tea", "count": 2, "price": 3},
    {"item": "größe 5", "count": 1, "price": 2.5, "note": "soon"},
    {"item": "nails", "count": 40, "price": 4, "note": "in {braces}", "gift": True},
    {"item": "rope", "count": 3, "price": 0.1, "gift": False},
]


def test_fields_types_order_and_what_may_be_missing() -> None:
    schema = learned_schema(pairs(*ORDERS))
    assert schema is not None
    assert schema.document == {
        "type": "object",
        "properties": {
            "item": {"type": "string"},
            "count": {"type": "integer"},
            "price": {"type": "number"},
            "note": {"type": "string"},
            "gift": {"type": "boolean"},
        },
        "required": ["item", "count", "price"],
        "additionalProperties": False,
    }
    assert all(schema.fault(pair.response) is None for pair in pairs(*ORDERS))
    assert field_words(schema.document) == (
        "item (text), count (whole number), price (number), note (text, not always), gift (yes or no, not always)"
    )


def test_lists_nothing_and_fields_within_fields() -> None:
    values = [
        {"tags": tags, "due": due, "who": {"name": name}}
        for tags, due, name in (([], None, "Ann"), (["a"], "friday", "Bo"), (["b", "c"], None, "Cy"), ([], "x", "Di"))
    ]
    schema = learned_schema(pairs(*values))
    assert schema is not None
    assert field_words(schema.document) == "tags (list), due (text or empty), who (fields of its own)"
    assert schema.allows("due", None) and not schema.allows("due", 3)


@pytest.mark.parametrize(
    "values",
    [
        ORDERS[: LEAST_PAIRS - 1],
        [*ORDERS, "tea 2"],
        [*ORDERS, '{"item": "tea"'],
        [*ORDERS, '["tea"]'],
        [*ORDERS, {"item": 5, "count": 2, "price": 3}],
        [*ORDERS, {"count": 2, "item": "tea", "price": 3}],
        [{"a": 1}, {"b": 1}, {"c": 1}, {"d": 1}],
        [{}] * 4,
        [{"a": None}] * 4,
        [{"a": [1, "x"]}] * 4,
        ["( ) call mum due:mon"] * 4,
        [{f"field {number}": 1 for number in range(60)}] * 4,
    ],
)
def test_other_answers_have_no_fields(values: list[Any]) -> None:
    assert learned_schema(pairs(*values)) is None


_VALUES = st.one_of(st.text(max_size=8), st.integers(-9, 9), st.booleans(), st.floats(-9, 9))


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), _VALUES, max_size=4), min_size=4, max_size=8))
def test_what_is_proposed_fits_every_pair(values: list[dict[str, Any]]) -> None:
    given_pairs = pairs(*values)
    schema = learned_schema(given_pairs)
    if schema is not None:
        assert all(schema.fault(one.response) is None for one in given_pairs)
        assert all(schema.order_fault(one.response) is None for one in given_pairs)
