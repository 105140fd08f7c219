"""What was measured in the space that the default model's router had before, as it is in today's.

Procedures are measured anew from their pairs where another space is found. One that came with a bank may have no pairs
here: its statistics are turned by a matrix that was fitted when today's space was, and that ships beside it. Fits of
one recipe differ by a rotation, which the shipped chat messages tell (``turning``), so a fit that some computer made
for itself is turned into the earlier shipped one first. ``benchmarks.ship_router`` makes the file.

Letters: c shipped chat messages, k dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk.errors import BadInputError, DamagedError, IncompatibleError, first_line
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.memory.router_statistics import RouterStatistics, on_grid
from tokmem_desk.models.shipped import read_whole, shipped_file

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.routing.features import RouterBasis

_SAME_SPACE = 1e-3
_TURNED_SPACE = 0.02
"""Largest difference of an anchor's component up to which spaces are the same, and, after turning, one space."""


def turning(there: Tensor, here: Tensor) -> Tensor | None:
    """[k x k] orthogonal matrix from one fit of a recipe to another; None where they are the same.

    Args:
        there, here: [c x k] the shipped chat messages as the two fits see them.

    Raises:
        IncompatibleError: no turning makes them fall together: the messages look different there.
    """
    if float((there - here).abs().max()) < _SAME_SPACE:
        return None
    left, _, right = torch.linalg.svd(there.T.double() @ here.double())
    turn = (left @ right).float()
    off = float((there @ turn - here).abs().max())
    if not off < _TURNED_SPACE:
        raise IncompatibleError(
            f"Messages look different to the router here than where the file was made (by {off:.2f}).",
            next_step="Import it with --retrain if its pairs are inside; else train such a procedure yourself.",
        )
    return turn


def turned(statistics: RouterStatistics, turn: Tensor, digest: str) -> RouterStatistics:
    """What a procedure's statistics are in another space.

    Args:
        turn: [k x k] from the space of the statistics.
        digest: of the other space's fit.
    """
    turn = turn.to(statistics.mean.device)
    mean, rows = statistics.mean @ turn, on_grid(statistics.low_rank_scatter @ turn)
    mean = mean / max(1.0, float(mean.norm()))
    # Inputs are unit vectors, so their mean tells how much they are scattered, in whatever space.
    scatter = statistics.count * max(0.0, 1.0 - float(mean.pow(2).sum()))
    return RouterStatistics(mean, statistics.count, rows, scatter, digest)


@dataclass(frozen=True)
class EarlierSpace:
    """The space before today's.

    Attributes:
        recipe: its recipe, which banks say; see ``RouterBasis.recipe``.
        digest: of the fit of it that shipped.
        chat: [c x k] float32, the shipped chat messages as that fit saw them.
        turn: [k x k] float32, from that fit to today's space.
        fits: other fits of it that this computer has had: their ``chat`` by their digest.
    """

    recipe: str
    digest: str
    chat: Tensor
    turn: Tensor
    fits: Mapping[str, Tensor] = field(default_factory=dict)

    def from_fit(self, digest: str) -> Tensor | None:
        """[k x k] to today's space from the fit that statistics say they are of; None where it is not known here.

        Memories from before files said a fit say the recipe: then it is the one fit that this computer had.
        """
        if digest == self.recipe:
            return self.from_anchors(next(iter(self.fits.values()), None))
        if digest == self.digest:
            return self.turn
        return self.from_anchors(self.fits[digest]) if digest in self.fits else None

    def from_anchors(self, anchors: Tensor | None) -> Tensor | None:
        """[k x k] to today's space from the fit that saw the shipped chat messages so; None where that tells nothing.

        Args:
            anchors: [c x k] or flat, or None, which is taken for the fit that shipped.
        """
        if anchors is None or not anchors.numel():
            return self.turn
        if anchors.numel() != self.chat.numel():
            return None
        try:
            first = turning(anchors.view_as(self.chat).to(self.chat.device), self.chat)
        except IncompatibleError:
            return None
        return self.turn if first is None else first @ self.turn

    def with_fits(self, fits: Mapping[str, Tensor]) -> EarlierSpace:
        """The same that knows other fits too."""
        return EarlierSpace(self.recipe, self.digest, self.chat, self.turn, {**self.fits, **fits})

    def to_bytes(self) -> bytes:
        """The file that ships, in float16."""
        tensors = {"chat": self.chat.half().contiguous(), "turn": self.turn.half().contiguous()}
        return save(tensors, {"format": "tokmem-earlier-router", "recipe": self.recipe, "digest": self.digest})

    @classmethod
    def from_bytes(cls, data: bytes, device: torch.device) -> EarlierSpace:
        """Read the file that ships.

        Raises:
            BadInputError: it is damaged.
        """
        try:
            tensors, metadata = load(data), read_metadata(data)
            chat, turn = (tensors[name].to(device, torch.float32) for name in ("chat", "turn"))
            return cls(metadata["recipe"], metadata["digest"], chat, turn)
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise BadInputError(f"What turns older memories is damaged ({first_line(error)}).") from error


def earlier_space(backbone: Backbone, fit: Path) -> EarlierSpace | None:
    """The earlier space of this model; None where it had none, or what ships of it is damaged.

    Args:
        fit: the file of ``fit_to_bytes``, where this computer had a fit of its own.
    """
    try:
        shipped = EarlierSpace.from_bytes(
            read_whole(shipped_file("earlier-router", backbone.model_id)), backbone.torch_device
        )
    except (OSError, BadInputError, DamagedError):
        return None
    try:
        return shipped.with_fits(fit_from_bytes(fit.read_bytes(), backbone.torch_device))
    except (OSError, BadInputError):
        return shipped


def fit_to_bytes(basis: RouterBasis) -> bytes:
    """What has to be kept of a fit that is no longer used."""
    chat = basis.chat.detach().cpu().float().contiguous()
    return save({"chat": chat}, {"format": "tokmem-earlier-fit", "digest": basis.digest, "recipe": basis.recipe})


def fit_from_bytes(data: bytes, device: torch.device) -> dict[str, Tensor]:
    """``EarlierSpace.fits`` of such a file.

    Raises:
        BadInputError: it is damaged.
    """
    try:
        chat, metadata = load(data)["chat"], read_metadata(data)
        return {metadata["digest"]: chat.to(device, torch.float32)}
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise BadInputError(f"What is kept of the router's earlier space is damaged ({first_line(error)}).") from error
