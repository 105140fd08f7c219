"""Chat: earlier conversations, the transcript, and the prompt.

The conversation itself is in ``tui.chat.session``; what keys do is in the parts (``tui.chat.host`` lists them).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, cast

from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import TextArea

from profiles.files.paths import private_folder
from profiles.store.chat_export import as_markdown
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import NONE_ROUTE
from tui.chat.answer_queue import AnswerQueue, WaitingTurn
from tui.chat.attachment_line import AttachmentLine
from tui.chat.attachments import Attachments
from tui.chat.command_runs import CommandRuns
from tui.chat.history import ConversationList, HistoryPanel
from tui.chat.history_controller import ChatHistoryController
from tui.chat.learn_bar import LearnBar
from tui.chat.messages import (
    ConversationChosen,
    ExampleChosen,
    FilesPasted,
    PromptSubmitted,
    RouteSettled,
    TurnActionWanted,
    ValueSettled,
)
from tui.chat.prompt import Prompt
from tui.chat.prompt_editing import PromptEditing
from tui.chat.prompt_length import PromptLength
from tui.chat.prompt_line import PromptLine
from tui.chat.services import ChatServices
from tui.chat.session import ChatSession
from tui.chat.small_model import small_model_words
from tui.chat.transcript import EmptyChat, TranscriptPane
from tui.chat.turn_corrections import TurnCorrections
from tui.chat.turns import Turn, split_route
from tui.engine_client.link import EngineState
from tui.kit.base import AppScreen
from tui.kit.editor import edited_text
from tui.kit.error_dialogs import shows_errors
from tui.kit.words import error_text
from tui.shared.plan_commands import Decision


class ChatScreen(AppScreen):
    """Draws the open conversation and the prompt, and hands each key to the part that does the work."""

    MODE = "chat"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#prompt"
    HELP_TEXT = (
        "Type and press Enter; messages typed while an answer comes wait for their turn, and can be edited (e) or "
        "withdrawn (d) until then. Each answer shows its route: "
        "a procedure of yours, or none, which is plain chat. @name before a message picks the procedure, @none plain "
        "chat. Arrow up goes to the messages: w corrects a wrong route, p makes an example pair of an answer that you "
        "may edit, + and - tell how it was, u takes any of this back. Where a message lies between two routes, both "
        "are offered: 1 or 2 says which was meant. Nothing is learned unasked. x hands a call to "
        "its command, after you have seen what would run. F6, or a file that is dropped on the "
        "prompt, attaches text: it goes behind what you type, and whatever answers reads both. F10 writes a system "
        "prompt: what plain chat, and nothing else, is told before this chat or before every chat of the profile."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", show=False),
        Binding("ctrl+n,alt+n", "new", "New", show=False),
        Binding("ctrl+r", "history", "History", show=False),
        Binding("ctrl+t,alt+t", "route", "Route", show=False),
        Binding("ctrl+o", "temporary", "Temporary chat", show=False),
        Binding("ctrl+s", "save", "Save the chat to a file", show=False),
        Binding("ctrl+g", "editor", "Write in your editor", show=False),
        Binding("f6", "attach", "Attach a text file", show=False, priority=True),
        Binding("f10", "system_prompt", "System prompt", show=False),
        Binding("f7", "learn", "Retrain what was corrected", show=False, priority=True),
        Binding("alt+1", "take(1)", "Meant for the first route", show=False),
        Binding("alt+2", "take(2)", "Meant for the second route", show=False),
        Binding("ctrl+end", "to_end", "To the end", show=False, priority=True),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.answers = AnswerQueue(self)
        self.history_controller = ChatHistoryController(self)
        self.corrections = TurnCorrections(self)
        self.command_runs = CommandRuns(self)
        self.prompt_editing = PromptEditing(self, self.answers)
        self.prompt_length = PromptLength(self)
        self.attachments = Attachments(self)
        self._cared_for: set[str] = set()
        """Procedures in the queue of trainings when the learn bar was last drawn."""

    @property
    def tokmem(self) -> ChatServices:
        """The app, as far as this room uses it."""
        return cast(ChatServices, self.app)

    def body(self) -> ComposeResult:
        with Horizontal():
            yield HistoryPanel(id="history")
            with Vertical(id="talk"):
                yield EmptyChat(id="empty")
                yield TranscriptPane(id="transcript-pane")
                yield LearnBar(id="learn")
                yield AttachmentLine(id="attached", markup=False)
                yield Prompt(id="prompt")
                yield PromptLine(id="chat-line")

    async def begin(self) -> None:
        """Take up the last conversation."""
        self._session = self._new_session()
        self.history_controller.fit()
        recent = self.tokmem.store.chats.list(limit=1)
        if recent and recent[0].message_count:
            self._session.open(recent[0].id)
        await self._show_conversation()
        if unsent := self.tokmem.store.chats.take_unsent():
            self.prompt.take(unsent)

    @shows_errors
    def keep_unsaved(self) -> None:
        """Store an unsent message, which comes back with the profile. One of a temporary chat is not stored."""
        if self.is_mounted and not self._session.temporary:
            self.tokmem.store.chats.keep_unsent(self.attachments.with_message(self.prompt.text))

    @property
    def session(self) -> ChatSession:
        """The open conversation."""
        return self._session

    @property
    def pane(self) -> TranscriptPane:
        """The transcript."""
        return self.query_one(TranscriptPane)

    @property
    def history(self) -> HistoryPanel:
        """The sidebar with earlier conversations."""
        return self.query_one(HistoryPanel)

    @property
    def attachment_line(self) -> AttachmentLine:
        """The line that names attached files."""
        return self.query_one(AttachmentLine)

    @property
    def columns(self) -> int:
        """The width of the app, in cells."""
        return self.app.size.width

    @property
    def busy(self) -> bool:
        """True while an answer is on its way or a message waits."""
        return self.answers.busy

    @property
    def prompt(self) -> Prompt:
        """Where messages are written."""
        return self.query_one(Prompt)

    def show_empty(self) -> None:
        """Show what can be typed, if nothing was said yet."""
        self.query_one(EmptyChat).display = not self._session.turns

    # News from the app

    def on_engine_changed(self, state: EngineState) -> None:
        self.show_line()
        if state.phase == "loading":
            self.answers.show_loading(state.text)

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
        """Queue what was typed. With an unknown @name it stays in the prompt, and the line below says so."""
        prompt = self.prompt
        try:
            route, question = split_route(self.attachments.with_message(event.text), prompt.names)
        except TokmemError as caught:
            prompt.give_back(event.text)
            self._show_problem(error_text(caught), prompt.text)
            return
        self.attachments.clear()
        await self.prompt_editing.remove_replaced()
        turn = self._session.ask(question, route)
        self.show_empty()
        await self.pane.add(turn)
        self.enqueue(turn)
        self._draw_history()

    def enqueue(
        self,
        turn: Turn,
        *,
        route: str | None = None,
        again: bool = False,
        going_on: tuple[int, Decision | None] | None = None,
    ) -> None:
        """Have a turn answered after those that wait already.

        Args:
            turn: of the open conversation.
            route: the route to take instead of the turn's own.
            again: draw an answer instead of taking the most probable words.
            going_on: a run of its plans, and what the person says to what it waits for; the turn goes on with it.
        """
        self.answers.add(WaitingTurn(self._session, turn, route, again, going_on))

    def turn_answered(self, session: ChatSession, turn: Turn) -> None:
        """Run the commands that the person always allows, and say once what a small model is for."""
        words = small_model_words(self.tokmem.store, self.tokmem.link.state.backbone, turn.answer.route)
        if words:
            self.notify(words, timeout=10, markup=False)
        if turn.answer.text and session is self._session:
            self.in_background(partial(self.command_runs.run_allowed, turn), group="run")

    def came_to_rest(self) -> None:
        """Let the model name the conversation, unless something else happens first."""
        self.in_background(self.history_controller.propose_title, group="title", exclusive=True)

    @shows_errors
    async def action_stop(self) -> None:
        """Stop the answer; with none on its way, leave editing, or go back to the prompt."""
        if await self.answers.stop():
            return
        self.attachments.clear()
        self.prompt_editing.leave()
        self.history_controller.hide_if_narrow()
        self.query_one(PromptLine).problem = ""
        self.show_line()
        self.prompt.focus()

    # Conversations

    def _new_session(self) -> ChatSession:
        app = self.tokmem
        seconds = app.settings.number("command_seconds")
        return ChatSession(app.store, app.link, app.profile, runs_commands=True, command_seconds=seconds)

    async def change_conversation(self, change: Callable[[ChatSession], None]) -> None:
        """Stop what goes on here and show another conversation, or an empty one.

        Args:
            change: opens or begins it in a fresh session; if it raises, everything stays as it is.
        """
        session = self._new_session()
        change(session)
        # The session that is left keeps a partial answer.
        self.answers.clear()
        await self._session.stop()
        self.prompt_editing.end()
        self.query_one(PromptLine).problem = ""
        self._session = session
        await self._show_conversation()
        self.prompt.focus()

    async def _show_conversation(self) -> None:
        turns = self._session.turns
        await self.pane.show_all(turns)
        self.pane.transcript.mark_cut(self._session.first_seen)
        self.show_empty()
        self._show_procedures()
        self._draw_history()
        self.show_line()

    @shows_errors
    def _draw_history(self) -> None:
        self.history_controller.draw()

    # Conversations: each key calls the history's controller

    @shows_errors
    async def action_new(self, temporary: bool = False) -> None:
        """Begin a conversation; a temporary one is not kept."""
        await self.history_controller.begin(temporary=temporary)

    async def action_temporary(self) -> None:
        """Begin a conversation that is not kept."""
        await self.action_new(True)

    def action_history(self) -> None:
        """Show the history and go to its search, or hide it."""
        self.history_controller.toggle()

    @shows_errors
    async def on_conversation_chosen(self, event: ConversationChosen) -> None:
        """Open a conversation of the history."""
        await self.history_controller.open(event.conversation_id)

    def on_history_panel_search_changed(self, event: HistoryPanel.SearchChanged) -> None:
        """Search while typing."""
        self._draw_history()

    def on_conversation_list_delete_wanted(self, event: ConversationList.DeleteWanted) -> None:
        """Delete a conversation after asking."""
        self.in_background(partial(self.history_controller.delete, event.conversation_id), asks=True)

    def on_conversation_list_rename_wanted(self, event: ConversationList.RenameWanted) -> None:
        """Give a conversation another title."""
        self.in_background(partial(self.history_controller.rename, event.conversation_id), asks=True)

    def on_conversation_list_export_wanted(self, event: ConversationList.ExportWanted) -> None:
        """Save a conversation of the history."""
        self.in_background(partial(self.history_controller.save_stored, event.conversation_id), asks=True)

    def action_save(self) -> None:
        """Save the open conversation."""
        if self._session.turns:
            self.in_background(partial(self.history_controller.save, self._session), asks=True)
        else:
            self.notify("There is nothing to save yet.")

    def action_system_prompt(self) -> None:
        """Write what plain chat is told before the conversation."""
        self.in_background(self.history_controller.set_system_prompt, asks=True)

    # What was taught and not learned yet

    @shows_errors
    def _show_procedures(self) -> None:
        if not self.is_mounted:
            return
        examples = self.tokmem.examples()
        # A plan that a person has written answers without a memory, where it is named.
        written = {name for name, steps in self.tokmem.store.plans.steps().items() if steps}
        self.prompt.names = [*(name for name, _, trained in examples if trained or name in written), NONE_ROUTE]
        self.query_one(EmptyChat).show([example for example in examples if example[1]][:8])
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
        """Procedures with a training that waits, runs, or has ended and is not decided about."""
        return {job.name for job in self.tokmem.trainings.jobs}

    @shows_errors
    def action_learn(self) -> None:
        """Train the procedures that have corrections waiting; the end shows before and after."""
        waiting = self.tokmem.store.feedback.waiting(self.tokmem.fingerprint)
        if waiting:
            self.tokmem.train(list(waiting))
        else:
            self.notify("No corrections wait. w and p on a message make some.")

    # The prompt and the line below it

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """Remove the note about a wrong name as soon as the text differs."""
        line = self.query_one(PromptLine)
        # Compared, because the events of giving the text back come late.
        if event.text_area.text != line.problem_text:
            line.problem = ""
        self.prompt_length.take(self.prompt.text)
        self.show_line()

    def on_example_chosen(self, event: ExampleChosen) -> None:
        """Put an example into the prompt."""
        self.offer(event.text)

    def offer(self, text: str) -> None:
        """Put a text into the prompt, to be sent or changed."""
        prompt = self.prompt
        prompt.take(text)
        prompt.focus()

    def action_attach(self) -> None:
        """Name text files that go with the next message."""
        self.in_background(self.attachments.choose, asks=True)

    @shows_errors
    def on_files_pasted(self, event: FilesPasted) -> None:
        """Attach them; where one cannot be, say why and keep what was pasted as text."""
        try:
            self.attachments.add(event.paths)
        except TokmemError as caught:
            self.prompt.insert(event.text)
            self._show_problem(error_text(caught), self.prompt.text)

    def action_route(self) -> None:
        """Pick the route of the next message from a list."""
        self.in_background(self.prompt_editing.choose_route, asks=True)

    @shows_errors
    def action_editor(self) -> None:
        """Write the prompt in the person's own editor."""
        prompt = self.prompt
        if self._session.temporary:
            self.notify("A temporary chat is not written to disk, and an editor needs a file.")
            return
        try:
            text = edited_text(self.app, prompt.text, private_folder(self.tokmem.paths.state))
        except SuspendNotSupported:
            self.notify("This terminal cannot hand over to an editor.")
            return
        prompt.take(text)
        self.refresh()

    def _show_problem(self, problem: str, text: str) -> None:
        line = self.query_one(PromptLine)
        line.problem, line.problem_text = problem, text
        self.show_line()

    def show_line(self) -> None:
        """Draw the line below the prompt."""
        self.query_one(PromptLine).show(
            self.tokmem.link.state,
            matches=self.prompt.name_matches,
            editing=self.prompt_editing.active,
            answering=self.answers.active is not None,
            waiting=len(self.answers),
            temporary=self._session.temporary,
            system_prompt=bool(self._session.system_prompt),
            length=self.prompt_length.words,
            context=self._session.context,
        )

    def action_to_end(self) -> None:
        """Go to the newest text and follow it."""
        self.pane.to_end()

    def action_page(self, direction: int) -> None:
        """Scroll the transcript by a page."""
        self.pane.page(direction)

    def on_resize(self) -> None:
        """Fit the history and the line below the prompt to the new size."""
        if self.is_mounted:
            self.history_controller.fit()
            self.call_after_refresh(self.show_line)

    # Keys on a message

    @shows_errors
    async def on_turn_action_wanted(self, event: TurnActionWanted) -> None:
        """Do what a key on a message asks for."""
        turn = event.turn
        match event.action:
            case "copy":
                self.app.copy_to_clipboard(turn.answer.text or turn.question)
                self.notify("Copied the answer." if turn.answer.text else "Copied the message.")
            case "copy_all":
                self.app.copy_to_clipboard(as_markdown(*self._session.records()))
                self.notify("Copied the chat as Markdown.")
            case "again":
                self.corrections.answer_again(turn)
            case "edit":
                await self.prompt_editing.edit(turn)
            case "withdraw":
                await self.prompt_editing.withdraw(turn)
            case "wrong":
                self.in_background(partial(self.corrections.correct_route, turn), asks=True)
            case "procedure":
                if turn.answer.route is not None:
                    self.tokmem.open_procedure(turn.answer.route)
            case "pair":
                self.in_background(partial(self.corrections.make_pair, turn), asks=True)
            case "good":
                await self.corrections.mark_good(turn)
            case "bad":
                self.in_background(partial(self.corrections.mark_bad, turn), asks=True)
            case "undo":
                await self.corrections.take_back(turn)
            case "run":
                self.in_background(partial(self.command_runs.run, turn), group="run", asks=True)

    @shows_errors
    async def on_route_settled(self, event: RouteSettled) -> None:
        """Keep which of two near routes is right."""
        await self.corrections.settle_route(event.turn, event.route)

    @shows_errors
    async def action_take(self, place: int) -> None:
        """Say that the newest message was meant for the first or the second of two near routes."""
        turn = self._session.turns[-1] if self._session.turns else None
        if turn is not None and turn.answer.between is not None and not self.busy:
            await self.corrections.settle_route(turn, turn.answer.between[place - 1])

    @shows_errors
    async def on_value_settled(self, event: ValueSettled) -> None:
        """Put what the person chose in the place of a doubtful value."""
        await self.corrections.settle(event.turn, event.doubt, event.text)

    async def redraw(self, turn: Turn) -> None:
        """Draw a turn that was changed."""
        if view := self.pane.transcript.view_of(turn):
            view.show_end()
