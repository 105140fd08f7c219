"""Files that come with the program for one model: their names, and that each is for the default model as it runs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from tokmem_desk.backbone.backbone import Backbone
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.models.catalogue import ADAPTED, DEFAULT_ID
from tokmem_desk.models.shipped import Kind, read_whole, shipped_file, shipped_name
from tokmem_desk.routing.earlier_space import EarlierSpace
from tokmem_desk.routing.features import RouterBasis
from tokmem_desk.routing.shipped_router import shipped_router_bytes


def test_names() -> None:
    assert shipped_name("prior", "Some/Model 1.5B" + ADAPTED) == "prior-some-model-1.5b-adapted.safetensors"
    assert shipped_name("adapter", DEFAULT_ID) == f"adapter-{DEFAULT_ID}.safetensors"
    fitted = Path(str(resources.files("tokmem_desk"))) / "fitted"
    assert Path(str(shipped_file("adapter", "x"))) == fitted / "adapter-x.safetensors"
    assert not shipped_file("adapter", "x").is_file()


@pytest.mark.real_model
@pytest.mark.parametrize("kind", ["prior", "adapter", "router"])
def test_the_default_model_has_one_of_each(real_backbone: Backbone, kind: Kind) -> None:
    metadata = read_metadata(shipped_file(kind, DEFAULT_ID).read_bytes())
    assert metadata["format"] == f"tokmem-{kind}"
    assert metadata["fingerprint"] == real_backbone.fingerprint.digest


def test_what_turns_memories_of_the_space_before_goes_to_the_one_that_ships() -> None:
    earlier = EarlierSpace.from_bytes(read_whole(shipped_file("earlier-router", DEFAULT_ID)), torch.device("cpu"))
    data = shipped_file("router", DEFAULT_ID).read_bytes()
    chat = load(data)["chat"].float()
    assert earlier.recipe != read_metadata(data)["digest"]
    turn = earlier.from_fit(earlier.digest)
    assert turn is not None
    turned = torch.nn.functional.normalize(earlier.chat @ turn, dim=1)
    cosines = (turned * chat).sum(dim=1)
    others = (turned @ chat.T).fill_diagonal_(-1).amax(dim=1)
    assert float(cosines.mean()) > 0.8 and float((cosines > others).float().mean()) > 0.99


@pytest.mark.real_model
def test_the_router_that_ships_is_of_the_texts_and_numbers_in_force(
    real_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes these makes it anew: ``python -m benchmarks.ship_router``."""
    data = shipped_router_bytes(real_backbone)
    assert data is not None
    basis = RouterBasis.from_bytes(data, real_backbone)
    assert basis.projection.dtype == torch.float32 and basis.taught
    assert basis.token_weights is not None and basis.token_weights.shape == (real_backbone.vocabulary_size,)
    monkeypatch.setattr(real_backbone, "token_weights", basis.token_weights)
    unlike = real_backbone.prefill(
        [real_backbone.format.query(text) for text in ("Remind me to call mum", "What is the capital of Norway?")],
        keep_states=False,
        feature_layers=basis.layers.pooled,
    ).pooled
    assert unlike is not None
    one, other = basis.project(unlike, real_backbone.hidden_size)
    assert float(one @ other) < 0.5
