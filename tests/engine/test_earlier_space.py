"""A computer whose router has another space than the one that ships now: what was measured in it stays of use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from profiles.files.paths import AppPaths
from profiles.store.store import ProfileStore
from tests.tiny_loaded import K, TinyModel, unit
from tokmem_desk.errors import IncompatibleError
from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.routing import earlier_space, shipped_router
from tokmem_desk.routing.earlier_space import EarlierSpace
from tui.engine import probing
from tui.engine.bank_cache import BankCache
from tui.engine.models import ROUTER_FILE, LoadedModel, _calibrated_anew


def turn_of(seed: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(K, K, generator=torch.Generator().manual_seed(seed))).Q


@pytest.fixture
def newer(tiny: TinyModel) -> TinyModel:
    """The same model once another space ships for it, which knows the one before."""
    turn = turn_of(1)
    before = tiny.basis
    basis = replace(before, projection=before.projection @ turn, chat=before.chat @ turn, taught="texts")
    kept = EarlierSpace(before.recipe, before.digest, before.chat, turn)
    return TinyModel(tiny.backbone, basis, earlier_space=kept)


def test_a_stored_space_gives_way_to_the_one_that_ships(
    tiny: TinyModel, newer: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped, kept = newer.basis, newer.earlier_space
    assert kept is not None
    monkeypatch.setattr(earlier_space, "read_whole", lambda _: replace(kept, digest="the shipped fit").to_bytes())
    monkeypatch.setattr(shipped_router, "shipped_recipe", lambda _: shipped.recipe)
    ships = [b"damaged"]
    monkeypatch.setattr(shipped_router, "shipped_router_bytes", lambda _: ships[0])
    paths = AppPaths.resolve(tmp_path)
    stored = paths.fitted / f"{tiny.backbone.fingerprint.digest[:16]}-{ROUTER_FILE}"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(tiny.basis.to_bytes())
    said: list[str] = []

    def load() -> LoadedModel:
        model = LoadedModel(paths, "tiny", "cpu", offline=True)
        model._backbone, model._folder = tiny.backbone, tmp_path / "model"
        read, fit = _calibrated_anew(None, model._is_surpassed)
        steps = model._fitted(
            ROUTER_FILE,
            read,
            fit,
            "Measuring",
            lambda _phase, _share, text: said.append(text),
            lambda _: shipped.to_bytes(),
        )
        try:
            next(steps)
        except StopIteration as ended:
            model._basis = ended.value
        return model

    assert load().basis.digest == tiny.basis.digest and not said, "what ships cannot be used: the stored one goes on"
    ships[0] = shipped.to_bytes()
    model = load()
    assert model.basis.digest == shipped.digest and "A better one comes with the program now" in said[0]
    assert model.earlier_space is not None
    turn = model.earlier_space.from_fit(tiny.basis.digest)
    assert turn is not None and torch.allclose(turn, kept.turn, atol=1e-3), "the fit that was here is known"
    said.clear()
    assert load().basis.digest == shipped.digest and said == [], "once"


def test_the_recipe_of_what_ships_is_known_from_its_header(
    newer: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "router"
    monkeypatch.setattr(shipped_router, "shipped_file", lambda *_: file)
    assert shipped_router.shipped_recipe(newer.backbone) is None
    file.write_bytes(newer.basis.to_bytes())
    assert shipped_router.shipped_recipe(newer.backbone) == newer.basis.recipe
    file.write_bytes(replace(newer.basis, fingerprint="another").to_bytes())
    assert shipped_router.shipped_recipe(newer.backbone) is None


def test_memories_of_the_earlier_space_are_measured_or_turned(
    tiny: TinyModel, newer: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProfileStore(tmp_path / "profile") as store:
        for name in ("mine", "bare"):
            store.procedures.add(Procedure(name, (ExamplePair("in", "out"),)))
            tiny.add(store, name, seed=3)
        [bare] = store.memories.list("bare")
        pairs = store.memories.pairs
        monkeypatch.setattr(store.memories, "pairs", lambda memory: [] if memory == bare.id else pairs(memory))
        bank_cache = BankCache(newer.as_loaded())
        found = bank_cache.memories(store)
        assert bank_cache.problems(store) == []
        old, turn = tiny.statistics(3), turn_of(1)
        assert found["mine"].statistics is not None and found["bare"].statistics is not None
        assert found["mine"].statistics.count == 1, "measured anew from its pairs"
        assert {memory.statistics.digest for memory in found.values() if memory.statistics} == {newer.basis.digest}
        assert torch.allclose(found["bare"].statistics.mean, old.mean @ turn, atol=1e-5)
        assert found["bare"].statistics.count == old.count
        newer.earlier_space = None
        bank_cache = BankCache(newer.as_loaded())
        store.router_rows.write([])
        with pytest.raises(IncompatibleError, match="imported or trained again"):
            bank_cache.measured(store, bare, tiny.memory("bare", 3))


def test_a_bank_of_the_earlier_space_is_turned(tiny: TinyModel, newer: TinyModel) -> None:
    model, away = newer.as_loaded(), turn_of(2)
    memory = tiny.memory("theirs", seed=5)
    assert memory.statistics is not None and newer.earlier_space is not None
    # The tiny model's few messages do not tell all angles.
    chat = unit(torch.randn(60, K, generator=torch.Generator().manual_seed(4)))
    newer.earlier_space = replace(newer.earlier_space, chat=chat)
    theirs = replace(
        memory.statistics,
        digest=tiny.basis.recipe,
        mean=memory.statistics.mean @ away,
        low_rank_scatter=memory.statistics.low_rank_scatter @ away,
    )
    anchors = (chat @ away).flatten()
    turn = probing._turn(tiny.basis.recipe, anchors, model)
    here = probing._here(replace(memory, statistics=theirs), turn, None, model, cast("Any", None))
    assert here.statistics is not None and here.statistics.digest == newer.basis.digest
    assert torch.allclose(here.statistics.mean, memory.statistics.mean @ turn_of(1), atol=1e-3)
    assert probing._turn("unknown", anchors, model) is None
    with pytest.raises(IncompatibleError, match="another version of the router"):
        probing._here(replace(memory, statistics=replace(theirs, digest="unknown")), None, None, model, cast("Any", 0))
