"""Tells a training's progress to whoever asked for it."""

from __future__ import annotations

from collections.abc import Callable

from trainer.loop import Progress
from tui.shared.training_times import TimeLeft


class TrainingProgress:
    """Sends ``progress`` events.

    Args:
        send: takes the fields of a ``progress`` event.
        name: of the procedure.
        clock: knows what is left of all phases.
    """

    def __init__(self, send: Callable[..., None], name: str, clock: TimeLeft) -> None:
        self._send, self._name, self._clock = send, name, clock

    def tell(self, progress: Progress, sample: dict[str, str] | None = None, timed_as: str = "") -> None:
        """Tell how far it is.

        Args:
            sample: the present answer to a held-out pair.
            timed_as: names the phase where that is finer than what people are told.
        """
        share = progress.step / progress.steps if progress.steps else 0.0
        self._clock.note(timed_as or progress.phase, share, progress.seconds_left)
        self._send(
            procedure=self._name,
            phase=progress.phase,
            step=progress.step,
            steps=progress.steps,
            loss=progress.loss,
            held_out_loss=progress.held_out_loss,
            best_held_out_loss=progress.best_held_out_loss,
            eta_s=self._clock.left,
            fraction=self._clock.fraction,
            sample=sample,
            note=progress.note or None,
        )

    def measuring(self, share: float) -> None:
        """Tell how much of the measuring is done, 0 to 1."""
        self.tell(Progress("evaluate", round(100 * share), 100))

    def note(self, text: str) -> None:
        """Tell something that a person should know."""
        self.tell(Progress("cache", 0, 100, note=text))
