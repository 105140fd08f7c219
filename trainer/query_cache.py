"""The frozen part of every training example, computed once.

The query stands before the memory, so its keys, values and last hidden state never change while a memory
trains. They are kept within a memory budget; what does not fit is recomputed when a batch needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.backbone.query_state import QueryState

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.token_space import TokenSpace

_CHUNK = 32


class QueryCache:
    """Cached states of a list of queries.

    Attributes:
        last_hidden: [n x d] float32, the state at the end of each query.
        log_partition: [n] float32, logsumexp of the frozen vocabulary's logits there (``Z``).
        pooled: [n x f] float32 raw routing features, or None when no layers were asked for.
        tokens: per query [t x k] float32 tokens of its message in the token space, on the CPU; empty without one.
    """

    def __init__(
        self,
        backbone: Backbone,
        queries: Sequence[Sequence[int]],
        *,
        budget_mb: float = 1024,
        feature_layers: Sequence[int] = (),
        token_space: TokenSpace | None = None,
    ) -> None:
        self._backbone = backbone
        self._queries = list(queries)
        self._budget = budget_mb * 2**20
        self._layers = tuple(feature_layers)
        self._token_space = token_space
        self._states: dict[int, QueryState] = {}
        self.bytes = 0
        self.last_hidden: Tensor = torch.empty(0)
        self.log_partition: Tensor = torch.empty(0)
        self.pooled: Tensor | None = None
        self.tokens: list[Tensor] = []

    def fill(self) -> Iterator[float]:
        """Compute all states; yields the share done after each chunk, so that chat gets its turn."""
        hidden, partition, pooled = [], [], []
        order: list[int] = []
        tokens: list[Tensor] = []
        for rows in _chunks(self._queries):
            keep = self.bytes < self._budget
            done = self._backbone.prefill(
                [self._queries[i] for i in rows],
                keep_states=keep,
                feature_layers=self._layers,
                token_space=self._token_space,
            )
            for i, state in zip(rows, done.states, strict=False):
                if self.bytes + state.bytes <= self._budget:
                    self._states[i] = state
                    self.bytes += state.bytes
            hidden.append(done.last_hidden)
            with torch.no_grad():
                partition.append(torch.logsumexp(self._backbone.logits(done.last_hidden), dim=-1))
            if done.pooled is not None:
                pooled.append(done.pooled)
            tokens += [one.cpu() for one in done.tokens]
            order += rows
            yield len(order) / len(self._queries)
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
        back = back.to(self._backbone.torch_device)
        self.last_hidden = torch.cat(hidden)[back]
        self.log_partition = torch.cat(partition)[back]
        self.pooled = torch.cat(pooled)[back] if pooled else None
        self.tokens = [tokens[int(place)] for place in back] if tokens else []

    def states(self, rows: Sequence[int]) -> list[QueryState]:
        """States of some queries; those past the budget are recomputed, without gradient."""
        missing = [i for i in rows if i not in self._states]
        fresh = (
            dict(zip(missing, self._backbone.prefill([self._queries[i] for i in missing]).states, strict=True))
            if missing
            else {}
        )
        return [self._states.get(i) or fresh[i] for i in rows]


def _chunks(queries: Sequence[Sequence[int]]) -> list[list[int]]:
    """Queries that run together: neighbours in lexical order, so that what they share in front runs once.

    A chunk ends where the shared part would shrink to less than half, as between two instructions.
    """
    chunks: list[list[int]] = []
    shared = 0
    for i in sorted(range(len(queries)), key=lambda i: tuple(queries[i])):
        if chunks and len(chunks[-1]) < _CHUNK:
            common = _common(queries[chunks[-1][0]], queries[i])
            if len(chunks[-1]) == 1 or 2 * common >= shared:
                shared = common if len(chunks[-1]) == 1 else min(shared, common)
                chunks[-1].append(i)
                continue
        chunks.append([i])
    return chunks


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the part in front that two queries share."""
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return count
