"""How the inputs of a procedure differ among themselves, and what all procedures of a bank share of that.

The feature space (``features``) makes the covariance within groups of *shipped* text the identity. A bank's own
procedures differ within themselves in other directions too: those in which all of them vary tell nothing about
which of them a message belongs to. So every procedure keeps a low-rank part of its scatter, its few largest directions,
and a bank adds these parts up into one pooled covariance: a linear discriminant whose covariance is shrunk toward the
shipped one, as firmly as the bank is small.

Low-rank parts are rounded to a grid on which sums of products are exact in float64. So the sum does not depend on the
order in which procedures came, and a procedure leaves as if it had never been there.

Letters: n inputs, k dimensions, r directions of a low-rank part, p procedures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokmem_desk.errors import RoutingError


@dataclass(frozen=True, slots=True)
class SharedShape:
    """The shared covariance of a bank, up to its scale.

    Attributes:
        factor: [k x k] float64, lower triangular L with A = L Lᵀ.
        identity: how much of the identity is in A.
    """

    factor: Tensor
    identity: float


LOW_RANK_ROWS = 4
"""Directions of a low-rank part. Four serve as well as all of them, two lose a little; see docs/research/routing.md."""
_GRID = 1024.0
_AT_ONCE = 64
"""Procedures whose low-rank parts are multiplied together: five times as quick as one by one."""
_SHIPPED_WEIGHT = 1000.0
"""How many inputs the shipped covariance counts for; as many as the bank has, where that is more."""


def pooled_covariance_settings() -> list[object]:
    """The numbers that the shared space depends on."""
    return [LOW_RANK_ROWS, _GRID, _SHIPPED_WEIGHT]


@dataclass(frozen=True, slots=True)
class RouterStatistics:
    """All that a discriminant router keeps of one procedure.

    Attributes:
        mean: [f] float32 mean of the projected features of its inputs.
        count: how many inputs.
        low_rank_scatter: [r x f] float32, the largest directions in which its inputs differ, see the function of that
            name; ``router.sketch`` in files.
        scatter: summed squared distance of its inputs from their mean.
        digest: of the fitted space that the features are of, ``RouterBasis.digest``; its recipe's in a bank file.
    """

    mean: Tensor
    count: int
    low_rank_scatter: Tensor
    scatter: float
    digest: str

    @classmethod
    def of(cls, vectors: Tensor, digest: str) -> RouterStatistics:
        """Statistics of a procedure whose inputs have these [n x f] features."""
        mean = vectors.mean(dim=0)
        scatter = float((vectors - mean).pow(2).sum())
        return cls(mean, int(vectors.shape[0]), low_rank_scatter(vectors), scatter, digest)

    def joined_by(self, vectors: Tensor) -> RouterStatistics:
        """The same procedure with inputs more, whose features are [n x f]; none of the old ones is needed."""
        more = RouterStatistics.of(vectors.to(self.mean.device), self.digest)
        total = self.count + more.count
        between = (self.mean - more.mean) * (self.count * more.count / total) ** 0.5
        return RouterStatistics(
            (self.count * self.mean + more.count * more.mean) / total,
            total,
            on_grid(torch.cat([self.low_rank_scatter, more.low_rank_scatter, between[None]])),
            self.scatter + more.scatter + float(between.pow(2).sum()),
            self.digest,
        )


def low_rank_scatter(vectors: Tensor) -> Tensor:
    """[r x k] float32 rows whose products add up to about the scatter of [n x k] vectors around their mean.

    What lies outside the largest directions is spread evenly over all of them, so that the trace is right.
    """
    residual = vectors.float() - vectors.float().mean(dim=0)
    # By way of the [n x n] products of few inputs, or the [k x k] ones of many: the same rows as a singular value
    # decomposition gives, many times as quick.
    few = residual.shape[0] <= residual.shape[1]
    values, axes = torch.linalg.eigh(residual @ residual.T if few else residual.T @ residual)
    count = min(LOW_RANK_ROWS, values.shape[0])
    axes = axes[:, -count:].T
    rows = torch.zeros(LOW_RANK_ROWS, vectors.shape[1], device=vectors.device)
    rows[:count] = axes @ residual if few else values[-count:, None].clamp_min(0).sqrt() * axes
    return on_grid(rows)


def on_grid(rows: Tensor) -> Tensor:
    """[r x k] rows, rounded to the grid on which their sums of products are exact."""
    return (rows * _GRID).round() / _GRID


class PooledCovariance:
    """The scatter that a bank's procedures share, kept as a sum that procedures join and leave."""

    def __init__(self, dimensions: int) -> None:
        """Nothing yet; ``dimensions`` is k."""
        self._scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64)
        self._rest = 0
        self._inputs = 0

    def add(self, *statistics: RouterStatistics) -> None:
        """Procedures join; many at once are quicker and give the same sum, bit by bit."""
        self._count(statistics, 1)

    def remove(self, *statistics: RouterStatistics) -> None:
        """Procedures leave: the sum is what it was before they came, bit by bit."""
        self._count(statistics, -1)

    def _count(self, statistics: Sequence[RouterStatistics], sign: int) -> None:
        rows = torch.cat([one.low_rank_scatter for one in statistics]).detach().cpu().double()
        self._scatter.addmm_(rows.T, rows, alpha=sign)
        lengths = [len(one.low_rank_scatter) for one in statistics]
        kept = torch.stack([part.pow(2).sum() for part in rows.split(lengths)])
        for one, size in zip(statistics, kept.tolist(), strict=True):
            # What the low-rank part leaves out, in whole steps of the grid, so that this sum is exact too.
            self._rest += sign * round(max(0.0, one.scatter - size) * _GRID)
            self._inputs += sign * max(0, one.count - 1)

    def copy(self) -> PooledCovariance:
        """The same sums, which go on apart."""
        found = PooledCovariance(0)
        found._scatter, found._rest, found._inputs = self._scatter.clone(), self._rest, self._inputs
        return found

    def _mean_variance(self, scatter: Tensor) -> float:
        return float(scatter.diagonal().mean()) / max(1, self._inputs)

    def whitening(self) -> Tensor | None:
        """[k x k] float32 that makes the shared covariance within procedures the identity.

        None where nothing is known about how inputs differ: no procedure, or one input each.

        Raises:
            RoutingError: the numbers cannot come from any inputs.
        """
        k = self._scatter.shape[0]
        identity = torch.eye(k, dtype=torch.float64)
        scatter = self._scatter + identity * (self._rest / _GRID / k)
        mean_variance = self._mean_variance(scatter)
        if self._inputs == 0 or mean_variance <= 0.0:
            return None
        shipped = max(_SHIPPED_WEIGHT, self._inputs)
        covariance = (scatter / mean_variance + shipped * identity) / (self._inputs + shipped)
        return torch.linalg.solve_triangular(_factor(covariance), identity, upper=False).T.float()

    def shape(self) -> SharedShape | None:
        """The same covariance up to its scale, as a factor; None where ``whitening`` is.

        Raises:
            RoutingError: the numbers cannot come from any inputs.
        """
        k = self._scatter.shape[0]
        rest = self._rest / _GRID / k
        scatter = self._scatter.clone()
        scatter.diagonal().add_(rest)
        mean_variance = self._mean_variance(scatter)
        if self._inputs == 0 or mean_variance <= 0.0:
            return None
        shipped = mean_variance * max(_SHIPPED_WEIGHT, self._inputs)
        scatter.diagonal().add_(shipped)
        return SharedShape(_factor(scatter), rest + shipped)


