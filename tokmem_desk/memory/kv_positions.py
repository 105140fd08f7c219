"""Positions that exist in every layer's keys and values only, the first ones behind the query.

They are trained directly, as in prefix tuning (Li and Liang, arXiv 2101.00190), but stand behind the query and not in
front of it, so that the query is read once, whatever memory follows.

No torch at the head, see ``steering_part``.

Letters: m positions, l layers of a group, k key-value heads, e head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tokmem_desk.errors import UsageError
from tokmem_desk.memory.steering_part import InitialTensor, KeyShapes, StoredTensor, TrainedPart, TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.query_state import LayerKeysValues
    from tokmem_desk.memory.stored_tensors import StoredTensors


@dataclass(frozen=True, slots=True)
class KVPositions(TrainedPart):
    """Keys and values in every layer.

    Attributes:
        keys: one [l x k x m x e] float32 tensor per layer group, free of position, m >= 1.
        values: as ``keys``.
    """

    name = "layers"
    tensor_names = ("keys", "values")
    field = "positions"
    needs_layer_groups = True
    optional_field = False
    largest_count = 4096

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def tensors(self) -> list[Tensor]:
        return [*self.keys, *self.values]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Self:
        groups = len(tensors) // 2
        return cls(tuple(tensors[:groups]), tuple(tensors[groups:]))

    def stored(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for g, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            found |= {f"keys.{g}": keys, f"values.{g}": values}
        return found

    @classmethod
    def read(cls, stored: StoredTensors) -> Self | None:
        if not stored.has_any("keys."):
            return None
        keys, values = [], []
        span: int | None = None
        for g, (layers, heads, size, value_size) in enumerate(stored.backbone.key_shapes):
            key = stored.checked(f"keys.{g}", layers, heads, span, size)
            span = key.shape[2]
            keys.append(key)
            values.append(stored.checked(f"values.{g}", layers, heads, span, value_size))
        return cls(tuple(keys), tuple(values)) if keys else None

    @classmethod
    def stored_tensors(cls, hidden_size: int, key_shapes: KeyShapes) -> tuple[StoredTensor, ...]:
        found: list[StoredTensor] = []
        for g, (layers, heads, size, value_size) in enumerate(key_shapes):
            found.append(StoredTensor(f"keys.{g}", (layers, heads), (size,)))
            found.append(StoredTensor(f"values.{g}", (layers, heads), (value_size,)))
        return tuple(found)

    @classmethod
    def trained_by(cls, settings: TrainSettings) -> bool:
        return settings.form == "layers"

    @classmethod
    def initial(
        cls, backbone: Backbone, settings: TrainSettings, text_ids: Sequence[int], seed: int
    ) -> list[InitialTensor]:
        start = initial_keys_values(backbone, settings.span - 1, text_ids)
        return [InitialTensor(tensor, kept=2) for tensor in (*start.keys, *start.values)]

    @property
    def span(self) -> int:
        return self.keys[0].shape[-2]

    def keys_values(self, backbone: Backbone, position: int) -> LayerKeysValues:
        """Keys and values as they stand from ``position`` on.

        Keys are kept free of position and rotated to where the query ends, so that the distance
        between query, memory and response is always the trained one.
        """
        import torch

        from tokmem_desk.backbone.query_state import LayerKeysValues

        places = torch.arange(position, position + self.span, device=self.keys[0].device)
        keys = tuple(backbone.rotate(k.float(), places, g).to(backbone.dtype) for g, k in enumerate(self.keys))
        return LayerKeysValues(keys, tuple(v.to(backbone.dtype) for v in self.values))


def initial_keys_values(backbone: Backbone, count: int, text_ids: Sequence[int]) -> LayerKeysValues:
    """Keys and values to start from: those of the last ``count`` tokens of a text, read by the backbone.

    The text is made of demonstrations, so that an untrained memory already looks like the tail of a
    prompt that holds them.

    Returns:
        Float32, free of position.

    Raises:
        UsageError: the backbone's keys cannot be moved, so it cannot have such memories.
    """
    from tokmem_desk.backbone.query_state import LayerKeysValues

    if not backbone.rotates_keys:
        raise UsageError(
            f"Memories with keys and values in every layer do not work on {backbone.model_id}.",
            next_step="Train with the form 'rows'.",
        )
    window = backbone.layout.smallest_window
    # Keys beyond a window have been dropped by then; a text repeated to the needed length has none missing.
    wanted = list(text_ids)
    while len(wanted) < count:
        wanted += list(text_ids)
    if window is not None:
        wanted = wanted[-(window - 1) :]
    free = backbone.free_keys_of(wanted)
    keys = tuple(k[..., -count:, :].contiguous() for k in free.keys)
    values = tuple(v[..., -count:, :].contiguous() for v in free.values)
    return LayerKeysValues(keys, values)
