"""What learning a head for a slot has in common, whether it points or chooses: which pairs, which folds, which form."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

MOST_PAIRS = 120
"""Pairs that are looked at; more say little more."""


def rows_to_read(pairs: Sequence[object], rng: random.Random) -> list[int]:
    """Places of the pairs that are looked at, in their order: all, or ``MOST_PAIRS`` drawn."""
    return sorted(rng.sample(range(len(pairs)), min(len(pairs), MOST_PAIRS)))


def left_out(count: int, folds: int, rng: random.Random) -> list[tuple[list[int], list[int]]]:
    """Places that are left out together, and for each such fold all the others.

    Args:
        count: places, from 0 on.
        folds: at most so many.
    """
    order = list(range(count))
    rng.shuffle(order)  # neighbours in a list of pairs are often alike, or take turns
    parts = [order[start::folds] for start in range(folds)]
    return [(part, [place for place in order if place not in part]) for part in parts]


def in_bytes(weights: Tensor) -> tuple[bytes, float]:
    """Weights in one byte each, and what a step of them stands for."""
    scale = float(weights.abs().max()) / 127 or 1.0
    numbers = (weights / scale).round().clamp(-127, 127).to(torch.int8)
    return numbers.numpy().tobytes(), scale
