"""One conversation: what was said, what is kept of it, and the way of a question through the engine.

Turns are kept here and in the store; those of a temporary conversation are kept here only. Draws nothing.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator
from typing import Any
from weakref import WeakKeyDictionary

from profiles.store.chats import ConversationRecord
from profiles.store.messages import MessageRecord
from profiles.store.plans import PlanRun
from profiles.store.store import ProfileStore
from profiles.store.verdicts import REJECTED
from tokmem_desk.errors import InterruptedByUser, NotFoundError
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.chat.session_lessons import SessionLessons
from tui.chat.session_titles import SessionTitles
from tui.chat.titles import rule_title
from tui.chat.turns import (
    Answer,
    Turn,
    is_shown,
    kept_parts,
    kept_segments,
    records_of,
    said_parts,
    take_event,
    turns_of,
)
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Context, Message
from tui.shared.plan_commands import Decision
from tui.shared.plan_runs import PlanAnswering


def system_turns(text: str) -> list[dict[str, str]]:
    """The beginning of a conversation for the engine: the system prompt, or nothing."""
    return [{"role": "system", "content": text}] if text else []


class ChatSession:
    """The open conversation of a profile.

    Args:
        store: of the profile.
        link: the way to the engine.
        profile: its name.
        runs_commands: whether commands of a plan's steps run where the person always allows them.
        command_seconds: how long one may take.
        fingerprint: of the model, where the link does not know it.
    """

    def __init__(
        self,
        store: ProfileStore,
        link: EngineLink,
        profile: str,
        *,
        runs_commands: bool = False,
        command_seconds: float = 60.0,
        fingerprint: str | None = None,
    ) -> None:
        self.conversation_id: int | None = None
        self.temporary = False
        self.turns: list[Turn] = []
        self.own_system_prompt = ""
        """What plain chat is told before this conversation; empty: what the profile says."""
        self._store = store
        self._link = link
        self._profile = profile
        self._runs_commands, self._command_seconds = runs_commands, command_seconds
        self._fingerprint = fingerprint
        self._answering: PlanAnswering | None = None
        """Of the answer that is on its way."""
        self._answered: WeakKeyDictionary[Turn, PlanAnswering] = WeakKeyDictionary()
        self.titles = SessionTitles(self, store, link)
        """What it may be called."""
        self.lessons = SessionLessons(self, store)
        """What the person teaches by its answers."""

    def begin(self, *, temporary: bool = False) -> None:
        """Start an empty conversation; a temporary one is never written to disk."""
        self.conversation_id, self.temporary, self.turns, self.own_system_prompt = None, temporary, [], ""

    def open(self, conversation_id: int) -> None:
        """Take up a stored conversation.

        Raises:
            NotFoundError: it was deleted.
        """
        records = self._store.messages.list(conversation_id)
        feedback = self._store.feedback.of_conversation(conversation_id)
        self.conversation_id, self.temporary = conversation_id, False
        self.turns = turns_of(records, feedback)
        self.own_system_prompt = self._store.chats.get(conversation_id).system_prompt

    @property
    def system_prompt(self) -> str:
        """What plain chat is told before this conversation: its own text, else the profile's; empty: nothing."""
        return self.own_system_prompt or self._store.chats.system_prompt

    def set_system_prompt(self, text: str) -> None:
        """Tell plain chat something else from the next answer on; empty takes the profile's text.

        Raises:
            NotFoundError: the conversation was deleted meanwhile.
        """
        self.own_system_prompt = text.strip()
        if self.conversation_id is not None:
            self._store.chats.set_system_prompt(self.own_system_prompt, self.conversation_id)

    def ask(self, question: str, route: str) -> Turn:
        """Add a question to the conversation and return its turn, not answered yet."""
        turn = Turn(question, route)
        if not self.temporary:
            if self.conversation_id is None:
                self.conversation_id = self._store.chats.create(rule_title(question), self.own_system_prompt)
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
            ``progress``, ``route``, ``token`` and ``done`` events; ``turn.answer`` is up to date at each.

        Raises:
            InterruptedByUser: it was stopped before it had a route; kept as a stopped answer.
            TokmemError: the engine failed; what had come is kept as a failed answer.
        """
        turn.lost = False
        answer = turn.answer = Answer(
            message_id=turn.answer.message_id,
            correction_id=turn.answer.correction_id,
            corrected_from=turn.answer.corrected_from,
            pair_id=turn.answer.pair_id,
            pair_procedure=turn.answer.pair_procedure,
            rejected=turn.answer.rejected_when_replaced(again),
            status="failed",
        )
        if answer.message_id is not None:
            self._store.feedback.rate(answer.message_id, None)  # the thumb was for what is replaced now
        answering = self._plan_answering(turn)
        if turn.question_id is not None and (runs := self._store.plans.open_runs(turn.question_id)):
            # What was begun goes on: asked anew, steps would be done twice.
            events = answering.go_on(runs[0])
        else:
            events = answering.asked(
                turn.question,
                route or turn.route,
                conversation=self._context(turn),
                sample=again,
                own_sampling=own_sampling,
                seed=seed if seed is not None else random.randrange(2**31) if again else None,
                max_tokens=max_tokens,
                **({} if turn.fills_in else {"references": False}),
            )
        async for event in self._following(turn, answering, events):
            yield event

    async def go_on(self, turn: Turn, run_id: int, decision: Decision | None) -> AsyncGenerator[Message, None]:
        """Go on with a plan of a turn that waits for the person, and keep what comes of it.

        Yields:
            Events as of ``answer``.

        Raises:
            TokmemError: the run has ended, another process goes on with it, or the engine failed.
        """
        answering = self._answered.get(turn)
        run = self._store.plans.get(run_id) if answering is None or run_id > 0 else answering.runs[run_id]
        if answering is None:
            answering = self._plan_answering(turn)
        async for event in self._following(turn, answering, answering.go_on(run, decision)):
            yield event

    def waiting_run(self, turn: Turn) -> PlanRun | None:
        """The first run of a turn's plans that waits for the person."""
        answering = self._answered.get(turn)
        for plan in turn.answer.plans:
            if plan.get("status") == "waiting":
                run_id = int(plan["run"])
                if run_id < 0:
                    return None if answering is None else answering.runs.get(run_id)
                with contextlib.suppress(NotFoundError):
                    run = self._store.plans.get(run_id)
                    return run if run.is_open else None
        return None

    def _plan_answering(self, turn: Turn) -> PlanAnswering:
        answering = self._answered[turn] = PlanAnswering(
            self._link,
            self._profile,
            lambda: contextlib.nullcontext(self._store),
            question_id=turn.question_id,
            kept=not self.temporary,
            runs_commands=self._runs_commands,
            command_seconds=self._command_seconds,
            fingerprint=self._fingerprint,
        )
        return answering

    async def _following(
        self, turn: Turn, answering: PlanAnswering, events: AsyncGenerator[Message, None]
    ) -> AsyncGenerator[Message, None]:
        """Bring a turn up to date with the events of its answer, and keep it at their end."""
        self._answering = answering
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    take_event(turn.answer, event)
                    yield event
        except InterruptedByUser:
            turn.answer.status = "stopped"
            raise
        finally:
            self._answering = None
            self.keep(turn)

    async def stop(self) -> bool:
        """Stop the answer that is on its way; False when there is none."""
        if self._answering is None:
            return False
        await self._answering.cancel()
        return True

    def records(self) -> tuple[ConversationRecord, list[MessageRecord]]:
        """The conversation as the store has it, or would have it if it were kept."""
        if self.conversation_id is not None:
            return self._store.chats.get(self.conversation_id), self._store.messages.list(self.conversation_id)
        title = rule_title(self.turns[0].question) if self.turns else ""
        messages = [record for turn in self.turns for record in records_of(turn)]
        return ConversationRecord(0, title, "", "", len(messages), "", self.own_system_prompt), messages

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

    def _context(self, turn: Turn) -> list[dict[str, Any]]:
        """What was said before a turn, as far as the model may see it, the system prompt first. The route tells the
        engine which answers a procedure gave.
        """
        said: list[dict[str, Any]] = [*system_turns(self.system_prompt)]
        for earlier in self.turns[: self.turns.index(turn)]:
            if is_shown(earlier):
                said.append({"role": "user", "content": earlier.question})
                answer: dict[str, Any] = {"role": "assistant", "content": earlier.answer.text}
                if earlier.answer.route is not None:
                    answer["route"] = earlier.answer.route
                if parts := said_parts(earlier.answer):
                    answer["parts"] = parts
                said.append(answer)
        return said

    def keep(self, turn: Turn) -> None:
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
                **({"plans": answer.plans} if answer.plans else {}),
                **({REJECTED: answer.rejected} if answer.rejected else {}),
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
