"""The loss over the steps of a training, as columns; the width stands for all steps, so it fills as time goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LABEL_CELLS = 6


class LossPlot(Static):
    """Draws what it was shown last, as wide and high as it is."""

    DEFAULT_CSS = """
    LossPlot { height: 5; width: 1fr; color: $primary; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._losses: list[tuple[int, float]] = []
        self._steps = 1
        self._log_scale = False

    def show(self, losses: Sequence[tuple[int, float]], steps: int, *, log_scale: bool) -> None:
        """Draw.

        Args:
            losses: step, from 1, and loss in nats; in order, and not of every step.
            steps: of the whole training.
            log_scale: draw the logarithm.
        """
        self._losses, self._steps, self._log_scale = list(losses), max(steps, 1), log_scale
        self._draw()

    def on_resize(self) -> None:
        """Use the room there is."""
        self._draw()

    def _draw(self) -> None:
        width, height = self.size.width - _LABEL_CELLS - 1, self.size.height
        if not self._losses or width < 4 or height < 1:
            self.update("")
            return
        scaled = [(step, math.log(max(loss, 1e-6)) if self._log_scale else loss) for step, loss in self._losses]
        values = columns(scaled, width, self._steps)
        drawn = [value for value in values if value is not None]
        low, high = (min(drawn), max(drawn)) if self._log_scale else (0.0, max(drawn))
        span = (high - low) or 1.0
        # One eighth at least, so that a column that exists can be seen.
        eighths = [0 if value is None else max(1, round((value - low) / span * height * 8)) for value in values]
        lines = []
        for row in range(height - 1, -1, -1):
            label = high if row == height - 1 else low if row == 0 else None
            text = "" if label is None else f"{math.exp(label) if self._log_scale else label:.2f}"
            bar = "".join(_EIGHTHS[min(8, max(0, count - row * 8))] for count in eighths)
            lines.append(Content.assemble(Content.styled(f"{text:>{_LABEL_CELLS}} ", "$muted"), bar))
        self.update(Content("\n").join(lines))


def columns(points: Sequence[tuple[int, float]], width: int, steps: int) -> list[float | None]:
    """The mean of the losses that fall into each of ``width`` columns; None where training has not been yet.

    A column without a point of its own repeats the one to its left.
    """
    sums, counts = [0.0] * width, [0] * width
    last = -1
    for step, loss in points:
        first = min(width - 1, max(0, (step - 1) * width // steps))
        sums[first] += loss
        counts[first] += 1
        # A step is as wide as it is: the newest one fills its own columns too.
        last = max(last, min(width, math.ceil(step * width / steps)) - 1, first)
    means: list[float | None] = []
    for place in range(width):
        mean = sums[place] / counts[place] if counts[place] else means[-1] if means else None
        means.append(mean if place <= last else None)
    return means
