"""Steps of several answers in one pass over the weights, each answer exactly what it is alone.

Answers that take turns ask for their next step before they give the turn away, and take its result when it comes back.
By then the others have asked too, and the first one to take has all of them computed together. Only products with
weights are shared: each answer's keys stay in a batch of its own, unpadded, so no answer sees another one, nor anything
of it. (One padded batch is no way to the same: its attention sums in another order, and in bfloat16 half of eight
greedy answers of the default model then came out otherwise.)

Whether products of several rows give the bits that they give for one depends on the processor. It is tried, once per
process, before it is used; where they differ, every step runs alone, as it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tokmem_desk.backbone.lean_step import MOST_ROWS
from tokmem_desk.generation.decoding import step_each

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.backbone.kv_state import JoinedBatch

_TRIED = (2, 3, 5, 8)
"""How many answers at once are tried against the same ones alone."""


class StepAhead:
    """A step that was asked for; its batch is extended when it is computed."""

    __slots__ = ("batch", "logits", "tokens")

    def __init__(self, batch: JoinedBatch, tokens: Sequence[Sequence[int]]) -> None:
        """Nothing is computed yet; ``tokens`` are those to append to each sample, as many to all."""
        self.batch, self.tokens = batch, tokens
        self.logits: Tensor | None = None

    @property
    def rows(self) -> int:
        """Token positions of it."""
        return len(self.tokens) * len(self.tokens[0])


class StepPool:
    """The steps that answers of one process wait for.

    Args:
        backbone: of all these answers.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._waiting: list[StepAhead] = []
        self._exact: bool | None = None
        self.together = 0
        """Steps that were computed with others."""

    def ask(self, batch: JoinedBatch, tokens: Sequence[Sequence[int]]) -> StepAhead:
        """Ask for a step; ``take`` or ``drop`` it. Until then the batch must not change."""
        ahead = StepAhead(batch, tokens)
        self._waiting.append(ahead)
        return ahead

    def drop(self, ahead: StepAhead) -> None:
        """Forget a step that nobody will take."""
        if ahead in self._waiting:
            self._waiting.remove(ahead)

    def take(self, ahead: StepAhead) -> Tensor:
        """[b x v] logits behind the tokens.

        Raises:
            OutOfMemoryError, RuntimeError: the step does not fit; the others that wait know nothing of that.
        """
        if ahead.logits is None:
            self._compute_with_others(ahead)
        if ahead.logits is None:
            self.drop(ahead)
            return step_each(self._backbone, ahead.batch, ahead.tokens)
        return ahead.logits

    def _compute_with_others(self, ahead: StepAhead) -> None:
        """Compute this step with those of others, if there are any and that is possible; else leave all as they are."""
        chosen, rows = [ahead], ahead.rows
        for other in self._waiting:
            if other is not ahead and self._fits(other) and rows + other.rows <= MOST_ROWS:
                chosen.append(other)
                rows += other.rows
        if len(chosen) < 2 or not self._fits(ahead) or not self._is_exact():
            return
        try:
            with _unchanged_on_error([one.batch for one in chosen]):
                found = _steps(self._backbone, chosen)
        except (RuntimeError, MemoryError):  # each tries alone, and fails alone if it must
            return
        for one, logits in zip(chosen, found, strict=True):
            one.logits = logits
            self.drop(one)
        self.together += len(chosen)

    def _fits(self, ahead: StepAhead) -> bool:
        step = self._backbone.lean_step
        return step is not None and step.takes(ahead.batch, torch.empty(len(ahead.tokens), len(ahead.tokens[0])))

    def _is_exact(self) -> bool:
        if self._exact is None:
            self._exact = False
            self._exact = exact_together(self._backbone)
        return self._exact


@torch.no_grad()
def exact_together(backbone: Backbone) -> bool:
    """Whether several answers in one pass get, to the last bit, the logits that each gets alone."""
    words = backbone.format.query("A message of some words that serves as many others do, and a few more.")
    queries = [words[: len(words) - 1 - place] for place in range(max(_TRIED)) if len(words) - 1 - place > 1]
    if len(queries) < max(_TRIED) or backbone.lean_step is None:
        return False
    states = [backbone.prefill([query]).states[0] for query in queries]

    def begun(count: int) -> list[StepAhead]:
        return [
            StepAhead(backbone.layout.join([state], [None]), [[queries[place][-1]]])
            for place, state in enumerate(states[:count])
        ]

    try:
        for count in _TRIED:
            alone, together = begun(count), begun(count)
            for _ in range(2):
                own = [step_each(backbone, one.batch, one.tokens) for one in alone]
                if not all(map(torch.equal, own, _steps(backbone, together))):
                    return False
    except RuntimeError:
        return False
    return True


@torch.no_grad()
def _steps(backbone: Backbone, steps: Sequence[StepAhead]) -> list[Tensor]:
    """[b x v] logits of each step, in one pass."""
    lean = backbone.lean_step
    assert lean is not None
    work = [(one.batch, backbone.embed_ids(torch.tensor(one.tokens, device=backbone.torch_device))) for one in steps]
    last = [hidden[:, -1] for hidden in lean.run_together(work)]
    logits = backbone.logits(torch.cat(last))
    return list(logits.split([len(hidden) for hidden in last]))


@contextmanager
def _unchanged_on_error(batches: Sequence[JoinedBatch]) -> Iterator[None]:
    """Put batches back where the block fails: what was written behind their keys is of no meaning then."""
    kept = [(batch, batch.mask, batch.lengths, [_held(layer) for layer in batch.cache.layers]) for batch in batches]
    try:
        yield
    except BaseException:
        for batch, mask, lengths, layers in kept:
            batch.mask, batch.lengths = mask, lengths
            for place, (layer, attributes) in enumerate(layers):
                batch.cache.layers[place] = layer
                for name, value in attributes.items():
                    setattr(layer, name, value)
        raise


def _held(layer: Any) -> tuple[Any, dict[str, Any]]:
    names = ("keys", "values", "cumulative_length")
    return layer, {name: getattr(layer, name) for name in names if hasattr(layer, name)}
