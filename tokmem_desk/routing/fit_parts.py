"""What a fit has computed of the model so far, on disk, so that one that was killed goes on where it was.

Parts come of texts that ship with the program and of a model, so they say nothing about anybody. One that is damaged,
of another model or of other texts is computed anew; where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk.errors import BadInputError
from tokmem_desk.memory.file import read_metadata


class FitParts:
    """The parts of one fit, by their numbers.

    Args:
        folder: where they lie; None keeps none.
        key: says what they were computed of; parts of another key are none.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder, self._key = folder, hashlib.sha256(key.encode()).hexdigest()

    def of(self, number: int, compute: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
        """The tensors of a part on the CPU: read where they were kept, else computed and kept."""
        if self._folder is None:
            return list(compute())
        file = self._folder / f"{number}.safetensors"
        kept = self._read(file)
        if kept is None:
            kept = list(compute())
            self._write(file, kept)
        return kept

    def drop(self) -> None:
        """Remove what was kept: the fit has come to its end."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, file: Path) -> list[Tensor] | None:
        try:
            data = file.read_bytes()
            metadata = read_metadata(data)
            tensors = load(data)
            found = [tensors[str(place)] for place in range(len(tensors))]
        except (OSError, BadInputError, SafetensorError, ValueError, KeyError, RuntimeError):
            return None
        whole = metadata.get("key") == self._key and metadata.get("sha256") == _digest(found)
        return found if whole else None

    def _write(self, file: Path, tensors: Sequence[Tensor]) -> None:
        named = {str(place): tensor.contiguous() for place, tensor in enumerate(tensors)}
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(save(named, {"key": self._key, "sha256": _digest(tensors)}))
            temporary.replace(file)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _digest(tensors: Sequence[Tensor]) -> str:
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        total.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
