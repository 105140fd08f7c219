"""What the parts of the chat ask of the screen they belong to.

The screen draws, and holds the open conversation. Each part does one job and keeps its own state: ``answer_queue`` has
messages answered in turn, ``history_controller`` handles whole conversations, ``turn_corrections`` keeps what the
person teaches, ``command_runs`` runs the commands of calls, ``prompt_editing`` brings messages back into the prompt,
``attachments`` holds the files that go with the next message, ``prompt_length`` says how long a long text is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tui.chat.attachment_line import AttachmentLine
from tui.chat.history import HistoryPanel
from tui.chat.prompt import Prompt
from tui.chat.services import ChatServices
from tui.chat.session import ChatSession
from tui.chat.transcript import TranscriptPane
from tui.chat.turns import Turn
from tui.kit.host import ScreenHost
from tui.shared.plan_commands import Decision


class ChatHost(ScreenHost, Protocol):
    """The screen, as its parts see it."""

    @property
    def tokmem(self) -> ChatServices:
        """The app, as far as this room uses it."""
        ...

    @property
    def session(self) -> ChatSession:
        """The open conversation."""
        ...

    @property
    def pane(self) -> TranscriptPane:
        """The transcript."""
        ...

    @property
    def history(self) -> HistoryPanel:
        """The sidebar with earlier conversations."""
        ...

    @property
    def prompt(self) -> Prompt:
        """Where messages are written."""
        ...

    @property
    def attachment_line(self) -> AttachmentLine:
        """The line that names attached files."""
        ...

    @property
    def columns(self) -> int:
        """The width of the app, in cells."""
        ...

    async def change_conversation(self, change: Callable[[ChatSession], None]) -> None:
        """Stop what goes on here and show another conversation, or an empty one.

        Args:
            change: opens or begins it in a fresh session; if it raises, everything stays as it is.
        """
        ...

    def enqueue(
        self,
        turn: Turn,
        *,
        route: str | None = None,
        again: bool = False,
        going_on: tuple[int, Decision | None] | None = None,
    ) -> None:
        """Have a turn answered after those that wait already.

        Args:
            turn: of the open conversation.
            route: the route to take instead of the turn's own.
            again: draw an answer instead of taking the most probable words.
            going_on: a run of its plans, and what the person says to what it waits for; the turn goes on with it.
        """
        ...

    async def redraw(self, turn: Turn) -> None:
        """Draw a turn that was changed."""
        ...

    def show_line(self) -> None:
        """Draw the line below the prompt."""
        ...

    def show_empty(self) -> None:
        """Show what can be typed, if nothing was said yet."""
        ...

    def turn_answered(self, session: ChatSession, turn: Turn) -> None:
        """An answer has come to its end without an error."""
        ...

    def came_to_rest(self) -> None:
        """No message waits any more."""
        ...
