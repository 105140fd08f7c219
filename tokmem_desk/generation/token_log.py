"""The tokens of an answer for those who ask how likely each was: text, log probability, and the likeliest others.

The texts of the tokens joined are the answer's: a token that is part of a character has an empty text, and the one that
completes it has all of it. Likely among what the form or the schema allowed, before any temperature: a token that had
to follow was certain. Knows no route.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MOST_OTHERS = 20
"""Of each token, at most."""

_CONTEXT = 8
"""Tokens before another one that its text is read with: some tokenizers write a space by what stands before."""


@dataclass(frozen=True, slots=True)
class LoggedToken:
    """One token of an answer.

    Attributes:
        text: what it adds to the answer.
        log: its log probability, in nats.
        others: the likeliest tokens in its place, itself among them, with their log probabilities; as many as were
            asked for. A searched answer has none but itself.
    """

    text: str
    log: float
    others: tuple[tuple[str, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the pipe."""
        return asdict(self)


@dataclass(slots=True)
class TokenLog:
    """Notes the tokens of one answer.

    Args:
        others: how many of the likeliest are noted for each token; up to ``MOST_OTHERS``.
        decode: ids to text.
    """

    others: int
    decode: Callable[[list[int]], str]
    tokens: list[LoggedToken] = field(default_factory=list)

    def others_of(self, logits: Tensor, before: Sequence[int]) -> tuple[tuple[str, float], ...]:
        """The likeliest tokens, best first.

        Args:
            logits: [v], minus infinity for what is not allowed.
            before: the answer's ids so far.
        """
        if not self.others:
            return ()
        values, ids = logits.float().log_softmax(dim=-1).topk(min(self.others, logits.shape[-1]))
        context = list(before[-_CONTEXT:])
        start = len(self.decode(context)) if context else 0
        found = zip(ids.tolist(), values.tolist(), strict=True)
        return tuple((self.decode([*context, one])[start:], log) for one, log in found if log > float("-inf"))

    def add(self, text: str, log: float, others: tuple[tuple[str, float], ...] = ()) -> None:
        """Note a token."""
        self.tokens.append(LoggedToken(text, log, others))

    def add_all(self, ids: Sequence[int], logs: Sequence[float]) -> None:
        """Note the tokens of an answer that was searched."""
        text = ""
        for place, log in enumerate(logs, start=1):
            longer = self.decode(list(ids[:place]))
            piece = "" if longer.endswith("\ufffd") else longer[len(text) :]
            text += piece
            self.add(piece, log, ((piece, log),) if self.others else ())
