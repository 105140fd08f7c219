"""Conditions: evaluated over numbers, dates, times and words, and never over what is not there."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tokmem_desk.plans.conditions import MissingValue, filled, read_condition
from tokmem_desk.plans.values import numbers_in, value_at

TODAY = "2026-11-30"
ANSWER = {
    "amount": 62, "price": "1.234,50 €", "day": "2026-12-01", "due": "29 November", "at": "18:30", "kind": "Hotel",
    "tags": ["a", "b"], "none": None, "empty": "", "deep": {"list": [{"n": 7}]},
    "flag": True, "spoken": "half past six",
}  # fmt: skip


def look(reference: str):
    return value_at("", ANSWER, reference.split(".")[1:], TODAY)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("{x.amount} > 50", True), ("{x.amount} > 62", False), ("{x.amount} >= 62", True), ("{x.amount} != 62", False),
        ("{x.amount} < 100.5", True), ("{x.price} > 1000", True), ("{x.price} < 1234.51", True),
        ("{x.amount} = 62 EUR", True), ("{x.day} > today", True), ("{x.day} = 2026-12-01", True),
        ("{x.due} < today", True), ("{x.due} >= 2026-11-29", True), ("{x.at} > 18:00", True), ("{x.at} < 9:15", False),
        ("{x.spoken} = 18:30", False), ("{x.spoken} < 7:00", True),
        ("{x.kind} = hotel", True), ('{x.kind} = "HOTEL"', True), ("{x.kind} in travel, hotel", True),
        ("{x.kind} not in travel, hotel", False), ("{x.amount} in 10, 62", True), ("{x.none} is missing", True),
        ("{x.empty} is missing", True), ("{x.kind} is there", True), ("{x.nothing.at.all} is missing", True),
        ("{x.deep.list.1.n} = 7", True), ("{x.flag} = true", True), ("{x.price} > {x.amount}", True),
        ("{x.amount} > 50 and {x.kind} = hotel", True), ("{x.amount} > 50 and {x.kind} = flat", False),
        ("{x.amount} > 99 or {x.kind} = hotel", True), ("{x.amount} > 99 or {x.kind} = flat", False),
    ],
)  # fmt: skip
def test_a_condition_is_evaluated_over_values(text: str, holds: bool) -> None:
    condition = read_condition(text)
    assert str(condition) == text
    assert condition.holds(look, TODAY)[0] is holds


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{x.nothing} > 50", r"\{x.nothing\} is not there"),
        ("{x.empty} = word", r"\{x.empty\} is not there"),
        ("{x.kind} > 50", "Hotel in .* cannot be compared with 50 as a number"),
        ("{x.kind} < today", "cannot be compared with today as a date"),
        ("{x.kind} > travel", "words, and neither is greater"),
        ("{x.amount} > {x.none}", r"\{x.none\} is not there"),
        ("{x.flag} > 1", "cannot be compared"),
    ],
)
def test_a_condition_over_a_missing_value_is_neither_true_nor_false(text: str, reason: str) -> None:
    with pytest.raises(MissingValue, match=reason):
        read_condition(text).holds(look, TODAY)


def test_the_second_of_two_tests_is_not_looked_at_where_the_first_decides() -> None:
    assert read_condition("{x.none} is missing or {x.none} > 5").holds(look, TODAY)[0]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("62", ["62"]), ("1.234,50 €", ["1234.50"]), ("$1,234.50", ["1234.50"]), ("1,234", ["1234"]),
        ("1.5", ["1.5"]), ("0,75", ["0.75"]), ("1 234 567", ["1234567"]), ("-3 or 4", ["-3", "4"]), ("−3", ["-3"]),
        ("A4 and 4x4", []), ("1'000.25", ["1000.25"]), ("1.234.567", ["1234567"]),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(text: str, numbers: list[str]) -> None:
    assert numbers_in(text) == [Decimal(one) for one in numbers]


def test_values_are_read_off_texts() -> None:
    message = "Am 3. Mai um 18:30 kosten 2 Karten 62 Euro"
    assert value_at(message, None, ["date"], TODAY) == "2026-05-03"
    assert value_at(message, None, ["time"], TODAY) == "18:30"
    assert value_at(message, None, ["money"], TODAY) == 62
    assert value_at("between 5 and 7", None, ["number", "2"], TODAY) == 7
    assert value_at("between 5 and 7", None, ["number", "3"], TODAY) is None
    assert value_at('{"a": {"b": 1}}', None, ["a", "b"], TODAY) == 1
    assert value_at(message, None, [], TODAY) == message


def test_a_text_is_filled_with_values_or_not_at_all() -> None:
    assert filled("{x.amount} on {x.day}: {x.tags}", look) == "62 on 2026-12-01: a, b"
    with pytest.raises(MissingValue, match=r"\{x.none\} is not there"):
        filled("about {x.none}", look)
