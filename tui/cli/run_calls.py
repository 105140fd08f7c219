"""``ask --run``: hand answers to the commands of their procedures, each after a look at what exactly would run."""

from __future__ import annotations

import asyncio
from typing import Any

from tokmem_desk.errors import TokmemError, UsageError
from tokmem_desk.generation.answer_segment import AnswerSegment
from tui.cli.console import Console
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.kit.vector_lines import UNSEEN_NOTE, has_unseen, vector_rows
from tui.shared.command_run import PreparedCommand, prepare, run, values_of
from tui.shared.doubt import between_words, doubt_words


def run_calls(context: Context, result: dict[str, Any]) -> int:
    """Run what a finished answer calls for, and put what came of it beside each segment.

    Returns:
        The exit code: failed when a call could not be run, or its program failed.

    Raises:
        UsageError: nobody can be asked, and neither ``--yes`` nor an earlier consent answers.
    """
    console, store = context.console, context.store
    commands = store.commands.by_name()
    code: int = ExitCode.OK
    found = False
    for segment in result["segments"]:
        command = commands.get(segment["route"])
        if command is None or segment.get("place"):  # a plan has its steps' commands run by itself
            continue
        schema = store.procedures.get(command.procedure).output_schema
        values = values_of(AnswerSegment.from_dict(segment), schema)
        if values is None:
            continue
        found = True
        try:
            prepared = prepare(command, schema, values)
        except TokmemError as caught:
            console.error(str(caught))
            code = ExitCode.FAILED
            continue
        between = between_words(result.get("ambiguous"))
        doubt = " ".join(filter(None, [between, doubt_words(AnswerSegment.from_dict(segment))]))
        # What was cut short still fits the schema, but says something else than was meant: never unasked. Nor what is
        # probably wrong.
        allowed = prepared.allowed and result["stopped"] == "end" and not doubt
        if not _consent(context, prepared, allowed=allowed, withheld=command.withheld, doubt=doubt):
            console.say("Nothing was run.")
            continue
        done = asyncio.run(run(prepared.vector, context.settings.number("command_seconds")))
        segment["run"] = done.as_dict()
        if not console.json_output:
            console.data(done.stdout, end="" if done.stdout.endswith("\n") or not done.stdout else "\n")
        if done.stderr:
            console.say(done.stderr.rstrip("\n"))
        console.say(f"({prepared.procedure}: {done.words()}{', output cut' if done.truncated else ''})", style="dim")
        code = code if done.ok else ExitCode.FAILED
    if not found and not result.get("plans"):
        console.say("Nothing to run: no part of the answer has a command and what it needs (see 'proc command').")
    return code


def shown_vector(vector: tuple[str, ...], width: int = 0) -> list[str]:
    """One argument a line, quoted so that each is seen from end to end.

    Args:
        width: cells of a line; an argument that needs more goes on in a line without a number; 0 for no limit.
    """
    lines = [f"  {place:>2}  {text}" for place, text in vector_rows(vector, max(0, width - 4))]
    return [*lines, f"  ({UNSEEN_NOTE})"] if has_unseen(vector) else lines


def _consent(context: Context, prepared: PreparedCommand, *, allowed: bool, withheld: str | None, doubt: str) -> bool:
    console: Console = context.console
    unasked = allowed or context.options.yes
    # A question shows what it is about, however quiet the command is.
    tell = console.say if unasked else console.tell
    tell(f"{prepared.procedure} would run:")
    for line in shown_vector(prepared.vector, console.width):
        tell(line)
    if withheld is not None:
        tell(withheld)
    if doubt:
        tell(doubt)
    if unasked:
        return True
    if not console.can_ask:
        raise UsageError(
            " ".join(["Running a command needs your consent, and there is no terminal to ask on.", doubt]).rstrip(),
            next_step="Agree with --yes.",
        )
    # "Always" never covers what is doubtful.
    question, keys = (
        ("Run it? [y]es, [N]o:", "y") if doubt else ("Run it? [y]es, [a]lways for this procedure, [N]o:", "ya")
    )
    answer = console.choose(question, keys)
    if answer == "a":
        context.store.commands.allow(prepared.procedure, prepared.digest)
        console.say(f"To be asked again: tokmem-desk proc command {prepared.procedure} --ask")
    elif withheld is not None:
        context.store.commands.allow(prepared.procedure, None)  # told, and answered
    return answer in ("y", "a")
