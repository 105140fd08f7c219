"""What the person teaches by way of a turn: another route, an example pair, a thumb; and taking it back.

Each lesson is named in a message, and ``u`` on the turn takes it back.
"""

from __future__ import annotations

from tokmem_desk.procedures import NONE_ROUTE, ExamplePair
from tui.chat.choose_fault import FaultDialog
from tui.chat.choose_route import RouteDialog
from tui.chat.host import ChatHost
from tui.chat.turns import Turn
from tui.kit.edit_pair import PairDialog


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
        dialog = RouteDialog(turn.question, host.tokmem.recallable(), turn.answer.route, turn.answer.candidates)
        right = await host.ask(dialog)
        if right is None:
            return
        host.session.correct(turn, right)
        host.tokmem.announce_store()
        where = "plain chat" if right == NONE_ROUTE else right
        if host.session.temporary:
            host.notify("A temporary chat teaches nothing: only this answer goes its right way.")
        else:
            host.notify(f"Saved: messages like this go to {where} from now on. u takes it back.", markup=False)
        host.enqueue(turn, route=right)

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
                "Save as an example pair", names, input=turn.question, response=turn.answer.text, at_response=True
            )
        )
        if draft is not None:
            await self._keep_pair(turn, draft.procedure, ExamplePair(draft.input, draft.response))

    async def _keep_pair(self, turn: Turn, procedure: str, pair: ExamplePair) -> None:
        host = self._host
        if host.session.keep_pair(turn, procedure, pair):
            waiting = host.tokmem.store.feedback.waiting(host.tokmem.fingerprint).get(procedure, 0)
            host.notify(f"Saved to {procedure}; {waiting} there to learn. u takes it back.", markup=False)
        else:
            host.notify(f"{procedure} has this pair already.", markup=False)
        host.tokmem.announce_store()
        await host.redraw(turn)

    async def mark_good(self, turn: Turn) -> None:
        """Mark an answer good. A good answer of a procedure becomes one more example pair of it."""
        host, route = self._host, turn.answer.route
        host.session.rate(turn, "good")
        if route is None or route == NONE_ROUTE:
            host.notify("Marked good. p makes it an example pair of a procedure.")
            await host.redraw(turn)
        elif host.session.temporary:
            host.notify("Marked good. A temporary chat teaches nothing by itself; p makes it a pair.")
            await host.redraw(turn)
        else:
            await self._keep_pair(turn, route, ExamplePair(turn.question, turn.answer.text))

    async def mark_bad(self, turn: Turn) -> None:
        """Mark an answer bad, ask what is wrong, and go on with what helps."""
        host = self._host
        fault = await host.ask(FaultDialog())
        if fault is None:
            return
        host.session.rate(turn, "bad")
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
        lesson = host.session.take_back(turn)
        host.tokmem.announce_store()
        if lesson is None:
            return
        host.notify(f"Taken back: the {lesson}.", markup=False)
        if lesson == "verdict":
            host.enqueue(turn)
        else:
            await host.redraw(turn)
