"""A space can be fitted so that chosen directions weigh more, and stays a projection of the same size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.quick_fits import fit_quickly
from tokmem_desk.routing.features import FeatureLayers, RouterBasis, basis_from_features, standardised

HIDDEN = 16
LAYERS = FeatureLayers.of(10)
BLOCKS = LAYERS.blocks
GROUPS, EACH, CHAT = 24, 6, 40


def _texts(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """[n x f] raw features, the group of each grouped one, and the [f x 4] directions in which alone groups differ."""
    f = BLOCKS * HIDDEN
    directions = torch.linalg.qr(torch.randn(f, 4, generator=generator)).Q
    owner = torch.arange(GROUPS).repeat_interleave(EACH)
    middles = torch.randn(GROUPS, 4, generator=generator)
    raw = torch.randn(GROUPS * EACH + CHAT, f, generator=generator)
    raw[: len(owner)] += 1.5 * middles[owner] @ directions.T
    return raw, owner, directions


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor, RouterBasis, RouterBasis]:
    fit_quickly(monkeypatch.setattr)
    monkeypatch.setattr("tokmem_desk.routing.features.DIMENSIONS", 8)
    raw, owner, directions = _texts(torch.Generator().manual_seed(0))
    plain = basis_from_features(raw, owner, LAYERS, HIDDEN, "print")
    return raw, owner, plain, basis_from_features(raw, owner, LAYERS, HIDDEN, "print", 5 * directions)


def test_a_taught_space_is_one_projection_of_the_same_size(
    fits: tuple[Tensor, Tensor, RouterBasis, RouterBasis],
) -> None:
    raw, owner, plain, taught = fits
    assert taught.projection.shape == plain.projection.shape and taught.fits(HIDDEN)
    found = torch.nn.functional.normalize(standardised(raw, taught, HIDDEN) @ taught.projection, dim=1)
    assert torch.allclose(found[len(owner) :], taught.chat, atol=1e-4)


def test_groups_lie_further_apart_along_what_was_taught(fits: tuple[Tensor, Tensor, RouterBasis, RouterBasis]) -> None:
    raw, owner, plain, taught = fits

    def apart(basis: RouterBasis) -> float:
        found = torch.nn.functional.normalize(standardised(raw, basis, HIDDEN) @ basis.projection, dim=1)[: len(owner)]
        cosines, same = found @ found.T, owner[:, None] == owner[None]
        return float(cosines[same].mean() - cosines[~same].mean())

    assert apart(taught) > apart(plain) + 0.1
