"""Where memories start: what auxiliary procedures have in common, learned once per backbone.

Two dozen pairs say little about how values are found in a message and copied exactly, and every procedure needs
that. A prior holds it: an initial KV adapter, and a shift of the initial row, keys and values. Training starts there,
and its decay pulls back there, so what a few pairs do not say stays as the prior has it (in the language of
hierarchical models, a Gaussian prior with a learned mean). How one is learned is in ``trainer.prior.training``; that of
the default backbone ships with the program. No user's pair takes part.

To make the shipped one anew: ``tokmem-desk model prepare default``, then copy ``prior.safetensors`` from the model's
folder (``tokmem-desk model info default``) to ``tokmem_desk/fitted/`` under the name that
``tokmem_desk.models.shipped.shipped_name`` gives for its id.

Letters: l layers of a group, k key-value heads, m memory positions, e head size, d hidden size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional as F

from tokmem_desk.errors import BadInputError
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.memory.kv_adapter import KVAdapter
from tokmem_desk.models.shipped import read_whole, shipped_file

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_FORMAT = "tokmem-prior"
_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Prior:
    """What every memory of one backbone starts from.

    Attributes:
        row: [d] float32, added to initial rows, in units of their root mean square.
        keys: one [l x k x m x e] float32 per layer group, added to initial keys, in units of the root mean square of
            their layer.
        values: as ``keys``.
        kv_adapter: the initial KV adapter, as it is.
        fingerprint: of the backbone.
        digest: identity of this prior; stands in the settings of every memory that started from it.
    """

    row: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    kv_adapter: KVAdapter
    fingerprint: str
    digest: str

    def shifts(self, positions: int) -> tuple[list[Tensor], list[Tensor]]:
        """``keys`` and ``values`` for a memory of m positions, each [l x k x m x e] float32 per layer group.

        The last ones of the prior; where a memory has more, zeros stand in front.
        """
        return [_last(k, positions) for k in self.keys], [_last(v, positions) for v in self.values]

    @classmethod
    def from_bytes(cls, data: bytes, backbone: Backbone) -> Prior:
        """Read a prior.

        Raises:
            BadInputError: damaged, of another version or another backbone.
        """
        try:
            metadata = read_metadata(data)
            tensors = {name: t.to(backbone.torch_device, torch.float32) for name, t in load(data).items()}
            if (metadata.get("format"), metadata.get("version")) != (_FORMAT, _VERSION):
                raise ValueError("another format")
            if metadata["fingerprint"] != backbone.fingerprint.digest:
                raise BadInputError("The stored prior belongs to another model.")
            kv_adapter = KVAdapter.rebuild(tensors["lens"], backbone.key_shapes)
            prior = cls(
                tensors["row"],
                tuple(tensors[f"keys.{g}"] for g in range(len(backbone.key_shapes))),
                tuple(tensors[f"values.{g}"] for g in range(len(backbone.key_shapes))),
                kv_adapter,
                metadata["fingerprint"],
                hashlib.sha256(data).hexdigest()[:16],
            )
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise BadInputError(f"The stored prior is damaged ({error}).") from error
        if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
            raise BadInputError("The stored prior holds values that are not finite.")
        return prior


def prior_to_bytes(
    backbone: Backbone, row: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], kv_adapter: KVAdapter
) -> bytes:
    """A prior of ``backbone`` as a file; half precision is enough for where something starts.

    Args:
        row: [d], see ``Prior``; so are the others.
        keys: one [l x k x m x e] per layer group.
        values: as ``keys``.
        kv_adapter: where that of a memory starts.
    """
    tensors = {"row": row, "lens": kv_adapter.numbers()}
    tensors |= {f"keys.{g}": k for g, k in enumerate(keys)} | {f"values.{g}": v for g, v in enumerate(values)}
    metadata = {"format": _FORMAT, "version": _VERSION, "fingerprint": backbone.fingerprint.digest}
    halves = {name: t.detach().cpu().to(torch.float16).contiguous() for name, t in tensors.items()}
    return _in_order(save(halves, metadata))


def shipped_prior(backbone: Backbone) -> Prior | None:
    """The prior that comes with the program for this backbone, or None."""
    try:
        return Prior.from_bytes(read_whole(shipped_file("prior", backbone.model_id)), backbone)
    except (FileNotFoundError, BadInputError):
        return None


def _in_order(data: bytes) -> bytes:
    """The same file with its metadata sorted: the library shuffles them, and one prior shall have one digest."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def _last(shift: Tensor, positions: int) -> Tensor:
    have = shift.shape[-2]
    return shift[..., have - positions :, :] if have >= positions else F.pad(shift, (0, 0, positions - have, 0))
