"""What points at the words of a message that a value of an answer is: kept with the form, used in ``generation``.

Plain data: no model, no torch.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Path = tuple[int, ...]
"""Where a part stands in a form: its place among the parts, or place, alternative and place there, and so on."""

MOST_PATHS = 64
"""Parts of one slot; the same value may stand in several alternatives of a form."""

MOST_WEIGHTS = 65_536
"""A pointer has some hundred or thousand weights."""


@dataclass(frozen=True, slots=True)
class SlotPointer:
    """A linear score of stretches of a message; the likeliest one is the value of the parts at ``paths``.

    Attributes:
        paths: the parts that are this slot.
        weights: one signed byte each, times ``scale``; for features of stretches, see ``generation.pointing``.
        space: digest of the token space that the features are of.
    """

    paths: tuple[Path, ...]
    weights: bytes
    scale: float
    space: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "paths": [list(path) for path in self.paths],
            "weights": base64.b64encode(self.weights).decode("ascii"),
            "scale": self.scale,
            "space": self.space,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SlotPointer:
        """Rebuild a pointer from ``as_dict``.

        Raises:
            ValueError, KeyError, TypeError: the value has another shape.
        """
        paths = tuple(tuple(int(step) for step in path) for path in data["paths"])
        try:
            weights = base64.b64decode(data["weights"], validate=True)
        except binascii.Error as error:
            raise ValueError("weights that are no base64") from error
        scale = float(data["scale"])
        if len(paths) > MOST_PATHS or len(weights) > MOST_WEIGHTS or not math.isfinite(scale):
            raise ValueError("a pointer that cannot be")
        return cls(paths, weights, scale, str(data["space"]))
