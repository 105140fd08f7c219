"""``plan``: procedures whose answers are steps over other procedures; and what came of their runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiles.pair_files.pairs_file import load_pairs
from tokmem_desk.errors import BadInputError, ConflictError, UsageError
from tokmem_desk.plans.steps import procedures_of, read_steps
from tokmem_desk.plans.walk import Call
from tokmem_desk.procedures import NONE_ROUTE, ExamplePair, Procedure
from tui.cli.changed import changed
from tui.cli.console import table
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import PROGRAM, Parser
from tui.cli.texts import read_text
from tui.kit.words import shortened
from tui.shared.plan_words import events_of, trace_lines

if TYPE_CHECKING:
    from profiles.store.plans import PlanRun
    from tui.cli.context import Context

WRITTEN = "(its steps)"
"""The answer of each pair of a plan that a person has written: the steps stand with the plan, once."""

_LANGUAGE = (
    "A line of a plan is a step: the name of a procedure, and behind a colon its message, as in 'book: {expense}'. "
    "Without one it gets the message of the plan. In braces stand values: {message}, {expense} (the whole answer), "
    "{expense.amount} (a key of it), {message.number}, {message.date}, {message.time}, {message.money}; {book.output} "
    "is what a command printed. 'x = book: …' calls an answer x. 'if {expense.amount} > 50' decides about the lines "
    "two blanks further in, with 'else if …' and 'else'. Tests: < <= > >= = !=, 'in a, b', 'not in a, b', "
    "'is missing', 'is there', joined by 'and' or 'or'; over numbers, dates (2026-12-01, today), times (18:30) and "
    "words. 'ask me: …' goes on after a yes alone, 'tell me: …' says something. '#' begins a note."
)


def arguments(parser: Parser) -> None:
    """What can be typed behind ``plan``."""
    parser.epilog = _LANGUAGE
    actions = parser.actions()
    new = actions.add(
        "new", new_plan, "make a plan: of steps, or taught by pairs whose answers are steps", epilog=_LANGUAGE
    )
    new.add_argument("name", metavar="NAME")
    new.add_argument("--steps", metavar="FILE", help="its steps, as text")
    new.add_argument(
        "--messages", metavar="FILE", help="of --steps: messages that it is for, one a line; they train it"
    )
    new.add_argument("--pairs", metavar="FILE", type=Path, help="messages and the steps that each is answered with")
    new.add_argument("--description", metavar="TEXT", default="", help="what it is for")
    change = actions.add("steps", set_steps, "show or replace the steps of a plan", epilog=_LANGUAGE)
    change.add_argument("name", metavar="NAME")
    change.add_argument("file", metavar="FILE", nargs="?", help="the new steps; without it the present ones")
    change.add_argument("--none", action="store_true", help="it is no plan any more")
    actions.add("list", show_all, "all plans with the procedures that they call")
    listing = actions.add("runs", show_runs, "what plans did last, newest first")
    listing.add_argument("--limit", metavar="N", type=int, default=20)
    trace = actions.add("trace", show_trace, "what one run did, step by step")
    trace.add_argument("run", metavar="RUN", type=int)
    trace.add_argument(
        "--replay", action="store_true", help="decide everything again over the same answers; nothing is done"
    )
    going = actions.add("go-on", go_on, "go on with a run that waits, was stopped or broken off; nothing is done twice")
    going.add_argument("run", metavar="RUN", type=int)
    going.add_argument("--skip", action="store_true", help="without the command that it waits for")
    going.add_argument("--again", action="store_true", help="run a command that may have run before")
    going.add_argument("--end", action="store_true", help="do nothing more; what was done stands")
    forgetting = actions.add("forget", forget, "delete what is kept of a run, for good")
    forgetting.add_argument("run", metavar="RUN", type=int)


def new_plan(context: Context, options: argparse.Namespace) -> int:
    """Make a plan."""
    if (options.steps is None) == (options.pairs is None):
        raise UsageError("Give either --steps FILE or --pairs FILE.", next_step=f"See: {PROGRAM} plan new --help")
    if options.messages is not None and options.steps is None:
        raise UsageError("--messages belongs to --steps.", next_step=f"See: {PROGRAM} plan new --help")
    store = context.store
    if options.pairs is not None:
        read = load_pairs(options.pairs)
        check_pairs(read.pairs, {record.name for record in store.procedures.list()})
        text = options.description or read.description or ""
        made = Procedure(options.name, read.pairs, read.held_out, text)
        store.procedures.add(made, source=options.pairs.name)
        store.plans.set_steps(options.name, "")
        return changed(context, "plan new", [options.name], f"{options.name} is a plan. Train it: {PROGRAM} train")
    steps = read_text(options.steps)
    read_steps(steps)
    messages = [] if options.messages is None else [line.strip() for line in read_text(options.messages).splitlines()]
    pairs = tuple(ExamplePair(message, WRITTEN) for message in dict.fromkeys(messages) if message)
    store.procedures.add(
        Procedure(options.name, pairs, description=options.description), source=Path(options.steps).name
    )
    try:
        store.plans.set_steps(options.name, steps)
    except Exception:
        store.undo.take_back()
        raise
    how = (
        f"Train it, so that messages find it: {PROGRAM} train" if pairs else f"Ask it: ask --route {options.name} TEXT"
    )
    return changed(context, "plan new", [options.name], f"{options.name} is a plan. {how}")


def check_pairs(pairs: tuple[ExamplePair, ...], known: set[str]) -> None:
    """Refuse pairs whose answers are no steps over these procedures.

    Raises:
        BadInputError: one is none; the text says which, and how.
    """
    for number, pair in enumerate(pairs, 1):
        try:
            called = procedures_of(read_steps(pair.response))
        except BadInputError as caught:
            raise BadInputError(f"The answer of pair {number} is no plan: {caught.message}") from caught
        for name in called:
            if name != NONE_ROUTE and name not in known:
                raise BadInputError(f"Pair {number} names {name!r}, and no procedure is called so.")


def set_steps(context: Context, options: argparse.Namespace) -> int:
    """Show or replace the steps of a plan."""
    store = context.store
    if options.none and options.file is not None:
        raise UsageError("--none and FILE say different things.", next_step="Leave out one of the two.")
    if options.none:
        store.plans.set_steps(options.name, None)
        return changed(context, "plan steps", [options.name], f"{options.name} is no plan any more.")
    if options.file is not None:
        store.plans.set_steps(options.name, read_text(options.file))
        return changed(context, "plan steps", [options.name], f"{options.name} has new steps.")
    record = store.procedures.get(options.name)
    steps = store.plans.steps().get(record.name)
    if steps is None:
        raise BadInputError(f"{record.name} is no plan.", next_step=f"See: {PROGRAM} plan list")
    missing = store.plans.missing(record.name)
    fields = {"name": record.name, "steps": steps, "taught": not steps, "missing": missing}
    for name in missing:
        context.console.say(f"{name!r} was removed: the plan does nothing until it is back, or its steps are others.")
    context.console.result(fields, steps or "Its answers are its steps: its pairs teach them.")
    return ExitCode.OK


def show_all(context: Context, options: argparse.Namespace) -> int:
    """All plans."""
    rows, found = [], []
    blocks = context.store.plans.blocks()
    for name, steps in context.store.plans.steps().items():
        calls = procedures_of(blocks[name]) if name in blocks else []
        found.append({"name": name, "taught": not steps, "calls": calls})
        rows.append([name, ", ".join(calls) if steps else "as its answers say"])
    context.console.result({"plans": found}, table(["plan", "calls"], rows) if rows else "There are no plans.")
    return ExitCode.OK


def show_runs(context: Context, options: argparse.Namespace) -> int:
    """The last runs."""
    runs = context.store.plans.runs(options.limit)
    rows = [[run.id, run.plan, _status(context, run), shortened(run.message, 50), run.updated[:16]] for run in runs]
    fields = [_fields(context, run) for run in runs]
    context.console.result(
        {"runs": fields},
        table(["run", "plan", "status", "message", "last"], rows, right=[0]) if rows else "No plan has run yet.",
    )
    return ExitCode.OK


def show_trace(context: Context, options: argparse.Namespace) -> int:
    """What one run did; with ``--replay`` decided again over the same answers."""
    run = context.store.plans.get(options.run)
    fields: dict[str, Any] = {**_fields(context, run), "answers": run.answers}
    lines = [f"{run.plan}: {run.message}", *trace_lines(run)]
    if options.replay:
        last = events_of(run)[-1]
        same = run.is_open or getattr(last, "status", "done") == run.status or run.status == "stopped"
        fields["replayed"] = same
        lines.append("Decided again: the same." if same else f"Decided again: another end ({last}).")
    context.console.result(fields, "\n".join(lines))
    return ExitCode.OK


def go_on(context: Context, options: argparse.Namespace) -> int:
    """Go on with a run."""
    from tui.cli.ask import show_answer
    from tui.cli.plan_answers import decide, plan_answering, with_decisions

    store = context.store
    if sum((options.skip, options.again, options.end)) > 1:
        raise UsageError("Give one of --skip, --again and --end.", next_step=f"See: {PROGRAM} plan go-on --help")
    run = store.plans.get(options.run)
    if not run.is_open:
        raise ConflictError(f"Run {run.id} of {run.plan} has ended: {run.status}.")
    with store.plans.going_on(run):
        pass  # says at once where another process goes on with it
    decision: Any = "skip" if options.skip else "no" if options.end else "yes" if options.again else None
    last = events_of(run)[-1]
    if options.again and not (isinstance(last, Call) and run.answers.get(last.place, {}).get("command") == "begun"):
        raise UsageError("There is no command that may have run.", next_step=f"See: {PROGRAM} plan trace {run.id}")
    if options.end:
        store.plans.note(run.id, run.answers, "stopped", "you ended it")
        context.console.result(_fields(context, store.plans.get(run.id)), f"Run {run.id} does nothing more.")
        return ExitCode.OK
    decision = decision or decide(context, run)
    context.engine.load(fit=False)
    answering = plan_answering(context, runs_commands=True)
    events = context.engine.drive(answering.go_on(run, decision), answering.cancel)
    events = with_decisions(
        context, events, lambda one, said: context.engine.drive(answering.go_on(one, said), answering.cancel)
    )
    return show_answer(context.console, events)


def forget(context: Context, options: argparse.Namespace) -> int:
    """Delete what is kept of a run."""
    context.store.plans.forget(options.run)
    return changed(context, "plan forget", [str(options.run)], f"Run {options.run} is forgotten.")


def _status(context: Context, run: PlanRun) -> str:
    if run.status == "running" and not context.store.plans.is_going_on(run):
        return "broken off"
    return run.status


def _fields(context: Context, run: PlanRun) -> dict[str, Any]:
    return {
        "run": run.id, "plan": run.plan, "message": run.message, "status": _status(context, run), "words": run.words,
        "created": run.created, "updated": run.updated, "lines": trace_lines(run),
    }  # fmt: skip
