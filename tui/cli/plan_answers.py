"""Answers with plans on the command line: what a plan waits for is asked here, and then it goes on."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from profiles.store.plans import PlanRun
from tokmem_desk.errors import InterruptedByUser, TokmemError
from tokmem_desk.plans.walk import Call, Question
from tui.cli.context import Context
from tui.cli.run_calls import shown_vector
from tui.engine_client.protocol import Message
from tui.shared.plan_commands import Decision, pending_command
from tui.shared.plan_runs import PlanAnswering
from tui.shared.plan_words import events_of

GoOn = Callable[[PlanRun, Decision], AsyncIterator[Message]]


def plan_answering(context: Context, *, runs_commands: bool) -> PlanAnswering:
    """Answers one message outside of a conversation, plans included; the model is loaded by then."""
    return PlanAnswering(
        context.engine.link,
        context.profile.name,
        lambda: contextlib.nullcontext(context.store),
        runs_commands=runs_commands,
        command_seconds=context.settings.number("command_seconds"),
        fingerprint=context.engine.load(fit=False)["fingerprint"],
    )


def whole_answer(context: Context, text: str, route: str, **fields: Any) -> Message:
    """The result of one message, plans done, of which nothing is shown on the way; commands are left.

    Raises:
        InterruptedByUser: Ctrl-C was pressed meanwhile.
        TokmemError: what the engine reported.
    """
    answering = plan_answering(context, runs_commands=False)
    for event in context.engine.drive(answering.asked(text, route, **fields), answering.cancel):
        if event["event"] == "done":
            if context.engine.interrupted:
                raise InterruptedByUser("Stopped.")
            return dict(event["result"])
    raise InterruptedByUser("Stopped before the engine had finished.")


def with_decisions(
    context: Context, events: Iterator[Message], go_on: Callable[[PlanRun, Decision], Iterator[Message]]
) -> Iterator[Message]:
    """The events of an answer. Where plans wait for the person, who is asked, and those of going on.

    Args:
        events: of the answer.
        go_on: the events of going on with a run.
    """
    answered: set[tuple[int, str]] = set()
    while True:
        result: Message | None = None
        for event in events:
            if event["event"] == "done":
                result = event["result"]
            else:
                yield event
        if result is None:
            return
        decided = None if result["stopped"] == "cancelled" else _first_decision(context, result, answered)
        if decided is None:
            yield {"event": "done", "result": result}
            return
        events = go_on(*decided)


def _first_decision(
    context: Context, result: Message, answered: set[tuple[int, str]]
) -> tuple[PlanRun, Decision] | None:
    """What the person says to the first run that waits; None where nothing waits, or nobody can be asked."""
    for plan in result.get("plans", ()):
        if plan["status"] != "waiting" or plan["run"] < 0:
            continue
        run = context.store.plans.get(plan["run"])
        last = events_of(run)[-1]
        if (run.id, last.place) in answered:  # a question is put once
            continue
        answered.add((run.id, last.place))
        if (decision := decide(context, run)) is not None:
            return run, decision
    return None


def decide(context: Context, run: PlanRun) -> Decision | None:
    """Ask the person about what a run waits for; None where nobody can be asked.

    Raises:
        TokmemError: what waits cannot be done.
    """
    console, last = context.console, events_of(run)[-1]
    if isinstance(last, Question):
        console.end_progress()
        console.tell(f"{run.plan} asks: {last.text}")
        if context.options.yes:
            return "yes"
        if not console.can_ask:
            console.say(f"Nobody is here to say yes. Go on with: tokmem-desk plan go-on {run.id} --yes")
            return None
        return "yes" if console.ask("Go on?") else "no"
    if not isinstance(last, Call) or last.place not in run.answers:
        return None
    return _decide_command(context, run, last)


def _decide_command(context: Context, run: PlanRun, call: Call) -> Decision | None:
    console = context.console
    try:
        pending = pending_command(context.store, dict(run.answers[call.place]))
    except TokmemError:
        return "yes"  # going on says why it cannot run
    if pending is None:
        return "yes"
    console.end_progress()
    console.tell(f"{run.plan}, step {call.place}: {pending.prepared.procedure} would run:")
    for line in shown_vector(pending.prepared.vector, console.width):
        console.tell(line)
    for words in filter(None, (pending.withheld, pending.warning)):
        console.tell(words)
    begun = run.answers[call.place].get("command") == "begun"
    if context.options.yes and not begun:
        return "yes"
    if not console.can_ask:
        how = "--yes, or --skip" if not begun else "--again, or --skip"
        console.say(f"It waits. Go on with: tokmem-desk plan go-on {run.id} {how}")
        return None
    always = "" if pending.warning else " [a]lways for this procedure,"
    answer = console.choose(
        f"Run it? [y]es,{always} [s]kip it and go on, [N]o and end:", "ys" if pending.warning else "yas"
    )
    if answer == "a":
        context.store.commands.allow(pending.prepared.procedure, pending.prepared.digest)
    elif pending.withheld:
        context.store.commands.allow(pending.prepared.procedure, None)
    return {"y": "yes", "a": "yes", "s": "skip"}.get(answer, "no")  # type: ignore[return-value]
