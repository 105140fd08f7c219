"""The files that come with the program are made of texts that teach, and turn what was measured before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import ship_router
from benchmarks.models import Loaded
from tests.benchmarks.conftest import WordRetriever
from tests.quick_fits import fit_quickly
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.routing.earlier_space import EarlierSpace, turned
from tokmem_desk.routing.features import FeatureLayers, RouterBasis, recipe_of


def test_a_taught_space_ships_with_what_turns_earlier_memories(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_quickly(monkeypatch.setattr)
    monkeypatch.setattr(ship_router, "load", lambda _: loaded)
    monkeypatch.setattr(ship_router, "shipped_file", lambda kind, _: tmp_path / kind)
    monkeypatch.setattr("benchmarks.methods.base.MiniLm", lambda *_: WordRetriever())
    texts, before = tmp_path / "texts.json", tmp_path / "before"
    texts.write_text(json.dumps(["an apple a day", ["eine Pflaume am Tag", ["a plum a day", "a plum daily"]]]))
    before.write_bytes(loaded.basis.to_bytes())
    ship_router.ship(None, texts, before)

    backbone = loaded.backbone
    basis = RouterBasis.from_bytes((tmp_path / "router").read_bytes(), backbone)
    assert basis.taught.endswith(f" {ship_router.WEIGHT}") and basis.recipe != loaded.basis.recipe
    assert basis.token_weights is not None and basis.token_weights.shape == (backbone.vocabulary_size,)
    assert float(basis.token_weights.min()) < 0.1 and float(basis.token_weights.max()) > 0.5
    earlier = EarlierSpace.from_bytes((tmp_path / "earlier-router").read_bytes(), torch.device("cpu"))
    assert (earlier.recipe, earlier.digest) == (loaded.basis.recipe, loaded.basis.digest)

    def vectors(space: RouterBasis) -> torch.Tensor:
        monkeypatch.setattr(backbone, "token_weights", space.token_weights)
        pooled = backbone.prefill(
            [backbone.format.query(text) for text in ("call mum", "ring Dad at noon", "call the doctor")],
            keep_states=False,
            feature_layers=space.layers.pooled,
        ).pooled
        assert pooled is not None
        return space.project(pooled, backbone.hidden_size)

    seen, here = vectors(loaded.basis), vectors(basis)
    turn = earlier.from_fit(loaded.basis.digest)
    assert turn is not None
    found = turned(RouterStatistics.of(seen, loaded.basis.digest), turn, basis.digest)
    assert float(torch.cosine_similarity(found.mean, here.mean(dim=0), dim=0)) > 0.7

    ship_router.ship(None, texts)
    again = RouterBasis.from_bytes((tmp_path / "router").read_bytes(), backbone)
    assert again.digest == basis.digest
    first = EarlierSpace.from_bytes((tmp_path / "earlier-router").read_bytes(), torch.device("cpu"))
    layers = FeatureLayers(basis.layers.means, basis.layers.lasts, final=True)
    assert first.recipe == recipe_of(layers, backbone.fingerprint.digest), "what version 0.1.0 fitted"
    assert len(first.chat) == len(basis.chat)
