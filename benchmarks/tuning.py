"""Search the baselines' settings on pairs held out of the training parts; test pairs are never looked at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.measure import measure
from benchmarks.methods import METHODS, Context
from benchmarks.options import say
from benchmarks.settings import Values
from tokmem_desk.procedures import Procedure

PROCEDURES = 4
"""Procedures that a search looks at."""

_SEED = 1000
"""Of the held-out choice and of training; unlike any seed that is reported."""


def held_out_of_training(procedures: Sequence[Procedure]) -> list[Procedure]:
    """A few procedures with a quarter of their training pairs as test pairs."""
    chosen = random.Random(_SEED).sample(list(procedures), min(PROCEDURES, len(procedures)))
    split = []
    for procedure in chosen:
        pairs = list(procedure.pairs)
        random.Random(f"{_SEED}/{procedure.name}").shuffle(pairs)
        count = len(pairs) // 4
        if count:
            split.append(replace(procedure, pairs=tuple(pairs[count:]), held_out=tuple(pairs[:count])))
    return split


def search(method: str, grid: Sequence[Values], context: Context, procedures: Sequence[Procedure]) -> Values:
    """The point of a grid with the best mean ROUGE-L under the right route; the first of equals."""
    split = held_out_of_training(procedures)
    start = context.settings[method]
    best, best_score = start, -1.0
    for point in grid:
        values = {**start, **point}
        trial = replace(context, settings={**context.settings, method: values})
        score = measure(METHODS[method], trial, split, [], _SEED).run.metrics.get("rouge_l") or 0.0
        say(f"  {method} {point}: ROUGE-L {score:.3f}")
        if score > best_score:
            best, best_score = values, score
    return best
