"""Learn to tell which of the lines that a message offers an answer has, from a procedure's own pairs.

Logistic regression with a quadratic penalty over the frozen states of each line's values
(``tokmem_desk.generation.listing``): two dozen pairs have some hundred lines that were taken and as many that were not.
Penalty, temperature and from what doubt on a line is left to the model are chosen on pairs that were left out. It is
kept only where nine of ten lines of left-out answers are told right.

Takes a second, no pass of the model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from tokmem_desk.generation.listing import choose_rows, offered, row_features
from tokmem_desk.generation.pointing import word_states
from tokmem_desk.templates.row_chooser import RowChooser
from tokmem_desk.templates.rows import Row
from tokmem_desk.templates.slot_places import slot_places
from tokmem_desk.templates.template import AnswerTemplate
from trainer.slot_heads import in_bytes, left_out, rows_to_read

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

FEWEST = 12
"""Pairs whose lines are all among those that their messages offer."""

_FOLDS = 6
_PENALTIES = (0.5, 2.0, 8.0)
_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
_DOUBTS = (0.49, 0.4, 0.3, 0.2, 0.1, 0.05)
_STEPS = 40
_WRONG = 1 / 10
"""Share of the lines of left-out answers about which it may be wrong."""
_OPEN = 1 / 2
"""How much a line that is left to the model counts beside one that is told wrong: of those the model knows no more."""


@dataclass(frozen=True, slots=True)
class _Case:
    """The lines that one message offers.

    Attributes:
        features: [r x f] float32 of them.
        rows: the lines.
        right: texts of the answer's.
    """

    features: Tensor
    rows: tuple[Row, ...]
    right: frozenset[str]

    @property
    def labels(self) -> Tensor:
        """[r] float32, 1 for lines of the answer."""
        return torch.tensor([float(row.text in self.right) for row in self.rows])


def learn_rows(
    backbone: Backbone, form: AnswerTemplate, pairs: Sequence[tuple[str, str]], tokens: Sequence[Tensor], seed: int = 0
) -> Iterator[float | AnswerTemplate]:
    """Yields the share done, and at the end the form with what chooses its lines.

    Args:
        pairs: messages and their responses.
        tokens: of each message [t x k] float32 tokens in the backbone's token space.
    """
    space = backbone.token_space
    place = next((place for place, part in enumerate(form.parts) if part.rows is not None), None)
    if space is None or place is None or not form.repeated:
        yield form
        return
    rng = random.Random(seed)
    part, cases = form.parts[place], []
    for row in rows_to_read(pairs, rng):
        message, response = pairs[row]
        places = backbone.format.places(message)
        rows = offered(part, message)
        lines = [
            found.text
            for line in response.split("\n")
            for found in slot_places(form, message, line)
            if found.path == (place,)
        ]
        if rows and lines and len(places) == len(tokens[row]):
            features = row_features(word_states(message, places, tokens[row]), rows)
            cases.append(_Case(features, rows, frozenset(lines)))
    yield 0.1
    ordered = part.rows is not None and bool(part.rows.order)
    learned = _learned(cases, rng, ordered=ordered) if len(cases) >= FEWEST else None
    yield 1.0
    if learned is None:
        yield form
        return
    weights, doubt = learned
    yield replace(form, row_chooser=RowChooser(place, *in_bytes(weights), doubt, space.digest))


def _learned(cases: Sequence[_Case], rng: random.Random, *, ordered: bool) -> tuple[Tensor, float] | None:
    """[f] weights, calibrated, and the doubt; None where left-out pairs say that they are of no use."""
    folds = left_out(len(cases), _FOLDS, rng)
    best: tuple[float, float, float, list[tuple[Tensor, _Case]]] | None = None
    for penalty in _PENALTIES:
        scored: list[tuple[Tensor, _Case]] = []
        for fold, rest in folds:
            weights = _fitted([cases[i] for i in rest], penalty)
            scored += [(cases[i].features @ weights, cases[i]) for i in fold]
        for temperature in _TEMPERATURES:
            loss = sum(_loss(scores / temperature, case.labels) for scores, case in scored)
            if best is None or loss < best[0]:
                best = (loss, penalty, temperature, [(scores / temperature, case) for scores, case in scored])
    assert best is not None
    _, penalty, temperature, scored = best
    wrong, place = min((_mistakes(scored, doubt, ordered=ordered), place) for place, doubt in enumerate(_DOUBTS))
    if wrong > _WRONG * sum(len(case.right) for _, case in scored):
        return None
    return _fitted(cases, penalty) / temperature, _DOUBTS[place]


def _mistakes(scored: Sequence[tuple[Tensor, _Case]], doubt: float, *, ordered: bool) -> float:
    """How many lines of left-out answers are told wrong; those that stay open count as well, see ``_OPEN``."""
    found = 0.0
    for scores, case in scored:
        choice = choose_rows(case.rows, scores.sigmoid().tolist(), doubt, ordered=ordered)
        found += len(choice.must - case.right) + len(case.right - choice.may)
        # Where lines have no order none is certain: then wrong ones that may come are what stays open.
        found += _OPEN * len(choice.may - choice.must if ordered else choice.may - case.right)
    return found


def _loss(scores: Tensor, labels: Tensor) -> float:
    """Nats of what was taken and what was not."""
    return float(F.binary_cross_entropy_with_logits(scores, labels, reduction="sum"))


def _fitted(cases: Sequence[_Case], penalty: float) -> Tensor:
    """[f] float32 weights that tell the lines of answers from the others (L-BFGS)."""
    features, labels = torch.cat([case.features for case in cases]), torch.cat([case.labels for case in cases])
    weights = torch.zeros(features.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(features @ weights, labels, reduction="sum")
        loss = loss + penalty * weights.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return weights.detach()
