"""Safetensors as bytes: read a header without touching the numbers, and lay tensors out to be written.

For files that are cut up and put together again (``tokmem_desk.bank``), where numbers only move from one
place to another and no copy in the form of tensors is wanted. No torch. What uses the numbers reads them with the
safetensors library, see ``file``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokmem_desk.system.file_limits import FREE_BYTES, json_cost

ITEM_BYTES = {"F32": 4, "BF16": 2, "I32": 4}
"""The types that memories and banks are made of."""

_LARGEST_HEADER = 4 * 2**20
"""Bytes; the largest of ours have some hundred thousand, nearly all of it the form of a procedure's answers."""
_MOST_SIZES = 8
_LARGEST_SIZE = 2**40


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one tensor stands, counted in bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself.

    Attributes:
        metadata: the strings under ``__metadata__``.
        tensors: by name.
        start: where the numbers begin in the file.
    """

    metadata: dict[str, str]
    tensors: dict[str, Layout]
    start: int

    @property
    def data_bytes(self) -> int:
        """All numbers together."""
        return max((layout.end for layout in self.tensors.values()), default=0)


def header_bytes(beginning: bytes) -> int:
    """How long a file's header is, its length field included.

    Args:
        beginning: at least the first eight bytes.

    Raises:
        ValueError: there is no such header, or it is too long to be one of ours.
    """
    if len(beginning) < 8:
        raise ValueError("it is too short")
    size = int.from_bytes(beginning[:8], "little")
    if not 2 <= size <= _LARGEST_HEADER:
        raise ValueError("it has no header of tensors")
    return 8 + size


def read_header(head: bytes, file_bytes: int) -> Header:
    """Read and check a header.

    Args:
        head: the first bytes of the file, the whole header at least.
        file_bytes: how long the whole file is.

    Raises:
        ValueError: anything is not as the format demands, a gap or an overlap included.
    """
    start = header_bytes(head)
    if start > len(head):
        raise ValueError("it ends inside the header")
    text = head[8:start]
    if json_cost(text) > FREE_BYTES:
        raise ValueError("its header has more in it than any of ours")
    try:
        fields = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ValueError("its header is not JSON") from None
    if not isinstance(fields, dict):
        raise ValueError("its header is not an object")
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are not strings")
    tensors = {name: _layout(name, entry) for name, entry in fields.items()}
    place = 0
    for layout in sorted(tensors.values(), key=lambda one: (one.begin, one.end)):
        if layout.begin != place:
            raise ValueError("its tensors overlap or leave gaps")
        place = layout.end
    if start + place != file_bytes:
        raise ValueError(f"it has {file_bytes:,} bytes, not the {start + place:,} that its header promises")
    return Header({str(key): value for key, value in metadata.items()}, tensors, start)


def _layout(name: str, entry: object) -> Layout:
    dtype, shape, offsets = (
        (entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")) if isinstance(entry, dict) else (None,) * 3
    )
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise ValueError(f"tensor {name!r} has a type other than {', '.join(ITEM_BYTES)}")
    if (
        not isinstance(shape, list)
        or len(shape) > _MOST_SIZES
        or not all(type(size) is int and 0 <= size < _LARGEST_SIZE for size in shape)
    ):
        raise ValueError(f"tensor {name!r} has no shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(place) is int for place in offsets):
        raise ValueError(f"tensor {name!r} has no place")
    begin, end = offsets
    if begin < 0 or end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
        raise ValueError(f"tensor {name!r} has a place that does not fit its shape")
    return Layout(dtype, tuple(shape), begin, end)


def lay_out(tensors: Sequence[tuple[str, str, Sequence[int]]], metadata: Mapping[str, str]) -> bytes:
    """The header of a file whose tensors follow one another in the order given: name, dtype, shape."""
    fields: dict[str, object] = {"__metadata__": dict(metadata)}
    place = 0
    for name, dtype, shape in tensors:
        end = place + math.prod(shape) * ITEM_BYTES[dtype]
        fields[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    # The numbers begin at a multiple of eight, so that they can be used where they are mapped.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
