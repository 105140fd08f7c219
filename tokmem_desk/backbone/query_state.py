"""What is kept of one query, and what a memory puts behind it, as plain tensors.

Apart from ``kv_state``, which cuts caches of the library into these: other engines than ours make them of caches of
their own, with versions of the library that have no such layers.

Letters: q query tokens, m memory positions, l layers of a group, k key-value heads, e head size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from tokmem_desk.backbone.running_state import StateSlot


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
class LayerKeysValues:
    """Keys and values that a memory puts behind a query, per layer group, positions already rotated in.

    ``keys`` and ``values``: one [l x k x m x e] tensor per group, compute dtype; may carry gradient.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        return self.keys[0].shape[-2]
