"""How likely the model found each token of an answer, and which other answers it weighed.

Likely among what the form or the schema allowed: a token that had to follow was certain. Nothing is judged here.
Plain data: no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokmem_desk.generation.beam import BeamSearch


@dataclass(frozen=True, slots=True)
class Rival:
    """Another answer that was weighed, as far as it came.

    Attributes:
        log: its log probability, in nats.
        ended: it came to its end.
    """

    ids: tuple[int, ...]
    log: float
    ended: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """An answer with the likelihood of its tokens.

    Attributes:
        ids: its tokens, without an end.
        logs: log probability of each token among those that were allowed, in nats; 0 where it had to follow.
        end: the same of ending there; 0 where the answer had to end.
        rivals: other answers that were weighed, the likeliest first.
    """

    text: str
    ids: tuple[int, ...] = ()
    logs: tuple[float, ...] = ()
    end: float = 0.0
    rivals: tuple[Rival, ...] = ()

    @property
    def log(self) -> float:
        """Log probability of the whole answer, in nats."""
        return sum(self.logs) + self.end


NO_TRACE = Trace("")


def trace_of(search: BeamSearch, text: str) -> Trace:
    """The best answer of a search, whose text that is."""
    best = search.best
    rivals = tuple(Rival(rival.ids, rival.score, rival.ended) for rival in search.rivals)
    return Trace(text, best.ids, best.logs, best.score - sum(best.logs), rivals)
