"""A large bank's router goes on from the one before, and routes as one that was made anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.tokmem_desk.routing.test_corrections import GivenFeatures
from tokmem_desk.memory.router_statistics import RouterStatistics, pooled
from tokmem_desk.routing import own_points, routers
from tokmem_desk.routing.features import FeatureLayers
from tokmem_desk.routing.none_calibration import Calibration
from tokmem_desk.routing.own_points import Change, OwnPoints
from tokmem_desk.routing.routers import Correction, DiscriminantRouter, RouterTuning

K, MANY = 24, 3000


def _inputs(seed: int, count: int = 5) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    spread = torch.linspace(2.0, 0.3, K)
    found = torch.randn(K, generator=drawn) + 0.7 * spread * torch.randn(count, K, generator=drawn)
    return found / found.norm(dim=1, keepdim=True)


def _one(seed: int) -> RouterStatistics:
    return RouterStatistics.of(_inputs(seed), "")


@pytest.fixture(scope="module")
def bank() -> dict[str, RouterStatistics]:
    return {f"p{seed:05}": _one(seed) for seed in range(MANY)}


@pytest.fixture(scope="module")
def basis() -> GivenFeatures:
    empty = torch.zeros(0)
    known = (10.0, 0.0, 0.0, 0.0, 0.0, 0.0, -10.0, -2.0)
    chat = _inputs(10**6, 40)
    return GivenFeatures(
        FeatureLayers((1,), (1,)), empty, empty, empty, torch.eye(K), chat, Calibration(20.0, known), "none"
    )


def _router(basis: GivenFeatures, bank: dict[str, RouterStatistics], before=None, corrections=()):
    return DiscriminantRouter(basis, K, bank, RouterTuning(), corrections, None, before)


def _same(first: DiscriminantRouter, second: DiscriminantRouter, bank: dict[str, RouterStatistics]) -> None:
    some = torch.stack([one.mean / one.mean.norm() for one in list(bank.values())[:: len(bank) // 50]])
    vectors = torch.cat([some, _inputs(7 * 10**6, 60)])
    for one, other in zip(first.rank(vectors), second.rank(vectors), strict=True):
        assert one[0].route == other[0].route
        theirs = {candidate.route: candidate.probability for candidate in other}
        for a, b in zip(one, other, strict=True):
            assert a.probability == pytest.approx(b.probability, rel=2e-3, abs=1e-8)
            # Two that are as probable but for rounding stand in either order; the last may not be listed by the other.
            expected = theirs.get(a.route, min(theirs.values()))
            assert a.probability == pytest.approx(expected, rel=2e-3, abs=1e-8)


def test_a_large_bank_routes_as_a_small_ones_code_would(basis, bank, monkeypatch) -> None:
    large = _router(basis, bank)
    assert large._points is not None
    monkeypatch.setattr(routers, "CARRIED_FROM", 10**9)
    _same(large, _router(basis, bank), bank)


def test_procedures_that_come_leave_and_change_rank_as_in_a_router_made_anew(basis, bank, monkeypatch) -> None:
    read: list[int] = []
    read_all = DiscriminantRouter._read_all
    monkeypatch.setattr(
        DiscriminantRouter, "_read_all", lambda self, taught, device: read.append(1) or read_all(self, taught, device)
    )
    now, router = dict(bank), _router(basis, bank)
    changes = [
        {"new": _one(10**5)},
        {"another": _one(10**5 + 1), "third": _one(10**5 + 2)},
        {"p00007": None},
        {"p00100": _one(10**5 + 3)},
        {"new": None, "a name in front": _one(10**5 + 4)},
    ]
    for change in changes:
        now = {name: one for name, one in (now | change).items() if one is not None}
        before, router = router, _router(basis, now, router)
        _same(router, _router(basis, now), now)
        _same(before, _router(basis, before._taught), before._taught)
    # Each of them was carried: what was read are the first one and those to compare with.
    assert len(read) == 1 + 2 * len(changes)


def test_two_that_go_on_from_one_do_not_disturb_each_other(basis, bank) -> None:
    router = _router(basis, bank)
    banks = [bank | {"left": _one(1)}, bank | {"right": _one(2), "more": _one(3)}]
    both = [_router(basis, one, router) for one in banks]
    for one, found in zip(banks, both, strict=True):
        _same(found, _router(basis, one), one)
    _same(router, _router(basis, bank), bank)


def test_corrections_act_in_a_router_that_went_on(basis, bank) -> None:
    router = _router(basis, bank)
    message = _inputs(5, 1)[0]
    wrong = router.rank(message[None])[0][0].route
    corrections = [Correction(message, wrong, "p00001"), Correction(_inputs(9, 1)[0], "p00009", "none")]
    more = bank | {"new": _one(10**5)}
    gone_on = _router(basis, more, router, corrections)
    _same(gone_on, _router(basis, more, None, corrections), more)
    assert gone_on.rank(message[None])[0][0].route == "p00001"
    _same(_router(basis, more, gone_on), _router(basis, more), more)


def test_nothing_changed_costs_nothing(basis, bank) -> None:
    router = _router(basis, bank)
    again = _router(basis, dict(bank), router)
    assert again._points is router._points


def test_many_changes_another_space_and_small_banks_are_read_anew(basis, bank) -> None:
    router = _router(basis, bank)
    assert not _router(basis, bank)._go_on_from(None)
    other = replace(basis, chat=basis.chat.clone())
    assert _router(other, bank, router)._points is not router._points
    few = {name: bank[name] for name in list(bank)[:50]}
    assert _router(basis, few, router)._points is None
    many = {name: _one(10**5 + seed) if seed < 9 else one for seed, (name, one) in enumerate(bank.items())}
    _same(_router(basis, many, router), _router(basis, many), many)


def _lengths(points: OwnPoints) -> Tensor:
    return points._squares


def test_lengths_are_found_anew_before_they_are_off(bank) -> None:
    taught = list(bank.values())
    sums = pooled(taught, K)
    shape = sums.shape()
    assert shape is not None
    points: OwnPoints | None = OwnPoints(torch.stack([one.mean for one in taught]), shape)
    steps = 0
    while points is not None:
        last = points
        new = _one(10**5 + steps)
        sums.add(new)
        shape = sums.shape()
        assert shape is not None
        points = points.carried(shape, [Change(new.low_rank_scatter, 1.0)], [], new.mean[None])
        if points is not None:
            exact = OwnPoints(points._points(), shape)
            off = ((_lengths(points) - _lengths(exact)) / _lengths(exact)).abs().max()
            assert float(off) < 1e-5
            steps += 1
    assert 3 < steps < 50
    assert last._carried <= own_points.FURTHEST


def test_damaged_numbers_are_refused_as_before(basis, bank) -> None:
    from tokmem_desk.errors import RoutingError

    bad = replace(_one(1), low_rank_scatter=torch.full((4, K), float("nan")), scatter=1.0)
    with pytest.raises((RoutingError, ValueError)):
        _router(basis, bank | {"bad": bad}, _router(basis, bank))
