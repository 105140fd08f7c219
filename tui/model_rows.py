"""The models as the Models screen shows them: what is here, what is in use, and whether each fits.

Reads the model store; draws nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokmem_desk.catalogue import CATALOGUE, CatalogueEntry
from tokmem_desk.errors import TokmemError
from tokmem_desk.machine import Fit, Machine, fit, needed_bytes
from tokmem_desk.model_store import ModelInfo, ModelStore


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model, here or not."""

    id: str
    title: str
    entry: CatalogueEntry | None
    stored: ModelInfo | None
    in_use: bool
    fit: Fit | None
    """None where its size is not known before it is fetched."""

    @property
    def ready(self) -> bool:
        """Whether it is on this computer, converted."""
        return self.stored is not None

    @property
    def licence(self) -> str:
        """The licence's name, or that it is not known."""
        if self.stored is not None and self.stored.licence:
            return self.stored.licence
        return self.entry.licence if self.entry is not None else "not known"

    @property
    def disk_bytes(self) -> int | None:
        """What the converted model takes; None when it is not here."""
        return self.stored.record.size if self.stored is not None and self.stored.record is not None else None

    @property
    def download_bytes(self) -> int | None:
        """What would cross the network."""
        return self.entry.download_bytes if self.entry is not None else None


def model_rows(
    store: ModelStore, wanted: str, machine: Machine, loaded_bytes: int, pulled: str | None = None
) -> list[ModelRow]:
    """The models on this computer first, then the others of the catalogue.

    Args:
        store: of the converted models.
        wanted: the model in use, as the settings name it.
        machine: without a graphics card where the model does not run on it.
        loaded_bytes: what the model in use takes now; unloading it gives that back.
        pulled: a model that is being fetched, which no list may know.
    """
    stored = {info.id: info for info in store.list()}
    try:
        used = store.resolve(wanted).id
    except TokmemError:
        used = wanted
    entries = {entry.id: entry for entry in CATALOGUE}
    ids = [*sorted(stored, key=lambda one: (one != used, one)), *(one for one in entries if one not in stored)]
    ids = [*(one for one in (used, pulled) if one is not None and one not in ids), *ids]
    rows = []
    for one in ids:
        entry, info = entries.get(one), stored.get(one)
        need = needed_bytes(entry, None if info is None or info.record is None else info.record.size)
        freed = 0 if one == used else loaded_bytes
        # What is loaded has its memory already: count it as free for itself.
        own = loaded_bytes if one == used else 0
        rows.append(
            ModelRow(
                id=one,
                title=entry.title if entry is not None else short_name(one),
                entry=entry,
                stored=info,
                in_use=one == used,
                fit=None if need is None else fit(machine, need=need[0], weights=need[1], freed=freed or own),
            )
        )
    return rows


def disk_words(folder: Path, entry: CatalogueEntry | None) -> tuple[int | None, int]:
    """Bytes that fetching and preparing a model takes (None when nobody knows), and bytes that are free there."""
    place = next(step for step in (folder, *folder.parents) if step.exists())
    needed = None if entry is None else entry.disk_bytes + entry.download_bytes
    return needed, shutil.disk_usage(place).free


def short_name(model: str) -> str:
    """The last part of a Hub id or a path."""
    return model.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1] or model


def find_row(rows: Sequence[ModelRow], model_id: str | None) -> ModelRow | None:
    """The row of a model."""
    return next((row for row in rows if row.id == model_id), None)
