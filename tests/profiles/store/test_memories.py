"""Memories: candidates, activation, what changed since training, and their files."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from profiles.store.memories import MemoryRecord, PairsChanged
from profiles.store.store import ProfileStore
from profiles.store.undo import KEPT_ENTRIES
from tests.undo_log import newest_undo
from tokmem_desk.errors import ConflictError, NotFoundError, StorageError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure, pairs_digest

CPU, GPU = "fingerprint-a", "fingerprint-b"


def train(store: ProfileStore, name: str, fingerprint: str = CPU, *, activate: bool = True) -> MemoryRecord:
    """Leave behind what a training would."""
    file = store.memories.write(b"tensors")
    record = store.memories.add(
        store.procedures.get(name).id,
        fingerprint,
        file,
        store.procedures.with_pairs(name).pairs,
        {"span": 16},
        {"rouge_l": 0.7, "confusion": {"labels": ["none"], "counts": [[3]]}},
    )
    return store.memories.activate(record.id) if activate else record


@pytest.fixture
def trained(store: ProfileStore, ledger: Procedure) -> ProfileStore:
    store.procedures.add(ledger)
    train(store, "ledger")
    return store


def age(file: Path) -> None:
    old = time.time() - 7200
    os.utime(file, (old, old))


def test_the_bytes_of_a_memory_are_kept_and_read_back(store: ProfileStore) -> None:
    file = store.memories.write(b"tensors")
    assert store.memories.read(file) == b"tensors"
    assert (store.memories.folder / file).stat().st_mode & 0o777 == 0o600
    with pytest.raises(StorageError, match="could not be read"):
        store.memories.read("gone.safetensors")


def test_a_memory_begins_as_a_candidate_and_keeps_its_pairs(store: ProfileStore, ledger: Procedure) -> None:
    store.procedures.add(ledger)
    record = train(store, "ledger", activate=False)
    assert (record.status, record.version, record.pair_count, record.procedure) == ("candidate", 1, 2, "ledger")
    assert record.file == f"{record.id}.safetensors" and record.settings == {"span": 16}
    assert record.scorecard["confusion"]["counts"] == [[3]]
    assert record.pairs_digest == pairs_digest(ledger.pairs)
    assert [(pair.input, pair.response) for pair in store.memories.pairs(record.id)] == [
        (pair.input, pair.response) for pair in ledger.pairs
    ]
    assert store.memories.active("ledger", CPU) is None
    assert store.memories.get(record.id) == record and store.memories.list("ledger") == [record]


def test_activating_archives_the_one_before_and_can_go_back(trained: ProfileStore) -> None:
    first = trained.memories.list("ledger")[0]
    revision = trained.revision
    second = train(trained, "ledger")
    assert trained.revision > revision
    assert [(memory.version, memory.status) for memory in trained.memories.list("ledger")] == [
        (2, "active"),
        (1, "archived"),
    ]
    trained.memories.activate(first.id)
    assert trained.memories.active("ledger", CPU) == dataclasses.replace(first, status="active")
    assert trained.memories.get(second.id).status == "archived"
    revision = trained.revision
    trained.memories.activate(first.id)
    assert trained.revision == revision


def test_each_backbone_has_its_own_active_memory(trained: ProfileStore) -> None:
    other = train(trained, "ledger", GPU)
    on_cpu = trained.memories.active("ledger", CPU)
    assert on_cpu is not None and on_cpu.version == 1
    assert trained.memories.active("ledger", GPU) == other
    assert trained.memories.all_active(GPU) == [other]
    assert trained.procedures.to_train("another") == ["ledger"]


def test_the_bank_holds_enabled_procedures_by_name(trained: ProfileStore, ledger: Procedure) -> None:
    for name in ("zebra", "alpha"):
        trained.procedures.add(dataclasses.replace(ledger, name=name))
        train(trained, name)
    trained.procedures.set_enabled("ledger", False)
    assert [memory.procedure for memory in trained.memories.all_active(CPU)] == ["alpha", "zebra"]
    everything = trained.memories.all_active(CPU, enabled_only=False)
    assert [memory.procedure for memory in everything] == ["alpha", "ledger", "zebra"]


def test_what_changed_since_training(trained: ProfileStore) -> None:
    assert trained.memories.pairs_changed("ledger", CPU) == PairsChanged(0, 0)
    assert not trained.memories.pairs_changed("ledger", CPU) and trained.procedures.to_train(CPU) == []
    first, second = trained.pairs.list("ledger")
    trained.pairs.update(first.id, response="other")
    assert trained.memories.pairs_changed("ledger", CPU) == PairsChanged(added=1, removed=1)
    trained.pairs.add("ledger", [second.pair, ExamplePair("tea 2", "2024-01-02 tea 2.00")])
    changed = trained.memories.pairs_changed("ledger", CPU)
    assert changed == PairsChanged(added=3, removed=1) and changed.total == 3
    assert trained.procedures.to_train(CPU) == ["ledger"]
    trained.undo.take_back()
    trained.undo.take_back()
    assert trained.memories.pairs_changed("ledger", CPU) == PairsChanged(0, 0)
    assert trained.procedures.to_train(CPU) == []


def test_changes_that_need_no_training(trained: ProfileStore) -> None:
    first, second = trained.pairs.list("ledger")
    trained.pairs.add("ledger", [ExamplePair("x", "y")], "held_out")
    trained.pairs.update(first.id, references=("also right",))
    trained.pairs.delete(second.id)
    trained.pairs.add("ledger", [second.pair])  # the order of pairs does not matter
    trained.procedures.set_description("ledger", "Expenses.")
    assert trained.procedures.to_train(CPU) == []


def test_what_needs_training(trained: ProfileStore, ledger: Procedure) -> None:
    trained.procedures.add(dataclasses.replace(ledger, name="fresh"))
    trained.procedures.add(Procedure("empty", ()))
    trained.procedures.add(dataclasses.replace(ledger, name="off"))
    trained.procedures.set_enabled("off", False)
    trained.procedures.add(dataclasses.replace(ledger, name="pending"))
    train(trained, "pending", activate=False)
    assert trained.procedures.to_train(CPU) == ["fresh", "pending"]
    assert trained.memories.pairs_changed("pending", CPU) is None


def test_discarding_deletes_the_file_and_spares_the_active_one(trained: ProfileStore) -> None:
    candidate = train(trained, "ledger", activate=False)
    file = trained.memories.folder / candidate.file
    assert file.exists()
    trained.memories.discard(candidate.id)
    assert not file.exists()
    with pytest.raises(NotFoundError, match="any more"):
        trained.memories.discard(candidate.id)
    active = trained.memories.list("ledger")[0]
    with pytest.raises(UsageError, match="the one that answers for 'ledger'"):
        trained.memories.discard(active.id)
    assert (trained.memories.folder / active.file).exists()


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/x.safetensors", "x.pickle", ".safetensors", ""])
def test_a_memory_file_lies_in_the_folder(store: ProfileStore, ledger: Procedure, file: str) -> None:
    record = store.procedures.add(ledger)
    with pytest.raises(UsageError, match="cannot name a memory file"):
        store.memories.add(record.id, CPU, file, ledger.pairs, {}, {})


def test_a_memory_needs_its_file_and_its_procedure(trained: ProfileStore, ledger: Procedure) -> None:
    with pytest.raises(StorageError, match=r"ab\.safetensors is missing"):
        trained.memories.add(1, CPU, "ab.safetensors", ledger.pairs, {}, {})
    taken = trained.memories.list("ledger")[0]
    with pytest.raises(ConflictError, match="There is a memory"):
        trained.memories.add(taken.procedure_id, CPU, taken.file, ledger.pairs, {}, {})
    file = trained.memories.new_file()
    file.write_bytes(b"x")
    trained.procedures.remove("ledger")
    with pytest.raises(NotFoundError, match="removed while its memory was being trained"):
        trained.memories.add(taken.procedure_id, CPU, file.name, ledger.pairs, {}, {})


def test_removing_and_undoing_brings_the_memory_back(trained: ProfileStore) -> None:
    trained.corrections.add("tea 2", "none", "ledger")
    bank = trained.memories.all_active(CPU)
    corrections = trained.corrections.list()
    age(trained.memories.folder / bank[0].file)
    trained.procedures.remove("ledger")
    assert trained.memories.all_active(CPU) == [] and trained.corrections.list() == []
    assert trained.garbage.collect() == 0
    trained.undo.take_back()
    assert trained.memories.all_active(CPU) == bank and trained.corrections.list() == corrections
    assert trained.memories.pairs_changed("ledger", CPU) == PairsChanged(0, 0)


def test_files_go_when_nothing_can_bring_them_back(trained: ProfileStore) -> None:
    file = trained.memories.folder / trained.memories.list("ledger")[0].file
    age(file)
    trained.procedures.remove("ledger")
    trained.procedures.add(Procedure("other", ()))
    for number in range(KEPT_ENTRIES):
        trained.procedures.set_description("other", f"wording {number}")
    young = trained.memories.new_file()
    young.write_bytes(b"its row is about to be written")
    assert trained.garbage.collect() == 1
    assert not file.exists() and young.exists()
    assert trained.garbage.collect(age_seconds=-1) == 1
    assert not young.exists()


def test_forgetting_undo_takes_young_files_too_and_no_present_one(trained: ProfileStore) -> None:
    trained.procedures.add(Procedure("other", ()))
    present, gone = trained.memories.folder / trained.memories.list("ledger")[0].file, trained.memories.new_file()
    gone.write_bytes(b"made a minute ago")
    trained.memories.add(trained.procedures.get("other").id, CPU, gone.name, (), {}, {})
    trained.procedures.remove("other")
    trained.procedures.remove("ledger")
    trained.undo.take_back()
    trained.undo.forget()
    assert present.exists() and not gone.exists()


def test_adding_cannot_be_undone_once_trained(trained: ProfileStore) -> None:
    with pytest.raises(UsageError, match="'ledger' was trained since it was added.*Remove it with its memory"):
        trained.undo.take_back()
    assert trained.memories.active("ledger", CPU) is not None
    assert newest_undo(trained) == "added ledger"


def test_renaming_keeps_memory_and_corrections(trained: ProfileStore) -> None:
    trained.corrections.add("tea 2", "ledger", "none")
    trained.procedures.rename("ledger", "money")
    assert [memory.procedure for memory in trained.memories.all_active(CPU)] == ["money"]
    assert [(row.wrong_route, row.right_route) for row in trained.corrections.list()] == [("money", "none")]
