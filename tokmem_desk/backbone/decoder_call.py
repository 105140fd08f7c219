"""Calling a model's decoder, whatever its arguments are called.

Families name the cache differently, some take no positions, and some have embeddings of each token in every layer
beside those that the first layer reads. What a decoder takes is read off its signature.

Letters: b batch, s tokens, n tokens so far, d hidden size, l layers, p size of a layer's own embeddings.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

_CACHES = ("cache", "past_key_values", "cache_params")
"""What the argument has been called; ``cache`` in the library's newest versions."""


def decoder_of(model: Any) -> Any:
    """The part of a causal language model that gives final hidden states: neither the head, nor what holds it.

    Args:
        model: a loaded transformers model, or one that wraps such a model beside other parts.

    Raises:
        LookupError: there is no such part.
    """
    head = model.get_output_embeddings()
    named = model.get_decoder()
    # The library looks by name, and some families give those names to other parts.
    for part in (named, getattr(named, "model", None), getattr(model, "model", None), model.base_model):
        if not isinstance(part, nn.Module) or any(module is head for module in part.modules()):
            continue
        if "inputs_embeds" in inspect.signature(part.forward).parameters:
            return part
    raise LookupError("no part of it gives hidden states of input embeddings")


@contextmanager
def _so_deep(config: Any, depth: int | None) -> Iterator[None]:
    """Let a configuration say for a while that there are fewer layers."""
    whole = config.num_hidden_layers
    if depth is None or depth >= whole:
        yield
        return
    config.num_hidden_layers = depth
    try:
        yield
    finally:
        config.num_hidden_layers = whole


class DecoderCall:
    """One decoder's forward pass.

    Attributes:
        takes_cache: whether it has an argument for a cache at all.
        own_embeddings: p · l, numbers per token that layers read beside the first layer's input (Gemma 3n, Gemma 4
            E2B and E4B); 0 in other families. They stand behind the input embeddings in one vector.
    """

    def __init__(self, decoder: Any, input_size: int) -> None:
        self._decoder = decoder
        self._input_size = input_size
        parameters = inspect.signature(decoder.forward).parameters
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        named = next((name for name in _CACHES if name in parameters), None)
        self._cache = named or ("past_key_values" if open_ended else None)
        self.takes_cache = self._cache is not None
        self._takes_positions = "position_ids" in parameters or (open_ended and named is None)
        size = getattr(decoder, "hidden_size_per_layer_input", 0) or 0
        self._layers = int(decoder.config.num_hidden_layers) if size else 0
        self.own_embeddings = int(size) * self._layers

    def run(
        self,
        decoder: Any,
        *,
        ids: Tensor | None = None,
        inputs: Tensor | None = None,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: DynamicCache | None = None,
        every_layer: bool = False,
        depth: int | None = None,
    ) -> Any:
        """The decoder's output.

        Args:
            decoder: the same decoder, ready to run.
            ids: [b x s] token ids; or else
            inputs: [b x s x d + p · l] input embeddings.
            mask: [b x n + s] long, 0 where there is nothing to see; all is seen when None.
            positions: [b x s]; counted from the cache's end when None.
            cache: filled in place; None keeps nothing.
            every_layer: keep the hidden states of all layers.
            depth: run so many layers and no more, where the decoder goes by its configuration; what comes behind the
                last one is then no final state. All run when None.
        """
        options: dict[str, Any] = {"attention_mask": mask, "use_cache": cache is not None}
        if ids is not None:
            options["input_ids"] = ids
        elif inputs is not None:
            options["inputs_embeds"] = inputs[..., : self._input_size] if self.own_embeddings else inputs
            if self.own_embeddings:
                options["per_layer_inputs"] = inputs[..., self._input_size :].unflatten(-1, (self._layers, -1))
        if self._takes_positions and positions is not None:
            options["position_ids"] = positions
        if self._cache is not None and cache is not None:
            options[self._cache] = cache
        if every_layer:
            options["output_hidden_states"] = True
        with _so_deep(decoder.config, depth):
            return decoder(**options)

    def embed(self, first: Tensor, ids: Tensor) -> Tensor:
        """[… x d + p · l] input embeddings with those of the layers behind them.

        Args:
            first: [… x d] what the first layer reads.
            ids: […] the tokens, or what stands for them.
        """
        if not self.own_embeddings:
            return first
        flat = ids.reshape(1, -1)
        takes = inspect.signature(self._decoder.get_per_layer_inputs).parameters
        arguments = [flat] if len(takes) == 1 else [flat, None]
        own: Tensor = self._decoder.get_per_layer_inputs(*arguments)
        return torch.cat([first, own.reshape(*ids.shape, -1).to(first.dtype)], dim=-1)
