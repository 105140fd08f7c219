"""What the numbers by which a procedure is found can be: whoever makes them up cannot pass for somebody's procedure.

Features are unit vectors (``features``), so their statistics are not free: a mean is never longer than one, and the
scatter of ``n`` inputs around their mean *m* is ``n (1 - |m|^2)``, exactly. Plain numbers: no tensors here.
"""

from __future__ import annotations

import math

MOST_INPUTS = 1_000_000
"""Inputs of one procedure; the largest have some ten thousand."""

_TOLERANCE = 0.005
_LEAST_SLACK = 0.01
"""By how much a sum may be off, as a share of the inputs and at least: BF16 keeps between two and three digits."""
_GRID_SHARE, _GRID_ERROR = 0.02, 0.1
"""The same of what a low-rank scatter holds: its rows are rounded to a grid."""


def statistics_fault(mean_length: float, count: int, scatter: float, low_rank: float) -> str | None:
    """Why no inputs can have these statistics, as the rest of a sentence; None where some can.

    Args:
        mean_length: length of the mean of their features.
        count: how many inputs there are.
        scatter: summed squared distance of their features from the mean.
        low_rank: squared length of all rows of the low-rank scatter together, a part of the scatter.
    """
    if not all(map(math.isfinite, (mean_length, scatter, low_rank))):
        return "hold values that are not finite"
    if not 1 <= count <= MOST_INPUTS:
        return f"count {count:,} inputs, and 1 to {MOST_INPUTS:,} are possible"
    if mean_length > 1.0 + _TOLERANCE / 2:
        return f"have a mean of length {mean_length:.2f}, and 1 is the most that features have"
    slack = _TOLERANCE * count + _LEAST_SLACK
    if scatter < -slack:
        return f"have a negative scatter ({scatter:.2f})"
    if abs(scatter - count * (1.0 - mean_length**2)) > slack:
        return f"have a scatter of {scatter:.2f}, which {count:,} inputs with such a mean cannot have"
    if low_rank > scatter + _GRID_SHARE * count + _GRID_ERROR:
        return "have a low-rank scatter that is larger than their scatter"
    return None
