"""Learn to tell from a message which value of a closed set is meant, from a procedure's own pairs.

Multinomial logistic regression with a quadratic penalty over features of the message's frozen states
(``tokmem_desk.generation.choosing``). Penalty and temperature are chosen on pairs that were left out. A chooser is kept
only where it tells left-out pairs better than how often their values come.

Takes a second or less a set, no pass of the model.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from tokmem_desk.generation.choosing import message_features
from tokmem_desk.templates.cues import cues_named
from tokmem_desk.templates.slot_chooser import MOST_VALUES, SlotChooser
from tokmem_desk.templates.slot_places import slot_places
from tokmem_desk.templates.template import AnswerTemplate, Part
from trainer.slot_heads import in_bytes, left_out, rows_to_read

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

FEWEST = 12
"""Pairs that have a value there."""

_FOLDS = 8
_PENALTIES = (0.003, 0.01, 0.03, 0.1)
_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
_STEPS = 40
_BETTER = 0.92
"""Share of the nats by frequency alone that left-out pairs may cost, so that a chooser is kept."""


def learn_choosers(
    backbone: Backbone, form: AnswerTemplate, pairs: Sequence[tuple[str, str]], tokens: Sequence[Tensor], seed: int = 0
) -> Iterator[float | AnswerTemplate]:
    """Yields the share done, and at the end the form with its choosers.

    Args:
        pairs: messages and their responses.
        tokens: of each message [t x k] float32 tokens in the backbone's token space.
    """
    space = backbone.token_space
    wanted = closed_sets(form)
    if space is None or not wanted:
        yield form
        return
    rng = random.Random(seed)
    rows = rows_to_read(pairs, rng)
    values: dict[int, dict[int, str]] = {place: {} for place in wanted}
    for row in rows:
        for found in slot_places(form, *pairs[row]):
            if len(found.path) == 1 and found.path[0] in values and len(tokens[row]):
                values[found.path[0]][row] = found.text
    features = {row: message_features(tokens[row]) for row in rows if len(tokens[row])}
    choosers = []
    for number, place in enumerate(wanted):
        column = values[place]
        names = tuple(sorted(set(column.values())))
        if len(column) >= FEWEST and 2 <= len(names) <= MOST_VALUES:
            x = torch.stack([features[row] for row in column])
            y = torch.tensor([names.index(text) for text in column.values()])
            weights = _learned(x, y, len(names), rng)
            if weights is not None:
                counts = Counter(column.values())
                priors = tuple(counts[name] / len(column) for name in names)
                choosers.append(_quantised(place, names, priors, weights, space.digest))
        yield (number + 1) / len(wanted)
    yield replace(form, choosers=tuple(choosers))


def closed_sets(form: AnswerTemplate) -> list[int]:
    """The places of the parts that are closed sets; none where an answer has several lines of one form."""
    return [] if form.repeated else [place for place, part in enumerate(form.parts) if _is_closed(part)]


def _is_closed(part: Part) -> bool:
    """Whether a part is one of a few values, none of which a program computes."""
    if part.kind == "choice":
        return len(part.values) > 1
    return part.kind == "computed" and bool(part.ways) and all(map(cues_named, part.ways)) and len(part.values) > 1


def _learned(x: Tensor, y: Tensor, count: int, rng: random.Random) -> Tensor | None:
    """[v x f] weights, calibrated; None where left-out pairs say that they are of no use.

    Args:
        x: [n x f] features.
        y: [n] long, the value of each.
        count: v.
    """
    # Weights lie in the span of the features, which has few directions; the penalty is the same in any of their bases.
    centre, spread = x[:, :-1].mean(dim=0), x[:, :-1].std(dim=0) * (x.shape[1] - 1) ** 0.5 + 1e-6
    scaled = (x[:, :-1] - centre) / spread
    axes = torch.linalg.svd(scaled, full_matrices=False).Vh
    x = torch.cat([scaled @ axes.T, x[:, -1:]], dim=1)
    folds = left_out(len(y), _FOLDS, rng)
    usual = sum(
        float(F.cross_entropy((F.one_hot(y[rest], count).sum(dim=0) + 0.5).log().expand(len(fold), -1), y[fold]))
        * len(fold)
        for fold, rest in folds
    )
    best: tuple[float, float, float] | None = None
    for penalty in _PENALTIES:
        scores = torch.zeros(len(y), count)
        for fold, rest in folds:
            scores[fold] = x[fold] @ _fitted(x[rest], y[rest], count, penalty).T
        loss, temperature = min(
            (float(F.cross_entropy(scores / temperature, y, reduction="sum")), temperature)
            for temperature in _TEMPERATURES
        )
        if best is None or loss < best[0]:
            best = (loss, temperature, penalty)
    assert best is not None
    loss, temperature, penalty = best
    if loss >= _BETTER * usual:
        return None
    weights = _fitted(x, y, count, penalty) / temperature
    of_features = weights[:, :-1] @ axes / spread
    return torch.cat([of_features, weights[:, -1:] - (of_features @ centre)[:, None]], dim=1)


def _fitted(x: Tensor, y: Tensor, count: int, penalty: float) -> Tensor:
    """[v x f] float32 weights of the likeliest values (L-BFGS); the constant, the last feature, is free."""
    weights = torch.zeros(count, x.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(x @ weights.T, y, reduction="sum") + penalty * weights[:, :-1].square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return weights.detach()


def _quantised(
    place: int, names: tuple[str, ...], priors: tuple[float, ...], weights: Tensor, space: str
) -> SlotChooser:
    """The chooser in one byte a weight."""
    return SlotChooser(place, names, priors, *in_bytes(weights), space)
