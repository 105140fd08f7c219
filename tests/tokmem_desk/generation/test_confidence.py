"""From the likelihood of tokens to the probability that an answer, and each value in it, is right."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.tokmem_desk.generation.test_recall import collect, memory, token_bank
from tokmem_desk.generation.batch import answer_batch, answer_batch_traced, batch_signals
from tokmem_desk.generation.confidence import (
    COPIED,
    GENERATED,
    LEAST_LOG,
    Signals,
    log_within,
    logistic,
    runners_up,
    shift_in,
    shift_of,
    sure_of,
    token_ends,
)
from tokmem_desk.generation.recall import Answer, Bank, recall
from tokmem_desk.templates.answer_values import ValuePlace
from tokmem_desk.templates.json_schema import read_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokmem_desk.backbone.backbone import Backbone

TEXT = "home · candles ×12"
PLACES = [ValuePlace(0, 4), ValuePlace(7, 14), ValuePlace(16, 18)]


@pytest.mark.parametrize("fitted", [GENERATED, COPIED])
def test_what_was_likelier_is_not_less_probable(fitted: object) -> None:
    copied = fitted is COPIED
    logs = (0.0, -0.1, -1.0, -5.0, -20.0, -1e9)
    found = [sure_of(Signals(log, (log, 0.0, 0.0), copied), PLACES, TEXT) for log in logs]
    probabilities = [sure.probability for sure in found]
    assert probabilities == sorted(probabilities, reverse=True)
    assert all(0 < probability < 1 for probability in probabilities)
    assert [sure.values[0].probability for sure in found] == sorted(
        (sure.values[0].probability for sure in found), reverse=True
    )
    # The last two say the same: below the least nothing more is said.
    assert logs[-2] == LEAST_LOG and probabilities[-1] == probabilities[-2]


def test_no_value_is_less_probable_than_the_whole_answer() -> None:
    for log in (-0.01, -0.5, -3.0):
        sure = sure_of(Signals(3 * log, (log, log, log)), PLACES, TEXT)
        assert sure.probability <= min(value.probability for value in sure.values)


def test_values_stand_where_the_answer_has_them() -> None:
    sure = sure_of(Signals(-1.0, (-0.1, -0.7, -0.2), others=((), ("soap",), ())), PLACES, TEXT)
    assert [value.text for value in sure.values] == ["home", "candles", "12"]
    assert all(TEXT[value.start : value.end] == value.text for value in sure.values)
    assert min(sure.values, key=lambda value: value.probability).others == ("soap",)


def test_tokens_count_for_the_value_that_they_reach_into() -> None:
    ends, logs = (4, 8, 14, 16, 18), (-1.0, -2.0, -4.0, -8.0, -16.0)
    # The second token reaches into the second value, the fourth is fixed text alone.
    assert [log_within(ends, logs, place.start, place.end) for place in PLACES] == [-1.0, -6.0, -16.0]


def test_parts_of_a_character_count_for_it() -> None:
    data = "a ×".encode()
    pieces = [data[:2], data[2:3], data[3:]]
    ends = token_ends(lambda ids: b"".join(pieces[i] for i in ids).decode("utf-8", "replace"), [0, 1, 2])
    assert ends == (2, 2, 3)
    assert log_within(ends, (-1.0, -2.0, -4.0), 2, 3) == -6.0
    assert log_within(ends, (-1.0, -2.0, -4.0), 0, 2) == -1.0


def test_runners_up_are_of_the_first_value_that_differs() -> None:
    weighed = [
        ("work · candles ×12", True),
        ("home · soap ×12", True),
        ("home · candles ×1", False),  # where it would have ended is not known
        ("home · candles ×13", True),
        ("home · wax candles ×9", False),
        ("home! candles", False),  # other fixed words
        (TEXT, True),
        ("work · soap ×1", False),
    ]
    assert runners_up(TEXT, PLACES, weighed) == (("work",), ("soap", "wax candles"), ("13",))


def test_left_out_pairs_move_a_procedure() -> None:
    odds = [0.0] * 4
    assert shift_of([], [], 1.0) == 0
    assert shift_of(odds, [True, True, False, False], 1.0) == pytest.approx(0)
    up, down = shift_of(odds, [True] * 4, 1.0), shift_of(odds, [False] * 4, 1.0)
    assert 0.5 < up < 2 and down == pytest.approx(-up)
    assert 0 < shift_of(odds[:1], [True], 1.0) < up, "one answer says less than four"
    assert shift_of(odds, [True] * 4, 0.1) < 0.1, "where procedures hardly differ, little is said"
    many = shift_of([0.0] * 4000, [i % 10 != 0 for i in range(4000)], 1.0)
    assert logistic(many) == pytest.approx(0.9, abs=0.005)
    assert shift_of([-15.0] * 4, [True] * 4, 1.0) == pytest.approx(4, abs=0.1), "it stays finite"


@pytest.mark.parametrize("kept", [None, "high", True, math.nan, math.inf, [1]])
def test_a_shift_that_cannot_be_used_is_none(kept: object) -> None:
    assert shift_in({"sureness_shift": kept}) == 0
    assert shift_in({}) == 0 and shift_in({"sureness_shift": -0.5}) == -0.5


def test_the_likelihood_of_a_generated_answer_is_that_of_its_tokens(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    one = memory(backbone, "one")
    queries = [backbone.format.query(text) for text in ("first words", "and others")]
    traces = answer_batch_traced(backbone, queries, [one, one], max_tokens=6)
    assert [trace.text for trace in traces] == answer_batch(backbone, queries, [one, one], max_tokens=6)
    for trace in traces:
        assert len(trace.ids) == len(trace.logs) and all(log <= 0 for log in trace.logs)
        signals = batch_signals(backbone, one, "first words", trace)
        assert signals.whole == pytest.approx(sum(trace.logs) + trace.end) and signals.weakest <= 0


def test_a_procedure_says_how_sure_it_is_and_plain_chat_does_not(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "boolean"}},
        "required": ["a", "b"],
    }
    bank = token_bank(backbone, ["one"], None, "a message")
    bank = Bank(bank.memories, bank.router, {"one": read_schema(json.dumps(schema))})
    held = collect(recall(backbone, bank, "a message", route="one"))[2].segments[0]
    assert held.answer_probability is not None and 0 < held.answer_probability < 1
    assert [value.name for value in held.values] == ["a", "b"]
    assert all(held.response[value.start : value.end] == value.text for value in held.values)
    chat = collect(recall(backbone, bank, "a message", route="none", max_tokens=3))[2].segments[0]
    assert chat.answer_probability is None and chat.values == []


def test_an_answer_that_was_cut_short_is_not_called_sure(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    bank = token_bank(backbone, ["one"], None, "a message")
    answer = collect(recall(backbone, bank, "a message", route="one", max_tokens=2))[2]
    assert answer.stopped == "length" and answer.segments[0].answer_probability is None


def test_a_step_of_a_chain_is_no_surer_than_what_it_goes_on_with(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    schema = read_schema(json.dumps({"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}))
    bank = token_bank(backbone, ["one", "two"], None, "a message")
    schemas = {"one": schema, "two": schema}
    apart = collect(recall(backbone, replace(bank, schemas=schemas), "a message", route="one"))[2].segments[0]
    chained = replace(bank, schemas=schemas, following={"one": "two"})
    answer = [*recall(backbone, chained, "a message", route="one")][-1]
    assert isinstance(answer, Answer)
    first, then = answer.segments
    assert then.follows == "one" and first.answer_probability == apart.answer_probability
    assert first.answer_probability is not None and then.answer_probability is not None
    assert then.answer_probability < first.answer_probability
    own = min(value.probability for value in then.values)
    assert then.answer_probability <= own * first.answer_probability + 1e-9
