"""The models as the Models screen shows them: what is here, what is in use, and whether each fits.

Reads the model store; draws nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokmem_desk.errors import TokmemError
from tokmem_desk.models.catalogue import ADAPTED, CATALOGUE, CatalogueEntry
from tokmem_desk.models.hardware_fit import Fit, Machine, fit, needed_bytes
from tokmem_desk.models.speed_fit import Estimate, MachineSpeed, estimate
from tokmem_desk.models.store import ModelInfo, ModelStore


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model, here or not; the adapted form of a model has a row of its own, with what is known of the model."""

    id: str
    title: str
    entry: CatalogueEntry | None
    stored: ModelInfo | None
    in_use: bool
    fit: Fit | None
    """None where its size is not known before it is fetched."""
    speed: Estimate | None = None
    """None where it was not measured, or the catalogue does not know the model."""

    @property
    def adapted(self) -> bool:
        """Whether it is the adapted form of a model."""
        return self.id.endswith(ADAPTED)

    @property
    def base(self) -> str:
        """The model's own id, also for its adapted form."""
        return self.id.removesuffix(ADAPTED)

    @property
    def lacks_adapter(self) -> bool:
        """Whether it is an adapted form that is chosen but cannot be used: its model is here, an adapter is not."""
        return self.adapted and self.stored is not None and self.stored.adapter == "none"

    @property
    def ready(self) -> bool:
        """Whether it is on this computer, converted and not known to be damaged, with its adapter if it needs one."""
        return self.stored is not None and not self.stored.damage and not self.lacks_adapter

    @property
    def licence(self) -> str:
        """The licence's name, or that it is not known."""
        if self.stored is not None and self.stored.licence:
            return self.stored.licence
        return self.entry.licence if self.entry is not None else "not known"

    @property
    def disk_bytes(self) -> int | None:
        """What the converted model takes; None when it is not here, and for an adapted form, which shares the files."""
        if self.adapted or self.stored is None or self.stored.record is None:
            return None
        return self.stored.record.size

    @property
    def download_bytes(self) -> int | None:
        """What would cross the network."""
        return self.entry.download_bytes if self.entry is not None else None


def model_rows(
    store: ModelStore,
    wanted: str,
    machine: Machine,
    loaded_bytes: int,
    pulled: str | None = None,
    measured: MachineSpeed | None = None,
) -> list[ModelRow]:
    """The models on this computer first, then the others of the catalogue; below each its adapted form, if any.

    Args:
        store: of the converted models.
        wanted: the model in use, as the settings name it.
        machine: without a graphics card where the model does not run on it.
        loaded_bytes: what the model in use takes now; unloading it gives that back.
        pulled: a model that is being fetched, which no list may know.
        measured: what this computer reaches, where that was measured.
    """
    stored = {info.id: info for info in store.list()}
    try:
        used = store.resolve(wanted).id + (ADAPTED if wanted.endswith(ADAPTED) else "")
    except TokmemError:
        used = wanted
    entries = {entry.id: entry for entry in CATALOGUE}
    chosen = [one for one in (used, pulled) if one is not None]
    first = used.removesuffix(ADAPTED)
    ids = [*sorted(stored, key=lambda one: (one != first, one)), *(one for one in entries if one not in stored)]
    ids = [*(base for one in chosen if (base := one.removesuffix(ADAPTED)) not in ids), *ids]
    rows = []
    for one in _with_adapted(ids, stored, chosen):
        base = one.removesuffix(ADAPTED)
        entry, info = entries.get(base), stored.get(base)
        need = needed_bytes(entry, None if info is None or info.record is None else info.record.size, machine)
        freed = 0 if one == used else loaded_bytes
        # What is loaded has its memory already: count it as free for itself.
        own = loaded_bytes if one == used else 0
        rows.append(
            ModelRow(
                id=one,
                title=(entry.title if entry is not None else short_name(base)) + ", adapted" * (one != base),
                entry=entry,
                stored=info,
                in_use=one == used,
                fit=None if need is None else fit(machine, need=need[0], weights=need[1], freed=freed or own),
                speed=None if entry is None or measured is None else estimate(entry, measured),
            )
        )
    return rows


def _with_adapted(ids: Sequence[str], stored: Mapping[str, ModelInfo], chosen: Sequence[str]) -> Iterator[str]:
    """The ids, each followed by that of its adapted form where that can be used or was asked for."""
    for one in dict.fromkeys(ids):
        yield one
        if (one in stored and stored[one].adapter != "none") or one + ADAPTED in chosen:
            yield one + ADAPTED


def disk_words(folder: Path, entry: CatalogueEntry | None) -> tuple[int | None, int]:
    """Bytes that fetching and preparing a model takes (None when nobody knows), and bytes that are free there."""
    place = next(step for step in (folder, *folder.parents) if step.exists())
    needed = None if entry is None else entry.space_bytes
    return needed, shutil.disk_usage(place).free


def short_name(model: str) -> str:
    """The last part of a Hub id or a path."""
    return model.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1] or model


def find_row(rows: Sequence[ModelRow], model_id: str | None) -> ModelRow | None:
    """The row of a model."""
    return next((row for row in rows if row.id == model_id), None)
