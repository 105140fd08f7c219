"""What a memory needs to know of the model that vLLM runs, read from the folder that ``plain_model`` wrote.

It stands in for a ``Backbone`` where memories are read and act: identity, sizes, and how keys turn. The model itself
is vLLM's.

Letters: l layers of a group, k key-value heads, e head size, m positions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from tokmem_desk.backbone.fingerprint import Fingerprint
from tokmem_desk.backbone.rotation import RotaryCall, Rotation, RotationKind
from tokmem_desk.errors import BadInputError, IncompatibleError

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

FACTS, ANGLES = "tokmem.json", "tokmem.angles"
"""The tables do not end in .safetensors, since vLLM takes all such files for weights."""
FACTS_VERSION = 1
_KEPT_IN_ROTATION = ("part", "pairing", "table", "backwards")


@dataclass(frozen=True, slots=True)
class _Table(RotaryCall):
    """Angles that were written down.

    Attributes:
        cos, sin: [positions x columns] float32.
    """

    cos: Tensor | None = None
    sin: Tensor | None = None

    def angles(self, decoder: nn.Module, positions: Tensor) -> tuple[Tensor, Tensor]:
        assert self.cos is not None
        assert self.sin is not None
        return self.cos[positions], self.sin[positions]


@dataclass(frozen=True, slots=True)
class FactsGroup:
    """Layers whose keys have one shape and turn alike.

    Attributes:
        layers: their numbers.
        shape: how many layers, key-value heads, key size and value size.
    """

    layers: tuple[int, ...]
    shape: tuple[int, int, int, int]
    rotation: Rotation


class ModelFacts:
    """A model as memories see it; what of ``Backbone`` reading and applying them asks for.

    Args:
        described: as ``plain_model.facts_of`` gives it.
        angles: the tables of it.
        dtype: of keys and values in vLLM's cache.

    Raises:
        BadInputError: it is something else.
    """

    def __init__(
        self, described: Mapping[str, Any], angles: Mapping[str, Tensor], dtype: torch.dtype = torch.float32
    ) -> None:
        self.dtype = dtype
        self.torch_device = torch.device("cpu")
        try:
            known = {field.name for field in fields(Fingerprint)}
            self.fingerprint = Fingerprint(**{k: v for k, v in described["fingerprint"].items() if k in known})
            self.model_id = self.fingerprint.model_id
            self.hidden_size = int(described["hidden_size"])
            self.embedding_scale = float(described["embedding_scale"])
            self.longest_row = float(described["longest_row"])
            self.groups = tuple(
                FactsGroup(
                    tuple(int(layer) for layer in group["layers"]),
                    cast("tuple[int, int, int, int]", tuple(int(size) for size in group["shape"])),
                    self._rotation(group["rotation"], angles[f"cos.{number}"], angles[f"sin.{number}"]),
                )
                for number, group in enumerate(described["groups"])
            )
            if not self.groups or any(len(group.layers) != group.shape[0] for group in self.groups):
                raise ValueError("its layer groups are not whole")
        except (KeyError, TypeError, ValueError) as error:
            raise BadInputError(
                f"What stands beside the model about memories is damaged ({error!r}).",
                next_step="Write the folder again: python -m tokmem_vllm.plain_model MODEL_FOLDER FOLDER",
            ) from error

    @staticmethod
    def _rotation(described: Mapping[str, Any], cos: Tensor, sin: Tensor) -> Rotation:
        kind = RotationKind(0, **{name: described[name] for name in _KEPT_IN_ROTATION})
        return Rotation(nn.Module(), _Table("table", cos=cos, sin=sin), kind)

    @classmethod
    def read(cls, folder: Path, dtype: torch.dtype = torch.float32) -> ModelFacts:
        """Of a folder that ``plain_model`` wrote.

        Raises:
            BadInputError: it is no such folder, or damaged.
            IncompatibleError: a newer version wrote it.
        """
        try:
            described = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            angles = load((folder / ANGLES).read_bytes())
        except (OSError, ValueError, SafetensorError, RecursionError) as error:
            raise BadInputError(
                f"Nothing in {folder.name!r} says how memories act on this model ({type(error).__name__}).",
                next_step="Serve a folder made by: python -m tokmem_vllm.plain_model MODEL_FOLDER FOLDER",
            ) from error
        if not isinstance(described, dict) or described.get("version") != FACTS_VERSION:
            raise IncompatibleError(
                f"The folder {folder.name!r} was written by another version of tokmem-desk.",
                next_step="Write it again: python -m tokmem_vllm.plain_model MODEL_FOLDER FOLDER",
            )
        return cls(described, angles, dtype)

    @cached_property
    def key_shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """As ``Backbone.key_shapes``."""
        return tuple(group.shape for group in self.groups)

    def rotate(self, keys: Tensor, positions: Tensor, group: int, *, back: bool = False) -> Tensor:
        """As ``Backbone.rotate``.

        Args:
            keys: [l x k x m x e] float32.
            positions: [m] long.
        """
        of = self.groups[group]
        return of.rotation.turn(keys, positions, of.layers, back=back)

    def as_backbone(self) -> Backbone:
        """The same for code that names the whole class; it finds here what it asks for, and nothing else."""
        return cast("Backbone", self)

    def layer_numbers(self) -> Sequence[int]:
        """Of all layers with keys and values, group by group."""
        return [layer for group in self.groups for layer in group.layers]
