"""What clients are told of plans: segments, notes on the way, results. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from profiles.store.plans import PlanRun, RunStatus
from tokmem_desk.plans.walk import Done, Told
from tui.engine_client.protocol import Message
from tui.shared.plan_words import events_of, trace_lines

STATUS: Mapping[str, RunStatus] = {"done": "done", "stopped": "stopped", "failed": "failed"}
CUT = {
    "length": "The answer was cut at its greatest length.",
    "repeats": "The answer went round in circles.",
}
EMPTY: Message = {
    "response": "", "segments": [], "stopped": "end", "span": 0, "prompt_tokens": 0,
    "timing": {"prefill": 0.0, "route": 0.0, "first_token": 0.0, "total": 0.0, "tokens": 0},
    "context": {"tokens": 0, "length": 0, "messages_cut": 0},
}  # fmt: skip


def plain_segment(fields: Mapping[str, Any], place: str, **more: Any) -> Message:
    """A segment that no model has written, under the route of another one."""
    known = {"route": fields["route"], "probability": fields["probability"]}
    return {**known, "part": "", "response": "", "arguments": None, "problem": "", "place": place, **more}


def head_segment(segment: Mapping[str, Any], run: PlanRun) -> Message:
    """The segment that stands for the plan itself."""
    return plain_segment(segment, "0", part=run.message, run_id=run.id)


def not_begun(plan: str, fault: str) -> Message:
    """A plan of which nothing was done, as ``summary`` tells of a run."""
    return {"run": 0, "plan": plan, "status": "failed", "words": fault, "steps": 0,
            "lines": [f"nothing was done: {fault}"]}  # fmt: skip


def note(text: str) -> Message:
    """An event that says what was decided."""
    return {"event": "progress", "phase": "plan", "fraction": None, "text": text}


def output_words(record: Mapping[str, Any]) -> str:
    """The beginning of what a step's command has printed, in one line."""
    return " ".join(str(record["run"].get("stdout", "")).split())[:200]


def summary(run: PlanRun) -> Message:
    """A run as clients are told of it."""
    steps = sum(isinstance(event, Done | Told) for event in events_of(run))
    return {"run": run.id, "plan": run.plan, "status": run.status, "words": run.words, "steps": steps,
            "lines": trace_lines(run)}  # fmt: skip
