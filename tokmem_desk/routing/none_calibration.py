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
from collections.abc import Callable, Sequence
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

_TERMS = 8
"""Columns of ``known_terms``."""
_NEAREST = 3
"""Chat messages that ``chattiness`` takes the mean over: the most similar ones."""
_TIGHTNESS_BEFORE = 0.15
"""The cosine that ``tightness`` assumes before it has seen pairs of examples."""
_TIGHTNESS_WEIGHT = 3.0
"""How many further examples that assumption counts for."""
_EPISODES = 240
"""Simulated banks."""
_SHOTS = (2, 3, 5, 8, 10)
"""Examples of each procedure of a simulated bank, in turn."""
_BANK_SIZES = (1, 2, 3, 5, 8, 12, 20, 40)
"""Procedures of a simulated bank, in turn."""
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

_PRIOR_NATS = (0.5, 1.25)
"""How far ``none_log_prior`` is below 0 with few procedures, and at its lowest."""
_PRIOR_FALLS = (3, 12)
"""The numbers of procedures between which ``none_log_prior`` falls to its lowest value, linearly."""
_PRIOR_RISES = (20, 60)
"""The numbers of procedures between which ``none_log_prior`` rises to 0, with their logarithm."""

_FITTED_WITH_FIRST = (24, 4, 0, 2.5, 1e-4, 200)
"""``_LEAST_OUTSIDE`` to ``_ITERATIONS`` as they were before ``fitting_numbers`` had them. With these values it leaves
them out, so that fits stored earlier stay good."""


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
        return cls(float(str(fields["sharpness"])), tuple(float(weight) for weight in weights))

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
        _TIGHTNESS_BEFORE,
        _TIGHTNESS_WEIGHT,
        *pooled_covariance_settings(),
        *(() if added == _FITTED_WITH_FIRST else added),
    ]


def chattiness(vectors: Tensor, chat: Tensor) -> Tensor:
    """[n] mean cosine of [n x k] unit vectors to their three nearest of [c x k] chat messages."""
    return nearest_chat(vectors @ chat.T)


def nearest_chat(cosines: Tensor) -> Tensor:
    """[n] the same of [n x c] cosines."""
    return cosines.topk(min(_NEAREST, cosines.shape[1]), dim=1).values.mean(dim=1)


def tightness(means: Tensor, counts: Tensor) -> Tensor:
    """[p] how alike a procedure's inputs are: their mean cosine to one another, shrunk for few examples.

    Args:
        means: [p x k] means of unit vectors, not normalised: their length tells the likeness.
        counts: [p].
    """
    pairs = (counts - 1).clamp_min(0)
    likeness = (counts * means.pow(2).sum(dim=1) - 1) / pairs.clamp_min(1)
    return (pairs * likeness + _TIGHTNESS_WEIGHT * _TIGHTNESS_BEFORE) / (pairs + _TIGHTNESS_WEIGHT)


def known_terms(cosines: Tensor, chattiness: Tensor, counts: Tensor, tightness: Tensor) -> Tensor:
    """[n x 8] terms of the logit that a message belongs to any procedure at all.

    A mean of few examples is noisy, and its cosine is lower; inputs of a tight procedure lie closer to
    their mean; among many procedures the best cosine is higher by chance. The terms let the fit allow for
    all three.

    Args:
        cosines: [n x p] similarity to each procedure's mean.
        chattiness: [n] likeness to ordinary chat, see ``chattiness``.
        counts: [p] examples behind each mean.
        tightness: [p] see ``tightness``.
    """
    best, nearest = cosines.max(dim=1)
    tight = tightness[nearest]
    return torch.stack(
        [
            best,
            best * best,
            tight,
            best * tight,
            counts.float().rsqrt()[nearest],
            torch.full_like(best, float(torch.log(torch.tensor(float(cosines.shape[1]))))),
            chattiness,
            torch.ones_like(best),
        ],
        dim=1,
    )


@dataclass(frozen=True, slots=True)
class _SimulatedBank:
    """What one simulated bank adds to the fit. i messages of its procedures, m messages of both sorts.

    Attributes:
        cosines: [i x p] of its procedures' messages to the means of the procedures.
        owners: [i] the procedure that each of them belongs to.
        terms: [m x 8] ``known_terms`` of messages that went to their own procedure, and of those that play ``none``.
        labels: [m] 1 for a message of a procedure, 0 for ``none``.
        weights: [m] each sort adds up to a half.
    """

    cosines: Tensor
    owners: Tensor
    terms: Tensor
    labels: Tensor
    weights: Tensor


