"""What is trained for one procedure: an address, by which it is found, and its steering, by which it acts.

A memory stands right after the query. Its steering is put together from parts of different kinds (``steering``). The
app's own has keys and values in every layer, one row read as an input embedding, and an edit of what they see of the
query. The paper's (TokMem, arXiv 2510.00444, eq. 2) is rows alone. Appended rows have ids v, v+1, …: no reserved token
is used, the vocabulary is never resized, and no text encodes to one.

No optimiser and no file here: see ``trainer`` and ``file``.

Letters: d hidden size, n memories.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.memory.steering import Steering
from tokmem_desk.templates.template import TEMPLATE_SETTING, AnswerTemplate, template_in


@dataclass(frozen=True, slots=True)
class Memory:
    """One procedure's memory.

    Attributes:
        name: the procedure's name.
        steering: how it acts.
        address: [d] float32 output row, how the token router finds it (paper eq. 4).
        tied: True when ``address`` is row 0 of the steering (the paper's default; decoupled otherwise).
        statistics: how the discriminant router finds it; None where it was never measured.
        settings: how it was trained, for people and reports; plain JSON values.
    """

    name: str
    steering: Steering
    address: Tensor
    tied: bool
    statistics: RouterStatistics | None = None
    settings: dict[str, object] = field(default_factory=dict)
    _read: list[tuple[object, AnswerTemplate | None]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )
    """What the form was read from, and the form: it is asked for with every answer."""

    @property
    def answer_template(self) -> AnswerTemplate | None:
        """The form that the answers of its pairs share; None where they share none, or it cannot be read."""
        written = self.settings.get(TEMPLATE_SETTING)
        if not self._read or self._read[0][0] is not written:
            self._read[:] = [(written, template_in(self.settings))]
        return self._read[0][1]

    def without_answer_template(self) -> Memory:
        """The same memory, whose answers are free."""
        if TEMPLATE_SETTING not in self.settings:
            return self
        return replace(self, settings={key: value for key, value in self.settings.items() if key != TEMPLATE_SETTING})


def renormalise(new: Tensor, old: Tensor) -> Tensor:
    """Scale new rows to the mean norm of the old ones (TokMem eq. 5 and 6).

    A freshly trained address tends to be longer than the older ones and would win every softmax.

    Args:
        new: [n x d] rows just trained.
        old: [o x d] rows trained before; with none, ``new`` is returned as it is.

    Returns:
        [n x d] rows, each of the mean norm of ``old``.
    """
    if old.shape[0] == 0:
        return new
    target = old.norm(dim=1).mean()
    return new * (target / new.norm(dim=1, keepdim=True).clamp_min(1e-12))
