"""Queries of models whose cache cannot be cut: kept as what the model reads, and run anew whenever something follows.

Some layers keep states beside the cache, or cannot begin several tokens from one. So a
query is remembered by its ids alone; what comes behind it, memories included, runs together with it from the
beginning. What is trained is the same, at the price of the query's forward pass in each step; memories are input
rows, since there are no keys and values to hold others.

One thing is kept: while one answer is generated token by token, the model's own cache goes along, where the model
keeps all of its state in there.

Letters: b batch, q query tokens, s new tokens, n tokens so far, d hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tokmem_desk.backbone.kv_state import CacheLayout, JoinedBatch
from tokmem_desk.backbone.query_state import LayerKeysValues, QueryState
from tokmem_desk.backbone.rotation import distance

if TYPE_CHECKING:
    from tokmem_desk.backbone.forward import ForwardModel


@dataclass(slots=True)
class RecomputedBatch(JoinedBatch):
    """A batch of sequences that run from their beginning.

    Attributes:
        told: per sample [n x d] input embeddings, compute dtype; those of memories may carry gradient.
        running: the cache of a batch of one holds all of ``told``.
    """

    told: list[Tensor] = field(default_factory=list)
    running: bool = False

    def _pick(self, index: Tensor) -> None:
        self.told = [self.told[row] for row in index.tolist()]
        self.lengths = self.lengths[index]
        self.mask, self.running = _present(self.lengths), False


class RecomputedLayout(CacheLayout):
    """Keeps ids instead of keys and values.

    Args:
        embed: [q x d] input embeddings of [q] ids.
    """

    def __init__(self, config: Any, embed: Callable[[Tensor], Tensor], device: torch.device) -> None:
        super().__init__(config)
        self.groups, self.running, self.recurrent = (), (), True
        self._embed, self._device = embed, device

    def can_shorten(self, state: QueryState) -> bool:
        """There is nothing that would be worth keeping a part of."""
        return False

    def join(
        self, states: Sequence[QueryState], rows: Sequence[LayerKeysValues | None], *, reserve: int = 0
    ) -> JoinedBatch:
        """Queries as they will run; memories have input rows only."""
        assert all(row is None for row in rows), "no layer of this model has room for a memory's keys and values"
        told = [self._embed(torch.tensor(state.ids, device=self._device)) for state in states]
        lengths = torch.tensor([len(one) for one in told], device=self._device)
        return RecomputedBatch(self.new_cache(), _present(lengths), lengths, told=told)


def rerun(backbone: ForwardModel, batch: RecomputedBatch, inputs: Tensor, present: Tensor | None) -> Tensor:
    """``Backbone.extend`` for sequences that run from their beginning: [b x s x d] final hidden states.

    Where ``present`` is 0 they mean nothing, as ever.
    """
    width = inputs.shape[1]
    starts = batch.lengths
    counts = torch.full_like(starts, width) if present is None else present.sum(dim=1)
    batch.told = [
        torch.cat([told, new[:count]]) for told, new, count in zip(batch.told, inputs, counts.tolist(), strict=True)
    ]
    batch.lengths = starts + counts
    batch.mask = _present(batch.lengths)
    alone = len(batch.told) == 1 and int(counts[0]) == width
    if alone and backbone.steps_with_cache and not torch.is_grad_enabled():
        # Several tokens behind a cache are beyond what these layers promise; one is what their models are made for.
        first = 0
        if batch.running and width == 1:
            first = int(starts[0])
        else:
            batch.cache = backbone.layout.new_cache()
        hidden = backbone.run_with_cache(batch.told[0][None, first:], batch.cache, first)
        batch.running = True
        return hidden[:, -width:]
    batch.running = False
    hidden = backbone.run_embeddings(pad_sequence(batch.told, batch_first=True), batch.mask)
    places = (starts[:, None] + torch.arange(width, device=starts.device)).clamp(max=hidden.shape[1] - 1)
    return hidden.gather(1, places[:, :, None].expand(-1, -1, hidden.shape[2]))


def padding_is_safe(backbone: ForwardModel, ids: Sequence[int]) -> float:
    """Relative distance of a sequence's final states beside a longer one from those that it has alone.

    Raises:
        ValueError: the model does not give the states of each layer, which routing reads.
    """
    long = backbone.embed_ids(torch.tensor(ids, device=backbone.torch_device))
    short = long[: max(1, len(ids) // 2)]
    padded = pad_sequence([short, long], batch_first=True)
    present = _present(torch.tensor([len(short), len(long)], device=backbone.torch_device))
    output = backbone.run_whole(padded, present, every_layer=True)
    alone = backbone.run_embeddings(short[None], present[:1, : len(short)])
    if len(output.hidden_states or ()) != backbone.layer_count + 1:
        raise ValueError("it does not give the states of its layers")
    return distance(output.last_hidden_state[:1, : len(short)], alone)


def steps_with_cache(backbone: ForwardModel, ids: Sequence[int]) -> float:
    """Relative distance of token by token from the whole, while another sequence runs in between.

    Large where the state is kept elsewhere: beside the cache, or in the model itself, where two answers would meet.
    Raises whatever the model raises where it has no such cache at all.
    """
    sequences = [list(ids), list(reversed(ids))]
    inputs = [backbone.embed_ids(torch.tensor([sequence], device=backbone.torch_device)) for sequence in sequences]
    begun = len(ids) - 2
    caches = [backbone.layout.new_cache() for _ in inputs]
    hidden = [
        backbone.run_with_cache(sequence[:, :begun], cache, 0) for sequence, cache in zip(inputs, caches, strict=True)
    ]
    for place in range(begun, len(ids)):
        steps = [
            backbone.run_with_cache(sequence[:, place : place + 1], cache, place)
            for sequence, cache in zip(inputs, caches, strict=True)
        ]
        hidden = [torch.cat(pair, dim=1) for pair in zip(hidden, steps, strict=True)]
    wholes = [backbone.run_embeddings(x, torch.ones(x.shape[:2], dtype=torch.long, device=x.device)) for x in inputs]
    return max(distance(ours, theirs) for ours, theirs in zip(hidden, wholes, strict=True))


def _present(lengths: Tensor) -> Tensor:
    """[b x n] long, 1 where a token stands; right-padded, which no causal layer sees."""
    return (torch.arange(int(lengths.max()), device=lengths.device)[None] < lengths[:, None]).long()
