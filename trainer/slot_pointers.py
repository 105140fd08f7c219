"""Learn to point at the words of a message that each value of a form is, from a procedure's own pairs.

A slot is a part of the form that is taken or computed from words of the message; equal parts of several alternatives
are one slot. Its pointer is a linear score over all stretches of a message that it could be. It is trained as a
choice among them (conditional logit, McFadden 1974) with a quadratic penalty. What is computed has few values in a
message, often one, so there it learns beside all other stretches. Penalty and temperature are chosen on pairs that
were left out. A slot is pointed at only where what is kept of left-out messages has the right words in it.

Takes a second or two, no pass of the model.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.generation.pointing import likely, stretch_features, word_states
from tokmem_desk.templates.slot_places import origins, slot_places, slots, stretches
from tokmem_desk.templates.slot_pointer import Path, SlotPointer
from tokmem_desk.templates.template import AnswerTemplate, Part
from trainer.slot_heads import in_bytes, left_out, rows_to_read

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

FEWEST = 6
"""Pairs that have a value there."""

_ANY_WORDS = Part("taken", ways=("as it is",), tokens=6)
"""What a computed value is told from."""

_FOLDS = 6
_PENALTIES = (0.1, 0.5, 2.0)
_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 5.0)
_STEPS = 30
_MISSED = 1 / 20
"""Share of left-out pairs whose right words may not be among those that are kept."""

_HALVED = 1 / 2
"""A pointer that keeps more than this share of the stretches says too little to be kept."""


@dataclass(frozen=True, slots=True)
class _Case:
    """One value of one pair.

    Attributes:
        features: [c x f] float32 of the stretches that it could be, then of others that it is told from.
        own: how many it could be.
        right: indices of those that it is.
    """

    features: Tensor
    own: int
    right: Tensor


def learn_pointers(
    backbone: Backbone, form: AnswerTemplate, pairs: Sequence[tuple[str, str]], tokens: Sequence[Tensor], seed: int = 0
) -> Iterator[float | AnswerTemplate]:
    """Yields the share done, and at the end the form with its pointers.

    Args:
        pairs: messages and their responses.
        tokens: of each message [t x k] float32 tokens in the backbone's token space.
    """
    space = backbone.token_space
    wanted = _slots(form)
    if space is None or not wanted:
        yield form
        return
    rng = random.Random(seed)
    rows = rows_to_read(pairs, rng)
    cases: dict[int, list[_Case]] = {number: [] for number in range(len(wanted))}
    for row in rows:
        message, response = pairs[row]
        places = backbone.format.places(message)
        if len(places) != len(tokens[row]):
            continue
        words = word_states(message, places, tokens[row])
        for found in slot_places(form, message, response):
            number = next((number for number, slot in enumerate(wanted) if found.path in slot), None)
            if number is not None and (case := _case(found.part, message, found.text, words)) is not None:
                cases[number].append(case)
    pointers = []
    for number, paths in enumerate(wanted):
        if len(cases[number]) >= FEWEST and (learned := _learned(cases[number], rng)) is not None:
            pointers.append(_quantised(paths, learned, space.digest))
        yield (number + 1) / len(wanted)
    yield replace(form, pointers=tuple(pointers))


def _slots(form: AnswerTemplate) -> list[tuple[Path, ...]]:
    """The parts that are one slot each: of alternatives at one place equal parts, each as often as it comes."""
    found: dict[object, list[Path]] = {}
    counts: dict[object, int] = {}
    for path, part in slots(form).items():
        among = (path[:-1], part)
        ordinal = counts[among] = counts.get(among, -1) + 1
        # Of a path within alternatives the place counts, not which alternative it is.
        key = (path[0], part, ordinal) if len(path) > 1 else (path, part)
        found.setdefault(key, []).append(path)
    return [tuple(paths) for paths in found.values()]


def _case(part: Part, message: str, value: str, words: Tensor) -> _Case | None:
    found = stretches(part, message)
    meant = origins(part, message, value)
    right = [index for index, one in enumerate(found) if one in meant]
    if not right or value in part.values:
        return None
    others = [one for one in stretches(_ANY_WORDS, message) if one not in found] if part.kind == "computed" else []
    return _Case(stretch_features(words, [*found, *others]), len(found), torch.tensor(right))


def _learned(cases: Sequence[_Case], rng: random.Random) -> Tensor | None:
    """[f] weights, calibrated; None where left-out pairs say that they are of no use."""
    folds = left_out(len(cases), _FOLDS, rng)
    best: tuple[float, float, list[tuple[Tensor, _Case]]] | None = None
    for penalty in _PENALTIES:
        scored: list[tuple[Tensor, _Case]] = []
        for fold, rest in folds:
            weights = _fitted([cases[i] for i in rest], penalty)
            scored += [(cases[i].features @ weights, cases[i]) for i in fold]
        loss = sum(_loss(scores, case.right) for scores, case in scored)
        if best is None or loss < best[0]:
            best = (loss, penalty, scored)
    assert best is not None
    _, penalty, scored = best
    temperature = min(_TEMPERATURES, key=lambda t: sum(_loss(scores / t, case.right) for scores, case in scored))
    missed = kept = there = 0
    for scores, case in scored:
        some = likely(scores[: case.own] / temperature)
        missed += not set(some) & set(case.right.tolist())
        if case.own > 1:
            kept, there = kept + len(some), there + case.own
    if missed > _MISSED * len(cases) or kept > _HALVED * there:
        return None
    return _fitted(cases, penalty) / temperature


def _loss(scores: Tensor, right: Tensor) -> float:
    """Nats of the right stretches together."""
    return float(scores.logsumexp(dim=0) - scores[right].logsumexp(dim=0))


def _fitted(cases: Sequence[_Case], penalty: float) -> Tensor:
    """[f] float32 weights that choose the right stretches (L-BFGS)."""
    weights = torch.zeros(cases[0].features.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")
    features = torch.cat([case.features for case in cases])
    sizes = [len(case.features) for case in cases]

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = penalty * weights.square().sum()
        for scores, case in zip((features @ weights).split(sizes), cases, strict=True):
            loss = loss + scores.logsumexp(dim=0) - scores[case.right].logsumexp(dim=0)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    return weights.detach()


def _quantised(paths: tuple[Path, ...], weights: Tensor, space: str) -> SlotPointer:
    """The pointer in one byte a weight."""
    return SlotPointer(paths, *in_bytes(weights), space)
