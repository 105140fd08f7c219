"""The state of an unfinished run as bytes: safetensors, never pickle.

Where the bytes lie, and that they are replaced atomically, is the caller's business.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk.errors import BadInputError
from tokmem_desk.memory.file import read_metadata
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
        held_out: digests of the inputs that were set aside to measure the result; empty where none were, or where the
            checkpoint is older than this.
        names: of the procedures when the run began, on which the order of its batches depends; empty in older ones.
    """

    identity: str
    tensors: dict[str, Tensor]
    numbers: dict[str, float | int | None]
    held_out: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @staticmethod
    def identify(keys: Sequence[str], pairs: Sequence[Sequence[ExamplePair]], config: TrainConfig, prior: str) -> str:
        """SHA-256 over what a run depends on.

        Args:
            keys: what the procedures are known by.
            pairs: of each procedure.
            prior: digest of what the run started from.
        """
        parts = [prior, *keys, *(pairs_digest(p) for p in pairs), json.dumps(config.as_dict(), sort_keys=True)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def to_bytes(self) -> bytes:
        numbers = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in self.numbers.items()}
        metadata = {"format": _FORMAT, "identity": self.identity, "numbers": json.dumps(numbers)}
        metadata |= {"held_out": json.dumps(self.held_out), "names": json.dumps(self.names)}
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
                *(tuple(map(str, json.loads(metadata.get(key, "[]")))) for key in ("held_out", "names")),
            )
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise BadInputError(
                f"The checkpoint of the interrupted training is damaged ({error}).",
                next_step="Start the training anew.",
            ) from error


def optimised_state(parameters: Sequence[Tensor], optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Parameters as they are, and what their optimiser knows of them, as tensors of a checkpoint.

    Returns:
        Copies on the CPU: ``now.I`` is parameter I, ``adam.I.KEY`` an entry of its state in the optimiser.
    """
    tensors: dict[str, Tensor] = {}
    for i, parameter in enumerate(parameters):
        tensors[f"now.{i}"] = parameter
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"adam.{i}.{key}"] = value
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def put_back(tensors: Mapping[str, Tensor], parameters: Sequence[Tensor], optimiser: torch.optim.Optimizer) -> None:
    """The opposite of ``optimised_state``: fills parameters of the same shapes in place, and their optimiser's state.

    Raises:
        KeyError: there are more parameters than the checkpoint has.
    """
    for i, parameter in enumerate(parameters):
        parameter.copy_(tensors[f"now.{i}"])
        prefix = f"adam.{i}."
        state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        if state:
            # Adam keeps its count of steps on the CPU.
            optimiser.state[parameter] = {
                k: v.cpu() if k == "step" else v.to(parameter.device) for k, v in state.items()
            }
