"""What the Models screen asks of the app beyond what every room does."""

from __future__ import annotations

from typing import Protocol

from textual.signal import Signal

from tui.kit.services import AppServices
from tui.models.pull import ModelPull


class Downloads(Protocol):
    """Fetches models beside everything else, one at a time."""

    @property
    def current(self) -> ModelPull | None:
        """The newest download, also when it is over."""
        ...

    @property
    def changed(self) -> Signal[ModelPull]:
        """A download went on, paused or ended."""
        ...

    def fetch(self, model: str, title: str, download_bytes: int | None) -> None:
        """Fetch a model, or go on with the download that was paused.

        Args:
            model: as the settings would name it.
            title: for people.
            download_bytes: how much is to come, where that is known.
        """
        ...

    def forget(self) -> None:
        """Drop the newest download, whose files were removed."""
        ...


class EngineRestart(Protocol):
    """Replaces the engine."""

    async def restart(self) -> None:
        """Go on with an engine for the settings in force."""
        ...


class ModelServices(AppServices, Protocol):
    """See the module."""

    @property
    def downloads(self) -> Downloads:
        """Fetches models."""
        ...

    @property
    def engine(self) -> EngineRestart:
        """Replaces the engine."""
        ...
