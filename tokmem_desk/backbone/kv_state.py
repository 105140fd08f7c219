"""Cached keys and values of one query, and batches made from them.

The query stands before the memory, so what the frozen backbone computes for it never changes: it is run
once and kept (the infix identity). This module cuts a cache into one ``QueryState`` per query and joins
states, each with its own memory, into a left-padded batch. It knows about sliding-window layers, which
keep only the last ``window - 1`` keys; it does not know what a memory means.

Letters: b batch, q query tokens, m memory positions, l layers of a group, k key-value heads, e head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers whose cached keys have one shape. ``window`` is None for full attention."""

    layers: tuple[int, ...]
    window: int | None

    def kept(self, length: int) -> int:
        """How many of ``length`` tokens a layer of this group still holds."""
        return length if self.window is None else min(length, self.window - 1)


@dataclass(frozen=True, slots=True)
class QueryState:
    """What the backbone keeps of one query.

    Attributes:
        keys: one [l x k x kept(q) x e] tensor per layer group, compute dtype, positions rotated in.
        values: as ``keys``.
        length: q, the number of query tokens.
        ids: of those tokens, where there is nothing else to keep (``recompute``).
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    length: int
    ids: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))


@dataclass(frozen=True, slots=True)
class LayerRows:
    """Keys and values that a memory puts behind a query, per layer group, positions already rotated in.

    ``keys`` and ``values``: one [l x k x m x e] tensor per group, compute dtype; may carry gradient.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        return self.keys[0].shape[-2]


@dataclass(slots=True)
class JoinedBatch:
    """A batch ready to be extended.

    Attributes:
        cache: holds every sample's tokens, right-aligned.
        mask: [b x n] long, 1 where a token stands; grows with each extension.
        lengths: [b] long, tokens of each sample so far: the position of the next one.
    """

    cache: DynamicCache
    mask: Tensor
    lengths: Tensor

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these samples, in this order; one may stand there several times."""
        if list(rows) == list(range(len(self.mask))):
            return
        self._pick(torch.tensor(rows, device=self.mask.device))

    def _pick(self, index: Tensor) -> None:
        self.cache.batch_select_indices(index)
        self.mask, self.lengths = self.mask[index], self.lengths[index]


class CacheLayout:
    """Cuts and joins caches of one backbone.

    Attributes:
        recurrent: some layers keep a running state instead of keys and values, which no cut can take apart: see
            ``recompute``.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        windows: dict[int | None, list[int]] = {}
        layers = DynamicCache(config=config).layers
        self.recurrent = any(not isinstance(layer, DynamicLayer) for layer in layers)
        for index, layer in enumerate(layers):
            windows.setdefault(getattr(layer, "sliding_window", None), []).append(index)
        self.groups = tuple(LayerGroup(tuple(layers), window) for window, layers in windows.items())

    def new_cache(self) -> DynamicCache:
        """An empty cache made from the config, so that sliding layers slide."""
        return DynamicCache(config=self._config)

    @property
    def smallest_window(self) -> int | None:
        windows = [group.window for group in self.groups if group.window is not None]
        return min(windows) if windows else None

    def cut(self, cache: DynamicCache, lengths: Sequence[int], start: int = 0) -> list[QueryState]:
        """One state per sample of a right-padded batch.

        Args:
            cache: filled by a forward pass over right-padded samples.
            lengths: tokens of each sample; where a sliding layer has dropped keys, all must be equal.
            start: padding in front of every sample.
        """
        states = []
        grouped = [
            (
                torch.stack([cache.layers[i].keys for i in group.layers]),
                torch.stack([cache.layers[i].values for i in group.layers]),
            )
            for group in self.groups
        ]
        for row, length in enumerate(lengths):
            keys, values = [], []
            for group, (k, v) in zip(self.groups, grouped, strict=True):
                kept = group.kept(length)
                held = k.shape[-2]
                end = min(held, start + length)
                keys.append(k[:, row, :, end - kept : end].clone())
                values.append(v[:, row, :, end - kept : end].clone())
            states.append(QueryState(tuple(keys), tuple(values), length))
        return states

    def can_shorten(self, state: QueryState) -> bool:
        """False when a sliding layer has dropped keys that a shorter state would need."""
        return all(group.window is None or state.length < group.window for group in self.groups)

    def shorten(self, state: QueryState, length: int) -> QueryState:
        """The state as it was after the first ``length`` tokens; only where ``can_shorten``."""
        return QueryState(
            tuple(keys[..., :length, :] for keys in state.keys),
            tuple(values[..., :length, :] for values in state.values),
            length,
        )

    def join(self, states: Sequence[QueryState], rows: Sequence[LayerRows | None]) -> JoinedBatch:
        """Left-pad states, each followed by its memory's rows, into one batch.

        Gradient flows into ``rows`` and nowhere else.
        """
        pairs = list(zip(states, rows, strict=True))
        totals = [state.length + (row.length if row else 0) for state, row in pairs]
        longest = max(totals)
        cache = self.new_cache()
        for g, group in enumerate(self.groups):
            width = group.kept(longest)
            keys = torch.stack([_right_align(s.keys[g], r.keys[g] if r else None, width) for s, r in pairs], dim=1)
            values = torch.stack(
                [_right_align(s.values[g], r.values[g] if r else None, width) for s, r in pairs], dim=1
            )
            # unbind: its backward pass writes each layer's gradient once, while that of keys[i] would fill and
            # add a tensor of all layers for every layer (a third of a training step).
            for layer, k, v in zip(group.layers, keys.unbind(0), values.unbind(0), strict=True):
                cache.update(k, v, layer)
                if group.window is not None:
                    # The layer counts what passed through it; what we put in had been cut already.
                    cache.layers[layer].cumulative_length = longest
        device = keys.device
        lengths = torch.tensor(totals, device=device)
        mask = (torch.arange(longest, device=device)[None] >= (longest - lengths)[:, None]).long()
        return JoinedBatch(cache, mask, lengths)


def _right_align(state: Tensor, rows: Tensor | None, width: int) -> Tensor:
    """[l x k x width x e]: the last ``width`` of state and rows, zeros in front."""
    joined = state if rows is None else torch.cat([state, rows], dim=-2)
    have = joined.shape[-2]
    if have >= width:
        return joined[..., have - width :, :]
    return F.pad(joined, (0, 0, width - have, 0))
