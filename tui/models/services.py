"""What the Models screen asks of the app beyond what every room does."""

from __future__ import annotations

from typing import Protocol

from textual.signal import Signal

from tui.kit.services import AppServices
from tui.models.pull import ModelPull


class ModelServices(AppServices, Protocol):
    """The app, as the Models screen sees it."""

    pull: ModelPull | None
    """The newest download of a model."""

    @property
    def pull_changed(self) -> Signal[ModelPull]:
        """A download went on, paused or ended."""
        ...

    def pull_model(self, model: str, title: str, download_bytes: int | None) -> None:
        """Fetch a model beside everything else, or go on with the one that was paused."""
        ...

    async def restart_engine(self) -> None:
        """Go on with an engine for the settings in force."""
        ...
