"""Peak memory of a stretch of work."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Peak:
    """``mb`` is set when the stretch ends; None where the system does not tell."""

    mb: float | None = None


@contextlib.contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """Measure the peak in MiB: allocated on the card, or resident for the CPU.

    The CPU's mark is the kernel's, set back at the start; where that is not allowed, it is the peak since the
    process began.
    """
    peak = Peak()
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.mb = torch.cuda.max_memory_allocated(device) / 2**20
        return
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        # What an earlier method has freed would count for this one while the allocator holds it.
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        _RESET.write_text("5")
    yield peak
    peak.mb = _resident_peak()


def resident_mb() -> float | None:
    """What this process has in memory now, in MiB; None where the system does not tell."""
    return _status("VmRSS:")


def _resident_peak() -> float | None:
    return _status("VmHWM:")


def _status(key: str) -> float | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(key)), None)
