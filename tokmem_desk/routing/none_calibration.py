"""Calibration: from similarities to probabilities, ``none`` included.

A message's similarity to each procedure's mean is a cosine. Which known procedure it is, given that it is
one, is a softmax over cosines; whether it is any at all is a logistic function of the best cosine, of the
likeness to ordinary chat and of how many procedures and examples there are. Both are fitted on simulated
banks drawn from groups of shipped text: some groups play the procedures, the others and ordinary chat play
``none``.

Called by ``features.basis_from_features``; a stored fit is made anew when its settings change (``fitting_numbers``).
``routers.DiscriminantRouter.rank`` adds corrections and asks ``none_log_prior``; ``routers.ranked`` applies that prior,
and a person's ``none_bias`` and thresholds.

Letters: n texts, k dimensions, p procedures, c chat messages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tokmem_desk.memory.router_statistics import (
    RouterStatistics,
    own_space,
    pooled_covariance_settings,
    shared_whitening,
)

_VERSION = 1
"""Version of the fitting code; raise it when the code changes, not when a number below does."""

_EPISODES = 240
_SHOTS = (2, 3, 5, 8, 10)
_BANK_SIZES = (1, 2, 3, 5, 8, 12, 20, 40)
_CHAT_SHARE = 0.75
"""Of the messages that play ``none``; the rest come from groups that play no procedure, which is harder."""
_LEAST_OUTSIDE = 24
"""Messages that play ``none`` in a simulated bank, at least; otherwise as many as play procedures."""
_INSIDE_EACH = 4
"""Messages that each procedure of a simulated bank is asked, beside those that it is made of."""
_SEED = 0
"""Of the draws of simulated banks."""
_LOG_SHARPNESS = 2.5
"""Natural logarithm of the sharpness that its fit starts at."""
_WEIGHT_DECAY = 1e-4
"""On the squares of the known-logit's weights."""
_ITERATIONS = 200
"""Of the optimiser, at most."""

