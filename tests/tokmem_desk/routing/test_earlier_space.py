"""Statistics of the space before today's are turned into today's, whichever computer fitted it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from tokmem_desk.errors import BadInputError, IncompatibleError
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.routing.earlier_space import EarlierSpace, fit_from_bytes, turned, turning

K, CHAT = 12, 40
CPU = torch.device("cpu")


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rotation(seed: int) -> Tensor:
    return torch.linalg.qr(drawn(seed, K, K)).Q


@pytest.fixture
def earlier() -> EarlierSpace:
    return EarlierSpace("recipe", "shipped", normalize(drawn(1, CHAT, K), dim=1), rotation(2))


def test_another_fit_is_turned_into_the_shipped_one_first(earlier: EarlierSpace) -> None:
    away = rotation(3)
    known = earlier.with_fits({"own": earlier.chat @ away})
    inputs = normalize(drawn(4, 5, K), dim=1)
    here = inputs @ earlier.turn
    for space, digest, seen in (
        (earlier, "shipped", inputs),
        (earlier, "recipe", inputs),
        (known, "own", inputs @ away),
        (known, "recipe", inputs @ away),
    ):
        turn = space.from_fit(digest)
        assert turn is not None
        found = turned(RouterStatistics.of(seen, digest), turn, "today")
        expected = RouterStatistics.of(here, "today")
        assert torch.allclose(found.mean, expected.mean, atol=1e-4) and found.digest == "today"
        assert found.scatter == pytest.approx(expected.scatter, abs=1e-3)
        assert torch.allclose(
            found.low_rank_scatter.T @ found.low_rank_scatter,
            expected.low_rank_scatter.T @ expected.low_rank_scatter,
            atol=0.02,
        )
    assert earlier.from_fit("own") is None, "a fit that nobody has told of"


def test_anchors_of_a_bank_tell_its_fit(earlier: EarlierSpace) -> None:
    away = rotation(5)
    turn = earlier.from_anchors((earlier.chat @ away).flatten())
    assert turn is not None and torch.allclose(away @ turn, earlier.turn, atol=1e-4)
    assert earlier.from_anchors(None) is earlier.turn
    assert earlier.from_anchors(drawn(6, 3, K)) is None, "of another length"
    assert earlier.from_anchors(normalize(drawn(7, CHAT, K), dim=1)) is None, "of other messages"


def test_a_mean_stays_one_of_unit_vectors(earlier: EarlierSpace) -> None:
    inputs = normalize(drawn(8, 1, K), dim=1).repeat(3, 1)
    found = turned(RouterStatistics.of(inputs, "shipped"), 2 * earlier.turn, "today")
    assert float(found.mean.norm()) == pytest.approx(1) and found.scatter == pytest.approx(0, abs=1e-5)


def test_files_come_back_and_damage_is_told(earlier: EarlierSpace) -> None:
    back = EarlierSpace.from_bytes(earlier.to_bytes(), CPU)
    assert (back.recipe, back.digest) == ("recipe", "shipped") and torch.allclose(back.turn, earlier.turn, atol=1e-3)
    for read in (EarlierSpace.from_bytes, fit_from_bytes):
        with pytest.raises(BadInputError, match="damaged"):
            read(b"rubbish", CPU)


def test_other_messages_are_no_turning(earlier: EarlierSpace) -> None:
    assert turning(earlier.chat, earlier.chat.clone()) is None
    with pytest.raises(IncompatibleError, match="look different"):
        turning(normalize(drawn(9, CHAT, K), dim=1), earlier.chat)
