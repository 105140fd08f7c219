"""What the Train screen asks of the app beyond what every room does."""

from __future__ import annotations

from typing import Protocol

from tui.kit.services import AppServices
from tui.training.queue import TrainQueue


class TrainingServices(AppServices, Protocol):
    """See the module."""

    @property
    def trainings(self) -> TrainQueue:
        """The open profile's queue of trainings."""
        ...

    @property
    def preset(self) -> str:
        """How long training takes its time unless chosen otherwise."""
        ...

    def work_off(self, *, asked: bool = True) -> object:
        """Train what is queued, unless that is being done.

        Args:
            asked: the person has just wished for it, and is told of what goes wrong though it went wrong before.
        """
        ...
