"""Statistics that inputs can have pass, whatever the inputs; made-up ones do not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokmem_desk.memory.router_statistics import RouterStatistics, on_grid
from tokmem_desk.memory.statistics_rules import MOST_INPUTS, statistics_fault


def fault_of(one: RouterStatistics) -> str | None:
    return statistics_fault(float(one.mean.norm()), one.count, one.scatter, float(one.low_rank_scatter.pow(2).sum()))


@given(st.integers(1, 200), st.integers(2, 96), st.floats(0, 20), st.integers(0, 2**31))
def test_what_inputs_have_passes(count: int, dimensions: int, likeness: float, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, dimensions, generator=chance) + likeness * torch.randn(dimensions, generator=chance)
    one = RouterStatistics.of(torch.nn.functional.normalize(vectors, dim=1), "")
    assert fault_of(one) is None
    assert fault_of(one.joined_by(torch.nn.functional.normalize(vectors.flip(1), dim=1))) is None
    turn, _ = torch.linalg.qr(torch.randn(dimensions, dimensions, generator=chance))
    turned = RouterStatistics(one.mean @ turn, one.count, on_grid(one.low_rank_scatter @ turn), one.scatter, "")
    assert fault_of(turned) is None
    halved = RouterStatistics(
        one.mean.bfloat16().float(), one.count, one.low_rank_scatter.bfloat16().float(), one.scatter, ""
    )
    assert fault_of(halved) is None


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((1.05, 10, 0.0, 0.0), "mean of length 1.05"),
        ((0.7 * 1.05, 10, 5.1, 4.0), "cannot have"),
        ((0.7 * 1.5, 10, 5.1, 4.0), "mean of length"),
        ((0.7, 10, -5.1, 0.0), "negative scatter"),
        ((0.7, 10, 50.0, 4.0), "cannot have"),
        ((0.7, 0, 0.0, 0.0), "count 0"),
        ((0.7, 2**31 - 1, 1e9, 0.0), "count 2,147,483,647"),
        ((0.7, MOST_INPUTS + 1, 1e5, 0.0), "count 1,000,001"),
        ((0.7, 10, 5.1, 9.0), "low-rank scatter"),
        ((math.nan, 10, 5.1, 4.0), "not finite"),
        ((0.7, 10, math.inf, 4.0), "not finite"),
        ((0.7, 10, 5.1, math.inf), "not finite"),
    ],
)
def test_what_no_inputs_have_is_told(numbers: tuple[float, int, float, float], said: str) -> None:
    fault = statistics_fault(*numbers)
    assert fault is not None
    assert said in fault
