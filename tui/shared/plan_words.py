"""A run of a plan in words: one line for each step and each condition, for people who read what was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiles.store.plans import PlanRun
from tokmem_desk.plans.steps import ASK
from tokmem_desk.plans.walk import Call, Checked, Done, Event, Finished, PlanTask, Question, StepAnswer, Told, walk
from tui.kit.words import count, shortened
from tui.shared.command_run import run_of

_LONGEST = 300


def task_of(run: PlanRun) -> PlanTask:
    """What a run was begun with."""
    plans = run.task.get("plans")
    known = {str(name): str(text) for name, text in plans.items()} if isinstance(plans, dict) else {}
    return PlanTask(run.plan, run.message, known, str(run.task.get("today", "")), str(run.task.get("steps", "")))


def answers_of(records: Mapping[str, Any]) -> dict[str, StepAnswer]:
    """The outcomes of steps that are settled, by place, as ``walk`` takes them."""
    found = {}
    for place, record in records.items():
        if record.get("open"):
            continue
        done = record.get("run")
        arguments = record.get("arguments")
        found[place] = StepAnswer(
            str(record.get("response", "")),
            arguments if isinstance(arguments, dict) else None,
            run_of(done).stdout if isinstance(done, dict) else "",
            str(record.get("fault", "")),
            record.get("said"),
        )
    return found


def events_of(run: PlanRun) -> list[Event]:
    """What has happened in a run, and what is next."""
    return walk(task_of(run), answers_of(run.answers))


def trace_lines(run: PlanRun) -> list[str]:
    """A run, line by line. What is next stands in it only where the run has ended there."""
    lines = []
    for event in events_of(run):
        record = run.answers.get(event.place, {})
        if (line := event_line(event, record)) and not isinstance(event, Finished):
            lines.append(line)
    ending = {"done": "done", "stopped": "stopped", "failed": "failed", "waiting": "waits", "running": "broken off"}
    words = f": {run.words}" if run.words else ""
    return [*lines, f"{ending[run.status]}{words}"]


def event_line(event: Event, record: Mapping[str, Any]) -> str:
    """One event in a line; empty where it says nothing yet."""
    match event:
        case Checked(place, words, taken):
            return f"{place}  {_short(words)}: {'yes' if taken else 'no'}"
        case Done(place, procedure, text) if procedure == ASK:
            return f"{place}  {_short(text)} You said yes."
        case Done(place, procedure, text):
            return f"{place}  {procedure}: {_short(text)} → {_short(str(record.get('response', '')))}{_ran(record)}"
        case Told(place, text):
            return f"{place}  {_short(text)}"
        case Question(place, text):
            return f"{place}  {_short(text)}"
        case Call(place, procedure, text) if record:
            return f"{place}  {procedure}: {_short(text)} → {_short(str(record.get('response', '')))}{_ran(record)}"
        case Finished("failed", words, place) if record:
            return f"{place}  {_short(words)}"
    return ""


def heading(plan: Mapping[str, Any]) -> str:
    """A run in a few words: ``round · 3 steps · done``."""
    ended = {"done": "done", "stopped": "stopped", "failed": "not done to its end", "waiting": "waits for you"}
    return f"{plan['plan']} · {count(int(plan['steps']), 'step')} · {ended.get(str(plan['status']), 'broken off')}"


def _ran(record: Mapping[str, Any]) -> str:
    done = record.get("run")
    if isinstance(done, dict):
        return f" · its command: {run_of(done).words()}"
    return {"left": " · its command was not run", "begun": " · its command may have run"}.get(
        str(record.get("command", "")), ""
    )


def _short(text: str) -> str:
    return shortened(text, _LONGEST)
