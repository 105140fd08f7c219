"""Answers held to a form that came with the request: a schema, any object, calls of tools, a beginning."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from tests.tokmem_desk.generation.test_constrained import EVENT
from tests.tokmem_desk.generation.test_recall import collect, token_bank
from tokmem_desk.errors import BadInputError, UsageError
from tokmem_desk.generation.recall import Answer, Bank, recall
from tokmem_desk.templates.asked_form import AskedForm
from tokmem_desk.templates.json_schema import read_schema

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
CALLS: list[dict[str, Any]] = [
    {"name": "weather", "parameters": EVENT},
    {"name": 'say "hi"', "parameters": {**NODE, "$defs": {"node": NODE}}},
    {"name": "now"},
]


def answer(backbone: Backbone, fields: dict[str, Any], route: str = "none", **options: Any) -> Answer:
    bank = token_bank(backbone, ["one"], "one", "hello")
    bank = Bank(bank.memories, bank.router, {"one": read_schema(json.dumps(EVENT))})
    steps = recall(backbone, bank, "hello", route=route, asked=AskedForm.read(fields), **options)
    _, streamed, answer = collect(steps)
    assert streamed.startswith(answer.response)
    return answer


@pytest.mark.parametrize("route", ["none", "one"])
@pytest.mark.parametrize("limit", [1, 12, 60])
def test_a_schema_holds_plain_chat_and_procedures(
    tiny_backbone: Callable[..., Backbone], route: str, limit: int
) -> None:
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    found = answer(tiny_backbone("llama"), {"schema": schema}, route, max_tokens=limit)
    Draft202012Validator(schema).validate(json.loads(found.response))
    assert found.routed.route == route and found.segments[0].problem == ""


def test_any_object(tiny_backbone: Callable[..., Backbone]) -> None:
    for limit in (1, 30):
        found = answer(tiny_backbone("gemma3"), {"json_object": True}, max_tokens=limit)
        assert isinstance(json.loads(found.response), dict)


@pytest.mark.parametrize("place", range(3))
def test_a_call_is_one_of_the_tools_and_its_arguments_fit(tiny_backbone: Callable[..., Backbone], place: int) -> None:
    fields = {"calls": [CALLS[place]]}
    found = answer(tiny_backbone("llama"), fields, max_tokens=40)
    call = AskedForm.read(fields).call_of(found.response)
    assert call is not None and call[0] == CALLS[place]["name"]
    Draft202012Validator(CALLS[place].get("parameters", {})).validate(json.loads(call[1]))


def test_one_of_several_calls_or_text(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    held = answer(backbone, {"calls": CALLS}, max_tokens=40)
    assert AskedForm.read({"calls": CALLS}).call_of(held.response) is not None
    either = AskedForm.read({"calls": CALLS, "text_too": True})
    free = answer(backbone, {"calls": CALLS, "text_too": True}, max_tokens=10)
    assert not free.response.startswith("{") or either.call_of(free.response) is not None


def test_a_procedure_answers_as_it_learned_whatever_tools_there_are(tiny_backbone: Callable[..., Backbone]) -> None:
    found = answer(tiny_backbone("llama"), {"calls": CALLS}, "one", max_tokens=40)
    assert set(found.segments[0].arguments or {}) == {"title", "kind", "people"}


def test_a_beginning(tiny_backbone: Callable[..., Backbone]) -> None:
    text = 'The "answer" is:\n\n- grüße\\'
    found = answer(tiny_backbone("llama"), {"beginning": text}, max_tokens=60)
    assert found.response.startswith(text)


def test_what_is_no_call() -> None:
    form = AskedForm.read({"calls": CALLS})
    assert form.call_of('{"name": "now", "arguments": {}}') == ("now", "{}")
    for text in (
        "now",
        '{"name": "now"',
        "[]",
        '{"name": "later", "arguments": {}}',
        '{"name": "now", "arguments": {"x": 1}}',
    ):
        assert form.call_of(text) is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"schema": EVENT, "json_object": True}, {"calls": CALLS * 60}, {"beginning": "x" * 20_001}],
)
def test_forms_that_make_no_sense(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        AskedForm.read(fields)


def test_schemas_that_no_answer_can_be_held_to_are_named() -> None:
    with pytest.raises(BadInputError, match="must be an object"):
        AskedForm.read({"schema": {"type": "array"}})
    with pytest.raises(BadInputError, match="The tool 'x', at"):
        AskedForm.read(
            {"calls": [{"name": "x", "parameters": {"type": "object", "properties": {"a": {"type": "no"}}}}]}
        )
