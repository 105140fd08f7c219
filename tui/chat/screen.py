"""Chat: earlier conversations, the transcript, and the prompt.

Draws and dispatches; what is said and kept is in ``tui.chat.session``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import work
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import TextArea

from profiles.files.paths import private_folder
from tokmem_desk.errors import DamagedError, EngineError, OfflineError, TokmemError
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.chat.choose_route import RouteDialog
from tui.chat.conversations import Conversations
from tui.chat.history import HistoryPanel
from tui.chat.learn_bar import LearnBar
from tui.chat.messages import ExampleChosen, PromptSubmitted, TurnActionWanted
from tui.chat.prompt import Prompt
from tui.chat.prompt_line import PromptLine
from tui.chat.session import ChatSession
from tui.chat.transcript import EmptyChat, TranscriptPane
from tui.chat.turn_actions import TurnActions
from tui.chat.turn_view import TurnView
from tui.chat.turns import Turn, split_route
from tui.engine_client.link import EngineState
from tui.kit.base import AppScreen
from tui.kit.editor import edited_text
from tui.kit.error_dialogs import shows_errors
from tui.kit.words import error_text

TITLE_AFTER_SECONDS = 2.0
"""How long nothing must have happened before the model is asked for a title."""


@dataclass(slots=True)
class Waiting:
    """A turn that waits for its answer."""

    session: ChatSession
    turn: Turn
    route: str | None = None
    again: bool = False


class ChatScreen(Conversations, TurnActions, AppScreen):
    """See the module."""

    MODE = "chat"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#prompt"
    HELP_TEXT = (
        "Type and press Enter; messages typed while an answer comes wait for their turn, and can be edited (e) or "
        "withdrawn (d) until then. Each answer shows its route: "
        "a procedure of yours, or none, which is plain chat. @name before a message picks the procedure, @none plain "
        "chat. Arrow up goes to the messages: w corrects a wrong route, p makes an example pair of an answer that you "
        "may edit, + and - tell how it was, u takes any of this back. Nothing is learned unasked. x hands a call to "
        "its command, after you have seen what would run."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", show=False),
        Binding("ctrl+n", "new", "New", show=False),
        Binding("ctrl+r", "history", "History", show=False),
        Binding("ctrl+t", "route", "Route", show=False),
        Binding("ctrl+o", "temporary", "Temporary chat", show=False),
        Binding("ctrl+s", "save", "Save the chat to a file", show=False),
        Binding("ctrl+g", "editor", "Write in your editor", show=False),
        Binding("f7", "learn", "Retrain what was corrected", show=False, priority=True),
        Binding("ctrl+end", "to_end", "To the end", show=False, priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._queue: deque[Waiting] = deque()
        self._active: Waiting | None = None
        self._working = False
        """True while the queue is being worked off."""
        self._edited: Turn | None = None
        self._told: set[str] = set()
        self._cared_for: set[str] = set()

    def body(self) -> ComposeResult:
        with Horizontal():
            yield HistoryPanel(id="history")
            with Vertical(id="talk"):
                yield EmptyChat(id="empty")
                yield TranscriptPane(id="transcript-pane")
                yield LearnBar(id="learn")
                yield Prompt(id="prompt")
                yield PromptLine(id="chat-line")

    async def begin(self) -> None:
        """Take up the last conversation."""
        self._session = self._new_session()
        self.fit_history()
        recent = self.tokmem.store.chats.list(limit=1)
        if recent and recent[0].message_count:
            self._session.open(recent[0].id)
        await self._show_conversation()
        if unsent := self.tokmem.store.chats.take_unsent():
            self.query_one(Prompt).take(unsent)

    @shows_errors
    def keep_unsaved(self) -> None:
        """An unsent message comes back with the profile; one of a temporary chat is written nowhere."""
        if self.is_mounted and not self._session.temporary:
            self.tokmem.store.chats.keep_unsent(self.query_one(Prompt).text)

    @property
    def session(self) -> ChatSession:
        """The open conversation."""
        return self._session

    @property
    def _pane(self) -> TranscriptPane:
        return self.query_one(TranscriptPane)

    @property
    def busy(self) -> bool:
        """True while an answer is on its way or waits for its turn."""
        return self._active is not None or bool(self._queue)

    # News from the app

    def on_engine_changed(self, state: EngineState) -> None:
        self._show_line()
        if self._active is not None and state.phase == "loading" and (view := self._view(self._active.turn)):
            view.show_waiting(state.text)

    def on_store_changed(self) -> None:
        self._show_procedures()

    def on_jobs_changed(self) -> None:
        if self._in_queue != self._cared_for:  # not at every step
            self._show_waiting()

    def on_screen_resume(self) -> None:
        """Another screen may have changed the procedures."""
        self._show_procedures()

    # Asking

    @shows_errors
    async def on_prompt_submitted(self, event: PromptSubmitted) -> None:
        """Queue what was typed; an unknown @name stays in the prompt with a word about it."""
        prompt = self.query_one(Prompt)
        try:
            route, question = split_route(event.text.strip(), prompt.names)
        except TokmemError as caught:
            prompt.give_back(event.text)
            self._show_problem(error_text(caught), prompt.text)
            return
        if self._edited is not None:
            await self._forget_edited()
        turn = self._session.ask(question, route)
        self.query_one("#empty").display = False
        await self._pane.add(turn)
        self.enqueue(turn)
        self.show_history()

    def enqueue(self, turn: Turn, *, route: str | None = None, again: bool = False) -> None:
        """Let a turn be answered when those before it are."""
        self._queue.append(Waiting(self._session, turn, route, again))
        if not self._working:  # not whether one is active: the worker takes the first only once it runs
            self._working = True
            self._answer_all()
        else:
            self._show_places()
        self._show_line()

    def _show_places(self) -> None:
        """Say of each waiting message how many are before it."""
        for place, waiting in enumerate(self._queue, start=1):
            if view := self._view(waiting.turn):
                if self._is_waiting(waiting.turn):
                    view.show_place(place)
                else:  # one that is answered again
                    view.show_waiting("waits for its turn")

    def _view(self, turn: Turn) -> TurnView | None:
        """The view of a turn; None when it is scrolled far away, or its conversation is not the open one."""
        return self._pane.transcript.view_of(turn)

    @work(group="chat", exit_on_error=False)
    async def _answer_all(self) -> None:
        try:
            while self._queue:
                self._active = self._queue.popleft()
                self._show_places()
                self._show_line()
                await self._answer(self._active)
        finally:
            self._active, self._working = None, False
            self._show_line()
        self._name_conversation(self._session)

    @work(group="title", exclusive=True, exit_on_error=False)
    async def _name_conversation(self, session: ChatSession) -> None:
        """Once nothing has happened for a while, let the model give the conversation a title."""
        await asyncio.sleep(TITLE_AFTER_SECONDS)
        link = self.tokmem.link
        if self.tokmem.locked or session is not self._session or link.busy or link.training:
            return
        # What goes wrong here was not asked for by anyone: the title stays as it is.
        with contextlib.suppress(TokmemError):
            if link.state.phase == "ready" and session.wants_title and await session.propose_title():
                self.show_history()

    async def _answer(self, waiting: Waiting) -> None:
        turn, session = waiting.turn, waiting.session
        answering = session.answer(turn, route=waiting.route, again=waiting.again, own_sampling=True)
        if view := self._view(turn):
            view.begin()
        try:
            async with contextlib.aclosing(answering) as events:
                async for event in events:
                    if event["event"] == "token" and (view := self._view(turn)):
                        view.stream()
                        self._pane.note_new_text()
                    elif event["event"] == "progress" and event.get("phase") == "problem":
                        self._tell_problem(str(event["text"]))
        except TokmemError as caught:
            if view := self._view(turn):
                view.show_error(caught)
            if isinstance(caught, (OfflineError, DamagedError)):
                self.tokmem.load_engine()  # asks about the download
            elif isinstance(caught, EngineError) or view is None:
                self.tokmem.show_error(caught)
            return
        if view := self._view(turn):
            view.show_end()
            self._pane.note_new_text()
            self._pane.transcript.mark_cut(self._session.first_seen)
        if turn.answer.has_calls and session is self._session:
            self.run_calls(turn, only_allowed=True)

    def _tell_problem(self, problem: str) -> None:
        """A memory that cannot be used: said once, not with every answer."""
        if problem not in self._told:
            self._told.add(problem)
            self.notify(problem, severity="warning", timeout=12, markup=False)

    @shows_errors
    async def action_stop(self) -> None:
        """Stop the answer; with none on its way, leave editing, or go back to the prompt."""
        if self._active is not None and await self._active.session.stop():
            return
        if self._edited is not None:
            self._edited = None
            self.query_one(Prompt).take("")
        if self.is_narrow:
            self.query_one(HistoryPanel).display = False
        self.query_one(PromptLine).problem = ""
        self._show_line()
        self.query_one(Prompt).focus()

    # Conversations

    def _new_session(self) -> ChatSession:
        return ChatSession(self.tokmem.store, self.tokmem.link, self.tokmem.profile)

    async def change_conversation(self, change: Callable[[ChatSession], None]) -> None:
        """Stop what goes on here and show another conversation, or an empty one.

        Args:
            change: opens or begins it in a fresh session; when it raises, everything stays as it is.
        """
        session = self._new_session()
        change(session)
        # A partial answer is kept by the session that is left.
        self._queue.clear()
        await self._session.stop()
        self._edited = None
        self.query_one(PromptLine).problem = ""
        self._session = session
        await self._show_conversation()
        self.query_one(Prompt).focus()

    async def _show_conversation(self) -> None:
        turns = self._session.turns
        await self._pane.show_all(turns)
        self._pane.transcript.mark_cut(self._session.first_seen)
        self.query_one("#empty").display = not turns
        self._show_procedures()
        self.show_history()
        self._show_line()

    @shows_errors
    def _show_procedures(self) -> None:
        if not self.is_mounted:
            return
        examples = self.tokmem.examples()
        self.query_one(Prompt).names = [*(name for name, _, trained in examples if trained), NONE_ROUTE]
        self.query_one(EmptyChat).show([one for one in examples if one[1]][:8])
        self._show_waiting()

    @shows_errors
    def _show_waiting(self) -> None:
        if not self.is_mounted:
            return
        waiting = self.tokmem.store.feedback.waiting(self.tokmem.fingerprint)
        self._cared_for = self._in_queue
        self.query_one(LearnBar).show({name: count for name, count in waiting.items() if name not in self._cared_for})

    @property
    def _in_queue(self) -> set[str]:
        """Procedures that will be, or were, trained, and nobody has decided yet."""
        return {job.name for job in self.tokmem.trainings.jobs}

    # The prompt and the line below it

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """A word about a wrong name goes as soon as the text is another one."""
        line = self.query_one(PromptLine)
        # Compared, because the events of giving the text back come late.
        if event.text_area.text != line.problem_text:
            line.problem = ""
        self._show_line()

    def on_example_chosen(self, event: ExampleChosen) -> None:
        """Put an example into the prompt."""
        self.offer(event.text)

    def offer(self, text: str) -> None:
        """Put a text into the prompt, to be sent or changed."""
        prompt = self.query_one(Prompt)
        prompt.take(text)
        prompt.focus()

    @work(exit_on_error=False)
    async def action_route(self) -> None:
        """Pick the route of the next message from a list."""
        prompt = self.query_one(Prompt)
        names = [name for name in prompt.names if name != NONE_ROUTE]
        dialog = RouteDialog(
            "", names, None, title="Where should the next message go?", note="Typing @name does the same."
        )
        chosen = await self.app.push_screen_wait(dialog)
        if chosen is not None:
            prompt.take(f"@{chosen} {prompt.text}")

    @shows_errors
    def action_editor(self) -> None:
        """Write the prompt in the person's own editor."""
        prompt = self.query_one(Prompt)
        if self._session.temporary:
            self.notify("A temporary chat is not written to disk, and an editor needs a file.")
            return
        try:
            with self.app.suspend():
                text = edited_text(prompt.text, private_folder(self.tokmem.paths.state))
        except SuspendNotSupported:
            self.notify("This terminal cannot hand over to an editor.")
            return
        prompt.take(text)
        self.refresh()

    def _show_problem(self, problem: str, text: str) -> None:
        line = self.query_one(PromptLine)
        line.problem, line.problem_text = problem, text
        self._show_line()

    async def withdraw(self, turn: Turn) -> None:
        """Take a message back that waits for its answer; one that has just begun to be answered stays."""
        if not self._is_waiting(turn):
            return
        self._queue = deque(one for one in self._queue if one.turn is not turn)
        self._session.withdraw(turn)
        await self._pane.transcript.forget([turn])
        self._show_places()
        self.query_one("#empty").display = not self._session.turns
        self.query_one(Prompt).focus()
        self._show_line()

    def _is_waiting(self, turn: Turn) -> bool:
        """True for a new message in the queue, not for one that is answered again."""
        return any(one.turn is turn and not one.again for one in self._queue) and not turn.answer.text

    async def edit(self, turn: Turn) -> None:
        """Let the person change a question; sending it replaces it and what follows.

        One that still waits is taken back into the prompt, in front of what stands there; those behind it stay.
        """
        prompt = self.query_one(Prompt)
        typed = turn.question if turn.route == AUTO_ROUTE else f"@{turn.route} {turn.question}"
        if self._is_waiting(turn):
            await self.withdraw(turn)
            prompt.take(f"{typed}\n{prompt.text}" if prompt.text.strip() else typed)
            return
        self._edited = turn
        prompt.take(typed)
        prompt.focus()
        self._show_line()

    async def _forget_edited(self) -> None:
        turn, self._edited = self._edited, None
        assert turn is not None
        if turn not in self._session.turns:
            return
        place = self._session.turns.index(turn)
        gone = self._session.turns[place:]
        self._queue = deque(waiting for waiting in self._queue if waiting.turn not in gone)
        if self._active is not None and self._active.turn in gone:
            await self._session.stop()
        self._session.forget_from(turn)
        await self._pane.transcript.forget(gone)

    def _show_line(self) -> None:
        self.query_one(PromptLine).show(
            self.tokmem.link.state,
            matches=self.query_one(Prompt).name_matches,
            editing=self._edited is not None,
            answering=self._active is not None,
            waiting=len(self._queue),
            temporary=self._session.temporary,
            context=self._session.context,
        )

    def action_to_end(self) -> None:
        """Go to the newest text and follow it."""
        self._pane.to_end()

    def action_page(self, direction: int) -> None:
        """Scroll the transcript by a page."""
        self._pane.page(direction)

    def on_resize(self) -> None:
        """The history has its place, and the meter stands at the right edge."""
        if self.is_mounted:
            self.fit_history()
            self.call_after_refresh(self._show_line)

    async def on_turn_action_wanted(self, event: TurnActionWanted) -> None:
        """A key on a message."""
        await self.act_on_turn(event.turn, event.action)

    async def redraw(self, turn: Turn) -> None:
        """Draw a turn that was changed."""
        if view := self._view(turn):
            view.show_end()
