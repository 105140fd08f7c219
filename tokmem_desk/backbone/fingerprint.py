"""What makes two backbones the same for a memory.

A memory trained on one model is noise on another, so it carries the fingerprint of its backbone and is
refused elsewhere. The *digest* covers everything that changes the numbers (configuration, tokenizer,
layout of turns, weights, quantisation); ``revision`` and ``compute_dtype`` are recorded beside it, and a
difference there is only worth a warning. Weights are told apart by the publisher's files, not by what a device
made of them, so that a memory moves between a laptop and a graphics card.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


_CONFIG_NOISE = frozenset(
    {
        "_name_or_path",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "quantization_config",
        "architectures",
        "use_cache",
    }
)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Identity of a backbone; all hashes are SHA-256 in hex."""

    model_id: str
    revision: str
    family: str
    hidden_size: int
    vocabulary_size: int
    tied: bool
    config_sha256: str
    tokenizer_sha256: str
    layout_sha256: str
    embedding_sha256: str
    weights_sha256: str
    quantization: str
    compute_dtype: str

    @property
    def digest(self) -> str:
        """SHA-256 over all that must be equal for a memory to mean the same."""
        fields = asdict(self)
        for soft in ("model_id", "revision", "compute_dtype"):
            del fields[soft]
        return _sha256(json.dumps(fields, sort_keys=True).encode())

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "digest": self.digest}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class WeightsIdentity:
    """Which weights a model has: ``embedding_sha256`` as saved, ``weights_sha256`` of the publisher's files."""

    revision: str
    embedding_sha256: str
    weights_sha256: str


def identify_weights(model: Any, revision: str = "", weights_sha256: str = "") -> WeightsIdentity:
    """Measure a model's weights, before they are converted to another dtype.

    Args:
        model: a transformers model.
        weights_sha256: of the publisher's files where known; else every parameter is hashed.
    """
    if not weights_sha256:
        digest = hashlib.sha256()
        for name, parameter in model.named_parameters():
            digest.update(name.encode())
            digest.update(_bytes_of(parameter))
        weights_sha256 = digest.hexdigest()
    return WeightsIdentity(revision, _sha256(_bytes_of(model.get_input_embeddings().weight)), weights_sha256)


def _bytes_of(tensor: torch.Tensor) -> bytes:
    import torch

    return bytes(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())


def take_fingerprint(
    model: Any, tokenizer: Any, weights: WeightsIdentity, *, model_id: str, layout_sha256: str, compute_dtype: str
) -> Fingerprint:
    """Measure a loaded model.

    Args:
        model: of transformers, with its weights.
        tokenizer: the model's own.
        weights: which weights these are.
        model_id: the id under which the model was asked for.
        layout_sha256: digest of the layout of messages, ``ChatFormat.digest``.
        compute_dtype: name of the number type that passes run in.
    """
    decoder = model.config.get_text_config(decoder=True)
    config = {k: v for k, v in decoder.to_dict().items() if k not in _CONFIG_NOISE}
    read, written = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    backend = getattr(tokenizer, "backend_tokenizer", None)
    tokens = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return Fingerprint(
        model_id=model_id,
        revision=weights.revision,
        family=str(decoder.model_type),
        hidden_size=read.shape[1],
        vocabulary_size=written.shape[0],
        tied=written.data_ptr() == read.data_ptr(),
        config_sha256=_sha256(json.dumps(config, sort_keys=True, default=str).encode()),
        tokenizer_sha256=_sha256(tokens.encode()),
        layout_sha256=layout_sha256,
        embedding_sha256=weights.embedding_sha256,
        weights_sha256=weights.weights_sha256,
        quantization=_quantisation(model.config),
        compute_dtype=compute_dtype,
    )


def _quantisation(config: Any) -> str:
    """``nf4-double`` for our own conversions; ``none`` for a model that is not quantised."""
    quantisation = getattr(config, "quantization_config", None)
    if quantisation is None:
        return "none"
    fields = quantisation if isinstance(quantisation, dict) else quantisation.to_dict()
    if not fields.get("load_in_4bit"):
        return str(fields.get("quant_method", "unknown"))
    return f"{fields['bnb_4bit_quant_type']}-{'double' if fields['bnb_4bit_use_double_quant'] else 'single'}"


def digest_of(recipe: str, *tensors: torch.Tensor) -> str:
    """SHA-256 over how something was fitted and the float32 numbers that came out.

    A fitted space is determined up to signs and rotations, which other thread counts, libraries and cards choose
    otherwise: what was measured in one fit means nothing in another, though both follow the same recipe.
    """
    found = hashlib.sha256(recipe.encode())
    for tensor in tensors:
        found.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
