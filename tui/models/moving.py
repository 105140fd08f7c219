"""Which procedures a change of the model leaves behind, and how long it would take to learn them there.

A memory belongs to the backbone that it was trained on. With another model a procedure has to learn its pairs again;
the memory on the model before stays and answers when that is chosen again.
"""

from __future__ import annotations

from profiles.store.memories import MemoryRecord
from profiles.store.store import ProfileStore
from tokmem_desk.models.speed_fit import PAIRS, Estimate


def left_behind(store: ProfileStore, fingerprint: str | None, model: str) -> list[str]:
    """Procedures that answer on one backbone and have not learned their present pairs on another model, by name.

    Args:
        fingerprint: digest of the backbone they answer on; None where none was loaded yet.
        model: id of the other model, as its memories note it.
    """
    if fingerprint is None:
        return []
    counts = {record.name: record.pair_count for record in store.procedures.list()}
    return [
        record.procedure
        for record in store.memories.all_active(fingerprint)
        if counts.get(record.procedure) and not _has_learned(store.memories.list(record.procedure), record, model)
    ]


def _has_learned(memories: list[MemoryRecord], present: MemoryRecord, model: str) -> bool:
    """Whether an active memory of the other model was made from what the present one was made from, or from more."""
    return any(
        one.status == "active"
        and one.backbone_fingerprint != present.backbone_fingerprint
        and one.settings.get("backbone") == model
        and (one.pairs_digest == present.pairs_digest or one.version > present.version)
        for one in memories
    )


def minutes_to_learn(store: ProfileStore, names: list[str], speed: Estimate | None) -> float | None:
    """Minutes that these procedures take on the other model, scorecards included; None where nothing is known."""
    if speed is None:
        return None
    counts = {record.name: record.pair_count for record in store.procedures.list()}
    return speed.training_minutes * sum(counts[name] for name in names) / PAIRS
