"""Memories of which only the router's numbers are in this process; the steering is read when it first acts.

So the memory that a profile takes here, and the time to switch to it, do not grow with the size of its steering.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from profiles.store.router_rows import RouterRow
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.steering import Steering

if TYPE_CHECKING:
    from profiles.store.memories import MemoryRecord
    from tokmem_desk.memory.steering_part import SteeringPart

KEPT = 64
"""How many steering blocks of one profile stay in memory; those used last."""


class LazySteering(Steering):
    """Steering that comes from its file when one of its parts is asked for."""

    __slots__ = ("_read",)

    def __init__(self, read: Callable[[], Steering]) -> None:
        """Nothing is read yet.

        Args:
            read: gives the steering; may raise TokmemError where the file is damaged.
        """
        self._read = read

    @property
    def parts(self) -> tuple[SteeringPart, ...]:
        return self._read().parts


class SteeringCache:
    """Reads the steering of one profile's memories and keeps the blocks that were used last."""

    def __init__(self, load: Callable[[str, str], Memory]) -> None:
        """Nothing is read yet.

        Args:
            load: reads and checks one memory; the first argument is its file's name, the second what to call it in
                an error.
        """
        self.load = load
        self._kept: OrderedDict[str, Steering] = OrderedDict()

    def lazy(self, record: MemoryRecord) -> LazySteering:
        """The steering of a memory, not read yet."""
        return LazySteering(lambda: self._read(record.file, record.procedure))

    def keep(self, file: str, steering: Steering) -> None:
        """Keep a block that was read for another reason; the one used longest ago may have to go."""
        self._kept[file] = steering
        self._kept.move_to_end(file)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _read(self, file: str, name: str) -> Steering:
        if file not in self._kept:
            self.keep(file, self.load(file, name).steering)
        self._kept.move_to_end(file)
        return self._kept[file]


@dataclass(frozen=True, slots=True)
class FileState:
    """Size in bytes and time of the last write in nanoseconds: equal as long as a file is the one that was read."""

    size: int
    written: int

    @classmethod
    def of(cls, file: Path) -> FileState | None:
        """None for a file that is not there."""
        try:
            state = file.stat()
        except OSError:
            return None
        return cls(state.st_size, state.st_mtime_ns)


def row_of(memory_id: str, memory: Memory, state: FileState) -> RouterRow:
    """What the database keeps of a memory for the router, so that its file need not be read; it has statistics."""
    statistics = memory.statistics
    assert statistics is not None
    return RouterRow(
        memory_id,
        statistics.digest,
        state.size,
        state.written,
        int(memory.tied),
        statistics.count,
        statistics.scatter,
        _bytes(statistics.mean),
        _bytes(statistics.low_rank_scatter),
        _bytes(memory.address),
    )


def memory_of(row: RouterRow, record: MemoryRecord, steering: Steering, device: torch.device) -> Memory:
    """The inverse of ``row_of``.

    Args:
        steering: of the memory; it may be read later.
    """
    mean = _numbers(row.mean)
    statistics = RouterStatistics(mean, row.inputs, _numbers(row.sketch).view(-1, len(mean)), row.scatter, row.digest)
    return Memory(
        record.procedure, steering, _numbers(row.address).to(device), bool(row.tied), statistics, record.settings
    )


def _bytes(tensor: Tensor) -> bytes:
    """Float32 numbers in C order, in the byte order of this computer."""
    return tensor.detach().cpu().float().contiguous().numpy().tobytes()


def _numbers(data: bytes) -> Tensor:
    """[n] float32: the inverse of ``_bytes``."""
    return torch.frombuffer(bytearray(data), dtype=torch.float32)
