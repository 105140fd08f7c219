"""What a conversation may be called: the model is asked, and the person's own title stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from profiles.store.store import ProfileStore
from tui.chat.titles import proposed_title, rule_title
from tui.chat.turns import Turn
from tui.engine_client.client import RequestHandle
from tui.engine_client.link import EngineLink


class Titled(Protocol):
    """A conversation, as far as its title needs it."""

    @property
    def conversation_id(self) -> int | None:
        """Its number, where it is stored."""
        ...

    @property
    def turns(self) -> Sequence[Turn]:
        """What was said."""
        ...


class SessionTitles:
    """Proposes titles.

    Args:
        session: the conversation.
        store: of the profile.
        link: the way to the engine.
    """

    def __init__(self, session: Titled, store: ProfileStore, link: EngineLink) -> None:
        self._session, self._store, self._link = session, store, link
        self._asked_for_title: int | None = None

    @property
    def wanted(self) -> bool:
        """Whether the conversation is stored, has an answer, and still has the title made from its first message."""
        if (
            self._session.conversation_id is None
            or not self._session.turns
            or self._asked_for_title == self._session.conversation_id
        ):
            return False
        first = self._session.turns[0]
        if not first.answer.text or first.answer.status != "complete":
            return False
        return self._store.chats.get(self._session.conversation_id).title == rule_title(first.question)

    async def propose(self) -> bool:
        """Let the model name the conversation. It is asked once, and any other request goes first.

        Returns:
            True where it has another title now.

        Raises:
            TokmemError: the engine failed, or the conversation was deleted.
        """
        conversation_id, first = self._session.conversation_id, self._session.turns[0]
        assert conversation_id is not None
        handle = self._link.submit_idle("title", question=first.question, answer=first.answer.text)
        title = await self._title_of(handle, first)
        # Where another request came first there is another time; a model that has no title to give is not asked again.
        if handle.cancelled:
            return False
        self._asked_for_title = conversation_id
        renamed = self._store.chats.get(conversation_id).title != rule_title(first.question)
        taken = {one.title.casefold() for one in self._store.chats.list()}
        if not title or renamed or title.casefold() in taken:
            return False
        self._store.chats.rename(conversation_id, title)
        return True

    async def of_model(self) -> str:
        """What the model would call this conversation, by its first answered message; empty where it has no title.

        Raises:
            TokmemError: the engine failed.
        """
        first = next(turn for turn in self._session.turns if turn.answer.text)
        handle = self._link.submit("title", question=first.question, answer=first.answer.text)
        return await self._title_of(handle, first)

    async def _title_of(self, handle: RequestHandle, turn: Turn) -> str:
        """The title that a request brings, as far as it is one."""
        proposal = ""
        async for event in self._link.events(handle):
            if event["event"] == "done":
                proposal = str(event["result"]["title"])
        return proposed_title(proposal, turn.question, turn.answer.text)
