"""How a sentence encoder teaches a router's space: which directions of the backbone's features tell what it tells.

A ridge regression learns to predict the encoder's vectors of many texts from the backbone's features, and what is
predicted stands as one more block in the fit of the space (``basis_from_features``). Used by ``ship_router``, which
makes the file that comes with the program, and by ``routing_taught``, which measures.

Letters: n texts, f features, e dimensions of the encoder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.lessons import Lesson
from benchmarks.methods import Context
from benchmarks.minilm import WHEEL
from benchmarks.models import Loaded
from benchmarks.options import say
from tokmem_desk import background
from tokmem_desk.routing.features import (
    COMMON_SHARE,
    FeatureLayers,
    RouterBasis,
    basis_from_features,
    rare_token_weights,
    standardised,
)
from tokmem_desk.routing.fit_parts import FitParts

WEIGHT = 3
"""Length of the predicted block; the backbone's own have length 1 each. Chosen on the half of the intents that chooses
(``routing_taught``)."""
RIDGE = 10.0
"""Chosen on the half that chooses: 0.1 to 30 were tried with 4,000 texts."""
_AT_ONCE, _A_PART = 64, 1024


@dataclass(frozen=True, slots=True)
class Taught:
    """All that spaces are fitted with.

    Attributes:
        pooled: [n x any] what was read of the texts that ship; see ``read``.
        pooled_lessons: [m x any] the same of the texts that teach.
        raw: [n x f] features of the texts that ship.
        owner: [g] the group of each grouped one.
        lessons: [m x f] standardised features of the texts that teach.
        plain: the space without any of it.
        directions: [f x e] at weight 1.
        label: says which texts taught, and how.
        token_weights: [v] see ``rare_token_weights``.
    """

    pooled: Tensor
    pooled_lessons: Tensor
    raw: Tensor
    owner: Tensor
    lessons: Tensor
    plain: RouterBasis
    directions: Tensor
    label: str
    token_weights: Tensor

    def basis(self, weight: float, hidden_size: int) -> RouterBasis:
        """The space in which the predicted block has that length; 0 is the one that nobody has taught."""
        if not weight:
            return replace(self.plain, token_weights=self.token_weights)
        layers, fingerprint = self.plain.layers, self.plain.fingerprint
        made = basis_from_features(self.raw, self.owner, layers, hidden_size, fingerprint, weight * self.directions)
        return replace(made, taught=f"{self.label} {weight}", token_weights=self.token_weights)


def teach(loaded: Loaded, lessons: Sequence[Lesson]) -> Taught:
    """Read the texts that ship and those that teach, and learn from them.

    Raises:
        TokmemError: the encoder cannot be fetched, or the model cannot run.
    """
    groups, shipped = background.groups(), shipped_texts()
    owner = torch.tensor([number for number, members in enumerate(groups.values()) for _ in members])
    hidden, fingerprint = loaded.backbone.hidden_size, loaded.backbone.fingerprint.digest
    weights = rare_token_weights(loaded.backbone, shipped)
    layers = FeatureLayers.of(loaded.backbone.layer_count)
    pooled, of_lessons = read(loaded, shipped, weights), read(loaded, [text for text, _ in lessons], weights)
    raw = layers.select(pooled, hidden)
    plain = basis_from_features(raw, owner, layers, hidden, fingerprint)
    own = standardised(raw, plain, hidden)
    others = standardised(layers.select(of_lessons, hidden), plain, hidden)
    vectors = _vectors(loaded, [(text, (text,)) for text in shipped] + list(lessons))
    directions = regression(torch.cat([own, others]), vectors - vectors[: len(shipped)].mean(dim=0))
    directions = directions / (own @ directions).pow(2).sum(dim=1).mean().sqrt()
    label = hashlib.sha256(json.dumps([list(lessons), WHEEL.sha256, RIDGE, COMMON_SHARE]).encode()).hexdigest()[:16]
    return Taught(pooled, of_lessons, raw, owner, others, plain, directions, label, weights)


def shipped_texts() -> list[str]:
    """The texts that a space is fitted to: those of groups in their order, then chat."""
    return [text for members in background.groups().values() for text in members] + background.chat_for_fitting()


def _vectors(loaded: Loaded, lessons: Sequence[Lesson]) -> Tensor:
    """[n x e] the encoder's vector for each text: the mean over what stands for it."""
    unique = {text: row for row, text in enumerate(dict.fromkeys(m for _, meanings in lessons for m in meanings))}
    say(f"The encoder reads {len(unique)} texts")
    embedded = torch.from_numpy(Context(loaded, {}).embedder.embed(list(unique))).float()
    return torch.stack([embedded[[unique[m] for m in meanings]].mean(dim=0) for _, meanings in lessons])


def regression(features: Tensor, targets: Tensor) -> Tensor:
    """[f x e]: the ridge regression of [n x e] targets on [n x f] features."""
    few = features.shape[0] < features.shape[1]
    products = features @ features.T if few else features.T @ features
    products.diagonal().add_(RIDGE)
    if few:
        return features.T @ torch.linalg.solve(products, targets)
    return torch.linalg.solve(products, features.T @ targets)


def read(loaded: Loaded, texts: Sequence[str], token_weights: Tensor | None) -> Tensor:
    """[n x any] float32, what ``Backbone.prefill`` pools of texts for the layers that a space uses.

    Kept in the cache part by part, so that a run that was stopped goes on.

    Args:
        token_weights: see ``Backbone.token_weights``; those of the backbone do not matter.
    """
    backbone = loaded.backbone
    layers = FeatureLayers.of(backbone.layer_count).pooled
    queries = [backbone.format.query(text) for text in texts]
    order = sorted(range(len(queries)), key=lambda place: len(queries[place]))
    weighed = "" if token_weights is None else hashlib.sha256(token_weights.numpy().tobytes()).hexdigest()
    key = json.dumps(["all that is pooled", backbone.fingerprint.digest, layers, list(texts), weighed])
    folder = loaded.cache / "taught" / hashlib.sha256(key.encode()).hexdigest()[:16]
    parts = FitParts(folder, key)

    def compute(places: Sequence[int]) -> list[Tensor]:
        found = []
        for first in range(0, len(places), _AT_ONCE):
            some = [queries[place] for place in places[first : first + _AT_ONCE]]
            pooled = backbone.prefill(some, keep_states=False, feature_layers=layers).pooled
            assert pooled is not None
            found.append(pooled.cpu().half())
        return [torch.cat(found)]

    rows = []
    before, backbone.token_weights = backbone.token_weights, token_weights
    for number, first in enumerate(range(0, len(order), _A_PART)):
        say(f"Reading texts: {first} of {len(order)}")
        rows += parts.of(number, partial(compute, order[first : first + _A_PART]))
    backbone.token_weights = before
    back = torch.empty(len(order), rows[0].shape[1])
    back[torch.tensor(order)] = torch.cat(rows).float()
    return back


def all_alike(pooled: Tensor, hidden_size: int) -> Tensor:
    """[n x any] what ``read`` gives where no token counts for more, out of what it gave where some did."""
    blocks = pooled.unflatten(1, (-1, hidden_size)).clone()
    blocks[:, 1::3] = blocks[:, 3::3]
    return blocks.flatten(1)
