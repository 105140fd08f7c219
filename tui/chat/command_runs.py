"""Hands answers, calls and free texts, to the commands of their procedures, with the person's consent."""

from __future__ import annotations

from profiles.store.commands import CommandRecord
from profiles.store.plans import PlanRun
from profiles.store.store import ProfileStore
from tokmem_desk.errors import TokmemError
from tokmem_desk.generation.answer_segment import AnswerSegment
from tokmem_desk.plans.walk import Question
from tui.chat.host import ChatHost
from tui.chat.plan_dialog import PlanDialog
from tui.chat.run_call import RunDialog
from tui.chat.session import ChatSession
from tui.chat.turns import Turn
from tui.kit.words import error_text
from tui.shared.command_run import PreparedCommand, prepare, run, values_of
from tui.shared.doubt import between_words, doubt_words
from tui.shared.plan_commands import Decision, pending_command
from tui.shared.plan_words import events_of


class CommandRuns:
    """Runs commands, and shows and keeps what came of them.

    Args:
        host: the screen.
    """

    def __init__(self, host: ChatHost) -> None:
        self._host = host

    async def run_allowed(self, turn: Turn) -> None:
        """Run the commands that the person always allows. Nothing is asked."""
        # Held throughout: while a command runs, the person may go to another conversation or profile.
        session, store = self._host.session, self._host.tokmem.store
        commands = store.commands.by_name()
        for segment in _segments(turn):
            command = commands.get(segment.route)
            if command is None or segment.place:  # a plan has its steps' commands run by itself
                continue
            if command.allowed is not None and _is_whole(turn) and not segment.problem:
                prepared = self._prepare(store, command, segment)
                if prepared is None or not prepared.allowed:
                    continue
                if doubt := _doubt(turn, segment):
                    words = f"{prepared.procedure} was not run. {doubt} x runs it after a look."
                    self._host.notify(words, severity="warning", timeout=12, markup=False)
                else:
                    await self._run(session, turn, segment, prepared)
            elif command.withheld is not None:
                self._host.notify(command.withheld, severity="warning", timeout=12, markup=False)

    async def run(self, turn: Turn) -> None:
        """Run the command of each call in an answer, after a look at what exactly would run."""
        session, store = self._host.session, self._host.tokmem.store
        if (waiting := session.waiting_run(turn)) is not None:
            await self._go_on(turn, store, waiting)
            return
        commands = store.commands.by_name()
        has_command = False
        for segment in _segments(turn):
            command = commands.get(segment.route)
            if command is None or segment.place:  # a plan has its steps' commands run by itself
                continue
            has_command = True
            prepared = self._prepare(store, command, segment)
            if prepared is not None and await self._agreed(store, turn, segment, command, prepared):
                await self._run(session, turn, segment, prepared)
        if not has_command:
            self._host.notify("It has no command. F3, then o on the procedure sets one.")

    async def _go_on(self, turn: Turn, store: ProfileStore, waiting: PlanRun) -> None:
        """Have a plan go on, after a word of the person where it waits for one."""
        last = events_of(waiting)[-1]
        if isinstance(last, Question):
            decision = await self._host.ask(PlanDialog(waiting.plan, last.text))
            if decision is not None:
                self._host.enqueue(turn, going_on=(waiting.id, decision))
            return
        record = waiting.answers.get(last.place)
        pending = None
        if record is not None and record.get("open"):
            try:
                pending = pending_command(store, dict(record))
            except TokmemError:
                pending = None  # going on says why it cannot run
        if pending is None:
            self._host.enqueue(turn, going_on=(waiting.id, None))
            return
        consent = await self._host.ask(RunDialog(pending.prepared, pending.warning, pending.withheld, in_plan=True))
        if consent is None:
            return
        if consent == "always" or (pending.withheld and consent == "once"):
            store.commands.allow(pending.prepared.procedure, pending.prepared.digest if consent == "always" else None)
        decisions: dict[str, Decision] = {"skip": "skip", "end": "no"}
        self._host.enqueue(turn, going_on=(waiting.id, decisions.get(consent, "yes")))

    def _prepare(self, store: ProfileStore, command: CommandRecord, segment: AnswerSegment) -> PreparedCommand | None:
        """The command with the values of an answer; None where it cannot run, which the person is told."""
        try:
            schema = store.procedures.get(command.procedure).output_schema
            values = values_of(segment, schema)
            if values is not None:
                return prepare(command, schema, values)
            self._host.notify("The answer has no values to hand over; it says why.", severity="warning")
            return None
        except TokmemError as caught:
            self._host.notify(error_text(caught), severity="error", timeout=12, markup=False)
            return None

    async def _agreed(
        self, store: ProfileStore, turn: Turn, segment: AnswerSegment, command: CommandRecord, prepared: PreparedCommand
    ) -> bool:
        """Whether the command may run: always allowed, or the person agrees now."""
        warning = _doubt(turn, segment) if _is_whole(turn) else "The answer was cut short: look closely."
        if prepared.allowed and not warning:
            return True
        consent = await self._host.ask(RunDialog(prepared, warning, command.withheld or ""))
        if consent == "always" or command.withheld is not None:  # the dialog said why it was withheld
            store.commands.allow(prepared.procedure, prepared.digest if consent == "always" else None)
        return consent is not None

    async def _run(self, session: ChatSession, turn: Turn, segment: AnswerSegment, prepared: PreparedCommand) -> None:
        self._host.notify(f"Running the command of {prepared.procedure}.", timeout=2, markup=False)
        outcome = await run(prepared.vector, self._host.tokmem.settings.number("command_seconds"))
        segment.run = outcome.as_dict()
        session.lessons.keep_run(turn)
        await self._host.redraw(turn)


def _segments(turn: Turn) -> list[AnswerSegment]:
    """The segments of an answer, with what the person made of it.

    A stored answer of one free text is kept without segments; it gets one, which keeps what comes of a run.
    """
    answer = turn.answer
    if not answer.segments and answer.route is not None:
        answer.segments = [AnswerSegment(answer.route, answer.probability or 0.0, turn.question, answer.text)]
    if len(answer.segments) == 1 and answer.original is not None:
        answer.segments[0].response = answer.text
    return answer.segments


def _doubt(turn: Turn, segment: AnswerSegment) -> str:
    """Why a person should look first: at the route, at the values."""
    return " ".join(filter(None, [between_words(turn.answer.between), doubt_words(segment)]))


def _is_whole(turn: Turn) -> bool:
    """Whether the answer came to its end. A call that was cut short may still fit the schema and mean another thing."""
    return turn.answer.status == "complete" and not turn.answer.cut
