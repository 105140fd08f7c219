"""Tensors of a checkpoint that are read one at a time, when the loader takes them, and not kept.

A file that is mapped into memory counts as memory of the process once it has been read, and a loader that reads
ahead holds the whole model at once. These are read with plain reads, in the order in which they are asked for, so that
a conversion holds one of them beside what it has made already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tokmem_desk.models.safetensors_file import TensorEntry, UnreadableError, read_entries

_INDEX = "model.safetensors.index.json"
_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


class LazyTensor:
    """One tensor that is read whenever it is indexed, as transformers' loader does once for each.

    Attributes:
        shape: of the tensor that will be read.
        byte_count: of its numbers in the source, for a progress bar.
    """

    def __init__(self, shape: tuple[int, ...], byte_count: int, read: Callable[[], Tensor]) -> None:
        self.shape = shape
        self.byte_count = byte_count
        self._read = read

    def __getitem__(self, index: Any) -> Tensor:
        return self._read()[index]

    def followed_by(self, action: Callable[[Tensor], Tensor]) -> LazyTensor:
        """The same tensor with something done after each read, which keeps the shape."""
        return LazyTensor(self.shape, self.byte_count, lambda: action(self._read()))


LazyTensors = Mapping[str, LazyTensor]


def folder_tensors(folder: Path) -> dict[str, LazyTensor]:
    """The tensors of a publisher's folder, by name; sharded or not.

    Raises:
        UnreadableError: a file is missing or damaged, or there is none that is called as transformers wants it.
    """
    found: dict[str, LazyTensor] = {}
    for file in _weight_files(folder):
        for entry in read_entries(file):
            found[entry.name] = LazyTensor(entry.shape, entry.end - entry.begin, _reader(file, entry))
    return found


def _weight_files(folder: Path) -> list[Path]:
    """As transformers chooses them: one file, or those that the index names."""
    import json

    whole, index = folder / "model.safetensors", folder / _INDEX
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise UnreadableError(f"there is neither model.safetensors nor {_INDEX} in it")
    try:
        names = sorted({str(name) for name in json.loads(index.read_bytes())["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError(f"{_INDEX} is damaged: {error}") from error
    for name in names:
        if name != Path(name).name:
            raise UnreadableError(f"{_INDEX} names a file outside the folder")
        if not (folder / name).is_file():
            raise UnreadableError(f"{name} is missing")
    return [folder / name for name in names]


def _reader(file: Path, entry: TensorEntry) -> Callable[[], Tensor]:
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None:
        raise UnreadableError(f"{file.name} holds numbers of the kind {entry.dtype}, which cannot be read here")
    if torch.Size(entry.shape).numel() * dtype.itemsize != entry.end - entry.begin:
        raise UnreadableError(f"{file.name} is damaged: {entry.name} has another size than its shape")

    def read() -> Tensor:
        numbers = torch.empty(entry.end - entry.begin, dtype=torch.uint8)
        with file.open("rb", buffering=0) as opened:
            opened.seek(entry.begin)
            _fill(opened, numbers.numpy().data, file)
        return numbers.view(dtype).reshape(entry.shape)

    return read


def _fill(opened: Any, buffer: memoryview, file: Path) -> None:
    """Read until the buffer is full: one call reads two gigabytes at most."""
    done = 0
    while done < len(buffer):
        count = opened.readinto(buffer[done:])
        if not count:
            raise UnreadableError(f"{file.name} ends early")
        done += count
