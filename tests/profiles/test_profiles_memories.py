"""Memories: candidates, activation, what changed since training, and their files."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from profiles.store.records import MemoryRecord, PairsChanged
from profiles.store.store import ProfileStore
from profiles.store.undo import KEPT_ENTRIES
from tokmem_desk.errors import ConflictError, NotFoundError, StorageError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure, pairs_digest

CPU, GPU = "fingerprint-a", "fingerprint-b"


def train(store: ProfileStore, name: str, fingerprint: str = CPU, *, activate: bool = True) -> MemoryRecord:
    """Leave behind what a training would."""
    file = store.write_memory(b"tensors")
    record = store.add_memory(
        store.procedure(name).id,
        fingerprint,
        file,
        store.to_procedure(name).pairs,
        {"span": 16},
        {"rouge_l": 0.7, "confusion": {"labels": ["none"], "counts": [[3]]}},
    )
    return store.activate_memory(record.id) if activate else record


@pytest.fixture
def trained(store: ProfileStore, ledger: Procedure) -> ProfileStore:
    store.add_procedure(ledger)
    train(store, "ledger")
    return store


def age(file: Path) -> None:
    old = time.time() - 7200
    os.utime(file, (old, old))


def test_the_bytes_of_a_memory_are_kept_and_read_back(store: ProfileStore) -> None:
    file = store.write_memory(b"tensors")
    assert store.read_memory(file) == b"tensors"
    assert (store.memory_folder / file).stat().st_mode & 0o777 == 0o600
    with pytest.raises(StorageError, match="could not be read"):
        store.read_memory("gone.safetensors")


def test_a_memory_begins_as_a_candidate_and_keeps_its_pairs(store: ProfileStore, ledger: Procedure) -> None:
    store.add_procedure(ledger)
    record = train(store, "ledger", activate=False)
    assert (record.status, record.version, record.pair_count, record.procedure) == ("candidate", 1, 2, "ledger")
    assert record.file == f"{record.id}.safetensors" and record.settings == {"span": 16}
    assert record.scorecard["confusion"]["counts"] == [[3]]
    assert record.pairs_digest == pairs_digest(ledger.pairs)
    assert [(pair.input, pair.response) for pair in store.memory_pairs(record.id)] == [
        (pair.input, pair.response) for pair in ledger.pairs
    ]
    assert store.active_memory("ledger", CPU) is None
    assert store.memory(record.id) == record and store.memories("ledger") == [record]


def test_activating_archives_the_one_before_and_can_go_back(trained: ProfileStore) -> None:
    first = trained.memories("ledger")[0]
    revision = trained.revision
    second = train(trained, "ledger")
    assert trained.revision > revision
    assert [(memory.version, memory.status) for memory in trained.memories("ledger")] == [
        (2, "active"),
        (1, "archived"),
    ]
    trained.activate_memory(first.id)
    assert trained.active_memory("ledger", CPU) == dataclasses.replace(first, status="active")
    assert trained.memory(second.id).status == "archived"
    revision = trained.revision
    trained.activate_memory(first.id)
    assert trained.revision == revision


def test_each_backbone_has_its_own_active_memory(trained: ProfileStore) -> None:
    other = train(trained, "ledger", GPU)
    on_cpu = trained.active_memory("ledger", CPU)
    assert on_cpu is not None and on_cpu.version == 1
    assert trained.active_memory("ledger", GPU) == other
    assert trained.active_memories(GPU) == [other]
    assert trained.needs_training("another") == ["ledger"]


def test_the_bank_holds_enabled_procedures_by_name(trained: ProfileStore, ledger: Procedure) -> None:
    for name in ("zebra", "alpha"):
        trained.add_procedure(dataclasses.replace(ledger, name=name))
        train(trained, name)
    trained.set_enabled("ledger", False)
    assert [memory.procedure for memory in trained.active_memories(CPU)] == ["alpha", "zebra"]
    everything = trained.active_memories(CPU, enabled_only=False)
    assert [memory.procedure for memory in everything] == ["alpha", "ledger", "zebra"]


def test_what_changed_since_training(trained: ProfileStore) -> None:
    assert trained.pairs_changed("ledger", CPU) == PairsChanged(0, 0)
    assert not trained.pairs_changed("ledger", CPU) and trained.needs_training(CPU) == []
    first, second = trained.pairs("ledger")
    trained.update_pair(first.id, response="other")
    assert trained.pairs_changed("ledger", CPU) == PairsChanged(added=1, removed=1)
    trained.add_pairs("ledger", [second.pair, ExamplePair("tea 2", "2024-01-02 tea 2.00")])
    changed = trained.pairs_changed("ledger", CPU)
    assert changed == PairsChanged(added=3, removed=1) and changed.total == 3
    assert trained.needs_training(CPU) == ["ledger"]
    trained.undo()
    trained.undo()
    assert trained.pairs_changed("ledger", CPU) == PairsChanged(0, 0)
    assert trained.needs_training(CPU) == []


def test_changes_that_need_no_training(trained: ProfileStore) -> None:
    first, second = trained.pairs("ledger")
    trained.add_pairs("ledger", [ExamplePair("x", "y")], "held_out")
    trained.update_pair(first.id, references=("also right",))
    trained.delete_pair(second.id)
    trained.add_pairs("ledger", [second.pair])  # the order of pairs does not matter
    trained.set_description("ledger", "Expenses.")
    assert trained.needs_training(CPU) == []


def test_what_needs_training(trained: ProfileStore, ledger: Procedure) -> None:
    trained.add_procedure(dataclasses.replace(ledger, name="fresh"))
    trained.add_procedure(Procedure("empty", ()))
    trained.add_procedure(dataclasses.replace(ledger, name="off"))
    trained.set_enabled("off", False)
    trained.add_procedure(dataclasses.replace(ledger, name="pending"))
    train(trained, "pending", activate=False)
    assert trained.needs_training(CPU) == ["fresh", "pending"]
    assert trained.pairs_changed("pending", CPU) is None


def test_discarding_deletes_the_file_and_spares_the_active_one(trained: ProfileStore) -> None:
    candidate = train(trained, "ledger", activate=False)
    file = trained.memory_folder / candidate.file
    assert file.exists()
    trained.discard_memory(candidate.id)
    assert not file.exists()
    with pytest.raises(NotFoundError, match="any more"):
        trained.discard_memory(candidate.id)
    active = trained.memories("ledger")[0]
    with pytest.raises(UsageError, match="the one that answers for 'ledger'"):
        trained.discard_memory(active.id)
    assert (trained.memory_folder / active.file).exists()


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/x.safetensors", "x.pickle", ".safetensors", ""])
def test_a_memory_file_lies_in_the_folder(store: ProfileStore, ledger: Procedure, file: str) -> None:
    record = store.add_procedure(ledger)
    with pytest.raises(UsageError, match="cannot name a memory file"):
        store.add_memory(record.id, CPU, file, ledger.pairs, {}, {})


def test_a_memory_needs_its_file_and_its_procedure(trained: ProfileStore, ledger: Procedure) -> None:
    with pytest.raises(StorageError, match=r"ab\.safetensors is missing"):
        trained.add_memory(1, CPU, "ab.safetensors", ledger.pairs, {}, {})
    taken = trained.memories("ledger")[0]
    with pytest.raises(ConflictError, match="There is a memory"):
        trained.add_memory(taken.procedure_id, CPU, taken.file, ledger.pairs, {}, {})
    file = trained.new_memory_file()
    file.write_bytes(b"x")
    trained.remove_procedure("ledger")
    with pytest.raises(NotFoundError, match="removed while its memory was being trained"):
        trained.add_memory(taken.procedure_id, CPU, file.name, ledger.pairs, {}, {})


def test_removing_and_undoing_brings_the_memory_back(trained: ProfileStore) -> None:
    trained.add_correction("tea 2", "none", "ledger")
    bank = trained.active_memories(CPU)
    corrections = trained.corrections()
    age(trained.memory_folder / bank[0].file)
    trained.remove_procedure("ledger")
    assert trained.active_memories(CPU) == [] and trained.corrections() == []
    assert trained.collect_garbage() == 0
    trained.undo()
    assert trained.active_memories(CPU) == bank and trained.corrections() == corrections
    assert trained.pairs_changed("ledger", CPU) == PairsChanged(0, 0)


def test_files_go_when_nothing_can_bring_them_back(trained: ProfileStore) -> None:
    file = trained.memory_folder / trained.memories("ledger")[0].file
    age(file)
    trained.remove_procedure("ledger")
    trained.add_procedure(Procedure("other", ()))
    for number in range(KEPT_ENTRIES):
        trained.set_description("other", f"wording {number}")
    young = trained.new_memory_file()
    young.write_bytes(b"its row is about to be written")
    assert trained.collect_garbage() == 1
    assert not file.exists() and young.exists()
    assert trained.collect_garbage(age_seconds=-1) == 1
    assert not young.exists()


def test_forgetting_undo_takes_young_files_too_and_no_present_one(trained: ProfileStore) -> None:
    trained.add_procedure(Procedure("other", ()))
    present, gone = trained.memory_folder / trained.memories("ledger")[0].file, trained.new_memory_file()
    gone.write_bytes(b"made a minute ago")
    trained.add_memory(trained.procedure("other").id, CPU, gone.name, (), {}, {})
    trained.remove_procedure("other")
    trained.remove_procedure("ledger")
    trained.undo()
    trained.forget_undo()
    assert present.exists() and not gone.exists()


def test_adding_cannot_be_undone_once_trained(trained: ProfileStore) -> None:
    with pytest.raises(UsageError, match="'ledger' was trained since it was added.*Remove it instead"):
        trained.undo()
    assert trained.active_memory("ledger", CPU) is not None
    assert trained.undo_text() == "added ledger"


def test_renaming_keeps_memory_and_corrections(trained: ProfileStore) -> None:
    trained.add_correction("tea 2", "ledger", "none")
    trained.rename_procedure("ledger", "money")
    assert [memory.procedure for memory in trained.active_memories(CPU)] == ["money"]
    assert [(row.wrong_route, row.right_route) for row in trained.corrections()] == [("money", "none")]
