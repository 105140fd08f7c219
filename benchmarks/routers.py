"""Baseline routers over fixed vectors (or texts), made to answer the same question as ours: which route, or none.

A *scorer* ranks classes and says how near a query is to any. ``calibrate`` turns that into probabilities with the
same material that our router has: a softmax and a logistic function, fitted on the training texts (each scored by a
scorer that has not seen it) and on the chat messages that ship with the program.

Letters: n queries, t training texts, p classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokmem_desk.procedures import NONE_ROUTE

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Examples = NDArray[Any]
"""[n x k] vectors, or [n] texts (dtype object) for scorers that read text."""

Ranking = list[tuple[str, float]]
"""Routes with probabilities, the chosen one first."""

Scores = tuple[Floats, Floats]
"""[n x p] logits of the classes and [n] nearness to any of them."""

Fitted = Callable[[Examples], Scores]
Scorer = Callable[[Examples, Labels, int], Fitted]
"""Fits to [t] examples of p classes."""

_FOLDS = 5
_WORD = r"(?u)\b\w+\b"
_SHARPNESSES = np.geomspace(0.05, 200, 60)


def nearest(train: Examples, labels: Labels, classes: int) -> Fitted:
    """The nearest training example by cosine; vectors are of unit length."""

    def score(queries: Examples) -> Scores:
        cosines = queries @ train.T
        best = np.full((len(queries), classes), -1.0)
        for c in range(classes):
            members = cosines[:, labels == c]
            if members.shape[1]:
                best[:, c] = members.max(axis=1)
        return best, best.max(axis=1)

    return score


def discriminant(train: Examples, labels: Labels, classes: int) -> Fitted:
    """Linear discriminant with one covariance for all classes, shrunk as Ledoit and Wolf say.

    The nearness to any class is the negative Mahalanobis distance to the nearest mean.
    """
    from sklearn.covariance import ledoit_wolf

    vectors = train.astype(np.float64)
    present = np.unique(labels)
    means = np.zeros((classes, vectors.shape[1]))
    for c in present:
        means[c] = vectors[labels == c].mean(axis=0)
    residual = vectors - means[labels]
    covariance, _ = ledoit_wolf(residual, assume_centered=True)
    # One text per class leaves no residual at all; then distances are plain ones.
    covariance = covariance + (1e-6 * np.trace(covariance) / len(covariance) + 1e-9) * np.eye(len(covariance))
    precision = np.linalg.inv(covariance)
    absent = np.setdiff1d(np.arange(classes), present)

    def score(queries: Examples) -> Scores:
        wide = queries.astype(np.float64)
        inside = np.einsum("nk,nk->n", wide @ precision, wide)
        weights = means @ precision
        distances = inside[:, None] - 2 * wide @ weights.T + np.einsum("pk,pk->p", weights, means)[None]
        distances[:, absent] = np.inf
        return -0.5 * distances, -np.sqrt(np.maximum(distances.min(axis=1), 0.0))

    return score


def tfidf(train: Examples, labels: Labels, classes: int) -> Fitted:
    """Logistic regression on TF-IDF of words and pairs of words; the nearness is its best probability."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectoriser = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=_WORD)
    matrix = vectoriser.fit_transform(train)
    present = np.unique(labels)
    model = LogisticRegression(C=10.0, max_iter=500).fit(matrix, labels) if len(present) > 1 else None

    def score(queries: Examples) -> Scores:
        logits = np.full((len(queries), classes), -np.inf)
        found = vectoriser.transform(queries)
        if model is None:
            logits[:, present[0]] = 0.0
            # With one class there is nothing to regress: the likeness to its texts has to do.
            return logits, np.asarray((found @ matrix.T).max(axis=1).todense()).ravel()
        logits[:, present] = model.predict_log_proba(found)
        return logits, logits.max(axis=1)

    return score


@dataclass(frozen=True, slots=True)
class CalibratedRouter:
    """A scorer with probabilities; ``none`` is always a candidate.

    Attributes:
        sharpness: factor on class logits.
        slope, offset: of the logistic function that turns nearness into the probability of being known.
    """

    names: Sequence[str]
    scorer: Fitted
    sharpness: float
    slope: float
    offset: float

    def rank(self, queries: Examples) -> list[Ranking]:
        """Per query, every route with its probability, best first."""
        logits, nearness = self.scorer(queries)
        shares = _softmax(self.sharpness * logits)
        known = 1 / (1 + np.exp(-np.clip(self.slope * nearness + self.offset, -40, 40)))
        rankings = []
        for row, belief in zip(shares, known, strict=True):
            ranking = [(name, float(belief * share)) for name, share in zip(self.names, row, strict=True)]
            rankings.append(sorted([*ranking, (NONE_ROUTE, float(1 - belief))], key=lambda c: -c[1]))
        return rankings


def calibrate(
    scorer: Scorer, train: Examples, labels: Labels, names: Sequence[str], chat: Examples
) -> CalibratedRouter:
    """Fit a scorer and its probabilities.

    Args:
        labels: [t] index into ``names``.
        chat: examples of messages that no route answers.
    """
    from sklearn.linear_model import LogisticRegression

    classes = len(names)
    logits, nearness, right = _held_out_scores(scorer, train, labels, classes)
    fitted = scorer(train, labels, classes)
    sharpness = min(_SHARPNESSES, key=lambda s: _surprise(s * logits, right))
    outside = fitted(chat)[1]
    scores = np.concatenate([nearness, outside])
    centre, scale = float(scores.mean()), float(scores.std() + 1e-9)
    known = np.concatenate([np.ones(len(nearness)), np.zeros(len(outside))])
    model = LogisticRegression(class_weight="balanced", C=100.0).fit(((scores - centre) / scale)[:, None], known)
    slope = float(model.coef_[0, 0]) / scale
    return CalibratedRouter(names, fitted, float(sharpness), slope, float(model.intercept_[0]) - slope * centre)


def _held_out_scores(scorer: Scorer, train: Examples, labels: Labels, classes: int) -> tuple[Floats, Floats, Labels]:
    """Scores of training texts by scorers that have not seen them; by one that has, where a class has one text."""
    place = np.zeros(len(labels), dtype=np.int64)
    for c in range(classes):
        members = np.flatnonzero(labels == c)
        place[members] = np.arange(len(members)) % _FOLDS
    if np.bincount(labels, minlength=classes).min() < 2:
        logits, nearness = scorer(train, labels, classes)(train)
        return logits, nearness, labels
    parts = []
    for fold in np.unique(place):
        out = place == fold
        parts.append((*scorer(train[~out], labels[~out], classes)(train[out]), labels[out]))
    logits, nearness, right = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return logits, nearness, right.astype(np.int64)


def _surprise(logits: Floats, right: Labels) -> float:
    """Mean negative log-probability of the right classes."""
    chosen = _softmax(logits)[np.arange(len(right)), right]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = shifted / shifted.sum(axis=1, keepdims=True)
    return shares
