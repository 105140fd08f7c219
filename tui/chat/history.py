"""The sidebar of the chat: earlier conversations, with a search over what was said in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from profiles.store.chats import ConversationRecord
from tui.chat.messages import ConversationChosen
from tui.chat.titles import short_titles
from tui.kit.keys import keyed
from tui.kit.search_field import SearchField

TITLE_CELLS = 23


@keyed("history")
class ConversationList(OptionList):
    """The conversations, newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Open"),
        Binding("e", "rename", "Rename"),
        Binding("x", "export", "Save to a file"),
        Binding("d,delete", "delete", "Delete", key_display="d"),
        Binding("k", "cursor_up", show=False),
        Binding("j", "cursor_down", show=False),
    ]

    @dataclass
    class DeleteWanted(Message):
        """The conversation under the cursor should go."""

        conversation_id: int

    @dataclass
    class RenameWanted(Message):
        """The conversation under the cursor should be called something else."""

        conversation_id: int

    @dataclass
    class ExportWanted(Message):
        """The conversation under the cursor should be saved to a file."""

        conversation_id: int

    def action_delete(self) -> None:
        """Ask the screen to delete the highlighted conversation."""
        if self._chosen is not None:
            self.post_message(self.DeleteWanted(self._chosen))

    def action_rename(self) -> None:
        """Ask the screen to rename the highlighted conversation."""
        if self._chosen is not None:
            self.post_message(self.RenameWanted(self._chosen))

    def action_export(self) -> None:
        """Ask the screen to save the highlighted conversation."""
        if self._chosen is not None:
            self.post_message(self.ExportWanted(self._chosen))

    @property
    def _chosen(self) -> int | None:
        if self.highlighted is None:
            return None
        key = self.get_option_at_index(self.highlighted).id
        return None if key is None else int(key)


class HistoryPanel(Vertical):
    """Search and list."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "screen.stop", "Back to the prompt")]

    DEFAULT_CSS = """
    HistoryPanel {
        width: 28; height: 1fr; background: $surface; border-right: vkey $panel;
        Input { border: none; height: 1; padding: 0 1; margin: 1 0 0 0; background: $panel; }
        Input:focus { border: none; background: $boost; }
        ConversationList { height: 1fr; border: none; background: transparent; padding: 0; margin: 1 0 0 0;
            scrollbar-size-vertical: 1; }
        #no-history { height: auto; padding: 1; color: $muted; display: none; }
    }
    """

    class SearchChanged(Message):
        """The search text changed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def compose(self) -> ComposeResult:
        yield SearchField(placeholder="Search chats", id="history-search", select_on_focus=True)
        yield ConversationList(id="conversations", markup=False)
        yield Static("Your chats will be listed here.", id="no-history", markup=False)

    def show(self, conversations: Sequence[ConversationRecord], current: int | None) -> None:
        """Draw the list; ``current`` is the open conversation."""
        listing = self.query_one(ConversationList)
        highlighted = listing.highlighted
        listing.clear_options()
        titles = short_titles([(record.title or "untitled", record.updated) for record in conversations], TITLE_CELLS)
        for record, shown in zip(conversations, titles, strict=True):
            sign = "▸ " if record.id == current else "  "
            title = Content.assemble(sign, Content.styled(shown, "bold" if sign == "▸ " else ""))
            if record.snippet:
                title = Content.assemble(title, Content.styled(f"\n  {' '.join(record.snippet.split())}", "$muted"))
            listing.add_option(Option(title, id=str(record.id)))
        if highlighted is not None and conversations:
            listing.highlighted = min(highlighted, len(conversations) - 1)
        searching = bool(self.query_one(Input).value)
        empty = self.query_one("#no-history", Static)
        empty.update("Nothing found." if searching else "Your chats will be listed here.")
        empty.display, listing.display = not conversations, bool(conversations)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search as the person types."""
        event.stop()
        self.post_message(self.SearchChanged(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the results."""
        event.stop()
        listing = self.query_one(ConversationList)
        if listing.highlighted is None and listing.option_count:
            listing.highlighted = 0
        listing.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open a conversation."""
        event.stop()
        if event.option_id is not None:
            self.post_message(ConversationChosen(int(event.option_id)))
