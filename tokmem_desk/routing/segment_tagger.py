"""Mark where one request ends and the next begins, by a small network over the tokens of a message.

It marks every token as content, as part of a joint between two requests (", and after that"), or as the
beginning of a further request. It reads the same forward pass as the router. Fitted once per backbone on
messages composed of texts that ship with the program (``background.joined``), so it depends on no user and
needs no composed examples of theirs. What its marks mean for an answer is decided in ``segments``.

Letters: t tokens, f hidden states of a token over the layers used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tokmem_desk.backbone.token_space import TokenNetwork, TokenSpace, fit_space, train_network
from tokmem_desk.background.joined import Joined, joined_messages
from tokmem_desk.errors import BadInputError, first_line
from tokmem_desk.memory.file import read_metadata
from tokmem_desk.models import shipped
from tokmem_desk.routing.features import FeatureLayers
from tokmem_desk.routing.fit_parts import FitParts

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

CONTENT, JOINT, BEGIN = 0, 1, 2
"""The three marks."""

_MESSAGES = 1400
_AT_ONCE = 24
_EPOCHS = 12
_VERSION = 1
_SPACE = {"centre": "centre", "std": "spread", "projection": "projection"}
"""Tensors of the token space, with their names in the tagger's file."""
_NETWORK = "network."


@dataclass(frozen=True, slots=True)
class SegmentTagger:
    """The fitted network of one backbone, over its token space."""

    space: TokenSpace
    network: TokenNetwork

    @torch.no_grad()
    def marks(self, tokens: Tensor) -> Tensor:
        """[t x 3] probabilities of content, joint and beginning for each token of a message.

        Args:
            tokens: [t x k] float32 tokens of the message in ``space``, as ``Backbone.prefill`` gives them.
        """
        return torch.softmax(self.network(tokens[None])[0], dim=-1)

    def to_bytes(self, dtype: torch.dtype = torch.float32) -> bytes:
        """The segment tagger as a file; half precision is enough to ship it."""
        tensors = {stored: getattr(self.space, name) for name, stored in _SPACE.items()}
        tensors |= {f"{_NETWORK}{name}": tensor for name, tensor in self.network.state_dict().items()}
        metadata = {
            "format": "tokmem-splitter",
            "version": str(_VERSION),
            "layers": json.dumps(self.space.layers),
            "fingerprint": self.space.fingerprint,
            "recipe": _recipe(),
        }
        return save({name: t.detach().cpu().to(dtype).contiguous() for name, t in tensors.items()}, metadata)

    @classmethod
    def from_bytes(cls, data: bytes, backbone: Backbone) -> SegmentTagger:
        """Read a segment tagger back.

        Raises:
            BadInputError: damaged, of another version or another backbone; fit a new one.
        """
        try:
            metadata = read_metadata(data)
            tensors = {k: v.to(backbone.torch_device, torch.float32) for k, v in load(data).items()}
            layers = tuple(int(layer) for layer in json.loads(metadata["layers"]))
            space = TokenSpace(
                layers, tensors["centre"], tensors["spread"], tensors["projection"], metadata["fingerprint"]
            )
            network = _network(space.projection.shape[1]).to(backbone.torch_device)
            network.load_state_dict({k.removeprefix(_NETWORK): v for k, v in tensors.items() if k.startswith(_NETWORK)})
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, IndexError) as error:
            raise BadInputError(f"The stored segment tagger is damaged ({first_line(error)}).") from error
        if space.fingerprint != backbone.fingerprint.digest or metadata.get("recipe") != _recipe():
            raise BadInputError("The stored segment tagger belongs to another model or version.")
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise BadInputError("The stored segment tagger holds values that are not finite.")
        network.requires_grad_(False).eval()
        return cls(space, network)


def shipped_segment_tagger(backbone: Backbone) -> SegmentTagger | None:
    """The segment tagger of the default backbone, which comes with the program; None for any other."""
    try:
        return SegmentTagger.from_bytes(shipped_bytes(), backbone)
    except BadInputError:
        return None


def shipped_bytes() -> bytes:
    """The file that comes with the program.

    Raises:
        DamagedError: it is not what was shipped.
    """
    return shipped.shipped_bytes("splitter.safetensors")


def fit_segment_tagger(
    backbone: Backbone, count: int = _MESSAGES, *, folder: Path | None = None
) -> Iterator[float | SegmentTagger]:
    """Fit the token space and the segment tagger of a backbone; yields the share done, then the segment tagger.

    Args:
        count: messages to fit to.
        folder: keeps what is done until the end, for a fit that goes on after a kill; None keeps nothing.
    """
    layers = FeatureLayers.of(backbone.layer_count).pooled
    messages = sorted(joined_messages(count), key=lambda message: len(message.text))
    parts = FitParts(folder, f"{_recipe()} {backbone.fingerprint.digest} {layers} {count}")

    def tokens_of(part: list[list[int]]) -> list[Tensor]:
        # In the dtype that the model computes in: tens of thousands would be too many in float32, and float16 ends
        # at 65,504, which some models' states exceed (Gemma 3).
        return [
            tokens.cpu()
            for tokens in backbone.prefill(part, keep_states=False, token_layers=layers, tokens_alone=True).tokens
        ]

    states: list[Tensor] = []
    for start in range(0, len(messages), _AT_ONCE):
        queries = [backbone.format.query(message.text) for message in messages[start : start + _AT_ONCE]]
        states += parts.of(start // _AT_ONCE, partial(tokens_of, queries))
        yield min(1.0, (start + len(queries)) / len(messages))
    space = fit_space(states, layers, backbone.fingerprint.digest)
    projected = [space.project(tokens) for tokens in states]
    marks = [marks_of(message, backbone.format.places(message.text)) for message in messages]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = _network(space.projection.shape[1])
    for _ in train_network(network, projected, marks, epochs=_EPOCHS, batch_size=32, rate=3e-3, weight_decay=0.02):
        yield 1.0
    parts.drop()
    yield SegmentTagger(space.to(backbone.torch_device), network.to(backbone.torch_device))


def marks_of(message: Joined, places: Sequence[tuple[int, int]]) -> Tensor:
    """[t] long: the mark of each token.

    Args:
        places: [start, end) of each token in the message's characters.
    """
    marks = torch.full((len(places),), JOINT)
    # A token is where its last character is: many begin with the space before a word.
    lasts = [end - 1 for _, end in places]
    for number, (start, end) in enumerate(message.requests):
        inside = [i for i, last in enumerate(lasts) if start <= last < end]
        marks[inside] = CONTENT
        if number and inside:
            marks[inside[0]] = BEGIN
    return marks


def _network(dimensions: int) -> TokenNetwork:
    return TokenNetwork(dimensions, 3, channels=64, near=5, dropout=0.1)


def _recipe() -> str:
    """Digest of what a segment tagger is fitted with; another recipe asks for another fit."""
    texts = [message.text for message in joined_messages(_MESSAGES // 10)]
    settings = [_VERSION, _MESSAGES, _EPOCHS, *texts]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()
