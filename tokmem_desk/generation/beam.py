"""Beam search over an answer that is held to a form.

A form makes greedy decoding shortsighted: it forbids words without knowing what is lost later by those that are left,
so the likeliest first word may lead where nothing likely follows. A few answers therefore grow side by side; one that
falls far behind is given up, so that a memory that is sure of itself costs no more than greedy decoding. The search
ends when nothing that still grows can overtake what is finished. With a width of one it is greedy decoding.

Knows no batch and no cache: it is given logits and says what to run next. Letters: n answers that grow, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tokmem_desk.generation.constrained import FormConstraint

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.kv_state import JoinedBatch
    from tokmem_desk.generation.constrained import Constraint

WIDTH = 4
"""Answers that grow side by side, at most."""

BEAM_BYTES = 128 * 2**20
"""Keys and values of all answers that grow side by side, at most: each has its own copy of those of the message."""

GIVEN_UP = 4.0
"""An answer is dropped when its score is this many nats below the best one."""


@dataclass(frozen=True, slots=True)
class Beam:
    """An answer in the making.

    Attributes:
        ids: its tokens, without an end.
        score: log probability of its tokens, and of its end where it has one, among those that were allowed.
        constraint: its way through what holds it.
        logs: log probability of each token among those that were allowed, in nats; 0 where it had to follow.
        ended: True where it has come to its end.
    """

    ids: tuple[int, ...]
    score: float
    constraint: Constraint | None
    logs: tuple[float, ...] = ()
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Grown:
    """The next tokens to run for one answer; ``row`` is its parent's row in the last logits."""

    row: int
    tokens: tuple[int, ...]


