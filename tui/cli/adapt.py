"""``adapt``: adapt a model to chains of memories."""

from __future__ import annotations

import argparse
from typing import Any

from tokmem_desk.errors import InterruptedByUser
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.training_progress import duration


def run(context: Context, options: argparse.Namespace) -> int:
    """Run the adaptation phase; what was stopped goes on the next time."""
    console = context.console
    backbone = context.engine.load()
    console.say(f"{backbone['id']} on {backbone['device']} ({backbone['reason']})")
    result: dict[str, Any] | None = None
    for event in context.engine.stream("adapt", patient=True, examples=options.examples):
        if event["event"] == "done":
            result = event["result"]
        elif note := event.get("note"):
            console.end_progress()
            console.say(f"  {note}")
        elif event["event"] == "progress" and event.get("steps"):
            console.progress(
                f"adapting, step {event['step']} of {event['steps']}, loss {event['loss']:.3f}, "
                f"{duration(event['eta_s'])} left"
            )
    console.end_progress()
    if result is None:
        raise InterruptedByUser("Stopped.")
    if result["cancelled"]:
        console.result(result, "")
        console.say("Stopped; the same command goes on from here.")
        return ExitCode.INTERRUPTED
    text = f"{result['id']} is ready after {duration(result['seconds'])}. Memories belong to one model: use it with "
    console.result(result, f"{text}--model {result['id']}, and train procedures there.")
    return ExitCode.OK
