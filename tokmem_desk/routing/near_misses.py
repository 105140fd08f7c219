"""Near-misses: messages that went to a procedure and that the person sent to plain chat.

One verdict says little about a message alone, and much about the procedure: its messages end before there. So each
procedure with near-misses gets a border of its own. A message's score is its likeness to the procedure, less its
likeness to the mean of ordinary chat and half its likeness to the mean of the near-misses. The border lies half way
between the scores of the procedure's own messages and those of the near-misses, but never so high that more than three
in a hundred own messages are expected behind it, and never above a known one. Own messages are scored as if they were
not known: each with a router that was made without it.

Everything is measured in the bank's own space. Measured in docs/research/routing.md, section "Corrections".

Letters: n messages, c near-misses, e examples, k dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tokmem_desk.memory.router_statistics import PooledCovariance, RouterStatistics, own_space

Examples = Callable[[str], Tensor | None]
"""[e x k] unit vectors of messages of a procedure, by its name; None where they are not known."""

LEAST_EXAMPLES = 3
"""With fewer, nothing can be said about where the messages of a procedure end."""
MOST_EXAMPLES = 48
"""Examples that are looked at; more take time and move the border little."""

_FOLDS = 8
_LIKENESS_TO_NEAR_MISSES = 0.5
"""Weight in a score."""
_LIKENESS_OF_THE_FIRST = 0.3
"""How like a first near-miss is to the next: about the median over near-misses of the procedures that chose it."""
_BETWEEN = 0.5
"""Where the border lies between own messages (0) and near-misses (1)."""
_NORMAL_BEHIND = 1.88
"""Standard deviations below the mean of a normal distribution beyond which three in a hundred values lie."""
_STEEPNESS = 4.0
"""Logits for each standard deviation from the border."""
_THE_SAME = 0.995
"""Cosine from which a message is taken to be the near-miss itself."""


@dataclass(frozen=True, slots=True)
class Border:
    """Where the messages of one procedure end.

    Attributes:
        near_misses: [c x k] unit vectors in the bank's own space.
        chat: [k] unit mean of ordinary chat there.
        mean, std: of the scores of its own messages.
        place: of the border, in standard deviations from that mean; below 0. None where too few messages are known:
            then only the near-misses themselves stay away.
    """

    near_misses: Tensor
    chat: Tensor
    mean: float
    std: float
    place: float | None

    def shares(self, own: Tensor, cosines: Tensor) -> Tensor:
        """[n] factors from 0 to 1 on the probability of the procedure.

        Args:
            own: [n x k] messages in the bank's own space.
            cosines: [n] their likeness to the procedure.
        """
        if self.place is None:
            shares = torch.ones_like(cosines)
        else:
            away = self.chat + _LIKENESS_TO_NEAR_MISSES * _direction(self.near_misses)
            scores = cosines - own @ away
            shares = torch.sigmoid(_STEEPNESS * ((scores - self.mean) / self.std - self.place))
        same = (own @ self.near_misses.T).amax(dim=1) >= _THE_SAME
        return shares.masked_fill(same, 0.0)


class Borders:
    """Borders of the procedures of a bank that have near-misses, each found when a message first needs it.

    Args:
        names: of all procedures of the bank.
        statistics: of each.
        near_misses: [c x k] unit vectors in the shipped space, by procedure.
        examples: gives messages of a procedure in the shipped space.
        chat: [m x k] unit vectors of ordinary chat in the shipped space.
    """

    def __init__(
        self,
        names: Sequence[str],
        statistics: Sequence[RouterStatistics],
        near_misses: Mapping[str, Tensor],
        examples: Examples | None,
        chat: Tensor,
    ) -> None:
        self._names = list(names)
        self._statistics = list(statistics)
        self._near_misses = dict(near_misses)
        self._examples = examples
        self._chat = chat
        self._found: dict[str, Border] = {}
        self._covariance: PooledCovariance | None = None

    def held_back(self, probabilities: Tensor, own: Tensor, cosines: Tensor) -> tuple[Tensor, Tensor]:
        """What the borders leave of [n x (p + 1)] probabilities; the rest goes to ``none``, which stands last.

        Args:
            own: [n x k] messages in the bank's own space.
            cosines: [n x p] their likeness to each procedure.

        Returns:
            The probabilities, and [n] whether the best procedure's border kept a message away from it.
        """
        best = probabilities[:, :-1].argmax(dim=1)
        away = torch.zeros(len(best), dtype=torch.bool, device=best.device)
        kept = probabilities.clone()
        for name in self._near_misses:
            column = self._names.index(name)
            mine = best == column
            if not bool(mine.any()):
                continue
            shares = self._border(name).shares(own[mine], cosines[mine, column])
            kept[mine, column] *= shares
            away[mine] = shares < 0.5
        kept[:, -1] += probabilities[:, :-1].sum(dim=1) - kept[:, :-1].sum(dim=1)
        return kept, away

    def _border(self, name: str) -> Border:
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> Border:
        place = self._names.index(name)
        mine, near = self._statistics[place], self._near_misses[name]
        whitening = self._pooled().whitening()
        near_own = own_space(near, whitening)
        chat = _direction(own_space(self._chat, whitening))
        examples = None if self._examples is None else self._examples(name)
        if examples is None or len(examples) < LEAST_EXAMPLES:
            return Border(near_own, chat, 0.0, 1.0, None)
        examples = examples[:MOST_EXAMPLES].to(near.device)
        scores = self._scores_left_out(place, examples, near)
        mean_own = own_space(mine.mean[None].to(near.device), whitening)[0]
        missed = near_own @ (mean_own - chat) - _LIKENESS_TO_NEAR_MISSES * _likeness_to_the_others(near_own)
        mean, std = float(scores.mean()), max(float(scores.std()), 1e-4)
        between = _BETWEEN * (float(missed.mean()) - mean) / std
        lowest = (float(scores.min()) - mean) / std
        return Border(near_own, chat, mean, std, min(between, _most_behind(len(scores)), lowest))

    def _scores_left_out(self, place: int, examples: Tensor, near: Tensor) -> Tensor:
        """[e] scores of a procedure's own messages, each in a bank that was made without it."""
        pooled, mine = self._pooled(), self._statistics[place]
        scores = torch.empty(len(examples))
        pooled.remove(mine)
        try:
            for fold in range(min(_FOLDS, len(examples))):
                judged = torch.arange(fold, len(examples), _FOLDS)
                rest = torch.ones(len(examples), dtype=torch.bool).index_fill(0, judged, False)
                without = RouterStatistics.of(examples[rest], mine.digest)
                pooled.add(without)
                whitening = pooled.whitening()
                pooled.remove(without)
                own = own_space(examples[judged], whitening)
                toward = own_space(without.mean[None], whitening)[0] - _direction(own_space(self._chat, whitening))
                toward = toward - _LIKENESS_TO_NEAR_MISSES * _direction(own_space(near, whitening))
                scores[judged] = (own @ toward).cpu()
        finally:
            pooled.add(mine)
        return scores

    def _pooled(self) -> PooledCovariance:
        """The scatter that all procedures of the bank share."""
        if self._covariance is None:
            self._covariance = PooledCovariance(self._chat.shape[1])
            for one in self._statistics:
                self._covariance.add(one)
        return self._covariance


def _direction(near_misses: Tensor) -> Tensor:
    """[k] unit mean of [c x k] near-misses."""
    mean = near_misses.mean(dim=0)
    return mean / mean.norm().clamp_min(1e-12)


def _likeness_to_the_others(near_misses: Tensor) -> Tensor:
    """[c] likeness of each near-miss to the mean of the others."""
    count = len(near_misses)
    if count == 1:
        return torch.full((1,), _LIKENESS_OF_THE_FIRST, device=near_misses.device)
    others = near_misses.sum(dim=0) - near_misses
    return (near_misses * others).sum(dim=1) / others.norm(dim=1).clamp_min(1e-12)


def _most_behind(count: int) -> float:
    """Standard deviations (negative) from the mean of ``count`` values behind which three in a hundred others lie.

    Student's distribution, by the first terms of its expansion around the normal one: few values say little about
    where the next ones lie.
    """
    z, freedom = _NORMAL_BEHIND, count - 1
    quantile = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return -quantile * math.sqrt(1 + 1 / count)
