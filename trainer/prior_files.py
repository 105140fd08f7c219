"""What files of priors are called and where the shipped ones lie; no torch, so that commands can ask."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable

PRIOR_FILE = "prior.safetensors"
"""A prior that was learned on this computer, in its model's folder."""


def shipped_name(model_id: str) -> str:
    """The file name of a shipped prior."""
    return f"prior-{re.sub(r'[^a-z0-9.]+', '-', model_id.lower())}.safetensors"


def shipped_file(model_id: str) -> Traversable:
    """Where the prior that comes with the program for this model lies, or would."""
    return resources.files("tokmem_desk").joinpath("fitted", shipped_name(model_id))
