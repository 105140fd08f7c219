"""A tiny backbone with its router basis, a retriever of words, and small data folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.methods import Context
from benchmarks.minilm import Vectors
from benchmarks.models import Loaded
from tests.quick_fits import fit_quickly

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

SETTINGS: dict[str, dict[str, Any]] = {
    "rag": {"demonstrations": 2},
    "lora": {"rank": 2, "alpha": 4, "learning_rate": 0.003, "epochs": 1, "batch_size": 2},
    "lora-replay": {"rank": 2, "alpha": 4, "learning_rate": 0.003, "epochs": 1, "batch_size": 2, "replay": 1.0},
    "tokmem-tuned": {"learning_rate": 0.02},
}


class WordRetriever:
    """Texts with equal words lie together."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.full((len(texts), 64), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, sum(word.encode()) % 64] += 1
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


@pytest.fixture(scope="session")
def loaded(tiny_backbone: Callable[..., Backbone], tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    from tokmem_desk.references.finder import ReferenceFinder
    from tokmem_desk.references.fitting import fit_reference_finder
    from tokmem_desk.routing.features import RouterBasis, fit_basis
    from tokmem_desk.routing.segment_tagger import SegmentTagger, fit_segment_tagger

    backbone = tiny_backbone("llama")
    with pytest.MonkeyPatch.context() as patch:
        fit_quickly(patch.setattr)
        basis = next(done for done in fit_basis(backbone) if isinstance(done, RouterBasis))
        segment_tagger = next(done for done in fit_segment_tagger(backbone) if isinstance(done, SegmentTagger))
        finder = next(done for done in fit_reference_finder(backbone) if isinstance(done, ReferenceFinder))
    backbone.token_space, backbone.token_weights = segment_tagger.space, basis.token_weights
    return Loaded(backbone, basis, segment_tagger, finder, None, {"id": "tiny"}, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def context(loaded: Loaded) -> Context:
    return Context(loaded, {name: {**values} for name, values in SETTINGS.items()}, given_embedder=WordRetriever())


def procedure_document(name: str, word: str, train: int = 4, test: int = 2) -> dict[str, Any]:
    pairs = [{"input": f"{word} number {i}", "response": f"{word.upper()} {i}"} for i in range(train + test)]
    return {
        "name": name,
        "description": f"Write {word} in capitals.",
        "pattern": rf"{word.upper()} \d+",
        "train": pairs[:train],
        "test": pairs[train:],
    }


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, word in (("apples", "apple"), ("pears", "pear"), ("plums", "plum")):
        (folder / f"{name}.json").write_text(json.dumps(procedure_document(name, word)))
    (folder / "chat.json").write_text(json.dumps({"train": ["hello"], "test": ["how are you?", "good night"]}))
    return folder
