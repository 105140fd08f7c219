"""What is left of a run: from what its steps took, and from how fast its loss falls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

LEAST_STEPS = 4
"""Before so many steps nothing is said: the first are slow, and two losses have no direction."""


class Pace:
    """The time that is left of the steps of one run.

    Most runs end before their last step, because the loss reaches the floor. So the loss is taken to go on falling by
    the same share a step, which is about what it does between the first steps and the floor.

    Args:
        step, steps: optimiser steps done and planned.
        floor_loss: the run ends when the running loss falls below it, nats per labelled token.
        clock: in seconds; replaced in tests.
    """

    def __init__(self, step: int, steps: int, floor_loss: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps, self._floor_loss, self._clock = steps, floor_loss, clock
        self._begin = step
        self._first: tuple[int, float, float] | None = None
        """The step that everything is measured from, when it was over, and the loss then."""

    def seconds_left(self, step: int, loss: float) -> float | None:
        """Seconds until the end; None while that is a guess.

        Args:
            step: optimiser steps done.
            loss: running loss after it, nats per labelled token.
        """
        if step >= self._steps:
            return 0.0
        if self._first is None:  # the first step takes longer than those behind it
            self._first = step, self._clock(), loss
        first, then, loss_then = self._first
        if step - self._begin < LEAST_STEPS:
            return None
        left = float(self._steps - step)
        if self._floor_loss > 0 and 0 < loss < loss_then:
            fall = math.log(loss_then / loss) / (step - first)
            left = min(left, max(1.0, math.log(loss / self._floor_loss) / fall))
        return left * (self._clock() - then) / (step - first)
