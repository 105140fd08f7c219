"""One conversation: what was said, what is kept of it, and the way of a question through the engine.

Turns are kept here and in the store; those of a temporary conversation are kept here only. Draws nothing.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator
from typing import Any

from profiles.store.chats import ConversationRecord
from profiles.store.feedback import CHAT_SOURCE
from profiles.store.messages import MessageRecord, Rating
from profiles.store.store import ProfileStore
from tokmem_desk.errors import NotFoundError
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE, ExamplePair
from tui.chat.titles import proposed_title, rule_title
from tui.chat.turns import Answer, Turn, is_shown, kept_parts, kept_segments, records_of, take_event, turns_of
from tui.engine_client.client import RequestHandle
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Context, Message


class ChatSession:
    """The open conversation of a profile."""

    def __init__(self, store: ProfileStore, link: EngineLink, profile: str) -> None:
        self.conversation_id: int | None = None
        self.temporary = False
        self.turns: list[Turn] = []
        self._store = store
        self._link = link
        self._profile = profile
        self._handle: RequestHandle | None = None
        self._asked_for_title: int | None = None

    def begin(self, *, temporary: bool = False) -> None:
        """Start an empty conversation; a temporary one is never written to disk."""
        self.conversation_id, self.temporary, self.turns = None, temporary, []

    def open(self, conversation_id: int) -> None:
        """Take up a stored conversation.

        Raises:
            NotFoundError: it was deleted.
        """
        records = self._store.messages.list(conversation_id)
        feedback = self._store.feedback.of_conversation(conversation_id)
        self.conversation_id, self.temporary = conversation_id, False
        self.turns = turns_of(records, feedback)

    def ask(self, question: str, route: str) -> Turn:
        """Add a question to the conversation and return its turn, not answered yet."""
        turn = Turn(question, route)
        if not self.temporary:
            if self.conversation_id is None:
                self.conversation_id = self._store.chats.create(rule_title(question))
            details = None if route == AUTO_ROUTE else {"route": route}
            turn.question_id = self._store.messages.add(self.conversation_id, "user", question, details=details)
        self.turns.append(turn)
        return turn

    def forget_from(self, turn: Turn) -> None:
        """Take a turn and everything after it out of the conversation."""
        del self.turns[self.turns.index(turn) :]
        if turn.question_id is not None:
            self._store.messages.delete_from(turn.question_id)

    def withdraw(self, turn: Turn) -> None:
        """Take one turn that has no answer out of the conversation; those behind it stay."""
        self.turns.remove(turn)
        if turn.question_id is not None:
            self._store.messages.delete(turn.question_id)

    async def answer(
        self,
        turn: Turn,
        *,
        route: str | None = None,
        again: bool = False,
        seed: int | None = None,
        max_tokens: int | None = None,
        own_sampling: bool = False,
    ) -> AsyncGenerator[Message, None]:
        """Have a turn answered and keep the answer, also a partial or a failed one.

        Args:
            turn: part of this conversation; an earlier answer is replaced.
            route: the route to take instead of the turn's own.
            again: draw an answer instead of taking the most probable words.
            seed: makes a drawn answer repeatable.
            max_tokens: longest answer; None leaves it to the settings.
            own_sampling: draw plain chat as the model's own configuration says, where it says something.

        Yields:
            ``route``, ``token`` and ``done`` events; ``turn.answer`` is up to date at each.

        Raises:
            TokmemError: the engine failed; what had come is kept as a failed answer.
        """
        turn.lost = False
        answer = turn.answer = Answer(
            message_id=turn.answer.message_id,
            correction_id=turn.answer.correction_id,
            corrected_from=turn.answer.corrected_from,
            pair_id=turn.answer.pair_id,
            pair_procedure=turn.answer.pair_procedure,
            status="failed",
        )
        if answer.message_id is not None:
            self._store.feedback.rate(answer.message_id, None)  # the thumb was for what is replaced now
        handle = self._handle = self._link.submit(
            "ask",
            profile=self._profile,
            text=turn.question,
            route=route or turn.route,
            conversation=self._context(turn),
            sample=again,
            own_sampling=own_sampling,
            seed=seed if seed is not None else random.randrange(2**31) if again else None,
            max_tokens=max_tokens,
        )
        try:
            async for event in self._link.events(handle):
                take_event(answer, event)
                yield event
        finally:
            self._handle = None
            self._keep(turn)

    @property
    def wants_title(self) -> bool:
        """Whether the conversation is stored, has an answer, and still has the title made from its first message."""
        if self.conversation_id is None or not self.turns or self._asked_for_title == self.conversation_id:
            return False
        first = self.turns[0]
        if not first.answer.text or first.answer.status != "complete":
            return False
        return self._store.chats.get(self.conversation_id).title == rule_title(first.question)

    async def propose_title(self) -> bool:
        """Let the model name the conversation. It is asked once, and any other request goes first.

        Returns:
            True where it has another title now.

        Raises:
            TokmemError: the engine failed, or the conversation was deleted.
        """
        conversation_id, first = self.conversation_id, self.turns[0]
        assert conversation_id is not None
        handle = self._link.submit_idle("title", question=first.question, answer=first.answer.text)
        proposal = ""
        async for event in self._link.events(handle):
            if event["event"] == "done":
                proposal = str(event["result"]["title"])
        # Where another request came first there is another time; a model that has no title to give is not asked again.
        if handle.cancelled:
            return False
        self._asked_for_title = conversation_id
        title = proposed_title(proposal, first.question, first.answer.text)
        renamed = self._store.chats.get(conversation_id).title != rule_title(first.question)
        taken = {one.title.casefold() for one in self._store.chats.list()}
        if not title or renamed or title.casefold() in taken:
            return False
        self._store.chats.rename(conversation_id, title)
        return True

    async def stop(self) -> bool:
        """Stop the answer that is on its way; False when there is none."""
        if self._handle is None:
            return False
        await self._handle.cancel()
        return True

    # What the person teaches

    def correct(self, turn: Turn, right_route: str) -> None:
        """Store the verdict that this turn's route was wrong. Of a temporary conversation nothing is stored.

        Raises:
            UsageError: ``right_route`` is the route it got.
            NotFoundError: a procedure was removed meanwhile.
        """
        wrong = turn.answer.route or NONE_ROUTE
        if not self.temporary:
            turn.answer.correction_id = self._store.corrections.add(
                turn.question, wrong, right_route, turn.answer.message_id
            )
        turn.answer.corrected_from = wrong

    def keep_pair(self, turn: Turn, procedure: str, pair: ExamplePair) -> bool:
        """Make an example pair of a turn; what the person changed in the answer stands in the conversation too.

        Returns:
            False when the procedure has this very pair already; nothing was added then.

        Raises:
            NotFoundError: the procedure was removed meanwhile.
            BadInputError: a text is empty or unusable.
        """
        known = any(
            (one.input, one.response) == (pair.input, pair.response) for one in self._store.pairs.list(procedure)
        )
        answer = turn.answer
        if not known:
            record = self._store.pairs.add(procedure, [pair], source=CHAT_SOURCE, message_id=answer.message_id)[0]
            answer.pair_id, answer.pair_procedure = record.id, procedure
        if pair.response != answer.text:
            answer.original = answer.text if answer.original is None else answer.original
            answer.text = pair.response
            self._keep(turn)
        return not known

    def keep_run(self, turn: Turn) -> None:
        """Store the outcome of running a call, which was put into the turn's segments."""
        self._keep(turn)

    def rate(self, turn: Turn, rating: Rating | None) -> None:
        """Store a thumb. An answer with a thumb down is not shown to the model any more."""
        turn.answer.rating = rating
        if turn.answer.message_id is not None:
            self._store.feedback.rate(turn.answer.message_id, rating)

    def take_back(self, turn: Turn) -> str | None:
        """Undo the last lesson of a turn: a pair before a thumb, a thumb before a verdict. Return what it was.

        Returns:
            None when there is nothing; ``"verdict"`` means that the route is open again.
        """
        answer = turn.answer
        if answer.pair_id is not None:
            with contextlib.suppress(NotFoundError):  # deleted on the procedure's own screen
                self._store.pairs.delete(answer.pair_id)
            name, answer.pair_id, answer.pair_procedure = answer.pair_procedure, None, None
            if answer.original is not None:
                answer.text, answer.original = answer.original, None
                self._keep(turn)
            self.rate(turn, None)
            return f"pair of {name}"
        if answer.rating is not None:
            self.rate(turn, None)
            return "thumb"
        if answer.corrected_from is not None:
            if answer.correction_id is not None:
                self._store.corrections.remove(answer.correction_id)
            answer.correction_id = answer.corrected_from = None
            return "verdict"
        return None

    def records(self) -> tuple[ConversationRecord, list[MessageRecord]]:
        """The conversation as the store has it, or would have it if it were kept."""
        if self.conversation_id is not None:
            return self._store.chats.get(self.conversation_id), self._store.messages.list(self.conversation_id)
        title = rule_title(self.turns[0].question) if self.turns else ""
        messages = [record for turn in self.turns for record in records_of(turn)]
        return ConversationRecord(0, title, "", "", len(messages), ""), messages

    # What the model sees

    @property
    def context(self) -> Context | None:
        """How full the context was with the newest answer of plain chat; None before there is one."""
        for turn in reversed(self.turns):
            if turn.answer.context is not None and turn.answer.route == NONE_ROUTE:
                return turn.answer.context
        return None

    @property
    def first_seen(self) -> Turn | None:
        """The oldest turn that still fits the context; None while all do."""
        newest = next((t for t in reversed(self.turns) if t.answer.context and t.answer.route == NONE_ROUTE), None)
        if newest is None or newest.answer.context is None or not newest.answer.context["messages_cut"]:
            return None
        shown = [turn for turn in self.turns[: self.turns.index(newest)] if is_shown(turn)]
        gone = newest.answer.context["messages_cut"] // 2
        return shown[gone] if gone < len(shown) else newest

    def _context(self, turn: Turn) -> list[dict[str, str]]:
        """What was said before a turn, as far as the model may see it. The route tells the engine which answers a
        procedure gave.
        """
        said: list[dict[str, str]] = []
        for earlier in self.turns[: self.turns.index(turn)]:
            if is_shown(earlier):
                said.append({"role": "user", "content": earlier.question})
                answer = {"role": "assistant", "content": earlier.answer.text}
                if earlier.answer.route is not None:
                    answer["route"] = earlier.answer.route
                said.append(answer)
        return said

    def _keep(self, turn: Turn) -> None:
        """Write the answer to the store, as far as it has come."""
        answer = turn.answer
        if self.temporary or self.conversation_id is None or turn not in self.turns:
            return
        kept: dict[str, Any] = {
            "route": answer.route,
            "probability": answer.probability,
            "candidates": list(answer.candidates),
            "timing": answer.timing,
            "details": {
                "span": answer.span,
                "context": answer.context,
                "forced": answer.forced,
                "cut": answer.cut,
                "without_history": answer.without_history or None,
                "original": answer.original,
                "parts": kept_parts(answer),
                "segments": kept_segments(answer),
            },
            "status": answer.status,
        }
        if answer.message_id is None:
            answer.message_id = self._store.messages.add(self.conversation_id, "assistant", answer.text, **kept)
            self._put_behind(turn)
        else:
            self._store.messages.update(answer.message_id, content=answer.text, whole=True, **kept)

    def _put_behind(self, turn: Turn) -> None:
        """Move questions that waited for this answer behind it, to keep the order of the conversation."""
        later = [one for one in self.turns[self.turns.index(turn) + 1 :] if one.question_id is not None]
        if not later:
            return
        moved = self._store.messages.move_to_end([one.question_id for one in later if one.question_id is not None])
        for one, question_id in zip(later, moved, strict=True):
            one.question_id = question_id
