"""Weigh the values of a closed set by what the states of a message say, before the model chooses among them.

A small model takes a wrong label more often than it writes anything else wrong: two dozen pairs have three or four
messages of each, and it learns those by heart. A linear score over the frozen states of the message errs on other
messages than the model does. So the odds that it gives a value, over how often that value comes anyway, are multiplied
with the model's own. Which closed sets have such a score is decided on pairs that were left out
(``trainer.slot_choosers``).

Letters: t tokens of a message, k token space, f features, v values of a set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.templates.message_values import escape
from tokmem_desk.templates.patterns import Pattern, PatternError, plain_pattern
from tokmem_desk.templates.template import joined

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.templates.slot_chooser import SlotChooser
    from tokmem_desk.templates.template import AnswerTemplate, Part

MEAN_SIZE = 2.0
"""Size of the mean of the tokens beside their extremes."""

_MANY = 512
"""Where more tokens may stand, no value of a closed set begins or goes on."""


def message_features(tokens: Tensor) -> Tensor:
    """[f] float32, f = 3k + 1: the mean, largest and smallest of a message's tokens, together of length 1, and a 1.

    Args:
        tokens: [t x k] float32 tokens in the token space, at least one.
    """
    tokens = tokens.float().cpu()
    found = torch.cat([MEAN_SIZE * tokens.mean(dim=0), tokens.amax(dim=0), tokens.amin(dim=0)])
    return torch.cat([found / found.norm().clamp_min(1e-6), torch.ones(1)])


def chances(chooser: SlotChooser, features: Tensor) -> list[float] | None:
    """The probability of each value of a closed set, as the message alone says it; None where it does not fit."""
    if len(chooser.weights) != len(chooser.values) * len(features):
        return None
    weights = torch.frombuffer(bytearray(chooser.weights), dtype=torch.int8).float() * chooser.scale
    found: list[float] = (weights.view(len(chooser.values), -1) @ features).softmax(dim=0).tolist()
    return found


@dataclass(frozen=True, slots=True)
class _Slot:
    """A closed set in one answer.

    Attributes:
        near: an expression of the answer up to the set, the text in front of it perhaps not finished, or into a value
            of it. Tokens often hold the end of that text and the beginning of the value.
        into: an expression of an answer that has come to the set; its last group is what stands there and behind it.
        odds: of each value its probability, and how often it comes anyway.
        power: how much they count beside the model.
    """

    near: Pattern
    into: Pattern
    odds: dict[str, tuple[float, float]]
    power: float

    def reached(self, text: str) -> float:
        """The ``gain`` of what an answer has of the set; 0 while it has nothing of it."""
        match = self.into.fullmatch(text)
        return 0.0 if match is None else self.gain(match.groups()[-1] or "")

    def gain(self, text: str) -> float:
        """Log of how much likelier than usual the values are that ``text`` begins, or that stand at its beginning."""
        found = [value for value in self.odds if value.startswith(text)]
        if not found:
            found = sorted((value for value in self.odds if text.startswith(value)), key=len)[-1:]
        if not found:
            return 0.0
        chance, usual = (sum(self.odds[value][i] for value in found) for i in (0, 1))
        return math.log(max(chance, 1e-6) / usual)


class Leaning:
    """What a message says about the closed sets of an answer to it."""

    def __init__(self, slots: Sequence[_Slot]) -> None:
        self._slots = slots

    def applied(self, masked: Tensor, text: str, decode: Callable[[list[int]], str]) -> Tensor:
        """[v] logits, where a value of a closed set may stand moved by what the message says of it.

        Args:
            masked: [v] logits; minus infinity for tokens that must not come next.
            text: the answer so far.
            decode: ids to text.
        """
        for slot in self._slots:
            if slot.near.fullmatch(text) is None:
                continue
            ids = (masked > float("-inf")).nonzero()[:, 0].tolist()
            if len(ids) > _MANY:
                return masked
            here = slot.reached(text)
            moved = [slot.reached(text + decode([token])) - here for token in ids]
            masked = masked.clone()
            masked[ids] += slot.power * torch.tensor(moved, dtype=masked.dtype, device=masked.device)
            return masked
        return masked


def leaning_of(backbone: Backbone, form: AnswerTemplate, message: str, tokens: Tensor | None) -> Leaning | None:
    """What a message says about the closed sets of a form; None where it says nothing.

    Args:
        tokens: [t x k] float32 tokens of the message in the backbone's token space; None where they were not read.
    """
    space = backbone.token_space
    if not form.choosers or tokens is None or space is None or not len(tokens) or form.repeated:
        return None
    features = message_features(tokens)
    slots = []
    for chooser in form.choosers:
        found = chances(chooser, features) if chooser.space == space.digest else None
        if found is None or chooser.place >= len(form.parts):
            continue
        try:
            near, into = _expressions(form.parts[: chooser.place], chooser.values, message)
        except PatternError:
            continue
        odds = zip(found, chooser.priors, strict=True)
        slots.append(_Slot(near, into, dict(zip(chooser.values, odds, strict=True)), chooser.power))
    return Leaning(slots) if slots else None


def _expressions(parts: Sequence[Part], values: Sequence[str], message: str) -> tuple[Pattern, Pattern]:
    """``near`` and ``into`` of a set of values that stands behind some parts.

    Raises:
        PatternError: the message makes them larger than can be matched.
    """
    text = parts[-1].values[0] if parts and parts[-1].kind == "text" else ""
    front = joined(f"(?:{part.pattern(message)})" for part in (parts[:-1] if text else parts))
    unfinished = [text[:end] for end in range(len(text))]
    begun = [text + value[:end] for value in values for end in range(len(value))]
    ways = "|".join(escape(one) for one in sorted({*unfinished, *begun}, key=lambda one: (-len(one), one)))
    near = plain_pattern(joined((front, f"(?:{ways})")))
    return near, plain_pattern(joined((front, escape(text), "([^\\n]*)")))
