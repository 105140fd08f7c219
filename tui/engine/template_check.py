"""Keep an answer template only where it does no harm: the held-out pairs are answered with it and without it.

A template is found by counting over the pairs to learn, so there it is always right. On other messages it may force a
right answer into a wrong one. Such a template is taken out of the memory before it is measured and stored, so what the
scorecard measures is what will answer. Without held-out pairs nothing is known, and the template stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokmem_desk.procedures import ExamplePair, Procedure
from tokmem_desk.templates.json_schema import read_schema
from trainer.evaluate import Answered, answer_pairs, answer_pairs_in_batches
from trainer.metrics import exact_match

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from tokmem_desk.memory.memory import Memory


@dataclass(frozen=True, slots=True)
class TemplateEffect:
    """What an answer template does to the answers of held-out pairs.

    Attributes:
        broken: answers that are right without it and wrong with it.
        mended: answers that are wrong without it and right with it.
    """

    broken: int
    mended: int

    @classmethod
    def of(cls, pairs: Sequence[ExamplePair], held: Sequence[str], free: Sequence[str]) -> TemplateEffect:
        """Compare answers to the same pairs, ``held`` to the template and ``free`` of it."""
        broken = mended = 0
        for pair, with_it, without_it in zip(pairs, held, free, strict=True):
            right, right_before = exact_match(with_it, pair.accepted), exact_match(without_it, pair.accepted)
            broken += right < right_before
            mended += right > right_before
        return cls(broken, mended)

    @property
    def harms(self) -> bool:
        """Whether it breaks more answers than it mends."""
        return self.broken > self.mended

    @property
    def advice(self) -> str:
        """What the scorecard says of a template that was taken out."""
        return (
            f"Its answers are not held to the form of the pairs: on held-out pairs that broke {self.broken} and mended "
            f"{self.mended}."
        )


@dataclass(frozen=True, slots=True)
class CheckedMemory:
    """A memory as it is to be stored.

    Attributes:
        memory: without its answer template where that did harm.
        answered: what it answers to the held-out pairs under the settings in force.
        dropped: what the template that was taken out had done; None where none was.
    """

    memory: Memory
    answered: Answered
    dropped: TemplateEffect | None = None


def check_template(
    backbone: Backbone, memory: Memory, procedure: Procedure, held_out: Sequence[ExamplePair], *, keep_form: bool
) -> Iterator[float | CheckedMemory]:
    """Answer held-out pairs under a new memory; yields the share done, then the memory with these answers.

    Args:
        procedure: its schema, where it has one, holds the answers instead of the template.
        held_out: at least one pair.
        keep_form: the setting of that name: whether templates hold answers at present.
    """
    schema = None if procedure.output_schema is None else read_schema(procedure.output_schema)
    free_memory = memory.without_answer_template()
    if schema is not None or memory.answer_template is None:
        for step in answer_pairs(backbone, held_out, memory, procedure.pattern, schema):
            yield CheckedMemory(memory, step) if isinstance(step, Answered) else step
        return
    found: list[Answered] = []
    for place, one in enumerate((memory, free_memory)):
        # What is compared alone comes from batches; what the scorecard then shows is answered as the chat answers.
        for step in answer_pairs_in_batches(backbone, held_out, one, procedure.pattern):
            if isinstance(step, Answered):
                found.append(step)
            else:
                yield (place + step) / 3
    held, free = found
    effect = TemplateEffect.of(held_out, held.answers, free.answers)
    kept = free_memory if effect.harms else memory
    used = kept if keep_form else free_memory
    for step in answer_pairs(backbone, held_out, used, procedure.pattern):
        yield (
            CheckedMemory(kept, step, effect if effect.harms else None)
            if isinstance(step, Answered)
            else (2 + step) / 3
        )
