"""A message's keys and values as a memory sees them, with the memory's own behind them: what an answer goes on from.

Letters: l layers of a group, k key-value heads, q tokens of the message, m positions of the memory, e head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.backbone.query_state import QueryState
from tokmem_desk.errors import IncompatibleError

if TYPE_CHECKING:
    from tokmem_desk.memory.memory import Memory
    from tokmem_vllm.model_facts import ModelFacts


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model keeps of one message.

    Attributes:
        keys: one [l x k x q x e] per layer group, positions rotated in.
        values: as ``keys``.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        return self.keys[0].shape[-2]

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.keys, *self.values))


@torch.no_grad()
def steered(facts: ModelFacts, reading: Reading, memory: Memory | None) -> Reading:
    """The message under a memory: [l x k x (q + m) x e] per layer group; as it was read where ``memory`` is None.

    Raises:
        IncompatibleError: the memory also carries what vLLM's cache has no place for.
    """
    if memory is None:
        return reading
    backbone = facts.as_backbone()
    state = memory.steering.edit_query(backbone, QueryState(reading.keys, reading.values, reading.length))
    if state.running or state.length != reading.length:
        raise IncompatibleError(
            f"The memory of {memory.name!r} changes more of a message than keys and values.",
            next_step="Answer it with tokmem-desk's own engine.",
        )
    own = memory.steering.keys_values(backbone, reading.length)
    if own is None:
        return Reading(state.keys, state.values)
    return Reading(_behind(state.keys, own.keys), _behind(state.values, own.values))


def _behind(first: Sequence[Tensor], then: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(torch.cat([a, b.to(a.dtype)], dim=-2) for a, b in zip(first, then, strict=True))


def computed_tokens(message_tokens: int, memory: Memory) -> int:
    """Positions in front of the memory's rows: those that vLLM is handed and never computes."""
    return message_tokens + memory.steering.span - memory.steering.rows.shape[0]
