"""The token router learning in rounds: rows of earlier rounds stand still, new ones train beside them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.methods import Context
from benchmarks.result import Metrics
from benchmarks.routing_features import Features
from benchmarks.routing_methods import TOKEN_EPOCHS, Material, train_addresses
from tokmem_desk.memory.input_rows import initial_rows
from tokmem_desk.memory.memory import Memory, renormalise
from tokmem_desk.memory.steering import Steering
from tokmem_desk.routing.routers import TokenRouter


class TokenRounds:
    """Addresses, round by round, with or without renormalisation (TokMem, arXiv 2510.00444, eq. 5 and 6)."""

    def __init__(self, context: Context, features: Features, *, renormalised: bool) -> None:
        self._context, self._features, self._renormalised = context, features, renormalised
        self._names: list[str] = []
        self._rows: Tensor = torch.empty(0, context.backbone.hidden_size, device=context.backbone.torch_device)
        self._latest = 0

    def add(self, names: Sequence[str], rows: Sequence[int], labels: Sequence[int], *, seed: int) -> None:
        """Train the addresses of new procedures against those that are there.

        Args:
            rows, labels: their training texts' features, and for each the place in ``names``.
        """
        material = Material(names, rows, labels, (), seed)
        start = initial_rows(self._context.backbone, 1, seed=seed).repeat(len(names), 1)
        fresh = train_addresses(self._context, self._features, material, start, beside=self._rows)
        if self._renormalised:
            fresh = renormalise(fresh, self._rows)
        self._names += names
        self._rows = torch.cat([self._rows, fresh])
        self._latest = len(names)

    def router(self) -> TokenRouter:
        memories = [
            Memory(name, Steering.of(row[None]), row, tied=True)
            for name, row in zip(self._names, self._rows, strict=True)
        ]
        return TokenRouter(self._context.backbone, memories)

    def norms(self) -> Metrics:
        """Mean length of the latest rows and of the earlier ones."""
        lengths = self._rows.norm(dim=1)
        earlier = lengths[: -self._latest]
        return {
            "latest_norm": float(lengths[-self._latest :].mean()),
            "earlier_norm": float(earlier.mean()) if len(earlier) else None,
            "epochs": float(TOKEN_EPOCHS),
        }
