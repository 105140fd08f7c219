"""Example pairs as token ids, which of them choose the best step, and the batches of a run.

Everything here is a function of names, pairs, settings and the step: a resumed run sees the same batches.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.procedures import ExamplePair, Procedure

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from trainer.config import TrainConfig

SPLIT_FROM = 48
"""Pairs from which on some are held out to choose the best step; with fewer every pair teaches."""

_LARGEST_VALIDATION = 32
_STRETCH = 8
"""Batches within which samples are sorted by length: less padding, and the mixture stays random."""

QueryOf = Callable[[Procedure, ExamplePair], list[int]]
"""How a pair becomes the token ids of its query."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One pair: ids of the query, ids of the response with the end of the turn, place of its procedure, its texts."""

    query: list[int]
    response: list[int]
    owner: int
    message: str
    text: str


def encode_procedures(
    backbone: Backbone, procedures: Sequence[Procedure], config: TrainConfig, query_of: QueryOf
) -> tuple[list[Sample], list[Sample]]:
    """Samples to train on, and those that choose the best step (few or none).

    Raises:
        BadInputError: a procedure without pairs, or a pair longer than the context.
    """
    train: list[Sample] = []
    held_out: list[Sample] = []
    for owner, procedure in enumerate(procedures):
        if not procedure.pairs:
            raise BadInputError(
                f"{procedure.name!r} has no example pairs to learn from.",
                next_step="Add pairs of what you type and what you want back.",
            )
        samples = []
        for number, pair in enumerate(procedure.pairs, start=1):
            response = backbone.format.response(pair.response)
            sample = Sample(query_of(procedure, pair), response, owner, pair.input, pair.response)
            try:
                backbone.check_length(len(sample.query) + len(sample.response), room=config.span)
            except IncompatibleError as error:
                raise BadInputError(f"Pair {number} of {procedure.name!r}: {error}") from error
            samples.append(sample)
        enough = config.checks_per_run > 0 and len(samples) >= SPLIT_FROM
        count = min(_LARGEST_VALIDATION, len(samples) // 8) if enough else 0
        random.Random(f"{config.seed}/{procedure.name}").shuffle(samples)
        held_out += samples[:count]
        train += samples[count:]
    return train, held_out


def batch_count(samples: Sequence[Sample], size: int) -> int:
    """Batches of one epoch."""
    return math.ceil(len(samples) / size)


def batch_at(samples: Sequence[Sample], size: int, seed: int, step: int) -> list[int]:
    """Indices of the samples of a step."""
    epoch, place = divmod(step, batch_count(samples, size))
    rng = random.Random(f"{seed}/{epoch}")
    order = list(range(len(samples)))
    rng.shuffle(order)
    bucketed: list[int] = []
    for start in range(0, len(order), size * _STRETCH):
        bucketed += sorted(order[start : start + size * _STRETCH], key=lambda i: len(samples[i].response))
    batches = [bucketed[start : start + size] for start in range(0, len(bucketed), size)]
    rng.shuffle(batches)
    return batches[place]


def demonstrations(backbone: Backbone, procedure: Procedure, at_least: int) -> list[int]:
    """Token ids of example pairs in a row, as a prompt would show them, until there are enough."""
    ids: list[int] = []
    for pair in procedure.pairs:
        ids += [*backbone.format.query(pair.input), *backbone.format.response(pair.response)]
        if len(ids) > at_least:
            break
    return ids
