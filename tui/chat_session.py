"""One conversation: what was said, what is kept of it, and the way of a question through the engine.

Turns live here and in the store, in step; a temporary conversation lives here only. Draws nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from profiles.records import MessageRecord, MessageStatus
from profiles.store import ProfileStore
from tokmem_desk.errors import BadInputError, TokmemError, did_you_mean
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.engine.client import RequestHandle
from tui.engine.protocol import AskResult, Candidate, Message, Timing
from tui.engine_link import EngineLink

TITLE_CHARACTERS = 60

_PREFIX = re.compile(r"@(\S*)(?:\s+|$)")


@dataclass(slots=True)
class Answer:
    """What came back; grows while it streams."""

    text: str = ""
    route: str | None = None
    probability: float | None = None
    candidates: Sequence[Candidate] = ()
    forced: bool = False
    timing: Timing | None = None
    status: MessageStatus = "complete"
    cut: bool = False
    """True when the answer reached its greatest length."""
    message_id: int | None = None
    correction_id: int | None = None
    corrected_from: str | None = None
    """The route that the person called wrong."""


@dataclass(slots=True)
class Turn:
    """A question and its answer."""

    question: str
    route: str = AUTO_ROUTE
    """``auto``, or the route that the person asked for."""
    question_id: int | None = None
    answer: Answer = field(default_factory=Answer)


def split_route(text: str, names: Iterable[str]) -> tuple[str, str]:
    """Split ``@name message`` into route and message; without a prefix the route is ``auto``.

    Raises:
        BadInputError: there is no procedure of that name, or no message behind it.
    """
    found = _PREFIX.match(text)
    if found is None:
        return AUTO_ROUTE, text
    name, message = found.group(1), text[found.end() :].strip()
    known = [*names, NONE_ROUTE]
    if name not in known:
        raise BadInputError(
            f"There is no procedure {name!r}.{did_you_mean(name, known)}",
            next_step="Put a space before the @ to send it as it is.",
        )
    if not message:
        raise BadInputError(f"There is no message behind @{name}.")
    return name, message


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

    def begin(self, *, temporary: bool = False) -> None:
        """Start an empty conversation; a temporary one is never written to disk."""
        self.conversation_id, self.temporary, self.turns = None, temporary, []

    def open(self, conversation_id: int) -> None:
        """Take up a stored conversation.

        Raises:
            NotFoundError: it was deleted.
        """
        records = self._store.messages(conversation_id)
        self.conversation_id, self.temporary = conversation_id, False
        self.turns = _turns(records)

    def ask(self, question: str, route: str) -> Turn:
        """Add a question to the conversation and return its turn, not answered yet."""
        turn = Turn(question, route)
        if not self.temporary:
            if self.conversation_id is None:
                self.conversation_id = self._store.create_conversation(_title(question))
            turn.question_id = self._store.add_message(self.conversation_id, "user", question)
        self.turns.append(turn)
        return turn

    def forget_from(self, turn: Turn) -> None:
        """Take a turn and everything after it out of the conversation."""
        del self.turns[self.turns.index(turn) :]
        if turn.question_id is not None:
            self._store.delete_messages_from(turn.question_id)

    async def answer(
        self, turn: Turn, *, route: str | None = None, again: bool = False
    ) -> AsyncGenerator[Message, None]:
        """Have a turn answered and keep the answer, also a partial or a failed one.

        Args:
            turn: part of this conversation; an earlier answer is replaced.
            route: the route to take instead of the turn's own.
            again: draw another answer instead of the same one.

        Yields:
            ``route``, ``token`` and ``done`` events; ``turn.answer`` is up to date at each.

        Raises:
            TokmemError: the engine failed; what had come is kept as a failed answer.
        """
        answer = turn.answer = Answer(
            message_id=turn.answer.message_id,
            correction_id=turn.answer.correction_id,
            corrected_from=turn.answer.corrected_from,
            status="failed",
        )
        handle = self._handle = self._link.submit(
            "ask",
            profile=self._profile,
            text=turn.question,
            route=route or turn.route,
            conversation=self._context(turn),
            sample=again,
            seed=random.randrange(2**31) if again else None,
            max_tokens=None,
        )
        try:
            async for event in self._link.events(handle):
                _take(answer, event)
                yield event
        finally:
            self._handle = None
            self._keep(turn)

    async def stop(self) -> bool:
        """Stop the answer that is on its way; False when there is none."""
        if self._handle is None:
            return False
        await self._handle.cancel()
        return True

    def correct(self, turn: Turn, right_route: str) -> None:
        """Keep the verdict that this turn's route was wrong.

        Raises:
            UsageError: ``right_route`` is the route it got.
            NotFoundError: a procedure was removed meanwhile.
        """
        wrong = turn.answer.route or NONE_ROUTE
        turn.answer.correction_id = self._store.add_correction(
            turn.question, wrong, right_route, turn.answer.message_id
        )
        turn.answer.corrected_from = wrong

    def take_back_correction(self, turn: Turn) -> None:
        """Undo ``correct``; the answer stays."""
        if turn.answer.correction_id is not None:
            self._store.remove_correction(turn.answer.correction_id)
            turn.answer.correction_id = turn.answer.corrected_from = None

    def _context(self, turn: Turn) -> list[dict[str, str]]:
        """What was said before a turn. Failed answers are left out: nobody said them. The route
        tells the engine which answers a procedure gave.
        """
        said: list[dict[str, str]] = []
        for earlier in self.turns[: self.turns.index(turn)]:
            if earlier.answer.text and earlier.answer.status != "failed":
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
            "status": answer.status,
        }
        if answer.message_id is None:
            answer.message_id = self._store.add_message(self.conversation_id, "assistant", answer.text, **kept)
        else:
            self._store.update_message(answer.message_id, content=answer.text, **kept)


def _take(answer: Answer, event: Message) -> None:
    """Bring an answer up to date with one event."""
    match event["event"]:
        case "route":
            answer.route, answer.probability = event["route"], event["probability"]
            answer.candidates, answer.forced = event["candidates"], bool(event.get("forced"))
        case "token":
            answer.text += event["text"]
        case "done":
            result = cast(AskResult, event["result"])
            answer.text, answer.timing = result["response"], result["timing"]
            answer.route, answer.probability = result["route"], result["probability"]
            answer.candidates = result["candidates"]
            answer.status = "stopped" if result["stopped"] == "cancelled" else "complete"
            answer.cut = result["stopped"] == "length"


def _turns(records: Sequence[MessageRecord]) -> list[Turn]:
    """Stored messages as turns. A question without an answer keeps an empty, failed one."""
    turns: list[Turn] = []
    for record in records:
        if record.role == "user":
            turns.append(Turn(record.content, question_id=record.id, answer=Answer(status="failed")))
        elif turns:
            turns[-1].answer = Answer(
                text=record.content,
                route=record.route,
                probability=record.probability,
                candidates=cast(Sequence[Candidate], record.candidates or ()),
                timing=cast(Timing | None, record.timing),
                status=record.status,
                message_id=record.id,
            )
    return turns


def _title(question: str) -> str:
    """The first line of a question, short enough for the history."""
    line = question.strip().splitlines()[0]
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"


def error_text(error: TokmemError) -> str:
    """An error as one line for a place beside the input."""
    return f"{error.message.splitlines()[0]} {error.next_step}".strip()
