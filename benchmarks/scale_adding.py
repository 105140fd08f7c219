"""Adding one procedure to a large bank's router, beside making that router anew; a section of ``benchmarks.scale``.

Procedures are made up: vectors around middles of their own, in the size of the default model's space. What they mean
does not matter to the time, nor to whether the two ways rank alike.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.options import say
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.routing.features import FeatureLayers, RouterBasis
from tokmem_desk.routing.none_calibration import Calibration
from tokmem_desk.routing.routers import DiscriminantRouter

_DIMENSIONS, _INPUTS, _CHAT, _ADDED, _ASKED = 512, 6, 600, 12, 200


@dataclass(frozen=True)
class _GivenVectors(RouterBasis):
    """Takes vectors as they are."""

    def project(self, pooled: Tensor, hidden_size: int) -> Tensor:
        return pooled


def _inputs(drawn: torch.Generator, count: int) -> Tensor:
    spread = torch.linspace(2.0, 0.3, _DIMENSIONS)
    middle = torch.randn(_DIMENSIONS, generator=drawn)
    found = middle + 0.7 * spread * torch.randn(count, _DIMENSIONS, generator=drawn)
    return found / found.norm(dim=1, keepdim=True)


def measure_adding(procedures: int, repeats: int) -> dict[str, Any]:
    """Median seconds of both ways, their ratio, and how many of 200 messages are ranked alike behind the last one."""
    drawn = torch.Generator().manual_seed(0)
    empty = torch.zeros(0)
    known = (10.0, 0.0, 0.0, 0.0, 0.0, 0.0, -10.0, -2.0)
    basis = _GivenVectors(
        FeatureLayers((1,), (1,)),
        empty,
        empty,
        empty,
        torch.eye(_DIMENSIONS),
        _inputs(drawn, _CHAT),
        Calibration(20.0, known),
        "none",
    )
    bank = {f"p{n:06}": RouterStatistics.of(_inputs(drawn, _INPUTS), "") for n in range(procedures)}

    def made(before: DiscriminantRouter | None) -> tuple[DiscriminantRouter, float]:
        began = time.perf_counter()
        found = DiscriminantRouter(basis, _DIMENSIONS, bank, after=before)
        return found, time.perf_counter() - began

    router, _ = made(None)
    anew, added = [], []
    for n in range(max(_ADDED, repeats)):
        bank = {**bank, f"new{n}": RouterStatistics.of(_inputs(drawn, _INPUTS), "")}
        router, seconds = made(router)
        added.append(seconds)
        if n % 4 == 0:
            whole, seconds = made(None)
            anew.append(seconds)
    whole, _ = made(None)
    means = torch.stack([one.mean for one in list(bank.values())[:: max(1, len(bank) // _ASKED)]])
    asked = (means / means.norm(dim=1, keepdim=True))[:_ASKED]
    pairs = list(zip(router.rank(asked), whole.rank(asked), strict=True))
    alike = sum([c.route for c in one] == [c.route for c in other] for one, other in pairs)
    off = max(abs(a.probability - b.probability) for pair in pairs for a, b in zip(*pair, strict=True))
    found = {
        "procedures": procedures,
        "dimensions": _DIMENSIONS,
        "added_one_after_the_other": len(added),
        "adding_seconds": round(statistics.median(added), 4),
        "anew_seconds": round(statistics.median(anew), 3),
        "adding_of_anew": round(statistics.median(added) / statistics.median(anew), 4),
        "messages": len(asked),
        "rankings_alike": alike,
        "largest_difference_of_probability": off,
    }
    say(str(found))
    return found
