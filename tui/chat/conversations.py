"""The part of the chat that deals with whole conversations: open, begin, search, rename, delete, save to a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual import work
from textual.widgets import Input

from profiles.files.atomic import write_text
from profiles.store.chat_export import as_markdown, export_text, format_of
from tokmem_desk.errors import TokmemError
from tokmem_desk.system.disk import typed_path
from tui.chat.history import ConversationList, HistoryPanel
from tui.chat.messages import ConversationChosen
from tui.chat.prompt import Prompt
from tui.chat.session import ChatSession
from tui.kit.ask_line import LineDialog
from tui.kit.base import AppScreen
from tui.kit.confirm import ConfirmDialog
from tui.kit.error_dialogs import shows_errors
from tui.kit.words import error_text

NARROW_COLUMNS = 100
"""Below this the history covers the chat, and goes away once something was chosen."""


class Conversations(AppScreen):
    """See the module. The chat itself gives ``session`` and ``change_conversation``."""

    _history_open = True
    """Whether the person wants the history beside the chat, where there is room for it."""
    _laid_out_narrow: bool | None = None

    @property
    def session(self) -> ChatSession:
        """The open conversation."""
        raise NotImplementedError

    async def change_conversation(self, change: Callable[[ChatSession], None]) -> None:
        """Show another conversation."""
        raise NotImplementedError

    @shows_errors
    async def action_new(self, temporary: bool = False) -> None:
        """Begin a conversation; a temporary one is kept nowhere."""
        await self.change_conversation(lambda session: session.begin(temporary=temporary))

    async def action_temporary(self) -> None:
        """Begin a conversation that is kept nowhere."""
        await self.action_new(True)

    @shows_errors
    async def on_conversation_chosen(self, event: ConversationChosen) -> None:
        """Open a conversation of the history."""
        await self.change_conversation(lambda session: session.open(event.conversation_id))
        if self.is_narrow:
            self.query_one(HistoryPanel).display = False

    @property
    def is_narrow(self) -> bool:
        """Whether the history has no room beside the chat."""
        return self.app.size.width < NARROW_COLUMNS

    def fit_history(self) -> None:
        """Beside the chat where there is room; where there is none, over it only while the person is in it."""
        narrow = self.is_narrow
        if narrow != self._laid_out_narrow:
            self._laid_out_narrow = narrow
            panel = self.query_one(HistoryPanel)
            panel.display = panel.has_focus_within if narrow else self._history_open

    def action_history(self) -> None:
        """Show the history and go to its search, or hide it."""
        panel = self.query_one(HistoryPanel)
        if panel.display and panel.has_focus_within:
            panel.display = False
            self.query_one(Prompt).focus()
        else:
            panel.display = True
            panel.query_one(Input).focus()
        if not self.is_narrow:
            self._history_open = panel.display

    def on_history_panel_search_changed(self, event: HistoryPanel.SearchChanged) -> None:
        """Search while typing."""
        self.show_history()

    @shows_errors
    def show_history(self) -> None:
        """Draw the history anew."""
        search = self.query_one("#history-search", Input).value
        found = self.tokmem.store.chats.list(search=search or None)
        self.query_one(HistoryPanel).show(found, self.session.conversation_id)

    @work(exit_on_error=False)
    async def on_conversation_list_delete_wanted(self, event: ConversationList.DeleteWanted) -> None:
        """Delete after asking."""
        question = ConfirmDialog("Delete this chat?", "Its messages are deleted for good.", "Delete", danger=True)
        if not await self.app.push_screen_wait(question):
            return
        left = self.tokmem.store.chats.delete(event.conversation_id)
        if left:
            self.notify(left, severity="warning", timeout=12)
        if event.conversation_id == self.session.conversation_id:
            await self.change_conversation(lambda session: session.begin())
        self.show_history()

    @work(exit_on_error=False)
    async def on_conversation_list_rename_wanted(self, event: ConversationList.RenameWanted) -> None:
        """Give a conversation another title."""
        record = self.tokmem.store.chats.get(event.conversation_id)
        dialog = LineDialog("Rename this chat", "The title stands in the history.", record.title, "Rename")
        title = await self.app.push_screen_wait(dialog)
        if title is not None:
            self.tokmem.store.chats.rename(event.conversation_id, title)
            self.show_history()

    def on_conversation_list_export_wanted(self, event: ConversationList.ExportWanted) -> None:
        """Save a conversation of the history."""
        stored = ChatSession(self.tokmem.store, self.tokmem.link, self.tokmem.profile)
        stored.open(event.conversation_id)
        self._save(stored)

    def action_save(self) -> None:
        """Save the open conversation."""
        if self.session.turns:
            self._save(self.session)
        else:
            self.notify("There is nothing to save yet.")

    @work(exit_on_error=False)
    async def _save(self, session: ChatSession) -> None:
        """Write a conversation to a file that the person names."""
        conversation, messages = session.records()
        dialog = LineDialog(
            "Save this chat to a file",
            "A name that ends in .md is written to read, .json with all details. Anyone who can read the file can "
            "read the chat.",
            str(Path.cwd() / f"{file_stem(conversation.title)}.md"),
            "Save",
            _fault_of_file,
        )
        typed = await self.app.push_screen_wait(dialog)
        if typed is None:
            return
        path = typed_path(typed)
        if path.exists():
            question = ConfirmDialog("Replace this file?", f"{path} is there already.", "Replace", danger=True)
            if not await self.app.push_screen_wait(question):
                return
        write_text(path, export_text(conversation, messages, format_of(path.name)))
        self.notify(f"Saved to {path}", markup=False)

    def copy_all(self) -> None:
        """Copy the open conversation as Markdown."""
        self.app.copy_to_clipboard(as_markdown(*self.session.records()))
        self.notify("Copied the chat as Markdown.")


def file_stem(title: str) -> str:
    """A title as the beginning of a file name."""
    words = "".join(letter if letter.isalnum() else " " for letter in title.lower()).split()
    return "-".join(words)[:40].strip("-") or "chat"


def _fault_of_file(typed: str) -> str | None:
    try:
        path = typed_path(typed)
        format_of(path.name)
    except TokmemError as caught:
        return error_text(caught)
    if path.is_dir() or not path.parent.is_dir():
        return f"There is no folder {path.parent}." if not path.parent.is_dir() else f"{path} is a folder."
    return None
