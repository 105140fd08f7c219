"""Models with recurrent layers: their states are kept, or all runs from the beginning; either way it is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F

from tests.tiny_models import RECURRENT
from tests.tokmem_desk.generation.test_recall import collect
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import ConversationCache
from tokmem_desk.errors import UsageError
from tokmem_desk.generation.decoding import start_memory, step
from tokmem_desk.generation.recall import Bank, answer_batch, recall
from tokmem_desk.memory.file import memory_from_bytes, memory_to_bytes
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.kv_positions import initial_keys_values
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.steering import Steering
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair, Procedure
from tokmem_desk.routing.routers import TokenRouter
from trainer.config import preset
from trainer.loop import Training
from trainer.objective import response_loss

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.backbone.backbone import Backbone

Load = Callable[..., "Backbone"]
MESSAGES = ("Paid 12.50 for lunch on 3 May with the blue card", "What is the weather today?", "thanks")
TOLERANCE = {"rtol": 1e-3, "atol": 2e-4}

pytestmark = pytest.mark.parametrize("family", RECURRENT)


def memory(backbone: Backbone, name: str, seed: int = 1, span: int = 3) -> Memory:
    """Rows in the input alone: there is no other form here."""
    rows = initial_rows(backbone, span, seed=seed)
    rows = rows + 0.3 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
    return Memory(name, Steering.of(rows), torch.zeros(backbone.hidden_size), False)


def whole(backbone: Backbone, query: list[int], rows: Tensor, response: list[int]) -> Tensor:
    """[s x v] logits of the model's own forward pass at the memory's last row and behind it, nothing cached."""
    ids = torch.tensor([query]), torch.tensor([response], dtype=torch.long)
    parts = [backbone.embed_ids(ids[0]), backbone.embed_rows(rows)[None], backbone.embed_ids(ids[1])]
    logits = backbone.model(inputs_embeds=torch.cat(parts, dim=1), use_cache=False).logits[0]
    return logits[len(query) + len(rows) - 1 :].float()


def test_facts(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    if family == "mamba":
        assert backbone.layout.recurrent and not backbone.rotates_keys and backbone.key_shapes == ()
        assert backbone.steps_with_cache, "one answer goes on from the model's own cache"
        assert "away from the whole" in backbone.traits.reason
        with pytest.raises(UsageError, match="Train with the form 'rows'"):
            initial_keys_values(backbone, 2, [5, 6, 7])
    else:
        assert not backbone.layout.recurrent and backbone.rotates_keys and backbone.traits.carries_state
        assert len(backbone.layout.running) + sum(len(group.layers) for group in backbone.layout.groups) == 4


def test_loss_and_gradient_are_those_of_whole_sequences(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    queries = [backbone.format.query(message) for message in MESSAGES]
    responses = [[*backbone.format.encode_text(text), backbone.format.end_id] for text in ("- lunch 12.50", "sun", "-")]
    ours, theirs = (torch.nn.Parameter(memory(backbone, "one").steering.rows.clone()) for _ in range(2))
    states = backbone.prefill(queries).states
    loss = response_loss(backbone, states, [Steering.of(ours)] * 3, responses)
    loss.total.backward()
    expected = torch.zeros(())
    for query, response in zip(queries, responses, strict=True):
        logits = whole(backbone, query, theirs, response[:-1])
        expected = expected + F.cross_entropy(logits, torch.tensor(response), reduction="sum")
    expected.backward()
    assert loss.tokens == sum(map(len, responses))
    torch.testing.assert_close(loss.total.detach(), expected.detach(), **TOLERANCE)
    assert ours.grad is not None and theirs.grad is not None and float(theirs.grad.norm()) > 0
    torch.testing.assert_close(ours.grad, theirs.grad, **TOLERANCE)


def test_queries_run_the_same_beside_others(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    queries = [backbone.format.query(message) for message in MESSAGES]
    together = backbone.prefill(queries, feature_layers=(1, 2), token_layers=(1,))
    for i, query in enumerate(queries):
        alone = backbone.prefill([query], feature_layers=(1, 2), token_layers=(1,))
        torch.testing.assert_close(together.last_hidden[i], alone.last_hidden[0], **TOLERANCE)
        assert together.pooled is not None and alone.pooled is not None
        torch.testing.assert_close(together.pooled[i], alone.pooled[0], **TOLERANCE)
        torch.testing.assert_close(together.tokens[i], alone.tokens[0], **TOLERANCE)
        split = len(query) // 2
        further = backbone.extend_state(backbone.prefill([query[:split]]).states[0], query[split:])
        torch.testing.assert_close(further.last_hidden[0], alone.last_hidden[0], **TOLERANCE)
        assert further.states[0].length == len(query)
        assert further.states[0].ids == (tuple(query) if backbone.layout.recurrent else ())


@torch.no_grad()
def test_token_by_token_is_the_whole_also_in_turns(tiny_backbone: Load, family: str) -> None:
    """Two answers take turns, one of them given several tokens at once: neither hears of the other."""
    backbone = tiny_backbone(family)
    made = [memory(backbone, name, seed) for seed, name in ((1, "one"), (2, "two"))]
    queries = [backbone.format.query(message) for message in MESSAGES[:2]]
    begun = [start_memory(backbone, m, backbone.prefill([q])) for m, q in zip(made, queries, strict=True)]
    texts = [backbone.format.encode_text("blue card and white bread"), backbone.format.encode_text("rain, then sun")]
    logits = [[first] for _, first in begun]
    for place in range(6):
        for which, (batch, _) in enumerate(begun):
            if which == 1 and place == 3:
                logits[which].append(step(backbone, batch, *texts[which][3:6]))
            elif which == 0 or place < 3:
                logits[which].append(step(backbone, batch, texts[which][place]))
    for which, places in ((0, range(7)), (1, (0, 1, 2, 3, 6))):
        expected = whole(backbone, queries[which], made[which].steering.rows, texts[which][:6])
        for ours, place in zip(logits[which], places, strict=True):
            torch.testing.assert_close(ours, expected[place], **TOLERANCE)


def test_recall_routes_answers_and_reads_a_conversation(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    addresses = token_bank_of(backbone, MESSAGES[0])
    routed, streamed, answer = collect(recall(backbone, addresses, MESSAGES[0], max_tokens=8))
    assert routed.route == "one" and streamed.rstrip() == answer.response.rstrip()
    query = backbone.format.query(MESSAGES[0])
    three = answer_batch(
        backbone,
        [query, backbone.format.query("thanks"), query],
        [addresses.memories["one"], addresses.memories["two"], None],
        max_tokens=8,
    )
    assert answer.response == three[0]
    said = [Turn("user", "good morning"), Turn("assistant", "hello")]
    cache = ConversationCache(backbone, 64)
    plain = collect(
        recall(backbone, addresses, "thanks", route=NONE_ROUTE, conversation=said, cache=cache.of("me"), max_tokens=8)
    )[2]
    ids = backbone.format.conversation([*said, Turn("user", "thanks")])
    assert plain.response == answer_batch(backbone, [ids], [None], max_tokens=8)[0]
    assert (cache.bytes == 0) == backbone.layout.recurrent, "of those there is nothing to keep"


def token_bank_of(backbone: Backbone, message: str) -> Bank:
    h = backbone.prefill([backbone.format.query(message)], keep_states=False).last_hidden[0]
    made = [memory(backbone, name, seed) for seed, name in ((1, "one"), (2, "two"))]
    signs = {"one": 40.0, "two": -40.0}
    memories = [Memory(m.name, m.steering, h / h.norm() * signs[m.name], False) for m in made]
    return Bank({m.name: m for m in memories}, TokenRouter(backbone, memories))


def test_training_learns_and_the_memory_survives_its_file(tiny_backbone: Load, family: str) -> None:
    backbone = tiny_backbone(family)
    pairs = tuple(ExamplePair(f"note {what}", f"- {what}!") for what in ("tea", "milk", "bread", "rice"))
    before = [p.detach().clone() for p in backbone.model.parameters()]
    config = replace(preset("quick", span=3, form="rows", seed=0), epochs=40)
    training = Training(backbone, [Procedure("note", pairs)], config)
    losses = [progress.loss for progress in training if progress.loss is not None]
    assert training.result is not None and losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(a, b) for a, b in zip(before, backbone.model.parameters(), strict=True))
    trained = training.result.memories[0]
    again = memory_from_bytes(memory_to_bytes(trained, backbone.fingerprint), backbone, "a file")
    assert torch.equal(again.steering.rows, trained.steering.rows) and again.steering.kind == "rows"
