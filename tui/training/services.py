"""What the Train screen asks of the app beyond what every room does."""

from __future__ import annotations

from typing import Protocol

from tui.kit.services import AppServices
from tui.training.queue import TrainQueue


class TrainingWork(Protocol):
    """Works the queue off."""

    @property
    def preset(self) -> str:
        """How long a training takes unless chosen otherwise."""
        ...

    def work_off(self, *, asked: bool = True) -> object:
        """Train what is queued, unless that is being done.

        Args:
            asked: the person has just asked for it, and is told of an error that was shown before.
        """
        ...


class TrainingServices(AppServices, Protocol):
    """The app, as the Train screen sees it."""

    @property
    def trainings(self) -> TrainQueue:
        """The open profile's queue of trainings."""
        ...

    @property
    def training(self) -> TrainingWork:
        """Works the queue off."""
        ...
