"""Choose device, compute dtype and kernel form, each with its reason as text.

Looks at the machine only; loads no model.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokmem_desk.errors import IncompatibleError, OutOfMemoryError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """Where the backbone runs.

    ``device`` is a torch device string, ``compute_dtype`` a torch dtype name, ``reason`` a sentence for people.
    """

    device: str
    compute_dtype: str
    reason: str

    @property
    def torch_dtype(self) -> torch.dtype:
        import torch

        dtype = getattr(torch, self.compute_dtype)
        assert isinstance(dtype, torch.dtype)
        return dtype


_OVERFLOWS_IN_FLOAT16 = frozenset({"gemma2", "gemma3", "gemma3_text"})
"""Families whose activations pass float16's 65,504; on cards without bfloat16 they compute in float32."""


def choose_device(wanted: str = "auto", family: str = "") -> DeviceChoice:
    """Pick the device and the compute dtype.

    The rule: a CUDA card when there is one; bfloat16 where the hardware has it; else float16, except for
    families that overflow in it, which compute in float32. A CPU computes in bfloat16 where its instructions
    multiply that, else in float32: emulated, a product with several rows takes four to five times as long.

    Args:
        wanted: ``auto``, ``cpu`` or ``cuda`` (also ``cuda:1``).
        family: the config's ``model_type``; decides about float16.

    Raises:
        IncompatibleError: CUDA was asked for and torch sees no card.
    """
    import torch

    if wanted != "cpu" and torch.cuda.is_available():
        device = "cuda:0" if wanted in ("auto", "cuda") else wanted
        name = torch.cuda.get_device_name(device)
        if torch.cuda.get_device_capability(device) >= (8, 0):
            return DeviceChoice(device, "bfloat16", f"{name}: computes in bfloat16")
        if family in _OVERFLOWS_IN_FLOAT16:
            return DeviceChoice(device, "float32", f"{name} has no bfloat16 and {family} overflows in float16")
        return DeviceChoice(device, "float16", f"{name} has no bfloat16; float16 instead")
    if wanted.startswith("cuda"):
        built = "this torch is built without CUDA" if torch.version.cuda is None else "torch sees no CUDA card"
        raise IncompatibleError(
            f"Device {wanted!r} was asked for, but {built}.",
            next_step="Use --device auto, or install a CUDA build of torch and a driver.",
        )
    why = "CPU was asked for" if wanted == "cpu" else "no CUDA card found"
    threads = torch.get_num_threads()
    if found := _bfloat16_by():
        return DeviceChoice("cpu", "bfloat16", f"{why}: CPU ({threads} threads, bfloat16 by {found})")
    return DeviceChoice("cpu", "float32", f"{why}: CPU ({threads} threads, float32, since it has no bfloat16)")


_BFLOAT16_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512", "bf16": "NEON"}
"""Flags of processors whose instructions multiply bfloat16, the best first, and what to call them."""


def cpu_lacks_bfloat16() -> bool:
    """Whether the processor is known to have no instructions for bfloat16, without asking torch."""
    flags = cpu_flags()
    return bool(flags) and not flags & _BFLOAT16_FLAGS.keys()


def _bfloat16_by() -> str:
    """What the CPU multiplies bfloat16 with; empty where nothing does, or nobody knows."""
    flags = cpu_flags()
    if flags:
        return next((name for flag, name in _BFLOAT16_FLAGS.items() if flag in flags), "")
    import torch

    # Where the system does not tell, torch knows the kind of the processor, though not this one instruction.
    return "AVX-512" if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else ""


def cpu_flags() -> frozenset[str]:
    """Instruction set flags of the first CPU; empty where the system does not tell."""
    if platform.system() != "Linux":
        return frozenset()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):  # of Intel and AMD, of ARM
                return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset()


def memory_in_use_mb(device: str) -> float:
    """Memory of this process in MiB: allocated on the card for CUDA, resident for the CPU."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.memory_allocated(device) / 2**20
    import psutil

    try:
        return float(psutil.Process().memory_info().rss) / 2**20
    except psutil.Error:
        return 0.0


def release_memory(device: str) -> None:
    """Give back what nothing refers to any more: to the system, or for CUDA to the card."""
    import gc

    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def trim_memory() -> None:
    """Give freed memory of the CPU back to the system, where the C library can; it takes milliseconds.

    The library keeps what was freed between other blocks: after tensors of growing sizes that is most of them.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out; torch has no class of its own for it on a CPU."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(
        error
    )
