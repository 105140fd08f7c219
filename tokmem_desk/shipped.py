"""Files that were made for one model and come with the program: what they are called and where they lie; no torch."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Literal

Kind = Literal["prior", "adapter"]
"""Where memories start (``trainer.prior``); the adapted backbone's layers (``tokmem_desk.adapter``)."""


def shipped_name(kind: Kind, model_id: str) -> str:
    """The name of a shipped file."""
    return f"{kind}-{re.sub(r'[^a-z0-9.]+', '-', model_id.lower())}.safetensors"


def shipped_file(kind: Kind, model_id: str) -> Traversable:
    """Where the file that comes with the program for this model lies, or would."""
    return resources.files("tokmem_desk").joinpath("fitted", shipped_name(kind, model_id))
