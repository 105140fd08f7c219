"""Where values stand in a message: the most probable marks that keep words whole, and other spans in their order.

Works on the scores of an extractor's network and on the message's letters. Knows no schema and no JSON.

Letters: t tokens, s slots. Mark 0 is no slot, 1 + 2i the first token of slot i, 2 + 2i a further token of it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import torch
from torch import Tensor

_IMPOSSIBLE = -1e9

LONGEST_SPAN = 24
"""Tokens of a value that is looked for although it was not marked; longer ones are found by their marks alone."""

_UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ")
"""How Unicode names begin of letters that are written without blanks between words."""

_INSIDE_NUMBERS = ".,"
_JOINERS = ("\u200c", "\u200d", "\ufe0e", "\ufe0f")


class Joint(IntEnum):
    """What is cut where two neighbouring letters are parted."""

    FREE = 0
    """Nothing: a blank, a mark, or a script without blanks lies there."""
    UNIT = 1
    """A number and its letters, as in ``3pm``: a number may end there, a text may not."""
    WORD = 2
    """A word, a number, or a letter and its accent."""


def joint(text: str, at: int) -> Joint:
    """What is cut when a text is parted before its letter ``at``."""
    if at <= 0 or at >= len(text):
        return Joint.FREE
    left, right = text[at - 1], text[at]
    if unicodedata.category(right).startswith("M") or right in _JOINERS or left == "\u200d":
        return Joint.WORD
    if _inside_number(text, at):
        return Joint.WORD
    base = at - 1
    while base > 0 and unicodedata.category(text[base]).startswith("M"):
        base -= 1
    left = text[base]  # an accent of its own belongs to the letter before it
    if not (left.isalnum() and right.isalnum()):
        return Joint.FREE
    if left.isdigit() != right.isdigit():
        return Joint.UNIT
    if left.isdigit():
        return Joint.WORD
    return Joint.FREE if _is_unspaced(left) or _is_unspaced(right) else Joint.WORD


def _inside_number(text: str, at: int) -> bool:
    """Whether a point or comma between two digits lies beside ``at``."""
    inside = (mark for mark in (at - 1, at) if 0 < mark < len(text) - 1 and text[mark] in _INSIDE_NUMBERS)
    return any(text[mark - 1].isdigit() and text[mark + 1].isdigit() for mark in inside)


@lru_cache(maxsize=4096)
def _is_unspaced(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(_UNSPACED)


def cuts_words(text: str, start: int, end: int, *, number: bool = False) -> bool:
    """Whether a value at [start, end) of a text begins or ends within a word or a number."""
    allowed = Joint.UNIT if number else Joint.FREE
    return joint(text, start) > allowed or joint(text, end) > allowed


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens [first, after) of a message that are marked as a value of a slot.

    Attributes:
        score: log odds of its marks against no mark, summed over its tokens; higher is more likely.
    """

    slot: int
    first: int
    after: int
    score: float

    def overlaps(self, other: Span) -> bool:
        """Whether both have a token in common."""
        return self.first < other.after and other.first < self.after


