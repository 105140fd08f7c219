"""The header of a safetensors file: which tensors it holds, how they are stored and where.

Reads headers and small descriptions; loads no torch. Numbers of tensors are read by ``checkpoint``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tokmem_desk.system.file_checks import FileState

_LARGEST_HEADER = 100 * 2**20
_LARGEST_BLOB = 2**16


class UnreadableError(Exception):
    """A file is missing or damaged; says which and how."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor in a file.

    Attributes:
        dtype: as the format names it, such as ``BF16``.
        begin, end: bytes from the beginning of the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_entries(file: Path) -> list[TensorEntry]:
    """The tensors of a file, in the order of its header.

    Raises:
        UnreadableError: the file cannot be read, or its header does not fit it.
    """
    try:
        size = FileState.of(file).size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise ValueError("its header does not fit the file")
            header = json.loads(opened.read(length))
        start, end, found = 8 + length, 0, []
        for name, about in header.items():
            if name == "__metadata__":
                continue
            first, last = (int(place) for place in about["data_offsets"])
            if not 0 <= first <= last:
                raise ValueError(f"{name} has no place in it")
            end = max(end, last)
            shape = tuple(int(number) for number in about["shape"])
            found.append(TensorEntry(str(name), str(about["dtype"]), shape, start + first, start + last))
        if start + end != size:
            raise ValueError(f"it has {size:,} bytes, its header says {start + end:,}")
    except OSError as error:
        raise UnreadableError(f"{file.name} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise UnreadableError(f"{file.name} is damaged: {error}") from error
    return found


def read_blob(file: Path, entry: TensorEntry) -> bytes:
    """The bytes of a small description; empty where it is larger than one.

    Raises:
        UnreadableError: the file cannot be read.
    """
    if entry.end - entry.begin > _LARGEST_BLOB:
        return b""
    try:
        with file.open("rb") as opened:
            opened.seek(entry.begin)
            return opened.read(entry.end - entry.begin)
    except OSError as error:
        raise UnreadableError(f"{file.name} cannot be read: {error.strerror or error}") from error
