"""Memories that a run has trained, kept in a folder: a run that was cut short goes on where it was.

What is kept counts only for the very same training: pairs, settings, seed, where memories start, the backbone, the
machine's kind of numbers, and the source of the program.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tokmem_desk
import trainer
from profiles.files.atomic import write_bytes, write_text
from tokmem_desk.memory.file import memory_from_bytes, memory_to_bytes
from trainer.checkpoint import Checkpoint

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.procedures import Procedure
    from trainer.config import TrainConfig


@dataclass(frozen=True, slots=True)
class KeptMemory:
    """A memory with its router statistics, and what its training took.

    Attributes:
        seconds: wall time of the training.
        steps: optimiser steps.
    """

    memory: Memory
    seconds: float
    steps: int


class KeptMemories:
    """The memories in a folder, which is made when the first is kept."""

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        """Take the folder; nothing is read yet."""
        self._folder, self._backbone = folder, backbone
        self._program = source_digest()

    def get(self, procedure: Procedure, config: TrainConfig, prior: str) -> KeptMemory | None:
        """What was trained so before, or None."""
        path = self._path(procedure, config, prior)
        try:
            notes = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            memory = memory_from_bytes(path.read_bytes(), self._backbone, path.name)
        except FileNotFoundError:
            return None
        return KeptMemory(memory, float(notes["seconds"]), int(notes["steps"]))

    def put(self, procedure: Procedure, config: TrainConfig, prior: str, kept: KeptMemory) -> None:
        """Keep a memory."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(procedure, config, prior)
        write_bytes(path, memory_to_bytes(kept.memory, self._backbone.fingerprint))
        write_text(path.with_suffix(".json"), json.dumps({"seconds": kept.seconds, "steps": kept.steps}) + "\n")

    def _path(self, procedure: Procedure, config: TrainConfig, prior: str) -> Path:
        run = Checkpoint.identify([procedure.name], [procedure.pairs], config, prior)
        numbers = f"{self._backbone.fingerprint.digest} {self._backbone.dtype} {self._backbone.torch_device}"
        key = hashlib.sha256(f"{run} {numbers} {self._program}".encode()).hexdigest()
        return self._folder / f"{procedure.name}-{key[:24]}.safetensors"


def source_digest() -> str:
    """SHA-256 over the modules that train and answer."""
    found = hashlib.sha256()
    for package in (tokmem_desk, trainer):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            found.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return found.hexdigest()
