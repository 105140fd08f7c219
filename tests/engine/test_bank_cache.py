"""The bank of a profile: its router from the database, its steering from files when it acts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tui.engine.bank_cache
from profiles.store.router_rows import RouterRows
from profiles.store.store import ProfileStore
from tests.tiny_loaded import TinyModel
from tokmem_desk.errors import BadInputError
from tokmem_desk.memory.memory import Memory
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.routing.routers import DiscriminantRouter
from tui.engine.bank_cache import BankCache
from tui.engine.lazy_steering import KEPT


@pytest.fixture
def store(tmp_path: Path, tiny: TinyModel) -> ProfileStore:
    with ProfileStore(tmp_path / "profile") as opened:
        for place in range(3):
            name = f"p{place}"
            opened.procedures.add(Procedure(name, (ExamplePair(f"in {place}", "out"),)))
            tiny.add(opened, name, seed=place)
        yield opened


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which memories were read from their files."""
    seen: list[str] = []
    real = tui.engine.bank_cache.memory_from_bytes

    def spy(data: bytes, backbone: object, source: str) -> Memory:
        seen.append(source)
        return real(data, backbone, source)

    monkeypatch.setattr(tui.engine.bank_cache, "memory_from_bytes", spy)
    return seen


def same(one: Memory, other: Memory) -> bool:
    assert one.statistics is not None and other.statistics is not None
    pairs = [
        (one.address, other.address),
        (one.steering.rows, other.steering.rows),
        *zip(one.steering.keys, other.steering.keys, strict=True),
        *zip(one.steering.values, other.steering.values, strict=True),
        (one.statistics.mean, other.statistics.mean),
        (one.statistics.low_rank_scatter, other.statistics.low_rank_scatter),
    ]
    numbers = (one.tied, one.statistics.count, one.statistics.scatter, one.statistics.digest, one.steering.span)
    others = (
        other.tied,
        other.statistics.count,
        other.statistics.scatter,
        other.statistics.digest,
        other.steering.span,
    )
    return numbers == others and all(torch.equal(a, b) for a, b in pairs)


def test_after_the_first_time_only_what_acts_is_read(tiny: TinyModel, store: ProfileStore, reads: list[str]) -> None:
    BankCache(tiny.as_loaded()).bank(store, "discriminant", 0.0)
    assert len(reads) == 3
    reads.clear()
    for router in ("discriminant", "token"):
        bank = BankCache(tiny.as_loaded()).bank(store, router, 0.0)
        assert reads == [] and sorted(bank.memories) == ["p0", "p1", "p2"]
    for place in range(3):
        assert same(bank.memories[f"p{place}"], tiny.memory(f"p{place}", seed=place)), "not one bit differs"
    assert len(reads) == 3
    assert bank.memories["p1"].steering.span == 4 and len(reads) == 3, "kept once it was read"


def test_only_the_latest_used_blocks_stay(tiny: TinyModel, store: ProfileStore, reads: list[str]) -> None:
    bank_cache = BankCache(tiny.as_loaded())
    bank = bank_cache.bank(store, "discriminant", 0.0)
    blocks = bank_cache._steering_cache(store)
    for place in range(KEPT):
        blocks.keep(f"other {place}", bank.memories["p0"].steering)
    reads.clear()
    assert bank.memories["p0"].steering.span == 4 and reads == ["The memory of 'p0'"]


def test_a_file_that_changed_is_read_again(tiny: TinyModel, store: ProfileStore, reads: list[str]) -> None:
    BankCache(tiny.as_loaded()).bank(store, "discriminant", 0.0)
    record = store.memories.list("p1")[0]
    (store.memories.folder / record.file).write_bytes(b"rubbish")
    bank_cache = BankCache(tiny.as_loaded())
    assert sorted(bank_cache.bank(store, "discriminant", 0.0).memories) == ["p0", "p2"]
    [problem] = bank_cache.problems(store)
    assert "'p1'" in problem
    (store.memories.folder / record.file).unlink()
    assert sorted(BankCache(tiny.as_loaded()).memories(store)) == ["p0", "p2"]


def test_damage_that_nobody_saw_coming_is_told_when_it_acts(tiny: TinyModel, store: ProfileStore) -> None:
    bank = BankCache(tiny.as_loaded()).bank(store, "discriminant", 0.0)
    bank = BankCache(tiny.as_loaded()).bank(store, "discriminant", 0.0)
    (store.memories.folder / store.memories.list("p1")[0].file).write_bytes(b"rubbish")
    with pytest.raises(BadInputError, match="'p1'.*[Tt]rain"):
        _ = bank.memories["p1"].steering.rows


