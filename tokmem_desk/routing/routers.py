"""Choose a procedure, or none, for a message: two routers behind one interface.

Both read the one forward pass that the answer needs anyway. The *token* router is the paper's: a softmax
over the vocabulary and the memories' addresses at the end of the query (TokMem, arXiv 2510.00444, eq. 4);
the mass left to the vocabulary is ``none``. The *discriminant* router compares the message's features with
each procedure's mean (``features``, ``none_calibration``). Adding, removing or disabling a procedure changes one
row; no old example is needed and no order matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from tokmem_desk.errors import RoutingError
from tokmem_desk.memory.router_statistics import PooledCovariance, own_space, pooled
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.near_misses import Borders, Examples
from tokmem_desk.routing.none_calibration import chattiness, nearest_chat, none_log_prior, tightness
from tokmem_desk.routing.own_points import Change, OwnPoints

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.prefill import Prefilled
    from tokmem_desk.memory.memory import Memory
    from tokmem_desk.memory.router_statistics import RouterStatistics
    from tokmem_desk.routing.features import RouterBasis

ROUTERS = ("discriminant", "token")


LISTED = 64
"""At most so many procedures are in a list of candidates, the most probable ones."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One route with its probability; over ``none`` and all procedures they sum to 1."""

    route: str
    probability: float


@dataclass(frozen=True, slots=True)
class RouterTuning:
    """A person's wishes about routing.

    Attributes:
        none_bias: added to the log-odds of ``none``; positive triggers procedures less often.
        thresholds: least probability at which a procedure may answer, by name; below it, ``none`` does.
        guests: procedures that came with a bank and are not accepted yet; see ``GUEST_MARGIN``.
    """

    none_bias: float = 0.0
    thresholds: dict[str, float] | None = None
    guests: frozenset[str] = frozenset()


class Router(Protocol):
    """Anything that ranks routes."""

    @property
    def feature_layers(self) -> tuple[int, ...]:
        """Hidden states that prefill must pool for this router."""

    def candidates(self, prefilled: Prefilled) -> list[list[Candidate]]:
        """Per query the ``LISTED`` most probable routes and ``none``; the chosen one first, then by probability."""


class EmptyRouter:
    """The router of a bank without procedures: ``none``, whatever the message. It reads nothing."""

    feature_layers: tuple[int, ...] = ()

    def candidates(self, prefilled: Prefilled) -> list[list[Candidate]]:
        return [[Candidate(NONE_ROUTE, 1.0)] for _ in range(prefilled.last_hidden.shape[0])]


class TokenRouter:
    """The paper's router."""

    feature_layers: tuple[int, ...] = ()

    def __init__(self, backbone: Backbone, memories: Sequence[Memory], tuning: RouterTuning | None = None) -> None:
        self._backbone = backbone
        self._names = [memory.name for memory in memories]
        self._tuning = tuning or RouterTuning()
        empty = torch.empty(0, backbone.hidden_size, device=backbone.torch_device)
        self._addresses = torch.stack([m.address for m in memories]).to(empty.device) if memories else empty

    @torch.no_grad()
    def candidates(self, prefilled: Prefilled) -> list[list[Candidate]]:
        partition = torch.logsumexp(self._backbone.logits(prefilled.last_hidden), dim=-1)
        scores = self._backbone.cap_logits(prefilled.last_hidden @ self._addresses.T)
        _refuse_endless(scores, self._names)
        probabilities = torch.softmax(torch.cat([scores, partition[:, None]], dim=1), dim=1)
        return ranked(probabilities, self._names, self._tuning)


@dataclass(frozen=True, slots=True)
class Correction:
    """A person's verdict on one message: ``right`` (a procedure or ``none``) instead of ``wrong``.

    ``vector`` is the [k] float32 unit vector of the message's features.
    """

    vector: Tensor
    wrong: str
    right: str


CARRIED_FROM = 2000
"""Procedures from which a router goes on from the one before; fewer are as quickly read anew."""
_MOST_CHANGES = 8


