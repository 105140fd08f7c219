"""What a person's verdicts do to routing: at once, near the message, and gone when they are taken back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tokmem_desk.backbone.backbone import Prefilled
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.routing.features import FeatureLayers, RouterBasis
from tokmem_desk.routing.none_calibration import Calibration
from tokmem_desk.routing.routers import Correction, DiscriminantRouter

DIMENSIONS = 8


class GivenFeatures(RouterBasis):
    """Takes vectors as they are: these tests are about what happens to them afterwards."""

    def project(self, pooled: Tensor, hidden_size: int) -> Tensor:
        return pooled


def axis(place: int, toward: int | None = None, share: float = 0.0) -> Tensor:
    """A unit vector along one axis, leaning toward another one."""
    vector = torch.zeros(DIMENSIONS)
    vector[place] = 1.0
    if toward is not None:
        vector[toward] = share
    return vector / vector.norm()


SURE_FROM_COSINE = (10.0, 0.0, 0.0, 0.0, 0.0, 0.0, -10.0, -2.0)
"""Weights of a calibration that a procedure is known by: its cosine, less the likeness to chat."""


def router(corrections: Sequence[Correction] = (), weights: tuple[float, ...] = SURE_FROM_COSINE) -> DiscriminantRouter:
    """``tea`` along axis 0, ``rent`` along axis 1, chat along axis 7."""
    empty = torch.zeros(0)
    basis = GivenFeatures(
        FeatureLayers((1,), (1,)), empty, empty, empty, torch.eye(DIMENSIONS), axis(7)[None].repeat(3, 1),
        Calibration(10.0, weights), "none",
    )  # fmt: skip
    statistics = {
        name: RouterStatistics(axis(place), 4, torch.zeros(1, DIMENSIONS), 0.0, "")
        for place, name in enumerate(("tea", "rent"))
    }
    return DiscriminantRouter(basis, DIMENSIONS, statistics, None, corrections)


def route(chosen: DiscriminantRouter, vector: Tensor) -> str:
    return chosen.candidates(Prefilled([], vector[None], vector[None]))[0][0].route


def test_the_same_message_goes_where_it_should() -> None:
    message = axis(0, toward=1, share=0.5)
    assert route(router(), message) == "tea"
    assert route(router([Correction(message, "tea", "rent")]), message) == "rent"
    assert route(router([Correction(message, "tea", "none")]), message) == "none"


@pytest.mark.parametrize("always", ["known", "none"])
def test_the_same_message_goes_where_it_should_whatever_the_calibration(always: str) -> None:
    """A calibration that no cosine moves; the one of a small or an odd model can be near that."""
    weights = (*[0.0] * 7, 6.0 if always == "known" else -6.0)
    message = axis(0, toward=1, share=0.5)
    for right in ("tea", "rent", "none"):
        verdicts = [Correction(message, "tea", "rent"), Correction(message, "rent", right)]
        assert route(router(verdicts, weights), message) == right, "the last verdict counts"
    elsewhere = axis(4, toward=0, share=0.5)
    assert route(router(verdicts, weights), elsewhere) == route(router((), weights), elsewhere)


def test_a_missed_message_becomes_known() -> None:
    message = axis(3)
    assert route(router(), message) == "none"
    assert route(router([Correction(message, "none", "rent")]), message) == "rent"


def test_messages_somewhat_like_it_follow() -> None:
    """Below the likeness from which single messages count, the moved mean still brings them home."""
    corrections = [Correction(axis(3, toward=place, share=2.0), "none", "rent") for place in (4, 5, 6)]
    cousin = axis(3)
    assert route(router(), cousin) == "none"
    assert route(router(corrections), cousin) == "rent"


def test_joined_statistics_are_those_of_all_inputs() -> None:
    vectors = torch.randn(9, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    joined = RouterStatistics.of(vectors[:6], "").joined_by(vectors[6:8]).joined_by(vectors[8:])
    whole = RouterStatistics.of(vectors, "")
    torch.testing.assert_close(joined.mean, whole.mean)
    assert joined.count == whole.count
    assert joined.scatter == pytest.approx(whole.scatter, rel=1e-4)
    assert float(joined.low_rank_scatter.pow(2).sum()) <= joined.scatter * 1.01


def test_other_messages_stay() -> None:
    corrected = router([Correction(axis(0, toward=3, share=1.0), "tea", "none")])
    assert route(corrected, axis(0)) == "tea"
    assert route(corrected, axis(1)) == "rent"
    assert route(corrected, axis(7)) == "none"


def test_a_verdict_for_a_procedure_that_is_not_there_does_nothing() -> None:
    message = axis(0, toward=1, share=0.5)
    assert route(router([Correction(message, "tea", "gone")]), message) == "tea"
    assert route(router([Correction(message, "gone", "rent")]), message) == "rent"


def spread_out(toward: int, shares: Sequence[float]) -> Tensor:
    """Messages along axis 0 that lean in different ways."""
    return torch.stack([axis(0, toward=toward, share=share) for share in shares])


def with_examples(corrections: Sequence[Correction], examples: Tensor) -> DiscriminantRouter:
    """The router in which ``tea`` is made from some messages, which tell where its messages end."""
    plain = router()
    statistics = {
        "tea": RouterStatistics.of(examples, ""),
        "rent": RouterStatistics(axis(1), 4, torch.zeros(1, DIMENSIONS), 0.0, ""),
    }
    return DiscriminantRouter(
        plain._basis, DIMENSIONS, statistics, None, corrections, lambda name: examples if name == "tea" else None
    )


def test_near_misses_tell_where_the_messages_of_a_procedure_end() -> None:
    own = torch.cat([spread_out(2, (0.0, 0.1, 0.2, -0.1, -0.2)), spread_out(3, (0.1, 0.2, -0.1, -0.2))])
    own = own / own.norm(dim=1, keepdim=True)
    missed, another = axis(0, toward=4, share=1.3), axis(0, toward=5, share=1.3)
    before = with_examples([], own)
    assert [route(before, vector) for vector in (missed, another)] == ["tea", "tea"]
    after = with_examples([Correction(missed, "tea", "none")], own)
    assert route(after, missed) == "none"
    assert route(after, another) == "none", "as far from the own messages as the corrected one, and unlike it"
    assert [route(after, vector) for vector in own] == ["tea"] * len(own)
    assert route(after, axis(1)) == "rent"


def test_a_border_gives_the_rest_to_none_and_probabilities_stay_a_distribution() -> None:
    own = torch.cat([spread_out(2, (0.0, 0.1, 0.2, -0.1, -0.2)), spread_out(3, (0.1, 0.2, -0.1, -0.2))])
    after = with_examples([Correction(axis(0, toward=4, share=1.3), "tea", "none")], own)
    for vector in (*own, axis(0, toward=5, share=1.3), axis(1)):
        ranked = after.candidates(Prefilled([], vector[None], vector[None]))[0]
        assert sum(one.probability for one in ranked) == pytest.approx(1.0, abs=1e-5)


def test_without_enough_examples_only_the_near_miss_itself_stays_away() -> None:
    own = spread_out(2, (0.0, 0.1))
    missed = axis(0, toward=4, share=1.3)
    after = with_examples([Correction(missed, "tea", "none")], own)
    assert route(after, missed) == "none"
    assert route(after, axis(0, toward=5, share=1.3)) == "tea"