def test_a_new_memory_and_a_renamed_procedure_are_seen(tiny: TinyModel, store: ProfileStore, reads: list[str]) -> None:
    bank_cache = BankCache(tiny.as_loaded())
    bank_cache.bank(store, "discriminant", 0.0)
    reads.clear()
    tiny.add(store, "p1", seed=9)
    store.procedures.rename("p2", "renamed")
    bank = bank_cache.bank(store, "discriminant", 0.0)
    assert reads == ["The memory of 'p1'"] and sorted(bank.memories) == ["p0", "p1", "renamed"]
    assert same(bank.memories["p1"], tiny.memory("p1", seed=9)) and bank.memories["renamed"].name == "renamed"
    store.procedures.remove("p0")
    left = {m.id for m in store.memories.all_active(tiny.backbone.fingerprint.digest)}
    assert store.router_rows.files(tiny.basis.digest).keys() >= left
    assert store.router_rows.read(tiny.basis.digest, left).keys() == left


def _profiles(folder: Path, tiny: TinyModel, count: int) -> list[ProfileStore]:
    stores = []
    for place in range(count):
        store = ProfileStore(folder / f"profile{place}")
        store.procedures.add(Procedure("own", (ExamplePair("in", "out"),)))
        tiny.add(store, "own", seed=place)
        stores.append(store)
    return stores


def test_of_profiles_used_longest_ago_nothing_stays(tiny: TinyModel, tmp_path: Path, reads: list[str]) -> None:
    stores = _profiles(tmp_path, tiny, 4)
    cache = BankCache(tiny.as_loaded(), most_profiles=2)
    try:
        banks = [cache.bank(store, "discriminant", 0.0) for store in stores]
        rows = [bank.memories["own"].steering.rows for bank in banks]
        kept = {str(store.folder) for store in stores[2:]}
        for of_profiles in (cache._used, cache._steering_caches, cache._routed, cache._problems, cache._corrected):
            assert set(of_profiles) == kept
        assert {folder for folder, _ in cache._banks} == kept
        # Used again, it comes again as it was, and the one used longest ago goes; each finds its own memory alone.
        again = cache.bank(stores[0], "discriminant", 0.0)
        assert torch.equal(again.memories["own"].steering.rows, rows[0])
        assert not torch.equal(rows[0], rows[1])
        assert set(cache._used) == {str(stores[3].folder), str(stores[0].folder)}
        # An answer on its way keeps the bank that it began with.
        assert torch.equal(banks[1].memories["own"].steering.rows, rows[1])
    finally:
        for store in stores:
            store.close()


def test_a_profile_in_use_stays(tiny: TinyModel, tmp_path: Path) -> None:
    stores = _profiles(tmp_path, tiny, 3)
    cache = BankCache(tiny.as_loaded(), most_profiles=2)
    try:
        first = cache.bank(stores[0], "discriminant", 0.0)
        for store in (stores[1], stores[0], stores[2], stores[0]):
            cache.bank(store, "discriminant", 0.0)
        assert cache.bank(stores[0], "discriminant", 0.0) is first
    finally:
        for store in stores:
            store.close()


def test_statistics_that_did_not_change_stay_the_same_objects(tiny: TinyModel, store: ProfileStore) -> None:
    cache = BankCache(tiny.as_loaded())
    cache.bank(store, "discriminant", 0.0)
    before = cache.memories(store)
    tiny.add(store, "p1", seed=9)
    after = cache.memories(store)
    again = cache.memories(store)
    assert before["p0"].statistics is after["p0"].statistics
    assert before["p1"].statistics is not after["p1"].statistics
    assert after["p2"].statistics is again["p2"].statistics is before["p2"].statistics


def test_the_router_goes_on_from_the_one_before(
    tiny: TinyModel, store: ProfileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    class Watched(DiscriminantRouter):
        def __init__(self, *arguments: object, **more: object) -> None:
            given.append(arguments[-1])
            super().__init__(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(tui.engine.bank_cache, "DiscriminantRouter", Watched)
    cache = BankCache(tiny.as_loaded())
    first = cache.bank(store, "discriminant", 0.0)
    tiny.add(store, "p1", seed=9)
    cache.bank(store, "discriminant", 0.0)
    assert given == [None, first.router]


def test_a_change_reads_the_rows_of_what_changed_alone(
    tiny: TinyModel, store: ProfileStore, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = RouterRows.read
    monkeypatch.setattr(
        RouterRows, "read", lambda self, digest, some: asked.append(len(some)) or real(self, digest, some)
    )
    BankCache(tiny.as_loaded()).bank(store, "discriminant", 0.0)
    cache = BankCache(tiny.as_loaded())
    cache.bank(store, "discriminant", 0.0)
    assert asked == [0, 3] and len(reads) == 3, "files at first, rows at the next start"
    tiny.add(store, "p1", seed=9)
    cache.bank(store, "discriminant", 0.0)
    store.procedures.rename("p2", "renamed")
    bank = cache.bank(store, "discriminant", 0.0)
    assert asked == [0, 3, 0, 0] and reads[3:] == ["The memory of 'p1'"]
    assert same(bank.memories["p1"], tiny.memory("p1", seed=9))
    assert same(bank.memories["renamed"], tiny.memory("p2", seed=2))
    # Another start knows all of them by their rows.
    again = BankCache(tiny.as_loaded()).bank(store, "discriminant", 0.0)
    assert asked[4:] == [3] and same(again.memories["p1"], bank.memories["p1"])
