"""The state of an unfinished run as bytes: safetensors, never pickle.

Where the bytes lie, and that they are replaced atomically, is the caller's business.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk.bank_file import read_metadata
from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import ExamplePair, pairs_digest

if TYPE_CHECKING:
    from trainer.config import TrainConfig

_FORMAT = "tokmem-checkpoint/1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run between two steps.

    Attributes:
        identity: hash of procedures, pairs and settings; a checkpoint resumes nothing else.
        tensors: parameters now, the best so far, and Adam's moments, on the CPU.
        numbers: step, running loss and the like. The random state needs no tensor: every batch is a
            function of the seed and the step.
    """

    identity: str
    tensors: dict[str, Tensor]
    numbers: dict[str, float | int | None]

    @staticmethod
    def identify(names: Sequence[str], pairs: Sequence[Sequence[ExamplePair]], config: TrainConfig, prior: str) -> str:
        """SHA-256 over what a run depends on; ``prior`` is the digest of what it started from."""
        parts = [prior, *names, *(pairs_digest(p) for p in pairs), json.dumps(config.as_dict(), sort_keys=True)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        numbers = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in self.numbers.items()}
        metadata = {"format": _FORMAT, "identity": self.identity, "numbers": json.dumps(numbers)}
        return save(self.tensors, metadata)

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """Read a checkpoint back.

        Raises:
            BadInputError: damaged, or something else.
        """
        try:
            metadata = read_metadata(data)
            if metadata.get("format") != _FORMAT:
                raise ValueError("another format")
            numbers = json.loads(metadata["numbers"])
            return cls(
                metadata["identity"],
                load(data),
                numbers,
            )
        except (SafetensorError, ValueError, KeyError) as error:
            raise BadInputError(
                f"The checkpoint of the interrupted training is damaged ({error}).",
                next_step="Start the training anew.",
            ) from error
