"""A dialog for what plain chat is told before a conversation: of the open chat, and of every chat of the profile."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.widgets import Static, TextArea

from profiles.store.pair_rules import text_fault
from tui.kit.dialog import SaveDialog, buttons, fault_line, paragraph

NOTE = "Plain chat is told this before the conversation. Procedures never see it: they answer the message alone."


@dataclass(frozen=True, slots=True)
class SystemPrompts:
    """What was written; empty: nothing."""

    chat: str
    profile: str


class SystemPromptDialog(SaveDialog[SystemPrompts | None]):
    """Closes with both texts, or with None.

    Args:
        chat: the text of the open chat; empty where it has none of its own.
        profile: the text of the profile.
    """

    def __init__(self, chat: str, profile: str) -> None:
        super().__init__("System prompt")
        self._chat, self._profile = chat, profile

    def body(self) -> ComposeResult:
        yield paragraph(NOTE, classes="muted")
        yield Static("In this chat; empty takes the text below", classes="field-label")
        yield TextArea(self._chat, id="chat-prompt", highlight_cursor_line=False)
        yield Static("In every chat of this profile; empty is none", classes="field-label")
        yield TextArea(self._profile, id="profile-prompt", highlight_cursor_line=False)
        yield fault_line()
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Save"), primary="save")

    def action_save(self) -> None:
        """Hand the texts over, or say what is wrong with one."""
        chat, profile = (self.query_one(name, TextArea).text.strip() for name in ("#chat-prompt", "#profile-prompt"))
        fault = text_fault(chat) or text_fault(profile)
        if fault is None:
            self.dismiss(SystemPrompts(chat, profile))
            return
        self.say_fault(f"This text cannot be used: it {fault}.")
