"""The states that recurrent layers carry along instead of keys and values: copied behind a query, and put back.

Such a layer (a short convolution, a delta rule, a state space) folds all it has read into one state of fixed size.
The state behind a query is a copy of a few tensors, and what follows runs on from the copy exactly as it would have
run on from the query. Nothing of it can be cut shorter or moved.

The library's cache layers write new states into the old ones' memory, to keep their addresses for recorded graphs. A
backward pass needs what the forward pass saw, and a query's copy must stay as it is, so the layers of this module
replace a state instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.cache_utils import (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
)


@dataclass(frozen=True, slots=True)
class StateSlot:
    """Where a cache keeps one state: a layer, the place among that layer's states, and which of the two sorts."""

    layer: int
    place: int
    sort: Literal["conv", "recurrent"]


class RunningLayer(LinearAttentionLayer):  # type: ignore[misc]
    """A recurrent layer's states, replaced with every update and never written into."""

    def update_conv_state(
        self, conv_states: Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **_: Any
    ) -> Tensor:
        """Take in the inputs of a convolution, as the library does.

        Args:
            conv_states: [b x c x s] inputs of s tokens in c channels.
            state_idx: which of the layer's convolutions.
            conv_kernel_size: tokens that it sees at once; None where that was said before.

        Returns:
            [b x c x n] the inputs behind those that it still sees.
        """
        size = self.conv_kernel_size[state_idx] or conv_kernel_size or conv_states.shape[-1]
        self.conv_kernel_size[state_idx] = size
        if self.has_previous_state[state_idx]:
            conv_states = torch.cat([self.conv_states[state_idx], conv_states], dim=-1)
        elif conv_states.shape[-1] < size:
            conv_states = F.pad(conv_states, (size - conv_states.shape[-1], 0))
        self.conv_states[state_idx] = conv_states[..., -size:]
        self.dtype, self.device = conv_states.dtype, conv_states.device
        self.is_conv_states_initialized[state_idx] = self.has_previous_state[state_idx] = True
        return conv_states

    def update_recurrent_state(self, recurrent_states: Tensor, state_idx: int = 0, **_: Any) -> Tensor:
        """Take the new state [b x …] in the old one's place; returns it."""
        self.recurrent_states[state_idx] = recurrent_states
        self.is_recurrent_states_initialized[state_idx] = True
        return recurrent_states

    def batch_select_indices(self, indices: Tensor) -> None:
        """Go on with the samples of these [b] indices; the library has this for keys and values only."""
        for states in (self.conv_states, self.recurrent_states):
            for place, state in states.items():
                if state is not None:
                    states[place] = state[indices]


class RunningAttentionLayer(RunningLayer, LinearAttentionAndFullAttentionLayer):  # type: ignore[misc]
    """A layer with both a running state and keys and values of all tokens."""

    def batch_select_indices(self, indices: Tensor) -> None:
        """Go on with these samples."""
        RunningLayer.batch_select_indices(self, indices)
        DynamicLayer.batch_select_indices(self, indices)


class RunningWindowLayer(RunningLayer, LinearAttentionAndSlidingWindowAttentionLayer):  # type: ignore[misc]
    """A layer with both a running state and keys and values of the last tokens."""

    def batch_select_indices(self, indices: Tensor) -> None:
        """Go on with these samples."""
        RunningLayer.batch_select_indices(self, indices)
        DynamicSlidingWindowLayer.batch_select_indices(self, indices)


def running_layer(layer: Any) -> Any:
    """A layer of this module in place of an empty one of the library's; None where there is none for its kind."""
    if type(layer) is LinearAttentionLayer:
        return RunningLayer(number_of_states=layer.number_of_states)
    if type(layer) is LinearAttentionAndFullAttentionLayer:
        return RunningAttentionLayer(number_of_states=layer.number_of_states)
    if type(layer) is LinearAttentionAndSlidingWindowAttentionLayer:
        return RunningWindowLayer(layer.sliding_window, number_of_states=layer.number_of_states)
    return None


def read_states(layers: Mapping[int, Any], row: int) -> dict[StateSlot, Tensor]:
    """Copies of one sample's states, [1 x …] each.

    Args:
        layers: the recurrent layers of a cache, by their index.
        row: of the sample in the batch.
    """
    states: dict[StateSlot, Tensor] = {}
    for index, layer in layers.items():
        for place in range(layer.number_of_states):
            if layer.is_conv_states_initialized[place]:
                states[StateSlot(index, place, "conv")] = layer.conv_states[place][row : row + 1].clone()
            if layer.is_recurrent_states_initialized[place]:
                states[StateSlot(index, place, "recurrent")] = layer.recurrent_states[place][row : row + 1].clone()
    return states


def write_states(layers: Mapping[int, Any], samples: Sequence[Mapping[StateSlot, Tensor]]) -> None:
    """Begin a batch with the states of its samples, [1 x …] each.

    Args:
        layers: the recurrent layers of an empty cache, by their index.
        samples: of each sample its states, see ``read_states``; all have the same slots.
    """
    for slot in samples[0]:
        joined = torch.cat([sample[slot] for sample in samples])
        if slot.sort == "conv":
            layers[slot.layer].update_conv_state(joined, state_idx=slot.place)
        else:
            layers[slot.layer].update_recurrent_state(joined, state_idx=slot.place)
            # Some layers have no convolution to say so.
            layers[slot.layer].has_previous_state[slot.place] = True
