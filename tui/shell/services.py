"""What the screens of the shell itself ask of the app beyond what every room does."""

from __future__ import annotations

from typing import Protocol

from tui.models.services import ModelServices
from tui.training.services import TrainingServices


class ShellServices(TrainingServices, ModelServices, Protocol):
    """See the module."""

    def apply_settings(self) -> None:
        """Put ``settings`` in force."""
        ...

    def end_welcome(self, example: str = "") -> None:
        """Go to the chat, and not through the first steps again.

        Args:
            example: what to put into the prompt.
        """
        ...
