"""One line that says what waits to be trained, and the key that trains it. Hidden while nothing waits."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content
from textual.widgets import Static


class LearnBar(Static):
    """The line. A click does the same as the key."""

    DEFAULT_CSS = """
    LearnBar {
        height: 1; padding: 0 3; color: $text-warning; display: none; pointer: pointer;
        text-overflow: ellipsis; text-wrap: nowrap;
    }
    """

    def show(self, waiting: Mapping[str, int]) -> None:
        """Draw.

        Args:
            waiting: corrections by procedure, without those that a training is about to learn.
        """
        self.display = bool(waiting)
        if not self.display:
            return
        count = sum(waiting.values())
        what = "1 correction waits" if count == 1 else f"{count} corrections wait"
        names = ", ".join(waiting)
        self.update(Content.assemble(f"◇ {what}: ", Content.styled("F7", "bold $accent"), f" retrains {names}"))

    async def on_click(self) -> None:
        """Train."""
        await self.run_action("screen.learn")
