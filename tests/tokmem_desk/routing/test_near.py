"""A message between two routes is told from one whose route is clear."""

from __future__ import annotations

import pytest

from tokmem_desk.generation.types import Routed
from tokmem_desk.routing.near import NEAR, near_routes
from tokmem_desk.routing.routers import Candidate


@pytest.mark.parametrize(
    ("ranked", "between"),
    [
        ([("none", 1.0)], None),
        ([("a", 0.9), ("none", 0.08), ("b", 0.02)], None),
        ([("a", 0.5), ("b", 0.3), ("none", 0.2)], ("a", "b")),
        ([("none", 0.5), ("a", 0.5)], ("none", "a")),
        # A threshold or a guest's margin has put a less probable route first.
        ([("none", 0.2), ("b", 0.1), ("a", 0.7)], ("none", "a")),
        ([("a", 1.0), ("none", 1 / NEAR)], ("a", "none")),
    ],
)
def test_near_routes(ranked: list[tuple[str, float]], between: tuple[str, str] | None) -> None:
    assert near_routes(ranked) == between


def test_a_route_that_somebody_chose_is_clear() -> None:
    candidates = [Candidate("a", 0.5), Candidate("b", 0.4), Candidate("none", 0.1)]
    assert Routed("a", 0.5, candidates).ambiguous == ("a", "b")
    assert Routed("a", 0.5, candidates, forced=True).ambiguous is None