def _factor(covariance: Tensor) -> Tensor:
    try:
        return torch.linalg.cholesky(covariance)
    except RuntimeError:  # torch.linalg.LinAlgError is one
        raise RoutingError(
            "The router cannot use what its memories tell of their messages: one is damaged.",
            next_step="Leave out what was imported or trained last: tokmem-desk proc disable NAME",
        ) from None


def pooled(statistics: Sequence[RouterStatistics], dimensions: int) -> PooledCovariance:
    """The sums of a whole bank.

    Args:
        statistics: of the bank's procedures.
        dimensions: k of the feature space.
    """
    shared = PooledCovariance(dimensions)
    for start in range(0, len(statistics), _AT_ONCE):
        shared.add(*statistics[start : start + _AT_ONCE])
    return shared


def shared_whitening(statistics: Sequence[RouterStatistics], dimensions: int) -> Tensor | None:
    """The whitening of a whole bank at once, see ``PooledCovariance.whitening``.

    Args:
        statistics: of the bank's procedures.
        dimensions: k of the feature space.

    Returns:
        [k x k] float32; None where nothing is known about how inputs differ.

    Raises:
        RoutingError: the numbers cannot come from any inputs.
    """
    return pooled(statistics, dimensions).whitening()


def own_space(vectors: Tensor, whitening: Tensor | None) -> Tensor:
    """[n x k] unit vectors in a bank's own space.

    Args:
        vectors: [n x k] in the shipped space.
        whitening: [k x k] of the bank; None leaves the space as it is.
    """
    own = vectors if whitening is None else vectors @ whitening
    return own / own.norm(dim=1, keepdim=True).clamp_min(1e-12)
