"""A memory file taken apart and put together as bytes, without torch: what banks are made from and turned into.

``file`` describes the format and reads it for use; here numbers only change their place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tokmem_desk.errors import BadInputError
from tokmem_desk.memory.safetensors_header import Header, lay_out, read_header
from tokmem_desk.memory.steering import kinds

FORMAT = "tokmem-memory"
VERSION = 2
"""The lowest version that is written; it has KV adapters. A kind of steering that came later raises it in the files
that have it, by its ``memory_version``: see ``version_of``."""
NEXT_STEP = "Train the procedure again."
CONTENT = "content.sha256"
"""Key in the metadata: digest of all the rest, so that a flipped bit is seen; files of earlier versions have none."""


@dataclass(frozen=True, slots=True)
class Block:
    """One tensor: type, shape and its bytes in C order, little endian."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class MemoryParts:
    """A memory file in parts; see ``file`` for the tensors' names and shapes."""

    name: str
    tied: bool
    settings: dict[str, Any]
    fingerprint: dict[str, Any]
    digest: str
    blocks: dict[str, Block]


def newest_version() -> int:
    """The newest version that can be read."""
    return max([VERSION, *(kind.memory_version for kind in kinds())])


def version_of(tensors: Iterable[str]) -> int:
    """The version of a file with these tensors: the lowest that has all its kinds of steering.

    So a program that does not know a kind can read every file without it, and refuses those with it.
    """
    names = list(tensors)
    return max([VERSION, *(kind.memory_version for kind in kinds() if any(map(kind.holds, names)))])


def content_digest(metadata: Mapping[str, str], blocks: Mapping[str, Block]) -> str:
    """SHA-256 over what a memory file says, in whatever order it says it."""
    found = hashlib.sha256()
    said = sorted((key, value) for key, value in metadata.items() if key != CONTENT)
    found.update(json.dumps(said).encode())
    for name, block in sorted(blocks.items()):
        found.update(json.dumps([name, block.dtype, list(block.shape), len(block.data)]).encode())
        found.update(block.data)
    return found.hexdigest()


def with_digest(data: bytes) -> tuple[str, str]:
    """What a memory file says its content's digest is (empty where it says none), and what it is.

    Raises:
        ValueError: not such a file.
    """
    header = read_header(data, len(data))
    return header.metadata.get(CONTENT, ""), content_digest(header.metadata, _blocks(data, header))


def _blocks(data: bytes, header: Header) -> dict[str, Block]:
    view = memoryview(data)
    return {
        name: Block(at.dtype, at.shape, view[header.start + at.begin : header.start + at.end])
        for name, at in header.tensors.items()
    }


def take_apart(data: bytes, source: str) -> MemoryParts:
    """Split a memory file; its blocks are views of ``data``.

    Args:
        source: what to call the file in an error.

    Raises:
        BadInputError: not such a file, or damaged.
    """
    try:
        header = read_header(data, len(data))
        metadata = header.metadata
        known = [str(number) for number in range(1, newest_version() + 1)]
        if metadata.get("format") != FORMAT or metadata["version"] not in known:
            raise ValueError("another format")
        settings, fingerprint = json.loads(metadata["settings"]), json.loads(metadata["fingerprint"])
        if not isinstance(settings, dict) or not isinstance(fingerprint, dict):
            raise ValueError("no description")
    except (ValueError, KeyError, RecursionError) as error:
        raise BadInputError(
            f"{source} is not a memory file, or it is damaged ({error}).", next_step=NEXT_STEP
        ) from error
    blocks = _blocks(data, header)
    said = metadata.get(CONTENT)
    if said is not None and said != content_digest(metadata, blocks):
        raise BadInputError(f"{source} is damaged: it is not what was written.", next_step=NEXT_STEP)
    return MemoryParts(
        metadata.get("name", ""), metadata.get("tied") == "true", settings, fingerprint,
        metadata.get("router.digest", ""), blocks,
    )  # fmt: skip


def put_together(parts: MemoryParts) -> bytes:
    """The file whose parts these are."""
    metadata: dict[str, str] = {
        "format": FORMAT,
        "version": str(version_of(parts.blocks)),
        "name": parts.name,
        "tied": "true" if parts.tied else "false",
        "settings": json.dumps(parts.settings),
        "fingerprint": json.dumps(parts.fingerprint),
    }
    if parts.digest:
        metadata["router.digest"] = parts.digest
    metadata[CONTENT] = content_digest(metadata, parts.blocks)
    # The library's own order: wide types first, then by name.
    blocks = sorted(parts.blocks.items(), key=lambda item: (_ORDER.index(item[1].dtype), item[0]))
    header = lay_out([(name, block.dtype, block.shape) for name, block in blocks], metadata)
    return b"".join([header, *(block.data for _, block in blocks)])


_ORDER = ("F32", "I32", "BF16")
