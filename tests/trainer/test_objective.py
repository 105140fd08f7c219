"""The cached loss equals plain training on whole sequences, in value and in gradient, on every family."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from tests.tiny_models import FAMILIES, WINDOW
from trainer.config import PAPER, TrainConfig
from trainer.objective import TrainableMemories, full_sequence_loss, response_loss, routing_loss
from trainer.query_cache import QueryCache

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

SHORT = ["lunch 12.50 card", "Paid 3 euro for milk on Monday"]
LONG = ["The quick brown fox jumps over the lazy dog. " * 3, "Write a commit message for this change, please. " * 2]


def cached_loss(
    backbone: Backbone, memories: TrainableMemories, messages: list[str], answers: list[str], config: TrainConfig
) -> tuple[torch.Tensor, int]:
    """Routing and response terms on cached queries, summed."""
    queries = [backbone.format.query(m) for m in messages]
    responses = [backbone.format.response(a) for a in answers]
    cache = QueryCache(backbone, queries)
    list(cache.fill())
    blocks = memories.steering()
    columns = memories.addresses() if config.memory_columns else None
    rows = list(range(len(messages)))
    answer = response_loss(backbone, cache.states(rows), [blocks[i % 2] for i in rows], responses, columns)
    targets = torch.tensor([i % 2 for i in rows])
    route = routing_loss(backbone, cache.last_hidden, cache.log_partition, memories.addresses(), targets)
    return answer.total + config.router_weight * route, answer.tokens + len(rows)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("messages", [SHORT, LONG, [SHORT[0], LONG[0]]], ids=["short", "long", "mixed"])
@pytest.mark.parametrize("span", [1, 3])
@pytest.mark.parametrize("tied", [True, False])
def test_cached_training_is_plain_training(
    tiny_backbone: Callable[..., Backbone], family: str, messages: list[str], span: int, tied: bool
) -> None:
    backbone = tiny_backbone(family)
    assert family != "gemma3" or len(backbone.format.query(LONG[0])) > WINDOW
    config = TrainConfig(
        form="rows", span=span, tied=tied, memory_columns=tied, router_weight=1.0, absolute_rate=True, seed=3
    )
    memories = TrainableMemories(backbone, config, [[], []])
    with torch.no_grad():
        for parameter in memories.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    answers = ["ok then", "2025-05-03;food;milk;3.00"]
    ours, count = cached_loss(backbone, memories, messages, answers, config)
    ours.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad.clone() for p in memories.parameters() if p.grad is not None]
    assert gradients and all(float(g.abs().max()) > 0 for g in gradients)
    for all_logits in (False, True):
        memories.zero_grad()
        plain, plain_count = full_sequence_loss(
            backbone,
            [backbone.format.query(m) for m in messages],
            [0, 1],
            memories,
            [backbone.format.response(a) for a in answers],
            router_weight=1.0,
            memory_columns=tied,
            all_logits=all_logits and tied,
        )
        assert plain_count == count
        torch.testing.assert_close(ours.detach(), plain.detach(), rtol=2e-5, atol=2e-4)
        plain.backward()  # type: ignore[no-untyped-call]
        for mine, parameter in zip(gradients, memories.parameters(), strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(mine, parameter.grad, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_of_real_tokens_reproduce_those_tokens(tiny_backbone: Callable[..., Backbone], family: str) -> None:
    """A memory whose keys and values are those of a text acts as if the text stood there."""
    from tokmem_desk.memory.steering import Steering

    backbone = tiny_backbone(family)
    query = backbone.format.query(SHORT[0])
    middle = backbone.format.encode_text("Thanks, see you on")
    answer = backbone.format.response("Monday 7")
    whole = torch.tensor([[*query, *middle, *answer[:-1]]])
    present = torch.ones_like(whole)
    hidden = backbone.run_embeddings(backbone.embed_ids(whole), present)[0, len(query) + len(middle) - 1 :]
    expected = torch.nn.functional.cross_entropy(backbone.logits(hidden), torch.tensor(answer), reduction="sum")
    # Keys of the middle, all but its last token, cut from a run behind the query and freed of position.
    cache = backbone.layout.new_cache()
    backbone.model(input_ids=torch.tensor([[*query, *middle[:-1]]]), past_key_values=cache, use_cache=True)
    state = backbone.layout.cut(cache, [len(query) + len(middle) - 1])[0]
    count = len(middle) - 1
    places = torch.arange(len(query), len(query) + count)
    keys = tuple(backbone.rotate(k[..., -count:, :], places, g, back=True) for g, k in enumerate(state.keys))
    values = tuple(v[..., -count:, :] for v in state.values)
    rows = backbone.input_rows[torch.tensor(middle[-1:])]
    states = backbone.prefill([query]).states
    loss = response_loss(backbone, states, [Steering.of(rows, keys, values)], [answer])
    torch.testing.assert_close(loss.total, expected, rtol=1e-4, atol=1e-4)


def test_the_cache_recomputes_what_does_not_fit(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    queries = [backbone.format.query(m) for m in (*SHORT, *LONG)]
    small, big = QueryCache(backbone, queries, budget_mb=0.001), QueryCache(backbone, queries)
    list(small.fill())
    list(big.fill())
    assert small.bytes < big.bytes
    for a, b in zip(small.states([0, 1, 2, 3]), big.states([0, 1, 2, 3]), strict=True):
        torch.testing.assert_close(a.keys[0], b.keys[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(small.log_partition, big.log_partition)


def test_the_papers_setting_is_the_papers() -> None:
    assert (PAPER.form, PAPER.span, PAPER.tied, PAPER.learning_rate, PAPER.batch_size) == ("rows", 1, True, 5e-3, 4)
    assert (PAPER.epochs, PAPER.warmup, PAPER.weight_decay, PAPER.memory_columns) == (1, 0.1, 0.0, True)


@pytest.mark.real_model
def test_cached_training_is_plain_training_in_four_bit_after_chat(real_backbone: Backbone) -> None:
    """Chat packs weights for decoding; training afterwards must see the stored ones (see weight_formats)."""
    from tokmem_desk.generation.recall import Bank, recall
    from tokmem_desk.routing.routers import TokenRouter

    list(recall(real_backbone, Bank({}, TokenRouter(real_backbone, [])), "Hello there", max_tokens=4))
    config = TrainConfig(form="rows", span=2, tied=True, memory_columns=True, router_weight=1.0, absolute_rate=True)
    memories = TrainableMemories(real_backbone, config, [[], []])
    answers = ["2025-05-03;food;milk;3.00", "ok then"]
    ours, count = cached_loss(real_backbone, memories, SHORT, answers, config)
    ours.backward()  # type: ignore[no-untyped-call]
    mine = memories.rows.delta.grad
    assert mine is not None
    mine = mine.clone()
    memories.zero_grad()
    plain, plain_count = full_sequence_loss(
        real_backbone,
        [real_backbone.format.query(m) for m in SHORT],
        [0, 1],
        memories,
        [real_backbone.format.response(a) for a in answers],
        router_weight=1.0,
        memory_columns=True,
        all_logits=True,
    )
    plain.backward()  # type: ignore[no-untyped-call]
    theirs = memories.rows.delta.grad
    assert theirs is not None and plain_count == count
    # bfloat16 rounds differently along the two ways; a wrong gradient is off by a factor, not by a per cent.
    torch.testing.assert_close(ours.detach(), plain.detach(), rtol=0.02, atol=0.1)
    assert float(torch.cosine_similarity(mine.flatten(), theirs.flatten(), dim=0)) > 0.995
    assert 0.95 < float(mine.norm() / theirs.norm()) < 1.05


def test_steps_of_rows_alone_have_the_size_of_the_matrix(tiny_backbone: Callable[..., Backbone]) -> None:
    """The mean row, where rows start, is far shorter than a row; beside keys and values its own size stays the unit."""
    backbone = tiny_backbone()
    rows = TrainableMemories(backbone, TrainConfig(form="rows", span=3, lens_rank=0), [[5, 6]])
    size = float(backbone.input_rows.float().pow(2).mean().sqrt())
    assert float(rows.rows.scale) == pytest.approx(size, rel=1e-3)
    mean = float(backbone.input_rows.float().mean(dim=0).pow(2).mean().sqrt())
    layers = TrainableMemories(backbone, TrainConfig(form="layers", span=3, lens_rank=0), [[5, 6, 7]])
    assert float(layers.rows.scale) == pytest.approx(mean, rel=0.1) and mean < 0.5 * size
    paper = TrainableMemories(backbone, TrainConfig(form="rows", span=1, lens_rank=0, absolute_rate=True), [[5]])
    assert float(paper.rows.scale) == 1.0
