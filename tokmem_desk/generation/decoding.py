"""One token after another: a memory put behind a query, steps, the choice of each token, ids turned into text.

Knows no route and no request. Memory tokens never stand in the softmax of an answer, so none can appear inside one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.kv_state import JoinedBatch
    from tokmem_desk.backbone.prefill import Prefilled
    from tokmem_desk.memory.memory import Memory

PROCEDURE_TOKENS = 256
CHAT_TOKENS = 512
"""Longest answers (of one segment), in tokens, unless a caller says otherwise."""

CIRCLING_TOKENS = 64
"""Plain chat is ended when it has repeated itself for this many tokens; also the longest period that is looked for."""

_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Sampling:
    """How plain chat picks tokens. Procedures always decode greedily unless ``everywhere``."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 0.95
    seed: int | None = None
    top_k: int = 0
    """Only so many of the likeliest tokens are drawn from; 0 is all."""
    min_p: float = 0.0
    """Tokens less likely than this share of the likeliest one's probability are left out."""
    repetition_penalty: float = 1.0
    """Above 1, tokens that the text holds already are less likely."""


def own_sampling(generation: object, seed: int | None = None) -> Sampling | None:
    """The sampling that a model's ``generation_config`` asks for; None where it asks for none, or for greedy decoding.

    Values out of range are ignored: the file comes with the model, from an unknown source.
    """

    def figure(name: str, least: float, most: float, otherwise: float) -> float:
        value = getattr(generation, name, None)
        usable = isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
        return float(value) if usable and value is not None else otherwise

    if not getattr(generation, "do_sample", False):
        return None
    return Sampling(
        temperature=figure("temperature", 0.01, 5.0, 1.0),
        top_p=figure("top_p", 0.01, 1.0, 1.0),
        seed=seed,
        top_k=int(figure("top_k", 0, 1_000_000, 0)),
        min_p=figure("min_p", 0.0, 0.99, 0.0),
        repetition_penalty=figure("repetition_penalty", 0.5, 5.0, 1.0),
    )


@dataclass(slots=True)
class TextStream:
    """Turns ids into text piece by piece, never cutting a character in two."""

    decode: Callable[[list[int]], str]
    ids: list[int] = field(default_factory=list)
    shown: str = ""

    def add(self, token: int) -> str:
        self.ids.append(token)
        text = self.decode(self.ids)
        return "" if text.endswith("\ufffd") else self._show(text)

    def finish(self) -> str:
        """The text of bytes that were held back as the beginning of a character."""
        return self._show(self.decode(self.ids))

    def _show(self, text: str) -> str:
        piece, self.shown = text[len(self.shown) :], text
        return piece


@torch.no_grad()
def start_memory(backbone: Backbone, memory: Memory, prefilled: Prefilled) -> tuple[JoinedBatch, Tensor]:
    """Put a memory behind one prefilled query; returns the batch and the [v] logits of the first token.

    The query's own keys and values go out of ``prefilled``: a long one is not kept beside what the memory makes of it.
    """
    state = memory.steering.edit_query(backbone, prefilled.states.pop())
    batch = backbone.layout.join([state], [memory.steering.keys_values(backbone, state.length)])
    del state
    hidden = backbone.decode(batch, backbone.embed_rows(memory.steering.rows)[None])
    return batch, backbone.next_logits(hidden[:, -1])[0]


def step(backbone: Backbone, batch: JoinedBatch, *tokens: int) -> Tensor:
    """Append tokens, most often one, to a batch of one; returns the [v] logits of the next."""
    return step_each(backbone, batch, [tokens])[0]


@torch.no_grad()
def step_each(backbone: Backbone, batch: JoinedBatch, tokens: Sequence[Sequence[int]]) -> Tensor:
    """Append tokens to each sample, as many to all; returns the [b x v] logits of the next."""
    ids = torch.tensor(tokens, device=backbone.torch_device)
    hidden = backbone.decode(batch, backbone.embed_ids(ids))
    return backbone.next_logits(hidden[:, -1])


def goes_in_circles(ids: Sequence[int]) -> bool:
    """Whether an answer ends in a passage that repeats.

    That is one passage of up to ``CIRCLING_TOKENS``, four times or more, over as many tokens at least: short enough
    to spare a reader the rest, and longer than the rule of a table or a laugh.
    """
    for period in range(1, CIRCLING_TOKENS + 1):
        length = max(CIRCLING_TOKENS, _ROUNDS * period)
        if length > len(ids):
            return False
        # Most periods fail at the last token.
        if ids[-1] == ids[-1 - period] and all(ids[-n] == ids[-n - period] for n in range(1, length - period + 1)):
            return True
    return False


LEAST_TEMPERATURE = 1e-3
"""Below it the likeliest token is taken: logits divided by less leave the range of numbers."""


class Chooser:
    """Picks the next token: greedy, or by temperature and nucleus."""

    def __init__(self, sampling: Sampling | None, *, greedy: bool) -> None:
        self._sampling = None if greedy or sampling is None or sampling.temperature < LEAST_TEMPERATURE else sampling
        self._generator = torch.Generator()
        if self._sampling is not None and self._sampling.seed is not None:
            self._generator.manual_seed(self._sampling.seed)
        else:
            self._generator.seed()

    def pick(self, logits: Tensor, before: Sequence[int] = ()) -> int:
        """The next token.

        Args:
            logits: [v], of the next token.
            before: the tokens of the text so far, for the penalty on repeating them.
        """
        if self._sampling is None:
            return int(logits.argmax())
        scores = logits.float().cpu().clone()
        if self._sampling.repetition_penalty != 1.0 and before:
            seen = torch.tensor(sorted(set(before)))
            penalty = self._sampling.repetition_penalty
            scores[seen] = torch.where(scores[seen] > 0, scores[seen] / penalty, scores[seen] * penalty)
        probabilities = torch.softmax(scores / self._sampling.temperature, dim=-1)
        ordered, ids = probabilities.sort(descending=True)
        if self._sampling.top_k:
            ordered[self._sampling.top_k :] = 0.0
        ordered = ordered.masked_fill(ordered < self._sampling.min_p * ordered[0], 0.0)
        if self._sampling.top_k or self._sampling.min_p:
            ordered = ordered / ordered.sum()
        # The nucleus: the fewest tokens whose mass reaches top_p, never less than one.
        beyond = ordered.cumsum(0) - ordered >= self._sampling.top_p
        ordered = ordered.masked_fill(beyond, 0.0)
        return int(ids[torch.multinomial(ordered, 1, generator=self._generator)])
