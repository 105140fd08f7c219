"""What was said before a message, and the message, as one text to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tokmem_desk.background.referring import Said

if TYPE_CHECKING:
    from torch import Tensor

REACH = 1200
"""Characters of what was said before that are looked at, the latest first; an exchange that has more is left out."""

MOST_SAID = 3
"""Exchanges that are looked at."""


@dataclass(frozen=True, slots=True)
class Dossier:
    """What was said before a message, and the message, as one text.

    Attributes:
        text: the texts, one a line.
        start: where the message begins.
        regions: of each stretch of the text, its end and what it is: 0 the message, then for each exchange, the latest
            first, 1 + 2 i its message and 2 + 2 i its answer.
    """

    text: str
    start: int
    regions: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, said: Sequence[Said], message: str) -> Dossier:
        """The latest of what was said, as far as it is short enough."""
        kept: list[Said] = []
        for one in reversed(said[-MOST_SAID:]):
            if sum(len(k.message) + len(k.answer) for k in [*kept, one]) > REACH:
                break
            kept.insert(0, one)
        text, regions = "", list[tuple[int, int]]()
        for back, one in zip(range(len(kept) - 1, -1, -1), kept, strict=True):
            for which, words in enumerate((one.message.strip(), one.answer.strip())):
                text += words + "\n"
                regions.append((len(text), 1 + 2 * back + which))
        return cls(text + message.strip(), len(text), (*regions, (len(text) + len(message.strip()) + 1, 0)))

    def region_ids(self, places: Sequence[tuple[int, int]]) -> Tensor:
        """[t] long, what each token is part of."""
        ids = []
        for _, end in places:
            ids.append(next(region for after, region in self.regions if end <= after))
        return torch.tensor(ids, dtype=torch.long)

    def stretch(self, region: int) -> tuple[int, int]:
        """Where a region stands in the text."""
        start = 0
        for end, which in self.regions:
            if which == region:
                return start, end
            start = end
        return start, start
