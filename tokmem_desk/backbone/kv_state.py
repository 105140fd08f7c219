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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache
from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer

from tokmem_desk.backbone.query_state import LayerKeysValues, QueryState
from tokmem_desk.backbone.running_state import (
    RunningAttentionLayer,
    RunningLayer,
    RunningWindowLayer,
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


@dataclass(slots=True)
class JoinedBatch:
    """A batch ready to be extended.

    Attributes:
        cache: holds every sample's tokens, right-aligned.
        mask: [b x n] long, 1 where a token stands; grows with each extension.
        lengths: [b] long, tokens of each sample so far: the position of the next one.
        padded: some sample was extended by padding, which recurrent layers have read; nothing can follow there.
        even: no sample has padding in front, as far as is known.
    """

    cache: DynamicCache
    mask: Tensor
    lengths: Tensor
    padded: bool = False
    even: bool = False

    @property
    def bytes(self) -> int:
        """Of the keys and values in its cache."""
        held = [getattr(layer, name, None) for layer in self.cache.layers for name in ("keys", "values")]
        return sum(tensor.numel() * tensor.element_size() for tensor in held if tensor is not None)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these samples, in this order; one may stand there several times."""
        if list(rows) == list(range(len(self.mask))):
            return
        self._pick(torch.tensor(rows, device=self.mask.device))

    def _pick(self, index: Tensor) -> None:
        self.cache.batch_select_indices(index)
        self.mask, self.lengths = self.mask[index], self.lengths[index]


class _Room:
    """Keys and values of a layer group for one query of known length, made when the first layer brings some.

    Args:
        layers: of the group.
        length: q, all tokens that will come.
    """

    def __init__(self, layers: int, length: int) -> None:
        self.length = length
        self._layers = layers
        self._whole: list[Tensor] = []

    def of(self, place: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """[1 x k x q x e] of the layer at ``place``, for keys and for values like these."""
        if not self._whole:
            self._whole = [t.new_empty((self._layers, t.shape[1], self.length, t.shape[3])) for t in (keys, values)]
        whole_keys, whole_values = self._whole
        return whole_keys[place : place + 1], whole_values[place : place + 1]

    def take(self) -> list[Tensor]:
        """[l x k x q x e] keys and values of all layers, handed over."""
        whole, self._whole = self._whole, []
        return whole


class ReservedLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one long query, written into their place among those of all its tokens.

    A layer that grows by concatenation copies all that it holds with every part, and leaves holes of every size in
    memory.
    """

    def __init__(self, room: _Room, place: int) -> None:
        super().__init__()
        self.room, self._place = room, place

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Take in new keys and values, [b x k x s x e] each; returns all n so far, [b x k x n x e] each."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        keys, values = self.room.of(self._place, key_states, value_states)
        keys[:, :, start:end], values[:, :, start:end] = key_states, value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values


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

    def new_cache(self, reserve: int = 0) -> DynamicCache:
        """An empty cache.

        Args:
            reserve: how many tokens it will hold, of one sample, where that is known: see ``ReservedLayer``.
        """
        cache = DynamicCache(config=self._config)
        cache.layers = self._layers()
        for group in self.groups if reserve else ():
            if all(type(cache.layers[index]) is DynamicLayer for index in group.layers):
                room = _Room(len(group.layers), reserve)
                for place, index in enumerate(group.layers):
                    cache.layers[index] = ReservedLayer(room, place)
        return cache

    def _running_layers(self, cache: DynamicCache) -> dict[int, Any]:
        return {index: cache.layers[index] for index in self.running}

    @property
    def smallest_window(self) -> int | None:
        windows = [group.window for group in self.groups if group.window is not None]
        return min(windows) if windows else None

    def cut(
        self,
        cache: DynamicCache,
        lengths: Sequence[int],
        start: int = 0,
        *,
        ends_together: bool = False,
        release: bool = False,
    ) -> list[QueryState]:
        """One state per sample of a right-padded batch.

        Args:
            cache: filled by a forward pass over right-padded samples.
            lengths: tokens of each sample; where a sliding layer has dropped keys, or a layer carries a state, all
                must be equal, or ``ends_together``.
            start: padding in front of every sample.
            ends_together: the samples are padded in front instead, each to the same end.
            release: the cache is not needed any more: what was reserved for one sample becomes its state as it is, the
                rest is emptied layer by layer as it is copied. So a long query is not in memory twice.
        """
        running = [read_states(self._running_layers(cache), row) for row in range(len(lengths))]
        cut: dict[str, list[list[Tensor]]] = {"keys": [], "values": []}
        for group in self.groups:
            first = cache.layers[group.layers[0]]
            if release and isinstance(first, ReservedLayer) and [first.room.length] == list(lengths) and not start:
                for (name, groups), whole in zip(cut.items(), first.room.take(), strict=True):
                    groups.append([whole])
                    for index in group.layers:
                        setattr(cache.layers[index], name, whole[:1, :, :0])
                continue
            for name, groups in cut.items():
                samples: list[Tensor] = []
                for place, index in enumerate(group.layers):
                    layer = cache.layers[index]
                    held: Tensor = getattr(layer, name)
                    for row, length in enumerate(lengths):
                        end = held.shape[-2] if ends_together else min(held.shape[-2], start + length)
                        part = held[row, :, end - group.kept(length) : end]
                        if not place:
                            samples.append(part.new_empty((len(group.layers), *part.shape)))
                        samples[row][place] = part
                    if release:
                        setattr(layer, name, held[:, :, :0].clone())
                groups.append(samples)
        return [
            QueryState(
                tuple(samples[row] for samples in cut["keys"]),
                tuple(samples[row] for samples in cut["values"]),
                length,
                running=running[row],
            )
            for row, length in enumerate(lengths)
        ]

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

    def join(
        self, states: Sequence[QueryState], rows: Sequence[LayerKeysValues | None], *, reserve: int = 0
    ) -> JoinedBatch:
        """Left-pad states, each followed by its memory's rows, into one batch.

        Gradient flows into ``rows`` and nowhere else.

        Args:
            reserve: how many tokens a batch of one will hold, where that is known.
        """
        pairs = list(zip(states, rows, strict=True))
        totals = [state.length + (row.length if row else 0) for state, row in pairs]
        longest = max(totals)
        cache = self.new_cache(reserve)
        for g, group in enumerate(self.groups):
            width = group.kept(longest)
            keys = _stack([_right_align(s.keys[g], r.keys[g] if r else None, width) for s, r in pairs])
            values = _stack([_right_align(s.values[g], r.values[g] if r else None, width) for s, r in pairs])
            # unbind: its backward pass writes each layer's gradient once, while that of keys[i] would fill and
            # add a tensor of all layers for every layer (a third of a training step).
            for layer, k, v in zip(group.layers, keys.unbind(0), values.unbind(0), strict=True):
                if isinstance(cache.layers[layer], ReservedLayer):
                    cache.layers[layer].update(k, v)
                    continue
                # Taken over, not copied: nothing writes into keys that are there.
                cache.layers[layer].lazy_initialization(k, v)
                cache.layers[layer].keys, cache.layers[layer].values = k, v
                if group.window is not None:
                    # The layer counts what passed through it; what we put in had been cut already.
                    cache.layers[layer].cumulative_length = longest
        if self.running:
            write_states(self._running_layers(cache), [state.running for state in states])
        device = next(iter((*states[0].keys, *states[0].running.values()))).device
        lengths = torch.tensor(totals, device=device)
        mask = (torch.arange(longest, device=device)[None] >= (longest - lengths)[:, None]).long()
        return JoinedBatch(cache, mask, lengths, even=len(set(totals)) == 1)


def _stack(samples: Sequence[Tensor]) -> Tensor:
    """[l x b x k x m x e] of samples of one width; a single one is not copied."""
    return samples[0][:, None] if len(samples) == 1 else torch.stack(list(samples), dim=1)


def _right_align(state: Tensor, rows: Tensor | None, width: int) -> Tensor:
    """[l x k x width x e]: the last ``width`` of state and rows, zeros in front."""
    joined = state if rows is None else torch.cat([state, rows], dim=-2)
    have = joined.shape[-2]
    if have >= width:
        return joined[..., have - width :, :]
    return F.pad(joined, (0, 0, width - have, 0))
