"""What the screens of the shell itself ask of the app beyond what every room does."""

from __future__ import annotations

from typing import Protocol

from tui.models.services import ModelServices
from tui.training.services import TrainingServices


class WelcomeEnd(Protocol):
    """Ends the first steps."""

    def end_welcome(self, example: str = "") -> None:
        """Go to the chat, and never begin with the first steps again.

        Args:
            example: what to put into the prompt.
        """
        ...


class ShellServices(TrainingServices, ModelServices, Protocol):
    """See the module."""

    def apply_settings(self) -> None:
        """Apply the settings: colours, keys and the engine."""
        ...

    @property
    def first_screen(self) -> WelcomeEnd:
        """Ends the first steps."""
        ...
