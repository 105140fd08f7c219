"""What routers read, computed once per text: the backbone's states and the retriever's vectors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from benchmarks.methods import Context
from benchmarks.minilm import Vectors
from benchmarks.options import say
from tokmem_desk.backbone.prefill import Prefilled
from tokmem_desk.routing.features import RouterBasis

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

_BATCH = 64


class ProjectedBasis(RouterBasis):
    """A basis for features that are projected already: thousands of raw ones would fill the memory."""

    @classmethod
    def over(cls, basis: RouterBasis) -> ProjectedBasis:
        return cls(**{field.name: getattr(basis, field.name) for field in fields(basis)})

    def project(self, pooled: Tensor, hidden_size: int) -> Tensor:
        return pooled


@dataclass(slots=True)
class Features:
    """Features of a list of texts; rows in their order.

    Attributes:
        texts: [n].
        last_hidden: [n x d] float32, final state at the end of each query.
        log_partition: [n] float32, logsumexp of the vocabulary's logits there.
        projected: [n x k] float32, in the basis of our router.
        embedded: [n x e] float32, the retriever's; empty when it was not asked for.
        seconds: per text, for ``backbone`` and ``minilm``.
    """

    texts: list[str]
    last_hidden: Tensor
    log_partition: Tensor
    projected: Tensor
    embedded: Vectors
    seconds: dict[str, float]

    def prefilled(self, rows: Sequence[int]) -> Prefilled:
        """What a router of ours gets to see of some texts."""
        at = torch.tensor(list(rows), dtype=torch.long, device=self.last_hidden.device)
        return Prefilled([], self.last_hidden[at], self.projected[at])


def compute(context: Context, texts: Sequence[str], *, with_retriever: bool) -> Features:
    """Run every text once."""
    backbone, basis = context.backbone, context.loaded.basis
    queries = [backbone.format.query(text) for text in texts]
    order = sorted(range(len(texts)), key=lambda i: len(queries[i]))
    hidden, partition, projected = [], [], []
    began = time.perf_counter()
    for start in range(0, len(order), _BATCH):
        done = backbone.prefill(
            [queries[i] for i in order[start : start + _BATCH]], keep_states=False, feature_layers=basis.layers.pooled
        )
        assert done.pooled is not None
        hidden.append(done.last_hidden)
        partition.append(_log_partition(backbone, done.last_hidden))
        projected.append(basis.project(done.pooled, backbone.hidden_size))
        if start // _BATCH % 20 == 0:
            say(f"Reading texts: {start} of {len(order)}")
    seconds = {"backbone": (time.perf_counter() - began) / len(texts)}
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    back = back.to(backbone.torch_device)
    embedded: Vectors = np.empty((0, 0), dtype=np.float32)
    if with_retriever:
        embedder = context.embedder
        began = time.perf_counter()
        embedded = embedder.embed(texts)
        seconds["minilm"] = (time.perf_counter() - began) / len(texts)
    return Features(
        list(texts), torch.cat(hidden)[back], torch.cat(partition)[back], torch.cat(projected)[back], embedded, seconds
    )


@torch.no_grad()
def _log_partition(backbone: Backbone, hidden: Tensor) -> Tensor:
    return torch.logsumexp(backbone.logits(hidden), dim=-1)
