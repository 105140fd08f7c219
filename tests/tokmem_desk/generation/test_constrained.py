"""Answers under a schema always parse and fit, whatever the model would have said."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.tokmem_desk.generation.test_recall import collect, memory, token_bank
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.errors import GenerationError
from tokmem_desk.generation.constrained import SchemaConstraint, vocabulary_of
from tokmem_desk.generation.recall import Answer, Bank, answer_batch, recall
from tokmem_desk.templates.json_schema import read_schema

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

NAMES = st.sampled_from(["amount", "what", "day", "größe", 'a "quoted" key', "tags", "x"])


def number_between(low: int, size: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": low + size}


def text_of(low: int, size: int) -> dict[str, Any]:
    return {"type": "string", "minLength": low, "maxLength": low + size}


def list_of(items: dict[str, Any], low: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": low, "maxItems": low + 2}


def schemas(depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """Random schemas of objects that a call's arguments could have."""
    simple = st.one_of(
        st.sampled_from([{"type": kind} for kind in ("boolean", "null", "integer", "number", "string")]),
        st.builds(number_between, st.integers(-50, 999), st.integers(0, 99)),
        st.builds(text_of, st.integers(0, 5), st.integers(0, 9)),
        st.sampled_from([{"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}, {"type": "string", "format": "date"}]),
        st.builds(lambda values: {"enum": values}, st.lists(st.text(max_size=6), min_size=1, max_size=4, unique=True)),
    )
    inner = simple
    for _ in range(depth):
        inner = st.one_of(
            simple,
            st.builds(list_of, inner, st.integers(0, 2)),
            objects(inner),
            st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
        )
    return objects(inner)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(NAMES, inner, max_size=3))
    required = [name for name in properties if draw(st.booleans())]
    return {"type": "object", "properties": properties, "required": required}


def answer_under(backbone: Backbone, schema: dict[str, Any], message: str, **options: Any) -> Answer:
    bank = token_bank(backbone, ["one"], "one", message)
    bank = Bank(bank.memories, bank.router, {"one": read_schema(json.dumps(schema))})
    _, streamed, answer = collect(recall(backbone, bank, message, **options))
    assert streamed == answer.response
    return answer


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=schemas(), limit=st.sampled_from([1, 12, 60]))
def test_every_answer_parses_and_fits(
    tiny_backbone: Callable[..., Backbone], family: str, schema: dict[str, Any], limit: int
) -> None:
    answer = answer_under(tiny_backbone(family), schema, "Paid 12.50 for lunch", max_tokens=limit)
    segment = answer.segments[0]
    assert segment.problem == ""
    assert json.loads(answer.response) == segment.arguments
    Draft202012Validator(schema).validate(segment.arguments)
    assert answer.stopped in ("end", "length")


EVENT = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "kind": {"enum": ["meeting", "reminder"]},
        "people": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["title", "kind", "people"],
}


def test_the_longest_answer_is_closed_properly(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    for limit in range(1, 25, 3):
        answer = answer_under(backbone, EVENT, "hello", max_tokens=limit)
        assert answer.stopped == "length"
        assert set(answer.segments[0].arguments or {}) == {"title", "kind", "people"}


def test_what_cannot_be_closed_is_a_clear_failure_that_keeps_the_text(tiny_backbone: Callable[..., Backbone]) -> None:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "minLength": 5000}},
        "required": ["text"],
    }
    answer = answer_under(tiny_backbone("llama"), schema, "hello", max_tokens=10)
    segment = answer.segments[0]
    assert answer.stopped == "length" and segment.arguments is None
    assert segment.response.startswith("{") and "does not fit the procedure's schema" in segment.problem


def test_a_schema_that_nothing_fits_is_a_clear_failure(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    node: dict[str, Any] = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}
    answer = answer_under(backbone, {**node, "$defs": {"n": node}}, "hello", max_tokens=10)
    assert answer.segments[0].arguments is None and answer.segments[0].problem


def test_a_stopped_answer_keeps_the_partial_and_has_no_arguments(tiny_backbone: Callable[..., Backbone]) -> None:
    asked = iter(range(100))
    answer = answer_under(tiny_backbone("llama"), EVENT, "hello", cancelled=lambda: next(asked) > 3)
    assert answer.stopped == "cancelled" and answer.segments[0].arguments is None and answer.segments[0].problem == ""


def test_plain_chat_and_other_procedures_are_free(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    free = token_bank(backbone, ["one", "two"], "two", "hello")
    held = Bank(free.memories, free.router, {"one": read_schema(json.dumps(EVENT))})
    for route in ("two", "none"):
        expected = collect(recall(backbone, free, "hello", route=route, max_tokens=8))[2]
        answer = collect(recall(backbone, held, "hello", route=route, max_tokens=8))[2]
        assert answer.response == expected.response and answer.segments[0].arguments is None
    earlier = [Turn("user", "x"), Turn("assistant", "y")]
    assert collect(recall(backbone, held, "hello", route="one", conversation=earlier))[2].segments[0].arguments


def test_what_must_follow_needs_no_step_of_the_model(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone("qwen3")
    schema = {
        "type": "object",
        "properties": {"a_rather_long_name": {"const": "always the same words"}, "done": {"type": "boolean"}},
        "required": ["a_rather_long_name", "done"],
    }
    passes: list[int] = []
    decode = backbone.decode

    def counted(batch: Any, inputs: torch.Tensor) -> torch.Tensor:
        passes.append(inputs.shape[1])
        return decode(batch, inputs)

    monkeypatch.setattr(backbone, "decode", counted)
    answer = answer_under(backbone, schema, "hello")
    assert (answer.segments[0].arguments or {})["a_rather_long_name"] == "always the same words"
    assert 0 < len(passes) < answer.timing.tokens


def test_a_batch_mixes_answers_with_and_without_schema(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    query = backbone.format.query("hello")
    one = memory(backbone, "one", seed=1)
    schema = read_schema(json.dumps({**EVENT, "properties": {**EVENT["properties"], "title": {"const": "t"}}}))
    free, held = answer_batch(backbone, [query] * 2, [one] * 2, schemas=[None, schema], max_tokens=80)
    assert free == answer_batch(backbone, [query], [one], max_tokens=80)[0]
    assert held.startswith("{") and '"t"' in held


def test_tokens_of_special_meaning_never_stand_in_a_string(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    constraint = SchemaConstraint(vocabulary_of(backbone), read_schema(json.dumps(EVENT)))
    for token in backbone.tokenizer('{"title":"', add_special_tokens=False).input_ids:
        constraint.take(token, ahead=False)
    masked = constraint.mask(torch.zeros(backbone.vocabulary_size))
    for token in backbone.tokenizer.all_special_ids:
        assert masked[token] == float("-inf")
    with pytest.raises(GenerationError):
        constraint.take(random.choice(backbone.tokenizer.all_special_ids))
