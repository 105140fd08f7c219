"""What tells from a message which value of a closed set is meant: kept with the form, used in ``generation``.

Plain data: no model, no torch.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_VALUES = 64
"""Values of a closed set; real ones have a dozen at most."""

POWER = 2.0
"""How much a score counts beside the model, as a power of its odds. It would be 1 if the model's own probabilities were
as honest as the score's; a memory that has learned its pairs by heart is too sure."""

_MOST_POWER = 16.0
_MOST_WEIGHTS = 262_144
"""A chooser has some thousand weights."""


@dataclass(frozen=True, slots=True)
class SlotChooser:
    """A linear score of each value of a closed set.

    Attributes:
        place: of the part among the form's parts.
        values: the values that were seen there.
        priors: how often each was, as shares of 1.
        weights: one signed byte each, times ``scale``, value after value; for features of messages and a constant
            behind them, see ``generation.choosing``.
        space: digest of the token space that the features are of.
        power: see ``POWER``.
    """

    place: int
    values: tuple[str, ...]
    priors: tuple[float, ...]
    weights: bytes
    scale: float
    space: str
    power: float = POWER

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        # Only where it says something, so that a chooser of an earlier version is written as it was read.
        other = {} if self.power == POWER else {"power": self.power}
        return {
            "place": self.place,
            "values": list(self.values),
            "priors": list(self.priors),
            "weights": base64.b64encode(self.weights).decode("ascii"),
            "scale": self.scale,
            "space": self.space,
            **other,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SlotChooser:
        """Rebuild a chooser from ``as_dict``.

        Raises:
            ValueError, KeyError, TypeError: the value has another shape.
        """
        values = tuple(data["values"])
        priors = tuple(float(share) for share in data["priors"])
        try:
            weights = base64.b64decode(data["weights"], validate=True)
        except binascii.Error as error:
            raise ValueError("weights that are no base64") from error
        scale, place, power = float(data["scale"]), int(data["place"]), float(data.get("power", POWER))
        if not all(isinstance(value, str) for value in values) or len(set(values)) != len(values):
            raise ValueError("values that are no different texts")
        if not 2 <= len(values) <= MOST_VALUES or len(priors) != len(values) or place < 0:
            raise ValueError("a closed set that cannot be")
        if not all(0 < share < 1 for share in priors) or not math.isfinite(scale) or len(weights) > _MOST_WEIGHTS:
            raise ValueError("a chooser that cannot be")
        if not 0 <= power <= _MOST_POWER:
            raise ValueError("a power that cannot be")
        return cls(place, values, priors, weights, scale, str(data["space"]), power)
