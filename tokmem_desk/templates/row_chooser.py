"""What tells which of the lines that a message offers an answer has: kept with the form, used in ``generation``.

Plain data: no model, no torch.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokmem_desk.templates.slot_pointer import MOST_WEIGHTS


@dataclass(frozen=True, slots=True)
class RowChooser:
    """A linear score of each line that a message offers: the log odds that an answer has it.

    Attributes:
        place: of the part with the rule among the form's parts.
        weights: one signed byte each, times ``scale``; for features of the line's values, see
            ``generation.listing``.
        doubt: lines of a smaller probability are left out, those above 1 less it are certain; 0 to 0.5.
        space: digest of the token space that the features are of.
    """

    place: int
    weights: bytes
    scale: float
    doubt: float
    space: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "place": self.place,
            "weights": base64.b64encode(self.weights).decode("ascii"),
            "scale": self.scale,
            "doubt": self.doubt,
            "space": self.space,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RowChooser:
        """Rebuild a chooser from ``as_dict``.

        Raises:
            ValueError, KeyError, TypeError: the value has another shape.
        """
        try:
            weights = base64.b64decode(data["weights"], validate=True)
        except binascii.Error as error:
            raise ValueError("weights that are no base64") from error
        place, scale, doubt = int(data["place"]), float(data["scale"]), float(data["doubt"])
        if place < 0 or len(weights) > MOST_WEIGHTS or not math.isfinite(scale) or not 0 < doubt < 0.5:
            raise ValueError("a chooser of lines that cannot be")
        return cls(place, weights, scale, doubt, str(data["space"]))