class MarkedMessage:
    """A message's tokens with the scores of their marks.

    Args:
        message: the stripped message.
        places: [start, end) of each token in it, t of them.
        scores: [t x (1 + 2s)] float32 log probabilities of the marks, on the CPU.
        numbers: slots whose values are numbers.
        inner: slots whose values may begin or end within a word.
    """

    def __init__(
        self,
        message: str,
        places: Sequence[tuple[int, int]],
        scores: Tensor,
        *,
        numbers: Collection[int] = (),
        inner: Collection[int] = (),
    ) -> None:
        self._message, self._places, self._scores = message, places, scores
        self._numbers, self._inner = frozenset(numbers), frozenset(inner)
        self._count = (scores.shape[1] - 1) // 2
        self._joints = [joint(message, self._start(token)) for token in range(len(places))]
        """What is cut between each token and the one before it."""

    def _start(self, token: int) -> int:
        """Where a token's first letter that is no blank stands."""
        start, end = self._places[token]
        text = self._message[start:end]
        return start + len(text) - len(text.lstrip())

    def text(self, span: Span) -> str:
        """The letters of a span, without blanks around them."""
        return self._message[self._places[span.first][0] : self._places[span.after - 1][1]].strip()

    def _may_part(self, slot: int, kind: Joint) -> bool:
        """Whether a value of a slot may begin or end at a joint of that kind."""
        return kind == Joint.FREE or slot in self._inner or (kind == Joint.UNIT and slot in self._numbers)

    def best(self) -> list[Span]:
        """The spans of the most probable marks, in the order of the message.

        A slot goes on only behind its own beginning, and begins and ends at the borders of words.
        """
        return [self._span((mark - 1) // 2, first, after) for mark, first, after in _runs(self._marks())]

    def _marks(self) -> list[int]:
        """One mark a token (Viterbi)."""
        scores = self._scores
        if len(scores) == 0:
            return []
        transitions = [self._transitions(kind) for kind in Joint]
        further = (torch.arange(scores.shape[1]) % 2 == 0) & (torch.arange(scores.shape[1]) > 0)
        total = scores[0].masked_fill(further, _IMPOSSIBLE)
        steps = []
        for token in range(1, len(scores)):
            best, came_from = (total[:, None] + transitions[self._joints[token]]).max(dim=0)
            steps.append(came_from)
            total = best + scores[token]
        path = [int(total.argmax())]
        for came_from in reversed(steps):
            path.append(int(came_from[path[-1]]))
        return path[::-1]

    def _transitions(self, kind: Joint) -> Tensor:
        """[(1 + 2s) x (1 + 2s)] float32: 0 where a mark may follow another over a joint of that kind."""
        count = self._scores.shape[1]
        marks = torch.arange(count)
        slots = (marks - 1).div(2, rounding_mode="floor")  # -1 for no slot
        further = (marks % 2 == 0) & (marks > 0)
        same = slots[:, None] == slots[None]
        allowed = ~further[None] | same
        parts = torch.tensor([self._may_part(slot, kind) for slot in range(self._count)] + [True])  # -1 is the last
        # Without a change of slot nothing is parted, unless a slot begins anew behind itself.
        whole = same & ((marks[:, None] == 0) | further[None])
        allowed &= whole | (parts[slots][:, None] & parts[slots][None])
        return torch.where(allowed, 0.0, _IMPOSSIBLE)

    def _span(self, slot: int, first: int, after: int) -> Span:
        odds = self._odds(slot)
        return Span(slot, first, after, float(odds[0][first] + odds[1][first + 1 : after].sum()))

    def _odds(self, slot: int) -> tuple[Tensor, Tensor]:
        """[t] and [t] float32: log odds of each token as the first and as a further one of a slot, against none."""
        none = self._scores[:, 0]
        return self._scores[:, 1 + 2 * slot] - none, self._scores[:, 2 + 2 * slot] - none

    def log_of(self, slot: int, spans: Collection[Span]) -> float:
        """Log probability that the slot has exactly these tokens of the message and no other, in nats.

        Each token counts by itself, as if the marks beside it said nothing about it.
        """
        inside = self._scores[:, 1 + 2 * slot : 3 + 2 * slot].logsumexp(dim=-1)
        taken = torch.zeros(len(inside), dtype=torch.bool)
        for span in spans:
            taken[span.first : span.after] = True
        outside = torch.log1p(-inside.exp().clamp(max=1 - 1e-6))
        return float(torch.where(taken, inside, outside).sum())

    def others(self, slot: int) -> list[Span]:
        """All spans of at most ``LONGEST_SPAN`` tokens that may be a value of a slot, the most probable first."""
        begins, goes_on = self._odds(slot)
        count = len(self._places)
        found = []
        for first in range(count):
            if not self._may_part(slot, self._joints[first]):
                continue
            score = float(begins[first])
            for after in range(first + 1, min(count, first + LONGEST_SPAN) + 1):
                if after > first + 1:
                    score += float(goes_on[after - 1])
                if after == count or self._may_part(slot, self._joints[after]):
                    found.append(Span(slot, first, after, score))
        return sorted((span for span in found if self.text(span)), key=lambda span: -span.score)


def _runs(marks: Sequence[int]) -> list[tuple[int, int, int]]:
    """(mark of its first token, first token, token after the last) of every value, in order."""
    found: list[tuple[int, int, int]] = []
    for token, mark in enumerate(marks):
        if mark % 2 == 1:
            found.append((mark, token, token + 1))
        elif mark > 0:
            opened, first, _ = found[-1]
            found[-1] = (opened, first, token + 1)
    return found
