"""The loss over the steps of a training: what it learns from as a line, what is held out as points.

The width stands for all steps, so that it fills as time goes on. The two differ in form, not in colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from textual.color import Color
from textual_plotext import PlotextPlot

Curve = Sequence[tuple[int, float]]
_LEAST = 1e-3
"""Where a logarithmic scale ends; training stops above it. Also the least height of the drawing, in its own units."""
_TICKS_FROM = 6
"""Rows from which there is room for the steps below the curve."""


class LossPlot(PlotextPlot):  # type: ignore[misc]  # the package has no types
    """Draws what it was shown last, as wide and high as it is."""

    DEFAULT_CSS = """
    LossPlot { height: 9; width: 1fr; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[list[tuple[int, float]], list[tuple[int, float]], int, bool] = ([], [], 1, False)

    def show(self, losses: Curve, held_out: Curve, steps: int, *, log_scale: bool) -> None:
        """Draw.

        Args:
            losses: step, from 1, and loss in nats; in order, and not of every step.
            held_out: the same on the held-out pairs, of some steps.
            steps: of the whole training.
            log_scale: draw the logarithm.
        """
        drawn, circles = ([one for one in curve if math.isfinite(one[1])] for curve in (losses, held_out))
        self._shown = drawn, circles, max(steps, 2), log_scale
        self._draw()

    def on_resize(self) -> None:
        """Other ticks, as there is room."""
        self._draw()

    def _draw(self) -> None:
        losses, held_out, steps, log_scale = self._shown
        plot = self.plt
        plot.clear_figure()
        if not losses:
            self.refresh()
            return
        values = [max(loss, _LEAST) for _, loss in (*losses, *held_out)]
        # The package's own logarithmic scale fails where it is small: the logarithm is taken here.
        low, high = (math.log(min(values)), math.log(max(values))) if log_scale else (0.0, max(values))
        low, high = (low, high) if high - low > _LEAST else (low - _LEAST, high + _LEAST)
        plot.plot(*_columns(losses, log_scale), marker="braille", color=self._rgb("primary"))
        if held_out:
            plot.scatter(*_columns(held_out, log_scale), marker="○", color=self._rgb("accent"))
        plot.xlim(1, steps)
        plot.ylim(low, high)
        count = max(2, min(4, self.size.height // 2))
        places = [low + (high - low) * part / (count - 1) for part in range(count)]
        plot.yticks(places, [f"{math.exp(place) if log_scale else place:.2f}" for place in places])
        ticks = sorted({1, *(steps * part // 4 for part in (1, 2, 3, 4))})
        plot.xticks(ticks if self.size.height >= _TICKS_FROM else [])
        plot.frame(False)
        self.refresh()

    def _rgb(self, name: str) -> tuple[int, int, int]:
        """A colour of the theme as the package takes it."""
        return Color.parse(self.app.theme_variables[name]).rgb


def _columns(curve: Curve, log_scale: bool) -> tuple[list[int], list[float]]:
    return [step for step, _ in curve], [math.log(max(loss, _LEAST)) if log_scale else loss for _, loss in curve]
