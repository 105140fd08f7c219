"""The rows of the grid of pairs. Each is made when it is drawn, so that long lists cost nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, overload

from profiles.store.pairs import PairList, PairRecord

DRAFT = 0
"""The key of the row that is being written."""

CellPart = Literal["input", "response"]


@dataclass(frozen=True, slots=True)
class GridRow:
    """A pair as it is shown."""

    key: int
    """Id of the pair; 0 is the one that is being written."""
    input: str
    response: str
    sign: str = ""
    """One character: ``t`` held out, ``!`` something is odd, ``✎`` not saved yet."""
    dim: bool = False


class GridRows(Sequence[GridRow]):
    """A sequence whose rows are made when they are read: of 20,000 some forty are in sight.

    Args:
        count: how many.
        row: makes the one at a place.
        place: of the row with a key; None where there is none.
    """

    def __init__(self, count: int, row: Callable[[int], GridRow], place: Callable[[int], int | None]) -> None:
        self._count = count
        self._row = row
        self.place = place

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> GridRow: ...

    @overload
    def __getitem__(self, place: slice) -> list[GridRow]: ...

    def __getitem__(self, place: int | slice) -> GridRow | list[GridRow]:
        if isinstance(place, slice):
            return [self._row(one) for one in range(*place.indices(self._count))]
        if not -self._count <= place < self._count:
            raise IndexError(place)
        return self._row(place % self._count)


NO_ROWS = GridRows(0, lambda place: GridRow(place, "", ""), lambda _: None)


def pair_rows(
    pairs: PairList,
    shown: Sequence[int] | None,
    sign: Callable[[PairRecord], str],
    draft: Mapping[CellPart, str] | None,
) -> GridRows:
    """The rows of the grid, each made when it is looked at.

    Args:
        pairs: all of the procedure.
        shown: the places of those that the filter lets pass; None: all do.
        sign: what stands before a pair.
        draft: the pair that is being written, which comes last.
    """
    count = len(pairs) if shown is None else len(shown)

    def row(place: int) -> GridRow:
        if place == count and draft is not None:
            return GridRow(DRAFT, draft["input"], draft["response"], "✎")
        pair = pairs[place if shown is None else shown[place]]
        return GridRow(pair.id, pair.input, pair.response, sign(pair), dim=pair.part == "held_out")

    def place(key: int) -> int | None:
        if key == DRAFT:
            return None if draft is None else count
        found = pairs.place(key)
        if shown is None or found is None:
            return found
        within = bisect_left(shown, found)
        return within if within < count and shown[within] == found else None

    return GridRows(count + (draft is not None), row, place)
