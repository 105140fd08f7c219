"""Hands the calls of an answer to the commands of their procedures, with the person's consent."""

from __future__ import annotations

from profiles.store.commands import CommandRecord
from profiles.store.store import ProfileStore
from tokmem_desk.errors import TokmemError
from tokmem_desk.generation.answer_segment import AnswerSegment
from tui.chat.host import ChatHost
from tui.chat.run_call import RunDialog
from tui.chat.session import ChatSession
from tui.chat.turns import Turn
from tui.kit.words import error_text
from tui.shared.command_run import PreparedCommand, prepare, run


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
        for segment in turn.answer.segments:
            command = commands.get(segment.route)
            if command is None:
                continue
            if segment.arguments is not None and command.allowed is not None:
                prepared = self._prepare(store, command, segment)
                if prepared is not None and prepared.allowed and _is_whole(turn):
                    await self._run(session, turn, segment, prepared)
            elif command.withheld is not None:
                self._host.notify(command.withheld, severity="warning", timeout=12, markup=False)

    async def run(self, turn: Turn) -> None:
        """Run the command of each call in an answer, after a look at what exactly would run."""
        session, store = self._host.session, self._host.tokmem.store
        commands = store.commands.by_name()
        has_command = False
        for segment in turn.answer.segments:
            command = commands.get(segment.route)
            if command is None or segment.arguments is None:
                continue
            has_command = True
            prepared = self._prepare(store, command, segment)
            if prepared is not None and await self._agreed(store, turn, command, prepared):
                await self._run(session, turn, segment, prepared)
        if not has_command:
            self._host.notify("It has no command. F3, then o on the procedure sets one.")

    def _prepare(self, store: ProfileStore, command: CommandRecord, segment: AnswerSegment) -> PreparedCommand | None:
        """The command with the arguments of a call; None where it cannot run, which the person is told."""
        try:
            schema = store.procedures.get(command.procedure).output_schema or ""
            return prepare(command, schema, segment.arguments or {})
        except TokmemError as caught:
            self._host.notify(error_text(caught), severity="error", timeout=12, markup=False)
            return None

    async def _agreed(self, store: ProfileStore, turn: Turn, command: CommandRecord, prepared: PreparedCommand) -> bool:
        """Whether the command may run: always allowed, or the person agrees now."""
        if prepared.allowed and _is_whole(turn):
            return True
        warning = "" if _is_whole(turn) else "The answer was cut short: look closely."
        consent = await self._host.ask(RunDialog(prepared, warning, command.withheld or ""))
        if consent == "always" or command.withheld is not None:  # the dialog said why it was withheld
            store.commands.allow(prepared.procedure, prepared.digest if consent == "always" else None)
        return consent is not None

    async def _run(self, session: ChatSession, turn: Turn, segment: AnswerSegment, prepared: PreparedCommand) -> None:
        self._host.notify(f"Running the command of {prepared.procedure}.", timeout=2, markup=False)
        outcome = await run(prepared.vector, self._host.tokmem.settings.number("command_seconds"))
        segment.run = outcome.as_dict()
        session.keep_run(turn)
        await self._host.redraw(turn)


def _is_whole(turn: Turn) -> bool:
    """Whether the answer came to its end. A call that was cut short may still fit the schema and mean another thing."""
    return turn.answer.status == "complete" and not turn.answer.cut
