"""What this computer has, and whether a model fits into it: figures first, a word second.

Looks at the system only; loads no torch, so that a screen can show it at once. Which device the model will really
run on is decided later, by ``device``.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tokmem_desk.models.catalogue import CATALOGUE, DEFAULT_ID, GIB, MIB, CatalogueEntry
from tokmem_desk.models.speed_fit import UNPACKED_LIMIT_BYTES, unpacked_limit
from tokmem_desk.system.device import cpu_lacks_bfloat16

Verdict = Literal["fits", "tight", "too big"]

COMFORTABLE = 0.8
"""Share of the free memory up to which a model fits without a second thought."""

LIMIT = 0.9
"""Share of all memory that a model may take once other programs are closed."""

BYTES_PER_PARAMETER = 0.6
"""Of a converted model: 4-bit weights with their scales, embeddings in 16 bit."""

WORKING_BYTES = 1000 * MIB
"""Libraries, caches and gradients beside the weights: what training the default model takes (benchmarks/speed)."""

MANY_CORES = 8
"""Processor cores from which on half a billion parameters still answer quickly without a graphics card."""

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True)
class Machine:
    """One computer at one moment. Sizes in bytes; no graphics card is an empty name and zeros."""

    cores: int
    processor: str
    memory_bytes: int
    free_bytes: int
    gpu: str = ""
    gpu_memory_bytes: int = 0
    gpu_free_bytes: int = 0
    lacks_bfloat16: bool = False
    """Whether the processor has no instructions for it, so that models compute in 32 bit there."""

    def without_gpu(self) -> Machine:
        """The same machine when the graphics card is not used."""
        return replace(self, gpu="", gpu_memory_bytes=0, gpu_free_bytes=0)


@dataclass(frozen=True, slots=True)
class Fit:
    """The sum behind a verdict, in bytes.

    Attributes:
        weights: of the model, converted.
        working: what chat and training take beside them.
        free: memory that nobody uses.
        freed: what unloading the present model would add.
        total: all memory there is.
        place: ``memory``, or ``graphics memory``.
    """

    weights: int
    working: int
    free: int
    freed: int
    total: int
    place: str

    @property
    def need(self) -> int:
        """What the model takes in all."""
        return self.weights + self.working

    @property
    def verdict(self) -> Verdict:
        """One word, for lists; ``words`` says what it means."""
        if self.need <= COMFORTABLE * (self.free + self.freed):
            return "fits"
        return "tight" if self.need <= LIMIT * self.total else "too big"

    @property
    def words(self) -> str:
        """What the verdict means here."""
        if self.verdict == "fits":
            return f"It fits into the {self.place} that is free."
        if self.verdict == "tight":
            return "It should run once other programs are closed; slow if the system starts to swap."
        return f"It needs more {self.place} than this computer can give."


def look_at_machine() -> Machine:
    """Look now; takes some milliseconds, and up to a few seconds where a graphics driver sleeps."""
    import psutil

    memory = psutil.virtual_memory()
    limit = _container_limit(memory.total)
    gpu, gpu_total, gpu_free = _graphics_card()
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        processor=_processor(),
        memory_bytes=limit,
        free_bytes=min(memory.available, limit),
        gpu=gpu,
        gpu_memory_bytes=gpu_total,
        gpu_free_bytes=gpu_free,
        lacks_bfloat16=cpu_lacks_bfloat16(),
    )


def fit(machine: Machine, *, need: int, weights: int, freed: int = 0) -> Fit:
    """Whether a model fits.

    Args:
        machine: without a card when the model will not run on it.
        need: bytes that chat and training take in all.
        weights: bytes of the converted weights, part of ``need``.
        freed: bytes that unloading another model gives back.
    """
    on_card = bool(machine.gpu)
    return Fit(
        weights=min(weights, need),
        working=max(0, need - weights),
        free=machine.gpu_free_bytes if on_card else machine.free_bytes,
        freed=freed,
        total=machine.gpu_memory_bytes if on_card else machine.memory_bytes,
        place="graphics memory" if on_card else "memory",
    )


def needed_bytes(
    entry: CatalogueEntry | None, stored_bytes: int | None, machine: Machine | None = None
) -> tuple[int, int] | None:
    """What a model takes in all and its weights alone, in bytes; None when neither size is known.

    Args:
        entry: the catalogue's facts.
        stored_bytes: size of the converted files, where they are here.
        machine: that it will run on, which may compute in 32 bit: what is not in 4 bit takes twice as much then.
    """
    if entry is not None:
        weights = stored_bytes or round(entry.parameters * BYTES_PER_PARAMETER)
        more = 0
        if machine is not None and machine.lacks_bfloat16 and not machine.gpu:
            more = _wider_by(entry, machine.free_bytes)
        return max(entry.memory_bytes, weights + WORKING_BYTES) + more, weights + more
    if stored_bytes:
        return stored_bytes + WORKING_BYTES, stored_bytes
    return None


def _wider_by(entry: CatalogueEntry, free_bytes: int) -> int:
    """Bytes that a model takes more in 32 bit than in 16: embeddings, head, and the unpacked copy of its weights."""
    tables = entry.vocabulary * entry.hidden_size * (1 if entry.tied else 2)
    body = max(0, entry.parameters - tables)
    before = 2 * body if 2 * body <= UNPACKED_LIMIT_BYTES else 0
    now = 4 * body if 4 * body <= unpacked_limit(free_bytes, packs=False) else 0
    return max(0, 2 * tables + now - before)


def recommended(machine: Machine, catalogue: Sequence[CatalogueEntry] = CATALOGUE) -> tuple[CatalogueEntry, str]:
    """One model for this machine, and why: free to use, no account needed, and quick here."""
    free = [entry for entry in catalogue if entry.chat and not entry.gated and entry.licence == "Apache-2.0"]
    default = next(entry for entry in catalogue if entry.id == DEFAULT_ID)
    if machine.gpu:
        room = COMFORTABLE * machine.gpu_free_bytes
        best = max((e for e in free if e.memory_bytes <= room), key=lambda e: e.parameters, default=default)
        return best, f"the largest that leaves room on the {machine.gpu}"
    if machine.cores >= MANY_CORES and machine.free_bytes >= 6 * GIB:
        half = next((entry for entry in free if 4e8 <= entry.parameters <= 6e8), default)
        return half, f"still quick on {machine.cores} processor cores"
    cores = "1 processor core" if machine.cores == 1 else f"{machine.cores} processor cores"
    return default, f"small enough to answer quickly on {cores}"


def _container_limit(total: int) -> int:
    """The memory a container may use, where that is less than what the machine has."""
    for name in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            return min(total, int(Path(name).read_text().strip()))
    return total


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _graphics_card() -> tuple[str, int, int]:
    """Name, memory and free memory in bytes of the first NVIDIA card; empty without one or its driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "", 0, 0
    query = ["--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run([program, *query], capture_output=True, text=True, timeout=5, check=True)
        name, total, free = (part.strip() for part in done.stdout.splitlines()[0].rsplit(",", 2))
        return name, int(total) * MIB, int(free) * MIB
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return "", 0, 0
