"""How long the text in the prompt is for the model: said before a long one is sent."""

from __future__ import annotations

import asyncio
import contextlib

from tokmem_desk.errors import TokmemError
from tui.chat.host import ChatHost

LONG_CHARACTERS = 1500
"""From so many characters on the length of a text is shown: a page, which takes a while to read."""

PAUSE_SECONDS = 0.4
"""Time without a key before the tokens of a text are counted."""


class PromptLength:
    """Counts the words of a long text at once, and has its tokens counted when the person pauses.

    Args:
        host: the screen.
    """

    def __init__(self, host: ChatHost) -> None:
        self._host = host
        self._text = ""
        self._counted = ""
        """The text that ``_tokens`` is about."""
        self._tokens = 0
        self._context_length = 0

    def take(self, text: str) -> None:
        """The prompt holds this text now."""
        if text == self._text:
            return
        self._text = text
        if len(text) >= LONG_CHARACTERS:
            self._host.in_background(self._count, group="prompt-length", exclusive=True)

    @property
    def words(self) -> str:
        """``3,487 words, 4,600 of 8,192 tokens``; empty for a short text."""
        if len(self._text) < LONG_CHARACTERS:
            return ""
        words = f"{len(self._text.split()):,} words"
        if self._text != self._counted:
            return words
        if self._tokens >= self._context_length:
            return f"{words}, too long: {self._tokens:,} tokens, and this model reads {self._context_length:,}"
        return f"{words}, {self._tokens:,} of {self._context_length:,} tokens"

    async def _count(self) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        text, link = self._text, self._host.tokmem.link
        # Nothing is loaded for this; and sending says what is wrong with the model.
        if text == self._counted or link.state.phase != "ready":
            return
        with contextlib.suppress(TokmemError):
            async for event in link.events(link.submit("tokens", texts=[text])):
                if event["event"] == "done":
                    [self._tokens] = event["result"]["counts"]
                    self._context_length = event["result"]["length"]
                    self._counted = text
        self._host.show_line()
