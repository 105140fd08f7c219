"""The steering of a memory: parts of different kinds, which act together. Here all kinds are listed, and nowhere else.

No torch at the head, see ``steering_part``.

Letters: r rows, m positions with keys and values, l layers of a group, k key-value heads, e head size, d hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tokmem_desk.memory.extractor import Extractor
from tokmem_desk.memory.input_rows import InputRows
from tokmem_desk.memory.kv_adapter import KVAdapter
from tokmem_desk.memory.kv_positions import KVPositions
from tokmem_desk.memory.steering_part import SteeringKind, SteeringPart

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.kv_state import JoinedBatch
    from tokmem_desk.backbone.query_state import LayerKeysValues, QueryState

_Part = TypeVar("_Part", bound=SteeringPart)

KINDS: tuple[type[SteeringPart], ...] = (InputRows, KVPositions, KVAdapter, Extractor)
"""Every kind of steering, in the order of the trainer's parameters and of a bank's tensors: a new one goes last.

The literal ``SteeringKind`` is something else: which of two forms a whole memory has.
"""


def kinds() -> tuple[type[SteeringPart], ...]:
    """Every kind of steering; ask here, since a program may add one of its own to ``KINDS``."""
    return KINDS


class Steering:
    """What makes the backbone act: at most one part of each kind."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Iterable[SteeringPart]) -> None:
        """Put parts together, in any order."""
        given = {type(part): part for part in parts}
        self._parts = tuple(given[kind] for kind in kinds() if kind in given)

    @classmethod
    def of(
        cls,
        rows: Tensor,
        keys: Sequence[Tensor] = (),
        values: Sequence[Tensor] = (),
        kv_adapter: KVAdapter | None = None,
        extractor: Extractor | None = None,
    ) -> Steering:
        """Steering of the kinds that come with the program.

        Args:
            rows: [r x d] float32, see ``InputRows``.
            keys: one [l x k x m x e] float32 per layer group, see ``KVPositions``; empty without.
            values: as ``keys``.
        """
        parts: list[SteeringPart | None] = [InputRows(rows), kv_adapter, extractor]
        if keys:
            parts.append(KVPositions(tuple(keys), tuple(values)))
        return Steering(part for part in parts if part is not None)

    @property
    def parts(self) -> tuple[SteeringPart, ...]:
        """In the order of ``kinds``."""
        return self._parts

    def part(self, kind: type[_Part]) -> _Part | None:
        """The part of that kind, or None."""
        # A kind may be derived from another one: that does not make it a part of that kind.
        return next((part for part in self.parts if isinstance(part, kind) and type(part) is kind), None)

    def with_part(self, part: SteeringPart) -> Steering:
        """The same steering with this part in place of the one of its kind."""
        return Steering([*(one for one in self.parts if type(one) is not type(part)), part])

    # --- the kinds that come with the program ------------------------------------------------------

    @property
    def rows(self) -> Tensor:
        """[r x d] float32: all input embeddings behind the join, in the scale of the embedding matrix."""
        found = [rows for part in self.parts if (rows := part.input_rows()) is not None]
        if len(found) == 1:
            return found[0]
        import torch

        return torch.cat(found)

    @property
    def keys(self) -> tuple[Tensor, ...]:
        """One [l x k x m x e] float32 per layer group, free of position; empty without."""
        part = self.part(KVPositions)
        return () if part is None else part.keys

    @property
    def values(self) -> tuple[Tensor, ...]:
        """One [l x k x m x e] float32 per layer group; empty without."""
        part = self.part(KVPositions)
        return () if part is None else part.values

    @property
    def kv_adapter(self) -> KVAdapter | None:
        """How the memory sees the query; None leaves the query as it is."""
        return self.part(KVAdapter)

    @property
    def extractor(self) -> Extractor | None:
        """Copies the response out of the message where the pairs allow it; the rest does not act then."""
        return self.part(Extractor)

    @property
    def kind(self) -> SteeringKind:
        """``rows`` or ``layers``: what the block is made of; not one of ``KINDS``. Settings call it ``form``."""
        return "layers" if self.keys else "rows"

    # --- all kinds together ------------------------------------------------------------------------

    @property
    def span(self) -> int:
        """Positions the memory takes in the context."""
        return sum(part.span for part in self.parts)

    def parameter_count(self) -> int:
        """Trained numbers."""
        return sum(part.parameter_count() for part in self.parts)

    def edit_query(self, backbone: Backbone, state: QueryState) -> QueryState:
        """What was kept of a query, as this memory sees it; carries gradient."""
        for part in self.parts:
            state = part.edit_query(backbone, state)
        return state

    def keys_values(self, backbone: Backbone, position: int) -> LayerKeysValues | None:
        """Keys and values as they stand from ``position`` on; None when the memory has rows only."""
        found: list[LayerKeysValues] = []
        for part in self.parts:
            rows = part.keys_values(backbone, position)
            if rows is not None:
                found.append(rows)
                position += rows.length
        if len(found) < 2:
            return found[0] if found else None
        import torch

        from tokmem_desk.backbone.query_state import LayerKeysValues

        keys = zip(*(rows.keys for rows in found), strict=True)
        values = zip(*(rows.values for rows in found), strict=True)
        return LayerKeysValues(
            tuple(torch.cat(group, dim=-2) for group in keys), tuple(torch.cat(group, dim=-2) for group in values)
        )

    def detached(self) -> Steering:
        """The same numbers without gradient."""
        return Steering(part.detached() for part in self.parts)

    def to(self, device: torch.device) -> Steering:
        """The same block on another device."""
        return Steering(part.to(device) for part in self.parts)


def join_memories(backbone: Backbone, states: Sequence[QueryState], blocks: Sequence[Steering | None]) -> JoinedBatch:
    """Queries, each as its memory sees it and followed by the memory's keys and values, as one batch.

    The rows are not in it yet: they are the first input. Gradient flows into the blocks and nowhere else.
    """
    pairs = list(zip(states, blocks, strict=True))
    seen = [state if block is None else block.edit_query(backbone, state) for state, block in pairs]
    rows = [None if block is None else block.keys_values(backbone, state.length) for state, block in pairs]
    return backbone.layout.join(seen, rows)
