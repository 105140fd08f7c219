"""Messages that refer to something are answered with it filled in, also by a route that only then is clear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.tokmem_desk.generation.test_recall import memory
from tests.tokmem_desk.references.test_resolve import Scripted
from tests.tokmem_desk.routing.test_segments import FirstWordRouter
from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.background.referring import Said
from tokmem_desk.generation.answer_segment import AnswerSegment
from tokmem_desk.generation.recall import Answer, Bank, Routed, recall

PAID = Said("Paid 12.50 for lunch", "LUNCH 12.50")
VALUES = {"lunch": "item!", "dinner": "item", "LUNCH 12.50": "item!"}
FINDER = Scripted({"the same for": "same", "dinner": "new", "it": "item", "there": "place"}, VALUES)


@pytest.fixture
def bank(tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch) -> Bank:
    backbone = tiny_backbone("llama")
    router = FirstWordRouter(backbone)
    monkeypatch.setattr(backbone, "prefill_steps", router.prefill_steps)
    memories = {name: memory(backbone, name, seed=i + 1) for i, name in enumerate(("pay", "sky"))}
    return Bank(memories, router, references=FINDER)  # type: ignore[arg-type]


def asked(backbone: Backbone, bank: Bank, message: str, **more: Any) -> tuple[Routed, AnswerSegment]:
    done = list(recall(backbone, bank, message, max_tokens=3, **more))
    answer = done[-1]
    assert isinstance(answer, Answer)
    routed = next(step for step in done if isinstance(step, Routed))
    [segment] = answer.segments
    return routed, segment


def test_the_same_again_takes_the_route_of_the_message_before(
    tiny_backbone: Callable[..., Backbone], bank: Bank
) -> None:
    routed, segment = asked(tiny_backbone("llama"), bank, "the same for dinner", said=[PAID])
    assert routed.route == segment.route == "pay" and not routed.forced
    assert routed.part == segment.part == "Paid 12.50 for dinner" and segment.typed == "the same for dinner"
    assert [(one.words, one.value) for one in segment.filled] == [("lunch", "dinner")]
    assert AnswerSegment.from_dict(segment.as_dict()) == segment


def test_a_value_is_filled_in_where_the_words_have_a_route(tiny_backbone: Callable[..., Backbone], bank: Bank) -> None:
    routed, segment = asked(tiny_backbone("llama"), bank, "Paid it again", said=[PAID])
    assert (routed.route, routed.part) == ("pay", "Paid lunch again")
    routed, segment = asked(tiny_backbone("llama"), bank, "show it", route="sky", said=[PAID])
    assert routed.forced and segment.part == "show lunch" and segment.route == "sky"


def test_what_is_not_filled_in(tiny_backbone: Callable[..., Backbone], bank: Bank) -> None:
    backbone = tiny_backbone("llama")
    for message, more in (
        ("Paid it again", {"said": None}),
        ("Paid it again", {"said": []}),
        ("Paid there", {"said": [PAID]}),
        ("show it", {"said": [PAID]}),  # plain chat sees the conversation
        ("Paid it again", {"said": [PAID], "route": "none"}),
    ):
        routed, segment = asked(backbone, bank, message, **more)
        assert routed.part == segment.part == message and not segment.filled and not segment.typed
    reading = replace(bank, conversation_aware=frozenset({"pay"}))
    assert not asked(backbone, reading, "Paid it again", said=[PAID])[1].filled, "it reads the conversation"
    without = replace(bank, references=None)
    assert not asked(backbone, without, "Paid it again", said=[PAID])[1].filled
