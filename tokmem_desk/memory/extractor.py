"""Responses that are read off the message instead of generated.

Many procedures answer with a JSON object whose values stand word for word in the message: the arguments of a
call, the fields of a form. For them a small network over the message's own tokens marks which words are which
value. It learns from the same pairs in seconds, never invents a value, and its answer is valid JSON by
construction. How it is trained is in ``trainer.extractor``.

Letters: t tokens, f hidden states of a token over the layers used, s slots.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tokmem_desk.backbone.token_space import TokenNetwork

if TYPE_CHECKING:
    from tokmem_desk.backbone.token_space import TokenSpace

CHANNELS, NEAR, DROPOUT = 96, 3, 0.3
"""Size of the network."""

_IMPOSSIBLE = -1e9


@dataclass(frozen=True, slots=True)
class Slot:
    """One key of the object.

    Attributes:
        kind: ``text`` or ``number``; numbers stand in the message as they are written in JSON.
        always_list: the value is a list even when there is one; otherwise only several values make a list.
    """

    name: str
    kind: str = "text"
    always_list: bool = False


@dataclass(frozen=True, slots=True)
class Extractor:
    """Copies the values of one procedure's responses out of the message. In files it is called ``reader``.

    Attributes:
        constants: keys that every pair has with the same value.
        order: keys in the order of the response; None puts them in the order of the message.
        compact: no blanks behind commas and colons.
        network: marks 0 for no slot, 1 + 2i for the first token of slot i, 2 + 2i for its further ones.
        space: digest of the token space it was trained over.
        alone: its memory's steering was not trained: there is no other way to answer. Else the steering answers where
            there is a conversation to read, since values may stand there.
    """

    slots: tuple[Slot, ...]
    constants: dict[str, Any]
    order: tuple[str, ...] | None
    compact: bool
    network: TokenNetwork
    space: str
    alone: bool = True

    @torch.no_grad()
    def extract(
        self, message: str, places: Sequence[tuple[int, int]], tokens: Tensor, space: TokenSpace
    ) -> dict[str, Any]:
        """The object for a message.

        Args:
            places: [start, end) of each token in the stripped message, see ``ChatFormat.places``.
            tokens: [t x f] hidden states, see ``Backbone.prefill``.
        """
        message = message.strip()
        scores = torch.log_softmax(self.network(space.project(tokens)[None])[0], dim=-1).cpu()
        found: dict[str, list[Any]] = {}
        for slot, first, after in spans(best_marks(scores)):
            text = message[places[first][0] : places[after - 1][1]].strip()
            if text:
                one = self.slots[slot]
                found.setdefault(one.name, []).append(_number(text) if one.kind == "number" else text)
        listed = {slot.name for slot in self.slots if slot.always_list}
        values: dict[str, Any] = {
            name: several if len(several) > 1 or name in listed else several[0] for name, several in found.items()
        }
        if self.order is None:
            return {**self.constants, **values}
        return {name: {**self.constants, **values}[name] for name in self.order if name in self.constants | values}

    def response(self, arguments: dict[str, Any]) -> str:
        """The object as the pairs write it."""
        return write(arguments, compact=self.compact)

    def to(self, device: torch.device) -> Extractor:
        """The same extractor on another device."""
        self.network.to(device)
        return self

    def weights(self) -> Tensor:
        """[w] float32: the network's weights in one row."""
        return torch.cat([weight.detach().float().flatten() for weight in self.network.state_dict().values()])

    def describe(self) -> dict[str, Any]:
        """Everything but the network's weights, as JSON values."""
        return {
            "dimensions": self.network.enter.in_features,
            "slots": [[slot.name, slot.kind, slot.always_list] for slot in self.slots],
            "constants": self.constants,
            "order": None if self.order is None else list(self.order),
            "compact": self.compact,
            "space": self.space,
            "alone": self.alone,
        }

    @classmethod
    def rebuild(cls, facts: dict[str, Any], weights: Tensor) -> Extractor:
        """The inverse of ``describe`` and ``weights``.

        Raises:
            KeyError, TypeError, ValueError, OverflowError, RuntimeError: they do not fit.
        """
        slots = tuple(Slot(str(name), str(kind), bool(many)) for name, kind, many in facts["slots"])
        dimensions = int(facts["dimensions"])
        # Facts of somebody else's file must not be able to ask for all memory.
        with torch.device("meta"):
            wanted = sum(weight.numel() for weight in new_network(dimensions, len(slots)).state_dict().values())
        if weights.numel() != wanted:
            raise ValueError(f"{weights.numel()} weights instead of {wanted}")
        network = new_network(dimensions, len(slots))
        state = network.state_dict()
        parts = weights.split([weight.numel() for weight in state.values()])
        if not bool(torch.isfinite(weights).all()):
            raise ValueError("values that are not finite")
        network.load_state_dict(
            {name: part.view_as(weight) for (name, weight), part in zip(state.items(), parts, strict=True)}
        )
        order = None if facts["order"] is None else tuple(str(name) for name in facts["order"])
        network.requires_grad_(False).eval()
        constants, compact, space = dict(facts["constants"]), bool(facts["compact"]), str(facts["space"])
        return cls(slots, constants, order, compact, network, space, bool(facts.get("alone", True)))


def new_network(dimensions: int, slots: int) -> TokenNetwork:
    """An untrained network for that many slots."""
    return TokenNetwork(dimensions, 1 + 2 * slots, channels=CHANNELS, near=NEAR, dropout=DROPOUT)


def best_marks(scores: Tensor) -> list[int]:
    """The most probable marks (Viterbi) among those where a slot goes on only behind its own beginning.

    Args:
        scores: [t x (1 + 2s)] log probabilities.
    """
    if len(scores) == 0:
        return []
    count = scores.shape[1]
    marks = torch.arange(count)
    goes_on = (marks % 2 == 0) & (marks > 0)
    own = (marks[:, None] == marks[None]) | (marks[:, None] == marks[None] - 1)
    allowed = torch.where(~goes_on[None] | own, 0.0, _IMPOSSIBLE)
    total = scores[0].masked_fill(goes_on, _IMPOSSIBLE)
    steps = []
    for row in scores[1:]:
        best, came_from = (total[:, None] + allowed).max(dim=0)
        steps.append(came_from)
        total = best + row
    path = [int(total.argmax())]
    for came_from in reversed(steps):
        path.append(int(came_from[path[-1]]))
    return path[::-1]


def spans(marks: Sequence[int]) -> list[tuple[int, int, int]]:
    """(slot, first token, token after the last) of every value, in order."""
    found: list[tuple[int, int, int]] = []
    for place, mark in enumerate(marks):
        if mark % 2 == 1:
            found.append(((mark - 1) // 2, place, place + 1))
        elif mark > 0:
            slot, first, _ = found[-1]
            found[-1] = (slot, first, place + 1)
    return found


def write(arguments: dict[str, Any], *, compact: bool) -> str:
    """An object as an extractor writes it; ``compact`` is without blanks behind commas and colons."""
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":") if compact else None)


def _number(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # NaN and Infinity are read, and 1e999 is infinite, but none of them is JSON.
    finite = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value if finite else text
