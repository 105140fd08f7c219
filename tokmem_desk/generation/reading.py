"""Reading on behalf of an answer: tells how far it is, lets others have their turn, and stops when it is asked to."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Literal

from tokmem_desk.errors import InterruptedByUser
from tokmem_desk.generation.types import Read

if TYPE_CHECKING:
    from tokmem_desk.backbone.prefill import Prefilled, Reading


def read(
    steps: Reading,
    what: Literal["message", "requests", "conversation"],
    total: int,
    cancelled: Callable[[], bool],
) -> Generator[Read, None, Prefilled]:
    """Read to the end; yields how far it is after each pass but the last.

    Args:
        steps: the passes, see ``Backbone.prefill_steps``.
        what: what is read, for those who are told.
        total: tokens to read.
        cancelled: asked before each pass but the first.

    Raises:
        InterruptedByUser: it was cancelled before all was read.
    """
    while True:
        try:
            done = next(steps)
        except StopIteration as ended:
            result: Prefilled = ended.value
            return result
        if done < total:
            yield Read(what, done, total)
            if cancelled():
                steps.close()
                raise InterruptedByUser("Stopped while reading.")