class DiscriminantRouter:
    """Nearest mean in a space where the covariance within procedures is one, with calibrated ``none``.

    The space is the shipped one, whitened by the pooled covariance of this bank's procedures
    (``memory.router_statistics``).

    A correction acts twice. Its message counts as one more input of the right procedure, which moves the mean
    and so reaches messages that are only somewhat like it; and messages much like it are pushed toward the right
    route and away from the wrong one, so that the same message is not sent wrong again. One that belongs to none tells
    besides where the messages of the wrong procedure end (``near_misses``).
    """

    def __init__(
        self,
        basis: RouterBasis,
        hidden_size: int,
        statistics: dict[str, RouterStatistics],
        tuning: RouterTuning | None = None,
        corrections: Sequence[Correction] = (),
        examples: Examples | None = None,
        after: DiscriminantRouter | None = None,
    ) -> None:
        """A router over these procedures.

        Args:
            after: of the same bank before a change. It only saves time, where the bank is large: statistics that are
                the same objects are not looked at again.
        """
        self._basis = basis
        self._hidden_size = hidden_size
        self._names = sorted(statistics)
        self._tuning = tuning or RouterTuning()
        device = basis.projection.device
        known = [c for c in corrections if c.right in statistics or c.right == NONE_ROUTE]
        vectors = torch.stack([c.vector.to(device) for c in known]) if known else None
        self._taught = {name: statistics[name] for name in self._names}
        for name in {c.right for c in known} - {NONE_ROUTE}:
            mine = [c.vector for c in known if c.right == name]
            self._taught[name] = self._taught[name].joined_by(torch.stack(mine))
        self._sums: PooledCovariance | None = None
        self._points: OwnPoints | None = None
        self._whitening: Tensor | None = None
        self._means = self._chat = torch.empty(0, device=device)
        if not self._go_on_from(after):
            self._read_all([*self._taught.values()], device)
        self._corrected = None if vectors is None else self._own(vectors)
        missed = {
            name: torch.stack([c.vector.to(device) for c in known if c.right == NONE_ROUTE and c.wrong == name])
            for name in sorted({c.wrong for c in known if c.right == NONE_ROUTE} & set(self._names))
        }
        self._borders = (
            Borders(self._names, [self._taught[name] for name in self._names], missed, examples, basis.chat)
            if missed
            else None
        )
        self._pushes = self._signs(known).to(device)
        places = {name: column for column, name in enumerate(self._names)} if known else {}
        # ``none`` is the column behind the procedures.
        self._rights = torch.tensor([places.get(c.right, len(self._names)) for c in known], device=device)

    @property
    def feature_layers(self) -> tuple[int, ...]:
        return self._basis.layers.pooled

    @property
    def bytes(self) -> int:
        """Memory that grows with the number of procedures."""
        of_points = 0 if self._points is None else self._points.bytes
        kept = (self._means, self._counts, self._tightness, self._pushes)
        return of_points + sum(t.numel() * t.element_size() for t in kept)

    def _read_all(self, taught: Sequence[RouterStatistics], device: torch.device) -> None:
        """Find everything from the statistics of all procedures."""
        k = self._basis.projection.shape[1]
        empty = torch.empty(0, k, device=device)
        stacked = torch.stack([statistic.mean.to(device) for statistic in taught]) if taught else empty
        self._counts = torch.tensor([float(statistic.count) for statistic in taught], device=device)
        self._tightness = tightness(stacked, self._counts)
        sums = pooled(taught, k)
        large = len(taught) >= CARRIED_FROM and device.type == "cpu"
        shape = sums.shape() if large else None
        if shape is not None:
            self._sums, self._points = sums, OwnPoints(torch.cat([self._basis.chat, stacked]), shape)
            return
        whitening = sums.whitening()
        self._whitening = None if whitening is None else whitening.to(device)
        self._means = own_space(stacked, self._whitening)
        self._chat = own_space(self._basis.chat, self._whitening)

    def _go_on_from(self, before: DiscriminantRouter | None) -> bool:
        """Take over what a router knew that had almost these procedures; False where all is to be read."""
        if before is None or before._basis is not self._basis or before._points is None or before._sums is None:
            return False
        # Twenty thousand are compared without a loop of Python's.
        same = map(is_, map(self._taught.get, before._taught), before._taught.values())
        gone = [name for name, is_same in zip(before._taught, same, strict=True) if not is_same]
        come = sorted((self._taught.keys() - before._taught.keys()) | (self._taught.keys() & set(gone)))
        if not gone and not come:
            self._points, self._sums, self._names = before._points, before._sums, before._names
            self._counts, self._tightness = before._counts, before._tightness
            return True
        if len(gone) + len(come) > _MOST_CHANGES or len(self._names) < CARRIED_FROM:
            return False
        leaving, coming = [before._taught[name] for name in gone], [self._taught[name] for name in come]
        sums = before._sums.copy()
        if leaving:
            sums.remove(*leaving)
        if coming:
            sums.add(*coming)
        shape = sums.shape()
        means = torch.stack([one.mean for one in coming]) if coming else torch.empty(0, self._basis.projection.shape[1])
        changes = [Change(one.low_rank_scatter, -1.0) for one in leaving]
        changes += [Change(one.low_rank_scatter, 1.0) for one in coming]
        left = [before._names.index(name) for name in gone]
        chat = len(self._basis.chat)
        points = None
        if shape is not None:
            points = before._points.carried(shape, changes, [chat + place for place in left], means)
        if points is None:
            return False
        stays = torch.ones(len(before._names), dtype=torch.bool)
        stays[left] = False
        counts = torch.tensor([float(one.count) for one in coming])
        self._counts = torch.cat([before._counts[stays], counts])
        self._tightness = torch.cat([before._tightness[stays], tightness(means, counts)])
        kept = [name for name in before._names if name not in set(gone)] if gone else before._names
        self._names = [*kept, *come]
        self._points, self._sums = points, sums
        return True

    def _own(self, vectors: Tensor) -> Tensor:
        """[n x k] vectors of the shipped space in the bank's own."""
        return own_space(vectors, self._whitening) if self._points is None else self._points.own(vectors)

    def _likeness(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors in the bank's own space, [n x k], their cosines to its procedures, [n x p], and [n] chattiness."""
        if self._points is None:
            own = own_space(vectors, self._whitening)
            return own, own @ self._means.T, chattiness(own, self._chat)
        own, cosines = self._points.cosines(vectors)
        chat = len(self._basis.chat)
        return own, cosines[:, chat:], nearest_chat(cosines[:, :chat])

    @torch.no_grad()
    def candidates(self, prefilled: Prefilled) -> list[list[Candidate]]:
        assert prefilled.pooled is not None, "prefill was not asked for this router's layers"
        return self.rank(self._basis.project(prefilled.pooled, self._hidden_size))

    @torch.no_grad()
    def rank(self, vectors: Tensor) -> list[list[Candidate]]:
        """The same for [n x k] unit vectors of features that were projected before."""
        if not self._names:
            return [[Candidate(NONE_ROUTE, 1.0)] for _ in range(vectors.shape[0])]
        own, cosines, chat = self._likeness(vectors)
        bias = self._correction_bias(own)
        probabilities = self._basis.calibration.probabilities(cosines, chat, self._counts, self._tightness, bias)
        log_prior = torch.full_like(probabilities[:, :1], none_log_prior(len(self._names)))
        if bias is not None:
            # A person has corrected a message like this one: that outweighs the prior.
            log_prior[bias.amin(dim=1) < 0] = 0.0
        if self._borders is not None:
            probabilities, away = self._borders.held_back(probabilities, own, cosines)
            log_prior[away] = 0.0
        if self._corrected is not None:
            probabilities = self._as_corrected(probabilities, own)
        return ranked(probabilities, self._names, self._tuning, log_prior)

    def _signs(self, corrections: Sequence[Correction]) -> Tensor:
        """[c x p]: +1 for the right procedure, -1 for the wrong one, or for all where ``none`` is right."""
        place = {name: column for column, name in enumerate(self._names)} if corrections else {}
        signs = torch.zeros(len(corrections), len(self._names))
        for row, correction in enumerate(corrections):
            if correction.right == NONE_ROUTE:
                signs[row] = -1.0
                continue
            signs[row, place[correction.right]] = 1.0
            if correction.wrong in place:
                signs[row, place[correction.wrong]] = -1.0
        return signs

    def _correction_bias(self, vectors: Tensor) -> Tensor | None:
        """[n x p] logits that corrections add to [n x k] messages in this bank's space; most for the same message."""
        if self._corrected is None:
            return None
        likeness = ((vectors @ self._corrected.T - _LIKE_FROM) / (1 - _LIKE_FROM)).clamp_min(0)
        return _CORRECTION_LOGITS * likeness @ self._pushes

    def _as_corrected(self, probabilities: Tensor, own: Tensor) -> Tensor:
        """[n x (p + 1)] probabilities, in which a corrected message itself goes where the last verdict on it said.

        Logits alone cannot promise that: how much they move depends on the calibration, and on the other procedures.
        """
        assert self._corrected is not None
        same = own @ self._corrected.T > _SAME_FROM
        # Verdicts come in the order in which they were given.
        order = torch.arange(1, same.shape[1] + 1, device=same.device)
        last = (same * order).amax(dim=1)
        rows = last.nonzero()[:, 0]
        right = self._rights[last[rows] - 1]
        wrong = probabilities[rows].argmax(dim=1) != right
        rows, right = rows[wrong], right[wrong]
        probabilities = probabilities.clone()
        probabilities[rows] *= 1 - _VERDICT_SHARE
        probabilities[rows, right] += _VERDICT_SHARE
        return probabilities


_LIKE_FROM = 0.7
"""Cosine from which a message counts as like a corrected one."""
_CORRECTION_LOGITS = 8.0
"""Logits that a correction adds to a message identical to the corrected one. Both numbers are measured: reaching
further, or harder, takes messages along that were right; see docs/research/routing.md."""
_SAME_FROM = 0.999
"""Cosine in the bank's own space from which a message is the corrected one itself, in any batch."""
_VERDICT_SHARE = 0.9
"""Probability that a verdict adds to its route, where the router would send the corrected message elsewhere even so."""


GUEST_MARGIN = 2.0
"""A guest answers only when it is this many times as probable as the best procedure of the person's own."""


def _refuse_endless(scores: Tensor, names: Sequence[str]) -> None:
    """Stop where [n x p] scores of procedures are not finite.

    Raises:
        RoutingError: names the first procedure with such a score.
    """
    finite = torch.isfinite(scores).all(dim=0)
    if not bool(finite.all()):
        name = names[int(finite.logical_not().nonzero()[0])]
        raise RoutingError(
            f"The memory of {name!r} gives no finite number to route by.",
            next_step=f"Train it again, or leave it out: tokmem-desk proc disable {name}",
        )


def _own_first(candidates: list[Candidate], tuning: RouterTuning) -> list[Candidate]:
    """Candidates with the person's best own procedure first, where a guest is ahead of it by too little."""
    own = next((c for c in candidates if c.route not in tuning.guests and c.route != NONE_ROUTE), None)
    if candidates[0].route not in tuning.guests or own is None:
        return candidates
    enough = own.probability >= (tuning.thresholds or {}).get(own.route, 0.0)
    if not enough or own.probability * GUEST_MARGIN <= candidates[0].probability:
        return candidates
    return [own, *(c for c in candidates if c is not own)]


def ranked(
    probabilities: Tensor, names: Sequence[str], tuning: RouterTuning, log_prior: Tensor | None = None
) -> list[list[Candidate]]:
    """Rows of [n x (p + 1)] probabilities (``none`` last) as candidates, with a person's wishes applied.

    Args:
        log_prior: [n x 1] nats added to the log probability of ``none`` (at most 0); None adds nothing. It decides the
            choice. Where a procedure is chosen, the probabilities include it; where ``none`` is chosen, they do not.
            These are the best calibrated probabilities (docs/research/routing.md).

    Raises:
        RoutingError: a probability is not finite.
    """
    if tuning.none_bias:
        none = torch.sigmoid(torch.logit(probabilities[:, -1:], eps=1e-9) + tuning.none_bias)
        rest = probabilities[:, :-1] / probabilities[:, :-1].sum(dim=1, keepdim=True).clamp_min(1e-12)
        probabilities = torch.cat([rest * (1 - none), none], dim=1)
    if log_prior is not None:
        weighed = torch.cat([probabilities[:, :-1], probabilities[:, -1:] * log_prior.exp()], dim=1)
        known = weighed[:, :-1].amax(dim=1, keepdim=True) > weighed[:, -1:]
        probabilities = torch.where(known, weighed / weighed.sum(dim=1, keepdim=True), probabilities)
    if not bool(torch.isfinite(probabilities).all()):
        raise RoutingError(
            "The router has no finite probabilities for this message: a memory in use is damaged.",
            next_step="Leave out what was imported or trained last: tokmem-desk proc disable NAME",
        )
    thresholds = tuning.thresholds or {}
    best_known = probabilities[:, :-1].topk(min(LISTED, len(names)), dim=1)
    ranked = []
    for values, places, none_share in zip(
        best_known.values.tolist(), best_known.indices.tolist(), probabilities[:, -1].tolist(), strict=True
    ):
        candidates = [Candidate(names[place], p) for place, p in zip(places, values, strict=True)]
        candidates.append(Candidate(NONE_ROUTE, none_share))
        candidates.sort(key=lambda c: (-c.probability, c.route))
        if tuning.guests:
            candidates = _own_first(candidates, tuning)
        best = candidates[0]
        if best.probability < thresholds.get(best.route, 0.0):
            none_first = [c for c in candidates if c.route == NONE_ROUTE]
            candidates = none_first + [c for c in candidates if c.route != NONE_ROUTE]
        ranked.append(candidates)
    return ranked
