"""What running queries needs of a model: its layers, its layout of caches, and a few ways to run it.

``Backbone`` is such a model. ``prefill`` and ``recompute``, of which it is made, are written against this protocol and
do not import it.

Letters: b batch, s tokens, n tokens so far, d hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache

from tokmem_desk.backbone.chat_format import ChatFormat
from tokmem_desk.backbone.kv_state import CacheLayout, JoinedBatch


class ForwardModel(Protocol):
    """A model whose queries can be run, kept and extended. The methods are described in ``Backbone``."""

    @property
    def format(self) -> ChatFormat:
        """How messages become token ids."""

    @property
    def layout(self) -> CacheLayout:
        """How its caches are cut into queries and joined into batches."""

    @property
    def layer_count(self) -> int:
        """Layers of the decoder, the embedding not counted."""

    @property
    def steps_with_cache(self) -> bool:
        """Whether one answer can go on, token by token, from the model's own cache."""

    @property
    def active_input(self) -> int:
        """Which version of a layer's states is read, where the model keeps several."""

    @property
    def token_weights(self) -> Tensor | None:
        """[v] float32 weight of each token of the vocabulary in means over a message; None weighs all alike."""

    @property
    def torch_device(self) -> torch.device:
        """Where its numbers are."""

    def embed_ids(self, ids: Tensor) -> Tensor:
        """[... x d] what the model reads for token ids, compute dtype."""

    def extend(self, batch: JoinedBatch, inputs: Tensor, present: Tensor | None = None) -> Tensor:
        """[b x s x d] final hidden states of new inputs behind a batch, which is extended in place."""

    def run_ids(
        self,
        ids: Tensor,
        cache: DynamicCache | None,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        every_layer: bool = False,
        depth: int | None = None,
    ) -> Any:
        """The decoder's output for [b x s] token ids; keys and values are appended to ``cache``."""

    def least_depth(self, layers: Sequence[int]) -> int | None:
        """How many layers have to run for the hidden states of ``layers``; None for all."""

    def run_whole(self, inputs: Tensor, present: Tensor, *, every_layer: bool = False) -> Any:
        """The decoder's output for whole right-padded sequences of [b x s x d] inputs, nothing cached."""

    def run_embeddings(self, inputs: Tensor, present: Tensor) -> Tensor:
        """[b x s x d] final hidden states of whole right-padded sequences."""

    def run_with_cache(self, inputs: Tensor, cache: DynamicCache, start: int) -> Tensor:
        """[1 x s x d] final hidden states of one sequence from position ``start`` on, behind what the cache holds."""
