"""Find words that refer to something said before, and values that they may mean, by small networks over tokens.

One marks the tokens of a message alone. The others read what was said before it, as one text with the message, and
find values there, with their kinds. All are fitted once per backbone on shipped texts, over a token space of the lowest
fifth of its layers: to read so costs little.

Letters: t tokens, k dimensions of the token space.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk.backbone.token_space import TokenNetwork, TokenSpace
from tokmem_desk.background.referring import Mark, MarkKind
from tokmem_desk.errors import BadInputError, first_line
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.models import shipped
from tokmem_desk.references.candidates import Candidate, Reading, whole_words
from tokmem_desk.references.dossier import REACH, Dossier
from tokmem_desk.references.networks import ADVERB, MARKS, NOUN, networks
from tokmem_desk.references.recipe import recipe

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_VERSION = 1
_SPACE = ("centre", "std", "projection")
"""Tensors of the token space."""
_NETWORKS = ("marker", "values", "mains")
_PLAIN: tuple[MarkKind, ...] = ("same", "new", "counted", "last")
"""Marks from 1 on."""


@dataclass(frozen=True, slots=True)
class Found:
    """Words of a message that may refer to something.

    Attributes:
        probability: that they do, 0 to 1.
        kinds: for words that stand for a value, how probable each of ``KINDS`` is; else empty.
    """

    mark: Mark
    probability: float
    kinds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ReferenceFinder:
    """The networks of one backbone, over their token space."""

    space: TokenSpace
    marker: TokenNetwork
    values: TokenNetwork
    mains: TokenNetwork

    @torch.no_grad()
    def marks(self, backbone: Backbone, message: str) -> list[Found]:
        """Words of a message that may refer to something, in their order."""
        message = message.strip()
        places = backbone.format.places(message)
        if not places or len(message) > REACH:
            return []
        rows = torch.softmax(self.marker(self._tokens(backbone, message)[None])[0], dim=-1)
        return read_marks(message, places, rows.cpu())

    @torch.no_grad()
    def candidates(
        self, backbone: Backbone, dossier: Dossier, new: Sequence[Mark]
    ) -> tuple[list[Candidate], list[Candidate]]:
        """Values that were said, in their order, and the new values of the message. Runs the backbone once."""
        tokens = self._tokens(backbone, dossier.text)
        places = backbone.format.places(dossier.text)
        rows = torch.softmax(self.values(tokens[None])[0], dim=-1).cpu()
        parts = torch.softmax(self.mains(tokens[None])[0], dim=-1).cpu()
        reading = Reading(dossier, places, tokens.cpu(), rows, parts)
        added = [reading.candidate(dossier.start + mark.start, dossier.start + mark.end) for mark in new]
        return reading.values(), added

    def _tokens(self, backbone: Backbone, text: str) -> Tensor:
        """[t x k] tokens of a text in ``space``."""
        query = backbone.format.query(text)
        return backbone.prefill([query], keep_states=False, token_space=self.space, tokens_alone=True).tokens[0]

    def to_bytes(self, dtype: torch.dtype = torch.float32) -> bytes:
        """The finder as a file; half precision is enough to ship it."""
        tensors = {name: getattr(self.space, name) for name in _SPACE}
        for name in _NETWORKS:
            tensors |= {f"{name}.{key}": tensor for key, tensor in getattr(self, name).state_dict().items()}
        metadata = {
            "format": "tokmem-references",
            "version": str(_VERSION),
            "layers": json.dumps(self.space.layers),
            "fingerprint": self.space.fingerprint,
            "recipe": recipe(),
        }
        return save({name: t.detach().cpu().to(dtype).contiguous() for name, t in tensors.items()}, metadata)

    @classmethod
    def from_bytes(cls, data: bytes, backbone: Backbone) -> ReferenceFinder:
        """Read a finder back.

        Raises:
            BadInputError: damaged, of another version or another backbone; fit a new one.
        """
        try:
            metadata = read_metadata(data)
            tensors = {name: tensor.to(backbone.torch_device, torch.float32) for name, tensor in load(data).items()}
            layers = tuple(int(layer) for layer in json.loads(metadata["layers"]))
            centre, std, projection = (tensors[name] for name in _SPACE)
            space = TokenSpace(layers, centre, std, projection, metadata["fingerprint"])
            made = networks(space.projection.shape[1])
            for name, network in zip(_NETWORKS, made, strict=True):
                network.to(backbone.torch_device).load_state_dict(
                    {
                        key.removeprefix(f"{name}."): tensor
                        for key, tensor in tensors.items()
                        if key.startswith(f"{name}.")
                    }
                )
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, IndexError) as error:
            raise BadInputError(f"The stored reference finder is damaged ({first_line(error)}).") from error
        if (space.fingerprint, metadata.get("recipe")) != (backbone.fingerprint.digest, recipe()):
            raise BadInputError("The stored reference finder belongs to another model or version.")
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise BadInputError("The stored reference finder holds values that are not finite.")
        for network in made:
            network.requires_grad_(False).eval()
        return cls(space, *made)


def shipped_reference_finder(backbone: Backbone) -> ReferenceFinder | None:
    """The finder of the default backbone, which comes with the program; None for any other."""
    try:
        return ReferenceFinder.from_bytes(shipped.shipped_bytes("references.safetensors"), backbone)
    except BadInputError:
        return None


def read_marks(message: str, places: Sequence[tuple[int, int]], rows: Tensor) -> list[Found]:
    """Runs of tokens with the same sort of mark as words of the message.

    Args:
        rows: [t x marks] probabilities.
    """
    # Sorts: none, the plain marks, a value alone, a value with the words around it.
    sums = torch.cat(
        [rows[:, :NOUN], rows[:, NOUN:ADVERB].sum(1, keepdim=True), rows[:, ADVERB:MARKS].sum(1, keepdim=True)], dim=1
    )
    best = sums.argmax(dim=-1).tolist()
    found: list[Found] = []
    at = 0
    while at < len(best):
        sort, after = best[at], at
        while after < len(best) and best[after] == sort:
            after += 1
        start, end = whole_words(message, places[at][0], places[after - 1][1])
        if sort and end > start:
            probability = float(sums[at:after, sort].mean())
            if sort < NOUN:
                found.append(Found(Mark(start, end, _PLAIN[sort - 1]), probability))
            else:
                of = rows[at:after, NOUN:ADVERB] + rows[at:after, ADVERB:MARKS]
                kinds = of.mean(0) / of.mean(0).sum().clamp(min=1e-6)
                mark = Mark(start, end, "value", adverb=sort > NOUN)
                found.append(Found(mark, probability, tuple(kinds.tolist())))
        at = after
    return found
