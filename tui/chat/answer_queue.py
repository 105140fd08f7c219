"""The messages that wait for an answer: one is answered at a time, in the order they were sent."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from tokmem_desk.errors import DamagedError, EngineError, InterruptedByUser, OfflineError, TokmemError
from tui.chat.host import ChatHost
from tui.chat.session import ChatSession
from tui.chat.turn_view import TurnView
from tui.chat.turns import Turn
from tui.shared.plan_commands import Decision


@dataclass(slots=True)
class WaitingTurn:
    """A turn that waits for its answer."""

    session: ChatSession
    turn: Turn
    route: str | None = None
    """The route to take instead of the turn's own."""
    again: bool = False
    """Draw an answer instead of taking the most probable words."""
    going_on: tuple[int, Decision | None] | None = None
    """A run of its plans that goes on, and what the person says to what it waits for."""


class AnswerQueue:
    """Has turns answered, and draws them as their answers come.

    Args:
        host: the screen.
    """

    def __init__(self, host: ChatHost) -> None:
        self._host = host
        self._waiting: deque[WaitingTurn] = deque()
        self._active: WaitingTurn | None = None
        self._working = False
        """True while a worker answers what waits."""
        self._shown_problems: set[str] = set()

    @property
    def active(self) -> WaitingTurn | None:
        """The turn that is being answered."""
        return self._active

    @property
    def busy(self) -> bool:
        """True while an answer is on its way or a message waits."""
        return self._active is not None or bool(self._waiting)

    def __len__(self) -> int:
        """How many turns wait, without the active one."""
        return len(self._waiting)

    def add(self, waiting: WaitingTurn) -> None:
        """Have a turn answered after those that wait already."""
        self._waiting.append(waiting)
        # Not whether a turn is active: the worker takes the first one only once it runs.
        if not self._working:
            self._working = True
            self._host.in_background(self._answer_all, group="chat")
        else:
            self._show_places()
        self._host.show_line()

    def clear(self) -> None:
        """Drop all that wait. The active turn goes on."""
        self._waiting.clear()

    def drop(self, turns: Collection[Turn]) -> None:
        """Drop these turns. The active one goes on."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting.turn not in turns)
        self._show_places()

    def is_waiting(self, turn: Turn) -> bool:
        """True for a new message that waits, not for one that is answered again."""
        return any(waiting.turn is turn and not waiting.again for waiting in self._waiting) and not turn.answer.text

    async def stop(self) -> bool:
        """Stop the answer that is on its way; False when there is none."""
        return self._active is not None and await self._active.session.stop()

    def show_loading(self, text: str) -> None:
        """Show at the active turn what the engine is loading."""
        if self._active is not None and (view := self._view(self._active.turn)):
            view.show_waiting(text)

    def _view(self, turn: Turn) -> TurnView | None:
        return self._host.pane.transcript.view_of(turn)

    def _show_places(self) -> None:
        """Show at each waiting message how many are before it."""
        for place, waiting in enumerate(self._waiting, start=1):
            if view := self._view(waiting.turn):
                if self.is_waiting(waiting.turn):
                    view.show_place(place)
                else:  # one that is answered again
                    view.show_waiting("waits for its turn")

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                self._active = self._waiting.popleft()
                self._show_places()
                self._host.show_line()
                await self._answer(self._active)
        finally:
            self._active, self._working = None, False
            self._host.show_line()
        self._host.came_to_rest()

    async def _answer(self, waiting: WaitingTurn) -> None:
        turn, session, pane = waiting.turn, waiting.session, self._host.pane
        if waiting.going_on is None:
            answering = session.answer(turn, route=waiting.route, again=waiting.again, own_sampling=True)
        else:
            answering = session.go_on(turn, *waiting.going_on)
        if view := self._view(turn):
            view.begin()
        try:
            async with contextlib.aclosing(answering) as events:
                async for event in events:
                    if event["event"] == "token" and (view := self._view(turn)):
                        view.stream()
                        pane.note_new_text()
                    elif event["event"] == "progress" and event.get("phase") == "problem":
                        self._show_problem(str(event["text"]))
                    elif (
                        event["event"] == "progress"
                        and event.get("phase") in ("read", "plan")
                        and (view := self._view(turn))
                    ):
                        view.show_reading(str(event["text"]))
        except InterruptedByUser:
            # Before it had a route: there is nothing to show but that it was stopped.
            if view := self._view(turn):
                view.show_end()
            return
        except TokmemError as caught:
            self._show_error(turn, caught)
            return
        if view := self._view(turn):
            view.show_end()
            pane.note_new_text()
            pane.transcript.mark_cut(self._host.session.first_seen)
        self._host.turn_answered(session, turn)

    def _show_error(self, turn: Turn, error: TokmemError) -> None:
        if view := self._view(turn):
            view.show_error(error)
        if isinstance(error, (OfflineError, DamagedError)):
            self._host.tokmem.load_engine()  # asks about the download
        elif isinstance(error, EngineError) or view is None:
            self._host.tokmem.show_error(error)

    def _show_problem(self, problem: str) -> None:
        """Say that a memory cannot be used: once, not with every answer."""
        if problem not in self._shown_problems:
            self._shown_problems.add(problem)
            self._host.notify(problem, severity="warning", timeout=12, markup=False)
