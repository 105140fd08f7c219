"""What the Train screen asks of the app beyond what every room does."""

from __future__ import annotations

from typing import Protocol

from tui.kit.services import AppServices
from tui.training.queue import TrainQueue


class TrainingServices(AppServices, Protocol):
    """The app, as the Train screen sees it."""

    @property
    def trainings(self) -> TrainQueue:
        """The open profile's queue of trainings."""
        ...

    @property
    def preset(self) -> str:
        """The preset of the settings: how long a training takes."""
        ...

    def work_off(self, *, asked: bool = True) -> object:
        """Train what is queued, unless that is being done.

        Args:
            asked: the person has just asked for it; show an error even if it was shown before.
        """
        ...
