"""How torch's worker threads wait. Imports nothing heavy: it must run before torch is imported.

By default OpenMP's threads spin while they wait for one another. On a computer that does anything else at
the same time, one thread spins for the other's time slice at every one of the thousands of parallel regions
of a step: on two cores with one busy neighbour a training step took 18 s instead of 0.6 s. Sleeping costs
nothing measurable on an idle machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


def wait_asleep() -> None:
    """Let threads sleep while they wait, unless the environment says otherwise already."""
    for name, value in _WAITING.items():
        os.environ.setdefault(name, value)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run many small operations on one thread: waking a second one for each costs more than it does.

    Needs torch, which the caller has loaded.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
