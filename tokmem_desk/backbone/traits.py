"""What was found out about a model when it was first loaded: which form of memory it gets, and what that rests on.

Finding it takes a few passes over some tens of tokens (``load_check``). The result is kept with what else is known of
the model's files. It holds as long as the weights, the configuration, the libraries and the device's kind are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tokmem_desk.models.record import traits_file

if TYPE_CHECKING:
    from tokmem_desk.backbone.fingerprint import WeightsIdentity

_VERSION = 1

MemoryForm = Literal["layers", "rows"]


@dataclass(frozen=True, slots=True)
class Traits:
    """How one model is run and what its memories consist of.

    Attributes:
        form: ``layers``, with keys and values in every layer, or ``rows``, input embeddings alone.
        reruns: a query is kept as its ids, and everything runs from the beginning.
        reason: why it is no better than that, in a clause for people; empty where nothing better exists.
        carries_state: some layers are recurrent, and their states are kept.
        pads_left: queries of different lengths run together there.
        steps_with_cache: one answer goes on from the model's own cache, token by token, where ``reruns``.
        rotations: how keys turn, as ``Rotations.to_json`` gives it.
        sizes: by layer, key-value heads, key size and value size.
    """

    form: MemoryForm
    reruns: bool = False
    reason: str = ""
    carries_state: bool = False
    pads_left: bool = True
    steps_with_cache: bool = True
    rotations: Mapping[str, Any] = field(default_factory=lambda: {"calls": [], "kinds": {}})
    sizes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def strength(self) -> str:
        """One line for people: what memories of this model are, and why."""
        if self.reruns:
            text = "rows alone, each message run from its beginning at every step"
        elif self.form == "rows":
            text = "rows alone"
        elif self.carries_state:
            text = "keys, values and a row; recurrent layers keep their state"
        else:
            text = "keys and values in every layer, and a row"
        return f"{text}: {self.reason}" if self.reason else text


def traits_key(weights: WeightsIdentity, config: Any, device: str, dtype: str) -> str:
    """SHA-256 over all that kept traits depend on."""
    import torch
    import transformers

    parts = (
        _VERSION, transformers.__version__, torch.__version__, weights.weights_sha256, weights.embedding_sha256,
        config.to_dict(), device.split(":")[0], dtype,
    )  # fmt: skip
    return _sha256(parts)


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def read_traits(folder: Path, key: str | None = None) -> Traits | None:
    """What was found for the same model before; None where there is nothing that holds.

    Args:
        key: ``traits_key`` of the model as it is loaded now; None to tell what was found last.
    """
    try:
        fields = json.loads(traits_file(folder).read_text(encoding="utf-8"))
        if key is not None and fields["key"] != key:
            return None
        found = fields["traits"]
        if fields["sha256"] != _sha256(found):
            return None
        found["sizes"] = {int(layer): tuple(map(int, sizes)) for layer, sizes in found["sizes"].items()}
        traits = Traits(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    sound = traits.form in ("layers", "rows") and isinstance(traits.reason, str) and isinstance(traits.rotations, dict)
    return traits if sound else None


def keep_traits(folder: Path, key: str, traits: Traits) -> None:
    """Keep what was found; where that is not possible, it is found again at the next load."""
    file = traits_file(folder)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    if not file.parent.is_dir():  # no folder of converted models
        return
    try:
        # As it is read again: JSON has no tuples, and its names are texts.
        found = json.loads(json.dumps(asdict(traits)))
        document = {"key": key, "sha256": _sha256(found), "traits": found}
        temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
        temporary.replace(file)
    except (OSError, TypeError, ValueError):
        temporary.unlink(missing_ok=True)
