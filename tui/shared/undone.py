"""What an undo leaves of the memories: it changes pairs, and what was trained from them goes on answering.

An undo takes back one change. A memory that was trained after that change has learned from it and stays active. So the
person is told, and offered both ways: train again from the pairs as they are, or go back to the version that has these
pairs and the memory that answered then. Reads the store; draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from profiles.store.store import ProfileStore
from tokmem_desk.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class StrandedMemory:
    """An active memory that was trained from other pairs than its procedure has after an undo.

    Attributes:
        name: of the procedure.
        memory: its number.
        changed: pairs that differ from those it was trained from.
        version: the newest version with the present pairs and another memory; None where none is kept.
        earlier_memory: the number of the memory that answered in that version; None where none did.
    """

    name: str
    memory: int
    changed: int
    version: int | None
    earlier_memory: int | None

    @property
    def sentence(self) -> str:
        """What became of the memory."""
        pairs = "1 pair" if self.changed == 1 else f"{self.changed} pairs"
        return f"Memory v{self.memory} of {self.name} stays and answers as it was trained: {pairs} differ from it now."

    @property
    def earlier(self) -> str:
        """What answers after going back to ``version``."""
        return "no memory answers" if self.earlier_memory is None else f"memory v{self.earlier_memory} answers"


def stranded_memories(
    store: ProfileStore, procedure_ids: Iterable[int], fingerprint: str | None
) -> list[StrandedMemory]:
    """Active memories of some procedures whose pairs are others now.

    Args:
        store: of the profile.
        procedure_ids: what the undo has changed; those that are gone are left out.
        fingerprint: the backbone whose memories are looked at; without one there is nothing to say.
    """
    found: list[StrandedMemory] = []
    for key in procedure_ids if fingerprint is not None else ():
        try:
            name = store.procedures.by_id(key).name
        except NotFoundError:
            continue
        assert fingerprint is not None
        memory = store.memories.active(name, fingerprint)
        changed = store.memories.pairs_changed(name, fingerprint)
        if memory is None or not changed:
            continue
        numbers = {one.id: one.version for one in store.memories.list(name)}
        version, earlier = None, None
        present, *past = store.versions.list(name)
        for one in past:
            answered = one.memories.get(fingerprint)
            if answered != memory.id and not store.versions.diff(name, one.number, present.number).changes:
                version, earlier = one.number, numbers.get(answered or "")
                break
        found.append(StrandedMemory(name, memory.version, changed.total, version, earlier))
    return found
