"""Which model writes drafts: the largest chat model on this computer that fits into the free memory.

Drafts are written once and read by a person, so they may be slow; the procedure is then trained on the model in use.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokmem_desk.models.hardware_fit import Machine, fit, needed_bytes
from tokmem_desk.models.store import ModelInfo


def largest_that_fits(models: Sequence[ModelInfo], machine: Machine) -> str | None:
    """The id of that model; None where none is there and fits.

    Args:
        models: the converted ones. One that the catalogue does not know counts as a chat model.
    """
    sizes: dict[str, int] = {}
    for info in models:
        if info.record is None or info.damage or (info.entry is not None and not info.entry.chat):
            continue
        need = needed_bytes(info.entry, info.record.size, machine)
        if need is not None and fit(machine, need=need[0], weights=need[1]).verdict == "fits":
            sizes[info.id] = info.record.size
    return max(sizes, key=lambda one: (sizes[one], one), default=None)


def larger_than(in_use: str, models: Sequence[ModelInfo], machine: Machine) -> str | None:
    """The id of the largest that fits, where it is larger than the model in use; None where that one writes itself.

    Args:
        in_use: the id of the model in use. One that is not there yet counts as smaller than any.
        models: see ``largest_that_fits``.
    """
    largest = largest_that_fits(models, machine)
    sizes = {info.id: info.record.size for info in models if info.record is not None}
    return largest if largest is not None and sizes[largest] > sizes.get(in_use, 0) else None
