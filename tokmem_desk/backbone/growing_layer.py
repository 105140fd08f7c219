"""A layer of a cache with room behind its keys and values, so that a decoding step writes one token and copies none.

Letters: b batch, n tokens so far, k key-value heads, e head size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_LEAST_ROOM = 64
"""Tokens that fit behind what is there when room is made; more behind more, so that copying stays rare."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of [b x k x n x e], which stand in front of a larger tensor each.

    What is read as ``keys`` and ``values`` is what a layer that grows by concatenation would hold.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._whole: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Take in new keys and values, [b x k x s x e] each; returns all n so far, [b x k x n x e] each."""
        start = self.keys.shape[2]
        end = start + key_states.shape[2]
        keys, values = self._room(end)
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Go on with the samples of these [b] indices; the room is made anew with the next token."""
        self.keys, self.values = self.keys[indices], self.values[indices]

    def _room(self, length: int) -> tuple[Tensor, Tensor]:
        """Tensors with room for ``length`` tokens that begin with what is held."""
        whole = self._whole
        # Whoever selected, cut or emptied what is held has put other tensors in its place.
        kept = whole is not None and whole[0].data_ptr() == self.keys.data_ptr() and whole[0].shape[2] >= length
        if whole is None or not kept or whole[0].shape[0] != self.keys.shape[0]:
            self._whole = whole = (_with_room(self.keys, length), _with_room(self.values, length))
        return whole


def _with_room(held: Tensor, length: int) -> Tensor:
    b, k, n, e = held.shape
    whole = held.new_empty(b, k, length + max(_LEAST_ROOM, length // 4), e)
    whole[:, :, :n] = held
    return whole


def make_room(cache: DynamicCache) -> None:
    """Let every plain layer of a cache grow without copies; others stay what they are."""
    for index, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.is_initialized:
            cache.layers[index] = GrowingLayer(layer.keys, layer.values)
