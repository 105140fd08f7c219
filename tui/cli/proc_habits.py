"""``proc habits``: messages of one kind that the person had answered alike, as procedures to be looked at."""

from __future__ import annotations

import argparse
from typing import Any

from profiles.pair_files.lint import lint_pairs
from tokmem_desk.errors import BadInputError, NotFoundError, UsageError
from tokmem_desk.procedures import Procedure, check_name
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions, positive_number
from tui.cli.proc_show import pair_counts
from tui.cli.tools import say_findings
from tui.kit.words import shortened
from tui.shared.habit_search import SETTING, FoundHabit, find_habits, kept_form, space_of, unread_parts

SHOWN_TURNS = 3


def add_habit_actions(actions: Actions) -> None:
    """What can be typed behind ``proc habits``."""
    finding = actions.add("habits", habits, "find messages in your chats that were answered alike again and again")
    finding.add_argument("--accept", metavar="N", type=positive_number, help="make the Nth a procedure")
    finding.add_argument("--dismiss", metavar="N", type=positive_number, help="never propose the Nth again")
    finding.add_argument("--name", metavar="NAME", help="of the procedure that --accept makes")


def habits(context: Context, options: argparse.Namespace) -> int:
    """List the habits, take one, or turn one down."""
    if options.accept is not None and options.dismiss is not None:
        raise UsageError("Take it or turn it down?", next_step="Give either --accept or --dismiss.")
    if options.name is not None:
        check_name(options.name)
    _agree(context)
    found = _found(context)
    if options.accept is not None:
        return _accept(context, _numbered(found, options.accept), options.name)
    if options.dismiss is not None:
        one = _numbered(found, options.dismiss)
        context.store.habits.dismiss(one.message_ids)
        context.console.say("It is not proposed again.")
        found.remove(one)
    _show(context, found)
    return ExitCode.OK


def _agree(context: Context) -> None:
    """Look into chats only with consent, which is asked for once; without it nothing read of them is kept.

    Raises:
        BadInputError: nobody agreed.
    """
    if context.settings.flag(SETTING):
        return
    allow = f"Agree once: tokmem-desk config set {SETTING} yes"
    if not context.options.yes:
        question = "Look for habits in the chats of this profile? Nothing leaves this computer."
        if not context.console.can_ask or not context.console.ask(question):
            context.store.habits.forget_vectors()  # what was kept while they were looked at
            raise BadInputError("Your chats are not looked at unless you agree.", next_step=allow)
    context.settings.set(SETTING, True, "profile")


def _found(context: Context) -> list[FoundHabit]:
    store = context.store
    turns = store.habits.turns()
    if not turns:
        return []
    space = space_of(context.engine.load())
    parts = unread_parts(store, space, turns)
    read, missing = 0, sum(map(len, parts))
    for part in parts:
        done = context.engine.result("embed", texts=[turn.message for turn in part])
        store.habits.keep_vectors(space, kept_form(done["vectors"], part))
        read += len(part)
        context.console.progress(f"Read {read} of {missing} messages")
    context.console.end_progress()
    return find_habits(store, space, turns)


def _numbered(found: list[FoundHabit], number: int) -> FoundHabit:
    if number > len(found):
        raise NotFoundError(f"There are {len(found)} habits.", next_step="See: tokmem-desk proc habits")
    return found[number - 1]


def _accept(context: Context, habit: FoundHabit, name: str | None) -> int:
    pairs = habit.pairs
    record = context.store.procedures.add(Procedure(name or habit.name, tuple(pairs)), source="habit")
    context.console.say(f"Added {record.name}: {pair_counts(record)}.")
    say_findings(context, lint_pairs(pairs))
    context.console.say(
        f"Read and correct them: tokmem-desk proc show {record.name}. Then: tokmem-desk train {record.name}"
    )
    context.console.result({"habits": [_object(habit)], "added": record.name}, "")
    return ExitCode.OK


def _show(context: Context, found: list[FoundHabit]) -> None:
    lines = []
    for number, habit in enumerate(found, start=1):
        lines.append(f"{number}  {habit.name}, {len(habit.turns)} messages")
        lines += [
            f"     {shortened(turn.message, 60)}  →  {shortened(turn.answer, 60)}"
            for turn in habit.turns[-SHOWN_TURNS:]
        ]
    context.console.result({"habits": [_object(one) for one in found], "added": None}, "\n".join(lines))
    if found:
        context.console.say("To make one a procedure: proc habits --accept N. To see it never again: --dismiss N")
    else:
        context.console.say("No habit yet: it takes four messages of one kind that were answered alike.")


def _object(habit: FoundHabit) -> dict[str, Any]:
    pairs = [{"input": pair.input, "response": pair.response} for pair in habit.pairs]
    return {"name": habit.name, "turns": len(habit.turns), "pairs": pairs}
