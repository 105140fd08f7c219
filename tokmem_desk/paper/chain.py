"""The paper's chain: query, then memory, response, end of procedure, and so on, in one sequence.

    query + m_i + r_i + eop + m_j + r_j + eop + end          (TokMem, arXiv 2510.00444, section 3.3)

Memories are tied rows; the end-of-procedure token is a row of its own that belongs to the backbone or to its
adapter. Memory columns stand in the softmax at the end of the query and behind an end of procedure only, so none can
be chosen inside a segment. The app answers segment by segment instead (``tokmem_desk.routing.segments``);
the benchmarks measure the two side by side.

Letters: b batch, p memories, v vocabulary, d hidden size. Extra symbols have ids: v + i is memory i, v + p
is the end of procedure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone

MOST_SEGMENTS = 8
"""Segments of one answer at most."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Tied memories that can follow one another.

    Attributes:
        names: of the memories.
        rows: [p x d] float32, in and out.
        eop: [d] float32 row of the end of procedure; None without one: a segment then ends where a memory or the end
            of the turn is more probable than any word.
    """

    names: tuple[str, ...]
    rows: Tensor
    eop: Tensor | None

    @property
    def table(self) -> Tensor:
        """[p x d] or [(p + 1) x d]: every extra row."""
        return self.rows if self.eop is None else torch.cat([self.rows, self.eop[None]])


def embed_symbols(backbone: Backbone, symbols: Tensor, table: Tensor) -> Tensor:
    """[... x d] what the model reads for vocabulary ids and extra symbols; gradient flows into ``table``."""
    v = backbone.vocabulary_size
    words = backbone.embed_ids(symbols.clamp(max=v - 1))
    extra = backbone.embed_rows(table)[(symbols - v).clamp(min=0)]
    return torch.where((symbols >= v)[..., None], extra, words)


def extra_logits(backbone: Backbone, hidden: Tensor, table: Tensor) -> Tensor:
    """[... x rows of table] logits of the extra symbols."""
    return backbone.cap_logits(hidden.float() @ table.T)


@dataclass(slots=True)
class _Row:
    """One answer while it is generated."""

    segments: list[tuple[int, list[int]]] = field(default_factory=list)
    choosing: bool = True
    done: bool = False


@torch.no_grad()
def answer_chains(
    backbone: Backbone,
    queries: Sequence[Sequence[int]],
    chain: Chain,
    *,
    prior: float = 0.0,
    max_tokens: int = 256,
    most_segments: int = MOST_SEGMENTS,
) -> list[list[tuple[str, str]]]:
    """Greedy chains for a batch of queries: (name, response) of each segment.

    Args:
        prior: added to memory logits at the end of a segment, in nats.
        max_tokens: of a whole chain.
    """
    done = backbone.prefill(queries)
    batch = backbone.layout.join(done.states, [None] * len(queries))
    hidden = done.last_hidden
    rows = [_Row() for _ in queries]
    for _ in range(max_tokens):
        words = backbone.logits(hidden)
        extra = extra_logits(backbone, hidden, chain.table)
        symbols = []
        for row, word, more in zip(rows, words, extra, strict=True):
            symbols.append(_next_symbol(backbone, chain, row, word, more, prior, most_segments))
        if all(row.done for row in rows):
            break
        inputs = embed_symbols(backbone, torch.tensor(symbols, device=words.device)[:, None], chain.table)
        hidden = backbone.extend(batch, inputs)[:, -1].float()
    return [[(chain.names[owner], backbone.format.decode(ids).strip()) for owner, ids in row.segments] for row in rows]


def _next_symbol(
    backbone: Backbone, chain: Chain, row: _Row, words: Tensor, extra: Tensor, prior: float, most_segments: int
) -> int:
    """Choose the next symbol of one row and add it."""
    end, v, p = backbone.format.end_id, backbone.vocabulary_size, len(chain.names)
    if row.done:
        return end
    memories = extra[:p] + (prior if row.segments else 0.0)
    best = int(memories.argmax())
    may_open = len(row.segments) < most_segments
    if row.choosing:
        if not may_open or (row.segments and float(words[end]) >= float(memories[best])):
            row.done = True
            return end
        row.segments.append((best, []))
        row.choosing = False
        return v + best
    word = int(words.argmax())
    if chain.eop is not None:
        if float(extra[p]) > float(words[word]):
            row.choosing = True
            return v + p
    elif may_open and float(memories[best]) > float(words[word]):
        row.segments.append((best, []))
        return v + best
    if word in backbone.format.stop_ids:
        row.done = True
        return end
    row.segments[-1][1].append(word)
    return word
