"""The tokens of answers: their texts join to the answer, and the likeliest token is the one that was taken."""

from __future__ import annotations

import pytest
import torch

from tests.tokmem_desk.generation.test_recall import token_bank
from tokmem_desk.generation.recall import Answer, Sampling, recall
from tokmem_desk.generation.token_log import TokenLog
from tokmem_desk.templates.asked_form import AskedForm

MESSAGE = "What is the weather today?"


def answer(tiny, route: str = "none", **more) -> Answer:
    bank = token_bank(tiny.backbone, ["todo"], None, MESSAGE)
    *_, last = recall(tiny.backbone, bank, MESSAGE, route=route, max_tokens=12, **more)
    assert isinstance(last, Answer)
    return last


def test_plain_chat(tiny) -> None:
    found = answer(tiny, others=3)
    assert found.tokens is not None and "".join(one.text for one in found.tokens).rstrip("\ufffd") in found.response
    assert len(found.tokens) == found.timing.tokens == 12
    for one in found.tokens:
        logs = [log for _, log in one.others]
        assert len(logs) == 3 and logs == sorted(logs, reverse=True) and one.log == pytest.approx(logs[0])
    assert answer(tiny).tokens is None
    assert all(one.others == () for one in answer(tiny, others=0).tokens)


def test_a_procedure(tiny) -> None:
    found = answer(tiny, "todo", others=2)
    assert found.tokens is not None and len(found.tokens) == 12
    assert "".join(one.text for one in found.tokens).rstrip("\ufffd") in found.response


def test_likelihood_is_the_models_own_whatever_the_temperature(tiny) -> None:
    drawn = answer(tiny, others=1, sampling=Sampling(temperature=1.9, seed=3)).tokens
    assert any(one.log < one.others[0][1] for one in drawn), "it was drawn, so not always the likeliest"


def test_tokens_that_must_follow_are_certain(tiny) -> None:
    schema = {"type": "object", "properties": {"colour": {"const": "red"}}, "required": ["colour"]}
    held = answer(tiny, others=2, asked=AskedForm.read({"schema": schema}))
    assert "".join(one.text for one in held.tokens) == held.response
    assert any(one.log == 0.0 for one in held.tokens)
    assert all(log > float("-inf") for one in held.tokens for _, log in one.others)


def test_a_token_that_completes_a_character_has_all_of_it() -> None:
    log = TokenLog(1, lambda ids: bytes(ids).decode("utf-8", "replace"))
    log.add_all(list("aé!".encode()), [-1.0, -2.0, 0.0, -3.0])
    assert [(one.text, one.log) for one in log.tokens] == [("a", -1.0), ("", -2.0), ("é", 0.0), ("!", -3.0)]
    others = log.others_of(torch.tensor([0.0] * 97 + [5.0, 6.0] + [float("-inf")] * 157), [])
    assert [text for text, _ in others] == ["b"]
