"""Leave out optimiser steps whose loss or gradient is not finite.

One such step makes Adam's moments, and with them the parameters, no numbers for good. In float16, which cards without
bfloat16 compute in, a single batch may overflow; where several in a row do, all of them will.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.errors import IncompatibleError

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_MOST_IN_A_ROW = 5


class FiniteSteps:
    """Decides for each step of a run whether it may be taken, and counts the steps left out."""

    def __init__(self, backbone: Backbone, planned: int) -> None:
        """Begin a run of so many steps."""
        self._where = f"{str(backbone.dtype).removeprefix('torch.')} on {backbone.torch_device}"
        self._model = backbone.model_id
        # A run of fewer steps must not end with nothing learned.
        self._most = max(1, min(_MOST_IN_A_ROW, planned))
        self._in_a_row = 0
        self.left_out = 0

    def read(self, numbers: Sequence[Tensor]) -> list[float] | None:
        """A step's losses and gradient norms, in one transfer from the device; None when it must be left out.

        Args:
            numbers: [] each, on one device.

        Raises:
            IncompatibleError: too many in a row were not finite.
        """
        found: list[float] = torch.stack([number.detach() for number in numbers]).tolist()
        if all(map(math.isfinite, found)):
            self._in_a_row = 0
            return found
        self._in_a_row += 1
        self.left_out += 1
        if self._in_a_row >= self._most:
            raise IncompatibleError(
                f"{self._model} cannot be trained in {self._where}: its numbers overflow in every step.",
                next_step="Train on another device (--device cpu), or choose another model.",
            )
        return None
