"""The commands of a plan's steps: prepared as for any answer, begun after it was noted, and never begun twice.

A record of a step says ``command``: ``left`` (not to be run here), ``begun`` or ``done``. One that is ``begun`` in a
run that is taken up again may have run: only the person can say whether it is to run once more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from profiles.store.store import ProfileStore
from tokmem_desk.errors import TokmemError
from tokmem_desk.generation.answer_segment import AnswerSegment
from tui.shared.command_run import PreparedCommand, prepare, run, values_of
from tui.shared.doubt import doubt_words

Decision = Literal["yes", "no", "skip"]
"""What the person says to what a run waits for: do it, end the run, go on without it."""

MAY_HAVE_RUN = "Its command was begun before the program ended, so it may have run already."


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """A command that waits for the person, with everything they should see."""

    prepared: PreparedCommand
    warning: str
    """What speaks against it, or empty. With a warning nothing is allowed for always."""
    withheld: str
    """Why an earlier consent does not hold, or empty."""


def pending_command(store: ProfileStore, record: dict[str, Any]) -> PendingCommand | None:
    """The command that a step's answer is handed to; None where its procedure has none.

    Raises:
        TokmemError: it cannot run; the text says why.
    """
    segment = AnswerSegment.from_dict(record["segments"][-1])
    command = store.commands.by_name().get(segment.route)
    if command is None:
        return None
    schema = store.procedures.get(command.procedure).output_schema
    values = values_of(segment, schema)
    if values is None:
        return None
    warning = " ".join(filter(None, [MAY_HAVE_RUN if record.get("command") == "begun" else "", doubt_words(segment)]))
    return PendingCommand(prepare(command, schema, values), warning, command.withheld or "")


async def settle_command(
    store: ProfileStore,
    record: dict[str, Any],
    keep: Callable[[], None],
    *,
    decision: Decision | None,
    runs: bool,
    seconds: float,
) -> str:
    """Run the command of a step's answer, or leave it; returns why the run waits, empty where it goes on.

    Args:
        record: of the step, brought up to date.
        keep: writes the records; called before the command begins.
        decision: what the person said; None: nothing yet.
        runs: whether commands are run here at all; else they are left, and the record says so.
        seconds: how long a command may take.
    """
    try:
        pending = pending_command(store, record)
    except TokmemError as caught:
        record.update(open=False, fault=str(caught))
        return ""
    if pending is None:
        record["open"] = False
        return ""
    begun = record.get("command") == "begun"
    if decision == "skip" or (not runs and not begun and decision is None):
        record.update(open=False, command="begun" if begun else "left")
        return ""
    prepared = pending.prepared
    if decision != "yes" and (begun or not prepared.allowed or pending.warning):
        return f"{prepared.procedure} would run a command. {pending.warning}".rstrip()
    record["command"] = "begun"
    keep()
    done = await run(prepared.vector, seconds)
    record.update(open=False, command="done", run=done.as_dict())
    record["segments"][-1]["run"] = done.as_dict()
    if not done.ok:
        record["fault"] = f"The command of {prepared.procedure} failed: {done.words()}."
    return ""
