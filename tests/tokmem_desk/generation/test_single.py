"""What a scorecard shows is what the chat answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.tokmem_desk.generation.test_recall import collect, memory, token_bank
from tokmem_desk.generation.recall import Bank, recall
from tokmem_desk.generation.single import answer_single
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.json_schema import read_schema
from trainer.evaluate import Answered, answer_pairs, answer_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokmem_desk.backbone.backbone import Backbone

MESSAGES = ("Paid 12.50 for lunch on 3 May", "buy milk", "and one that is rather longer than the two others are")
SCHEMA = {"type": "object", "properties": {"task": {"type": "string"}}, "required": ["task"]}


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_one_path_for_the_card_and_the_chat(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    backbone = tiny_backbone(family)
    bank = token_bank(backbone, ["one", "two"], "two", MESSAGES[0])
    pairs = [ExamplePair(message, "twelve tokens or a few more of them") for message in MESSAGES]
    *shares, answered = answer_pairs(backbone, pairs, bank.memories["two"], None)
    assert isinstance(answered, Answered) and shares == pytest.approx([1 / 3, 2 / 3, 1])
    for message, card in zip(MESSAGES, answered.answers, strict=True):
        limit = answer_tokens(backbone, pairs)
        _, _, chat = collect(recall(backbone, bank, message, route="two", max_tokens=limit))
        assert card == chat.response and card


def test_a_schema_holds_it_and_it_says_how_likely_it_is(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    one, schema = memory(backbone, "one"), read_schema(json.dumps(SCHEMA))
    bank = Bank({"one": one}, token_bank(backbone, ["one"], "one", MESSAGES[1]).router, schemas={"one": schema})
    _, _, chat = collect(recall(backbone, bank, MESSAGES[1], route="one", max_tokens=40))
    text, signals = answer_single(backbone, one, MESSAGES[1], schema=schema, max_tokens=40)
    assert text == chat.response
    assert (signals is None) == (chat.segments[0].answer_probability is None)
