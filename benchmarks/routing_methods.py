"""The routers that ``routing`` compares: each learns from rows of features and then ranks rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.methods import Context
from benchmarks.routers import Examples, Labels, Ranking, Scorer, calibrate, discriminant, nearest, tfidf
from benchmarks.routing_features import Features, ProjectedBasis
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.steering import Steering
from tokmem_desk.routing.routers import DiscriminantRouter, Router, TokenRouter
from trainer.config import PAPER
from trainer.objective import routing_loss

TOKEN_EPOCHS = 10
"""Passes of the token router over its texts. The paper makes one, which is too few where texts are few."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a router may learn from.

    Attributes:
        names: the routes, without ``none``.
        rows, labels: rows of the training texts and, for each, the index of its route.
        chat: rows of messages that ship with the program and that no route answers.
    """

    names: Sequence[str]
    rows: Sequence[int]
    labels: Sequence[int]
    chat: Sequence[int]
    seed: int


@dataclass(frozen=True, slots=True)
class LearnedRouter:
    """A router ready to rank.

    Attributes:
        source: whose time a query costs beside the ranking: ``backbone``, ``minilm`` or nothing.
        add: learns one more procedure as far as the method allows; timed as the cost of adding one.
    """

    rank: Callable[[Sequence[int]], list[Ranking]]
    add: Callable[[], object]
    source: str
    settings: dict[str, Any]


RouterLearner = Callable[[Context, Features, Material], LearnedRouter]


def _learn_ours(context: Context, features: Features, material: Material) -> LearnedRouter:
    basis = ProjectedBasis.over(context.loaded.basis)
    hidden_size = context.backbone.hidden_size
    labels = np.array(material.labels)
    rows = np.array(material.rows)

    def measured(place: int) -> RouterStatistics:
        mine = torch.tensor(rows[labels == place], device=features.projected.device)
        return RouterStatistics.of(features.projected[mine], basis.digest)

    statistics = {name: measured(place) for place, name in enumerate(material.names)}

    def assemble() -> DiscriminantRouter:
        return DiscriminantRouter(basis, hidden_size, statistics)

    def add() -> DiscriminantRouter:
        statistics[material.names[-1]] = measured(len(material.names) - 1)
        return assemble()

    settings = {"router": "discriminant", "layers": list(basis.layers.pooled), "dimensions": basis.projection.shape[1]}
    return LearnedRouter(_ranker(assemble(), features), add, "backbone", settings)


def _learn_token(context: Context, features: Features, material: Material) -> LearnedRouter:
    backbone = context.backbone
    start = initial_rows(backbone, 1, seed=material.seed).repeat(len(material.names), 1)
    addresses = train_addresses(context, features, material, start)
    memories = [Memory(n, Steering.of(a[None]), a, tied=True) for n, a in zip(material.names, addresses, strict=True)]
    settings = {
        "router": "token",
        "epochs": TOKEN_EPOCHS,
        "learning_rate": PAPER.learning_rate,
        "batch_size": PAPER.batch_size,
    }
    last = len(material.names) - 1
    kept = [i for i, label in enumerate(material.labels) if label == last]
    alone = replace(material, rows=[material.rows[i] for i in kept], labels=[last] * len(kept))
    # A new row trains on its own texts against the others, which stand.
    return LearnedRouter(
        _ranker(TokenRouter(backbone, memories), features),
        lambda: train_addresses(context, features, alone, addresses),
        "backbone",
        settings,
    )


def train_addresses(
    context: Context,
    features: Features,
    material: Material,
    start: torch.Tensor,
    beside: torch.Tensor | None = None,
) -> torch.Tensor:
    """The paper's routing term on cached states; steering plays no part in it.

    Args:
        start: [p x d] addresses to begin from.
        beside: [o x d] further ones that stand in the softmax and do not train.
    """
    addresses = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.AdamW([addresses], lr=PAPER.learning_rate, weight_decay=PAPER.weight_decay)
    size = PAPER.batch_size
    steps = TOKEN_EPOCHS * -(-len(material.rows) // size)
    rise = max(1, round(PAPER.warmup * steps))
    device = features.last_hidden.device
    rows, labels = (torch.tensor(list(part), device=device) for part in (material.rows, material.labels))
    step = 0
    for epoch in range(TOKEN_EPOCHS):
        order = list(range(len(material.rows)))
        random.Random(f"{material.seed}/{epoch}").shuffle(order)
        for first in range(0, len(order), size):
            for group in optimiser.param_groups:
                group["lr"] = PAPER.learning_rate * min((step + 1) / rise, (steps - step) / max(1, steps - rise))
            batch = torch.tensor(order[first : first + size], device=device)
            at = rows[batch]
            optimiser.zero_grad(set_to_none=True)
            everyone = addresses if beside is None else torch.cat([addresses, beside])
            loss = routing_loss(
                context.backbone, features.last_hidden[at], features.log_partition[at], everyone, labels[batch]
            )
            (loss / len(batch)).backward()
            torch.nn.utils.clip_grad_norm_([addresses], PAPER.clip_norm)
            optimiser.step()
            step += 1
    return addresses.detach()


def _ranker(router: Router, features: Features) -> Callable[[Sequence[int]], list[Ranking]]:
    def rank(rows: Sequence[int]) -> list[Ranking]:
        return [[(c.route, c.probability) for c in cs] for cs in router.candidates(features.prefilled(rows))]

    return rank


def _baseline(scorer: Scorer, view: Callable[[Features], Examples], source: str, **settings: object) -> RouterLearner:
    """A scorer over some view of the features, calibrated like the others."""

    def learn(context: Context, features: Features, material: Material) -> LearnedRouter:
        examples = view(features)
        labels: Labels = np.array(material.labels, dtype=np.int64)
        train, chat = examples[list(material.rows)], examples[list(material.chat)]
        router = calibrate(scorer, train, labels, material.names, chat)
        return LearnedRouter(
            lambda rows: router.rank(examples[list(rows)]),
            lambda: scorer(train, labels, len(material.names)),
            source,
            dict(settings),
        )

    return learn


def _states(features: Features) -> Examples:
    return features.last_hidden.cpu().numpy()


def _embedded(features: Features) -> Examples:
    return features.embedded


def _words(features: Features) -> Examples:
    return np.array(features.texts, dtype=object)


ROUTERS: dict[str, RouterLearner] = {
    "token": _learn_token,
    "discriminant": _baseline(discriminant, _states, "backbone", features="last hidden state", shrinkage="Ledoit-Wolf"),
    "minilm-nearest": _baseline(nearest, _embedded, "minilm", features="all-MiniLM-L6-v2"),
    "minilm-discriminant": _baseline(
        discriminant, _embedded, "minilm", features="all-MiniLM-L6-v2", shrinkage="Ledoit-Wolf"
    ),
    "tfidf": _baseline(tfidf, _words, "", features="words and pairs of words", C=10.0),
    "ours": _learn_ours,
}
