"""A KV adapter: how a memory sees the message, as a low-rank edit of the keys and values kept of it.

The query stands before the memory, so what the backbone keeps of it is the same for every procedure. A KV adapter
changes that on its way to the memory and the response: in every layer

    k' = k + k A_k B_k        v' = v + v A_v B_v

with all heads of a token as one vector, k free of position, A of shape [k·e x r] and B of shape [r x k·e]. The
message is read once, whatever procedure acts on it; the edit is linear in what was kept, takes no position of the
context, and nothing of it reaches another message. It is what a low-rank adapter (LoRA, arXiv 2106.09685) on the key
and value projections would do to the message, without running the message again.

In files and settings it is called ``lens``: a lens on the message. Those strings stay, since people keep the files.

No torch at the head, see ``steering_part``.

Letters: l layers of a group, k key-value heads, e head size, q query tokens, r rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from tokmem_desk.errors import BadInputError
from tokmem_desk.memory.steering_part import InitialTensor, KeyShapes, StoredTensor, TrainedPart, TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.query_state import QueryState
    from tokmem_desk.memory.stored_tensors import StoredTensors

_TOKENS_AT_ONCE = 128
"""Tokens of a long query that are edited together where no gradient is wanted: the edit is made in float32, several
times the size of what it edits."""


@dataclass(frozen=True, slots=True)
class KVAdapter(TrainedPart):
    """Low-rank edits, one tensor of each kind per layer group.

    Attributes:
        keys_in: [l x k·e x r] float32, A_k.
        keys_out: [l x r x k·e] float32, B_k; zero changes nothing.
        values_in: as ``keys_in``, A_v.
        values_out: as ``keys_out``, B_v.
    """

    name = "kv_adapter"
    tensor_names = ("lens",)
    field = "lens"
    needs_layer_groups = True
    memory_version = 2
    bank_version = "2.0.0"

    keys_in: tuple[Tensor, ...]
    keys_out: tuple[Tensor, ...]
    values_in: tuple[Tensor, ...]
    values_out: tuple[Tensor, ...]

    @property
    def rank(self) -> int:
        return self.keys_in[0].shape[-1]

    def tensors(self) -> list[Tensor]:
        """All of them: per layer group ``keys_in``, ``keys_out``, ``values_in``, ``values_out``."""
        groups = zip(self.keys_in, self.keys_out, self.values_in, self.values_out, strict=True)
        return [tensor for group in groups for tensor in group]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Self:
        return cls(tuple(tensors[0::4]), tuple(tensors[1::4]), tuple(tensors[2::4]), tuple(tensors[3::4]))

    def numbers(self) -> Tensor:
        """[w] float32: all tensors in a row, for files."""
        import torch

        return torch.cat([tensor.detach().float().flatten() for tensor in self.tensors()])

    @classmethod
    def rebuild(cls, numbers: Tensor, key_shapes: KeyShapes) -> Self:
        """The KV adapter that ``numbers`` are of.

        Args:
            numbers: [w] float32, see ``numbers()``.

        Raises:
            ValueError: no rank gives that many numbers.
        """
        rank, rest = divmod(numbers.numel(), kv_adapter_size(key_shapes, 1) or numbers.numel() + 1)
        if rest or not rank:
            raise ValueError(f"{numbers.numel()} numbers are no KV adapter for these layers")
        shapes = [shape for group in key_shapes for shape in _shapes(group, rank)]
        parts = numbers.split([math.prod(shape) for shape in shapes])
        return cls.of([part.view(shape).clone() for part, shape in zip(parts, shapes, strict=True)])

    def stored(self) -> dict[str, Tensor]:
        return {"lens": self.numbers()}

    @classmethod
    def read(cls, stored: StoredTensors) -> Self | None:
        raw = stored.raw("lens")
        if raw is None:
            return None
        try:
            return cls.rebuild(stored.checked("lens", raw.numel()), stored.backbone.key_shapes)
        except ValueError as error:
            raise BadInputError(
                f"The KV adapter in {stored.source} is damaged ({error}).", next_step="Train it again."
            ) from error

    @classmethod
    def stored_tensors(cls, hidden_size: int, key_shapes: KeyShapes) -> tuple[StoredTensor, ...]:
        return (StoredTensor("lens"),)

    @classmethod
    def count_fault(cls, count: int, key_shapes: KeyShapes) -> str | None:
        return "does not fit the layer groups" if count % kv_adapter_size(key_shapes, 1) else None

    @classmethod
    def trained_by(cls, settings: TrainSettings) -> bool:
        return settings.form == "layers" and settings.lens_rank > 0

    @classmethod
    def initial(
        cls, backbone: Backbone, settings: TrainSettings, text_ids: Sequence[int], seed: int
    ) -> list[InitialTensor]:
        rank = settings.lens_rank
        tensors = initial_kv_adapter(backbone.key_shapes, rank, seed).tensors()
        # B starts at zero; its scale is that of r numbers that sum to a variance of 1.
        return [
            InitialTensor(tensor, kept=2) if place % 2 == 0 else InitialTensor(tensor, scale=rank**-0.5)
            for place, tensor in enumerate(tensors)
        ]

    def edit_query(self, backbone: Backbone, state: QueryState) -> QueryState:
        return self.apply(backbone, state)

    def apply(self, backbone: Backbone, state: QueryState) -> QueryState:
        """What was kept of a query, as this memory sees it; carries gradient."""
        import torch

        keys, values = [], []
        for g, (k, v) in enumerate(zip(state.keys, state.values, strict=True)):
            # A sliding layer has kept the last tokens only.
            places = torch.arange(state.length - k.shape[-2], state.length, device=k.device)
            if k.shape[-2] <= _TOKENS_AT_ONCE or torch.is_grad_enabled():
                seen_keys, seen_values = self._edited(backbone, g, k, v, places)
            else:
                seen_keys, seen_values = torch.empty_like(k), torch.empty_like(v)
                for start in range(0, k.shape[-2], _TOKENS_AT_ONCE):
                    part = slice(start, start + _TOKENS_AT_ONCE)
                    seen_keys[..., part, :], seen_values[..., part, :] = self._edited(
                        backbone, g, k[..., part, :], v[..., part, :], places[part]
                    )
            keys.append(seen_keys)
            values.append(seen_values)
        return replace(state, keys=tuple(keys), values=tuple(values))

    def _edited(
        self, backbone: Backbone, group: int, keys: Tensor, values: Tensor, places: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The keys and values of some tokens, as this memory sees them.

        Args:
            places: [q] long, positions of the tokens.
        """
        k, v = keys.float(), values.float()
        free = backbone.rotate(k, places, group, back=True)
        edit = backbone.rotate(_edit(free, self.keys_in[group], self.keys_out[group]), places, group)
        edited = v + _edit(v, self.values_in[group], self.values_out[group])
        return (k + edit).to(keys.dtype), edited.to(values.dtype)