_FITTED_WITH_FIRST = (24, 4, 0, 2.5, 1e-4, 200)
"""The six numbers above as they were before ``fitting_numbers`` had them. With these values it leaves them out, so that
fits stored earlier stay good."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Fitted numbers.

    Attributes:
        sharpness: factor on cosines in the softmax over known procedures.
        weights: of the known-logit's terms, see ``known_terms``.
    """

    sharpness: float
    weights: tuple[float, ...]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, object]) -> Calibration:
        """Rebuild from ``as_dict``; raises KeyError, TypeError or ValueError for anything else."""
        weights = fields["weights"]
        if not isinstance(weights, list) or len(weights) != _TERMS:
            raise ValueError("calibration weights")
        return cls(float(str(fields["sharpness"])), tuple(float(w) for w in weights))

    def probabilities(
        self, cosines: Tensor, chattiness: Tensor, counts: Tensor, tightness: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """[n x (p + 1)] float32; the last column is ``none``.

        Args:
            cosines: [n x p] similarity to each procedure's mean.
            chattiness: [n] likeness to ordinary chat, see ``chattiness``.
            counts: [p] examples behind each mean.
            tightness: [p] see ``tightness``.
            bias: [n x p] added to each procedure's logit by corrections, or None. Thresholds come later, in
                ``routers.ranked``.
        """
        adjusted = cosines if bias is None else cosines + bias / self.sharpness
        terms = known_terms(adjusted, chattiness, counts, tightness)
        known = torch.sigmoid(terms @ torch.tensor(self.weights, device=cosines.device))
        share = torch.softmax(self.sharpness * adjusted, dim=1)
        return torch.cat([known[:, None] * share, 1 - known[:, None]], dim=1)


_TERMS = 8
_NEAREST = 3


def fitting_numbers() -> list[object]:
    """All numbers that a calibration is fitted with, as JSON values. A change of any of them requires a new fit."""
    added = (_LEAST_OUTSIDE, _INSIDE_EACH, _SEED, _LOG_SHARPNESS, _WEIGHT_DECAY, _ITERATIONS)
    return [
        _VERSION,
        _EPISODES,
        _SHOTS,
        _BANK_SIZES,
        _CHAT_SHARE,
        _TERMS,
        _NEAREST,
        _PRIOR_LIKENESS,
        _PRIOR_WEIGHT,
        *pooled_covariance_settings(),
        *(() if added == _FITTED_WITH_FIRST else added),
    ]


def chattiness(vectors: Tensor, chat: Tensor) -> Tensor:
    """[n] mean cosine of [n x k] unit vectors to their three nearest of [c x k] chat messages."""
    return (vectors @ chat.T).topk(min(_NEAREST, chat.shape[0]), dim=1).values.mean(dim=1)


def tightness(means: Tensor, counts: Tensor) -> Tensor:
    """[p] how alike a procedure's inputs are: their mean cosine to one another, shrunk for few examples.

    Args:
        means: [p x k] means of unit vectors, not normalised: their length tells the likeness.
        counts: [p].
    """
    pairs = (counts - 1).clamp_min(0)
    likeness = (counts * means.pow(2).sum(dim=1) - 1) / pairs.clamp_min(1)
    return (pairs * likeness + _PRIOR_WEIGHT * _PRIOR_LIKENESS) / (pairs + _PRIOR_WEIGHT)


_PRIOR_LIKENESS = 0.15
_PRIOR_WEIGHT = 3.0
"""What ``tightness`` assumes before it has seen pairs of examples, and how firmly."""


def known_terms(cosines: Tensor, chattiness: Tensor, counts: Tensor, tightness: Tensor) -> Tensor:
    """[n x 8] terms of the logit that a message belongs to any procedure at all.

    A mean of few examples is noisy, and its cosine is lower; inputs of a tight procedure lie closer to
    their mean; among many procedures the best cosine is higher by chance. The terms let the fit allow for
    all three.
    """
    best, which = cosines.max(dim=1)
    tight = tightness[which]
    return torch.stack(
        [
            best,
            best * best,
            tight,
            best * tight,
            counts.float().rsqrt()[which],
            torch.full_like(best, float(torch.log(torch.tensor(float(cosines.shape[1]))))),
            chattiness,
            torch.ones_like(best),
        ],
        dim=1,
    )


def fit_calibration(examples: Sequence[tuple[Tensor, Tensor, Tensor]], seed: int = _SEED) -> Calibration:
    """Fit on simulated banks.

    Args:
        examples: per space, grouped unit vectors [n x k], their groups [n], chat's unit vectors [c x k].
    """
    generator = torch.Generator().manual_seed(seed)

    def pick(count: int, size: int) -> Tensor:
        return torch.randperm(count, generator=generator)[:size]

    terms, labels, weights = [], [], []
    sharp_cosines: list[tuple[Tensor, Tensor]] = []
    for episode in range(_EPISODES):
        vectors, owner, chat = examples[episode % len(examples)]
        ids = owner.unique()
        size = min(_BANK_SIZES[episode % len(_BANK_SIZES)], len(ids) // 2)
        shots = _SHOTS[(episode // len(_BANK_SIZES)) % len(_SHOTS)]
        order = ids[pick(len(ids), len(ids))]
        bank, known, targets = [], [], []  # known: rows of vectors
        for position, group in enumerate(order[:size]):
            members = (owner == group).nonzero()[:, 0]
            members = members[pick(len(members), len(members))]
            bank.append(RouterStatistics.of(vectors[members[:shots]], ""))
            rest = members[shots : shots + _INSIDE_EACH]
            known.append(rest)
            targets += [position] * len(rest)
        means = torch.stack([statistics.mean for statistics in bank])
        counts = torch.full((size,), float(shots))
        tight = tightness(means, counts)
        whitening = shared_whitening(bank, vectors.shape[1])
        own_means, own_chat = own_space(means, whitening), own_space(chat, whitening)
        own_known = own_space(vectors[torch.cat(known)], whitening)
        inside = own_known @ own_means.T
        wanted = torch.tensor(targets)
        others = torch.isin(owner, order[size:]).nonzero()[:, 0]
        count = max(_LEAST_OUTSIDE, inside.shape[0])
        strangers = own_space(vectors[others[pick(len(others), round(count * (1 - _CHAT_SHARE)))]], whitening)
        talk = pick(len(chat), round(count * _CHAT_SHARE))
        outside = torch.cat([strangers, own_chat[talk]]) @ own_means.T
        outside_chattiness = torch.cat([chattiness(strangers, own_chat), _chattiness_of_chat(own_chat, talk)])
        right = inside.argmax(dim=1) == wanted
        # A message sent to the wrong procedure counts as neither: it says nothing about none.
        inside_terms = known_terms(inside[right], chattiness(own_known[right], own_chat), counts, tight)
        terms.append(torch.cat([inside_terms, known_terms(outside, outside_chattiness, counts, tight)]))
        labels.append(torch.cat([torch.ones(int(right.sum())), torch.zeros(outside.shape[0])]))
        # Every episode weighs the same, and so do known and none within it.
        weights.append(
            torch.cat(
                [
                    torch.full((int(right.sum()),), 0.5 / max(1, int(right.sum()))),
                    torch.full((outside.shape[0],), 0.5 / outside.shape[0]),
                ]
            )
        )
        if size > 1:
            sharp_cosines.append((inside, wanted))
    return Calibration(
        _fit_sharpness(sharp_cosines), _fit_logistic(torch.cat(terms), torch.cat(labels), torch.cat(weights))
    )


def _chattiness_of_chat(chat: Tensor, rows: Tensor) -> Tensor:
    """Likeness of some chat messages to the others."""
    cosines = chat[rows] @ chat.T
    cosines[torch.arange(len(rows)), rows] = -1.0
    return cosines.topk(min(_NEAREST, chat.shape[0]), dim=1).values.mean(dim=1)


def _fit_sharpness(samples: Sequence[tuple[Tensor, Tensor]]) -> float:
    log_sharpness = torch.tensor(_LOG_SHARPNESS, requires_grad=True)

    def loss() -> Tensor:
        return torch.stack([F.cross_entropy(log_sharpness.exp() * c, t) for c, t in samples]).mean()

    _minimise([log_sharpness], loss)
    return float(log_sharpness.detach().exp())


def _fit_logistic(terms: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, ...]:
    coefficients = torch.zeros(terms.shape[1], requires_grad=True)

    def loss() -> Tensor:
        fit = F.binary_cross_entropy_with_logits(terms @ coefficients, labels, weights, reduction="sum")
        return fit / weights.sum() + _WEIGHT_DECAY * coefficients.pow(2).sum()

    _minimise([coefficients], loss)
    return tuple(float(c) for c in coefficients.detach())


def _minimise(parameters: list[Tensor], loss: object) -> None:
    assert callable(loss)
    optimiser = torch.optim.LBFGS(parameters, max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return float(value.detach())

    optimiser.step(closure)


def none_log_prior(procedures: int) -> float:
    """Log prior added to ``none`` (at most 0), by the number of procedures: lowest with ten to twenty.

    A dozen procedures cover little of what people say, so what resembles one is meant for it, and ordinary chat stays
    far away: with twelve, one of 160 messages came nearer than 1.25 nats, while seven of the eight messages that
    ``none`` took from them were ahead by less than 2. With three, chat comes nearer: 6 to 11 of 100 within 1.25 nats,
    none to two within half a nat. With many procedures that cover daily life, messages that belong to none lie
    between them (docs/research/routing.md).
    """
    count = max(1, procedures)
    rise = min(1.0, max(0.0, (count - _THREE) / (_DOZEN - _THREE)))
    fall = min(1.0, max(0.0, math.log(_MANY / count) / math.log(_MANY / _FEW)))
    return -(_LEAST + (_MOST - _LEAST) * rise) * fall


_THREE, _DOZEN = 3, 12
"""Procedures up to which the log prior of ``none`` is nearest to 0, and from which on it is lowest."""
_FEW, _MANY = 20, 60
"""Procedures from which on the log prior rises again, and from which on it is 0."""
_LEAST, _MOST = 0.5, 1.25
"""Nats."""
