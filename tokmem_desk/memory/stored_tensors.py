"""The tensors of one memory file while kinds of steering read theirs: each is checked before it is believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tokmem_desk.errors import BadInputError

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_LARGEST_SPAN = 4096


class StoredTensors:
    """What a memory file holds.

    Attributes:
        settings: how the memory was trained; plain JSON values, unchecked.
        backbone: that the memory shall fit.
        source: what to call the file in an error.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], backbone: Backbone, source: str
    ) -> None:
        self._tensors = tensors
        self.settings = settings
        self.backbone = backbone
        self.source = source

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def has_any(self, prefix: str) -> bool:
        """Whether there is a tensor whose name begins so."""
        return any(name.startswith(prefix) for name in self._tensors)

    def raw(self, name: str) -> Tensor | None:
        """A tensor as it is, unchecked; None where there is none."""
        return self._tensors.get(name)

    def checked(self, name: str, *shape: int | None) -> Tensor:
        """A tensor in float32, whose shape, dtype and finiteness have been checked.

        Args:
            shape: None for any size.

        Raises:
            BadInputError: it is missing, or not as it has to be.
        """
        tensor = self._tensors.get(name)
        wanted = " x ".join("any" if size is None else str(size) for size in shape)
        if tensor is None:
            raise BadInputError(f"{self.source} has no tensor {name!r}.", next_step="Train the procedure again.")
        fits = tensor.dim() == len(shape) and all(
            size is None or size == have for size, have in zip(shape, tensor.shape, strict=True)
        )
        if not fits or max(tensor.shape, default=0) == 0 or (None in shape and max(tensor.shape) > _LARGEST_SPAN * 64):
            raise BadInputError(
                f"Tensor {name!r} in {self.source} has shape {list(tensor.shape)}, not [{wanted}].",
                next_step="Train the procedure again.",
            )
        if tensor.dtype not in (torch.float32, torch.bfloat16):
            raise BadInputError(
                f"Tensor {name!r} in {self.source} has dtype {tensor.dtype}, not float32 or bfloat16.",
                next_step="Train the procedure again.",
            )
        if not bool(torch.isfinite(tensor).all()):
            raise BadInputError(
                f"Tensor {name!r} in {self.source} holds values that are not finite.",
                next_step="Train the procedure again.",
            )
        return tensor.float()
