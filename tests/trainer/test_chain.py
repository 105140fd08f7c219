"""Chains: the cached loss is the plain one, rows train, earlier ones stay, decoding follows the layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.tiny_models import FAMILIES
from tokmem_desk.paper.chain import Chain, answer_chains
from trainer.paper import chain as chain_training
from trainer.paper.chain import (
    ChainConfig,
    ChainExample,
    ChainTraining,
    chain_batch,
    chain_loss,
    encode,
    plain_chain_loss,
)
from trainer.query_cache import QueryCache

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

EXAMPLES = [
    ChainExample("lunch 12.50 card, then what is the weather today?", ((0, "food 12.50"), (1, "weather today"))),
    ChainExample("The quick brown fox jumps over the lazy dog. " * 2, ((1, "fox"), (0, "dog"), (1, "see you"))),
    ChainExample("Paid 3 euro", ((0, "3"),)),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("eop", [True, False])
def test_a_composed_step_is_plain_training_on_whole_sequences(
    tiny_backbone: Callable[..., Backbone], family: str, eop: bool
) -> None:
    backbone = tiny_backbone(family)
    samples = [encode(backbone, example, 2, eop=eop) for example in EXAMPLES]
    cache = QueryCache(backbone, [s.query for s in samples])
    list(cache.fill())
    generator = torch.Generator().manual_seed(4)
    table = (0.3 * torch.randn(3 if eop else 2, backbone.hidden_size, generator=generator)).requires_grad_()
    ours, count = chain_loss(backbone, cache.states([0, 1, 2]), cache.last_hidden, cache.log_partition, samples, table)
    (mine,) = torch.autograd.grad(ours, table)
    plain, plain_count = plain_chain_loss(backbone, samples, table)
    (theirs,) = torch.autograd.grad(plain, table)
    assert count == plain_count == sum(len(s.symbols) + 1 for s in samples)
    torch.testing.assert_close(ours.detach(), plain.detach(), rtol=2e-5, atol=5e-4)
    torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=5e-4)
    assert float(mine.abs().min(dim=1).values.max()) > 0


def test_a_chain_learns_its_example_and_answers_in_its_order(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    example = ChainExample("pay, then look up", ((0, "a"), (1, "b")))
    training = ChainTraining(backbone, ["pay", "sky"], [example], ChainConfig(epochs=300, learning_rate=0.05))
    progress = list(training)
    assert progress[-1].step == training.steps == 300
    chain = training.chain()
    query = backbone.format.query(example.query)
    assert answer_chains(backbone, [query], chain) == [[("pay", "a"), ("sky", "b")]]
    assert answer_chains(backbone, [query], chain, most_segments=1) == [[("pay", "a")]]


def test_a_step_that_overflows_is_left_out(
    tiny_backbone: Callable[..., Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = iter([math.inf, 1.0, math.nan, 1.0])

    def loss(*arguments: Any) -> tuple[torch.Tensor, int]:
        total, count = chain_loss(*arguments)
        return total * next(factors), count

    monkeypatch.setattr(chain_training, "chain_loss", loss)
    training = ChainTraining(tiny_backbone("llama"), ["pay"], [EXAMPLES[2]], ChainConfig(epochs=4))
    losses = [progress.loss for progress in training if progress.phase == "train"]
    assert losses[0] is None and losses[1] == losses[2] is not None
    assert bool(training.chain().rows.isfinite().all())


def test_later_rounds_leave_earlier_rows_as_they_are(tiny_backbone: Callable[..., Backbone]) -> None:
    backbone = tiny_backbone("llama")
    first = ChainTraining(backbone, ["pay"], [EXAMPLES[2]], ChainConfig(epochs=2))
    list(first)
    earlier = first.chain()
    second = ChainTraining(backbone, ["sky"], [EXAMPLES[0]], ChainConfig(epochs=2), earlier=earlier)
    list(second)
    both = second.chain()
    assert both.names == ("pay", "sky") and both.eop is earlier.eop
    assert torch.equal(both.rows[:1], earlier.rows)
    torch.testing.assert_close(both.rows[1].norm(), earlier.rows[0].norm())
    assert not torch.allclose(second.chain(renormalised=False).rows[1].norm(), earlier.rows[0].norm())


def test_no_memory_stands_inside_a_segment(tiny_backbone: Callable[..., Backbone]) -> None:
    """However loud a memory's column is, with an end-of-procedure row it waits for the end of the segment."""
    backbone = tiny_backbone("llama")
    rows = 50 * torch.randn(2, backbone.hidden_size, generator=torch.Generator().manual_seed(1))
    silent = torch.zeros(backbone.hidden_size)
    query = backbone.format.query("Paid 3 euro")
    with_end = answer_chains(backbone, [query], Chain(("a", "b"), rows, silent), max_tokens=12)
    without = answer_chains(backbone, [query], Chain(("a", "b"), rows, None), max_tokens=12)
    assert len(with_end[0]) < len(without[0])


def test_every_epoch_has_every_example_once() -> None:
    lengths = [3, 9, 4, 1, 7, 7, 2]
    seen = [i for step in range(3) for i in chain_batch(lengths, 3, 0, step)]
    assert sorted(seen) == list(range(7))