class BeamSearch:
    """Beam search for one answer. Call ``advance`` with the first token's logits, then with those that it asks for."""

    def __init__(
        self, constraint: Constraint | None, stop_ids: Collection[int], *, width: int = WIDTH, ahead: bool = False
    ) -> None:
        """Begin.

        Args:
            stop_ids: tokens that end an answer.
            ahead: while one answer is left, take tokens that must follow without asking for their logits.
        """
        self._stop_ids, self._width, self._ahead = stop_ids, width, ahead
        self._growing = [Beam((), 0.0, constraint)]
        self._finished: Beam | None = None
        self._rivals: list[Beam] = []

    @property
    def growing(self) -> int:
        """Number of growing answers, n; 0 when the search is finished."""
        return len(self._growing)

    @property
    def length(self) -> int:
        """Tokens of the longest answer that grows."""
        return max((len(beam.ids) for beam in self._growing), default=0)

    @property
    def finished(self) -> bool:
        """True when an answer has come to its end, though others may still overtake it."""
        return self._finished is not None

    @property
    def best(self) -> Beam:
        """The best answer: the finished one, else the best that grows."""
        return self._finished or max(self._growing, key=lambda beam: beam.score)

    @property
    def rivals(self) -> list[Beam]:
        """Answers that were given up on the way, as far as they came, the likeliest first."""
        found: dict[tuple[int, ...], Beam] = {}
        for beam in sorted((*self._rivals, *self._growing), key=lambda beam: -beam.score):
            found.setdefault(beam.ids, beam)
        return [beam for ids, beam in found.items() if ids != self.best.ids]

    @property
    def settled(self) -> tuple[int, ...]:
        """Tokens that all answers still in the search begin with: safe to show."""
        best = self.best.ids
        count = next(
            (i for i, token in enumerate(best) for beam in self._growing if beam.ids[i : i + 1] != (token,)), None
        )
        return best[:count]

    def stop(self) -> None:
        """Drop all growing answers."""
        self._finished = self.best
        self._growing = []

    def advance(self, logits: Tensor) -> list[Grown]:
        """Choose what comes next.

        Args:
            logits: [n x v] float, of each answer that grows.

        Returns:
            One entry per growing answer, all of the same number of tokens; empty when the search is finished.

        Raises:
            GenerationError: the constraint allows no next token and does not end.
        """
        if not self._growing:
            return []
        scores = torch.stack([self._scores(beam, row) for beam, row in zip(self._growing, logits, strict=True)])
        # Ends take places of their own, so that as many answers as there is room for go on growing.
        count = min(self._width * (1 + len(self._stop_ids)), scores.numel())
        values, places = scores.flatten().topk(count)
        before, self._growing = self._growing, []
        grown: list[Grown] = []
        for score, place in zip(values.tolist(), places.tolist(), strict=True):
            row, token = divmod(place, scores.shape[1])
            if len(self._growing) == self._width or score == float("-inf") or self._behind(score):
                break
            if token in self._stop_ids:
                self._finish(replace(before[row], score=score, constraint=None))
                continue
            parent = before[row]
            constraint = parent.constraint
            if constraint is not None and any(answer.row == row for answer in grown):
                constraint = constraint.copy()
            logs = (*parent.logs, score - parent.score)
            self._growing.append(Beam((*parent.ids, token), score, constraint, logs))
            grown.append(Grown(row, (token,)))
        # A parent without a child was given up; one that has ended is kept by itself.
        parents = {answer.row for answer in grown}
        self._rivals += [replace(beam, constraint=None) for i, beam in enumerate(before) if i not in parents]
        return self._follow(grown)

    def _scores(self, beam: Beam, logits: Tensor) -> Tensor:
        """[v] log probability of the answer with each token behind it."""
        if beam.constraint is not None:
            logits = beam.constraint.mask(logits)
        return beam.score + logits.float().log_softmax(dim=-1)

    def _behind(self, score: float) -> bool:
        """Whether an answer can be given up; those that grow come in the order of their scores, which only fall."""
        finished = float("-inf") if self._finished is None else self._finished.score
        leader = max(finished, self._growing[0].score if self._growing else finished)
        return score <= finished or score < leader - GIVEN_UP

    def _finish(self, beam: Beam) -> None:
        beam = replace(beam, constraint=None, ended=True)
        if self._finished is None or beam.score > self._finished.score:
            beam, self._finished = self._finished or beam, beam
        self._rivals.append(beam)

    def _follow(self, grown: list[Grown]) -> list[Grown]:
        """Let constraints note the tokens; answers to which nothing can be added are finished."""
        alone = self._ahead and len(self._growing) == 1
        growing, going = [], []
        for beam, one in zip(self._growing, grown, strict=True):
            tokens = one.tokens
            if (constraint := beam.constraint) is not None:
                forced = constraint.take(*tokens, ahead=alone)
                beam = replace(beam, ids=(*beam.ids, *forced), logs=(*beam.logs, *(0.0 for _ in forced)))
                tokens = (*tokens, *forced)
                if constraint.complete:
                    self._finish(beam)
                    continue
            growing.append(beam)
            going.append(Grown(one.row, tokens))
        kept = [i for i, beam in enumerate(growing) if self._finished is None or beam.score > self._finished.score]
        self._rivals += [replace(beam, constraint=None) for i, beam in enumerate(growing) if i not in kept]
        self._growing = [growing[i] for i in kept]
        return [going[i] for i in kept]


def width_within_memory(batch: JoinedBatch, width: int = WIDTH) -> int:
    """How many answers may grow side by side behind one message; a long one leaves room for fewer."""
    return max(1, min(width, BEAM_BYTES // max(1, batch.bytes)))


def search_width(backbone: Backbone, constraint: Constraint | None, width: int = WIDTH) -> int:
    """How many answers may grow side by side: several where a form holds them.

    One where sequences run from their beginning at every token (see ``recompute``), and with a schema, whose answers
    are arguments more than words.
    """
    held = isinstance(constraint, FormConstraint) and constraint.followed
    return width if held and not backbone.layout.recurrent else 1
