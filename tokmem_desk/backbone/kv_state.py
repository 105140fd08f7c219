"""Cached keys and values of one query, and batches made from them.

The query stands before the memory, so what the frozen backbone computes for it never changes: it is run
once and kept (the infix identity). This module cuts a cache into one ``QueryState`` per query and joins
states, each with its own memory, into a left-padded batch. It knows about sliding-window layers, which
keep only the last ``window - 1`` keys, about layers that read the keys of others, and about recurrent layers, whose
states it copies (``running_state``); it does not know what a memory means.

Letters: b batch, q query tokens, m memory positions, l layers of a group, k key-value heads, e head size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer

from tokmem_desk.backbone.running_state import (
    RunningAttentionLayer,
    RunningLayer,
    RunningWindowLayer,
    StateSlot,
    read_states,
    running_layer,
    write_states,
)

if TYPE_CHECKING:
    from tokmem_desk.backbone.rotation import Rotation

_WITH_KEYS = (DynamicLayer, DynamicSlidingWindowLayer, RunningAttentionLayer, RunningWindowLayer)
"""Cache layers whose keys and values can be cut; exactly these, since a subclass may keep more."""


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers whose cached keys have one shape and turn alike with their position.

    Attributes:
        window: how many tokens they attend to; None for all.
        rotation: how their keys turn; None where they do not, or where it is not known yet.
    """

    layers: tuple[int, ...]
    window: int | None
    rotation: Rotation | None = None

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
        ids: of those tokens, where there is nothing else to keep (``recurrent``).
        running: states of recurrent layers behind the last token, [1 x …] each, compute dtype.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    length: int
    ids: tuple[int, ...] = ()
    running: Mapping[StateSlot, Tensor] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values, *self.running.values()))


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
        padded: some sample was extended by padding, which recurrent layers have read; nothing can follow there.
    """

    cache: DynamicCache
    mask: Tensor
    lengths: Tensor
    padded: bool = False

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
        groups: the layers that keep keys and values of their own.
        running: indices of the layers that carry a state along.
        recurrent: nothing is kept of a query but its ids, and everything runs from the beginning: see ``recurrent``.
        sizes: by layer, key-value heads, key size and value size; known once ``regroup`` was called.
        unknown: names of kinds of cache layers that this version cannot cut; empty where it can.
        pads_left: queries of different lengths run together behind padding where recurrent layers end in a state;
            else only queries of one length do.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self.recurrent = False
        self.pads_left = True
        windows: dict[int | None, list[int]] = {}
        running: list[int] = []
        unknown: set[str] = set()
        for index, layer in enumerate(self._layers()):
            if isinstance(layer, RunningLayer):
                running.append(index)
            if type(layer) in _WITH_KEYS:
                windows.setdefault(getattr(layer, "sliding_window", None), []).append(index)
            elif not isinstance(layer, RunningLayer | DummyLayer):
                unknown.add(type(layer).__name__)
        self.sizes: dict[int, tuple[int, ...]] = {}
        self.running = tuple(running)
        self.unknown = tuple(sorted(unknown))
        self.groups = tuple(LayerGroup(tuple(layers), window) for window, layers in windows.items())

    def _layers(self) -> list[Any]:
        """The layers of an empty cache made from the config, so that sliding layers slide."""
        return [running_layer(layer) or layer for layer in DynamicCache(config=self._config).layers]

    def regroup(self, rotations: Mapping[int, Rotation | None], sizes: Mapping[int, tuple[int, ...]]) -> None:
        """Put layers into groups of one window, one rotation and one shape of keys and values.

        Args:
            rotations: by layer, how its keys turn.
            sizes: by layer, key-value heads, key size and value size.
        """
        self.sizes = dict(sizes)
        groups: dict[Any, list[int]] = {}
        for group in self.groups:
            for layer in group.layers:
                groups.setdefault((group.window, rotations[layer], sizes[layer]), []).append(layer)
        self.groups = tuple(
            LayerGroup(tuple(layers), window, rotation) for (window, rotation, _), layers in groups.items()
        )

    def new_cache(self) -> DynamicCache:
        """An empty cache."""
        cache = DynamicCache(config=self._config)
        cache.layers = self._layers()
        return cache

    def _running_layers(self, cache: DynamicCache) -> dict[int, Any]:
        return {index: cache.layers[index] for index in self.running}

    @property
    def smallest_window(self) -> int | None:
        windows = [group.window for group in self.groups if group.window is not None]
        return min(windows) if windows else None

    def cut(
        self, cache: DynamicCache, lengths: Sequence[int], start: int = 0, *, ends_together: bool = False
    ) -> list[QueryState]:
        """One state per sample of a right-padded batch.

        Args:
            cache: filled by a forward pass over right-padded samples.
            lengths: tokens of each sample; where a sliding layer has dropped keys, or a layer carries a state, all
                must be equal, or ``ends_together``.
            start: padding in front of every sample.
            ends_together: the samples are padded in front instead, each to the same end.
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
                end = held if ends_together else min(held, start + length)
                keys.append(k[:, row, :, end - kept : end].clone())
                values.append(v[:, row, :, end - kept : end].clone())
            running = read_states(self._running_layers(cache), row)
            states.append(QueryState(tuple(keys), tuple(values), length, running=running))
        return states

    @property
    def always_shortens(self) -> bool:
        """Whether every state holds all that shorter ones do."""
        return self.smallest_window is None and not self.running and not self.recurrent

    def can_shorten(self, state: QueryState) -> bool:
        """False where a sliding layer has dropped keys that a shorter state needs, or a running state has gone on."""
        return not self.running and all(group.window is None or state.length < group.window for group in self.groups)

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
        if self.running:
            write_states(self._running_layers(cache), [state.running for state in states])
        device = next(iter((*states[0].keys, *states[0].running.values()))).device
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
