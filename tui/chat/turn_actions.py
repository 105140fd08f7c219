"""What the keys on a message do: copy, again, edit, wrong route, make a pair, thumbs, take back, retrain.

Everything that teaches is told in a toast, and ``u`` on the message takes it back.
"""

from __future__ import annotations

from typing import cast

from textual import work

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair
from tui.chat.choose_fault import FaultDialog
from tui.chat.choose_route import RouteDialog
from tui.chat.messages import TurnAction
from tui.chat.run_call import RunDialog
from tui.chat.services import ChatServices
from tui.chat.session import ChatSession
from tui.chat.turns import Turn
from tui.kit.base import AppScreen
from tui.kit.edit_pair import PairDialog
from tui.kit.error_dialogs import shows_errors
from tui.kit.words import error_text
from tui.shared.command_run import prepare, run


class TurnActions(AppScreen):
    """The part of the chat that works on one turn. The chat itself gives what raises NotImplementedError here."""

    @property
    def tokmem(self) -> ChatServices:
        """The app, as far as this room uses it."""
        return cast(ChatServices, self.app)

    @property
    def session(self) -> ChatSession:
        """The open conversation."""
        raise NotImplementedError

    def enqueue(self, turn: Turn, *, route: str | None = None, again: bool = False) -> None:
        """Let a turn be answered."""
        raise NotImplementedError

    async def edit(self, turn: Turn) -> None:
        """Let the person change a question."""
        raise NotImplementedError

    async def withdraw(self, turn: Turn) -> None:
        """Take a message back that waits for its answer."""
        raise NotImplementedError

    def copy_all(self) -> None:
        """Copy the conversation."""
        raise NotImplementedError

    async def redraw(self, turn: Turn) -> None:
        """Draw a turn anew."""
        raise NotImplementedError

    @shows_errors
    async def act_on_turn(self, turn: Turn, action: TurnAction) -> None:
        """Do what a key on a message asks for."""
        match action:
            case "copy":
                self.app.copy_to_clipboard(turn.answer.text or turn.question)
                self.notify("Copied the answer." if turn.answer.text else "Copied the message.")
            case "copy_all":
                self.copy_all()
            case "again":
                self.enqueue(turn, route=turn.answer.route if turn.answer.corrected_from else None, again=True)
            case "edit":
                await self.edit(turn)
            case "withdraw":
                await self.withdraw(turn)
            case "wrong":
                self._correct(turn)
            case "procedure":
                if turn.answer.route is not None:
                    self.tokmem.open_procedure(turn.answer.route)
            case "pair":
                self._make_pair(turn)
            case "good":
                await self._good(turn)
            case "bad":
                self._bad(turn)
            case "undo":
                await self._take_back(turn)
            case "run":
                self.run_calls(turn)

    @work(exit_on_error=False)
    async def _correct(self, turn: Turn) -> None:
        """Ask for the right route, keep the verdict, answer again by that route."""
        names = self.tokmem.recallable()
        dialog = RouteDialog(turn.question, names, turn.answer.route, turn.answer.candidates)
        right = await self.app.push_screen_wait(dialog)
        if right is None:
            return
        self.session.correct(turn, right)
        self.tokmem.announce_store()
        where = "plain chat" if right == NONE_ROUTE else right
        if self.session.temporary:
            self.notify("A temporary chat teaches nothing: only this answer goes its right way.")
        else:
            self.notify(f"Saved: messages like this go to {where} from now on. u takes it back.", markup=False)
        self.enqueue(turn, route=right)

    @work(exit_on_error=False)
    async def _make_pair(self, turn: Turn) -> None:
        """Let the person correct the answer and keep it as an example pair."""
        names = [record.name for record in self.tokmem.store.procedures.list()]
        if not names:
            self.notify("There is no procedure to save it to. F3, then a adds one.")
            return
        names.sort(key=lambda name: name != turn.answer.route)
        dialog = PairDialog(
            "Save as an example pair", names, input=turn.question, response=turn.answer.text, at_response=True
        )
        draft = await self.app.push_screen_wait(dialog)
        if draft is not None:
            await self._keep_pair(turn, draft.procedure, ExamplePair(draft.input, draft.response))

    async def _keep_pair(self, turn: Turn, procedure: str, pair: ExamplePair) -> None:
        if self.session.keep_pair(turn, procedure, pair):
            waiting = self.tokmem.store.feedback.waiting(self.tokmem.fingerprint).get(procedure, 0)
            self.notify(f"Saved to {procedure}; {waiting} there to learn. u takes it back.", markup=False)
        else:
            self.notify(f"{procedure} has this pair already.", markup=False)
        self.tokmem.announce_store()
        await self.redraw(turn)

    async def _good(self, turn: Turn) -> None:
        """A good answer of a procedure is one more example of it."""
        self.session.rate(turn, "good")
        route = turn.answer.route
        if route in (None, NONE_ROUTE):
            self.notify("Marked good. p makes it an example pair of a procedure.")
            await self.redraw(turn)
        elif self.session.temporary:
            self.notify("Marked good. A temporary chat teaches nothing by itself; p makes it a pair.")
            await self.redraw(turn)
        else:
            await self._keep_pair(turn, str(route), ExamplePair(turn.question, turn.answer.text))

    @work(group="run", exit_on_error=False)
    async def run_calls(self, turn: Turn, *, only_allowed: bool = False) -> None:
        """Hand the calls of an answer to their commands, each after a look at what exactly would run.

        Args:
            only_allowed: run what the person always allows, and ask about nothing.
        """
        session, store = self.session, self.tokmem.store
        commands = store.commands.by_name()
        ran = False
        for segment in turn.answer.segments:
            command = commands.get(segment.route)
            if command is None or segment.arguments is None or (only_allowed and command.allowed is None):
                if only_allowed and command is not None and command.withheld is not None:
                    self.notify(command.withheld, severity="warning", timeout=12, markup=False)
                continue
            ran = True
            try:
                schema = store.procedures.get(command.procedure).output_schema or ""
                prepared = prepare(command, schema, segment.arguments)
            except TokmemError as caught:
                self.notify(error_text(caught), severity="error", timeout=12, markup=False)
                continue
            # What was cut short fits the schema and may say something else than was meant: never unasked.
            whole = turn.answer.status == "complete" and not turn.answer.cut
            if not (prepared.allowed and whole):
                if only_allowed:
                    continue
                warning = "" if whole else "The answer was cut short: look closely."
                answered = await self.app.push_screen_wait(RunDialog(prepared, warning, command.withheld or ""))
                if answered == "always" or command.withheld is not None:  # told, and answered
                    store.commands.allow(prepared.procedure, prepared.digest if answered == "always" else None)
                if answered is None:
                    continue
            self.notify(f"Running the command of {prepared.procedure}.", timeout=2, markup=False)
            done = await run(prepared.vector, self.tokmem.settings.number("command_seconds"))
            segment.run = done.as_dict()
            session.keep_run(turn)
            await self.redraw(turn)
        if not ran and not only_allowed:
            self.notify("It has no command. F3, then o on the procedure sets one.")

    @work(exit_on_error=False)
    async def _bad(self, turn: Turn) -> None:
        """Ask what is wrong, and lead on to what helps."""
        fault = await self.app.push_screen_wait(FaultDialog())
        if fault is None:
            return
        self.session.rate(turn, "bad")
        await self.redraw(turn)
        match fault:
            case "route":
                self._correct(turn)
            case "answer":
                self._make_pair(turn)
            case "again":
                self.enqueue(turn, route=turn.answer.route if turn.answer.corrected_from else None, again=True)
            case "only":
                self.notify("Marked bad: the model does not see this answer when it goes on. u takes it back.")

    async def _take_back(self, turn: Turn) -> None:
        what = self.session.take_back(turn)
        self.tokmem.announce_store()
        if what is None:
            return
        self.notify(f"Taken back: the {what}.", markup=False)
        if what == "verdict":
            self.enqueue(turn)
        else:
            await self.redraw(turn)

    def action_learn(self) -> None:
        """Train the procedures that have corrections waiting; the end shows before and after."""
        waiting = self.tokmem.store.feedback.waiting(self.tokmem.fingerprint)
        if waiting:
            self.tokmem.train(list(waiting))
        else:
            self.notify("No corrections wait. w and p on a message make some.")
