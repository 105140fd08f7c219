"""What the person teaches by way of a turn: another route, an example pair, a thumb; and taking it back.

Each lesson is named in a message, and ``u`` on the turn takes it back.
"""

from __future__ import annotations

import contextlib
from functools import partial

from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair
from tui.chat.choose_fault import FaultDialog
from tui.chat.choose_route import RouteDialog
from tui.chat.host import ChatHost
from tui.chat.turns import Doubt, Turn
from tui.kit.edit_pair import PairDialog
from tui.kit.words import count

LOOKED_AT = 40
"""The person's last messages that a verdict is tried on."""


class TurnCorrections:
    """Keeps what the person says about an answer, and has it answered again where that helps.

    Args:
        host: the screen.
    """

    def __init__(self, host: ChatHost) -> None:
        self._host = host

    def answer_again(self, turn: Turn) -> None:
        """Draw another answer, by the corrected route where there is one. A lost one is asked for as it was."""
        route = turn.answer.route if turn.answer.corrected_from else None
        self._host.enqueue(turn, route=route, again=not turn.lost)

    async def correct_route(self, turn: Turn) -> None:
        """Ask for the right route, keep the verdict, answer again by that route."""
        host = self._host
        dialog = RouteDialog(turn.message, host.tokmem.recallable(), turn.answer.route, turn.answer.candidates)
        right = await host.ask(dialog)
        if right is not None:
            self._keep_verdict(turn, right)

    async def settle_route(self, turn: Turn, right: str) -> None:
        """Keep which of two near routes is right; answer again where it is not the one that was taken."""
        if turn.answer.between is None:
            return
        if right != turn.answer.route:
            self._keep_verdict(turn, right)
            return
        self._host.session.lessons.confirm(turn)
        self._host.tokmem.announce_store()
        self._tell_saved(turn, right)
        await self._host.redraw(turn)

    def _keep_verdict(self, turn: Turn, right: str) -> None:
        self._host.session.lessons.correct(turn, right)
        self._host.tokmem.announce_store()
        self._tell_saved(turn, right)
        self._host.enqueue(turn, route=right)

    def _tell_saved(self, turn: Turn, right: str) -> None:
        where = "plain chat" if right == NONE_ROUTE else right
        if self._host.session.temporary:
            self._host.notify("A temporary chat teaches nothing: only this answer goes its right way.")
        else:
            self._host.notify(f"Saved: this message goes to {where} from now on. u takes it back.", markup=False)
            self._host.in_background(partial(self._tell_reach, turn.message), group="reach", exclusive=True)

    async def _tell_reach(self, text: str) -> None:
        """Say how many of the person's last messages go elsewhere because of the verdict on one."""
        app = self._host.tokmem
        texts = [one for one in app.store.messages.latest_questions(LOOKED_AT + 1) if one != text][:LOOKED_AT]
        if not texts or app.link.state.phase != "ready":
            return
        with contextlib.suppress(TokmemError):  # the verdict itself is kept
            async for event in app.link.events(app.link.submit("reach", profile=app.profile, text=text, texts=texts)):
                if event["event"] == "done":
                    elsewhere, of = event["result"]["elsewhere"], event["result"]["of"]
                    self._host.notify(
                        f"Of your last {count(of, 'other message')}, {elsewhere or 'none'} would go elsewhere now.",
                        markup=False,
                    )

    async def make_pair(self, turn: Turn) -> None:
        """Let the person correct the answer and keep it as an example pair."""
        host = self._host
        names = [record.name for record in host.tokmem.store.procedures.list()]
        if not names:
            host.notify("There is no procedure to save it to. F3, then a adds one.")
            return
        names.sort(key=lambda name: name != turn.answer.route)
        draft = await host.ask(
            PairDialog(
                "Save as an example pair", names, input=turn.message, response=turn.answer.text, at_response=True
            )
        )
        if draft is not None:
            await self._keep_pair(turn, draft.procedure, ExamplePair(draft.input, draft.response))

    async def _keep_pair(self, turn: Turn, procedure: str, pair: ExamplePair) -> None:
        host = self._host
        if host.session.lessons.keep_pair(turn, procedure, pair):
            waiting = host.tokmem.store.feedback.waiting(host.tokmem.fingerprint).get(procedure, 0)
            host.notify(f"Saved to {procedure}; {waiting} there to learn. u takes it back.", markup=False)
        else:
            host.notify(f"{procedure} has this pair already.", markup=False)
        host.tokmem.announce_store()
        await host.redraw(turn)

    async def settle(self, turn: Turn, doubt: Doubt, text: str) -> None:
        """Put a text in the place of a doubtful value. Nothing is learned from it unasked."""
        self._host.session.lessons.settle(turn, doubt, text)
        if text != doubt.value.text:
            self._host.notify("Put in. p makes the answer a pair, u takes it back.")
        await self._host.redraw(turn)

    async def mark_good(self, turn: Turn) -> None:
        """Mark an answer good. A good answer of a procedure becomes one more example pair of it."""
        host, route = self._host, turn.answer.route
        host.session.lessons.rate(turn, "good")
        if route is None or route == NONE_ROUTE:
            host.notify("Marked good. p makes it an example pair of a procedure.")
            await host.redraw(turn)
        elif host.session.temporary:
            host.notify("Marked good. A temporary chat teaches nothing by itself; p makes it a pair.")
            await host.redraw(turn)
        else:
            await self._keep_pair(turn, route, ExamplePair(turn.message, turn.answer.text))

    async def mark_bad(self, turn: Turn) -> None:
        """Mark an answer bad, ask what is wrong, and go on with what helps."""
        host = self._host
        fault = await host.ask(FaultDialog())
        if fault is None:
            return
        host.session.lessons.rate(turn, "bad")
        await host.redraw(turn)
        match fault:
            case "route":
                await self.correct_route(turn)
            case "answer":
                await self.make_pair(turn)
            case "again":
                self.answer_again(turn)
            case "only":
                host.notify("Marked bad: the model does not see this answer when it goes on. u takes it back.")

    async def take_back(self, turn: Turn) -> None:
        """Undo the last lesson of a turn; a verdict about its route has it answered again."""
        host = self._host
        lesson = host.session.lessons.take_back(turn)
        host.tokmem.announce_store()
        if lesson is None:
            return
        host.notify(f"Taken back: the {lesson}.", markup=False)
        if lesson == "verdict" or (turn.answer.filled and not turn.fills_in):
            host.enqueue(turn)
        else:
            await host.redraw(turn)
