"""Whole conversations: open, begin, search, rename, delete, save to a file, system prompts, and the model's titles."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from textual.widgets import Input

from profiles.files.atomic import write_text
from profiles.store.chat_export import export_text, format_of
from tokmem_desk.errors import TokmemError
from tokmem_desk.system.disk import typed_path
from tui.chat.host import ChatHost
from tui.chat.session import ChatSession
from tui.chat.system_prompt import SystemPromptDialog
from tui.kit.ask_line import LineDialog
from tui.kit.confirm import ConfirmDialog
from tui.kit.words import error_text

NARROW_COLUMNS = 100
"""In fewer cells of width the history covers the chat, and goes away once something was chosen."""

TITLE_AFTER_SECONDS = 2.0
"""How long nothing must have happened before the model is asked for a title."""


class ChatHistoryController:
    """The sidebar of earlier conversations, and what can be done with each of them.

    Args:
        host: the screen.
    """

    def __init__(self, host: ChatHost) -> None:
        self._host = host
        self._wanted_open = True
        """Whether the person wants the history beside the chat, where there is room for it."""
        self._laid_out_narrow: bool | None = None

    # The sidebar

    @property
    def is_narrow(self) -> bool:
        """Whether the history has no room beside the chat."""
        return self._host.columns < NARROW_COLUMNS

    def fit(self) -> None:
        """Show it beside the chat where there is room; else over the chat, and only while it has the focus."""
        narrow = self.is_narrow
        if narrow != self._laid_out_narrow:
            self._laid_out_narrow = narrow
            panel = self._host.history
            panel.display = panel.has_focus_within if narrow else self._wanted_open

    def toggle(self) -> None:
        """Show the history and go to its search, or hide it."""
        panel = self._host.history
        if panel.display and panel.has_focus_within:
            panel.display = False
            self._host.prompt.focus()
        else:
            panel.display = True
            panel.query_one(Input).focus()
        if not self.is_narrow:
            self._wanted_open = panel.display

    def hide_if_narrow(self) -> None:
        """Uncover the chat."""
        if self.is_narrow:
            self._host.history.display = False

    def draw(self) -> None:
        """Draw the list anew, with what the search finds."""
        panel = self._host.history
        search = panel.query_one(Input).value
        conversations = self._host.tokmem.store.chats.list(search=search or None)
        panel.show(conversations, self._host.session.conversation_id)

    # One conversation

    async def begin(self, *, temporary: bool = False) -> None:
        """Begin a conversation; a temporary one is not kept."""
        await self._host.change_conversation(lambda session: session.begin(temporary=temporary))

    async def open(self, conversation_id: int) -> None:
        """Open a conversation of the history."""
        await self._host.change_conversation(lambda session: session.open(conversation_id))
        self.hide_if_narrow()

    async def delete(self, conversation_id: int) -> None:
        """Delete after asking."""
        host = self._host
        question = ConfirmDialog("Delete this chat?", "Its messages are deleted for good.", "Delete", danger=True)
        if not await host.ask(question):
            return
        remark = host.tokmem.store.chats.delete(conversation_id)
        if remark:
            host.notify(remark, severity="warning", timeout=12)
        if conversation_id == host.session.conversation_id:
            await self.begin()
        self.draw()

    async def rename(self, conversation_id: int) -> None:
        """Give a conversation another title, the person's own or one that the model proposes."""
        app = self._host.tokmem
        record = app.store.chats.get(conversation_id)
        session = ChatSession(app.store, app.link, app.profile)
        session.open(conversation_id)
        answered = any(turn.answer.text for turn in session.turns)
        dialog = LineDialog(
            "Rename this chat",
            "The title stands in the history.",
            record.title,
            "Rename",
            propose=session.titles.of_model if answered else None,
        )
        title = await self._host.ask(dialog)
        if title is not None:
            self._host.tokmem.store.chats.rename(conversation_id, title)
            self.draw()

    async def set_system_prompt(self) -> None:
        """Let the person write what plain chat is told before this conversation, or before all of them."""
        host, session = self._host, self._host.session
        chats = host.tokmem.store.chats
        written = await host.ask(SystemPromptDialog(session.own_system_prompt, chats.system_prompt))
        if written is None:
            return
        if written.profile != chats.system_prompt:
            chats.set_system_prompt(written.profile)
        if written.chat != session.own_system_prompt:
            session.set_system_prompt(written.chat)
        host.show_line()
        known = "Plain chat is told this from the next message on."
        host.notify(known if session.system_prompt else "Plain chat is told nothing before a conversation.")

    async def save_stored(self, conversation_id: int) -> None:
        """Save a conversation of the history to a file."""
        app = self._host.tokmem
        session = ChatSession(app.store, app.link, app.profile)
        session.open(conversation_id)
        await self.save(session)

    async def save(self, session: ChatSession) -> None:
        """Write a conversation to a file that the person names."""
        host = self._host
        conversation, messages = session.records()
        dialog = LineDialog(
            "Save this chat to a file",
            "A name that ends in .md is written to read, .json with all details. Anyone who can read the file can "
            "read the chat.",
            str(Path.cwd() / f"{_file_stem(conversation.title)}.md"),
            "Save",
            _fault_of_file,
        )
        typed = await host.ask(dialog)
        if typed is None:
            return
        path = typed_path(typed)
        if path.exists():
            question = ConfirmDialog("Replace this file?", f"{path} is there already.", "Replace", danger=True)
            if not await host.ask(question):
                return
        write_text(path, export_text(conversation, messages, format_of(path.name)))
        host.notify(f"Saved to {path}", markup=False)

    async def propose_title(self) -> None:
        """Once nothing has happened for a while, let the model give the open conversation a title."""
        session = self._host.session
        await asyncio.sleep(TITLE_AFTER_SECONDS)
        app = self._host.tokmem
        if app.locked or session is not self._host.session or app.link.busy or app.link.training:
            return
        # The person did not ask for it: where it fails, the title stays as it is.
        with contextlib.suppress(TokmemError):
            if app.link.state.phase == "ready" and session.titles.wanted and await session.titles.propose():
                self.draw()


def _file_stem(title: str) -> str:
    """A title as the beginning of a file name."""
    words = "".join(letter if letter.isalnum() else " " for letter in title.lower()).split()
    return "-".join(words)[:40].strip("-") or "chat"


def _fault_of_file(typed: str) -> str | None:
    """Why a conversation cannot be saved under this name, or None."""
    try:
        path = typed_path(typed)
        format_of(path.name)
    except TokmemError as caught:
        return error_text(caught)
    if path.is_dir() or not path.parent.is_dir():
        return f"There is no folder {path.parent}." if not path.parent.is_dir() else f"{path} is a folder."
    return None
