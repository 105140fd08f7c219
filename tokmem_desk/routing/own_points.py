"""Points of the shipped space as a large bank's own space sees them, carried on when a procedure joins or leaves.

A bank's own space is the shipped one, whitened by what its procedures share (``memory.router_statistics``). With every
procedure that space changes a little, and with it the length of every point in it: whitening twenty thousand means anew
takes most of a second. Cosines need each point as it is, and its length alone. The length is ``sqrt(m A^-1 m)`` with A
the shared covariance up to its scale, and a procedure changes A by its few low-rank rows and a multiple δ of the
identity. The rows are accounted for exactly (Sherman, Morrison and Woodbury), δ by its first derivative and a bound of
its second: it is some twenty-thousandth of A. What is left out grows with the square of all δ together; before it is
more than float32 rounds (``FURTHEST``), all lengths are found anew.

Letters: p points, k dimensions, r rows, n vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokmem_desk.memory.router_statistics import SharedShape

FURTHEST = 3e-3
"""All δ since lengths were found, as a share of the identity in A: sixty procedures of twenty thousand."""
_AT_ONCE = 128
"""Points that are read together: what is made of them stays in the processor's cache."""
_FEW = 64
"""Points for which no inverse is made."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one procedure adds to A, or takes away, besides its multiple of the identity.

    Attributes:
        rows: [r x k] float32.
        sign: 1 where it joins, -1 where it leaves.
    """

    rows: Tensor
    sign: float


class _Room:
    """Points in one piece of memory, with room for more. Only the newest ``OwnPoints`` may add some."""

    def __init__(self, points: Tensor) -> None:
        self.whole = points.new_empty((len(points) + max(256, len(points) // 8), points.shape[1]))
        self.whole[: len(points)] = points
        self.used = len(points)


class OwnPoints:
    """Points and their squared lengths in a bank's own space. It never changes; ``carried`` gives another.

    Args:
        points: [p x k] float32 in the shipped space.
        shape: of the bank.
    """

    def __init__(self, points: Tensor, shape: SharedShape) -> None:
        self._room, self._count = _Room(points), len(points)
        self._squares, self._slopes = _measured(points, shape)
        self._shape = shape
        self._carried = 0.0

    def __len__(self) -> int:
        return self._count

    @property
    def bytes(self) -> int:
        numbers = (self._room.whole, self._squares, self._slopes)
        return sum(tensor.numel() * tensor.element_size() for tensor in numbers)

    def carried(
        self, shape: SharedShape, changes: Sequence[Change], gone: Sequence[int], more: Tensor
    ) -> OwnPoints | None:
        """The same points, without some and with others behind, in the space that the bank has after these changes.

        Args:
            gone: places of points that leave.
            more: [n x k] float32 that come.

        Returns:
            None where they are to be found anew.
        """
        step = shape.identity - self._shape.identity
        carried = self._carried + abs(step) / self._shape.identity
        if carried > FURTHEST:
            return None
        rows = torch.cat([change.rows for change in changes]).double()
        signs = torch.cat([torch.full((len(c.rows),), c.sign, dtype=torch.float64) for c in changes])
        # A^-1 Bᵀ and A^-2 Bᵀ, and what is left of the rows' own products.
        once = torch.cholesky_solve(rows.T, self._shape.factor)
        twice = torch.cholesky_solve(once, self._shape.factor)
        inner = torch.linalg.inv(signs.diag() + rows @ once)
        directions = torch.cat([once, twice], dim=1).float()
        count = len(rows)
        seen = torch.cat([part @ directions for part in self._points().split(_AT_ONCE)]).double()
        first, second = seen[:, :count], seen[:, count:]
        left = first @ inner
        squares = self._squares - (left * first).sum(dim=1)
        slopes = self._slopes - 2 * (left * second).sum(dim=1) + ((left @ (once.T @ once)) * left).sum(dim=1)
        bend = slopes.square() / squares.clamp_min(1e-30)
        squares, slopes = squares - step * slopes + step**2 * bend, slopes - 2 * step * bend
        found = self._with(shape, squares, slopes, gone, more)
        found._carried = carried
        return found

    def _points(self) -> Tensor:
        return self._room.whole[: self._count]

    def _with(
        self, shape: SharedShape, squares: Tensor, slopes: Tensor, gone: Sequence[int], more: Tensor
    ) -> OwnPoints:
        """These lengths, with some points fewer and others behind."""
        found = OwnPoints.__new__(OwnPoints)
        room, count = self._room, self._count
        if gone:
            stays = torch.ones(count, dtype=torch.bool)
            stays[list(gone)] = False
            squares, slopes, count = squares[stays], slopes[stays], count - len(gone)
            room = _Room(self._points()[stays])
        elif room.used != count or count + len(more) > len(room.whole):
            room = _Room(self._points())
        room.whole[count : count + len(more)] = more
        room.used = count + len(more)
        own_squares, own_slopes = _measured(more, shape)
        found._squares, found._slopes = torch.cat([squares, own_squares]), torch.cat([slopes, own_slopes])
        found._shape, found._count, found._room = shape, room.used, room
        return found

    def cosines(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """How vectors lie to the points in the bank's own space.

        Args:
            vectors: [n x k] float32 in the shipped space.

        Returns:
            [n x k] the vectors in the bank's own space, of length one; [n x p] cosines.
        """
        own = self._own(vectors)
        back = torch.linalg.solve_triangular(self._shape.factor.T, own, upper=True).T.float()
        lengths = self._squares.clamp_min(1e-24).sqrt().float()
        return own.T.float(), back @ self._points().T / lengths

    def own(self, vectors: Tensor) -> Tensor:
        """[n x k] the vectors in the bank's own space, of length one."""
        return self._own(vectors).T.float()

    def _own(self, vectors: Tensor) -> Tensor:
        own = torch.linalg.solve_triangular(self._shape.factor, vectors.double().T, upper=False)
        return own / own.norm(dim=0, keepdim=True).clamp_min(1e-12)


def _measured(points: Tensor, shape: SharedShape) -> tuple[Tensor, Tensor]:
    """[p] float64 squared lengths, and how fast they fall with δ: ``|A^-1 m|²``."""
    if len(points) <= _FEW:
        own = torch.linalg.solve_triangular(shape.factor, points.double().T, upper=False)
        back = torch.linalg.solve_triangular(shape.factor.T, own, upper=True)
        return own.square().sum(dim=0), back.square().sum(dim=0)
    identity = torch.eye(len(shape.factor), dtype=torch.float64)
    inverse = torch.linalg.solve_triangular(shape.factor, identity, upper=False).float()
    squares, slopes = [], []
    for part in points.split(_AT_ONCE):
        own = part @ inverse.T
        squares.append(own.square().sum(dim=1))
        slopes.append((own @ inverse).square().sum(dim=1))
    return torch.cat(squares).double(), torch.cat(slopes).double()
