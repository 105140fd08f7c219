"""What comes into the prompt besides typing: a message to edit, one that was withdrawn, a route from a list."""

from __future__ import annotations

from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.chat.answer_queue import AnswerQueue
from tui.chat.choose_route import RouteDialog
from tui.chat.host import ChatHost
from tui.chat.turns import Turn


class PromptEditing:
    """Knows which message the text in the prompt will replace.

    Args:
        host: the screen.
        answers: where messages wait.
    """

    def __init__(self, host: ChatHost, answers: AnswerQueue) -> None:
        self._host = host
        self._answers = answers
        self._edited: Turn | None = None

    @property
    def active(self) -> bool:
        """Whether the text in the prompt will replace a message."""
        return self._edited is not None

    async def edit(self, turn: Turn) -> None:
        """Let the person change a question; sending it replaces it and what follows.

        One that still waits is taken back into the prompt, in front of what stands there; those behind it stay.
        """
        prompt = self._host.prompt
        typed = turn.question if turn.route == AUTO_ROUTE else f"@{turn.route} {turn.question}"
        if self._answers.is_waiting(turn):
            await self.withdraw(turn)
            prompt.take(f"{typed}\n{prompt.text}" if prompt.text.strip() else typed)
            return
        self._edited = turn
        prompt.take(typed)
        prompt.focus()
        self._host.show_line()

    async def withdraw(self, turn: Turn) -> None:
        """Take back a message that waits for its answer. Nothing happens if its answer has just begun."""
        if not self._answers.is_waiting(turn):
            return
        self._answers.drop([turn])
        self._host.session.withdraw(turn)
        await self._host.pane.transcript.forget([turn])
        self._host.show_empty()
        self._host.prompt.focus()
        self._host.show_line()

    def leave(self) -> None:
        """Leave the message as it is, and empty the prompt."""
        if self._edited is not None:
            self._edited = None
            self._host.prompt.take("")

    def end(self) -> None:
        """Another conversation is shown: what is in the prompt replaces nothing there."""
        self._edited = None

    async def remove_replaced(self) -> None:
        """Take the question that is being replaced, and all that follows, out of the conversation."""
        turn, self._edited = self._edited, None
        session = self._host.session
        if turn is None or turn not in session.turns:
            return
        following = session.turns[session.turns.index(turn) :]
        self._answers.drop(following)
        active = self._answers.active
        if active is not None and active.turn in following:
            await session.stop()
        session.forget_from(turn)
        await self._host.pane.transcript.forget(following)

    async def choose_route(self) -> None:
        """Pick the route of the next message from a list."""
        prompt = self._host.prompt
        names = [name for name in prompt.names if name != NONE_ROUTE]
        dialog = RouteDialog(
            "", names, None, title="Where should the next message go?", note="Typing @name does the same."
        )
        chosen = await self._host.ask(dialog)
        if chosen is not None:
            prompt.take(f"@{chosen} {prompt.text}")
