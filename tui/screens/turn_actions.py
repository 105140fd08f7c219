"""What the keys on a message do: copy, again, edit, wrong route, save as pair, go to the procedure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import work

from tokmem_desk.procedures import NONE_ROUTE, ExamplePair
from tui.chat_session import ChatSession, Turn
from tui.guard import shows_errors
from tui.messages import TurnAction
from tui.screens.base import AppScreen
from tui.screens.choose_route import RouteDialog
from tui.screens.edit_pair import PairDialog

if TYPE_CHECKING:
    from tui.widgets.turn_view import TurnView


class TurnActions(AppScreen):
    """The part of the chat that works on one turn. The chat itself gives ``session``, ``enqueue`` and ``edit``."""

    @property
    def session(self) -> ChatSession:
        """The open conversation."""
        raise NotImplementedError

    def enqueue(self, view: TurnView, *, route: str | None = None, again: bool = False) -> None:
        """Let a turn be answered."""
        raise NotImplementedError

    def edit(self, turn: Turn) -> None:
        """Let the person change a question."""
        raise NotImplementedError

    @shows_errors
    def act_on_turn(self, view: TurnView, action: TurnAction) -> None:
        """Do what a key on a message asks for."""
        turn = view.turn
        match action:
            case "copy":
                self.app.copy_to_clipboard(turn.answer.text or turn.question)
                self.notify("Copied the answer." if turn.answer.text else "Copied the message.")
            case "again":
                self.enqueue(view, route=turn.answer.route if turn.answer.corrected_from else None, again=True)
            case "edit":
                self.edit(turn)
            case "wrong":
                self._correct(view)
            case "procedure":
                if turn.answer.route is not None:
                    self.tokmem.open_procedure(turn.answer.route)
            case "pair":
                self._save_as_pair(turn)
            case "undo":
                self.session.take_back_correction(turn)
                self.notify("The verdict is taken back.")
                self.enqueue(view)

    @work(exit_on_error=False)
    async def _correct(self, view: TurnView) -> None:
        """Ask for the right route, keep the verdict, answer again by that route."""
        turn = view.turn
        names = self.tokmem.recallable()
        dialog = RouteDialog(turn.question, names, turn.answer.route, turn.answer.candidates)
        right = await self.app.push_screen_wait(dialog)
        if right is None:
            return
        self.session.correct(turn, right)
        self.tokmem.announce_store()
        where = "plain chat" if right == NONE_ROUTE else right
        self.notify(f"Saved: messages like this go to {where}. u takes it back.", markup=False)
        self.enqueue(view, route=right)

    @work(exit_on_error=False)
    async def _save_as_pair(self, turn: Turn) -> None:
        """Let the person correct the answer and keep it as an example pair."""
        names = [record.name for record in self.tokmem.store.procedures()]
        if not names:
            self.notify("There is no procedure to save it to. F3, then a adds one.")
            return
        names.sort(key=lambda name: name != turn.answer.route)
        dialog = PairDialog("Save as an example pair", names, input=turn.question, response=turn.answer.text)
        draft = await self.app.push_screen_wait(dialog)
        if draft is None:
            return
        self.tokmem.store.add_pairs(draft.procedure, [ExamplePair(draft.input, draft.response)], source="chat")
        self.tokmem.announce_store()
        changed = self.tokmem.changed_words(draft.procedure)
        self.notify(f"Saved to {draft.procedure}{f': {changed}' if changed else ''}. F4 trains it.", markup=False)