def fit_calibration(examples: Sequence[tuple[Tensor, Tensor, Tensor]], seed: int = _SEED) -> Calibration:
    """Fit on simulated banks.

    Args:
        examples: per space, grouped unit vectors [n x k], their groups [n], chat's unit vectors [c x k].
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    banks = []
    for episode in range(_EPISODES):
        size = _BANK_SIZES[episode % len(_BANK_SIZES)]
        shots = _SHOTS[(episode // len(_BANK_SIZES)) % len(_SHOTS)]
        banks.append(_simulated_bank(*examples[episode % len(examples)], size, shots, generator))
    sharpness = _fit_sharpness([(bank.cosines, bank.owners) for bank in banks if bank.cosines.shape[1] > 1])
    terms, labels, weights = (
        torch.cat([getattr(bank, name) for bank in banks]) for name in ("terms", "labels", "weights")
    )
    return Calibration(sharpness, _fit_logistic(terms, labels, weights))


def _simulated_bank(
    vectors: Tensor, groups: Tensor, chat: Tensor, size: int, shots: int, generator: torch.Generator
) -> _SimulatedBank:
    """Some groups play procedures; the others, and chat, play ``none``.

    Args:
        vectors: [n x k] unit vectors of grouped texts.
        groups: [n] the group of each.
        chat: [c x k] unit vectors of chat messages.
        size: how many procedures; at most half the groups.
        shots: examples of each procedure.
        generator: of all draws.
    """

    def draw(count: int, limit: int) -> Tensor:
        return torch.randperm(count, generator=generator)[:limit]

    group_ids = groups.unique()
    size = min(size, len(group_ids) // 2)
    order = group_ids[draw(len(group_ids), len(group_ids))]
    statistics, inside_rows, owner_list = [], [], []
    for position, group in enumerate(order[:size]):
        members = (groups == group).nonzero()[:, 0]
        members = members[draw(len(members), len(members))]
        statistics.append(RouterStatistics.of(vectors[members[:shots]], ""))
        messages = members[shots : shots + _INSIDE_EACH]
        inside_rows.append(messages)
        owner_list += [position] * len(messages)
    means = torch.stack([one.mean for one in statistics])
    counts = torch.full((size,), float(shots))
    tight = tightness(means, counts)
    whitening = shared_whitening(statistics, vectors.shape[1])
    own_means, own_chat = own_space(means, whitening), own_space(chat, whitening)

    inside = own_space(vectors[torch.cat(inside_rows)], whitening)
    cosines, owners = inside @ own_means.T, torch.tensor(owner_list)
    outside_rows = torch.isin(groups, order[size:]).nonzero()[:, 0]
    outside_count = max(_LEAST_OUTSIDE, inside.shape[0])
    strangers = outside_rows[draw(len(outside_rows), round(outside_count * (1 - _CHAT_SHARE)))]
    outside = own_space(vectors[strangers], whitening)
    chat_rows = draw(len(chat), round(outside_count * _CHAT_SHARE))
    outside_cosines = torch.cat([outside, own_chat[chat_rows]]) @ own_means.T
    outside_chattiness = torch.cat([chattiness(outside, own_chat), _chattiness_of_chat(own_chat, chat_rows)])

    # A message sent to the wrong procedure counts as neither: it says nothing about none.
    is_right = cosines.argmax(dim=1) == owners
    inside_terms = known_terms(cosines[is_right], chattiness(inside[is_right], own_chat), counts, tight)
    outside_terms = known_terms(outside_cosines, outside_chattiness, counts, tight)
    inside_count, outside_count = inside_terms.shape[0], outside_terms.shape[0]
    return _SimulatedBank(
        cosines,
        owners,
        torch.cat([inside_terms, outside_terms]),
        torch.cat([torch.ones(inside_count), torch.zeros(outside_count)]),
        # Every bank weighs the same, and so do known and none within it.
        torch.cat(
            [
                torch.full((inside_count,), 0.5 / max(1, inside_count)),
                torch.full((outside_count,), 0.5 / outside_count),
            ]
        ),
    )


def _chattiness_of_chat(chat: Tensor, rows: Tensor) -> Tensor:
    """[r] likeness of the chat messages in these [r] rows of [c x k] to the others."""
    cosines = chat[rows] @ chat.T
    cosines[torch.arange(len(rows)), rows] = -1.0
    return cosines.topk(min(_NEAREST, chat.shape[0]), dim=1).values.mean(dim=1)


def _fit_sharpness(samples: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The factor on cosines that makes the right procedures most probable; cosines [i x p] and owners [i] per bank."""
    log_sharpness = torch.tensor(_LOG_SHARPNESS, requires_grad=True)

    def loss() -> Tensor:
        return torch.stack(
            [F.cross_entropy(log_sharpness.exp() * cosines, owners) for cosines, owners in samples]
        ).mean()

    _minimise([log_sharpness], loss)
    return float(log_sharpness.detach().exp())


def _fit_logistic(terms: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, ...]:
    """The [8] coefficients of [m x 8] terms that tell labels [m] apart, each message weighted by [m]."""
    coefficients = torch.zeros(terms.shape[1], requires_grad=True)

    def loss() -> Tensor:
        fit = F.binary_cross_entropy_with_logits(terms @ coefficients, labels, weights, reduction="sum")
        return fit / weights.sum() + _WEIGHT_DECAY * coefficients.pow(2).sum()

    _minimise([coefficients], loss)
    return tuple(float(coefficient) for coefficient in coefficients.detach())


def _minimise(parameters: list[Tensor], loss: Callable[[], Tensor]) -> None:
    """Change the parameters in place until the loss falls no further."""
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
    least, most = _PRIOR_NATS
    few, dozen = _PRIOR_FALLS
    many, very_many = _PRIOR_RISES
    fallen = min(1.0, max(0.0, (count - few) / (dozen - few)))
    remaining = min(1.0, max(0.0, math.log(very_many / count) / math.log(very_many / many)))
    return -(least + (most - least) * fallen) * remaining
