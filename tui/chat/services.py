"""What the chat asks of the app beyond what every room does."""

from __future__ import annotations

from typing import Protocol

from tui.kit.services import AppServices


class ChatServices(AppServices, Protocol):
    """The app, as the chat sees it."""

    def examples(self) -> list[tuple[str, str, bool]]:
        """Of each enabled procedure: its name, an input to begin with or nothing, whether it has a memory."""
        ...

    def recallable(self) -> list[str]:
        """The procedures that can answer now."""
        ...
