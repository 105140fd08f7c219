"""Whether a message lies between two routes, so that a person should be asked. No torch: screens ask it too."""

from __future__ import annotations

from collections.abc import Sequence

NEAR = 2.0
"""A route is near the chosen one where it is at least one part in so many as probable; see docs/research/routing.md."""


def near_routes(ranked: Sequence[tuple[str, float]]) -> tuple[str, str] | None:
    """The chosen route and the one that it was nearly, ``none`` included; None where the choice is clear.

    Args:
        ranked: routes with their probabilities, the chosen one first.
    """
    if len(ranked) < 2:
        return None
    (chosen, probability), *others = ranked
    other, likely = max(others, key=lambda one: one[1])
    return (chosen, other) if likely * NEAR >= probability else None
