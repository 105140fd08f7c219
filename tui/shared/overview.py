"""The procedures of a profile as the screens show them: with memory, score and what changed since training.

Reads the store; draws nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from profiles.store.memories import MemoryRecord, PairsChanged
from profiles.store.procedures import ProcedureRecord
from profiles.store.store import ProfileStore

READS = {True: "the conversation", False: "the message alone"}
"""What of the conversation a procedure sees, in words."""


@dataclass(frozen=True, slots=True)
class ProcedureLine:
    """One procedure on one backbone."""

    record: ProcedureRecord
    memory: MemoryRecord | None
    changed: PairsChanged | None
    """What changed since training; None where there is no memory, false where nothing changed."""
    correction_count: int

    @property
    def needs_training(self) -> bool:
        """New or changed, and trainable."""
        return self.record.enabled and self.record.pair_count > 0 and (self.memory is None or bool(self.changed))

    @property
    def score(self) -> float | None:
        """ROUGE-L of the active memory on held-out pairs, 0 to 1."""
        value = None if self.memory is None else self.memory.scorecard.get("rouge_l")
        return None if value is None else float(value)

    @property
    def words(self) -> str:
        """The state in a few words."""
        if self.memory is None:
            return "not trained" if self.record.pair_count else "no pairs yet"
        if self.changed:
            return f"{changed_words(self.changed)} changed"
        origin = self.memory.imported_from
        # A bank's name may be of any length.
        return f"trained, v{self.memory.version}" + (f", from {origin[:24]}" if origin else "")


def changed_words(changed: PairsChanged) -> str:
    """``1 pair`` or ``3 pairs``."""
    return "1 pair" if changed.total == 1 else f"{changed.total} pairs"


def procedure_lines(store: ProfileStore, fingerprint: str | None) -> list[ProcedureLine]:
    """All procedures by name.

    Args:
        store: of the profile.
        fingerprint: of the backbone; without one every procedure counts as untrained.
    """
    corrections = Counter(record.right_route for record in store.corrections.list())
    memories: dict[str, MemoryRecord] = {}
    stale: set[str] = set()
    if fingerprint is not None:
        memories = {one.procedure: one for one in store.memories.all_active(fingerprint, enabled_only=False)}
        stale = {record.name for record in store.procedures.list() if not record.enabled}
        stale |= set(store.procedures.to_train(fingerprint))
    lines = []
    for record in store.procedures.list():
        memory = memories.get(record.name)
        changed = None
        if memory is not None and fingerprint is not None:
            # Counting the differences is worth its query only where there are some.
            changed = (
                store.memories.pairs_changed(record.name, fingerprint) if record.name in stale else PairsChanged(0, 0)
            )
        lines.append(ProcedureLine(record, memory, changed, corrections[record.name]))
    return lines


def last_fingerprint(store: ProfileStore) -> str | None:
    """The backbone of the newest active memory: what to show before the engine has said which one is loaded."""
    newest: MemoryRecord | None = None
    for record in store.procedures.list():
        for memory in store.memories.list(record.name):
            if memory.status == "active" and (newest is None or memory.created > newest.created):
                newest = memory
    return None if newest is None else newest.backbone_fingerprint