def kv_adapter_size(key_shapes: KeyShapes, rank: int) -> int:
    """How many numbers a KV adapter of that rank has."""
    return sum(2 * rank * layers * heads * (size + value_size) for layers, heads, size, value_size in key_shapes)


def initial_kv_adapter(key_shapes: KeyShapes, rank: int, seed: int) -> KVAdapter:
    """A KV adapter that changes nothing yet: A normal with variance 1 / (k·e), B zero, as LoRA starts."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tensors = []
    for group in key_shapes:
        for place, shape in enumerate(_shapes(group, rank)):
            entry = place % 2 == 0
            tensors.append(torch.randn(shape, generator=generator) * shape[1] ** -0.5 if entry else torch.zeros(shape))
    return KVAdapter.of(tensors)


def _shapes(group: tuple[int, int, int, int], rank: int) -> list[tuple[int, int, int]]:
    """Shapes of ``keys_in``, ``keys_out``, ``values_in`` and ``values_out``."""
    layers, heads, size, value_size = group
    k, v = heads * size, heads * value_size
    return [(layers, k, rank), (layers, rank, k), (layers, v, rank), (layers, rank, v)]


def _edit(x: Tensor, entry: Tensor, exit_: Tensor) -> Tensor:
    """[l x k x q x e]: the edit of such keys or values."""
    layers, heads, tokens, size = x.shape
    flat = x.transpose(1, 2).reshape(layers, tokens, heads * size)
    return (flat @ entry @ exit_).view(layers, tokens, heads, size).transpose(1, 2)
