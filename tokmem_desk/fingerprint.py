"""What makes two backbones the same for a memory.

A memory trained on one model is noise on another, so it carries the fingerprint of its backbone and is
refused elsewhere. The *digest* covers everything that changes the numbers (configuration, tokenizer,
layout of turns, embedding matrix, quantisation); ``revision`` and ``compute_dtype`` are recorded beside it,
and a difference there is only worth a warning.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokmem_desk.backbone import Backbone

_CONFIG_NOISE = frozenset(
    {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "quantization_config", "architectures", "use_cache"}
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


def take_fingerprint(backbone: Backbone, revision: str = "") -> Fingerprint:
    """Measure a loaded backbone."""
    import torch

    config = {k: v for k, v in backbone.config.to_dict().items() if k not in _CONFIG_NOISE}
    rows = backbone.input_rows.detach().to("cpu").contiguous()
    tokenizer = backbone.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    tokens = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    quantised = bool(getattr(backbone.model, "is_loaded_in_4bit", False))
    return Fingerprint(
        model_id=backbone.model_id,
        revision=revision,
        family=str(backbone.config.model_type),
        hidden_size=backbone.hidden_size,
        vocabulary_size=backbone.vocabulary_size,
        tied=backbone.tied,
        config_sha256=_sha256(json.dumps(config, sort_keys=True, default=str).encode()),
        tokenizer_sha256=_sha256(tokens.encode()),
        layout_sha256=backbone.format.digest(),
        embedding_sha256=_sha256(rows.view(torch.uint8).numpy().tobytes()),
        quantization="nf4-double" if quantised else str(backbone.dtype).removeprefix("torch."),
        compute_dtype=backbone.device.compute_dtype,
    )
