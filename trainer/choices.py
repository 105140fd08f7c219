"""Which tokens a procedure's answer template allows at each position of its responses.

An answer is held to the form while it is generated, so a memory need not learn what the form knows: training counts,
for the most part, how probable the right token is among those that may stand there. With thousands of pairs there is
enough to learn everything from, and looking at each of them would take longer than a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor

from tokmem_desk.generation.constrained import held_to
from tokmem_desk.procedures import Procedure
from tokmem_desk.templates.induction import induce_form
from tokmem_desk.templates.template import AnswerTemplate

if TYPE_CHECKING:
    from tokmem_desk.backbone.backbone import Backbone
    from trainer.samples import Sample

Choices = Sequence[Tensor | None]
"""Per token of a response the ids that may stand there, the right one among them; None where nearly everything may."""

MOST_PAIRS = 200
"""With more pairs memories learn the form too."""
_MANY = 2048
"""More ids than that are nearly everything."""


class SharedForms:
    """The forms of procedures, and what they leave open; both are looked for when they are asked for."""

    def __init__(self, backbone: Backbone, procedures: Sequence[Procedure], *, wanted: bool) -> None:
        """Take the procedures; templates are induced on the first call of ``forms`` or ``choices``.

        Args:
            wanted: False for procedures whose answers are free.
        """
        self._backbone = backbone
        self._procedures = procedures
        self._wanted = wanted
        self._known: dict[tuple[int, str, str], Choices] = {}

    @cached_property
    def forms(self) -> list[AnswerTemplate | None]:
        """The form of each procedure's answers."""
        return [induce_form(p.pairs) if self._wanted else None for p in self._procedures]

    def choices(self, sample: Sample) -> Choices | None:
        """What is open in a sample's response; None where its answers will not be held to a form, or no pair can be."""
        procedure = self._procedures[sample.owner]
        form = self.forms[sample.owner]
        # A schema comes before the form, and values from the conversation are in no message.
        if form is None or procedure.output_schema is not None or procedure.reads_conversation:
            return None
        if len(procedure.pairs) > MOST_PAIRS:
            return None
        key = (sample.owner, sample.message, sample.text)
        if key not in self._known:
            self._known[key] = _open_choices(self._backbone, form, sample)
        return self._known[key]


def _open_choices(backbone: Backbone, form: AnswerTemplate, sample: Sample) -> Choices:
    constraint = held_to(form, backbone, sample.message)
    found: list[Tensor | None] = []
    if constraint is None:
        return [None] * len(sample.response)
    for token in sample.response:
        allowed = None if constraint.complete else constraint.allowed()
        # A pair that the form refuses (it may, of many) is learned as it stands from there on.
        if allowed is None or token >= len(allowed) or not bool(allowed[token]):
            break
        found.append(allowed.nonzero()[:, 0] if int(allowed.sum()) <= _MANY else None)
        if token not in backbone.format.stop_ids:
            constraint.take(token, ahead=False)
    return found + [None] * (len(sample.response) - len(found))
