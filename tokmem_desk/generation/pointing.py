"""Point at the words of a message that the values of an answer are, before a word of it is generated.

A model of a few hundred million parameters copies a value from the wrong place more often than it writes anything else
wrong. Where a value stands is easy to read off the states that the model has of the message: a linear score over a
stretch's first and last token, its neighbours and its mean, learned from two dozen pairs, is right nearly always. The
scores are calibrated on pairs that were left out (``trainer.slot_pointers``). So the form is narrowed to the stretches
that are likely, and the model chooses among those.

Letters: t tokens of a message as the model has them, w words and signs as forms have them, k token space, c stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.templates.slot_places import Stretch, narrowed, slots, stretches
from tokmem_desk.templates.tokens import TOKEN

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.templates.slot_pointer import Path
    from tokmem_desk.templates.template import AnswerTemplate

_LENGTHS = 8
"""Lengths of a stretch that are told apart."""

_LENGTH_SIZE = 3.0
"""Size of that feature; those of tokens have a variance of about one."""

COVERED = 0.9
"""Stretches are left to the model until so much probability is covered."""

MOST_KEPT = 8
"""Stretches that are left to the model at most."""


def word_states(message: str, places: Sequence[tuple[int, int]], tokens: Tensor) -> Tensor:
    """[w x k] float32: of each word and sign of a message the state of the last token that it is written with.

    Args:
        places: [start, end) of each token in the stripped message, see ``ChatFormat.places``.
        tokens: [t x k] float32 tokens in the token space.
    """
    shift = len(message) - len(message.lstrip())
    rows, last = [], 0
    for match in TOKEN.finditer(message):
        while last + 1 < len(places) and places[last + 1][0] + shift < match.end():
            last += 1
        rows.append(last)
    return tokens[torch.tensor(rows, dtype=torch.long)].float().cpu() if rows else tokens[:0].float().cpu()


def stretch_features(words: Tensor, found: Sequence[Stretch]) -> Tensor:
    """[c x (5k + 8)] float32: the token two before, the first, the last, the next, their mean, and the length.

    Two before, because a blank stands in between.

    Args:
        words: [w x k] float32, see ``word_states``.
    """
    count, size = words.shape
    padded = torch.cat([words, words.new_zeros(1, size)])
    first = torch.tensor([a for a, _ in found])
    last = torch.tensor([b for _, b in found])
    before = torch.where(first >= 2, first - 2, count)
    after = torch.where(last + 1 < count, last + 1, count)
    sums = torch.cat([words.new_zeros(1, size), words.cumsum(dim=0)])
    mean = (sums[last + 1] - sums[first]) / (last + 1 - first)[:, None]
    lengths = torch.nn.functional.one_hot((last - first).clamp_max(_LENGTHS - 1), _LENGTHS) * _LENGTH_SIZE
    return torch.cat([padded[before], words[first], words[last], padded[after], mean, lengths.float()], dim=1)


def likely(scores: Tensor) -> list[int]:
    """Indices of the likeliest of [c] scores (log odds), until they cover enough."""
    order = scores.argsort(descending=True)
    covered = scores.softmax(dim=0)[order].cumsum(dim=0)
    count = int((covered < COVERED).sum()) + 1
    return [int(one) for one in order[: min(count, MOST_KEPT)]]


def pointed(backbone: Backbone, form: AnswerTemplate, message: str, tokens: Tensor | None) -> AnswerTemplate:
    """The form for one message: values that are pointed at can be taken from likely words alone.

    Args:
        tokens: [t x k] float32 tokens of the message in the backbone's token space; None where they were not read.
    """
    space = backbone.token_space
    if not form.pointers or tokens is None or space is None:
        return form
    places = backbone.format.places(message)
    if len(places) != tokens.shape[0]:
        return form
    words = word_states(message, places, tokens)
    parts = slots(form)
    kept: dict[Path, list[Stretch]] = {}
    for pointer in form.pointers:
        own = [path for path in pointer.paths if path in parts]
        found = list(dict.fromkeys(one for path in own for one in stretches(parts[path], message)))
        if pointer.space != space.digest or not found:
            continue
        features = stretch_features(words, found)
        if features.shape[1] != len(pointer.weights):
            continue
        weights = torch.frombuffer(bytearray(pointer.weights), dtype=torch.int8).float() * pointer.scale
        best = [found[index] for index in likely(features @ weights)]
        kept |= dict.fromkeys(own, best)
    return narrowed(form, kept)
