"""The prompt of the chat, which grows with its text. Enter sends, ``@`` completes the names of procedures.

It knows the names that it was given, and nothing of the conversation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from tui.chat.messages import FilesPasted, PromptSubmitted
from tui.chat.text_files import pasted_paths
from tui.kit.keys import keyed

_OPEN_NAME = re.compile(r"@([a-z0-9_-]*)")


@keyed("prompt")
class Prompt(TextArea):
    """Where messages are written. An empty one is not sent, unless files go with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send"),
        Binding("shift+enter,ctrl+j", "newline", "New line", key_display="^j"),
        Binding("ctrl+n,alt+n", "screen.new", "New", key_display="^n"),
        Binding("ctrl+r", "screen.history", "History"),
        Binding("tab", "complete", "Complete", show=False),
        Binding("up", "line_up", "Messages", show=False),
        Binding("pageup", "screen.page(-1)", "Scroll up", show=False),
        Binding("pagedown", "screen.page(1)", "Scroll down", show=False),
    ]

    DEFAULT_CSS = """
    Prompt {
        height: auto; min-height: 3; max-height: 10; padding: 0 1;
        border: round $primary 50%; background: $surface;
        &:focus { border: round $primary; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, placeholder="Write a message", highlight_cursor_line=False, show_line_numbers=False)
        self.names: Sequence[str] = ()
        """What may stand behind an ``@``."""
        self.may_be_empty = False
        """Whether Enter sends without a typed text, since a file goes with the message."""

    @property
    def name_matches(self) -> list[str]:
        """The names that fit what stands behind an ``@`` at the start; empty without one."""
        found = _OPEN_NAME.fullmatch(self.text)
        return [name for name in self.names if name.startswith(found.group(1))] if found else []

    def update_suggestion(self) -> None:
        """Show the rest of the first matching name behind the cursor."""
        matches = self.name_matches
        self.suggestion = matches[0][len(self.text) - 1 :] + " " if matches and self.cursor_at_end_of_text else ""

    def action_send(self) -> None:
        """Send the text and empty the prompt at once: what is typed next belongs to the next message."""
        text = self.text
        if text.strip() or self.may_be_empty:
            self.load_text("")
            self.post_message(PromptSubmitted(text))

    def give_back(self, text: str) -> None:
        """Put a text that was not taken in front of what was typed since."""
        self.take(text + self.text)

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_complete(self) -> None:
        """Complete a name after ``@``, otherwise go to the next widget."""
        if self.suggestion:
            self.insert(self.suggestion)
        else:
            self.screen.focus_next()

    def action_line_up(self) -> None:
        """Move up; above the first line are the messages."""
        if self.cursor_location[0] == 0 and not self.text:
            self.screen.focus_previous()
        else:
            self.action_cursor_up()

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """Enter belongs to the bindings above."""
        return key != "enter" and super().check_consume_key(key, character)

    async def _on_key(self, event: events.Key) -> None:
        # Done here and not by the bindings above, which only name the keys: a binding runs at the app, and may do so
        # before or after keys that were typed around it have reached the text. Fast typing and pasting would suffer.
        match event.key:
            case "enter":
                self.action_send()
            case "shift+enter" | "ctrl+j":
                self.action_newline()
            case "tab" if self.suggestion:
                self.action_complete()
            case "tab":
                return
            case _:
                await super()._on_key(event)
                return
        event.stop()
        event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        """Attach files whose paths are pasted or dropped; insert anything else."""
        paths = pasted_paths(event.text)
        if not paths:
            return  # Textual calls the handler of TextArea next
        event.stop()
        event.prevent_default()
        self.post_message(FilesPasted(paths, event.text))

    def take(self, text: str) -> None:
        """Put ``text`` in the prompt, the cursor behind it."""
        self.load_text(text)
        self.move_cursor(self.document.end)
        self.update_suggestion()
